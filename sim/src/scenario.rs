//! A scenario: a world, what its users do, what goes wrong in it, and what must hold.
//!
//! One value with two faces: built in Rust, or read from TOML. Both are checked by the same rules, and either turns into
//! the other. With a seed it expands to the explicit [`Schedule`](crate::Schedule).
//!
//! ```
//! use rumormill_sim::scenario::{Check, Fault, Scenario, Workload};
//!
//! let scenario = Scenario::new("heal", 100)
//!     .workload(0, 40, Workload::map_put("flags", 50, 10))
//!     .fault(10, Fault::partition([0.5, 0.5]).lasting(20))
//!     .eventually(30, Check::converged("flags"));
//! let schedule = scenario.expand(42);
//! assert_eq!(schedule.nodes, 100);
//! ```
//!
//! A scenario is either timed, with workloads and faults at their times after bootstrap, or phased (paper mode), with
//! phases that follow one another. Times in a file are `_s` or `_ms`; here they are nanoseconds, and fractions are parts
//! in a million.

mod choices;
mod differing;
mod error;
mod expand;
mod explain;
mod faults;
mod file;
mod mishaps;
mod properties;
mod tree;
mod units;
mod users;
mod validate;
mod walk;
mod workloads;

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;

pub use differing::ConfigOf;
pub use error::ScenarioError;
pub use faults::{Distribution, Fault, FaultKind, Flapping, Nodes, Shape};
pub use file::NODES_MAX;
pub use properties::{Check, PropertySpec, When, Window};
pub use workloads::{Joining, MailLoad, Phase, Senders, Watched, Workload, WorkloadKind};

use crate::schedule::{LatencyModel, NetworkModel, Profile};
use faults::UNNUMBERED;
use rumormill_core::Config;
use std::collections::BTreeSet;
use std::mem::{Discriminant, discriminant};
use units::{MILLI, SECOND, nanos, parts};

/// A world, what its users do, what goes wrong in it, and what must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// One line: what it shows.
    pub about: String,
    /// How many nodes there are, those included that join late.
    pub nodes: u32,
    /// The name of the application on every node; none for nodes without one. Whoever runs the scenario knows what is
    /// behind the name, and gives it to [`Run::with_app`](crate::Run::with_app).
    pub app: Option<String>,
    /// When the run ends, in nanoseconds after bootstrap, or after the last phase; none for as soon as every property
    /// had its time.
    pub end_ns: Option<u64>,
    /// How the nodes come together.
    pub bootstrap: Bootstrap,
    /// The network between them.
    pub network: NetworkModel,
    /// How wrong their clocks are from the start.
    pub clocks: Clocks,
    /// The configuration of every node. Maps that workloads write are added to it.
    pub config: Config,
    /// The nodes that have some of it otherwise; where two of these name one node, the later one wins.
    pub config_of: Vec<ConfigOf>,
    /// What users do.
    pub workloads: Vec<Workload>,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// The phases of paper mode; none for a timed scenario.
    pub phases: Vec<Phase>,
    /// What must hold.
    pub properties: Vec<PropertySpec>,
}

/// How the nodes come together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    /// So many of the first nodes are the contacts of all others.
    pub contacts: u32,
    /// From one join to the next, in nanoseconds.
    pub join_every_ns: u64,
    /// Time to settle after the last join, in nanoseconds.
    pub settle_ns: u64,
}

/// How wrong clocks are from the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clocks {
    /// Each wall clock is off by up to so many milliseconds, either way.
    pub offset_ms: u64,
    /// Each node's clocks run faster or slower by up to so many parts in a million.
    pub drift_ppm: u32,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { contacts: 1, join_every_ns: 5 * MILLI, settle_ns: 10 * SECOND }
    }
}

impl Default for NetworkModel {
    /// Profile `quic`, 10 to 50 ms one way, no loss. Timeouts are those of the real runtime, disk writes as measured on
    /// ordinary machines (2 to 4 ms); the high-water mark is a guess.
    fn default() -> Self {
        Self {
            profile: Profile::Quic,
            latency: LatencyModel::Uniform(10 * MILLI, 50 * MILLI),
            loss_ppm: 0,
            uplink_bps: 0,
            idle_timeout_ns: 13 * SECOND,
            handshake_timeout_ns: 5 * SECOND,
            high_water_bytes: 1 << 20,
            disk_ns: 3 * MILLI,
        }
    }
}

/// The builder. Times are decimal seconds after bootstrap, shares from 0 to 1; what is out of bounds is found by
/// [`Scenario::validate`], which [`Scenario::expand`] asks first.
impl Scenario {
    /// Starts a scenario: so many nodes on an ordinary network, with nothing going on.
    pub fn new(name: &str, nodes: u32) -> Self {
        Self {
            name: name.into(),
            about: String::new(),
            nodes,
            app: None,
            end_ns: None,
            bootstrap: Bootstrap::default(),
            network: NetworkModel::default(),
            clocks: Clocks::default(),
            config: Config::default(),
            config_of: Vec::new(),
            workloads: Vec::new(),
            faults: Vec::new(),
            phases: Vec::new(),
            properties: Vec::new(),
        }
    }

    /// States in one line what the scenario shows.
    #[must_use]
    pub fn about(mut self, about: &str) -> Self {
        self.about = about.into();
        self
    }

    /// Names the application on every node.
    #[must_use]
    pub fn app(mut self, name: &str) -> Self {
        self.app = Some(name.into());
        self
    }

    /// Ends the run so many seconds after bootstrap.
    #[must_use]
    pub fn ending_at(mut self, seconds: impl Into<f64>) -> Self {
        self.end_ns = Some(nanos(seconds.into()));
        self
    }

    /// Lets nodes join through the first `contacts` of them, one each `join_every_ms`, and settle for `settle_s`.
    #[must_use]
    pub fn bootstrap(
        mut self,
        contacts: u32,
        join_every_ms: impl Into<f64>,
        settle_s: impl Into<f64>,
    ) -> Self {
        let join_every_ns = nanos(join_every_ms.into() / 1e3);
        self.bootstrap = Bootstrap { contacts, join_every_ns, settle_ns: nanos(settle_s.into()) };
        self
    }

    /// Chooses how close to a real transport the network is.
    #[must_use]
    pub fn profile(mut self, profile: Profile) -> Self {
        self.network.profile = profile;
        self
    }

    /// Spreads one-way latencies evenly between two bounds, in milliseconds.
    #[must_use]
    pub fn latency_ms(mut self, low: impl Into<f64>, high: impl Into<f64>) -> Self {
        self.network.latency = LatencyModel::Uniform(nanos(low.into() / 1e3), nanos(high.into() / 1e3));
        self
    }

    /// Loses packets with a chance from 0 to 1, all the time.
    #[must_use]
    pub fn loss(mut self, rate: f64) -> Self {
        self.network.loss_ppm = parts(rate);
        self
    }

    /// Sets each wall clock off by up to `offset_ms` and lets clocks drift by up to `drift_ppm`, either way.
    #[must_use]
    pub fn clocks(mut self, offset_ms: u64, drift_ppm: u32) -> Self {
        self.clocks = Clocks { offset_ms, drift_ppm };
        self
    }

    /// Changes the configuration of every node.
    #[must_use]
    pub fn config(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Changes the configuration of some nodes, from what it is for all nodes so far.
    #[must_use]
    pub fn config_of(mut self, nodes: impl Into<Nodes>, change: impl FnOnce(&mut Config)) -> Self {
        let mut changed = self.config.clone();
        change(&mut changed);
        self.config_of.push(ConfigOf::between(nodes.into(), &self.config, &changed));
        self
    }

    /// Adds a workload from one second to another. A watch stands from each node's start on, whatever its times.
    #[must_use]
    pub fn workload(mut self, from: impl Into<f64>, to: impl Into<f64>, workload: Workload) -> Self {
        let (from_ns, to_ns) = match workload.is_standing() {
            true => (0, 0),
            false => (nanos(from.into()), nanos(to.into())),
        };
        self.workloads.push(Workload { from_ns, to_ns, ..workload });
        self.number();
        self
    }

    /// Adds a fault at a second.
    #[must_use]
    pub fn fault(mut self, at: impl Into<f64>, fault: Fault) -> Self {
        self.faults.push(Fault { at_ns: nanos(at.into()), ..fault });
        self.number();
        self
    }

    /// Adds a phase (paper mode).
    #[must_use]
    pub fn phase(mut self, phase: Phase) -> Self {
        self.phases.push(phase);
        self
    }

    /// Asks for a property at every look.
    #[must_use]
    pub fn always(mut self, check: Check) -> Self {
        self.properties.push(PropertySpec::always(check));
        self
    }

    /// Asks for a property from so many seconds after the last fault and workload on.
    #[must_use]
    pub fn eventually(mut self, within: impl Into<f64>, check: Check) -> Self {
        self.properties.push(PropertySpec::eventually(within, check));
        self
    }

    /// Asks for a property to be seen once.
    #[must_use]
    pub fn sometimes(mut self, check: Check) -> Self {
        self.properties.push(PropertySpec::sometimes(check));
        self
    }

    /// Gives every fault and workload that has none its number: the least that is free among its kind.
    fn number(&mut self) {
        number(&mut self.faults, |fault| (discriminant(&fault.kind), &mut fault.id));
        number(&mut self.workloads, |workload| (discriminant(&workload.kind), &mut workload.id));
    }
}

fn number<T, K>(parts: &mut [T], split: fn(&mut T) -> (Discriminant<K>, &mut u32)) {
    // Of each kind the numbers that are taken, and the least that may be free.
    let mut kinds: Vec<(Discriminant<K>, BTreeSet<u32>, u32)> = Vec::new();
    for (kind, id) in parts.iter_mut().map(split) {
        let index = kinds.iter().position(|(of, ..)| *of == kind).unwrap_or(kinds.len());
        if index == kinds.len() {
            kinds.push((kind, BTreeSet::new(), 0));
        }
        kinds[index].1.insert(*id);
    }
    for (kind, id) in parts.iter_mut().map(split).filter(|(_, id)| **id == UNNUMBERED) {
        let Some((_, taken, free)) = kinds.iter_mut().find(|(of, ..)| *of == kind) else { continue };
        while taken.contains(free) {
            *free += 1;
        }
        *id = *free;
        *free += 1;
    }
}

/// Times of the scenario as a whole, in nanoseconds after bootstrap, or after the last phase.
impl Scenario {
    /// Tells when a fault is over.
    pub fn fault_end_ns(&self, fault: &Fault) -> u64 {
        let span = match &fault.kind {
            FaultKind::Crash { restart_after_ns, .. } => restart_after_ns.unwrap_or(0),
            FaultKind::RollingRestart { nodes, every_ns, down_ns, .. } => {
                let count = u64::from(nodes.count(self.nodes));
                every_ns.saturating_mul(count.saturating_sub(1)).saturating_add(*down_ns)
            }
            _ => fault.for_ns.unwrap_or(0),
        };
        fault.at_ns.saturating_add(span)
    }

    /// Tells when the last fault and workload are over: liveness is asked from here on.
    pub fn calm_ns(&self) -> u64 {
        let faults = self.faults.iter().map(|fault| self.fault_end_ns(fault));
        let workloads =
            self.workloads.iter().map(|workload| workload.to_ns.saturating_add(workload.tail_ns()));
        faults.chain(workloads).max().unwrap_or(0)
    }

    /// Tells when the run ends: as stated, or when the last property had its time.
    pub fn end_or_default_ns(&self) -> u64 {
        let within = self.properties.iter().filter_map(|property| match property.when {
            When::Eventually { within_ns } => Some(within_ns),
            When::Always | When::Sometimes => None,
        });
        self.end_ns.unwrap_or_else(|| self.calm_ns().saturating_add(within.max().unwrap_or(0)))
    }

    /// Names the maps that every node hosts: those of the configuration and those that workloads write, each once.
    pub fn maps(&self) -> Vec<&str> {
        let mut seen = BTreeSet::new();
        self.named_maps().filter(|map| seen.insert(*map)).collect()
    }

    /// Tells whether every node hosts a map.
    fn hosts(&self, map: &str) -> bool {
        self.named_maps().any(|named| named == map)
    }

    fn named_maps(&self) -> impl Iterator<Item = &str> {
        let configured = self.config.maps.iter().map(|map| map.name.as_str());
        let written = self.workloads.iter().filter_map(|workload| match &workload.kind {
            WorkloadKind::MapPut { map, .. } => Some(map.as_str()),
            _ => None,
        });
        configured.chain(written)
    }
}

impl Nodes {
    /// Tells how many of `all` nodes are meant.
    pub fn count(&self, all: u32) -> u32 {
        match self {
            Self::All => all,
            Self::Share(share) => {
                let rounded =
                    (u64::from(*share) * u64::from(all) + u64::from(units::PPM) / 2) / u64::from(units::PPM);
                (rounded as u32).clamp(1, all.max(1)).min(all)
            }
            Self::Count(count) => (*count).min(all),
            Self::These(numbers) => numbers.iter().filter(|number| **number < all).count() as u32,
        }
    }
}
