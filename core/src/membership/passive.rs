//! The passive view: contacts that are known but not connected.

use crate::frame::Aged;
use crate::hash::Fold;
use crate::id::{Contact, NodeId};
use crate::rng::{Purpose, Rng};
use crate::time::Instant;
use alloc::vec::Vec;

/// One passive contact.
#[derive(Clone, Debug)]
pub(super) struct Passive {
    pub(super) contact: Contact,
    /// How long ago the node had been heard when that was told here, in milliseconds.
    age_ms: u32,
    /// When that was told.
    told_at: Instant,
    /// Not asked again before: it was full, or it did not answer.
    pub(super) retry_at: Instant,
}

impl Passive {
    /// Tells how long ago the node was heard, by anybody.
    pub(super) fn age_ms(&self, now: Instant) -> u32 {
        let since_ms = u32::try_from(now.millis_since(self.told_at)).unwrap_or(u32::MAX);
        self.age_ms.saturating_add(since_ms)
    }
}

/// A bounded set of contacts, each node at most once.
#[derive(Clone, Debug)]
pub(super) struct PassiveView {
    entries: Vec<Passive>,
    max: usize,
}

impl PassiveView {
    pub(super) fn new(max: usize) -> Self {
        Self { entries: Vec::new(), max }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Passive> {
        self.entries.iter()
    }

    pub(super) fn contacts_mut(&mut self) -> impl Iterator<Item = &mut Contact> {
        self.entries.iter_mut().map(|entry| &mut entry.contact)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    fn position(&self, id: &NodeId) -> Option<usize> {
        self.entries.iter().position(|entry| entry.contact.id() == *id)
    }

    /// Adds a contact, or refreshes it; tells whether it is new. A full view forgets one of `expendable` first, else one
    /// at random (HyParView, section 4.5: first those that were sent to the peer).
    pub(super) fn insert(&mut self, aged: Aged, now: Instant, expendable: &[NodeId], rng: &mut Rng) -> bool {
        let Aged { contact, age_ms } = aged;
        if let Some(i) = self.position(&contact.id()) {
            let entry = &mut self.entries[i];
            if age_ms < entry.age_ms(now) {
                (entry.age_ms, entry.told_at) = (age_ms, now);
            }
            if contact.incarnation() > entry.contact.incarnation() {
                entry.contact = contact;
            }
            return false;
        }
        if self.entries.len() >= self.max {
            let known = |id: &NodeId| self.position(id);
            let victim = expendable.iter().find_map(known);
            let victim = victim.or_else(|| rng.draw(Purpose::ShuffleSample).index(self.entries.len()));
            if let Some(i) = victim {
                self.entries.swap_remove(i);
            }
        }
        self.entries.push(Passive { contact, age_ms, told_at: now, retry_at: Instant(0) });
        true
    }

    pub(super) fn remove(&mut self, id: &NodeId) -> Option<Passive> {
        self.position(id).map(|i| self.entries.swap_remove(i))
    }

    /// Puts off asking a contact again.
    pub(super) fn put_off(&mut self, id: &NodeId, until: Instant) {
        if let Some(i) = self.position(id) {
            self.entries[i].retry_at = until;
        }
    }

    /// Forgets every entry older than `age_ms_max`, if that is not zero; tells how many.
    pub(super) fn forget_old(&mut self, now: Instant, age_ms_max: u32) -> u64 {
        let before = self.entries.len();
        if age_ms_max > 0 {
            self.entries.retain(|entry| entry.age_ms(now) <= age_ms_max);
        }
        (before - self.entries.len()) as u64
    }

    /// Draws up to `count` entries for a shuffle.
    pub(super) fn sample(&self, count: usize, now: Instant, rng: &mut Rng) -> Vec<Aged> {
        let mut order: Vec<&Passive> = self.entries.iter().collect();
        rng.draw(Purpose::ShuffleSample).sample(&mut order, count);
        let aged = |entry: &Passive| Aged { contact: entry.contact.clone(), age_ms: entry.age_ms(now) };
        order.into_iter().map(aged).collect()
    }

    pub(super) fn digest(&self, now: Instant, into: &mut Fold) {
        into.word(self.entries.len() as u64);
        for entry in &self.entries {
            into.word(entry.contact.id().prefix());
            into.word(u64::from(entry.age_ms(now)));
        }
    }

    pub(super) fn check(&self, me: &NodeId) {
        assert!(self.entries.len() <= self.max, "the passive view is above its bound");
        for (i, entry) in self.entries.iter().enumerate() {
            assert!(entry.contact.id() != *me, "the node is in its own passive view");
            let again = self.entries[i + 1..].iter().any(|other| other.contact.id() == entry.contact.id());
            assert!(!again, "a node is in the passive view twice");
        }
    }
}
