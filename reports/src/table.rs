//! Columns that line up.

use crate::line::{Line, Role};

/// Blanks between two columns.
pub(crate) const GAP: usize = 2;

/// To which side of its column a cell is pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// Sets rows in columns as wide as their widest cell; columns in which every cell is empty vanish.
pub(crate) fn columns(aligns: &[Align], rows: Vec<Vec<Line>>) -> Vec<Line> {
    let widest = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(Line::width).max();
    let widths: Vec<usize> = (0..aligns.len()).map(|column| widest(column).unwrap_or(0)).collect();
    rows.into_iter().map(|row| set(row, aligns, &widths)).collect()
}

fn set(row: Vec<Line>, aligns: &[Align], widths: &[usize]) -> Line {
    let mut line = Line::default();
    for ((cell, align), &width) in row.into_iter().zip(aligns).zip(widths) {
        if width == 0 {
            continue;
        }
        let gap = if line == Line::default() { 0 } else { GAP };
        let blanks = match align {
            Align::Left => gap,
            Align::Right => gap + width - cell.width(),
        };
        let end = line.width() + gap + width;
        line = line.with(Role::Plain, " ".repeat(blanks)).then(cell).padded(end);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_goes_left_numbers_right_and_empty_columns_vanish() {
        let row = |cells: [&str; 3]| cells.map(|cell| Line::of(Role::Plain, cell)).to_vec();
        let rows = vec![row(["a", "", "1,000"]), row(["bcd", "", "7"])];
        let mut out = String::new();
        for line in columns(&[Align::Left, Align::Left, Align::Right], rows) {
            line.render(false, &mut out);
        }
        assert_eq!(out, "a    1,000\nbcd      7\n");
    }
}
