//! What a run tells: one record for every driver, statistics that merge, and three ways to read them.
//!
//! A [`Record`] is plain data. Whoever ran the world fills it in; this crate knows nothing of worlds, scenarios or
//! sockets. [`Record::to_json`] writes the object that `rumormill run --json` prints, [`text::render`] a summary for
//! a terminal, [`markdown::render`] the same for a page.
//!
//! ```
//! use rumormill_reports::{Finite, Record, Verdict, text};
//!
//! let record = Record {
//!     scenario: "first/hello".into(),
//!     seed: "1:42".into(),
//!     nodes: 1_000,
//!     verdict: Verdict::Pass,
//!     virtual_s: Finite::seconds(125_000_000_000),
//!     ..Record::default()
//! };
//! let summary = text::render(&record, &text::Style::default());
//! assert!(summary.starts_with("✓ PASS  first/hello  seed 1:42 · 1,000 nodes · 125 s virtual"));
//! ```
#![forbid(unsafe_code)]

mod finite;
mod gist;
mod histogram;
mod line;
pub mod markdown;
mod record;
mod table;
pub mod text;
mod timeline;
mod units;

pub use finite::{Finite, NotFinite};
pub use histogram::{Histogram, Quantiles, Rates, Spread};
pub use record::{
    Broadcast, Cost, Fault, Kind, Mail, Measure, Members, Overlay, Placement, Property, Record, Registry,
    SentFor, Series, State, Status, TraceHash, Traffic, Verdict,
};
