//! What a node allocates in steady state: nothing for payloads, prunes, grafts and time, at most once for lists.

use allocation_counter::measure;
use bytes::Bytes;
use rumormill_core::frame::{Announcement, Gossip, NeighborPriority};
use rumormill_core::{
    Boot, Class, Config, Contact, Dialer, Frame, Incarnation, Input, Instant, MessageId, Node, NodeId, Now,
    Output, Topic, Wall,
};
use std::net::SocketAddr;
use std::sync::Arc;

const WALL_MS: u64 = 1_800_000_000_000;
const NEIGHBORS: u8 = 5;

/// A node with a full view, the buffers that it writes into, and its clock.
struct Steady {
    node: Node,
    out: Output,
    now_ms: u64,
    messages: u64,
}

fn id(number: u8) -> NodeId {
    NodeId([number; 32])
}

impl Steady {
    /// Boots a node, gives it neighbours, and lets every table and buffer grow to its size.
    fn new() -> Self {
        // Far apart: what happens on a timer of its own is measured apart from frames.
        let config =
            Config { shuffle_interval_ms: 0, promotion_interval_ms: 0, seen_max: 256, ..Config::default() };
        let addr = SocketAddr::from(([127, 0, 0, 1], 9000));
        let config = Arc::new(config);
        let boot = Boot { id: id(0xff), addrs: vec![addr], config, seed: [7; 32], recovered: vec![] };
        let now = Now { mono: Instant(0), wall: Wall(WALL_MS) };
        let mut steady = Self { node: Node::new(boot, now), out: Output::default(), now_ms: 0, messages: 0 };
        for number in 1..=NEIGHBORS {
            let (peer, dialer, incarnation) = (id(number), Dialer::Remote, Incarnation(1));
            steady.input(Input::LinkUp { peer, incarnation, version: 1, addr, dialer });
            let (contact, priority) = (Contact::new(peer, incarnation, &[addr]), NeighborPriority::High);
            steady.frame(number, Frame::Neighbor { contact, priority });
        }
        steady.out.effects.reserve(64);
        for _ in 0..3_000 {
            steady.turn();
        }
        steady
    }

    fn input(&mut self, input: Input) -> u64 {
        self.out.effects.clear();
        self.out.events.clear();
        let now = Now { mono: Instant::from_millis(self.now_ms), wall: Wall(WALL_MS + self.now_ms) };
        let Self { node, out, .. } = self;
        measure(|| node.handle(now, input, out)).count_total
    }

    fn frame(&mut self, from: u8, frame: Frame) -> u64 {
        let channel = frame.channel();
        self.input(Input::Frame { from: id(from), channel, frame })
    }

    fn message(&mut self) -> MessageId {
        self.messages += 1;
        MessageId { origin: 7, seq: self.messages }
    }

    fn gossip(&mut self, id: MessageId) -> Frame {
        let payload = Bytes::from_static(b"a payload that nobody copies");
        Frame::Gossip(Gossip {
            id,
            topic: Topic(1),
            class: Class::Normal,
            shapes_tree: true,
            hops: 3,
            age_ms: 0,
            payload,
        })
    }

    /// One message with everything around it, and all neighbours heard.
    fn turn(&mut self) {
        self.now_ms += 100;
        self.input(Input::Timeout);
        let message = self.message();
        for from in 1..=NEIGHBORS {
            let frame = self.gossip(message);
            self.frame(from, frame);
            self.frame(from, Frame::Probe { nonce: 1 });
        }
        self.frame(2, Frame::Graft { id: Some(message) });
        self.frame(2, Frame::Prune);
        let missing = self.message();
        let list = [message, missing].map(|id| Announcement { id, hops: 3 });
        self.frame(4, Frame::IHave(list.to_vec()));
        let late = self.gossip(missing);
        self.frame(4, late);
    }

    /// The most that one of many inputs allocates.
    fn most(&mut self, mut one: impl FnMut(&mut Self) -> u64) -> u64 {
        let worst = (0..200).map(|_| {
            self.turn();
            one(self)
        });
        worst.max().unwrap_or(0)
    }
}

#[test]
fn a_payload_heard_first_allocates_nothing() {
    let most = Steady::new().most(|steady| {
        let message = steady.message();
        let frame = steady.gossip(message);
        steady.frame(1, frame)
    });
    assert_eq!(most, 0);
}

#[test]
fn a_payload_heard_again_allocates_nothing() {
    let most = Steady::new().most(|steady| {
        let message = steady.message();
        let frame = steady.gossip(message);
        steady.frame(1, frame.clone());
        steady.frame(2, frame)
    });
    assert_eq!(most, 0);
}

#[test]
fn a_prune_allocates_nothing() {
    assert_eq!(Steady::new().most(|steady| steady.frame(3, Frame::Prune)), 0);
}

#[test]
fn a_graft_allocates_nothing() {
    let most = Steady::new().most(|steady| {
        let message = steady.message();
        let frame = steady.gossip(message);
        steady.frame(1, frame);
        steady.frame(3, Frame::Graft { id: Some(message) })
    });
    assert_eq!(most, 0);
}

#[test]
fn probes_and_their_answers_allocate_nothing() {
    assert_eq!(Steady::new().most(|steady| steady.frame(3, Frame::Probe { nonce: 7 })), 0);
    assert_eq!(Steady::new().most(|steady| steady.frame(3, Frame::ProbeAck { nonce: 7 })), 0);
}

#[test]
fn a_deadline_without_a_list_to_send_allocates_nothing() {
    let mut steady = Steady::new();
    let mut probes = 0;
    let most = steady.most(|steady| {
        // Whatever was to be announced goes out first; then the neighbours fall silent and are probed.
        steady.now_ms += 160;
        steady.input(Input::Timeout);
        steady.now_ms += 1_500;
        let count = steady.input(Input::Timeout);
        probes += steady.out.effects.len();
        count
    });
    assert!(probes >= 200, "{probes} probes in 200 deadlines");
    assert_eq!(most, 0);
}

#[test]
fn a_list_heard_allocates_at_most_once() {
    let most = Steady::new().most(|steady| {
        let known = MessageId { origin: 7, seq: steady.messages };
        let missing = steady.message();
        let list = [known, missing].map(|id| Announcement { id, hops: 3 });
        let frame = Frame::IHave(list.to_vec());
        let count = steady.frame(4, frame);
        let late = steady.gossip(missing);
        steady.frame(4, late);
        count
    });
    assert!(most <= 1, "{most} allocations");
}

#[test]
fn lists_sent_allocate_at_most_once_each() {
    let mut steady = Steady::new();
    let mut lists = 0;
    let most = steady.most(|steady| {
        let message = steady.message();
        let frame = steady.gossip(message);
        steady.frame(1, frame);
        steady.now_ms += 160;
        let count = steady.input(Input::Timeout);
        let sent = steady.out.effects.len() as u64;
        lists += sent;
        count.saturating_sub(sent)
    });
    assert!(lists > 0);
    assert_eq!(most, 0, "beyond one for each list");
}
