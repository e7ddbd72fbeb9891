//! The file: one redb table of records, one of what is known about them.

use std::path::{Path, PathBuf};

use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition, TableError, WriteTransaction,
};

use super::unavailable;
use crate::{
    Error, Key, LeaseId, Result, Revision,
    image::{Image, Stored},
};

/// Key → revision, lease (empty for none), value.
const RECORDS: TableDefinition<'_, &str, (u64, &str, &[u8])> = TableDefinition::new("records");
/// `format` → the layout of this file; `revision` → the store's.
const FACTS: TableDefinition<'_, &str, u64> = TableDefinition::new("facts");
const FORMAT: u64 = 1;

/// The file while it is open; closed after an I/O error, until the next use opens it again.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    database: Option<Database>,
}

impl File {
    /// Opens it, removes what leases of an earlier process left behind, and reads the rest.
    pub(super) fn open(path: &Path) -> Result<(Self, Image)> {
        let database = open(path)?;
        let leftovers = read(&database, path)?.unwrap_or_default();
        let image = without_leases(leftovers.clone());
        let gone = leftovers
            .records
            .keys()
            .filter(|key| !image.records.contains_key(*key));
        write(&database, &image, gone).map_err(|source| unavailable(path, source))?;
        let file = Self {
            path: path.to_owned(),
            database: Some(database),
        };
        Ok((file, image))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the last write failed, so that what the file holds is not known.
    pub(super) const fn is_closed(&self) -> bool {
        self.database.is_none()
    }

    /// Opens it again after an error, and reads what it holds. Leases of this process go on.
    pub(super) fn reopen(&mut self) -> Result<Image> {
        let database = open(&self.path)?;
        let image = read(&database, &self.path)?.unwrap_or_default();
        self.database = Some(database);
        Ok(image)
    }

    /// Makes the file hold what `image` has under `keys`, durably.
    pub(super) fn write<'a>(&mut self, image: &Image, keys: impl IntoIterator<Item = &'a Key>) -> Result<()> {
        let database = match self.database.take() {
            Some(database) => database,
            None => open(&self.path)?,
        };
        write(&database, image, keys).map_err(|source| unavailable(&self.path, source))?;
        self.database = Some(database);
        Ok(())
    }
}

fn open(path: &Path) -> Result<Database> {
    Database::create(path).map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => broken(format!(
            "{} is in use by another process; every daemon needs a data-root of its own",
            path.display()
        )),
        DatabaseError::UpgradeRequired(found) => broken(format!(
            "{} has a file format of another version ({found})",
            path.display()
        )),
        error => unavailable(path, error),
    })
}

const fn broken(message: String) -> Error {
    Error::Broken {
        store: "embedded",
        message,
    }
}

fn write<'a>(
    database: &Database,
    image: &Image,
    keys: impl IntoIterator<Item = &'a Key>,
) -> Result<(), redb::Error> {
    let txn = database.begin_write()?;
    write_facts(&txn, image.revision)?;
    {
        let mut records = txn.open_table(RECORDS)?;
        for key in keys {
            match image.records.get(key) {
                Some(Stored {
                    value,
                    revision,
                    lease,
                }) => {
                    let lease = lease.as_ref().map_or("", |lease| lease.0.as_str());
                    records.insert(key.as_str(), (revision.0, lease, value.as_slice()))?;
                }
                None => drop(records.remove(key.as_str())?),
            }
        }
    }
    Ok(txn.commit()?)
}

fn write_facts(txn: &WriteTransaction, revision: Revision) -> Result<(), redb::Error> {
    let mut facts = txn.open_table(FACTS)?;
    facts.insert("format", FORMAT)?;
    facts.insert("revision", revision.0)?;
    Ok(())
}

/// What the file holds; none if it is new.
fn read(database: &Database, path: &Path) -> Result<Option<Image>> {
    let failed = |source: redb::Error| unavailable(path, source);
    let txn = database.begin_read().map_err(|error| failed(error.into()))?;
    let facts = match txn.open_table(FACTS) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        facts => facts.map_err(|error| failed(error.into()))?,
    };
    let fact = |name| -> Result<u64> {
        let found = facts.get(name).map_err(|error| failed(error.into()))?;
        Ok(found.map_or(0, |value| value.value()))
    };
    let format = fact("format")?;
    if format != FORMAT {
        return Err(broken(format!(
            "{} was written by another version (format {format}; this one knows {FORMAT})",
            path.display()
        )));
    }
    let mut image = Image {
        revision: Revision(fact("revision")?),
        ..Image::default()
    };
    let records = txn.open_table(RECORDS).map_err(|error| failed(error.into()))?;
    for row in records.iter().map_err(|error| failed(error.into()))? {
        let (key, row) = row.map_err(|error| failed(error.into()))?;
        let (revision, lease, value) = row.value();
        let key: Key = key.value().parse().map_err(|error| broken(format!("{error}")))?;
        let stored = Stored {
            value: value.to_vec(),
            revision: Revision(revision),
            lease: (!lease.is_empty()).then(|| LeaseId(lease.to_owned())),
        };
        image.records.insert(key, stored);
    }
    Ok(Some(image))
}

fn without_leases(image: Image) -> Image {
    let kept = image
        .records
        .into_iter()
        .filter(|(_, stored)| stored.lease.is_none());
    Image {
        revision: image.revision,
        records: kept.collect(),
    }
}
