//! What drivers answered at join, and what was last applied to each sandbox. In memory only: a restart joins again.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use drivers::Attachment;
use kernel::KernelState;
use model::{EndpointId, SandboxId};

#[derive(Debug, Default)]
struct State {
    joined: HashMap<EndpointId, Attachment>,
    applied: HashMap<SandboxId, KernelState>,
}

/// Attachments of this host's endpoints.
#[derive(Debug, Default)]
pub(crate) struct Attachments(Mutex<State>);

impl Attachments {
    /// What the driver answered for this endpoint; none while it has not joined.
    pub(crate) fn get(&self, id: EndpointId) -> Option<Attachment> {
        self.state().joined.get(&id).cloned()
    }

    pub(crate) fn insert(&self, id: EndpointId, attachment: Attachment) {
        self.state().joined.insert(id, attachment);
    }

    pub(crate) fn remove(&self, id: EndpointId) {
        self.state().joined.remove(&id);
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
