//! What handles ask of the driver, and what they hear.

use crate::app::AnyApp;
use crate::driver::Answer;
use crate::driver::Moving;
use crate::letters::Slot;
use bytes::Bytes;
use quinn::{AsyncUdpSocket, Connection};
use rumormill_core::{
    Command, CommandError, Dialer, Event, MailLoss, MapId, MessageId, News, Node, NodeId, Question, Token,
    Topic,
};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, oneshot};

/// What a handle asks.
pub(crate) enum Request {
    /// A command of the core, and who hears of it.
    Command { command: Command, hearer: Hearer },
    /// Commands in their order, up to the first that is refused.
    Commands { commands: Vec<Command>, batch: Arc<Batch> },
    /// A watch begins anew under its token: whoever has it missed some news.
    Again { token: Token, command: Command },
    /// The entries of a map, then its changes.
    HearMap { map: MapId, began: oneshot::Sender<(Token, Option<Entries>)>, changes: Feed<Event> },
    /// What the node says of itself.
    HearNode { began: oneshot::Sender<Token>, events: Feed<Event> },
    /// An application to host; told whether there was room.
    Host { host: Box<dyn AnyApp>, began: oneshot::Sender<bool> },
    /// Somebody says something to the application.
    Say { line: String },
    /// Something to look up in the node.
    Read(Box<dyn FnOnce(&Node) + Send>),
    /// The connections that carry frames.
    Links(oneshot::Sender<Vec<(NodeId, Dialer, Connection)>>),
    /// Another socket, or the one that there is, and where others reach the node from now on: where it says, or is.
    Move {
        socket: Option<Arc<dyn AsyncUdpSocket>>,
        advertise: Vec<SocketAddr>,
        moving: oneshot::Sender<io::Result<Moving>>,
    },
    /// Some who are connected may not be any more.
    Expel,
    /// The end.
    End(oneshot::Sender<()>),
}

/// What nobody waits for any more: told without waiting, by a drop most often.
pub(crate) enum Forgotten {
    /// Nobody hears under this token.
    Token(Token),
    /// Nobody will answer this question: it was not understood.
    Question(Question),
}

/// The keys of a map, with their values.
pub(crate) type Entries = Vec<(Bytes, Bytes)>;

/// What began: its token, and what the core answered.
pub(crate) type Began = oneshot::Sender<(Token, Answer)>;

/// Who hears what comes of a command.
pub(crate) enum Hearer {
    /// Its answer, once.
    Answer(oneshot::Sender<Answer>),
    /// Its answer, then news.
    News { began: Began, news: Feed<News> },
    /// Its answer, then messages of a topic.
    Topic { topic: Topic, began: Began, messages: Feed<Message> },
    /// Its answer, then the mail of the mailbox that it opens.
    Mail { began: Began, slot: Slot },
    /// Its answer, then the end of what it monitors.
    Monitor { began: Began, down: oneshot::Sender<MailLoss> },
    /// Its answer, as one of many.
    Part(Arc<Batch>),
}

impl Hearer {
    /// Answers a command that does not reach the node: it takes no more just now.
    pub(crate) fn refuse(self) {
        match self {
            Self::Answer(answer) => drop(answer.send(Err(CommandError::Busy))),
            Self::Part(batch) => batch.note(&Err(CommandError::Busy)),
            Self::News { .. } | Self::Topic { .. } | Self::Mail { .. } | Self::Monitor { .. } => {}
        }
    }
}

/// Commands that are answered as one, when the last of them is.
pub(crate) struct Batch {
    state: Mutex<Outcome>,
    answer: Mutex<Option<oneshot::Sender<Outcome>>>,
}

/// What came of many commands.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// How many were done.
    pub(crate) done: usize,
    /// Why the first that was refused was refused.
    pub(crate) refused: Option<CommandError>,
}

impl Batch {
    pub(crate) fn new() -> (Arc<Self>, oneshot::Receiver<Outcome>) {
        let (answer, answered) = oneshot::channel();
        (Arc::new(Self { state: Mutex::default(), answer: Mutex::new(Some(answer)) }), answered)
    }

    fn state(&self) -> MutexGuard<'_, Outcome> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one answer in.
    pub(crate) fn note(&self, answer: &Answer) {
        let mut state = self.state();
        match answer {
            Ok(_) => state.done += 1,
            Err(error) if state.refused.is_none() => state.refused = Some(*error),
            Err(_) => {}
        }
    }

    /// Tells whether a command was refused: those behind it are not given.
    pub(crate) fn is_refused(&self) -> bool {
        self.state().refused.is_some()
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let outcome = std::mem::take(&mut *self.state());
        let answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        answer.map(|answer| answer.send(outcome));
    }
}

/// A bounded queue to somebody who may be slow: what does not fit is not sent, and that is counted.
pub(crate) struct Feed<T> {
    pub(crate) sender: mpsc::Sender<T>,
    /// How much did not fit.
    pub(crate) missed: Arc<AtomicU64>,
}

/// A message of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The topic.
    pub topic: Topic,
    /// The node's life that published it, and its number there.
    pub id: MessageId,
    /// The message.
    pub payload: Bytes,
}

#[cfg(test)]
mod tests {
    use super::*;
    use rumormill_core::Reply;

    #[test]
    fn many_commands_are_answered_once_with_the_first_refusal() {
        let (batch, mut outcome) = Batch::new();
        let parts: Vec<Hearer> = (0..4).map(|_| Hearer::Part(batch.clone())).collect();
        batch.note(&Ok(Reply::Ok));
        batch.note(&Ok(Reply::Ok));
        assert!(!batch.is_refused());
        batch.note(&Err(CommandError::Gone));
        parts.into_iter().for_each(Hearer::refuse);
        assert!(batch.is_refused() && outcome.try_recv().is_err(), "not before the last is answered");
        drop(batch);
        let Outcome { done, refused } = outcome.try_recv().expect("answered");
        assert_eq!((done, refused), (2, Some(CommandError::Gone)));
    }
}
