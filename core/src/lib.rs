//! The protocols of Rumormill as pure state machines: no clock, no socket, no thread, no OS randomness.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod app;
#[cfg(test)]
mod bench;
mod blocks;
pub mod broadcast;
mod config;
mod dots;
pub mod frame;
pub mod hash;
pub mod hlc;
mod id;
pub mod lattice;
pub mod links;
pub mod log;
pub mod lww_map;
mod machine;
pub mod mailboxes;
mod marks;
mod member;
pub mod members;
pub mod membership;
mod node;
mod observation;
pub mod op;
pub mod or_map;
pub mod placement;
pub mod registry;
pub mod replica;
pub mod ring;
mod rng;
mod schema;
mod service;
mod slots;
mod stats;
mod time;
mod trace;
pub mod version_vector;
mod watches;

pub use app::{App, AppCx, Reads};
pub use config::{Canary, Config, ConfigError, MapConfig};
pub use frame::{Bundle, Bundler, Channel, Class, Frame};
pub use hlc::{Ahead, Hlc, Stamp};
pub use id::{
    ADDRS_MAX, Address, Contact, Incarnation, MailboxId, MapId, MessageId, NodeId, Question, Token, Topic,
    Version, Writer,
};
pub use lattice::{GCounter, Lattice, LwwRegister, MaxRegister, PnCounter};
pub use lww_map::LwwMap;
pub use machine::{
    CloseReason, Command, CommandError, Cx, Dialer, DownReason, Durability, Effect, Event, Input, Machine,
    MailLoss, NeighborLoss, News, Origin, Reply, Row, ServiceLoss, Space, Watch,
};
pub use member::{ClusterNumbers, Life, Member, MemberRecord, MemberState};
pub use node::{Boot, Node, Output};
pub use observation::{MapStatus, MembersStatus, Nodes, Observation, Observed, RegistryStatus, Status};
pub use op::Op;
pub use or_map::OrMap;
pub use registry::Registry;
pub use ring::{Ring, RingError};
pub use rng::{Draw, Purpose, Rng};
pub use schema::Schema;
pub use service::Service;
pub use stats::Stats;
pub use time::{Instant, NANOS_PER_MILLI, Nanos, Now, Wall};
pub use trace::TraceHash;
pub use version_vector::VersionVector;
