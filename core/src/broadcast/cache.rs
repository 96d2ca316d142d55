//! The payload cache: what grafts are answered from, first in, first out.

use crate::config::Config;
use crate::frame::{Class, Gossip};
use crate::id::{MessageId, Topic};
use crate::time::Instant;
use alloc::collections::VecDeque;
use bytes::Bytes;

/// Bytes that an entry costs beside its payload, so that empty payloads are bounded too.
pub(super) const ENTRY_OVERHEAD: usize = size_of::<Cached>();

/// An eighth of the cache's time is the slack with which it is emptied: one timeout for many messages.
const SLACK_SHARE: u64 = 8;

/// Where a payload is, or was: its number in order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(pub(super) u32);

/// A message whose payload is kept.
#[derive(Clone, Debug)]
pub(super) struct Cached {
    /// The message's name.
    pub(super) id: MessageId,
    /// The payload.
    pub(super) payload: Bytes,
    /// When it came.
    pub(super) since: Instant,
    /// Milliseconds that it had rested in caches before it came.
    pub(super) rested_ms: u32,
    /// What it is about.
    pub(super) topic: Topic,
    /// Hops that it has behind it here.
    pub(super) hops: u16,
    /// How it is treated when links are slow.
    pub(super) class: Class,
}

impl Cached {
    /// Sums up the milliseconds that the message has rested in caches.
    pub(super) fn age_ms(&self, now: Instant) -> u64 {
        now.millis_since(self.since).saturating_add(u64::from(self.rested_ms))
    }

    /// Builds the frame that hands the message on, or nothing when it has rested for too long in sum.
    pub(super) fn gossip(&self, now: Instant, config: &Config) -> Option<Gossip> {
        let age_ms = self.age_ms(now);
        (age_ms <= config.cache_ms).then(|| Gossip {
            id: self.id,
            topic: self.topic,
            class: self.class,
            shapes_tree: false, // an answer crosses the tree wherever it was asked for
            hops: self.hops.saturating_add(1),
            age_ms: u32::try_from(age_ms).unwrap_or(u32::MAX),
            payload: self.payload.clone(),
        })
    }

    fn cost(&self) -> usize {
        self.payload.len() + ENTRY_OVERHEAD
    }
}

/// Payloads in order of arrival, bounded by `cache_ms` and by `cache_bytes_max`.
#[derive(Clone, Debug, Default)]
pub(super) struct Cache {
    entries: VecDeque<Cached>,
    bytes: usize,
    /// The place of the front entry.
    front: u32,
}

impl Cache {
    /// Keeps a message, and drops the oldest ones that it displaces. One above the whole budget is not kept.
    pub(super) fn insert(&mut self, cached: Cached, now: Instant, config: &Config) -> Place {
        self.expire(now, config);
        let place = Place(self.front.wrapping_add(self.entries.len() as u32));
        let cost = cached.cost();
        if cost > config.cache_bytes_max {
            return place; // the next entry takes the place; its id tells them apart
        }
        while self.bytes + cost > config.cache_bytes_max {
            self.pop_front();
        }
        self.bytes += cost;
        self.entries.push_back(cached);
        place
    }

    /// Finds a message that is still kept.
    pub(super) fn get(&self, place: Place, id: &MessageId) -> Option<&Cached> {
        let index = place.0.wrapping_sub(self.front);
        self.entries.get(index as usize).filter(|cached| cached.id == *id)
    }

    /// Drops what came more than `cache_ms` ago.
    pub(super) fn expire(&mut self, now: Instant, config: &Config) {
        while self.entries.front().is_some_and(|front| now.millis_since(front.since) >= config.cache_ms) {
            self.pop_front();
        }
    }

    /// Tells when the oldest message has to go, with some slack, so that a steady flow needs no timeout at all.
    pub(super) fn next_due(&self, config: &Config) -> Option<Instant> {
        let delay_ms = config.cache_ms.saturating_add(config.cache_ms / SLACK_SHARE);
        let due = self.entries.front()?.since.plus_millis(delay_ms);
        (due < Instant::NEVER).then_some(due)
    }

    /// Visits the messages, the oldest first.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Cached> + ExactSizeIterator {
        self.entries.iter()
    }

    /// Counts the messages and their cost in bytes.
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.entries.len(), self.bytes)
    }

    /// Asserts the byte budget.
    pub(super) fn check(&self, config: &Config) {
        assert!(self.bytes <= config.cache_bytes_max, "cache: {} bytes", self.bytes);
        debug_assert_eq!(self.bytes, self.entries.iter().map(Cached::cost).sum::<usize>());
    }

    fn pop_front(&mut self) {
        if let Some(front) = self.entries.pop_front() {
            self.bytes -= front.cost();
            self.front = self.front.wrapping_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cached(seq: u64, len: usize, at_ms: u64) -> Cached {
        Cached {
            id: MessageId { origin: 1, seq },
            payload: Bytes::from(alloc::vec![0; len]),
            since: Instant::from_millis(at_ms),
            rested_ms: 10,
            topic: Topic(1),
            hops: 2,
            class: Class::Normal,
        }
    }

    fn config(entries: usize) -> Config {
        Config { cache_ms: 1_000, cache_bytes_max: entries * (ENTRY_OVERHEAD + 100), ..Config::default() }
    }

    #[test]
    fn the_oldest_payloads_give_way_to_the_byte_budget() {
        let (config, mut cache) = (config(3), Cache { front: u32::MAX, ..Cache::default() });
        let places: alloc::vec::Vec<Place> =
            (0..5).map(|seq| cache.insert(cached(seq, 100, 0), Instant::default(), &config)).collect();
        let kept =
            |seq: &u64| cache.get(places[*seq as usize], &MessageId { origin: 1, seq: *seq }).is_some();
        assert_eq!((0..5).filter(kept).collect::<alloc::vec::Vec<_>>(), [2, 3, 4]);
        cache.check(&config);
    }

    #[test]
    fn empty_payloads_are_bounded_too() {
        let (config, mut cache) = (config(3), Cache::default());
        for seq in 0..1_000 {
            cache.insert(cached(seq, 0, 0), Instant::default(), &config);
        }
        assert!(cache.sizes().0 <= config.cache_bytes_max / ENTRY_OVERHEAD);
        cache.check(&config);
    }

    #[test]
    fn a_payload_above_the_whole_budget_displaces_nothing() {
        let (config, mut cache) = (config(1), Cache::default());
        let small = cache.insert(cached(1, 100, 0), Instant::default(), &config);
        let large = cache.insert(cached(2, 1_000, 0), Instant::default(), &config);
        assert!(cache.get(small, &MessageId { origin: 1, seq: 1 }).is_some());
        assert!(cache.get(large, &MessageId { origin: 1, seq: 2 }).is_none());
        assert_eq!(
            cache.insert(cached(3, 1, 0), Instant::default(), &config),
            large,
            "the place is taken again"
        );
        assert!(cache.get(large, &MessageId { origin: 1, seq: 2 }).is_none(), "by another message");
    }

    #[test]
    fn a_payload_leaves_when_its_time_is_over() {
        let (config, mut cache) = (config(9), Cache::default());
        cache.insert(cached(1, 1, 0), Instant::default(), &config);
        cache.insert(cached(2, 1, 500), Instant::from_millis(500), &config);
        assert_eq!(cache.next_due(&config), Some(Instant::from_millis(1_125)));
        cache.expire(Instant::from_millis(1_125), &config);
        assert_eq!((cache.sizes().0, cache.next_due(&config)), (1, Some(Instant::from_millis(1_625))));
    }

    #[test]
    fn time_in_caches_adds_up_and_ends_a_message() {
        let (config, cached) = (config(1), cached(1, 1, 0));
        let age_ms = |ms| cached.gossip(Instant::from_millis(ms), &config).map(|gossip| gossip.age_ms);
        assert_eq!((age_ms(0), age_ms(990), age_ms(991)), (Some(10), Some(1_000), None));
    }
}
