//! The judge of everybody who wants to come in, and what it must not forget.

use super::allowed::Allowed;
use super::certificate::{Bearer, Certificate, Flaw};
use super::gossip::{Gossip, Statement};
use super::notices::{Board, Notice};
use super::pins::{Known, Pin, Pins, Standing};
use super::refusal::Refusal;
use super::revocation::{Revocation, Revoked, Sheet};
use super::rotation::{self, Rotation};
use super::{Trust, cluster_hash};
use crate::driver::WallClock;
use crate::hello::Hello;
use crate::identity::{Identity, is_strong_key};
use crate::store::{Kept, Store, StoreError};
use crate::{BuildError, Error};
use arc_swap::ArcSwap;
use rumormill_core::NodeId;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a node shows of itself.
pub(crate) struct Own {
    /// The node: its first key.
    pub(crate) node: NodeId,
    /// The key that it has now.
    pub(crate) key: NodeId,
    pub(crate) chain: Vec<Rotation>,
    pub(crate) name: String,
    pub(crate) certificate: Option<Certificate>,
    pub(crate) cluster: [u8; 32],
}

impl Own {
    /// The same node, with another key.
    pub(crate) fn with(&self, identity: &Identity) -> Self {
        let (key, chain) = (identity.public_key(), identity.chain().to_vec());
        let (name, certificate) = (self.name.clone(), self.certificate.clone());
        Self { node: self.node, key, chain, name, certificate, cluster: self.cluster }
    }

    pub(crate) fn new(
        identity: &Identity,
        name: &str,
        cluster: &str,
        certificate: Option<Certificate>,
    ) -> Self {
        let (node, key, chain) = (identity.node_id(), identity.public_key(), identity.chain().to_vec());
        Self { node, key, chain, name: name.into(), certificate, cluster: cluster_hash(cluster) }
    }
}

/// A peer whose keys are proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Proven {
    /// The node: its first key.
    pub(crate) node: NodeId,
    /// The key that TLS has proven.
    pub(crate) key: NodeId,
}

/// The judge of everybody who wants to come in.
pub(crate) struct Admission {
    trust: Trust,
    own: ArcSwap<Own>,
    store: Store,
    wall: WallClock,
    board: Arc<Board>,
    gossip: Gossip,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pins: Pins,
    allowed: Allowed,
    revoked: Revoked,
}

/// Its beginning, and what others ask of it.
impl Admission {
    /// Begins with what earlier lives knew, and the node itself.
    pub(crate) fn new(
        trust: Trust,
        own: Own,
        store: Store,
        wall: WallClock,
        gossip: Gossip,
    ) -> Result<Self, BuildError> {
        let mut state = State::default();
        for Kept { node, name, chain, is_frozen } in store.pins()? {
            state.pins.insert(node, Known { name, chain, is_frozen });
        }
        for (key, word) in store.revoked()? {
            state.revoked.insert(key, word);
        }
        let (name, chain) = (own.name.clone(), own.chain.clone());
        state.pins.insert(own.node, Known { name, chain, is_frozen: false });
        let (board, state) = (Arc::default(), Mutex::new(state));
        let own = ArcSwap::from_pointee(own);
        let admission = Self { trust, own, store, wall, board, gossip, state };
        admission.check_own()?;
        Ok(admission)
    }

    /// A node whose own certificate nobody will take does not start.
    fn check_own(&self) -> Result<(), BuildError> {
        let Trust::Authority { key } = &self.trust else { return Ok(()) };
        let own = self.own();
        let Own { node, key: current, name, certificate, cluster, .. } = &*own;
        let certificate = certificate.as_ref().ok_or(BuildError::NoCertificate)?;
        let bearer = Bearer { cluster, keys: [node, current], name, now_ms: (self.wall)() };
        certificate.check(key, &bearer).map_err(BuildError::Certificate)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn trust(&self) -> &Trust {
        &self.trust
    }

    pub(crate) fn own(&self) -> Arc<Own> {
        self.own.load_full()
    }

    /// Tells why the node would be let in nowhere with a key that follows its own.
    pub(crate) fn check_rotation(&self) -> Result<(), Flaw> {
        let Trust::Authority { key } = &self.trust else { return Ok(()) };
        let own = self.own();
        let Some(certificate) = &own.certificate else { return Ok(()) };
        let keys = [&own.node, &own.node];
        let bearer = Bearer { cluster: &own.cluster, keys, name: &own.name, now_ms: (self.wall)() };
        certificate.check(key, &bearer)
    }

    /// The node has another key from now on: everybody is told, with the proof.
    pub(crate) fn follow(&self, own: &Arc<Own>) {
        let (name, chain) = (own.name.clone(), own.chain.clone());
        self.state().pins.insert(own.node, Known { name, chain, is_frozen: false });
        self.own.store(own.clone());
        self.gossip.tell(&Statement::Rotated(own.chain.clone()));
    }

    pub(crate) fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// Lists the pins, by node.
    pub(crate) fn pins(&self) -> Vec<Pin> {
        self.state().pins.list()
    }

    /// Finds the name of a node.
    pub(crate) fn name_of(&self, node: &NodeId) -> Option<String> {
        self.state().pins.get(node).map(|known| known.name.clone())
    }

    /// Finds the node that has a name.
    pub(crate) fn node_called(&self, name: &str) -> Option<NodeId> {
        self.state().pins.node_called(name)
    }
}

/// Judging.
impl Admission {
    /// Refuses keys that prove nothing, whoever shows them.
    pub(crate) fn judge_key(&self, key: &NodeId) -> Result<(), Refusal> {
        if !is_strong_key(&key.0) {
            return Err(Refusal::WeakKey);
        }
        if self.state().pins.owner(key) == Some(self.own().node) { Err(Refusal::OwnKey) } else { Ok(()) }
    }

    /// Finds the node of a key that TLS has proven, from the rotations in its HELLO. Looks at nothing else.
    pub(crate) fn prove(&self, key: NodeId, hello: &Hello) -> Result<Proven, Refusal> {
        let node = rotation::first_key(&hello.chain, &key).ok_or(Refusal::Rotation)?;
        Ok(Proven { node, key })
    }

    /// Judges a peer whose keys and secret are proven.
    ///
    /// # Errors
    /// The [`Refusal`]. Nothing has changed, unless its rotations prove that a key is in two hands.
    pub(crate) fn judge(&self, peer: &Proven, hello: &Hello) -> Result<(), Refusal> {
        self.judge_in(&mut self.state(), peer, hello).map(drop)
    }

    /// Writes down who was let in. Durable when this returns.
    ///
    /// # Errors
    /// The [`Refusal`], also when somebody took the name meanwhile.
    pub(crate) fn admit(&self, peer: &Proven, hello: &Hello) -> Result<(), Refusal> {
        let mut state = self.state();
        match self.judge_in(&mut state, peer, hello)? {
            Standing::Newer => {
                if self.write(&mut state, peer.node, &hello.name, &hello.chain)? {
                    self.gossip.tell(&Statement::Rotated(hello.chain.clone()));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Tells why a node that was let in may not stay.
    pub(crate) fn is_barred(&self, peer: &Proven) -> Option<Refusal> {
        let state = self.state();
        if !self.trust.is_on() {
            return None;
        }
        let frozen = state.pins.get(&peer.node).filter(|known| known.is_frozen);
        let frozen = frozen.map(|known| Refusal::Forked(known.name.clone()));
        frozen.or_else(|| state.revoked.holds(&peer.key).then_some(Refusal::Revoked))
    }

    fn judge_in(&self, state: &mut State, peer: &Proven, hello: &Hello) -> Result<Standing, Refusal> {
        if peer.node == self.own().node {
            return Err(Refusal::OwnKey);
        }
        if !self.trust.is_on() {
            return Ok(Standing::Newer);
        }
        if let Some(known) = state.pins.get(&peer.node).filter(|known| known.is_frozen) {
            return Err(Refusal::Forked(known.name.clone()));
        }
        if state.revoked.holds(&peer.key) || state.leans_on_revoked(&peer.node, &hello.chain) {
            return Err(Refusal::Revoked);
        }
        let standing = state.pins.compare(&peer.node, &hello.chain, (self.wall)());
        match &standing {
            Standing::Outdated => return Err(Refusal::OldKey),
            Standing::Forked(evidence) => return Err(self.freeze(state, evidence)),
            Standing::Known | Standing::Newer => {}
        }
        self.judge_trust(state, peer, hello)?;
        state.pins.judge_name(&peer.node, &hello.chain, &hello.name)?;
        Ok(standing)
    }

    fn judge_trust(&self, state: &mut State, peer: &Proven, hello: &Hello) -> Result<(), Refusal> {
        let keys = [&peer.node, &peer.key];
        match &self.trust {
            Trust::OnFirstUse | Trust::Off => Ok(()),
            Trust::Strict { allowed } => match state.allowed.holds(allowed, keys)? {
                true => Ok(()),
                false => Err(Refusal::NotAllowed),
            },
            Trust::Authority { key } => {
                let certificate = hello.certificate.as_ref().ok_or(Refusal::NoCertificate)?;
                let (own, now_ms) = (self.own(), (self.wall)());
                let bearer = Bearer { cluster: &own.cluster, keys, name: &hello.name, now_ms };
                certificate.check(key, &bearer).map_err(Refusal::Certificate)
            }
        }
    }

    /// Pins a node, or lets its pin follow its rotations; tells whether it did that.
    fn write(
        &self,
        state: &mut State,
        node: NodeId,
        name: &str,
        chain: &[Rotation],
    ) -> Result<bool, Refusal> {
        let was_pinned = state.pins.get(&node).is_some();
        if !was_pinned && state.pins.is_full() {
            return Err(Refusal::NoRoom("another pin"));
        }
        if self.trust.is_on() {
            let written = self.store.pin(&node, Some((name, chain)));
            written.map_err(|error| Refusal::Store(error.to_string()))?;
        }
        state.pins.insert(node, Known { name: name.into(), chain: chain.to_vec(), is_frozen: false });
        let Some(last) = chain.last().filter(|_| was_pinned && self.trust.is_on()) else { return Ok(false) };
        tracing::info!(name, rotations = chain.len(), "has a new key; its pin follows");
        self.board.tell(Notice::Rotated { node, name: name.into(), key: last.new_key() });
        Ok(true)
    }

    /// Freezes a name whose key is in two hands, and keeps the proof.
    fn freeze(&self, state: &mut State, evidence: &(Rotation, Rotation)) -> Refusal {
        let node = evidence.0.node();
        let Some(known) = state.pins.get_mut(&node) else { return Refusal::Rotation };
        let name = known.name.clone();
        if known.is_frozen {
            return Refusal::Forked(name);
        }
        known.is_frozen = true;
        tracing::error!(name, %node, "a key of this node is in two hands; its name is frozen");
        if let Err(error) = self.store.freeze(&node, evidence) {
            tracing::error!(%error, "that a name is frozen cannot be written");
        }
        self.board.tell(Notice::Forked { node, name: name.clone() });
        self.gossip.tell(&Statement::Forked(Box::new(evidence.clone())));
        self.gossip.expel();
        Refusal::Forked(name)
    }
}

impl State {
    /// Tells whether a chain goes on from a key that is revoked, further than it was known to.
    fn leans_on_revoked(&self, node: &NodeId, chain: &[Rotation]) -> bool {
        let known = self.pins.get(node).map_or(0, |known| known.chain.len());
        chain.iter().skip(known).any(|rotation| self.revoked.holds(&rotation.old_key()))
    }
}

/// What others tell, and what the user says.
impl Admission {
    /// Takes what came over the topic; believes what is signed.
    pub(crate) fn hear(&self, statement: Statement) {
        match statement {
            Statement::Rotated(chain) => self.hear_rotated(&chain),
            Statement::Forked(evidence) => self.hear_forked(&evidence),
            Statement::Revoked(revocation) => drop(self.keep(vec![revocation])),
        }
    }

    /// Lets a pin follow its node's rotations before the node is met again.
    fn hear_rotated(&self, chain: &[Rotation]) {
        let node = chain.last().and_then(|last| rotation::first_key(chain, &last.new_key()));
        let Some(node) = node.filter(|node| *node != self.own().node && self.trust.is_on()) else { return };
        let mut state = self.state();
        let Some(Known { name, is_frozen: false, .. }) = state.pins.get(&node).cloned() else { return };
        if state.leans_on_revoked(&node, chain) {
            return;
        }
        match state.pins.compare(&node, chain, (self.wall)()) {
            Standing::Newer if state.pins.judge_name(&node, chain, &name).is_ok() => {
                if let Err(error) = self.write(&mut state, node, &name, chain) {
                    tracing::error!(%error, "a rotation cannot be written");
                }
            }
            Standing::Forked(evidence) => drop(self.freeze(&mut state, &evidence)),
            Standing::Known | Standing::Newer | Standing::Outdated => {}
        }
    }

    fn hear_forked(&self, evidence: &(Rotation, Rotation)) {
        let (one, other) = evidence;
        let mut state = self.state();
        let known = state.pins.get(&one.node());
        let known =
            known.and_then(|known| rotation::keys(&one.node(), &known.chain).nth(one.place()).copied());
        let is_its_key = known == Some(one.old_key()) && !state.revoked.holds(&one.old_key());
        if is_its_key && self.trust.is_on() && one.contradicts(other) {
            self.freeze(&mut state, evidence);
        }
    }

    /// Keeps revocations that say something new, those before the first that does not hold; gives them back.
    fn keep(&self, revocations: Vec<Revocation>) -> (Vec<Revocation>, Result<(), Error>) {
        let mut state = self.state();
        let (mut news, mut outcome) = (Vec::new(), Ok(()));
        for revocation in revocations {
            match self.judge_revocation(&state, &revocation) {
                Ok(true) => {
                    state.revoked.insert(revocation.key(), Some(revocation.clone()));
                    news.push(revocation);
                }
                Ok(false) => {}
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
        let words: Vec<_> = news.iter().map(|it| (it.key(), Some(it.clone()))).collect();
        (news, outcome.and(self.bar(&words)))
    }

    /// Tells whether a revocation is news.
    fn judge_revocation(&self, state: &State, revocation: &Revocation) -> Result<bool, Error> {
        let authority = match &self.trust {
            Trust::Authority { key } => Some(key),
            Trust::OnFirstUse | Trust::Strict { .. } | Trust::Off => None,
        };
        if !state.revoked.is_news(revocation) {
            return Ok(false);
        }
        if !revocation.holds(&self.own().cluster, authority) {
            return Err(Error::NotEntitled);
        }
        if state.revoked.has_room(revocation.by()) {
            Ok(true)
        } else {
            Err(Error::NoRoom("another revocation"))
        }
    }

    /// Writes down keys that are refused from now on, says so, and lets their connections end.
    fn bar(&self, words: &[(NodeId, Option<Revocation>)]) -> Result<(), Error> {
        if words.is_empty() {
            return Ok(());
        }
        for (key, _) in words {
            if *key == self.own().key {
                tracing::error!(%key, "this node's own key was revoked: the others refuse it from now on");
            } else {
                tracing::warn!(%key, "a key was revoked");
            }
            self.board.tell(Notice::Revoked { key: *key });
        }
        self.gossip.expel();
        self.store.revoke(words).map_err(|error| Error::Store(error.to_string()))
    }

    /// Keeps a revocation, and tells everybody.
    pub(crate) fn revoke(&self, revocation: Revocation) -> Result<(), Error> {
        let (news, outcome) = self.keep(vec![revocation]);
        news.into_iter().for_each(|revocation| self.gossip.tell(&Statement::Revoked(revocation)));
        outcome
    }

    /// Refuses a key on this node alone, for ever.
    pub(crate) fn revoke_here(&self, key: NodeId) -> Result<(), Error> {
        let mut state = self.state();
        if state.revoked.holds(&key) {
            return Ok(());
        }
        state.revoked.insert(key, None);
        self.bar(&[(key, None)])
    }

    /// All revocations that others must know, and their digest.
    pub(crate) fn sheet(&self) -> Sheet {
        self.state().revoked.sheet()
    }

    pub(crate) fn sheet_digest(&self) -> [u8; 8] {
        self.state().revoked.digest()
    }

    /// Takes what another node knows to be revoked, and tells on what is new.
    pub(crate) fn take_sheet(&self, sheet: Sheet) {
        let (news, outcome) = self.keep(sheet);
        if let Err(error) = outcome {
            tracing::warn!(%error, "a peer tells of revocations that are none");
        }
        news.into_iter().for_each(|revocation| self.gossip.tell(&Statement::Revoked(revocation)));
    }

    /// Pins a node to a name before it is ever seen.
    pub(crate) fn add(&self, pin: &Pin) -> Result<(), Refusal> {
        let mut state = self.state();
        state.pins.judge_name(&pin.key, &[], &pin.name)?;
        if state.pins.get(&pin.key).is_some() {
            return Ok(());
        }
        self.write(&mut state, pin.key, &pin.name, &[]).map(drop)
    }

    /// Forgets a pin; tells whether there was one. The node's own stays.
    pub(crate) fn remove(&self, node: &NodeId) -> Result<bool, StoreError> {
        if *node == self.own().node {
            return Ok(false);
        }
        let mut state = self.state();
        self.store.pin(node, None)?;
        Ok(state.pins.remove(node).is_some())
    }
}

#[cfg(test)]
impl Admission {
    /// Pins so many made-up nodes in all.
    pub(super) fn fill_pins(&self, count: usize) {
        let mut state = self.state();
        for number in 1..count as u64 {
            let mut node = NodeId([0xee; 32]);
            node.0[..8].copy_from_slice(&number.to_le_bytes());
            let known = Known { name: format!("made-up-{number}"), chain: Vec::new(), is_frozen: false };
            state.pins.insert(node, known);
        }
    }
}
