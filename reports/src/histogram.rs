//! Samples in bounded memory, and the few figures that a record keeps of them.

use crate::Finite;
use serde::{Deserialize, Serialize};

/// Significant decimal digits that a histogram keeps of each sample: an error of at most 0.1 %.
const DIGITS: u8 = 3;

/// The largest sample; greater ones count as this one. 2^62 ns are 146 years.
const SAMPLE_MAX: u64 = 1 << 62;

/// Counts whole-numbered samples in buckets of 0.1 % width; the least, the greatest and the sum are exact.
///
/// Merging the histograms of nodes, or of seeds, equals recording every sample in one. Memory is bounded by the
/// precision (about 0.5 MB), not by the number of samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    buckets: hdrhistogram::Histogram<u64>,
    sum: u128,
    min: u64,
    max: u64,
}

/// Three quantiles and the greatest of some samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quantiles {
    /// Half of the samples are at most this.
    pub p50: Finite,
    /// 90 % of the samples are at most this.
    pub p90: Finite,
    /// 99 % of the samples are at most this.
    pub p99: Finite,
    /// The greatest sample.
    pub max: Finite,
}

/// How a rate is spread over the nodes: the middle, the busy and the busiest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rates {
    /// Half of the nodes have at most this.
    pub p50: Finite,
    /// 99 % of the nodes have at most this.
    pub p99: Finite,
    /// The busiest node has this.
    pub max: Finite,
}

/// How a small whole number, such as a degree, is spread over the nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread {
    /// The least.
    pub min: u64,
    /// Half of the nodes have at most this.
    pub p50: u64,
    /// The greatest.
    pub max: u64,
}

impl Histogram {
    /// Creates an empty histogram.
    pub fn new() -> Histogram {
        let buckets = hdrhistogram::Histogram::new(DIGITS).expect("three digits are a valid precision");
        Histogram { buckets, sum: 0, min: u64::MAX, max: 0 }
    }

    /// Counts one sample.
    pub fn record(&mut self, sample: u64) {
        self.record_n(sample, 1);
    }

    /// Counts a sample several times.
    pub fn record_n(&mut self, sample: u64, count: u64) {
        if count == 0 {
            return;
        }
        let sample = sample.min(SAMPLE_MAX);
        self.buckets.record_n(sample, count).expect("the buckets grow up to the largest sample");
        self.sum = self.sum.saturating_add(u128::from(sample) * u128::from(count));
        self.min = self.min.min(sample);
        self.max = self.max.max(sample);
    }

    /// Adds the samples of another histogram.
    pub fn merge(&mut self, other: &Histogram) {
        self.buckets.add(&other.buckets).expect("the buckets grow up to the largest sample");
        self.sum = self.sum.saturating_add(other.sum);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// How many samples there are.
    pub fn count(&self) -> u64 {
        self.buckets.len()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// The least sample, exactly.
    pub fn min(&self) -> Option<u64> {
        (!self.is_empty()).then_some(self.min)
    }

    /// The greatest sample, exactly.
    pub fn max(&self) -> Option<u64> {
        (!self.is_empty()).then_some(self.max)
    }

    /// The mean of all samples, exactly up to rounding.
    pub fn mean(&self) -> Option<Finite> {
        Finite::new(self.sum as f64 / self.count() as f64)
    }

    /// The value that a share of the samples (0 to 1) does not exceed, at most 0.1 % too great.
    pub fn quantile(&self, share: f64) -> Option<u64> {
        // A bucket answers with its upper end: no quantile shall exceed the greatest sample.
        (!self.is_empty()).then(|| self.buckets.value_at_quantile(share).clamp(self.min, self.max))
    }

    /// The quantiles of a record, in a unit of so many of the samples' own: 1,000,000 turns nanoseconds into
    /// milliseconds. `None` without samples.
    pub fn quantiles(&self, per_unit: u32) -> Option<Quantiles> {
        let [p50, p90, p99] = [0.5, 0.9, 0.99].map(|share| self.scaled(self.quantile(share), per_unit));
        Some(Quantiles { p50: p50?, p90: p90?, p99: p99?, max: self.scaled(self.max(), per_unit)? })
    }

    /// The rates of a record, in a unit of so many of the samples' own. `None` without samples.
    pub fn rates(&self, per_unit: u32) -> Option<Rates> {
        let Quantiles { p50, p90: _, p99, max } = self.quantiles(per_unit)?;
        Some(Rates { p50, p99, max })
    }

    /// The least, the median and the greatest sample. `None` without samples.
    pub fn spread(&self) -> Option<Spread> {
        Some(Spread { min: self.min()?, p50: self.quantile(0.5)?, max: self.max()? })
    }

    fn scaled(&self, sample: Option<u64>, per_unit: u32) -> Option<Finite> {
        Finite::new(sample? as f64 / f64::from(per_unit))
    }
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram::new()
    }
}

impl Extend<u64> for Histogram {
    fn extend<I: IntoIterator<Item = u64>>(&mut self, samples: I) {
        samples.into_iter().for_each(|sample| self.record(sample));
    }
}

impl FromIterator<u64> for Histogram {
    fn from_iter<I: IntoIterator<Item = u64>>(samples: I) -> Histogram {
        let mut histogram = Histogram::new();
        histogram.extend(samples);
        histogram
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_recorded_has_no_figures() {
        let empty = Histogram::new();
        assert_eq!((empty.count(), empty.min(), empty.max()), (0, None, None));
        assert_eq!((empty.mean(), empty.quantile(0.5)), (None, None));
        assert_eq!((empty.quantiles(1), empty.rates(1), empty.spread()), (None, None, None));
    }

    #[test]
    fn merging_nothing_changes_nothing() {
        let samples: Histogram = [3, 1, 2].into_iter().collect();
        let mut merged = samples.clone();
        merged.merge(&Histogram::new());
        assert_eq!(merged, samples);
        let mut other_way = Histogram::new();
        other_way.merge(&samples);
        assert_eq!(other_way, samples);
    }

    #[test]
    fn small_samples_are_exact() {
        let degrees: Histogram = [4, 5, 5, 5, 7].into_iter().collect();
        assert_eq!(degrees.spread(), Some(Spread { min: 4, p50: 5, max: 7 }));
        assert_eq!(degrees.mean(), Finite::new(5.2));
    }

    #[test]
    fn quantiles_come_in_the_unit_that_was_asked_for() {
        let latencies: Histogram = (1..=1_000u64).map(|ms| ms * 1_000_000).collect();
        let Quantiles { p50, p90, p99, max } = latencies.quantiles(1_000_000).unwrap();
        for (ours, exact) in [(p50, 500.0), (p90, 900.0), (p99, 990.0)] {
            assert!((ours.value() - exact).abs() <= exact / 1_000.0, "{ours:?} is not {exact}");
        }
        assert_eq!(max, Finite::from(1_000));
    }

    #[test]
    fn the_largest_sample_is_a_bound() {
        let huge: Histogram = [u64::MAX].into_iter().collect();
        assert_eq!(huge.max(), Some(SAMPLE_MAX));
        assert_eq!(huge.quantile(0.5), Some(SAMPLE_MAX));
    }

    fn exact_quantile(sorted: &[u64], share: f64) -> u64 {
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted[rank.max(1) - 1]
    }

    proptest! {
        #[test]
        fn merging_the_parts_equals_recording_all_in_one(
            nodes in prop::collection::vec(prop::collection::vec(any::<u64>(), 0..20), 0..8),
        ) {
            let whole: Histogram = nodes.iter().flatten().copied().collect();
            let mut merged = Histogram::new();
            for node in &nodes {
                merged.merge(&node.iter().copied().collect());
            }
            prop_assert_eq!(&merged, &whole);
            prop_assert_eq!(merged.quantiles(1_000), whole.quantiles(1_000));
            prop_assert_eq!(merged.mean(), whole.mean());
        }

        #[test]
        fn a_quantile_is_at_most_a_thousandth_off(
            mut samples in prop::collection::vec(0..SAMPLE_MAX, 1..200), share in 0.0..=1.0,
        ) {
            let histogram: Histogram = samples.iter().copied().collect();
            samples.sort_unstable();
            let exact = exact_quantile(&samples, share);
            let ours = histogram.quantile(share).unwrap();
            prop_assert!(ours.abs_diff(exact) <= exact / 1_000, "{} is not {}", ours, exact);
        }
    }
}
