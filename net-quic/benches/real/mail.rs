//! Rows 25 and 26: calls and messages between mailboxes of two processes.

use crate::Scale;
use crate::figure::{Figure, Gate, Spread};
use crate::nodes;
use crate::other::{self, Other};
use crate::raw::{self, Sent};
use crate::usage::Usage;
use rumormill_net_quic::core::CommandError;
use rumormill_net_quic::{Address, Cluster, Error, Incoming, Mailbox, Offer, SentSome};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The roles of the other process.
pub(crate) const ECHO: &str = "echo";
pub(crate) const COUNT: &str = "count";
pub(crate) const UDP: &str = "udp";

/// Bytes of a message.
const LEN: usize = 64;
/// Messages that are sent together.
const TOGETHER: u64 = 64;
const SOON: Duration = Duration::from_secs(20);

/// A message of 64 bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Body([u8; LEN]);

impl Serialize for Body {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes: &[u8] = Deserialize::deserialize(deserializer)?;
        bytes.try_into().map(Self).map_err(|_| serde::de::Error::custom("64 bytes"))
    }
}

/// Answers every call with what it was asked.
pub(crate) async fn echo() {
    let node = nodes::builder("other").start().await.expect("started");
    let mut mailbox = offered(&node).await;
    other::serve(node.local_addr(), Arc::default());
    while let Some(incoming) = mailbox.recv().await {
        if let Incoming::Question { message, asked } = incoming {
            asked.answer(&message).await.expect("answered");
        }
    }
}

/// Counts every message.
pub(crate) async fn count() {
    let node = nodes::builder("other").start().await.expect("started");
    let (mut mailbox, counter) = (offered(&node).await, Arc::new(AtomicU64::new(0)));
    other::serve(node.local_addr(), counter.clone());
    while let Some(incoming) = mailbox.recv().await {
        let Incoming::Message { message: Body(bytes), .. } = incoming else { panic!("no message of ours") };
        let number = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"));
        assert_eq!(counter.fetch_add(1, Relaxed), number, "in order, none lost");
    }
}

async fn offered(node: &Cluster) -> Mailbox<Body> {
    let mailbox = node.mailbox::<Body>().await.expect("a mailbox");
    node.register("bench", Offer::new().at(mailbox.address().raw())).await.expect("registered");
    mailbox
}

async fn meet(other: &Other) -> (Cluster, Mailbox<()>, Address<Body>) {
    let seed = other.address.parse().expect("an address");
    // A window as wide as the round trips of a busy machine are long.
    let builder = nodes::builder("one").configure(|config| config.mail_unheard_max = 4_096);
    let node = builder.seeds([seed]).start().await.expect("started");
    let found = node.whereis_within("bench", SOON).await.expect("a node that runs");
    let mailbox = node.mailbox::<()>().await.expect("a mailbox");
    let address = found.typed::<Body>().expect("found");
    (node, mailbox, address)
}

/// Row 25.
pub(crate) async fn calls(scale: Scale) -> Vec<Figure> {
    let count = scale.of(20_000);
    let other = Other::start(ECHO, &[]);
    let (node, mailbox, address) = meet(&other).await;
    let mut spread = Spread::default();
    for number in 0..count + count / 10 {
        let body = Body([number as u8; LEN]);
        let begin = Instant::now();
        let answer: Body = mailbox.call(address, &body, SOON).await.expect("answered");
        if number >= count / 10 {
            spread.add(begin.elapsed());
        }
        assert_eq!(answer, body);
    }
    node.shutdown().await;
    drop(other);
    let mut udp = udp_echoes(count);
    vec![
        Figure::new(25, "64 B call, p50", spread.quantile(0.5), "µs").gate(Gate::MostOnAClock(100.0)),
        Figure::new(25, "64 B call, p99", spread.quantile(0.99), "µs").gate(Gate::MostOnAClock(250.0)),
        Figure::new(25, "beside it, a bare UDP echo, p50", udp.quantile(0.5), "µs"),
        Figure::new(25, "beside it, a bare UDP echo, p99", udp.quantile(0.99), "µs"),
    ]
}

/// Sends every datagram back.
pub(crate) fn udp() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    other::serve(socket.local_addr().expect("an address"), Arc::default());
    let mut room = [0; 2 * LEN];
    while let Ok((len, from)) = socket.recv_from(&mut room) {
        let _ = socket.send_to(&room[..len], from);
    }
}

/// What the machine itself takes between two processes.
fn udp_echoes(count: u64) -> Spread {
    let (other, socket) = (Other::start(UDP, &[]), UdpSocket::bind("127.0.0.1:0").expect("a socket"));
    socket.connect(&other.address).expect("an address");
    socket.set_read_timeout(Some(SOON)).expect("a time");
    let (mut spread, mut room) = (Spread::default(), [0; 2 * LEN]);
    for number in 0..count + count / 10 {
        let begin = Instant::now();
        socket.send(&[0x5a; LEN]).expect("sent");
        socket.recv(&mut room).expect("received");
        if number >= count / 10 {
            spread.add(begin.elapsed());
        }
    }
    spread
}

/// Row 26.
pub(crate) async fn messages(scale: Scale) -> Vec<Figure> {
    let count = scale.of(1_000_000);
    // Each in a task, as services are, not in the thread that waits for the whole.
    let raw = tokio::spawn(raw::send(count, LEN, TOGETHER)).await.expect("it ends");
    let raw_single = tokio::spawn(raw::send(count, LEN, 1)).await.expect("it ends");
    let ours = tokio::spawn(send(count)).await.expect("it ends");
    let ratio = ours.cpu_us() / raw.cpu_us();
    let ratio_single = ours.cpu_us() / raw_single.cpu_us();
    let cpu = |what: &str, sent: &Sent| {
        [
            Figure::new(26, format!("{what}, CPU of the sender"), sent.sender_cpu_us, "µs"),
            Figure::new(26, format!("{what}, CPU of the receiver"), sent.reader_cpu_us, "µs"),
        ]
    };
    let mut figures = vec![
        Figure::new(26, "64 B messages", ours.a_s, "/s").gate(Gate::LeastOnAClock(200_000.0)),
        Figure::new(26, "CPU of a message, to raw quinn's, one write each", ratio_single, "×")
            .gate(Gate::Most(3.0)),
        Figure::new(26, "CPU of a message, to raw quinn's, 64 with a write", ratio, "×")
            .gate(Gate::Most(3.0)),
    ];
    figures.extend(cpu("a message", &ours));
    figures.extend(cpu("raw quinn, one write each", &raw_single));
    figures.extend(cpu("raw quinn, 64 with a write", &raw));
    figures.push(Figure::new(26, "raw quinn, one write each", raw_single.a_s, "/s"));
    figures.push(Figure::new(26, "raw quinn, 64 with a write", raw.a_s, "/s"));
    figures
}

fn numbered(number: u64) -> Body {
    let mut body = [0x5a; LEN];
    body[..8].copy_from_slice(&number.to_le_bytes());
    Body(body)
}

async fn send(count: u64) -> Sent {
    let mut other = Other::start(COUNT, &[]);
    let (node, mailbox, address) = meet(&other).await;
    let (before, theirs, begin) = (Usage::now(), other.usage(), Instant::now());
    let mut number = 0;
    while number < count {
        let batch: Vec<Body> = (number..count.min(number + TOGETHER)).map(numbered).collect();
        match mailbox.send_all(address, &batch).await {
            Ok(()) => number += batch.len() as u64,
            Err(SentSome { sent, error }) => {
                let is_busy = matches!(error, Error::Refused(CommandError::Busy | CommandError::Full { .. }));
                assert!(is_busy, "{error}");
                number += sent as u64;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }
    let mut end = other.usage();
    while end.count < count {
        tokio::time::sleep(Duration::from_millis(1)).await;
        end = other.usage();
    }
    let (after, took) = (Usage::now(), begin.elapsed());
    node.shutdown().await;
    Sent {
        a_s: count as f64 / took.as_secs_f64(),
        sender_cpu_us: (after.cpu_us - before.cpu_us) / count as f64,
        reader_cpu_us: (end.cpu_us - theirs.cpu_us) / count as f64,
    }
}
