//! Versions of the specification.

/// A version that is spoken here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// Results with several interfaces, and chains of plugins.
    V0_3_0,
    /// The same with its text mended.
    V0_3_1,
    /// CHECK, and results passed to DEL.
    V0_4_0,
    /// Addresses without a family.
    V1_0_0,
    /// GC and STATUS, and more about interfaces.
    V1_1_0,
}

impl Version {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::V0_3_0,
        Self::V0_3_1,
        Self::V0_4_0,
        Self::V1_0_0,
        Self::V1_1_0,
    ];
    /// The newest.
    pub const NEWEST: Self = Self::V1_1_0;

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V0_3_0 => "0.3.0",
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }

    /// Reads one; none if it isn't spoken here.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.as_str() == text)
    }

    /// Addresses say which family they are of.
    pub fn has_families(self) -> bool {
        self < Self::V1_0_0
    }

    /// Interfaces say their MTU.
    pub fn has_mtu(self) -> bool {
        self >= Self::V1_1_0
    }
}
