//! Who else asks a segment for an address at the same moment.

/// What a question of somebody else's for the same address means (RFC 5227, 2.1.1; RFC 4862, 5.4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rivals {
    /// Who asks is about to take it, and counts as having it.
    Count,
    /// Those who ask agree elsewhere on who gets it, such as hosts by the store that they share.
    Ignore,
}
