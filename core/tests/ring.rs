//! The laws of the ring: a function of its members, minimal movement, fair shares, and vectors that never change.

use proptest::collection::vec;
use proptest::prelude::*;
use rumormill_core::hash::{hash_bytes_seeded, mix};
use rumormill_core::ring::{MEMBERS_MAX, PARTITIONS_MAX, RANKED, RING_SEED, WEIGHT_MAX};
use rumormill_core::{NodeId, Ring, RingError};
use std::collections::{BTreeMap, BTreeSet};

fn id(n: u64) -> NodeId {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&n.to_le_bytes());
    NodeId(bytes)
}

fn ring(partitions: u32, members: impl IntoIterator<Item = (u64, u8)>) -> Ring {
    let mut ring = Ring::new(partitions).unwrap();
    members.into_iter().for_each(|(n, weight)| assert_eq!(ring.insert(id(n), weight, 0), Ok(true)));
    ring
}

/// The formula of the module's documentation, written again: all members of a partition, best first.
fn ranked_naively(members: &BTreeMap<NodeId, u8>, partition: u32) -> Vec<NodeId> {
    let splitmix64 = |word: u64| mix(word.wrapping_add(0x9E37_79B9_7F4A_7C15));
    let score = |id: &NodeId, weight: u8| {
        let node = hash_bytes_seeded(&id.0, RING_SEED);
        let spread = u64::from(partition).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        (0..weight).map(|lane| splitmix64(node ^ mix(u64::from(lane)) ^ spread)).max().unwrap()
    };
    let mut scored: Vec<_> = members.iter().map(|(id, weight)| (score(id, *weight), *id)).collect();
    scored.sort_unstable_by(|a, b| b.cmp(a));
    scored.into_iter().map(|(_, id)| id).collect()
}

/// A key for each partition.
fn keys(ring: &Ring) -> BTreeMap<u32, Vec<u8>> {
    let mut keys = BTreeMap::new();
    let mut n = 0_u64;
    while keys.len() < ring.partitions() as usize {
        let key = n.to_le_bytes().to_vec();
        keys.entry(ring.partition(&key)).or_insert(key);
        n += 1;
    }
    keys
}

fn owners(ring: &Ring) -> Vec<Option<NodeId>> {
    (0..ring.partitions()).map(|partition| ring.owner_of(partition)).collect()
}

/// Members from a small pool, so that inserts, weight changes and removes meet.
fn changes() -> impl Strategy<Value = Vec<(u64, u8)>> {
    vec((0_u64..14, 0_u8..=5), 0..60)
}

/// Applies changes to a ring and to a plain map; weight zero removes.
fn apply(ring: &mut Ring, members: &mut BTreeMap<NodeId, u8>, changes: &[(u64, u8)]) {
    for (n, weight) in changes {
        if *weight == 0 {
            assert_eq!(ring.remove(&id(*n)), members.remove(&id(*n)).is_some());
        } else {
            let changed = members.insert(id(*n), *weight) != Some(*weight);
            assert_eq!(ring.insert(id(*n), *weight, 0), Ok(changed));
        }
    }
}

proptest! {
    #[test]
    fn the_table_is_what_the_formula_says_after_any_changes(changes in changes(), partitions in 1_u32..40) {
        let (mut ring, mut members) = (Ring::new(partitions).unwrap(), BTreeMap::new());
        apply(&mut ring, &mut members, &changes);
        prop_assert!(ring.members().eq(members.iter().map(|(id, weight)| (*id, *weight))));
        prop_assert_eq!(ring.len(), members.len());
        for (partition, key) in keys(&ring) {
            let expected = ranked_naively(&members, partition);
            prop_assert_eq!(ring.owner_of(partition), expected.first().copied());
            prop_assert_eq!(ring.place(&key), expected.first().copied());
            for count in 0..=members.len() + 1 {
                prop_assert_eq!(ring.owners(&key, count), &expected[..count.min(members.len())]);
            }
            prop_assert!((0..14).all(|n| ring.is_owner(&key, &id(n)) == (expected.first() == Some(&id(n)))));
        }
        prop_assert_eq!(ring.owner_of(partitions), None);
    }

    #[test]
    fn the_order_in_which_members_came_does_not_matter(
        members in vec((0_u64..1000, 1_u8..=3), 0..20).prop_map(BTreeMap::from_iter)
            .prop_flat_map(|m: BTreeMap<u64, u8>| (Just(m.clone()), Just(Vec::from_iter(m)).prop_shuffle())),
    ) {
        let (sorted, shuffled) = (ring(64, members.0), ring(64, members.1));
        prop_assert_eq!(owners(&sorted), owners(&shuffled));
        prop_assert_eq!(sorted, shuffled);
    }

    #[test]
    fn a_change_moves_partitions_only_to_or_from_its_member(
        members in vec((0_u64..1000, 1_u8..=4), 0..20).prop_map(BTreeMap::from_iter),
        changed in 0_u64..1000, from in 0_u8..=4, to in 0_u8..=4,
    ) {
        let mut members: BTreeMap<u64, u8> = members;
        members.remove(&changed);
        let with = |weight: u8| ring(128, members.clone().into_iter().chain((weight > 0).then_some((changed, weight))));
        let (before, after) = (owners(&with(from)), owners(&with(to)));
        for (old, new) in before.iter().zip(&after).filter(|(old, new)| old != new) {
            let (winner, loser) = if to > from { (new, old) } else { (old, new) };
            prop_assert_eq!(*winner, Some(id(changed)), "a partition moved between two others");
            prop_assert_ne!(*loser, Some(id(changed)));
        }
    }

    #[test]
    fn twice_the_partitions_split_each_in_two(key in vec(any::<u8>(), 0..40), partitions in 1_u32..=PARTITIONS_MAX / 2) {
        let (coarse, fine) = (Ring::new(partitions).unwrap(), Ring::new(partitions * 2).unwrap());
        prop_assert_eq!(fine.partition(&key) / 2, coarse.partition(&key));
        prop_assert!(coarse.partition(&key) < partitions);
    }
}

proptest! {
    #[test]
    fn owners_stand_in_different_zones_first_and_in_their_order(
        zones in vec(0_u64..4, 0..12), moved in vec((0_usize..12, 0_u64..4), 0..6), key in vec(any::<u8>(), 0..9),
    ) {
        let mut zones = zones;
        let mut ring = Ring::new(16).unwrap();
        let insert = |ring: &mut Ring, n: usize, zone| ring.insert(id(n as u64), 1, zone).unwrap();
        zones.iter().enumerate().for_each(|(n, zone)| assert!(insert(&mut ring, n, *zone)));
        for (n, zone) in moved.into_iter().filter(|(n, _)| *n < zones.len()).collect::<Vec<_>>() {
            prop_assert_eq!(insert(&mut ring, n, zone), zones[n] != zone);
            zones[n] = zone;
        }
        let members = (0..zones.len()).map(|n| (id(n as u64), 1)).collect();
        let order = ranked_naively(&members, ring.partition(&key));
        let zone_of = |id: &NodeId| zones[id.prefix() as usize];
        let mut taken = BTreeSet::new();
        let (mut first, mut rest) = (Vec::new(), Vec::new());
        for id in order {
            let is_new = zone_of(&id) == 0 || taken.insert(zone_of(&id));
            if is_new { first.push(id) } else { rest.push(id) }
        }
        let expected = [first, rest].concat();
        for count in 0..=zones.len() + 1 {
            let owners = ring.owners(&key, count);
            prop_assert_eq!(&owners[..], &expected[..count.min(zones.len())]);
            prop_assert_eq!(owners.first().copied(), ring.place(&key).filter(|_| count > 0));
        }
    }
}

#[test]
fn zones_spread_the_same_on_every_machine_and_for_ever() {
    let mut ring = Ring::new(1024).unwrap();
    (0..100).for_each(|n| assert_eq!(ring.insert(id(n), 1 + (n % 3) as u8, n % 4), Ok(true)));
    let owners = |key: &[u8], count| ring.owners(key, count).iter().map(NodeId::prefix).collect::<Vec<_>>();
    let golden: [(&[u8], Vec<u64>); 3] = [
        (b"", vec![97, 94, 7, 88]),
        (b"rumormill", vec![56, 21, 14, 43]),
        (b"lamp/kitchen", vec![92, 16, 67, 85]),
    ];
    let found = golden.clone().map(|(key, _)| (key, owners(key, 4)));
    assert_eq!(found, golden, "a changed placement splits every cluster");
}

#[test]
fn placement_is_the_same_on_every_machine_and_for_ever() {
    let ring = ring(1024, (0..100).map(|n| (n, 1 + (n % 3) as u8)));
    let keys: [&[u8]; 6] = [b"", b"a", b"rumormill", b"lamp/kitchen", &[0; 64], &[0xFF; 300]];
    let placed = keys.map(|key| {
        let owners = ring.owners(key, 3);
        (ring.partition(key), owners.iter().map(NodeId::prefix).collect::<Vec<_>>())
    });
    let golden: [(u32, [u64; 3]); 6] = [
        (560, [97, 94, 25]),
        (534, [45, 59, 23]),
        (590, [56, 21, 14]),
        (900, [92, 16, 67]),
        (894, [55, 76, 74]),
        (31, [31, 23, 18]),
    ];
    assert_eq!(
        placed,
        golden.map(|(p, owners)| (p, owners.to_vec())),
        "a changed placement splits every cluster"
    );
    let table = (0..1024).fold(0_u64, |hash, p| mix(hash ^ ring.owner_of(p).unwrap().prefix()));
    assert_eq!(table, 0xF6D7_3123_BC11_6383, "{table:#018x}");
}

#[test]
fn a_member_owns_in_proportion_to_its_weight() {
    let ring = ring(PARTITIONS_MAX, [(1, 1), (2, 2), (3, 5), (4, 8)]);
    let mut owned = BTreeMap::new();
    owners(&ring).into_iter().flatten().for_each(|owner| *owned.entry(owner).or_insert(0_u32) += 1);
    for (n, weight) in [(1, 1), (2, 2), (3, 5), (4, 8)] {
        let expected = PARTITIONS_MAX / 16 * weight;
        let off = owned[&id(n)].abs_diff(expected);
        assert!(off * 20 < expected, "weight {weight} owns {}, expected about {expected}", owned[&id(n)]);
    }
}

#[test]
fn a_thousand_equal_members_share_evenly() {
    let ring = ring(PARTITIONS_MAX, (0..1000).map(|n| (n, 1)));
    let mut owned = BTreeMap::new();
    owners(&ring).into_iter().flatten().for_each(|owner| *owned.entry(owner).or_insert(0_u32) += 1);
    assert_eq!(owned.len(), 1000, "a member owns nothing");
    let (least, most) = (owned.values().min().unwrap(), owned.values().max().unwrap());
    assert!((30..=65).contains(least) && (66..=105).contains(most), "{least} to {most}, mean 65.5");
}

#[test]
fn an_empty_ring_places_nothing() {
    let mut ring = Ring::new(8).unwrap();
    assert!(ring.is_empty());
    assert_eq!((ring.place(b"key"), ring.owner_of(0), ring.owners(b"key", 9)), (None, None, vec![]));
    ring.insert(id(1), 1, 0).unwrap();
    assert_eq!(ring.place(b"key"), Some(id(1)));
    assert!(ring.remove(&id(1)));
    assert!(!ring.remove(&id(1)));
    assert_eq!(ring.place(b"key"), None);
}

#[test]
fn what_is_out_of_bounds_is_refused_and_changes_nothing() {
    assert_eq!(Ring::new(0), Err(RingError::Partitions { partitions: 0 }));
    assert_eq!(Ring::new(PARTITIONS_MAX + 1), Err(RingError::Partitions { partitions: PARTITIONS_MAX + 1 }));
    let mut ring = ring(16, [(1, 2), (2, 1)]);
    let before = ring.clone();
    assert_eq!(ring.insert(id(1), 0, 0), Err(RingError::Weight { weight: 0 }));
    assert_eq!(ring.insert(id(3), WEIGHT_MAX + 1, 0), Err(RingError::Weight { weight: WEIGHT_MAX + 1 }));
    assert_eq!(ring.insert(id(1), 2, 0), Ok(false));
    assert_eq!(ring, before);
    assert_eq!(ring.insert(id(1), WEIGHT_MAX, 0), Ok(true));
}

#[test]
fn a_full_ring_takes_nobody_but_still_changes_weights() {
    let mut ring = ring(1, (0..MEMBERS_MAX as u64).map(|n| (n, 1)));
    assert_eq!(ring.insert(id(u64::MAX), 1, 0), Err(RingError::Full));
    assert_eq!(ring.len(), MEMBERS_MAX);
    assert_eq!(ring.insert(id(7), 2, 0), Ok(true));
    let owners = ring.owners(b"", RANKED + 1);
    assert_eq!(owners.iter().collect::<BTreeSet<_>>().len(), RANKED + 1);
}
