//! The world: it carries out a schedule, one event at a time, and every effect of every node.
//!
//! Single-threaded and without any clock or entropy but its own: schedule, seed and build determine every hash.

mod disk;
mod mailboxes;
mod process;
mod slot;
#[cfg(test)]
mod tests;
mod traffic;

pub use process::Process;
pub use slot::Load;
pub use traffic::{PURPOSES, Sent};

use crate::agenda::{Agenda, Happening};
use crate::draw::{Domain, Draws, Seed};
use crate::faults::{Faults, Receipt};
use crate::network::connection::NEVER;
use crate::network::{Arrival, Cx, Mail, Network, Parcel};
use crate::queue::Queue;
use crate::schedule::{Action, ClockChange, DiskFate, FaultEffect, Order, Recipient, Schedule};
use bytes::Bytes;
use rumormill_core::hash::Fold;
use rumormill_core::{
    App, AppCx, Boot, Channel, Command, Effect, Event, Frame, Input, MapId, MapStatus, Member, Node, NodeId,
    Nodes, Observation, Observed, Output, Reads, Rng, Service, Stats, Status, Token, frame, links,
    members::Members,
};
use slot::{Slot, Waiting, addr_of};
use std::sync::Arc;

/// Inputs of a node between two audits of its whole tables. The nodes take turns, so that some are audited in any stretch
/// of a run, and an audit costs little beside the inputs that came since the last one.
const AUDIT_EVERY: u64 = 16_384;
/// How many inputs a node's turn is before that of the node numbered one less: it spreads few nodes over all of them.
const AUDIT_TURN: u64 = 6_007;

/// Frame kinds that are counted one by one; higher ones count together in the last place.
pub const KINDS: usize = 64;

/// How a world runs. None of these changes a hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Whether every frame passes through its encoding and decoding.
    pub wire: bool,
    /// Whether each node asserts its invariants after each input.
    pub check: bool,
    /// Virtual time between checkpoints of the hash, in nanoseconds; zero for none.
    pub checkpoint_every_ns: u64,
}

/// The hash of a world at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// When, in virtual nanoseconds: everything before it has happened.
    pub at_ns: u64,
    /// Inputs handled by all nodes until then.
    pub events: u64,
    /// The hash of the world.
    pub hash: u64,
}

/// What a world has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Inputs handled by nodes.
    pub events: u64,
    /// Frames sent by nodes.
    pub messages: u64,
    /// Bytes of those frames.
    pub bytes: u64,
    /// Bytes of those frames on each channel.
    pub channel_bytes: [u64; Channel::COUNT],
    /// Frames sent while no connection was up to carry them.
    pub unroutable: u64,
    /// Frames that were lost with their connection, as datagrams, or behind a cut.
    pub dropped: u64,
    /// Packets lost.
    pub packets_lost: u64,
    /// Frames that came twice, or would have on a datagram.
    pub doubled: u64,
    /// Commands and starts of the schedule that passed by: the node was down, or up already.
    pub passed_by: u64,
}

/// What one step was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stepped {
    /// When it happened, in virtual nanoseconds.
    pub at_ns: u64,
    /// The node that it happened to; none for a step of the schedule.
    pub node: Option<u32>,
}

/// Somebody who watches a world.
pub trait Observer {
    /// Takes one observation in.
    fn observe(&mut self, observation: &Observation<'_>);
}

/// Nobody watches.
impl Observer for () {
    #[inline]
    fn observe(&mut self, _observation: &Observation<'_>) {}
}

impl<F: FnMut(&Observation<'_>)> Observer for F {
    #[inline]
    fn observe(&mut self, observation: &Observation<'_>) {
        self(observation);
    }
}

/// The schedule waits until the world is at rest.
#[derive(Clone, Copy, Debug)]
struct Quiesce {
    since_ns: u64,
    until_ns: u64,
}

/// A simulated world: nodes, the network between them, and the faults at work.
#[derive(Clone, Debug)]
pub struct World<A: App = (), P: Process = Node> {
    schedule: Arc<Schedule>,
    seed: Seed,
    options: Options,
    draws: Draws,
    agenda: Agenda,
    network: Network,
    faults: Faults,
    slots: Vec<Slot<A, P>>,
    prototype: fn(u32) -> A,
    /// The next step of the schedule.
    cursor: usize,
    /// By how much later than scheduled the steps come.
    shift_ns: u64,
    quiesce: Option<Quiesce>,
    counters: Counters,
    kinds: [u64; KINDS],
    sent: [Sent; PURPOSES.len()],
    checkpoints: Vec<Checkpoint>,
    next_checkpoint_ns: u64,
    /// The counters of lives that have ended.
    past_stats: Stats,
    // Buffers, empty between steps.
    output: Option<Box<Output>>,
    arrivals: Vec<Arrival>,
    commands: Vec<Command>,
    wire: Vec<u8>,
}

impl<A: App, P: Process> World<A, P> {
    /// Builds a world in which nothing has happened yet. `app` makes the application of each node, by number.
    pub fn new(schedule: Arc<Schedule>, seed: Seed, options: Options, app: fn(u32) -> A) -> Self {
        Self::with_queue(schedule, seed, options, app, Queue::calendar())
    }

    fn with_queue(
        schedule: Arc<Schedule>,
        seed: Seed,
        options: Options,
        app: fn(u32) -> A,
        queue: Queue<Happening>,
    ) -> Self {
        let draws = Draws::new(seed);
        let clock = |number| schedule.clocks.iter().find(|change| change.node == number).copied();
        let slot =
            |number| Slot::new(number, draws.node_id(number), app(number), clock(number).unwrap_or_default());
        let every_ns = options.checkpoint_every_ns;
        Self {
            seed,
            options,
            draws,
            agenda: Agenda::new(schedule.nodes, queue),
            network: Network::new(schedule.nodes, schedule.network.clone(), draws),
            faults: Faults::default(),
            slots: (0..schedule.nodes).map(slot).collect(),
            prototype: app,
            cursor: 0,
            shift_ns: 0,
            quiesce: None,
            counters: Counters::default(),
            kinds: [0; KINDS],
            sent: [Sent::default(); PURPOSES.len()],
            checkpoints: Vec::new(),
            next_checkpoint_ns: if every_ns == 0 { NEVER } else { every_ns },
            past_stats: Stats::default(),
            output: Some(Box::default()),
            arrivals: Vec::new(),
            commands: Vec::new(),
            wire: Vec::new(),
            schedule,
        }
    }

    // --- running

    /// Lets the next thing happen; `None` once the end of the schedule is reached.
    pub fn step(&mut self, observer: &mut impl Observer) -> Option<Stepped> {
        self.step_until(NEVER, observer)
    }

    /// Lets everything up to a virtual time happen, that time included, but nothing behind the schedule's end.
    pub fn run_until(&mut self, at_ns: u64, observer: &mut impl Observer) {
        while self.step_until(at_ns, observer).is_some() {}
    }

    /// Lets up to `count` things happen, none later than `at_ns`; tells whether there is no more until then.
    pub fn run_some(&mut self, count: u32, at_ns: u64, observer: &mut impl Observer) -> bool {
        (0..count).any(|_| self.step_until(at_ns, observer).is_none())
    }

    /// Lets everything happen up to the end of the schedule.
    pub fn run(&mut self, observer: &mut impl Observer) {
        self.run_until(NEVER, observer);
    }

    /// Lets the next thing happen if it comes no later than `limit_ns`.
    fn step_until(&mut self, limit_ns: u64, observer: &mut impl Observer) -> Option<Stepped> {
        let event_ns = self.agenda.next_at().unwrap_or(NEVER);
        if let Some(quiesce) = self.quiesce
            && let Some(rest_ns) = self.rests_at(quiesce, event_ns).filter(|rest_ns| *rest_ns <= limit_ns)
        {
            self.agenda.now_ns = rest_ns;
            self.shift_ns += rest_ns - quiesce.since_ns;
            self.quiesce = None;
        }
        let is_waiting = self.quiesce.is_some(); // then the end of the schedule is not known yet
        let until_ns = if is_waiting { limit_ns } else { limit_ns.min(self.end_ns()) };
        let step = self.schedule.steps.get(self.cursor).filter(|_| !is_waiting);
        let step_ns = step.map_or(NEVER, |step| step.at_ns.saturating_add(self.shift_ns));
        let at_ns = event_ns.min(step_ns);
        self.pass_checkpoints(at_ns.min(until_ns));
        if at_ns > until_ns || at_ns == NEVER {
            self.agenda.now_ns = self.agenda.now_ns.max(until_ns.min(self.end_ns()));
            return None;
        }
        if step_ns <= event_ns {
            self.take_step(step_ns, observer);
            return Some(Stepped { at_ns, node: None });
        }
        let (key, happening) = self.agenda.pop()?;
        let number = key.destination;
        if self.slots[number as usize].must_wait(at_ns) && !matches!(happening, Happening::Drain) {
            self.wait(number, happening);
        } else {
            self.happen(number, at_ns, happening, observer);
        }
        Some(Stepped { at_ns, node: Some(number) })
    }

    /// Tells when the world is at rest, or may be awaited no longer.
    fn rests_at(&self, quiesce: Quiesce, event_ns: u64) -> Option<u64> {
        if self.agenda.is_quiet() && self.network.is_quiet() {
            return Some(self.agenda.now_ns);
        }
        (event_ns > quiesce.until_ns).then_some(quiesce.until_ns)
    }

    fn pass_checkpoints(&mut self, at_ns: u64) {
        while self.next_checkpoint_ns <= at_ns {
            let (at_ns, events, hash) = (self.next_checkpoint_ns, self.counters.events, self.hash());
            self.checkpoints.push(Checkpoint { at_ns, events, hash });
            self.next_checkpoint_ns = at_ns.saturating_add(self.options.checkpoint_every_ns);
        }
    }

    // --- looking

    /// Tells the virtual time in nanoseconds.
    pub fn now_ns(&self) -> u64 {
        self.agenda.now_ns
    }

    /// Tells when the schedule ends, as far as it is known now: each `Quiesce` still to come moves it.
    pub fn end_ns(&self) -> u64 {
        self.schedule.end_ns.saturating_add(self.shift_ns)
    }

    /// Tells whether every step of the schedule has been taken, a last quiescing included.
    pub fn has_taken_all(&self) -> bool {
        self.quiesce.is_none() && self.cursor >= self.schedule.steps.len()
    }

    /// Tells whether the schedule is done and its end reached.
    pub fn is_over(&self) -> bool {
        self.has_taken_all() && self.now_ns() >= self.end_ns()
    }

    /// Tells by how much later than scheduled the next steps come.
    pub fn shift_ns(&self) -> u64 {
        self.shift_ns
    }

    /// Shows the schedule.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Tells the seed.
    pub fn seed(&self) -> Seed {
        self.seed
    }

    /// Hashes everything that all nodes have seen and done, in the order of their numbers.
    pub fn hash(&self) -> u64 {
        let mut fold = Fold::default();
        self.slots.iter().for_each(|slot| slot.fold(&mut fold));
        fold.finish()
    }

    /// Lists the checkpoints so far.
    pub fn checkpoints(&self) -> &[Checkpoint] {
        &self.checkpoints
    }

    /// Counts what has happened so far.
    pub fn counters(&self) -> Counters {
        let (packets_lost, doubled) = self.network.noise();
        let carried = self.network.carried;
        let (unroutable, dropped) = (carried.unroutable, carried.dropped);
        Counters { unroutable, dropped, packets_lost, doubled, ..self.counters }
    }

    /// Counts the frames sent of each kind, by [`Frame::kind`].
    pub fn kinds(&self) -> &[u64; KINDS] {
        &self.kinds
    }

    /// Counts what was sent since the end of bootstrap, by purpose as in [`PURPOSES`].
    pub fn sent(&self) -> &[Sent; PURPOSES.len()] {
        &self.sent
    }

    /// Counts what a node has done over all its lives.
    ///
    /// # Panics
    /// When the world has no node of that number.
    #[track_caller]
    pub fn load(&self, node: u32) -> Load {
        self.slot(node).load
    }

    /// Lists the receipts of all faults, by number.
    pub fn receipts(&self) -> impl Iterator<Item = (u32, Receipt)> {
        self.faults.receipts()
    }

    /// Shows a node; none when it does not run.
    pub fn process(&self, node: u32) -> Option<&P> {
        self.slots.get(node as usize)?.process.as_ref()
    }

    /// Shows the application of a node: of one that is down as its end found it, and of one that has not run yet as it
    /// was made. [`World::apps`] shows those of running nodes alone, and [`World::process`] tells which run.
    ///
    /// # Panics
    /// When the world has no node of that number.
    #[track_caller]
    pub fn app(&self, node: u32) -> &A {
        &self.slot(node).app
    }

    /// Shows the applications of the nodes that run, with their numbers.
    pub fn apps(&self) -> impl Iterator<Item = (u32, &A)> {
        let running = (0..).zip(&self.slots).filter(|(_, slot)| slot.process.is_some());
        running.map(|(number, slot)| (number, &slot.app))
    }

    /// Names a node by its number.
    ///
    /// # Panics
    /// When the world has no node of that number.
    #[track_caller]
    pub fn id(&self, node: u32) -> NodeId {
        self.slot(node).id
    }

    #[track_caller]
    fn slot(&self, node: u32) -> &Slot<A, P> {
        let count = self.slots.len();
        match self.slots.get(node as usize) {
            Some(slot) => slot,
            None => panic!("there is no node {node}: the world has {count}, numbered from 0"),
        }
    }

    /// Finds the number of a node by its name.
    pub fn number(&self, id: &NodeId) -> Option<u32> {
        self.network.number(id)
    }

    // --- the schedule

    fn take_step(&mut self, at_ns: u64, observer: &mut impl Observer) {
        self.agenda.now_ns = at_ns.max(self.agenda.now_ns);
        let schedule = self.schedule.clone();
        let step = &schedule.steps[self.cursor];
        self.cursor += 1;
        match &step.action {
            Action::Start { node } => {
                let starts = self.start(*node, observer);
                self.counters.passed_by += u64::from(!starts);
            }
            Action::Command { node, command } => self.order(*node, command, observer),
            Action::Crash { fault, node, disk } => {
                if self.stop(*node, *disk, observer) {
                    self.faults.touch(*fault, *node);
                }
            }
            Action::Restart { fault, node, contacts } => {
                if self.start(*node, observer) {
                    self.faults.touch(*fault, *node);
                    self.order(*node, &Order::Join { contacts: contacts.clone() }, observer);
                }
            }
            Action::Begin { fault, effect } => self.begin(*fault, effect),
            Action::End { fault } => self.end(*fault),
            Action::Quiesce { max_ns } => {
                let since_ns = self.agenda.now_ns;
                self.quiesce = Some(Quiesce { since_ns, until_ns: since_ns.saturating_add(*max_ns) });
            }
        }
    }

    /// Boots a node. Tells whether it was down.
    fn start(&mut self, number: u32, observer: &mut impl Observer) -> bool {
        let now_ns = self.agenda.now_ns;
        let slot = &mut self.slots[number as usize];
        if slot.process.is_some() {
            return false;
        }
        slot.life += 1;
        slot.clock.boot(now_ns);
        let subject = [u64::from(number), u64::from(slot.life)];
        let boot = Boot {
            id: slot.id,
            addrs: slot.contact.addrs().to_vec(),
            config: self.schedule.config_of(number).clone(),
            seed: self.draws.bytes(Domain::NodeSeed, subject),
            recovered: slot.disk.rows(),
        };
        let process = slot.process.insert(P::boot(boot, slot.clock.read(now_ns)));
        slot.incarnation = process.contact().incarnation();
        let what = Observed::Started { contact: process.contact() };
        observer.observe(&Observation { at_ns: now_ns, node: number, what });
        slot.app = (self.prototype)(number);
        slot.app_rng = Rng::new(self.draws.bytes(Domain::AppSeed, subject));
        self.network(|network, cx| network.boot(cx, number));
        self.give(number, Input::Timeout, observer); // a new node makes its marks durable at once
        self.ask_app(number, observer, App::on_start);
        self.plan_wake(number); // the application may have set a deadline and said nothing
        true
    }

    /// Kills a node in mid-step. Tells whether it ran.
    fn stop(&mut self, number: u32, disk: DiskFate, observer: &mut impl Observer) -> bool {
        let slot = &mut self.slots[number as usize];
        let who = (number, slot.life);
        let Some(process) = slot.end_life() else { return false };
        slot.disk.crash(disk, &self.draws, who);
        self.past_stats.add(process.stats());
        self.network(|network, cx| network.crash(cx, number));
        let at_ns = self.agenda.now_ns;
        observer.observe(&Observation { at_ns, node: number, what: Observed::Stopped });
        true
    }

    fn order(&mut self, number: u32, order: &Order, observer: &mut impl Observer) {
        match order {
            Order::Lookup { name } => return self.look_up(number, name, observer),
            Order::Request { line } => return self.request(number, line, observer),
            Order::Join { .. } | Order::Mail(_) | Order::Core(_) => {}
        }
        let Some(command) = self.command_of(number, order) else {
            self.counters.passed_by += 1;
            return;
        };
        let token = self.note_command(number, &command, observer);
        if let Order::Mail(order) = order {
            self.slots[number as usize].mailboxes.on_order(token, order);
        }
        self.give(number, Input::Command { token, command }, observer);
    }

    /// Makes the core's command of an order; none when the node is down or an address is not known.
    fn command_of(&self, number: u32, order: &Order) -> Option<Command> {
        let slot = self.slots.get(number as usize).filter(|slot| slot.process.is_some())?;
        match order {
            Order::Core(command) => Some(command.clone()),
            Order::Join { contacts } => {
                let contact = |number: &u32| self.slots[*number as usize].contact.clone();
                Some(Command::Join { contacts: contacts.iter().map(contact).collect() })
            }
            Order::Mail(order) => {
                let address = |to: Recipient| self.slots.get(to.node as usize)?.mailboxes.address(to);
                mailboxes::resolve(order, &slot.mailboxes, address)
            }
            Order::Lookup { .. } | Order::Request { .. } => None,
        }
    }

    /// Asks a node where a service is: it reads its tables as they are, so a node that stands still is not asked.
    fn look_up(&mut self, number: u32, name: &Bytes, observer: &mut impl Observer) {
        let slot = &self.slots[number as usize];
        let Some(process) = slot.process.as_ref().filter(|_| slot.paused_by.is_none()) else {
            self.counters.passed_by += 1;
            return;
        };
        let found = process.reads().whereis(name);
        let what = Observed::Looked { name, found: found.as_ref() };
        observer.observe(&Observation { at_ns: self.agenda.now_ns, node: number, what });
    }

    /// Asks something of a node's application; who stands still hears nobody.
    fn request(&mut self, number: u32, line: &str, observer: &mut impl Observer) {
        let slot = &self.slots[number as usize];
        if slot.process.is_none() || slot.paused_by.is_some() {
            self.counters.passed_by += 1;
            return;
        }
        self.ask_app(number, observer, |app, cx| app.on_request(line, cx));
        self.plan_wake(number);
    }

    fn note_command(&mut self, number: u32, command: &Command, observer: &mut impl Observer) -> Token {
        let token = self.slots[number as usize].next_token(number);
        let (at_ns, what) = (self.agenda.now_ns, Observed::Command { token, command });
        observer.observe(&Observation { at_ns, node: number, what });
        token
    }

    fn begin(&mut self, fault: u32, effect: &FaultEffect) {
        self.end(fault);
        self.faults.begin(fault, effect);
        self.on_fault(effect);
    }

    fn end(&mut self, fault: u32) {
        if let Some(effect) = self.faults.end(fault) {
            self.on_fault(&effect);
        }
    }

    /// A fault has begun or ended: whatever it bears on looks at the faults at work again.
    fn on_fault(&mut self, effect: &FaultEffect) {
        match effect {
            FaultEffect::Cut { .. } => self.network(Network::cuts_changed),
            FaultEffect::Noise { .. } | FaultEffect::Delay { .. } => {}
            FaultEffect::Pause { nodes } => nodes.iter().for_each(|node| self.pause_as_told(*node)),
            FaultEffect::Slow { nodes, .. } => {
                for node in nodes {
                    let slows = |(fault, effect): (u32, &FaultEffect)| match effect {
                        FaultEffect::Slow { nodes, per_input_ns } if nodes.contains(node) => {
                            Some((fault, *per_input_ns))
                        }
                        _ => None,
                    };
                    self.slots[*node as usize].slowed_by = self.faults.at_work().filter_map(slows).last();
                }
            }
            FaultEffect::Clock(changes) => changes.iter().for_each(|change| self.bend_as_told(change.node)),
        }
    }

    fn pause_as_told(&mut self, node: u32) {
        let pauses =
            |effect: &FaultEffect| matches!(effect, FaultEffect::Pause { nodes } if nodes.contains(&node));
        let by = self.faults.at_work().filter(|(_, effect)| pauses(effect)).last().map(|(fault, _)| fault);
        let was = std::mem::replace(&mut self.slots[node as usize].paused_by, by);
        if was.is_some() != by.is_some() {
            self.network(|network, cx| network.pause(cx, node, by.is_some()));
        }
        self.plan_drain(node);
    }

    fn bend_as_told(&mut self, node: u32) {
        let bends = |(fault, effect): (u32, &FaultEffect)| match effect {
            FaultEffect::Clock(changes) => Some((fault, *changes.iter().find(|change| change.node == node)?)),
            _ => None,
        };
        let bent: Option<(u32, ClockChange)> = self.faults.at_work().filter_map(bends).last();
        let (now_ns, slot) = (self.agenda.now_ns, &mut self.slots[node as usize]);
        match bent {
            Some((_, change)) => slot.clock.change(change, now_ns),
            None => slot.clock.restore(slot.clock_initial, now_ns),
        }
        slot.skewed_by = bent.map(|(fault, _)| fault);
        slot.wake_at_ns = NEVER; // whatever was planned was planned by another clock
        self.plan_wake(node);
    }

    // --- what happens at nodes

    /// Hands an input to a node as if its driver did: a seam for hostile peers and garbage.
    pub fn inject(&mut self, node: u32, input: Input, observer: &mut impl Observer) {
        self.give(node, input, observer);
    }

    /// Hands an input to a node, now or once the node has time.
    fn give(&mut self, number: u32, input: Input, observer: &mut impl Observer) {
        let slot = &self.slots[number as usize];
        if slot.must_wait(self.agenda.now_ns) {
            let life = slot.life;
            self.wait(number, Happening::Input { life, input: Box::new(input) });
        } else {
            self.feed(number, input, observer);
        }
    }

    fn wait(&mut self, number: u32, happening: Happening) {
        let since_ns = self.agenda.now_ns;
        let slot = &mut self.slots[number as usize];
        let fault = slot.paused_by.or(slot.slowed_by.map(|(fault, _)| fault));
        slot.inbox.push_back(Waiting { since_ns, fault, happening });
        self.plan_drain(number);
    }

    /// Plans a look into a node's inbox, unless it is empty, one is planned, or the node is paused.
    fn plan_drain(&mut self, number: u32) {
        let slot = &mut self.slots[number as usize];
        if slot.paused_by.is_none() && slot.drain_at_ns == NEVER && !slot.inbox.is_empty() {
            slot.drain_at_ns = slot.busy_until_ns.max(self.agenda.now_ns);
            self.agenda.push(slot.drain_at_ns, number, number, Happening::Drain);
        }
    }

    fn on_drain(&mut self, number: u32, at_ns: u64, observer: &mut impl Observer) {
        if self.slots[number as usize].drain_at_ns != at_ns {
            return;
        }
        self.slots[number as usize].drain_at_ns = NEVER;
        while self.slots[number as usize].can_go_on(at_ns) {
            let Some(waiting) = self.slots[number as usize].inbox.pop_front() else { break };
            let Waiting { since_ns, fault, happening } = waiting;
            // What waits at the door of a dead node would have come to nothing anyway.
            if let (Some(fault), true) = (fault, self.slots[number as usize].process.is_some()) {
                self.faults.note(fault, (number, number), happening.len(), at_ns - since_ns);
            }
            self.happen(number, since_ns, happening, observer);
        }
        self.plan_drain(number);
    }

    /// Lets something happen that came at `at_ns`, which is now unless it had to wait.
    fn happen(&mut self, number: u32, at_ns: u64, happening: Happening, observer: &mut impl Observer) {
        match happening {
            Happening::Frame { connection, sender, channel, len, left_ns, frame } => {
                let mail = Mail { connection, sender, left_ns, channel, len };
                let from = self.network(|network, cx| network.receive(cx, mail));
                if !self.arrivals.is_empty() {
                    self.deliver(number, observer);
                }
                if let Some(from) = from.map(|from| self.network.id(from)) {
                    self.feed(number, Input::Frame { from, channel, frame }, observer);
                }
            }
            Happening::Wake => self.on_wake(number, at_ns, observer),
            Happening::Drain => self.on_drain(number, at_ns, observer),
            Happening::Written { token, life } => {
                let slot = &mut self.slots[number as usize];
                if slot.life == life && slot.process.is_some() {
                    slot.disk.finish(token);
                    self.feed(number, Input::Persisted { token }, observer);
                }
            }
            Happening::Input { life, input } => {
                if self.slots[number as usize].life == life {
                    self.feed(number, *input, observer);
                }
            }
            Happening::Leg { .. }
            | Happening::Resend { .. }
            | Happening::Established { .. }
            | Happening::Overdue { .. }
            | Happening::Down { .. }
            | Happening::Silence { .. }
            | Happening::Copy { .. }
            | Happening::Ready { .. } => {
                self.network(|network, cx| network.handle(cx, happening));
                self.deliver(number, observer);
            }
        }
    }

    /// Hands to a node what its driver learned from the network, in order.
    fn deliver(&mut self, number: u32, observer: &mut impl Observer) {
        let mut arrivals = std::mem::take(&mut self.arrivals);
        for arrival in arrivals.drain(..) {
            let input = self.input_of(arrival);
            self.feed(number, input, observer);
        }
        self.arrivals = arrivals;
    }

    fn network<R>(&mut self, act: impl FnOnce(&mut Network, &mut Cx<'_>) -> R) -> R {
        let Self { network, agenda, faults, arrivals, .. } = self;
        act(network, &mut Cx { agenda, faults, arrivals })
    }

    fn input_of(&self, arrival: Arrival) -> Input {
        match arrival {
            Arrival::Frame { from, channel, frame } => {
                Input::Frame { from: self.network.id(from), channel, frame }
            }
            Arrival::Up { peer: number, dialer } => {
                let (peer, addr) = (self.network.id(number), addr_of(number));
                let incarnation = self.slots[number as usize].incarnation;
                Input::LinkUp { peer, incarnation, version: links::VERSION, addr, dialer }
            }
            Arrival::Down { peer, dialer, reason } => {
                Input::LinkDown { peer: self.network.id(peer), dialer, reason }
            }
            Arrival::Ready { peer, channel } => Input::LinkReady { peer: self.network.id(peer), channel },
        }
    }

    fn on_wake(&mut self, number: u32, at_ns: u64, observer: &mut impl Observer) {
        let slot = &mut self.slots[number as usize];
        if slot.wake_at_ns != at_ns {
            return;
        }
        slot.wake_at_ns = NEVER;
        slot.count_wake(self.agenda.now_ns);
        let Some(process) = &slot.process else { return };
        let mono = slot.clock.read(self.agenda.now_ns).mono;
        let (node_due, app_due) = (process.poll_timeout(), slot.app.poll_timeout());
        if node_due.is_some_and(|deadline| deadline <= mono) {
            self.feed(number, Input::Timeout, observer);
        }
        if app_due.is_some_and(|deadline| deadline <= mono) {
            self.ask_app(number, observer, App::on_timeout);
        }
        self.plan_wake(number);
    }

    /// Plans a node's wake-up. One is outstanding at most; it is left where it is when the deadline moves away.
    #[inline]
    fn plan_wake(&mut self, number: u32) {
        let slot = &mut self.slots[number as usize];
        let Some(process) = &slot.process else { return };
        let deadline = process.poll_timeout().into_iter().chain(slot.app.poll_timeout()).min();
        if let Some(at_ns) = slot.earlier_wake(deadline, self.agenda.now_ns) {
            self.agenda.push(at_ns, number, number, Happening::Wake);
        }
    }

    /// Hands an input to a node's process and carries out what comes of it.
    fn feed(&mut self, number: u32, input: Input, observer: &mut impl Observer) {
        let now_ns = self.agenda.now_ns;
        let slot = &mut self.slots[number as usize];
        let Some(process) = &mut slot.process else { return };
        let now = slot.clock.read(now_ns);
        let mut output = self.output.take().unwrap_or_default();
        process.handle(now, input, &mut output);
        if self.options.check {
            process.check();
            if (slot.load.events + u64::from(number) * AUDIT_TURN) % AUDIT_EVERY == AUDIT_EVERY - 1 {
                process.audit();
            }
        }
        slot.load.events += 1;
        self.counters.events += 1;
        if let Some(fault) = slot.skewed_by {
            self.faults.note(fault, (number, number), 0, 0);
        }
        if let Some((fault, per_input_ns)) = slot.slowed_by {
            slot.busy_until_ns = now_ns + per_input_ns;
            self.faults.note(fault, (number, number), 0, per_input_ns);
        }
        if !output.effects.is_empty() {
            output.effects.drain(..).for_each(|effect| self.carry_out(number, effect));
        }
        if !output.events.is_empty() {
            for event in output.events.drain(..) {
                if let Event::LifeBegun { incarnation } = event {
                    self.slots[number as usize].incarnation = incarnation;
                }
                observer.observe(&Observation { at_ns: now_ns, node: number, what: Observed::Event(&event) });
                self.note_mail(number, &event, observer);
                self.ask_app(number, observer, |app, cx| app.on_event(&event, cx));
            }
        }
        self.output = Some(output);
        self.plan_wake(number);
    }

    /// Notes which mailboxes of the schedule are open, and answers the questions that come to them.
    fn note_mail(&mut self, number: u32, event: &Event, observer: &mut impl Observer) {
        let slot = &mut self.slots[number as usize];
        let life = slot.life;
        let Some(command) = slot.mailboxes.on_event(event) else { return };
        let token = self.note_command(number, &command, observer);
        let input = Box::new(Input::Command { token, command });
        self.agenda.push(self.agenda.now_ns, number, number, Happening::Input { life, input });
    }

    fn carry_out(&mut self, number: u32, effect: Effect) {
        match effect {
            Effect::Send { to, channel, frame } => self.send(number, to, channel, frame),
            Effect::Dial { contact } => self.network(|network, cx| network.dial(cx, number, contact.id())),
            Effect::Close { peer, dialer, reason: _ } => {
                self.network(|network, cx| network.close(cx, number, peer, dialer));
            }
            Effect::Persist { token, class: _, rows } => {
                let (now_ns, disk_ns) = (self.agenda.now_ns, self.schedule.network.disk_ns);
                let slot = &mut self.slots[number as usize];
                let (life, draws) = (slot.life, &self.draws);
                let at_ns = slot.disk.start((token, rows), now_ns, disk_ns, draws, (number, life));
                self.agenda.push(at_ns, number, number, Happening::Written { token, life });
            }
        }
    }

    fn send(&mut self, number: u32, to: NodeId, channel: Channel, mut frame: Frame) {
        let len = frame.wire_len() as u32;
        if self.options.wire {
            frame = self.through_wire(&frame);
        }
        self.counters.messages += 1;
        self.counters.bytes += u64::from(len);
        self.counters.channel_bytes[channel as usize] += u64::from(len);
        self.kinds[usize::from(frame.kind()).min(KINDS - 1)] += 1;
        if self.agenda.now_ns >= self.schedule.bootstrap_end_ns {
            let sent = &mut self.sent[traffic::purpose(&frame)];
            *sent = Sent { frames: sent.frames + 1, bytes: sent.bytes + u64::from(len) };
        }
        let slot = &mut self.slots[number as usize];
        slot.load.messages += 1;
        slot.load.bytes += u64::from(len);
        let life = slot.life;
        let parcel = Parcel { channel, len, frame };
        if self.network(|network, cx| network.send(cx, number, &to, parcel)) {
            let input = Box::new(Input::LinkFull { peer: to, channel });
            self.agenda.push(self.agenda.now_ns, number, number, Happening::Input { life, input });
        }
    }

    /// Encodes a frame and decodes it again: the same frame, if the codec is right.
    fn through_wire(&mut self, frame: &Frame) -> Frame {
        self.wire.clear();
        frame.encode(&mut self.wire);
        assert_eq!(self.wire.len(), frame.wire_len(), "a frame is as long as it says");
        let decoded = frame::decode(&mut Bytes::copy_from_slice(&self.wire));
        decoded.ok().flatten().expect("a frame of our own is decoded")
    }

    /// Lets a node's application react; its commands come to the node at the same instant, in their order.
    #[inline]
    fn ask_app(
        &mut self,
        number: u32,
        observer: &mut impl Observer,
        react: impl FnOnce(&mut A, &mut AppCx<'_>),
    ) {
        let now_ns = self.agenda.now_ns;
        let slot = &mut self.slots[number as usize];
        let (now, id, life) = (slot.clock.read(now_ns), slot.id, slot.life);
        let first_token = slot.upcoming_token(number);
        let mut commands = std::mem::take(&mut self.commands);
        let Slot { app, app_rng: rng, process, .. } = slot;
        let node = process.as_ref().map_or(&() as &dyn Reads, P::reads);
        react(app, &mut AppCx { now, id, node, rng, commands: &mut commands, first_token });
        for command in commands.drain(..) {
            let token = self.note_command(number, &command, observer);
            let input = Box::new(Input::Command { token, command });
            self.agenda.push(now_ns, number, number, Happening::Input { life, input });
        }
        self.commands = commands;
    }
}

impl<A: App> Nodes for World<A, Node> {
    fn count(&self) -> u32 {
        self.schedule.nodes
    }

    fn status(&self, node: u32) -> Option<Status<'_>> {
        self.process(node).map(Node::status)
    }

    fn map_status(&self, node: u32, map: MapId) -> Option<MapStatus> {
        self.process(node)?.status().maps.into_iter().find(|status| status.map == map)
    }

    fn each_entry(&self, node: u32, map: MapId, visit: &mut dyn FnMut(&Bytes, &Bytes)) {
        let Some(map) = self.process(node).and_then(|node| node.map(map)) else { return };
        map.iter().for_each(|(key, value)| visit(key, &value));
    }

    fn each_member(&self, node: u32, visit: &mut dyn FnMut(&Member)) {
        let members = self.process(node).and_then(Node::members);
        members.into_iter().flat_map(Members::iter).for_each(|member| visit(&member));
    }

    fn owner_of(&self, node: u32, partition: u32) -> Option<NodeId> {
        self.process(node)?.owner_of(partition)
    }

    fn each_service(&self, node: u32, visit: &mut dyn FnMut(&Service)) {
        let Some(registry) = self.process(node).and_then(Node::registry) else { return };
        registry.iter().for_each(|service| visit(&service));
    }

    fn totals(&self) -> Stats {
        let mut totals = self.past_stats.clone();
        self.slots.iter().filter_map(|slot| slot.process.as_ref()).for_each(|node| totals.add(node.stats()));
        totals
    }
}
