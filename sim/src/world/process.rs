//! What a world hosts: the node of the library, or in tests and benches of the engine alone something simpler.

use rumormill_core::{Boot, Contact, Input, Instant, Node, Now, Output, Reads, Stats};

/// A process that the world drives: exactly what every driver of a [`Node`] calls.
pub trait Process: Clone {
    /// Boots.
    fn boot(boot: Boot, now: Now) -> Self;
    /// Reacts to an input, and appends what comes of it to `out`.
    fn handle(&mut self, now: Now, input: Input, out: &mut Output);
    /// Tells when it must be handed [`Input::Timeout`], if ever.
    fn poll_timeout(&self) -> Option<Instant>;
    /// Tells how it introduces itself.
    fn contact(&self) -> &Contact;
    /// Shows the hash of everything that it has seen and done.
    fn trace_hash(&self) -> u64;
    /// Shows its counters.
    fn stats(&self) -> &Stats;
    /// Shows what applications and lookups may read: nothing, for a process without tables.
    fn reads(&self) -> &dyn Reads {
        &()
    }
    /// Asserts the invariants that cost no more than a view to check.
    fn check(&self);
    /// Asserts all of its invariants.
    fn audit(&self) {
        self.check();
    }
}

impl Process for Node {
    fn boot(boot: Boot, now: Now) -> Self {
        Node::new(boot, now)
    }
    #[inline]
    fn handle(&mut self, now: Now, input: Input, out: &mut Output) {
        Node::handle(self, now, input, out);
    }
    #[inline]
    fn poll_timeout(&self) -> Option<Instant> {
        Node::poll_timeout(self)
    }
    fn contact(&self) -> &Contact {
        Node::contact(self)
    }
    fn trace_hash(&self) -> u64 {
        Node::trace_hash(self)
    }
    fn stats(&self) -> &Stats {
        Node::stats(self)
    }
    fn reads(&self) -> &dyn Reads {
        self
    }
    fn check(&self) {
        Node::check(self);
    }
    fn audit(&self) {
        Node::audit(self);
    }
}
