//! Sets of port numbers as intervals.

use std::collections::BTreeMap;

use model::PortRange;

/// Port numbers, kept as intervals that neither overlap nor touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Intervals(BTreeMap<u16, u16>);

impl Intervals {
    /// None at all.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Adds ports; those that are in already stay.
    pub fn insert(&mut self, range: PortRange) {
        let (mut first, mut last) = (range.first(), range.last());
        // From the right: everything that begins before the end of what is added, or right after it.
        while let Some((&from, &to)) = self.0.range(..=last.saturating_add(1)).next_back() {
            if to.saturating_add(1) < first {
                break;
            }
            self.0.remove(&from);
            first = first.min(from);
            last = last.max(to);
        }
        self.0.insert(first, last);
    }

    /// The lowest interval that has a port in common with these.
    pub fn overlap(&self, range: PortRange) -> Option<PortRange> {
        let before = self.0.range(..=range.first()).next_back();
        let reaching = before.filter(|(_, to)| **to >= range.first());
        let found = reaching.or_else(|| self.0.range(range.first()..=range.last()).next());
        found.and_then(|(from, to)| PortRange::new(*from, *to).ok())
    }

    /// The intervals, lowest first.
    pub fn iter(&self) -> impl Iterator<Item = PortRange> {
        self.0
            .iter()
            .filter_map(|(from, to)| PortRange::new(*from, *to).ok())
    }
}

impl FromIterator<PortRange> for Intervals {
    fn from_iter<T: IntoIterator<Item = PortRange>>(ranges: T) -> Self {
        let mut intervals = Self::new();
        ranges.into_iter().for_each(|range| intervals.insert(range));
        intervals
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn range(first: u16, last: u16) -> PortRange {
        PortRange::new(first, last).unwrap()
    }

    #[test]
    fn what_touches_becomes_one() {
        let rows: [(&[(u16, u16)], &str); 6] = [
            (&[(80, 80), (81, 81)], "80-81"),
            (&[(81, 81), (80, 80)], "80-81"),
            (&[(1, 10), (20, 30), (5, 25)], "1-30"),
            (&[(1, 10), (20, 30), (12, 18)], "1-10 12-18 20-30"),
            (&[(1, 65535), (7, 7)], "1-65535"),
            (&[(65535, 65535), (1, 1)], "1 65535"),
        ];
        for (added, expected) in rows {
            let set: Intervals = added.iter().map(|(first, last)| range(*first, *last)).collect();
            let text: Vec<_> = set.iter().map(|range| range.to_string()).collect();
            assert_eq!(text.join(" "), expected, "{added:?}");
        }
    }

    fn any_range() -> impl Strategy<Value = PortRange> {
        (1u16..200, 0u16..20).prop_map(|(first, more)| range(first, first + more))
    }

    proptest! {
        #[test]
        fn they_are_the_set_of_their_ports(
            added in prop::collection::vec(any_range(), 0..30),
            asked in any_range(),
        ) {
            let set: Intervals = added.iter().copied().collect();
            let ports: BTreeSet<u16> = added.iter().flat_map(|range| range.iter()).collect();
            let listed: Vec<u16> = set.iter().flat_map(|range| range.iter().collect::<Vec<_>>()).collect();
            prop_assert_eq!(listed, ports.iter().copied().collect::<Vec<_>>());
            let lowest = asked.iter().find(|port| ports.contains(port));
            match (set.overlap(asked), lowest) {
                (None, None) => {}
                (Some(found), Some(port)) => prop_assert!(found.contains(port)),
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
