//! A transaction: guards and writes, all or nothing.

use std::collections::BTreeSet;

use crate::{Error, Key, LeaseId, MAX_VALUE, Result, Revision};

/// A condition on one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guard {
    /// The key does not exist.
    Absent(Key),
    /// The key exists and was last written at this revision.
    Unchanged(Key, Revision),
}

impl Guard {
    /// The key it is on.
    pub const fn key(&self) -> &Key {
        match self {
            Self::Absent(key) | Self::Unchanged(key, _) => key,
        }
    }
}

/// A change of one key. A key that hangs on a lease is written with a lease again, or deleted first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Sets the value. With a lease the key goes when the lease ends.
    Put {
        /// The key.
        key: Key,
        /// The value.
        value: Vec<u8>,
        /// The lease it hangs on; none for records, which stay.
        lease: Option<LeaseId>,
    },
    /// Removes the key; removing an absent one is no error.
    Delete(Key),
}

impl Write {
    /// The key it changes.
    pub const fn key(&self) -> &Key {
        match self {
            Self::Put { key, .. } | Self::Delete(key) => key,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Put { value, .. } => value.len(),
            Self::Delete(_) => 0,
        }
    }

    /// Consul takes a leased key in two steps.
    const fn operations(&self) -> usize {
        match self {
            Self::Put { lease: Some(_), .. } => 2,
            Self::Put { lease: None, .. } | Self::Delete(_) => 1,
        }
    }
}

/// Guards and writes that are committed together. At most one write per key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Txn {
    /// All must hold.
    pub guards: Vec<Guard>,
    /// Made when they do.
    pub writes: Vec<Write>,
}

impl Txn {
    /// Guards and writes together, a write with a lease counting twice: Consul takes 64.
    pub const MAX_OPERATIONS: usize = 64;

    /// An empty transaction.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes `key`, which must not exist.
    #[must_use]
    pub fn create(mut self, key: Key, value: Vec<u8>) -> Self {
        self.guards.push(Guard::Absent(key.clone()));
        self.put(key, value)
    }

    /// Writes `key`, whatever it held.
    #[must_use]
    pub fn put(mut self, key: Key, value: Vec<u8>) -> Self {
        self.writes.push(Write::Put {
            key,
            value,
            lease: None,
        });
        self
    }

    /// Writes `key`, which must still be at `revision`.
    #[must_use]
    pub fn replace(mut self, key: Key, revision: Revision, value: Vec<u8>) -> Self {
        self.guards.push(Guard::Unchanged(key.clone(), revision));
        self.put(key, value)
    }

    /// Writes `key`, whatever it held; it goes when the lease ends.
    #[must_use]
    pub fn put_leased(mut self, key: Key, value: Vec<u8>, lease: LeaseId) -> Self {
        self.writes.push(Write::Put {
            key,
            value,
            lease: Some(lease),
        });
        self
    }

    /// Removes `key`, whatever it held.
    #[must_use]
    pub fn delete(mut self, key: Key) -> Self {
        self.writes.push(Write::Delete(key));
        self
    }

    /// Adds a guard.
    #[must_use]
    pub fn guard(mut self, guard: Guard) -> Self {
        self.guards.push(guard);
        self
    }

    /// Adds everything of `other`, as when IPAM's part joins an operation's.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.guards.extend(other.guards);
        self.writes.extend(other.writes);
        self
    }

    /// Whether there is nothing to check and nothing to write.
    pub const fn is_empty(&self) -> bool {
        self.guards.is_empty() && self.writes.is_empty()
    }

    /// Refuses what some back end would refuse, so that all of them do.
    pub(crate) fn check(&self) -> Result<()> {
        let operations = self.guards.len() + self.writes.iter().map(Write::operations).sum::<usize>();
        if operations > Self::MAX_OPERATIONS {
            return Err(Error::TooLarge(format!(
                "a transaction of {operations} operations: at most {} are allowed",
                Self::MAX_OPERATIONS
            )));
        }
        let bytes = self.writes.iter().map(Write::bytes).sum::<usize>();
        if bytes > MAX_VALUE {
            return Err(Error::TooLarge(format!(
                "a transaction of {bytes} bytes: at most {MAX_VALUE} are allowed"
            )));
        }
        let mut seen = BTreeSet::new();
        match self.writes.iter().find(|write| !seen.insert(write.key())) {
            Some(twice) => Err(Error::TooLarge(format!(
                "a transaction that writes {} twice",
                twice.key()
            ))),
            None => Ok(()),
        }
    }
}
