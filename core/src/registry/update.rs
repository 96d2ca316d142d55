//! One owner's registrations on their way: what changed between two sequence numbers, or the whole set.
//!
//! What the relay and anti-entropy hand on are updates, one after another. An update is a header in postcard's
//! form and its changes, each a small header with the raw bytes behind it. Changes stand in the order of their keys
//! (name, then instance), each key once, so what an update does is the same in whatever order nodes look at it, and one
//! set has one form. Names and metadata are slices of what arrived.

use super::owner::tag;
use crate::frame::{NODE_ID_LEN, put, varint_len};
use crate::hash::{Fold, hash_bytes};
use crate::hlc::Stamp;
use crate::id::{Incarnation, MailboxId, NodeId};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::{Buf, Bytes};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Changes in one update at most: above any `registrations_max`.
pub const CHANGES_MAX: usize = 4_096;
/// Bytes around name and metadata of one change at most.
pub(crate) const CHANGE_HEADER_LEN_MAX: usize = 48;
/// Bytes of an update before its changes at most.
pub(crate) const UPDATE_HEADER_LEN_MAX: usize = 80;
/// Bytes of a change at least: kind, sequence, instance, length of the name.
const CHANGE_LEN_MIN: usize = 4;

/// Why bytes are no update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UpdateError {
    /// A header does not decode, or its numbers contradict each other.
    Header,
    /// It tells more bytes than there are.
    Truncated,
    /// It tells more changes than allowed.
    TooMany,
    /// The changes are not in the order of their keys, or not of the sequence numbers that were told.
    Order,
}

/// One registration as its owner wrote it: made once, and shared by whatever holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    hash: u64,
    name_hash: u64,
    /// The name, then the metadata.
    body: Bytes,
    name_len: u16,
    pub(crate) is_unique: bool,
    pub(crate) instance: u64,
    pub(crate) mailbox: MailboxId,
    pub(crate) registered_at: Stamp,
}

impl Record {
    pub(crate) fn new(
        (body, name_len): (Bytes, u16),
        instance: u64,
        mailbox: MailboxId,
        registered_at: Stamp,
        is_unique: bool,
    ) -> Self {
        let name_hash = hash_bytes(&body[..usize::from(name_len)]);
        let mut fold = Fold::starting_at(hash_bytes(&body));
        fold.pair(instance, mailbox.0);
        fold.pair(registered_at.0, u64::from(name_len) << 1 | u64::from(is_unique));
        let hash = fold.finish();
        Self { hash, name_hash, body, name_len, is_unique, instance, mailbox, registered_at }
    }

    /// Tells the hash of what the owner wrote.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// Tells the hash of the name.
    pub(crate) fn name_hash(&self) -> u64 {
        self.name_hash
    }

    /// Tells how many bytes name and metadata have.
    pub(crate) fn len(&self) -> usize {
        self.body.len()
    }

    pub(crate) fn name(&self) -> &[u8] {
        &self.body[..usize::from(self.name_len)]
    }

    pub(crate) fn meta(&self) -> &[u8] {
        &self.body[usize::from(self.name_len)..]
    }

    /// Shares the name.
    pub(crate) fn name_bytes(&self) -> Bytes {
        self.body.slice(..usize::from(self.name_len))
    }

    /// Shares the metadata.
    pub(crate) fn meta_bytes(&self) -> Bytes {
        self.body.slice(usize::from(self.name_len)..)
    }

    pub(crate) fn key(&self) -> (&[u8], u64) {
        (self.name(), self.instance)
    }
}

/// What becomes of one registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is offered, so and no longer otherwise.
    Put(Arc<Record>),
    /// It is offered no longer.
    Remove { name: Bytes, instance: u64 },
}

impl Change {
    /// Orders the changes of an update.
    pub(crate) fn key(&self) -> (&[u8], u64) {
        match self {
            Change::Put(record) => record.key(),
            Change::Remove { name, instance } => (name, *instance),
        }
    }

    /// Tells the hash of its name.
    pub(crate) fn name_hash(&self) -> u64 {
        match self {
            Change::Put(record) => record.name_hash,
            Change::Remove { name, .. } => hash_bytes(name),
        }
    }

    /// Tells how many bytes it takes in an update at most.
    pub(crate) fn len_max(&self) -> usize {
        CHANGE_HEADER_LEN_MAX
            + match self {
                Change::Put(record) => record.len(),
                Change::Remove { name, .. } => name.len(),
            }
    }

    /// Appends the change; `offset` is its sequence number after the update's first, zero in a whole set.
    pub(crate) fn encode(&self, offset: u64, out: &mut Vec<u8>) {
        match self {
            Change::Put(record) => encode_put(record, offset, out),
            Change::Remove { name, instance } => {
                put(&(Kind::Remove, offset, instance, name.len() as u32), out);
                out.extend_from_slice(name);
            }
        }
    }
}

pub(crate) fn encode_put(record: &Record, offset: u64, out: &mut Vec<u8>) {
    let Record { body, name_len, instance, mailbox, registered_at, is_unique, .. } = record;
    let kind = if *is_unique { Kind::PutUnique } else { Kind::Put };
    let meta_len = (body.len() - usize::from(*name_len)) as u32;
    put(&(kind, offset, instance, u32::from(*name_len), mailbox, registered_at, meta_len), out);
    out.extend_from_slice(body);
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[repr(u8)]
enum Kind {
    Remove,
    Put,
    PutUnique,
}

/// A change with its place in the owner's sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Numbered {
    /// Zero in a whole set.
    pub(crate) seq: u64,
    pub(crate) change: Change,
}

/// One owner's changes from one sequence number to another.
///
/// It is made once, by the owner, and then handed on as it is. What came over the wire is bytes alone until it is
/// applied; what was made in this process holds its changes as values too, which nodes in one process share.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Whose set it is.
    pub(crate) owner: NodeId,
    /// The life that wrote it.
    pub(crate) incarnation: Incarnation,
    /// The sequence number that the changes follow; none for the whole set.
    pub(crate) from: Option<u64>,
    /// The sequence number that they lead to.
    pub(crate) to: u64,
    /// How many changes there are.
    pub(crate) count: u32,
    /// Names the owner in the life that wrote it.
    pub(super) tag: u64,
    /// The changes.
    changes: Bytes,
    /// How many bytes the batch takes on the wire.
    wire_len: usize,
    /// The hash of all of the above.
    hash: u64,
    /// The changes as values, where they were not read from bytes.
    known: Option<Box<Changes>>,
}

impl PartialEq for Batch {
    fn eq(&self, other: &Self) -> bool {
        let numbers = |it: &Self| (it.owner, it.incarnation, it.from, it.to, it.count);
        numbers(self) == numbers(other) && self.changes == other.changes
    }
}

impl Eq for Batch {}

/// The changes of a batch, with what bounds ask of them.
#[derive(Clone, Debug)]
pub(super) struct Changes {
    pub(super) list: Vec<Numbered>,
    /// How many registrations are written, and with how many bytes.
    pub(super) puts: usize,
    pub(super) bytes: usize,
    pub(super) name_len_max: usize,
    pub(super) meta_len_max: usize,
    /// The age of the youngest.
    pub(super) newest: Option<Stamp>,
}

impl Changes {
    fn new(list: Vec<Numbered>) -> Self {
        let mut it = Self { list, puts: 0, bytes: 0, name_len_max: 0, meta_len_max: 0, newest: None };
        for numbered in &it.list {
            let Change::Put(record) = &numbered.change else { continue };
            it.puts += 1;
            it.bytes += record.len();
            it.name_len_max = it.name_len_max.max(record.name().len());
            it.meta_len_max = it.meta_len_max.max(record.meta().len());
            it.newest = it.newest.max(Some(record.registered_at));
        }
        it
    }
}

/// A batch on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The changes.
    pub batch: Arc<Batch>,
    /// How long the sender has known the last of them, in milliseconds.
    pub age_ms: u32,
}

#[derive(Serialize, Deserialize)]
struct Header {
    owner: NodeId,
    incarnation: Incarnation,
    from: Option<u64>,
    to: u64,
    age_ms: u32,
    count: u32,
    len: u32,
}

impl Batch {
    /// Makes a batch of encoded changes.
    pub fn new(
        owner: NodeId,
        incarnation: Incarnation,
        from: Option<u64>,
        to: u64,
        count: u32,
        changes: Bytes,
    ) -> Self {
        let tag = tag(hash_bytes(&owner.0), incarnation);
        let mut fold = Fold::starting_at(tag);
        fold.value(&owner);
        fold.pair(incarnation.0, to);
        fold.pair(from.map_or(u64::MAX, |from| from), u64::from(count));
        fold.bytes(&changes);
        let hash = fold.finish();
        let numbers = 1 + from.map_or(0, varint_len) + varint_len(incarnation.0) + varint_len(to);
        let len = varint_len(count) + varint_len(changes.len() as u64) + changes.len();
        let wire_len = NODE_ID_LEN + numbers + len;
        Self { owner, incarnation, from, to, count, tag, changes, wire_len, hash, known: None }
    }

    /// Makes a batch of changes, which are in the order of their keys.
    pub(super) fn of(
        (owner, incarnation): (NodeId, Incarnation),
        from: Option<u64>,
        to: u64,
        list: Vec<Numbered>,
    ) -> Self {
        let mut changes = Vec::with_capacity(list.iter().map(|numbered| numbered.change.len_max()).sum());
        for Numbered { seq, change } in &list {
            change.encode(seq.saturating_sub(from.unwrap_or(*seq)), &mut changes);
        }
        let count = list.len() as u32;
        let known = Some(Box::new(Changes::new(list)));
        Self { known, ..Self::new(owner, incarnation, from, to, count, Bytes::from(changes)) }
    }

    /// Tells how many bytes the changes take.
    pub(crate) fn len(&self) -> usize {
        self.changes.len()
    }

    /// Tells the hash of the whole batch.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// Shows the changes, if they need not be read.
    pub(super) fn known(&self) -> Option<&Changes> {
        self.known.as_deref()
    }

    /// Reads the changes.
    ///
    /// # Errors
    /// [`UpdateError`]: then none of them is to be applied.
    pub(super) fn read(&self) -> Result<Changes, UpdateError> {
        let mut rest = self.changes.clone();
        let mut changes: Vec<Numbered> = Vec::with_capacity(self.count as usize);
        let mut last = self.from.unwrap_or(0); // without a change it leads nowhere
        for _ in 0..self.count {
            let (change, offset) = decode_change(&mut rest)?;
            let seq = self.number(offset, &change)?;
            if changes.last().is_some_and(|before| before.change.key() >= change.key()) {
                return Err(UpdateError::Order);
            }
            last = last.max(seq);
            changes.push(Numbered { seq, change });
        }
        let is_whole = self.from.is_none();
        if !rest.is_empty() || !is_whole && last != self.to {
            return Err(UpdateError::Order);
        }
        Ok(Changes::new(changes))
    }

    /// Tells a change's sequence number, if it may be in this batch.
    fn number(&self, offset: u64, change: &Change) -> Result<u64, UpdateError> {
        match self.from {
            Some(from) if (1..=self.to - from).contains(&offset) => Ok(from + offset),
            None if offset == 0 && matches!(change, Change::Put(_)) => Ok(0),
            Some(_) | None => Err(UpdateError::Order),
        }
    }
}

impl Update {
    /// Appends the update.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let Self { batch, age_ms } = self;
        let Batch { owner, incarnation, from, to, count, ref changes, .. } = **batch;
        put(&Header { owner, incarnation, from, to, age_ms: *age_ms, count, len: changes.len() as u32 }, out);
        out.extend_from_slice(changes);
    }

    /// Tells how many bytes the encoded form has.
    pub(crate) fn wire_len(&self) -> usize {
        self.batch.wire_len + varint_len(self.age_ms)
    }

    /// Encodes the update into a buffer of its own.
    #[cfg(test)]
    pub(crate) fn to_bytes(&self) -> Bytes {
        let mut out = Vec::with_capacity(UPDATE_HEADER_LEN_MAX + self.batch.changes.len());
        self.encode(&mut out);
        Bytes::from(out)
    }

    /// Decodes one update's header off the front and moves past it all; its changes are a slice.
    ///
    /// # Errors
    /// [`UpdateError`]; `bytes` is then unchanged.
    pub(crate) fn split(bytes: &mut Bytes) -> Result<Self, UpdateError> {
        let (header, tail) = postcard::take_from_bytes::<Header>(bytes).map_err(|_| UpdateError::Header)?;
        let Header { owner, incarnation, from, to, age_ms, count, len } = header;
        let (len, found) = (len as usize, tail.len());
        if from.is_some_and(|from| from > to) {
            return Err(UpdateError::Header);
        }
        if len > found {
            return Err(UpdateError::Truncated);
        }
        if count as usize > CHANGES_MAX || count as usize * CHANGE_LEN_MIN > len {
            return Err(UpdateError::TooMany);
        }
        bytes.advance(bytes.len() - found);
        let batch = Batch::new(owner, incarnation, from, to, count, bytes.split_to(len));
        Ok(Self { batch: Arc::new(batch), age_ms })
    }
}

fn decode_change(rest: &mut Bytes) -> Result<(Change, u64), UpdateError> {
    let (kind, offset, instance, name_len) = take::<(Kind, u64, u64, u32)>(rest)?;
    if let Kind::Remove = kind {
        let name = take_bytes(rest, u64::from(name_len))?;
        return Ok((Change::Remove { name, instance }, offset));
    }
    let (mailbox, registered_at, meta_len) = take::<(MailboxId, Stamp, u32)>(rest)?;
    let body = take_bytes(rest, u64::from(name_len) + u64::from(meta_len))?;
    let name_len = u16::try_from(name_len).map_err(|_| UpdateError::Header)?;
    let is_unique = matches!(kind, Kind::PutUnique);
    let record = Record::new((body, name_len), instance, mailbox, registered_at, is_unique);
    Ok((Change::Put(Arc::new(record)), offset))
}

fn take<T: DeserializeOwned>(rest: &mut Bytes) -> Result<T, UpdateError> {
    let (value, tail) = postcard::take_from_bytes::<T>(rest).map_err(|_| UpdateError::Header)?;
    let taken = rest.len() - tail.len();
    rest.advance(taken);
    Ok(value)
}

fn take_bytes(rest: &mut Bytes, len: u64) -> Result<Bytes, UpdateError> {
    if len > rest.len() as u64 {
        return Err(UpdateError::Truncated);
    }
    Ok(rest.split_to(len as usize))
}
