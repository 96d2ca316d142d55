//! Rules between the numbers of a configuration.

use super::{Config, ConfigError};
use crate::frame::{BODY_LEN_MAX, CONTACTS_MAX, GOSSIP_HEADER_LEN_MAX, MAIL_HEADER_LEN_MAX};
use crate::registry::{CHANGE_HEADER_LEN_MAX, CHANGES_MAX, UPDATE_HEADER_LEN_MAX};
use crate::ring::{PARTITIONS_MAX, WEIGHT_MAX};

/// Whether a rule holds, the key at fault if not, and what would be right.
type Rule = (bool, &'static str, &'static str);

/// Milliseconds in a day: no wait for an answer is longer.
const DAY_MS: u64 = 86_400_000;

impl Config {
    /// Checks that the numbers can work together.
    ///
    /// # Errors
    /// [`ConfigError`] names the first key at fault.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let lower = self.overlay_rules().into_iter().chain(self.state_rules());
        let mut rules =
            lower.chain(self.members_rules()).chain(self.services_rules()).chain(self.mailboxes_rules());
        match rules.find(|(holds, ..)| !holds) {
            Some((_, key, what)) => Err(ConfigError { key, what }),
            None => Ok(()),
        }
    }

    /// Links and membership.
    fn overlay_rules(&self) -> [Rule; 14] {
        [
            (self.active_size >= 1 && self.active_size <= 30, "active_size", "must be from 1 to 30"),
            (self.passive_size >= 1 && self.passive_size <= 1000, "passive_size", "must be from 1 to 1000"),
            (self.prwl <= self.arwl, "prwl", "must not be longer than arwl"),
            (
                self.shuffle_active + self.shuffle_passive < CONTACTS_MAX,
                "shuffle_passive",
                "a shuffle holds at most 31 entries: lower shuffle_active or shuffle_passive",
            ),
            (self.links_max > 2 * self.active_size, "links_max", "must be more than twice active_size"),
            (
                self.probe_after_ms == 0 || self.silent_after_ms > self.probe_after_ms,
                "silent_after_ms",
                "must be longer than probe_after_ms",
            ),
            (self.dial_backoff_ms >= 1, "dial_backoff_ms", "must be at least 1"),
            (self.link_idle_ms >= 1, "link_idle_ms", "must be at least 1"),
            (
                (1..=DAY_MS).contains(&self.neighbor_timeout_ms),
                "neighbor_timeout_ms",
                "must be from 1 ms to a day",
            ),
            (
                (1..=DAY_MS).contains(&self.refill_backoff_ms),
                "refill_backoff_ms",
                "must be from 1 ms to a day",
            ),
            ((1..=DAY_MS).contains(&self.join_timeout_ms), "join_timeout_ms", "must be from 1 ms to a day"),
            (self.seed_backoff_ms >= 1, "seed_backoff_ms", "must be at least 1"),
            (self.promotion_whole_ms >= 1, "promotion_whole_ms", "must be at least 1"),
            (self.lost_retry_ms >= 1, "lost_retry_ms", "must be at least 1"),
        ]
    }

    /// Broadcast, clock and replicated maps.
    fn state_rules(&self) -> [Rule; 14] {
        [
            (
                self.seen_ms >= self.cache_ms,
                "seen_ms",
                "must be at least cache_ms, or old messages are new again",
            ),
            (self.seen_max >= 256, "seen_max", "must be at least 256, or old messages are new again"),
            ((1..=1 << 20).contains(&self.missing_max), "missing_max", "must be from 1 to 1048576"),
            (self.graft_late_ms >= 1, "graft_late_ms", "must be at least 1"),
            (self.graft_retry_ms >= 1, "graft_retry_ms", "must be at least 1"),
            (self.announce_queue_max >= 1, "announce_queue_max", "must be at least 1"),
            (
                self.message_len_max <= BODY_LEN_MAX - GOSSIP_HEADER_LEN_MAX,
                "message_len_max",
                "must leave 34 bytes for the header in 1 MiB, the longest body of a frame",
            ),
            (
                self.key_len_max + self.value_len_max + 512 <= self.message_len_max,
                "value_len_max",
                "key and value with 512 bytes around them must fit message_len_max",
            ),
            (
                self.sync_chunk_bytes < BODY_LEN_MAX / 2 && self.sync_chunk_bytes >= 1,
                "sync_chunk_bytes",
                "must be from 1 to 512 KiB",
            ),
            (self.sync_sessions_max >= 1, "sync_sessions_max", "must be at least 1"),
            (self.sync_interval_ms >= 1, "sync_interval_ms", "must be at least 1"),
            (self.maps.len() <= self.maps_max, "maps", "more maps than maps_max"),
            (!self.replica || self.broadcast, "replica", "needs broadcast = true"),
            (
                (1..=self.clock_drift_ms_max.max(1)).contains(&self.clock_mark_ms),
                "clock_mark_ms",
                "must be from 1 to clock_drift_ms_max, or a restarted node's writes are refused for a while",
            ),
        ]
    }

    /// Members and placement.
    fn members_rules(&self) -> [Rule; 17] {
        [
            (self.members_relay_ms >= 1, "members_relay_ms", "must be at least 1"),
            (
                self.members_ahead_ms_max >= self.clock_drift_ms_max,
                "members_ahead_ms_max",
                "must be at least clock_drift_ms_max, or nodes with clocks that count are refused",
            ),
            (
                (1..=1_000_000).contains(&self.members_pulls_per_s),
                "members_pulls_per_s",
                "must be from 1 to 1000000",
            ),
            (self.members_news_max >= 1, "members_news_max", "must be at least 1"),
            (!self.placement || self.members, "placement", "needs members = true"),
            (self.heartbeat_ms >= 1, "heartbeat_ms", "must be at least 1"),
            (
                self.ttl_ms >= self.heartbeat_ms.saturating_mul(2),
                "ttl_ms",
                "must be at least twice heartbeat_ms, or one late heartbeat ends a lease",
            ),
            (self.ttl_ms <= DAY_MS, "ttl_ms", "must be at most a day, or who has died is there for ever"),
            ((1..=DAY_MS).contains(&self.exchange_ms), "exchange_ms", "must be from 1 ms to a day"),
            ((1..=DAY_MS).contains(&self.quiet_after_ms), "quiet_after_ms", "must be from 1 ms to a day"),
            (self.heartbeat_rows_per_s >= 1, "heartbeat_rows_per_s", "must be at least 1"),
            (self.members_max >= 2, "members_max", "must be at least 2"),
            (
                self.confirm_ms >= 4 && self.suspicion_ms >= self.confirm_ms,
                "suspicion_ms",
                "must be at least confirm_ms, and that at least 4: who is alive needs time to say so",
            ),
            (self.confirmations_max >= 1, "confirmations_max", "must be at least 1"),
            (
                !self.members || self.heartbeat_ms >= 100,
                "heartbeat_ms",
                "must be at least 100 when members = true",
            ),
            ((1..=PARTITIONS_MAX).contains(&self.ring_size), "ring_size", "must be from 1 to 65536"),
            ((1..=WEIGHT_MAX).contains(&self.weight), "weight", "must be from 1 to 64"),
        ]
    }

    /// Registry.
    fn services_rules(&self) -> [Rule; 8] {
        [
            (!self.registry || self.members, "registry", "needs members = true"),
            (
                self.registry_name_len_max
                    .saturating_add(self.registry_meta_len_max)
                    .saturating_add(16 * 1024)
                    <= self.message_len_max
                    && self.registry_name_len_max <= usize::from(u16::MAX),
                "registry_meta_len_max",
                "name and metadata with 16 KiB around them must fit message_len_max, and a name 64 KiB",
            ),
            (
                (1..=CHANGES_MAX).contains(&self.registrations_max),
                "registrations_max",
                "must be from 1 to 4096",
            ),
            (
                self.registrations_max
                    .saturating_mul(CHANGE_HEADER_LEN_MAX)
                    .saturating_add(self.registry_owner_bytes_max)
                    .saturating_add(UPDATE_HEADER_LEN_MAX)
                    .saturating_add(self.sync_chunk_bytes)
                    <= BODY_LEN_MAX,
                "registry_owner_bytes_max",
                "a node's registrations with 48 bytes around each must fit one frame of 1 MiB, with a chunk before them",
            ),
            (self.registry_owners_max >= 1, "registry_owners_max", "must be at least 1"),
            (self.registry_relay_ms >= 1, "registry_relay_ms", "must be at least 1"),
            (
                self.registry_schema == 0 || self.schemas.iter().any(|it| it.id == self.registry_schema),
                "registry_schema",
                "no such schema is registered",
            ),
            (
                self.registry_ahead_ms_max >= self.clock_drift_ms_max,
                "registry_ahead_ms_max",
                "must be at least clock_drift_ms_max, or nodes with clocks that count are refused",
            ),
        ]
    }

    /// Mailboxes.
    fn mailboxes_rules(&self) -> [Rule; 16] {
        [
            (!self.mailboxes || self.members, "mailboxes", "needs members = true"),
            (
                self.mail_len_max <= BODY_LEN_MAX - MAIL_HEADER_LEN_MAX,
                "mail_len_max",
                "must leave 81 bytes for the header in 1 MiB, the longest body of a frame",
            ),
            (self.mailboxes_max >= 1, "mailboxes_max", "must be at least 1"),
            (self.mail_peers_max >= 1, "mail_peers_max", "must be at least 1"),
            (self.calls_max >= 1, "calls_max", "must be at least 1"),
            (self.call_ms_max >= 1, "call_ms_max", "must be at least 1"),
            (self.questions_max >= 1, "questions_max", "must be at least 1"),
            (
                (1..=self.questions_max).contains(&self.questions_peer_max),
                "questions_peer_max",
                "must be from 1 to questions_max",
            ),
            (self.monitors_max >= 1, "monitors_max", "must be at least 1"),
            (self.watches_peer_max >= 2, "watches_peer_max", "must be at least 2"),
            (self.mail_early_max >= 1, "mail_early_max", "must be at least 1"),
            (
                !self.mailboxes || self.mail_gap_ms >= self.crossing_linger_ms.max(1),
                "mail_gap_ms",
                "must be at least crossing_linger_ms, or mail of a settled crossing is lost",
            ),
            (self.mail_unheard_max >= 1, "mail_unheard_max", "must be at least 1"),
            (
                self.mail_heard_ms >= 1 && self.mail_heard_ms < self.mail_retry_ms,
                "mail_heard_ms",
                "must be at least 1 and below mail_retry_ms, or what was heard is asked for",
            ),
            (self.mail_retry_ms >= 1, "mail_retry_ms", "must be at least 1"),
            (
                self.mail_retry_ms_max >= self.mail_retry_ms,
                "mail_retry_ms_max",
                "must be at least mail_retry_ms",
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_at_fault(change: fn(&mut Config)) -> Option<&'static str> {
        let mut config = Config::default();
        change(&mut config);
        config.validate().err().map(|error| error.key)
    }

    #[test]
    fn numbers_that_cannot_work_are_refused_by_name() {
        assert_eq!(key_at_fault(|_| {}), None);
        assert_eq!(key_at_fault(|it| it.missing_max = usize::MAX), Some("missing_max"));
        assert_eq!(key_at_fault(|it| it.seen_max = 255), Some("seen_max"));
        assert_eq!(key_at_fault(|it| it.refill_backoff_ms = u64::MAX), Some("refill_backoff_ms"));
        assert_eq!(key_at_fault(|it| it.join_timeout_ms = u64::MAX), Some("join_timeout_ms"));
        assert_eq!(key_at_fault(|it| it.ttl_ms = it.heartbeat_ms), Some("ttl_ms"));
        assert_eq!(key_at_fault(|it| it.ttl_ms = u64::MAX), Some("ttl_ms"));
        assert_eq!(key_at_fault(|it| it.exchange_ms = 0), Some("exchange_ms"));
        assert_eq!(key_at_fault(|it| it.quiet_after_ms = u64::MAX), Some("quiet_after_ms"));
        assert_eq!(key_at_fault(|it| it.registry = true), Some("registry"));
        assert_eq!(key_at_fault(|it| it.ring_size = 0), Some("ring_size"));
    }
}
