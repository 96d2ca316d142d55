//! Confirmation: before anything is said of a member that one does not hear, it is tried to be reached, directly and by
//! others (SWIM, section 3.1).

use super::table::Row;
use super::{Event, ME, Members, send};
use crate::config::Canary;
use crate::frame::{Beat, MembersFrame};
use crate::id::{Contact, NodeId};
use crate::machine::Cx;
use crate::member::Life;
use crate::rng::Purpose;
use crate::time::Instant;
use alloc::vec::Vec;

/// Rounds of pings in which none of those asked has answered at all, at most: then this node is the one that is not
/// heard. A guess.
const ROUNDS_MAX: u8 = 3;

/// Milliseconds for each member over which nodes spread their doubts when a lease runs out everywhere at once: about
/// fifty of them ask in each second until one has told the others. A guess.
pub(super) const SPREAD_MS: u64 = 20;

/// A member that this node doubts.
#[derive(Clone, Debug)]
pub(super) struct Confirmation {
    place: u32,
    life: Life,
    /// Its counter when the doubt arose, and when that was.
    counter: u32,
    pub(super) since: Instant,
    /// What the pings of this round are numbered with; zero before the first round.
    nonce: u32,
    /// Who was asked to help in this round.
    helpers: Vec<NodeId>,
    /// Helpers that have answered that they cannot reach it either.
    refusals: u32,
    rounds: u8,
    /// When the next step is due.
    pub(super) at: Instant,
}

/// A ping on behalf of somebody else.
#[derive(Clone, Debug)]
pub(super) struct Help {
    asker: NodeId,
    asker_nonce: u32,
    target: NodeId,
    nonce: u32,
    /// When the asker is told that the target was not reached.
    pub(super) until: Instant,
}

impl Members {
    /// Doubts a node, if it is a member that is there.
    pub(super) fn doubt_node(&mut self, id: &NodeId, cx: &mut Cx<'_>) {
        if let Some(place) = self.table.place(id).filter(|_| self.is_running) {
            self.doubt(place, 0, cx);
            self.on_confirmations_due(cx);
        }
    }

    fn doubt(&mut self, place: u32, delay_ms: u64, cx: &mut Cx<'_>) {
        let row = self.table.row(place);
        let is_doubted = self.confirmations.iter().any(|confirmation| confirmation.place == place);
        if place == ME || !row.state.is_present() || row.is_suspected() || is_doubted {
            return;
        }
        if self.config.is_planted(Canary::NoIndirectConfirmation) {
            return self.suspect(place, cx);
        }
        if self.confirmations.len() >= self.config.confirmations_max {
            return; // its lease has run out, or will: the next sweep finds it
        }
        cx.stats.confirmations += 1;
        self.confirmations.push(Confirmation {
            place,
            life: row.life,
            counter: row.counter,
            since: cx.now.mono,
            nonce: 0,
            helpers: Vec::new(),
            refusals: 0,
            rounds: 0,
            at: cx.now.mono.plus_millis(delay_ms),
        });
    }

    /// Looks through a part of the table for leases that have run out, and for those that are gone for good.
    pub(super) fn sweep_leases(&mut self, cx: &mut Cx<'_>) {
        let (now, end, lease_ms) = (cx.now.mono, self.table.end(), self.lease_ms());
        let share = u64::from(end).saturating_mul(2 * self.exchange_ms()) / self.heartbeat_ms();
        for _ in 0..share.clamp(1, u64::from(end)) {
            self.sweep = if self.sweep + 1 >= end { ME } else { self.sweep + 1 };
            let place = self.sweep;
            let Some(row) = self.table.try_row(place).filter(|_| place != ME) else { continue };
            if !row.state.is_present() {
                if now.millis_since(row.gone_at()) > self.config.gone_retention_ms {
                    self.forget(place);
                }
            } else if self.is_lease_out(row, lease_ms, now) {
                self.on_lease_out(place, cx);
            }
        }
    }

    fn is_lease_out(&self, row: &Row, lease_ms: u64, now: Instant) -> bool {
        now.millis_since(row.alive_at) > lease_ms && now >= self.leases_from
    }

    pub(super) fn on_lease_out(&mut self, place: u32, cx: &mut Cx<'_>) {
        if self.config.is_planted(Canary::VerdictByWallClock) {
            return self.judge(place, cx);
        }
        // The more leases have run out here at once, the likelier it is that others know more than this node.
        let doubts = self.confirmations.len() as u64;
        let spread_ms = SPREAD_MS * u64::from(self.table.present()) / (doubts + 1);
        let delay_ms = cx.rng.draw(Purpose::Confirm).between(0, spread_ms);
        self.doubt(place, delay_ms, cx);
    }

    pub(super) fn on_confirmations_due(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now.mono;
        while let Some(i) = self.confirmations.iter().position(|confirmation| confirmation.at <= now) {
            let confirmation = &self.confirmations[i];
            let place = confirmation.place;
            let row = self.table.try_row(place).filter(|row| row.life == confirmation.life);
            let is_open = row.is_some_and(|row| {
                let is_proven = row.counter > confirmation.counter && row.alive_at > confirmation.since;
                row.state.is_present() && !row.is_suspected() && !is_proven
            });
            let is_unheard = !confirmation.helpers.is_empty() && confirmation.refusals == 0;
            if !is_open {
                self.confirmations.swap_remove(i);
            } else if confirmation.rounds == 0 || is_unheard && confirmation.rounds < ROUNDS_MAX {
                self.ask_round(i, is_unheard, cx);
            } else {
                self.confirmations.swap_remove(i);
                self.suspect(place, cx);
            }
        }
    }

    /// Pings the member and asks others to do so.
    fn ask_round(&mut self, i: usize, is_unheard: bool, cx: &mut Cx<'_>) {
        if is_unheard {
            self.health.worsen(); // nobody answers: perhaps it is this node that is not heard
        }
        let delay_ms = cx.rng.draw(Purpose::Confirm).jitter(self.config.confirm_ms, 10);
        let target = self.table.row(self.confirmations[i].place).record.contact.clone();
        let helpers = self.choose_helpers(&target.id(), cx);
        let nonce = self.next_nonce();
        self.reach_ping(target.clone(), nonce, cx);
        for helper in &helpers {
            let frame = MembersFrame::PingRequest { nonce, target: target.clone() };
            self.events.push_back(Event::Reach { contact: helper.clone(), frame });
        }
        let confirmation = &mut self.confirmations[i];
        confirmation.nonce = nonce;
        confirmation.helpers = helpers.iter().map(Contact::id).collect();
        confirmation.refusals = 0;
        confirmation.rounds += 1;
        confirmation.at = cx.now.mono.plus_millis(self.health.stretch(delay_ms));
    }

    /// Chooses who shall help: neighbours first, whose links are up, then any other member.
    fn choose_helpers(&self, target: &NodeId, cx: &mut Cx<'_>) -> Vec<Contact> {
        let count = self.config.confirm_helpers;
        let mut draw = cx.rng.draw(Purpose::Confirm);
        let mut places: Vec<u32> =
            self.neighbors.iter().filter_map(|it| self.table.place(&it.peer)).collect();
        draw.shuffle(&mut places);
        let any = (0..count * 4).filter_map(|_| draw.index(self.table.end() as usize));
        places.extend(any.map(|place| place as u32));
        let mut helpers: Vec<Contact> = Vec::with_capacity(count);
        for row in places.into_iter().filter(|place| *place != ME).filter_map(|it| self.table.try_row(it)) {
            let contact = &row.record.contact;
            let is_apt = row.state.is_present() && !row.is_suspected() && contact.id() != *target;
            if helpers.len() < count && is_apt && !helpers.contains(contact) {
                helpers.push(contact.clone());
            }
        }
        helpers
    }

    fn next_nonce(&mut self) -> u32 {
        self.nonce = self.nonce.wrapping_add(1).max(1);
        self.nonce
    }

    fn reach_ping(&mut self, contact: Contact, nonce: u32, cx: &mut Cx<'_>) {
        cx.stats.pings += 1;
        self.events.push_back(Event::Reach { contact, frame: MembersFrame::Ping { nonce } });
    }

    // --- answers

    /// Somebody doubts this node: it shows itself alive.
    pub(super) fn on_ping(&mut self, from: NodeId, nonce: u32, cx: &mut Cx<'_>) {
        self.show_alive(cx);
        let beat = self.beat(self.me(), cx);
        send(from, MembersFrame::Pong { nonce, beat }, cx);
    }

    pub(super) fn on_ping_request(&mut self, from: NodeId, nonce: u32, target: Contact, cx: &mut Cx<'_>) {
        if target.id() == self.my_id() {
            self.show_alive(cx);
            let beat = Some(self.beat(self.me(), cx));
            return send(from, MembersFrame::PingAnswer { nonce, beat }, cx);
        }
        if self.helps.len() >= self.config.confirmations_max {
            return;
        }
        let until = cx.now.mono.plus_millis(self.config.confirm_ms / 2);
        let (asker_nonce, nonce) = (nonce, self.next_nonce());
        self.helps.push(Help { asker: from, asker_nonce, target: target.id(), nonce, until });
        self.reach_ping(target, nonce, cx);
    }

    pub(super) fn on_helps_due(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now.mono;
        while let Some(i) = self.helps.iter().position(|help| help.until <= now) {
            let Help { asker, asker_nonce: nonce, .. } = self.helps.swap_remove(i);
            send(asker, MembersFrame::PingAnswer { nonce, beat: None }, cx);
        }
    }

    pub(super) fn on_pong(&mut self, from: NodeId, nonce: u32, beat: Beat, cx: &mut Cx<'_>) {
        if let Some(i) = self.helps.iter().position(|help| help.nonce == nonce && help.target == from) {
            let Help { asker, asker_nonce: nonce, .. } = self.helps.swap_remove(i);
            send(asker, MembersFrame::PingAnswer { nonce, beat: Some(beat) }, cx);
        }
        let target = self.table.place(&from);
        self.on_reached(nonce, beat, |confirmation| Some(confirmation.place) == target, cx);
        self.on_beat(&beat, 0, cx);
    }

    pub(super) fn on_ping_answer(&mut self, from: NodeId, nonce: u32, beat: Option<Beat>, cx: &mut Cx<'_>) {
        if let Some(beat) = beat {
            self.on_reached(nonce, beat, |confirmation| confirmation.helpers.contains(&from), cx);
            self.on_beat(&beat, 0, cx);
            return;
        }
        let mut asked = self.confirmations.iter_mut().filter(|confirmation| confirmation.nonce == nonce);
        if let Some(confirmation) = asked.find(|confirmation| confirmation.helpers.contains(&from)) {
            confirmation.refusals += 1;
        }
    }

    /// A ping has reached the member: the doubt is over. If its lease had run out it lives where no neighbour hears of it.
    fn on_reached(
        &mut self,
        nonce: u32,
        beat: Beat,
        is_answerer: impl Fn(&Confirmation) -> bool,
        cx: &mut Cx<'_>,
    ) {
        let answers = |it: &Confirmation| it.nonce == nonce && it.life == beat.life && is_answerer(it);
        let Some(i) = self.confirmations.iter().position(answers) else { return };
        let place = self.confirmations.swap_remove(i).place;
        cx.stats.confirmed_alive += 1;
        self.health.improve();
        let row = self.table.try_row(place).filter(|row| row.life == beat.life);
        if let Some(row) = row.filter(|row| self.is_lease_out(row, self.lease_ms(), cx.now.mono)) {
            self.events.push_back(Event::Apart { contact: row.record.contact.clone() });
        }
    }

    pub(super) fn drop_confirmation(&mut self, place: u32) {
        self.confirmations.retain(|confirmation| confirmation.place != place);
    }

    /// After a pause every round begins anew: its answers may wait behind this deadline.
    pub(super) fn put_off_confirmations(&mut self, cx: &Cx<'_>) {
        let (now, delay_ms) = (cx.now.mono, self.health.stretch(self.config.confirm_ms));
        for confirmation in self.confirmations.iter_mut().filter(|confirmation| confirmation.at <= now) {
            confirmation.at = now.plus_millis(delay_ms);
        }
    }
}
