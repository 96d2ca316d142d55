//! What is known of services, folded from registrations and from the news that nodes tell of them.

use super::lives::{Life, Lives, Waits};
use super::troubles::Troubles;
use super::{Fault, fault_of, none};
use bytes::Bytes;
use rumormill_core::hash::{Fold, hash_bytes};
use rumormill_core::{
    Command, Event, Incarnation, MailboxId, NANOS_PER_MILLI, News, NodeId, Nodes, Observation, Observed,
    Service, Token, Watch,
};
use std::collections::{BTreeMap, BTreeSet};

/// What a service says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Said {
    mailbox: MailboxId,
    meta: Bytes,
    is_unique: bool,
}

/// One service as its owner offers it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Offer {
    said: Said,
    /// The hash of all that others see of it.
    hash: u64,
    /// Since when it has been offered without a break.
    since: u64,
}

/// A command on services whose answer is still out.
#[derive(Clone, Debug)]
struct Asked {
    node: u32,
    name: Bytes,
    instance: u64,
    /// What it is about to be, and the hash of all that others see of it; none when it is withdrawn.
    offer: Option<(Said, u64)>,
}

/// The news of one watch, folded.
#[derive(Clone, Debug, Default)]
struct Folded {
    prefix: Bytes,
    has_snapshot: bool,
    /// The hash of each visible service, by the hash of its name, owner and instance.
    shown: BTreeMap<u64, u64>,
    /// The owners of visible services, how many each has, and the newest life of each that was ever told.
    owners: BTreeMap<u32, (u32, Incarnation)>,
}

/// The services of all nodes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Registry {
    asked: BTreeMap<Token, Asked>,
    /// What each node offers in its present life.
    offers: Vec<BTreeMap<(Bytes, u64), Offer>>,
    /// The sum of the hashes of what each node offers.
    sums: Vec<u64>,
    by_name: BTreeMap<Bytes, BTreeSet<u32>>,
    /// The hash of everything that anybody ever asked to register.
    issued: BTreeSet<u64>,
    /// The hash of every service, of every life, that its owner ever withdrew or lost.
    withdrawn: BTreeSet<u64>,
    watches: BTreeMap<(u32, Token), Folded>,
    /// For how long before a disappearance hardships excuse it.
    memory_ns: u64,
    /// Whether anybody was ever told of services, and whether any was ever registered.
    pub(crate) is_heard: bool,
    pub(crate) is_offered: bool,
    /// Whether a lookup ever found something.
    pub(crate) is_found: bool,
    hidden: Waits,
    safe_fault: Option<(u64, u32, String)>,
    once_fault: Option<(u64, u32, String)>,
    /// The disappearance with the least excuse: the longest standstill beside it, when, where, in words.
    vanished: Option<(u64, u64, u32, String)>,
    /// Lookups that contradict what was offered: how long that had been so, when, where, in words.
    untrue: Option<(u64, u64, u32, String)>,
}

/// Hashes all that others see of a service, but for suspicion and the time of its registration.
fn hash(
    owner: &NodeId,
    life: Incarnation,
    key: (&Bytes, u64),
    mailbox: MailboxId,
    meta: &Bytes,
    is_unique: bool,
) -> u64 {
    let mut fold = Fold::starting_at(key_hash(owner, key.0, key.1));
    [life.0, mailbox.0, hash_bytes(meta), u64::from(is_unique)].into_iter().for_each(|word| fold.word(word));
    fold.finish()
}

fn hash_of(service: &Service) -> u64 {
    let Service { name, owner, incarnation, instance, mailbox, meta, is_unique, .. } = service;
    hash(owner, *incarnation, (name, *instance), *mailbox, meta, *is_unique)
}

fn key_hash(owner: &NodeId, name: &Bytes, instance: u64) -> u64 {
    let mut fold = Fold::starting_at(hash_bytes(name));
    fold.value(owner);
    fold.word(instance);
    fold.finish()
}

fn life_hash(owner: &NodeId, life: Incarnation, name: &Bytes, instance: u64) -> u64 {
    let mut fold = Fold::starting_at(key_hash(owner, name, instance));
    fold.word(life.0);
    fold.finish()
}

/// Names a service in words.
fn words(name: &Bytes, owner: Option<u32>) -> String {
    let owner = owner.map_or("of a stranger".into(), |owner| format!("of node {owner}"));
    format!("service {} {owner}", name.escape_ascii())
}

impl Registry {
    pub(crate) fn new(nodes: u32, ttl_ms: u64) -> Self {
        let memory_ns = (2 * ttl_ms + 2_000) * NANOS_PER_MILLI;
        let nodes = nodes as usize;
        Self { offers: vec![BTreeMap::new(); nodes], sums: vec![0; nodes], memory_ns, ..Self::default() }
    }

    /// Takes one observation in, after the lives have.
    pub(crate) fn observe(&mut self, seen: &Observation<'_>, lives: &Lives, troubles: &Troubles) {
        let node = seen.node;
        match seen.what {
            Observed::Started { .. } => {
                self.clear(node);
                self.hidden.forget_subject(node);
            }
            Observed::Stopped => self.on_stopped(seen, lives),
            Observed::Command { command: Command::Leave, .. } => {
                self.hidden.forget_watcher(node); // who has left hears of nobody
                self.expect_hidden(seen.node, troubles.awake_at(node, seen.at_ns), lives);
            }
            Observed::Command { command: Command::Join { .. }, .. } => self.hidden.forget_subject(node),
            Observed::Command { token, command } => self.on_command(seen, token, command, lives),
            Observed::Event(Event::Done { token, result }) => self.on_done(seen, *token, result.is_ok()),
            Observed::Event(Event::NameLost { name, instance, .. }) => {
                self.withdraw(name, *instance, lives.of(node));
                self.take_back(node, name, *instance);
            }
            Observed::Event(Event::LifeBegun { incarnation }) => self.on_new_life(node, *incarnation, lives),
            Observed::Event(Event::Watched { watch, news }) => {
                self.on_news(seen, *watch, news, lives, troubles);
            }
            Observed::Looked { name, found } => self.on_looked(seen, name, found, lives, troubles),
            Observed::Event(_) => {}
        }
    }

    // --- what is offered

    fn on_command(&mut self, seen: &Observation<'_>, token: Token, command: &Command, lives: &Lives) {
        let (node, life) = (seen.node, lives.of(seen.node));
        match command {
            Command::Register { name, instance, mailbox, meta, is_unique } => {
                let Some(id) = life.id else { return };
                let hash = hash(&id, life.incarnation, (name, *instance), *mailbox, meta, *is_unique);
                self.issued.insert(hash);
                let said = Said { mailbox: *mailbox, meta: meta.clone(), is_unique: *is_unique };
                let (name, instance, offer) = (name.clone(), *instance, Some((said, hash)));
                self.asked.insert(token, Asked { node, name, instance, offer });
            }
            Command::Unregister { name, instance } => {
                self.withdraw(name, *instance, life);
                let (name, instance) = (name.clone(), *instance);
                self.asked.insert(token, Asked { node, name, instance, offer: None });
            }
            Command::Watch { what: Watch::Services { prefix } } => {
                let folded = Folded { prefix: prefix.clone(), ..Folded::default() };
                self.watches.insert((node, token), folded);
            }
            Command::Unwatch { watch } => {
                self.watches.remove(&(node, *watch));
            }
            _ => {}
        }
    }

    fn on_done(&mut self, seen: &Observation<'_>, token: Token, is_ok: bool) {
        let Some(Asked { node, name, instance, offer }) = self.asked.remove(&token) else { return };
        match offer {
            Some((said, hash)) if is_ok => {
                self.is_offered = true;
                let before = self.offers[node as usize].get(&(name.clone(), instance));
                let since = before.map_or(seen.at_ns, |before| before.since);
                let old = before.map_or(0, |before| before.hash);
                let sum = &mut self.sums[node as usize];
                *sum = sum.wrapping_sub(old).wrapping_add(hash);
                self.by_name.entry(name.clone()).or_default().insert(node);
                self.offers[node as usize].insert((name, instance), Offer { said, hash, since });
            }
            None if is_ok => self.take_back(node, &name, instance),
            Some(_) | None => {}
        }
    }

    /// What a node offers goes on in its next life, and names that one.
    fn on_new_life(&mut self, node: u32, incarnation: Incarnation, lives: &Lives) {
        let Some(id) = lives.of(node).id else { return };
        let mut sum = 0_u64;
        for ((name, instance), offer) in &mut self.offers[node as usize] {
            let Said { mailbox, meta, is_unique } = &offer.said;
            offer.hash = hash(&id, incarnation, (name, *instance), *mailbox, meta, *is_unique);
            sum = sum.wrapping_add(offer.hash);
            self.issued.insert(offer.hash);
        }
        self.sums[node as usize] = sum;
    }

    fn withdraw(&mut self, name: &Bytes, instance: u64, life: &Life) {
        self.withdrawn.extend(life.id.map(|id| life_hash(&id, life.incarnation, name, instance)));
    }

    fn take_back(&mut self, node: u32, name: &Bytes, instance: u64) {
        let offers = &mut self.offers[node as usize];
        let Some(offer) = offers.remove(&(name.clone(), instance)) else { return };
        let sum = &mut self.sums[node as usize];
        *sum = sum.wrapping_sub(offer.hash);
        if offers.range((name.clone(), 0)..=(name.clone(), u64::MAX)).next().is_none() {
            self.unname(node, name);
        }
    }

    fn unname(&mut self, node: u32, name: &Bytes) {
        let Some(nodes) = self.by_name.get_mut(name) else { return };
        nodes.remove(&node);
        if nodes.is_empty() {
            self.by_name.remove(name);
        }
    }

    fn clear(&mut self, node: u32) {
        for (name, _) in std::mem::take(&mut self.offers[node as usize]).into_keys() {
            self.unname(node, &name);
        }
        self.sums[node as usize] = 0;
        self.watches.retain(|(of, _), _| *of != node);
        self.asked.retain(|_, asked| asked.node != node);
    }

    fn on_stopped(&mut self, seen: &Observation<'_>, lives: &Lives) {
        self.clear(seen.node);
        self.hidden.forget_watcher(seen.node);
        if !self.hidden.is_open(seen.node) {
            self.expect_hidden(seen.node, seen.at_ns, lives); // else it has left before, and is waited for since
        }
    }

    /// From now on the services of a node must disappear where they are visible.
    fn expect_hidden(&mut self, node: u32, since: u64, lives: &Lives) {
        let shows = |folded: &Folded| folded.owners.get(&node).is_some_and(|(count, _)| *count > 0);
        let hears = |by: u32| by != node && lives.of(by).left_at.is_none();
        let watching = self.watches.iter().filter(|((by, _), folded)| hears(*by) && shows(folded));
        let mut watchers: Vec<u32> = watching.map(|((by, _), _)| *by).collect();
        watchers.dedup();
        self.hidden.begin(node, since, watchers);
    }

    // --- what is told

    fn on_news(
        &mut self,
        seen: &Observation<'_>,
        watch: Token,
        news: &News,
        lives: &Lives,
        troubles: &Troubles,
    ) {
        let Some(mut folded) = self.watches.remove(&(seen.node, watch)) else { return };
        match news {
            News::Services(services) => {
                self.is_heard = true;
                if std::mem::replace(&mut folded.has_snapshot, true) {
                    self.blame_once(seen, "a second snapshot of services came".into());
                }
                for service in services {
                    self.on_shown(seen, &mut folded, service, true, lives);
                }
            }
            News::Registered(service) => self.on_shown(seen, &mut folded, service, true, lives),
            News::Updated(service) => self.on_shown(seen, &mut folded, service, false, lives),
            News::Unregistered(service) => {
                self.on_gone(seen, &mut folded, service, lives, troubles);
                let Service { owner, incarnation, name, instance, .. } = service;
                if !self.withdrawn.contains(&life_hash(owner, *incarnation, name, *instance)) {
                    self.note_vanished(
                        seen,
                        service,
                        "was told to be withdrawn, and is offered",
                        lives,
                        troubles,
                    );
                }
            }
            News::Down { service, .. } => {
                self.on_gone(seen, &mut folded, service, lives, troubles);
                self.note_vanished(seen, service, "went down, and its owner lives", lives, troubles);
            }
            _ => {}
        }
        self.watches.insert((seen.node, watch), folded);
    }

    fn blame_once(&mut self, seen: &Observation<'_>, what: String) {
        self.once_fault.get_or_insert((seen.at_ns, seen.node, what));
    }

    fn blame_safe(&mut self, seen: &Observation<'_>, what: String) {
        self.safe_fault.get_or_insert((seen.at_ns, seen.node, what));
    }

    fn on_shown(
        &mut self,
        seen: &Observation<'_>,
        folded: &mut Folded,
        service: &Service,
        is_new: bool,
        lives: &Lives,
    ) {
        let owner = lives.number(&service.owner);
        let (hash, name) = (hash_of(service), &service.name);
        let mut content = Fold::starting_at(hash);
        content.word(u64::from(service.is_suspected));
        content.word(service.registered_at.0);
        let key = key_hash(&service.owner, name, service.instance);
        let before = folded.shown.insert(key, content.finish());
        let is_seen = before.is_some();
        if !folded.has_snapshot {
            self.blame_once(seen, format!("{} was told before the snapshot", words(name, owner)));
        } else if is_new == is_seen {
            let what = if is_new { "was registered twice" } else { "was updated and not visible" };
            self.blame_once(seen, format!("{} {what}", words(name, owner)));
        } else if before == Some(content.finish()) {
            self.blame_once(seen, format!("{} was updated and has not changed", words(name, owner)));
        } else if !name.starts_with(&folded.prefix) {
            self.blame_once(seen, format!("{} was told and not asked for", words(name, owner)));
        }
        if !self.issued.contains(&hash) {
            self.blame_safe(seen, format!("{} is visible as nobody ever registered it", words(name, owner)));
        }
        let Some(owner) = owner else { return };
        let (count, newest) = folded.owners.entry(owner).or_default();
        *count += u32::from(!is_seen);
        let is_old = service.incarnation < *newest;
        *newest = service.incarnation.max(*newest);
        if is_old {
            let what = format!("{} of an earlier life came back", words(name, Some(owner)));
            self.blame_safe(seen, what);
        }
    }

    fn on_gone(
        &mut self,
        seen: &Observation<'_>,
        folded: &mut Folded,
        service: &Service,
        lives: &Lives,
        troubles: &Troubles,
    ) {
        let owner = lives.number(&service.owner);
        let key = key_hash(&service.owner, &service.name, service.instance);
        if folded.shown.remove(&key).is_none() {
            let what = format!("{} went and was not visible", words(&service.name, owner));
            return self.blame_once(seen, what);
        }
        let Some(owner) = owner else { return };
        let Some((count, _)) = folded.owners.get_mut(&owner) else { return };
        *count = count.saturating_sub(1);
        if *count == 0 {
            self.hidden.seen(seen.node, owner, seen.at_ns, troubles);
        }
    }

    /// A service disappeared: that needs an excuse while its owner's life goes on.
    fn note_vanished(
        &mut self,
        seen: &Observation<'_>,
        service: &Service,
        what: &str,
        lives: &Lives,
        troubles: &Troubles,
    ) {
        let Some(owner) = lives.number(&service.owner) else { return };
        let span = (seen.at_ns.saturating_sub(self.memory_ns), seen.at_ns);
        if !lives.lives(&service.owner, service.incarnation) || troubles.excuse(seen.node, owner, span) {
            return;
        }
        let paused_ns = troubles.paused_ns(owner, span).max(troubles.paused_ns(seen.node, span));
        if self.vanished.as_ref().is_none_or(|(least, ..)| paused_ns < *least) {
            let what = format!("{} {what}", words(&service.name, Some(owner)));
            self.vanished = Some((paused_ns, seen.at_ns, seen.node, what));
        }
    }

    // --- lookups

    fn on_looked(
        &mut self,
        seen: &Observation<'_>,
        name: &Bytes,
        found: Option<&Service>,
        lives: &Lives,
        troubles: &Troubles,
    ) {
        self.is_found |= found.is_some();
        let fault = match found {
            Some(service) => self.wrongly_found(seen, name, service, lives, troubles),
            None => self.not_found(seen, name, lives, troubles),
        };
        let Some((for_ns, what)) = fault else { return };
        if self.untrue.as_ref().is_none_or(|(longest, ..)| for_ns > *longest) {
            self.untrue = Some((for_ns, seen.at_ns, seen.node, what));
        }
    }

    /// Tells what is wrong with a service that was found, and for how long it has been so.
    fn wrongly_found(
        &self,
        seen: &Observation<'_>,
        name: &Bytes,
        service: &Service,
        lives: &Lives,
        troubles: &Troubles,
    ) -> Option<(u64, String)> {
        let owner = lives.number(&service.owner);
        let words = words(name, owner);
        if service.name != *name || !self.issued.contains(&hash_of(service)) {
            return Some((u64::MAX, format!("{words} was found as nobody ever registered it")));
        }
        let owner = owner?;
        let is_local = self.by_name.get(name).is_some_and(|nodes| nodes.contains(&seen.node));
        if is_local && owner != seen.node && lives.is_member(seen.node) {
            return Some((u64::MAX, format!("{words} was found, and the node offers one itself")));
        }
        let life = lives.of(owner);
        let left_at = life.left_at.map(|at| troubles.awake_at(owner, at));
        let gone_at = left_at.or(life.stopped_at.filter(|_| !life.is_running))?;
        let is_excused = troubles.delay(seen.node, (gone_at, seen.at_ns));
        let since = gone_at.max(lives.of(seen.node).joined_at.unwrap_or(0));
        (!is_excused)
            .then(|| (seen.at_ns.saturating_sub(since), format!("{words} was found, and its owner is gone")))
    }

    /// Tells since when a service that was not found has been offered by somebody whom the node should know of.
    fn not_found(
        &self,
        seen: &Observation<'_>,
        name: &Bytes,
        lives: &Lives,
        troubles: &Troubles,
    ) -> Option<(u64, String)> {
        let here = lives.of(seen.node);
        let here_since = here.joined_at.filter(|_| here.left_at.is_none())?;
        let since = |owner: u32| {
            let life = lives.of(owner);
            let joined_at = life.joined_at.filter(|_| life.is_running && life.left_at.is_none())?;
            let all = (name.clone(), 0)..=(name.clone(), u64::MAX);
            let offered_at = self.offers[owner as usize].range(all).map(|(_, offer)| offer.since).min()?;
            let since = offered_at.max(joined_at).max(here_since);
            let span = (seen.at_ns.saturating_sub(2 * self.memory_ns), seen.at_ns);
            let late = troubles.delay(owner, span) || troubles.delay(seen.node, span);
            (!late && !troubles.are_apart(owner, seen.node, span)).then_some((since, owner))
        };
        let (since, owner) = self.by_name.get(name)?.iter().filter_map(|owner| since(*owner)).min()?;
        Some((seen.at_ns - since, format!("{} was not found", words(name, Some(owner)))))
    }

    // --- what must hold

    pub(crate) fn lookups_true(&self, within: u64) -> Result<(), Fault> {
        let fault = self.untrue.as_ref().filter(|(for_ns, ..)| *for_ns > within);
        none(fault.map(|(_, at, node, what)| (*node, format!("{what}, at {} ms", at / NANOS_PER_MILLI))))
    }

    pub(crate) fn topology_safe(&self, pause_ns: u64) -> Result<(), Fault> {
        let fault = self.vanished.as_ref().filter(|(paused_ns, ..)| *paused_ns <= pause_ns);
        none(fault.map(|(_, at, node, what)| (*node, format!("{what}, at {} ms", at / NANOS_PER_MILLI))))
    }

    /// Nothing is visible that was never registered, nor for longer than it may after its owner has gone. One node in
    /// turn is looked at as a whole.
    pub(crate) fn safe(
        &self,
        within: u64,
        now: u64,
        (lives, troubles): (&Lives, &Troubles),
        nodes: &dyn Nodes,
    ) -> Result<(), Fault> {
        fault_of(self.safe_fault.as_ref())?;
        none(self.hidden.late(within, now, troubles).map(|(late, by, subject)| {
            (by, format!("shows services of node {subject} {} ms after it went", late / NANOS_PER_MILLI))
        }))?;
        let turn = (now / super::LOOK_EVERY_NS) as usize;
        let count = lives.members().count();
        let Some(node) = lives.members().nth(turn.checked_rem(count).unwrap_or(0)) else { return Ok(()) };
        let mut fault = None;
        nodes.each_service(node, &mut |service| {
            if fault.is_none() && !self.issued.contains(&hash_of(service)) {
                let words = words(&service.name, lives.number(&service.owner));
                fault = Some((node, format!("{words} is visible as nobody ever registered it")));
            }
        });
        none(fault)
    }

    /// The news of each watch add up to what its node shows: of one watch in turn, or of all.
    pub(crate) fn events_once(&self, now: u64, is_last: bool, nodes: &dyn Nodes) -> Result<(), Fault> {
        fault_of(self.once_fault.as_ref())?;
        let turn = (now / super::LOOK_EVERY_NS) as usize % self.watches.len().max(1);
        for ((node, _), folded) in self.watches.iter().skip(if is_last { 0 } else { turn }) {
            let (mut visible, mut untold) = (0, None);
            nodes.each_service(*node, &mut |service| {
                if !service.name.starts_with(&folded.prefix) {
                    return;
                }
                visible += 1;
                let mut content = Fold::starting_at(hash_of(service));
                content.word(u64::from(service.is_suspected));
                content.word(service.registered_at.0);
                let key = key_hash(&service.owner, &service.name, service.instance);
                if untold.is_none() && folded.shown.get(&key) != Some(&content.finish()) {
                    untold =
                        Some(format!("no news told of service {} as it is", service.name.escape_ascii()));
                }
            });
            let told = folded.shown.len();
            let is_short = (folded.has_snapshot && visible != told)
                .then(|| format!("news told of {told} services, {visible} are visible"));
            none(untold.filter(|_| folded.has_snapshot).or(is_short).map(|what| (*node, what)))?;
            if !is_last {
                break;
            }
        }
        Ok(())
    }

    /// Every member shows exactly what every member offers. Nodes show the same exactly when their statuses are equal,
    /// so one of those is looked at as a whole.
    pub(crate) fn exact(&self, lives: &Lives, nodes: &dyn Nodes) -> Result<(), Fault> {
        let count: usize = lives.members().map(|node| self.offers[node as usize].len()).sum();
        let sum = lives.members().fold(0u64, |sum, node| sum.wrapping_add(self.sums[node as usize]));
        let mut found = None;
        for node in lives.members() {
            let status = nodes.status(node).and_then(|status| status.registry);
            if status.is_some() && status == found {
                continue;
            }
            let (mut shown, mut shown_sum) = (0, 0u64);
            nodes.each_service(node, &mut |service| {
                shown += 1;
                shown_sum = shown_sum.wrapping_add(hash_of(service));
            });
            if (shown, shown_sum) != (count, sum) {
                return Err((Some(node), self.difference(node, count, lives, nodes)));
            }
            found = status;
        }
        Ok(())
    }

    /// Tells in words how a node's directory differs from what is offered.
    fn difference(&self, node: u32, count: usize, lives: &Lives, nodes: &dyn Nodes) -> String {
        let mut missing: BTreeMap<u64, (u32, Bytes)> = BTreeMap::new();
        for owner in lives.members() {
            for ((name, _), offer) in &self.offers[owner as usize] {
                missing.insert(offer.hash, (owner, name.clone()));
            }
        }
        let (mut shown, mut extra) = (0, None);
        nodes.each_service(node, &mut |service| {
            shown += 1;
            if missing.remove(&hash_of(service)).is_none() && extra.is_none() {
                extra = Some(words(&service.name, lives.number(&service.owner)));
            }
        });
        let missing = missing.into_values().next().map(|(owner, name)| words(&name, Some(owner)));
        let what = match (extra, missing) {
            (Some(extra), _) => format!("shows {extra} as it is not offered"),
            (None, Some(missing)) => format!("does not show {missing}"),
            (None, None) => "shows a service twice".into(),
        };
        format!("{what} ({shown} visible, {count} offered)")
    }
}

/// No member shows two services of one name.
pub(crate) fn names_unique(lives: &Lives, nodes: &dyn Nodes) -> Result<(), Fault> {
    for node in lives.members() {
        let (mut names, mut twice) = (BTreeSet::new(), None);
        nodes.each_service(node, &mut |service| {
            if !names.insert(service.name.clone()) {
                twice.get_or_insert(words(&service.name, lives.number(&service.owner)));
            }
        });
        none(twice.map(|twice| (node, format!("shows {twice} beside another of that name"))))?;
    }
    Ok(())
}
