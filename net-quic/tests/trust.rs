//! Real nodes that trust each other, and cease to: an authority, keys that rotate, keys that are stolen or revoked, auth
//! that is off.

use rumormill_net_quic::core::{Event, NodeId};
use rumormill_net_quic::{
    Authority, BuildError, Builder, Cluster, Error, Flaw, Identity, IdentityError, Notice, Notices,
    ROTATIONS_MAX, Refusal, RotateError, Trust,
};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);
const DAY: Duration = Duration::from_secs(86_400);

fn builder(name: &str) -> Builder {
    let loopback: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
    Cluster::builder("test").secret("words").name(name).listen(loopback)
}

async fn start(builder: Builder) -> Cluster {
    builder.start().await.expect("started")
}

/// Waits for a notice.
async fn until<T>(notices: &mut Notices, find: impl Fn(Notice) -> Option<T>) -> T {
    let finding = async {
        loop {
            if let Some(found) = find(notices.recv().await.expect("running")) {
                return found;
            }
        }
    };
    timeout(SOON, finding).await.expect("soon")
}

/// Waits for the next refusal.
async fn refusal(notices: &mut Notices) -> Refusal {
    until(notices, |notice| match notice {
        Notice::Refused { reason, .. } => Some(reason),
        _ => None,
    })
    .await
}

/// Lets `guest` come in through `host`, and waits until both are linked.
async fn meet(guest: &Cluster, host: &Cluster) {
    guest.join(&[host.local_addr()]).await.expect("let in");
    for (one, other) in [(guest, host), (host, guest)] {
        connected(one, other.id()).await;
    }
}

async fn connected(node: &Cluster, other: NodeId) {
    let mut events = node.events().await.expect("running");
    let waiting = async {
        while !node.connected().await.expect("running").contains(&other) {
            events.recv().await.expect("running");
        }
    };
    timeout(SOON, waiting).await.expect("linked soon");
}

async fn disconnected(node: &Cluster, other: NodeId) {
    let mut events = node.events().await.expect("running");
    let waiting = async {
        while node.connected().await.expect("running").contains(&other) {
            events.recv().await.expect("running");
        }
    };
    timeout(SOON, waiting).await.expect("apart soon");
}

/// Waits until a node is a member, as another knows it.
async fn known(node: &Cluster, other: NodeId) {
    let mut members = node.watch_members().await.expect("watching");
    let waiting = async {
        while node.contact(other).await.expect("running").is_none() {
            members.recv().await.expect("running");
        }
    };
    timeout(SOON, waiting).await.expect("known soon");
}

/// `guest` is refused by `host`, whose user alone hears why.
async fn refused(guest: &Cluster, host: &Cluster) -> Refusal {
    let mut notices = host.watch_trust();
    let error = guest.join(&[host.local_addr()]).await.expect_err("refused");
    let Error::NobodyAnswered { reasons } = &error else { panic!("{error}") };
    assert_eq!(reasons[0].1, Refusal::ByPeer.to_string(), "the guest learns nothing");
    refusal(&mut notices).await
}

#[tokio::test]
async fn a_node_hears_that_another_process_runs_with_its_key() {
    let identity = || Identity::from_secret(&[9; 32]);
    let host = start(builder("host")).await;
    let first = start(builder("twin").identity(identity())).await;
    let mut notices = first.watch_trust();
    meet(&first, &host).await;
    let second = start(builder("twin").identity(identity())).await;
    second.join(&[host.local_addr()]).await.expect("let in");
    assert_eq!(refusal(&mut notices).await, Refusal::Outlived);
    assert_eq!(first.refused(), 0, "it has refused nobody");
}

#[tokio::test]
async fn nodes_that_are_configured_otherwise_are_no_members_to_each_other_and_both_say_why() {
    let host = start(builder("host")).await;
    let guest = start(builder("guest").configure(|config| config.ring_size = 128)).await;
    let (mut host_hears, mut guest_hears) = (host.watch_trust(), guest.watch_trust());
    guest.join(&[host.local_addr()]).await.expect("let in");
    let no_member =
        |node: &Cluster, ours, theirs| Refusal::NoMember { node: node.id(), key: "ring_size", ours, theirs };
    let (at_host, at_guest) = (no_member(&guest, 64, 128), no_member(&host, 128, 64));
    assert_eq!(refusal(&mut host_hears).await, at_host);
    assert_eq!(refusal(&mut guest_hears).await, at_guest);
    assert_eq!(host.last_refusals()[0].reason, at_host);
    let said = at_guest.to_string();
    assert!(
        said.ends_with("ring_size is 64 there and 128 here; it must be the same in the whole cluster"),
        "{said}"
    );
}

#[tokio::test]
async fn two_processes_out_of_copies_of_one_folder_are_both_told() {
    let host = start(builder("host")).await;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("later").as_millis() as u64;
    // The same key and the same marks: so begins a folder that was copied.
    let twin = || builder("twin").identity(Identity::from_secret(&[9; 32])).wall_clock(move || now);
    let (first, second) = (start(twin()).await, start(twin()).await);
    let (mut hears_first, mut hears_second) = (first.watch_trust(), second.watch_trust());
    meet(&first, &host).await;
    let joined = second.join(&[host.local_addr()]).await;
    assert_eq!(refusal(&mut hears_first).await, Refusal::Copied);
    assert_eq!(refusal(&mut hears_second).await, Refusal::Copied);
    assert!(joined.is_err(), "who came second does not come in");
    assert_eq!((first.refused(), second.refused()), (0, 0), "they have refused nobody");
}

fn valid() -> std::ops::Range<SystemTime> {
    SystemTime::now() - DAY..SystemTime::now() + DAY
}

#[tokio::test]
async fn an_authority_lets_in_whom_it_certified() {
    let authority = Authority::generate().expect("entropy");
    let trust = || Trust::Authority { key: authority.key() };
    let node = |number: u8, name: &str| {
        let identity = Identity::from_secret(&[number; 32]);
        let certificate = authority.issue("test", identity.node_id(), name, valid());
        builder(name).identity(identity).trust(trust()).certificate(certificate)
    };
    let (a, b) = (start(node(1, "a")).await, start(node(2, "b")).await);
    meet(&b, &a).await;
    let stranger = start(builder("stranger")).await;
    assert_eq!(refused(&stranger, &a).await, Refusal::NoCertificate);
    // Its time was over yesterday, and its clock is behind.
    let identity = Identity::from_secret(&[3; 32]);
    let over = SystemTime::now() - 3 * DAY..SystemTime::now() - 2 * DAY;
    let certificate = authority.issue("test", identity.node_id(), "late", over);
    let (holds, _) = certificate.holds_ms();
    let late = builder("late").identity(identity).trust(trust()).certificate(certificate.clone());
    let late = start(late.wall_clock(move || holds)).await;
    assert_eq!(refused(&late, &a).await, Refusal::Certificate(Flaw::Expired));
    // Somebody else's certificate, shown by a node that believes another authority.
    let forger = Authority::generate().expect("entropy");
    let identity = Identity::from_secret(&[4; 32]);
    let forged = forger.issue("test", identity.node_id(), "a", valid());
    let thief = builder("a").identity(identity).trust(Trust::Authority { key: forger.key() });
    let thief = start(thief.certificate(forged)).await;
    assert_eq!(refused(&thief, &a).await, Refusal::Certificate(Flaw::Signature));
}

#[tokio::test]
async fn a_node_whose_certificate_nobody_would_take_does_not_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::load_or_create(&folder.path().join("authority.key")).expect("made");
    let trust = || Trust::Authority { key: authority.key() };
    let home = folder.path().join("node");
    let without = builder("a").trust(trust()).folder(&home).start().await.err();
    assert!(matches!(without, Some(BuildError::NoCertificate)), "{without:?}");
    let identity = Identity::load_or_create(&home.join("node.key")).expect("its key");
    let certificate = authority.issue("test", identity.node_id(), "certified", valid());
    certificate.save(&home.join("node.certificate")).expect("written");
    let renamed = builder("a").trust(trust()).folder(&home).start().await.err();
    assert!(matches!(renamed, Some(BuildError::Certificate(Flaw::Name))), "{renamed:?}");
    let loopback: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
    let node = Cluster::builder("test").secret("words").trust(trust()).folder(&home).listen(loopback);
    assert_eq!(start(node).await.name(), "certified");
}

/// A node that keeps its things in a folder.
fn at_home(name: &str, home: &Path) -> Builder {
    builder(name).folder(home)
}

#[tokio::test]
async fn a_node_that_rotates_its_key_is_who_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path().join("b");
    let now = Arc::new(AtomicU64::new(0));
    let clock = now.clone();
    let real = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64;
    let ahead = move || real() + clock.load(Relaxed);
    let a = start(builder("a").wall_clock(ahead)).await;
    let c = start(builder("c")).await;
    let b = start(at_home("b", &home)).await;
    let id = b.id();
    meet(&c, &a).await;
    meet(&b, &a).await;
    c.add_pin(rumormill_net_quic::Pin::new(id, "b")).expect("free, or pinned so already");
    b.shutdown().await;
    drop(b);
    let key = home.join("node.key");
    let rotated = Identity::rotate(&key, DAY).expect("rotated");
    let mut notices = [a.watch_trust(), c.watch_trust()];
    let b = start(at_home("b", &home)).await;
    assert_eq!(b.id(), id, "the node is who it was");
    b.join(&[a.local_addr()]).await.expect("let in");
    for notices in &mut notices {
        let told = until(notices, |notice| match notice {
            Notice::Rotated { node, name, key } => Some((node, name, key)),
            _ => None,
        });
        assert_eq!(told.await, (id, "b".to_string(), rotated.public_key()), "and so does c");
    }
    b.shutdown().await;
    drop(b);
    // The backup serves until the overlap is over.
    let backup = || Identity::load(&home.join("node.key.0")).expect("kept");
    let old = start(builder("b").identity(backup())).await;
    old.join(&[a.local_addr()]).await.expect("within the overlap");
    old.shutdown().await;
    now.store(2 * DAY.as_millis() as u64, Relaxed);
    let old = start(builder("b").identity(backup())).await;
    assert_eq!(refused(&old, &a).await, Refusal::OldKey);
}

#[tokio::test]
async fn a_node_rotates_its_key_while_it_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path().join("b");
    let (a, b) = (start(builder("a")).await, start(at_home("b", &home)).await);
    meet(&b, &a).await;
    let first = Identity::load(&home.join("node.key")).expect("its key");
    let pin_of = |node: &Cluster| node.pins().into_iter().find(|pin| pin.name == "b").expect("pinned");
    let (mut events, mut notices) = (a.events().await.expect("running"), a.watch_trust());
    for rotations in 1..=2 {
        let rotated = b.rotate_identity(DAY).await.expect("rotated");
        assert_eq!((rotated.node_id(), b.id()), (first.node_id(), first.node_id()), "who it was");
        let told = until(&mut notices, |notice| match notice {
            Notice::Rotated { node, key, .. } => Some((node, key)),
            _ => None,
        });
        assert_eq!(told.await, (b.id(), rotated.public_key()), "over the link that stands");
        assert_eq!(Identity::load(&home.join("node.key")).expect("kept").public_key(), rotated.public_key());
        // Both ends of new connections: who is dialled shows it, and who dials.
        let stranger = start(builder(&format!("c{rotations}"))).await;
        stranger.join(&[b.local_addr()]).await.expect("let in");
        for node in [&a, &b, &stranger] {
            let pin = pin_of(node);
            assert_eq!((pin.key, pin.current, pin.rotations), (b.id(), rotated.public_key(), rotations));
        }
        let host = start(builder(&format!("d{rotations}"))).await;
        b.join(&[host.local_addr()]).await.expect("let in");
        assert_eq!(pin_of(&host).current, rotated.public_key());
    }
    while let Some(event) = events.try_recv() {
        assert!(!matches!(event, Event::NeighborDown { peer, .. } if peer == b.id()), "the link went on");
    }
    // The first key is good for nothing any more; the link that it had opened is over, and the node is back.
    a.revoke(first.revoke("test")).await.expect("the key says so itself");
    let thief = start(builder("b").identity(first)).await;
    assert_eq!(refused(&thief, &a).await, Refusal::Revoked);
    connected(&a, b.id()).await;
    let key = Identity::load(&home.join("node.key")).expect("kept").public_key();
    b.shutdown().await;
    drop(b);
    let b = start(at_home("b", &home)).await;
    b.join(&[a.local_addr()]).await.expect("let in");
    assert_eq!(pin_of(&a).current, key, "and shows it in its next life");
}

#[tokio::test]
async fn a_key_that_nobody_keeps_is_rotated_too_and_another_nodes_file_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path().join("b");
    let (a, b) = (start(builder("a")).await, start(at_home("b", &home)).await);
    let kept = a.rotate_identity(DAY).await.expect("rotated");
    b.join(&[a.local_addr()]).await.expect("let in");
    a.shutdown().await;
    drop(a);
    let a = start(builder("a").identity(kept.clone())).await;
    assert_eq!(a.id(), kept.node_id());
    b.join(&[a.local_addr()]).await.expect("known by it");
    let file = home.join("node.key");
    std::fs::remove_file(&file).expect("removed");
    Identity::load_or_create(&file).expect("another node's");
    let error = b.rotate_identity(DAY).await.expect_err("not this node's");
    assert!(matches!(&error, RotateError::OtherKey { path } if *path == file), "{error}");
    let own = b.pins().into_iter().find(|pin| pin.key == b.id()).expect("its own");
    assert_eq!((own.current, own.rotations), (b.id(), 0), "nothing has changed");
}

/// Tells the process that a test starts which key file it rotates.
const ROTATES: &str = "RUMORMILL_TEST_ROTATES";

#[test]
fn a_process_killed_while_it_rotates_leaves_a_key() {
    if let Some(path) = std::env::var_os(ROTATES) {
        for _ in 0..ROTATIONS_MAX {
            Identity::rotate(Path::new(&path), DAY).expect("rotated");
        }
        return;
    }
    let own = std::env::current_exe().expect("this test");
    for round in 0..3 * ROTATIONS_MAX {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("node.key");
        let first = Identity::load_or_create(&path).expect("made");
        let mut command = Command::new(&own);
        command.args(["--exact", "a_process_killed_while_it_rotates_leaves_a_key", "--nocapture"]);
        command.env(ROTATES, &path).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("started");
        let (mut seen, mut key) = (0, first.public_key());
        // It is killed somewhere after this rotation. Until then the file is read as fast as it can be.
        while seen < round % ROTATIONS_MAX && child.try_wait().expect("a child").is_none() {
            let now = Identity::load(&path).expect("a key, whole").public_key();
            seen += usize::from(now != key);
            key = now;
        }
        child.kill().expect("killed");
        child.wait().expect("gone");
        let left = Identity::load(&path).expect("a key, whole");
        assert_eq!(left.node_id(), first.node_id());
        match Identity::rotate(&path, DAY) {
            Ok(_) => {}
            Err(error) => assert!(matches!(error, IdentityError::Worn), "{error}"),
        }
    }
}

#[tokio::test]
async fn a_key_that_two_rotated_is_frozen_everywhere_and_for_good() {
    let folder = tempfile::tempdir().expect("a folder");
    let (home, stolen) = (folder.path().join("b"), folder.path().join("stolen.key"));
    let a_home = folder.path().join("a");
    let a = start(at_home("a", &a_home)).await;
    let c = start(builder("c")).await;
    meet(&c, &a).await;
    let identity = Identity::load_or_create(&home.join("node.key")).expect("made");
    identity.save(&stolen).expect("stolen");
    Identity::rotate(&home.join("node.key"), DAY).expect("rotated");
    let thief = Identity::rotate(&stolen, DAY).expect("rotated");
    let b = start(at_home("b", &home)).await;
    meet(&b, &a).await;
    c.add_pin(rumormill_net_quic::Pin::new(b.id(), "b")).expect("free, or pinned so already");
    connected(&c, a.id()).await;
    let mut notices = [a.watch_trust(), c.watch_trust()];
    let thief = start(builder("b").identity(thief)).await;
    assert_eq!(refused(&thief, &a).await, Refusal::Forked("b".into()));
    for notices in &mut notices {
        let told = until(notices, |notice| match notice {
            Notice::Forked { node, name } => Some((node, name)),
            _ => None,
        });
        assert_eq!(told.await, (b.id(), "b".to_string()), "and so does c");
    }
    for node in [&a, &c] {
        disconnected(node, b.id()).await;
        assert_eq!(refused(&b, node).await, Refusal::Forked("b".into()), "nobody knows who is the owner");
        assert!(node.pins().iter().any(|pin| pin.name == "b" && pin.is_frozen));
    }
    a.shutdown().await;
    drop(a);
    let a = start(at_home("a", &a_home)).await;
    assert_eq!(refused(&b, &a).await, Refusal::Forked("b".into()), "also in its next life");
    assert!(a.remove_pin(&b.id()).expect("written"));
    b.join(&[a.local_addr()]).await.expect("its user has decided");
}

#[tokio::test]
async fn a_revoked_node_is_put_out_and_stays_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::generate().expect("entropy");
    let node = |number: u8, name: &str| {
        let identity = Identity::from_secret(&[number; 32]);
        let certificate = authority.issue("test", identity.node_id(), name, valid());
        let trust = Trust::Authority { key: authority.key() };
        builder(name).identity(identity).trust(trust).certificate(certificate)
    };
    let home = folder.path().join("a");
    let a = start(node(1, "a").folder(&home)).await;
    let (b, c) = (start(node(2, "b")).await, start(node(3, "c")).await);
    for guest in [&b, &c] {
        meet(guest, &a).await;
    }
    meet(&c, &b).await;
    known(&a, c.id()).await;
    let mut acceptor = c.accept_streams("s").expect("free");
    let mut stream = a.open_stream(c.id(), "s").await.expect("opened");
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"x").await.expect("sent");
    timeout(SOON, acceptor.accept()).await.expect("soon").expect("running");
    let other = Authority::generate().expect("entropy");
    assert_eq!(a.revoke(other.revoke("test", c.id())).await, Err(Error::NotEntitled));
    assert_eq!(a.revoke(authority.revoke("another", c.id())).await, Err(Error::NotEntitled));
    let mut notices = b.watch_trust();
    a.revoke(authority.revoke("test", c.id())).await.expect("entitled");
    let told = until(&mut notices, |notice| match notice {
        Notice::Revoked { key } => Some(key),
        _ => None,
    });
    assert_eq!(told.await, c.id());
    for node in [&a, &b] {
        disconnected(node, c.id()).await;
        assert_eq!(refused(&c, node).await, Refusal::Revoked);
    }
    let read = tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 8]).await;
    read.expect_err("its streams end too");
    // Who was not there is told at the first meeting; who starts again remembers.
    let late = start(node(4, "late")).await;
    meet(&late, &b).await;
    assert_eq!(refused(&c, &late).await, Refusal::Revoked);
    a.shutdown().await;
    drop(a);
    let a = start(node(1, "a").folder(&home)).await;
    assert_eq!(refused(&c, &a).await, Refusal::Revoked);
}

#[tokio::test]
async fn a_long_list_of_revocations_is_told_at_one_meeting() {
    const LOST: u64 = 300; // more than a stranger may send in one go
    let (a, b) = (start(builder("a")).await, start(builder("b")).await);
    let mut last = None;
    for number in 0..LOST {
        let mut secret = [0x70; 32];
        secret[..8].copy_from_slice(&number.to_le_bytes());
        let lost = Identity::from_secret(&secret);
        a.revoke(lost.revoke("test")).await.expect("the key says so itself");
        last = Some(lost);
    }
    let mut notices = b.watch_trust();
    meet(&b, &a).await;
    let mut heard = 0;
    while heard < LOST {
        until(&mut notices, |notice| matches!(notice, Notice::Revoked { .. }).then_some(())).await;
        heard += 1 + notices.take_missed();
    }
    let lost = start(builder("lost").identity(last.expect("one of them"))).await;
    assert_eq!(refused(&lost, &b).await, Refusal::Revoked);
}

#[tokio::test]
async fn without_an_authority_a_key_revokes_itself_and_a_user_bars_it_at_home() {
    let (a, b) = (start(builder("a")).await, start(builder("b")).await);
    meet(&b, &a).await;
    let lost = Identity::from_secret(&[7; 32]);
    let c = start(builder("c").identity(lost.clone())).await;
    meet(&c, &a).await;
    let authority = Authority::generate().expect("entropy");
    assert_eq!(a.revoke(authority.revoke("test", c.id())).await, Err(Error::NotEntitled));
    let mut notices = b.watch_trust();
    a.revoke(lost.revoke("test")).await.expect("the key says so itself");
    until(&mut notices, |notice| (notice == Notice::Revoked { key: lost.node_id() }).then_some(())).await;
    assert_eq!(refused(&c, &b).await, Refusal::Revoked);
    let d = start(builder("d")).await;
    meet(&d, &a).await;
    a.revoke_here(d.id()).await.expect("written");
    disconnected(&a, d.id()).await;
    assert_eq!(refused(&d, &a).await, Refusal::Revoked);
    d.join(&[b.local_addr()]).await.expect("b was not told");
}

#[tokio::test]
async fn auth_on_and_auth_off_do_not_meet() {
    let loopback: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
    let off = |name: &str| Cluster::builder("test").name(name).listen(loopback).trust(Trust::Off);
    let (open, other) = (start(off("open")).await, start(off("other")).await);
    let guarded = start(builder("guarded")).await;
    assert_eq!(refused(&open, &guarded).await, Refusal::Auth { is_on: false });
    assert_eq!(refused(&guarded, &open).await, Refusal::Auth { is_on: true });
    assert!(!open.trust().is_on() && guarded.trust().is_on());
    meet(&other, &open).await;
    for builder in [Cluster::builder("test"), Cluster::builder("test").secret("")] {
        let without = builder.listen(loopback).start().await.err();
        assert!(matches!(without, Some(BuildError::NoSecret)), "{without:?}");
    }
}
