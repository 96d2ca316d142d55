//! The one shape of every protocol: inputs in, effects down, events up, one next deadline.

mod command;
mod event;

use crate::frame::{Channel, Frame};
use crate::hlc::Hlc;
use crate::id::{Contact, Incarnation, MapId, NodeId, Token};
use crate::rng::Rng;
use crate::stats::Stats;
use crate::time::{Instant, Now};
use alloc::vec::Vec;
use bytes::Bytes;
use core::net::SocketAddr;
use serde::{Deserialize, Serialize};

pub use command::{Command, CommandError, Reply, Watch};
pub use event::{Event, MailLoss, NeighborLoss, News, Origin, ServiceLoss};

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
    /// Asserts the invariants that cost no more than a view to check. The simulator calls it after each step that reached it.
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
