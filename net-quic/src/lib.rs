//! The protocols of Rumormill on a real network: what services embed.
//!
//! This crate runs the very same [`rumormill_core`] node that the simulator runs, on tokio, quinn and rustls. A
//! [`Cluster`] is the handle of a running node.
#![forbid(unsafe_code)]

mod app;
mod builder;
mod cluster;
mod connection;
mod driver;
mod endpoint;
mod handshake;
mod hear;
mod hello;
mod identity;
mod mailboxes;
mod maps;
mod node_ref;
mod placement;
mod published;
mod record;
mod request;
mod services;
mod store;
mod streams;
pub mod testing;
mod tls;
mod topics;
mod trust;
mod watch;

pub use app::Hosted;
pub use builder::{BuildError, Builder};
pub use cluster::{Cluster, Error};
pub use driver::WallClock;
pub use hello::NAME_LEN_MAX;
pub use identity::{Identity, IdentityError};
pub use mailboxes::{Address, Asked, Incoming, Mailbox, Monitor};
pub use maps::{Change, Changes, Map, schema_of};
pub use node_ref::NodeRef;
pub use request::{Letter, Message};
pub use rumormill_core as core;
pub use rumormill_core::{
    CommandError, MailLoss, Member, MemberState, News, NodeId, Schema, Service, ServiceLoss,
};
pub use services::{Found, Offer, ServiceExt};
pub use store::StoreError;
pub use streams::{Acceptor, Stream, TAG_LEN_MAX};
pub use trust::{Pin, Refusal, Trust};
pub use watch::{Feed, Watching};
