//! Anti-entropy: one exchange between two replicas of a map, at a cost of what differs.
//!
//! 1. The initiator says hello with a hash for each bucket of writers. Equal: the responder ends the session.
//! 2. Else it answers with its vector for the buckets that differ.
//! 3. The initiator sends every operation that this vector does not cover, in chunks, and then its own vector for
//!    the same buckets, as it was before the first chunk.
//! 4. The responder does the same in return and ends the session.
//!
//! Operations are merged as they come; the vector is raised only over the peer's closing vector, when all that it
//! covers has arrived: the context never runs ahead of data. A session that breaks off leaves data behind and no context. So does one in which an
//! operation was refused: it may have replaced operations of any writer, which are then not here either. All of it
//! is offered again.
//!
//! A sender needs no frozen snapshot: its closing vector is taken before the first chunk, chunks go by stamp, and an
//! entry that is replaced meanwhile is replaced by a later one, which is still to come. (Two writers' stamps may be
//! equal, so a sender pauses only between stamps.)

use super::{Event, Known, Replica, is_valid};
use crate::config::{Canary, Config};
use crate::frame::{
    Channel, Frame, SyncChunk, SyncEnd, SyncHello, SyncOutcome, SyncVector, VECTOR_BUCKETS,
    VECTOR_ENTRIES_MAX,
};
use crate::hash::Fold;
use crate::hlc::Stamp;
use crate::id::{MapId, NodeId, Writer};
use crate::lww_map::{Held, LwwMap, Merged};
use crate::machine::{Cx, Origin};
use crate::op::Op;
use crate::replica::Refusal;
use crate::rng::Purpose;
use crate::time::Instant;
use crate::version_vector::is_masked;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use bytes::Bytes;

/// Chunks that are sent in one turn, so that a full link can say so before the next. A guess.
const TURN_CHUNKS: usize = 4;
/// Time between two turns. A guess: with chunks of 48 KiB, 38 MB/s.
const TURN_MS: u64 = 5;

/// Who opened the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Initiator,
    Responder,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The responder's vector, or its end.
    Greeted,
    /// Chunks of ours, then our closing vector.
    Sending,
    /// The peer's chunks, then its closing vector.
    Receiving,
}

/// One side of a session.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) peer: NodeId,
    pub(super) map: MapId,
    pub(super) role: Role,
    /// The initiator's number for it.
    pub(super) number: u32,
    phase: Phase,
    /// The buckets that differ; zero until they are known.
    mask: u16,
    /// Whether the vectors were equal and only the contents were not.
    is_same_vector: bool,
    /// Whether everything is exchanged, because the replicas have diverged.
    is_repair: bool,
    /// The pieces of the peer's vector that have arrived.
    told: BTreeMap<Writer, Stamp>,
    /// What the peer holds, and is not sent: at first what was held here when the session began, because the peer
    /// has the same in the buckets that do not differ.
    held: Held,
    /// Our vector from before the first chunk.
    closing: Vec<(Writer, Stamp)>,
    /// The stamp up to which everything was sent; `None` when there is nothing more.
    cursor: Option<Stamp>,
    is_full: bool,
    /// Operations sent, and received.
    sent: u32,
    received: u32,
    /// Whether an operation of the peer was refused, or lost with one of the link's connections.
    has_refused: bool,
    /// The map's root, and its changes, when the session began.
    root: u64,
    changes: u64,
    /// Changes of the map that came by this session.
    changed: u64,
    /// When the session ends for want of progress.
    deadline: Instant,
    /// When the next chunks are sent.
    turn_at: Instant,
}

impl Session {
    pub(super) fn due(&self) -> Instant {
        self.deadline.min(self.turn_at)
    }

    pub(super) fn digest(&self, span: impl Fn(Instant) -> u64, into: &mut Fold) {
        let sizes = self.told.len() as u64 | (self.closing.len() as u64) << 32;
        let state = self.role as u64 | (self.phase as u64) << 8 | u64::from(self.mask) << 16;
        let flags = u64::from(self.is_full) | u64::from(self.is_repair) << 1 | u64::from(self.number) << 8;
        let names =
            [self.peer.prefix(), self.map.0, state, flags, sizes, self.cursor.map_or(0, |stamp| stamp.0)];
        names.into_iter().chain([span(self.deadline), span(self.turn_at)]).for_each(|word| into.word(word));
    }

    pub(super) fn check(&self, config: &Config) {
        assert!(self.told.len() <= config.writers_max, "a peer's vector is longer than writers_max");
        assert!(self.closing.len() <= config.writers_max, "a vector is longer than writers_max");
        assert!(self.phase == Phase::Greeted || self.mask != 0, "a session over nothing");
        assert!(
            self.phase == Phase::Sending || self.turn_at == Instant::NEVER,
            "a turn with nothing to send"
        );
    }

    /// Sends one turn of chunks and tells whether more is to come.
    fn send_chunks(&mut self, map: &LwwMap, bytes_max: usize, cx: &mut Cx<'_>) -> bool {
        let Some(mut cursor) = self.cursor else { return false };
        let (mut chunk, mut count, mut sent, mut ops) = (Vec::new(), 0, 0, 0_u32);
        let mut has_more = false;
        for (stamp, raw) in map.lacked(&self.held, cursor) {
            if count > 0 && chunk.len() + raw.len() > bytes_max {
                self.send_chunk(map.generation(), core::mem::take(&mut chunk), count, cx);
                (count, sent) = (0, sent + 1);
                if sent >= TURN_CHUNKS && stamp > cursor {
                    has_more = true;
                    break;
                }
            }
            chunk.extend_from_slice(raw);
            (cursor, count, ops) = (stamp, count + 1, ops.saturating_add(1));
        }
        if count > 0 {
            self.send_chunk(map.generation(), chunk, count, cx);
        }
        self.sent = self.sent.saturating_add(ops);
        self.cursor = has_more.then_some(cursor);
        has_more
    }

    fn send_chunk(&self, generation: u64, ops: Vec<u8>, count: u32, cx: &mut Cx<'_>) {
        let (map, session, ops) = (self.map, self.number, Bytes::from(ops));
        let chunk = SyncChunk { map, generation, session, count, ops };
        cx.send(self.peer, Channel::Sync, Frame::SyncChunk(Box::new(chunk)));
    }

    /// Sends a vector in pieces; an empty one is one empty piece.
    fn send_vector(&self, generation: u64, entries: &[(Writer, Stamp)], cx: &mut Cx<'_>) {
        let mut pieces = entries.chunks(VECTOR_ENTRIES_MAX).peekable();
        let mut piece = pieces.next().unwrap_or_default();
        loop {
            let (map, session, mask, last) = (self.map, self.number, self.mask, pieces.peek().is_none());
            let (sent, entries) = (self.sent, piece.to_vec());
            let vector = SyncVector { map, generation, session, mask, last, sent, entries };
            cx.send(self.peer, Channel::Sync, Frame::SyncVector(Box::new(vector)));
            let Some(next) = pieces.next() else { return };
            piece = next;
        }
    }

    fn send_end(&self, outcome: SyncOutcome, cx: &mut Cx<'_>) {
        let (map, session) = (self.map, self.number);
        cx.send(self.peer, Channel::Sync, Frame::SyncEnd(SyncEnd { map, session, outcome }));
    }
}

impl Replica {
    pub(super) fn on_frame(&mut self, from: NodeId, frame: Frame, cx: &mut Cx<'_>) {
        match frame {
            Frame::SyncHello(hello) => self.on_hello(from, &hello, cx),
            Frame::SyncVector(vector) => self.on_vector(from, *vector, cx),
            Frame::SyncChunk(chunk) => self.on_chunk(from, *chunk, cx),
            Frame::SyncEnd(end) => self.on_end(from, end, cx),
            Frame::Join(_)
            | Frame::JoinReply { .. }
            | Frame::ForwardJoin { .. }
            | Frame::Neighbor { .. }
            | Frame::NeighborReply(_)
            | Frame::Disconnect(_)
            | Frame::Leave(_)
            | Frame::Shuffle { .. }
            | Frame::ShuffleReply { .. }
            | Frame::Probe { .. }
            | Frame::ProbeAck { .. }
            | Frame::Gossip(_)
            | Frame::IHave(_)
            | Frame::Graft { .. }
            | Frame::Prune
            | Frame::Members(_)
            | Frame::RegistryHello(_)
            | Frame::RegistryRows(_)
            | Frame::RegistryPull(_)
            | Frame::RegistryUpdates { .. }
            | Frame::RegistryRelay(_)
            | Frame::Mail(_) => cx.stats.misplaced += 1,
        }
    }

    fn session(&self, map: MapId, peer: NodeId, role: Role, number: u32, now: Instant) -> Session {
        let hosted = self.maps.get(&map);
        Session {
            peer,
            map,
            role,
            number,
            phase: if role == Role::Initiator { Phase::Greeted } else { Phase::Receiving },
            mask: 0,
            is_same_vector: false,
            is_repair: false,
            told: BTreeMap::new(),
            held: hosted.map_or(Held::default(), |hosted| hosted.map.held()),
            closing: Vec::new(),
            cursor: None,
            is_full: self.full.contains(&peer),
            sent: 0,
            received: 0,
            has_refused: false,
            root: hosted.map_or(0, |hosted| hosted.map.root()),
            changes: hosted.map_or(0, |hosted| hosted.changes),
            changed: 0,
            deadline: now.plus_millis(self.config.sync_timeout_ms),
            turn_at: Instant::NEVER,
        }
    }

    /// Opens a session with a neighbour.
    pub(super) fn open(&mut self, map: MapId, peer: NodeId, cx: &mut Cx<'_>) {
        let Some(hosted) = self.maps.get(&map) else { return };
        // Both ends may number alike: the lowest bit tells whose number it is.
        let number = self.opened << 1 | u32::from(self.writer.node > peer);
        let hello = SyncHello {
            map,
            generation: hosted.map.generation(),
            session: number,
            buckets: *hosted.map.vector().bucket_hashes(),
            fingerprint: hosted.map.fingerprint(),
            count: hosted.map.count(),
        };
        cx.send(peer, Channel::Sync, Frame::SyncHello(Box::new(hello)));
        cx.stats.syncs += 1;
        let session = self.session(map, peer, Role::Initiator, number, cx.now.mono);
        self.opened = self.opened.wrapping_add(1);
        self.wake(session.due());
        self.sessions.push(session);
    }

    fn on_hello(&mut self, from: NodeId, hello: &SyncHello, cx: &mut Cx<'_>) {
        let ours = self.maps.get(&hello.map).map(|hosted| hosted.map.generation());
        if ours.is_some_and(|ours| ours < hello.generation) {
            self.adopt(hello.map, hello.generation, Origin::Sync);
        }
        let mut session = self.session(hello.map, from, Role::Responder, hello.session, cx.now.mono);
        if ours.is_none() {
            return session.send_end(SyncOutcome::NoSuchMap, cx);
        }
        if ours > Some(hello.generation) {
            session.send_end(SyncOutcome::Busy, cx);
            return self.offer(hello.map, from, cx.now.mono); // with ours it learns the generation
        }
        if !self.make_way(&session) {
            return session.send_end(SyncOutcome::Busy, cx);
        }
        let Some(hosted) = self.maps.get(&hello.map) else { return };
        session.mask = differing(hosted.map.vector().bucket_hashes(), &hello.buckets);
        session.is_same_vector = session.mask == 0;
        if session.mask == 0
            && (hosted.map.fingerprint(), hosted.map.count()) == (hello.fingerprint, hello.count)
        {
            self.know(hello.map, from, Known::Equal { root: hosted.map.root() });
            return session.send_end(SyncOutcome::Equal, cx);
        }
        let inbound = self.sessions.iter().filter(|session| session.role == Role::Responder).count();
        if inbound >= self.config.sync_sessions_max {
            return session.send_end(SyncOutcome::Busy, cx);
        }
        if session.is_same_vector {
            // Most likely one side holds what no vector covers yet. If that was exchanged before, it is damage.
            session.mask = u16::MAX;
            session.is_repair = self.known.get(&(hello.map, from)) == Some(&Known::Suspect);
        }
        let entries = if session.is_repair { Vec::new() } else { vector_of(&hosted.map, session.mask) };
        session.send_vector(hosted.map.generation(), &entries, cx);
        self.wake(session.due());
        self.sessions.push(session);
    }

    /// Makes room for a session that a peer opens: of two that cross, the one of the smaller id stays.
    fn make_way(&mut self, opened: &Session) -> bool {
        let is_same = |it: &Session| it.peer == opened.peer && it.map == opened.map;
        let Some(i) = self.sessions.iter().position(is_same) else { return true };
        let is_ours = self.sessions[i].role == Role::Initiator && self.writer.node < opened.peer;
        if !is_ours {
            self.sessions.remove(i); // of two opened by the peer, it has forgotten the first
            self.unblock();
        }
        !is_ours
    }

    fn find(&self, peer: NodeId, map: MapId, number: u32) -> Option<usize> {
        self.sessions.iter().position(|it| it.peer == peer && it.map == map && it.number == number)
    }

    /// Finds the session of a frame, if it is still going on in the frame's generation.
    fn find_alive(
        &mut self,
        peer: NodeId,
        map: MapId,
        generation: u64,
        number: u32,
        cx: &mut Cx<'_>,
    ) -> Option<usize> {
        let i = self.find(peer, map, number)?;
        let ours = self.maps.get(&map)?.map.generation();
        if generation != ours {
            self.sessions.remove(i);
            self.unblock();
            if generation > ours {
                self.adopt(map, generation, Origin::Sync);
            }
            self.offer(map, peer, cx.now.mono);
            return None;
        }
        self.sessions[i].deadline = cx.now.mono.plus_millis(self.config.sync_timeout_ms);
        Some(i)
    }

    fn on_vector(&mut self, from: NodeId, vector: SyncVector, cx: &mut Cx<'_>) {
        let SyncVector { map, generation, session, mask, last, sent, entries } = vector;
        let Some(i) = self.find_alive(from, map, generation, session, cx) else { return };
        let writers_max = self.config.writers_max;
        let it = &mut self.sessions[i];
        if it.phase == Phase::Greeted && it.told.is_empty() {
            it.mask = mask;
        }
        let is_sound = it.phase != Phase::Sending
            && (mask, mask != 0) == (it.mask, true)
            && it.told.len() + entries.len() <= writers_max
            && entries.iter().all(|(writer, _)| is_masked(mask, writer));
        if !is_sound {
            return self.abort(i, cx);
        }
        it.told.extend(entries);
        it.has_refused |= sent != it.received;
        match (last, it.phase) {
            (false, _) => {}
            (true, Phase::Greeted) => {
                let told = core::mem::take(&mut it.told);
                self.begin_sending(i, &told, cx);
            }
            (true, Phase::Sending | Phase::Receiving) => self.on_closing(i, cx),
        }
    }

    /// The peer's vector is complete: whatever it does not cover is sent, and then our own.
    fn begin_sending(&mut self, i: usize, told: &BTreeMap<Writer, Stamp>, cx: &mut Cx<'_>) {
        let is_early = self.config.is_planted(Canary::ContextBeforeData);
        let session = &mut self.sessions[i];
        let Some(hosted) = self.maps.get_mut(&session.map) else { return };
        session.phase = Phase::Sending;
        session.held.tell(&hosted.map, session.mask, told);
        session.cursor = hosted.map.lowest_lacked(&session.held);
        session.closing = vector_of(&hosted.map, session.mask);
        if session.role == Role::Responder {
            // The initiator knows its own: only what is ahead of that tells it something.
            session.closing.retain(|(writer, stamp)| told.get(writer).is_none_or(|theirs| stamp > theirs));
        }
        if is_early {
            for (writer, stamp) in told {
                hosted.map.raise(writer, *stamp);
            }
        }
        self.send_turn(i, cx);
    }

    /// Sends the next chunks, and the closing vector once there are no more.
    fn send_turn(&mut self, i: usize, cx: &mut Cx<'_>) {
        let session = &mut self.sessions[i];
        let Some(hosted) = self.maps.get(&session.map) else { return };
        session.turn_at = Instant::NEVER;
        if session.is_full {
            return;
        }
        session.deadline = cx.now.mono.plus_millis(self.config.sync_timeout_ms);
        if session.send_chunks(&hosted.map, self.config.sync_chunk_bytes, cx) {
            session.turn_at = cx.now.mono.plus_millis(TURN_MS);
            let due = session.due();
            return self.wake(due);
        }
        session.send_vector(hosted.map.generation(), &session.closing, cx);
        session.phase = Phase::Receiving;
        session.closing = Vec::new();
        let due = session.due();
        if session.role == Role::Responder {
            session.send_end(SyncOutcome::Equal, cx);
            self.finish(i, cx);
        } else {
            self.wake(due);
        }
    }

    fn on_chunk(&mut self, from: NodeId, chunk: SyncChunk, cx: &mut Cx<'_>) {
        let SyncChunk { map, generation, session, count, mut ops } = chunk;
        let Some(i) = self.find_alive(from, map, generation, session, cx) else { return };
        if self.sessions[i].phase != Phase::Receiving {
            return self.abort(i, cx);
        }
        let mut refusal = None;
        for _ in 0..count {
            let Some((op, raw)) =
                Op::split(&mut ops).ok().filter(|(op, _)| (op.map, op.generation) == (map, generation))
            else {
                return self.abort(i, cx);
            };
            cx.stats.sync_ops += 1;
            self.sessions[i].received = self.sessions[i].received.saturating_add(1);
            if let Err(refused) = self.absorb(i, &op, &raw, cx) {
                cx.stats.ops_refused += 1;
                self.sessions[i].has_refused = true;
                refusal = refused.or(refusal);
            }
        }
        refusal.into_iter().for_each(|refusal| self.report(refusal, from)); // once for a chunk says enough
        if !ops.is_empty() {
            self.abort(i, cx);
        }
    }

    /// Merges one operation of a session: data, not context.
    fn absorb(&mut self, i: usize, op: &Op, raw: &Bytes, cx: &mut Cx<'_>) -> Result<(), Option<Refusal>> {
        self.admit(op, cx).map_err(Some)?;
        let Some(hosted) = self.maps.get_mut(&op.map) else { return Err(None) };
        let was_covered = op.stamp <= hosted.map.vector().cover(&op.writer);
        let is_valid = op.value().is_none_or(|value| is_valid(hosted.schema, &op.key, value));
        let merged = hosted.map.merge(op, raw, is_valid, Origin::Sync);
        match merged {
            Merged::Full => return Err(None),
            Merged::Lost => return Ok(()),
            Merged::Won { .. } => {}
        }
        // The vector covered an operation that was not there: damage, and now it is mended.
        cx.stats.divergence_repaired += u64::from(was_covered);
        cx.stats.ops_applied += 1;
        hosted.changes += 1;
        self.sessions[i].changed += 1;
        self.tell(op, merged, Origin::Sync);
        Ok(())
    }

    /// The peer's closing vector is complete, and so is all that it covers: the one place where a session raises ours.
    fn on_closing(&mut self, i: usize, cx: &mut Cx<'_>) {
        let delay_ms = cx.rng.draw(Purpose::SyncJitter).jitter(self.config.sync_spread_ms, 25);
        let news_at = cx.now.mono.plus_millis(delay_ms);
        let told = core::mem::take(&mut self.sessions[i].told);
        let has_all = !self.sessions[i].has_refused;
        for (writer, stamp) in told.iter().filter(|_| has_all) {
            if self.follow(*stamp, cx).is_err() {
                continue;
            }
            let is_news = self.is_news(*stamp, cx);
            let session = &mut self.sessions[i];
            let Some(hosted) = self.maps.get_mut(&session.map) else { return };
            if hosted.map.raise(writer, *stamp) {
                hosted.changes += 1;
                session.changed += 1;
                if is_news {
                    hosted.calendar.news_at.get_or_insert(news_at);
                    self.wake(news_at);
                }
            }
        }
        let session = &self.sessions[i];
        match (session.role, session.is_repair) {
            (Role::Initiator, _) => self.finish(i, cx),
            (Role::Responder, false) => self.begin_sending(i, &told, cx),
            (Role::Responder, true) => self.begin_sending(i, &BTreeMap::new(), cx),
        }
    }

    fn on_end(&mut self, from: NodeId, end: SyncEnd, cx: &mut Cx<'_>) {
        let Some(i) = self.find(from, end.map, end.session) else { return };
        let session = self.sessions.remove(i);
        self.unblock();
        if session.role == Role::Responder {
            return;
        }
        match end.outcome {
            SyncOutcome::Equal if session.phase == Phase::Greeted => {
                cx.stats.syncs_equal += 1;
                self.know(end.map, from, Known::Equal { root: session.root });
                self.be_quiet(end.map);
            }
            SyncOutcome::Equal | SyncOutcome::NoSuchMap => {}
            SyncOutcome::Busy => {
                cx.stats.syncs_busy += 1;
                self.offer_later(end.map, from, cx);
            }
        }
    }

    /// A session has come to its end on this side.
    fn finish(&mut self, i: usize, cx: &mut Cx<'_>) {
        let session = self.sessions.remove(i);
        self.unblock();
        let Some(hosted) = self.maps.get(&session.map) else { return };
        let is_alone = hosted.changes - session.changes == session.changed;
        if session.is_same_vector && !session.is_repair {
            self.know(session.map, session.peer, Known::Suspect);
        } else if !session.has_refused && is_alone {
            let root = hosted.map.root();
            self.know(session.map, session.peer, Known::Equal { root });
        }
        if session.changed > 0 {
            self.stir(session.map, cx);
        } else if session.role == Role::Initiator {
            self.be_quiet(session.map);
        }
    }

    /// Ends a session with a peer that does not keep to it.
    fn abort(&mut self, i: usize, cx: &mut Cx<'_>) {
        let session = self.sessions.remove(i);
        cx.stats.malformed += 1;
        session.send_end(SyncOutcome::Busy, cx);
        self.events.push_back(Event::Malformed { from: session.peer });
        self.unblock();
    }

    fn know(&mut self, map: MapId, peer: NodeId, known: Known) {
        if self.neighbors.contains(&peer) {
            self.known.insert((map, peer), known);
        }
    }

    pub(super) fn on_link_full(&mut self, peer: NodeId) {
        self.sessions
            .iter_mut()
            .filter(|session| session.peer == peer)
            .for_each(|session| session.is_full = true);
        if self.neighbors.contains(&peer) && !self.full.contains(&peer) {
            self.full.push(peer);
        }
    }

    pub(super) fn on_link_ready(&mut self, peer: NodeId, cx: &mut Cx<'_>) {
        self.full.retain(|full| *full != peer);
        for session in self.sessions.iter_mut().filter(|session| session.peer == peer && session.is_full) {
            session.is_full = false;
            if session.phase == Phase::Sending {
                session.turn_at = cx.now.mono;
            }
        }
        self.wake(cx.now.mono);
    }

    /// Ends sessions that make no progress and sends the next chunks of the others.
    pub(super) fn on_sessions_due(&mut self, cx: &mut Cx<'_>) {
        let mut i = 0;
        while i < self.sessions.len() {
            let count = self.sessions.len();
            if self.sessions[i].deadline <= cx.now.mono {
                let session = self.sessions.remove(i);
                cx.stats.syncs_expired += 1;
                if session.role == Role::Initiator {
                    self.offer_later(session.map, session.peer, cx);
                }
            } else if self.sessions[i].turn_at <= cx.now.mono {
                self.send_turn(i, cx);
            }
            i += usize::from(self.sessions.len() == count);
        }
    }
}

fn vector_of(map: &LwwMap, mask: u16) -> Vec<(Writer, Stamp)> {
    map.vector().entries(mask).map(|(writer, stamp)| (*writer, stamp)).collect()
}

/// Tells which buckets have different hashes: bit k for bucket k.
fn differing(ours: &[u64; VECTOR_BUCKETS], theirs: &[u64; VECTOR_BUCKETS]) -> u16 {
    let differs = |k: &usize| ours[*k] != theirs[*k];
    (0..VECTOR_BUCKETS).filter(differs).fold(0, |mask, k| mask | 1 << k)
}
