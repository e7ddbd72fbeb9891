//! The way back of an operation that fails half way: newest step first, and both errors kept.

use std::{fmt, future::Future, pin::Pin};

use crate::error::{Error, Result};

type Step = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// What to undo, in the order done. Dropped on success.
#[derive(Default)]
pub(crate) struct UndoStack {
    steps: Vec<(String, Step)>,
}

impl UndoStack {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Notes how to undo what was done last. The future does nothing until it is needed.
    pub(crate) fn push(
        &mut self,
        what: impl Into<String>,
        undo: impl Future<Output = Result<()>> + Send + 'static,
    ) {
        self.steps.push((what.into(), Box::pin(undo)));
    }

    /// Undoes everything, newest first, going on past what fails, and answers the error to report.
    pub(crate) async fn unwind(self, error: Error) -> Error {
        let mut failed = Vec::new();
        for (what, step) in self.steps.into_iter().rev() {
            if let Err(undo) = step.await {
                tracing::warn!(step = %what, error = %undo, "undoing failed");
                failed.push(format!("{what}: {undo}"));
            }
        }
        if failed.is_empty() {
            return error;
        }
        Error::Undone {
            error: Box::new(error),
            undo: failed,
        }
    }
}

impl fmt::Debug for UndoStack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.steps.iter().map(|(what, _)| what))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[tokio::test]
    async fn steps_are_undone_newest_first_and_a_failing_one_stops_nothing() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut undo = UndoStack::new();
        for name in ["one", "two", "three"] {
            let order = Arc::clone(&order);
            undo.push(name, async move {
                order.lock().unwrap().push(name);
                match name {
                    "two" => Err(Error::invalid("stuck")),
                    _ => Ok(()),
                }
            });
        }
        let error = undo.unwind(Error::invalid("failed")).await;
        assert_eq!(*order.lock().unwrap(), ["three", "two", "one"]);
        assert_eq!(error.to_string(), "failed (and undoing it failed: two: stuck)");
    }

    #[tokio::test]
    async fn what_is_undone_completely_leaves_the_error_as_it_was() {
        let error = UndoStack::new().unwind(Error::forbidden("no")).await;
        assert!(matches!(error, Error::Forbidden { .. }));
    }
}
