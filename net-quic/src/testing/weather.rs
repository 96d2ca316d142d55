//! A relay between a node and its socket: packets come late, out of order, or not at all.

use quinn::udp::{EcnCodepoint, RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use std::collections::BTreeMap;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// Packets that are under way at most; the next ones are lost, as in a router whose queue is full.
const UNDER_WAY_MAX: usize = 8_192;

/// What becomes of packets, one way. Calm by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// How long a packet is under way.
    pub delay: Duration,
    /// How much longer or shorter, evenly spread; so packets overtake each other.
    pub jitter: Duration,
    /// How many of a thousand are lost.
    pub lost_per_mille: u32,
}

impl Weather {
    fn is_calm(&self) -> bool {
        *self == Self::default()
    }
}

/// A socket whose packets go out through the weather: for [`Builder::socket`](crate::Builder::socket), or
/// [`Move::onto`](crate::Move::onto). What comes in is not touched, so give every node one.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use quinn::{Runtime as _, TokioRuntime};
/// use rumormill_net_quic::Cluster;
/// use rumormill_net_quic::testing::{Relay, Weather};
/// use std::time::Duration;
///
/// let socket = TokioRuntime.wrap_udp_socket(std::net::UdpSocket::bind("127.0.0.1:0")?)?;
/// let relay = Relay::around(socket, 7);
/// relay.set(Weather { delay: Duration::from_millis(80), ..Weather::default() });
/// let node = Cluster::builder("demo").secret("known to all of us").socket(relay.clone()).start().await?;
/// relay.set(Weather::default()); // the sun comes out
/// # node.shutdown().await;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Relay {
    inner: Arc<dyn AsyncUdpSocket>,
    state: Mutex<State>,
    late: mpsc::Sender<(Instant, Packet)>,
}

#[derive(Debug)]
struct State {
    weather: Weather,
    seed: u64,
}

/// A packet under way.
#[derive(Debug)]
struct Packet {
    destination: SocketAddr,
    ecn: Option<EcnCodepoint>,
    src_ip: Option<IpAddr>,
    contents: Vec<u8>,
}

impl Relay {
    /// Puts a relay around a socket; what becomes of which packet follows from the seed and their order.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn around(inner: Arc<dyn AsyncUdpSocket>, seed: u64) -> Arc<Self> {
        let (late, coming) = mpsc::channel(UNDER_WAY_MAX);
        tokio::spawn(deliver(inner.clone(), coming));
        Arc::new(Self { inner, state: Mutex::new(State { weather: Weather::default(), seed }), late })
    }

    /// Changes the weather, for packets that are not under way yet.
    pub fn set(&self, weather: Weather) {
        self.state().weather = weather;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Draws a number below a bound (SplitMix64).
    fn draw(&mut self, below: u64) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.seed;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % below.max(1)
    }

    /// Draws how long the next packet is under way; none when it is lost.
    fn fate(&mut self) -> Option<Duration> {
        let Weather { delay, jitter, lost_per_mille } = self.weather;
        let is_lost = self.draw(1_000) < u64::from(lost_per_mille);
        let spread = u64::try_from(2 * jitter.as_micros()).unwrap_or(u64::MAX);
        let more = Duration::from_micros(self.draw(spread.saturating_add(1)));
        (!is_lost).then(|| (delay + more).saturating_sub(jitter))
    }
}

/// Sends packets when their time has come.
async fn deliver(inner: Arc<dyn AsyncUdpSocket>, mut coming: mpsc::Receiver<(Instant, Packet)>) {
    let mut under_way: BTreeMap<(Instant, u64), Packet> = BTreeMap::new();
    let mut count = 0;
    loop {
        let next = under_way.keys().next().map(|(at, _)| *at);
        let due = async { sleep_until(next.unwrap_or_else(Instant::now)).await };
        tokio::select! {
            biased;
            () = due, if next.is_some() => {
                let Some((_, packet)) = under_way.pop_first() else { continue };
                let Packet { destination, ecn, src_ip, contents } = &packet;
                let (destination, ecn, src_ip) = (*destination, *ecn, *src_ip);
                // A socket that takes nothing just now loses the packet, as a network may.
                let _ = inner.try_send(&Transmit { destination, ecn, contents, segment_size: None, src_ip });
            }
            packet = coming.recv() => match packet {
                Some((at, packet)) if under_way.len() < UNDER_WAY_MAX => {
                    count += 1;
                    under_way.insert((at, count), packet);
                }
                Some(_) => {}
                None => return,
            },
        }
    }
}

impl AsyncUdpSocket for Relay {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.inner.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let mut state = self.state();
        if state.weather.is_calm() {
            drop(state);
            return self.inner.try_send(transmit);
        }
        let size = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
        for contents in transmit.contents.chunks(size) {
            let Some(delay) = state.fate() else { continue };
            let Transmit { destination, ecn, src_ip, .. } = *transmit;
            let packet = Packet { destination, ecn, src_ip, contents: contents.to_vec() };
            let _ = self.late.try_send((Instant::now() + delay, packet)); // too many are under way: it is lost
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.inner.poll_recv(cx, bufs, meta)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_fare_as_the_weather_is() {
        let weather = Weather {
            delay: Duration::from_millis(80),
            jitter: Duration::from_millis(40),
            lost_per_mille: 100,
        };
        let mut state = State { weather, seed: 1 };
        let fates: Vec<_> = (0..10_000).map(|_| state.fate()).collect();
        let come: Vec<Duration> = fates.iter().flatten().copied().collect();
        assert!((800..1_200).contains(&(fates.len() - come.len())), "{} lost", fates.len() - come.len());
        let (least, most) = (come.iter().min().expect("some"), come.iter().max().expect("some"));
        assert!(*least >= Duration::from_millis(40) && *least < Duration::from_millis(45), "{least:?}");
        assert!(*most <= Duration::from_millis(120) && *most > Duration::from_millis(115), "{most:?}");
        let mean = come.iter().sum::<Duration>() / come.len() as u32;
        assert!(mean > Duration::from_millis(78) && mean < Duration::from_millis(82), "{mean:?}");
        let again: Vec<_> = {
            let mut state = State { weather, seed: 1 };
            (0..10_000).map(|_| state.fate()).collect()
        };
        assert_eq!(fates, again, "a seed tells all");
    }
}
