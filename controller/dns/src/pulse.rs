//! Pure: whether anybody among some servers answers at all, and so how long a client is let wait for them.
//!
//! A resolver gives up after five seconds and asks twice, for each of its search domains: with dead servers a program
//! would stand for a minute. So silence costs one client two seconds. After that everybody hears at once that there is
//! no answer, but for one moment in each second, in which questions go out again and are waited for a little.

use std::time::{Duration, Instant};

/// After a silence nobody waits for so long.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a client waits when servers that were silent are tried again.
const TRIAL: Duration = Duration::from_millis(300);

/// The life signs of some servers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pulse {
    /// When one last said anything, be it that it failed.
    answered: Option<Instant>,
    /// When a question was last waited for in vain, and nothing was heard since.
    silent: Option<Instant>,
}

impl Pulse {
    /// One of them said something.
    pub(crate) fn answered(&mut self, now: Instant) {
        (self.answered, self.silent) = (Some(now), None);
    }

    /// A question asked at `began` has no answer yet. False if others have been answered since, so that this one may
    /// only be a hard one.
    pub(crate) fn is_silent(&mut self, began: Instant, now: Instant) -> bool {
        let alive = self.answered.is_some_and(|answered| answered >= began);
        if !alive {
            self.silent = Some(now);
        }
        !alive
    }

    /// How long a client may wait now, who would otherwise wait for `most`; none if it must not wait at all.
    pub(crate) fn wait(&self, most: Duration, now: Instant) -> Option<Duration> {
        match self.silent {
            None => Some(most),
            Some(silent) if now.saturating_duration_since(silent) < PAUSE => None,
            Some(_) => Some(most.min(TRIAL)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_waited_for_once_and_tried_again_each_second() {
        let (start, most) = (Instant::now(), Duration::from_secs(2));
        let at = |millis| start + Duration::from_millis(millis);
        let mut pulse = Pulse::default();
        assert_eq!(pulse.wait(most, at(0)), Some(most));
        assert!(pulse.is_silent(at(0), at(2000)));
        assert_eq!(pulse.wait(most, at(2001)), None);
        assert_eq!(pulse.wait(most, at(2999)), None);
        assert_eq!(pulse.wait(most, at(3000)), Some(TRIAL));
        assert!(pulse.is_silent(at(3000), at(3300)));
        assert_eq!(pulse.wait(most, at(3301)), None);
        pulse.answered(at(3400));
        assert_eq!(pulse.wait(most, at(3401)), Some(most));
    }

    #[test]
    fn a_hard_question_makes_nobody_dead() {
        let start = Instant::now();
        let mut pulse = Pulse::default();
        pulse.answered(start + Duration::from_millis(500));
        let later = start + Duration::from_secs(2);
        assert!(
            !pulse.is_silent(start, later),
            "another one was answered meanwhile"
        );
        assert_eq!(
            pulse.wait(Duration::from_secs(2), later),
            Some(Duration::from_secs(2))
        );
        assert!(pulse.is_silent(start + Duration::from_secs(1), later));
    }
}
