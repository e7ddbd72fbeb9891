//! The one implementation of [`Watch`], whatever the back end: a cell that holds what the reader was not told yet.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_trait::async_trait;
use tokio::{sync::Notify, task::JoinHandle};

use crate::{Change, Key, Revision, Watch};

/// What a reader was not told yet. Later news joins earlier, so a slow reader costs no memory.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    pending: Mutex<Option<Change>>,
    told: Notify,
}

/// A resync says more than a change does, and what was lost or found again overrides what was before.
const fn join(pending: Option<Change>, news: Change) -> Change {
    match (pending, news) {
        (Some(Change::Resync), Change::Changed(_)) => Change::Resync,
        (_, news) => news,
    }
}

impl Signal {
    pub(crate) fn tell(&self, news: Change) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        *pending = Some(join(*pending, news));
        drop(pending);
        self.told.notify_one();
    }

    fn take(&self) -> Option<Change> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A reader's end. Dropping it ends the task that feeds it.
#[derive(Debug)]
pub(crate) struct Subscription {
    first: bool,
    signal: Arc<Signal>,
    feeder: Option<JoinHandle<()>>,
}

impl Subscription {
    pub(crate) fn new(signal: Arc<Signal>, feeder: Option<JoinHandle<()>>) -> Self {
        Self {
            first: true,
            signal,
            feeder,
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(feeder) = &self.feeder {
            feeder.abort();
        }
    }
}

#[async_trait]
impl Watch for Subscription {
    async fn next(&mut self) -> Change {
        if std::mem::take(&mut self.first) {
            return Change::Resync;
        }
        loop {
            if let Some(change) = self.signal.take() {
                return change;
            }
            self.signal.told.notified().await;
        }
    }
}

/// The watches of a store in this process.
#[derive(Debug, Default)]
pub(crate) struct Watchers(Mutex<Vec<(Key, Weak<Signal>)>>);

impl Watchers {
    pub(crate) fn subscribe(&self, prefix: &Key) -> Subscription {
        let signal = Arc::new(Signal::default());
        let mut watchers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.retain(|(_, signal)| signal.strong_count() > 0);
        watchers.push((prefix.clone(), Arc::downgrade(&signal)));
        Subscription::new(signal, None)
    }

    /// Tells whoever watches one of the keys.
    pub(crate) fn changed(&self, keys: &[Key], revision: Revision) {
        let concerned = |prefix: &Key| keys.iter().any(|key| key.is_under(prefix));
        self.tell(Change::Changed(revision), concerned);
    }

    /// Tells everybody.
    pub(crate) fn tell_all(&self, change: Change) {
        self.tell(change, |_| true);
    }

    fn tell(&self, change: Change, concerned: impl Fn(&Key) -> bool) {
        let watchers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let concerned = watchers.iter().filter(|(prefix, _)| concerned(prefix));
        concerned
            .filter_map(|(_, signal)| signal.upgrade())
            .for_each(|signal| signal.tell(change));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_news_never_hides_that_everything_must_be_read_again() {
        let changed = Change::Changed(Revision(7));
        let rows = [
            (None, changed, changed),
            (Some(Change::Changed(Revision(6))), changed, changed),
            (Some(Change::Resync), changed, Change::Resync),
            (Some(Change::Lost), Change::Resync, Change::Resync),
            (Some(changed), Change::Lost, Change::Lost),
            (Some(Change::Resync), Change::Lost, Change::Lost),
        ];
        for (pending, news, told) in rows {
            assert_eq!(join(pending, news), told, "{pending:?} and then {news:?}");
        }
    }
}
