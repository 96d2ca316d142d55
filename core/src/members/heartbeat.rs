//! Heartbeats: one's own, and how rises of all counters are handed on.

use super::news::Subject;
use super::{Event, ME, Members, Neighbor, send};
use crate::config::Canary;
use crate::frame::{BEATS_MAX, Beat, MembersFrame};
use crate::id::NodeId;
use crate::machine::Cx;
use crate::member::MemberState;
use crate::rng::Purpose;
use crate::time::Instant;
use alloc::vec::Vec;
use core::hint::black_box;

use super::table::Row;

/// How far a counter, or a revision, may be ahead of what is known of it: a year of heartbeats. Who is told of more than it
/// has shown must have numbers left to go beyond it.
pub(super) const LEAP_MAX: u32 = 1 << 24;

impl Members {
    /// H(N) of the module's documentation.
    pub(super) fn heartbeat_ms(&self) -> u64 {
        self.config.heartbeat_ms.max(self.pace.saturating_mul(1_000) / self.config.heartbeat_rows_per_s)
    }

    /// lease(N) of the module's documentation.
    pub(super) fn lease_ms(&self) -> u64 {
        self.config.ttl_ms.saturating_mul(self.heartbeat_ms()) / self.config.heartbeat_ms
    }

    /// Somebody knows of a counter of this node that it has never shown: only a greater one is believed. Where numbers would run
    /// out, as lies drive them up, only another life is.
    pub(super) fn rise_above(&mut self, told: u32, cx: &Cx<'_>) {
        let counter = self.me().counter;
        if told <= counter {
            return;
        }
        if told - counter <= LEAP_MAX && told <= u32::MAX - LEAP_MAX {
            self.table.raise(ME, |row| row.counter = told);
        } else {
            self.note_outlived(self.me().record.contact.incarnation(), cx);
        }
    }

    /// e(N) of the module's documentation.
    pub(super) fn exchange_ms(&self) -> u64 {
        let doublings = u64::from(self.pace.max(4).ilog2());
        let spread_ms = self.config.ttl_ms.saturating_mul(2) / (5 * (doublings - 1));
        self.config.exchange_ms.min(spread_ms).max(1)
    }

    pub(super) fn schedule_beat(&mut self, cx: &mut Cx<'_>) {
        let delay_ms = cx.rng.draw(Purpose::HeartbeatJitter).jitter(self.heartbeat_ms(), 10);
        self.beat_at = cx.now.mono.plus_millis(delay_ms);
    }

    /// Begins to exchange, at a time of its own: nodes that were started together shall not ask all at once.
    pub(super) fn start_exchanges(&mut self, cx: &mut Cx<'_>) {
        let delay_ms = cx.rng.draw(Purpose::HeartbeatJitter).between(0, self.exchange_ms());
        self.exchange_at = cx.now.mono.plus_millis(delay_ms);
    }

    /// The next exchange comes exactly e later, without jitter: neighbours are promised when it is their turn.
    fn schedule_exchange(&mut self, cx: &Cx<'_>) {
        let (next, now) = (self.exchange_at.plus_millis(self.exchange_ms()), cx.now.mono);
        self.exchange_at = if next > now { next } else { now.plus_millis(self.exchange_ms()) };
    }

    /// Raises this node's counter: a proof of life for whoever hears of it.
    pub(super) fn show_alive(&mut self, cx: &mut Cx<'_>) {
        let (now, rise) = (cx.now.mono, self.rises);
        self.table.raise(ME, |row| {
            row.counter = row.counter.saturating_add(1);
            (row.alive_at, row.rise, row.known_by) = (now, rise, 0);
        });
        self.log.push((rise, ME));
        self.rises += 1;
        self.trim_log();
    }

    /// Raises this node's counter with the last exchange before its time: it costs no wake of its own.
    fn on_beat_due(&mut self, cx: &mut Cx<'_>) {
        if cx.now.mono.plus_millis(self.exchange_ms()) < self.beat_at {
            return;
        }
        let present = u64::from(self.table.present());
        let fallen = self.pace - (self.pace.saturating_sub(present)).div_ceil(8);
        self.pace = present.max(fallen);
        self.health.improve();
        self.show_alive(cx);
        self.schedule_beat(cx);
    }

    /// Tells how old a row is, without what it will take on the wire.
    pub(super) fn age_to_tell(&self, row: &Row, cx: &Cx<'_>) -> u32 {
        let age_ms = cx.now.mono.millis_since(row.alive_at);
        if self.config.is_planted(Canary::VerdictByWallClock) {
            return cx.now.wall.0.wrapping_sub(age_ms) as u32; // what the member's clock read
        }
        u32::try_from(age_ms).unwrap_or(u32::MAX)
    }

    /// Tells when a member was alive by what was told of its age.
    pub(super) fn alive_at(&self, age_ms: u32, cx: &Cx<'_>) -> Instant {
        let mut age_ms = age_ms;
        if self.config.is_planted(Canary::VerdictByWallClock) {
            age_ms = (cx.now.wall.0 as u32).wrapping_sub(age_ms);
            age_ms = if age_ms > u32::MAX / 2 { 0 } else { age_ms };
        }
        Instant(cx.now.mono.0.saturating_sub(Instant::from_millis(u64::from(age_ms)).0))
    }

    // --- handing on

    /// Rises that are remembered for neighbours at most: each member's latest, and as many that were overtaken.
    pub(super) fn log_max(&self) -> usize {
        self.config.members_max.saturating_mul(2).saturating_add(64)
    }

    fn trim_log(&mut self) {
        if self.log.len() >= 2 * self.table.len() + 64 {
            let Self { log, table, .. } = self;
            log.retain(|(rise, place)| table.try_row(*place).is_some_and(|row| row.rise == *rise));
        }
    }

    /// Exchanges what has risen with one neighbour, and looks after leases.
    pub(super) fn on_exchange_due(&mut self, cx: &mut Cx<'_>) {
        if cx.now.mono < self.exchange_at {
            return;
        }
        let before_ms = self.exchange_ms();
        self.on_beat_due(cx);
        self.schedule_exchange(cx);
        self.exchange(cx);
        if self.exchange_ms() > before_ms {
            self.promise_anew(Instant::default(), cx); // members have gone
        }
        let told = self.neighbors.iter().map(|neighbor| neighbor.cursor).min().unwrap_or(self.rises);
        let first = self.log.partition_point(|(rise, _)| *rise < told);
        self.log.drain(..first);
        if self.log.capacity() > 4 * self.log.len() + 256 {
            self.log.shrink_to(2 * self.log.len()); // it was long while everybody joined
        }
        self.sweep_leases(cx);
    }

    /// Asks the neighbour whose turn it is. A slow link takes nothing, and loses nothing by it: later rises overtake what
    /// waits.
    fn exchange(&mut self, cx: &mut Cx<'_>) {
        let ready = self.neighbors.iter_mut().filter(|neighbor| !neighbor.is_lazy_full);
        if let Some(next) = ready.min_by_key(|neighbor| neighbor.asked_at) {
            next.asked_at = cx.now.mono;
            next.answer_by = next.answer_by.min(cx.now.mono.plus_millis(self.config.quiet_after_ms));
            let peer = next.peer;
            self.meet(&peer, true, cx);
            self.events.push_back(Event::Asked { peer });
        }
    }

    /// Tells a neighbour what it lacks of the rises since it was told last, and at least that this node is alive.
    fn meet(&mut self, peer: &NodeId, asks: bool, cx: &mut Cx<'_>) {
        let Some(i) = self.neighbors.iter().position(|neighbor| neighbor.peer == *peer) else { return };
        let Neighbor { peer, bit, cursor, is_lazy_full, .. } = self.neighbors[i];
        if is_lazy_full {
            return;
        }
        let risen = &self.log[self.log.partition_point(|(rise, _)| *rise < cursor)..];
        // Rows first, then what is told of them: none of the look-ups waits for another one.
        let counter = |place: &u32| self.table.try_row(*place).map_or(0, |row| row.counter);
        black_box(risen.iter().fold(0, |sum, (_, place)| sum ^ counter(place)));
        let mut beats = Vec::with_capacity(risen.len());
        for (rise, place) in risen {
            let row = self.table.try_row(*place).filter(|row| row.rise == *rise && row.known_by & bit == 0);
            beats.extend(row.filter(|row| row.state != MemberState::Dead).map(|row| self.beat(row, cx)));
        }
        if beats.is_empty() {
            beats.push(self.beat(self.me(), cx));
        }
        while beats.len() > BEATS_MAX {
            let rest = beats.split_off(BEATS_MAX);
            send_beats(peer, false, 0, core::mem::replace(&mut beats, rest), cx);
        }
        self.neighbors[i].cursor = self.rises;
        send_beats(peer, asks, self.turn_ms(i, cx), beats, cx);
    }

    /// Tells how soon it is a neighbour's turn.
    fn turn_ms(&self, i: usize, cx: &Cx<'_>) -> u32 {
        let is_before = |(j, it): &(usize, &Neighbor)| (it.asked_at, *j) < (self.neighbors[i].asked_at, i);
        let before = self.neighbors.iter().enumerate().filter(is_before).count() as u64;
        let next_ms = self.exchange_at.millis_since(cx.now.mono);
        u32::try_from(next_ms + before.saturating_mul(self.exchange_ms())).unwrap_or(u32::MAX)
    }

    /// A neighbour has told when it will show itself again. Doubts cost more than a frame: no promise makes them come often.
    pub(super) fn on_promise(&mut self, from: &NodeId, again_ms: u32, cx: &Cx<'_>) {
        let (now, slack_ms) = (cx.now.mono, self.config.quiet_after_ms);
        if let Some(neighbor) = self.neighbor(from).filter(|_| again_ms > 0) {
            neighbor.expected_at =
                now.plus_millis(u64::from(again_ms).max(slack_ms).saturating_add(slack_ms));
        }
    }

    /// A neighbour has not answered, or not shown itself when it should have: others are asked to reach it.
    pub(super) fn on_silence_due(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now.mono;
        while let Some(late) = self.neighbors.iter_mut().find(|neighbor| neighbor.silent_at() <= now) {
            (late.answer_by, late.expected_at) = (Instant::NEVER, Instant::NEVER);
            let peer = late.peer;
            self.doubt_node(&peer, cx);
        }
    }

    /// After a pause what neighbours have said may wait behind this deadline.
    pub(super) fn put_off_silence(&mut self, cx: &Cx<'_>) {
        let until = cx.now.mono.plus_millis(self.config.quiet_after_ms);
        for neighbor in &mut self.neighbors {
            neighbor.answer_by = neighbor.answer_by.max(until);
            neighbor.expected_at = neighbor.expected_at.max(until);
        }
    }

    /// Shows this node to a new neighbour, who asks for its record if that is missing.
    pub(super) fn introduce(&self, peer: &NodeId, cx: &mut Cx<'_>) {
        if let Some(i) = self.neighbors.iter().position(|neighbor| neighbor.peer == *peer)
            && self.is_running
        {
            let beats = Vec::from([self.beat(self.me(), cx)]);
            send_beats(*peer, false, self.turn_ms(i, cx), beats, cx);
        }
    }

    /// Turns come at other times than were promised: tells so to whoever was asked after an instant.
    pub(super) fn promise_anew(&self, after: Instant, cx: &mut Cx<'_>) {
        let behind = self.neighbors.iter().filter(|it| it.asked_at >= after && !it.is_lazy_full);
        behind.for_each(|neighbor| self.introduce(&neighbor.peer, cx));
    }

    pub(super) fn on_beats(&mut self, from: NodeId, asks: bool, beats: &[Beat], cx: &mut Cx<'_>) {
        cx.stats.beats_received += beats.len() as u64;
        let bit = self.neighbor(&from).map_or(0, |neighbor| neighbor.bit);
        let mut unknown = Vec::new();
        // Places first, then rows, then what is to be done: none of the look-ups waits for another one.
        let places: Vec<Option<u32>> = beats.iter().map(|beat| self.table.of_life(beat.life)).collect();
        black_box(places.iter().flatten().fold(0, |sum, place| sum ^ self.table.row(*place).counter));
        for (beat, place) in beats.iter().zip(places) {
            if place.is_none_or(|place| self.on_beat_at(place, beat, bit, cx)) {
                unknown.push(beat.life);
            }
        }
        self.pull_lives(from, unknown, cx);
        if asks && bit != 0 {
            self.meet(&from, false, cx);
        } else if asks {
            self.events.push_back(Event::Strange { peer: from });
        }
    }

    /// Follows a heartbeat, and tells whether the member's record, or a later one, is missing here.
    pub(super) fn on_beat(&mut self, beat: &Beat, bit: u32, cx: &mut Cx<'_>) -> bool {
        self.table.of_life(beat.life).is_none_or(|place| self.on_beat_at(place, beat, bit, cx))
    }

    fn on_beat_at(&mut self, place: u32, beat: &Beat, bit: u32, cx: &mut Cx<'_>) -> bool {
        let Beat { life: _, counter, revision, age_ms } = *beat;
        let row = self.table.row(place);
        if place == ME {
            self.rise_above(counter, cx);
            return false;
        }
        if counter < row.counter || counter - row.counter > LEAP_MAX {
            return false;
        }
        let is_behind = revision > row.revision();
        if counter > row.counter {
            let alive_at = self.alive_at(age_ms, cx);
            self.prove(place, counter, alive_at, !is_behind, bit, cx);
        } else if bit != 0 {
            self.table.raise(place, |row| row.known_by |= bit);
        }
        is_behind
    }

    /// A member's counter has risen: it was alive when it raised it.
    pub(super) fn prove(
        &mut self,
        place: u32,
        counter: u32,
        alive_at: Instant,
        may_return: bool,
        bit: u32,
        cx: &mut Cx<'_>,
    ) {
        cx.stats.beats_new += 1;
        let rise = self.rises;
        let was_well = self.table.raise(place, |row| {
            (row.counter, row.known_by, row.rise) = (counter, bit, rise);
            row.alive_at = row.alive_at.max(alive_at);
            row.is_well()
        });
        if cx.now.mono.millis_since(alive_at) < self.lease_ms() {
            self.log.push((rise, place));
            self.rises += 1;
            self.trim_log();
        }
        if was_well == Some(true) {
            return;
        }
        let row = self.table.row(place);
        if row.suspected_with().is_some_and(|with| counter > with) {
            self.clear_suspicion(place);
            self.hand_on(place, Subject::Life, bit, cx); // others suspect it too
        } else if row.state == MemberState::Dead && may_return && row.alive_at > row.gone_at() {
            cx.stats.revived += 1;
            self.change(place, Row::come_back);
        }
    }
}

fn send_beats(peer: NodeId, asks: bool, again_ms: u32, beats: Vec<Beat>, cx: &mut Cx<'_>) {
    cx.stats.beats_sent += beats.len() as u64;
    send(peer, MembersFrame::Beats { asks, again_ms, beats }, cx);
}
