//! What three runs look like on a terminal, on a page and in JSON. `INSTA_UPDATE=always` accepts a change.

mod samples;

use insta::assert_snapshot;
use rumormill_reports::text::Style;
use rumormill_reports::{Finite, Kind, Record, Status, Verdict, markdown, text};

fn plain(record: &Record, width: usize) -> String {
    text::render(record, &Style { color: false, width })
}

/// The coloured summary with visible escapes, so that the snapshot is text.
fn colored(record: &Record) -> String {
    text::render(record, &Style { color: true, width: 80 }).replace('\u{1b}', "␛")
}

#[test]
fn a_pass_at_80_columns() {
    assert_snapshot!(plain(&samples::pass(), 80));
}

#[test]
fn a_pass_at_120_columns() {
    assert_snapshot!(plain(&samples::pass(), 120));
}

#[test]
fn a_pass_in_color() {
    assert_snapshot!(colored(&samples::pass()));
}

#[test]
fn a_pass_as_markdown() {
    assert_snapshot!(markdown::render(&samples::pass()));
}

#[test]
fn a_pass_as_json() {
    assert_snapshot!(samples::pass().to_json());
}

#[test]
fn a_failure_at_80_columns() {
    assert_snapshot!(plain(&samples::fail(), 80));
}

#[test]
fn a_failure_at_120_columns() {
    assert_snapshot!(plain(&samples::fail(), 120));
}

#[test]
fn a_failure_at_the_narrowest() {
    assert_snapshot!(plain(&samples::fail(), 0));
}

#[test]
fn a_failure_in_color() {
    assert_snapshot!(colored(&samples::fail()));
}

#[test]
fn a_failure_as_markdown() {
    assert_snapshot!(markdown::render(&samples::fail()));
}

#[test]
fn a_failure_as_json() {
    assert_snapshot!(samples::fail().to_json());
}

#[test]
fn a_vacuous_run_at_80_columns() {
    assert_snapshot!(plain(&samples::vacuous(), 80));
}

#[test]
fn a_vacuous_run_in_color() {
    assert_snapshot!(colored(&samples::vacuous()));
}

#[test]
fn a_vacuous_run_as_markdown() {
    assert_snapshot!(markdown::render(&samples::vacuous()));
}

#[test]
fn a_vacuous_run_as_json() {
    assert_snapshot!(samples::vacuous().to_json());
}

/// A run that passes, asked once to show that nothing changes, and did not.
fn unreached() -> Record {
    let mut record = Record { verdict: Verdict::Pass, faults: vec![], ..samples::vacuous() };
    let calm = &mut record.properties[0];
    (calm.name, calm.kind) = ("calm".into(), Kind::Sometimes);
    (calm.status, calm.at_s) = (Status::Unreached, None);
    record
}

#[test]
fn a_run_that_did_not_reach_what_it_was_asked() {
    assert_snapshot!(plain(&unreached(), 80));
}

#[test]
fn times_count_from_the_start_where_there_is_no_bootstrap() {
    let text = plain(&Record { bootstrap_s: Finite::ZERO, ..samples::pass() }, 80);
    assert!(text.contains("\ntimes       count from the start\n"), "{text}");
}

#[test]
fn a_run_that_was_asked_nothing() {
    let faults = samples::pass().faults;
    assert_snapshot!(plain(&Record { properties: vec![], faults, ..unreached() }, 80));
}
