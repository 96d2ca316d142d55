//! The protocols of Rumormill in a simulated world.

pub mod scenario;
mod schedule;

pub use scenario::{Scenario, ScenarioError};
pub use schedule::{
    Action, ClockChange, DiskFate, FaultEffect, LatencyModel, NetworkModel, NodeSet, Order, Profile,
    Schedule, Step,
};
