//! Pure: what a driver may know of a network, from a snapshot.

use std::{collections::BTreeMap, sync::Arc};

use drivers::{Local, NetworkView, Peer};
use model::{Endpoint, EndpointId, Lifecycle, Network, NodeId, Snapshot};

use crate::{
    core::{Core, target},
    sandboxes,
};

/// Endpoints of live other hosts on a network.
pub(crate) fn peers_of(snapshot: &Snapshot, network: &Network, here: NodeId) -> BTreeMap<EndpointId, Peer> {
    snapshot
        .endpoints_on(&network.id)
        .filter(|endpoint| endpoint.node != here && endpoint.lifecycle == Lifecycle::Active)
        .filter(|endpoint| snapshot.live_nodes.contains(&endpoint.node) && is_addressed(endpoint))
        .filter_map(|endpoint| {
            let node = snapshot.nodes.get(&endpoint.node)?;
            let peer = Peer {
                endpoint: Arc::clone(endpoint),
                vtep: node.address,
            };
            Some((endpoint.id, peer))
        })
        .collect()
}

/// Everything a driver may know of a network on this host.
pub(crate) fn view(core: &Core, snapshot: &Snapshot, network: &Arc<Network>) -> NetworkView {
    let here = core.node.id;
    let local = snapshot
        .endpoints_on(&network.id)
        .filter(|endpoint| endpoint.node == here && endpoint.lifecycle == Lifecycle::Active)
        .filter_map(|endpoint| {
            let sandbox = snapshot.sandboxes.get(&endpoint.sandbox)?;
            Some(Local {
                endpoint: Arc::clone(endpoint),
                target: target(sandbox, endpoint),
                access: sandboxes::access(core, snapshot, endpoint),
            })
        });
    NetworkView {
        network: Arc::clone(network),
        local: local.collect(),
        peers: peers_of(snapshot, network, here).into_values().collect(),
    }
}

/// Whether other hosts can reach it by an address.
fn is_addressed(endpoint: &Endpoint) -> bool {
    endpoint.addresses.iter().next().is_some()
}
