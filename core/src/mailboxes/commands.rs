//! What users ask of mailboxes.

use super::bonds::Monitor;
use super::peer::{Reach, Waiting};
use super::{Bundle, Call, Mailboxes};
use crate::frame::{MailKind, OrderKind, Verdict};
use crate::id::{Address, Incarnation, MailboxId, Question, Token};
use crate::machine::{Command, CommandError, Cx, Event, MailLoss, Reply};
use alloc::collections::VecDeque;
use bytes::Bytes;

/// The answer to a command; none when it comes later.
type Answer = Result<Option<Reply>, CommandError>;

const DONE: Answer = Ok(Some(Reply::Ok));

impl Mailboxes {
    pub(super) fn on_command(&mut self, token: Token, command: Command, cx: &mut Cx<'_>) -> Answer {
        match command {
            Command::OpenMailbox => self.on_open(),
            Command::CloseMailbox { mailbox } => {
                self.check_open(mailbox)?;
                self.close(VecDeque::from([(mailbox, None)]), cx);
                DONE
            }
            Command::Send { from, to, payload } => self.on_send(token, from, to, payload, cx),
            Command::SendBundle { from, to, messages } => self.on_send_bundle(token, from, to, messages, cx),
            Command::Call { from, to, payload, timeout_ms } => {
                self.on_call(Call { token, to }, from, payload, timeout_ms, cx)
            }
            Command::Answer { question, payload } => self.on_answer(token, question, payload, cx),
            Command::Refuse { question } => self.on_refuse(question, cx),
            Command::Monitor { mailbox, of } => self.on_monitor(Monitor { token, watcher: mailbox, of }, cx),
            Command::Demonitor { monitor } => self.on_demonitor(monitor, cx),
            Command::Link { mailbox, with } => self.on_link(mailbox, with, cx),
            Command::Unlink { mailbox, with } => self.on_unlink(mailbox, with, cx),
            _ => Err(CommandError::Disabled),
        }
    }

    fn on_open(&mut self) -> Answer {
        let max = self.config.mailboxes_max;
        if self.open.len() >= max {
            return Err(CommandError::Full { max });
        }
        self.opened += 1;
        let mailbox = MailboxId(self.opened);
        self.open.insert(mailbox);
        Ok(Some(Reply::Opened { address: self.address(mailbox) }))
    }

    fn on_send(
        &mut self,
        token: Token,
        from: MailboxId,
        to: Address,
        payload: Bytes,
        cx: &mut Cx<'_>,
    ) -> Answer {
        self.check_open(from)?;
        self.check_len(&payload)?;
        if to.node == self.me {
            self.check_here(&to)?;
            cx.stats.mail_sent += 1;
            cx.stats.mail_delivered += 1;
            self.tell(Event::Mail { mailbox: to.mailbox, from: self.address(from), payload });
            return DONE;
        }
        let what = MailKind::Send { from, to: to.mailbox, token: token.0 };
        let answer = self.post(to, what, payload, Some(token), cx)?;
        cx.stats.mail_sent += 1;
        Ok(answer)
    }

    fn on_send_bundle(
        &mut self,
        token: Token,
        from: MailboxId,
        to: Address,
        messages: Bundle,
        cx: &mut Cx<'_>,
    ) -> Answer {
        self.check_open(from)?;
        self.check_len(messages.bytes())?;
        let count = u64::from(messages.count());
        if to.node == self.me {
            self.check_here(&to)?;
            cx.stats.mail_sent += count;
            self.deliver(to.mailbox, self.address(from), messages, cx);
            return DONE;
        }
        let what = MailKind::Bundle { from, to: to.mailbox, token: token.0 };
        let answer = self.post(to, what, messages.bytes().clone(), Some(token), cx)?;
        cx.stats.mail_sent += count;
        Ok(answer)
    }

    pub(super) fn deliver(&mut self, mailbox: MailboxId, from: Address, messages: Bundle, cx: &mut Cx<'_>) {
        cx.stats.mail_delivered += u64::from(messages.count());
        for payload in messages.into_messages() {
            self.tell(Event::Mail { mailbox, from, payload });
        }
    }

    fn on_call(
        &mut self,
        call: Call,
        from: MailboxId,
        payload: Bytes,
        timeout_ms: u64,
        cx: &mut Cx<'_>,
    ) -> Answer {
        let to = call.to;
        self.check_open(from)?;
        self.check_len(&payload)?;
        let max = self.config.calls_max;
        if self.calls.len() >= max {
            return Err(CommandError::Full { max });
        }
        let timeout_ms = timeout_ms.min(self.config.call_ms_max);
        let deadline = cx.now.mono.plus_millis(timeout_ms);
        let number = self.next_number();
        if to.node == self.me {
            self.check_here(&to)?;
            let max = self.config.questions_max;
            if self.questions.len() >= max {
                return Err(CommandError::Full { max });
            }
            let question = Question { from: self.address(from), number };
            self.questions.insert(question, deadline, to.mailbox);
            cx.stats.mail_delivered += 1;
            self.tell(Event::Asked { mailbox: to.mailbox, question, payload });
        } else {
            let what = MailKind::Ask { from, to: to.mailbox, number, timeout_ms };
            self.post(to, what, payload, None, cx)?;
        }
        cx.stats.mail_sent += 1;
        self.calls.insert(number, deadline, call);
        Ok(None)
    }

    fn on_answer(&mut self, token: Token, question: Question, payload: Bytes, cx: &mut Cx<'_>) -> Answer {
        self.check_len(&payload)?;
        if !self.questions.contains(&question) {
            return Err(CommandError::NoSuchQuestion);
        }
        let Question { from, number } = question;
        if from.node == self.me {
            self.questions.remove(&question);
            self.end_call(number, self.me, self.life, Ok(Reply::Answer { payload }), cx);
            return DONE;
        }
        let answer = self.post(from, MailKind::Answer { number }, payload, Some(token), cx)?;
        self.drop_question(&question);
        Ok(answer)
    }

    fn on_refuse(&mut self, question: Question, cx: &mut Cx<'_>) -> Answer {
        let Some(mailbox) = self.questions.get(&question).copied() else {
            return Err(CommandError::NoSuchQuestion);
        };
        self.refuse_question(question, mailbox, Verdict::NotUnderstood, cx);
        DONE
    }

    /// Sends mail to another node, or lets it wait for the link.
    fn post(
        &mut self,
        to: Address,
        what: MailKind,
        payload: Bytes,
        token: Option<Token>,
        cx: &mut Cx<'_>,
    ) -> Answer {
        self.check_life(&to)?;
        self.check_unheard(&to.node)?;
        let (now, waiting_max, peers_max) =
            (cx.now.mono, self.config.link_queue_max, self.config.mail_peers_max);
        let link = self.links.get(&to.node).copied();
        let peer = self.peer(to.node, now).ok_or(CommandError::Full { max: peers_max })?;
        peer.last_use = now;
        if let Some(link) = link {
            if link.is_full {
                return Err(CommandError::Busy);
            }
            self.transmit(to, what, payload, token, cx);
            return DONE;
        }
        if peer.waiting.len() >= waiting_max {
            return Err(CommandError::Busy);
        }
        let is_told = peer.reach == Reach::Dialing;
        peer.waiting.push_back(Waiting { to, what, payload, token, is_told });
        self.reach(to.node, to.incarnation);
        Ok(is_told.then_some(Reply::Ok))
    }

    fn on_monitor(&mut self, monitor: Monitor, cx: &mut Cx<'_>) -> Answer {
        let Monitor { token, watcher, of } = monitor;
        self.check_open(watcher)?;
        self.check_bonds(&of, 1, cx)?;
        let down = |reason| Event::MailboxDown { monitor: token, address: of, reason };
        let gone = if of.node == self.me { self.check_here(&of) } else { self.check_life(&of) };
        if let Err(error) = gone {
            self.done(token, Ok(Reply::Ok));
            let is_gone = error == CommandError::Gone;
            self.tell(down(if is_gone { MailLoss::Gone } else { MailLoss::Unreachable }));
            return Ok(None);
        }
        let is_first = !self.monitors.has(of);
        self.monitors.insert(monitor);
        if is_first && of.node != self.me {
            self.order(of, OrderKind::Monitor, MailboxId(0), cx);
        }
        DONE
    }

    fn on_demonitor(&mut self, token: Token, cx: &mut Cx<'_>) -> Answer {
        let monitors = self.monitors.with_token(token);
        if monitors.is_empty() {
            return Err(CommandError::NoSuchWatch);
        }
        monitors.into_iter().for_each(|monitor| self.end_monitor(monitor, cx));
        DONE
    }

    fn on_link(&mut self, mailbox: MailboxId, with: Address, cx: &mut Cx<'_>) -> Answer {
        self.check_open(mailbox)?;
        if with == self.address(mailbox) || self.ties.contains(mailbox, with) {
            return DONE;
        }
        if with.node == self.me {
            self.check_here(&with)?;
            self.check_bonds(&with, 2, cx)?;
            self.ties.insert(with.mailbox, self.address(mailbox));
            self.ties.insert(mailbox, with);
            return DONE;
        }
        self.check_life(&with)?;
        self.check_bonds(&with, 2, cx)?;
        self.ties.insert(mailbox, with);
        if let Some(peer) = self.peers.get_mut(&with.node) {
            peer.ties += 1;
        }
        self.order(with, OrderKind::Link, mailbox, cx);
        DONE
    }

    fn on_unlink(&mut self, mailbox: MailboxId, with: Address, cx: &mut Cx<'_>) -> Answer {
        self.check_open(mailbox)?;
        if !self.untie(mailbox, with) {
            return Err(CommandError::NoSuchWatch);
        }
        if with.node == self.me {
            self.untie(with.mailbox, self.address(mailbox));
        } else {
            self.order(with, OrderKind::Unlink, mailbox, cx);
        }
        DONE
    }

    fn check_open(&self, mailbox: MailboxId) -> Result<(), CommandError> {
        if self.open.contains(&mailbox) { Ok(()) } else { Err(CommandError::NoSuchMailbox) }
    }

    fn check_len(&self, payload: &Bytes) -> Result<(), CommandError> {
        let (len, max) = (payload.len(), self.config.mail_len_max);
        if len > max { Err(CommandError::TooLarge { len, max }) } else { Ok(()) }
    }

    /// Judges an address on this node.
    fn check_here(&self, to: &Address) -> Result<(), CommandError> {
        let is_there = self.is_life(to.incarnation, self.life) && self.open.contains(&to.mailbox);
        if is_there { Ok(()) } else { Err(CommandError::Gone) }
    }

    /// Judges an address elsewhere by what is known of the node's lives.
    fn check_life(&self, to: &Address) -> Result<(), CommandError> {
        if self.is_away {
            return Err(CommandError::Unreachable);
        }
        let link = self.links.get(&to.node).map(|link| link.life);
        let heard = self.peers.get(&to.node).map_or(Incarnation(0), |peer| peer.life);
        let latest = link.unwrap_or(heard).max(heard);
        if to.incarnation < latest && !self.is_life(to.incarnation, latest) {
            return Err(CommandError::Gone);
        }
        let is_later = link.is_some_and(|link| to.incarnation > link);
        if is_later { Err(CommandError::Unreachable) } else { Ok(()) }
    }

    /// Judges whether there is room for a monitor or tie, which takes so many places at the peer's.
    fn check_bonds(&mut self, to: &Address, places: usize, cx: &mut Cx<'_>) -> Result<(), CommandError> {
        let (bonds_max, peer_max) = (self.config.monitors_max, self.config.watches_peer_max);
        if self.monitors.len() + self.ties.len() + places > bonds_max {
            return Err(CommandError::Full { max: bonds_max });
        }
        if to.node == self.me {
            return Ok(());
        }
        let peers_max = self.config.mail_peers_max;
        let peer = self.peer(to.node, cx.now.mono).ok_or(CommandError::Full { max: peers_max })?;
        if peer.load() + places > peer_max { Err(CommandError::Full { max: peer_max }) } else { Ok(()) }
    }
}
