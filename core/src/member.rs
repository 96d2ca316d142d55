//! Members of the cluster as users see them.

use crate::id::{Contact, MessageId, NodeId};
use serde::{Deserialize, Serialize};

/// Where a member stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u8)]
pub enum MemberState {
    /// It is coming in and does not know the others yet.
    Joining = 0,
    /// It knows the others.
    Synced = 1,
    /// It takes part: the ring places keys on it.
    Active = 2,
    /// It is going, and gives up what it owns.
    Leaving = 3,
    /// It has gone.
    Left = 4,
    /// Its lease ended without a word.
    Dead = 5,
}

impl MemberState {
    /// Tells whether the member is there: neither left nor dead.
    pub fn is_present(self) -> bool {
        self < Self::Left
    }
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// How it introduces itself, with its incarnation.
    pub contact: Contact,
    /// Where it stands.
    pub state: MemberState,
    /// Whether somebody could not reach it and it has not answered yet.
    pub is_suspected: bool,
    /// Its share of keys, against that of others.
    pub weight: u8,
    /// The hash of its zone's name; zero for none.
    pub zone: u64,
}

impl Member {
    /// Names the member.
    pub fn id(&self) -> NodeId {
        self.contact.id()
    }
}

/// The name of one life of a node: the hash of its id and incarnation, as broadcast names publishers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Life(#[serde(with = "postcard::fixint::le")] pub u64);

impl Life {
    /// Names the life in which a contact was made.
    pub fn of(contact: &Contact) -> Self {
        Self(MessageId::origin(&contact.id(), contact.incarnation()))
    }
}

/// What must be the same on every node of a cluster: nodes that differ would judge leases and owners differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterNumbers {
    /// Time between two heartbeats, in milliseconds.
    pub heartbeat_ms: u64,
    /// Time without a sign of life after which a lease ends, in milliseconds.
    pub ttl_ms: u64,
    /// Partitions of the ring.
    pub ring_size: u32,
}

/// What a member says of itself: only the member itself ever changes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRecord {
    /// How it introduces itself: this names its life.
    pub contact: Contact,
    /// Raised with each change of the record.
    pub revision: u32,
    /// Where it stands.
    pub state: MemberState,
    /// Its share of keys, against that of others.
    pub weight: u8,
    /// The hash of its zone's name; zero for none.
    pub zone: u64,
    /// What it must have in common with everybody else.
    pub cluster: ClusterNumbers,
}

impl MemberRecord {
    /// Names the life that the record is of.
    pub fn life(&self) -> Life {
        Life::of(&self.contact)
    }
}
