//! Numbers as people read them: separators, units, three digits where three are enough.

use crate::Finite;

/// Writes a whole number with separators: 1,234,567.
pub(crate) fn count(value: u64) -> String {
    grouped(&value.to_string())
}

/// Writes a number with three significant digits, at most nine decimals and no trailing zeros.
pub(crate) fn number(value: Finite) -> String {
    three_digits(value.value())
}

/// Writes a number that is held against a bound: with six decimals, without trailing zeros.
pub(crate) fn precise(value: Finite) -> String {
    decimals(value.value(), 6)
}

/// Writes a large number with a decimal prefix: 2.94 M.
pub(crate) fn prefixed(value: Finite) -> String {
    let (scaled, prefix) = scale(value.value(), &["", " k", " M", " G", " T"]);
    format!("{}{prefix}", three_digits(scaled))
}

/// Writes an amount of bytes with a decimal prefix: 39.1 MB.
pub(crate) fn bytes(value: f64) -> String {
    let (scaled, unit) = scale(value, &["B", "kB", "MB", "GB", "TB"]);
    format!("{} {unit}", three_digits(scaled))
}

/// Writes seconds to the millisecond: 37.125 s.
pub(crate) fn seconds(value: Finite) -> String {
    format!("{} s", decimals(value.value(), 3))
}

/// Writes a duration given in milliseconds, in the unit that suits its size.
pub(crate) fn millis(value: f64) -> String {
    match value.abs() {
        0.0 => "0 ms".to_string(),
        below if below < 0.001 => format!("{} ns", three_digits(value * 1e6)),
        below if below < 1.0 => format!("{} µs", three_digits(value * 1e3)),
        below if below < 999.5 => format!("{} ms", three_digits(value)),
        _ => format!("{} s", three_digits(value / 1e3)),
    }
}

/// Writes percent, cut and not rounded: it says 100 only if nothing is missing.
pub(crate) fn percent(value: Finite) -> String {
    // Seven decimals of a percentage are nine of a share: all that there are.
    let value = value.value();
    let places = if value > 99.0 && value < 100.0 { 7 } else { 2 };
    let power = 10f64.powi(places);
    // Half a unit of the ninth decimal keeps 99.93, stored a little lower, from being cut to 99.92.
    let cut = ((value + 5e-10) * power).floor() / power;
    format!("{} %", decimals(cut, places as usize))
}

/// Writes a receipt by its name, whose end is the unit: "12,345 messages", "39.1 MB", "paused 3 s".
pub(crate) fn receipt(name: &str, amount: u64) -> String {
    if name == "bytes" {
        return bytes(amount as f64);
    }
    let words = |stem: &str| stem.replace('_', " ");
    if let Some(stem) = name.strip_suffix("_bytes") {
        format!("{} {}", bytes(amount as f64), words(stem))
    } else if let Some(stem) = name.strip_suffix("_ns") {
        format!("{} {}", millis(amount as f64 / 1e6), words(stem))
    } else {
        let singular = name.strip_suffix('s').filter(|_| amount == 1);
        format!("{} {}", count(amount), words(singular.unwrap_or(name)))
    }
}

/// Finds the prefix that leaves a number below 1,000, rounding included.
fn scale<'a>(value: f64, units: &[&'a str]) -> (f64, &'a str) {
    let mut scaled = value;
    let mut unit = 0;
    while scaled.abs() >= 999.5 && unit + 1 < units.len() {
        scaled /= 1_000.0;
        unit += 1;
    }
    (scaled, units[unit])
}

fn three_digits(value: f64) -> String {
    let mut places = 2;
    let mut bound = 1.0;
    while places < 9 && value.abs() < bound && value != 0.0 {
        places += 1;
        bound /= 10.0;
    }
    let places = match value.abs() {
        large if large >= 100.0 => 0,
        large if large >= 10.0 => 1,
        _ => places,
    };
    decimals(value, places)
}

/// Writes a number with at most so many decimals, without trailing zeros.
fn decimals(value: f64, places: usize) -> String {
    let digits = format!("{value:.places$}");
    let digits = if places > 0 { digits.trim_end_matches('0').trim_end_matches('.') } else { &digits };
    if digits == "-0" { "0".to_string() } else { grouped(digits) }
}

/// Puts a comma between thousands.
fn grouped(digits: &str) -> String {
    let (whole, fraction) = digits.split_at(digits.find('.').unwrap_or(digits.len()));
    let (sign, whole) = whole.split_at(usize::from(whole.starts_with('-')));
    let mut text = String::from(sign);
    for (position, digit) in whole.char_indices() {
        if position > 0 && (whole.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text + fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finite(value: f64) -> Finite {
        Finite::new(value).unwrap()
    }

    #[test]
    fn thousands_are_separated() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(seconds(finite(-12_345.5)), "-12,345.5 s");
    }

    #[test]
    fn three_digits_are_enough() {
        let values = [0.0, 0.021, 0.000_042, 1.5, 9.996, 12.34, 99.96, 4_718.4];
        let texts = ["0", "0.021", "0.000042", "1.5", "10", "12.3", "100", "4,718"];
        assert_eq!(values.map(|value| number(finite(value))), texts);
    }

    #[test]
    fn a_rounded_number_never_needs_the_next_prefix() {
        assert_eq!([0.0, 999.0, 999.6, 39_123_456.0].map(bytes), ["0 B", "999 B", "1 kB", "39.1 MB"]);
        assert_eq!([7.0, 2.94e6].map(|value| prefixed(finite(value))), ["7", "2.94 M"]);
    }

    #[test]
    fn durations_take_the_unit_of_their_size() {
        let texts = ["0 ms", "250 ns", "420 µs", "121 ms", "9.88 s", "12.3 s"];
        assert_eq!([0.0, 0.000_25, 0.42, 121.3, 9_876.0, 12_345.0].map(millis), texts);
    }

    #[test]
    fn only_all_is_a_hundred_percent() {
        let texts = ["100 %", "99.9999999 %", "99.98 %", "99.93 %", "50 %", "33.33 %"];
        let values = [100.0, 99.999_999_9, 99.98, 99.93, 50.0, 33.338];
        assert_eq!(values.map(|value| percent(finite(value))), texts);
    }

    #[test]
    fn a_receipt_takes_its_unit_from_its_name() {
        let receipts = [("messages", 12_345), ("nodes", 1), ("bytes", 39_123_456), ("lost_bytes", 2_000)];
        let texts = ["12,345 messages", "1 node", "39.1 MB", "2 kB lost"];
        assert_eq!(receipts.map(|(name, amount)| receipt(name, amount)), texts);
        assert_eq!(receipt("torn_writes", 1), "1 torn write");
        assert_eq!(receipt("held_back_ns", 3_000_000_000), "3 s held back");
    }
}
