//! The containers of this host in memory, each with its record, in step with the store.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use model::{ContainerId, ContainerName};
use store::{Key, Store, Table, Txn};
use tokio::sync::MutexGuard as MutexGuardOf;

use super::container::Container;
use crate::{
    error::{Error, Result},
    record::Record,
};

/// The schema number grows when an older daemon could no longer read what this one writes.
const SCHEMA: u32 = 1;
/// When a record that could not be written is tried again: first, and at most so much later each time.
const FIRST_TRY: Duration = Duration::from_secs(1);
const LAST_TRY: Duration = Duration::from_secs(30);

/// Containers by id and name.
#[derive(Debug)]
pub(crate) struct Registry {
    store: Arc<dyn Store>,
    records: Table<Record>,
    names: Key,
    index: Mutex<Index>,
}

#[derive(Debug, Default)]
struct Index {
    by_id: BTreeMap<ContainerId, Arc<Container>>,
    by_name: HashMap<ContainerName, ContainerId>,
}

impl Registry {
    /// Reads what is recorded.
    pub(crate) async fn open(store: Arc<dyn Store>) -> Result<Self> {
        let registry = Self {
            store,
            records: Table::new(Key::root("containers"), SCHEMA),
            names: Key::root("container-names"),
            index: Mutex::default(),
        };
        let (_, records) = registry.records.list(&*registry.store).await?;
        for versioned in records {
            registry.insert(Container::new(versioned.record));
        }
        Ok(registry)
    }

    /// Records a new container, claims its name and records what comes with it, all or nothing.
    ///
    /// # Errors
    /// `Conflict` when the name is taken.
    pub(crate) async fn create(&self, record: Record, with: Txn) -> Result<Arc<Container>> {
        if let Some(holder) = self.named(&record.name) {
            return Err(name_taken(&record.name, holder.id()));
        }
        let claim = Txn::new().create(self.name_key(&record.name), record.id.to_string().into_bytes());
        let txn = self.records.create(record.id, &record).and(claim).and(with);
        match self.store.commit(txn).await {
            Err(store::Error::Conflict { .. }) => Err(self.taken(&record.name)),
            other => {
                other?;
                let container = Container::new(record);
                self.insert(container.clone());
                Ok(container)
            }
        }
    }

    /// Changes a container's record, in the store first; readers see it after.
    ///
    /// # Errors
    /// `NotFound` when it is gone; the store's.
    pub(crate) async fn update(
        &self,
        container: &Container,
        change: impl FnOnce(&mut Record),
    ) -> Result<Arc<Record>> {
        let _saving = self.saving(container).await?;
        let mut record = Record::clone(&container.record());
        change(&mut record);
        self.store.commit(self.records.put(record.id, &record)).await?;
        container.set_unwritten(false);
        Ok(container.publish(record))
    }

    /// Changes a container's record to what has happened, whether the store can be told or not: a full disk keeps no process
    /// alive, and nobody from ending one. What could not be written is written as soon as it can be.
    ///
    /// # Errors
    /// `NotFound` when it is gone.
    pub(crate) async fn note(
        self: &Arc<Self>,
        container: &Container,
        change: impl FnOnce(&mut Record),
    ) -> Result<Arc<Record>> {
        let _saving = self.saving(container).await?;
        let mut record = Record::clone(&container.record());
        change(&mut record);
        match self.store.commit(self.records.put(record.id, &record)).await {
            Ok(_) => {
                container.set_unwritten(false);
            }
            Err(error) => {
                tracing::error!(container = %record.name, %error, "what became of it is written later");
                self.write_later(container);
            }
        }
        Ok(container.publish(record))
    }

    fn write_later(self: &Arc<Self>, container: &Container) {
        let Some(container) = self.get(&container.id()) else {
            return;
        };
        if container.set_unwritten(true) {
            return; // somebody is at it
        }
        let registry = Arc::clone(self);
        tokio::spawn(async move {
            let mut pause = FIRST_TRY;
            while container.is_unwritten() {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LAST_TRY);
                if let Err(Error::NotFound { .. }) = registry.update(&container, |_| {}).await {
                    return;
                }
            }
        });
    }

    /// The right to change its record, while there is one: what waited for that while it was removed comes too late.
    async fn saving<'a>(&self, container: &'a Container) -> Result<MutexGuardOf<'a, ()>> {
        let saving = container.saving.lock().await;
        match self.get(&container.id()) {
            Some(_) => Ok(saving),
            None => Err(no_such(container.record().name.as_str())),
        }
    }

    /// Gives a container another name.
    ///
    /// # Errors
    /// `Conflict` when the name is taken; `NotFound` when it is gone.
    pub(crate) async fn rename(&self, container: &Container, name: ContainerName) -> Result<()> {
        let _saving = self.saving(container).await?;
        let mut record = Record::clone(&container.record());
        if let Some(holder) = self.named(&name) {
            return Err(name_taken(&name, holder.id()));
        }
        let old = std::mem::replace(&mut record.name, name.clone());
        let txn = Txn::new()
            .create(self.name_key(&name), record.id.to_string().into_bytes())
            .delete(self.name_key(&old))
            .and(self.records.put(record.id, &record));
        match self.store.commit(txn).await {
            Err(store::Error::Conflict { .. }) => return Err(self.taken(&name)),
            other => other?,
        };
        let mut index = self.lock();
        index.by_name.remove(&old);
        index.by_name.insert(name, record.id);
        drop(index);
        container.publish(record);
        Ok(())
    }

    /// Forgets a container.
    pub(crate) async fn remove(&self, container: &Container) -> Result<()> {
        let _saving = container.saving.lock().await;
        let record = container.record();
        let txn = self.records.delete(record.id).delete(self.name_key(&record.name));
        self.store.commit(txn).await?;
        let mut index = self.lock();
        index.by_id.remove(&record.id);
        index.by_name.remove(&record.name);
        Ok(())
    }

    /// Every container, the oldest first.
    pub(crate) fn all(&self) -> Vec<Arc<Container>> {
        let mut all: Vec<_> = self.lock().by_id.values().cloned().collect();
        all.sort_by_key(|container| container.record().created);
        all
    }

    /// One container, by id.
    pub(crate) fn get(&self, id: &ContainerId) -> Option<Arc<Container>> {
        self.lock().by_id.get(id).cloned()
    }

    /// One container: by full id, else name, else unique id prefix.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` for a prefix that several share.
    pub(crate) fn find(&self, text: &str) -> Result<Arc<Container>> {
        let index = self.lock();
        if let Some(found) = text.parse().ok().and_then(|id: ContainerId| index.by_id.get(&id)) {
            return Ok(found.clone());
        }
        let name = ContainerName::new(text.strip_prefix('/').unwrap_or(text)).ok();
        if let Some(id) = name.and_then(|name| index.by_name.get(&name)) {
            return index.by_id.get(id).cloned().ok_or_else(|| no_such(text));
        }
        let is_prefix = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        let mut matches = index.by_id.values().filter(|container| {
            is_prefix && container.id().to_string().starts_with(&text.to_ascii_lowercase())
        });
        match (matches.next(), matches.next()) {
            (Some(only), None) => Ok(only.clone()),
            (Some(_), Some(_)) => Err(Error::invalid(format!(
                "multiple IDs found with provided prefix: {text}"
            ))
            .with_hint("give more digits, or the name")),
            (None, _) => Err(no_such(text)),
        }
    }

    fn named(&self, name: &ContainerName) -> Option<Arc<Container>> {
        let index = self.lock();
        index
            .by_name
            .get(name)
            .and_then(|id| index.by_id.get(id))
            .cloned()
    }

    fn taken(&self, name: &ContainerName) -> Error {
        match self.named(name) {
            Some(holder) => name_taken(name, holder.id()),
            None => Error::conflict(format!(
                "Conflict. The container name \"/{name}\" is already in use"
            )),
        }
    }

    fn insert(&self, container: Arc<Container>) {
        let record = container.record();
        let mut index = self.lock();
        index.by_name.insert(record.name.clone(), record.id);
        index.by_id.insert(record.id, container);
    }

    fn name_key(&self, name: &ContainerName) -> Key {
        self.names.child(name)
    }

    fn lock(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn no_such(text: &str) -> Error {
    Error::not_found(format!("No such container: {text}"))
}

fn name_taken(name: &ContainerName, holder: ContainerId) -> Error {
    Error::conflict(format!(
        "Conflict. The container name \"/{name}\" is already in use by container \"{holder}\". You have to remove (or \
         rename) that container to be able to reuse that name."
    ))
}
