//! What is known of the overlay, folded from neighbour events.

use super::numbers::Numbers;
use rumormill_core::{Command, Event, NodeId, Observation, Observed};
use std::collections::VecDeque;

/// One node as its own events show it.
#[derive(Clone, Debug, Default)]
pub struct OverlayNode {
    /// Whether it runs.
    pub is_alive: bool,
    /// Whether it has left the cluster.
    pub has_left: bool,
    /// When it left last, in nanoseconds; zero when it never has in this life.
    pub left_at: u64,
    /// When its current life began, in nanoseconds.
    pub started_at: u64,
    /// When its last life ended, in nanoseconds; zero when none has.
    pub stopped_at: u64,
    /// Its neighbours by number, each with the time at which it came.
    pub neighbors: Vec<(u32, u64)>,
    /// Neighbours that went lately, each with the time at which it did: at most [`GONE_MAX`].
    gone: VecDeque<(u32, u64)>,
}

/// How many neighbours that went are remembered for each node.
const GONE_MAX: usize = 8;

/// The overlay as the sum of all neighbour events.
#[derive(Clone, Debug, Default)]
pub struct Overlay {
    numbers: Numbers,
    nodes: Vec<OverlayNode>,
    /// When any view changed last, in nanoseconds.
    last_change_at: u64,
    /// The first event that contradicts those before it.
    contradiction: Option<(u64, u32, String)>,
}

/// Figures of the overlay at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OverlayFigures {
    /// Alive members.
    pub alive: u32,
    /// Connected components among them.
    pub components: u32,
    /// Edges that stand on both sides, in parts per million of all.
    pub symmetric_ppm: u32,
    /// The size of each active view.
    pub active: Vec<u32>,
    /// How many active views each node stands in.
    pub in_degree: Vec<u32>,
    /// The mean clustering coefficient, in parts per million.
    pub clustering_ppm: u32,
    /// The mean length of shortest paths, in thousandths of a hop, over a sample of sources.
    pub path_length_milli: u32,
}

/// Sources from which shortest paths are measured, at most: enough for three digits at a thousand nodes.
const PATH_SOURCES_MAX: usize = 64;

impl Overlay {
    /// Starts for a number of nodes that do not run yet.
    pub fn new(nodes: u32) -> Self {
        Self { nodes: vec![OverlayNode::default(); nodes as usize], ..Self::default() }
    }

    /// Shows a node.
    pub fn node(&self, node: u32) -> &OverlayNode {
        &self.nodes[node as usize]
    }

    /// Tells the number of a node by its name.
    pub fn number(&self, id: &NodeId) -> Option<u32> {
        self.numbers.get(id)
    }

    /// Tells when any view changed last.
    pub fn last_change_at(&self) -> u64 {
        self.last_change_at
    }

    /// Tells the first event that contradicts those before it: a neighbour that comes twice, or goes without
    /// having come.
    pub fn contradiction(&self) -> Option<&(u64, u32, String)> {
        self.contradiction.as_ref()
    }

    /// Lists the numbers of the nodes that run and have not left.
    pub fn members(&self) -> impl Iterator<Item = u32> + '_ {
        let is_member = |node: &OverlayNode| node.is_alive && !node.has_left;
        self.nodes
            .iter()
            .enumerate()
            .filter(move |(_, node)| is_member(node))
            .map(|(number, _)| number as u32)
    }

    /// Tells whether a node runs and has not left.
    pub fn is_member(&self, node: u32) -> bool {
        let node = &self.nodes[node as usize];
        node.is_alive && !node.has_left
    }

    /// Takes one observation in.
    pub fn observe(&mut self, seen: &Observation<'_>) {
        let node = &mut self.nodes[seen.node as usize];
        match seen.what {
            Observed::Started { contact } => {
                self.numbers.insert(contact.id(), seen.node);
                let stopped_at = node.stopped_at;
                *node =
                    OverlayNode { is_alive: true, started_at: seen.at_ns, stopped_at, ..Default::default() };
            }
            Observed::Stopped => {
                (node.is_alive, node.stopped_at) = (false, seen.at_ns);
                node.neighbors.clear();
            }
            Observed::Command { command: Command::Leave, .. } => {
                (node.has_left, node.left_at) = (true, seen.at_ns);
            }
            Observed::Command { command: Command::Join { .. }, .. } => node.has_left = false,
            Observed::Event(Event::NeighborUp { peer }) => self.on_up(seen, peer),
            Observed::Event(Event::NeighborDown { peer, .. }) => self.on_down(seen, peer),
            Observed::Command { .. } | Observed::Event(_) | Observed::Looked { .. } => {}
        }
    }

    fn on_up(&mut self, seen: &Observation<'_>, peer: &NodeId) {
        self.last_change_at = seen.at_ns;
        let Some(peer) = self.numbers.get(peer) else {
            return self.contradict(seen, "a neighbour that never was started came".into());
        };
        let neighbors = &mut self.nodes[seen.node as usize].neighbors;
        if neighbors.iter().any(|(number, _)| *number == peer) {
            return self.contradict(seen, format!("neighbour {peer} came twice"));
        }
        neighbors.push((peer, seen.at_ns));
    }

    fn on_down(&mut self, seen: &Observation<'_>, peer: &NodeId) {
        self.last_change_at = seen.at_ns;
        let number = self.numbers.get(peer);
        let neighbors = &mut self.nodes[seen.node as usize].neighbors;
        let before = neighbors.len();
        neighbors.retain(|(neighbor, _)| Some(*neighbor) != number);
        if neighbors.len() == before {
            return self.contradict(seen, format!("neighbour {peer} went without having come"));
        }
        let gone = &mut self.nodes[seen.node as usize].gone;
        gone.extend(number.map(|number| (number, seen.at_ns)));
        if gone.len() > GONE_MAX {
            gone.pop_front();
        }
    }

    fn contradict(&mut self, seen: &Observation<'_>, what: String) {
        self.contradiction.get_or_insert((seen.at_ns, seen.node, what));
    }

    fn has_edge(&self, from: u32, to: u32) -> bool {
        self.nodes[from as usize].neighbors.iter().any(|(number, _)| *number == to)
    }

    /// Finds an edge between members that has stood on one side only for longer than `grace_ns`: (who has it, whom).
    pub fn one_sided(&self, now: u64, grace_ns: u64) -> Option<(u32, u32)> {
        let is_old = |since: u64| now.saturating_sub(since) > grace_ns;
        // An edge that the other side gave up is one-sided since it did.
        let went = |peer: u32, node: u32| {
            let gone = &self.nodes[peer as usize].gone;
            gone.iter().rev().find(|(number, _)| *number == node).map_or(0, |(_, at)| *at)
        };
        self.members().find_map(|node| {
            let neighbors = &self.nodes[node as usize].neighbors;
            let lone = neighbors.iter().find(|(peer, since)| {
                let is_lone = self.is_member(*peer) && !self.has_edge(*peer, node);
                is_lone && is_old((*since).max(went(*peer, node)))
            });
            lone.map(|(peer, _)| (node, *peer))
        })
    }

    /// Finds a member without neighbours, unless it is the only member.
    pub fn alone(&self) -> Option<u32> {
        let mut members = self.members();
        let alone = members.find(|node| self.nodes[*node as usize].neighbors.is_empty())?;
        (self.members().count() > 1).then_some(alone)
    }

    /// Finds a member that keeps a neighbour that has been dead, or has left, for longer than `grace_ns`: (member,
    /// neighbour).
    pub fn haunted(&self, now: u64, grace_ns: u64) -> Option<(u32, u32)> {
        let is_dead = |peer: u32| {
            let peer = &self.nodes[peer as usize];
            let is_old = |since: u64| now.saturating_sub(since) > grace_ns;
            if peer.is_alive { peer.has_left && is_old(peer.left_at) } else { is_old(peer.stopped_at) }
        };
        self.members().find_map(|node| {
            let neighbors = &self.nodes[node as usize].neighbors;
            neighbors.iter().find(|(peer, _)| is_dead(*peer)).map(|(peer, _)| (node, *peer))
        })
    }

    /// Counts the connected components among members, each edge taken as standing on both sides.
    pub fn components(&self) -> u32 {
        let mut component = vec![0u32; self.nodes.len()];
        let undirected = self.undirected();
        let mut count = 0;
        for start in self.members() {
            if component[start as usize] != 0 {
                continue;
            }
            count += 1;
            component[start as usize] = count;
            let mut open = vec![start];
            while let Some(node) = open.pop() {
                for &peer in &undirected[node as usize] {
                    if component[peer as usize] == 0 {
                        component[peer as usize] = count;
                        open.push(peer);
                    }
                }
            }
        }
        count
    }

    /// The neighbours of each member, edges of either side taken for both.
    fn undirected(&self) -> Vec<Vec<u32>> {
        let mut edges = vec![Vec::new(); self.nodes.len()];
        for node in self.members() {
            for &(peer, _) in &self.nodes[node as usize].neighbors {
                if self.is_member(peer) {
                    edges[node as usize].push(peer);
                    if !self.has_edge(peer, node) {
                        edges[peer as usize].push(node);
                    }
                }
            }
        }
        edges
    }

    /// Measures the overlay now.
    pub fn figures(&self) -> OverlayFigures {
        let edges = self.undirected();
        let members: Vec<u32> = self.members().collect();
        let mut in_degree = vec![0; self.nodes.len()];
        let (mut all, mut symmetric) = (0u64, 0u64);
        for &node in &members {
            for &(peer, _) in &self.nodes[node as usize].neighbors {
                in_degree[peer as usize] += 1;
                all += 1;
                symmetric += u64::from(self.has_edge(peer, node));
            }
        }
        OverlayFigures {
            alive: members.len() as u32,
            components: self.components(),
            symmetric_ppm: (symmetric * 1_000_000).checked_div(all).unwrap_or(1_000_000) as u32,
            active: members.iter().map(|node| self.nodes[*node as usize].neighbors.len() as u32).collect(),
            in_degree: members.iter().map(|node| in_degree[*node as usize]).collect(),
            clustering_ppm: clustering_ppm(&members, &edges),
            path_length_milli: path_length_milli(&members, &edges),
        }
    }
}

/// The mean over members of the share of pairs of neighbours that are neighbours themselves.
fn clustering_ppm(members: &[u32], edges: &[Vec<u32>]) -> u32 {
    let of = |node: &u32| {
        let peers = &edges[*node as usize];
        let pairs = peers.len() * peers.len().saturating_sub(1) / 2;
        let linked =
            |i: usize| peers[i + 1..].iter().filter(|b| edges[peers[i] as usize].contains(b)).count();
        let closed: usize = (0..peers.len()).map(linked).sum();
        (closed as u64 * 1_000_000).checked_div(pairs as u64).unwrap_or(0)
    };
    let sum: u64 = members.iter().map(of).sum();
    sum.checked_div(members.len() as u64).unwrap_or(0) as u32
}

/// The mean shortest path from an even sample of sources to all nodes that they reach.
fn path_length_milli(members: &[u32], edges: &[Vec<u32>]) -> u32 {
    let stride = members.len().div_ceil(PATH_SOURCES_MAX).max(1);
    let (mut hops, mut paths) = (0u64, 0u64);
    for &source in members.iter().step_by(stride) {
        let mut distance = vec![u32::MAX; edges.len()];
        distance[source as usize] = 0;
        let mut open = VecDeque::from([source]);
        while let Some(node) = open.pop_front() {
            for &peer in &edges[node as usize] {
                if distance[peer as usize] == u32::MAX {
                    distance[peer as usize] = distance[node as usize] + 1;
                    (hops, paths) = (hops + u64::from(distance[peer as usize]), paths + 1);
                    open.push_back(peer);
                }
            }
        }
    }
    (hops * 1_000).checked_div(paths).unwrap_or(0) as u32
}
