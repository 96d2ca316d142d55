//! What two lives of nodes say to each other for their mailboxes: one frame, with what it is about inside.

use super::Bundle;
use crate::id::{Incarnation, MailboxId};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Bytes of a frame's body before the payload of a mail at most: what its length must leave free.
pub const MAIL_HEADER_LEN_MAX: usize = 4 * 10 + 1 + 4 * 10;

/// A message, a question, an answer or an order, from one life of a node to one life of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// The life of the sender.
    pub from: Incarnation,
    /// The life of the receiver: any other one refuses it.
    pub to: Incarnation,
    /// The sender's number for this run of mail to the receiver, greater whenever an earlier one was given up; zero
    /// for mail that needs no order.
    pub session: u64,
    /// The number within the session, from one: the receiver goes by it, whichever connection brings it.
    pub seq: u64,
    /// What it is.
    pub what: MailKind,
    /// The message, messages, question or answer; empty for everything else.
    pub payload: Bytes,
}

impl Mail {
    /// Tells whether the order of sending matters.
    pub fn is_ordered(&self) -> bool {
        self.session != 0
    }
}

/// What a mail is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MailKind {
    /// A message.
    Send {
        /// From which mailbox.
        from: MailboxId,
        /// To which mailbox.
        to: MailboxId,
        /// The sender's name for it, given back when it is refused.
        token: u64,
    },
    /// A question.
    Ask {
        /// From which mailbox.
        from: MailboxId,
        /// To which mailbox.
        to: MailboxId,
        /// The asker's number for it.
        number: u64,
        /// How long the asker waits, in milliseconds.
        timeout_ms: u64,
    },
    /// The answer to a question.
    Answer {
        /// The asker's number for the question.
        number: u64,
    },
    /// A message or question that was not taken.
    Refused {
        /// Whether it was a question.
        is_question: bool,
        /// The sender's token for the message, or the asker's number for the question.
        number: u64,
        /// The mailbox that it was for.
        mailbox: MailboxId,
        /// Why.
        why: Verdict,
    },
    /// Something that must arrive: repeated until it is acknowledged, obeyed once and in order.
    Order {
        /// The sender's number for it, greater for every later one.
        number: u64,
        /// The last order before it that is not acknowledged yet, or zero: it is not obeyed before that one.
        after: u64,
        /// What shall be done.
        what: OrderKind,
        /// The mailbox of the sender that it concerns; zero for none.
        ours: MailboxId,
        /// The mailbox of the receiver that it concerns; zero for none.
        theirs: MailboxId,
    },
    /// Acknowledges an order.
    Ack {
        /// Its number.
        number: u64,
        /// What came of it.
        verdict: Verdict,
    },
    /// Asks how far the sender's mail was heard; it sends no more until that is told.
    Resume {
        /// The session.
        session: u64,
    },
    /// Tells how far the receiver's mail was heard.
    Heard {
        /// The session.
        session: u64,
        /// The last number before which none is missing; none when this node no longer knows.
        seq: Option<u64>,
        /// Up to where the receiver may forget its mail: whatever was refused of it, that has been told and heard.
        settled: u64,
    },
    /// Messages, one behind the other: the payload is a [`Bundle`](super::Bundle).
    Bundle {
        /// From which mailbox.
        from: MailboxId,
        /// To which mailbox.
        to: MailboxId,
        /// The sender's name for all of them, given back when they are refused.
        token: u64,
    },
}

impl MailKind {
    /// Tells whether a payload follows.
    pub fn has_payload(&self) -> bool {
        match self {
            Self::Send { .. } | Self::Bundle { .. } | Self::Ask { .. } | Self::Answer { .. } => true,
            Self::Refused { .. }
            | Self::Order { .. }
            | Self::Ack { .. }
            | Self::Resume { .. }
            | Self::Heard { .. } => false,
        }
    }
}

/// Counts the messages of a mail that carries some.
pub(super) fn count(what: MailKind, payload: &Bytes) -> u64 {
    match what {
        MailKind::Bundle { .. } => Bundle::read(payload.clone()).map_or(0, |bundle| bundle.count().into()),
        _ => 1,
    }
}

/// What an order is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum OrderKind {
    /// The sender shall be told when the receiver's mailbox closes.
    Monitor = 0,
    /// It need not be told any longer.
    Demonitor = 1,
    /// Each of the two mailboxes closes when the other does.
    Link = 2,
    /// They no longer do.
    Unlink = 3,
    /// The sender's mailbox has closed.
    Down = 4,
}

/// What came of an order, or why something was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum Verdict {
    /// It was done.
    Done = 0,
    /// The mailbox is closed, was never opened, or belongs to another life.
    Gone = 1,
    /// A bound of the receiver was reached.
    Full = 2,
    /// The mailbox takes no such question.
    NotUnderstood = 3,
}
