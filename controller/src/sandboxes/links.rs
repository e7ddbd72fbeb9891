//! Pure: what the links of the default bridge come to: lines of a hosts file, and ports that are reached where else no two
//! containers reach each other.
//!
//! Both are read from the records each time, so that they follow when a container that is linked to comes back with
//! another address.

use std::{net::IpAddr, sync::Arc};

use drivers::LinkAccess;
use model::{ContainerId, Endpoint, HostEntry, Lifecycle, Network, Sandbox, Snapshot};

/// The lines of a sandbox's hosts file that its links come to: an address, and every name of the container that has it.
pub(super) fn lines(snapshot: &Snapshot, sandbox: &Sandbox) -> Vec<HostEntry> {
    let shared: Vec<_> = snapshot
        .endpoints_of(&sandbox.id)
        .filter_map(|own| linkable(snapshot, own))
        .collect();
    let mut lines = Vec::new();
    for link in &sandbox.links {
        let theirs = shared
            .iter()
            .flat_map(|network| of_container(snapshot, network, link.container));
        lines.extend(theirs.flat_map(addresses).map(|address| HostEntry {
            name: link.names.join(" "),
            address,
        }));
    }
    lines
}

/// Who reaches an endpoint's exposed ports because their sandboxes link to its container.
pub(crate) fn access(snapshot: &Snapshot, endpoint: &Endpoint) -> Vec<LinkAccess> {
    let (Some(container), Some(sandbox), Some(network)) = (
        endpoint.container,
        snapshot.sandboxes.get(&endpoint.sandbox),
        linkable(snapshot, endpoint),
    ) else {
        return Vec::new();
    };
    let links_here = |other: &&Arc<Endpoint>| {
        let from = snapshot.sandboxes.get(&other.sandbox);
        other.lifecycle != Lifecycle::Deleting
            && from.is_some_and(|from| from.links.iter().any(|link| link.container == container))
    };
    let mut access = Vec::new();
    for from in snapshot
        .endpoints_on(&network.id)
        .filter(links_here)
        .flat_map(addresses)
    {
        access.extend(
            sandbox
                .exposed
                .iter()
                .map(|ports| LinkAccess { from, ports: *ports }),
        );
    }
    access
}

/// The endpoint's network, if it is one whose links are not a matter of the name service: the default bridge.
fn linkable<'a>(snapshot: &'a Snapshot, endpoint: &Endpoint) -> Option<&'a Arc<Network>> {
    let network = snapshot.networks.get(&endpoint.network)?;
    let default_bridge = network.predefined && network.name.as_str() == "bridge";
    (default_bridge && endpoint.lifecycle != Lifecycle::Deleting).then_some(network)
}

fn of_container<'a>(
    snapshot: &'a Snapshot,
    network: &Network,
    container: ContainerId,
) -> impl Iterator<Item = &'a Arc<Endpoint>> {
    snapshot
        .endpoints_on(&network.id)
        .filter(move |one| one.container == Some(container) && one.lifecycle != Lifecycle::Deleting)
}

fn addresses(endpoint: &Arc<Endpoint>) -> Vec<IpAddr> {
    endpoint.addresses.iter().map(|address| address.addr()).collect()
}

#[cfg(test)]
mod tests;
