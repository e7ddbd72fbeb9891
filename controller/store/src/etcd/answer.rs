//! What etcd says, in the store's words.

use std::{error::Error as _, io};

use etcd_client::{Error as EtcdError, KeyValue, ResponseHeader, TxnOpResponse};

use crate::{Entry, Error, Guard, Key, LeaseId, Revision, Txn, Write, members::Failure};

/// etcd counts revisions from 1.
pub(super) fn revision(header: Option<&ResponseHeader>) -> Revision {
    Revision(header.map_or(0, |header| header.revision().cast_unsigned()))
}

pub(super) fn entry(key: Key, pair: &KeyValue) -> Entry {
    Entry {
        key,
        value: pair.value().to_vec(),
        revision: Revision(pair.mod_revision().cast_unsigned()),
    }
}

/// The first guard that does not hold, by what was read of each guard's key.
pub(super) fn failed_guard(guards: &[Guard], read: &[TxnOpResponse]) -> Option<Key> {
    let holds = |guard: &Guard, found: Option<&KeyValue>| match guard {
        Guard::Absent(_) => found.is_none(),
        Guard::Unchanged(_, revision) => {
            found.is_some_and(|pair| pair.mod_revision().cast_unsigned() == revision.0)
        }
    };
    let found = read.iter().map(|response| match response {
        TxnOpResponse::Get(found) => found.kvs().first(),
        TxnOpResponse::Put(_) | TxnOpResponse::Delete(_) | TxnOpResponse::Txn(_) => None,
    });
    let mut checked = guards.iter().zip(found);
    checked.find_map(|(guard, found)| (!holds(guard, found)).then(|| guard.key().clone()))
}

/// A refused connection means that nothing was sent.
fn never_sent(status: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(status);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return matches!(
                error.kind(),
                io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::HostUnreachable
                    | io::ErrorKind::NetworkUnreachable
            );
        }
        cause = error.source();
    }
    false
}

/// etcd's statuses come as text: their codes are shared by unlike errors.
pub(super) fn failure(error: EtcdError) -> Failure {
    let EtcdError::GRpcStatus(status) = &error else {
        return Failure::NoAnswer(error.into());
    };
    let message = status.message();
    if message.contains("lease not found") {
        return Failure::Answer(Error::LeaseEnded(LeaseId(String::new())));
    }
    if message.contains("request is too large") || message.contains("too many operations") {
        return Failure::Answer(Error::TooLarge(message.to_owned()));
    }
    if message.contains("permission denied") || message.contains("user name is empty") {
        return Failure::Answer(Error::Broken {
            store: "etcd",
            message: message.to_owned(),
        });
    }
    if status.source().is_some_and(never_sent) {
        Failure::NotReached(error.into())
    } else {
        Failure::NoAnswer(error.into())
    }
}

/// The client turns an ended lease's renewal into an error of its own.
pub(super) fn renewal_failure(error: EtcdError, lease: &LeaseId) -> Failure {
    match error {
        EtcdError::LeaseKeepAliveError(message) if message.contains("not found") => {
            Failure::Answer(Error::LeaseEnded(lease.clone()))
        }
        error => failure(error),
    }
}

/// etcd does not say which lease of a transaction has ended; there is hardly ever more than one.
pub(super) fn name_lease(error: Error, txn: &Txn) -> Error {
    let lease = txn.writes.iter().find_map(|write| match write {
        Write::Put { lease, .. } => lease.clone(),
        Write::Delete(_) => None,
    });
    match (error, lease) {
        (Error::LeaseEnded(_), Some(lease)) => Error::LeaseEnded(lease),
        (error, _) => error,
    }
}
