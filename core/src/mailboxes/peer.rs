//! One other node as mailboxes know it: what waits for it, what was sent to it, what came from it.

use super::mail::{Mail, MailKind, OrderKind};
use crate::hash::Fold;
use crate::id::{Address, Incarnation, MailboxId, Token};
use crate::time::Instant;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use bytes::Bytes;

/// Whether a link to the node was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Not asked for, or there.
    No,
    /// Asked for; whether there is hope is told within this step.
    Asked,
    /// It is dialled.
    Dialing,
}

/// Mail that waits for a link.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    /// To which mailbox.
    pub(super) to: Address,
    pub(super) what: MailKind,
    pub(super) payload: Bytes,
    /// The command to answer, and to tell a loss by; none for questions, whose calls know theirs.
    pub(super) token: Option<Token>,
    /// Whether the command was told that it is accepted.
    pub(super) is_told: bool,
}

/// Mail that was numbered, until it is known to be heard.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) seq: u64,
    /// To which mailbox.
    pub(super) to: Address,
    pub(super) what: MailKind,
    pub(super) payload: Bytes,
    /// The command to tell a loss by; none for what no command waits for.
    pub(super) token: Option<Token>,
    /// The number of the peer's mail that it refuses; zero for none, or once the peer has heard it.
    pub(super) refuses: u64,
}

/// Something that must arrive, until it is acknowledged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    pub(super) number: u64,
    pub(super) what: OrderKind,
    pub(super) ours: MailboxId,
    pub(super) theirs: MailboxId,
    /// For which life of the node.
    pub(super) life: Incarnation,
}

/// One other node.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// The life that mail is exchanged with; zero until it has shown itself.
    pub(super) life: Incarnation,
    pub(super) reach: Reach,
    pub(super) last_use: Instant,
    /// Whether the link was lost since it was last up: what was under way may not have arrived.
    pub(super) was_lost: bool,
    /// The current run of mail to it; zero when the next mail begins one.
    pub(super) session: u64,
    /// Mail numbered in that session.
    pub(super) sent: u64,
    /// How far it has told that it heard and will not refuse.
    pub(super) acked: u64,
    /// What is behind that, in order.
    pub(super) outbox: VecDeque<Sent>,
    /// Whether that is held back until it has told how far it heard.
    pub(super) is_held: bool,
    /// When it is asked how far it heard; never without anything to hear, or without a link.
    pub(super) ask_at: Instant,
    /// How often it was asked in a row.
    pub(super) asks: u32,
    pub(super) waiting: VecDeque<Waiting>,
    pub(super) orders: VecDeque<Order>,
    /// When orders are sent again; never without any.
    pub(super) retry_at: Instant,
    pub(super) retries: u32,
    /// The run of mail from it that is heard.
    pub(super) heard_session: u64,
    /// How far it was taken in.
    pub(super) heard: u64,
    /// How far it was told that it may forget what it sent.
    pub(super) told: u64,
    /// When that is told again; never when nothing is new.
    pub(super) tell_at: Instant,
    /// Whether this node no longer knows all that it heard in the session, or may have refused: it tells nothing of it.
    pub(super) is_torn: bool,
    /// What came before its turn, by its number.
    pub(super) early: Vec<Mail>,
    /// When early mail waits no longer for what is missing; never without any.
    pub(super) skip_at: Instant,
    /// The last order of it that was obeyed.
    pub(super) obeyed: u64,
    /// The mailboxes of this node that it monitors, in order.
    pub(super) watching: Vec<MailboxId>,
    /// Ties between its mailboxes and those of this node.
    pub(super) ties: usize,
    /// Questions of it that wait for an answer here.
    pub(super) questions: usize,
}

impl Peer {
    pub(super) fn new(life: Incarnation, now: Instant) -> Self {
        Self {
            life,
            reach: Reach::No,
            last_use: now,
            was_lost: false,
            session: 0,
            sent: 0,
            acked: 0,
            outbox: VecDeque::new(),
            is_held: false,
            ask_at: Instant::NEVER,
            asks: 0,
            waiting: VecDeque::new(),
            orders: VecDeque::new(),
            retry_at: Instant::NEVER,
            retries: 0,
            heard_session: 0,
            heard: 0,
            told: 0,
            tell_at: Instant::NEVER,
            is_torn: false,
            early: Vec::new(),
            skip_at: Instant::NEVER,
            obeyed: 0,
            watching: Vec::new(),
            ties: 0,
            questions: 0,
        }
    }

    /// Tells whether nothing is lost with what is known of the node, but the order of what is under way.
    pub(super) fn is_idle(&self) -> bool {
        let is_empty = self.waiting.is_empty() && self.orders.is_empty() && self.early.is_empty();
        let is_heard = self.outbox.is_empty() && self.tell_at == Instant::NEVER;
        is_empty && is_heard && self.load() == 0 && self.questions == 0 && self.reach == Reach::No
    }

    /// Counts what this node may have to tell it of closed mailboxes.
    pub(super) fn load(&self) -> usize {
        self.watching.len() + self.ties + self.orders.len()
    }

    /// Tells when something is due.
    pub(super) fn due(&self) -> Instant {
        self.retry_at.min(self.skip_at).min(self.ask_at).min(self.tell_at)
    }

    /// Puts mail aside until its turn. Tells whether it was new.
    pub(super) fn keep_early(&mut self, mail: Mail, skip_at: Instant) -> bool {
        let place = self.early.binary_search_by_key(&mail.seq, |early| early.seq);
        if let Err(place) = place {
            self.early.insert(place, mail);
            self.skip_at = self.skip_at.min(skip_at);
        }
        place.is_err()
    }

    /// Another run of its mail begins. What is early of the last one goes: the caller counts it.
    pub(super) fn hear_session(&mut self, session: u64, is_torn: bool) {
        self.early.clear();
        self.outbox.iter_mut().for_each(|sent| sent.refuses = 0); // what it refuses was given up
        (self.heard_session, self.heard, self.told) = (session, 0, 0);
        (self.skip_at, self.is_torn) = (Instant::NEVER, is_torn);
    }

    /// Takes the early mail whose turn it is.
    pub(super) fn pop_early(&mut self) -> Option<Mail> {
        let first = self.early.first()?;
        if first.seq - self.heard > 1 {
            return None;
        }
        let mail = self.early.remove(0);
        self.heard = mail.seq;
        self.skip_at = if self.early.is_empty() { Instant::NEVER } else { self.skip_at };
        Some(mail)
    }

    /// Mail is numbered anew.
    pub(super) fn begin_session(&mut self, session: u64) {
        (self.session, self.sent, self.acked) = (session, 0, 0);
    }

    /// What was sent is given up: the next mail begins a session, so that nobody waits for it.
    pub(super) fn end_session(&mut self) {
        self.begin_session(0);
        (self.is_held, self.ask_at, self.asks) = (false, Instant::NEVER, 0);
    }

    /// Tells how far it may forget what it sent: up to the first mail whose refusal it has not heard.
    pub(super) fn telling(&self) -> u64 {
        let refused = self.outbox.iter().find(|sent| sent.refuses != 0);
        refused.map_or(self.heard, |sent| sent.refuses - 1).max(self.told)
    }

    /// Tells whether an order is on its way, and will arrive unless the peer is lost.
    pub(super) fn has_under_way(&self, order: u64) -> bool {
        let is_it = |sent: &Sent| matches!(sent.what, MailKind::Order { number, .. } if number == order);
        self.outbox.iter().any(is_it)
    }

    /// Another life begins: nothing of the old one counts. What it watched is taken out by the caller.
    pub(super) fn begin_life(&mut self, life: Incarnation) {
        let Self { reach, last_use, session, sent, acked, waiting, outbox, orders, .. } = self;
        let mut next = Self::new(life, *last_use);
        (next.reach, next.retries) = (*reach, self.retries);
        next.waiting = core::mem::take(waiting);
        if !outbox.is_empty() {
            (next.session, next.sent, next.acked) = (*session, *sent, *acked);
            next.outbox = core::mem::take(outbox);
        }
        next.orders = core::mem::take(orders);
        next.orders.retain(|order| order.life >= life);
        next.retry_at = if next.orders.is_empty() { Instant::NEVER } else { self.retry_at };
        *self = next;
    }

    pub(super) fn digest(&self, now: Instant, into: &mut Fold) {
        into.word(self.life.0);
        into.word(self.reach as u64 | (self.waiting.len() as u64) << 8 | (self.orders.len() as u64) << 32);
        into.word(self.session);
        into.word(self.sent);
        into.word(self.acked);
        into.word(self.outbox.len() as u64 | u64::from(self.is_held) << 32 | u64::from(self.is_torn) << 33);
        into.word(self.heard_session);
        into.word(self.heard);
        into.word(self.told);
        into.word(self.obeyed);
        into.word(self.early.len() as u64 | (self.watching.len() as u64) << 32);
        into.word(self.ties as u64 | (self.questions as u64) << 32);
        into.word(self.due().0.wrapping_sub(now.0));
    }
}
