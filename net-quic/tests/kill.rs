//! Real processes on loopback that are killed with SIGKILL: how soon a node is out of the others' directories, with an
//! event, and how soon it is back in overlay and directory when it is started again.
//!
//! `RUMORMILL_KILL_ROUNDS` says how many rounds; `--nocapture` shows the table.

mod processes;

use processes::{Nodes, Processes, SOON};
use std::fmt::Write as _;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

/// How many rounds there are, where not so many as there are kinds of rounds.
const ROUNDS: &str = "RUMORMILL_KILL_ROUNDS";
const NODES: usize = 5;
/// A node that stays away is out of every directory within this time, with an event.
const OUT: Duration = Duration::from_secs(5);
/// A node that returns is back within this time.
const BACK: Duration = Duration::from_secs(3);

/// Finds a free address for each node.
fn loopback() -> Vec<std::net::SocketAddr> {
    let socket = |_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let sockets: Vec<_> = (0..NODES).map(socket).collect();
    sockets.iter().map(|socket| socket.local_addr().expect("bound")).collect()
}

#[test]
fn a_killed_process_is_out_soon_and_back_soon() {
    if processes::is_node() {
        return;
    }
    let rounds =
        std::env::var(ROUNDS).map_or(KINDS.len(), |rounds| rounds.parse().expect("a number of rounds"));
    let mut cluster = Processes::start("a_killed_process_is_out_soon_and_back_soon", loopback(), Vec::new());
    let mut times = Vec::new();
    for round in 0..rounds {
        // Each node in turn; after five rounds of one kind each node has been killed in each way.
        let (kind, number) =
            (KINDS[round % KINDS.len()], (round / KINDS.len() + round % KINDS.len()) % NODES);
        times.push((kind, round_of(&mut cluster, kind, number)));
    }
    println!("{}", table(&times));
    let late = times.iter().filter(|(_, (out, back))| *out > OUT || *back > BACK).count();
    assert_eq!(late, 0, "of {rounds} rounds\n{}", table(&times));
}

/// What happens after a kill: whether the process is missed before it returns, and whether it still has its folder.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Kind {
    stays_away: bool,
    keeps_folder: bool,
}

const KINDS: [Kind; 4] = [
    Kind { stays_away: true, keeps_folder: true },
    Kind { stays_away: true, keeps_folder: false },
    Kind { stays_away: false, keeps_folder: true },
    Kind { stays_away: false, keeps_folder: false },
];

/// Out of every directory after the kill; back everywhere after the start.
type Times = (Duration, Duration);

fn table(times: &[(Kind, Times)]) -> String {
    let mut table = String::from("returns      folder  rounds    out p50      max   back p50      max\n");
    for kind in KINDS {
        let of = |time: fn(&Times) -> Duration| {
            let mut times: Vec<_> =
                times.iter().filter(|(of, _)| *of == kind).map(|(_, it)| time(it)).collect();
            times.sort();
            times
        };
        let (outs, backs) = (of(|it| it.0), of(|it| it.1));
        let (Some(out), Some(back)) = (outs.last(), backs.last()) else { continue };
        let (middle_out, middle_back) = (outs[outs.len() / 2], backs[backs.len() / 2]);
        let returns = if kind.stays_away { "when missed" } else { "at once" };
        let folder = if kind.keeps_folder { "kept" } else { "lost" };
        writeln!(
            table,
            "{returns:<11}  {folder:<6}  {:>6}  {middle_out:>9.2?}  {out:>7.2?}  {middle_back:>9.2?}  {back:>7.2?}",
            outs.len(),
        )
        .expect("a text grows");
    }
    table
}

/// Kills a process and starts it again.
fn round_of(cluster: &mut Processes, kind: Kind, number: usize) -> Times {
    assert!(cluster.folder(number).join("node.redb").exists(), "it kept nothing to return with");
    let (killed_at, old) = cluster.kill(number);
    if kind.stays_away {
        cluster.until(SOON, "the others to miss it", |nodes| {
            nodes.values().all(|it| it.told.down.contains_key(&old))
        });
    }
    if !kind.keeps_folder {
        std::fs::remove_dir_all(cluster.folder(number)).expect("removed");
    }
    let started_at = Instant::now();
    cluster.spawn(number);
    let new = cluster.nodes[&number].service.clone();
    cluster.until(SOON, "it to be back", |nodes| is_back(nodes, number, &new));
    let back = started_at.elapsed();
    cluster.until(SOON, "its earlier life to be over", |nodes| {
        let mut others = nodes.iter().filter(|(other, _)| **other != number);
        others.all(|(_, it)| it.told.down.contains_key(&old))
            && !nodes[&number].told.services.contains_key(&old)
    });
    let others = cluster.nodes.iter().filter(|(other, _)| **other != number);
    let out = others.map(|(_, it)| it.told.down[&old] - killed_at).max().expect("four others");
    (out, back)
}

/// Tells whether a node is a neighbour of somebody, everybody knows its service, and it knows theirs.
fn is_back(nodes: &Nodes, number: usize, service: &str) -> bool {
    let newcomer = &nodes[&number].told;
    let all_know = nodes.values().all(|it| it.told.services.contains_key(service));
    let is_neighbor = nodes.values().any(|it| it.told.neighbors.contains(&newcomer.id));
    let knows_all = nodes.values().all(|it| newcomer.services.contains_key(&it.service));
    newcomer.is_ready && all_know && knows_all && is_neighbor && !newcomer.neighbors.is_empty()
}
