//! Names in their order: what prefix listings walk.
//!
//! A sorted list, and the last changes beside it, which go into it many at a time: names come in thousands when a node
//! starts, and nobody lists them then. Which of a name's records stands for it says nothing: it may be an older one than
//! the directory holds.

use super::update::Record;
use alloc::sync::Arc;
use alloc::vec::{IntoIter, Vec};
use bytes::Bytes;
use core::cmp::Ordering;
use core::iter::Peekable;

/// Changes beside the list, a quarter of it and between these bounds: each listing sorts them, and each merge copies the list.
const CHANGES_MIN: usize = 256;
const CHANGES_MAX: usize = 1_024;

/// A name, with as much of it as a word holds behind what all names begin with: few comparisons look further.
#[derive(Clone, Debug)]
struct Named {
    head: u64,
    record: Arc<Record>,
}

impl Named {
    fn new(record: Arc<Record>, shared: usize) -> Self {
        let mut word = [0; 8];
        let rest = record.name().get(shared..).unwrap_or_default();
        word.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        Self { head: u64::from_be_bytes(word), record }
    }

    fn name(&self) -> &[u8] {
        self.record.name()
    }

    fn cmp(&self, other: &Self) -> Ordering {
        self.head.cmp(&other.head).then_with(|| self.name().cmp(other.name()))
    }
}

/// Names in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Order {
    names: Vec<Named>,
    /// Names that came or went, in the order in which they did.
    changes: Vec<(Named, bool)>,
    /// What all of them begin with.
    shared: Bytes,
}

impl Order {
    /// Inserts a name that is not among the others.
    pub(super) fn insert(&mut self, record: &Arc<Record>) {
        self.change(record, true);
    }

    /// Removes a name that is among the others.
    pub(super) fn remove(&mut self, record: &Arc<Record>) {
        self.change(record, false);
    }

    fn change(&mut self, record: &Arc<Record>, is_there: bool) {
        if !record.name().starts_with(&self.shared) || self.names.is_empty() && self.changes.is_empty() {
            self.share(record);
        }
        self.changes.push((Named::new(record.clone(), self.shared.len()), is_there));
        if self.changes.len() >= (self.names.len() / 4).clamp(CHANGES_MIN, CHANGES_MAX) {
            self.merge();
        }
    }

    /// Looks again what all names begin with, after one that does not begin so.
    fn share(&mut self, record: &Record) {
        if self.names.is_empty() && self.changes.is_empty() {
            self.shared = record.name_bytes();
        }
        let is_equal = |(a, b): &(&u8, &u8)| a == b;
        let len = self.shared.iter().zip(record.name()).take_while(is_equal).count();
        self.shared.truncate(len);
        let changes = self.changes.iter_mut().map(|(named, _)| named);
        for named in self.names.iter_mut().chain(changes) {
            *named = Named::new(named.record.clone(), len);
        }
    }

    /// Takes the changes into the list.
    fn merge(&mut self) {
        let mut changes = core::mem::take(&mut self.changes);
        let mut names = Vec::with_capacity(self.names.len() + changes.len());
        let mut old = core::mem::take(&mut self.names).into_iter();
        changes.sort_by(|(a, _), (b, _)| a.cmp(b)); // a name's later changes stay behind its earlier ones
        for of_name in changes.chunk_by(|(a, _), (b, _)| a.cmp(b).is_eq()) {
            let Some((named, is_there)) = of_name.last() else { continue };
            let before = old.as_slice().partition_point(|other| other.cmp(named).is_lt());
            names.extend(old.by_ref().take(before));
            if old.as_slice().first().is_some_and(|other| other.cmp(named).is_eq()) {
                old.next();
            }
            names.extend(is_there.then(|| named.clone()));
        }
        names.extend(old);
        changes.clear();
        (self.names, self.changes) = (names, changes);
    }

    /// Walks the names that are not before `name`.
    pub(super) fn starting_at(&self, name: &[u8]) -> Walk<'_> {
        let from = self.names.partition_point(|other| other.name() < name);
        let changes = self.changes.iter().map(|(named, is_there)| (&*named.record, *is_there));
        let mut changes: Vec<(&Record, bool)> = changes.filter(|(it, _)| it.name() >= name).collect();
        changes.reverse();
        changes.sort_by(|(a, _), (b, _)| a.name().cmp(b.name()));
        changes.dedup_by(|(later, _), (first, _)| later.name() == first.name()); // the last change of each counts
        Walk { names: &self.names[from..], changes: changes.into_iter().peekable() }
    }
}

/// A walk through an order.
#[derive(Clone, Debug)]
pub(super) struct Walk<'a> {
    names: &'a [Named],
    /// What has changed of them, each name once.
    changes: Peekable<IntoIter<(&'a Record, bool)>>,
}

impl<'a> Iterator for Walk<'a> {
    type Item = &'a Record;
    fn next(&mut self) -> Option<&'a Record> {
        loop {
            let first = self.names.first();
            let is_due = |change: &(&Record, bool)| first.is_none_or(|it| change.0.name() <= it.name());
            let change = self.changes.next_if(is_due);
            let is_same = |it: &Named| change.is_none_or(|(record, _)| record.name() == it.name());
            if first.is_some_and(is_same) {
                self.names = &self.names[1..];
            }
            match change {
                Some((record, true)) => return Some(record),
                Some((_, false)) => {}
                None => return first.map(|named| &*named.record),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hlc::Stamp;
    use crate::id::MailboxId;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn record(name: &[u8]) -> Arc<Record> {
        let body = (Bytes::from(name.to_vec()), name.len() as u16);
        Arc::new(Record::new(body, 0, MailboxId(0), Stamp::ZERO, false))
    }

    proptest! {
        #[test]
        fn it_walks_what_a_tree_holds(
            steps in proptest::collection::vec(proptest::collection::vec(0..3_u8, 0..12), 0..400),
            shared in 0..10_usize,
            from in proptest::collection::vec(0..3_u8, 0..12),
            at_name in any::<Option<prop::sample::Index>>(),
        ) {
            let (mut order, mut tree) = (Order::default(), BTreeSet::new());
            for (at, step) in steps.iter().enumerate() {
                let alone: &[u8] = if at < 200 { b"service-//" } else { b"serv" }; // later ones share less
                let name = [&alone[..shared.min(alone.len())], step].concat();
                if tree.remove(&name) {
                    order.remove(&record(&name));
                } else {
                    order.insert(&record(&name));
                    tree.insert(name);
                }
                if step.len() == 7 {
                    order.merge(); // sooner than by itself, and into a list that holds some
                }
            }
            let from = match at_name.filter(|_| !tree.is_empty()) {
                Some(index) => tree.iter().nth(index.index(tree.len())).cloned().unwrap_or_default(),
                None => from,
            };
            let walked: Vec<&[u8]> = order.starting_at(&from).map(Record::name).collect();
            prop_assert_eq!(walked, tree.range(from..).map(|name| &name[..]).collect::<Vec<_>>());
        }
    }
}
