//! The protocols of Rumormill in a simulated world.
#![forbid(unsafe_code)]

mod agenda;
mod clock;
mod draw;
mod faults;
pub mod judge;
mod network;
mod outcome;
mod queue;
mod run;
pub mod scenario;
mod schedule;
mod trial;
mod world;

pub use clock::WALL_EPOCH_MS;
pub use draw::{SEED_VERSION, Seed, SeedError};
pub use faults::Receipt;
pub use outcome::{BroadcastOutcome, FaultOutcome, Outcome, StateOutcome, Verdict};
pub use run::{Progress, Run, TracedEvent};
pub use scenario::{Scenario, ScenarioError};
pub use schedule::{
    Action, ClockChange, DiskFate, FaultEffect, LatencyModel, NetworkModel, NodeSet, Order, Profile,
    Schedule, Step,
};
pub use trial::{Failure, Trial};
pub use world::{Checkpoint, Counters, KINDS, Load, Observer, Options, Process, Stepped, World};
