//! Rotation: a node takes a new key, and both keys sign that it did. Its id stays its first key, for life.

use super::signed::Signature;
use crate::identity::is_strong_key;
use ed25519_dalek::SigningKey;
use rumormill_core::NodeId;
use serde::{Deserialize, Serialize};

/// Rotations of a node at most, in all its life: every HELLO carries them all. A guess.
pub const ROTATIONS_MAX: usize = 8;

const LABEL: &str = "rumormill rotation 1";

/// One node's word that its key changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rotation {
    words: Words,
    by_old: Signature,
    by_new: Signature,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Words {
    /// The node's first key.
    node: NodeId,
    /// Which rotation of the node this is, counted from one.
    epoch: u32,
    old: NodeId,
    new: NodeId,
    /// Until when the old key still serves: milliseconds since the Unix epoch.
    until: u64,
}

impl Rotation {
    /// Signs the next rotation of a node.
    pub(crate) fn new(node: NodeId, epoch: u32, old: &SigningKey, new: &SigningKey, until_ms: u64) -> Self {
        let id = |key: &SigningKey| NodeId(key.verifying_key().to_bytes());
        let words = Words { node, epoch, old: id(old), new: id(new), until: until_ms };
        let (by_old, by_new) = (Signature::of(old, LABEL, &words), Signature::of(new, LABEL, &words));
        Self { words, by_old, by_new }
    }

    pub(crate) fn node(&self) -> NodeId {
        self.words.node
    }

    pub(crate) fn new_key(&self) -> NodeId {
        self.words.new
    }

    pub(crate) fn old_key(&self) -> NodeId {
        self.words.old
    }

    /// Until when the old key still serves: milliseconds since the Unix epoch.
    pub(crate) fn until_ms(&self) -> u64 {
        self.words.until
    }

    /// Tells whether both say the same; signatures may differ.
    pub(crate) fn says_as(&self, other: &Self) -> bool {
        self.words == other.words
    }

    fn is_signed(&self) -> bool {
        let Words { old, new, .. } = &self.words;
        self.by_old.is_of(old, LABEL, &self.words) && self.by_new.is_of(new, LABEL, &self.words)
    }

    /// Tells whether two rotations prove that two hold one key: they say different things of one change.
    pub(crate) fn contradicts(&self, other: &Self) -> bool {
        let change = |it: &Self| (it.words.node, it.words.epoch, it.words.old);
        change(self) == change(other) && !self.says_as(other) && self.is_signed() && other.is_signed()
    }

    /// Counts the rotations before this one.
    pub(crate) fn place(&self) -> usize {
        (self.words.epoch as usize).saturating_sub(1)
    }
}

/// Follows a chain of rotations to the key that somebody shows; finds the node's first key. None when it is not whole.
pub(crate) fn first_key(chain: &[Rotation], shown: &NodeId) -> Option<NodeId> {
    let Some(first) = chain.first() else { return Some(*shown) };
    let mut keys = vec![first.words.node];
    for (at, rotation) in chain.iter().enumerate() {
        let Words { node, epoch, old, new, .. } = &rotation.words;
        let is_next = at < ROTATIONS_MAX && *node == keys[0] && *epoch as usize == at + 1;
        let is_linked = keys.last() == Some(old) && !keys.contains(new) && is_strong_key(&new.0);
        if !is_next || !is_linked || !rotation.is_signed() {
            return None;
        }
        keys.push(*new);
    }
    (keys.last() == Some(shown)).then_some(keys[0])
}

/// Lists every key of a node: its first, and what it rotated to.
pub(crate) fn keys<'a>(node: &'a NodeId, chain: &'a [Rotation]) -> impl Iterator<Item = &'a NodeId> {
    std::iter::once(node).chain(chain.iter().map(|rotation| &rotation.words.new))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> SigningKey {
        SigningKey::from_bytes(&[number; 32])
    }

    fn id(number: u8) -> NodeId {
        NodeId(key(number).verifying_key().to_bytes())
    }

    fn chain(keys: &[u8]) -> Vec<Rotation> {
        let epochs = 1_u32..;
        let pairs = keys.windows(2).zip(epochs);
        pairs
            .map(|(pair, epoch)| Rotation::new(id(keys[0]), epoch, &key(pair[0]), &key(pair[1]), 5))
            .collect()
    }

    #[test]
    fn a_whole_chain_leads_to_the_first_key() {
        assert_eq!(first_key(&[], &id(1)), Some(id(1)));
        assert_eq!(first_key(&chain(&[1, 2, 3]), &id(3)), Some(id(1)));
        assert_eq!(first_key(&chain(&[1, 2, 3, 4, 5, 6, 7, 8, 9]), &id(9)), Some(id(1)));
    }

    #[test]
    fn a_chain_that_is_not_whole_leads_nowhere() {
        let whole = chain(&[1, 2, 3]);
        assert_eq!(first_key(&whole, &id(2)), None, "another key is shown");
        assert_eq!(first_key(&whole[1..], &id(3)), None, "the first is left out");
        assert_eq!(first_key(&[whole[1].clone(), whole[0].clone()], &id(2)), None, "turned round");
        assert_eq!(first_key(&chain(&[1, 2, 1]), &id(1)), None, "back to an old key");
        assert_eq!(first_key(&chain(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]), &id(10)), None, "too long");
        let stolen = Rotation::new(id(1), 1, &key(3), &key(2), 5);
        assert_eq!(first_key(&[stolen], &id(2)), None, "another key signed it");
        let mut unsigned = chain(&[1, 2]);
        unsigned[0].by_new = unsigned[0].by_old;
        assert_eq!(first_key(&unsigned, &id(2)), None, "the new key did not sign");
        let mut unsigned = chain(&[1, 2]);
        unsigned[0].by_old = unsigned[0].by_new;
        assert_eq!(first_key(&unsigned, &id(2)), None, "the old key did not sign");
        let mut longer = chain(&[1, 2]);
        longer[0].words.until += 1;
        assert_eq!(first_key(&longer, &id(2)), None, "altered");
    }

    #[test]
    fn two_words_of_one_change_contradict_each_other() {
        let said = |to: u8, until| Rotation::new(id(1), 1, &key(1), &key(to), until);
        assert!(said(2, 5).contradicts(&said(3, 5)));
        assert!(said(2, 5).contradicts(&said(2, 6)));
        assert!(!said(2, 5).contradicts(&said(2, 5)));
        let forged = Rotation::new(id(1), 1, &key(4), &key(3), 5);
        assert!(!said(2, 5).contradicts(&forged), "another key signed it");
        let mut unsigned = said(3, 5);
        unsigned.by_old = unsigned.by_new;
        assert!(!said(2, 5).contradicts(&unsigned));
    }
}
