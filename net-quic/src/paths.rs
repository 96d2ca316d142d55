//! How the connections with others do, as QUIC sees it.

use crate::cluster::{Cluster, Error};
use crate::request::Request;
use quinn::Connection;
use rumormill_core::{Dialer, NodeId};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::oneshot;

/// What goes over a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Use {
    /// What nodes tell each other: members, services, broadcasts, maps, mail.
    Frames,
    /// Tagged streams of users.
    Streams,
}

/// How one connection does. Counts begin with the connection, those of packets and their loss with its present path.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Path {
    /// Who is at the other end.
    pub peer: NodeId,
    /// Where its packets come from.
    pub addr: SocketAddr,
    /// What goes over it.
    pub carries: Use,
    /// Whether this node dialled: such a connection moves along with [`Cluster::migrate`].
    pub is_dialled_here: bool,
    /// The round trip, as it is estimated now.
    pub rtt: Duration,
    /// Packets that were sent.
    pub packets_sent: u64,
    /// Packets that are taken for lost.
    pub packets_lost: u64,
    /// How often the path was found crowded, and less was sent.
    pub congestions: u64,
    /// Bytes that may be under way without a word from the other end.
    pub congestion_window: u64,
    /// Bytes of UDP that were sent.
    pub bytes_sent: u64,
    /// Bytes of UDP that were received.
    pub bytes_received: u64,
    /// Bytes of UDP that one packet may hold.
    pub mtu: u16,
}

impl Path {
    fn of(peer: NodeId, dialer: Dialer, connection: &Connection, carries: Use) -> Self {
        let stats = connection.stats();
        Self {
            peer,
            addr: connection.remote_address(),
            carries,
            is_dialled_here: dialer == Dialer::Local,
            rtt: stats.path.rtt,
            packets_sent: stats.path.sent_packets,
            packets_lost: stats.path.lost_packets,
            congestions: stats.path.congestion_events,
            congestion_window: stats.path.cwnd,
            bytes_sent: stats.udp_tx.bytes,
            bytes_received: stats.udp_rx.bytes,
            mtu: stats.path.current_mtu,
        }
    }
}

impl Cluster {
    /// Tells how every connection of this node does. Two nodes that dialled each other have two for a while, and streams
    /// have their own.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use rumormill_net_quic::testing::TestCluster;
    ///
    /// let cluster = TestCluster::start(2).await?;
    /// let (here, there) = (cluster.node(0), cluster.node(1));
    /// let paths = here.paths().await?;
    /// let path = paths.iter().find(|path| path.peer == there.id()).expect("they are neighbours");
    /// println!("{} at {}: {:?}, {} of {} packets lost",
    ///     there.name(), path.addr, path.rtt, path.packets_lost, path.packets_sent);
    /// assert!(path.bytes_sent > 0 && path.bytes_received > 0);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Ended`].
    pub async fn paths(&self) -> Result<Vec<Path>, Error> {
        let (links, listing) = oneshot::channel();
        self.request(Request::Links(links)).await?;
        let links = listing.await.map_err(|_| Error::Ended)?.into_iter().map(|it| (it, Use::Frames));
        let streams = self.inner.gate.hub().connections().into_iter().map(|it| (it, Use::Streams));
        let path = |((peer, dialer, connection), carries)| Path::of(peer, dialer, &connection, carries);
        Ok(links.chain(streams).map(path).collect())
    }
}
