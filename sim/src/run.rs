//! Runs a scenario: expands it, lets the world go from look to look, judges it.

use crate::judge::{Judge, LOOK_EVERY_NS, Troubles, families_of};
use crate::outcome::{BroadcastOutcome, FaultOutcome, Outcome, StateOutcome};
use crate::scenario::{Scenario, ScenarioError, Window};
use crate::schedule::{Action, ClockChange, FaultEffect, Schedule};
use crate::{Checkpoint, Observer, Options, Seed, World};
use rumormill_core::{App, MapId, NANOS_PER_MILLI, Nodes, Observation};
use std::sync::Arc;

/// Steps after which a run looks whether a law is broken that one event can break. A guess.
const STEPS_BETWEEN_LAWS: u32 = 100_000;

/// A run under way: a world and its judge.
#[derive(Clone)]
pub struct Run<A: App = ()> {
    name: String,
    /// The kind and the times of each fault, for its receipt.
    faults: Vec<(&'static str, u64, Option<u64>)>,
    world: World<A>,
    judge: Judge,
    /// When the schedule's last step is due, or bootstrap ends; before any quiescing.
    last_step_ns: u64,
    next_look_ns: u64,
    first_look_ns: u64,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// World time, in nanoseconds.
    pub now_ns: u64,
    /// World time at which the run will end, as far as it is known.
    pub end_ns: u64,
    /// Inputs handled so far by all nodes.
    pub events: u64,
}

/// Lets the judge observe what the world shows.
struct Watch<'a>(&'a mut Judge);

impl Observer for Watch<'_> {
    fn observe(&mut self, observation: &Observation<'_>) {
        self.0.observe(observation);
    }
}

impl Run {
    /// Expands a scenario under a seed, without users' applications.
    ///
    /// # Errors
    /// What [`Scenario::validate`] finds, and a scenario that names an application.
    pub fn new(scenario: &Scenario, seed: Seed, options: Options) -> Result<Self, ScenarioError> {
        scenario.check_bare()?;
        Run::with_app(scenario, seed, options, |_| ())
    }
}

impl<A: App> Run<A> {
    /// Expands a scenario under a seed, with an application on each node.
    ///
    /// # Errors
    /// What [`Scenario::validate`] finds.
    pub fn with_app(
        scenario: &Scenario,
        seed: Seed,
        options: Options,
        app: fn(u32) -> A,
    ) -> Result<Self, ScenarioError> {
        scenario.validate()?;
        let schedule = Arc::new(scenario.expand(seed.value));
        let judge = Judge::new(
            &scenario.properties,
            schedule.config.clone(),
            schedule.nodes,
            schedule.bootstrap_end_ns,
            clocks_ahead_ms(&schedule),
        )
        .with_troubles(Troubles::of(&schedule))
        .with_families(families_of(&schedule));
        let faults =
            scenario.faults.iter().map(|fault| (fault.kind.word(), fault.at_ns, fault.for_ns)).collect();
        Ok(Self {
            name: scenario.name.clone(),
            faults,
            last_step_ns: schedule
                .steps
                .iter()
                .map(|step| step.at_ns)
                .fold(schedule.bootstrap_end_ns, u64::max),
            world: World::new(schedule, seed, options, app),
            judge,
            next_look_ns: LOOK_EVERY_NS,
            first_look_ns: LOOK_EVERY_NS,
        })
    }

    /// Shows the world.
    pub fn world(&self) -> &World<A> {
        &self.world
    }

    /// Shows what is known of the run so far.
    pub fn judge(&self) -> &Judge {
        &self.judge
    }

    /// Tells how far the run is.
    pub fn progress(&self) -> Progress {
        Progress {
            now_ns: self.world.now_ns(),
            end_ns: self.world.end_ns(),
            events: self.world.counters().events,
        }
    }

    /// Shows the hashes taken on the way.
    pub fn checkpoints(&self) -> &[Checkpoint] {
        self.world.checkpoints()
    }

    /// Runs until the next look and takes it; tells whether there is more to come.
    pub fn advance(&mut self) -> bool {
        let at_ns = self.next_look_ns;
        while !self.world.run_some(STEPS_BETWEEN_LAWS, at_ns, &mut Watch(&mut self.judge)) {
            if self.judge.is_law_broken() {
                return false; // what is broken may never come to rest
            }
        }
        let calm_ns = self.last_step_ns.saturating_add(self.world.shift_ns());
        if self.world.has_taken_all() && at_ns >= calm_ns {
            self.judge.on_calm(calm_ns);
        }
        if self.world.is_over() {
            return false;
        }
        self.judge.look(at_ns, &self.world);
        self.next_look_ns = at_ns + LOOK_EVERY_NS;
        true
    }

    /// Runs to the end and tells what came of it.
    pub fn finish(mut self) -> Outcome {
        while self.advance() {}
        self.outcome()
    }

    /// Tells what came of a run whose [`Run::advance`] has nothing more to come.
    pub fn outcome(mut self) -> Outcome {
        let at_ns = self.world.now_ns();
        let properties = self.judge.finish(at_ns, &self.world);
        let receipts: Vec<_> = self.world.receipts().collect();
        let fault = |(number, &(kind, at_ns, for_ns)): (usize, &(&'static str, u64, Option<u64>))| {
            let receipt = receipts.iter().find(|(of, _)| *of as usize == number).map(|(_, receipt)| *receipt);
            FaultOutcome { kind, at_ns, for_ns, receipt: receipt.unwrap_or_default() }
        };
        let faults = self.faults.iter().enumerate().map(fault).collect();
        let nodes = self.world.count();
        Outcome {
            scenario: self.name.clone(),
            seed: self.world.seed(),
            nodes,
            hash: self.world.hash(),
            virtual_ns: at_ns,
            bootstrap_end_ns: self.world.schedule().bootstrap_end_ns,
            counters: self.world.counters(),
            properties,
            faults,
            broadcast: self.broadcast(),
            overlay: self.judge.overlay.figures(),
            state: self.state(),
            machines: self.judge.machines(&self.world),
            sent: *self.world.sent(),
            node_bytes: (0..nodes).map(|node| self.world.load(node).bytes).collect(),
            series: self.judge.series().to_vec(),
            series_start_ns: self.first_look_ns,
            stats: self.world.totals(),
        }
    }

    fn broadcast(&self) -> Option<BroadcastOutcome> {
        let broadcasts = &self.judge.broadcasts;
        broadcasts.messages().next()?;
        let (expected, delivered) = broadcasts.total_reach(0, u64::MAX);
        Some(BroadcastOutcome {
            sent: broadcasts.messages().count() as u64,
            refused: broadcasts.refused,
            expected,
            delivered,
            rmr_ppm: self.judge.rmr_ppm(Window { from_ns: Some(0), to_ns: None }).unwrap_or(0),
            last_hops: broadcasts.messages().map(|message| message.hops_max).collect(),
            last_ns: broadcasts.messages().map(|message| message.last_ns).collect(),
            latencies_ns: broadcasts.latencies_ns.clone(),
        })
    }

    fn state(&self) -> Option<StateOutcome> {
        let config = &self.world.schedule().config;
        config.maps.first()?;
        let mut hashes = config.maps.iter().map(|map| MapId::named(&map.name)).map(|map| {
            let of = |node| {
                self.world.map_status(node, map).map(|status| (status.vector_hash, status.fingerprint))
            };
            let mut members = self.judge.overlay.members().map(of);
            let first = members.next();
            members.all(|hash| Some(hash) == first)
        });
        let channels = self.world.counters().channel_bytes;
        Some(StateOutcome {
            converged: hashes.all(|is_equal| is_equal),
            converged_ns: self.judge.converged_ns().collect(),
            acknowledged: self.judge.state.acknowledged,
            refused: self.judge.state.refused,
            keys: self.judge.state.keys(),
            sync_bytes: channels[rumormill_core::Channel::Sync as usize],
            gossip_bytes: channels[rumormill_core::Channel::Gossip as usize],
        })
    }
}

/// How far each node's wall clock may at most be ahead of true time during the run, in milliseconds.
fn clocks_ahead_ms(schedule: &Schedule) -> Vec<u64> {
    let mut ahead = vec![0u64; schedule.nodes as usize];
    let end_ms = schedule.end_ns / NANOS_PER_MILLI;
    let mut allow = |change: &ClockChange| {
        let drift_ms = end_ms.saturating_mul(change.drift_ppm.max(0) as u64).div_ceil(1_000_000);
        let allowed = &mut ahead[change.node as usize];
        *allowed = (*allowed).max(change.offset_ms.max(0).unsigned_abs().saturating_add(drift_ms));
    };
    schedule.clocks.iter().for_each(&mut allow);
    for step in &schedule.steps {
        if let Action::Begin { effect: FaultEffect::Clock(changes), .. } = &step.action {
            changes.iter().for_each(&mut allow);
        }
    }
    ahead
}

/// One event of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TracedEvent {
    /// Its number: inputs handled by all nodes until after it.
    pub number: u64,
    /// When it happened, in nanoseconds of world time.
    pub at_ns: u64,
    /// The node that it happened to; none for a step of the schedule.
    pub node: Option<u32>,
    /// The hash of the world after it.
    pub hash: u64,
}

impl<A: App> Run<A> {
    /// Runs to an event and shows each one of a window with the hash after it. Looks are left out: they change
    /// nothing.
    pub fn trace(mut self, from: u64, to: u64, show: &mut dyn FnMut(TracedEvent)) {
        while self.world.counters().events < to {
            let Some(stepped) = self.world.step(&mut ()) else { return };
            let number = self.world.counters().events;
            if number > from {
                show(TracedEvent {
                    number,
                    at_ns: stepped.at_ns,
                    node: stepped.node,
                    hash: self.world.hash(),
                });
            }
        }
    }
}
