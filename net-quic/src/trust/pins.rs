//! Pins: names and nodes, one to one, with every key that a node has had.

use super::refusal::Refusal;
use super::rotation::{self, Rotation};
use rumormill_core::NodeId;
use std::collections::BTreeMap;

/// Nodes that are pinned at most: whoever knows the secret can make up new ones. A guess.
pub(super) const PINS_MAX: usize = 65_536;

/// A node that was seen and believed, with the name that it came under.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pin {
    /// The node: its first key.
    pub key: NodeId,
    /// Its name.
    pub name: String,
    /// The key that it has now.
    pub current: NodeId,
    /// How often its key was rotated.
    pub rotations: u32,
    /// Whether one of its keys was found in two hands: nobody comes in under its name until the pin is removed.
    pub is_frozen: bool,
}

impl Pin {
    /// A pin of a node that has never rotated.
    pub fn new(key: NodeId, name: impl Into<String>) -> Self {
        Self { key, name: name.into(), current: key, rotations: 0, is_frozen: false }
    }
}

/// What is known of a pinned node.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) name: String,
    pub(super) chain: Vec<Rotation>,
    pub(super) is_frozen: bool,
}

/// How a chain that somebody shows stands to the one that is pinned.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is the pinned one, or the beginning of it whose key still serves.
    Known,
    /// It goes on where the pinned one ends.
    Newer,
    /// It ends before the pinned one, and its key serves no more.
    Outdated,
    /// Both rotate one key, to different ones.
    Forked(Box<(Rotation, Rotation)>),
}

/// Every pin.
#[derive(Default)]
pub(super) struct Pins {
    known: BTreeMap<NodeId, Known>,
    names: BTreeMap<String, NodeId>,
    /// Whose each key is, or was.
    keys: BTreeMap<NodeId, NodeId>,
}

impl Pins {
    pub(super) fn insert(&mut self, node: NodeId, known: Known) {
        self.remove(&node);
        self.names.insert(known.name.clone(), node);
        self.keys.extend(rotation::keys(&node, &known.chain).map(|key| (*key, node)));
        self.known.insert(node, known);
    }

    pub(super) fn remove(&mut self, node: &NodeId) -> Option<Known> {
        let known = self.known.remove(node)?;
        if self.names.get(&known.name) == Some(node) {
            self.names.remove(&known.name);
        }
        self.keys.retain(|_, owner| owner != node);
        Some(known)
    }

    pub(super) fn get(&self, node: &NodeId) -> Option<&Known> {
        self.known.get(node)
    }

    pub(super) fn get_mut(&mut self, node: &NodeId) -> Option<&mut Known> {
        self.known.get_mut(node)
    }

    /// Tells whose key this is, or was.
    pub(super) fn owner(&self, key: &NodeId) -> Option<NodeId> {
        self.keys.get(key).copied()
    }

    pub(super) fn node_called(&self, name: &str) -> Option<NodeId> {
        self.names.get(name).copied()
    }

    pub(super) fn is_full(&self) -> bool {
        self.known.len() >= PINS_MAX
    }

    pub(super) fn list(&self) -> Vec<Pin> {
        let pin = |(node, known): (&NodeId, &Known)| {
            let current = rotation::keys(node, &known.chain).last().copied().unwrap_or(*node);
            let (name, rotations) = (known.name.clone(), known.chain.len() as u32);
            Pin { key: *node, name, current, rotations, is_frozen: known.is_frozen }
        };
        self.known.iter().map(pin).collect()
    }

    /// Judges whether a node may have a name: each node one name, each name one node, each key one node.
    pub(super) fn judge_name(&self, node: &NodeId, chain: &[Rotation], said: &str) -> Result<(), Refusal> {
        let renamed = |known: &str| Refusal::Renamed { known: known.into(), said: said.into() };
        if let Some(known) = self.known.get(node).filter(|known| known.name != said) {
            return Err(renamed(&known.name));
        }
        let mut owners = rotation::keys(node, chain).filter_map(|key| self.owner(key));
        if let Some(other) = owners.find(|owner| owner != node) {
            let known = self.known.get(&other).filter(|known| known.name != said);
            return Err(known.map_or(Refusal::Rotation, |known| renamed(&known.name)));
        }
        match self.names.get(said) {
            Some(owner) if owner != node => Err(Refusal::NameTaken { name: said.into(), owner: *owner }),
            _ => Ok(()),
        }
    }

    /// Compares the chain that a node shows with the one that is pinned.
    pub(super) fn compare(&self, node: &NodeId, chain: &[Rotation], now_ms: u64) -> Standing {
        let Some(known) = self.known.get(node) else { return Standing::Newer };
        let mut pairs = known.chain.iter().zip(chain);
        if let Some((ours, theirs)) = pairs.find(|(ours, theirs)| !ours.says_as(theirs)) {
            return Standing::Forked(Box::new((ours.clone(), theirs.clone())));
        }
        match known.chain.get(chain.len()) {
            Some(next) if now_ms >= next.until_ms() => Standing::Outdated,
            None if chain.len() > known.chain.len() => Standing::Newer,
            _ => Standing::Known,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::SigningKey;

    fn key(number: u8) -> SigningKey {
        SigningKey::from_bytes(&[number; 32])
    }

    fn id(number: u8) -> NodeId {
        NodeId(key(number).verifying_key().to_bytes())
    }

    fn rotated(from: u8, to: u8) -> Vec<Rotation> {
        vec![Rotation::new(id(from), 1, &key(from), &key(to), 100)]
    }

    fn pins() -> Pins {
        let mut pins = Pins::default();
        pins.insert(id(1), Known { name: "a".into(), chain: rotated(1, 2), is_frozen: false });
        pins
    }

    #[test]
    fn names_nodes_and_keys_are_one_to_one() {
        let pins = pins();
        let renamed = |said: &str| Err(Refusal::Renamed { known: "a".into(), said: said.into() });
        assert_eq!(pins.judge_name(&id(1), &rotated(1, 2), "a"), Ok(()));
        assert_eq!(pins.judge_name(&id(1), &rotated(1, 2), "b"), renamed("b"));
        assert_eq!(pins.judge_name(&id(2), &[], "b"), renamed("b"), "a later key as a node of its own");
        assert_eq!(pins.judge_name(&id(2), &[], "a"), Err(Refusal::Rotation));
        assert_eq!(pins.judge_name(&id(3), &rotated(3, 2), "c"), renamed("c"), "a key of another node");
        let taken = Refusal::NameTaken { name: "a".into(), owner: id(1) };
        assert_eq!(pins.judge_name(&id(3), &[], "a"), Err(taken));
        assert_eq!(pins.judge_name(&id(3), &[], "c"), Ok(()));
    }

    #[test]
    fn a_pin_that_goes_takes_its_name_and_keys_along() {
        let mut pins = pins();
        assert!(pins.remove(&id(1)).is_some() && pins.remove(&id(1)).is_none());
        assert_eq!(pins.judge_name(&id(2), &[], "a"), Ok(()));
    }

    #[test]
    fn an_old_key_serves_until_the_overlap_ends() {
        let pins = pins();
        assert_eq!(pins.compare(&id(1), &[], 99), Standing::Known);
        assert_eq!(pins.compare(&id(1), &[], 100), Standing::Outdated);
        assert_eq!(pins.compare(&id(1), &rotated(1, 2), 100), Standing::Known);
        assert_eq!(pins.compare(&id(9), &[], 100), Standing::Newer, "a stranger");
        let mut longer = rotated(1, 2);
        longer.push(Rotation::new(id(1), 2, &key(2), &key(3), 100));
        assert_eq!(pins.compare(&id(1), &longer, 100), Standing::Newer);
        let forked = pins.compare(&id(1), &rotated(1, 3), 99);
        assert!(matches!(&forked, Standing::Forked(both) if both.0.contradicts(&both.1)), "{forked:?}");
    }
}
