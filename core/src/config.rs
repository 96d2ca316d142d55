//! Every number that a user may turn, with its source.

mod rules;

use crate::schema::Schema;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use serde::{Deserialize, Serialize};

/// The configuration of a node. All durations are in milliseconds.
///
/// Defaults name their source: a paper's page, a measurement, or "a guess".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    // --- links
    /// Links that a node holds at most. A guess: far above what the overlay needs.
    pub links_max: usize,
    /// Frames that wait for one link to come up at most. A guess.
    pub link_queue_max: usize,
    /// First delay after a failed dial; doubled each time. A guess.
    pub dial_backoff_ms: u64,
    /// Greatest delay after failed dials. A guess.
    pub dial_backoff_ms_max: u64,
    /// Silence after which a link that no machine holds is closed. A guess.
    pub link_idle_ms: u64,
    /// How long the redundant connection of a crossing dial lingers, so that frames under way still arrive. A guess.
    pub crossing_linger_ms: u64,
    /// Malformed frames from one peer before its link is closed. A guess.
    pub malformed_max: u32,

    // --- membership (HyParView)
    /// Neighbours at most (HyParView, section 5.1: fan-out 4 plus one).
    pub active_size: usize,
    /// Passive contacts at most (HyParView, section 5.1).
    pub passive_size: usize,
    /// Active random walk length (HyParView, section 5.1).
    pub arwl: u8,
    /// Passive random walk length (HyParView, section 5.1).
    pub prwl: u8,
    /// Active entries in a shuffle, ka (HyParView, section 5.1).
    pub shuffle_active: usize,
    /// Passive entries in a shuffle, kp (HyParView, section 5.1).
    pub shuffle_passive: usize,
    /// Hops of a shuffle walk. The paper does not say; its authors' code uses ARWL.
    pub shuffle_ttl: u8,
    /// Time between shuffles; zero for none but by command (paper mode). A guess.
    pub shuffle_interval_ms: u64,
    /// Time without a sign of life after which a passive entry is forgotten; zero for never. A guess.
    pub passive_age_ms_max: u32,
    /// Whether free active slots are refilled at once and for as long as it takes; off in paper mode.
    pub refill: bool,
    /// Wait for the answer to a request to become neighbours. A guess.
    pub neighbor_timeout_ms: u64,
    /// First delay after all passive contacts were asked in vain; doubled each time. A guess.
    pub refill_backoff_ms: u64,
    /// Greatest delay between refill rounds. A guess.
    pub refill_backoff_ms_max: u64,
    /// Silence of a neighbour after which it is probed, times `active_size` where members run, which ask neighbours in turn;
    /// zero for never (paper mode). A guess.
    pub probe_after_ms: u64,
    /// Silence of a neighbour after which it is given up; counted from the question where it was asked later than
    /// `probe_after_ms`. A guess; above pauses of 2 s, which do not mean a dead node.
    pub silent_after_ms: u64,
    /// How long a full view's unheard neighbours may take to answer before a requester gets a place. A guess.
    pub probe_full_ms: u64,
    /// Wait for a contact's answer to a join. A guess.
    pub join_timeout_ms: u64,
    /// Rounds over all contacts before a join reports failure (the node still keeps trying). A guess.
    pub join_rounds_max: u32,
    /// First delay before seeds are tried again; doubled each time. A guess.
    pub seed_backoff_ms: u64,
    /// Greatest delay before seeds are tried again. A guess.
    pub seed_backoff_ms_max: u64,
    /// Joins within a second beyond which a full node sends joiners elsewhere; zero for never (paper mode). A guess.
    pub joins_per_s_max: u32,
    /// Time without a sign of life after which a passive contact may be promoted. Measured: in clusters that the
    /// passive view holds whole, hardly anybody is unheard of for longer while they hang together.
    pub promotion_age_ms: u32,
    /// Mean time between looks for somebody to promote while the passive view has room, so that it holds the cluster
    /// whole. A guess.
    pub promotion_whole_ms: u64,
    /// Mean time between slow promotions in a larger cluster; zero for never (paper mode). A guess.
    pub promotion_interval_ms: u64,
    /// Time between two requests to members that live though the overlay brings no word of them, at least; zero for none
    /// (paper mode). A guess, above what a bridge needs to bring word of everybody beyond it.
    pub bridge_interval_ms: u64,
    /// Lost neighbours remembered for a later reunion at most; zero for none (paper mode). A guess.
    pub lost_max: usize,
    /// First delay before a lost neighbour is tried again; doubled each time. A guess.
    pub lost_retry_ms: u64,
    /// Greatest delay before a lost neighbour is tried again. A guess.
    pub lost_retry_ms_max: u64,
    /// Departed nodes remembered at most. A guess.
    pub departed_max: usize,

    // --- broadcast (Plumtree)
    /// Whether the broadcast machine runs.
    pub broadcast: bool,
    /// Whether payloads flood all links instead of a tree (calibrates the simulator).
    pub flood: bool,
    /// The longest message in bytes. A guess.
    pub message_len_max: usize,
    /// How long an announcement may wait for others (batching); zero sends each at once. A guess.
    pub announce_delay_ms: u64,
    /// Wait for the payload of an announced message before it is asked for. A guess, above one tree hop.
    pub graft_delay_ms: u64,
    /// Wait for the answer to a graft before the next announcer is asked. A guess, above one round trip.
    pub graft_retry_ms: u64,
    /// Grafts for one message in quick succession at most, over all announcers. A guess.
    pub grafts_max: u32,
    /// Time between further grafts, for as long as caches may hold the message. A guess: a cut-off node comes back.
    pub graft_late_ms: u64,
    /// Hops that an announcement must save to change the tree; zero never changes it (Plumtree, section 3.8: 3 for one
    /// sender, 7 for many).
    pub optimise_hops: u16,
    /// How long the publisher whose messages shape the tree keeps that place without publishing; zero lets every message
    /// shape it (as in the paper). A guess, several times what a message takes to reach everybody.
    pub shape_interval_ms: u64,
    /// Missing messages tracked at most. A guess.
    pub missing_max: usize,
    /// Names in each of the seen-table's two generations at most. A guess.
    pub seen_max: usize,
    /// Time for which a name is remembered at least. A guess: twice the cache's time.
    pub seen_ms: u64,
    /// Time for which payloads are kept for grafts. A guess.
    pub cache_ms: u64,
    /// Bytes of payloads kept for grafts at most. A guess.
    pub cache_bytes_max: usize,
    /// Announcements that wait for one neighbour at most. A guess.
    pub announce_queue_max: usize,
    /// Age up to which cached messages are announced to a new neighbour; zero for none (paper mode). A guess: longer
    /// than it takes to give up a silent neighbour.
    pub reannounce_ms: u64,
    /// Topics that a node hears at most. A guess.
    pub topics_max: usize,

    // --- clock
    /// How far ahead of the wall clock a stamp may be. A guess: twice what CockroachDB allows (500 ms).
    pub clock_drift_ms_max: u64,
    /// How far ahead the persisted clock mark is set: no further than `clock_drift_ms_max`, or the writes of a node that
    /// has restarted would be refused for a while.
    pub clock_mark_ms: u64,

    // --- replica
    /// Whether the replica machine runs.
    pub replica: bool,
    /// Maps hosted from the start.
    pub maps: Vec<MapConfig>,
    /// Maps hosted at most. A guess.
    pub maps_max: usize,
    /// The longest key in bytes. A guess.
    pub key_len_max: usize,
    /// The longest value in bytes. A guess.
    pub value_len_max: usize,
    /// Entries of one map at most, for local writes. A guess.
    pub entries_max: usize,
    /// Writers in one map's version vector at most. A guess: about 1.5 MB.
    pub writers_max: usize,
    /// Out-of-order operations remembered for each writer at most. A guess.
    pub pending_max: usize,
    /// Commands that wait for the store at most. A guess.
    pub waiting_max: usize,
    /// Mean time between anti-entropy sessions. A guess.
    pub sync_interval_ms: u64,
    /// Delay before the news of a session is offered to other neighbours. A guess.
    pub sync_spread_ms: u64,
    /// Age from which an operation that a session brought is offered on to other neighbours; younger ones are likely
    /// under way on the broadcast tree. A guess, above the slowest broadcast.
    pub sync_news_ms: u64,
    /// How long a gap in a writer's operations may stay open before a session looks after it. A guess, above the
    /// slowest broadcast.
    pub sync_gap_ms: u64,
    /// Sessions at once in each direction at most. A guess.
    pub sync_sessions_max: usize,
    /// Time after which a session that makes no progress ends. A guess.
    pub sync_timeout_ms: u64,
    /// Bytes of operations in one chunk. A guess.
    pub sync_chunk_bytes: usize,

    // --- members
    /// Whether the members machine runs.
    pub members: bool,
    /// Time between two heartbeats of a node: the same on every node, or it is refused as a member.
    pub heartbeat_ms: u64,
    /// Time without a sign of life after which a member's lease ends: the same on every node.
    pub ttl_ms: u64,
    /// Heartbeats of others that a node shall hear in a second at most: with more members than that allows, everybody's
    /// heartbeat slows down and leases grow alike. A guess: about 7 KB a second.
    pub heartbeat_rows_per_s: u64,
    /// Time between two exchanges of heartbeats that a node begins, at most: with it, how soon it is noticed that somebody
    /// does not answer. Less in a cluster where a rise has further to go. Above `probe_after_ms` neighbours are probed as
    /// well. A guess: below 5 s with what comes after it, and as calm as that allows.
    pub exchange_ms: u64,
    /// Time between two batches of news of members to one neighbour at least. A guess, well below suspicion_ms over the
    /// hops to a suspect and back.
    pub members_relay_ms: u64,
    /// How far ahead of this node's wall clock a life may begin that is taken for one: beyond it, somebody has made it up. A
    /// guess: a day, more than any clock is wrong that somebody looks after.
    pub members_ahead_ms_max: u64,
    /// Records of members that one neighbour may ask for in a second at most, beside the whole table twice. A guess: above what
    /// a node asks for while hundreds come in a second.
    pub members_pulls_per_s: u64,
    /// News of members that are remembered for neighbours at most. A guess.
    pub members_news_max: usize,
    /// Members that a node knows at most, the gone ones that it remembers included. A guess.
    pub members_max: usize,
    /// How long a neighbour may take to answer, or to do what it has promised, before others are asked to reach it. A guess,
    /// above a few round trips: asking harms nobody.
    pub quiet_after_ms: u64,
    /// How long a member may take to answer somebody before it is suspected. A guess, above a handshake and two round
    /// trips.
    pub confirm_ms: u64,
    /// Others that are asked to reach a member before it is suspected (SWIM, section 4.1: k of 3 finds all but a few).
    pub confirm_helpers: usize,
    /// Members that a node tries to reach at once at most, for itself and as often for others. A guess.
    pub confirmations_max: usize,
    /// How long a suspected member may take to show itself alive, at a node in good health. A guess, several times what a
    /// piece of news takes to reach everybody. With what comes before it, above pauses of 2 s, and below 5 s in all.
    pub suspicion_ms: u64,
    /// How long a member that has gone is remembered. Phoenix keeps those that are down for 20 minutes.
    pub gone_retention_ms: u64,
    /// Ended lives that are remembered beyond that at most. A guess.
    pub epitaphs_max: usize,
    /// Partitions of the ring: the same on every node.
    pub ring_size: u32,
    /// This node's share of keys, against that of others.
    pub weight: u8,
    /// The zone that this node stands in; empty for none.
    pub zone: String,

    // --- registry
    /// Whether the registry machine runs: it needs members.
    pub registry: bool,
    /// How long a change of this node's registrations waits for others to go out with. A guess:
    /// 20 to 50 ms.
    pub registry_delay_ms: u64,
    /// Time between two frames of changes to one neighbour at least: what bounds their number. A guess, below what a
    /// user notices in seven hops.
    pub registry_relay_ms: u64,
    /// How long a neighbour that gets an owner's changes elsewhere is not told of one that it may have missed. A guess,
    /// above what changes need to go around a lost link.
    pub registry_notice_ms: u64,
    /// Changes that wait for some neighbour at most: the oldest are then left to anti-entropy. A guess.
    pub registry_relay_max: usize,
    /// The schema that judges registrations, by id: their name as key and their metadata as value; zero for none.
    pub registry_schema: u32,
    /// The longest name of a service in bytes. A guess.
    pub registry_name_len_max: usize,
    /// The longest metadata of a service in bytes. A guess.
    pub registry_meta_len_max: usize,
    /// Registrations of one node at most: the same on every node, as others refuse more. A guess.
    pub registrations_max: usize,
    /// Bytes of names and metadata of one node's registrations at most: the same on every node. A guess.
    pub registry_owner_bytes_max: usize,
    /// Nodes whose registrations are held at most. A guess.
    pub registry_owners_max: usize,
    /// How long registrations that cannot be seen are kept: a partition that heals within it moves nothing. From Phoenix
    /// (permdown, 20 minutes).
    pub registry_retention_ms: u64,
    /// Changes remembered for each node at most, to be handed on without its whole set. A guess.
    pub registry_log_max: usize,
    /// Bytes of them at most. A guess.
    pub registry_log_bytes_max: usize,
    /// Missing updates asked for at once at most. A guess.
    pub registry_pulls_max: usize,
    /// Bytes of registrations sent to one neighbour at once at most. A guess.
    pub registry_sync_bytes: usize,
    /// How far ahead of this node's wall clock a life may have begun whose registrations are taken in. A guess: a day,
    /// more than any clock is wrong that somebody looks after.
    pub registry_ahead_ms_max: u64,

    // --- mailboxes
    /// Whether the mailboxes machine runs: it needs members.
    pub mailboxes: bool,
    /// Mailboxes open on this node at most. A guess.
    pub mailboxes_max: usize,
    /// The longest message, question or answer in bytes. A guess.
    pub mail_len_max: usize,
    /// Nodes with which mail is exchanged at most. A guess: as many as links.
    pub mail_peers_max: usize,
    /// Questions of this node that wait for an answer at most. A guess.
    pub calls_max: usize,
    /// The longest time that a question waits for its answer: a longer one is cut to it. A guess: an hour.
    pub call_ms_max: u64,
    /// Questions of others that wait for an answer of this node at most. A guess.
    pub questions_max: usize,
    /// Questions of one node that wait for an answer of this one at most. A guess.
    pub questions_peer_max: usize,
    /// Monitors and ties of this node's mailboxes at most. A guess.
    pub monitors_max: usize,
    /// What one other node and this one may have to tell each other of closed mailboxes at most. A guess.
    pub watches_peer_max: usize,
    /// Mail that came early, before what was sent ahead of it, at most. A guess: 16 MiB of the longest.
    pub mail_early_max: usize,
    /// Mail to one node that it has not said it heard at most: beyond, senders are told to wait. A guess: 16 MiB of the
    /// longest.
    pub mail_unheard_max: usize,
    /// Greatest delay before a node says what mail it has heard. A guess, far below `mail_retry_ms`.
    pub mail_heard_ms: u64,
    /// How long early mail waits for what was sent ahead of it. As long as a crossing's redundant connection lingers:
    /// afterwards nothing comes any more.
    pub mail_gap_ms: u64,
    /// First delay before an order that nobody acknowledged is repeated, and before a node is asked what mail it has
    /// heard; doubled each time. A guess, above a round trip.
    pub mail_retry_ms: u64,
    /// Greatest such delay. A guess.
    pub mail_retry_ms_max: u64,

    // --- placement
    /// Whether the placement machine runs: it needs members.
    pub placement: bool,

    // --- watches
    /// Watches that a node's users keep at most. A guess.
    pub watches_max: usize,

    /// Users' value types.
    #[serde(skip)]
    pub schemas: Vec<Schema>,
    /// The planted bug that is on: only builds with `--cfg rumormill_canary` look at it.
    pub canary: Option<Canary>,
}

/// A replicated map that a node hosts from the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MapConfig {
    /// Its name: the same on every node.
    pub name: String,
    /// The schema it uses, by id; zero for plain bytes.
    #[serde(default)]
    pub schema: u32,
}

/// A planted bug, to prove that the checks would find it. Without `--cfg rumormill_canary` none has an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Canary {
    /// Duplicates are not answered with PRUNE.
    NoPrune,
    /// A request to become neighbours is answered with yes, but the asker is not taken in.
    OneSidedNeighbor,
    /// Of two versions the one that arrives later wins.
    ArrivalOrder,
    /// A missing message is asked for once only.
    GraftOnce,
    /// Stamps from any future are adopted.
    UnboundedDrift,
    /// A session raises the version vector before its operations arrive.
    ContextBeforeData,
    /// A free slot is refilled by one attempt only.
    RefillOnce,
    /// The seen-table forgets at once.
    ForgetfulSeen,

    /// Leases are judged by wall clocks: their end is compared with what the member's clock read.
    VerdictByWallClock,
    /// No sign of life refutes a suspicion.
    NoRefutation,
    /// A neighbour that is silent is suspected before anybody else has tried to reach it.
    NoIndirectConfirmation,
    /// A node takes part before it knows the others.
    EagerBooting,
    /// A node that leaves says so to nobody, and neighbours take it for a lost link.
    LeaveAsDeath,
    /// Members that count leases or partitions differently are taken in.
    RingMismatchAccepted,
    /// A record of an earlier life replaces a later one.
    StaleLifeAccepted,
    /// A change of the ring acquires again what is owned already.
    DoubleAcquire,
    /// Owners depend on the order in which members came.
    TableOrder,
    /// A node's own registration is told twice.
    TwiceRegistered,
    /// Services of the dead vanish without a word.
    SilentDeath,
    /// A node that withdraws its last service tells nobody.
    LostLastRemoval,
    /// Registering again changes nothing.
    FrozenMeta,
    /// Anti-entropy does not hand on what others have registered.
    NeighborsOnly,
    /// Services of a neighbour that goes out of the view vanish.
    ViewChurnDeletes,
    /// What others say of a node's own services is believed, and what is older too.
    ForeignWrites,
    /// What was forgotten is remembered without bound.
    TombstoneHoard,
    /// Mail for an earlier life of a node is delivered to a later one.
    LaterLife,
    /// Mail that waited for a link is sent again when the link comes back.
    Redeliver,
    /// A lost node is not told to those who monitor its mailboxes.
    ForgetfulMonitor,
    /// A call that ran out of time still takes its answer.
    LateAnswer,
    /// Mail is delivered as it comes, whatever was sent ahead of it.
    OutOfOrder,
    /// What a lost link has swallowed is not sent again, and nobody is told.
    ForgetfulOutbox,
    /// A mailbox that closes elsewhere closes none that is tied to it.
    HalfTie,
    /// A member that is dead stays on the ring.
    DeadKeepOwning,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            links_max: 1024,
            link_queue_max: 16,
            dial_backoff_ms: 250,
            dial_backoff_ms_max: 30_000,
            link_idle_ms: 15_000,
            crossing_linger_ms: 5_000,
            malformed_max: 8,

            active_size: 5,
            passive_size: 30,
            arwl: 6,
            prwl: 3,
            shuffle_active: 3,
            shuffle_passive: 4,
            shuffle_ttl: 6,
            shuffle_interval_ms: 5_000,
            passive_age_ms_max: 300_000,
            refill: true,
            neighbor_timeout_ms: 2_000,
            refill_backoff_ms: 250,
            refill_backoff_ms_max: 10_000,
            probe_after_ms: 1_500,
            silent_after_ms: 4_000,
            probe_full_ms: 500,
            join_timeout_ms: 2_000,
            join_rounds_max: 3,
            seed_backoff_ms: 1_000,
            seed_backoff_ms_max: 30_000,
            joins_per_s_max: 20,
            promotion_age_ms: 30_000,
            promotion_whole_ms: 10_000,
            promotion_interval_ms: 60_000,
            bridge_interval_ms: 4_000,
            lost_max: 8,
            lost_retry_ms: 2_000,
            lost_retry_ms_max: 30_000,
            departed_max: 256,

            broadcast: true,
            flood: false,
            message_len_max: 64 * 1024,
            announce_delay_ms: 150,
            graft_delay_ms: 400,
            graft_retry_ms: 250,
            grafts_max: 10,
            graft_late_ms: 2_000,
            optimise_hops: 7,
            shape_interval_ms: 3_000,
            missing_max: 4_096,
            seen_max: 65_536,
            seen_ms: 60_000,
            cache_ms: 30_000,
            cache_bytes_max: 4 << 20,
            announce_queue_max: 4_096,
            reannounce_ms: 10_000,
            topics_max: 1_024,

            clock_drift_ms_max: 1_000,
            clock_mark_ms: 1_000,

            replica: true,
            maps: Vec::new(),
            maps_max: 256,
            key_len_max: 1 << 10,
            value_len_max: 48 << 10,
            entries_max: 100_000,
            writers_max: 65_536,
            pending_max: 64,
            waiting_max: 1_024,
            sync_interval_ms: 10_000,
            sync_spread_ms: 200,
            sync_news_ms: 3_000,
            sync_gap_ms: 1_500,
            sync_sessions_max: 2,
            sync_timeout_ms: 10_000,
            sync_chunk_bytes: 48 << 10,

            members: false,
            heartbeat_ms: 2_000,
            ttl_ms: 7_000,
            heartbeat_rows_per_s: 128,
            exchange_ms: 1_400,
            members_relay_ms: 100,
            members_ahead_ms_max: 86_400_000,
            members_pulls_per_s: 1_000,
            members_news_max: 4_096,
            members_max: 16_384,
            quiet_after_ms: 400,
            confirm_ms: 800,
            confirm_helpers: 3,
            confirmations_max: 64,
            suspicion_ms: 1_700,
            gone_retention_ms: 20 * 60_000,
            epitaphs_max: 4_096,
            ring_size: 64,
            weight: 1,
            zone: String::new(),

            registry: false,
            registry_delay_ms: 30,
            registry_relay_ms: 200,
            registry_notice_ms: 1_000,
            registry_relay_max: 4_096,
            registry_schema: 0,
            registry_name_len_max: 1 << 10,
            registry_meta_len_max: 4 << 10,
            registrations_max: 1_024,
            registry_owner_bytes_max: 256 << 10,
            registry_owners_max: 16_384,
            registry_retention_ms: 20 * 60 * 1_000,
            registry_log_max: 64,
            registry_log_bytes_max: 16 << 10,
            registry_pulls_max: 256,
            registry_sync_bytes: 256 << 10,
            registry_ahead_ms_max: 86_400_000,

            mailboxes: false,
            mailboxes_max: 65_536,
            mail_len_max: 64 << 10,
            mail_peers_max: 1_024,
            calls_max: 4_096,
            call_ms_max: 3_600_000,
            questions_max: 4_096,
            questions_peer_max: 512,
            monitors_max: 16_384,
            watches_peer_max: 1_024,
            mail_early_max: 256,
            mail_unheard_max: 256,
            mail_heard_ms: 200,
            mail_gap_ms: 5_000,
            mail_retry_ms: 2_000,
            mail_retry_ms_max: 30_000,

            placement: false,

            watches_max: 256,

            schemas: Vec::new(),
            canary: None,
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The key at fault.
    pub key: &'static str,
    /// What is wrong with it and what would be right.
    pub what: &'static str,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.what)
    }
}

impl core::error::Error for ConfigError {}

impl Config {
    /// The protocol as the HyParView paper measures it: joins one after another, no repair but in cycles.
    pub fn paper() -> Self {
        Self {
            shuffle_interval_ms: 0,
            passive_age_ms_max: 0,
            refill: false,
            probe_after_ms: 0,
            joins_per_s_max: 0,
            promotion_interval_ms: 0,
            bridge_interval_ms: 0,
            shape_interval_ms: 0,
            lost_max: 0,
            reannounce_ms: 0,
            ..Self::default()
        }
    }

    /// Waits as nodes of one data centre can, a millisecond or two apart: what the tree of broadcasts does not bring is
    /// asked for within a tenth of a second, and the registry's changes wait less for others, at the price of more frames.
    pub fn tune_for_lan(&mut self) {
        (self.announce_delay_ms, self.graft_delay_ms, self.graft_retry_ms) = (20, 60, 100);
        (self.registry_relay_ms, self.registry_notice_ms) = (50, 250);
    }

    /// Leaves nodes alone that have nothing to say, for batteries and for hosts of hundreds of nodes: they exchange heartbeats
    /// every three seconds. The price: a crash is known everywhere after six and a half seconds instead of five, a lease lasts
    /// 48 s, a cluster whose nodes all start anew takes part after a minute instead of some eight seconds, a connection for
    /// streams whose other end is gone ends after 35 s instead of 18, and anti-entropy takes minutes to mend what broadcasts
    /// lost. All nodes of a cluster must be tuned so, as all are refused as members whose leases differ.
    pub fn tune_for_idle(&mut self) {
        (self.heartbeat_ms, self.ttl_ms) = (16_000, 48_000);
        (self.exchange_ms, self.probe_after_ms, self.silent_after_ms) = (3_000, 3_200, 6_200);
        (self.shuffle_interval_ms, self.sync_interval_ms) = (60_000, 60_000);
    }

    /// Tells whether a planted bug is on. Always false in a build without canaries.
    #[inline]
    pub(crate) fn is_planted(&self, canary: Canary) -> bool {
        cfg!(rumormill_canary) && self.canary == Some(canary)
    }
}
