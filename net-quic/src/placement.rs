//! Placement: who owns which key, as this node computes it from the members that are active.

use crate::cluster::{Cluster, Error, encode};
use crate::watch::Watching;
use rumormill_core::{NodeId, Stamp, Watch};
use serde::Serialize;

impl Cluster {
    /// Finds the owner of a key; none while no member is active.
    ///
    /// # Errors
    /// [`Error::Encode`], [`Error::Ended`].
    pub async fn place<K: Serialize + ?Sized>(&self, key: &K) -> Result<Option<NodeId>, Error> {
        let key = encode(key)?;
        self.read(move |node| node.place(&key)).await
    }

    /// Lists up to `count` owners of a key, best first: the next one is who owns it when those before are gone.
    ///
    /// # Errors
    /// [`Error::Encode`], [`Error::Ended`].
    pub async fn owners<K: Serialize + ?Sized>(&self, key: &K, count: usize) -> Result<Vec<NodeId>, Error> {
        let key = encode(key)?;
        self.read(move |node| node.owners(&key, count)).await
    }

    /// Tells which partition of the ring a key is in.
    ///
    /// # Errors
    /// [`Error::Encode`], [`Error::Ended`].
    pub async fn partition<K: Serialize + ?Sized>(&self, key: &K) -> Result<Option<u32>, Error> {
        let key = encode(key)?;
        self.read(move |node| node.partition(&key)).await
    }

    /// Finds the owner of a partition.
    ///
    /// # Errors
    /// [`Error::Ended`].
    pub async fn owner_of(&self, partition: u32) -> Result<Option<NodeId>, Error> {
        self.read(move |node| node.owner_of(partition)).await
    }

    /// Tells whether this node owns a key.
    ///
    /// # Errors
    /// [`Error::Encode`], [`Error::Ended`].
    pub async fn is_owner<K: Serialize + ?Sized>(&self, key: &K) -> Result<bool, Error> {
        let key = encode(key)?;
        self.read(move |node| node.is_owner(&key)).await
    }

    /// Lists the partitions that this node owns, each with the token of its ownership.
    ///
    /// # Errors
    /// [`Error::Ended`].
    pub async fn owned(&self) -> Result<Vec<(u32, Stamp)>, Error> {
        self.read(|node| node.owned().collect()).await
    }

    /// Tells how many partitions the ring has.
    ///
    /// # Errors
    /// [`Error::Ended`].
    pub async fn ring_size(&self) -> Result<Option<u32>, Error> {
        self.read(rumormill_core::Node::ring_size).await
    }

    /// Watches what this node owns: the owned set first, then every partition that it acquires and releases.
    ///
    /// # Errors
    /// [`Error::Refused`] beyond the bound on watches, or [`Error::Ended`].
    pub async fn watch_partitions(&self) -> Result<Watching, Error> {
        Watching::begin(self, Watch::Partitions).await
    }
}
