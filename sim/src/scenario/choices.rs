//! The choices of a scenario, each addressed by what it decides: dropping one thing never moves another's.

use super::{Distribution, Nodes};
use crate::draw::{Seed, below};
use rumormill_core::hash::{Fold, hash_bytes, mix};

/// The longest that a drawn time may be, in means.
const MEANS_MAX: u64 = 1_000;
/// The natural logarithm of two, in 2^-32.
const LN_2_Q32: u64 = 2_977_044_472;

/// The choices that one seed makes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choices(Fold);

impl Choices {
    pub(super) fn new(seed: Seed) -> Self {
        let mut fold = Fold::starting_at(seed.value);
        fold.word(u64::from(seed.version));
        fold.bytes(b"scenario");
        Self(fold)
    }

    /// Draws 64 bits for the decision that a word and numbers name.
    pub(super) fn draw(&self, what: &str, subject: &[u64]) -> u64 {
        let mut fold = self.0;
        fold.word(hash_bytes(what.as_bytes()));
        subject.iter().for_each(|word| fold.word(*word));
        fold.finish()
    }

    /// Draws a number below `bound`; zero when `bound` is zero.
    pub(super) fn below(&self, bound: u64, what: &str, subject: &[u64]) -> u64 {
        below(self.draw(what, subject), bound)
    }

    /// Draws a number from `-max` to `max`.
    pub(super) fn within(&self, max: u64, what: &str, subject: &[u64]) -> i64 {
        let max = max.min(i64::MAX as u64 / 2);
        self.below(2 * max + 1, what, subject) as i64 - max as i64
    }

    /// Orders nodes at random: each by its own draw, so that a node more or less moves no other.
    pub(super) fn order(&self, mut nodes: Vec<u32>, what: &str, id: u32) -> Vec<u32> {
        nodes.sort_by_cached_key(|node| (self.draw(what, &[u64::from(id), u64::from(*node)]), *node));
        nodes
    }

    /// Chooses `count` nodes of `among`, in rising order.
    pub(super) fn sample(&self, among: Vec<u32>, count: usize, what: &str, id: u32) -> Vec<u32> {
        let mut chosen = self.order(among, what, id);
        chosen.truncate(count);
        chosen.sort_unstable();
        chosen
    }

    /// Chooses the nodes that are meant, of `all` that are numbered from zero, in rising order.
    pub(super) fn nodes(&self, nodes: &Nodes, all: u32, what: &str, id: u32) -> Vec<u32> {
        match nodes {
            Nodes::All => (0..all).collect(),
            Nodes::These(numbers) => numbers.iter().copied().filter(|number| *number < all).collect(),
            Nodes::Share(_) | Nodes::Count(_) => {
                self.sample((0..all).collect(), nodes.count(all) as usize, what, id)
            }
        }
    }

    /// Draws a time with a mean, in the mean's unit.
    pub(super) fn span(&self, distribution: Distribution, mean: u64, what: &str, subject: &[u64]) -> u64 {
        let bits = self.draw(what, subject).max(1);
        let span = match distribution {
            Distribution::Exponential => {
                let nats_q64 = u128::from(negative_log2_q32(bits)) * u128::from(LN_2_Q32);
                (u128::from(mean) * (nats_q64 >> 32)) >> 32
            }
            // With exponent 2 the least value is half the mean, and the quantile is a root.
            Distribution::Pareto => (u128::from(mean / 2) << 32) / u128::from(bits.isqrt()),
        };
        u64::try_from(span).unwrap_or(u64::MAX).min(mean.saturating_mul(MEANS_MAX))
    }

    /// Makes bytes that name their decision.
    pub(super) fn bytes(&self, size: u32, what: &str, subject: &[u64]) -> Vec<u8> {
        let mut word = self.draw(what, subject);
        let mut bytes = Vec::with_capacity(size as usize + 8);
        while bytes.len() < size as usize {
            bytes.extend_from_slice(&word.to_le_bytes());
            word = mix(word.wrapping_add(0x9E37_79B9_7F4A_7C15));
        }
        bytes.truncate(size as usize);
        bytes
    }
}

/// The negative binary logarithm of `bits` / 2^64, in 2^-32, one binary digit after another. `bits` is not zero.
fn negative_log2_q32(bits: u64) -> u64 {
    let zeros = u64::from(bits.leading_zeros());
    let mut mantissa = u128::from(bits) << zeros; // from 1 to 2, in 2^-63
    let mut fraction = 0;
    for _ in 0..32 {
        mantissa = (mantissa * mantissa) >> 63;
        fraction <<= 1;
        if mantissa >> 64 != 0 {
            mantissa >>= 1;
            fraction |= 1;
        }
    }
    ((zeros + 1) << 32) - fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(distribution: Distribution) -> f64 {
        let choices = Choices::new(Seed::from(7));
        let spans = (0..100_000).map(|k| choices.span(distribution, 1_000_000, "test", &[k]) as f64);
        spans.sum::<f64>() / 1e5
    }

    #[test]
    fn drawn_times_have_the_mean_that_was_asked_for() {
        assert!((mean(Distribution::Exponential) / 1e6 - 1.0).abs() < 0.02);
        assert!((mean(Distribution::Pareto) / 1e6 - 1.0).abs() < 0.1, "a heavy tail converges slowly");
    }

    #[test]
    fn exponential_times_have_the_quantiles_of_the_distribution() {
        let choices = Choices::new(Seed::from(7));
        let mut spans: Vec<u64> =
            (0..10_000).map(|k| choices.span(Distribution::Exponential, 1_000_000, "test", &[k])).collect();
        spans.sort_unstable();
        // The negative natural logarithms of 0.9, 0.5, 0.1 and 0.01.
        for (index, expected) in [
            (1_000, 0.105_361),
            (5_000, std::f64::consts::LN_2),
            (9_000, std::f64::consts::LN_10),
            (9_900, 4.605_170),
        ] {
            let seen = spans[index] as f64 / 1e6;
            assert!((seen / expected - 1.0).abs() < 0.06, "at {index}: {seen} for {expected}");
        }
    }

    #[test]
    fn the_logarithm_is_exact_to_its_digits() {
        const LOG2_3: f64 = 1.584_962_500_721_156;
        let known = [
            (1, 64.0),
            (2, 63.0),
            (3, 64.0 - LOG2_3),
            (1 << 32, 32.0),
            (1 << 63, 1.0),
            (3 << 62, 2.0 - LOG2_3),
        ];
        for (bits, expected) in known {
            let seen = negative_log2_q32(bits) as f64 / (1u64 << 32) as f64;
            assert!((seen - expected).abs() < 1e-9, "{bits}: {seen} for {expected}");
        }
        assert!(negative_log2_q32(u64::MAX) <= 1, "the least draw is next to nothing");
    }

    #[test]
    fn a_sample_moves_by_at_most_one_node_when_the_world_shrinks_by_one() {
        let choices = Choices::new(Seed::from(42));
        let large = choices.sample((0..100).collect(), 10, "crash", 0);
        let small = choices.sample((0..99).collect(), 10, "crash", 0);
        assert!(large.iter().filter(|node| !small.contains(node)).count() <= 1);
    }
}
