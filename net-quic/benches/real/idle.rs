//! Row 30: one node of ten that does nothing, in a process of its own.

use crate::Scale;
use crate::figure::{Figure, Gate};
use crate::nodes;
use crate::other::{self, Other};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// The role of the node that is looked at.
pub(crate) const ROLE: &str = "idle";

/// A node that comes in, and does nothing.
pub(crate) async fn idle(seed: &str) {
    let seed = seed.parse().expect("an address");
    let node = nodes::builder("idle").map("bench").seeds([seed]).start().await.expect("started");
    nodes::until_active(&node, 10).await;
    other::serve(node.local_addr(), Arc::default());
    std::future::pending::<()>().await;
}

/// Row 30.
pub(crate) async fn measure(scale: Scale) -> Vec<Figure> {
    let nine = nodes::start(9, |builder| builder.map("bench")).await;
    let seed = nine[0].local_addr().to_string();
    // Its first line is read on another thread: meanwhile the nine must answer it.
    let start = move || Other::start(ROLE, &[&seed]);
    let mut other = tokio::task::spawn_blocking(start).await.expect("the idle node is in");
    sleep(Duration::from_secs(if scale.is_smoke() { 0 } else { 20 })).await;
    let (before, begin) = (other.usage(), Instant::now());
    sleep(Duration::from_secs(if scale.is_smoke() { 1 } else { 30 })).await;
    let (after, took) = (other.usage(), begin.elapsed());
    let share = (after.cpu_us - before.cpu_us) / took.as_secs_f64() / 1e4;
    vec![
        Figure::new(30, "an idle node of 10, memory", after.rss_mb, "MB").gate(Gate::Most(12.0)),
        Figure::new(30, "an idle node of 10, of one core", share, "%").gate(Gate::Most(0.1)),
    ]
}
