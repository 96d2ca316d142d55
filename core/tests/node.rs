//! Whole nodes on a network of one queue: what must hold of them together, and of any one whatever it is given.

mod arbitrary;

use bytes::Bytes;
use proptest::prelude::*;
use rumormill_core::frame::{MemberEntry, MembersFrame, Rumor};
use rumormill_core::{
    Address, Boot, Channel, Command, CommandError, Config, Contact, Dialer, DownReason, Effect, Event, Input,
    Instant, MailLoss, MailboxId, NeighborLoss, Node, NodeId, Now, Output, Reply, Row, Token, Wall,
};
use rumormill_core::{ClusterNumbers, Frame, Incarnation, MemberRecord, MemberState};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

/// One-way latency of everything.
const LATENCY_MS: u64 = 10;
/// After how long the ends of a connection across a cut hear of its end, and dials across it fail.
const CUT_MS: u64 = 3_000;
const WALL_MS: u64 = 1_800_000_000_000;

/// A node of the network, with all that replays it.
struct Member {
    node: Node,
    boot: Boot,
    booted: Now,
    store: Vec<Row>,
    inputs: Vec<(Now, Input)>,
    events: Vec<(u64, Event)>,
    is_alive: bool,
    is_frozen: bool,
}

/// On its way: to whom, on which connection if that matters, and what.
type Arrival = (usize, Option<u64>, Input);

struct Network {
    now_ms: u64,
    config: Arc<Config>,
    members: Vec<Member>,
    queue: BTreeMap<(u64, u64), Arrival>,
    sent: u64,
    /// The connections that each node holds: (node, peer, who dialled) with the connection's number.
    ends: BTreeMap<(usize, usize, Dialer), u64>,
    /// Which side of a cut each node is on.
    sides: Vec<u8>,
    tokens: u64,
}

fn id(number: usize) -> NodeId {
    NodeId([number as u8 + 1; 32])
}

fn number(id: &NodeId) -> usize {
    usize::from(id.0[0]) - 1
}

fn addr(number: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9000 + number as u16))
}

fn other(dialer: Dialer) -> Dialer {
    if dialer == Dialer::Local { Dialer::Remote } else { Dialer::Local }
}

impl Network {
    fn new(nodes: usize, config: Config) -> Self {
        let config = Arc::new(config);
        config.validate().expect("the configuration is sound");
        let mut network = Self {
            now_ms: 0,
            config,
            members: Vec::new(),
            queue: BTreeMap::new(),
            sent: 0,
            ends: BTreeMap::new(),
            sides: vec![0; nodes],
            tokens: 0,
        };
        network.members = (0..nodes).map(|number| network.boot(number, Vec::new())).collect();
        network
    }

    fn now(&self) -> Now {
        Now { mono: Instant::from_millis(self.now_ms), wall: Wall(WALL_MS + self.now_ms) }
    }

    fn boot(&self, number: usize, recovered: Vec<Row>) -> Member {
        let (config, seed) = (self.config.clone(), [number as u8; 32]);
        let store = recovered.clone();
        let boot = Boot { id: id(number), addrs: vec![addr(number)], config, seed, recovered };
        let booted = self.now();
        let node = Node::new(boot.clone(), booted);
        let (inputs, events) = (Vec::new(), Vec::new());
        Member { node, boot, booted, store, inputs, events, is_alive: true, is_frozen: false }
    }

    fn contact(&self, number: usize) -> Contact {
        self.members[number].node.contact().clone()
    }

    /// Gives a command and hands back its token.
    fn command(&mut self, number: usize, command: Command) -> Token {
        self.tokens += 1;
        let token = Token(self.tokens);
        self.handle(number, Input::Command { token, command });
        token
    }

    fn join(&mut self, number: usize, through: &[usize]) -> Token {
        let contacts = through.iter().map(|through| self.contact(*through)).collect();
        self.command(number, Command::Join { contacts })
    }

    fn handle(&mut self, number: usize, input: Input) {
        let (now, mut out) = (self.now(), Output::default());
        let member = &mut self.members[number];
        member.inputs.push((now, input.clone()));
        member.node.handle(now, input, &mut out);
        member.node.audit();
        member.events.extend(out.events.into_iter().map(|event| (self.now_ms, event)));
        for effect in out.effects {
            self.carry_out(number, effect);
        }
    }

    fn send(&mut self, to: usize, delay_ms: u64, connection: Option<u64>, input: Input) {
        self.sent += 1;
        self.queue.insert((self.now_ms + delay_ms, self.sent), (to, connection, input));
    }

    fn is_cut(&self, a: usize, b: usize) -> bool {
        self.sides[a] != self.sides[b]
    }

    fn carry_out(&mut self, from: usize, effect: Effect) {
        match effect {
            Effect::Dial { contact } => self.dial(from, number(&contact.id())),
            Effect::Send { to, channel, frame } => {
                let to = number(&to);
                let is_up =
                    [Dialer::Local, Dialer::Remote].iter().any(|d| self.ends.contains_key(&(from, to, *d)));
                if is_up && !self.is_cut(from, to) {
                    self.send(to, LATENCY_MS, None, Input::Frame { from: id(from), channel, frame });
                }
            }
            Effect::Close { peer, dialer, .. } => {
                let peer = number(&peer);
                for ours in [Dialer::Local, Dialer::Remote] {
                    if dialer.is_none_or(|dialer| dialer == ours)
                        && let Some(connection) = self.ends.remove(&(from, peer, ours))
                    {
                        self.tell_down(peer, from, other(ours), connection, LATENCY_MS, DownReason::Closed);
                    }
                }
            }
            Effect::Persist { token, rows, .. } => {
                let store = &mut self.members[from].store;
                store.retain(|old| !rows.iter().any(|new| (new.space, &new.key) == (old.space, &old.key)));
                store.extend(rows);
                self.send(from, 2, None, Input::Persisted { token });
            }
        }
    }

    fn dial(&mut self, from: usize, to: usize) {
        self.sent += 1;
        let connection = self.sent;
        self.ends.insert((from, to, Dialer::Local), connection);
        if to >= self.members.len() || !self.members[to].is_alive {
            self.tell_down(from, to, Dialer::Local, connection, 2 * LATENCY_MS, DownReason::Refused);
        } else if self.is_cut(from, to) {
            self.tell_down(from, to, Dialer::Local, connection, CUT_MS, DownReason::Unreachable);
        } else {
            let up = |network: &Self, peer: usize, dialer| {
                let incarnation = network.members[peer].node.incarnation();
                Input::LinkUp { peer: id(peer), incarnation, version: 1, addr: addr(peer), dialer }
            };
            self.send(to, LATENCY_MS, Some(connection), up(self, from, Dialer::Remote));
            self.send(from, 2 * LATENCY_MS, Some(connection), up(self, to, Dialer::Local));
        }
    }

    fn tell_down(
        &mut self,
        who: usize,
        peer: usize,
        dialer: Dialer,
        at: u64,
        delay_ms: u64,
        reason: DownReason,
    ) {
        self.send(who, delay_ms, Some(at), Input::LinkDown { peer: id(peer), dialer, reason });
    }

    /// Delivers what has arrived, unless its connection is gone.
    fn arrive(&mut self, (to, connection, input): Arrival) {
        if !self.members[to].is_alive {
            return;
        }
        match &input {
            Input::LinkUp { peer, dialer: Dialer::Remote, .. } => {
                let peer = number(peer);
                if self.ends.get(&(peer, to, Dialer::Local)).copied() != connection {
                    return;
                }
                self.ends.insert((to, peer, Dialer::Remote), connection.expect("a connection"));
            }
            Input::LinkUp { peer, dialer: Dialer::Local, .. }
                if self.ends.get(&(to, number(peer), Dialer::Local)).copied() != connection =>
            {
                return;
            }
            Input::LinkDown { peer, dialer, .. } => {
                let end = (to, number(peer), *dialer);
                if self.ends.get(&end).copied() != connection {
                    return;
                }
                self.ends.remove(&end);
            }
            Input::Frame { from, .. } => {
                let from = number(from);
                if [Dialer::Local, Dialer::Remote].iter().all(|d| !self.ends.contains_key(&(to, from, *d))) {
                    return;
                }
            }
            _ => {}
        }
        self.handle(to, input);
    }

    /// Ends the life of a node without a word.
    fn crash(&mut self, number: usize) {
        self.members[number].is_alive = false;
        let ends: Vec<_> = self.ends.iter().map(|(end, at)| (*end, *at)).collect();
        for ((who, peer, dialer), at) in ends {
            if who == number {
                self.ends.remove(&(who, peer, dialer));
            } else if peer == number {
                self.tell_down(who, peer, dialer, at, LATENCY_MS, DownReason::Reset);
            }
        }
    }

    /// Starts a crashed node again on what its store holds.
    fn restart(&mut self, number: usize) {
        let store = std::mem::take(&mut self.members[number].store);
        self.members[number] = self.boot(number, store);
    }

    /// Parts the network: nodes of different sides hear nothing of each other.
    fn cut(&mut self, side: impl Fn(usize) -> u8) {
        self.sides = (0..self.members.len()).map(side).collect();
        let ends: Vec<_> = self.ends.iter().map(|(end, at)| (*end, *at)).collect();
        for ((who, peer, dialer), at) in ends {
            if self.is_cut(who, peer) {
                self.tell_down(who, peer, dialer, at, CUT_MS, DownReason::IdleTimeout);
            }
        }
    }

    /// Runs for a while: whatever is due first goes first. A frozen node does nothing; what arrives there waits.
    fn run(&mut self, ms: u64) {
        let end_ms = self.now_ms + ms;
        let mut in_a_row = (0, 0, 0);
        loop {
            let awake = |member: &Member| member.is_alive && !member.is_frozen;
            let deadline = |member: &Member| {
                member.node.poll_timeout().filter(|_| awake(member)).map(|at| at.0.div_ceil(1_000_000))
            };
            let timer = self.members.iter().enumerate().filter_map(|(n, m)| Some((deadline(m)?, n))).min();
            let arrival = self.queue.iter().find(|(_, (to, ..))| !self.members[*to].is_frozen);
            let arrival = arrival.map(|(key, _)| *key);
            let at = timer.map(|(at, _)| at).into_iter().chain(arrival.map(|(at, _)| at)).min();
            let Some(at) = at.filter(|at| *at <= end_ms) else { break };
            self.now_ms = self.now_ms.max(at);
            match (arrival, timer) {
                (Some(key), _) if key.0 <= at => {
                    let arrival = self.queue.remove(&key).expect("the key was just read");
                    self.arrive(arrival);
                }
                (_, Some((_, node))) => {
                    let again = (in_a_row.0, in_a_row.1) == (self.now_ms, node);
                    in_a_row = (self.now_ms, node, if again { in_a_row.2 + 1 } else { 0 });
                    assert!(in_a_row.2 < 5, "node {node} spins at {} ms", self.now_ms);
                    self.handle(node, Input::Timeout);
                }
                (_, None) => break,
            }
        }
        self.now_ms = end_ms;
    }

    fn living(&self) -> impl Iterator<Item = usize> {
        (0..self.members.len()).filter(|number| self.members[*number].is_alive)
    }

    fn active(&self, number: usize) -> BTreeSet<usize> {
        self.members[number].node.active().map(|id| crate::number(&id)).collect()
    }

    fn passive(&self, number: usize) -> BTreeSet<usize> {
        self.members[number].node.status().passive.iter().map(crate::number).collect()
    }

    /// Asserts that living members stand in one connected overlay of symmetric edges between the living.
    fn assert_whole(&self, members: impl Iterator<Item = usize>) {
        let members: BTreeSet<usize> = members.collect();
        for a in &members {
            for b in self.active(*a) {
                assert!(members.contains(&b), "node {a} has the neighbour {b}, which is gone");
                assert!(self.active(b).contains(a), "the edge from {a} to {b} has one side");
            }
        }
        let (mut reached, mut next) = (BTreeSet::new(), vec![*members.first().expect("a member")]);
        while let Some(a) = next.pop() {
            if reached.insert(a) {
                next.extend(self.active(a));
            }
        }
        assert_eq!(reached, members, "the overlay falls apart");
    }

    fn answers(&self, number: usize, token: Token) -> Vec<&Event> {
        let events = self.members[number].events.iter().map(|(_, event)| event);
        events.filter(|event| matches!(event, Event::Done { token: t, .. } if *t == token)).collect()
    }
}

/// A cluster in which every node joined through the one before it.
fn chain(nodes: usize, config: Config) -> Network {
    let mut network = Network::new(nodes, config);
    network.join(0, &[]);
    for number in 1..nodes {
        network.join(number, &[number - 1]);
        network.run(100);
    }
    network.run(10_000);
    network
}

#[test]
fn nodes_that_join_one_through_the_other_form_one_overlay() {
    let network = chain(40, Config::default());
    network.assert_whole(network.living());
    let degrees: usize = network.living().map(|number| network.active(number).len()).sum();
    assert!(degrees >= 40 * 5 - 4, "free slots stay free: {degrees} of 200 ends of edges");
}

#[test]
fn nine_nodes_with_a_view_of_three_are_connected_and_symmetric() {
    let network = chain(9, Config { active_size: 3, ..Config::default() });
    network.assert_whole(network.living());
    assert!(network.living().all(|number| (1..=3).contains(&network.active(number).len())));
}

#[test]
fn a_storm_of_joins_through_one_contact_takes_everybody_in() {
    let mut network = Network::new(101, Config::default());
    network.join(0, &[]);
    let tokens: Vec<Token> = (1..101).map(|number| network.join(number, &[0])).collect();
    network.run(20_000);
    network.assert_whole(network.living());
    for (number, token) in (1..101).zip(tokens) {
        let answers = network.answers(number, token);
        assert!(matches!(answers[..], [Event::Done { result: Ok(Reply::Joined { .. }), .. }]), "{answers:?}");
    }
    let churn = network.members[0].node.stats().evictions;
    assert!(churn <= 60, "the contact's view was turned over {churn} times");
}

#[test]
fn a_node_that_left_stays_out_until_it_joins_again() {
    let mut network = chain(20, Config::default());
    let token = network.command(7, Command::Leave);
    network.run(120_000);
    assert_eq!(network.answers(7, token).len(), 1);
    network.assert_whole((0..20).filter(|number| *number != 7));
    assert_eq!(network.active(7), BTreeSet::new());
    network.join(7, &[3]);
    network.run(10_000);
    network.assert_whole(network.living());
    assert!(!network.active(7).is_empty());
}

#[test]
fn what_was_due_is_not_due_again_whatever_machines_run() {
    for on in 0..32 {
        let is_on = |bit: u32| on >> bit & 1 == 1;
        let config = Config {
            members: is_on(0),
            placement: is_on(0) && is_on(1), // it follows members
            registry: is_on(2),
            mailboxes: is_on(3),
            broadcast: is_on(4),
            replica: is_on(4),
            ..Config::default()
        };
        let boot = Boot {
            id: id(0),
            addrs: vec![addr(0)],
            config: Arc::new(config),
            seed: [1; 32],
            recovered: vec![],
        };
        let now = Now { mono: Instant::from_millis(5), wall: Wall(WALL_MS) };
        let mut node = Node::new(boot, now);
        assert_eq!(node.poll_timeout(), Some(now.mono), "its marks are to be made durable");
        node.handle(now, Input::Timeout, &mut Output::default());
        assert!(node.poll_timeout().is_none_or(|at| at > now.mono), "due again with {on:05b}");
        node.audit();
    }
}

#[test]
fn a_node_that_comes_back_lives_one_life_everywhere() {
    let all = Config { members: true, registry: true, mailboxes: true, ..Config::default() };
    let mut network = chain(3, all);
    let before = network.members[2].node.incarnation();
    let name = Bytes::from_static(b"name");
    let meta = Bytes::new();
    let mailbox = MailboxId(0);
    network
        .command(2, Command::Register { name: name.clone(), instance: 0, mailbox, meta, is_unique: false });
    network.run(5_000);
    network.command(2, Command::Leave);
    network.run(1_000);
    network.join(2, &[0]);
    let token = network.command(2, Command::OpenMailbox);
    network.run(20_000);
    let node = &network.members[2].node;
    let life = node.incarnation();
    assert!(life > before && life == node.contact().incarnation());
    let begun =
        network.members[2].events.iter().filter(|(_, event)| matches!(event, Event::LifeBegun { .. }));
    let begun: Vec<&Event> = begun.map(|(_, event)| event).collect();
    assert_eq!(begun, [&Event::LifeBegun { incarnation: life }]);
    let opened = network.answers(2, token);
    let [Event::Done { result: Ok(Reply::Opened { address }), .. }] = opened[..] else {
        panic!("{opened:?}")
    };
    assert_eq!(address.incarnation, life);
    for member in &network.members {
        let members = member.node.members().expect("members are on");
        assert_eq!(members.contact(&id(2)).map(Contact::incarnation), Some(life));
        let registry = member.node.registry().expect("the registry is on");
        let found: Vec<_> =
            registry.lookup(&name).map(|service| (service.owner, service.incarnation)).collect();
        assert_eq!(found, [(id(2), life)]);
    }
}

/// Asserts that everybody knows this life of a node, as active, and finds its service.
fn assert_known(network: &Network, number: usize, name: &[u8]) {
    let life = network.members[number].node.incarnation();
    for member in &network.members {
        let known = member.node.members().expect("members are on").get(&id(number)).expect("a member");
        assert_eq!((known.contact.incarnation(), known.state), (life, MemberState::Active));
        let found = member.node.registry().expect("the registry is on").lookup(name);
        assert_eq!(
            found.map(|service| (service.owner, service.incarnation)).collect::<Vec<_>>(),
            [(id(number), life)]
        );
    }
}

#[test]
fn a_node_of_which_a_later_life_is_made_up_begins_one_after_it() {
    let all = Config { members: true, registry: true, mailboxes: true, ..Config::default() };
    let mut network = chain(5, all);
    let (name, meta, mailbox) = (Bytes::from_static(b"name"), Bytes::new(), MailboxId(0));
    network.command(2, Command::Register { name, instance: 0, mailbox, meta, is_unique: false });
    network.run(5_000);
    let contact = network.contact(2);
    let forged = Incarnation(contact.incarnation().0 + (3_600_000 << 16)); // in an hour
    let record = MemberRecord {
        contact: Contact::new(contact.id(), forged, contact.addrs()),
        revision: 3,
        state: MemberState::Active,
        weight: 1,
        zone: 0,
        cluster: ClusterNumbers { heartbeat_ms: 2_000, ttl_ms: 7_000, ring_size: 64 },
    };
    let entry = MemberEntry { record: Arc::new(record), counter: 1, age_ms: 0 };
    let frame = Frame::Members(MembersFrame::News(vec![Rumor::Record(entry)]));
    let channel = frame.channel();
    network.handle(0, Input::Frame { from: id(1), channel, frame });
    network.run(20_000);
    assert!(network.members[2].node.incarnation() > forged);
    assert_known(&network, 2, b"name");
    let answers = network.members.iter().flat_map(|member| &member.events);
    let own = answers.filter(|(_, event)| matches!(event, Event::Done { token: Token(u64::MAX), .. }));
    assert_eq!(own.count(), 0, "a user hears what the node asked of itself");
}

#[test]
fn a_node_without_its_disk_whose_clock_went_back_is_known_in_a_later_life() {
    let all = Config { members: true, registry: true, ..Config::default() };
    let mut network = chain(4, all);
    network.run(2_000);
    let before = network.members[3].node.incarnation();
    network.crash(3);
    network.run(1_000);
    let boot = Boot { recovered: Vec::new(), ..network.members[3].boot.clone() };
    let booted = Now { wall: Wall(WALL_MS - 3_600_000), ..network.now() };
    let node = Node::new(boot.clone(), booted);
    assert!(node.incarnation() < before);
    let (inputs, events) = (Vec::new(), Vec::new());
    let store = Vec::new();
    network.members[3] =
        Member { node, boot, booted, store, inputs, events, is_alive: true, is_frozen: false };
    network.join(3, &[]);
    network.run(100);
    network.join(3, &[0]);
    let contact = Contact::new(id(3), before, &[]);
    let cluster = ClusterNumbers { heartbeat_ms: 2_000, ttl_ms: 6_000, ring_size: 64 };
    let record =
        MemberRecord { contact, revision: 3, state: MemberState::Active, weight: 1, zone: 0, cluster };
    let entry = MemberEntry { record: Arc::new(record), counter: 1, age_ms: 0 };
    let frame = Frame::Members(MembersFrame::News(vec![Rumor::Record(entry)]));
    let channel = frame.channel();
    network.handle(3, Input::Frame { from: id(0), channel, frame }); // before the join is answered
    let (name, meta, mailbox) = (Bytes::from_static(b"name"), Bytes::new(), MailboxId(0));
    network.command(3, Command::Register { name, instance: 0, mailbox, meta, is_unique: false });
    network.run(20_000);
    let refused = |event: &Event| matches!(event, Event::Done { result: Err(_), .. });
    let events = &network.members[3].events;
    assert!(!events.iter().any(|(_, event)| refused(event)), "the join was under way: {events:?}");
    assert!(network.members[3].node.incarnation() > before);
    assert_known(&network, 3, b"name");
}

#[test]
fn a_pair_that_was_cut_apart_finds_itself_again_without_seeds() {
    for cut_ms in [100, 5_000, 60_000, 3_600_000] {
        let mut network = chain(2, Config::default());
        network.join(1, &[]); // forgets its seed
        network.cut(|number| number as u8);
        network.run(cut_ms);
        network.cut(|_| 0);
        network.run(60_000);
        assert_eq!(network.active(0), BTreeSet::from([1]), "after a cut of {cut_ms} ms");
        network.assert_whole(network.living());
    }
}

#[test]
fn two_halves_heal_however_long_the_cut() {
    for cut_ms in [20_000, 600_000] {
        let mut network = chain(30, Config::default());
        for number in 0..30 {
            network.join(number, &[]); // forgets its seeds
        }
        network.cut(|number| (number % 2) as u8);
        network.run(cut_ms);
        network.assert_whole((0..30).step_by(2));
        network.cut(|_| 0);
        network.run(60_000);
        network.assert_whole(network.living());
    }
}

#[test]
fn after_the_crash_of_a_third_the_rest_is_one_overlay_and_forgets_the_dead() {
    let mut network = chain(60, Config::default());
    let dead: BTreeSet<usize> = (0..60).filter(|number| number % 3 == 1).collect();
    dead.iter().for_each(|number| network.crash(*number));
    network.run(30_000);
    network.assert_whole(network.living());
    network.run(400_000);
    for number in network.living() {
        let tells: Vec<usize> = network.passive(number).intersection(&dead).copied().collect();
        assert!(tells.is_empty(), "node {number} still tells of the dead {tells:?}");
    }
}

#[test]
fn a_frozen_neighbour_is_found_by_probing() {
    let mut network = chain(12, Config::default());
    let frozen_at = network.now_ms;
    network.members[5].is_frozen = true;
    let neighbors = network.active(5);
    network.run(4_100);
    for number in neighbors {
        let events = &network.members[number].events;
        let silent = Event::NeighborDown { peer: id(5), reason: NeighborLoss::Silent };
        let found = events.iter().find(|(at, event)| *at > frozen_at && *event == silent);
        assert!(found.is_some(), "node {number} never noticed");
    }
    network.run(60_000);
    network.members[5].is_frozen = false;
    network.run(60_000);
    network.assert_whole(network.living());
}

#[test]
fn a_node_that_was_frozen_for_two_seconds_loses_no_neighbour() {
    let mut network = chain(12, Config::default());
    let (before, from) = (network.active(5), network.now_ms);
    network.members[5].is_frozen = true;
    network.run(2_000);
    network.members[5].is_frozen = false;
    network.run(3_000);
    assert_eq!(network.active(5), before);
    for member in &network.members {
        let is_silent =
            |event: &Event| matches!(event, Event::NeighborDown { reason: NeighborLoss::Silent, .. });
        assert!(!member.events.iter().any(|(at, event)| *at > from && is_silent(event)));
    }
}

#[test]
fn a_restarted_node_comes_back_and_its_old_edges_end_once() {
    let mut network = chain(12, Config::default());
    let (neighbors, from) = (network.active(5), network.now_ms);
    network.crash(5);
    network.restart(5);
    network.join(5, &[0]);
    network.run(30_000);
    network.assert_whole(network.living());
    for number in neighbors {
        let events = network.members[number].events.iter().filter(|(at, _)| *at >= from);
        let lives = events.filter_map(|(_, event)| match event {
            Event::NeighborUp { peer } if *peer == id(5) => Some(true),
            Event::NeighborDown { peer, .. } if *peer == id(5) => Some(false),
            _ => None,
        });
        let lives: Vec<bool> = lives.collect();
        assert_eq!(lives.first(), Some(&false), "node {number}");
        assert!(lives.windows(2).all(|pair| pair[0] != pair[1]), "node {number}: {lives:?}");
    }
}

#[test]
fn the_recorded_inputs_replay_to_the_same_trace() {
    let mut network = chain(12, Config::default());
    network.crash(3);
    network.run(10_000);
    for member in &network.members {
        let mut again = Node::new(member.boot.clone(), member.booted);
        let mut out = Output::default();
        member.inputs.iter().for_each(|(now, input)| again.handle(*now, input.clone(), &mut out));
        assert_eq!(again.trace_hash(), member.node.trace_hash());
        let events: Vec<&Event> = member.events.iter().map(|(_, event)| event).collect();
        assert_eq!(out.events.iter().collect::<Vec<_>>(), events);
    }
}

#[test]
fn a_cloned_node_goes_on_to_the_same_trace() {
    let mut network = chain(12, Config::default());
    let (mut clone, first) = (network.members[4].node.clone(), network.members[4].inputs.len());
    network.crash(3);
    network.run(10_000);
    let (member, mut out) = (&network.members[4], Output::default());
    member.inputs[first..].iter().for_each(|(now, input)| clone.handle(*now, input.clone(), &mut out));
    assert_eq!(clone.trace_hash(), member.node.trace_hash());
    assert_eq!(clone.digest(network.now().mono), member.node.digest(network.now().mono));
}

// --- mailboxes

/// Three nodes with mailboxes, and an open one on each.
fn offices() -> (Network, Vec<Address>) {
    let mut network = chain(3, Config { members: true, mailboxes: true, ..Config::default() });
    let open = |number| {
        let token = network.command(number, Command::OpenMailbox);
        match network.answers(number, token)[..] {
            [Event::Done { result: Ok(Reply::Opened { address }), .. }] => *address,
            ref other => panic!("{other:?}"),
        }
    };
    let addresses = (0..3).map(open).collect();
    (network, addresses)
}

fn sent(from: Address, to: Address, text: &'static str) -> Command {
    Command::Send { from: from.mailbox, to, payload: Bytes::from_static(text.as_bytes()) }
}

fn mail_of(network: &Network, number: usize) -> Vec<Bytes> {
    let events = network.members[number].events.iter();
    events
        .filter_map(|(_, event)| match event {
            Event::Mail { payload, .. } => Some(payload.clone()),
            _ => None,
        })
        .collect()
}

fn downs(network: &Network, number: usize) -> Vec<(Token, MailLoss)> {
    let events = network.members[number].events.iter();
    events
        .filter_map(|(_, event)| match event {
            Event::MailboxDown { monitor, reason, .. } => Some((*monitor, *reason)),
            _ => None,
        })
        .collect()
}

#[test]
fn messages_of_two_nodes_cross_and_come_in_order() {
    let (mut network, at) = offices();
    for text in ["one", "two", "three"] {
        network.command(0, sent(at[0], at[2], text));
        network.command(2, sent(at[2], at[0], text));
    }
    network.run(1_000);
    assert_eq!(mail_of(&network, 2), ["one", "two", "three"]);
    assert_eq!(mail_of(&network, 0), ["one", "two", "three"]);
}

#[test]
fn a_call_between_nodes_is_answered() {
    let (mut network, at) = offices();
    let (from, payload) = (at[0].mailbox, Bytes::from_static(b"why"));
    let call = network.command(0, Command::Call { from, to: at[1], payload, timeout_ms: 1_000 });
    network.run(100);
    let question = network.members[1].events.iter().find_map(|(_, event)| match event {
        Event::Asked { question, .. } => Some(*question),
        _ => None,
    });
    let question = question.expect("the question has come");
    network.command(1, Command::Answer { question, payload: Bytes::from_static(b"so") });
    network.run(2_000);
    let answered = Reply::Answer { payload: Bytes::from_static(b"so") };
    assert_eq!(network.answers(0, call), [&Event::Done { token: call, result: Ok(answered) }]);
}

#[test]
fn mail_for_a_restarted_node_never_comes_and_monitors_of_its_mailboxes_fire_once() {
    let (mut network, at) = offices();
    let monitor = network.command(0, Command::Monitor { mailbox: at[0].mailbox, of: at[1] });
    network.run(1_000);
    network.crash(1);
    network.restart(1);
    network.join(1, &[0]);
    network.run(30_000);
    assert_eq!(downs(&network, 0), [(monitor, MailLoss::Gone)]);
    network.command(1, Command::OpenMailbox);
    let token = network.command(0, sent(at[0], at[1], "late"));
    network.run(10_000);
    let gone = Event::Done { token, result: Err(CommandError::Gone) };
    assert_eq!(network.answers(0, token), [&gone]);
    assert_eq!(mail_of(&network, 1), [""; 0]);
}

#[test]
fn a_monitor_of_a_crashed_node_fires_and_one_that_was_never_there_too() {
    let (mut network, at) = offices();
    let crashed = network.command(0, Command::Monitor { mailbox: at[0].mailbox, of: at[1] });
    let never = Address { node: id(77), ..at[1] };
    let never = network.command(0, Command::Monitor { mailbox: at[0].mailbox, of: never });
    assert_eq!(downs(&network, 0), [(never, MailLoss::Unreachable)]);
    network.run(1_000);
    network.crash(1);
    network.run(30_000);
    assert_eq!(downs(&network, 0)[1..], [(crashed, MailLoss::Unreachable)]);
}

#[test]
fn a_monitor_outlives_an_idle_link_and_fires_when_the_mailbox_closes() {
    let (mut network, at) = offices();
    let monitor = network.command(0, Command::Monitor { mailbox: at[0].mailbox, of: at[2] });
    network.run(120_000);
    assert_eq!(downs(&network, 0), []);
    network.command(2, Command::CloseMailbox { mailbox: MailboxId(1) });
    network.run(5_000);
    assert_eq!(downs(&network, 0), [(monitor, MailLoss::Gone)]);
}

// --- one node, whatever it is given

fn alone(config: Config) -> Node {
    let config =
        Arc::new(Config { links_max: 12, active_size: 3, passive_size: 6, waiting_max: 4, ..config });
    let boot = Boot { id: id(0), addrs: vec![addr(0)], config, seed: [7; 32], recovered: vec![] };
    Node::new(boot, Now { mono: Instant(0), wall: Wall(WALL_MS) })
}

#[test]
fn whom_a_user_names_is_dialled_at_once_however_often_that_failed() {
    let mut node = alone(Config::default());
    let contact = Contact::new(id(1), Incarnation(1), &[addr(1)]);
    let (mut now_ms, mut dials) = (0, 0);
    let join = |node: &mut Node, now_ms, token| {
        let command = Command::Join { contacts: vec![contact.clone()] };
        give(node, now_ms, Input::Command { token: Token(token), command })
    };
    let mut is_dialled = join(&mut node, 0, 1);
    while now_ms < 120_000 {
        if is_dialled {
            dials += 1;
            let (peer, dialer, reason) = (id(1), Dialer::Local, DownReason::Unreachable);
            give(&mut node, now_ms, Input::LinkDown { peer, dialer, reason });
        }
        now_ms += 50;
        is_dialled = give(&mut node, now_ms, Input::Timeout);
    }
    assert!((6..40).contains(&dials), "{dials} dials in two minutes: they come ever more rarely");
    assert!(join(&mut node, now_ms, 2), "its user has to wait");
}

/// Hands an input to a node that is by itself; tells whether it dials.
fn give(node: &mut Node, now_ms: u64, input: Input) -> bool {
    let (now, mut out) =
        (Now { mono: Instant::from_millis(now_ms), wall: Wall(WALL_MS + now_ms) }, Output::default());
    node.handle(now, input, &mut out);
    out.effects.iter().any(|effect| matches!(effect, Effect::Dial { .. }))
}

/// Few peers, so that inputs meet: ids become those of twelve nodes, this one among them.
fn among_few(input: Input, pick: u8) -> Input {
    let few = id(usize::from(pick % 12));
    match input {
        Input::Frame { channel, frame, .. } => {
            let channel = if pick < 240 { frame.channel() } else { channel };
            Input::Frame { from: few, channel, frame: introduced(frame, few, pick) }
        }
        Input::LinkUp { incarnation, addr, dialer, .. } => {
            let version = if pick < 240 { 1 } else { 2 };
            Input::LinkUp { peer: few, incarnation, version, addr, dialer }
        }
        Input::LinkDown { dialer, reason, .. } => Input::LinkDown { peer: few, dialer, reason },
        Input::LinkFull { channel, .. } => Input::LinkFull { peer: few, channel },
        Input::LinkReady { channel, .. } => Input::LinkReady { peer: few, channel },
        Input::Malformed { .. } => Input::Malformed { from: few },
        Input::Persisted { .. } => Input::Persisted { token: Token(u64::from(pick % 4)) },
        Input::PersistFailed { .. } => Input::PersistFailed { token: Token(u64::from(pick % 4)) },
        Input::Command { token, command } => Input::Command { token, command },
        Input::Timeout => Input::Timeout,
    }
}

/// Most frames introduce their sender, as honest ones do.
fn introduced(frame: rumormill_core::Frame, from: NodeId, pick: u8) -> rumormill_core::Frame {
    use rumormill_core::Frame;
    let contact =
        |old: Contact| if pick < 200 { Contact::new(from, old.incarnation(), old.addrs()) } else { old };
    match frame {
        Frame::Join(old) => Frame::Join(contact(old)),
        Frame::Neighbor { contact: old, priority } => Frame::Neighbor { contact: contact(old), priority },
        other => other,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn whatever_happens_a_node_holds_its_invariants_answers_each_command_once_and_never_spins(
        steps in proptest::collection::vec((arbitrary::input(), any::<u8>(), prop_oneof![3 => Just(0), 2 => 0..300_u64, 1 => 0..30_000_u64]), 0..200),
        has_mailboxes in any::<bool>(),
    ) {
        let mut node =
            alone(Config { members: has_mailboxes, mailboxes: has_mailboxes, call_ms_max: 50_000, ..Config::default() });
        let (mut now_ms, mut out) = (0, Output::default());
        let mut open: BTreeMap<Token, i32> = BTreeMap::new();
        let wake = |node: &mut Node, now_ms: u64, out: &mut Output| {
            let now = Now { mono: Instant::from_millis(now_ms), wall: Wall(WALL_MS + now_ms) };
            for _ in 0..8 {
                if node.poll_timeout().is_none_or(|at| at > now.mono) {
                    return;
                }
                node.handle(now, Input::Timeout, out);
                node.audit();
            }
            panic!("the node spins at {now_ms} ms");
        };
        for (n, (input, pick, pause_ms)) in steps.into_iter().enumerate() {
            now_ms += pause_ms;
            wake(&mut node, now_ms, &mut out);
            let input = match among_few(input, pick) {
                Input::Command { command, .. } => {
                    open.insert(Token(n as u64), 0);
                    Input::Command { token: Token(n as u64), command }
                }
                input => input,
            };
            let now = Now { mono: Instant::from_millis(now_ms), wall: Wall(WALL_MS + now_ms) };
            node.handle(now, input, &mut out);
            node.audit();
        }
        // A join fails when no seed answers, a write when the store does: at the latest now.
        for _ in 0..200 {
            now_ms += 500;
            wake(&mut node, now_ms, &mut out);
        }
        let now = Now { mono: Instant::from_millis(now_ms), wall: Wall(WALL_MS + now_ms) };
        node.handle(now, Input::PersistFailed { token: Token(1) }, &mut out);
        for event in &out.events {
            if let Event::Done { token, .. } = event {
                *open.get_mut(token).expect("a command that was given") += 1;
            }
        }
        prop_assert!(open.values().all(|answers| *answers == 1), "answers: {open:?}");
    }
}

#[test]
fn a_channel_that_a_frame_does_not_belong_to_is_refused() {
    let mut node = alone(Config::default());
    let now = Now { mono: Instant(0), wall: Wall(WALL_MS) };
    let mut out = Output::default();
    let frame = rumormill_core::Frame::Probe { nonce: 1 };
    node.handle(now, Input::Frame { from: id(3), channel: Channel::Gossip, frame }, &mut out);
    assert_eq!(node.stats().misplaced, 1);
}
