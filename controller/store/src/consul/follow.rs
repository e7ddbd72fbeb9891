//! A watch made of blocking queries: each returns when the prefix changed or after a while, with an index.

use std::{sync::Arc, time::Duration};

use reqwest::{Method, StatusCode};

use super::{Agent, Consul, answer, wire};
use crate::{
    Change, Key, Revision,
    members::{Backoff, Failure},
    watch::{Signal, Subscription},
};

/// How long Consul may hold a query. It adds a sixteenth, so as not to be asked by everybody at once.
const HELD: Duration = Duration::from_secs(10);
/// How long a query that is not held may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the prefix was when Consul was last asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    index: u64,
    empty: bool,
}

/// Starts to follow. Returns when Consul has told the index from which on nothing is missed, or did not answer.
pub(super) async fn subscribe(consul: &Consul, prefix: &Key) -> Subscription {
    let signal = Arc::new(Signal::default());
    let follower = Follower {
        consul: consul.clone(),
        prefix: prefix.clone(),
        signal: Arc::clone(&signal),
    };
    let seen = follower.ask(None).await;
    if seen.is_err() {
        signal.tell(Change::Lost);
    }
    Subscription::new(signal, Some(tokio::spawn(follower.run(seen.ok()))))
}

#[derive(Debug)]
struct Follower {
    consul: Consul,
    prefix: Key,
    signal: Arc<Signal>,
}

impl Follower {
    /// Asks for ever. `seen` is none while the store is lost.
    async fn run(self, mut seen: Option<Seen>) {
        let mut backoff = Backoff::new();
        loop {
            match self.ask(seen).await {
                Ok(now) => {
                    if let Some(change) = told(seen, now) {
                        self.signal.tell(change);
                    }
                    seen = Some(now);
                    backoff = Backoff::new();
                }
                Err(failure) => {
                    tracing::debug!(prefix = %self.prefix, ?failure, "watch failed");
                    if seen.take().is_some() {
                        self.signal.tell(Change::Lost);
                    }
                    backoff.pause().await;
                }
            }
        }
    }

    /// What the prefix is now; waits for a change since `seen`.
    async fn ask(&self, seen: Option<Seen>) -> Result<Seen, Failure> {
        let (wait, patience) = match seen {
            Some(seen) => (
                format!("&index={}&wait={}s", seen.index, HELD.as_secs()),
                HELD + HELD / 16 + PATIENCE,
            ),
            None => (String::new(), PATIENCE),
        };
        let path = format!("kv/{}?{}{wait}", self.consul.path(&self.prefix), wire::INDEX);
        let ask = |agent: Agent| async move {
            let request = agent.request(Method::GET, &path);
            answer::whole(request, &[StatusCode::OK, StatusCode::NOT_FOUND]).await
        };
        let answer = self.consul.agents.ask_one(patience, ask).await?;
        Ok(Seen {
            // Index 0 would mean "do not wait".
            index: answer.index.unwrap_or_default().max(1),
            empty: answer.status == StatusCode::NOT_FOUND,
        })
    }
}

/// What to tell a reader who knows what was `seen`.
fn told(seen: Option<Seen>, now: Seen) -> Option<Change> {
    let Some(seen) = seen else {
        return Some(Change::Resync);
    };
    match now.index.cmp(&seen.index) {
        // Another history: the store was restored, or its record of deletions was cut.
        std::cmp::Ordering::Less => Some(Change::Resync),
        std::cmp::Ordering::Equal => None,
        // An empty prefix has the index of the whole store.
        std::cmp::Ordering::Greater if seen.empty && now.empty => None,
        std::cmp::Ordering::Greater => Some(Change::Changed(Revision(now.index))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_tells_what_happened() {
        let at = |index| Seen { index, empty: false };
        let empty = |index| Seen { index, empty: true };
        let changed = |index| Some(Change::Changed(Revision(index)));
        let rows = [
            ("the store is back", None, at(5), Some(Change::Resync)),
            ("the time is over", Some(at(5)), at(5), None),
            ("something changed", Some(at(5)), at(6), changed(6)),
            ("the first key came", Some(empty(5)), at(6), changed(6)),
            ("the last key went", Some(at(5)), empty(6), changed(6)),
            ("others changed", Some(empty(5)), empty(9), None),
            ("the store went back", Some(at(9)), at(3), Some(Change::Resync)),
        ];
        for (what, seen, now, expected) in rows {
            assert_eq!(told(seen, now), expected, "{what}");
        }
    }
}
