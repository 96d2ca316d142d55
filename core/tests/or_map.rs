//! The laws of the observed-remove map: of joins on encoded states, of adds and removes, of deltas in any order.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use rumormill_core::hash::Fold;
use rumormill_core::{Lattice, OrMap};
use std::collections::BTreeMap;

const REPLICAS: usize = 3;

type Map = OrMap<u8, u8, u16>;

fn bytes(map: &Map) -> Vec<u8> {
    postcard::to_allocvec(map).unwrap()
}

/// Joins in this order and checks the invariants of what comes out.
fn joined<'a>(maps: impl IntoIterator<Item = &'a Map>) -> Map {
    let mut whole = Map::new();
    for map in maps {
        let before = bytes(&whole);
        let changed = whole.join(map);
        whole.check();
        assert_eq!(changed, bytes(&whole) != before, "a join misreported whether it changed the map");
    }
    whole
}

#[derive(Clone, Debug)]
enum Op {
    Insert {
        at: usize,
        key: u8,
        value: u8,
    },
    Remove {
        at: usize,
        key: u8,
    },
    Clear {
        at: usize,
    },
    /// One replica joins the whole state of another.
    Full {
        from: usize,
        to: usize,
    },
    /// One replica joins a delta that somebody issued, in any order and any number of times.
    Delta {
        which: Index,
        to: usize,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let at = 0..REPLICAS;
    prop_oneof![
        8 => (at.clone(), 0_u8..5, any::<u8>()).prop_map(|(at, key, value)| Op::Insert { at, key, value }),
        4 => (at.clone(), 0_u8..5).prop_map(|(at, key)| Op::Remove { at, key }),
        1 => at.clone().prop_map(|at| Op::Clear { at }),
        2 => (at.clone(), at.clone()).prop_map(|(from, to)| Op::Full { from, to }),
        6 => (any::<Index>(), at).prop_map(|(which, to)| Op::Delta { which, to }),
    ]
}

fn history() -> impl Strategy<Value = Vec<Op>> {
    vec(op(), 0..60)
}

/// Replicas that lived through a history, and every delta that they issued.
struct World {
    replicas: [Map; REPLICAS],
    deltas: Vec<Map>,
}

fn live_through(history: &[Op]) -> World {
    let mut world = World { replicas: Default::default(), deltas: Vec::new() };
    let World { replicas, deltas } = &mut world;
    for op in history {
        match *op {
            Op::Insert { at, key, value } => deltas.push(replicas[at].insert(key, value, at as u16)),
            Op::Remove { at, key } => deltas.push(replicas[at].remove(&key)),
            Op::Clear { at } => deltas.push(replicas[at].clear()),
            Op::Full { from, to } => {
                let state = replicas[from].clone();
                replicas[to].merge(&state);
            }
            Op::Delta { which, to } if !deltas.is_empty() => {
                replicas[to].merge(which.get(deltas));
            }
            Op::Delta { .. } => {}
        }
        replicas.iter().chain(deltas.last()).for_each(Map::check);
    }
    world
}

/// Any state at all, also such as no correct replica makes: for each of a few dots unseen, live under any key with
/// any value, or removed.
fn any_state() -> impl Strategy<Value = Map> {
    let dot = prop_oneof![Just(None), Just(Some(None)), (0_u8..3, 0_u8..3).prop_map(|live| Some(Some(live)))];
    vec(vec(dot, 5), 2).prop_map(|actors| {
        let of_actor = |(actor, dots): (usize, &Vec<_>)| {
            let mut scratch = Map::new();
            let each = |known: &Option<Option<(u8, u8)>>| {
                // Each dot takes the writer's next number, and nothing is there to be replaced.
                scratch.clear();
                let (key, value) = known.flatten().unwrap_or_default();
                let live = scratch.insert(key, value, actor as u16);
                match known {
                    None => Map::new(),
                    Some(None) => scratch.clear(),
                    Some(Some(_)) => live,
                }
            };
            dots.iter().map(each).collect::<Vec<_>>()
        };
        joined(actors.iter().enumerate().flat_map(of_actor).collect::<Vec<_>>().iter())
    })
}

fn laws_hold(a: &Map, b: &Map, c: &Map) -> Result<(), TestCaseError> {
    let encoded = |maps: &[&Map]| bytes(&joined(maps.iter().copied()));
    prop_assert_eq!(encoded(&[a, b]), encoded(&[b, a]), "not commutative");
    let (ab, bc) = (joined([a, b]), joined([b, c]));
    prop_assert_eq!(encoded(&[&ab, c]), encoded(&[a, &bc]), "not associative");
    prop_assert_eq!(encoded(&[a, a]), bytes(a), "not idempotent");
    prop_assert_eq!(encoded(&[&ab, b]), bytes(&ab), "not absorbing");
    Ok(())
}

fn shuffled_history() -> impl Strategy<Value = (Vec<Op>, Vec<Index>)> {
    (history(), vec(any::<Index>(), 0..60))
}

proptest! {
    #[test]
    fn joins_of_any_states_obey_the_laws_byte_for_byte(a in any_state(), b in any_state(), c in any_state()) {
        laws_hold(&a, &b, &c)?;
    }

    #[test]
    fn joins_of_states_and_deltas_of_any_history_obey_the_laws(history in history(), picks in vec(any::<Index>(), 3)) {
        let World { replicas, deltas } = live_through(&history);
        laws_hold(&replicas[0], &replicas[1], &replicas[2])?;
        if !deltas.is_empty() {
            let [a, b] = [picks[0].get(&deltas), picks[1].get(&deltas)];
            laws_hold(a, b, picks[2].get(&replicas))?;
        }
    }

    #[test]
    fn deltas_in_any_order_and_number_give_what_the_full_states_give((history, order) in shuffled_history()) {
        let World { replicas, deltas } = live_through(&history);
        let full = joined(&replicas);
        let mut arriving: Vec<&Map> = deltas.iter().collect();
        for (n, index) in order.iter().enumerate().filter(|_| !deltas.is_empty()) {
            let other = index.index(arriving.len());
            arriving.swap(n % deltas.len(), other);
            arriving.push(index.get(&deltas));
        }
        let by_deltas = joined(arriving.iter().copied());
        prop_assert_eq!(bytes(&by_deltas), bytes(&full));
        let (some, rest) = arriving.split_at(arriving.len() / 2);
        let grouped = joined([&joined(rest.iter().copied()), &joined(some.iter().copied())]);
        prop_assert_eq!(bytes(&grouped), bytes(&full), "deltas joined with one another are not a delta");
        prop_assert_eq!(full.gaps(), 0, "everything arrived, and the context still has gaps");
    }

    #[test]
    fn a_map_is_what_a_fold_over_its_dots_says(history in history()) {
        // The reference: each insert has a number, each replica the numbers it has seen and those that are live.
        type Replica = (Vec<usize>, BTreeMap<usize, (u8, u8)>);
        let mut replicas: [Replica; REPLICAS] = Default::default();
        let history: Vec<Op> = history.into_iter().filter(|op| !matches!(op, Op::Delta { .. })).collect();
        for (n, op) in history.iter().enumerate() {
            match *op {
                Op::Insert { at, key, value } => {
                    replicas[at].1.retain(|_, (held, _)| *held != key);
                    replicas[at].0.push(n);
                    replicas[at].1.insert(n, (key, value));
                }
                Op::Remove { at, key } => replicas[at].1.retain(|_, (held, _)| *held != key),
                Op::Clear { at } => replicas[at].1.clear(),
                Op::Full { from, to } => {
                    let ((theirs, theirs_live), (ours, ours_live)) = (replicas[from].clone(), &mut replicas[to]);
                    ours_live.retain(|dot, _| !theirs.contains(dot) || theirs_live.contains_key(dot));
                    ours_live.extend(theirs_live.into_iter().filter(|(dot, _)| !ours.contains(dot)));
                    ours.extend(theirs);
                }
                Op::Delta { .. } => {}
            }
        }
        for (map, (_, live)) in live_through(&history).replicas.iter().zip(&replicas) {
            let mut expected: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
            live.values().for_each(|(key, value)| expected.entry(*key).or_default().push(*value));
            prop_assert_eq!(map.len(), expected.len());
            for (key, mut values) in expected {
                let mut held: Vec<u8> = map.values(&key).copied().collect();
                prop_assert_eq!(held.first(), map.get(&key));
                held.sort_unstable();
                values.sort_unstable();
                prop_assert_eq!(held, values);
            }
        }
    }

    #[test]
    fn a_map_survives_its_encoding(history in history()) {
        for map in live_through(&history).replicas {
            let decoded: Map = postcard::from_bytes(&bytes(&map)).unwrap();
            decoded.check();
            prop_assert_eq!(&decoded, &map);
        }
    }

    #[test]
    fn bytes_that_decode_are_a_map_in_its_one_form(noise in vec(any::<u8>(), 0..60), small in vec(0_u8..5, 0..40)) {
        for input in [noise, small] {
            let Ok((map, rest)) = postcard::take_from_bytes::<Map>(&input) else { continue };
            map.check();
            let again: Map = postcard::from_bytes(&bytes(&map)).unwrap();
            prop_assert_eq!(&again, &map);
            // Only a number written longer than needed may differ.
            prop_assert!(bytes(&map).len() <= input.len() - rest.len());
            let mut grown = map.clone();
            grown.insert(0, 0, 0);
            grown.check();
        }
    }

    #[test]
    fn repeated_writes_by_one_actor_cost_what_one_costs(writes in 1_usize..400, keys in 1_u8..4) {
        let (mut map, mut copy) = (Map::new(), Map::new());
        for n in 0..writes {
            let delta = map.insert(n as u8 % keys, n as u8, 7);
            prop_assert!(bytes(&delta).len() <= 16);
            copy.merge(&delta);
        }
        prop_assert_eq!(bytes(&copy), bytes(&map));
        prop_assert_eq!(map.gaps(), 0);
        prop_assert!(bytes(&map).len() <= 8 + 5 * usize::from(keys));
    }
}

#[test]
fn an_add_wins_over_a_concurrent_remove() {
    let (mut a, mut b) = (Map::new(), Map::new());
    b.merge(&a.insert(1, 10, 0));
    let removed = a.remove(&1);
    let added = b.insert(1, 20, 1);
    a.merge(&added);
    b.merge(&removed);
    assert_eq!(bytes(&a), bytes(&b));
    assert_eq!(a.values(&1).copied().collect::<Vec<_>>(), [20]);
}

#[test]
fn a_remove_of_what_it_has_not_seen_removes_nothing() {
    let (mut a, mut b) = (Map::new(), Map::new());
    let added = a.insert(1, 10, 0);
    let removed = b.remove(&1);
    assert!(removed.is_bottom());
    assert!(!a.merge(&removed));
    b.merge(&added);
    assert_eq!((a.get(&1), b.get(&1)), (Some(&10), Some(&10)));
}

#[test]
fn a_remove_that_arrives_before_its_add_still_removes() {
    let mut a = Map::new();
    let added = a.insert(1, 10, 0);
    let removed = a.remove(&1);
    let late = joined([&removed, &added]);
    assert!(late.is_empty() && !late.is_bottom());
    assert_eq!(bytes(&late), bytes(&a));
}

#[test]
fn concurrent_writes_are_all_there_until_somebody_who_saw_them_writes() {
    let (mut a, mut b) = (Map::new(), Map::new());
    let (from_a, from_b) = (a.insert(1, 10, 0), b.insert(1, 20, 1));
    a.merge(&from_b);
    b.merge(&from_a);
    assert_eq!(a, b);
    assert_eq!(
        a.values(&1).copied().collect::<Vec<_>>(),
        [20, 10],
        "equal counters: the greater actor first"
    );
    let settled = a.insert(1, 30, 0);
    b.merge(&settled);
    assert_eq!(b.values(&1).copied().collect::<Vec<_>>(), [30]);
    assert_eq!(a, b);
}

#[test]
fn a_delta_covers_its_own_dots_and_those_it_replaced_and_no_other() {
    let (mut source, mut other) = (Map::new(), Map::new());
    source.insert(1, 10, 0);
    source.insert(2, 20, 0);
    let delta = source.insert(1, 11, 0);
    assert!(other.merge(&delta));
    assert_eq!(other.get(&2), None);
    assert_eq!(other.gaps(), 1, "the second insert has not been heard of");
    assert!(other.merge(&source), "the second insert was taken for known");
    assert_eq!((other.gaps(), bytes(&other)), (0, bytes(&source)));
}

#[test]
fn clear_leaves_what_was_added_meanwhile() {
    let mut a = Map::new();
    (0..50).for_each(|key| {
        a.insert(key, key, 0);
    });
    let mut b = a.clone();
    let added = b.insert(3, 99, 1);
    let cleared = a.clear();
    assert!(a.is_empty());
    b.merge(&cleared);
    a.merge(&added);
    assert_eq!(bytes(&a), bytes(&b));
    assert_eq!(a.iter().collect::<Vec<_>>(), [(&3, &99)]);
    assert_eq!(bytes(&cleared), [1, 0, 1, 0, 49, 0], "fifty dots of one writer in a row are one range");
}

#[test]
fn equal_maps_fold_alike_and_every_part_of_them_counts() {
    let fold = |map: &OrMap<u64, Bytes, u64>| {
        let mut fold = Fold::default();
        fold.value(map);
        fold.finish()
    };
    let (mut a, mut b) = (OrMap::new(), OrMap::new());
    let from_a = a.insert(1, Bytes::from_static(b"on"), 1);
    let from_b = b.insert(2, Bytes::from_static(b"off"), 2);
    a.merge(&from_b);
    b.merge(&from_a);
    assert_eq!(fold(&a), fold(&b));
    let mut folds = vec![fold(&a), fold(&from_a), fold(&from_b), fold(&OrMap::new())];
    a.remove(&1);
    folds.push(fold(&a));
    b.insert(1, Bytes::from_static(b"on"), 1);
    folds.push(fold(&b));
    folds.sort_unstable();
    folds.dedup();
    assert_eq!(folds.len(), 6, "two different maps fold alike");
}

#[test]
fn what_no_map_encodes_to_is_refused() {
    type Part = (u16, Vec<(u64, u64)>, Vec<(u64, u8, u8)>);
    let decode = |parts: &[Part]| postcard::from_bytes::<Map>(&postcard::to_allocvec(parts).unwrap());
    assert_eq!(decode(&[(1, vec![(0, 1)], vec![(1, 5, 6)])]).unwrap().get(&5), Some(&6));
    let live_but_unseen: Part = (1, vec![(0, 1)], vec![(2, 5, 6)]);
    let nothing_known: Part = (1, vec![], vec![]);
    let beyond: Part = (1, vec![(0, 1)], vec![(0, 5, 6), (u64::MAX, 5, 6)]);
    for part in [live_but_unseen, nothing_known, beyond] {
        assert!(decode(std::slice::from_ref(&part)).is_err(), "{part:?}");
    }
    let part = |actor| (actor, vec![(0, 0)], vec![]);
    assert!(decode(&[part(1), part(2)]).is_ok());
    assert!(decode(&[part(2), part(1)]).is_err() && decode(&[part(1), part(1)]).is_err());
    let lying_length = [0xFF, 0xFF, 0xFF, 0xFF, 0x0F];
    assert!(postcard::from_bytes::<Map>(&lying_length).is_err());
}
