//! Names of things: nodes, contacts, messages, topics, maps, writers.

use crate::hash::{Fold, Folded, hash_bytes, hash_bytes_seeded};
use crate::hlc::Stamp;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::fmt;
use core::net::SocketAddr;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Addresses that a contact carries at most.
pub const ADDRS_MAX: usize = 4;

/// The name of a node for life: its first Ed25519 public key, opaque to this crate.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeId(pub [u8; 32]);

/// The order of the bytes. Ids are uniform: eight of them nearly always decide.
impl Ord for NodeId {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        let first = |id: &Self| id.prefix().swap_bytes(); // in the order of memory, the first byte weighs most
        first(self).cmp(&first(other)).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for NodeId {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl NodeId {
    /// Tells the first eight bytes as a number: a uniform key for tables, not unique.
    #[inline]
    pub fn prefix(&self) -> u64 {
        let mut word = [0; 8];
        word.copy_from_slice(&self.0[..8]);
        u64::from_le_bytes(word)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for NodeId {
    /// Writes the first four bytes in hexadecimal: enough to tell nodes apart in a report.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Folded for NodeId {
    #[inline]
    fn fold(&self, into: &mut Fold) {
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&self.0[at..at + 8]);
            u64::from_le_bytes(word)
        };
        into.pair(word(0), word(8));
        into.pair(word(16), word(24));
    }
}

impl Serialize for NodeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0) // one copy; a derived array goes byte by byte
    }
}

impl<'de> Deserialize<'de> for NodeId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes32;
        impl Visitor<'_> for Bytes32 {
            type Value = NodeId;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the 32 bytes of a node id")
            }
            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<NodeId, E> {
                bytes.try_into().map(NodeId).map_err(|_| E::invalid_length(bytes.len(), &self))
            }
        }
        deserializer.deserialize_bytes(Bytes32)
    }
}

/// One life of a node: greater for every later life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incarnation(pub u64);

/// How to reach a node, as it introduces itself: id, incarnation and at most [`ADDRS_MAX`] addresses.
///
/// Immutable and shared: a clone is a reference count, so views of thousands of simulated nodes share one.
#[derive(Clone, PartialEq, Eq)]
pub struct Contact(Arc<ContactParts>);

#[derive(PartialEq, Eq)]
struct ContactParts {
    id: NodeId,
    incarnation: Incarnation,
    addrs: Vec<SocketAddr>,
}

impl Contact {
    /// Builds a contact; addresses beyond [`ADDRS_MAX`] are left out.
    pub fn new(id: NodeId, incarnation: Incarnation, addrs: &[SocketAddr]) -> Self {
        let addrs = addrs.iter().take(ADDRS_MAX).copied().collect();
        Self(Arc::new(ContactParts { id, incarnation, addrs }))
    }

    /// Names the node.
    #[inline]
    pub fn id(&self) -> NodeId {
        self.0.id
    }

    /// Tells which life of the node this contact was made in; zero when it is not known yet.
    pub fn incarnation(&self) -> Incarnation {
        self.0.incarnation
    }

    /// Lists the addresses, the most useful first.
    pub fn addrs(&self) -> &[SocketAddr] {
        &self.0.addrs
    }
}

impl fmt::Debug for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.0.id, self.0.incarnation.0)
    }
}

impl Folded for Contact {
    fn fold(&self, into: &mut Fold) {
        into.value(&self.0.id);
        into.word(self.0.incarnation.0);
        into.word(self.0.addrs.len() as u64);
        self.0.addrs.iter().for_each(|addr| into.value(addr));
    }
}

impl Folded for SocketAddr {
    fn fold(&self, into: &mut Fold) {
        match self {
            SocketAddr::V4(v4) => into.word(u64::from(v4.ip().to_bits()) << 16 | u64::from(v4.port())),
            SocketAddr::V6(v6) => {
                let bits = v6.ip().to_bits();
                into.word(bits as u64);
                into.word((bits >> 64) as u64);
                into.word(u64::from(v6.port()));
            }
        }
    }
}

impl Serialize for Contact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.0.id, self.0.incarnation, &self.0.addrs).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Contact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (id, incarnation, Addrs(addrs)) = Deserialize::deserialize(deserializer)?;
        Ok(Self(Arc::new(ContactParts { id, incarnation, addrs })))
    }
}

/// Addresses whose count is checked before anything is allocated.
struct Addrs(Vec<SocketAddr>);

impl<'de> Deserialize<'de> for Addrs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        bounded::<D, SocketAddr, ADDRS_MAX>(deserializer).map(Addrs)
    }
}

/// Deserializes a sequence of at most `MAX` elements, refusing a longer one before it allocates.
///
/// # Errors
/// The deserializer's own, and an invalid length when the sequence is longer than `MAX`.
pub(crate) fn bounded<'de, D: Deserializer<'de>, T: Deserialize<'de>, const MAX: usize>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    struct Bounded<T, const MAX: usize>(core::marker::PhantomData<T>);
    impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Bounded<T, MAX> {
        type Value = Vec<T>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {MAX} elements")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
            let length = seq.size_hint().unwrap_or(0);
            if length > MAX {
                return Err(A::Error::invalid_length(length, &self));
            }
            // A lying prefix costs nothing: no element is smaller than a byte, and growth follows the bytes.
            let mut elements = Vec::with_capacity(length.min(8));
            while let Some(element) = seq.next_element()? {
                if elements.len() == MAX {
                    return Err(A::Error::invalid_length(MAX + 1, &self));
                }
                elements.push(element);
            }
            Ok(elements)
        }
    }
    deserializer.deserialize_seq(Bounded::<T, MAX>(core::marker::PhantomData))
}

/// The name of one broadcast message: who published it (a hash of id and incarnation) and its number there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MessageId {
    /// The publisher's life, from [`MessageId::origin`].
    pub origin: u64,
    /// The publisher's own count of messages in that life, from one.
    pub seq: u64,
}

impl MessageId {
    /// Hashes a publisher's id and incarnation to the `origin` of its messages.
    pub fn origin(id: &NodeId, incarnation: Incarnation) -> u64 {
        hash_bytes_seeded(&id.0, incarnation.0)
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}#{}", self.origin >> 32, self.seq)
    }
}

impl Folded for MessageId {
    #[inline]
    fn fold(&self, into: &mut Fold) {
        into.word(self.origin);
        into.word(self.seq);
    }
}

/// A broadcast topic. Ids from [`Topic::RESERVED_MIN`] up belong to this crate's own machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Topic(pub u32);

impl Topic {
    /// The first topic id that users cannot publish on.
    pub const RESERVED_MIN: u32 = 0xFFFF_FF00;
    /// Operations on replicated maps.
    pub const REPLICA: Topic = Topic(Self::RESERVED_MIN);

    /// Tells whether the topic belongs to this crate's own machines.
    pub const fn is_reserved(self) -> bool {
        self.0 >= Self::RESERVED_MIN
    }

    /// Derives a topic from a name; never a reserved one.
    pub fn named(name: &str) -> Self {
        Self((hash_bytes(name.as_bytes()) >> 32) as u32 % Self::RESERVED_MIN)
    }
}

/// A replicated map, named by the hash of its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MapId(pub u64);

impl MapId {
    /// Derives the id of a map from its name.
    pub fn named(name: &str) -> Self {
        Self(hash_bytes(name.as_bytes()))
    }
}

impl fmt::Debug for MapId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "map:{:08x}", self.0 >> 32)
    }
}

/// Who writes to replicated state: a node and the epoch of its store.
///
/// A store that was lost, reset or cloned gets a new epoch, so that no stamp is ever minted twice under one
/// writer (an identity is never reused).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Writer {
    /// The node.
    pub node: NodeId,
    /// The epoch of its store: the incarnation in which the store began.
    pub epoch: u64,
}

impl Folded for Writer {
    fn fold(&self, into: &mut Fold) {
        into.value(&self.node);
        into.word(self.epoch);
    }
}

/// The version of an entry: totally ordered by stamp, then by writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version {
    /// The hybrid logical stamp, strictly increasing for each writer.
    pub stamp: Stamp,
    /// Who wrote it.
    pub writer: Writer,
}

impl Folded for Version {
    fn fold(&self, into: &mut Fold) {
        into.word(self.stamp.0);
        into.value(&self.writer);
    }
}

/// A mailbox of one life of a node; zero is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MailboxId(pub u64);

/// How a mailbox is reached from anywhere; it may travel inside messages and outlives nothing: a node that restarts
/// has none of its old mailboxes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Address {
    /// The node.
    pub node: NodeId,
    /// The life of it that opened the mailbox.
    pub incarnation: Incarnation,
    /// The mailbox.
    pub mailbox: MailboxId,
}

impl Folded for Address {
    fn fold(&self, into: &mut Fold) {
        into.value(&self.node);
        into.word(self.incarnation.0);
        into.word(self.mailbox.0);
    }
}

/// A question that waits for its answer: who asked, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Question {
    /// Who asked.
    pub from: Address,
    /// The asker's number for it.
    pub number: u64,
}

impl Folded for Question {
    fn fold(&self, into: &mut Fold) {
        into.value(&self.from);
        into.word(self.number);
    }
}

/// The caller's name for a command or a write, given back with its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Token(pub u64);
