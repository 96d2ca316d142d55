//! The protocols of Rumormill on a real network.
//!
//! This crate runs the very same [`rumormill_core`] node that the simulator runs, on tokio, quinn and rustls.
#![forbid(unsafe_code)]

mod connection;
mod handshake;
mod hello;
mod identity;
mod store;
mod tls;
mod trust;

pub use identity::{Identity, IdentityError};
pub use store::StoreError;
pub use trust::{Pin, Refusal, Trust};
