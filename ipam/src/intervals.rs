//! Pure: a set of numbers kept as merged ranges, so that the first gap is found in O(log n).

use std::collections::BTreeMap;

/// Disjoint ranges, first → last, both ends included. Neighbouring ranges are merged, so what follows a range is free.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Intervals(BTreeMap<u128, u128>);

impl Intervals {
    /// Whether the number is in.
    pub(crate) fn contains(&self, number: u128) -> bool {
        self.around(number).is_some()
    }

    /// The range that the number is in.
    pub(crate) fn around(&self, number: u128) -> Option<(u128, u128)> {
        let (&first, &last) = self.0.range(..=number).next_back()?;
        (last >= number).then_some((first, last))
    }

    /// The first range that shares a number with `first..=last`.
    pub(crate) fn meets(&self, first: u128, last: u128) -> Option<(u128, u128)> {
        let (&f, &l) = self.0.range(..=last).next_back()?;
        (l >= first).then_some((f, l))
    }

    /// The lowest number that is not in, from `first` up to `last`.
    pub(crate) fn first_gap(&self, first: u128, last: u128) -> Option<u128> {
        match self.around(first) {
            None => (first <= last).then_some(first),
            Some((_, end)) if end < last => Some(end + 1),
            Some(_) => None,
        }
    }

    /// Puts a range in; parts of it may be in already.
    pub(crate) fn insert(&mut self, first: u128, last: u128) {
        let (mut low, mut high) = (first, last);
        while let Some((f, l)) = self.meets(low.saturating_sub(1), high.saturating_add(1)) {
            self.0.remove(&f);
            low = low.min(f);
            high = high.max(l);
        }
        self.0.insert(low, high);
    }

    /// Takes a range out; parts of it may be out already.
    pub(crate) fn remove(&mut self, first: u128, last: u128) {
        while let Some((f, l)) = self.meets(first, last) {
            self.0.remove(&f);
            if f < first {
                self.0.insert(f, first - 1);
            }
            if l > last {
                self.0.insert(last + 1, l);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_behave_like_a_set_of_numbers(
            steps in prop::collection::vec((any::<bool>(), 0_u128..64, 0_u128..8), 0..64),
            low in 0_u128..64,
        ) {
            let (mut ranges, mut set) = (Intervals::default(), BTreeSet::new());
            for (put, first, length) in steps {
                let all = first..=first + length;
                if put {
                    ranges.insert(first, first + length);
                    set.extend(all);
                } else {
                    ranges.remove(first, first + length);
                    set.retain(|number| !all.contains(number));
                }
            }
            for number in 0..80 {
                prop_assert_eq!(ranges.contains(number), set.contains(&number));
            }
            let gap = (low..=70).find(|number| !set.contains(number));
            prop_assert_eq!(ranges.first_gap(low, 70), gap);
            let bounds: Vec<_> = ranges.0.iter().collect();
            prop_assert!(bounds.windows(2).all(|pair| *pair[0].1 + 1 < *pair[1].0), "merged");
        }
    }

    #[test]
    fn the_ends_of_the_number_line_are_numbers_too() {
        let mut ranges = Intervals::default();
        ranges.insert(0, u128::MAX);
        assert_eq!(ranges.first_gap(0, u128::MAX), None);
        ranges.remove(u128::MAX, u128::MAX);
        assert_eq!(ranges.first_gap(0, u128::MAX), Some(u128::MAX));
    }
}
