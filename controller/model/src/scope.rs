//! Where a record lives, and how far an operation on it has come.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whether a network is one host's or is shared through the cluster store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Known to this host alone.
    Local,
    /// Known to every host that shares the store.
    Global,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "local",
            Self::Global => "global",
        })
    }
}

/// How far an operation on a record has come; restart finishes what it reads here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lifecycle {
    /// Recorded, perhaps half made: a restart undoes it.
    Creating,
    /// Made and usable.
    Active,
    /// Being removed: a restart finishes it.
    Deleting,
}
