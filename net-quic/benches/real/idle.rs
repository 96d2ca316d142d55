//! Row 30: one node of ten that does nothing, in a process of its own.

use crate::Scale;
use crate::figure::{Figure, Gate};
use crate::nodes;
use crate::other::{self, Other};
use rumormill_net_quic::Builder;
use rumormill_net_quic::core::Config;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// The role of the node that is looked at.
pub(crate) const ROLE: &str = "idle";

/// How nodes are set up: with the numbers as they come, or to be left alone while they have nothing to say.
const TUNINGS: [&str; 2] = ["as they come", "tuned for idle"];

/// How long nodes that have come in still look for others: shuffles that bring nobody new come rarely after that.
const CALM_AFTER: Duration = Duration::from_secs(60);

fn set_up(builder: Builder, tuning: &str) -> Builder {
    let tune = if tuning == TUNINGS[1] { Config::tune_for_idle } else { |_: &mut Config| {} };
    builder.map("bench").configure(tune)
}

/// A node that comes in, and does nothing.
pub(crate) async fn idle(tuning: &str, seed: &str) {
    let seed = seed.parse().expect("an address");
    let node = set_up(nodes::builder("idle"), tuning).seeds([seed]).start().await.expect("started");
    nodes::until_active(&node, 10).await;
    other::serve(node.local_addr(), Arc::default());
    std::future::pending::<()>().await;
}

/// Row 30.
pub(crate) async fn measure(scale: Scale) -> Vec<Figure> {
    let mut figures = Vec::new();
    for tuning in TUNINGS {
        figures.extend(one_of_ten(scale, tuning).await);
    }
    figures
}

async fn one_of_ten(scale: Scale, tuning: &'static str) -> [Figure; 2] {
    let nine = nodes::start(9, |builder| set_up(builder, tuning)).await;
    let seed = nine[0].local_addr().to_string();
    // Its first line is read on another thread: meanwhile the nine must answer it.
    let start = move || Other::start(ROLE, &[tuning, &seed]);
    let mut other = tokio::task::spawn_blocking(start).await.expect("the idle node is in");
    sleep(if scale.is_smoke() { Duration::ZERO } else { CALM_AFTER }).await;
    let (before, begin) = (other.usage(), Instant::now());
    sleep(Duration::from_secs(if scale.is_smoke() { 1 } else { 60 })).await;
    let (after, took) = (other.usage(), begin.elapsed());
    let share = (after.cpu_us - before.cpu_us) / took.as_secs_f64() / 1e4;
    let figure = |what: &str, amount, unit, most| {
        Figure::new(30, format!("an idle node of 10, {tuning}: {what}"), amount, unit).gate(Gate::Most(most))
    };
    [figure("memory", after.rss_mb, "MB", 12.0), figure("of one core", share, "%", 0.1)]
}
