//! Membership: HyParView (Leitão, Pereira, Rodrigues, DSN 2007), a small symmetric active view over a passive one.
//!
//! An edge is made by a request and its answer, so it stands on both sides or on neither within one round trip.
//! Departures from the paper, all switched by configuration ([`Config::paper`] has none of them): a refill loop
//! instead of one promotion for each failure; silent neighbours are found by probing, not only by broken
//! connections; a full view probes neighbours it has not heard before it refuses; passive entries age, so the dead
//! leave circulation; neighbours lost without a word are remembered and tried again, so a cut of any length heals
//! without seeds; a slow promotion opens islands of full views; a contact flooded by joiners sends them on.

mod join;
mod lost;
mod passive;
mod promotion;
mod refill;
mod shuffle;

use crate::config::{Canary, Config};
use crate::frame::{Aged, Channel, DisconnectReason, Frame, NeighborAnswer, NeighborPriority};
use crate::hash::Fold;
use crate::id::{Contact, Incarnation, NodeId, Token};
use crate::machine::{CloseReason, CommandError, Cx, Machine, NeighborLoss, Reply};
use crate::rng::Purpose;
use crate::time::Instant;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use lost::Lost;
use passive::PassiveView;

/// Requests that wait while a full view probes its unheard neighbours, at most. A guess.
const WAITING_MAX: usize = 4;

/// What happens to membership.
#[derive(Clone, Debug)]
pub enum Input {
    /// The user joins.
    Join {
        /// Answered with this token.
        token: Token,
        /// The seeds.
        contacts: Vec<Contact>,
    },
    /// The node comes back after it has left, in another life.
    NewLife {
        /// The life that begins.
        incarnation: Incarnation,
    },
    /// This node is reached elsewhere from now on.
    Move {
        /// Where.
        addrs: Vec<SocketAddr>,
    },
    /// Another node is.
    Moved {
        /// How it introduces itself now.
        contact: Contact,
    },
    /// The user leaves.
    Leave {
        /// Answered with this token.
        token: Token,
    },
    /// One membership step (paper mode).
    Cycle,
    /// A membership frame.
    Frame {
        /// From whom.
        from: NodeId,
        /// The frame.
        frame: Frame,
    },
    /// The link to a peer is gone.
    LinkDown {
        /// The peer.
        peer: NodeId,
    },
    /// A node could not be reached.
    Unreached {
        /// The node.
        peer: NodeId,
    },
    /// A neighbour was asked for a sign of life, as a probe would.
    Asked {
        /// The neighbour.
        peer: NodeId,
    },
    /// A neighbour was taken for dead.
    Dead {
        /// The neighbour.
        peer: NodeId,
    },
    /// A node asks this one for a sign of life as its neighbour.
    Strange {
        /// The node.
        peer: NodeId,
    },
    /// A node answers for itself, and the overlay has brought no word of it for long.
    Apart {
        /// How it is reached.
        contact: Contact,
    },
}

/// What membership tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The answer to a command.
    Done {
        /// The command.
        token: Token,
        /// Its outcome.
        result: Result<Reply, CommandError>,
    },
    /// A peer came into the active view: its link is held.
    NeighborUp {
        /// The peer.
        peer: NodeId,
    },
    /// A peer went out of the active view: its link is released.
    NeighborDown {
        /// The peer.
        peer: NodeId,
        /// Why.
        loss: NeighborLoss,
    },
    /// A frame for a node that is no neighbour: links must reach it.
    Reach {
        /// The node.
        contact: Contact,
        /// The frame.
        frame: Frame,
    },
    /// A link must end.
    Close {
        /// The peer.
        peer: NodeId,
        /// Why.
        reason: CloseReason,
    },
    /// A neighbour has not answered a probe for a while; it is given up if it stays silent.
    Quiet {
        /// The neighbour.
        peer: NodeId,
    },
    /// No neighbour is left.
    Isolated,
    /// The node has left: every link must end.
    Left,
}

/// Where the node stands towards the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It has not joined yet; whoever asks is taken in all the same.
    Fresh,
    /// It has joined, or is joining: without neighbours it keeps trying.
    Member,
    /// It has left, until the next join.
    Left,
}

/// One neighbour.
#[derive(Clone, Debug)]
struct Neighbor {
    contact: Contact,
    last_heard: Instant,
    /// When a probe went out that nothing has answered yet.
    probed_at: Option<Instant>,
    /// Whether it was told that the probe is not answered.
    is_quiet: bool,
}

/// Why a node was asked to become a neighbour: what to do when it accepts a full asker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// A free slot: it was taken meanwhile, so the newcomer is let go.
    Refill,
    /// A forward-join ended here, a promotion, a reunion or a bridge: somebody else gives way.
    Insist,
}

/// A request to become neighbours that is under way.
#[derive(Clone, Debug)]
struct Asked {
    contact: Contact,
    why: Why,
    deadline: Instant,
}

/// The membership machine of one node.
#[derive(Clone, Debug)]
pub struct Membership {
    config: Arc<Config>,
    me: Contact,
    phase: Phase,
    active: Vec<Neighbor>,
    passive: PassiveView,
    seeds: Vec<Contact>,
    asked: Vec<Asked>,
    /// Askers that wait until the neighbours of a full view have been probed.
    waiting: Vec<(Contact, Instant)>,
    lost: Lost,
    /// Whether the next lost neighbour that is found insists on a place.
    reunite: bool,
    /// Nodes that left, the latest last, with the life in which they did.
    departed: VecDeque<(NodeId, Incarnation)>,
    entry: join::Entry,
    join_rate: join::JoinRate,
    refill: refill::Refill,
    shuffle: shuffle::Shuffling,
    promote_at: Instant,
    /// No bridge to another island is asked for before.
    bridge_from: Instant,
    probe_nonce: u32,
    /// No deadline is earlier.
    due: Instant,
    events: VecDeque<Event>,
}

impl Membership {
    /// Starts outside of any cluster.
    pub fn new(config: Arc<Config>, me: Contact) -> Self {
        Self {
            passive: PassiveView::new(config.passive_size),
            config,
            me,
            phase: Phase::Fresh,
            active: Vec::new(),
            seeds: Vec::new(),
            asked: Vec::new(),
            waiting: Vec::new(),
            lost: Lost::default(),
            reunite: true,
            departed: VecDeque::new(),
            entry: join::Entry::default(),
            join_rate: join::JoinRate::default(),
            refill: refill::Refill::default(),
            shuffle: shuffle::Shuffling::default(),
            promote_at: Instant::NEVER,
            bridge_from: Instant::default(),
            probe_nonce: 0,
            due: Instant::NEVER,
            events: VecDeque::new(),
        }
    }

    /// Tells how the node introduces itself.
    pub fn contact(&self) -> &Contact {
        &self.me
    }

    /// Lists the neighbours: the active view.
    pub fn active(&self) -> impl Iterator<Item = NodeId> {
        self.active.iter().map(|neighbor| neighbor.contact.id())
    }

    /// Lists the passive view.
    pub fn passive(&self) -> impl Iterator<Item = NodeId> {
        self.passive.iter().map(|entry| entry.contact.id())
    }

    /// Finds how a node is reached, among neighbours, passive contacts, seeds and the lost.
    pub fn contact_of(&self, node: &NodeId) -> Option<Contact> {
        let active = self.active.iter().map(|neighbor| &neighbor.contact);
        let others = self.passive.iter().map(|entry| &entry.contact).chain(&self.seeds);
        active.chain(others).chain(self.lost.contacts()).find(|contact| contact.id() == *node).cloned()
    }

    /// A node says in the life that is known where else it is reached.
    fn on_moved(&mut self, moved: &Contact) {
        let active = self.active.iter_mut().map(|neighbor| &mut neighbor.contact);
        let others = self.passive.contacts_mut().chain(&mut self.seeds).chain(self.lost.contacts_mut());
        let life = |contact: &Contact| (contact.id(), contact.incarnation());
        active
            .chain(others)
            .filter(|known| life(known) == life(moved))
            .for_each(|known| *known = moved.clone());
    }

    /// Takes out the join that waits for its answer: whoever asks gives it.
    pub(crate) fn take_join(&mut self) -> Option<Token> {
        self.entry.take_token()
    }

    /// Lists how neighbours, passive contacts and seeds are reached.
    pub fn contacts(&self) -> Vec<Contact> {
        let active = self.active.iter().map(|neighbor| &neighbor.contact);
        active.chain(self.passive.iter().map(|entry| &entry.contact)).chain(&self.seeds).cloned().collect()
    }

    /// Tells whether the node has joined and has a neighbour, or is the first of its cluster.
    pub fn is_joined(&self) -> bool {
        self.phase == Phase::Member && (!self.active.is_empty() || self.seeds.is_empty())
    }

    /// Tells whether the node has left.
    pub fn has_left(&self) -> bool {
        self.phase == Phase::Left
    }

    /// Notes a sign of life; tells whether the peer is a neighbour.
    #[inline]
    pub fn heard(&mut self, peer: &NodeId, now: Instant) -> bool {
        let Some(neighbor) = self.active.iter_mut().find(|neighbor| neighbor.contact.id() == *peer) else {
            return false;
        };
        neighbor.last_heard = now;
        if neighbor.probed_at.take().is_some() {
            let due = now.plus_millis(self.probe_after_ms());
            // Where members run everybody is asked all the time: nobody is woken by a wait that is over.
            self.due = if self.config.members { self.next_deadline() } else { self.due.min(due) };
        }
        true
    }

    /// Folds what matters of the state, with times relative to `now`.
    pub fn digest(&self, now: Instant, into: &mut Fold) {
        into.word(self.phase as u64 | (self.active.len() as u64) << 8 | (self.asked.len() as u64) << 16);
        for neighbor in &self.active {
            into.word(neighbor.contact.id().prefix());
            into.word(neighbor.last_heard.0.wrapping_sub(now.0));
        }
        self.passive.digest(now, into);
        into.word(self.lost.len() as u64 | (self.waiting.len() as u64) << 32);
        into.word(self.due.0.wrapping_sub(now.0));
    }

    fn position(&self, id: &NodeId) -> Option<usize> {
        self.active.iter().position(|neighbor| neighbor.contact.id() == *id)
    }

    fn is_full(&self) -> bool {
        self.active.len() >= self.config.active_size
    }

    fn has_departed(&self, contact: &Contact) -> bool {
        let left = self.departed.iter().find(|(id, _)| *id == contact.id());
        left.is_some_and(|(_, incarnation)| contact.incarnation() <= *incarnation)
    }

    /// Sends to a node over whatever link there is, or a new one.
    fn reach(&mut self, contact: &Contact, frame: Frame) {
        self.events.push_back(Event::Reach { contact: contact.clone(), frame });
    }

    /// Makes a deadline known.
    fn set_due(&mut self, deadline: Instant) {
        self.due = self.due.min(deadline);
    }

    // --- the active view

    /// Takes a node into the active view. A full view gives up another one (HyParView, algorithm 1,
    /// addNodeActiveView).
    fn add_active(&mut self, contact: &Contact, cx: &mut Cx<'_>) {
        let id = contact.id();
        assert!(id != self.me.id(), "a node never becomes its own neighbour");
        if let Some(i) = self.position(&id) {
            if contact.incarnation() > self.active[i].contact.incarnation() {
                self.active[i].contact = contact.clone();
            }
            return;
        }
        if self.is_full()
            && let Some(i) = cx.rng.draw(Purpose::Eviction).index(self.active.len())
        {
            self.evict(i, cx);
        }
        self.passive.remove(&id);
        self.lost.remove(&id);
        self.asked.retain(|asked| asked.contact.id() != id);
        self.departed.retain(|(departed, _)| *departed != id);
        let last_heard = cx.now.mono;
        self.active.push(Neighbor { contact: contact.clone(), last_heard, probed_at: None, is_quiet: false });
        if self.config.probe_after_ms > 0 {
            self.set_due(last_heard.plus_millis(self.probe_after_ms()));
        }
        cx.stats.neighbors_accepted += 1;
        self.events.push_back(Event::NeighborUp { peer: id });
        self.on_member(id, cx);
    }

    /// Gives up the neighbour at `i` for somebody else, who takes the place at once.
    fn evict(&mut self, i: usize, cx: &mut Cx<'_>) {
        let contact = self.active.remove(i).contact;
        let peer = contact.id();
        cx.stats.evictions += 1;
        cx.send(peer, Channel::Control, Frame::Disconnect(DisconnectReason::Evicted));
        self.events.push_back(Event::NeighborDown { peer, loss: NeighborLoss::Replaced });
        self.remember(contact, 0, cx);
    }

    /// Gives up the neighbour at `i`, and looks for another one.
    fn remove_active(&mut self, i: usize, loss: NeighborLoss, cx: &mut Cx<'_>) {
        let contact = self.active.remove(i).contact;
        let (peer, now) = (contact.id(), cx.now.mono);
        self.events.push_back(Event::NeighborDown { peer, loss });
        if matches!(loss, NeighborLoss::LinkLost | NeighborLoss::Silent) {
            let (delay_ms, max) = (self.config.lost_retry_ms, self.config.lost_max);
            if max > 0 {
                let delay_ms = cx.rng.draw(Purpose::Refill).jitter(delay_ms, 50);
                self.reunite |= self.lost.len() == 0;
                self.lost.insert(contact, now, delay_ms, max);
                self.set_due(now.plus_millis(delay_ms));
            }
        }
        if self.active.is_empty() && self.phase == Phase::Member {
            self.events.push_back(Event::Isolated);
        }
        self.on_slot_free(cx);
    }

    /// Keeps a contact in the passive view, if it belongs there.
    fn remember(&mut self, contact: Contact, age_ms: u32, cx: &mut Cx<'_>) {
        self.learn(Aged { contact, age_ms }, &[], cx);
    }

    fn learn(&mut self, aged: Aged, expendable: &[NodeId], cx: &mut Cx<'_>) {
        let id = aged.contact.id();
        let age_ms_max = self.config.passive_age_ms_max;
        let is_stale = age_ms_max > 0 && aged.age_ms > age_ms_max;
        if id == self.me.id() || self.position(&id).is_some() || is_stale || self.has_departed(&aged.contact)
        {
            return;
        }
        self.shuffle.has_news |= self.passive.insert(aged, cx.now.mono, expendable, cx.rng);
    }

    // --- becoming neighbours

    /// Asks a node to become a neighbour.
    fn ask(&mut self, contact: &Contact, priority: NeighborPriority, why: Why, cx: &mut Cx<'_>) {
        let deadline = cx.now.mono.plus_millis(self.config.neighbor_timeout_ms);
        self.asked.push(Asked { contact: contact.clone(), why, deadline });
        self.set_due(deadline);
        let me = self.me.clone();
        self.reach(contact, Frame::Neighbor { contact: me, priority });
    }

    fn is_asked(&self, id: &NodeId) -> bool {
        self.asked.iter().any(|asked| asked.contact.id() == *id)
    }

    fn answer(&mut self, contact: &Contact, answer: NeighborAnswer, cx: &mut Cx<'_>) {
        if answer == NeighborAnswer::Full {
            cx.stats.neighbors_refused += 1;
        }
        self.reach(contact, Frame::NeighborReply(answer));
    }

    fn on_neighbor(&mut self, from: NodeId, contact: &Contact, priority: NeighborPriority, cx: &mut Cx<'_>) {
        if contact.id() != from || from == self.me.id() {
            cx.stats.misplaced += 1;
        } else if self.phase == Phase::Left {
            self.reach(contact, Frame::Leave(self.me.incarnation()));
        } else if self.has_departed(contact) {
            self.answer(contact, NeighborAnswer::Full, cx); // a request from before it left
        } else if self.position(&from).is_some() || priority == NeighborPriority::High || !self.is_full() {
            if !self.config.is_planted(Canary::OneSidedNeighbor) {
                self.add_active(contact, cx);
            }
            self.answer(contact, NeighborAnswer::Accepted, cx);
        } else {
            self.on_request_at_full_view(contact, cx);
        }
    }

    /// A view full of corpses is probed before a request is refused.
    fn on_request_at_full_view(&mut self, contact: &Contact, cx: &mut Cx<'_>) {
        let now = cx.now.mono;
        let (probe_after_ms, probe_full_ms) = (self.probe_after_ms(), self.config.probe_full_ms);
        let is_unheard = |n: &Neighbor| now.millis_since(n.last_heard) > probe_after_ms;
        let overdue = |n: &Neighbor| n.probed_at.is_some_and(|at| now.millis_since(at) > probe_full_ms);
        if probe_after_ms == 0 || !self.active.iter().any(is_unheard) {
            self.answer(contact, NeighborAnswer::Full, cx);
        } else if let Some(i) = self.active.iter().position(overdue) {
            self.on_silent(i, cx);
            self.add_active(contact, cx);
            self.answer(contact, NeighborAnswer::Accepted, cx);
        } else if self.waiting.len() < WAITING_MAX
            && !self.waiting.iter().any(|(w, _)| w.id() == contact.id())
        {
            let deadline = now.plus_millis(probe_full_ms + 1);
            self.waiting.push((contact.clone(), deadline));
            self.set_due(deadline);
            let unheard: Vec<usize> =
                (0..self.active.len()).filter(|i| is_unheard(&self.active[*i])).collect();
            unheard.into_iter().for_each(|i| self.probe(i, cx));
        } else {
            self.answer(contact, NeighborAnswer::Full, cx);
        }
    }

    /// The probes for a waiting request have had their time.
    fn on_waiting_due(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now.mono;
        while let Some(i) = self.waiting.iter().position(|(_, deadline)| *deadline <= now) {
            let (contact, _) = self.waiting.swap_remove(i);
            let probe_full_ms = self.config.probe_full_ms;
            let overdue = |n: &Neighbor| n.probed_at.is_some_and(|at| now.millis_since(at) >= probe_full_ms);
            if self.is_full()
                && let Some(silent) = self.active.iter().position(overdue)
            {
                self.on_silent(silent, cx);
            }
            if self.is_full() {
                self.answer(&contact, NeighborAnswer::Full, cx);
            } else {
                self.add_active(&contact, cx);
                self.answer(&contact, NeighborAnswer::Accepted, cx);
            }
        }
    }

    fn on_neighbor_reply(&mut self, from: NodeId, answer: NeighborAnswer, cx: &mut Cx<'_>) {
        let asked = self.asked.iter().position(|asked| asked.contact.id() == from);
        let asked = asked.map(|i| self.asked.swap_remove(i));
        match (answer, asked) {
            (NeighborAnswer::Accepted, Some(asked)) if self.phase != Phase::Left => {
                if self.position(&from).is_none() && self.is_full() && asked.why == Why::Refill {
                    self.let_go(from, cx);
                } else {
                    self.add_active(&asked.contact, cx);
                }
            }
            (NeighborAnswer::Accepted, _) => self.let_go(from, cx), // an answer that came after its time
            (NeighborAnswer::Full, Some(asked)) => {
                self.lost.remove(&from); // it lives: shuffles keep it from now on
                self.remember(asked.contact, 0, cx);
                self.on_refused(from, cx);
            }
            (NeighborAnswer::Full, None) => {}
        }
    }

    /// The peer took us in, but unless it has a place here as well it must not keep a one-sided edge.
    fn let_go(&mut self, peer: NodeId, cx: &mut Cx<'_>) {
        if self.position(&peer).is_none() {
            cx.send(peer, Channel::Control, Frame::Disconnect(DisconnectReason::NotNeighbor));
        }
    }

    fn on_disconnect(&mut self, from: NodeId, cx: &mut Cx<'_>) {
        let Some(i) = self.position(&from) else { return };
        let contact = self.active[i].contact.clone();
        self.remove_active(i, NeighborLoss::Replaced, cx);
        self.remember(contact, 0, cx);
        // Asking back at once would only push the next one out.
        let until = cx.now.mono.plus_millis(self.config.refill_backoff_ms.saturating_mul(4));
        self.passive.put_off(&from, until);
    }

    fn on_leave(&mut self, from: NodeId, incarnation: Incarnation, cx: &mut Cx<'_>) {
        let position = self.position(&from);
        if position.is_some_and(|i| self.active[i].contact.incarnation() > incarnation) {
            return; // a word from an earlier life that its next join has overtaken
        }
        self.on_departed(from, incarnation);
        if let Some(i) = position {
            self.remove_active(i, NeighborLoss::Left, cx);
        }
        self.on_unreached(from, cx);
    }

    /// A node left: it is not taken back, nor told of, until it joins again in a later life.
    fn on_departed(&mut self, id: NodeId, incarnation: Incarnation) {
        self.passive.remove(&id);
        self.lost.remove(&id);
        self.waiting.retain(|(contact, _)| contact.id() != id);
        self.departed.retain(|(departed, _)| *departed != id);
        self.departed.push_back((id, incarnation));
        if self.departed.len() > self.config.departed_max {
            self.departed.pop_front();
        }
    }

    // --- signs of life

    fn probe(&mut self, i: usize, cx: &mut Cx<'_>) {
        self.probe_nonce = self.probe_nonce.wrapping_add(1);
        self.await_answer(i, false, cx);
        cx.stats.probes += 1;
        cx.send(self.active[i].contact.id(), Channel::Control, Frame::Probe { nonce: self.probe_nonce });
    }

    /// Tells the silence after which a neighbour is probed. Where members run they ask neighbours in turn, one at each
    /// exchange, and probes are for whom that leaves out.
    fn probe_after_ms(&self) -> u64 {
        let turns = if self.config.members { self.config.active_size.max(1) as u64 } else { 1 };
        self.config.probe_after_ms.saturating_mul(turns)
    }

    fn on_asked(&mut self, peer: &NodeId, cx: &Cx<'_>) {
        if let Some(i) = self.position(peer) {
            self.await_answer(i, true, cx);
        }
    }

    /// Members take a neighbour for dead. That may be hearsay: one that was heard since others began to say so stays.
    fn on_dead(&mut self, peer: &NodeId, cx: &mut Cx<'_>) {
        let (now, suspicion_ms) = (cx.now.mono, self.config.suspicion_ms);
        let is_unheard = |i: &usize| now.millis_since(self.active[*i].last_heard) >= suspicion_ms;
        if let Some(i) = self.position(peer).filter(is_unheard) {
            self.on_silent(i, cx);
        }
    }

    /// A node takes this one for its neighbour. Its answer to a request may have been overtaken.
    fn on_strange(&mut self, peer: NodeId, cx: &mut Cx<'_>) {
        if !self.is_asked(&peer) && self.entry.asked != Some(peer) {
            self.let_go(peer, cx);
        }
    }

    /// A neighbour was asked for a sign of life. Members look themselves after whom they have asked.
    fn await_answer(&mut self, i: usize, is_theirs: bool, cx: &Cx<'_>) {
        if self.active[i].probed_at.is_none() {
            let neighbor = &mut self.active[i];
            (neighbor.probed_at, neighbor.is_quiet) = (Some(cx.now.mono), is_theirs);
            self.set_due(self.next_probing(&self.active[i]));
        }
    }

    fn on_probe(&mut self, from: NodeId, nonce: u32, cx: &mut Cx<'_>) {
        if self.position(&from).is_some() {
            cx.send(from, Channel::Control, Frame::ProbeAck { nonce });
        } else {
            self.let_go(from, cx);
        }
    }

    fn on_silent(&mut self, i: usize, cx: &mut Cx<'_>) {
        let peer = self.active[i].contact.id();
        cx.stats.silent += 1;
        self.remove_active(i, NeighborLoss::Silent, cx);
        self.events.push_back(Event::Close { peer, reason: CloseReason::Silent });
    }

    /// Probes neighbours that were not heard for a while and gives up those that stay silent.
    fn on_probes_due(&mut self, cx: &mut Cx<'_>) {
        let (now, probe_after_ms) = (cx.now.mono, self.config.probe_after_ms);
        if probe_after_ms == 0 {
            return;
        }
        if now.millis_since(self.due) >= probe_after_ms {
            // This node was paused itself: the answers may lie behind this very deadline. Everybody is asked again.
            self.active.iter_mut().for_each(|neighbor| neighbor.probed_at = None);
        }
        for i in (0..self.active.len()).rev() {
            let neighbor = &self.active[i];
            match neighbor.probed_at {
                _ if now < self.next_probing(neighbor) => {}
                Some(at) if now < self.silent_at(at) => {
                    let peer = neighbor.contact.id();
                    self.active[i].is_quiet = true;
                    self.events.push_back(Event::Quiet { peer });
                }
                Some(_) => self.on_silent(i, cx),
                None => self.probe(i, cx),
            }
        }
    }

    /// Tells when a neighbour must be probed, or given up when it was.
    fn next_probing(&self, neighbor: &Neighbor) -> Instant {
        match neighbor.probed_at {
            Some(at) if self.config.members && !neighbor.is_quiet => {
                self.silent_at(at).min(at.plus_millis(self.config.quiet_after_ms))
            }
            Some(at) => self.silent_at(at),
            None => neighbor.last_heard.plus_millis(self.probe_after_ms()),
        }
    }

    /// Tells when a neighbour that was probed is given up.
    fn silent_at(&self, probed_at: Instant) -> Instant {
        probed_at.plus_millis(self.config.silent_after_ms.saturating_sub(self.config.probe_after_ms))
    }

    fn probe_deadline(&self) -> Option<Instant> {
        let deadlines = self.active.iter().map(|neighbor| self.next_probing(neighbor));
        if self.config.probe_after_ms > 0 { deadlines.min() } else { None }
    }

    // --- links

    fn on_link_down(&mut self, peer: NodeId, cx: &mut Cx<'_>) {
        self.waiting.retain(|(contact, _)| contact.id() != peer);
        if let Some(i) = self.position(&peer) {
            self.remove_active(i, NeighborLoss::LinkLost, cx);
        }
        self.on_unreached(peer, cx);
    }

    fn on_unreached(&mut self, peer: NodeId, cx: &mut Cx<'_>) {
        if let Some(i) = self.asked.iter().position(|asked| asked.contact.id() == peer) {
            let asked = self.asked.swap_remove(i);
            self.on_no_answer(&asked.contact, cx);
        }
        self.on_seed_unreached(peer, cx);
    }

    /// Requests under way at most: for free slots and walks, for lost neighbours, promotions and bridges.
    fn asked_max(&self) -> usize {
        self.config.active_size.saturating_mul(2) + self.config.lost_max
    }

    fn next_deadline(&self) -> Instant {
        let asked = self.asked.iter().map(|asked| asked.deadline).min();
        let waiting = self.waiting.iter().map(|(_, deadline)| *deadline).min();
        let timers = [self.promote_at, self.refill.at, self.shuffle.at, self.entry.at];
        let deadlines = [asked, waiting, self.lost.deadline(), self.probe_deadline()];
        let earliest = timers.into_iter().chain(deadlines.into_iter().flatten()).min();
        earliest.unwrap_or(Instant::NEVER)
    }
}

impl Machine for Membership {
    type Input = Input;
    type Event = Event;

    fn handle(&mut self, input: Input, cx: &mut Cx<'_>) {
        match input {
            Input::Join { token, contacts } => self.on_join_command(token, contacts, cx),
            Input::NewLife { incarnation } => self.on_new_life(incarnation),
            Input::Move { addrs } => {
                self.me = Contact::new(self.me.id(), self.me.incarnation(), &addrs);
            }
            Input::Moved { contact } => self.on_moved(&contact),
            Input::Leave { token } => self.on_leave_command(token, cx),
            Input::Cycle => self.on_cycle(cx),
            Input::Frame { from, frame } => self.on_frame(from, frame, cx),
            Input::LinkDown { peer } => self.on_link_down(peer, cx),
            Input::Unreached { peer } => self.on_unreached(peer, cx),
            Input::Asked { peer } => self.on_asked(&peer, cx),
            Input::Dead { peer } => self.on_dead(&peer, cx),
            Input::Strange { peer } => self.on_strange(peer, cx),
            Input::Apart { contact } => self.on_apart(&contact, cx),
        }
    }

    fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        if cx.now.mono < self.due {
            return;
        }
        self.on_probes_due(cx);
        self.on_waiting_due(cx);
        self.on_asked_due(cx);
        self.on_refill_due(cx);
        self.on_entry_due(cx);
        self.on_shuffle_due(cx);
        self.on_promotion_due(cx);
        self.on_lost_due(cx);
        self.due = self.next_deadline();
    }

    fn poll_timeout(&self) -> Option<Instant> {
        (self.due != Instant::NEVER).then_some(self.due)
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn check(&self) {
        assert!(self.active.len() <= self.config.active_size, "the active view is above its bound");
        for (i, neighbor) in self.active.iter().enumerate() {
            let id = neighbor.contact.id();
            assert!(id != self.me.id(), "the node is its own neighbour");
            assert!(!self.active[i + 1..].iter().any(|n| n.contact.id() == id), "a neighbour stands twice");
            assert!(!self.has_departed(&neighbor.contact), "a neighbour that has left");
        }
        assert!(self.waiting.len() <= WAITING_MAX, "more requests wait than WAITING_MAX");
        assert!(self.lost.len() <= self.config.lost_max, "more lost neighbours than lost_max");
        assert!(self.departed.len() <= self.config.departed_max, "more departed nodes than departed_max");
        assert!(self.phase != Phase::Left || self.active.is_empty(), "a node that left has neighbours");
        assert!(self.asked.len() <= self.asked_max(), "more requests are under way than asked_max");
        assert!(self.entry.is_going_on(), "a join waits for nothing");
        let has_place = self.phase == Phase::Member && !self.active.is_empty() && !self.is_full();
        let is_filling = self.refill.at != Instant::NEVER || !self.asked.is_empty();
        assert!(is_filling || !has_place || !self.config.refill, "free slots wait for nothing");
    }

    fn audit(&self) {
        self.check();
        assert!(self.due <= self.next_deadline(), "a deadline would be missed");
        self.passive.check(&self.me.id());
        let is_passive = |id: NodeId| self.passive.iter().any(|passive| passive.contact.id() == id);
        assert!(!self.active().any(is_passive), "a neighbour is passive as well");
    }
}

impl Membership {
    fn on_frame(&mut self, from: NodeId, frame: Frame, cx: &mut Cx<'_>) {
        match frame {
            Frame::Join(contact) => self.on_join(from, contact, cx),
            Frame::JoinReply { accepted, contacts } => self.on_join_reply(from, accepted, contacts, cx),
            Frame::ForwardJoin { contact, ttl } => self.on_forward_join(from, contact, ttl, cx),
            Frame::Neighbor { contact, priority } => self.on_neighbor(from, &contact, priority, cx),
            Frame::NeighborReply(answer) => self.on_neighbor_reply(from, answer, cx),
            Frame::Disconnect(_) => self.on_disconnect(from, cx),
            Frame::Leave(incarnation) => self.on_leave(from, incarnation, cx),
            Frame::Shuffle { origin, ttl, entries } => self.on_shuffle(from, origin, ttl, entries, cx),
            Frame::ShuffleReply { entries } => self.on_shuffle_reply(entries, cx),
            Frame::Probe { nonce } => self.on_probe(from, nonce, cx),
            Frame::ProbeAck { .. } => {} // heard() has noted it
            Frame::Gossip(_)
            | Frame::IHave(_)
            | Frame::Graft { .. }
            | Frame::Prune
            | Frame::SyncHello(_)
            | Frame::SyncVector(_)
            | Frame::SyncChunk(_)
            | Frame::SyncEnd(_)
            | Frame::Members(_)
            | Frame::RegistryHello(_)
            | Frame::RegistryRows(_)
            | Frame::RegistryPull(_)
            | Frame::RegistryUpdates { .. }
            | Frame::RegistryRelay(_)
            | Frame::Mail(_) => cx.stats.misplaced += 1,
        }
    }
}

#[cfg(test)]
mod tests;
