//! Records at rest: one small contract over memory, a file, etcd and Consul.
//!
//! Few verbs, because Consul's limits are the contract's: a transaction has at most [`Txn::MAX_OPERATIONS`]
//! operations with guards on single keys, a value is under [`MAX_VALUE`], and a watch is level-triggered. It says
//! only that something under a prefix changed; the reader lists again, and no reader needs every version.
//!
//! To add a back end: a file that implements [`Store`], a line in `cluster.rs`, and a line in `contract.rs`, whose
//! sentences it must show.
#![forbid(unsafe_code)]

pub mod cluster;
#[cfg(feature = "consul")]
pub mod consul;
#[cfg(test)]
mod contract;
pub mod embedded;
#[cfg(feature = "etcd")]
pub mod etcd;
mod image;
mod key;
mod leases;
#[cfg(any(feature = "etcd", feature = "consul"))]
mod members;
pub mod memory;
mod stores;
mod table;
mod txn;
mod watch;

use std::time::Duration;

use async_trait::async_trait;

pub use key::{Key, KeyError};
pub use stores::Stores;
pub use table::{Table, Versioned};
pub use txn::{Guard, Txn, Write};

/// The values of one transaction, all together, have at most this many bytes. Consul takes 512 KiB of request, in
/// which values are a third longer.
pub const MAX_VALUE: usize = 256 * 1024;

/// Grows with every commit of a store. Only compared with revisions of the same store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub u64);

/// One key with its value and the revision that wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// The value.
    pub value: Vec<u8>,
    /// When this key was last written; a [`Guard::Unchanged`] compares it.
    pub revision: Revision,
}

/// Everything under a prefix at one revision.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// The store's revision that this listing is of (or later than, for Consul's prefix index).
    pub revision: Revision,
    /// The entries in key order.
    pub entries: Vec<Entry>,
}

/// What a watch says. It never says what changed: the reader lists the prefix again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Something under the prefix changed, and the store is now at least at this revision. Several changes may be
    /// told as one, and with Consul a neighbour's change (`a/bc` for `a/b`) as one's own.
    Changed(Revision),
    /// The watch was lost (compaction, a restart, a broken connection) and is up again: anything may have changed.
    Resync,
    /// The store does not answer; sent once, until [`Change::Resync`] says it is back.
    Lost,
}

/// A liveness key's lease: while it is kept, keys written with it stay.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LeaseId(pub String);

/// Why a store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A guard did not hold. Nothing was written.
    #[error("{key} was changed by somebody else")]
    Conflict {
        /// The key whose guard failed (the first one, where the store names several).
        key: Key,
    },
    /// The store can't be reached or did not answer in time. Whether a commit took place is not known: the caller
    /// reads back before it tries again.
    #[error("the {store} store at {address} does not answer")]
    Unavailable {
        /// Which kind of store.
        store: &'static str,
        /// Its address, or a file's path.
        address: String,
        /// What the client library said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The lease ended.
    #[error("lease {} has ended", .0.0)]
    LeaseEnded(LeaseId),
    /// A transaction or a value over the contract's limits: the caller's mistake.
    #[error("{0}")]
    TooLarge(String),
    /// A record written by a newer version of the program.
    #[error("{key} was written by a newer version (schema {found}; this one knows up to {known})")]
    NewerSchema {
        /// The record's key.
        key: Key,
        /// Its schema number.
        found: u32,
        /// The highest schema number known here.
        known: u32,
    },
    /// A record that is no longer what was written.
    #[error("{key} can't be read as a record")]
    Unreadable {
        /// The record's key.
        key: Key,
        /// Where reading stopped.
        #[source]
        source: serde_json::Error,
    },
    /// What is stored can't be read, or the store says something that makes no sense.
    #[error("the {store} store: {message}")]
    Broken {
        /// Which kind of store.
        store: &'static str,
        /// What is wrong.
        message: String,
    },
}

/// A `Result` with the store's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Yields changes under one prefix until dropped.
#[async_trait]
pub trait Watch: Send {
    /// Waits for the next change. The first call returns at once with [`Change::Resync`], so that a reader's loop is
    /// only `loop { watch.next().await; list }`. Cancel-safe.
    async fn next(&mut self) -> Change;
}

/// Records at rest. All verbs may be called from several tasks at once; each has a deadline of its own (2 s for a
/// store over the network) after which it answers [`Error::Unavailable`].
#[async_trait]
pub trait Store: Send + Sync + std::fmt::Debug {
    /// One entry.
    async fn get(&self, key: &Key) -> Result<Option<Entry>>;

    /// Every entry whose key is `prefix` or lies under `prefix/`.
    async fn list(&self, prefix: &Key) -> Result<Listing>;

    /// Checks every guard and makes every write, or does neither.
    async fn commit(&self, txn: Txn) -> Result<Revision>;

    /// Watches a prefix.
    async fn watch(&self, prefix: &Key) -> Result<Box<dyn Watch>>;

    /// Asks for a lease. Unless renewed within `ttl` (10 s or more; a store may round up and may take up to twice as
    /// long), it ends, and with it the keys written under it.
    async fn grant(&self, ttl: Duration) -> Result<LeaseId>;

    /// Renews a lease; [`Error::LeaseEnded`] if it is gone.
    async fn renew(&self, lease: &LeaseId) -> Result<()>;

    /// Ends a lease at once. Ending one that is gone is no error.
    async fn revoke(&self, lease: &LeaseId) -> Result<()>;
}
