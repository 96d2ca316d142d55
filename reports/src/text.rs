//! The summary for a terminal: the verdict first, then what it rests on.
//!
//! A gutter on the left names each part, so that the eye finds it; what failed comes before what held. Nothing is
//! wider than the width asked for, except a single option of the command that repeats the run: a broken command
//! is worth nothing.

use crate::gist::{self, SPREAD_COLUMNS};
use crate::line::{Line, Role, flow};
use crate::table::{Align, GAP, columns};
use crate::timeline::Timeline;
use crate::units::{precise, seconds};
use crate::{Fault, Measure, Property, Record, Status, Verdict};

/// Columns of the gutter that names the parts.
const GUTTER: usize = 12;

/// The least width, in columns, at which the gutter does not cost more than it gives.
const GUTTER_FROM: usize = 64;

/// The narrowest summary, in columns; a narrower terminal breaks its lines itself.
const WIDTH_MIN: usize = 40;

/// The widest summary, in columns: beyond it the eye loses the line.
const WIDTH_MAX: usize = 160;

/// How far what belongs to a row is indented below it.
const INDENT: usize = 2;

/// The most columns that the name of a series takes.
const SERIES_NAME_MAX: usize = 18;

/// How a summary is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Whether to use ANSI colours: for terminals only.
    pub color: bool,
    /// Columns of the terminal; held between 40 and 160.
    pub width: usize,
}

impl Default for Style {
    /// No colours, 80 columns: what a pipe gets.
    fn default() -> Style {
        Style { color: false, width: 80 }
    }
}

/// Draws the summary of a record; every line ends with a line break.
pub fn render(record: &Record, style: &Style) -> String {
    let width = style.width.clamp(WIDTH_MIN, WIDTH_MAX);
    let mut page = Page { width, gutter: if width < GUTTER_FROM { INDENT } else { GUTTER }, lines: vec![] };
    let inner = page.inner();
    page.headline(record);
    page.group([("properties", properties(record, inner))]);
    page.group([("faults", faults(&record.faults, inner))]);
    page.group([("measures", measures(&record.measures))]);
    page.group(gist::sections(record).into_iter().map(|section| (section.title, facts(section, inner))));
    page.group([("spread", spread(record))]);
    page.group([("over time", over_time(record, inner))]);
    page.group([("notes", notes(record, inner))]);
    let [hash, events] = gist::trace(record).map(dim);
    let trace = ("trace", flow(vec![hash, events], inner));
    page.group([("times", vec![dim(gist::zero(record))]), trace]);
    page.part("reproduce", reproduce(record, inner));
    let mut out = String::new();
    page.lines.iter().for_each(|line| line.render(style.color, &mut out));
    out
}

struct Page {
    width: usize,
    /// Columns left of every part: wide enough for its title, or else the title has a line of its own.
    gutter: usize,
    lines: Vec<Line>,
}

impl Page {
    /// Columns beside the gutter.
    fn inner(&self) -> usize {
        self.width - self.gutter
    }

    fn headline(&mut self, record: &Record) {
        let (mark, role) = gist::verdict_mark(record.verdict);
        let verdict = format!("{mark} {}  ", record.verdict.word().to_uppercase());
        let verdict = Line::of(role, verdict);
        let [seed, rest @ ..] = gist::identity(record);
        let first = Line::of(Role::Strong, &record.scenario).with(Role::Plain, format!("  {seed}"));
        let effort = gist::effort(record).join(" · ");
        let effort = (!effort.is_empty()).then_some(effort);
        // The rest hangs under the name, if the page is wide enough.
        let narrow = self.gutter < GUTTER;
        let indent = if narrow { 0 } else { verdict.width() };
        let (verdict, first) = if narrow { (Line::default(), verdict.then(first)) } else { (verdict, first) };
        let segments = std::iter::once(first).chain(rest.into_iter().chain(effort).map(plain)).collect();
        let reason = Line::of(role, gist::reason(record)).wrapped(self.width - indent, 2);
        let below = flow(segments, self.width - indent).into_iter().chain(reason);
        for (index, line) in below.enumerate() {
            let before = if index == 0 { verdict.clone() } else { blank(indent) };
            self.lines.push(before.then(line));
        }
    }

    /// Adds parts that belong together, after a blank line; parts without lines vanish.
    fn group(&mut self, parts: impl IntoIterator<Item = (&'static str, Vec<Line>)>) {
        let mut parts = parts.into_iter().filter(|(_, lines)| !lines.is_empty()).peekable();
        if parts.peek().is_some() {
            self.lines.push(Line::default());
        }
        for (title, lines) in parts {
            let width = self.inner();
            self.part(title, lines.into_iter().flat_map(|line| line.wrapped(width, INDENT)).collect());
        }
    }

    /// Adds lines under a title, as they are.
    fn part(&mut self, title: &str, lines: Vec<Line>) {
        let mut title = Line::of(Role::Strong, title);
        if self.gutter < GUTTER && !lines.is_empty() {
            self.lines.push(std::mem::take(&mut title));
        }
        for line in lines {
            self.lines.push(std::mem::take(&mut title).padded(self.gutter).then(line));
        }
    }
}

fn marked((sign, role): (&str, Role), name: Line) -> Line {
    Line::of(role, sign).with(Role::Plain, " ").then(name)
}

fn blank(width: usize) -> Line {
    Line::default().padded(width)
}

fn plain(text: impl AsRef<str>) -> Line {
    Line::of(Role::Plain, text)
}

fn dim(text: impl AsRef<str>) -> Line {
    Line::of(Role::Dim, text)
}

fn properties(record: &Record, width: usize) -> Vec<Line> {
    let ranked = gist::ranked(&record.properties);
    let rows = ranked.iter().map(|property| property_row(property)).collect();
    let table = columns(&[Align::Left, Align::Left, Align::Right, Align::Left], rows);
    let with_detail = |(row, property): (Line, &&Property)| match &property.detail {
        Some(detail) => beside_or_below(row, plain(detail), width),
        None => vec![row],
    };
    table.into_iter().zip(&ranked).flat_map(with_detail).collect()
}

fn property_row(property: &Property) -> Vec<Line> {
    let at = property.at_s.map(seconds).unwrap_or_default();
    let node = property.node.map(|node| format!("node {node}")).unwrap_or_default();
    let role = if property.status == Status::Failed { Role::Strong } else { Role::Plain };
    let name = Line::of(role, &property.name);
    vec![marked(gist::status_mark(property.status), name), dim(property.kind.word()), plain(at), plain(node)]
}

/// Puts a text after a row if there is room, else on lines of its own.
fn beside_or_below(row: Line, text: Line, width: usize) -> Vec<Line> {
    let column = row.width() + GAP;
    if column + text.width() <= width {
        return vec![row.padded(column).then(text)];
    }
    let below = text.wrapped(width - INDENT, 0).into_iter().map(|line| blank(INDENT).then(line));
    std::iter::once(row).chain(below).collect()
}

fn faults(faults: &[Fault], width: usize) -> Vec<Line> {
    let row =
        |fault: &Fault| vec![marked(gist::fault_mark(fault), plain(&fault.kind)), plain(gist::period(fault))];
    let table = columns(&[Align::Left, Align::Left], faults.iter().map(row).collect());
    let with_receipts = |(row, fault): (Line, &Fault)| {
        let mut receipts: Vec<Line> = gist::receipts(fault).into_iter().map(plain).collect();
        if receipts.is_empty() {
            receipts.push(Line::of(Role::Warn, "touched nothing"));
        }
        flow_beside(row, receipts, width)
    };
    table.into_iter().zip(faults).flat_map(with_receipts).collect()
}

/// Lets segments flow in a column after a row; where that is less than half of the width, below it.
fn flow_beside(row: Line, segments: Vec<Line>, width: usize) -> Vec<Line> {
    let column = row.width() + GAP;
    let beside = column * 2 <= width;
    let indent = if beside { column } else { INDENT };
    let mut flowed = flow(segments, width - indent).into_iter();
    let first = if beside { flowed.next() } else { None };
    let head = match first {
        Some(first) => row.padded(column).then(first),
        None => row,
    };
    std::iter::once(head).chain(flowed.map(|line| blank(indent).then(line))).collect()
}

fn measures(measures: &[Measure]) -> Vec<Line> {
    if measures.is_empty() {
        return vec![];
    }
    let header = ["", "ours", "reference", "gate", "beat"].map(dim).to_vec();
    let row = |measure: &Measure| {
        let beat = measure.beat.as_deref().unwrap_or_default();
        let (sign, role) = gist::measure_mark(measure.held);
        let ours = Line::of(if measure.held { Role::Plain } else { role }, precise(measure.ours));
        let words = [&measure.reference, &measure.gate, beat].map(plain);
        [marked((sign, role), plain(&measure.name)), ours].into_iter().chain(words).collect()
    };
    let rows = std::iter::once(header).chain(measures.iter().map(row)).collect();
    columns(&[Align::Left, Align::Right, Align::Left, Align::Left, Align::Left], rows)
}

fn facts(section: gist::Section, width: usize) -> Vec<Line> {
    let segment = |fact: gist::Fact| {
        let label = if fact.label.is_empty() { Line::default() } else { dim(format!("{} ", fact.label)) };
        label.with(fact.role, fact.value)
    };
    flow(section.facts.into_iter().map(segment).collect(), width)
}

fn spread(record: &Record) -> Vec<Line> {
    let rows = gist::spreads(record);
    if rows.is_empty() {
        return vec![];
    }
    let header = std::iter::once(dim("")).chain(SPREAD_COLUMNS.map(dim)).collect();
    let row = |row: gist::SpreadRow| std::iter::once(dim(row.label)).chain(row.cells.map(plain)).collect();
    let rows = std::iter::once(header).chain(rows.into_iter().map(row)).collect();
    let aligns = [Align::Left, Align::Right, Align::Right, Align::Right, Align::Right, Align::Right];
    columns(&aligns, rows)
}

fn over_time(record: &Record, width: usize) -> Vec<Line> {
    let shortened = |name: &str| plain(name).wrapped(SERIES_NAME_MAX, 0).swap_remove(0);
    let names: Vec<Line> = record.series.iter().map(|series| shortened(&series.name)).collect();
    let range = |[last, range]: [String; 2]| plain(last + " ").with(Role::Dim, range);
    let ranges: Vec<Line> = record.series.iter().map(|series| range(gist::range(series))).collect();
    let widest = |lines: &[Line]| lines.iter().map(Line::width).max().unwrap_or(0);
    let name = widest(&names).max("faults".len()) + GAP;
    // Where a range is longer than half of the line, the curve keeps a few cells and the line breaks.
    let cells = width.saturating_sub(name + GAP + widest(&ranges)).max(8);
    let Some(timeline) = Timeline::of(record, cells) else { return vec![] };
    let mut lines = vec![];
    if !record.faults.is_empty() {
        let faults = Line::of(Role::Warn, timeline.faults(&record.faults));
        lines.push(dim("faults").padded(name).then(faults));
    }
    for ((series, label), range) in record.series.iter().zip(names).zip(ranges) {
        let curve = Line::of(Role::Curve, timeline.curve(series));
        lines.push(label.padded(name).then(curve).padded(name + cells + GAP).then(range));
    }
    lines.push(axis(&timeline, name, cells));
    lines
}

/// The times under the curves: where the axis begins on the left, where it ends on the right.
fn axis(timeline: &Timeline, indent: usize, cells: usize) -> Line {
    let (begin, end) = timeline.ends();
    let (begin, end) = (dim(seconds(begin)), dim(seconds(end)));
    let blanks = cells.saturating_sub(begin.width() + end.width()).max(1);
    blank(indent).then(begin).with(Role::Plain, " ".repeat(blanks)).then(end)
}

fn notes(record: &Record, width: usize) -> Vec<Line> {
    record.notes.iter().flat_map(|note| plain(note).wrapped(width, 2)).collect()
}

/// The command that repeats the run: bold unless all is well. A long one goes on after a backslash, before an option,
/// so that it can be copied as it stands.
fn reproduce(record: &Record, width: usize) -> Vec<Line> {
    let role = if record.verdict == Verdict::Pass { Role::Dim } else { Role::Strong };
    let mut lines: Vec<Line> = vec![];
    for part in options(&record.reproduce) {
        let part = Line::of(role, part);
        match lines.pop() {
            Some(last) if last.width() + 1 + part.width() + " \\".len() <= width => {
                lines.push(last.with(role, " ").then(part));
            }
            last => {
                lines.extend(last.map(|last| last.with(role, " \\")));
                lines.push(blank(if lines.is_empty() { 0 } else { INDENT }).then(part));
            }
        }
    }
    lines
}

/// Splits a command before each option, which keeps its values.
fn options(command: &str) -> Vec<String> {
    let mut parts: Vec<String> = vec![];
    for word in shell_words(command) {
        match parts.last_mut() {
            Some(part) if !word.starts_with('-') => *part = format!("{part} {word}"),
            _ => parts.push(word.to_string()),
        }
    }
    parts
}

/// Splits a command at the blanks outside of quotes.
fn shell_words(command: &str) -> Vec<&str> {
    let mut quote = None;
    let words = command.split(|character| {
        match (quote, character) {
            (None, '\'' | '"') => quote = Some(character),
            (Some(open), close) if open == close => quote = None,
            _ => {}
        }
        quote.is_none() && character == ' '
    });
    words.filter(|word| !word.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_broken_before_options_and_never_inside_quotes() {
        let command = "rumormill run x  --set 'fault[0].about=two --words' --seed 1:42";
        assert_eq!(
            options(command),
            ["rumormill run x", "--set 'fault[0].about=two --words'", "--seed 1:42"]
        );
    }
}
