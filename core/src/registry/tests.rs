//! The registry on the bench, alone and with others.

mod guards;
mod laws;
mod leases;
mod relayed;

use super::*;
use crate::bench::{Bench, node};
use crate::frame::Channel;
use crate::machine::Effect;
use crate::service::Service;
use alloc::boxed::Box;
use std::format;
use std::string::String;
use std::vec;

const LIFE: Incarnation = Incarnation(1);

fn bytes(text: &str) -> Bytes {
    Bytes::from(Vec::from(text))
}

/// Registries whose frames arrive at once, and whose changes reach everybody when they are not lost.
struct Net {
    nodes: Vec<Bench<Registrar>>,
    /// What each node told.
    told: Vec<Vec<String>>,
    /// The frames that crossed, as they were counted last.
    frames: Vec<Frame>,
    /// The sequence number up to which each node's changes were delivered.
    delivered: Vec<u64>,
    loses_changes: bool,
}

impl Net {
    fn new(count: u8) -> Self {
        Self::with(count, &Config::default())
    }

    /// Nodes that know of each other's lives, and are nobody's neighbours.
    fn with(count: u8, config: &Config) -> Self {
        let start = |number: u8| {
            let mut registrar = Registrar::new(Arc::new(config.clone()), node(number), LIFE);
            registrar.set_watched(true);
            Bench::new(registrar)
        };
        let nodes = (1..=count).map(start).collect();
        let told = vec![Vec::new(); usize::from(count)];
        let mut net = Self {
            nodes,
            told,
            frames: Vec::new(),
            delivered: vec![0; usize::from(count)],
            loses_changes: false,
        };
        for of in 1..=count {
            net.everybody(|at| {
                (at != of).then_some(Input::LifeVisible { node: node(of), incarnation: LIFE })
            });
        }
        net
    }

    fn at(&mut self, number: u8) -> &mut Bench<Registrar> {
        &mut self.nodes[usize::from(number) - 1]
    }

    fn registry(&self, number: u8) -> &Registry {
        self.nodes[usize::from(number) - 1].machine.registry()
    }

    fn input(&mut self, number: u8, input: Input) {
        self.at(number).call(|machine, cx| machine.handle(input, cx));
        self.settle();
    }

    fn everybody(&mut self, input: impl Fn(u8) -> Option<Input>) {
        for number in 1..=self.nodes.len() as u8 {
            input(number).into_iter().for_each(|input| self.input(number, input));
        }
    }

    fn pair(&mut self, a: u8, b: u8) {
        self.input(a, Input::NeighborUp { peer: node(b) });
        self.input(b, Input::NeighborUp { peer: node(a) });
    }

    fn register(&mut self, number: u8, name: &str, meta: &str) -> Result<(), CommandError> {
        self.register_as(number, name, 0, meta, false)
    }

    fn register_as(
        &mut self,
        number: u8,
        name: &str,
        instance: u64,
        meta: &str,
        is_unique: bool,
    ) -> Result<(), CommandError> {
        let (name, meta) = (bytes(name), bytes(meta));
        let result = self
            .at(number)
            .call(|machine, cx| machine.register(&name, instance, MailboxId(7), &meta, is_unique, cx));
        self.settle();
        result
    }

    fn unregister(&mut self, number: u8, name: &str) -> Result<(), CommandError> {
        let name = bytes(name);
        let result = self.at(number).call(|machine, cx| machine.unregister(&name, 0, cx));
        self.settle();
        result
    }

    /// Carries what came out to where it goes, until all is quiet.
    fn settle(&mut self) {
        while (1..=self.nodes.len() as u8).any(|number| self.carry(number)) {}
    }

    fn carry(&mut self, number: u8) -> bool {
        let effects = core::mem::take(&mut self.at(number).effects);
        let mut is_busy = !effects.is_empty();
        for effect in effects {
            let Effect::Send { to, channel, frame } = effect else { panic!("only frames go out") };
            assert_eq!((channel, frame.channel()), (Channel::Sync, Channel::Sync));
            self.frames.push(frame.clone());
            let from = node(number);
            self.at(to.0[0]).call(|machine, cx| machine.handle(Input::Frame { from, frame }, cx));
        }
        is_busy |= self.deliver(number);
        while let Some(event) = self.at(number).machine.poll_event() {
            is_busy = true;
            match event {
                Event::News(news) => self.told[usize::from(number) - 1].push(show(&news)),
                other => self.told[usize::from(number) - 1].push(show_event(&other)),
            }
        }
        is_busy
    }

    /// Hands what a node has announced to everybody, as a long chain of neighbours would; tells whether there was any.
    fn deliver(&mut self, from: u8) -> bool {
        let at = usize::from(from) - 1;
        let machine = &self.nodes[at].machine;
        let (own, last, now) = (machine.own(), self.delivered[at], self.nodes[at].now.mono);
        if machine.announced == last || !machine.pending.is_empty() {
            return false;
        }
        let rows = machine.registry.rows_after(own, last, now);
        self.delivered[at] = machine.announced;
        if self.loses_changes {
            return true;
        }
        for number in (1..=self.nodes.len() as u8).filter(|number| *number != from) {
            let relayed = Relayed { told: Vec::new(), rows: rows.clone() };
            let frame = Frame::RegistryRelay(Box::new(relayed));
            let input = Input::Frame { from: node(from), frame };
            self.at(number).call(|machine, cx| machine.handle(input, cx));
        }
        true
    }

    fn run_for(&mut self, ms: u64) {
        let end = self.nodes[0].now.mono.plus_millis(ms);
        while let Some(due) = self.nodes.iter().filter_map(|it| it.machine.poll_timeout()).min()
            && due <= end
        {
            for number in 1..=self.nodes.len() as u8 {
                let bench = self.at(number);
                bench.set_time(due.max(bench.now.mono));
                bench.call(|machine, cx| machine.handle_timeout(cx));
            }
            self.settle();
        }
        self.nodes.iter_mut().for_each(|bench| bench.set_time(end));
        self.nodes.iter().for_each(|bench| bench.machine.audit());
    }

    fn told(&mut self, number: u8) -> Vec<String> {
        core::mem::take(&mut self.told[usize::from(number) - 1])
    }

    fn forget_told(&mut self) {
        self.told.iter_mut().for_each(Vec::clear);
        self.frames.clear();
    }

    fn names(&self, number: u8) -> Vec<String> {
        self.registry(number).names().map(|name| String::from_utf8_lossy(&name).into()).collect()
    }

    fn assert_equal(&self) {
        let first = self.registry(1).status();
        for number in 2..=self.nodes.len() as u8 {
            assert_eq!(self.registry(number).status(), first, "node {number} sees another directory");
        }
    }
}

fn show_service(service: &Service) -> String {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    let suspected = if service.is_suspected { "?" } else { "" };
    format!("{}={} at n{}{suspected}", text(&service.name), text(&service.meta), service.owner.0[0])
}

fn show(news: &News) -> String {
    match news {
        News::Registered(service) => format!("+ {}", show_service(service)),
        News::Updated(service) => format!("~ {}", show_service(service)),
        News::Unregistered(service) => format!("- {}", show_service(service)),
        News::Down { service, reason } => format!("{reason:?} {}", show_service(service)),
        other => panic!("no news of services: {other:?}"),
    }
}

fn show_event(event: &Event) -> String {
    match event {
        Event::Refused { from, owner } => format!("refused n{} by n{}", owner.0[0], from.0[0]),
        Event::Outlived { incarnation } => format!("outlived by {}", incarnation.0),
        Event::NameLost { name, to, .. } => {
            format!("lost {} to n{}", String::from_utf8_lossy(name), to.0[0])
        }
        Event::Malformed { from } => format!("malformed by n{}", from.0[0]),
        Event::News(_) => panic!("shown elsewhere"),
    }
}

#[test]
fn a_registration_is_one_entry_and_one_event_on_every_node() {
    let mut net = Net::new(3);
    assert_eq!(net.register(1, "room/blue", "a"), Ok(()));
    assert_eq!(net.told(1), ["+ room/blue=a at n1"]);
    assert_eq!(net.told(2), [""; 0], "it goes out with others, a little later");
    net.run_for(30);
    assert_eq!(net.told(1), [""; 0]);
    for number in [2, 3] {
        assert_eq!(net.told(number), ["+ room/blue=a at n1"]);
        assert_eq!(net.registry(number).lookup(b"room/blue").count(), 1);
        assert_eq!(net.registry(number).len(), 1);
    }
    net.assert_equal();
}

#[test]
fn changes_of_one_moment_go_out_as_one_update() {
    let mut net = Net::new(2);
    for name in ["c", "a", "b", "a"] {
        assert_eq!(net.register(1, name, name), Ok(()));
    }
    assert_eq!(net.register(1, "a", "again"), Ok(()));
    assert_eq!(net.unregister(1, "b"), Ok(()));
    net.run_for(30);
    assert_eq!(net.nodes[0].stats.registry_updates, 1);
    assert_eq!(net.told(2), ["+ a=again at n1", "+ c=c at n1"]);
}

#[test]
fn registering_again_updates_in_place_and_keeps_the_age() {
    let mut net = Net::new(2);
    net.register(1, "worker", "idle").unwrap();
    net.run_for(1_000);
    let age = |net: &Net| net.registry(2).whereis(b"worker").unwrap().registered_at;
    let before = age(&net);
    net.forget_told();
    net.register(1, "worker", "busy").unwrap();
    net.register(1, "worker", "busy").unwrap();
    net.run_for(1_000);
    for number in [1, 2] {
        assert_eq!(net.told(number), ["~ worker=busy at n1"]);
    }
    assert_eq!(age(&net), before);
}

#[test]
fn the_last_removal_reaches_those_who_were_cut_off() {
    let mut net = Net::new(2);
    net.register(1, "only", "x").unwrap();
    net.run_for(30);
    net.loses_changes = true;
    net.unregister(1, "only").unwrap();
    net.run_for(30);
    assert_eq!(net.names(2), ["only"]);
    net.forget_told();
    net.pair(1, 2);
    net.run_for(1_000);
    assert_eq!(net.names(2), [""; 0]);
    assert_eq!(net.told(2), ["- only=x at n1"]);
    net.assert_equal();
}

#[test]
fn a_newcomer_learns_the_whole_directory_from_any_peer() {
    let mut net = Net::new(4);
    for number in 1..=3 {
        net.register(number, "shared", "x").unwrap();
        net.register(number, &format!("own/{number}"), "x").unwrap();
    }
    net.loses_changes = true;
    net.pair(1, 2);
    net.pair(2, 3);
    net.run_for(60_000);
    net.pair(3, 4); // hears nothing from 1 and 2 themselves
    net.run_for(1_000);
    assert_eq!(net.names(4), ["own/1", "own/2", "own/3", "shared"]);
    assert_eq!(net.registry(4).lookup(b"shared").count(), 3);
    net.assert_equal();
    assert_eq!(net.told(4).len(), 6, "each service once");
}

#[test]
fn equal_directories_exchange_hashes_and_nothing_else() {
    let mut net = Net::new(2);
    net.register(1, "a", "x").unwrap();
    net.register(2, "b", "x").unwrap();
    net.run_for(30);
    net.pair(1, 2);
    net.run_for(60_000);
    assert!(net.frames.len() >= 6, "a session now and then");
    for frame in &net.frames {
        match frame {
            Frame::RegistryHello(_) => {}
            Frame::RegistryRows(rows) => assert!(rows.rows.is_empty() && rows.mask == 0),
            other => panic!("something was sent: {other:?}"),
        }
    }
}

#[test]
fn services_live_as_long_as_their_owners_lease_and_a_healed_partition_moves_nothing() {
    let mut net = Net::new(2);
    net.register(1, "a", "x").unwrap();
    net.run_for(30);
    net.pair(1, 2);
    net.run_for(5_000);
    net.forget_told();
    let gone = Input::LifeGone { node: node(1), incarnation: LIFE, reason: ServiceLoss::Dead };
    net.input(2, gone.clone());
    net.input(2, gone);
    assert_eq!(net.told(2), ["Dead a=x at n1"]);
    assert!(net.registry(2).is_empty() && net.registry(2).whereis(b"a").is_none());
    net.run_for(60_000);
    net.input(2, Input::LifeVisible { node: node(1), incarnation: LIFE });
    assert_eq!(net.told(2), ["+ a=x at n1"]);
    net.assert_equal();
    let moved = |frame: &Frame| matches!(frame, Frame::RegistryUpdates { .. } | Frame::RegistryPull(_));
    assert!(!net.frames.iter().any(moved), "the data was there all the time");
}

#[test]
fn neighbours_come_and_go_without_a_trace() {
    let mut net = Net::new(2);
    net.register(1, "a", "x").unwrap();
    net.run_for(30);
    net.pair(1, 2);
    net.run_for(1_000);
    net.forget_told();
    net.input(2, Input::NeighborDown { peer: node(1) });
    net.input(1, Input::NeighborDown { peer: node(2) });
    net.run_for(60_000);
    assert_eq!(net.told(2), [""; 0]);
    assert_eq!(net.names(2), ["a"]);
}

#[test]
fn another_life_begins_without_the_services_of_the_last() {
    let mut net = Net::new(2);
    net.register(1, "old", "x").unwrap();
    net.run_for(30);
    net.forget_told();
    let config = Arc::new(Config::default());
    net.nodes[0].machine = Registrar::new(config, node(1), Incarnation(2));
    net.delivered[0] = 0;
    net.register(1, "new", "x").unwrap();
    net.run_for(30);
    assert_eq!(net.told(2), ["Restarted old=x at n1"], "its new life is not known here yet");
    net.input(2, Input::LifeVisible { node: node(1), incarnation: Incarnation(2) });
    assert_eq!(net.told(2), ["+ new=x at n1"]);
    net.input(2, Input::LifeGone { node: node(1), incarnation: LIFE, reason: ServiceLoss::Dead });
    assert_eq!(net.told(2), [""; 0], "that was another life");
}

#[test]
fn what_is_missing_is_pulled_from_whoever_handed_the_next_on() {
    let mut net = Net::new(3);
    net.loses_changes = true;
    net.register(1, "first", "x").unwrap();
    net.run_for(30);
    net.loses_changes = false;
    net.register(1, "second", "x").unwrap();
    net.run_for(30);
    assert_eq!(net.names(2), ["first", "second"]);
    assert_eq!(net.nodes[1].stats.registry_gaps, 1);
    net.assert_equal();
}

/// An update as anybody may hand it on.
fn update_from(from: NodeId, updates: Bytes) -> Input {
    Input::Frame { from, frame: Frame::RegistryUpdates { is_last: false, updates: read(updates) } }
}

/// Reads updates up to what is none.
fn read(mut bytes: Bytes) -> Vec<Update> {
    core::iter::from_fn(|| Update::split(&mut bytes).ok()).collect()
}

fn forged(owner: u8, life: u64, from: u64, to: u64, names: &[&str]) -> Bytes {
    let mut changes = Vec::new();
    for (at, name) in names.iter().enumerate() {
        let body = (bytes(name), name.len() as u16);
        let record = Record::new(body, 0, MailboxId(0), Stamp(5), false);
        update::encode_put(&record, to - from - (names.len() - 1 - at) as u64, &mut changes);
    }
    let (owner, incarnation, count) = (node(owner), Incarnation(life), names.len() as u32);
    let batch = Batch::new(owner, incarnation, Some(from), to, count, Bytes::from(changes));
    Update { batch: Arc::new(batch), age_ms: 0 }.to_bytes()
}

#[test]
fn what_others_say_of_a_nodes_own_set_is_refused_and_written_over() {
    let mut net = Net::new(3);
    net.register(1, "mine", "x").unwrap();
    net.run_for(30);
    net.forget_told();
    let payload = forged(1, 1, 1, 2, &["forged"]);
    for number in [2, 3] {
        net.input(number, update_from(node(3), payload.clone()));
    }
    assert_eq!(net.names(2), ["forged", "mine"], "nobody else can know");
    net.input(1, update_from(node(3), payload));
    assert_eq!(net.told(1), ["refused n1 by n3"]);
    assert_eq!(net.names(2), ["mine"]);
    net.assert_equal();
    assert_eq!(net.nodes[0].stats.registry_rewritten, 1);
}

#[test]
fn an_equal_number_with_other_contents_is_found_by_its_owner_and_written_over() {
    let mut net = Net::new(3);
    net.pair(1, 2);
    net.pair(2, 3);
    net.loses_changes = true;
    for number in [2, 3] {
        net.input(number, update_from(node(3), forged(1, 1, 0, 1, &["forged"])));
    }
    net.register(1, "mine", "x").unwrap();
    net.run_for(120_000);
    assert_eq!(net.names(3), ["mine"]);
    net.assert_equal();
    assert!(net.told(1).contains(&String::from("refused n1 by n2")));
}

#[test]
fn older_lives_and_older_numbers_change_nothing() {
    let mut net = Net::new(2);
    net.register(2, "a", "x").unwrap();
    net.register(2, "b", "x").unwrap();
    net.run_for(30);
    net.forget_told();
    for payload in [forged(2, 0, 0, 9, &["old"]), forged(2, 1, 0, 2, &["old"]), forged(2, 1, 0, 1, &["old"])]
    {
        net.input(1, update_from(node(2), payload));
    }
    assert_eq!((net.names(1), net.told(1)), (vec![String::from("a"), String::from("b")], vec![]));
    assert_eq!(net.nodes[0].stats.registry_stale, 3);
}

#[test]
fn what_breaks_the_bounds_is_refused_and_told_once() {
    let config = Config { registrations_max: 3, registry_name_len_max: 8, ..Config::default() };
    let mut net = Net::with(2, &config);
    let flood = forged(2, 1, 0, 4, &["a", "b", "c", "d"]);
    let long = forged(2, 1, 0, 5, &["a-name-too-long"]);
    for payload in [&flood, &flood, &long] {
        net.input(1, update_from(node(2), payload.clone()));
    }
    assert_eq!(net.told(1), ["refused n2 by n2", "refused n2 by n2"]);
    assert_eq!(net.nodes[0].stats.registry_refused, 3);
    net.input(1, update_from(node(2), forged(2, 1, 0, 3, &["a", "b", "c"])));
    net.input(1, update_from(node(2), forged(2, 1, 3, 6, &["d"])));
    assert_eq!(net.names(1), ["a", "b", "c"]);
    for (count, junk) in [(1, "junk"), (1, "junkjunkjunk")] {
        let batch = Batch::new(node(2), LIFE, Some(3), 4, count, bytes(junk));
        net.input(1, update_from(node(2), Update { batch: Arc::new(batch), age_ms: 0 }.to_bytes()));
    }
    let last: Vec<String> = net.told(1).split_off(3);
    assert_eq!(last, ["refused n2 by n2", "malformed by n2", "malformed by n2"]);
}

#[test]
fn a_life_from_the_far_future_is_refused_and_hides_nobody() {
    let mut net = Net::new(2);
    let ahead =
        |net: &Net, ms: u64| (net.nodes[0].now.wall.0 + Config::default().registry_ahead_ms_max + ms) << 16;
    let (near, far) = (ahead(&net, 0), ahead(&net, 1));
    net.input(1, update_from(node(2), forged(2, far, 0, 1, &["a"])));
    assert_eq!(net.told(1), ["refused n2 by n2"]);
    assert_eq!(net.nodes[0].stats.registry_refused, 1);
    net.register(2, "b", "").unwrap();
    net.run_for(30);
    assert_eq!(net.names(1), ["b"]);
    net.input(1, update_from(node(2), forged(2, near, 0, 1, &["a"])));
    assert_eq!(net.nodes[0].stats.registry_refused, 1, "clocks go wrong, and that far is believed");
}

fn is_signed(_: &[u8], meta: &[u8]) -> bool {
    meta.ends_with(b"!")
}

#[test]
fn a_schema_judges_at_the_call_and_on_arrival() {
    let schema = Schema { id: 9, version: 1, join: None, validate: None, verify: Some(is_signed) };
    let strict = Config { registry_schema: 9, schemas: vec![schema], ..Config::default() };
    assert_eq!(strict.validate().map_err(|error| error.key), Ok(()));
    let mut net = Net::new(2);
    net.nodes[0].machine = Registrar::new(Arc::new(strict), node(1), LIFE);
    net.input(1, Input::LifeVisible { node: node(2), incarnation: LIFE });
    assert_eq!(net.register(1, "a", "unsigned"), Err(CommandError::Invalid));
    assert_eq!(net.register(1, "a", "signed!"), Ok(()));
    net.register(2, "b", "unsigned").unwrap();
    net.run_for(30);
    assert_eq!(net.names(1), ["a"], "kept, and not shown");
    assert_eq!(net.told(1), ["refused n2 by n2"]);
    net.register(2, "b", "signed!").unwrap();
    net.run_for(30);
    assert_eq!(net.names(1), ["a", "b"]);
    net.assert_equal();
}

#[test]
fn bounds_are_errors_at_the_call() {
    let config = Config {
        registrations_max: 2,
        registry_owner_bytes_max: 20,
        registry_name_len_max: 8,
        registry_meta_len_max: 16,
        ..Config::default()
    };
    let mut net = Net::with(1, &config);
    let too_large = |len, max| Err(CommandError::TooLarge { len, max });
    assert_eq!(net.register(1, "much-too-long", ""), too_large(13, 8));
    assert_eq!(net.register(1, "a", "a metadata too long"), too_large(19, 16));
    assert_eq!(net.register(1, "a", "0123456789"), Ok(()));
    assert_eq!(net.register(1, "b", "0123456789"), Err(CommandError::Full { max: 20 }));
    assert_eq!(net.register(1, "b", ""), Ok(()));
    assert_eq!(net.register(1, "c", ""), Err(CommandError::Full { max: 2 }));
    assert_eq!(net.register(1, "a", "9876543210"), Ok(()), "what is there may change");
    assert_eq!(net.unregister(1, "c"), Err(CommandError::NoSuchService));
    assert_eq!(net.unregister(1, "b"), Ok(()));
    assert_eq!(net.register(1, "c", ""), Ok(()));
    assert_eq!(net.names(1), ["a", "c"]);
}

#[test]
fn an_update_without_a_change_is_none() {
    let mut reader = Bench::new(Registrar::new(Arc::new(Config::default()), node(2), LIFE));
    reader.input(Input::LifeVisible { node: node(1), incarnation: LIFE });
    for seq in 0..100 {
        reader.input(update_from(node(1), forged(1, LIFE.0, 0, seq + 1, &[])));
    }
    assert_eq!((reader.stats.registry_applied, reader.stats.malformed), (0, 100));
}

#[test]
fn a_set_that_leaps_ahead_is_refused_and_hides_nothing() {
    let mut net = Net::new(2);
    net.register(1, "a", "x").unwrap();
    net.pair(1, 2);
    net.run_for(2_000);
    net.input(2, update_from(node(1), forged(1, LIFE.0, 1, 1 << 50, &["evil"])));
    assert_eq!(net.names(2), ["a"]);
}

#[test]
fn a_unique_name_is_refused_to_the_second_who_can_see_the_first() {
    let mut net = Net::new(2);
    assert_eq!(net.register_as(1, "one", 0, "x", true), Ok(()));
    net.run_for(30);
    let taken = Err(CommandError::NameTaken { by: node(1) });
    assert_eq!(net.register_as(2, "one", 0, "x", true), taken);
    assert_eq!(net.register_as(2, "one", 0, "x", false), taken);
    assert_eq!(net.register_as(1, "one", 1, "x", true), taken, "on the same node too");
    assert_eq!(net.register_as(1, "one", 0, "new", true), Ok(()), "and may say something new");
    net.run_for(30);
    assert_eq!(net.told(2), ["+ one=x at n1", "~ one=new at n1"]);
}

#[test]
fn of_two_unique_registrations_the_older_wins_everywhere_and_the_other_is_withdrawn() {
    let mut net = Net::new(3);
    net.loses_changes = true;
    net.register_as(2, "one", 0, "old", true).unwrap();
    net.run_for(100);
    net.register_as(1, "one", 0, "new", true).unwrap();
    net.run_for(100);
    net.forget_told();
    net.loses_changes = false;
    net.pair(1, 3);
    net.run_for(2_000);
    assert_eq!(net.registry(3).whereis(b"one").unwrap().owner, node(1));
    net.pair(2, 3);
    net.pair(1, 2);
    net.run_for(2_000);
    for number in 1..=3 {
        let shown: Vec<NodeId> = net.registry(number).lookup(b"one").map(|service| service.owner).collect();
        assert_eq!(shown, [node(2)]);
        assert_eq!(net.registry(number).whereis(b"one").unwrap().owner, node(2));
    }
    net.assert_equal();
    assert_eq!(net.told(3), ["+ one=new at n1", "- one=new at n1", "+ one=old at n2"]);
    assert_eq!(net.told(1), ["- one=new at n1", "+ one=old at n2", "lost one to n2"]);
    assert_eq!(net.told(2), [""; 0], "never for losers");
    assert_eq!(net.unregister(1, "one"), Err(CommandError::NoSuchService));
}

#[test]
fn whereis_prefers_its_own_then_the_unsuspected_and_keeps_to_its_choice() {
    let mut net = Net::new(5);
    for number in 2..=5 {
        net.register(number, "s", "x").unwrap();
    }
    net.run_for(30);
    let chosen = |net: &Net| net.registry(1).whereis(b"s").unwrap().owner;
    let first = chosen(&net);
    net.input(1, Input::LifeSuspected { node: first, is_suspected: true });
    let second = chosen(&net);
    assert_ne!(first, second);
    net.input(1, Input::LifeSuspected { node: first, is_suspected: false });
    assert_eq!(chosen(&net), first);
    net.input(1, Input::LifeGone { node: second, incarnation: LIFE, reason: ServiceLoss::Dead });
    assert_eq!(chosen(&net), first, "others come and go");
    net.register(1, "s", "own").unwrap();
    assert_eq!(chosen(&net), node(1));
    assert_eq!(net.registry(1).lookup(b"s").count(), 4);
    for number in 2..=5 {
        net.input(1, Input::LifeSuspected { node: node(number), is_suspected: true });
    }
    net.unregister(1, "s").unwrap();
    assert_eq!(chosen(&net), first, "better a suspect than nobody");
}

#[test]
fn suspicion_is_an_update_once() {
    let mut net = Net::new(2);
    net.register(2, "s", "x").unwrap();
    net.run_for(30);
    net.forget_told();
    for is_suspected in [true, true, false, false] {
        net.input(1, Input::LifeSuspected { node: node(2), is_suspected });
    }
    assert_eq!(net.told(1), ["~ s=x at n2?", "~ s=x at n2"]);
    net.assert_equal();
}

#[test]
fn the_directory_is_read_by_name_by_prefix_and_locally() {
    let mut net = Net::new(2);
    for (number, name, instance) in
        [(1, "b/1", 1), (1, "b/1", 0), (1, "a", 0), (2, "b/1", 0), (2, "b/2", 0), (2, "c", 0)]
    {
        net.register_as(number, name, instance, "x", false).unwrap();
    }
    net.run_for(30);
    let registry = net.registry(1);
    let shown = |services: &mut dyn Iterator<Item = Service>| -> Vec<String> {
        services.map(|it| format!("{} {}", show_service(&it), it.instance)).collect()
    };
    let mut of_prefix = shown(&mut registry.prefix(b"b/"));
    of_prefix.sort();
    assert_eq!(of_prefix, ["b/1=x at n1 0", "b/1=x at n1 1", "b/1=x at n2 0", "b/2=x at n2 0"]);
    assert_eq!(shown(&mut registry.lookup_local(b"b/1")), ["b/1=x at n1 0", "b/1=x at n1 1"]);
    assert_eq!(shown(&mut registry.local()), ["a=x at n1 0", "b/1=x at n1 0", "b/1=x at n1 1"]);
    assert_eq!((registry.len(), registry.lookup(b"b/").count()), (6, 0));
    assert_eq!(net.names(2), ["a", "b/1", "b/2", "c"]);
    let service = registry.whereis(b"c").unwrap();
    assert_eq!(service.address().unwrap().node, node(2));
}

#[test]
fn the_forgotten_do_not_come_back_and_their_number_is_bounded() {
    let config = Config { registry_retention_ms: 10_000, epitaphs_max: 2, ..Config::default() };
    let mut net = Net::with(5, &config);
    let mut sets = Vec::new();
    for number in 2..=5 {
        let set = forged(number, 1, 0, 1, &["s"]);
        net.input(1, update_from(node(number), set.clone()));
        net.input(1, Input::LifeGone { node: node(number), incarnation: LIFE, reason: ServiceLoss::Left });
        sets.push(set);
    }
    net.run_for(9_999);
    assert_eq!(net.registry(1).count_owners(), 5);
    net.run_for(1);
    assert_eq!(net.registry(1).count_owners(), 1, "only the node itself is left");
    assert_eq!(net.nodes[0].machine.epitaphs.len(), 2);
    net.input(1, update_from(node(5), sets[3].clone()));
    assert_eq!(net.nodes[0].stats.registry_stale, 1);
    net.input(1, update_from(node(5), forged(5, 2, 0, 1, &["s"])));
    assert_eq!(net.registry(1).count_owners(), 2, "a newer life is news");
}

#[test]
fn a_set_of_another_life_than_goes_on_is_forgotten_and_so_is_the_next_one() {
    let config = Config { registry_retention_ms: 10_000, ..Config::default() };
    let mut net = Net::with(2, &config);
    net.input(1, Input::LifeVisible { node: node(2), incarnation: Incarnation(9) });
    for life in [1, 2] {
        net.input(1, update_from(node(2), forged(2, life, 0, 1, &["s"])));
        assert_eq!(net.nodes[0].machine.purges.len(), 1);
        net.run_for(10_000);
        assert_eq!(net.registry(1).owner(&node(2)).map(|owner| owner.seq), Some(0));
        net.nodes[0].machine.audit();
    }
}

#[test]
fn lives_are_followed_up_to_the_bound_of_owners() {
    let net = Net::with(4, &Config { registry_owners_max: 3, ..Config::default() });
    assert_eq!((net.registry(1).count_owners(), net.nodes[0].stats.registry_refused), (3, 1));
}

#[test]
fn a_life_that_goes_on_after_all_gets_its_forgotten_set_back() {
    let config = Config { registry_retention_ms: 10_000, ..Config::default() };
    let mut net = Net::with(2, &config);
    net.pair(1, 2);
    net.register(2, "s", "x").unwrap();
    net.run_for(1_000);
    net.input(1, Input::LifeGone { node: node(2), incarnation: LIFE, reason: ServiceLoss::Dead });
    net.run_for(11_000);
    assert_eq!((net.names(1), net.nodes[0].machine.epitaphs.len()), (vec![], 1));
    net.input(1, Input::LifeVisible { node: node(2), incarnation: LIFE });
    net.run_for(2_000);
    assert_eq!(net.names(1), ["s"]);
}

#[test]
fn a_directory_larger_than_one_answer_comes_in_several() {
    let config = Config { registry_sync_bytes: 400, sync_chunk_bytes: 100, ..Config::default() };
    let mut net = Net::with(9, &config);
    net.loses_changes = true;
    for number in 1..=8 {
        for name in 0..5 {
            net.register(number, &format!("{number}/{name}"), "0123456789").unwrap();
        }
        net.run_for(30);
        net.pair(number, number + 1);
    }
    net.run_for(20_000);
    net.assert_equal();
    assert_eq!(net.registry(9).len(), 40);
    let chunk = |frame: &Frame| if let Frame::RegistryUpdates { .. } = frame { frame.wire_len() } else { 0 };
    assert!(net.frames.iter().map(chunk).max().unwrap() < 400, "chunks are small");
}

#[test]
fn a_slow_peer_is_spared_and_served_later() {
    let mut net = Net::new(2);
    net.loses_changes = true;
    net.register(1, "a", "x").unwrap();
    net.pair(1, 2);
    net.input(1, Input::LinkFull { peer: node(2) });
    net.run_for(10_000);
    assert_eq!(net.names(2), [""; 0]);
    net.input(1, Input::LinkReady { peer: node(2) });
    net.run_for(30_000);
    assert_eq!(net.names(2), ["a"]);
}

#[test]
fn nothing_is_told_while_nobody_watches() {
    let mut net = Net::new(2);
    net.nodes[1].machine.set_watched(false);
    net.register(1, "a", "x").unwrap();
    net.run_for(30);
    assert_eq!((net.told(2), net.registry(2).len()), (vec![], 1));
}

#[test]
fn rows_that_were_not_asked_for_or_make_no_sense_are_refused() {
    let mut net = Net::new(2);
    let row = |number| Row { owner: node(number), incarnation: LIFE, seq: 1, fingerprint: 1 };
    let rows =
        |rows| Frame::RegistryRows(Box::new(Rows { mask: u32::MAX, after: None, is_last: true, rows }));
    net.input(1, Input::Frame { from: node(2), frame: rows(vec![row(9)]) });
    assert_eq!(net.nodes[0].stats.misplaced, 1);
    let bench = net.at(1);
    bench.call(|machine, cx| machine.handle(Input::NeighborUp { peer: node(2) }, cx));
    bench.run_to(1_000);
    let frame = rows(vec![row(9), row(8)]);
    let shown = bench.input(Input::Frame { from: node(2), frame });
    assert!(shown[0].starts_with("Malformed"), "{shown:?}");
}

#[cfg(rumormill_canary)]
mod canaries {
    use super::*;

    fn planted(canary: Canary, count: u8) -> Net {
        Net::with(count, &Config { canary: Some(canary), ..Config::default() })
    }

    #[test]
    fn each_planted_bug_shows() {
        let mut net = planted(Canary::TwiceRegistered, 1);
        net.register(1, "a", "x").unwrap();
        assert_eq!(net.told(1).len(), 2);

        let mut net = planted(Canary::SilentDeath, 2);
        net.register(1, "a", "x").unwrap();
        net.run_for(30);
        net.forget_told();
        net.input(2, Input::LifeGone { node: node(1), incarnation: LIFE, reason: ServiceLoss::Dead });
        assert_eq!((net.told(2), net.registry(2).len()), (vec![], 0));

        let mut net = planted(Canary::LostLastRemoval, 2);
        net.register(1, "a", "x").unwrap();
        net.run_for(30);
        net.unregister(1, "a").unwrap();
        net.pair(1, 2);
        net.run_for(60_000);
        assert_eq!(net.names(2), ["a"]);

        let mut net = planted(Canary::FrozenMeta, 1);
        net.register(1, "a", "x").unwrap();
        net.register(1, "a", "y").unwrap();
        assert_eq!(net.registry(1).whereis(b"a").unwrap().meta, "x");
    }

    #[test]
    fn each_planted_bug_of_replication_shows() {
        let mut net = planted(Canary::NeighborsOnly, 3);
        net.loses_changes = true;
        net.register(1, "a", "x").unwrap();
        net.pair(1, 2);
        net.pair(2, 3);
        net.run_for(60_000);
        assert_eq!((net.names(2).len(), net.names(3).len()), (1, 0));

        let mut net = planted(Canary::ViewChurnDeletes, 2);
        net.register(1, "a", "x").unwrap();
        net.run_for(30);
        net.pair(1, 2);
        net.input(2, Input::NeighborDown { peer: node(1) });
        assert_eq!(net.names(2), [""; 0]);

        let mut net = planted(Canary::ForeignWrites, 2);
        net.register(1, "a", "x").unwrap();
        net.run_for(30);
        net.input(1, update_from(node(2), forged(1, 1, 1, 2, &["forged"])));
        assert_eq!(net.names(1), ["a", "forged"]);
    }

    #[test]
    #[should_panic(expected = "more epitaphs than epitaphs_max")]
    fn hoarded_epitaphs_show() {
        let canary = Some(Canary::TombstoneHoard);
        let config = Config { canary, registry_retention_ms: 1, epitaphs_max: 0, ..Config::default() };
        let mut net = Net::with(2, &config);
        net.input(1, update_from(node(2), forged(2, 1, 0, 1, &["s"])));
        net.input(1, Input::LifeGone { node: node(2), incarnation: LIFE, reason: ServiceLoss::Left });
        net.run_for(1);
    }
}
