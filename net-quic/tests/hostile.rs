//! A hostile peer, made by hand: whatever it tries ends in a refusal whose reason stays with the victim, and leaves
//! nothing behind.

#[path = "hostile/peer.rs"]
mod peer;

use peer::{BROKEN, COPIED, Face, Hello, OUTLIVED, Peer, Purpose, REFUSED, Role, SECRET, Session, framed};
use rumormill_net_quic::core::NodeId;
use rumormill_net_quic::{Builder, Cluster, Identity, Notice, Notices, Pin, Refusal};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);
/// The time that a victim gives to a handshake where a test lets it run out.
const SHORT: Duration = Duration::from_millis(400);

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// A victim, and what it tells its user.
struct Victim {
    node: Cluster,
    notices: Notices,
}

impl Victim {
    async fn start() -> Self {
        Self::start_with(|builder| builder.handshake_timeout(SOON)).await
    }

    async fn with_handshake(handshake: Duration) -> Self {
        Self::start_with(|builder| builder.handshake_timeout(handshake)).await
    }

    async fn start_with(turn: impl FnOnce(Builder) -> Builder) -> Self {
        let builder = Cluster::builder("test").secret("words").name("victim").listen(loopback());
        let identity = Identity::from_secret(&[1; 32]);
        let node = turn(builder.identity(identity)).start().await.expect("started");
        let notices = node.watch_trust();
        Self { node, notices }
    }

    fn addr(&self) -> SocketAddr {
        self.node.local_addr()
    }

    /// Waits for the next refusal.
    async fn refusal(&mut self) -> Refusal {
        loop {
            match timeout(SOON, self.notices.recv()).await.expect("soon").expect("running") {
                Notice::Refused { reason, .. } => return reason,
                _ => continue,
            }
        }
    }

    /// The peer was refused: the reason is here, it sees one code and no word, and nobody was pinned.
    async fn refused(&mut self, session: &Session, expected: Refusal) {
        let pins = self.node.pins().len();
        assert_eq!(self.refusal().await, expected);
        assert_eq!(session.closed().await, (u64::from(REFUSED), vec![]), "{expected}");
        assert_eq!(self.node.refusals().get(expected.kind()), Some(&1));
        assert_eq!((self.node.pins().len(), self.node.refused()), (pins, 1));
    }
}

fn face(number: u8) -> Face {
    Face::new([number; 32])
}

#[tokio::test]
async fn a_peer_made_by_hand_can_come_in() {
    let victim = Victim::start().await;
    let peer = Peer::new(face(2));
    let session = peer.dial(victim.addr()).await;
    session.come_in(&Hello::of("mallory")).await;
    let pins = victim.node.pins();
    assert!(pins.contains(&Pin::new(NodeId(face(2).key), "mallory")), "{pins:?}");
    assert_eq!(victim.node.refused(), 0);
}

#[tokio::test]
async fn who_does_not_know_the_secret_is_refused() {
    let mut victim = Victim::start().await;
    let session = Peer::new(face(2)).dial(victim.addr()).await;
    session.say(&Hello::of("mallory").sealed(b"a guess", &session, Role::Dialler)).await;
    victim.refused(&session, Refusal::WrongSecret).await;
}

#[tokio::test]
async fn a_hello_of_another_session_is_refused() {
    let mut victim = Victim::start().await;
    let peer = Peer::new(face(2));
    let first = peer.dial(victim.addr()).await;
    let hello = Hello::of("mallory").sealed(SECRET, &first, Role::Dialler);
    let mut talk = first.say(&hello).await;
    talk.hear().await; // it was good there
    let second = peer.dial(victim.addr()).await;
    second.say(&hello).await;
    victim.refused(&second, Refusal::WrongSecret).await;
}

#[tokio::test]
async fn the_victims_own_hello_is_refused() {
    let mut victim = Victim::start().await;
    let peer = Peer::new(face(2));
    let (node, addr) = (victim.node.clone(), peer.addr());
    let joining = tokio::spawn(async move { node.join(&[addr]).await });
    let session = peer.accept(&face(2)).await;
    let (send, receive) = session.connection.accept_bi().await.expect("its HELLO");
    let mut talk = peer::Talk { send, receive };
    let hello = talk.hear().await;
    talk.send.write_all(&hello).await.expect("said back");
    victim.refused(&session, Refusal::WrongSecret).await;
    joining.await.expect("no panic").expect_err("nobody else answered");
}

#[tokio::test]
async fn a_stranger_cannot_say_that_another_process_runs_with_the_victims_key() {
    let mut victim = Victim::start().await;
    for code in [OUTLIVED, COPIED] {
        let session = Peer::new(face(2)).dial(victim.addr()).await;
        session.connection.close(code.into(), b"");
        assert_eq!(victim.refusal().await, Refusal::ByPeer);
        let peer = Peer::new(face(3)); // the victim dials it, as a seed
        let (node, addr) = (victim.node.clone(), peer.addr());
        let joining = tokio::spawn(async move { node.join(&[addr]).await });
        let session = peer.accept(&face(3)).await;
        let (_send, mut receive) = session.connection.accept_bi().await.expect("its HELLO");
        receive.read_exact(&mut [0]).await.expect("said");
        session.connection.close(code.into(), b"");
        assert_eq!(victim.refusal().await, Refusal::ByPeer);
        joining.await.expect("no panic").expect_err("nobody else answered");
    }
}

#[tokio::test]
async fn a_hello_in_the_wrong_role_is_refused() {
    let mut victim = Victim::start().await;
    let session = Peer::new(face(2)).dial(victim.addr()).await;
    session.say(&Hello::of("mallory").sealed(SECRET, &session, Role::Acceptor)).await;
    victim.refused(&session, Refusal::WrongSecret).await;
}

#[tokio::test]
async fn another_node_than_was_dialled_is_refused() {
    let mut victim = Victim::start().await;
    let faces = [face(2), face(3)];
    let peer = Peer::with_faces(&faces);
    let (node, addr) = (victim.node.clone(), peer.addr());
    let joining = tokio::spawn(async move { node.join(&[addr]).await });
    // Under its first face it says who it is; then the victim dials that node, and meets the second.
    let session = peer.accept(&faces[0]).await;
    answer(&session, Purpose::Identify, "mallory").await;
    let session = peer.accept(&faces[1]).await;
    let (send, receive) = session.connection.accept_bi().await.expect("its HELLO");
    let mut talk = peer::Talk { send, receive };
    talk.hear().await;
    let hello = Hello::of("trudy").sealed(SECRET, &session, Role::Acceptor);
    talk.send.write_all(&hello).await.expect("said");
    let (expected, shown) = (NodeId(faces[0].key), NodeId(faces[1].key));
    victim.refused(&session, Refusal::WrongKey { expected, shown }).await;
    joining.abort();
}

/// Answers the victim's HELLO as an honest node would.
async fn answer(session: &Session, purpose: Purpose, name: &'static str) {
    let (send, receive) = session.connection.accept_bi().await.expect("its HELLO");
    let mut talk = peer::Talk { send, receive };
    talk.hear().await;
    let hello = Hello { purpose, ..Hello::of(name) }.sealed(SECRET, session, Role::Acceptor);
    talk.send.write_all(&hello).await.expect("said");
    let mut ack = [0];
    talk.receive.read_exact(&mut ack).await.expect("let in");
    talk.send.write_all(&[peer::ACK]).await.expect("said");
    session.connection.closed().await;
}

#[tokio::test]
async fn a_name_stays_with_its_key_and_a_key_with_its_name() {
    let (key, other) = (NodeId(face(2).key), face(3));
    let mut victim = Victim::start().await;
    victim.node.add_pin(Pin::new(key, "alice")).expect("free");
    let session = Peer::new(other).dial(victim.addr()).await;
    session.say(&Hello::of("alice").sealed(SECRET, &session, Role::Dialler)).await;
    victim.refused(&session, Refusal::NameTaken { name: "alice".into(), owner: key }).await;
    let mut victim = Victim::start().await;
    victim.node.add_pin(Pin::new(key, "alice")).expect("free");
    let session = Peer::new(face(2)).dial(victim.addr()).await;
    session.say(&Hello::of("bob").sealed(SECRET, &session, Role::Dialler)).await;
    victim.refused(&session, Refusal::Renamed { known: "alice".into(), said: "bob".into() }).await;
}

#[tokio::test]
async fn a_key_that_anybody_can_sign_for_is_refused() {
    let mut victim = Victim::start().await;
    let session = Peer::new(Face::weak()).dial(victim.addr()).await;
    victim.refused(&session, Refusal::WeakKey).await;
}

#[tokio::test]
async fn the_victims_own_key_is_refused() {
    let mut victim = Victim::start().await;
    let session = Peer::new(face(1)).dial(victim.addr()).await;
    victim.refused(&session, Refusal::OwnKey).await;
}

#[tokio::test]
async fn a_key_without_its_proof_does_not_pass_tls() {
    let mut victim = Victim::start().await;
    let liar = Peer::new(face(2).showing(face(3).key));
    let session = liar.dial(victim.addr()).await;
    let refusal = victim.refusal().await;
    assert!(matches!(refusal, Refusal::Tls(_)), "{refusal}");
    session.connection.closed().await;
    assert_eq!((victim.node.refused(), victim.node.pins().len()), (1, 1));
}

#[tokio::test]
async fn what_is_no_hello_is_refused_at_once() {
    let oversize = [&4097_u32.to_le_bytes()[..], &[0; 100]].concat();
    let huge = u32::MAX.to_le_bytes().to_vec();
    let garbage = framed(&[0xff; 200]);
    for bytes in [oversize, huge, framed(&[]), garbage] {
        let mut victim = Victim::start().await;
        let session = Peer::new(face(2)).dial(victim.addr()).await;
        let _talk = session.say(&bytes).await;
        victim.refused(&session, Refusal::Malformed).await;
    }
    let mut victim = Victim::start().await;
    let session = Peer::new(face(2)).dial(victim.addr()).await;
    session.say(&Hello::of("not a name").sealed(SECRET, &session, Role::Dialler)).await;
    victim.refused(&session, Refusal::Malformed).await;
}

#[tokio::test]
async fn another_version_and_no_auth_are_refused() {
    let mut victim = Victim::start().await;
    let session = Peer::new(face(2)).dial(victim.addr()).await;
    let hello = Hello { versions: (100, 101), ..Hello::of("mallory") };
    session.say(&hello.sealed(SECRET, &session, Role::Dialler)).await;
    victim.refused(&session, Refusal::Version { versions: (100, 101) }).await;
    let mut victim = Victim::start().await;
    let session = Peer::new(face(2)).dial(victim.addr()).await;
    let hello = Hello { is_auth_on: false, ..Hello::of("mallory") };
    session.say(&hello.sealed(SECRET, &session, Role::Dialler)).await;
    victim.refused(&session, Refusal::Auth { is_on: false }).await;
}

#[tokio::test]
async fn a_hello_byte_by_byte_runs_out_of_time() {
    let mut victim = Victim::with_handshake(SHORT).await;
    let session = Peer::new(face(2)).dial(victim.addr()).await;
    let hello = Hello::of("mallory").sealed(SECRET, &session, Role::Dialler);
    let mut talk = session.say(&hello[..1]).await;
    let mut pace = tokio::time::interval(SHORT / 20);
    for byte in &hello[1..] {
        pace.tick().await;
        if talk.send.write_all(&[*byte]).await.is_err() {
            break;
        }
    }
    victim.refused(&session, Refusal::TimedOut).await;
}

#[tokio::test]
async fn who_says_nothing_and_who_never_acknowledges_run_out_of_time() {
    let mut victim = Victim::with_handshake(SHORT).await;
    let session = Peer::new(face(2)).dial(victim.addr()).await;
    victim.refused(&session, Refusal::TimedOut).await;
    let mut victim = Victim::with_handshake(SHORT).await;
    let session = Peer::new(face(2)).dial(victim.addr()).await;
    let mut talk = session.say(&Hello::of("mallory").sealed(SECRET, &session, Role::Dialler)).await;
    talk.hear().await;
    victim.refused(&session, Refusal::TimedOut).await;
}

#[tokio::test]
async fn before_hello_there_is_one_stream() {
    let victim = Victim::start().await;
    let session = Peer::new(face(2)).dial(victim.addr()).await;
    let mut talk = session.say(&[]).await;
    talk.send.write_all(&[0]).await.expect("open");
    assert!(timeout(SHORT, session.connection.open_bi()).await.is_err(), "a second stream waits");
    assert!(timeout(SHORT, session.connection.open_uni()).await.is_err(), "and so does one of a channel");
    assert_eq!(victim.node.half_open(), 1);
}

#[tokio::test]
async fn a_flood_of_strangers_keeps_no_honest_node_out() {
    const PLACES: usize = 24;
    let turn = |builder: Builder| builder.handshake_timeout(Duration::from_secs(3)).half_open_max(PLACES);
    let mut victim = Victim::start_with(turn).await;
    let (addr, flood) = (victim.addr(), Peer::new(face(2)));
    let mut silent = Vec::new();
    for _ in 0..PLACES {
        silent.push(flood.dial(addr).await);
    }
    assert_eq!(victim.node.half_open(), PLACES);
    let dials: Vec<_> =
        (0..PLACES).map(|_| flood.endpoint.connect(addr, "victim").expect("a dial")).collect();
    // Refusals come as soon as the places are taken: nobody waits in line.
    assert_eq!(victim.refusal().await, Refusal::NoRoom("another handshake"));
    assert_eq!(victim.node.half_open(), PLACES, "and no more");
    let honest = Cluster::builder("test").secret("words").name("honest").listen(loopback());
    let honest = honest.seeds([addr]).start().await.expect("started");
    let mut members = honest.watch_members().await.expect("watching");
    let meeting = async {
        while !honest.connected().await.expect("running").contains(&victim.node.id()) {
            members.recv().await.expect("running");
        }
    };
    timeout(SOON, meeting).await.expect("the honest node gets in");
    let counts = victim.node.refusals();
    assert!(counts["timed-out"] <= 2 * PLACES as u64 && counts["no-room"] > 0, "{counts:?}");
    assert_eq!(victim.node.pins().len(), 2, "strangers left nothing behind");
    drop(dials);
}

#[tokio::test]
async fn handshakes_that_never_end_run_out_of_time() {
    let mut victim = Victim::with_handshake(SHORT).await;
    let deaf = deaf::endpoint(&face(2));
    let dials: Vec<_> = (0..100).map(|_| deaf.connect(victim.addr(), "victim").expect("a dial")).collect();
    assert_eq!(victim.refusal().await, Refusal::TimedOut);
    assert!(victim.node.half_open() <= 65, "the others must prove their address first");
    drop(dials);
}

mod deaf {
    //! A socket that sends and never hears.

    use super::peer::{Face, Peer};
    use quinn::udp::{RecvMeta, Transmit};
    use quinn::{AsyncUdpSocket, Endpoint, EndpointConfig, Runtime as _, TokioRuntime, UdpPoller};
    use std::io::{self, IoSliceMut};
    use std::net::{SocketAddr, UdpSocket};
    use std::pin::Pin;
    use std::sync::Arc;
    use std::task::{Context, Poll};

    #[derive(Debug)]
    struct Deaf(Arc<dyn AsyncUdpSocket>);

    impl AsyncUdpSocket for Deaf {
        fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
            self.0.clone().create_io_poller()
        }

        fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
            self.0.try_send(transmit)
        }

        fn poll_recv(
            &self,
            _: &mut Context<'_>,
            _: &mut [IoSliceMut<'_>],
            _: &mut [RecvMeta],
        ) -> Poll<io::Result<usize>> {
            Poll::Pending
        }

        fn local_addr(&self) -> io::Result<SocketAddr> {
            self.0.local_addr()
        }
    }

    pub(crate) fn endpoint(face: &Face) -> Endpoint {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let socket = Arc::new(Deaf(TokioRuntime.wrap_udp_socket(socket).expect("a socket")));
        let runtime = Arc::new(TokioRuntime);
        let endpoint = Endpoint::new_with_abstract_socket(EndpointConfig::default(), None, socket, runtime);
        let mut endpoint = endpoint.expect("an endpoint");
        endpoint.set_default_client_config(Peer::client(face));
        endpoint
    }
}

/// A member that means ill: let in, with a link of its own.
async fn member(victim: &Victim, peer: &Peer) -> Session {
    let session = peer.dial(victim.addr()).await;
    session.come_in(&Hello::of("mallory")).await;
    session
}

/// A frame of this type and body.
fn frame(kind: u16, body: &[u8]) -> Vec<u8> {
    [&(2 + body.len() as u32).to_le_bytes()[..], &kind.to_le_bytes(), body].concat()
}

/// The channel of control.
const CONTROL: u8 = 0;
/// A type of frame that this version knows, and whose body is not empty.
const KNOWN: u16 = 1;

#[tokio::test]
async fn an_oversize_frame_ends_the_connection() {
    let mut victim = Victim::start().await;
    let peer = Peer::new(face(2));
    let session = member(&victim, &peer).await;
    let mut stream = session.connection.open_uni().await.expect("a channel");
    let bytes = [&[CONTROL][..], &(65_u32 << 10).to_le_bytes(), &KNOWN.to_le_bytes(), &[0; 64]].concat();
    stream.write_all(&bytes).await.expect("sent");
    assert_eq!(victim.refusal().await, Refusal::BadFrame);
    assert_eq!(session.closed().await.0, u64::from(BROKEN));
}

#[tokio::test]
async fn garbage_is_counted_and_ends_the_connection() {
    let mut victim = Victim::start().await;
    let peer = Peer::new(face(2));
    let session = member(&victim, &peer).await;
    let mut stream = session.connection.open_uni().await.expect("a channel");
    stream.write_all(&[CONTROL]).await.expect("sent");
    stream.write_all(&frame(60_000, b"of a later version")).await.expect("passed over");
    while stream.write_all(&frame(KNOWN, &[0xff; 40])).await.is_ok() {}
    assert_eq!(victim.refusal().await, Refusal::BadFrame);
    assert_eq!(session.closed().await.0, 0, "the node has had enough of it");
    let counts = victim.node.refusals();
    assert!(counts.len() == 1 && counts["bad-frame"] < 10_000, "{counts:?}");
}

#[tokio::test]
async fn datagrams_of_garbage_are_counted_and_end_the_connection() {
    let mut victim = Victim::start().await;
    let peer = Peer::new(face(2));
    let session = member(&victim, &peer).await;
    while session.connection.send_datagram(frame(KNOWN, &[0xff; 40]).into()).is_ok() {
        tokio::task::yield_now().await;
    }
    assert_eq!(victim.refusal().await, Refusal::BadFrame);
    assert_eq!(session.closed().await.0, 0);
}

#[tokio::test]
async fn streams_of_an_unknown_kind_are_stopped_and_leave_nothing() {
    let mut victim = Victim::start().await;
    let peer = Peer::new(face(2));
    let session = member(&victim, &peer).await;
    for _ in 0..500 {
        let mut stream = timeout(SOON, session.connection.open_uni()).await.expect("soon").expect("a stream");
        stream.write_all(&[99]).await.expect("sent");
        assert_eq!(stream.stopped().await.expect("open"), Some(BROKEN.into()));
        assert_eq!(victim.refusal().await, Refusal::UnknownStream);
    }
    assert_eq!(victim.node.refusals().into_iter().collect::<Vec<_>>(), [("unknown-stream", 500)]);
}

#[tokio::test]
async fn a_member_opens_so_many_streams_and_no_more() {
    let victim = Victim::start().await;
    let peer = Peer::new(face(2));
    let session = member(&victim, &peer).await;
    let mut open = Vec::new();
    for _ in 0..8 {
        let mut stream = timeout(SOON, session.connection.open_uni()).await.expect("soon").expect("a stream");
        stream.write_all(&[CONTROL]).await.expect("sent");
        open.push(stream);
    }
    let ninth = timeout(SHORT, session.connection.open_uni()).await;
    assert!(ninth.is_err(), "one for each channel, and two to spare");
    let mut open = Vec::new();
    while let Ok(stream) = timeout(SHORT, session.connection.open_bi()).await {
        open.push(stream.expect("a stream"));
    }
    assert!(open.len() <= 65, "{} streams", open.len());
}

#[tokio::test]
async fn a_member_opens_so_many_connections_for_streams_and_no_more() {
    let mut victim = Victim::start().await;
    let peer = Peer::new(face(2));
    let hello = Hello { purpose: Purpose::Streams, ..Hello::of("mallory") };
    let mut sessions = Vec::new();
    for _ in 0..16 {
        let session = peer.dial(victim.addr()).await;
        session.come_in(&hello).await;
        sessions.push(session);
    }
    let session = peer.dial(victim.addr()).await;
    let mut talk = session.say(&hello.sealed(SECRET, &session, Role::Dialler)).await;
    talk.hear().await;
    talk.send.write_all(&[peer::ACK]).await.expect("open");
    victim.refused(&session, Refusal::NoRoom("another connection for streams")).await;
    assert!(sessions.iter().all(|session| session.connection.close_reason().is_none()));
    // One that ends makes room for another, as soon as the victim has heard of it.
    sessions[0].connection.close(0_u32.into(), b"");
    let coming = async {
        loop {
            let session = peer.dial(victim.addr()).await;
            let mut talk = session.say(&hello.sealed(SECRET, &session, Role::Dialler)).await;
            talk.hear().await;
            talk.send.write_all(&[peer::ACK]).await.expect("open");
            if talk.receive.read_exact(&mut [0]).await.is_ok() {
                return;
            }
        }
    };
    timeout(SOON, coming).await.expect("there is room again");
}

#[tokio::test]
async fn a_connection_of_an_older_life_that_comes_late_ends() {
    let victim = Victim::start().await;
    let peer = Peer::new(face(2));
    let [later, earlier] = [2, 1].map(|life| Hello { life, ..Hello::of("mallory") });
    let session = peer.dial(victim.addr()).await;
    session.come_in(&later).await;
    let late = peer.dial(victim.addr()).await;
    late.come_in(&earlier).await;
    assert_eq!(late.closed().await.0, u64::from(OUTLIVED));
    assert!(session.connection.close_reason().is_none());
}

#[tokio::test]
async fn a_member_that_links_again_and_again_has_one_link() {
    let victim = Victim::start().await;
    let peer = Peer::new(face(2));
    let mut last = member(&victim, &peer).await;
    for _ in 0..20 {
        let next = member(&victim, &peer).await;
        assert_eq!(last.closed().await.0, u64::from(BROKEN), "its successor takes its place");
        last = next;
    }
    assert_eq!(victim.node.connected().await.expect("running"), [NodeId(face(2).key)]);
}
