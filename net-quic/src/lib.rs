//! The protocols of Rumormill on a real network: what services embed.
//!
//! This crate runs the very same [`rumormill_core`] node that the simulator runs, on tokio, quinn and rustls. A
//! [`Cluster`] is the handle of a running node, and where everything begins:
//!
//! | what | where |
//! |---|---|
//! | start a node | [`Cluster::builder`], [`Builder`] |
//! | come and go | [`Builder::seeds`], [`Cluster::join`], [`Cluster::why_outside`], [`Cluster::leave`] |
//! | whom to trust | [`Builder::secret`], [`Trust`], [`Cluster::pins`], [`Cluster::revoke`], [`Cluster::last_refusals`] |
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
//!
//! # Who comes in, and how a node goes
//!
//! Every node of a cluster is given the same secret. A stranger that knows it comes in, and the key that it shows is pinned to its
//! name at the first meeting; [`Trust::Strict`] and [`Trust::Authority`] ask for more. Whoever is refused learns nothing: the
//! reason is told to the user of the node that refuses. A node that [leaves](Cluster::leave) is gone at once for everybody; one that
//! just ends is found dead some seconds later.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use rumormill_net_quic::{Cluster, Refusal};
//!
//! let listen = "127.0.0.1:0".parse()?;
//! let node = |name| Cluster::builder("demo").name(name).listen(listen);
//! let ann = node("ann").secret("known to all of us").start().await?;
//! let bob = node("bob").secret("known to all of us").start().await?;
//! bob.join(&[ann.local_addr()]).await?;
//! assert!(ann.pins().iter().any(|pin| pin.name == "bob" && pin.key == bob.id()));
//!
//! let eve = node("eve").secret("a guess").start().await?;
//! assert!(eve.join(&[ann.local_addr()]).await.is_err());
//! assert_eq!(ann.last_refusals()[0].reason, Refusal::WrongSecret);
//!
//! bob.leave().await?; // everybody is told
//! bob.shutdown().await;
//! # Ok(()) }
//! ```
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
mod letters;
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
mod timers;
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
pub use request::Message;
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
