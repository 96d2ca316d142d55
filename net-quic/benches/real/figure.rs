//! What is measured, and the gate that it has to hold.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// What a figure has to hold.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Gate {
    /// At most so much.
    Most(f64),
    /// At most so much; where the peer that set it is not Rust, three times as much on a clock is noise.
    MostOnAClock(f64),
    /// At least so much.
    Least(f64),
    /// At least so much; a third of it is noise, as above.
    LeastOnAClock(f64),
}

/// How a figure stands to its gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Held,
    /// Within what clocks on a shared machine may be wrong by.
    WithSlack,
    Missed,
}

/// One figure of one row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    pub(crate) row: u8,
    pub(crate) what: String,
    pub(crate) value: f64,
    pub(crate) unit: String,
    pub(crate) gate: Option<Gate>,
}

impl Figure {
    pub(crate) fn new(row: u8, what: impl Into<String>, value: f64, unit: &str) -> Self {
        Self { row, what: what.into(), value, unit: unit.into(), gate: None }
    }

    pub(crate) fn gate(mut self, gate: Gate) -> Self {
        self.gate = Some(gate);
        self
    }

    pub(crate) fn verdict(&self) -> Option<Verdict> {
        let (bound, ratio, slack) = match self.gate? {
            Gate::Most(bound) => (bound, self.value / bound, 1.0),
            Gate::MostOnAClock(bound) => (bound, self.value / bound, 3.0),
            Gate::Least(bound) => (bound, bound / self.value, 1.0),
            Gate::LeastOnAClock(bound) => (bound, bound / self.value, 3.0),
        };
        Some(match ratio {
            _ if bound == self.value || ratio <= 1.0 => Verdict::Held,
            ratio if ratio <= slack => Verdict::WithSlack,
            _ => Verdict::Missed,
        })
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Most(bound) | Self::MostOnAClock(bound) => write!(f, "≤ {}", short(*bound)),
            Self::Least(bound) | Self::LeastOnAClock(bound) => write!(f, "≥ {}", short(*bound)),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Held => "held",
            Self::WithSlack => "within 3×",
            Self::Missed => "MISSED",
        })
    }
}

/// Three digits, and thousands in groups.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 1_000.0 => {
            let whole = format!("{value:.0}");
            let digits: Vec<&str> =
                whole.as_bytes().rchunks(3).rev().filter_map(|it| std::str::from_utf8(it).ok()).collect();
            digits.join(",")
        }
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// Durations, of which some quantiles are asked.
#[derive(Default)]
pub(crate) struct Spread {
    micros: Vec<f64>,
}

impl Spread {
    pub(crate) fn add(&mut self, time: Duration) {
        self.micros.push(time.as_secs_f64() * 1e6);
    }

    /// Microseconds below which such a share of the durations lies.
    pub(crate) fn quantile(&mut self, share: f64) -> f64 {
        self.micros.sort_by(f64::total_cmp);
        let at = (share * (self.micros.len().saturating_sub(1)) as f64).round() as usize;
        self.micros.get(at).copied().unwrap_or(f64::NAN)
    }
}
