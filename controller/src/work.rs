//! What the reconciler did, counted for whoever watches it.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// Counters since the controller started.
#[derive(Debug, Default)]
pub(crate) struct Work {
    runs: AtomicU64,
    failures: AtomicU64,
    nanoseconds: AtomicU64,
}

/// `Work` at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WorkDone {
    /// Times that everything was compared with the kernel.
    pub runs: u64,
    /// Records that the kernel could not be brought to.
    pub failures: u64,
    /// Time spent at it.
    pub busy: Duration,
}

impl Work {
    /// One more run, that began then.
    pub(crate) fn ran_since(&self, began: Instant) {
        let spent = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(spent, Ordering::Relaxed);
        self.runs.fetch_add(1, Ordering::Relaxed);
    }

    /// One more record that could not be realized.
    pub(crate) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// What was done so far.
    pub(crate) fn done(&self) -> WorkDone {
        WorkDone {
            runs: self.runs.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            busy: Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed)),
        }
    }
}
