//! From a scenario and a seed to the explicit schedule: every choice made, each by its own address.

use super::choices::Choices;
use super::units::SECOND;
use super::workloads::{Joining, Phase, Senders, Workload, WorkloadKind};
use super::{FaultKind, Scenario, ScenarioError};
use crate::draw::Seed;
use crate::schedule::{Action, ClockChange, Order, Schedule, Step};
use bytes::Bytes;
use rumormill_core::{Class, Command, Config, MapConfig, MapId, Topic};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The longest wait for a network to be quiet between two steps of a phase.
const QUIESCE_NS_MAX: u64 = 60 * SECOND;
/// The topic of a phase's messages.
const PHASE_TOPIC: &str = "messages";
/// Others that a contact asks when it comes back and there is no second contact.
const STRANGERS: u64 = 3;

impl Scenario {
    /// Makes every choice that the scenario leaves to the seed. Equal scenarios and seeds give equal schedules; dropping
    /// a fault or a workload changes nothing about the others.
    ///
    /// # Panics
    /// When the scenario does not validate, with the message: [`Scenario::try_expand`] returns it instead.
    #[track_caller]
    pub fn expand(&self, seed: impl Into<Seed>) -> Schedule {
        match self.try_expand(seed) {
            Ok(schedule) => schedule,
            Err(error) => panic!("{error}"),
        }
    }

    /// Makes every choice that the scenario leaves to the seed.
    ///
    /// # Errors
    /// [`ScenarioError`] when the scenario does not validate.
    pub fn try_expand(&self, seed: impl Into<Seed>) -> Result<Schedule, ScenarioError> {
        self.validate()?;
        let mut expansion = Expansion::new(self, seed.into());
        let (start_ns, end_ns) = if self.phases.is_empty() { expansion.timed() } else { expansion.phased() };
        Ok(Schedule {
            nodes: self.nodes,
            config: Arc::new(self.full_config()),
            configs: expansion.configs(),
            network: self.network.clone(),
            clocks: expansion.clocks(),
            steps: expansion.steps,
            bootstrap_end_ns: start_ns,
            end_ns,
        })
    }

    /// The configuration with every map that a workload writes.
    fn full_config(&self) -> Config {
        let mut config = self.config.clone();
        for map in self.maps() {
            if !config.maps.iter().any(|hosted| hosted.name == map) {
                config.maps.push(MapConfig { name: map.into(), schema: 0 });
            }
        }
        config
    }
}

/// A schedule in the making.
pub(super) struct Expansion<'s> {
    pub(super) scenario: &'s Scenario,
    pub(super) choices: Choices,
    pub(super) steps: Vec<Step>,
    topics: Vec<Topic>,
    /// When bootstrap is over.
    pub(super) start_ns: u64,
}

impl<'s> Expansion<'s> {
    fn new(scenario: &'s Scenario, seed: Seed) -> Self {
        let bootstrap = &scenario.bootstrap;
        let joins_ns = u64::from(scenario.nodes - 1).saturating_mul(bootstrap.join_every_ns);
        let mut topics = Vec::new();
        for workload in &scenario.workloads {
            if let WorkloadKind::Broadcast { topic, .. } = &workload.kind {
                topics.push(Topic::named(topic));
            }
        }
        if scenario.phases.iter().any(|phase| matches!(phase, Phase::Messages { .. })) {
            topics.push(Topic::named(PHASE_TOPIC));
        }
        topics.sort_unstable();
        topics.dedup();
        Self {
            scenario,
            choices: Choices::new(seed),
            steps: Vec::new(),
            topics,
            start_ns: joins_ns.saturating_add(bootstrap.settle_ns),
        }
    }

    /// Expands a timed scenario; tells when bootstrap and run end.
    fn timed(&mut self) -> (u64, u64) {
        let late = self.late_joiners();
        for node in 0..self.scenario.nodes {
            if late.binary_search(&node).is_err() {
                let at_ns = u64::from(node).saturating_mul(self.scenario.bootstrap.join_every_ns);
                self.start(at_ns, node);
            }
        }
        for workload in &self.scenario.workloads {
            self.workload(workload);
        }
        self.faults();
        // Stable: steps of one time stay in the order of the scenario, whatever else is dropped from it.
        self.steps.sort_by_key(|step| step.at_ns);
        (self.start_ns, self.start_ns + self.scenario.end_or_default_ns())
    }

    pub(super) fn push(&mut self, at_ns: u64, action: Action) {
        self.steps.push(Step { at_ns, action });
    }

    pub(super) fn command(&mut self, at_ns: u64, node: u32, command: Command) {
        self.push(at_ns, Action::Command { node, command: Order::Core(command) });
    }

    /// Boots a node for the first time and lets it join through the contacts that are there before it.
    fn start(&mut self, at_ns: u64, node: u32) {
        self.push(at_ns, Action::Start { node });
        self.greet(at_ns, node);
        let contacts = (0..self.scenario.bootstrap.contacts.min(node)).collect();
        self.push(at_ns, Action::Command { node, command: Order::Join { contacts } });
    }

    /// Gives a node that has just booted what its users always want of it.
    pub(super) fn greet(&mut self, at_ns: u64, node: u32) {
        for topic in self.topics.clone() {
            self.command(at_ns, node, Command::Subscribe { topic });
        }
        self.watch(at_ns, node);
    }

    /// Names whom a node asks when it comes back: the contacts, but for itself; a lone contact asks others.
    pub(super) fn contacts_again(&self, node: u32) -> Vec<u32> {
        let contacts: Vec<u32> =
            (0..self.scenario.bootstrap.contacts).filter(|contact| *contact != node).collect();
        let others = u64::from(self.scenario.nodes - 1);
        if !contacts.is_empty() || others == 0 {
            return contacts;
        }
        let stranger = |k| {
            let drawn = self.choices.below(others, "stranger", &[u64::from(node), k]) as u32;
            if drawn < node { drawn } else { drawn + 1 }
        };
        let mut strangers: Vec<u32> = (0..STRANGERS).map(stranger).collect();
        strangers.sort_unstable();
        strangers.dedup();
        strangers
    }

    /// Makes the configurations of the nodes that differ.
    fn configs(&self) -> Vec<(u32, Arc<Config>)> {
        let mut configs: BTreeMap<u32, Config> = BTreeMap::new();
        for (id, differing) in (0..).zip(&self.scenario.config_of) {
            for node in self.choices.nodes(&differing.nodes, self.scenario.nodes, "config_of", id) {
                let config = configs.entry(node).or_insert_with(|| self.scenario.full_config());
                differing.apply(config);
            }
        }
        configs.into_iter().map(|(node, config)| (node, Arc::new(config))).collect()
    }

    fn clocks(&self) -> Vec<ClockChange> {
        let clocks = self.scenario.clocks;
        if clocks.offset_ms == 0 && clocks.drift_ppm == 0 {
            return Vec::new();
        }
        let change = |node: u32| ClockChange {
            node,
            offset_ms: self.choices.within(clocks.offset_ms, "clocks.offset", &[u64::from(node)]),
            drift_ppm: self.choices.within(u64::from(clocks.drift_ppm), "clocks.drift", &[u64::from(node)])
                as i32,
            frozen: false,
        };
        (0..self.scenario.nodes).map(change).collect()
    }

    fn workload(&mut self, workload: &Workload) {
        let (id, word) = (workload.id, workload.kind.word());
        match &workload.kind {
            WorkloadKind::Broadcast { topic, rate_ppm, size, senders, class } => {
                let senders = self.senders((0..self.scenario.nodes).collect(), *senders, word, id);
                let topic = Topic::named(topic);
                for (k, at_ns) in self.times(workload, *rate_ppm, "broadcast.time") {
                    let node = self.sender(&senders, word, id, k);
                    self.publish(at_ns, node, topic, *class, *size, &[u64::from(id), k]);
                }
            }
            WorkloadKind::MapPut { map, keys, rate_ppm, size, removes_ppm } => {
                let map = MapId::named(map);
                for (k, at_ns) in self.times(workload, *rate_ppm, "map_put.time") {
                    let subject = [u64::from(id), k];
                    let node =
                        self.choices.below(u64::from(self.scenario.nodes), "map_put.node", &subject) as u32;
                    let key = self.choices.below(u64::from(*keys), "map_put.key", &subject);
                    let key = Bytes::from(format!("key-{key}"));
                    let removes =
                        self.choices.below(1_000_000, "map_put.removes", &subject) < u64::from(*removes_ppm);
                    let command = if removes {
                        Command::Remove { map, key }
                    } else {
                        let value = self.choices.bytes(*size, "map_put.value", &subject).into();
                        Command::Put { map, key, value, expires: None }
                    };
                    self.command(at_ns, node, command);
                }
            }
            WorkloadKind::Register { .. } => self.register(workload),
            WorkloadKind::Update { of, rate_ppm, meta_bytes } => {
                self.update(workload, *of, *rate_ppm, *meta_bytes);
            }
            WorkloadKind::Unregister { of, rate_ppm } => self.unregister(workload, *of, *rate_ppm),
            WorkloadKind::Lookup { of, rate_ppm } => self.look_up(workload, *of, *rate_ppm),
            WorkloadKind::Mail(mail) => self.mail(workload, mail),
            WorkloadKind::Request { lines, rate_ppm, nodes } => {
                self.request(workload, lines, *rate_ppm, nodes);
            }
            WorkloadKind::Watch { .. } => {} // stands from each start on
            WorkloadKind::Leave { nodes, back_after_ns } => {
                for node in self.choices.nodes(nodes, self.scenario.nodes, word, id) {
                    let span = workload.to_ns - workload.from_ns;
                    let after = self.choices.below(span, "leave.at", &[u64::from(id), u64::from(node)]);
                    let at_ns = self.start_ns + workload.from_ns + after;
                    self.command(at_ns, node, Command::Leave);
                    if let Some(back_ns) = back_after_ns {
                        let contacts = self.contacts_again(node);
                        let join = Action::Command { node, command: Order::Join { contacts } };
                        self.push(at_ns + back_ns, join);
                    }
                }
            }
        }
    }

    fn publish(&mut self, at_ns: u64, node: u32, topic: Topic, class: Class, size: u32, subject: &[u64]) {
        let payload = self.choices.bytes(size, "payload", subject).into();
        self.command(at_ns, node, Command::Publish { topic, class, payload });
    }

    /// Chooses those who may publish.
    fn senders(&self, among: Vec<u32>, senders: Senders, word: &str, id: u32) -> Vec<u32> {
        match senders {
            Senders::Random => among,
            Senders::Few(count) => self.choices.sample(among, count as usize, &format!("{word}.senders"), id),
        }
    }

    /// Chooses who publishes the k-th message.
    fn sender(&self, senders: &[u32], word: &str, id: u32, k: u64) -> u32 {
        let index = self.choices.below(senders.len() as u64, &format!("{word}.sender"), &[u64::from(id), k]);
        senders.get(index as usize).copied().unwrap_or(0)
    }

    /// Lists the operations of a workload: each at its own time within its own slot, so that the rate holds throughout.
    pub(super) fn times(&self, workload: &Workload, rate_ppm: u64, what: &str) -> Vec<(u64, u64)> {
        const SLOT_PARTS: u128 = 1_000_000 * SECOND as u128;
        let from_ns = self.start_ns + workload.from_ns;
        let span_ns = workload.to_ns - workload.from_ns;
        let count = (u128::from(rate_ppm) * u128::from(span_ns) / SLOT_PARTS) as u64;
        let slot_ns = (SLOT_PARTS / u128::from(rate_ppm.max(1))) as u64;
        let time = |k: u64| {
            let slot_at = (u128::from(k) * SLOT_PARTS / u128::from(rate_ppm)) as u64;
            let within = self.choices.below(slot_ns, what, &[u64::from(workload.id), k]);
            (k, from_ns + (slot_at + within).min(span_ns))
        };
        (0..count).map(time).collect()
    }

    /// Lists the nodes that a join storm brings, in rising order.
    fn late_joiners(&self) -> Vec<u32> {
        let storms =
            self.scenario.faults.iter().filter(|fault| matches!(fault.kind, FaultKind::JoinStorm { .. }));
        let mut late: Vec<u32> = storms.flat_map(|storm| self.storm_nodes(storm)).collect();
        late.sort_unstable();
        late.dedup();
        late
    }

    /// Expands the phases of paper mode. Quiet between two steps is waited for by the world, so no time passes here.
    fn phased(&mut self) -> (u64, u64) {
        let mut alive: Vec<u32> = (0..self.scenario.nodes).collect();
        let mut at_ns = 0;
        let mut counts = [0; 2];
        for phase in &self.scenario.phases {
            match phase {
                Phase::Join(joining) => self.join_all(*joining),
                Phase::Cycles(count) => (0..*count).for_each(|_| self.cycle(at_ns, &alive)),
                Phase::Kill(nodes) => {
                    let count = nodes.count(alive.len() as u32) as usize;
                    let dead = match nodes {
                        super::Nodes::These(numbers) => numbers.clone(),
                        _ => self.choices.sample(alive.clone(), count, "kill", counts[0]),
                    };
                    counts[0] += 1;
                    self.kill(at_ns, &dead);
                    alive.retain(|node| !dead.contains(node));
                }
                Phase::Messages { count, size, senders, every_ns } => {
                    let senders = self.senders(alive.clone(), *senders, "messages", counts[1]);
                    self.messages(&mut at_ns, counts[1], *count, *size, &senders, *every_ns);
                    counts[1] += 1;
                }
                Phase::Quiesce { max_ns } => self.push(at_ns, Action::Quiesce { max_ns: *max_ns }),
            }
        }
        (0, at_ns + self.scenario.end_or_default_ns())
    }

    fn join_all(&mut self, joining: Joining) {
        for node in 0..self.scenario.nodes {
            self.start(0, node);
            if joining == Joining::OneByOne {
                self.quiesce(0);
            }
        }
        if joining == Joining::AtOnce {
            self.quiesce(0);
        }
    }

    /// One membership step of every living node, in one instant.
    fn cycle(&mut self, at_ns: u64, alive: &[u32]) {
        for node in alive {
            self.command(at_ns, *node, Command::Cycle);
        }
        self.quiesce(at_ns);
    }

    fn kill(&mut self, at_ns: u64, dead: &[u32]) {
        for node in dead {
            self.push(at_ns, Action::Crash { fault: 0, node: *node, disk: crate::schedule::DiskFate::Kept });
        }
        self.quiesce(at_ns);
    }

    fn messages(
        &mut self,
        at_ns: &mut u64,
        id: u32,
        count: u32,
        size: u32,
        senders: &[u32],
        every_ns: Option<u64>,
    ) {
        for k in 0..u64::from(count) {
            let node = self.sender(senders, "messages", id, k);
            // Apart from the payloads of workloads, which are named by two numbers.
            self.publish(
                *at_ns,
                node,
                Topic::named(PHASE_TOPIC),
                Class::Normal,
                size,
                &[u64::from(id), k, 1],
            );
            match every_ns {
                Some(every_ns) => *at_ns = at_ns.saturating_add(every_ns),
                None => self.quiesce(*at_ns),
            }
        }
        if every_ns.is_some() {
            self.quiesce(*at_ns);
        }
    }

    fn quiesce(&mut self, at_ns: u64) {
        self.push(at_ns, Action::Quiesce { max_ns: QUIESCE_NS_MAX });
    }
}
