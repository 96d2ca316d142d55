//! Counters of one node. The core logs nothing: what is worth knowing is counted here.

macro_rules! stats {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters of one node, from its start. They steer nothing and are no part of any digest.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        #[allow(missing_docs)]
        pub struct Stats { $($(#[$doc])* pub $name: u64,)* }
        impl Stats {
            /// Visits every counter with its name, in the order of declaration.
            pub fn each(&self, mut visit: impl FnMut(&'static str, u64)) {
                $(visit(stringify!($name), self.$name);)*
            }
            /// Adds another node's counters.
            pub fn add(&mut self, other: &Stats) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

stats! {
    /// Frames from peers that did not decode.
    malformed,
    /// Frames on a channel, or in a state, where they mean nothing.
    misplaced,
    /// Dials started.
    dials,
    /// Dials that failed.
    dials_failed,
    /// Connections closed because both ends had dialled.
    links_crossed,
    /// Links closed because they were idle.
    links_idle,
    /// Frames dropped because a link could not be made or its queue was full.
    undeliverable,
    /// Links closed because the bound was reached.
    links_refused,
    /// Join requests answered.
    joins,
    /// Join requests that were sent elsewhere because too many came at once.
    joins_redirected,
    /// Requests to become neighbours that were accepted.
    neighbors_accepted,
    /// Requests to become neighbours that were refused.
    neighbors_refused,
    /// Neighbours given up for others.
    evictions,
    /// Neighbours that did not answer probes.
    silent,
    /// Probes sent.
    probes,
    /// Shuffles started.
    shuffles,
    /// Slow promotions.
    promotions,
    /// Members that live, though the overlay brought no word of them, and were asked to be neighbours.
    bridges,
    /// Passive entries that aged out.
    aged_out,
    /// Messages published here.
    published,
    /// Messages heard for the first time.
    delivered,
    /// Payloads received, first or not.
    payloads_received,
    /// Payloads received again.
    duplicates,
    /// Payloads sent.
    payloads_sent,
    /// Announcements sent.
    announced,
    /// Batches of announcements sent.
    announce_batches,
    /// Announcements dropped because too many waited for one neighbour.
    announcements_dropped,
    /// Grafts sent.
    grafts,
    /// Prunes sent.
    prunes,
    /// Grafts for messages that are no longer in the cache.
    grafts_missed,
    /// Announced messages that never came from anybody.
    lost,
    /// Announcements not followed because too many messages were missing already.
    missing_overflow,
    /// Messages refused because they had rested in caches for too long.
    expired,
    /// Tree links exchanged for shorter ones.
    optimised,
    /// Publications refused for backpressure.
    publish_refused,
    /// Times that the seen-table forgot before its time because it was full.
    seen_overflow,
    /// Operations applied.
    ops_applied,
    /// Operations that were already covered.
    ops_covered,
    /// Operations whose predecessor was missing.
    ops_gapped,
    /// Operations refused: clock, size, schema.
    ops_refused,
    /// Anti-entropy sessions opened.
    syncs,
    /// Sessions that found both replicas equal.
    syncs_equal,
    /// Sessions that were refused for load.
    syncs_busy,
    /// Sessions that ran out of time.
    syncs_expired,
    /// Operations received by anti-entropy.
    sync_ops,
    /// Replicas with equal vectors and different contents, found and repaired.
    divergence_repaired,
    /// Stamps refused for being too far ahead.
    stamps_refused,
    /// Writes to the store that failed.
    persist_failed,

    /// Heartbeats handed on to neighbours.
    beats_sent,
    /// Heartbeats received.
    beats_received,
    /// Heartbeats received that were new.
    beats_new,
    /// News of members handed on to neighbours.
    rumors_sent,
    /// Records of members received.
    entries_received,
    /// Records of members refused: they contradict what is known, or the table is full.
    entries_refused,
    /// Requests for records that were not answered: the asker had had its share.
    pulls_refused,
    /// Nodes refused as members because they count leases or partitions differently.
    members_mismatched,
    /// Attempts to reach a member before it is suspected.
    confirmations,
    /// Of these, those that reached it.
    confirmed_alive,
    /// Pings sent, for this node or on behalf of others.
    pings,
    /// Members that this node has told everybody to suspect.
    suspicions,
    /// Times that this node has shown that it is alive because it was suspected.
    refutations,
    /// Members that this node has taken for dead.
    verdicts,
    /// Members that came back after they were taken for dead.
    revived,
    /// Times that this node was late by its own timers.
    late,
    /// Updates of this node's registrations.
    registry_updates,
    /// Updates handed on to neighbours, each counted for each neighbour.
    registry_relayed,
    /// Words about others' registrations told to neighbours.
    registry_told,
    /// Updates of others' registrations applied.
    registry_applied,
    /// Updates that told nothing new.
    registry_stale,
    /// Updates before which something was missing.
    registry_gaps,
    /// Updates that broke the rules.
    registry_refused,
    /// Missing updates asked for.
    registry_pulls,
    /// Times that this node's set was told anew because somebody else had told one.
    registry_rewritten,
    /// Sets with equal numbers and different contents.
    registry_diverged,
    /// Anti-entropy sessions over the registry.
    registry_syncs,
    /// Such sessions that ran out of time.
    registry_syncs_expired,
    /// Messages and questions sent from this node's mailboxes.
    mail_sent,
    /// Messages and questions that came to this node's mailboxes.
    mail_delivered,
    /// Messages and questions that were refused: no such mailbox, another life, a bound.
    mail_refused,
    /// Messages that were accepted and given up: refused, or not known to be heard.
    mail_lost,
    /// Mail dropped because it came twice, too late, or from an earlier life.
    mail_stale,
    /// Mail of peers that was dropped because it came before its turn or for want of room: it comes again.
    mail_gaps,
    /// Calls that ended without an answer in time.
    calls_expired,
    /// Answers to calls that had ended.
    answers_late,
    /// Questions that nobody answered while their asker waited.
    questions_expired,
    /// Requests to be told of a closed mailbox that were refused for their number.
    monitors_refused,
    /// Orders between mailboxes that were repeated.
    orders_repeated,
}
