//! The registry in a node, and what the directory takes in its memory for each registration.

use bytes::Bytes;
use rumormill_core::registry::{Input, Registrar};
use rumormill_core::{
    Boot, Command, CommandError, Config, Cx, Effect, Frame, Hlc, Incarnation, Instant, Machine, MailboxId,
    News, Node, NodeId, Now, Output, Reply, Rng, Stamp, Stats, Token, Wall, Watch,
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

/// What an owner of ten services tells a neighbour, as it comes over the wire; `name` tells each one's name.
fn told(owner: u64, name: impl Fn(u64) -> String) -> Frame {
    let mut clock = Hlc::new(Stamp::ZERO, 1_000);
    let mut registrar = Registrar::new(Arc::new(Config::default()), id(owner), LIFE);
    for service in 0..SERVICES {
        let (name, meta) = (Bytes::from(name(service)), Bytes::from_static(b"zone=a;load=17"));
        call(&mut clock, 0, |cx| registrar.register(&name, owner, MailboxId(9), &meta, false, cx)).unwrap();
    }
    call(&mut clock, 0, |cx| registrar.handle(Input::NeighborUp { peer: id(0) }, cx));
    let sent = call(&mut clock, 100, |cx| {
        registrar.handle_timeout(cx);
        cx.effects.drain(..).find_map(|effect| match effect {
            Effect::Send { frame: frame @ Frame::RegistryRelay(_), .. } => Some(frame),
            _ => None,
        })
    });
    let mut bytes = Vec::new();
    sent.expect("it goes out").encode(&mut bytes);
    rumormill_core::frame::decode(&mut Bytes::from(bytes)).ok().flatten().expect("it was encoded")
}

/// Bytes that a node keeps for each registration of others, beside what arrived: 96 of them are the record, which nodes
/// of one process share and a node of its own has for itself.
fn memory_for_each(name: impl Fn(u64, u64) -> String) -> u64 {
    let frames: Vec<Frame> = (1..=OWNERS).map(|owner| told(owner, |at| name(owner, at))).collect();
    let shared: Vec<Frame> = frames.clone(); // the count of a buffer's references is made for the second one
    let mut clock = Hlc::new(Stamp::ZERO, 1_000);
    let mut kept = None;
    let memory = allocation_counter::measure(|| {
        let mut registrar = Registrar::new(Arc::new(Config::default()), id(0), LIFE);
        for (owner, frame) in (1..=OWNERS).zip(frames) {
            call(&mut clock, 100, |cx| {
                registrar.handle(Input::LifeVisible { node: id(owner), incarnation: LIFE }, cx);
                registrar.handle(Input::Frame { from: id(1), frame }, cx);
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
    assert!(few_names <= 176, "{few_names} bytes for each under ten names");
    assert!(distinct <= 232, "{distinct} bytes for each under names of their own");
}

/// A node alone, whose store answers at once.
struct Alone {
    node: Node,
    now: Now,
}

impl Alone {
    fn new(config: Config) -> Self {
        let now = Now { mono: Instant(0), wall: Wall(1_790_000_000_000) };
        let config = Arc::new(config);
        let boot = Boot { id: id(1), addrs: Vec::new(), config, seed: [1; 32], recovered: Vec::new() };
        let mut alone = Self { node: Node::new(boot, now), now };
        alone.input(rumormill_core::Input::Timeout);
        alone
    }

    fn input(&mut self, input: rumormill_core::Input) -> Vec<rumormill_core::Event> {
        let mut out = Output::default();
        self.node.handle(self.now, input, &mut out);
        let mut events = out.events;
        for effect in out.effects {
            if let Effect::Persist { token, .. } = effect {
                events.extend(self.input(rumormill_core::Input::Persisted { token }));
            }
        }
        self.node.audit();
        events
    }

    fn command(&mut self, token: u64, command: Command) -> Vec<rumormill_core::Event> {
        self.input(rumormill_core::Input::Command { token: Token(token), command })
    }
}

fn register(name: &'static str) -> Command {
    let (name, meta) = (Bytes::from_static(name.as_bytes()), Bytes::from_static(b"meta"));
    Command::Register { name, instance: 0, mailbox: MailboxId(0), meta, is_unique: false }
}

fn done(token: u64, result: Result<Reply, CommandError>) -> rumormill_core::Event {
    rumormill_core::Event::Done { token: Token(token), result }
}

#[test]
fn a_node_registers_watches_and_withdraws() {
    use rumormill_core::Event::Watched;
    let mut alone = Alone::new(Config { members: true, registry: true, ..Config::default() });
    assert_eq!(alone.command(1, register("room/red")), [done(1, Ok(Reply::Ok))]);
    let red = alone.node.registry().and_then(|it| it.whereis(b"room/red")).expect("it is there");
    let prefix = Bytes::from_static(b"room/");
    let begun = alone.command(2, Command::Watch { what: Watch::Services { prefix } });
    let snapshot = News::Services(vec![red.clone()]);
    assert_eq!(begun, [done(2, Ok(Reply::Ok)), Watched { watch: Token(2), news: snapshot }]);
    assert_eq!(alone.command(3, register("other")), [done(3, Ok(Reply::Ok))], "not what is watched");
    let withdraw = Command::Unregister { name: red.name.clone(), instance: 0 };
    let gone = Watched { watch: Token(2), news: News::Unregistered(red) };
    assert_eq!(alone.command(4, withdraw.clone()), [done(4, Ok(Reply::Ok)), gone]);
    assert_eq!(alone.command(5, Command::Unwatch { watch: Token(2) }), [done(5, Ok(Reply::Ok))]);
    assert_eq!(alone.command(6, withdraw), [done(6, Err(CommandError::NoSuchService))]);
    assert_eq!(alone.command(7, register("room/red")), [done(7, Ok(Reply::Ok))]);
    assert_eq!(alone.node.status().registry.map(|it| it.count), Some(2));
}

#[test]
fn a_node_without_a_registry_says_so() {
    let mut alone = Alone::new(Config::default());
    assert_eq!(alone.command(1, register("a")), [done(1, Err(CommandError::Disabled))]);
    let watch = Command::Watch { what: Watch::Services { prefix: Bytes::new() } };
    assert_eq!(alone.command(2, watch), [done(2, Err(CommandError::Disabled))]);
    assert!(alone.node.registry().is_none() && alone.node.status().registry.is_none());
}
