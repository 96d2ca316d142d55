//! Scripts: whole sessions between two replicas with every frame, and everything that came out.

use super::{Event, Input, Known, Replica};
use crate::bench::{Bench, node};
use crate::config::{Config, MapConfig};
use crate::frame::{Frame, SyncChunk, SyncEnd, SyncOutcome, SyncVector};
use crate::hlc::Stamp;
use crate::id::{MapId, NodeId, Version, Writer};
use crate::machine::{CommandError, Effect, Machine, Origin};
use crate::op::{Body, Op};
use crate::schema::Schema;
use alloc::sync::Arc;
use bytes::Bytes;
use std::collections::VecDeque;
use std::format;
use std::string::String;
use std::vec;
use std::vec::Vec;

const WALL_ORIGIN_MS: u64 = 1_700_000_000_000;

fn config() -> Config {
    let map = |name: &str, schema| MapConfig { name: name.into(), schema };
    Config { maps: vec![map("m", 0), map("even", 2)], schemas: vec![EVEN, JOINING], ..Config::default() }
}

/// Takes only values of even length.
const EVEN: Schema =
    Schema { id: 2, version: 1, join: None, validate: Some(|_, value| value.len() % 2 == 0), verify: None };
const JOINING: Schema =
    Schema { id: 3, version: 1, join: Some(|a, _| Bytes::copy_from_slice(a)), validate: None, verify: None };

fn map() -> MapId {
    MapId::named("m")
}

fn replica(n: u8, config: Config) -> Bench<Replica> {
    Bench::new(Replica::new(Arc::new(config), Writer { node: node(n), epoch: 1 }))
}

fn put(it: &mut Bench<Replica>, key: &str, value: &str) -> Result<Version, CommandError> {
    let (key, value) = (Bytes::from(String::from(key)), Bytes::from(String::from(value)));
    it.call(|replica, cx| replica.put(map(), key, value, None, cx))
}

fn get(it: &Bench<Replica>, key: &str) -> Option<Bytes> {
    it.machine.map(map()).unwrap().get(key.as_bytes())
}

fn root(it: &Bench<Replica>) -> u64 {
    it.machine.map(map()).unwrap().root()
}

fn events(it: &mut Bench<Replica>) -> Vec<Event> {
    core::iter::from_fn(|| it.machine.poll_event()).collect()
}

/// An operation of a node that is not on the bench, stamped `ms` after the bench's origin.
fn op(n: u8, prev: Stamp, ms: u64, key: &str, value: &str) -> Op {
    Op {
        map: map(),
        generation: 0,
        writer: Writer { node: node(n), epoch: 1 },
        prev,
        stamp: Stamp::new(WALL_ORIGIN_MS + ms, 0),
        base: None,
        expires: None,
        key: Bytes::from(String::from(key)),
        body: Body::Put(Bytes::from(String::from(value))),
    }
}

fn hear(it: &mut Bench<Replica>, from: u8, op: &Op) {
    let (from, payload) = (node(from), op.encode());
    it.call(|replica, cx| replica.handle(Input::Op { from, payload }, cx));
}

/// Opens a session of the map with a peer, whatever the schedule says.
fn open(it: &mut Bench<Replica>, peer: u8) {
    it.call(|replica, cx| replica.open(map(), node(peer), cx));
}

/// Shows a frame in the words of the session.
fn show(frame: &Frame) -> String {
    match frame {
        Frame::SyncHello(hello) => format!("hello of {}", hello.count),
        Frame::SyncVector(vector) => {
            let entry = |(writer, stamp): &(Writer, Stamp)| {
                format!(" n{}@{}", writer.node.0[0], stamp.millis().saturating_sub(WALL_ORIGIN_MS))
            };
            let entries: String = vector.entries.iter().map(entry).collect();
            format!("vector{entries}{}", if vector.last { "" } else { " and more" })
        }
        Frame::SyncChunk(chunk) => {
            let mut ops = chunk.ops.clone();
            let mut shown = String::from("chunk");
            while let Ok(op) = Op::decode(&mut ops) {
                shown += &format!(" {}", String::from_utf8_lossy(&op.key));
            }
            shown
        }
        Frame::SyncEnd(end) => format!("end: {:?}", end.outcome),
        other => format!("{other:?}"),
    }
}

/// Carries frames between two replicas until both are silent, and shows each.
fn talk(a: &mut Bench<Replica>, b: &mut Bench<Replica>) -> Vec<String> {
    talk_without(a, b, |_| false)
}

/// Carries frames as [`talk`] does, but those that are lost.
fn talk_without(a: &mut Bench<Replica>, b: &mut Bench<Replica>, is_lost: fn(&Frame) -> bool) -> Vec<String> {
    let (first, second) = (a.machine.writer.node, b.machine.writer.node);
    let mut shown = Vec::new();
    let mut under_way: VecDeque<(NodeId, Frame)> = VecDeque::new();
    loop {
        for it in [&mut *a, &mut *b] {
            let me = it.machine.writer.node;
            for effect in it.effects.drain(..) {
                let Effect::Send { frame, .. } = effect else { panic!("a replica only sends") };
                under_way.push_back((me, frame));
            }
        }
        let Some((from, frame)) = under_way.pop_front() else { return shown };
        shown.push(format!("{} {}", if from == first { "a:" } else { "b:" }, show(&frame)));
        let to = if from == first { &mut *b } else { &mut *a };
        assert!(from == first || from == second);
        if is_lost(&frame) {
            continue;
        }
        to.call(|replica, cx| replica.handle(Input::Frame { from, frame }, cx));
    }
}

/// Carries what one replica has sent to another.
fn carry(from: &mut Bench<Replica>, to: &mut Bench<Replica>) {
    let sender = from.machine.writer.node;
    for effect in from.effects.drain(..) {
        let Effect::Send { frame, .. } = effect else { panic!("a replica only sends") };
        to.call(|replica, cx| replica.handle(Input::Frame { from: sender, frame }, cx));
    }
}

#[test]
fn equal_replicas_need_two_frames() {
    let (mut a, mut b) = (replica(1, config()), replica(2, config()));
    open(&mut a, 2);
    assert_eq!(talk(&mut a, &mut b), ["a: hello of 0", "b: end: Equal"]);
    assert_eq!((a.stats.syncs, a.stats.syncs_equal), (1, 1));
    assert!(events(&mut a).is_empty() && events(&mut b).is_empty());
}

#[test]
fn a_session_brings_both_sides_what_they_lack_and_no_more() {
    let (mut a, mut b) = (replica(1, config()), replica(2, config()));
    let common = op(9, Stamp::ZERO, 0, "common", "x");
    hear(&mut a, 9, &common);
    hear(&mut b, 9, &common);
    put(&mut a, "left", "1").unwrap();
    put(&mut b, "right", "2").unwrap();
    events(&mut a);
    events(&mut b);
    open(&mut a, 2);
    let script = [
        "a: hello of 2",
        "b: vector n2@0",
        "a: chunk left",
        "a: vector n1@0",
        "b: chunk right",
        "b: vector n2@0",
        "b: end: Equal",
    ];
    assert_eq!(talk(&mut a, &mut b), script);
    let writer = Writer { node: node(2), epoch: 1 };
    let version = a.machine.map(map()).unwrap().version(b"right").unwrap();
    assert_eq!(version.writer, writer);
    let (key, new) = (Bytes::from("right"), Some(Bytes::from("2")));
    let changed = Event::Changed { map: map(), key, old: None, new, version, origin: Origin::Sync };
    assert_eq!(events(&mut a), [changed]);
    assert_eq!(events(&mut b).len(), 1);
    assert_eq!(root(&a), root(&b));
    open(&mut b, 1);
    assert_eq!(talk(&mut b, &mut a), ["a: hello of 3", "b: end: Equal"]);
}

#[test]
fn a_session_that_breaks_off_leaves_data_and_no_context() {
    let (mut a, mut b) = (replica(1, config()), replica(2, config()));
    put(&mut b, "k", "v").unwrap();
    open(&mut a, 2);
    let hello = a.effects.drain(..).next();
    let Some(Effect::Send { frame, .. }) = hello else { panic!("no hello") };
    b.call(|replica, cx| replica.handle(Input::Frame { from: node(1), frame }, cx));
    let Some(Effect::Send { frame: vector, .. }) = b.effects.drain(..).next() else { panic!("no vector") };
    a.call(|replica, cx| replica.handle(Input::Frame { from: node(2), frame: vector }, cx));
    let Some(Effect::Send { frame: closing, .. }) = a.effects.drain(..).next() else {
        panic!("no closing vector")
    };
    b.call(|replica, cx| replica.handle(Input::Frame { from: node(1), frame: closing }, cx));
    let Some(Effect::Send { frame: chunk, .. }) = b.effects.drain(..).next() else { panic!("no chunk") };
    assert_eq!(show(&chunk), "chunk k");
    a.call(|replica, cx| replica.handle(Input::Frame { from: node(2), frame: chunk }, cx));
    assert_eq!(get(&a, "k"), Some(Bytes::from("v")), "data is merged as it comes");
    a.run_to(20_000);
    assert_eq!((a.stats.syncs_expired, a.machine.sessions.len()), (1, 0));
    let held = a.machine.map(map()).unwrap();
    assert_eq!((held.vector().hash(), held.is_settled()), (0, false));
    held.audit();
    b.effects.clear();
    b.run_to(20_000);
    a.effects.clear();
    open(&mut a, 2);
    talk(&mut a, &mut b);
    assert_eq!((root(&a), a.machine.map(map()).unwrap().is_settled()), (root(&b), true));
}

#[test]
fn a_session_that_lost_a_chunk_with_one_of_two_connections_raises_no_context() {
    let (mut a, mut b) = (replica(1, config()), replica(2, config()));
    put(&mut b, "k", "v").unwrap();
    open(&mut a, 2);
    let script = talk_without(&mut a, &mut b, |frame| matches!(frame, Frame::SyncChunk(_)));
    assert_eq!(script.last().unwrap(), "b: end: Equal");
    assert_eq!((get(&a, "k"), a.machine.map(map()).unwrap().vector().hash()), (None, 0));
    open(&mut a, 2);
    talk(&mut a, &mut b);
    assert_eq!((root(&a), get(&a, "k")), (root(&b), Some(Bytes::from("v"))));
}

#[test]
fn an_operation_too_far_ahead_is_refused_and_nothing_covers_it_until_its_time() {
    let mut a = replica(1, config());
    let early = op(9, Stamp::ZERO, 5_000, "k", "v");
    hear(&mut a, 9, &early);
    assert_eq!(events(&mut a), [Event::ClockRefused { from: node(9), ahead_ms: 5_000 }]);
    assert_eq!((root(&a), a.stats.ops_refused, a.stats.stamps_refused), (root(&replica(2, config())), 1, 1));
    let mut ahead = replica(2, config());
    ahead.set_time(crate::time::Instant::from_millis(5_000));
    hear(&mut ahead, 9, &op(8, Stamp::ZERO, 0, "k", "old"));
    hear(&mut ahead, 9, &early);
    open(&mut a, 2);
    let script = talk(&mut a, &mut ahead);
    assert_eq!(script.last().unwrap(), "b: end: Equal");
    assert_eq!(events(&mut a), [Event::ClockRefused { from: node(2), ahead_ms: 5_000 }]);
    let held = a.machine.map(map()).unwrap();
    assert_eq!(
        (held.len(), held.vector().hash()),
        (0, 0),
        "what the refused one replaced is not here either"
    );
    a.run_to(5_000);
    open(&mut a, 2);
    talk(&mut a, &mut ahead);
    assert_eq!((root(&a), get(&a, "k")), (root(&ahead), Some(Bytes::from("v"))));
}

#[test]
fn sessions_that_cross_become_one() {
    let (mut a, mut b) = (replica(1, config()), replica(2, config()));
    put(&mut a, "left", "1").unwrap();
    put(&mut b, "right", "2").unwrap();
    open(&mut a, 2);
    open(&mut b, 1);
    let script = talk(&mut a, &mut b);
    assert_eq!(script[..4], ["a: hello of 1", "b: hello of 1", "b: vector n2@0", "a: end: Busy"]);
    assert_eq!(script[4..].iter().filter(|line| line.contains("chunk")).count(), 2);
    assert_eq!((root(&a), a.machine.sessions.len(), b.machine.sessions.len()), (root(&b), 0, 0));
}

#[test]
fn more_sessions_than_the_bound_are_told_to_come_later() {
    let mut b = replica(9, config());
    put(&mut b, "k", "v").unwrap();
    for n in 1..=3 {
        let mut a = replica(n, config());
        open(&mut a, 9);
        let Some(Effect::Send { frame, .. }) = a.effects.pop() else { panic!("no hello") };
        b.call(|replica, cx| replica.handle(Input::Frame { from: node(n), frame }, cx));
    }
    let answers: Vec<String> = b
        .effects
        .iter()
        .map(|effect| match effect {
            Effect::Send { frame, .. } => show(frame),
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(answers, ["vector n9@0", "vector n9@0", "end: Busy"]);
}

#[test]
fn a_full_link_gets_no_chunk_until_it_has_drained() {
    let (mut a, mut b) = (replica(1, config()), replica(2, config()));
    put(&mut a, "k", "v").unwrap();
    a.call(|replica, cx| replica.handle(Input::NeighborUp { peer: node(2) }, cx));
    a.call(|replica, cx| replica.handle(Input::LinkFull { peer: node(2) }, cx));
    open(&mut a, 2);
    assert_eq!(talk(&mut a, &mut b), ["a: hello of 1", "b: vector"]);
    a.call(|replica, cx| replica.handle(Input::LinkReady { peer: node(2) }, cx));
    a.call(|replica, cx| replica.handle_timeout(cx));
    assert_eq!(talk(&mut a, &mut b), ["a: chunk k", "a: vector n1@0", "b: vector", "b: end: Equal"]);
    assert_eq!(root(&a), root(&b));
}

#[test]
fn much_is_sent_in_turns() {
    let config = Config { sync_chunk_bytes: 100, ..config() };
    let (mut a, mut b) = (replica(1, config.clone()), replica(2, config));
    for n in 0..10 {
        put(&mut a, &format!("{n}"), "v").unwrap();
    }
    open(&mut a, 2);
    let chunks = |script: &[String]| script.iter().filter(|line| line.contains("chunk")).count();
    assert_eq!(chunks(&talk(&mut a, &mut b)), 4);
    a.set_time(a.machine.poll_timeout().unwrap());
    a.call(|replica, cx| replica.handle_timeout(cx));
    assert_eq!(chunks(&talk(&mut a, &mut b)), 4);
    a.set_time(a.machine.poll_timeout().unwrap());
    a.call(|replica, cx| replica.handle_timeout(cx));
    let rest = talk(&mut a, &mut b);
    assert_eq!((chunks(&rest), rest.last().unwrap().as_str()), (2, "b: end: Equal"));
    assert_eq!(root(&a), root(&b));
}

#[test]
fn no_turn_ends_between_operations_of_one_stamp() {
    let config = Config { sync_chunk_bytes: 100, ..config() };
    let (mut a, mut b) = (replica(1, config.clone()), replica(2, config));
    for n in 10..20 {
        hear(&mut a, n, &op(n, Stamp::ZERO, 0, &format!("{n}"), "v"));
    }
    open(&mut a, 2);
    let script = talk(&mut a, &mut b);
    assert_eq!(script.iter().filter(|line| line.contains("chunk")).count(), 10, "{script:?}");
    assert_eq!((root(&a), b.machine.map(map()).unwrap().len()), (root(&b), 10));
}

#[test]
fn a_vector_whose_pieces_are_of_different_buckets_ends_the_session() {
    let mut a = replica(1, config());
    open(&mut a, 2);
    let (map, session) = (map(), a.machine.sessions[0].number);
    a.effects.clear();
    let entries = vec![(Writer { node: node(9), epoch: 1 }, Stamp(1))];
    for (mask, last, entries) in [(u16::MAX, false, entries), (u16::MAX >> 1, true, Vec::new())] {
        let vector = SyncVector { map, generation: 0, session, mask, last, sent: 0, entries };
        let frame = Frame::SyncVector(alloc::boxed::Box::new(vector));
        a.call(|replica, cx| replica.handle(Input::Frame { from: node(2), frame }, cx));
    }
    assert_eq!((a.machine.sessions.len(), a.stats.malformed), (0, 1));
    assert_eq!(events(&mut a), [Event::Malformed { from: node(2) }]);
}

#[test]
fn a_session_without_an_answer_expires_and_is_offered_again_by_who_opened_it() {
    let (mut a, mut b) = (replica(1, config()), replica(2, config()));
    put(&mut b, "k", "v").unwrap();
    for (it, peer) in [(&mut a, 2), (&mut b, 1)] {
        it.call(|replica, cx| replica.handle(Input::NeighborUp { peer: node(peer) }, cx));
        it.machine.offers.clear();
        it.machine.due = it.machine.earliest();
    }
    open(&mut a, 2);
    talk_without(&mut a, &mut b, |frame| matches!(frame, Frame::SyncVector(_)));
    assert_eq!((a.machine.sessions.len(), b.machine.sessions.len()), (1, 1));
    for it in [&mut a, &mut b] {
        it.set_time(it.machine.sessions[0].due());
        it.call(|replica, cx| replica.on_sessions_due(cx));
        assert_eq!((it.machine.sessions.len(), it.stats.syncs_expired), (0, 1));
    }
    assert!(a.machine.offers.contains_key(&(map(), node(2))));
    assert!(b.machine.offers.is_empty());
}

#[test]
fn a_session_that_brought_everything_over_leaves_nothing_to_ask_for() {
    let (mut a, mut b) = (replica(1, config()), replica(2, config()));
    a.call(|replica, cx| replica.handle(Input::NeighborUp { peer: node(2) }, cx));
    put(&mut b, "k", "v").unwrap();
    a.clear();
    open(&mut a, 2);
    talk(&mut a, &mut b);
    let root = root(&a);
    assert_eq!(a.machine.known.get(&(map(), node(2))), Some(&Known::Equal { root }));
}

#[test]
fn a_change_that_comes_beside_a_session_is_not_taken_for_known() {
    let (mut a, mut b) = (replica(1, config()), replica(2, config()));
    a.call(|replica, cx| replica.handle(Input::NeighborUp { peer: node(2) }, cx));
    put(&mut b, "k", "v").unwrap();
    a.clear();
    open(&mut a, 2);
    carry(&mut a, &mut b);
    carry(&mut b, &mut a);
    hear(&mut a, 9, &op(9, Stamp::ZERO, 0, "late", "x")); // everything of ours is sent already
    carry(&mut a, &mut b);
    carry(&mut b, &mut a);
    assert_eq!((a.machine.sessions.len(), get(&a, "k")), (0, Some(Bytes::from("v"))));
    assert_eq!(a.machine.known.get(&(map(), node(2))), None);
}

#[test]
fn a_session_lives_on_while_frames_come_and_is_offered_again_where_generations_differ() {
    let mut a = replica(1, config());
    hear(&mut a, 9, &Op { generation: 1, ..op(9, Stamp::ZERO, 0, "k", "v") });
    a.call(|replica, cx| replica.handle(Input::NeighborUp { peer: node(2) }, cx));
    a.machine.offers.clear();
    a.machine.due = a.machine.earliest();
    open(&mut a, 2);
    a.set_time(crate::time::Instant::from_millis(1_000));
    let (map, session, mask) = (map(), a.machine.sessions[0].number, u16::MAX);
    let mut hear_vector = |generation| {
        let vector = SyncVector { map, generation, session, mask, last: false, sent: 0, entries: Vec::new() };
        let frame = Frame::SyncVector(alloc::boxed::Box::new(vector));
        a.call(|replica, cx| replica.handle(Input::Frame { from: node(2), frame }, cx));
        let dues: Vec<_> = a.machine.sessions.iter().map(super::session::Session::due).collect();
        (dues, a.machine.offers.contains_key(&(map, node(2))))
    };
    let timeout_ms = config().sync_timeout_ms;
    assert_eq!(hear_vector(1), (vec![crate::time::Instant::from_millis(1_000 + timeout_ms)], false));
    assert_eq!(hear_vector(0), (vec![], true));
}

#[test]
fn a_chunk_before_its_time_ends_the_session() {
    let mut a = replica(1, config());
    open(&mut a, 2);
    let (map, session) = (map(), a.machine.sessions[0].number);
    let chunk = SyncChunk { map, generation: 0, session, count: 0, ops: Bytes::new() };
    let frame = Frame::SyncChunk(alloc::boxed::Box::new(chunk));
    a.call(|replica, cx| replica.handle(Input::Frame { from: node(2), frame }, cx));
    assert_eq!((a.machine.sessions.len(), a.stats.malformed), (0, 1));
}

#[test]
fn replicas_that_diverged_under_equal_vectors_are_repaired_and_it_is_counted() {
    let (mut a, mut b) = (replica(1, config()), replica(2, config()));
    let (here, there) = (op(9, Stamp::ZERO, 0, "k", "a"), op(9, Stamp::ZERO, 0, "l", "b"));
    hear(&mut a, 9, &here); // a cloned identity: one version, two operations
    hear(&mut b, 9, &there);
    b.call(|replica, cx| replica.handle(Input::NeighborUp { peer: node(1) }, cx));
    b.effects.clear();
    for round in ["what is not covered", "everything"] {
        open(&mut a, 2);
        let script = talk(&mut a, &mut b);
        assert_eq!(script[0], "a: hello of 1", "{round}");
        assert_eq!(script.last().unwrap(), "b: end: Equal");
    }
    assert_eq!((root(&a), a.machine.map(map()).unwrap().len()), (root(&b), 2));
    assert_eq!((a.stats.divergence_repaired, b.stats.divergence_repaired), (1, 1));
}

#[test]
fn a_higher_generation_voids_everything_and_a_lower_one_nothing() {
    let mut a = replica(1, config());
    put(&mut a, "k", "v").unwrap();
    events(&mut a);
    hear(&mut a, 9, &Op { generation: 2, ..op(9, Stamp::ZERO, 0, "new", "w") });
    let told: Vec<Option<Bytes>> = events(&mut a)
        .into_iter()
        .map(|event| match event {
            Event::Changed { new, .. } => new,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(told, [None, Some(Bytes::from("w"))]);
    hear(&mut a, 9, &Op { generation: 1, ..op(9, Stamp::ZERO, 1, "old", "w") });
    assert!(events(&mut a).is_empty());
    assert_eq!((get(&a, "k"), get(&a, "old"), a.machine.map(map()).unwrap().generation()), (None, None, 2));
    let mut b = replica(2, config());
    put(&mut b, "gone", "v").unwrap();
    b.call(|replica, cx| replica.handle(Input::NeighborUp { peer: node(1) }, cx));
    open(&mut a, 2);
    talk(&mut a, &mut b);
    assert_eq!((root(&a), get(&b, "gone")), (root(&b), None));
}

#[test]
fn a_suspicion_does_not_outlive_its_generation() {
    let mut a = replica(1, config());
    a.call(|replica, cx| replica.handle(Input::NeighborUp { peer: node(2) }, cx));
    a.machine.known.insert((map(), node(2)), Known::Suspect);
    hear(&mut a, 9, &Op { generation: 2, ..op(9, Stamp::ZERO, 0, "new", "w") });
    assert!(a.machine.known.is_empty());
}

#[test]
fn a_session_that_ends_for_its_generation_lets_what_waited_for_it_go_on() {
    let mut a = replica(1, Config { sync_sessions_max: 1, ..config() });
    hear(&mut a, 9, &Op { generation: 1, ..op(9, Stamp::ZERO, 0, "k", "v") });
    open(&mut a, 9); // no neighbour: nothing is offered to it again
    a.call(|replica, cx| replica.handle(Input::NeighborUp { peer: node(2) }, cx));
    a.run_to(1_000);
    let [session] = &a.machine.sessions[..] else { panic!("one session at a time") };
    assert_eq!(session.peer, node(9));
    let (map, from, session) = (map(), session.peer, session.number);
    let chunk = SyncChunk { map, generation: 0, session, count: 0, ops: Bytes::new() };
    let frame = Frame::SyncChunk(alloc::boxed::Box::new(chunk));
    a.call(|replica, cx| replica.handle(Input::Frame { from, frame }, cx));
    a.machine.audit();
    a.run_to(1_000);
    let peers: Vec<NodeId> = a.machine.sessions.iter().map(|session| session.peer).collect();
    assert_eq!(peers, [node(2)], "the next one has begun");
}

#[test]
fn what_a_schema_refuses_is_an_error_here_and_hidden_from_elsewhere() {
    let mut a = replica(1, config());
    let even = MapId::named("even");
    let write = |a: &mut Bench<Replica>, value: &'static str| {
        a.call(|replica, cx| replica.put(even, Bytes::from("k"), Bytes::from(value), None, cx))
    };
    assert_eq!(write(&mut a, "odd"), Err(CommandError::Invalid));
    assert!(write(&mut a, "even").is_ok());
    events(&mut a);
    hear(&mut a, 9, &Op { map: even, ..op(9, Stamp::ZERO, 1, "k", "odd") });
    let changes: Vec<Event> = events(&mut a);
    assert!(matches!(&changes[..], [Event::Changed { old: Some(_), new: None, .. }]), "{changes:?}");
    let held = a.machine.map(even).unwrap();
    assert_eq!((held.count(), held.iter().count(), held.is_settled()), (1, 0, true));
}

#[test]
fn every_refusal_of_a_write_leaves_everything_as_it_was() {
    let small = Config { key_len_max: 2, value_len_max: 3, entries_max: 1, maps_max: 3, ..config() };
    let mut a = replica(1, small);
    put(&mut a, "k", "v").unwrap();
    events(&mut a);
    let before = root(&a);
    assert_eq!(put(&mut a, "key", "v"), Err(CommandError::TooLarge { len: 3, max: 2 }));
    assert_eq!(put(&mut a, "k", "long"), Err(CommandError::TooLarge { len: 4, max: 3 }));
    assert_eq!(put(&mut a, "l", "v"), Err(CommandError::Full { max: 1 }));
    let missing = a.call(|replica, cx| replica.remove(MapId(5), Bytes::new(), cx));
    assert_eq!(missing, Err(CommandError::NoSuchMap));
    assert_eq!(a.machine.create_map("x", 7), Err(CommandError::SchemaMismatch));
    assert_eq!(
        a.machine.create_map("x", 3),
        Err(CommandError::SchemaMismatch),
        "joins are no last-writer-wins"
    );
    assert_eq!(a.machine.create_map("m", 2), Err(CommandError::SchemaMismatch));
    assert_eq!(a.machine.create_map("m", 0), Ok(()));
    assert_eq!(a.machine.create_map("x", 0), Ok(()));
    assert_eq!(a.machine.create_map("y", 0), Err(CommandError::Full { max: 3 }));
    assert!(events(&mut a).is_empty());
    assert_eq!(root(&a), before);
}

#[test]
fn one_write_takes_one_stamp_and_names_the_one_before_and_what_it_replaced() {
    let mut a = replica(1, config());
    let first = put(&mut a, "k", "v").unwrap();
    let second = a.call(|replica, cx| replica.remove(map(), Bytes::from("k"), cx)).unwrap();
    assert_eq!(second.stamp.0, first.stamp.0 + 1);
    let published: Vec<Op> = events(&mut a)
        .into_iter()
        .filter_map(|event| match event {
            Event::Publish { mut payload } => Some(Op::decode(&mut payload).unwrap()),
            Event::Changed { .. } | Event::ClockRefused { .. } | Event::Malformed { .. } => None,
        })
        .collect();
    assert_eq!((published[0].prev, published[0].base), (Stamp::ZERO, None));
    assert_eq!(
        (published[1].prev, published[1].base, &published[1].body),
        (first.stamp, Some(first), &Body::Tombstone)
    );
}

#[test]
fn a_gap_that_stays_open_asks_who_told_of_it() {
    let mut a = replica(1, config());
    a.call(|replica, cx| replica.handle(Input::NeighborUp { peer: node(2) }, cx));
    a.run_to(300); // the greeting of a new neighbour is over
    a.call(|replica, cx| {
        let end = |session| SyncEnd { map: map(), session, outcome: SyncOutcome::NoSuchMap };
        (0..4)
            .for_each(|n| replica.handle(Input::Frame { from: node(2), frame: Frame::SyncEnd(end(n)) }, cx));
    });
    a.clear();
    let first = op(9, Stamp::ZERO, 0, "k", "v");
    let second = op(9, first.stamp, 1, "l", "v");
    hear(&mut a, 2, &second);
    assert_eq!(a.stats.ops_gapped, 1);
    let shown = a.run_to(1_900);
    assert!(shown.iter().any(|line| line.starts_with("n2 Sync: SyncHello")), "{shown:?}");

    let mut b = replica(1, config());
    b.call(|replica, cx| replica.handle(Input::NeighborUp { peer: node(2) }, cx));
    b.run_to(300);
    b.clear();
    hear(&mut b, 2, &second);
    hear(&mut b, 2, &first);
    assert!(!b.run_to(800).iter().any(|line| line.contains("SyncHello")), "the gap has closed by itself");
}

#[test]
fn a_chunk_that_does_not_decode_ends_the_session_and_is_told() {
    let (mut a, mut b) = (replica(1, config()), replica(2, config()));
    put(&mut b, "k", "v").unwrap();
    open(&mut a, 2);
    let Some(Effect::Send { frame, .. }) = a.effects.pop() else { panic!("no hello") };
    let Frame::SyncHello(hello) = &frame else { panic!("no hello") };
    let session = hello.session;
    b.call(|replica, cx| replica.handle(Input::Frame { from: node(1), frame }, cx));
    b.effects.clear();
    events(&mut b);
    let ops = Bytes::from_static(b"no operation");
    let chunk = Frame::SyncChunk(alloc::boxed::Box::new(SyncChunk {
        map: map(),
        generation: 0,
        session,
        count: 1,
        ops,
    }));
    b.call(|replica, cx| replica.handle(Input::Frame { from: node(1), frame: chunk }, cx));
    assert_eq!(events(&mut b), [Event::Malformed { from: node(1) }]);
    assert_eq!((b.machine.sessions.len(), b.stats.malformed), (0, 1));
    let payload = Bytes::from_static(b"no operation");
    b.call(|replica, cx| replica.handle(Input::Op { from: node(1), payload }, cx));
    assert_eq!(events(&mut b), [Event::Malformed { from: node(1) }]);
}
