//! The one thread that writes: takes all that waits, decides it in order on a copy, writes the outcome with one
//! fsync, and only then shows it to readers and answers.

use std::{
    collections::BTreeSet,
    io,
    sync::{Arc, atomic::Ordering},
};

use tokio::sync::{mpsc, oneshot};

use super::{File, Shared, unavailable};
use crate::{Change, Error, Key, LeaseId, Result, Revision, Txn, image::Image};

/// What is asked of the writer.
#[derive(Debug)]
pub(super) enum Work {
    Commit(Txn),
    /// Removes what was written under a lease, then forgets the lease.
    End(LeaseId),
}

#[derive(Debug)]
pub(super) struct Request {
    pub(super) work: Work,
    pub(super) reply: Option<oneshot::Sender<Result<Revision>>>,
}

#[derive(Debug)]
pub(super) struct Writer {
    file: File,
    shared: Arc<Shared>,
    requests: mpsc::UnboundedReceiver<Request>,
}

/// The outcome of some requests, before it is durable.
#[derive(Debug)]
struct Batch {
    image: Image,
    touched: BTreeSet<Key>,
    answers: Vec<Result<Revision>>,
    ended: Vec<LeaseId>,
}

/// More than this in one fsync gains nothing and delays the first.
const MOST: usize = 1024;

impl Writer {
    pub(super) const fn new(
        file: File,
        shared: Arc<Shared>,
        requests: mpsc::UnboundedReceiver<Request>,
    ) -> Self {
        Self {
            file,
            shared,
            requests,
        }
    }

    /// Works until the last sender is gone.
    pub(super) fn run(mut self) {
        while let Some(first) = self.requests.blocking_recv() {
            let mut requests = vec![first];
            while requests.len() < MOST
                && let Ok(next) = self.requests.try_recv()
            {
                requests.push(next);
            }
            let (work, replies): (Vec<_>, Vec<_>) = requests
                .into_iter()
                .map(|request| (request.work, request.reply))
                .unzip();
            for (reply, answer) in replies.into_iter().zip(self.process(&work)) {
                if let Some(reply) = reply {
                    // Nobody waits any more: the commit holds all the same.
                    let _ = reply.send(answer);
                }
            }
        }
    }

    fn process(&mut self, work: &[Work]) -> Vec<Result<Revision>> {
        let written = self.resume().and_then(|()| {
            let batch = self.decide(work);
            if !batch.touched.is_empty() {
                self.file.write(&batch.image, &batch.touched)?;
                self.shared.syncs.fetch_add(1, Ordering::Relaxed);
            }
            Ok(batch)
        });
        match written {
            Ok(batch) => self.publish(batch),
            Err(error) => self.refuse(work.len(), &error),
        }
    }

    /// After an I/O error: opens the file again and shows what it holds.
    fn resume(&mut self) -> Result<()> {
        if self.file.is_closed() {
            let image = self.file.reopen()?;
            self.shared.publish(image);
            self.shared.watchers.tell_all(Change::Resync);
        }
        Ok(())
    }

    fn decide(&self, work: &[Work]) -> Batch {
        let mut batch = Batch {
            image: self.shared.image(),
            touched: BTreeSet::new(),
            answers: Vec::with_capacity(work.len()),
            ended: Vec::new(),
        };
        for work in work {
            let answer = self.decide_one(&mut batch, work);
            batch.answers.push(answer);
        }
        batch
    }

    fn decide_one(&self, batch: &mut Batch, work: &Work) -> Result<Revision> {
        let touched = match work {
            Work::Commit(txn) => {
                self.shared.leases().check(txn)?;
                batch.image.commit(txn)?
            }
            Work::End(lease) => {
                // Before what comes after it in this batch is checked. Should the write fail, its deadline ends it.
                self.shared.leases().end(lease);
                batch.ended.push(lease.clone());
                batch.image.commit(&batch.image.without(lease))?
            }
        };
        batch.touched.extend(touched);
        Ok(batch.image.revision)
    }

    fn publish(&self, batch: Batch) -> Vec<Result<Revision>> {
        let revision = batch.image.revision;
        self.shared.publish(batch.image);
        batch
            .ended
            .iter()
            .for_each(|lease| self.shared.leases().forget(lease));
        let touched: Vec<Key> = batch.touched.into_iter().collect();
        self.shared.watchers.changed(&touched, revision);
        batch.answers
    }

    fn refuse(&self, requests: usize, error: &Error) -> Vec<Result<Revision>> {
        let path = self.file.path();
        tracing::error!(path = %path.display(), error = error as &dyn std::error::Error, "write failed");
        let text = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
        let again = |_| Err(unavailable(path, io::Error::other(text.clone())));
        (0..requests).map(again).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;

    #[test]
    fn what_shares_an_fsync_with_the_end_of_its_lease_is_refused() {
        let files = tempfile::tempdir().unwrap();
        let (file, image) = File::open(&files.path().join("store.redb")).unwrap();
        let shared = Arc::new(Shared::default());
        shared.publish(image);
        let (lease, _) = shared.leases().grant(Duration::from_secs(10), Instant::now());
        let (_queue, requests) = mpsc::unbounded_channel();
        let mut writer = Writer::new(file, Arc::clone(&shared), requests);
        let put = Txn::new().put_leased(Key::root("late"), vec![], lease.clone());

        let answers = writer.process(&[Work::End(lease.clone()), Work::Commit(put)]);

        assert!(answers[0].is_ok(), "{answers:?}");
        assert!(
            matches!(&answers[1], Err(Error::LeaseEnded(ended)) if *ended == lease),
            "{answers:?}"
        );
        assert_eq!(shared.image().get(&Key::root("late")), None);
    }
}
