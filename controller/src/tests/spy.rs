//! A store in memory that counts commits, fails on demand, and can stop answering.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use store::{
    Change, Entry, Error, Key, LeaseId, Listing, Result, Revision, Store, Txn, Watch, memory::Memory,
};
use tokio::sync::{Notify, watch};

/// What happens at a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    /// It is refused.
    Fails,
    /// The process dies before it.
    DiesBefore,
    /// The process dies after it.
    DiesAfter,
}

#[derive(Debug)]
pub(super) struct Spy {
    inner: Memory,
    commits: AtomicUsize,
    plan: Mutex<Option<(usize, At)>>,
    dead: Notify,
    up: watch::Sender<bool>,
}

impl Spy {
    /// Clones of one memory are one store seen by several hosts.
    pub(super) fn over(inner: Memory) -> Self {
        Self {
            inner,
            commits: AtomicUsize::new(0),
            plan: Mutex::new(None),
            dead: Notify::new(),
            up: watch::Sender::new(true),
        }
    }

    pub(super) fn commits(&self) -> usize {
        self.commits.load(Ordering::SeqCst)
    }

    /// Lets the `n`th commit from now (0 is the next) go wrong, once.
    pub(super) fn at(&self, n: usize, what: At) {
        *self.plan.lock().unwrap() = Some((self.commits() + n, what));
    }

    /// Nothing goes wrong any more. Answers whether something still would have.
    pub(super) fn heal(&self) -> bool {
        self.plan.lock().unwrap().take().is_some()
    }

    /// Waits for the death that was asked for.
    pub(super) async fn death(&self) {
        self.dead.notified().await;
    }

    pub(super) fn set_up(&self, up: bool) {
        self.up.send_replace(up);
    }

    fn check(&self) -> Result<()> {
        match *self.up.borrow() {
            true => Ok(()),
            false => Err(unavailable()),
        }
    }

    /// Everything stored, for comparison.
    pub(super) async fn everything(&self) -> Vec<(String, Vec<u8>)> {
        let roots = [
            "networks",
            "network-names",
            "endpoints",
            "endpoint-names",
            "sandboxes",
            "leases",
            "pools",
            "vnis",
            "devices",
            "ports",
            "copies",
            "changes",
        ];
        let mut all = Vec::new();
        for root in roots {
            let listing = self.inner.list(&root.parse().unwrap()).await.unwrap();
            all.extend(
                listing
                    .entries
                    .into_iter()
                    .map(|entry| (entry.key.to_string(), entry.value)),
            );
        }
        all
    }

    /// The same without values.
    pub(super) async fn keys(&self) -> Vec<String> {
        self.everything().await.into_iter().map(|(key, _)| key).collect()
    }
}

fn unavailable() -> Error {
    Error::Unavailable {
        store: "spy",
        address: "nowhere".to_owned(),
        source: "switched off".into(),
    }
}

#[async_trait]
impl Store for Spy {
    async fn get(&self, key: &Key) -> Result<Option<Entry>> {
        self.check()?;
        self.inner.get(key).await
    }

    async fn list(&self, prefix: &Key) -> Result<Listing> {
        self.check()?;
        self.inner.list(prefix).await
    }

    async fn commit(&self, txn: Txn) -> Result<Revision> {
        self.check()?;
        let number = self.commits.fetch_add(1, Ordering::SeqCst);
        let due = self.plan.lock().unwrap().take_if(|(at, _)| *at == number);
        match due.map(|(_, what)| what) {
            None => self.inner.commit(txn).await,
            Some(At::Fails) => Err(Error::Broken {
                store: "spy",
                message: "asked to fail".to_owned(),
            }),
            Some(what) => {
                if what == At::DiesAfter {
                    let _ = self.inner.commit(txn).await;
                }
                self.dead.notify_one();
                std::future::pending().await
            }
        }
    }

    async fn watch(&self, prefix: &Key) -> Result<Box<dyn Watch>> {
        Ok(Box::new(Watching {
            inner: self.inner.watch(prefix).await?,
            up: self.up.subscribe(),
            lost: false,
        }))
    }

    async fn grant(&self, ttl: Duration) -> Result<LeaseId> {
        self.check()?;
        self.inner.grant(ttl).await
    }

    async fn renew(&self, lease: &LeaseId) -> Result<()> {
        self.check()?;
        self.inner.renew(lease).await
    }

    async fn revoke(&self, lease: &LeaseId) -> Result<()> {
        self.check()?;
        self.inner.revoke(lease).await
    }
}

struct Watching {
    inner: Box<dyn Watch>,
    up: watch::Receiver<bool>,
    lost: bool,
}

#[async_trait]
impl Watch for Watching {
    async fn next(&mut self) -> Change {
        loop {
            let up = *self.up.borrow_and_update();
            match (up, self.lost) {
                (false, false) => {
                    self.lost = true;
                    return Change::Lost;
                }
                (true, true) => {
                    self.lost = false;
                    return Change::Resync;
                }
                (false, true) => self.up.changed().await.unwrap(),
                (true, false) => tokio::select! {
                    change = self.inner.next() => return change,
                    changed = self.up.changed() => changed.unwrap(),
                },
            }
        }
    }
}
