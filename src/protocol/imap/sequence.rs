//! Sequence sets (RFC 3501 section 9, `sequence-set`): numbers and ranges, `*` for the largest in use.
//!
//! A set is kept as it was written; `resolve` makes sorted, disjoint ranges in `n log n`, however it was written.

use std::ops::RangeInclusive;

/// One end of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// A number, at least 1.
    Number(u32),
    /// `*`
    Largest,
}

/// At least one range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequenceSet(pub(super) Vec<(Bound, Bound)>);

/// Sorted, disjoint, non-adjacent ranges.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ranges(Vec<RangeInclusive<u32>>);

impl SequenceSet {
    /// The numbers meant when `largest` is the largest in use (0 if none is).
    ///
    /// `*` alone means the largest; `5:*` with a largest of 3 means `3:5` (RFC 3501 section 6.4.8). In an empty
    /// mailbox `*` means nothing.
    pub fn resolve(&self, largest: u32) -> Ranges {
        let value = |bound: Bound| match bound {
            Bound::Number(number) => number,
            Bound::Largest => largest,
        };
        self.0
            .iter()
            .map(|&(a, b)| (value(a), value(b)))
            .filter(|&(a, b)| a != 0 && b != 0)
            .map(|(a, b)| a.min(b)..=a.max(b))
            .collect()
    }

    /// True if any number written out is larger than `largest`: such a sequence number names no message.
    pub fn exceeds(&self, largest: u32) -> bool {
        let over = |bound: Bound| match bound {
            Bound::Number(number) => number > largest,
            Bound::Largest => largest == 0,
        };
        self.0.iter().any(|&(a, b)| over(a) || over(b))
    }
}

impl Ranges {
    /// True if `number` is in one of the ranges.
    pub fn contains(&self, number: u32) -> bool {
        let at = self.0.partition_point(|range| *range.end() < number);
        self.0.get(at).is_some_and(|range| range.contains(&number))
    }

    /// The ranges, in order.
    pub fn iter(&self) -> impl Iterator<Item = &RangeInclusive<u32>> {
        self.0.iter()
    }

    /// True if there is no number at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As a sequence set on the wire; empty text if there is no number.
    pub fn render(&self) -> String {
        let one = |range: &RangeInclusive<u32>| match (range.start(), range.end()) {
            (a, b) if a == b => a.to_string(),
            (a, b) => format!("{a}:{b}"),
        };
        self.0.iter().map(one).collect::<Vec<_>>().join(",")
    }
}

impl FromIterator<RangeInclusive<u32>> for Ranges {
    fn from_iter<I: IntoIterator<Item = RangeInclusive<u32>>>(ranges: I) -> Self {
        let mut sorted: Vec<RangeInclusive<u32>> = ranges.into_iter().collect();
        sorted.sort_by_key(|range| *range.start());
        let mut merged: Vec<RangeInclusive<u32>> = Vec::with_capacity(sorted.len());
        for range in sorted {
            match merged.last_mut() {
                Some(last) if *range.start() <= last.end().saturating_add(1) => {
                    *last = *last.start()..=(*last.end()).max(*range.end());
                }
                _ => merged.push(range),
            }
        }
        Self(merged)
    }
}

impl FromIterator<u32> for Ranges {
    fn from_iter<I: IntoIterator<Item = u32>>(numbers: I) -> Self {
        numbers.into_iter().map(|number| number..=number).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Bound::{Largest, Number};

    #[test]
    fn a_star_is_the_largest_number_in_use() {
        let set = SequenceSet(vec![(Number(5), Largest)]);
        assert_eq!(set.resolve(3).render(), "3:5");
        assert_eq!(set.resolve(9).render(), "5:9");
        assert!(set.resolve(0).is_empty());
        assert_eq!(SequenceSet(vec![(Largest, Largest)]).resolve(7).render(), "7");
    }

    #[test]
    fn ranges_are_sorted_merged_and_searchable() {
        let set = SequenceSet(vec![(Number(9), Number(7)), (Number(1), Number(1)), (Number(2), Number(3))]);
        let ranges = set.resolve(100);
        assert_eq!(ranges.render(), "1:3,7:9");
        assert!(ranges.contains(1) && ranges.contains(8) && !ranges.contains(4) && !ranges.contains(10));
        assert!(set.exceeds(8) && !set.exceeds(9));
        assert_eq!([5_u32, 4, 6, 9, u32::MAX].into_iter().collect::<Ranges>().render(), "4:6,9,4294967295");
    }
}
