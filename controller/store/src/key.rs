//! Keys are paths: `networks/3f2a…`, `leases/3f2a…/172.16.2.5`.

use std::{fmt, str::FromStr};

/// A path of one or more segments joined by `/`. A segment is 1 to 255 bytes of ASCII letters, digits and `._:-`,
/// which every back end takes as it is; `.` and `..` are none, because a URL would lose them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

/// Text that is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a key of the store")]
pub struct KeyError(String);

fn is_segment(text: &str) -> bool {
    let clean = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-');
    (1..=255).contains(&text.len()) && text.chars().all(clean) && !matches!(text, "." | "..")
}

impl Key {
    /// A key of one segment.
    ///
    /// # Panics
    /// When `segment` breaks the rule: for literals only.
    pub fn root(segment: &'static str) -> Self {
        assert!(
            is_segment(segment),
            "a literal segment follows the rule: {segment:?}"
        );
        Self(segment.to_owned())
    }

    /// This key with one more segment.
    ///
    /// # Panics
    /// When the segment breaks the rule. Ids, addresses and checked names never do.
    pub fn child(&self, segment: impl fmt::Display) -> Self {
        let segment = segment.to_string();
        assert!(is_segment(&segment), "a segment follows the rule: {segment:?}");
        Self(format!("{}/{segment}", self.0))
    }

    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last segment.
    pub fn last(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// The bounds of what lies under this key, itself not included: `0` is the byte after `/`.
    pub(crate) fn below(&self) -> std::ops::Range<Self> {
        Self(format!("{}/", self.0))..Self(format!("{}0", self.0))
    }

    /// Whether this is `prefix` or lies under it.
    pub fn is_under(&self, prefix: &Self) -> bool {
        self.0
            .strip_prefix(&prefix.0)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl FromStr for Key {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        if text.split('/').all(is_segment) {
            Ok(Self(text.to_owned()))
        } else {
            Err(KeyError(text.to_owned()))
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_under_itself_and_its_ancestors_but_not_under_its_neighbours() {
        let key: Key = "a/b/c".parse().unwrap();
        for (prefix, under) in [
            ("a", true),
            ("a/b", true),
            ("a/b/c", true),
            ("a/b/cd", false),
            ("a/bc", false),
        ] {
            assert_eq!(key.is_under(&prefix.parse().unwrap()), under, "{prefix}");
        }
        assert!(!Key::root("ab").is_under(&Key::root("a")));
    }

    #[test]
    fn what_a_back_end_would_not_take_as_it_is_is_no_key() {
        let long = "x".repeat(256);
        for text in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "a b",
            "ü",
            "a/../b",
            ".",
            "a?b",
            long.as_str(),
        ] {
            assert!(text.parse::<Key>().is_err(), "{text:?}");
        }
        assert!("networks/fe80::1/x_y-z.0".parse::<Key>().is_ok());
    }
}
