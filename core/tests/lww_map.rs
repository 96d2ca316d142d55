//! The laws of the last-writer-wins map, on its encoded state: of merges for any input, of operations in any order.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use rumormill_core::lww_map::{Held, Merged};
use rumormill_core::op::Body;
use rumormill_core::{Config, LwwMap, MapId, NodeId, Op, Origin, Stamp, Writer};
use std::collections::BTreeMap;
use std::sync::Arc;

fn writer(n: u8) -> Writer {
    Writer { node: NodeId([n; 32]), epoch: 1 }
}

fn map() -> LwwMap {
    LwwMap::new(Arc::new(Config::default()), 0)
}

fn op(n: u8, prev: u64, stamp: u64, key: u8, value: Option<u8>) -> Op {
    Op {
        map: MapId(1),
        generation: 0,
        writer: writer(n),
        prev: Stamp(prev),
        stamp: Stamp(stamp),
        base: None,
        expires: None,
        key: Bytes::from(vec![key]),
        body: value.map_or(Body::Tombstone, |value| Body::Put(Bytes::from(vec![value]))),
    }
}

fn merge(map: &mut LwwMap, op: &Op) -> Merged {
    map.merge(op, &op.encode(), true, Origin::Sync)
}

fn apply(map: &mut LwwMap, op: &Op) {
    map.apply(op, &op.encode(), true, Origin::Broadcast);
}

/// Everything that a replica holds, in its encoded form, by stamp and then by bytes.
fn encoded(map: &LwwMap) -> Vec<(Stamp, Bytes)> {
    let nothing = Held::default();
    let mut all: Vec<_> =
        map.lacked(&nothing, Stamp::ZERO).map(|(stamp, raw)| (stamp, raw.clone())).collect();
    all.sort();
    all
}

fn merged<'a>(ops: impl IntoIterator<Item = &'a Op>) -> LwwMap {
    let mut it = map();
    ops.into_iter().for_each(|op| drop(merge(&mut it, op)));
    it.audit();
    it
}

/// Any operations: versions and keys collide, and one version may come with two values.
fn any_ops() -> impl Strategy<Value = Vec<Op>> {
    let one = (0_u8..3, 1_u64..6, 0_u8..3, proptest::option::of(0_u8..3));
    vec(one.prop_map(|(n, stamp, key, value)| op(n, stamp - 1, stamp, key, value)), 0..12)
}

/// Operations as writers write them: each names its predecessor.
fn written_ops() -> impl Strategy<Value = Vec<Op>> {
    vec((0_u8..3, 0_u8..4, proptest::option::of(any::<u8>())), 0..24).prop_map(|writes| {
        let mut last = [0; 3];
        let chained = writes.into_iter().zip(1..).map(|((n, key, value), stamp)| {
            let prev = std::mem::replace(&mut last[usize::from(n)], stamp);
            op(n, prev, stamp, key, value)
        });
        chained.collect()
    })
}

fn shuffled(ops: Vec<Op>) -> impl Strategy<Value = (Vec<Op>, Vec<Op>)> {
    let doubled = [ops.clone(), ops.clone()].concat();
    (Just(ops), Just(doubled).prop_shuffle())
}

proptest! {
    #[test]
    fn a_merge_is_commutative_associative_and_idempotent_for_any_input(a in any_ops(), b in any_ops(), c in any_ops()) {
        let whole = |order: [&Vec<Op>; 3]| encoded(&merged(order.into_iter().flatten()));
        let expected = whole([&a, &b, &c]);
        prop_assert_eq!(&whole([&b, &a, &c]), &expected);
        prop_assert_eq!(&whole([&c, &b, &a]), &expected);
        let twice = merged(a.iter().chain(&b).chain(&a).chain(&c).chain(&b).chain(&c));
        prop_assert_eq!(encoded(&twice), expected);
    }

    #[test]
    fn whole_states_merge_as_their_operations_do(a in any_ops(), b in any_ops()) {
        let (left, right) = (merged(&a), merged(&b));
        let mut joined = merged(&a);
        for (_, raw) in encoded(&right) {
            merge(&mut joined, &Op::decode(&mut raw.clone()).unwrap());
        }
        let expected = merged(a.iter().chain(&b));
        prop_assert_eq!(encoded(&joined), encoded(&expected));
        prop_assert_eq!(joined.fingerprint(), expected.fingerprint());
        prop_assert!(encoded(&left).len() <= encoded(&joined).len(), "a merge loses no key");
    }

    #[test]
    fn every_order_and_repetition_is_the_fold_of_the_greatest((ops, wild) in written_ops().prop_flat_map(shuffled)) {
        let mut it = map();
        wild.iter().for_each(|op| apply(&mut it, op));
        it.audit();
        let mut greatest = BTreeMap::new();
        ops.iter().for_each(|op| _ = greatest.insert(op.key.clone(), op)); // stamps rise in order
        let live = greatest.iter().filter_map(|(key, op)| Some((key.clone(), op.value()?.clone())));
        prop_assert_eq!(it.iter().map(|(key, value)| (key.clone(), value)).collect::<Vec<_>>(), live.collect::<Vec<_>>());
        for (key, op) in &greatest {
            prop_assert_eq!(it.version(key), Some(op.version()));
        }
        prop_assert!(it.is_settled(), "all that was written has come");
        let mut plain = map();
        ops.iter().for_each(|op| apply(&mut plain, op));
        prop_assert_eq!(plain.root(), it.root());
    }

    #[test]
    fn what_a_peer_lacks_is_exactly_what_it_does_not_cover(ops in written_ops(), here in any::<u32>(), there in any::<u32>()) {
        let held_by = |mask: u32| {
            let mut it = map();
            ops.iter().enumerate().filter(|(i, _)| mask >> i & 1 == 1).for_each(|(_, op)| apply(&mut it, op));
            it
        };
        let (ours, theirs) = (held_by(here), held_by(there));
        let covers = theirs.vector().entries(u16::MAX).map(|(writer, stamp)| (*writer, stamp)).collect();
        let mut held = ours.held();
        held.tell(&ours, u16::MAX, &covers);
        let expected: Vec<_> =
            encoded(&ours).into_iter().filter(|(_, raw)| {
                let op = Op::decode(&mut raw.clone()).unwrap();
                op.stamp > theirs.vector().cover(&op.writer)
            }).collect();
        let lowest = ours.lowest_lacked(&held);
        let listed = lowest.map_or(Vec::new(), |from| ours.lacked(&held, from).map(|(s, raw)| (s, raw.clone())).collect());
        prop_assert_eq!(listed, expected);
    }

    #[test]
    fn a_session_covers_at_its_end_what_it_brought(ops in written_ops(), had in any::<u32>()) {
        let mut donor = map();
        ops.iter().for_each(|op| apply(&mut donor, op));
        let mut it = map();
        ops.iter().enumerate().filter(|(i, _)| had >> i & 1 == 1).for_each(|(_, op)| apply(&mut it, op));
        let before = it.vector().clone();
        encoded(&donor).iter().for_each(|(_, raw)| drop(merge(&mut it, &Op::decode(&mut raw.clone()).unwrap())));
        it.audit();
        prop_assert_eq!(it.vector(), &before, "data raises no context");
        donor.vector().entries(u16::MAX).for_each(|(writer, stamp)| { it.raise(writer, stamp); });
        it.audit();
        prop_assert_eq!((it.root(), it.is_settled()), (donor.root(), true));
    }
}

#[test]
fn a_key_costs_one_entry_however_often_it_is_written() {
    let mut it = map();
    (1..=3_000).for_each(|stamp| apply(&mut it, &op(1, stamp - 1, stamp, 7, Some(stamp as u8))));
    it.audit();
    assert_eq!((it.len(), encoded(&it).len(), it.vector().len(), it.count()), (1, 1, 1, 1));
}

#[test]
fn an_entry_that_a_session_brought_keeps_its_chunk_from_nobody() {
    let mut chunk =
        Bytes::from([op(1, 0, 1, 1, Some(1)).encode(), op(1, 1, 2, 2, Some(2)).encode()].concat());
    let (whole, mut it) = (chunk.clone(), map());
    while let Ok((op, raw)) = Op::split(&mut chunk) {
        it.merge(&op, &raw, true, Origin::Sync);
    }
    drop(chunk);
    assert_eq!((it.len(), whole.is_unique()), (2, true));
}

#[test]
fn a_delete_stays_deleted_whatever_older_comes_later() {
    let mut it = map();
    apply(&mut it, &op(1, 0, 10, 7, None));
    assert_eq!(merge(&mut it, &op(2, 0, 9, 7, Some(1))), Merged::Lost);
    assert_eq!((it.get(&[7]), it.count(), it.len()), (None, 0, 1));
    assert!(matches!(merge(&mut it, &op(2, 9, 11, 7, Some(2))), Merged::Won { .. }));
    assert_eq!(it.get(&[7]).as_deref(), Some(&[2][..]));
    it.audit();
}

#[test]
fn a_hidden_value_is_kept_and_counted_and_not_shown() {
    let (mut strict, mut lenient) = (map(), map());
    let op = op(1, 0, 5, 7, Some(9));
    strict.apply(&op, &op.encode(), false, Origin::Broadcast);
    apply(&mut lenient, &op);
    assert_eq!((strict.get(&[7]), strict.iter().count()), (None, 0));
    assert_eq!((strict.root(), encoded(&strict)), (lenient.root(), encoded(&lenient)));
    strict.audit();
}

#[test]
fn a_prefix_lists_its_keys_in_order() {
    let mut it = map();
    for (stamp, key) in (1..).zip(["b/2", "a", "b/1", "b", "c", "b/3"]) {
        let put = Op { key: Bytes::from(key), ..op(1, stamp - 1, stamp, 0, Some(1)) };
        apply(&mut it, &put);
    }
    apply(&mut it, &Op { key: Bytes::from("b/2"), ..op(1, 6, 7, 0, None) });
    let keys: Vec<&[u8]> = it.prefix(b"b/").map(|(key, _)| &key[..]).collect();
    assert_eq!(keys, [b"b/1", b"b/3"]);
}

#[test]
fn entries_and_writers_beyond_their_bounds_are_refused_whole() {
    let config = Config { entries_max: 2, writers_max: 1, ..Config::default() };
    let mut it = LwwMap::new(Arc::new(config), 0);
    (1..=4).for_each(|stamp| apply(&mut it, &op(1, stamp - 1, stamp, stamp as u8, Some(1))));
    assert!(!it.has_room_for(b"new") && it.has_room_for(&[1]));
    let root = it.root();
    assert_eq!(merge(&mut it, &op(1, 4, 5, 5, Some(1))), Merged::Full);
    assert_eq!(merge(&mut it, &op(2, 0, 9, 1, Some(1))), Merged::Full);
    assert_eq!(it.root(), root);
    assert!(
        matches!(merge(&mut it, &op(1, 4, 5, 1, Some(2))), Merged::Won { .. }),
        "an entry is replaced in a full map"
    );
    it.audit();
}
