//! Replicated maps (being built).

use crate::config::Config;
use crate::frame::Frame;
use crate::hash::Fold;
use crate::hlc::Stamp;
use crate::id::{MapId, NodeId, Version, Writer};
use crate::machine::{CommandError, Cx, Machine, Origin};
use crate::observation::MapStatus;
use crate::time::Instant;
use alloc::sync::Arc;
use bytes::Bytes;

/// What happens to the replica.
#[derive(Clone, Debug)]
pub enum Input {
    /// An operation by broadcast.
    Op {
        /// From whom.
        from: NodeId,
        /// The operation.
        payload: Bytes,
    },
    /// A neighbour came.
    NeighborUp {
        /// Who.
        peer: NodeId,
    },
    /// A neighbour went.
    NeighborDown {
        /// Who.
        peer: NodeId,
    },
    /// A sync frame.
    Frame {
        /// From whom.
        from: NodeId,
        /// What.
        frame: Frame,
    },
    /// The sync channel is full.
    LinkFull {
        /// To whom.
        peer: NodeId,
    },
    /// The sync channel has drained.
    LinkReady {
        /// To whom.
        peer: NodeId,
    },
}

/// What the replica tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A visible change.
    Changed {
        /// The map.
        map: MapId,
        /// The key.
        key: Bytes,
        /// Before.
        old: Option<Bytes>,
        /// Now.
        new: Option<Bytes>,
        /// The version.
        version: Version,
        /// How it came.
        origin: Origin,
    },
    /// To be broadcast.
    Publish {
        /// The operation.
        payload: Bytes,
    },
    /// A stamp too far ahead.
    ClockRefused {
        /// Who handed it on.
        from: NodeId,
        /// How far.
        ahead_ms: u64,
    },
    /// Bytes that do not decode.
    Malformed {
        /// From whom.
        from: NodeId,
    },
}

/// A replicated map.
#[derive(Clone, Debug, Default)]
pub struct LwwMap;

impl LwwMap {
    /// Looks a key up.
    pub fn get(&self, _key: &[u8]) -> Option<&Bytes> {
        None
    }
}

/// The replica machine.
#[derive(Clone, Debug)]
pub struct Replica;

#[allow(missing_docs, clippy::unused_self)]
impl Replica {
    pub fn new(_config: Arc<Config>, _writer: Writer) -> Self {
        Self
    }
    pub fn map(&self, _map: MapId) -> Option<&LwwMap> {
        None
    }
    pub fn status(&self) -> impl Iterator<Item = MapStatus> {
        core::iter::empty()
    }
    pub fn digest(&self, _now: Instant, _into: &mut Fold) {}
    pub fn create_map(&mut self, _name: &str, _schema: u32) -> Result<(), CommandError> {
        Err(CommandError::Disabled)
    }
    pub fn put(
        &mut self,
        _m: MapId,
        _k: Bytes,
        _v: Bytes,
        _e: Option<Stamp>,
        _cx: &mut Cx<'_>,
    ) -> Result<Version, CommandError> {
        Err(CommandError::Disabled)
    }
    pub fn remove(&mut self, _m: MapId, _k: Bytes, _cx: &mut Cx<'_>) -> Result<Version, CommandError> {
        Err(CommandError::Disabled)
    }
}

impl Machine for Replica {
    type Input = Input;
    type Event = Event;
    fn handle(&mut self, _input: Input, _cx: &mut Cx<'_>) {}
    fn handle_timeout(&mut self, _cx: &mut Cx<'_>) {}
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
    fn poll_event(&mut self) -> Option<Event> {
        None
    }
    fn check(&self) {}
}
