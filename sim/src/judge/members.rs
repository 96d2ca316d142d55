//! What is known of members, folded from the news that nodes tell of them.

use super::lives::{Lives, Waits};
use super::overlay::Overlay;
use super::troubles::Troubles;
use super::{Fault, Noticed, none};
use rumormill_core::{
    Command, Event, Incarnation, Member, MemberState, NANOS_PER_MILLI, News, Nodes, Observation, Observed,
    Token, Watch,
};

/// What one node tells of another: which life, and where it stands.
type Told = Option<(Incarnation, MemberState)>;

/// A node that watches members, by its first watch.
#[derive(Clone, Debug)]
struct Watcher {
    watch: Token,
    /// What it told last of each node, by number.
    told: Vec<Told>,
}

/// What is said of a node that lives, with the least excuse: the longest standstill beside it, when, by whom, in words.
type Mistake = (u64, u64, u32, String);

/// The news of all nodes that watch members.
#[derive(Clone, Debug, Default)]
pub(crate) struct Members {
    watchers: Vec<Option<Watcher>>,
    /// For how long before a verdict hardships excuse it.
    memory_ns: u64,
    /// Whether anybody was ever told of members.
    pub(crate) is_heard: bool,
    by_neighbors: Waits,
    by_all: Waits,
    leaves: Waits,
    false_verdict: Option<Mistake>,
    false_suspicion: Option<Mistake>,
    false_verdicts: u64,
    /// The first node that was taken for dead although it had left.
    mistaken_leave: Option<(u64, u32, String)>,
}

impl Members {
    pub(crate) fn new(nodes: u32, ttl_ms: u64) -> Self {
        let memory_ns = ttl_ms.saturating_mul(2).saturating_add(2_000).saturating_mul(NANOS_PER_MILLI);
        Self { watchers: vec![None; nodes as usize], memory_ns, ..Self::default() }
    }

    /// Takes one observation in, after the lives and the overlay have.
    pub(crate) fn observe(
        &mut self,
        seen: &Observation<'_>,
        lives: &Lives,
        overlay: &Overlay,
        troubles: &Troubles,
    ) {
        let node = seen.node;
        match seen.what {
            Observed::Started { .. } => self.forget(node),
            Observed::Stopped => self.on_stopped(seen, lives, overlay),
            Observed::Command { command: Command::Leave, .. } => {
                self.forget_watcher(node); // who has left hears of nobody
                let watchers = self.present_at(node, lives);
                self.leaves.begin(node, troubles.awake_at(node, seen.at_ns), watchers);
            }
            Observed::Command { command: Command::Join { .. }, .. } => self.forget_subject(node),
            Observed::Command { token, command: Command::Watch { what: Watch::Members } } => {
                let told = Vec::new();
                self.watchers[node as usize].get_or_insert(Watcher { watch: token, told });
            }
            Observed::Event(Event::Watched { watch, news }) => {
                if self.watchers[node as usize].as_ref().is_some_and(|it| it.watch == *watch) {
                    self.on_news(seen, news, lives, troubles);
                }
            }
            Observed::Command { .. } | Observed::Event(_) | Observed::Looked { .. } => {}
        }
    }

    fn forget_subject(&mut self, node: u32) {
        [&mut self.by_neighbors, &mut self.by_all, &mut self.leaves]
            .into_iter()
            .for_each(|waits| waits.forget_subject(node));
    }

    fn forget_watcher(&mut self, node: u32) {
        for waits in [&mut self.by_neighbors, &mut self.by_all, &mut self.leaves] {
            waits.forget_watcher(node);
        }
    }

    fn forget(&mut self, node: u32) {
        self.forget_subject(node);
        self.watchers[node as usize] = None;
    }

    /// Lists the members that told last of a node's present life as of one that is there, in rising order.
    fn present_at(&self, subject: u32, lives: &Lives) -> Vec<u32> {
        let incarnation = lives.of(subject).incarnation;
        let is_present = |watcher: &Watcher| {
            let told = watcher.told.get(subject as usize).copied().flatten();
            told.is_some_and(|(life, state)| life == incarnation && state.is_present())
        };
        let watchers = self.watchers.iter().zip(0..);
        let others = watchers.filter(|(watcher, node)| {
            *node != subject && lives.is_member(*node) && watcher.as_ref().is_some_and(is_present)
        });
        others.map(|(_, node)| node).collect()
    }

    fn on_stopped(&mut self, seen: &Observation<'_>, lives: &Lives, overlay: &Overlay) {
        let node = seen.node;
        self.watchers[node as usize] = None;
        self.forget_watcher(node);
        if lives.of(node).left_at.is_some() {
            return; // who has left is gone already
        }
        let watchers = self.present_at(node, lives);
        let is_neighbor =
            |watcher: &u32| overlay.node(*watcher).neighbors.iter().any(|(peer, _)| *peer == node);
        let neighbors = watchers.iter().copied().filter(is_neighbor).collect();
        self.by_neighbors.begin(node, seen.at_ns, neighbors);
        self.by_all.begin(node, seen.at_ns, watchers);
    }

    fn on_news(&mut self, seen: &Observation<'_>, news: &News, lives: &Lives, troubles: &Troubles) {
        match news {
            News::Members(members) => {
                self.is_heard = true;
                members.iter().for_each(|member| self.on_member(seen, member, lives, troubles));
            }
            News::Member { member, was } => {
                if member.state == MemberState::Dead && was.is_none_or(MemberState::is_present) {
                    self.on_verdict(seen, member, lives, troubles);
                }
                if member.is_suspected {
                    self.on_suspicion(seen, member, lives, troubles);
                }
                self.on_member(seen, member, lives, troubles);
            }
            _ => {}
        }
    }

    fn on_member(&mut self, seen: &Observation<'_>, member: &Member, lives: &Lives, troubles: &Troubles) {
        let Some(subject) = lives.number(&member.id()) else { return };
        let (by, at) = (seen.node, seen.at_ns);
        let Some(watcher) = &mut self.watchers[by as usize] else { return };
        if watcher.told.len() <= subject as usize {
            watcher.told.resize(subject as usize + 1, None);
        }
        watcher.told[subject as usize] = Some((member.contact.incarnation(), member.state));
        if !member.state.is_present() {
            self.by_neighbors.seen(by, subject, at, troubles);
            self.by_all.seen(by, subject, at, troubles);
        }
        if member.state == MemberState::Left {
            self.leaves.seen(by, subject, at, troubles);
        }
    }

    /// Somebody takes a life for dead that was there.
    fn on_verdict(&mut self, seen: &Observation<'_>, member: &Member, lives: &Lives, troubles: &Troubles) {
        let Some((subject, paused_ns)) = self.judged(seen, member, lives, troubles) else { return };
        let (by, at, life) = (seen.node, seen.at_ns, lives.of(subject));
        match life.left_at {
            // Who leaves and stops before its word is out is dead to the others.
            Some(left) if paused_ns == 0 && at.saturating_sub(self.memory_ns) <= left => {
                let what = format!("takes node {subject} for dead, which has left");
                self.mistaken_leave.get_or_insert((at, by, what));
            }
            None => {
                self.false_verdicts += u64::from(paused_ns == 0);
                let what = || format!("takes node {subject} for dead, which lives");
                keep_least(&mut self.false_verdict, (paused_ns, at, by), what);
            }
            Some(_) => {}
        }
    }

    /// Somebody shows a life as suspected.
    fn on_suspicion(&mut self, seen: &Observation<'_>, member: &Member, lives: &Lives, troubles: &Troubles) {
        let Some((subject, paused_ns)) = self.judged(seen, member, lives, troubles) else { return };
        let span = (seen.at_ns.saturating_sub(self.memory_ns), seen.at_ns);
        if lives.of(subject).left_at.is_none() && !troubles.is_parted(subject, span) {
            let what = || format!("suspects node {subject}, which lives");
            keep_least(&mut self.false_suspicion, (paused_ns, seen.at_ns, seen.node), what);
        }
    }

    /// Shows the number of a node whose present life runs, unless a hardship excuses what is said of it, and how long
    /// either node stood still.
    fn judged(
        &self,
        seen: &Observation<'_>,
        member: &Member,
        lives: &Lives,
        troubles: &Troubles,
    ) -> Option<(u32, u64)> {
        let subject = lives.number(&member.id())?;
        let (by, life) = (seen.node, lives.of(subject));
        let span = (seen.at_ns.saturating_sub(self.memory_ns), seen.at_ns);
        let is_excused = troubles.excuse(by, subject, span) || troubles.misleads(by, subject, span);
        let is_present_life = life.is_running && life.incarnation == member.contact.incarnation();
        let paused_ns = troubles.paused_ns(by, span).max(troubles.paused_ns(subject, span));
        (is_present_life && !is_excused).then_some((subject, paused_ns))
    }

    /// Tells how crashes were noticed.
    pub(crate) fn figures(&self) -> Noticed {
        Noticed {
            by_neighbors_ns: self.by_neighbors.took_ns.clone(),
            by_all_ns: self.by_all.took_ns.clone(),
            false_verdicts: self.false_verdicts,
        }
    }

    /// No node was taken for dead that lived and stood still for no longer than it may.
    pub(crate) fn no_false_verdict(&self, pause_ns: u64) -> Result<(), Fault> {
        mistake(self.false_verdict.as_ref(), pause_ns)
    }

    /// No node was suspected that lived and stood still for no longer than it may.
    pub(crate) fn no_false_suspicion(&self, pause_ns: u64) -> Result<(), Fault> {
        mistake(self.false_suspicion.as_ref(), pause_ns)
    }

    /// Tells whether a neighbour, or anybody, was ever seen to notice a crash.
    pub(crate) fn has_noticed(&self) -> (bool, bool) {
        (!self.by_neighbors.took_ns.is_empty(), !self.by_all.took_ns.is_empty())
    }

    /// Tells whether anybody was ever seen to notice that a node left.
    pub(crate) fn has_seen_leave(&self) -> bool {
        !self.leaves.took_ns.is_empty()
    }

    pub(crate) fn detected_by_neighbors(
        &self,
        within: u64,
        now: u64,
        troubles: &Troubles,
    ) -> Result<(), Fault> {
        late(self.by_neighbors.late(within, now, troubles), "its dead neighbour")
    }

    pub(crate) fn detected_by_all(&self, within: u64, now: u64, troubles: &Troubles) -> Result<(), Fault> {
        late(self.by_all.late(within, now, troubles), "the dead node")
    }

    pub(crate) fn leave_seen_as_leave(
        &self,
        within: u64,
        now: u64,
        troubles: &Troubles,
    ) -> Result<(), Fault> {
        super::fault_of(self.mistaken_leave.as_ref())?;
        late(self.leaves.late(within, now, troubles), "the departed node")
    }
}

/// Keeps what has the least excuse.
fn keep_least(kept: &mut Option<Mistake>, (paused_ns, at, by): (u64, u64, u32), what: impl Fn() -> String) {
    if kept.as_ref().is_none_or(|(least, ..)| paused_ns < *least) {
        *kept = Some((paused_ns, at, by, what()));
    }
}

fn mistake(kept: Option<&Mistake>, pause_ns: u64) -> Result<(), Fault> {
    let fault = kept.filter(|(paused_ns, ..)| *paused_ns <= pause_ns);
    none(fault.map(|(_, at, node, what)| (*node, format!("{what}, at {} ms", at / NANOS_PER_MILLI))))
}

fn late(late: Option<(u64, u32, u32)>, what: &str) -> Result<(), Fault> {
    none(late.map(|(late, by, subject)| {
        (by, format!("took {} ms or more to notice {what} {subject}", late / NANOS_PER_MILLI))
    }))
}

/// Compares what every member knows of members with those that there are.
pub(crate) fn exact(lives: &Lives, nodes: &dyn Nodes) -> Result<(), Fault> {
    for node in lives.members() {
        let is_alike = |other: u32| lives.family(other) == lives.family(node);
        let count = lives.members().filter(|other| is_alike(*other)).count();
        let (mut present, mut fault) = (0, None);
        let mut is_self_there = false;
        nodes.each_member(node, &mut |member| {
            let number = lives.number(&member.id());
            let id = number.map_or_else(|| member.id().to_string(), |number| number.to_string());
            if !member.state.is_present() {
                return;
            }
            is_self_there |= number == Some(node);
            present += 1;
            let is_there = number.is_some_and(|number| {
                lives.is_member(number)
                    && is_alike(number)
                    && lives.of(number).incarnation == member.contact.incarnation()
            });
            let what = match (is_there, member.state, member.is_suspected) {
                (false, ..) => format!("takes node {id} for a member, which is none"),
                (true, MemberState::Active, false) => return,
                (true, MemberState::Active, true) => format!("suspects node {id}, which lives"),
                (true, state, _) => format!("takes node {id} for {state:?}, which is active"),
            };
            fault.get_or_insert(what);
        });
        none(fault.map(|what| (node, what)))?;
        let known = present + usize::from(!is_self_there);
        none((known != count).then(|| (node, format!("knows {known} of {count} members"))))?;
    }
    Ok(())
}
