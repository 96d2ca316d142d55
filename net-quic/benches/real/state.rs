//! Rows 11 and 22: a key put on one node, until every other node has told its watchers.

use crate::Scale;
use crate::figure::{Figure, Gate, Spread};
use crate::nodes;
use rumormill_net_quic::core::Config;
use rumormill_net_quic::{Builder, Cluster, Map};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// How long a key may take at most.
const SOON: Duration = Duration::from_secs(20);

/// Leaves the configuration's numbers as they are.
fn as_they_come(_: &mut Config) {}

/// Puts keys one after another, from each node in turn; gives how long each took to be everywhere.
async fn puts(count: usize, tune: fn(&mut Config), rounds: u64, pause: Duration) -> Spread {
    let with_map = |builder: Builder| builder.configure(tune).map("bench");
    let nodes = nodes::start(count, with_map).await;
    let (seen_to, mut seen) = mpsc::unbounded_channel();
    let mut maps = Vec::new();
    for node in &nodes {
        let map: Map<u64, u64> = node.map("bench").await.expect("hosted");
        let (_, mut changes) = map.watch().await.expect("watched");
        let seen_to = seen_to.clone();
        tokio::spawn(async move {
            while let Some(change) = changes.recv().await {
                let _ = seen_to.send((change.expect("of our types").key, Instant::now()));
            }
        });
        maps.push(map);
    }
    sleep(Duration::from_secs(2)).await; // the overlay has found its shape
    let (mut spread, warm) = (Spread::default(), rounds / 10);
    for round in 0..rounds + warm {
        let begin = Instant::now();
        maps[round as usize % count].put(&round, &round).await.expect("put");
        let mut last = begin;
        for _ in 0..count {
            let (key, at) = timeout(SOON, seen.recv()).await.expect("in time").expect("watching");
            assert_eq!(key, round, "each node tells each key once");
            last = last.max(at);
        }
        if round >= warm {
            spread.add(last - begin);
        }
        sleep(pause).await;
    }
    for node in &nodes {
        Cluster::shutdown(node).await;
    }
    spread
}

/// Row 22.
pub(crate) async fn few(scale: Scale) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (count, p50, p99) in [(3, 500.0, 2_000.0), (5, 1_000.0, 3_000.0), (10, 2_500.0, 6_000.0)] {
        let mut spread = puts(count, as_they_come, scale.of(500), Duration::from_millis(5)).await;
        let figure = |what: &str, share| (format!("put seen by all of {count}, {what}"), share);
        for ((what, share), gate) in [(figure("p50", 0.5), p50), (figure("p99", 0.99), p99)] {
            figures.push(Figure::new(22, what, spread.quantile(share), "µs").gate(Gate::MostOnAClock(gate)));
        }
    }
    figures
}

/// Row 11, as users in one data centre would set it up, and with the numbers as they come.
pub(crate) async fn many(scale: Scale) -> Vec<Figure> {
    let count = if scale.is_smoke() { 5 } else { 50 };
    let mut figures = Vec::new();
    let lan: fn(&mut Config) = Config::tune_for_lan;
    for (name, tune, gate) in [("lan", lan, Some(200.0)), ("default", as_they_come, None)] {
        let mut spread = puts(count, tune, scale.of(200), Duration::from_millis(20)).await;
        for (what, share, is_asked) in [("p50", 0.5, true), ("p99", 0.99, true), ("the slowest", 1.0, false)]
        {
            let what = format!("one key to all of 50, {name}, {what}");
            let figure = Figure::new(11, what, spread.quantile(share) / 1e3, "ms");
            figures.push(match gate.filter(|_| is_asked) {
                Some(most) => figure.gate(Gate::Most(most)),
                None => figure,
            });
        }
    }
    figures
}
