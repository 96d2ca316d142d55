//! The clocks of one simulated node: monotonic and wall, with drift, offset and standstill.

use crate::schedule::ClockChange;
use rumormill_core::{Instant, NANOS_PER_MILLI, Now, Wall};

/// What every right wall clock shows when a world begins: 2026-01-01 00:00:00 UTC, in milliseconds since 1970.
pub const WALL_EPOCH_MS: u64 = 1_767_225_600_000;

/// Parts of a million.
const MILLION: u64 = 1_000_000;
/// A clock never runs backwards or stands still by drift alone.
const DRIFT_PPM_MIN: i32 = -999_999;

/// Two clocks that read virtual time, rightly or not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// Virtual time at the last change.
    since_ns: u64,
    /// The monotonic clock at the last change.
    mono_ns: u64,
    /// The wall clock at the last change, in nanoseconds since 1970.
    wall_ns: u64,
    /// Nanoseconds of the clock in a millisecond of virtual time.
    rate: u64,
    is_frozen: bool,
}

impl Clock {
    /// Starts the clocks of a node that behaves so from the beginning of the world.
    pub(crate) fn new(initial: ClockChange) -> Self {
        let mut clock = Self { since_ns: 0, mono_ns: 0, wall_ns: 0, rate: MILLION, is_frozen: false };
        clock.change(initial, 0);
        clock
    }

    /// Boots: the monotonic clock starts again at zero. The wall clock belongs to the machine and goes on.
    pub(crate) fn boot(&mut self, at_ns: u64) {
        self.rebase(at_ns);
        self.mono_ns = 0;
    }

    /// Misbehaves from now on: the wall clock steps to its offset from true time, and both run at the new rate.
    pub(crate) fn change(&mut self, change: ClockChange, at_ns: u64) {
        self.rebase(at_ns);
        let right_ns = i128::from(WALL_EPOCH_MS * NANOS_PER_MILLI) + i128::from(at_ns);
        let wall_ns = right_ns + i128::from(change.offset_ms) * i128::from(NANOS_PER_MILLI);
        self.wall_ns = u64::try_from(wall_ns.max(0)).unwrap_or(u64::MAX);
        self.rate = MILLION.saturating_add_signed(i64::from(change.drift_ppm.max(DRIFT_PPM_MIN)));
        self.is_frozen = change.frozen;
    }

    /// Goes back to what the clocks did from the beginning, as if they had done so all the time.
    pub(crate) fn restore(&mut self, initial: ClockChange, at_ns: u64) {
        let wall_ns = Self::new(initial).wall_at(at_ns);
        self.change(initial, at_ns);
        self.wall_ns = wall_ns;
    }

    /// Reads both clocks.
    #[inline]
    pub(crate) fn read(&self, at_ns: u64) -> Now {
        Now { mono: Instant(self.mono_at(at_ns)), wall: Wall(self.wall_at(at_ns) / NANOS_PER_MILLI) }
    }

    /// Tells the earliest virtual time at which the monotonic clock shows `deadline` or more.
    pub(crate) fn virtual_at(&self, deadline: Instant) -> u64 {
        let ahead = deadline.0.saturating_sub(self.mono_ns);
        let elapsed = if self.rate == MILLION {
            ahead
        } else {
            let exact = (u128::from(ahead) * u128::from(MILLION)).div_ceil(u128::from(self.rate));
            u64::try_from(exact).unwrap_or(u64::MAX)
        };
        self.since_ns.saturating_add(elapsed)
    }

    fn rebase(&mut self, at_ns: u64) {
        (self.mono_ns, self.wall_ns) = (self.mono_at(at_ns), self.wall_at(at_ns));
        self.since_ns = at_ns;
    }

    #[inline]
    fn mono_at(&self, at_ns: u64) -> u64 {
        self.mono_ns.saturating_add(self.elapsed(at_ns))
    }

    #[inline]
    fn wall_at(&self, at_ns: u64) -> u64 {
        if self.is_frozen { self.wall_ns } else { self.wall_ns.saturating_add(self.elapsed(at_ns)) }
    }

    /// Tells how far the clocks have run since the last change.
    #[inline]
    fn elapsed(&self, at_ns: u64) -> u64 {
        let elapsed = at_ns.saturating_sub(self.since_ns);
        if self.rate == MILLION {
            return elapsed;
        }
        let exact = u128::from(elapsed) * u128::from(self.rate) / u128::from(MILLION);
        u64::try_from(exact).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    fn change(offset_ms: i64, drift_ppm: i32, frozen: bool) -> ClockChange {
        ClockChange { node: 0, offset_ms, drift_ppm, frozen }
    }

    proptest! {
        #[test]
        fn a_deadline_is_met_at_the_first_nanosecond_that_shows_it(
            drift_ppm in -999_999..2_000_000_i32,
            boot_ns in 0..1_000_000_000_000_u64,
            deadline in 0..100_000_000_000_000_u64,
        ) {
            let mut clock = Clock::new(change(0, drift_ppm, false));
            clock.boot(boot_ns);
            let at_ns = clock.virtual_at(Instant(deadline));
            prop_assert!(clock.read(at_ns).mono.0 >= deadline);
            prop_assert!(at_ns == boot_ns || clock.read(at_ns - 1).mono.0 < deadline);
        }

        #[test]
        fn changes_never_move_the_monotonic_clock(
            changes in prop::collection::vec((0..SECOND, -500_000..500_000_i32, -9_000..9_000_i64, any::<bool>()), 0..20)
        ) {
            let (mut clock, mut now_ns, mut last) = (Clock::new(ClockChange::default()), 0, Instant(0));
            for (after_ns, drift_ppm, offset_ms, frozen) in changes {
                now_ns += after_ns;
                let before = clock.read(now_ns).mono;
                clock.change(change(offset_ms, drift_ppm, frozen), now_ns);
                prop_assert_eq!(clock.read(now_ns).mono, before);
                prop_assert!(before >= last);
                last = before;
            }
        }
    }

    #[test]
    fn a_wall_clock_shows_its_offset_and_its_drift() {
        let clock = Clock::new(change(-200, 100, false));
        assert_eq!(clock.read(0).wall.0, WALL_EPOCH_MS - 200);
        assert_eq!(clock.read(100 * SECOND).wall.0, WALL_EPOCH_MS + 100_000 - 200 + 10);
        assert_eq!(clock.read(100 * SECOND).mono, Instant::from_millis(100_010));
    }

    #[test]
    fn a_frozen_wall_clock_stands_while_the_monotonic_goes_on() {
        let mut clock = Clock::new(ClockChange::default());
        clock.change(change(5, 0, true), SECOND);
        assert_eq!(clock.read(9 * SECOND).wall.0, WALL_EPOCH_MS + 1_005);
        assert_eq!(clock.read(9 * SECOND).mono, Instant::from_millis(9_000));
    }

    #[test]
    fn a_restored_clock_shows_what_it_would_have_shown() {
        let initial = change(-200, 100, false);
        let mut clock = Clock::new(initial);
        clock.change(change(60_000, 500, false), 10 * SECOND);
        clock.restore(initial, 20 * SECOND);
        assert_eq!(clock.read(50 * SECOND).wall, Clock::new(initial).read(50 * SECOND).wall);
    }
}
