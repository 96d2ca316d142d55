//! A replicated map where the last writer wins: one entry and one version for each key, however often it was written.
//!
//! Versions are totally ordered by stamp and writer; two operations of one version (a cloned identity) are ordered by
//! the hash of their encoded form, so that merging is a join for arbitrary input. A delete is an entry like another.
//! An index by version lists what a peer lacks without looking at the rest; a commutative hash over keys and versions
//! tells in one comparison whether two replicas hold the same.
//!
//! The context never runs ahead of data: the version vector is raised over an operation only once it is merged. Entries
//! that are merged and not yet covered (out of order, or of a session that has not ended) are kept track of.
//!
//! Not here: values that join. An entry carries one version, so a joined value could not tell a peer that holds the
//! one half from a peer that holds the other, and the vector would run ahead of data. Lattices with their own context
//! are values of their own ([`OrMap`](crate::OrMap)).

use crate::config::{Canary, Config};
use crate::hash::{Fold, hash_bytes};
use crate::hlc::Stamp;
use crate::id::{Version, Writer};
use crate::machine::Origin;
use crate::op::{Body, Op};
use crate::version_vector::{Recorded, VersionVector, is_masked};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use core::cmp::Ordering;
use core::ops::Bound;

/// Arriving entries are taken up to this multiple of `entries_max`: the bound is checked where a write begins, and
/// nodes that have not heard of each other's writes yet may exceed it together.
const ARRIVING_FACTOR: usize = 2;

/// What an entry is to readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Value,
    /// A value that this node's schema refuses: kept and handed on, for others may accept it, and never shown.
    Hidden,
    Tombstone,
}

/// The one operation that a key keeps, in its encoded form.
#[derive(Clone, Debug)]
struct Entry {
    raw: Bytes,
    stamp: Stamp,
    writer: u32,
    value_at: u32,
    kind: Kind,
}

impl Entry {
    fn value(&self) -> Option<Bytes> {
        (self.kind == Kind::Value).then(|| self.raw.slice(self.value_at as usize..))
    }

    fn is_live(&self) -> bool {
        self.kind != Kind::Tombstone
    }
}

/// What a merge did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merged {
    /// The operation is the key's entry now.
    Won {
        /// The visible value before.
        old: Option<Bytes>,
        /// The visible value now.
        new: Option<Bytes>,
    },
    /// The key has a later entry, or this very one.
    Lost,
    /// There is no room for another key or another writer. Nothing has changed.
    Full,
}

/// What a peer holds, as far as is known: for each writer, by its number here, the stamp up to which it has all.
#[derive(Clone, Debug, Default)]
pub struct Held(Vec<Stamp>);

impl Held {
    /// Takes the peer's word for the writers in a mask's buckets. Those it does not name it has nothing of.
    pub fn tell(&mut self, map: &LwwMap, mask: u16, told: &BTreeMap<Writer, Stamp>) {
        self.0.resize(map.vector.len(), Stamp::ZERO);
        for (number, cover) in (0..).zip(&mut self.0) {
            let writer = map.vector.writer(number);
            if is_masked(mask, writer) {
                *cover = told.get(writer).copied().unwrap_or_default();
            }
        }
    }

    /// Tells what the peer has of a writer; nothing of one that came to be known here later.
    fn cover(&self, number: u32) -> Stamp {
        self.0.get(number as usize).copied().unwrap_or_default()
    }
}

/// One replica of a map.
#[derive(Clone, Debug)]
pub struct LwwMap {
    config: Arc<Config>,
    generation: u64,
    entries: BTreeMap<Bytes, Entry>,
    /// The entries by version. The key is part of it, because a hostile writer may use one version twice.
    index: BTreeSet<(Stamp, u32, Bytes)>,
    vector: VersionVector,
    /// Entries beyond the vector, by writer.
    uncovered: BTreeSet<(u32, Stamp, Bytes)>,
    fingerprint: u64,
    live: u32,
}

impl LwwMap {
    /// Starts empty.
    pub fn new(config: Arc<Config>, generation: u64) -> Self {
        Self {
            vector: VersionVector::new(config.writers_max, config.pending_max),
            config,
            generation,
            entries: BTreeMap::new(),
            index: BTreeSet::new(),
            uncovered: BTreeSet::new(),
            fingerprint: 0,
            live: 0,
        }
    }

    /// Tells the map's generation.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Reads a key: O(log n), and the value is shared, not copied.
    pub fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.entries.get(key)?.value()
    }

    /// Tells the version of a key's entry, a tombstone's too.
    pub fn version(&self, key: &[u8]) -> Option<Version> {
        self.entries.get(key).map(|entry| self.version_of(entry))
    }

    /// Lists keys and values in the order of keys.
    pub fn iter(&self) -> impl Iterator<Item = (&Bytes, Bytes)> {
        self.prefix(&[])
    }

    /// Lists the keys that begin with `prefix`, with their values, in the order of keys.
    pub fn prefix<'a>(&'a self, prefix: &'a [u8]) -> impl Iterator<Item = (&'a Bytes, Bytes)> {
        let from = self.entries.range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded));
        let within = from.take_while(move |(key, _)| key.starts_with(prefix));
        within.filter_map(|(key, entry)| Some((key, entry.value()?)))
    }

    /// Counts the entries that are no tombstones, hidden ones too: equal on equal replicas whatever their schemas.
    pub fn count(&self) -> u32 {
        self.live
    }

    /// Counts all entries, tombstones too.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Tells whether there is no entry, not even a tombstone.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Shows what this replica covers.
    pub fn vector(&self) -> &VersionVector {
        &self.vector
    }

    /// Hashes keys and versions of all entries that [`LwwMap::count`] counts.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Hashes everything that two equal replicas have in common.
    pub fn root(&self) -> u64 {
        let mut fold = Fold::starting_at(self.generation);
        [self.vector.hash(), self.fingerprint, u64::from(self.live)]
            .into_iter()
            .for_each(|word| fold.word(word));
        fold.finish()
    }

    /// Tells whether every entry is covered by the vector. Two settled replicas with equal vectors are equal.
    pub fn is_settled(&self) -> bool {
        self.uncovered.is_empty() && !self.vector.has_gaps()
    }

    /// Tells whether a local write may give this key an entry.
    pub fn has_room_for(&self, key: &[u8]) -> bool {
        self.entries.len() < self.config.entries_max || self.entries.contains_key(key)
    }

    /// Merges an operation and covers it: one that came by itself, in its writer's chain. `raw` is its encoded form.
    pub fn apply(&mut self, op: &Op, raw: &Bytes, is_valid: bool, origin: Origin) -> (Merged, Recorded) {
        let merged = self.merge(op, raw, is_valid, origin);
        if merged == Merged::Full {
            return (merged, Recorded::Full);
        }
        let recorded = self.vector.record(&op.writer, op.prev, op.stamp);
        if recorded == Recorded::Raised {
            self.settle(&op.writer);
        }
        (merged, recorded)
    }

    /// Merges an operation without covering it: one of a session, which covers all of its operations at its end.
    ///
    /// Commutative, associative and idempotent in the encoded entries.
    pub fn merge(&mut self, op: &Op, raw: &Bytes, is_valid: bool, origin: Origin) -> Merged {
        let old = self.entries.get(&op.key);
        let is_full = old.is_none() && self.entries.len() >= self.config.entries_max * ARRIVING_FACTOR;
        if old.is_some_and(|old| !self.wins(op, raw, old)) {
            return Merged::Lost;
        }
        let Some(writer) = self.vector.intern(&op.writer).filter(|_| !is_full) else { return Merged::Full };
        self.vector.note(writer, op.stamp);
        // One entry must not keep the whole chunk of a session in memory.
        let raw = if origin == Origin::Sync { Bytes::copy_from_slice(raw) } else { raw.clone() };
        let value_at = raw.len() - op.value().map_or(0, Bytes::len);
        let kind = match op.body {
            Body::Put(_) if is_valid => Kind::Value,
            Body::Put(_) => Kind::Hidden,
            Body::Tombstone => Kind::Tombstone,
        };
        let key = raw.slice(value_at - op.key.len()..value_at);
        let old = self.take(&op.key).and_then(|old| old.value());
        let entry = Entry { raw, stamp: op.stamp, writer, value_at: value_at as u32, kind };
        let new = entry.value();
        self.insert(key, entry);
        Merged::Won { old, new }
    }

    /// Tells whether an operation comes after the entry of its key.
    fn wins(&self, op: &Op, raw: &Bytes, entry: &Entry) -> bool {
        if self.config.is_planted(Canary::ArrivalOrder) {
            return true;
        }
        match op.version().cmp(&self.version_of(entry)) {
            Ordering::Greater => true,
            Ordering::Less => false,
            // A cloned identity wrote twice under one version: any rule will do, if everybody follows it.
            Ordering::Equal => (hash_bytes(raw), raw) > (hash_bytes(&entry.raw), &entry.raw),
        }
    }

    fn take(&mut self, key: &Bytes) -> Option<Entry> {
        let (key, entry) = self.entries.remove_entry(key)?;
        if entry.is_live() {
            self.fingerprint = self.fingerprint.wrapping_sub(self.hash_of(&key, &entry));
            self.live -= 1;
        }
        self.uncovered.remove(&(entry.writer, entry.stamp, key.clone()));
        self.index.remove(&(entry.stamp, entry.writer, key));
        Some(entry)
    }

    fn insert(&mut self, key: Bytes, entry: Entry) {
        if entry.is_live() {
            self.fingerprint = self.fingerprint.wrapping_add(self.hash_of(&key, &entry));
            self.live += 1;
        }
        if entry.stamp > self.vector.cover(self.vector.writer(entry.writer)) {
            self.uncovered.insert((entry.writer, entry.stamp, key.clone()));
        }
        self.index.insert((entry.stamp, entry.writer, key.clone()));
        self.entries.insert(key, entry);
    }

    /// Covers all operations of a writer up to a stamp, at the end of a session, and tells whether that is news.
    pub fn raise(&mut self, writer: &Writer, stamp: Stamp) -> bool {
        let is_news = self.vector.merge_entry(writer, stamp);
        if is_news {
            self.settle(writer);
        }
        is_news
    }

    /// Forgets that entries were uncovered which the risen vector covers.
    fn settle(&mut self, writer: &Writer) {
        let Some(number) = self.vector.number(writer).filter(|_| !self.uncovered.is_empty()) else { return };
        let cover = self.vector.cover(writer);
        let from = (number, Stamp::ZERO, Bytes::new());
        while let Some(first) =
            self.uncovered.range(&from..).next().filter(|it| it.0 == number && it.1 <= cover)
        {
            let first = first.clone();
            self.uncovered.remove(&first);
        }
    }

    /// Tells what a peer holds whose vector is equal to this one.
    pub fn held(&self) -> Held {
        Held(self.vector.spans().map(|(cover, _)| cover).collect())
    }

    /// Tells a stamp above which everything is that a peer lacks; `None` when it lacks nothing.
    pub fn lowest_lacked(&self, held: &Held) -> Option<Stamp> {
        let below = |stamp: Stamp| Stamp(stamp.0.saturating_sub(1));
        let behind = (0..).zip(self.vector.spans()).filter_map(|(number, (cover, first))| {
            let theirs = held.cover(number);
            (theirs < cover).then(|| theirs.max(below(first)))
        });
        let mut lowest = behind.min();
        let mut next = Some(0);
        while let Some(number) = next {
            let first = self.uncovered.range((number, Stamp::ZERO, Bytes::new())..).next();
            let stamp = first.map(|(_, stamp, _)| below(*stamp));
            lowest = lowest.into_iter().chain(stamp).min();
            next = first.map(|(number, ..)| number + 1);
        }
        lowest
    }

    /// Lists what a peer lacks of the entries after a stamp, by stamp: each one's stamp and encoded form.
    ///
    /// All of it, also what is not covered here. Entries of one stamp come in an order of this replica's own.
    pub fn lacked<'a>(&'a self, held: &'a Held, after: Stamp) -> impl Iterator<Item = (Stamp, &'a Bytes)> {
        let from = (Bound::Excluded((after, u32::MAX, Bytes::new())), Bound::Unbounded);
        let lacked = self.index.range(from).filter(|(stamp, writer, _)| *stamp > held.cover(*writer));
        lacked.map(|(stamp, _, key)| (*stamp, &self.entries[key].raw))
    }

    fn version_of(&self, entry: &Entry) -> Version {
        Version { stamp: entry.stamp, writer: *self.vector.writer(entry.writer) }
    }

    fn hash_of(&self, key: &Bytes, entry: &Entry) -> u64 {
        let mut fold = Fold::default();
        fold.bytes(key);
        fold.value(&self.version_of(entry));
        fold.finish()
    }

    /// Asserts every invariant that costs O(1).
    ///
    /// # Panics
    /// When an invariant does not hold.
    pub fn check(&self) {
        assert_eq!(self.entries.len(), self.index.len(), "the index lists other entries than there are");
        assert!(self.entries.len() <= self.config.entries_max * ARRIVING_FACTOR, "too many entries");
        assert!(self.live as usize <= self.entries.len(), "more live entries than entries");
        assert!(self.uncovered.len() <= self.entries.len(), "more uncovered entries than entries");
        assert!(self.vector.len() <= self.config.writers_max, "more writers than writers_max");
    }

    /// Asserts every invariant, by computing from scratch what is kept up to date: O(n log n).
    ///
    /// # Panics
    /// When an invariant does not hold.
    pub fn audit(&self) {
        self.check();
        self.vector.audit();
        let (mut fingerprint, mut live) = (0_u64, 0);
        for (key, entry) in &self.entries {
            let (op, raw) = Op::split(&mut entry.raw.clone()).expect("an entry that decodes");
            assert_eq!(
                (&op.key, op.version(), &raw),
                (key, self.version_of(entry), &entry.raw),
                "a damaged entry"
            );
            assert!(self.index.contains(&(entry.stamp, entry.writer, key.clone())), "an entry without index");
            let is_covered = entry.stamp <= self.vector.cover(&op.writer);
            let uncovered = (entry.writer, entry.stamp, key.clone());
            assert_eq!(self.uncovered.contains(&uncovered), !is_covered, "what is uncovered is not known");
            if entry.is_live() {
                fingerprint = fingerprint.wrapping_add(self.hash_of(key, entry));
                live += 1;
            }
        }
        assert_eq!((fingerprint, live), (self.fingerprint, self.live), "the fingerprint drifted away");
    }
}
