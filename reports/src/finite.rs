//! The only decimals that a record may hold.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A decimal number that is never NaN and never infinite, rounded to nine decimals: a nanosecond of a second.
///
/// Of greater numbers a double does not know nine decimals: three are kept from a million on, none from 10^12.
/// Rounding makes JSON stable: two ways to compute one figure that differ in the last bit print the same digits.
/// There is one zero, so equality and order are total.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Finite(f64);

/// The error of [`Finite::try_from`]: a number was NaN or infinite; nothing was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotFinite;

impl Finite {
    /// Zero.
    pub const ZERO: Finite = Finite(0.0);

    /// Rounds a number; `None` for NaN and the infinities.
    pub fn new(value: f64) -> Option<Finite> {
        if !value.is_finite() {
            return None;
        }
        // Fifteen digits in all: more would make rounding twice differ from rounding once.
        let scale = match value.abs() {
            small if small < 1e6 => 1e9,
            large if large < 1e12 => 1e3,
            _ => 1.0,
        };
        let rounded = (value * scale).round() / scale;
        Some(Finite(rounded + 0.0)) // the sum turns -0 into 0
    }

    /// Converts nanoseconds to seconds.
    pub fn seconds(ns: u64) -> Finite {
        Finite::quotient(ns as f64, 1e9)
    }

    /// Converts nanoseconds to milliseconds.
    pub fn millis(ns: u64) -> Finite {
        Finite::quotient(ns as f64, 1e6)
    }

    /// Divides a part by the whole; `None` where the whole is zero.
    ///
    /// The ratio is one only if the part is the whole: one delivery missing of ten billion stays visible.
    pub fn ratio(part: u64, whole: u64) -> Option<Finite> {
        let exact = Finite::new(part as f64 / whole as f64)?;
        let just_below = Finite(0.999_999_999);
        Some(if part < whole { exact.min(just_below) } else { exact })
    }

    /// Tells which share of the whole a part is, in percent; `None` where the whole is zero.
    ///
    /// It is 100 only if the part is the whole.
    pub fn percent(part: u64, whole: u64) -> Option<Finite> {
        let ratio = Finite::ratio(part, whole)?;
        Some(Finite::quotient(ratio.0 * 100.0, 1.0))
    }

    /// The number itself.
    pub const fn value(self) -> f64 {
        self.0
    }

    /// Divides two finite numbers; the divisor is a constant of ours and never tiny.
    fn quotient(dividend: f64, divisor: f64) -> Finite {
        Finite::new(dividend / divisor).unwrap_or_default()
    }
}

impl Eq for Finite {}

#[expect(
    clippy::derive_ord_xor_partial_ord,
    reason = "without NaN and -0 the partial order is this total one"
)]
impl Ord for Finite {
    fn cmp(&self, other: &Finite) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl TryFrom<f64> for Finite {
    type Error = NotFinite;

    fn try_from(value: f64) -> Result<Finite, NotFinite> {
        Finite::new(value).ok_or(NotFinite)
    }
}

impl From<u32> for Finite {
    fn from(value: u32) -> Finite {
        Finite(f64::from(value))
    }
}

impl From<Finite> for f64 {
    fn from(value: Finite) -> f64 {
        value.0
    }
}

impl fmt::Display for NotFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the number is NaN or infinite, expected a finite one")
    }
}

impl std::error::Error for NotFinite {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nan_and_the_infinities_are_refused() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(Finite::new(value), None);
            assert_eq!(Finite::try_from(value), Err(NotFinite));
        }
    }

    #[test]
    fn there_is_one_zero() {
        assert!(Finite::new(-0.0).is_some_and(|zero| zero.value().is_sign_positive()));
        assert!(Finite::new(-1e-12).is_some_and(|zero| zero.value().is_sign_positive()));
    }

    #[test]
    fn the_last_bit_of_a_sum_does_not_show() {
        assert_eq!(Finite::new(0.1 + 0.2), Finite::new(0.3));
        assert_ne!(Finite::new(0.300_000_001), Finite::new(0.3));
    }

    #[test]
    fn a_ratio_is_one_only_if_nothing_is_missing() {
        assert_eq!(Finite::ratio(7, 7), Finite::new(1.0));
        assert_eq!(Finite::ratio(u64::MAX - 1, u64::MAX), Finite::new(0.999_999_999));
        assert_eq!(Finite::percent(u64::MAX - 1, u64::MAX), Finite::new(99.999_999_9));
        assert_eq!(Finite::percent(0, 7), Some(Finite::ZERO));
        assert_eq!(Finite::ratio(0, 0), None);
        assert_eq!(Finite::ratio(1, 0), None);
    }

    proptest! {
        #[test]
        fn rounding_twice_is_rounding_once(
            value in prop_oneof![0.0..1.0, 0.0..1e6, 0.0..1e8, 0.0..1e13, 0.0..1e16, proptest::num::f64::NORMAL],
        ) {
            let once = Finite::new(value).unwrap();
            prop_assert_eq!(Finite::new(once.value()), Some(once));
        }
    }
}
