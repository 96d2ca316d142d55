//! What is known of one owner: its set, the last changes of it, and its lease.

use super::directory::{Registry, Role};
use super::update::{Batch, Update};
use crate::config::Config;
use crate::hash::{hash_bytes, hash_bytes_seeded, mix};
use crate::id::{Incarnation, NodeId};
use crate::time::Instant;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
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

/// The last batches of a set, without gaps: what answers a pull without sending all of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    batches: VecDeque<Arc<Batch>>,
    count: u32,
    bytes: u32,
}

impl Log {
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn push(&mut self, batch: Arc<Batch>, config: &Config) {
        if self.batches.back().is_some_and(|last| batch.from.is_none_or(|from| from > last.to)) {
            self.clear();
        }
        self.count += batch.count;
        self.bytes += batch.len() as u32;
        self.batches.push_back(batch);
        while self.count as usize > config.registry_log_max
            || self.bytes as usize > config.registry_log_bytes_max
        {
            let Some(oldest) = self.batches.pop_front() else { return };
            self.count -= oldest.count;
            self.bytes -= oldest.len() as u32;
        }
    }

    /// Lists the batches that lead on from a sequence number; none when too much was forgotten.
    pub(super) fn since(&self, seq: u64) -> Option<impl Iterator<Item = &Arc<Batch>>> {
        let at = self.batches.partition_point(|batch| batch.to <= seq);
        let reaches_back = self.batches.get(at)?.from <= Some(seq);
        reaches_back.then(|| self.batches.range(at..))
    }
}

/// Where a registration is: found by the hash of its name, so that a search needs no registration to be looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// The upper half of the name's hash.
    pub(super) hash: u32,
    pub(super) slot: u32,
}

impl Place {
    /// Tells the part of a name's hash that places are ordered by.
    pub(super) fn hash(name_hash: u64) -> u32 {
        (name_hash >> 32) as u32
    }
}

/// One owner. A thousand simulated nodes know a thousand each, so what is needed together lies together: the first 64
/// bytes tell whether a row is news, the next ones take it.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub(super) struct Owner {
    pub(super) id: NodeId,
    pub(super) incarnation: Incarnation,
    /// Zero when nothing is known of its set.
    pub(super) seq: u64,
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
    pub(super) is_suspected: bool,
    /// Whether its lease decides who has a unique name, or has done so once.
    pub(super) has_contests: bool,
    pub(super) fingerprint: u64,
    /// Its registrations, by their places.
    pub(super) entries: Vec<Place>,
    /// How many of them are shown while it is visible, and the sum of their hashes.
    pub(super) shown: u32,
    pub(super) shown_sum: u64,
    /// What makes nodes prefer different instances.
    pub(super) salt: u64,
    /// When its set changed last, wherever that was.
    pub(super) changed_at: Instant,
    /// The life of it that is known to go on.
    pub(super) lease: Option<Incarnation>,
    pub(super) log: Log,
    pub(super) bytes: usize,
    pub(super) id_hash: u64,
    /// When a set that cannot be seen is forgotten.
    pub(super) purge_at: Option<Instant>,
    /// An update that broke the rules: it and what is older are not asked for again.
    pub(super) refused: (Incarnation, u64),
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
            has_contests: false,
            shown: 0,
            shown_sum: 0,
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

    /// Looks at what lies apart of it, to have it near: where its places and its log end.
    pub(super) fn touch(&self) -> u64 {
        let place = self.entries.last().map_or(0, |place| place.slot);
        u64::from(place) ^ self.log.batches.len() as u64
    }

    /// Makes an update of a batch that was applied.
    pub(super) fn again(&self, batch: &Arc<Batch>, now: Instant) -> Update {
        let age_ms = u32::try_from(now.millis_since(self.changed_at)).unwrap_or(u32::MAX);
        Update { batch: batch.clone(), age_ms }
    }

    /// What the hash of each of its services that are shown is multiplied by.
    pub(super) fn weight(&self) -> u64 {
        self.tag | 1
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
        let key = |it: &Place| registry.record(it.slot).key();
        let is_before = |a: &Place, b: &Place| a.hash < b.hash || a.hash == b.hash && key(a) < key(b);
        assert!(self.entries.is_sorted_by(is_before), "a set is out of order");
        let entries = || self.entries.iter().map(|it| registry.record(it.slot));
        let is_placed = |it: &Place| it.hash == Place::hash(registry.record(it.slot).name_hash());
        assert!(self.entries.iter().all(is_placed), "a registration is not where it is looked for");
        let fingerprint = entries().fold(0_u64, |sum, record| sum.wrapping_add(record.hash()));
        assert_eq!(fingerprint, self.fingerprint, "a set's fingerprint is not its contents'");
        assert_eq!(entries().map(|record| record.len()).sum::<usize>(), self.bytes, "bytes were lost");
        let shown = self.entries.iter().filter(|it| registry.entry(it.slot).role == Role::Shown);
        let shown = shown.fold((0, 0_u64), |(count, sum), it| {
            (count + 1, sum.wrapping_add(registry.record(it.slot).hash()))
        });
        assert_eq!(shown, (self.shown, self.shown_sum), "what an owner shows is not what was counted");
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
