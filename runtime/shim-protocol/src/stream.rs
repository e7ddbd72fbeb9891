//! Docker's framing of several streams on one connection: one byte says which, four say how many bytes follow.

/// Which stream a frame belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum StreamKind {
    /// Standard output.
    Stdout = 1,
    /// Standard error.
    Stderr = 2,
}

impl StreamKind {
    /// As the json-file log names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Length of a frame's header.
pub const HEADER: usize = 8;

/// The header of a frame with `length` bytes.
pub const fn header(kind: StreamKind, length: u32) -> [u8; HEADER] {
    let [a, b, c, d] = length.to_be_bytes();
    [kind as u8, 0, 0, 0, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_the_kind_three_zeros_and_the_length_most_significant_first() {
        assert_eq!(header(StreamKind::Stderr, 0x0102), [2, 0, 0, 0, 0, 0, 1, 2]);
    }
}
