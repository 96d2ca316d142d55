//! Mail of other nodes: its order, and what it asks for.

use super::closing::refusal_of;
use super::{Bundle, Mailboxes, Peer};
use crate::config::Canary;
use crate::frame::{Mail, MailKind, OrderKind, Verdict};
use crate::id::{Address, Incarnation, MailboxId, NodeId, Question};
use crate::machine::{CommandError, Cx, Event, MailLoss, Reply};
use crate::time::Instant;
use alloc::boxed::Box;

impl Mailboxes {
    pub(super) fn on_mail(&mut self, from: NodeId, mail: Box<Mail>, cx: &mut Cx<'_>) {
        if self.is_away || !self.is_life(mail.to, self.life) {
            return self.refuse(from, &mail, Verdict::Gone, cx);
        }
        if !mail.is_ordered() {
            return match mail.what {
                MailKind::Refused { .. }
                | MailKind::Ack { .. }
                | MailKind::Resume { .. }
                | MailKind::Heard { .. } => self.take(from, *mail, cx),
                MailKind::Send { .. }
                | MailKind::Bundle { .. }
                | MailKind::Ask { .. }
                | MailKind::Answer { .. }
                | MailKind::Order { .. } => cx.stats.misplaced += 1,
            };
        }
        if self.peer(from, cx.now.mono).is_none() {
            return self.refuse(from, &mail, Verdict::Full, cx);
        }
        self.note_life(from, mail.from, cx);
        let Some(peer) = self.peers.get(&from) else { return };
        if mail.from < peer.life || mail.session < peer.heard_session {
            cx.stats.mail_stale += 1;
            return;
        }
        if self.config.is_planted(Canary::OutOfOrder) {
            return self.take(from, *mail, cx);
        }
        self.on_ordered(from, *mail, cx);
    }

    fn on_ordered(&mut self, from: NodeId, mail: Mail, cx: &mut Cx<'_>) {
        if self.peers.get(&from).is_some_and(|peer| mail.session > peer.heard_session) {
            let Some(peer) = self.peers.get_mut(&from) else { return };
            // What is early of the old session was given up: its sender was told, or sends it again.
            self.early -= peer.early.len();
            peer.hear_session(mail.session, self.has_forgotten && mail.seq != 1);
        }
        let refusals_max = self.config.mail_unheard_max.saturating_mul(2);
        let skip_at = cx.now.mono.plus_millis(self.config.mail_gap_ms);
        let Some(peer) = self.peers.get_mut(&from) else { return };
        peer.last_use = cx.now.mono;
        if mail.seq <= peer.heard {
            cx.stats.mail_stale += 1;
        } else if mail.seq - peer.heard == 1 {
            if peer.outbox.len() >= refusals_max {
                cx.stats.mail_gaps += 1; // it does not hear what it is answered: it may try again
                return;
            }
            (peer.heard, peer.is_torn) = (mail.seq, peer.is_torn && mail.seq > 1);
            self.take(from, mail, cx);
            self.take_turns(from, cx);
        } else {
            return self.keep_early(from, mail, skip_at, cx);
        }
        self.note_heard(from, cx);
    }

    fn keep_early(&mut self, from: NodeId, mail: Mail, skip_at: Instant, cx: &mut Cx<'_>) {
        if self.early >= self.config.mail_early_max {
            cx.stats.mail_gaps += 1; // it comes again
            return;
        }
        let Some(peer) = self.peers.get_mut(&from) else { return };
        if peer.keep_early(mail, skip_at) {
            self.early += 1;
            self.due = self.due.min(peer.skip_at);
        } else {
            cx.stats.mail_stale += 1;
        }
    }

    /// Takes all early mail whose turn it is.
    fn take_turns(&mut self, from: NodeId, cx: &mut Cx<'_>) {
        while let Some(mail) = self.peers.get_mut(&from).and_then(Peer::pop_early) {
            self.early -= 1;
            self.take(from, mail, cx);
        }
    }

    /// Says that a mail was not taken; it is not passed over in silence unless nobody waits for a word.
    fn refuse(&mut self, from: NodeId, mail: &Mail, why: Verdict, cx: &mut Cx<'_>) {
        let what = match mail.what {
            MailKind::Send { to, token, .. } | MailKind::Bundle { to, token, .. } => {
                MailKind::Refused { is_question: false, number: token, mailbox: to, why }
            }
            MailKind::Ask { to, number, .. } => {
                MailKind::Refused { is_question: true, number, mailbox: to, why }
            }
            MailKind::Order { number, .. } => MailKind::Ack { number, verdict: why },
            // It holds mail back until it is answered.
            MailKind::Resume { .. } if self.is_away => {
                MailKind::Refused { is_question: false, number: 0, mailbox: MailboxId(0), why }
            }
            MailKind::Answer { .. } => {
                cx.stats.answers_late += 1;
                return;
            }
            MailKind::Refused { .. }
            | MailKind::Ack { .. }
            | MailKind::Resume { .. }
            | MailKind::Heard { .. } => {
                cx.stats.mail_stale += 1;
                return;
            }
        };
        cx.stats.mail_refused += 1;
        let is_heard = mail.is_ordered() && mail.to == self.life && self.peers.contains_key(&from);
        if is_heard && !matches!(mail.what, MailKind::Order { .. }) {
            return self.reply(from, mail.from, what, mail.seq, cx);
        }
        // In the name of the life that it was for, so that the sender knows what is refused.
        self.push_loose(from, mail.to, mail.from, what);
    }

    /// Takes mail whose turn it is.
    fn take(&mut self, from: NodeId, mail: Mail, cx: &mut Cx<'_>) {
        let sender = |mailbox| Address { node: from, incarnation: mail.from, mailbox };
        match mail.what {
            MailKind::Send { from: mailbox, to, .. } => {
                if !self.open.contains(&to) {
                    return self.refuse(from, &mail, Verdict::Gone, cx);
                }
                cx.stats.mail_delivered += 1;
                self.tell(Event::Mail { mailbox: to, from: sender(mailbox), payload: mail.payload });
            }
            MailKind::Bundle { from: mailbox, to, .. } => {
                if !self.open.contains(&to) {
                    return self.refuse(from, &mail, Verdict::Gone, cx);
                }
                if let Some(messages) = Bundle::read(mail.payload) {
                    self.deliver(to, sender(mailbox), messages, cx);
                }
            }
            MailKind::Ask { from: mailbox, to, number, timeout_ms } => {
                let question = Question { from: sender(mailbox), number };
                self.on_ask(question, to, timeout_ms, mail, cx);
            }
            MailKind::Answer { number } => {
                self.end_call(number, from, mail.from, Ok(Reply::Answer { payload: mail.payload }), cx);
            }
            MailKind::Refused { is_question, number, mailbox, why } => {
                let is_heard = mail.is_ordered();
                self.on_refused(sender(mailbox), is_question, number, (why, is_heard), cx);
            }
            MailKind::Order { number, after, what, ours, theirs } => {
                self.on_order(number, after, what, sender(ours), theirs, cx);
            }
            MailKind::Ack { number, verdict } => self.on_ack(from, mail.from, number, verdict, cx),
            MailKind::Resume { session } => self.on_resume(from, mail.from, session, cx),
            MailKind::Heard { session, seq, settled } => {
                self.on_heard(from, mail.from, session, (seq, settled), cx);
            }
        }
    }

    fn on_ask(&mut self, question: Question, to: MailboxId, timeout_ms: u64, mail: Mail, cx: &mut Cx<'_>) {
        let from = question.from.node;
        if !self.open.contains(&to) {
            return self.refuse(from, &mail, Verdict::Gone, cx);
        }
        if self.questions.contains(&question) {
            cx.stats.mail_stale += 1;
            return;
        }
        let (all_max, peer_max) = (self.config.questions_max, self.config.questions_peer_max);
        let has_room = self.questions.len() < all_max;
        let Some(peer) = self.peers.get_mut(&from).filter(|peer| has_room && peer.questions < peer_max)
        else {
            return self.refuse(from, &mail, Verdict::Full, cx);
        };
        peer.questions += 1;
        let deadline = cx.now.mono.plus_millis(timeout_ms.min(self.config.call_ms_max));
        self.questions.insert(question, deadline, to);
        cx.stats.mail_delivered += 1;
        self.tell(Event::Asked { mailbox: to, question, payload: mail.payload });
    }

    fn on_refused(
        &mut self,
        mailbox: Address,
        is_question: bool,
        number: u64,
        (why, is_heard): (Verdict, bool),
        cx: &mut Cx<'_>,
    ) {
        let Address { node, incarnation: life, .. } = mailbox;
        let is_gone = why != Verdict::Full;
        let reason = if is_gone { MailLoss::Gone } else { MailLoss::Unreachable };
        if is_question {
            self.end_call(number, node, life, Err(refusal_of(why)), cx);
        } else if is_heard {
            let token = crate::id::Token(number);
            let Some(lost) = self.forget_sent(node, token) else {
                cx.stats.mail_stale += 1; // it was given up, and that was told
                return;
            };
            cx.stats.mail_lost += lost;
            self.tell(Event::MailLost { token, to: mailbox, reason });
        }
        if !is_heard {
            // That life is over, or the node takes nothing from this one: nor will it take what was sent since.
            self.lose_unheard(node, |to| to.incarnation == life, reason, cx);
        }
    }

    /// Ends a call, if it still waits and its question went to that life of that node.
    pub(super) fn end_call(
        &mut self,
        number: u64,
        node: NodeId,
        life: Incarnation,
        result: Result<Reply, CommandError>,
        cx: &mut Cx<'_>,
    ) {
        let call = self.calls.get(&number).copied();
        let is_its = |to: &Address| to.node == node && self.is_life(to.incarnation, life);
        match call.filter(|call| is_its(&call.to)) {
            Some(call) => {
                self.calls.remove(&number);
                self.done(call.token, result);
            }
            None => cx.stats.answers_late += 1,
        }
    }

    fn on_order(
        &mut self,
        number: u64,
        after: u64,
        what: OrderKind,
        sender: Address,
        theirs: MailboxId,
        cx: &mut Cx<'_>,
    ) {
        let node = sender.node;
        let Some(peer) = self.peers.get_mut(&node) else { return };
        let is_new = number > peer.obeyed;
        if is_new && after > peer.obeyed {
            return; // one before it is missing: both come again
        }
        peer.obeyed = peer.obeyed.max(number);
        let verdict = match what {
            OrderKind::Monitor => self.watch(node, theirs, is_new, cx),
            OrderKind::Link => self.tie_to(theirs, sender, is_new, cx),
            OrderKind::Demonitor if is_new => self.unwatch(node, theirs),
            OrderKind::Unlink if is_new => {
                self.untie(theirs, sender);
                Verdict::Done
            }
            OrderKind::Down if is_new => {
                self.on_down(sender, MailLoss::Gone, cx);
                Verdict::Done
            }
            OrderKind::Demonitor | OrderKind::Unlink | OrderKind::Down => Verdict::Done,
        };
        self.push_loose(node, self.life, sender.incarnation, MailKind::Ack { number, verdict });
    }

    fn watch(&mut self, node: NodeId, mailbox: MailboxId, is_new: bool, cx: &mut Cx<'_>) -> Verdict {
        if !self.open.contains(&mailbox) {
            return Verdict::Gone;
        }
        let max = self.config.watches_peer_max;
        let Some(peer) = self.peers.get_mut(&node) else { return Verdict::Full };
        let Err(place) = peer.watching.binary_search(&mailbox) else { return Verdict::Done };
        if !is_new || peer.load() >= max {
            cx.stats.monitors_refused += u64::from(is_new);
            return Verdict::Full;
        }
        peer.watching.insert(place, mailbox);
        self.watchers.insert((mailbox, node));
        Verdict::Done
    }

    fn unwatch(&mut self, node: NodeId, mailbox: MailboxId) -> Verdict {
        if self.watchers.remove(&(mailbox, node))
            && let Some(peer) = self.peers.get_mut(&node)
            && let Ok(place) = peer.watching.binary_search(&mailbox)
        {
            peer.watching.remove(place);
        }
        Verdict::Done
    }

    fn tie_to(&mut self, mailbox: MailboxId, with: Address, is_new: bool, cx: &mut Cx<'_>) -> Verdict {
        if !self.open.contains(&mailbox) {
            return Verdict::Gone;
        }
        if self.ties.contains(mailbox, with) {
            return Verdict::Done;
        }
        let max = self.config.watches_peer_max;
        let peer: Option<&mut Peer> = self.peers.get_mut(&with.node);
        let Some(peer) = peer.filter(|peer| is_new && peer.load() < max) else {
            cx.stats.monitors_refused += u64::from(is_new);
            return Verdict::Full;
        };
        peer.ties += 1;
        self.ties.insert(mailbox, with);
        Verdict::Done
    }

    fn on_ack(&mut self, from: NodeId, life: Incarnation, number: u64, verdict: Verdict, cx: &mut Cx<'_>) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let place = peer.orders.iter().position(|order| order.number == number && order.life == life);
        let Some(order) = place.and_then(|place| peer.orders.remove(place)) else { return };
        peer.retries = 0;
        if peer.orders.is_empty() {
            peer.retry_at = Instant::NEVER;
        }
        let address = Address { node: from, incarnation: life, mailbox: order.theirs };
        match (order.what, verdict) {
            (OrderKind::Monitor | OrderKind::Link, Verdict::Gone) => {
                self.on_down(address, MailLoss::Gone, cx);
            }
            (OrderKind::Monitor, Verdict::Full | Verdict::NotUnderstood) => {
                self.end_monitors(address, MailLoss::Unreachable);
            }
            (OrderKind::Link, Verdict::Full | Verdict::NotUnderstood) => {
                self.end_ties([(address, order.ours)], MailLoss::Unreachable, cx);
            }
            (OrderKind::Monitor | OrderKind::Link, Verdict::Done)
            | (OrderKind::Demonitor | OrderKind::Unlink | OrderKind::Down, _) => {}
        }
    }
}
