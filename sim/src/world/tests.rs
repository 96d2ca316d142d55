//! Worlds of real nodes, and worlds of the toy below where a fact is about the engine alone.

use super::*;
use crate::schedule::{LatencyModel, NetworkModel, Profile, Step};
use rumormill_core::{
    Class, Config, Contact, Dialer, DownReason, Durability, Event, Instant, Now, Row, Space, Topic,
};

const MILLI: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLI;

fn network(profile: Profile) -> NetworkModel {
    NetworkModel {
        profile,
        latency: LatencyModel::Uniform(10 * MILLI, 50 * MILLI),
        loss_ppm: 0,
        uplink_bps: 0,
        idle_timeout_ns: 10 * SECOND,
        handshake_timeout_ns: 5 * SECOND,
        high_water_bytes: 1 << 20,
        disk_ns: 2 * MILLI,
    }
}

fn at(at_ms: u64, action: Action) -> Step {
    Step { at_ns: at_ms * MILLI, action }
}

fn command(node: u32, command: Command) -> Action {
    Action::Command { node, command: Order::Core(command) }
}

fn join(node: u32, contacts: &[u32]) -> Action {
    Action::Command { node, command: Order::Join { contacts: contacts.to_vec() } }
}

fn publish(topic: u32) -> Command {
    Command::Publish { topic: Topic(topic), class: Class::Normal, payload: Bytes::from_static(b"news") }
}

fn schedule(nodes: u32, mut steps: Vec<Step>, end_ms: u64) -> Schedule {
    steps.sort_by_key(|step| step.at_ns);
    let (config, network) = (Arc::new(Config::default()), network(Profile::Quic));
    Schedule {
        nodes,
        config,
        configs: Vec::new(),
        network,
        clocks: Vec::new(),
        steps,
        bootstrap_end_ns: 0,
        end_ns: end_ms * MILLI,
    }
}

// --- worlds of real nodes

/// Two clusters of `half` nodes that know nothing of each other; every fourth node publishes at 5 s.
fn two_clusters(half: u32) -> Vec<Step> {
    let mut steps = Vec::new();
    for node in 0..2 * half {
        let first = node / half * half;
        let at_ms = u64::from(node) * 5;
        steps.push(at(at_ms, Action::Start { node }));
        steps.push(at(at_ms, if node == first { join(node, &[]) } else { join(node, &[first]) }));
        steps.push(at(at_ms, command(node, Command::Subscribe { topic: Topic(7) })));
        if node % 4 == 0 {
            steps.push(at(5_000 + u64::from(node), command(node, publish(7))));
        }
    }
    steps
}

/// The same with every kind of fault.
fn troubled() -> Schedule {
    let mut steps = two_clusters(12);
    let (disk, group) = (DiskFate::Kept, (0..24).map(|node| (node % 12 / 6) as u8).collect());
    let lasting = [
        FaultEffect::Cut { group, blocked: vec![(0, 1), (1, 0)] },
        FaultEffect::Noise {
            nodes: vec![],
            egress: false,
            loss_ppm: 50_000,
            duplicate_ppm: 20_000,
            reorder_ppm: 20_000,
        },
        FaultEffect::Delay { nodes: vec![1, 2], extra_ns: 30 * MILLI },
        FaultEffect::Pause { nodes: vec![3, 4] },
        FaultEffect::Slow { nodes: vec![5], per_input_ns: 3 * MILLI },
        FaultEffect::Clock(vec![ClockChange { node: 6, offset_ms: 900, drift_ppm: 70_000, frozen: false }]),
    ];
    for (fault, effect) in (0..).zip(lasting) {
        let at_ms = 4_900 + u64::from(fault) * 400;
        steps.push(at(at_ms, Action::Begin { fault, effect }));
        steps.push(at(at_ms + 2_000, Action::End { fault }));
    }
    steps.push(at(6_000, Action::Crash { fault: 6, node: 7, disk }));
    steps.push(at(8_000, Action::Restart { fault: 6, node: 7, contacts: vec![0] }));
    steps.extend((0..24).map(|node| at(9_000 + u64::from(node), command(node, publish(7)))));
    let mut schedule = schedule(24, steps, 15_000);
    schedule.network.loss_ppm = 10_000;
    schedule
}

const CHECKED: Options = Options { wire: false, check: true, checkpoint_every_ns: SECOND };

fn world(schedule: Schedule, options: Options) -> World {
    World::new(Arc::new(schedule), Seed::from(42), options, |_| ())
}

fn finished(schedule: Schedule, options: Options) -> World {
    let mut world = world(schedule, options);
    world.run(&mut ());
    world
}

#[test]
fn a_cluster_comes_together_and_hears_every_message() {
    let mut world = world(schedule(24, two_clusters(12), 10_000), CHECKED);
    let mut heard = [0; 24];
    world.run(&mut |seen: &Observation<'_>| {
        if let Observed::Event(Event::Message { .. }) = seen.what {
            heard[seen.node as usize] += 1;
        }
    });
    assert_eq!(heard, [3; 24]);
    assert_eq!(world.counters().passed_by, 0);
}

#[test]
fn one_seed_is_one_world_and_another_is_another() {
    let one = finished(troubled(), CHECKED);
    let again = finished(troubled(), CHECKED);
    assert_eq!(one.checkpoints(), again.checkpoints());
    assert_eq!((one.hash(), one.counters()), (again.hash(), again.counters()));
    let mut other: World = World::new(Arc::new(troubled()), Seed::from(43), CHECKED, |_| ());
    other.run(&mut ());
    assert_ne!(one.hash(), other.hash());
}

#[test]
fn another_queue_is_the_same_world() {
    let calendar = finished(troubled(), CHECKED);
    let schedule = Arc::new(troubled());
    let mut sorted: World = World::with_queue(schedule, Seed::from(42), CHECKED, |_| (), Queue::sorted());
    sorted.run(&mut ());
    assert_eq!(calendar.checkpoints(), sorted.checkpoints());
    assert_eq!(calendar.hash(), sorted.hash());
}

#[test]
fn frames_through_the_wire_are_the_same_world() {
    let typed = finished(troubled(), CHECKED);
    let wired = finished(troubled(), Options { wire: true, ..Options::default() });
    assert_eq!((typed.hash(), typed.counters()), (wired.hash(), wired.counters()));
}

#[test]
fn a_clone_continues_to_the_same_hash() {
    let mut world = world(troubled(), CHECKED);
    world.run_until(6_500 * MILLI, &mut ());
    let mut clone = world.clone();
    world.run(&mut ());
    clone.run(&mut ());
    assert_eq!((world.hash(), world.counters()), (clone.hash(), clone.counters()));
    assert_eq!(world.checkpoints(), clone.checkpoints());
    assert_eq!(world.hash(), finished(troubled(), CHECKED).hash(), "to stop on the way changes nothing");
}

#[test]
fn without_one_step_whoever_has_nothing_to_do_with_it_lives_the_same_life() {
    let whole = finished(troubled(), CHECKED);
    let mut schedule = troubled();
    let publishes = |step: &Step| {
        matches!(step.action, Action::Command { node: 0, command: Order::Core(Command::Publish { .. }) })
    };
    let dropped = schedule.steps.iter().position(publishes).expect("node 0 publishes");
    schedule.steps.remove(dropped);
    let without = finished(schedule, CHECKED);
    let hash = |world: &World, node| world.process(node).map(Process::trace_hash);
    let changed: Vec<u32> = (0..24).filter(|node| hash(&whole, *node) != hash(&without, *node)).collect();
    assert_eq!(
        changed,
        (0..12).collect::<Vec<_>>(),
        "all of the first cluster heard of it, none of the second"
    );
}

#[test]
fn every_fault_leaves_a_receipt() {
    let world = finished(troubled(), CHECKED);
    for (fault, receipt) in world.receipts() {
        assert!(!receipt.is_empty(), "fault {fault} touched nothing");
        assert!(receipt.nodes > 0, "fault {fault} touched no node: {receipt:?}");
    }
    assert_eq!(world.receipts().count(), 7);
}

#[test]
fn a_fault_that_comes_when_nobody_runs_has_an_empty_receipt() {
    let effect = FaultEffect::Noise {
        nodes: vec![],
        egress: false,
        loss_ppm: 1_000_000,
        duplicate_ppm: 0,
        reorder_ppm: 0,
    };
    let steps = vec![at(0, Action::Begin { fault: 0, effect }), at(1_000, Action::End { fault: 0 })];
    let world = finished(schedule(4, steps, 2_000), CHECKED);
    assert!(world.receipts().all(|(_, receipt)| receipt.is_empty()));
}

#[test]
fn a_restarted_node_comes_back_in_a_later_life() {
    let mut world = world(troubled(), CHECKED);
    let (mut lives, id) = (Vec::new(), world.id(7));
    world.run(&mut |seen: &Observation<'_>| {
        if let (7, Observed::Started { contact }) = (seen.node, seen.what) {
            assert_eq!(contact.id(), id);
            lives.push(contact.incarnation());
        }
    });
    assert!(lives.len() == 2 && lives[0] < lives[1], "{lives:?}");
    assert!(world.status(7).is_some_and(|status| status.joined && !status.active.is_empty()));
}

#[test]
fn checkpoints_stand_at_every_multiple_of_their_interval() {
    let world = finished(schedule(24, two_clusters(12), 10_000), CHECKED);
    let times: Vec<u64> = world.checkpoints().iter().map(|checkpoint| checkpoint.at_ns / SECOND).collect();
    assert_eq!(times, (1..=10).collect::<Vec<_>>());
    assert_eq!(world.now_ns(), 10 * SECOND);
}

// --- an application

/// Publishes once when its node has booted, and answers every message that it hears from others once.
#[derive(Clone, Debug, Default)]
struct Echo {
    answered: bool,
    heard: u32,
    woken: Option<Instant>,
}

impl App for Echo {
    fn on_start(&mut self, cx: &mut AppCx<'_>) {
        cx.commands.push(Command::Subscribe { topic: Topic(7) });
    }
    fn on_event(&mut self, event: &Event, cx: &mut AppCx<'_>) {
        if let Event::Message { hops: 1.., .. } = event {
            self.heard += 1;
            if !self.answered {
                self.answered = true;
                cx.commands.push(publish(7));
            }
        }
    }
    fn on_timeout(&mut self, cx: &mut AppCx<'_>) {
        self.woken = Some(cx.now.mono);
    }
    fn poll_timeout(&self) -> Option<Instant> {
        self.woken.is_none().then_some(Instant::from_millis(3_500))
    }
}

#[test]
fn an_application_hears_and_commands_its_node() {
    let mut steps: Vec<Step> = (0..3).map(|node| at(0, Action::Start { node })).collect();
    steps.push(at(10, join(0, &[])));
    steps.extend((1..3).map(|node| at(20, join(node, &[0]))));
    steps.push(at(3_000, command(0, publish(7))));
    let schedule = Arc::new(schedule(3, steps, 10_000));
    let mut world: World<Echo> = World::new(schedule, Seed::from(42), CHECKED, |_| Echo::default());
    world.run(&mut ());
    // Nodes 1 and 2 answer the first message; node 0 answers the first answer: four messages, each heard by the others.
    assert_eq!([0, 1, 2].map(|node| world.app(node).heard), [2, 3, 3]);
    assert_eq!([0, 1, 2].map(|node| world.app(node).woken), [Some(Instant::from_millis(3_500)); 3]);
}

/// Says nothing, and wants to be woken a millisecond after its node has booted.
#[derive(Clone, Debug, Default)]
struct Sleeper {
    due: Option<Instant>,
    late_ns: Option<u64>,
}

impl App for Sleeper {
    fn on_start(&mut self, cx: &mut AppCx<'_>) {
        self.due = Some(cx.now.mono.plus_millis(1));
    }
    fn on_event(&mut self, _event: &Event, _cx: &mut AppCx<'_>) {}
    fn on_timeout(&mut self, cx: &mut AppCx<'_>) {
        self.late_ns = self.due.take().map(|due| (cx.now.mono - due).0);
    }
    fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }
}

#[test]
fn an_application_that_only_sets_a_deadline_is_woken_in_time() {
    let schedule = Arc::new(schedule(1, vec![at(0, Action::Start { node: 0 })], 1_000));
    let mut world: World<Sleeper> = World::new(schedule, Seed::from(42), CHECKED, |_| Sleeper::default());
    world.run(&mut ());
    assert_eq!(world.app(0).late_ns, Some(0));
}

#[test]
fn the_application_of_a_node_that_is_down_is_shown_as_its_end_found_it() {
    let crash = Action::Crash { fault: 0, node: 0, disk: DiskFate::Kept };
    let steps = vec![at(0, Action::Start { node: 0 }), at(500, crash)];
    let schedule = Arc::new(schedule(2, steps, 1_000));
    let mut world: World<Sleeper> = World::new(schedule, Seed::from(42), CHECKED, |_| Sleeper::default());
    world.run(&mut ());
    assert!(world.process(0).is_none() && world.process(1).is_none());
    assert_eq!(world.app(0).late_ns, Some(0));
    assert_eq!(world.app(1).late_ns, None, "it never ran");
}

#[test]
#[should_panic = "there is no node 2: the world has 2, numbered from 0"]
fn an_application_of_no_node_is_refused_with_a_message() {
    let schedule = Arc::new(schedule(2, Vec::new(), 1_000));
    let world: World<Sleeper> = World::new(schedule, Seed::from(42), CHECKED, |_| Sleeper::default());
    world.app(2);
}

#[test]
fn the_applications_of_running_nodes_are_shown_and_no_others() {
    let crash = |node| Action::Crash { fault: 0, node, disk: DiskFate::Kept };
    let mut steps: Vec<Step> = (0..3).map(|node| at(0, Action::Start { node })).collect();
    steps.push(at(500, crash(1)));
    let mut world: World<Echo> =
        World::new(Arc::new(schedule(3, steps, 1_000)), Seed::from(42), CHECKED, |_| Echo::default());
    world.run(&mut ());
    assert_eq!(world.apps().map(|(number, _)| number).collect::<Vec<_>>(), [0, 2]);
}

// --- worlds of toys

/// A process whose every move is a command: `Join` dials, `Publish` sends a probe with the topic's number to all
/// links, `Put` persists, `Subscribe` sets a deadline in so many milliseconds, `Cycle` one that never passes.
#[derive(Clone, Debug)]
struct Toy {
    contact: Contact,
    recovered: Vec<Row>,
    peers: Vec<NodeId>,
    deadline: Option<Instant>,
    log: Vec<(Now, Input)>,
    stats: Stats,
}

impl Process for Toy {
    fn boot(boot: Boot, _now: Now) -> Self {
        let contact = Contact::new(boot.id, Default::default(), &boot.addrs);
        let (peers, log, deadline) = (Vec::new(), Vec::new(), None);
        Self { contact, recovered: boot.recovered, peers, deadline, log, stats: Stats::default() }
    }

    fn handle(&mut self, now: Now, input: Input, out: &mut Output) {
        self.log.push((now, input.clone()));
        match input {
            Input::LinkUp { peer, .. } => self.peers.push(peer),
            Input::LinkDown { peer, .. } => self.peers.retain(|other| *other != peer),
            Input::Timeout if self.deadline != Some(Instant(0)) => self.deadline = None,
            Input::Command { token, command } => self.on_command(now, token, command, out),
            _ => {}
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }
    fn contact(&self) -> &Contact {
        &self.contact
    }
    fn trace_hash(&self) -> u64 {
        self.log.len() as u64
    }
    fn stats(&self) -> &Stats {
        &self.stats
    }
    fn check(&self) {}
}

impl Toy {
    fn on_command(&mut self, now: Now, token: Token, command: Command, out: &mut Output) {
        let effects = &mut out.effects;
        match command {
            Command::Join { contacts } => {
                effects.extend(contacts.into_iter().map(|contact| Effect::Dial { contact }));
            }
            Command::Publish { topic, .. } => effects.extend(self.peers.iter().map(|to| {
                let frame = Frame::Probe { nonce: topic.0 };
                Effect::Send { to: *to, channel: Channel::Control, frame }
            })),
            Command::Put { key, value, .. } => {
                let rows = vec![Row { space: Space::Marks, key, value: Some(value) }];
                effects.push(Effect::Persist { token, class: Durability::Sync, rows });
            }
            Command::Cycle => self.deadline = Some(Instant(0)),
            Command::Subscribe { topic } => self.deadline = Some(now.mono.plus_millis(u64::from(topic.0))),
            _ => {}
        }
    }

    /// The log as short text: `at what`, in milliseconds of the node's own clock.
    fn text(&self) -> Vec<String> {
        let what = |input: &Input| match input {
            Input::Command { .. } => "command".to_owned(),
            Input::Frame { frame: Frame::Probe { nonce }, .. } => format!("got {nonce}"),
            Input::LinkUp { dialer: Dialer::Local, .. } => "dialled".to_owned(),
            Input::LinkUp { dialer: Dialer::Remote, .. } => "accepted".to_owned(),
            Input::LinkDown { reason, .. } => format!("{reason:?}"),
            Input::Persisted { .. } => "persisted".to_owned(),
            other => format!("{other:?}"),
        };
        self.log.iter().map(|(now, input)| format!("{} {}", now.mono.0 / MILLI, what(input))).collect()
    }
}

/// Two toys; node 0 has dialled node 1 over a link of 10 ms, and both are up at 40 ms.
fn toys(mut steps: Vec<Step>, change: impl FnOnce(&mut Schedule)) -> World<(), Toy> {
    steps.extend([at(0, Action::Start { node: 0 }), at(0, Action::Start { node: 1 }), at(0, join(0, &[1]))]);
    let mut schedule = schedule(2, steps, 20_000);
    schedule.network.latency = LatencyModel::Constant(10 * MILLI);
    schedule.network.disk_ns = 1_000;
    change(&mut schedule);
    let mut world = World::new(Arc::new(schedule), Seed::from(42), Options::default(), |_| ());
    world.run(&mut ());
    world
}

fn text(world: &World<(), Toy>, node: u32) -> Vec<String> {
    world.process(node).map(|toy| toy.text()).unwrap_or_default()
}

#[test]
fn a_driver_says_what_happens_and_when() {
    let world = toys(vec![at(100, command(0, publish(5)))], |_| {});
    assert_eq!(text(&world, 0), ["0 Timeout", "0 command", "40 dialled", "100 command"]);
    assert_eq!(text(&world, 1), ["0 Timeout", "30 accepted", "110 got 5"]);
    assert_eq!(world.load(0).messages, 1);
    assert_eq!(world.counters().messages, 1);
}

#[test]
fn a_paused_node_takes_its_inputs_in_order_once_it_goes_on() {
    let steps = vec![
        at(100, command(1, Command::Subscribe { topic: Topic(50) })),
        at(110, Action::Begin { fault: 0, effect: FaultEffect::Pause { nodes: vec![1] } }),
        at(120, command(0, publish(1))),
        at(121, command(0, publish(2))),
        at(125, command(1, publish(3))),
        at(1_000, Action::End { fault: 0 }),
    ];
    let world = toys(steps, |_| {});
    let expected = ["100 command", "1000 command", "1000 got 1", "1000 got 2", "1000 Timeout"];
    assert_eq!(text(&world, 1)[2..], expected);
    assert_eq!(text(&world, 0).last().map(String::as_str), Some("1010 got 3"));
    let (_, receipt) = world.receipts().next().expect("the pause has a receipt");
    assert_eq!((receipt.messages, receipt.nodes), (4, 1));
    assert_eq!(receipt.nanoseconds, (870 + 869 + 875 + 850) * MILLI);
}

#[test]
fn a_pause_of_a_dead_node_touches_nothing() {
    let steps = vec![
        at(100, Action::Crash { fault: 1, node: 1, disk: DiskFate::Kept }),
        at(110, Action::Begin { fault: 0, effect: FaultEffect::Pause { nodes: vec![1] } }),
        at(120, command(0, publish(1))),
        at(1_000, Action::End { fault: 0 }),
    ];
    let world = toys(steps, |_| {});
    let (_, receipt) = world.receipts().next().expect("the pause has a receipt");
    assert!(receipt.is_empty(), "{receipt:?}");
}

#[test]
fn a_slow_node_takes_one_input_after_another() {
    let mut steps: Vec<Step> = (0..3).map(|topic| at(100, command(0, publish(topic)))).collect();
    let effect = FaultEffect::Slow { nodes: vec![1], per_input_ns: 30 * MILLI };
    steps.push(at(50, Action::Begin { fault: 0, effect }));
    steps.push(at(160, Action::End { fault: 0 }));
    steps.push(at(200, command(0, publish(9))));
    let world = toys(steps, |_| {});
    assert_eq!(text(&world, 1)[2..], ["110 got 0", "140 got 1", "170 got 2", "210 got 9"]);
    let (_, receipt) = world.receipts().next().expect("the slowness has a receipt");
    assert!(receipt.messages >= 2 && receipt.nodes == 1 && receipt.nanoseconds >= 60 * MILLI, "{receipt:?}");
}

#[test]
fn a_crashed_node_hears_nothing_and_is_gone_for_its_peers() {
    let crash = Action::Crash { fault: 0, node: 1, disk: DiskFate::Kept };
    let steps = vec![
        at(100, crash),
        at(101, command(0, publish(1))),
        at(102, command(1, publish(2))),
        at(200, Action::Restart { fault: 0, node: 1, contacts: vec![0] }),
    ];
    let world = toys(steps, |_| {});
    let log = text(&world, 0);
    assert_eq!(log[..4], ["0 Timeout", "0 command", "40 dialled", "101 command"]);
    assert!(log[4..].contains(&"230 accepted".to_owned()), "{log:?}");
    assert!(log[4..].iter().any(|line| line.ends_with("Reset")), "{log:?}");
    assert_eq!(text(&world, 1), ["0 Timeout", "0 command", "40 dialled"], "its clock starts again");
    assert_eq!(world.counters().passed_by, 1);
    assert_eq!(world.receipts().map(|(_, receipt)| receipt.nodes).collect::<Vec<_>>(), [1]);
}

#[test]
fn a_disk_brings_back_what_was_durable_unless_it_is_lost() {
    let put = |key: u8| {
        let (key, value) = (Bytes::copy_from_slice(&[key]), Bytes::from_static(b"v"));
        command(0, Command::Put { map: MapId(0), key, value, expires: None })
    };
    let recovered = |disk| {
        let steps = vec![
            at(100, put(1)),
            at(200, put(2)),
            at(300, Action::Crash { fault: 0, node: 0, disk }),
            at(400, Action::Restart { fault: 0, node: 0, contacts: vec![] }),
        ];
        let world = toys(steps, |schedule| schedule.network.disk_ns = 5 * MILLI);
        world.process(0).map(|toy| toy.recovered.iter().map(|row| row.key[0]).collect::<Vec<_>>())
    };
    assert_eq!(recovered(DiskFate::Kept), Some(vec![1, 2]));
    assert_eq!(recovered(DiskFate::Lost), Some(vec![]));
}

#[test]
fn a_write_is_answered_once_it_is_durable() {
    let (key, value) = (Bytes::from_static(b"k"), Bytes::from_static(b"v"));
    let put = Command::Put { map: MapId(0), key, value, expires: None };
    let world = toys(vec![at(100, command(1, put))], |schedule| schedule.network.disk_ns = 40 * MILLI);
    let log = text(&world, 1);
    assert_eq!(log[2], "100 command");
    assert!((140..=150).any(|at_ms| log[3] == format!("{at_ms} persisted")), "{log:?}");
}

#[test]
fn a_deadline_is_met_by_the_nodes_own_clock() {
    let subscribe = |topic| command(0, Command::Subscribe { topic: Topic(topic) });
    let mut fast = toys(vec![at(100, subscribe(1_000))], |schedule| {
        schedule.clocks = vec![ClockChange { node: 0, offset_ms: 0, drift_ppm: 100_000, frozen: false }];
    });
    assert_eq!(text(&fast, 0)[3..], ["110 command", "1110 Timeout"]);
    let change = ClockChange { node: 0, offset_ms: 70, drift_ppm: -500_000, frozen: false };
    let steps = vec![
        at(100, subscribe(1_000)),
        at(600, Action::Begin { fault: 0, effect: FaultEffect::Clock(vec![change]) }),
        at(19_000, Action::End { fault: 0 }),
        at(19_500, subscribe(10)),
    ];
    fast = toys(steps, |_| {});
    // 500 ms pass in time; the other 500 take twice as long, and the clock shows 1,100 when they are over.
    assert_eq!(text(&fast, 0)[3..5], ["100 command", "1100 Timeout"]);
    let walls: Vec<u64> =
        fast.process(0).map(|toy| toy.log.iter().map(|(now, _)| now.wall.0).collect()).unwrap_or_default();
    assert_eq!(walls[4], crate::WALL_EPOCH_MS + 600 + 70 + 500, "stepped by 70 ms, then at half the pace");
    assert_eq!(walls[5], crate::WALL_EPOCH_MS + 19_500, "right again when the fault is over");
    assert_eq!(fast.receipts().map(|(_, receipt)| receipt.messages).collect::<Vec<_>>(), [1]);
}

#[test]
fn a_later_deadline_moves_no_wake_up_and_an_earlier_one_does() {
    let subscribe = |at_ms, topic| at(at_ms, command(1, Command::Subscribe { topic: Topic(topic) }));
    let world = toys(vec![subscribe(100, 500), subscribe(200, 900), subscribe(300, 50)], |_| {});
    assert_eq!(text(&world, 1)[2..], ["100 command", "200 command", "300 command", "350 Timeout"]);
}

#[test]
fn a_full_channel_is_told_to_its_sender_and_so_is_its_draining() {
    let steps: Vec<Step> = (0..20).map(|topic| at(100, command(0, publish(topic)))).collect();
    let world = toys(steps, |schedule| {
        (schedule.network.uplink_bps, schedule.network.high_water_bytes) = (8_000, 100);
    });
    let log = text(&world, 0);
    assert_eq!(log.iter().filter(|line| line.contains("LinkFull")).count(), 1);
    assert_eq!(log.iter().filter(|line| line.contains("LinkReady")).count(), 1);
}

#[test]
fn a_quiesce_waits_for_what_is_under_way_and_moves_every_later_step() {
    let steps = vec![
        at(1, Action::Quiesce { max_ns: SECOND }),
        at(2, command(0, publish(1))),
        at(3, Action::Quiesce { max_ns: SECOND }),
        at(4, command(0, publish(2))),
    ];
    let world = toys(steps, |_| {});
    // The handshake is over at 40 ms: the step 1 ms later comes at 41. Its frame arrives at 51, the last step at 53.
    assert_eq!(text(&world, 0)[2..], ["40 dialled", "41 command", "52 command"]);
    assert_eq!(world.shift_ns(), 48 * MILLI);
    assert_eq!(world.now_ns(), world.end_ns());
}

#[test]
fn a_quiesce_gives_up_at_its_limit() {
    let steps = vec![
        at(1, Action::Crash { fault: 0, node: 1, disk: DiskFate::Kept }), // the dial finds nobody until 5 s
        at(2, Action::Quiesce { max_ns: 100 * MILLI }),
        at(2, command(0, publish(1))),
    ];
    let world = toys(steps, |_| {});
    assert_eq!(text(&world, 0)[2..], ["102 command", "5000 Unreachable"]);
}

#[test]
#[should_panic(expected = "due again and again")]
fn a_node_that_is_always_due_is_found_out() {
    toys(vec![at(100, command(0, Command::Cycle))], |_| {});
}

#[test]
fn garbage_can_be_injected() {
    let mut world = toys(vec![], |_| {});
    let from = world.id(0);
    world.inject(1, Input::Malformed { from }, &mut ());
    assert_eq!(
        world.process(1).and_then(|toy| toy.log.last().cloned()).map(|(_, input)| input),
        Some(Input::Malformed { from })
    );
}

#[test]
fn a_dial_to_nobody_is_unreachable() {
    let crash = Action::Crash { fault: 0, node: 1, disk: DiskFate::Lost };
    let world = toys(vec![at(1, crash)], |_| {});
    let reason = DownReason::Unreachable;
    assert_eq!(text(&world, 0)[2..], [format!("5000 {reason:?}")]);
}
