use super::*;
use crate::schedule::{LatencyModel, NetworkModel, Profile, Step};
use rumormill_core::{Class, Config, Topic};

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

/// Nodes join one after another, 5 ms apart, through the first; at 5 s every fourth publishes.
fn cluster(nodes: u32, profile: Profile) -> Schedule {
    let mut steps = Vec::new();
    for node in 0..nodes {
        let at_ns = u64::from(node) * 5 * MILLI;
        let contacts = if node == 0 { vec![] } else { vec![0] };
        let topic = Command::Subscribe { topic: Topic(7) };
        steps.push(Step { at_ns, action: Action::Start { node } });
        steps.push(Step { at_ns, action: Action::Command { node, command: Order::Join { contacts } } });
        steps.push(Step { at_ns, action: Action::Command { node, command: Order::Core(topic) } });
    }
    for node in (0..nodes).step_by(4) {
        let command =
            Command::Publish { topic: Topic(7), class: Class::Normal, payload: Bytes::from_static(b"x") };
        let action = Action::Command { node, command: Order::Core(command) };
        steps.push(Step { at_ns: 5 * SECOND + u64::from(node) * MILLI, action });
    }
    Schedule {
        nodes,
        config: Arc::new(Config::default()),
        network: network(profile),
        clocks: Vec::new(),
        steps,
        bootstrap_end_ns: 5 * SECOND,
        end_ns: 10 * SECOND,
    }
}

const CHECKED: Options = Options { wire: false, check: true, checkpoint_every_ns: SECOND };

fn world(schedule: Schedule, options: Options) -> World {
    World::new(Arc::new(schedule), Seed::from(42), options, |_| ())
}

#[test]
fn smoke() {
    let mut world = world(cluster(50, Profile::Quic), CHECKED);
    let (mut messages, mut ups) = (0, 0);
    world.run(&mut |seen: &Observation<'_>| match seen.what {
        Observed::Event(rumormill_core::Event::Message { .. }) => messages += 1,
        Observed::Event(rumormill_core::Event::NeighborUp { .. }) => ups += 1,
        _ => {}
    });
    eprintln!("{messages} {ups} {:?} {:?}", world.counters(), world.kinds());
    eprintln!("{:?}", world.checkpoints());
    for n in 0..5 {
        eprintln!("{:?}", world.status(n));
    }
}
