//! Curves of one line each on a common axis of time, and the faults above them.

use crate::{Fault, Finite, Record, Series};

const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const FAULT: char = '━';
const CALM: char = '·';

/// The axis that all series of a record share, cut into cells of equal length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Timeline {
    begin_s: f64,
    end_s: f64,
    cells: usize,
}

impl Timeline {
    /// Spans all points of a record's series; `None` if there are none.
    pub(crate) fn of(record: &Record, cells: usize) -> Option<Timeline> {
        let drawn = || record.series.iter().filter(|series| !series.points.is_empty());
        let begin_s = drawn().map(|series| series.start_s).min()?.value();
        let end_s = drawn().map(end_s).fold(begin_s, f64::max);
        Some(Timeline { begin_s, end_s, cells })
    }

    /// When the axis begins and ends, in seconds from the end of bootstrap.
    pub(crate) fn ends(&self) -> (Finite, Finite) {
        (Finite::new(self.begin_s).unwrap_or_default(), Finite::new(self.end_s).unwrap_or_default())
    }

    /// Draws a series. Zero is the lowest level unless there are negative points, and only the greatest value (100
    /// for percent) is drawn full: a curve that is not quite there shows it.
    pub(crate) fn curve(&self, series: &Series) -> String {
        let values = || series.points.iter().map(|point| point.value());
        let low = values().fold(0.0, f64::min);
        let high = values().fold(if series.unit == "%" { 100.0 } else { low }, f64::max);
        (0..self.cells)
            .map(|cell| self.mean(series, cell).map_or(' ', |mean| level(mean, low, high)))
            .collect()
    }

    /// Draws when faults were there; an instant takes one cell.
    pub(crate) fn faults(&self, faults: &[Fault]) -> String {
        let drawn = |cell: usize| {
            let (from_s, to_s) = (self.time(cell), self.time(cell + 1));
            let here = faults.iter().any(|fault| {
                let begin_s = fault.at_s.value();
                let end_s = begin_s + fault.for_s.map_or(0.0, Finite::value);
                begin_s < to_s && (end_s > from_s || begin_s >= from_s)
            });
            if here { FAULT } else { CALM }
        };
        (0..self.cells).map(drawn).collect()
    }

    /// When a cell begins.
    fn time(&self, cell: usize) -> f64 {
        self.begin_s + (self.end_s - self.begin_s) * cell as f64 / self.cells as f64
    }

    /// The mean of the points in a cell, or the point before it where cells are finer than points; `None` outside
    /// of the series.
    fn mean(&self, series: &Series, cell: usize) -> Option<f64> {
        let index = |time_s: f64| (time_s - series.start_s.value()) / series.step_s.value();
        let (from, to) = (index(self.time(cell)), index(self.time(cell + 1)));
        let points = &series.points;
        // Saturating casts: whatever the step was, both ends are inside of the series.
        let (first, end) = (from.ceil() as usize, (to.ceil() as usize).min(points.len()));
        if let Some(inside) = points.get(first..end).filter(|inside| !inside.is_empty()) {
            return Some(inside.iter().map(|point| point.value()).sum::<f64>() / inside.len() as f64);
        }
        let before = (from >= 0.0).then(|| points.get(from as usize)).flatten();
        before.map(|point| point.value())
    }
}

/// When a series' last point stops to count: one step after it was taken.
fn end_s(series: &Series) -> f64 {
    series.start_s.value() + series.step_s.value() * series.points.len() as f64
}

fn level(value: f64, low: f64, high: f64) -> char {
    let full = LEVELS.len() - 1;
    if value >= high && high > low {
        return LEVELS[full];
    }
    let share = (value - low) / (high - low); // NaN for a flat zero: casts to the lowest level
    LEVELS[((share * full as f64) as usize).min(full - 1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(unit: &str, step_s: u32, points: &[u32]) -> Series {
        let points = points.iter().map(|&point| Finite::from(point)).collect();
        let [name, unit] = ["equal", unit].map(str::to_string);
        Series { name, unit, start_s: Finite::ZERO, step_s: Finite::from(step_s), points }
    }

    fn draw(series: &Series, cells: usize) -> String {
        let record = Record { series: vec![series.clone()], ..Record::default() };
        Timeline::of(&record, cells).unwrap().curve(series)
    }

    #[test]
    fn a_curve_spans_all_levels() {
        assert_eq!(draw(&series("", 1, &[0, 1, 2, 3, 4, 5, 6, 7]), 8), "▁▂▃▄▅▆▇█");
    }

    #[test]
    fn only_all_is_drawn_full() {
        assert_eq!(draw(&series("%", 1, &[0, 50, 99, 100]), 4), "▁▄▇█");
        assert_eq!(draw(&series("%", 1, &[50]), 1), "▄");
    }

    #[test]
    fn a_flat_zero_is_low_and_a_flat_five_is_full() {
        assert_eq!(draw(&series("", 1, &[0, 0]), 2), "▁▁");
        assert_eq!(draw(&series("", 1, &[5, 5]), 2), "██");
    }

    #[test]
    fn few_points_are_stretched_and_many_averaged() {
        assert_eq!(draw(&series("", 1, &[0, 7]), 6), "▁▁▁███");
        assert_eq!(draw(&series("", 1, &[0, 2, 8, 8]), 2), "▁█");
    }

    #[test]
    fn a_series_that_starts_late_leaves_the_axis_blank() {
        let early = series("", 1, &[7, 7, 7, 7]);
        let late = Series { start_s: Finite::from(2), ..series("", 1, &[7, 7]) };
        let record = Record { series: vec![early, late.clone()], ..Record::default() };
        assert_eq!(Timeline::of(&record, 4).unwrap().curve(&late), "  ██");
    }

    #[test]
    fn faults_are_drawn_where_they_were() {
        let record = Record { series: vec![series("", 1, &[0; 10])], ..Record::default() };
        let timeline = Timeline::of(&record, 10).unwrap();
        let lasting = Fault { at_s: Finite::from(3), for_s: Some(Finite::from(2)), ..Fault::default() };
        let instant = Fault { at_s: Finite::from(8), ..Fault::default() };
        assert_eq!(timeline.faults(&[lasting, instant]), "···━━···━·");
        assert_eq!(timeline.faults(&[]), "··········");
    }

    #[test]
    fn no_points_have_no_axis() {
        let record = Record { series: vec![series("", 1, &[])], ..Record::default() };
        assert_eq!(Timeline::of(&record, 10), None);
    }
}
