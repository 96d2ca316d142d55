//! Leases come and go under a directory with contested names: what is shown, told and found is what a naive look says.

use super::*;
use crate::registry::update::{Batch, Record};
use proptest::collection::vec as vec_of;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug)]
enum Step {
    Put {
        key: Key,
        age: u64,
        is_unique: bool,
        meta: u8,
        is_refused: bool,
    },
    Remove {
        key: Key,
    },
    /// A life of the owner is known to go on, or none.
    Lease {
        owner: u8,
        life: Option<u64>,
    },
    /// The owner's set is of another life from now on, and empty.
    Life {
        owner: u8,
        life: u64,
    },
    Suspect {
        owner: u8,
        is_suspected: bool,
    },
}

/// Owner, name and instance.
type Key = (u8, u8, u64);

const ME: u8 = 0;
const OWNERS: u8 = 4;

fn step() -> impl Strategy<Value = Step> {
    let key = || (0..OWNERS, 0..3_u8, 0..2_u64);
    let flags = (prop::bool::weighted(0.2), prop::bool::weighted(0.1));
    let put = (key(), 0..5_u64, any::<u8>(), flags);
    let put = put.prop_map(|(key, age, meta, (is_unique, is_refused))| Step::Put {
        key,
        age,
        is_unique,
        meta,
        is_refused,
    });
    let lease = (0..OWNERS, prop::option::weighted(0.7, 1..3_u64))
        .prop_map(|(owner, life)| Step::Lease { owner, life });
    let life = (0..OWNERS, 1..3_u64).prop_map(|(owner, life)| Step::Life { owner, life });
    let suspect =
        (1..OWNERS, any::<bool>()).prop_map(|(owner, is_suspected)| Step::Suspect { owner, is_suspected });
    prop_oneof![6 => put, 2 => key().prop_map(|key| Step::Remove { key }), 4 => lease, 1 => life, 1 => suspect]
}

#[derive(Clone, Debug)]
struct Listed {
    age: u64,
    is_unique: bool,
    is_refused: bool,
}

/// What every owner has said, without an index.
#[derive(Default)]
struct Naive {
    listed: BTreeMap<Key, Listed>,
    lives: [u64; OWNERS as usize],
    leases: [Option<u64>; OWNERS as usize],
    suspected: [bool; OWNERS as usize],
}

impl Naive {
    fn is_visible(&self, owner: u8) -> bool {
        self.leases[usize::from(owner)] == Some(self.lives[usize::from(owner)])
    }

    fn shown(&self, name: u8) -> Vec<Key> {
        let visible = self
            .listed
            .iter()
            .filter(|((owner, of, _), it)| *of == name && !it.is_refused && self.is_visible(*owner));
        let visible: Vec<(&Key, &Listed)> = visible.collect();
        if visible.iter().all(|(_, it)| !it.is_unique) {
            return visible.into_iter().map(|(key, _)| *key).collect();
        }
        let oldest =
            visible.into_iter().min_by_key(|((owner, _, instance), it)| (it.age, node(*owner), *instance));
        oldest.into_iter().map(|(key, _)| *key).collect()
    }
}

/// Names the second and the third one alike as far as hashes tell: one chain holds both.
fn name_of(name: u8) -> Bytes {
    Bytes::copy_from_slice(&if name == 0 { [0; 32] } else { twin(name).0 })
}

fn key_of(service: &Service) -> Key {
    (service.owner.0[31], service.name[8], service.instance)
}

fn record(name: u8, instance: u64, age: u64, is_unique: bool, meta: u8) -> Arc<Record> {
    let name = name_of(name);
    let body = Bytes::from([&name[..], &[meta]].concat());
    Arc::new(Record::new((body, name.len() as u16), instance, MailboxId(1), Stamp(age), is_unique))
}

fn take(registry: &mut Registry, naive: &mut Naive, step: &Step) {
    let number = |registry: &Registry, owner: u8| registry.number(&node(owner)).unwrap();
    match *step {
        Step::Put { key: (owner, name, instance), age, is_unique, meta, is_refused } => {
            let number = number(registry, owner);
            registry.put(number, &record(name, instance, age, is_unique, meta), is_refused);
            naive.listed.insert((owner, name, instance), Listed { age, is_unique, is_refused });
        }
        Step::Remove { key: (owner, name, instance) } => {
            registry.remove(number(registry, owner), hash_bytes(&name_of(name)), (&name_of(name), instance));
            naive.listed.remove(&(owner, name, instance));
        }
        Step::Lease { owner, life } => {
            let number = number(registry, owner);
            match (life, registry.owners[number].lease) {
                (Some(life), _) => registry.begin_life(number, Incarnation(life)),
                (None, Some(lease)) => registry.end_life(number, lease, ServiceLoss::Dead),
                (None, None) => {}
            }
            if naive.leases[usize::from(owner)] != life {
                naive.suspected[usize::from(owner)] = false; // that was another life
            }
            naive.leases[usize::from(owner)] = life;
        }
        Step::Life { owner, life } => {
            let number = number(registry, owner);
            registry.drop_set(number, Some(ServiceLoss::Restarted));
            registry.set_version(number, Incarnation(life), 0, 0);
            naive.listed.retain(|(of, ..), _| *of != owner);
            naive.lives[usize::from(owner)] = life;
        }
        Step::Suspect { owner, is_suspected } => {
            registry.suspect(number(registry, owner), is_suspected);
            if naive.leases[usize::from(owner)].is_some() {
                naive.suspected[usize::from(owner)] = is_suspected;
            }
        }
    }
}

/// Follows what is told as a watcher would. A lease shows a service or hides it, and never both.
fn follow(
    registry: &mut Registry,
    seen: &mut BTreeMap<Key, Service>,
    step: &Step,
) -> Result<(), TestCaseError> {
    let mut told = BTreeSet::new();
    for news in core::mem::take(&mut registry.news) {
        let key = key_of(news.service().unwrap());
        prop_assert!(told.insert(key) || !matches!(step, Step::Lease { .. }), "shown for a moment");
        match news {
            News::Registered(it) => prop_assert!(seen.insert(key, it).is_none(), "told twice"),
            News::Updated(it) => prop_assert!(seen.insert(key, it).is_some(), "changed before it came"),
            _ => prop_assert!(seen.remove(&key).is_some(), "went twice"),
        }
    }
    Ok(())
}

fn check(registry: &Registry, naive: &Naive, seen: &BTreeMap<Key, Service>) -> Result<(), TestCaseError> {
    registry.audit();
    let mut all = Vec::new();
    for name in 0..3 {
        let mut found: Vec<Key> = registry.lookup(&name_of(name)).map(|it| key_of(&it)).collect();
        found.sort_unstable();
        let shown = naive.shown(name);
        prop_assert_eq!(&found, &shown);
        let is_listed = registry.names().any(|other| other == name_of(name));
        prop_assert_eq!(is_listed, !shown.is_empty());
        let ranked = registry.lookup(&name_of(name)).min_by_key(|it| {
            let salt = registry.owner(&it.owner).unwrap().salt;
            (
                it.owner != node(ME),
                it.is_suspected,
                crate::hash::mix(salt ^ it.instance),
                it.owner,
                it.instance,
            )
        });
        prop_assert_eq!(registry.whereis(&name_of(name)), ranked);
        all.extend(shown);
    }
    prop_assert_eq!(registry.len(), all.len());
    all.sort_unstable();
    let mut own: Vec<Key> = all.iter().filter(|(owner, ..)| *owner == ME).copied().collect();
    own.sort_unstable_by_key(|(_, name, instance)| (name_of(*name), *instance));
    prop_assert_eq!(&registry.local().map(|it| key_of(&it)).collect::<Vec<_>>(), &own);
    for name in 0..3 {
        let found: Vec<Key> = registry.lookup_local(&name_of(name)).map(|it| key_of(&it)).collect();
        let named: Vec<Key> = own.iter().filter(|(_, of, _)| *of == name).copied().collect();
        prop_assert_eq!(found, named);
    }
    prop_assert_eq!(seen.keys().copied().collect::<Vec<_>>(), all);
    let services: Vec<Service> = seen.values().cloned().collect();
    let mut shown: Vec<Service> = registry.iter().collect();
    shown.sort_unstable_by_key(key_of);
    let suspected = |it: &Service| it.is_suspected == naive.suspected[usize::from(it.owner.0[31])];
    prop_assert!(shown.iter().all(suspected), "another life was suspected");
    prop_assert_eq!(shown, services);
    Ok(())
}

proptest! {
    #[test]
    fn whatever_comes_and_goes_what_is_shown_is_what_a_naive_look_says(steps in vec_of(step(), 1..60)) {
        let mut registry = Registry::new(node(ME));
        registry.is_watched = true;
        for owner in 0..OWNERS {
            let number = registry.number_or_new(&node(owner));
            registry.set_version(number, Incarnation(1), 0, 0);
        }
        let (mut naive, mut seen) = (Naive::default(), BTreeMap::new());
        naive.lives = [1; OWNERS as usize];
        for step in &steps {
            take(&mut registry, &mut naive, step);
            registry.lost.clear();
            follow(&mut registry, &mut seen, step)?;
            check(&registry, &naive, &seen)?;
        }
    }
}

#[test]
fn a_lease_tells_of_a_set_in_the_order_of_its_keys() {
    let mut registry = Registry::new(node(ME));
    registry.is_watched = true;
    registry.number_or_new(&node(ME));
    let number = registry.number_or_new(&node(1));
    let names: Vec<Bytes> = (0..9).map(|name| bytes(&format!("name-{name}"))).collect();
    for name in &names {
        let record = Record::new((name.clone(), 6), 0, MailboxId(1), Stamp(1), false);
        registry.put(number, &Arc::new(record), false);
    }
    registry.begin_life(number, Incarnation(0));
    registry.end_life(number, Incarnation(0), ServiceLoss::Dead);
    let told = registry.news.iter().map(|news| news.service().unwrap().name.clone());
    assert_eq!(told.collect::<Vec<_>>(), [&names[..], &names[..]].concat());
}

#[test]
fn of_two_that_are_preferred_alike_in_short_the_full_preference_decides() {
    let short = |salt: u64, instance: u64| crate::hash::mix(salt ^ instance) >> 48;
    for is_first in [true, false] {
        let mut registry = Registry::new(node(ME));
        registry.number_or_new(&node(ME));
        let number = registry.number_or_new(&node(1));
        registry.begin_life(number, Incarnation(0));
        let salt = registry.owners[number].salt;
        let alike = (1..).find(|instance| short(salt, *instance) == short(salt, 0)).unwrap();
        for instance in if is_first { [0, alike] } else { [alike, 0] } {
            registry.put(number, &record(0, instance, 1, false, 0), false);
        }
        let preferred = [0, alike].into_iter().min_by_key(|instance| crate::hash::mix(salt ^ instance));
        assert_eq!(registry.whereis(&name_of(0)).map(|it| it.instance), preferred);
    }
}

/// Makes two ids with one hash: where XXH3 multiplies by these bytes' difference from its secret, the next ones count for
/// nothing.
fn twin(number: u8) -> NodeId {
    let mut id = [7; 32];
    id[..8].copy_from_slice(&[0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe]);
    id[8] = number;
    NodeId(id)
}

#[test]
fn owners_whose_ids_have_one_hash_are_told_apart() {
    assert_eq!(hash_bytes(&twin(1).0), hash_bytes(&twin(2).0), "another hash: find other twins");
    let mut registry = Registry::new(node(ME));
    registry.number_or_new(&node(ME));
    let (first, second) = (registry.number_or_new(&twin(1)), registry.number_or_new(&twin(2)));
    assert_ne!(first, second);
    assert_eq!(registry.count_owners(), 3);
    registry.audit();
    for number in [first, second] {
        registry.set_version(number, Incarnation(5), 0, 0); // one name on the relay, too
    }
    for (twin, number) in [(twin(1), first), (twin(2), second)] {
        let batch = Batch::of((twin, Incarnation(5)), None, 1, Vec::new());
        assert_eq!(registry.number_of(&batch), Some(number));
    }
    registry.forget(first);
    assert_eq!((registry.number(&twin(1)), registry.number(&twin(2))), (None, Some(second)));
    let again = registry.number_or_new(&twin(1));
    assert_eq!((registry.number(&twin(1)), registry.number(&twin(2))), (Some(again), Some(second)));
    registry.audit();
    registry.forget(second);
    assert_eq!((registry.number(&twin(1)), registry.number(&twin(2))), (Some(again), None));
    registry.audit();
}
