//! VXLAN network identifiers.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A VXLAN network identifier: 24 bits, never 0 (RFC 7348, section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Vni(u32);

/// A number that is no VNI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a VXLAN network identifier: 1 to 16777215 are")]
pub struct VniError(u32);

impl Vni {
    /// The lowest identifier given to networks that don't ask for one; those below are left to the
    /// administrator, as Docker's key-value mode did.
    pub const FIRST_AUTOMATIC: u32 = 256;
    /// The highest identifier.
    pub const LAST: u32 = (1 << 24) - 1;

    /// Checks the range.
    pub const fn new(number: u32) -> Result<Self, VniError> {
        match number {
            1..=Self::LAST => Ok(Self(number)),
            _ => Err(VniError(number)),
        }
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for Vni {
    type Error = VniError;
    fn try_from(number: u32) -> Result<Self, VniError> {
        Self::new(number)
    }
}
impl From<Vni> for u32 {
    fn from(vni: Vni) -> u32 {
        vni.0
    }
}
impl fmt::Display for Vni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
