//! All records of a store in memory: what the memory store is, and what the embedded one reads from.
//!
//! A persistent map, so that a writer works on a copy which costs nothing and readers never wait for it.

use imbl::OrdMap;

use crate::{Entry, Error, Guard, Key, LeaseId, Listing, Result, Revision, Txn, Write};

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) value: Vec<u8>,
    pub(crate) revision: Revision,
    pub(crate) lease: Option<LeaseId>,
}

/// Every record at one revision.
#[derive(Debug, Clone, Default)]
pub(crate) struct Image {
    pub(crate) revision: Revision,
    pub(crate) records: OrdMap<Key, Stored>,
}

fn entry(key: &Key, stored: &Stored) -> Entry {
    Entry {
        key: key.clone(),
        value: stored.value.clone(),
        revision: stored.revision,
    }
}

impl Image {
    pub(crate) fn get(&self, key: &Key) -> Option<Entry> {
        self.records.get(key).map(|stored| entry(key, stored))
    }

    pub(crate) fn list(&self, prefix: &Key) -> Listing {
        let below = self.records.range(prefix.below());
        Listing {
            revision: self.revision,
            entries: self
                .get(prefix)
                .into_iter()
                .chain(below.map(|(key, stored)| entry(key, stored)))
                .collect(),
        }
    }

    /// Checks the guards and makes the writes, or does neither. Answers the keys that are no longer what they were.
    pub(crate) fn commit(&mut self, txn: &Txn) -> Result<Vec<Key>> {
        if let Some(failed) = txn.guards.iter().find(|guard| !self.holds(guard)) {
            return Err(Error::Conflict {
                key: failed.key().clone(),
            });
        }
        let revision = Revision(self.revision.0 + 1);
        let touched: Vec<Key> = txn
            .writes
            .iter()
            .filter(|write| self.write(write, revision))
            .map(|write| write.key().clone())
            .collect();
        if !touched.is_empty() {
            self.revision = revision;
        }
        Ok(touched)
    }

    fn holds(&self, guard: &Guard) -> bool {
        match guard {
            Guard::Absent(key) => !self.records.contains_key(key),
            Guard::Unchanged(key, revision) => self
                .records
                .get(key)
                .is_some_and(|stored| stored.revision == *revision),
        }
    }

    fn write(&mut self, write: &Write, revision: Revision) -> bool {
        match write {
            Write::Put { key, value, lease } => {
                let stored = Stored {
                    value: value.clone(),
                    revision,
                    lease: lease.clone(),
                };
                self.records.insert(key.clone(), stored);
                true
            }
            Write::Delete(key) => self.records.remove(key).is_some(),
        }
    }

    /// The transaction that removes everything written under a lease.
    pub(crate) fn without(&self, lease: &LeaseId) -> Txn {
        let held = self
            .records
            .iter()
            .filter(|(_, stored)| stored.lease.as_ref() == Some(lease));
        held.fold(Txn::new(), |txn, (key, _)| txn.delete(key.clone()))
    }
}
