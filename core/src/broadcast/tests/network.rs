//! Several broadcast machines on links of constant latency: what only shows between nodes.

use super::*;
use crate::stats::Stats;
use crate::time::NANOS_PER_MILLI;
use alloc::collections::BTreeMap;

/// Machines, the frames between them, and what was handed up where.
struct Network {
    nodes: Vec<Bench<Broadcast>>,
    /// By time and order of sending.
    frames: BTreeMap<(u64, u64), (usize, Input)>,
    sent: u64,
    now_ms: u64,
    /// Messages handed up at each node, in order, with their hops and times.
    heard: Vec<Vec<(MessageId, u16, u64)>>,
}

fn name(index: usize) -> NodeId {
    node(index as u8)
}

impl Network {
    fn new(count: usize, config: &Config) -> Self {
        let start = |index: usize| {
            let mut machine = Broadcast::new(Arc::new(config.clone()), name(index), origin(index as u8));
            machine.subscribe(TOPIC).expect("a free topic");
            Bench::new(machine)
        };
        let nodes = (0..count).map(start).collect();
        Self { nodes, frames: BTreeMap::new(), sent: 0, now_ms: 0, heard: vec![Vec::new(); count] }
    }

    /// Latency of the link between two nodes, from 10 to 50 ms, the same both ways.
    fn latency_ms(a: usize, b: usize) -> u64 {
        10 + crate::hash::mix((a.min(b) * 1_000 + a.max(b)) as u64) % 41
    }

    fn connect(&mut self, a: usize, b: usize) {
        self.input(a, Input::NeighborUp { peer: name(b) });
        self.input(b, Input::NeighborUp { peer: name(a) });
    }

    /// Breaks a link; what is under way on it is gone.
    fn cut(&mut self, a: usize, b: usize) {
        let crosses = |to: usize, input: &Input| matches!(input, Input::Frame { from, .. } if (to == a && *from == name(b)) || (to == b && *from == name(a)));
        self.frames.retain(|_, (to, input)| !crosses(*to, input));
        self.input(a, Input::NeighborDown { peer: name(b) });
        self.input(b, Input::NeighborDown { peer: name(a) });
    }

    fn publish(&mut self, at: usize) -> MessageId {
        self.nodes[at].run_to(self.now_ms);
        let id = publish(&mut self.nodes[at], Class::Normal, "x").expect("room");
        self.collect(at);
        id
    }

    fn input(&mut self, at: usize, input: Input) {
        self.nodes[at].run_to(self.now_ms);
        self.nodes[at].call(|machine, cx| machine.handle(input, cx));
        self.collect(at);
    }

    fn collect(&mut self, at: usize) {
        let bench = &mut self.nodes[at];
        while let Some(Event::Delivered { id, hops, .. }) = bench.machine.poll_event() {
            self.heard[at].push((id, hops, self.now_ms));
        }
        for effect in core::mem::take(&mut bench.effects) {
            let crate::Effect::Send { to, frame, .. } = effect else { panic!("broadcast only sends") };
            let to = usize::from(to.0[0]);
            self.sent += 1;
            let arrival = (self.now_ms + Self::latency_ms(at, to), self.sent);
            self.frames.insert(arrival, (to, Input::Frame { from: name(at), frame }));
        }
    }

    fn run_to(&mut self, end_ms: u64) {
        loop {
            let due =
                |bench: &Bench<Broadcast>| Some(bench.machine.poll_timeout()?.0.div_ceil(NANOS_PER_MILLI));
            let timeout =
                self.nodes.iter().enumerate().filter_map(|(at, bench)| Some((due(bench)?, at))).min();
            let frame = self.frames.first_key_value().map(|((at_ms, _), _)| *at_ms);
            let next =
                [timeout.map(|(ms, _)| ms), frame].into_iter().flatten().min().filter(|ms| *ms <= end_ms);
            let Some(next_ms) = next else { break };
            self.now_ms = self.now_ms.max(next_ms);
            if frame == Some(next_ms) {
                let (_, (to, input)) = self.frames.pop_first().expect("a frame");
                self.input(to, input);
            } else if let Some((_, at)) = timeout {
                self.step_time(at);
            }
        }
        self.now_ms = end_ms;
    }

    fn step_time(&mut self, at: usize) {
        self.nodes[at].set_time(Instant::from_millis(self.now_ms));
        self.nodes[at].call(|machine, cx| machine.handle_timeout(cx));
        self.collect(at);
    }

    fn total(&self, counter: impl Fn(&Stats) -> u64) -> u64 {
        self.nodes.iter().map(|bench| counter(&bench.stats)).sum()
    }

    /// Counts the nodes that have heard a message.
    fn reached(&self, id: MessageId) -> usize {
        self.heard.iter().filter(|heard| heard.iter().any(|(heard, ..)| *heard == id)).count()
    }
}

/// A ring with chords: every node has four neighbours, and no single cut divides it.
fn chords(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count).flat_map(move |a| [(a, (a + 1) % count), (a, (a + count / 3) % count)])
}

fn ring_with_chords(count: usize, config: &Config) -> Network {
    let mut network = Network::new(count, config);
    chords(count).for_each(|(a, b)| network.connect(a, b));
    network
}

#[test]
fn in_a_stable_tree_every_payload_is_news() {
    let mut network = ring_with_chords(40, &Config::default());
    for round in 0..20 {
        let before = network.total(|stats| stats.duplicates);
        let id = network.publish(3);
        network.run_to((round + 1) * 1_000);
        assert_eq!(network.reached(id), 40);
        let duplicates = network.total(|stats| stats.duplicates) - before;
        assert!(round < 10 || duplicates == 0, "{duplicates} duplicates in round {round}");
    }
}

#[test]
fn a_flood_sends_one_payload_over_each_link_and_direction_but_back_to_the_first_sender() {
    let mut network = ring_with_chords(40, &Config { flood: true, ..Config::default() });
    let id = network.publish(0);
    network.run_to(1_000);
    assert_eq!(network.reached(id), 40);
    assert_eq!(network.total(|stats| stats.payloads_sent), 2 * 80 - 39);
}

#[test]
fn with_random_senders_the_shared_tree_stays_cheap() {
    let mut network = ring_with_chords(60, &Config::default());
    for round in 0..60_u64 {
        network.publish((crate::hash::mix(round) % 60) as usize);
        network.run_to((round + 1) * 300);
    }
    network.run_to(60_000);
    let first = network.total(|stats| stats.delivered);
    assert_eq!(first, 60 * 59);
    assert!(network.total(|stats| stats.duplicates) * 100 < first * 15, "RMR of 0.15");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Links break and heal, at most one at a time, so that the overlay stays connected.
    #[test]
    fn every_message_reaches_everybody_through_cuts(
        turns in prop::collection::vec((0..12_usize, 0..24_usize, 0..400_u64, 0..1_500_u64), 1..24),
    ) {
        let mut network = ring_with_chords(12, &Config::default());
        let links: Vec<(usize, usize)> = chords(12).collect();
        let mut published = Vec::new();
        for (sender, link, cut_after_ms, heal_after_ms) in turns {
            let (a, b) = links[link];
            published.push(network.publish(sender));
            network.run_to(network.now_ms + cut_after_ms);
            network.cut(a, b);
            network.run_to(network.now_ms + heal_after_ms);
            network.connect(a, b);
        }
        network.run_to(network.now_ms + 5_000);
        for id in published {
            prop_assert_eq!(network.reached(id), 12, "{:?}", id);
        }
        prop_assert_eq!(network.total(|stats| stats.lost), 0);
    }

    /// Two halves publish apart; what is not older than the new neighbours are told of reaches the other half too.
    #[test]
    fn a_healed_partition_hears_what_was_said_meanwhile(senders in prop::collection::vec(0..12_usize, 1..12)) {
        let mut network = ring_with_chords(12, &Config::default());
        let between: Vec<(usize, usize)> = chords(12).filter(|(a, b)| (*a < 6) != (*b < 6)).collect();
        between.iter().for_each(|(a, b)| network.cut(*a, *b));
        let ids: Vec<MessageId> = senders.into_iter().map(|sender| network.publish(sender)).collect();
        network.run_to(8_000);
        between.iter().for_each(|(a, b)| network.connect(*a, *b));
        network.run_to(12_000);
        prop_assert!(ids.into_iter().all(|id| network.reached(id) == 12));
    }
}
