//! What a node tells its user.

use super::{CommandError, Reply};
use crate::hlc::Stamp;
use crate::id::{Address, Incarnation, MailboxId, MapId, MessageId, NodeId, Question, Token, Topic, Version};
use crate::member::{Member, MemberState};
use crate::service::Service;
use alloc::vec::Vec;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

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
    /// The node comes back in another life, after it has left or because others knew of a later one: addresses of its mailboxes and services name that one
    /// from now on.
    LifeBegun {
        /// The life that begins.
        incarnation: Incarnation,
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
    /// News of something that is watched.
    Watched {
        /// The watch: the token of the command that began it.
        watch: Token,
        /// The news; the first is a snapshot.
        news: News,
    },
    /// A node was refused as a member: it counts leases or partitions differently.
    MemberRefused {
        /// The node.
        peer: NodeId,
        /// The key of the configuration that differs.
        key: &'static str,
        /// What this node has.
        ours: u64,
        /// What that node has.
        theirs: u64,
    },
    /// There are too few partitions for the members: some own none, others many.
    RingSmall {
        /// Members of the ring.
        members: u32,
        /// Its partitions.
        partitions: u32,
    },
    /// A peer handed on entries of a directory that break its rules; they were not taken.
    EntriesRefused {
        /// Who handed them on.
        from: NodeId,
        /// Whose entries they are.
        owner: NodeId,
    },
    /// Another node's older registration of a unique name has won: this node's was withdrawn.
    NameLost {
        /// The name.
        name: Bytes,
        /// Which instance of this node.
        instance: u64,
        /// Who has it.
        to: NodeId,
    },
    /// A message came to one of this node's mailboxes.
    Mail {
        /// The mailbox.
        mailbox: MailboxId,
        /// Who sent it.
        from: Address,
        /// The message.
        payload: Bytes,
    },
    /// A question came to one of this node's mailboxes.
    Asked {
        /// The mailbox.
        mailbox: MailboxId,
        /// What to answer it by.
        question: Question,
        /// The question.
        payload: Bytes,
    },
    /// A message that was accepted for sending is given up: told once. When its node is out of reach it may have arrived.
    MailLost {
        /// The token of the command that sent it.
        token: Token,
        /// Where it should have gone.
        to: Address,
        /// Why.
        reason: MailLoss,
    },
    /// What a monitor waited for: told once.
    MailboxDown {
        /// The monitor: the token of the command that began it.
        monitor: Token,
        /// The mailbox that is gone.
        address: Address,
        /// Why.
        reason: MailLoss,
    },
    /// One of this node's mailboxes was closed because one it was linked with is gone.
    MailboxClosed {
        /// The mailbox.
        mailbox: MailboxId,
        /// The other one.
        because_of: Address,
        /// Why that one is gone.
        reason: MailLoss,
    },
}

/// News of what a user watches: a snapshot, then every change once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// The snapshot of members.
    Members(Vec<Member>),
    /// A member came, changed or went.
    Member {
        /// The member as it is now.
        member: Member,
        /// Its state before; none when it was not known.
        was: Option<MemberState>,
    },
    /// The snapshot of visible services.
    Services(Vec<Service>),
    /// A service became visible.
    Registered(Service),
    /// A service says something else of itself, or is suspected, or is no longer.
    Updated(Service),
    /// A service was withdrawn by its owner.
    Unregistered(Service),
    /// A service went with its owner.
    Down {
        /// The service as it was.
        service: Service,
        /// What became of its owner.
        reason: ServiceLoss,
    },
    /// The snapshot of partitions that this node owns, with their tokens.
    Owned(Vec<(u32, Stamp)>),
    /// This node owns a partition from now on.
    Acquired {
        /// The partition.
        partition: u32,
        /// The token of this ownership.
        token: Stamp,
    },
    /// This node owns a partition no longer.
    Released {
        /// The partition.
        partition: u32,
        /// The token of the ownership that ends.
        token: Stamp,
    },
}

impl News {
    /// Shows the one service that the news is about.
    pub fn service(&self) -> Option<&Service> {
        match self {
            Self::Registered(service) | Self::Updated(service) | Self::Unregistered(service) => Some(service),
            Self::Down { service, .. } => Some(service),
            Self::Members(_)
            | Self::Member { .. }
            | Self::Services(_)
            | Self::Owned(_)
            | Self::Acquired { .. }
            | Self::Released { .. } => None,
        }
    }
}

/// Why a service went with its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceLoss {
    /// The owner left the cluster.
    Left,
    /// The owner's lease ended.
    Dead,
    /// The owner lives another life.
    Restarted,
}

/// Why a mailbox is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum MailLoss {
    /// It was closed, never opened, or belongs to an earlier life of its node.
    Gone = 0,
    /// Its node cannot be reached.
    Unreachable = 1,
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
