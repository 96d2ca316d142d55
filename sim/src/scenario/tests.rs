//! Facts about scenarios: both faces, bad input, expansion.

use super::*;
use crate::schedule::{Action, FaultEffect, MailOrder, Order, Schedule, Step};
use rumormill_core::Command;
use std::collections::BTreeSet;

/// The example of the design.
const EXAMPLE: &str = r#"
name = "partition-heal"
about = "Two halves write apart for 30 s; after healing every replica is equal."
nodes = 1000
end_s = 100
[bootstrap]
contacts = 1
join_every_ms = 5
settle_s = 10
[network]
profile = "quic"                     # or "ideal"
latency = { uniform_ms = [10, 50] }  # constant_ms, long_tail_ms = { median, p99 }, regions = "five"
loss = 0.05
[clocks]
offset_ms = 200
drift_ppm = 50
[config]                             # any key of the core's configuration
active_size = 5
[[workload]]
from_s = 10
to_s = 70
map_put = { map = "flags", keys = 1000, per_s = 40 }
[[fault]]
at_s = 30
for_s = 30
partition = { split = [0.5, 0.5] }
[[property]]
eventually = "converged"
map = "flags"
within_s = 30
"#;

/// A small scenario with something of everything.
const BUSY: &str = r#"
name = "busy"
nodes = 40
[bootstrap]
contacts = 2
[clocks]
offset_ms = 100
drift_ppm = 20
[[workload]]
from_s = 1
to_s = 50
broadcast = { topic = "news", per_s = 2.5, size = 100, senders = 3, class = "bulk" }
[[workload]]
from_s = 1
to_s = 50
map_put = { map = "flags", keys = 10, per_s = 5, size = 9, removes = 0.25 }
[[workload]]
from_s = 5
to_s = 9.5
leave = { nodes = 2, back_after_s = 4 }
[[fault]]
at_s = 2
for_s = 10
partition = { split = [0.6, 0.3, 0.1] }
[[fault]]
at_s = 12
for_s = 10
partition = { isolate = [3, 5], every_s = 4, down_s = 3 }
[[fault]]
at_s = 22
for_s = 5
partition = { one_way = 0.3 }
[[fault]]
at_s = 28
for_s = 5
partition = { bridge = 2 }
[[fault]]
at_s = 3
for_s = 4
loss = 0.1
[[fault]]
at_s = 3
for_s = 4
duplicate = { rate = 0.1, nodes = 0.5 }
[[fault]]
at_s = 3
for_s = 4
reorder = { rate = 0.000001, nodes = 7 }
[[fault]]
at_s = 3
for_s = 4
latency = { extra_ms = 0.5, nodes = [1, 2] }
[[fault]]
at_s = 4
crash = { nodes = 0.1, disk = "lost", restart_after_s = 6 }
[[fault]]
at_s = 5
crash = { nodes = 3 }
[[fault]]
at_s = 10
rolling_restart = { every_s = 0.5, down_s = 2, nodes = 0.5 }
[[fault]]
at_s = 40
mass_failure = 0.05
[[fault]]
at_s = 6
for_s = 3
pause = 4
[[fault]]
at_s = 6
for_s = 3
slow = { nodes = 4, per_input_ms = 1.5 }
[[fault]]
at_s = 10
for_s = 30
churn = { session_s = 5, down_s = 1, nodes = 0.2, distribution = "pareto", disk = "lost" }
[[fault]]
at_s = 7
join_storm = 5
[[fault]]
at_s = 8
for_s = 9
clock = { nodes = 0.5, offset_ms = 300, step_ms = -50, drift_ppm = 10, freeze = true }
[[property]]
always = "bounded"
[[property]]
eventually = "calm"
periods = 3
within_s = 20
[[property]]
sometimes = "converged"
map = "flags"
[[property]]
always = "latency"
p99_ms = 750
from_s = 10
"#;

/// Users of members, services, mailboxes and partitions.
const USERS: &str = r#"
name = "users"
nodes = 20
[config]
members = true
registry = true
mailboxes = true
placement = true
[[workload]]
watch = "members"
[[workload]]
watch = { what = "services", prefix = "service-", nodes = 0.5 }
[[workload]]
watch = { what = "partitions", nodes = [1, 3] }
[[workload]]
from_s = 1
to_s = 5
register = { per_node = 3, names = 7, meta_bytes = 20, nodes = 0.5, unique = true, binary = true, again = true, together = true }
[[workload]]
from_s = 5
to_s = 30
update = { per_s = 2, meta_bytes = 12 }
[[workload]]
from_s = 5
to_s = 30
unregister = { per_s = 0.5 }
[[workload]]
from_s = 5
to_s = 30
lookup = { per_s = 3 }
[[workload]]
from_s = 1
to_s = 30
mail = { mailboxes_per_node = 2, send_per_s = 5, call_per_s = 2, close_per_s = 0.5, monitors = 1, ties = 0.5, timeout_ms = 700, size = 30, stale = 0.1, silent = 0.2 }
[[fault]]
at_s = 8
for_s = 20
loss = { rate = 0.8, nodes = 0.1, egress = true }
[[fault]]
at_s = 10
crash = { nodes = [1, 2, 3, 4, 5, 6], restart_after_s = 5 }
[[property]]
always = "no-false-verdict"
pause_s = 3
[[property]]
always = "detected-by-neighbours"
[[property]]
always = "calls-answered-once"
slack_ms = 100
[[property]]
eventually = "mail-accounted"
min = 0.5
within_s = 20
[[property]]
always = "ownership-still"
max = 4
"#;

fn read(text: &str) -> Scenario {
    Scenario::from_toml(text, "test.toml").unwrap_or_else(|error| panic!("{error}"))
}

fn example_in_rust() -> Scenario {
    Scenario::new("partition-heal", 1000)
        .about("Two halves write apart for 30 s; after healing every replica is equal.")
        .bootstrap(1, 5, 10)
        .profile(Profile::Quic)
        .latency_ms(10, 50)
        .loss(0.05)
        .clocks(200, 50)
        .config(|config| config.active_size = 5)
        .workload(10, 70, Workload::map_put("flags", 1000, 40))
        .fault(30, Fault::partition([0.5, 0.5]).lasting(30))
        .eventually(30, Check::converged("flags"))
        .ending_at(100)
}

// --- the two faces

#[test]
fn the_builder_and_the_file_give_the_same_scenario() {
    assert_eq!(read(EXAMPLE), example_in_rust());
}

#[test]
fn a_scenario_that_is_written_reads_as_itself() {
    for scenario in [read(EXAMPLE), read(BUSY), example_in_rust()] {
        assert_eq!(read(&scenario.to_toml()), scenario, "{}", scenario.to_toml());
    }
}

#[test]
fn every_builder_of_a_fault_gives_what_its_word_gives() {
    let faults = [
        ("partition = { split = [0.25, 0.75] }", Fault::partition([0.25, 0.75]).lasting(9)),
        ("partition = { isolate = 0.5 }", Fault::isolate(0.5).lasting(9)),
        ("partition = { one_way = [3] }", Fault::one_way([3]).lasting(9)),
        ("partition = { bridge = 2, every_s = 3, down_s = 1 }", Fault::bridge(2).flapping(3, 1).lasting(9)),
        ("loss = 0.5", Fault::loss(0.5).lasting(9)),
        ("duplicate = 0.5", Fault::duplicate(0.5).lasting(9)),
        ("reorder = { rate = 0.5, nodes = 2 }", Fault::reorder(0.5).on(2).lasting(9)),
        ("latency = { extra_ms = 20 }", Fault::latency(20).lasting(9)),
        ("pause = 0.5", Fault::pause(0.5).lasting(9)),
        ("slow = { nodes = 1, per_input_ms = 2 }", Fault::slow(1, 2).lasting(9)),
        ("clock = { nodes = 1, offset_ms = 5 }", Fault::clock_offset(1, 5).lasting(9)),
        ("clock = { nodes = 1, step_ms = -5 }", Fault::clock_step(1, -5).lasting(9)),
        ("clock = { nodes = 1, freeze = true }", Fault::clock_freeze(1).lasting(9)),
        (
            "churn = { nodes = 0.5, session_s = 2, down_s = 1, distribution = \"pareto\" }",
            Fault::churn(0.5, 2, 1).heavy_tailed().lasting(9),
        ),
    ];
    for (word, fault) in faults {
        let text = format!("name = \"x\"\nnodes = 10\nend_s = 20\n[[fault]]\nat_s = 1\nfor_s = 9\n{word}\n");
        assert_eq!(read(&text), Scenario::new("x", 10).fault(1, fault).ending_at(20), "{word}");
    }
    let faults = [
        ("crash = { nodes = 1, disk = \"lost\", restart_after_s = 2 }", {
            Fault::crash(1).losing_disks().restarting_after(2)
        }),
        ("rolling_restart = { every_s = 1, down_s = 0.5 }", Fault::rolling_restart(1, 0.5)),
        ("mass_failure = 0.5", Fault::mass_failure(0.5)),
        ("join_storm = 3", Fault::join_storm(3)),
    ];
    for (word, fault) in faults {
        let text = format!("name = \"x\"\nnodes = 10\nend_s = 20\n[[fault]]\nat_s = 1\n{word}\n");
        assert_eq!(read(&text), Scenario::new("x", 10).fault(1, fault).ending_at(20), "{word}");
    }
}

#[test]
fn the_papers_configuration_is_one_word_that_other_keys_refine() {
    let text = "name = \"x\"\nnodes = 2\n[config]\nrefill = true\npaper = true\nactive_size = 4\n";
    let expected = Config { refill: true, active_size: 4, ..Config::paper() };
    assert_eq!(read(text).config, expected);
}

#[test]
fn a_change_is_applied_before_the_scenario_is_judged() {
    let sets =
        [("nodes", "50"), ("network.profile", "ideal"), ("network.loss", "0"), ("fault[0].at_s", "20")];
    let scenario = Scenario::from_toml_with(EXAMPLE, "test.toml", &sets).expect("valid");
    assert_eq!((scenario.nodes, scenario.faults[0].at_ns), (50, 20_000_000_000));
    assert_eq!(scenario.network.profile, Profile::Ideal);
    let sets =
        [("clocks.drift_ppm", "7"), ("property[0].within_s", "5"), ("fault[0].partition.split[0]", "0.5")];
    let scenario = Scenario::from_toml_with(EXAMPLE, "test.toml", &sets).expect("valid");
    assert_eq!(scenario.clocks.drift_ppm, 7);
}

// --- bad input

/// Reads a minimal scenario with lines added, and tells the message.
fn error_of(lines: &str) -> String {
    let text = format!("name = \"x\"\nnodes = 10\nend_s = 100\n{lines}\n");
    Scenario::from_toml(&text, "bad.toml").expect_err(lines).to_string()
}

fn error_of_set(key: &str, value: &str) -> String {
    Scenario::from_toml_with(EXAMPLE, "ex.toml", &[(key, value)]).expect_err(key).to_string()
}

#[test]
fn every_bad_input_is_told_where_and_what_would_be_right() {
    let mut seen = String::new();
    for (lines, _) in BAD {
        seen.push_str(&format!("{}\n", error_of(lines)));
    }
    let expected: String = BAD.iter().map(|(_, message)| format!("{message}\n")).collect();
    assert_eq!(seen, expected, "\n{seen}");
}

/// What is added to a scenario of three lines, and the message.
const BAD: &[(&str, &str)] = &[
    (
        "nods = 3",
        "bad.toml:4:1: nods: unknown key; did you mean `nodes`? (one of: name, about, nodes, \
         app, end_s, bootstrap, network, clocks, config, config_of, phase, workload, fault, property)",
    ),
    (
        "[config]\nmembers = true\nmailboxes = true\n[[workload]]\nfrom_s = 0\nto_s = 1\n\
         mail = { mailboxes_per_node = 1, send_per_s = 1, bundle = 1000 }",
        "bad.toml:10:59: workload[0].mail.bundle: makes mails of 66000 bytes; at most config.mail_len_max = 65536",
    ),
    (
        "[config]\nmembers = true\nmailboxes = true\n[[workload]]\nfrom_s = 0\nto_s = 1\n\
         mail = { mailboxes_per_node = 1, send_per_s = 20000, bundle = 1000, size = 16 }",
        "bad.toml:10:63: workload[0].mail.bundle: makes 20000000 messages; at most 10000000",
    ),
    ("about = 3", "bad.toml:4:9: about: expected text in quotes, found 3"),
    ("[network]\nloss = 1.5", "bad.toml:5:8: network.loss: 1.5 is not a share from 0 to 1"),
    ("[network]\nloss = nan", "bad.toml:5:8: network.loss: NaN is not a share from 0 to 1"),
    ("[network]\nloss = -0.1", "bad.toml:5:8: network.loss: -0.1 is not a share from 0 to 1"),
    (
        "[network]\nlatency = { uniform_ms = [50, 10] }",
        "bad.toml:5:26: network.latency.uniform_ms: the first time is longer than the second",
    ),
    (
        "[network]\nlatency = { unifrom_ms = [10, 50] }",
        "bad.toml:5:13: network.latency.unifrom_ms: unknown key; did you mean `uniform_ms`? (one \
         of: constant_ms, uniform_ms, long_tail_ms, regions)",
    ),
    (
        "[network]\nprofile = \"tcp\"",
        "bad.toml:5:11: network.profile: unknown profile \"tcp\"; one of: quic, ideal",
    ),
    (
        "[network]\nprofile = \"ideal\"\nloss = 0.1",
        "bad.toml:6:8: network.loss: profile \"ideal\" loses nothing; write profile = \"quic\" or \
         loss = 0",
    ),
    (
        "[bootstrap]\ncontacts = 11",
        "bad.toml:5:12: bootstrap.contacts: 11 contacts among 10 nodes; at most as many as nodes",
    ),
    (
        "[[config_of]]\nnodes = 1\nconfig = { ring_sise = 4 }",
        "bad.toml:6:12: config_of[0].config.ring_sise: unknown key of the configuration; did you mean \
         `ring_size`?",
    ),
    (
        "[[config_of]]\nnodes = 1\nconfig = { maps = [] }",
        "bad.toml:6:12: config_of[0].config.maps: maps is the same for all nodes; write it under [config]",
    ),
    (
        "[[config_of]]\nnodes = [10]\nconfig = { ring_size = 4 }",
        "bad.toml:5:9: config_of[0].nodes: there is no node 10: they are numbered from 0 to 9",
    ),
    (
        "[[config_of]]\nnodes = 1",
        "bad.toml:4:1: config_of[0].config: changes no key; write config = { ring_size = 32 }, or drop it",
    ),
    (
        "[[config_of]]\nnodes = 1\nconfig = { active_size = 0 }",
        "bad.toml:6:26: config_of[0].config.active_size: must be from 1 to 30",
    ),
    (
        "[[workload]]\nfrom_s = 1\nto_s = 2\nrequest = { lines = \"job\", per_s = 3 }\n[[property]]\n\
         eventually = \"calm\"\nwithin_s = 30",
        "bad.toml:7:1: workload[0].request: requests are for an application; name one: app = \"rooms\"",
    ),
    (
        "app = \"rooms\"\n[[workload]]\nfrom_s = 1\nto_s = 2\nrequest = { lines = [], per_s = 3 }",
        "bad.toml:8:21: workload[0].request.lines: expected some text, found an empty list",
    ),
    (
        "[config]\nactive_sise = 4",
        "bad.toml:5:1: config.active_sise: unknown key of the configuration; did you mean \
         `active_size`?",
    ),
    (
        "[config]\nactive_size = \"four\"",
        "bad.toml:5:1: config.active_size: expected a whole number, found the text \"four\"",
    ),
    ("[config]\nactive_size = 0", "bad.toml:5:15: config.active_size: must be from 1 to 30"),
    (
        "[[fault]]\nat_s = 120\nfor_s = 5\npause = 1",
        "bad.toml:5:8: fault[0].at_s: begins at 120 s, after the end of the run at 100 s; move \
         it, or end_s",
    ),
    (
        "[[fault]]\nat_s = 90\nfor_s = 20\npause = 1",
        "bad.toml:5:8: fault[0].at_s: ends at 110 s, after the end of the run at 100 s; move it, \
         or end_s",
    ),
    ("[[fault]]\nfor_s = 5\npause = 1", "bad.toml:4:1: fault[0].at_s: missing; write at_s = 10"),
    (
        "[[fault]]\nat_s = 1\npause = 1",
        "bad.toml:4:1: fault[0].for_s: pause lasts for a time; write for_s = 10, above 0",
    ),
    (
        "[[fault]]\nat_s = 1\nfor_s = 5\ncrash = { nodes = 1 }",
        "bad.toml:6:9: fault[0].for_s: crash has no for_s: it happens in an instant or has times \
         of its own; drop for_s",
    ),
    (
        "[[fault]]\nat_s = 1\nfor_s = 5\npartitoin = { split = [0.5, 0.5] }",
        "bad.toml:7:1: fault[0].partitoin: unknown key; did you mean `partition`? (one of: id, \
         at_s, for_s, partition, loss, duplicate, reorder, latency, crash, rolling_restart, \
         mass_failure, pause, slow, churn, join_storm, clock)",
    ),
    (
        "[[fault]]\nat_s = 1\nfor_s = 5",
        "bad.toml:4:1: fault[0]: no fault is named; add one of: partition, loss, duplicate, \
         reorder, latency, crash, rolling_restart, mass_failure, pause, slow, churn, join_storm, \
         clock",
    ),
    (
        "[[fault]]\nat_s = 1\nfor_s = 5\npause = 1\nloss = 0.1",
        "bad.toml:8:1: fault[0]: both pause and loss stand here; keep one fault in each table",
    ),
    (
        "[[fault]]\nat_s = 1\nfor_s = 5\npartition = { split = [0.5, 0.6] }",
        "bad.toml:7:23: fault[0].partition.split: the shares add up to 1.1; each must be above 0 \
         and all must make 1",
    ),
    (
        "[[fault]]\nat_s = 1\nfor_s = 5\npartition = { split = [0.5, 0.5], every_s = 2 }",
        "bad.toml:7:1: fault[0].partition.down_s: a flapping partition needs down_s above 0 and \
         every_s above down_s",
    ),
    (
        "[[fault]]\nat_s = 1\nfor_s = 5\npartition = { isolate = 0.1, bridge = 1 }",
        "bad.toml:7:30: fault[0].partition: both isolate and bridge stand here; keep one shape of \
         a partition in each table",
    ),
    (
        "[[fault]]\nat_s = 1\nfor_s = 50\npartition = { isolate = 0.1 }\n[[fault]]\nat_s = 20\nfor_s = 5\npartition = { bridge = 1 }",
        "bad.toml:9:8: fault[1].at_s: contradicts fault[0], a partition from 1 s to 51 s; let one \
         end before the other begins",
    ),
    ("[[fault]]\nat_s = 1\nfor_s = 5\nloss = 7", "bad.toml:7:8: fault[0].loss: 7 is not a share from 0 to 1"),
    (
        "[[fault]]\nat_s = 1\nfor_s = 5\nloss = 0",
        "bad.toml:7:8: fault[0].loss.rate: 0 touches nothing; write more, or drop the fault",
    ),
    (
        "[[fault]]\nat_s = 1\ncrash = { nodes = 11 }",
        "bad.toml:6:19: fault[0].crash.nodes: 11 nodes of 10; write at most 10",
    ),
    (
        "[[fault]]\nat_s = 1\ncrash = { nodes = [10] }",
        "bad.toml:6:19: fault[0].crash.nodes: there is no node 10: they are numbered from 0 to 9",
    ),
    (
        "[[fault]]\nat_s = 1\ncrash = { nodes = 1, disk = \"gone\" }",
        "bad.toml:6:29: fault[0].crash.disk: unknown fate of a disk \"gone\"; one of: kept, lost",
    ),
    (
        "[[fault]]\nat_s = 1\ncrash = { nodes = 1, restart_after = 5 }",
        "bad.toml:6:22: fault[0].crash.restart_after: unknown key; did you mean \
         `restart_after_s`? (one of: nodes, disk, restart_after_s)",
    ),
    (
        "[[fault]]\nat_s = 1\njoin_storm = [0]",
        "bad.toml:6:14: fault[0].join_storm.nodes: the contacts are there from the start: name \
         nodes from 1 up",
    ),
    (
        "[[fault]]\nat_s = 1\nfor_s = 2\nclock = { nodes = 1 }",
        "bad.toml:7:1: fault[0].clock: touches nothing; write offset_ms, step_ms, drift_ppm or freeze",
    ),
    (
        "[[workload]]\nfrom_s = 5\nto_s = 5\nmap_put = { map = \"m\", keys = 1, per_s = 1 }",
        "bad.toml:6:8: workload[0].to_s: ends at 5 s, not after its start at 5 s",
    ),
    (
        "[[workload]]\nfrom_s = 5\nto_s = 9\nmap_put = { map = \"m\", keys = 0, per_s = 1 }",
        "bad.toml:7:31: workload[0].map_put.keys: 0 is not a whole number from 1 to 10000000",
    ),
    (
        "[[workload]]\nfrom_s = 5\nto_s = 9\nbroadcast = { topic = \"t\", per_s = 0 }",
        "bad.toml:7:36: workload[0].broadcast.per_s: makes no operation in its time; write more, \
         or drop the workload",
    ),
    (
        "[[workload]]\nfrom_s = 5\nto_s = 9\nbroadcast = { topic = \"t\", per_s = 1, senders = \"none\" }",
        "bad.toml:7:49: workload[0].broadcast.senders: expected \"random\", \"one\" or a number \
         of nodes, found the text \"none\"",
    ),
    (
        "[[property]]\neventually = \"convrged\"\nmap = \"m\"\nwithin_s = 1",
        "bad.toml:5:14: property[0].eventually: unknown property \"convrged\"; did you mean \
         `converged`?",
    ),
    (
        "[[property]]\neventually = \"converged\"\nwithin_s = 1",
        "bad.toml:4:1: property[0].map: missing; write map = \"a-name\"",
    ),
    (
        "[[property]]\neventually = \"converged\"\nmap = \"m\"\nwithin_s = 1",
        "bad.toml:6:7: property[0].map: no map \"m\": there is none; add a map_put workload or \
         config.maps",
    ),
    (
        "[[property]]\neventually = \"connected\"",
        "bad.toml:4:1: property[0].within_s: missing; write within_s = 10",
    ),
    (
        "[[property]]\nalways = \"connected\"\nwithin_s = 4",
        "bad.toml:6:1: property[0].within_s: unknown key; one of: always, eventually, sometimes",
    ),
    (
        "[[property]]\neventually = \"connected\"\nwithin_s = 200",
        "bad.toml:6:12: property[0].within_s: 200 s after the last fault and workload (0 s) is \
         after the end at 100 s; write less, or a later end_s",
    ),
    (
        "[[property]]\nalways = \"reliability\"",
        "bad.toml:5:10: property[0].always: reliability is about broadcasts, and there is none; \
         add a broadcast workload or a messages phase",
    ),
    (
        "[[property]]\nnever = \"connected\"",
        "bad.toml:5:1: property[0].never: unknown key; one of: always, eventually, sometimes",
    ),
    (
        "[[phase]]\ncycles = 5",
        "bad.toml:4:1: phase[0]: nobody has joined yet; the first phase is join = \"one-by-one\" \
         or join = \"at-once\"",
    ),
    (
        "[[phase]]\njoin = \"one-by-one\"\n[[fault]]\nat_s = 1\ncrash = { nodes = 1 }",
        "bad.toml:6:1: fault[0]: a scenario has phases or times, not both; drop every [[phase]] \
         or this [[fault]]",
    ),
    (
        "[[phase]]\njoin = \"slowly\"",
        "bad.toml:5:8: phase[0].join: unknown way to join \"slowly\"; one of: one-by-one, at-once",
    ),
    ("[[phase]\njoin = \"slowly\"", "bad.toml:4:9: not valid TOML: unclosed array table, expected `]`"),
    ("nodes = 4", "bad.toml:4:1: not valid TOML: duplicate key"),
    ("fault = 3", "bad.toml:4:9: fault: expected tables under [[fault]], found 3"),
    ("network = 3", "bad.toml:4:11: network: expected a table of keys, found 3"),
    (
        "[bootstrap]\njoin_every_ms = 1000000000",
        "bad.toml:5:17: bootstrap.join_every_ms: all joins take 10000000 s; at most 2592000 s",
    ),
    (
        "[[workload]]\nfrom_s = 5\nto_s = 9\nmap_put = { map = \"m\", keys = 1, per_s = 0.1 }",
        "bad.toml:7:42: workload[0].map_put.per_s: makes no operation in its time; write more, or \
         drop the workload",
    ),
    (
        "[[workload]]\nfrom_s = 5\nto_s = 99\nmap_put = { map = \"m\", keys = 1, per_s = 1000000 }",
        "bad.toml:7:42: workload[0].map_put.per_s: makes 94000000 operations; at most 10000000",
    ),
    (
        "[[workload]]\nfrom_s = 5\nto_s = 9\nmap_put = { map = \"m\", keys = 1, per_s = 1, size = 60000 }",
        "bad.toml:7:52: workload[0].map_put.size: 60000 bytes; at most config.value_len_max = 49152",
    ),
    (
        "[[fault]]\nat_s = 1\nfor_s = 90\npartition = { bridge = 1, every_s = 0.001, down_s = 0.0005 }",
        "bad.toml:7:37: fault[0].partition.every_s: makes 90000 cuts; at most 10000",
    ),
    (
        "[[fault]]\nat_s = 1\nmass_failure = 1.0",
        "bad.toml:6:16: fault[0].mass_failure.nodes: kills every node for good; leave at least one",
    ),
    (
        "[[fault]]\nat_s = 1\nmass_failure = 0.0",
        "bad.toml:6:16: fault[0].mass_failure: a share of 0 touches no node; write more, or drop it",
    ),
    (
        "[[fault]]\nid = 0\nat_s = 1\nmass_failure = 0.1\n[[fault]]\nid = 0\nat_s = 2\nmass_failure = 0.1",
        "bad.toml:9:6: fault[1].id: another mass_failure has the same id; drop this one's",
    ),
    (
        "[[fault]]\nat_s = 1\nrolling_restart = { every_s = 20, down_s = 1 }",
        "bad.toml:5:8: fault[0].at_s: ends at 182 s, after the end of the run at 100 s; move it, \
         or end_s",
    ),
    (
        "[[property]]\nalways = \"converged\"\nmap = \"m\"",
        "bad.toml:5:10: property[0].always: converged cannot be asked always; write eventually = \
         \"converged\"",
    ),
    (
        "[[property]]\neventually = \"connected\"\nwithin_s = 1\nmap = \"m\"",
        "bad.toml:7:1: property[0].map: unknown key; one of: always, eventually, sometimes, within_s",
    ),
    (
        "[network]\nuplink_mbps = 1e-12",
        "bad.toml:5:15: network.uplink_mbps: 0.000000000001 is nearer to 0 than to 0.000001, the least above it",
    ),
    (
        "[network]\nlatency = { long_tail_ms = { median = 200, p99 = 20 } }",
        "bad.toml:5:50: network.latency.long_tail_ms.p99: less than the median; half of all latencies are above \
         the median",
    ),
    (
        "[[property]]\neventually = \"connected\"\nwithin_s = 0.4",
        "bad.toml:6:12: property[0].within_s: 0.4 s may pass between two looks, which are 0.5 s apart; write at \
         least that",
    ),
    (
        "[[property]]\nalways = \"rmr\"\nmax = 1\nfrom_s = 100\n[[workload]]\nfrom_s = 1\nto_s = 9\nbroadcast = \
         { topic = \"t\", per_s = 1 }",
        "bad.toml:7:10: property[0].from_s: begins at 100 s, not before the end of the run at 100 s; move it, or end_s",
    ),
    ("end_s = 5", "bad.toml:4:1: not valid TOML: duplicate key"),
    (
        "[clocks]\noffset_ms = -5",
        "bad.toml:5:13: clocks.offset_ms: -5 is not a whole number from 0 to 3162240000000",
    ),
    (
        "[[phase]]\njoin = \"at-once\"\n[[phase]]\ncycles = 1000000\n[[phase]]\ncycles = 1000000",
        "bad.toml:6:1: phase[1]: all phases make 10000010 operations; at most 10000000",
    ),
];

#[test]
fn a_scenario_without_name_or_nodes_says_what_to_write() {
    let error = |text| Scenario::from_toml(text, "bad.toml").expect_err(text).to_string();
    assert_eq!(error("nodes = 3"), "bad.toml: name: missing; write name = \"a-name\"");
    assert_eq!(error("name = \"x\""), "bad.toml: nodes: missing; write nodes = 1");
    assert_eq!(
        error("name = \"x\"\nnodes = 0"),
        "bad.toml:2:9: nodes: 0 is not a whole number from 1 to 1000000"
    );
    assert_eq!(
        error("name = \"x\"\nnods = 3"),
        "bad.toml:2:1: nods: unknown key; did you mean `nodes`? (one of: name, about, nodes, app, end_s, bootstrap, \
         network, clocks, config, config_of, phase, workload, fault, property)"
    );
}

#[test]
fn a_change_of_something_that_a_scenario_has_none_of_says_so() {
    for key in ["phase", "workload", "fault", "property"] {
        let set = (format!("{key}[0].at_s"), "20".to_owned());
        let error = Scenario::from_toml_with("name = \"x\"\nabout = \"y\"\nnodes = 3", "x.toml", &[set]);
        let message = format!("--set {key}[0].at_s=20: this scenario has no {key}; add a [[{key}]] to it");
        assert_eq!(error.expect_err("there is none").to_string(), message);
    }
}

#[test]
fn a_change_that_is_wrong_is_blamed_itself() {
    let expected = [
        (
            "network.los",
            "0.1",
            "--set network.los=0.1: network.los: unknown key; did you mean `loss`? (one of: \
             profile, latency, loss, uplink_mbps, idle_timeout_s, handshake_timeout_s, \
             high_water_bytes, disk_ms)",
        ),
        ("network.loss", "2", "--set network.loss=2: network.loss: 2 is not a share from 0 to 1"),
        (
            "nodes",
            "many",
            "--set nodes=many: nodes: expected a whole number from 1 to 1000000, found the text \
             \"many\"",
        ),
        ("fault[3].at_s", "1", "--set fault[3].at_s=1: there is no fault[3]: the list has 1, counted from 0"),
        (
            "fault[0].at_s",
            "200",
            "--set fault[0].at_s=200: fault[0].at_s: begins at 200 s, after the end of the run at \
             100 s; move it, or end_s",
        ),
        ("fault.at_s", "200", "--set fault.at_s=200: fault is a list, it has no keys"),
        ("nodes.x", "1", "--set nodes.x=1: nodes is 1000, it has no keys"),
        (
            "",
            "1",
            "--set =1: not a path of keys; write KEY=VALUE like nodes=10, network.loss=0.1 or \
             fault[0].at_s=20",
        ),
        (
            "property[0].map",
            "flag",
            "--set property[0].map=flag: property[0].map: no map \"flag\"; did you mean `flags`?",
        ),
        (
            "workloads[0].to_s",
            "1",
            "--set workloads[0].to_s=1: there is no list workloads; did you mean `workload`? (one \
             of: name, about, nodes, end_s, bootstrap, network, clocks, config, workload, fault, \
             property)",
        ),
        ("fault[x].at_s", "1", "--set fault[x].at_s=1: fault[x] is not an element of a list; write fault[0]"),
        (
            "workload[0].map_put.size",
            "nan",
            "--set workload[0].map_put.size=nan: workload[0].map_put.size: expected a whole \
             number from 0 to 1048576, found NaN",
        ),
        (
            "config.maps",
            "[{ name = 3 }]",
            "--set config.maps=[{ name = 3 }]: config.maps: invalid type: integer `3`, expected a \
             string",
        ),
    ];
    let seen: Vec<_> = expected.iter().map(|(key, value, _)| error_of_set(key, value)).collect();
    let expected: Vec<_> = expected.iter().map(|(.., message)| *message).collect();
    assert_eq!(seen, expected, "\n{}", seen.join("\n"));
}

#[test]
fn the_builder_is_judged_by_the_same_rules() {
    let scenario = || Scenario::new("x", 10).ending_at(100);
    let invalid = [
        (scenario().loss(f64::NAN), "scenario \"x\": network.loss: NaN is not a share from 0 to 1"),
        (scenario().loss(-0.1), "scenario \"x\": network.loss: -0.1 is not a share from 0 to 1"),
        (scenario().loss(50.0), "scenario \"x\": network.loss: 50 is not a share from 0 to 1"),
        (
            scenario().fault(-1, Fault::pause(1).lasting(1)),
            "scenario \"x\": fault[0].at_s: -1 is not a time in seconds, from 0 to 2592000",
        ),
        (
            scenario().fault(-0.000_000_001, Fault::pause(1).lasting(1)),
            "scenario \"x\": fault[0].at_s: -0.000000001 is not a time in seconds, from 0 to 2592000",
        ),
        (
            scenario().fault(f64::NAN, Fault::pause(1).lasting(1)),
            "scenario \"x\": fault[0].at_s: NaN is not a time in seconds, from 0 to 2592000",
        ),
        (
            scenario().fault(f64::INFINITY, Fault::pause(1).lasting(1)),
            "scenario \"x\": fault[0].at_s: 9223372036.854776 is not a time in seconds, from 0 to 2592000",
        ),
        (
            scenario().latency_ms(-5, 10),
            "scenario \"x\": network.latency.uniform_ms: -5 is not a time in milliseconds, from 0 to 2592000000",
        ),
        (
            scenario().workload(0, 10, Workload::broadcast("news", -2)),
            "scenario \"x\": workload[0].broadcast.per_s: -2 is not a rate in a second, from 0 to 1000000",
        ),
        (
            scenario().fault(1, Fault::pause(1)),
            "scenario \"x\": fault[0].for_s: pause lasts for a time; write for_s = 10, above 0",
        ),
        (
            scenario().fault(1, Fault::partition([0.5, 0.4]).lasting(1)),
            "scenario \"x\": fault[0].partition.split: the shares add up to 0.9; each must be \
             above 0 and all must make 1",
        ),
        (Scenario::new("x", 0), "scenario \"x\": nodes: 0 is not a whole number from 1 to 1000000"),
        (
            scenario().always(Check::converged("flags")),
            "scenario \"x\": property[0].always: converged cannot be asked always; write \
             eventually = \"converged\"",
        ),
    ];
    let message = |scenario: &Scenario| scenario.validate().expect_err("invalid").to_string();
    let seen: Vec<_> = invalid.iter().map(|(scenario, _)| message(scenario)).collect();
    let expected: Vec<_> = invalid.iter().map(|(_, message)| *message).collect();
    assert_eq!(seen, expected, "\n{}", seen.join("\n"));
}

#[test]
fn thousands_of_faults_and_workloads_get_the_least_free_number_of_their_kind() {
    let fault = "[[fault]]\nat_s = 1\ncrash = { nodes = 1 }\n";
    let workload = "[[workload]]\nfrom_s = 1\nto_s = 9\nmap_put = { map = \"m\", keys = 1, per_s = 1 }\n";
    let given =
        "[[fault]]\nat_s = 1\nid = 3\ncrash = { nodes = 1 }\n[[fault]]\nat_s = 1\nfor_s = 1\npause = 1\n";
    let text = format!(
        "name = \"x\"\nnodes = 9\nend_s = 100\n{}{given}{}",
        fault.repeat(8_000),
        workload.repeat(8_000)
    );
    let scenario = read(&text);
    let ids: Vec<u32> = scenario.faults.iter().map(|fault| fault.id).collect();
    let expected: Vec<u32> = (0..3).chain(4..8_001).chain([3, 0]).collect();
    assert_eq!(ids, expected);
    assert!(scenario.workloads.iter().map(|workload| workload.id).eq(0..8_000));
}

// --- users of services and mailboxes

/// The orders given to a node, each with its time in nanoseconds after bootstrap.
fn orders(schedule: &Schedule, node: u32) -> Vec<(u64, Order)> {
    let order = |step: &Step| match &step.action {
        Action::Command { node: of, command } if *of == node => {
            Some((step.at_ns.saturating_sub(schedule.bootstrap_end_ns), command.clone()))
        }
        _ => None,
    };
    schedule.steps.iter().filter_map(order).collect()
}

#[test]
fn users_in_a_file_read_as_themselves_and_as_the_builder_writes_them() {
    let scenario = read(USERS);
    assert_eq!(read(&scenario.to_toml()), scenario);
    let built = Scenario::new("users", 20)
        .workload(0, 0, Workload::watch(Watched::Services).beginning_with("service-").on(0.5))
        .workload(5, 30, Workload::update(2).sized(12))
        .workload(5, 30, Workload::unregister(0.5))
        .workload(5, 30, Workload::lookup(3))
        .fault(8, Fault::egress_loss(0.1, 0.8).lasting(20));
    for workload in &built.workloads {
        let same = |other: &&Workload| other.kind == workload.kind;
        assert!(scenario.workloads.iter().any(|other| same(&other)), "{workload:?}");
    }
    assert_eq!(built.faults[0], scenario.faults[0]);
}

#[test]
fn a_restarted_node_watches_registers_and_opens_again() {
    let scenario = read(USERS);
    let schedule = schedule(&scenario);
    let is_watch = |order: &Order| matches!(order, Order::Core(Command::Watch { .. }));
    let is_registered = |order: &Order| matches!(order, Order::Core(Command::Register { .. }));
    let is_open = |order: &Order| matches!(order, Order::Mail(MailOrder::Open { .. }));
    let is_back = |at_ns: u64| at_ns == 15_000_000_000;
    let count = |node, is: &dyn Fn(&Order) -> bool| {
        orders(&schedule, node).iter().filter(|(at_ns, order)| is_back(*at_ns) && is(order)).count()
    };
    let offers: Vec<u32> = (1..7).filter(|node| count(*node, &is_registered) == 3).collect();
    assert!(!offers.is_empty(), "half of all nodes offer services");
    for node in 1..7 {
        assert!([0, 3].contains(&count(node, &is_registered)));
        assert_eq!(count(node, &is_open), 2);
        let watches = orders(&schedule, node).iter().filter(|(_, order)| is_watch(order)).count();
        assert_eq!(watches, 2 * count(node, &is_watch), "once at each start");
    }
}

#[test]
fn a_node_registers_one_by_one_or_all_at_once() {
    for (together, at_most) in [("true", 1), ("false", 3)] {
        let text = USERS.replace("together = true", &format!("together = {together}"));
        let scenario = read(&text);
        assert_eq!(scenario.explain().contains(", all of a node at once"), at_most == 1);
        let schedule = schedule(&scenario);
        let is_first = |at_ns: u64| at_ns < 5_000_000_000; // nobody has restarted yet
        let times = |node| {
            let is_registered = |order: &Order| matches!(order, Order::Core(Command::Register { .. }));
            let mut times = orders(&schedule, node);
            times.retain(|(at_ns, order)| is_first(*at_ns) && is_registered(order));
            let instants: BTreeSet<u64> = times.iter().map(|(at_ns, _)| *at_ns).collect();
            (times.len(), instants.len())
        };
        let offering: Vec<(usize, usize)> = (1..7).map(times).filter(|(count, _)| *count > 0).collect();
        assert!(!offering.is_empty(), "half of all nodes offer services");
        assert!(offering.iter().all(|times| *times == (3, at_most)), "{together}: {offering:?}");
    }
}

#[test]
fn updates_and_withdrawals_are_of_what_was_registered_before() {
    let schedule = schedule(&read(USERS));
    let mut registered = Vec::new();
    let (mut updates, mut withdrawals) = (0, 0);
    for step in &schedule.steps {
        let Action::Command { node, command: Order::Core(command) } = &step.action else { continue };
        match command {
            Command::Register { name, instance, is_unique: true, .. } => {
                updates += usize::from(registered.contains(&(*node, name.clone(), *instance)));
                registered.push((*node, name.clone(), *instance));
            }
            Command::Unregister { name, instance } => {
                assert!(registered.contains(&(*node, name.clone(), *instance)));
                withdrawals += 1;
            }
            _ => {}
        }
    }
    assert!(updates >= 50 && withdrawals == 12, "{updates} updates, {withdrawals} withdrawals");
}

#[test]
fn no_two_messages_are_alike_and_silent_questions_say_so() {
    let schedule = schedule(&read(USERS));
    let (mut payloads, mut silent, mut calls) = (Vec::new(), 0, 0);
    for (_, order) in (0..20).flat_map(|node| orders(&schedule, node)) {
        match order {
            Order::Mail(MailOrder::Send { messages, .. }) => payloads.extend(messages),
            Order::Mail(MailOrder::Call { payload, timeout_ms: 700, .. }) => {
                silent += u32::from(payload[0] == 0);
                calls += 1;
                payloads.push(payload);
            }
            _ => {}
        }
    }
    let count = payloads.len();
    payloads.sort();
    payloads.dedup();
    assert_eq!((payloads.len(), calls, count), (count, 58, 145 + 58));
    assert!((4..25).contains(&silent), "{silent} of {calls} questions are never answered");
}

#[test]
fn users_without_their_machine_or_their_workload_are_told_so() {
    let told = |workload: Workload| {
        let scenario = Scenario::new("x", 3).workload(1, 2, workload);
        scenario.validate().expect_err("invalid").to_string()
    };
    assert_eq!(
        told(Workload::watch(Watched::Members)),
        "scenario \"x\": workload[0].watch: config.members is off; write members = true under [config]"
    );
    let services = Scenario::new("x", 3).config(|it| (it.members, it.registry) = (true, true));
    let told = |scenario: Scenario| scenario.validate().expect_err("invalid").to_string();
    assert_eq!(
        told(services.clone().workload(1, 2, Workload::update(1))),
        "scenario \"x\": workload[0].update.of: there is no register workload with id 0; add one, or name \
         another's id"
    );
    assert_eq!(
        told(services.always(Check::ServiceEventsOnce)),
        "scenario \"x\": property[0].always: service-events-once is about news of services; add a workload \
         with watch = \"services\""
    );
}

#[test]
fn some_nodes_have_another_configuration_and_the_later_change_wins() {
    let scenario = Scenario::new("x", 5)
        .config(|it| it.ring_size = 128)
        .config_of([1, 3], |it| (it.ring_size, it.weight) = (32, 2))
        .config_of([3], |it| it.ring_size = 16);
    let schedule = scenario.expand(1);
    let told = (0..5).map(|node| schedule.config_of(node)).map(|it| (it.ring_size, it.weight));
    assert_eq!(told.collect::<Vec<_>>(), [(128, 1), (32, 2), (128, 1), (16, 2), (128, 1)]);
    assert_eq!(Scenario::from_toml(&scenario.to_toml(), "x"), Ok(scenario));
}

#[test]
fn requests_go_to_the_nodes_that_are_meant_each_one_of_the_lines() {
    let scenario =
        Scenario::new("x", 9).app("echo").workload(1, 11, Workload::request(&["one", "two"], 10).on([2, 5]));
    let schedule = scenario.expand(7);
    let asked = schedule.steps.iter().filter_map(|step| match &step.action {
        Action::Command { node, command: Order::Request { line } } => Some((*node, line.to_string())),
        _ => None,
    });
    let asked: Vec<(u32, String)> = asked.collect();
    assert_eq!(asked.len(), 100);
    for (node, line) in [(2, "one"), (2, "two"), (5, "one"), (5, "two")] {
        let count = asked.iter().filter(|it| **it == (node, line.to_owned())).count();
        assert!((10..45).contains(&count), "{line} to {node}: {count} times");
    }
    assert_eq!(Scenario::from_toml(&scenario.to_toml(), "x"), Ok(scenario));
}

#[test]
fn a_scenario_that_names_an_application_is_not_run_without_it() {
    let scenario = Scenario::new("x", 3).app("echo");
    let refused = crate::Run::new(&scenario, crate::Seed::from(1), crate::Options::default()).map(|_| ());
    assert_eq!(
        refused.expect_err("no application").to_string(),
        "scenario \"x\": app: \"echo\" is not known here; run it with Run::with_app"
    );
}

// --- expansion

fn schedule(scenario: &Scenario) -> Schedule {
    scenario.expand(42)
}

#[test]
fn steps_are_ordered_and_none_is_after_the_end() {
    for scenario in [read(EXAMPLE), read(BUSY)] {
        let schedule = schedule(&scenario);
        assert!(schedule.steps.is_sorted_by_key(|step| step.at_ns));
        assert!(schedule.steps.iter().all(|step| step.at_ns <= schedule.end_ns));
    }
}

#[test]
fn one_seed_gives_one_schedule_and_another_seed_another() {
    let scenario = read(BUSY);
    assert_eq!(scenario.expand(42), read(BUSY).expand(42));
    assert_ne!(scenario.expand(42), scenario.expand(43));
}

/// The steps that belong to the `number`-th fault, as if it were the only one.
fn steps_of_fault(schedule: &Schedule, number: u32) -> Vec<Step> {
    let as_only = |step: &Step| {
        let mut step = step.clone();
        let fault = match &mut step.action {
            Action::Crash { fault, .. }
            | Action::Restart { fault, .. }
            | Action::Begin { fault, .. }
            | Action::End { fault } => fault,
            Action::Start { .. } | Action::Command { .. } | Action::Quiesce { .. } => return None,
        };
        let is_its = *fault == number;
        *fault = 0;
        is_its.then_some(step)
    };
    schedule.steps.iter().filter_map(as_only).collect()
}

#[test]
fn dropping_a_fault_changes_no_other() {
    let whole = read(BUSY);
    let before = schedule(&whole);
    for dropped in 0..whole.faults.len() {
        let mut less = whole.clone();
        less.faults.remove(dropped);
        let after = schedule(&less);
        for kept in (0..whole.faults.len()).filter(|kept| *kept != dropped) {
            let now = if kept < dropped { kept } else { kept - 1 };
            assert_eq!(
                steps_of_fault(&before, kept as u32),
                steps_of_fault(&after, now as u32),
                "without fault {dropped} fault {kept} is another"
            );
        }
        if whole.faults[dropped].kind.word() != "join_storm" {
            assert_eq!(
                users_steps(&before, None),
                users_steps(&after, None),
                "fault {dropped} moved the users"
            );
        }
        assert_eq!(before.clocks, after.clocks);
    }
}

/// Starts and commands, but for subscriptions, which follow restarts, and what belongs to one workload.
fn users_steps(schedule: &Schedule, without: Option<&WorkloadKind>) -> Vec<Step> {
    use Command::{Leave, Publish, Put, Remove, Subscribe};
    let belongs = |command: &Order| {
        matches!(
            (without, command),
            (Some(WorkloadKind::Broadcast { .. }), Order::Core(Publish { .. }))
                | (Some(WorkloadKind::MapPut { .. }), Order::Core(Put { .. } | Remove { .. }))
                | (Some(WorkloadKind::Leave { .. }), Order::Core(Leave))
                | (_, Order::Core(Subscribe { .. }))
        )
    };
    let keeps = |step: &&Step| match &step.action {
        Action::Start { .. } => true,
        // Who left joins again: part of that workload, after bootstrap.
        Action::Command { command: Order::Join { .. }, .. } => step.at_ns < schedule.bootstrap_end_ns,
        Action::Command { command, .. } => !belongs(command),
        _ => false,
    };
    schedule.steps.iter().filter(keeps).cloned().collect()
}

#[test]
fn dropping_a_workload_changes_no_other_and_no_fault() {
    let whole = read(BUSY);
    let before = schedule(&whole);
    for dropped in 0..whole.workloads.len() {
        let mut less = whole.clone();
        let workload = less.workloads.remove(dropped);
        // Properties about what is gone would not validate.
        less.properties.truncate(1);
        less.end_ns = Some(whole.end_or_default_ns());
        let after = schedule(&less);
        assert_eq!(users_steps(&before, Some(&workload.kind)), users_steps(&after, Some(&workload.kind)));
        for fault in 0..whole.faults.len() as u32 {
            assert_eq!(steps_of_fault(&before, fault), steps_of_fault(&after, fault));
        }
    }
}

#[test]
fn every_restart_follows_a_crash_of_its_own_fault() {
    let scenario = read(BUSY);
    let schedule = schedule(&scenario);
    let mut down = Vec::new();
    let mut restarts = 0;
    for step in &schedule.steps {
        match &step.action {
            Action::Crash { fault, node, .. } => down.push((*fault, *node)),
            Action::Restart { fault, node, contacts } => {
                assert!(!contacts.is_empty() && !contacts.contains(node));
                if scenario.faults[*fault as usize].kind.word() != "join_storm" {
                    let crash =
                        down.iter().position(|crash| *crash == (*fault, *node)).expect("crashed before");
                    down.swap_remove(crash);
                    restarts += 1;
                }
            }
            _ => {}
        }
    }
    assert!(restarts > 20, "{restarts} restarts are too few to say anything");
}

#[test]
fn every_lasting_fault_begins_and_ends_in_turn() {
    let scenario = read(BUSY);
    let schedule = schedule(&scenario);
    for (number, fault) in scenario.faults.iter().enumerate() {
        let steps = steps_of_fault(&schedule, number as u32);
        let marks: Vec<_> =
            steps.iter().filter(|step| !matches!(step.action, Action::Crash { .. })).collect();
        if fault.kind.lasts() && fault.kind.word() != "churn" {
            assert!(!marks.is_empty() && marks.len() % 2 == 0);
            for pair in marks.chunks(2) {
                assert!(matches!(pair[0].action, Action::Begin { .. }));
                assert!(matches!(pair[1].action, Action::End { .. }));
                assert!(pair[0].at_ns < pair[1].at_ns);
            }
        }
    }
}

#[test]
fn both_sides_of_the_example_write_at_least_500_times_while_they_are_apart() {
    let schedule = schedule(&read(EXAMPLE));
    let mut group = Vec::new();
    let mut writes = [0; 2];
    for step in &schedule.steps {
        match &step.action {
            Action::Begin { effect: FaultEffect::Cut { group: cut, .. }, .. } => group = cut.clone(),
            Action::End { .. } => group.clear(),
            Action::Command { node, command: Order::Core(Command::Put { .. }) } if !group.is_empty() => {
                writes[usize::from(group[*node as usize])] += 1;
            }
            _ => {}
        }
    }
    assert!(writes.iter().all(|writes| *writes >= 500), "{writes:?}");
}

#[test]
fn groups_are_as_large_as_their_shares_and_none_is_empty() {
    let sizes = |nodes: u32, shares: &[f64]| {
        let scenario =
            Scenario::new("x", nodes).fault(1, Fault::partition(shares.iter().copied()).lasting(1));
        let schedule = scenario.expand(7);
        let effect = schedule.steps.iter().find_map(|step| match &step.action {
            Action::Begin { effect: FaultEffect::Cut { group, blocked }, .. } => {
                Some((group.clone(), blocked.len()))
            }
            _ => None,
        });
        let (group, blocked) = effect.expect("a cut");
        assert_eq!(blocked, shares.len() * (shares.len() - 1));
        (0..shares.len())
            .map(|g| group.iter().filter(|of| usize::from(**of) == g).count())
            .collect::<Vec<_>>()
    };
    assert_eq!(sizes(1000, &[0.5, 0.5]), [500, 500]);
    assert_eq!(sizes(10, &[0.6, 0.3, 0.1]), [6, 3, 1]);
    assert_eq!(sizes(10, &[0.98, 0.01, 0.01]), [8, 1, 1]);
    assert_eq!(sizes(2, &[0.5, 0.5]), [1, 1]);
}

#[test]
fn all_nodes_start_once_hear_every_topic_and_join_through_earlier_contacts() {
    let mut scenario = read(BUSY);
    scenario.faults.retain(|fault| fault.kind.word() != "join_storm");
    let schedule = schedule(&scenario);
    for node in 0..scenario.nodes {
        let starts = schedule.steps.iter().filter(|step| step.action == Action::Start { node });
        assert_eq!(starts.count(), 1);
        let first: Vec<_> = schedule.steps.iter().filter(|step| names(&step.action, node)).take(3).collect();
        assert!(matches!(
            first[1].action,
            Action::Command { command: Order::Core(Command::Subscribe { .. }), .. }
        ));
        let contacts: Vec<u32> = (0..node.min(2)).collect();
        assert_eq!(first[2].action, Action::Command { node, command: Order::Join { contacts } });
    }
    assert_eq!(schedule.config.maps.len(), 1, "the workload's map is hosted");
}

fn names(action: &Action, wanted: u32) -> bool {
    matches!(action, Action::Start { node } | Action::Command { node, .. } if *node == wanted)
}

#[test]
fn a_storm_holds_its_nodes_back_and_brings_them_in_one_instant() {
    let schedule = Scenario::new("x", 20).fault(30, Fault::join_storm(15)).ending_at(60).expand(1);
    let storm_ns = schedule.bootstrap_end_ns + 30_000_000_000;
    let starts = schedule.steps.iter().filter(|step| matches!(step.action, Action::Start { .. }));
    assert_eq!(starts.count(), 5);
    let late = schedule.steps.iter().filter(|step| matches!(step.action, Action::Restart { fault: 0, .. }));
    assert_eq!(late.filter(|step| step.at_ns == storm_ns).count(), 15);
}

#[test]
fn churn_brings_every_node_back_by_its_end() {
    let schedule = Scenario::new("x", 50).fault(10, Fault::churn(0.5, 5, 2).lasting(40)).expand(3);
    let end_ns = schedule.bootstrap_end_ns + 50_000_000_000;
    let (mut crashes, mut restarts) = (0, 0);
    for step in &schedule.steps {
        match step.action {
            Action::Crash { .. } => crashes += 1,
            Action::Restart { .. } => {
                restarts += 1;
                assert!(step.at_ns <= end_ns);
            }
            _ => {}
        }
    }
    assert_eq!(crashes, restarts);
    // 25 nodes, 40 s, 7 s a round.
    assert!((90..200).contains(&crashes), "{crashes} crashes");
}

#[test]
fn phases_kill_only_the_living_and_cycle_only_those() {
    let schedule = Scenario::new("x", 100)
        .phase(Phase::Join(Joining::OneByOne))
        .phase(Phase::Cycles(2))
        .phase(Phase::Kill(0.5.into()))
        .phase(Phase::Kill(0.5.into()))
        .phase(Phase::Cycles(1))
        .phase(Phase::messages(10))
        .expand(5);
    let mut dead = Vec::new();
    let (mut cycles, mut messages, mut waits) = (0, 0, 0);
    for step in &schedule.steps {
        match &step.action {
            Action::Crash { node, .. } => {
                assert!(!dead.contains(node), "{node} died twice");
                dead.push(*node);
            }
            Action::Command { node, command: Order::Core(Command::Cycle) } => {
                assert!(!dead.contains(node));
                cycles += 1;
            }
            Action::Command { node, command: Order::Core(Command::Publish { .. }) } => {
                assert!(!dead.contains(node));
                messages += 1;
            }
            Action::Quiesce { .. } => waits += 1,
            _ => {}
        }
    }
    assert_eq!((dead.len(), cycles, messages), (75, 225, 10));
    assert_eq!(waits, 100 + 2 + 1 + 1 + 1 + 10);
}

#[test]
fn clocks_stay_within_what_is_stated() {
    let schedule = Scenario::new("x", 500).clocks(200, 50).expand(9);
    assert_eq!(schedule.clocks.len(), 500);
    assert!(schedule.clocks.iter().all(|clock| clock.offset_ms.abs() <= 200 && clock.drift_ppm.abs() <= 50));
    assert!(schedule.clocks.iter().any(|clock| clock.offset_ms < -150));
    assert!(schedule.clocks.iter().any(|clock| clock.offset_ms > 150));
}

// --- explanation

#[test]
fn an_explanation_tells_times_faults_and_demands() {
    let expected = r#"partition-heal
  Two halves write apart for 30 s; after healing every replica is equal.

1,000 nodes come together through 1 contact, one each 5 ms, and settle for 10 s.
Network: QUIC, 10 ms to 50 ms one way, 5 % of packets lost.
Clocks: off by up to 200 ms, drifting by up to 50 ppm.

After bootstrap
  10 s – 70 s   40 writes a second to 1,000 keys of map "flags", 32 B each
  30 s – 60 s   fault: partition into 50 % | 50 %
  100 s         the end

What must hold
  eventually   converged: all replicas of "flags" are equal; within 30 s of the last fault and
               workload, so by 100 s
"#;
    assert_eq!(read(EXAMPLE).explain(), expected, "\n{}", read(EXAMPLE).explain());
}
