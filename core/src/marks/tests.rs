//! One fact for each test.

use super::*;
use crate::rng::Rng;
use crate::stats::Stats;
use crate::time::{Instant, Wall};
use alloc::vec;

/// Marks with all that they may use; they are no machine, for they have no deadline.
struct Bench {
    marks: Marks,
    clock: Hlc,
    rng: Rng,
    stats: Stats,
    effects: Vec<Effect>,
    wall_ms: u64,
}

impl Bench {
    fn boot(rows: &[Row], wall_ms: u64) -> Self {
        let now = Now { mono: Instant(0), wall: Wall(wall_ms) };
        let config = Arc::new(Config { waiting_max: 3, clock_mark_ms: 10_000, ..Config::default() });
        let (marks, clock) = Marks::recover(config, rows, now);
        Self { marks, clock, rng: Rng::new([1; 32]), stats: Stats::default(), effects: vec![], wall_ms }
    }

    fn call<R>(&mut self, call: impl FnOnce(&mut Marks, &mut Cx<'_>) -> R) -> R {
        let Self { marks, clock, rng, stats, effects, wall_ms } = self;
        let now = Now { mono: Instant(0), wall: Wall(*wall_ms) };
        call(marks, &mut Cx { now, rng, clock, stats, effects })
    }

    /// Starts the life and makes its first mark durable.
    fn started(rows: &[Row], wall_ms: u64) -> Self {
        let mut bench = Self::boot(rows, wall_ms);
        bench.call(Marks::advance);
        bench.persist();
        bench
    }

    /// Makes every write durable, hands out what waited, and tells the rows.
    fn persist(&mut self) -> (Vec<Row>, Vec<u64>) {
        let (mut written, mut ready) = (vec![], vec![]);
        while let Some(effect) = self.effects.pop() {
            let Effect::Persist { token, class: Durability::Sync, rows } = effect else {
                panic!("{effect:?}")
            };
            written.extend(rows);
            self.marks.on_persisted(token);
            while let Some((token, _, wall)) = self.call(Marks::pop_ready) {
                let stamp = self.clock.now(wall);
                assert!(stamp <= self.marks.durable, "a stamp leaves that no durable mark covers");
                ready.push(token.0);
            }
            self.marks.check();
        }
        (written, ready)
    }

    /// Asks for a stamp; tells what became of it.
    fn admit(&mut self, token: u64) -> &'static str {
        let admission = self.call(|marks, cx| marks.admit(Token(token), Command::Cycle, cx));
        self.marks.check();
        match admission {
            Admission::Now(..) => {
                let stamp = self.clock.now(Wall(self.wall_ms));
                assert!(stamp <= self.marks.durable, "a stamp leaves that no durable mark covers");
                "now"
            }
            Admission::Later => "later",
            Admission::Refused(..) => "refused",
        }
    }
}

const WALL_MS: u64 = 1_700_000_000_000;

#[test]
fn a_command_waits_until_the_first_mark_is_durable() {
    let mut bench = Bench::boot(&[], WALL_MS);
    assert_eq!([bench.admit(1), bench.admit(2)], ["later", "later"]);
    assert_eq!(bench.effects.len(), 1, "one write for both");
    assert_eq!(bench.persist().1, [1, 2]);
    assert_eq!(bench.admit(3), "now");
}

#[test]
fn a_command_never_overtakes_one_that_waits() {
    let mut bench = Bench::boot(&[], WALL_MS);
    let order = [bench.admit(1), bench.admit(2), bench.admit(3)];
    assert_eq!(order, ["later"; 3]);
    assert_eq!(bench.persist().1, [1, 2, 3]);
}

#[test]
fn a_command_whose_stamp_could_leave_does_not_overtake_one_that_waits() {
    let mut bench = Bench::started(&[], WALL_MS);
    bench.wall_ms += 3_600_000;
    assert_eq!(bench.admit(1), "later");
    bench.wall_ms = WALL_MS; // the clock is set back: the durable mark covers it again
    assert_eq!(bench.admit(2), "later");
    assert_eq!(bench.persist().1, [1, 2]);
}

#[test]
fn commands_beyond_the_bound_are_refused() {
    let mut bench = Bench::boot(&[], WALL_MS);
    assert_eq!([1, 2, 3, 4].map(|token| bench.admit(token)), ["later", "later", "later", "refused"]);
}

#[test]
fn a_further_mark_is_written_before_the_last_one_is_reached() {
    let mut bench = Bench::started(&[], WALL_MS);
    bench.wall_ms += 6_900;
    assert_eq!((bench.admit(1), bench.effects.len()), ("now", 0));
    bench.wall_ms += 200;
    assert_eq!((bench.admit(2), bench.effects.len()), ("now", 1));
    bench.persist();
    bench.wall_ms += 5_000;
    assert_eq!(bench.admit(3), "now");
}

#[test]
fn a_clock_that_leaps_makes_the_next_command_wait() {
    let mut bench = Bench::started(&[], WALL_MS);
    bench.wall_ms += 3_600_000;
    assert_eq!(bench.admit(1), "later");
    bench.wall_ms += 3_600_000;
    assert_eq!(bench.persist().1, [1], "a second leap makes it wait again");
    assert_eq!(bench.admit(2), "later");
    assert_eq!(bench.persist().1, [2]);
}

#[test]
fn a_restart_with_an_earlier_clock_is_a_later_life_and_issues_later_stamps() {
    let mut bench = Bench::boot(&[], WALL_MS);
    bench.call(Marks::advance);
    let (rows, _) = bench.persist();
    bench.wall_ms += 9_000;
    bench.admit(1);
    let (before, last) = (bench.marks.incarnation(), bench.clock.last());
    let mut again = Bench::started(&rows, WALL_MS - 86_400_000);
    assert!(again.marks.incarnation() > before);
    assert_eq!(again.admit(1), "now");
    assert!(again.clock.last() > last);
}

#[test]
fn a_store_that_failed_refuses_what_waits_and_whatever_comes() {
    let mut bench = Bench::boot(&[], WALL_MS);
    bench.admit(1);
    bench.admit(2);
    assert_eq!(bench.call(Marks::on_persist_failed), [Token(1), Token(2)]);
    assert_eq!(bench.admit(3), "refused");
    assert_eq!(bench.call(Marks::on_persist_failed), []);
}

#[test]
fn damaged_marks_are_told_once() {
    let value = Some(Bytes::from_static(b"seven..")); // not sixteen bytes
    let row = Row { space: Space::Marks, key: Bytes::from_static(KEY), value };
    let mut bench = Bench::boot(&[row], WALL_MS);
    assert!(bench.marks.take_damage());
    assert!(!bench.marks.take_damage());
    assert!(!Bench::boot(&[], WALL_MS).marks.take_damage(), "an empty store is not a damaged one");
}

#[test]
fn the_answer_to_another_write_makes_nothing_durable() {
    let mut bench = Bench::boot(&[], WALL_MS);
    bench.admit(1);
    bench.marks.on_persisted(Token(99));
    assert!(bench.call(Marks::pop_ready).is_none());
}

#[test]
fn what_waits_on_a_disk_slower_than_marks_lie_ahead_is_stamped_with_the_time_it_came() {
    let mut bench = Bench::boot(&[], WALL_MS);
    bench.admit(1);
    bench.wall_ms += 4_000;
    bench.admit(2);
    bench.wall_ms += 7_000;
    bench.admit(3); // later than the mark that is being written
    let Some(Effect::Persist { token, .. }) = bench.effects.pop() else { panic!("no write") };
    bench.marks.on_persisted(token);
    let mut ready = vec![];
    while let Some((token, _, wall)) = bench.call(Marks::pop_ready) {
        bench.clock.now(wall);
        ready.push((token.0, wall.0 - WALL_MS));
    }
    assert_eq!(ready, [(1, 0), (2, 4_000)]);
    bench.marks.check();
    assert_eq!(bench.persist().1, [3]);
}

#[test]
fn a_token_is_had_on_a_slow_disk_too() {
    let mut bench = Bench::boot(&[], WALL_MS);
    assert_eq!(bench.call(Marks::try_stamp), None);
    bench.wall_ms += 11_000;
    let Some(Effect::Persist { token, .. }) = bench.effects.pop() else { panic!("no write") };
    bench.marks.on_persisted(token);
    let stamp = bench.call(Marks::try_stamp).expect("a stamp that is covered");
    assert_eq!((stamp, stamp.millis()), (bench.marks.durable, WALL_MS + 10_000));
}

#[test]
fn commands_of_one_millisecond_wait_for_a_write_however_near_marks_lie() {
    let now = Now { mono: Instant(0), wall: Wall(WALL_MS) };
    let config = Arc::new(Config { waiting_max: 3, clock_mark_ms: 3, ..Config::default() });
    let (marks, clock) = Marks::recover(config, &[], now);
    let mut bench = Bench { marks, clock, ..Bench::boot(&[], WALL_MS) };
    bench.admit(1);
    bench.wall_ms += 3;
    assert_eq!([2, 3].map(|token| bench.admit(token)), ["later"; 2]);
    assert_eq!(bench.persist().1, [1, 2, 3]); // checks, after each write, that none waits for nothing
}
