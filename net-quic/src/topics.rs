//! Topics: messages to everybody who listens.

use crate::cluster::{Cluster, Error};
use crate::request::Message;
use crate::watch::Feed;
use bytes::Bytes;
use rumormill_core::{Class, Command, MessageId, Reply, Topic};

impl Cluster {
    /// Hears the messages of a topic from now on, one's own included.
    ///
    /// Thousands of messages may wait for their reader. While nearly that many do, broadcasts wait with the neighbours,
    /// and this node publishes none: for a second, after which the reader misses some, which [`Feed::take_missed`] tells.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use rumormill_net_quic::testing::TestCluster;
    ///
    /// let cluster = TestCluster::start(3).await?;
    /// let mut feed = cluster.node(2).subscribe("news").await?;
    /// cluster.node(0).publish("news", "hello").await?;
    /// let message = feed.recv().await.expect("the node runs");
    /// assert_eq!(&message.payload[..], b"hello");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Refused`] beyond the bound on topics, or [`Error::Ended`].
    pub async fn subscribe(&self, topic: &str) -> Result<Feed<Message>, Error> {
        Feed::of_topic(self, Topic::named(topic)).await
    }

    /// Sends a message to everybody in the cluster who hears the topic.
    ///
    /// # Errors
    /// [`Error::Refused`] with `TooLarge`, or with `Busy` while all neighbours, or those who hear on this node, are too slow: nothing
    /// was sent.
    pub async fn publish(&self, topic: &str, payload: impl Into<Bytes>) -> Result<MessageId, Error> {
        let (topic, class, payload) = (Topic::named(topic), Class::Normal, payload.into());
        match self.ask(Command::Publish { topic, class, payload }).await? {
            Reply::Published { id } => Ok(id),
            _ => Err(Error::Ended),
        }
    }
}
