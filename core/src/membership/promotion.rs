//! What opens islands of full, closed views that shuffles never leave: slow promotion, and bridges.
//!
//! A departure from HyParView, which has nothing against such islands. Within an island, whoever is outside of it is
//! heard of no more. So the passive contact heard of longest ago takes the place of a random neighbour, once that is
//! long ago. In a cluster that the passive view holds whole, only an island leaves anybody unheard of for long, so it
//! is looked for often and nothing is exchanged without need; in a large one islands are rare, and so are promotions.
//!
//! Promotion needs half a minute to notice. Leases notice sooner: where members run, whoever lives and answers although
//! the overlay has brought no word of it for a whole lease stands on another island, and is asked to be a bridge. Where
//! shuffles have become rare ([`super::shuffle`]) everybody is unheard of for long, and leases alone tell.

use super::{Membership, Phase, Why};
use crate::frame::NeighborPriority;
use crate::id::Contact;
use crate::machine::Cx;
use crate::rng::Purpose;
use crate::time::Instant;
use alloc::vec::Vec;

impl Membership {
    /// Plans the next look at whom to promote.
    pub(super) fn schedule_promotion(&mut self, cx: &mut Cx<'_>) {
        let (whole_ms, large_ms) = (self.config.promotion_whole_ms, self.config.promotion_interval_ms);
        if large_ms > 0 {
            let delay_ms = if self.holds_cluster() { whole_ms.min(large_ms) } else { large_ms };
            self.promote_at = cx.now.mono.plus_millis(cx.rng.draw(Purpose::Promotion).jitter(delay_ms, 50));
            self.set_due(self.promote_at);
        }
    }

    pub(super) fn on_promotion_due(&mut self, cx: &mut Cx<'_>) {
        if cx.now.mono < self.promote_at {
            return;
        }
        self.promote_at = Instant::NEVER;
        if self.phase == Phase::Member {
            self.schedule_promotion(cx);
            if self.is_full() && self.asked.is_empty() {
                self.promote(cx);
            }
        }
    }

    /// A node lives, and the overlay brings no word of it: it is asked to be a bridge, unless another one was asked a
    /// moment ago, which may bring word of all who stand there.
    pub(super) fn on_apart(&mut self, contact: &Contact, cx: &mut Cx<'_>) {
        let (now, id) = (cx.now.mono, contact.id());
        let is_near = self.position(&id).is_some() || self.is_asked(&id) || id == self.me.id();
        let is_free = now >= self.bridge_from && self.asked.len() < self.asked_max();
        if self.config.bridge_interval_ms == 0
            || self.phase != Phase::Member
            || is_near
            || !is_free
            || self.has_departed(contact)
        {
            return;
        }
        self.bridge_from = now.plus_millis(self.config.bridge_interval_ms);
        cx.stats.bridges += 1;
        self.ask(contact, NeighborPriority::High, Why::Insist, cx);
    }

    /// Tells whether the passive view has room: then it and the neighbours are the whole cluster.
    pub(super) fn holds_cluster(&self) -> bool {
        self.passive.len() < self.config.passive_size
    }

    /// Asks one of the passive contacts heard of longest ago to take the place of a neighbour.
    fn promote(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now.mono;
        let ready = || self.passive.iter().filter(|entry| entry.retry_at <= now);
        let oldest_ms = ready().map(|entry| entry.age_ms(now)).max().unwrap_or(0);
        if self.shuffle.is_calm() || oldest_ms < self.config.promotion_age_ms {
            return;
        }
        let oldest: Vec<&Contact> =
            ready().filter(|it| it.age_ms(now) == oldest_ms).map(|it| &it.contact).collect();
        let Some(&contact) = cx.rng.draw(Purpose::Refill).choose(&oldest) else { return };
        let contact = contact.clone();
        self.ask(&contact, NeighborPriority::High, Why::Insist, cx);
        cx.stats.promotions += 1;
    }
}
