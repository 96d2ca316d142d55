//! The library of worlds: the applications that its scenarios host.
//!
//! The scenarios themselves are files, and the `rumormill` command runs them.
#![forbid(unsafe_code)]

pub mod apps;
