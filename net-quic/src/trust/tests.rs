//! The judge, asked without a network.

use super::admission::{Own, Proven};
use super::allowed::parse_key;
use super::gossip::{Errand, Statement};
use super::pins::PINS_MAX;
use super::{Admission, Authority, ERRANDS, Gossip, Notice, Pin, Refusal, Rotation, Trust};
use crate::hello::Hello;
use crate::identity::Identity;
use crate::store::Store;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tokio::sync::mpsc;

const CLUSTER: &str = "c";

/// A judge, its time, and the errands that it gives.
struct Bench {
    judge: Admission,
    now_ms: Arc<AtomicU64>,
    errands: mpsc::Receiver<Errand>,
    store: Store,
}

fn own() -> Identity {
    Identity::from_secret(&[1; 32])
}

impl Bench {
    fn new(trust: Trust) -> Self {
        Self::with_store(trust, Store::in_memory().expect("a store"))
    }

    fn with_store(trust: Trust, store: Store) -> Self {
        let (now_ms, (sender, errands)) = (Arc::new(AtomicU64::new(0)), mpsc::channel(ERRANDS));
        let (clock, own) = (now_ms.clone(), Own::new(&own(), "me", CLUSTER, None));
        let wall = Arc::new(move || clock.load(Relaxed));
        let judge = Admission::new(trust, own, store.clone(), wall, Gossip::new(sender)).expect("a judge");
        Self { judge, now_ms, errands, store }
    }

    /// Ends the node and begins its next life.
    fn again(self) -> Self {
        let (trust, store) = (self.judge.trust().clone(), self.store);
        Self::with_store(trust, store)
    }

    /// A node of this identity comes under a name.
    fn meet(&self, identity: &Identity, name: &str) -> Result<(), Refusal> {
        let (key, hello) = (identity.public_key(), hello(identity, name));
        self.judge.judge_key(&key)?;
        let peer = self.judge.prove(key, &hello)?;
        self.judge.judge(&peer, &hello)?;
        self.judge.admit(&peer, &hello)
    }

    /// What everybody is to be told.
    fn told(&mut self) -> Vec<Statement> {
        let errands = std::iter::from_fn(|| self.errands.try_recv().ok());
        let told = errands.filter_map(|errand| match errand {
            Errand::Tell(payload) => Some(postcard::from_bytes(&payload).expect("a statement")),
            Errand::Heard(_) => None,
        });
        told.collect()
    }
}

fn hello(identity: &Identity, name: &str) -> Hello {
    Hello { chain: identity.chain().to_vec(), ..Hello::blank(name) }
}

fn node(number: u8) -> Identity {
    Identity::from_secret(&[number; 32])
}

#[test]
fn names_and_keys_are_one_to_one() {
    let bench = Bench::new(Trust::OnFirstUse);
    let (a, b) = (node(2), node(3));
    assert_eq!(bench.meet(&a, "a"), Ok(()), "first use");
    assert_eq!(bench.meet(&a, "a"), Ok(()), "again");
    assert_eq!(bench.meet(&b, "a"), Err(Refusal::NameTaken { name: "a".into(), owner: a.node_id() }));
    assert_eq!(bench.meet(&a, "b"), Err(Refusal::Renamed { known: "a".into(), said: "b".into() }));
    assert!(bench.meet(&b, "me").is_err(), "nobody takes our own name");
    assert_eq!(bench.judge.remove(&a.node_id()).ok(), Some(true));
    assert_eq!(bench.judge.remove(&a.node_id()).ok(), Some(false));
    assert_eq!(bench.judge.remove(&own().node_id()).ok(), Some(false), "our own stays");
    assert_eq!(bench.meet(&b, "a"), Ok(()), "the name is free again");
    assert_eq!(bench.judge.add(&Pin::new(b.node_id(), "a")), Ok(()), "as it is");
    assert!(bench.judge.add(&Pin::new(b.node_id(), "c")).is_err());
}

#[test]
fn pins_outlive_the_node() {
    let bench = Bench::new(Trust::OnFirstUse);
    bench.meet(&node(2), "a").expect("first use");
    let bench = bench.again();
    assert!(bench.meet(&node(3), "a").is_err());
    assert_eq!(bench.judge.node_called("a"), Some(node(2).node_id()));
}

#[test]
fn keys_that_prove_nothing_and_our_own_are_refused() {
    let bench = Bench::new(Trust::OnFirstUse);
    // Points of orders 1, 2, 4 and 8.
    for weak in [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    ] {
        let key = parse_key(weak).expect("a key");
        assert_eq!(bench.judge.judge_key(&key), Err(Refusal::WeakKey), "{weak}");
    }
    assert_eq!(bench.meet(&own(), "me"), Err(Refusal::OwnKey));
    let stolen = own().rotated(u64::MAX).expect("rotated");
    assert_eq!(bench.meet(&stolen, "me"), Err(Refusal::OwnKey), "our own, rotated by somebody else");
}

#[test]
fn a_pin_follows_its_node_from_key_to_key() {
    let mut bench = Bench::new(Trust::OnFirstUse);
    let first = node(2);
    let second = first.rotated(100).expect("rotated");
    let third = second.rotated(200).expect("rotated");
    bench.meet(&first, "a").expect("first use");
    assert_eq!(bench.told(), []);
    assert_eq!(bench.meet(&third, "a"), Ok(()), "two rotations at once");
    assert_eq!(bench.told(), [Statement::Rotated(third.chain().to_vec())]);
    assert_eq!(bench.meet(&third, "a"), Ok(()));
    assert_eq!(bench.told(), [], "everybody is told once");
    let pins = bench.judge.pins();
    let pin = pins.iter().find(|pin| pin.name == "a").expect("pinned");
    assert_eq!((pin.key, pin.current, pin.rotations), (first.node_id(), third.public_key(), 2));
    bench.now_ms.store(99, Relaxed);
    assert_eq!(bench.meet(&first, "a"), Ok(()), "within the overlap");
    bench.now_ms.store(100, Relaxed);
    assert_eq!(bench.meet(&first, "a"), Err(Refusal::OldKey));
    assert_eq!(bench.meet(&second, "a"), Ok(()), "within its own");
    let bench = bench.again();
    bench.now_ms.store(200, Relaxed);
    assert_eq!(bench.meet(&second, "a"), Err(Refusal::OldKey), "also in the next life");
    assert_eq!(bench.meet(&third, "a"), Ok(()));
}

#[test]
fn a_rotation_is_heard_of_before_the_node_is_met() {
    let mut bench = Bench::new(Trust::OnFirstUse);
    let (first, stranger) = (node(2), node(3));
    let second = first.rotated(100).expect("rotated");
    bench.meet(&first, "a").expect("first use");
    bench.judge.hear(Statement::Rotated(second.chain().to_vec()));
    bench.judge.hear(Statement::Rotated(stranger.rotated(100).expect("rotated").chain().to_vec()));
    bench.now_ms.store(100, Relaxed);
    assert_eq!(bench.meet(&first, "a"), Err(Refusal::OldKey));
    assert_eq!(bench.judge.pins().len(), 2, "strangers are not pinned by hearsay");
    assert_eq!(bench.told(), [], "whoever told it told everybody");
}

#[test]
fn a_name_whose_key_is_in_two_hands_is_frozen() {
    let mut bench = Bench::new(Trust::OnFirstUse);
    let mut notices = bench.judge.board().listen();
    let first = node(2);
    let (owner, thief) = (first.rotated(100).expect("rotated"), first.rotated(100).expect("rotated"));
    bench.meet(&owner, "a").expect("first use");
    assert_eq!(bench.judge.is_barred(&Proven { node: first.node_id(), key: owner.public_key() }), None);
    let forked = || Err(Refusal::Forked("a".into()));
    assert_eq!(bench.meet(&thief, "another name"), forked(), "whatever name the thief takes");
    assert_eq!(bench.meet(&owner, "a"), forked(), "nobody can tell which of both is the owner");
    assert!(bench.judge.is_barred(&Proven { node: first.node_id(), key: owner.public_key() }).is_some());
    let told = bench.told();
    let proof: Box<(Rotation, Rotation)> = Box::new((owner.chain()[0].clone(), thief.chain()[0].clone()));
    assert_eq!(told, [Statement::Forked(proof)]);
    let mut bench = bench.again();
    assert_eq!(bench.meet(&owner, "a"), forked(), "also in the next life");
    assert!(bench.meet(&node(9), "a").is_err(), "nobody else takes the name");
    assert_eq!(bench.told(), []);
    bench.judge.remove(&first.node_id()).expect("removed");
    assert_eq!(bench.meet(&owner, "a"), Ok(()), "its user has decided");
    let notice = futures(notices.recv());
    assert_eq!(notice, Some(Notice::Forked { node: first.node_id(), name: "a".into() }));
    // Others believe the proof, and no forged one.
    let other = Bench::new(Trust::OnFirstUse);
    other.meet(&owner, "a").expect("first use");
    other.judge.hear(Statement::Forked(Box::new((owner.chain()[0].clone(), owner.chain()[0].clone()))));
    let stranger = node(4);
    let (one, two) = (stranger.rotated(1).expect("rotated"), stranger.rotated(2).expect("rotated"));
    other.judge.hear(Statement::Forked(Box::new((one.chain()[0].clone(), two.chain()[0].clone()))));
    assert_eq!(other.meet(&owner, "a"), Ok(()));
    other.judge.hear(told[0].clone());
    assert_eq!(other.meet(&owner, "a"), forked());
}

/// Polls something that is ready.
fn futures<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(future)
}

#[test]
fn a_revoked_key_stays_revoked() {
    let authority = Authority::from_secret(&[9; 32]);
    let mut bench = Bench::new(Trust::OnFirstUse);
    let (a, b) = (node(2), node(3));
    bench.meet(&a, "a").expect("first use");
    let by_authority = authority.revoke(CLUSTER, a.node_id());
    assert!(bench.judge.revoke(by_authority).is_err(), "no authority is trusted here");
    assert!(bench.judge.revoke(a.revoke("another cluster")).is_err());
    assert_eq!(bench.meet(&a, "a"), Ok(()));
    assert_eq!(bench.judge.revoke(a.revoke(CLUSTER)), Ok(()));
    assert_eq!(bench.judge.revoke(a.revoke(CLUSTER)), Ok(()), "twice is fine");
    assert_eq!(bench.meet(&a, "a"), Err(Refusal::Revoked));
    assert_eq!(bench.told(), [Statement::Revoked(a.revoke(CLUSTER))], "everybody is told once");
    bench.judge.revoke_here(b.node_id()).expect("written");
    assert_eq!(bench.meet(&b, "b"), Err(Refusal::Revoked));
    assert_eq!(bench.told(), [], "that concerns this node only");
    let (sheet, digest) = (bench.judge.sheet(), bench.judge.sheet_digest());
    assert_eq!(sheet, [a.revoke(CLUSTER)]);
    let bench = bench.again();
    assert_eq!(bench.meet(&a, "a"), Err(Refusal::Revoked), "also in the next life");
    assert_eq!(bench.meet(&b, "b"), Err(Refusal::Revoked));
    let mut other = Bench::new(Trust::OnFirstUse);
    assert_ne!(other.judge.sheet_digest(), digest);
    other.judge.take_sheet(sheet);
    assert_eq!(other.judge.sheet_digest(), digest);
    assert_eq!(other.meet(&a, "a"), Err(Refusal::Revoked));
    assert_eq!(
        other.told(),
        [Statement::Revoked(a.revoke(CLUSTER))],
        "who learns at a meeting tells the rest"
    );
}

#[test]
fn the_thief_of_a_revoked_key_rotates_in_vain() {
    let bench = Bench::new(Trust::OnFirstUse);
    let first = node(2);
    let owner = first.rotated(u64::MAX).expect("rotated");
    bench.meet(&owner, "a").expect("first use");
    bench.judge.revoke(first.revoke(CLUSTER)).expect("its own word");
    assert_eq!(bench.meet(&first, "a"), Err(Refusal::Revoked), "overlap or not");
    assert_eq!(bench.meet(&owner, "a"), Ok(()), "the owner had rotated before");
    let thief = first.rotated(u64::MAX).expect("rotated");
    let proof = Box::new((owner.chain()[0].clone(), thief.chain()[0].clone()));
    bench.judge.hear(Statement::Forked(proof));
    assert_eq!(bench.meet(&owner, "a"), Ok(()), "a revoked key freezes nobody");
    let stranger = Bench::new(Trust::OnFirstUse);
    stranger.judge.revoke(first.revoke(CLUSTER)).expect("its own word");
    assert_eq!(
        stranger.meet(&owner, "a"),
        Err(Refusal::Revoked),
        "who did not follow cannot tell both apart"
    );
}

#[test]
fn pins_have_a_bound() {
    let bench = Bench::new(Trust::OnFirstUse);
    bench.judge.fill_pins(PINS_MAX - 1);
    assert_eq!(bench.meet(&node(2), "a"), Ok(()));
    assert_eq!(bench.meet(&node(3), "b"), Err(Refusal::NoRoom("another pin")));
    assert_eq!(bench.meet(&node(2), "a"), Ok(()), "who is pinned comes in");
}

#[test]
fn nobody_is_checked_where_auth_is_off() {
    let bench = Bench::new(Trust::Off);
    assert_eq!(bench.meet(&node(2), "a"), Ok(()));
    assert_eq!(bench.meet(&node(3), "a"), Ok(()), "a name twice");
    assert_eq!(bench.meet(&own(), "me"), Err(Refusal::OwnKey));
    let bench = bench.again();
    assert_eq!(bench.judge.pins().len(), 1, "nothing was written down");
}
