//! Where calls wait for as long as a test wants them to.

use std::sync::{Condvar, Mutex, PoisonError};

/// Open until it is held.
#[derive(Debug, Default)]
pub(super) struct Gate {
    held: Mutex<bool>,
    freed: Condvar,
}

impl Gate {
    /// From now on whoever comes waits, or not any more.
    pub(super) fn hold(&self, hold: bool) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = hold;
        self.freed.notify_all();
    }

    /// Returns when nobody holds it.
    pub(super) fn pass(&self) {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let held = self.freed.wait_while(held, |held| *held);
        drop(held.unwrap_or_else(PoisonError::into_inner));
    }
}
