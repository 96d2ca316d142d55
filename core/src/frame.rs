//! Frames: everything one node says to another, and its one form on the wire.
//!
//! `len u32 LE | type u16 LE | body`, where the body is a postcard header and, for frames that carry a payload, the
//! raw payload as its tail (sliced out of the input, never copied). `len` counts type and body. Types are append
//! only and unknown ones are skipped; there is no `usize` and no float; counts are checked against a bound of their
//! own before anything is allocated. This file has the types; `frame/codec.rs` alone knows their bytes.

mod codec;
mod members;

use crate::hlc::Stamp;
use crate::id::{Contact, Incarnation, MapId, MessageId, Topic, Writer};
use crate::registry;
use alloc::boxed::Box;
use alloc::vec::Vec;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use crate::mailboxes::{Bundle, Bundler, MAIL_HEADER_LEN_MAX, Mail, MailKind, OrderKind, Verdict};
pub use codec::{DecodeError, decode, decode_within};
pub(crate) use codec::{NODE_ID_LEN, as_wire, put, varint_len};
pub use members::{
    Answered, BEATS_MAX, Beat, ENTRIES_MAX, LIVES_MAX, MemberEntry, MembersFrame, RUMORS_MAX, Rumor, Wanted,
};

/// Bytes of `len` and `type` before a body.
pub const HEADER_LEN: usize = 6;
/// The longest body of a frame on the gossip and sync channels, in bytes.
pub const BODY_LEN_MAX: usize = 1 << 20;
/// Bytes of a body before the payload of a broadcast at most: what a message's length must leave free.
pub const GOSSIP_HEADER_LEN_MAX: usize = 35;
/// Entries in a shuffle or a redirect at most.
pub const CONTACTS_MAX: usize = 32;
/// Announcements in one batch at most.
pub const ANNOUNCEMENTS_MAX: usize = 256;
/// Entries in one piece of a version vector at most.
pub const VECTOR_ENTRIES_MAX: usize = 1024;
/// Buckets of writers whose hashes a sync hello compares.
pub const VECTOR_BUCKETS: usize = 16;

/// The ordered, reliable streams of a link, and its datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Channel {
    /// Membership and tree control: never dropped.
    Control = 0,
    /// Payloads of broadcasts.
    Gossip = 1,
    /// Batched announcements, at low priority.
    Lazy = 2,
    /// Anti-entropy.
    Sync = 3,
    /// Users' messages.
    User = 4,
    /// Unordered and unreliable.
    Datagram = 5,
}

impl Channel {
    /// How many channels there are.
    pub const COUNT: usize = 6;
    /// All channels, in the order of their numbers.
    pub const ALL: [Channel; Self::COUNT] =
        [Self::Control, Self::Gossip, Self::Lazy, Self::Sync, Self::User, Self::Datagram];
}

/// How urgent a request to become neighbours is (HyParView, section 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum NeighborPriority {
    /// Accepted only into a free slot.
    Low = 0,
    /// The asker has no neighbour, or the paper asks for it: accepted always.
    High = 1,
}

/// The answer to a request to become neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum NeighborAnswer {
    /// The asker now stands in the active view.
    Accepted = 0,
    /// The active view is full of living neighbours.
    Full = 1,
}

/// Why a neighbour takes another out of its active view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum DisconnectReason {
    /// Its view was full and somebody else came in.
    Evicted = 0,
    /// It never had the other in its view, or has no longer.
    NotNeighbor = 1,
}

/// A contact with the time since the node itself was last heard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aged {
    /// The node.
    pub contact: Contact,
    /// Milliseconds since somebody heard it, without those on the way.
    pub age_ms: u32,
}

/// How a message is treated when a link is slow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Class {
    /// Announced at once and refused last.
    Urgent = 0,
    /// The usual.
    #[default]
    Normal = 1,
    /// Gives way first.
    Bulk = 2,
}

/// A broadcast payload on its way down the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gossip {
    /// The message's name.
    pub id: MessageId,
    /// What it is about.
    pub topic: Topic,
    /// How it is treated when links are slow.
    pub class: Class,
    /// Whether copies of it may change the tree: at most one such message is meant to be under way at a time.
    pub shapes_tree: bool,
    /// Links crossed so far, this one included: one from the publisher to its neighbours.
    pub hops: u16,
    /// Milliseconds that the message rested in caches on its way.
    pub age_ms: u32,
    /// The payload.
    pub payload: Bytes,
}

/// One announced message: its name and the hops it has behind it at the announcer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// The message.
    pub id: MessageId,
    /// Hops from the publisher to the announcer.
    pub hops: u16,
}

/// Opens an anti-entropy session: what the initiator holds of one map, in hashes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncHello {
    /// The map.
    pub map: MapId,
    /// The generation of the map: a higher one voids all state of lower ones.
    pub generation: u64,
    /// The initiator's number for the session.
    pub session: u32,
    /// A hash of the version vector for each bucket of writers.
    pub buckets: [u64; VECTOR_BUCKETS],
    /// The hash of all live entries' keys and versions.
    pub fingerprint: u64,
    /// How many live entries there are.
    pub count: u32,
}

/// A piece of a version vector, for the writers of differing buckets only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncVector {
    /// The map.
    pub map: MapId,
    /// The generation of the map.
    pub generation: u64,
    /// The initiator's number for the session.
    pub session: u32,
    /// The buckets that differ: bit k for bucket k.
    pub mask: u16,
    /// Whether this is the last piece.
    pub last: bool,
    /// Operations sent in the session before this piece: whoever got fewer has lost some with a connection.
    pub sent: u32,
    /// Every writer of those buckets with the stamp up to which all of its operations are held.
    pub entries: Vec<(Writer, Stamp)>,
}

/// Operations that the other side lacks, encoded one after another in the tail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncChunk {
    /// The map.
    pub map: MapId,
    /// The generation of the map.
    pub generation: u64,
    /// The initiator's number for the session.
    pub session: u32,
    /// How many operations the tail holds.
    pub count: u32,
    /// Encoded operations.
    pub ops: Bytes,
}

/// How an anti-entropy session ends, or why it does not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum SyncOutcome {
    /// Both replicas were equal, or are now.
    Equal = 0,
    /// Too many sessions at once: try again later.
    Busy = 1,
    /// The map is not hosted here.
    NoSuchMap = 2,
}

/// Ends a session, or refuses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncEnd {
    /// The map.
    pub map: MapId,
    /// The initiator's number for the session.
    pub session: u32,
    /// How it ended.
    pub outcome: SyncOutcome,
}

/// Everything one node says to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A node asks to come in through this contact.
    Join(Contact),
    /// The contact has taken the joiner in, or names others to ask instead.
    JoinReply {
        /// Whether the joiner stands in the contact's active view.
        accepted: bool,
        /// Others to try or to keep in the passive view.
        contacts: Vec<Contact>,
    },
    /// A joiner is carried through the overlay by a random walk.
    ForwardJoin {
        /// Who joins.
        contact: Contact,
        /// Hops left.
        ttl: u8,
    },
    /// A request to become neighbours.
    Neighbor {
        /// Who asks.
        contact: Contact,
        /// How urgently.
        priority: NeighborPriority,
    },
    /// The answer to [`Frame::Neighbor`].
    NeighborReply(NeighborAnswer),
    /// The sender has taken the receiver out of its active view.
    Disconnect(DisconnectReason),
    /// The sender has left the cluster in this life of it, and stays out until it joins again in a later one.
    Leave(Incarnation),
    /// A sample of the origin's views on a random walk.
    Shuffle {
        /// Where the answer goes.
        origin: Contact,
        /// Hops left.
        ttl: u8,
        /// The sample.
        entries: Vec<Aged>,
    },
    /// A sample in return.
    ShuffleReply {
        /// The sample.
        entries: Vec<Aged>,
    },
    /// Asks a silent neighbour for a sign of life.
    Probe {
        /// The asker's count of probes on this link.
        nonce: u32,
    },
    /// The sign of life.
    ProbeAck {
        /// The number that was asked with.
        nonce: u32,
    },
    /// A broadcast payload, pushed eagerly or sent for a graft.
    Gossip(Gossip),
    /// A batch of announcements (IHAVE).
    IHave(Vec<Announcement>),
    /// Asks for a message and makes the link eager; without an id only the latter.
    Graft {
        /// The missing message.
        id: Option<MessageId>,
    },
    /// Makes the link lazy.
    Prune,
    /// Opens an anti-entropy session.
    SyncHello(Box<SyncHello>),
    /// A piece of a version vector.
    SyncVector(Box<SyncVector>),
    /// Operations that the other side lacks.
    SyncChunk(Box<SyncChunk>),
    /// Ends a session.
    SyncEnd(SyncEnd),
    /// Something of members: heartbeats, records, pings.
    Members(MembersFrame),

    // --- registry, from 30
    /// Opens an anti-entropy session over the registry.
    RegistryHello(Box<registry::Hello>),
    /// What the sender holds of the owners in some buckets.
    RegistryRows(Box<registry::Rows>),
    /// Asks for what is newer than these rows.
    RegistryPull(Vec<registry::Row>),
    /// Changes of owners' sets, or sets as a whole.
    RegistryUpdates {
        /// Whether a pull is answered so far as it will be.
        is_last: bool,
        /// The changes.
        updates: Vec<registry::Update>,
    },
    /// Changes of owners' sets on their way to everybody, and words about them.
    RegistryRelay(Box<registry::Relayed>),
    /// What one mailbox has for another.
    Mail(Box<Mail>),
}

impl Frame {
    /// Copies a payload that is shorter than `shared_len_min`, so that it does not keep alive the buffer it came in.
    ///
    /// [`decode`] lets a payload share that buffer. Where a buffer holds more than one frame, a payload that stays
    /// (in a cache, in a map) costs as much memory as all of it.
    pub fn detach(&mut self, shared_len_min: usize) {
        let payload = match self {
            Frame::Gossip(gossip) => &mut gossip.payload,
            Frame::SyncChunk(chunk) => &mut chunk.ops,
            Frame::Mail(mail) => &mut mail.payload,
            _ => return,
        };
        if payload.len() < shared_len_min {
            *payload = Bytes::copy_from_slice(payload);
        }
    }

    /// Tells the one channel that a frame of this kind travels on.
    pub fn channel(&self) -> Channel {
        match self {
            Frame::Join(_)
            | Frame::JoinReply { .. }
            | Frame::ForwardJoin { .. }
            | Frame::Neighbor { .. }
            | Frame::NeighborReply(_)
            | Frame::Disconnect(_)
            | Frame::Leave(_)
            | Frame::Shuffle { .. }
            | Frame::ShuffleReply { .. }
            | Frame::Probe { .. }
            | Frame::ProbeAck { .. }
            | Frame::Graft { .. }
            | Frame::Prune => Channel::Control,
            Frame::Gossip(_) => Channel::Gossip,
            Frame::IHave(_) => Channel::Lazy,
            Frame::SyncHello(_) | Frame::SyncVector(_) | Frame::SyncChunk(_) | Frame::SyncEnd(_) => {
                Channel::Sync
            }
            Frame::Members(members) => members.channel(),
            Frame::RegistryHello(_)
            | Frame::RegistryRows(_)
            | Frame::RegistryPull(_)
            | Frame::RegistryUpdates { .. }
            | Frame::RegistryRelay(_) => Channel::Sync,
            Frame::Mail(_) => Channel::User,
        }
    }
}
