//! What the directory takes in a node's memory, for each registration it holds.

use bytes::Bytes;
use rumormill_core::registry::{Event, Input, Registrar};
use rumormill_core::{
    Config, Cx, Effect, Hlc, Incarnation, Instant, Machine, MailboxId, NodeId, Now, Rng, Stamp, Stats, Wall,
};
use std::sync::Arc;

const OWNERS: u64 = 1_000;
const SERVICES: u64 = 10;
const LIFE: Incarnation = Incarnation(1);

/// Calls a machine at some time, and drops the effects.
fn call<R>(clock: &mut Hlc, ms: u64, call: impl FnOnce(&mut Cx<'_>) -> R) -> R {
    let (mut rng, mut stats, mut effects) = (Rng::new([1; 32]), Stats::default(), Vec::<Effect>::new());
    let now = Now { mono: Instant::from_millis(ms), wall: Wall(1_790_000_000_000 + ms) };
    call(&mut Cx { now, rng: &mut rng, clock, stats: &mut stats, effects: &mut effects })
}

fn id(number: u64) -> NodeId {
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
    NodeId(bytes)
}

/// What an owner of ten services broadcasts; `name` tells each one's name.
fn payload(owner: u64, name: impl Fn(u64) -> String) -> Bytes {
    let mut clock = Hlc::new(Stamp::ZERO, 1_000);
    let mut registrar = Registrar::new(Arc::new(Config::default()), id(owner), LIFE);
    for service in 0..SERVICES {
        let (name, meta) = (Bytes::from(name(service)), Bytes::from_static(b"zone=a;load=17"));
        call(&mut clock, 0, |cx| registrar.register(&name, owner, MailboxId(9), &meta, false, cx)).unwrap();
    }
    call(&mut clock, 100, |cx| registrar.handle_timeout(cx));
    let Some(Event::Publish { payload, .. }) = registrar.poll_event() else { panic!("nothing goes out") };
    assert_eq!(registrar.poll_event(), None);
    payload
}

/// Bytes that a node keeps for each registration of others, beside what arrived.
fn memory_for_each(name: impl Fn(u64, u64) -> String) -> u64 {
    let payloads: Vec<Bytes> = (1..=OWNERS).map(|owner| payload(owner, |at| name(owner, at))).collect();
    let shared: Vec<Bytes> = payloads.clone(); // the count of a buffer's references is made for the second one
    let mut clock = Hlc::new(Stamp::ZERO, 1_000);
    let mut kept = None;
    let memory = allocation_counter::measure(|| {
        let mut registrar = Registrar::new(Arc::new(Config::default()), id(0), LIFE);
        for (owner, payload) in (1..=OWNERS).zip(payloads) {
            call(&mut clock, 100, |cx| {
                registrar.handle(Input::LifeVisible { node: id(owner), incarnation: LIFE }, cx);
                registrar.handle(Input::Update { from: id(1), payload }, cx);
            });
        }
        kept = Some(registrar);
    });
    assert_eq!(kept.expect("the closure ran").registry().len() as u64, OWNERS * SERVICES);
    drop(shared);
    u64::try_from(memory.bytes_current).expect("it takes memory") / (OWNERS * SERVICES)
}

#[test]
fn a_registration_takes_little_memory_beside_its_bytes() {
    let few_names = memory_for_each(|_, at| format!("service/{at}"));
    let distinct = memory_for_each(|owner, at| format!("room/{owner}/{at}"));
    assert!(few_names <= 120, "{few_names} bytes for each under ten names");
    assert!(distinct <= 176, "{distinct} bytes for each under names of their own");
}
