//! What is stored, where, and the snapshot that is published after every commit.
//!
//! Local store: this host's networks, sandboxes and endpoints (those on global networks too: they are the intents and
//! the notes of what is still to release), and `copies/`, the last seen state of the global records. Global store:
//! networks, endpoints, nodes; and `changes/NETWORK`, which every commit about a network touches, so that one watch
//! tells a reader which single network to list again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use model::{Endpoint, Network, NetworkId, Node, NodeId, Sandbox, Scope, Snapshot};
use store::{Key, Revision, Stores, Table, Txn};
use tokio::sync::watch;

use crate::{endpoints::DeadFlowsNote, error::Result};

/// The version of what is written below; it grows when an older daemon could no longer read it.
const SCHEMA: u32 = 1;

/// Networks by id.
pub(crate) fn networks() -> Table<Network> {
    Table::new(Key::root("networks"), SCHEMA)
}

/// The endpoints of one network by id.
pub(crate) fn endpoints(network: NetworkId) -> Table<Endpoint> {
    Table::new(Key::root("endpoints").child(network), SCHEMA)
}

/// Endpoints of every network: for listing at start only.
pub(crate) fn all_endpoints() -> Table<Endpoint> {
    Table::new(Key::root("endpoints"), SCHEMA)
}

/// Sandboxes by id.
pub(crate) fn sandboxes() -> Table<Sandbox> {
    Table::new(Key::root("sandboxes"), SCHEMA)
}

/// Hosts by id.
pub(crate) fn nodes() -> Table<Node> {
    Table::new(Key::root("nodes"), SCHEMA)
}

/// Addresses of endpoints that are gone, whose flows are still to be forgotten, by endpoint.
pub(crate) fn dead_flows() -> Table<DeadFlowsNote> {
    Table::new(Key::root("dead-flows"), SCHEMA)
}

/// The last seen global networks.
pub(crate) fn network_copies() -> Table<Network> {
    Table::new(Key::root("copies").child("networks"), SCHEMA)
}

/// The last seen endpoints of other hosts on one global network.
pub(crate) fn endpoint_copies(network: NetworkId) -> Table<Endpoint> {
    Table::new(all_endpoint_copies().root().child(network), SCHEMA)
}

/// The last seen endpoints of other hosts.
pub(crate) fn all_endpoint_copies() -> Table<Endpoint> {
    Table::new(Key::root("copies").child("endpoints"), SCHEMA)
}

/// The last seen hosts.
pub(crate) fn node_copies() -> Table<Node> {
    Table::new(Key::root("copies").child("nodes"), SCHEMA)
}

/// Everything that tells of a change of a network.
pub(crate) fn changes() -> Key {
    Key::root("changes")
}

/// The keys that hang on hosts' leases.
pub(crate) fn alive() -> Key {
    Key::root("alive")
}

/// The key that hangs on a host's lease.
pub(crate) fn alive_key(node: NodeId) -> Key {
    alive().child(node)
}

/// Tells readers that a network or an endpoint on it changed.
pub(crate) fn changed(network: NetworkId) -> Txn {
    Txn::new().put(changes().child(network), Vec::new())
}

/// The stores and the snapshot.
#[derive(Debug)]
pub(crate) struct Records {
    stores: Stores,
    snapshot: watch::Sender<Arc<Snapshot>>,
    /// At which revision each global network's record was last seen.
    revisions: Mutex<HashMap<NetworkId, Revision>>,
}

impl Records {
    pub(crate) fn new(stores: Stores) -> Self {
        Self {
            stores,
            snapshot: watch::Sender::new(Arc::default()),
            revisions: Mutex::default(),
        }
    }

    /// All records as of now.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.borrow().clone()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshot.subscribe()
    }

    /// Whether this host shares a store with others.
    pub(crate) fn clustered(&self) -> bool {
        self.stores.global.is_some()
    }

    /// Whether a record of that scope lives in the shared store.
    pub(crate) fn shared(&self, scope: Scope) -> bool {
        scope == Scope::Global && self.clustered()
    }

    /// Commits, and when that is done changes the snapshot in the same way. Answers the snapshot's generation.
    pub(crate) async fn commit(
        &self,
        scope: Scope,
        txn: Txn,
        change: impl FnOnce(&mut Snapshot),
    ) -> Result<u64, store::Error> {
        self.stores.of(scope).commit(txn).await?;
        Ok(self.publish(change))
    }

    /// Changes the snapshot. Costs what the change touches: the maps share the rest.
    pub(crate) fn publish(&self, change: impl FnOnce(&mut Snapshot)) -> u64 {
        let mut generation = 0;
        self.snapshot.send_modify(|current| {
            let mut next = Snapshot::clone(current);
            change(&mut next);
            next.generation += 1;
            generation = next.generation;
            *current = Arc::new(next);
        });
        generation
    }

    /// The revision at which a global network was last seen.
    pub(crate) fn revision(&self, network: NetworkId) -> Option<Revision> {
        self.revisions().get(&network).copied()
    }

    pub(crate) fn set_revision(&self, network: NetworkId, revision: Option<Revision>) {
        match revision {
            Some(revision) => self.revisions().insert(network, revision),
            None => self.revisions().remove(&network),
        };
    }

    fn revisions(&self) -> MutexGuard<'_, HashMap<NetworkId, Revision>> {
        // The map is whole even if a holder of the lock panicked.
        self.revisions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes to the local copy of global records, in transactions of a size every store takes. A failure is logged: the
/// copy is only what a restart without the cluster store would serve.
pub(crate) async fn commit_copies(core: &crate::core::Core, changes: Vec<Txn>) {
    for chunk in changes.chunks(Txn::MAX_OPERATIONS / 2) {
        let txn = chunk.iter().cloned().fold(Txn::new(), Txn::and);
        if let Err(error) = core.stores.local.commit(txn).await {
            tracing::warn!(%error, "keeping a copy of the global records failed");
        }
    }
}
