//! What leads to an endpoint changes: in one exchange, so that what stays in other words is never missing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kernel::{KernelState, Key, Owner};

use super::{Outcome, Shell};
use crate::planner::Planner;

/// Who needs a setting of a link.
type Users = Arc<Mutex<BTreeSet<Owner>>>;

/// Settings of links that several endpoints of a network need, with those that do: the last one to go resets them.
/// Derived, not kept: after a restart the repair of each network tells it again.
#[derive(Debug, Default)]
pub(super) struct Settings {
    users: Mutex<BTreeMap<Key, Users>>,
}

impl Settings {
    fn of(&self, key: &Key) -> Users {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(users.entry(key.clone()).or_default())
    }

    /// Notes that an owner needs the settings of this state.
    pub(super) fn note(&self, owner: Owner, state: &KernelState) {
        for key in settings(state) {
            locked(&self.of(key)).insert(owner);
        }
    }
}

fn locked(users: &Users) -> MutexGuard<'_, BTreeSet<Owner>> {
    users.lock().unwrap_or_else(PoisonError::into_inner)
}

fn settings(state: &KernelState) -> impl Iterator<Item = &Key> {
    state.keys().filter(|key| matches!(key, Key::Sysctl(..)))
}

impl Shell {
    /// What stays is not looked at: there may be thousands of ports. A setting that nobody needs any more is again as on
    /// new links; who needs it and who gives it up wait for each other.
    pub(super) fn publish(
        &self,
        planner: &dyn Planner,
        owner: Owner,
        before: &KernelState,
        after: &KernelState,
    ) -> Outcome {
        let concerned: BTreeSet<_> = settings(before).chain(settings(after)).collect();
        let all: Vec<_> = concerned.iter().map(|key| self.settings.of(key)).collect();
        let mut users: Vec<_> = all.iter().map(locked).collect();
        let gone = before.filtered(|key, _| after.get(key).is_none());
        let new = after.filtered(|key, object| before.get(key) != Some(object));
        self.exchange(planner, owner, &gone, &new)?;
        let mut unused = Vec::new();
        for (key, users) in concerned.iter().zip(&mut users) {
            let alone = users.iter().all(|user| *user == owner);
            if after.get(key).is_some() {
                users.insert(owner);
            } else if alone {
                unused.push((*key).clone());
            }
        }
        // Should this fail, it is told once more that the owner needs it no longer.
        self.ensure(owner, &self.usual(&unused)?)?;
        for (key, users) in concerned.iter().zip(&mut users) {
            if after.get(key).is_none() {
                users.remove(&owner);
            }
        }
        Ok(())
    }

    /// From some objects to others, on a base that may have been taken away meanwhile.
    fn exchange(
        &self,
        planner: &dyn Planner,
        owner: Owner,
        gone: &KernelState,
        new: &KernelState,
    ) -> Outcome {
        if new.is_empty() {
            return self.remove(owner, gone);
        }
        self.ensure_base(planner)?;
        let attempt = || kernel::exchange(&*self.kernel, &self.mark(owner), gone, new);
        match attempt() {
            Err(kernel::Error::NoSuch { .. }) if !planner.base().is_empty() => {
                self.forget_base();
                self.ensure_base(planner)?;
                Ok(attempt()?)
            }
            outcome => Ok(outcome?),
        }
    }
}
