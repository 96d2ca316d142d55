//! The marks of a node that outlive it: incarnation, store epoch, and the bound below which its stamps stay.
//!
//! A stamp leaves the node only when a mark at or above it is durable, so that a restart, even one with a clock that
//! went back, never issues a stamp twice. Whatever needs a stamp before then waits here.

use crate::config::Config;
use crate::hash::Fold;
use crate::hlc::{Hlc, Stamp};
use crate::id::{Incarnation, NodeId, Token, Writer};
use crate::machine::{Command, CommandError, Cx, Durability, Effect, Row, Space};
use crate::time::{Now, Wall};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;

const KEY: &[u8] = b"marks";

/// What the store of an earlier life told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Recovered {
    incarnation: u64,
    clock: Stamp,
}

impl Recovered {
    fn from_rows(rows: &[Row]) -> Result<Option<Self>, ()> {
        let Some(row) = rows.iter().find(|row| row.space == Space::Marks && row.key == KEY) else {
            return Ok(None);
        };
        let bytes: [u8; 16] = row.value.as_deref().and_then(|value| value.try_into().ok()).ok_or(())?;
        let word = |at: usize| bytes[at..at + 8].iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        Ok(Some(Self { incarnation: word(0), clock: Stamp(word(8)) }))
    }
}

/// The durable marks of one node, and the commands that wait for them.
#[derive(Clone, Debug)]
pub(crate) struct Marks {
    config: Arc<Config>,
    incarnation: Incarnation,
    /// Stamps up to this one may leave.
    durable: Stamp,
    /// The mark that a write under way will make durable.
    asked: Option<(Token, Stamp)>,
    tokens: u64,
    has_failed: bool,
    /// Whether the store held something that is no mark.
    was_damaged: bool,
    /// Commands, and when each came.
    waiting: VecDeque<(Token, Command, Wall)>,
}

impl Marks {
    /// Reads what an earlier life left and starts the clock after it.
    pub(crate) fn recover(config: Arc<Config>, rows: &[Row], now: Now) -> (Self, Hlc) {
        let recovered = Recovered::from_rows(rows);
        let was_damaged = recovered.is_err();
        let earlier = recovered.ok().flatten();
        let mark = earlier.map_or(Stamp::ZERO, |earlier| earlier.clock);
        let mut clock = Hlc::new(mark, config.clock_drift_ms_max);
        let after = earlier.map_or(0, |earlier| earlier.incarnation.saturating_add(1));
        let incarnation = Incarnation(clock.now(now.wall).0.max(after));
        let waiting = VecDeque::new();
        let marks = Self {
            config,
            incarnation,
            durable: Stamp::ZERO,
            asked: None,
            tokens: 0,
            has_failed: false,
            was_damaged,
            waiting,
        };
        (marks, clock)
    }

    pub(crate) fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Begins another life, after the node has left: just above the life that left and any other that is known, and far
    /// below the one after a restart, as marks lie ahead of every stamp. This is the only place where the number changes;
    /// whoever carries it is told.
    pub(crate) fn begin_life(&mut self, known: Incarnation) -> Incarnation {
        self.incarnation = Incarnation(self.incarnation.max(known).0.saturating_add(1));
        self.incarnation
    }

    /// Names this node as a writer. Maps live in memory, so every life is a store of its own.
    pub(crate) fn writer(&self, node: NodeId) -> Writer {
        Writer { node, epoch: self.incarnation.0 }
    }

    pub(crate) fn take_damage(&mut self) -> bool {
        core::mem::take(&mut self.was_damaged)
    }

    /// Starts the first write of this life.
    pub(crate) fn is_started(&self) -> bool {
        self.tokens > 0
    }

    /// Lets a command that needs a stamp through, or keeps it until the mark is durable.
    pub(crate) fn admit(&mut self, token: Token, command: Command, cx: &mut Cx<'_>) -> Admission {
        if self.has_failed {
            return Admission::Refused(token, CommandError::StoreFailed);
        }
        self.advance(cx);
        let is_next = self.waiting.is_empty() && cx.clock.peek(cx.now.wall) <= self.durable;
        if is_next {
            Admission::Now(token, command)
        } else if self.waiting.len() < self.config.waiting_max {
            self.waiting.push_back((token, command, cx.now.wall));
            Admission::Later
        } else {
            Admission::Refused(token, CommandError::Full { max: self.config.waiting_max })
        }
    }

    /// Issues a stamp that may leave at once; without one, a durable mark makes it possible.
    pub(crate) fn try_stamp(&mut self, cx: &mut Cx<'_>) -> Option<Stamp> {
        self.advance(cx);
        let wall = self.covered(cx.now.wall, Wall(self.durable.millis()), cx).filter(|_| !self.has_failed)?;
        Some(cx.clock.now(wall))
    }

    /// Tells the time that a stamp may be taken at: now, or else an earlier moment. Where the disk is slower than marks lie
    /// ahead, now is never covered, and what waits would wait for ever.
    fn covered(&self, now: Wall, earlier: Wall, cx: &Cx<'_>) -> Option<Wall> {
        let is_covered = |wall: &Wall| cx.clock.peek(*wall) <= self.durable;
        [now, earlier.min(now)].into_iter().find(is_covered)
    }

    /// Writes a further mark when the clock comes close to the last one.
    pub(crate) fn advance(&mut self, cx: &mut Cx<'_>) {
        let next = cx.clock.peek(cx.now.wall);
        let reserve_ms = self.config.clock_mark_ms * 3 / 10;
        let is_far = next <= self.durable && next.millis() + reserve_ms <= self.durable.millis();
        if self.asked.is_some() || self.has_failed || is_far {
            return;
        }
        let mark = Stamp::new(next.millis().saturating_add(self.config.clock_mark_ms), 0);
        self.tokens += 1;
        let token = Token(self.tokens);
        self.asked = Some((token, mark));
        let value = [self.incarnation.0.to_be_bytes(), mark.to_bytes()].concat();
        let row = Row { space: Space::Marks, key: Bytes::from_static(KEY), value: Some(Bytes::from(value)) };
        cx.effects.push(Effect::Persist { token, class: Durability::Sync, rows: Vec::from([row]) });
    }

    /// A write is durable: hands out the commands that waited for it and need not wait on.
    pub(crate) fn on_persisted(&mut self, token: Token) {
        if let Some((asked, mark)) = self.asked
            && asked == token
        {
            (self.durable, self.asked) = (mark, None);
        }
    }

    /// The store failed: what waited is refused, and everything after it.
    pub(crate) fn on_persist_failed(&mut self, cx: &mut Cx<'_>) -> Vec<Token> {
        cx.stats.persist_failed += 1;
        (self.has_failed, self.asked) = (true, None);
        self.waiting.drain(..).map(|(token, ..)| token).collect()
    }

    /// Hands out the next waiting command whose stamp may leave, and the time to stamp it with.
    pub(crate) fn pop_ready(&mut self, cx: &mut Cx<'_>) -> Option<(Token, Command, Wall)> {
        let (.., came_at) = self.waiting.front()?;
        let Some(wall) = self.covered(cx.now.wall, *came_at, cx) else {
            self.advance(cx);
            return None;
        };
        self.waiting.pop_front().map(|(token, command, _)| (token, command, wall))
    }

    pub(crate) fn digest(&self, into: &mut Fold) {
        into.word(self.incarnation.0);
        into.word(self.durable.0);
        into.word(self.waiting.len() as u64 | u64::from(self.has_failed) << 32);
    }

    pub(crate) fn check(&self) {
        assert!(self.waiting.len() <= self.config.waiting_max, "more commands wait than waiting_max");
        let is_waited_for = self.waiting.is_empty() || self.asked.is_some() || self.has_failed;
        assert!(is_waited_for, "commands wait for no write");
    }
}

/// What becomes of a command that needs a stamp.
pub(crate) enum Admission {
    /// It is carried out now.
    Now(Token, Command),
    /// It waits for the store.
    Later,
    /// It is refused.
    Refused(Token, CommandError),
}

#[cfg(test)]
mod tests;
