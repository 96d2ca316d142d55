//! A map from uniform 64-bit keys to small values in one block of memory: a look-up touches one cache line, where a
//! general map touches three. Nothing depends on the order in which it holds them.

use alloc::vec::Vec;

/// A key in two halves, so that a slot needs no more alignment than its value, and a value. Key zero is no key.
#[derive(Clone, Copy, Debug, Default)]
struct Slot<V> {
    key: [u32; 2],
    value: V,
}

impl<V> Slot<V> {
    #[inline]
    fn key(&self) -> u64 {
        u64::from(self.key[0]) | u64::from(self.key[1]) << 32
    }
}

/// Values by keys that are hashes. Linear probing, at most three quarters full. Keys zero and one are one key: no two
/// hashes that matter differ in so little.
#[derive(Clone, Debug)]
pub(crate) struct Slots<V> {
    /// A power of two of them, or none.
    slots: Vec<Slot<V>>,
    len: usize,
}

impl<V> Default for Slots<V> {
    fn default() -> Self {
        Self { slots: Vec::new(), len: 0 }
    }
}

impl<V: Copy + Default> Slots<V> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = V> {
        self.slots.iter().filter(|slot| slot.key() != 0).map(|slot| slot.value)
    }

    #[inline]
    pub(crate) fn get(&self, key: u64) -> Option<V> {
        self.find(key.max(1)).ok().map(|at| self.slots[at].value)
    }

    pub(crate) fn insert(&mut self, key: u64, value: V) {
        if self.len * 4 >= self.slots.len() * 3 {
            self.grow();
        }
        let key = key.max(1);
        let halves = [key as u32, (key >> 32) as u32];
        match self.find(key) {
            Ok(at) => self.slots[at].value = value,
            Err(at) => {
                self.slots[at] = Slot { key: halves, value };
                self.len += 1;
            }
        }
    }

    /// Removes a key, and closes the gap that it leaves on others' way.
    pub(crate) fn remove(&mut self, key: u64) {
        let Ok(mut gap) = self.find(key.max(1)) else { return };
        let mask = self.slots.len() - 1;
        self.slots[gap] = Slot::default();
        self.len -= 1;
        let mut at = (gap + 1) & mask;
        while self.slots[at].key() != 0 {
            let from_home = at.wrapping_sub(self.slots[at].key() as usize & mask) & mask;
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
            match self.slots[at].key() {
                0 => return Err(at),
                other if other == key => return Ok(at),
                _ => at = (at + 1) & mask,
            }
        }
    }

    fn grow(&mut self) {
        let size = (self.slots.len() * 2).max(16);
        let old = core::mem::replace(&mut self.slots, alloc::vec![Slot::default(); size]);
        for slot in old.into_iter().filter(|slot| slot.key() != 0) {
            if let Err(at) = self.find(slot.key()) {
                self.slots[at] = slot;
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
