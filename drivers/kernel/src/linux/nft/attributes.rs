//! Netlink attributes of nf_tables: numbers big-endian, strings with a zero at their end, many of them nested.
//!
//! The library's typed messages lack verdict data and half of the expressions that we need, so all of nf_tables is
//! written with this one pair: a builder, and a reader that believes nothing.

use std::borrow::Cow;

use netlink_packet_core::{NLA_F_NESTED, NLA_TYPE_MASK, NlasIterator};

/// Attributes being written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Attributes(Vec<u8>);

impl Attributes {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(value.len() + 4).expect("no attribute of ours is near 64 KiB");
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    pub(super) fn string(self, kind: u16, text: &str) -> Self {
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(kind, &bytes)
    }

    pub(super) fn u32(self, kind: u16, number: u32) -> Self {
        self.bytes(kind, &number.to_be_bytes())
    }

    pub(super) fn nested(self, kind: u16, inner: &Self) -> Self {
        self.bytes(kind | NLA_F_NESTED, &inner.0)
    }

    /// A list: each entry nested in an attribute of this kind.
    pub(super) fn list(kind: u16, entries: impl IntoIterator<Item = Self>) -> Self {
        let add = |list: Self, entry: Self| list.nested(kind, &entry);
        entries.into_iter().fold(Self::new(), add)
    }

    /// These and then those.
    pub(super) fn and(mut self, more: &Self) -> Self {
        self.0.extend_from_slice(&more.0);
        self
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Attributes as received.
#[derive(Debug, Clone, Default)]
pub(super) struct Received<'a>(Vec<(u16, &'a [u8])>);

impl<'a> Received<'a> {
    /// Reads until the end or the first malformed attribute.
    pub(super) fn read(bytes: &'a [u8]) -> Self {
        let mut attributes = Vec::new();
        let mut rest = bytes;
        // The iterator checks each length; the slices are taken again because its items borrow from themselves.
        for attribute in NlasIterator::new(bytes) {
            let Ok(attribute) = attribute else { break };
            let length = attribute.value_length();
            let Some(value) = rest.get(4..4 + length) else {
                break;
            };
            attributes.push((attribute.kind() & NLA_TYPE_MASK, value));
            rest = rest.get((4 + length).next_multiple_of(4)..).unwrap_or_default();
        }
        Self(attributes)
    }

    pub(super) fn bytes(&self, kind: u16) -> Option<&'a [u8]> {
        self.0.iter().find(|(k, _)| *k == kind).map(|(_, value)| *value)
    }

    pub(super) fn u32(&self, kind: u16) -> Option<u32> {
        Some(u32::from_be_bytes(self.bytes(kind)?.try_into().ok()?))
    }

    pub(super) fn string(&self, kind: u16) -> Option<Cow<'a, str>> {
        let bytes = self.bytes(kind)?;
        let text = bytes.split(|byte| *byte == 0).next()?;
        Some(String::from_utf8_lossy(text))
    }

    pub(super) fn nested(&self, kind: u16) -> Option<Self> {
        self.bytes(kind).map(Self::read)
    }

    /// The entries of a list, each read.
    pub(super) fn entries(&self, kind: u16) -> impl Iterator<Item = Self> {
        let of_kind = self.0.iter().filter(move |(k, _)| *k == kind);
        of_kind.map(|(_, value)| Self::read(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_reads_back() {
        let inner = Attributes::new().u32(1, 7).bytes(2, &[1, 2, 3]);
        let written = Attributes::new()
            .string(1, "name")
            .nested(4, &inner)
            .nested(4, &inner);
        let read = Received::read(written.as_bytes());
        assert_eq!(read.string(1).as_deref(), Some("name"));
        assert_eq!(read.entries(4).count(), 2);
        let nested = read.nested(4).expect("it is there");
        assert_eq!((nested.u32(1), nested.bytes(2)), (Some(7), Some(&[1, 2, 3][..])));
    }

    #[test]
    fn cut_or_garbled_attributes_end_the_reading() {
        let written = Attributes::new().u32(1, 7).string(2, "name");
        for length in 0..written.as_bytes().len() {
            let read = Received::read(&written.as_bytes()[..length]);
            assert!(read.u32(1).is_none_or(|number| number == 7));
        }
        assert!(Received::read(&[0xff; 32]).bytes(1).is_none());
        assert!(Received::read(&[0; 32]).bytes(1).is_none());
    }
}
