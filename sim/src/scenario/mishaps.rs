//! The steps of faults: which nodes, when, and how it ends.

use super::expand::Expansion;
use super::faults::{Distribution, Fault, FaultKind, Flapping, Nodes, Shape};
use super::units::{MILLI, PPM};
use crate::schedule::{Action, ClockChange, DiskFate, FaultEffect};

impl Expansion<'_> {
    /// Pushes the steps of all faults; each fault's number is its place in the scenario.
    pub(super) fn faults(&mut self) {
        for (number, fault) in self.scenario.faults.iter().enumerate() {
            self.fault(number as u32, fault);
        }
    }

    fn fault(&mut self, number: u32, fault: &Fault) {
        match &fault.kind {
            FaultKind::Crash { nodes, disk, restart_after_ns } => {
                let at_ns = self.start_ns + fault.at_ns;
                for node in self.chosen(fault, nodes) {
                    let back = restart_after_ns.map(|after| at_ns + after);
                    self.crash(number, node, *disk, at_ns, back);
                }
            }
            FaultKind::MassFailure { nodes } => {
                let at_ns = self.start_ns + fault.at_ns;
                for node in self.chosen(fault, nodes) {
                    self.crash(number, node, DiskFate::Kept, at_ns, None);
                }
            }
            FaultKind::RollingRestart { nodes, disk, every_ns, down_ns } => {
                let mut at_ns = self.start_ns + fault.at_ns;
                for node in self.chosen(fault, nodes) {
                    self.crash(number, node, *disk, at_ns, Some(at_ns + down_ns));
                    at_ns += every_ns;
                }
            }
            FaultKind::Churn { nodes, session_ns, down_ns, distribution, disk } => {
                for node in self.chosen(fault, nodes) {
                    self.churn(number, fault, node, (*session_ns, *down_ns), *distribution, *disk);
                }
            }
            FaultKind::JoinStorm { .. } => {
                let at_ns = self.start_ns + fault.at_ns;
                for node in self.storm_nodes(fault) {
                    self.bring(number, node, at_ns);
                }
            }
            FaultKind::Partition { shape, flapping } => {
                let effect = self.cut(fault, shape);
                self.lasting(number, fault, effect, *flapping);
            }
            FaultKind::Loss { .. }
            | FaultKind::Duplicate { .. }
            | FaultKind::Reorder { .. }
            | FaultKind::Latency { .. }
            | FaultKind::Pause { .. }
            | FaultKind::Slow { .. }
            | FaultKind::Clock { .. } => {
                let effect = self.effect(fault);
                self.lasting(number, fault, effect, None);
            }
        }
    }

    fn chosen(&self, fault: &Fault, nodes: &Nodes) -> Vec<u32> {
        self.choices.nodes(nodes, self.scenario.nodes, fault.kind.word(), fault.id)
    }

    /// Chooses the nodes, where an empty list means all of them.
    fn chosen_or_empty(&self, fault: &Fault, nodes: &Nodes) -> Vec<u32> {
        if *nodes == Nodes::All { Vec::new() } else { self.chosen(fault, nodes) }
    }

    /// Chooses the nodes of a storm: contacts never; a node of several storms comes with the first of them.
    pub(super) fn storm_nodes(&self, storm: &Fault) -> Vec<u32> {
        let drawn = |fault: &Fault| -> Vec<u32> {
            let FaultKind::JoinStorm { nodes } = &fault.kind else { return Vec::new() };
            let free = self.scenario.bootstrap.contacts..self.scenario.nodes;
            match nodes {
                Nodes::All => free.collect(),
                Nodes::These(numbers) => numbers.clone(),
                Nodes::Share(_) | Nodes::Count(_) => {
                    let count = nodes.count(self.scenario.nodes) as usize;
                    self.choices.sample(free.collect(), count, "join_storm", fault.id)
                }
            }
        };
        let mut nodes = drawn(storm);
        for other in &self.scenario.faults {
            if (other.at_ns, other.id) < (storm.at_ns, storm.id) {
                let earlier = drawn(other);
                nodes.retain(|node| earlier.binary_search(node).is_err());
            }
        }
        nodes
    }

    /// Crashes a node and, where it comes back, boots it again and lets it hear what it heard.
    fn crash(&mut self, fault: u32, node: u32, disk: DiskFate, at_ns: u64, back_ns: Option<u64>) {
        self.push(at_ns, Action::Crash { fault, node, disk });
        if let Some(back_ns) = back_ns {
            self.bring(fault, node, back_ns);
        }
    }

    /// Boots a node on behalf of a fault, which gets the receipt.
    fn bring(&mut self, fault: u32, node: u32, at_ns: u64) {
        let contacts = self.contacts_again(node);
        self.push(at_ns, Action::Restart { fault, node, contacts });
        self.greet(at_ns, node);
        self.begin_again(at_ns, node);
    }

    fn churn(
        &mut self,
        number: u32,
        fault: &Fault,
        node: u32,
        (session_ns, down_ns): (u64, u64),
        distribution: Distribution,
        disk: DiskFate,
    ) {
        let from_ns = self.start_ns + fault.at_ns;
        let end_ns = from_ns + fault.for_ns.unwrap_or(0);
        let mut now_ns = from_ns;
        for k in 0.. {
            let subject = [u64::from(fault.id), u64::from(node), k];
            now_ns += self.choices.span(distribution, session_ns, "churn.session", &subject).max(MILLI);
            if now_ns >= end_ns {
                return;
            }
            let down = self.choices.span(distribution, down_ns, "churn.down", &subject).max(MILLI);
            let back_ns = (now_ns + down).min(end_ns);
            self.crash(number, node, disk, now_ns, Some(back_ns));
            now_ns = back_ns;
        }
    }

    /// Begins and ends a fault that lasts; one that flaps does both again and again.
    fn lasting(&mut self, fault: u32, source: &Fault, effect: FaultEffect, flapping: Option<Flapping>) {
        let from_ns = self.start_ns + source.at_ns;
        let end_ns = from_ns + source.for_ns.unwrap_or(0);
        let whole = Flapping { every_ns: u64::MAX, down_ns: end_ns - from_ns };
        let Flapping { every_ns, down_ns } = flapping.unwrap_or(whole);
        let mut at_ns = from_ns;
        while at_ns < end_ns {
            self.push(at_ns, Action::Begin { fault, effect: effect.clone() });
            self.push((at_ns + down_ns).min(end_ns), Action::End { fault });
            at_ns = at_ns.saturating_add(every_ns);
        }
    }

    fn cut(&self, fault: &Fault, shape: &Shape) -> FaultEffect {
        let nodes = self.scenario.nodes as usize;
        let mut group = vec![0; nodes];
        let apart = [(0, 1), (1, 0)].to_vec();
        let blocked = match shape {
            Shape::Split(shares) => {
                let order = self.choices.order((0..self.scenario.nodes).collect(), "partition", fault.id);
                for (rank, node) in order.into_iter().enumerate() {
                    group[node as usize] = group_of(rank, nodes, shares);
                }
                let groups = 0..shares.len() as u8;
                groups
                    .clone()
                    .flat_map(|a| groups.clone().filter(move |b| *b != a).map(move |b| (a, b)))
                    .collect()
            }
            Shape::Isolate(alone) => {
                self.chosen(fault, alone).iter().for_each(|node| group[*node as usize] = 1);
                [apart, vec![(1, 1)]].concat()
            }
            Shape::OneWay(from) => {
                self.chosen(fault, from).iter().for_each(|node| group[*node as usize] = 1);
                vec![(1, 0)]
            }
            Shape::Bridge(bridge) => {
                let order = self.choices.order((0..self.scenario.nodes).collect(), "partition", fault.id);
                let (bridge, halves) = order.split_at((*bridge as usize).min(nodes));
                bridge.iter().for_each(|node| group[*node as usize] = 2);
                halves[halves.len() / 2..].iter().for_each(|node| group[*node as usize] = 1);
                apart
            }
        };
        FaultEffect::Cut { group, blocked }
    }

    /// Turns a fault that lasts, and is no partition, into its effect.
    fn effect(&self, fault: &Fault) -> FaultEffect {
        let noise = |nodes, loss_ppm, duplicate_ppm, reorder_ppm| FaultEffect::Noise {
            nodes: self.chosen_or_empty(fault, nodes),
            egress: matches!(fault.kind, FaultKind::Loss { egress: true, .. }),
            loss_ppm,
            duplicate_ppm,
            reorder_ppm,
        };
        match &fault.kind {
            FaultKind::Loss { rate_ppm, nodes, .. } => noise(nodes, *rate_ppm, 0, 0),
            FaultKind::Duplicate { rate_ppm, nodes } => noise(nodes, 0, *rate_ppm, 0),
            FaultKind::Reorder { rate_ppm, nodes } => noise(nodes, 0, 0, *rate_ppm),
            FaultKind::Latency { extra_ns, nodes } => {
                FaultEffect::Delay { nodes: self.chosen_or_empty(fault, nodes), extra_ns: *extra_ns }
            }
            FaultKind::Slow { nodes, per_input_ns } => {
                FaultEffect::Slow { nodes: self.chosen(fault, nodes), per_input_ns: *per_input_ns }
            }
            FaultKind::Clock { nodes, offset_ms, step_ms, drift_ppm, freeze } => {
                let change = |node: u32| {
                    let subject = [u64::from(fault.id), u64::from(node)];
                    ClockChange {
                        node,
                        offset_ms: step_ms + self.choices.within(*offset_ms, "clock.offset", &subject),
                        drift_ppm: self.choices.within(u64::from(*drift_ppm), "clock.drift", &subject) as i32,
                        frozen: *freeze,
                    }
                };
                FaultEffect::Clock(self.chosen(fault, nodes).into_iter().map(change).collect())
            }
            FaultKind::Pause { nodes } => FaultEffect::Pause { nodes: self.chosen(fault, nodes) },
            FaultKind::Partition { .. }
            | FaultKind::Crash { .. }
            | FaultKind::RollingRestart { .. }
            | FaultKind::MassFailure { .. }
            | FaultKind::Churn { .. }
            | FaultKind::JoinStorm { .. } => FaultEffect::Pause { nodes: Vec::new() },
        }
    }
}

/// Tells the group of the node with a rank: groups are as large as their shares say, and none is empty.
fn group_of(rank: usize, nodes: usize, shares: &[u32]) -> u8 {
    let mut sum = 0;
    for (group, share) in shares.iter().enumerate() {
        sum += u64::from(*share);
        let rounded = (sum * nodes as u64 + u64::from(PPM) / 2) / u64::from(PPM);
        let end = (rounded as usize).clamp(group + 1, nodes - (shares.len() - 1 - group));
        if rank < end {
            return group as u8;
        }
    }
    shares.len() as u8 - 1
}
