//! The bytes of frames: writing them, reading them, and telling their length without writing.
//!
//! A body is the frame's fields in their order, each in postcard's form, then the payload if it has one. A postcard
//! struct is nothing but its fields one after another, so they are read one by one here: a list's count is then
//! judged before its first element is looked at, and an error can name the bound that was broken.
//!
//! Every frame has exactly one form. Postcard would read a number that is padded with empty varint groups; a body
//! longer than the frame's [`Frame::wire_len`] is refused, so byte counts are the same at both ends.

use super::{
    ANNOUNCEMENTS_MAX, Aged, Announcement, BODY_LEN_MAX, Bundle, CONTACTS_MAX, Frame, Gossip, HEADER_LEN,
    Mail, MailKind, MembersFrame, SyncChunk, SyncEnd, SyncHello, SyncVector, VECTOR_ENTRIES_MAX,
};
use crate::hlc::Stamp;
use crate::id::{Contact, MessageId, Writer};
use crate::registry::{RELAYED_MAX, ROWS_MAX, Relayed, Row, Rows, TOLD_MAX, Told, UPDATES_MAX, Update};
use alloc::boxed::Box;
use alloc::vec::Vec;
use bytes::{Buf, Bytes};
use core::fmt;
use core::net::SocketAddr;
use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The numbers of the frame types. Append only: a number is never taken back, nor given to another type.
pub(super) mod kinds {
    pub(super) const JOIN: u16 = 1;
    pub(super) const JOIN_REPLY: u16 = 2;
    pub(super) const FORWARD_JOIN: u16 = 3;
    pub(super) const NEIGHBOR: u16 = 4;
    pub(super) const NEIGHBOR_REPLY: u16 = 5;
    pub(super) const DISCONNECT: u16 = 6;
    pub(super) const LEAVE: u16 = 7;
    pub(super) const SHUFFLE: u16 = 8;
    pub(super) const SHUFFLE_REPLY: u16 = 9;
    pub(super) const PROBE: u16 = 10;
    pub(super) const PROBE_ACK: u16 = 11;
    pub(super) const GOSSIP: u16 = 12;
    pub(super) const I_HAVE: u16 = 13;
    pub(super) const GRAFT: u16 = 14;
    pub(super) const PRUNE: u16 = 15;
    pub(super) const SYNC_HELLO: u16 = 16;
    pub(super) const SYNC_VECTOR: u16 = 17;
    pub(super) const SYNC_CHUNK: u16 = 18;
    pub(super) const SYNC_END: u16 = 19;

    // 20 was of heartbeats that asked nothing.
    pub(in crate::frame) const MEMBERS_PULL_PAGE: u16 = 21;
    pub(in crate::frame) const MEMBERS_PULL: u16 = 22;
    pub(in crate::frame) const MEMBERS_PUSH: u16 = 23;
    pub(in crate::frame) const PING_REQUEST: u16 = 24;
    pub(in crate::frame) const PING: u16 = 25;
    pub(in crate::frame) const PONG: u16 = 26;
    pub(in crate::frame) const PING_ANSWER: u16 = 27;
    pub(in crate::frame) const MEMBERS_NEWS: u16 = 28;
    pub(in crate::frame) const BEATS: u16 = 29;
    pub(super) const REGISTRY_HELLO: u16 = 30;
    pub(super) const REGISTRY_ROWS: u16 = 31;
    pub(super) const REGISTRY_PULL: u16 = 32;
    pub(super) const REGISTRY_UPDATES: u16 = 33;
    pub(super) const REGISTRY_RELAY: u16 = 34;
    pub(super) const MAIL: u16 = 40;
}

/// Bytes of the length before everything else.
const LEN_LEN: usize = 4;
/// Bytes of the type, the least that a length may count.
const KIND_LEN: usize = HEADER_LEN - LEN_LEN;
/// Bytes of a node id: its length, then the id.
pub(crate) const NODE_ID_LEN: usize = 33;

/// An element of a list: the least bytes it takes, so that a count is judged by the bytes behind it.
pub(super) trait Element: DeserializeOwned {
    const LEN_MIN: usize;
}

impl Element for Contact {
    const LEN_MIN: usize = NODE_ID_LEN + 2;
}

impl Element for Aged {
    const LEN_MIN: usize = Contact::LEN_MIN + 1;
}

impl Element for Announcement {
    const LEN_MIN: usize = 3;
}

impl Element for (Writer, Stamp) {
    const LEN_MIN: usize = NODE_ID_LEN + 2;
}

impl Element for Told {
    const LEN_MIN: usize = 3;
}

impl Element for Row {
    const LEN_MIN: usize = NODE_ID_LEN + 3;
}

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The frame has not arrived as a whole. Nothing was consumed.
    Incomplete {
        /// Bytes that must come before it is worth another try: exact once the length is there.
        missing: usize,
    },
    /// The length does not even cover the type. Nothing was consumed.
    TooShort {
        /// The length as sent.
        len: usize,
    },
    /// The body is longer than allowed. Nothing was consumed.
    TooLong {
        /// Its length in bytes.
        len: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// A field is cut off or holds no value of its type. The frame was consumed.
    BadField {
        /// The frame's type.
        kind: u16,
        /// Where in the body the field begins.
        at: usize,
    },
    /// A list claims more elements than allowed. The frame was consumed.
    TooMany {
        /// The frame's type.
        kind: u16,
        /// The count as sent.
        count: u64,
        /// The bound.
        max: usize,
    },
    /// Bytes follow the last field. The frame was consumed.
    Trailing {
        /// The frame's type.
        kind: u16,
        /// How many.
        extra: usize,
    },
    /// A number takes more bytes than it needs. The frame was consumed.
    Padded {
        /// The frame's type.
        kind: u16,
        /// How many bytes are too many.
        extra: usize,
    },
}

impl DecodeError {
    /// Tells whether the stream can still be read: after more bytes, or behind the bad frame.
    pub fn is_recoverable(&self) -> bool {
        !matches!(self, Self::TooShort { .. } | Self::TooLong { .. })
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incomplete { missing } => {
                write!(f, "frame is incomplete, at least {missing} more bytes expected; nothing was consumed")
            }
            Self::TooShort { len } => {
                write!(
                    f,
                    "length of {len} does not cover the type, at least 2 expected; the stream is unusable"
                )
            }
            Self::TooLong { len, max } => {
                write!(f, "body of {len} bytes is too long, at most {max} expected; the stream is unusable")
            }
            Self::BadField { kind, at } => write!(
                f,
                "frame of type {kind} has a field cut off or out of range at byte {at} of its body; {SKIPPED}"
            ),
            Self::TooMany { kind, count, max } => {
                write!(f, "frame of type {kind} lists {count} elements, at most {max} expected; {SKIPPED}")
            }
            Self::Trailing { kind, extra } => {
                write!(
                    f,
                    "frame of type {kind} has {extra} bytes after its last field, none expected; {SKIPPED}"
                )
            }
            Self::Padded { kind, extra } => {
                write!(
                    f,
                    "frame of type {kind} pads its numbers with {extra} bytes, none expected; {SKIPPED}"
                )
            }
        }
    }
}

/// What becomes of the stream when one frame of it is bad.
const SKIPPED: &str = "it was skipped, the stream goes on behind it";

impl core::error::Error for DecodeError {}

/// Reads one frame off the front; `None` for a type that this version does not know, which is skipped.
///
/// A payload shares the buffer of `input` and keeps all of it alive.
///
/// # Errors
/// [`DecodeError`] says what is wrong and whether anything was consumed: a whole frame or nothing.
pub fn decode(input: &mut Bytes) -> Result<Option<Frame>, DecodeError> {
    decode_within(input, BODY_LEN_MAX)
}

/// Reads one frame as [`decode`] does, from a channel whose bodies have a lower limit (never a higher one).
///
/// # Errors
/// As [`decode`].
pub fn decode_within(input: &mut Bytes, body_len_max: usize) -> Result<Option<Frame>, DecodeError> {
    let Some(len) = input.first_chunk::<LEN_LEN>() else {
        return Err(DecodeError::Incomplete { missing: HEADER_LEN - input.len() });
    };
    let len = u32::from_le_bytes(*len) as usize;
    let max = body_len_max.min(BODY_LEN_MAX);
    if len < KIND_LEN {
        return Err(DecodeError::TooShort { len });
    }
    if len - KIND_LEN > max {
        return Err(DecodeError::TooLong { len: len - KIND_LEN, max });
    }
    if input.len() < LEN_LEN + len {
        return Err(DecodeError::Incomplete { missing: LEN_LEN + len - input.len() });
    }
    let mut body = input.split_to(LEN_LEN + len);
    body.advance(LEN_LEN);
    let kind = body.get_u16_le();
    let mut fields = Fields { kind, body, at: 0 };
    let Some(frame) = fields.frame()? else { return Ok(None) };
    fields.finish(&frame)?;
    Ok(Some(frame))
}

/// A body on its way to become a frame.
pub(super) struct Fields {
    kind: u16,
    body: Bytes,
    at: usize,
}

impl Fields {
    /// Reads the fields of a frame in the order of [`Frame::encode_body`].
    fn frame(&mut self) -> Result<Option<Frame>, DecodeError> {
        Ok(Some(match self.kind {
            kinds::JOIN => Frame::Join(self.next()?),
            kinds::JOIN_REPLY => {
                Frame::JoinReply { accepted: self.next()?, contacts: self.list(CONTACTS_MAX)? }
            }
            kinds::FORWARD_JOIN => Frame::ForwardJoin { contact: self.next()?, ttl: self.next()? },
            kinds::NEIGHBOR => Frame::Neighbor { contact: self.next()?, priority: self.next()? },
            kinds::NEIGHBOR_REPLY => Frame::NeighborReply(self.next()?),
            kinds::DISCONNECT => Frame::Disconnect(self.next()?),
            kinds::LEAVE => Frame::Leave(self.next()?),
            kinds::SHUFFLE => {
                Frame::Shuffle { origin: self.next()?, ttl: self.next()?, entries: self.list(CONTACTS_MAX)? }
            }
            kinds::SHUFFLE_REPLY => Frame::ShuffleReply { entries: self.list(CONTACTS_MAX)? },
            kinds::PROBE => Frame::Probe { nonce: self.next()? },
            kinds::PROBE_ACK => Frame::ProbeAck { nonce: self.next()? },
            kinds::GOSSIP => Frame::Gossip(Gossip {
                id: self.next()?,
                topic: self.next()?,
                class: self.next()?,
                shapes_tree: self.next()?,
                hops: self.next()?,
                age_ms: self.next()?,
                payload: self.tail(),
            }),
            kinds::I_HAVE => Frame::IHave(self.list(ANNOUNCEMENTS_MAX)?),
            kinds::GRAFT => Frame::Graft { id: self.next()? },
            kinds::PRUNE => Frame::Prune,
            kinds::SYNC_HELLO => Frame::SyncHello(Box::new(self.next()?)),
            kinds::SYNC_VECTOR => Frame::SyncVector(Box::new(SyncVector {
                map: self.next()?,
                generation: self.next()?,
                session: self.next()?,
                mask: self.next()?,
                last: self.next()?,
                sent: self.next()?,
                entries: self.list(VECTOR_ENTRIES_MAX)?,
            })),
            kinds::SYNC_CHUNK => Frame::SyncChunk(Box::new(SyncChunk {
                map: self.next()?,
                generation: self.next()?,
                session: self.next()?,
                count: self.next()?,
                ops: self.tail(),
            })),
            kinds::SYNC_END => Frame::SyncEnd(self.next()?),
            kinds::MEMBERS_PULL_PAGE..=kinds::BEATS => {
                return Ok(MembersFrame::read(self)?.map(Frame::Members));
            }
            kinds::REGISTRY_HELLO => Frame::RegistryHello(Box::new(self.next()?)),
            kinds::REGISTRY_ROWS => Frame::RegistryRows(Box::new(Rows {
                mask: self.next()?,
                after: self.next()?,
                is_last: self.next()?,
                rows: self.list(ROWS_MAX)?,
            })),
            kinds::REGISTRY_PULL => Frame::RegistryPull(self.list(ROWS_MAX)?),
            kinds::REGISTRY_UPDATES => {
                Frame::RegistryUpdates { is_last: self.next()?, updates: self.updates(UPDATES_MAX)? }
            }
            kinds::REGISTRY_RELAY => Frame::RegistryRelay(Box::new(Relayed {
                told: self.list(TOLD_MAX)?,
                rows: self.updates(RELAYED_MAX)?,
            })),
            kinds::MAIL => Frame::Mail(Box::new(self.mail()?)),
            _ => return Ok(None),
        }))
    }

    /// Tells the frame's type.
    pub(super) fn kind(&self) -> u16 {
        self.kind
    }

    /// Reads updates, which end with the body.
    fn updates(&mut self, max: usize) -> Result<Vec<Update>, DecodeError> {
        let Self { kind, at, .. } = *self;
        let mut rest = self.body.slice(at..);
        let mut updates = Vec::new();
        while !rest.is_empty() {
            if updates.len() >= max {
                return Err(DecodeError::TooMany { kind, count: max as u64 + 1, max });
            }
            let at = self.body.len() - rest.len();
            updates.push(Update::split(&mut rest).map_err(|_| DecodeError::BadField { kind, at })?);
        }
        self.at = self.body.len();
        Ok(updates)
    }

    fn mail(&mut self) -> Result<Mail, DecodeError> {
        let (from, to, session, seq) = (self.next()?, self.next()?, self.next()?, self.next()?);
        let what: MailKind = self.next()?;
        let at = self.at;
        let payload = if what.has_payload() { self.tail() } else { Bytes::new() };
        if matches!(what, MailKind::Bundle { .. }) && Bundle::read(payload.clone()).is_none() {
            return Err(DecodeError::BadField { kind: self.kind, at });
        }
        Ok(Mail { from, to, session, seq, what, payload })
    }

    /// Reads the next field.
    pub(super) fn next<T: DeserializeOwned>(&mut self) -> Result<T, DecodeError> {
        let rest = &self.body[self.at..];
        let (value, rest) = postcard::take_from_bytes(rest)
            .map_err(|_| DecodeError::BadField { kind: self.kind, at: self.at })?;
        self.at = self.body.len() - rest.len();
        Ok(value)
    }

    /// Reads a list. Memory is taken only for as many elements as the bytes that are there can hold.
    pub(super) fn list<T: Element>(&mut self, max: usize) -> Result<Vec<T>, DecodeError> {
        let Self { kind, at, .. } = *self;
        let count: u64 = self.next()?;
        if count > max as u64 {
            return Err(DecodeError::TooMany { kind, count, max });
        }
        let count = count as usize;
        if count * T::LEN_MIN > self.body.len() - self.at {
            return Err(DecodeError::BadField { kind, at });
        }
        let mut elements = Vec::with_capacity(count);
        for _ in 0..count {
            elements.push(self.next()?);
        }
        Ok(elements)
    }

    /// Slices what is left.
    fn tail(&mut self) -> Bytes {
        let tail = self.body.slice(self.at..);
        self.at = self.body.len();
        tail
    }

    /// Refuses a body that is not the one form of its frame.
    fn finish(&self, frame: &Frame) -> Result<(), DecodeError> {
        let kind = self.kind;
        let extra = self.body.len() - self.at;
        if extra > 0 {
            return Err(DecodeError::Trailing { kind, extra });
        }
        let extra = self.body.len().abs_diff(frame.body_len());
        if extra > 0 {
            return Err(DecodeError::Padded { kind, extra });
        }
        Ok(())
    }
}

impl Frame {
    /// Tells the number of the frame's type on the wire.
    pub fn kind(&self) -> u16 {
        match self {
            Frame::Join(_) => kinds::JOIN,
            Frame::JoinReply { .. } => kinds::JOIN_REPLY,
            Frame::ForwardJoin { .. } => kinds::FORWARD_JOIN,
            Frame::Neighbor { .. } => kinds::NEIGHBOR,
            Frame::NeighborReply(_) => kinds::NEIGHBOR_REPLY,
            Frame::Disconnect(_) => kinds::DISCONNECT,
            Frame::Leave(_) => kinds::LEAVE,
            Frame::Shuffle { .. } => kinds::SHUFFLE,
            Frame::ShuffleReply { .. } => kinds::SHUFFLE_REPLY,
            Frame::Probe { .. } => kinds::PROBE,
            Frame::ProbeAck { .. } => kinds::PROBE_ACK,
            Frame::Gossip(_) => kinds::GOSSIP,
            Frame::IHave(_) => kinds::I_HAVE,
            Frame::Graft { .. } => kinds::GRAFT,
            Frame::Prune => kinds::PRUNE,
            Frame::SyncHello(_) => kinds::SYNC_HELLO,
            Frame::SyncVector(_) => kinds::SYNC_VECTOR,
            Frame::SyncChunk(_) => kinds::SYNC_CHUNK,
            Frame::SyncEnd(_) => kinds::SYNC_END,
            Frame::Members(members) => members.kind(),
            Frame::RegistryHello(_) => kinds::REGISTRY_HELLO,
            Frame::RegistryRows(_) => kinds::REGISTRY_ROWS,
            Frame::RegistryPull(_) => kinds::REGISTRY_PULL,
            Frame::RegistryUpdates { .. } => kinds::REGISTRY_UPDATES,
            Frame::RegistryRelay(_) => kinds::REGISTRY_RELAY,
            Frame::Mail(_) => kinds::MAIL,
        }
    }

    /// Appends the frame's wire form.
    ///
    /// Bounds are the receiver's to check: a list or payload beyond its own is written as it is and refused there.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.reserve(self.wire_len());
        let start = out.len();
        out.extend_from_slice(&[0; LEN_LEN]);
        out.extend_from_slice(&self.kind().to_le_bytes());
        self.encode_body(out);
        let len = (out.len() - start - LEN_LEN) as u32;
        out[start..start + LEN_LEN].copy_from_slice(&len.to_le_bytes());
    }

    fn encode_body(&self, out: &mut Vec<u8>) {
        match self {
            Frame::Join(contact) => put(contact, out),
            Frame::JoinReply { accepted, contacts } => put(&(accepted, contacts), out),
            Frame::ForwardJoin { contact, ttl } => put(&(contact, ttl), out),
            Frame::Neighbor { contact, priority } => put(&(contact, priority), out),
            Frame::NeighborReply(answer) => put(answer, out),
            Frame::Disconnect(reason) => put(reason, out),
            Frame::Leave(incarnation) => put(incarnation, out),
            Frame::Shuffle { origin, ttl, entries } => put(&(origin, ttl, entries), out),
            Frame::ShuffleReply { entries } => put(entries, out),
            Frame::Probe { nonce } | Frame::ProbeAck { nonce } => put(nonce, out),
            Frame::Gossip(Gossip { id, topic, class, shapes_tree, hops, age_ms, payload }) => {
                put(&(id, topic, class, shapes_tree, hops, age_ms), out);
                out.extend_from_slice(payload);
            }
            Frame::IHave(announcements) => put(announcements, out),
            Frame::Graft { id } => put(id, out),
            Frame::Prune => {}
            Frame::SyncHello(hello) => put(&**hello, out),
            Frame::SyncVector(vector) => {
                let SyncVector { map, generation, session, mask, last, sent, entries } = &**vector;
                put(&(map, generation, session, mask, last, sent, entries), out);
            }
            Frame::SyncChunk(chunk) => {
                let SyncChunk { map, generation, session, count, ops } = &**chunk;
                put(&(map, generation, session, count), out);
                out.extend_from_slice(ops);
            }
            Frame::SyncEnd(end) => put(end, out),
            Frame::Members(members) => members.encode_body(out),
            Frame::RegistryHello(hello) => put(&**hello, out),
            Frame::RegistryRows(it) => {
                let Rows { mask, after, is_last, rows } = &**it;
                put(&(mask, after, is_last, rows), out);
            }
            Frame::RegistryPull(rows) => put(rows, out),
            Frame::RegistryUpdates { is_last, updates } => {
                put(is_last, out);
                updates.iter().for_each(|update| update.encode(out));
            }
            Frame::RegistryRelay(relayed) => {
                put(&relayed.told, out);
                relayed.rows.iter().for_each(|row| row.encode(out));
            }
            Frame::Mail(mail) => {
                let Mail { from, to, session, seq, what, payload } = &**mail;
                put(&(from, to, session, seq, what), out);
                if what.has_payload() {
                    out.extend_from_slice(payload);
                }
            }
        }
    }

    /// Tells how many bytes [`Frame::encode`] appends, without encoding.
    pub fn wire_len(&self) -> usize {
        HEADER_LEN + self.body_len()
    }

    /// Adds up the fields. Enumerations without fields, flags and bytes take one byte each.
    fn body_len(&self) -> usize {
        match self {
            Frame::Join(contact) => contact_len(contact),
            Frame::JoinReply { accepted: _, contacts } => 1 + list_len(contacts, contact_len),
            Frame::ForwardJoin { contact, ttl: _ } | Frame::Neighbor { contact, priority: _ } => {
                contact_len(contact) + 1
            }
            Frame::NeighborReply(_) | Frame::Disconnect(_) => 1,
            Frame::Leave(incarnation) => varint_len(incarnation.0),
            Frame::Shuffle { origin, ttl: _, entries } => {
                contact_len(origin) + 1 + list_len(entries, aged_len)
            }
            Frame::ShuffleReply { entries } => list_len(entries, aged_len),
            Frame::Probe { nonce } | Frame::ProbeAck { nonce } => varint_len(*nonce),
            Frame::Gossip(Gossip { id, topic, class: _, shapes_tree: _, hops, age_ms, payload }) => {
                let numbers = varint_len(topic.0) + varint_len(*hops) + varint_len(*age_ms);
                message_id_len(id) + numbers + 2 + payload.len()
            }
            Frame::IHave(announcements) => {
                list_len(announcements, |Announcement { id, hops }| message_id_len(id) + varint_len(*hops))
            }
            Frame::Graft { id } => 1 + id.as_ref().map_or(0, message_id_len),
            Frame::Prune => 0,
            Frame::SyncHello(hello) => sync_hello_len(hello),
            Frame::SyncVector(vector) => {
                let SyncVector { map, generation, session, mask, last: _, sent, entries } = &**vector;
                let numbers =
                    varint_len(map.0) + varint_len(*generation) + varint_len(*session) + varint_len(*mask);
                numbers + 1 + varint_len(*sent) + list_len(entries, entry_len)
            }
            Frame::SyncChunk(chunk) => {
                let SyncChunk { map, generation, session, count, ops } = &**chunk;
                let numbers =
                    varint_len(map.0) + varint_len(*generation) + varint_len(*session) + varint_len(*count);
                numbers + ops.len()
            }
            Frame::SyncEnd(SyncEnd { map, session, outcome: _ }) => {
                varint_len(map.0) + varint_len(*session) + 1
            }
            Frame::Members(members) => members.body_len(),
            Frame::RegistryHello(hello) => hello.buckets.iter().map(|bucket| varint_len(*bucket)).sum(),
            Frame::RegistryRows(it) => {
                let Rows { mask, after, is_last: _, rows } = &**it;
                varint_len(*mask) + 2 + after.map_or(0, |_| NODE_ID_LEN) + list_len(rows, row_len)
            }
            Frame::RegistryPull(rows) => list_len(rows, row_len),
            Frame::RegistryUpdates { is_last: _, updates } => 1 + updates_len(updates),
            Frame::RegistryRelay(relayed) => list_len(&relayed.told, told_len) + updates_len(&relayed.rows),
            Frame::Mail(mail) => mail_len(mail),
        }
    }
}

/// Bytes of a number above eight bits: one for each seven bits of it, and one for zero.
#[inline]
pub(crate) fn varint_len(number: impl Into<u64>) -> usize {
    let above_first = (number.into() | 1).ilog2();
    ((above_first * 9 + 73) / 64) as usize // above_first / 7 + 1, for all that fit, without a division
}

pub(super) fn list_len<T>(elements: &[T], element_len: impl Fn(&T) -> usize) -> usize {
    varint_len(elements.len() as u64) + elements.iter().map(element_len).sum::<usize>()
}

pub(super) fn contact_len(contact: &Contact) -> usize {
    NODE_ID_LEN + varint_len(contact.incarnation().0) + list_len(contact.addrs(), addr_len)
}

fn addr_len(addr: &SocketAddr) -> usize {
    let ip = if addr.is_ipv4() { 4 } else { 16 };
    1 + ip + varint_len(addr.port())
}

fn aged_len(aged: &Aged) -> usize {
    contact_len(&aged.contact) + varint_len(aged.age_ms)
}

fn message_id_len(id: &MessageId) -> usize {
    varint_len(id.origin) + varint_len(id.seq)
}

fn entry_len((writer, stamp): &(Writer, Stamp)) -> usize {
    NODE_ID_LEN + varint_len(writer.epoch) + varint_len(stamp.0)
}

fn row_len(row: &Row) -> usize {
    let Row { owner: _, incarnation, seq, fingerprint } = row;
    NODE_ID_LEN + varint_len(incarnation.0) + varint_len(*seq) + varint_len(*fingerprint)
}

fn updates_len(updates: &[Update]) -> usize {
    updates.iter().map(Update::wire_len).sum()
}

fn told_len(told: &Told) -> usize {
    varint_len(told.tag) + varint_len(told.seq) + 1
}

fn sync_hello_len(hello: &SyncHello) -> usize {
    let SyncHello { map, generation, session, buckets, fingerprint, count } = hello;
    let numbers = varint_len(map.0) + varint_len(*generation) + varint_len(*session) + varint_len(*count);
    numbers + varint_len(*fingerprint) + buckets.iter().map(|bucket| varint_len(*bucket)).sum::<usize>()
}

fn mail_len(mail: &Mail) -> usize {
    let Mail { from, to, session, seq, what, payload } = mail;
    let head = varint_len(from.0) + varint_len(to.0) + varint_len(*session) + varint_len(*seq);
    let kind = 1 + match what {
        MailKind::Send { from, to, token } | MailKind::Bundle { from, to, token } => {
            varint_len(from.0) + varint_len(to.0) + varint_len(*token)
        }
        MailKind::Ask { from, to, number, timeout_ms } => {
            varint_len(from.0) + varint_len(to.0) + varint_len(*number) + varint_len(*timeout_ms)
        }
        MailKind::Answer { number } => varint_len(*number),
        MailKind::Refused { is_question: _, number, mailbox, why: _ } => {
            2 + varint_len(*number) + varint_len(mailbox.0)
        }
        MailKind::Order { number, after, what: _, ours, theirs } => {
            1 + varint_len(*number) + varint_len(*after) + varint_len(ours.0) + varint_len(theirs.0)
        }
        MailKind::Ack { number, verdict: _ } => varint_len(*number) + 1,
        MailKind::Resume { session } => varint_len(*session),
        MailKind::Heard { session, seq, settled } => {
            varint_len(*session) + 1 + seq.map_or(0, varint_len) + varint_len(*settled)
        }
    };
    head + kind + if what.has_payload() { payload.len() } else { 0 }
}

/// Appends a value in postcard's form.
pub(crate) fn put<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    struct Appended<'a>(&'a mut Vec<u8>);
    impl Flavor for Appended<'_> {
        type Output = ();
        fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
            self.0.extend_from_slice(bytes);
            Ok(())
        }
        fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
            self.0.push(byte);
            Ok(())
        }
        fn finalize(self) -> postcard::Result<()> {
            Ok(())
        }
    }
    // A vector takes every byte, and postcard refuses only sequences of unknown length: no type here has one.
    let written = postcard::serialize_with_flavor(value, Appended(out));
    assert_eq!(written, Ok(()), "a value has no wire form");
}

/// A frame inside a value of serde: its wire form as one byte string.
pub(crate) mod as_wire {
    use super::{Frame, decode};
    use alloc::vec::Vec;
    use bytes::Bytes;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(frame: &Frame, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        serializer.serialize_bytes(&bytes)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Frame, D::Error> {
        let mut bytes = Bytes::deserialize(deserializer)?;
        let frame = decode(&mut bytes).map_err(D::Error::custom)?;
        match frame {
            Some(frame) if bytes.is_empty() => Ok(frame),
            Some(_) => Err(D::Error::custom("bytes follow the frame, none expected")),
            None => Err(D::Error::custom("a frame of a type that this version does not know")),
        }
    }
}
