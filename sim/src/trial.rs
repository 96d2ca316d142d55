//! Trials: a scenario under many seeds, with a user's application and a user's questions, as one line of a `#[test]`.
//!
//! ```
//! use rumormill_core::{App, AppCx, Class, Command, Event, Topic};
//! use rumormill_sim::{Scenario, Trial, scenario::Check};
//!
//! /// Says its name once, and counts whom it hears, itself included.
//! #[derive(Clone, Default)]
//! struct Hello {
//!     heard: u32,
//! }
//!
//! impl App for Hello {
//!     fn on_start(&mut self, cx: &mut AppCx<'_>) {
//!         cx.commands.push(Command::Subscribe { topic: Topic(1) });
//!     }
//!     fn on_event(&mut self, event: &Event, cx: &mut AppCx<'_>) {
//!         match event {
//!             Event::NeighborUp { .. } if self.heard == 0 => {
//!                 let payload = cx.id.0.to_vec().into();
//!                 cx.commands.push(Command::Publish { topic: Topic(1), class: Class::Normal, payload });
//!             }
//!             Event::Message { .. } => self.heard += 1,
//!             _ => {}
//!         }
//!     }
//! }
//!
//! let scenario = Scenario::new("hello", 4).bootstrap(1, 1000, 5).always(Check::Bounded);
//! Trial::new(&scenario)
//!     .app(|_| Hello::default())
//!     .eventually("the contact hears everybody", |world| match world.app(0).heard {
//!         4.. => Ok(()),
//!         heard => Err(format!("it heard {heard}")),
//!     })
//!     .seeds(1..=3)
//!     .assert_holds();
//! ```

use crate::judge::{PropertyOutcome, PropertyStatus};
use crate::outcome::Outcome;
use crate::questions::{ALWAYS, Questions};
use crate::scenario::Scenario;
use crate::{Options, Run, Seed, World};
use rumormill_core::{App, NANOS_PER_MILLI};
use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A scenario that is run under many seeds, with an application on each node and questions of the user.
///
/// The properties that the scenario states count too, and so do its faults: one that touches nothing under any seed
/// makes the trial vacuous.
pub struct Trial<'a, A: App = ()> {
    scenario: &'a Scenario,
    app: fn(u32) -> A,
    seeds: Vec<Seed>,
    options: Options,
    questions: Questions<'a, A>,
}

impl<'a> Trial<'a> {
    /// Starts a trial of a scenario under seed 1. Each node asserts its invariants after each input.
    pub fn new(scenario: &'a Scenario) -> Self {
        let options = Options { check: true, ..Options::default() };
        Self { scenario, app: |_| (), seeds: vec![Seed::from(1)], options, questions: Questions::default() }
    }

    /// Puts an application on each node, made from the node's number: again for each life of the node.
    ///
    /// # Panics
    /// When something was asked before: questions are about worlds with the application.
    #[must_use]
    #[track_caller]
    pub fn app<A: App>(self, app: fn(u32) -> A) -> Trial<'a, A> {
        assert!(self.questions.is_empty(), "name the application before the first question");
        let Self { scenario, seeds, options, .. } = self;
        Trial { scenario, app, seeds, options, questions: Questions::default() }
    }
}

impl<'a, A: App> Trial<'a, A> {
    /// Asks at every look, from the first one on and at the end: every half second of world time.
    #[must_use]
    pub fn always(self, name: &'static str, ask: impl Fn(&World<A>) -> Result<(), String> + 'a) -> Self {
        let Self { scenario, app, seeds, options, questions } = self;
        Self { scenario, app, seeds, options, questions: questions.always(name, ask) }
    }

    /// Asks once, at the end of the run. [`Scenario::ending_at`] gives the world time for it after the last fault.
    #[must_use]
    pub fn eventually(self, name: &'static str, ask: impl Fn(&World<A>) -> Result<(), String> + 'a) -> Self {
        let Self { scenario, app, seeds, options, questions } = self;
        Self { scenario, app, seeds, options, questions: questions.eventually(name, ask) }
    }

    /// Asks these questions, in the place of any before.
    #[must_use]
    pub fn asking(mut self, questions: Questions<'a, A>) -> Self {
        self.questions = questions;
        self
    }

    /// Chooses the seeds, in the order in which they are run.
    #[must_use]
    pub fn seeds<S: Into<Seed>>(mut self, seeds: impl IntoIterator<Item = S>) -> Self {
        self.seeds = seeds.into_iter().map(Into::into).collect();
        self
    }

    /// Chooses how worlds run.
    #[must_use]
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// Runs one seed to its end and tells what came of it: the user's questions stand after the scenario's properties.
    ///
    /// # Panics
    /// When the scenario does not validate, with the message of [`Scenario::validate`].
    #[track_caller]
    pub fn run(&self, seed: impl Into<Seed>) -> Outcome {
        let (mut run, mut answers) = self.start(seed.into());
        while self.advance(&mut run, &mut answers) {}
        let mut outcome = run.outcome();
        outcome.properties.extend(answers);
        outcome
    }

    /// Finds the first seed under which a property fails: proof that a planted bug is found. Vacuous faults are no
    /// failure here; a panic of the application, of a question or of a node's own assertions is one.
    ///
    /// # Panics
    /// When the scenario does not validate.
    #[track_caller]
    pub fn find_failure(&self) -> Option<Failure> {
        // A loop, for a closure would lose the caller's place.
        for seed in &self.seeds {
            if let Err(failure) = self.attempt(*seed) {
                return Some(*failure);
            }
        }
        None
    }

    /// Runs one seed until something fails. What has failed always fails more later, and may end badly.
    #[track_caller]
    fn attempt(&self, seed: Seed) -> Result<Outcome, Box<Failure>> {
        let (mut run, mut answers) = self.start(seed);
        let is_sound =
            |answers: &[PropertyOutcome]| answers.iter().all(|it| it.status == PropertyStatus::Held);
        let driven = catch_unwind(AssertUnwindSafe(|| {
            while self.advance(&mut run, &mut answers) && is_sound(&answers) {}
        }));
        let (world, bootstrap_end_ns) = (run.world(), run.world().schedule().bootstrap_end_ns);
        if let Err(panic) = driven {
            let property = panicked(world.now_ns(), panic.as_ref());
            let scenario = self.scenario.name.clone();
            return Err(Box::new(Failure { scenario, seed, property, others: 0, bootstrap_end_ns }));
        }
        let is_over = world.is_over();
        let mut outcome = run.outcome();
        // Liveness had no time to come true in a run that was stopped.
        outcome.properties.retain(|it| is_over || (it.when == ALWAYS && it.at_ns.is_some()));
        outcome.properties.extend(answers);
        Failure::of(&outcome).map_or(Ok(outcome), |failure| Err(Box::new(failure)))
    }

    #[track_caller]
    fn start(&self, seed: Seed) -> (Run<A>, Vec<PropertyOutcome>) {
        let answers = self.questions.answers();
        match Run::with_app(self.scenario, seed, self.options, self.app) {
            Ok(run) => (run, answers),
            Err(error) => panic!("{error}"),
        }
    }

    /// Runs to the next look and asks what is to be asked there; tells whether there is more to come.
    fn advance(&self, run: &mut Run<A>, answers: &mut [PropertyOutcome]) -> bool {
        let goes_on = run.advance();
        self.questions.ask(run.world(), !goes_on, answers);
        goes_on
    }

    /// Asserts that every property holds under every seed, and that every fault touches something under one at least.
    ///
    /// # Panics
    /// When one does not, with a message that says what failed and how to see it again: a panic on the way is told so
    /// too. When there are no seeds, or when the scenario does not validate.
    #[track_caller]
    pub fn assert_holds(&self) {
        let name = &self.scenario.name;
        assert!(!self.seeds.is_empty(), "{name}: a trial without seeds tries nothing");
        let mut idle: Vec<usize> = (0..self.scenario.faults.len()).collect();
        for seed in &self.seeds {
            let outcome = match self.attempt(*seed) {
                Ok(outcome) => outcome,
                Err(failure) => panic!("{failure}"),
            };
            idle.retain(|fault| outcome.faults[*fault].receipt.is_empty());
        }
        if let Some(fault) = idle.first().map(|fault| &self.scenario.faults[*fault]) {
            let (kind, at, seeds) = (fault.kind.word(), Seconds(fault.at_ns), self.seeds.len());
            panic!(
                "{name}: vacuous: the {kind} at {at} after bootstrap touched nothing under any of {seeds} seeds, \
                 so what held was not tried"
            );
        }
    }
}

/// What a panic comes to: the seed under which it happens is worth as much as that of any other failure.
fn panicked(at_ns: u64, panic: &(dyn Any + Send)) -> PropertyOutcome {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    PropertyOutcome {
        name: "nothing panics",
        when: ALWAYS,
        status: PropertyStatus::Failed,
        at_ns: Some(at_ns),
        node: None,
        detail: Some(text.unwrap_or("a panic without a message").to_owned()),
    }
}

/// A property that failed in a trial. Shown, it is a message with all that is needed to see it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The scenario's name.
    pub scenario: String,
    /// The seed.
    pub seed: Seed,
    /// The property that failed, the first in time when several did.
    pub property: PropertyOutcome,
    /// How many more properties failed under this seed.
    pub others: usize,
    /// World time at the end of bootstrap, in nanoseconds.
    pub bootstrap_end_ns: u64,
}

impl Failure {
    /// Finds the property of an outcome that failed first, if one did. What failed for want of time comes last.
    pub fn of(outcome: &Outcome) -> Option<Self> {
        let first = outcome.failures().min_by_key(|property| property.at_ns.unwrap_or(u64::MAX))?;
        Some(Self {
            scenario: outcome.scenario.clone(),
            seed: outcome.seed,
            property: first.clone(),
            others: outcome.failures().count() - 1,
            bootstrap_end_ns: outcome.bootstrap_end_ns,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, seed, property, others, bootstrap_end_ns } = self;
        write!(f, "{scenario}: seed {seed}: {} \"{}\" failed ", property.when, property.name)?;
        let took = Seconds(*bootstrap_end_ns);
        match property.at_ns {
            Some(at_ns) => match at_ns.checked_sub(*bootstrap_end_ns) {
                Some(after_ns) => {
                    write!(f, "{} after bootstrap (at {} of world time)", Seconds(after_ns), Seconds(at_ns))?;
                }
                None => write!(f, "during bootstrap, at {} of its {took}", Seconds(at_ns))?,
            },
            None => write!(f, "at the end (bootstrap took {took})")?,
        }
        f.write_str("\n  saw: ")?;
        if let Some(node) = property.node {
            write!(f, "node {node}: ")?;
        }
        f.write_str(property.detail.as_deref().unwrap_or("it did not hold"))?;
        if *others > 0 {
            write!(f, "\n  and {others} more failed")?;
        }
        write!(f, "\n  reproduce: run this trial with .seeds([{}]), which is {seed}", seed.value)
    }
}

/// Nanoseconds, shown in seconds.
struct Seconds(u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0 / NANOS_PER_MILLI;
        write!(f, "{}.{:03} s", ms / 1_000, ms % 1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Check, Fault};

    fn small() -> Scenario {
        Scenario::new("small", 4).bootstrap(1, 5, 2).ending_at(4).always(Check::Bounded)
    }

    fn message(trial: impl FnOnce() + std::panic::UnwindSafe) -> String {
        let panic = std::panic::catch_unwind(trial).expect_err("the trial holds");
        *panic.downcast::<String>().expect("a message")
    }

    #[test]
    fn questions_count_beside_the_scenarios_properties() {
        let scenario = small();
        let outcome = Trial::new(&scenario)
            .always("time passes", |world| (world.now_ns() > 0).then_some(()).ok_or("it stands".into()))
            .eventually("nodes run", |world| world.process(3).map(|_| ()).ok_or("one is down".into()))
            .run(7);
        let told: Vec<_> = outcome.properties.iter().map(|it| (it.when, it.name, it.status)).collect();
        let held = PropertyStatus::Held;
        let all =
            [("always", "bounded", held), ("always", "time passes", held), ("eventually", "nodes run", held)];
        assert_eq!(told, all);
    }

    #[test]
    fn always_is_asked_at_each_look_and_tells_the_first_violation() {
        let scenario = small();
        let late = |world: &World| match world.now_ns() / NANOS_PER_MILLI {
            0..3_000 => Ok(()),
            ms => Err(format!("it is {ms} ms")),
        };
        let failure = Trial::new(&scenario).always("early", late).find_failure().expect("it gets late");
        assert_eq!(failure.property.at_ns, Some(3_000 * NANOS_PER_MILLI));
        assert_eq!(failure.property.detail.as_deref(), Some("it is 3000 ms"));
    }

    #[test]
    fn eventually_is_asked_at_the_end_alone() {
        let scenario = small();
        let over = |world: &World| world.is_over().then_some(()).ok_or("too early".to_owned());
        Trial::new(&scenario).eventually("over", over).assert_holds();
    }

    #[test]
    fn one_message_says_what_failed_where_and_how_to_see_it_again() {
        let text = message(|| {
            let scenario = small();
            let odd = |world: &World| if world.seed().value < 5 { Ok(()) } else { Err("a fifth".into()) };
            Trial::new(&scenario).eventually("few", odd).seeds(3..=8).assert_holds();
        });
        assert_eq!(
            text,
            "small: seed 1:5: eventually \"few\" failed 4.000 s after bootstrap (at 6.015 s of world time)\n  \
             saw: a fifth\n  \
             reproduce: run this trial with .seeds([5]), which is 1:5"
        );
    }

    #[test]
    fn a_failure_tells_its_time_as_the_scenario_counts_it() {
        let at = |at_ns| {
            let property = PropertyOutcome { at_ns, ..panicked(0, &"it broke") };
            let (scenario, seed) = ("small".to_owned(), Seed::from(1));
            let failure = Failure { scenario, seed, property, others: 0, bootstrap_end_ns: 2_015_000_000 };
            let text = failure.to_string();
            text.lines().next().and_then(|line| line.split_once("failed ")).expect("a time").1.to_owned()
        };
        assert_eq!(at(Some(6_015_000_000)), "4.000 s after bootstrap (at 6.015 s of world time)");
        assert_eq!(at(Some(1_500_000_000)), "during bootstrap, at 1.500 s of its 2.015 s");
        assert_eq!(at(None), "at the end (bootstrap took 2.015 s)");
    }

    #[test]
    fn a_property_of_the_scenario_fails_the_trial_and_names_its_node() {
        let cut = Fault::isolate([3]).lasting(20);
        let scenario = small().fault(1, cut).ending_at(25).always(Check::NobodyAlone);
        let failure = Trial::new(&scenario).find_failure().expect("nobody is left for node 3");
        assert_eq!((failure.property.name, failure.property.node), ("nobody-alone", Some(3)));
        assert!(failure.to_string().contains("saw: node 3: has no neighbour"), "{failure}");
    }

    #[test]
    fn a_fault_that_touches_nothing_under_any_seed_makes_the_trial_vacuous() {
        let text = message(|| {
            let scenario = small().fault(2, Fault::loss(0.000_001).lasting(0.001));
            Trial::new(&scenario).seeds([1, 2]).assert_holds();
        });
        assert!(
            text.starts_with("small: vacuous: the loss at 2.000 s after bootstrap touched nothing"),
            "{text}"
        );
    }

    #[test]
    fn a_panic_is_a_failure_with_a_seed() {
        let scenario = small();
        let brittle = |world: &World| {
            assert!(world.seed().value < 3, "three is too much");
            Ok(())
        };
        let failure = Trial::new(&scenario).always("sturdy", brittle).seeds(1..=5).find_failure();
        let failure = failure.expect("seed 3 panics");
        assert_eq!((failure.seed, failure.property.name), (Seed::from(3), "nothing panics"));
        assert_eq!(failure.property.detail.as_deref(), Some("three is too much"));
    }

    #[test]
    fn a_trial_stops_at_the_first_violation_and_blames_nothing_that_had_no_time() {
        let scenario = small().eventually(1, Check::Calm { periods: 1_000 }).ending_at(4);
        let never = |_: &World| Err("no".to_owned());
        let failure = Trial::new(&scenario).always("never", never).find_failure().expect("it fails");
        assert_eq!((failure.property.name, failure.others), ("never", 0));
        assert_eq!(Trial::new(&scenario).always("never", never).run(1).failures().count(), 2);
    }

    #[test]
    fn no_seeds_are_no_trial() {
        let text = message(|| Trial::new(&small()).seeds(0..0u64).assert_holds());
        assert_eq!(text, "small: a trial without seeds tries nothing");
    }

    #[test]
    fn a_scenario_that_means_nothing_is_refused_with_its_message() {
        let text = message(|| Trial::new(&Scenario::new("none", 0)).assert_holds());
        assert!(text.contains("nodes"), "{text}");
    }
}
