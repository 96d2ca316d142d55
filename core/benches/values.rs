//! What the values cost: `cargo bench -p rumormill-core --bench values`.
//!
//! Prints the median time of an operation over several rounds. Times swing with the machine's other tenants;
//! instructions do not. Given a name and a number of rounds, the binary does as many and says how many operations
//! they were; callgrind then counts the instructions of the operations alone, without what prepares them:
//!
//! ```text
//! valgrind --tool=callgrind --toggle-collect='values::measured*' BINARY NAME ROUNDS
//! ```
#![allow(missing_docs)]
// A driver of its own: it has a clock, and prints.
#![allow(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros)]

use bytes::Bytes;
use rumormill_core::hash::mix;
use rumormill_core::registry::{Input, Registrar};
use rumormill_core::{
    Config, Cx, Effect, Frame, Hlc, Incarnation, Machine, MailboxId, NodeId, Now, OrMap, Ring, Rng, Stamp,
    Stats, Wall, Writer,
};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

const ROUNDS: usize = 31;
const ENTRIES: u64 = 10_000;
const CHANGES: u64 = 10;
const MEMBERS: u64 = 1_000;
/// Few enough to stay in the nearest cache, as a key does that was just read from a request.
const PLACED: u64 = 1_000;

/// A benchmark, with its state: rounds of so many operations, each round telling how many nanoseconds they took.
struct Bench {
    name: &'static str,
    operations: usize,
    round: Box<dyn FnMut() -> u128>,
}

/// A benchmark whose rounds need no preparation.
fn bench(name: &'static str, operations: usize, mut round: impl FnMut() + 'static) -> Bench {
    Bench { name, operations, round: Box::new(move || measured(&mut round)) }
}

/// Does what is measured: never inlined, so that callgrind finds it.
#[inline(never)]
fn measured(work: &mut dyn FnMut()) -> u128 {
    let start = Instant::now();
    work();
    start.elapsed().as_nanos()
}

type Prepare = fn() -> Bench;

const BENCHES: [(&str, Prepare); 19] = [
    ("clock_now", clock_now),
    ("clock_receive", clock_receive),
    ("merge_10_numbers", || merge("merge_10_numbers", |n| n, |n| n, 1_u64)),
    ("merge_10_bytes", || merge("merge_10_bytes", key, key, writer())),
    ("insert", insert),
    ("get", get),
    ("merge_whole", merge_whole),
    ("ring_place", ring_place),
    ("ring_place_long_key", ring_place_long_key),
    ("ring_owners_3", ring_owners_3),
    ("ring_join_leave", ring_join_leave),
    ("ring_build", ring_build),
    ("registry_apply", || registry_apply(|owner, at| format!("room/{owner}/{at}"))),
    ("registry_apply_10_names", || registry_apply(|_, at| format!("service/{at}"))),
    ("whereis_100", || whereis("whereis_100", 10)),
    ("whereis_1000", || whereis("whereis_1000", 100)),
    ("whereis_10000", || whereis("whereis_10000", 1_000)),
    ("whereis_100000", || whereis("whereis_100000", 10_000)),
    ("whereis_10000_of_10", whereis_shared),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [name, rest @ ..] = arguments.as_slice() {
        let Some((_, prepare)) = BENCHES.iter().find(|(known, _)| known == name) else {
            return BENCHES.iter().for_each(|(known, _)| println!("{known}"));
        };
        let rounds = rest.first().and_then(|count| count.parse().ok()).unwrap_or(0);
        let Bench { operations, mut round, .. } = prepare();
        println!("{name}: {rounds} rounds of {operations} operations");
        return (0..rounds).for_each(|_| {
            black_box(round());
        });
    }
    for (_, prepare) in BENCHES {
        let Bench { name, operations, mut round } = prepare();
        let mut times: Vec<u128> = (0..ROUNDS).map(|_| round()).collect();
        times.sort_unstable();
        let [least, median] = [times[0], times[ROUNDS / 2]].map(|nanos| nanos as f64 / operations as f64);
        println!("{name:22} {median:12.2} ns/op median {least:12.2} least");
    }
}

fn id(n: u64) -> NodeId {
    let mut bytes = [0; 32];
    bytes.chunks_exact_mut(8).enumerate().for_each(|(lane, chunk)| {
        chunk.copy_from_slice(&mix(n * 4 + lane as u64 + 1).to_le_bytes());
    });
    NodeId(bytes)
}

fn key(n: u64) -> Bytes {
    Bytes::from(format!("key-{:016x}", mix(n + 1)))
}

fn writer() -> Writer {
    Writer { node: id(0), epoch: 1 }
}

fn clock_now() -> Bench {
    let mut clock = Hlc::new(Stamp::ZERO, 1_000);
    let mut wall = 1_790_000_000_000;
    bench("clock_now", 1 << 20, move || {
        for n in 0..1_u64 << 20 {
            wall += u64::from(n % 64 == 0);
            black_box(clock.now(black_box(Wall(wall))));
        }
    })
}

fn clock_receive() -> Bench {
    let mut clock = Hlc::new(Stamp::ZERO, 1_000);
    let mut stamp = Stamp::new(1_790_000_000_000, 0);
    bench("clock_receive", 1 << 20, move || {
        for _ in 0..1 << 20 {
            stamp = Stamp(stamp.0 + 1);
            let _ = black_box(clock.receive(black_box(stamp), Wall(stamp.millis())));
        }
    })
}

/// One operation: merge a delta of ten changes (seven overwrites, two removes, one new key) into 10,000 entries.
fn merge<K, V, A>(name: &'static str, key: fn(u64) -> K, value: fn(u64) -> V, actor: A) -> Bench
where
    K: Ord + Clone + 'static,
    V: Ord + Clone + 'static,
    A: Ord + Copy + 'static,
{
    const DELTAS: usize = 20; // few enough to stay in a near cache, as a delta does that has just arrived
    let mut source = OrMap::new();
    (0..ENTRIES).for_each(|n| drop(source.insert(key(n), value(n), actor)));
    let mut target = source.clone();
    let mut n = 0;
    let mut change = move || {
        n += 1;
        let picked = key(mix(n) % ENTRIES);
        match n % CHANGES {
            0 => source.insert(key(ENTRIES + n), value(n), actor),
            1 | 2 => source.remove(&picked),
            _ => source.insert(picked, value(n), actor),
        }
    };
    let mut delta = move || {
        let mut delta = OrMap::new();
        for _ in 0..CHANGES {
            delta.merge(&change()); // says nothing when the key to remove is already gone
        }
        delta
    };
    let round = move || {
        let deltas: Vec<_> = (0..DELTAS).map(|_| delta()).collect();
        measured(&mut || {
            deltas.iter().for_each(|delta| assert!(black_box(&mut target).merge(black_box(delta))));
        })
    };
    Bench { name, operations: DELTAS, round: Box::new(round) }
}

fn filled() -> (OrMap<Bytes, Bytes>, Vec<Bytes>) {
    let keys: Vec<Bytes> = (0..ENTRIES).map(key).collect();
    let mut map = OrMap::new();
    keys.iter().for_each(|key| drop(map.insert(key.clone(), key.clone(), writer())));
    (map, keys)
}

fn insert() -> Bench {
    let (mut map, keys) = filled();
    bench("insert", keys.len(), move || {
        keys.iter().for_each(|key| drop(black_box(map.insert(key.clone(), key.clone(), writer()))));
    })
}

fn get() -> Bench {
    let (map, keys) = filled();
    bench("get", keys.len(), move || {
        keys.iter().for_each(|key| assert!(black_box(map.get(black_box(key))).is_some()));
    })
}

/// One operation: merge a whole map of 10,000 entries into an equal one.
fn merge_whole() -> Bench {
    let (mut map, _) = filled();
    let other = map.clone();
    bench("merge_whole", 1, move || assert!(!black_box(&mut map).merge(black_box(&other))))
}

fn ring(partitions: u32) -> Ring {
    let mut ring = Ring::new(partitions).expect("in bounds");
    (0..MEMBERS).for_each(|n| assert_eq!(ring.insert(id(n), 1, 0), Ok(true)));
    ring
}

fn place(name: &'static str, keys: Vec<Bytes>) -> Bench {
    let ring = ring(16_384);
    bench(name, keys.len(), move || {
        keys.iter().for_each(|key| assert!(black_box(ring.place(black_box(key))).is_some()));
    })
}

fn ring_place() -> Bench {
    place("ring_place", (0..PLACED).map(key).collect())
}

fn ring_place_long_key() -> Bench {
    place("ring_place_long_key", (0..PLACED).map(|n| Bytes::from(format!("{n:0200}"))).collect())
}

fn ring_owners_3() -> Bench {
    let (ring, keys) = (ring(16_384), (0..PLACED).map(key).collect::<Vec<_>>());
    bench("ring_owners_3", keys.len(), move || {
        keys.iter().for_each(|key| assert_eq!(black_box(ring.owners(black_box(key), 3)).len(), 3));
    })
}

/// One operation: a member joins a ring of 1,000 with 1,024 partitions, and leaves it.
fn ring_join_leave() -> Bench {
    let mut ring = ring(1_024);
    let mut n = MEMBERS;
    bench("ring_join_leave", 10, move || {
        for _ in 0..10 {
            n += 1;
            assert_eq!(ring.insert(id(n), 1, 0), Ok(true));
            assert!(ring.remove(&id(n)));
        }
    })
}

/// One operation: a ring of 1,000 members and 1,024 partitions from nothing.
fn ring_build() -> Bench {
    bench("ring_build", 1, || drop(black_box(ring(1_024))))
}

/// Registrations of each owner.
const SERVICES: u64 = 10;

/// A registry with all that it may use.
struct Desk {
    registrar: Registrar,
    clock: Hlc,
    rng: Rng,
    stats: Stats,
}

impl Desk {
    fn new(number: u64) -> Self {
        let registrar = Registrar::new(Arc::new(Config::default()), id(number), Incarnation(1));
        let (clock, rng) = (Hlc::new(Stamp::ZERO, 1_000), Rng::new([1; 32]));
        Self { registrar, clock, rng, stats: Stats::default() }
    }

    fn call<R>(&mut self, ms: u64, call: impl FnOnce(&mut Registrar, &mut Cx<'_>) -> R) -> R {
        let Self { registrar, clock, rng, stats } = self;
        let mono = rumormill_core::Instant::from_millis(ms);
        let (now, effects) = (Now { mono, wall: Wall(1_790_000_000_000 + ms) }, &mut Vec::new());
        call(registrar, &mut Cx { now, rng, clock, stats, effects })
    }
}

/// A frame as it comes over the wire: its changes are bytes.
fn over_the_wire(frame: &Frame) -> Frame {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    rumormill_core::frame::decode(&mut Bytes::from(bytes)).ok().flatten().expect("it was encoded")
}

/// What an owner tells a neighbour of its services.
fn registry_payload(owner: u64, name: &impl Fn(u64, u64) -> String) -> Frame {
    let mut desk = Desk::new(owner);
    desk.call(0, |it, cx| it.handle(Input::NeighborUp { peer: id(0) }, cx));
    for at in 0..SERVICES {
        let (name, meta) = (Bytes::from(name(owner, at)), Bytes::from_static(b"zone=a;load=17"));
        desk.call(0, |it, cx| it.register(&name, owner, MailboxId(9), &meta, false, cx))
            .expect("within bounds");
    }
    desk.call(100, |it, cx| {
        it.handle_timeout(cx);
        let sent = cx.effects.drain(..).find_map(|effect| match effect {
            Effect::Send { frame: frame @ Frame::RegistryRelay(_), .. } => Some(frame),
            _ => None,
        });
        over_the_wire(&sent.expect("an update goes out"))
    })
}

fn directory(owners: u64, payloads: &[Frame]) -> Desk {
    let mut desk = Desk::new(0);
    for (owner, payload) in (1..=owners).zip(payloads) {
        let (node, incarnation, frame) = (id(owner), Incarnation(1), payload.clone());
        desk.call(100, |it, cx| it.handle(Input::LifeVisible { node, incarnation }, cx));
        desk.call(100, |it, cx| it.handle(Input::Frame { from: node, frame }, cx));
    }
    assert_eq!(desk.registrar.registry().len() as u64, owners * SERVICES);
    desk
}

/// One operation: a registration of another node, in a directory that grows to 10,000.
fn registry_apply(name: fn(u64, u64) -> String) -> Bench {
    let payloads: Vec<Frame> = (1..=MEMBERS).map(|owner| registry_payload(owner, &name)).collect();
    let operations = (MEMBERS * SERVICES) as usize;
    bench("registry_apply", operations, move || drop(black_box(directory(MEMBERS, &payloads))))
}

fn whereis(name: &'static str, owners: u64) -> Bench {
    let of = |owner: u64, at: u64| format!("room/{owner}/{at}");
    let payloads: Vec<Frame> = (1..=owners).map(|owner| registry_payload(owner, &of)).collect();
    let desk = directory(owners, &payloads);
    let names: Vec<String> = (0..PLACED).map(|n| of(1 + mix(n) % owners, mix(n + 7) % SERVICES)).collect();
    bench(name, names.len(), move || {
        let registry = black_box(desk.registrar.registry());
        names.iter().for_each(|name| assert!(registry.whereis(black_box(name.as_bytes())).is_some()));
    })
}

/// One operation: tell one of 1,000 services of a name.
fn whereis_shared() -> Bench {
    let of = |_: u64, at: u64| format!("service/{at}");
    let payloads: Vec<Frame> = (1..=MEMBERS).map(|owner| registry_payload(owner, &of)).collect();
    let desk = directory(MEMBERS, &payloads);
    let names: Vec<String> = (0..PLACED).map(|n| of(1, n % SERVICES)).collect();
    bench("whereis_10000_of_10", names.len(), move || {
        let registry = black_box(desk.registrar.registry());
        names.iter().for_each(|name| assert!(registry.whereis(black_box(name.as_bytes())).is_some()));
    })
}
