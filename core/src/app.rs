//! Users' code in the core: an [`App`] hears a node's events and issues commands, on every driver alike.

use crate::id::NodeId;
use crate::machine::{Command, Event};
use crate::rng::Rng;
use crate::time::{Instant, Now};
use alloc::vec::Vec;

/// What an application may use while it reacts.
pub struct AppCx<'a> {
    /// Both clocks of the node.
    pub now: Now,
    /// The node that hosts the application.
    pub id: NodeId,
    /// The application's own addressed generator: draw with [`Purpose::App`](crate::Purpose::App).
    pub rng: &'a mut Rng,
    /// Commands to the node, carried out in this order once the application returns.
    pub commands: &'a mut Vec<Command>,
}

/// A user's program on one node: pure like the machines, so that the simulator can host thousands of them.
pub trait App: Clone {
    /// Called once when the node has booted.
    fn on_start(&mut self, _cx: &mut AppCx<'_>) {}
    /// Called for every event of the node, in order, its commands' answers included.
    fn on_event(&mut self, event: &Event, cx: &mut AppCx<'_>);
    /// Called when the application's own deadline has passed.
    fn on_timeout(&mut self, _cx: &mut AppCx<'_>) {}
    /// Tells when [`App::on_timeout`] has something to do, if ever.
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

/// No application.
impl App for () {
    fn on_event(&mut self, _event: &Event, _cx: &mut AppCx<'_>) {}
}
