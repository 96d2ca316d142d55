//! Looking before taking: what a frame is about is touched all at once, so that the processor waits for memory once for
//! each step on the way to it, and not once for each row.
//!
//! Nothing here changes anything. Look-ups of one step need what the step before has brought, and nothing of their own
//! step. A world of 1,000 nodes with 10,000 services is far larger than any cache, and waits for memory most of its time.

use super::directory::{NONE, Registry};
use super::relay::Told;
use super::update::Update;
use alloc::vec::Vec;
use core::hint::black_box;

impl Registry {
    /// Touches what it takes to apply rows.
    pub(super) fn warm_rows(&self, rows: &[Update]) {
        let numbers: Vec<u32> = rows.iter().map(|row| self.number_of(&row.batch).unwrap_or(NONE)).collect();
        let (mut sum, mut heads) = (0, Vec::with_capacity(rows.len()));
        for (row, number) in rows.iter().zip(numbers) {
            let Some(owner) = self.owners.get(number as usize).filter(|owner| owner.seq < row.batch.to)
            else {
                continue;
            };
            sum ^= owner.touch();
            for numbered in row.batch.known().iter().flat_map(|known| &known.list) {
                heads.push(self.head_of(numbered.change.name_hash()));
            }
        }
        black_box(sum);
        self.warm_records(&heads);
    }

    /// Touches what it takes to follow words.
    pub(super) fn warm_told(&self, told: &[Told]) {
        let numbers: Vec<u32> = told.iter().map(|it| self.tags.get(it.tag).unwrap_or(NONE)).collect();
        self.warm_owners(numbers.into_iter());
    }

    /// Touches owners.
    pub(super) fn warm_owners(&self, numbers: impl Iterator<Item = u32>) {
        let owners = numbers.filter_map(|number| self.owners.get(number as usize));
        black_box(owners.fold(0, |sum, owner| sum ^ owner.seq));
    }

    fn warm_records(&self, slots: &[u32]) {
        let entries = slots.iter().filter_map(|slot| self.entries.get(*slot as usize));
        black_box(entries.fold(0, |sum, entry| sum ^ entry.record.len()));
    }
}
