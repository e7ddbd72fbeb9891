//! What drivers answered at join, and what was last applied to each sandbox. In memory only: a restart joins again.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use drivers::{Access, Attachment};
use kernel::KernelState;
use model::{EndpointId, SandboxId};

#[derive(Debug, Default)]
struct State {
    joined: HashMap<EndpointId, Attachment>,
    applied: HashMap<SandboxId, KernelState>,
    published: HashMap<EndpointId, Published>,
    leaving: HashSet<EndpointId>,
}

/// What leads to an endpoint that would not of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Published {
    pub(crate) access: Access,
    /// A part of it may be missing: the driver has failed, or another process told it.
    pub(crate) unsure: bool,
}

/// Attachments of this host's endpoints.
#[derive(Debug, Default)]
pub(crate) struct Attachments(Mutex<State>);

impl Attachments {
    /// What the driver answered for this endpoint; none while it has not joined.
    pub(crate) fn get(&self, id: EndpointId) -> Option<Attachment> {
        self.state().joined.get(&id).cloned()
    }

    /// Whether it has joined.
    pub(crate) fn has(&self, id: EndpointId) -> bool {
        self.state().joined.contains_key(&id)
    }

    pub(crate) fn insert(&self, id: EndpointId, attachment: Attachment) {
        self.state().joined.insert(id, attachment);
    }

    /// What the endpoint's driver was last told to let in.
    pub(crate) fn published(&self, id: EndpointId) -> Published {
        self.state().published.get(&id).cloned().unwrap_or_default()
    }

    pub(crate) fn set_published(&self, id: EndpointId, published: Published) {
        let mut state = self.state();
        match published == Published::default() {
            true => state.published.remove(&id),
            false => state.published.insert(id, published),
        };
    }

    pub(crate) fn remove(&self, id: EndpointId) {
        let mut state = self.state();
        state.joined.remove(&id);
        state.leaving.remove(&id);
    }

    /// Notes whether the engine that dresses an endpoint's sandbox is taking the interface out of it.
    pub(crate) fn set_leaving(&self, id: EndpointId, leaving: bool) {
        match leaving {
            true => self.state().leaving.insert(id),
            false => self.state().leaving.remove(&id),
        };
    }

    /// Whether it is: the interface is no more to be looked for in there.
    pub(crate) fn is_leaving(&self, id: EndpointId) -> bool {
        self.state().leaving.contains(&id)
    }

    /// What the sandbox was last brought to.
    pub(crate) fn applied(&self, id: SandboxId) -> KernelState {
        self.state().applied.get(&id).cloned().unwrap_or_default()
    }

    pub(crate) fn set_applied(&self, id: SandboxId, state: KernelState) {
        self.state().applied.insert(id, state);
    }

    /// Forgets a sandbox, or what is known of its namespace.
    pub(crate) fn forget(&self, id: SandboxId) {
        self.state().applied.remove(&id);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The maps are whole even if a holder of the lock panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
