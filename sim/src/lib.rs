//! The protocols of Rumormill in a simulated world.

mod schedule;

pub use schedule::{
    Action, ClockChange, DiskFate, FaultEffect, LatencyModel, NetworkModel, NodeSet, Profile, Schedule, Step,
};
