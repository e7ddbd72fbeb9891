//! Typed identities: 32 random bytes, written as 64 hex digits and shown as 12.
//!
//! The noun is part of the type, so an endpoint's id can't be passed where a network's is wanted.

use std::{cmp::Ordering, fmt, hash, marker::PhantomData, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{Endpoint, Network, Node, Sandbox};

/// The identity of one `Noun`.
pub struct Id<Noun> {
    bytes: [u8; 32],
    noun: PhantomData<fn() -> Noun>,
}

/// Names a container in types; the container itself belongs to the engine, not to the network model.
#[derive(Debug)]
pub enum Container {}

/// Identity of a network.
pub type NetworkId = Id<Network>;
/// Identity of an endpoint.
pub type EndpointId = Id<Endpoint>;
/// Identity of a sandbox.
pub type SandboxId = Id<Sandbox>;
/// Identity of a host; random, kept in its data-root, never derived from the hostname.
pub type NodeId = Id<Node>;
/// Identity of a container.
pub type ContainerId = Id<Container>;

/// Text that is not 64 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an id: 64 hexadecimal digits are wanted")]
pub struct IdError {
    text: String,
}

impl<Noun> Id<Noun> {
    /// Wraps 32 bytes that are already random.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self {
            bytes,
            noun: PhantomData,
        }
    }

    /// Draws a new id from the system's random source.
    ///
    /// Its short form has at least one letter: twelve digits alone would read as a number, in a hostname
    /// among other places.
    ///
    /// # Panics
    /// When the kernel has no random numbers to give, which `getrandom(2)` rules out after boot.
    pub fn random() -> Self {
        let mut bytes = [0; 32];
        loop {
            getrandom::fill(&mut bytes).expect("getrandom(2) does not fail after boot");
            let id = Self::from_bytes(bytes);
            if id.short().bytes().any(|digit| digit.is_ascii_alphabetic()) {
                return id;
            }
        }
    }

    /// The first 12 hex digits, as shown in tables and used in names of links.
    pub fn short(&self) -> String {
        self.hex(6)
    }

    /// The first `digits` hex digits.
    pub fn prefix(&self, digits: usize) -> String {
        let mut text = self.hex(32);
        text.truncate(digits);
        text
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    fn hex(&self, bytes: usize) -> String {
        use fmt::Write as _;
        self.bytes[..bytes]
            .iter()
            .fold(String::with_capacity(bytes * 2), |mut text, byte| {
                write!(text, "{byte:02x}").expect("writing to a String cannot fail");
                text
            })
    }
}

impl<Noun> FromStr for Id<Noun> {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let error = || IdError {
            text: text.to_owned(),
        };
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(error());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |at: usize| char::from(pair[at]).to_digit(16).ok_or_else(error);
            *byte = u8::try_from(digit(0)? * 16 + digit(1)?).map_err(|_| error())?;
        }
        Ok(Self::from_bytes(bytes))
    }
}

impl<Noun> fmt::Display for Id<Noun> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex(32))
    }
}

impl<Noun> fmt::Debug for Id<Noun> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

// Derives would ask the same of `Noun`, which is only a mark.
impl<Noun> Clone for Id<Noun> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<Noun> Copy for Id<Noun> {}
impl<Noun> PartialEq for Id<Noun> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}
impl<Noun> Eq for Id<Noun> {}
impl<Noun> PartialOrd for Id<Noun> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<Noun> Ord for Id<Noun> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.bytes.cmp(&other.bytes)
    }
}
impl<Noun> hash::Hash for Id<Noun> {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.bytes.hash(state);
    }
}

impl<Noun> Serialize for Id<Noun> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, Noun> Deserialize<'de> for Id<Noun> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_are_one_identity() {
        let id = NetworkId::random();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().len(), 64);
        assert!(id.to_string().starts_with(&id.short()));
    }

    #[test]
    fn what_is_not_64_hex_digits_is_refused() {
        for text in ["", "abc", &"g".repeat(64), &"a".repeat(63), &"é".repeat(32)] {
            assert!(text.parse::<NetworkId>().is_err(), "{text:?}");
        }
    }
}
