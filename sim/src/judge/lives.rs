//! The lives of nodes as they are observed: the ground truth that members and services are compared with.

use super::numbers::Numbers;
use super::troubles::Troubles;
use rumormill_core::{Command, Event, Incarnation, NodeId, Observation, Observed, Reply, Token};

/// One node, in its present or last life.
#[derive(Clone, Debug, Default)]
pub(crate) struct Life {
    pub(crate) id: Option<NodeId>,
    pub(crate) incarnation: Incarnation,
    pub(crate) is_running: bool,
    /// When this life came into the cluster.
    pub(crate) joined_at: Option<u64>,
    /// When it left the cluster, unless it has come back.
    pub(crate) left_at: Option<u64>,
    /// When it left the cluster last, whether or not it has come back.
    pub(crate) last_left_at: Option<u64>,
    /// When a life of the node ended last.
    pub(crate) stopped_at: Option<u64>,
    /// The token of the join that is under way.
    joining: Option<Token>,
}

/// The lives of all nodes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lives {
    numbers: Numbers,
    nodes: Vec<Life>,
    /// Which nodes count leases and partitions alike; none where all do.
    pub(super) families: Vec<u32>,
}

impl Lives {
    pub(crate) fn new(nodes: u32) -> Self {
        Self { numbers: Numbers::default(), nodes: vec![Life::default(); nodes as usize], ..Self::default() }
    }

    pub(crate) fn of(&self, node: u32) -> &Life {
        &self.nodes[node as usize]
    }

    pub(crate) fn number(&self, id: &NodeId) -> Option<u32> {
        self.numbers.get(id)
    }

    /// Tells whether a node runs, has come into the cluster and not left it.
    pub(crate) fn is_member(&self, node: u32) -> bool {
        let life = self.of(node);
        life.is_running && life.joined_at.is_some() && life.left_at.is_none()
    }

    /// Lists the nodes that run, have come into the cluster and not left it.
    pub(crate) fn members(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.nodes.len() as u32).filter(|node| self.is_member(*node))
    }

    /// Numbers those who count leases and partitions as a node does; zero is most nodes' family.
    pub(crate) fn family(&self, node: u32) -> u32 {
        self.families.get(node as usize).copied().unwrap_or(0)
    }

    /// Lists the members of most nodes' family.
    pub(crate) fn ordinary(&self) -> impl Iterator<Item = u32> + '_ {
        self.members().filter(|node| self.family(*node) == 0)
    }

    /// Tells whether this very life of a node runs and has not left.
    pub(crate) fn lives(&self, id: &NodeId, incarnation: Incarnation) -> bool {
        let life = self.number(id).map(|number| self.of(number));
        life.is_some_and(|it| it.is_running && it.left_at.is_none() && it.incarnation == incarnation)
    }

    /// Takes one observation in.
    pub(crate) fn observe(&mut self, seen: &Observation<'_>) {
        let life = &mut self.nodes[seen.node as usize];
        match seen.what {
            Observed::Started { contact } => {
                self.numbers.insert(contact.id(), seen.node);
                *life = Life {
                    id: Some(contact.id()),
                    incarnation: contact.incarnation(),
                    is_running: true,
                    stopped_at: life.stopped_at,
                    ..Life::default()
                };
            }
            Observed::Stopped => (life.is_running, life.stopped_at) = (false, Some(seen.at_ns)),
            Observed::Command { command: Command::Leave, .. } => {
                (life.left_at, life.last_left_at) = (Some(seen.at_ns), Some(seen.at_ns));
            }
            Observed::Command { token, command: Command::Join { .. } } => {
                (life.joining, life.left_at) = (Some(token), None);
            }
            Observed::Event(Event::Done { token, result: Ok(Reply::Joined { .. }) }) => {
                if life.joining == Some(*token) {
                    life.joined_at = Some(seen.at_ns);
                }
            }
            Observed::Event(Event::LifeBegun { incarnation }) => life.incarnation = *incarnation,
            // A join may report failure while the node keeps trying.
            Observed::Event(Event::NeighborUp { .. }) => {
                life.joined_at.get_or_insert(seen.at_ns);
            }
            Observed::Command { .. } | Observed::Event(_) | Observed::Looked { .. } => {}
        }
    }
}

/// What some nodes must see after something happened to another, and how long each has taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waits {
    open: Vec<Wait>,
    /// The latest of those that have seen it: how late, who, and of whom.
    latest: Option<(u64, u32, u32)>,
    /// How late each was.
    pub(super) took_ns: Vec<u64>,
}

#[derive(Clone, Debug)]
struct Wait {
    subject: u32,
    since: u64,
    /// Who has not seen it yet, in rising order.
    remaining: Vec<u32>,
}

impl Waits {
    /// Something happened to a node that these must see.
    pub(crate) fn begin(&mut self, subject: u32, since: u64, watchers: Vec<u32>) {
        self.forget_subject(subject);
        self.open.push(Wait { subject, since, remaining: watchers });
    }

    /// Tells whether somebody still waits for something that happened to a node.
    pub(crate) fn is_open(&self, subject: u32) -> bool {
        self.open.iter().any(|wait| wait.subject == subject)
    }

    /// A node has seen it.
    pub(crate) fn seen(&mut self, by: u32, subject: u32, at: u64, troubles: &Troubles) {
        let Some(wait) = self.open.iter_mut().find(|wait| wait.subject == subject) else { return };
        let Ok(index) = wait.remaining.binary_search(&by) else { return };
        wait.remaining.remove(index);
        let late = at.saturating_sub(wait.since); // a sleeper leaves only when it wakes, and may be missed before
        self.took_ns.push(late);
        let is_latest = self.latest.is_none_or(|(latest, ..)| late > latest);
        if is_latest && !is_excused(by, subject, (wait.since, at), troubles) {
            self.latest = Some((late, by, subject));
        }
        self.open.retain(|wait| !wait.remaining.is_empty());
    }

    /// The node is back: nobody need see it any more.
    pub(crate) fn forget_subject(&mut self, subject: u32) {
        self.open.retain(|wait| wait.subject != subject);
    }

    /// A node that should have seen it has ended.
    pub(crate) fn forget_watcher(&mut self, node: u32) {
        for wait in &mut self.open {
            wait.remaining.retain(|watcher| *watcher != node);
        }
    }

    /// Finds a node that took longer than it may: how late it is, who, and of whom.
    pub(crate) fn late(&self, within: u64, now: u64, troubles: &Troubles) -> Option<(u64, u32, u32)> {
        let overdue = self.open.iter().filter(|wait| now.saturating_sub(wait.since) > within);
        let waiting = overdue.flat_map(|wait| wait.remaining.iter().map(move |by| (wait, *by)));
        let due = |(wait, by): &(&Wait, u32)| !is_excused(*by, wait.subject, (wait.since, now), troubles);
        let still = waiting.into_iter().find(due).map(|(wait, by)| (now - wait.since, by, wait.subject));
        self.latest.filter(|(late, ..)| *late > within).or(still)
    }
}

fn is_excused(by: u32, subject: u32, span: (u64, u64), troubles: &Troubles) -> bool {
    troubles.delay(by, span) || troubles.are_apart(by, subject, span)
}
