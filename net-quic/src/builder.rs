//! How a node is started: everything that it needs, named once.

use crate::cluster::{Cluster, Inner};
use crate::connection::Arrivals;
use crate::driver::{Clocks, Driver, Inbox, Tools, WallClock, Writer, system_clock};
use crate::endpoint::{self, Gate, HALF_OPEN_MAX, Met, Room, Shown, Terms};
use crate::handshake::{Greeter, TIMEOUT};
use crate::hear::Hearers;
use crate::hello::{Cookie, NAME_LEN_MAX, is_name};
use crate::identity::{Identity, IdentityError};
use crate::published::Published;
use crate::record::FileRecorder;
use crate::request::{Forgotten, Request};
use crate::rotate::Keys;
use crate::store::{Store, StoreError};
use crate::timers::Timers;
use crate::trust::{Admission, Certificate, ERRANDS, Flaw, Gossip, Own, Refusal, StatementError, Trust};
use arc_swap::ArcSwap;
use quinn::{AsyncUdpSocket, Runtime as _, TokioRuntime};
use ring::digest::{SHA256, digest};
use rumormill_core::{Boot, Config, ConfigError, Contact, Incarnation, MapConfig, NodeId, Schema, Token};
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use zeroize::Zeroizing;

/// Requests of users that wait for the node.
const REQUESTS: usize = 1024;
/// Connections that are made, refused or failed, and that the node has not looked at.
const MET: usize = 64;
/// What connections have brought and the node has not looked at.
pub(crate) const ARRIVALS: usize = 1024;
/// The file of the key in a node's folder.
const KEY_FILE: &str = "node.key";
/// The file of the certificate in a node's folder.
const CERTIFICATE_FILE: &str = "node.certificate";

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// No secret was given.
    #[error("a node needs the cluster's secret: call .secret(\"…\") with the same words on every node")]
    NoSecret,
    /// Nodes are let in by an authority's certificates, and this one has none.
    #[error(
        "a node needs a certificate of the authority: call .certificate(…), or put it into the folder as {CERTIFICATE_FILE}"
    )]
    NoCertificate,
    /// The node's own certificate does not hold: no other node would let it in.
    #[error("the node's own certificate does not hold: {0}")]
    Certificate(Flaw),
    /// The file of the certificate cannot be read.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// The list of allowed keys is there and cannot be read.
    #[error(transparent)]
    Allowed(Refusal),
    /// The name cannot be used.
    #[error("the name {0:?} cannot be used: 1 to {NAME_LEN_MAX} letters, digits, -, _, . and @")]
    Name(String),
    /// The folder is another node's, by its name: others know its key under that one.
    #[error("the node in {} is called {first:?}, and others know it so: start it under that name, or give {name:?} a folder of its own", folder.display())]
    Renamed {
        /// The folder.
        folder: PathBuf,
        /// What the node was called when it was started first.
        first: String,
        /// What it was to be called.
        name: String,
    },
    /// Something that nothing could be called.
    #[error("{0} has no name")]
    Unnamed(&'static str),
    /// A map was declared twice.
    #[error("the map {0:?} is declared twice")]
    MapTwice(String),
    /// Nobody could ever come in.
    #[error("{0} is zero: nobody could ever come in; leave it out, or give more")]
    Zero(&'static str),
    /// More addresses are to be told to others than they take.
    #[error(
        "{count} addresses are advertised, and others take {} of them at most",
        rumormill_core::ADDRS_MAX
    )]
    ManyAddrs {
        /// How many.
        count: usize,
    },
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There is no identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// There is no store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// TLS takes no such configuration.
    #[error("TLS: {0}")]
    Tls(String),
    /// The socket cannot be opened.
    #[error("the socket cannot be opened: {0}")]
    Socket(io::Error),
    /// The address is taken, or not one of this machine.
    #[error("cannot listen at {addr}: {source}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// Nobody can be reached at the address of a seed, or at one that others are to be told.
    #[error(
        "{what} {addr}: nobody can be reached there; the address of one machine and a port are expected, for example 192.0.2.7:7400"
    )]
    Nowhere {
        /// `the seed` or `the advertised address`.
        what: &'static str,
        /// The address.
        addr: SocketAddr,
    },
    /// The recording cannot be written.
    #[error("cannot record to {}: {source}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Where everybody tells the driver something: the other ends of its [`Inbox`].
struct Ways {
    met: mpsc::Sender<Met>,
    requests: mpsc::Sender<Request>,
    forgotten: mpsc::UnboundedSender<Forgotten>,
    arrivals: Arrivals,
    stored: mpsc::UnboundedSender<(Token, bool)>,
}

impl Ways {
    fn new() -> (Self, Inbox) {
        let (met_to, met) = mpsc::channel(MET);
        let (requests_to, requests) = mpsc::channel(REQUESTS);
        let (forgotten_to, forgotten) = mpsc::unbounded_channel();
        let (arrivals_to, arrivals) = mpsc::channel(ARRIVALS);
        let (stored_to, stored) = mpsc::unbounded_channel();
        let ways = Self {
            met: met_to,
            requests: requests_to,
            forgotten: forgotten_to,
            arrivals: arrivals_to,
            stored: stored_to,
        };
        (ways, Inbox { met, requests, forgotten, arrivals, stored })
    }
}

/// Everything a node is started with. From [`Cluster::builder`].
pub struct Builder {
    cluster: String,
    secret: Option<Zeroizing<Vec<u8>>>,
    name: Option<String>,
    listen: SocketAddr,
    advertise: Vec<SocketAddr>,
    folder: Option<PathBuf>,
    identity: Option<Identity>,
    trust: Trust,
    certificate: Option<Certificate>,
    handshake: Duration,
    half_open_max: usize,
    seeds: Vec<SocketAddr>,
    config: Config,
    socket: Option<Arc<dyn AsyncUdpSocket>>,
    wall: WallClock,
    entropy: Option<[u8; 32]>,
    record: Option<PathBuf>,
}

impl Builder {
    pub(crate) fn new(cluster: &str) -> Self {
        let config =
            Config { members: true, registry: true, mailboxes: true, placement: true, ..Config::default() };
        Self {
            cluster: cluster.into(),
            secret: None,
            name: None,
            listen: SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0),
            advertise: Vec::new(),
            folder: None,
            identity: None,
            trust: Trust::default(),
            certificate: None,
            handshake: TIMEOUT,
            half_open_max: HALF_OPEN_MAX,
            seeds: Vec::new(),
            config,
            socket: None,
            wall: system_clock(),
            entropy: None,
            record: None,
        }
    }

    /// The words that every node of the cluster knows, and nobody else.
    #[must_use]
    pub fn secret(mut self, secret: impl AsRef<[u8]>) -> Self {
        self.secret = Some(Zeroizing::new(secret.as_ref().to_vec()));
        self
    }

    /// What the node is called, by people and in logs; one to one with its key. Otherwise `node-` and the beginning of
    /// its key.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Where the node listens; otherwise on every IPv4 address, at a port that the system chooses.
    #[must_use]
    pub fn listen(mut self, addr: SocketAddr) -> Self {
        self.listen = addr;
        self
    }

    /// Where others reach the node, where that is not where it listens. Can be said up to four times.
    #[must_use]
    pub fn advertise(mut self, addr: SocketAddr) -> Self {
        self.advertise.push(addr);
        self
    }

    /// The folder that the node keeps its key, pins and marks in; made where it is missing. Without one the node is a
    /// new one each time.
    #[must_use]
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// The key of the node, where it does not come from its folder.
    #[must_use]
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Whom the node lets in.
    #[must_use]
    pub fn trust(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
    }

    /// The authority's word for this node's key and name, for [`Trust::Authority`]. Otherwise it is read from the node's
    /// folder, out of `node.certificate`. A node that is given no name takes the certificate's.
    #[must_use]
    pub fn certificate(mut self, certificate: Certificate) -> Self {
        self.certificate = Some(certificate);
        self
    }

    /// How long a peer may take to show who it is; otherwise five seconds.
    #[must_use]
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake = timeout;
        self
    }

    /// How many handshakes that others begin may be under way; otherwise 256. Above a quarter of them, whoever begins
    /// another must prove its address first.
    #[must_use]
    pub fn half_open_max(mut self, count: usize) -> Self {
        self.half_open_max = count;
        self
    }

    /// Nodes to come in through: tried again, ever more rarely, until one of them answers. The node's own address among
    /// them is passed over, so that every node may be given the same list; without any, the node is the first.
    #[must_use]
    pub fn seeds(mut self, seeds: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.seeds.extend(seeds);
        self
    }

    /// Hosts a replicated map from the start.
    #[must_use]
    pub fn map(mut self, name: impl Into<String>) -> Self {
        self.config.maps.push(MapConfig { name: name.into(), schema: 0 });
        self
    }

    /// Hosts a replicated map whose values a schema judges: here, and wherever they come from.
    #[must_use]
    pub fn map_with(mut self, name: impl Into<String>, schema: Schema) -> Self {
        self.config.maps.push(MapConfig { name: name.into(), schema: schema.id });
        self.config.schemas.push(schema);
        self
    }

    /// Turns numbers of the core's configuration. [`Config::tune_for_lan`] and [`Config::tune_for_idle`] turn several of them for a
    /// purpose.
    #[must_use]
    pub fn configure(mut self, turn: impl FnOnce(&mut Config)) -> Self {
        turn(&mut self.config);
        self
    }

    /// The socket that packets go through: a relay, a tunnel, a simulation. `listen` is not looked at then.
    #[must_use]
    pub fn socket(mut self, socket: Arc<dyn AsyncUdpSocket>) -> Self {
        self.socket = Some(socket);
        self
    }

    /// Where the time of day comes from: milliseconds since the Unix epoch.
    #[must_use]
    pub fn wall_clock(mut self, wall: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.wall = Arc::new(wall);
        self
    }

    /// Where the node's draws come from, instead of the system: for simulations that must repeat.
    #[must_use]
    pub fn entropy(mut self, seed: [u8; 32]) -> Self {
        self.entropy = Some(seed);
        self
    }

    /// Records every input of the node to a file that the simulator replays, step by step, to the same hash.
    #[must_use]
    pub fn record(mut self, path: impl Into<PathBuf>) -> Self {
        self.record = Some(path.into());
        self
    }

    /// Starts the node on the current tokio runtime. It runs until [`Cluster::shutdown`], or until the last handle is
    /// dropped.
    ///
    /// # Errors
    /// [`BuildError`] says what is missing or cannot be had.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn start(mut self) -> Result<Cluster, BuildError> {
        let secret = self.take_secret()?;
        self.check()?;
        let (identity, file) = self.take_identity()?;
        let id = identity.node_id();
        let certificate = self.take_certificate()?;
        let (name, process) = (self.take_name(id, certificate.as_ref())?, self.number_of_process()?);
        let store = self.folder.as_deref().map_or_else(Store::in_memory, Store::open)?;
        let own = Own::new(&identity, &name, &self.cluster, certificate);
        let (errands_to, errands) = mpsc::channel(ERRANDS);
        let gossip = Gossip::new(errands_to);
        let expel = gossip.expelling();
        let (trust, wall, kept) = (self.trust.clone(), self.wall.clone(), store.clone());
        let admission = Arc::new(Admission::new(trust, own, kept, wall, gossip.clone())?);
        let socket = self.open_socket()?;
        let local = socket.local_addr().map_err(BuildError::Socket)?;
        let addrs = reachable_at(&self.advertise, local, elsewhere(&self.seeds));
        self.warn_of_loopback(&addrs);
        let terms = Terms::new(self.half_open_max, self.config.probe_after_ms);
        let shown = Shown::new(&identity, &self.cluster, terms, admission.own())?;
        // A run that repeats lives in the time of a simulation, which tokio keeps.
        let timers = if self.entropy.is_some() { Timers::Tokio } else { Timers::of_system() };
        let endpoint = endpoint::open(&shown, &store, socket, timers.clone(), self.entropy)?;
        self.check_first_name(&store, id, &name)?;
        let contact = Arc::new(Mutex::new(Contact::new(id, Incarnation(0), &addrs)));
        let cookie = Cookie::new(&secret, &self.cluster);
        let (timeout, judge, shown) = (self.handshake, admission.clone(), ArcSwap::from_pointee(shown));
        let greeter = Greeter { contact: contact.clone(), cookie, process, admission: judge, shown, timeout };
        let mail_len_max = self.config.mail_len_max;
        let boot = self.boot(id, addrs, &store)?;
        let (ways, inbox) = Ways::new();
        let writer = Writer::new(store, ways.stored).map_err(BuildError::Socket)?;
        let recorder = self.record.take().map(FileRecorder::create).transpose()?;
        // The node first: HELLOs must not go out before it knows which life this is.
        let (greeter, room) = (Arc::new(greeter), Room::new(self.half_open_max));
        let gate = Arc::new(Gate::new(endpoint, greeter, ways.met, room, local));
        let published = Arc::new(Published::default());
        let tools = Tools {
            published: published.clone(),
            gate: gate.clone(),
            timers,
            arrivals: ways.arrivals,
            writer,
            contact,
            recorder,
            gossip,
            hold_mail: watch::Sender::new(false),
            hold_topics: watch::Sender::new(false),
        };
        let driver = Driver::new(boot, Clocks::new(self.wall.clone()), tools, Hearers::default());
        gate.open();
        tokio::spawn(driver.run(inbox));
        tokio::spawn(Gossip::run(errands, expel, Arc::downgrade(&admission), ways.requests.downgrade()));
        let inner = Inner {
            requests: ways.requests,
            forgotten: ways.forgotten,
            published,
            gate,
            admission,
            seeds: Mutex::default(),
            moving: tokio::sync::Mutex::default(),
            keys: tokio::sync::Mutex::new(Keys { identity, file, cluster: self.cluster, terms }),
            mail_len_max,
            id,
            name,
        };
        let cluster = Cluster::new(inner);
        cluster.join_seeds(std::mem::take(&mut self.seeds));
        Ok(cluster)
    }

    /// Takes the secret; a node that checks nobody says so, loudly, and needs none.
    fn take_secret(&mut self) -> Result<Zeroizing<Vec<u8>>, BuildError> {
        if self.trust.is_on() {
            return self.secret.take().filter(|secret| !secret.is_empty()).ok_or(BuildError::NoSecret);
        }
        tracing::warn!(
            cluster = self.cluster,
            "auth is OFF: whoever reaches this node is let in, under any name"
        );
        Ok(self.secret.take().unwrap_or_default())
    }

    fn take_certificate(&mut self) -> Result<Option<Certificate>, BuildError> {
        let path = self.folder.as_deref().map(|folder| folder.join(CERTIFICATE_FILE));
        match (self.certificate.take(), &self.trust, path) {
            (None, Trust::Authority { .. }, Some(path)) if path.exists() => {
                Ok(Some(Certificate::load(&path)?))
            }
            (given, _, _) => Ok(given),
        }
    }

    fn take_name(&mut self, id: NodeId, certificate: Option<&Certificate>) -> Result<String, BuildError> {
        let certified = certificate.map(|certificate| certificate.name().to_string());
        let name = self.name.take().or(certified);
        let name = name.unwrap_or_else(|| format!("node-{}", &id.to_string()[..8]));
        if is_name(&name) { Ok(name) } else { Err(BuildError::Name(name)) }
    }

    /// Whoever starts in a folder is who started there first: others have pinned its key and its name.
    fn check_first_name(&self, store: &Store, id: NodeId, name: &str) -> Result<(), BuildError> {
        let first = store.first_name(&id, name)?;
        match &self.folder {
            Some(folder) if first != name => {
                Err(BuildError::Renamed { folder: folder.clone(), first, name: name.into() })
            }
            _ => Ok(()),
        }
    }

    /// Takes the identity, and its file where it has one.
    fn take_identity(&mut self) -> Result<(Identity, Option<PathBuf>), IdentityError> {
        match (self.identity.take(), &self.folder) {
            (Some(identity), _) => Ok((identity, None)),
            (None, Some(folder)) => {
                let file = folder.join(KEY_FILE);
                warn_of_lost_store(folder, &file);
                Ok((Identity::load_or_create(&file)?, Some(file)))
            }
            (None, None) => Ok((Identity::generate()?, None)),
        }
    }

    /// Numbers this process, so that another one with a copy of its folder is told apart from it.
    fn number_of_process(&self) -> Result<NonZeroU32, IdentityError> {
        let mut number = [0; 4];
        match self.entropy {
            Some(entropy) => number.copy_from_slice(&digest(&SHA256, &entropy).as_ref()[..4]),
            None => getrandom::fill(&mut number).map_err(IdentityError::Entropy)?,
        }
        Ok(NonZeroU32::new(u32::from_le_bytes(number)).unwrap_or(NonZeroU32::MIN))
    }

    fn boot(&mut self, id: NodeId, addrs: Vec<SocketAddr>, store: &Store) -> Result<Boot, BuildError> {
        let mut seed = [0; 32];
        match self.entropy {
            Some(entropy) => seed = entropy,
            None => getrandom::fill(&mut seed).map_err(IdentityError::Entropy)?,
        }
        let config = Arc::new(std::mem::take(&mut self.config));
        Ok(Boot { id, addrs, config, seed, recovered: store.rows()? })
    }

    fn open_socket(&mut self) -> Result<Arc<dyn AsyncUdpSocket>, BuildError> {
        if let Some(socket) = self.socket.take() {
            return Ok(socket);
        }
        let addr = self.listen;
        bind(addr).map_err(|source| BuildError::Listen { addr, source })
    }

    /// A node that others cannot reach says so, loudly: they would find it dead.
    fn warn_of_loopback(&self, addrs: &[SocketAddr]) {
        if let (Some(seed), true) = (elsewhere(&self.seeds), addrs.iter().all(|addr| addr.ip().is_loopback()))
        {
            tracing::warn!(
                %seed,
                told = ?addrs,
                "only this machine reaches this node, and a seed is elsewhere: listen at 0.0.0.0, or advertise an address"
            );
        }
    }

    /// Looks for a cluster or a map that is called nothing, and for maps that are called alike.
    fn check_names(&self) -> Result<(), BuildError> {
        if self.cluster.is_empty() {
            return Err(BuildError::Unnamed("the cluster"));
        }
        let mut names = BTreeSet::new();
        for map in &self.config.maps {
            if map.name.is_empty() {
                return Err(BuildError::Unnamed("a map"));
            }
            if !names.insert(&map.name) {
                return Err(BuildError::MapTwice(map.name.clone()));
            }
        }
        Ok(())
    }

    /// Looks for mistakes that would show only later.
    fn check(&self) -> Result<(), BuildError> {
        self.config.validate()?;
        self.check_names()?;
        for (what, is_zero) in [
            ("the time for a handshake", self.handshake.is_zero()),
            ("the number of handshakes under way", self.half_open_max == 0),
        ] {
            if is_zero {
                return Err(BuildError::Zero(what));
            }
        }
        if self.advertise.len() > rumormill_core::ADDRS_MAX {
            return Err(BuildError::ManyAddrs { count: self.advertise.len() });
        }
        for (what, addrs) in [("the seed", &self.seeds), ("the advertised address", &self.advertise)] {
            if let Some(addr) = addrs.iter().copied().find(is_nowhere) {
                return Err(BuildError::Nowhere { what, addr });
            }
        }
        self.trust.check().map_err(BuildError::Allowed)
    }
}

/// A key whose store is gone says so: whom the node trusted and revoked is forgotten.
fn warn_of_lost_store(folder: &Path, key: &Path) {
    if key.exists() && Store::is_missing(folder) {
        tracing::warn!(
            folder = %folder.display(),
            "there is a key and no store beside it: pins, rotations and revocations that this node had are forgotten; restore a backup of the whole folder if there is one"
        );
    }
}

/// Opens a socket.
pub(crate) fn bind(addr: SocketAddr) -> io::Result<Arc<dyn AsyncUdpSocket>> {
    TokioRuntime.wrap_udp_socket(UdpSocket::bind(addr)?)
}

/// Tells an address at which there is nobody, or not one node.
pub(crate) fn is_nowhere(addr: &SocketAddr) -> bool {
    let ip = addr.ip().to_canonical();
    let is_broadcast = ip == Ipv4Addr::BROADCAST;
    addr.port() == 0 || ip.is_unspecified() || ip.is_multicast() || is_broadcast
}

/// Finds a seed that is not on this machine, as far as its address tells.
fn elsewhere(seeds: &[SocketAddr]) -> Option<SocketAddr> {
    seeds.iter().find(|seed| !seed.ip().is_loopback()).copied()
}

/// Tells where others reach a node: where it says, or where it listens, or from where it would send to somebody.
pub(crate) fn reachable_at(
    advertised: &[SocketAddr],
    local: SocketAddr,
    towards: Option<SocketAddr>,
) -> Vec<SocketAddr> {
    if !advertised.is_empty() {
        return advertised.iter().copied().take(rumormill_core::ADDRS_MAX).collect();
    }
    if !local.ip().is_unspecified() {
        return vec![local];
    }
    vec![SocketAddr::new(outgoing(towards, local.is_ipv6()), local.port())]
}

/// Tells which address of this machine packets would leave from; nothing is sent.
fn outgoing(towards: Option<SocketAddr>, is_ipv6: bool) -> IpAddr {
    let (any, somewhere): (IpAddr, SocketAddr) = if is_ipv6 {
        (
            Ipv6Addr::UNSPECIFIED.into(),
            SocketAddr::new(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(), 9),
        )
    } else {
        (Ipv4Addr::UNSPECIFIED.into(), SocketAddr::new(Ipv4Addr::new(192, 0, 2, 1).into(), 9)) // RFC 5737
    };
    let routed = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect(towards.unwrap_or(somewhere))?;
        socket.local_addr()
    });
    let loopback = if is_ipv6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
    routed.map_or(loopback, |addr| addr.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[tokio::test]
    async fn what_would_show_only_later_is_refused() {
        let builder = || Cluster::builder("test").secret("words").listen(addr("127.0.0.1:0"));
        let why = async |builder: Builder| builder.start().await.err().expect("refused").to_string();
        let many = (1..6).fold(builder(), |builder, port| builder.advertise(([127, 0, 0, 1], port).into()));
        for (builder, expected) in [
            (Cluster::builder("").secret("words"), "the cluster has no name"),
            (builder().map(""), "a map has no name"),
            (builder().map("flags").map("flags"), "the map \"flags\" is declared twice"),
            (builder().handshake_timeout(Duration::ZERO), "the time for a handshake is zero"),
            (builder().half_open_max(0), "the number of handshakes under way is zero"),
            (many, "5 addresses are advertised, and others take 4 of them at most"),
            (builder().seeds([addr("127.0.0.1:0")]), "the seed 127.0.0.1:0: nobody can be reached there"),
        ] {
            let why = why(builder).await;
            assert!(why.starts_with(expected), "{why}");
        }
    }

    #[test]
    fn nobody_is_at_an_address_that_is_not_one_nodes() {
        let nowhere =
            ["127.0.0.1:0", "0.0.0.0:1", "[::]:1", "224.0.0.1:1", "[ff02::1]:1", "255.255.255.255:1"];
        let nowhere = [&nowhere[..], &["[::ffff:0.0.0.0]:1"]].concat();
        for text in nowhere {
            assert!(is_nowhere(&addr(text)), "{text}");
        }
        for text in ["127.0.0.1:1", "192.0.2.255:1", "[::1]:1", "[fe80::1]:65535"] {
            assert!(!is_nowhere(&addr(text)), "{text}");
        }
    }

    #[test]
    fn loopback_is_told_to_nobody_who_is_elsewhere() {
        let (seeds, local) = ([addr("127.0.0.1:1"), addr("192.0.2.7:1")], addr("0.0.0.0:7"));
        assert_eq!(elsewhere(&seeds), Some(seeds[1]));
        assert_eq!(elsewhere(&seeds[..1]), None);
        let somewhere = outgoing(None, false); // loopback only where this machine has nothing else
        assert_eq!(reachable_at(&[], local, elsewhere(&seeds[..1])), [SocketAddr::new(somewhere, 7)]);
        assert_eq!(reachable_at(&[], addr("127.0.0.1:7"), None), [addr("127.0.0.1:7")], "as it was asked to");
        assert_eq!(reachable_at(&[addr("192.0.2.9:7")], local, None), [addr("192.0.2.9:7")]);
    }
}
