//! `wait`: from the moment it is asked, so that no exit between asking and listening is lost.

use tokio::sync::watch;

use super::container::{Container, Published};
use crate::record::Phase;

/// What is waited for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WaitCondition {
    /// It does not run; at once if it doesn't now.
    #[default]
    NotRunning,
    /// It exits once more.
    NextExit,
    /// It is gone, or could not be removed.
    Removed,
}

/// A wait under way.
#[derive(Debug)]
pub struct Wait {
    changes: watch::Receiver<Published>,
    condition: WaitCondition,
    exits: u64,
}

impl Wait {
    pub(super) fn new(container: &Container, condition: WaitCondition) -> Self {
        let mut changes = container.subscribe();
        let exits = changes.borrow_and_update().exits;
        Self {
            changes,
            condition,
            exits,
        }
    }

    /// Waits, and tells the exit status.
    pub async fn finish(mut self) -> i64 {
        let (condition, exits) = (self.condition, self.exits);
        let met = |now: &Published| {
            now.removed
                || match condition {
                    WaitCondition::NotRunning => !now.record.state.phase.is_up(),
                    WaitCondition::NextExit => now.exits > exits,
                    // Who waits for that would wait until somebody has mended what keeps it.
                    WaitCondition::Removed => now.record.state.phase == Phase::Dead,
                }
        };
        // An error says that the container itself is gone; what was published last still tells how it ended.
        let _ = self.changes.wait_for(met).await;
        self.changes.borrow().record.state.exit_code
    }
}
