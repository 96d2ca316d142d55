//! A cluster of real nodes on loopback, for tests of services: starts nodes, cuts and heals their network, ends them.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use rumormill_net_quic::testing::TestCluster;
//!
//! let mut cluster = TestCluster::start(3).await?;
//! cluster.isolate(2);
//! // … what should go on without the third node
//! cluster.heal();
//! cluster.settled().await?;
//! cluster.end(0).await;
//! # Ok(()) }
//! ```

mod weather;

pub use weather::{Relay, Weather};

use crate::{BuildError, Builder, Cluster, Error, Identity};
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, Runtime as _, TokioRuntime, UdpPoller};
use rumormill_core::{MemberState, News};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// How long [`TestCluster::settled`] waits.
const SETTLING: Duration = Duration::from_secs(60);

/// How long [`TestCluster::end`] waits for a socket to be closed: a handle that somebody keeps, keeps it open.
const CLOSING: Duration = Duration::from_secs(2);

/// Why a test's cluster is not as it should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TestError {
    /// A node does not start.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A node does not answer.
    #[error(transparent)]
    Node(#[from] Error),
    /// The nodes do not come to know each other.
    #[error("node {node} knows {known} active members after {} s, not {expected}", SETTLING.as_secs())]
    NotSettled {
        /// The node, by its number.
        node: usize,
        /// How many it knows.
        known: usize,
        /// How many run.
        expected: usize,
    },
}

/// Which packets do not get through: from one address to another.
#[derive(Debug, Default)]
struct Cuts {
    pairs: Mutex<BTreeSet<(SocketAddr, SocketAddr)>>,
}

impl Cuts {
    fn change(&self, change: impl FnOnce(&mut BTreeSet<(SocketAddr, SocketAddr)>)) {
        change(&mut self.pairs.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn holds(&self, from: SocketAddr, to: SocketAddr) -> bool {
        self.pairs.lock().unwrap_or_else(PoisonError::into_inner).contains(&(from, to))
    }
}

/// A socket that loses what is cut.
#[derive(Debug)]
struct CutSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    addr: SocketAddr,
    cuts: Arc<Cuts>,
    /// Goes after the socket, and so tells that its address is free.
    _taken: oneshot::Sender<()>,
}

/// Looks after a socket that it keeps.
#[derive(Debug)]
struct CutPoller {
    inner: Pin<Box<dyn UdpPoller>>,
    _socket: Arc<CutSocket>,
}

impl UdpPoller for CutPoller {
    fn poll_writable(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().inner.as_mut().poll_writable(cx)
    }
}

impl AsyncUdpSocket for CutSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(CutPoller { inner: self.inner.clone().create_io_poller(), _socket: self })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if self.cuts.holds(self.addr, transmit.destination) { Ok(()) } else { self.inner.try_send(transmit) }
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.inner.poll_recv(cx, bufs, meta)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}

/// A node that starts again is who it was.
fn identity_of(number: usize) -> Identity {
    let mut secret = [0x5a; 32];
    secret[..8].copy_from_slice(&(number as u64).to_le_bytes());
    Identity::from_secret(&secret)
}

/// Real nodes in this process, each with a socket on loopback. Numbers name them, in the order in which they started.
pub struct TestCluster {
    nodes: BTreeMap<usize, Cluster>,
    addrs: BTreeMap<usize, SocketAddr>,
    cuts: Arc<Cuts>,
    weather: Weather,
    relays: BTreeMap<usize, Arc<Relay>>,
    /// When a node's address is free again.
    free: BTreeMap<usize, oneshot::Receiver<()>>,
    turn: Box<dyn Fn(usize, Builder) -> Builder + Send>,
}

impl TestCluster {
    /// Starts so many nodes, and waits until each knows all of them as active.
    ///
    /// # Errors
    /// [`TestError`].
    pub async fn start(count: usize) -> Result<Self, TestError> {
        Self::start_with(count, |_, builder| builder).await
    }

    /// Starts so many nodes as [`TestCluster::start`] does, each described further by `turn`, which gets its number.
    ///
    /// # Errors
    /// [`TestError`].
    pub async fn start_with(
        count: usize,
        turn: impl Fn(usize, Builder) -> Builder + Send + 'static,
    ) -> Result<Self, TestError> {
        Self::start_in(Weather::default(), count, turn).await
    }

    /// Starts so many nodes as [`TestCluster::start_with`] does, in a network whose packets come late or not at all.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use rumormill_net_quic::testing::{TestCluster, Weather};
    /// use std::time::Duration;
    ///
    /// let weather = Weather { delay: Duration::from_millis(20), ..Weather::default() };
    /// let mut cluster = TestCluster::start_in(weather, 2, |_, builder| builder).await?;
    /// let paths = cluster.node(0).paths().await?;
    /// assert!(paths.iter().all(|path| path.rtt >= 2 * weather.delay));
    /// cluster.set_weather(Weather::default());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`TestError`].
    pub async fn start_in(
        weather: Weather,
        count: usize,
        turn: impl Fn(usize, Builder) -> Builder + Send + 'static,
    ) -> Result<Self, TestError> {
        let (nodes, addrs, relays, free) = Default::default();
        let turn = Box::new(turn);
        let mut cluster = Self { nodes, addrs, cuts: Arc::default(), weather, relays, free, turn };
        for number in 0..count {
            cluster.add(number).await?;
        }
        cluster.settled().await?;
        Ok(cluster)
    }

    /// Starts a node of this number, or starts one again that has ended; it comes in through the others.
    ///
    /// # Errors
    /// [`TestError::Build`].
    pub async fn add(&mut self, number: usize) -> Result<&Cluster, TestError> {
        let before = self.addrs.get(&number).copied();
        let asked = before.unwrap_or_else(|| (Ipv4Addr::LOCALHOST, 0).into());
        let listen = |source| BuildError::Listen { addr: asked, source };
        let socket = UdpSocket::bind(asked).map_err(listen)?;
        let addr = socket.local_addr().map_err(listen)?;
        let inner = TokioRuntime.wrap_udp_socket(socket).map_err(listen)?;
        let (taken, free) = oneshot::channel();
        let socket = CutSocket { inner, addr, cuts: self.cuts.clone(), _taken: taken };
        let relay = Relay::around(Arc::new(socket), number as u64);
        relay.set(self.weather);
        self.relays.insert(number, relay.clone());
        self.free.insert(number, free);
        let seeds = self.nodes.values().map(Cluster::local_addr);
        let builder = Cluster::builder("test").secret("test").name(format!("node-{number}"));
        let builder = builder.socket(relay).seeds(seeds).identity(identity_of(number));
        let node = (self.turn)(number, builder).start().await?;
        self.addrs.insert(number, addr);
        Ok(self.nodes.entry(number).insert_entry(node).into_mut())
    }

    /// Shows a node that runs.
    ///
    /// # Panics
    /// When no node of this number runs.
    pub fn node(&self, number: usize) -> &Cluster {
        self.nodes.get(&number).unwrap_or_else(|| panic!("node {number} does not run"))
    }

    /// Lists the nodes that run.
    pub fn nodes(&self) -> impl Iterator<Item = &Cluster> {
        self.nodes.values()
    }

    /// Lets nothing through from one node to another; the way back stays open.
    pub fn cut_one_way(&self, from: usize, to: usize) {
        let (from, to) = (self.addrs[&from], self.addrs[&to]);
        self.cuts.change(|pairs| {
            pairs.insert((from, to));
        });
    }

    /// Lets nothing through between two nodes.
    pub fn cut(&self, one: usize, other: usize) {
        self.cut_one_way(one, other);
        self.cut_one_way(other, one);
    }

    /// Lets nothing through between a node and all others.
    pub fn isolate(&self, number: usize) {
        self.addrs.keys().filter(|other| **other != number).for_each(|other| self.cut(number, *other));
    }

    /// Changes the weather for packets of every node.
    pub fn set_weather(&mut self, weather: Weather) {
        self.weather = weather;
        self.relays.values().for_each(|relay| relay.set(weather));
    }

    /// Lets everything through again.
    pub fn heal(&self) {
        self.cuts.change(BTreeSet::clear);
    }

    /// Ends a node without a word to the others. It can be started again at once, unless somebody keeps a handle to it.
    pub async fn end(&mut self, number: usize) {
        let Some(node) = self.nodes.remove(&number) else { return };
        let addr = self.addrs[&number];
        let others: Vec<SocketAddr> = self.addrs.values().copied().filter(|other| *other != addr).collect();
        // Its last words stay inside, as if its process had been killed.
        self.cuts.change(|pairs| pairs.extend(others.iter().map(|other| (addr, *other))));
        node.shutdown().await;
        drop(node);
        self.relays.remove(&number);
        if let Some(free) = self.free.remove(&number) {
            let _ = timeout(CLOSING, free).await;
        }
        self.cuts.change(|pairs| pairs.retain(|(from, _)| *from != addr));
    }

    /// Waits until every node that runs knows exactly those that run as active.
    ///
    /// # Errors
    /// [`TestError::NotSettled`] after a minute.
    pub async fn settled(&self) -> Result<(), TestError> {
        let expected: BTreeSet<_> = self.nodes.values().map(Cluster::id).collect();
        for (number, node) in &self.nodes {
            let mut watching = node.watch_members().await?;
            let mut active = BTreeSet::new();
            let waiting = async {
                while active != expected {
                    let members = match watching.recv().await.ok_or(Error::Ended)? {
                        News::Members(members) => {
                            active.clear();
                            members
                        }
                        News::Member { member, .. } => vec![member],
                        _ => Vec::new(),
                    };
                    for member in members {
                        let is_active = member.state == MemberState::Active;
                        if is_active {
                            active.insert(member.id())
                        } else {
                            active.remove(&member.id())
                        };
                    }
                }
                Ok::<(), Error>(())
            };
            match timeout(SETTLING, waiting).await {
                Ok(waited) => waited?,
                Err(_) => {
                    let (known, expected) = (active.len(), expected.len());
                    return Err(TestError::NotSettled { node: *number, known, expected });
                }
            }
        }
        Ok(())
    }
}
