//! When nobody waits for the kernel: the time for work that would keep others from it.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// After so long without a call, none is expected at once.
const QUIET: Duration = Duration::from_millis(15);
/// What has waited so long waits no longer, however busy it is.
const LATEST: Duration = Duration::from_millis(60);

/// The calls that somebody waits for.
#[derive(Debug, Default)]
pub(super) struct Calls {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    running: usize,
    last: Option<Instant>,
}

impl Calls {
    pub(super) fn begin(&self) {
        self.state().running += 1;
    }

    pub(super) fn end(&self) {
        let mut state = self.state();
        state.running -= 1;
        state.last = Some(Instant::now());
    }

    /// How much longer work that has waited for so long should wait; none when it is its turn.
    pub(super) fn patience(&self, waited: Duration) -> Option<Duration> {
        let state = self.state();
        let idle = match (state.running, state.last) {
            (0, None) => Duration::MAX,
            (0, Some(last)) => last.elapsed(),
            _ => Duration::ZERO,
        };
        patience(waited, idle)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A count and a time are whole even if a holder of the lock panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn patience(waited: Duration, idle: Duration) -> Option<Duration> {
    let left = QUIET.saturating_sub(idle).min(LATEST.saturating_sub(waited));
    (!left.is_zero()).then_some(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_waits_for_quiet_but_not_for_ever() {
        let ms = Duration::from_millis;
        for (waited, idle, more) in [
            (0, 0, Some(15)),
            (0, 10, Some(5)),
            (0, 15, None),
            (50, 0, Some(10)),
            (50, 10, Some(5)),
            (60, 0, None),
            (1000, 0, None),
        ] {
            assert_eq!(patience(ms(waited), ms(idle)), more.map(ms), "{waited} {idle}");
        }
    }

    #[test]
    fn a_call_that_lasts_is_no_quiet() {
        let calls = Calls::default();
        assert_eq!(calls.patience(Duration::ZERO), None, "there was none yet");
        calls.begin();
        assert_eq!(calls.patience(Duration::ZERO), Some(QUIET));
        calls.end();
        assert!(calls.patience(Duration::ZERO).is_some_and(|more| more <= QUIET));
    }
}
