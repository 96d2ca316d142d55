//! The seen-table: names of messages that were heard, in two generations.

use super::cache::Place;
use crate::config::Config;
use crate::hash::FixedState;
use crate::id::MessageId;
use crate::time::Instant;
use indexmap::IndexMap;

/// Names a neighbourhood with one peer; zero is this node itself.
pub(super) type LinkNumber = u32;

/// What is remembered of a message beyond its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// The neighbourhood that the first copy came over, or that has replaced it as the shorter way.
    pub(super) parent: LinkNumber,
    /// Where the payload is cached, if it still is.
    pub(super) place: Place,
    /// Hops that the message has behind it here.
    pub(super) hops: u16,
    /// Whether copies of it may change the tree.
    pub(super) shapes_tree: bool,
}

/// Names of messages, each remembered for `seen_ms` at least and twice that at most while messages come.
///
/// Two generations: a name is written to the young one; when that is old enough, or full, it becomes the old one,
/// whose names are forgotten all at once. Nothing is ever forgotten name by name, and clearing keeps the memory, so
/// a steady flow of messages allocates nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct SeenTable {
    young: IndexMap<MessageId, Seen, FixedState>,
    old: IndexMap<MessageId, Seen, FixedState>,
    young_since: Instant,
}

impl SeenTable {
    /// Looks a name up.
    #[inline]
    pub(super) fn get(&self, id: &MessageId) -> Option<&Seen> {
        self.young.get(id).or_else(|| self.old.get(id))
    }

    /// Looks a name up to change what is remembered.
    pub(super) fn get_mut(&mut self, id: &MessageId) -> Option<&mut Seen> {
        self.young.get_mut(id).or_else(|| self.old.get_mut(id))
    }

    /// Remembers a name. Returns whether names had to be forgotten before their time.
    pub(super) fn insert(&mut self, id: MessageId, seen: Seen, now: Instant, config: &Config) -> bool {
        let full = self.young.len() >= config.seen_max;
        let aged = now.millis_since(self.young_since) >= config.seen_ms;
        let mut overflowed = false;
        if full || aged {
            overflowed = !aged && !self.old.is_empty();
            core::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
            self.young_since = now;
        }
        self.young.insert(id, seen);
        overflowed
    }

    /// Counts the names in the young and in the old generation.
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.young.len(), self.old.len())
    }

    /// Asserts the bound of both generations.
    pub(super) fn check(&self, config: &Config) {
        let (young, old) = self.sizes();
        assert!(young <= config.seen_max && old <= config.seen_max, "seen: {young} and {old} names");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEN: Seen = Seen { parent: 0, place: Place(0), hops: 0, shapes_tree: true };

    fn id(seq: u64) -> MessageId {
        MessageId { origin: 1, seq }
    }

    fn config(seen_max: usize) -> Config {
        Config { seen_max, seen_ms: 100, cache_ms: 50, ..Config::default() }
    }

    #[test]
    fn a_name_is_remembered_for_its_time_at_least() {
        let config = config(1_000);
        let mut table = SeenTable::default();
        for ms in 0..1_000 {
            assert!(!table.insert(id(ms), SEEN, Instant::from_millis(ms), &config));
            assert!(table.get(&id(ms.saturating_sub(100))).is_some(), "forgotten too early at {ms} ms");
        }
    }

    #[test]
    fn a_name_is_forgotten_after_twice_its_time() {
        let config = config(1_000);
        let mut table = SeenTable::default();
        for ms in 0..1_000 {
            table.insert(id(ms), SEEN, Instant::from_millis(ms), &config);
            assert!(ms < 201 || table.get(&id(ms - 201)).is_none(), "still there at {ms} ms");
        }
    }

    #[test]
    fn a_full_table_forgets_the_older_generation_and_says_so() {
        let config = config(2);
        let mut table = SeenTable::default();
        let overflows: alloc::vec::Vec<bool> =
            (0..6).map(|seq| table.insert(id(seq), SEEN, Instant::default(), &config)).collect();
        assert_eq!(overflows, [false, false, false, false, true, false]);
        assert_eq!((0..6).filter(|seq| table.get(&id(*seq)).is_some()).count(), 4);
        table.check(&config);
    }

    #[test]
    fn a_steady_flow_of_names_grows_no_table() {
        let config = config(64);
        let mut table = SeenTable::default();
        for seq in 0..1_000 {
            table.insert(id(seq), SEEN, Instant::default(), &config);
        }
        let capacities = (table.young.capacity(), table.old.capacity());
        for seq in 1_000..9_000 {
            table.insert(id(seq), SEEN, Instant::default(), &config);
        }
        assert_eq!((table.young.capacity(), table.old.capacity()), capacities);
    }
}
