//! Nodes that move to another address while they run, on loopback's many addresses.

use rumormill_net_quic::core::Event;
use rumormill_net_quic::testing::TestCluster;
use rumormill_net_quic::{Builder, Cluster, Feed, Found, Incoming, MigrateError, Move, Offer};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);

/// A free port of one of loopback's addresses.
fn at(last: u8) -> SocketAddr {
    (Ipv4Addr::new(127, 0, 0, last), 0).into()
}

fn builder(name: &str) -> Builder {
    Cluster::builder("test").secret("words").name(name).listen(at(1))
}

/// Starts nodes that come in through the first: each of them has dialled it.
async fn start<const COUNT: usize>(names: [&str; COUNT]) -> [Cluster; COUNT] {
    let mut nodes: Vec<Cluster> = Vec::new();
    for name in names {
        let node = builder(name).start().await.expect("started");
        if let Some(first) = nodes.first() {
            node.join(&[first.local_addr()]).await.expect("let in");
        }
        nodes.push(node);
    }
    nodes.try_into().unwrap_or_else(|_| unreachable!("as many as names"))
}

/// Waits until a node knows where another is.
async fn knows(node: &Cluster, other: &Cluster) {
    let mut watching = node.watch_members().await.expect("watching");
    let waiting = async {
        loop {
            let contact = node.contact(other.id()).await.expect("running");
            if contact.is_some_and(|contact| contact.addrs() == [other.local_addr()]) {
                return;
            }
            watching.recv().await.expect("running");
        }
    };
    timeout(SOON, waiting).await.expect("told soon");
}

/// Tells whether a node has lost a neighbour since it was asked to tell.
fn has_lost_a_neighbour(events: &mut Feed<Event>) -> bool {
    std::iter::from_fn(|| events.try_recv()).any(|event| matches!(event, Event::NeighborDown { .. }))
}

/// Asks a service over and over, until it is told to stop; gives back how many answers came.
async fn serve(node: &Cluster) -> tokio::task::JoinHandle<()> {
    let mut mailbox = node.mailbox::<u32>().await.expect("a mailbox");
    let offer = Offer::new().at(mailbox.address().raw());
    node.register("double", offer).await.expect("registered");
    tokio::spawn(async move {
        while let Some(Incoming::Question { message, asked }) = mailbox.recv().await {
            asked.answer(&(2 * message)).await.expect("answered");
        }
    })
}

async fn call(node: &Cluster, number: u32) -> u32 {
    let found = node.whereis_within("double", SOON).await.expect("looked");
    assert_ne!(found, Found::NotFound);
    let to = rumormill_net_quic::Address::<u32>::new(found.address().expect("it has a mailbox"));
    let mailbox = node.mailbox::<()>().await.expect("a mailbox");
    mailbox.call(to, &number, SOON).await.expect("answered")
}

#[tokio::test]
async fn what_a_node_dialled_moves_along() {
    let [a, b] = start(["a", "b"]).await;
    let (_serving_a, mut acceptor) = (serve(&a).await, a.accept_streams("s").expect("free"));
    knows(&b, &a).await;
    let mut stream = b.open_stream("a", "s").await.expect("opened");
    stream.write_all(b"from one address, ").await.expect("sent");
    let mut taken = timeout(SOON, acceptor.accept()).await.expect("soon").expect("running");
    assert_eq!(call(&b, 1).await, 2);
    let (mut here, mut there) = (b.events().await.expect("running"), a.events().await.expect("running"));
    let before = b.local_addr();
    let moved = b.migrate(at(2)).await.expect("moved");
    assert_eq!((&moved.along[..], &moved.redialled[..], &moved.lost[..]), (&[a.id()][..], &[][..], &[][..]));
    assert_eq!(moved.local.ip(), Ipv4Addr::new(127, 0, 0, 2));
    assert_eq!((b.local_addr(), b.addrs()), (moved.local, vec![moved.local]));
    assert_ne!(before, moved.local);
    assert_eq!(call(&b, 2).await, 4);
    stream.write_all(b"and from another").await.expect("sent");
    stream.shutdown().await.expect("ended");
    let mut text = String::new();
    taken.read_to_string(&mut text).await.expect("whole");
    assert_eq!(text, "from one address, and from another", "streams that it opened go on");
    knows(&a, &b).await;
    assert!(!has_lost_a_neighbour(&mut here) && !has_lost_a_neighbour(&mut there), "nobody noticed");
}

#[tokio::test]
async fn who_had_dialled_a_node_that_moves_is_dialled() {
    let [a, b, c] = start(["a", "b", "c"]).await;
    let _serving = serve(&a).await;
    let mut acceptor = a.accept_streams("s").expect("free");
    let mut nodes = Vec::new();
    for node in [&b, &c] {
        assert_eq!(call(node, 1).await, 2);
        nodes.push((node, node.events().await.expect("running")));
    }
    let mut early = b.open_stream("a", "s").await.expect("opened");
    early.write_all(b"early").await.expect("sent");
    let moved = a.migrate(at(2)).await.expect("moved");
    let mut expected = [b.id(), c.id()];
    let mut redialled = moved.redialled.clone();
    expected.sort();
    redialled.sort();
    assert_eq!((&redialled[..], &moved.along[..], &moved.lost[..]), (&expected[..], &[][..], &[][..]));
    for (node, events) in &mut nodes {
        assert_eq!(call(node, 2).await, 4);
        knows(node, &a).await;
        assert!(!has_lost_a_neighbour(events), "{} lost a neighbour", node.name());
    }
    let mut rest = Vec::new();
    let broken = timeout(SOON, early.read_to_end(&mut rest)).await.expect("at once, not by silence");
    broken.expect_err("streams to the node end");
    // Who comes later and never knew the old address is told the new one.
    let d = builder("d").start().await.expect("started");
    d.join(&[b.local_addr()]).await.expect("let in");
    knows(&d, &a).await;
    for node in [&b, &d] {
        let mut stream = node.open_stream(a.id(), "s").await.expect("opened");
        stream.write_all(b"late").await.expect("sent");
        stream.shutdown().await.expect("ended");
        let mut text = String::new();
        while text != "late" {
            let mut taken = timeout(SOON, acceptor.accept()).await.expect("soon").expect("running");
            text.clear();
            let _ = taken.read_to_string(&mut text).await; // the early one broke
        }
    }
}

#[tokio::test]
async fn a_node_that_moves_back_and_forth_is_found_each_time() {
    let [a, b] = start(["a", "b"]).await;
    let _serving = serve(&a).await;
    for round in 0..4_u8 {
        let (one, other) = if round % 2 == 0 { (&a, &b) } else { (&b, &a) };
        let moved = one.migrate(at(10 + round)).await.expect("moved");
        assert_eq!(moved.lost, []);
        assert_eq!(moved.along.len() + moved.redialled.len(), 1);
        knows(other, one).await;
        assert_eq!(call(&b, round.into()).await, 2 * u32::from(round));
    }
}

#[tokio::test]
async fn a_node_that_stays_tells_another_address() {
    let [a, b] = start(["a", "b"]).await;
    let (local, elsewhere) = (a.local_addr(), SocketAddr::from((Ipv4Addr::new(192, 0, 2, 7), 7400)));
    let moved = a.migrate(Move::here().advertise(elsewhere)).await.expect("told");
    assert_eq!((moved.local, a.addrs()), (local, vec![elsewhere]));
    let mut watching = b.watch_members().await.expect("watching");
    let waiting = async {
        while b.contact(a.id()).await.expect("running").is_none_or(|it| it.addrs() != [elsewhere]) {
            watching.recv().await.expect("running");
        }
    };
    timeout(SOON, waiting).await.expect("told soon");
}

#[tokio::test]
async fn a_move_that_fails_says_where_the_node_is() {
    let [a, b] = start(["a", "b"]).await;
    let before = a.local_addr();
    let error = a.migrate(b.local_addr()).await.expect_err("taken");
    assert!(matches!(&error, MigrateError::Listen { addr, .. } if *addr == b.local_addr()), "{error}");
    let error = a.migrate(Move::to(at(4)).advertise(at(4))).await.expect_err("port 0 is nobody's");
    assert!(matches!(error, MigrateError::Nowhere { addr } if addr == at(4)), "{error}");
    assert_eq!((a.local_addr(), a.addrs()), (before, vec![before]));
    let soon = |_, builder: Builder| builder.handshake_timeout(Duration::from_millis(500));
    let mut cluster = TestCluster::start_with(2, soon).await.expect("settled");
    let peer = cluster.node(1).id();
    cluster.end(1).await;
    let error = cluster.node(0).migrate(at(3)).await.expect_err("nobody is there");
    let MigrateError::NoPath { local, lost } = &error else { panic!("{error}") };
    assert_eq!((*local, &lost[..]), (cluster.node(0).local_addr(), &[peer][..]));
    assert_eq!(
        error.to_string(),
        format!("the node has moved to {local}, and none of its 1 peers finds it there")
    );
}
