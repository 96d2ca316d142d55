//! A node that goes on at another address, without a break.

use crate::builder::{bind, is_nowhere};
use crate::cluster::Cluster;
use crate::driver::{Moving, challenges};
use crate::request::Request;
use quinn::{AsyncUdpSocket, Connection};
use rumormill_core::NodeId;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout_at};

/// How often a path that nobody has confirmed is looked at: QUIC tells nobody when it is.
const LOOK: Duration = Duration::from_millis(5);

/// Where a node goes on: see [`Cluster::migrate`].
#[derive(Clone, Debug)]
pub struct Move {
    to: To,
    advertise: Vec<SocketAddr>,
}

#[derive(Clone, Debug)]
enum To {
    Addr(SocketAddr),
    Socket(Arc<dyn AsyncUdpSocket>),
    Here,
}

impl Move {
    /// To a new socket at this address; port 0 is any that is free.
    pub fn to(addr: SocketAddr) -> Self {
        Self { to: To::Addr(addr), advertise: Vec::new() }
    }

    /// To a socket that the user has made: a relay, a tunnel.
    pub fn onto(socket: Arc<dyn AsyncUdpSocket>) -> Self {
        Self { to: To::Socket(socket), advertise: Vec::new() }
    }

    /// Nowhere: the socket listens at every address of this machine, which has changed them. Only the others are told.
    pub fn here() -> Self {
        Self { to: To::Here, advertise: Vec::new() }
    }

    /// Where others reach the node from then on, where that is not where it listens. Can be said up to four times; what
    /// the builder advertised does not hold any longer.
    #[must_use]
    pub fn advertise(mut self, addr: SocketAddr) -> Self {
        self.advertise.push(addr);
        self
    }
}

impl From<SocketAddr> for Move {
    fn from(addr: SocketAddr) -> Self {
        Self::to(addr)
    }
}

/// How a node has moved.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Moved {
    /// Where it listens now.
    pub local: SocketAddr,
    /// Peers whose connections moved along: they have found the node at its new address.
    pub along: Vec<NodeId>,
    /// Peers that had dialled the node, and were dialled by it.
    pub redialled: Vec<NodeId>,
    /// Peers that were not found in time. Their links end, and the overlay heals as after any loss.
    pub lost: Vec<NodeId>,
}

/// Why a node has not moved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrateError {
    /// The address is taken, or not one of this machine; the node is where it was.
    #[error("cannot listen at {addr}: {source}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// Nobody could be reached at the address that others were to be told; the node is where it was.
    #[error(
        "the advertised address {addr}: nobody can be reached there; the address of one machine and a port are expected, for example 192.0.2.7:7400"
    )]
    Nowhere {
        /// The address.
        addr: SocketAddr,
    },
    /// The socket cannot be used; the node is where it was.
    #[error("the socket cannot be used: {0}")]
    Socket(io::Error),
    /// A move is under way.
    #[error("the node is moving already: wait until that has been answered")]
    UnderWay,
    /// No peer answers at the new address. The node stays there: try another one, or the one before.
    #[error("the node has moved to {local}, and none of its {} peers finds it there", lost.len())]
    NoPath {
        /// Where the node listens now.
        local: SocketAddr,
        /// Everybody it was connected with.
        lost: Vec<NodeId>,
    },
    /// The node has ended.
    #[error("the node has ended")]
    Ended,
}

impl Cluster {
    /// Goes on at another address, and answers when the others have found the node there.
    ///
    /// Connections that this node dialled move along, once their peers have confirmed the new path. Peers that had dialled
    /// it are dialled. Everybody is told the new address, and the node is the same as before: no neighbour, no service and
    /// no mailbox is lost, and mail that was under way comes again. Streams that this node opened go on; those that others
    /// opened to it break.
    ///
    /// What the node advertised, by its builder or by an earlier move, holds no longer: others are told where it listens now, or
    /// what [`Move::advertise`] says. A node behind a translated or forwarded address says it again with each move.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use rumormill_net_quic::testing::TestCluster;
    /// use std::net::SocketAddr;
    ///
    /// let cluster = TestCluster::start(2).await?;
    /// let node = cluster.node(1);
    /// let moved = node.migrate("127.0.0.2:0".parse::<SocketAddr>()?).await?;
    /// assert_eq!((moved.local, moved.lost), (node.local_addr(), vec![]));
    /// assert_eq!(node.addrs(), [moved.local]); // what others are told
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`MigrateError`] says whether the node is where it was.
    pub async fn migrate(&self, to: impl Into<Move>) -> Result<Moved, MigrateError> {
        let Move { to, advertise } = to.into();
        if let Some(addr) = advertise.iter().copied().find(is_nowhere) {
            return Err(MigrateError::Nowhere { addr });
        }
        let _alone = self.inner.moving.try_lock().map_err(|_| MigrateError::UnderWay)?;
        let socket = match to {
            To::Addr(addr) => Some(bind(addr).map_err(|source| MigrateError::Listen { addr, source })?),
            To::Socket(socket) => Some(socket),
            To::Here => None,
        };
        let deadline = Instant::now() + self.inner.gate.timeout();
        let (moving, begun) = oneshot::channel();
        let request = Request::Move { socket, advertise, moving };
        self.request(request).await.map_err(|_| MigrateError::Ended)?;
        let begun = begun.await.map_err(|_| MigrateError::Ended)?;
        let Moving { along, anew } = begun.map_err(MigrateError::Socket)?;
        let local = self.local_addr();
        let mut moved = Moved { local, along: Vec::new(), redialled: Vec::new(), lost: Vec::new() };
        for (peer, hearing) in anew {
            let is_found = timeout_at(deadline, hearing).await.is_ok_and(|heard| heard == Ok(true));
            if is_found { moved.redialled.push(peer) } else { moved.lost.push(peer) }
        }
        for (peer, connection, asked) in along {
            let is_found = timeout_at(deadline, validated(&connection, asked)).await == Ok(true);
            if is_found { moved.along.push(peer) } else { moved.lost.push(peer) }
        }
        if moved.along.is_empty() && moved.redialled.is_empty() && !moved.lost.is_empty() {
            return Err(MigrateError::NoPath { local, lost: moved.lost });
        }
        Ok(moved)
    }
}

/// Waits until the other end has seen packets from the new address, and asked there whether they are this node's: then
/// both directions work.
async fn validated(connection: &Connection, asked: u64) -> bool {
    while challenges(connection) == asked {
        if connection.close_reason().is_some() {
            return false;
        }
        sleep(LOOK).await;
    }
    true
}
