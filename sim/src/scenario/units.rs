//! How values are written in a scenario: seconds, milliseconds, fractions, words. Decimals become integers here, once.

use super::error::nearest;
use super::tree::{Datum, Entry};
use super::walk::Variant;
use super::{Nodes, Senders};
use crate::scenario::error::Place;
use std::marker::PhantomData;

/// Parts in a million of one.
pub(super) const PPM: u32 = 1_000_000;
/// Nanoseconds in a second.
pub(super) const SECOND: u64 = 1_000_000_000;
/// Nanoseconds in a millisecond.
pub(super) const MILLI: u64 = 1_000_000;
/// The longest time that a scenario may name: thirty days, so that decimals of a nanosecond stay exact.
pub(super) const TIME_MAX_S: u64 = 30 * 24 * 3600;
/// The greatest rate that a scenario may name, in a second.
const RATE_MAX: u64 = 1_000_000;

/// How one kind of value is read and written.
pub(super) trait Unit {
    /// The value in memory.
    type Of: Clone;
    /// Reads it, or tells what is wrong and what would be right.
    fn read(&self, datum: &Datum) -> Result<Self::Of, String>;
    /// Writes it so that reading gives the same again.
    fn write(&self, value: &Self::Of) -> Datum;
    /// Shows a valid value, for messages.
    fn example(&self) -> String;
}

/// Reads a decimal number as a count of parts, `parts` to one, between two bounds.
fn decimal(datum: &Datum, what: &str, parts: u64, min: f64, max: f64) -> Result<i64, String> {
    let number = match datum {
        Datum::Integer(number) => *number as f64,
        Datum::Float(number) => *number,
        other => return Err(format!("expected {what}, found {}", other.describe())),
    };
    if !(min..=max).contains(&number) {
        return Err(format!("{} is not {what}", datum.describe()));
    }
    let count = (number * parts as f64).round() as i64;
    if count == 0 && number != 0.0 {
        let least = undecimal(1, parts).describe();
        return Err(format!("{} is nearer to 0 than to {least}, the least above it", datum.describe()));
    }
    Ok(count)
}

/// Writes a count of parts as a decimal number; one of the upper half of its range is less than zero, as the builder
/// was given it.
fn undecimal(value: u64, parts: u64) -> Datum {
    let value = value.cast_signed();
    match value % parts.cast_signed() {
        _ if value == i64::MIN => Datum::Float(f64::NAN),
        0 => Datum::Integer(value / parts.cast_signed()),
        _ => Datum::Float(value as f64 / parts as f64),
    }
}

/// Turns a decimal number of the builder into a count of parts. What no scenario may name stays one that none may, and
/// says what was given: a number below zero stands in the upper half of the range, and what is no number in its middle.
fn scaled(number: f64, parts: u64) -> u64 {
    let count = (number * parts as f64).round();
    if count.is_nan() { i64::MIN.cast_unsigned() } else { (count as i64).max(-i64::MAX).cast_unsigned() }
}

/// Turns decimal seconds of the builder into nanoseconds.
pub(super) fn nanos(seconds: f64) -> u64 {
    scaled(seconds, SECOND)
}

/// Turns a decimal rate or ratio of the builder into millionths.
pub(super) fn millionths(rate: f64) -> u64 {
    scaled(rate, u64::from(PPM))
}

/// Turns a decimal share of the builder into parts in a million; as [`scaled`] does, in half the width.
pub(super) fn parts(share: f64) -> u32 {
    let count = (share * f64::from(PPM)).round();
    if count.is_nan() { i32::MIN.cast_unsigned() } else { (count as i32).max(-i32::MAX).cast_unsigned() }
}

/// A time in seconds, held in nanoseconds.
pub(super) struct Seconds;

impl Unit for Seconds {
    type Of = u64;
    fn read(&self, datum: &Datum) -> Result<u64, String> {
        let what = format!("a time in seconds, from 0 to {TIME_MAX_S}");
        decimal(datum, &what, SECOND, 0.0, TIME_MAX_S as f64).map(|nanos| nanos as u64)
    }
    fn write(&self, value: &u64) -> Datum {
        undecimal(*value, SECOND)
    }
    fn example(&self) -> String {
        "10".into()
    }
}

/// A time in milliseconds, held in nanoseconds.
pub(super) struct Millis;

impl Unit for Millis {
    type Of = u64;
    fn read(&self, datum: &Datum) -> Result<u64, String> {
        let max = TIME_MAX_S * 1000;
        let what = format!("a time in milliseconds, from 0 to {max}");
        decimal(datum, &what, MILLI, 0.0, max as f64).map(|nanos| nanos as u64)
    }
    fn write(&self, value: &u64) -> Datum {
        undecimal(*value, MILLI)
    }
    fn example(&self) -> String {
        "50".into()
    }
}

/// Two rising times in milliseconds, held in nanoseconds.
pub(super) struct MillisRange;

impl Unit for MillisRange {
    type Of = (u64, u64);
    fn read(&self, datum: &Datum) -> Result<(u64, u64), String> {
        let wrong =
            || format!("expected two rising times like {}, found {}", self.example(), datum.describe());
        let Datum::List(items) = datum else { return Err(wrong()) };
        let [low, high] = items.as_slice() else { return Err(wrong()) };
        let (low, high) = (Millis.read(&low.datum)?, Millis.read(&high.datum)?);
        if low <= high { Ok((low, high)) } else { Err("the first time is longer than the second".into()) }
    }
    fn write(&self, value: &(u64, u64)) -> Datum {
        list([Millis.write(&value.0), Millis.write(&value.1)])
    }
    fn example(&self) -> String {
        "[10, 50]".into()
    }
}

/// A share from 0 to 1, held in parts in a million.
pub(super) struct Share;

impl Unit for Share {
    type Of = u32;
    fn read(&self, datum: &Datum) -> Result<u32, String> {
        decimal(datum, "a share from 0 to 1", u64::from(PPM), 0.0, 1.0).map(|parts| parts as u32)
    }
    fn write(&self, value: &u32) -> Datum {
        let count = value.cast_signed(); // as `parts` left it
        Datum::Float(if count == i32::MIN { f64::NAN } else { f64::from(count) / f64::from(PPM) })
    }
    fn example(&self) -> String {
        "0.1".into()
    }
}

/// A number from 0 up that is no share, held in millionths: ratios, rates.
pub(super) struct Ratio {
    /// What it is, for messages.
    pub(super) what: &'static str,
}

impl Unit for Ratio {
    type Of = u64;
    fn read(&self, datum: &Datum) -> Result<u64, String> {
        let what = format!("{}, from 0 to {RATE_MAX}", self.what);
        decimal(datum, &what, u64::from(PPM), 0.0, RATE_MAX as f64).map(|parts| parts as u64)
    }
    fn write(&self, value: &u64) -> Datum {
        undecimal(*value, u64::from(PPM))
    }
    fn example(&self) -> String {
        "10".into()
    }
}

/// Shares that make a whole.
pub(super) struct Shares;

impl Unit for Shares {
    type Of = Vec<u32>;
    fn read(&self, datum: &Datum) -> Result<Vec<u32>, String> {
        let Datum::List(items) = datum else {
            return Err(format!("expected shares like {}, found {}", self.example(), datum.describe()));
        };
        let shares = items.iter().map(|item| Share.read(&item.datum)).collect::<Result<Vec<_>, _>>()?;
        let sum: u64 = shares.iter().map(|share| u64::from(*share)).sum();
        if !(2..=100).contains(&shares.len()) {
            return Err(format!("{} groups; a split has from 2 to 100", shares.len()));
        }
        if shares.contains(&0) || sum.abs_diff(u64::from(PPM)) > shares.len() as u64 {
            return Err(format!(
                "the shares add up to {}; each must be above 0 and all must make 1",
                sum as f64 / 1e6
            ));
        }
        Ok(shares)
    }
    fn write(&self, value: &Vec<u32>) -> Datum {
        list(value.iter().map(|share| Share.write(share)))
    }
    fn example(&self) -> String {
        "[0.5, 0.5]".into()
    }
}

fn list(items: impl IntoIterator<Item = Datum>) -> Datum {
    Datum::List(items.into_iter().map(|datum| Entry { at: Place::Nowhere, datum }).collect())
}

/// A whole number between two bounds.
pub(super) struct Whole<T> {
    min: i64,
    max: i64,
    number: PhantomData<T>,
}

/// A whole number from `min` to `max`.
pub(super) fn whole<T>(min: i64, max: i64) -> Whole<T> {
    Whole { min, max, number: PhantomData }
}

impl<T: Copy + TryFrom<i64> + TryInto<i64>> Unit for Whole<T> {
    type Of = T;
    fn read(&self, datum: &Datum) -> Result<T, String> {
        let Self { min, max, .. } = self;
        let Datum::Integer(number) = datum else {
            return Err(format!("expected a whole number from {min} to {max}, found {}", datum.describe()));
        };
        let fits = (min..=max).contains(&number).then(|| T::try_from(*number).ok()).flatten();
        fits.ok_or_else(|| format!("{number} is not a whole number from {min} to {max}"))
    }
    fn write(&self, value: &T) -> Datum {
        Datum::Integer((*value).try_into().unwrap_or(i64::MAX))
    }
    fn example(&self) -> String {
        self.min.max(1).to_string()
    }
}

/// Yes or no.
pub(super) struct Flag;

impl Unit for Flag {
    type Of = bool;
    fn read(&self, datum: &Datum) -> Result<bool, String> {
        match datum {
            Datum::Flag(flag) => Ok(*flag),
            other => Err(format!("expected true or false, found {}", other.describe())),
        }
    }
    fn write(&self, value: &bool) -> Datum {
        Datum::Flag(*value)
    }
    fn example(&self) -> String {
        "true".into()
    }
}

/// Text that is not empty.
pub(super) struct Text;

impl Unit for Text {
    type Of = String;
    fn read(&self, datum: &Datum) -> Result<String, String> {
        match datum {
            Datum::Text(text) if text.is_empty() => Err("expected some text, found none".into()),
            Datum::Text(text) => Ok(text.clone()),
            other => Err(format!("expected text in quotes, found {}", other.describe())),
        }
    }
    fn write(&self, value: &String) -> Datum {
        Datum::Text(value.clone())
    }
    fn example(&self) -> String {
        "\"a-name\"".into()
    }
}

/// One text or several.
pub(super) struct Texts;

impl Unit for Texts {
    type Of = Vec<String>;
    fn read(&self, datum: &Datum) -> Result<Vec<String>, String> {
        match datum {
            Datum::List(items) if items.is_empty() => Err("expected some text, found an empty list".into()),
            Datum::List(items) => items.iter().map(|item| Text.read(&item.datum)).collect(),
            other => Text.read(other).map(|text| vec![text]),
        }
    }
    fn write(&self, value: &Vec<String>) -> Datum {
        list(value.iter().map(|text| Datum::Text(text.clone())))
    }
    fn example(&self) -> String {
        "[\"a line\", \"another\"]".into()
    }
}

/// One of a few words.
pub(super) struct Word<T>(PhantomData<T>);

/// One of the words of `T`.
pub(super) fn word<T: Variant>() -> Word<T> {
    Word(PhantomData)
}

impl<T: Variant + Clone> Unit for Word<T> {
    type Of = T;
    fn read(&self, datum: &Datum) -> Result<T, String> {
        let names: Vec<_> = T::all().into_iter().map(|(name, _)| name).collect();
        let Datum::Text(text) = datum else {
            return Err(format!("expected one of {}, found {}", names.join(", "), datum.describe()));
        };
        let found = T::all().into_iter().find(|(name, _)| name == text).map(|(_, value)| value);
        found.ok_or_else(|| format!("unknown {} {text:?}; {}", T::WHAT, nearest(text, &names)))
    }
    fn write(&self, value: &T) -> Datum {
        Datum::Text(value.key().into())
    }
    fn example(&self) -> String {
        format!("\"{}\"", T::all().first().map_or("", |(name, _)| name))
    }
}

/// A choice of nodes: a share, a count, a list of numbers, or all.
pub(super) struct NodeChoice;

impl Unit for NodeChoice {
    type Of = Nodes;
    fn read(&self, datum: &Datum) -> Result<Nodes, String> {
        match datum {
            Datum::Text(text) if text == "all" => Ok(Nodes::All),
            Datum::Float(_) => match Share.read(datum)? {
                0 => Err("a share of 0 touches no node; write more, or drop it".into()),
                share => Ok(Nodes::Share(share)),
            },
            Datum::Integer(_) => whole(1, i64::from(u32::MAX) - 1).read(datum).map(Nodes::Count),
            Datum::List(items) if !items.is_empty() => {
                let numbers = items.iter().map(|item| whole(0, i64::from(u32::MAX) - 1).read(&item.datum));
                let mut numbers = numbers.collect::<Result<Vec<u32>, _>>()?;
                numbers.sort_unstable();
                numbers.dedup();
                Ok(Nodes::These(numbers))
            }
            other => Err(format!(
                "expected nodes as a share (0.1), a count (10), a list of numbers ([0, 3]) or \"all\", found {}",
                other.describe()
            )),
        }
    }
    fn write(&self, value: &Nodes) -> Datum {
        match value {
            Nodes::All => Datum::Text("all".into()),
            Nodes::Share(share) => Share.write(share),
            Nodes::Count(count) => Datum::Integer(i64::from(*count)),
            Nodes::These(numbers) => list(numbers.iter().map(|number| Datum::Integer(i64::from(*number)))),
        }
    }
    fn example(&self) -> String {
        "0.1".into()
    }
}

/// Who publishes: "random", "one" or a number of nodes.
pub(super) struct SenderChoice;

impl Unit for SenderChoice {
    type Of = Senders;
    fn read(&self, datum: &Datum) -> Result<Senders, String> {
        match datum {
            Datum::Text(text) if text == "random" => Ok(Senders::Random),
            Datum::Text(text) if text == "one" => Ok(Senders::Few(1)),
            Datum::Integer(_) => whole(1, i64::from(u32::MAX) - 1).read(datum).map(Senders::Few),
            other => {
                Err(format!("expected \"random\", \"one\" or a number of nodes, found {}", other.describe()))
            }
        }
    }
    fn write(&self, value: &Senders) -> Datum {
        match value {
            Senders::Random => Datum::Text("random".into()),
            Senders::Few(1) => Datum::Text("one".into()),
            Senders::Few(count) => Datum::Integer(i64::from(*count)),
        }
    }
    fn example(&self) -> String {
        "\"random\"".into()
    }
}
