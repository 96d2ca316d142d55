//! Free slots of the active view: filled from the passive view, and by reunions with lost neighbours.

use super::{Membership, Phase, Why};
use crate::config::Canary;
use crate::frame::NeighborPriority;
use crate::id::{Contact, NodeId};
use crate::machine::Cx;
use crate::rng::Purpose;
use crate::time::Instant;
use alloc::vec::Vec;

/// Requests in one refill round at most, over all free slots: beyond that the round backs off. A guess.
const ROUND_REQUESTS_MAX: u32 = 10;

/// The refill loop: rounds of requests with a back-off between them.
#[derive(Clone, Debug)]
pub(super) struct Refill {
    pub(super) at: Instant,
    delay_ms: u64,
    /// Requests made in this round.
    requests: u32,
}

impl Default for Refill {
    fn default() -> Self {
        Self { at: Instant::NEVER, delay_ms: 0, requests: 0 }
    }
}

impl Refill {
    /// Something changed: the next round starts afresh.
    pub(super) fn reset(&mut self) {
        (self.delay_ms, self.requests) = (0, 0);
    }
}

impl Membership {
    /// A slot may be free: it is filled now, unless the round is exhausted or repair waits for the next cycle.
    pub(super) fn on_slot_free(&mut self, cx: &mut Cx<'_>) {
        if self.config.refill && self.phase == Phase::Member {
            self.refill.reset();
            self.refill.at = cx.now.mono;
            self.set_due(cx.now.mono);
        }
        self.seek_entry(cx);
    }

    /// The node has come in, or has one neighbour more: the slots that are free yet are filled in a while, for
    /// whoever fills them may be on its way.
    pub(super) fn keep_filling(&mut self, cx: &mut Cx<'_>) {
        if self.config.refill && !self.is_full() && self.refill.at == Instant::NEVER {
            let delay_ms = cx.rng.draw(Purpose::Refill).jitter(self.config.refill_backoff_ms, 50);
            self.refill.at = cx.now.mono.plus_millis(delay_ms);
            self.set_due(self.refill.at);
        }
    }

    pub(super) fn on_refill_due(&mut self, cx: &mut Cx<'_>) {
        if cx.now.mono < self.refill.at {
            return;
        }
        self.refill.at = Instant::NEVER;
        if self.config.refill && self.phase == Phase::Member {
            self.fill_slots(cx);
        }
    }

    /// Asks one passive contact for each free slot, and backs off when there is nobody to ask.
    fn fill_slots(&mut self, cx: &mut Cx<'_>) {
        let pending = self.asked.len();
        let free = self.config.active_size.saturating_sub(self.active.len() + pending);
        for _ in 0..free {
            let is_round_over = self.refill.requests >= ROUND_REQUESTS_MAX;
            if is_round_over || !self.ask_one(cx) {
                return self.back_off_refill(cx);
            }
            self.refill.requests += 1;
        }
    }

    fn back_off_refill(&mut self, cx: &mut Cx<'_>) {
        if self.config.is_planted(Canary::RefillOnce) {
            return;
        }
        let (first, max) = (self.config.refill_backoff_ms, self.config.refill_backoff_ms_max);
        self.refill.requests = 0;
        self.refill.delay_ms = self.refill.delay_ms.saturating_mul(2).clamp(first, max.max(first));
        let delay_ms = cx.rng.draw(Purpose::Refill).jitter(self.refill.delay_ms, 50);
        self.refill.at = cx.now.mono.plus_millis(delay_ms);
        self.set_due(self.refill.at);
        self.seek_entry(cx);
    }

    /// Asks one passive contact for each free slot, once (paper mode, in cycles).
    pub(super) fn fill_once(&mut self, cx: &mut Cx<'_>) {
        let free = self.config.active_size.saturating_sub(self.active.len() + self.asked.len());
        for _ in 0..free {
            self.ask_one(cx);
        }
        self.seek_entry(cx);
    }

    /// Asks one passive contact at random; tells whether there was one to ask.
    fn ask_one(&mut self, cx: &mut Cx<'_>) -> bool {
        let now = cx.now.mono;
        let is_ready = |id: &NodeId, retry_at: Instant| retry_at <= now && !self.is_asked(id);
        let candidates: Vec<&Contact> = (self.passive.iter())
            .filter(|entry| is_ready(&entry.contact.id(), entry.retry_at))
            .map(|entry| &entry.contact)
            .collect();
        let Some(&contact) = cx.rng.draw(Purpose::Refill).choose(&candidates) else { return false };
        let contact = contact.clone();
        let priority = if self.active.is_empty() { NeighborPriority::High } else { NeighborPriority::Low };
        self.ask(&contact, priority, Why::Refill, cx);
        true
    }

    // --- what comes of a request

    pub(super) fn on_asked_due(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now.mono;
        while let Some(i) = self.asked.iter().position(|asked| asked.deadline <= now) {
            let asked = self.asked.swap_remove(i);
            self.on_no_answer(&asked.contact, cx);
        }
    }

    /// Nobody answered: the contact is dropped, but a node without neighbours gives nobody up.
    pub(super) fn on_no_answer(&mut self, contact: &Contact, cx: &mut Cx<'_>) {
        let id = contact.id();
        self.reunite |= self.lost.contains(&id);
        if self.active.is_empty() {
            let until = cx.now.mono.plus_millis(self.config.seed_backoff_ms);
            self.passive.put_off(&id, until);
        } else {
            self.passive.remove(&id);
        }
        self.go_on_filling(cx);
    }

    /// The contact is alive but has no place now.
    pub(super) fn on_refused(&mut self, from: NodeId, cx: &mut Cx<'_>) {
        let until = cx.now.mono.plus_millis(self.config.neighbor_timeout_ms);
        self.passive.put_off(&from, until);
        self.go_on_filling(cx);
    }

    /// Goes on with the round that the failed request belonged to.
    fn go_on_filling(&mut self, cx: &mut Cx<'_>) {
        let is_waiting = self.refill.at != Instant::NEVER;
        if self.config.refill && self.phase == Phase::Member && !is_waiting {
            if self.config.is_planted(Canary::RefillOnce) {
                return;
            }
            self.fill_slots(cx);
        }
        self.seek_entry(cx);
    }

    // --- reunions

    /// Tries a lost neighbour again. The first that answers insists on a place, for it may be the only bridge to
    /// another part of the cluster; those after it come in where there is room.
    pub(super) fn on_lost_due(&mut self, cx: &mut Cx<'_>) {
        if self.phase != Phase::Member {
            return;
        }
        let now = cx.now.mono;
        while self.lost.deadline().is_some_and(|at| at <= now) {
            let jitter = cx.rng.draw(Purpose::Refill).below(50);
            let Some(contact) = self.lost.due(now, self.config.lost_retry_ms_max, jitter) else { return };
            if self.is_asked(&contact.id()) || self.asked.len() >= self.asked_max() {
                continue;
            }
            if core::mem::take(&mut self.reunite) {
                self.ask(&contact, NeighborPriority::High, Why::Insist, cx);
            } else {
                self.ask(&contact, NeighborPriority::Low, Why::Refill, cx);
            }
        }
    }
}
