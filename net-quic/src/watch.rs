//! Streams of what a node tells: bounded, ended by dropping them, honest about what did not fit.

use crate::cluster::{Cluster, Error};
use crate::hear::MESSAGES_MAX;
use crate::request::{self, Began, Forgotten, Hearer, Request};
use rumormill_core::{Command, Event, MapId, News, Token, Topic, Watch};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};

/// How much a slow reader may be behind.
const ROOM: usize = 1024;

/// A stream of things that a node tells, in their order. Dropping it unsubscribes.
pub struct Feed<T> {
    receiver: mpsc::Receiver<T>,
    missed: Arc<AtomicU64>,
    token: Token,
    requests: mpsc::Sender<Request>,
    forgotten: mpsc::UnboundedSender<Forgotten>,
}

impl<T> Drop for Feed<T> {
    fn drop(&mut self) {
        let _ = self.forgotten.send(Forgotten::Token(self.token));
    }
}

/// What both ends of a stream begin with.
pub(crate) struct Ends<T> {
    pub(crate) sender: request::Feed<T>,
    pub(crate) receiver: mpsc::Receiver<T>,
    pub(crate) missed: Arc<AtomicU64>,
}

impl<T> Ends<T> {
    pub(crate) fn new(room: usize) -> Self {
        let (sender, receiver) = mpsc::channel(room);
        let missed = Arc::new(AtomicU64::new(0));
        Self { sender: request::Feed { sender, missed: missed.clone() }, receiver, missed }
    }
}

impl<T> Feed<T> {
    /// Begins what a command begins.
    pub(crate) async fn begin(
        cluster: &Cluster,
        command: Command,
        room: usize,
        hearer: impl FnOnce(Began, request::Feed<T>) -> Hearer,
    ) -> Result<Self, Error> {
        let (began, begun) = oneshot::channel();
        let Ends { sender, receiver, missed } = Ends::new(room);
        cluster.request(Request::Command { command, hearer: hearer(began, sender) }).await?;
        let (token, answer) = begun.await.map_err(|_| Error::Ended)?;
        answer?;
        Ok(Self::new(cluster, token, receiver, missed))
    }

    fn new(cluster: &Cluster, token: Token, receiver: mpsc::Receiver<T>, missed: Arc<AtomicU64>) -> Self {
        let (requests, forgotten) = (cluster.inner.requests.clone(), cluster.inner.forgotten.clone());
        Self { receiver, missed, token, requests, forgotten }
    }

    /// Waits for the next thing; `None` when the node has ended.
    pub async fn recv(&mut self) -> Option<T> {
        self.receiver.recv().await
    }

    /// Takes the next thing if it is there.
    pub fn try_recv(&mut self) -> Option<T> {
        self.receiver.try_recv().ok()
    }

    /// Tells how many things did not fit since this was asked last, because nobody took the earlier ones.
    pub fn take_missed(&self) -> u64 {
        self.missed.swap(0, Relaxed)
    }
}

impl Feed<Event> {
    pub(crate) async fn of_node(cluster: &Cluster) -> Result<Self, Error> {
        let (began, begun) = oneshot::channel();
        let Ends { sender, receiver, missed } = Ends::new(ROOM);
        cluster.request(Request::HearNode { began, events: sender }).await?;
        let token = begun.await.map_err(|_| Error::Ended)?;
        Ok(Self::new(cluster, token, receiver, missed))
    }

    /// Begins with the entries that a map has now; none when it is not hosted here.
    pub(crate) async fn of_map(
        cluster: &Cluster,
        map: MapId,
    ) -> Result<(Option<request::Entries>, Self), Error> {
        let (began, begun) = oneshot::channel();
        let Ends { sender, receiver, missed } = Ends::new(ROOM);
        cluster.request(Request::HearMap { map, began, changes: sender }).await?;
        let (token, entries) = begun.await.map_err(|_| Error::Ended)?;
        Ok((entries, Self::new(cluster, token, receiver, missed)))
    }
}

impl Feed<request::Message> {
    pub(crate) async fn of_topic(cluster: &Cluster, topic: Topic) -> Result<Self, Error> {
        let hearer = |began, messages| Hearer::Topic { topic, began, messages };
        Self::begin(cluster, Command::Subscribe { topic }, MESSAGES_MAX, hearer).await
    }
}

/// News of members, services or partitions: a snapshot, then every change once. A reader that falls behind gets a new
/// snapshot, which stands in for everything before it. Dropping it unsubscribes.
pub struct Watching {
    feed: Feed<News>,
    what: Watch,
}

impl Watching {
    pub(crate) async fn begin(cluster: &Cluster, what: Watch) -> Result<Self, Error> {
        let command = Command::Watch { what: what.clone() };
        let feed = Feed::begin(cluster, command, ROOM, |began, news| Hearer::News { began, news }).await?;
        Ok(Self { feed, what })
    }

    /// Waits for the next news; `None` when the node has ended.
    pub async fn recv(&mut self) -> Option<News> {
        match self.feed.receiver.try_recv() {
            Ok(news) => return Some(news),
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) => {}
        }
        if self.feed.take_missed() > 0 {
            let command = Command::Watch { what: self.what.clone() };
            let again = Request::Again { token: self.feed.token, command };
            self.feed.requests.send(again).await.ok()?;
        }
        self.feed.recv().await
    }
}
