//! The protocols of Rumormill in a simulated world.
//!
//! A [`Scenario`] says what the world is like, what goes wrong in it and what must hold; with a [`Seed`] it expands to an
//! explicit [`Schedule`]; a [`Run`] lets the [`World`] carry it out, judges what is observed, and ends in an [`Outcome`].
//!
//! The laws of the world:
//! - **Total order.** Events are ordered by time, destination, source and the source's own sequence, never by the
//!   accident of insertion.
//! - **Addressed randomness.** Every draw names its decision, so one decision more or fewer never moves another.
//! - **Determinism is checked.** Every node and the world have a rolling hash, with checkpoints.
//! - **Faults leave receipts.** A fault that touched nothing makes the run vacuous, which is never a pass.
//! - **Chaos, then calm.** Safety holds at every step; liveness is asked for once faults and workloads are over.
#![forbid(unsafe_code)]

mod agenda;
mod clock;
mod draw;
mod faults;
pub mod judge;
mod network;
mod outcome;
mod questions;
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
pub use questions::Questions;
pub use run::{Progress, Run, TracedEvent};
pub use scenario::{Scenario, ScenarioError};
pub use schedule::{
    Action, ClockChange, DiskFate, FaultEffect, LatencyModel, MailOrder, NetworkModel, NodeSet, Order,
    Profile, Recipient, Schedule, Step,
};
pub use trial::{Failure, Trial};
pub use world::{
    Checkpoint, Counters, KINDS, Load, Observer, Options, PURPOSES, Process, Sent, Stepped, World,
};
