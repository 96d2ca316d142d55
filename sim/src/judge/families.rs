//! Nodes that count leases or partitions differently from others: two families of nodes that must not mix.

use super::lives::Lives;
use super::{Fault, none};
use crate::schedule::Schedule;
use rumormill_core::{ClusterNumbers, Config, Event, NANOS_PER_MILLI, Nodes, Observation, Observed};
use std::collections::{BTreeMap, BTreeSet};

/// Numbers the families: every node's, that of the nodes without a configuration of their own being zero.
pub fn of(schedule: &Schedule) -> Vec<u32> {
    let mut families = vec![numbers(&schedule.config)];
    let family = |node| {
        let of_node = numbers(schedule.config_of(node));
        let known = families.iter().position(|it| *it == of_node);
        known.unwrap_or_else(|| {
            families.push(of_node);
            families.len() - 1
        }) as u32
    };
    (0..schedule.nodes).map(family).collect()
}

fn numbers(config: &Config) -> ClusterNumbers {
    let Config { heartbeat_ms, ttl_ms, ring_size, .. } = *config;
    ClusterNumbers { heartbeat_ms, ttl_ms, ring_size }
}

/// How long a neighbour may go without being refused: two heartbeats, and what it takes to ask for a record.
const NOTICED_NS: u64 = 5_000 * NANOS_PER_MILLI;

/// Who has told of whom that it was refused, each in its present life.
#[derive(Clone, Debug, Default)]
pub(crate) struct Families {
    refused: BTreeSet<(u32, u32)>,
    /// Since when one is the neighbour of another.
    neighbors: BTreeMap<(u32, u32), u64>,
    now_ns: u64,
}

impl Families {
    /// Takes one observation in, after the lives have.
    pub(crate) fn observe(&mut self, seen: &Observation<'_>, lives: &Lives) {
        self.now_ns = seen.at_ns;
        match seen.what {
            Observed::Started { .. } => {
                self.refused.retain(|(by, of)| *by != seen.node && *of != seen.node);
                self.neighbors.retain(|(by, of), _| *by != seen.node && *of != seen.node);
            }
            Observed::Event(Event::NeighborUp { peer }) => {
                let peer = lives.number(peer);
                self.neighbors.extend(peer.map(|peer| ((seen.node, peer), seen.at_ns)));
            }
            Observed::Event(Event::MemberRefused { peer, .. }) => {
                self.refused.extend(lives.number(peer).map(|peer| (seen.node, peer)));
            }
            _ => {}
        }
    }

    /// No node takes one of another family for a member or an owner. In the end all who differ have been refused in an
    /// event, by each that has been their neighbour for a while. (Who comes later need not hear of them: nobody hands on whom it refused.)
    pub(crate) fn apart(
        &self,
        partitions: u32,
        is_last: bool,
        lives: &Lives,
        nodes: &dyn Nodes,
    ) -> Result<(), Fault> {
        for node in lives.members() {
            let mut fault = None;
            let is_other = |number: u32| lives.family(number) != lives.family(node);
            nodes.each_member(node, &mut |member| {
                let other = lives.number(&member.id()).filter(|number| is_other(*number));
                if let Some(other) = other.filter(|_| member.state.is_present()) {
                    fault.get_or_insert(format!("takes node {other} for a member, which counts differently"));
                }
            });
            for partition in 0..partitions {
                let owner = nodes.owner_of(node, partition).and_then(|owner| lives.number(&owner));
                if let Some(owner) = owner.filter(|owner| is_other(*owner)) {
                    fault.get_or_insert(format!("takes node {owner} for an owner, which counts differently"));
                }
            }
            let neighbors = nodes.status(node).filter(|_| is_last).map_or(Vec::new(), |status| status.active);
            let neighbors =
                neighbors.iter().filter_map(|id| lives.number(id)).filter(|other| is_other(*other));
            let is_old = |other: &u32| {
                let since = self.neighbors.get(&(node, *other)).copied().unwrap_or(0);
                self.now_ns.saturating_sub(since) >= NOTICED_NS
            };
            for other in neighbors.filter(|it| is_old(it) && !self.refused.contains(&(node, *it))) {
                fault.get_or_insert(format!("never told that its neighbour {other} counts differently"));
            }
            none(fault.map(|what| (node, what)))?;
        }
        let is_refused = |node: &u32| self.refused.iter().any(|(_, of)| of == node);
        let odd = lives.members().filter(|node| is_last && lives.family(*node) != 0);
        let unseen = odd.into_iter().find(|node| !is_refused(node));
        none(unseen.map(|node| (node, "counts differently, and nobody has told so".into())))
    }
}
