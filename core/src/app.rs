//! Users' code in the core: an [`App`] hears a node's events and issues commands, on every driver alike.

use crate::id::{MapId, NodeId, Token};
use crate::machine::{Command, Event};
use crate::member::Member;
use crate::rng::Rng;
use crate::service::Service;
use crate::time::{Instant, Now};
use alloc::vec::Vec;
use bytes::Bytes;

/// What an application may use while it reacts.
pub struct AppCx<'a> {
    /// Both clocks of the node.
    pub now: Now,
    /// The node that hosts the application.
    pub id: NodeId,
    /// What the node knows, to be read at once.
    pub node: &'a dyn Reads,
    /// The application's own addressed generator: draw with [`Purpose::App`](crate::Purpose::App).
    pub rng: &'a mut Rng,
    /// Commands to the node, carried out in this order once the application returns.
    pub commands: &'a mut Vec<Command>,
    /// The name of the first of these commands; each later one has the next number.
    pub first_token: Token,
}

impl AppCx<'_> {
    /// Gives the node a command, and tells the name that its answer will bear.
    pub fn order(&mut self, command: Command) -> Token {
        let token = Token(self.first_token.0 + self.commands.len() as u64);
        self.commands.push(command);
        token
    }
}

/// What users read of a node at once, without a command: the node's own tables as they are now.
pub trait Reads {
    /// Lists the visible services of a name, everywhere.
    fn services(&self, name: &[u8]) -> Vec<Service>;
    /// Chooses one service of a name: one of this node first, else always the same as long as it is there.
    fn whereis(&self, name: &[u8]) -> Option<Service>;
    /// Lists the members that the node knows, itself included.
    fn members(&self) -> Vec<Member>;
    /// Lists up to `count` owners of a key, best first.
    fn owners(&self, key: &[u8], count: usize) -> Vec<NodeId>;
    /// Reads a key of a replicated map.
    fn get(&self, map: MapId, key: &[u8]) -> Option<Bytes>;
}

/// A node that knows nothing, for tests of applications.
impl Reads for () {
    fn services(&self, _name: &[u8]) -> Vec<Service> {
        Vec::new()
    }
    fn whereis(&self, _name: &[u8]) -> Option<Service> {
        None
    }
    fn members(&self) -> Vec<Member> {
        Vec::new()
    }
    fn owners(&self, _key: &[u8], _count: usize) -> Vec<NodeId> {
        Vec::new()
    }
    fn get(&self, _map: MapId, _key: &[u8]) -> Option<Bytes> {
        None
    }
}

/// A user's program on one node: pure like the machines, so that the simulator can host thousands of them.
pub trait App: Clone {
    /// Called once when the node has booted.
    fn on_start(&mut self, _cx: &mut AppCx<'_>) {}
    /// Called for every event of the node, in order, its commands' answers included.
    fn on_event(&mut self, event: &Event, cx: &mut AppCx<'_>);
    /// Called when somebody at this node asks something of the application, in one line of text: a person at a terminal,
    /// or a scenario. What lines there are is the application's own affair.
    fn on_request(&mut self, _line: &str, _cx: &mut AppCx<'_>) {}
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
