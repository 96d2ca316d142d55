//! News of members that everybody shall hear at once: from neighbour to neighbour, in batches.
//!
//! Whoever learns something new hands it on to every neighbour but the one that it came from (SWIM piggybacks such news
//! on its pings, section 4.1; there are no random pings here). The first news after a pause goes out at once, and a
//! neighbour gets one batch for each `members_relay_ms` at most. What a neighbour tells meanwhile it is not told again,
//! and what goes out is read from the table as it goes: later news overtakes earlier. A new neighbour is told what is
//! recent. Nothing here has to arrive: heartbeats carry what a broken link lost, only later.

use super::{ME, Members, Neighbor, send};
use crate::config::Config;
use crate::frame::{Beat, MemberEntry, MembersFrame, RUMORS_MAX, Rumor};
use crate::hash::Fold;
use crate::id::NodeId;
use crate::machine::Cx;
use crate::member::{Life, MemberState};
use crate::time::Instant;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// How long news is remembered for new neighbours. A guess, above what a lost link takes to be replaced.
const KEPT_MS: u64 = 5_000;

/// What of a member is news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// What it says of itself.
    Record,
    /// That it is suspected.
    Suspicion,
    /// That it is alive after all.
    Life,
}

/// One piece of news.
#[derive(Clone, Copy, Debug)]
struct Item {
    place: u32,
    life: Life,
    subject: Subject,
    at: Instant,
    /// The neighbours that were neither told nor have told it.
    lacking: u32,
}

/// News that some neighbour may lack, and what was handed on lately.
#[derive(Clone, Debug, Default)]
pub(super) struct News {
    items: VecDeque<Item>,
    /// Items before this one lack nobody.
    fresh: usize,
    flush_at: Option<Instant>,
    /// No flush is earlier.
    paced_from: Instant,
}

impl News {
    pub(super) fn due(&self) -> Option<Instant> {
        self.flush_at
    }

    /// Asks for a flush at a time, or as soon after it as the pace allows.
    fn flush_by(&mut self, at: Instant) {
        let at = at.max(self.paced_from);
        self.flush_at = Some(self.flush_at.map_or(at, |earlier| earlier.min(at)));
    }

    fn pop(&mut self) {
        self.items.pop_front();
        self.fresh = self.fresh.saturating_sub(1);
    }

    /// Moves on to the first item that somebody lacks.
    fn settle(&mut self) {
        let waiting = self.items.iter().skip(self.fresh).position(|item| item.lacking != 0);
        self.fresh = waiting.map_or(self.items.len(), |waiting| self.fresh + waiting);
    }

    fn find(&mut self, life: Life, subject: Subject) -> Option<&mut Item> {
        self.items.range_mut(self.fresh..).find(|item| item.life == life && item.subject == subject)
    }

    /// Tells a new neighbour what is recent.
    pub(super) fn offer(&mut self, bit: u32, now: Instant) {
        self.items.retain(|item| now.millis_since(item.at) < KEPT_MS);
        self.items.iter_mut().for_each(|item| item.lacking |= bit);
        self.resume(now);
    }

    /// A neighbour takes frames again: it gets what has been waiting.
    pub(super) fn resume(&mut self, now: Instant) {
        self.fresh = 0;
        self.settle();
        if self.fresh < self.items.len() {
            self.flush_by(now);
        }
    }

    pub(super) fn forget_neighbor(&mut self, bit: u32) {
        self.items.iter_mut().for_each(|item| item.lacking &= !bit);
    }

    pub(super) fn digest(&self, span: impl Fn(Instant) -> u64, into: &mut Fold) {
        for item in self.items.range(self.fresh..) {
            into.pair(item.life.0 ^ item.subject as u64, u64::from(item.lacking));
        }
        into.pair(self.items.len() as u64, self.flush_at.map_or(0, span));
    }

    /// Shows the neighbours that are not yet told something.
    pub(super) fn awaited_by(&self) -> u32 {
        self.items.iter().fold(0, |lacking, item| lacking | item.lacking)
    }

    pub(super) fn check(&self, config: &Config) {
        assert!(self.items.len() <= config.members_news_max, "more news than members_news_max");
        assert!(self.fresh <= self.items.len(), "news was counted that is not there");
    }
}

impl Members {
    /// Lets everybody hear something of a member, but for the neighbour that told it.
    pub(super) fn hand_on(&mut self, place: u32, subject: Subject, from: u32, cx: &Cx<'_>) {
        let (life, now) = (self.table.row(place).life, cx.now.mono);
        let everybody = self.neighbors.iter().fold(0, |all, neighbor: &Neighbor| all | neighbor.bit);
        let lacking = everybody & !from;
        if let Some(waiting) = self.news.find(life, subject) {
            waiting.lacking = lacking;
            return;
        }
        if self.news.items.len() >= self.config.members_news_max {
            self.news.pop();
        }
        self.news.items.push_back(Item { place, life, subject, at: now, lacking });
        if lacking != 0 {
            self.news.flush_by(now);
        }
    }

    /// A neighbour has told what was known here already: it need not be told in turn.
    fn spare(&mut self, life: Life, subject: Subject, from: u32) {
        if let Some(waiting) = self.news.find(life, subject) {
            waiting.lacking &= !from;
        }
    }

    pub(super) fn on_news_due(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now.mono;
        if self.news.flush_at.take_if(|at| *at <= now).is_none() {
            return;
        }
        self.news.paced_from = now.plus_millis(self.config.members_relay_ms);
        let mut news = core::mem::take(&mut self.news);
        for neighbor in self.neighbors.iter().filter(|neighbor| !neighbor.is_control_full) {
            let lacked = news.items.range_mut(news.fresh..).filter(|item| item.lacking & neighbor.bit != 0);
            let mut rumors = Vec::new();
            for item in lacked {
                item.lacking &= !neighbor.bit;
                rumors.extend(self.rumor(item, cx));
                if rumors.len() == RUMORS_MAX {
                    tell(neighbor.peer, core::mem::take(&mut rumors), cx);
                }
            }
            tell(neighbor.peer, rumors, cx);
        }
        news.settle();
        while news.fresh > 0 && news.items.front().is_some_and(|it| now.millis_since(it.at) >= KEPT_MS) {
            news.pop();
        }
        self.news = news;
    }

    /// Shows what is to be said; nothing when it is no longer so.
    fn rumor(&self, item: &Item, cx: &Cx<'_>) -> Option<Rumor> {
        let row = self.table.try_row(item.place).filter(|row| row.life == item.life)?;
        match item.subject {
            Subject::Suspicion => Some(Rumor::Suspect { life: row.life, counter: row.suspected_with()? }),
            Subject::Record if row.state != MemberState::Dead => {
                Some(Rumor::Record(self.entry(item.place, cx)))
            }
            Subject::Life => Some(Rumor::Alive(self.beat(self.table.row(item.place), cx))),
            Subject::Record => None,
        }
    }

    // --- hearing

    pub(super) fn on_news(&mut self, from: NodeId, rumors: &[Rumor], cx: &mut Cx<'_>) {
        let bit = self.neighbor(&from).map_or(0, |neighbor| neighbor.bit);
        for rumor in rumors {
            match rumor {
                Rumor::Record(entry) => self.on_record_told(from, entry, bit, cx),
                Rumor::Suspect { life, counter } => self.on_suspected(from, *life, *counter, bit, cx),
                Rumor::Alive(beat) => self.on_alive_told(from, beat, bit, cx),
            }
        }
    }

    fn on_record_told(&mut self, from: NodeId, entry: &MemberEntry, bit: u32, cx: &mut Cx<'_>) {
        match self.on_entry(from, entry, bit, cx) {
            Some(place) => self.hand_on(place, Subject::Record, bit, cx),
            None => self.spare(entry.record.life(), Subject::Record, bit),
        }
    }

    fn on_alive_told(&mut self, from: NodeId, beat: &Beat, bit: u32, cx: &mut Cx<'_>) {
        let Some(place) = self.table.of_life(beat.life) else {
            return self.pull_lives(from, Vec::from([beat.life]), cx);
        };
        if place == ME {
            self.rise_above(beat.counter, cx);
            return self.spare(beat.life, Subject::Life, bit); // this node's own word has come round
        }
        if beat.counter <= self.table.row(place).counter {
            return self.spare(beat.life, Subject::Life, bit);
        }
        if self.on_beat(beat, bit, cx) {
            self.pull_lives(from, Vec::from([beat.life]), cx);
        }
        self.hand_on(place, Subject::Life, bit, cx);
    }

    pub(super) fn spare_suspicion(&mut self, life: Life, from: u32) {
        self.spare(life, Subject::Suspicion, from);
    }
}

/// Tells a peer some news, if there is any.
pub(super) fn tell(peer: NodeId, rumors: Vec<Rumor>, cx: &mut Cx<'_>) {
    if !rumors.is_empty() {
        cx.stats.rumors_sent += rumors.len() as u64;
        send(peer, MembersFrame::News(rumors), cx);
    }
}

/// Tells a peer one record that it has not asked for.
pub(super) fn tell_record(peer: NodeId, entry: MemberEntry, cx: &mut Cx<'_>) {
    tell(peer, Vec::from([Rumor::Record(entry)]), cx);
}
