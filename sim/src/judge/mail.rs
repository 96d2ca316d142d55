//! What is known of mail, folded from messages, questions and monitors and from what came of each.

use super::lives::Lives;
use super::ties::Ties;
use super::troubles::Troubles;
use super::{Fault, fault_of, none};
use bytes::Bytes;
use rumormill_core::hash::hash_bytes;
use rumormill_core::{
    Address, Command, CommandError, Event, Incarnation, MailLoss, MailboxId, NANOS_PER_MILLI, Observation,
    Observed, Question, Reply, Token,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// How long after either has come a node may not know where another one is: two heartbeats and a second.
const KNOWN_NS: u64 = 5_000 * NANOS_PER_MILLI;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Its sender has not been told whether it was accepted.
    Asked,
    Accepted,
    Refused,
    Delivered,
    /// Its sender was told that it is lost.
    Lost,
}

/// One message between a pair of mailboxes.
#[derive(Clone, Copy, Debug)]
struct Message {
    hash: u64,
    sent_at: u64,
    fate: Fate,
}

/// The messages of one mailbox to another, in the order in which they were sent.
#[derive(Clone, Debug, Default)]
struct Pair {
    messages: Vec<Message>,
    /// The first that may still be delivered in order.
    next: usize,
}

/// A question whose answer is still out.
#[derive(Clone, Copy, Debug)]
struct Call {
    node: u32,
    at: u64,
    deadline: u64,
}

/// A monitor.
#[derive(Clone, Copy, Debug)]
struct Monitor {
    node: u32,
    /// Whose it is: it ends with that mailbox.
    watcher: Option<Address>,
    of: Address,
    /// Since when it has been known to wait for what is gone; none while that is there.
    due_since: Option<u64>,
    is_set: bool,
}

/// All mail.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mail {
    opening: BTreeSet<Token>,
    closing: BTreeMap<Token, Address>,
    /// The mailboxes that are open, and when each was opened.
    open: BTreeMap<Address, u64>,
    pairs: BTreeMap<(Address, Address), Pair>,
    sent: BTreeMap<Token, (Address, Address, Range<usize>)>,
    /// Whom each question was for, by asker and hash.
    questions: BTreeMap<(Address, u64), Address>,
    asked: BTreeSet<Question>,
    calls: BTreeMap<Token, Call>,
    deadlines: BTreeSet<(u64, Token)>,
    answered: BTreeSet<Token>,
    monitors: BTreeMap<Token, Monitor>,
    monitors_of: BTreeMap<Address, Vec<Token>>,
    due: BTreeSet<(u64, Token)>,
    fired: BTreeSet<Token>,
    pub(crate) ties: Ties,
    memory_ns: u64,
    /// Whether a message was ever delivered, and a monitor ever set.
    pub(crate) is_delivered: bool,
    pub(crate) is_monitored: bool,
    twice: Option<(u64, u32, String)>,
    disorder: Option<(u64, u32, String)>,
    to_the_dead: Option<(u64, u32, String)>,
    answers_fault: Option<(u64, u32, String)>,
    /// The latest answer: how long after its deadline, when, where.
    latest_answer: Option<(u64, u64, u32)>,
    monitors_fault: Option<(u64, u32, String)>,
    latest_monitor: Option<(u64, u32)>,
    /// Nanoseconds from each question to its answer.
    pub(crate) answers_ns: Vec<u64>,
}

fn address(lives: &Lives, node: u32, mailbox: MailboxId) -> Option<Address> {
    let life = lives.of(node);
    Some(Address { node: life.id?, incarnation: life.incarnation, mailbox })
}

impl Mail {
    pub(crate) fn new(ttl_ms: u64) -> Self {
        Self { memory_ns: (2 * ttl_ms + 2_000) * NANOS_PER_MILLI, ..Self::default() }
    }

    /// Takes one observation in, after the lives have.
    pub(crate) fn observe(&mut self, seen: &Observation<'_>, lives: &Lives, troubles: &Troubles) {
        match seen.what {
            Observed::Stopped => self.on_stopped(seen, lives),
            Observed::Command { token, command } => self.on_command(seen, token, command, lives),
            Observed::Event(event) => self.on_event(seen, event, lives, troubles),
            Observed::Started { .. } | Observed::Looked { .. } => {}
        }
    }

    fn on_stopped(&mut self, seen: &Observation<'_>, lives: &Lives) {
        let Some(id) = lives.of(seen.node).id else { return };
        let first = Address { node: id, incarnation: Incarnation(0), mailbox: MailboxId(0) };
        let of_node = self.open.range(first..).map(|(address, _)| *address);
        let closed: Vec<Address> = of_node.take_while(|address| address.node == id).collect();
        let memory = Some(self.memory_ns);
        closed.into_iter().for_each(|address| self.close(address, seen.at_ns, memory, lives));
        let ended = |call: &Call| call.node == seen.node;
        self.deadlines.retain(|(_, token)| !self.calls.get(token).is_some_and(ended));
        self.calls.retain(|_, call| !ended(call));
        let ended: Vec<Token> =
            self.monitors.iter().filter(|(_, it)| it.node == seen.node).map(|(token, _)| *token).collect();
        ended.into_iter().for_each(|token| self.forget_monitor(token));
    }

    /// Mailboxes go on in the life after a leave, under other addresses: what others know by the old ones is gone, what the
    /// node's mailboxes know of each other goes on.
    fn on_life_begun(&mut self, seen: &Observation<'_>, life: Incarnation, lives: &Lives) {
        let Some(id) = lives.of(seen.node).id else { return };
        let first = Address { node: id, incarnation: Incarnation(0), mailbox: MailboxId(0) };
        let renamed = |of: Address| Address { incarnation: life, ..of };
        let is_old = |of: &Address| of.node == id && of.incarnation < life;
        let own: Vec<_> =
            self.open.range(first..).take_while(|(of, _)| is_old(of)).map(|it| (*it.0, *it.1)).collect();
        for (address, opened_at) in own {
            self.open.remove(&address);
            self.open.insert(renamed(address), opened_at);
            self.ties.on_renamed(address, renamed(address), seen.at_ns, |of| lives.number(&of.node));
            for token in self.monitors_of.remove(&address).unwrap_or_default() {
                let Some(monitor) = self.monitors.get_mut(&token) else { continue };
                if monitor.node == seen.node {
                    monitor.of = renamed(address);
                } else if monitor.due_since.is_none() {
                    monitor.due_since = Some(seen.at_ns);
                    self.due.insert((seen.at_ns, token));
                }
                self.monitors_of.entry(monitor.of).or_default().push(token);
            }
        }
        for watcher in self.monitors.values_mut().filter_map(|it| it.watcher.as_mut()).filter(|it| is_old(it))
        {
            *watcher = renamed(*watcher);
        }
        self.closing.values_mut().filter(|of| is_old(of)).for_each(|of| *of = renamed(*of));
    }

    /// A mailbox is gone: who monitors it must be told.
    /// Who has asked for a tie that short a time before may not have been heard.
    fn close(&mut self, address: Address, at: u64, heard_ns: Option<u64>, lives: &Lives) {
        self.open.remove(&address);
        self.ties.on_closed(address, at, heard_ns, |of| lives.number(&of.node));
        let is_its = |(_, monitor): &(&Token, &Monitor)| monitor.watcher == Some(address);
        let ended: Vec<Token> = self.monitors.iter().filter(is_its).map(|(token, _)| *token).collect();
        ended.into_iter().for_each(|token| self.forget_monitor(token));
        for token in self.monitors_of.get(&address).into_iter().flatten() {
            if let Some(monitor) = self.monitors.get_mut(token)
                && monitor.due_since.is_none()
            {
                monitor.due_since = Some(at);
                self.due.insert((at, *token));
            }
        }
    }

    fn forget_monitor(&mut self, token: Token) {
        let Some(monitor) = self.monitors.remove(&token) else { return };
        self.due.retain(|(_, other)| *other != token);
        if let Some(tokens) = self.monitors_of.get_mut(&monitor.of) {
            tokens.retain(|other| *other != token);
            if tokens.is_empty() {
                self.monitors_of.remove(&monitor.of);
            }
        }
    }

    fn on_command(&mut self, seen: &Observation<'_>, token: Token, command: &Command, lives: &Lives) {
        let own = |mailbox: MailboxId| address(lives, seen.node, mailbox);
        match command {
            Command::OpenMailbox => {
                self.opening.insert(token);
            }
            Command::CloseMailbox { mailbox } => {
                self.closing.extend(own(*mailbox).map(|address| (token, address)));
            }
            Command::Send { from, to, payload } => {
                let Some(from) = own(*from) else { return };
                self.on_sent(token, (from, *to), seen.at_ns, [payload.clone()]);
            }
            Command::SendBundle { from, to, messages } => {
                let Some(from) = own(*from) else { return };
                self.on_sent(token, (from, *to), seen.at_ns, messages.clone().into_messages());
            }
            Command::Call { from, to, payload, timeout_ms } => {
                let Some(from) = own(*from) else { return };
                self.questions.insert((from, hash_bytes(payload)), *to);
                let deadline = seen.at_ns.saturating_add(timeout_ms.saturating_mul(NANOS_PER_MILLI));
                self.calls.insert(token, Call { node: seen.node, at: seen.at_ns, deadline });
                self.deadlines.insert((deadline, token));
            }
            Command::Monitor { mailbox, of } => {
                let watcher = own(*mailbox);
                let due_since = (!self.open.contains_key(of)).then_some(seen.at_ns);
                self.due.extend(due_since.map(|since| (since, token)));
                let monitor = Monitor { node: seen.node, watcher, of: *of, due_since, is_set: false };
                self.monitors.insert(token, monitor);
                self.monitors_of.entry(*of).or_default().push(token);
            }
            Command::Link { mailbox, with } => {
                if let Some(mailbox) = own(*mailbox) {
                    self.ties.on_asked(token, mailbox, *with);
                }
            }
            Command::Demonitor { monitor } => self.forget_monitor(*monitor),
            _ => {}
        }
    }

    fn on_sent(
        &mut self,
        token: Token,
        (from, to): (Address, Address),
        sent_at: u64,
        messages: impl IntoIterator<Item = Bytes>,
    ) {
        let pair = self.pairs.entry((from, to)).or_default();
        let first = pair.messages.len();
        let message = |payload: Bytes| Message { hash: hash_bytes(&payload), sent_at, fate: Fate::Asked };
        pair.messages.extend(messages.into_iter().map(message));
        self.sent.insert(token, (from, to, first..pair.messages.len()));
    }

    fn on_event(&mut self, seen: &Observation<'_>, event: &Event, lives: &Lives, troubles: &Troubles) {
        match event {
            Event::Done { token, result } => self.on_done(seen, *token, result, lives, troubles),
            Event::Mail { mailbox, from, payload } => self.on_mail(seen, *mailbox, *from, payload, lives),
            Event::Asked { mailbox, question, payload } => {
                self.on_asked(seen, *mailbox, *question, payload, lives);
            }
            Event::LifeBegun { incarnation } => self.on_life_begun(seen, *incarnation, lives),
            Event::MailLost { token, .. } => self.settle(*token, Fate::Lost),
            Event::MailboxDown { monitor, address, reason } => {
                self.on_down(seen, *monitor, *address, *reason, lives, troubles);
            }
            Event::MailboxClosed { mailbox, because_of, reason } => {
                let Some(address) = address(lives, seen.node, *mailbox) else { return };
                let is_gone = !self.open.contains_key(because_of) || self.is_closing(*because_of);
                let is_true = is_gone || self.is_excused(seen, because_of, *reason, lives, troubles);
                let (at, is_open) = ((seen.at_ns, seen.node), self.open.contains_key(&address));
                self.ties.on_told(address, *because_of, at, is_true, is_open);
                self.close(address, seen.at_ns, None, lives);
            }
            _ => {}
        }
    }

    fn on_done(
        &mut self,
        seen: &Observation<'_>,
        token: Token,
        result: &Result<Reply, CommandError>,
        lives: &Lives,
        troubles: &Troubles,
    ) {
        let open = &self.open;
        self.ties.on_done(token, (seen.at_ns, seen.node), result.is_ok(), |of| open.contains_key(of));
        if let (true, Ok(Reply::Opened { address })) = (self.opening.remove(&token), result) {
            self.open.insert(*address, seen.at_ns);
        }
        if let (Some(address), true) = (self.closing.remove(&token), result.is_ok()) {
            self.close(address, seen.at_ns, None, lives);
        }
        if self.sent.contains_key(&token) {
            self.settle(token, if result.is_ok() { Fate::Accepted } else { Fate::Refused });
        }
        if let Some(monitor) = self.monitors.get_mut(&token) {
            monitor.is_set = true;
            self.is_monitored |= result.is_ok();
            if result.is_err() {
                self.forget_monitor(token);
            }
        }
        if let (Some(call), Ok(Reply::Answer { .. })) = (self.calls.get(&token), result) {
            self.answers_ns.push(seen.at_ns.saturating_sub(call.at));
        }
        self.on_answered(seen, token, troubles);
    }

    /// Notes what became of a message. What was delivered stays so.
    fn settle(&mut self, token: Token, fate: Fate) {
        let Some((from, to, numbers)) = self.sent.get(&token).cloned() else { return };
        if fate != Fate::Accepted {
            self.sent.remove(&token);
        }
        let Some(pair) = self.pairs.get_mut(&(from, to)) else { return };
        for message in pair.messages[numbers].iter_mut().filter(|message| message.fate != Fate::Delivered) {
            message.fate = fate;
        }
    }

    // --- delivery

    fn on_mail(
        &mut self,
        seen: &Observation<'_>,
        mailbox: MailboxId,
        from: Address,
        payload: &Bytes,
        lives: &Lives,
    ) {
        let Some(to) = address(lives, seen.node, mailbox) else { return };
        let hash = hash_bytes(payload);
        let blame = |of: &mut Option<(u64, u32, String)>, what: &str| {
            of.get_or_insert((seen.at_ns, seen.node, format!("a message from node {} {what}", from.node)));
        };
        let Some(pair) = self.pairs.get_mut(&(from, to)) else {
            let same_mailbox = |(_, of): &&(Address, Address)| of.node == to.node && of.mailbox == mailbox;
            let is_for_the_dead = self.pairs.keys().filter(|(by, _)| *by == from).any(|it| same_mailbox(&it));
            return match is_for_the_dead {
                true => blame(&mut self.to_the_dead, "came to a later life of the node than it was sent to"),
                false => blame(&mut self.twice, "was delivered and never sent"),
            };
        };
        let in_order = pair.messages[pair.next..].iter().position(|message| message.hash == hash);
        match in_order.map(|offset| pair.next + offset) {
            Some(index) => {
                if pair.messages[index].fate == Fate::Refused {
                    blame(&mut self.twice, "was refused and yet delivered");
                }
                self.is_delivered = true;
                pair.messages[index].fate = Fate::Delivered;
                pair.next = index + 1;
            }
            None => match pair.messages.iter_mut().rev().find(|message| message.hash == hash) {
                Some(message) if message.fate == Fate::Delivered => {
                    blame(&mut self.twice, "was delivered a second time");
                }
                Some(message) => {
                    message.fate = Fate::Delivered;
                    blame(&mut self.disorder, "was overtaken by a later one");
                }
                None => blame(&mut self.twice, "was delivered and never sent"),
            },
        }
        if !self.open.contains_key(&to) {
            blame(&mut self.to_the_dead, "came to a mailbox that is closed");
        }
    }

    fn on_asked(
        &mut self,
        seen: &Observation<'_>,
        mailbox: MailboxId,
        question: Question,
        payload: &Bytes,
        lives: &Lives,
    ) {
        let (node, at) = (seen.node, seen.at_ns);
        if !self.asked.insert(question) {
            let what = format!("a question from node {} was asked a second time", question.from.node);
            self.twice.get_or_insert((at, node, what));
        }
        let to = self.questions.get(&(question.from, hash_bytes(payload)));
        match to {
            Some(to) if address(lives, node, mailbox) != Some(*to) => {
                let what = format!("a question from node {} came to another mailbox", question.from.node);
                self.to_the_dead.get_or_insert((at, node, what));
            }
            Some(_) => {}
            None => {
                let what = format!("a question came that node {} never asked", question.from.node);
                self.twice.get_or_insert((at, node, what));
            }
        }
    }

    // --- answers

    fn on_answered(&mut self, seen: &Observation<'_>, token: Token, troubles: &Troubles) {
        let Some(call) = self.calls.remove(&token) else {
            if self.answered.contains(&token) {
                let what = "a question was answered a second time".into();
                self.answers_fault.get_or_insert((seen.at_ns, seen.node, what));
            }
            return;
        };
        self.answered.insert(token);
        self.deadlines.remove(&(call.deadline, token));
        let late = seen.at_ns.saturating_sub(call.deadline);
        let is_later = self.latest_answer.is_none_or(|(latest, ..)| late > latest);
        if late > 0 && is_later && !troubles.delay(call.node, (call.at, seen.at_ns)) {
            self.latest_answer = Some((late, seen.at_ns, seen.node));
        }
    }

    pub(crate) fn calls_answered_once(&self, slack: u64, now: u64, troubles: &Troubles) -> Result<(), Fault> {
        fault_of(self.answers_fault.as_ref())?;
        let late = self.latest_answer.filter(|(late, ..)| *late > slack);
        none(late.map(|(late, _, node)| {
            (node, format!("a question was answered {} ms after its time", late / NANOS_PER_MILLI))
        }))?;
        let overdue = self.deadlines.iter().take_while(|(deadline, _)| deadline.saturating_add(slack) < now);
        let calls = overdue.filter_map(|(_, token)| self.calls.get(token));
        let open = calls.into_iter().find(|call| !troubles.delay(call.node, (call.at, now)));
        none(open.map(|call| {
            let late_ms = (now - call.deadline) / NANOS_PER_MILLI;
            (call.node, format!("a question has no answer {late_ms} ms after its time"))
        }))
    }

    // --- monitors

    fn on_down(
        &mut self,
        seen: &Observation<'_>,
        token: Token,
        of: Address,
        reason: MailLoss,
        lives: &Lives,
        troubles: &Troubles,
    ) {
        let mut blame = |what: &str| {
            self.monitors_fault.get_or_insert((seen.at_ns, seen.node, format!("a monitor {what}")));
        };
        if !self.fired.insert(token) {
            return blame("fired a second time");
        }
        let Some(monitor) = self.monitors.get(&token).copied() else {
            return blame("fired that was never set or is taken back");
        };
        if monitor.of != of {
            blame("fired for another mailbox than it was set for");
        }
        match monitor.due_since {
            Some(since) => {
                let late = seen.at_ns - since;
                let is_latest = self.latest_monitor.is_none_or(|(latest, _)| late > latest);
                if is_latest && !troubles.delay(seen.node, (since, seen.at_ns)) {
                    self.latest_monitor = Some((late, seen.node));
                }
            }
            None if self.is_closing(of) => {}
            None => {
                if !self.is_excused(seen, &of, reason, lives, troubles) {
                    self.monitors_fault.get_or_insert((
                        seen.at_ns,
                        seen.node,
                        "a monitor fired for a mailbox that is open".into(),
                    ));
                }
            }
        }
        self.forget_monitor(token);
    }

    /// Tells whether an open mailbox may be taken for gone: its node has left, or could not be reached.
    fn is_excused(
        &self,
        seen: &Observation<'_>,
        of: &Address,
        reason: MailLoss,
        lives: &Lives,
        troubles: &Troubles,
    ) -> bool {
        let span = (seen.at_ns.saturating_sub(self.memory_ns), seen.at_ns);
        let subject = lives.number(&of.node).unwrap_or(seen.node);
        // A leave ends what binds a node's mailboxes to others; word of it may come late, and after it is back.
        let has_left = |node| lives.of(node).last_left_at.is_some_and(|at| at >= span.0);
        let has_left = lives.of(subject).left_at.is_some() || has_left(subject) || has_left(seen.node);
        // Who has only just come does not know yet where the others are, nor do they where it is.
        let joined_at = |node| lives.of(node).joined_at;
        let is_settled = |node| joined_at(node).is_some_and(|at| at.saturating_add(KNOWN_NS) <= seen.at_ns);
        let is_new = !is_settled(seen.node) || !is_settled(subject);
        let is_cut = troubles.excuse(seen.node, subject, span)
            || troubles.delay(seen.node, span)
            || troubles.delay(subject, span);
        has_left || (is_cut || is_new) && reason == MailLoss::Unreachable
    }

    /// Tells whether a mailbox is being closed: what comes of it is told before the command is answered.
    fn is_closing(&self, address: Address) -> bool {
        self.closing.values().any(|closing| *closing == address)
    }

    pub(crate) fn monitors_fire_once(&self, within: u64, now: u64, troubles: &Troubles) -> Result<(), Fault> {
        fault_of(self.monitors_fault.as_ref())?;
        let late = self.latest_monitor.filter(|(late, _)| *late > within);
        none(late.map(|(late, node)| {
            (node, format!("a monitor fired {} ms after its mailbox went", late / NANOS_PER_MILLI))
        }))?;
        let overdue = self.due.iter().take_while(|(since, _)| since.saturating_add(within) < now);
        let due = overdue.filter_map(|(since, token)| Some((since, self.monitors.get(token)?)));
        let open = due.into_iter().find(|(since, it)| it.is_set && !troubles.delay(it.node, (**since, now)));
        none(open.map(|(since, it)| {
            (
                it.node,
                format!(
                    "a monitor has not fired {} ms after its mailbox went",
                    (now - since) / NANOS_PER_MILLI
                ),
            )
        }))
    }

    // --- what must hold

    /// Tells whether a question ever came to anybody.
    pub(crate) fn is_asked(&self) -> bool {
        !self.asked.is_empty()
    }

    pub(crate) fn at_most_once(&self) -> Result<(), Fault> {
        fault_of(self.twice.as_ref())
    }

    pub(crate) fn in_order(&self) -> Result<(), Fault> {
        fault_of(self.disorder.as_ref())
    }

    pub(crate) fn to_the_living(&self) -> Result<(), Fault> {
        fault_of(self.to_the_dead.as_ref())
    }

    /// Of the messages that were accepted, and whose sender and recipient have been there ever since, a part is
    /// delivered or told to be lost.
    pub(crate) fn accounted(&self, min_ppm: u32, lives: &Lives) -> Result<(), Fault> {
        let (mut accepted, mut accounted, mut open) = (0u64, 0u64, None);
        for ((from, to), pair) in &self.pairs {
            let are_there = self.open.contains_key(from) && self.open.contains_key(to);
            if !are_there {
                continue;
            }
            for message in &pair.messages {
                match message.fate {
                    Fate::Delivered | Fate::Lost => (accepted, accounted) = (accepted + 1, accounted + 1),
                    Fate::Accepted => {
                        accepted += 1;
                        open.get_or_insert((from, to, message.sent_at));
                    }
                    Fate::Asked | Fate::Refused => {}
                }
            }
        }
        let Some((from, to, sent_at)) = open else { return Ok(()) };
        if accounted * 1_000_000 >= accepted * u64::from(min_ppm) {
            return Ok(());
        }
        let (by, to) = (lives.number(&from.node), lives.number(&to.node));
        let to = to.map_or("a stranger".into(), |to| format!("node {to}"));
        let unaccounted = accepted - accounted;
        let at_ms = sent_at / NANOS_PER_MILLI;
        Err((by, format!("{unaccounted} of {accepted} messages vanished, one to {to} sent at {at_ms} ms")))
    }
}
