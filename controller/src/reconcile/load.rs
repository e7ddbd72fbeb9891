//! The records of this host, and its copy of the global ones, into the first snapshot.

use std::sync::Arc;

use model::{Scope, Snapshot};

use crate::{core::Core, endpoints, error::Result, networks, records, sandboxes};

/// Reads the local store. What it holds of the cluster is stale until the cluster store has answered.
pub(super) async fn local(core: &Arc<Core>) -> Result<()> {
    let store = &*core.stores.local;
    let mut snapshot = Snapshot::default();
    snapshot.stale = core.records.clustered();
    snapshot.nodes.insert(core.node.id, Arc::new(core.node.clone()));
    snapshot.live_nodes.insert(core.node.id);
    if core.records.clustered() {
        copies(core, &mut snapshot).await?;
    }
    for found in records::networks().list(store).await?.1 {
        // A global network of the time before there was a cluster store is no longer anybody's.
        if !core.records.shared(found.record.scope) {
            snapshot.networks.insert(found.record.id, Arc::new(found.record));
        }
    }
    for found in records::all_endpoints().list(store).await?.1 {
        snapshot.insert_endpoint(Arc::new(found.record));
    }
    for found in records::sandboxes().list(store).await?.1 {
        snapshot.sandboxes.insert(found.record.id, Arc::new(found.record));
    }
    endpoints::load_dead_flows(core, store, &snapshot).await?;
    for network in snapshot
        .networks
        .values()
        .filter(|network| network.scope == Scope::Global)
    {
        // What the kernel was last told, so that who went meanwhile is taken out.
        core.set_peers(network.id, networks::peers_of(&snapshot, network, core.node.id));
    }
    core.records.publish(|current| {
        let generation = current.generation;
        *current = snapshot;
        current.generation = generation;
    });
    sandboxes::remember(core);
    Ok(())
}

async fn copies(core: &Core, snapshot: &mut Snapshot) -> Result<()> {
    let store = &*core.stores.local;
    for found in records::network_copies().list(store).await?.1 {
        debug_assert_eq!(found.record.scope, Scope::Global);
        snapshot.networks.insert(found.record.id, Arc::new(found.record));
    }
    for found in records::all_endpoint_copies().list(store).await?.1 {
        snapshot.insert_endpoint(Arc::new(found.record));
    }
    for found in records::node_copies().list(store).await?.1 {
        // Nobody can say who is alive: until told otherwise they all are, so that no peer is dropped.
        snapshot.live_nodes.insert(found.record.id);
        snapshot.nodes.insert(found.record.id, Arc::new(found.record));
    }
    Ok(())
}
