//! Names that users choose, checked once.

use std::{fmt, ops::Deref, str::FromStr};

use serde::{Deserialize, Serialize};

/// Why a name is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not a valid {what} name: {rule}")]
pub struct NameError {
    what: &'static str,
    name: String,
    rule: &'static str,
}

const RULE: &str = "it starts with a letter or digit and goes on with letters, digits, \"_\", \".\" or \"-\"";

fn restricted(name: &str, shortest: usize, longest: usize) -> bool {
    let tail = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    (shortest..=longest).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(tail)
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $shortest:literal ..= $longest:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// Checks the rule.
            pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
                let name = name.into();
                if restricted(&name, $shortest, $longest) {
                    Ok(Self(name))
                } else {
                    Err(NameError { what: $what, name, rule: RULE })
                }
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(name: String) -> Result<Self, NameError> {
                Self::new(name)
            }
        }
        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }
        impl FromStr for $type {
            type Err = NameError;
            fn from_str(name: &str) -> Result<Self, NameError> {
                Self::new(name)
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl Deref for $type {
            type Target = str;
            fn deref(&self) -> &str {
                &self.0
            }
        }
    };
}

name! {
    /// A network's name, unique in its scope: 1 to 128 of letters, digits, `_`, `.` and `-`.
    NetworkName, "network", 1..=128
}
name! {
    /// A container's name: 2 to 255 of letters, digits, `_`, `.` and `-`, as Docker wants it.
    ContainerName, "container", 2..=255
}
name! {
    /// A volume's name: 2 to 200 of letters, digits, `_`, `.` and `-`; a folder is called by it.
    VolumeName, "volume", 2..=200
}
name! {
    /// A network or IPAM driver's name, which for a plugin is also a file name.
    DriverName, "driver", 1..=128
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rule() {
        for good in ["ol1", "my_net-2.x", "0"] {
            assert!(NetworkName::new(good).is_ok(), "{good:?}");
        }
        for bad in ["", " ", "-x", "a b", "a/b", "é", &"a".repeat(129)] {
            assert!(NetworkName::new(bad).is_err(), "{bad:?}");
        }
        assert!(
            ContainerName::new("a").is_err(),
            "one letter is too short for a container"
        );
    }
}
