//! Slots in the order of their names: what prefix listings walk.
//!
//! A list in blocks: four bytes a name, a search over the blocks' first names and one within a block.

use alloc::vec::Vec;

/// Slots in a block at most; a full one is halved.
const BLOCK_MAX: usize = 256;

/// Slots in order. Whoever asks brings the names, so that none is stored twice.
#[derive(Clone, Debug, Default)]
pub(super) struct Order {
    blocks: Vec<Vec<u32>>,
}

impl Order {
    /// Inserts a slot whose name is not among the others'.
    pub(super) fn insert<'a>(&mut self, slot: u32, name: &[u8], name_of: impl Fn(u32) -> &'a [u8]) {
        if self.blocks.is_empty() {
            self.blocks.push(Vec::new());
        }
        let block_at = self.block_of(name, &name_of).unwrap_or(0);
        let block = &mut self.blocks[block_at];
        let at = block.partition_point(|other| name_of(*other) < name);
        block.insert(at, slot);
        if block.len() >= BLOCK_MAX {
            let upper = block.split_off(BLOCK_MAX / 2);
            self.blocks.insert(block_at + 1, upper);
        }
    }

    /// Puts another slot of the same name in a slot's place, or removes it.
    pub(super) fn replace<'a>(&mut self, name: &[u8], by: Option<u32>, name_of: impl Fn(u32) -> &'a [u8]) {
        let Some(block_at) = self.block_of(name, &name_of) else { return };
        let block = &mut self.blocks[block_at];
        let at = block.partition_point(|other| name_of(*other) < name);
        debug_assert!(block.get(at).is_some_and(|slot| name_of(*slot) == name), "a name is not in order");
        match by {
            Some(slot) => block[at] = slot,
            None => {
                block.remove(at);
                if block.is_empty() {
                    self.blocks.remove(block_at);
                }
            }
        }
    }

    /// Walks the slots whose names are not before `name`.
    pub(super) fn starting_at<'s, 'a>(&'s self, name: &[u8], name_of: impl Fn(u32) -> &'a [u8]) -> Walk<'s> {
        let block_at = self.block_of(name, &name_of).unwrap_or(0);
        let first = self.blocks.get(block_at);
        let at = first.map_or(0, |block| block.partition_point(|other| name_of(*other) < name));
        Walk { blocks: self.blocks.get(block_at..).unwrap_or_default(), at }
    }

    pub(super) fn len(&self) -> usize {
        self.blocks.iter().map(Vec::len).sum()
    }

    /// Finds the block that holds a name or would: the last one that does not begin after it.
    fn block_of<'a>(&self, name: &[u8], name_of: &impl Fn(u32) -> &'a [u8]) -> Option<usize> {
        if self.blocks.is_empty() {
            return None;
        }
        let after =
            self.blocks.partition_point(|block| block.first().is_some_and(|slot| name_of(*slot) <= name));
        Some(after.saturating_sub(1))
    }
}

/// A walk through an order.
#[derive(Clone, Debug)]
pub(super) struct Walk<'a> {
    blocks: &'a [Vec<u32>],
    at: usize,
}

impl Iterator for Walk<'_> {
    type Item = u32;
    fn next(&mut self) -> Option<u32> {
        loop {
            let (block, others) = self.blocks.split_first()?;
            if let Some(slot) = block.get(self.at) {
                self.at += 1;
                return Some(*slot);
            }
            (self.blocks, self.at) = (others, 0);
        }
    }
}
