//! The volumes of this host in memory, in step with the store; who works on one waits for the others here.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use model::{ContainerId, VolumeName};
use store::{Key, Store, Table, Txn};
use tokio::sync::{Mutex as Lock, OwnedMutexGuard};

use super::record::VolumeRecord;
use crate::error::Result;

const SCHEMA: u32 = 1;

/// Volumes by name.
#[derive(Debug)]
pub(crate) struct Registry {
    store: Arc<dyn Store>,
    records: Table<VolumeRecord>,
    index: Mutex<BTreeMap<VolumeName, Arc<VolumeRecord>>>,
    locks: Mutex<HashMap<VolumeName, Weak<Lock<()>>>>,
    /// Containers whose first process sees it, or is about to.
    attached: Mutex<BTreeMap<VolumeName, BTreeSet<ContainerId>>>,
    /// Held by the prune that runs.
    pub(super) pruning: Lock<()>,
}

impl Registry {
    /// Reads what is recorded.
    pub(crate) async fn open(store: Arc<dyn Store>) -> Result<Self> {
        let records = Table::new(Key::root("volumes"), SCHEMA);
        let (_, found) = records.list(&*store).await?;
        let found = found
            .into_iter()
            .map(|versioned: store::Versioned<VolumeRecord>| {
                (versioned.record.name.clone(), Arc::new(versioned.record))
            });
        Ok(Self {
            index: Mutex::new(found.collect()),
            store,
            records,
            locks: Mutex::default(),
            attached: Mutex::default(),
            pruning: Lock::default(),
        })
    }

    /// Waits until nobody else makes, removes or mounts this volume.
    pub(crate) async fn lock(&self, name: &VolumeName) -> OwnedMutexGuard<()> {
        let slot = {
            let mut locks = held(&self.locks);
            locks.retain(|_, lock| lock.strong_count() > 0);
            let known = locks.get(name).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let new = Arc::new(Lock::default());
                locks.insert(name.clone(), Arc::downgrade(&new));
                new
            })
        };
        slot.lock_owned().await
    }

    /// A volume that is not being removed.
    pub(crate) fn get(&self, name: &VolumeName) -> Option<Arc<VolumeRecord>> {
        self.any(name).filter(|record| !record.removing)
    }

    /// The same, however it is.
    pub(crate) fn any(&self, name: &VolumeName) -> Option<Arc<VolumeRecord>> {
        held(&self.index).get(name).cloned()
    }

    /// Every volume by name, those that are being removed included.
    pub(crate) fn all(&self) -> Vec<Arc<VolumeRecord>> {
        held(&self.index).values().cloned().collect()
    }

    /// What records new volumes. The caller holds their locks, so there is nothing to guard.
    pub(crate) fn recording(&self, records: &[VolumeRecord]) -> Txn {
        records.iter().fold(Txn::new(), |txn, record| {
            txn.and(self.records.put(&record.name, record))
        })
    }

    /// Shows a volume that is recorded.
    pub(crate) fn show(&self, record: VolumeRecord) {
        held(&self.index).insert(record.name.clone(), Arc::new(record));
    }

    /// Records a volume, or what changed of it.
    pub(crate) async fn put(&self, record: VolumeRecord) -> Result<()> {
        self.store.commit(self.records.put(&record.name, &record)).await?;
        self.show(record);
        Ok(())
    }

    /// Forgets a volume.
    pub(crate) async fn remove(&self, name: &VolumeName) -> Result<()> {
        self.store.commit(self.records.delete(name)).await?;
        held(&self.index).remove(name);
        Ok(())
    }

    /// Notes that a container sees it. Whether this was not known.
    pub(crate) fn attach(&self, name: &VolumeName, container: ContainerId) -> bool {
        held(&self.attached)
            .entry(name.clone())
            .or_default()
            .insert(container)
    }

    /// Notes that a container sees it no longer. Whether it did.
    pub(crate) fn detach(&self, name: &VolumeName, container: ContainerId) -> bool {
        let mut attached = held(&self.attached);
        let Some(containers) = attached.get_mut(name) else {
            return false;
        };
        let known = containers.remove(&container);
        if containers.is_empty() {
            attached.remove(name);
        }
        known
    }

    /// Whether any container sees it.
    pub(crate) fn is_attached(&self, name: &VolumeName) -> bool {
        held(&self.attached).contains_key(name)
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change is one call on a map, so a panic elsewhere leaves nothing half done in it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
