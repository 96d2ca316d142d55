//! What a driver shows to those who judge a run: events and states of nodes, and nothing of the driver itself.
//!
//! Properties consume observations only, so they judge every driver.

use crate::hlc::Stamp;
use crate::id::{Contact, Incarnation, MapId, NodeId, Token};
use crate::machine::{Command, Event};
use crate::member::Member;
use crate::service::Service;
use crate::stats::Stats;
use alloc::vec::Vec;
use bytes::Bytes;

/// One thing that was seen of one node.
#[derive(Clone, Copy, Debug)]
pub struct Observation<'a> {
    /// When, in nanoseconds of the run's own time.
    pub at_ns: u64,
    /// Which node, by its number in the run.
    pub node: u32,
    /// What.
    pub what: Observed<'a>,
}

/// What was seen.
#[derive(Clone, Copy, Debug)]
pub enum Observed<'a> {
    /// The node began a life.
    Started {
        /// How it introduces itself.
        contact: &'a Contact,
    },
    /// The node's life ended without a word.
    Stopped,
    /// The node was given a command.
    Command {
        /// Its token.
        token: Token,
        /// The command.
        command: &'a Command,
    },
    /// The node told its user something.
    Event(&'a Event),
    /// The node was asked where a service is, and read its tables.
    Looked {
        /// The service.
        name: &'a Bytes,
        /// What it answered.
        found: Option<&'a Service>,
    },
}

/// What a node shows of itself on request.
#[derive(Clone, Debug)]
pub struct Status<'a> {
    /// The node.
    pub id: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
    /// The greatest stamp it has issued or followed.
    pub clock: Stamp,
    /// The active view.
    pub active: Vec<NodeId>,
    /// The passive view.
    pub passive: Vec<NodeId>,
    /// Neighbours that get payloads at once.
    pub eager: Vec<NodeId>,
    /// Neighbours that get announcements.
    pub lazy: Vec<NodeId>,
    /// Whether it is in a cluster.
    pub joined: bool,
    /// Whether it has left.
    pub left: bool,
    /// The maps it hosts.
    pub maps: Vec<MapStatus>,
    /// The members it knows, in short; none where that machine is off.
    pub members: Option<MembersStatus>,
    /// The partitions that it owns, each with its token.
    pub owned: Vec<(u32, Stamp)>,
    /// Its directory of services, if it keeps one.
    pub registry: Option<RegistryStatus>,
    /// Its counters.
    pub stats: &'a Stats,
}

/// What a node shows of its members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MembersStatus {
    /// How many there are in each state, by the number of the [`MemberState`](crate::MemberState).
    pub counts: [u32; 6],
    /// How many of them are suspected.
    pub suspected: u32,
    /// The hash of the lives, weights and zones of the active ones: equal on two nodes that place keys alike.
    pub active_hash: u64,
}

impl MembersStatus {
    /// Counts the members that are there.
    pub fn present(&self) -> u32 {
        self.counts[..4].iter().sum()
    }
}

/// What a node shows of one replicated map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapStatus {
    /// The map.
    pub map: MapId,
    /// The hash of its version vector: equal on two replicas that hold the same operations.
    pub vector_hash: u64,
    /// The hash of its live keys and their versions.
    pub fingerprint: u64,
    /// How many live keys there are.
    pub count: u32,
}

/// What a node shows of its directory of services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegistryStatus {
    /// The hash of the services that are shown: equal on two nodes exactly when they show the same. Suspicion, which is
    /// each node's own, does not count.
    pub hash: u64,
    /// How many there are.
    pub count: u32,
}

/// The nodes of a run as a driver lets them be looked at, by number.
pub trait Nodes {
    /// Counts the nodes, running or not.
    fn count(&self) -> u32;
    /// Shows a node's state; none when it does not run.
    fn status(&self, node: u32) -> Option<Status<'_>>;
    /// Shows one of a node's maps; none when it does not run or does not host it.
    fn map_status(&self, node: u32, map: MapId) -> Option<MapStatus>;
    /// Visits the live entries of one of a node's maps, in the order of their keys.
    fn each_entry(&self, node: u32, map: MapId, visit: &mut dyn FnMut(&Bytes, &Bytes));
    /// Visits the members that a node knows to be there, itself first.
    fn each_member(&self, node: u32, visit: &mut dyn FnMut(&Member));
    /// Finds the owner of a partition as a node computes it; none when it does not run or places nothing.
    fn owner_of(&self, node: u32, partition: u32) -> Option<NodeId>;
    /// Visits the services that a node shows, in no particular order; none when it does not run.
    fn each_service(&self, node: u32, visit: &mut dyn FnMut(&Service));
    /// Sums the counters of all nodes over all their lives.
    fn totals(&self) -> Stats;
}
