//! The protocols of Rumormill on a real network: what services embed.
//!
//! This crate runs the very same [`rumormill_core`] node that the simulator runs, on tokio, quinn and rustls. A
//! [`Cluster`] is the handle of a running node, and where everything begins:
//!
//! | what | where |
//! |---|---|
//! | start a node | [`Cluster::builder`], [`Builder`] |
//! | who is there | [`Cluster::members`], [`Cluster::watch_members`], [`NodeRef`] |
//! | services | [`Cluster::register`], [`Cluster::whereis`], [`Offer`] |
//! | mailboxes | [`Cluster::mailbox`], [`Mailbox`], [`Address`] |
//! | shared maps | [`Cluster::map`], [`Map`] |
//! | topics | [`Cluster::subscribe`], [`Cluster::publish`] |
//! | who owns which key | [`Cluster::place`], [`Cluster::watch_partitions`] |
//! | streams of bytes | [`Cluster::open_stream`], [`Cluster::accept_streams`], [`Stream`] |
//! | another key | [`Cluster::rotate_identity`], [`Identity`] |
//! | how connections do | [`Cluster::paths`], [`Path`] |
//! | another address | [`Cluster::migrate`], [`Move`] |
//! | applications of the simulator | [`Cluster::host`], [`Hosted`] |
//! | tests of your own | [`testing`] |
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
mod migrate;
mod node_ref;
mod paths;
mod placement;
mod published;
mod record;
mod request;
mod rotate;
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
pub use mailboxes::{Address, Asked, Incoming, Mailbox, Monitor, SentSome};
pub use maps::{Change, Changes, Map, schema_of};
pub use migrate::{MigrateError, Move, Moved};
pub use node_ref::NodeRef;
pub use paths::{Path, Use};
pub use request::{Letter, Message};
pub use rotate::RotateError;
pub use rumormill_core as core;
pub use rumormill_core::{
    CommandError, MailLoss, Member, MemberState, News, NodeId, Schema, Service, ServiceLoss,
};
pub use services::{Found, Offer, ServiceExt};
pub use store::StoreError;
pub use streams::{Acceptor, Stream, TAG_LEN_MAX};
pub use trust::{
    Authority, AuthorityKey, Certificate, Flaw, Notice, Notices, Pin, ROTATIONS_MAX, Refusal, Refused,
    Revocation, StatementError, Trust,
};
pub use watch::{Feed, Watching};
