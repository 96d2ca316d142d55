//! The log of a node's inputs: a boot and `[(Now, Input)]`, which together determine a run.
//!
//! Whatever recorded it, a service or a simulation, the same crate replays it: build a node from the
//! [`LogHeader`] and hand it every record in order; its trace hash then equals the recorded one.
//!
//! `"rumorlog" | version u16 LE | layout u64 LE | block | block …`, where a block is `len u32 LE | check u32 LE | body`.
//! The first block holds the boot, each later one a record, in postcard's form; a frame inside is a byte string in
//! its wire form. The check is the low half of the body's XXH3. The layout is the hash of the encoded default
//! configuration: postcard does not name fields, so a build whose [`Config`] differs must not read this one's.
//!
//! Functions write and an iterator reads; where the bytes rest is the driver's business.

use crate::config::Config;
use crate::frame::put;
use crate::hash::hash_bytes;
use crate::id::NodeId;
use crate::machine::{Input, Row};
use crate::time::Now;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;
use core::net::SocketAddr;
use serde::de::DeserializeOwned;

/// The form described above. Raised when anything in it changes but for variants appended to inputs and commands.
pub const VERSION: u16 = 1;

const MAGIC: &[u8; 8] = b"rumorlog";
const PREFIX_LEN: usize = MAGIC.len() + 2 + 8;
const BLOCK_HEADER_LEN: usize = 8;

/// What a node was started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogHeader {
    /// What its clocks read.
    pub now: Now,
    /// Its name.
    pub id: NodeId,
    /// Where it listens.
    pub addrs: Vec<SocketAddr>,
    /// Its configuration, without schemas: functions have no bytes, so a replayer registers the same ones again.
    pub config: Arc<Config>,
    /// The seed of its generator.
    pub seed: [u8; 32],
    /// What its store held.
    pub recovered: Vec<Row>,
}

/// Appends the beginning of a log.
///
/// # Panics
/// When the boot takes more than 4 GiB.
pub fn encode_boot(header: &LogHeader, out: &mut Vec<u8>) {
    let LogHeader { now, id, addrs, config, seed, recovered } = header;
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&layout().to_le_bytes());
    encode_block(out, |out| put(&(now, id, addrs, &**config, seed, recovered), out));
}

/// Appends one input with the clocks that it arrived under.
///
/// # Panics
/// When the record takes more than 4 GiB.
pub fn encode_record(now: &Now, input: &Input, out: &mut Vec<u8>) {
    encode_block(out, |out| put(&(now, input), out));
}

fn encode_block(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; BLOCK_HEADER_LEN]);
    body(out);
    let (header, body) = out[start..].split_at_mut(BLOCK_HEADER_LEN);
    let len = u32::try_from(body.len()).expect("a block of the log is shorter than 4 GiB");
    header[..4].copy_from_slice(&len.to_le_bytes());
    header[4..].copy_from_slice(&check(body).to_le_bytes());
}

fn check(body: &[u8]) -> u32 {
    hash_bytes(body) as u32
}

/// Hashes the encoded default configuration: another one in every build that has other keys, types or defaults.
fn layout() -> u64 {
    let mut bytes = Vec::new();
    put(&Config::default(), &mut bytes);
    hash_bytes(&bytes)
}

/// Reads a log: the boot at once, the records one by one. Ends after the first error.
#[derive(Clone, Debug)]
pub struct Reader {
    header: LogHeader,
    log: Bytes,
    at: usize,
    records: u64,
}

impl Reader {
    /// Opens a log.
    ///
    /// # Errors
    /// [`LogError`] without a record number when the beginning is not that of a log which this build can read.
    pub fn new(log: Bytes) -> Result<Self, LogError> {
        let error = |offset: usize, fault| LogError { record: None, offset: offset as u64, fault };
        check_prefix(&log).map_err(|(offset, fault)| error(offset, fault))?;
        let (boot, at) = block(&log, PREFIX_LEN).map_err(|fault| error(PREFIX_LEN, fault))?;
        let (now, id, addrs, config, seed, recovered) = boot;
        let header = LogHeader { now, id, addrs, config: Arc::new(config), seed, recovered };
        Ok(Self { header, log, at, records: 0 })
    }

    /// Shows what the node was started with.
    pub fn header(&self) -> &LogHeader {
        &self.header
    }
}

impl Iterator for Reader {
    type Item = Result<(Now, Input), LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at == self.log.len() {
            return None;
        }
        match block(&self.log, self.at) {
            Ok((record, next)) => {
                self.at = next;
                self.records += 1;
                Some(Ok(record))
            }
            Err(fault) => {
                let error = LogError { record: Some(self.records), offset: self.at as u64, fault };
                self.at = self.log.len();
                Some(Err(error))
            }
        }
    }
}

impl core::iter::FusedIterator for Reader {}

fn check_prefix(log: &[u8]) -> Result<(), (usize, LogFault)> {
    let Some((prefix, _)) = log.split_first_chunk::<PREFIX_LEN>() else {
        return Err((0, LogFault::Truncated { missing: PREFIX_LEN - log.len() }));
    };
    let (magic, rest) = prefix.split_at(MAGIC.len());
    let (version, found_layout) = rest.split_at(2);
    if magic != MAGIC {
        return Err((0, LogFault::NotALog));
    }
    if version != VERSION.to_le_bytes() {
        let found = u16::from(version[0]) | u16::from(version[1]) << 8;
        return Err((MAGIC.len(), LogFault::OtherVersion { found }));
    }
    if found_layout != layout().to_le_bytes() {
        return Err((MAGIC.len() + 2, LogFault::OtherConfig));
    }
    Ok(())
}

/// Reads the block at an offset: its value, and where the next begins.
fn block<T: DeserializeOwned>(log: &[u8], at: usize) -> Result<(T, usize), LogFault> {
    let rest = &log[at..];
    let Some(([l0, l1, l2, l3, c0, c1, c2, c3], rest)) = rest.split_first_chunk::<BLOCK_HEADER_LEN>() else {
        return Err(LogFault::Truncated { missing: BLOCK_HEADER_LEN - rest.len() });
    };
    let len = u32::from_le_bytes([*l0, *l1, *l2, *l3]) as usize;
    let Some(body) = rest.get(..len) else {
        return Err(LogFault::Truncated { missing: len - rest.len() });
    };
    if check(body) != u32::from_le_bytes([*c0, *c1, *c2, *c3]) {
        return Err(LogFault::Damaged);
    }
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Ok((value, at + BLOCK_HEADER_LEN + len)),
        Ok(_) | Err(_) => Err(LogFault::BadValue),
    }
}

/// Where a log cannot be read, and why. Every record before that place is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogError {
    /// The number of the record, from zero; `None` for the boot and what goes before it.
    pub record: Option<u64>,
    /// The byte of the log at which it begins.
    pub offset: u64,
    /// What is wrong with it.
    pub fault: LogFault,
}

/// What is wrong with a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogFault {
    /// Another kind of file.
    NotALog,
    /// A log of another version.
    OtherVersion {
        /// Its version.
        found: u16,
    },
    /// The log of a build with another [`Config`].
    OtherConfig,
    /// The log ends too early: its writer may have been stopped in the middle.
    Truncated {
        /// Bytes that are missing at least.
        missing: usize,
    },
    /// The bytes are not those that were written.
    Damaged,
    /// The bytes are those that were written, but no value that this build knows.
    BadValue,
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.record {
            Some(record) => write!(f, "input log, record {record} at byte {}: ", self.offset)?,
            None => write!(f, "input log, boot at byte {}: ", self.offset)?,
        }
        match self.fault {
            LogFault::NotALog => f.write_str("not an input log, \"rumorlog\" expected"),
            LogFault::OtherVersion { found } => write!(f, "version {found} found, {VERSION} expected"),
            LogFault::OtherConfig => {
                f.write_str("written by a build with another configuration; replay it with that build")
            }
            LogFault::Truncated { missing } => write!(f, "the log ends here, {missing} more bytes expected"),
            LogFault::Damaged => f.write_str("checksum differs, the bytes are not those that were written"),
            LogFault::BadValue => f.write_str("no value that this build knows, though its checksum is right"),
        }
    }
}

impl core::error::Error for LogError {}
