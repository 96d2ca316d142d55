//! What goes wrong, when, and for how long.

use super::units::{
    Flag, MILLI, Millis, NodeChoice, SECOND, Seconds, Share, Shares, nanos, parts, whole, word,
};
use super::walk::{Fields, Variant, Walk};
use crate::schedule::DiskFate;

/// The number of a fault that has not been given one yet.
pub(super) const UNNUMBERED: u32 = u32::MAX;

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// Its number among the faults of its kind: part of the address of each of its random choices, so that they stay
    /// when others are dropped. Given by [`Scenario::fault`](super::Scenario::fault) or by the order in the file.
    pub id: u32,
    /// When it begins, in nanoseconds after bootstrap.
    pub at_ns: u64,
    /// How long it lasts, in nanoseconds; none for what happens in an instant or has its own end.
    pub for_ns: Option<u64>,
    /// What it is.
    pub kind: FaultKind,
}

/// Which nodes are touched. Shares and counts are drawn for each fault by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nodes {
    /// Every node.
    All,
    /// A share of all nodes, in parts in a million; at least one node.
    Share(u32),
    /// That many nodes.
    Count(u32),
    /// These nodes, in rising order.
    These(Vec<u32>),
}

impl From<f64> for Nodes {
    /// A share from 0 to 1.
    fn from(share: f64) -> Self {
        Self::Share(parts(share))
    }
}

impl From<u32> for Nodes {
    fn from(count: u32) -> Self {
        Self::Count(count)
    }
}

impl<const N: usize> From<[u32; N]> for Nodes {
    fn from(numbers: [u32; N]) -> Self {
        let mut numbers = Vec::from(numbers);
        numbers.sort_unstable();
        numbers.dedup();
        Self::These(numbers)
    }
}

/// How a partition divides the nodes.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// Groups that cannot reach each other, as shares in parts in a million.
    Split(Vec<u32>),
    /// These nodes reach nobody, not even each other.
    Isolate(Nodes),
    /// What these nodes send does not reach the others; what the others send reaches them.
    OneWay(Nodes),
    /// Two halves that only that many nodes can both reach.
    Bridge(u32),
}

/// A partition that comes and goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flapping {
    /// From one cut to the next, in nanoseconds.
    pub every_ns: u64,
    /// How long each cut lasts, in nanoseconds.
    pub down_ns: u64,
}

/// How long nodes stay between two failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// Exponential: a failure is as likely at any time.
    Exponential,
    /// Pareto with exponent 2: most leave soon, some stay for very long.
    Pareto,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq)]
pub enum FaultKind {
    /// Some nodes cannot reach some others.
    Partition {
        /// Who cannot reach whom.
        shape: Shape,
        /// Whether it comes and goes.
        flapping: Option<Flapping>,
    },
    /// Packets are lost.
    Loss {
        /// Chance of each packet, in parts in a million.
        rate_ppm: u32,
        /// Whose packets.
        nodes: Nodes,
        /// Whether only what these nodes send is lost; else both directions.
        egress: bool,
    },
    /// Packets come twice.
    Duplicate {
        /// Chance of each packet, in parts in a million.
        rate_ppm: u32,
        /// Whose packets, in both directions.
        nodes: Nodes,
    },
    /// Packets are overtaken by later ones.
    Reorder {
        /// Chance of each packet, in parts in a million.
        rate_ppm: u32,
        /// Whose packets, in both directions.
        nodes: Nodes,
    },
    /// Packets take longer.
    Latency {
        /// Added to each one-way latency, in nanoseconds.
        extra_ns: u64,
        /// Whose packets, in both directions.
        nodes: Nodes,
    },
    /// Nodes die at once, and may come back.
    Crash {
        /// Which.
        nodes: Nodes,
        /// What becomes of their disks.
        disk: DiskFate,
        /// When they come back, in nanoseconds after the crash; none for never.
        restart_after_ns: Option<u64>,
    },
    /// Nodes are restarted one after another, in the order of their numbers.
    RollingRestart {
        /// Which.
        nodes: Nodes,
        /// What becomes of their disks.
        disk: DiskFate,
        /// From one restart to the next, in nanoseconds.
        every_ns: u64,
        /// How long each node is down, in nanoseconds.
        down_ns: u64,
    },
    /// Nodes die at once, for good.
    MassFailure {
        /// Which.
        nodes: Nodes,
    },
    /// Nodes do nothing for a while; what arrives waits.
    Pause {
        /// Which.
        nodes: Nodes,
    },
    /// Nodes take a while over each input.
    Slow {
        /// Which.
        nodes: Nodes,
        /// Time for each input, in nanoseconds.
        per_input_ns: u64,
    },
    /// Nodes crash and come back again and again; all are back when it ends.
    Churn {
        /// Which.
        nodes: Nodes,
        /// Mean time up, in nanoseconds.
        session_ns: u64,
        /// Mean time down, in nanoseconds.
        down_ns: u64,
        /// How both times are distributed.
        distribution: Distribution,
        /// What becomes of their disks.
        disk: DiskFate,
    },
    /// Nodes that took no part in bootstrap join in one instant, through the contacts.
    JoinStorm {
        /// Which; never a contact. A node of several storms comes with the first.
        nodes: Nodes,
    },
    /// Clocks go wrong, on top of what `[clocks]` says; wall clocks are right again when it ends.
    Clock {
        /// Whose.
        nodes: Nodes,
        /// Each wall clock is set off by up to so many milliseconds, either way.
        offset_ms: u64,
        /// Every wall clock jumps by so many milliseconds.
        step_ms: i64,
        /// Each node's clocks run faster or slower by up to so many parts in a million.
        drift_ppm: u32,
        /// Whether the wall clocks stand still.
        freeze: bool,
    },
}

impl FaultKind {
    /// Names the kind as scenario files do.
    pub fn word(&self) -> &'static str {
        self.key()
    }

    /// Tells whether the kind lasts for a time that the fault states.
    pub(super) fn lasts(&self) -> bool {
        match self {
            Self::Crash { .. }
            | Self::RollingRestart { .. }
            | Self::MassFailure { .. }
            | Self::JoinStorm { .. } => false,
            Self::Partition { .. }
            | Self::Loss { .. }
            | Self::Duplicate { .. }
            | Self::Reorder { .. }
            | Self::Latency { .. }
            | Self::Pause { .. }
            | Self::Slow { .. }
            | Self::Churn { .. }
            | Self::Clock { .. } => true,
        }
    }
}

impl Fault {
    fn new(kind: FaultKind) -> Self {
        Self { id: UNNUMBERED, at_ns: 0, for_ns: None, kind }
    }

    /// Splits the nodes into groups that cannot reach each other; the shares make 1.
    pub fn partition(shares: impl IntoIterator<Item = f64>) -> Self {
        Self::cut(Shape::Split(shares.into_iter().map(parts).collect()))
    }

    /// Cuts nodes off from everybody, and from each other.
    pub fn isolate(nodes: impl Into<Nodes>) -> Self {
        Self::cut(Shape::Isolate(nodes.into()))
    }

    /// Keeps what nodes send from reaching the others.
    pub fn one_way(from: impl Into<Nodes>) -> Self {
        Self::cut(Shape::OneWay(from.into()))
    }

    /// Splits the nodes into halves that only `nodes` of them can both reach.
    pub fn bridge(nodes: u32) -> Self {
        Self::cut(Shape::Bridge(nodes))
    }

    fn cut(shape: Shape) -> Self {
        Self::new(FaultKind::Partition { shape, flapping: None })
    }

    /// Loses packets with a chance from 0 to 1.
    pub fn loss(rate: f64) -> Self {
        Self::new(FaultKind::Loss { rate_ppm: parts(rate), nodes: Nodes::All, egress: false })
    }

    /// Loses packets that some nodes send, with a chance from 0 to 1.
    pub fn egress_loss(nodes: impl Into<Nodes>, rate: f64) -> Self {
        Self::new(FaultKind::Loss { rate_ppm: parts(rate), nodes: nodes.into(), egress: true })
    }

    /// Doubles packets with a chance from 0 to 1.
    pub fn duplicate(rate: f64) -> Self {
        Self::new(FaultKind::Duplicate { rate_ppm: parts(rate), nodes: Nodes::All })
    }

    /// Lets packets be overtaken with a chance from 0 to 1.
    pub fn reorder(rate: f64) -> Self {
        Self::new(FaultKind::Reorder { rate_ppm: parts(rate), nodes: Nodes::All })
    }

    /// Adds milliseconds to each one-way latency.
    pub fn latency(extra_ms: impl Into<f64>) -> Self {
        Self::new(FaultKind::Latency { extra_ns: nanos(extra_ms.into() / 1e3), nodes: Nodes::All })
    }

    /// Crashes nodes in one instant; their disks stay and they never come back, unless said otherwise.
    pub fn crash(nodes: impl Into<Nodes>) -> Self {
        Self::new(FaultKind::Crash { nodes: nodes.into(), disk: DiskFate::Kept, restart_after_ns: None })
    }

    /// Restarts every node, one each `every` seconds, each down for `down` seconds.
    pub fn rolling_restart(every: impl Into<f64>, down: impl Into<f64>) -> Self {
        let (every_ns, down_ns) = (nanos(every.into()), nanos(down.into()));
        Self::new(FaultKind::RollingRestart { nodes: Nodes::All, disk: DiskFate::Kept, every_ns, down_ns })
    }

    /// Kills nodes in one instant, for good.
    pub fn mass_failure(nodes: impl Into<Nodes>) -> Self {
        Self::new(FaultKind::MassFailure { nodes: nodes.into() })
    }

    /// Freezes nodes.
    pub fn pause(nodes: impl Into<Nodes>) -> Self {
        Self::new(FaultKind::Pause { nodes: nodes.into() })
    }

    /// Makes nodes take milliseconds over each input.
    pub fn slow(nodes: impl Into<Nodes>, per_input_ms: impl Into<f64>) -> Self {
        Self::new(FaultKind::Slow { nodes: nodes.into(), per_input_ns: nanos(per_input_ms.into() / 1e3) })
    }

    /// Crashes and restarts nodes again and again, up and down for a mean of so many seconds, exponentially.
    pub fn churn(nodes: impl Into<Nodes>, session: impl Into<f64>, down: impl Into<f64>) -> Self {
        Self::new(FaultKind::Churn {
            nodes: nodes.into(),
            session_ns: nanos(session.into()),
            down_ns: nanos(down.into()),
            distribution: Distribution::Exponential,
            disk: DiskFate::Kept,
        })
    }

    /// Lets nodes join in one instant that took no part in bootstrap.
    pub fn join_storm(nodes: impl Into<Nodes>) -> Self {
        Self::new(FaultKind::JoinStorm { nodes: nodes.into() })
    }

    /// Sets each wall clock off by up to so many milliseconds either way.
    pub fn clock_offset(nodes: impl Into<Nodes>, offset_ms: u64) -> Self {
        let nodes = nodes.into();
        Self::new(FaultKind::Clock { nodes, offset_ms, step_ms: 0, drift_ppm: 0, freeze: false })
    }

    /// Lets wall clocks jump by so many milliseconds.
    pub fn clock_step(nodes: impl Into<Nodes>, step_ms: i64) -> Self {
        let nodes = nodes.into();
        Self::new(FaultKind::Clock { nodes, offset_ms: 0, step_ms, drift_ppm: 0, freeze: false })
    }

    /// Stops wall clocks.
    pub fn clock_freeze(nodes: impl Into<Nodes>) -> Self {
        let nodes = nodes.into();
        Self::new(FaultKind::Clock { nodes, offset_ms: 0, step_ms: 0, drift_ppm: 0, freeze: true })
    }

    /// States how many seconds the fault lasts.
    #[must_use]
    pub fn lasting(mut self, seconds: impl Into<f64>) -> Self {
        self.for_ns = Some(nanos(seconds.into()));
        self
    }

    /// Lets a partition come and go: cut for `down` seconds, every `every` seconds. Other faults stay as they are.
    #[must_use]
    pub fn flapping(mut self, every: impl Into<f64>, down: impl Into<f64>) -> Self {
        if let FaultKind::Partition { flapping, .. } = &mut self.kind {
            *flapping = Some(Flapping { every_ns: nanos(every.into()), down_ns: nanos(down.into()) });
        }
        self
    }

    /// Limits the fault to some nodes. A partition states its nodes in its shape and stays as it is.
    #[must_use]
    pub fn on(mut self, only: impl Into<Nodes>) -> Self {
        if let Some(nodes) = self.kind.nodes_mut() {
            *nodes = only.into();
        }
        self
    }

    /// Lets crashed nodes come back after so many seconds. Faults other than a crash stay as they are.
    #[must_use]
    pub fn restarting_after(mut self, seconds: impl Into<f64>) -> Self {
        if let FaultKind::Crash { restart_after_ns, .. } = &mut self.kind {
            *restart_after_ns = Some(nanos(seconds.into()));
        }
        self
    }

    /// Lets crashed nodes lose their disks. Faults without crashes stay as they are.
    #[must_use]
    pub fn losing_disks(mut self) -> Self {
        match &mut self.kind {
            FaultKind::Crash { disk, .. }
            | FaultKind::RollingRestart { disk, .. }
            | FaultKind::Churn { disk, .. } => *disk = DiskFate::Lost,
            _ => {}
        }
        self
    }

    /// Draws the times of churn from a Pareto distribution. Faults other than churn stay as they are.
    #[must_use]
    pub fn heavy_tailed(mut self) -> Self {
        if let FaultKind::Churn { distribution, .. } = &mut self.kind {
            *distribution = Distribution::Pareto;
        }
        self
    }
}

impl FaultKind {
    fn nodes_mut(&mut self) -> Option<&mut Nodes> {
        match self {
            Self::Partition { .. } => None,
            Self::Loss { nodes, .. }
            | Self::Duplicate { nodes, .. }
            | Self::Reorder { nodes, .. }
            | Self::Latency { nodes, .. }
            | Self::Crash { nodes, .. }
            | Self::RollingRestart { nodes, .. }
            | Self::MassFailure { nodes }
            | Self::Pause { nodes }
            | Self::Slow { nodes, .. }
            | Self::Churn { nodes, .. }
            | Self::JoinStorm { nodes }
            | Self::Clock { nodes, .. } => Some(nodes),
        }
    }

    /// Shows which nodes the fault touches; a partition's stand in its shape.
    pub(super) fn nodes(&self) -> Option<&Nodes> {
        match self {
            Self::Partition { shape: Shape::Isolate(nodes) | Shape::OneWay(nodes), .. } => Some(nodes),
            Self::Partition { .. } => None,
            Self::Loss { nodes, .. }
            | Self::Duplicate { nodes, .. }
            | Self::Reorder { nodes, .. }
            | Self::Latency { nodes, .. }
            | Self::Crash { nodes, .. }
            | Self::RollingRestart { nodes, .. }
            | Self::MassFailure { nodes }
            | Self::Pause { nodes }
            | Self::Slow { nodes, .. }
            | Self::Churn { nodes, .. }
            | Self::JoinStorm { nodes }
            | Self::Clock { nodes, .. } => Some(nodes),
        }
    }
}

impl Walk for Fault {
    fn walk<F: Fields>(&mut self, f: &mut F) {
        f.defaulted("id", whole(0, i64::from(u32::MAX)), &mut self.id);
        f.required("at_s", Seconds, &mut self.at_ns);
        f.optional("for_s", Seconds, &mut self.for_ns);
        f.choose(&mut self.kind);
        self.kind.walk(f);
    }
}

impl Variant for FaultKind {
    const WHAT: &'static str = "fault";

    fn all() -> Vec<(&'static str, Self)> {
        let (nodes, disk, rate_ppm) = (Nodes::All, DiskFate::Kept, 0);
        let distribution = Distribution::Exponential;
        vec![
            ("partition", Self::Partition { shape: Shape::Bridge(0), flapping: None }),
            ("loss", Self::Loss { rate_ppm, nodes: nodes.clone(), egress: false }),
            ("duplicate", Self::Duplicate { rate_ppm, nodes: nodes.clone() }),
            ("reorder", Self::Reorder { rate_ppm, nodes: nodes.clone() }),
            ("latency", Self::Latency { extra_ns: 0, nodes: nodes.clone() }),
            ("crash", Self::Crash { nodes: nodes.clone(), disk, restart_after_ns: None }),
            (
                "rolling_restart",
                Self::RollingRestart { nodes: nodes.clone(), disk, every_ns: SECOND, down_ns: SECOND },
            ),
            ("mass_failure", Self::MassFailure { nodes: nodes.clone() }),
            ("pause", Self::Pause { nodes: nodes.clone() }),
            ("slow", Self::Slow { nodes: nodes.clone(), per_input_ns: MILLI }),
            (
                "churn",
                Self::Churn { nodes: nodes.clone(), session_ns: SECOND, down_ns: SECOND, distribution, disk },
            ),
            ("join_storm", Self::JoinStorm { nodes: nodes.clone() }),
            ("clock", Self::Clock { nodes, offset_ms: 0, step_ms: 0, drift_ppm: 0, freeze: false }),
        ]
    }
}

impl Walk for FaultKind {
    fn walk<F: Fields>(&mut self, f: &mut F) {
        let key = self.key();
        match self {
            Self::Partition { shape, flapping } => f.table(key, |f| walk_partition(shape, flapping, f)),
            Self::Loss { rate_ppm, nodes, egress } => f.short_table(key, "rate", |f| {
                f.required("rate", Share, rate_ppm);
                f.defaulted("nodes", NodeChoice, nodes);
                f.defaulted("egress", Flag, egress);
            }),
            Self::Duplicate { rate_ppm, nodes } | Self::Reorder { rate_ppm, nodes } => {
                f.short_table(key, "rate", |f| {
                    f.required("rate", Share, rate_ppm);
                    f.defaulted("nodes", NodeChoice, nodes);
                });
            }
            Self::Latency { extra_ns, nodes } => f.table(key, |f| {
                f.required("extra_ms", Millis, extra_ns);
                f.defaulted("nodes", NodeChoice, nodes);
            }),
            Self::Crash { nodes, disk, restart_after_ns } => f.table(key, |f| {
                f.required("nodes", NodeChoice, nodes);
                f.defaulted("disk", word(), disk);
                f.optional("restart_after_s", Seconds, restart_after_ns);
            }),
            Self::RollingRestart { nodes, disk, every_ns, down_ns } => f.table(key, |f| {
                f.required("every_s", Seconds, every_ns);
                f.required("down_s", Seconds, down_ns);
                f.defaulted("nodes", NodeChoice, nodes);
                f.defaulted("disk", word(), disk);
            }),
            Self::MassFailure { nodes } | Self::JoinStorm { nodes } | Self::Pause { nodes } => {
                f.short_table(key, "nodes", |f| f.required("nodes", NodeChoice, nodes));
            }
            Self::Slow { nodes, per_input_ns } => f.table(key, |f| {
                f.required("nodes", NodeChoice, nodes);
                f.required("per_input_ms", Millis, per_input_ns);
            }),
            Self::Churn { nodes, session_ns, down_ns, distribution, disk } => f.table(key, |f| {
                f.required("session_s", Seconds, session_ns);
                f.required("down_s", Seconds, down_ns);
                f.defaulted("nodes", NodeChoice, nodes);
                f.defaulted("distribution", word(), distribution);
                f.defaulted("disk", word(), disk);
            }),
            Self::Clock { nodes, offset_ms, step_ms, drift_ppm, freeze } => f.table(key, |f| {
                f.required("nodes", NodeChoice, nodes);
                f.defaulted("offset_ms", whole(0, CLOCK_MS_MAX), offset_ms);
                f.defaulted("step_ms", whole(-CLOCK_MS_MAX, CLOCK_MS_MAX), step_ms);
                f.defaulted("drift_ppm", whole(0, DRIFT_PPM_MAX), drift_ppm);
                f.defaulted("freeze", Flag, freeze);
            }),
        }
    }
}

/// The furthest that a clock may be off: a hundred years.
pub(super) const CLOCK_MS_MAX: i64 = 100 * 366 * 24 * 3600 * 1000;
/// The fastest that a clock may run: a tenth faster or slower.
pub(super) const DRIFT_PPM_MAX: i64 = 100_000;

fn walk_partition<F: Fields>(shape: &mut Shape, flapping: &mut Option<Flapping>, f: &mut F) {
    f.choose(shape);
    match shape {
        Shape::Split(shares) => f.required("split", Shares, shares),
        Shape::Isolate(nodes) => f.required("isolate", NodeChoice, nodes),
        Shape::OneWay(nodes) => f.required("one_way", NodeChoice, nodes),
        Shape::Bridge(nodes) => f.required("bridge", whole(1, i64::from(u32::MAX)), nodes),
    }
    let mut every = flapping.map(|flapping| flapping.every_ns);
    let mut down = flapping.map(|flapping| flapping.down_ns);
    f.optional("every_s", Seconds, &mut every);
    f.optional("down_s", Seconds, &mut down);
    // One without the other becomes a flapping that validation refuses by name.
    *flapping = (every.is_some() || down.is_some())
        .then(|| Flapping { every_ns: every.unwrap_or(0), down_ns: down.unwrap_or(0) });
}

impl Variant for Shape {
    const WHAT: &'static str = "shape of a partition";

    fn all() -> Vec<(&'static str, Self)> {
        vec![
            ("split", Self::Split(Vec::new())),
            ("isolate", Self::Isolate(Nodes::All)),
            ("one_way", Self::OneWay(Nodes::All)),
            ("bridge", Self::Bridge(0)),
        ]
    }
}

impl Variant for Distribution {
    const WHAT: &'static str = "distribution";

    fn all() -> Vec<(&'static str, Self)> {
        vec![("exponential", Self::Exponential), ("pareto", Self::Pareto)]
    }
}

impl Variant for DiskFate {
    const WHAT: &'static str = "fate of a disk";

    fn all() -> Vec<(&'static str, Self)> {
        vec![("kept", Self::Kept), ("lost", Self::Lost)]
    }
}
