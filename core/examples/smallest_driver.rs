//! The smallest complete driver: three nodes in one process, a network of one queue, a store of one vector each.
//!
//! A driver does six things: it boots nodes, reads two clocks for each input, hands inputs in, carries effects out
//! in their order, wakes nodes at their deadlines, and hands events to the user. It decides nothing.

use rumormill_core::{
    Boot, Command, Config, Dialer, DownReason, Effect, Event, Input, Instant, MapConfig, MapId, Node, NodeId,
    Now, Output, Row, Token, Wall,
};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// One-way latency of every message.
const LATENCY_MS: u64 = 10;

struct Driver {
    now_ms: u64,
    nodes: Vec<Node>,
    /// What each node's store holds.
    stores: Vec<Vec<Row>>,
    /// Inputs on their way: by arrival, then by order of sending.
    queue: BTreeMap<(u64, u64), (usize, Input)>,
    sent: u64,
    events: Vec<(usize, Event)>,
}

fn id(number: usize) -> NodeId {
    NodeId([number as u8 + 1; 32])
}

fn addr(number: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9000 + number as u16))
}

impl Driver {
    fn new(nodes: usize) -> Self {
        let maps = vec![MapConfig { name: "flags".into(), schema: 0 }];
        let config = Arc::new(Config { maps, ..Config::default() });
        let now = Now { mono: Instant(0), wall: Wall(1_800_000_000_000) };
        let boot = |number: usize| {
            let (config, seed) = (config.clone(), [number as u8; 32]);
            Node::new(
                Boot { id: id(number), addrs: vec![addr(number)], config, seed, recovered: vec![] },
                now,
            )
        };
        Self {
            now_ms: 0,
            nodes: (0..nodes).map(boot).collect(),
            stores: vec![Vec::new(); nodes],
            queue: BTreeMap::new(),
            sent: 0,
            events: Vec::new(),
        }
    }

    /// Hands an input to a node now, and carries out what comes of it.
    fn handle(&mut self, number: usize, input: Input) {
        let now =
            Now { mono: Instant::from_millis(self.now_ms), wall: Wall(1_800_000_000_000 + self.now_ms) };
        let mut out = Output::default();
        self.nodes[number].handle(now, input, &mut out);
        self.events.extend(out.events.into_iter().map(|event| (number, event)));
        for effect in out.effects {
            self.carry_out(number, effect);
        }
    }

    fn carry_out(&mut self, from: usize, effect: Effect) {
        match effect {
            Effect::Dial { contact } => {
                let to = self.nodes.iter().position(|node| node.contact().id() == contact.id());
                let Some(to) = to else {
                    let (peer, dialer, reason) = (contact.id(), Dialer::Local, DownReason::Refused);
                    return self.send(from, 2, Input::LinkDown { peer, dialer, reason });
                };
                self.send(to, 1, self.link_up(from, Dialer::Remote));
                self.send(from, 2, self.link_up(to, Dialer::Local));
            }
            Effect::Send { to, channel, frame } => {
                if let Some(to) = self.nodes.iter().position(|node| node.contact().id() == to) {
                    self.send(to, 1, Input::Frame { from: id(from), channel, frame });
                }
            }
            Effect::Close { peer, dialer, .. } => {
                let Some(to) = self.nodes.iter().position(|node| node.contact().id() == peer) else { return };
                for (ours, theirs) in [(Dialer::Local, Dialer::Remote), (Dialer::Remote, Dialer::Local)] {
                    if dialer.is_none_or(|dialer| dialer == ours) {
                        let (peer, dialer, reason) = (id(from), theirs, DownReason::Closed);
                        self.send(to, 1, Input::LinkDown { peer, dialer, reason });
                    }
                }
            }
            Effect::Persist { token, rows, .. } => {
                let keeps =
                    |old: &Row| !rows.iter().any(|new| (new.space, &new.key) == (old.space, &old.key));
                self.stores[from].retain(keeps);
                self.stores[from].extend(rows);
                self.send(from, 1, Input::Persisted { token });
            }
        }
    }

    fn link_up(&self, peer: usize, dialer: Dialer) -> Input {
        let incarnation = self.nodes[peer].incarnation();
        Input::LinkUp { peer: id(peer), incarnation, version: 1, addr: addr(peer), dialer }
    }

    fn send(&mut self, to: usize, hops: u64, input: Input) {
        self.sent += 1;
        self.queue.insert((self.now_ms + hops * LATENCY_MS, self.sent), (to, input));
    }

    /// Runs until a point in time: whatever is due first goes first.
    fn run_until(&mut self, end_ms: u64) {
        loop {
            let deadline = |node: &Node| node.poll_timeout().map(|at| at.0.div_ceil(1_000_000));
            let timer =
                self.nodes.iter().map(deadline).enumerate().filter_map(|(n, at)| Some((at?, n))).min();
            let arrival = self.queue.keys().next().copied();
            let at = timer.map(|(at, _)| at).into_iter().chain(arrival.map(|(at, _)| at)).min();
            let Some(at) = at.filter(|at| *at <= end_ms) else { break };
            self.now_ms = self.now_ms.max(at);
            match (arrival, timer) {
                (Some(key), _) if key.0 <= at => {
                    let (to, input) = self.queue.remove(&key).expect("the key was just read");
                    self.handle(to, input);
                }
                (_, Some((_, node))) => self.handle(node, Input::Timeout),
                (_, None) => break,
            }
        }
        self.now_ms = end_ms;
    }
}

fn form_and_write() -> Driver {
    let mut driver = Driver::new(3);
    let first = driver.nodes[0].contact().clone();
    for number in 0..3 {
        let contacts = if number == 0 { vec![] } else { vec![first.clone()] };
        driver.handle(
            number,
            Input::Command { token: Token(number as u64), command: Command::Join { contacts } },
        );
    }
    driver.run_until(1_000);
    let (map, key, value) = (MapId::named("flags"), "dark_mode".into(), "true".into());
    let command = Command::Put { map, key, value, expires: None };
    driver.handle(1, Input::Command { token: Token(9), command });
    driver.run_until(2_000);
    driver
}

fn main() {
    let driver = form_and_write();
    driver.events.iter().for_each(|(node, event)| println!("node {node}: {event:?}"));
}

#[test]
fn three_nodes_meet_and_share_a_write() {
    let driver = form_and_write();
    for node in &driver.nodes {
        assert_eq!(node.active().count(), 2, "everybody is everybody's neighbour");
        let map = node.map(MapId::named("flags")).expect("the map is hosted");
        assert_eq!(map.get(b"dark_mode").as_deref(), Some(&b"true"[..]));
        node.check();
    }
    let again = form_and_write();
    let hashes = |driver: &Driver| driver.nodes.iter().map(Node::trace_hash).collect::<Vec<_>>();
    assert_eq!(hashes(&driver), hashes(&again), "a run is a function of its inputs");
}
