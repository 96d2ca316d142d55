//! The laws of the hybrid logical clock, for any sequence of readings, stamps and restarts.

use proptest::collection::vec;
use proptest::prelude::*;
use rumormill_core::{Ahead, Hlc, Stamp, Wall};

const DRIFT_MS_MAX: u64 = 1_000;
const DAY_MS: u64 = 86_400_000;
/// Far from both ends of the range: some time in 2026.
const BASE_MS: u64 = 1_790_000_000_000;

#[derive(Clone, Debug)]
enum Step {
    /// Issue a stamp.
    Issue,
    /// Receive a stamp so many milliseconds from the wall clock, with this counter.
    Receive(i64, u16),
    /// The wall clock moves, also backwards.
    Wall(i64),
    /// Restart from a mark this far above the last stamp.
    Restart(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let near = prop_oneof![-3_000_i64..3_000, 995_i64..1_005, Just(-(DAY_MS as i64)), Just(DAY_MS as i64)];
    let counter = prop_oneof![any::<u16>(), Just(0), Just(u16::MAX), Just(u16::MAX - 1)];
    prop_oneof![
        4 => Just(Step::Issue),
        3 => (near.clone(), counter).prop_map(|(ms, counter)| Step::Receive(ms, counter)),
        2 => near.prop_map(Step::Wall),
        1 => (0_u64..100_000).prop_map(Step::Restart),
    ]
}

proptest! {
    #[test]
    fn stamps_increase_and_pass_everything_received_whatever_the_wall_does(steps in vec(step(), 1..80)) {
        let mut clock = Hlc::new(Stamp::ZERO, DRIFT_MS_MAX);
        let (mut wall, mut known) = (BASE_MS, Stamp::ZERO);
        for step in steps {
            match step {
                Step::Issue => {
                    let foreseen = clock.peek(Wall(wall));
                    let stamp = clock.now(Wall(wall));
                    prop_assert_eq!(stamp, foreseen);
                    prop_assert!(stamp > known, "{:?} after {:?}", stamp, known);
                    prop_assert!(stamp.millis() >= wall);
                    known = stamp;
                }
                Step::Receive(ms, counter) => {
                    let stamp = Stamp::new(wall.saturating_add_signed(ms), counter);
                    if clock.receive(stamp, Wall(wall)).is_ok() {
                        known = known.max(stamp);
                    }
                }
                Step::Wall(ms) => wall = wall.saturating_add_signed(ms),
                Step::Restart(above) => clock = Hlc::new(Stamp(known.0 + above), DRIFT_MS_MAX),
            }
            prop_assert!(clock.last() >= known);
        }
    }

    #[test]
    fn no_stamp_leads_the_clock_further_ahead_of_the_wall_than_the_drift(
        stamps in vec((-5_000_i64..5_000, any::<u16>()), 1..60),
        walls in vec(-2_000_i64..2_000, 60),
    ) {
        let mut clock = Hlc::new(Stamp::ZERO, DRIFT_MS_MAX);
        let (mut wall, mut highest_wall) = (BASE_MS, BASE_MS);
        for ((ms, counter), moved) in stamps.into_iter().zip(walls) {
            wall = wall.saturating_add_signed(moved);
            highest_wall = highest_wall.max(wall);
            let (stamp, before) = (Stamp::new(wall.saturating_add_signed(ms), counter), clock.clone());
            let judged = clock.allow(stamp, Wall(wall));
            let received = clock.receive(stamp, Wall(wall));
            prop_assert_eq!(received, judged);
            if ms > DRIFT_MS_MAX as i64 {
                prop_assert_eq!(received, Err(Ahead { ahead_ms: ms as u64, drift_ms_max: DRIFT_MS_MAX }));
                prop_assert_eq!(&clock, &before, "a refused stamp changed the clock");
            } else {
                prop_assert_eq!(received, Ok(()));
                prop_assert_eq!(clock.last(), before.last().max(stamp), "an accepted stamp was altered");
            }
            prop_assert!(clock.last().millis() <= highest_wall + DRIFT_MS_MAX);
        }
    }

    #[test]
    fn packing_keeps_order_and_loses_nothing(
        one in (0_u64..1 << 48, any::<u16>()),
        other in (0_u64..1 << 48, any::<u16>()),
    ) {
        let (a, b) = (Stamp::new(one.0, one.1), Stamp::new(other.0, other.1));
        prop_assert_eq!((a.millis(), a.counter()), one);
        prop_assert_eq!(Stamp::from_bytes(a.to_bytes()), a);
        prop_assert_eq!(a.cmp(&b), one.cmp(&other));
        prop_assert_eq!(a.to_bytes().cmp(&b.to_bytes()), one.cmp(&other));
    }

    #[test]
    fn a_restart_after_the_wall_went_back_a_day_still_goes_forward(
        issued in 1_usize..200,
        received_ahead_ms in 0_u64..=DRIFT_MS_MAX,
        mark_ahead in 0_u64..10_000,
    ) {
        let mut clock = Hlc::new(Stamp::ZERO, DRIFT_MS_MAX);
        clock.receive(Stamp::new(BASE_MS + received_ahead_ms, 7), Wall(BASE_MS)).unwrap();
        let last = (0..issued).map(|_| clock.now(Wall(BASE_MS))).last().unwrap();
        let mut restarted = Hlc::new(Stamp(last.0 + mark_ahead), DRIFT_MS_MAX);
        let first = restarted.now(Wall(BASE_MS - DAY_MS));
        prop_assert!(first > last);
        prop_assert_eq!(first.0, last.0 + mark_ahead + 1);
    }
}

#[test]
fn a_full_counter_carries_into_the_milliseconds() {
    let mut clock = Hlc::new(Stamp::new(BASE_MS, u16::MAX), DRIFT_MS_MAX);
    assert_eq!(clock.now(Wall(BASE_MS)), Stamp::new(BASE_MS + 1, 0));
    assert_eq!(clock.now(Wall(BASE_MS)), Stamp::new(BASE_MS + 1, 1));
    assert_eq!(clock.now(Wall(BASE_MS + 2)), Stamp::new(BASE_MS + 2, 0), "the wall leads again");
}

#[test]
fn seventy_thousand_stamps_in_one_millisecond_all_differ() {
    let mut clock = Hlc::new(Stamp::ZERO, DRIFT_MS_MAX);
    let stamps: Vec<Stamp> = (0..70_000).map(|_| clock.now(Wall(BASE_MS))).collect();
    assert!(stamps.windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!(stamps[69_999], Stamp::new(BASE_MS + 1, (69_999 - 65_536) as u16));
}

#[test]
fn the_drift_is_allowed_to_the_millisecond() {
    let mut clock = Hlc::new(Stamp::ZERO, DRIFT_MS_MAX);
    let greatest = Stamp::new(BASE_MS + DRIFT_MS_MAX, u16::MAX);
    assert_eq!(clock.receive(greatest, Wall(BASE_MS)), Ok(()));
    let refused = Ahead { ahead_ms: DRIFT_MS_MAX + 1, drift_ms_max: DRIFT_MS_MAX };
    assert_eq!(clock.receive(Stamp(greatest.0 + 1), Wall(BASE_MS)), Err(refused));
    assert_eq!(clock.last(), greatest);
}

#[test]
fn at_the_end_of_the_range_the_clock_stands_still_and_never_wraps() {
    let end = Stamp(u64::MAX);
    let mut clock = Hlc::new(Stamp(u64::MAX - 1), DRIFT_MS_MAX);
    assert_eq!(clock.now(Wall(BASE_MS)), end);
    assert_eq!(clock.now(Wall(BASE_MS)), end);
    assert_eq!(
        Stamp::new(u64::MAX, 3),
        Stamp::new((1 << 48) - 1, 3),
        "milliseconds beyond 48 bits are capped"
    );
    let far = Hlc::new(Stamp::ZERO, DRIFT_MS_MAX).now(Wall(u64::MAX));
    assert_eq!(far, Stamp::new((1 << 48) - 1, 0));
}
