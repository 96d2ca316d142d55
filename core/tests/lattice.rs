//! The laws of counters and registers, on encoded states, and what their values mean.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use rumormill_core::{
    GCounter, Lattice, LwwRegister, MaxRegister, NodeId, PnCounter, Stamp, Version, Writer,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

fn bytes(value: &impl Serialize) -> Vec<u8> {
    postcard::to_allocvec(value).unwrap()
}

fn joined<L: Lattice + Clone + Serialize>(one: &L, other: &L) -> L {
    let mut joined = one.clone();
    let changed = joined.join(other);
    assert_eq!(changed, bytes(&joined) != bytes(one), "a join misreported whether it changed the value");
    joined
}

fn laws_hold<L>(a: &L, b: &L, c: &L) -> Result<(), TestCaseError>
where
    L: Lattice + Clone + Serialize + DeserializeOwned + PartialEq + Debug,
{
    prop_assert_eq!(bytes(&joined(a, b)), bytes(&joined(b, a)), "not commutative");
    prop_assert_eq!(bytes(&joined(&joined(a, b), c)), bytes(&joined(a, &joined(b, c))), "not associative");
    prop_assert_eq!(bytes(&joined(a, a)), bytes(a), "not idempotent");
    prop_assert_eq!(&postcard::from_bytes::<L>(&bytes(a)).unwrap(), a, "not decoded to itself");
    Ok(())
}

fn counter() -> impl Strategy<Value = GCounter<u8>> {
    let part = prop_oneof![0_u64..5, Just(u64::MAX)];
    btree_map(0_u8..5, part, 0..5).prop_map(|parts| {
        let mut counter = GCounter::new();
        parts.into_iter().for_each(|(actor, amount)| {
            counter.add(actor, amount);
        });
        counter
    })
}

fn pn_counter() -> impl Strategy<Value = PnCounter<u8>> {
    let amount = prop_oneof![-5_i64..5, Just(i64::MIN), Just(i64::MAX)];
    vec((0_u8..4, amount), 0..8).prop_map(|steps| {
        let mut counter = PnCounter::new();
        steps.into_iter().for_each(|(actor, amount)| {
            counter.add(actor, amount);
        });
        counter
    })
}

fn version(stamp: u64, node: u8) -> Version {
    Version { stamp: Stamp(stamp), writer: Writer { node: NodeId([node; 32]), epoch: 1 } }
}

/// Also two values of one version, as only a writer that exists twice makes.
fn register() -> impl Strategy<Value = LwwRegister<u8>> {
    (0_u64..3, 0_u8..2, 0_u8..3)
        .prop_map(|(stamp, node, value)| LwwRegister::new(value, version(stamp, node)))
}

proptest! {
    #[test]
    fn counters_obey_the_laws(a in counter(), b in counter(), c in counter()) {
        laws_hold(&a, &b, &c)?;
    }

    #[test]
    fn counters_that_go_down_obey_the_laws(a in pn_counter(), b in pn_counter(), c in pn_counter()) {
        laws_hold(&a, &b, &c)?;
    }

    #[test]
    fn registers_obey_the_laws(a in register(), b in register(), c in register(), max in any::<[u8; 3]>()) {
        laws_hold(&a, &b, &c)?;
        let [x, y, z] = max.map(MaxRegister::new);
        laws_hold(&x, &y, &z)?;
        prop_assert_eq!(*joined(&x, &y).value(), max[0].max(max[1]));
    }

    #[test]
    fn deltas_in_any_order_and_twice_count_everything_once(
        steps in vec((0_usize..3, -1000_i64..1000), 0..40).prop_flat_map(|steps| {
            let order = Just((0..steps.len()).collect::<Vec<_>>()).prop_shuffle();
            (Just(steps), order)
        }),
    ) {
        let (steps, order) = steps;
        let mut replicas: [PnCounter<usize>; 3] = Default::default();
        let deltas: Vec<_> = steps.iter().map(|(at, amount)| replicas[*at].add(*at, *amount)).collect();
        let mut counted = PnCounter::new();
        order.iter().chain(&order).for_each(|n| { counted.join(&deltas[*n]); });
        prop_assert_eq!(counted.value(), steps.iter().map(|(_, amount)| i128::from(*amount)).sum::<i128>());
        let whole = replicas.iter().fold(PnCounter::new(), |whole, replica| joined(&whole, replica));
        prop_assert_eq!(bytes(&whole), bytes(&counted));
    }
}

#[test]
fn a_part_of_a_counter_ends_at_its_bound_and_the_sum_does_not() {
    let mut counter = GCounter::new();
    counter.add(1_u8, u64::MAX);
    counter.add(1, 5);
    counter.add(2, u64::MAX);
    assert_eq!(counter.value(), 2 * u128::from(u64::MAX));
}

#[test]
fn adding_nothing_says_nothing() {
    let mut counter = PnCounter::<u8>::new();
    assert_eq!((counter.add(1, 0), &counter), (PnCounter::new(), &PnCounter::new()));
}

#[test]
fn a_register_takes_only_what_is_newer() {
    let mut register = LwwRegister::new('a', version(5, 1));
    assert!(!register.set('z', version(4, 9)));
    assert!(!register.set('a', version(5, 1)));
    assert!(register.set('b', version(5, 2)), "equal stamps: the greater writer");
    assert_eq!((*register.value(), register.version()), ('b', version(5, 2)));
    assert!(register.set('c', version(5, 2)), "one version twice: the greater value, as in a join");
    assert!(!register.set('b', version(5, 2)));
    let mut highest = MaxRegister::new(3);
    assert!(highest.raise(4) && !highest.raise(4) && !highest.raise(1));
    assert_eq!(*highest.value(), 4);
}

#[test]
fn parts_that_no_counter_encodes_to_are_refused() {
    let decode = |parts: &[(u8, u64)]| postcard::from_bytes::<GCounter<u8>>(&bytes(&parts));
    assert_eq!(decode(&[(1, 2), (3, 4)]).unwrap().value(), 6);
    assert!(
        decode(&[(3, 4), (1, 2)]).is_err()
            && decode(&[(1, 2), (1, 2)]).is_err()
            && decode(&[(1, 0)]).is_err()
    );
}
