//! One-way latencies from integer tables: a property of the pair, derived from a hash of its two ends.

use crate::draw::{Domain, Draws};
use crate::schedule::LatencyModel;

const MILLI: u64 = 1_000_000;

/// Where a long-tailed latency lies at some quantiles: per mille of pairs, and per mille of the way from the median
/// to the 99th percentile. Below the median it falls to half the median; above, the shape is a log-normal's whose
/// 99th percentile is ten times its median.
const LONG_TAIL: [(u64, u64); 8] =
    [(500, 0), (600, 32), (700, 76), (800, 145), (900, 284), (950, 455), (990, 1000), (1000, 1500)];

/// One-way milliseconds between five regions: North America's east and west coast, Europe, East Asia, South America.
/// A guess: halves of round trips that public clouds report, rounded.
const FIVE_REGIONS: [[u64; 5]; 5] = [
    [1, 32, 40, 78, 57],
    [32, 1, 67, 52, 87],
    [40, 67, 1, 110, 95],
    [78, 52, 110, 1, 130],
    [57, 87, 95, 130, 1],
];
/// How far pairs of the same regions differ at most, in per cent upwards.
const REGION_SPREAD_PERCENT: u64 = 20;

/// Tells the latency from one node to another, the same in both directions, in nanoseconds.
pub(crate) fn one_way_ns(model: &LatencyModel, draws: &Draws, from: u32, to: u32) -> u64 {
    let (low, high) = (from.min(to), from.max(to));
    let below = |bound| draws.below(bound, Domain::Latency, &[u64::from(low), u64::from(high)]);
    match model {
        LatencyModel::Constant(ns) => *ns,
        LatencyModel::Uniform(min, max) => min + below(max.saturating_sub(*min) + 1),
        LatencyModel::LongTail(median, p99) => long_tail(*median, *p99, below(1_000_000)),
        LatencyModel::FiveRegions => {
            let region = |node| draws.below(5, Domain::Region, &[u64::from(node)]) as usize;
            let base = FIVE_REGIONS[region(low)][region(high)] * MILLI;
            base + below(base * REGION_SPREAD_PERCENT / 100)
        }
    }
}

/// Reads the quantile function at `ppm` parts in a million, with straight lines between its points.
fn long_tail(median: u64, p99: u64, ppm: u64) -> u64 {
    if ppm < 500_000 {
        return median / 2 + median * ppm / 1_000_000;
    }
    let above =
        LONG_TAIL.iter().position(|(permille, _)| ppm < permille * 1_000).unwrap_or(LONG_TAIL.len() - 1);
    let ((x0, y0), (x1, y1)) = (LONG_TAIL[above - 1], LONG_TAIL[above]);
    let weight_ppm = y0 * 1_000 + (y1 - y0) * (ppm - x0 * 1_000) / (x1 - x0);
    let span = u128::from(p99.saturating_sub(median));
    median + (span * u128::from(weight_ppm) / 1_000_000) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latencies(model: &LatencyModel) -> Vec<u64> {
        let draws = Draws::new(42.into());
        let pairs = (0..200).flat_map(|from| (0..from).map(move |to| (from, to)));
        let mut all: Vec<u64> = pairs.map(|(from, to)| one_way_ns(model, &draws, from, to)).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn a_latency_is_the_same_in_both_directions() {
        let draws = Draws::new(42.into());
        let models = [
            LatencyModel::Constant(5),
            LatencyModel::Uniform(10 * MILLI, 50 * MILLI),
            LatencyModel::LongTail(20 * MILLI, 200 * MILLI),
            LatencyModel::FiveRegions,
        ];
        for model in models {
            for (a, b) in [(0, 1), (7, 3), (12, 999)] {
                assert_eq!(one_way_ns(&model, &draws, a, b), one_way_ns(&model, &draws, b, a), "{model:?}");
            }
        }
    }

    #[test]
    fn uniform_latencies_fill_their_range_and_stay_in_it() {
        let all = latencies(&LatencyModel::Uniform(10 * MILLI, 50 * MILLI));
        assert!(all[0] >= 10 * MILLI && all[0] < 11 * MILLI);
        assert!(all[all.len() - 1] <= 50 * MILLI && all[all.len() - 1] > 49 * MILLI);
        assert!(all[all.len() / 2].abs_diff(30 * MILLI) < MILLI, "the median is {}", all[all.len() / 2]);
    }

    #[test]
    fn a_long_tail_has_the_median_and_the_percentile_that_were_asked_for() {
        let all = latencies(&LatencyModel::LongTail(20 * MILLI, 200 * MILLI));
        let quantile = |permille: usize| all[all.len() * permille / 1000];
        assert!(quantile(500).abs_diff(20 * MILLI) < MILLI, "the median is {}", quantile(500));
        assert!(quantile(990).abs_diff(200 * MILLI) < 20 * MILLI, "the percentile is {}", quantile(990));
        assert!(all[0] >= 10 * MILLI);
    }

    #[test]
    fn regions_are_near_within_and_far_between() {
        let all = latencies(&LatencyModel::FiveRegions);
        let near = all.iter().filter(|ns| **ns < 2 * MILLI).count();
        assert!((10..30).contains(&(near * 100 / all.len())), "{near} of {} pairs are near", all.len());
        assert!(all[all.len() - 1] <= 156 * MILLI);
        let table = FIVE_REGIONS;
        (0..5).for_each(|i| (0..5).for_each(|j| assert_eq!(table[i][j], table[j][i])));
    }
}
