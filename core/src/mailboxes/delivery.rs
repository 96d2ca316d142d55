//! What was sent and not heard yet, and what was heard and not told yet.

use super::mail::count;
use super::peer::Sent;
use super::{Call, Mailboxes};
use crate::frame::{Frame, Mail, MailKind};
use crate::id::{Address, Incarnation, MailboxId, NodeId, Token};
use crate::machine::{CommandError, Cx, Event, MailLoss};
use crate::time::Instant;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use bytes::Bytes;

/// So much mail is told to be heard at once, before the delay is over. A guess: a quarter of `mail_unheard_max`.
const HEARD_EVERY: u64 = 64;

/// The sender's end.
impl Mailboxes {
    /// Numbers mail and keeps it until it is heard; sends it at once unless how far the peer has heard is being asked.
    pub(super) fn transmit(
        &mut self,
        to: Address,
        what: MailKind,
        payload: Bytes,
        token: Option<Token>,
        cx: &mut Cx<'_>,
    ) {
        let Some(peer) = self.peers.get_mut(&to.node) else { return };
        if peer.session == 0 {
            self.numbers += 1;
            peer.begin_session(self.numbers);
        }
        peer.sent += 1;
        peer.last_use = cx.now.mono;
        if peer.outbox.is_empty() {
            peer.ask_at = cx.now.mono.plus_millis(self.config.mail_retry_ms);
            self.due = self.due.min(peer.ask_at);
        }
        let (session, seq, is_held) = (peer.session, peer.sent, peer.is_held);
        if self.config.is_planted(super::Canary::ForgetfulOutbox) {
            peer.ask_at = Instant::NEVER;
        } else {
            peer.outbox.push_back(Sent { seq, to, what, payload: payload.clone(), token, refuses: 0 });
        }
        if !is_held && self.links.contains_key(&to.node) {
            let (from, to_life) = (self.life, to.incarnation);
            self.push_frame(to.node, Mail { from, to: to_life, session, seq, what, payload });
        }
    }

    pub(super) fn push_frame(&mut self, to: NodeId, mail: Mail) {
        self.events.push_back(super::Event::Frame { to, frame: Frame::Mail(Box::new(mail)) });
    }

    /// Sends mail that needs no order, if there is a link.
    pub(super) fn push_loose(&mut self, node: NodeId, from: Incarnation, to: Incarnation, what: MailKind) {
        if self.links.contains_key(&node) {
            self.push_frame(node, Mail { from, to, session: 0, seq: 0, what, payload: Bytes::new() });
        }
    }

    /// Answers that mail was not taken, over its link, or over one that is made when it is gone meanwhile. What was
    /// refused is not told to be heard before its refusal is: so the sender learns of either.
    pub(super) fn reply(
        &mut self,
        node: NodeId,
        life: Incarnation,
        what: MailKind,
        refuses: u64,
        cx: &mut Cx<'_>,
    ) {
        self.transmit(
            Address { node, incarnation: life, mailbox: MailboxId(0) },
            what,
            Bytes::new(),
            None,
            cx,
        );
        if let Some(sent) = self.peers.get_mut(&node).and_then(|peer| peer.outbox.back_mut()) {
            sent.refuses = refuses;
        }
        self.reach(node, life);
    }

    /// Asks a peer how far it has heard. What is not heard yet goes out again when it says so.
    pub(super) fn resume(&mut self, node: NodeId, cx: &mut Cx<'_>) {
        let (first, max) = (self.config.mail_retry_ms, self.config.mail_retry_ms_max);
        let is_linked = self.links.contains_key(&node);
        let Some(peer) = self.peers.get_mut(&node) else { return };
        peer.ask_at = Instant::NEVER;
        let Some(life) = peer.outbox.front().map(|sent| sent.to.incarnation).filter(|_| is_linked) else {
            return; // whoever makes the link asks
        };
        let delay_ms = first.saturating_mul(1 << peer.asks.min(20)).min(max);
        peer.asks = peer.asks.saturating_add(1);
        peer.ask_at = cx.now.mono.plus_millis(delay_ms);
        peer.is_held = true;
        self.due = self.due.min(peer.ask_at);
        let session = peer.session;
        self.push_loose(node, self.life, life, MailKind::Resume { session });
    }

    /// A peer tells how far it has heard.
    pub(super) fn on_heard(
        &mut self,
        node: NodeId,
        life: Incarnation,
        session: u64,
        (seq, settled): (Option<u64>, u64),
        cx: &mut Cx<'_>,
    ) {
        let retry_at = cx.now.mono.plus_millis(self.config.mail_retry_ms);
        let Some(peer) = self.peers.get_mut(&node) else { return };
        let is_meant = session == peer.session && session != 0 && peer.life == life;
        let makes_sense = |seq| peer.acked <= settled && settled <= seq && seq <= peer.sent;
        if !is_meant || seq.is_some_and(|seq| !makes_sense(seq)) {
            cx.stats.mail_stale += 1;
            return;
        }
        let Some(seq) = seq else {
            return self.lose_unheard(node, |_| true, MailLoss::Unreachable, cx);
        };
        let mut has_refused = false;
        for sent in peer.outbox.iter_mut().take_while(|sent| sent.seq <= seq) {
            has_refused |= core::mem::take(&mut sent.refuses) != 0;
        }
        while peer.outbox.front().is_some_and(|sent| sent.seq <= settled) {
            peer.outbox.pop_front();
        }
        (peer.acked, peer.asks) = (settled, 0);
        peer.ask_at = if peer.outbox.is_empty() { Instant::NEVER } else { retry_at };
        self.due = self.due.min(peer.ask_at);
        if core::mem::take(&mut peer.is_held) {
            self.send_again(node, seq);
        }
        if has_refused {
            self.note_heard(node, cx);
        }
    }

    /// Sends what a peer has not heard.
    fn send_again(&mut self, node: NodeId, heard: u64) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        let (from, session) = (self.life, peer.session);
        for Sent { seq, to, what, payload, .. } in peer.outbox.iter().filter(|sent| sent.seq > heard).cloned()
        {
            let mail = Box::new(Mail { from, to: to.incarnation, session, seq, what, payload });
            self.events.push_back(super::Event::Frame { to: node, frame: Frame::Mail(mail) });
        }
    }

    /// Gives up what a peer is not known to have heard, if any of it is for a life that is over, and says so.
    pub(super) fn lose_unheard(
        &mut self,
        node: NodeId,
        is_over: impl Fn(&Address) -> bool,
        reason: MailLoss,
        cx: &mut Cx<'_>,
    ) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        if !peer.outbox.iter().any(|sent| is_over(&sent.to)) {
            return;
        }
        let lost: VecDeque<Sent> = core::mem::take(&mut peer.outbox);
        peer.end_session();
        peer.is_torn |= lost.iter().any(|sent| sent.refuses != 0);
        for Sent { to, what, payload, token, .. } in lost {
            if let MailKind::Ask { number, .. } = what
                && let Some(Call { token, .. }) = self.calls.remove(&number)
            {
                self.done(token, Err(super::closing::error_of(reason)));
            }
            if let Some(token) = token {
                cx.stats.mail_lost += count(what, &payload);
                self.tell(Event::MailLost { token, to, reason });
            }
        }
    }

    /// Lets go of a message that was refused; only its number is kept. Tells how many messages it was, if
    /// their loss is not told yet.
    pub(super) fn forget_sent(&mut self, node: NodeId, token: Token) -> Option<u64> {
        let sent = self.peers.get_mut(&node).map(|peer| &mut peer.outbox).into_iter().flatten();
        let refused = sent.into_iter().find(|sent| sent.token == Some(token));
        refused.map(|sent| {
            sent.token = None;
            count(sent.what, &core::mem::take(&mut sent.payload))
        })
    }

    /// Refuses a message or question while too much of this node's is not heard yet.
    pub(super) fn check_unheard(&self, node: &NodeId) -> Result<(), CommandError> {
        let unheard = self.peers.get(node).map_or(0, |peer| peer.outbox.len() + peer.waiting.len());
        if unheard >= self.config.mail_unheard_max { Err(CommandError::Busy) } else { Ok(()) }
    }
}

/// The receiver's end.
impl Mailboxes {
    /// Notes that a peer's mail was heard, or came again: it is told soon, together with what else comes.
    pub(super) fn note_heard(&mut self, node: NodeId, cx: &mut Cx<'_>) {
        let step = self.config.mail_heard_ms.max(1).saturating_mul(crate::time::NANOS_PER_MILLI);
        let Some(peer) = self.peers.get_mut(&node) else { return };
        let telling = peer.telling();
        if telling - peer.told >= HEARD_EVERY {
            return self.tell_heard(node);
        }
        // All peers at the same times: one look at them serves all.
        let next = Instant((cx.now.mono.0 / step).saturating_add(1).saturating_mul(step));
        peer.tell_at = peer.tell_at.min(next);
        self.due = self.due.min(peer.tell_at);
    }

    pub(super) fn tell_heard(&mut self, node: NodeId) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        (peer.told, peer.tell_at) = (peer.telling(), Instant::NEVER);
        let (life, session, seq, settled) = (peer.life, peer.heard_session, Some(peer.heard), peer.told);
        if !peer.is_torn {
            self.push_loose(node, self.life, life, MailKind::Heard { session, seq, settled });
        }
    }

    /// A peer asks how far its mail was heard.
    pub(super) fn on_resume(&mut self, node: NodeId, life: Incarnation, session: u64, cx: &mut Cx<'_>) {
        let has_forgotten = self.has_forgotten;
        let (seq, settled) = match self.peers.get_mut(&node).filter(|peer| peer.heard_session != 0) {
            Some(peer) if life < peer.life || session < peer.heard_session => {
                cx.stats.mail_stale += 1;
                return;
            }
            Some(peer) if session == peer.heard_session => {
                (peer.told, peer.tell_at) = (peer.telling(), Instant::NEVER);
                if peer.is_torn { (None, 0) } else { (Some(peer.heard), peer.told) }
            }
            // It has given up the last one, of which this node has heard.
            Some(_) => (Some(0), 0),
            None => ((!has_forgotten).then_some(0), 0),
        };
        self.push_loose(node, self.life, life, MailKind::Heard { session, seq, settled });
    }
}
