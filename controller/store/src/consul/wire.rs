//! Consul's JSON.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use crate::{Guard, Key, Txn, Write};

/// A query for a prefix whose answer is short however much is below: only its index is wanted.
pub(super) const INDEX: &str = "recurse&keys&separator=/";

/// One key.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Pair {
    pub(super) key: String,
    #[serde(default)]
    value: Option<String>,
    pub(super) modify_index: u64,
}

impl Pair {
    /// The value; an empty one comes as null.
    pub(super) fn value(&self) -> Option<Vec<u8>> {
        STANDARD.decode(self.value.as_deref().unwrap_or_default()).ok()
    }
}

/// One operation of a transaction.
#[derive(Debug, Serialize, PartialEq, Eq)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Operation {
    verb: &'static str,
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flags: Option<u64>,
}

/// Consul has operations of several kinds; ours are all of this one.
#[derive(Debug, Serialize, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
pub(super) struct OnKeys {
    kv: Operation,
}

/// The operations of a transaction: its guards, in their order, and then its writes. Consul skips a write that changes
/// nothing and keeps the old revision, so every transaction puts a `mark` of its own on what it writes.
pub(super) fn transaction(txn: &Txn, mark: u64, path: impl Fn(&Key) -> String) -> Vec<OnKeys> {
    let guards = txn
        .guards
        .iter()
        .map(|guard| operation(guard_verb(guard), path(guard.key())));
    let writes = txn
        .writes
        .iter()
        .flat_map(|write| write_operations(write, mark, &path(write.key())));
    guards.chain(writes).map(|kv| OnKeys { kv }).collect()
}

fn operation((verb, index): (&'static str, Option<u64>), key: String) -> Operation {
    Operation {
        verb,
        key,
        index,
        value: None,
        session: None,
        flags: None,
    }
}

fn guard_verb(guard: &Guard) -> (&'static str, Option<u64>) {
    match guard {
        Guard::Absent(_) => ("check-not-exists", None),
        Guard::Unchanged(_, revision) => ("check-index", Some(revision.0)),
    }
}

fn write_operations(write: &Write, mark: u64, path: &str) -> Vec<Operation> {
    let delete = operation(("delete", None), path.to_owned());
    match write {
        Write::Delete(_) => vec![delete],
        Write::Put { value, lease, .. } => {
            let put = |verb| Operation {
                value: Some(STANDARD.encode(value)),
                session: lease.as_ref().map(|lease| lease.0.clone()),
                flags: Some(mark),
                ..operation((verb, None), path.to_owned())
            };
            match lease {
                None => vec![put("set")],
                Some(_) => vec![delete, put("lock")],
            }
        }
    }
}

/// What became of a transaction.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Done {
    results: Option<Vec<DoneKey>>,
    pub(super) errors: Option<Vec<Refusal>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
struct DoneKey {
    kv: Option<Pair>,
}

/// Why it was refused.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Refusal {
    pub(super) op_index: usize,
    pub(super) what: String,
}

impl Done {
    /// The index that it wrote, or of what it checked.
    pub(super) fn last_index(&self) -> Option<u64> {
        let results = self.results.iter().flatten();
        results
            .filter_map(|result| Some(result.kv.as_ref()?.modify_index))
            .max()
    }
}

/// A session to be created.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Session {
    #[serde(rename = "TTL")]
    ttl: String,
    behavior: &'static str,
    lock_delay: &'static str,
    node_checks: [String; 0],
    checks: [String; 0],
}

impl Session {
    pub(super) fn new(ttl: Duration) -> Self {
        Self {
            ttl: format!("{}ms", ttl.as_millis()),
            behavior: "delete",
            lock_delay: "0s",
            node_checks: [],
            checks: [],
        }
    }
}

/// A session that was created.
#[derive(Debug, Deserialize)]
pub(super) struct Created {
    #[serde(rename = "ID")]
    pub(super) id: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LeaseId, Revision};

    #[test]
    fn guards_come_first_and_a_leased_write_is_a_delete_and_a_lock() {
        let txn = Txn::new()
            .put_leased(Key::root("l"), b"1".to_vec(), LeaseId("s".to_owned()))
            .replace(Key::root("r"), Revision(7), b"2".to_vec())
            .create(Key::root("c"), vec![])
            .delete(Key::root("d"));
        let json = serde_json::to_value(transaction(&txn, 5, |key| format!("p/{key}"))).unwrap();
        let expected = serde_json::json!([
            {"KV": {"Verb": "check-index", "Key": "p/r", "Index": 7}},
            {"KV": {"Verb": "check-not-exists", "Key": "p/c"}},
            {"KV": {"Verb": "delete", "Key": "p/l"}},
            {"KV": {"Verb": "lock", "Key": "p/l", "Value": "MQ==", "Session": "s", "Flags": 5}},
            {"KV": {"Verb": "set", "Key": "p/r", "Value": "Mg==", "Flags": 5}},
            {"KV": {"Verb": "set", "Key": "p/c", "Value": "", "Flags": 5}},
            {"KV": {"Verb": "delete", "Key": "p/d"}},
        ]);
        assert_eq!(json, expected);
    }
}
