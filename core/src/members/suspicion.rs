//! Suspicion: told to everybody, refuted by a higher counter, and a verdict when its time is over (SWIM, section 4.2).

use super::heartbeat::LEAP_MAX;
use super::news::{Subject, tell_record};
use super::table::Row;
use super::{Event, ME, Members};
use crate::config::Canary;
use crate::id::NodeId;
use crate::machine::Cx;
use crate::member::{Life, MemberState};
use crate::time::Instant;

impl Members {
    /// Nobody reaches a member: everybody is told to suspect it.
    pub(super) fn suspect(&mut self, place: u32, cx: &mut Cx<'_>) {
        let row = self.table.row(place);
        let counter = row.counter;
        cx.stats.suspicions += 1;
        self.mark(place, counter, cx);
        self.hand_on(place, Subject::Suspicion, 0, cx);
    }

    /// Somebody suspects a life that it has not heard of beyond a counter.
    pub(super) fn on_suspected(&mut self, from: NodeId, life: Life, counter: u32, bit: u32, cx: &mut Cx<'_>) {
        let Some(place) = self.table.of_life(life) else { return };
        if place == ME && counter >= self.me().counter {
            return self.refute(counter, cx);
        }
        if place == ME {
            return self.hand_on(ME, Subject::Life, 0, cx); // its answer is out, and may not have come there
        }
        let row = self.table.row(place);
        if row.record.state == MemberState::Left {
            let entry = self.entry(place, cx);
            return tell_record(from, entry, cx); // whoever suspects it has missed that it said good-bye
        }
        if row.counter > counter || !row.state.is_present() {
            return; // it has shown itself alive since
        }
        if counter - row.counter > LEAP_MAX {
            return; // nobody could refute it
        }
        let suspected_with = row.suspected_with();
        self.drop_confirmation(place);
        match suspected_with {
            Some(with) if counter <= with => return self.spare_suspicion(life, bit),
            Some(_) => self.table.change(place, |row| row.suspect_beyond(counter)),
            None => self.mark(place, counter, cx),
        }
        self.hand_on(place, Subject::Suspicion, bit, cx);
    }

    fn mark(&mut self, place: u32, counter: u32, cx: &Cx<'_>) {
        let until = cx.now.mono.plus_millis(self.health.stretch(self.config.suspicion_ms));
        self.suspects.insert((until, place));
        self.change(place, |row| row.suspect(until, counter));
    }

    /// This node is suspected: it shows itself alive, at once and to everybody.
    fn refute(&mut self, told: u32, cx: &mut Cx<'_>) {
        cx.stats.refutations += 1;
        self.health.worsen();
        self.rise_above(told, cx);
        self.show_alive(cx);
        self.hand_on(ME, Subject::Life, 0, cx);
    }

    pub(super) fn clear_suspicion(&mut self, place: u32) {
        let until = self.table.row(place).suspected_until();
        if until != Instant::NEVER && !self.config.is_planted(Canary::NoRefutation) {
            self.suspects.remove(&(until, place));
            self.change(place, Row::end_suspicion);
        }
    }

    /// A member whose own word has taken it away is neither suspected nor doubted any more.
    pub(super) fn end_doubts_of_gone(&mut self, place: u32) {
        if !self.table.row(place).state.is_present() {
            self.suspects.retain(|(_, suspect)| *suspect != place);
            self.drop_confirmation(place);
        }
    }

    pub(super) fn on_suspicions_due(&mut self, cx: &mut Cx<'_>) {
        while let Some((at, place)) = self.suspects.first().copied().filter(|(at, _)| *at <= cx.now.mono) {
            self.suspects.remove(&(at, place));
            if self.table.try_row(place).is_some_and(|row| row.suspected_until() == at) {
                self.judge(place, cx);
            }
        }
    }

    /// Takes a member for dead: this node's own verdict, until it hears of it again.
    pub(super) fn judge(&mut self, place: u32, cx: &mut Cx<'_>) {
        let now = cx.now.mono;
        self.suspects.remove(&(self.table.row(place).suspected_until(), place));
        self.drop_confirmation(place);
        cx.stats.verdicts += 1;
        self.change(place, |row| row.go(MemberState::Dead, now));
        let peer = self.table.row(place).record.contact.id();
        if self.neighbor(&peer).is_some() {
            self.events.push_back(Event::Dead { peer });
        }
    }

    /// After a pause every suspicion gets its time again: a refutation may wait behind this deadline.
    pub(super) fn put_off_verdicts(&mut self, cx: &Cx<'_>) {
        let now = cx.now.mono;
        let until = now.plus_millis(self.health.stretch(self.config.suspicion_ms));
        while let Some((at, place)) = self.suspects.first().copied().filter(|(at, _)| *at <= now) {
            self.suspects.remove(&(at, place));
            self.suspects.insert((until, place));
            self.table.change(place, |row| row.put_off(until));
        }
    }
}
