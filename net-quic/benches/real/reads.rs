//! Row 20: where is a service, among 200, while the cluster runs.

use crate::Scale;
use crate::figure::{Figure, Gate};
use crate::nodes;
use rumormill_net_quic::{Cluster, Found, Offer};
use std::hint::black_box;
use std::time::{Duration, Instant};

const SERVICES: u32 = 200;
const SOON: Duration = Duration::from_secs(20);

/// Row 20.
pub(crate) async fn measure(scale: Scale) -> Vec<Figure> {
    let cluster = nodes::start(2, |builder| builder).await;
    for number in 0..SERVICES {
        let owner = &cluster[number as usize % 2];
        owner.register(&("service", number), Offer::new()).await.expect("registered");
    }
    for node in &cluster {
        for number in 0..SERVICES {
            let found = node.whereis_within(&("service", number), SOON).await.expect("looked");
            assert_ne!(found, Found::NotFound, "service {number}");
        }
    }
    let batches = scale.of(200) as usize;
    vec![
        Figure::new(20, "whereis of 200, local", median(batches, &cluster[0], 0), "ns")
            .gate(Gate::MostOnAClock(200.0)),
        Figure::new(20, "whereis of 200, remote", median(batches, &cluster[0], 1), "ns")
            .gate(Gate::MostOnAClock(200.0)),
    ]
}

/// Nanoseconds for each look, in the median of the batches.
fn median(count: usize, node: &Cluster, owner: u32) -> f64 {
    let batch = |_| {
        let begin = Instant::now();
        for number in (owner..SERVICES).step_by(2).cycle().take(2_000) {
            let found = node.whereis(&("service", number)).expect("encoded");
            let is_right = if owner == 0 {
                matches!(found, Found::Local(_))
            } else {
                matches!(found, Found::Remote(..))
            };
            assert!(black_box(is_right));
        }
        begin.elapsed().as_nanos() as f64 / 2_000.0
    };
    let mut batches: Vec<f64> = (0..count.max(1)).map(batch).collect();
    batches.sort_by(f64::total_cmp);
    batches[batches.len() / 2]
}
