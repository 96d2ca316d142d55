//! What is going to happen in a world, and the virtual time.

use crate::network::connection::ConnectionId;
use crate::queue::{Key, Queue};
use rumormill_core::{Channel, DownReason, Frame, Input, Token};

/// Something that will happen at a node.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    /// The node's deadline, as far as it was known when this was put down.
    Wake,
    /// The node has time again for what has waited.
    Drain,
    /// A write of one of the node's lives is durable.
    Written { token: Token, life: u32 },
    /// An input that comes from no connection.
    Input { life: u32, input: Box<Input> },
    /// A packet of a handshake arrives.
    Leg { connection: ConnectionId, leg: u8, attempt: u32 },
    /// A packet of a handshake is sent again.
    Resend { connection: ConnectionId, leg: u8, attempt: u32 },
    /// The side of a connection is up (profile `ideal`, or after an older connection made room).
    Established { connection: ConnectionId, side: u8 },
    /// The dialer gives up, unless its side is up by now.
    Overdue { connection: ConnectionId },
    /// The side learns that the connection has ended.
    Down { connection: ConnectionId, side: u8, reason: DownReason },
    /// The side's idle timeout, unless the other side was heard since.
    Silence { connection: ConnectionId, side: u8 },
    /// A frame arrives.
    Frame { connection: ConnectionId, sender: u8, channel: Channel, len: u32, left_ns: u64, frame: Frame },
    /// A datagram's second copy arrives: it counts for nothing but itself.
    Copy { connection: ConnectionId, sender: u8, frame: Frame },
    /// The side's full channel has drained.
    Ready { connection: ConnectionId, side: u8, channel: Channel },
}

impl Happening {
    /// Tells the length of the frame that it brings, in bytes.
    pub(crate) fn len(&self) -> u64 {
        if let Self::Frame { len, .. } = self { u64::from(*len) } else { 0 }
    }

    /// Tells whether something is under way: a world at rest has nothing of this kind before it.
    fn is_traffic(&self) -> bool {
        match self {
            Self::Wake | Self::Overdue { .. } | Self::Silence { .. } => false,
            Self::Down { reason, .. } => *reason == DownReason::Closed,
            Self::Drain
            | Self::Written { .. }
            | Self::Input { .. }
            | Self::Leg { .. }
            | Self::Resend { .. }
            | Self::Established { .. }
            | Self::Frame { .. }
            | Self::Copy { .. }
            | Self::Ready { .. } => true,
        }
    }
}

/// The queue of a world with its clock.
#[derive(Clone, Debug)]
pub(crate) struct Agenda {
    pub(crate) now_ns: u64,
    queue: Queue<Happening>,
    /// How many events each node has caused.
    sequences: Vec<u64>,
    /// Happenings that mean that the world is not at rest.
    traffic: u64,
}

impl Agenda {
    pub(crate) fn new(nodes: u32, queue: Queue<Happening>) -> Self {
        Self { now_ns: 0, queue, sequences: vec![0; nodes as usize], traffic: 0 }
    }

    /// Puts down what a source causes at a destination.
    #[inline]
    pub(crate) fn push(&mut self, at_ns: u64, destination: u32, source: u32, happening: Happening) {
        let sequence = self.sequences[source as usize];
        self.sequences[source as usize] += 1;
        assert!(at_ns >= self.now_ns, "nothing happens in the past");
        self.traffic += u64::from(happening.is_traffic());
        self.queue.push(Key { at_ns, destination, source, sequence }, happening);
    }

    /// Tells when the next thing happens.
    #[inline]
    pub(crate) fn next_at(&mut self) -> Option<u64> {
        self.queue.peek().map(|key| key.at_ns)
    }

    /// Takes the next thing out and moves the clock to it.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<(Key, Happening)> {
        let (key, happening) = self.queue.pop()?;
        self.traffic -= u64::from(happening.is_traffic());
        self.now_ns = key.at_ns;
        Some((key, happening))
    }

    /// Tells whether nothing is under way.
    pub(crate) fn is_quiet(&self) -> bool {
        self.traffic == 0
    }
}
