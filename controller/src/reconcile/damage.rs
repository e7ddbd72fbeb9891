//! What others did to what is ours: heard from the kernel, gathered for a moment, repaired.
//!
//! Only what is concerned is looked at: the networks whose links were touched, all of them for a flushed firewall. A
//! repair that finds somebody at a record leaves it for the next moment. Whoever takes away again what was just put back
//! is answered more slowly each time, but always within two seconds.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use drivers::Driver;
use kernel::{Damage, Owner, Watch};
use model::{Lifecycle, Network, NetworkId, Sandbox, SandboxId, Snapshot};
use tokio::sync::Notify;

use super::repair::{self, Looked};
use crate::{core::Core, dressed, locks::LockKey, sandboxes};

/// What is heard within it is repaired together.
const MOMENT: Duration = Duration::from_millis(100);
/// The moment of who damages again and again.
const LONGEST: Duration = Duration::from_millis(1000);
/// Damage that comes later than this after a repair has nothing to do with it.
const QUIET: Duration = Duration::from_secs(5);

/// Damage that waits for its repair.
#[derive(Debug, Default)]
pub(super) struct Heard {
    damage: Mutex<Damage>,
    woken: Notify,
}

impl Heard {
    /// More of it.
    pub(super) fn add(&self, damage: Damage) {
        self.waiting(|waiting| waiting.merge(damage));
        self.woken.notify_one();
    }

    /// Returns when there is some.
    pub(super) async fn any(&self) {
        self.woken.notified().await;
    }

    fn take(&self) -> Damage {
        self.waiting(std::mem::take)
    }

    fn waiting<T>(&self, with: impl FnOnce(&mut Damage) -> T) -> T {
        with(&mut self.damage.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Listens to the kernel from now on.
pub(super) async fn listen(core: &Core) -> (Arc<Heard>, Watch) {
    let heard = Arc::new(Heard::default());
    let told = Arc::clone(&heard);
    let watch = core.worker.watch(Box::new(move |damage| told.add(damage))).await;
    let watch = watch.unwrap_or_else(|error| {
        tracing::warn!(%error, "what others change is repaired by the timer alone");
        Watch::nothing()
    });
    (heard, watch)
}

/// How long to gather before a repair.
#[derive(Debug, Default)]
pub(super) struct Pace {
    last: Option<(Instant, Duration)>,
}

impl Pace {
    /// The moment before the repair that is due at `now`.
    fn moment(&self, now: Instant) -> Duration {
        match self.last {
            Some((ended, moment)) if now.saturating_duration_since(ended) < QUIET => {
                (moment * 2).min(LONGEST)
            }
            _ => MOMENT,
        }
    }
}

/// Gathers for a moment, then repairs. Answers whether other people's tables were changed too.
pub(super) async fn mend(core: &Arc<Core>, heard: &Heard, pace: &mut Pace) -> bool {
    let moment = pace.moment(Instant::now());
    tokio::time::sleep(moment).await;
    let mut damage = heard.take();
    let others = std::mem::take(&mut damage.others) || damage.unknown;
    if damage.is_none() {
        return others;
    }
    let began = Instant::now();
    let snapshot = core.records.snapshot();
    leave_whole_ones(core, &mut damage, &snapshot).await;
    let concerned = Concerned::by(&damage, &snapshot, |network| links_of(core, network)).with_sandboxes(
        &damage,
        &snapshot,
        |network| match takes_along(core, network) {
            true => links_of(core, network),
            false => Vec::new(),
        },
    );
    // What we remove ourselves is announced like any other loss: it must not make the answer to real damage slower.
    if !damage.unknown && concerned == Concerned::default() {
        return others;
    }
    match damage.is_ours() {
        true => tracing::info!(?damage, "somebody changed what is ours: repairing it"),
        false => tracing::debug!(?damage, "the host changed: looking at what it means for us"),
    }
    if damage.unknown {
        repair::repair_all(core).await;
    } else {
        repair_concerned(core, heard, &snapshot, concerned).await;
    }
    core.work.ran_since(began);
    pace.last = Some((Instant::now(), moment));
    others
}

/// Takes out of the damage the sandboxes that lack nothing: what goes in there by our own doing is heard, too.
async fn leave_whole_ones(core: &Arc<Core>, damage: &mut Damage, snapshot: &Snapshot) {
    let heard: Vec<_> = damage.owners.iter().copied().collect();
    for owner in heard {
        let Owner::Sandbox(id) = owner else { continue };
        let Some(sandbox) = snapshot.sandboxes.get(&id) else {
            damage.owners.remove(&owner);
            continue;
        };
        // Not in the middle of a change of ours.
        let _sandbox = core.locks.exclusive(LockKey::Sandbox(id)).await;
        // Where it can't be told, it is repaired.
        if core.insides.is_given_up(id, Instant::now())
            || matches!(sandboxes::is_whole(core, sandbox).await, Ok(true))
        {
            damage.owners.remove(&owner);
        }
    }
}

/// Whether a repair has done what it should. What is undone of one that fails is heard like anybody's doing, so that there
/// must be an end of it.
async fn came_back(core: &Core, sandbox: &Sandbox) -> bool {
    // One that is being removed is nobody's concern any more.
    let is_whole = sandboxes::is_whole(core, sandbox).await.unwrap_or(true);
    core.insides.tried(sandbox.id, is_whole, Instant::now());
    is_whole
}

async fn repair_concerned(core: &Arc<Core>, heard: &Heard, snapshot: &Snapshot, concerned: Concerned) {
    let survey = match concerned.networks.len() {
        0 | 1 => None,
        _ => repair::survey(core).await,
    };
    let mut busy = Damage::default();
    for id in &concerned.networks {
        let Some(network) = snapshot.networks.get(id) else {
            continue;
        };
        let looked = repair::repair_network(core, network, survey.as_ref()).await;
        if matches!(looked, Ok(Looked::Busy)) {
            busy.owners.insert(Owner::Network(*id));
        }
        repair::report(core, "network", &network.name, looked.map(drop));
    }
    for (id, again) in &concerned.sandboxes {
        if let Some(sandbox) = snapshot.sandboxes.get(id) {
            repair_sandbox(core, sandbox, *again).await;
            if *again && !came_back(core, sandbox).await {
                busy.owners.insert(Owner::Sandbox(*id));
            }
        }
    }
    if !busy.is_none() {
        heard.add(busy);
    }
}

async fn repair_sandbox(core: &Arc<Core>, sandbox: &Arc<Sandbox>, again: bool) {
    if sandbox.lifecycle == Lifecycle::Active {
        repair::repair_sandbox(core, sandbox, again).await;
    }
}

fn links_of(core: &Core, network: &Network) -> Vec<model::InterfaceName> {
    let driver: Option<Arc<dyn Driver>> = core.driver(&network.driver).ok();
    driver.map(|driver| driver.links(network)).unwrap_or_default()
}

fn takes_along(core: &Core, network: &Network) -> bool {
    core.driver(&network.driver)
        .is_ok_and(|driver| driver.takes_interfaces_along())
}

/// Whose kernel objects are looked at.
#[derive(Debug, Default, PartialEq, Eq)]
struct Concerned {
    networks: BTreeSet<NetworkId>,
    /// With those true everything inside is made again, not only what the records changed.
    sandboxes: BTreeMap<SandboxId, bool>,
}

impl Concerned {
    /// Damage in terms of records. What belongs to no record, as what we are removing ourselves, concerns nobody.
    fn by(
        damage: &Damage,
        snapshot: &Snapshot,
        links: impl Fn(&Network) -> Vec<model::InterfaceName>,
    ) -> Self {
        let mut concerned = Self::default();
        for owner in &damage.owners {
            match owner {
                Owner::Network(id) => drop(concerned.networks.insert(*id)),
                Owner::Endpoint(id) => {
                    // One that is being disconnected loses its interface by our own doing.
                    let endpoint = snapshot.endpoints.get(id);
                    let Some(endpoint) = endpoint.filter(|it| it.lifecycle != Lifecycle::Deleting) else {
                        continue;
                    };
                    // One that waits on the host is taken by its engine at any moment; another one made in its place would
                    // be in the way when it comes back.
                    let sandbox = snapshot.sandboxes.get(&endpoint.sandbox);
                    if sandbox.is_some_and(|sandbox| dressed::is_on_host(sandbox, endpoint)) {
                        continue;
                    }
                    concerned.networks.insert(endpoint.network);
                    concerned.sandboxes.insert(endpoint.sandbox, true);
                }
                Owner::Sandbox(id) if snapshot.sandboxes.contains_key(id) => {
                    concerned.sandboxes.insert(*id, true);
                }
                Owner::Sandbox(_) | Owner::Host => {}
            }
        }
        let all = damage.rules || damage.surroundings;
        for network in snapshot.networks.values() {
            let by_link = || links(network).iter().any(|link| damage.links.contains(link));
            if all || !damage.links.is_empty() && by_link() {
                concerned.networks.insert(network.id);
            }
        }
        concerned.networks.retain(|id| {
            let network = snapshot.networks.get(id);
            network.is_some_and(|network| network.lifecycle == Lifecycle::Active)
        });
        if damage.surroundings {
            for id in snapshot.sandboxes.keys() {
                concerned.sandboxes.entry(*id).or_insert(false);
            }
        }
        concerned
    }

    /// With the sandboxes of networks whose links take their interfaces along: those are made again, and bare.
    fn with_sandboxes(
        mut self,
        damage: &Damage,
        snapshot: &Snapshot,
        links: impl Fn(&Network) -> Vec<model::InterfaceName>,
    ) -> Self {
        if damage.links.is_empty() {
            return self;
        }
        for network in self.networks.iter().filter_map(|id| snapshot.networks.get(id)) {
            if links(network).iter().any(|link| damage.links.contains(link)) {
                let sandboxes = snapshot
                    .endpoints_on(&network.id)
                    .map(|endpoint| endpoint.sandbox);
                self.sandboxes.extend(sandboxes.map(|sandbox| (sandbox, true)));
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_damages_again_and_again_is_answered_more_slowly() {
        let (now, mut pace) = (Instant::now(), Pace::default());
        let mut moments = Vec::new();
        for _ in 0..7 {
            let moment = pace.moment(now);
            moments.push(moment.as_millis());
            pace.last = Some((now, moment));
        }
        assert_eq!(moments, [100, 200, 400, 800, 1000, 1000, 1000]);
        assert_eq!(pace.moment(now + QUIET), MOMENT, "after some quiet");
    }

    #[test]
    fn the_two_seconds_of_the_promise_leave_a_repair_room_whatever_the_rhythm_of_damage() {
        const PROMISE: Duration = Duration::from_secs(2);
        const OF_A_REPAIR: Duration = Duration::from_millis(400);
        // Damage that comes at once, again and again at each of these distances, and while a repair goes on.
        for distance in [0, 1, 99, 500, 1000, 2000, 4999, 5000, 20_000].map(Duration::from_millis) {
            let (mut now, mut pace) = (Instant::now(), Pace::default());
            for time in 0..50 {
                let damaged = now;
                let moment = pace.moment(now);
                let ended = now + moment + OF_A_REPAIR;
                pace.last = Some((ended, moment));
                // What comes in the middle of the repair waits for its end and the next moment.
                let worst = OF_A_REPAIR + pace.moment(ended) + OF_A_REPAIR;
                let took = (ended - damaged).max(worst);
                assert!(took < PROMISE, "{distance:?} apart, the {time}th: {took:?}");
                now = ended + distance;
            }
        }
    }

    #[test]
    fn damage_to_what_no_record_has_concerns_nobody() {
        let damage = Damage {
            owners: [
                Owner::Network(NetworkId::random()),
                Owner::Endpoint(model::EndpointId::random()),
                Owner::Host,
            ]
            .into(),
            ..Damage::default()
        };
        let concerned = Concerned::by(&damage, &Snapshot::default(), |_| Vec::new());
        assert_eq!(concerned, Concerned::default());
    }
}
