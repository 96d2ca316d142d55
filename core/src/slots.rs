//! A map from uniform 64-bit keys to small values in one block of memory: a look-up touches one cache line, where a
//! general map touches three. Nothing depends on the order in which it holds them.

use alloc::vec::Vec;

/// Values by keys that are hashes. Linear probing, at most three quarters full.
#[derive(Clone, Debug)]
pub(crate) struct Slots<V> {
    /// A power of two of them, or none.
    slots: Vec<Option<(u64, V)>>,
    len: usize,
}

impl<V> Default for Slots<V> {
    fn default() -> Self {
        Self { slots: Vec::new(), len: 0 }
    }
}

impl<V: Copy> Slots<V> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = V> {
        self.slots.iter().flatten().map(|(_, value)| *value)
    }

    #[inline]
    pub(crate) fn get(&self, key: u64) -> Option<V> {
        self.find(key).ok().and_then(|at| self.slots[at]).map(|(_, value)| value)
    }

    pub(crate) fn insert(&mut self, key: u64, value: V) {
        if self.len * 4 >= self.slots.len() * 3 {
            self.grow();
        }
        match self.find(key) {
            Ok(at) => self.slots[at] = Some((key, value)),
            Err(at) => {
                self.slots[at] = Some((key, value));
                self.len += 1;
            }
        }
    }

    /// Removes a key, and closes the gap that it leaves on others' way.
    pub(crate) fn remove(&mut self, key: u64) {
        let Ok(mut gap) = self.find(key) else { return };
        let mask = self.slots.len() - 1;
        self.slots[gap] = None;
        self.len -= 1;
        let mut at = (gap + 1) & mask;
        while let Some((other, _)) = self.slots[at] {
            let from_home = at.wrapping_sub(other as usize & mask) & mask;
            if from_home >= at.wrapping_sub(gap) & mask {
                self.slots.swap(gap, at);
                gap = at;
            }
            at = (at + 1) & mask;
        }
    }

    /// Finds a key's slot, or the free one where it would be.
    #[inline]
    fn find(&self, key: u64) -> Result<usize, usize> {
        let Some(mask) = self.slots.len().checked_sub(1) else { return Err(0) };
        let mut at = key as usize & mask;
        loop {
            match self.slots[at] {
                Some((other, _)) if other == key => return Ok(at),
                Some(_) => at = (at + 1) & mask,
                None => return Err(at),
            }
        }
    }

    fn grow(&mut self) {
        let size = (self.slots.len() * 2).max(16);
        let old = core::mem::replace(&mut self.slots, alloc::vec![None; size]);
        for (key, value) in old.into_iter().flatten() {
            if let Err(at) = self.find(key) {
                self.slots[at] = Some((key, value));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn it_holds_what_a_tree_holds(steps in proptest::collection::vec((0..3_u8, 0..24_u64, any::<u32>()), 0..300)) {
            let (mut slots, mut tree) = (Slots::default(), BTreeMap::new());
            for (what, key, value) in steps {
                let key = key << 2 | key >> 3 << 60; // many share a home, at the end too
                if what == 0 {
                    slots.remove(key);
                    tree.remove(&key);
                } else {
                    slots.insert(key, value);
                    tree.insert(key, value);
                }
                prop_assert_eq!(slots.len(), tree.len());
                for (key, value) in &tree {
                    prop_assert_eq!(slots.get(*key), Some(*value));
                }
                prop_assert_eq!(slots.values().count(), tree.len());
            }
        }
    }

    #[test]
    fn an_empty_one_has_nothing() {
        let mut slots = Slots::<u32>::default();
        slots.remove(5);
        assert_eq!((slots.get(0), slots.len()), (None, 0));
    }
}
