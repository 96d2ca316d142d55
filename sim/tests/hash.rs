//! The hash of a world is a fingerprint of everything that happened in it, and of nothing else.

use bytes::Bytes;
use rumormill_core::frame::{self, Gossip};
use rumormill_core::{
    Boot, Channel, Class, Contact, Frame, Input, Instant, MessageId, Node, NodeId, Now, Output, Stats, Topic,
    TraceHash,
};
use rumormill_sim::scenario::{Check, Fault, Workload};
use rumormill_sim::{Options, Process, Run, Scenario, Seed, World};
use std::sync::Arc;

const SECOND: u64 = 1_000_000_000;

/// Sixteen nodes with everything that draws: packet loss, a partition, crashes, skewed clocks, broadcasts, writes.
fn scenario() -> Scenario {
    Scenario::new("fingerprint", 16)
        .bootstrap(1, 10, 3)
        .loss(0.02)
        .clocks(100, 50)
        .workload(0, 6, Workload::broadcast("news", 5))
        .workload(0, 6, Workload::map_put("flags", 20, 10))
        .fault(1, Fault::partition([0.5, 0.5]).lasting(3))
        .fault(2, Fault::crash([3, 4]).restarting_after(2))
        .eventually(6, Check::converged("flags"))
}

fn hash(seed: u64, options: Options) -> u64 {
    Run::new(&scenario(), Seed::from(seed), options).expect("a valid scenario").finish().hash
}

fn world<P: Process>(seed: u64) -> World<(), P> {
    World::new(Arc::new(scenario().expand(seed)), Seed::from(seed), Options::default(), |_| ())
}

#[test]
fn one_seed_has_one_hash_and_every_seed_its_own() {
    let mut hashes: Vec<u64> = (1..=6).map(|seed| hash(seed, Options::default())).collect();
    assert_eq!(hashes[0], hash(1, Options::default()));
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 6);
}

#[test]
fn how_a_world_runs_never_shows_in_its_hash() {
    let plain = hash(42, Options::default());
    assert_eq!(plain, hash(42, Options { wire: true, ..Options::default() }), "through the wire");
    assert_eq!(plain, hash(42, Options { check: true, ..Options::default() }), "with checks");
    assert_eq!(plain, hash(42, Options { checkpoint_every_ns: SECOND / 3, ..Options::default() }));
}

#[test]
fn looking_at_a_world_never_shows_in_its_hash() {
    let mut unseen: World = world(42);
    unseen.run(&mut ());
    assert_eq!(unseen.hash(), hash(42, Options::default()));
}

#[test]
fn a_clone_of_a_run_continues_to_the_same_hash_from_wherever_it_was_taken() {
    let options = Options { checkpoint_every_ns: SECOND, ..Options::default() };
    let mut run = Run::new(&scenario(), Seed::from(42), options).expect("a valid scenario");
    let mut clones = Vec::new();
    for looks in 0.. {
        if looks % 8 == 7 {
            clones.push(run.clone());
        }
        if !run.advance() {
            break;
        }
    }
    let (checkpoints, hash) = (run.checkpoints().to_vec(), run.outcome().hash);
    assert!(clones.len() >= 3);
    for mut clone in clones {
        while clone.advance() {}
        assert_eq!(clone.checkpoints(), checkpoints);
        assert_eq!(clone.outcome().hash, hash);
    }
}

// --- one byte of one frame

const NEWS: &[u8] = b"the same news for everybody";

fn gossip(payload: &'static [u8]) -> Frame {
    Frame::Gossip(Gossip {
        id: MessageId { origin: 0x0102_0304_0506_0708, seq: 9 },
        topic: Topic(7),
        class: Class::Normal,
        hops: 3,
        age_ms: 250,
        shapes_tree: true,
        payload: Bytes::from_static(payload),
    })
}

fn trace_of(frame: Frame) -> u64 {
    let mut trace = TraceHash::default();
    let from = NodeId([1; 32]);
    trace.input(&Now::default(), &Input::Frame { from, channel: Channel::Gossip, frame });
    trace.value()
}

#[test]
fn whichever_byte_of_a_frame_is_another_the_trace_is_another() {
    let (mut wire, plain) = (Vec::new(), trace_of(gossip(NEWS)));
    gossip(NEWS).encode(&mut wire);
    let mut read = 0;
    for at in 0..wire.len() {
        wire[at] ^= 1;
        // What no longer is a frame never reaches a machine; the rest is a frame that says something else.
        if let Ok(Some(other)) = frame::decode(&mut Bytes::copy_from_slice(&wire)) {
            assert_ne!(other, gossip(NEWS), "byte {at}");
            assert_ne!(trace_of(other), plain, "byte {at}");
            read += 1;
        }
        wire[at] ^= 1;
    }
    assert!(read > NEWS.len(), "all of the payload and some of the header still reads, not {read} bytes");
    assert_eq!(trace_of(gossip(NEWS)), plain);
}

/// A node whose `AT`-th gossip frame, if it is node 5, comes with one bit of its payload flipped; zero for none.
#[derive(Clone)]
struct Tampered<const AT: u32> {
    node: Node,
    gossip: u32,
}

impl<const AT: u32> Process for Tampered<AT> {
    fn boot(boot: Boot, now: Now) -> Self {
        Self { node: Node::new(boot, now), gossip: 0 }
    }
    fn handle(&mut self, now: Now, mut input: Input, out: &mut Output) {
        if let Input::Frame { frame: Frame::Gossip(gossip), .. } = &mut input {
            let is_fifth = self.node.contact().addrs()[0].ip().to_string() == "10.0.0.5";
            self.gossip += u32::from(is_fifth);
            if is_fifth && self.gossip == AT {
                let mut payload = gossip.payload.to_vec();
                payload[0] ^= 1;
                gossip.payload = payload.into();
            }
        }
        self.node.handle(now, input, out);
    }
    fn poll_timeout(&self) -> Option<Instant> {
        self.node.poll_timeout()
    }
    fn contact(&self) -> &Contact {
        self.node.contact()
    }
    fn trace_hash(&self) -> u64 {
        self.node.trace_hash()
    }
    fn stats(&self) -> &Stats {
        self.node.stats()
    }
    fn check(&self) {
        self.node.check();
    }
}

fn tampered<const AT: u32>() -> u64 {
    let mut world: World<(), Tampered<AT>> = world(42);
    world.run(&mut ());
    let gossip = world.process(5).map(|process| process.gossip);
    assert!(gossip > Some(AT), "node 5 received {gossip:?} gossip frames");
    world.hash()
}

#[test]
fn one_bit_of_one_frame_on_its_way_shows_in_the_hash_of_the_world() {
    let plain = hash(42, Options::default());
    assert_eq!(tampered::<0>(), plain, "to look at every frame changes nothing");
    assert_ne!(tampered::<1>(), plain);
    assert_ne!(tampered::<20>(), plain);
    assert_ne!(tampered::<1>(), tampered::<20>());
}

#[test]
fn one_bit_of_one_foreign_frame_shows_in_the_hash_of_the_world() {
    let mut base: World = world(42);
    base.run_until(4 * SECOND, &mut ());
    let with = |frame: Frame| {
        let mut world = base.clone();
        let from = world.id(6);
        world.inject(5, Input::Frame { from, channel: Channel::Gossip, frame }, &mut ());
        world.run(&mut ());
        world.hash()
    };
    let plain = with(gossip(NEWS));
    assert_eq!(with(gossip(NEWS)), plain);
    assert_ne!(with(gossip(b"the same news for everybodx")), plain);
}
