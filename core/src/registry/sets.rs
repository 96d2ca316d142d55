//! Owners' sets as they come, change and go, and the leases that show them.

use super::directory::{Entry, NONE, Registry, Role};
use super::owner::{Owner, Place, Row, tag};
use super::update::{Batch, Change, Numbered, Record, Update};
use crate::id::{Incarnation, NodeId};
use crate::machine::ServiceLoss;
use crate::time::Instant;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Owners.
impl Registry {
    /// Tells the number of an owner, known or new.
    pub(super) fn number_or_new(&mut self, id: &NodeId) -> u32 {
        if let Some(number) = self.number(id) {
            return number;
        }
        let owner = Owner::new(*id, &self.me);
        let number = self.free_owners.pop().unwrap_or(self.owners.len() as u32);
        match self.owners.get_mut(number as usize) {
            Some(free) => *free = owner,
            None => self.owners.push(owner),
        }
        self.note_number(number);
        number
    }

    /// Tells the number of the owner of a batch, if it is known.
    pub(super) fn number_of(&self, batch: &Batch) -> Option<u32> {
        let tagged = self.tags.get(batch.tag).filter(|number| self.owners[*number].id == batch.owner);
        tagged.or_else(|| self.number(&batch.owner))
    }

    /// Forgets an owner and all of its set.
    pub(super) fn forget(&mut self, number: u32) {
        self.drop_set(number, None);
        self.drop_number(number);
        let owner = &mut self.owners[number];
        self.tags.remove(owner.tag);
        *owner = Owner { is_free: true, ..Owner::new(owner.id, &self.me) }; // gives its memory back
        self.free_owners.push(number);
    }

    /// Moves a set to a life and a sequence number. Whatever changes it ends here, so that its row counts as it is.
    pub(super) fn set_version(&mut self, number: u32, incarnation: Incarnation, seq: u64, before: u64) {
        let owner = &mut self.owners[number];
        if owner.incarnation != incarnation {
            self.tags.remove(owner.tag);
            owner.tag = tag(owner.id_hash, incarnation);
            self.tags.insert(owner.tag, number);
        }
        (owner.incarnation, owner.seq) = (incarnation, seq);
        let (bucket, after) = (owner.bucket(), owner.row_hash());
        self.buckets[bucket] = self.buckets[bucket].wrapping_sub(before).wrapping_add(after);
    }

    /// Lists the rows of some buckets, in the order of owners.
    pub(super) fn rows(&self, mask: u32) -> Vec<Row> {
        // Ids are in the order of their first bytes, nearly always: rows are long, and stay where they are.
        let is_asked = |owner: &Owner| !owner.is_free && owner.seq > 0 && mask >> owner.bucket() & 1 == 1;
        let asked = (0..).zip(self.owners.iter()).filter(|(_, owner)| is_asked(owner));
        let mut asked: Vec<(u64, u32)> =
            asked.map(|(number, owner)| (owner.id.prefix().swap_bytes(), number)).collect();
        let id = |number: u32| &self.owners[number].id;
        asked.sort_unstable_by(|(a, x), (b, y)| a.cmp(b).then_with(|| id(*x).cmp(id(*y))));
        asked.into_iter().map(|(_, number)| self.owners[number].row()).collect()
    }
}

/// Sets as they go out.
impl Registry {
    /// Makes an update of a whole set.
    pub(super) fn whole(&self, number: u32, now: Instant) -> Update {
        let owner = &self.owners[number];
        let records = owner.entries.iter().map(|place| self.record(place.slot));
        let puts = records.map(|record| Numbered { seq: 0, change: Change::Put(record.clone()) });
        let mut changes: Vec<Numbered> = puts.collect();
        changes.sort_unstable_by(|a, b| a.change.key().cmp(&b.change.key()));
        let batch = Batch::of((owner.id, owner.incarnation), None, owner.seq, changes);
        owner.again(&Arc::new(batch), now)
    }

    /// Lists what leads from a sequence number to what is held: the last changes where they are still known.
    pub(super) fn rows_after(&self, number: u32, seq: u64, now: Instant) -> Vec<Update> {
        let owner = &self.owners[number];
        match owner.log.since(seq).filter(|_| seq < owner.seq) {
            Some(batches) => batches.map(|batch| owner.again(batch, now)).collect(),
            None => Vec::from([self.whole(number, now)]),
        }
    }

    /// Makes an update of a whole set if that is what is held at a sequence number.
    pub(super) fn whole_at(&self, number: u32, seq: u64, now: Instant) -> Option<Update> {
        (self.owners[number].seq == seq).then(|| self.whole(number, now))
    }
}

/// Leases: what shows a set and hides it.
impl Registry {
    pub(super) fn begin_life(&mut self, number: u32, incarnation: Incarnation) {
        if self.owners[number].lease != Some(incarnation) {
            self.set_lease(number, Some(incarnation), ServiceLoss::Restarted);
        }
    }

    pub(super) fn end_life(&mut self, number: u32, incarnation: Incarnation, reason: ServiceLoss) {
        if self.owners[number].lease == Some(incarnation) {
            self.set_lease(number, None, reason);
        }
    }

    pub(super) fn suspect(&mut self, number: u32, is_suspected: bool) {
        let owner = &mut self.owners[number];
        if owner.is_suspected == is_suspected || owner.lease.is_none() {
            return;
        }
        owner.is_suspected = is_suspected;
        if self.is_watched && owner.is_visible() {
            self.shown_of(number).into_iter().for_each(|slot| self.tell_updated(slot));
        }
    }
}

/// Contents of a set.
impl Registry {
    /// Finds a registration in a set: the number of its place, or of the one where it would be.
    pub(super) fn find(&self, number: u32, name_hash: u64, key: (&[u8], u64)) -> Result<usize, usize> {
        let hash = Place::hash(name_hash);
        let is_at = |it: &Place| it.hash.cmp(&hash).then_with(|| self.record(it.slot).key().cmp(&key));
        self.owners[number].entries.binary_search_by(is_at)
    }

    pub(super) fn find_slot(&self, number: u32, name_hash: u64, key: (&[u8], u64)) -> Option<u32> {
        let at = self.find(number, name_hash, key).ok()?;
        Some(self.owners[number].entries[at].slot)
    }

    /// Takes a registration into a set, or changes it there.
    pub(super) fn put(&mut self, number: u32, record: &Arc<Record>, is_refused: bool) {
        match self.find(number, record.name_hash(), record.key()) {
            Ok(at) => self.replace(number, at, record, is_refused),
            Err(at) => self.insert(number, at, record, is_refused),
        }
    }

    fn insert(&mut self, number: u32, at: usize, record: &Arc<Record>, is_refused: bool) {
        let owner = &mut self.owners[number];
        owner.fingerprint = owner.fingerprint.wrapping_add(record.hash());
        owner.bytes += record.len();
        let slot = self.free.pop().unwrap_or(self.entries.len() as u32);
        owner.entries.insert(at, Place { hash: Place::hash(record.name_hash()), slot });
        let role = if is_refused { Role::Refused } else { Role::Hidden };
        let entry = Entry::new(record.clone(), number, owner.salt, role);
        match self.entries.get_mut(slot as usize) {
            Some(free) => *free = entry,
            None => self.entries.push(entry),
        }
        if !is_refused {
            self.list(slot);
        }
    }

    fn replace(&mut self, number: u32, at: usize, record: &Arc<Record>, is_refused: bool) {
        let slot = self.owners[number].entries[at].slot;
        let entry = self.entry(slot);
        let old = &entry.record;
        if old == record && is_refused == (entry.role == Role::Refused) {
            return;
        }
        let is_same = (old.is_unique, old.registered_at) == (record.is_unique, record.registered_at);
        if !is_same || is_refused || entry.role == Role::Refused {
            self.remove_at(number, at, None);
            return self.insert(number, at, record, is_refused);
        }
        let (hash, len) = (old.hash(), old.len());
        self.rewrite(slot, record);
        let owner = &mut self.owners[number];
        owner.fingerprint = owner.fingerprint.wrapping_sub(hash).wrapping_add(record.hash());
        owner.bytes = owner.bytes - len + record.len();
    }

    /// Removes a registration from a set, if it is there.
    pub(super) fn remove(&mut self, number: u32, name_hash: u64, key: (&[u8], u64)) {
        if let Ok(at) = self.find(number, name_hash, key) {
            self.remove_at(number, at, None);
        }
    }

    fn remove_at(&mut self, number: u32, at: usize, loss: Option<ServiceLoss>) {
        let slot = self.owners[number].entries[at].slot;
        if self.entry(slot).role != Role::Refused {
            self.unlist(slot, loss);
        }
        let nobody = Entry::new(self.nothing.clone(), NONE, 0, Role::Hidden);
        let Entry { record, .. } = core::mem::replace(&mut self.entries[slot], nobody);
        let owner = &mut self.owners[number];
        owner.entries.remove(at);
        owner.fingerprint = owner.fingerprint.wrapping_sub(record.hash());
        owner.bytes -= record.len();
        self.free.push(slot);
    }

    /// Makes a set what the owner says it is as a whole. Its records are in the order of their keys.
    pub(super) fn swap(&mut self, number: u32, records: &[(&Arc<Record>, bool)]) {
        for at in (0..self.owners[number].entries.len()).rev() {
            let key = self.record(self.owners[number].entries[at].slot).key();
            let is_kept = records.binary_search_by(|(record, _)| record.key().cmp(&key)).is_ok();
            if !is_kept {
                self.remove_at(number, at, None);
            }
        }
        self.owners[number].entries.reserve_exact(records.len()); // most sets come whole and stay
        for (record, is_refused) in records {
            self.put(number, record, *is_refused);
        }
    }

    /// Drops everything that is known of a set: nothing is known of it any longer.
    pub(super) fn drop_set(&mut self, number: u32, loss: Option<ServiceLoss>) {
        let before = self.owners[number].row_hash();
        for at in (0..self.owners[number].entries.len()).rev() {
            self.remove_at(number, at, loss);
        }
        let incarnation = self.owners[number].incarnation;
        self.owners[number].log.clear();
        self.set_version(number, incarnation, 0, before);
    }
}
