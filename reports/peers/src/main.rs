//! Rumormill beside its peers, in one run: the same work, by the same code, one after the other in turns.
//!
//! `cargo run --release` in this folder prints a table of medians and ratios; `-- --rounds 5` for more turns, `--json` for
//! a record. What the work is stands in `net-quic/benches/real/swarm.rs`, how our nodes do it beside it.

// The crate measures itself with the same files.
#[path = "../../../net-quic/benches/real/figure.rs"]
#[allow(dead_code)]
mod figure;
#[path = "../../../net-quic/benches/real/nodes.rs"]
#[allow(dead_code)]
mod nodes;
#[path = "../../../net-quic/benches/real/swarm.rs"]
mod swarm;
mod theirs;
#[path = "../../../net-quic/benches/real/usage.rs"]
mod usage;

use figure::short;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::process::{Command, Stdio};
use swarm::{Flood, Paced};

const NODES: usize = 10;
/// Row 9: so many broadcasts, at so many a second.
const PACED: (u64, u64) = (2_000, 100);
/// Row 10: so many broadcasts.
const FLOOD: u64 = 20_000;

/// Who takes part.
const OURS: &str = "rumormill";
const IROH: &str = "iroh-gossip";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    match arguments[..] {
        ["--paced", OURS] => {
            tell(&runtime.block_on(async { swarm::paced(nodes::swarm(NODES).await, PACED.0, PACED.1).await }))
        }
        ["--paced", IROH] => tell(
            &runtime.block_on(async { swarm::paced(theirs::swarm(NODES).await, PACED.0, PACED.1).await }),
        ),
        ["--flood", OURS] => {
            tell(&runtime.block_on(async { swarm::flood(nodes::swarm(NODES).await, FLOOD).await }))
        }
        ["--flood", IROH] => {
            tell(&runtime.block_on(async { swarm::flood(theirs::swarm(NODES).await, FLOOD).await }))
        }
        _ => compare(&arguments),
    }
}

/// Tells what was measured, and ends before anybody's tasks miss each other.
fn tell(measured: &impl Serialize) {
    println!("{}", serde_json::to_string(measured).expect("numbers"));
    std::process::exit(0);
}

/// Measures one of them in a process of its own.
fn measure<T: DeserializeOwned>(what: &str, who: &str) -> T {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    let output = command.args([what, who]).stderr(Stdio::inherit()).output().expect("a process");
    assert!(output.status.success(), "{what} {who} failed");
    serde_json::from_slice(&output.stdout).expect("figures")
}

/// What both came to, in the medians of all rounds.
#[derive(Serialize)]
struct Compared {
    row: u8,
    what: &'static str,
    unit: &'static str,
    ours: f64,
    peer: f64,
    ratio: f64,
}

fn compare(arguments: &[&str]) {
    let asked =
        arguments.iter().position(|argument| *argument == "--rounds").and_then(|at| arguments.get(at + 1));
    let rounds: usize = asked.map_or(3, |rounds| rounds.parse().expect("a number"));
    let (mut paced, mut floods) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        paced.push((measure::<Paced>("--paced", OURS), measure::<Paced>("--paced", IROH)));
        floods.push((measure::<Flood>("--flood", OURS), measure::<Flood>("--flood", IROH)));
    }
    let table = [
        row(9, "10 nodes, 256 B, 100/s: p50", "µs", &paced, |it| it.p50_us),
        row(9, "10 nodes, 256 B, 100/s: p99", "µs", &paced, |it| it.p99_us),
        row(9, "CPU of a delivery", "µs", &paced, |it| it.cpu_us_a_delivery),
        row(9, "lost of 18,000", "", &paced, |it| it.lost as f64),
        row(10, "flood, 10 nodes, 20,000 × 256 B", "/s", &floods, |it| it.broadcasts_a_s),
        row(10, "CPU of a delivery", "µs", &floods, |it| it.cpu_us_a_delivery),
        row(10, "lost of 180,000", "", &floods, |it| it.lost as f64),
        row(10, "memory at most, all ten", "MB", &floods, |it| it.peak_mb),
    ];
    if arguments.contains(&"--json") {
        return println!("{}", serde_json::to_string_pretty(&table).expect("numbers"));
    }
    println!("| row | what, median of {rounds} | rumormill | iroh-gossip | ratio |\n|---|---|---|---|---|");
    for Compared { row, what, unit, ours, peer, ratio } in &table {
        let ratio = if ratio.is_finite() { format!("{ratio:.2}") } else { "–".into() };
        println!("| {row} | {what} | {} {unit} | {} {unit} | {ratio} |", short(*ours), short(*peer));
    }
}

fn row<T>(
    row: u8,
    what: &'static str,
    unit: &'static str,
    both: &[(T, T)],
    of: impl Fn(&T) -> f64,
) -> Compared {
    let ours = median(both.iter().map(|(ours, _)| of(ours)).collect());
    let peer = median(both.iter().map(|(_, peer)| of(peer)).collect());
    Compared { row, what, unit, ours, peer, ratio: ours / peer }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
