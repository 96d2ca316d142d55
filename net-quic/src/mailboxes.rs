//! Typed mailboxes: addresses that may travel inside messages, and what is sent to them.

use crate::cluster::{Cluster, Error, decode, encode, with_written};
use crate::letters::{Letter, Letters, letters};
use crate::request::{Batch, Forgotten, Hearer, Outcome, Request};
use bytes::Bytes;
use rumormill_core::{Bundle, Bundler, Command, CommandError, MailLoss, MailboxId, Question, Reply, Token};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;
use std::vec;
use tokio::sync::oneshot;

/// Bytes of messages that travel as one: as much as goes out in one write. A guess.
const BUNDLE_ROOM: usize = 16 << 10;

/// Where messages of type `M` are taken: by one mailbox of one life of a node. It may travel inside messages.
pub struct Address<M> {
    raw: rumormill_core::Address,
    types: PhantomData<fn(M)>,
}

impl<M> Address<M> {
    /// Believes that the mailbox at a raw address takes this type; a message of another type is refused there.
    pub fn new(raw: rumormill_core::Address) -> Self {
        Self { raw, types: PhantomData }
    }

    /// The address without its type.
    pub fn raw(&self) -> rumormill_core::Address {
        self.raw
    }
}

impl<M> Clone for Address<M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for Address<M> {}

impl<M> PartialEq for Address<M> {
    fn eq(&self, other: &Self) -> bool {
        self.raw == other.raw
    }
}

impl<M> Eq for Address<M> {}

impl<M> fmt::Debug for Address<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.raw.fmt(f)
    }
}

impl<M> Serialize for Address<M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.raw.serialize(serializer)
    }
}

impl<'de, M> Deserialize<'de> for Address<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Deserialize::deserialize(deserializer).map(Self::new)
    }
}

/// What came to a mailbox.
pub enum Incoming<M> {
    /// A message.
    Message {
        /// Who sent it.
        from: rumormill_core::Address,
        /// The message.
        message: M,
    },
    /// A question, which waits for an answer.
    Question {
        /// The question.
        message: M,
        /// By which it is answered.
        asked: Asked,
    },
    /// Something came that is not of the mailbox's type. Whoever asked it as a question is told so.
    Unreadable {
        /// Who sent it.
        from: rumormill_core::Address,
    },
    /// A mailbox that this one was linked with is gone, and this one with it: the last thing that comes.
    Closed {
        /// The other one.
        because_of: rumormill_core::Address,
        /// Why that one is gone.
        reason: MailLoss,
    },
}

/// Of many messages, only the first ones were sent: from [`Mailbox::send_all`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("only {sent} messages were sent: {error}")]
pub struct SentSome {
    /// How many were sent.
    pub sent: usize,
    /// Why the next one was not.
    pub error: Error,
}

/// A question that waits for its answer. Dropped without one, it leaves its asker waiting until the time of the call is over.
pub struct Asked {
    cluster: Cluster,
    question: Question,
}

impl Asked {
    /// Tells who asked.
    pub fn from(&self) -> rumormill_core::Address {
        self.question.from
    }

    /// Tells whoever asked that this is no question for this mailbox: its call ends with `NotUnderstood`. What is of
    /// another type is refused so by the mailbox itself.
    pub fn refuse(self) {
        let _ = self.cluster.inner.forgotten.send(Forgotten::Question(self.question));
    }

    /// Answers.
    ///
    /// # Errors
    /// [`Error::Refused`] with `NoSuchQuestion` when its asker waits no longer.
    pub async fn answer<A: Serialize + ?Sized>(self, answer: &A) -> Result<(), Error> {
        let payload = encode(answer)?;
        self.cluster.ask(Command::Answer { question: self.question, payload }).await.map(drop)
    }
}

/// A mailbox of this node for messages of type `M`. Dropping it closes it, and who monitors it is told.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use rumormill_net_quic::testing::TestCluster;
/// use rumormill_net_quic::{CommandError, Error, Incoming, MailLoss};
/// use std::time::Duration;
///
/// let cluster = TestCluster::start(2).await?;
/// let mut doubler = cluster.node(1).mailbox::<u32>().await?;
/// let address = doubler.address(); // may travel inside messages
/// let serving = tokio::spawn(async move {
///     if let Some(Incoming::Question { message, asked }) = doubler.recv().await {
///         let _ = asked.answer(&(2 * message)).await;
///     }
///     // Dropped here, the mailbox closes.
/// });
/// let ours = cluster.node(0).mailbox::<()>().await?;
/// let mut monitor = ours.monitor(address).await?;
/// let second = Duration::from_secs(10);
/// assert_eq!(ours.call::<_, u32>(address, &21, second).await?, 42);
/// serving.await?;
/// assert_eq!(monitor.down().await?, MailLoss::Gone);
/// let gone = ours.call::<_, u32>(address, &21, second).await;
/// assert_eq!(gone, Err(Error::Refused(CommandError::Gone)));
/// # Ok(()) }
/// ```
///
/// What waits in it is bounded: some two thousand letters, or 32 MiB. While one that nobody reads is as full as that, mail for
/// the whole node waits with its senders, who are told that this node takes no more; so do answers to calls of this node.
pub struct Mailbox<M> {
    cluster: Cluster,
    address: rumormill_core::Address,
    token: Token,
    letters: Letters,
    /// What was not read yet of a letter, and who sent it.
    rest: (rumormill_core::Address, vec::IntoIter<Bytes>),
    types: PhantomData<fn() -> M>,
}

impl<M> Drop for Mailbox<M> {
    fn drop(&mut self) {
        let _ = self.cluster.inner.forgotten.send(Forgotten::Token(self.token));
    }
}

/// The end of a mailbox that somebody waits for. Dropping it ends the waiting.
pub struct Monitor {
    cluster: Cluster,
    token: Token,
    down: oneshot::Receiver<MailLoss>,
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.cluster.inner.forgotten.send(Forgotten::Token(self.token));
    }
}

impl Monitor {
    /// Waits until the mailbox is gone, or its node is known not to be reachable; tells which.
    ///
    /// # Errors
    /// [`Error::Ended`] when this node ends first.
    pub async fn down(&mut self) -> Result<MailLoss, Error> {
        (&mut self.down).await.map_err(|_| Error::Ended)
    }
}

impl Cluster {
    /// Opens a mailbox.
    ///
    /// # Errors
    /// [`Error::Refused`] beyond the bound on mailboxes, or [`Error::Ended`].
    pub async fn mailbox<M>(&self) -> Result<Mailbox<M>, Error> {
        let (slot, letters) = letters();
        let (began, begun) = oneshot::channel();
        let hearer = Hearer::Mail { began, slot };
        self.request(Request::Command { command: Command::OpenMailbox, hearer }).await?;
        let (token, answer) = begun.await.map_err(|_| Error::Ended)?;
        let Reply::Opened { address } = answer? else { return Err(Error::Ended) };
        let rest = (address, Vec::new().into_iter());
        Ok(Mailbox { cluster: self.clone(), address, token, letters, rest, types: PhantomData })
    }
}

impl<M> Mailbox<M> {
    /// Tells where messages for it are sent.
    pub fn address(&self) -> Address<M> {
        Address::new(self.address)
    }

    fn id(&self) -> MailboxId {
        self.address.mailbox
    }

    /// Sends a message to any mailbox: delivered at most once, and in order for each pair of mailboxes. A connection is
    /// opened where there is none.
    ///
    /// # Errors
    /// [`Error::Refused`]: `Gone` when the node is known to live another life, `Unreachable` when it is dead, has left or nobody
    /// knows the way there, `Busy` or `Full` while it takes no more, `TooLarge`.
    pub async fn send<T: Serialize>(&self, to: Address<T>, message: &T) -> Result<(), Error> {
        let payload = encode(message)?;
        self.cluster.ask(Command::Send { from: self.id(), to: to.raw, payload }).await.map(drop)
    }

    /// Sends messages in their order, as one: a fraction of what as many calls of [`Mailbox::send`] cost. They travel in
    /// bundles of some kilobytes, each of which arrives as a whole, is refused or is lost. The first that is refused ends
    /// it, and none behind that one is sent.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use rumormill_net_quic::Incoming;
    /// use rumormill_net_quic::testing::TestCluster;
    ///
    /// let cluster = TestCluster::start(2).await?;
    /// let mut numbers = cluster.node(1).mailbox::<u32>().await?;
    /// let ours = cluster.node(0).mailbox::<()>().await?;
    /// ours.send_all(numbers.address(), &[1, 2, 3]).await?;
    /// for expected in [1, 2, 3] {
    ///     assert!(matches!(numbers.recv().await, Some(Incoming::Message { message, .. }) if message == expected));
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`SentSome`] tells how many were sent, and what [`Mailbox::send`] says of the next one.
    pub async fn send_all<T: Serialize>(&self, to: Address<T>, messages: &[T]) -> Result<(), SentSome> {
        let (from, to) = (self.id(), to.raw);
        let none = |error| SentSome { sent: 0, error };
        let parts = parts(messages, self.cluster.inner.mail_len_max).map_err(none)?;
        let counts: Vec<usize> = parts.iter().map(Part::count).collect();
        let commands = parts.into_iter().map(|part| part.command(from, to)).collect();
        let (batch, outcome) = Batch::new();
        self.cluster.request(Request::Commands { commands, batch }).await.map_err(none)?;
        let Outcome { done, refused } = outcome.await.map_err(|_| none(Error::Ended))?;
        match refused {
            None if done == counts.len() => Ok(()),
            refused => {
                let error = refused.map_or(Error::Ended, Error::Refused);
                Err(SentSome { sent: counts.iter().take(done).sum(), error })
            }
        }
    }

    /// Asks a mailbox, and waits for the answer.
    ///
    /// # Errors
    /// [`Error::Refused`]: `Gone` when the mailbox is closed or its node lives another life, `Unreachable` when its node is dead,
    /// has left or cannot be reached, `Timeout` when nothing is known (the question may have arrived), `NotUnderstood` when the
    /// mailbox takes another type; [`Error::Decode`] when the answer is of another type.
    pub async fn call<T: Serialize, A: DeserializeOwned>(
        &self,
        to: Address<T>,
        message: &T,
        time: Duration,
    ) -> Result<A, Error> {
        decode(&self.call_bytes(to.raw, encode(message)?, time).await?)
    }

    /// Asks a mailbox in bytes, and waits for the answer in bytes: for tools that know no types.
    ///
    /// # Errors
    /// [`Error::Refused`] as of [`Mailbox::call`].
    pub async fn call_bytes(
        &self,
        to: rumormill_core::Address,
        payload: Bytes,
        time: Duration,
    ) -> Result<Bytes, Error> {
        let timeout_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        match self.cluster.ask(Command::Call { from: self.id(), to, payload, timeout_ms }).await? {
            Reply::Answer { payload } => Ok(payload),
            _ => Err(Error::Refused(CommandError::Gone)),
        }
    }

    /// Waits for the end of another mailbox, on whatever node: told once, with the reason.
    ///
    /// # Errors
    /// [`Error::Refused`] beyond the bound on monitors, or [`Error::Ended`].
    pub async fn monitor<T>(&self, of: Address<T>) -> Result<Monitor, Error> {
        let (began, begun) = oneshot::channel();
        let (down_to, down) = oneshot::channel();
        let command = Command::Monitor { mailbox: self.id(), of: of.raw };
        let hearer = Hearer::Monitor { began, down: down_to };
        self.cluster.request(Request::Command { command, hearer }).await?;
        let (token, answer) = begun.await.map_err(|_| Error::Ended)?;
        answer?;
        Ok(Monitor { cluster: self.cluster.clone(), token, down })
    }

    /// Ties two mailboxes: when either is gone the other is closed, and told why.
    ///
    /// # Errors
    /// [`Error::Refused`] beyond the bound on monitors, or [`Error::Ended`].
    pub async fn link<T>(&self, with: Address<T>) -> Result<(), Error> {
        self.cluster.ask(Command::Link { mailbox: self.id(), with: with.raw }).await.map(drop)
    }

    /// Takes such a tie back.
    ///
    /// # Errors
    /// [`Error::Refused`] when there is none.
    pub async fn unlink<T>(&self, with: Address<T>) -> Result<(), Error> {
        self.cluster.ask(Command::Unlink { mailbox: self.id(), with: with.raw }).await.map(drop)
    }
}

/// What goes as one mail.
enum Part {
    One(Bytes),
    Many(Bundle),
}

impl Part {
    fn count(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Many(messages) => messages.count() as usize,
        }
    }

    fn command(self, from: MailboxId, to: rumormill_core::Address) -> Command {
        match self {
            Self::One(payload) => Command::Send { from, to, payload },
            Self::Many(messages) => Command::SendBundle { from, to, messages },
        }
    }
}

/// Puts messages into as few mails as hold them. What is too long for a bundle goes alone.
fn parts<T: Serialize>(messages: &[T], mail_len_max: usize) -> Result<Vec<Part>, Error> {
    let room = mail_len_max.min(BUNDLE_ROOM);
    let (mut parts, mut bundler) = (Vec::new(), Bundler::default());
    for message in messages {
        with_written(message, |bytes| {
            if bundler.push(bytes, room) {
                return;
            }
            parts.extend(bundler.take().map(Part::Many));
            if !bundler.push(bytes, room) {
                parts.push(Part::One(Bytes::copy_from_slice(bytes)));
            }
        })?;
    }
    parts.extend(bundler.take().map(Part::Many));
    Ok(parts)
}

/// Reads a message.
fn message_of<M: DeserializeOwned>(from: rumormill_core::Address, payload: &[u8]) -> Incoming<M> {
    match decode(payload) {
        Ok(message) => Incoming::Message { from, message },
        Err(_) => Incoming::Unreadable { from },
    }
}

impl<M: DeserializeOwned> Mailbox<M> {
    /// Waits for what comes next; `None` when the node has ended.
    pub async fn recv(&mut self) -> Option<Incoming<M>> {
        if let Some(payload) = self.rest.1.next() {
            return Some(message_of(self.rest.0, &payload));
        }
        Some(match self.letters.recv().await? {
            Letter::Mail { from, payloads } => {
                self.rest = (from, payloads.into_iter());
                message_of(from, &self.rest.1.next()?)
            }
            Letter::Asked { question, payload } => match decode(&payload) {
                Ok(message) => {
                    let cluster = self.cluster.clone();
                    Incoming::Question { message, asked: Asked { cluster, question } }
                }
                Err(_) => {
                    // Without waiting: who breaks off this future must not lose the letter.
                    Asked { cluster: self.cluster.clone(), question }.refuse();
                    Incoming::Unreadable { from: question.from }
                }
            },
            Letter::Closed { because_of, reason } => Incoming::Closed { because_of, reason },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each part as the messages that it holds.
    fn messages_of(parts: Vec<Part>) -> Vec<Vec<Vec<u8>>> {
        let read = |bytes: &[u8]| decode::<Vec<u8>>(bytes).expect("a message");
        let of = |part: Part| match part {
            Part::One(payload) => vec![read(&payload)],
            Part::Many(bundle) => bundle.into_messages().map(|payload| read(&payload)).collect(),
        };
        parts.into_iter().map(of).collect()
    }

    #[test]
    fn messages_go_in_as_few_mails_as_hold_them_and_in_order() {
        let messages: Vec<Vec<u8>> = (0..100).map(|i| vec![i; 1_000]).collect();
        let parts = parts(&messages, 64 << 10).expect("they can be written");
        let counts: Vec<usize> = parts.iter().map(Part::count).collect();
        assert_eq!(counts, [16, 16, 16, 16, 16, 16, 4], "each takes 1,004 bytes of 16 KiB");
        assert_eq!(messages_of(parts).concat(), messages);
    }

    #[test]
    fn no_bundle_is_longer_than_a_mail_may_be_and_what_fits_in_none_goes_alone() {
        let messages = [vec![1; 10], vec![2; 10], vec![3; 70_000], vec![4; 27], vec![5; 10]];
        let parts = parts(&messages, 30).expect("they can be written");
        assert!(matches!(parts[..], [Part::Many(_), Part::One(_), Part::Many(_), Part::Many(_)]));
        let lens: Vec<usize> = messages_of(parts).iter().map(Vec::len).collect();
        assert_eq!(lens, [2, 1, 1, 1], "two of 13 bytes, one too long, one of 30, one of 13");
    }
}
