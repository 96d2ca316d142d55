//! What arrives of others' sets: judged, applied as a whole or not at all, and pulled where something is missing.

use super::update::{Batch, Change, Changes, Numbered, Record, Update};
use super::{Event, Registrar, Row};
use crate::config::Canary;
use crate::hlc::Stamp;
use crate::id::{Incarnation, NodeId};
use crate::machine::{Cx, ServiceLoss};
use crate::time::NANOS_PER_MILLI;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Sequence numbers from here on are nobody's: a set that claims one could not be written over.
const SEQ_MAX: u64 = 1 << 60;
/// How far a set may be ahead of what is known of it: no owner writes so often, and one that is told of a set beyond its own
/// must have numbers left to write over it, again and again.
const SEQ_LEAP_MAX: u64 = 1 << 40;
/// How far beyond its own set an owner writes over one that it hears of; others might take a number beyond for a leap. Then
/// it begins another life instead, and counts on from where it was.
const SEQ_OUTBID_MAX: u64 = SEQ_LEAP_MAX / 2;

/// How an update came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path {
    Relay,
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
    pub(super) fn on_malformed(&mut self, from: NodeId, cx: &mut Cx<'_>) {
        cx.stats.malformed += 1;
        self.events.push_back(Event::Malformed { from });
    }

    /// Applies an update if it is news, and tells whether it was.
    pub(super) fn apply(&mut self, from: NodeId, update: &Update, path: Path, cx: &mut Cx<'_>) -> bool {
        self.apply_to(self.registry.number(&update.batch.owner), from, update, path, cx)
    }

    /// Applies an update to the set of an owner whose number was looked up.
    pub(super) fn apply_to(
        &mut self,
        number: Option<u32>,
        from: NodeId,
        update: &Update,
        path: Path,
        cx: &mut Cx<'_>,
    ) -> bool {
        let batch = &update.batch;
        if batch.owner == self.me && !self.config.is_planted(Canary::ForeignWrites) {
            self.defend(from, batch.incarnation, batch.to, None, cx);
            return false;
        }
        if self.is_ahead(batch.incarnation, cx) || self.leaps(number, batch.incarnation, batch.to) {
            // Its number is not noted as refused: it would stand above every true one.
            cx.stats.registry_refused += 1;
            self.events.push_back(Event::Refused { from, owner: batch.owner });
            return false;
        }
        match self.relate(number, batch) {
            Relation::Stale => {
                cx.stats.registry_stale += 1;
                return false;
            }
            Relation::Gap => {
                cx.stats.registry_gaps += 1;
                self.pull(batch.owner, (batch.incarnation, batch.to), from, cx);
                return false;
            }
            Relation::Next | Relation::Tie => {}
        }
        let read;
        let changes = match batch.known() {
            Some(known) => known,
            None => {
                let Ok(changes) = batch.read() else {
                    self.on_malformed(from, cx);
                    return false;
                };
                read = changes;
                &read
            }
        };
        if !self.is_within_bounds(number, batch, changes) {
            self.refuse(from, batch, cx);
            return false;
        }
        let number = number.unwrap_or_else(|| self.registry.number_or_new(&batch.owner));
        self.commit(number, from, update, changes, path, cx)
    }

    fn relate(&self, number: Option<u32>, batch: &Batch) -> Relation {
        let Batch { owner, incarnation, from, to, .. } = *batch;
        if self.is_buried(&owner, incarnation, to) || to >= SEQ_MAX || to == 0 && batch.count > 0 {
            return Relation::Stale;
        }
        let known = number.map(|number| &self.registry.owners[number]);
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

    /// Tells whether a set is further ahead of what is known than its owner can have come.
    fn leaps(&self, number: Option<u32>, life: Incarnation, seq: u64) -> bool {
        let known = number.map(|number| &self.registry.owners[number]);
        let known = known.filter(|owner| owner.incarnation == life).map_or(0, |owner| owner.seq);
        seq > known.saturating_add(SEQ_LEAP_MAX)
    }

    pub(super) fn is_buried(&self, owner: &NodeId, incarnation: Incarnation, seq: u64) -> bool {
        self.epitaphs.get(owner).is_some_and(|buried| (incarnation, seq) <= *buried)
    }

    /// Judges whether names, metadata, and the set that would come of it keep to the bounds.
    fn is_within_bounds(&self, number: Option<u32>, batch: &Batch, changes: &Changes) -> bool {
        let config = &self.config;
        if changes.name_len_max > config.registry_name_len_max
            || changes.meta_len_max > config.registry_meta_len_max
        {
            return false;
        }
        let (mut puts, mut bytes) = (changes.puts, changes.bytes);
        let known = number.map(|number| (number, &self.registry.owners[number]));
        if known.is_none() && self.registry.count_owners() >= config.registry_owners_max {
            return false;
        }
        let is_added =
            |owner: &super::owner::Owner| batch.from.is_some() && owner.incarnation == batch.incarnation;
        if let Some((number, owner)) = known.filter(|(_, owner)| is_added(owner)) {
            let (count, len) = (owner.entries.len() + puts, owner.bytes + bytes);
            if count <= config.registrations_max && len <= config.registry_owner_bytes_max {
                return true; // also if nothing is replaced
            }
            let replaced = changes.list.iter().filter_map(|Numbered { change, .. }| {
                self.registry.find_slot(number, change.name_hash(), change.key())
            });
            let replaced = replaced
                .fold((0, 0), |(count, bytes), slot| (count + 1, bytes + self.registry.record(slot).len()));
            puts = (owner.entries.len() + puts).saturating_sub(replaced.0);
            bytes = (owner.bytes + bytes).saturating_sub(replaced.1);
        }
        puts <= config.registrations_max && bytes <= config.registry_owner_bytes_max
    }

    /// Counts and reports what breaks the rules, once.
    fn refuse(&mut self, from: NodeId, batch: &Batch, cx: &mut Cx<'_>) {
        cx.stats.registry_refused += 1;
        let version = (batch.incarnation, batch.to);
        if let Some(number) = self.registry.number(&batch.owner) {
            let owner = &mut self.registry.owners[number];
            if version <= owner.refused {
                return;
            }
            owner.refused = version;
        }
        self.events.push_back(Event::Refused { from, owner: batch.owner });
    }

    fn commit(
        &mut self,
        number: u32,
        from: NodeId,
        update: &Update,
        changes: &Changes,
        path: Path,
        cx: &mut Cx<'_>,
    ) -> bool {
        let Update { batch, age_ms } = update;
        let version = (batch.incarnation, batch.to);
        let known = &self.registry.owners[number];
        let held = (known.incarnation, known.seq);
        let is_whole = batch.from.is_none();
        let records = if is_whole { self.judged(changes) } else { Vec::new() };
        let known = &self.registry.owners[number];
        if is_whole && held == version && known.seq > 0 {
            let theirs = records.iter().fold(0_u64, |sum, (record, _)| sum.wrapping_add(record.hash()));
            if theirs <= known.fingerprint {
                return false;
            }
            cx.stats.registry_diverged += 1;
        }
        if batch.incarnation != held.0 {
            self.registry.drop_set(number, Some(ServiceLoss::Restarted));
            self.registry.set_version(number, batch.incarnation, 0, 0);
        }
        let before = self.registry.owners[number].row_hash();
        changes.newest.into_iter().for_each(|stamp| Self::follow(stamp, cx));
        let refused = if is_whole {
            self.registry.swap(number, &records);
            self.registry.owners[number].log.clear();
            records.iter().any(|(_, is_refused)| *is_refused)
        } else {
            self.apply_changes(number, &changes.list)
        };
        self.registry.set_version(number, batch.incarnation, batch.to, before);
        self.after_commit(from, number, update, refused, path, cx);
        if version > held && !self.is_old(*age_ms, path) {
            let told = Some(batch).filter(|_| !is_whole).cloned();
            self.hand_on(number, told, self.relay.bit(&from), cx);
        }
        true
    }

    /// Applies the changes that are not known yet, and tells whether the schema refused one.
    fn apply_changes(&mut self, number: u32, changes: &[Numbered]) -> bool {
        let seq = self.registry.owners[number].seq;
        let is_planted = self.config.is_planted(Canary::ForeignWrites);
        let mut has_refused = false;
        for Numbered { change, .. } in changes.iter().filter(|it| it.seq > seq || is_planted) {
            match change {
                Change::Put(record) => {
                    let is_refused = !self.is_valid(record.name(), record.meta());
                    has_refused |= is_refused;
                    self.registry.put(number, record, is_refused);
                }
                Change::Remove { .. } => self.registry.remove(number, change.name_hash(), change.key()),
            }
        }
        has_refused
    }

    /// Lists what a batch registers, and whether the schema refuses it.
    fn judged<'a>(&self, changes: &'a Changes) -> Vec<(&'a Arc<Record>, bool)> {
        let records = changes.list.iter().filter_map(|numbered| match &numbered.change {
            Change::Put(record) => Some(record),
            Change::Remove { .. } => None,
        });
        records.map(|record| (record, !self.is_valid(record.name(), record.meta()))).collect()
    }

    fn after_commit(
        &mut self,
        from: NodeId,
        number: u32,
        update: &Update,
        has_refused: bool,
        path: Path,
        cx: &mut Cx<'_>,
    ) {
        cx.stats.registry_applied += 1;
        let Update { batch, age_ms } = update;
        if has_refused {
            cx.stats.registry_refused += 1;
            self.events.push_back(Event::Refused { from, owner: batch.owner });
        }
        let state = &mut self.registry.owners[number];
        let age = u64::from(*age_ms) * NANOS_PER_MILLI;
        state.changed_at = crate::time::Instant(cx.now.mono.0.saturating_sub(age));
        if batch.from.is_some() {
            state.log.push(batch.clone(), &self.config);
        }
        self.epitaphs.shift_remove(&batch.owner);
        if self.is_old(*age_ms, path) {
            self.spread(cx);
        }
        self.tell(cx);
        self.watch_over(number, cx);
    }

    /// Tells whether what came by anti-entropy is too old for the relay: then sessions carry it on.
    fn is_old(&self, age_ms: u32, path: Path) -> bool {
        path == Path::Sync && u64::from(age_ms) >= self.config.sync_news_ms
    }

    /// Somebody knows of a set of ours. What we did not write is written over, whole, or by another life.
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
        let own_seq = own.seq;
        cx.stats.registry_refused += 1;
        self.events.push_back(Event::Refused { from, owner: self.me });
        if incarnation > self.incarnation || seq.saturating_sub(own_seq) > SEQ_OUTBID_MAX {
            self.events.push_back(Event::Outlived { incarnation });
            return;
        }
        self.rewrite_own(seq + 1, cx);
    }

    /// Tells this node's set anew, as a whole, under a sequence number above all that were told.
    fn rewrite_own(&mut self, seq: u64, cx: &mut Cx<'_>) {
        cx.stats.registry_rewritten += 1;
        let (own, before) = (self.own(), self.own_owner().row_hash());
        self.registry.set_version(own, self.incarnation, seq, before);
        let owner = &mut self.registry.owners[own];
        owner.log.clear();
        owner.changed_at = cx.now.mono;
        self.pending.clear();
        (self.pending_bytes, self.flush_at, self.announced) = (0, None, seq);
        self.announce(None, cx);
    }

    /// Tells whether somebody else's row is of a set that we lack and may have.
    pub(super) fn is_wanted(&self, row: &Row) -> bool {
        let number = self.registry.number(&row.owner);
        let is_beyond = row.seq >= SEQ_MAX || self.leaps(number, row.incarnation, row.seq);
        if self.is_buried(&row.owner, row.incarnation, row.seq) || is_beyond || row.seq == 0 {
            return false;
        }
        let Some(number) = number else { return true };
        let owner = &self.registry.owners[number];
        row.version() > owner.row().version() && (row.incarnation, row.seq) > owner.refused
    }
}
