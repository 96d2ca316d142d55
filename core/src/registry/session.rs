//! Anti-entropy: two nodes find what either lacks, in the difference's size.
//!
//! A *session* is opened by a hello: hashes of the rows (owner, incarnation, sequence, fingerprint) in each of 32
//! buckets. The other answers with its rows of those that differ. The opener pushes what is newer here and pulls what is
//! newer there, as the last changes where they are still known and as whole sets otherwise. The answering side keeps no
//! state, so nothing is to be cleaned up there.
//!
//! Sessions are opened with a new neighbour, now and then with any, and with all when a session brought something that is
//! too old to be under way on the relay: then it crosses the overlay hop by hop.

use super::apply::Path;
use super::owner::{Owner, Row, bucket_of};
use super::update::Update;
use super::{BUCKETS, Registrar, Registry};
use crate::config::{Canary, Config};
use crate::frame::{Channel, Frame};
use crate::hash::Fold;
use crate::id::{Incarnation, NodeId};
use crate::machine::{Cx, ServiceLoss};
use crate::rng::Purpose;
use crate::time::Instant;
use alloc::boxed::Box;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// Rows in one frame at most.
pub const ROWS_MAX: usize = 1_024;
/// Updates in one frame of a session at most.
pub const UPDATES_MAX: usize = 1_024;

/// How many intervals a node waits at most while its sessions find nothing, as for maps.
const QUIET_MAX: u64 = 5;

/// Times that a missing update is asked for before anti-entropy has to bring it.
const PULLS_FOR_ONE_MAX: u8 = 3;

/// Opens a session: the rows of each bucket in one hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// A sum of hashes for each bucket.
    pub buckets: [u64; BUCKETS],
}

/// Every row of some buckets, from one owner to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows {
    /// The buckets: bit k for bucket k.
    pub mask: u32,
    /// The owner after which these begin; none for the first.
    pub after: Option<NodeId>,
    /// Whether there are none after these.
    pub is_last: bool,
    /// The rows, in the order of owners.
    pub rows: Vec<Row>,
}

/// A session that this node has opened.
#[derive(Clone, Debug)]
struct Session {
    peer: NodeId,
    /// What the peer has that is newer.
    wanted: Vec<Row>,
    found: bool,
    /// Whether the pull under way has brought something.
    progressed: bool,
    deadline: Instant,
}

/// An update that is missing.
#[derive(Clone, Debug)]
struct Missing {
    owner: NodeId,
    /// What is known to exist.
    until: (Incarnation, u64),
    asked: u8,
    /// When somebody else is asked.
    at: Instant,
}

/// When sessions are opened, and with whom.
#[derive(Clone, Debug, Default)]
pub(super) struct Sync {
    neighbors: Vec<NodeId>,
    /// Neighbours whose sync channel takes no more just now.
    full: Vec<NodeId>,
    /// Sessions to be opened.
    offers: Vec<(NodeId, Instant)>,
    session: Option<Session>,
    missing: Vec<Missing>,
    next_at: Instant,
    /// Sessions in a row that found nothing, [`QUIET_MAX`] at most.
    quiet: u64,
    /// When all neighbours are offered a session because there is news.
    news_at: Option<Instant>,
}

impl Sync {
    pub(super) fn due(&self) -> Option<Instant> {
        let offers = self.offers.iter().filter(|_| self.session.is_none()).map(|(_, at)| *at);
        let missing = self.missing.iter().map(|missing| missing.at);
        let interval = (!self.neighbors.is_empty()).then_some(self.next_at);
        let session = self.session.as_ref().map(|session| session.deadline);
        offers.chain(missing).chain(interval).chain(session).chain(self.news_at).min()
    }

    pub(super) fn on_link_full(&mut self, peer: NodeId) {
        if self.neighbors.contains(&peer) && !self.full.contains(&peer) {
            self.full.push(peer);
        }
    }

    pub(super) fn on_link_ready(&mut self, peer: NodeId) {
        self.full.retain(|full| *full != peer);
    }

    fn offer(&mut self, peer: NodeId, at: Instant) {
        match self.offers.iter_mut().find(|(offered, _)| *offered == peer) {
            Some((_, earlier)) => *earlier = at.min(*earlier),
            None if self.neighbors.contains(&peer) => self.offers.push((peer, at)),
            None => {}
        }
    }

    pub(super) fn digest(&self, span: impl Fn(Instant) -> u64, into: &mut Fold) {
        self.neighbors.iter().chain(&self.full).for_each(|peer| into.word(peer.prefix()));
        for (peer, at) in &self.offers {
            into.pair(peer.prefix(), span(*at));
        }
        if let Some(session) = &self.session {
            into.pair(session.peer.prefix(), span(session.deadline));
            into.word(session.wanted.len() as u64);
        }
        self.missing.iter().for_each(|missing| into.pair(missing.owner.prefix(), span(missing.at)));
        into.pair(span(self.next_at), self.quiet);
        into.word(self.news_at.map_or(0, span));
    }

    pub(super) fn check(&self, config: &Config) {
        assert!(self.missing.len() <= config.registry_pulls_max, "more is missing than registry_pulls_max");
        let is_neighbor = |peer: &NodeId| self.neighbors.contains(peer);
        assert!(self.full.iter().all(is_neighbor), "a full link to nobody");
        assert!(self.offers.iter().all(|(peer, _)| is_neighbor(peer)), "an offer to nobody");
        let most = config.registry_owners_max;
        assert!(self.session.iter().all(|session| session.wanted.len() <= most), "a session wants too much");
    }
}

/// When.
impl Registrar {
    pub(super) fn on_neighbor_up(&mut self, peer: NodeId, cx: &mut Cx<'_>) {
        if self.sync.neighbors.contains(&peer) {
            return;
        }
        if self.sync.neighbors.is_empty() {
            self.set_interval(cx);
        }
        self.sync.neighbors.push(peer);
        self.begin_relay(peer);
        let delay_ms = cx.rng.draw(Purpose::RegistryJitter).between(0, self.config.sync_spread_ms);
        // A session serves both sides: the smaller id opens it, the other one only if that does not come.
        let patience_ms = if self.me < peer { 0 } else { self.config.sync_gap_ms };
        self.sync.offer(peer, cx.now.mono.plus_millis(delay_ms + patience_ms));
    }

    pub(super) fn on_neighbor_down(&mut self, peer: NodeId, cx: &mut Cx<'_>) {
        self.end_relay(&peer);
        let sync = &mut self.sync;
        sync.neighbors.retain(|neighbor| *neighbor != peer);
        sync.full.retain(|full| *full != peer);
        sync.offers.retain(|(offered, _)| *offered != peer);
        sync.session.take_if(|session| session.peer == peer);
        if self.config.is_planted(Canary::ViewChurnDeletes)
            && let Some(lease) = self.registry.owner(&peer).and_then(|owner| owner.lease)
        {
            self.on_life_gone(peer, lease, ServiceLoss::Dead, cx);
        }
    }

    /// Something old was new here: it may be so for the neighbours too.
    pub(super) fn spread(&mut self, cx: &mut Cx<'_>) {
        let at = cx.now.mono.plus_millis(self.config.sync_spread_ms);
        self.sync.news_at.get_or_insert(at);
    }

    fn set_interval(&mut self, cx: &mut Cx<'_>) {
        let mean_ms = self.config.sync_interval_ms.saturating_mul(1 + self.sync.quiet);
        let delay_ms = cx.rng.draw(Purpose::RegistryJitter).jitter(mean_ms, 25);
        self.sync.next_at = cx.now.mono.plus_millis(delay_ms);
    }

    pub(super) fn on_sync_due(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now.mono;
        if self.sync.session.take_if(|session| session.deadline <= now).is_some() {
            cx.stats.registry_syncs_expired += 1;
        }
        self.on_missing_due(cx);
        if self.sync.news_at.take_if(|at| *at <= now).is_some() {
            self.sync.neighbors.clone().into_iter().for_each(|peer| self.sync.offer(peer, now));
        }
        if self.sync.next_at <= now && !self.sync.neighbors.is_empty() {
            let partner = cx.rng.draw(Purpose::RegistryPartner).choose(&self.sync.neighbors).copied();
            partner.into_iter().for_each(|peer| self.sync.offer(peer, now));
            self.set_interval(cx);
        }
        while self.sync.session.is_none()
            && let Some(place) = self.sync.offers.iter().position(|(_, at)| *at <= now)
        {
            let (peer, _) = self.sync.offers.remove(place);
            self.open(peer, cx);
        }
    }

    fn on_missing_due(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now.mono;
        if self.sync.missing.iter().all(|missing| missing.at > now) {
            return;
        }
        let (due, rest) = self.sync.missing.drain(..).partition(|missing| missing.at <= now);
        self.sync.missing = rest;
        let due: Vec<Missing> = due;
        for missing in due.into_iter().filter(|missing| missing.asked < PULLS_FOR_ONE_MAX) {
            let partner = cx.rng.draw(Purpose::RegistryPartner).choose(&self.sync.neighbors).copied();
            if let Some(peer) = partner.filter(|_| is_missing(&self.registry, &missing)) {
                self.ask(missing.owner, missing.until, missing.asked + 1, peer, cx);
            }
        }
    }

    /// Asks whoever handed an update on for what came before it.
    pub(super) fn pull(&mut self, owner: NodeId, until: (Incarnation, u64), from: NodeId, cx: &mut Cx<'_>) {
        let Self { sync, registry, .. } = self;
        sync.missing.retain(|missing| is_missing(registry, missing)); // it may have come late
        let is_asked = sync.missing.iter().any(|missing| missing.owner == owner);
        if !is_asked && self.sync.missing.len() < self.config.registry_pulls_max {
            self.ask(owner, until, 1, from, cx);
        }
    }

    fn ask(&mut self, owner: NodeId, until: (Incarnation, u64), asked: u8, peer: NodeId, cx: &mut Cx<'_>) {
        let at = cx.now.mono.plus_millis(self.config.sync_gap_ms);
        self.sync.missing.push(Missing { owner, until, asked, at });
        cx.stats.registry_pulls += 1;
        cx.send(peer, Channel::Sync, Frame::RegistryPull(Vec::from([self.row_of(&owner)])));
    }

    /// Shows what is held of an owner, if only that it is nothing.
    fn row_of(&self, owner: &NodeId) -> Row {
        let nothing = Row { owner: *owner, incarnation: Incarnation(0), seq: 0, fingerprint: 0 };
        self.registry.owner(owner).map_or(nothing, Owner::row)
    }
}

/// What.
impl Registrar {
    fn open(&mut self, peer: NodeId, cx: &mut Cx<'_>) {
        if self.sync.full.contains(&peer) {
            return; // the interval comes again
        }
        self.flush(cx);
        cx.stats.registry_syncs += 1;
        let deadline = cx.now.mono.plus_millis(self.config.sync_timeout_ms);
        self.sync.session =
            Some(Session { peer, wanted: Vec::new(), found: false, progressed: false, deadline });
        let buckets = self.registry.buckets;
        cx.send(peer, Channel::Sync, Frame::RegistryHello(Box::new(Hello { buckets })));
    }

    pub(super) fn on_frame(&mut self, from: NodeId, frame: Frame, cx: &mut Cx<'_>) {
        if let Frame::RegistryRelay(relayed) = frame {
            return self.on_relayed(from, *relayed, cx);
        }
        self.flush(cx); // what is told from here on is what was announced
        match frame {
            Frame::RegistryHello(hello) => self.on_hello(from, &hello, cx),
            Frame::RegistryRows(rows) => self.on_rows(from, &rows, cx),
            Frame::RegistryPull(rows) => self.on_pull(from, &rows, cx),
            Frame::RegistryUpdates { is_last, updates } => self.on_updates(from, is_last, &updates, cx),
            _ => cx.stats.misplaced += 1,
        }
    }

    fn on_hello(&mut self, from: NodeId, hello: &Hello, cx: &mut Cx<'_>) {
        self.sync.offers.retain(|(peer, _)| *peer != from); // this session serves both
        if self.sync.full.contains(&from) {
            return;
        }
        let differing = (0..BUCKETS).filter(|at| hello.buckets[*at] != self.registry.buckets[*at]);
        let mask = differing.fold(0, |mask, at| mask | 1_u32 << at);
        let mut rows = if mask == 0 { Vec::new() } else { self.registry.rows(mask) };
        if self.config.is_planted(Canary::NeighborsOnly) {
            rows.retain(|row| row.owner == self.me);
        }
        let mut after = None;
        loop {
            let rest = rows.split_off(rows.len().min(ROWS_MAX));
            let (last, is_last) = (rows.last().map(|row| row.owner), rest.is_empty());
            cx.send(from, Channel::Sync, Frame::RegistryRows(Box::new(Rows { mask, after, is_last, rows })));
            if is_last {
                return;
            }
            (rows, after) = (rest, last);
        }
    }

    fn on_rows(&mut self, from: NodeId, theirs: &Rows, cx: &mut Cx<'_>) {
        if self.sync.session.as_ref().is_none_or(|session| session.peer != from) {
            cx.stats.misplaced += 1;
            return;
        }
        let is_ordered = theirs.rows.is_sorted_by(|a, b| a.owner < b.owner)
            && theirs.rows.iter().all(|row| theirs.mask >> bucket_of(&row.owner) & 1 == 1)
            && theirs.rows.first().is_none_or(|row| theirs.after.is_none_or(|after| after < row.owner));
        if !is_ordered {
            self.sync.session = None;
            return self.on_malformed(from, cx);
        }
        let (wanted, newer) = self.compare(from, theirs, cx);
        let found = !wanted.is_empty() || !newer.is_empty();
        if !newer.is_empty() && !self.send_sets(from, &newer, false, cx) {
            let at = cx.now.mono.plus_millis(self.config.sync_spread_ms);
            self.sync.offer(from, at); // there is more
        }
        let most = self.config.registry_owners_max;
        if let Some(session) = &mut self.sync.session {
            let room = most.saturating_sub(session.wanted.len());
            session.wanted.extend(wanted.into_iter().take(room));
            session.found |= found;
        }
        if theirs.is_last {
            self.pull_wanted(cx);
        }
    }

    /// Tells which sets are newer there and which are newer here, the latter with what the other holds of them.
    fn compare(&mut self, from: NodeId, theirs: &Rows, cx: &mut Cx<'_>) -> (Vec<Row>, Vec<Row>) {
        let until = if theirs.is_last { None } else { theirs.rows.last().map(|row| row.owner) };
        let in_range = |row: &Row| {
            theirs.after.is_none_or(|after| row.owner > after) && until.is_none_or(|until| row.owner <= until)
        };
        let mut ours = if theirs.mask == 0 { Vec::new() } else { self.registry.rows(theirs.mask) };
        ours.retain(in_range);
        let nothing = |row: &Row| Row { incarnation: Incarnation(0), seq: 0, fingerprint: 0, ..*row };
        let mut there = Walk(&theirs.rows);
        let newer = ours.iter().filter_map(|row| {
            let held = there.find(&row.owner).copied().unwrap_or(nothing(row));
            (held.version() < row.version()).then_some(held)
        });
        let newer = newer.collect();
        let mine = theirs.rows.iter().find(|row| row.owner == self.me);
        if let Some(row) = mine {
            self.defend(from, row.incarnation, row.seq, Some(row.fingerprint), cx);
        }
        let mut here = Walk(&ours);
        let is_newer = |row: &&Row| here.find(&row.owner).is_none_or(|held| held.version() < row.version());
        let wanted = theirs.rows.iter().filter(is_newer);
        let wanted = wanted.filter(|row| row.owner != self.me && self.is_wanted(row));
        (wanted.copied().collect(), newer)
    }

    /// Asks for what is still wanted; ends the session when that is nothing.
    fn pull_wanted(&mut self, cx: &mut Cx<'_>) {
        let Some(mut session) = self.sync.session.take() else { return };
        session.wanted.retain(|row| self.is_wanted(row));
        if session.wanted.is_empty() {
            let was_quiet = core::mem::replace(&mut self.sync.quiet, 0);
            if !session.found {
                self.sync.quiet = QUIET_MAX.min(was_quiet + 1);
            }
            return;
        }
        let rows = session.wanted.iter().take(ROWS_MAX).map(|row| self.row_of(&row.owner)).collect();
        session.deadline = cx.now.mono.plus_millis(self.config.sync_timeout_ms);
        cx.send(session.peer, Channel::Sync, Frame::RegistryPull(rows));
        self.sync.session = Some(session);
    }

    fn on_pull(&mut self, from: NodeId, rows: &[Row], cx: &mut Cx<'_>) {
        if !self.sync.full.contains(&from) {
            self.send_sets(from, rows, true, cx);
        }
    }

    /// Sends what is newer than what the other holds, in chunks; tells whether it was all that was asked for.
    fn send_sets(&self, to: NodeId, held: &[Row], is_answer: bool, cx: &mut Cx<'_>) -> bool {
        if self.sync.full.contains(&to) {
            return false;
        }
        let (mut updates, mut bytes, mut sent, mut is_all) = (Vec::new(), 0, 0, true);
        for row in held {
            if sent >= self.config.registry_sync_bytes {
                is_all = false;
                break;
            }
            for update in self.newer(row, cx.now.mono) {
                bytes += update.wire_len();
                sent += update.wire_len();
                updates.push(update);
                if bytes >= self.config.sync_chunk_bytes || updates.len() >= UPDATES_MAX {
                    let updates = core::mem::take(&mut updates);
                    cx.send(to, Channel::Sync, Frame::RegistryUpdates { is_last: false, updates });
                    bytes = 0;
                }
            }
        }
        if is_answer || !updates.is_empty() {
            cx.send(to, Channel::Sync, Frame::RegistryUpdates { is_last: is_answer, updates });
        }
        is_all
    }

    /// Lists what leads from a row to what is held here.
    fn newer(&self, held: &Row, now: Instant) -> Vec<Update> {
        let Some(number) = self.registry.number(&held.owner) else { return Vec::new() };
        let owner = &self.registry.owners[number];
        let hides = owner.id != self.me && self.config.is_planted(Canary::NeighborsOnly)
            || owner.entries.is_empty() && self.config.is_planted(Canary::LostLastRemoval);
        if owner.seq == 0 || owner.row().version() <= held.version() || hides {
            return Vec::new();
        }
        let since = if owner.incarnation == held.incarnation { held.seq } else { 0 };
        self.registry.rows_after(number, since, now)
    }

    fn on_updates(&mut self, from: NodeId, is_last: bool, updates: &[Update], cx: &mut Cx<'_>) {
        self.registry.warm_rows(updates);
        let mut has_news = false;
        for update in updates {
            has_news |= self.apply(from, update, Path::Sync, cx);
        }
        if has_news {
            let Self { sync, registry, .. } = self;
            sync.missing.retain(|missing| is_missing(registry, missing));
        }
        let Some(session) = self.sync.session.as_mut().filter(|session| session.peer == from) else { return };
        session.progressed |= has_news;
        if !is_last {
            return;
        }
        if core::mem::take(&mut session.progressed) {
            self.pull_wanted(cx);
        } else if !session.wanted.is_empty() {
            self.sync.session = None; // it has nothing for us after all
        }
    }
}

/// Rows in the order of owners, looked through in that order.
struct Walk<'a>(&'a [Row]);

impl<'a> Walk<'a> {
    /// Finds an owner's row behind those that were asked for before.
    fn find(&mut self, owner: &NodeId) -> Option<&'a Row> {
        let before = self.0.iter().take_while(|row| row.owner < *owner).count();
        self.0 = &self.0[before..];
        self.0.first().filter(|row| row.owner == *owner)
    }
}

fn is_missing(registry: &Registry, missing: &Missing) -> bool {
    registry.owner(&missing.owner).is_none_or(|owner| (owner.incarnation, owner.seq) < missing.until)
}
