//! What nodes send, by what it is for.

use rumormill_core::{Frame, Topic};

/// What frames are for, each a protocol of the core.
pub const PURPOSES: [&str; 6] = ["membership", "broadcast", "state", "members", "registry", "mail"];

/// Frames and bytes sent for one purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Frames.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Tells what a frame is for, as a place in [`PURPOSES`]. A payload counts for whoever publishes on its topic.
#[inline]
pub(super) fn purpose(frame: &Frame) -> usize {
    match frame {
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
        | Frame::ProbeAck { .. } => 0,
        Frame::Gossip(gossip) => match gossip.topic {
            Topic::REPLICA => 2,
            _ => 1,
        },
        Frame::IHave(_) | Frame::Graft { .. } | Frame::Prune => 1,
        Frame::SyncHello(_) | Frame::SyncVector(_) | Frame::SyncChunk(_) | Frame::SyncEnd(_) => 2,
        Frame::Members(_) => 3,
        Frame::RegistryHello(_)
        | Frame::RegistryRows(_)
        | Frame::RegistryPull(_)
        | Frame::RegistryUpdates { .. }
        | Frame::RegistryRelay(_) => 4,
        Frame::Mail(_) => 5,
    }
}
