//! The events of one writer that are known, as ranges of their numbers.
//!
//! The range that begins at one is the writer's entry in a version vector; the ranges behind it are the cloud of
//! events that arrived before their predecessors. A gap that closes makes two ranges one, so the form of a set is
//! unique and no larger than its gaps demand.

use crate::hash::{Fold, Folded};
use crate::id::bounded;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Bound::{Excluded, Included};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The greatest number that is accepted from bytes: a writer that counts on from it never overflows.
pub(crate) const COUNTER_MAX: u64 = u64::MAX >> 1;

/// Ranges of one writer that are accepted from bytes at most.
pub(crate) const RANGES_MAX: usize = 1 << 16;

/// A set of event numbers from one up: disjoint ranges that do not touch, each from its first to its last number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dots(BTreeMap<u64, u64>);

impl Dots {
    pub(crate) fn contains(&self, counter: u64) -> bool {
        self.0.range(..=counter).next_back().is_some_and(|(_, last)| counter <= *last)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Tells the greatest number, zero for the empty set.
    pub(crate) fn last(&self) -> u64 {
        self.0.last_key_value().map_or(0, |(_, last)| *last)
    }

    /// Counts the gaps below the greatest number.
    pub(crate) fn gaps(&self) -> usize {
        self.0.len() - usize::from(self.0.contains_key(&1))
    }

    pub(crate) fn ranges(&self) -> impl ExactSizeIterator<Item = (u64, u64)> {
        self.0.iter().map(|(first, last)| (*first, *last))
    }

    pub(crate) fn insert(&mut self, counter: u64) -> bool {
        self.insert_range(counter, counter)
    }

    /// Adds every number from `first` to `last` and tells whether one of them was new.
    pub(crate) fn insert_range(&mut self, first: u64, last: u64) -> bool {
        debug_assert!(1 <= first && first <= last && last < u64::MAX);
        let start = match self.0.range_mut(..=first).next_back() {
            Some((_, end)) if last <= *end => return false,
            Some((start, end)) if first <= *end + 1 => {
                *end = last;
                *start
            }
            _ => {
                self.0.insert(first, last);
                first
            }
        };
        while let Some((&next, &end)) = self.0.range((Excluded(start), Included(last + 1))).next() {
            self.0.remove(&next);
            self.0.insert(start, last.max(end));
        }
        true
    }

    /// Adds every number of another set and tells whether one of them was new.
    pub(crate) fn union(&mut self, other: &Self) -> bool {
        other.ranges().fold(false, |grown, (first, last)| self.insert_range(first, last) | grown)
    }
}

impl Folded for Dots {
    fn fold(&self, into: &mut Fold) {
        into.word(self.0.len() as u64);
        for (first, last) in self.ranges() {
            into.word(first);
            into.word(last);
        }
    }
}

impl Serialize for Dots {
    /// Writes each range as its distance from the earliest place where it could begin, and the numbers after its
    /// first: small, and every sequence of such pairs is a set in its unique form.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut earliest = 1;
        serializer.collect_seq(self.ranges().map(|(first, last)| {
            let skipped = first - earliest;
            earliest = last + 2;
            (skipped, last - first)
        }))
    }
}

impl<'de> Deserialize<'de> for Dots {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pairs: Vec<(u64, u64)> = bounded::<D, _, RANGES_MAX>(deserializer)?;
        let mut ranges = BTreeMap::new();
        let mut earliest = 1_u64;
        for (skipped, more) in pairs {
            let range =
                earliest.checked_add(skipped).and_then(|first| Some((first, first.checked_add(more)?)));
            let Some((first, last)) = range.filter(|(_, last)| *last <= COUNTER_MAX) else {
                return Err(D::Error::custom("the number of an event is out of range"));
            };
            ranges.insert(first, last);
            earliest = last + 2;
        }
        Ok(Self(ranges))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn numbers(dots: &Dots) -> BTreeSet<u64> {
        dots.ranges().flat_map(|(first, last)| first..=last).collect()
    }

    proptest! {
        #[test]
        fn ranges_hold_what_was_put_in_and_never_touch(inserted in vec((1_u64..60, 0_u64..6), 0..40)) {
            let (mut dots, mut model) = (Dots::default(), BTreeSet::new());
            for (first, more) in inserted {
                let new = (first..=first + more).filter(|counter| model.insert(*counter)).count();
                prop_assert_eq!(dots.insert_range(first, first + more), new > 0);
                prop_assert!((0..70).all(|counter| dots.contains(counter) == model.contains(&counter)));
            }
            prop_assert_eq!(&numbers(&dots), &model);
            prop_assert_eq!(dots.last(), model.last().copied().unwrap_or(0));
            let ranges: Vec<_> = dots.ranges().collect();
            prop_assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
            prop_assert_eq!(dots.gaps(), (1..dots.last()).filter(|c| !model.contains(c) && model.contains(&(c + 1))).count());
        }

        #[test]
        fn a_set_survives_its_encoding(inserted in vec(1_u64..200, 0..60)) {
            let mut dots = Dots::default();
            inserted.iter().for_each(|counter| { dots.insert(*counter); });
            let bytes = postcard::to_allocvec(&dots).unwrap();
            prop_assert_eq!(postcard::from_bytes::<Dots>(&bytes).unwrap(), dots);
        }
    }

    #[test]
    fn numbers_beyond_the_bound_do_not_decode() {
        let decode =
            |pairs: &[(u64, u64)]| postcard::from_bytes::<Dots>(&postcard::to_allocvec(&pairs).unwrap());
        assert_eq!(decode(&[(COUNTER_MAX - 1, 0)]).unwrap().last(), COUNTER_MAX);
        assert!(decode(&[(COUNTER_MAX, 0)]).is_err());
        assert!(decode(&[(0, u64::MAX)]).is_err());
        assert!(decode(&[(3, 3), (u64::MAX, 0)]).is_err());
    }
}
