//! The cluster store: its changes wake us, and a change of one network re-lists that network alone.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use model::{Endpoint, EndpointId, Lifecycle, Network, NetworkId, Scope, Snapshot};
use store::{Change, Key, Revision, Store, Txn, Versioned, Watch};
use tokio::{sync::watch::Receiver, task::JoinHandle};

use super::asked_to_stop;
use crate::{
    core::Core,
    endpoints,
    error::Result,
    networks,
    nodes::{self, Liveness, Quarantine},
    records,
};

/// How long after a failure the store is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// Which revision of each network's changes the snapshot has.
type Seen = BTreeMap<NetworkId, Revision>;

/// Reads everything once, before anything else is done. A store that does not answer leaves the copy, marked stale.
pub(super) async fn first(core: &Arc<Core>, store: &dyn Store) {
    let read = async {
        nodes::sync(core, store).await?;
        nodes::tell_drivers(core).await;
        sync(core, store, &mut Seen::new()).await
    };
    match read.await {
        Ok(_) => set_stale(core, false),
        Err(error) => tracing::warn!(%error, "global networks are served from this host's copy"),
    }
}

/// The tasks that keep up with the store.
pub(super) fn spawn(
    core: &Arc<Core>,
    store: &Arc<dyn Store>,
    stopped: &Receiver<bool>,
) -> Vec<JoinHandle<()>> {
    vec![
        tokio::spawn(until(
            stopped.clone(),
            follow_networks(Arc::clone(core), Arc::clone(store)),
        )),
        tokio::spawn(until(
            stopped.clone(),
            follow_nodes(Arc::clone(core), Arc::clone(store)),
        )),
        tokio::spawn(keep_alive(Arc::clone(core), Arc::clone(store), stopped.clone())),
    ]
}

async fn until(mut stopped: Receiver<bool>, work: impl Future<Output = ()>) {
    tokio::select! {
        () = asked_to_stop(&mut stopped) => {}
        () = work => {}
    }
}

async fn keep_alive(core: Arc<Core>, store: Arc<dyn Store>, mut stopped: Receiver<bool>) {
    let mut liveness = Liveness::new();
    let mut tick = tokio::time::interval(core.settings.lease / 3);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = asked_to_stop(&mut stopped) => break,
            _ = tick.tick() => liveness.keep(&core, &*store).await,
        }
    }
    // Containers go on: to others this host is gone only when nobody takes the lease up again in time.
    if !(core.comes_back() && is_used(&core)) {
        liveness.end(&*store).await;
    }
}

/// Whether other hosts send to endpoints of this one.
fn is_used(core: &Core) -> bool {
    let snapshot = core.records.snapshot();
    let mut own = snapshot
        .endpoints
        .values()
        .filter(|endpoint| endpoint.node == core.node.id);
    own.any(|endpoint| {
        let network = snapshot.networks.get(&endpoint.network);
        network.is_some_and(|network| core.records.shared(network.scope))
    })
}

async fn open(store: &dyn Store, prefix: &Key) -> Box<dyn Watch> {
    loop {
        match store.watch(prefix).await {
            Ok(watch) => return watch,
            Err(error) => {
                tracing::debug!(%error, "no watch yet");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

async fn follow_networks(core: Arc<Core>, store: Arc<dyn Store>) {
    let mut seen = Seen::new();
    let mut watch = open(&*store, &records::changes()).await;
    let mut complete = true;
    loop {
        let change = tokio::select! {
            change = watch.next() => Some(change),
            () = tokio::time::sleep(AGAIN), if !complete => None,
        };
        if change == Some(Change::Lost) {
            set_stale(&core, true);
            continue;
        }
        complete = loop {
            match catch_up(&core, &*store, &mut seen).await {
                Ok(complete) => break complete,
                Err(error) => {
                    tracing::warn!(%error, "the cluster store could not be read");
                    set_stale(&core, true);
                    tokio::time::sleep(AGAIN).await;
                }
            }
        };
        if let Err(error) = endpoints::release_noted(&core).await {
            tracing::debug!(%error, "what is to release waits on");
        }
    }
}

/// Reads what changed, and after a time without the store puts right what it has of this host. Answers as [`sync`].
async fn catch_up(core: &Arc<Core>, store: &dyn Store, seen: &mut Seen) -> Result<bool> {
    let complete = sync(core, store, seen).await?;
    if core.records.snapshot().stale {
        endpoints::republish(core).await?;
        set_stale(core, false);
        core.wake.notify_one();
    }
    Ok(complete)
}

async fn follow_nodes(core: Arc<Core>, store: Arc<dyn Store>) {
    let mut quarantine = Quarantine::default();
    let mut watch = open(&*store, &records::alive()).await;
    let mut tick = tokio::time::interval((core.settings.quarantine / 20).max(Duration::from_millis(50)));
    loop {
        let lost = tokio::select! {
            change = watch.next() => change == Change::Lost,
            _ = tick.tick() => core.records.snapshot().stale,
        };
        if lost {
            quarantine.pause();
            continue;
        }
        match nodes::sync(&core, &*store).await {
            Ok(changed) => {
                nodes::tell_drivers(&core).await;
                if changed {
                    tell_everybody(&core).await;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "who is alive could not be read");
                quarantine.pause();
                continue;
            }
        }
        quarantine.pass(&core).await;
    }
}

/// Hosts went or came: every network's peers may have changed.
async fn tell_everybody(core: &Arc<Core>) {
    for network in core.records.snapshot().networks.values() {
        tell(core, network).await;
    }
}

async fn tell(core: &Arc<Core>, network: &Arc<Network>) {
    if let Err(error) = networks::tell_peers(core, network).await {
        tracing::warn!(%error, network = %network.name, "peers could not be told; the repair does it");
        core.wake.notify_one();
    }
}

fn set_stale(core: &Core, stale: bool) {
    if core.records.snapshot().stale != stale {
        match stale {
            true => tracing::warn!("the cluster store does not answer: global records are as last seen"),
            false => tracing::info!("the cluster store answers"),
        }
        core.records.publish(|snapshot| snapshot.stale = stale);
    }
}

/// Brings the snapshot up to the store: every network whose change key has moved, and those that are gone. Answers
/// whether that is all: a network that goes while an endpoint is being made on it is to be looked at again.
async fn sync(core: &Arc<Core>, store: &dyn Store, seen: &mut Seen) -> Result<bool> {
    let listing = store.list(&records::changes()).await?;
    let now: Seen = listing
        .entries
        .iter()
        .filter_map(|entry| Some((entry.key.last().parse().ok()?, entry.revision)))
        .collect();
    for (id, revision) in &now {
        if seen.get(id) != Some(revision) {
            sync_network(core, store, *id).await?;
            seen.insert(*id, *revision);
        }
    }
    seen.retain(|id, _| now.contains_key(id));
    let snapshot = core.records.snapshot();
    let gone = snapshot
        .networks
        .values()
        .filter(|network| network.scope == Scope::Global && !now.contains_key(&network.id));
    let mut complete = true;
    for network in gone {
        // Made here a moment after the listing: its own commit tells of it again.
        if records::networks().get(store, network.id).await?.is_none() {
            complete &= forget(core, network).await;
        }
    }
    Ok(complete)
}

async fn sync_network(core: &Arc<Core>, store: &dyn Store, id: NetworkId) -> Result<()> {
    let Some(found) = records::networks().get(store, id).await? else {
        return Ok(());
    };
    let (_, listed) = records::endpoints(id).list(store).await?;
    // An endpoint is committed under the guard of this revision, so it must never be that of a network being removed.
    let usable = found.record.lifecycle == Lifecycle::Active;
    core.records.set_revision(id, usable.then_some(found.revision));
    let foreign = |endpoint: &Endpoint| endpoint.node != core.node.id;
    let theirs: BTreeMap<EndpointId, Endpoint> = listed
        .into_iter()
        .map(|Versioned { record, .. }| (record.id, record))
        .filter(|(_, endpoint)| foreign(endpoint))
        .collect();
    let before = core.records.snapshot();
    let changes = Differences::between(&before, &found.record, &theirs, foreign);
    if changes.is_empty() {
        return Ok(());
    }
    let copies = changes.copies(id);
    core.records.publish(|snapshot| changes.apply(snapshot));
    records::commit_copies(core, copies).await;
    let network = core.records.snapshot().networks.get(&id).cloned();
    if let Some(network) = network {
        tell(core, &network).await;
    }
    Ok(())
}

/// What a listing says that the snapshot doesn't.
struct Differences {
    network: Option<Arc<Network>>,
    come: Vec<Arc<Endpoint>>,
    gone: Vec<EndpointId>,
}

impl Differences {
    /// Pure.
    fn between(
        snapshot: &Snapshot,
        network: &Network,
        theirs: &BTreeMap<EndpointId, Endpoint>,
        foreign: impl Fn(&Endpoint) -> bool,
    ) -> Self {
        let known = snapshot.networks.get(&network.id);
        let known_endpoint = |endpoint: &Endpoint| snapshot.endpoints.get(&endpoint.id);
        Self {
            network: known
                .is_none_or(|known| **known != *network)
                .then(|| Arc::new(network.clone())),
            come: theirs
                .values()
                .filter(|endpoint| known_endpoint(endpoint).is_none_or(|known| **known != **endpoint))
                .map(|endpoint| Arc::new(endpoint.clone()))
                .collect(),
            gone: snapshot
                .endpoints_on(&network.id)
                .filter(|endpoint| foreign(endpoint) && !theirs.contains_key(&endpoint.id))
                .map(|endpoint| endpoint.id)
                .collect(),
        }
    }

    fn is_empty(&self) -> bool {
        self.network.is_none() && self.come.is_empty() && self.gone.is_empty()
    }

    fn copies(&self, id: NetworkId) -> Vec<Txn> {
        let table = records::endpoint_copies(id);
        let network = self
            .network
            .iter()
            .map(|network| records::network_copies().put(id, network));
        let come = self.come.iter().map(|endpoint| table.put(endpoint.id, endpoint));
        network
            .chain(come)
            .chain(self.gone.iter().map(|endpoint| table.delete(endpoint)))
            .collect()
    }

    fn apply(self, snapshot: &mut Snapshot) {
        if let Some(network) = self.network {
            snapshot.networks.insert(network.id, network);
        }
        for id in &self.gone {
            snapshot.remove_endpoint(id);
        }
        for endpoint in self.come {
            snapshot.insert_endpoint(endpoint);
        }
    }
}

/// Another host has removed the network. Answers false when an endpoint is being made on it, which the store refuses.
async fn forget(core: &Arc<Core>, network: &Arc<Network>) -> bool {
    let snapshot = core.records.snapshot();
    let here = |lifecycle: Lifecycle| {
        snapshot
            .endpoints_on(&network.id)
            .any(|endpoint| endpoint.node == core.node.id && endpoint.lifecycle == lifecycle)
    };
    if here(Lifecycle::Active) {
        tracing::error!(network = %network.name, "removed elsewhere while it is in use here");
        return true;
    }
    if here(Lifecycle::Creating) {
        return false;
    }
    core.records.set_revision(network.id, None);
    let (id, table) = (network.id, records::endpoint_copies(network.id));
    let mut copies: Vec<_> = snapshot
        .endpoints_on(&id)
        .map(|endpoint| table.delete(endpoint.id))
        .collect();
    copies.push(records::network_copies().delete(id));
    records::commit_copies(core, copies).await;
    core.records.publish(|snapshot| {
        let left: Vec<_> = snapshot.endpoints_on(&id).map(|endpoint| endpoint.id).collect();
        for endpoint in left {
            snapshot.remove_endpoint(&endpoint);
        }
        snapshot.networks.remove(&id);
    });
    // Not only what this process knows to be made: the network may have gone while the daemon was down. Who removed it
    // has told its driver; only this host's part is left.
    let part = Arc::new(Network {
        lifecycle: Lifecycle::Active,
        ..Network::clone(network)
    });
    if let Err(error) = networks::remove_from_kernel(core, &part).await {
        tracing::warn!(%error, network = %network.name, "not removed from the kernel yet");
    }
    true
}
