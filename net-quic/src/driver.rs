//! The driver: one task that owns the node, hands inputs in and carries effects out. It decides nothing.
//!
//! It never waits for a peer, a user or a disk. What others have to tell comes through queues; what they are told goes
//! into queues that are theirs.

mod copies;
mod moving;

use copies::Copies;
pub(crate) use moving::{Moving, challenges};

use crate::app::{AppHost, Stimulus};
use crate::connection::{Arrival, Arrivals, ConnectionId, Holds, Link, OUTLIVED, Queued};
use crate::endpoint::{Gate, Met};
use crate::hear::{Hearers, PATIENCE};
use crate::hello::Purpose;
use crate::published::{Published, Watches};
use crate::request::{Batch, Forgotten, Hearer, Request};
use crate::store::{Store, Write};
use crate::timers::{Timer, Timers};
use crate::trust::{Gossip, Refusal, TOPIC};
use rumormill_core::frame::BODY_LEN_MAX;
use rumormill_core::{
    Address, Boot, Bundle, Channel, Command, CommandError, Contact, Dialer, DownReason, Effect, Event, Frame,
    Input, Instant, MailboxId, Node, NodeId, Now, Output, Token, Wall, Watch,
};
use std::collections::{BTreeMap, VecDeque};
use std::iter::Peekable;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::vec::Drain;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant as TokioInstant;

/// Inputs that are taken in one go before anything else is looked at.
const BATCH: usize = 256;

/// Inputs for which the clocks are read once: some ten microseconds' worth.
const GLANCE: usize = 16;

/// Frames that wait for others before they are written: those of one turn go out together.
const UNFLUSHED_MAX: usize = 256;

/// How soon a mailbox that was nearly full is looked at again.
const CROWDED: Duration = Duration::from_millis(5);

/// Tells the time of day: milliseconds since the Unix epoch.
pub type WallClock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Reads the system's wall clock.
pub(crate) fn system_clock() -> WallClock {
    Arc::new(|| {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    })
}

/// Both clocks of a node.
pub(crate) struct Clocks {
    origin: TokioInstant,
    wall: WallClock,
}

impl Clocks {
    pub(crate) fn new(wall: WallClock) -> Self {
        Self { origin: TokioInstant::now(), wall }
    }

    pub(crate) fn now(&self) -> Now {
        let mono = u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Now { mono: Instant(mono), wall: Wall((self.wall)()) }
    }

    fn at(&self, instant: Instant) -> TokioInstant {
        // A deadline that never comes lies a day away: the node is asked again then.
        let since = Duration::from_nanos(instant.0).min(self.origin.elapsed() + Duration::from_secs(86_400));
        self.origin + since
    }
}

/// Takes note of every input, for a replay.
pub(crate) trait Recorder: Send {
    /// Notes what the node starts from.
    fn boot(&mut self, boot: &Boot, now: Now);
    /// Notes one input.
    fn input(&mut self, now: &Now, input: &Input);
    /// Notes the hash that a replay must come to.
    fn hash(&mut self, trace_hash: u64);
}

/// What the driver hears from.
pub(crate) struct Inbox {
    pub(crate) met: mpsc::Receiver<Met>,
    pub(crate) requests: mpsc::Receiver<Request>,
    pub(crate) forgotten: mpsc::UnboundedReceiver<Forgotten>,
    pub(crate) arrivals: mpsc::Receiver<(ConnectionId, Arrival)>,
    pub(crate) stored: mpsc::UnboundedReceiver<(Token, bool)>,
}

/// What the driver works with.
pub(crate) struct Tools {
    /// What users read without asking.
    pub(crate) published: Arc<Published>,
    pub(crate) gate: Arc<Gate>,
    /// Where the node waits for its time.
    pub(crate) timers: Timers,
    pub(crate) arrivals: Arrivals,
    pub(crate) writer: Writer,
    /// How the node introduces itself, for the HELLOs that go on beside it.
    pub(crate) contact: Arc<Mutex<Contact>>,
    pub(crate) recorder: Option<Box<dyn Recorder>>,
    /// Where statements go that come over the topic of trust.
    pub(crate) gossip: Gossip,
    /// Whether users' mail waits with its senders.
    pub(crate) hold_mail: watch::Sender<bool>,
    /// Whether broadcasts do.
    pub(crate) hold_topics: watch::Sender<bool>,
}

/// The task that owns a node.
pub(crate) struct Driver {
    node: Node,
    /// How it introduces itself, as HELLOs know.
    noted: Contact,
    clocks: Clocks,
    /// What they showed a moment ago, while much is handed in at once.
    glance: Option<Now>,
    tools: Tools,
    out: Output,
    /// Inputs that came of carrying out effects.
    queue: VecDeque<Input>,
    /// Each with how its peer introduced itself on it.
    links: BTreeMap<(NodeId, Dialer), (Link, Contact)>,
    /// Links whose writers do not know of every frame, one entry for each frame.
    unflushed: Vec<(NodeId, Dialer)>,
    /// Links that take broadcasts more slowly than they come, and until when broadcasts wait for that.
    pressed: BTreeMap<(NodeId, Dialer), TokioInstant>,
    dials: BTreeMap<NodeId, AbortHandle>,
    /// Those of a node that has moved, and who waits to hear that they came about.
    redials: BTreeMap<NodeId, oneshot::Sender<bool>>,
    copies: Copies,
    serial: u64,
    tokens: u64,
    hearers: Hearers,
    /// The watches by which the driver hears of what it publishes.
    watches: Watches,
    app: Option<AppHost>,
    app_seed: [u8; 32],
    ending: Option<oneshot::Sender<()>>,
}

impl Driver {
    pub(crate) fn new(boot: Boot, clocks: Clocks, mut tools: Tools, hearers: Hearers) -> Self {
        let now = clocks.now();
        tools.recorder.iter_mut().for_each(|recorder| recorder.boot(&boot, now));
        let mut app_seed = boot.seed;
        app_seed[0] ^= 1; // draws of its own
        let node = Node::new(boot, now);
        let (links, dials) = (BTreeMap::new(), BTreeMap::new());
        let (out, queue) = (Output::default(), VecDeque::new());
        let mut driver = Self {
            noted: node.contact().clone(),
            node,
            clocks,
            glance: None,
            tools,
            out,
            queue,
            links,
            unflushed: Vec::new(),
            pressed: BTreeMap::new(),
            dials,
            redials: BTreeMap::new(),
            copies: Copies::default(),
            serial: 0,
            tokens: 0,
            hearers,
            watches: Watches::default(),
            app: None,
            app_seed,
            ending: None,
        };
        driver.note_contact();
        driver
    }

    /// Lets HELLOs say which life of the node speaks.
    fn note_contact(&mut self) {
        self.noted = self.node.contact().clone();
        *self.tools.contact.lock().unwrap_or_else(PoisonError::into_inner) = self.noted.clone();
    }

    /// Runs the node until its users have all gone, or one of them ends it.
    pub(crate) async fn run(mut self, mut inbox: Inbox) {
        let mut came = Vec::with_capacity(BATCH);
        let mut sleep = self.tools.timers.timer(TokioInstant::now().into_std());
        let token = self.token();
        self.step(Input::Command { token, command: Command::Subscribe { topic: TOPIC } });
        self.watch();
        while self.ending.is_none() {
            self.set(&mut sleep);
            tokio::select! {
                biased;
                Some(met) = inbox.met.recv() => self.on_met(met),
                Some((token, is_durable)) = inbox.stored.recv() => self.on_stored(token, is_durable),
                Some(forgotten) = inbox.forgotten.recv() => self.on_forgotten(forgotten),
                _ = inbox.arrivals.recv_many(&mut came, BATCH) => self.on_arrivals(came.drain(..)),
                request = inbox.requests.recv() => match request {
                    Some(request) => self.on_request(request),
                    None => break,
                },
                () = &mut sleep => self.on_time(),
            }
            self.take_batch(&mut inbox);
            self.flush();
            self.hold();
        }
        self.end().await;
    }

    /// Hears of every member and service and of what the node owns, for those who look without asking.
    fn watch(&mut self) {
        if self.node.registry().is_some() {
            let token = self.token();
            self.watches.services = Some(token);
            let what = Watch::Services { prefix: bytes::Bytes::new() };
            self.step(Input::Command { token, command: Command::Watch { what } });
        }
        if self.node.members().is_some() {
            let token = self.token();
            self.watches.members = Some(token);
            self.step(Input::Command { token, command: Command::Watch { what: Watch::Members } });
        }
        if self.node.placement().is_some() {
            let token = self.token();
            self.watches.partitions = Some(token);
            self.step(Input::Command { token, command: Command::Watch { what: Watch::Partitions } });
        }
    }

    /// Takes what is there without waiting: a burst costs one turn of the task.
    fn take_batch(&mut self, inbox: &mut Inbox) {
        self.on_arrivals(std::iter::from_fn(|| inbox.arrivals.try_recv().ok()).take(BATCH));
        for _ in 0..BATCH {
            if self.ending.is_some() {
                break;
            }
            let Ok(request) = inbox.requests.try_recv() else { break };
            self.on_request(request);
        }
    }

    /// Lets what comes for users wait with its senders while their queues are nearly full.
    fn hold(&mut self) {
        let set = |hold: &watch::Sender<bool>, is_held: bool| {
            hold.send_if_modified(|was_held| std::mem::replace(was_held, is_held) != is_held);
        };
        set(&self.tools.hold_mail, self.hearers.is_crowded());
        let is_behind = self.hearers.is_behind() || self.is_pressed();
        set(&self.tools.hold_topics, is_behind);
    }

    /// Tells whether broadcasts must wait for a neighbour, but not for too long: then the core spares it the payloads.
    fn is_pressed(&mut self) -> bool {
        let Self { links, pressed, .. } = self;
        pressed.retain(|key, _| links.get(key).is_some_and(|(link, _)| link.is_pressed()));
        !pressed.is_empty() && {
            let now = TokioInstant::now();
            pressed.values().any(|until| *until > now)
        }
    }

    /// Lets everything go out that was sent.
    fn flush(&mut self) {
        let mut flushed = None;
        for key in self.unflushed.drain(..) {
            if flushed.replace(key) != Some(key)
                && let Some((link, _)) = self.links.get_mut(&key)
            {
                link.flush();
            }
        }
    }

    fn set(&self, sleep: &mut Timer) {
        let app = self.app.as_ref().and_then(AppHost::poll_timeout).unwrap_or(Instant::NEVER);
        let deadline = self.node.poll_timeout().unwrap_or(Instant::NEVER).min(app);
        let mut deadline = self.clocks.at(deadline);
        if *self.tools.hold_mail.borrow() || *self.tools.hold_topics.borrow() {
            deadline = deadline.min(TokioInstant::now() + CROWDED); // nobody tells when a reader has read
        }
        let deadline = deadline.into_std();
        if sleep.deadline() != deadline {
            sleep.set(deadline);
        }
    }

    async fn end(mut self) {
        if let Some(recorder) = &mut self.tools.recorder {
            recorder.hash(self.node.trace_hash());
        }
        self.dials.values().for_each(AbortHandle::abort);
        let links = std::mem::take(&mut self.links);
        let closing: Vec<_> = links.into_values().map(|(link, _)| link.close()).collect();
        for closed in closing {
            let _ = closed.await;
        }
        self.tools.gate.hub().close();
        self.tools.gate.endpoint().close(0_u32.into(), b"");
        self.tools.gate.endpoint().wait_idle().await;
        self.tools.writer.end().await;
        self.ending.take().map(|ending| ending.send(()));
    }
}

/// Inputs.
impl Driver {
    /// Hands an input in, and carries out what comes of it.
    fn step(&mut self, input: Input) {
        self.queue.push_back(input);
        self.work();
    }

    /// Hands in everything that waits.
    fn work(&mut self) {
        while let Some(input) = self.queue.pop_front() {
            let now = self.glance.unwrap_or_else(|| self.clocks.now());
            self.tools.recorder.iter_mut().for_each(|recorder| recorder.input(&now, &input));
            let mut out = std::mem::take(&mut self.out);
            self.node.handle(now, input, &mut out);
            // Before anybody is told: who has put a key reads it.
            self.tools.published.note(&out.events, &self.node, self.watches);
            self.tools.published.note_ring(&self.node);
            out.effects.drain(..).for_each(|effect| self.carry_out(effect));
            let mut events = out.events.drain(..).peekable();
            while let Some(event) = events.next() {
                self.tell(event, &mut events);
            }
            drop(events);
            self.out = out;
        }
        if self.noted != *self.node.contact() {
            self.note_contact();
        }
    }

    fn on_time(&mut self) {
        self.step(Input::Timeout);
        let now = self.clocks.now().mono;
        if self.app.as_ref().and_then(AppHost::poll_timeout).is_some_and(|deadline| deadline <= now) {
            self.react(Stimulus::Timeout);
            self.work();
        }
    }

    /// Lets the application react; its commands wait for [`Driver::work`].
    fn react(&mut self, to: Stimulus<'_>) {
        let Some(app) = &mut self.app else { return };
        for command in app.react(to, self.clocks.now(), &self.node, self.tokens) {
            self.tokens += 1;
            self.queue.push_back(Input::Command { token: Token(self.tokens), command });
        }
    }

    fn on_met(&mut self, met: Met) {
        match met {
            Met::Dialled { connection, peer } => match self.dials.remove(&peer.id) {
                Some(_) => {
                    let (id, purpose) = (peer.id, peer.purpose);
                    self.link(Dialer::Local, connection, peer);
                    self.on_redialled(id, purpose);
                }
                None => connection.close(0_u32.into(), b""), // closed meanwhile
            },
            Met::DialFailed { peer, reason } => {
                self.redials.remove(&peer).map(|redialled| redialled.send(false));
                if self.dials.remove(&peer).is_some() {
                    self.step(Input::LinkDown { peer, dialer: Dialer::Local, reason });
                }
            }
            Met::Accepted { connection, peer } => {
                let (id, has_moved) = (peer.id, peer.purpose == Purpose::Moved);
                self.link(Dialer::Remote, connection, peer);
                if has_moved {
                    self.on_moved(id);
                }
            }
        }
    }

    /// Ends the connections of those who may not stay.
    fn expel(&mut self) {
        let gate = self.tools.gate.clone();
        let barred = |((peer, dialer), (link, _)): (&(NodeId, Dialer), &(Link, Contact))| {
            gate.is_barred(*peer, link.connection()).map(|refusal| (*peer, *dialer, refusal))
        };
        let barred: Vec<_> = self.links.iter().filter_map(barred).collect();
        for (peer, dialer, refusal) in barred {
            if let Some((link, _)) = self.links.remove(&(peer, dialer)) {
                gate.expel(link.connection(), &refusal);
                self.step(Input::LinkDown { peer, dialer, reason: DownReason::Closed });
            }
        }
        gate.hub().expel(&gate);
    }

    /// Takes over a connection. One that stands from the same end is over: its peer has forgotten it.
    fn link(&mut self, dialer: Dialer, connection: quinn::Connection, peer: crate::handshake::Peer) {
        if let Some(refusal) = self.tools.gate.is_barred(peer.id, &connection) {
            self.tools.gate.expel(&connection, &refusal); // since it was let in
            if dialer == Dialer::Local {
                self.step(Input::LinkDown { peer: peer.id, dialer, reason: DownReason::Refused });
            }
            return;
        }
        let key = (peer.id, dialer);
        if self.links.get(&key).is_some_and(|(_, known)| known.incarnation() > peer.incarnation) {
            return connection.close(OUTLIVED, b""); // an older life's, that came late
        }
        if let Some(other) = self.other_process(&peer) {
            return self.on_copy(dialer, &connection, &peer, other);
        }
        if let Some((old, known)) = self.links.remove(&key) {
            let reason = if known.incarnation() < peer.incarnation {
                old.outlive();
                DownReason::Reset
            } else {
                old.abort();
                DownReason::Closed
            };
            self.step(Input::LinkDown { peer: peer.id, dialer, reason });
        }
        self.serial += 1;
        let id = ConnectionId { peer: peer.id, dialer, serial: self.serial };
        let addr = connection.remote_address();
        let (mail, topics) = (self.tools.hold_mail.subscribe(), self.tools.hold_topics.subscribe());
        let arrivals = self.tools.arrivals.clone();
        let link = Link::new(id, connection, peer.process, arrivals, Holds { mail, topics });
        let introduced = Contact::new(peer.id, peer.incarnation, &peer.addrs);
        self.links.insert(key, (link, introduced));
        tracing::debug!(peer = peer.name, ?dialer, %addr, "linked");
        let (incarnation, version) = (peer.incarnation, peer.version);
        self.step(Input::LinkUp { peer: peer.id, incarnation, version, addr, dialer });
    }

    fn on_arrivals(&mut self, arrivals: impl Iterator<Item = (ConnectionId, Arrival)>) {
        for (i, (id, arrival)) in arrivals.enumerate() {
            self.glance_at(i);
            self.on_arrival(id, arrival);
        }
        self.glance = None;
    }

    fn on_arrival(&mut self, id: ConnectionId, arrival: Arrival) {
        let ConnectionId { peer, dialer, serial } = id;
        let key = (peer, dialer);
        if self.links.get(&key).is_none_or(|(link, _)| link.id().serial != serial) {
            return; // an earlier connection still had something to say
        }
        match &arrival {
            Arrival::Malformed => self.note_breach(&key, &Refusal::BadFrame),
            Arrival::UnknownStream => return self.note_breach(&key, &Refusal::UnknownStream),
            Arrival::Refused(refusal) => return self.note_breach(&key, refusal),
            Arrival::Down(_) => drop(self.links.remove(&key)),
            Arrival::Frame(..) | Arrival::Ready(_) => {}
        }
        self.step(match arrival {
            Arrival::Frame(channel, frame) => Input::Frame { from: peer, channel, frame },
            Arrival::Malformed | Arrival::UnknownStream | Arrival::Refused(_) => {
                Input::Malformed { from: peer }
            }
            Arrival::Ready(channel) => Input::LinkReady { peer, channel },
            Arrival::Down(reason) => Input::LinkDown { peer, dialer, reason },
        });
    }

    /// A peer that was let in does not keep to the protocol.
    fn note_breach(&self, link: &(NodeId, Dialer), breach: &Refusal) {
        if let Some((link, _)) = self.links.get(link) {
            self.tools.gate.note(link.connection(), breach);
        }
    }

    /// A node is in, and no member to this one. Of one that is not connected others have told.
    fn note_stranger(&self, node: NodeId, why: Refusal) {
        let of = |dialer| self.links.get(&(node, dialer));
        match of(Dialer::Local).or_else(|| of(Dialer::Remote)) {
            Some((link, _)) => self.tools.gate.note(link.connection(), &why),
            None => tracing::warn!(%why, "refused"),
        }
    }

    fn on_stored(&mut self, token: Token, is_durable: bool) {
        self.step(if is_durable { Input::Persisted { token } } else { Input::PersistFailed { token } });
    }

    fn on_forgotten(&mut self, forgotten: Forgotten) {
        let command = match forgotten {
            Forgotten::Token(token) => self.hearers.forget(token),
            Forgotten::Question(question) => Some(Command::Refuse { question }),
        };
        if let Some(command) = command {
            let token = self.token();
            self.step(Input::Command { token, command });
        }
    }

    fn on_request(&mut self, request: Request) {
        match request {
            Request::Command { command, hearer } if self.must_wait(&command) => hearer.refuse(),
            Request::Command { command, hearer } => {
                let token = self.token();
                self.hearers.expect(token, hearer);
                self.step(Input::Command { token, command });
            }
            Request::Commands { commands, batch } => self.on_commands(commands, &batch),
            Request::Again { token, command } => self.step(Input::Command { token, command }),
            Request::HearMap { map, began, changes } => {
                let token = self.token();
                let entries = self
                    .node
                    .map(map)
                    .map(|map| map.iter().map(|(key, value)| (key.clone(), value)).collect());
                if entries.is_some() {
                    self.hearers.hear_map(token, map, changes);
                }
                if began.send((token, entries)).is_err() {
                    self.hearers.forget(token);
                }
            }
            Request::HearNode { began, events } => {
                let token = self.token();
                self.hearers.hear_node(token, events);
                if began.send(token).is_err() {
                    self.hearers.forget(token);
                }
            }
            Request::Host { host, began } => {
                let is_free = self.app.is_none();
                if is_free {
                    self.app = Some(AppHost::new(host, self.app_seed));
                    self.react(Stimulus::Start);
                    self.work();
                }
                let _ = began.send(is_free);
            }
            Request::Say { line } => {
                self.react(Stimulus::Line(&line));
                self.work();
            }
            Request::Read(read) => read(&self.node),
            Request::Links(links) => {
                let link = |((peer, dialer), (link, _)): (&(NodeId, Dialer), &(Link, Contact))| {
                    (*peer, *dialer, link.connection().clone())
                };
                let _ = links.send(self.links.iter().map(link).collect());
            }
            Request::Move { socket, advertise, moving } => {
                let _ = moving.send(self.on_move(socket, &advertise));
            }
            Request::Expel => self.expel(),
            Request::End(ended) => self.ending = Some(ended),
        }
    }

    /// Gives commands until one of them is refused.
    fn on_commands(&mut self, commands: Vec<Command>, batch: &Arc<Batch>) {
        for (i, command) in commands.into_iter().enumerate() {
            if batch.is_refused() {
                break;
            }
            self.glance_at(i);
            if i.is_multiple_of(GLANCE) {
                self.hold(); // they may be for mailboxes of this node
            }
            let hearer = Hearer::Part(batch.clone());
            self.on_request(Request::Command { command, hearer });
        }
        self.glance = None;
    }

    /// Looks at the clocks for every so many of what is handed in at once.
    fn glance_at(&mut self, i: usize) {
        if i.is_multiple_of(GLANCE) {
            self.glance = Some(self.clocks.now());
        }
    }

    /// Mail and messages of this node for itself cross no link that could hold them back.
    fn must_wait(&self, command: &Command) -> bool {
        let own = self.node.contact().id();
        match command {
            Command::Send { to, .. } | Command::SendBundle { to, .. } | Command::Call { to, .. } => {
                to.node == own && *self.tools.hold_mail.borrow()
            }
            Command::Publish { topic, .. } => *topic != TOPIC && *self.tools.hold_topics.borrow(),
            _ => false,
        }
    }

    fn token(&mut self) -> Token {
        self.tokens += 1;
        Token(self.tokens)
    }
}

/// Effects and events.
impl Driver {
    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Dial { contact } => {
                let dial = self.tools.gate.dial(contact.clone(), Purpose::Link);
                if let Some(earlier) = self.dials.insert(contact.id(), dial) {
                    earlier.abort();
                }
            }
            Effect::Send { to, channel, frame } => self.send(to, channel, frame),
            Effect::Close { peer, dialer, .. } => {
                for end in [Dialer::Local, Dialer::Remote] {
                    if dialer.is_none_or(|dialer| dialer == end) {
                        self.links.remove(&(peer, end)).map(|(link, _)| link.close());
                    }
                }
                if dialer != Some(Dialer::Remote) {
                    self.dials.remove(&peer).iter().for_each(AbortHandle::abort);
                }
            }
            Effect::Persist { token, class, rows } => self.tools.writer.write(Write { token, class, rows }),
        }
    }

    fn send(&mut self, to: NodeId, channel: Channel, frame: Frame) {
        let crossed = if self.node.contact().id() < to { Dialer::Local } else { Dialer::Remote };
        let other = if crossed == Dialer::Local { Dialer::Remote } else { Dialer::Local };
        let key = if self.links.contains_key(&(to, crossed)) { (to, crossed) } else { (to, other) };
        let Some((link, _)) = self.links.get_mut(&key) else { return };
        let queued = link.send(channel, frame);
        if channel == Channel::Gossip && link.is_pressed() {
            self.pressed.entry(key).or_insert_with(|| TokioInstant::now() + PATIENCE);
        }
        self.unflushed.push(key);
        if self.unflushed.len() >= UNFLUSHED_MAX {
            self.flush();
        }
        match queued {
            Queued::Taken => {}
            Queued::Full => self.queue.push_back(Input::LinkFull { peer: to, channel }),
            Queued::Overflow => {
                tracing::warn!(peer = %to, ?channel, "takes nothing; the connection is given up");
                if let Some((link, _)) = self.links.remove(&key) {
                    link.abort();
                }
                self.queue.push_back(Input::LinkDown { peer: to, dialer: key.1, reason: DownReason::Closed });
            }
        }
    }

    /// Tells an event. Messages behind one another from the same mailbox to the same are one letter, up to what a frame holds: so
    /// a bundle is never more than one.
    fn tell(&mut self, event: Event, behind: &mut Peekable<Drain<'_, Event>>) {
        if let Event::Message { topic: TOPIC, payload, .. } = event {
            return self.tools.gossip.heard(payload);
        }
        if matches!(&event, Event::Watched { watch, .. } if self.watches.holds(*watch)) {
            return;
        }
        if let Event::MemberRefused { peer, key, ours, theirs } = event {
            self.note_stranger(peer, Refusal::NoMember { node: peer, key, ours, theirs });
        }
        if self.app.is_some() && !self.hearers.own(&event) {
            self.react(Stimulus::Event(&event));
        }
        let command = match event {
            Event::Mail { mailbox, from, payload } if self.hearers.has(mailbox) => {
                let mut payloads = vec![payload];
                let (mut count, mut room) = (1, BODY_LEN_MAX.saturating_sub(payloads[0].len()));
                while let Some(Event::Mail { payload, .. }) = behind.next_if(|event| {
                    let len = len_between(from, mailbox, event);
                    count < Bundle::COUNT_MAX && len.is_some_and(|len| len <= room)
                }) {
                    (count, room) = (count + 1, room - payload.len());
                    payloads.push(payload);
                }
                self.hearers.tell_mail(mailbox, from, payloads)
            }
            event => self.hearers.tell(event),
        };
        if let Some(command) = command {
            let token = self.token();
            self.queue.push_back(Input::Command { token, command });
        }
    }
}

/// Tells how long a message is, if that is what an event tells, and it is between these mailboxes.
fn len_between(by: Address, to: MailboxId, event: &Event) -> Option<usize> {
    match event {
        Event::Mail { mailbox, from, payload } if *mailbox == to && *from == by => Some(payload.len()),
        _ => None,
    }
}

/// Where writes go.
pub(crate) enum Writer {
    /// To a thread, because a flush takes milliseconds.
    Thread { writes: Option<std::sync::mpsc::Sender<Write>>, ended: Option<oneshot::Receiver<()>> },
    /// To memory, at once.
    Here { store: Store, stored: mpsc::UnboundedSender<(Token, bool)> },
}

impl Writer {
    pub(crate) fn new(store: Store, stored: mpsc::UnboundedSender<(Token, bool)>) -> std::io::Result<Self> {
        if !store.is_on_disk() {
            return Ok(Self::Here { store, stored });
        }
        let (writes, to_do) = std::sync::mpsc::channel::<Write>();
        let (ended, end) = oneshot::channel();
        std::thread::Builder::new().name("rumor-store".into()).spawn(move || {
            for write in to_do {
                let _ = stored.send((write.token, write_down(&store, &write)));
            }
            drop(store);
            let _ = ended.send(());
        })?;
        Ok(Self::Thread { writes: Some(writes), ended: Some(end) })
    }

    fn write(&self, write: Write) {
        match self {
            Self::Thread { writes, .. } => {
                let _ = writes.as_ref().map(|writes| writes.send(write));
            }
            Self::Here { store, stored } => {
                let _ = stored.send((write.token, write_down(store, &write)));
            }
        }
    }

    /// Waits until everything is written.
    async fn end(&mut self) {
        if let Self::Thread { writes, ended } = self {
            drop(writes.take());
            if let Some(ended) = ended.take() {
                let _ = ended.await;
            }
        }
    }
}

fn write_down(store: &Store, write: &Write) -> bool {
    let written = store.write(write.class, &write.rows);
    if let Err(error) = &written {
        tracing::error!(%error, "a write failed; the node takes no more");
    }
    written.is_ok()
}

/// What a command is answered, as its caller gets it.
pub(crate) type Answer = Result<rumormill_core::Reply, CommandError>;
