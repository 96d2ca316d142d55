//! Judges a run: folds observations, looks at the nodes on a grid, and answers every property.
//!
//! Nothing here knows the simulated world. Safety that one node can break is judged at every event; what is global
//! (connectivity, symmetry, convergence) on the grid; liveness only once faults and workloads have ended.

mod broadcast;
mod families;
mod lives;
mod mail;
mod members;
mod numbers;
mod overlay;
mod placement;
mod registry;
mod state;
#[cfg(test)]
mod tests;
mod ties;
mod troubles;

pub use broadcast::{Broadcasts, Message};
pub use families::of as families_of;
pub use overlay::{Overlay, OverlayFigures, OverlayNode};
pub use state::{Exactness, State};
pub use troubles::Troubles;

use families::Families;
use lives::Lives;
use mail::Mail;
use members::Members;
use placement::Placement;
use registry::Registry;

use crate::scenario::{Check, PropertySpec, When, Window};
use rumormill_core::{Config, MapId, NANOS_PER_MILLI, Nodes, Observation};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Between two looks, in nanoseconds.
pub const LOOK_EVERY_NS: u64 = 500 * NANOS_PER_MILLI;

/// For how long an edge may stand on one side only: several times the longest round trip of the latency models, so
/// that only what is under way is forgiven.
const ONE_SIDED_NS: u64 = 1_000 * NANOS_PER_MILLI;

/// For how long the dead may stay in an active view: the transport's or the prober's detection time and some slack.
const DEAD_NS: u64 = 20_000 * NANOS_PER_MILLI;

/// What came of one property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PropertyOutcome {
    /// What was asked.
    pub name: &'static str,
    /// When it had to hold: always, eventually, sometimes.
    pub when: &'static str,
    /// Whether it did.
    pub status: PropertyStatus,
    /// When that was decided, in nanoseconds of world time.
    pub at_ns: Option<u64>,
    /// The node that decided it.
    pub node: Option<u32>,
    /// What was seen.
    pub detail: Option<String>,
}

/// Whether a property held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PropertyStatus {
    /// It held.
    Held,
    /// It did not.
    Failed,
    /// A `sometimes` that was never seen.
    Unreached,
}

/// Why a check does not hold: the node at fault, if it is one's, and what was seen.
type Fault = (Option<u32>, String);

/// One property and how it stands.
#[derive(Clone, Debug)]
struct Asked {
    spec: PropertySpec,
    /// The first violation of an `always`.
    violated: Option<(u64, Fault)>,
    /// Since when it has held without a break.
    held_since: Option<u64>,
    /// What was seen when it last did not hold.
    last_fault: Option<Fault>,
    /// Whether it did not hold at the look before.
    is_in_doubt: bool,
}

/// Counters at one look, to measure windows by difference.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    at_ns: u64,
    received: u64,
    duplicates: u64,
}

/// How the machines of members, services, mail and placement fared: each none where it is off.
#[derive(Clone, Debug, Default)]
pub struct Machines {
    /// How crashes were noticed.
    pub members: Option<Noticed>,
    /// The most services that a member shows.
    pub services: Option<u32>,
    /// Nanoseconds from each question to its answer.
    pub answers_ns: Option<Vec<u64>>,
    /// How partitions moved.
    pub placement: Option<Moved>,
}

/// How crashes were noticed, by those who watch members: none is known where nobody does.
#[derive(Clone, Debug, Default)]
pub struct Noticed {
    /// Nanoseconds until each neighbour of a crashed node noticed.
    pub by_neighbors_ns: Vec<u64>,
    /// Nanoseconds until each node noticed.
    pub by_all_ns: Vec<u64>,
    /// Verdicts on nodes that lived, with no hardship to excuse them.
    pub false_verdicts: u64,
}

/// How often partitions were acquired and released after bootstrap, as far as nodes watch theirs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moved {
    /// Acquired.
    pub acquired: u64,
    /// Released.
    pub released: u64,
}

/// Samples of one figure, one for each look.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// What it shows.
    pub name: &'static str,
    /// The unit of its points.
    pub unit: &'static str,
    /// The figure at each look, in thousandths.
    pub points_milli: Vec<u64>,
}

/// Everything that is known of a run from its observations.
#[derive(Clone, Debug)]
pub struct Judge {
    config: Arc<Config>,
    asked: Vec<Asked>,
    /// The overlay.
    pub overlay: Overlay,
    /// The broadcasts.
    pub broadcasts: Broadcasts,
    /// The replicated maps.
    pub state: State,
    lives: Lives,
    members: Members,
    registry: Registry,
    mail: Mail,
    placement: Placement,
    families: Families,
    troubles: Troubles,
    /// Whether this is the last look: what is looked at in turn before is then looked at as a whole.
    is_last: bool,
    bootstrap_end_ns: u64,
    /// When the last fault and workload ended, once they have.
    calm_ns: Option<u64>,
    /// When each map was first seen equal everywhere after that, in nanoseconds.
    converged_ns: BTreeMap<MapId, u64>,
    tallies: Vec<Tally>,
    /// How far ahead of true time each node's clock may be, in milliseconds.
    clock_ahead_ms: Vec<u64>,
    series: Vec<Series>,
}

impl Judge {
    /// Starts to judge a run.
    ///
    /// `clock_ahead_ms` tells for each node how far its wall clock may at most be ahead of true time.
    pub fn new(
        properties: &[PropertySpec],
        config: Arc<Config>,
        nodes: u32,
        bootstrap_end_ns: u64,
        clock_ahead_ms: Vec<u64>,
    ) -> Self {
        let ask = |spec: &PropertySpec| Asked {
            spec: spec.clone(),
            violated: None,
            held_since: None,
            last_fault: None,
            is_in_doubt: false,
        };
        let series = |name, unit| Series { name, unit, points_milli: Vec::new() };
        Self {
            asked: properties.iter().map(ask).collect(),
            members: Members::new(nodes, config.ttl_ms),
            registry: Registry::new(nodes, config.ttl_ms),
            mail: Mail::new(config.ttl_ms),
            placement: Placement::new(bootstrap_end_ns),
            families: Families::default(),
            lives: Lives::new(nodes),
            troubles: Troubles::default(),
            is_last: false,
            config,
            overlay: Overlay::new(nodes),
            broadcasts: Broadcasts::new(nodes),
            state: State::new(nodes),
            bootstrap_end_ns,
            calm_ns: None,
            converged_ns: BTreeMap::new(),
            tallies: Vec::new(),
            clock_ahead_ms,
            series: vec![series("active view", "neighbours"), series("replicas equal", "%")],
        }
    }

    /// States what the run does to its nodes from outside: some properties forgive it.
    #[must_use]
    pub fn with_troubles(mut self, troubles: Troubles) -> Self {
        self.troubles = troubles;
        self
    }

    /// States which nodes count leases and partitions alike, by the number of their family; else all do.
    #[must_use]
    pub fn with_families(mut self, families: Vec<u32>) -> Self {
        self.lives.families = families;
        self
    }

    /// Takes one observation in.
    pub fn observe(&mut self, seen: &Observation<'_>) {
        self.overlay.observe(seen);
        self.broadcasts.observe(seen);
        self.state.observe(seen);
        let Self { lives, troubles, overlay, .. } = self;
        lives.observe(seen);
        if self.config.members {
            self.members.observe(seen, lives, overlay, troubles);
            self.registry.observe(seen, lives, troubles);
            self.mail.observe(seen, lives, troubles);
            self.placement.observe(seen, lives);
            self.families.observe(seen, lives);
        }
    }

    /// Notes that bootstrap is over, when that is known only as the run goes.
    pub fn on_bootstrapped(&mut self, at_ns: u64) {
        self.bootstrap_end_ns = at_ns;
        self.placement.on_bootstrapped(at_ns);
    }

    /// Notes that the last fault and workload have ended: from here on liveness may be asked.
    pub fn on_calm(&mut self, at_ns: u64) {
        self.calm_ns.get_or_insert(at_ns);
    }

    /// Tells whether a law that one event can break is broken, and was asked to hold: nothing later mends that.
    pub fn is_law_broken(&self) -> bool {
        let asks = |check: &Check| self.asked.iter().any(|asked| asked.spec.check == *check);
        let is_undue = self.broadcasts.undue().is_some() && asks(&Check::DeliveredOnce);
        is_undue || (self.state.clock_fault().is_some() && asks(&Check::ClocksMonotonic))
    }

    /// Tells how the machines of members, services, mail and placement fared, as far as each is on.
    pub fn machines(&self, nodes: &dyn Nodes) -> Machines {
        let Self { config, members, mail, placement, lives, .. } = self;
        let services =
            |node| nodes.status(node).and_then(|it| it.registry).map_or(0, |registry| registry.count);
        let (acquired, released) = placement.moved();
        Machines {
            members: config.members.then(|| members.figures()),
            services: config.registry.then(|| lives.members().map(services).max().unwrap_or(0)),
            answers_ns: config.mailboxes.then(|| mail.answers_ns.clone()),
            placement: config.placement.then_some(Moved { acquired, released }),
        }
    }

    /// Shows the samples taken at each look.
    pub fn series(&self) -> &[Series] {
        &self.series
    }

    /// Tells how long after calm each map was equal everywhere, in nanoseconds.
    pub fn converged_ns(&self) -> impl Iterator<Item = u64> {
        let calm = self.calm_ns.unwrap_or(0);
        self.converged_ns.values().map(move |at| at.saturating_sub(calm))
    }

    /// Tells when the last property that waits for calm must hold at the latest, once calm is there.
    pub fn deadline_ns(&self) -> Option<u64> {
        let within = |asked: &Asked| match asked.spec.when {
            When::Eventually { within_ns } => within_ns,
            When::Always | When::Sometimes => 0,
        };
        Some(self.calm_ns? + self.asked.iter().map(within).max().unwrap_or(0))
    }

    /// Looks at the nodes: every property that is judged on the grid is.
    pub fn look(&mut self, at_ns: u64, nodes: &dyn Nodes) {
        let totals = nodes.totals();
        let (received, duplicates) = (totals.payloads_received, totals.duplicates);
        self.tallies.push(Tally { at_ns, received, duplicates });
        self.sample(nodes);
        let mut asked = core::mem::take(&mut self.asked);
        for asked in &mut asked {
            if self.is_due(&asked.spec, at_ns) && !asked.is_settled() {
                asked.note(at_ns, self.check(&asked.spec.check, at_ns, nodes));
            }
        }
        self.asked = asked;
    }

    /// Tells whether a property is judged at a look: messages are judged at the end, when all had their time.
    fn is_due(&self, spec: &PropertySpec, at_ns: u64) -> bool {
        let is_overall =
            matches!(spec.check, Check::EventsFoldToView { .. }) || spec.check.window().is_some();
        match spec.when {
            _ if is_overall => false,
            When::Always | When::Sometimes => at_ns >= self.bootstrap_end_ns || !is_global(&spec.check),
            When::Eventually { .. } => self.calm_ns.is_some_and(|calm| at_ns >= calm),
        }
    }

    /// Ends the run and answers every property.
    pub fn finish(&mut self, at_ns: u64, nodes: &dyn Nodes) -> Vec<PropertyOutcome> {
        self.is_last = true;
        self.look(at_ns, nodes);
        let mut asked = core::mem::take(&mut self.asked);
        for asked in asked.iter_mut().filter(|asked| !self.is_due(&asked.spec, at_ns) || asked.is_settled()) {
            asked.note(at_ns, self.check(&asked.spec.check, at_ns, nodes));
        }
        let outcomes = asked.iter().map(|asked| asked.outcome(self.calm_ns)).collect();
        self.asked = asked;
        outcomes
    }

    fn sample(&mut self, nodes: &dyn Nodes) {
        let (mut members, mut neighbors) = (0u64, 0u64);
        let mut versions: BTreeMap<Vec<(u64, u64)>, u64> = BTreeMap::new();
        let maps: Vec<MapId> = self.config.maps.iter().map(|map| MapId::named(&map.name)).collect();
        for node in self.overlay.members() {
            members += 1;
            neighbors += self.overlay.node(node).neighbors.len() as u64;
            let hashes =
                |map: &MapId| nodes.map_status(node, *map).map(|it| (it.vector_hash, it.fingerprint));
            if !maps.is_empty() {
                *versions.entry(maps.iter().filter_map(hashes).collect()).or_default() += 1;
            }
        }
        let mean = (neighbors * 1_000).checked_div(members).unwrap_or(0);
        self.series[0].points_milli.push(mean);
        if !maps.is_empty() {
            let equal = versions.values().max().copied().unwrap_or(0);
            self.series[1].points_milli.push((equal * 100_000).checked_div(members).unwrap_or(0));
        }
        if let (Some(calm), 1) = (self.calm_ns, versions.len()) {
            let now = self.tallies.last().map_or(calm, |tally| tally.at_ns);
            for map in maps {
                self.converged_ns.entry(map).or_insert(now);
            }
        }
    }

    /// Judges one check now.
    fn check(&self, check: &Check, at_ns: u64, nodes: &dyn Nodes) -> Result<(), Fault> {
        match check {
            Check::Connected => match self.overlay.components() {
                0 | 1 => Ok(()),
                count => Err((None, format!("the overlay has {count} components"))),
            },
            Check::Symmetric { min_ppm } => self.symmetric(*min_ppm, at_ns),
            Check::Bounded => self.bounded(nodes),
            Check::NobodyAlone => none(self.overlay.alone().map(|node| (node, "has no neighbour".into()))),
            Check::NobodyFromTheDead => {
                let haunted = self.overlay.haunted(at_ns, DEAD_NS);
                none(
                    haunted.map(|(node, dead)| (node, format!("keeps {dead} as a neighbour, which is gone"))),
                )
            }
            Check::Calm { periods } => self.calm(*periods, at_ns),
            Check::Reliability { min_ppm, window } => self.reliability(*min_ppm, *window),
            Check::DeliveredOnce => fault_of(self.broadcasts.undue()),
            Check::Rmr { max_ppm, window } => self.rmr_at_most(*max_ppm, *window),
            Check::Ldh { max_ppm, window } => self.ldh_at_most(*max_ppm, *window),
            Check::Latency { p99_ns, window } => self.latency_at_most(*p99_ns, *window),
            Check::Converged { map } => self.converged(MapId::named(map), nodes),
            Check::Exact { map } => none(self.state.exactness(MapId::named(map), &self.members()).fault),
            Check::NothingLost { map } => none(self.state.lost(MapId::named(map), &self.members())),
            Check::EventsFoldToView { map } => self.events_fold(MapId::named(map), nodes),
            Check::ClocksMonotonic => fault_of(self.state.clock_fault()),
            Check::ClocksBounded => self.clocks_bounded(at_ns, nodes),
            _ => self.check_services(check, at_ns, nodes),
        }
        .and_then(|()| self.is_tried(check))
    }

    /// Judges one check of members, services, mail or placement now.
    fn check_services(&self, check: &Check, at_ns: u64, nodes: &dyn Nodes) -> Result<(), Fault> {
        let Self { lives, members, registry, mail, placement, troubles, .. } = self;
        let partitions = self.config.ring_size;
        match check {
            Check::NoFalseVerdict { pause_ns } => members.no_false_verdict(*pause_ns),
            Check::NoFalseSuspicion { pause_ns } => members.no_false_suspicion(*pause_ns),
            Check::DetectedByNeighbors { within_ns } => {
                members.detected_by_neighbors(*within_ns, at_ns, troubles)
            }
            Check::DetectedByAll { within_ns } => members.detected_by_all(*within_ns, at_ns, troubles),
            Check::LeaveSeenAsLeave { within_ns } => members.leave_seen_as_leave(*within_ns, at_ns, troubles),
            Check::MembersExact => members::exact(lives, nodes),
            Check::DirectoryExact => registry.exact(lives, nodes),
            Check::NamesUnique => registry::names_unique(lives, nodes),
            Check::DirectorySafe { within_ns } => registry.safe(*within_ns, at_ns, (lives, troubles), nodes),
            Check::TopologySafe { pause_ns } => registry.topology_safe(*pause_ns),
            Check::ServiceEventsOnce => registry.events_once(at_ns, self.is_last, nodes),
            Check::LookupsTrue { within_ns } => registry.lookups_true(*within_ns),
            Check::MailAtMostOnce => mail.at_most_once(),
            Check::MailInOrder => mail.in_order(),
            Check::MailToTheLiving => mail.to_the_living(),
            Check::CallsAnsweredOnce { slack_ns } => mail.calls_answered_once(*slack_ns, at_ns, troubles),
            Check::MonitorsFireOnce { within_ns } => mail.monitors_fire_once(*within_ns, at_ns, troubles),
            Check::TiesCloseBoth { within_ns } => mail.ties.close_both(*within_ns, at_ns, troubles),
            Check::MailAccounted { min_ppm } => mail.accounted(*min_ppm, lives),
            Check::OneOwner => placement::one_owner(partitions, lives, nodes),
            Check::NoDeadOwner { within_ns } => {
                placement::no_dead_owner(partitions, *within_ns, at_ns, (lives, troubles), nodes)
            }
            Check::OwnersAlternate => {
                placement.owners_alternate().and_then(|()| placement.folds(partitions, lives, nodes))
            }
            Check::BootingOwnsNothing => placement.booting_owns_nothing(),
            Check::OwnershipStill { max } => placement.still(*max),
            Check::MismatchRefused => self.families.apart(partitions, self.is_last, lives, nodes),
            _ => Ok(()), // judged above
        }
    }

    /// What was never tried did not hold: at the end of a run somebody must have been told of what a check is about.
    fn is_tried(&self, check: &Check) -> Result<(), Fault> {
        let Self { broadcasts, state, members, registry, mail, placement, .. } = self;
        let (is_tried, what) = match check {
            Check::DeliveredOnce => (broadcasts.is_heard, "no message was ever delivered"),
            Check::Exact { map } | Check::NothingLost { map } | Check::EventsFoldToView { map } => {
                (state.is_written(MapId::named(map)), "nothing was ever written to the map")
            }
            Check::NoFalseVerdict { .. } | Check::NoFalseSuspicion { .. } => {
                (members.is_heard, "no watch ever told of members")
            }
            Check::DetectedByNeighbors { .. } => {
                (members.has_noticed().0, "no watch ever told of a neighbour that crashed")
            }
            Check::DetectedByAll { .. } => {
                (members.has_noticed().1, "no watch ever told of a node that crashed")
            }
            Check::LeaveSeenAsLeave { .. } => {
                (members.has_seen_leave(), "no watch ever told of a node that left")
            }
            Check::DirectoryExact | Check::NamesUnique => {
                (registry.is_offered, "no service was ever registered")
            }
            Check::DirectorySafe { .. } | Check::TopologySafe { .. } | Check::ServiceEventsOnce => {
                (registry.is_heard && registry.is_offered, "no watch ever told of services")
            }
            Check::LookupsTrue { .. } => (registry.is_found, "no lookup ever found anything"),
            Check::MailAtMostOnce
            | Check::MailInOrder
            | Check::MailToTheLiving
            | Check::MailAccounted { .. } => (mail.is_delivered, "no message was ever delivered"),
            Check::CallsAnsweredOnce { .. } => (mail.is_asked(), "no question ever came to anybody"),
            Check::MonitorsFireOnce { .. } => (mail.is_monitored, "no monitor was ever set"),
            Check::TiesCloseBoth { .. } => (mail.ties.is_tied, "no two mailboxes were ever tied"),
            Check::OwnersAlternate | Check::BootingOwnsNothing | Check::OwnershipStill { .. } => {
                (placement.is_heard, "no watch ever told of partitions")
            }
            _ => (true, ""),
        };
        if self.is_last && !is_tried { Err((None, what.into())) } else { Ok(()) }
    }

    fn members(&self) -> Vec<u32> {
        self.overlay.members().collect()
    }

    fn symmetric(&self, min_ppm: u32, at_ns: u64) -> Result<(), Fault> {
        if let Some((at, node, what)) = self.overlay.contradiction() {
            return Err((Some(*node), format!("{what}, at {} ms of world time", at / NANOS_PER_MILLI)));
        }
        if min_ppm >= 1_000_000 {
            let lone = self.overlay.one_sided(at_ns, ONE_SIDED_NS);
            return none(
                lone.map(|(node, peer)| (node, format!("has {peer} as a neighbour, which does not have it"))),
            );
        }
        match self.overlay.figures().symmetric_ppm {
            ppm if ppm >= min_ppm => Ok(()),
            ppm => {
                Err((None, format!("{ppm} of a million edges stand on both sides, at least {min_ppm} asked")))
            }
        }
    }

    fn bounded(&self, nodes: &dyn Nodes) -> Result<(), Fault> {
        let (active_max, passive_max) = (self.config.active_size, self.config.passive_size);
        for node in 0..nodes.count() {
            let Some(status) = nodes.status(node) else { continue };
            let is_over = status.active.len() > active_max || status.passive.len() > passive_max;
            let is_mixed = status.active.iter().any(|id| *id == status.id || status.passive.contains(id));
            if is_over || is_mixed || status.passive.contains(&status.id) {
                let (active, passive) = (status.active.len(), status.passive.len());
                return Err((
                    Some(node),
                    format!("views of {active} and {passive} nodes break their bounds"),
                ));
            }
        }
        Ok(())
    }

    fn calm(&self, periods: u32, at_ns: u64) -> Result<(), Fault> {
        let quiet_ms = at_ns.saturating_sub(self.overlay.last_change_at()) / NANOS_PER_MILLI;
        let wanted_ms = u64::from(periods) * self.config.shuffle_interval_ms;
        if quiet_ms >= wanted_ms {
            return Ok(());
        }
        Err((None, format!("a view changed {quiet_ms} ms ago, calm for {wanted_ms} ms asked")))
    }

    /// The bounds of a window in world time.
    fn bounds(&self, window: Window) -> (u64, u64) {
        let at = |ns: u64| self.bootstrap_end_ns.saturating_add(ns);
        (window.from_ns.map_or(0, at), window.to_ns.map_or(u64::MAX, at))
    }

    fn reliability(&self, min_ppm: u32, window: Window) -> Result<(), Fault> {
        let (from, to) = self.bounds(window);
        let (expected, delivered) = self.broadcasts.total_reach(from, to);
        if expected > 0 && delivered * 1_000_000 >= expected * u64::from(min_ppm) {
            return Ok(());
        }
        Err((None, format!("{delivered} of {expected} deliveries were made, {min_ppm} of a million asked")))
    }

    /// Relative message redundancy in a window, in millionths: payloads beyond the first for each delivery; none where
    /// nothing was delivered.
    pub fn rmr_ppm(&self, window: Window) -> Option<u64> {
        let (from, to) = self.bounds(window);
        let before = self.tallies.iter().rfind(|tally| tally.at_ns <= from).copied().unwrap_or_default();
        let until = self.tallies.iter().find(|tally| tally.at_ns >= to).or(self.tallies.last());
        let until = until.copied().unwrap_or_default();
        let duplicates = until.duplicates.saturating_sub(before.duplicates);
        let received = until.received.saturating_sub(before.received);
        (duplicates * 1_000_000).checked_div(received.saturating_sub(duplicates))
    }

    fn rmr_at_most(&self, max_ppm: u64, window: Window) -> Result<(), Fault> {
        match self.rmr_ppm(window).ok_or_else(nothing_measured)? {
            ppm if ppm <= max_ppm => Ok(()),
            ppm => Err((None, format!("{} redundant payloads a delivery", Milli(ppm / 1_000)))),
        }
    }

    /// The messages of a window that came to anybody else: without a delivery there is nothing to measure.
    fn delivered_in(&self, window: Window) -> impl Iterator<Item = &Message> {
        let (from, to) = self.bounds(window);
        let is_within = move |message: &&Message| message.at >= from && message.at < to;
        self.broadcasts.messages().filter(is_within).filter(|message| message.hops_max > 0)
    }

    fn ldh_at_most(&self, max_ppm: u64, window: Window) -> Result<(), Fault> {
        let messages = self.delivered_in(window);
        let (sum, count) = messages.fold((0, 0), |(s, c), m| (s + u64::from(m.hops_max), c + 1));
        match (sum * 1_000_000u64).checked_div(count).ok_or_else(nothing_measured)? {
            ppm if ppm <= max_ppm => Ok(()),
            ppm => Err((None, format!("the last delivery took {} hops", Milli(ppm / 1_000)))),
        }
    }

    fn latency_at_most(&self, p99_ns: u64, window: Window) -> Result<(), Fault> {
        let mut last: Vec<u64> = match window {
            Window { from_ns: None, to_ns: None } => self.broadcasts.latencies_ns.clone(),
            Window { .. } => self.delivered_in(window).map(|message| message.last_ns).collect(),
        };
        last.sort_unstable();
        match last.get((last.len() * 99).div_ceil(100).saturating_sub(1)).ok_or_else(nothing_measured)? {
            ns if *ns <= p99_ns => Ok(()),
            ns => Err((None, format!("99 % were delivered after {} ms", ns / NANOS_PER_MILLI))),
        }
    }

    fn converged(&self, map: MapId, nodes: &dyn Nodes) -> Result<(), Fault> {
        let mut first = None;
        for node in self.overlay.members() {
            let Some(status) = nodes.map_status(node, map) else {
                return Err((Some(node), "does not host the map".into()));
            };
            let hashes = (status.vector_hash, status.fingerprint);
            if *first.get_or_insert(hashes) != hashes {
                let count = status.count;
                return Err((
                    Some(node),
                    format!("holds another state than the first node ({count} live keys)"),
                ));
            }
        }
        Ok(())
    }

    fn events_fold(&self, map: MapId, nodes: &dyn Nodes) -> Result<(), Fault> {
        fault_of(self.state.event_fault())?;
        for node in self.overlay.members() {
            let mut held = Vec::new();
            nodes.each_entry(node, map, &mut |key, value| held.push((key.clone(), value.clone())));
            let held = held.iter().map(|(key, value)| (key, value));
            none(self.state.unfolded(node, map, held).map(|what| (node, what)))?;
        }
        Ok(())
    }

    fn clocks_bounded(&self, at_ns: u64, nodes: &dyn Nodes) -> Result<(), Fault> {
        let true_ms = crate::clock::WALL_EPOCH_MS + at_ns / NANOS_PER_MILLI;
        for (node, ahead_ms) in (0..nodes.count()).zip(&self.clock_ahead_ms) {
            let Some(status) = nodes.status(node) else { continue };
            let allowed_ms = true_ms + ahead_ms + self.config.clock_drift_ms_max + 1;
            if status.clock.millis() > allowed_ms {
                let over_ms = status.clock.millis() - allowed_ms;
                return Err((Some(node), format!("its clock is {over_ms} ms further ahead than allowed")));
            }
        }
        Ok(())
    }
}

/// Tells whether a check is about the overlay or the cluster as a whole, and so means nothing during bootstrap.
fn is_global(check: &Check) -> bool {
    match check {
        Check::Connected
        | Check::Symmetric { .. }
        | Check::NobodyAlone
        | Check::NobodyFromTheDead
        | Check::Calm { .. }
        | Check::Converged { .. }
        | Check::Exact { .. }
        | Check::NothingLost { .. }
        | Check::Reliability { .. }
        | Check::Rmr { .. }
        | Check::Ldh { .. }
        | Check::Latency { .. }
        | Check::MembersExact
        | Check::DirectoryExact
        | Check::NamesUnique
        | Check::MailAccounted { .. }
        | Check::OneOwner
        | Check::NoDeadOwner { .. } => true,
        Check::Bounded
        | Check::DeliveredOnce
        | Check::EventsFoldToView { .. }
        | Check::ClocksMonotonic
        | Check::ClocksBounded
        | Check::NoFalseVerdict { .. }
        | Check::NoFalseSuspicion { .. }
        | Check::DetectedByNeighbors { .. }
        | Check::DetectedByAll { .. }
        | Check::LeaveSeenAsLeave { .. }
        | Check::DirectorySafe { .. }
        | Check::TopologySafe { .. }
        | Check::ServiceEventsOnce
        | Check::LookupsTrue { .. }
        | Check::MailAtMostOnce
        | Check::MailInOrder
        | Check::MailToTheLiving
        | Check::CallsAnsweredOnce { .. }
        | Check::MonitorsFireOnce { .. }
        | Check::TiesCloseBoth { .. }
        | Check::OwnersAlternate
        | Check::BootingOwnsNothing
        | Check::MismatchRefused
        | Check::OwnershipStill { .. } => false,
    }
}

/// What is said of a figure that there was nothing to take from: it is no proof of anything.
fn nothing_measured() -> Fault {
    (None, "no message was delivered in its time, so nothing was measured".into())
}

fn none(fault: Option<(u32, String)>) -> Result<(), Fault> {
    fault.map_or(Ok(()), |(node, what)| Err((Some(node), what)))
}

fn fault_of(fault: Option<&(u64, u32, String)>) -> Result<(), Fault> {
    none(
        fault
            .map(|(at, node, what)| (*node, format!("{what}, at {} ms of world time", at / NANOS_PER_MILLI))),
    )
}

/// A number in thousandths, written with its decimals.
struct Milli(u64);

impl core::fmt::Display for Milli {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1_000, self.0 % 1_000)
    }
}

impl Asked {
    /// Tells whether the next look is the last: comparing every key of every node is asked again only at the end.
    fn is_settled(&self) -> bool {
        self.held_since.is_some()
            && matches!(
                self.spec.check,
                Check::Exact { .. }
                    | Check::NothingLost { .. }
                    | Check::MembersExact
                    | Check::DirectoryExact
                    | Check::NamesUnique
                    | Check::MailAccounted { .. }
                    | Check::OneOwner
            )
    }

    fn note(&mut self, at_ns: u64, judged: Result<(), Fault>) {
        let is_forgiving = matches!(self.spec.check, Check::Connected | Check::NobodyAlone);
        match judged {
            Ok(()) => {
                self.held_since.get_or_insert(at_ns);
                self.is_in_doubt = false;
            }
            // A neighbour that is exchanged for another can leave a node alone for the moment that this takes.
            Err(_) if is_forgiving && self.held_since.is_some() && !self.is_in_doubt => {
                self.is_in_doubt = true;
            }
            Err(fault) => {
                // A `sometimes` stays reached; everything else must hold again from here on.
                if self.spec.when != When::Sometimes {
                    self.held_since = None;
                }
                if self.violated.is_none() {
                    self.violated = Some((at_ns, fault.clone()));
                }
                self.last_fault = Some(fault);
            }
        }
    }

    fn outcome(&self, calm_ns: Option<u64>) -> PropertyOutcome {
        let (name, when) = (self.spec.word(), self.spec.when.word());
        let held = |at_ns| (PropertyStatus::Held, at_ns, None, None);
        let failed = |at_ns, fault: Option<&Fault>| {
            let (node, what) = fault.cloned().unwrap_or((None, "it was never looked at".into()));
            (PropertyStatus::Failed, at_ns, node, Some(what))
        };
        let (status, at_ns, node, detail) = match (self.spec.when, self.held_since, &self.violated) {
            (When::Always, _, Some((at_ns, fault))) => failed(Some(*at_ns), Some(fault)),
            (When::Always, Some(_), None) => held(None),
            (When::Sometimes, Some(at_ns), _) => held(Some(at_ns)),
            (When::Sometimes, None, _) => (PropertyStatus::Unreached, None, None, None),
            // What is judged once, at the end, is judged in time.
            (When::Eventually { .. }, Some(since), _) if self.spec.check.window().is_some() => {
                held(Some(since))
            }
            (When::Eventually { within_ns }, Some(since), _) => match calm_ns {
                Some(calm) if since <= calm.saturating_add(within_ns) => held(Some(since)),
                _ => (PropertyStatus::Failed, Some(since), None, Some("it came to hold too late".into())),
            },
            (When::Always | When::Eventually { .. }, None, _) => failed(None, self.last_fault.as_ref()),
        };
        PropertyOutcome { name, when, status, at_ns, node, detail }
    }
}
