//! What a user asks of a node, and how it is answered.

use crate::frame::Class;
use crate::hlc::Stamp;
use crate::id::{Address, Contact, MailboxId, MapId, MessageId, NodeId, Question, Token, Topic, Version};
use crate::mailboxes::Bundle;
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;
use core::net::SocketAddr;
use serde::{Deserialize, Serialize};

/// What a user asks of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Come into the cluster through one of these contacts; they stay the node's seeds.
    Join {
        /// Whom to ask, in any order. Empty: this node is the first.
        contacts: Vec<Contact>,
    },
    /// Leave the cluster for good, until the next join.
    Leave,
    /// Hear messages of a topic.
    Subscribe {
        /// The topic.
        topic: Topic,
    },
    /// Hear messages of a topic no longer.
    Unsubscribe {
        /// The topic.
        topic: Topic,
    },
    /// Broadcast a message to everybody who hears its topic.
    Publish {
        /// The topic.
        topic: Topic,
        /// How it is treated when links are slow.
        class: Class,
        /// The message.
        payload: Bytes,
    },
    /// Host a replicated map, if it is not hosted yet.
    CreateMap {
        /// Its name.
        name: alloc::string::String,
        /// The schema it uses, by id; zero for plain bytes.
        schema: u32,
    },
    /// Write a key of a replicated map.
    Put {
        /// The map.
        map: MapId,
        /// The key.
        key: Bytes,
        /// The value.
        value: Bytes,
        /// When the entry ends by itself.
        expires: Option<Stamp>,
    },
    /// Remove a key of a replicated map.
    Remove {
        /// The map.
        map: MapId,
        /// The key.
        key: Bytes,
    },
    /// Take one membership step now (paper mode): one shuffle and one attempt for each free slot.
    Cycle,
    /// Hear news of something, answered first and followed by a snapshot; this command's token names the watch.
    Watch {
        /// Of what.
        what: Watch,
    },
    /// Hear them no longer.
    Unwatch {
        /// The watch: the token of the command that began it.
        watch: Token,
    },
    /// Offer a service, or change what it says of itself.
    Register {
        /// The service: any bytes; typed layers encode strings and tuples.
        name: Bytes,
        /// Which instance of it on this node.
        instance: u64,
        /// Where it is reached; zero when it has no mailbox.
        mailbox: MailboxId,
        /// What it says of itself.
        meta: Bytes,
        /// Whether the name shall have one instance in the whole cluster: the oldest registration wins.
        is_unique: bool,
    },
    /// Offer a service no longer.
    Unregister {
        /// The service.
        name: Bytes,
        /// Which instance.
        instance: u64,
    },
    /// Open a mailbox on this node.
    OpenMailbox,
    /// Close a mailbox: who monitors it is told.
    CloseMailbox {
        /// Which one.
        mailbox: MailboxId,
    },
    /// Send a message to a mailbox anywhere: delivered at most once, in order for each pair of mailboxes.
    Send {
        /// From which of this node's mailboxes.
        from: MailboxId,
        /// To which mailbox.
        to: Address,
        /// The message.
        payload: Bytes,
    },
    /// Ask a mailbox anywhere; answered when the answer is there, or with the reason why there is none.
    Call {
        /// From which of this node's mailboxes.
        from: MailboxId,
        /// To which mailbox.
        to: Address,
        /// The question.
        payload: Bytes,
        /// How long to wait, in milliseconds.
        timeout_ms: u64,
    },
    /// Answer a question that was asked of one of this node's mailboxes.
    Answer {
        /// The question, from [`Event::Asked`](super::Event::Asked).
        question: Question,
        /// The answer.
        payload: Bytes,
    },
    /// Be told once when a mailbox is gone; this command's token names the monitor.
    Monitor {
        /// For which of this node's mailboxes.
        mailbox: MailboxId,
        /// Which mailbox.
        of: Address,
    },
    /// Be told no longer.
    Demonitor {
        /// The monitor: the token of the command that began it.
        monitor: Token,
    },
    /// Close either mailbox when the other is gone.
    Link {
        /// One of this node's mailboxes.
        mailbox: MailboxId,
        /// The other one.
        with: Address,
    },
    /// Take such a tie back.
    Unlink {
        /// One of this node's mailboxes.
        mailbox: MailboxId,
        /// The other one.
        with: Address,
    },
    /// Tell everybody that this node is reached elsewhere from now on, in the life that it lives.
    Move {
        /// Where, the most useful first; those beyond [`ADDRS_MAX`](crate::ADDRS_MAX) are left out.
        addrs: Vec<SocketAddr>,
    },
    /// Refuse a question that was asked of one of this node's mailboxes, because it is none that the mailbox takes.
    Refuse {
        /// The question, from [`Event::Asked`](super::Event::Asked).
        question: Question,
    },
    /// Send messages to a mailbox anywhere, as one: a fraction of what sending each costs. They are delivered one by one, in
    /// their order, or refused or lost together; they count as one with whatever bounds count messages.
    SendBundle {
        /// From which of this node's mailboxes.
        from: MailboxId,
        /// To which mailbox.
        to: Address,
        /// The messages, all together within `mail_len_max`.
        messages: Bundle,
    },
}

/// What news may be of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Watch {
    /// The cluster's members.
    Members,
    /// Services whose names begin so; empty for all.
    Services {
        /// The beginning of their names.
        prefix: Bytes,
    },
    /// The partitions that this node owns.
    Partitions,
}

/// The good outcome of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Done; there is nothing more to tell.
    Ok,
    /// In the cluster, through this contact; the node's own id when it is the first.
    Joined {
        /// The first neighbour.
        through: NodeId,
    },
    /// Published under this name.
    Published {
        /// The message's name.
        id: MessageId,
    },
    /// Written with this version.
    Written {
        /// The version.
        version: Version,
    },
    /// The mailbox is open.
    Opened {
        /// How it is reached from anywhere, while this life of the node lasts.
        address: Address,
    },
    /// The answer to a question.
    Answer {
        /// The answer.
        payload: Bytes,
    },
}

/// Why a command was refused. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommandError {
    /// Key, value or message is longer than allowed.
    TooLarge {
        /// Its length in bytes.
        len: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// Neighbours take no more just now.
    Busy,
    /// A bound of this node was reached.
    Full {
        /// The bound.
        max: usize,
    },
    /// None of the contacts answered in time.
    Unreachable,
    /// The node has left the cluster.
    Left,
    /// A join is already under way.
    AlreadyJoining,
    /// The machine that the command needs is off in this node's configuration.
    Disabled,
    /// The topic is reserved.
    ReservedTopic,
    /// The map is not hosted here.
    NoSuchMap,
    /// The map is hosted with another schema, or no such schema is registered.
    SchemaMismatch,
    /// The schema's validator refused the value.
    Invalid,
    /// The store failed.
    StoreFailed,
    /// No answer came in time; the question may have arrived.
    Timeout,
    /// The mailbox, or the life of the node that had it, is over.
    Gone,
    /// The question came to its mailbox, and is none that it takes: of another type, most likely.
    NotUnderstood,
    /// This node has no such mailbox open.
    NoSuchMailbox,
    /// This node offers no such service.
    NoSuchService,
    /// This node has begun no such watch, monitor or tie.
    NoSuchWatch,
    /// No such question waits for an answer here.
    NoSuchQuestion,
    /// Somebody else offers a service of this unique name.
    NameTaken {
        /// Who.
        by: NodeId,
    },
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { len, max } => {
                write!(f, "{len} bytes are too large, at most {max} allowed; nothing changed")
            }
            Self::Busy => f.write_str("neighbours take no more just now; nothing changed, try again"),
            Self::Full { max } => write!(f, "the bound of {max} is reached; nothing changed"),
            Self::Unreachable => f.write_str("nobody there could be reached in time"),
            Self::Left => f.write_str("the node has left the cluster; join first"),
            Self::AlreadyJoining => f.write_str("a join is under way; wait for its answer"),
            Self::Disabled => {
                f.write_str("the machine for this command is off in the configuration; nothing changed")
            }
            Self::ReservedTopic => f.write_str("topic ids from 0xffffff00 up are reserved; nothing changed"),
            Self::NoSuchMap => f.write_str("the map is not hosted here; create it first"),
            Self::SchemaMismatch => {
                f.write_str("the map's schema differs or is not registered; nothing changed")
            }
            Self::Invalid => f.write_str("the schema refused the value; nothing changed"),
            Self::StoreFailed => f.write_str("the store has failed; nothing changed"),
            Self::Timeout => f.write_str("no answer came in time; the question may have arrived"),
            Self::Gone => f.write_str("the mailbox is closed, or its node has ended or restarted"),
            Self::NotUnderstood => {
                f.write_str("the mailbox did not understand the question: it takes another type")
            }
            Self::NoSuchMailbox => {
                f.write_str("this node has no such mailbox open; open one first, nothing changed")
            }
            Self::NoSuchService => f.write_str("this node offers no such service; nothing changed"),
            Self::NoSuchWatch => f.write_str("nothing was begun under this token; nothing changed"),
            Self::NoSuchQuestion => {
                f.write_str("no such question waits here: it was answered, or its asker is gone")
            }
            Self::NameTaken { by } => {
                write!(f, "node {by} offers a service of this unique name; nothing changed")
            }
        }
    }
}

impl core::error::Error for CommandError {}
