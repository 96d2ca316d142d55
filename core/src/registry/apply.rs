//! What arrives of others' sets: judged, applied as a whole or not at all, and pulled where something is missing.

use super::owner::Logged;
use super::update::{Change, Numbered, Record, Update};
use super::{Event, Registrar, Row};
use crate::config::Canary;
use crate::hlc::Stamp;
use crate::id::{Incarnation, NodeId};
use crate::machine::{Cx, ServiceLoss};
use crate::time::NANOS_PER_MILLI;
use alloc::vec::Vec;
use bytes::Bytes;

/// Sequence numbers from here on are nobody's: a set that claims one could not be written over.
const SEQ_MAX: u64 = 1 << 60;

/// How an update came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path {
    Broadcast,
    Sync,
}

/// What an update is to what is known of its owner's set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    /// All of it is known.
    Stale,
    /// Something before it is missing.
    Gap,
    /// It leads on.
    Next,
    /// Another set under the same numbers.
    Tie,
}

impl Registrar {
    pub(super) fn on_broadcast(&mut self, from: NodeId, mut payload: Bytes, cx: &mut Cx<'_>) {
        match Update::split(&mut payload) {
            Ok(update) if payload.is_empty() => drop(self.apply(from, update, Path::Broadcast, cx)),
            Ok(_) | Err(_) => self.on_malformed(from, cx),
        }
    }

    pub(super) fn on_malformed(&mut self, from: NodeId, cx: &mut Cx<'_>) {
        cx.stats.malformed += 1;
        self.events.push_back(Event::Malformed { from });
    }

    /// Applies an update if it is news, and tells whether it was.
    pub(super) fn apply(&mut self, from: NodeId, update: Update, path: Path, cx: &mut Cx<'_>) -> bool {
        if update.owner == self.me && !self.config.is_planted(Canary::ForeignWrites) {
            self.defend(from, update.incarnation, update.to, None, cx);
            return false;
        }
        if self.is_ahead(update.incarnation, cx) {
            // Its number is not noted as refused: it would stand above every true one.
            cx.stats.registry_refused += 1;
            self.events.push_back(Event::Refused { from, owner: update.owner });
            return false;
        }
        match self.relate(&update) {
            Relation::Stale => {
                cx.stats.registry_stale += 1;
                return false;
            }
            Relation::Gap => {
                cx.stats.registry_gaps += 1;
                self.pull(update.owner, (update.incarnation, update.to), from, cx);
                return false;
            }
            Relation::Next | Relation::Tie => {}
        }
        let Ok(changes) = update.decode() else {
            self.on_malformed(from, cx);
            return false;
        };
        if !self.is_within_bounds(&update, &changes) {
            self.refuse(from, &update, cx);
            return false;
        }
        self.commit(from, update, changes, path, cx)
    }

    fn relate(&self, update: &Update) -> Relation {
        let Update { owner, incarnation, from, to, .. } = *update;
        if self.is_buried(&owner, incarnation, to) || to >= SEQ_MAX {
            return Relation::Stale;
        }
        let known = self.registry.owner(&owner);
        let (life, seq) = known.map_or((Incarnation(0), 0), |owner| (owner.incarnation, owner.seq));
        if incarnation < life && !self.config.is_planted(Canary::ForeignWrites) {
            return Relation::Stale;
        }
        let seq = if incarnation == life { seq } else { 0 };
        match from {
            Some(_) | None if self.config.is_planted(Canary::ForeignWrites) => Relation::Next,
            Some(_) if to <= seq && incarnation == life => Relation::Stale,
            Some(from) if from <= seq => Relation::Next,
            Some(_) => Relation::Gap,
            None if to < seq => Relation::Stale,
            None if to == seq && incarnation == life => Relation::Tie,
            None => Relation::Next,
        }
    }

    /// Tells whether a life begins further in the future than clocks go wrong: it would hide its node's true one, whose
    /// number is lower, until that ends.
    fn is_ahead(&self, life: Incarnation, cx: &Cx<'_>) -> bool {
        let ahead_ms = Stamp(life.0).millis().saturating_sub(cx.now.wall.0);
        ahead_ms > self.config.registry_ahead_ms_max
    }

    pub(super) fn is_buried(&self, owner: &NodeId, incarnation: Incarnation, seq: u64) -> bool {
        self.epitaphs.get(owner).is_some_and(|buried| (incarnation, seq) <= *buried)
    }

    /// Judges whether names, metadata, and the set that would come of it keep to the bounds.
    fn is_within_bounds(&self, update: &Update, changes: &[Numbered]) -> bool {
        let config = &self.config;
        let (mut puts, mut bytes) = (0, 0);
        for numbered in changes {
            let Change::Put(record) = &numbered.change else { continue };
            if record.name().len() > config.registry_name_len_max
                || record.meta().len() > config.registry_meta_len_max
            {
                return false;
            }
            puts += 1;
            bytes += record.body.len();
        }
        let known = self.registry.owner(&update.owner);
        if known.is_none() && self.registry.numbers.len() >= config.registry_owners_max {
            return false;
        }
        let is_added =
            |owner: &&super::owner::Owner| update.from.is_some() && owner.incarnation == update.incarnation;
        if let Some(owner) = known.filter(is_added) {
            let number = self.registry.number(&update.owner).unwrap_or(0);
            let replaced = changes.iter().filter_map(|numbered| {
                let (name, instance) = numbered.change.key();
                self.registry.find_slot(number, name, instance)
            });
            let replaced = replaced.fold((0, 0), |(count, bytes), slot| {
                (count + 1, bytes + self.registry.entry(slot).body.len())
            });
            puts = (owner.entries.len() + puts).saturating_sub(replaced.0);
            bytes = (owner.bytes + bytes).saturating_sub(replaced.1);
        }
        puts <= config.registrations_max && bytes <= config.registry_owner_bytes_max
    }

    /// Counts and reports what breaks the rules, once.
    fn refuse(&mut self, from: NodeId, update: &Update, cx: &mut Cx<'_>) {
        cx.stats.registry_refused += 1;
        let version = (update.incarnation, update.to);
        if let Some(number) = self.registry.number(&update.owner) {
            let owner = &mut self.registry.owners[number as usize];
            if version <= owner.refused {
                return;
            }
            owner.refused = version;
        }
        self.events.push_back(Event::Refused { from, owner: update.owner });
    }

    fn commit(
        &mut self,
        from: NodeId,
        update: Update,
        changes: Vec<Numbered>,
        path: Path,
        cx: &mut Cx<'_>,
    ) -> bool {
        let number = self.registry.number_or_new(&update.owner);
        let records = if update.from.is_none() { self.judged(changes.iter()) } else { Vec::new() };
        let owner = &self.registry.owners[number as usize];
        let is_tie =
            update.from.is_none() && (owner.incarnation, owner.seq) == (update.incarnation, update.to);
        if is_tie && owner.seq > 0 {
            let theirs = records.iter().fold(0_u64, |sum, (record, _)| {
                sum.wrapping_add(
                    super::directory::Entry::new(record.clone(), 0, super::directory::Role::Usual).hash(),
                )
            });
            if theirs <= owner.fingerprint {
                return false;
            }
            cx.stats.registry_diverged += 1;
        }
        if update.incarnation != self.registry.owners[number as usize].incarnation {
            self.registry.drop_set(number, Some(ServiceLoss::Restarted));
            self.registry.set_version(number, update.incarnation, 0, 0);
        }
        let before = self.registry.owners[number as usize].row_hash();
        let newest = changes.iter().filter_map(|numbered| match &numbered.change {
            Change::Put(record) => Some(record.registered_at),
            Change::Remove { .. } => None,
        });
        newest.max().into_iter().for_each(|stamp| Self::follow(stamp, cx));
        let refused = if update.from.is_none() {
            let refused = records.iter().any(|(_, is_refused)| *is_refused);
            self.registry.swap(number, records);
            self.registry.owners[number as usize].log.clear();
            refused
        } else {
            self.apply_changes(number, changes)
        };
        self.registry.set_version(number, update.incarnation, update.to, before);
        self.after_commit(from, number, update, refused, path, cx);
        true
    }

    /// Applies the changes that are not known yet, and tells whether the schema refused one.
    fn apply_changes(&mut self, number: u32, changes: Vec<Numbered>) -> bool {
        let seq = self.registry.owners[number as usize].seq;
        let is_planted = self.config.is_planted(Canary::ForeignWrites);
        let mut has_refused = false;
        for Numbered { change, .. } in changes.into_iter().filter(|it| it.seq > seq || is_planted) {
            match change {
                Change::Put(record) => {
                    let is_refused = !self.is_valid(record.name(), record.meta());
                    has_refused |= is_refused;
                    self.registry.put(number, record, is_refused);
                }
                Change::Remove { name, instance } => self.registry.remove(number, &name, instance),
            }
        }
        has_refused
    }

    fn judged<'a>(&self, changes: impl Iterator<Item = &'a Numbered>) -> Vec<(Record, bool)> {
        let records = changes.filter_map(|numbered| match &numbered.change {
            Change::Put(record) => Some(record.clone()),
            Change::Remove { .. } => None,
        });
        records.map(|record| (record.clone(), !self.is_valid(record.name(), record.meta()))).collect()
    }

    fn after_commit(
        &mut self,
        from: NodeId,
        number: u32,
        update: Update,
        has_refused: bool,
        path: Path,
        cx: &mut Cx<'_>,
    ) {
        cx.stats.registry_applied += 1;
        let (owner, age_ms) = (update.owner, update.age_ms);
        if has_refused {
            cx.stats.registry_refused += 1;
            self.events.push_back(Event::Refused { from, owner });
        }
        let state = &mut self.registry.owners[number as usize];
        let age = u64::from(age_ms) * NANOS_PER_MILLI;
        state.changed_at = crate::time::Instant(cx.now.mono.0.saturating_sub(age));
        if let Update { from: Some(from), to, count, changes, .. } = update {
            state.log.push(Logged { from, to, count, changes }, &self.config);
        }
        self.epitaphs.shift_remove(&owner);
        if path == Path::Sync && u64::from(age_ms) >= self.config.sync_news_ms {
            self.spread(cx);
        }
        self.tell(cx);
        self.watch_over(number, cx);
    }

    /// Somebody knows of a set of ours. What we did not write is written over, whole.
    pub(super) fn defend(
        &mut self,
        from: NodeId,
        incarnation: Incarnation,
        seq: u64,
        fingerprint: Option<u64>,
        cx: &mut Cx<'_>,
    ) {
        let own = self.own_owner();
        let is_other = seq == own.seq && fingerprint.is_some_and(|it| it != own.fingerprint);
        let is_ours =
            incarnation < self.incarnation || incarnation == self.incarnation && !is_other && seq <= own.seq;
        if is_ours {
            return;
        }
        cx.stats.registry_refused += 1;
        self.events.push_back(Event::Refused { from, owner: self.me });
        if incarnation > self.incarnation || seq >= SEQ_MAX {
            return; // not ours to say: a later life of us, or nobody's number
        }
        self.rewrite_own(seq + 1, cx);
    }

    /// Tells this node's set anew, as a whole, under a sequence number above all that were told.
    fn rewrite_own(&mut self, seq: u64, cx: &mut Cx<'_>) {
        cx.stats.registry_rewritten += 1;
        let (own, before) = (self.own(), self.own_owner().row_hash());
        self.registry.set_version(own, self.incarnation, seq, before);
        let owner = &mut self.registry.owners[own as usize];
        owner.log.clear();
        owner.changed_at = cx.now.mono;
        self.pending.clear();
        (self.pending_bytes, self.flush_at, self.retry, self.announced) = (0, None, None, seq);
        let mut update = self.whole(own, cx.now.mono);
        if update.changes.len() + super::UPDATE_HEADER_LEN_MAX > self.config.message_len_max {
            (update.from, update.count, update.changes) = (Some(seq), 0, Bytes::new()); // all will pull
        }
        self.publish(seq, &update, cx);
    }

    /// Tells whether somebody else's row is of a set that we lack and may have.
    pub(super) fn is_wanted(&self, row: &Row) -> bool {
        if self.is_buried(&row.owner, row.incarnation, row.seq) || row.seq >= SEQ_MAX || row.seq == 0 {
            return false;
        }
        let Some(owner) = self.registry.owner(&row.owner) else { return true };
        row.version() > owner.row().version() && (row.incarnation, row.seq) > owner.refused
    }
}
