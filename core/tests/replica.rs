//! Replicas against a model: writes, lost broadcasts, cuts in the middle of sessions, full links, and then calm.
//!
//! The model is the list of everything written: at the end every replica holds the greatest operation of each key,
//! and at every step no vector covers an operation that is not there.

use bytes::Bytes;
use proptest::prelude::*;
use rumormill_core::frame::SyncOutcome;
use rumormill_core::hash::mix;
use rumormill_core::replica::{Event, Input, Replica};
use rumormill_core::{
    Config, Cx, Effect, Frame, Hlc, Instant, Machine, MapConfig, MapId, NodeId, Now, Origin, Rng, Stamp,
    Stats, Version, Wall, Writer,
};
use std::collections::BTreeMap;
use std::sync::Arc;

const WALL_ORIGIN_MS: u64 = 1_700_000_000_000;

struct Node {
    id: NodeId,
    replica: Replica,
    clock: Hlc,
    rng: Rng,
    stats: Stats,
    /// The view that the node's events tell.
    view: BTreeMap<Bytes, Bytes>,
    versions: BTreeMap<Bytes, Version>,
}

enum Delivery {
    Frame { from: usize, to: usize, frame: Frame, epoch: u32 },
    Op { from: usize, to: usize, payload: Bytes },
    Ready { of: usize, peer: usize },
}

struct Cluster {
    nodes: Vec<Node>,
    map: MapId,
    now: u64,
    sequence: u64,
    queue: BTreeMap<(u64, u64), Delivery>,
    /// When the last frame of a link arrives, and how often the link was cut.
    links: BTreeMap<(usize, usize), (u64, u32)>,
    cut: BTreeMap<(usize, usize), bool>,
    written: Vec<(Version, Bytes, Option<Bytes>)>,
    chance: u64,
    loss_percent: u64,
}

impl Cluster {
    fn new(count: usize, seed: u64, config: &Config) -> Self {
        let maps = vec![MapConfig { name: "m".into(), schema: 0 }];
        let config = Arc::new(Config { maps, ..config.clone() });
        let nodes = (0..count).map(|n| {
            let id = NodeId([n as u8 + 1; 32]);
            let replica = Replica::new(config.clone(), Writer { node: id, epoch: 1 });
            let (clock, rng) = (Hlc::new(Stamp::ZERO, 1_000), Rng::new([n as u8; 32]));
            Node {
                id,
                replica,
                clock,
                rng,
                stats: Stats::default(),
                view: BTreeMap::new(),
                versions: BTreeMap::new(),
            }
        });
        let mut cluster = Self {
            nodes: nodes.collect(),
            map: MapId::named("m"),
            now: 0,
            sequence: 0,
            queue: BTreeMap::new(),
            links: BTreeMap::new(),
            cut: BTreeMap::new(),
            written: Vec::new(),
            chance: seed,
            loss_percent: 0,
        };
        cluster.each_pair(|it, a, b| it.join(a, b));
        cluster
    }

    fn each_pair(&mut self, mut visit: impl FnMut(&mut Self, usize, usize)) {
        for a in 0..self.nodes.len() {
            (a + 1..self.nodes.len()).for_each(|b| visit(self, a, b));
        }
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.chance = self.chance.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.chance) % below
    }

    fn push(&mut self, at: u64, delivery: Delivery) {
        self.sequence += 1;
        self.queue.insert((at, self.sequence), delivery);
    }

    /// Lets a node react, and carries out what it asks for.
    fn step<R>(&mut self, n: usize, react: impl FnOnce(&mut Replica, &mut Cx<'_>) -> R) -> R {
        let mut effects = Vec::new();
        let now = Now { mono: Instant::from_millis(self.now), wall: Wall(WALL_ORIGIN_MS + self.now) };
        let Node { replica, clock, rng, stats, .. } = &mut self.nodes[n];
        let returned = react(replica, &mut Cx { now, rng, clock, stats, effects: &mut effects });
        replica.audit();
        for effect in effects {
            let Effect::Send { to, frame, .. } = effect else { panic!("a replica only sends") };
            self.send(n, to, frame);
        }
        while let Some(event) = self.nodes[n].replica.poll_event() {
            self.on_event(n, event);
        }
        self.no_vector_runs_ahead(n);
        returned
    }

    fn send(&mut self, from: usize, to: NodeId, frame: Frame) {
        let to = usize::from(to.0[0]) - 1;
        let delay = 1 + self.draw(20);
        let (last, epoch) = self.links.entry((from, to)).or_default();
        *last = (*last).max(self.now + delay);
        let (at, epoch) = (*last, *epoch);
        self.push(at, Delivery::Frame { from, to, frame, epoch });
    }

    fn on_event(&mut self, n: usize, event: Event) {
        match event {
            Event::Publish { payload } => {
                for to in (0..self.nodes.len()).filter(|to| *to != n) {
                    if self.is_joined(n, to) && self.draw(100) >= self.loss_percent {
                        let at = self.now + 1 + self.draw(60);
                        self.push(at, Delivery::Op { from: n, to, payload: payload.clone() });
                    }
                }
            }
            Event::Changed { key, old, new, version, .. } => {
                let node = &mut self.nodes[n];
                assert_eq!(
                    node.view.get(&key),
                    old.as_ref(),
                    "an event tells of a value that nobody was told"
                );
                assert!(old != new, "an event without a change");
                let last = node.versions.insert(key.clone(), version);
                assert!(last.is_none_or(|last| last < version), "events of a key go back");
                match new {
                    Some(value) => drop(node.view.insert(key, value)),
                    None => drop(node.view.remove(&key)),
                }
            }
            Event::ClockRefused { .. } | Event::Malformed { .. } => panic!("{event:?} in an honest cluster"),
        }
    }

    /// Property R2: whatever a vector covers is there, or something later is.
    fn no_vector_runs_ahead(&self, n: usize) {
        let map = self.nodes[n].replica.map(self.map).unwrap();
        for (version, key, _) in &self.written {
            if map.vector().covers(version) {
                assert!(map.version(key).is_some_and(|held| held >= *version), "context ahead of data");
            }
        }
    }

    fn is_joined(&self, a: usize, b: usize) -> bool {
        self.cut.get(&(a.min(b), a.max(b))) == Some(&false)
    }

    fn join(&mut self, a: usize, b: usize) {
        if !self.is_joined(a, b) {
            self.cut.insert((a, b), false);
            for (n, peer) in [(a, b), (b, a)] {
                let peer = self.nodes[peer].id;
                self.step(n, |replica, cx| replica.handle(Input::NeighborUp { peer }, cx));
            }
        }
    }

    fn cut(&mut self, a: usize, b: usize) {
        if self.is_joined(a, b) {
            self.cut.insert((a, b), true);
            for (n, peer) in [(a, b), (b, a)] {
                self.links.entry((n, peer)).or_default().1 += 1; // what was under way is lost
                let peer = self.nodes[peer].id;
                self.step(n, |replica, cx| replica.handle(Input::NeighborDown { peer }, cx));
            }
        }
    }

    fn write(&mut self, n: usize) {
        let (map, key) = (self.map, Bytes::from(vec![self.draw(12) as u8]));
        let value = (self.draw(4) > 0).then(|| Bytes::from(vec![self.draw(256) as u8; 40]));
        let (to, body) = (key.clone(), value.clone());
        // The model must know of the write before the step is judged, and cannot name the version before it.
        let version = self.step(n, |replica, cx| match body {
            Some(value) => replica.put(map, to, value, None, cx),
            None => replica.remove(map, to, cx),
        });
        self.written.push((version.unwrap(), key, value));
    }

    fn fill_link(&mut self, n: usize) {
        let other = (n + 1) % self.nodes.len();
        if self.is_joined(n, other) {
            let peer = self.nodes[other].id;
            self.step(n, |replica, cx| replica.handle(Input::LinkFull { peer }, cx));
            let at = self.now + self.draw(400);
            self.push(at, Delivery::Ready { of: n, peer: other });
        }
    }

    /// Lets time pass, with everything that happens in it.
    fn run_to(&mut self, end: u64) {
        loop {
            let timer =
                (0..self.nodes.len()).filter_map(|n| Some((self.nodes[n].replica.poll_timeout()?, n))).min();
            let timer = timer.map(|(at, n)| (at.0.div_ceil(1_000_000).max(self.now), n));
            let delivery = self.queue.keys().next().map(|(at, _)| *at);
            match (timer, delivery) {
                (Some((at, n)), next) if at <= end && next.is_none_or(|next| at <= next) => {
                    self.now = at;
                    self.step(n, |replica, cx| replica.handle_timeout(cx));
                }
                (_, Some(at)) if at <= end => {
                    self.now = at.max(self.now);
                    let (_, delivery) = self.queue.pop_first().unwrap();
                    self.deliver(delivery);
                }
                _ => break,
            }
        }
        self.now = end;
    }

    fn deliver(&mut self, delivery: Delivery) {
        let (n, input) = match delivery {
            Delivery::Frame { from, to, frame, epoch } if self.links[&(from, to)].1 == epoch => {
                (to, Input::Frame { from: self.nodes[from].id, frame })
            }
            Delivery::Op { from, to, payload } if self.is_joined(from, to) => {
                (to, Input::Op { from: self.nodes[from].id, payload })
            }
            Delivery::Ready { of, peer } => (of, Input::LinkReady { peer: self.nodes[peer].id }),
            Delivery::Frame { .. } | Delivery::Op { .. } => return,
        };
        self.step(n, |replica, cx| replica.handle(input, cx));
    }

    /// Property C3: every replica holds the greatest operation of every key, and its events told so.
    fn assert_converged(&self) {
        let mut greatest: BTreeMap<&Bytes, (Version, &Option<Bytes>)> = BTreeMap::new();
        for (version, key, value) in &self.written {
            let held = greatest.entry(key).or_insert((*version, value));
            *held = (*held).max((*version, value));
        }
        let live: BTreeMap<Bytes, Bytes> = greatest
            .into_iter()
            .filter_map(|(key, (_, value))| Some((key.clone(), value.clone()?)))
            .collect();
        let root = self.nodes[0].replica.map(self.map).unwrap().root();
        for node in &self.nodes {
            let map = node.replica.map(self.map).unwrap();
            map.audit();
            let held: BTreeMap<Bytes, Bytes> = map.iter().map(|(key, value)| (key.clone(), value)).collect();
            assert_eq!(held, live, "not the greatest operation of every key");
            assert_eq!(node.view, live, "events told another story");
            assert_eq!((map.root(), map.is_settled()), (root, true), "replicas differ");
            assert_eq!(node.stats.divergence_repaired, 0, "a vector covered what was not there");
        }
    }
}

fn config() -> Config {
    // Small numbers reach every bound: many chunks, several turns, overflowing pending intervals.
    Config { sync_chunk_bytes: 400, pending_max: 3, sync_sessions_max: 1, ..Config::default() }
}

fn chaos(count: usize, seed: u64, steps: u64) -> Cluster {
    chaos_with(count, seed, steps, &config())
}

fn chaos_with(count: usize, seed: u64, steps: u64, config: &Config) -> Cluster {
    let mut it = Cluster::new(count, seed, config);
    it.loss_percent = 30;
    for _ in 0..steps {
        let (a, b) = (it.draw(count as u64) as usize, it.draw(count as u64) as usize);
        match it.draw(10) {
            0 if a != b => it.cut(a.min(b), a.max(b)),
            1 | 2 if a != b => it.join(a.min(b), a.max(b)),
            3 => it.fill_link(a),
            _ => it.write(a),
        }
        let pause = it.draw(80);
        it.run_to(it.now + pause);
    }
    it
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn after_chaos_comes_the_greatest_of_every_key(count in 2_usize..6, seed in any::<u64>()) {
        let mut it = chaos(count, seed, 150);
        it.each_pair(Cluster::join);
        it.run_to(it.now + 90_000);
        it.assert_converged();
    }
}

#[test]
fn two_halves_of_a_line_meet_hop_by_hop_without_waiting_for_an_interval() {
    let mut it = Cluster::new(6, 7, &Config::default());
    it.each_pair(|it, a, b| {
        if b > a + 1 {
            it.cut(a, b);
        }
    });
    it.run_to(15_000);
    it.cut(2, 3);
    for _ in 0..20 {
        it.write(0);
        it.write(5);
        it.run_to(it.now + 100);
    }
    it.run_to(it.now + 30_000); // each half is equal by its intervals: a broadcast crosses no more than one hop here
    let healed = it.now;
    it.join(2, 3);
    it.run_to(healed + 1_500);
    it.assert_converged();
}

#[test]
fn a_quiet_cluster_says_little_and_a_busy_one_does_not_storm() {
    let mut it = Cluster::new(4, 3, &Config::default());
    it.run_to(60_000);
    let sent = |it: &Cluster| it.nodes.iter().map(|node| node.stats.syncs).sum::<u64>();
    let quiet = sent(&it);
    it.run_to(360_000);
    assert!(sent(&it) - quiet <= 4 * 8, "{} idle sessions in five minutes", sent(&it) - quiet);
    let quiet = sent(&it);
    for n in 0..3_000 {
        it.write(n % 4);
        it.run_to(it.now + 10);
    }
    // 30 s of writes, all of them under way somewhere all the time, none of them lost: intervals, and little more.
    assert!(
        sent(&it) - quiet <= 4 * 6,
        "{} sessions beside a broadcast that loses nothing",
        sent(&it) - quiet
    );
    it.run_to(it.now + 20_000);
    it.assert_converged();
}

#[test]
fn a_late_joiner_learns_everything_once_and_from_one_peer() {
    let mut it = Cluster::new(4, 11, &config());
    it.cut(0, 3);
    it.cut(1, 3);
    it.cut(2, 3);
    (0..60).for_each(|n| it.write(n % 3));
    it.run_to(20_000);
    (0..3).for_each(|n| it.join(n, 3));
    it.run_to(22_000);
    it.assert_converged();
    let keys = it.nodes[3].replica.map(it.map).unwrap().len() as u64;
    let learned = it.nodes[3].stats.sync_ops;
    assert!(learned <= keys * 2, "{learned} operations for {keys} keys");
}

#[test]
fn ones_own_echo_changes_nothing() {
    let mut it = Cluster::new(2, 1, &Config::default());
    it.write(0);
    let Some(Delivery::Op { payload, .. }) = it.queue.pop_first().map(|(_, delivery)| delivery) else {
        panic!("a write is published")
    };
    let root = it.nodes[0].replica.map(it.map).unwrap().root();
    let from = it.nodes[1].id;
    it.step(0, |replica, cx| replica.handle(Input::Op { from, payload }, cx));
    assert_eq!(it.nodes[0].replica.map(it.map).unwrap().root(), root);
    assert_eq!(it.nodes[0].stats.ops_covered, 1);
}

mod hostile {
    //! Any frames in any order: nothing panics, invariants and bounds hold.

    use super::*;
    use rumormill_core::Op;
    use rumormill_core::frame::{SyncChunk, SyncEnd, SyncHello, SyncVector};
    use rumormill_core::op::Body;

    #[derive(Clone, Debug)]
    enum Act {
        Frame(u8, Frame),
        Op(u8, Bytes),
        Up(u8),
        Down(u8),
        Full(u8),
        Ready(u8),
        Put(u8),
        Wait(u64),
    }

    fn writers() -> impl Strategy<Value = Writer> {
        (1_u8..5, 0_u64..2).prop_map(|(n, epoch)| Writer { node: NodeId([n; 32]), epoch })
    }

    fn stamps() -> impl Strategy<Value = Stamp> {
        let near = (0_u64..3_000, any::<u16>()).prop_map(|(ms, n)| Stamp::new(WALL_ORIGIN_MS + ms, n));
        prop_oneof![near, (0_u64..5).prop_map(Stamp), Just(Stamp(u64::MAX))]
    }

    fn map_ids() -> impl Strategy<Value = MapId> {
        prop_oneof![9 => Just(MapId::named("m")), 1 => Just(MapId(3))]
    }

    fn generations() -> impl Strategy<Value = u64> {
        prop_oneof![20 => Just(0_u64), 1 => 0_u64..3]
    }

    fn ops() -> impl Strategy<Value = Bytes> {
        let names = (map_ids(), generations(), writers(), stamps(), stamps());
        (names, 0_u8..8, proptest::option::of(0_usize..80)).prop_map(
            |((map, generation, writer, a, b), key, value)| {
                let (prev, stamp, key) =
                    (a.min(b), Stamp(a.max(b).0.saturating_add(1)), Bytes::from(vec![key]));
                let body = value.map_or(Body::Tombstone, |len| Body::Put(Bytes::from(vec![7; len])));
                Op { map, generation, writer, prev, stamp, base: None, expires: None, key, body }.encode()
            },
        )
    }

    fn frames() -> impl Strategy<Value = Frame> {
        let names = || (map_ids(), generations(), 0_u32..8);
        let hello = (names(), any::<u64>(), any::<bool>()).prop_map(
            |((map, generation, session), bits, is_empty)| {
                let buckets = if is_empty { [0; 16] } else { [bits; 16] };
                Frame::SyncHello(Box::new(SyncHello {
                    map,
                    generation,
                    session,
                    buckets,
                    fingerprint: bits % 2,
                    count: 0,
                }))
            },
        );
        let masks = prop_oneof![2 => Just(u16::MAX), 1 => any::<u16>()];
        let entries = proptest::collection::vec((writers(), stamps()), 0..6);
        let vector = (names(), masks, any::<bool>(), entries).prop_map(
            |((map, generation, session), mask, last, entries)| {
                Frame::SyncVector(Box::new(SyncVector {
                    map,
                    generation,
                    session,
                    mask,
                    last,
                    sent: 0,
                    entries,
                }))
            },
        );
        let chunk = (names(), proptest::collection::vec(ops(), 0..5), 0_u32..2, any::<bool>());
        let chunk = chunk.prop_map(|((map, generation, session), ops, more, is_cut)| {
            let (count, ops) = (ops.len() as u32 + more / 2, ops.concat());
            let ops = Bytes::from(ops[..ops.len() - usize::from(is_cut && !ops.is_empty())].to_vec());
            Frame::SyncChunk(Box::new(SyncChunk { map, generation, session, count, ops }))
        });
        let outcomes =
            prop_oneof![Just(SyncOutcome::Equal), Just(SyncOutcome::Busy), Just(SyncOutcome::NoSuchMap)];
        let end = (map_ids(), 0_u32..8, outcomes)
            .prop_map(|(map, session, outcome)| Frame::SyncEnd(SyncEnd { map, session, outcome }));
        prop_oneof![hello, vector, chunk, end, Just(Frame::Prune)]
    }

    fn acts() -> impl Strategy<Value = Act> {
        let peers = || 2_u8..5;
        prop_oneof![
            8 => (peers(), frames()).prop_map(|(peer, frame)| Act::Frame(peer, frame)),
            3 => (peers(), ops()).prop_map(|(peer, payload)| Act::Op(peer, payload)),
            1 => (peers(), proptest::collection::vec(any::<u8>(), 0..90)).prop_map(|(peer, it)| Act::Op(peer, it.into())),
            2 => peers().prop_map(Act::Up),
            1 => peers().prop_map(Act::Down),
            1 => peers().prop_map(Act::Full),
            1 => peers().prop_map(Act::Ready),
            2 => (0_u8..8).prop_map(Act::Put),
            3 => (0_u64..3_000).prop_map(Act::Wait),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn nothing_that_arrives_breaks_an_invariant(acts in proptest::collection::vec(acts(), 0..80)) {
            let maps = vec![MapConfig { name: "m".into(), schema: 0 }];
            let config = Config { maps, entries_max: 3, writers_max: 5, pending_max: 2, sync_chunk_bytes: 200, ..Config::default() };
            let mut replica = Replica::new(Arc::new(config), Writer { node: NodeId([1; 32]), epoch: 0 });
            let (mut clock, mut rng, mut stats) = (Hlc::new(Stamp::ZERO, 1_000), Rng::new([1; 32]), Stats::default());
            let (mut ms, mut effects) = (0, Vec::new());
            for act in acts {
                let now = Now { mono: Instant::from_millis(ms), wall: Wall(WALL_ORIGIN_MS + ms) };
                let mut cx = Cx { now, rng: &mut rng, clock: &mut clock, stats: &mut stats, effects: &mut effects };
                let peer = |n: u8| NodeId([n; 32]);
                match act {
                    Act::Frame(from, frame) => replica.handle(Input::Frame { from: peer(from), frame }, &mut cx),
                    Act::Op(from, payload) => replica.handle(Input::Op { from: peer(from), payload }, &mut cx),
                    Act::Up(n) => replica.handle(Input::NeighborUp { peer: peer(n) }, &mut cx),
                    Act::Down(n) => replica.handle(Input::NeighborDown { peer: peer(n) }, &mut cx),
                    Act::Full(n) => replica.handle(Input::LinkFull { peer: peer(n) }, &mut cx),
                    Act::Ready(n) => replica.handle(Input::LinkReady { peer: peer(n) }, &mut cx),
                    Act::Put(key) => {
                        let (key, value) = (Bytes::from(vec![key]), Bytes::from_static(b"v"));
                        let _ = replica.put(MapId::named("m"), key, value, None, &mut cx);
                    }
                    Act::Wait(span) => ms += span,
                }
                replica.handle_timeout(&mut cx);
                replica.audit();
                let map = replica.map(MapId::named("m")).unwrap();
                map.audit();
                prop_assert!(map.len() <= 6 && map.vector().len() <= 5);
                prop_assert!(clock.last() <= Stamp::new(WALL_ORIGIN_MS + ms + 1_001, 0), "the clock was led away");
                while let Some(event) = replica.poll_event() {
                    if let Event::Changed { origin: Origin::Local, .. } = event {
                        continue;
                    }
                }
            }
        }
    }
}

#[cfg(rumormill_canary)]
mod canaries {
    use super::*;
    use rumormill_core::Canary;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    /// Tells how many of ten seeds find a planted bug.
    fn found(canary: Option<Canary>) -> usize {
        let run = |seed: u64| {
            let mut it = chaos_with(4, seed, 150, &Config { canary, ..config() });
            it.each_pair(Cluster::join);
            it.run_to(it.now + 90_000);
            it.assert_converged();
        };
        (0..10).filter(|seed| catch_unwind(AssertUnwindSafe(|| run(*seed))).is_err()).count()
    }

    #[test]
    fn planted_bugs_are_found_and_nothing_is_found_without() {
        assert_eq!(found(None), 0);
        assert_eq!(found(Some(Canary::ArrivalOrder)), 10);
        assert!(found(Some(Canary::ContextBeforeData)) > 5);
    }
}
