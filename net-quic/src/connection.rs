//! One connection that carries frames: a stream for each channel and direction, and datagrams.
//!
//! Nobody here decides anything. What is sent waits in an outbox until QUIC takes it; rising above a high-water mark
//! is told to the node, and a peer that takes nothing for too long loses the connection rather than single frames.

use crate::handshake::refusal_of;
use crate::trust::Refusal;
use bytes::{Bytes, BytesMut};
use quinn::{Connection, ConnectionError, RecvStream, SendStream, VarInt};
use rumormill_core::frame::{BODY_LEN_MAX, DecodeError, decode_within};
use rumormill_core::{Channel, Dialer, DownReason, Frame, NodeId};
use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

/// Channels that are streams: all but datagrams.
const STREAMS: usize = Channel::COUNT - 1;
/// Bytes that wait on a channel above which the node is told.
const HIGH_WATER: usize = 1 << 20;
/// Bytes of broadcasts that wait for a neighbour above which those that come wait too, so that a flood slows its publisher
/// down before a link is full. A guess: what is already on its way through the node still finds room below the mark.
const PRESSURE: usize = HIGH_WATER / 4;
/// Bytes that wait on a channel above which the connection is given up.
const OVERFLOW: usize = 8 << 20;
/// Bytes that are encoded into one write.
const BATCH: usize = 16 << 10;
/// Frames that are handed over in one go. A guess, far below the number that may wait for the node.
const TOGETHER: usize = 64;
/// The longest body on the control channel.
const CONTROL_BODY_LEN_MAX: usize = 64 << 10;
/// Payloads shorter than this are copied out of the block they came in, which may be many times as long: whoever keeps
/// one (a cache, a map) must not keep the block. A guess: a sixteenth of the longest frame.
const SHARED_LEN_MIN: usize = BODY_LEN_MAX / 16;
/// How long what was sent before a close may take.
const LINGER: Duration = Duration::from_secs(1);
/// The code of a connection that ends in good order.
const CLOSED: VarInt = VarInt::from_u32(0);
/// The code of a connection whose peer does not keep to the protocol.
const BROKEN: VarInt = VarInt::from_u32(2);
/// The code of a connection whose peer has come in again, in a later life.
pub(crate) const OUTLIVED: VarInt = VarInt::from_u32(7);

/// The code of a connection whose peer is connected with another process, in the same life.
pub(crate) const COPIED: VarInt = VarInt::from_u32(8);

/// Which connection something came from: an older one with the same peer may still be talking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ConnectionId {
    pub(crate) peer: NodeId,
    pub(crate) dialer: Dialer,
    pub(crate) serial: u64,
}

/// What a connection tells its node.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// A frame came.
    Frame(Channel, Frame),
    /// Bytes came that are no frame.
    Malformed,
    /// A stream came that this version knows no use for.
    UnknownStream,
    /// A full channel has drained.
    Ready(Channel),
    /// The peer ends it, and says why.
    Refused(Refusal),
    /// It ended; nothing comes after this.
    Down(DownReason),
}

/// Where connections put what they tell.
pub(crate) type Arrivals = mpsc::Sender<(ConnectionId, Arrival)>;

/// What came of handing in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queued {
    /// It is on its way.
    Taken,
    /// It is on its way, and its channel has just risen above the high-water mark.
    Full,
    /// The peer takes nothing: the connection must be given up.
    Overflow,
}

/// Whether what comes for users has to wait with its senders.
#[derive(Clone)]
pub(crate) struct Holds {
    /// Mail: a mailbox is nearly full.
    pub(crate) mail: watch::Receiver<bool>,
    /// Broadcasts: a neighbour, or somebody who hears a topic, is behind.
    pub(crate) topics: watch::Receiver<bool>,
}

impl Holds {
    fn of(self, channel: Channel) -> Option<watch::Receiver<bool>> {
        match channel {
            Channel::User => Some(self.mail),
            Channel::Gossip => Some(self.topics),
            Channel::Control | Channel::Lazy | Channel::Sync | Channel::Datagram => None,
        }
    }
}

/// A connection as its node holds it.
pub(crate) struct Link {
    id: ConnectionId,
    connection: Connection,
    /// Which process of the peer is at its other end, if it says so.
    process: Option<NonZeroU32>,
    outbox: Arc<Outbox>,
    writers: [Option<JoinHandle<()>>; STREAMS],
    /// Channels with frames that their writers do not know of.
    unflushed: [bool; STREAMS],
    arrivals: Arrivals,
}

impl Link {
    /// Takes over a connection whose HELLO is done.
    pub(crate) fn new(
        id: ConnectionId,
        connection: Connection,
        process: Option<NonZeroU32>,
        arrivals: Arrivals,
        holds: Holds,
    ) -> Self {
        tokio::spawn(receive(id, connection.clone(), arrivals.clone(), holds));
        let (writers, unflushed) = Default::default();
        Self { id, connection, process, outbox: Arc::default(), writers, unflushed, arrivals }
    }

    /// Tells which process of the peer is at the other end, if it says so.
    pub(crate) fn process(&self) -> Option<NonZeroU32> {
        self.process
    }

    pub(crate) fn id(&self) -> ConnectionId {
        self.id
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Sends a frame, once [`Link::flush`] is called: nothing here waits.
    pub(crate) fn send(&mut self, channel: Channel, frame: Frame) -> Queued {
        if channel == Channel::Datagram {
            // A datagram that does not fit, or finds no room, is lost like any other.
            let _ = self.connection.send_datagram(encoded([&frame]));
            return Queued::Taken;
        }
        let lane = channel as usize;
        if self.writers[lane].is_none() {
            let (id, connection) = (self.id, self.connection.clone());
            let (outbox, arrivals) = (self.outbox.clone(), self.arrivals.clone());
            self.writers[lane] = Some(tokio::spawn(write(id, connection, channel, outbox, arrivals)));
        }
        self.unflushed[lane] = true;
        self.outbox.push(channel, frame)
    }

    /// Tells whether broadcasts come faster than the peer takes them.
    pub(crate) fn is_pressed(&self) -> bool {
        self.outbox.lanes[Channel::Gossip as usize].state().bytes > PRESSURE
    }

    /// Wakes the writers of everything that was sent, all of it for one write.
    pub(crate) fn flush(&mut self) {
        for (lane, unflushed) in self.outbox.lanes.iter().zip(&mut self.unflushed) {
            if std::mem::take(unflushed) {
                lane.wake.notify_one();
            }
        }
    }

    /// Ends the connection after what was sent has arrived, or a second has passed.
    pub(crate) fn close(mut self) -> JoinHandle<()> {
        self.outbox.close();
        tokio::spawn(async move {
            let flushed = async {
                for writer in self.writers.iter_mut().flatten() {
                    let _ = writer.await;
                }
            };
            let _ = timeout(LINGER, flushed).await;
            self.connection.close(CLOSED, b"");
        })
    }

    /// Ends the connection at once: its peer has come in again, in a later life.
    pub(crate) fn outlive(self) {
        self.connection.close(OUTLIVED, b"");
    }

    /// Ends the connection at once: another process shows the same key and life.
    pub(crate) fn tell_copied(self) {
        self.connection.close(COPIED, b"");
    }

    /// Ends the connection at once.
    pub(crate) fn abort(self) {
        self.connection.close(BROKEN, b"");
    }
}

/// What waits to be written.
#[derive(Default)]
struct Outbox {
    lanes: [Lane; STREAMS],
}

#[derive(Default)]
struct Lane {
    state: Mutex<LaneState>,
    wake: Notify,
}

#[derive(Default)]
struct LaneState {
    queue: VecDeque<Frame>,
    /// Bytes of the queue and of the write that is under way.
    bytes: usize,
    is_full: bool,
    is_closing: bool,
}

/// What the writer of a channel does next.
enum Work {
    Write(Bytes),
    Wait,
    Finish,
}

impl Lane {
    fn state(&self) -> MutexGuard<'_, LaneState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what fits into one write.
    fn take(&self) -> Work {
        let mut state = self.state();
        let (mut count, mut bytes) = (0, 0);
        while bytes < BATCH && count < state.queue.len() {
            bytes += state.queue[count].wire_len();
            count += 1;
        }
        if count == 0 {
            return if state.is_closing { Work::Finish } else { Work::Wait };
        }
        let batch: Vec<Frame> = state.queue.drain(..count).collect();
        drop(state);
        Work::Write(encoded(&batch))
    }

    /// Counts bytes as written, and tells whether a full channel has just drained to half its mark.
    fn settle(&self, bytes: usize) -> bool {
        let mut state = self.state();
        state.bytes -= bytes;
        let is_ready = state.is_full && state.bytes <= HIGH_WATER / 2;
        state.is_full &= !is_ready;
        is_ready
    }
}

impl Outbox {
    fn push(&self, channel: Channel, frame: Frame) -> Queued {
        let lane = &self.lanes[channel as usize];
        let mut state = lane.state();
        state.bytes += frame.wire_len();
        state.queue.push_back(frame);
        let queued = match state.bytes {
            bytes if bytes > OVERFLOW => Queued::Overflow,
            bytes if bytes > HIGH_WATER && !state.is_full => Queued::Full,
            _ => Queued::Taken,
        };
        state.is_full |= queued == Queued::Full;
        queued
    }

    fn close(&self) {
        for lane in &self.lanes {
            lane.state().is_closing = true;
            lane.wake.notify_one();
        }
    }
}

fn encoded<'a>(frames: impl IntoIterator<Item = &'a Frame>) -> Bytes {
    let mut bytes = Vec::new();
    frames.into_iter().for_each(|frame| frame.encode(&mut bytes));
    bytes.into()
}

/// How urgent a channel is to QUIC: announcements give way to everything else.
fn priority(channel: Channel) -> i32 {
    match channel {
        Channel::Control => 2,
        Channel::Gossip | Channel::User | Channel::Datagram => 1,
        Channel::Sync => 0,
        Channel::Lazy => -1,
    }
}

/// Writes one channel for as long as the connection lasts.
async fn write(
    id: ConnectionId,
    connection: Connection,
    channel: Channel,
    outbox: Arc<Outbox>,
    arrivals: Arrivals,
) {
    let lane = &outbox.lanes[channel as usize];
    let Ok(mut stream) = connection.open_uni().await else { return };
    let _ = stream.set_priority(priority(channel));
    if stream.write_all(&[channel as u8]).await.is_err() {
        return;
    }
    loop {
        match lane.take() {
            Work::Wait => lane.wake.notified().await,
            Work::Finish => return finish(stream).await,
            Work::Write(bytes) => {
                let len = bytes.len();
                if stream.write_chunk(bytes).await.is_err() {
                    return; // the connection is over, and its reader says so
                }
                if lane.settle(len) && arrivals.send((id, Arrival::Ready(channel))).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Waits until the peer has all of a stream.
async fn finish(mut stream: SendStream) {
    if stream.finish().is_ok() {
        let _ = stream.stopped().await;
    }
}

/// Takes everything that comes over a connection, until it ends.
async fn receive(id: ConnectionId, connection: Connection, arrivals: Arrivals, holds: Holds) {
    let mut readers = JoinSet::new();
    let error = loop {
        tokio::select! {
            biased;
            stream = connection.accept_uni() => match stream {
                Ok(stream) => {
                    while readers.try_join_next().is_some() {} // streams that ended leave nothing behind
                    readers.spawn(read(id, connection.clone(), stream, arrivals.clone(), holds.clone()));
                }
                Err(error) => break error,
            },
            datagram = connection.read_datagram() => match datagram {
                Ok(mut datagram) => {
                    let arrival = match decode_within(&mut datagram, CONTROL_BODY_LEN_MAX) {
                        Ok(Some(frame)) => Arrival::Frame(Channel::Datagram, frame),
                        Ok(None) => continue,
                        Err(_) => Arrival::Malformed,
                    };
                    if arrivals.send((id, arrival)).await.is_err() {
                        return;
                    }
                }
                Err(error) => break error,
            },
        }
    };
    while readers.join_next().await.is_some() {} // what arrived before the end is told before the end
    if let Some(refusal) = refusal_of(&error).filter(|refusal| *refusal != Refusal::ByPeer) {
        let _ = arrivals.send((id, Arrival::Refused(refusal))).await;
    }
    let _ = arrivals.send((id, Arrival::Down(down_reason(&error)))).await;
}

/// Tells the core why a connection ended.
pub(crate) fn down_reason(error: &ConnectionError) -> DownReason {
    match error {
        ConnectionError::TimedOut => DownReason::IdleTimeout,
        ConnectionError::Reset => DownReason::Reset,
        ConnectionError::VersionMismatch
        | ConnectionError::TransportError(_)
        | ConnectionError::ConnectionClosed(_)
        | ConnectionError::ApplicationClosed(_)
        | ConnectionError::LocallyClosed
        | ConnectionError::CidsExhausted => DownReason::Closed,
    }
}

/// Reads the stream of one channel.
async fn read(
    id: ConnectionId,
    connection: Connection,
    mut stream: RecvStream,
    arrivals: Arrivals,
    holds: Holds,
) {
    let mut first = [0];
    if stream.read_exact(&mut first).await.is_err() {
        return;
    }
    let streams = &Channel::ALL[..STREAMS];
    let Some(channel) = streams.iter().find(|channel| **channel as u8 == first[0]).copied() else {
        let _ = stream.stop(BROKEN); // a later version may know what this is
        let _ = arrivals.send((id, Arrival::UnknownStream)).await;
        return;
    };
    let mut hold = holds.of(channel);
    let body_len_max = if channel == Channel::Control { CONTROL_BODY_LEN_MAX } else { BODY_LEN_MAX };
    let mut parser = Parser { pending: BytesMut::new(), missing: 0, body_len_max };
    let mut told = Vec::new();
    while let Ok(Some(chunk)) = stream.read_chunk(usize::MAX, true).await {
        let mut bytes = parser.extend(chunk.bytes);
        loop {
            let parsed = parser.next(&mut bytes);
            let (is_over, is_lost) = (matches!(parsed, Parsed::NeedsMore), matches!(parsed, Parsed::Lost));
            match parsed {
                Parsed::Frame(frame) => told.push(Arrival::Frame(channel, frame)),
                Parsed::Malformed | Parsed::Lost => told.push(Arrival::Malformed),
                Parsed::Unknown | Parsed::NeedsMore => {}
            }
            let is_time = is_over || is_lost || told.len() == TOGETHER;
            if is_time && tell(id, &mut told, &arrivals, &mut hold).await.is_none() {
                return;
            }
            if is_lost {
                return connection.close(BROKEN, b"");
            }
            if is_over {
                break;
            }
        }
    }
}

/// Tells the node what came, in one go; none when it does not listen any more.
async fn tell(
    id: ConnectionId,
    told: &mut Vec<Arrival>,
    arrivals: &Arrivals,
    hold: &mut Option<watch::Receiver<bool>>,
) -> Option<()> {
    while !told.is_empty() {
        // The room first: what waits for room while mail is held back has not come yet.
        let room = arrivals.reserve_many(told.len()).await.ok()?;
        match hold.as_mut().filter(|hold| *hold.borrow()) {
            Some(hold) => {
                drop(room);
                hold.wait_for(|is_held| !is_held).await.ok()?;
            }
            None => told.drain(..).zip(room).for_each(|(arrival, place)| place.send((id, arrival))),
        }
    }
    Some(())
}

/// Cuts a stream of bytes into frames.
struct Parser {
    /// The beginning of a frame that has not come whole.
    pending: BytesMut,
    /// Bytes that must come before another try makes sense.
    missing: usize,
    body_len_max: usize,
}

enum Parsed {
    Frame(Frame),
    /// A frame that this version does not know.
    Unknown,
    /// A frame was bad; the next one may be good.
    Malformed,
    NeedsMore,
    /// Nobody knows where the next frame begins.
    Lost,
}

impl Parser {
    /// Takes a chunk; gives back what there is to parse.
    fn extend(&mut self, chunk: Bytes) -> Bytes {
        if self.pending.is_empty() {
            return chunk;
        }
        self.pending.extend_from_slice(&chunk);
        if chunk.len() < self.missing {
            self.missing -= chunk.len();
            return Bytes::new();
        }
        std::mem::take(&mut self.pending).freeze()
    }

    fn next(&mut self, bytes: &mut Bytes) -> Parsed {
        if bytes.is_empty() {
            return Parsed::NeedsMore;
        }
        match decode_within(bytes, self.body_len_max) {
            Ok(Some(mut frame)) => {
                frame.detach(SHARED_LEN_MIN);
                Parsed::Frame(frame)
            }
            Ok(None) => Parsed::Unknown,
            Err(DecodeError::Incomplete { missing }) => {
                self.missing = missing;
                self.pending.extend_from_slice(&bytes.split_off(0));
                Parsed::NeedsMore
            }
            Err(error) if error.is_recoverable() => Parsed::Malformed,
            Err(_) => Parsed::Lost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rumormill_core::MapId;
    use rumormill_core::frame::SyncChunk;

    fn frames() -> Vec<Frame> {
        let frame = Frame::Prune;
        vec![frame.clone(), frame.clone(), frame]
    }

    #[test]
    fn a_stream_is_cut_into_frames_wherever_it_is_broken() {
        let whole = encoded(&frames());
        for size in 1..=whole.len() {
            let mut parser = Parser { pending: BytesMut::new(), missing: 0, body_len_max: 100 };
            let mut found = Vec::new();
            for piece in whole.chunks(size) {
                let mut bytes = parser.extend(Bytes::copy_from_slice(piece));
                while let Parsed::Frame(frame) = parser.next(&mut bytes) {
                    found.push(frame);
                }
            }
            assert_eq!(found, frames(), "in pieces of {size}");
        }
    }

    fn chunk(len: usize) -> Frame {
        let ops = Bytes::from(vec![7; len]);
        Frame::SyncChunk(Box::new(SyncChunk { map: MapId(1), generation: 1, session: 1, count: 0, ops }))
    }

    #[test]
    fn a_short_payload_keeps_no_block() {
        let sent = [chunk(SHARED_LEN_MIN), chunk(1), chunk(SHARED_LEN_MIN - 1)];
        let mut parser = Parser { pending: BytesMut::new(), missing: 0, body_len_max: BODY_LEN_MAX };
        let mut block = parser.extend(encoded(&sent));
        let _kept = block.clone();
        let mut is_alone = || {
            let Parsed::Frame(Frame::SyncChunk(chunk)) = parser.next(&mut block) else { panic!("no frame") };
            chunk.ops.is_unique()
        };
        assert_eq!([is_alone(), is_alone(), is_alone()], [false, true, true]);
    }

    #[test]
    fn a_block_is_no_longer_than_the_frames_that_it_was_put_together_for() {
        let long = encoded(&[chunk(BODY_LEN_MAX / 2)]);
        let mut parser = Parser { pending: BytesMut::new(), missing: 0, body_len_max: BODY_LEN_MAX };
        let middle = long.len() * 2 / 3;
        for part in [long.slice(..10), long.slice(10..middle), long.slice(middle..)] {
            let mut block = parser.extend(part);
            while let Parsed::Frame(_) = parser.next(&mut block) {}
        }
        assert_eq!(parser.pending.capacity(), 0, "the next frame would begin in the last one's block");
    }

    #[test]
    fn a_frame_too_long_ends_the_stream() {
        let mut parser = Parser { pending: BytesMut::new(), missing: 0, body_len_max: 100 };
        let mut bytes = parser.extend(Bytes::from_static(&[255, 0, 0, 0, 1, 0]));
        assert!(matches!(parser.next(&mut bytes), Parsed::Lost));
    }

    #[test]
    fn a_channel_is_full_once_and_ready_once() {
        let outbox = Outbox::default();
        let lane = &outbox.lanes[0];
        let frame = Frame::Prune;
        let count = HIGH_WATER / frame.wire_len() + 1;
        let queued: Vec<_> = (0..count + 5).map(|_| outbox.push(Channel::Control, frame.clone())).collect();
        assert_eq!(queued.iter().filter(|queued| **queued == Queued::Full).count(), 1);
        let mut ready = 0;
        while let Work::Write(bytes) = lane.take() {
            ready += usize::from(lane.settle(bytes.len()));
        }
        assert_eq!((ready, lane.state().bytes), (1, 0));
    }
}
