//! Bad input: one message that says what, where, and what would be right.

use std::fmt;

/// Where something was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// At this byte of the file.
    File(usize),
    /// In this `--set`, counted from zero.
    Set(usize),
    /// Nowhere in particular: built in Rust, or missing.
    Nowhere,
}

/// Why a scenario cannot be run. It prints as one line: where, which key, what is wrong and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioError {
    place: Place,
    origin: String,
    path: String,
    what: String,
}

impl ScenarioError {
    pub(super) fn new(place: Place, path: &str, what: String) -> Self {
        Self { place, origin: String::new(), path: path.into(), what }
    }

    /// Names the key at fault as a path, as in `fault[0].at_s`; empty when no key is.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Tells what is wrong and what would be right, without the place.
    pub fn what(&self) -> &str {
        &self.what
    }

    pub(super) fn place(&self) -> Place {
        self.place
    }

    pub(super) fn at(mut self, place: Place) -> Self {
        self.place = place;
        self
    }

    /// Turns the place into words, once the text and the `--set`s are at hand.
    pub(super) fn located(mut self, name: &str, text: &str, sets: &[(&str, &str)]) -> Self {
        self.origin = match self.place {
            Place::File(offset) => {
                let (line, column) = line_and_column(text, offset);
                format!("{name}:{line}:{column}")
            }
            Place::Set(index) => {
                let (key, value) = sets.get(index).unwrap_or(&("", ""));
                format!("--set {key}={value}")
            }
            Place::Nowhere => name.into(),
        };
        self
    }
}

/// Counts lines and characters from one.
fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [&self.origin, &self.path].into_iter().filter(|part| !part.is_empty()) {
            write!(f, "{part}: ")?;
        }
        f.write_str(&self.what)
    }
}

impl std::error::Error for ScenarioError {}

/// Names the nearest of some valid choices, and all of them when they are few or none is near.
pub(super) fn nearest(wrong: &str, choices: &[&str]) -> String {
    /// Choices listed at most beside the nearest.
    const LISTED_MAX: usize = 20;
    let best = choices
        .iter()
        .map(|choice| (strsim::jaro_winkler(wrong, choice), choice))
        .filter(|(likeness, _)| *likeness >= 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let list = || choices.join(", ");
    match best {
        Some((_, best)) if choices.len() > 1 && choices.len() <= LISTED_MAX => {
            format!("did you mean `{best}`? (one of: {})", list())
        }
        Some((_, best)) => format!("did you mean `{best}`?"),
        None if choices.is_empty() => "nothing may stand here".into(),
        None => format!("one of: {}", list()),
    }
}
