//! Neighbours that were lost without a word: remembered until they answer again, so that a cut of any length heals.
//!
//! They are never shuffled, so the dead among them circulate nowhere; they only cost one dial now and then.

use crate::id::{Contact, NodeId};
use crate::time::Instant;
use alloc::vec::Vec;

#[derive(Clone, Debug)]
struct Entry {
    contact: Contact,
    retry_at: Instant,
    delay_ms: u64,
}

/// The most recent lost neighbours.
#[derive(Clone, Debug, Default)]
pub(super) struct Lost {
    entries: Vec<Entry>,
}

impl Lost {
    /// Remembers a lost neighbour, forgetting the one lost longest ago when there are `max`.
    pub(super) fn insert(&mut self, contact: Contact, now: Instant, delay_ms: u64, max: usize) {
        if max == 0 {
            return;
        }
        self.remove(&contact.id());
        if self.entries.len() >= max {
            self.entries.remove(0);
        }
        self.entries.push(Entry { contact, retry_at: now.plus_millis(delay_ms), delay_ms });
    }

    pub(super) fn contacts(&self) -> impl Iterator<Item = &Contact> {
        self.entries.iter().map(|entry| &entry.contact)
    }

    pub(super) fn contacts_mut(&mut self) -> impl Iterator<Item = &mut Contact> {
        self.entries.iter_mut().map(|entry| &mut entry.contact)
    }

    pub(super) fn contains(&self, id: &NodeId) -> bool {
        self.entries.iter().any(|entry| entry.contact.id() == *id)
    }

    pub(super) fn remove(&mut self, id: &NodeId) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.contact.id() != *id);
        self.entries.len() < before
    }

    /// Hands out one that is due, and puts its next try off for twice as long, with `jitter` per cent more.
    pub(super) fn due(&mut self, now: Instant, delay_ms_max: u64, jitter: u64) -> Option<Contact> {
        let entry = self.entries.iter_mut().find(|entry| entry.retry_at <= now)?;
        entry.delay_ms = entry.delay_ms.saturating_mul(2).min(delay_ms_max).max(1); // never at once again
        entry.retry_at = now.plus_millis(entry.delay_ms + entry.delay_ms * jitter / 100);
        Some(entry.contact.clone())
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.entries.iter().map(|entry| entry.retry_at).min()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}
