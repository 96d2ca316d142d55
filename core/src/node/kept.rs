//! A machine as its node keeps it: what it was asked once is not asked again until it changes.
//!
//! A node of eight machines hands an input to one or two of them. The others stay as they were: nothing is due there,
//! they have nothing to tell, and what held of them holds.

use crate::machine::{Cx, Machine};
use crate::time::Instant;
use core::ops::{Deref, DerefMut};

/// A machine in its place. Whoever gets hold of it to change it wakes it.
#[derive(Clone, Debug)]
pub(super) struct Kept<M> {
    machine: M,
    /// When it has something to do, as it said when it was awake last.
    due: Instant,
    is_awake: bool,
}

impl<M: Machine> Kept<M> {
    /// Takes in a machine that nothing has reached yet.
    pub(super) fn new(machine: M) -> Self {
        Self { due: due(&machine), machine, is_awake: false }
    }

    /// Changes a detail that no event and no invariant depends on: that wakes it only if its deadline moves.
    pub(super) fn touch<R>(&mut self, change: impl FnOnce(&mut M) -> R) -> R {
        let result = change(&mut self.machine);
        self.is_awake |= due(&self.machine) != self.due;
        result
    }

    /// Tells whether it was reached in this step.
    pub(super) fn is_awake(&self) -> bool {
        self.is_awake
    }
}

fn due(machine: &impl Machine) -> Instant {
    machine.poll_timeout().unwrap_or(Instant::NEVER)
}

/// What all that is kept has in common, whatever it says and hears.
pub(super) trait Keep {
    /// Begins a step: nobody has changed it yet.
    fn sleep(&mut self);
    /// Ends a step, and tells when it is due: it is asked only if it has changed.
    fn rest(&mut self) -> Instant;
}

impl<M: Machine> Keep for Kept<M> {
    fn sleep(&mut self) {
        self.is_awake = false;
    }

    fn rest(&mut self) -> Instant {
        if self.is_awake {
            self.due = due(&self.machine);
        }
        self.due
    }
}

impl<M> Deref for Kept<M> {
    type Target = M;

    #[inline]
    fn deref(&self) -> &M {
        &self.machine
    }
}

impl<M> DerefMut for Kept<M> {
    #[inline]
    fn deref_mut(&mut self) -> &mut M {
        self.is_awake = true;
        &mut self.machine
    }
}

impl<M: Machine> Machine for Kept<M> {
    type Input = M::Input;
    type Event = M::Event;

    fn handle(&mut self, input: M::Input, cx: &mut Cx<'_>) {
        (**self).handle(input, cx);
    }

    fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        if self.is_awake || self.due <= cx.now.mono {
            (**self).handle_timeout(cx);
        }
    }

    /// Tells what the machine said when it was awake last: it is true from the end of a step on.
    fn poll_timeout(&self) -> Option<Instant> {
        (self.due != Instant::NEVER).then_some(self.due)
    }

    fn poll_event(&mut self) -> Option<M::Event> {
        if self.is_awake { self.machine.poll_event() } else { None }
    }

    /// Asserts what may hold no longer since it was woken.
    fn check(&self) {
        if self.is_awake {
            self.machine.check();
        }
    }

    fn audit(&self) {
        assert!(self.is_awake || self.due == due(&self.machine), "a deadline has moved in its sleep");
        self.machine.audit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine that has something to do at a time.
    #[derive(Debug)]
    struct Alarm(Instant);

    impl Machine for Alarm {
        type Input = Instant;
        type Event = ();

        fn handle(&mut self, input: Instant, _cx: &mut Cx<'_>) {
            self.0 = input;
        }
        fn handle_timeout(&mut self, _cx: &mut Cx<'_>) {}
        fn poll_timeout(&self) -> Option<Instant> {
            Some(self.0)
        }
        fn poll_event(&mut self) -> Option<()> {
            None
        }
        fn check(&self) {}
    }

    #[test]
    fn a_detail_wakes_a_machine_only_if_its_deadline_moves() {
        let (early, late) = (Instant::from_millis(1), Instant::from_millis(2));
        let mut kept = Kept::new(Alarm(late));
        assert_eq!(kept.touch(|alarm| alarm.0), late);
        assert!(!kept.is_awake());
        kept.touch(|alarm| alarm.0 = early);
        assert!(kept.is_awake());
        assert_eq!(kept.rest(), early);
    }
}
