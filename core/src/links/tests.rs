//! One fact for each test. The bench shows everything that came out, so the tests prove silence too.

use super::*;
use crate::bench::{Bench, contact, node};
use proptest::prelude::*;

/// Node 5 without links.
fn bench(config: Config) -> Bench<Links> {
    Bench::new(Links::new(Arc::new(config), node(5)))
}

fn reach(number: u8) -> Input {
    let frame = Frame::Probe { nonce: 7 };
    Input::Reach { contact: contact(number), channel: Channel::Control, frame }
}

fn up_in(number: u8, incarnation: u64, dialer: Dialer) -> Input {
    Input::Up { peer: node(number), incarnation: Incarnation(incarnation), version: VERSION, dialer }
}

fn up(number: u8, dialer: Dialer) -> Input {
    up_in(number, 1, dialer)
}

fn down(number: u8, dialer: Dialer) -> Input {
    Input::Down { peer: node(number), dialer, reason: DownReason::Closed }
}

fn given(bench: &mut Bench<Links>, inputs: impl IntoIterator<Item = Input>) {
    inputs.into_iter().for_each(|input| drop(bench.input(input)));
}

const PROBE_2: &str = "n2 Control: Probe { nonce: 7 }";
const DIAL_2: &str = "Dial { contact: n2@1 }";
const UNREACHED_2: &str = "Unreached { peer: n2 }";
const DOWN_2: &str = "Down { peer: n2, is_lost: false }";

use Dialer::{Local, Remote};

// --- dials

#[test]
fn a_frame_for_an_unknown_node_waits_for_a_dial_and_goes_out_when_it_succeeds() {
    let mut bench = bench(Config::default());
    assert_eq!(bench.input(reach(2)), [DIAL_2, "idle"]);
    assert_eq!(bench.input(reach(2)), ["idle"]);
    assert_eq!(bench.input(up(2, Local)), [PROBE_2, PROBE_2, "due at 15000 ms"]);
    assert_eq!(bench.input(reach(2)), [PROBE_2, "due at 15000 ms"]);
}

#[test]
fn frames_beyond_the_queue_are_dropped_and_counted() {
    let mut bench = bench(Config { link_queue_max: 3, ..Config::default() });
    given(&mut bench, [reach(2), reach(2), reach(2), reach(2), reach(2)]);
    assert_eq!(bench.stats.undeliverable, 2);
    assert_eq!(bench.input(up(2, Local)), [PROBE_2, PROBE_2, PROBE_2, "due at 15000 ms"]);
}

#[test]
fn a_failed_dial_is_told_once_and_loses_what_waited() {
    let mut bench = bench(Config::default());
    given(&mut bench, [reach(2), reach(2)]);
    assert_eq!(bench.input(down(2, Local)), [UNREACHED_2, "due at 60000 ms"]);
    assert_eq!((bench.stats.dials_failed, bench.stats.undeliverable), (1, 2));
}

#[test]
fn a_node_is_not_dialled_during_the_back_off_and_is_right_after_it() {
    let mut bench = bench(Config::default());
    given(&mut bench, [reach(2), down(2, Local)]);
    bench.run_to(187); // 250 ms less a quarter, less one
    assert_eq!(bench.input(reach(2)), [UNREACHED_2, "due at 60000 ms"]);
    bench.run_to(313);
    assert_eq!(bench.input(reach(2)), [DIAL_2, "due at 60000 ms"]);
}

/// Fails dials one after another and tells after how many milliseconds each could be tried again.
fn back_offs(bench: &mut Bench<Links>, dials: usize) -> Vec<u64> {
    let back_off = |_| {
        given(bench, [reach(2), down(2, Local)]);
        let retry_at = bench.machine.table[&node(2)].retry_at;
        let delay_ms = retry_at.millis_since(bench.now.mono);
        bench.run_to(retry_at.0 / 1_000_000 + 1);
        delay_ms
    };
    (0..dials).map(back_off).collect()
}

#[test]
fn back_offs_double_up_to_their_bound() {
    let mut bench = bench(Config::default());
    let nominal = [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000];
    for (delay_ms, nominal) in back_offs(&mut bench, 10).into_iter().zip(nominal) {
        assert!((nominal * 3 / 4..=nominal * 5 / 4).contains(&delay_ms), "{delay_ms} is far from {nominal}");
    }
}

#[test]
fn a_connection_resets_the_back_off() {
    let mut bench = bench(Config::default());
    back_offs(&mut bench, 6);
    given(&mut bench, [up(2, Remote), down(2, Remote)]);
    assert!(back_offs(&mut bench, 1)[0] <= 313);
}

#[test]
fn whom_somebody_believes_to_be_there_is_dialled_at_once() {
    let mut bench = bench(Config::default());
    back_offs(&mut bench, 6);
    given(&mut bench, [reach(2), down(2, Local), Input::Forgive { peer: node(2) }]);
    assert_eq!(bench.input(reach(2))[0], DIAL_2);
    given(&mut bench, [down(2, Local)]);
    let delay_ms = bench.machine.table[&node(2)].retry_at.millis_since(bench.now.mono);
    assert!(delay_ms <= 313, "the back-off begins anew, not with {delay_ms} ms");
    assert_eq!(bench.input(Input::Forgive { peer: node(9) })[0], "due at 60000 ms", "nobody is no news");
}

#[test]
fn failures_are_forgotten_after_twice_the_longest_back_off() {
    let mut bench = bench(Config::default());
    given(&mut bench, [reach(2), down(2, Local)]);
    assert_eq!(bench.run_to(59_999), ["due at 60000 ms"]);
    assert_eq!(bench.run_to(60_000), ["idle"]);
    assert!(bench.machine.table.is_empty());
}

#[test]
fn a_link_that_the_peer_made_carries_what_waits_for_our_dial() {
    let mut bench = bench(Config::default());
    given(&mut bench, [reach(2)]);
    assert_eq!(bench.input(up(2, Remote)), [PROBE_2, "due at 15000 ms"]);
}

#[test]
fn a_dial_that_fails_beside_the_peers_connection_is_no_loss() {
    let mut bench = bench(Config::default());
    given(&mut bench, [reach(2), up(2, Remote)]);
    bench.run_to(20_000);
    assert_eq!(bench.input(down(2, Local)), ["due at 15000 ms"]);
    assert_eq!(bench.run_to(20_000), ["Close { peer: n2, dialer: None, reason: Idle }", "idle"]);
}

#[test]
fn a_dial_goes_on_when_the_peers_connection_ends() {
    let mut bench = bench(Config::default());
    given(&mut bench, [reach(2), up(2, Remote)]);
    assert_eq!(bench.input(down(2, Remote)), [DOWN_2, "due at 15000 ms"]);
    assert_eq!(bench.input(reach(2)), ["due at 15000 ms"]);
    assert_eq!(bench.input(up(2, Local)), [PROBE_2, "due at 15000 ms"]);
}

#[test]
fn a_node_never_dials_itself() {
    let mut bench = bench(Config::default());
    assert_eq!(bench.input(reach(5)), ["idle"]);
}

#[test]
fn a_connection_to_ones_own_id_is_closed() {
    let mut bench = bench(Config::default());
    let close = "Close { peer: n5, dialer: Some(Remote), reason: Stale }";
    assert_eq!(bench.input(up(5, Remote)), [close, "idle"]);
}

// --- ends

#[test]
fn a_lost_link_is_told_once() {
    let mut bench = bench(Config::default());
    given(&mut bench, [up(2, Remote)]);
    assert_eq!(bench.input(down(2, Remote)), [DOWN_2, "due at 15000 ms"]);
    assert_eq!(bench.input(down(2, Remote)), ["due at 15000 ms"]);
    assert_eq!(bench.run_to(15_000), ["idle"]);
}

#[test]
fn the_end_of_an_unknown_link_means_nothing() {
    let mut bench = bench(Config::default());
    assert_eq!(bench.input(down(2, Local)), ["idle"]);
}

#[test]
fn a_closed_link_is_silent() {
    let mut bench = bench(Config::default());
    given(&mut bench, [up(2, Remote)]);
    let close = |reason| Input::Close { peer: node(2), reason };
    let closed = "Close { peer: n2, dialer: None, reason: Silent }";
    assert_eq!(bench.input(close(CloseReason::Silent)), [closed, "due at 15000 ms"]);
    assert_eq!(bench.input(close(CloseReason::Silent)), ["due at 15000 ms"]);
}

#[test]
fn closing_everything_ends_links_and_dials() {
    let mut bench = bench(Config::default());
    given(&mut bench, [up(2, Remote), reach(3), reach(4), down(4, Local)]);
    let mut lines = bench.input(Input::CloseAll(CloseReason::Leaving));
    lines.pop();
    lines.sort();
    let closed =
        ["n2", "n3"].map(|peer| std::format!("Close {{ peer: {peer}, dialer: None, reason: Leaving }}"));
    assert_eq!(lines, closed);
    assert!(bench.machine.table.is_empty());
}

// --- idleness

#[test]
fn an_idle_link_is_closed_without_a_word() {
    let mut bench = bench(Config::default());
    given(&mut bench, [up(2, Remote)]);
    let closed = "Close { peer: n2, dialer: None, reason: Idle }";
    assert_eq!(bench.run_to(15_000), [closed, "idle"]);
}

#[test]
fn traffic_either_way_keeps_a_link() {
    let mut bench = bench(Config::default());
    given(&mut bench, [up(2, Remote)]);
    bench.run_to(10_000);
    given(&mut bench, [reach(2)]);
    assert_eq!(bench.run_to(20_000), ["due at 25000 ms"]);
    bench.call(|links, cx| links.heard(&node(2), cx.now.mono));
    assert_eq!(bench.run_to(34_999), ["due at 35000 ms"]);
    assert_eq!(bench.run_to(35_000), ["Close { peer: n2, dialer: None, reason: Idle }", "idle"]);
}

#[test]
fn a_held_link_is_never_idle() {
    let mut bench = bench(Config::default());
    given(&mut bench, [up(2, Remote), Input::Hold { peer: node(2) }]);
    assert_eq!(bench.run_to(1_000_000), ["idle"]);
}

#[test]
fn a_released_link_is_idle_from_then_on() {
    let mut bench = bench(Config::default());
    given(&mut bench, [up(2, Remote), Input::Hold { peer: node(2) }]);
    bench.run_to(100_000);
    assert_eq!(bench.input(Input::Release { peer: node(2) }), ["due at 115000 ms"]);
}

#[test]
fn whoever_holds_what_has_ended_hears_of_its_end() {
    let mut bench = bench(Config::default());
    assert_eq!(bench.input(Input::Hold { peer: node(2) }), [DOWN_2, "idle"]);
    given(&mut bench, [reach(2)]);
    assert_eq!(bench.input(Input::Hold { peer: node(2) }), [DOWN_2, "idle"]);
}

#[test]
fn releasing_a_node_in_back_off_does_not_shorten_it() {
    let mut bench = bench(Config::default());
    given(&mut bench, [reach(2), down(2, Local)]);
    assert_eq!(bench.input(Input::Release { peer: node(2) }), ["due at 60000 ms"]);
}

// --- crossing dials

#[test]
fn of_crossing_dials_the_larger_id_closes_its_own_after_the_linger() {
    let mut bench = bench(Config::default());
    given(&mut bench, [reach(2), up(2, Remote), Input::Hold { peer: node(2) }]);
    assert_eq!(bench.input(up(2, Local)), ["due at 5000 ms"]);
    let closed = "Close { peer: n2, dialer: Some(Local), reason: Crossed }";
    assert_eq!(bench.run_to(5_000), [closed, "due at 20000 ms"]);
    assert!(bench.machine.is_up(&node(2)));
    assert_eq!(bench.run_to(1_000_000), ["idle"]);
}

#[test]
fn of_crossing_dials_the_smaller_id_closes_none() {
    let mut bench = bench(Config::default());
    given(&mut bench, [reach(9), up(9, Remote), Input::Hold { peer: node(9) }, up(9, Local)]);
    assert_eq!(bench.run_to(5_000), ["due at 20000 ms"]);
    assert_eq!(bench.input(down(9, Remote)), ["due at 20000 ms"]);
    assert!(bench.machine.is_up(&node(9)));
    assert_eq!(bench.run_to(1_000_000), ["idle"]);
}

#[test]
fn the_end_of_one_of_two_connections_is_no_loss() {
    let mut bench = bench(Config::default());
    given(&mut bench, [up(2, Remote), up(2, Local), Input::Hold { peer: node(2) }]);
    assert_eq!(bench.input(down(2, Remote)), ["due at 5000 ms"]);
    assert_eq!(bench.input(reach(2)), [PROBE_2, "due at 5000 ms"]);
    assert_eq!(bench.input(down(2, Local)), [DOWN_2, "due at 5000 ms"]);
}

// --- lives and versions

#[test]
fn a_restart_ends_the_older_link_exactly_once() {
    let mut bench = bench(Config::default());
    given(&mut bench, [up(2, Local), Input::Hold { peer: node(2) }]);
    let closed = "Close { peer: n2, dialer: Some(Local), reason: Stale }";
    assert_eq!(bench.input(up_in(2, 2, Remote)), [closed, DOWN_2, "due at 15000 ms"]);
    assert_eq!(bench.input(down(2, Local)), ["due at 15000 ms"]);
    assert!(bench.machine.is_up(&node(2)));
    assert_eq!(bench.run_to(15_000), ["Close { peer: n2, dialer: None, reason: Idle }", "idle"]);
}

#[test]
fn a_connection_of_an_older_life_is_closed() {
    let mut bench = bench(Config::default());
    given(&mut bench, [up_in(2, 2, Remote)]);
    let closed = "Close { peer: n2, dialer: Some(Local), reason: Stale }";
    assert_eq!(bench.input(up_in(2, 1, Local)), [closed, "due at 15000 ms"]);
    assert!(bench.machine.is_up(&node(2)));
}

#[test]
fn a_dial_that_met_an_older_life_is_over() {
    let mut bench = bench(Config::default());
    given(&mut bench, [reach(2), up_in(2, 2, Remote), up_in(2, 1, Local), down(2, Remote)]);
    assert_eq!(bench.input(reach(2)), [DIAL_2, "due at 15000 ms"]);
}

#[test]
fn a_version_without_overlap_is_refused_and_backed_off() {
    let mut bench = bench(Config::default());
    given(&mut bench, [reach(2)]);
    let (peer, incarnation) = (node(2), Incarnation(1));
    let refused = Input::Up { peer, incarnation, version: VERSION + 1, dialer: Local };
    let closed = "Close { peer: n2, dialer: Some(Local), reason: Version }";
    assert_eq!(bench.input(refused), [closed, UNREACHED_2, "due at 60000 ms"]);
    assert!(!bench.machine.is_up(&node(2)));
}

// --- bounds and hostile peers

#[test]
fn a_full_table_gives_up_the_longest_unused_link() {
    let mut bench = bench(Config { links_max: 3, ..Config::default() });
    given(&mut bench, [up(2, Remote), Input::Hold { peer: node(2) }, up(3, Remote)]);
    bench.run_to(10);
    given(&mut bench, [up(4, Remote)]);
    let closed = "Close { peer: n3, dialer: None, reason: TooMany }";
    assert_eq!(bench.input(up(6, Remote)), [closed, "Down { peer: n3, is_lost: false }", "due at 15000 ms"]);
}

#[test]
fn held_links_and_dials_are_given_up_for_nobody() {
    let mut bench = bench(Config { links_max: 2, ..Config::default() });
    given(&mut bench, [up(2, Remote), Input::Hold { peer: node(2) }, reach(3)]);
    let closed = "Close { peer: n4, dialer: Some(Remote), reason: TooMany }";
    assert_eq!(bench.input(up(4, Remote)), [closed, "due at 15000 ms"]);
    assert_eq!(bench.input(reach(4)), ["Unreached { peer: n4 }", "due at 15000 ms"]);
    assert_eq!(bench.stats.links_refused, 1);
}

#[test]
fn too_many_malformed_frames_end_the_link() {
    let mut bench = bench(Config { malformed_max: 2, ..Config::default() });
    given(&mut bench, [up(2, Remote)]);
    let malformed = || Input::Malformed { from: node(2) };
    assert_eq!(bench.input(malformed()), ["due at 15000 ms"]);
    assert_eq!(bench.input(malformed()), ["due at 15000 ms"]);
    let closed = "Close { peer: n2, dialer: None, reason: Malformed }";
    assert_eq!(bench.input(malformed()), [closed, DOWN_2, "due at 15000 ms"]);
    assert_eq!(bench.input(malformed()), ["due at 15000 ms"]);
    assert_eq!(bench.stats.malformed, 4);
}

// --- any sequence

fn arbitrary_input() -> impl Strategy<Value = Input> {
    let number = || 2..10_u8;
    let dialer = || prop_oneof![Just(Local), Just(Remote)];
    prop_oneof![
        4 => number().prop_map(reach),
        4 => (number(), 1..4_u64, dialer()).prop_map(|(number, life, dialer)| up_in(number, life, dialer)),
        1 => (number(), dialer()).prop_map(|(number, dialer)| {
            Input::Up { peer: node(number), incarnation: Incarnation(9), version: 0, dialer }
        }),
        4 => (number(), dialer()).prop_map(|(number, dialer)| down(number, dialer)),
        2 => number().prop_map(|number| Input::Hold { peer: node(number) }),
        2 => number().prop_map(|number| Input::Release { peer: node(number) }),
        1 => number().prop_map(|number| Input::Malformed { from: node(number) }),
        1 => number().prop_map(|number| Input::Forgive { peer: node(number) }),
        1 => number().prop_map(|number| Input::Close { peer: node(number), reason: CloseReason::Silent }),
        1 => Just(Input::CloseAll(CloseReason::Leaving)),
    ]
}

fn arbitrary_steps() -> impl Strategy<Value = Vec<(u64, Input)>> {
    proptest::collection::vec((prop_oneof![Just(0), 0..20_000_u64], arbitrary_input()), 0..80)
}

proptest! {
    #[test]
    fn whatever_happens_links_hold_their_bounds_and_come_to_rest(steps in arbitrary_steps()) {
        let mut bench = bench(Config { links_max: 5, malformed_max: 1, ..Config::default() });
        for (pause_ms, input) in steps {
            let at = bench.now.mono.plus_millis(pause_ms).0 / 1_000_000;
            bench.run_to(at); // panics if the machine never comes to rest
            bench.input(input);
        }
        // Once everybody falls silent, only what is held or dialled for stays.
        let end = bench.now.mono.plus_millis(200_000).0 / 1_000_000;
        bench.run_to(end);
        for link in bench.machine.table.values() {
            prop_assert!(link.is_held || link.is_dialing || link.is_crossed());
        }
    }
}
