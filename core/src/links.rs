//! Links: who is connected to whom, so that the machines above can say "reach this node" and no more.
//!
//! Dials, backs off, settles crossing dials, judges versions and incarnations, closes what nobody uses. A link is
//! everything between two nodes: at most one connection from each end. When both ends dialled, frames travel on the
//! connection that the smaller id dialled; the end that dialled the other one closes it after a linger, so that what
//! was under way on it still arrives.

use crate::config::Config;
use crate::frame::{Channel, Frame};
use crate::hash::{FixedState, Fold};
use crate::id::{Contact, Incarnation, NodeId};
use crate::machine::{CloseReason, Cx, Dialer, DownReason, Effect, Machine};
use crate::rng::Purpose;
use crate::time::Instant;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use indexmap::IndexMap;

/// The oldest protocol version that this build speaks.
pub const VERSION_MIN: u16 = 1;
/// The newest protocol version that this build speaks.
pub const VERSION: u16 = 1;

/// What happens to links.
#[derive(Clone, Debug)]
pub enum Input {
    /// A frame must get to a node: over its link, or over one that is dialled first.
    Reach {
        /// The node.
        contact: Contact,
        /// On which channel.
        channel: Channel,
        /// The frame.
        frame: Frame,
    },
    /// A frame for the link to a peer if it is up; otherwise it is dropped and counted.
    Send {
        /// The peer.
        peer: NodeId,
        /// On which channel.
        channel: Channel,
        /// The frame.
        frame: Frame,
    },
    /// The link stays open until it is released.
    Hold {
        /// The peer.
        peer: NodeId,
    },
    /// The link may be closed once it is idle.
    Release {
        /// The peer.
        peer: NodeId,
    },
    /// Somebody has reason to believe that a node is there, whatever became of earlier dials: the next one waits for nothing.
    Forgive {
        /// The node.
        peer: NodeId,
    },
    /// The link, or a dial, ends now.
    Close {
        /// The peer.
        peer: NodeId,
        /// Why.
        reason: CloseReason,
    },
    /// Every link and every dial ends now.
    CloseAll(CloseReason),
    /// A connection is ready.
    Up {
        /// Who is at the other end.
        peer: NodeId,
        /// Which life of it.
        incarnation: Incarnation,
        /// The negotiated version.
        version: u16,
        /// Who dialled.
        dialer: Dialer,
    },
    /// A connection ended, or a dial failed.
    Down {
        /// Who was at the other end.
        peer: NodeId,
        /// Who dialled.
        dialer: Dialer,
        /// Why.
        reason: DownReason,
    },
    /// The peer sent bytes that do not decode.
    Malformed {
        /// The peer.
        from: NodeId,
    },
}

/// What links tell the machines above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The link to a peer is gone, with everything that was under way.
    Down {
        /// The peer.
        peer: NodeId,
        /// Whether nobody closed it: the peer may be gone too.
        is_lost: bool,
    },
    /// The link to a peer carries frames from now on. Told only where mailboxes run.
    Up {
        /// The peer.
        peer: NodeId,
        /// Which life of it.
        incarnation: Incarnation,
    },
    /// This node has closed the link to a peer. Told only where mailboxes run: who asked for it knows.
    Closed {
        /// The peer.
        peer: NodeId,
        /// Whether the peer did not answer: it may be gone.
        is_lost: bool,
    },
    /// A node could not be reached; the frames that waited for it are gone.
    Unreached {
        /// The node.
        peer: NodeId,
    },
}

/// What is known of one peer's link.
#[derive(Clone, Debug)]
struct Link {
    incarnation: Incarnation,
    /// Whether the connection that each end dialled is up, by [`Dialer`].
    up: [bool; 2],
    /// Whether a dial of ours is under way.
    is_dialing: bool,
    is_held: bool,
    /// Failed dials in a row.
    failures: u32,
    malformed: u32,
    last_use: Instant,
    /// No dial before: the last one failed.
    retry_at: Instant,
    /// When something is due: the end of a linger or of idleness, or the time to forget failures.
    deadline: Instant,
    /// Frames that wait for the dial.
    queue: Vec<(Channel, Frame)>,
}

impl Link {
    fn is_up(&self) -> bool {
        self.up[0] || self.up[1]
    }

    fn is_crossed(&self) -> bool {
        self.up[0] && self.up[1]
    }

    fn dial(&mut self, contact: &Contact, cx: &mut Cx<'_>) {
        (self.is_dialing, self.last_use, self.deadline) = (true, cx.now.mono, Instant::NEVER);
        cx.stats.dials += 1;
        cx.effects.push(Effect::Dial { contact: contact.clone() });
    }
}

/// The links of one node.
#[derive(Clone, Debug)]
pub struct Links {
    config: Arc<Config>,
    me: NodeId,
    table: IndexMap<NodeId, Link, FixedState>,
    /// No deadline of the table is earlier.
    due: Instant,
    events: VecDeque<Event>,
}

impl Links {
    /// Starts without links.
    pub fn new(config: Arc<Config>, me: NodeId) -> Self {
        Self { config, me, table: IndexMap::default(), due: Instant::NEVER, events: VecDeque::new() }
    }

    /// Tells whether frames to a peer would be carried now.
    pub fn is_up(&self, peer: &NodeId) -> bool {
        self.table.get(peer).is_some_and(Link::is_up)
    }

    /// Lists the peers whose link is up.
    pub fn connected(&self) -> impl Iterator<Item = NodeId> {
        self.table.iter().filter(|(_, link)| link.is_up()).map(|(peer, _)| *peer)
    }

    /// Makes sure that there is a link to a node, or that it is dialled; tells whether there is hope.
    pub fn connect(&mut self, contact: &Contact, cx: &mut Cx<'_>) -> bool {
        let peer = contact.id();
        if peer == self.me || (!self.table.contains_key(&peer) && !self.make_room(cx)) {
            return false;
        }
        let now = cx.now.mono;
        let link = self.entry(peer, now);
        if link.is_up() || link.is_dialing {
            return true;
        }
        let may_dial = now >= link.retry_at;
        if may_dial {
            link.dial(contact, cx);
        }
        may_dial
    }

    /// Notes that a peer that is no neighbour was heard: its link is not idle.
    pub fn heard(&mut self, peer: &NodeId, now: Instant) {
        if let Some(link) = self.table.get_mut(peer) {
            link.last_use = now;
        }
    }

    /// Folds what matters of the state, with times relative to `now`.
    pub fn digest(&self, now: Instant, into: &mut Fold) {
        into.word(self.table.len() as u64);
        for (peer, link) in &self.table {
            into.word(peer.prefix());
            let flags = u64::from(link.up[0])
                | u64::from(link.up[1]) << 1
                | u64::from(link.is_dialing) << 2
                | u64::from(link.is_held) << 3;
            into.word(flags | u64::from(link.failures) << 8 | (link.queue.len() as u64) << 40);
            into.word(link.deadline.0.wrapping_sub(now.0));
        }
    }

    fn entry(&mut self, peer: NodeId, now: Instant) -> &mut Link {
        self.table.entry(peer).or_insert_with(|| Link {
            incarnation: Incarnation(0),
            up: [false; 2],
            is_dialing: false,
            is_held: false,
            failures: 0,
            malformed: 0,
            last_use: now,
            retry_at: Instant::default(),
            deadline: Instant::NEVER,
            queue: Vec::new(),
        })
    }

    fn set_deadline(&mut self, peer: &NodeId, deadline: Instant) {
        if let Some(link) = self.table.get_mut(peer) {
            link.deadline = deadline;
            self.due = self.due.min(deadline);
        }
    }

    fn on_reach(&mut self, contact: &Contact, channel: Channel, frame: Frame, cx: &mut Cx<'_>) {
        let peer = contact.id();
        if peer == self.me {
            return;
        }
        if !self.table.contains_key(&peer) && !self.make_room(cx) {
            cx.stats.undeliverable += 1;
            self.events.push_back(Event::Unreached { peer });
            return;
        }
        let (now, queue_max) = (cx.now.mono, self.config.link_queue_max);
        let link = self.entry(peer, now);
        if link.is_up() {
            link.last_use = now;
            cx.send(peer, channel, frame);
        } else if link.is_dialing {
            if link.queue.len() < queue_max {
                link.queue.push((channel, frame));
            } else {
                cx.stats.undeliverable += 1;
            }
        } else if now < link.retry_at {
            cx.stats.undeliverable += 1;
            self.events.push_back(Event::Unreached { peer });
        } else {
            link.queue.push((channel, frame));
            link.dial(contact, cx);
        }
    }

    /// Makes room for one more link, if need be by closing the longest unused of those that nobody holds.
    fn make_room(&mut self, cx: &mut Cx<'_>) -> bool {
        if self.table.len() < self.config.links_max {
            return true;
        }
        let free = |link: &&Link| !link.is_held && !link.is_dialing;
        let oldest = self.table.iter().filter(|(_, link)| free(link)).min_by_key(|(_, link)| link.last_use);
        let Some((&peer, link)) = oldest else { return false };
        if link.is_up() {
            cx.effects.push(Effect::Close { peer, dialer: None, reason: CloseReason::TooMany });
            self.events.push_back(Event::Down { peer, is_lost: false });
        }
        self.table.swap_remove(&peer);
        true
    }

    fn on_up(
        &mut self,
        peer: NodeId,
        incarnation: Incarnation,
        version: u16,
        dialer: Dialer,
        cx: &mut Cx<'_>,
    ) {
        let close = |reason| Effect::Close { peer, dialer: Some(dialer), reason };
        if !(VERSION_MIN..=VERSION).contains(&version) {
            cx.effects.push(close(CloseReason::Version));
            return self.on_down(peer, dialer, DownReason::Closed, cx);
        }
        if peer == self.me {
            return cx.effects.push(close(CloseReason::Stale)); // its own id: a copy of this node's keys
        }
        let known = self.table.get(&peer);
        if known.is_none() && !self.make_room(cx) {
            cx.stats.links_refused += 1;
            cx.effects.push(close(CloseReason::TooMany));
            return;
        }
        let was_up = self.table.get(&peer).filter(|link| link.is_up()).map(|link| link.incarnation);
        if was_up.is_some_and(|old| old > incarnation) {
            cx.effects.push(close(CloseReason::Stale));
            return self.on_down(peer, dialer, DownReason::Closed, cx);
        }
        if was_up.is_some_and(|old| old < incarnation) {
            self.end_older_life(peer, dialer, cx);
        }
        self.bring_up(peer, incarnation, dialer, cx);
    }

    /// The peer has restarted: whatever is still open to its older life carries nothing any more.
    fn end_older_life(&mut self, peer: NodeId, newer: Dialer, cx: &mut Cx<'_>) {
        let other = if newer == Dialer::Local { Dialer::Remote } else { Dialer::Local };
        if let Some(link) = self.table.get_mut(&peer) {
            if link.up[other as usize] {
                cx.effects.push(Effect::Close { peer, dialer: Some(other), reason: CloseReason::Stale });
            }
            link.up = [false; 2];
            link.is_held = false;
            link.malformed = 0;
        }
        self.events.push_back(Event::Down { peer, is_lost: false }); // the newer life stands at the door
    }

    fn bring_up(&mut self, peer: NodeId, incarnation: Incarnation, dialer: Dialer, cx: &mut Cx<'_>) {
        let now = cx.now.mono;
        let (linger_ms, idle_ms) = (self.config.crossing_linger_ms, self.config.link_idle_ms);
        let tells_use = self.config.mailboxes;
        let link = self.entry(peer, now);
        let is_news = !link.is_up();
        link.incarnation = incarnation;
        link.up[dialer as usize] = true;
        if dialer == Dialer::Local {
            link.is_dialing = false;
        }
        (link.failures, link.last_use) = (0, now);
        for (channel, frame) in core::mem::take(&mut link.queue) {
            cx.effects.push(Effect::Send { to: peer, channel, frame });
        }
        let delay_ms = if link.is_crossed() { linger_ms } else { idle_ms };
        if tells_use && is_news {
            self.events.push_back(Event::Up { peer, incarnation });
        }
        self.set_deadline(&peer, now.plus_millis(delay_ms));
    }

    fn on_down(&mut self, peer: NodeId, dialer: Dialer, reason: DownReason, cx: &mut Cx<'_>) {
        let Some(link) = self.table.get_mut(&peer) else { return };
        let was_up = link.up[dialer as usize];
        link.up[dialer as usize] = false;
        let dial_failed = !was_up && dialer == Dialer::Local && link.is_dialing;
        if dial_failed {
            link.is_dialing = false;
            cx.stats.dials_failed += 1;
        }
        if link.is_up() {
            if !link.is_held {
                // While it was dialled for it had no deadline of its own.
                let idle_at = link.last_use.plus_millis(self.config.link_idle_ms);
                let deadline = link.deadline.min(idle_at);
                self.set_deadline(&peer, deadline);
            }
            return;
        }
        if link.is_dialing && !was_up {
            return;
        }
        if was_up {
            let is_lost = reason != DownReason::Closed;
            self.events.push_back(Event::Down { peer, is_lost });
            if link.is_dialing {
                link.is_held = false; // our own dial may still succeed; what it carries waits in the queue
            } else {
                self.table.swap_remove(&peer);
            }
        } else if dial_failed {
            self.back_off(peer, cx);
        }
    }

    fn back_off(&mut self, peer: NodeId, cx: &mut Cx<'_>) {
        let (first, max) = (self.config.dial_backoff_ms, self.config.dial_backoff_ms_max);
        let Some(link) = self.table.get_mut(&peer) else { return };
        cx.stats.undeliverable += link.queue.len() as u64;
        link.queue = Vec::new();
        let delay_ms = first.saturating_mul(1 << link.failures.min(20)).min(max);
        link.failures = link.failures.saturating_add(1);
        link.retry_at = cx.now.mono.plus_millis(cx.rng.draw(Purpose::Backoff).jitter(delay_ms, 25));
        // The count of failures is kept for as long as the delay may grow.
        self.set_deadline(&peer, cx.now.mono.plus_millis(max.saturating_mul(2)));
        self.events.push_back(Event::Unreached { peer });
    }

    /// A link that has ended meanwhile cannot be held, and whoever wants to hold it has not heard of its end.
    fn on_hold(&mut self, peer: NodeId) {
        match self.table.get_mut(&peer).filter(|link| link.is_up()) {
            Some(link) => link.is_held = true,
            None => self.events.push_back(Event::Down { peer, is_lost: false }),
        }
    }

    fn on_release(&mut self, peer: NodeId, cx: &mut Cx<'_>) {
        let now = cx.now.mono;
        let Some(link) = self.table.get_mut(&peer).filter(|link| link.is_up()) else { return };
        (link.is_held, link.last_use) = (false, now);
        if !link.is_crossed() {
            self.set_deadline(&peer, now.plus_millis(self.config.link_idle_ms));
        }
    }

    fn on_forgive(&mut self, peer: &NodeId) {
        if let Some(link) = self.table.get_mut(peer) {
            (link.failures, link.retry_at) = (0, Instant::default());
        }
    }

    fn on_close(&mut self, peer: NodeId, reason: CloseReason, cx: &mut Cx<'_>) {
        if let Some(link) = self.table.swap_remove(&peer)
            && (link.is_up() || link.is_dialing)
        {
            cx.effects.push(Effect::Close { peer, dialer: None, reason });
            self.tell_closed(peer, reason == CloseReason::Silent);
        }
    }

    fn tell_closed(&mut self, peer: NodeId, is_lost: bool) {
        if self.config.mailboxes {
            self.events.push_back(Event::Closed { peer, is_lost });
        }
    }

    fn on_malformed(&mut self, from: NodeId, cx: &mut Cx<'_>) {
        cx.stats.malformed += 1;
        let malformed_max = self.config.malformed_max;
        let Some(link) = self.table.get_mut(&from) else { return };
        link.malformed += 1;
        if link.malformed > malformed_max && link.is_up() {
            self.on_close(from, CloseReason::Malformed, cx);
            self.events.push_back(Event::Down { peer: from, is_lost: false });
        }
    }

    /// Does what is due on one link and tells when something is due on it again; `None` forgets the link.
    fn on_due(&self, peer: NodeId, link: &mut Link, cx: &mut Cx<'_>) -> Option<Instant> {
        let now = cx.now.mono;
        if link.is_crossed() {
            return Some(self.on_crossed(peer, link, cx));
        }
        if link.is_dialing || link.is_held {
            return Some(Instant::NEVER);
        }
        if !link.is_up() {
            return None; // it failed long ago
        }
        let idle_at = link.last_use.plus_millis(self.config.link_idle_ms);
        if now < idle_at {
            return Some(idle_at);
        }
        cx.stats.links_idle += 1;
        cx.effects.push(Effect::Close { peer, dialer: None, reason: CloseReason::Idle });
        None
    }

    /// Both ends dialled, and the linger is over: the end with the larger id closes the one that it dialled.
    fn on_crossed(&self, peer: NodeId, link: &mut Link, cx: &mut Cx<'_>) -> Instant {
        if self.me > peer {
            cx.stats.links_crossed += 1;
            link.up[Dialer::Local as usize] = false;
            let (dialer, reason) = (Some(Dialer::Local), CloseReason::Crossed);
            cx.effects.push(Effect::Close { peer, dialer, reason });
        }
        cx.now.mono.plus_millis(self.config.link_idle_ms)
    }
}

impl Machine for Links {
    type Input = Input;
    type Event = Event;

    fn handle(&mut self, input: Input, cx: &mut Cx<'_>) {
        match input {
            Input::Reach { contact, channel, frame } => self.on_reach(&contact, channel, frame, cx),
            Input::Send { peer, channel, frame } => {
                match self.table.get_mut(&peer).filter(|link| link.is_up()) {
                    Some(link) => {
                        link.last_use = cx.now.mono;
                        cx.send(peer, channel, frame);
                    }
                    None => cx.stats.undeliverable += 1,
                }
            }
            Input::Hold { peer } => self.on_hold(peer),
            Input::Release { peer } => self.on_release(peer, cx),
            Input::Forgive { peer } => self.on_forgive(&peer),
            Input::Close { peer, reason } => self.on_close(peer, reason, cx),
            Input::CloseAll(reason) => {
                while let Some((&peer, _)) = self.table.first() {
                    self.on_close(peer, reason, cx);
                }
            }
            Input::Up { peer, incarnation, version, dialer } => {
                self.on_up(peer, incarnation, version, dialer, cx);
            }
            Input::Down { peer, dialer, reason } => self.on_down(peer, dialer, reason, cx),
            Input::Malformed { from } => self.on_malformed(from, cx),
        }
    }

    fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now.mono;
        if now < self.due {
            return;
        }
        self.due = Instant::NEVER;
        let mut table = core::mem::take(&mut self.table);
        table.retain(|peer, link| {
            if link.deadline <= now {
                match self.on_due(*peer, link, cx) {
                    Some(deadline) => link.deadline = deadline,
                    None => {
                        if link.is_up() {
                            self.tell_closed(*peer, false);
                        }
                        return false;
                    }
                }
            }
            self.due = self.due.min(link.deadline);
            true
        });
        self.table = table;
    }

    fn poll_timeout(&self) -> Option<Instant> {
        (self.due != Instant::NEVER).then_some(self.due)
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn check(&self) {
        assert!(self.table.len() <= self.config.links_max, "more links than links_max");
    }

    fn audit(&self) {
        self.check();
        for (peer, link) in &self.table {
            assert!(*peer != self.me, "a link to oneself");
            assert!(link.queue.len() <= self.config.link_queue_max, "more frames wait than link_queue_max");
            assert!(link.queue.is_empty() || link.is_dialing, "frames wait for nothing");
            assert!(self.due <= link.deadline, "a deadline would be missed");
            assert!(link.is_up() || !link.is_held, "a link that is down is held");
            let ends = link.is_held || link.is_dialing || link.deadline != Instant::NEVER;
            assert!(ends, "a link that nobody holds stays for ever");
        }
    }
}

#[cfg(test)]
mod tests;
