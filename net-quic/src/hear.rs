//! Who hears what: the one place where a node's events find those that wait for them.

use crate::driver::Answer;
use crate::letters::{LETTERS_MAX, Letter, ROOM_LEFT, Slot};
use crate::request::{Feed, Hearer, Message};
use bytes::Bytes;
use rumormill_core::{Address, Command, Event, MailLoss, MailboxId, MapId, News, Reply, Token, Topic};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// Everybody who waits for something.
#[derive(Default)]
pub(crate) struct Hearers {
    /// Whose command has not been answered.
    asked: BTreeMap<Token, Hearer>,
    news: BTreeMap<Token, Feed<News>>,
    topics: BTreeMap<Topic, Vec<(Token, Feed<Message>)>>,
    maps: BTreeMap<MapId, Vec<(Token, Feed<Event>)>>,
    mailboxes: BTreeMap<MailboxId, (Token, Slot)>,
    /// Those that were nearly full when something came.
    crowded: BTreeSet<MailboxId>,
    /// Who hears a topic and has nearly no room left, and until when broadcasts wait for that.
    behind: BTreeMap<Token, (mpsc::Sender<Message>, Instant)>,
    monitors: BTreeMap<Token, oneshot::Sender<MailLoss>>,
    /// Those who hear what a node says of itself.
    node: Vec<(Token, Feed<Event>)>,
}

/// Messages of a topic that wait for somebody who hears it at most.
pub(crate) const MESSAGES_MAX: usize = LETTERS_MAX;
/// How long broadcasts wait for a neighbour, or for somebody who does not read what he hears; then they go on without him. A
/// guess: a pause, not an end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// Whether somebody still listens.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ear {
    Open,
    Gone,
}

impl<T> Feed<T> {
    fn tell(&self, what: T) -> Ear {
        match self.sender.try_send(what) {
            Ok(()) => Ear::Open,
            Err(TrySendError::Full(_)) => {
                self.missed.fetch_add(1, Relaxed);
                Ear::Open
            }
            Err(TrySendError::Closed(_)) => Ear::Gone,
        }
    }
}

impl Hearers {
    /// Notes who waits for the answer to a command.
    pub(crate) fn expect(&mut self, token: Token, hearer: Hearer) {
        self.asked.insert(token, hearer);
    }

    /// Notes who hears the changes of a map.
    pub(crate) fn hear_map(&mut self, token: Token, map: MapId, changes: Feed<Event>) {
        self.maps.entry(map).or_default().push((token, changes));
    }

    /// Notes who hears what the node says of itself.
    pub(crate) fn hear_node(&mut self, token: Token, events: Feed<Event>) {
        self.node.push((token, events));
    }

    /// Somebody does not listen any more; gives back what the core must be told.
    pub(crate) fn forget(&mut self, token: Token) -> Option<Command> {
        self.node.retain(|(of, _)| *of != token);
        self.behind.remove(&token);
        self.maps.values_mut().for_each(|hearers| hearers.retain(|(of, _)| *of != token));
        self.maps.retain(|_, hearers| !hearers.is_empty());
        if self.news.remove(&token).is_some() {
            return Some(Command::Unwatch { watch: token });
        }
        if self.monitors.remove(&token).is_some() {
            return Some(Command::Demonitor { monitor: token });
        }
        if let Some(mailbox) =
            self.mailboxes.iter().find(|(_, (of, _))| *of == token).map(|(mailbox, _)| *mailbox)
        {
            self.mailboxes.remove(&mailbox);
            return Some(Command::CloseMailbox { mailbox });
        }
        let topic = self.topics.iter().find(|(_, hearers)| hearers.iter().any(|(of, _)| *of == token));
        let topic = topic.map(|(topic, _)| *topic)?;
        self.leave_topic(topic, token)
    }

    fn leave_topic(&mut self, topic: Topic, token: Token) -> Option<Command> {
        let hearers = self.topics.get_mut(&topic)?;
        hearers.retain(|(of, _)| *of != token);
        if !hearers.is_empty() {
            return None;
        }
        self.topics.remove(&topic);
        Some(Command::Unsubscribe { topic })
    }

    /// Tells whether an event is addressed to one of these, and so to nobody else.
    pub(crate) fn own(&self, event: &Event) -> bool {
        match event {
            Event::Done { token, .. } => self.asked.contains_key(token),
            Event::Watched { watch, .. } => self.news.contains_key(watch),
            Event::Mail { mailbox, .. }
            | Event::Asked { mailbox, .. }
            | Event::MailboxClosed { mailbox, .. } => self.mailboxes.contains_key(mailbox),
            Event::MailboxDown { monitor, .. } => self.monitors.contains_key(monitor),
            _ => false,
        }
    }

    /// Tells whether a mailbox is one of these.
    pub(crate) fn has(&self, mailbox: MailboxId) -> bool {
        self.mailboxes.contains_key(&mailbox)
    }

    /// Puts messages into their mailbox, as one letter.
    pub(crate) fn tell_mail(
        &mut self,
        mailbox: MailboxId,
        from: Address,
        payloads: Vec<Bytes>,
    ) -> Option<Command> {
        self.deliver(mailbox, Letter::Mail { from, payloads })
    }

    /// Tells an event to whom it concerns. Where nobody listens any more, gives back what the core must be told.
    pub(crate) fn tell(&mut self, event: Event) -> Option<Command> {
        match event {
            Event::Done { token, result } => self.answer(token, result),
            Event::Watched { watch, news } => {
                let ear = self.news.get(&watch)?.tell(news);
                if ear == Ear::Gone { self.forget(watch) } else { None }
            }
            Event::Message { topic, id, payload, .. } => self.tell_message(&Message { topic, id, payload }),
            Event::MapChanged { map, .. } => {
                let hearers = self.maps.get_mut(&map)?;
                hearers.retain(|(_, feed)| feed.tell(event.clone()) == Ear::Open);
                None
            }
            Event::Mail { mailbox, from, payload } => self.tell_mail(mailbox, from, vec![payload]),
            Event::Asked { mailbox, question, payload } => {
                self.deliver(mailbox, Letter::Asked { question, payload })
            }
            Event::MailboxClosed { mailbox, because_of, reason } => {
                self.deliver(mailbox, Letter::Closed { because_of, reason });
                self.mailboxes.remove(&mailbox);
                None
            }
            Event::MailboxDown { monitor, reason, .. } => {
                self.monitors.remove(&monitor).map(|down| down.send(reason));
                None
            }
            other => {
                self.node.retain(|(_, feed)| feed.tell(other.clone()) == Ear::Open);
                None
            }
        }
    }

    fn tell_message(&mut self, message: &Message) -> Option<Command> {
        let Self { topics, behind, .. } = self;
        let mut gone = Vec::new();
        for (token, feed) in topics.get(&message.topic)? {
            if feed.tell(message.clone()) == Ear::Gone {
                gone.push(*token);
            } else if feed.sender.capacity() <= ROOM_LEFT {
                behind.entry(*token).or_insert_with(|| (feed.sender.clone(), Instant::now() + PATIENCE));
            }
        }
        gone.into_iter().filter_map(|token| self.leave_topic(message.topic, token)).next()
    }

    fn deliver(&mut self, mailbox: MailboxId, letter: Letter) -> Option<Command> {
        let (_, slot) = self.mailboxes.get(&mailbox)?;
        let put = slot.put(letter);
        if slot.is_crowded() {
            self.crowded.insert(mailbox);
        }
        match put {
            Ok(()) => None,
            Err(TrySendError::Full(_)) => {
                tracing::error!(?mailbox, "a letter came where no room was left for it");
                None
            }
            Err(TrySendError::Closed(_)) => {
                self.mailboxes.remove(&mailbox);
                Some(Command::CloseMailbox { mailbox })
            }
        }
    }

    /// Tells whether some mailbox is nearly full: mail must wait where it is until its owner reads.
    pub(crate) fn is_crowded(&mut self) -> bool {
        let Self { mailboxes, crowded, .. } = self;
        crowded.retain(|mailbox| mailboxes.get(mailbox).is_some_and(|(_, slot)| slot.is_crowded()));
        !crowded.is_empty()
    }

    /// Tells whether broadcasts must wait for somebody who hears a topic and is behind, but not for too long.
    pub(crate) fn is_behind(&mut self) -> bool {
        self.behind.retain(|_, (messages, _)| !messages.is_closed() && messages.capacity() <= ROOM_LEFT);
        !self.behind.is_empty() && {
            let now = Instant::now();
            self.behind.values().any(|(_, until)| *until > now)
        }
    }

    /// Answers a command. Who asked for more than an answer hears the rest under the same token.
    fn answer(&mut self, token: Token, result: Answer) -> Option<Command> {
        let is_done = result.is_ok();
        let opened = if let Ok(Reply::Opened { address }) = &result { Some(address.mailbox) } else { None };
        let began = match self.asked.remove(&token)? {
            Hearer::Answer(answer) => {
                let _ = answer.send(result);
                return None;
            }
            Hearer::Part(batch) => {
                batch.note(&result);
                return None;
            }
            Hearer::News { began, news } => {
                is_done.then(|| self.news.insert(token, news));
                began
            }
            Hearer::Topic { topic, began, messages } => {
                is_done.then(|| self.topics.entry(topic).or_default().push((token, messages)));
                began
            }
            Hearer::Mail { began, slot } => {
                opened.map(|mailbox| self.mailboxes.insert(mailbox, (token, slot)));
                began
            }
            Hearer::Monitor { began, down } => {
                is_done.then(|| self.monitors.insert(token, down));
                began
            }
        };
        if began.send((token, result)).is_err() { self.forget(token) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rumormill_core::MessageId;
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;

    #[test]
    fn broadcasts_wait_for_who_is_behind_but_not_for_ever() {
        let (sender, mut reader) = mpsc::channel(MESSAGES_MAX);
        let (topic, token) = (Topic::named("news"), Token(1));
        let feed = Feed { sender, missed: Arc::new(AtomicU64::new(0)) };
        let mut hearers = Hearers::default();
        hearers.topics.insert(topic, vec![(token, feed)]);
        let id = MessageId { origin: 7, seq: 1 };
        let message = Message { topic, id, payload: bytes::Bytes::new() };
        let tell = |hearers: &mut Hearers, count: usize| {
            (0..count).for_each(|_| assert_eq!(hearers.tell_message(&message), None));
        };
        tell(&mut hearers, MESSAGES_MAX - ROOM_LEFT - 1);
        assert!(!hearers.is_behind());
        tell(&mut hearers, 1);
        assert!(hearers.is_behind(), "too little room is left");
        reader.try_recv().expect("a message");
        assert!(!hearers.is_behind(), "some was read");
        tell(&mut hearers, 1);
        hearers.behind.get_mut(&token).expect("behind again").1 = Instant::now();
        assert!(!hearers.is_behind(), "its time is over");
        tell(&mut hearers, 1);
        assert!(!hearers.is_behind(), "and does not begin anew before it has read");
    }
}
