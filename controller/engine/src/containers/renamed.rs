//! A container's networks by what they are called now.
//!
//! A network may be renamed while a container that doesn't run is on it, and removed while one is: what the record says
//! follows the network by its id, and if that is gone, another network that has the last known name is meant, as with
//! Docker.

use std::collections::BTreeMap;

use model::{NetworkId, Snapshot};

use super::{Core, container::Container};
use crate::{
    error::Result,
    record::{NetworkMode, Record, Wishes},
};

/// Brings every container's record up to its networks' names. What fails is done at the container's next start.
pub(super) async fn follow_all(core: &Core) {
    for container in core.registry.all() {
        if let Err(error) = follow(core, &container).await {
            tracing::warn!(container = %container.record().name, %error, "recording a network's new name");
        }
    }
}

/// The same for one.
pub(super) async fn follow(core: &Core, container: &Container) -> Result<()> {
    let snapshot = core.controller.snapshot().borrow().clone();
    if named(&container.record(), &snapshot).is_none() {
        return Ok(());
    }
    core.registry
        .update(container, |record| {
            if let Some(named) = named(record, &snapshot) {
                *record = named;
            }
        })
        .await
        .map(drop)
}

/// Before a start: where a network is gone, one that has its name takes its place.
pub(super) async fn find_again(core: &Core, container: &Container) -> Result<()> {
    follow(core, container).await?;
    let snapshot = core.controller.snapshot().borrow().clone();
    if found_again(&container.record().networks, &snapshot).is_none() {
        return Ok(());
    }
    core.registry
        .update(container, |record| {
            if let Some(networks) = found_again(&record.networks, &snapshot) {
                record.networks = networks;
            }
        })
        .await
        .map(drop)
}

/// Pure: the record with its networks' present names; none if it has them.
fn named(record: &Record, snapshot: &Snapshot) -> Option<Record> {
    let now = |id: &NetworkId| Some(snapshot.networks.get(id)?.name.to_string());
    let is_old = |(id, wishes): (&NetworkId, &Wishes)| now(id).is_some_and(|name| name != wishes.network);
    if !record.networks.iter().any(is_old) {
        return None;
    }
    let mut record = record.clone();
    // By its old name, before any of them changes.
    let main = match &record.settings.network_mode {
        NetworkMode::Network(mode) => record
            .networks
            .iter()
            .find(|(_, wishes)| wishes.network == *mode)
            .map(|(id, _)| *id),
        _ => None,
    };
    for (id, wishes) in &mut record.networks {
        if let Some(name) = now(id) {
            if main == Some(*id) {
                record.settings.network_mode = NetworkMode::Network(name.clone());
            }
            wishes.network = name;
        }
    }
    Some(record)
}

/// Pure: the networks with those that are gone found by their names again; none if there is nothing to find.
fn found_again(
    networks: &BTreeMap<NetworkId, Wishes>,
    snapshot: &Snapshot,
) -> Option<BTreeMap<NetworkId, Wishes>> {
    let other = |wishes: &Wishes| {
        let mut all = snapshot.networks.values();
        let found = all.find(|network| network.name.as_str() == wishes.network)?;
        (!networks.contains_key(&found.id)).then_some(found.id)
    };
    let place = |(id, wishes): (&NetworkId, &Wishes)| {
        let found = match snapshot.networks.contains_key(id) {
            true => None,
            false => other(wishes),
        };
        (found.unwrap_or(*id), wishes.clone())
    };
    let found: BTreeMap<_, _> = networks.iter().map(place).collect();
    (found != *networks).then_some(found)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::{Network, NetworkName};

    use super::*;
    use crate::containers::testing;

    fn network(number: u8, name: &str) -> Arc<Network> {
        let text = format!(
            r#"{{"id":"{}","name":"x","driver":"bridge","scope":"local","lifecycle":"active","created":"1970-01-01T00:00:00Z","labels":{{}},
            "options":{{}},"enable_ipv4":true,"enable_ipv6":false,"internal":false,"attachable":true,"predefined":false,
            "ipam":{{"driver":"default","options":{{}},"subnets":[]}},"pools":[],"vnis":[]}}"#,
            id(number)
        );
        let network: Network = serde_json::from_str(&text).expect("a network's record");
        Arc::new(Network {
            name: NetworkName::new(name).expect("a name"),
            ..network
        })
    }

    fn id(number: u8) -> NetworkId {
        NetworkId::from_bytes([number; 32])
    }

    fn snapshot(networks: &[(u8, &str)]) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for (number, name) in networks {
            let network = network(*number, name);
            snapshot.networks.insert(network.id, network);
        }
        snapshot
    }

    fn on(mode: &str, networks: &[(u8, &str)]) -> Record {
        let mut record = testing::record("web", crate::record::Phase::Exited, 1);
        record.settings.network_mode = NetworkMode::Network(mode.to_owned());
        record.networks = wishes(networks);
        record
    }

    fn wishes(networks: &[(u8, &str)]) -> BTreeMap<NetworkId, Wishes> {
        let one = |(number, name): &(u8, &str)| {
            let wishes = Wishes {
                network: (*name).to_owned(),
                ..Wishes::default()
            };
            (id(*number), wishes)
        };
        networks.iter().map(one).collect()
    }

    #[test]
    fn a_record_follows_its_networks_by_their_ids() {
        type Networks = &'static [(u8, &'static str)];
        type Wanted = Option<(&'static str, Networks)>;
        let rows: [(&str, Networks, Networks, Wanted); 6] = [
            ("lan", &[(1, "lan")], &[(1, "lan")], None),
            (
                "lan",
                &[(1, "lan")],
                &[(1, "wan"), (2, "lan")],
                Some(("wan", &[(1, "wan")])),
            ),
            // One took the other's name.
            (
                "a",
                &[(1, "a"), (2, "b")],
                &[(1, "b"), (2, "c")],
                Some(("b", &[(1, "b"), (2, "c")])),
            ),
            (
                "a",
                &[(1, "a"), (2, "b")],
                &[(1, "a"), (2, "c")],
                Some(("a", &[(1, "a"), (2, "c")])),
            ),
            ("gone", &[(1, "gone")], &[(2, "lan")], None),
            // As typed by its id, it stays so.
            ("0101", &[(1, "a")], &[(1, "b")], Some(("0101", &[(1, "b")]))),
        ];
        for (mode, known, there, wanted) in rows {
            let named = named(&on(mode, known), &snapshot(there));
            let named = named.map(|record| (record.settings.network_mode.to_string(), record.networks));
            let wanted = wanted.map(|(mode, networks)| (mode.to_owned(), wishes(networks)));
            assert_eq!(named, wanted, "{mode} {known:?} {there:?}");
        }
    }

    #[test]
    fn a_network_that_is_gone_is_found_by_its_last_name() {
        type Networks = &'static [(u8, &'static str)];
        let rows: [(Networks, Networks, Option<Networks>); 5] = [
            (&[(1, "lan")], &[(1, "lan")], None),
            (&[(1, "lan")], &[(2, "lan")], Some(&[(2, "lan")])),
            (&[(1, "wan")], &[(2, "lan")], None),
            (
                &[(1, "lan"), (3, "x")],
                &[(2, "lan"), (3, "x")],
                Some(&[(2, "lan"), (3, "x")]),
            ),
            // It is on that one already.
            (&[(1, "lan"), (2, "lan")], &[(2, "lan")], None),
        ];
        for (known, there, wanted) in rows {
            let found = found_again(&wishes(known), &snapshot(there));
            assert_eq!(found, wanted.map(wishes), "{known:?} {there:?}");
        }
    }
}
