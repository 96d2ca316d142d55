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
    /// Mail sent in that session.
    pub(super) sent: u64,
    pub(super) waiting: VecDeque<Waiting>,
    pub(super) orders: VecDeque<Order>,
    /// When orders are sent again; never without any.
    pub(super) retry_at: Instant,
    pub(super) retries: u32,
    /// The run of mail from it that is heard.
    pub(super) heard_session: u64,
    /// How far it was taken in.
    pub(super) heard: u64,
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
            waiting: VecDeque::new(),
            orders: VecDeque::new(),
            retry_at: Instant::NEVER,
            retries: 0,
            heard_session: 0,
            heard: 0,
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
        is_empty && self.load() == 0 && self.questions == 0 && self.reach == Reach::No
    }

    /// Counts what this node may have to tell it of closed mailboxes.
    pub(super) fn load(&self) -> usize {
        self.watching.len() + self.ties + self.orders.len()
    }

    /// Tells when something is due.
    pub(super) fn due(&self) -> Instant {
        self.retry_at.min(self.skip_at)
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

    /// Takes the next early mail: the one whose turn it is, or the first of all when the gap is skipped.
    pub(super) fn pop_early(&mut self, may_skip: bool) -> Option<Mail> {
        let first = self.early.first()?;
        if !may_skip && first.seq - self.heard > 1 {
            return None;
        }
        let mail = self.early.remove(0);
        self.heard = mail.seq;
        self.skip_at = if self.early.is_empty() { Instant::NEVER } else { self.skip_at };
        Some(mail)
    }

    /// The link is gone: the next mail begins a session, so that nobody waits for what was lost.
    pub(super) fn end_session(&mut self) {
        (self.session, self.sent) = (0, 0);
    }

    /// Another life begins: nothing of the old one counts. What it watched is taken out by the caller.
    pub(super) fn begin_life(&mut self, life: Incarnation) {
        let Self { reach, last_use, waiting, orders, retry_at, retries, .. } = self;
        let mut next = Self::new(life, *last_use);
        (next.reach, next.retries) = (*reach, *retries);
        next.waiting = core::mem::take(waiting);
        next.orders = core::mem::take(orders);
        next.orders.retain(|order| order.life >= life);
        next.retry_at = if next.orders.is_empty() { Instant::NEVER } else { *retry_at };
        *self = next;
    }

    pub(super) fn digest(&self, now: Instant, into: &mut Fold) {
        into.word(self.life.0);
        into.word(self.reach as u64 | (self.waiting.len() as u64) << 8 | (self.orders.len() as u64) << 32);
        into.word(self.session);
        into.word(self.sent);
        into.word(self.heard_session);
        into.word(self.heard);
        into.word(self.obeyed);
        into.word(self.early.len() as u64 | (self.watching.len() as u64) << 32);
        into.word(self.ties as u64 | (self.questions as u64) << 32);
        into.word(self.due().0.wrapping_sub(now.0));
    }
}
