//! Laws: whatever the order, the repetition and the path of updates, the same state comes of them; any bytes are read.

use super::*;
use crate::registry::update::UpdateError;
use proptest::collection::vec as vec_of;
use proptest::prelude::*;

/// What one step of an owner does: register or withdraw one of a few names.
#[derive(Clone, Debug)]
struct Step {
    name: u8,
    meta: u8,
    is_put: bool,
    ends_update: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0..6_u8, any::<u8>(), prop::bool::weighted(0.7), any::<bool>());
    vec_of(step.prop_map(|(name, meta, is_put, ends_update)| Step { name, meta, is_put, ends_update }), 1..30)
}

/// Lets an owner take steps, and hands out its updates and, after each, its whole set.
fn history(steps: &[Step]) -> (Bench<Registrar>, Vec<Bytes>) {
    let mut owner = Bench::new(Registrar::new(Arc::new(Config::default()), node(1), LIFE));
    let mut updates = Vec::new();
    for step in steps {
        let name = bytes(&format!("name-{}", step.name));
        let meta = Bytes::from(vec![step.meta]);
        owner.call(|machine, cx| {
            if step.is_put {
                machine.register(&name, 0, MailboxId(1), &meta, false, cx).unwrap();
            } else {
                let _ = machine.unregister(&name, 0, cx);
            }
            if step.ends_update {
                machine.flush(cx);
                let own = machine.own();
                updates.push(machine.registry.whole(own, cx.now.mono).to_bytes());
            }
        });
    }
    owner.call(Registrar::flush);
    let own = owner.machine.own();
    updates
        .extend(owner.machine.registry.rows_after(own, 0, Instant::default()).iter().map(Update::to_bytes));
    updates.push(owner.machine.registry.whole(own, Instant::default()).to_bytes());
    (owner, updates)
}

fn reader() -> Bench<Registrar> {
    let mut reader = Bench::new(Registrar::new(Arc::new(Config::default()), node(2), LIFE));
    reader.machine.set_watched(true);
    reader.input(Input::LifeVisible { node: node(1), incarnation: LIFE });
    reader
}

fn encoded(bench: &Bench<Registrar>) -> Bytes {
    let number = bench.machine.registry.number(&node(1)).unwrap();
    Update { age_ms: 0, ..bench.machine.registry.whole(number, Instant::default()) }.to_bytes()
}

proptest! {
    #[test]
    fn any_order_and_repetition_of_updates_gives_the_owners_state(
        steps in steps(),
        order in vec_of(any::<prop::sample::Index>(), 0..60),
    ) {
        let (owner, updates) = history(&steps);
        let mut reader = reader();
        for at in order {
            let payload = at.get(&updates).clone();
            reader.input(update_from(node(1), payload));
        }
        for payload in &updates {
            reader.input(update_from(node(1), payload.clone()));
        }
        prop_assert_eq!(encoded(&reader), encoded(&owner));
        prop_assert_eq!(reader.machine.registry.status(), owner.machine.registry.status());
    }

    #[test]
    fn news_folded_over_nothing_is_the_directory(
        steps in steps(),
        order in vec_of((any::<prop::sample::Index>(), 0..4_u8), 0..60),
    ) {
        let (_, updates) = history(&steps);
        let mut reader = reader();
        let mut seen = std::collections::BTreeMap::new();
        for (at, what) in order {
            let input = match what {
                0 => Input::LifeGone { node: node(1), incarnation: LIFE, reason: ServiceLoss::Dead },
                1 => Input::LifeVisible { node: node(1), incarnation: LIFE },
                _ => update_from(node(1), at.get(&updates).clone()),
            };
            reader.call(|machine, cx| machine.handle(input, cx));
            while let Some(event) = reader.machine.poll_event() {
                let Event::News(news) = event else { continue };
                let key = news.service().unwrap().name.clone();
                match news {
                    News::Registered(it) => prop_assert!(seen.insert(key, it).is_none(), "told twice"),
                    News::Updated(it) => prop_assert_ne!(seen.insert(key, it.clone()), Some(it)),
                    _ => prop_assert!(seen.remove(&key).is_some(), "went twice"),
                }
            }
        }
        let shown: Vec<Service> = reader.machine.registry.prefix(b"").collect();
        prop_assert_eq!(seen.into_values().collect::<Vec<_>>(), shown);
    }

    #[test]
    fn an_update_comes_back_as_it_was_and_the_rest_stays(steps in steps(), rest in vec_of(any::<u8>(), 0..9)) {
        for payload in history(&steps).1 {
            let mut input = Bytes::from([&payload[..], &rest[..]].concat());
            let update = Update::split(&mut input).unwrap();
            prop_assert_eq!(&input[..], &rest[..]);
            prop_assert_eq!(update.to_bytes(), payload);
            let Batch { owner, incarnation, from, to, .. } = *update.batch;
            let again = Batch::of((owner, incarnation), from, to, update.batch.read().unwrap().list);
            prop_assert_eq!((again.hash(), &again), (update.batch.hash(), &*update.batch));
        }
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in vec_of(any::<u8>(), 0..200), steps in steps(), flip in any::<(prop::sample::Index, u8)>()) {
        let mut reader = reader();
        let (at, to) = flip;
        let mut flipped = history(&steps).1.swap_remove(0).to_vec();
        let at = at.index(flipped.len());
        flipped[at] = to;
        for payload in [Bytes::from(bytes), Bytes::from(flipped)] {
            let mut left = payload.clone();
            if Update::split(&mut left).is_err() {
                prop_assert_eq!(&left, &payload, "a refusal moves nothing");
            }
            reader.input(update_from(node(3), payload.clone()));
            let frame = Frame::RegistryUpdates { is_last: true, updates: read(payload) };
            reader.input(Input::Frame { from: node(3), frame });
        }
    }

    #[test]
    fn sessions_among_nodes_that_hold_any_parts_make_them_equal(
        histories in vec_of(steps(), 3),
    ) {
        let mut net = Net::new(6);
        for (number, steps) in (4..=6_u8).zip(&histories) {
            net.loses_changes = true;
            for step in steps {
                let name = format!("name-{}", step.name);
                if step.is_put {
                    net.register(number, &name, &format!("{}", step.meta)).unwrap();
                } else {
                    let _ = net.unregister(number, &name);
                }
            }
            net.run_for(30);
        }
        for (a, b) in [(1, 4), (1, 2), (2, 5), (2, 3), (3, 6)] {
            net.pair(a, b);
        }
        net.run_for(60_000);
        net.assert_equal();
        let roots: Vec<[u64; BUCKETS]> = net.nodes.iter().map(|it| it.machine.registry.buckets).collect();
        prop_assert!(roots.iter().all(|root| *root == roots[0]));
    }
}

#[test]
fn counts_and_lengths_that_lie_cost_nothing() {
    let lying = |from, count, changes| {
        let batch = Batch::new(node(1), LIFE, from, 1, count, changes);
        Update { batch: Arc::new(batch), age_ms: 0 }.to_bytes()
    };
    let from = None;
    let changes = Bytes::from_static(&[1; 8]);
    for count in [3, CHANGES_MAX as u32 + 1, u32::MAX] {
        let update = lying(from, count, changes.clone());
        assert_eq!(Update::split(&mut update.clone()), Err(UpdateError::TooMany));
    }
    assert_eq!(Update::split(&mut lying(Some(2), 0, Bytes::new())), Err(UpdateError::Header));
    let whole = lying(from, 0, changes);
    assert_eq!(Update::split(&mut whole.slice(..whole.len() - 1)), Err(UpdateError::Truncated));
}
