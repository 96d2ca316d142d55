//! What a run does to its nodes from outside, as far as properties forgive it: plain data that a driver knows.

use crate::schedule::{Action, FaultEffect, Schedule};

/// A span of time, in nanoseconds of the run: from, and until.
type Span = (u64, u64);

/// The hardships of a run: who stood still, who was ill, who could not reach whom, and when.
#[derive(Clone, Debug, Default)]
pub struct Troubles {
    /// When each node did nothing.
    pauses: Vec<Vec<Span>>,
    /// When each node was slow, or lost packets that others did not.
    illnesses: Vec<Vec<Span>>,
    cuts: Vec<Cut>,
}

/// A partition while it lasts.
#[derive(Clone, Debug)]
struct Cut {
    span: Span,
    /// The group of each node.
    group: Vec<u8>,
    /// The group that most nodes are of.
    most: usize,
    /// What does not pass: from, to.
    blocked: Vec<(u8, u8)>,
    /// Whether a node of one group reaches another node of the other, over third ones too.
    joined: Vec<Vec<bool>>,
}

impl Troubles {
    /// Reads the hardships off a timed schedule.
    pub fn of(schedule: &Schedule) -> Self {
        let nodes = schedule.nodes as usize;
        let (pauses, illnesses) = (vec![Vec::new(); nodes], vec![Vec::new(); nodes]);
        let mut troubles = Self { pauses, illnesses, cuts: Vec::new() };
        let mut at_work: Vec<(u32, u64, &FaultEffect)> = Vec::new();
        for step in &schedule.steps {
            match &step.action {
                Action::Begin { fault, effect } => at_work.push((*fault, step.at_ns, effect)),
                Action::End { fault } => {
                    for (_, from, effect) in at_work.extract_if(.., |(number, ..)| number == fault) {
                        troubles.note(effect, (from, step.at_ns));
                    }
                }
                _ => {}
            }
        }
        at_work.into_iter().for_each(|(_, from, effect)| troubles.note(effect, (from, u64::MAX)));
        troubles
    }

    /// Notes what an effect did in a span of time.
    pub fn note(&mut self, effect: &FaultEffect, span: Span) {
        let each = |table: &mut Vec<Vec<Span>>, nodes: &[u32]| {
            for node in nodes {
                let node = *node as usize;
                if table.len() <= node {
                    table.resize(node + 1, Vec::new());
                }
                table[node].push(span);
            }
        };
        match effect {
            FaultEffect::Pause { nodes } => each(&mut self.pauses, nodes),
            FaultEffect::Slow { nodes, .. }
            | FaultEffect::Delay { nodes, .. }
            | FaultEffect::Noise { nodes, .. } => each(&mut self.illnesses, nodes),
            FaultEffect::Cut { group, blocked } => {
                let groups = usize::from(group.iter().max().copied().unwrap_or(0)) + 1;
                let size = |of: usize| group.iter().filter(|group| usize::from(**group) == of).count();
                let most = (0..groups).rev().max_by_key(|of| size(*of)).unwrap_or(0);
                let (group, blocked, joined) = (group.clone(), blocked.clone(), joined(groups, blocked));
                self.cuts.push(Cut { span, group, most, blocked, joined });
            }
            FaultEffect::Clock(_) => {} // no wrong clock is an excuse
        }
    }

    /// Tells for how long a node stood still at the longest stretch that touches a span: all of it, also what comes after.
    pub fn paused_ns(&self, node: u32, (from, to): Span) -> u64 {
        let pauses = self.pauses.get(node as usize).map_or(&[][..], Vec::as_slice);
        let overlap = |pause: &Span| if overlaps(*pause, (from, to)) { pause.1 - pause.0 } else { 0 };
        pauses.iter().map(overlap).max().unwrap_or(0)
    }

    /// Tells when a node does what it is asked for: at once, or when it stands still no longer.
    pub fn awake_at(&self, node: u32, at: u64) -> u64 {
        let pauses = self.pauses.get(node as usize).map_or(&[][..], Vec::as_slice);
        pauses.iter().filter(|(from, to)| (*from..*to).contains(&at)).map(|(_, to)| *to).max().unwrap_or(at)
    }

    /// Tells whether a node was slow, or lost packets that others did not, within a span.
    pub fn is_ill(&self, node: u32, span: Span) -> bool {
        self.illnesses.get(node as usize).is_some_and(|ill| ill.iter().any(|it| overlaps(*it, span)))
    }

    /// Tells whether two nodes stood in different components of the network within a span. Who only hears or is only
    /// heard stands apart: no connection works in one direction.
    pub fn are_apart(&self, a: u32, b: u32, span: Span) -> bool {
        let cuts = |cut: &Cut| {
            let group = |node: u32| cut.group.get(node as usize).map_or(0, |group| usize::from(*group));
            overlaps(cut.span, span) && !cut.joined[group(a)][group(b)]
        };
        a != b && self.cuts.iter().any(cuts)
    }

    /// Tells whether somebody stood in another component of the network than a node within a span: it does not err in suspecting
    /// it, and after the cut its word goes everywhere until the node has contradicted it.
    pub fn is_parted(&self, node: u32, span: Span) -> bool {
        let parts = |cut: &Cut| {
            let group = cut.group.get(node as usize).map_or(0, |group| usize::from(*group));
            overlaps(cut.span, span) && cut.joined[group].contains(&false)
        };
        self.cuts.iter().any(parts)
    }

    /// Tells whether a node hears most others, who cannot hear a third one, and do not err in taking it for dead: their
    /// word reaches the node, and that of the third one does not reach them to contradict it.
    pub fn misleads(&self, by: u32, subject: u32, span: Span) -> bool {
        let misleads = |cut: &Cut| {
            let group = |node: u32| cut.group.get(node as usize).map_or(0, |group| usize::from(*group));
            let hears_most = !cut.blocked.contains(&(cut.most as u8, group(by) as u8));
            overlaps(cut.span, span) && hears_most && !cut.joined[group(subject)][cut.most]
        };
        self.cuts.iter().any(misleads)
    }

    /// Tells whether two nodes may be wrong about each other within a span.
    pub fn excuse(&self, a: u32, b: u32, span: Span) -> bool {
        self.is_ill(a, span) || self.is_ill(b, span) || self.are_apart(a, b, span)
    }

    /// Tells whether a node may be late within a span.
    pub fn delay(&self, node: u32, span: Span) -> bool {
        self.is_ill(node, span) || self.paused_ns(node, span) > 0
    }
}

fn overlaps(a: Span, b: Span) -> bool {
    a.0 < b.1.saturating_add(1) && b.0 < a.1
}

/// Closes over groups what passes in both directions between two of them.
fn joined(groups: usize, blocked: &[(u8, u8)]) -> Vec<Vec<bool>> {
    let is_open = |a: usize, b: usize| !blocked.contains(&(a as u8, b as u8));
    let row = |a| (0..groups).map(|b| is_open(a, b) && is_open(b, a)).collect();
    let mut joined: Vec<Vec<bool>> = (0..groups).map(row).collect();
    for middle in 0..groups {
        for a in 0..groups {
            for b in 0..groups {
                joined[a][b] |= joined[a][middle] && joined[middle][b];
            }
        }
    }
    joined
}
