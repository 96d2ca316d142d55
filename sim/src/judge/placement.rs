//! What is known of placement, folded from the partitions that nodes acquire and release.

use super::lives::Lives;
use super::troubles::Troubles;
use super::{Fault, fault_of, none};
use rumormill_core::{
    Command, Event, MemberState, NANOS_PER_MILLI, News, NodeId, Nodes, Observation, Observed, Stamp, Token,
    Watch,
};
use std::collections::BTreeMap;

/// One watch of partitions.
#[derive(Clone, Debug, Default)]
struct Ownership {
    has_snapshot: bool,
    owned: BTreeMap<u32, Stamp>,
    /// The greatest token that each partition ever had here.
    last: BTreeMap<u32, Stamp>,
}

/// What all nodes tell of the partitions that they own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Placement {
    watches: BTreeMap<(u32, Token), Ownership>,
    /// Whether each node has told of itself, and as what.
    own_state: BTreeMap<u32, MemberState>,
    /// Whether anybody was ever told of its partitions.
    pub(crate) is_heard: bool,
    alternation_fault: Option<(u64, u32, String)>,
    booting_fault: Option<(u64, u32, String)>,
    /// Times that each partition was acquired since the end of bootstrap, and the last to do so.
    moves: BTreeMap<u32, (u32, u32)>,
    released: u64,
    bootstrap_end_ns: u64,
}

impl Placement {
    pub(crate) fn new(bootstrap_end_ns: u64) -> Self {
        Self { bootstrap_end_ns, ..Self::default() }
    }

    pub(crate) fn on_bootstrapped(&mut self, at_ns: u64) {
        self.bootstrap_end_ns = at_ns;
    }

    /// Takes one observation in, after the lives have.
    pub(crate) fn observe(&mut self, seen: &Observation<'_>, lives: &Lives) {
        let node = seen.node;
        match seen.what {
            Observed::Started { .. } | Observed::Stopped => {
                self.watches.retain(|(of, _), _| *of != node);
                self.own_state.remove(&node);
            }
            Observed::Command { token, command: Command::Watch { what: Watch::Partitions } } => {
                self.watches.insert((node, token), Ownership::default());
            }
            Observed::Command { command: Command::Unwatch { watch }, .. } => {
                self.watches.remove(&(node, *watch));
            }
            Observed::Event(Event::Watched { watch, news }) => self.on_news(seen, *watch, news, lives),
            Observed::Command { .. } | Observed::Event(_) | Observed::Looked { .. } => {}
        }
    }

    fn on_news(&mut self, seen: &Observation<'_>, watch: Token, news: &News, lives: &Lives) {
        let node = seen.node;
        match news {
            News::Member { member, .. } if Some(member.id()) == lives.of(node).id => {
                self.own_state.insert(node, member.state);
            }
            News::Owned(owned) => {
                self.is_heard = true;
                let Some(ownership) = self.watches.get_mut(&(node, watch)) else { return };
                let is_first = !std::mem::replace(&mut ownership.has_snapshot, true);
                ownership.owned = owned.iter().copied().collect();
                ownership.last = ownership.owned.clone();
                if !is_first {
                    self.blame(seen, "a second snapshot of partitions came".into());
                }
                if !owned.is_empty() {
                    self.judge_boot(seen, lives);
                }
            }
            News::Acquired { partition, token } => {
                self.on_acquired(seen, watch, *partition, *token);
                self.judge_boot(seen, lives);
            }
            News::Released { partition, token } => self.on_released(seen, watch, *partition, *token),
            _ => {}
        }
    }

    fn blame(&mut self, seen: &Observation<'_>, what: String) {
        self.alternation_fault.get_or_insert((seen.at_ns, seen.node, what));
    }

    fn on_acquired(&mut self, seen: &Observation<'_>, watch: Token, partition: u32, token: Stamp) {
        let Some(ownership) = self.watches.get_mut(&(seen.node, watch)) else { return };
        let is_early = !ownership.has_snapshot;
        let is_owned = ownership.owned.insert(partition, token).is_some();
        let last = ownership.last.insert(partition, token);
        if seen.at_ns >= self.bootstrap_end_ns {
            let (count, last) = self.moves.entry(partition).or_default();
            (*count, *last) = (*count + 1, seen.node);
        }
        if is_early {
            self.blame(seen, format!("partition {partition} was acquired before the snapshot"));
        } else if is_owned {
            self.blame(seen, format!("partition {partition} was acquired twice"));
        } else if last.is_some_and(|last| token <= last) {
            self.blame(seen, format!("the token of partition {partition} does not rise"));
        }
    }

    fn on_released(&mut self, seen: &Observation<'_>, watch: Token, partition: u32, token: Stamp) {
        self.released += u64::from(seen.at_ns >= self.bootstrap_end_ns);
        let Some(ownership) = self.watches.get_mut(&(seen.node, watch)) else { return };
        match ownership.owned.remove(&partition) {
            None => self.blame(seen, format!("partition {partition} was released and not owned")),
            Some(owned) if owned != token => {
                self.blame(seen, format!("partition {partition} was released with another token"));
            }
            Some(_) => {}
        }
    }

    /// A node owns something: it must be in the cluster, and active as far as it has told.
    fn judge_boot(&mut self, seen: &Observation<'_>, lives: &Lives) {
        let life = lives.of(seen.node);
        let is_booting =
            matches!(self.own_state.get(&seen.node), Some(MemberState::Joining | MemberState::Synced));
        if life.joined_at.is_none() || is_booting {
            self.booting_fault.get_or_insert((
                seen.at_ns,
                seen.node,
                "owns a partition while it boots".into(),
            ));
        }
    }

    /// Counts the partitions acquired and released since the end of bootstrap.
    pub(crate) fn moved(&self) -> (u64, u64) {
        (self.moves.values().map(|(count, _)| u64::from(*count)).sum(), self.released)
    }

    pub(crate) fn owners_alternate(&self) -> Result<(), Fault> {
        fault_of(self.alternation_fault.as_ref())
    }

    pub(crate) fn booting_owns_nothing(&self) -> Result<(), Fault> {
        fault_of(self.booting_fault.as_ref())
    }

    /// No partition moved more often than it may.
    pub(crate) fn still(&self, max: u32) -> Result<(), Fault> {
        let moved = self.moves.iter().find(|(_, (count, _))| *count > max);
        none(moved.map(|(partition, (count, node))| {
            (*node, format!("partition {partition} moved {count} times, {max} at most"))
        }))
    }

    /// What a node has told of its partitions is what it says that it owns, and nothing that it computes for others. What
    /// it computes for itself may wait for the store, that its token is safe: `one-owner` judges that it comes.
    pub(crate) fn folds(&self, partitions: u32, lives: &Lives, nodes: &dyn Nodes) -> Result<(), Fault> {
        for ((node, _), ownership) in &self.watches {
            let own: Option<NodeId> = lives.of(*node).id;
            let Some(status) =
                nodes.status(*node).filter(|_| ownership.has_snapshot && lives.family(*node) == 0)
            else {
                continue;
            };
            let told = ownership.owned.iter().map(|(partition, token)| (*partition, *token));
            let is_own =
                |partition: &u32| *partition < partitions && nodes.owner_of(*node, *partition) == own;
            if !told.eq(status.owned) || !ownership.owned.keys().all(is_own) {
                return Err((
                    Some(*node),
                    "the partitions that it told of are not those that it owns".into(),
                ));
            }
        }
        Ok(())
    }
}

/// Every partition has one owner, the same everywhere, and it is there.
pub(crate) fn one_owner(partitions: u32, lives: &Lives, nodes: &dyn Nodes) -> Result<(), Fault> {
    let mut first = None;
    for node in lives.ordinary() {
        let owners: Vec<Option<NodeId>> = (0..partitions).map(|it| nodes.owner_of(node, it)).collect();
        let own = lives.of(node).id;
        let acquired = nodes.status(node).map_or(0, |status| status.owned.len());
        if acquired != owners.iter().filter(|owner| **owner == own).count() {
            return Err((Some(node), format!("owns {acquired} partitions, and others by its own count")));
        }
        for (partition, owner) in owners.iter().enumerate() {
            let number = owner.and_then(|owner| lives.number(&owner));
            if !number.is_some_and(|number| lives.is_member(number) && lives.family(number) == 0) {
                let owner = number.map_or("nobody".into(), |number| format!("node {number}, which is gone"));
                return Err((Some(node), format!("partition {partition} belongs to {owner}")));
            }
        }
        let expected = first.get_or_insert_with(|| owners.clone());
        if let Some(partition) = (0..owners.len()).find(|it| owners[*it] != expected[*it]) {
            return Err((
                Some(node),
                format!("partition {partition} has another owner than at the first node"),
            ));
        }
    }
    Ok(())
}

/// No node takes one for an owner that has been gone for longer than it may.
pub(crate) fn no_dead_owner(
    partitions: u32,
    within: u64,
    now: u64,
    (lives, troubles): (&Lives, &Troubles),
    nodes: &dyn Nodes,
) -> Result<(), Fault> {
    for node in lives.ordinary() {
        for partition in 0..partitions {
            let owner = nodes.owner_of(node, partition).and_then(|owner| lives.number(&owner));
            let Some(owner) = owner.filter(|owner| !lives.of(*owner).is_running) else { continue };
            let died_at = lives.of(owner).stopped_at.unwrap_or(0);
            let since = died_at.max(lives.of(node).joined_at.unwrap_or(0)); // who has left hears of nobody
            let gone = now.saturating_sub(since);
            if gone > within && !troubles.delay(node, (died_at, now)) {
                let gone_ms = now.saturating_sub(died_at) / NANOS_PER_MILLI;
                let what = format!("partition {partition} belongs to node {owner}, dead for {gone_ms} ms");
                return Err((Some(node), what));
            }
        }
    }
    Ok(())
}
