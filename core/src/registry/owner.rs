//! What is known of one owner: its set, the last changes of it, and its lease.

use super::directory::Registry;
use super::update::Update;
use crate::config::Config;
use crate::hash::{hash_bytes, hash_bytes_seeded, mix};
use crate::id::{Incarnation, NodeId};
use crate::time::Instant;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// What a node holds of one owner: compared by incarnation, then sequence, then contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The owner.
    pub owner: NodeId,
    /// The life of it that wrote the set.
    pub incarnation: Incarnation,
    /// How many changes it has made in that life.
    pub seq: u64,
    /// The hash of the set.
    pub fingerprint: u64,
}

impl Row {
    /// Tells which of two nodes holds the newer set of one owner.
    pub(super) fn version(&self) -> (Incarnation, u64, u64) {
        (self.incarnation, self.seq, self.fingerprint)
    }
}

/// One update that was applied, without what its owner says anyway.
#[derive(Clone, Debug)]
pub(super) struct Logged {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) count: u32,
    pub(super) changes: Bytes,
}

/// The last updates of a set, without gaps: what answers a pull without sending all of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    updates: VecDeque<Logged>,
    count: u32,
    bytes: u32,
}

impl Log {
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn push(&mut self, update: Logged, config: &Config) {
        if self.updates.back().is_some_and(|last| update.from > last.to) {
            self.clear();
        }
        if self.updates.is_empty() {
            self.updates.reserve_exact(1); // most sets are told once
        }
        self.count += update.count;
        self.bytes += update.changes.len() as u32;
        self.updates.push_back(update);
        while self.count as usize > config.registry_log_max
            || self.bytes as usize > config.registry_log_bytes_max
        {
            let Some(oldest) = self.updates.pop_front() else { return };
            self.count -= oldest.count;
            self.bytes -= oldest.changes.len() as u32;
        }
    }

    /// Finds the update that leads to a sequence number.
    pub(super) fn leading_to(&self, seq: u64) -> Option<&Logged> {
        let at = self.updates.partition_point(|update| update.to < seq);
        self.updates.get(at).filter(|update| update.to == seq)
    }

    /// Lists the updates that lead on from a sequence number; none when too much was forgotten.
    pub(super) fn since(&self, seq: u64) -> Option<impl Iterator<Item = &Logged>> {
        let at = self.updates.partition_point(|update| update.to <= seq);
        let reaches_back = self.updates.get(at)?.from <= seq;
        reaches_back.then(|| self.updates.range(at..))
    }
}

/// One owner.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    pub(super) id: NodeId,
    pub(super) id_hash: u64,
    /// What makes nodes prefer different instances.
    pub(super) salt: u64,
    pub(super) incarnation: Incarnation,
    /// Zero when nothing is known of its set.
    pub(super) seq: u64,
    pub(super) fingerprint: u64,
    /// Its registrations' slots, by name and instance.
    pub(super) entries: Vec<u32>,
    pub(super) bytes: usize,
    pub(super) log: Log,
    /// The life of it that is known to go on.
    pub(super) lease: Option<Incarnation>,
    pub(super) is_suspected: bool,
    /// When its set changed last, wherever that was.
    pub(super) changed_at: Instant,
    /// When a set that cannot be seen is forgotten.
    pub(super) purge_at: Option<Instant>,
    /// An update that broke the rules: it and what is older are not asked for again.
    pub(super) refused: (Incarnation, u64),
    /// Its name in this life of it, on the relay.
    pub(super) tag: u64,
    /// The number of the relay's latest news of it.
    pub(super) news: u64,
    /// The neighbour whose rows come first; none for an owner of which no neighbour has told.
    pub(super) parent: u32,
    /// The neighbours that get its rows elsewhere.
    pub(super) lazy: u32,
    /// The neighbours that were told so of this node.
    pub(super) pruned: u32,
}

impl Owner {
    pub(super) fn new(id: NodeId, me: &NodeId) -> Self {
        Self {
            id,
            id_hash: hash_bytes(&id.0),
            salt: hash_bytes_seeded(&id.0, me.prefix()),
            incarnation: Incarnation(0),
            seq: 0,
            fingerprint: 0,
            entries: Vec::new(),
            bytes: 0,
            log: Log::default(),
            lease: None,
            is_suspected: false,
            changed_at: Instant::default(),
            purge_at: None,
            refused: (Incarnation(0), 0),
            tag: tag(hash_bytes(&id.0), Incarnation(0)),
            news: 0,
            parent: 0,
            lazy: 0,
            pruned: 0,
        }
    }

    /// Tells whether the life that wrote the set goes on.
    pub(super) fn is_visible(&self) -> bool {
        self.lease == Some(self.incarnation)
    }

    /// Makes an update of one that was applied.
    pub(super) fn again(&self, logged: &Logged, age_ms: u32) -> Update {
        let (owner, incarnation, count) = (self.id, self.incarnation, logged.count);
        let (from, to, changes) = (Some(logged.from), logged.to, logged.changes.clone());
        Update { owner, incarnation, from, to, age_ms, count, changes }
    }

    pub(super) fn row(&self) -> Row {
        let Self { id: owner, incarnation, seq, fingerprint, .. } = *self;
        Row { owner, incarnation, seq, fingerprint }
    }

    /// Which bucket its row counts in.
    pub(super) fn bucket(&self) -> usize {
        bucket_of(&self.id)
    }

    /// What its row adds to the bucket.
    pub(super) fn row_hash(&self) -> u64 {
        if self.seq == 0 {
            return 0;
        }
        mix(self.id_hash ^ mix(self.incarnation.0 ^ mix(self.seq ^ mix(self.fingerprint))))
    }

    pub(super) fn audit(&self, registry: &Registry) {
        let entries = || self.entries.iter().map(|slot| registry.entry(*slot));
        assert!(entries().is_sorted_by(|a, b| a.key() < b.key()), "a set is out of order");
        let fingerprint = entries().fold(0_u64, |sum, entry| sum.wrapping_add(entry.hash()));
        assert_eq!(fingerprint, self.fingerprint, "a set's fingerprint is not its contents'");
        assert_eq!(entries().map(|entry| entry.body.len()).sum::<usize>(), self.bytes, "bytes were lost");
        let stays = self.seq == 0 || self.is_visible() || self.id == registry.me;
        assert_eq!(stays, self.purge_at.is_none(), "a set is forgotten too early, or never");
    }
}

/// Names an owner in one life of it.
pub(super) fn tag(id_hash: u64, incarnation: Incarnation) -> u64 {
    mix(id_hash ^ mix(incarnation.0))
}

/// Tells which bucket of a hello an owner counts in.
pub(super) fn bucket_of(id: &NodeId) -> usize {
    (mix(id.prefix()) % super::BUCKETS as u64) as usize
}
