//! Records: asked for by who lacks them, merged by incarnation and revision, refused where they contradict.

use super::heartbeat::LEAP_MAX;
use super::news::{Subject, tell_record};
use super::table::Row;
use super::{Event, LIVES_REMEMBERED_MAX, ME, Members, send};
use crate::config::Canary;
use crate::frame::{Answered, ENTRIES_MAX, LIVES_MAX, MemberEntry, MembersFrame, Wanted};
use crate::hlc::Stamp;
use crate::id::{Contact, Incarnation, NodeId};
use crate::machine::{Cx, ServiceLoss};
use crate::member::{Life, MemberRecord, MemberState};
use crate::ring::WEIGHT_MAX;
use crate::rng::Purpose;
use crate::time::Instant;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// All records on their way from one peer, page by page.
#[derive(Clone, Debug)]
pub(super) struct Paging {
    /// Who is asked.
    pub(super) peer: NodeId,
    /// Where the page that was asked for begins.
    from: u32,
}

impl MemberRecord {
    /// Tells whether users see the same in both.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        core::ptr::eq(self, other)
            || self.contact == other.contact && self.weight == other.weight && self.zone == other.zone
    }
}

impl Members {
    // --- asking

    /// Asks for all records, as long as this node does not take part.
    pub(super) fn on_pull_due(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now.mono;
        if now < self.pull_at {
            return;
        }
        self.pull_at = Instant::NEVER;
        let state = self.me().state;
        if !self.is_running || state >= MemberState::Active {
            self.paging = None; // an island's table: who is left out shows itself
            return;
        }
        let is_alone = self.status().counts[MemberState::Active as usize] == 0;
        let waited = state == MemberState::Synced && now.millis_since(self.synced_at) >= self.config.ttl_ms;
        if is_alone && waited {
            return self.take_part(cx); // everybody is new: the whole cluster has restarted
        }
        let Some(peer) = self.choose_peer(cx) else { return };
        self.ask_page(peer, 0, cx);
    }

    /// Chooses whom to learn from: of those that take part, if there is one.
    fn choose_peer(&self, cx: &mut Cx<'_>) -> Option<NodeId> {
        let peers: Vec<NodeId> = self.neighbors.iter().map(|neighbor| neighbor.peer).collect();
        let is_active = |peer: &&NodeId| {
            let place = self.table.place(peer);
            place.is_some_and(|place| self.table.row(place).state == MemberState::Active)
        };
        let active: Vec<NodeId> = peers.iter().filter(is_active).copied().collect();
        let from = if active.is_empty() { &peers } else { &active };
        cx.rng.draw(Purpose::Confirm).choose(from).copied()
    }

    fn ask_page(&mut self, peer: NodeId, from: u32, cx: &mut Cx<'_>) {
        self.paging = Some(Paging { peer, from });
        self.pull_at = cx.now.mono.plus_millis(self.config.heartbeat_ms);
        send(peer, MembersFrame::Pull(Wanted::Page(from)), cx);
    }

    /// Asks for the records of some lives, unless they were asked for a moment ago.
    pub(super) fn pull_lives(&mut self, from: NodeId, mut lives: Vec<Life>, cx: &mut Cx<'_>) {
        let will_know_all = self.paging.is_some() && self.me().state < MemberState::Active;
        if lives.is_empty() || will_know_all {
            return;
        }
        let (now, again_ms) = (cx.now.mono, self.config.confirm_ms);
        if self.asked.len() + lives.len() > LIVES_REMEMBERED_MAX {
            self.asked.retain(|_, at| now.millis_since(*at) < again_ms);
        }
        lives.truncate(LIVES_MAX);
        lives.retain(|life| {
            let has_room = self.asked.len() < LIVES_REMEMBERED_MAX;
            let at = self.asked.get(life).filter(|at| now.millis_since(**at) < again_ms);
            let is_refused = self.refused.get(life).is_some_and(|until| now < *until);
            let is_wanted = at.is_none() && has_room && !is_refused;
            if is_wanted {
                self.asked.insert(*life, now);
            }
            is_wanted
        });
        if !lives.is_empty() {
            send(from, MembersFrame::Pull(Wanted::Lives(lives)), cx);
        }
    }

    // --- answering

    pub(super) fn on_pull(&mut self, from: NodeId, wanted: Wanted, cx: &mut Cx<'_>) {
        if self.neighbor(&from).is_some_and(|neighbor| neighbor.is_sync_full) {
            return; // it asks again
        }
        let (answered, places) = match wanted {
            Wanted::Page(first) => self.page(first),
            Wanted::Lives(lives) => {
                let places = lives.into_iter().filter_map(|life| self.table.of_life(life));
                (Answered::Lives, places.take(ENTRIES_MAX).collect())
            }
        };
        if !self.may_tell(from, places.len().max(1) as u64, cx.now.mono) {
            cx.stats.pulls_refused += 1;
            return; // whoever needs it asks again
        }
        let is_told = |place: &u32| self.table.row(*place).state != MemberState::Dead;
        let entries = places.into_iter().filter(is_told).map(|place| self.entry(place, cx)).collect();
        send(from, MembersFrame::Push { answered, entries }, cx);
    }

    /// Counts records that somebody asks for: the whole table twice, for who comes anew or begins again, and so many a second.
    fn may_tell(&mut self, to: NodeId, count: u64, now: Instant) -> bool {
        let per_s = self.config.members_pulls_per_s;
        let whole = per_s.saturating_add(2 * self.table.len() as u64);
        let strangers = &mut self.strangers;
        let neighbor = self.neighbors.iter_mut().find(|neighbor| neighbor.peer == to);
        let allowance = neighbor.map_or(strangers, |neighbor| &mut neighbor.allowance);
        allowance.take(count, whole, per_s, now)
    }

    /// Lists the places of a page: members that are there, and those that have left, for who was away meanwhile.
    fn page(&self, first: u32) -> (Answered, Vec<u32>) {
        let rest = first.min(self.table.end())..self.table.end();
        let is_told =
            |place: &u32| self.table.try_row(*place).is_some_and(|it| it.state != MemberState::Dead);
        let mut rest = rest.filter(is_told);
        let places: Vec<u32> = rest.by_ref().take(ENTRIES_MAX).collect();
        (rest.next().map_or(Answered::LastPage, Answered::Page), places)
    }

    // --- taking in

    pub(super) fn on_push(
        &mut self,
        from: NodeId,
        answered: Answered,
        entries: &[MemberEntry],
        cx: &mut Cx<'_>,
    ) {
        cx.stats.entries_received += entries.len() as u64;
        let bit = self.neighbor(&from).map_or(0, |neighbor| neighbor.bit);
        for entry in entries {
            self.asked.swap_remove(&entry.record.life());
            let news = self.on_entry(from, entry, bit, cx);
            if let Some(place) = news.filter(|place| self.is_for_others(*place, &answered)) {
                self.hand_on(place, Subject::Record, bit, cx);
            }
        }
        let Some(at) = self.paging.as_ref().filter(|paging| paging.peer == from).map(|it| it.from) else {
            return;
        };
        match answered {
            Answered::Page(next) if next > at && next as usize <= self.config.members_max => {
                self.ask_page(from, next, cx);
            }
            Answered::Page(_) | Answered::Lives => {}
            Answered::LastPage => self.on_synced(&from, cx),
        }
    }

    /// Whom another island's table brings, this one lacks as well; and who asked for one life had not heard of a leave.
    fn is_for_others(&self, place: u32, answered: &Answered) -> bool {
        if *answered == Answered::Lives {
            return self.table.row(place).state == MemberState::Left;
        }
        self.paging.is_some() && self.me().state == MemberState::Active
    }

    /// This node knows whomever its peer knows.
    fn on_synced(&mut self, peer: &NodeId, cx: &mut Cx<'_>) {
        self.paging = None;
        if self.me().state >= MemberState::Active {
            return;
        }
        // All who live are known to have been alive of late: whoever came back need not wait for a lease to miss the others.
        self.leases_from = self.leases_from.min(cx.now.mono.plus_millis(self.heartbeat_ms()));
        let place = self.table.place(peer);
        let is_active = place.is_some_and(|place| self.table.row(place).state == MemberState::Active);
        if self.me().state == MemberState::Joining {
            self.synced_at = cx.now.mono;
            self.become_state(MemberState::Synced, false, cx);
        }
        if is_active {
            return self.take_part(cx);
        }
        self.pull_at = cx.now.mono.plus_millis(self.config.heartbeat_ms);
    }

    /// Takes in a record with its heartbeat, or refuses it; shows the member's place where the record is news.
    pub(super) fn on_entry(
        &mut self,
        from: NodeId,
        entry: &MemberEntry,
        bit: u32,
        cx: &mut Cx<'_>,
    ) -> Option<u32> {
        let record = &entry.record;
        let id = record.contact.id();
        if id == self.my_id() {
            self.on_my_record(from, record, cx);
            return None;
        }
        if !(1..=WEIGHT_MAX).contains(&record.weight) || record.state == MemberState::Dead {
            self.refuse(record.life(), cx);
            return None;
        }
        if record.cluster != self.cluster && !self.config.is_planted(Canary::RingMismatchAccepted) {
            self.refuse_mismatch(record, cx);
            return None;
        }
        if self.is_ahead(record.contact.incarnation(), cx) {
            self.refuse_ahead(record, cx);
            return None;
        }
        let Some(place) = self.table.place(&id) else { return self.on_new_member(from, entry, bit, cx) };
        let known = self.table.row(place).record.contact.incarnation();
        let told = record.contact.incarnation();
        if told == known {
            self.on_same_life(place, entry, bit, cx).then_some(place)
        } else if told > known || self.config.is_planted(Canary::StaleLifeAccepted) {
            self.on_other_life(place, entry, bit, cx)
        } else {
            self.refuse(record.life(), cx);
            let ours = self.entry(place, cx);
            tell_record(from, ours, cx);
            None
        }
    }

    /// Somebody holds a record of this node: one of another life, or a word that this node has never said.
    fn on_my_record(&mut self, from: NodeId, record: &MemberRecord, cx: &mut Cx<'_>) {
        let mine = &self.me().record;
        let told = record.contact.incarnation();
        if told > mine.contact.incarnation() {
            cx.stats.entries_refused += 1; // without an answer: either would contradict the other for ever
            self.note_outlived(told, cx);
            return;
        }
        if record.life() == mine.life() && record.revision <= mine.revision {
            return;
        }
        cx.stats.entries_refused += 1;
        let (told, revision) = (record.revision, mine.revision);
        if record.life() == mine.life() && told - revision <= LEAP_MAX {
            let record = MemberRecord { revision: told.saturating_add(1), ..(**mine).clone() };
            self.renew(record, cx); // only a greater number is believed
            self.hand_on(ME, Subject::Record, 0, cx);
        }
        let ours = self.entry(ME, cx);
        tell_record(from, ours, cx);
    }

    /// Others know of a life that this one cannot contradict: another has to begin.
    pub(super) fn note_outlived(&mut self, known: Incarnation, cx: &Cx<'_>) {
        let is_possible = !self.is_ahead(known, cx);
        self.outlived = self.outlived.max(is_possible.then_some(known));
    }

    /// This node begins another life after the one that others know, by word of whoever routes. Who is on his way to the
    /// next life, and has left this one, ends it before he is asked again.
    pub(super) fn on_outlived_due(&mut self, cx: &Cx<'_>) {
        if cx.now.mono >= self.outlived_from
            && self.me().state.is_present()
            && let Some(incarnation) = self.outlived.take()
        {
            self.events.push_back(Event::Outlived { incarnation });
        }
    }

    /// Tells whether a life begins further in the future than clocks go wrong: no true one would ever come after it.
    fn is_ahead(&self, life: Incarnation, cx: &Cx<'_>) -> bool {
        Stamp(life.0).millis().saturating_sub(cx.now.wall.0) > self.config.members_ahead_ms_max
    }

    /// Refuses a life that lies too far ahead by this node's clock: told now and then, as it may be this one that is wrong.
    fn refuse_ahead(&mut self, record: &MemberRecord, cx: &mut Cx<'_>) {
        let (now, life) = (cx.now.mono, record.life());
        let until = now.plus_millis(self.config.ttl_ms);
        if self.refused.get(&life).is_none_or(|until| *until <= now) {
            let (peer, key) = (record.contact.id(), "members_ahead_ms_max");
            let (ours, theirs) = (cx.now.wall.0, Stamp(record.contact.incarnation().0).millis());
            self.events.push_back(Event::Refused { peer, key, ours, theirs });
            self.refuse_until(life, until, cx);
        } else {
            cx.stats.entries_refused += 1;
        }
    }

    fn on_new_member(&mut self, from: NodeId, entry: &MemberEntry, bit: u32, cx: &mut Cx<'_>) -> Option<u32> {
        let record = &entry.record;
        let (id, incarnation) = (record.contact.id(), record.contact.incarnation());
        let over = self.epitaphs.get(&id).copied().filter(|over| incarnation <= *over);
        if let Some(over) = over.filter(|_| record.state.is_present()) {
            tell_record(from, epitaph(entry, over), cx);
        }
        if over.is_some() || !self.table.has_place_for(record) {
            self.refuse(record.life(), cx);
            return None;
        }
        if !record.state.is_present() {
            self.bury(id, incarnation);
            return None;
        }
        if self.table.len() >= self.config.members_max && !self.make_room() {
            cx.stats.entries_refused += 1;
            return None;
        }
        self.epitaphs.swap_remove(&id);
        let place = self.table.insert(Row::new(record.clone(), 0, self.alive_at(entry.age_ms, cx)));
        self.pace = self.pace.max(u64::from(self.table.present()));
        let member = self.table.row(place).member();
        self.events.push_back(Event::Changed { member, was: None, loss: None });
        self.prove_entry(place, entry, bit, cx);
        self.ask_island(place, cx);
        Some(place)
    }

    /// A neighbour that takes part and was unheard of stands on another island: it is asked whom it knows there.
    fn ask_island(&mut self, place: u32, cx: &mut Cx<'_>) {
        let row = self.table.row(place);
        let (peer, state) = (row.record.contact.id(), row.state);
        let take_part = state == MemberState::Active && self.me().state == MemberState::Active;
        if take_part && self.paging.is_none() && self.neighbor(&peer).is_some() {
            self.ask_page(peer, 0, cx);
        }
    }

    /// Tells whether the record is news.
    fn on_same_life(&mut self, place: u32, entry: &MemberEntry, bit: u32, cx: &mut Cx<'_>) -> bool {
        let (record, now) = (&entry.record, cx.now.mono);
        let row = self.table.row(place);
        if row.state == MemberState::Left {
            return false; // this life is over
        }
        if record.revision == row.record.revision && **record != *row.record {
            cx.stats.entries_refused += 1; // two words of one life with one number: the first one stands
            return false;
        }
        if record.revision.saturating_sub(row.record.revision) > LEAP_MAX {
            cx.stats.entries_refused += 1;
            return false;
        }
        let is_news = record.revision > row.record.revision;
        if is_news {
            self.change(place, |row| {
                row.hear(record.clone());
                if row.state == MemberState::Dead {
                } else if record.state.is_present() {
                    row.state = record.state;
                } else {
                    row.go(record.state, now);
                }
            });
            self.end_doubts_of_gone(place);
        }
        self.prove_entry(place, entry, bit, cx);
        is_news
    }

    /// The heartbeat that came with a record counts like any other, when the record is not older than what is known.
    fn prove_entry(&mut self, place: u32, entry: &MemberEntry, bit: u32, cx: &mut Cx<'_>) {
        let row = self.table.row(place);
        let is_leap = entry.counter.saturating_sub(row.counter) > LEAP_MAX && row.counter > 0;
        if entry.counter > row.counter && !is_leap {
            let may_return = entry.record.revision >= row.record.revision && row.record.state.is_present();
            let alive_at = self.alive_at(entry.age_ms, cx);
            self.prove(place, entry.counter, alive_at, may_return, bit, cx);
        }
    }

    /// A node lives another life: the one that is known is over.
    fn on_other_life(&mut self, place: u32, entry: &MemberEntry, bit: u32, cx: &mut Cx<'_>) -> Option<u32> {
        let now = cx.now.mono;
        if self.table.of_life(entry.record.life()).is_some() {
            self.refuse(entry.record.life(), cx);
            return None; // the hash is another member's
        }
        self.clear_suspicion(place);
        let mut member = self.table.row(place).member();
        if member.state.is_present() {
            let was = Some(member.state);
            member.state = MemberState::Dead;
            self.events.push_back(Event::Changed { member, was, loss: Some(ServiceLoss::Restarted) });
        }
        self.drop_confirmation(place);
        self.table.remove(place);
        let record = &entry.record;
        let place = self.table.insert(Row::new(record.clone(), 0, self.alive_at(entry.age_ms, cx)));
        if record.state.is_present() {
            let member = self.table.row(place).member();
            self.events.push_back(Event::Changed { member, was: None, loss: None });
        } else {
            self.table.change(place, |row| row.go(record.state, now));
        }
        self.prove_entry(place, entry, bit, cx);
        Some(place)
    }

    // --- refusing and forgetting

    fn refuse(&mut self, life: Life, cx: &mut Cx<'_>) {
        self.refuse_until(life, Instant::NEVER, cx);
    }

    fn refuse_until(&mut self, life: Life, until: Instant, cx: &mut Cx<'_>) {
        cx.stats.entries_refused += 1;
        if self.refused.len() >= LIVES_REMEMBERED_MAX {
            self.refused.shift_remove_index(0);
        }
        self.refused.insert(life, until);
    }

    /// A node that counts leases or partitions differently: told once for each life of it.
    fn refuse_mismatch(&mut self, record: &MemberRecord, cx: &mut Cx<'_>) {
        cx.stats.members_mismatched += 1;
        if !self.refused.contains_key(&record.life()) {
            let (ours, theirs) = (self.cluster, record.cluster);
            let numbers = [
                ("heartbeat_ms", ours.heartbeat_ms, theirs.heartbeat_ms),
                ("ttl_ms", ours.ttl_ms, theirs.ttl_ms),
                ("ring_size", u64::from(ours.ring_size), u64::from(theirs.ring_size)),
            ];
            let differing = numbers.into_iter().find(|(_, ours, theirs)| ours != theirs);
            let peer = record.contact.id();
            let refused = differing.map(|(key, ours, theirs)| Event::Refused { peer, key, ours, theirs });
            self.events.extend(refused);
        }
        self.refuse(record.life(), cx);
    }

    /// Remembers that a life is over, without a row.
    pub(super) fn bury(&mut self, id: NodeId, incarnation: Incarnation) {
        if self.config.epitaphs_max == 0 {
            return;
        }
        if self.epitaphs.len() >= self.config.epitaphs_max && !self.epitaphs.contains_key(&id) {
            self.epitaphs.shift_remove_index(0);
        }
        self.epitaphs.insert(id, incarnation);
    }

    /// Forgets the member that has been gone for longest; none when all are there.
    fn make_room(&mut self) -> bool {
        let gone = self.table.iter().filter(|(place, row)| *place != ME && !row.state.is_present());
        let oldest = gone.min_by_key(|(_, row)| row.gone_at()).map(|(place, _)| place);
        oldest.map(|place| self.forget(place)).is_some()
    }

    /// Forgets a member that has gone. Who left is over; who was only not heard may come back.
    pub(super) fn forget(&mut self, place: u32) {
        let row = self.table.row(place);
        let (contact, state) = (row.record.contact.clone(), row.state);
        self.table.remove(place);
        if state == MemberState::Left {
            self.bury(contact.id(), contact.incarnation());
        }
    }
}

/// What is left of a life that the table has forgotten: that it is over, as its own last word.
fn epitaph(entry: &MemberEntry, over: Incarnation) -> MemberEntry {
    let MemberRecord { contact, revision, .. } = &*entry.record;
    let contact = Contact::new(contact.id(), over, contact.addrs());
    let (revision, state) = (revision.saturating_add(1), MemberState::Left);
    let record = MemberRecord { contact, revision, state, ..(*entry.record).clone() };
    MemberEntry { record: Arc::new(record), ..entry.clone() }
}
