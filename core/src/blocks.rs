//! A list that grows without moving what it holds: a world of a thousand nodes neither copies its tables while they grow
//! nor keeps room that is never used.

use alloc::vec::Vec;
use core::ops::{Index, IndexMut};

/// Values by their places, in blocks of so many that stay where they are. The first one grows as a list does. A block has
/// some 64 kB where values come in thousands: then a look at the list of blocks costs nothing beside the look at a value.
#[derive(Clone, Debug)]
pub(crate) struct Blocks<T, const BLOCK: usize> {
    blocks: Vec<Vec<T>>,
}

impl<T, const BLOCK: usize> Default for Blocks<T, BLOCK> {
    fn default() -> Self {
        Self { blocks: Vec::new() }
    }
}

impl<T, const BLOCK: usize> Blocks<T, BLOCK> {
    pub(crate) fn len(&self) -> usize {
        self.blocks.last().map_or(0, |last| (self.blocks.len() - 1) * BLOCK + last.len())
    }

    #[inline]
    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        self.blocks.get(at / BLOCK)?.get(at % BLOCK)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        self.blocks.get_mut(at / BLOCK)?.get_mut(at % BLOCK)
    }

    pub(crate) fn push(&mut self, value: T) {
        match self.blocks.last_mut().filter(|last| last.len() < BLOCK) {
            Some(last) => last.push(value),
            None => {
                let mut block = if self.blocks.is_empty() { Vec::new() } else { Vec::with_capacity(BLOCK) };
                block.push(value);
                self.blocks.push(block);
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.blocks.iter().flatten()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.blocks.iter_mut().flatten()
    }
}

impl<T, const BLOCK: usize> Index<u32> for Blocks<T, BLOCK> {
    type Output = T;

    #[inline]
    fn index(&self, at: u32) -> &T {
        &self.blocks[at as usize / BLOCK][at as usize % BLOCK]
    }
}

impl<T, const BLOCK: usize> IndexMut<u32> for Blocks<T, BLOCK> {
    #[inline]
    fn index_mut(&mut self, at: u32) -> &mut T {
        &mut self.blocks[at as usize / BLOCK][at as usize % BLOCK]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_what_a_list_holds_and_moves_nothing_behind_the_first_block() {
        const BLOCK: usize = 8;
        let (mut blocks, mut list) = (Blocks::<u32, BLOCK>::default(), Vec::new());
        assert_eq!((blocks.len(), blocks.get(0)), (0, None));
        for value in 0..3 * BLOCK as u32 + 5 {
            blocks.push(value);
            list.push(value);
            assert_eq!((blocks.len(), blocks.get(list.len())), (list.len(), None));
        }
        let before: *const u32 = &raw const blocks[BLOCK as u32];
        blocks[BLOCK as u32] += 7;
        blocks.iter_mut().for_each(|value| *value += 1);
        *blocks.get_mut(3).expect("it is there") = 99;
        blocks.push(0);
        assert!(core::ptr::eq(before, &raw const blocks[BLOCK as u32]), "a full block has moved");
        let expected = list.iter().map(|value| match *value {
            3 => 99,
            value if value == BLOCK as u32 => value + 8,
            value => value + 1,
        });
        assert_eq!(blocks.iter().copied().collect::<Vec<_>>(), expected.chain([0]).collect::<Vec<_>>());
    }
}
