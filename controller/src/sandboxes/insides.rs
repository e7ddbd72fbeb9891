//! What somebody takes away inside of sandboxes: heard, and told to the reconciler as damage of that sandbox.
//!
//! A watch keeps its namespace alive, so it ends before that is removed.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use kernel::{Damage, Owner, Watch};
use model::{Sandbox, SandboxId, SandboxKind};

use crate::core::Core;

type Tell = Arc<dyn Fn(Damage) + Send + Sync>;

/// The watches of this host's sandboxes.
#[derive(Default)]
pub(crate) struct Insides(Mutex<State>);

#[derive(Default)]
struct State {
    tell: Option<Tell>,
    watches: HashMap<SandboxId, Watch>,
    /// Those that could not be repaired, with how often in a row, and when last.
    failed: HashMap<SandboxId, (u32, Instant)>,
}

/// A repair may meet what somebody does at this very moment: so often it is tried at once.
const TRIES: u32 = 5;
/// How long the timer alone looks at a sandbox that could not be repaired.
const PAUSE: Duration = Duration::from_secs(60);

impl fmt::Debug for Insides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let watched = self.state().watches.len();
        f.debug_struct("Insides").field("watched", &watched).finish()
    }
}

impl Insides {
    /// Whom to tell from now on; nobody, and nothing is watched any more.
    pub(crate) fn tell(&self, tell: Option<Tell>) {
        let mut state = self.state();
        state.tell = tell;
        state.watches.clear();
    }

    /// Watches no more what is in a sandbox.
    pub(crate) fn leave(&self, id: SandboxId) {
        let mut state = self.state();
        state.watches.remove(&id);
        state.failed.remove(&id);
    }

    /// A repair has brought a sandbox back, or not.
    pub(crate) fn tried(&self, id: SandboxId, is_whole: bool, now: Instant) {
        let mut state = self.state();
        match is_whole {
            true => drop(state.failed.remove(&id)),
            false => {
                let (count, last) = state.failed.entry(id).or_insert((0, now));
                (*count, *last) = (*count + 1, now);
            }
        }
    }

    /// Whether it could not be repaired a moment ago, though it was tried again and again.
    pub(crate) fn is_given_up(&self, id: SandboxId, now: Instant) -> bool {
        let mut state = self.state();
        state
            .failed
            .retain(|_, (_, last)| now.saturating_duration_since(*last) < PAUSE);
        state.failed.get(&id).is_some_and(|(count, _)| *count >= TRIES)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The map is whole even if a holder of the lock panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Watches a sandbox that was made here, from now on. Without it the timer repairs what is in there.
pub(super) async fn watch(core: &Core, sandbox: &Sandbox) {
    let SandboxKind::Own(path) = &sandbox.kind else {
        return;
    };
    let id = sandbox.id;
    let tell = {
        let state = core.insides.state();
        state.tell.clone().filter(|_| !state.watches.contains_key(&id))
    };
    let Some(tell) = tell else { return };
    let told = move || {
        tell(Damage {
            owners: [Owner::Sandbox(id)].into(),
            ..Damage::default()
        });
    };
    match core.worker.watch_inside(path.clone(), Box::new(told)).await {
        Ok(watch) => drop(core.insides.state().watches.insert(id, watch)),
        Err(error) => {
            tracing::debug!(sandbox = %id.short(), %error, "what is taken away inside is left to the timer");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_repaired_is_left_to_the_timer_for_a_while() {
        let (insides, now, id) = (Insides::default(), Instant::now(), SandboxId::random());
        for time in 1..=TRIES {
            insides.tried(id, false, now);
            assert_eq!(insides.is_given_up(id, now), time == TRIES, "{time}");
        }
        assert!(!insides.is_given_up(SandboxId::random(), now));
        assert!(!insides.is_given_up(id, now + PAUSE));
        (0..TRIES).for_each(|_| insides.tried(id, false, now));
        insides.tried(id, true, now);
        assert!(!insides.is_given_up(id, now));
    }
}
