//! Firewall objects as values: tables, chains with their rules, sets and maps, and their elements.
//!
//! Fine-grained, so that adding a network or a port is one element and no rule. A chain carries its whole ordered list
//! of rules: rules have no identity of their own, so changing one replaces the chain's content, inside the same
//! transaction as everything else. [`text`] writes any collection of items in the syntax of nft(8).

mod rule;
mod set;
mod text;

use std::fmt;

pub use rule::{
    Action, AddressType, Field, Match, NatTarget, PortField, Rule, State, Test, Transport, Verdict,
};
pub use set::{Content, Element, Mapped, Set, Type, Value};
pub use text::text;

/// The packets that a table sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4 and IPv6.
    Inet,
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
}

/// A table, which is nothing but its family and its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Table {
    /// The packets it sees.
    pub family: Family,
    /// Its name. Ours begin with `cnm`; nobody else's is ever looked at.
    pub name: String,
}

/// What identifies a firewall object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A table.
    Table(Table),
    /// A chain by name.
    Chain(Table, String),
    /// A set or map by name; the two share their names.
    Set(Table, String),
    /// An element by its set and its key.
    Element(Table, String, Vec<Value>),
}

/// A firewall object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A table.
    Table(Table),
    /// A chain with all of its rules.
    Chain(Chain),
    /// A set or map, without its elements.
    Set(Set),
    /// An element of a set or map.
    Element(Element),
}

/// A chain with its rules in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// The table it is in.
    pub table: Table,
    /// Its name.
    pub name: String,
    /// Where packets enter it; none for a chain that is only jumped to.
    pub base: Option<Base>,
    /// Its rules.
    pub rules: Vec<Rule>,
    /// What is in it is the user's: it is made empty once, and that it exists is all that is ever ensured.
    pub users: bool,
}

/// How a base chain hangs on a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Base {
    /// What it may do.
    pub kind: ChainKind,
    /// Where it hangs.
    pub hook: Hook,
    /// Order among the chains of one hook, lowest first.
    pub priority: i32,
    /// What becomes of a packet that falls off its end.
    pub policy: Policy,
}

/// What a base chain may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainKind {
    /// Accept and drop.
    Filter,
    /// Translate addresses; sees the first packet of each connection.
    Nat,
    /// Change what routing of local packets depends on.
    Route,
}

/// Where in a packet's way a base chain hangs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// As it arrived, before routing.
    Prerouting,
    /// To this host.
    Input,
    /// Through this host.
    Forward,
    /// From this host, before routing.
    Output,
    /// About to leave.
    Postrouting,
}

/// What becomes of a packet that falls off a base chain's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// It goes on.
    Accept,
    /// It is dropped.
    Drop,
}

impl Table {
    /// The table of that name for both families.
    pub fn inet(name: impl Into<String>) -> Self {
        Self {
            family: Family::Inet,
            name: name.into(),
        }
    }
}

impl Item {
    /// What identifies it.
    pub fn key(&self) -> Key {
        match self {
            Self::Table(table) => Key::Table(table.clone()),
            Self::Chain(chain) => Key::Chain(chain.table.clone(), chain.name.clone()),
            Self::Set(set) => Key::Set(set.table.clone(), set.name.clone()),
            Self::Element(element) => {
                Key::Element(element.table.clone(), element.set.clone(), element.key.clone())
            }
        }
    }
}

impl Item {
    /// The table it is, or is in.
    pub const fn table(&self) -> &Table {
        match self {
            Self::Table(table) => table,
            Self::Chain(chain) => &chain.table,
            Self::Set(set) => &set.table,
            Self::Element(element) => &element.table,
        }
    }
}

impl Element {
    /// Whether the other is in the same set.
    pub(crate) fn is_beside(&self, other: &Self) -> bool {
        self.set == other.set && self.table == other.table
    }
}

impl Key {
    /// The table it is, or is in.
    pub fn table(&self) -> &Table {
        match self {
            Self::Table(table) | Self::Chain(table, _) | Self::Set(table, _) | Self::Element(table, _, _) => {
                table
            }
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inet => "inet",
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
        })
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.family, self.name)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(table) => write!(f, "table {table}"),
            Self::Chain(table, name) => write!(f, "chain {table} {name}"),
            Self::Set(table, name) => write!(f, "set {table} {name}"),
            Self::Element(table, set, key) => {
                write!(f, "element {table} {set} {{ {} }}", set::concatenated(key))
            }
        }
    }
}
