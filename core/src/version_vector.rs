//! Version vectors: for each writer the stamp up to which all of its operations are held.
//!
//! Stamps are the sequence numbers, and each operation names its predecessor, so a gap is seen without counting.
//! Operations ahead of a gap are remembered as intervals until the gap closes. Whether two vectors are equal is one
//! comparison of hashes; writers fall into buckets, so that what differs is found without listing what does not.

use crate::frame::VECTOR_BUCKETS;
use crate::hash::{FixedState, Fold};
use crate::hlc::Stamp;
use crate::id::{Version, Writer};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use indexmap::IndexMap;

/// What became of a recorded operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It was held already.
    Covered,
    /// It follows what is covered: the cover was raised to it, and further if it closed a gap.
    Raised,
    /// Its predecessor is missing.
    Gap,
    /// Its writer is unknown and there is no room for another.
    Full,
}

/// What is held of one writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cover {
    /// Every operation up to this stamp is held.
    stamp: Stamp,
    /// No operation of this writer was ever seen below this stamp.
    first: Stamp,
}

/// What a replica holds, by writer. Writers are numbered in the order in which they were first seen.
#[derive(Clone, Debug)]
pub struct VersionVector {
    covers: IndexMap<Writer, Cover, FixedState>,
    /// Operations ahead of a gap, by writer: (predecessor, stamp), ordered by stamp.
    pending: BTreeMap<u32, Vec<(Stamp, Stamp)>>,
    /// The sum of hash(writer, cover) over the writers of each bucket.
    buckets: [u64; VECTOR_BUCKETS],
    writers_max: usize,
    pending_max: usize,
}

impl VersionVector {
    /// Starts empty, for at most `writers_max` writers and `pending_max` intervals ahead of a gap for each.
    pub fn new(writers_max: usize, pending_max: usize) -> Self {
        let writers_max = writers_max.min(u32::MAX as usize);
        let (covers, pending) = (IndexMap::default(), BTreeMap::new());
        Self { covers, pending, buckets: [0; VECTOR_BUCKETS], writers_max, pending_max }
    }

    /// Numbers a writer, or tells its number; `None` when it is unknown and there is no room for another.
    pub fn intern(&mut self, writer: &Writer) -> Option<u32> {
        if let Some(number) = self.covers.get_index_of(writer) {
            return Some(number as u32);
        }
        if self.covers.len() >= self.writers_max {
            return None;
        }
        let (number, _) =
            self.covers.insert_full(*writer, Cover { stamp: Stamp::ZERO, first: Stamp(u64::MAX) });
        Some(number as u32)
    }

    /// Tells whether a writer is known, or may become so.
    pub fn has_room_for(&self, writer: &Writer) -> bool {
        self.covers.len() < self.writers_max || self.covers.contains_key(writer)
    }

    /// Tells a writer's number, if it is known.
    pub fn number(&self, writer: &Writer) -> Option<u32> {
        self.covers.get_index_of(writer).map(|number| number as u32)
    }

    /// Names the writer with a number given out by this vector.
    ///
    /// # Panics
    /// When the number was never given out.
    pub fn writer(&self, number: u32) -> &Writer {
        self.covers.get_index(number as usize).expect("a number that was given out").0
    }

    /// Tells up to which stamp every operation of a writer is held.
    pub fn cover(&self, writer: &Writer) -> Stamp {
        self.covers.get(writer).map_or(Stamp::ZERO, |cover| cover.stamp)
    }

    /// Tells whether an operation is held: below the cover, or ahead of a gap and remembered.
    pub fn covers(&self, version: &Version) -> bool {
        let Some(number) = self.number(&version.writer) else { return false };
        version.stamp <= self.covers[number as usize].stamp || self.is_pending(number, version.stamp)
    }

    fn is_pending(&self, number: u32, stamp: Stamp) -> bool {
        let of_writer = self.pending.get(&number);
        of_writer.is_some_and(|pending| pending.binary_search_by_key(&stamp, |(_, stamp)| *stamp).is_ok())
    }

    /// Records an operation that was applied, with the one before it.
    pub fn record(&mut self, writer: &Writer, prev: Stamp, stamp: Stamp) -> Recorded {
        let Some(number) = self.intern(writer) else { return Recorded::Full };
        let cover = &mut self.covers[number as usize];
        cover.first = cover.first.min(stamp);
        if stamp <= cover.stamp || self.is_pending(number, stamp) {
            return Recorded::Covered;
        }
        if prev > self.covers[number as usize].stamp {
            self.remember(number, prev, stamp);
            return Recorded::Gap;
        }
        self.raise(number, stamp);
        Recorded::Raised
    }

    /// Notes that a writer's operation is stored although nothing is known about its predecessors.
    pub(crate) fn note(&mut self, number: u32, stamp: Stamp) {
        let cover = &mut self.covers[number as usize];
        cover.first = cover.first.min(stamp);
    }

    /// Remembers an operation ahead of a gap. Without room the highest is forgotten: anti-entropy brings it again.
    fn remember(&mut self, number: u32, prev: Stamp, stamp: Stamp) {
        let pending = self.pending.entry(number).or_default();
        let at = pending.partition_point(|(_, other)| *other < stamp);
        pending.insert(at, (prev, stamp));
        pending.truncate(self.pending_max);
        if pending.is_empty() {
            self.pending.remove(&number);
        }
    }

    /// Raises a writer's cover to a stamp below which nothing is missing, and tells whether that is news.
    pub fn merge_entry(&mut self, writer: &Writer, stamp: Stamp) -> bool {
        if stamp <= self.cover(writer) {
            return false;
        }
        let Some(number) = self.intern(writer) else { return false };
        self.raise(number, stamp);
        true
    }

    fn raise(&mut self, number: u32, stamp: Stamp) {
        let mut raised = stamp;
        if let Some(pending) = self.pending.get_mut(&number) {
            // Intervals are ordered by stamp, and so by predecessor: one pass closes every gap that can be closed.
            pending
                .iter()
                .for_each(|(prev, next)| raised = if *prev <= raised { raised.max(*next) } else { raised });
            pending.retain(|(_, next)| *next > raised);
            if pending.is_empty() {
                self.pending.remove(&number);
            }
        }
        let (writer, cover) =
            self.covers.get_index_mut(number as usize).expect("a number that was given out");
        let bucket = &mut self.buckets[bucket_of(writer)];
        *bucket =
            bucket.wrapping_sub(entry_hash(writer, cover.stamp)).wrapping_add(entry_hash(writer, raised));
        cover.stamp = raised;
    }

    /// Hashes the covers: equal on two vectors that cover the same, whatever the order in which it came.
    pub fn hash(&self) -> u64 {
        self.buckets.iter().fold(0, |sum: u64, bucket| sum.wrapping_add(*bucket))
    }

    /// Hashes the covers of each bucket of writers.
    pub fn bucket_hashes(&self) -> &[u64; VECTOR_BUCKETS] {
        &self.buckets
    }

    /// Lists writers and covers of the buckets in a mask (bit k for bucket k).
    pub fn entries(&self, mask: u16) -> impl Iterator<Item = (&Writer, Stamp)> {
        let covered = self.covers.iter().filter(|(_, cover)| cover.stamp > Stamp::ZERO);
        let masked = covered.filter(move |(writer, _)| is_masked(mask, writer));
        masked.map(|(writer, cover)| (writer, cover.stamp))
    }

    /// Lists each writer's cover with the lowest stamp ever seen of it, by the writers' numbers.
    pub(crate) fn spans(&self) -> impl Iterator<Item = (Stamp, Stamp)> {
        self.covers.values().map(|cover| (cover.stamp, cover.first))
    }

    /// Counts the known writers.
    pub fn len(&self) -> usize {
        self.covers.len()
    }

    /// Tells whether no writer is known.
    pub fn is_empty(&self) -> bool {
        self.covers.is_empty()
    }

    /// Tells whether operations of some writer are known to be missing.
    pub fn has_gaps(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Asserts every invariant, by computing from scratch what is kept up to date: O(writers).
    ///
    /// # Panics
    /// When an invariant does not hold.
    pub fn audit(&self) {
        assert!(self.covers.len() <= self.writers_max, "more writers than writers_max");
        let mut buckets = [0_u64; VECTOR_BUCKETS];
        for (writer, cover) in &self.covers {
            let bucket = &mut buckets[bucket_of(writer)];
            *bucket = bucket.wrapping_add(entry_hash(writer, cover.stamp));
        }
        assert_eq!(buckets, self.buckets, "hashes of buckets drifted away from the covers");
        for (number, pending) in &self.pending {
            let cover = self.covers[*number as usize].stamp;
            assert!(
                !pending.is_empty() && pending.len() <= self.pending_max,
                "pending intervals out of bounds"
            );
            assert!(
                pending.iter().all(|(prev, stamp)| cover < *prev && prev < stamp),
                "a gap that is closed"
            );
            assert!(pending.is_sorted_by(|a, b| a.1 < b.1), "pending intervals out of order");
        }
    }
}

impl PartialEq for VersionVector {
    /// Vectors are equal when they cover the same; the order in which writers were met does not matter.
    fn eq(&self, other: &Self) -> bool {
        let covered = |vector: &Self| vector.entries(u16::MAX).count();
        covered(self) == covered(other)
            && self.entries(u16::MAX).all(|(writer, stamp)| other.cover(writer) == stamp)
    }
}

impl Eq for VersionVector {}

/// Tells the bucket of a writer, below [`VECTOR_BUCKETS`].
pub fn bucket_of(writer: &Writer) -> usize {
    (writer_hash(writer) % VECTOR_BUCKETS as u64) as usize
}

/// Tells whether a writer's bucket is in a mask.
pub(crate) fn is_masked(mask: u16, writer: &Writer) -> bool {
    mask & 1 << bucket_of(writer) != 0
}

fn writer_hash(writer: &Writer) -> u64 {
    let mut fold = Fold::default();
    fold.value(writer);
    fold.finish()
}

/// Hashes one entry; nothing held counts nothing.
fn entry_hash(writer: &Writer, stamp: Stamp) -> u64 {
    if stamp == Stamp::ZERO {
        return 0;
    }
    let mut fold = Fold::starting_at(writer_hash(writer));
    fold.word(stamp.0);
    fold.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::NodeId;
    use proptest::prelude::*;

    fn writer(n: u8) -> Writer {
        Writer { node: NodeId([n; 32]), epoch: 7 }
    }

    fn version(n: u8, stamp: u64) -> Version {
        Version { stamp: Stamp(stamp), writer: writer(n) }
    }

    fn vector() -> VersionVector {
        VersionVector::new(100, 64)
    }

    #[test]
    fn a_gap_is_seen_remembered_and_closed() {
        let mut it = vector();
        assert_eq!(it.record(&writer(1), Stamp(0), Stamp(10)), Recorded::Raised);
        assert_eq!(it.record(&writer(1), Stamp(20), Stamp(30)), Recorded::Gap);
        assert_eq!(it.record(&writer(1), Stamp(20), Stamp(30)), Recorded::Covered);
        assert!(it.covers(&version(1, 30)) && !it.covers(&version(1, 20)) && it.has_gaps());
        assert_eq!(it.cover(&writer(1)), Stamp(10));
        assert_eq!(it.record(&writer(1), Stamp(10), Stamp(20)), Recorded::Raised);
        assert_eq!(it.cover(&writer(1)), Stamp(30));
        assert!(!it.has_gaps());
        it.audit();
    }

    #[test]
    fn both_bounds_are_reached_and_held() {
        let mut it = VersionVector::new(2, 3);
        for n in 1..=2 {
            assert_eq!(it.record(&writer(n), Stamp(0), Stamp(1)), Recorded::Raised);
        }
        assert_eq!(it.record(&writer(3), Stamp(0), Stamp(1)), Recorded::Full);
        assert!(!it.merge_entry(&writer(3), Stamp(5)) && !it.has_room_for(&writer(3)));
        for stamp in (10..100).step_by(10) {
            assert_eq!(it.record(&writer(1), Stamp(stamp - 1), Stamp(stamp)), Recorded::Gap);
        }
        it.audit();
        assert!(it.covers(&version(1, 30)) && !it.covers(&version(1, 40)), "the lowest are kept");
    }

    #[test]
    fn equal_covers_hash_alike_whatever_the_order_of_writers() {
        let (mut a, mut b) = (vector(), vector());
        for n in 0..50 {
            a.merge_entry(&writer(n), Stamp(u64::from(n) + 1));
            b.merge_entry(&writer(49 - n), Stamp(50 - u64::from(n)));
        }
        b.intern(&writer(99));
        assert_eq!((a.hash(), a.bucket_hashes()), (b.hash(), b.bucket_hashes()));
        assert_eq!(a, b);
        let listed: usize = (0..16).map(|bucket| a.entries(1 << bucket).count()).sum();
        assert_eq!(listed, 50, "every writer is in exactly one bucket");
    }

    type Chain = Vec<(u8, u64, u64)>;

    /// Operations of a few writers, as (writer, predecessor, stamp).
    fn chains() -> impl Strategy<Value = Chain> {
        let stamps = proptest::collection::btree_set(1_u64..40, 0..8);
        proptest::collection::vec(stamps, 1..4).prop_map(|writers| {
            let mut chain = Vec::new();
            for (n, stamps) in (0..).zip(writers) {
                let mut prev = 0;
                for stamp in stamps {
                    chain.push((n, prev, stamp));
                    prev = stamp;
                }
            }
            chain
        })
    }

    proptest! {
        #[test]
        fn every_order_and_repetition_of_a_chain_covers_the_same(
            (chain, shuffled) in chains().prop_flat_map(|chain| {
                let doubled = [chain.clone(), chain.clone()].concat();
                (Just(chain), Just(doubled).prop_shuffle())
            })
        ) {
            let (mut plain, mut wild) = (vector(), vector());
            for (n, prev, stamp) in &chain {
                plain.record(&writer(*n), Stamp(*prev), Stamp(*stamp));
            }
            for (n, prev, stamp) in &shuffled {
                wild.record(&writer(*n), Stamp(*prev), Stamp(*stamp));
                wild.audit();
            }
            prop_assert_eq!(plain.hash(), wild.hash());
            prop_assert_eq!(plain, wild);
        }

        #[test]
        fn a_part_of_a_chain_never_covers_what_it_lacks(chain in chains(), kept in any::<u64>()) {
            let mut it = vector();
            let held = |i: usize| kept >> (i % 64) & 1 == 1;
            for (_, (n, prev, stamp)) in chain.iter().enumerate().filter(|(i, _)| held(*i)) {
                it.record(&writer(*n), Stamp(*prev), Stamp(*stamp));
            }
            for (i, (n, _, stamp)) in chain.iter().enumerate() {
                prop_assert_eq!(it.covers(&version(*n, *stamp)), held(i));
            }
        }

        #[test]
        fn merging_entries_is_a_join(entries in proptest::collection::vec((0_u8..6, 1_u64..20), 0..20)) {
            let merged = |entries: &[(u8, u64)]| {
                let mut it = vector();
                for (n, stamp) in entries {
                    it.merge_entry(&writer(*n), Stamp(*stamp));
                }
                it.audit();
                it
            };
            let reversed: Vec<_> = entries.iter().rev().copied().collect();
            let twice = [entries.clone(), entries.clone()].concat();
            prop_assert_eq!(merged(&entries), merged(&reversed));
            prop_assert_eq!(merged(&entries), merged(&twice));
            for (n, stamp) in &entries {
                prop_assert!(merged(&entries).cover(&writer(*n)) >= Stamp(*stamp));
            }
        }
    }
}
