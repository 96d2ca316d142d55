//! Leases come and go under a directory with contested names: what is shown, told and found is what a naive look says.

use super::*;
use crate::registry::update::Record;
use proptest::collection::vec as vec_of;
use proptest::prelude::*;
use std::collections::BTreeMap;

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

fn name_of(name: u8) -> Bytes {
    bytes(&format!("name-{name}"))
}

fn key_of(service: &Service) -> Key {
    (service.owner.0[31], service.name[5] - b'0', service.instance)
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
            naive.leases[usize::from(owner)] = life;
        }
        Step::Life { owner, life } => {
            let number = number(registry, owner);
            registry.drop_set(number, Some(ServiceLoss::Restarted));
            registry.set_version(number, Incarnation(life), 0, 0);
            naive.listed.retain(|(of, ..), _| *of != owner);
            naive.lives[usize::from(owner)] = life;
        }
        Step::Suspect { owner, is_suspected } => registry.suspect(number(registry, owner), is_suspected),
    }
}

/// Follows what is told as a watcher would.
fn follow(registry: &mut Registry, seen: &mut BTreeMap<Key, Service>) -> Result<(), TestCaseError> {
    for news in core::mem::take(&mut registry.news) {
        let key = key_of(news.service().unwrap());
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
    prop_assert_eq!(seen.keys().copied().collect::<Vec<_>>(), all);
    let services: Vec<Service> = seen.values().cloned().collect();
    let mut shown: Vec<Service> = registry.iter().collect();
    shown.sort_unstable_by_key(key_of);
    prop_assert_eq!(shown, services);
    Ok(())
}

proptest! {
    #[test]
    fn whatever_comes_and_goes_what_is_shown_is_what_a_naive_look_says(steps in vec_of(step(), 1..60)) {
        let mut registry = Registry::new(node(ME));
        registry.is_watched = true;
        for owner in 0..OWNERS {
            registry.number_or_new(&node(owner));
        }
        let (mut naive, mut seen) = (Naive::default(), BTreeMap::new());
        for step in &steps {
            take(&mut registry, &mut naive, step);
            registry.lost.clear();
            follow(&mut registry, &mut seen)?;
            check(&registry, &naive, &seen)?;
        }
    }
}
