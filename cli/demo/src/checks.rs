//! What was checked, and what came of it.

use std::time::Duration;

/// One sentence and whether it held.
#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) sentence: String,
    pub(crate) outcome: Result<Option<Duration>, String>,
}

/// Everything that was checked so far.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    checks: Vec<Check>,
}

impl Checks {
    /// Notes whether a sentence holds; a failure doesn't end the demo.
    pub(crate) fn record(&mut self, sentence: impl Into<String>, outcome: anyhow::Result<()>) {
        self.push(sentence.into(), outcome.map(|()| None));
    }

    /// The same for something that took a time worth telling.
    pub(crate) fn record_timed(&mut self, sentence: impl Into<String>, outcome: anyhow::Result<Duration>) {
        self.push(sentence.into(), outcome.map(Some));
    }

    /// The demo could not go on.
    pub(crate) fn stopped(&mut self, error: &anyhow::Error) {
        self.push(
            "the demo is played to its end".to_owned(),
            Err(anyhow::anyhow!("{error:#}")),
        );
    }

    /// Whether something was checked, and all of it holds.
    pub(crate) fn all_hold(&self) -> bool {
        !self.checks.is_empty() && self.holding() == self.checks.len()
    }

    pub(crate) fn holding(&self) -> usize {
        self.checks.iter().filter(|check| check.outcome.is_ok()).count()
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &Check> {
        self.checks.iter()
    }

    fn push(&mut self, sentence: String, outcome: anyhow::Result<Option<Duration>>) {
        let outcome = outcome.map_err(|error| format!("{error:#}"));
        self.checks.push(Check { sentence, outcome });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_demo_that_checked_nothing_or_failed_once_does_not_hold() {
        let mut checks = Checks::default();
        assert!(!checks.all_hold());
        checks.record("one", Ok(()));
        assert!(checks.all_hold());
        checks.record("two", Err(anyhow::anyhow!("no")));
        assert!(!checks.all_hold());
        assert_eq!(checks.holding(), 1);
    }
}
