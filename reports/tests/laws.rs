//! What holds for every record, however odd.

mod samples;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use rumormill_reports::text::Style;
use rumormill_reports::*;
use unicode_width::UnicodeWidthStr;

/// Anything that a scenario's author, or a peer, might get into a name: escapes, wide and invisible characters.
fn words() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z-]{0,12}", "[a-z ,.|`]{0,200}", "\\PC{0,40}", any::<String>()]
}

fn finite() -> impl Strategy<Value = Finite> {
    let numbers = prop_oneof![-1e3..1e3, 0.0..1.0, 0.0..1e8, 0.0..1e13, proptest::num::f64::NORMAL];
    numbers.prop_map(|number| Finite::new(number).unwrap())
}

fn quantiles() -> impl Strategy<Value = Quantiles> {
    [finite(), finite(), finite(), finite()].prop_map(|[p50, p90, p99, max]| Quantiles { p50, p90, p99, max })
}

fn spread() -> impl Strategy<Value = Spread> {
    any::<[u64; 3]>().prop_map(|[min, p50, max]| Spread { min, p50, max })
}

fn property() -> impl Strategy<Value = Property> {
    let kinds = prop::sample::select(vec![Kind::Always, Kind::Eventually, Kind::Sometimes]);
    let statuses = prop::sample::select(vec![Status::Held, Status::Failed, Status::Unreached]);
    (words(), kinds, statuses, option::of(finite()), option::of(any::<u32>()), option::of(words())).prop_map(
        |(name, kind, status, at_s, node, detail)| Property { name, kind, status, at_s, node, detail },
    )
}

fn fault() -> impl Strategy<Value = Fault> {
    (words(), finite(), option::of(finite()), btree_map(words(), any::<u64>(), 0..6))
        .prop_map(|(kind, at_s, for_s, receipts)| Fault { kind, at_s, for_s, receipts })
}

fn measure() -> impl Strategy<Value = Measure> {
    (words(), words(), finite(), words(), option::of(words()), any::<bool>()).prop_map(
        |(name, reference, ours, gate, beat, held)| Measure { name, reference, ours, gate, beat, held },
    )
}

fn broadcast() -> impl Strategy<Value = Broadcast> {
    (any::<u64>(), finite(), finite(), any::<u32>(), finite(), option::of(quantiles())).prop_map(
        |(sent, reliability, rmr, ldh_max, ldh_mean, latency_ms)| Broadcast {
            sent,
            reliability,
            rmr,
            ldh_max,
            ldh_mean,
            latency_ms,
        },
    )
}

fn overlay() -> impl Strategy<Value = Overlay> {
    (any::<(bool, u32)>(), [finite(), finite()], [spread(), spread()], option::of(finite())).prop_map(
        |((connected, components), [symmetric_pct, clustering], [active, in_degree], path_length_mean)| {
            Overlay { connected, components, symmetric_pct, active, in_degree, clustering, path_length_mean }
        },
    )
}

fn state() -> impl Strategy<Value = State> {
    (any::<bool>(), option::of(quantiles()), any::<[u64; 3]>()).prop_map(
        |(converged, converge_ms, [sync_bytes, delta_bytes, keys])| State {
            converged,
            converge_ms,
            sync_bytes,
            delta_bytes,
            keys,
        },
    )
}

fn members() -> impl Strategy<Value = Members> {
    ([option::of(quantiles()), option::of(quantiles())], any::<[u64; 4]>()).prop_map(
        |(
            [noticed_by_neighbors_ms, noticed_by_all_ms],
            [verdicts, false_verdicts, suspicions, refutations],
        )| {
            Members {
                noticed_by_neighbors_ms,
                noticed_by_all_ms,
                verdicts,
                false_verdicts,
                suspicions,
                refutations,
            }
        },
    )
}

fn registry() -> impl Strategy<Value = Registry> {
    (any::<u32>(), any::<[u64; 4]>()).prop_map(|(services, [updates, applied, pulls, refused])| Registry {
        services,
        updates,
        applied,
        pulls,
        refused,
    })
}

fn mail() -> impl Strategy<Value = Mail> {
    (any::<[u64; 5]>(), option::of(quantiles())).prop_map(
        |([sent, delivered, lost, refused, expired], answer_ms)| Mail {
            sent,
            delivered,
            lost,
            refused,
            expired,
            answer_ms,
        },
    )
}

fn placement() -> impl Strategy<Value = Placement> {
    any::<[u64; 2]>().prop_map(|[acquired, released]| Placement { acquired, released })
}

fn sent_for() -> impl Strategy<Value = SentFor> {
    (words(), finite(), finite()).prop_map(|(purpose, frames_per_s, bytes_per_s)| SentFor {
        purpose,
        frames_per_s,
        bytes_per_s,
    })
}

/// Boxed, or the strategies of all tests together would not fit on a test's stack.
#[expect(clippy::type_complexity, reason = "the fields of a record, side by side")]
fn machines()
-> BoxedStrategy<(Option<Members>, Option<Registry>, Option<Mail>, Option<Placement>, Vec<SentFor>)> {
    let watched = (option::of(members()), option::of(registry()), option::of(mail()));
    let all = (watched, option::of(placement()), vec(sent_for(), 0..4));
    all.prop_map(|((members, registry, mail), placement, sent_for)| {
        (members, registry, mail, placement, sent_for)
    })
    .boxed()
}

fn traffic() -> impl Strategy<Value = Traffic> {
    (any::<[u64; 2]>(), quantiles()).prop_map(|([messages, bytes], Quantiles { p50, p90: _, p99, max })| {
        Traffic { messages, bytes, per_node_bytes_per_s: Rates { p50, p99, max } }
    })
}

fn series() -> impl Strategy<Value = Series> {
    (words(), words(), finite(), finite(), vec(finite(), 0..300))
        .prop_map(|(name, unit, start_s, step_s, points)| Series { name, unit, start_s, step_s, points })
}

fn cost() -> impl Strategy<Value = Cost> {
    (finite(), finite(), any::<u64>(), option::of(any::<u64>()))
        .prop_map(|(wall_s, cpu_s, events, peak)| Cost::new(wall_s, cpu_s, events, peak))
}

prop_compose! {
    fn record()(
        (scenario, seed, notes) in (words(), words(), vec(words(), 0..3)),
        (nodes, trace_hash, events) in any::<(u32, u64, u64)>(),
        verdict in prop::sample::select(
            vec![Verdict::Pass, Verdict::Vacuous, Verdict::Fail, Verdict::Nondeterministic],
        ),
        (virtual_s, bootstrap_s, cost) in (finite(), finite(), option::of(cost())),
        (properties, faults) in (vec(property(), 0..5), vec(fault(), 0..5)).boxed(),
        (measures, series) in (vec(measure(), 0..3), vec(series(), 0..4)).boxed(),
        (broadcast, overlay) in (option::of(broadcast()), option::of(overlay())).boxed(),
        (state, traffic) in (option::of(state()), option::of(traffic())).boxed(),
        (members, registry, mail, placement, sent_for) in machines(),
        counters in btree_map(words(), any::<u64>(), 0..4),
        // An option and its value are never broken, so these are short.
        reproduce in "rumormill run [a-z/]{1,12}( --(set|seed) ([a-z0-9:=.]{1,20}|'[a-z0-9 =-]{0,18}')){0,8}",
    ) -> Record {
        let trace_hash = TraceHash(trace_hash);
        Record {
            scenario, seed, nodes, verdict, trace_hash, events, virtual_s, bootstrap_s, cost, properties, faults,
            measures, broadcast,
            overlay, state, members, registry, mail, placement, traffic, sent_for, series, counters, notes, reproduce,
        }
    }
}

/// Removes the escapes that choose colours.
fn stripped(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_string();
    parts.fold(first, |plain, part| plain + part.split_once('m').expect("only colours are chosen").1)
}

proptest! {
    #[test]
    fn no_line_is_wider_than_the_terminal(record in record(), width in 40usize..200) {
        for line in text::render(&record, &Style { color: false, width }).lines() {
            prop_assert!(line.width() <= width, "{} columns: {line:?}", line.width());
            prop_assert!(!line.ends_with(' '), "blanks at the end: {line:?}");
            prop_assert!(!line.contains(char::is_control), "a control character: {line:?}");
        }
    }

    #[test]
    fn colors_change_nothing_else(record in record(), width in 40usize..200) {
        let plain = text::render(&record, &Style { color: false, width });
        let colored = text::render(&record, &Style { color: true, width });
        prop_assert_eq!(stripped(&colored), plain);
    }

    #[test]
    fn json_brings_back_the_same_record(record in record()) {
        let json = record.to_json();
        prop_assert_eq!(Record::from_json(&json).unwrap(), record);
        prop_assert!(!json.contains(": null"));
    }

    #[test]
    fn tables_of_markdown_keep_their_columns(record in record()) {
        let page = markdown::render(&record);
        let bars = |line: &str| line.replace("\\\\", "").replace("\\|", "").matches('|').count();
        let mut header = None;
        for line in page.lines() {
            let row = line.starts_with("| ");
            header = row.then(|| header.unwrap_or(bars(line)));
            prop_assert!(header.is_none_or(|header| header == bars(line)), "{line:?}");
        }
    }
}

#[test]
fn what_does_not_apply_is_left_out_and_lists_are_always_there() {
    let json = Record::default().to_json();
    for absent in ["cost", "broadcast", "overlay", "state", "traffic", "null"] {
        assert!(!json.contains(absent), "{absent} is in {json}");
    }
    for present in ["\"properties\": []", "\"faults\": []", "\"measures\": []", "\"series\": []"] {
        assert!(json.contains(present), "{present} is not in {json}");
    }
}

#[test]
fn a_number_that_json_cannot_hold_is_refused() {
    let json = samples::vacuous().to_json().replace("\"virtual_s\": 2.5", "\"virtual_s\": 1e999");
    assert!(Record::from_json(&json).is_err());
}

#[test]
fn without_its_cost_a_record_no_longer_depends_on_the_machine() {
    let slow =
        Record { cost: Some(Cost::new(Finite::from(60), Finite::from(50), 1, None)), ..samples::pass() };
    assert_ne!(slow.to_json(), samples::pass().to_json());
    assert_eq!(slow.without_cost().to_json(), samples::pass().without_cost().to_json());
}

#[test]
fn each_verdict_comes_first() {
    let heads = [
        (samples::pass(), "✓ PASS  first/partition-heal  seed 1:42"),
        (samples::fail(), "✗ FAIL  first/partition-heal  seed 1:42"),
        (samples::vacuous(), "○ VACUOUS  faults/late-loss  seed 1:7"),
        (
            Record { verdict: Verdict::Nondeterministic, ..samples::vacuous() },
            "≠ NONDETERMINISTIC  faults/late-loss",
        ),
    ];
    for (record, head) in heads {
        let summary = text::render(&record, &Style::default());
        assert!(summary.starts_with(head), "{summary}");
    }
}

#[test]
fn the_samples_have_the_verdicts_that_their_parts_ask_for() {
    for record in [samples::pass(), samples::fail(), samples::vacuous()] {
        assert_eq!(Verdict::of(&record.properties, &record.faults, &record.measures), record.verdict);
    }
}

#[test]
fn the_command_that_repeats_a_failure_comes_last() {
    let record = samples::fail();
    let summary = text::render(&record, &Style { color: false, width: 160 });
    let (_, command) = summary.split_once("reproduce").expect("the command has a title");
    assert_eq!(
        command.replace("\\\n", "").split_whitespace().collect::<Vec<_>>().join(" "),
        record.reproduce
    );
}
