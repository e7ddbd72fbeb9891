//! When nobody waits for the kernel: the time for work that would keep others from it.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// After so long without a call, none is expected at once.
const QUIET: Duration = Duration::from_millis(15);
/// Who was kept waiting is likely to ask again soon: it is to be quiet for longer then.
const AFTER_A_CLASH: Duration = Duration::from_millis(100);
/// What has waited so long waits no longer, however busy it is...
const LATEST: Duration = Duration::from_millis(60);
/// ...unless the one before went so recently: callers are kept waiting for a tenth of the time, at most.
const APART: Duration = Duration::from_millis(150);

/// The calls that somebody waits for.
#[derive(Debug, Default)]
pub(super) struct Calls {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    running: usize,
    begun: u64,
    last: Option<Instant>,
}

/// What was done last of the work that keeps others from the kernel.
#[derive(Debug)]
pub(super) struct Done {
    at: Instant,
    clashed: bool,
}

/// When some of that work began.
#[derive(Debug)]
pub(super) struct Begun {
    running: usize,
    calls: u64,
}

impl Calls {
    pub(super) fn begin(&self) {
        let mut state = self.state();
        state.running += 1;
        state.begun += 1;
    }

    pub(super) fn end(&self) {
        let mut state = self.state();
        state.running -= 1;
        state.last = Some(Instant::now());
    }

    /// Work begins that keeps callers waiting.
    pub(super) fn work_begins(&self) -> Begun {
        let state = self.state();
        Begun {
            running: state.running,
            calls: state.begun,
        }
    }

    /// It is done.
    pub(super) fn work_ends(&self, begun: &Begun) -> Done {
        Done {
            at: Instant::now(),
            clashed: begun.running > 0 || self.state().begun != begun.calls,
        }
    }

    /// How much longer work that has waited for so long should wait; none when it is its turn.
    pub(super) fn patience(&self, waited: Duration, before: Option<&Done>) -> Option<Duration> {
        let state = self.state();
        let idle = match (state.running, state.last) {
            (0, None) => Duration::MAX,
            (0, Some(last)) => last.elapsed(),
            _ => Duration::ZERO,
        };
        patience(waited, idle, before.map(|done| (done.at.elapsed(), done.clashed)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Numbers and a time are whole even if a holder of the lock panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn patience(waited: Duration, idle: Duration, before: Option<(Duration, bool)>) -> Option<Duration> {
    let (quiet, apart) = match before {
        Some((ago, clashed)) if ago < APART => (if clashed { AFTER_A_CLASH } else { QUIET }, APART - ago),
        _ => (QUIET, Duration::ZERO),
    };
    let at_the_latest = LATEST.saturating_sub(waited).max(apart);
    let left = quiet.saturating_sub(idle).min(at_the_latest);
    (!left.is_zero()).then_some(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_waits_for_quiet_but_not_for_ever() {
        let ms = Duration::from_millis;
        for (waited, idle, before, more) in [
            (0, 0, None, Some(15)),
            (0, 10, None, Some(5)),
            (0, 15, None, None),
            (50, 0, None, Some(10)),
            (50, 10, None, Some(5)),
            (60, 0, None, None),
            (1000, 0, None, None),
            // One after another while nobody asks.
            (1000, 15, Some((0, false)), None),
            (1000, 5, Some((0, false)), Some(10)),
            // Not one after another while somebody does.
            (1000, 0, Some((0, true)), Some(100)),
            (1000, 40, Some((40, true)), Some(60)),
            (1000, 10, Some((100, true)), Some(50)),
            (1000, 0, Some((150, true)), None),
            (0, 0, Some((150, true)), Some(15)),
        ] {
            let before = before.map(|(ago, clashed)| (ms(ago), clashed));
            assert_eq!(
                patience(ms(waited), ms(idle), before),
                more.map(ms),
                "{waited} {idle} {before:?}"
            );
        }
    }

    #[test]
    fn a_call_that_lasts_is_no_quiet() {
        let calls = Calls::default();
        assert_eq!(calls.patience(Duration::ZERO, None), None, "there was none yet");
        calls.begin();
        assert_eq!(calls.patience(Duration::ZERO, None), Some(QUIET));
        calls.end();
        assert!(
            calls
                .patience(Duration::ZERO, None)
                .is_some_and(|more| more <= QUIET)
        );
    }

    #[test]
    fn work_that_kept_a_call_waiting_knows() {
        let calls = Calls::default();
        let alone = calls.work_begins();
        assert!(!calls.work_ends(&alone).clashed);
        let met = calls.work_begins();
        calls.begin();
        assert!(calls.work_ends(&met).clashed, "one began");
        let beside = calls.work_begins();
        calls.end();
        assert!(calls.work_ends(&beside).clashed, "one was there");
    }
}
