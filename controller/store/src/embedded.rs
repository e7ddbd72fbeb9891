//! A store in one file: the default for local scope, and for both scopes on a host that stands alone.
//!
//! Every record is also held in memory, so that reads never wait for the disk. One thread writes: what arrives while
//! it waits for the disk is committed together, with one fsync for all (group commit), and readers see a commit only
//! when it is durable. Leases are kept in this process; what was written under one is removed at open.

mod file;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, atomic::AtomicU64},
    thread::JoinHandle,
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use crate::{
    Entry, Error, Key, LeaseId, Listing, Result, Revision, Store, Txn, Watch,
    image::Image,
    leases::{self, Due, Leases},
    watch::Watchers,
};
use file::File;
use writer::{Request, Work, Writer};

/// What readers and the writer share.
#[derive(Debug, Default)]
struct Shared {
    image: Mutex<Image>,
    leases: Mutex<Leases>,
    watchers: Watchers,
    syncs: AtomicU64,
}

impl Shared {
    /// How often the file was made durable.
    #[cfg(test)]
    fn syncs(&self) -> u64 {
        self.syncs.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// The records now. A persistent map: this costs nothing.
    fn image(&self) -> Image {
        self.image.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn publish(&self, image: Image) {
        *self.image.lock().unwrap_or_else(PoisonError::into_inner) = image;
    }

    fn leases(&self) -> MutexGuard<'_, Leases> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Records in one file, which this process alone has open. Dropping it waits for the last commit.
#[derive(Debug)]
pub struct Embedded {
    path: PathBuf,
    shared: Arc<Shared>,
    queue: Option<mpsc::UnboundedSender<Request>>,
    writer: Option<JoinHandle<()>>,
}

impl Embedded {
    /// Opens or creates the file. Blocks for some milliseconds, longer after a crash.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_owned();
        let (file, image) = File::open(&path)?;
        let shared = Arc::new(Shared {
            image: Mutex::new(image),
            ..Shared::default()
        });
        let (queue, requests) = mpsc::unbounded_channel();
        let writer = Writer::new(file, Arc::clone(&shared), requests);
        let writer = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(|source| unavailable(&path, source))?;
        Ok(Self {
            path,
            shared,
            queue: Some(queue),
            writer: Some(writer),
        })
    }

    async fn ask(&self, work: Work) -> Result<Revision> {
        let (reply, answer) = oneshot::channel();
        let request = Request {
            work,
            reply: Some(reply),
        };
        let sent = self
            .queue
            .as_ref()
            .is_some_and(|queue| queue.send(request).is_ok());
        let gone = || unavailable(&self.path, std::io::Error::other("its writer has stopped"));
        if !sent {
            return Err(gone());
        }
        answer.await.unwrap_or_else(|_| Err(gone()))
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has said so already.
            let _ = writer.join();
        }
    }
}

fn unavailable(path: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Unavailable {
        store: "embedded",
        address: path.display().to_string(),
        source: source.into(),
    }
}

/// Has the writer end the lease when it is due; looks again until its keys are gone.
fn expire(
    shared: &Weak<Shared>,
    queue: &mpsc::WeakUnboundedSender<Request>,
    lease: &LeaseId,
) -> Option<Instant> {
    let now = Instant::now();
    match shared.upgrade()?.leases().due(lease, now) {
        Due::Gone => None,
        Due::At(deadline) => Some(deadline),
        Due::Now => {
            let work = Work::End(lease.clone());
            queue.upgrade()?.send(Request { work, reply: None }).ok()?;
            Some(now + Duration::from_secs(1))
        }
    }
}

#[async_trait]
impl Store for Embedded {
    async fn get(&self, key: &Key) -> Result<Option<Entry>> {
        Ok(self.shared.image().get(key))
    }

    async fn list(&self, prefix: &Key) -> Result<Listing> {
        Ok(self.shared.image().list(prefix))
    }

    async fn commit(&self, txn: Txn) -> Result<Revision> {
        txn.check()?;
        self.ask(Work::Commit(txn)).await
    }

    async fn watch(&self, prefix: &Key) -> Result<Box<dyn Watch>> {
        Ok(Box::new(self.shared.watchers.subscribe(prefix)))
    }

    async fn grant(&self, ttl: Duration) -> Result<LeaseId> {
        let (lease, deadline) = self.shared.leases().grant(ttl, Instant::now());
        let (shared, id) = (Arc::downgrade(&self.shared), lease.clone());
        if let Some(queue) = self.queue.as_ref().map(mpsc::UnboundedSender::downgrade) {
            leases::look_at(deadline, move || expire(&shared, &queue, &id));
        }
        Ok(lease)
    }

    async fn renew(&self, lease: &LeaseId) -> Result<()> {
        self.shared.leases().renew(lease, Instant::now())
    }

    async fn revoke(&self, lease: &LeaseId) -> Result<()> {
        self.ask(Work::End(lease.clone())).await.map(drop)
    }
}

#[cfg(test)]
mod tests;
