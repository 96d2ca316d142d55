//! The node: every machine composed, and the one place where anything is routed between them.

use crate::broadcast::{self, Broadcast};
use crate::config::Config;
use crate::frame::{Channel, Class, Frame};
use crate::hash::Fold;
use crate::hlc::Hlc;
use crate::id::{Contact, Incarnation, MapId, NodeId, Token, Topic};
use crate::links::{self, Links};
use crate::machine::{CloseReason, Command, CommandError, Cx, Effect, Event, Input, Machine, Reply, Row};
use crate::marks::{Admission, Marks};
use crate::membership::{self, Membership};
use crate::observation::Status;
use crate::replica::{self, LwwMap, Replica};
use crate::rng::Rng;
use crate::stats::Stats;
use crate::time::{Instant, Now};
use crate::trace::TraceHash;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;

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
    links: Links,
    membership: Membership,
    broadcast: Option<Broadcast>,
    replica: Option<Replica>,
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
            links: Links::new(config.clone(), id),
            membership: Membership::new(config.clone(), contact),
            broadcast: config.broadcast.then(|| Broadcast::new(config.clone(), id, origin)),
            replica: config.replica.then(|| Replica::new(config.clone(), marks.writer(id))),
            marks,
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
        machines.fire(&mut cx, &mut out.events);
        machines.handle(input, &mut cx, &mut out.events);
        machines.settle(&mut cx, &mut out.events);
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

    /// Tells which life of the node this is.
    pub fn incarnation(&self) -> Incarnation {
        self.machines.marks.incarnation()
    }

    /// Shows a replicated map that this node hosts.
    pub fn map(&self, map: MapId) -> Option<&LwwMap> {
        self.machines.replica.as_ref()?.map(map)
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

    /// Shows everything that properties may ask about.
    pub fn status(&self) -> Status<'_> {
        let Machines { membership, broadcast, replica, .. } = &self.machines;
        Status {
            id: self.machines.id,
            incarnation: self.incarnation(),
            clock: self.clock.last(),
            active: membership.active().collect(),
            passive: membership.passive().collect(),
            eager: broadcast.iter().flat_map(Broadcast::eager).collect(),
            lazy: broadcast.iter().flat_map(Broadcast::lazy).collect(),
            joined: membership.is_joined(),
            left: membership.has_left(),
            maps: replica.iter().flat_map(Replica::status).collect(),
            stats: &self.stats,
        }
    }

    /// Hashes the state, with all times relative to `now`: equal states at different times hash alike.
    pub fn digest(&self, now: Instant) -> u64 {
        let mut fold = Fold::default();
        let Machines { marks, links, membership, broadcast, replica, .. } = &self.machines;
        marks.digest(&mut fold);
        links.digest(now, &mut fold);
        membership.digest(now, &mut fold);
        broadcast.iter().for_each(|broadcast| broadcast.digest(now, &mut fold));
        replica.iter().for_each(|replica| replica.digest(now, &mut fold));
        fold.word(self.rng.drawn());
        fold.word(self.clock.last().0);
        fold.finish()
    }

    /// Asserts the invariants of every machine, and those between them, that cost no more than a view to check.
    pub fn check(&self) {
        self.machines.check();
    }

    /// Asserts every invariant of every machine, also those over whole tables.
    pub fn audit(&self) {
        let Machines { links, membership, broadcast, replica, .. } = &self.machines;
        self.check();
        links.audit();
        membership.audit();
        broadcast.iter().for_each(Machine::audit);
        replica.iter().for_each(Machine::audit);
    }
}

/// The wiring. Events go up, effects go down, and nothing else connects the machines.
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
        self.settle(cx, out);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let lower = [self.links.poll_timeout(), self.membership.poll_timeout()];
        let broadcast = self.broadcast.as_ref().and_then(Broadcast::poll_timeout);
        let replica = self.replica.as_ref().and_then(Replica::poll_timeout);
        lower.into_iter().chain([broadcast, replica]).flatten().min()
    }

    fn handle(&mut self, input: Input, cx: &mut Cx<'_>, out: &mut Vec<Event>) {
        match input {
            Input::Command { token, command } => self.on_command(token, command, cx, out),
            Input::Frame { from, channel, frame } => self.on_frame(from, channel, frame, cx),
            Input::LinkUp { peer, incarnation, version, addr: _, dialer } => {
                self.links.handle(links::Input::Up { peer, incarnation, version, dialer }, cx);
            }
            Input::LinkDown { peer, dialer, reason } => {
                self.links.handle(links::Input::Down { peer, dialer, reason }, cx);
            }
            Input::Malformed { from } => self.links.handle(links::Input::Malformed { from }, cx),
            Input::LinkFull { peer, channel } => self.on_pressure(peer, channel, true, cx),
            Input::LinkReady { peer, channel } => self.on_pressure(peer, channel, false, cx),
            Input::Persisted { token } => {
                self.marks.on_persisted(token);
                while let Some((token, command)) = self.marks.pop_ready(cx) {
                    self.write(token, command, cx, out);
                }
            }
            Input::PersistFailed { .. } => {
                let result = Err(CommandError::StoreFailed);
                out.push(Event::StoreFailed);
                let refused = self.marks.on_persist_failed(cx);
                out.extend(refused.into_iter().map(|token| Event::Done { token, result }));
            }
            Input::Timeout => {} // fire() has done it all
        }
    }

    fn on_frame(&mut self, from: NodeId, channel: Channel, frame: Frame, cx: &mut Cx<'_>) {
        if !self.membership.heard(&from, cx.now.mono) {
            self.links.heard(&from, cx.now.mono);
        }
        if frame.channel() != channel || from == self.id {
            cx.stats.misplaced += 1;
            return;
        }
        match (channel, &mut self.broadcast, &mut self.replica) {
            (Channel::Gossip | Channel::Lazy, Some(broadcast), _) => {
                broadcast.handle(broadcast::Input::Frame { from, frame }, cx);
            }
            (Channel::Control, Some(broadcast), _) if matches!(frame, Frame::Graft { .. } | Frame::Prune) => {
                broadcast.handle(broadcast::Input::Frame { from, frame }, cx);
            }
            (Channel::Sync, _, Some(replica)) => replica.handle(replica::Input::Frame { from, frame }, cx),
            (Channel::Control, ..) => self.membership.handle(membership::Input::Frame { from, frame }, cx),
            (Channel::Gossip | Channel::Lazy | Channel::Sync | Channel::User | Channel::Datagram, ..) => {
                cx.stats.misplaced += 1;
            }
        }
    }

    fn on_pressure(&mut self, peer: NodeId, channel: Channel, is_full: bool, cx: &mut Cx<'_>) {
        if let (Channel::Gossip | Channel::Lazy, Some(broadcast)) = (channel, &mut self.broadcast) {
            let full = broadcast::Input::LinkFull { peer, channel };
            let ready = broadcast::Input::LinkReady { peer, channel };
            broadcast.handle(if is_full { full } else { ready }, cx);
        }
        if let (Channel::Sync, Some(replica)) = (channel, &mut self.replica) {
            let (full, ready) = (replica::Input::LinkFull { peer }, replica::Input::LinkReady { peer });
            replica.handle(if is_full { full } else { ready }, cx);
        }
    }

    /// Carries events up, from machine to machine, until all is quiet.
    fn settle(&mut self, cx: &mut Cx<'_>, out: &mut Vec<Event>) {
        loop {
            if let Some(event) = self.links.poll_event() {
                self.on_links(event, cx);
            } else if let Some(event) = self.membership.poll_event() {
                self.on_membership(event, cx, out);
            } else if let Some(event) = self.broadcast.as_mut().and_then(Machine::poll_event) {
                self.on_broadcast(event, cx, out);
            } else if let Some(event) = self.replica.as_mut().and_then(Machine::poll_event) {
                self.on_replica(event, cx, out);
            } else {
                return;
            }
        }
    }

    fn on_links(&mut self, event: links::Event, cx: &mut Cx<'_>) {
        self.membership.handle(
            match event {
                links::Event::Down { peer } => membership::Input::LinkDown { peer },
                links::Event::Unreached { peer } => membership::Input::Unreached { peer },
            },
            cx,
        );
    }

    fn on_membership(&mut self, event: membership::Event, cx: &mut Cx<'_>, out: &mut Vec<Event>) {
        match event {
            membership::Event::Done { token, result } => out.push(Event::Done { token, result }),
            membership::Event::Isolated => out.push(Event::Isolated),
            membership::Event::Reach { contact, frame } => {
                let channel = Channel::Control;
                self.links.handle(links::Input::Reach { contact, channel, frame }, cx);
            }
            membership::Event::Close { peer, reason } => {
                self.links.handle(links::Input::Close { peer, reason }, cx);
            }
            membership::Event::Left => self.links.handle(links::Input::CloseAll(CloseReason::Leaving), cx),
            membership::Event::NeighborUp { peer } => {
                self.links.handle(links::Input::Hold { peer }, cx);
                let broadcast = self.broadcast.iter_mut();
                broadcast.for_each(|it| it.handle(broadcast::Input::NeighborUp { peer }, cx));
                let replica = self.replica.iter_mut();
                replica.for_each(|it| it.handle(replica::Input::NeighborUp { peer }, cx));
                out.push(Event::NeighborUp { peer });
            }
            membership::Event::NeighborDown { peer, loss } => {
                self.links.handle(links::Input::Release { peer }, cx);
                let broadcast = self.broadcast.iter_mut();
                broadcast.for_each(|it| it.handle(broadcast::Input::NeighborDown { peer }, cx));
                let replica = self.replica.iter_mut();
                replica.for_each(|it| it.handle(replica::Input::NeighborDown { peer }, cx));
                out.push(Event::NeighborDown { peer, reason: loss });
            }
        }
    }

    fn on_broadcast(&mut self, event: broadcast::Event, cx: &mut Cx<'_>, out: &mut Vec<Event>) {
        let broadcast::Event::Delivered { topic, id, hops, payload, from } = event;
        match &mut self.replica {
            Some(replica) if topic == Topic::REPLICA => {
                replica.handle(replica::Input::Op { from, payload }, cx);
            }
            Some(_) | None if topic.is_reserved() => {}
            Some(_) | None => out.push(Event::Message { topic, id, hops, payload }),
        }
    }

    fn on_replica(&mut self, event: replica::Event, cx: &mut Cx<'_>, out: &mut Vec<Event>) {
        match event {
            replica::Event::Changed { map, key, old, new, version, origin } => {
                out.push(Event::MapChanged { map, key, old, new, version, origin });
            }
            replica::Event::Publish { payload } => {
                // A refusal for load loses nothing: anti-entropy carries what the tree does not.
                if let Some(broadcast) = &mut self.broadcast {
                    let _ = broadcast.publish(Topic::REPLICA, Class::Normal, payload, cx);
                }
            }
            replica::Event::ClockRefused { from, ahead_ms } => {
                out.push(Event::ClockRefused { from, ahead_ms });
            }
            replica::Event::Malformed { from } => self.links.handle(links::Input::Malformed { from }, cx),
        }
    }

    fn on_command(&mut self, token: Token, command: Command, cx: &mut Cx<'_>, out: &mut Vec<Event>) {
        let result = match command {
            Command::Join { contacts } => {
                return self.membership.handle(membership::Input::Join { token, contacts }, cx);
            }
            Command::Leave => return self.membership.handle(membership::Input::Leave { token }, cx),
            Command::Put { .. } | Command::Remove { .. } => {
                return match self.marks.admit(token, command, cx) {
                    Admission::Now(token, command) => self.write(token, command, cx, out),
                    Admission::Later => {}
                    Admission::Refused(token, error) => out.push(Event::Done { token, result: Err(error) }),
                };
            }
            Command::Cycle => {
                self.membership.handle(membership::Input::Cycle, cx);
                Ok(Reply::Ok)
            }
            Command::Subscribe { topic } => {
                self.broadcast().and_then(|it| it.subscribe(topic)).map(|()| Reply::Ok)
            }
            Command::Unsubscribe { topic } => {
                self.broadcast().and_then(|it| it.unsubscribe(topic)).map(|()| Reply::Ok)
            }
            Command::Publish { topic, .. } if topic.is_reserved() => Err(CommandError::ReservedTopic),
            Command::Publish { topic, class, payload } => {
                let published = self.broadcast().and_then(|it| it.publish(topic, class, payload, cx));
                published.map(|id| Reply::Published { id })
            }
            Command::CreateMap { name, schema } => {
                self.replica().and_then(|it| it.create_map(&name, schema)).map(|()| Reply::Ok)
            }
        };
        out.push(Event::Done { token, result });
    }

    /// Carries out a write whose stamp may leave.
    fn write(&mut self, token: Token, command: Command, cx: &mut Cx<'_>, out: &mut Vec<Event>) {
        let written = self.replica().and_then(|replica| match command {
            Command::Put { map, key, value, expires } => replica.put(map, key, value, expires, cx),
            Command::Remove { map, key } => replica.remove(map, key, cx),
            Command::Join { .. }
            | Command::Leave
            | Command::Subscribe { .. }
            | Command::Unsubscribe { .. }
            | Command::Publish { .. }
            | Command::CreateMap { .. }
            | Command::Cycle => Err(CommandError::Disabled),
        });
        out.push(Event::Done { token, result: written.map(|version| Reply::Written { version }) });
    }

    fn broadcast(&mut self) -> Result<&mut Broadcast, CommandError> {
        self.broadcast.as_mut().ok_or(CommandError::Disabled)
    }

    fn replica(&mut self) -> Result<&mut Replica, CommandError> {
        self.replica.as_mut().ok_or(CommandError::Disabled)
    }

    fn check(&self) {
        let Self { marks, links, membership, broadcast, replica, .. } = self;
        marks.check();
        links.check();
        membership.check();
        broadcast.iter().for_each(Machine::check);
        replica.iter().for_each(Machine::check);
        if let Some(broadcast) = broadcast {
            let neighbors = broadcast.eager().chain(broadcast.lazy());
            assert_eq!(neighbors.count(), membership.active().count(), "broadcast knows other neighbours");
        }
    }
}
