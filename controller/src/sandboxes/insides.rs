//! What somebody takes away inside of sandboxes: heard, and told to the reconciler as damage of that sandbox.
//!
//! A watch keeps its namespace alive, so it ends before that is removed.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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
}

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
        self.state().watches.remove(&id);
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
