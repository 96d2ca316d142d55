//! The summary as a page of Markdown, for CI and for reading later: the terminal's content in tables.

use crate::gist::{self, SPREAD_COLUMNS};
use crate::timeline::Timeline;
use crate::units::{count, precise, seconds};
use crate::{Measure, Property, Record};
use std::fmt::Write as _;

/// Characters of a curve; wide enough to see, narrow enough for a column of a web page.
const CURVE_CELLS: usize = 60;

/// Writes a record as Markdown (GitHub's dialect: tables, and `details` for the counters).
pub fn render(record: &Record) -> String {
    let mut page = Page::default();
    page.headline(record);
    page.properties(&record.properties);
    page.faults(record);
    page.measures(&record.measures);
    page.facts(record);
    page.spread(record);
    page.over_time(record);
    page.notes(&record.notes);
    page.counters(record);
    page.reproduce(record);
    page.text
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn line(&mut self, text: impl AsRef<str>) {
        self.text.push_str(text.as_ref());
        self.text.push('\n');
    }

    fn table(&mut self, header: &[&str], rules: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
        let row = |cells: &[&str]| format!("| {} |", cells.join(" | "));
        self.line("");
        self.line(row(header));
        self.line(row(rules));
        for cells in rows {
            self.line(row(&cells.iter().map(String::as_str).collect::<Vec<_>>()));
        }
    }

    fn headline(&mut self, record: &Record) {
        let (mark, _) = gist::verdict_mark(record.verdict);
        let word = record.verdict.word().to_uppercase();
        self.line(format!("## {mark} {word} {}", code(&record.scenario)));
        self.line("");
        self.line(format!("**{}**", escaped(&gist::reason(record))));
        self.line("");
        let parts: Vec<String> = gist::identity(record).into_iter().chain(gist::effort(record)).collect();
        let [hash, events] = gist::trace(record);
        self.line(format!("{} · {events} · trace `{hash}`", escaped(&parts.join(" · "))));
        self.line("");
        self.line(format!("Times {}.", gist::zero(record)));
    }

    fn properties(&mut self, properties: &[Property]) {
        if properties.is_empty() {
            return;
        }
        let rows = gist::ranked(properties).into_iter().map(|property| {
            vec![
                gist::status_mark(property.status).0.to_string(),
                code(&property.name),
                property.kind.word().to_string(),
                property.at_s.map(seconds).unwrap_or_default(),
                property.node.map(|node| node.to_string()).unwrap_or_default(),
                property.detail.as_deref().map(escaped).unwrap_or_default(),
            ]
        });
        let rules = ["---", "---", "---", "---:", "---:", "---"];
        self.table(&["", "property", "kind", "at", "node", "detail"], &rules, rows);
    }

    fn faults(&mut self, record: &Record) {
        if record.faults.is_empty() {
            return;
        }
        let rows = record.faults.iter().map(|fault| {
            let receipts = escaped(&gist::receipts(fault).join(" · "));
            let touched = if receipts.is_empty() { "**touched nothing**".to_string() } else { receipts };
            vec![gist::fault_mark(fault).0.to_string(), code(&fault.kind), gist::period(fault), touched]
        });
        self.table(&["", "fault", "when", "receipts"], &["---"; 4], rows);
    }

    fn measures(&mut self, measures: &[Measure]) {
        if measures.is_empty() {
            return;
        }
        let rows = measures.iter().map(|measure| {
            vec![
                gist::measure_mark(measure.held).0.to_string(),
                escaped(&measure.name),
                precise(measure.ours),
                escaped(&measure.reference),
                escaped(&measure.gate),
                escaped(measure.beat.as_deref().unwrap_or_default()),
            ]
        });
        let rules = ["---", "---", "---:", "---", "---", "---"];
        self.table(&["", "measure", "ours", "reference", "gate", "beat"], &rules, rows);
    }

    fn facts(&mut self, record: &Record) {
        let sections = gist::sections(record);
        if sections.is_empty() {
            return;
        }
        let rows = sections.into_iter().map(|section| {
            let facts = section.facts.into_iter().map(|fact| format!("{} {}", fact.label, fact.value));
            let facts: Vec<String> = facts.map(|fact| fact.trim_start().to_string()).collect();
            vec![section.title.to_string(), escaped(&facts.join(" · "))]
        });
        self.table(&["part", "figures"], &["---"; 2], rows);
    }

    fn spread(&mut self, record: &Record) {
        let rows = gist::spreads(record);
        if rows.is_empty() {
            return;
        }
        let header: Vec<&str> = std::iter::once("spread").chain(SPREAD_COLUMNS).collect();
        let cells = |row: gist::SpreadRow| {
            std::iter::once(row.label.to_string()).chain(row.cells).collect::<Vec<_>>()
        };
        self.table(&header, &["---", "---:", "---:", "---:", "---:", "---:"], rows.into_iter().map(cells));
    }

    fn over_time(&mut self, record: &Record) {
        let Some(timeline) = Timeline::of(record, CURVE_CELLS) else { return };
        let rows = record.series.iter().map(|series| {
            vec![
                escaped(&series.name),
                format!("`{}`", timeline.curve(series)),
                escaped(&gist::range(series).join(" ")),
            ]
        });
        let faults =
            vec!["faults".to_string(), format!("`{}`", timeline.faults(&record.faults)), String::new()];
        let faults = (!record.faults.is_empty()).then_some(faults);
        let (begin, end) = timeline.ends();
        let header = format!("{} → {}", seconds(begin), seconds(end));
        self.table(&["over time", &header, ""], &["---"; 3], faults.into_iter().chain(rows));
    }

    fn notes(&mut self, notes: &[String]) {
        if !notes.is_empty() {
            self.line("");
        }
        for note in notes {
            self.line(format!("- {}", escaped(note)));
        }
    }

    fn counters(&mut self, record: &Record) {
        let counted = || record.counters.iter().filter(|(_, sum)| **sum > 0);
        if counted().next().is_none() {
            return;
        }
        self.line("");
        self.line("<details><summary>Counters of all nodes</summary>");
        let rows = counted().map(|(name, sum)| vec![code(name), count(*sum)]);
        self.table(&["counter", "sum"], &["---", "---:"], rows);
        self.line("");
        self.line("</details>");
    }

    fn reproduce(&mut self, record: &Record) {
        // A fence longer than any run of backticks in the command cannot be closed by it.
        let longest = record.reproduce.split(|character| character != '`').map(str::len).max().unwrap_or(0);
        let fence = "`".repeat(longest.max(2) + 1);
        let command = record.reproduce.replace(char::is_control, " ");
        let _ = write!(self.text, "\n{fence}sh\n{command}\n{fence}\n");
    }
}

/// Keeps text from being read as markup, table or tag; lines become one.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            control if control.is_control() => out.push(' '),
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '~' | '&' | '#' => {
                out.extend(['\\', character]);
            }
            other => out.push(other),
        }
    }
    out
}

/// Sets a name as code, if it has nothing in it that ends the code or the cell.
fn code(name: &str) -> String {
    let unsafe_in_code = |character: char| matches!(character, '`' | '|' | '\\') || character.is_control();
    if name.trim().is_empty() || name.contains(unsafe_in_code) { escaped(name) } else { format!("`{name}`") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_leave_its_cell() {
        assert_eq!(escaped("a|b\n<b>*c*"), "a\\|b \\<b\\>\\*c\\*");
        assert_eq!([code("a-b"), code("a\\|b`c")], ["`a-b`", "a\\\\\\|b\\`c"]);
    }

    #[test]
    fn a_command_cannot_close_its_fence() {
        let record = Record { reproduce: "echo ````".into(), ..Record::default() };
        assert!(render(&record).ends_with("\n`````sh\necho ````\n`````\n"));
    }
}
