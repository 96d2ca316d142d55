//! The hybrid logical clock: stamps that order events as their causes did and stay close to the wall clock.
//!
//! Kulkarni, Demirbas, Madappa, Avva, Leone: "Logical Physical Clocks" (OPODIS 2014), algorithm 1. Departures: a
//! stamp is 48 bits of Unix milliseconds and a 16-bit counter in one `u64`, so a counter that overflows carries
//! into the milliseconds without a special case; and forward drift is bounded: a stamp that is further ahead than
//! `drift_ms_max` is refused and never adopted or altered.

use crate::time::Wall;
use core::fmt;
use serde::{Deserialize, Serialize};

/// Bits of the counter below the milliseconds.
const COUNTER_BITS: u32 = 16;

/// The greatest millisecond reading that a stamp can hold: some time in the year 10889.
const MILLIS_MAX: u64 = (1 << (64 - COUNTER_BITS)) - 1;

/// A stamp: 48 bits of Unix milliseconds above a 16-bit counter. Ordered as a number.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stamp(pub u64);

impl Stamp {
    /// The stamp before every other.
    pub const ZERO: Stamp = Stamp(0);

    /// Packs milliseconds and counter; milliseconds beyond 48 bits are capped.
    pub const fn new(millis: u64, counter: u16) -> Self {
        let millis = if millis > MILLIS_MAX { MILLIS_MAX } else { millis };
        Self(millis << COUNTER_BITS | counter as u64)
    }

    /// Tells the milliseconds since the Unix epoch.
    pub const fn millis(self) -> u64 {
        self.0 >> COUNTER_BITS
    }

    /// Tells the counter that orders stamps of one millisecond.
    pub const fn counter(self) -> u16 {
        self.0 as u16
    }

    /// Writes the 8-byte form, big-endian, whose byte order is the stamps' order.
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    /// Reads the 8-byte form.
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(u64::from_be_bytes(bytes))
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.millis(), self.counter())
    }
}

/// A stamp from further in the future than the clock may follow. The clock is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ahead {
    /// How far the stamp is ahead of the local wall clock, in milliseconds.
    pub ahead_ms: u64,
    /// How far it may be, in milliseconds.
    pub drift_ms_max: u64,
}

impl fmt::Display for Ahead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ahead_ms, drift_ms_max } = self;
        write!(f, "stamp is {ahead_ms} ms ahead, at most {drift_ms_max} ms allowed; the clock is unchanged")
    }
}

impl core::error::Error for Ahead {}

/// The clock of one node: the last stamp, and how far ahead of the wall it may be led.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hlc {
    last: Stamp,
    drift_ms_max: u64,
}

impl Hlc {
    /// Starts a clock that issues stamps after `mark`, the persisted high-water mark of an earlier life.
    pub const fn new(mark: Stamp, drift_ms_max: u64) -> Self {
        Self { last: mark, drift_ms_max }
    }

    /// Issues a stamp: greater than every stamp issued or received before, and not behind the wall clock.
    ///
    /// Only at the very end of the range, in the year 10889, the clock stands still: it never wraps. A mark that
    /// is too great is therefore checked by whoever restores it, with [`Hlc::allow`].
    #[inline]
    pub fn now(&mut self, wall: Wall) -> Stamp {
        let next = self.peek(wall);
        self.last = next;
        next
    }

    /// Tells the stamp that [`Hlc::now`] would issue, without issuing it.
    #[inline]
    pub fn peek(&self, wall: Wall) -> Stamp {
        Stamp(self.last.0.saturating_add(1).max(Stamp::new(wall.0, 0).0))
    }

    /// Follows a stamp received from elsewhere, so that the next one issued is greater.
    ///
    /// So `last` is never further ahead than the drift of the greatest wall reading, unless it was started there
    /// or more than 65,536 stamps are issued in each millisecond. A wall clock that goes back leaves it ahead.
    ///
    /// # Errors
    /// [`Ahead`] when the stamp is more than the allowed drift ahead of `wall`; the clock is then unchanged.
    #[inline]
    pub fn receive(&mut self, stamp: Stamp, wall: Wall) -> Result<(), Ahead> {
        self.allow(stamp, wall)?;
        self.last = self.last.max(stamp);
        Ok(())
    }

    /// Follows any stamp, as the planted bug `unbounded-drift` does.
    pub(crate) fn receive_unbounded(&mut self, stamp: Stamp) {
        self.last = self.last.max(stamp);
    }

    /// Judges a stamp as [`Hlc::receive`] would, without following it.
    ///
    /// # Errors
    /// [`Ahead`] when the stamp is more than the allowed drift ahead of `wall`.
    #[inline]
    pub fn allow(&self, stamp: Stamp, wall: Wall) -> Result<(), Ahead> {
        let ahead_ms = stamp.millis().saturating_sub(wall.0);
        if ahead_ms > self.drift_ms_max {
            return Err(Ahead { ahead_ms, drift_ms_max: self.drift_ms_max });
        }
        Ok(())
    }

    /// Shows the greatest stamp issued or received so far.
    pub fn last(&self) -> Stamp {
        self.last
    }
}
