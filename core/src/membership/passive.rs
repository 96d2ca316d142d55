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
    /// Shuffle periods since somebody heard the node.
    pub(super) age: u8,
    /// Not asked again before: it was full, or it did not answer.
    pub(super) retry_at: Instant,
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

    fn position(&self, id: &NodeId) -> Option<usize> {
        self.entries.iter().position(|entry| entry.contact.id() == *id)
    }

    /// Adds a contact, or refreshes it. A full view forgets one of `expendable` first, else one at random
    /// (HyParView, section 4.5: first those that were sent to the peer).
    pub(super) fn insert(&mut self, contact: Contact, age: u8, expendable: &[NodeId], rng: &mut Rng) {
        if let Some(i) = self.position(&contact.id()) {
            let entry = &mut self.entries[i];
            entry.age = entry.age.min(age);
            if contact.incarnation() > entry.contact.incarnation() {
                entry.contact = contact;
            }
            return;
        }
        if self.entries.len() >= self.max {
            let known = |id: &NodeId| self.position(id);
            let victim = expendable.iter().find_map(known);
            let victim = victim.or_else(|| rng.draw(Purpose::ShuffleSample).index(self.entries.len()));
            if let Some(i) = victim {
                self.entries.swap_remove(i);
            }
        }
        self.entries.push(Passive { contact, age, retry_at: Instant(0) });
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

    /// Lets every entry age by one shuffle period and forgets those beyond `age_max`; tells how many.
    pub(super) fn age(&mut self, age_max: u8) -> u64 {
        let before = self.entries.len();
        self.entries.iter_mut().for_each(|entry| entry.age = entry.age.saturating_add(1));
        if age_max > 0 {
            self.entries.retain(|entry| entry.age <= age_max);
        }
        (before - self.entries.len()) as u64
    }

    /// Draws up to `count` entries for a shuffle.
    pub(super) fn sample(&self, count: usize, rng: &mut Rng) -> Vec<Aged> {
        let mut order: Vec<&Passive> = self.entries.iter().collect();
        rng.draw(Purpose::ShuffleSample).sample(&mut order, count);
        order.into_iter().map(|entry| Aged { contact: entry.contact.clone(), age: entry.age }).collect()
    }

    pub(super) fn digest(&self, into: &mut Fold) {
        into.word(self.entries.len() as u64);
        self.entries.iter().for_each(|entry| into.word(entry.contact.id().prefix() ^ u64::from(entry.age)));
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
