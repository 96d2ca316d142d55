//! The replica: replicated maps, kept equal by broadcast operations and by anti-entropy.
//!
//! A write is applied here and broadcast. What the broadcast does not bring, anti-entropy does (`session`): with a
//! new neighbour, where an operation's predecessor stays away, now and then with a random neighbour, and onwards to
//! the others when a session brought what no broadcast brings (`schedule`).
//!
//! A map uses a registered schema, or plain bytes. Arriving values that the schema refuses are kept and handed on,
//! so that vectors and fingerprints stay equal among nodes that judge differently, and never shown.

use crate::config::{Canary, Config};
use crate::frame::Frame;
use crate::hash::Fold;
use crate::hlc::Stamp;
use crate::id::{MapId, NodeId, Version, Writer};
use crate::machine::{CommandError, Cx, Machine, Origin};
use crate::observation::MapStatus;
use crate::op::{Body, Op};
use crate::schema::Schema;
use crate::time::Instant;
use crate::version_vector::Recorded;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use schedule::Calendar;
use session::{Role, Session};

pub use crate::lww_map::{LwwMap, Merged};

mod schedule;
mod session;
#[cfg(test)]
mod tests;

/// What happens to the replica.
#[derive(Clone, Debug)]
pub enum Input {
    /// A broadcast operation was delivered.
    Op {
        /// The neighbour that handed it on.
        from: NodeId,
        /// The encoded operation.
        payload: Bytes,
    },
    /// A peer came into the active view.
    NeighborUp {
        /// The peer.
        peer: NodeId,
    },
    /// A peer went out of the active view.
    NeighborDown {
        /// The peer.
        peer: NodeId,
    },
    /// A frame of the sync channel arrived.
    Frame {
        /// From whom.
        from: NodeId,
        /// The frame.
        frame: Frame,
    },
    /// The sync channel of a link is above its high-water mark.
    LinkFull {
        /// The peer.
        peer: NodeId,
    },
    /// The sync channel of a link has drained.
    LinkReady {
        /// The peer.
        peer: NodeId,
    },
}

/// What the replica tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A key has visibly changed.
    Changed {
        /// The map.
        map: MapId,
        /// The key.
        key: Bytes,
        /// The value before.
        old: Option<Bytes>,
        /// The value now.
        new: Option<Bytes>,
        /// The version of the change.
        version: Version,
        /// How it came here.
        origin: Origin,
    },
    /// A local write, to be broadcast on [`Topic::REPLICA`](crate::Topic::REPLICA).
    Publish {
        /// The encoded operation.
        payload: Bytes,
    },
    /// An operation's stamp was too far ahead; the operation was refused.
    ClockRefused {
        /// Who handed it on.
        from: NodeId,
        /// How far ahead it was, in milliseconds.
        ahead_ms: u64,
    },
    /// A peer sent bytes that are no operation, or a session that makes no sense.
    Malformed {
        /// The peer.
        from: NodeId,
    },
}

/// A map with what surrounds it.
#[derive(Clone, Debug)]
struct Hosted {
    map: LwwMap,
    schema: Option<Schema>,
    calendar: Calendar,
    /// Counts what changed the map: entries that won, covers that rose.
    changes: u64,
}

impl Hosted {
    fn new(config: Arc<Config>, schema: Option<Schema>, generation: u64) -> Self {
        let map = LwwMap::new(config, generation);
        Self { map, schema, calendar: Calendar::default(), changes: 0 }
    }
}

/// What is known of a neighbour's replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// It was equal to ours when ours had this root.
    Equal { root: u64 },
    /// Vectors were equal and contents were not, and a session over what is not covered has just ended: if they
    /// still differ, they have diverged.
    Suspect,
}

/// The replicated maps of one node.
#[derive(Clone, Debug)]
pub struct Replica {
    config: Arc<Config>,
    writer: Writer,
    maps: BTreeMap<MapId, Hosted>,
    neighbors: Vec<NodeId>,
    /// Neighbours whose sync channel takes no more just now.
    full: Vec<NodeId>,
    /// When a session is opened with which neighbour.
    offers: BTreeMap<(MapId, NodeId), Instant>,
    known: BTreeMap<(MapId, NodeId), Known>,
    sessions: Vec<Session>,
    /// Sessions opened so far.
    opened: u32,
    /// No deadline is earlier.
    due: Instant,
    events: VecDeque<Event>,
}

impl Replica {
    /// Starts the configured maps, empty. Maps whose schema is unknown or joins values are left out.
    pub fn new(config: Arc<Config>, writer: Writer) -> Self {
        let mut replica = Self {
            config: config.clone(),
            writer,
            maps: BTreeMap::new(),
            neighbors: Vec::new(),
            full: Vec::new(),
            offers: BTreeMap::new(),
            known: BTreeMap::new(),
            sessions: Vec::new(),
            opened: 0,
            due: Instant::NEVER,
            events: VecDeque::new(),
        };
        for map in &config.maps {
            let _ = replica.create_map(&map.name, map.schema); // a command tells the reason, here nobody asks
        }
        replica
    }

    /// Hosts a map, if it is not hosted yet. A node with neighbours asks one for its contents at once.
    ///
    /// # Errors
    /// [`CommandError::SchemaMismatch`] when the map has another schema, no such schema is registered, or the schema
    /// joins values (see [`lww_map`](crate::lww_map)); [`CommandError::Full`] beyond `maps_max`.
    pub fn create_map(&mut self, name: &str, schema: u32) -> Result<(), CommandError> {
        let registered = self.config.schemas.iter().find(|it| it.id == schema && it.join.is_none()).copied();
        if schema != 0 && registered.is_none() {
            return Err(CommandError::SchemaMismatch);
        }
        let id = MapId::named(name);
        if let Some(hosted) = self.maps.get(&id) {
            let is_same = hosted.schema == registered;
            return if is_same { Ok(()) } else { Err(CommandError::SchemaMismatch) };
        }
        let max = self.config.maps_max;
        if self.maps.len() >= max {
            return Err(CommandError::Full { max });
        }
        self.maps.insert(id, Hosted::new(self.config.clone(), registered, 0));
        if !self.neighbors.is_empty() {
            self.wake(Instant::default());
        }
        Ok(())
    }

    /// Writes a key. The clock's mark must be durable beyond the next stamp.
    ///
    /// # Errors
    /// Nothing has changed: [`CommandError::NoSuchMap`], [`CommandError::TooLarge`], [`CommandError::Invalid`],
    /// [`CommandError::Full`].
    pub fn put(
        &mut self,
        map: MapId,
        key: Bytes,
        value: Bytes,
        expires: Option<Stamp>,
        cx: &mut Cx<'_>,
    ) -> Result<Version, CommandError> {
        let hosted = self.maps.get(&map).ok_or(CommandError::NoSuchMap)?;
        let (len, max) = (value.len(), self.config.value_len_max);
        if len > max {
            return Err(CommandError::TooLarge { len, max });
        }
        if !is_valid(hosted.schema, &key, &value) {
            return Err(CommandError::Invalid);
        }
        self.write(map, key, Body::Put(value), expires, cx)
    }

    /// Removes a key: an entry like another, also for a key that is not here, for it may be elsewhere.
    ///
    /// # Errors
    /// Nothing has changed: [`CommandError::NoSuchMap`], [`CommandError::TooLarge`], [`CommandError::Full`].
    pub fn remove(&mut self, map: MapId, key: Bytes, cx: &mut Cx<'_>) -> Result<Version, CommandError> {
        self.write(map, key, Body::Tombstone, None, cx)
    }

    fn write(
        &mut self,
        map: MapId,
        key: Bytes,
        body: Body,
        expires: Option<Stamp>,
        cx: &mut Cx<'_>,
    ) -> Result<Version, CommandError> {
        let writer = self.writer;
        let hosted = self.maps.get_mut(&map).ok_or(CommandError::NoSuchMap)?;
        let (len, max) = (key.len(), self.config.key_len_max);
        if len > max {
            return Err(CommandError::TooLarge { len, max });
        }
        if !hosted.map.has_room_for(&key) {
            return Err(CommandError::Full { max: self.config.entries_max });
        }
        if !hosted.map.vector().has_room_for(&writer) {
            return Err(CommandError::Full { max: self.config.writers_max });
        }
        let (generation, prev, base) =
            (hosted.map.generation(), hosted.map.vector().cover(&writer), hosted.map.version(&key));
        let stamp = cx.clock.now(cx.now.wall);
        let op = Op { map, generation, writer, prev, stamp, base, expires, key, body };
        let payload = op.encode();
        let (merged, recorded) = hosted.map.apply(&op, &payload, true, Origin::Local);
        debug_assert_eq!(recorded, Recorded::Raised, "one's own chain has no gaps");
        cx.stats.ops_applied += 1;
        hosted.changes += 1;
        self.events.push_back(Event::Publish { payload });
        self.tell(&op, merged, Origin::Local);
        self.stir(map, cx);
        Ok(op.version())
    }

    /// Shows a map that is hosted here.
    pub fn map(&self, map: MapId) -> Option<&LwwMap> {
        self.maps.get(&map).map(|hosted| &hosted.map)
    }

    /// Lists the maps hosted here, by id.
    pub fn maps(&self) -> impl Iterator<Item = (MapId, &LwwMap)> {
        self.maps.iter().map(|(id, hosted)| (*id, &hosted.map))
    }

    /// Shows each map in short.
    pub fn status(&self) -> impl Iterator<Item = MapStatus> {
        self.maps().map(|(id, map)| MapStatus {
            map: id,
            vector_hash: map.vector().hash(),
            fingerprint: map.fingerprint(),
            count: map.count(),
        })
    }

    /// Folds what matters of the state, with times relative to `now`. Contents count by their hashes.
    pub fn digest(&self, now: Instant, into: &mut Fold) {
        let span = |at: Instant| if at == Instant::NEVER { u64::MAX } else { (at - now).0 };
        for (id, hosted) in &self.maps {
            let words =
                [id.0, hosted.map.root(), hosted.map.len() as u64, u64::from(hosted.map.is_settled())];
            words.into_iter().for_each(|word| into.word(word));
            hosted.calendar.digest(span, into);
        }
        self.neighbors.iter().chain(&self.full).for_each(|peer| into.word(peer.prefix()));
        for ((map, peer), at) in &self.offers {
            [map.0, peer.prefix(), span(*at)].into_iter().for_each(|word| into.word(word));
        }
        self.sessions.iter().for_each(|session| session.digest(span, into));
    }

    fn on_op(&mut self, from: NodeId, mut payload: Bytes, cx: &mut Cx<'_>) {
        let Some((op, raw)) = Op::split(&mut payload).ok().filter(|_| payload.is_empty()) else {
            cx.stats.malformed += 1;
            return self.events.push_back(Event::Malformed { from });
        };
        let Some(hosted) = self.maps.get_mut(&op.map) else { return }; // not ours to keep
        let generation = hosted.map.generation();
        let is_covered = op.generation == generation && hosted.map.vector().covers(&op.version());
        if op.generation < generation || is_covered {
            cx.stats.ops_covered += 1;
            return;
        }
        if let Err(refusal) = self.admit(&op, cx) {
            cx.stats.ops_refused += 1;
            return self.report(refusal, from);
        }
        if op.generation > generation {
            self.adopt(op.map, op.generation, Origin::Broadcast);
        }
        self.apply(from, &op, &raw, cx);
    }

    /// Applies a broadcast operation that was admitted.
    fn apply(&mut self, from: NodeId, op: &Op, raw: &Bytes, cx: &mut Cx<'_>) {
        let Some(hosted) = self.maps.get_mut(&op.map) else { return };
        let is_valid = op.value().is_none_or(|value| is_valid(hosted.schema, &op.key, value));
        let (merged, recorded) = hosted.map.apply(op, raw, is_valid, Origin::Broadcast);
        match recorded {
            Recorded::Full => return cx.stats.ops_refused += 1,
            Recorded::Covered => cx.stats.ops_covered += 1,
            Recorded::Raised => cx.stats.ops_applied += 1,
            Recorded::Gap => {
                cx.stats.ops_applied += 1;
                cx.stats.ops_gapped += 1;
                self.on_gap(op.map, from, cx);
            }
        }
        if let Some(hosted) = self.maps.get_mut(&op.map) {
            hosted.changes += 1;
        }
        self.tell(op, merged, Origin::Broadcast);
        self.stir(op.map, cx);
    }

    /// Judges whether an arriving operation may be applied at all, and follows its stamp if so.
    fn admit(&self, op: &Op, cx: &mut Cx<'_>) -> Result<(), Refusal> {
        let is_short = op.key.len() <= self.config.key_len_max
            && op.value().is_none_or(|value| value.len() <= self.config.value_len_max);
        if !is_short {
            return Err(Refusal::TooLarge);
        }
        self.follow(op.stamp, cx)
    }

    /// Follows a stamp from elsewhere, if it is not too far ahead.
    fn follow(&self, stamp: Stamp, cx: &mut Cx<'_>) -> Result<(), Refusal> {
        if self.config.is_planted(Canary::UnboundedDrift) {
            cx.clock.receive_unbounded(stamp);
            return Ok(());
        }
        cx.clock.receive(stamp, cx.now.wall).map_err(|ahead| {
            cx.stats.stamps_refused += 1;
            Refusal::Ahead { ahead_ms: ahead.ahead_ms }
        })
    }

    fn report(&mut self, refusal: Refusal, from: NodeId) {
        match refusal {
            Refusal::Ahead { ahead_ms } => self.events.push_back(Event::ClockRefused { from, ahead_ms }),
            Refusal::TooLarge => {}
        }
    }

    /// Tells of a visible change, if there was one.
    fn tell(&mut self, op: &Op, merged: Merged, origin: Origin) {
        if let Merged::Won { old, new } = merged
            && old != new
        {
            let (map, key, version) = (op.map, op.key.clone(), op.version());
            self.events.push_back(Event::Changed { map, key, old, new, version, origin });
        }
    }

    /// Takes a map to a higher generation: whatever it held before is void, and so are its sessions.
    fn adopt(&mut self, map: MapId, generation: u64, origin: Origin) {
        let Some(hosted) = self.maps.get_mut(&map) else { return };
        for (key, old) in hosted.map.iter() {
            let Some(version) = hosted.map.version(key) else { continue };
            let (key, old) = (key.clone(), Some(old));
            self.events.push_back(Event::Changed { map, key, old, new: None, version, origin });
        }
        hosted.map = LwwMap::new(self.config.clone(), generation);
        hosted.calendar.news_at = None;
        hosted.changes += 1;
        self.sessions.retain(|session| session.map != map);
        self.known.retain(|(of, _), _| *of != map);
        self.unblock();
    }
}

/// Why an arriving operation is not applied.
#[derive(Clone, Copy, Debug)]
enum Refusal {
    Ahead { ahead_ms: u64 },
    TooLarge,
}

fn is_valid(schema: Option<Schema>, key: &[u8], value: &[u8]) -> bool {
    let Some(schema) = schema else { return true };
    let judges = [schema.validate, schema.verify];
    judges.into_iter().flatten().all(|judge| judge(key, value))
}

impl Machine for Replica {
    type Input = Input;
    type Event = Event;

    fn handle(&mut self, input: Input, cx: &mut Cx<'_>) {
        match input {
            Input::Op { from, payload } => self.on_op(from, payload, cx),
            Input::NeighborUp { peer } => self.on_neighbor_up(peer, cx),
            Input::NeighborDown { peer } => self.on_neighbor_down(peer),
            Input::Frame { from, frame } => self.on_frame(from, frame, cx),
            Input::LinkFull { peer } => self.on_link_full(peer),
            Input::LinkReady { peer } => self.on_link_ready(peer, cx),
        }
    }

    fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        if cx.now.mono < self.due {
            return;
        }
        self.on_sessions_due(cx);
        self.on_news_due(cx);
        self.on_gaps_due(cx);
        self.on_intervals_due(cx);
        self.on_offers_due(cx);
        self.due = self.earliest();
    }

    fn poll_timeout(&self) -> Option<Instant> {
        (self.due != Instant::NEVER).then_some(self.due)
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn check(&self) {
        let max = self.config.sync_sessions_max;
        for role in [Role::Initiator, Role::Responder] {
            let count = self.sessions.iter().filter(|session| session.role == role).count();
            assert!(count <= max, "more sessions than sync_sessions_max");
        }
        assert!(self.maps.len() <= self.config.maps_max, "more maps than maps_max");
    }

    fn audit(&self) {
        self.check();
        for (i, session) in self.sessions.iter().enumerate() {
            let is_same = |it: &Session| it.peer == session.peer && it.map == session.map;
            assert!(!self.sessions[i + 1..].iter().any(is_same), "two sessions with one peer over one map");
            assert!(self.maps.contains_key(&session.map), "a session over a map that is not hosted");
            session.check(&self.config);
        }
        let is_neighbor = |peer: &NodeId| self.neighbors.contains(peer);
        assert!(self.full.iter().all(is_neighbor), "a full link to nobody");
        assert!(self.offers.keys().all(|(_, peer)| is_neighbor(peer)), "an offer to nobody");
        assert!(self.known.keys().all(|(_, peer)| is_neighbor(peer)), "knowledge of nobody");
        assert!(self.due <= self.earliest(), "a deadline would be missed");
        self.maps.values().for_each(|hosted| hosted.map.audit());
    }
}
