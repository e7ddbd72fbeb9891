//! The members of a cluster: one is asked, and another when it does not answer, all within the deadline of a verb.

use std::{
    future::Future,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout};

use crate::{Error, Result};

/// No verb takes longer.
const DEADLINE: Duration = Duration::from_secs(2);

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// How asking one member failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The request never left: whatever it was, another member may be asked.
    NotReached(Cause),
    /// It may have been done all the same.
    NoAnswer(Cause),
    /// An answer, which another member would repeat.
    Answer(Error),
}

/// Whether a request does no harm when it is made twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    Harmless,
    /// A commit: the second time, its guards would meet what the first one wrote.
    Harmful,
}

/// Handles on each member.
#[derive(Debug)]
pub(crate) struct Members<M> {
    store: &'static str,
    addresses: String,
    members: Vec<M>,
    preferred: AtomicUsize,
}

impl<M: Clone> Members<M> {
    pub(crate) fn new(store: &'static str, addresses: &[String], member: impl Fn(&str) -> M) -> Self {
        Self {
            store,
            addresses: addresses.join(","),
            members: addresses.iter().map(|address| member(address)).collect(),
            preferred: AtomicUsize::new(0),
        }
    }

    /// The member that answered last.
    #[cfg(test)]
    pub(crate) fn preferred(&self) -> M {
        self.members[self.preferred.load(Ordering::Relaxed)].clone()
    }

    /// Prefers the one after the member at this place, unless somebody has turned from it already: two who are
    /// refused by one member must not turn past the next.
    fn turn(&self, from: usize) {
        let next = (from + 1) % self.members.len().max(1);
        let _ = self
            .preferred
            .compare_exchange(from, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    pub(crate) fn unavailable(&self, source: impl Into<Cause>) -> Error {
        Error::Unavailable {
            store: self.store,
            address: self.addresses.clone(),
            source: source.into(),
        }
    }

    pub(crate) const fn broken(&self, message: String) -> Error {
        Error::Broken {
            store: self.store,
            message,
        }
    }

    /// Asks the preferred member alone, as a watch does, which asks again for ever.
    pub(crate) async fn ask_one<T, F>(
        &self,
        patience: Duration,
        ask: impl FnOnce(M) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let at = self.preferred.load(Ordering::Relaxed);
        let member = self.members.get(at).cloned();
        let member = member.ok_or_else(|| Failure::NotReached("there is no member to ask".into()))?;
        let answer = timeout(patience, ask(member))
            .await
            .unwrap_or_else(|elapsed| Err(Failure::NoAnswer(elapsed.into())));
        if answer.is_err() {
            self.turn(at);
        }
        answer
    }

    /// Asks until somebody answers or the time is over.
    pub(crate) async fn ask<T, F>(&self, repeat: Repeat, ask: impl Fn(M) -> F) -> Result<T>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let deadline = Instant::now() + DEADLINE;
        let mut last: Cause = "there is no member to ask".into();
        let first = self.preferred.load(Ordering::Relaxed);
        let count = self.members.len();
        for (left, at) in (1..=count).rev().zip((0..count).cycle().skip(first)) {
            let member = self.members[at].clone();
            let remaining = deadline.saturating_duration_since(Instant::now());
            let patience = match repeat {
                Repeat::Harmless => remaining / u32::try_from(left).unwrap_or(u32::MAX),
                Repeat::Harmful => remaining,
            };
            let failure = match timeout(patience, ask(member)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(failure)) => failure,
                Err(elapsed) => Failure::NoAnswer(elapsed.into()),
            };
            let (cause, over) = match failure {
                Failure::Answer(error) => return Err(error),
                Failure::NotReached(cause) => (cause, false),
                Failure::NoAnswer(cause) => (cause, repeat == Repeat::Harmful),
            };
            self.turn(at);
            last = cause;
            if over {
                break;
            }
        }
        Err(self.unavailable(last))
    }
}

/// Pauses between attempts to reach a store that is down: short at first, never long.
#[derive(Debug)]
pub(crate) struct Backoff(Duration);

impl Backoff {
    pub(crate) const fn new() -> Self {
        Self(Duration::from_millis(50))
    }

    pub(crate) async fn pause(&mut self) {
        sleep(self.0).await;
        self.0 = (self.0 * 2).min(Duration::from_secs(1));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::Key;

    fn members() -> Members<String> {
        Members::new(
            "test",
            &["a".to_owned(), "b".to_owned(), "c".to_owned()],
            str::to_owned,
        )
    }

    async fn asked(repeat: Repeat, failure: fn() -> Failure) -> (Vec<String>, Result<()>) {
        let asked = Mutex::new(Vec::new());
        let answer = members()
            .ask(repeat, |member| {
                asked.lock().unwrap().push(member);
                std::future::ready(Err(failure()))
            })
            .await;
        (asked.into_inner().unwrap(), answer)
    }

    #[tokio::test]
    async fn another_member_is_asked_only_where_that_does_no_harm() {
        let not_reached = || Failure::NotReached("refused".into());
        let no_answer = || Failure::NoAnswer("reset".into());
        let rows = [
            (Repeat::Harmless, not_reached as fn() -> _, 3),
            (Repeat::Harmless, no_answer, 3),
            (Repeat::Harmful, not_reached, 3),
            (Repeat::Harmful, no_answer, 1),
        ];
        for (repeat, failure, times) in rows {
            let (asked, answer) = asked(repeat, failure).await;
            assert_eq!(
                asked,
                ["a", "b", "c"][..times],
                "{repeat:?} after {:?}",
                failure()
            );
            let error = answer.unwrap_err();
            assert_eq!(error.to_string(), "the test store at a,b,c does not answer");
        }
    }

    #[tokio::test]
    async fn two_who_are_refused_by_one_member_at_once_both_find_the_next() {
        let members = Members::new("test", &["dead".to_owned(), "alive".to_owned()], str::to_owned);
        let only_alive = |member: String| async move {
            tokio::task::yield_now().await;
            if member == "alive" {
                Ok(())
            } else {
                Err(Failure::NotReached("refused".into()))
            }
        };
        let both = tokio::join!(
            members.ask(Repeat::Harmless, only_alive),
            members.ask(Repeat::Harmless, only_alive)
        );
        assert!(both.0.is_ok() && both.1.is_ok(), "{both:?}");
    }

    #[tokio::test]
    async fn an_answer_is_final() {
        let conflict = || Failure::Answer(Error::Conflict { key: Key::root("k") });
        let (asked, answer) = asked(Repeat::Harmless, conflict).await;
        assert_eq!(asked, ["a"]);
        assert!(matches!(answer, Err(Error::Conflict { .. })));
    }

    #[tokio::test]
    async fn the_member_that_answered_is_asked_first_the_next_time() {
        let members = members();
        let only_c = |member: String| {
            std::future::ready(if member == "c" {
                Ok(member)
            } else {
                Err(Failure::NotReached("no".into()))
            })
        };
        assert_eq!(members.ask(Repeat::Harmless, only_c).await.unwrap(), "c");
        assert_eq!(members.preferred(), "c");
    }
}
