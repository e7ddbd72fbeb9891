//! Pure: which server is asked first, and how soon the next one too.
//!
//! The user's order counts among servers that are well: names may exist on the first alone. One that was silent or
//! failed goes behind for a while, and so does one that is far slower than another.

use std::{
    cmp,
    time::{Duration, Instant},
};

/// The next server is asked after this at the latest, and at the soonest.
const LATEST: Duration = Duration::from_millis(100);
const SOONEST: Duration = Duration::from_millis(10);
/// A server that failed stays behind for one second, then two, then four, up to this.
const LONGEST_REST: Duration = Duration::from_secs(30);
/// Slower than another by less is not slow.
const SLOWER: Duration = Duration::from_millis(50);

/// How a server does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Health {
    /// Its answers' smoothed time.
    time: Option<Duration>,
    /// Failures since it last answered, and the last one's time.
    failures: u32,
    failed: Option<Instant>,
}

impl Health {
    /// It answered after so long.
    pub(crate) fn answered(&mut self, after: Duration) {
        // As TCP smooths its round trips (RFC 6298).
        self.time = Some(self.time.map_or(after, |time| (time * 7 + after) / 8));
        (self.failures, self.failed) = (0, None);
    }

    /// It was silent, refused or failed.
    pub(crate) fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.failed = Some(now);
    }

    /// How long to wait for it alone.
    pub(crate) fn head_start(&self) -> Duration {
        self.time.map_or(LATEST, |time| (time * 2).clamp(SOONEST, LATEST))
    }

    fn rests(&self, now: Instant) -> bool {
        let rest = Duration::from_secs(1 << self.failures.saturating_sub(1).min(5)).min(LONGEST_REST);
        self.failed
            .is_some_and(|failed| now.saturating_duration_since(failed) < rest)
    }
}

/// The servers in the order in which they are asked.
pub(crate) fn order(servers: &[Health], now: Instant) -> Vec<usize> {
    let fastest = servers.iter().filter_map(|server| server.time).min();
    let is_slow = |time: Duration| fastest.is_some_and(|fastest| time > fastest * 4 + SLOWER);
    let mut order: Vec<_> = (0..servers.len()).collect();
    order.sort_by_key(|at| {
        let server = &servers[*at];
        let rests = server.rests(now);
        (
            rests,
            cmp::min(server.failures, 5) * u32::from(rests),
            server.time.is_some_and(is_slow),
        )
    });
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_order_counts_until_a_server_is_ill_or_slow() {
        let now = Instant::now();
        let well = |millis| Health {
            time: Some(Duration::from_millis(millis)),
            ..Health::default()
        };
        let ill = |failures, ago| Health {
            failures,
            failed: now.checked_sub(Duration::from_millis(ago)),
            ..well(5)
        };
        let new = Health::default();
        for (what, servers, wanted) in [
            ("nothing known", vec![new, new, new], [0, 1, 2]),
            ("a little slower", vec![well(30), well(5), new], [0, 1, 2]),
            ("far slower", vec![well(200), well(5), new], [1, 2, 0]),
            ("just failed", vec![ill(1, 10), well(5), new], [1, 2, 0]),
            ("failed and rested", vec![ill(1, 1500), well(5), new], [0, 1, 2]),
            ("failed often", vec![ill(3, 1500), well(5), new], [1, 2, 0]),
            (
                "all failed, one more often",
                vec![ill(4, 10), ill(1, 10), ill(2, 10)],
                [1, 2, 0],
            ),
        ] {
            assert_eq!(order(&servers, now), wanted, "{what}");
        }
    }

    #[test]
    fn a_server_is_waited_for_as_long_as_it_usually_takes() {
        let mut health = Health::default();
        assert_eq!(health.head_start(), LATEST);
        health.answered(Duration::from_millis(1));
        assert_eq!(health.head_start(), SOONEST);
        for _ in 0..50 {
            health.answered(Duration::from_millis(30));
        }
        let start = health.head_start();
        assert!(
            start > Duration::from_millis(55) && start <= Duration::from_millis(60),
            "{start:?}"
        );
        health.failed(Instant::now());
        assert!(health.rests(Instant::now()));
        health.answered(Duration::from_millis(1));
        assert!(!health.rests(Instant::now()));
    }
}
