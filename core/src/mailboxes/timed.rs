//! A table whose entries end at deadlines of their own.

use crate::hash::FixedState;
use crate::time::Instant;
use alloc::collections::BinaryHeap;
use core::cmp::Reverse;
use core::hash::Hash;
use indexmap::IndexMap;

/// Deadlines of entries that have gone may stand for this many more than twice the entries. A guess.
const STALE_MAX: usize = 64;

/// Entries by key, each with its deadline. Memory follows the entries and is kept for later ones.
#[derive(Clone, Debug)]
pub(super) struct Timed<K, V> {
    entries: IndexMap<K, (Instant, V), FixedState>,
    /// Every entry's deadline, and those of some that have gone; the first is always that of an entry.
    deadlines: BinaryHeap<Reverse<(Instant, K)>>,
}

impl<K, V> Default for Timed<K, V>
where
    K: Ord,
{
    fn default() -> Self {
        Self { entries: IndexMap::default(), deadlines: BinaryHeap::new() }
    }
}

impl<K: Copy + Ord + Hash, V> Timed<K, V> {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn insert(&mut self, key: K, deadline: Instant, value: V) {
        self.entries.insert(key, (deadline, value));
        self.deadlines.push(Reverse((deadline, key)));
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(_, value)| value)
    }

    pub(super) fn contains(&self, key: &K) -> bool {
        self.entries.contains_key(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, Instant, &V)> {
        self.entries.iter().map(|(key, (deadline, value))| (key, *deadline, value))
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let (_, value) = self.entries.swap_remove(key)?;
        self.tidy();
        Some(value)
    }

    /// Takes the next entry that is due.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(K, V)> {
        let key =
            self.deadlines.peek().filter(|Reverse((at, _))| *at <= now).map(|Reverse((_, key))| *key)?;
        self.remove(&key).map(|value| (key, value))
    }

    /// Tells when the next entry is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.deadlines.peek().map(|Reverse((at, _))| *at)
    }

    /// Forgets deadlines of entries that have gone: at the front at once, elsewhere when they are many.
    fn tidy(&mut self) {
        let Self { entries, deadlines } = self;
        let stands = |(at, key): &(Instant, K)| entries.get(key).is_some_and(|(deadline, _)| deadline == at);
        if deadlines.len() > 2 * entries.len() + STALE_MAX {
            deadlines.retain(|Reverse(deadline)| stands(deadline));
        }
        while deadlines.peek().is_some_and(|Reverse(deadline)| !stands(deadline)) {
            deadlines.pop();
        }
    }

    /// Asserts that every entry has a deadline and that the deadlines are bounded.
    pub(super) fn audit(&self) {
        let mut standing = 0;
        for Reverse((at, key)) in &self.deadlines {
            standing += usize::from(self.entries.get(key).is_some_and(|(deadline, _)| deadline == at));
        }
        assert!(standing >= self.entries.len(), "an entry has no deadline");
        assert!(self.deadlines.len() <= 2 * self.len() + STALE_MAX + 1, "deadlines pile up");
        assert!(self.entries.values().all(|(at, _)| *at != Instant::NEVER), "an entry never ends");
        assert_eq!(
            self.entries.is_empty(),
            self.deadlines.is_empty(),
            "a deadline of nothing stands in front"
        );
    }
}
