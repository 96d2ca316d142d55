//! Runs made by hand: of each check one that it must pass and some that it must not. A check that cannot fail proves
//! nothing.

mod users;

use super::*;
use crate::clock::WALL_EPOCH_MS;
use bytes::Bytes;
use rumormill_core::{
    Class, Command, CommandError, Contact, Event, Incarnation, MapStatus, Member, MessageId, NeighborLoss,
    NodeId, Observed, Origin, Reply, Service, Stamp, Stats, Status, Token, Topic, Version, Writer,
};

const MILLI: u64 = NANOS_PER_MILLI;
const SECOND: u64 = 1_000 * MILLI;
const TOPIC: Topic = Topic(7);

fn id(node: u32) -> NodeId {
    NodeId([node as u8 + 1; 32])
}

fn map(name: &str) -> MapId {
    MapId::named(name)
}

/// The version of a node's write, by its stamp.
fn by(node: u32, stamp: u64) -> Version {
    Version { stamp: Stamp(stamp), writer: Writer { node: id(node), epoch: 0 } }
}

fn bytes(text: Option<&'static str>) -> Option<Bytes> {
    text.map(|text| Bytes::from_static(text.as_bytes()))
}

/// What a node shows when it is asked.
#[derive(Clone, Debug, Default)]
struct Shown {
    active: Vec<u32>,
    passive: Vec<u32>,
    clock: Stamp,
    /// The hash of its replica of "flags"; none when it hosts none.
    replica: Option<u64>,
    /// What its replica's contents add to that hash.
    contents: u64,
    /// Its entries of "flags".
    entries: Vec<(&'static str, &'static str)>,
    members: Vec<Member>,
    services: Vec<Service>,
    /// The owner of each partition, by number.
    owners: Vec<u32>,
    /// The partitions that it says it owns, each with its token.
    owned: Vec<(u32, u64)>,
}

/// Nodes that show what they are told to.
#[derive(Clone, Debug, Default)]
struct Fakes {
    shown: Vec<Option<Shown>>,
    totals: Stats,
}

impl Nodes for Fakes {
    fn count(&self) -> u32 {
        self.shown.len() as u32
    }

    fn status(&self, node: u32) -> Option<Status<'_>> {
        let shown = self.shown[node as usize].as_ref()?;
        Some(Status {
            id: id(node),
            incarnation: Incarnation(1),
            clock: shown.clock,
            active: shown.active.iter().copied().map(id).collect(),
            passive: shown.passive.iter().copied().map(id).collect(),
            eager: Vec::new(),
            lazy: Vec::new(),
            joined: true,
            left: false,
            maps: Vec::new(),
            members: None,
            owned: shown.owned.iter().map(|(partition, token)| (*partition, Stamp(*token))).collect(),
            registry: None,
            stats: &self.totals,
        })
    }

    fn map_status(&self, node: u32, of: MapId) -> Option<MapStatus> {
        let shown = self.shown[node as usize].as_ref().filter(|_| of == map("flags"))?;
        let vector_hash = shown.replica?;
        Some(MapStatus { map: of, vector_hash, fingerprint: vector_hash + shown.contents, count: 1 })
    }

    fn each_entry(&self, node: u32, of: MapId, visit: &mut dyn FnMut(&Bytes, &Bytes)) {
        let Some(shown) = self.shown[node as usize].as_ref().filter(|_| of == map("flags")) else { return };
        for (key, value) in &shown.entries {
            visit(&Bytes::from_static(key.as_bytes()), &Bytes::from_static(value.as_bytes()));
        }
    }

    fn each_member(&self, node: u32, visit: &mut dyn FnMut(&Member)) {
        self.shown[node as usize].iter().flat_map(|shown| &shown.members).for_each(visit);
    }

    fn each_service(&self, node: u32, visit: &mut dyn FnMut(&Service)) {
        self.shown[node as usize].iter().flat_map(|shown| &shown.services).for_each(visit);
    }

    fn owner_of(&self, node: u32, partition: u32) -> Option<NodeId> {
        let owners = &self.shown[node as usize].as_ref()?.owners;
        owners.get(partition as usize).map(|owner| id(*owner))
    }

    fn totals(&self) -> Stats {
        self.totals.clone()
    }
}

/// A run made by hand and judged by one property.
#[derive(Clone)]
struct Case {
    judge: Judge,
    nodes: Fakes,
    now_ns: u64,
    tokens: u64,
}

/// What does not hold: whose fault it is, and what was seen.
type Answer = Result<(), (Option<u32>, String)>;

impl Case {
    /// A number of nodes that start at time zero, when bootstrap is over.
    fn new(nodes: u32, property: PropertySpec) -> Self {
        let config = Config { members: true, ring_size: 4, ..Config::default() };
        let judge = Judge::new(&[property], Arc::new(config), nodes, 0, vec![0; nodes as usize]);
        let fakes = Fakes { shown: vec![None; nodes as usize], totals: Stats::default() };
        let mut case = Self { judge, nodes: fakes, now_ns: 0, tokens: 0 };
        (0..nodes).for_each(|node| case.start(node));
        case
    }

    fn always(nodes: u32, check: Check) -> Self {
        Self::new(nodes, PropertySpec::always(check))
    }

    /// Asks for a property within ten seconds after a calm that begins at time zero.
    fn eventually(nodes: u32, check: Check) -> Self {
        let mut case = Self::new(nodes, PropertySpec::eventually(10, check));
        case.judge.on_calm(0);
        case
    }

    fn at_ms(&mut self, ms: u64) -> &mut Self {
        self.now_ns = ms * MILLI;
        self
    }

    fn see(&mut self, node: u32, what: Observed<'_>) {
        self.judge.observe(&Observation { at_ns: self.now_ns, node, what });
    }

    fn tell(&mut self, node: u32, event: Event) {
        self.see(node, Observed::Event(&event));
    }

    fn start(&mut self, node: u32) {
        let contact = Contact::new(id(node), Incarnation(1), &[]);
        self.see(node, Observed::Started { contact: &contact });
        self.nodes.shown[node as usize] = Some(Shown::default());
    }

    fn stop(&mut self, node: u32) {
        self.see(node, Observed::Stopped);
        self.nodes.shown[node as usize] = None;
    }

    fn shown(&mut self, node: u32) -> &mut Shown {
        self.nodes.shown[node as usize].as_mut().expect("the node runs")
    }

    fn up(&mut self, node: u32, peer: u32) {
        self.tell(node, Event::NeighborUp { peer: id(peer) });
    }

    fn down(&mut self, node: u32, peer: u32) {
        self.tell(node, Event::NeighborDown { peer: id(peer), reason: NeighborLoss::Replaced });
    }

    fn edge(&mut self, a: u32, b: u32) {
        self.up(a, b);
        self.up(b, a);
    }

    fn command(&mut self, node: u32, command: &Command) -> Token {
        self.tokens += 1;
        let token = Token(self.tokens);
        self.see(node, Observed::Command { token, command });
        token
    }

    fn done(&mut self, node: u32, token: Token, result: Result<Reply, CommandError>) {
        self.tell(node, Event::Done { token, result });
    }

    fn hear(&mut self, node: u32, seq: u64, hops: u16) {
        let id = MessageId { origin: 1, seq };
        self.tell(node, Event::Message { topic: TOPIC, id, hops, payload: Bytes::new() });
    }

    fn subscribe(&mut self, nodes: core::ops::Range<u32>) {
        for node in nodes {
            self.command(node, &Command::Subscribe { topic: TOPIC });
        }
    }

    /// Publishes, and hears it at home.
    fn publish(&mut self, node: u32, seq: u64) {
        let command = Command::Publish { topic: TOPIC, class: Class::Normal, payload: Bytes::new() };
        let token = self.command(node, &command);
        self.done(node, token, Ok(Reply::Published { id: MessageId { origin: 1, seq } }));
        self.hear(node, seq, 0);
    }

    /// Writes "key" of a map, or removes it, and is told that it is done.
    fn write(&mut self, name: &str, value: Option<&'static str>, version: Version) {
        let node = u32::from(version.writer.node.0[0]) - 1;
        let (map, key) = (map(name), Bytes::from_static(b"key"));
        let command = match bytes(value) {
            Some(value) => Command::Put { map, key, value, expires: None },
            None => Command::Remove { map, key },
        };
        let token = self.command(node, &command);
        self.done(node, token, Ok(Reply::Written { version }));
    }

    /// Tells a change of "key".
    fn change(
        &mut self,
        node: u32,
        name: &str,
        (old, new): (Option<&'static str>, Option<&'static str>),
        version: Version,
    ) {
        let (map, key, origin) = (map(name), Bytes::from_static(b"key"), Origin::Broadcast);
        self.tell(node, Event::MapChanged { map, key, old: bytes(old), new: bytes(new), version, origin });
    }

    fn look(&mut self) {
        self.judge.look(self.now_ns, &self.nodes);
    }

    /// Ends a copy of the run here and answers the property.
    fn answer(&self) -> Answer {
        let mut judge = self.judge.clone();
        let outcome = judge.finish(self.now_ns, &self.nodes).pop().expect("one property is asked");
        match outcome.status {
            PropertyStatus::Held => Ok(()),
            PropertyStatus::Failed => {
                Err((outcome.node, outcome.detail.expect("a failure is told in words")))
            }
            PropertyStatus::Unreached => Err((None, "unreached".into())),
        }
    }

    #[track_caller]
    fn holds(&self) {
        assert_eq!(self.answer(), Ok(()));
    }

    #[track_caller]
    fn fails(&self, node: impl Into<Option<u32>>, with: &str) {
        let (who, what) = self.answer().expect_err("the check must fail");
        assert_eq!(who, node.into(), "{what}");
        assert!(what.contains(with), "{what:?} does not tell {with:?}");
    }
}

// --- when

#[test]
fn always_is_not_mended_by_what_comes_later() {
    let mut case = Case::always(2, Check::NobodyAlone);
    case.look();
    case.edge(0, 1);
    case.at_ms(1_000).look();
    case.fails(0, "no neighbour");
    assert_eq!(
        case.judge.finish(SECOND, &case.nodes)[0].at_ns,
        Some(0),
        "the first violation tells the time"
    );
}

#[test]
fn eventually_must_hold_in_time_and_to_the_end() {
    let mut case = Case::eventually(2, Check::NobodyAlone);
    case.at_ms(9_000).look();
    case.edge(0, 1);
    let mut late = case.clone();
    case.at_ms(10_000).look();
    case.at_ms(20_000).holds();
    late.at_ms(10_500).look();
    late.fails(None, "too late");
    case.down(0, 1);
    case.down(1, 0);
    case.at_ms(21_000).look();
    case.at_ms(21_500).fails(0, "no neighbour");
}

#[test]
fn one_look_may_find_somebody_alone_and_two_in_a_row_may_not() {
    for (check, with) in [(Check::NobodyAlone, "no neighbour"), (Check::Connected, "2 components")] {
        let mut case = Case::always(2, check);
        case.edge(0, 1);
        case.look();
        for ms in [1_000, 2_000] {
            case.down(0, 1);
            case.down(1, 0);
            case.at_ms(ms).look();
            let mut longer = case.clone();
            longer.at_ms(ms + 500).look();
            assert!(longer.answer().is_err_and(|(_, what)| what.contains(with)));
            case.edge(0, 1);
            case.at_ms(ms + 500).look();
        }
        case.holds();
    }
}

#[test]
fn eventually_is_not_asked_before_calm_and_fails_without_it() {
    let mut case = Case::new(2, PropertySpec::eventually(10, Check::NobodyAlone));
    case.edge(0, 1);
    case.at_ms(1_000).look();
    assert!(case.answer().is_err(), "there was never a calm to hold in");
    case.judge.on_calm(SECOND);
    case.holds();
}

#[test]
fn sometimes_is_reached_by_one_look_and_is_unreached_otherwise() {
    let mut case = Case::new(2, PropertySpec::sometimes(Check::NobodyAlone));
    case.look();
    case.fails(None, "unreached");
    case.edge(0, 1);
    case.look();
    case.down(0, 1);
    case.holds();
}

#[test]
fn the_overlay_is_not_judged_during_bootstrap() {
    let mut case = Case::always(2, Check::Connected);
    case.judge.on_bootstrapped(10 * SECOND);
    case.at_ms(9_500).look();
    case.edge(0, 1);
    case.at_ms(10_000).look();
    case.holds();
    case.stop(1);
    case.start(1);
    case.down(0, 1);
    case.at_ms(10_500).look();
    case.fails(None, "2 components");
}

// --- overlay

#[test]
fn connected_fails_on_islands() {
    let mut case = Case::always(4, Check::Connected);
    case.edge(0, 1);
    case.edge(2, 3);
    case.fails(None, "2 components");
    case.up(1, 2); // whatever the other side thinks
    case.holds();
}

#[test]
fn symmetric_forgives_what_is_under_way_and_nothing_older() {
    let mut case = Case::always(2, Check::symmetric());
    case.up(0, 1);
    case.at_ms(1_000).holds();
    case.at_ms(1_001).fails(0, "has 1 as a neighbour");
    case.up(1, 0);
    case.holds();
    case.at_ms(10_000).down(1, 0);
    case.at_ms(11_000).holds();
    case.at_ms(11_001).fails(0, "has 1 as a neighbour");
}

#[test]
fn symmetric_in_part_counts_edges() {
    let mut case = Case::always(3, Check::Symmetric { min_ppm: 660_000 });
    case.edge(0, 1);
    case.up(1, 2);
    case.at_ms(5_000).holds();
    case.up(2, 0);
    case.fails(None, "500000 of a million");
}

#[test]
fn symmetric_fails_on_events_that_contradict_each_other() {
    let twice = |case: &mut Case| case.up(0, 1);
    let stranger = |case: &mut Case| case.tell(0, Event::NeighborUp { peer: NodeId([99; 32]) });
    let never_came = |case: &mut Case| case.down(0, 2);
    let cases: [(&dyn Fn(&mut Case), &str); 3] =
        [(&twice, "came twice"), (&stranger, "never was started"), (&never_came, "without having come")];
    for (contradict, with) in cases {
        let mut case = Case::always(3, Check::symmetric());
        case.edge(0, 1);
        case.holds();
        contradict(&mut case);
        case.fails(0, with);
    }
}

#[test]
fn bounded_fails_on_views_that_are_too_long_or_name_somebody_twice() {
    let mut case = Case::always(40, Check::Bounded);
    case.shown(0).active = (1..6).collect();
    case.shown(0).passive = (6..36).collect();
    case.holds();
    let changes: [fn(&mut Shown); 5] = [
        |shown| shown.active.push(39),
        |shown| shown.passive.push(39),
        |shown| shown.active[0] = 0,
        |shown| shown.passive[0] = 0,
        |shown| shown.passive[0] = shown.active[0],
    ];
    for change in changes {
        let mut broken = case.clone();
        change(broken.shown(0));
        broken.fails(0, "break their bounds");
    }
}

#[test]
fn nobody_alone_fails_on_a_member_without_neighbours() {
    let mut case = Case::always(3, Check::NobodyAlone);
    case.edge(0, 1);
    case.fails(2, "no neighbour");
    case.stop(2);
    case.holds();
    case.stop(1);
    case.down(0, 1);
    case.holds(); // the last one has nobody to be with
}

#[test]
fn nobody_from_the_dead_fails_on_a_neighbour_that_died_long_ago() {
    let mut case = Case::always(2, Check::NobodyFromTheDead);
    case.edge(0, 1);
    case.at_ms(10_000).stop(1);
    case.at_ms(30_000).holds();
    case.at_ms(30_001).fails(0, "keeps 1 as a neighbour");
    let mut back = case.clone();
    back.start(1);
    back.holds();
    case.down(0, 1);
    case.holds();
}

#[test]
fn nobody_from_the_dead_fails_on_a_neighbour_that_left_long_ago() {
    let mut case = Case::always(2, Check::NobodyFromTheDead);
    case.edge(0, 1);
    case.at_ms(10_000).command(1, &Command::Leave);
    case.at_ms(30_000).holds();
    case.at_ms(30_001).fails(0, "keeps 1 as a neighbour");
    let mut back = case.clone();
    back.command(1, &Command::Join { contacts: Vec::new() });
    back.holds();
    case.down(0, 1);
    case.holds();
}

#[test]
fn calm_fails_while_views_change() {
    let mut case = Case::eventually(2, Check::Calm { periods: 1 }); // a period takes five seconds
    case.at_ms(1_000).edge(0, 1);
    case.at_ms(5_999).fails(None, "a view changed 4999 ms ago");
    case.at_ms(6_000).holds();
    case.down(0, 1);
    case.fails(None, "a view changed 0 ms ago");
}

// --- broadcast

#[test]
fn reliability_counts_those_who_had_to_hear_and_live() {
    let mut case = Case::always(4, Check::reliability(1.0));
    case.subscribe(0..3); // node 3 need not hear anything
    case.fails(None, "0 of 0 deliveries"); // nothing was tried
    case.publish(0, 1);
    case.hear(1, 1, 1);
    case.fails(None, "2 of 3 deliveries");
    let mut dead = case.clone();
    dead.at_ms(1).stop(2);
    dead.holds();
    dead.start(2);
    dead.holds(); // a later life knows nothing of it
    case.hear(2, 1, 2);
    case.holds();
}

#[test]
fn a_life_that_ended_before_a_message_excuses_nobody_from_it() {
    let mut case = Case::always(2, Check::reliability(1.0));
    case.at_ms(1).stop(1);
    case.start(1);
    case.subscribe(0..2);
    case.at_ms(2).publish(0, 1);
    case.fails(None, "1 of 2 deliveries");
    let mut twice = Case::always(2, Check::DeliveredOnce);
    twice.at_ms(1).stop(1);
    twice.start(1);
    twice.at_ms(2).publish(0, 1);
    twice.hear(1, 1, 1);
    twice.hear(1, 1, 1);
    twice.fails(1, "delivered a second time");
}

#[test]
fn reliability_in_part_and_in_a_window_is_judged_so() {
    let part = Check::Reliability { min_ppm: 700_000, window: Window::default() };
    let late = Window { from_ns: Some(SECOND), to_ns: None };
    for check in [part, Check::Reliability { min_ppm: 1_000_000, window: late }] {
        let mut case = Case::always(2, check);
        case.subscribe(0..2);
        case.publish(0, 1);
        case.fails(None, "deliveries");
        case.at_ms(1_000).publish(0, 2);
        case.hear(1, 2, 1);
        case.holds();
        case.publish(0, 3);
        case.fails(None, "deliveries");
    }
}

#[test]
fn delivered_once_fails_on_a_second_delivery_in_one_life() {
    let mut case = Case::always(2, Check::DeliveredOnce);
    case.subscribe(0..2);
    case.publish(0, 1);
    case.hear(1, 1, 1);
    case.holds();
    let mut twice = case.clone();
    twice.hear(1, 1, 2);
    twice.fails(1, "delivered a second time");
    case.stop(1);
    case.start(1);
    case.hear(1, 1, 1);
    case.holds();
}

#[test]
fn delivered_once_fails_on_a_message_that_nobody_published() {
    let mut case = Case::always(2, Check::DeliveredOnce);
    case.hear(0, 1, 0); // one's own may be heard before it has a name
    case.holds();
    case.hear(1, 1, 1);
    case.fails(1, "never published");
}

#[test]
fn rmr_counts_payloads_beyond_the_first_in_its_window() {
    let count = |case: &mut Case, received, duplicates| {
        (case.nodes.totals.payloads_received, case.nodes.totals.duplicates) = (received, duplicates);
        case.look();
    };
    let window = Window { from_ns: Some(SECOND), to_ns: None };
    for window in [Window::default(), window] {
        let mut case = Case::always(2, Check::Rmr { max_ppm: 100_000, window });
        let redundant_before = if window == Window::default() { 0 } else { 50 };
        count(case.at_ms(1_000), 100, redundant_before);
        count(case.at_ms(2_000), 211, redundant_before + 10);
        case.holds();
        count(case.at_ms(3_000), 311, redundant_before + 100);
        case.fails(None, "redundant payloads a delivery");
    }
}

#[test]
fn ldh_is_the_mean_of_the_last_hops() {
    let mut case = Case::always(3, Check::Ldh { max_ppm: 3_000_000, window: Window::default() });
    case.publish(0, 1);
    case.hear(1, 1, 2);
    case.hear(2, 1, 4);
    case.fails(None, "4.000 hops");
    case.publish(0, 2);
    case.hear(1, 2, 2);
    case.holds();
    case.hear(2, 2, 3);
    case.fails(None, "3.500 hops");
}

#[test]
fn latency_forgives_one_in_a_hundred() {
    let window = Window { from_ns: Some(0), to_ns: None };
    for window in [Window::default(), window] {
        let mut case = Case::always(2, Check::Latency { p99_ns: 100 * MILLI, window });
        (1..=100).for_each(|seq| case.publish(0, seq));
        case.at_ms(100);
        (1..=99).for_each(|seq| case.hear(1, seq, 1));
        let mut late = case.clone();
        case.at_ms(500).hear(1, 100, 1);
        case.holds();
        late.publish(0, 101);
        late.publish(0, 102);
        (100..=102).for_each(|seq| late.at_ms(500).hear(1, seq, 1));
        late.fails(None, "99 % were delivered after");
    }
}

#[test]
fn a_figure_of_no_delivery_has_not_held() {
    let late = Window { from_ns: Some(SECOND), to_ns: None };
    for window in [Window::default(), late] {
        let rmr = Check::Rmr { max_ppm: 1_000_000, window };
        let ldh = Check::Ldh { max_ppm: 9_000_000, window };
        for check in [rmr, ldh, Check::Latency { p99_ns: SECOND, window }] {
            let mut case = Case::always(2, check.clone());
            case.look();
            case.fails(None, "nothing was measured");
            case.at_ms(1_500).publish(0, 1);
            case.look();
            case.fails(None, "nothing was measured");
            let mut reached = Case::new(2, PropertySpec::sometimes(check));
            reached.look();
            reached.fails(None, "unreached");
            case.hear(1, 1, 1);
            case.nodes.totals.payloads_received = 1;
            case.at_ms(1_600).holds();
        }
    }
    Case::always(2, Check::DeliveredOnce).fails(None, "no message was ever delivered");
    Case::always(2, Check::events_fold_to_view("flags")).fails(None, "nothing was ever written");
}

#[test]
fn what_is_judged_once_at_the_end_is_judged_in_time() {
    let mut case = Case::eventually(2, Check::reliability(1.0));
    case.subscribe(0..2);
    case.publish(0, 1);
    case.at_ms(60_000).fails(None, "1 of 2 deliveries");
    case.hear(1, 1, 1);
    case.holds();
}

// --- state

#[test]
fn converged_fails_on_a_replica_that_differs_or_is_missing() {
    let mut case = Case::eventually(3, Check::converged("flags"));
    (0..3).for_each(|node| case.shown(node).replica = Some(1));
    case.holds();
    case.shown(2).replica = Some(2);
    case.fails(2, "another state");
    case.shown(2).replica = Some(1);
    case.shown(2).contents = 1; // it covers the same, and holds something else
    case.fails(2, "another state");
    case.shown(2).replica = None;
    case.fails(2, "does not host");
    case.command(2, &Command::Leave);
    case.holds(); // who left is not compared
}

/// Two nodes; the first has written "key" of "flags", and both show it.
fn written(check: Check) -> Case {
    let mut case = Case::eventually(2, check);
    case.at_ms(1);
    case.write("flags", Some("on"), by(0, 5));
    (0..2).for_each(|node| case.change(node, "flags", (None, Some("on")), by(0, 5)));
    case
}

#[test]
fn exact_fails_on_another_write_than_the_latest() {
    let mut case = written(Check::exact("flags"));
    case.write("flags", Some("off"), by(1, 6));
    case.change(1, "flags", (Some("on"), Some("off")), by(1, 6));
    case.fails(0, "key key: shows the write of 0.5, the latest is of 0.6");
    let mut other = case.clone();
    other.change(0, "flags", (Some("on"), Some("of")), by(1, 6));
    other.fails(0, "shows the write of 0.6"); // the right stamp with a wrong value
    case.change(0, "flags", (Some("on"), Some("off")), by(1, 6));
    case.holds();
}

#[test]
fn exact_asks_not_for_what_died_with_its_only_holder() {
    let mut case = written(Check::exact("flags"));
    case.write("flags", Some("off"), by(1, 6));
    case.at_ms(2).stop(1);
    case.holds();
    case.change(0, "flags", (Some("on"), Some("off")), by(1, 6));
    case.holds(); // nor does it forbid what came through
}

#[test]
fn a_life_that_ended_before_a_write_excuses_nobody_from_it() {
    for (check, with) in
        [(Check::exact("flags"), "shows the write"), (Check::nothing_lost("flags"), "not there")]
    {
        let mut case = written(check);
        case.at_ms(2).stop(1);
        case.start(1);
        case.change(1, "flags", (None, Some("on")), by(0, 5));
        case.at_ms(3).write("flags", Some("off"), by(1, 6));
        case.change(1, "flags", (Some("on"), Some("off")), by(1, 6));
        case.fails(0, with);
    }
}

#[test]
fn exact_asks_for_removals_where_there_was_something() {
    let mut case = written(Check::exact("flags"));
    case.write("flags", None, by(1, 6));
    case.change(1, "flags", (Some("on"), None), by(1, 6));
    case.fails(0, "shows the write of 0.5");
    case.stop(0);
    case.start(0); // it never saw the key, so no event tells of the removal
    case.holds();
}

#[test]
fn exact_and_nothing_lost_look_at_their_map_alone() {
    for check in [Check::exact("flags"), Check::nothing_lost("flags")] {
        let mut case = written(check);
        case.write("others", Some("on"), by(0, 6));
        case.holds();
        assert_eq!(case.judge.state.keys(), 2);
        assert_eq!(case.judge.state.exactness(map("flags"), &[0, 1]).keys, 1);
    }
    for check in [Check::exact("others"), Check::nothing_lost("others")] {
        let mut case = written(check);
        case.fails(None, "nothing was ever written");
        case.write("others", Some("on"), by(0, 6));
        case.change(0, "others", (None, Some("on")), by(0, 6));
        case.fails(1, "key key: ");
    }
}

#[test]
fn nothing_lost_fails_where_an_acknowledged_write_is_missing() {
    let mut case = written(Check::nothing_lost("flags"));
    case.write("flags", Some("off"), by(0, 6));
    case.change(0, "flags", (Some("on"), Some("off")), by(0, 6));
    case.fails(1, "the acknowledged write is not there");
    let mut died = case.clone();
    died.at_ms(2).stop(0);
    died.holds(); // its writer took it along
    case.change(1, "flags", (Some("on"), Some("new")), by(1, 7));
    case.holds(); // a later one stands in for it
}

#[test]
fn a_refused_write_is_asked_for_by_nobody() {
    let mut case = written(Check::nothing_lost("flags"));
    let (map, key, value) = (map("flags"), Bytes::from_static(b"key"), Bytes::new());
    let token = case.command(0, &Command::Put { map, key, value, expires: None });
    case.done(0, token, Err(CommandError::Busy));
    case.holds();
    assert_eq!((case.judge.state.acknowledged, case.judge.state.refused), (1, 1));
}

#[test]
fn events_fold_to_view_fails_where_they_do_not_add_up() {
    let mut case = Case::always(1, Check::events_fold_to_view("flags"));
    case.change(0, "flags", (None, Some("on")), by(0, 5));
    case.fails(0, "events told of 1 live keys, the node holds 0");
    case.shown(0).entries = vec![("key", "off")];
    case.fails(0, "no event told of the value");
    case.shown(0).entries = vec![("key", "on"), ("more", "on")];
    case.fails(0, "no event told of the value");
    case.shown(0).entries = vec![("key", "on")];
    case.holds();
}

#[test]
fn events_fold_to_view_fails_on_events_that_contradict_each_other() {
    let cases = [
        ((None, Some("off")), by(0, 6), "another old value"),
        ((Some("on"), Some("off")), by(0, 4), "goes back to an older version"),
        ((Some("on"), Some("off")), by(0, 5), "goes back to an older version"),
    ];
    for (change, version, with) in cases {
        let mut case = Case::always(1, Check::events_fold_to_view("flags"));
        case.change(0, "flags", (None, Some("on")), by(0, 5));
        case.change(0, "flags", change, version);
        case.fails(0, with);
    }
    let mut case = Case::always(1, Check::events_fold_to_view("flags"));
    case.change(0, "flags", (None, None), by(0, 5));
    case.fails(0, "tells of no change");
}

#[test]
fn a_new_life_tells_its_changes_from_the_beginning() {
    let mut case = Case::always(1, Check::events_fold_to_view("flags"));
    case.change(0, "flags", (None, Some("on")), by(0, 5));
    case.stop(0);
    case.start(0);
    case.holds();
    case.change(0, "flags", (None, Some("on")), by(0, 5));
    case.shown(0).entries = vec![("key", "on")];
    case.holds();
}

// --- clocks

#[test]
fn clocks_monotonic_fails_on_a_stamp_that_does_not_rise() {
    for (stamp, with) in [(5, "stamp 0.5 came after 0.5"), (4, "stamp 0.4 came after 0.5")] {
        let mut case = Case::always(2, Check::ClocksMonotonic);
        case.write("flags", Some("on"), by(0, 5));
        case.write("flags", Some("on"), by(1, 3));
        case.write("flags", Some("on"), by(1, 4));
        case.holds(); // each node has its own clock
        case.stop(0);
        case.start(0);
        case.write("others", Some("on"), by(0, stamp));
        case.fails(0, with);
    }
}

#[test]
fn clocks_bounded_fails_on_a_stamp_too_far_ahead() {
    let mut case = Case::always(2, Check::ClocksBounded);
    let allowed_ms = WALL_EPOCH_MS + 5_000 + Config::default().clock_drift_ms_max + 1;
    case.at_ms(5_000).shown(1).clock = Stamp::new(allowed_ms, 7);
    case.holds();
    case.shown(1).clock = Stamp::new(allowed_ms + 3, 0);
    case.fails(1, "3 ms further ahead than allowed");
}

#[test]
fn clocks_bounded_allows_for_a_clock_that_is_wrong_itself() {
    let config = Arc::new(Config::default());
    let allowed_ms = WALL_EPOCH_MS + config.clock_drift_ms_max + 1 + 200;
    let mut case = Case::always(2, Check::ClocksBounded);
    case.judge = Judge::new(&[PropertySpec::always(Check::ClocksBounded)], config, 2, 0, vec![0, 200]);
    case.shown(1).clock = Stamp::new(allowed_ms, 0);
    case.holds();
    case.shown(0).clock = Stamp::new(allowed_ms, 0);
    case.fails(0, "200 ms further ahead");
}
