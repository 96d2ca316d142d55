//! The observed-remove map: any replica adds and removes; an add wins over a concurrent remove.
//!
//! Every insert is an event with a name of its own, a *dot*: the writer and the writer's count of inserts. A map is
//! what is known of each dot, and knowledge only grows along `unseen < live under a key with a value < removed`. A
//! join takes the greater of both sides for each dot, which makes it a lattice for all states, whoever made them.
//! A remove covers only the dots that its replica has seen: a concurrent insert has another dot and stays.
//!
//! Dots that are neither live nor unseen are kept as ranges of numbers, the causal context, not as tombstones: an
//! optimized OR-set (Bieniusa et al.: "An Optimized Conflict-free Replicated Set", 2012) as a delta CRDT (Almeida,
//! Shoker, Baquero: "Delta State Replicated Data Types", 2018, section 7). Departure: a context may hold gaps, so a
//! delta says exactly what it covers and deltas are joined in any order; no causal delivery is asked for.

use crate::dots::Dots;
use crate::hash::{Fold, Folded};
use crate::id::{Writer, bounded};
use crate::lattice::{Lattice, WRITERS_MAX};
use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::vec::Vec;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Live values of one writer that are accepted from bytes at most.
pub const LIVE_MAX: usize = 1 << 20;

/// An observed-remove map with values of type `V` under keys of type `K`, written by actors of type `A`.
///
/// A delta is a small map of the same type: [`OrMap::merge`] joins states and deltas alike, and deltas that were
/// merged with one another are a delta. A key written again and again by one actor costs what one write costs.
///
/// ```
/// use rumormill_core::OrMap;
///
/// let (mut here, mut there) = (OrMap::new(), OrMap::new());
/// let added = here.insert("lamp", "on", 1_u32);
/// there.merge(&added);
/// let removed = there.remove(&"lamp");
/// here.insert("lamp", "off", 1); // has not seen the remove: concurrent
/// here.merge(&removed);
/// assert_eq!(here.get(&"lamp"), Some(&"off"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrMap<K, V, A = Writer> {
    /// The live values of each key, never none, ordered by dot.
    entries: BTreeMap<K, Vec<Sibling<V, A>>>,
    /// What is known of each writer's dots, never nothing.
    histories: BTreeMap<A, History<K>>,
}

/// The name of an insert: ordered by number first, so that neither writer wins every tie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Dot<A> {
    counter: u64,
    actor: A,
}

/// A value and the insert that brought it. Several under one key were inserted concurrently.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sibling<V, A> {
    dot: Dot<A>,
    value: V,
}

/// The inserts of one writer: those known of, and under which keys the live ones are.
#[derive(Clone, Debug, PartialEq, Eq)]
struct History<K> {
    seen: Dots,
    live: BTreeMap<u64, K>,
}

impl<K> Default for History<K> {
    fn default() -> Self {
        Self { seen: Dots::default(), live: BTreeMap::new() }
    }
}

impl<K: Ord + Clone, V: Ord + Clone, A: Ord + Copy> OrMap<K, V, A> {
    /// Makes an empty map that knows of nothing.
    pub const fn new() -> Self {
        Self { entries: BTreeMap::new(), histories: BTreeMap::new() }
    }

    /// Puts a value under a key, in place of all that this replica knows there, and returns the delta.
    ///
    /// One actor writes at one replica at a time, which holds everything that the actor has written before: a store
    /// that was lost begins a new actor (for a [`Writer`], a new epoch).
    pub fn insert(&mut self, key: K, value: V, actor: A) -> Self {
        let mut delta = self.remove(&key);
        let counter = self.histories.get(&actor).map_or(0, |history| history.seen.last()) + 1;
        let dot = Dot { counter, actor };
        delta.add(dot, key.clone(), value.clone(), |_| false);
        self.add(dot, key, value, |_| false);
        delta
    }

    /// Removes what this replica knows under a key and returns the delta, which [is bottom](Self::is_bottom) when
    /// there is nothing.
    pub fn remove(&mut self, key: &K) -> Self {
        let mut delta = Self::new();
        for Sibling { dot, .. } in self.entries.remove(key).into_iter().flatten() {
            if let Some(history) = self.histories.get_mut(&dot.actor) {
                history.live.remove(&dot.counter);
            }
            delta.histories.entry(dot.actor).or_default().seen.insert(dot.counter);
        }
        delta
    }

    /// Removes every key that this replica knows and returns the delta. Costs O(map).
    pub fn clear(&mut self) -> Self {
        let mut delta = Self::new();
        self.entries.clear();
        for (actor, history) in &mut self.histories {
            for counter in core::mem::take(&mut history.live).into_keys() {
                delta.histories.entry(*actor).or_default().seen.insert(counter);
            }
        }
        delta
    }

    /// Joins another state, or a delta, and tells whether anything was news: a value, or only that it is known of.
    ///
    /// Costs O(d log n) for what `other` holds and covers, whatever the size n of this map.
    pub fn merge(&mut self, other: &Self) -> bool {
        let mut changed = false;
        for (key, siblings) in &other.entries {
            for sibling in siblings {
                changed |= self.adopt(key, sibling, other);
            }
        }
        for (actor, theirs) in &other.histories {
            changed |= self.forget(*actor, theirs);
        }
        changed
    }

    /// Finds the value under a key; of several written concurrently the one with the greatest dot, the same on
    /// every replica.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.values(key).next()
    }

    /// Lists all values under a key that were written concurrently, the one that [`OrMap::get`] finds first.
    pub fn values(&self, key: &K) -> impl Iterator<Item = &V> {
        self.entries.get(key).into_iter().flatten().rev().map(|sibling| &sibling.value)
    }

    /// Tells whether there is a value under a key.
    pub fn contains_key(&self, key: &K) -> bool {
        self.entries.contains_key(key)
    }

    /// Lists keys in their order, each with the value that [`OrMap::get`] finds.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().filter_map(|(key, siblings)| Some((key, &siblings.last()?.value)))
    }

    /// Counts the keys.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Tells whether there is no key. A map may be empty and still know of removes.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Tells whether the map knows of nothing: a delta that need not be sent.
    pub fn is_bottom(&self) -> bool {
        self.histories.is_empty()
    }

    /// Counts the gaps of the causal context: inserts not heard of while later ones of the same writer were.
    ///
    /// Zero when everything has arrived; then the context costs one number for each writer.
    pub fn gaps(&self) -> usize {
        self.histories.values().map(|history| history.seen.gaps()).sum()
    }

    /// Asserts every invariant. Costs O(map).
    pub fn check(&self) {
        let mut live = 0;
        for (actor, history) in &self.histories {
            assert!(!history.seen.is_empty(), "a writer of whom nothing is known");
            live += history.live.len();
            for (&counter, key) in &history.live {
                assert!(history.seen.contains(counter), "a live dot outside the context");
                assert!(
                    self.value_at(key, Dot { counter, actor: *actor }).is_some(),
                    "a live dot without value"
                );
            }
        }
        for siblings in self.entries.values() {
            assert!(!siblings.is_empty(), "a key without value");
            assert!(siblings.windows(2).all(|pair| pair[0].dot < pair[1].dot), "siblings out of order");
            live -= siblings.len();
        }
        assert_eq!(live, 0, "a value without live dot");
    }

    /// Makes an unseen dot live, in place of those under its key that are `replaced`.
    ///
    /// What `replaced` says could wait for [`Self::forget`]; done here it spares a key that is overwritten, the
    /// usual case, its way out of the map and in again.
    fn add(&mut self, dot: Dot<A>, key: K, value: V, replaced: impl Fn(Dot<A>) -> bool) {
        let Self { entries, histories } = self;
        let history = histories.entry(dot.actor).or_default();
        history.seen.insert(dot.counter);
        history.live.insert(dot.counter, key.clone());
        let siblings = entries.entry(key).or_default();
        siblings.retain(|sibling| {
            let stays = !replaced(sibling.dot);
            if !stays && let Some(history) = histories.get_mut(&sibling.dot.actor) {
                history.live.remove(&sibling.dot.counter);
            }
            stays
        });
        let place = siblings.partition_point(|sibling| sibling.dot < dot);
        siblings.insert(place, Sibling { dot, value });
    }

    /// Takes over a live dot of another map, unless it is removed or live here already.
    fn adopt(&mut self, key: &K, theirs: &Sibling<V, A>, other: &Self) -> bool {
        let Sibling { dot, value } = theirs;
        let history = self.histories.get(&dot.actor);
        match history.and_then(|history| history.live.get(&dot.counter)) {
            Some(held) => {
                // Two inserts of one name come only from an actor that exists twice: the greater is taken for both.
                let greater = (Some(value), key) > (self.value_at(held, *dot), held);
                if !greater {
                    return false;
                }
                let held = held.clone();
                self.drop_sibling(held, *dot);
            }
            None if history.is_some_and(|history| history.seen.contains(dot.counter)) => return false,
            None => {}
        }
        self.add(*dot, key.clone(), value.clone(), |dot| other.has_removed(dot));
        true
    }

    /// Removes what is live here and removed there, and takes over what is known there of a writer's dots.
    fn forget(&mut self, actor: A, theirs: &History<K>) -> bool {
        let mine = self.histories.entry(actor).or_default();
        let mut gone = Vec::new();
        for (first, last) in theirs.seen.ranges() {
            let covered = mine.live.range(first..=last).map(|(counter, _)| *counter);
            gone.extend(covered.filter(|counter| !theirs.live.contains_key(counter)));
        }
        let changed = mine.seen.union(&theirs.seen) | !gone.is_empty();
        for counter in gone {
            let history = self.histories.get_mut(&actor);
            if let Some(key) = history.and_then(|history| history.live.remove(&counter)) {
                self.drop_sibling(key, Dot { counter, actor });
            }
        }
        changed
    }

    /// Drops the value of a dot, and the key with its last value.
    fn drop_sibling(&mut self, key: K, dot: Dot<A>) {
        let Entry::Occupied(mut entry) = self.entries.entry(key) else { return };
        entry.get_mut().retain(|sibling| sibling.dot != dot);
        if entry.get().is_empty() {
            entry.remove();
        }
    }

    /// Tells whether a dot was live once and is no longer.
    fn has_removed(&self, dot: Dot<A>) -> bool {
        let history = self.histories.get(&dot.actor);
        history
            .is_some_and(|known| known.seen.contains(dot.counter) && !known.live.contains_key(&dot.counter))
    }

    fn value_at(&self, key: &K, dot: Dot<A>) -> Option<&V> {
        let siblings = self.entries.get(key)?;
        siblings.iter().find(|sibling| sibling.dot == dot).map(|sibling| &sibling.value)
    }
}

impl<K: Ord + Clone, V: Ord + Clone, A: Ord + Copy> Default for OrMap<K, V, A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Ord + Clone, V: Ord + Clone, A: Ord + Copy> Lattice for OrMap<K, V, A> {
    fn join(&mut self, other: &Self) -> bool {
        self.merge(other)
    }
}

impl<K: Folded, V: Folded, A: Folded> Folded for OrMap<K, V, A> {
    fn fold(&self, into: &mut Fold) {
        into.word(self.histories.len() as u64);
        for (actor, history) in &self.histories {
            into.value(actor);
            into.value(&history.seen);
        }
        into.word(self.entries.len() as u64);
        for (key, siblings) in &self.entries {
            into.value(key);
            into.word(siblings.len() as u64);
            for Sibling { dot, value } in siblings {
                into.word(dot.counter);
                into.value(&dot.actor);
                into.value(value);
            }
        }
    }
}

/// A writer's part of the encoded map: actor, dots known of, and what is live of them with each dot's distance from
/// the one before.
type Part<A, D, L> = (A, D, L);

impl<K, V, A> Serialize for OrMap<K, V, A>
where
    K: Ord + Clone + Serialize,
    V: Ord + Clone + Serialize,
    A: Ord + Copy + Serialize,
{
    /// Writes the one form of the map: equal maps give equal bytes.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.histories.iter().map(|(actor, history)| -> Part<_, _, _> {
            let mut before = 0;
            let live = history.live.iter().map(|(&counter, key)| {
                let skipped = counter - before - 1;
                before = counter;
                (skipped, key, self.value_at(key, Dot { counter, actor: *actor }))
            });
            // A live dot always has its value; a map that breaks this shows up as one that does not decode.
            let live = live.filter_map(|(skipped, key, value)| Some((skipped, key, value?)));
            (*actor, &history.seen, live.collect::<Vec<_>>())
        }))
    }
}

impl<'de, K, V, A> Deserialize<'de> for OrMap<K, V, A>
where
    K: Ord + Clone + Deserialize<'de>,
    V: Ord + Clone + Deserialize<'de>,
    A: Ord + Copy + Deserialize<'de>,
{
    /// Refuses what no map encodes to: writers out of order or without dots, live dots that are not known of, and
    /// more than [`WRITERS_MAX`] writers or [`LIVE_MAX`] values of one.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parts: Vec<Part<A, Dots, Live<K, V>>> = bounded::<D, _, WRITERS_MAX>(deserializer)?;
        let mut map = Self::new();
        for (actor, seen, Live(live)) in parts {
            let ascending = map.histories.last_key_value().is_none_or(|(before, _)| *before < actor);
            if !ascending || seen.is_empty() {
                return Err(D::Error::custom("the writers of a map are not in their one form"));
            }
            map.histories.insert(actor, History { seen: seen.clone(), live: BTreeMap::new() });
            let mut before = 0_u64;
            for (skipped, key, value) in live {
                let counter = before.checked_add(skipped).and_then(|earlier| earlier.checked_add(1));
                let Some(counter) = counter.filter(|counter| seen.contains(*counter)) else {
                    return Err(D::Error::custom("a live value is not among the known ones"));
                };
                map.add(Dot { counter, actor }, key, value, |_| false);
                before = counter;
            }
        }
        Ok(map)
    }
}

/// The live values of one writer, whose count is checked before anything is allocated.
struct Live<K, V>(Vec<(u64, K, V)>);

impl<'de, K: Deserialize<'de>, V: Deserialize<'de>> Deserialize<'de> for Live<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        bounded::<D, _, LIVE_MAX>(deserializer).map(Live)
    }
}
