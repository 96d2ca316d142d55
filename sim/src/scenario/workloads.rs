//! What users do meanwhile: broadcasts, writes, departures; and the phases of paper mode.

use super::Nodes;
use super::faults::UNNUMBERED;
use super::units::{
    NodeChoice, Ratio, Seconds, SenderChoice, Share, Text, millionths, nanos, parts, whole, word,
};
use super::walk::{Fields, Variant, Walk};
use rumormill_core::Class;

/// Bytes of a message or value at most.
pub(super) const SIZE_MAX: i64 = 1 << 20;
/// Keys of a workload at most.
const KEYS_MAX: i64 = 10_000_000;
/// Messages or cycles of one phase at most.
const REPEAT_MAX: i64 = 1_000_000;

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

    /// Lets nodes leave for good.
    pub fn leave(nodes: impl Into<Nodes>) -> Self {
        Self::new(WorkloadKind::Leave { nodes: nodes.into(), back_after_ns: None })
    }

    /// States the bytes of each message or value. A departure has none and stays as it is.
    #[must_use]
    pub fn sized(mut self, bytes: u32) -> Self {
        match &mut self.kind {
            WorkloadKind::Broadcast { size, .. } | WorkloadKind::MapPut { size, .. } => *size = bytes,
            WorkloadKind::Leave { .. } => {}
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
            WorkloadKind::Broadcast { .. } | WorkloadKind::MapPut { .. } => 0,
        }
    }
}

const PER_S: Ratio = Ratio { what: "a rate in a second" };

impl Walk for Workload {
    fn walk<F: Fields>(&mut self, f: &mut F) {
        f.defaulted("id", whole(0, i64::from(u32::MAX)), &mut self.id);
        f.required("from_s", Seconds, &mut self.from_ns);
        f.required("to_s", Seconds, &mut self.to_ns);
        f.choose(&mut self.kind);
        let key = self.kind.key();
        match &mut self.kind {
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
        let workloads =
            [Workload::broadcast("", 0), Workload::map_put("", 1, 0), Workload::leave(Nodes::All)];
        ["broadcast", "map_put", "leave"].into_iter().zip(workloads.map(|workload| workload.kind)).collect()
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
