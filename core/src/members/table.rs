//! The table of members: rows that keep their place, found by id and by life, with sums kept as they change.

use crate::blocks::Blocks;
use crate::hash::{Fold, hash_bytes, mix};
use crate::id::NodeId;
use crate::member::{Life, Member, MemberRecord, MemberState};
use crate::observation::MembersStatus;
use crate::slots::Slots;
use crate::time::Instant;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// What has become of a member, and when.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Well,
    Suspected {
        /// When the suspicion becomes a verdict.
        until: Instant,
        with: u32,
    },
    /// It was taken for dead, or left.
    Gone {
        at: Instant,
    },
}

/// One life of a member. A thousand simulated nodes know a thousand each: a heartbeat looks at 64 bytes.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct Row {
    /// What it says of itself.
    pub(super) record: Arc<MemberRecord>,
    /// Its name on the wire.
    pub(super) life: Life,
    /// When it showed itself alive last, on this node's clock: arrival less age.
    pub(super) alive_at: Instant,
    fate: Fate,
    /// The number of the latest rise of its counter.
    pub(super) rise: u64,
    /// How often it has shown itself alive.
    pub(super) counter: u32,
    /// The revision of the record, at hand.
    revision: u32,
    /// The neighbours that have this counter.
    pub(super) known_by: u32,
    /// Where it stands, by its own word or by this node's verdict.
    pub(super) state: MemberState,
}

impl Row {
    pub(super) fn new(record: Arc<MemberRecord>, counter: u32, alive_at: Instant) -> Self {
        let (life, state, revision) = (record.life(), record.state, record.revision);
        Self { record, life, alive_at, fate: Fate::Well, rise: 0, counter, revision, known_by: 0, state }
    }

    pub(super) fn revision(&self) -> u32 {
        self.revision
    }

    /// Takes what the member says of itself now.
    pub(super) fn hear(&mut self, record: Arc<MemberRecord>) {
        self.revision = record.revision;
        self.record = record;
    }

    /// Tells whether it is neither suspected nor gone.
    pub(super) fn is_well(&self) -> bool {
        matches!(self.fate, Fate::Well)
    }

    pub(super) fn is_suspected(&self) -> bool {
        matches!(self.fate, Fate::Suspected { .. })
    }

    /// Tells when a suspicion becomes a verdict; never without one.
    pub(super) fn suspected_until(&self) -> Instant {
        if let Fate::Suspected { until, .. } = self.fate { until } else { Instant::NEVER }
    }

    /// Tells the counter that it is suspected with, if it is: a greater one refutes.
    pub(super) fn suspected_with(&self) -> Option<u32> {
        if let Fate::Suspected { with, .. } = self.fate { Some(with) } else { None }
    }

    pub(super) fn suspect(&mut self, until: Instant, with: u32) {
        self.fate = Fate::Suspected { until, with };
    }

    /// Takes more than the counter so far to refute the suspicion.
    pub(super) fn suspect_beyond(&mut self, counter: u32) {
        if let Fate::Suspected { with, .. } = &mut self.fate {
            *with = counter;
        }
    }

    /// Gives a suspicion more time.
    pub(super) fn put_off(&mut self, later: Instant) {
        if let Fate::Suspected { until, .. } = &mut self.fate {
            *until = later;
        }
    }

    pub(super) fn end_suspicion(&mut self) {
        if self.is_suspected() {
            self.fate = Fate::Well;
        }
    }

    /// Tells when it was taken for dead, or left; never while it is there.
    pub(super) fn gone_at(&self) -> Instant {
        if let Fate::Gone { at } = self.fate { at } else { Instant::NEVER }
    }

    /// Takes a member that was taken for dead for what it says it is.
    pub(super) fn come_back(&mut self) {
        (self.state, self.fate) = (self.record.state, Fate::Well);
    }

    /// Takes the member out of those that are there.
    pub(super) fn go(&mut self, state: MemberState, now: Instant) {
        (self.state, self.fate) = (state, Fate::Gone { at: now });
    }

    pub(super) fn member(&self) -> Member {
        let MemberRecord { ref contact, weight, zone, .. } = *self.record;
        let (state, is_suspected) = (self.state, self.is_suspected());
        Member { contact: contact.clone(), state, is_suspected, weight, zone }
    }

    /// What an active member contributes to the hash of the active set.
    fn active_hash(&self) -> u64 {
        let share = u64::from(self.record.weight) ^ self.record.zone.rotate_left(8);
        if self.state == MemberState::Active { mix(self.life.0 ^ mix(share)) } else { 0 }
    }
}

/// All rows. A place is reused only after its row was removed.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    rows: Blocks<Option<Row>, 512>,
    free: Vec<u32>,
    /// By the hashes of ids. Two ids with one hash cannot both be members: the later one is refused.
    by_id: Slots<u32>,
    by_life: Slots<u32>,
    status: MembersStatus,
    /// The sum of all counters.
    beats: u64,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Tells one more than the greatest place.
    pub(super) fn end(&self) -> u32 {
        self.rows.len() as u32
    }

    pub(super) fn status(&self) -> MembersStatus {
        self.status
    }

    pub(super) fn present(&self) -> u32 {
        self.status.present()
    }

    pub(super) fn place(&self, id: &NodeId) -> Option<u32> {
        let place = self.by_id.get(hash_bytes(&id.0))?;
        (self.row(place).record.contact.id() == *id).then_some(place)
    }

    pub(super) fn of_life(&self, life: Life) -> Option<u32> {
        self.by_life.get(life.0)
    }

    pub(super) fn try_row(&self, place: u32) -> Option<&Row> {
        self.rows.get(place as usize)?.as_ref()
    }

    /// Shows the row at a place that is known to have one.
    pub(super) fn row(&self, place: u32) -> &Row {
        match self.try_row(place) {
            Some(row) => row,
            None => unreachable!("a place without a row was kept"),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Row)> {
        (0..).zip(self.rows.iter()).filter_map(|(place, row)| Some((place, row.as_ref()?)))
    }

    pub(super) fn places(&self) -> Vec<u32> {
        self.iter().map(|(place, _)| place).collect()
    }

    /// Tells whether a member that is not here can be told from all others by its hashes.
    pub(super) fn has_place_for(&self, record: &MemberRecord) -> bool {
        self.by_id.get(hash_bytes(&record.contact.id().0)).is_none() && self.of_life(record.life()).is_none()
    }

    pub(super) fn insert(&mut self, row: Row) -> u32 {
        let place = self.free.pop().unwrap_or(self.rows.len() as u32);
        self.by_id.insert(hash_bytes(&row.record.contact.id().0), place);
        self.by_life.insert(row.life.0, place);
        self.count(&row, 1);
        match self.rows.get_mut(place as usize) {
            Some(slot) => *slot = Some(row),
            None => self.rows.push(Some(row)),
        }
        place
    }

    pub(super) fn remove(&mut self, place: u32) {
        let Some(row) = self.rows.get_mut(place as usize).and_then(Option::take) else { return };
        self.count(&row, u32::MAX);
        self.by_id.remove(hash_bytes(&row.record.contact.id().0));
        self.by_life.remove(row.life.0);
        self.free.push(place);
    }

    /// Changes a row in place: its id and life stay.
    pub(super) fn change(&mut self, place: u32, change: impl FnOnce(&mut Row)) {
        let Some(mut row) = self.rows.get_mut(place as usize).and_then(Option::take) else { return };
        self.count(&row, u32::MAX);
        change(&mut row);
        self.count(&row, 1);
        self.rows[place] = Some(row);
    }

    /// Notes a higher counter, the one change that is as frequent as heartbeats: no sum but its own depends on it.
    #[inline]
    pub(super) fn raise<R>(&mut self, place: u32, raise: impl FnOnce(&mut Row) -> R) -> Option<R> {
        let row = self.rows.get_mut(place as usize)?.as_mut()?;
        let before = row.counter;
        let result = raise(row);
        self.beats = self.beats.wrapping_add(u64::from(row.counter.wrapping_sub(before)));
        Some(result)
    }

    /// Gives the row at a place another life.
    pub(super) fn rename(&mut self, place: u32, life: Life) {
        let old = self.row(place).life;
        self.by_life.remove(old.0);
        self.by_life.insert(life.0, place);
        self.change(place, |row| row.life = life);
    }

    /// A slot goes to another neighbour, of which nothing is known.
    pub(super) fn forget_neighbor(&mut self, bit: u32) {
        self.rows.iter_mut().flatten().for_each(|row| row.known_by &= !bit);
    }

    /// Counts a row in, by one, or out, by the greatest number, which is one less than none.
    fn count(&mut self, row: &Row, by: u32) {
        let Self { status, beats, .. } = self;
        let count = &mut status.counts[row.state as usize];
        *count = count.wrapping_add(by);
        if row.is_suspected() {
            status.suspected = status.suspected.wrapping_add(by);
        }
        status.active_hash ^= row.active_hash();
        let counter = u64::from(row.counter);
        *beats = if by == 1 { beats.wrapping_add(counter) } else { beats.wrapping_sub(counter) };
    }

    pub(super) fn digest(&self, into: &mut Fold) {
        let MembersStatus { counts, suspected, active_hash } = self.status;
        counts.into_iter().for_each(|count| into.word(u64::from(count)));
        into.word(u64::from(suspected));
        into.word(active_hash);
        into.word(self.beats);
    }

    pub(super) fn audit(&self) {
        let mut fresh = Self::default();
        for (place, row) in self.iter() {
            assert_eq!(self.place(&row.record.contact.id()), Some(place), "a row is not found by its id");
            assert_eq!(self.of_life(row.life), Some(place), "a row is not found by its life");
            assert_eq!(row.life, row.record.life(), "a row is of another life than its record");
            assert_eq!(row.revision, row.record.revision, "a row is of another revision than its record");
            fresh.count(row, 1);
        }
        assert_eq!((fresh.status, fresh.beats), (self.status, self.beats), "sums differ from the rows");
        assert_eq!(self.by_id.len(), self.by_life.len(), "ids and lives differ");
        assert_eq!(self.rows.len(), self.by_id.len() + self.free.len(), "a place is lost");
    }
}
