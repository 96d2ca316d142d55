//! An ordered map whose clone is free: what has not changed since is shared, so a reader keeps a whole one for nothing.
//!
//! A tree of small parts. Who writes copies the parts from the root to the one that changes, as far as somebody else still
//! looks at them: a few hundred bytes at each of a few levels, whatever the size of the map.

use bytes::Bytes;
use std::sync::Arc;

/// Entries of a leaf and parts of a branch at most. A guess: a write copies them, a read walks them.
const WIDTH: usize = 16;

/// Keys in the order of their bytes, with their values.
#[derive(Clone, Debug)]
pub(crate) struct Ordered<V> {
    root: Arc<Part<V>>,
}

#[derive(Clone, Debug)]
enum Part<V> {
    Leaf(Vec<(Bytes, V)>),
    /// Each with a key that none of its own is below, and that all of those before it are. The first one's is not looked at.
    Branch(Vec<(Bytes, Arc<Part<V>>)>),
}

/// What became too wide, to be put behind its other half.
type Split<V> = Option<(Bytes, Arc<Part<V>>)>;

impl<V> Default for Ordered<V> {
    fn default() -> Self {
        Self { root: Arc::new(Part::Leaf(Vec::new())) }
    }
}

/// Finds the part that a key is in.
fn place_of<V>(parts: &[(Bytes, Arc<Part<V>>)], key: &[u8]) -> usize {
    parts.partition_point(|(first, _)| first[..] <= *key).saturating_sub(1)
}

impl<V: Clone> Ordered<V> {
    /// Writes a key.
    pub(crate) fn insert(&mut self, key: Bytes, value: V) {
        if let Some(right) = Arc::make_mut(&mut self.root).insert(key, value) {
            let left = (Bytes::new(), self.root.clone());
            self.root = Arc::new(Part::Branch(vec![left, right]));
        }
    }

    /// Removes a key, if it is there.
    pub(crate) fn remove(&mut self, key: &[u8]) {
        let root = Arc::make_mut(&mut self.root);
        root.remove(key);
        if let Part::Branch(parts) = root
            && parts.len() == 1
        {
            self.root = parts.remove(0).1;
        }
    }

    /// Shows every entry from a key on, in order, until `look` has seen enough.
    pub(crate) fn each_from(&self, key: &[u8], mut look: impl FnMut(&Bytes, &V) -> bool) {
        self.root.each_from(key, &mut look);
    }
}

impl<V: Clone> Part<V> {
    fn len(&self) -> usize {
        match self {
            Self::Leaf(entries) => entries.len(),
            Self::Branch(parts) => parts.len(),
        }
    }

    fn insert(&mut self, key: Bytes, value: V) -> Split<V> {
        match self {
            Self::Leaf(entries) => {
                match entries.binary_search_by(|(known, _)| known.cmp(&key)) {
                    Ok(at) => entries[at].1 = value,
                    Err(at) => entries.insert(at, (key, value)),
                }
                let right = half(entries)?;
                Some((right[0].0.clone(), Arc::new(Self::Leaf(right))))
            }
            Self::Branch(parts) => {
                let at = place_of(parts, &key);
                let split = Arc::make_mut(&mut parts[at].1).insert(key, value)?;
                parts.insert(at + 1, split);
                let right = half(parts)?;
                Some((right[0].0.clone(), Arc::new(Self::Branch(right))))
            }
        }
    }

    fn remove(&mut self, key: &[u8]) {
        match self {
            Self::Leaf(entries) => {
                if let Ok(at) = entries.binary_search_by(|(known, _)| known[..].cmp(key)) {
                    entries.remove(at);
                }
            }
            Self::Branch(parts) => {
                let at = place_of(parts, key);
                Arc::make_mut(&mut parts[at].1).remove(key);
                if parts[at].1.len() == 0 {
                    parts.remove(at);
                } else if at + 1 < parts.len() && parts[at].1.len() + parts[at + 1].1.len() <= WIDTH / 2 {
                    let (_, right) = parts.remove(at + 1);
                    Arc::make_mut(&mut parts[at].1).append(Arc::unwrap_or_clone(right));
                }
            }
        }
    }

    /// Takes in its neighbour to the right, of the same height.
    fn append(&mut self, right: Self) {
        match (self, right) {
            (Self::Leaf(entries), Self::Leaf(mut more)) => entries.append(&mut more),
            (Self::Branch(parts), Self::Branch(mut more)) => parts.append(&mut more),
            (Self::Leaf(_), Self::Branch(_)) | (Self::Branch(_), Self::Leaf(_)) => {
                unreachable!("all leaves are at one height")
            }
        }
    }

    fn each_from(&self, key: &[u8], look: &mut impl FnMut(&Bytes, &V) -> bool) -> bool {
        match self {
            Self::Leaf(entries) => {
                let first = entries.partition_point(|(known, _)| known[..] < *key);
                entries[first..].iter().all(|(key, value)| look(key, value))
            }
            Self::Branch(parts) => {
                parts[place_of(parts, key)..].iter().all(|(_, part)| part.each_from(key, look))
            }
        }
    }
}

/// Takes away the right half of what is too wide.
fn half<T>(all: &mut Vec<T>) -> Option<Vec<T>> {
    (all.len() > WIDTH).then(|| all.split_off(WIDTH / 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn entries(map: &Ordered<u64>, from: &[u8]) -> Vec<(Bytes, u64)> {
        let mut entries = Vec::new();
        map.each_from(from, |key, value| {
            entries.push((key.clone(), *value));
            true
        });
        entries
    }

    /// The same numbers each time.
    fn numbers() -> impl Iterator<Item = u64> {
        std::iter::successors(Some(7_u64), |it| {
            Some(it.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(11))
        })
        .map(|it| it >> 33)
    }

    fn key(number: u64) -> Bytes {
        Bytes::copy_from_slice(&(number % 5_000).to_be_bytes()[4..])
    }

    #[test]
    fn it_is_what_an_ordered_map_is_while_it_grows_and_shrinks() {
        let (mut ours, mut theirs) = (Ordered::default(), BTreeMap::new());
        let mut numbers = numbers();
        for step in 0..60_000_u64 {
            let number = numbers.next().expect("endless");
            let is_growing = (step / 15_000) % 2 == 0;
            if number % 4 == u64::from(is_growing) || number % 4 == 2 && !is_growing {
                ours.remove(&key(number / 4));
                theirs.remove(&key(number / 4));
            } else {
                ours.insert(key(number / 4), step);
                theirs.insert(key(number / 4), step);
            }
            if step % 1_000 == 0 {
                let from = key(number);
                let expected: Vec<_> =
                    theirs.range(from.clone()..).map(|(key, it)| (key.clone(), *it)).collect();
                assert_eq!(entries(&ours, &from), expected, "after {step} steps");
            }
        }
        let keys: Vec<Bytes> = theirs.keys().cloned().collect();
        keys.iter().for_each(|key| ours.remove(key));
        assert!(
            entries(&ours, b"").is_empty() && matches!(&*ours.root, Part::Leaf(_)),
            "nothing is left of it"
        );
    }

    #[test]
    fn a_clone_stays_as_it_was_and_shares_what_has_not_changed() {
        let mut map = Ordered::default();
        (0..5_000).for_each(|number| map.insert(key(number), number));
        let before = map.clone();
        map.insert(key(17), 0);
        map.remove(&key(3_000));
        let (kept, now) = (entries(&before, b""), entries(&map, b""));
        assert_eq!((kept.len(), kept[17].1, now.len(), now[17].1), (5_000, 17, 4_999, 0));
        let leaves = |map: &Ordered<u64>| {
            let mut leaves = Vec::new();
            let mut open = vec![map.root.clone()];
            while let Some(part) = open.pop() {
                match &*part {
                    Part::Leaf(_) => leaves.push(Arc::as_ptr(&part)),
                    Part::Branch(parts) => open.extend(parts.iter().map(|(_, part)| part.clone())),
                }
            }
            leaves
        };
        let (old, new) = (leaves(&before), leaves(&map));
        assert_eq!(new.iter().filter(|leaf| !old.contains(leaf)).count(), 2, "two leaves were written");
    }

    #[test]
    fn whoever_has_seen_enough_is_shown_no_more() {
        let mut map = Ordered::default();
        (0..100).for_each(|number| map.insert(key(number), number));
        let mut seen = Vec::new();
        map.each_from(&key(40), |_, value| {
            seen.push(*value);
            seen.len() < 3
        });
        assert_eq!(seen, [40, 41, 42]);
    }
}
