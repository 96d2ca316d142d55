//! Messages that were announced and have not come: whom to ask for them, and when.

use crate::config::{Canary, Config};
use crate::frame::Announcement;
use crate::hash::FixedState;
use crate::id::MessageId;
use crate::time::Instant;
use alloc::collections::VecDeque;
use indexmap::IndexMap;

/// Stale timers that a queue may hold beyond twice the live ones before it is swept.
const STALE_MAX: usize = 64;

/// A neighbour's small number, unique among the present ones: its bit in a set of announcers.
pub(super) type Slot = u8;

/// The set that holds one slot.
#[inline]
pub(super) fn slot_bit(slot: Slot) -> u32 {
    1 << slot
}

/// How far the search for a message has come. Each stage has one constant delay, hence one queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The payload may still come by itself.
    Waiting,
    /// A graft is under way.
    Asked,
    /// Many grafts were in vain: the node may be cut off, so it goes on asking, but slowly.
    Late,
    /// Nobody is left to ask, or nobody is likely to have it still.
    Dormant,
}

impl Stage {
    const ALL: [Stage; 4] = [Self::Waiting, Self::Asked, Self::Late, Self::Dormant];
}

/// A message that was announced and has not come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Missing {
    due: Instant,
    /// When it was announced first.
    since: Instant,
    grafts: u32,
    /// The slots of all neighbours that announced it.
    pub(super) announcers: u32,
    /// Hops at the announcer with the fewest.
    pub(super) best_hops: u16,
    /// The announcer with the fewest hops.
    pub(super) best: Slot,
    /// Whom the last graft went to.
    cursor: Slot,
    stage: Stage,
}

impl Missing {
    /// Chooses whom to ask: the announcer with the fewest hops, then all others in turn.
    fn next_announcer(&self) -> Option<Slot> {
        if self.grafts == 0 && self.announcers & slot_bit(self.best) != 0 {
            return Some(self.best);
        }
        let above = self.announcers & !(slot_bit(self.cursor) | (slot_bit(self.cursor) - 1));
        let from = if above != 0 { above } else { self.announcers };
        (from != 0).then(|| from.trailing_zeros() as Slot)
    }
}

/// What an announcement of a missing message leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Noted {
    /// Its announcer is known now.
    Kept,
    /// Its announcer is to be asked at once: everybody else was asked in vain.
    Graft,
    /// Too many messages are missing already.
    Refused,
}

/// What is due for a missing message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Ask this neighbour.
    Graft { id: MessageId, slot: Slot },
    /// It never came, and is given up.
    Lost,
}

/// All missing messages, at most `missing_max`.
#[derive(Clone, Debug, Default)]
pub(super) struct MissingTable {
    entries: IndexMap<MessageId, Missing, FixedState>,
    /// Timers of the stages. One of an entry that has moved on is stale and skipped.
    waiting: VecDeque<(Instant, MessageId)>,
    asked: VecDeque<(Instant, MessageId)>,
    late: VecDeque<(Instant, MessageId)>,
    dormant: VecDeque<(Instant, MessageId)>,
}

impl MissingTable {
    /// Notes who announced a message.
    pub(super) fn announce(&mut self, what: Announcement, by: Slot, now: Instant, config: &Config) -> Noted {
        let Announcement { id, hops } = what;
        let Some(entry) = self.entries.get_mut(&id) else {
            return self.begin(what, by, now, config);
        };
        entry.announcers |= slot_bit(by);
        if hops < entry.best_hops || entry.announcers & slot_bit(entry.best) == 0 {
            (entry.best, entry.best_hops) = (by, hops);
        }
        if entry.stage == Stage::Dormant && entry.grafts < grafts_max(config) {
            entry.grafts += 1;
            entry.cursor = by;
            self.arm(id, Stage::Asked, now, config);
            self.trim(Stage::Dormant);
            return Noted::Graft;
        }
        Noted::Kept
    }

    /// Takes a message out because it has come.
    pub(super) fn take(&mut self, id: &MessageId) -> Option<Missing> {
        let entry = self.entries.swap_remove(id)?;
        self.trim(entry.stage);
        Some(entry)
    }

    /// Forgets a neighbour that has gone: it is asked for nothing any more.
    pub(super) fn forget(&mut self, slot: Slot) {
        self.entries.values_mut().for_each(|entry| entry.announcers &= !slot_bit(slot));
    }

    /// Tells when the next message is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        Stage::ALL.into_iter().filter_map(|stage| Some(self.queue(stage).front()?.0)).min()
    }

    /// Does the next thing that is due, if any is.
    pub(super) fn pop_due(&mut self, now: Instant, config: &Config) -> Option<Due> {
        for stage in Stage::ALL {
            while let Some(id) = self.pop_stage(stage, now) {
                if stage == Stage::Dormant {
                    self.entries.swap_remove(&id);
                    return Some(Due::Lost);
                }
                if let Some(due) = self.ask(id, now, config) {
                    return Some(due);
                }
            }
        }
        None
    }

    /// Counts the missing messages.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Asserts the bounds, and that nobody but present neighbours will be asked.
    pub(super) fn check(&self, present: u32, config: &Config) {
        assert!(self.entries.len() <= config.missing_max, "{} messages missing", self.entries.len());
        for queue in Stage::ALL.map(|stage| self.queue(stage)) {
            assert!(queue.len() <= 2 * config.missing_max + STALE_MAX, "{} timers", queue.len());
        }
        debug_assert!(self.entries.values().all(|entry| entry.announcers & !present == 0));
        debug_assert!(self.timers_live() >= self.entries.len(), "a missing message has no timer");
    }

    /// Visits the names of the missing messages.
    pub(super) fn ids(&self) -> impl Iterator<Item = &MessageId> {
        self.entries.keys()
    }

    fn timers_live(&self) -> usize {
        let live = |stage| self.queue(stage).iter().filter(move |timer| is_live(&self.entries, stage, timer));
        Stage::ALL.into_iter().flat_map(live).count()
    }

    fn begin(&mut self, what: Announcement, by: Slot, now: Instant, config: &Config) -> Noted {
        if self.entries.len() >= config.missing_max {
            return Noted::Refused;
        }
        let entry = Missing {
            due: now,
            since: now,
            grafts: 0,
            announcers: slot_bit(by),
            best_hops: what.hops,
            best: by,
            cursor: by,
            stage: Stage::Waiting,
        };
        self.entries.insert(what.id, entry);
        self.arm(what.id, Stage::Waiting, now, config);
        Noted::Kept
    }

    /// Chooses the next announcer to ask, lets the entry rest when there is none, or gives it up when no cache is likely
    /// to hold the message.
    fn ask(&mut self, id: MessageId, now: Instant, config: &Config) -> Option<Due> {
        let entry = self.entries.get_mut(&id)?;
        let is_early = entry.grafts < grafts_max(config);
        if !is_early && now.millis_since(entry.since) >= config.cache_ms {
            self.entries.swap_remove(&id);
            return Some(Due::Lost);
        }
        let goes_on = is_early || !config.is_planted(Canary::GraftOnce);
        let Some(slot) = entry.next_announcer().filter(|_| goes_on) else {
            self.arm(id, Stage::Dormant, now, config);
            return None;
        };
        entry.grafts = entry.grafts.saturating_add(1);
        entry.cursor = slot;
        self.arm(id, if is_early { Stage::Asked } else { Stage::Late }, now, config);
        Some(Due::Graft { id, slot })
    }

    /// Moves an entry to a stage and sets its timer.
    fn arm(&mut self, id: MessageId, stage: Stage, now: Instant, config: &Config) {
        let delay_ms = match stage {
            Stage::Waiting => config.graft_delay_ms,
            Stage::Asked => config.graft_retry_ms,
            Stage::Late => config.graft_late_ms,
            Stage::Dormant => config.cache_ms,
        };
        let due = now.plus_millis(delay_ms);
        let Some(entry) = self.entries.get_mut(&id) else { return };
        (entry.stage, entry.due) = (stage, due);
        let Self { entries, waiting, asked, late, dormant } = self;
        let queue = match stage {
            Stage::Waiting => waiting,
            Stage::Asked => asked,
            Stage::Late => late,
            Stage::Dormant => dormant,
        };
        if queue.len() >= 2 * entries.len() + STALE_MAX {
            queue.retain(|timer| is_live(entries, stage, timer)); // at most once for each STALE_MAX new timers
        }
        queue.push_back((due, id));
    }

    /// Pops a live timer of a stage that is due.
    fn pop_stage(&mut self, stage: Stage, now: Instant) -> Option<MessageId> {
        self.trim(stage);
        let queue = self.queue_mut(stage);
        queue.pop_front_if(|(due, _)| *due <= now).map(|(_, id)| id)
    }

    /// Drops stale timers from the front of a stage's queue, so that none ever becomes a deadline.
    fn trim(&mut self, stage: Stage) {
        while self.queue(stage).front().is_some_and(|front| !is_live(&self.entries, stage, front)) {
            self.queue_mut(stage).pop_front();
        }
    }

    fn queue(&self, stage: Stage) -> &VecDeque<(Instant, MessageId)> {
        match stage {
            Stage::Waiting => &self.waiting,
            Stage::Asked => &self.asked,
            Stage::Late => &self.late,
            Stage::Dormant => &self.dormant,
        }
    }

    fn queue_mut(&mut self, stage: Stage) -> &mut VecDeque<(Instant, MessageId)> {
        match stage {
            Stage::Waiting => &mut self.waiting,
            Stage::Asked => &mut self.asked,
            Stage::Late => &mut self.late,
            Stage::Dormant => &mut self.dormant,
        }
    }
}

/// Grafts for one message in quick succession at most.
fn grafts_max(config: &Config) -> u32 {
    if config.is_planted(Canary::GraftOnce) { 1 } else { config.grafts_max }
}

fn is_live(
    entries: &IndexMap<MessageId, Missing, FixedState>,
    stage: Stage,
    (due, id): &(Instant, MessageId),
) -> bool {
    entries.get(id).is_some_and(|entry| entry.stage == stage && entry.due == *due)
}
