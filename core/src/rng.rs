//! Addressed randomness: every draw names its decision.
//!
//! The k-th draw for a purpose is the ChaCha8 keystream at (node seed, purpose, k). One decision more or fewer
//! elsewhere never moves another: this is what makes shrinking, paired runs and lasting seeds possible. `choose`,
//! `shuffle` and `range` are ours, so a dependency's new version never changes what a seed means.

use alloc::vec::Vec;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

/// 32-bit words reserved for one draw: 2^16 blocks, far more than any decision reads.
const WORDS_PER_DRAW: u128 = 1 << 20;

/// Why a machine draws: the second part of a draw's address. Append only; the numbers are part of every seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Purpose {
    /// Jitter of a link's back-off.
    Backoff = 0,
    /// The neighbour that a full active view gives up.
    Eviction = 1,
    /// The next hop of a forward-join walk.
    JoinWalk = 2,
    /// The next hop of a shuffle walk.
    ShuffleWalk = 3,
    /// What a shuffle tells of the views, and what is forgotten for what it brings.
    ShuffleSample = 4,
    /// When the next shuffle is due.
    ShuffleJitter = 5,
    /// Which passive contact is asked to become a neighbour.
    Refill = 6,
    /// When the next slow promotion is looked for.
    Promotion = 7,
    /// Which contacts a busy node sends a joiner to.
    Redirect = 8,
    /// Which seed is tried next.
    Seed = 9,
    /// Which announcer is asked for a missing message.
    Graft = 10,
    /// Jitter of anti-entropy.
    SyncJitter = 11,
    /// The partner of an anti-entropy session.
    SyncPartner = 12,
    /// Draws of a user's `App`.
    App = 13,

    /// When heartbeats are handed on.
    HeartbeatJitter = 14,
    /// Whom to ask for help to reach a member, and when.
    Confirm = 15,
    /// Jitter of the registry's anti-entropy.
    RegistryJitter = 18,
    /// The partner of the registry's anti-entropy.
    RegistryPartner = 19,
}

/// How many purposes there are.
const PURPOSES: usize = 20;

/// The generator of one node: its seed and a count of draws for each purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rng {
    seed: [u8; 32],
    drawn: [u32; PURPOSES],
}

impl Rng {
    /// Starts a generator at draw zero of every purpose.
    pub fn new(seed: [u8; 32]) -> Self {
        Self { seed, drawn: [0; PURPOSES] }
    }

    /// Draws for a purpose: the next address of that purpose, and of no other.
    pub fn draw(&mut self, purpose: Purpose) -> Draw {
        let k = &mut self.drawn[purpose as usize];
        let mut stream = ChaCha8Rng::from_seed(self.seed);
        stream.set_stream(purpose as u64);
        stream.set_word_pos(u128::from(*k) * WORDS_PER_DRAW);
        *k = k.wrapping_add(1);
        Draw(stream)
    }

    /// Counts the draws made so far, over all purposes: part of a node's digest.
    pub fn drawn(&self) -> u64 {
        self.drawn.iter().map(|k| u64::from(*k)).sum()
    }
}

/// The random words of one decision.
#[derive(Clone, Debug)]
pub struct Draw(ChaCha8Rng);

impl Draw {
    /// Draws 64 uniform bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Draws a number below `bound`, or zero when `bound` is zero. The bias is below `bound` / 2^64.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// Draws a number from `low` to `high`, both included; `low` when the range is empty.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// Draws an index into a sequence of `len` elements, or `None` when it is empty.
    pub fn index(&mut self, len: usize) -> Option<usize> {
        (len > 0).then(|| self.below(len as u64) as usize)
    }

    /// Chooses one element, or `None` when there is none.
    pub fn choose<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        self.index(from.len()).map(|i| &from[i])
    }

    /// Shuffles a slice (Fisher and Yates, from the end).
    pub fn shuffle<T>(&mut self, slice: &mut [T]) {
        for i in (1..slice.len()).rev() {
            let j = self.below(i as u64 + 1) as usize;
            slice.swap(i, j);
        }
    }

    /// Moves a random sample of `count` elements to the front and cuts the rest off.
    pub fn sample<T>(&mut self, from: &mut Vec<T>, count: usize) {
        let count = count.min(from.len());
        for i in 0..count {
            let j = i + self.below((from.len() - i) as u64) as usize;
            from.swap(i, j);
        }
        from.truncate(count);
    }

    /// Spreads a delay over `percent` below and above itself.
    pub fn jitter(&mut self, delay_ms: u64, percent: u64) -> u64 {
        let spread = delay_ms.saturating_mul(percent) / 100;
        self.between(delay_ms.saturating_sub(spread), delay_ms.saturating_add(spread))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_for_one_purpose_moves_no_other() {
        let mut plain = Rng::new([7; 32]);
        let mut busy = Rng::new([7; 32]);
        for _ in 0..100 {
            busy.draw(Purpose::Graft).bits();
        }
        for _ in 0..5 {
            assert_eq!(plain.draw(Purpose::Refill).bits(), busy.draw(Purpose::Refill).bits());
        }
    }

    #[test]
    fn a_long_draw_does_not_reach_into_the_next() {
        let mut long = Rng::new([1; 32]);
        let mut short = Rng::new([1; 32]);
        let mut draw = long.draw(Purpose::Eviction);
        for _ in 0..1000 {
            draw.bits();
        }
        short.draw(Purpose::Eviction).bits();
        assert_eq!(long.draw(Purpose::Eviction).bits(), short.draw(Purpose::Eviction).bits());
    }

    #[test]
    fn what_a_seed_means_never_changes() {
        let mut rng = Rng::new([42; 32]);
        let first = rng.draw(Purpose::Backoff).bits();
        let second = rng.draw(Purpose::Backoff).below(1000);
        let mut order: Vec<u8> = (0..10).collect();
        rng.draw(Purpose::App).shuffle(&mut order);
        assert_eq!((first, second), (1_416_288_153_198_615_734, 712));
        assert_eq!(order, [0, 4, 6, 3, 2, 1, 8, 5, 9, 7]);
    }

    #[test]
    fn a_sample_keeps_only_what_was_there_and_each_once() {
        let mut rng = Rng::new([3; 32]);
        for count in 0..12 {
            let mut from: Vec<u32> = (0..10).collect();
            rng.draw(Purpose::ShuffleSample).sample(&mut from, count);
            assert_eq!(from.len(), count.min(10));
            from.sort_unstable();
            from.dedup();
            assert_eq!(from.len(), count.min(10), "an element was taken twice");
        }
    }
}
