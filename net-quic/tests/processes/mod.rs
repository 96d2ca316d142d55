//! Nodes that are processes of their own: a test starts itself again for each.
//!
//! What a process knows it prints, a line for each thing; times are taken where lines are read.
#![allow(dead_code, reason = "each test uses its part")]

use rumormill_net_quic::core::{Event, News, Service};
use rumormill_net_quic::{Cluster, Offer, ServiceExt as _};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// What makes a process a node: its folder, where it listens, its service and its seeds, with commas between them.
const IS_NODE: &str = "RUMORMILL_TEST_PROCESS";
/// How long anything may take that has no bound of its own.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// What a process has said so far.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) id: String,
    /// Its neighbours.
    pub(crate) neighbors: BTreeSet<String>,
    /// The services in its directory, and since when.
    pub(crate) services: BTreeMap<String, Instant>,
    /// The services that went with their owners, and when it said so.
    pub(crate) down: BTreeMap<String, Instant>,
    pub(crate) is_ready: bool,
}

impl Told {
    fn note(&mut self, at: Instant, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "id" => self.id = rest.into(),
            "neighbor" => drop(self.neighbors.insert(rest.into())),
            "alone" => drop(self.neighbors.remove(rest)),
            "service" => drop(self.services.entry(rest.into()).or_insert(at)),
            "withdrawn" => drop(self.services.remove(rest)),
            "down" => {
                self.services.remove(rest);
                self.down.insert(rest.into(), at);
            }
            "ready" => self.is_ready = true,
            _ => {} // what a test prints around its own
        }
    }
}

/// A process that is a node.
pub(crate) struct Process {
    child: Child,
    pub(crate) addr: SocketAddr,
    /// The service that it begins with is called like its life.
    pub(crate) service: String,
    life: usize,
    pub(crate) told: Told,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    /// Lets a node offer another service.
    pub(crate) fn offer(&mut self, service: &str) {
        let stdin = self.child.stdin.as_mut().expect("piped");
        stdin.write_all(format!("{service}\n").as_bytes()).expect("it listens");
    }
}

/// Nodes, by their numbers.
pub(crate) type Nodes = BTreeMap<usize, Process>;

/// Processes that are nodes of one cluster.
pub(crate) struct Processes {
    home: tempfile::TempDir,
    /// The test that they run.
    test: &'static str,
    /// Where nodes listen, by their numbers.
    addrs: Vec<SocketAddr>,
    /// What runs a node's process, where that is needed.
    wrappers: Vec<Vec<String>>,
    pub(crate) nodes: Nodes,
    lives: usize,
    lines: Receiver<(usize, Instant, String)>,
    says: Sender<(usize, Instant, String)>,
}

impl Processes {
    /// Starts nodes at these addresses, all at once, and waits until all know all.
    pub(crate) fn start(test: &'static str, addrs: Vec<SocketAddr>, wrappers: Vec<Vec<String>>) -> Self {
        let home = tempfile::tempdir().expect("a folder");
        let (says, lines) = channel();
        let count = addrs.len();
        let mut cluster = Self { home, test, addrs, wrappers, nodes: BTreeMap::new(), lives: 0, lines, says };
        (0..count).for_each(|number| cluster.spawn(number));
        cluster.until(SOON, "all to know all", |nodes| {
            let whole = |it: &Told| it.is_ready && it.services.len() == count && !it.neighbors.is_empty();
            nodes.values().all(|it| whole(&it.told))
        });
        cluster
    }

    /// The folder of a node.
    pub(crate) fn folder(&self, number: usize) -> PathBuf {
        self.home.path().join(format!("node-{number}"))
    }

    /// Starts a node.
    pub(crate) fn spawn(&mut self, number: usize) {
        self.lives += 1;
        let (life, addr) = (self.lives, self.addrs[number]);
        let (service, folder) = (format!("life-{life}"), self.folder(number));
        // On a network of its own a node listens at every address that its host has and will have.
        let ip = if self.wrappers.is_empty() { addr.ip() } else { Ipv4Addr::UNSPECIFIED.into() };
        let mut spec = format!("{},{},{service}", folder.display(), SocketAddr::new(ip, addr.port()));
        self.addrs.iter().for_each(|seed| write!(spec, ",{seed}").expect("a text grows"));
        let own = std::env::current_exe().expect("this test");
        let mut command = self.command(number, &own);
        command.args(["--exact", self.test, "--nocapture"]);
        command.env(IS_NODE, spec).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("started");
        let (said, says) = (child.stdout.take().expect("piped"), self.says.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(said).lines().map_while(Result::ok) {
                if says.send((life, Instant::now(), line)).is_err() {
                    return;
                }
            }
        });
        self.nodes.insert(number, Process { child, addr, service, life, told: Told::default() });
    }

    fn command(&self, number: usize, own: &Path) -> Command {
        match self.wrappers.get(number).map(Vec::as_slice) {
            Some([program, args @ ..]) => {
                let mut command = Command::new(program);
                command.args(args).arg(own);
                command
            }
            _ => Command::new(own),
        }
    }

    /// Waits until something holds of what the processes have said.
    pub(crate) fn until(&mut self, time: Duration, what: &str, holds: impl Fn(&Nodes) -> bool) {
        let deadline = Instant::now() + time;
        while !holds(&self.nodes) {
            assert!(self.listen(deadline), "waited {time:?} for {what}; {}", self.shown());
        }
    }

    /// Listens for as long, and asserts that something holds all the time.
    pub(crate) fn throughout(&mut self, time: Duration, what: &str, holds: impl Fn(&Nodes) -> bool) {
        let deadline = Instant::now() + time;
        loop {
            assert!(holds(&self.nodes), "{what} does not hold; {}", self.shown());
            if !self.listen(deadline) {
                return;
            }
        }
    }

    /// Takes note of the next line; tells whether there was one in time.
    fn listen(&mut self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok((life, at, line)) = self.lines.recv_timeout(left) else { return false };
        if let Some(node) = self.nodes.values_mut().find(|node| node.life == life) {
            node.told.note(at, &line);
        }
        true
    }

    fn shown(&self) -> String {
        let shown = |(number, node): (&usize, &Process)| {
            let Told { neighbors, services, down, .. } = &node.told;
            let (services, down): (Vec<_>, Vec<_>) = (services.keys().collect(), down.keys().collect());
            let addr = node.addr;
            format!(
                "node {number} at {addr} has {} neighbors, sees {services:?}, missed {down:?}",
                neighbors.len()
            )
        };
        self.nodes.iter().map(shown).collect::<Vec<_>>().join("; ")
    }

    /// Kills a process; tells when, and what its service was called.
    pub(crate) fn kill(&mut self, number: usize) -> (Instant, String) {
        let mut node = self.nodes.remove(&number).expect("it runs");
        let killed_at = Instant::now();
        node.child.kill().expect("killed");
        node.child.wait().expect("gone");
        (killed_at, node.service.clone())
    }
}

/// In a process that [`Processes`] has started: runs the node until the test ends, then tells so.
pub(crate) fn is_node() -> bool {
    let spec = std::env::var(IS_NODE);
    spec.iter().for_each(|spec| be_a_node(spec));
    spec.is_ok()
}

/// Runs a node until the test that started it ends.
fn be_a_node(spec: &str) {
    let parts: Vec<&str> = spec.split(',').collect();
    let [folder, listen, service, seeds @ ..] = &parts[..] else { panic!("no node: {spec}") };
    let seeds: Vec<SocketAddr> = seeds.iter().map(|seed| seed.parse().expect("an address")).collect();
    let builder = Cluster::builder("processes").secret("processes").folder(folder).seeds(seeds);
    let builder = builder.listen(listen.parse().expect("an address"));
    println!(); // the test harness may have begun a line
    let (offers, mut offered) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for service in std::io::stdin().lines().map_while(Result::ok) {
            let _ = offers.send(service);
        }
        std::process::exit(1); // whoever started it has ended
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let node = builder.start().await.expect("started");
        println!("id {}", node.id());
        let mut events = node.events().await.expect("running");
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                match event {
                    Event::NeighborUp { peer } => println!("neighbor {peer}"),
                    Event::NeighborDown { peer, .. } => println!("alone {peer}"),
                    _ => {}
                }
            }
        });
        let mut services = node.watch_services(&()).await.expect("watching");
        node.register(*service, Offer::new()).await.expect("registered");
        println!("ready");
        let offering = node.clone();
        tokio::spawn(async move {
            while let Some(service) = offered.recv().await {
                offering.register(&service, Offer::new()).await.expect("registered");
            }
        });
        while let Some(news) = services.recv().await {
            tell(news);
        }
    });
}

fn tell(news: News) {
    let name = |service: Service| service.name_as::<String>().expect("a text");
    match news {
        News::Services(services) => services.into_iter().for_each(|it| println!("service {}", name(it))),
        News::Registered(service) => println!("service {}", name(service)),
        News::Unregistered(service) => println!("withdrawn {}", name(service)),
        News::Down { service, .. } => println!("down {}", name(service)),
        _ => {}
    }
}
