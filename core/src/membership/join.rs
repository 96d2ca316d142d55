//! Coming in and going out: join through seeds, forward-join walks, leave, and the way back of a node that knows
//! nobody alive.

use super::{Event, Membership, Phase, Why};
use crate::frame::{Channel, Frame, NeighborPriority};
use crate::id::{Contact, Incarnation, NodeId, Token};
use crate::machine::{CommandError, Cx, NeighborLoss, Reply};
use crate::rng::Purpose;
use crate::time::Instant;
use alloc::vec::Vec;

/// Contacts that a busy node names to a joiner, and that a joiner gets to start its passive view with. A guess.
const REDIRECTS: usize = 6;

/// The attempts of a node without neighbours to come in through its seeds.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The command that waits for the outcome.
    token: Option<Token>,
    /// The seed that was asked and has not answered.
    pub(super) asked: Option<NodeId>,
    tries: u32,
    delay_ms: u64,
    /// When the next seed is asked.
    pub(super) at: Instant,
}

impl Entry {
    /// Takes out the command that waits.
    pub(super) fn take_token(&mut self) -> Option<Token> {
        self.token.take()
    }

    /// Tells whether a command that waits will ever be answered.
    pub(super) fn is_going_on(&self) -> bool {
        self.token.is_none() || self.at != Instant::NEVER
    }
}

impl Default for Entry {
    fn default() -> Self {
        Self { token: None, asked: None, tries: 0, delay_ms: 0, at: Instant::NEVER }
    }
}

/// Joins answered within the current second.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct JoinRate {
    since: Instant,
    count: u32,
}

impl JoinRate {
    /// Counts a join and tells whether it is one too many for this second.
    fn is_exceeded(&mut self, now: Instant, max: u32) -> bool {
        if now.millis_since(self.since) >= 1_000 {
            *self = Self { since: now, count: 0 };
        }
        self.count = self.count.saturating_add(1);
        max > 0 && self.count > max
    }
}

impl Membership {
    // --- commands

    pub(super) fn on_join_command(&mut self, token: Token, contacts: Vec<Contact>, cx: &mut Cx<'_>) {
        if self.entry.token.is_some() {
            let result = Err(CommandError::AlreadyJoining);
            self.events.push_back(Event::Done { token, result });
            return;
        }
        let me = self.me.id();
        self.seeds = contacts.into_iter().filter(|contact| contact.id() != me).collect();
        self.phase = Phase::Member;
        self.schedule_shuffle(cx);
        self.schedule_promotion(cx);
        let neighbor = self.active().next();
        if let Some(through) = neighbor {
            self.reach_across();
            self.events.push_back(Event::Done { token, result: Ok(Reply::Joined { through }) });
        } else if self.seeds.is_empty() {
            self.events.push_back(Event::Done { token, result: Ok(Reply::Joined { through: me }) });
        } else {
            self.entry = Entry { token: Some(token), at: cx.now.mono, ..Entry::default() };
            self.on_entry_due(cx);
        }
    }

    /// Asks every seed that is no neighbour, although the node is in: nodes that all start at once come in through each
    /// other in twos and threes, and whoever names the seed may know of another island.
    fn reach_across(&mut self) {
        let strangers = self.seeds.iter().filter(|seed| self.position(&seed.id()).is_none());
        for seed in strangers.cloned().collect::<Vec<_>>() {
            self.reach(&seed, Frame::Join(self.me.clone()));
        }
    }

    /// The node lives another life: this is how it introduces itself from now on.
    pub(super) fn on_new_life(&mut self, incarnation: Incarnation) {
        self.me = Contact::new(self.me.id(), incarnation, self.me.addrs());
    }

    pub(super) fn on_leave_command(&mut self, token: Token, cx: &mut Cx<'_>) {
        self.phase = Phase::Left;
        if let Some(waiting) = self.entry.token.take() {
            self.events.push_back(Event::Done { token: waiting, result: Err(CommandError::Left) });
        }
        let incarnation = self.me.incarnation();
        while let Some(neighbor) = self.active.first() {
            cx.send(neighbor.contact.id(), Channel::Control, Frame::Leave(incarnation));
            self.remove_active(0, NeighborLoss::WeLeft, cx);
        }
        let fresh = Membership::new(self.config.clone(), self.me.clone());
        let events = core::mem::take(&mut self.events);
        *self =
            Membership { phase: Phase::Left, events, departed: core::mem::take(&mut self.departed), ..fresh };
        self.events.push_back(Event::Left);
        self.events.push_back(Event::Done { token, result: Ok(Reply::Ok) });
    }

    // --- the joiner

    /// Asks the next seed, as long as there is no neighbour.
    pub(super) fn on_entry_due(&mut self, cx: &mut Cx<'_>) {
        if cx.now.mono < self.entry.at {
            return;
        }
        self.entry.at = Instant::NEVER;
        if self.phase != Phase::Member || !self.active.is_empty() || self.seeds.is_empty() {
            return;
        }
        let seeds = self.seeds.len() as u32;
        if self.entry.tries == 0 {
            cx.rng.draw(Purpose::Seed).shuffle(&mut self.seeds);
        }
        let is_first_rounds = self.entry.tries < seeds.saturating_mul(self.config.join_rounds_max);
        if !is_first_rounds && let Some(token) = self.entry.token.take() {
            self.events.push_back(Event::Done { token, result: Err(CommandError::Unreachable) });
        }
        let seed = self.seeds[(self.entry.tries % seeds) as usize].clone();
        self.entry.tries += 1;
        self.entry.asked = Some(seed.id());
        let pause_ms = if is_first_rounds { 0 } else { self.next_entry_delay() };
        self.entry.at = cx.now.mono.plus_millis(self.config.join_timeout_ms + pause_ms);
        self.set_due(self.entry.at);
        let me = self.me.clone();
        self.reach(&seed, Frame::Join(me));
    }

    fn next_entry_delay(&mut self) -> u64 {
        let (first, max) = (self.config.seed_backoff_ms, self.config.seed_backoff_ms_max);
        self.entry.delay_ms = self.entry.delay_ms.saturating_mul(2).clamp(first, max.max(first));
        self.entry.delay_ms
    }

    /// The seed that was asked cannot be reached: the next one is asked after a short breath.
    pub(super) fn on_seed_unreached(&mut self, peer: NodeId, cx: &mut Cx<'_>) {
        if self.entry.asked != Some(peer) {
            return;
        }
        self.entry.asked = None;
        let breath_ms = self.config.dial_backoff_ms.max(self.entry.delay_ms);
        let at = cx.now.mono.plus_millis(cx.rng.draw(Purpose::Seed).jitter(breath_ms, 50));
        self.entry.at = self.entry.at.min(at);
        self.set_due(self.entry.at);
    }

    /// The last neighbour is gone: the passive view has its chance first, then the seeds.
    pub(super) fn seek_entry(&mut self, cx: &mut Cx<'_>) {
        if self.active.is_empty() && self.phase == Phase::Member && self.entry.at == Instant::NEVER {
            let delay_ms = cx.rng.draw(Purpose::Seed).jitter(self.config.seed_backoff_ms, 50);
            self.entry.at = cx.now.mono.plus_millis(delay_ms);
            self.set_due(self.entry.at);
        }
    }

    /// A neighbour is there: the node is in.
    pub(super) fn on_member(&mut self, through: NodeId, cx: &mut Cx<'_>) {
        if let Some(token) = self.entry.token {
            self.events.push_back(Event::Done { token, result: Ok(Reply::Joined { through }) });
        }
        self.entry = Entry::default();
        self.refill.reset();
        if self.phase == Phase::Fresh {
            self.phase = Phase::Member;
            self.schedule_shuffle(cx);
            self.schedule_promotion(cx);
        }
        self.keep_filling(cx);
    }

    pub(super) fn on_join_reply(
        &mut self,
        from: NodeId,
        accepted: bool,
        contacts: Vec<Contact>,
        cx: &mut Cx<'_>,
    ) {
        let seed = self.seeds.iter().find(|seed| seed.id() == from).cloned();
        let Some(seed) = seed.filter(|_| self.phase == Phase::Member) else {
            if accepted {
                self.let_go(from, cx); // nobody asked it, or nobody is left who did
            }
            return;
        };
        if self.entry.asked == Some(from) {
            self.entry.asked = None;
        }
        if accepted {
            self.add_active(&seed, cx);
        }
        let age_ms = self.hint_age_ms_max();
        contacts.into_iter().for_each(|contact| self.remember(contact, age_ms, cx));
        self.on_slot_free(cx);
    }

    // --- the contact

    /// HyParView, algorithm 1: the contact takes the joiner in and sends it on random walks. A contact flooded by
    /// joiners names others instead, so that a storm neither turns its view over again and again nor floods the
    /// overlay with walks.
    pub(super) fn on_join(&mut self, from: NodeId, contact: Contact, cx: &mut Cx<'_>) {
        if contact.id() != from || from == self.me.id() {
            cx.stats.misplaced += 1;
            return;
        }
        if self.phase == Phase::Left {
            return self.reach(&contact, Frame::Leave(self.me.incarnation()));
        }
        cx.stats.joins += 1;
        self.departed.retain(|(departed, _)| *departed != from);
        let is_storm = self.join_rate.is_exceeded(cx.now.mono, self.config.joins_per_s_max);
        let is_neighbor = self.position(&from).is_some();
        let hints = self.hints(&contact, cx);
        if is_storm && self.is_full() && !is_neighbor {
            cx.stats.joins_redirected += 1;
            self.reach(&contact, Frame::JoinReply { accepted: false, contacts: hints });
            return self.remember(contact, 0, cx);
        }
        self.add_active(&contact, cx);
        self.reach(&contact, Frame::JoinReply { accepted: true, contacts: hints });
        if is_storm && is_neighbor {
            return; // its walks are under way, and a flood of them is what a hostile neighbour would want
        }
        let walk = Frame::ForwardJoin { contact: contact.clone(), ttl: self.config.arwl };
        for neighbor in self.active.iter().filter(|neighbor| neighbor.contact.id() != from) {
            cx.send(neighbor.contact.id(), Channel::Control, walk.clone());
        }
    }

    /// The age that a joiner gives to contacts named to it, and the age up to which they are named. A joiner cannot
    /// make a contact younger than it is, or the dead would circulate for as long as others join.
    fn hint_age_ms_max(&self) -> u32 {
        self.config.passive_age_ms_max / 2
    }

    /// Contacts for a joiner to start its passive view with; none in paper mode.
    fn hints(&self, joiner: &Contact, cx: &mut Cx<'_>) -> Vec<Contact> {
        if self.config.joins_per_s_max == 0 {
            return Vec::new();
        }
        let (now, age_ms_max) = (cx.now.mono, self.hint_age_ms_max());
        let young = self.passive.iter().filter(|entry| age_ms_max == 0 || entry.age_ms(now) <= age_ms_max);
        let known = self.active.iter().map(|n| &n.contact).chain(young.map(|entry| &entry.contact));
        let mut hints: Vec<Contact> = known.filter(|c| c.id() != joiner.id()).cloned().collect();
        cx.rng.draw(Purpose::Redirect).sample(&mut hints, REDIRECTS);
        hints
    }

    /// HyParView, algorithm 1: the walk ends where its time is up or where there is nowhere to go.
    pub(super) fn on_forward_join(&mut self, from: NodeId, contact: Contact, ttl: u8, cx: &mut Cx<'_>) {
        let joiner = contact.id();
        if joiner == self.me.id() || self.phase == Phase::Left {
            return;
        }
        let ttl = ttl.min(self.config.arwl); // whatever a hostile node wishes
        let mut next: Vec<NodeId> = self.active().filter(|id| *id != from && *id != joiner).collect();
        let next = cx.rng.draw(Purpose::JoinWalk).index(next.len()).map(|i| next.swap_remove(i));
        match next {
            Some(next) if ttl > 0 && self.active.len() > 1 => {
                if ttl == self.config.prwl {
                    self.remember(contact.clone(), 0, cx);
                }
                let ttl = ttl.saturating_sub(1);
                cx.send(next, Channel::Control, Frame::ForwardJoin { contact, ttl });
            }
            _ => self.end_walk(&contact, cx),
        }
    }

    /// The walk ends here: this node and the joiner become neighbours, if the joiner still has a place.
    fn end_walk(&mut self, contact: &Contact, cx: &mut Cx<'_>) {
        let joiner = contact.id();
        if self.position(&joiner).is_some() || self.is_asked(&joiner) || self.has_departed(contact) {
            return;
        }
        if self.asked.len() >= self.config.active_size.saturating_mul(2) {
            return self.remember(contact.clone(), 0, cx); // a storm: the joiner finds its places by itself
        }
        // The paper takes the joiner in on both sides, whoever else must go (departure: with a refill loop there is
        // no need to push a joiner's earlier neighbours out).
        let priority = if self.config.refill { NeighborPriority::Low } else { NeighborPriority::High };
        self.ask(contact, priority, Why::Insist, cx);
    }
}
