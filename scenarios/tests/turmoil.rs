//! The unmodified runtime on simulated UDP: what speaks QUIC on real networks meets, finds services and outlives a cut in
//! virtual time, and does so packet by packet alike for one seed.
//!
//! Keys of TLS are random in each run, so a trace holds when which packet of what length went from where to where.

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use rumormill_core::hash::hash_bytes;
use rumormill_net_quic::core::{News, Service};
use rumormill_net_quic::{Cluster, Identity, Offer, ServiceExt as _};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, UNIX_EPOCH};
use turmoil::Sim;
use turmoil::net::UdpSocket;

const PORT: u16 = 7_000;
/// The longest packet: QUIC over a link of Ethernet's size.
const PACKET_MAX: usize = 1_500;
/// Packets that wait at a host: none is lost for want of room.
const ROOM: usize = 65_536;
/// How long anything may take, in virtual time.
const SOON: Duration = Duration::from_secs(60);
/// The service of a host is its number.
type Directory = BTreeSet<u16>;

// --- the socket

type Receiving = Pin<Box<dyn Future<Output = io::Result<(Vec<u8>, SocketAddr)>> + Send>>;

/// A simulated socket as quinn wants it.
struct SimulatedSocket {
    socket: Arc<UdpSocket>,
    host: u16,
    receiving: Mutex<Option<Receiving>>,
    trace: Arc<Mutex<Trace>>,
}

impl fmt::Debug for SimulatedSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SimulatedSocket").field(&self.host).finish()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// It can always be written.
#[derive(Debug)]
struct Writable;

impl UdpPoller for Writable {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

async fn receive(socket: Arc<UdpSocket>) -> io::Result<(Vec<u8>, SocketAddr)> {
    let mut packet = vec![0; PACKET_MAX];
    let (len, from) = socket.recv_from(&mut packet).await?;
    packet.truncate(len);
    Ok((packet, from))
}

impl AsyncUdpSocket for SimulatedSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Writable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        for packet in transmit.contents.chunks(transmit.segment_size.unwrap_or(PACKET_MAX)) {
            let at = turmoil::sim_elapsed().unwrap_or_default();
            let to = transmit.destination.ip();
            locked(&self.trace).note(at, self.host, to, packet.len());
            // A packet that cannot go out is lost: an error would end the connection's task.
            let _ = self.socket.try_send_to(packet, transmit.destination);
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut slot = locked(&self.receiving);
        let receiving = slot.get_or_insert_with(|| Box::pin(receive(self.socket.clone())));
        let Poll::Ready(received) = receiving.as_mut().poll(cx) else { return Poll::Pending };
        *slot = None;
        let (packet, addr) = received?;
        let len = packet.len();
        bufs[0][..len].copy_from_slice(&packet);
        meta[0] = RecvMeta { addr, len, stride: len, ecn: None, dst_ip: None };
        Poll::Ready(Ok(1))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

// --- what is seen of a run

/// Every packet that was sent, folded into one hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Trace {
    hash: u64,
    packets: u64,
}

impl Trace {
    fn note(&mut self, at: Duration, from: u16, to: IpAddr, len: usize) {
        let packet = format!("{:016x} {} {from} {to} {len}", self.hash, at.as_nanos());
        self.hash = hash_bytes(packet.as_bytes());
        self.packets += 1;
    }
}

/// What every host's directory holds.
type Directories = Arc<Mutex<BTreeMap<u16, Directory>>>;

fn note(directory: &mut Directory, news: News) {
    let number = |service: &Service| service.name_as::<u16>().expect("a number");
    match news {
        News::Services(services) => *directory = services.iter().map(number).collect(),
        News::Registered(service) => drop(directory.insert(number(&service))),
        News::Unregistered(service) | News::Down { service, .. } => drop(directory.remove(&number(&service))),
        _ => {}
    }
}

// --- the world

struct World {
    sim: Sim<'static>,
    hosts: u16,
    directories: Directories,
    trace: Arc<Mutex<Trace>>,
}

fn name(host: u16) -> String {
    format!("host-{host}")
}

impl World {
    /// Starts hosts that come in through the first three.
    fn new(hosts: u16, seed: u64, tick: Duration) -> Self {
        let mut sim = turmoil::Builder::new()
            .rng_seed(seed)
            .epoch(UNIX_EPOCH + Duration::from_secs(1_800_000_000))
            .simulation_duration(10 * SOON)
            .tick_duration(tick)
            .min_message_latency(Duration::from_millis(5))
            .max_message_latency(Duration::from_millis(25))
            .udp_capacity(ROOM)
            .build();
        let (directories, trace) = (Directories::default(), Arc::<Mutex<Trace>>::default());
        let addrs: Vec<SocketAddr> =
            (0..hosts).map(|host| SocketAddr::new(sim.lookup(name(host)), PORT)).collect();
        for host in 0..hosts {
            let (directories, trace, addrs) = (directories.clone(), trace.clone(), addrs.clone());
            sim.host(name(host), move || {
                run_host(host, seed, addrs.clone(), directories.clone(), trace.clone())
            });
        }
        Self { sim, hosts, directories, trace }
    }

    /// Lets time pass until every host's directory is what it should be.
    fn until(&mut self, what: &str, expected: impl Fn(u16) -> Directory) {
        let deadline = self.sim.elapsed() + SOON;
        let holds = |directories: &BTreeMap<u16, Directory>, hosts: u16| {
            (0..hosts).all(|host| directories.get(&host).is_some_and(|it| *it == expected(host)))
        };
        while !holds(&locked(&self.directories), self.hosts) {
            assert!(self.sim.elapsed() < deadline, "waited for {what}: {:?}", locked(&self.directories));
            self.sim.step().expect("a host failed");
        }
    }

    fn trace(&self) -> Trace {
        *locked(&self.trace)
    }
}

async fn run_host(
    host: u16,
    seed: u64,
    addrs: Vec<SocketAddr>,
    directories: Directories,
    trace: Arc<Mutex<Trace>>,
) -> turmoil::Result {
    let socket = Arc::new(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?);
    let socket = SimulatedSocket { socket, host, receiving: Mutex::default(), trace };
    let mut secret = [0; 32];
    secret[..8].copy_from_slice(&seed.to_le_bytes());
    secret[8..10].copy_from_slice(&host.to_le_bytes());
    let node = Cluster::builder("turmoil")
        .secret("turmoil")
        .name(name(host))
        .identity(Identity::from_secret(&secret))
        .entropy(secret)
        .wall_clock(|| turmoil::since_epoch().unwrap_or_default().as_millis() as u64)
        .socket(Arc::new(socket))
        .advertise(addrs[usize::from(host)])
        .seeds(addrs.iter().take(3).copied())
        .start()
        .await?;
    let mut services = node.watch_services(&()).await?;
    node.register(&host, Offer::new()).await?;
    while let Some(news) = services.recv().await {
        note(locked(&directories).entry(host).or_default(), news);
    }
    Ok(())
}

/// Hosts meet, are cut into two, and meet again.
fn cut_and_heal(hosts: u16, seed: u64, tick: Duration) -> Trace {
    let mut world = World::new(hosts, seed, tick);
    world.until("all to find all", |_| (0..hosts).collect());
    let half = hosts / 2;
    let (left, right): (Vec<String>, Vec<String>) =
        ((0..half).map(name).collect(), (half..hosts).map(name).collect());
    left.iter()
        .for_each(|one| right.iter().for_each(|other| world.sim.partition(one.as_str(), other.as_str())));
    world.until("each half to lose the other", |host| {
        if host < half { (0..half).collect() } else { (half..hosts).collect() }
    });
    left.iter().for_each(|one| right.iter().for_each(|other| world.sim.repair(one.as_str(), other.as_str())));
    world.until("the halves to meet", |_| (0..hosts).collect());
    world.trace()
}

// --- the tests

/// Makes a process that a test starts print the trace of one run.
const PRINTS: &str = "RUMORMILL_TEST_TURMOIL";

fn five(seed: u64) -> Trace {
    cut_and_heal(5, seed, Duration::from_millis(1))
}

#[test]
fn a_seed_gives_the_same_packets_in_every_run_and_process() {
    if let Ok(seed) = std::env::var(PRINTS) {
        return println!("\ntrace {:?}", five(seed.parse().expect("a seed")));
    }
    let trace = five(1);
    assert!(trace.packets > 1_000, "{trace:?}");
    assert_eq!(five(1), trace, "in one process");
    let mut command = Command::new(std::env::current_exe().expect("this test"));
    command.args(["--exact", "a_seed_gives_the_same_packets_in_every_run_and_process", "--nocapture"]);
    let printed = command.env(PRINTS, "1").output().expect("started").stdout;
    let printed = String::from_utf8_lossy(&printed);
    assert!(printed.contains(&format!("\ntrace {trace:?}\n")), "another process: {printed}, here {trace:?}");
    assert_ne!(five(2), trace, "of another seed");
}

#[test]
fn thirty_hosts_meet_and_outlive_a_cut() {
    let trace = cut_and_heal(30, 7, Duration::from_millis(5));
    assert!(trace.packets > 10_000, "{trace:?}");
}
