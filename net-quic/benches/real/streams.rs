//! Row 27: a tagged stream between two processes, every byte checked.

use crate::Scale;
use crate::figure::{Figure, Gate};
use crate::nodes;
use crate::other::{self, Other};
use crate::usage::Usage;
use rumormill_net_quic::core::NodeId;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// The role of the process that reads.
pub(crate) const ROLE: &str = "streams";

const CHUNK: usize = 64 << 10;

/// What stands at an offset: no piece of it is like the one before.
fn fill(offset: u64, bytes: &mut [u8]) {
    for (at, word) in bytes.chunks_exact_mut(8).enumerate() {
        let number = (offset / 8 + at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        word.copy_from_slice(&number.to_le_bytes());
    }
}

/// Checks every byte of the one stream that comes, and tells how many there were.
pub(crate) async fn read() {
    let node = nodes::builder("other").start().await.expect("started");
    let mut acceptor = node.accept_streams("bytes").expect("the tag is free");
    let counter = Arc::new(AtomicU64::new(0));
    other::serve(format!("{} {}", node.local_addr(), node.id()), counter.clone());
    let mut stream = acceptor.accept().await.expect("a stream");
    let (mut room, mut expected) = (vec![0; CHUNK], vec![0; CHUNK]);
    loop {
        let offset = counter.load(Relaxed);
        let mut filled = 0;
        while filled < CHUNK {
            match stream.read(&mut room[filled..]).await.expect("no reset") {
                0 => break,
                len => filled += len,
            }
        }
        fill(offset, &mut expected);
        assert!(room[..filled] == expected[..filled], "bytes at {offset} differ");
        counter.fetch_add(filled as u64, Relaxed);
        if filled < CHUNK {
            break;
        }
    }
    stream.write_all(&counter.load(Relaxed).to_le_bytes()).await.expect("written");
    stream.shutdown().await.expect("finished");
    std::future::pending::<()>().await;
}

/// Row 27.
pub(crate) async fn measure(scale: Scale) -> Vec<Figure> {
    let total = scale.of(8_192) * CHUNK as u64;
    let mut other = Other::start(ROLE, &[]);
    let (addr, id) = other.address.split_once(' ').expect("an address and an id");
    let (seed, id) = (addr.parse().expect("an address"), id.to_string());
    let node = nodes::builder("one").seeds([seed]).start().await.expect("started");
    nodes::until_active(&node, 2).await;
    let members = node.members().await.expect("running");
    let peer: NodeId =
        members.iter().map(|member| member.id()).find(|it| it.to_string() == id).expect("known");
    let mut stream = node.open_stream(peer, "bytes").await.expect("open");
    let (before, theirs, begin) = (Usage::now(), other.usage(), Instant::now());
    let mut chunk = vec![0; CHUNK];
    for offset in (0..total).step_by(CHUNK) {
        fill(offset, &mut chunk);
        stream.write_all(&chunk).await.expect("written");
    }
    stream.shutdown().await.expect("finished");
    let checked = stream.read_u64_le().await.expect("what the other end has read");
    let (took, after, end) = (begin.elapsed(), Usage::now(), other.usage());
    drop(stream);
    node.shutdown().await;
    let mb = total as f64 / 1e6;
    let cpu_ms = |from: Usage, to: Usage| (to.cpu_us - from.cpu_us) / 1e3 / mb;
    vec![
        Figure::new(27, "tagged stream, every byte checked", mb / took.as_secs_f64(), "MB/s")
            .gate(Gate::LeastOnAClock(100.0)),
        Figure::new(27, "bytes lost", (total - checked) as f64, "B").gate(Gate::Most(0.0)),
        Figure::new(27, "CPU of the sender", cpu_ms(before, after), "ms/MB"),
        Figure::new(27, "CPU of the receiver", cpu_ms(theirs, end), "ms/MB"),
    ]
}
