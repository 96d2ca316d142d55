//! What users do meanwhile: broadcasts, writes, services, mail, departures; and the phases of paper mode.

use super::Nodes;
use super::faults::UNNUMBERED;
use super::units::{
    Flag, NodeChoice, Ratio, Seconds, SenderChoice, Share, Text, Texts, millionths, nanos, parts, whole, word,
};
use super::walk::{Fields, Variant, Walk};
use rumormill_core::{Bundle, Class};

/// Bytes of a message or value at most.
pub(super) const SIZE_MAX: i64 = 1 << 20;
/// Keys of a workload at most.
const KEYS_MAX: i64 = 10_000_000;
/// Messages or cycles of one phase at most.
const REPEAT_MAX: i64 = 1_000_000;

/// Services of one node, and names of services, of a workload at most.
const SERVICES_MAX: i64 = 100_000;
/// Mailboxes of one node, and monitors of one mailbox, of a workload at most.
pub(super) const MAILBOXES_MAX: i64 = 1_000;
/// Messages of a bundle at most.
const BUNDLE_MAX: i64 = Bundle::COUNT_MAX as i64;
/// The longest that a call may wait, in milliseconds.
const TIMEOUT_MS_MAX: i64 = 3_600_000;

/// Something that users do for a while.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    /// Its number among the workloads of its kind: part of the address of each of its random choices, so that they stay
    /// when others are dropped. Given by [`Scenario::workload`](super::Scenario::workload) or by the order in the file.
    pub id: u32,
    /// When it begins, in nanoseconds after bootstrap.
    pub from_ns: u64,
    /// When it ends, in nanoseconds after bootstrap.
    pub to_ns: u64,
    /// What it is.
    pub kind: WorkloadKind,
}

/// Who publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Senders {
    /// Any node, drawn for each message.
    Random,
    /// So many nodes, drawn once.
    Few(u32),
}

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watched {
    /// The cluster's members.
    Members,
    /// Visible services.
    Services,
    /// The partitions that the watching node owns.
    Partitions,
}

/// Mail between mailboxes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailLoad {
    /// Mailboxes that each node opens when the workload begins, and again whenever it restarts.
    pub per_node: u32,
    /// Messages a second in the whole cluster, in millionths.
    pub send_ppm: u64,
    /// Messages that are sent as one, each time.
    pub bundle: u32,
    /// Questions a second in the whole cluster, in millionths.
    pub call_ppm: u64,
    /// Mailboxes a second that are closed and opened anew, in millionths.
    pub close_ppm: u64,
    /// Random mailboxes that each mailbox monitors.
    pub monitors: u32,
    /// The part of the mailboxes that are tied to another one, in parts in a million.
    pub ties_ppm: u32,
    /// How long a question waits for its answer, in milliseconds.
    pub timeout_ms: u64,
    /// Bytes of each message and question: enough to tell them apart.
    pub size: u32,
    /// The part that goes to the address that a mailbox had before its node restarted or it was opened anew, if it had
    /// one; in parts in a million.
    pub stale_ppm: u32,
    /// The part of the questions that nobody answers, in parts in a million.
    pub silent_ppm: u32,
}

/// What users do.
#[derive(Clone, Debug, PartialEq)]
pub enum WorkloadKind {
    /// Messages are broadcast; every node hears the topic.
    Broadcast {
        /// The topic's name.
        topic: String,
        /// Messages a second in the whole cluster, in millionths.
        rate_ppm: u64,
        /// Bytes of each message.
        size: u32,
        /// Who publishes.
        senders: Senders,
        /// How the messages are treated when links are slow.
        class: Class,
    },
    /// Keys of a map are written by random nodes; every node hosts the map.
    MapPut {
        /// The map's name.
        map: String,
        /// How many keys there are; each write takes one at random.
        keys: u32,
        /// Writes a second in the whole cluster, in millionths.
        rate_ppm: u64,
        /// Bytes of each value.
        size: u32,
        /// The part of the writes that remove their key, in parts in a million.
        removes_ppm: u32,
    },
    /// Nodes register services, each service or each node at a time of its own.
    Register {
        /// Services on each node.
        per_node: u32,
        /// How many names there are; each service takes one at random.
        names: u32,
        /// Bytes that each service says of itself.
        meta_bytes: u32,
        /// Which nodes.
        nodes: Nodes,
        /// Whether each name shall have one instance in the whole cluster.
        unique: bool,
        /// Whether names are bytes that are no text.
        binary: bool,
        /// Whether a node registers them again when it restarts, as services that start with it do.
        again: bool,
        /// Whether a node registers all of them in one instant, as one does that offers what it has when it starts.
        together: bool,
    },
    /// Services of a register workload say something else of themselves, by registering again.
    Update {
        /// The id of the register workload.
        of: u32,
        /// Updates a second in the whole cluster, in millionths.
        rate_ppm: u64,
        /// Bytes that they say of themselves.
        meta_bytes: u32,
    },
    /// Services of a register workload are withdrawn; an update offers them again.
    Unregister {
        /// The id of the register workload.
        of: u32,
        /// Withdrawals a second in the whole cluster, in millionths.
        rate_ppm: u64,
    },
    /// Random nodes are asked where a service of a register workload is.
    Lookup {
        /// The id of the register workload.
        of: u32,
        /// Questions a second in the whole cluster, in millionths.
        rate_ppm: u64,
    },
    /// Nodes watch something from their start on, and again after each restart.
    Watch {
        /// What.
        what: Watched,
        /// How the names of the services begin; none for all.
        prefix: Option<String>,
        /// Which nodes.
        nodes: Nodes,
    },
    /// Mailboxes are opened, and messages and questions sent between random ones; questions are answered at once.
    Mail(MailLoad),
    /// Nodes' users ask something of the application there.
    Request {
        /// What they ask, in the application's own words; each request is one of these, at random.
        lines: Vec<String>,
        /// Requests a second in the whole cluster, in millionths.
        rate_ppm: u64,
        /// Which nodes.
        nodes: Nodes,
    },
    /// Nodes leave the cluster, each at its own time.
    Leave {
        /// Which.
        nodes: Nodes,
        /// When each joins again, in nanoseconds after it left; none for never.
        back_after_ns: Option<u64>,
    },
}

impl WorkloadKind {
    /// Names the kind as scenario files do.
    pub fn word(&self) -> &'static str {
        self.key()
    }
}

impl Workload {
    fn new(kind: WorkloadKind) -> Self {
        Self { id: UNNUMBERED, from_ns: 0, to_ns: 0, kind }
    }

    /// Broadcasts so many messages a second of 256 bytes, from random nodes.
    pub fn broadcast(topic: &str, per_s: impl Into<f64>) -> Self {
        Self::new(WorkloadKind::Broadcast {
            topic: topic.into(),
            rate_ppm: millionths(per_s.into()),
            size: 256,
            senders: Senders::Random,
            class: Class::Normal,
        })
    }

    /// Writes so many random keys of a map a second, with values of 32 bytes.
    pub fn map_put(map: &str, keys: u32, per_s: impl Into<f64>) -> Self {
        let rate_ppm = millionths(per_s.into());
        Self::new(WorkloadKind::MapPut { map: map.into(), keys, rate_ppm, size: 32, removes_ppm: 0 })
    }

    /// Registers so many services on every node, under so many names, with 32 bytes about each.
    pub fn register(per_node: u32, names: u32) -> Self {
        let (meta_bytes, nodes) = (32, Nodes::All);
        let (unique, binary, again, together) = (false, false, false, false);
        Self::new(WorkloadKind::Register {
            per_node,
            names,
            meta_bytes,
            nodes,
            unique,
            binary,
            again,
            together,
        })
    }

    /// Lets so many services a second of the first register workload say something else of themselves.
    pub fn update(per_s: impl Into<f64>) -> Self {
        Self::new(WorkloadKind::Update { of: 0, rate_ppm: millionths(per_s.into()), meta_bytes: 32 })
    }

    /// Withdraws so many services a second of the first register workload.
    pub fn unregister(per_s: impl Into<f64>) -> Self {
        Self::new(WorkloadKind::Unregister { of: 0, rate_ppm: millionths(per_s.into()) })
    }

    /// Asks so many times a second where a service of the first register workload is.
    pub fn lookup(per_s: impl Into<f64>) -> Self {
        Self::new(WorkloadKind::Lookup { of: 0, rate_ppm: millionths(per_s.into()) })
    }

    /// Lets every node watch something.
    pub fn watch(what: Watched) -> Self {
        Self::new(WorkloadKind::Watch { what, prefix: None, nodes: Nodes::All })
    }

    /// Opens so many mailboxes on each node and sends so many messages and questions a second between them.
    pub fn mail(per_node: u32, sends_per_s: impl Into<f64>, calls_per_s: impl Into<f64>) -> Self {
        Self::new(WorkloadKind::Mail(MailLoad {
            per_node,
            send_ppm: millionths(sends_per_s.into()),
            bundle: 1,
            call_ppm: millionths(calls_per_s.into()),
            close_ppm: 0,
            monitors: 0,
            ties_ppm: 0,
            timeout_ms: 5_000,
            size: 64,
            stale_ppm: 0,
            silent_ppm: 0,
        }))
    }

    /// Asks the applications of random nodes so many times a second for one of these things.
    pub fn request(lines: &[&str], per_s: impl Into<f64>) -> Self {
        let lines = lines.iter().map(|line| String::from(*line)).collect();
        Self::new(WorkloadKind::Request { lines, rate_ppm: millionths(per_s.into()), nodes: Nodes::All })
    }

    /// Limits a registration, a request, a watch or a departure to some nodes. Other workloads stay as they are.
    #[must_use]
    pub fn on(mut self, only: impl Into<Nodes>) -> Self {
        if let WorkloadKind::Register { nodes, .. }
        | WorkloadKind::Watch { nodes, .. }
        | WorkloadKind::Request { nodes, .. }
        | WorkloadKind::Leave { nodes, .. } = &mut self.kind
        {
            *nodes = only.into();
        }
        self
    }

    /// Registers services again whenever their node restarts. Other workloads stay as they are.
    #[must_use]
    pub fn again(mut self) -> Self {
        if let WorkloadKind::Register { again, .. } = &mut self.kind {
            *again = true;
        }
        self
    }

    /// Registers all services of a node in one instant. Other workloads stay as they are.
    #[must_use]
    pub fn together(mut self) -> Self {
        if let WorkloadKind::Register { together, .. } = &mut self.kind {
            *together = true;
        }
        self
    }

    /// Watches services only whose names begin so. Other workloads stay as they are.
    #[must_use]
    pub fn beginning_with(mut self, beginning: &str) -> Self {
        if let WorkloadKind::Watch { prefix, .. } = &mut self.kind {
            *prefix = Some(beginning.into());
        }
        self
    }

    /// Lets each mailbox monitor so many others. Other workloads stay as they are.
    #[must_use]
    pub fn monitoring(mut self, count: u32) -> Self {
        if let WorkloadKind::Mail(mail) = &mut self.kind {
            mail.monitors = count;
        }
        self
    }

    /// Ties so large a part of the mailboxes to another one. Other workloads stay as they are.
    #[must_use]
    pub fn tying(mut self, share: f64) -> Self {
        if let WorkloadKind::Mail(mail) = &mut self.kind {
            mail.ties_ppm = millionths(share) as u32;
        }
        self
    }

    /// Lets nodes leave for good.
    pub fn leave(nodes: impl Into<Nodes>) -> Self {
        Self::new(WorkloadKind::Leave { nodes: nodes.into(), back_after_ns: None })
    }

    /// States the bytes of each message or value, or of what services say of themselves. Workloads without any stay as
    /// they are.
    #[must_use]
    pub fn sized(mut self, bytes: u32) -> Self {
        match &mut self.kind {
            WorkloadKind::Broadcast { size, .. } | WorkloadKind::MapPut { size, .. } => *size = bytes,
            WorkloadKind::Register { meta_bytes, .. } | WorkloadKind::Update { meta_bytes, .. } => {
                *meta_bytes = bytes;
            }
            WorkloadKind::Mail(mail) => mail.size = bytes,
            WorkloadKind::Unregister { .. }
            | WorkloadKind::Lookup { .. }
            | WorkloadKind::Watch { .. }
            | WorkloadKind::Request { .. }
            | WorkloadKind::Leave { .. } => {}
        }
        self
    }

    /// Lets so many nodes publish all messages. Workloads other than a broadcast stay as they are.
    #[must_use]
    pub fn from_few(mut self, count: u32) -> Self {
        if let WorkloadKind::Broadcast { senders, .. } = &mut self.kind {
            *senders = Senders::Few(count);
        }
        self
    }

    /// Makes a share of a map's writes removals. Other workloads stay as they are.
    #[must_use]
    pub fn removing(mut self, share: f64) -> Self {
        if let WorkloadKind::MapPut { removes_ppm, .. } = &mut self.kind {
            *removes_ppm = parts(share);
        }
        self
    }

    /// Lets nodes that left come back after so many seconds. Other workloads stay as they are.
    #[must_use]
    pub fn back_after(mut self, seconds: impl Into<f64>) -> Self {
        if let WorkloadKind::Leave { back_after_ns, .. } = &mut self.kind {
            *back_after_ns = Some(nanos(seconds.into()));
        }
        self
    }

    /// Tells how long a departed node stays away.
    pub(super) fn tail_ns(&self) -> u64 {
        match &self.kind {
            WorkloadKind::Leave { back_after_ns, .. } => back_after_ns.unwrap_or(0),
            _ => 0,
        }
    }

    /// Tells whether the workload stands from the first start on, and has no times.
    pub(super) fn is_standing(&self) -> bool {
        matches!(self.kind, WorkloadKind::Watch { .. })
    }
}

const PER_S: Ratio = Ratio { what: "a rate in a second" };

impl Walk for Workload {
    fn walk<F: Fields>(&mut self, f: &mut F) {
        f.defaulted("id", whole(0, i64::from(u32::MAX)), &mut self.id);
        f.choose(&mut self.kind);
        if !self.is_standing() {
            f.required("from_s", Seconds, &mut self.from_ns);
            f.required("to_s", Seconds, &mut self.to_ns);
        }
        self.kind.walk(f);
    }
}

impl Walk for WorkloadKind {
    fn walk<F: Fields>(&mut self, f: &mut F) {
        let key = self.key();
        match self {
            WorkloadKind::Broadcast { topic, rate_ppm, size, senders, class } => f.table(key, |f| {
                f.required("topic", Text, topic);
                f.required("per_s", PER_S, rate_ppm);
                f.defaulted("size", whole(0, SIZE_MAX), size);
                f.defaulted("senders", SenderChoice, senders);
                f.defaulted("class", word(), class);
            }),
            WorkloadKind::MapPut { map, keys, rate_ppm, size, removes_ppm } => f.table(key, |f| {
                f.required("map", Text, map);
                f.required("keys", whole(1, KEYS_MAX), keys);
                f.required("per_s", PER_S, rate_ppm);
                f.defaulted("size", whole(0, SIZE_MAX), size);
                f.defaulted("removes", Share, removes_ppm);
            }),
            WorkloadKind::Register {
                per_node,
                names,
                meta_bytes,
                nodes,
                unique,
                binary,
                again,
                together,
            } => {
                f.table(key, |f| {
                    f.required("per_node", whole(1, SERVICES_MAX), per_node);
                    f.defaulted("names", whole(1, SERVICES_MAX), names);
                    f.defaulted("meta_bytes", whole(0, SIZE_MAX), meta_bytes);
                    f.defaulted("nodes", NodeChoice, nodes);
                    f.defaulted("unique", Flag, unique);
                    f.defaulted("binary", Flag, binary);
                    f.defaulted("again", Flag, again);
                    f.defaulted("together", Flag, together);
                });
            }
            WorkloadKind::Update { of, rate_ppm, meta_bytes } => f.table(key, |f| {
                f.required("per_s", PER_S, rate_ppm);
                f.defaulted("meta_bytes", whole(0, SIZE_MAX), meta_bytes);
                f.defaulted("of", whole(0, i64::from(u32::MAX)), of);
            }),
            WorkloadKind::Unregister { of, rate_ppm } | WorkloadKind::Lookup { of, rate_ppm } => {
                f.table(key, |f| {
                    f.required("per_s", PER_S, rate_ppm);
                    f.defaulted("of", whole(0, i64::from(u32::MAX)), of);
                });
            }
            WorkloadKind::Watch { what, prefix, nodes } => f.short_table(key, "what", |f| {
                f.required("what", word(), what);
                f.optional("prefix", Text, prefix);
                f.defaulted("nodes", NodeChoice, nodes);
            }),
            WorkloadKind::Mail(mail) => f.table(key, |f| mail.walk(f)),
            WorkloadKind::Request { lines, rate_ppm, nodes } => f.table(key, |f| {
                f.required("lines", Texts, lines);
                f.required("per_s", PER_S, rate_ppm);
                f.defaulted("nodes", NodeChoice, nodes);
            }),
            WorkloadKind::Leave { nodes, back_after_ns } => f.short_table(key, "nodes", |f| {
                f.required("nodes", NodeChoice, nodes);
                f.optional("back_after_s", Seconds, back_after_ns);
            }),
        }
    }
}

impl Variant for WorkloadKind {
    const WHAT: &'static str = "workload";

    fn all() -> Vec<(&'static str, Self)> {
        let workloads = [
            ("broadcast", Workload::broadcast("", 0)),
            ("map_put", Workload::map_put("", 1, 0)),
            ("register", Workload::register(1, 100)),
            ("update", Workload::update(0)),
            ("unregister", Workload::unregister(0)),
            ("lookup", Workload::lookup(0)),
            ("watch", Workload::watch(Watched::Members)),
            ("mail", Workload::mail(1, 0, 0)),
            ("request", Workload::request(&[], 0)),
            ("leave", Workload::leave(Nodes::All)),
        ];
        workloads.into_iter().map(|(word, workload)| (word, workload.kind)).collect()
    }
}

impl Walk for MailLoad {
    fn walk<F: Fields>(&mut self, f: &mut F) {
        f.required("mailboxes_per_node", whole(1, MAILBOXES_MAX), &mut self.per_node);
        f.defaulted("send_per_s", PER_S, &mut self.send_ppm);
        f.defaulted("bundle", whole(1, BUNDLE_MAX), &mut self.bundle);
        f.defaulted("call_per_s", PER_S, &mut self.call_ppm);
        f.defaulted("close_per_s", PER_S, &mut self.close_ppm);
        f.defaulted("monitors", whole(0, MAILBOXES_MAX), &mut self.monitors);
        f.defaulted("ties", Share, &mut self.ties_ppm);
        f.defaulted("timeout_ms", whole(1, TIMEOUT_MS_MAX), &mut self.timeout_ms);
        f.defaulted("size", whole(16, SIZE_MAX), &mut self.size);
        f.defaulted("stale", Share, &mut self.stale_ppm);
        f.defaulted("silent", Share, &mut self.silent_ppm);
    }
}

impl Variant for Watched {
    const WHAT: &'static str = "thing to watch";

    fn all() -> Vec<(&'static str, Self)> {
        vec![("members", Self::Members), ("services", Self::Services), ("partitions", Self::Partitions)]
    }
}

impl Variant for Class {
    const WHAT: &'static str = "class";

    fn all() -> Vec<(&'static str, Self)> {
        vec![("urgent", Self::Urgent), ("normal", Self::Normal), ("bulk", Self::Bulk)]
    }
}

/// How nodes join in paper mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joining {
    /// Each waits until the one before is in and the network is quiet.
    OneByOne,
    /// All in one instant.
    AtOnce,
}

/// One phase of paper mode: phases follow one another, each when the network is quiet after the one before.
#[derive(Clone, Debug, PartialEq)]
pub enum Phase {
    /// All nodes join through the contacts.
    Join(Joining),
    /// Every living node takes a membership step, in one instant; so many times.
    Cycles(u32),
    /// Nodes die in one instant, for good; a share is of the living.
    Kill(Nodes),
    /// Messages are broadcast one after another.
    Messages {
        /// How many.
        count: u32,
        /// Bytes of each.
        size: u32,
        /// Who publishes, of the living.
        senders: Senders,
        /// From one to the next, in nanoseconds; none waits until each has run its course.
        every_ns: Option<u64>,
    },
    /// Nothing is done until the network is quiet.
    Quiesce {
        /// The longest wait, in nanoseconds.
        max_ns: u64,
    },
}

impl Phase {
    /// Broadcasts messages of 256 bytes from random nodes, each when the one before has run its course.
    pub fn messages(count: u32) -> Self {
        Self::Messages { count, size: 256, senders: Senders::Random, every_ns: None }
    }
}

impl Walk for Phase {
    fn walk<F: Fields>(&mut self, f: &mut F) {
        f.choose(self);
        let key = self.key();
        match self {
            Self::Join(joining) => f.required(key, word(), joining),
            Self::Cycles(count) => f.required(key, whole(1, REPEAT_MAX), count),
            Self::Kill(nodes) => f.required(key, NodeChoice, nodes),
            Self::Messages { count, size, senders, every_ns } => f.short_table(key, "count", |f| {
                f.required("count", whole(1, REPEAT_MAX), count);
                f.defaulted("size", whole(0, SIZE_MAX), size);
                f.defaulted("senders", SenderChoice, senders);
                f.optional("every_s", Seconds, every_ns);
            }),
            Self::Quiesce { max_ns } => f.required(key, Seconds, max_ns),
        }
    }
}

impl Variant for Phase {
    const WHAT: &'static str = "phase";

    fn all() -> Vec<(&'static str, Self)> {
        vec![
            ("join", Self::Join(Joining::OneByOne)),
            ("cycles", Self::Cycles(1)),
            ("kill", Self::Kill(Nodes::All)),
            ("messages", Self::messages(1)),
            ("quiesce_s", Self::Quiesce { max_ns: 0 }),
        ]
    }
}

impl Variant for Joining {
    const WHAT: &'static str = "way to join";

    fn all() -> Vec<(&'static str, Self)> {
        vec![("one-by-one", Self::OneByOne), ("at-once", Self::AtOnce)]
    }
}
