//! The fate of packets under loss, duplication and reordering: each draw is addressed by the frame itself.

use crate::draw::{Domain, Draws};
use crate::faults::{Faults, Noise};
use indexmap::IndexMap;
use rumormill_core::hash::{FixedState, Fold};

/// Bytes of stream data in one packet.
const PACKET_LEN: u32 = 1_200;
/// A packet gets through at the latest with so many retransmissions: by then an idle timeout has struck.
const ATTEMPTS_MAX: u32 = 16;
/// Equal frames are counted within spans of 2^33 ns (8.6 s) of virtual time, which bounds the table of counts.
const SPAN_BITS: u32 = 33;
/// The cause of loss that is no fault: the network as the scenario describes it.
const BACKGROUND: u32 = u32::MAX;

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fate {
    /// Whether a datagram is lost.
    pub(crate) is_lost: bool,
    /// Whether it comes twice.
    pub(crate) is_doubled: bool,
    /// For how long the sender tries again until every packet has left for good.
    pub(crate) resent_ns: u64,
    /// For how long it is held back under way.
    pub(crate) held_back_ns: u64,
}

/// Whom a draw is about: where a frame goes, and which frame it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject {
    pub(crate) path: (u32, u32),
    pub(crate) fingerprint: u64,
    pub(crate) len: u32,
    /// Whether what is lost stays lost.
    pub(crate) is_datagram: bool,
    pub(crate) probe_timeout_ns: u64,
}

/// Plays dice with packets.
#[derive(Clone, Debug)]
pub(crate) struct Fates {
    draws: Draws,
    loss_ppm: u32,
    span: u64,
    counts: IndexMap<u64, u32, FixedState>,
    /// The noises of the packet in hand: a buffer.
    noises: Vec<Noise>,
    /// Packets lost so far.
    pub(crate) lost: u64,
    /// Frames doubled so far.
    pub(crate) doubled: u64,
}

impl Fates {
    pub(crate) fn new(draws: Draws, loss_ppm: u32) -> Self {
        let (counts, noises) = (IndexMap::default(), Vec::new());
        Self { draws, loss_ppm, span: 0, counts, noises, lost: 0, doubled: 0 }
    }

    /// Tells whether any frame can suffer anything now: if not, none needs a fingerprint.
    #[inline]
    pub(crate) fn is_active(&self, faults: &Faults) -> bool {
        self.loss_ppm > 0 || faults.is_noisy()
    }

    /// Decides the fate of a frame that leaves at `now_ns`.
    pub(crate) fn draw(&mut self, subject: Subject, now_ns: u64, faults: &mut Faults) -> Fate {
        let address = self.address(subject, now_ns);
        self.noises.clear();
        if self.loss_ppm > 0 {
            let (loss_ppm, duplicate_ppm, reorder_ppm) = (self.loss_ppm, 0, 0);
            self.noises.push(Noise { fault: BACKGROUND, loss_ppm, duplicate_ppm, reorder_ppm });
        }
        self.noises.extend(faults.noises(subject.path.0, subject.path.1));
        let mut fate = Fate::default();
        self.lose(&mut fate, subject, address, faults);
        for index in 0..self.noises.len() {
            self.disturb(&mut fate, self.noises[index], subject, address, faults);
        }
        fate
    }

    /// Names the frame: from, to, fingerprint, and the count of equal frames before it on this link.
    fn address(&mut self, subject: Subject, now_ns: u64) -> u64 {
        let span = now_ns >> SPAN_BITS;
        if span != self.span {
            self.counts.clear();
            self.span = span;
        }
        let mut fold = Fold::starting_at(subject.fingerprint);
        fold.word(u64::from(subject.path.0) << 32 | u64::from(subject.path.1));
        fold.word(span);
        let k = self.counts.entry(fold.finish()).or_insert(0);
        *k += 1;
        fold.word(u64::from(*k));
        fold.finish()
    }

    /// Loses packets: all of them are under way side by side, so the unluckiest decides.
    fn lose(&mut self, fate: &mut Fate, subject: Subject, address: u64, faults: &mut Faults) {
        for packet in 0..subject.len.div_ceil(PACKET_LEN).max(1) {
            let mut late_ns = 0;
            for attempt in 0..ATTEMPTS_MAX {
                let Some(fault) = self.loser(address, packet, attempt) else { break };
                let retry_ns = subject.probe_timeout_ns << attempt;
                late_ns += retry_ns;
                self.lost += 1;
                if fault != BACKGROUND {
                    faults.note(fault, subject.path, u64::from(subject.len.min(PACKET_LEN)), retry_ns);
                }
                if subject.is_datagram {
                    fate.is_lost = true;
                    break;
                }
            }
            fate.resent_ns = fate.resent_ns.max(late_ns);
        }
    }

    /// Names the first cause that loses this attempt at a packet.
    fn loser(&self, address: u64, packet: u32, attempt: u32) -> Option<u32> {
        let which = u64::from(packet) << 32 | u64::from(attempt);
        let loses = |noise: &&Noise| {
            let cause = u64::from(noise.fault);
            self.draws.chance(noise.loss_ppm, Domain::Loss, &[address, cause, which])
        };
        self.noises.iter().find(loses).map(|noise| noise.fault)
    }

    fn disturb(
        &mut self,
        fate: &mut Fate,
        noise: Noise,
        subject: Subject,
        address: u64,
        faults: &mut Faults,
    ) {
        let words = [address, u64::from(noise.fault)];
        if self.draws.chance(noise.duplicate_ppm, Domain::Duplicate, &words) {
            fate.is_doubled = true;
            self.doubled += 1;
            faults.note(noise.fault, subject.path, u64::from(subject.len), 0);
        }
        if self.draws.chance(noise.reorder_ppm, Domain::Reorder, &words) {
            // Overtaken by what leaves within one probe timeout at most: later than that it counts as lost.
            let late_ns = self.draws.below(subject.probe_timeout_ns, Domain::ReorderDelay, &words);
            fate.held_back_ns += late_ns;
            faults.note(noise.fault, subject.path, u64::from(subject.len), late_ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::FaultEffect;

    const PTO_NS: u64 = 100;

    fn subject(fingerprint: u64, len: u32) -> Subject {
        Subject { path: (1, 2), fingerprint, len, is_datagram: false, probe_timeout_ns: PTO_NS }
    }

    fn fates(loss_ppm: u32) -> Fates {
        Fates::new(Draws::new(42.into()), loss_ppm)
    }

    #[test]
    fn without_one_frame_all_others_keep_their_fates() {
        let (mut all, mut without) = (fates(300_000), fates(300_000));
        let mut faults = Faults::default();
        let draw =
            |fates: &mut Fates, i: u64, faults: &mut Faults| fates.draw(subject(i % 50, 100), i, faults);
        let mut with: Vec<Fate> = (0..1_000).map(|i| draw(&mut all, i, &mut faults)).collect();
        let rest = (0..1_000).filter(|i| *i != 950).map(|i| draw(&mut without, i, &mut faults));
        let rest: Vec<Fate> = rest.collect();
        with.remove(950);
        assert_eq!(with, rest);
    }

    #[test]
    fn equal_frames_on_one_link_have_fates_of_their_own() {
        let (mut fates, mut faults) = (fates(500_000), Faults::default());
        let resent = |_| fates.draw(subject(7, 100), 0, &mut faults).resent_ns > 0;
        let late = (0..1_000).map(resent).filter(|late| *late).count();
        assert!((450..550).contains(&late), "{late} of 1,000 were late at 50 % loss");
    }

    #[test]
    fn loss_becomes_delay_that_doubles_on_a_stream_and_loss_on_a_datagram() {
        let mut faults = Faults::default();
        let mut fates = fates(500_000);
        let late: Vec<u64> =
            (0..200).map(|i| fates.draw(subject(i, 100), 0, &mut faults).resent_ns).collect();
        assert!(late.iter().all(|ns| ns % PTO_NS == 0 && (ns / PTO_NS + 1).is_power_of_two()), "{late:?}");
        assert!(late.contains(&0) && late.contains(&PTO_NS) && late.contains(&(3 * PTO_NS)));
        let datagram = |i| Subject { is_datagram: true, ..subject(i, 100) };
        let lost = (0..200).filter(|i| fates.draw(datagram(*i), 0, &mut faults).is_lost).count();
        assert!((70..130).contains(&lost), "{lost} of 200 datagrams were lost");
    }

    #[test]
    fn a_frame_of_many_packets_is_late_more_often() {
        let (mut fates, mut faults) = (fates(50_000), Faults::default());
        let mut late =
            |len| (0..1_000).filter(|i| fates.draw(subject(*i, len), 0, &mut faults).resent_ns > 0).count();
        let (small, large) = (late(100), late(12_000));
        assert!(small < 80 && large > 300, "late: {small} of one packet, {large} of ten");
    }

    #[test]
    fn a_noise_leaves_a_receipt_for_what_it_did() {
        let (mut fates, mut faults) = (fates(0), Faults::default());
        assert!(!fates.is_active(&faults));
        let (loss_ppm, duplicate_ppm, reorder_ppm) = (0, 1_000_000, 1_000_000);
        faults.begin(
            0,
            &FaultEffect::Noise { nodes: vec![], egress: false, loss_ppm, duplicate_ppm, reorder_ppm },
        );
        let fate = fates.draw(subject(1, 100), 0, &mut faults);
        assert!(fate.is_doubled && !fate.is_lost && fate.held_back_ns < PTO_NS);
        let (_, receipt) = faults.receipts().next().expect("the noise has a receipt");
        assert_eq!((receipt.messages, receipt.bytes, receipt.nodes), (2, 200, 2));
        assert_eq!(receipt.nanoseconds, fate.held_back_ns);
    }
}
