//! Firewall objects as values: tables, chains with their rules, maps and their elements.
//!
//! Fine-grained, so that adding a network or a port is one element and no rule.

/// What identifies a firewall object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A table.
    Table(String),
}

/// A firewall object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A table.
    Table(String),
}

impl Item {
    /// What identifies it.
    pub fn key(&self) -> Key {
        match self {
            Self::Table(name) => Key::Table(name.clone()),
        }
    }
}
