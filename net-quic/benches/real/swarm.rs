//! What is asked of every library that broadcasts: rows 9 and 10. The peers in `reports/peers` run this very file.

use crate::figure::Spread;
use crate::usage::Usage;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

/// Bytes of a message.
pub(crate) const LEN: usize = 256;
/// How long nothing may come before what is missing counts as lost.
const SILENCE: Duration = Duration::from_secs(5);

/// Where one node publishes.
pub(crate) trait Publisher: Send + 'static {
    /// Returns once the node has taken the message; waits while it takes none.
    fn publish(&mut self, payload: Bytes) -> impl Future<Output = ()> + Send;
}

/// What one node hears.
pub(crate) trait Listener: Send + 'static {
    /// Waits for the next message, its own or another's.
    fn next(&mut self) -> impl Future<Output = Option<Bytes>> + Send;
}

/// What steady broadcasting costs.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Paced {
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// CPU time of the whole process for each message that reached one node.
    pub(crate) cpu_us_a_delivery: f64,
    pub(crate) lost: u64,
}

/// What a flood does.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Flood {
    pub(crate) broadcasts_a_s: f64,
    pub(crate) cpu_us_a_delivery: f64,
    pub(crate) lost: u64,
    pub(crate) peak_mb: f64,
}

fn message(origin: Instant, number: u64, publisher: usize) -> Bytes {
    let mut payload = vec![0x5a; LEN];
    payload[..8].copy_from_slice(&number.to_le_bytes());
    payload[8..16].copy_from_slice(&(origin.elapsed().as_nanos() as u64).to_le_bytes());
    payload[16..24].copy_from_slice(&(publisher as u64).to_le_bytes());
    payload.into()
}

fn word(payload: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(payload[8 * at..8 * at + 8].try_into().expect("eight bytes"))
}

/// Warms the tree up, so that its first shape is not what is measured.
async fn warm_up<P: Publisher, L: Listener>(nodes: &mut [(P, L)]) {
    let origin = Instant::now();
    for round in 0..3 {
        for (number, (publisher, _)) in nodes.iter_mut().enumerate() {
            publisher.publish(message(origin, round, number)).await;
            sleep(Duration::from_millis(20)).await;
        }
    }
    sleep(Duration::from_secs(1)).await;
    for (_, listener) in nodes {
        while let Ok(Some(_)) = timeout(Duration::from_millis(100), listener.next()).await {}
    }
}

/// Row 9: messages of 256 bytes at a steady pace, each from the next node in turn.
pub(crate) async fn paced<P: Publisher, L: Listener>(mut nodes: Vec<(P, L)>, count: u64, a_s: u64) -> Paced {
    warm_up(&mut nodes).await;
    let (others, origin) = (nodes.len() as u64 - 1, Instant::now());
    let (mut publishers, listeners): (Vec<_>, Vec<_>) = nodes.into_iter().unzip();
    let before = Usage::now();
    let hearing: Vec<_> = listeners
        .into_iter()
        .enumerate()
        .map(|(own, mut listener)| {
            let expected =
                count - (count + publishers.len() as u64 - 1 - own as u64) / publishers.len() as u64;
            tokio::spawn(async move {
                let mut times = Vec::with_capacity(expected as usize);
                while (times.len() as u64) < expected {
                    let Ok(Some(payload)) = timeout(SILENCE, listener.next()).await else { break };
                    if word(&payload, 2) != own as u64 {
                        let now = origin.elapsed().as_nanos() as u64;
                        times.push(Duration::from_nanos(now - word(&payload, 1)));
                    }
                }
                (times, listener)
            })
        })
        .collect();
    let mut ticks = interval(Duration::from_secs(1) / a_s as u32);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0..count {
        ticks.tick().await;
        let publisher = number as usize % publishers.len();
        publishers[publisher].publish(message(origin, number, publisher)).await;
    }
    let mut spread = Spread::default();
    let mut heard = 0;
    let mut listeners = Vec::new();
    for hearing in hearing {
        let (times, listener) = hearing.await.expect("no panic");
        heard += times.len() as u64;
        times.into_iter().for_each(|time| spread.add(time));
        listeners.push(listener);
    }
    let cpu_us = Usage::now().cpu_us - before.cpu_us;
    let (p50_us, p99_us) = (spread.quantile(0.5), spread.quantile(0.99));
    Paced { p50_us, p99_us, cpu_us_a_delivery: cpu_us / heard as f64, lost: count * others - heard }
}

/// Row 10: one node publishes as fast as it is let; what does not come to somebody is lost.
pub(crate) async fn flood<P: Publisher, L: Listener>(mut nodes: Vec<(P, L)>, count: u64) -> Flood {
    warm_up(&mut nodes).await;
    let (others, origin) = (nodes.len() as u64 - 1, Instant::now());
    let last = Arc::new(AtomicU64::new(0));
    let (mut publishers, listeners): (Vec<_>, Vec<_>) = nodes.into_iter().unzip();
    let before = Usage::now();
    let hearing: Vec<_> = listeners
        .into_iter()
        .map(|mut listener| {
            let last = last.clone();
            tokio::spawn(async move {
                let (mut seen, mut heard) = (vec![false; count as usize], 0);
                while heard < count {
                    let Ok(Some(payload)) = timeout(SILENCE, listener.next()).await else { break };
                    let is_new = !std::mem::replace(&mut seen[word(&payload, 0) as usize], true);
                    heard += u64::from(is_new);
                    last.fetch_max(origin.elapsed().as_nanos() as u64, Relaxed);
                }
                (heard, listener)
            })
        })
        .collect();
    for number in 0..count {
        publishers[0].publish(message(origin, number, 0)).await;
    }
    // The publisher's own node may or may not hear itself: its listener is not waited for.
    let (mut heard, mut listeners) = (0, Vec::new());
    for hearing in hearing.into_iter().skip(1) {
        let (count, listener) = hearing.await.expect("no panic");
        heard += count;
        listeners.push(listener);
    }
    let usage = Usage::now();
    Flood {
        broadcasts_a_s: count as f64 / Duration::from_nanos(last.load(Relaxed)).as_secs_f64(),
        cpu_us_a_delivery: (usage.cpu_us - before.cpu_us) / heard as f64,
        lost: count * others - heard,
        peak_mb: usage.peak_mb,
    }
}
