//! Slow promotion: what opens islands of full, closed views that shuffles never leave.
//!
//! A departure from HyParView, which has nothing against such islands. Within an island, whoever is outside of it is
//! heard of no more. So the passive contact heard of longest ago takes the place of a random neighbour, once that is
//! long ago: soon after a node has joined, and ever more rarely from then on. In a small cluster that hangs together
//! everybody is heard of all the time, and nothing is exchanged.

use super::{Membership, Phase, Why};
use crate::frame::NeighborPriority;
use crate::id::Contact;
use crate::machine::Cx;
use crate::rng::Purpose;
use crate::time::Instant;
use alloc::vec::Vec;

/// The next promotion.
#[derive(Clone, Debug)]
pub(super) struct Promotion {
    pub(super) at: Instant,
    delay_ms: u64,
}

impl Default for Promotion {
    fn default() -> Self {
        Self { at: Instant::NEVER, delay_ms: 0 }
    }
}

impl Membership {
    /// The node has joined: promotions begin.
    pub(super) fn start_promotions(&mut self, cx: &mut Cx<'_>) {
        self.promotion.delay_ms = self.config.promotion_first_ms.min(self.config.promotion_interval_ms);
        self.schedule_promotion(cx);
    }

    fn schedule_promotion(&mut self, cx: &mut Cx<'_>) {
        if self.config.promotion_interval_ms > 0 {
            let delay_ms = cx.rng.draw(Purpose::Promotion).jitter(self.promotion.delay_ms, 50);
            self.promotion.at = cx.now.mono.plus_millis(delay_ms);
            self.set_due(self.promotion.at);
        }
    }

    pub(super) fn on_promotion_due(&mut self, cx: &mut Cx<'_>) {
        if cx.now.mono < self.promotion.at {
            return;
        }
        self.promotion =
            Promotion { at: Instant::NEVER, delay_ms: self.promotion.delay_ms.saturating_mul(2) };
        self.promotion.delay_ms = self.promotion.delay_ms.min(self.config.promotion_interval_ms);
        if self.phase == Phase::Member {
            self.schedule_promotion(cx);
            if self.is_full() && self.asked.is_empty() {
                self.promote(cx);
            }
        }
    }

    /// Asks one of the passive contacts heard of longest ago to take the place of a neighbour; tells whether there is
    /// one.
    fn promote(&mut self, cx: &mut Cx<'_>) -> bool {
        let now = cx.now.mono;
        let ready = || self.passive.iter().filter(|entry| entry.retry_at <= now);
        let oldest = ready().map(|entry| entry.age).max().unwrap_or(0);
        if oldest < self.config.promotion_age {
            return false;
        }
        let oldest: Vec<&Contact> = ready().filter(|it| it.age == oldest).map(|it| &it.contact).collect();
        let Some(&contact) = cx.rng.draw(Purpose::Refill).choose(&oldest) else { return false };
        let contact = contact.clone();
        self.ask(&contact, NeighborPriority::High, Why::Insist, cx);
        cx.stats.promotions += 1;
        true
    }
}
