//! Placement: who owns which key, as this node computes it from the members that are active.

use crate::cluster::{Cluster, Error, with_encoded};
use crate::watch::Watching;
use rumormill_core::{NodeId, Stamp, Watch};
use serde::Serialize;

impl Cluster {
    /// Finds the owner of a key; none while no member is active. At once, without asking the node.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use rumormill_net_quic::testing::TestCluster;
    ///
    /// let cluster = TestCluster::start(3).await?;
    /// let owner = cluster.node(0).place("user 42")?.expect("somebody");
    /// assert_eq!(cluster.node(1).place("user 42")?, Some(owner)); // all agree, and nobody had to ask
    /// let owners = cluster.node(2).owners("user 42", 2)?; // the second takes over when the first is gone
    /// assert_eq!((owners.len(), owners[0]), (2, owner));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Encode`].
    pub fn place<K: Serialize + ?Sized>(&self, key: &K) -> Result<Option<NodeId>, Error> {
        with_encoded(key, |key| self.inner.published.ring(|ring| ring.place(key)).flatten())
    }

    /// Lists up to `count` owners of a key, best first: the next one is who owns it when those before are gone. At once.
    ///
    /// # Errors
    /// [`Error::Encode`].
    pub fn owners<K: Serialize + ?Sized>(&self, key: &K, count: usize) -> Result<Vec<NodeId>, Error> {
        with_encoded(key, |key| self.inner.published.ring(|ring| ring.owners(key, count)).unwrap_or_default())
    }

    /// Tells which partition of the ring a key is in, at once.
    ///
    /// # Errors
    /// [`Error::Encode`].
    pub fn partition<K: Serialize + ?Sized>(&self, key: &K) -> Result<Option<u32>, Error> {
        with_encoded(key, |key| self.inner.published.ring(|ring| ring.partition(key)))
    }

    /// Finds the owner of a partition, at once.
    pub fn owner_of(&self, partition: u32) -> Option<NodeId> {
        self.inner.published.ring(|ring| ring.owner_of(partition)).flatten()
    }

    /// Tells how many partitions the ring has; none where placement is off, and just after a start, before the node is active.
    pub fn ring_size(&self) -> Option<u32> {
        self.inner.published.ring(rumormill_core::Ring::partitions)
    }

    /// Tells whether this node owns a key, and was told so: at once. Whoever hears [`Cluster::watch_partitions`] reads what
    /// was told, or what comes after it.
    ///
    /// # Errors
    /// [`Error::Encode`].
    pub fn is_owner<K: Serialize + ?Sized>(&self, key: &K) -> Result<bool, Error> {
        let partition = self.partition(key)?;
        Ok(partition.is_some_and(|partition| self.inner.published.owned().contains_key(&partition)))
    }

    /// Lists the partitions that this node owns, each with the token of its ownership, as they are at one moment: at once.
    pub fn owned(&self) -> Vec<(u32, Stamp)> {
        self.inner.published.owned().iter().map(|(partition, token)| (*partition, *token)).collect()
    }

    /// Watches what this node owns: the owned set first, then every partition that it acquires and releases.
    ///
    /// # Errors
    /// [`Error::Refused`] beyond the bound on watches, or [`Error::Ended`].
    pub async fn watch_partitions(&self) -> Result<Watching, Error> {
        Watching::begin(self, Watch::Partitions).await
    }
}
