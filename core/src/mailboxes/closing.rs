//! How things end: mailboxes that close, nodes that are gone, and everything that was bound to them.

use super::bonds::Monitor;
use super::mail::count;
use super::peer::Waiting;
use super::{Canary, Mailboxes};
use crate::frame::{MailKind, OrderKind, Verdict};
use crate::id::{Address, Incarnation, MailboxId, NodeId, Question};
use crate::machine::{CommandError, Cx, Event, MailLoss};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Mailboxes to close, each with the tied one because of which it closes, if any.
pub(super) type Closing = VecDeque<(MailboxId, Option<(Address, MailLoss)>)>;

impl Mailboxes {
    /// Closes mailboxes, and those of this node that are tied to them, and so on.
    pub(super) fn close(&mut self, mut closing: Closing, cx: &mut Cx<'_>) {
        while let Some((mailbox, because)) = closing.pop_front() {
            if !self.open.swap_remove(&mailbox) {
                continue;
            }
            if let Some((because_of, reason)) = because {
                self.tell(Event::MailboxClosed { mailbox, because_of, reason });
            }
            let address = self.address(mailbox);
            for monitor in self.monitors.by(mailbox) {
                self.end_monitor(monitor, cx);
            }
            self.end_monitors(address, MailLoss::Gone);
            let mut others = self.take_watchers(mailbox);
            for with in self.ties.of(mailbox) {
                self.untie(mailbox, with);
                if with.node == self.me {
                    self.untie(with.mailbox, address);
                    closing.push_back((with.mailbox, Some((address, MailLoss::Gone))));
                } else {
                    others.push((with.node, with.incarnation));
                }
            }
            others.sort_unstable();
            others.dedup();
            for (node, incarnation) in others {
                self.order(
                    Address { node, incarnation, mailbox: MailboxId(0) },
                    OrderKind::Down,
                    mailbox,
                    cx,
                );
            }
            self.refuse_questions(mailbox, cx);
        }
    }

    /// Takes out who else is to be told of a mailbox's end: those nodes and their lives.
    fn take_watchers(&mut self, mailbox: MailboxId) -> Vec<(NodeId, Incarnation)> {
        let range = (mailbox, NodeId([0; 32]))..=(mailbox, NodeId([0xff; 32]));
        let nodes: Vec<NodeId> = self.watchers.range(range).map(|(_, node)| *node).collect();
        let mut others = Vec::with_capacity(nodes.len());
        for node in nodes {
            self.watchers.remove(&(mailbox, node));
            let Some(peer) = self.peers.get_mut(&node) else { continue };
            if let Ok(place) = peer.watching.binary_search(&mailbox) {
                peer.watching.remove(place);
            }
            others.push((node, peer.life));
        }
        others
    }

    fn refuse_questions(&mut self, mailbox: MailboxId, cx: &mut Cx<'_>) {
        let here = self.questions.iter().filter(|(.., asked)| **asked == mailbox);
        let questions: Vec<Question> = here.map(|(question, ..)| *question).collect();
        for question in questions {
            self.refuse_question(question, mailbox, Verdict::Gone, cx);
        }
    }

    /// Tells whoever asked that there will be no answer, and why.
    pub(super) fn refuse_question(
        &mut self,
        question: Question,
        mailbox: MailboxId,
        why: Verdict,
        cx: &mut Cx<'_>,
    ) {
        self.drop_question(&question);
        let Question { from, number } = question;
        cx.stats.mail_refused += 1;
        if from.node == self.me {
            self.end_call(number, self.me, self.life, Err(refusal_of(why)), cx);
        } else {
            let what = MailKind::Refused { is_question: true, number, mailbox, why };
            self.reply(from.node, from.incarnation, what, 0, cx);
        }
    }

    pub(super) fn drop_question(&mut self, question: &Question) {
        if self.questions.remove(question).is_some() {
            self.count_question_out(question);
        }
    }

    pub(super) fn count_question_out(&mut self, question: &Question) {
        if let Some(peer) = self.peers.get_mut(&question.from.node) {
            peer.questions -= 1;
        }
    }

    /// Ends a monitor without a word to whoever began it.
    pub(super) fn end_monitor(&mut self, monitor: Monitor, cx: &mut Cx<'_>) {
        self.monitors.remove(monitor);
        if monitor.of.node != self.me && !self.monitors.has(monitor.of) {
            self.order(monitor.of, OrderKind::Demonitor, MailboxId(0), cx);
        }
    }

    /// Tells every monitor of a mailbox that it is gone.
    pub(super) fn end_monitors(&mut self, of: Address, reason: MailLoss) {
        for monitor in self.monitors.of_mailbox(of) {
            self.monitors.remove(monitor);
            self.tell(Event::MailboxDown { monitor: monitor.token, address: of, reason });
        }
    }

    /// Takes a tie out on this side. Tells whether it was there.
    pub(super) fn untie(&mut self, mailbox: MailboxId, with: Address) -> bool {
        let was_there = self.ties.remove(mailbox, with);
        if was_there && let Some(peer) = self.peers.get_mut(&with.node) {
            peer.ties -= 1;
        }
        was_there
    }

    /// A mailbox elsewhere is gone.
    pub(super) fn on_down(&mut self, address: Address, reason: MailLoss, cx: &mut Cx<'_>) {
        self.end_monitors(address, reason);
        if !self.config.is_planted(Canary::HalfTie) {
            self.end_ties(self.ties.with(address), reason, cx);
        }
    }

    /// Ends ties, and with each the mailbox at this end.
    pub(super) fn end_ties(
        &mut self,
        ties: impl IntoIterator<Item = (Address, MailboxId)>,
        reason: MailLoss,
        cx: &mut Cx<'_>,
    ) {
        let mut closing = Closing::new();
        for (with, mailbox) in ties {
            if !self.untie(mailbox, with) {
                continue;
            }
            if reason == MailLoss::Unreachable {
                // It may live: should it come back, its end of the tie closes too.
                self.order(Address { mailbox: MailboxId(0), ..with }, OrderKind::Down, mailbox, cx);
            }
            closing.push_back((mailbox, Some((with, reason))));
        }
        self.close(closing, cx);
    }

    /// Ends all that waits for certain lives of a node: mail, calls, monitors, ties.
    pub(super) fn end_for(
        &mut self,
        node: NodeId,
        is_over: impl Fn(Incarnation) -> bool,
        reason: MailLoss,
        cx: &mut Cx<'_>,
    ) {
        let is_over = |to: &Address| is_over(to.incarnation);
        self.lose_unheard(node, is_over, reason, cx);
        if let Some(peer) = self.peers.get_mut(&node).filter(|peer| !peer.waiting.is_empty()) {
            let all = core::mem::take(&mut peer.waiting).into_iter();
            let (over, waiting): (VecDeque<_>, VecDeque<_>) = all.partition(|it| is_over(&it.to));
            peer.waiting = waiting;
            over.into_iter().for_each(|waiting| self.lose(waiting, reason, cx));
        }
        let calls = self.calls.iter().filter(|(.., call)| call.to.node == node && is_over(&call.to));
        let mut calls: Vec<u64> = calls.map(|(number, ..)| *number).collect();
        calls.sort_unstable();
        for number in calls {
            if let Some(call) = self.calls.remove(&number) {
                self.done(call.token, Err(error_of(reason)));
            }
        }
        if !self.config.is_planted(Canary::ForgetfulMonitor) {
            for monitor in self.monitors.of_node(node).into_iter().filter(|monitor| is_over(&monitor.of)) {
                self.end_monitor(monitor, cx);
                self.tell(Event::MailboxDown { monitor: monitor.token, address: monitor.of, reason });
            }
        }
        let ties: Vec<_> = self.ties.with_node(node).filter(|(with, _)| is_over(with)).collect();
        self.end_ties(ties, reason, cx);
    }

    /// Tells that mail which waited was not sent.
    fn lose(&mut self, waiting: Waiting, reason: MailLoss, cx: &mut Cx<'_>) {
        let Waiting { to, what, payload, token, is_told } = waiting;
        let Some(token) = token else { return }; // a question: its call is ended too
        if is_told {
            cx.stats.mail_lost += count(what, &payload);
            self.tell(Event::MailLost { token, to, reason });
        } else {
            self.done(token, Err(error_of(reason)));
        }
    }

    /// A life of a node has shown itself: every earlier one is over.
    pub(super) fn note_life(&mut self, node: NodeId, life: Incarnation, cx: &mut Cx<'_>) {
        if self.peers.get(&node).is_some_and(|peer| peer.life >= life) {
            return;
        }
        self.forget_conversation(node, life);
        if !self.config.is_planted(Canary::LaterLife) {
            self.end_for(node, |meant| meant < life, MailLoss::Gone, cx);
        }
    }

    /// Forgets what an earlier life of a peer has left here.
    fn forget_conversation(&mut self, node: NodeId, life: Incarnation) {
        let theirs = self.questions.iter().map(|(question, ..)| *question);
        let questions: Vec<Question> = theirs
            .filter(|question| question.from.node == node && question.from.incarnation < life)
            .collect();
        questions.iter().for_each(|question| self.drop_question(question));
        let Some(peer) = self.peers.get_mut(&node) else { return };
        for mailbox in &peer.watching {
            self.watchers.remove(&(*mailbox, node));
        }
        self.early -= peer.early.len();
        let (ties, questions) = (peer.ties, peer.questions);
        peer.begin_life(life);
        (peer.ties, peer.questions) = (ties, questions);
    }

    pub(super) fn on_life_gone(
        &mut self,
        node: NodeId,
        gone: Incarnation,
        reason: MailLoss,
        cx: &mut Cx<'_>,
    ) {
        if node == self.me {
            return;
        }
        let next = Incarnation(gone.0.saturating_add(1));
        let was_its = self.peers.get(&node).is_some_and(|peer| peer.life <= gone);
        if was_its {
            self.has_forgotten |= self.peers.get(&node).is_some_and(|peer| peer.heard_session != 0);
            self.forget_conversation(node, next);
        }
        let linked = self.links.get(&node).map_or(Incarnation(0), |link| link.life);
        let reason = if linked > gone { MailLoss::Gone } else { reason };
        self.end_for(node, |meant| meant <= gone, reason, cx);
        let Some(peer) = self.peers.get_mut(&node).filter(|_| was_its) else { return };
        peer.life = linked; // which life comes next is not known, nor whether one will
        if peer.is_idle() {
            self.peers.swap_remove(&node);
        }
    }

    /// This node has left: whatever binds it to others ends.
    pub(super) fn on_left(&mut self, cx: &mut Cx<'_>) {
        self.is_away = true;
        let mut nodes: Vec<NodeId> = self.peers.keys().copied().collect();
        nodes.extend(self.monitors.iter().map(|monitor| monitor.of.node));
        nodes.extend(self.calls.iter().map(|(.., call)| call.to.node));
        nodes.sort_unstable();
        nodes.dedup();
        nodes.retain(|node| *node != self.me);
        for node in nodes {
            self.on_life_gone(node, Incarnation(u64::MAX), MailLoss::Unreachable, cx);
        }
    }

    /// Mailboxes go on in another life of this node, and so does what binds them to each other. What was tried of others while
    /// the node was away ends: they do not know its later life.
    pub(super) fn on_new_life(&mut self, life: Incarnation, cx: &mut Cx<'_>) {
        self.on_left(cx);
        (self.life, self.is_away) = (life, false);
        let own = |of: Address| Address { incarnation: life, ..of };
        for monitor in self.monitors.of_node(self.me) {
            self.monitors.remove(monitor);
            self.monitors.insert(Monitor { of: own(monitor.of), ..monitor });
        }
        for (with, mailbox) in self.ties.with_node(self.me).collect::<Vec<_>>() {
            self.ties.remove(mailbox, with);
            self.ties.insert(mailbox, own(with));
        }
    }

    /// After a loss of the link a living peer is told again what it may have missed or forgotten.
    pub(super) fn renew_bonds(&mut self, node: NodeId, life: Incarnation, cx: &mut Cx<'_>) {
        let mut of: Vec<Address> = self.monitors.of_node(node).iter().map(|monitor| monitor.of).collect();
        of.dedup(); // they come in order of their addresses
        of.retain(|of| of.incarnation == life);
        of.into_iter().for_each(|of| self.order(of, OrderKind::Monitor, MailboxId(0), cx));
        let ties: Vec<_> = self.ties.with_node(node).filter(|(with, _)| with.incarnation == life).collect();
        ties.into_iter().for_each(|(with, mailbox)| self.order(with, OrderKind::Link, mailbox, cx));
    }
}

/// What an asker is told whose question was not taken.
pub(super) fn refusal_of(why: Verdict) -> CommandError {
    match why {
        Verdict::Done | Verdict::Gone => CommandError::Gone,
        Verdict::Full => CommandError::Busy,
        Verdict::NotUnderstood => CommandError::NotUnderstood,
    }
}

pub(super) fn error_of(reason: MailLoss) -> CommandError {
    match reason {
        MailLoss::Gone => CommandError::Gone,
        MailLoss::Unreachable => CommandError::Unreachable,
    }
}
