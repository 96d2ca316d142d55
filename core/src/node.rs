//! The node: every machine composed, and the one place where anything is routed between them.

mod commands;
mod inputs;
mod inspect;
mod kept;
mod services;
mod views;

use crate::broadcast::{self, Broadcast};
use crate::config::Config;
use crate::frame::{Channel, Class};
use crate::hlc::Hlc;
use crate::id::{Contact, Incarnation, MapId, NodeId, Topic};
use crate::links::{self, Links};
use crate::machine::{CloseReason, Cx, Effect, Event, Input, Machine, Row};
use crate::mailboxes::{self, Mailboxes};
use crate::marks::Marks;
use crate::members::{self, Members};
use crate::membership::{self, Membership};
use crate::placement::Placement;
use crate::registry::{self, Registrar, Registry};
use crate::replica::{self, LwwMap, Replica};
use crate::rng::Rng;
use crate::stats::Stats;
use crate::time::{Instant, Now};
use crate::trace::TraceHash;
use crate::watches::Watches;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use kept::{Keep, Kept};

/// Inputs between two digests of the state in the trace hash.
const DIGEST_EVERY: u64 = 256;

/// What a node starts from.
#[derive(Clone, Debug)]
pub struct Boot {
    /// Its name for life.
    pub id: NodeId,
    /// Where it can be reached.
    pub addrs: Vec<SocketAddr>,
    /// Its configuration, shared by every node that uses the same.
    pub config: Arc<Config>,
    /// The seed of its generator.
    pub seed: [u8; 32],
    /// The rows that its store holds from earlier lives.
    pub recovered: Vec<Row>,
}

/// What came out of a node. The driver empties both and hands the same buffers in again.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// For the driver to carry out, in this order.
    pub effects: Vec<Effect>,
    /// For the user.
    pub events: Vec<Event>,
}

/// A node: plain data that reacts to inputs.
#[derive(Clone, Debug)]
pub struct Node {
    machines: Machines,
    rng: Rng,
    clock: Hlc,
    stats: Stats,
    trace: TraceHash,
    /// The first input of a life is due at once: it makes the marks durable.
    boot_at: Instant,
}

/// Every machine of a node.
#[derive(Clone, Debug)]
struct Machines {
    id: NodeId,
    marks: Marks,
    links: Kept<Links>,
    membership: Kept<Membership>,
    broadcast: Option<Kept<Broadcast>>,
    replica: Option<Kept<Replica>>,
    members: Option<Kept<Members>>,
    placement: Option<Kept<Placement>>,
    registry: Option<Kept<Registrar>>,
    watches: Watches,
    mailboxes: Option<Kept<Mailboxes>>,
    /// The earliest deadline of all of them.
    due: Instant,
}

impl Node {
    /// Boots a node. Its first deadline is `now`.
    pub fn new(boot: Boot, now: Now) -> Self {
        let Boot { id, addrs, config, seed, recovered } = boot;
        let (marks, clock) = Marks::recover(config.clone(), &recovered, now);
        let contact = Contact::new(id, marks.incarnation(), &addrs);
        let origin = crate::id::MessageId::origin(&id, marks.incarnation());
        let machines = Machines {
            id,
            links: Kept::new(Links::new(config.clone(), id)),
            membership: Kept::new(Membership::new(config.clone(), contact.clone())),
            members: config.members.then(|| Kept::new(Members::new(config.clone(), contact))),
            broadcast: config.broadcast.then(|| Kept::new(Broadcast::new(config.clone(), id, origin))),
            replica: config.replica.then(|| Kept::new(Replica::new(config.clone(), marks.writer(id)))),
            watches: Watches::new(config.watches_max),
            placement: config.placement.then(|| Kept::new(Placement::new(config.clone(), id))),
            registry: config
                .registry
                .then(|| Kept::new(Registrar::new(config.clone(), id, marks.incarnation()))),
            mailboxes: config
                .mailboxes
                .then(|| Kept::new(Mailboxes::new(config.clone(), id, marks.incarnation()))),
            marks,
            due: now.mono,
        };
        let trace = TraceHash::default();
        Self { machines, rng: Rng::new(seed), clock, stats: Stats::default(), trace, boot_at: now.mono }
    }

    /// Reacts to an input: first does everything that is due at `now`, then handles it. Appends to `out`.
    pub fn handle(&mut self, now: Now, input: Input, out: &mut Output) {
        self.trace.input(&now, &input);
        let first = out.effects.len();
        let Self { machines, rng, clock, stats, .. } = self;
        let mut cx = Cx { now, rng, clock, stats, effects: &mut out.effects };
        machines.each().for_each(Keep::sleep);
        machines.fire(&mut cx, &mut out.events);
        machines.handle(input, &mut cx, &mut out.events);
        machines.settle(&mut cx, &mut out.events);
        machines.due = machines.each().map(Keep::rest).min().unwrap_or(Instant::NEVER);
        self.trace.effects(&out.effects[first..]);
        if self.trace.steps().is_multiple_of(DIGEST_EVERY) {
            self.trace.digest(self.digest(now.mono));
        }
    }

    /// Tells when the node must be handed [`Input::Timeout`], if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.machines.marks.is_started() { self.machines.poll_timeout() } else { Some(self.boot_at) }
    }

    /// Tells how the node introduces itself.
    pub fn contact(&self) -> &Contact {
        self.machines.membership.contact()
    }

    /// Tells which life of the node this is: drivers introduce it with this number. A node that comes back after it has
    /// left lives the next one.
    pub fn incarnation(&self) -> Incarnation {
        self.machines.marks.incarnation()
    }

    /// Shows a replicated map that this node hosts.
    pub fn map(&self, map: MapId) -> Option<&LwwMap> {
        self.machines.replica.as_deref()?.map(map)
    }

    /// Shows the services of the cluster, if this node keeps a registry.
    pub fn registry(&self) -> Option<&Registry> {
        self.machines.registry.as_deref().map(Registrar::registry)
    }

    /// Lists the peers whose link is up: not the active view, not the cluster.
    pub fn connected(&self) -> impl Iterator<Item = NodeId> {
        self.machines.links.connected()
    }

    /// Lists the active view.
    pub fn active(&self) -> impl Iterator<Item = NodeId> {
        self.machines.membership.active()
    }

    /// Shows the node's counters.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Shows the hash of everything that the node has seen and done.
    pub fn trace_hash(&self) -> u64 {
        self.trace.value()
    }
}

/// Time: what is due, and when something will be.
impl Machines {
    fn fire(&mut self, cx: &mut Cx<'_>, out: &mut Vec<Event>) {
        if !self.marks.is_started() {
            self.marks.advance(cx);
            if self.marks.take_damage() {
                out.push(Event::StoreDamaged);
            }
        }
        self.links.handle_timeout(cx);
        self.membership.handle_timeout(cx);
        self.broadcast.iter_mut().for_each(|broadcast| broadcast.handle_timeout(cx));
        self.replica.iter_mut().for_each(|replica| replica.handle_timeout(cx));
        self.members.iter_mut().for_each(|members| members.handle_timeout(cx));
        self.registry.iter_mut().for_each(|registry| registry.handle_timeout(cx));
        self.settle(cx, out);
        if let Some(mailboxes) = &mut self.mailboxes {
            mailboxes.handle_timeout(cx); // knows by now which links are up
            self.settle(cx, out);
        }
    }

    /// Lists every machine that runs, as it is kept.
    fn each(&mut self) -> impl Iterator<Item = &mut dyn Keep> {
        let Self { links, membership, broadcast, replica, members, placement, registry, mailboxes, .. } =
            self;
        let lower: [&mut dyn Keep; 2] = [links, membership];
        let upper =
            [kept(broadcast), kept(replica), kept(members), kept(placement), kept(registry), kept(mailboxes)];
        lower.into_iter().chain(upper.into_iter().flatten())
    }

    fn poll_timeout(&self) -> Option<Instant> {
        (self.due != Instant::NEVER).then_some(self.due)
    }
}

/// The wiring: where each event of a machine goes. Nothing else connects the machines.
impl Machines {
    /// Carries events up, from machine to machine, until all is quiet: those of the lowest machine first.
    fn settle(&mut self, cx: &mut Cx<'_>, up: &mut Vec<Event>) {
        while self.links.poll_event().map(|event| self.on_links(event, cx)).is_some()
            || self.membership.poll_event().map(|event| self.on_membership(event, cx, up)).is_some()
            || poll(&mut self.broadcast).map(|event| self.on_broadcast(event, cx, up)).is_some()
            || poll(&mut self.replica).map(|event| self.on_replica(event, cx, up)).is_some()
            || poll(&mut self.members).map(|event| self.on_members(event, cx, up)).is_some()
            || poll(&mut self.placement).map(|event| self.on_placement(event, cx, up)).is_some()
            || poll(&mut self.registry).map(|event| self.on_registry(event, cx, up)).is_some()
            || poll(&mut self.mailboxes).map(|event| self.on_mailboxes(event, cx, up)).is_some()
        {}
    }

    fn on_links(&mut self, event: links::Event, cx: &mut Cx<'_>) {
        use links::Event::{Closed, Down, Unreached, Up};
        match event {
            Up { peer, incarnation } => {
                hand(&mut self.mailboxes, mailboxes::Input::LinkUp { peer, incarnation }, cx);
            }
            Down { peer, is_lost } => {
                self.membership.handle(membership::Input::LinkDown { peer }, cx);
                hand(&mut self.mailboxes, mailboxes::Input::LinkDown { peer, is_lost }, cx);
            }
            Closed { peer, is_lost } => {
                hand(&mut self.mailboxes, mailboxes::Input::Unreached { node: peer }, cx);
                hand(&mut self.mailboxes, mailboxes::Input::LinkDown { peer, is_lost }, cx);
            }
            Unreached { peer } => {
                self.membership.handle(membership::Input::Unreached { peer }, cx);
                hand(&mut self.mailboxes, mailboxes::Input::Unreached { node: peer }, cx);
            }
        }
    }

    fn on_membership(&mut self, event: membership::Event, cx: &mut Cx<'_>, up: &mut Vec<Event>) {
        use membership::Event::{Close, Done, Isolated, Left, NeighborDown, NeighborUp, Quiet, Reach};
        let channel = Channel::Control;
        match event {
            Done { token: commands::OWN_TOKEN, .. } => {}
            Done { token, result } => up.push(Event::Done { token, result }),
            Isolated => up.push(Event::Isolated),
            Left => {
                self.links.handle(links::Input::CloseAll(CloseReason::Leaving), cx);
                hand(&mut self.mailboxes, mailboxes::Input::Left, cx);
            }
            Close { peer, reason } => self.links.handle(links::Input::Close { peer, reason }, cx),
            Reach { contact, frame } => {
                self.links.handle(links::Input::Reach { contact, channel, frame }, cx);
            }
            Quiet { peer } => hand(&mut self.members, members::Input::Quiet { peer }, cx),
            NeighborUp { peer } => {
                self.links.handle(links::Input::Hold { peer }, cx);
                hand(&mut self.broadcast, broadcast::Input::NeighborUp { peer }, cx);
                hand(&mut self.replica, replica::Input::NeighborUp { peer }, cx);
                hand(&mut self.members, members::Input::NeighborUp { peer }, cx);
                hand(&mut self.registry, registry::Input::NeighborUp { peer }, cx);
                up.push(Event::NeighborUp { peer });
            }
            NeighborDown { peer, loss } => {
                self.links.handle(links::Input::Release { peer }, cx);
                hand(&mut self.broadcast, broadcast::Input::NeighborDown { peer }, cx);
                hand(&mut self.replica, replica::Input::NeighborDown { peer }, cx);
                hand(&mut self.members, members::Input::NeighborDown { peer, loss }, cx);
                hand(&mut self.registry, registry::Input::NeighborDown { peer }, cx);
                up.push(Event::NeighborDown { peer, reason: loss });
            }
        }
    }

    fn on_broadcast(&mut self, event: broadcast::Event, cx: &mut Cx<'_>, up: &mut Vec<Event>) {
        let broadcast::Event::Delivered { topic, id, hops, payload, from } = event;
        if topic == Topic::REPLICA {
            hand(&mut self.replica, replica::Input::Op { from, payload }, cx);
        } else if !topic.is_reserved() {
            up.push(Event::Message { topic, id, hops, payload });
        }
    }

    fn on_replica(&mut self, event: replica::Event, cx: &mut Cx<'_>, up: &mut Vec<Event>) {
        use replica::Event::{Changed, ClockRefused, Malformed, Publish};
        match event {
            Changed { map, key, old, new, version, origin } => {
                up.push(Event::MapChanged { map, key, old, new, version, origin });
            }
            Publish { payload } => {
                // A refusal for load loses nothing: anti-entropy carries what the tree does not.
                let broadcast = self.broadcast.as_mut();
                let _ = broadcast.map(|it| it.publish(Topic::REPLICA, Class::Normal, payload, cx));
            }
            ClockRefused { from, ahead_ms } => up.push(Event::ClockRefused { from, ahead_ms }),
            Malformed { from } => self.links.handle(links::Input::Malformed { from }, cx),
        }
    }
}

/// Asks a machine that may be off for its next event.
fn poll<M: Machine>(machine: &mut Option<M>) -> Option<M::Event> {
    machine.as_mut()?.poll_event()
}

/// Hands an input to a machine that may be off.
fn hand<M: Machine>(machine: &mut Option<M>, input: M::Input, cx: &mut Cx<'_>) {
    if let Some(machine) = machine {
        machine.handle(input, cx);
    }
}

fn kept<M: Machine>(machine: &mut Option<Kept<M>>) -> Option<&mut dyn Keep> {
    machine.as_mut().map(|machine| machine as &mut dyn Keep)
}
