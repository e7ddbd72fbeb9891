//! Flows of addresses that endpoints had, forgotten behind the answer: finding them among all flows of a host may take
//! the kernel longer than a whole disconnect, and a processor of its own meanwhile. So it is done a moment later, for all
//! that go at the same time.
//!
//! Whoever gets such an address next waits before it joins, so that it neither gets what was meant for the one before
//! nor loses flows of its own; for it, the flows are forgotten at once. A note is written in the commit that gives the address up; what a crash leaves is
//! forgotten at the next start. A note whose flows are forgotten goes with a later disconnect's commit: one of its own
//! would cost more than it is worth.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kernel::traffic::DeadFlows;
use model::{Endpoint, EndpointId, Lifecycle, Scope, Snapshot};
use serde::{Deserialize, Serialize};
use store::{Store, Txn};
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

use crate::{core::Core, error::Result, records, sandboxes};

/// Notes that one commit takes along, at most: it has other things to write.
const TAKEN_ALONG: usize = 16;

/// How long nobody is in a hurry: a disconnect's answer is out by then, and who goes with it has gone too.
const SOON: Duration = Duration::from_millis(20);

/// Addresses of an endpoint that is gone, as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    addresses: Vec<IpAddr>,
}

/// What is still to be forgotten.
#[derive(Debug, Default)]
pub(crate) struct Forgetting {
    state: Mutex<State>,
    /// Moves with every walk that is done.
    walks: watch::Sender<u64>,
    /// Somebody waits.
    hurry: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: HashMap<EndpointId, Vec<IpAddr>>,
    /// What the walk that is going on looks for.
    walking: HashMap<EndpointId, Vec<IpAddr>>,
    /// Forgotten: their notes may go.
    done: BTreeSet<EndpointId>,
    is_running: bool,
}

/// What a commit does about notes.
#[derive(Debug, Default)]
pub(super) struct Noted {
    pub(super) txn: Txn,
    taken_along: Vec<EndpointId>,
}

impl Forgetting {
    /// From now on whoever gets one of the endpoint's addresses waits. The transaction notes it, and is to be part of
    /// the one that gives the addresses up; then comes [`settle`].
    pub(super) fn note(&self, endpoint: &Endpoint, scope: Scope) -> Noted {
        let addresses: Vec<IpAddr> = endpoint.addresses.iter().map(|net| net.addr()).collect();
        // Flows on a network of several hosts are nobody's alone.
        if scope != Scope::Local || addresses.is_empty() {
            return Noted::default();
        }
        let mut state = self.state();
        state.done.remove(&endpoint.id);
        let table = records::dead_flows();
        let mut txn = table.put(
            endpoint.id,
            &Note {
                addresses: addresses.clone(),
            },
        );
        state.waiting.insert(endpoint.id, addresses);
        let taken_along: Vec<_> = state.done.iter().copied().take(TAKEN_ALONG).collect();
        for id in &taken_along {
            state.done.remove(id);
            txn = txn.and(table.delete(*id));
        }
        Noted { txn, taken_along }
    }

    /// Has it done now rather than in a moment, where these addresses are concerned: one of them may be given away next,
    /// and there is something else to wait for meanwhile.
    pub(super) fn hurry(&self, concerns: impl Fn(&IpAddr) -> bool) {
        if self.is_pending(concerns) {
            self.hurry.notify_one();
        }
    }

    /// Waits until no flow of these addresses is left to be forgotten.
    pub(super) async fn settled(&self, concerns: impl Fn(&IpAddr) -> bool + Send + Sync) {
        let mut walks = self.walks.subscribe();
        if self.is_pending(&concerns) {
            self.hurry.notify_one();
        }
        // The sender lives as long as this does.
        let _ = walks.wait_for(|_| !self.is_pending(&concerns)).await;
    }

    fn is_pending(&self, concerns: impl Fn(&IpAddr) -> bool) -> bool {
        let state = self.state();
        let all = state.waiting.values().chain(state.walking.values());
        all.flatten().any(concerns)
    }

    /// All that waits, for one walk; none when nobody needs to walk any more.
    fn begin(&self) -> Option<Vec<DeadFlows>> {
        let mut state = self.state();
        state.walking = std::mem::take(&mut state.waiting);
        state.is_running = !state.walking.is_empty();
        let addresses: BTreeSet<IpAddr> = state.walking.values().flatten().copied().collect();
        (state.is_running).then(|| addresses.into_iter().map(DeadFlows::Of).collect())
    }

    fn end(&self) {
        let mut state = self.state();
        let walked: Vec<_> = state.walking.drain().map(|(id, _)| id).collect();
        // One that was noted again meanwhile is still to be done.
        let done: Vec<_> = walked
            .into_iter()
            .filter(|id| !state.waiting.contains_key(id))
            .collect();
        state.done.extend(done);
        drop(state);
        self.walks.send_modify(|walks| *walks += 1);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The maps are whole even if a holder of the lock panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// After the commit, or without it: an address that nobody wears any more has no flow worth keeping.
pub(super) fn settle(core: &Arc<Core>, noted: Noted, is_committed: bool) {
    if !is_committed {
        core.forgetting.state().done.extend(noted.taken_along);
    }
    start(core);
}

/// Has what waits forgotten, in as few walks as there can be.
pub(crate) fn start(core: &Arc<Core>) {
    let mut state = core.forgetting.state();
    if state.is_running || state.waiting.is_empty() {
        return;
    }
    state.is_running = true;
    drop(state);
    let core = Arc::clone(core);
    tokio::spawn(async move {
        loop {
            // Whether somebody hurries or nobody does: it is time.
            let _ = timeout(SOON, core.forgetting.hurry.notified()).await;
            let Some(dead) = core.forgetting.begin() else {
                return;
            };
            sandboxes::forget_flows(&core, dead).await;
            core.forgetting.end();
        }
    });
}

/// What a process before this one left to be forgotten. An address that has a holder again is not touched: it waited.
pub(crate) async fn load(core: &Core, store: &dyn Store, snapshot: &Snapshot) -> Result<()> {
    let active = snapshot
        .endpoints
        .values()
        .filter(|endpoint| endpoint.lifecycle == Lifecycle::Active);
    let held: HashSet<IpAddr> = active
        .flat_map(|endpoint| {
            let addresses: Vec<_> = endpoint.addresses.iter().map(|net| net.addr()).collect();
            addresses
        })
        .collect();
    for entry in store.list(records::dead_flows().root()).await?.entries {
        let Ok(id) = entry.key.last().parse::<EndpointId>() else {
            continue;
        };
        let mut addresses = records::dead_flows().decode(&entry)?.record.addresses;
        addresses.retain(|address| !held.contains(address));
        let mut state = core.forgetting.state();
        if addresses.is_empty() {
            state.done.insert(id);
        } else {
            state.waiting.insert(id, addresses);
        }
    }
    Ok(())
}
