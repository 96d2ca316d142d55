//! What reads and writes of one node cost while it works: `cargo bench -p rumormill-net-quic --bench reads`.
//!
//! Medians of batches, each of many reads. A put must not cost more in a large map than in a small one.

use rumormill_net_quic::{Cluster, Map, Offer};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

const BATCHES: usize = 201;
const BATCH: u32 = 5_000;
const LISTED: u32 = 200;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("a runtime").block_on(measure());
}

async fn measure() {
    let listen = "127.0.0.1:0".parse().expect("an address");
    let builder = Cluster::builder("bench").secret("words").listen(listen).map("small").map("large");
    let builder = builder.configure(|config| {
        (config.entries_max, config.registrations_max) = (1_000_000, 4_096);
    });
    let node = builder.start().await.expect("started");
    let small: Map<u32, u32> = node.map("small").await.expect("hosted");
    let large: Map<u32, u32> = node.map("large").await.expect("hosted");
    println!("put, of the first 10,000 keys:    {:>8.1} µs each", fill(&small, 0, 10_000).await);
    fill(&large, 0, 200_000).await;
    println!("put, of 10,000 keys after 200,000: {:>7.1} µs each", fill(&large, 200_000, 10_000).await);

    let writing = Arc::new(AtomicBool::new(true));
    let writer = tokio::spawn(write(small.clone(), writing.clone()));
    let read = |at: u32| black_box(small.get(&(at % 10_000))).is_ok();
    println!("get, 10,000 keys, writes beside:  {:>8.0} ns", median(read));
    let begin = Instant::now();
    (0..LISTED).for_each(|_| assert!(black_box(small.entries()).is_ok_and(|all| all.len() == 10_000)));
    let micros = begin.elapsed().as_secs_f64() * 1e6 / f64::from(LISTED);
    println!("entries, 10,000 keys, writes beside: {micros:>5.0} µs");
    writing.store(false, Relaxed);
    writer.await.expect("no panic");

    for (count, more) in [(200, 200), (4_000, 3_800)] {
        for number in count - more..count {
            node.register(&("service", number), Offer::new()).await.expect("registered");
        }
        let find = |at: u32| black_box(node.whereis(&("service", at % count))).is_ok();
        println!("whereis, {count:>6} services:         {:>8.0} ns", median(find));
    }
    println!("place:                            {:>8.0} ns", median(|at| black_box(node.place(&at)).is_ok()));
    node.shutdown().await;
}

/// Puts keys one after another; gives microseconds for each.
async fn fill(map: &Map<u32, u32>, from: u32, count: u32) -> f64 {
    let begin = Instant::now();
    for key in from..from + count {
        map.put(&key, &key).await.expect("put");
    }
    begin.elapsed().as_secs_f64() * 1e6 / f64::from(count)
}

/// About a thousand writes a second.
async fn write(map: Map<u32, u32>, goes_on: Arc<AtomicBool>) {
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    let mut number = 0;
    while goes_on.load(Relaxed) {
        ticks.tick().await;
        map.put(&(number % 10_000), &number).await.expect("put");
        number += 1;
    }
}

/// Nanoseconds for each call, in the median of the batches.
fn median(call: impl Fn(u32) -> bool) -> f64 {
    let mut batches: Vec<f64> = (0..BATCHES)
        .map(|_| {
            let begin = Instant::now();
            (0..BATCH).for_each(|at| assert!(call(at)));
            begin.elapsed().as_nanos() as f64 / f64::from(BATCH)
        })
        .collect();
    batches.sort_by(f64::total_cmp);
    batches[BATCHES / 2]
}
