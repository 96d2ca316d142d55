//! What nodes do on a real network of one machine, row by row of the list of targets:
//! `cargo bench -p rumormill-net-quic --bench real`, with `-- --rows 9,25` for some of them, `--json` for a record, `--threads 0`
//! for runtimes of one thread, `--smoke` to see only whether it runs.
//!
//! Every row runs in processes of its own, so that what it costs is its own. Times on a machine that others share mean
//! little; CPU time and what is measured beside it in the same run mean more.

mod figure;
mod idle;
mod mail;
mod nodes;
mod other;
mod raw;
mod reads;
mod state;
mod streams;
mod swarm;
mod usage;

use figure::{Figure, Gate, Verdict, short};
use std::process::{Command, Stdio};
use tokio::runtime::Builder;

/// The rows, in the order in which they run.
const ROWS: [u8; 9] = [9, 10, 11, 20, 22, 25, 26, 27, 30];

/// How long to measure.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    Whole,
    /// Only whether it runs.
    Smoke,
}

impl Scale {
    /// So many, or a hundredth of them.
    pub(crate) fn of(self, count: u64) -> u64 {
        if self == Self::Smoke { (count / 100).max(10) } else { count }
    }

    pub(crate) fn is_smoke(self) -> bool {
        self == Self::Smoke
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let scale = if arguments.contains(&"--smoke") { Scale::Smoke } else { Scale::Whole };
    match arguments[..] {
        [other::ROLE, mail::UDP, ..] => mail::udp(),
        [other::ROLE, role, ref rest @ ..] => run(be(role, rest)),
        ["--row", row, ..] => {
            let figures = run(measure(row.parse().expect("a number"), scale));
            println!("{}", serde_json::to_string(&figures).expect("figures"));
        }
        _ => all(&arguments),
    }
}

/// How many threads a process runs on: what follows `--threads`, for every process of the run; none is the caller's alone.
const THREADS: &str = "RUMORMILL_BENCH_THREADS";

/// Runs what takes a runtime; with two threads, as `#[tokio::main]` has it here, where nothing else is said.
fn run<T>(what: impl Future<Output = T>) -> T {
    let threads = std::env::var(THREADS).ok().and_then(|threads| threads.parse().ok()).unwrap_or(2);
    let mut builder = match threads {
        0 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    let runtime = builder.worker_threads(threads.max(1)).enable_all().build();
    runtime.expect("a runtime").block_on(what)
}

/// Is the other process of a row.
async fn be(role: &str, arguments: &[&str]) {
    match (role, arguments) {
        (mail::ECHO, _) => mail::echo().await,
        (mail::COUNT, _) => mail::count().await,
        (raw::ROLE, _) => raw::read().await,
        (streams::ROLE, _) => streams::read().await,
        (idle::ROLE, [tuning, seed]) => idle::idle(tuning, seed).await,
        _ => panic!("no such role: {role}"),
    }
}

/// Measures one row.
async fn measure(row: u8, scale: Scale) -> Vec<Figure> {
    match row {
        9 => paced(scale).await,
        10 => flood(scale).await,
        11 => state::many(scale).await,
        20 => reads::measure(scale).await,
        22 => state::few(scale).await,
        25 => mail::calls(scale).await,
        26 => mail::messages(scale).await,
        27 => streams::measure(scale).await,
        30 => idle::measure(scale).await,
        _ => panic!("no such row: {row}"),
    }
}

async fn paced(scale: Scale) -> Vec<Figure> {
    let it = swarm::paced(nodes::swarm(10).await, scale.of(2_000), 100).await;
    vec![
        Figure::new(9, "10 nodes, 256 B, 100/s: p50", it.p50_us, "µs"),
        Figure::new(9, "10 nodes, 256 B, 100/s: p99", it.p99_us, "µs"),
        Figure::new(9, "CPU of a delivery", it.cpu_us_a_delivery, "µs"),
        Figure::new(9, "lost", it.lost as f64, "").gate(Gate::Most(0.0)),
    ]
}

async fn flood(scale: Scale) -> Vec<Figure> {
    let it = swarm::flood(nodes::swarm(10).await, scale.of(20_000)).await;
    vec![
        Figure::new(10, "flood of 10 nodes, 256 B", it.broadcasts_a_s, "/s"),
        Figure::new(10, "CPU of a delivery", it.cpu_us_a_delivery, "µs"),
        Figure::new(10, "lost", it.lost as f64, "").gate(Gate::Most(0.0)),
        Figure::new(10, "memory at most, the whole process", it.peak_mb, "MB"),
    ]
}

/// Runs every row in a process of its own, and prints what came of it.
fn all(arguments: &[&str]) {
    let after = |word: &str| {
        arguments.iter().position(|argument| *argument == word).and_then(|at| arguments.get(at + 1))
    };
    let asked = after("--rows");
    let asked: Option<Vec<u8>> =
        asked.map(|rows| rows.split(',').map(|row| row.parse().expect("a number")).collect());
    let is_json = arguments.contains(&"--json");
    let mut figures = Vec::new();
    for row in ROWS.iter().filter(|row| asked.as_ref().is_none_or(|asked| asked.contains(row))) {
        let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
        command.args(["--row", &row.to_string()]).stderr(Stdio::inherit());
        command.envs(after("--threads").map(|threads| (THREADS, threads)));
        command.args(arguments.contains(&"--smoke").then_some("--smoke"));
        let output = command.output().expect("a process");
        assert!(output.status.success(), "row {row} failed");
        let of_row: Vec<Figure> = serde_json::from_slice(&output.stdout).expect("figures");
        if !is_json {
            of_row.iter().for_each(print);
        }
        figures.extend(of_row);
    }
    if is_json {
        println!("{}", serde_json::to_string_pretty(&figures).expect("figures"));
    }
}

fn print(figure: &Figure) {
    let Figure { row, what, value, unit, gate } = figure;
    let gate = gate.map_or_else(String::new, |gate: Gate| gate.to_string());
    let verdict = figure.verdict().map_or_else(String::new, |verdict: Verdict| verdict.to_string());
    println!("{row:>3}  {what:<52} {:>10} {unit:<6} {gate:>10}  {verdict}", short(*value));
}
