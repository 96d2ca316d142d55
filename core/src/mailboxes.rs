//! Mailboxes: messages, questions, monitors and ties between any two mailboxes of the cluster.
//!
//! An address names a mailbox of one life of a node. Links are made on demand; mail waits for them in a small queue.
//! - *At most once, in order.* Mail between two lives of nodes is numbered, in sessions. Its sender keeps it until the
//!   other end says how far it has heard, at most `mail_unheard_max` of it: a session outlives its links. When a link
//!   comes back, the sender asks how far it was heard and sends the rest again; what was heard is never sent twice. The
//!   number, not the connection, decides the order: mail that overtakes waits for what was sent before it.
//! - *Never to a later life.* Mail carries the lives of both ends; any other life refuses it and says so.
//! - *Never silence.* Whatever is accepted arrives or is told to be lost, once, while its sender lives. `Gone`: the
//!   mailbox refused it, or the life that it was for is over. `Unreachable`: its node cannot be reached, and it was not
//!   known to be heard: it may have arrived. Then the session ends, and the next mail begins another. A refusal is
//!   numbered too, and what it refuses is kept by its sender until the refusal is heard.
//! - *What was forgotten is not guessed.* A node that no longer knows what it heard of a session says so; then it ends.
//! - *Bundles.* Messages that are sent together are one mail: numbered, heard, refused and lost as one, and delivered one by one.
//! - *Orders arrive.* What must not get lost (who monitors whom, which mailbox has closed) is repeated until it is
//!   acknowledged, obeyed once and in order. So a monitor needs no standing link: the node that closes a mailbox
//!   reaches out to those who wait for it.
//! - *A lost link is looked into.* When nobody closed it and somebody here waits for the node, it is dialled again;
//!   only a dial that fails, or the end of the node's lease, is the end.

mod bonds;
mod bundle;
mod closing;
mod commands;
mod delivery;
mod mail;
mod peer;
mod receive;
mod timed;

use crate::config::{Canary, Config};
use crate::frame::Frame;
use crate::hash::{FixedState, Fold};
use crate::id::{Address, Incarnation, MailboxId, NodeId, Question, Token};
use crate::machine::{self, Command, CommandError, Cx, Machine, MailLoss, Reply};
use crate::time::Instant;
use alloc::boxed::Box;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::sync::Arc;
use bonds::{Monitors, Ties};
use bytes::Bytes;
use indexmap::{IndexMap, IndexSet};
use peer::{Order, Peer, Reach, Waiting};
use timed::Timed;

pub use bundle::{Bundle, Bundler};
pub use mail::{MAIL_HEADER_LEN_MAX, Mail, MailKind, OrderKind, Verdict};

/// What happens to mailboxes.
#[derive(Clone, Debug)]
pub enum Input {
    /// The user asks for something; answered by exactly one `Done`, within the step or later.
    Command {
        /// Given back with the answer.
        token: Token,
        /// What is asked.
        command: Command,
    },
    /// Mail arrived.
    Frame {
        /// From whom.
        from: NodeId,
        /// The mail.
        mail: Box<Mail>,
    },
    /// The link to a peer carries frames from now on.
    LinkUp {
        /// The peer.
        peer: NodeId,
        /// Which life of it.
        incarnation: Incarnation,
    },
    /// The link to a peer is gone.
    LinkDown {
        /// The peer.
        peer: NodeId,
        /// Whether nobody closed it: the peer may be gone too.
        is_lost: bool,
    },
    /// A node that was to be reached is being dialled.
    Reaching {
        /// The node.
        node: NodeId,
    },
    /// A node could not be reached, or nobody knows how.
    Unreached {
        /// The node.
        node: NodeId,
    },
    /// The user channel to a peer holds more than its high-water mark.
    LinkFull {
        /// The peer.
        peer: NodeId,
    },
    /// It has drained.
    LinkReady {
        /// The peer.
        peer: NodeId,
    },
    /// A life of a node is over: its lease ended, it left, or it has restarted.
    LifeGone {
        /// The node.
        node: NodeId,
        /// The life, and every earlier one.
        incarnation: Incarnation,
        /// What users are told: that it is gone, or that it is out of reach.
        reason: MailLoss,
    },
    /// This node comes back after it has left: its mailboxes are of another life from now on.
    NewLife {
        /// The life that begins.
        incarnation: Incarnation,
    },
    /// This node has left the cluster: nobody else can be reached any more.
    Left,
}

/// What mailboxes tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// For the user.
    User(machine::Event),
    /// A node must be linked; answered within the step by [`Input::Reaching`] or [`Input::Unreached`].
    Reach {
        /// The node.
        node: NodeId,
        /// The life that is looked for.
        incarnation: Incarnation,
    },
    /// A frame for a peer whose link is up.
    Frame {
        /// The peer.
        to: NodeId,
        /// The frame, for the user channel.
        frame: Frame,
    },
}

/// A link that is up.
#[derive(Clone, Copy, Debug)]
struct Link {
    life: Incarnation,
    is_full: bool,
}

/// A question of this node's.
#[derive(Clone, Copy, Debug)]
struct Call {
    token: Token,
    to: Address,
}

/// The mailboxes machine of one node.
#[derive(Clone, Debug)]
pub struct Mailboxes {
    config: Arc<Config>,
    me: NodeId,
    life: Incarnation,
    /// Mailboxes opened in this life: the name of the last one.
    opened: u64,
    /// Numbers given to sessions, orders and questions in this life.
    numbers: u64,
    open: IndexSet<MailboxId, FixedState>,
    links: IndexMap<NodeId, Link, FixedState>,
    peers: IndexMap<NodeId, Peer, FixedState>,
    calls: Timed<u64, Call>,
    /// Questions that wait here, each with the mailbox that was asked.
    questions: Timed<Question, MailboxId>,
    monitors: Monitors,
    ties: Ties,
    /// Who else is to be told when a mailbox closes.
    watchers: BTreeSet<(MailboxId, NodeId)>,
    /// Early mail of all peers.
    early: usize,
    /// Whether it was ever forgotten what a peer that may live was heard to say.
    has_forgotten: bool,
    /// Whether this node has left and not come back: nobody reaches it, whatever link is made to it.
    is_away: bool,
    /// No deadline of a peer is earlier.
    due: Instant,
    events: VecDeque<Event>,
}

impl Mailboxes {
    /// Starts without mailboxes, in one life of a node.
    pub fn new(config: Arc<Config>, me: NodeId, life: Incarnation) -> Self {
        Self {
            config,
            me,
            life,
            opened: 0,
            numbers: 0,
            open: IndexSet::default(),
            links: IndexMap::default(),
            peers: IndexMap::default(),
            calls: Timed::default(),
            questions: Timed::default(),
            monitors: Monitors::default(),
            ties: Ties::default(),
            watchers: BTreeSet::new(),
            early: 0,
            has_forgotten: false,
            is_away: false,
            due: Instant::NEVER,
            events: VecDeque::new(),
        }
    }

    /// Tells how one of this node's mailboxes is reached from anywhere.
    pub fn address(&self, mailbox: MailboxId) -> Address {
        Address { node: self.me, incarnation: self.life, mailbox }
    }

    /// Lists the mailboxes that are open.
    pub fn open(&self) -> impl Iterator<Item = MailboxId> {
        self.open.iter().copied()
    }

    /// Folds what matters of the state, with times relative to `now`.
    pub fn digest(&self, now: Instant, into: &mut Fold) {
        into.word(self.opened);
        into.word(self.numbers);
        into.word(self.open.len() as u64 | (self.links.len() as u64) << 32);
        into.word(self.calls.len() as u64 | (self.questions.len() as u64) << 32);
        into.word(self.monitors.len() as u64 | (self.ties.len() as u64) << 32);
        for (node, peer) in &self.peers {
            into.word(node.prefix());
            peer.digest(now, into);
        }
        for due in [self.calls.next_due(), self.questions.next_due()] {
            into.word(due.unwrap_or(Instant::NEVER).0.wrapping_sub(now.0));
        }
    }

    fn tell(&mut self, event: machine::Event) {
        self.events.push_back(Event::User(event));
    }

    fn done(&mut self, token: Token, result: Result<Reply, CommandError>) {
        self.tell(machine::Event::Done { token, result });
    }

    fn next_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// Judges whether mail for one life of a node may be handed to another.
    fn is_life(&self, meant: Incarnation, found: Incarnation) -> bool {
        meant == found || self.config.is_planted(Canary::LaterLife)
    }

    /// Finds a peer, or makes room for it: the longest unused of those with which nothing is open gives way.
    fn peer(&mut self, node: NodeId, now: Instant) -> Option<&mut Peer> {
        let max = self.config.mail_peers_max;
        if !self.peers.contains_key(&node) && self.peers.len() >= max {
            let idle = self.peers.iter().filter(|(_, peer)| peer.is_idle());
            let oldest = idle.min_by_key(|(_, peer)| peer.last_use).map(|(node, _)| *node)?;
            let forgotten = self.peers.swap_remove(&oldest);
            self.has_forgotten |= forgotten.is_some_and(|peer| peer.heard_session != 0);
        }
        let life = self.links.get(&node).map_or(Incarnation(0), |link| link.life);
        Some(self.peers.entry(node).or_insert_with(|| Peer::new(life, now)))
    }

    /// Asks for a link to a node, unless there is one or it was asked for.
    fn reach(&mut self, node: NodeId, incarnation: Incarnation) {
        if self.links.contains_key(&node) {
            return;
        }
        if let Some(peer) = self.peers.get_mut(&node)
            && peer.reach == Reach::No
        {
            peer.reach = Reach::Asked;
            self.events.push_back(Event::Reach { node, incarnation });
        }
    }

    /// Sends an order, or keeps it until it can be. It takes the place of what it takes back.
    fn order(&mut self, to: Address, what: OrderKind, ours: MailboxId, cx: &mut Cx<'_>) {
        let (node, life, theirs) = (to.node, to.incarnation, to.mailbox);
        let (number, max) = (self.next_number(), self.config.watches_peer_max);
        let is_linked = self.links.get(&node).is_some_and(|link| link.life == life && !link.is_full);
        let retry_at = cx.now.mono.plus_millis(self.config.mail_retry_ms);
        let Some(peer) = self.peers.get_mut(&node) else { return };
        if life < peer.life {
            return; // whoever it was for is gone
        }
        peer.orders.retain(|old| {
            let is_same = (old.life, old.ours, old.theirs) == (life, ours, theirs);
            !(is_same && family(old.what) == family(what))
        });
        if peer.load() >= max {
            cx.stats.monitors_refused += 1; // a monitor too many stays with the peer and tells what nobody wants
            return;
        }
        let after = peer.orders.back().map_or(0, |order| order.number);
        peer.orders.push_back(Order { number, what, ours, theirs, life });
        peer.retry_at = peer.retry_at.min(retry_at);
        self.due = self.due.min(peer.retry_at);
        // Nobody here waits for those: they go with the next attempt.
        let may_wait = matches!(what, OrderKind::Demonitor | OrderKind::Unlink | OrderKind::Down);
        let waits = may_wait && peer.retries > 0;
        if is_linked {
            let what = MailKind::Order { number, after, what, ours, theirs };
            self.transmit(to, what, Bytes::new(), None, cx);
        } else if !waits {
            self.reach(node, life);
        }
    }

    /// Sends every order again that nobody has acknowledged and that is not under way.
    fn repeat_orders(&mut self, node: NodeId, cx: &mut Cx<'_>) {
        let (first, max) = (self.config.mail_retry_ms, self.config.mail_retry_ms_max);
        let is_linked = self.links.contains_key(&node);
        let Some(peer) = self.peers.get_mut(&node) else { return };
        let Some(life) = peer.orders.front().map(|order| order.life) else { return };
        let delay_ms = first.saturating_mul(1 << peer.retries.min(20)).min(max);
        peer.retries = peer.retries.saturating_add(1);
        peer.retry_at = cx.now.mono.plus_millis(delay_ms);
        self.due = self.due.min(peer.retry_at);
        if !is_linked {
            return self.reach(node, life);
        }
        let mut after = 0;
        for at in 0..peer.orders.len() {
            let order = self.peers.get(&node).and_then(|peer| peer.orders.get(at)).copied();
            let Some(Order { number, what, ours, theirs, life }) = order else { return };
            if !self.peers.get(&node).is_some_and(|peer| peer.has_under_way(number)) {
                cx.stats.orders_repeated += 1;
                let to = Address { node, incarnation: life, mailbox: theirs };
                let what = MailKind::Order { number, after, what, ours, theirs };
                self.transmit(to, what, Bytes::new(), None, cx);
            }
            after = number;
        }
    }

    fn on_link_up(&mut self, node: NodeId, life: Incarnation, cx: &mut Cx<'_>) {
        self.links.insert(node, Link { life, is_full: false });
        if !self.peers.contains_key(&node) && !self.awaits(node) {
            return;
        }
        self.note_life(node, life, cx);
        self.end_for(node, |meant| meant > life, MailLoss::Unreachable, cx);
        let keeps = self.config.is_planted(Canary::Redeliver);
        let Some(peer) = self.peers.get_mut(&node) else { return };
        peer.reach = Reach::No;
        let was_lost = core::mem::take(&mut peer.was_lost);
        peer.asks = 0;
        self.resume(node, cx);
        let Some(peer) = self.peers.get_mut(&node) else { return };
        let mut waiting = core::mem::take(&mut peer.waiting);
        if keeps {
            peer.waiting.clone_from(&waiting);
            peer.waiting.iter_mut().for_each(|item| item.is_told = true);
        }
        for item in waiting.drain(..) {
            self.send_waiting(item, cx);
        }
        if let Some(peer) = self.peers.get_mut(&node) {
            if peer.waiting.is_empty() {
                peer.waiting = waiting; // its memory
            }
            peer.retries = 0;
        }
        self.repeat_orders(node, cx);
        if was_lost {
            self.renew_bonds(node, life, cx);
        }
    }

    fn send_waiting(&mut self, item: Waiting, cx: &mut Cx<'_>) {
        let Waiting { to, what, payload, token, is_told } = item;
        if let MailKind::Ask { number, .. } = what
            && !self.calls.contains(&number)
        {
            return; // nobody waits for the answer any more
        }
        if let Some(token) = token.filter(|_| !is_told) {
            self.done(token, Ok(Reply::Ok));
        }
        self.transmit(to, what, payload, token, cx);
    }

    fn on_link_down(&mut self, node: NodeId, is_lost: bool, cx: &mut Cx<'_>) {
        let Some(link) = self.links.swap_remove(&node) else { return };
        let mut is_unheard = false;
        if let Some(peer) = self.peers.get_mut(&node) {
            // It asks how far it was heard, as does this node.
            (peer.tell_at, peer.ask_at) = (Instant::NEVER, Instant::NEVER);
            is_unheard = !peer.outbox.is_empty();
        }
        let is_awaited = is_lost && self.awaits(node);
        if is_awaited && let Some(peer) = self.peer(node, cx.now.mono) {
            peer.was_lost = true;
        }
        if is_awaited || is_unheard {
            self.reach(node, link.life);
        }
    }

    /// Tells whether anybody here waits for a node.
    fn awaits(&self, node: NodeId) -> bool {
        self.monitors.has_node(node)
            || self.ties.with_node(node).next().is_some()
            || self.peers.get(&node).is_some_and(|peer| !peer.orders.is_empty())
            || self.calls.iter().any(|(.., call)| call.to.node == node)
    }

    fn on_reaching(&mut self, node: NodeId) {
        let Some(peer) = self.peers.get_mut(&node).filter(|peer| peer.reach == Reach::Asked) else { return };
        peer.reach = Reach::Dialing;
        for item in peer.waiting.iter_mut().filter(|item| !item.is_told) {
            item.is_told = true;
            let Some(token) = item.token else { continue };
            self.events.push_back(Event::User(machine::Event::Done { token, result: Ok(Reply::Ok) }));
        }
    }

    fn on_unreached(&mut self, node: NodeId, cx: &mut Cx<'_>) {
        let (first, max) = (self.config.mail_retry_ms, self.config.mail_retry_ms_max);
        let Some(peer) = self.peers.get_mut(&node).filter(|peer| peer.reach != Reach::No) else { return };
        peer.reach = Reach::No;
        peer.retries = peer.retries.saturating_add(1);
        if peer.life.0 == 0 {
            peer.orders.clear(); // it has never heard of any
        }
        let delay_ms = first.saturating_mul(1 << peer.retries.min(20)).min(max);
        let is_empty = peer.orders.is_empty();
        peer.retry_at = if is_empty { Instant::NEVER } else { cx.now.mono.plus_millis(delay_ms) };
        self.due = self.due.min(peer.retry_at);
        self.end_for(node, |_| true, MailLoss::Unreachable, cx);
    }

    fn on_pressure(&mut self, node: NodeId, is_full: bool) {
        if let Some(link) = self.links.get_mut(&node) {
            link.is_full = is_full;
        }
    }

    /// A gap in a peer's mail stays: what came behind it is sent again.
    fn drop_early(&mut self, node: NodeId, cx: &mut Cx<'_>) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        cx.stats.mail_gaps += 1;
        self.early -= peer.early.len();
        peer.early.clear();
        peer.skip_at = Instant::NEVER;
    }

    fn fire_peers(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now.mono;
        for at in 0..self.peers.len() {
            let Some((&node, peer)) = self.peers.get_index(at) else { break };
            let (drops, repeats) = (peer.skip_at <= now, peer.retry_at <= now);
            let (tells, asks) = (peer.tell_at <= now, peer.ask_at <= now);
            if drops {
                self.drop_early(node, cx);
            }
            if tells {
                self.tell_heard(node);
            }
            if asks {
                self.resume(node, cx);
            }
            if repeats {
                self.repeat_orders(node, cx);
            }
        }
        self.due = self.peers.values().map(Peer::due).min().unwrap_or(Instant::NEVER);
    }
}

/// Orders that take each other back.
fn family(what: OrderKind) -> u8 {
    match what {
        OrderKind::Monitor | OrderKind::Demonitor => 0,
        OrderKind::Link | OrderKind::Unlink => 1,
        OrderKind::Down => 2,
    }
}

impl Machine for Mailboxes {
    type Input = Input;
    type Event = Event;

    fn handle(&mut self, input: Input, cx: &mut Cx<'_>) {
        match input {
            Input::Command { token, command } => match self.on_command(token, command, cx) {
                Ok(None) => {}
                Ok(Some(reply)) => self.done(token, Ok(reply)),
                Err(error) => self.done(token, Err(error)),
            },
            Input::Frame { from, mail } => self.on_mail(from, mail, cx),
            Input::LinkUp { peer, incarnation } => self.on_link_up(peer, incarnation, cx),
            Input::LinkDown { peer, is_lost } => self.on_link_down(peer, is_lost, cx),
            Input::Reaching { node } => self.on_reaching(node),
            Input::Unreached { node } => self.on_unreached(node, cx),
            Input::LinkFull { peer } => self.on_pressure(peer, true),
            Input::LinkReady { peer } => self.on_pressure(peer, false),
            Input::LifeGone { node, incarnation, reason } => self.on_life_gone(node, incarnation, reason, cx),
            Input::NewLife { incarnation } => self.on_new_life(incarnation, cx),
            Input::Left => self.on_left(cx),
        }
    }

    fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now.mono;
        while let Some((number, call)) = self.calls.pop_due(now) {
            cx.stats.calls_expired += 1;
            self.done(call.token, Err(CommandError::Timeout));
            if self.config.is_planted(Canary::LateAnswer) {
                let later = now.plus_millis(self.config.call_ms_max);
                self.calls.insert(number, later, call);
            }
        }
        while let Some((question, _)) = self.questions.pop_due(now) {
            cx.stats.questions_expired += 1;
            self.count_question_out(&question);
        }
        if self.due <= now {
            self.fire_peers(cx);
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let due = (self.due != Instant::NEVER).then_some(self.due);
        [due, self.calls.next_due(), self.questions.next_due()].into_iter().flatten().min()
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn check(&self) {
        let config = &self.config;
        assert!(self.open.len() <= config.mailboxes_max, "more mailboxes than mailboxes_max");
        assert!(self.peers.len() <= config.mail_peers_max, "more peers than mail_peers_max");
        assert!(self.calls.len() <= config.calls_max, "more calls than calls_max");
        assert!(self.questions.len() <= config.questions_max, "more questions than questions_max");
        assert!(self.monitors.len() <= config.monitors_max, "more monitors than monitors_max");
        assert!(self.early <= config.mail_early_max, "more early mail than mail_early_max");
        assert!(self.links.len() <= config.links_max, "more links than links_max");
    }

    fn audit(&self) {
        self.check();
        self.calls.audit();
        self.questions.audit();
        self.monitors.audit();
        self.ties.audit();
        self.audit_peers();
        self.audit_bonds();
    }
}

impl Mailboxes {
    fn audit_peers(&self) {
        let config = &self.config;
        for (node, peer) in &self.peers {
            assert!(*node != self.me, "mail with oneself over a link");
            assert!(peer.waiting.len() <= config.link_queue_max, "more mail waits than link_queue_max");
            assert!(peer.load() <= config.watches_peer_max, "more to tell a peer than watches_peer_max");
            assert!(peer.questions <= config.questions_peer_max, "more questions than questions_peer_max");
            assert!(peer.retry_at != Instant::NEVER || peer.orders.is_empty(), "an order is never repeated");
            assert!(peer.skip_at != Instant::NEVER || peer.early.is_empty(), "early mail waits for ever");
            let own_max = config.mail_unheard_max + config.link_queue_max + config.watches_peer_max;
            let refusals_max = config.mail_unheard_max + config.mail_early_max + config.questions_peer_max;
            let unheard_max = own_max + refusals_max;
            assert!(peer.outbox.len() <= unheard_max, "more mail is not heard than mail_unheard_max");
            let is_asked = peer.ask_at != Instant::NEVER || peer.reach != Reach::No;
            assert!(peer.outbox.is_empty() || is_asked, "mail that was not heard is forgotten");
            assert!(peer.told <= peer.heard, "more was told to be heard than was");
            assert!(self.due <= peer.due(), "a deadline of a peer would be missed");
            assert!(peer.early.windows(2).all(|two| two[0].seq < two[1].seq), "early mail is out of order");
            assert!(peer.early.iter().all(|mail| mail.seq > peer.heard), "early mail has had its turn");
            let is_up = self.links.contains_key(node);
            assert!(!is_up || peer.reach == Reach::No, "a link is looked for that is there");
            let kept = config.is_planted(Canary::Redeliver);
            assert!(peer.waiting.is_empty() || peer.reach != Reach::No || kept, "mail waits for nothing");
            let asked = self.questions.iter().filter(|(question, ..)| question.from.node == *node);
            assert_eq!(asked.count(), peer.questions, "questions of a peer are miscounted");
            assert_eq!(self.ties.with_node(*node).count(), peer.ties, "ties of a peer are miscounted");
        }
        let early: usize = self.peers.values().map(|peer| peer.early.len()).sum();
        assert_eq!(early, self.early, "early mail is miscounted");
    }

    fn audit_bonds(&self) {
        for monitor in self.monitors.iter() {
            assert!(self.open.contains(&monitor.watcher), "a closed mailbox monitors");
        }
        for (mailbox, with) in self.ties.iter() {
            assert!(self.open.contains(&mailbox), "a closed mailbox is tied");
            let has_peer = with.node == self.me || self.peers.contains_key(&with.node);
            assert!(has_peer, "a tie to a node that nobody knows");
        }
        let watching = self.peers.values().map(|peer| peer.watching.len()).sum();
        assert_eq!(self.watchers.len(), watching, "watchers are miscounted");
        for (mailbox, node) in &self.watchers {
            assert!(self.open.contains(mailbox), "a closed mailbox is watched");
            let peer = self.peers.get(node).expect("a watcher is a peer");
            assert!(peer.watching.binary_search(mailbox).is_ok(), "a watcher does not watch");
        }
        for (.., mailbox) in self.questions.iter() {
            assert!(self.open.contains(mailbox), "a closed mailbox has questions");
        }
    }
}

#[cfg(test)]
mod tests;
