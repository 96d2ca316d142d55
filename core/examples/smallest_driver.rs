//! The smallest complete driver: three nodes in one process, a network of one queue, a store of one table each.
//!
//! A driver does six things: it boots nodes, reads two clocks for each input, hands inputs in, carries effects out
//! in their order, wakes nodes at their deadlines, and hands events to the user. It decides nothing.

use bytes::Bytes;
use rumormill_core::Dialer::{Local, Remote};
use rumormill_core::{
    Boot, Command, Config, DownReason, Effect, Event, Input, Instant, MapConfig, MapId, Node, NodeId, Now,
    Output, Row, Space, Token, Wall,
};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;

/// One-way latency of every message.
const LATENCY_MS: u64 = 10;
/// Where all of them are: this network finds nodes by id.
const ADDR: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9000));
/// What the wall clock reads when the nodes boot.
const WALL_MS: u64 = 1_800_000_000_000;

struct Driver {
    now_ms: u64,
    nodes: Vec<Node>,
    stores: Vec<BTreeMap<(Space, Bytes), Row>>,
    /// Inputs on their way: by arrival, then by order of sending.
    queue: BTreeMap<(u64, u64), (usize, Input)>,
    sent: u64,
    events: Vec<(usize, Event)>,
}

fn id(number: usize) -> NodeId {
    NodeId([number as u8 + 1; 32])
}

fn number(id: &NodeId) -> usize {
    usize::from(id.0[0]) - 1
}

impl Driver {
    fn new(nodes: usize) -> Self {
        let maps = vec![MapConfig { name: "flags".into(), schema: 0 }];
        let config = Arc::new(Config { maps, ..Config::default() });
        let (stores, queue, events) = (vec![BTreeMap::new(); nodes], BTreeMap::new(), vec![]);
        let mut driver = Self { now_ms: 0, nodes: Vec::new(), stores, queue, sent: 0, events };
        for number in 0..nodes {
            let (id, addrs, seed) = (id(number), vec![ADDR], [number as u8; 32]);
            let boot = Boot { id, addrs, config: config.clone(), seed, recovered: vec![] };
            driver.nodes.push(Node::new(boot, driver.now()));
        }
        driver
    }

    fn now(&self) -> Now {
        Now { mono: Instant::from_millis(self.now_ms), wall: Wall(WALL_MS + self.now_ms) }
    }

    /// Hands an input to a node now, and carries out what comes of it.
    fn handle(&mut self, number: usize, input: Input) {
        let (now, mut out) = (self.now(), Output::default());
        self.nodes[number].handle(now, input, &mut out);
        self.events.extend(out.events.into_iter().map(|event| (number, event)));
        out.effects.into_iter().for_each(|effect| self.carry_out(number, effect));
    }

    /// Every node that is named here runs, so every dial succeeds.
    fn carry_out(&mut self, from: usize, effect: Effect) {
        match effect {
            Effect::Dial { contact } => {
                let to = number(&contact.id());
                for (hops, who, peer, dialer) in [(1, to, from, Remote), (2, from, to, Local)] {
                    let (peer, incarnation) = (id(peer), self.nodes[peer].incarnation());
                    self.send(who, hops, Input::LinkUp { peer, incarnation, version: 1, addr: ADDR, dialer });
                }
            }
            Effect::Send { to, channel, frame } => {
                self.send(number(&to), 1, Input::Frame { from: id(from), channel, frame });
            }
            Effect::Close { peer: to, dialer, .. } => {
                for (ours, theirs) in [(Local, Remote), (Remote, Local)] {
                    if dialer.is_none_or(|dialer| dialer == ours) {
                        let (peer, dialer, reason) = (id(from), theirs, DownReason::Closed);
                        self.send(number(&to), 1, Input::LinkDown { peer, dialer, reason });
                    }
                }
            }
            Effect::Persist { token, rows, .. } => {
                let keyed = rows.into_iter().map(|row| ((row.space, row.key.clone()), row));
                self.stores[from].extend(keyed);
                self.send(from, 1, Input::Persisted { token });
            }
        }
    }

    fn send(&mut self, to: usize, hops: u64, input: Input) {
        self.sent += 1;
        self.queue.insert((self.now_ms + hops * LATENCY_MS, self.sent), (to, input));
    }

    /// Runs until a point in time: whatever is due first goes first.
    fn run_until(&mut self, end_ms: u64) {
        loop {
            let deadline = |(n, node): (usize, &Node)| Some((node.poll_timeout()?.0.div_ceil(1_000_000), n));
            let timer = self.nodes.iter().enumerate().filter_map(deadline).min();
            let (due_ms, node) = timer.unwrap_or((u64::MAX, 0));
            let arrival_ms = self.queue.keys().next().map_or(u64::MAX, |key| key.0);
            let Some(at) = Some(due_ms.min(arrival_ms)).filter(|at| *at <= end_ms) else { break };
            self.now_ms = self.now_ms.max(at);
            let arrival = self.queue.first_entry().filter(|_| arrival_ms <= due_ms);
            let (to, input) = arrival.map_or((node, Input::Timeout), |first| first.remove());
            self.handle(to, input);
        }
        self.now_ms = end_ms;
    }
}

fn form_and_write() -> Driver {
    let mut driver = Driver::new(3);
    for number in 0..3 {
        let contacts = driver.nodes[..number].iter().map(|node| node.contact().clone()).collect();
        let (token, command) = (Token(number as u64), Command::Join { contacts });
        driver.handle(number, Input::Command { token, command });
    }
    driver.run_until(1_000);
    let (map, key, value) = (MapId::named("flags"), "dark_mode".into(), "true".into());
    let command = Command::Put { map, key, value, expires: None };
    driver.handle(1, Input::Command { token: Token(9), command });
    driver.run_until(2_000);
    driver
}

#[expect(clippy::disallowed_macros, reason = "a driver tells its user")]
fn main() {
    form_and_write().events.iter().for_each(|(node, event)| println!("node {node}: {event:?}"));
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
    let hashes = |driver: Driver| driver.nodes.iter().map(Node::trace_hash).collect::<Vec<_>>();
    assert_eq!(hashes(driver), hashes(form_and_write()), "a run is a function of its inputs");
}
