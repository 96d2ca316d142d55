//! The disk of one simulated node: rows that are durable, and writes that are not yet.

use crate::draw::{Domain, Draws};
use crate::schedule::DiskFate;
use bytes::Bytes;
use rumormill_core::{Row, Space, Token};
use std::collections::{BTreeMap, VecDeque};

/// A write takes up to a quarter longer than the usual time.
const DELAY_SPREAD: u64 = 4;

/// A disk. Writes become durable in the order in which they were started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    rows: BTreeMap<(Space, Bytes), Bytes>,
    under_way: VecDeque<(Token, Vec<Row>)>,
    /// When the last write that was started is durable.
    busy_until_ns: u64,
    /// Writes started in this life.
    started: u64,
}

impl Disk {
    /// Starts a write and tells when it will be durable. `who` names the node and its life.
    pub(crate) fn start(
        &mut self,
        (token, rows): (Token, Vec<Row>),
        now_ns: u64,
        disk_ns: u64,
        draws: &Draws,
        who: (u32, u32),
    ) -> u64 {
        let subject = [u64::from(who.0), u64::from(who.1), self.started];
        self.started += 1;
        let takes_ns = disk_ns + draws.below(disk_ns / DELAY_SPREAD + 1, Domain::WriteDelay, &subject);
        self.under_way.push_back((token, rows));
        self.busy_until_ns = self.busy_until_ns.max(now_ns + takes_ns);
        self.busy_until_ns
    }

    /// Makes the oldest write under way durable.
    pub(crate) fn finish(&mut self, token: Token) {
        let Some((oldest, rows)) = self.under_way.pop_front() else { return };
        assert_eq!(oldest, token, "writes become durable in order");
        self.apply(rows);
    }

    /// Crashes: of the writes under way some first ones are durable, the others never were. Each is atomic.
    pub(crate) fn crash(&mut self, fate: DiskFate, draws: &Draws, who: (u32, u32)) {
        let subject = [u64::from(who.0), u64::from(who.1)];
        let survive = draws.below(self.under_way.len() as u64 + 1, Domain::WriteFate, &subject);
        for (_, rows) in std::mem::take(&mut self.under_way).into_iter().take(survive as usize) {
            self.apply(rows);
        }
        (self.busy_until_ns, self.started) = (0, 0);
        if fate == DiskFate::Lost {
            self.rows.clear();
        }
    }

    /// Lists what is durable.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let row = |((space, key), value): (&(Space, Bytes), &Bytes)| Row {
            space: *space,
            key: key.clone(),
            value: Some(value.clone()),
        };
        self.rows.iter().map(row).collect()
    }

    fn apply(&mut self, rows: Vec<Row>) {
        for Row { space, key, value } in rows {
            match value {
                Some(value) => drop(self.rows.insert((space, key), value)),
                None => drop(self.rows.remove(&(space, key))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: u8, value: Option<&'static str>) -> Row {
        let value = value.map(|text| Bytes::from_static(text.as_bytes()));
        Row { space: Space::Marks, key: Bytes::copy_from_slice(&[key]), value }
    }

    fn start(disk: &mut Disk, token: u64, rows: Vec<Row>) -> u64 {
        disk.start((Token(token), rows), 1_000, 100, &Draws::new(42.into()), (0, 1))
    }

    #[test]
    fn a_write_is_durable_once_it_is_finished_and_not_before() {
        let mut disk = Disk::default();
        let at_ns = start(&mut disk, 1, vec![row(1, Some("a")), row(2, Some("b"))]);
        assert!((1_100..=1_125).contains(&at_ns), "{at_ns}");
        assert_eq!(disk.rows(), []);
        disk.finish(Token(1));
        start(&mut disk, 2, vec![row(1, None)]);
        disk.finish(Token(2));
        assert_eq!(disk.rows(), [row(2, Some("b"))]);
    }

    #[test]
    fn writes_become_durable_in_the_order_in_which_they_were_started() {
        let mut disk = Disk::default();
        let times: Vec<u64> = (0..50).map(|token| start(&mut disk, token, vec![])).collect();
        assert!(times.is_sorted());
    }

    #[test]
    fn a_crash_keeps_some_first_writes_under_way_and_no_later_one() {
        let mut survivors = [0; 4];
        for node in 0..400 {
            let mut disk = Disk::default();
            for token in 0..3 {
                start(&mut disk, u64::from(token), vec![row(token, Some("x"))]);
            }
            disk.crash(DiskFate::Kept, &Draws::new(42.into()), (node, 1));
            let rows = disk.rows();
            let first: Vec<Row> = (0..rows.len() as u8).map(|token| row(token, Some("x"))).collect();
            assert_eq!(rows, first);
            survivors[rows.len()] += 1;
        }
        assert!(survivors.iter().all(|count| *count > 70), "{survivors:?}");
    }

    #[test]
    fn a_lost_disk_comes_back_empty() {
        let mut disk = Disk::default();
        start(&mut disk, 1, vec![row(1, Some("a"))]);
        disk.finish(Token(1));
        disk.crash(DiskFate::Lost, &Draws::new(42.into()), (0, 1));
        assert_eq!(disk.rows(), []);
    }
}
