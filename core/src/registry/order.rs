//! Names in their order: what prefix listings walk.
//!
//! A list in blocks: a record for each name, a search over the blocks' first names and one within a block. Which of a
//! name's records stands for it says nothing: it may be an older one than the directory holds.

use super::update::Record;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Names in a block at most; a full one is halved.
const BLOCK_MAX: usize = 256;

/// Names in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Order {
    blocks: Vec<Vec<Arc<Record>>>,
}

impl Order {
    /// Inserts a name that is not among the others.
    pub(super) fn insert(&mut self, record: Arc<Record>) {
        if self.blocks.is_empty() {
            self.blocks.push(Vec::new());
        }
        let (block_at, at) = self.find(record.name());
        let block = &mut self.blocks[block_at];
        block.insert(at, record);
        if block.len() >= BLOCK_MAX {
            let upper = block.split_off(BLOCK_MAX / 2);
            self.blocks.insert(block_at + 1, upper);
        }
    }

    /// Removes a name that is among the others.
    pub(super) fn remove(&mut self, name: &[u8]) {
        let (block_at, at) = self.find(name);
        let Some(block) = self.blocks.get_mut(block_at) else { return };
        debug_assert!(block.get(at).is_some_and(|record| record.name() == name), "a name is not in order");
        block.remove(at);
        if block.is_empty() {
            self.blocks.remove(block_at);
        }
    }

    /// Walks the names that are not before `name`.
    pub(super) fn starting_at(&self, name: &[u8]) -> Walk<'_> {
        let (block_at, at) = self.find(name);
        Walk { blocks: self.blocks.get(block_at..).unwrap_or_default(), at }
    }

    pub(super) fn len(&self) -> usize {
        self.blocks.iter().map(Vec::len).sum()
    }

    /// Finds a name or where it would be: a block, the last one that does not begin after it, and the place in it.
    fn find(&self, name: &[u8]) -> (usize, usize) {
        let is_before = |block: &Vec<Arc<Record>>| block.first().is_some_and(|first| first.name() <= name);
        let block_at = self.blocks.partition_point(is_before).saturating_sub(1);
        let block = self.blocks.get(block_at).map_or(&[][..], |block| block);
        (block_at, block.partition_point(|other| other.name() < name))
    }
}

/// A walk through an order.
#[derive(Clone, Debug)]
pub(super) struct Walk<'a> {
    blocks: &'a [Vec<Arc<Record>>],
    at: usize,
}

impl<'a> Iterator for Walk<'a> {
    type Item = &'a Record;
    fn next(&mut self) -> Option<&'a Record> {
        loop {
            let (block, others) = self.blocks.split_first()?;
            if let Some(record) = block.get(self.at) {
                self.at += 1;
                return Some(record);
            }
            (self.blocks, self.at) = (others, 0);
        }
    }
}
