//! A tutorial: an application of one's own in a simulated world, and how its bugs are found.
//!
//! The application is a grow-only counter that fifty nodes share. Nothing below the line of broadcasts helps it: it
//! gossips by hand, and has to live with a partition, with lost packets, and with nodes that crash and come back
//! having forgotten everything.
//!
//! 1. Write the application: an [`App`] that hears events and issues commands. It sees no socket and no clock, so
//!    the very same code runs in production.
//! 2. Write the world: a [`Scenario`] with what goes wrong in it.
//! 3. Ask: a [`Trial`] with what must hold always and what must hold in the end, under as many seeds as you like.
//! 4. Distrust your questions: plant the bugs that you are afraid of, and see each one found.
#![expect(clippy::disallowed_macros, reason = "a seed that was found is shown")]

use bytes::Bytes;
use rumormill_core::{App, AppCx, Class, Command, Event, Instant, Purpose, Topic};
use rumormill_sim::scenario::{Check, Fault};
use rumormill_sim::{Failure, Scenario, Trial, World};
use std::collections::BTreeMap;

// --- 1. the application

/// Where counters gossip.
const TOPIC: Topic = Topic(1);
/// From one count or repetition to the next.
const PERIOD_MS: u64 = 1_000;
/// How often each life of a node counts; after that it only repeats what it knows.
const COUNTS: u64 = 8;

/// The name of one life of a node. A node that comes back has forgotten what it counted, so it must not count on under
/// its old name: others, who know more of that name than itself, would take its first counts for old news.
type Life = u64;

/// A grow-only counter: how far each life has counted. The count is the sum.
#[derive(Clone, Debug, Default)]
struct Counter {
    me: Life,
    counts: BTreeMap<Life, u64>,
    due: Option<Instant>,
    bug: Option<Bug>,
}

/// What one could get wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    /// Two counts of one life are added, not compared: whatever is heard twice counts twice.
    AddsUp,
    /// A node goes on under its old name after a restart.
    KeepsItsName,
    /// A count is told once, and never again when it got lost.
    SaysItOnce,
}

impl Counter {
    fn with(bug: Bug) -> Self {
        Self { bug: Some(bug), ..Self::default() }
    }

    fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    fn mine(&self) -> u64 {
        self.counts.get(&self.me).copied().unwrap_or(0)
    }

    /// Takes in how far somebody says that a life has counted.
    fn merge(&mut self, life: Life, count: u64) {
        let known = self.counts.entry(life).or_default();
        *known = if self.bug == Some(Bug::AddsUp) { *known + count } else { count.max(*known) };
    }

    fn publish(&self, cx: &mut AppCx<'_>) {
        let rows = self.counts.iter().flat_map(|(life, count)| [life.to_le_bytes(), count.to_le_bytes()]);
        let payload = Bytes::from(rows.flatten().collect::<Vec<u8>>());
        cx.commands.push(Command::Publish { topic: TOPIC, class: Class::Normal, payload });
    }
}

impl App for Counter {
    fn on_start(&mut self, cx: &mut AppCx<'_>) {
        // Each life draws from a seed of its own. A clock would do as well until somebody sets it back.
        let drawn = cx.rng.draw(Purpose::App).bits();
        self.me = if self.bug == Some(Bug::KeepsItsName) { cx.id.prefix() } else { drawn };
        self.due = Some(cx.now.mono.plus_millis(drawn % PERIOD_MS)); // not all nodes in one instant
        cx.commands.push(Command::Subscribe { topic: TOPIC });
    }

    fn on_event(&mut self, event: &Event, _cx: &mut AppCx<'_>) {
        // One's own messages come back too, with no hops behind them.
        if let Event::Message { topic: TOPIC, hops: 1.., payload, .. } = event {
            for row in payload.chunks_exact(16) {
                let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| row[at + i]));
                self.merge(word(0), word(8));
            }
        }
    }

    fn on_timeout(&mut self, cx: &mut AppCx<'_>) {
        self.due = Some(cx.now.mono.plus_millis(PERIOD_MS));
        let is_counting = self.mine() < COUNTS;
        if is_counting {
            *self.counts.entry(self.me).or_default() += 1;
        }
        if is_counting || self.bug != Some(Bug::SaysItOnce) {
            self.publish(cx);
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }
}

// --- 2. the world

/// Fifty nodes; a partition, lost packets, and nodes that crash and come back with empty hands, all while they count.
fn troubled() -> Scenario {
    Scenario::new("shared-counter", 50)
        .about("Fifty nodes count together through a partition, loss and crashes.")
        .bootstrap(1, 20, 2)
        .fault(1, Fault::partition([0.5, 0.5]).lasting(8))
        .fault(2, Fault::loss(0.1).lasting(10))
        .fault(4, Fault::crash(5).restarting_after(16))
        .eventually(12, Check::Connected)
}

// --- 3. the questions

/// Nobody knows more of a life than that life has counted itself. Lives that have ended cannot be asked.
fn nobody_knows_better(world: &World<Counter>) -> Result<(), String> {
    for (number, counter) in world.apps() {
        for (other, it) in world.apps() {
            let (told, counted) = (it.counts.get(&counter.me).copied().unwrap_or(0), counter.mine());
            if told > counted {
                return Err(format!(
                    "node {other} has heard {told} of node {number}, which counted to {counted}"
                ));
            }
        }
    }
    Ok(())
}

/// All nodes count the same.
fn all_agree(world: &World<Counter>) -> Result<(), String> {
    let total = world.app(0).total();
    match world.apps().find(|(_, counter)| counter.total() != total) {
        Some((number, counter)) => {
            Err(format!("node {number} counts {}, node 0 counts {total}", counter.total()))
        }
        None => Ok(()),
    }
}

/// Nothing that was counted is forgotten: the living have counted to their end, and five that crashed began before.
fn nothing_is_forgotten(world: &World<Counter>) -> Result<(), String> {
    let living = 50 * COUNTS;
    match world.apps().find(|(_, counter)| counter.total() <= living) {
        Some((number, counter)) => {
            Err(format!("node {number} counts {}, the living alone have counted {living}", counter.total()))
        }
        None => Ok(()),
    }
}

fn trial(scenario: &Scenario, app: fn(u32) -> Counter) -> Trial<'_, Counter> {
    Trial::new(scenario)
        .app(app)
        .always("nobody knows better", nobody_knows_better)
        .eventually("all agree", all_agree)
        .eventually("nothing is forgotten", nothing_is_forgotten)
}

#[test]
fn a_counter_gossiped_by_hand_converges_through_partition_loss_and_crashes() {
    trial(&troubled(), |_| Counter::default()).seeds([1, 2, 42]).assert_holds();
}

// --- 4. the bugs that the questions must find

/// Tries 20 seeds, and shows the one that finds the bug.
fn found(app: fn(u32) -> Counter) -> Failure {
    let failure = trial(&troubled(), app).seeds(1..=20).find_failure();
    let failure = failure.expect("20 seeds find the bug");
    println!("{failure}");
    failure
}

#[test]
fn counts_that_are_added_up_are_found() {
    let failure = found(|_| Counter::with(Bug::AddsUp));
    assert_eq!(failure.property.name, "nobody knows better");
    assert!(failure.to_string().contains(&format!("seed {}", failure.seed)));
}

#[test]
fn a_name_kept_over_a_restart_is_found() {
    let failure = found(|_| Counter::with(Bug::KeepsItsName));
    assert_eq!(failure.property.name, "nobody knows better");
}

#[test]
fn a_count_that_is_told_only_once_is_found() {
    let failure = found(|_| Counter::with(Bug::SaysItOnce));
    assert_eq!(failure.property.name, "all agree");
}

#[test]
fn the_seed_that_found_a_bug_finds_it_again_and_fixed_it_does_not() {
    let found = found(|_| Counter::with(Bug::KeepsItsName));
    let again = |app| trial(&troubled(), app).seeds([found.seed]).find_failure();
    assert_eq!(again(|_| Counter::with(Bug::KeepsItsName)).as_ref(), Some(&found));
    assert_eq!(again(|_| Counter::default()), None);
}
