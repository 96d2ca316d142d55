//! The summary for a terminal: the verdict first, then what it rests on.
//!
//! A gutter on the left names each part, so that the eye finds it; what failed comes before what held. Nothing is
//! wider than the width asked for, except a single word of the command that repeats the run: a broken command is
//! worth nothing.

use crate::gist::{self, SPREAD_COLUMNS};
use crate::line::{Line, Role, flow};
use crate::table::{Align, GAP, columns};
use crate::timeline::Timeline;
use crate::units::{number, seconds};
use crate::{Fault, Measure, Property, Record, Verdict};

/// Columns of the gutter that names the parts.
const GUTTER: usize = 12;

/// The narrowest summary, in columns; a narrower terminal breaks its lines itself.
const WIDTH_MIN: usize = 40;

/// The widest summary, in columns: beyond it the eye loses the line.
const WIDTH_MAX: usize = 160;

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
    let mut page = Page { width, lines: vec![] };
    page.headline(record);
    page.group([("properties", properties(record, page.inner()))]);
    page.group([("faults", faults(&record.faults, page.inner()))]);
    page.group([("measures", measures(&record.measures))]);
    page.group(
        gist::sections(record).into_iter().map(|section| (section.title, facts(section, width - GUTTER))),
    );
    page.group([("spread", spread(record))]);
    page.group([("over time", over_time(record, page.inner()))]);
    page.group([("notes", notes(record, page.inner()))]);
    page.group([("trace", vec![Line::of(Role::Dim, record.trace_hash.to_string())])]);
    let mut out = String::new();
    page.lines.iter().for_each(|line| line.render(style.color, &mut out));
    reproduce(record, page.inner()).iter().for_each(|line| line.render(style.color, &mut out));
    out
}

struct Page {
    width: usize,
    lines: Vec<Line>,
}

impl Page {
    /// Columns beside the gutter.
    fn inner(&self) -> usize {
        self.width - GUTTER
    }

    fn headline(&mut self, record: &Record) {
        let (mark, role) = gist::verdict_mark(record.verdict);
        let head = Line::of(role, format!("{mark} {}", record.verdict.word().to_uppercase()));
        let head = head.with(Role::Plain, "  ").with(Role::Strong, &record.scenario).with(Role::Plain, "  ");
        let parts = gist::identity(record).into_iter().chain(gist::effort(record));
        let mut segments: Vec<Line> = parts.map(|part| Line::of(Role::Plain, part)).collect();
        // The name and the first part belong together: no dot between them.
        segments[0] = head.then(segments[0].clone());
        let reason = Line::of(role, gist::reason(record));
        let lines = flow(segments, self.width).into_iter().flat_map(|line| line.wrapped(self.width, 2));
        self.lines.extend(lines);
        self.lines.extend(reason.wrapped(self.width, 2));
    }

    /// Adds parts that belong together, after a blank line; parts without lines vanish.
    fn group(&mut self, parts: impl IntoIterator<Item = (&'static str, Vec<Line>)>) {
        let mut parts = parts.into_iter().filter(|(_, lines)| !lines.is_empty()).peekable();
        if parts.peek().is_some() {
            self.lines.push(Line::default());
        }
        for (title, lines) in parts {
            let wrapped = lines.into_iter().flat_map(|line| line.wrapped(self.width - GUTTER, 4));
            for (index, line) in wrapped.enumerate() {
                let title = if index == 0 { title } else { "" };
                self.lines.push(Line::of(Role::Strong, title).padded(GUTTER).then(line));
            }
        }
    }
}

fn mark((sign, role): (&str, Role)) -> Line {
    Line::of(role, sign)
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
    let table = columns(&[Align::Left, Align::Left, Align::Left, Align::Right, Align::Left], rows);
    let with_detail = |(row, property): (Line, &&Property)| match &property.detail {
        Some(detail) => beside_or_below(row, Line::of(Role::Plain, detail), width),
        None => vec![row],
    };
    table.into_iter().zip(&ranked).flat_map(with_detail).collect()
}

fn property_row(property: &Property) -> Vec<Line> {
    let at = property.at_s.map(seconds).unwrap_or_default();
    let node = property.node.map(|node| format!("node {node}")).unwrap_or_default();
    let (sign, role) = gist::status_mark(property.status);
    let name = if role == Role::Bad { Line::of(Role::Strong, &property.name) } else { plain(&property.name) };
    vec![Line::of(role, sign), name, dim(property.kind.word()), plain(at), plain(node)]
}

/// Puts a text after a row if there is room, else on lines of its own.
fn beside_or_below(row: Line, text: Line, width: usize) -> Vec<Line> {
    let column = row.width() + GAP;
    if column + text.width() <= width {
        return vec![row.padded(column).then(text)];
    }
    let indent = 4;
    let below = text.wrapped(width - indent, 0).into_iter();
    let below = below.map(|line| Line::default().padded(indent).then(line));
    std::iter::once(row).chain(below).collect()
}

fn faults(faults: &[Fault], width: usize) -> Vec<Line> {
    let row = |fault| vec![mark(gist::fault_mark(fault)), plain(&fault.kind), plain(gist::period(fault))];
    let rows = faults.iter().map(row).collect();
    let table = columns(&[Align::Left, Align::Left, Align::Left], rows);
    let with_receipts = |(row, fault): (Line, &Fault)| {
        let receipts = gist::receipts(fault);
        if receipts.is_empty() {
            return beside_or_below(row, Line::of(Role::Warn, "touched nothing"), width);
        }
        let column = row.width() + GAP;
        // Receipts flow in their own column; on a narrow terminal, below.
        let (first, indent) = if column * 2 <= width { (Some(row.clone()), column) } else { (None, 4) };
        let receipts = flow(receipts.into_iter().map(plain).collect(), width - indent);
        let mut lines: Vec<Line> = first.is_none().then_some(row).into_iter().collect();
        for (index, receipt) in receipts.into_iter().enumerate() {
            let before = if index == 0 { first.clone().unwrap_or_default() } else { Line::default() };
            lines.push(before.padded(indent).then(receipt));
        }
        lines
    };
    table.into_iter().zip(faults).flat_map(with_receipts).collect()
}

fn measures(measures: &[Measure]) -> Vec<Line> {
    if measures.is_empty() {
        return vec![];
    }
    let header = ["", "", "ours", "reference", "gate", "beat"].map(dim).to_vec();
    let row = |measure: &Measure| {
        let beat = measure.beat.as_deref().unwrap_or_default();
        let (sign, role) = gist::measure_mark(measure.held);
        let ours = Line::of(if measure.held { Role::Plain } else { role }, number(measure.ours));
        let words = [&measure.reference, &measure.gate, beat].map(plain);
        [Line::of(role, sign), plain(&measure.name), ours].into_iter().chain(words).collect()
    };
    let rows = std::iter::once(header).chain(measures.iter().map(row)).collect();
    columns(&[Align::Left, Align::Left, Align::Right, Align::Left, Align::Left, Align::Left], rows)
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
    let ranges: Vec<Line> = record.series.iter().map(|series| plain(gist::range(series))).collect();
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
    Line::default().padded(indent).then(begin).with(Role::Plain, " ".repeat(blanks)).then(end)
}

fn notes(record: &Record, width: usize) -> Vec<Line> {
    record.notes.iter().flat_map(|note| plain(note).wrapped(width, 2)).collect()
}

/// The command that repeats the run: bold unless all is well. A long one goes on after a backslash, between words,
/// so that it can be copied as it stands.
fn reproduce(record: &Record, width: usize) -> Vec<Line> {
    let role = if record.verdict == Verdict::Pass { Role::Dim } else { Role::Strong };
    let mut lines: Vec<Line> = vec![];
    for word in shell_words(&record.reproduce) {
        let word = Line::of(role, word);
        match lines.pop() {
            Some(last) if last.width() + 1 + word.width() <= width - GAP => {
                lines.push(last.with(role, " ").then(word));
            }
            last => {
                lines.extend(last.map(|last| last.with(role, " \\")));
                let indent = if lines.is_empty() { "" } else { "  " };
                lines.push(Line::of(role, indent).then(word));
            }
        }
    }
    let title = |index| if index == 0 { "reproduce" } else { "" };
    let titled = |(index, line)| Line::of(Role::Strong, title(index)).padded(GUTTER).then(line);
    lines.into_iter().enumerate().map(titled).collect()
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
    fn a_command_is_never_broken_inside_quotes() {
        let command = "rumormill run x  --set 'fault[0].about=two words' --seed 1:42";
        let words = ["rumormill", "run", "x", "--set", "'fault[0].about=two words'", "--seed", "1:42"];
        assert_eq!(shell_words(command), words);
    }
}
