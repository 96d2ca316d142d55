//! The one shape of every protocol: inputs in, effects down, events up, one next deadline.

use crate::frame::{Channel, Class, Frame};
use crate::hlc::{Hlc, Stamp};
use crate::id::{Contact, Incarnation, MapId, MessageId, NodeId, Token, Topic, Version};
use crate::rng::Rng;
use crate::stats::Stats;
use crate::time::{Instant, Now};
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;
use core::net::SocketAddr;
use serde::{Deserialize, Serialize};

/// A protocol that reacts over time. Total: it never fails and never panics, whatever comes in.
pub trait Machine {
    /// What happens to it.
    type Input;
    /// What it tells the machine above.
    type Event;
    /// Reacts to an input at `cx.now`.
    fn handle(&mut self, input: Self::Input, cx: &mut Cx<'_>);
    /// Does everything that is due at or before `cx.now`.
    fn handle_timeout(&mut self, cx: &mut Cx<'_>);
    /// Tells when [`Machine::handle_timeout`] has something to do, if ever.
    fn poll_timeout(&self) -> Option<Instant>;
    /// Hands the next event up, in the order in which they happened.
    fn poll_event(&mut self) -> Option<Self::Event>;
    /// Asserts the invariants that cost no more than a view to check. The simulator calls it after each step.
    fn check(&self);
    /// Asserts every invariant, also those over whole tables. The simulator calls it now and then.
    fn audit(&self) {
        self.check();
    }
}

/// What a machine may use while it reacts. Nothing else reaches it.
pub struct Cx<'a> {
    /// Both clocks, read once for this input.
    pub now: Now,
    /// The node's addressed generator.
    pub rng: &'a mut Rng,
    /// The node's hybrid logical clock.
    pub clock: &'a mut Hlc,
    /// The node's counters.
    pub stats: &'a mut Stats,
    /// Where effects go, carried out by the driver in this order.
    pub effects: &'a mut Vec<Effect>,
}

impl Cx<'_> {
    /// Pushes a frame towards a peer whose link is up.
    #[inline]
    pub fn send(&mut self, to: NodeId, channel: Channel, frame: Frame) {
        self.effects.push(Effect::Send { to, channel, frame });
    }
}

/// Which end of a connection dialled it. A link between two nodes has at most one connection from each end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u8)]
pub enum Dialer {
    /// This node dialled.
    Local = 0,
    /// The peer dialled.
    Remote = 1,
}

/// Why a connection ended, or never began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum DownReason {
    /// The dial was answered by nobody in time.
    Unreachable = 0,
    /// Something answered and refused: nobody listens there, or another identity does.
    Refused = 1,
    /// Nothing was heard for the transport's idle timeout.
    IdleTimeout = 2,
    /// The peer no longer knows the connection: it has restarted.
    Reset = 3,
    /// The peer closed it.
    Closed = 4,
}

/// Why this node closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum CloseReason {
    /// Nobody above uses it and nothing passed for a while.
    Idle = 0,
    /// Both ends dialled at once; the other connection stays.
    Crossed = 1,
    /// The peer stopped answering probes.
    Silent = 2,
    /// No common protocol version.
    Version = 3,
    /// The peer sent too much that does not decode.
    Malformed = 4,
    /// An older life of a node that has restarted.
    Stale = 5,
    /// The bound on links was reached.
    TooMany = 6,
    /// This node leaves the cluster.
    Leaving = 7,
}

/// Everything that can happen to a node.
///
/// Its serde form is the one of the input log: a frame inside stands in its wire form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Input {
    /// The user asks for something; answered by exactly one [`Event::Done`].
    Command {
        /// Given back with the answer.
        token: Token,
        /// What is asked.
        command: Command,
    },
    /// A frame arrived.
    Frame {
        /// From whom: the identity that the link proved.
        from: NodeId,
        /// On which channel.
        channel: Channel,
        /// The frame.
        #[serde(with = "crate::frame::as_wire")]
        frame: Frame,
    },
    /// A connection is ready to carry frames.
    LinkUp {
        /// Who is at the other end.
        peer: NodeId,
        /// Which life of it.
        incarnation: Incarnation,
        /// The negotiated protocol version.
        version: u16,
        /// Where it was reached.
        addr: SocketAddr,
        /// Who dialled.
        dialer: Dialer,
    },
    /// A connection ended, or a dial failed.
    LinkDown {
        /// Who is, or should have been, at the other end.
        peer: NodeId,
        /// Who dialled.
        dialer: Dialer,
        /// Why.
        reason: DownReason,
    },
    /// A channel holds more than its high-water mark: nothing was dropped yet.
    LinkFull {
        /// The peer.
        peer: NodeId,
        /// The channel.
        channel: Channel,
    },
    /// A full channel has drained below its low-water mark.
    LinkReady {
        /// The peer.
        peer: NodeId,
        /// The channel.
        channel: Channel,
    },
    /// A write is durable.
    Persisted {
        /// Which one.
        token: Token,
    },
    /// A write failed; the store takes no more.
    PersistFailed {
        /// Which one.
        token: Token,
    },
    /// A peer sent bytes that do not decode.
    Malformed {
        /// Which peer.
        from: NodeId,
    },
    /// A deadline has passed.
    Timeout,
}

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
}

/// What a node asks of its driver, to be carried out in the order pushed.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Open a connection to a node; answered by `LinkUp` or `LinkDown` with [`Dialer::Local`].
    Dial {
        /// Whom, and where.
        contact: Contact,
    },
    /// Send a frame over the link: over the connection that the smaller id dialled when both ends have.
    Send {
        /// To whom.
        to: NodeId,
        /// On which channel.
        channel: Channel,
        /// The frame.
        frame: Frame,
    },
    /// Close a connection after what was already sent; no `LinkDown` comes back for it.
    Close {
        /// To whom.
        peer: NodeId,
        /// The one connection to close; all of the link when absent.
        dialer: Option<Dialer>,
        /// Why.
        reason: CloseReason,
    },
    /// Start a write; answered by `Persisted` or `PersistFailed`. Rows of one write are atomic.
    Persist {
        /// Given back with the answer.
        token: Token,
        /// Whether somebody waits for it.
        class: Durability,
        /// What to write.
        rows: Vec<Row>,
    },
}

/// Whether a write must be flushed before it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum Durability {
    /// Answered once it is on disk.
    Sync = 0,
    /// May be flushed later, with others.
    Async = 1,
}

/// A table of a node's store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Space {
    /// Marks of the node itself: incarnation, epoch, clock mark.
    Marks,
    /// The entries of a replicated map.
    Entries(MapId),
}

/// One row of a node's store: a value, or its absence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The table.
    pub space: Space,
    /// The key.
    pub key: Bytes,
    /// The value; `None` deletes.
    pub value: Option<Bytes>,
}

/// What a node tells its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The one answer to a command.
    Done {
        /// The command's token.
        token: Token,
        /// Its outcome.
        result: Result<Reply, CommandError>,
    },
    /// A peer came into the active view.
    NeighborUp {
        /// The peer.
        peer: NodeId,
    },
    /// A peer went out of the active view.
    NeighborDown {
        /// The peer.
        peer: NodeId,
        /// Why.
        reason: NeighborLoss,
    },
    /// No living neighbour is left; the node keeps trying.
    Isolated,
    /// A message of a topic that this node hears.
    Message {
        /// The topic.
        topic: Topic,
        /// The message's name.
        id: MessageId,
        /// Links it crossed; zero for one's own.
        hops: u16,
        /// The message.
        payload: Bytes,
    },
    /// A key of a replicated map has visibly changed.
    MapChanged {
        /// The map.
        map: MapId,
        /// The key.
        key: Bytes,
        /// The value before.
        old: Option<Bytes>,
        /// The value now; `None` when it was removed.
        new: Option<Bytes>,
        /// The version of the change.
        version: Version,
        /// How it came here.
        origin: Origin,
    },
    /// An operation's stamp was too far in the future and was refused.
    ClockRefused {
        /// Who handed it on.
        from: NodeId,
        /// How far ahead it was, in milliseconds.
        ahead_ms: u64,
    },
    /// A write to the store failed: what needs the store is refused from now on.
    StoreFailed,
    /// The store held rows that cannot be read: the node starts as if it had held none.
    StoreDamaged,
}

/// How a change came to a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Written here.
    Local,
    /// By broadcast.
    Broadcast,
    /// By anti-entropy.
    Sync,
}

/// Why a peer went out of the active view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeighborLoss {
    /// Its place was given to somebody else, here or there.
    Replaced,
    /// It left the cluster.
    Left,
    /// The link to it ended.
    LinkLost,
    /// It did not answer probes.
    Silent,
    /// This node left the cluster.
    WeLeft,
}

/// The good outcome of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { len, max } => {
                write!(f, "{len} bytes are too large, at most {max} allowed; nothing changed")
            }
            Self::Busy => f.write_str("neighbours take no more just now; nothing changed, try again"),
            Self::Full { max } => write!(f, "the bound of {max} is reached; nothing changed"),
            Self::Unreachable => f.write_str("no contact answered in time; the node keeps trying its seeds"),
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
        }
    }
}

impl core::error::Error for CommandError {}
