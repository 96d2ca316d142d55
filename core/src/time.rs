//! Time as an argument: nothing in this crate reads a clock.

use core::ops::{Add, Sub};
use serde::{Deserialize, Serialize};

/// Nanoseconds in a millisecond.
pub const NANOS_PER_MILLI: u64 = 1_000_000;

/// A point on one node's own monotonic clock: nanoseconds since an origin that the driver chose.
///
/// It never goes on the wire and is never compared between nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Instant(pub u64);

impl Instant {
    /// The instant that no deadline ever reaches.
    pub const NEVER: Instant = Instant(u64::MAX);

    /// Builds an instant from milliseconds since the node's origin.
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms.saturating_mul(NANOS_PER_MILLI))
    }

    /// Tells the whole milliseconds from `earlier` to `self`, zero when `earlier` is later.
    pub const fn millis_since(self, earlier: Instant) -> u64 {
        self.0.saturating_sub(earlier.0) / NANOS_PER_MILLI
    }

    /// Adds milliseconds, saturating at [`Instant::NEVER`].
    pub const fn plus_millis(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms.saturating_mul(NANOS_PER_MILLI)))
    }
}

impl Add<Nanos> for Instant {
    type Output = Instant;
    fn add(self, span: Nanos) -> Instant {
        Instant(self.0.saturating_add(span.0))
    }
}

impl Sub for Instant {
    type Output = Nanos;
    fn sub(self, earlier: Instant) -> Nanos {
        Nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A span of time in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Nanos(pub u64);

/// A wall clock reading: milliseconds since the Unix epoch.
///
/// Only the hybrid logical clock and expiry stamps look at it; leases, retries and back-off never do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Wall(pub u64);

/// What the clocks of a node read when an input arrives: exactly one for each input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Now {
    /// The monotonic clock. A driver never lets it go back.
    pub mono: Instant,
    /// The wall clock, which may step, drift and go back.
    pub wall: Wall,
}
