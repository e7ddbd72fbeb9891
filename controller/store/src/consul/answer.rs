//! What Consul says, in the store's words.

use reqwest::{RequestBuilder, Response, StatusCode};

use super::{Agent, wire};
use crate::{
    Error, Key, LeaseId, Txn, Write,
    members::{Failure, Members},
};

/// An answer that has come whole.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// The index of the last change of what was asked for.
    pub(super) index: Option<u64>,
    pub(super) body: Vec<u8>,
}

fn index(response: &Response) -> Option<u64> {
    response
        .headers()
        .get("x-consul-index")?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// No answer came.
fn failure(error: reqwest::Error) -> Failure {
    if error.is_connect() {
        Failure::NotReached(error.into())
    } else {
        Failure::NoAnswer(error.into())
    }
}

/// Sends and reads all of the answer, of which the body may come later than its head, or never. Lets the accepted
/// through. A 5xx is an agent without a leader, and a proxy's or a stranger's answers say as little about what is stored.
pub(super) async fn whole(request: RequestBuilder, accepted: &[StatusCode]) -> Result<Answer, Failure> {
    let response = request.send().await.map_err(failure)?;
    let (status, index) = (response.status(), index(&response));
    let body = response.bytes().await.map_err(failure)?.to_vec();
    if accepted.contains(&status) {
        return Ok(Answer { status, index, body });
    }
    let message = format!("{status}: {}", String::from_utf8_lossy(&body).trim());
    Err(match status {
        StatusCode::PAYLOAD_TOO_LARGE => Failure::Answer(Error::TooLarge(message)),
        StatusCode::FORBIDDEN => Failure::Answer(Error::Broken {
            store: "consul",
            message,
        }),
        _ => Failure::NoAnswer(message.into()),
    })
}

/// Why a transaction was refused: the number of the operation tells whether it was a guard.
pub(super) fn refusal(txn: &Txn, done: &wire::Done, agents: &Members<Agent>) -> Error {
    let first = done
        .errors
        .iter()
        .flatten()
        .min_by_key(|refusal| refusal.op_index);
    let Some(first) = first else {
        return agents.broken("a transaction was refused without a reason".to_owned());
    };
    if let Some(guard) = txn.guards.get(first.op_index) {
        return Error::Conflict {
            key: guard.key().clone(),
        };
    }
    match leased_by_operation(txn, first.op_index - txn.guards.len()) {
        Some((_, lease)) if first.what.contains("session") => Error::LeaseEnded(lease.clone()),
        Some((key, _)) => Error::Conflict { key: key.clone() },
        None => agents.broken(first.what.clone()),
    }
}

/// The leased write that an operation belongs to; such a write is two operations.
fn leased_by_operation(txn: &Txn, operation: usize) -> Option<(&Key, &LeaseId)> {
    let mut operations = txn.writes.iter().flat_map(|write| {
        let leased = match write {
            Write::Put {
                key,
                lease: Some(lease),
                ..
            } => Some((key, lease)),
            Write::Put { lease: None, .. } | Write::Delete(_) => None,
        };
        std::iter::repeat_n(leased, 1 + usize::from(leased.is_some()))
    });
    operations.nth(operation).flatten()
}
