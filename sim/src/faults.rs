//! The faults of a run: which are at work now, and what each has touched so far.

use crate::schedule::FaultEffect;

/// What a fault has touched. A fault that touched nothing makes a run vacuous.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Frames and handshake packets lost, held, doubled or late; inputs that waited; clock readings that were wrong.
    pub messages: u64,
    /// Bytes of those frames.
    pub bytes: u64,
    /// Distinct nodes touched.
    pub nodes: u64,
    /// Nanoseconds by which something was late.
    pub nanoseconds: u64,
}

impl Receipt {
    /// Tells whether the fault touched nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A set of node numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bits(Vec<u64>);

impl Bits {
    pub(crate) fn insert(&mut self, number: u32) -> bool {
        let (word, bit) = (number as usize / 64, 1 << (number % 64));
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let is_new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        is_new
    }

    pub(crate) fn contains(&self, number: u32) -> bool {
        self.0.get(number as usize / 64).is_some_and(|word| word & (1 << (number % 64)) != 0)
    }
}

/// One fault: what it does while it lasts, and its receipt for good.
#[derive(Clone, Debug, Default)]
struct Fault {
    effect: Option<FaultEffect>,
    /// The nodes that a fault on packets covers.
    covered: Bits,
    covers_all: bool,
    /// Whether only what the covered nodes send suffers.
    is_egress: bool,
    receipt: Receipt,
    touched: Bits,
}

impl Fault {
    fn covers(&self, from: u32, to: u32) -> bool {
        self.covers_all || self.covered.contains(from) || (!self.is_egress && self.covered.contains(to))
    }
}

/// The chances in a million that one cause gives each packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Noise {
    /// The number of the fault.
    pub(crate) fault: u32,
    pub(crate) loss_ppm: u32,
    pub(crate) duplicate_ppm: u32,
    pub(crate) reorder_ppm: u32,
}

/// All faults of a run, by number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    all: Vec<Fault>,
    cuts: Vec<u32>,
    noises: Vec<Noise>,
    delays: Vec<(u32, u64)>,
}

impl Faults {
    /// Begins a fault, or begins it again.
    pub(crate) fn begin(&mut self, fault: u32, effect: &FaultEffect) {
        self.end(fault);
        self.entry(fault).effect = Some(effect.clone());
        match effect {
            FaultEffect::Cut { .. } => self.cuts.push(fault),
            FaultEffect::Noise { nodes, egress, loss_ppm, duplicate_ppm, reorder_ppm } => {
                let (loss_ppm, duplicate_ppm, reorder_ppm) = (*loss_ppm, *duplicate_ppm, *reorder_ppm);
                self.noises.push(Noise { fault, loss_ppm, duplicate_ppm, reorder_ppm });
                self.cover(fault, nodes);
                self.entry(fault).is_egress = *egress;
            }
            FaultEffect::Delay { nodes, extra_ns } => {
                self.delays.push((fault, *extra_ns));
                self.cover(fault, nodes);
            }
            FaultEffect::Pause { .. } | FaultEffect::Slow { .. } | FaultEffect::Clock(_) => {}
        }
    }

    /// Ends a fault and tells what it did until now.
    pub(crate) fn end(&mut self, fault: u32) -> Option<FaultEffect> {
        self.cuts.retain(|other| *other != fault);
        self.noises.retain(|other| other.fault != fault);
        self.delays.retain(|other| other.0 != fault);
        self.entry(fault).effect.take()
    }

    fn cover(&mut self, fault: u32, nodes: &[u32]) {
        let entry = self.entry(fault);
        entry.covers_all = nodes.is_empty();
        entry.covered = Bits::default();
        for node in nodes {
            entry.covered.insert(*node);
        }
    }

    fn entry(&mut self, fault: u32) -> &mut Fault {
        let index = fault as usize;
        if self.all.len() <= index {
            self.all.resize_with(index + 1, Fault::default);
        }
        &mut self.all[index]
    }

    /// Lists the faults at work now, in the order of their numbers.
    pub(crate) fn at_work(&self) -> impl Iterator<Item = (u32, &FaultEffect)> {
        self.all.iter().zip(0..).filter_map(|(fault, number)| Some((number, fault.effect.as_ref()?)))
    }

    /// Lists the receipts of all faults up to the last that ever came, by number.
    pub(crate) fn receipts(&self) -> impl Iterator<Item = (u32, Receipt)> {
        self.all.iter().zip(0..).map(|(fault, number)| (number, fault.receipt))
    }

    /// Notes that a fault touched a node.
    pub(crate) fn touch(&mut self, fault: u32, node: u32) {
        let entry = self.entry(fault);
        if entry.touched.insert(node) {
            entry.receipt.nodes += 1;
        }
    }

    /// Notes what a fault did to something between two nodes.
    pub(crate) fn note(&mut self, fault: u32, (from, to): (u32, u32), bytes: u64, nanoseconds: u64) {
        self.touch(fault, from);
        self.touch(fault, to);
        let receipt = &mut self.entry(fault).receipt;
        receipt.messages += 1;
        receipt.bytes += bytes;
        receipt.nanoseconds += nanoseconds;
    }

    /// Notes that something which was counted already was late by so much.
    pub(crate) fn note_late(&mut self, fault: u32, nanoseconds: u64) {
        self.entry(fault).receipt.nanoseconds += nanoseconds;
    }

    /// Names the first cut that lets nothing through from one node to another.
    #[inline]
    pub(crate) fn cut(&self, from: u32, to: u32) -> Option<u32> {
        self.cuts.iter().copied().find(|fault| self.blocks(*fault, from, to))
    }

    fn blocks(&self, fault: u32, from: u32, to: u32) -> bool {
        let Some(FaultEffect::Cut { group, blocked }) = &self.all[fault as usize].effect else {
            return false;
        };
        let groups = group.get(from as usize).zip(group.get(to as usize));
        groups.is_some_and(|(from, to)| blocked.contains(&(*from, *to)))
    }

    /// Sums what the faults add to the latency between two nodes, and notes it in their receipts.
    #[inline]
    pub(crate) fn delay(&mut self, from: u32, to: u32, bytes: u64) -> u64 {
        if self.delays.is_empty() { 0 } else { self.sum_delays(from, to, bytes) }
    }

    fn sum_delays(&mut self, from: u32, to: u32, bytes: u64) -> u64 {
        let mut sum = 0;
        for index in 0..self.delays.len() {
            let (fault, extra_ns) = self.delays[index];
            if self.all[fault as usize].covers(from, to) {
                self.note(fault, (from, to), bytes, extra_ns);
                sum += extra_ns;
            }
        }
        sum
    }

    /// Tells whether any fault plays dice with packets.
    #[inline]
    pub(crate) fn is_noisy(&self) -> bool {
        !self.noises.is_empty()
    }

    /// Lists the noises that packets between two nodes suffer.
    pub(crate) fn noises(&self, from: u32, to: u32) -> impl Iterator<Item = Noise> {
        self.noises.iter().copied().filter(move |noise| self.all[noise.fault as usize].covers(from, to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut() -> FaultEffect {
        FaultEffect::Cut { group: vec![0, 0, 1], blocked: vec![(0, 1)] }
    }

    #[test]
    fn a_cut_blocks_only_its_direction_and_only_while_it_lasts() {
        let mut faults = Faults::default();
        faults.begin(3, &cut());
        assert_eq!(faults.cut(0, 2), Some(3));
        assert_eq!(faults.cut(2, 0), None);
        assert_eq!(faults.cut(0, 1), None);
        assert_eq!(faults.end(3), Some(cut()));
        assert_eq!(faults.cut(0, 2), None);
    }

    #[test]
    fn a_receipt_counts_each_node_once_and_stays_when_the_fault_ends() {
        let mut faults = Faults::default();
        faults.begin(0, &cut());
        faults.note(0, (0, 2), 100, 7);
        faults.note(0, (0, 2), 50, 3);
        faults.end(0);
        let expected = Receipt { messages: 2, bytes: 150, nodes: 2, nanoseconds: 10 };
        assert_eq!(faults.receipts().collect::<Vec<_>>(), [(0, expected)]);
    }

    #[test]
    fn egress_loss_touches_only_what_its_nodes_send() {
        let mut faults = Faults::default();
        let (nodes, loss_ppm, duplicate_ppm, reorder_ppm) = (vec![1], 800_000, 0, 0);
        for (fault, egress) in [(0, true), (1, false)] {
            let nodes = nodes.clone();
            faults.begin(fault, &FaultEffect::Noise { nodes, egress, loss_ppm, duplicate_ppm, reorder_ppm });
        }
        let noises = |from, to| faults.noises(from, to).map(|noise| noise.fault).collect::<Vec<_>>();
        assert_eq!((noises(1, 0), noises(0, 1), noises(0, 2)), (vec![0, 1], vec![1], vec![]));
    }

    #[test]
    fn a_delay_of_some_nodes_touches_packets_to_and_from_them_only() {
        let mut faults = Faults::default();
        faults.begin(0, &FaultEffect::Delay { nodes: vec![1], extra_ns: 5 });
        faults.begin(1, &FaultEffect::Delay { nodes: vec![], extra_ns: 2 });
        assert_eq!((faults.delay(0, 1, 1), faults.delay(1, 0, 1), faults.delay(0, 2, 1)), (7, 7, 2));
        faults.end(0);
        assert_eq!((faults.delay(0, 1, 1), faults.delay(0, 2, 1)), (2, 2), "it has ended");
    }
}
