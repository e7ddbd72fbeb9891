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

    /// Forgets settings that nobody needs: their links go, and others come.
    fn forget_unused(&self) {
        let mut all = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody who holds one can be about to add himself.
        all.retain(|_, users| Arc::strong_count(users) > 1 || !locked(users).is_empty());
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
        drop(users);
        drop(all);
        if after.is_empty() {
            self.settings.forget_unused();
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

#[cfg(test)]
mod tests {
    use kernel::{Netns, Object, object::Sysctl};
    use model::EndpointId;

    use super::*;

    #[test]
    fn settings_are_forgotten_with_the_last_who_needs_them_and_not_before() {
        let setting = |link: &str| {
            let sysctl = Sysctl {
                netns: Netns::Host,
                name: format!("net/ipv4/conf/{link}/route_localnet"),
                value: "1".to_owned(),
            };
            KernelState::from_iter([Object::Sysctl(sysctl)])
        };
        let settings = Settings::default();
        let (one, other) = (
            Owner::Endpoint(EndpointId::random()),
            Owner::Endpoint(EndpointId::random()),
        );
        let (first, second) = (setting("br-1"), setting("br-2"));
        settings.note(one, &first);
        settings.note(other, &second);
        let known = || count_known(&settings);
        let key = first.keys().next().expect("one");
        locked(&settings.of(key)).remove(&one);
        let held = settings.of(key);
        settings.forget_unused();
        assert_eq!(known(), 2, "somebody is about to need it");
        drop(held);
        settings.forget_unused();
        assert_eq!(known(), 1, "the other is needed");
    }

    fn count_known(settings: &Settings) -> usize {
        settings
            .users
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }
}
