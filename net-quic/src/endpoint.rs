//! The socket's end: dials, accepts, and hands over connections whose HELLO is done.

use crate::connection::down_reason;
use crate::handshake::{Broken, Greeter, Meeting, Peer, REFUSED, shown_key};
use crate::hello::Purpose;
use crate::identity::Identity;
use crate::store::Store;
use crate::streams::Hub;
use crate::timers::Timers;
use crate::tls::Tls;
use crate::trust::{Own, Proven, Refusal, Told};
use crate::{BuildError, hello};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    AsyncUdpSocket, ClientConfig, Connection, ConnectionError, Endpoint, EndpointConfig, Incoming,
    ServerConfig, TransportConfig, VarInt,
};
use quinn_proto::HashedConnectionIdGenerator;
use ring::hmac;
use rumormill_core::{Contact, DownReason, NodeId};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout_at};

/// Handshakes under way above which newcomers are not answered, where the builder says nothing else.
pub(crate) const HALF_OPEN_MAX: usize = 256;
/// The share of them above which newcomers must prove their address first.
const HALF_OPEN_UNPROVEN: usize = 4;
/// The codes of QUIC's own errors that are alerts of TLS (RFC 9001, section 4.8).
const TLS_ALERTS: std::ops::Range<u64> = 0x100..0x200;
/// The alert of ends that have no protocol in common (RFC 7301, section 3.2): ours names the cluster.
const NO_PROTOCOL: u64 = TLS_ALERTS.start + 120;
/// What that means.
const OTHER_CLUSTER: &str = "it is of another cluster, or speaks another version";
/// Streams that a peer may have open: one for each channel.
const LANES: u32 = 8;
/// Streams that a peer may open before HELLO is done: the one of HELLO.
const BEFORE_HELLO: u32 = 1;
/// Bytes that a connection may hold for us unread.
const WINDOW: VarInt = VarInt::from_u32(8 << 20);
/// The same before HELLO is done: with those of all that are half open, what strangers can make us keep.
const WINDOW_BEFORE_HELLO: VarInt = VarInt::from_u32(16 << 10);
/// Streams of users that a peer may have open.
const USER_STREAMS: u32 = 64;

/// What the socket's end tells the node.
#[derive(Debug)]
pub(crate) enum Met {
    /// A connection is ready.
    Dialled { connection: Connection, peer: Peer },
    /// A dial came to nothing.
    DialFailed { peer: NodeId, reason: DownReason },
    /// Somebody dialled us and was let in.
    Accepted { connection: Connection, peer: Peer },
}

/// What holds for every connection of a node.
#[derive(Clone, Copy)]
pub(crate) struct Terms {
    /// Handshakes under way that others began, at most.
    pub(crate) half_open_max: usize,
    /// How long a connection is silent before somebody asks whether the other end is there.
    pub(crate) keep_alive: Duration,
}

impl Terms {
    /// Neighbours ask each other in turn; a connection that nothing goes over is looked after as rarely as five of them come to
    /// theirs.
    pub(crate) fn new(half_open_max: usize, probe_after_ms: u64) -> Self {
        Self {
            half_open_max,
            keep_alive: Duration::from_millis(probe_after_ms.saturating_mul(5).clamp(7_500, 15_000)),
        }
    }
}

/// What a node shows of itself: to TLS and in HELLO the same, on one connection.
pub(crate) struct Shown {
    client: ClientConfig,
    server: Arc<ServerConfig>,
    pub(crate) own: Arc<Own>,
}

impl Shown {
    /// Makes what TLS shows for an identity.
    pub(crate) fn new(
        identity: &Identity,
        cluster: &str,
        terms: Terms,
        own: Arc<Own>,
    ) -> Result<Self, BuildError> {
        let protocol = hello::protocol(cluster);
        let Tls { client, server } =
            Tls::new(identity, &protocol).map_err(|it| BuildError::Tls(it.to_string()))?;
        let no_cipher = |_| BuildError::Tls("no cipher suite for QUIC's first packets".into());
        let client = QuicClientConfig::try_from(client).map_err(no_cipher)?;
        let server = QuicServerConfig::try_from(server).map_err(no_cipher)?;
        let transport = Arc::new(transport(terms.keep_alive));
        let mut client = ClientConfig::new(Arc::new(client));
        client.transport_config(transport.clone());
        let mut server = ServerConfig::with_crypto(Arc::new(server));
        let max_incoming = 2 * terms.half_open_max;
        server.transport_config(transport).max_incoming(max_incoming).incoming_buffer_size(64 << 10);
        Ok(Self { client, server: Arc::new(server), own })
    }
}

/// A node's socket, and what it takes to use it.
pub(crate) struct Gate {
    endpoint: Endpoint,
    /// Where it listened at first.
    local: SocketAddr,
    greeter: Arc<Greeter>,
    met: mpsc::Sender<Met>,
    hub: Arc<Hub>,
    room: Room,
}

/// Places for handshakes that others begin.
#[derive(Clone)]
pub(crate) struct Room {
    places: Arc<Semaphore>,
    max: usize,
}

impl Room {
    pub(crate) fn new(max: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(max)), max }
    }

    fn taken(&self) -> usize {
        self.max - self.places.available_permits()
    }
}

/// Opens the socket's end for dialling and accepting; what quinn's own draws follow from is given where they must repeat.
pub(crate) fn open(
    shown: &Shown,
    store: &Store,
    socket: Arc<dyn AsyncUdpSocket>,
    timers: Timers,
    rng_seed: Option<[u8; 32]>,
) -> Result<Endpoint, BuildError> {
    let config = endpoint_config(store, rng_seed)?;
    let server = Some((*shown.server).clone());
    let endpoint = Endpoint::new_with_abstract_socket(config, server, socket, Arc::new(timers));
    endpoint.map_err(BuildError::Socket)
}

/// A node that restarts must be known by the packets of its earlier life: its keys for resets and connection ids last.
fn endpoint_config(store: &Store, rng_seed: Option<[u8; 32]>) -> Result<EndpointConfig, BuildError> {
    let mut fresh = [[0; 32]; 2];
    for key in &mut fresh {
        getrandom::fill(key).map_err(|error| BuildError::Identity(crate::IdentityError::Entropy(error)))?;
    }
    let reset = store.key("stateless reset", fresh[0])?;
    let ids = store.key("connection ids", fresh[1])?;
    let ids = u64::from_le_bytes(*ids.first_chunk().expect("32 bytes hold 8"));
    let mut config = EndpointConfig::new(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &reset)));
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(ids))).rng_seed(rng_seed);
    Ok(config)
}

fn transport(keep_alive: Duration) -> TransportConfig {
    let given_up = (keep_alive * 7 / 3).as_millis() as u32; // two questions unanswered
    let mut transport = TransportConfig::default();
    transport
        .initial_rtt(Duration::from_millis(50))
        .max_idle_timeout(Some(VarInt::from_u32(given_up).into()))
        .keep_alive_interval(Some(keep_alive))
        .max_concurrent_bidi_streams(BEFORE_HELLO.into())
        .max_concurrent_uni_streams(0_u32.into())
        .stream_receive_window(VarInt::from_u32(1 << 20))
        .receive_window(WINDOW_BEFORE_HELLO)
        .send_window(1 << 20)
        .datagram_receive_buffer_size(Some(64 << 10))
        .datagram_send_buffer_size(64 << 10);
    transport
}

/// Lets a peer whose HELLO is done open its streams, and send as much as they may hold.
fn open_up(connection: &Connection) {
    connection.set_receive_window(WINDOW);
    connection.set_max_concurrent_uni_streams(LANES.into());
    connection.set_max_concurrent_bi_streams((BEFORE_HELLO + USER_STREAMS).into());
}

/// What a node says of an address from which nothing comes.
const SILENCE: &str = "nothing came back in time: no node listens there, or UDP does not get through (a firewall, another port)";

impl Gate {
    pub(crate) fn new(
        endpoint: Endpoint,
        greeter: Arc<Greeter>,
        met: mpsc::Sender<Met>,
        room: Room,
        local: SocketAddr,
    ) -> Self {
        Self { endpoint, local, greeter, met, hub: Arc::default(), room }
    }

    /// Begins to accept.
    pub(crate) fn open(&self) {
        let (endpoint, greeter) = (self.endpoint.clone(), self.greeter.clone());
        let (met, hub, room) = (self.met.clone(), self.hub.clone(), self.room.clone());
        tokio::spawn(accept(endpoint, greeter, met, hub, room));
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Tells where the node listens, and where others are told to reach it.
    pub(crate) fn addrs(&self) -> (SocketAddr, Vec<SocketAddr>) {
        let local = self.endpoint.local_addr().unwrap_or(self.local);
        (local, self.greeter.contact().addrs().to_vec())
    }

    /// Shows something else of the node on every connection that begins from now on.
    pub(crate) fn show(&self, shown: Shown) {
        self.greeter.shown.store(Arc::new(shown));
    }

    /// Tells how long a peer may take to show who it is.
    pub(crate) fn timeout(&self) -> Duration {
        self.greeter.timeout
    }

    /// Dials a node; the outcome is told.
    pub(crate) fn dial(&self, contact: Contact, purpose: Purpose) -> tokio::task::AbortHandle {
        let (endpoint, greeter, met) = (self.endpoint.clone(), self.greeter.clone(), self.met.clone());
        let dialling = async move {
            let peer = contact.id();
            let outcome = dial_any(&endpoint, &greeter, &contact, purpose).await;
            let news = match outcome {
                Ok((connection, peer)) => Met::Dialled { connection, peer },
                Err(broken) => Met::DialFailed { peer, reason: dial_failed(&broken) },
            };
            let _ = met.send(news).await;
        };
        tokio::spawn(dialling).abort_handle()
    }

    /// The streams of users.
    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Dials a node for something else than frames.
    pub(crate) async fn dial_for(&self, contact: &Contact, purpose: Purpose) -> Result<Connection, Broken> {
        let dialled = dial_any(&self.endpoint, &self.greeter, contact, purpose).await;
        dialled.map(|(connection, _)| connection)
    }

    /// Tells whether the node at the other end may not stay, and why.
    pub(crate) fn is_barred(&self, node: NodeId, connection: &Connection) -> Option<Refusal> {
        is_barred(&self.greeter, node, connection)
    }

    /// Takes note of something that is refused on a connection which goes on.
    pub(crate) fn note(&self, connection: &Connection, refusal: &Refusal) {
        self.greeter.note(connection.remote_address(), refusal, Told::Here);
    }

    /// Counts the handshakes under way that others began.
    pub(crate) fn half_open(&self) -> usize {
        self.room.taken()
    }

    /// Closes the connection of a node that may not stay.
    pub(crate) fn expel(&self, connection: &Connection, refusal: &Refusal) {
        expel(&self.greeter, connection, refusal);
    }

    /// Tells people why a connection came to nothing.
    pub(crate) fn why(broken: &Broken) -> String {
        match broken {
            Broken::Refused(refusal) => refusal.to_string(),
            Broken::Lost(ConnectionError::TimedOut) => SILENCE.into(),
            Broken::Lost(error) => error.to_string(),
            Broken::NoWay(why) => why.clone(),
        }
    }

    /// Learns who listens at an address.
    pub(crate) async fn identify(&self, addr: SocketAddr, told: Told) -> Result<Contact, Broken> {
        let deadline = Instant::now() + self.greeter.timeout;
        let (greeter, shown) = (&self.greeter, self.greeter.shown.load_full());
        let connection = connect(&self.endpoint, &shown, greeter, addr, "identify", deadline, told).await;
        let connection = connection.map_err(|broken| no_way(broken, self.addrs().0, addr))?;
        let meeting = Meeting { connection: &connection, own: &shown.own };
        let peer = greeter.greet(meeting, None, Purpose::Identify, deadline, told).await?;
        connection.close(VarInt::from_u32(0), b"");
        let addrs = if peer.addrs.is_empty() { vec![addr] } else { peer.addrs };
        Ok(Contact::new(peer.id, peer.incarnation, &addrs))
    }
}

fn is_barred(greeter: &Greeter, node: NodeId, connection: &Connection) -> Option<Refusal> {
    let key = shown_key(connection)?;
    greeter.admission.is_barred(&Proven { node, key })
}

fn expel(greeter: &Greeter, connection: &Connection, refusal: &Refusal) {
    greeter.note(connection.remote_address(), refusal, Told::Here);
    connection.close(REFUSED, b"");
}

fn dial_failed(broken: &Broken) -> DownReason {
    match broken {
        Broken::Refused(_) | Broken::NoWay(_) => DownReason::Refused,
        Broken::Lost(error) => match down_reason(error) {
            DownReason::IdleTimeout => DownReason::Unreachable,
            _ => DownReason::Refused,
        },
    }
}

/// Tells more of a dial that came to nothing where packets do not even leave for that address: of the other family, or out of
/// reach from where the node listens.
fn no_way(broken: Broken, local: SocketAddr, addr: SocketAddr) -> Broken {
    match broken {
        Broken::Lost(ConnectionError::LocallyClosed | ConnectionError::TimedOut) => {
            why_no_way(local, addr).map_or(broken, Broken::NoWay)
        }
        _ => broken,
    }
}

fn why_no_way(local: SocketAddr, addr: SocketAddr) -> Option<String> {
    let (port, is_mapped) = (local.port(), |ip: Ipv6Addr| ip.to_ipv4_mapped().is_some());
    match (local.ip(), addr.ip()) {
        (IpAddr::V4(_), IpAddr::V6(_)) => Some(format!(
            "it is an IPv6 address, and this node listens at an IPv4 one, {local}: listen at [::]:{port}, which takes both, or give an IPv4 address"
        )),
        (IpAddr::V6(own), IpAddr::V4(_)) if !own.is_unspecified() && !is_mapped(own) => Some(format!(
            "it is an IPv4 address, and this node listens at an IPv6 one, {local}: listen at [::]:{port}, which takes both, or give an IPv6 address"
        )),
        (own, _) => {
            // Nothing is sent: the system only looks whether anything could be.
            let socket = UdpSocket::bind((own, 0)).ok()?;
            let error = socket.connect(addr).err()?;
            if own.is_unspecified() {
                return Some(format!("no packet leaves this machine for it: {error}"));
            }
            Some(format!(
                "no packet leaves for it from {local}, where this node listens: {error}; listen at 0.0.0.0:{port}, or at an address of this machine with a way there"
            ))
        }
    }
}

/// Tries the addresses of a node one after another, each for its share of the time.
async fn dial_any(
    endpoint: &Endpoint,
    greeter: &Greeter,
    contact: &Contact,
    purpose: Purpose,
) -> Result<(Connection, Peer), Broken> {
    let share = greeter.timeout / contact.addrs().len().max(1) as u32;
    let name: String = contact.id().0[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    let mut last = Broken::Lost(ConnectionError::TimedOut);
    for addr in contact.addrs() {
        let deadline = Instant::now() + share;
        let attempt = async {
            let shown = greeter.shown.load_full();
            let connection = connect(endpoint, &shown, greeter, *addr, &name, deadline, Told::Here).await?;
            let meeting = Meeting { connection: &connection, own: &shown.own };
            let peer = greeter.greet(meeting, Some(contact.id()), purpose, deadline, Told::Here).await?;
            open_up(&connection);
            Ok((connection, peer))
        };
        match attempt.await {
            Ok(linked) => return Ok(linked),
            Err(broken) => last = broken,
        }
    }
    Err(last)
}

async fn connect(
    endpoint: &Endpoint,
    shown: &Shown,
    greeter: &Greeter,
    addr: SocketAddr,
    name: &str,
    deadline: Instant,
    told: Told,
) -> Result<Connection, Broken> {
    let connecting = endpoint.connect_with(shown.client.clone(), addr, name);
    let connecting = connecting.map_err(|_| Broken::Lost(ConnectionError::LocallyClosed))?;
    let connected = timeout_at(deadline, connecting).await.unwrap_or(Err(ConnectionError::TimedOut));
    connected.map_err(|error| tls_failed(greeter, addr, error, told))
}

/// Tells a handshake that TLS refused, at this end or for want of a common protocol, from one that came to nothing.
fn tls_failed(greeter: &Greeter, addr: SocketAddr, error: ConnectionError, told: Told) -> Broken {
    let (code, reason) = match &error {
        ConnectionError::TransportError(here) => (u64::from(here.code), here.reason.clone()),
        ConnectionError::ConnectionClosed(there) => match u64::from(there.error_code) {
            NO_PROTOCOL => (NO_PROTOCOL, String::new()),
            _ => return Broken::Lost(error),
        },
        _ => return Broken::Lost(error),
    };
    if !TLS_ALERTS.contains(&code) {
        return Broken::Lost(error);
    }
    let refusal = Refusal::Tls(if code == NO_PROTOCOL { OTHER_CLUSTER.into() } else { reason });
    greeter.note(addr, &refusal, told);
    Broken::Refused(refusal)
}

/// Answers everybody who dials, as far as there is room for strangers.
async fn accept(
    endpoint: Endpoint,
    greeter: Arc<Greeter>,
    met: mpsc::Sender<Met>,
    hub: Arc<Hub>,
    room: Room,
) {
    while let Some(incoming) = endpoint.accept().await {
        let Ok(place) = room.places.clone().try_acquire_owned() else {
            greeter.note(incoming.remote_address(), &Refusal::NoRoom("another handshake"), Told::Here);
            incoming.ignore();
            continue;
        };
        if room.taken() > room.max / HALF_OPEN_UNPROVEN && incoming.may_retry() {
            let _ = incoming.retry();
            continue;
        }
        let (greeter, met, hub) = (greeter.clone(), met.clone(), hub.clone());
        tokio::spawn(async move {
            if let Some(news) = welcome(incoming, &greeter, &hub).await {
                let _ = met.send(news).await;
            }
            drop(place); // not before the node knows: who is half open bounds what waits for it
        });
    }
}

async fn welcome(incoming: Incoming, greeter: &Greeter, hub: &Arc<Hub>) -> Option<Met> {
    let (addr, deadline) = (incoming.remote_address(), Instant::now() + greeter.timeout);
    let shown = greeter.shown.load_full();
    let connecting = async { incoming.accept_with(shown.server.clone())?.await };
    let connection = match timeout_at(deadline, connecting).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            tls_failed(greeter, addr, error, Told::Here);
            return None;
        }
        Err(_) => {
            greeter.note(addr, &Refusal::TimedOut, Told::Here);
            return None;
        }
    };
    let meeting = Meeting { connection: &connection, own: &shown.own };
    let peer = greeter.answer(meeting, deadline).await.ok()?;
    match peer.purpose {
        Purpose::Link | Purpose::Moved => {
            open_up(&connection);
            return Some(Met::Accepted { connection, peer });
        }
        Purpose::Streams => {
            open_up(&connection);
            let accepted = hub.accept(peer.id, connection.clone());
            let refusal = accepted.err().or_else(|| is_barred(greeter, peer.id, &connection)); // since it was let in
            if let Some(refusal) = refusal {
                expel(greeter, &connection, &refusal);
            }
        }
        Purpose::Identify => {
            let _ = timeout_at(deadline, connection.closed()).await; // it has what it wanted
            connection.close(VarInt::from_u32(0), b"");
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(local: &str, addr: &str) -> String {
        let addr_of = |text: &str| text.parse().expect("an address");
        why_no_way(addr_of(local), addr_of(addr)).unwrap_or_default()
    }

    #[test]
    fn a_silent_connection_is_looked_after_less_often_than_a_neighbour_and_within_bounds() {
        let keep_alive = |probe_after_ms| Terms::new(1, probe_after_ms).keep_alive.as_millis();
        assert_eq!([0, 1_500, 2_000, u64::MAX].map(keep_alive), [7_500, 7_500, 10_000, 15_000]);
    }

    #[test]
    fn a_dial_that_cannot_leave_says_what_would_be_right() {
        let right = "listen at [::]:7400, which takes both, or give an IPv";
        assert!(why("127.0.0.1:7400", "[::1]:1").ends_with(&format!("127.0.0.1:7400: {right}4 address")));
        assert!(why("[2001:db8::1]:7400", "192.0.2.1:1").ends_with(&format!("{right}6 address")));
        assert!(
            why("127.0.0.1:7400", "192.0.2.1:1").contains("no packet leaves for it from 127.0.0.1:7400, ")
        );
        let everywhere = why("0.0.0.0:7400", "255.255.255.255:1");
        assert!(everywhere.starts_with("no packet leaves this machine for it: "), "{everywhere}");
        assert_eq!(why("127.0.0.1:7400", "127.0.0.1:1"), "");
    }
}
