//! The `rumormill` command as its users meet it: what it prints and the status it exits with.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

/// A small world that passes: thirty nodes write and talk through a cut.
const SMALL: &str = r#"name = "small"
about = "Thirty nodes write and talk through a cut."
nodes = 30
end_s = 40

[network]
loss = 0.02

[[workload]]
from_s = 2
to_s = 15
map_put = { map = "flags", keys = 50, per_s = 10 }

[[workload]]
from_s = 2
to_s = 15
broadcast = { topic = "news", per_s = 2 }

[[fault]]
at_s = 5
for_s = 10
partition = { split = [0.5, 0.5] }

[[property]]
eventually = "converged"
map = "flags"
within_s = 20

[[property]]
always = "bounded"
"#;

/// Nobody stays connected across a cut that outlasts every timeout.
const CUT: &str = r#"name = "cut"
about = "Ten nodes are cut in two and asked to stay connected."
nodes = 10
end_s = 40

[[fault]]
at_s = 5
for_s = 30
partition = { split = [0.5, 0.5] }

[[property]]
always = "connected"
"#;

/// A pause finds nobody who could stand still.
const VACUOUS: &str = r#"name = "vacuous"
about = "A node is paused that is gone already."
nodes = 10
end_s = 20

[[fault]]
at_s = 1
crash = { nodes = [7] }

[[fault]]
at_s = 10
for_s = 5
pause = { nodes = [7] }

[[property]]
always = "bounded"
"#;

/// A folder of its own in which the command runs.
struct Desk(TempDir);

/// What one run of the command left behind.
struct Ran {
    status: i32,
    stdout: String,
    stderr: String,
}

impl Desk {
    fn new() -> Self {
        Self(TempDir::new().expect("a folder"))
    }

    fn with(name: &str, text: impl AsRef<[u8]>) -> Self {
        let desk = Self::new();
        std::fs::write(desk.0.path().join(name), text).expect("a file");
        desk
    }

    fn rumormill(&self, arguments: &[&str]) -> Ran {
        let program = Path::new(env!("CARGO_BIN_EXE_rumormill"));
        ran(Command::new(program).args(arguments).current_dir(self.0.path()).output())
    }

    /// Runs a line as a shell would, with the command on the path.
    fn shell(&self, line: &str) -> Ran {
        let program = Path::new(env!("CARGO_BIN_EXE_rumormill"));
        let path = program.parent().expect("a folder");
        ran(Command::new("/bin/sh").args(["-c", line]).env("PATH", path).current_dir(self.0.path()).output())
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let ran = self.rumormill(arguments);
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}", ran.stdout))
    }
}

fn ran(output: std::io::Result<Output>) -> Ran {
    let output = output.expect("the command starts");
    Ran {
        status: output.status.code().expect("a status, not a signal"),
        stdout: String::from_utf8(output.stdout).expect("text"),
        stderr: String::from_utf8(output.stderr).expect("text"),
    }
}

/// Asserts that a run was refused, with one message that contains each of these, and nothing else.
#[track_caller]
fn assert_refused(ran: &Ran, parts: &[&str]) {
    assert_eq!((ran.status, ran.stdout.as_str()), (2, ""), "{}", ran.stderr);
    assert!(ran.stderr.starts_with("error: "), "{}", ran.stderr);
    assert_eq!(ran.stderr.matches("error:").count(), 1, "one message: {}", ran.stderr);
    for part in parts {
        assert!(ran.stderr.contains(part), "no {part:?} in: {}", ran.stderr);
    }
}

/// Runs the small world with one text in it replaced by another, and asserts the whole message.
#[track_caller]
fn assert_message(from: &str, to: &str, message: &str) {
    assert!(SMALL.contains(from), "nothing to replace");
    let ran = Desk::with("small.toml", SMALL.replacen(from, to, 1)).rumormill(&["run", "small.toml"]);
    assert_refused(&ran, &[]);
    assert_eq!(ran.stderr.trim_end(), format!("error: {message}"));
}

fn hash(record: &Value) -> &str {
    record["trace_hash"].as_str().expect("a hash")
}

// --- bad input

#[test]
fn a_file_that_is_not_there_is_named() {
    let ran = Desk::new().rumormill(&["run", "nope.toml"]);
    assert_refused(&ran, &["nope.toml: no such file", "`rumormill list`"]);
    let ran = Desk::new().rumormill(&["explain", "nope.toml"]);
    assert_refused(&ran, &["nope.toml: no such file"]);
}

#[test]
fn a_scenario_that_is_not_there_is_answered_with_the_nearest() {
    for wrong in ["first/partition-hael", "first/partition-hael.toml", "scenarios/first/partition-heel.toml"]
    {
        let ran = Desk::new().rumormill(&["run", wrong]);
        assert_refused(&ran, &[wrong, "Did you mean first/partition-heal?"]);
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    assert_refused(&Desk::new().rumormill(&["run", "."]), &[".: cannot be read: "]);
    let ran = Desk::with("small.toml", [0xff, 0xfe, 0x00]).rumormill(&["run", "small.toml"]);
    assert_refused(&ran, &["small.toml: cannot be read: ", "UTF-8"]);
}

#[test]
fn a_file_without_end_is_refused() {
    let desk = Desk::with("long.toml", format!("{SMALL}# {}", "x".repeat(1 << 20)));
    for file in ["/dev/zero", "long.toml"] {
        assert_refused(&desk.rumormill(&["run", file]), &[file, "longer than 1048576 bytes"]);
    }
    let piped = desk.shell("printf 'name = \"piped\"\\nnodes = 3\\n' | rumormill run /dev/stdin");
    assert_eq!((piped.status, piped.stderr.as_str()), (0, ""));
}

#[test]
fn malformed_toml_has_line_and_column() {
    let ran =
        Desk::with("small.toml", SMALL.replace("nodes = 30", "nodes = ]")).rumormill(&["run", "small.toml"]);
    assert_refused(&ran, &["small.toml:3:", "not valid TOML"]);
    let ran = Desk::with("small.toml", "").rumormill(&["run", "small.toml"]);
    assert_refused(&ran, &["small.toml: name: missing; write name = "]);
}

#[test]
fn an_unknown_key_is_answered_with_the_nearest() {
    assert_message(
        "loss = ",
        "los = ",
        "small.toml:7:1: network.los: unknown key; did you mean `loss`? (one of: profile, latency, loss, \
         uplink_mbps, idle_timeout_s, handshake_timeout_s, high_water_bytes, disk_ms)",
    );
}

#[test]
fn a_world_without_nodes_is_refused() {
    let message = "nodes: 0 is not a whole number from 1 to 1000000";
    assert_message("nodes = 30", "nodes = 0", &format!("small.toml:3:9: {message}"));
    let ran = Desk::with("small.toml", SMALL).rumormill(&["run", "small.toml", "--nodes", "0"]);
    assert_refused(&ran, &["'0' for '--nodes <N>'", "expected a whole number of nodes from 1 to 1000000"]);
}

#[test]
fn a_fault_after_the_end_is_refused() {
    assert_message(
        "at_s = 5",
        "at_s = 50",
        "small.toml:20:8: fault[0].at_s: begins at 50 s, after the end of the run at 40 s; move it, or end_s",
    );
}

#[test]
fn faults_that_contradict_each_other_are_refused() {
    let second = "[[fault]]\nat_s = 6\nfor_s = 5\npartition = { one_way = 3 }\n\n[[property]]\neventually";
    assert_message(
        "[[property]]\neventually",
        second,
        "small.toml:25:8: fault[1].at_s: contradicts fault[0], a partition from 5 s to 15 s; let one end before \
         the other begins",
    );
}

#[test]
fn an_unknown_property_is_answered_with_the_nearest() {
    let ran = Desk::with("small.toml", SMALL.replace("\"converged\"", "\"convergd\""))
        .rumormill(&["run", "small.toml"]);
    let place = "small.toml:25:14: property[0].eventually: ";
    assert_refused(&ran, &[place, "unknown property \"convergd\"; did you mean `converged`?"]);
}

#[test]
fn a_change_that_cannot_be_made_is_refused() {
    let refused = |set: &str, parts: &[&str]| {
        let ran = Desk::with("small.toml", SMALL).rumormill(&["run", "small.toml", "--set", set]);
        assert_refused(&ran, parts);
    };
    refused("loss", &["'loss'", "--set <KEY=VALUE>", "expected KEY=VALUE, for example network.loss=0.1"]);
    refused("network.los=1", &["--set network.los=1: network.los: unknown key; did you mean `loss`?"]);
    refused("network.loss=abc", &["network.loss: expected a share from 0 to 1, found the text \"abc\""]);
    refused("network.loss=2", &["network.loss: 2 is not a share from 0 to 1"]);
    refused("fault[3].at_s=2", &["there is no fault[3]: the list has 1, counted from 0"]);
}

#[test]
fn a_bad_argument_is_answered_with_what_would_be_right() {
    let refused = |arguments: &[&str], parts: &[&str]| {
        let arguments = [&["run", "small.toml"], arguments].concat();
        assert_refused(&Desk::with("small.toml", SMALL).rumormill(&arguments), parts);
    };
    refused(
        &["--seed", "x"],
        &["'x'", "--seed <SEED>", "a number from 0 to 18446744073709551615 is expected"],
    );
    refused(&["--seed", "9:1"], &["seeds of version 9 are unknown here: version 1 is expected"]);
    refused(
        &["--seed", "-1"],
        &["'-1'", "--seed <SEED>", "a number from 0 to 18446744073709551615 is expected"],
    );
    for nodes in ["x", "-3", "0", "99999999999"] {
        let expected = "expected a whole number of nodes from 1 to 1000000";
        refused(&["--nodes", nodes], &[&format!("'{nodes}' for '--nodes <N>'"), expected]);
    }
    refused(&["--driver", "foo"], &["'foo'", "--driver <DRIVER>", "possible values: sim, turmoil, quic"]);
    refused(&["--driver", "quic"], &["--driver: only sim is built yet"]);
    refused(&["--jsn"], &["'--jsn'", "--json"]);
}

#[cfg(target_os = "linux")] // where there is a device that is always full
#[test]
fn output_that_cannot_be_written_is_an_error() {
    let desk = Desk::with("small.toml", SMALL);
    for command in [
        "list",
        "list --json",
        "explain small.toml",
        "run small.toml",
        "run small.toml --json",
        "run cut.toml",
    ] {
        std::fs::write(desk.0.path().join("cut.toml"), CUT).expect("a file");
        let ran = desk.shell(&format!("rumormill {command} >/dev/full"));
        assert_refused(&ran, &["error: standard output cannot be written: "]);
        let ran = desk.shell(&format!("rumormill {command} >/dev/full 2>/dev/full"));
        assert_eq!(ran.status, 2, "{command}");
    }
    let help = desk.rumormill(&["run", "--help"]).stdout;
    let help: Vec<_> = help.split_whitespace().collect();
    assert!(help.join(" ").contains("2 bad usage or input or output that cannot be written"));
}

#[test]
fn a_reader_that_has_gone_is_no_error() {
    let desk = Desk::with("small.toml", SMALL);
    let trace = "trace small.toml --from 0 --to 0"; // the second process of --verify, when the first is gone
    for command in ["list", "explain small.toml", "run small.toml", "run small.toml --json", trace] {
        // The shell's built-in ends long before the command writes.
        let ran = desk.shell(&format!("{{ rumormill {command}; echo status $? >&2; }} | :"));
        assert_eq!(ran.stderr, "status 0\n", "{command}");
    }
}

// --- verdicts

#[test]
fn a_run_that_passes_exits_0() {
    let ran = Desk::with("small.toml", SMALL).rumormill(&["run", "small.toml"]);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    assert!(ran.stdout.starts_with("✓ PASS  small  seed 1:1 · 30 nodes"), "{}", ran.stdout);
    assert!(!ran.stdout.contains('\x1b'), "colours in a pipe");
}

#[test]
fn a_property_that_fails_exits_1_and_its_line_reproduces_it() {
    let desk = Desk::with("the cut.toml", CUT);
    let first = desk.rumormill(&["run", "the cut.toml", "--seed", "7", "--set", "network.loss=0.01"]);
    assert_eq!((first.status, first.stderr.as_str()), (1, ""));
    assert!(first.stdout.contains("Failed: connected."), "{}", first.stdout);
    let line = first.stdout.lines().find_map(|line| line.strip_prefix("reproduce")).expect("a line").trim();
    assert_eq!(line, "rumormill run 'the cut.toml' --seed 1:7 --set network.loss=0.01");

    let again = desk.shell(line);
    let trace = |ran: &Ran| ran.stdout.lines().find(|line| line.starts_with("trace")).map(str::to_owned);
    assert_eq!(again.status, 1);
    assert!(trace(&first).is_some());
    assert_eq!(trace(&again), trace(&first));
}

#[test]
fn a_fault_that_touches_nothing_exits_4() {
    let desk = Desk::with("vacuous.toml", VACUOUS);
    let ran = desk.rumormill(&["run", "vacuous.toml"]);
    assert_eq!((ran.status, ran.stderr.as_str()), (4, ""), "{}", ran.stdout);
    let record = desk.json(&["run", "vacuous.toml", "--json"]);
    assert_eq!(record["verdict"], "vacuous");
    assert_eq!(record["faults"][0]["receipts"]["nodes"], 1);
    assert_eq!(record["faults"][1]["receipts"]["nodes"], 0);
}

/// The summary's sentence behind the verdict, for the small world with other properties.
fn reason(properties: &str) -> String {
    let (world, _) = SMALL.split_once("[[property]]").expect("properties");
    let desk = Desk::with("small.toml", format!("{world}{properties}"));
    let ran = desk.rumormill(&["run", "small.toml"]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let lines = ran.stdout.lines().skip(2).take_while(|line| !line.is_empty()).map(str::trim);
    lines.collect::<Vec<_>>().join(" ")
}

#[test]
fn what_was_asked_sometimes_and_not_reached_is_told_and_fails_no_run() {
    let calm = "[[property]]\nsometimes = \"calm\"\nperiods = 1000\n";
    let unreached =
        "asked sometimes and not reached: calm (fails no single run, only `sweep --require-all`).";
    assert_eq!(reason(calm), format!("No property was decided under 1 fault; {unreached}"));
    let both = format!("{calm}\n[[property]]\nalways = \"bounded\"\n");
    assert_eq!(reason(&both), format!("One property held under 1 fault; {unreached}"));
    let help = Desk::new().rumormill(&["run", "--help"]).stdout;
    assert!(help.contains("sweep --require-all"), "{help}");
}

#[test]
fn a_run_that_is_asked_nothing_says_that_nothing_was_judged() {
    assert_eq!(reason(""), "Nothing was asked of this run, so nothing was judged.");
}

// --- the record

#[test]
fn json_is_one_object_with_the_documented_keys() {
    let record = Desk::with("small.toml", SMALL).json(&["run", "small.toml", "--json", "--seed", "5"]);
    let has = |of: &Value, keys: &[&str]| {
        for key in keys {
            assert!(!of[key].is_null(), "no {key} in {of}");
        }
    };
    has(&record, &["scenario", "seed", "nodes", "verdict", "trace_hash", "events", "virtual_s", "reproduce"]);
    has(&record["cost"], &["wall_s", "cpu_s", "events_per_cpu_s"]);
    has(&record["properties"][0], &["name", "kind", "status", "at_s"]);
    has(&record["faults"][0], &["kind", "at_s", "for_s", "receipts"]);
    has(&record["faults"][0]["receipts"], &["messages", "bytes", "nodes"]);
    has(&record, &["measures"]);
    has(&record["broadcast"], &["sent", "reliability", "rmr", "ldh_max", "ldh_mean"]);
    has(&record["broadcast"]["latency_ms"], &["p50", "p90", "p99", "max"]);
    has(&record["overlay"], &["connected", "components", "symmetric_pct", "clustering", "path_length_mean"]);
    has(&record["overlay"]["active"], &["min", "p50", "max"]);
    has(&record["overlay"]["in_degree"], &["min", "p50", "max"]);
    has(&record["state"], &["converged", "converge_ms", "sync_bytes", "delta_bytes", "keys"]);
    has(&record["traffic"], &["messages", "bytes"]);
    has(&record["traffic"]["per_node_bytes_per_s"], &["p50", "p99", "max"]);
    assert_eq!((&record["seed"], &record["verdict"]), (&"1:5".into(), &"pass".into()));
    assert_eq!(hash(&record).len(), 16);
}

#[test]
fn the_record_says_from_where_its_times_count() {
    let desk = Desk::with("small.toml", SMALL);
    let record = desk.json(&["run", "small.toml", "--json"]);
    assert_eq!(record["bootstrap_s"], 10.145, "thirty joins 5 ms apart and ten seconds");
    assert_eq!(record["virtual_s"], 50.145, "and forty after bootstrap");
    let text = desk.rumormill(&["run", "small.toml"]).stdout;
    assert!(
        text.contains("times       count from the end of bootstrap, 10.145 s after the start\n"),
        "{text}"
    );
}

#[test]
fn two_processes_give_the_same_record_but_for_its_cost() {
    let desk = Desk::with("small.toml", SMALL);
    let record = || {
        let mut record = desk.json(&["run", "small.toml", "--json"]);
        record["cost"].take();
        record
    };
    assert_eq!(record(), record());
}

#[test]
fn the_hash_is_the_seeds_and_does_not_depend_on_the_wire() {
    let desk = Desk::with("small.toml", SMALL);
    let typed = desk.json(&["run", "small.toml", "--json"]);
    let encoded = desk.json(&["run", "small.toml", "--json", "--wire"]);
    let other = desk.json(&["run", "small.toml", "--json", "--seed", "2"]);
    assert_eq!(hash(&typed), hash(&encoded));
    assert_ne!(hash(&typed), hash(&other));
    assert_eq!(typed["traffic"], encoded["traffic"], "lengths in closed form are those of the encoding");
}

#[test]
fn a_second_process_verifies_the_run() {
    let ran = Desk::with("small.toml", SMALL).rumormill(&["run", "small.toml", "--verify"]);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    assert!(ran.stdout.contains("a second process ran the same events to the same hash"), "{}", ran.stdout);
}

#[test]
fn nodes_and_changes_of_the_command_line_reach_the_run_and_its_reproduction() {
    let desk = Desk::with("small.toml", SMALL);
    let record = desk.json(&["run", "small.toml", "--json", "--nodes", "12", "--set", "fault[0].at_s=6"]);
    assert_eq!((&record["nodes"], &record["faults"][0]["at_s"]), (&12.into(), &6.0.into()));
    assert_eq!(record["reproduce"], "rumormill run small.toml --seed 1:1 --nodes 12 --set 'fault[0].at_s=6'");
}

#[test]
fn a_world_that_is_too_small_for_a_storm_says_how_many_can_join_late() {
    let ran = Desk::new().rumormill(&["run", "state/late-joiner", "--nodes", "1"]);
    let message = "too many where nodes = 1 and bootstrap.contacts = 1: the contacts are there from the start, so at \
                   most 0 can join late";
    assert_refused(&ran, &["join_storm.nodes: ", message]);
}

#[test]
fn a_key_of_the_configuration_that_is_near_none_is_answered_with_all() {
    let ran = Desk::with("small.toml", SMALL).rumormill(&["run", "small.toml", "--set", "config.xyzzy=1"]);
    assert_refused(
        &ran,
        &["config.xyzzy: unknown key", "one of: active_size, ", "writers_max, zone, paper, canary"],
    );
}

// --- telling about scenarios

#[test]
fn help_names_the_reference_of_the_scenario_file_and_the_figures_of_a_report() {
    let help = |arguments: &[&str]| Desk::new().rumormill(arguments).stdout;
    for arguments in [&["--help"] as &[&str], &["explain", "--help"]] {
        assert!(help(arguments).contains("docs/scenarios.md"), "{arguments:?}");
    }
    for arguments in [["run", "--help"], ["explain", "--help"]] {
        let help = help(&arguments).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(help.contains("RMR is relative message redundancy"), "{help}");
    }
}

#[test]
fn a_theme_is_no_scenario_and_is_answered_with_its_own() {
    for theme in ["first", "first/", "scenarios/first"] {
        let ran = Desk::new().rumormill(&["run", theme]);
        let hint =
            " is a theme, not a scenario: choose one of first/gathering, first/partition-heal, first/rumour.";
        assert_eq!((ran.status, ran.stderr), (2, format!("error: {theme}{hint}\n")));
    }
    assert_refused(&Desk::new().rumormill(&["explain", "first"]), &["first is a theme"]);
    let desk = Desk::new();
    std::fs::create_dir(desk.0.path().join("first")).expect("a folder");
    assert_refused(&desk.rumormill(&["run", "first"]), &["first is a theme"]);
}

#[test]
fn one_theme_is_listed() {
    let desk = Desk::new();
    insta::assert_snapshot!("list_first", desk.rumormill(&["list", "first"]).stdout);
    let listed = desk.json(&["list", "first", "--json"]);
    assert_eq!(listed["scenarios"].as_array().expect("a list").len(), 3);
    assert_refused(
        &desk.rumormill(&["list", "frist"]),
        &["frist: no such theme; there are first, membership, "],
    );
}

#[test]
fn an_explanation_takes_nodes_and_needs_no_seed() {
    let desk = Desk::new();
    let ran = desk.rumormill(&["explain", "first/gathering", "--nodes", "7"]);
    assert!(ran.stdout.contains("\n7 nodes come together"), "{}", ran.stdout);
    let ran = desk.rumormill(&["explain", "first/gathering", "--seed", "1:3"]);
    assert_refused(&ran, &["--seed: explain needs none"]);
}

#[test]
fn the_library_is_listed_by_theme() {
    let desk = Desk::new();
    let ran = desk.rumormill(&["list"]);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    insta::assert_snapshot!("list", ran.stdout);

    let listed = desk.json(&["list", "--json"]);
    let names: Vec<&str> =
        listed["scenarios"].as_array().expect("a list").iter().filter_map(|it| it["name"].as_str()).collect();
    assert!(names.contains(&"first/partition-heal"));
    assert!(names.iter().all(|name| ran.stdout.contains(name)));
}

#[test]
fn a_scenario_is_explained_in_plain_words() {
    let ran =
        Desk::with("small.toml", SMALL).rumormill(&["explain", "small.toml", "--set", "network.loss=0.1"]);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    insta::assert_snapshot!("explain", ran.stdout);
    assert_eq!(Desk::new().rumormill(&["explain", "first/partition-heal"]).status, 0);
}
