//! Names of network interfaces, under the kernel's rule.

use std::{fmt, ops::Deref, str::FromStr};

use serde::{Deserialize, Serialize};

/// An interface name: 1 to 15 bytes, no `/`, no `:`, no white space, not `.` or `..`
/// (Linux `dev_valid_name`, `IFNAMSIZ` 16 with the ending zero).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InterfaceName(String);

/// Text that the kernel refuses as an interface name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an interface name: 1 to 15 bytes without \"/\", \":\" or white space are")]
pub struct InterfaceNameError(String);

impl InterfaceName {
    /// Checks the kernel's rule.
    pub fn new(name: impl Into<String>) -> Result<Self, InterfaceNameError> {
        let name = name.into();
        let fits = (1..=15).contains(&name.len()) && name != "." && name != "..";
        let clean = |c: char| c.is_ascii_graphic() && c != '/' && c != ':';
        if fits && name.chars().all(clean) {
            Ok(Self(name))
        } else {
            Err(InterfaceNameError(name))
        }
    }

    /// `prefix` followed by the number, as in `eth0`.
    pub fn numbered(prefix: &str, number: usize) -> Result<Self, InterfaceNameError> {
        Self::new(format!("{prefix}{number}"))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for InterfaceName {
    type Error = InterfaceNameError;
    fn try_from(name: String) -> Result<Self, InterfaceNameError> {
        Self::new(name)
    }
}
impl From<InterfaceName> for String {
    fn from(name: InterfaceName) -> String {
        name.0
    }
}
impl FromStr for InterfaceName {
    type Err = InterfaceNameError;
    fn from_str(name: &str) -> Result<Self, InterfaceNameError> {
        Self::new(name)
    }
}
impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl Deref for InterfaceName {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_rule_holds() {
        for good in ["eth0", "br-0123456789ab", "a"] {
            assert!(InterfaceName::new(good).is_ok(), "{good:?}");
        }
        for bad in ["", ".", "..", "a/b", "a:b", "a b", "0123456789abcdef", "\u{e9}"] {
            assert!(InterfaceName::new(bad).is_err(), "{bad:?}");
        }
    }
}
