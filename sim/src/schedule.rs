//! The explicit schedule that a scenario and a seed expand to: plain data, in virtual time, with every choice made.
//!
//! The world only carries it out. Dropping a step never changes what another step does.

use bytes::Bytes;
use rumormill_core::{Command, Config};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Everything that will happen to a world from outside.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// How many nodes there are, running or not: they are numbered from zero.
    pub nodes: u32,
    /// The configuration of every node that has none of its own.
    pub config: Arc<Config>,
    /// The nodes with a configuration of their own, in rising order.
    pub configs: Vec<(u32, Arc<Config>)>,
    /// The network between them.
    pub network: NetworkModel,
    /// What the clocks of each node do from the start; none for clocks without fault.
    pub clocks: Vec<ClockChange>,
    /// The steps, ordered by time; steps of one time are taken in this order.
    pub steps: Vec<Step>,
    /// When bootstrap is over, in nanoseconds of schedule time.
    pub bootstrap_end_ns: u64,
    /// When the run ends, in nanoseconds of schedule time.
    pub end_ns: u64,
}

impl Schedule {
    /// Shows the configuration of a node.
    pub fn config_of(&self, node: u32) -> &Arc<Config> {
        let own = self.configs.binary_search_by_key(&node, |(number, _)| *number);
        own.map_or(&self.config, |index| &self.configs[index].1)
    }
}

/// One step of a schedule.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// When, in nanoseconds since the world began (a [`Action::Quiesce`] moves all later steps).
    pub at_ns: u64,
    /// What.
    pub action: Action,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Boots a node: for the first time, or again after a crash, with what its disk still holds.
    Start {
        /// Which node.
        node: u32,
    },
    /// Gives a running node a command; a node that is down lets it pass, counted.
    Command {
        /// Which node.
        node: u32,
        /// The command. A `Join` here names its contacts by number.
        command: Order,
    },
    /// Kills a node in mid-step: nothing is flushed, nobody is told.
    Crash {
        /// The fault it belongs to, for its receipt.
        fault: u32,
        /// Which node.
        node: u32,
        /// What becomes of its disk.
        disk: DiskFate,
    },
    /// Boots a node that a fault crashed or held back, and has it join through these contacts.
    Restart {
        /// The fault it belongs to, for its receipt.
        fault: u32,
        /// Which node.
        node: u32,
        /// Contacts by number.
        contacts: Vec<u32>,
    },
    /// Begins a fault that lasts.
    Begin {
        /// The fault's number.
        fault: u32,
        /// What it does while it lasts.
        effect: FaultEffect,
    },
    /// Ends a fault that lasts.
    End {
        /// The fault's number.
        fault: u32,
    },
    /// Runs until no frame is under way and nothing but periodic timers is left, at most for so long; the later
    /// steps wait.
    Quiesce {
        /// The longest wait, in nanoseconds.
        max_ns: u64,
    },
}

/// A command of a schedule: the core's own, or one whose nodes and mailboxes are numbers.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// Join through these nodes.
    Join {
        /// Contacts by number; none makes the node the first.
        contacts: Vec<u32>,
    },
    /// Something with mailboxes.
    Mail(MailOrder),
    /// Ask where a service is: a read, and no command of the core.
    Lookup {
        /// The service.
        name: Bytes,
    },
    /// Ask something of the node's application.
    Request {
        /// What, in the application's own words.
        line: Arc<str>,
    },
    /// Any other command.
    Core(Command),
}

/// A command on mailboxes. Addresses are known only as the run goes, so each of a node's mailboxes has a place.
#[derive(Clone, Debug, PartialEq)]
pub enum MailOrder {
    /// Open a mailbox in this place.
    Open {
        /// The place.
        place: u32,
    },
    /// Close the mailbox in this place.
    Close {
        /// The place.
        place: u32,
    },
    /// Send a message, or several as one.
    Send {
        /// From the mailbox in this place.
        from: u32,
        /// To whom.
        to: Recipient,
        /// The messages.
        messages: Vec<Bytes>,
    },
    /// Ask a question. The world answers it at once, unless its first byte is zero.
    Call {
        /// From the mailbox in this place.
        from: u32,
        /// Whom.
        to: Recipient,
        /// The question.
        payload: Bytes,
        /// How long to wait, in milliseconds.
        timeout_ms: u64,
    },
    /// Be told when a mailbox is gone.
    Monitor {
        /// For the mailbox in this place.
        place: u32,
        /// Which mailbox.
        of: Recipient,
    },
    /// Tie two mailboxes: each closes when the other does.
    Tie {
        /// The mailbox in this place.
        place: u32,
        /// The other one.
        with: Recipient,
    },
}

/// A mailbox anywhere, by node and place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// The node.
    pub node: u32,
    /// The place.
    pub place: u32,
    /// Whether the address is meant that the place had before the present one, if there was one.
    pub is_stale: bool,
}

/// What becomes of a crashed node's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskFate {
    /// What was durable stays.
    Kept,
    /// The node comes back with nothing.
    Lost,
}

/// Which nodes a fault touches: explicit numbers, in rising order.
pub type NodeSet = Vec<u32>;

/// What a lasting fault does.
#[derive(Clone, Debug, PartialEq)]
pub enum FaultEffect {
    /// Packets between some groups vanish.
    Cut {
        /// The group of each node.
        group: Vec<u8>,
        /// Pairs (from, to) of groups between which nothing passes.
        blocked: Vec<(u8, u8)>,
    },
    /// Packets to and from these nodes are lost, doubled or held back, each with a chance in a million.
    Noise {
        /// The nodes; empty for all.
        nodes: NodeSet,
        /// Whether only packets from these nodes suffer.
        egress: bool,
        /// Chance that a packet is lost.
        loss_ppm: u32,
        /// Chance that a packet comes twice.
        duplicate_ppm: u32,
        /// Chance that a packet is overtaken by later ones.
        reorder_ppm: u32,
    },
    /// Packets to and from these nodes take longer.
    Delay {
        /// The nodes; empty for all.
        nodes: NodeSet,
        /// Added to each one-way latency, in nanoseconds.
        extra_ns: u64,
    },
    /// These nodes do nothing; what arrives waits.
    Pause {
        /// The nodes.
        nodes: NodeSet,
    },
    /// Each input takes these nodes a while.
    Slow {
        /// The nodes.
        nodes: NodeSet,
        /// Time for each input, in nanoseconds.
        per_input_ns: u64,
    },
    /// The clocks of these nodes misbehave; their wall clocks are right again when it ends.
    Clock(Vec<ClockChange>),
}

/// How one node's clocks differ from true time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockChange {
    /// Which node.
    pub node: u32,
    /// Offset of its wall clock, in milliseconds.
    pub offset_ms: i64,
    /// How much faster both of its clocks run, in parts per million.
    pub drift_ppm: i32,
    /// Whether its wall clock stands still.
    pub frozen: bool,
}

/// The network between the nodes.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkModel {
    /// Whose language it speaks.
    pub profile: Profile,
    /// One-way latencies.
    pub latency: LatencyModel,
    /// Chance in a million that any packet is lost.
    pub loss_ppm: u32,
    /// Bandwidth of each node's uplink in bits a second; zero for unlimited.
    pub uplink_bps: u64,
    /// Nothing heard for so long ends a connection, in nanoseconds.
    pub idle_timeout_ns: u64,
    /// A dial unanswered for so long has failed, in nanoseconds.
    pub handshake_timeout_ns: u64,
    /// Bytes under way on one channel above which the sender is told that it is full.
    pub high_water_bytes: u64,
    /// Time that a write to disk takes, in nanoseconds.
    pub disk_ns: u64,
}

/// How close to a real transport the network is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// No handshake, no loss, exactly the given latencies; a crash breaks connections at once.
    Ideal,
    /// Handshakes, retransmission, idle timeouts, resets.
    Quic,
}

/// One-way latency between two nodes: a property of the pair, derived from a hash of the two ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LatencyModel {
    /// The same for all pairs, in nanoseconds.
    Constant(u64),
    /// Uniform between two bounds, in nanoseconds.
    Uniform(u64, u64),
    /// Most pairs near the median, few far above: median and 99th percentile, in nanoseconds.
    LongTail(u64, u64),
    /// Nodes in five regions of the earth.
    FiveRegions,
}
