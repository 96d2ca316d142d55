//! Replicated maps with typed keys and values: last writer wins, and every node that hosts one reads its own copy.

use crate::cluster::{Cluster, Error, decode, encode, with_encoded};
use crate::published::Copy;
use crate::watch::Feed;
use rumormill_core::{Command, Event, MapId, Reply, Schema, Version};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;
use std::sync::Arc;

/// A replicated map that this node hosts. From [`Cluster::map`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use rumormill_net_quic::testing::TestCluster;
///
/// let cluster = TestCluster::start_with(2, |_, builder| builder.map("flags")).await?;
/// let here = cluster.node(0).map::<String, bool>("flags").await?;
/// let there = cluster.node(1).map::<String, bool>("flags").await?;
/// let (entries, mut changes) = there.watch().await?;
/// assert_eq!(entries, []);
/// here.put(&"dark".to_string(), &true).await?;
/// let change = changes.recv().await.expect("the node runs")?;
/// assert_eq!((change.old, change.new), (None, Some(true)));
/// assert_eq!(there.get(&"dark".to_string())?, Some(true)); // its own copy: no lock, no await
/// # Ok(()) }
/// ```
pub struct Map<K, V> {
    cluster: Cluster,
    id: MapId,
    copy: Arc<Copy>,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Clone for Map<K, V> {
    fn clone(&self) -> Self {
        Self { cluster: self.cluster.clone(), id: self.id, copy: self.copy.clone(), types: PhantomData }
    }
}

/// One change of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change<K, V> {
    /// The key.
    pub key: K,
    /// The value before; none when the key was not there.
    pub old: Option<V>,
    /// The value now; none when it was removed.
    pub new: Option<V>,
    /// The version of the change: grows with every change of the key.
    pub version: Version,
}

/// The changes of a map from a snapshot on. Dropping it unsubscribes.
pub struct Changes<K, V> {
    feed: Feed<Event>,
    types: PhantomData<fn() -> (K, V)>,
}

impl Cluster {
    /// Hosts a replicated map, if this node does not host it yet. Nodes that are to share it all call this, or name it
    /// when they are built. Nothing checks that they mean the same types: what one wrote that is no value of another's
    /// types is an [`Error::Decode`] where it is read. [`Cluster::map_with`] refuses it at the write.
    ///
    /// # Errors
    /// [`Error::Refused`] beyond the bound on maps, or when it is hosted with a schema.
    pub async fn map<K, V>(&self, name: &str) -> Result<Map<K, V>, Error> {
        self.map_with(name, 0).await
    }

    /// Hosts a replicated map as [`Cluster::map`] does, judged by the schema of this id.
    ///
    /// # Errors
    /// [`Error::Refused`] also when no such schema was registered with the builder.
    pub async fn map_with<K, V>(&self, name: &str, schema: u32) -> Result<Map<K, V>, Error> {
        self.ask(Command::CreateMap { name: name.into(), schema }).await?;
        let id = MapId::named(name);
        Ok(Map { cluster: self.clone(), id, copy: self.inner.published.map(id), types: PhantomData })
    }
}

/// Makes a schema by which a map has values of type `V` only: whatever does not read as one, to its last byte, is refused,
/// written here or elsewhere. The number is yours to choose, and is not zero.
pub fn schema_of<V: DeserializeOwned>(id: u32) -> Schema {
    fn is_one<V: DeserializeOwned>(_key: &[u8], value: &[u8]) -> bool {
        postcard::take_from_bytes::<V>(value).is_ok_and(|(_, rest)| rest.is_empty())
    }
    Schema { id, version: 1, join: None, validate: Some(is_one::<V>), verify: None }
}

fn version(reply: &Reply) -> Result<Version, Error> {
    if let Reply::Written { version } = reply { Ok(*version) } else { Err(Error::Ended) }
}

impl<K: Serialize + DeserializeOwned, V: Serialize + DeserializeOwned> Map<K, V> {
    /// Writes a key. Once this returns the write is on its way to everybody, and this node never forgets its version.
    ///
    /// # Errors
    /// [`Error::Refused`]: too large, too many entries, or the schema's validator said no.
    pub async fn put(&self, key: &K, value: &V) -> Result<Version, Error> {
        let (key, value) = (encode(key)?, encode(value)?);
        version(&self.cluster.ask(Command::Put { map: self.id, key, value, expires: None }).await?)
    }

    /// Removes a key, everywhere.
    ///
    /// # Errors
    /// As [`Map::put`].
    pub async fn remove(&self, key: &K) -> Result<Version, Error> {
        version(&self.cluster.ask(Command::Remove { map: self.id, key: encode(key)? }).await?)
    }

    /// Reads a key of this node's copy: at once, without a lock and without asking the node, from as many threads as
    /// there are. What this handle has put it reads; after the node has ended it reads what was there last.
    ///
    /// # Errors
    /// [`Error::Decode`] when the value is of another type.
    pub fn get(&self, key: &K) -> Result<Option<V>, Error> {
        let copy = self.copy.keys.pin();
        let value = with_encoded(key, |key| copy.get(key).map(|value| decode(value)))?;
        value.transpose()
    }

    /// Counts the keys of this node's copy, at once.
    pub fn len(&self) -> usize {
        self.copy.keys.len()
    }

    /// Tells whether this node's copy has no key.
    pub fn is_empty(&self) -> bool {
        self.copy.keys.is_empty()
    }

    /// Lists the keys of this node's copy, in the order of their bytes, as they are at one moment: at once, as
    /// [`Map::get`] reads.
    ///
    /// # Errors
    /// [`Error::Decode`] when a key is of another type.
    pub fn keys(&self) -> Result<Vec<K>, Error> {
        self.each(|key, _| decode(key))
    }

    /// Lists the entries of this node's copy, in the order of their keys' bytes, as they are at one moment: at once.
    ///
    /// # Errors
    /// [`Error::Decode`] when an entry is of another type.
    pub fn entries(&self) -> Result<Vec<(K, V)>, Error> {
        self.each(|key, value| Ok((decode(key)?, decode(value)?)))
    }

    /// Reads every entry, up to the first that cannot be read.
    fn each<T>(&self, read: impl Fn(&[u8], &[u8]) -> Result<T, Error>) -> Result<Vec<T>, Error> {
        self.copy.snapshot().iter().map(|(key, value)| read(key, value)).collect()
    }

    /// Watches the map: its entries now, then every change of this node's copy, made here or elsewhere.
    ///
    /// # Errors
    /// [`Error::Decode`] when an entry is of another type, or [`Error::Ended`].
    pub async fn watch(&self) -> Result<(Vec<(K, V)>, Changes<K, V>), Error> {
        let (entries, feed) = Feed::of_map(&self.cluster, self.id).await?;
        let entries = entries.unwrap_or_default();
        let entries = entries.iter().map(|(key, value)| Ok((decode(key)?, decode(value)?)));
        Ok((entries.collect::<Result<_, Error>>()?, Changes { feed, types: PhantomData }))
    }
}

impl<K: DeserializeOwned, V: DeserializeOwned> Changes<K, V> {
    /// Waits for the next change; `None` when the node has ended.
    ///
    /// # Errors
    /// [`Error::Decode`] when key or value is of another type; the next one may be well.
    pub async fn recv(&mut self) -> Option<Result<Change<K, V>, Error>> {
        loop {
            if let Event::MapChanged { key, old, new, version, .. } = self.feed.recv().await? {
                return Some(change(&key, old.as_deref(), new.as_deref(), version));
            }
        }
    }

    /// Tells how many changes did not fit since this was asked last: whoever missed some watches anew.
    pub fn take_missed(&self) -> u64 {
        self.feed.take_missed()
    }
}

fn change<K: DeserializeOwned, V: DeserializeOwned>(
    key: &[u8],
    old: Option<&[u8]>,
    new: Option<&[u8]>,
    version: Version,
) -> Result<Change<K, V>, Error> {
    let (old, new) = (old.map(decode).transpose()?, new.map(decode).transpose()?);
    Ok(Change { key: decode(key)?, old, new, version })
}
