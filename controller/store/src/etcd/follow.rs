//! A watch that goes on: through broken streams it resumes where it was, and when that is compacted away or the
//! server was gone it says that everything must be read again.

use std::{sync::Arc, time::Duration};

use etcd_client::{WatchOptions, WatchResponse, WatchStream};
use tokio::{sync::oneshot, time::Instant};

use super::{Etcd, Member, answer};
use crate::{
    Change, Key, Revision,
    members::{Backoff, Failure},
    watch::{Signal, Subscription},
};

/// How long etcd may take to confirm a watch.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the reader knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// The reader knows everything before this revision.
    Before(i64),
    /// The reader must be told to read again.
    Behind,
    /// The reader was told that the store does not answer.
    Lost,
}

/// Starts to follow, from `start` if the reader knows everything before it. Returns when etcd has confirmed the watch,
/// so that no change after this is missed, or when it could not.
pub(super) async fn subscribe(etcd: &Etcd, prefix: &Key, start: Option<i64>) -> Subscription {
    let signal = Arc::new(Signal::default());
    let (settled, confirmed) = oneshot::channel();
    let follower = Follower {
        etcd: etcd.clone(),
        prefix: prefix.clone(),
        signal: Arc::clone(&signal),
        standing: start.map_or(Standing::Behind, Standing::Before),
        settled: Some(settled),
    };
    // Before the wait, so that a caller who gives up ends the task.
    let subscription = Subscription::new(signal, Some(tokio::spawn(follower.run())));
    // The other end is dropped only with the runtime.
    let _ = confirmed.await;
    subscription
}

#[derive(Debug)]
struct Follower {
    etcd: Etcd,
    prefix: Key,
    signal: Arc<Signal>,
    standing: Standing,
    /// Until the first attempt has come to an end. What the reader is told before, is told by its first resync.
    settled: Option<oneshot::Sender<()>>,
}

impl Follower {
    async fn run(mut self) {
        let mut backoff = Backoff::new();
        loop {
            match self.open().await {
                Ok((stream, revision)) => {
                    self.opened(revision);
                    let opened = Instant::now();
                    self.read(stream).await;
                    if opened.elapsed() > PATIENCE {
                        backoff = Backoff::new();
                    }
                }
                Err(failure) => {
                    tracing::debug!(prefix = %self.prefix, ?failure, "watch failed");
                    self.lost();
                }
            }
            backoff.pause().await;
        }
    }

    /// Opens a stream; answers etcd's revision at that moment.
    async fn open(&self) -> Result<(WatchStream, i64), Failure> {
        let (from, to) = (self.etcd.path(&self.prefix), self.etcd.below(&self.prefix).1);
        let mut options = WatchOptions::new().with_range(to);
        if let Standing::Before(next) = self.standing {
            options = options.with_start_revision(next);
        }
        let open = |member: Member| async move {
            let mut client = member.changes().await?;
            let mut stream = client.watch(from, Some(options)).await.map_err(answer::failure)?;
            match stream.message().await.map_err(answer::failure)? {
                Some(refused) if refused.canceled() => Err(Failure::NoAnswer(refused.cancel_reason().into())),
                Some(created) if created.created() => {
                    let revision = created.header().map_or(0, etcd_client::ResponseHeader::revision);
                    Ok((stream, revision))
                }
                _ => Err(Failure::NoAnswer("the watch was not created".into())),
            }
        };
        self.etcd.members.ask_one(PATIENCE, open).await
    }

    fn opened(&mut self, revision: i64) {
        let first = self.settled.take().map(|settled| settled.send(())).is_some();
        match self.standing {
            // A store that went back, as one restored from a backup does, has another history.
            Standing::Before(next) if revision + 1 >= next => {}
            Standing::Behind if first => self.standing = Standing::Before(revision + 1),
            Standing::Before(_) | Standing::Behind | Standing::Lost => {
                self.standing = Standing::Before(revision + 1);
                self.signal.tell(Change::Resync);
            }
        }
    }

    fn lost(&mut self) {
        if self.standing != Standing::Lost {
            self.standing = Standing::Lost;
            self.signal.tell(Change::Lost);
        }
        if let Some(settled) = self.settled.take() {
            let _ = settled.send(());
        }
    }

    /// Reads until the stream ends.
    async fn read(&mut self, mut stream: WatchStream) {
        while let Ok(Some(response)) = stream.message().await {
            if response.canceled() {
                tracing::debug!(prefix = %self.prefix, compacted = response.compact_revision(), "watch cancelled");
                self.standing = Standing::Behind;
                return;
            }
            if let Some(last) = response
                .events()
                .iter()
                .filter_map(|event| Some(event.kv()?.mod_revision()))
                .max()
            {
                self.standing = Standing::Before(last + 1);
            }
            if let Some(revision) = self.change(&response) {
                self.signal.tell(Change::Changed(revision));
            }
        }
    }

    /// The revision of the last change under the prefix; the watched range has neighbours in it (`a-b` for `a`).
    fn change(&self, response: &WatchResponse) -> Option<Revision> {
        let pairs = response.events().iter().filter_map(|event| event.kv());
        let ours = pairs.filter(|pair| {
            self.etcd
                .key(pair.key())
                .is_some_and(|key| key.is_under(&self.prefix))
        });
        ours.map(|pair| Revision(pair.mod_revision().cast_unsigned()))
            .max()
    }
}
