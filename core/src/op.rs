//! Operations on replicated maps, and their one form on the wire.
//!
//! A postcard header, then the raw key and the raw value. The header tells both lengths, so operations can stand one
//! after another. A replica keeps the encoded form as it came and hands it on unchanged: a stamp is never altered in
//! transit, and what travels between thousands of simulated nodes is one shared buffer.

use crate::hlc::Stamp;
use crate::id::{MapId, Version, Writer};
use alloc::vec::Vec;
use bytes::{Buf, Bytes};
use core::fmt;
use serde::{Deserialize, Serialize};

/// What an operation does to its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Gives it a value.
    Put(Bytes),
    /// Removes it. The entry stays and carries the version, so a delete survives any partition.
    Tombstone,
}

/// One write to one key of a replicated map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// The map.
    pub map: MapId,
    /// The generation of the map: a higher one voids all state of lower ones.
    pub generation: u64,
    /// Who wrote it.
    pub writer: Writer,
    /// The stamp of the writer's operation before this one, zero for its first: between the two there is none.
    pub prev: Stamp,
    /// The stamp of this one; with the writer it is the operation's version.
    pub stamp: Stamp,
    /// The version that the writer saw under the key and replaced.
    pub base: Option<Version>,
    /// When the entry ends by itself.
    pub expires: Option<Stamp>,
    /// The key.
    pub key: Bytes,
    /// What becomes of it.
    pub body: Body,
}

/// Why bytes are no operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpError {
    /// The header does not decode.
    Header,
    /// The header tells more bytes of key and value than there are.
    Truncated {
        /// Bytes that should follow the header.
        expected: u64,
        /// Bytes that do.
        found: usize,
    },
    /// The stamp is not after the one before it.
    Order,
}

impl fmt::Display for OpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpError::Header => f.write_str("operation header does not decode; nothing was applied"),
            OpError::Truncated { expected, found } => {
                write!(
                    f,
                    "operation has {found} bytes of key and value, expected {expected}; nothing was applied"
                )
            }
            OpError::Order => {
                f.write_str("operation's stamp is not after its predecessor's; nothing was applied")
            }
        }
    }
}

impl core::error::Error for OpError {}

/// Everything but key and value, which follow raw.
#[derive(Serialize, Deserialize)]
struct Header {
    map: MapId,
    generation: u64,
    writer: Writer,
    prev: Stamp,
    stamp: Stamp,
    base: Option<Version>,
    expires: Option<Stamp>,
    key_len: u32,
    /// The length of the value; none for a tombstone.
    value_len: Option<u32>,
}

impl Op {
    /// Names the version that the operation gives to its key.
    pub fn version(&self) -> Version {
        Version { stamp: self.stamp, writer: self.writer }
    }

    /// Shows the value, if the operation gives one.
    pub fn value(&self) -> Option<&Bytes> {
        match &self.body {
            Body::Put(value) => Some(value),
            Body::Tombstone => None,
        }
    }

    /// Encodes the operation into a buffer of its own.
    ///
    /// # Panics
    /// When key or value are longer than 4 GiB, which no configuration allows.
    pub fn encode(&self) -> Bytes {
        let header = Header {
            map: self.map,
            generation: self.generation,
            writer: self.writer,
            prev: self.prev,
            stamp: self.stamp,
            base: self.base,
            expires: self.expires,
            key_len: u32::try_from(self.key.len()).expect("a key below 4 GiB"),
            value_len: self.value().map(|value| u32::try_from(value.len()).expect("a value below 4 GiB")),
        };
        let buffer = Vec::with_capacity(self.wire_len());
        let mut buffer =
            postcard::to_extend(&header, buffer).expect("a header always serializes into memory");
        buffer.extend_from_slice(&self.key);
        buffer.extend_from_slice(self.value().map_or(&[], |value| value));
        Bytes::from(buffer)
    }

    /// Decodes one operation from the front of `bytes` and moves past it; key and value are slices, not copies.
    ///
    /// # Errors
    /// [`OpError`] tells why the front is no operation; `bytes` is then unchanged.
    pub fn decode(bytes: &mut Bytes) -> Result<Op, OpError> {
        Self::split(bytes).map(|(op, _)| op)
    }

    /// Decodes like [`Op::decode`] and hands out the encoded form with it, as a slice.
    ///
    /// # Errors
    /// [`OpError`] tells why the front is no operation; `bytes` is then unchanged.
    pub fn split(bytes: &mut Bytes) -> Result<(Op, Bytes), OpError> {
        let (header, tail) = postcard::take_from_bytes::<Header>(bytes).map_err(|_| OpError::Header)?;
        if header.prev >= header.stamp {
            return Err(OpError::Order);
        }
        let value_len = header.value_len.unwrap_or(0);
        let (expected, found) = (u64::from(header.key_len) + u64::from(value_len), tail.len());
        if expected > found as u64 {
            return Err(OpError::Truncated { expected, found });
        }
        let key_at = bytes.len() - found;
        let value_at = key_at + header.key_len as usize;
        let end = value_at + value_len as usize;
        let raw = bytes.slice(..end);
        bytes.advance(end);
        let op = Op {
            map: header.map,
            generation: header.generation,
            writer: header.writer,
            prev: header.prev,
            stamp: header.stamp,
            base: header.base,
            expires: header.expires,
            key: raw.slice(key_at..value_at),
            body: if header.value_len.is_some() { Body::Put(raw.slice(value_at..)) } else { Body::Tombstone },
        };
        Ok((op, raw))
    }

    /// Tells how many bytes the encoded form has.
    pub fn wire_len(&self) -> usize {
        let version = |version: Version| varint_len(version.stamp.0) + writer_len(&version.writer);
        let stamps = varint_len(self.prev.0) + varint_len(self.stamp.0);
        let options = 3
            + self.base.map_or(0, version)
            + self.expires.map_or(0, |expires| varint_len(expires.0))
            + self.value().map_or(0, |value| varint_len(value.len() as u64) + value.len());
        let names = varint_len(self.map.0) + varint_len(self.generation) + writer_len(&self.writer);
        names + stamps + options + varint_len(self.key.len() as u64) + self.key.len()
    }
}

/// Bytes of a writer: the id's length and its 32 bytes, then the epoch.
fn writer_len(writer: &Writer) -> usize {
    33 + varint_len(writer.epoch)
}

/// Bytes of a number in postcard's form: seven bits in each, and one at least.
fn varint_len(number: u64) -> usize {
    (64 - (number | 1).leading_zeros() as usize).div_ceil(7)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::NodeId;
    use proptest::prelude::*;

    fn writers() -> impl Strategy<Value = Writer> {
        (any::<[u8; 32]>(), any::<u64>()).prop_map(|(id, epoch)| Writer { node: NodeId(id), epoch })
    }

    fn ops() -> impl Strategy<Value = Op> {
        let base = proptest::option::of((any::<u64>(), writers()));
        let key = proptest::collection::vec(any::<u8>(), 0..200);
        let value = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..200));
        let names = (any::<u64>(), any::<u64>(), writers());
        let stamps = (any::<u64>(), any::<u64>(), proptest::option::of(any::<u64>()));
        (names, stamps, base, key, value).prop_map(
            |((map, generation, writer), (a, b, expires), base, key, value)| Op {
                map: MapId(map),
                generation,
                writer,
                prev: Stamp(a.min(b).saturating_sub(1)),
                stamp: Stamp(a.max(b).max(1)),
                base: base.map(|(stamp, writer)| Version { stamp: Stamp(stamp), writer }),
                expires: expires.map(Stamp),
                key: Bytes::from(key),
                body: value.map_or(Body::Tombstone, |value| Body::Put(Bytes::from(value))),
            },
        )
    }

    proptest! {
        #[test]
        fn what_was_encoded_decodes_and_the_rest_stays(op in ops(), rest in proptest::collection::vec(any::<u8>(), 0..20)) {
            let raw = op.encode();
            prop_assert_eq!(raw.len(), op.wire_len());
            let mut bytes = Bytes::from([&raw[..], &rest[..]].concat());
            let (decoded, kept) = Op::split(&mut bytes).unwrap();
            prop_assert_eq!(decoded, op);
            prop_assert_eq!(kept, raw);
            prop_assert_eq!(bytes, rest);
        }

        #[test]
        fn no_bytes_panic_and_a_refusal_moves_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut left = Bytes::from(bytes.clone());
            if Op::decode(&mut left).is_err() {
                prop_assert_eq!(left, bytes);
            }
        }

        #[test]
        fn every_cut_is_refused(op in ops(), at in any::<prop::sample::Index>()) {
            let raw = op.encode();
            let mut cut = raw.slice(..at.index(raw.len()));
            prop_assert!(Op::decode(&mut cut).is_err());
        }
    }

    #[test]
    fn key_and_value_are_slices_of_the_input() {
        let writer = Writer { node: NodeId([1; 32]), epoch: 1 };
        let (prev, stamp) = (Stamp(1), Stamp(2));
        let (key, body) = (Bytes::from_static(b"key"), Body::Put(Bytes::from_static(b"value")));
        let op =
            Op { map: MapId(1), generation: 0, writer, prev, stamp, base: None, expires: None, key, body };
        let raw = op.encode();
        let range = raw.as_ptr_range();
        let decoded = Op::decode(&mut { raw }).unwrap();
        assert!(range.contains(&decoded.key.as_ptr()));
        assert!(range.contains(&decoded.value().unwrap().as_ptr()));
        let equal_stamps = Op { prev: stamp, ..op };
        assert_eq!(Op::decode(&mut equal_stamps.encode()), Err(OpError::Order));
    }
}
