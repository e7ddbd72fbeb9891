//! This host among the others: its record and its lease, who is alive, and what becomes of the dead.
//!
//! Only the liveness key hangs on the lease. When it ends, the others stop sending there; names and addresses stay
//! reserved through a quarantine. A host that can't renew takes its own global endpoints off the network by its own
//! clock before that quarantine can end.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use drivers::KnownHost;
use imbl::OrdSet;
use model::{Node, NodeId, Scope, Snapshot};
use store::{Guard, LeaseId, Store, Txn, Write};

use crate::{
    core::{Core, Fence},
    endpoints,
    error::Result,
    records, sandboxes,
};

/// Keeps this host's liveness.
#[derive(Debug)]
pub(crate) struct Liveness {
    lease: Option<LeaseId>,
    renewed: Instant,
}

impl Liveness {
    pub(crate) fn new() -> Self {
        Self {
            lease: None,
            renewed: Instant::now(),
        }
    }

    /// Renews, or begins anew with a lease that ended. Fences when that has failed for too long, and lifts the fence.
    pub(crate) async fn keep(&mut self, core: &Arc<Core>, store: &dyn Store) {
        match self.renew(core, store).await {
            Ok(()) => {
                self.renewed = Instant::now();
                if core.fence() == Fence::Down {
                    tracing::warn!("the lease is renewed again: global endpoints go back on the network");
                    set_fence(core, Fence::Lifted).await;
                }
            }
            Err(error) => {
                tracing::debug!(%error, "the lease could not be renewed");
                let limit = core.settings.quarantine / 4 * 3;
                if core.fence() != Fence::Down && self.renewed.elapsed() >= limit {
                    tracing::error!(
                        ?limit,
                        "no lease for too long: global endpoints are taken off the network"
                    );
                    set_fence(core, Fence::Down).await;
                }
            }
        }
    }

    async fn renew(&mut self, core: &Core, store: &dyn Store) -> store::Result<()> {
        if let Some(lease) = &self.lease {
            match store.renew(lease).await {
                Err(store::Error::LeaseEnded(_)) => self.lease = None,
                other => return other,
            }
        }
        let lease = store.grant(core.settings.lease).await?;
        let record = records::nodes().put(core.node.id, &core.node);
        let key = records::alive_key(core.node.id);
        let mut txn = record;
        txn.writes.push(Write::Put {
            key,
            value: Vec::new(),
            lease: Some(lease.clone()),
        });
        store.commit(txn).await?;
        self.lease = Some(lease);
        Ok(())
    }

    /// Gives the lease up, so that the others know at once.
    pub(crate) async fn end(&mut self, store: &dyn Store) {
        if let Some(lease) = self.lease.take()
            && let Err(error) = store.revoke(&lease).await
        {
            tracing::debug!(%error, "the lease ends by itself");
        }
    }
}

async fn set_fence(core: &Arc<Core>, fence: Fence) {
    core.set_fence(fence);
    for sandbox in core.records.snapshot().sandboxes.values() {
        if let Err(error) = sandboxes::refresh(core, sandbox).await {
            tracing::error!(%error, sandbox = %sandbox.id.short(), "fencing failed");
        }
    }
}

/// Reads who is there and who is alive. Answers whether that changed.
pub(crate) async fn sync(core: &Arc<Core>, store: &dyn Store) -> Result<bool> {
    let (_, known) = records::nodes().list(store).await?;
    let alive = store.list(&records::alive()).await?;
    let mut nodes: BTreeMap<NodeId, Node> = known
        .into_iter()
        .map(|found| (found.record.id, found.record))
        .collect();
    nodes.insert(core.node.id, core.node.clone());
    let mut live: OrdSet<NodeId> = alive
        .entries
        .iter()
        .filter_map(|entry| entry.key.last().parse().ok())
        .collect();
    live.insert(core.node.id);
    let snapshot = core.records.snapshot();
    let same_nodes = snapshot.nodes.len() == nodes.len()
        && nodes
            .iter()
            .all(|(id, node)| snapshot.nodes.get(id).is_some_and(|known| **known == *node));
    if same_nodes && snapshot.live_nodes == live {
        return Ok(false);
    }
    keep_copies(core, &snapshot, &nodes).await;
    core.records.publish(|snapshot| {
        snapshot.nodes = nodes.into_iter().map(|(id, node)| (id, Arc::new(node))).collect();
        snapshot.live_nodes = live;
    });
    Ok(true)
}

/// Lets drivers know which hosts are alive. Those that have heard it already do nothing.
pub(crate) async fn tell_drivers(core: &Core) {
    core.catalog
        .hosts_changed(&living(&core.records.snapshot(), core.node.id))
        .await;
}

/// Pure: the hosts that are alive, as drivers know them.
fn living(snapshot: &Snapshot, itself: NodeId) -> Vec<KnownHost> {
    let alive = snapshot.live_nodes.iter().filter_map(|id| snapshot.nodes.get(id));
    alive
        .map(|node| KnownHost {
            node: node.id,
            address: node.address,
            itself: node.id == itself,
        })
        .collect()
}

async fn keep_copies(core: &Core, before: &Snapshot, nodes: &BTreeMap<NodeId, Node>) {
    let table = records::node_copies();
    let mut txns: Vec<Txn> = nodes
        .iter()
        .filter(|(id, node)| before.nodes.get(id).is_none_or(|known| **known != **node))
        .map(|(id, node)| table.put(id, node))
        .collect();
    txns.extend(
        before
            .nodes
            .keys()
            .filter(|id| !nodes.contains_key(id))
            .map(|id| table.delete(id)),
    );
    records::commit_copies(core, txns).await;
}

/// How long each dead host has been dead, as far as this host has seen it.
#[derive(Debug, Default)]
pub(crate) struct Quarantine {
    dead: BTreeMap<NodeId, Instant>,
    /// Those that nothing is held for any more.
    forgotten: BTreeSet<NodeId>,
}

impl Quarantine {
    /// While the store does not answer, nobody's quarantine runs.
    pub(crate) fn pause(&mut self) {
        self.dead.clear();
    }

    /// Notes who is dead now, and frees what hosts dead for long enough still hold.
    pub(crate) async fn pass(&mut self, core: &Arc<Core>) {
        let snapshot = core.records.snapshot();
        let now = Instant::now();
        for node in self.due(&owners(&snapshot), &snapshot, now, core.settings.quarantine) {
            let mut all = true;
            let own = snapshot
                .endpoints
                .values()
                .filter(|endpoint| endpoint.node == node);
            for endpoint in own {
                let Some(network) = snapshot.networks.get(&endpoint.network) else {
                    continue;
                };
                match endpoints::reap(core, network, endpoint).await {
                    Ok(()) => tracing::info!(endpoint = %endpoint.name, node = %node.short(), "freed"),
                    Err(error) => {
                        tracing::debug!(%error, endpoint = %endpoint.name, "not freed");
                        all = false;
                    }
                }
            }
            if all && !self.forgotten.contains(&node) {
                match forget(core, &snapshot, node).await {
                    Ok(()) => {
                        self.forgotten.insert(node);
                    }
                    Err(error) => {
                        tracing::debug!(%error, node = %node.short(), "what it set aside stays for now");
                    }
                }
            }
        }
    }

    /// Pure: the hosts whose quarantine has ended.
    fn due(
        &mut self,
        owners: &BTreeSet<NodeId>,
        snapshot: &Snapshot,
        now: Instant,
        quarantine: Duration,
    ) -> Vec<NodeId> {
        let dead = |node: &NodeId| owners.contains(node) && !snapshot.live_nodes.contains(node);
        self.dead.retain(|node, _| dead(node));
        self.forgotten.retain(dead);
        for node in owners.iter().filter(|node| dead(node)) {
            self.dead.entry(*node).or_insert(now);
        }
        let over = self
            .dead
            .iter()
            .filter(|(_, since)| now.duration_since(**since) >= quarantine);
        over.map(|(node, _)| *node).collect()
    }
}

/// Frees what was set aside for containers of a dead host that had no endpoint, and what is kept for those that had.
async fn forget(core: &Core, snapshot: &Snapshot, node: NodeId) -> Result<()> {
    let shared = snapshot.networks.values();
    for network in shared.filter(|network| network.scope == Scope::Global && !network.pools.is_empty()) {
        loop {
            let ipam = core.ipam(network);
            let forgotten = ipam.forget_node(network.id, network.scope, node).await?;
            if forgotten == Txn::new() {
                break;
            }
            let dead = Txn::new().guard(Guard::Absent(records::alive_key(node)));
            core.stores.of(network.scope).commit(dead.and(forgotten)).await?;
            tracing::info!(network = %network.name, node = %node.short(), "what it had set aside is free");
        }
    }
    Ok(())
}

/// The hosts that may hold something of a shared network: those that are known, and whoever owns an endpoint.
fn owners(snapshot: &Snapshot) -> BTreeSet<NodeId> {
    let shared = |network| {
        let network: Option<&Arc<model::Network>> = snapshot.networks.get(network);
        network.is_some_and(|network| network.scope == Scope::Global)
    };
    let own = snapshot
        .endpoints
        .values()
        .filter(|endpoint| shared(&endpoint.network));
    own.map(|endpoint| endpoint.node)
        .chain(snapshot.nodes.keys().copied())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarantine_runs_while_a_host_stays_dead_and_starts_again_when_it_was_alive() {
        let (mut quarantine, node, begin) = (Quarantine::default(), NodeId::random(), Instant::now());
        let owners = BTreeSet::from([node]);
        let dead = Snapshot::default();
        let mut alive = Snapshot::default();
        alive.live_nodes.insert(node);
        let limit = Duration::from_secs(60);
        let mut at = |seconds, snapshot: &Snapshot| {
            quarantine.due(&owners, snapshot, begin + Duration::from_secs(seconds), limit)
        };
        assert!(at(0, &dead).is_empty());
        assert!(at(59, &dead).is_empty());
        assert!(at(59, &alive).is_empty());
        assert!(at(61, &dead).is_empty(), "it was alive in between");
        assert_eq!(at(121, &dead), [node]);
    }
}
