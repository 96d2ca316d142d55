//! The ring: which member owns which key, by rendezvous hashing over a fixed number of partitions.
//!
//! Thaler, Ravishankar: "Using Name-Based Mappings to Increase Hit Rates" (1998): each partition belongs to the
//! member with the highest score, a hash of both. A member that joins takes partitions only for itself, one that
//! leaves gives up only its own. The result is a function of the set of members and of the number of partitions,
//! never of the order in which members came, and of integers only, so that every machine computes the same:
//!
//! ```text
//! partition(key) = (xxh3_64(key, RING_SEED) * P) >> 64
//! node           = xxh3_64(id, RING_SEED)
//! score(node, p) = max over i in 0..weight of splitmix64(node ^ mix(i) ^ p * 0xD6E8FEB86659FD93)
//! owner(p)       = the member with the greatest (score, id)
//! ```
//!
//! where `mix` is the finaliser of SplitMix64 and `splitmix64(x) = mix(x + 0x9E3779B97F4A7C15)`, modulo 2^64. The
//! greatest of w hashes wins exactly in proportion to w, without a logarithm that differs between platforms. The
//! multiply-shift makes partitions ranges of the hash: doubling P splits each in two.
//!
//! Several owners of a key are spread over zones: of all members in the order of their scores, first the best of each
//! zone, then the others. Members without a zone stand in one of their own each. The owner itself is the same with zones
//! and without.

use crate::hash::{Fold, Folded, hash_bytes_seeded, mix};
use crate::id::NodeId;
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::fmt;

/// The seed under which keys and ids are hashed for placement: part of what every node must agree on.
pub const RING_SEED: u64 = 0x0072_756D_6F72_6D69;
/// Partitions of a ring at most.
pub const PARTITIONS_MAX: u32 = 1 << 16;
/// Members of a ring at most: a table names them with 16 bits. Never more than partitions can use.
pub const MEMBERS_MAX: usize = u16::MAX as usize;
/// The greatest weight of a member.
pub const WEIGHT_MAX: u8 = 64;
/// Owners of each partition that the table holds; more are computed when asked for.
pub const RANKED: usize = 5;

/// The members that own a partition, as places in the list of members, best first.
///
/// Only the first so many count as the ring has members, and the rest stays zero.
type Row = [u16; RANKED];

/// A rendezvous ring: weighted members, and the table of the best few for each partition.
///
/// Reading an owner is one hash and one look into the table. A join costs O(P), a leave O(P + rows that named the
/// member × members). For an even spread choose at least ten partitions for each member.
#[derive(Clone, Debug)]
pub struct Ring {
    /// In no particular order; `rows` names them by place.
    members: Vec<Member>,
    places: BTreeMap<NodeId, u16>,
    rows: Vec<Row>,
    /// How many members have a zone.
    zoned: usize,
    revision: u64,
}

#[derive(Clone, Copy, Debug)]
struct Member {
    id: NodeId,
    hash: u64,
    /// Zero for none.
    zone: u64,
    weight: u8,
}

/// Why a ring was not built or not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RingError {
    /// The number of partitions is not from 1 to [`PARTITIONS_MAX`].
    Partitions {
        /// What was asked for.
        partitions: u32,
    },
    /// The weight is not from 1 to [`WEIGHT_MAX`].
    Weight {
        /// What was asked for.
        weight: u8,
    },
    /// There are already [`MEMBERS_MAX`] members.
    Full,
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Partitions { partitions } => {
                write!(f, "{partitions} partitions, but a ring has 1 to {PARTITIONS_MAX}; no ring was built")
            }
            Self::Weight { weight } => {
                write!(f, "weight {weight}, but a member weighs 1 to {WEIGHT_MAX}; nothing changed")
            }
            Self::Full => {
                write!(f, "the ring has {MEMBERS_MAX} members, which is its bound; nothing changed")
            }
        }
    }
}

impl core::error::Error for RingError {}

impl Ring {
    /// Builds a ring without members.
    ///
    /// # Errors
    /// [`RingError::Partitions`] when there are none or more than [`PARTITIONS_MAX`].
    pub fn new(partitions: u32) -> Result<Self, RingError> {
        if partitions == 0 || partitions > PARTITIONS_MAX {
            return Err(RingError::Partitions { partitions });
        }
        let rows = vec![Row::default(); partitions as usize];
        Ok(Self { members: Vec::new(), places: BTreeMap::new(), rows, zoned: 0, revision: 0 })
    }

    /// Adds a member, or gives one another weight or zone (zero for none), and tells whether the ring has changed.
    ///
    /// # Errors
    /// [`RingError::Weight`] and [`RingError::Full`]; the ring is then unchanged.
    pub fn insert(&mut self, id: NodeId, weight: u8, zone: u64) -> Result<bool, RingError> {
        if weight == 0 || weight > WEIGHT_MAX {
            return Err(RingError::Weight { weight });
        }
        if self.weight(&id) == Some(weight) {
            return Ok(self.set_zone(&id, zone));
        }
        self.remove(&id);
        if self.members.len() == MEMBERS_MAX {
            return Err(RingError::Full);
        }
        let place = self.members.len() as u16;
        self.members.push(Member { id, hash: hash_bytes_seeded(&id.0, RING_SEED), zone, weight });
        self.zoned += usize::from(zone != 0);
        self.places.insert(id, place);
        self.rank_newcomer(place);
        self.revision += 1;
        Ok(true)
    }

    /// Removes a member and tells whether it was one.
    pub fn remove(&mut self, id: &NodeId) -> bool {
        let Some(place) = self.places.remove(id) else { return false };
        let last = (self.members.len() - 1) as u16;
        let removed = self.members.swap_remove(usize::from(place));
        self.revision += 1;
        self.zoned -= usize::from(removed.zone != 0);
        if let Some(moved) = self.members.get(usize::from(place)) {
            self.places.insert(moved.id, place);
        }
        let Self { members, rows, .. } = self;
        let ranked = RANKED.min(members.len() + 1);
        for (partition, row) in rows.iter_mut().enumerate() {
            if row[..ranked].contains(&place) {
                *row = rank(members, partition as u32);
            } else {
                row[..ranked].iter_mut().filter(|named| **named == last).for_each(|named| *named = place);
            }
        }
        true
    }

    /// Grows with every change of the ring: who keeps a copy sees by it that the copy is old.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Counts the partitions.
    pub fn partitions(&self) -> u32 {
        self.rows.len() as u32
    }

    /// Tells the partition of a key.
    #[inline]
    pub fn partition(&self, key: &[u8]) -> u32 {
        let hash = u128::from(hash_bytes_seeded(key, RING_SEED));
        ((hash * self.rows.len() as u128) >> 64) as u32
    }

    /// Finds the owner of a key; none only when the ring has no member.
    #[inline]
    pub fn place(&self, key: &[u8]) -> Option<NodeId> {
        self.owner_of(self.partition(key))
    }

    /// Finds the owner of a partition; none when the ring has no member or no such partition.
    #[inline]
    pub fn owner_of(&self, partition: u32) -> Option<NodeId> {
        let row = self.rows.get(partition as usize)?;
        self.members.get(usize::from(row[0])).map(|member| member.id)
    }

    /// Lists the `count` best owners of a key, the owner first and in different zones as far as there are zones; all
    /// members when there are fewer.
    ///
    /// Up to [`RANKED`] come from the table, when the table names enough zones; otherwise all members are scored:
    /// O(n log n).
    pub fn owners(&self, key: &[u8], count: usize) -> Vec<NodeId> {
        let partition = self.partition(key);
        let ranked = RANKED.min(self.members.len());
        let is_enough = count <= RANKED || ranked == self.members.len();
        let row = self.rows[partition as usize][..ranked].iter();
        let row = row.map(|place| &self.members[usize::from(*place)]);
        if is_enough && self.zoned == 0 {
            return row.take(count).map(|member| member.id).collect();
        }
        let best: Vec<&Member> = row.collect();
        let (zones, owners) = spread(&best, count);
        if is_enough && zones >= count.min(ranked) {
            return owners;
        }
        let mut all: Vec<&Member> = self.members.iter().collect();
        all.sort_by_cached_key(|member| Reverse((member.score(partition), member.id)));
        spread(&all, count).1
    }

    /// Tells whether a member owns a key.
    pub fn is_owner(&self, key: &[u8], id: &NodeId) -> bool {
        self.place(key).as_ref() == Some(id)
    }

    /// Lists the members in the order of their ids, each with its weight.
    pub fn members(&self) -> impl ExactSizeIterator<Item = (NodeId, u8)> {
        self.places.iter().map(|(id, place)| (*id, self.members[usize::from(*place)].weight))
    }

    /// Tells the weight of a member.
    pub fn weight(&self, id: &NodeId) -> Option<u8> {
        self.places.get(id).map(|place| self.members[usize::from(*place)].weight)
    }

    /// Tells the zone of a member; zero for none.
    pub fn zone(&self, id: &NodeId) -> Option<u64> {
        self.places.get(id).map(|place| self.members[usize::from(*place)].zone)
    }

    /// Names the member at a place, for the planted bug `table-order`.
    pub(crate) fn nth(&self, place: usize) -> Option<NodeId> {
        self.members.get(place).map(|member| member.id)
    }

    fn set_zone(&mut self, id: &NodeId, zone: u64) -> bool {
        let Some(place) = self.places.get(id) else { return false };
        let member = &mut self.members[usize::from(*place)];
        let has_changed = member.zone != zone;
        self.zoned = self.zoned + usize::from(zone != 0) - usize::from(member.zone != 0);
        member.zone = zone;
        self.revision += u64::from(has_changed);
        has_changed
    }

    /// Counts the members.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Tells whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Scores the member that came last in every partition, and nobody who does not make way for it.
    fn rank_newcomer(&mut self, place: u16) {
        let Self { members, rows, .. } = self;
        let newcomer = members[usize::from(place)];
        let ranked_before = RANKED.min(members.len() - 1);
        for (partition, row) in rows.iter_mut().enumerate() {
            let partition = partition as u32;
            let score = newcomer.score(partition);
            let mut rank = ranked_before;
            while rank > 0 && newcomer.beats(score, &members[usize::from(row[rank - 1])], partition) {
                rank -= 1;
            }
            if rank < RANKED {
                row[rank..].rotate_right(1);
                row[rank] = place;
            }
        }
    }
}

impl Member {
    /// Scores the member for a partition: the greatest of as many hashes as it weighs.
    #[inline]
    fn score(&self, partition: u32) -> u64 {
        let base = self.hash ^ u64::from(partition).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        let heavier = (1..self.weight).map(|lane| splitmix64(base ^ mix(u64::from(lane))));
        heavier.fold(splitmix64(base), u64::max)
    }

    /// Tells whether this member, with its score, comes before another.
    #[inline]
    fn beats(&self, score: u64, other: &Member, partition: u32) -> bool {
        let theirs = other.score(partition);
        score > theirs || score == theirs && self.id > other.id
    }
}

/// Takes the best of each zone in their order, then the others; tells how many zones are among them.
fn spread(best: &[&Member], count: usize) -> (usize, Vec<NodeId>) {
    let is_first = |i: usize| best[i].zone == 0 || best[..i].iter().all(|it| it.zone != best[i].zone);
    let (mut picked, mut others) = (Vec::with_capacity(count.min(best.len())), Vec::new());
    for (i, member) in best.iter().enumerate() {
        if picked.len() == count {
            break;
        }
        let list = if is_first(i) { &mut picked } else { &mut others };
        list.push(member.id);
    }
    let zones = picked.len();
    let missing = count - picked.len();
    picked.extend(others.into_iter().take(missing));
    (zones, picked)
}

/// Ranks all members for a partition.
fn rank(members: &[Member], partition: u32) -> Row {
    let mut row = Row::default();
    let mut best = [(0, NodeId([0; 32])); RANKED];
    let mut ranked = 0;
    for (place, member) in members.iter().enumerate() {
        let score = member.score(partition);
        let mut rank = ranked;
        while rank > 0 && (score, member.id) > best[rank - 1] {
            rank -= 1;
        }
        if rank < RANKED {
            ranked = RANKED.min(ranked + 1);
            best[rank..].rotate_right(1);
            best[rank] = (score, member.id);
            row[rank..].rotate_right(1);
            row[rank] = place as u16;
        }
    }
    row
}

/// The first output of SplitMix64 seeded with `word`.
#[inline]
const fn splitmix64(word: u64) -> u64 {
    mix(word.wrapping_add(0x9E37_79B9_7F4A_7C15))
}

impl PartialEq for Ring {
    /// Rings are equal when partitions and members with weights and zones are: everything else follows from them.
    fn eq(&self, other: &Self) -> bool {
        let zones = |ring: &Self| self.places.keys().map(|id| ring.zone(id)).collect::<Vec<_>>();
        self.partitions() == other.partitions()
            && self.members().eq(other.members())
            && zones(self) == zones(other)
    }
}

impl Eq for Ring {}

impl Folded for Ring {
    fn fold(&self, into: &mut Fold) {
        into.word(u64::from(self.partitions()));
        into.word(self.members.len() as u64);
        for (id, place) in &self.places {
            let Member { weight, zone, .. } = self.members[usize::from(*place)];
            into.value(id);
            into.word(u64::from(weight) ^ zone.rotate_left(8));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix64_is_the_published_generator() {
        // Vigna's splitmix64.c, seed 0 and seed 1234567.
        assert_eq!(splitmix64(0), 0xE220_A839_7B1D_CDAF);
        assert_eq!(splitmix64(1_234_567), 6_457_827_717_110_365_317);
    }
}
