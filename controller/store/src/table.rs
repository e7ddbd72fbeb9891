//! A typed view of the records under one key, stored as JSON with a schema number.
//!
//! The number is read before the record, so that a daemon which meets a newer one's record says so instead of
//! failing on some field.

use std::{fmt, marker::PhantomData};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{Entry, Error, Key, Result, Revision, Store, Txn};

/// A record and the revision that wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned<R> {
    /// What [`Table::replace`] wants to see unchanged.
    pub revision: Revision,
    /// The record.
    pub record: R,
}

#[derive(Serialize)]
struct Envelope<'a, R> {
    schema: u32,
    record: &'a R,
}

#[derive(Deserialize)]
struct Schema {
    schema: u32,
}

#[derive(Deserialize)]
struct Opened<R> {
    record: R,
}

/// Records of one kind, under `root`.
pub struct Table<R> {
    root: Key,
    schema: u32,
    record: PhantomData<fn() -> R>,
}

impl<R: Serialize + DeserializeOwned> Table<R> {
    /// The table at `root`, whose records are of `schema`: the number grows when an older program could no longer
    /// read what this one writes.
    pub const fn new(root: Key, schema: u32) -> Self {
        Self {
            root,
            schema,
            record: PhantomData,
        }
    }

    /// The key everything is under; what to watch.
    pub const fn root(&self) -> &Key {
        &self.root
    }

    /// The key of one record.
    pub fn key(&self, id: impl fmt::Display) -> Key {
        self.root.child(id)
    }

    /// Reads one record.
    pub async fn get(&self, store: &dyn Store, id: impl fmt::Display) -> Result<Option<Versioned<R>>> {
        let key = self.key(id);
        store
            .get(&key)
            .await?
            .map(|entry| self.decode(&entry))
            .transpose()
    }

    /// Reads all records, and tells the store's revision.
    pub async fn list(&self, store: &dyn Store) -> Result<(Revision, Vec<Versioned<R>>)> {
        let listing = store.list(&self.root).await?;
        let records = listing.entries.iter().map(|entry| self.decode(entry));
        Ok((listing.revision, records.collect::<Result<_>>()?))
    }

    /// Writes a record that must not exist.
    pub fn create(&self, id: impl fmt::Display, record: &R) -> Txn {
        Txn::new().create(self.key(id), self.encode(record))
    }

    /// Writes a record that must be unchanged since it was read.
    pub fn replace(&self, id: impl fmt::Display, revision: Revision, record: &R) -> Txn {
        Txn::new().replace(self.key(id), revision, self.encode(record))
    }

    /// Writes a record, whatever was there.
    pub fn put(&self, id: impl fmt::Display, record: &R) -> Txn {
        Txn::new().put(self.key(id), self.encode(record))
    }

    /// Removes a record.
    pub fn delete(&self, id: impl fmt::Display) -> Txn {
        Txn::new().delete(self.key(id))
    }

    /// A record as it is stored.
    ///
    /// # Panics
    /// When the record has no JSON form, such as a map whose keys are not text: a mistake in its type.
    pub fn encode(&self, record: &R) -> Vec<u8> {
        let envelope = Envelope {
            schema: self.schema,
            record,
        };
        serde_json::to_vec(&envelope).expect("a record's type has a JSON form")
    }

    /// A record as it was stored.
    pub fn decode(&self, entry: &Entry) -> Result<Versioned<R>> {
        let unreadable = |source| Error::Unreadable {
            key: entry.key.clone(),
            source,
        };
        let found = serde_json::from_slice::<Schema>(&entry.value)
            .map_err(unreadable)?
            .schema;
        if found > self.schema {
            return Err(Error::NewerSchema {
                key: entry.key.clone(),
                found,
                known: self.schema,
            });
        }
        let opened: Opened<R> = serde_json::from_slice(&entry.value).map_err(unreadable)?;
        Ok(Versioned {
            revision: entry.revision,
            record: opened.record,
        })
    }
}

impl<R> fmt::Debug for Table<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Table({}, schema {})", self.root, self.schema)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;

    #[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct Fruit {
        colour: String,
    }

    fn red() -> Fruit {
        Fruit {
            colour: "red".to_owned(),
        }
    }

    fn table(schema: u32) -> Table<Fruit> {
        Table::new(Key::root("fruit"), schema)
    }

    #[tokio::test]
    async fn a_record_is_read_as_it_was_written() {
        let (store, table) = (Memory::new(), table(1));
        let revision = store.commit(table.create("apple", &red())).await.unwrap();
        let read = table.get(&store, "apple").await.unwrap().unwrap();
        assert_eq!(
            read,
            Versioned {
                revision,
                record: red()
            }
        );
        assert_eq!(table.list(&store).await.unwrap(), (revision, vec![read]));
        let stale = table.replace("apple", Revision(99), &red());
        assert!(matches!(store.commit(stale).await, Err(Error::Conflict { .. })));
        store.commit(table.delete("apple")).await.unwrap();
        assert_eq!(table.get(&store, "apple").await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_newer_programs_record_is_refused_by_name_and_an_older_ones_is_read() {
        let store = Memory::new();
        store.commit(table(2).put("apple", &red())).await.unwrap();
        let error = table(1).get(&store, "apple").await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "fruit/apple was written by a newer version (schema 2; this one knows up to 1)"
        );
        assert!(table(3).get(&store, "apple").await.unwrap().is_some());
    }

    #[tokio::test]
    async fn what_is_no_record_is_named_by_its_key() {
        for value in ["", "{}", "[1]", r#"{"schema":1,"record":{"colour":7}}"#] {
            let store = Memory::new();
            let key = Key::root("fruit").child("apple");
            store.commit(Txn::new().put(key, value.into())).await.unwrap();
            let error = table(1).get(&store, "apple").await.unwrap_err();
            assert_eq!(
                error.to_string(),
                "fruit/apple can't be read as a record",
                "{value}"
            );
        }
    }
}
