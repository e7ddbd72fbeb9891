//! Bytes and packets of networks and of containers. Pure.

use model::Snapshot;

use super::{LinkOwner, LinkTraffic, Traffic, rows::Row};

type Figure = fn(&LinkTraffic) -> u64;

const fn bytes(traffic: &Traffic) -> u64 {
    traffic.bytes
}

/// What a container's interfaces tell, and the same of a network's bridge.
const CONTAINERS: [(&str, &str, Figure); 6] = [
    (
        "container_receive_bytes",
        "Bytes that a container received on a network",
        |link| bytes(&link.received),
    ),
    (
        "container_transmit_bytes",
        "Bytes that a container sent on a network",
        |link| bytes(&link.sent),
    ),
    (
        "container_receive_packets",
        "Packets that a container received on a network",
        |link| link.received.packets,
    ),
    (
        "container_transmit_packets",
        "Packets that a container sent on a network",
        |link| link.sent.packets,
    ),
    (
        "container_receive_packets_dropped",
        "Packets dropped on their way to a container",
        |link| link.received.dropped,
    ),
    (
        "container_transmit_packets_dropped",
        "Packets of a container that were dropped",
        |link| link.sent.dropped,
    ),
];

const NETWORKS: [(&str, &str, Figure); 4] = [
    (
        "network_receive_bytes",
        "Bytes that came to a network from its host or through it",
        |link| bytes(&link.received),
    ),
    (
        "network_transmit_bytes",
        "Bytes that left a network for its host or through it",
        |link| bytes(&link.sent),
    ),
    (
        "network_receive_packets",
        "Packets that came to a network from its host or through it",
        |link| link.received.packets,
    ),
    (
        "network_transmit_packets",
        "Packets that left a network for its host or through it",
        |link| link.sent.packets,
    ),
];

/// The rows; links whose record is gone are left out.
pub(super) fn rows(snapshot: &Snapshot, links: &[LinkTraffic]) -> Vec<Row> {
    let mut rows: Vec<Row> = CONTAINERS
        .iter()
        .chain(&NETWORKS)
        .map(|(name, help, _)| Row::counter(name, help))
        .collect();
    let (containers, networks) = rows.split_at_mut(CONTAINERS.len());
    for link in links {
        let (rows, metrics, labels): (_, &[_], _) = match link.of {
            LinkOwner::Endpoint(id) => match of_container(snapshot, id) {
                Some(labels) => (&mut *containers, &CONTAINERS, labels),
                None => continue,
            },
            LinkOwner::Network(id) => match snapshot.networks.get(&id) {
                Some(network) => (
                    &mut *networks,
                    &NETWORKS,
                    vec![("network", network.name.to_string())],
                ),
                None => continue,
            },
        };
        for (row, (_, _, figure)) in rows.iter_mut().zip(metrics) {
            row.add(labels.clone(), figure(link));
        }
    }
    rows
}

/// A container is told by its name and by its short id, because a name may be given again.
fn of_container(snapshot: &Snapshot, id: model::EndpointId) -> Option<Vec<(&'static str, String)>> {
    let endpoint = snapshot.endpoints.get(&id)?;
    let network = snapshot.networks.get(&endpoint.network)?;
    let container = endpoint.container.map(|id| id.short()).unwrap_or_default();
    Some(vec![
        ("container", endpoint.name.clone()),
        ("container_id", container),
        ("network", network.name.to_string()),
    ])
}
