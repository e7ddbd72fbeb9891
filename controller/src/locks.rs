//! One keyed lock, the only place where operations wait for each other.
//!
//! Two operations that touch different networks, endpoints and sandboxes never share a key. Only the key of one network
//! or one endpoint is ever held across a call of its own driver.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use model::{EndpointId, NetworkId, SandboxId, Scope};
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// What an operation holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum LockKey {
    /// Shared by connects, exclusive for deletion.
    Network(NetworkId),
    /// Whether a network is made on this host.
    Realized(NetworkId),
    /// Which peers a network's driver was told of.
    Peers(NetworkId),
    /// A network of that name is being made.
    Name(Scope, String),
    /// Pools and numbers of a scope are being chosen; held to the intent's commit and no longer.
    Allocation(Scope),
    /// One endpoint is being joined or left.
    Endpoint(EndpointId),
    /// The interfaces of a sandbox are being decided or applied; never across a driver's call.
    Sandbox(SandboxId),
    /// A sandbox is being made or removed.
    Deletion(SandboxId),
    /// Whether a sandbox needs the gateway bridge is being decided.
    Outside(SandboxId),
    /// The driver is being told what leads to an endpoint.
    Published(EndpointId),
    /// Shared by those who tell a network's driver what leads to endpoints, exclusive for its repair. Nothing else is
    /// waited for by who holds it.
    Access(NetworkId),
    /// Endpoints are being added to or taken from a sandbox that a manager knows by a key of its own.
    Foreign(String, String),
    /// Ports of the host are being chosen; held to the commit and no longer.
    Ports,
    /// A prune runs.
    Prune,
    /// A predefined network is being made.
    Predefined,
}

type Slots = HashMap<LockKey, Weak<RwLock<()>>>;

/// Locks by key; a key nobody holds costs nothing.
#[derive(Debug, Default)]
pub(crate) struct Locks(Mutex<Slots>);

impl Locks {
    /// Waits until nobody else holds the key.
    pub(crate) async fn exclusive(&self, key: LockKey) -> OwnedRwLockWriteGuard<()> {
        self.slot(key).write_owned().await
    }

    /// Waits until nobody holds the key exclusively.
    pub(crate) async fn shared(&self, key: LockKey) -> OwnedRwLockReadGuard<()> {
        self.slot(key).read_owned().await
    }

    /// Takes the key if nobody holds it.
    pub(crate) fn try_exclusive(&self, key: LockKey) -> Option<OwnedRwLockWriteGuard<()>> {
        self.slot(key).try_write_owned().ok()
    }

    fn slot(&self, key: LockKey) -> Arc<RwLock<()>> {
        // The map is whole even if a holder of the lock panicked.
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= 64 && slots.len().is_power_of_two() {
            slots.retain(|_, slot| slot.strong_count() > 0);
        }
        if let Some(slot) = slots.get(&key).and_then(Weak::upgrade) {
            return slot;
        }
        let slot = Arc::new(RwLock::new(()));
        slots.insert(key, Arc::downgrade(&slot));
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_key_is_held_once_and_others_are_free() {
        let (locks, one) = (Locks::default(), NetworkId::random());
        let held = locks.exclusive(LockKey::Network(one)).await;
        assert!(locks.try_exclusive(LockKey::Network(one)).is_none());
        assert!(
            locks
                .try_exclusive(LockKey::Network(NetworkId::random()))
                .is_some()
        );
        drop(held);
        let shared = locks.shared(LockKey::Network(one)).await;
        let again = locks.shared(LockKey::Network(one)).await;
        assert!(locks.try_exclusive(LockKey::Network(one)).is_none());
        drop((shared, again));
        assert!(locks.try_exclusive(LockKey::Network(one)).is_some());
    }

    #[tokio::test]
    async fn keys_that_nobody_holds_are_forgotten() {
        let locks = Locks::default();
        for _ in 0..1000 {
            drop(locks.exclusive(LockKey::Network(NetworkId::random())).await);
        }
        assert!(locks.0.lock().unwrap().len() <= 128);
    }
}
