//! One seed of one small scenario of each theme: everything that its record says, but for what the run cost.
//!
//! When a table changes for a good reason: `INSTA_UPDATE=always cargo test -p rumormill-scenarios --test golden`, read
//! the difference, and say in the commit why it changed.

use serde_json::{Map, Value};
use std::fmt::Write;
use std::process::Command;

/// What a table holds, in this order.
const KEYS: [&str; 20] = [
    "scenario",
    "reproduce",
    "nodes",
    "verdict",
    "trace_hash",
    "events",
    "virtual_s",
    "properties",
    "faults",
    "broadcast",
    "overlay",
    "state",
    "members",
    "registry",
    "mail",
    "placement",
    "traffic",
    "sent_for",
    "seed",
    "counters",
];
/// What it leaves out: the cost differs from run to run, the rest is long, empty or follows from the scenario.
const LEFT_OUT: [&str; 5] = ["bootstrap_s", "cost", "series", "measures", "notes"];

/// Runs a scenario and writes its record as a table, one fact a line.
fn table(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rumormill"));
    let output =
        command.arg("run").args(arguments).args(["--seed", "42", "--json"]).output().expect("it runs");
    let record: Map<String, Value> = serde_json::from_slice(&output.stdout).expect("a record");
    let known = |key: &String| KEYS.contains(&key.as_str()) || LEFT_OUT.contains(&key.as_str());
    assert!(record.keys().all(known), "a new key: say where it stands");
    let mut table = String::new();
    for key in KEYS {
        match record.get(key) {
            Some(Value::Array(rows)) => rows.iter().for_each(|it| line(&mut table, key, &words(it))),
            Some(Value::Object(counters)) if key == "counters" => {
                for (name, count) in counters.iter().filter(|(_, count)| **count != 0) {
                    line(&mut table, name, &format!("{count:>12}"));
                }
            }
            Some(value) => line(&mut table, key, &words(value)),
            None => {}
        }
    }
    table
}

fn line(table: &mut String, name: &str, value: &str) {
    writeln!(table, "{name:20} {value}").expect("memory");
}

/// Writes a value in one line: names first, then what is inside of objects as `key=value`.
fn words(value: &Value) -> String {
    let Value::Object(fields) = value else { return word(value) };
    let names = ["status", "kind", "name"];
    let mut words: Vec<String> = names.iter().filter_map(|name| fields.get(*name)).map(word).collect();
    for (key, value) in fields.iter().filter(|(key, _)| !names.contains(&key.as_str())) {
        match value {
            Value::Object(inner) => {
                words.extend(inner.iter().map(|(name, it)| format!("{key}.{name}={}", word(it))));
            }
            plain => words.push(format!("{key}={}", word(plain))),
        }
    }
    words.join(" ")
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[test]
fn first() {
    insta::assert_snapshot!(table(&["first/gathering"]));
}

#[test]
fn membership() {
    insta::assert_snapshot!(table(&["membership/nine-in-a-row"]));
}

#[test]
fn broadcast() {
    insta::assert_snapshot!(table(&["broadcast/grafts-find-another"]));
}

#[test]
fn state() {
    insta::assert_snapshot!(table(&["state/deletes-survive"]));
}

#[test]
fn faults() {
    insta::assert_snapshot!(table(&["faults/all-three", "--nodes", "100"]));
}

#[test]
fn apps() {
    insta::assert_snapshot!(table(&["apps/rooms"]));
}

#[test]
fn members() {
    insta::assert_snapshot!(table(&["members/leave-is-no-death"]));
}

#[test]
fn registry() {
    insta::assert_snapshot!(table(&["registry/unique-names"]));
}

#[test]
fn mail() {
    insta::assert_snapshot!(table(&["mail/restarts"]));
}

#[test]
fn bundles() {
    insta::assert_snapshot!(table(&["mail/bundles"]));
}

#[test]
fn placement() {
    insta::assert_snapshot!(table(&["placement/pause"]));
}
