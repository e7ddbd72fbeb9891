//! A store in memory: for tests, and the reference for what a store does.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::Instant;

use crate::{
    Entry, Error, Key, LeaseId, Listing, Result, Revision, Store, Txn, Watch,
    image::Image,
    leases::{self, Due, Leases},
    watch::Watchers,
};

#[derive(Debug, Default)]
struct State {
    image: Image,
    leases: Leases,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// As a full disk does.
    refuses: AtomicBool,
    watchers: Watchers,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn commit(&self, state: &mut State, txn: &Txn) -> Result<Revision> {
        let touched = state.image.commit(txn)?;
        self.watchers.changed(&touched, state.image.revision);
        Ok(state.image.revision)
    }

    fn end(&self, state: &mut State, lease: &LeaseId) -> Result<()> {
        state.leases.forget(lease);
        let txn = state.image.without(lease);
        self.commit(state, &txn).map(drop)
    }

    /// Ends the lease if it is due; else answers when to look again.
    fn expire(&self, lease: &LeaseId) -> Option<Instant> {
        let mut state = self.state();
        match state.leases.due(lease, Instant::now()) {
            Due::Gone => None,
            Due::At(deadline) => Some(deadline),
            Due::Now => self.end(&mut state, lease).err().map(|_| Instant::now()),
        }
    }
}

/// Records in memory. Clones are the same store, as several hosts see the same etcd.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    shared: Arc<Shared>,
}

impl Memory {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on refuses every commit, as a store on a full disk does, or no more.
    pub fn refuse(&self, refuses: bool) {
        self.shared.refuses.store(refuses, Ordering::SeqCst);
    }
}

#[async_trait]
impl Store for Memory {
    async fn get(&self, key: &Key) -> Result<Option<Entry>> {
        Ok(self.shared.state().image.get(key))
    }

    async fn list(&self, prefix: &Key) -> Result<Listing> {
        Ok(self.shared.state().image.list(prefix))
    }

    async fn commit(&self, txn: Txn) -> Result<Revision> {
        txn.check()?;
        if self.shared.refuses.load(Ordering::SeqCst) {
            return Err(Error::Unavailable {
                store: "memory",
                address: "here".to_owned(),
                source: "no room is left".into(),
            });
        }
        let mut state = self.shared.state();
        state.leases.check(&txn)?;
        self.shared.commit(&mut state, &txn)
    }

    async fn watch(&self, prefix: &Key) -> Result<Box<dyn Watch>> {
        Ok(Box::new(self.shared.watchers.subscribe(prefix)))
    }

    async fn grant(&self, ttl: Duration) -> Result<LeaseId> {
        let (lease, deadline) = self.shared.state().leases.grant(ttl, Instant::now());
        let (shared, id): (Weak<Shared>, _) = (Arc::downgrade(&self.shared), lease.clone());
        leases::look_at(deadline, move || shared.upgrade()?.expire(&id));
        Ok(lease)
    }

    async fn renew(&self, lease: &LeaseId) -> Result<()> {
        self.shared.state().leases.renew(lease, Instant::now())
    }

    async fn revoke(&self, lease: &LeaseId) -> Result<()> {
        let mut state = self.shared.state();
        self.shared.end(&mut state, lease)
    }
}
