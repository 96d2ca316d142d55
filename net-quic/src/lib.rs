//! The protocols of Rumormill on a real network.
//!
//! This crate will run the very same [`rumormill_core`] node that the simulator runs, on tokio, quinn and
//! rustls, and hold the API that services embed. It is built in the third step of the project; until then it
//! only holds its place in the house, so that nothing else moves in.
#![no_std]
