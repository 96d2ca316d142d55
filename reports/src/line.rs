//! Lines of painted text that know their width.

use anstyle::{AnsiColor, Effects, Style};
use unicode_width::UnicodeWidthChar;

/// What a piece of text means to its reader; the colour follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Ordinary text.
    Plain,
    /// What the eye should find first.
    Strong,
    /// Labels, separators, what is seldom read.
    Dim,
    /// It held.
    Good,
    /// It failed.
    Bad,
    /// It needs a look.
    Warn,
    /// A curve.
    Curve,
}

/// One line: pieces of text, each with its role. Control characters and invisible ones never get in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Line {
    spans: Vec<(Role, String)>,
}

/// A character with its role.
type Painted = (Role, char);

impl Role {
    fn style(self) -> Style {
        let colour = |colour: AnsiColor| Style::new().fg_color(Some(colour.into()));
        match self {
            Role::Plain => Style::new(),
            Role::Strong => Style::new().effects(Effects::BOLD),
            Role::Dim => Style::new().effects(Effects::DIMMED),
            Role::Good => colour(AnsiColor::Green),
            Role::Bad => colour(AnsiColor::Red).effects(Effects::BOLD),
            Role::Warn => colour(AnsiColor::Yellow),
            Role::Curve => colour(AnsiColor::Cyan),
        }
    }
}

impl Line {
    /// Creates a line of one piece.
    pub(crate) fn of(role: Role, text: impl AsRef<str>) -> Line {
        Line::default().with(role, text)
    }

    /// Appends a piece.
    #[must_use]
    pub(crate) fn with(mut self, role: Role, text: impl AsRef<str>) -> Line {
        text.as_ref().chars().for_each(|character| self.push(role, character));
        self
    }

    /// Appends another line's pieces.
    #[must_use]
    pub(crate) fn then(mut self, other: Line) -> Line {
        self.spans.extend(other.spans);
        self
    }

    /// Appends spaces until the line is so wide.
    #[must_use]
    pub(crate) fn padded(self, width: usize) -> Line {
        let missing = width.saturating_sub(self.width());
        self.with(Role::Plain, " ".repeat(missing))
    }

    /// How many columns the line takes.
    pub(crate) fn width(&self) -> usize {
        self.characters().map(|(_, character)| columns(character)).sum()
    }

    /// Writes the line and a line break, without blanks at its end; in colour or not.
    pub(crate) fn render(&self, color: bool, out: &mut String) {
        let mut spans = self.spans.as_slice();
        while let [rest @ .., (_, last)] = spans
            && last.trim_end().is_empty()
        {
            spans = rest;
        }
        for (index, (role, text)) in spans.iter().enumerate() {
            let text = if index + 1 == spans.len() { text.trim_end() } else { text };
            if color && *role != Role::Plain {
                out.push_str(&format!("{style}{text}{style:#}", style = role.style()));
            } else {
                out.push_str(text);
            }
        }
        out.push('\n');
    }

    /// Breaks the line, at blanks where there are any, so that no part is wider than `width`; all parts but the
    /// first are indented.
    pub(crate) fn wrapped(self, width: usize, indent: usize) -> Vec<Line> {
        if self.width() <= width {
            return vec![self];
        }
        let characters: Vec<Painted> = self.characters().collect();
        let mut lines = vec![];
        let mut rest = characters.as_slice();
        while !rest.is_empty() {
            let blanks = if lines.is_empty() { 0 } else { indent.min(width / 2) };
            let (head, tail) = break_at(rest, width - blanks);
            let mut line = Line::of(Role::Plain, " ".repeat(blanks));
            head.iter().for_each(|&(role, character)| line.push(role, character));
            lines.push(line);
            rest = skip_blanks(tail);
        }
        lines
    }

    fn characters(&self) -> impl Iterator<Item = Painted> {
        self.spans.iter().flat_map(|(role, text)| text.chars().map(|character| (*role, character)))
    }

    fn push(&mut self, role: Role, character: char) {
        // Whoever wrote a name or a detail must not move the cursor or reverse the text of the reader's terminal.
        let character = if character.is_control() { ' ' } else { character };
        if columns(character) == 0 {
            return;
        }
        match self.spans.last_mut() {
            Some((last, text)) if *last == role => text.push(character),
            _ => self.spans.push((role, character.to_string())),
        }
    }
}

/// Cuts off as much as fits: up to the last blank that follows something, else hard, but at least one character.
fn break_at(characters: &[Painted], width: usize) -> (&[Painted], &[Painted]) {
    let mut taken = 0;
    let fits = characters.iter().take_while(|(_, character)| {
        taken += columns(*character);
        taken <= width
    });
    let fitting = fits.count().max(1);
    if fitting == characters.len() {
        return (characters, &[]);
    }
    let is_blank = |index: &usize| characters[*index].1 == ' ';
    let first = (0..fitting).find(|index| !is_blank(index)).unwrap_or(0);
    let end = (first..=fitting).rev().find(is_blank).unwrap_or(fitting);
    characters.split_at(end)
}

fn skip_blanks(characters: &[Painted]) -> &[Painted] {
    let blanks = characters.iter().take_while(|(_, character)| *character == ' ').count();
    &characters[blanks..]
}

fn columns(character: char) -> usize {
    character.width().unwrap_or(0)
}

/// Joins segments with a dot between them, on as many lines as they need; a segment is broken only if it is wider
/// than a line.
pub(crate) fn flow(segments: Vec<Line>, width: usize) -> Vec<Line> {
    let separator = || Line::of(Role::Dim, " · ");
    let mut lines: Vec<Line> = vec![];
    for segment in segments {
        match lines.pop() {
            Some(last) if last.width() + 3 + segment.width() <= width => {
                lines.push(last.then(separator()).then(segment));
            }
            last => {
                lines.extend(last);
                lines.extend(segment.wrapped(width, 2));
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(lines: Vec<Line>) -> Vec<String> {
        lines.iter().map(|line| line.characters().map(|(_, character)| character).collect()).collect()
    }

    #[test]
    fn a_line_breaks_at_blanks_and_hangs() {
        let line = Line::of(Role::Plain, "17 of 1,000 replicas differ");
        assert_eq!(plain(line.wrapped(12, 2)), ["17 of 1,000", "  replicas", "  differ"]);
    }

    #[test]
    fn a_word_wider_than_the_line_breaks_anywhere() {
        assert_eq!(plain(Line::of(Role::Plain, "abcdefgh").wrapped(4, 1)), ["abcd", " efg", " h"]);
        assert_eq!(plain(Line::of(Role::Plain, "波波波").wrapped(5, 0)), ["波波", "波"]);
    }

    #[test]
    fn a_name_cannot_command_the_terminal() {
        let line = Line::of(Role::Plain, "a\u{1b}[31m\r\nb\u{202e}c\u{200b}d");
        assert_eq!(plain(vec![line]), ["a [31m  bcd"]);
    }

    #[test]
    fn blanks_at_the_end_are_not_written() {
        let mut out = String::new();
        Line::of(Role::Plain, "a ").with(Role::Dim, "  ").render(true, &mut out);
        Line::of(Role::Plain, "   ").render(false, &mut out);
        assert_eq!(out, "a\n\n");
    }

    #[test]
    fn segments_stay_whole_while_they_fit() {
        let segments = ["1,000 nodes", "125 s virtual", "x"].map(|text| Line::of(Role::Plain, text)).to_vec();
        assert_eq!(plain(flow(segments, 18)), ["1,000 nodes", "125 s virtual · x"]);
    }
}
