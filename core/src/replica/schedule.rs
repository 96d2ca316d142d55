//! When anti-entropy runs, and with whom.
//!
//! An *offer* is a session to be opened with a neighbour: at once after it came, when a gap stays open, when the
//! interval is over, and when a session brought news. News is what a session covered and is too old to be still under
//! way on the broadcast tree: in a busy cluster every session finds operations that are just under way, and passing
//! those on would never end. After a partition has healed news crosses the overlay hop by hop, each hop a short delay
//! and a session, not an interval.

use super::{Known, Replica, Role, Session};
use crate::hash::Fold;
use crate::hlc::Stamp;
use crate::id::{MapId, NodeId};
use crate::machine::Cx;
use crate::rng::Purpose;
use crate::time::Instant;
use alloc::vec::Vec;

/// How many intervals a replica waits at most while its sessions find nothing (facts, section 1.5: 10 s to 60 s).
const QUIET_MAX: u64 = 5;

/// When a map is synchronised by itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Calendar {
    /// When the interval is over. A new map is due as soon as there is a neighbour.
    pub(super) next_at: Instant,
    /// Sessions in a row that found nothing, [`QUIET_MAX`] at most.
    pub(super) quiet: u64,
    /// When, and with whom, a gap is looked after if it is still open.
    pub(super) gap: Option<(Instant, NodeId)>,
    /// When the neighbours are told of news.
    pub(super) news_at: Option<Instant>,
}

impl Calendar {
    pub(super) fn digest(&self, span: impl Fn(Instant) -> u64, into: &mut Fold) {
        into.word(span(self.next_at));
        into.word(self.quiet);
        let (at, peer) = self.gap.map_or((0, 0), |(at, peer)| (span(at), peer.prefix()));
        let news_at = self.news_at.map_or(0, span);
        [at, peer, news_at].into_iter().for_each(|word| into.word(word));
    }
}

impl Replica {
    pub(super) fn wake(&mut self, at: Instant) {
        self.due = self.due.min(at);
    }

    /// A session has ended: offers may have waited for that.
    pub(super) fn unblock(&mut self) {
        self.due = self.offers.values().copied().fold(self.due, Instant::min);
    }

    /// Offers a session to a neighbour, no later than `at`.
    pub(super) fn offer(&mut self, map: MapId, peer: NodeId, at: Instant) {
        if self.neighbors.contains(&peer) {
            let offer = self.offers.entry((map, peer)).or_insert(at);
            *offer = at.min(*offer);
            self.wake(at);
        }
    }

    /// Offers a session again after a while.
    pub(super) fn offer_later(&mut self, map: MapId, peer: NodeId, cx: &mut Cx<'_>) {
        let delay_ms = cx.rng.draw(Purpose::SyncJitter).jitter(self.config.sync_spread_ms * 2, 50);
        self.offer(map, peer, cx.now.mono.plus_millis(delay_ms));
    }

    pub(super) fn on_neighbor_up(&mut self, peer: NodeId, cx: &mut Cx<'_>) {
        if self.neighbors.contains(&peer) {
            return;
        }
        self.neighbors.push(peer);
        let delay_ms = cx.rng.draw(Purpose::SyncJitter).between(0, self.config.sync_spread_ms);
        let at = cx.now.mono.plus_millis(delay_ms);
        let maps: Vec<MapId> = self.maps.keys().copied().collect();
        for map in maps {
            self.offer(map, peer, at);
            self.set_interval(map, cx);
        }
    }

    pub(super) fn on_neighbor_down(&mut self, peer: NodeId) {
        self.neighbors.retain(|neighbor| *neighbor != peer);
        self.full.retain(|full| *full != peer);
        self.offers.retain(|(_, offered), _| *offered != peer);
        self.known.retain(|(_, known), _| *known != peer);
        self.sessions.retain(|session| session.peer != peer);
        self.unblock();
    }

    /// Tells whether an operation is too old to be still under way on the broadcast tree. The hybrid clock follows the
    /// cluster, so a node whose wall clock is behind judges like the others.
    pub(super) fn is_news(&self, stamp: Stamp, cx: &Cx<'_>) -> bool {
        stamp.millis().saturating_add(self.config.sync_news_ms) <= cx.clock.peek(cx.now.wall).millis()
    }

    /// The predecessor of a broadcast operation is missing: it is likely under way, so this waits a little.
    pub(super) fn on_gap(&mut self, map: MapId, from: NodeId, cx: &mut Cx<'_>) {
        let at = cx.now.mono.plus_millis(self.config.sync_gap_ms);
        let Some(hosted) = self.maps.get_mut(&map) else { return };
        if hosted.calendar.gap.is_none() {
            hosted.calendar.gap = Some((at, from));
            self.wake(at);
        }
    }

    /// Something has changed: the next interval is an ordinary one.
    pub(super) fn stir(&mut self, map: MapId, cx: &mut Cx<'_>) {
        let Some(hosted) = self.maps.get_mut(&map) else { return };
        if core::mem::take(&mut hosted.calendar.quiet) > 0 {
            self.set_interval(map, cx);
        }
    }

    /// A session found nothing: the next interval is longer.
    pub(super) fn be_quiet(&mut self, map: MapId) {
        if let Some(hosted) = self.maps.get_mut(&map) {
            hosted.calendar.quiet = QUIET_MAX.min(hosted.calendar.quiet + 1);
        }
    }

    /// Begins an interval, unless the one under way ends earlier.
    fn set_interval(&mut self, map: MapId, cx: &mut Cx<'_>) {
        let Some(hosted) = self.maps.get_mut(&map) else { return };
        let calendar = &mut hosted.calendar;
        let mean_ms = self.config.sync_interval_ms.saturating_mul(1 + calendar.quiet);
        let at = cx.now.mono.plus_millis(cx.rng.draw(Purpose::SyncJitter).jitter(mean_ms, 25));
        let is_over = calendar.next_at <= cx.now.mono;
        calendar.next_at = if is_over { at } else { at.min(calendar.next_at) };
        let next_at = calendar.next_at;
        self.wake(next_at);
    }

    pub(super) fn on_news_due(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now.mono;
        let mut spreading = Vec::new();
        for (map, hosted) in &mut self.maps {
            if hosted.calendar.news_at.take_if(|at| *at <= now).is_some() {
                spreading.push(*map);
            }
        }
        for map in spreading {
            for peer in self.neighbors.clone() {
                self.offer(map, peer, now);
            }
        }
    }

    pub(super) fn on_gaps_due(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now.mono;
        let mut open = Vec::new();
        for (map, hosted) in &mut self.maps {
            if let Some((_, peer)) = hosted.calendar.gap.take_if(|(at, _)| *at <= now)
                && hosted.map.vector().has_gaps()
            {
                open.push((*map, peer));
            }
        }
        open.into_iter().for_each(|(map, peer)| self.offer(map, peer, now));
    }

    /// An interval is over: any neighbour will do, those first that are not known to be equal.
    pub(super) fn on_intervals_due(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now.mono;
        if self.neighbors.is_empty() {
            return;
        }
        let due = self.maps.iter().filter(|(_, hosted)| hosted.calendar.next_at <= now);
        let due: Vec<(MapId, u64)> = due.map(|(map, hosted)| (*map, hosted.map.root())).collect();
        for (map, root) in due {
            let is_open = |peer: &&NodeId| self.known.get(&(map, **peer)) != Some(&Known::Equal { root });
            let open: Vec<NodeId> = self.neighbors.iter().filter(is_open).copied().collect();
            let candidates = if open.is_empty() { &self.neighbors } else { &open };
            if let Some(peer) = cx.rng.draw(Purpose::SyncPartner).choose(candidates).copied() {
                self.known.remove(&(map, peer)); // an idle hello is cheap, and finds what nobody noticed
                self.offer(map, peer, now);
            }
            self.set_interval(map, cx);
        }
    }

    pub(super) fn on_offers_due(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now.mono;
        let due = self.offers.iter().filter(|(_, at)| **at <= now);
        let due: Vec<(MapId, NodeId)> = due.map(|(offer, _)| *offer).collect();
        for (map, peer) in due {
            let root = self.maps.get(&map).map(|hosted| hosted.map.root());
            if root.is_some_and(|root| self.known.get(&(map, peer)) == Some(&Known::Equal { root })) {
                self.offers.remove(&(map, peer));
            } else if !self.is_blocked(map, peer) {
                self.offers.remove(&(map, peer));
                self.open(map, peer, cx);
            }
        }
    }

    /// Tells whether an offer must wait for a session to end: one at a time for a map, or the same would be fetched
    /// from several peers at once.
    fn is_blocked(&self, map: MapId, peer: NodeId) -> bool {
        let mut opened = 0;
        for session in &self.sessions {
            let is_ours = session.role == Role::Initiator;
            opened += usize::from(is_ours);
            if session.map == map && (is_ours || session.peer == peer) {
                return true;
            }
        }
        opened >= self.config.sync_sessions_max
    }

    /// Tells the earliest deadline. Offers that are blocked wait for no time but for a session's end.
    pub(super) fn earliest(&self) -> Instant {
        let offers = self.offers.iter().filter(|((map, peer), _)| !self.is_blocked(*map, *peer));
        let offers = offers.map(|(_, at)| *at);
        let sessions = self.sessions.iter().map(Session::due);
        let has_neighbors = !self.neighbors.is_empty();
        let maps = self.maps.values().flat_map(|hosted| {
            let interval = has_neighbors.then_some(hosted.calendar.next_at);
            let gap = hosted.calendar.gap.map(|(at, _)| at);
            [interval, gap, hosted.calendar.news_at].into_iter().flatten()
        });
        offers.chain(sessions).chain(maps).min().unwrap_or(Instant::NEVER)
    }
}
