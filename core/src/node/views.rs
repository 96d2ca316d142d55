//! What a user reads of a node: members and placement.

use super::Node;
use crate::hlc::Stamp;
use crate::id::NodeId;
use crate::members::Members;
use crate::placement::Placement;
use alloc::vec::Vec;

impl Node {
    /// Shows the members of the cluster; none where that machine is off.
    pub fn members(&self) -> Option<&Members> {
        self.machines.members.as_deref()
    }

    /// Shows the ring and what this node owns; none where that machine is off.
    pub fn placement(&self) -> Option<&Placement> {
        self.machines.placement.as_deref()
    }

    /// Finds the owner of a key; none when nobody takes part, or placement is off.
    #[inline]
    pub fn place(&self, key: &[u8]) -> Option<NodeId> {
        let placement = self.placement()?;
        placement.owner_of(placement.ring().partition(key))
    }

    /// Lists the best owners of a key, the owner first, in different zones as far as there are zones.
    pub fn owners(&self, key: &[u8], count: usize) -> Vec<NodeId> {
        self.placement().map_or(Vec::new(), |placement| placement.ring().owners(key, count))
    }

    /// Tells the partition of a key; none where placement is off.
    pub fn partition(&self, key: &[u8]) -> Option<u32> {
        Some(self.placement()?.ring().partition(key))
    }

    /// Finds the owner of a partition; none when nobody takes part, or placement is off.
    pub fn owner_of(&self, partition: u32) -> Option<NodeId> {
        self.placement()?.owner_of(partition)
    }

    /// Tells whether this node owns a key, and has told so who watches partitions.
    pub fn is_owner(&self, key: &[u8]) -> bool {
        self.placement().is_some_and(|placement| placement.is_owner(key))
    }

    /// Lists the partitions that this node owns, each with its token.
    pub fn owned(&self) -> impl Iterator<Item = (u32, Stamp)> {
        self.placement().into_iter().flat_map(Placement::owned)
    }

    /// Counts the partitions of the ring; none where placement is off.
    pub fn ring_size(&self) -> Option<u32> {
        Some(self.placement()?.ring().partitions())
    }
}
