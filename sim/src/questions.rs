//! Questions to a world and its applications, in users' own code: what always must hold, and what must hold in the end.

use crate::World;
use crate::judge::{PropertyOutcome, PropertyStatus};
use rumormill_core::App;

/// A question to a world: `Err` says in words what is wrong with it.
type Ask<'a, A> = Box<dyn Fn(&World<A>) -> Result<(), String> + 'a>;

/// The words of [`When`](crate::scenario::When) that questions are asked with.
pub(crate) const ALWAYS: &str = "always";
pub(crate) const EVENTUALLY: &str = "eventually";

/// Questions to a world, in the order in which they are asked.
pub struct Questions<'a, A: App = ()>(Vec<Question<'a, A>>);

struct Question<'a, A: App> {
    name: &'static str,
    when: &'static str,
    ask: Ask<'a, A>,
}

impl<A: App> Default for Questions<'_, A> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'a, A: App> Questions<'a, A> {
    /// Asks at every look, from the first one on and at the end: every half second of world time.
    #[must_use]
    pub fn always(self, name: &'static str, ask: impl Fn(&World<A>) -> Result<(), String> + 'a) -> Self {
        self.with(name, ALWAYS, Box::new(ask))
    }

    /// Asks once, at the end of the run.
    #[must_use]
    pub fn eventually(self, name: &'static str, ask: impl Fn(&World<A>) -> Result<(), String> + 'a) -> Self {
        self.with(name, EVENTUALLY, Box::new(ask))
    }

    fn with(mut self, name: &'static str, when: &'static str, ask: Ask<'a, A>) -> Self {
        self.0.push(Question { name, when, ask });
        self
    }

    /// Tells whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Lists the answers before anything was asked: all hold.
    pub fn answers(&self) -> Vec<PropertyOutcome> {
        self.0.iter().map(Question::unanswered).collect()
    }

    /// Asks what is to be asked at a look, `is_over` at the last one. An answer that was bad once stays.
    pub fn ask(&self, world: &World<A>, is_over: bool, answers: &mut [PropertyOutcome]) {
        for (question, answer) in self.0.iter().zip(answers) {
            if (question.when == ALWAYS || is_over) && answer.status == PropertyStatus::Held {
                question.put(world, answer);
            }
        }
    }
}

impl<A: App> Question<'_, A> {
    fn unanswered(&self) -> PropertyOutcome {
        let (name, when, status) = (self.name, self.when, PropertyStatus::Held);
        PropertyOutcome { name, when, status, at_ns: None, node: None, detail: None }
    }

    fn put(&self, world: &World<A>, answer: &mut PropertyOutcome) {
        if let Err(detail) = (self.ask)(world) {
            answer.status = PropertyStatus::Failed;
            (answer.at_ns, answer.detail) = (Some(world.now_ns()), Some(detail));
        }
    }
}
