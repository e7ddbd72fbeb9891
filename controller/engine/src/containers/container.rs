//! One container in memory: its record for readers, and what its verbs need of a running one.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use model::{ContainerId, Labels, SandboxId};
use runtime::Shim;
use tokio::sync::watch;

use super::{exec::ExecEntry, health::Health};
use crate::{
    event::{Event, Subject},
    record::Record,
};

/// A container.
#[derive(Debug)]
pub(crate) struct Container {
    id: ContainerId,
    published: watch::Sender<Published>,
    /// Held by whatever starts, cleans up, connects or removes it. Never while waiting for it to exit.
    pub(super) operation: tokio::sync::Mutex<()>,
    /// Held while its record is changed.
    pub(super) saving: tokio::sync::Mutex<()>,
    prepared: Mutex<Option<Prepared>>,
    /// How many restarts are between stop and start.
    kept: AtomicUsize,
    execs: Mutex<BTreeMap<String, Arc<ExecEntry>>>,
    /// Its record in the store is older than here.
    unwritten: AtomicBool,
    /// What its probes say; none without a health check.
    pub(super) health: Mutex<Option<Health>>,
}

/// What readers and waiters see.
#[derive(Debug, Clone)]
pub(crate) struct Published {
    /// The record.
    pub(crate) record: Arc<Record>,
    /// How often it exited since the daemon started.
    pub(crate) exits: u64,
    /// It is gone.
    pub(crate) removed: bool,
}

/// While it lives, an exit doesn't remove the container.
#[derive(Debug)]
pub(super) struct Keeping<'a>(&'a Container);

impl Drop for Keeping<'_> {
    fn drop(&mut self) {
        self.0.kept.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What a container has from its first attach or start to its exit.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    /// Its shim.
    pub(crate) shim: Shim,
    /// Its sandbox; none in another container's.
    pub(crate) sandbox: Option<SandboxId>,
}

impl Container {
    pub(crate) fn new(record: Record) -> Arc<Self> {
        let id = record.id;
        let published = Published {
            record: Arc::new(record),
            exits: 0,
            removed: false,
        };
        Arc::new(Self {
            id,
            published: watch::channel(published).0,
            operation: tokio::sync::Mutex::default(),
            saving: tokio::sync::Mutex::default(),
            prepared: Mutex::default(),
            kept: AtomicUsize::new(0),
            execs: Mutex::default(),
            unwritten: AtomicBool::new(false),
            health: Mutex::default(),
        })
    }

    pub(crate) const fn id(&self) -> ContainerId {
        self.id
    }

    pub(crate) fn record(&self) -> Arc<Record> {
        self.published.borrow().record.clone()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Published> {
        self.published.subscribe()
    }

    /// Shows a new record to readers.
    pub(super) fn publish(&self, record: Record) -> Arc<Record> {
        let record = Arc::new(record);
        self.published.send_modify(|published| {
            let exited = published.record.state.phase.has_process() && !record.state.phase.has_process();
            published.exits += u64::from(exited);
            published.record = record.clone();
        });
        record
    }

    /// Tells waiters that it failed to start, which ends a wait for its next exit.
    pub(super) fn publish_failed_start(&self) {
        self.published.send_modify(|published| published.exits += 1);
    }

    /// Tells waiters that it is gone.
    pub(super) fn publish_removed(&self) {
        self.published.send_modify(|published| published.removed = true);
    }

    pub(crate) fn prepared(&self) -> Option<Prepared> {
        lock(&self.prepared).clone()
    }

    pub(super) fn set_prepared(&self, prepared: Option<Prepared>) {
        *lock(&self.prepared) = prepared;
    }

    /// Notes whether its record in the store is older than here; what was noted before.
    pub(super) fn set_unwritten(&self, unwritten: bool) -> bool {
        self.unwritten.swap(unwritten, Ordering::SeqCst)
    }

    pub(super) fn is_unwritten(&self) -> bool {
        self.unwritten.load(Ordering::SeqCst)
    }

    /// Keeps it though it is made to be removed when it exits.
    pub(super) fn keep(&self) -> Keeping<'_> {
        self.kept.fetch_add(1, Ordering::SeqCst);
        Keeping(self)
    }

    pub(super) fn is_kept(&self) -> bool {
        self.kept.load(Ordering::SeqCst) > 0
    }

    pub(super) fn execs(&self) -> MutexGuard<'_, BTreeMap<String, Arc<ExecEntry>>> {
        lock(&self.execs)
    }

    /// An event about it, with the attributes that Docker gives all of them.
    pub(super) fn event(&self, action: impl Into<String>, more: &[(&str, String)]) -> Event {
        let record = self.record();
        let mut attributes = Labels::clone(&record.settings.labels);
        attributes.insert("image".to_owned(), record.image.asked.clone());
        attributes.insert("name".to_owned(), record.name.to_string());
        attributes.extend(more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        Event::now(Subject::Container, self.id.to_string(), action, attributes)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change replaces a whole value, so a panic elsewhere leaves nothing half done in it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
