//! Shuffles: how passive views stay fresh (HyParView, section 4.5).
//!
//! A departure: where members run and the passive view has room, so that it and the neighbours are the whole cluster,
//! shuffles that bring nobody new come more rarely, five while an entry is remembered: one that is forgotten and told
//! again is new.

use super::{Membership, Phase};
use crate::frame::{Aged, Channel, Frame};
use crate::id::{Contact, NodeId};
use crate::machine::Cx;
use crate::rng::Purpose;
use crate::time::Instant;
use alloc::vec::Vec;

/// Shuffles in a row that brought nobody new before they come more rarely. A guess: by then whoever stands on another
/// island was promoted ([`super::promotion`]).
const QUIET_MAX: u32 = 8;

/// Rare shuffles in the time after which an entry is forgotten that nobody has told of. A guess.
const RARE_IN_AGE: u64 = 5;

/// The periodic shuffle and what the last one told.
#[derive(Clone, Debug)]
pub(super) struct Shuffling {
    pub(super) at: Instant,
    /// The ids that the last shuffle told: the first to be forgotten for what comes back.
    pub(super) told: Vec<NodeId>,
    /// Whether anybody was heard of for the first time since the last one.
    pub(super) has_news: bool,
    /// Shuffles in a row that brought nobody new, [`QUIET_MAX`] at most.
    quiet: u32,
}

impl Default for Shuffling {
    fn default() -> Self {
        Self { at: Instant::NEVER, told: Vec::new(), has_news: false, quiet: 0 }
    }
}

impl Shuffling {
    /// Tells whether shuffles have brought nobody new for long, and come rarely.
    pub(super) fn is_calm(&self) -> bool {
        self.quiet >= QUIET_MAX
    }
}

impl Membership {
    pub(super) fn schedule_shuffle(&mut self, cx: &mut Cx<'_>) {
        let (often_ms, age_ms) = (self.config.shuffle_interval_ms, u64::from(self.config.passive_age_ms_max));
        let interval_ms = if self.shuffle.is_calm() { often_ms.max(age_ms / RARE_IN_AGE) } else { often_ms };
        if often_ms > 0 {
            let delay_ms = cx.rng.draw(Purpose::ShuffleJitter).jitter(interval_ms, 20);
            self.shuffle.at = cx.now.mono.plus_millis(delay_ms);
            self.set_due(self.shuffle.at);
        }
    }

    pub(super) fn on_shuffle_due(&mut self, cx: &mut Cx<'_>) {
        if cx.now.mono < self.shuffle.at {
            return;
        }
        self.shuffle.at = Instant::NEVER;
        if self.phase == Phase::Member {
            let has_news = core::mem::take(&mut self.shuffle.has_news);
            let is_quiet = !has_news && self.holds_cluster() && self.config.members;
            self.shuffle.quiet = if is_quiet { QUIET_MAX.min(self.shuffle.quiet + 1) } else { 0 };
            self.start_shuffle(cx);
            self.schedule_shuffle(cx);
        }
    }

    /// One membership step of the paper: a shuffle, and one attempt for each free slot.
    pub(super) fn on_cycle(&mut self, cx: &mut Cx<'_>) {
        if self.phase != Phase::Member {
            return;
        }
        self.start_shuffle(cx);
        self.refill.reset();
        self.fill_once(cx);
    }

    fn start_shuffle(&mut self, cx: &mut Cx<'_>) {
        cx.stats.aged_out += self.passive.forget_old(cx.now.mono, self.config.passive_age_ms_max);
        let neighbors: Vec<NodeId> = self.active().collect();
        let Some(&to) = cx.rng.draw(Purpose::ShuffleWalk).choose(&neighbors) else { return };
        let mut entries = alloc::vec![Aged { contact: self.me.clone(), age_ms: 0 }];
        let others = self.active.iter().map(|n| &n.contact).filter(|contact| contact.id() != to);
        let mut others: Vec<Aged> =
            others.map(|contact| Aged { contact: contact.clone(), age_ms: 0 }).collect();
        cx.rng.draw(Purpose::ShuffleSample).sample(&mut others, self.config.shuffle_active);
        entries.append(&mut others);
        entries.append(&mut self.passive.sample(self.config.shuffle_passive, cx.now.mono, cx.rng));
        self.shuffle.told = entries.iter().skip(1).map(|entry| entry.contact.id()).collect();
        cx.stats.shuffles += 1;
        let (origin, ttl) = (self.me.clone(), self.config.shuffle_ttl);
        cx.send(to, Channel::Control, Frame::Shuffle { origin, ttl, entries });
    }

    pub(super) fn on_shuffle(
        &mut self,
        from: NodeId,
        origin: Contact,
        ttl: u8,
        entries: Vec<Aged>,
        cx: &mut Cx<'_>,
    ) {
        if origin.id() == self.me.id() || self.phase != Phase::Member {
            return;
        }
        let ttl = ttl.min(self.config.shuffle_ttl).saturating_sub(1);
        let next: Vec<NodeId> = self.active().filter(|id| *id != from && *id != origin.id()).collect();
        if ttl > 0
            && self.active.len() > 1
            && let Some(&to) = cx.rng.draw(Purpose::ShuffleWalk).choose(&next)
        {
            return cx.send(to, Channel::Control, Frame::Shuffle { origin, ttl, entries });
        }
        let reply = self.passive.sample(entries.len(), cx.now.mono, cx.rng);
        let told: Vec<NodeId> = reply.iter().map(|entry| entry.contact.id()).collect();
        self.reach(&origin, Frame::ShuffleReply { entries: reply });
        self.merge(entries, &told, cx);
    }

    pub(super) fn on_shuffle_reply(&mut self, entries: Vec<Aged>, cx: &mut Cx<'_>) {
        if self.phase == Phase::Member {
            let told = core::mem::take(&mut self.shuffle.told);
            self.merge(entries, &told, cx);
        }
    }

    fn merge(&mut self, entries: Vec<Aged>, told: &[NodeId], cx: &mut Cx<'_>) {
        entries.into_iter().for_each(|aged| self.learn(aged, told, cx));
    }
}
