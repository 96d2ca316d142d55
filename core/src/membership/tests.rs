//! One fact for each test. The bench shows everything that came out, so the tests prove silence too.

use super::*;
use crate::bench::{Bench, contact, contact_in, node};
use crate::frame::Aged;
use alloc::string::String;
use alloc::vec;
use proptest::prelude::*;
use std::format;

/// Nothing happens by itself, so that a test sees only the deadlines that it is about.
fn calm() -> Config {
    Config {
        shuffle_interval_ms: 0,
        promotion_interval_ms: 0,
        probe_after_ms: 0,
        lost_max: 0,
        refill: false,
        ..Config::default()
    }
}

/// Node 1 outside of any cluster.
fn fresh(config: Config) -> Bench<Membership> {
    Bench::new(Membership::new(Arc::new(config), contact(1)))
}

/// Node 1 with the neighbours 2, 3, … up to `last`.
fn bench(config: Config, last: u8) -> Bench<Membership> {
    let mut bench = fresh(config);
    given(&mut bench, [join(0, &[])]);
    given(&mut bench, (2..=last).map(|number| ask(number, NeighborPriority::High)));
    bench
}

fn given(bench: &mut Bench<Membership>, inputs: impl IntoIterator<Item = Input>) {
    inputs.into_iter().for_each(|input| drop(bench.input(input)));
}

fn join(token: u64, seeds: &[u8]) -> Input {
    Input::Join { token: Token(token), contacts: seeds.iter().map(|seed| contact(*seed)).collect() }
}

fn leave(token: u64) -> Input {
    Input::Leave { token: Token(token) }
}

fn framed(from: u8, frame: Frame) -> Input {
    Input::Frame { from: node(from), frame }
}

fn ask(from: u8, priority: NeighborPriority) -> Input {
    framed(from, Frame::Neighbor { contact: contact(from), priority })
}

fn accepted(from: u8) -> Input {
    framed(from, Frame::NeighborReply(NeighborAnswer::Accepted))
}

fn full(from: u8) -> Input {
    framed(from, Frame::NeighborReply(NeighborAnswer::Full))
}

fn evicted(from: u8) -> Input {
    framed(from, Frame::Disconnect(DisconnectReason::Evicted))
}

fn left(from: u8) -> Input {
    framed(from, Frame::Leave(Incarnation(1)))
}

fn joined(from: u8, accepted: bool, contacts: &[u8]) -> Input {
    let contacts = contacts.iter().map(|number| contact(*number)).collect();
    framed(from, Frame::JoinReply { accepted, contacts })
}

fn told(from: u8, numbers: &[u8], age_ms: u32) -> Input {
    let entries = numbers.iter().map(|number| Aged { contact: contact(*number), age_ms }).collect();
    framed(from, Frame::ShuffleReply { entries })
}

fn walk(from: u8, joiner: u8, ttl: u8) -> Input {
    framed(from, Frame::ForwardJoin { contact: contact(joiner), ttl })
}

fn active(bench: &Bench<Membership>) -> Vec<u8> {
    bench.machine.active().map(|id| id.0[0]).collect()
}

fn passive(bench: &Bench<Membership>) -> Vec<u8> {
    let mut passive: Vec<u8> = bench.machine.passive().map(|id| id.0[0]).collect();
    passive.sort_unstable();
    passive
}

/// The lines without the deadline.
fn said(mut lines: Vec<String>) -> Vec<String> {
    lines.pop();
    lines
}

fn reached(number: u8, frame: &str) -> String {
    format!("Reach {{ contact: n{number}@1, frame: {frame} }}")
}

fn asked(number: u8, priority: &str) -> String {
    reached(number, &format!("Neighbor {{ contact: n1@1, priority: {priority} }}"))
}

fn answered(number: u8, answer: &str) -> String {
    reached(number, &format!("NeighborReply({answer})"))
}

fn is_up(number: u8) -> String {
    format!("NeighborUp {{ peer: n{number} }}")
}

fn is_down(number: u8, loss: &str) -> String {
    format!("NeighborDown {{ peer: n{number}, loss: {loss} }}")
}

fn done(token: u64, result: &str) -> String {
    format!("Done {{ token: Token({token}), result: {result} }}")
}

// --- join

#[test]
fn the_first_node_of_a_cluster_joins_itself() {
    let mut bench = fresh(calm());
    assert_eq!(bench.input(join(7, &[])), [done(7, "Ok(Joined { through: n1 })").as_str(), "idle"]);
    assert!(bench.machine.is_joined());
}

#[test]
fn a_join_is_answered_when_a_seed_takes_the_node_in() {
    let mut bench = fresh(calm());
    assert_eq!(bench.input(join(7, &[2])), [reached(2, "Join(n1@1)").as_str(), "due at 2000 ms"]);
    assert!(!bench.machine.is_joined());
    let up = [is_up(2), done(7, "Ok(Joined { through: n2 })")];
    assert_eq!(said(bench.input(joined(2, true, &[]))), up);
    assert!(bench.machine.is_joined());
    assert_eq!(said(bench.run_to(100_000)), [""; 0]);
}

#[test]
fn a_join_of_a_member_is_answered_at_once_and_asks_the_seeds_that_are_no_neighbors() {
    let mut bench = bench(calm(), 2);
    let answered = done(7, "Ok(Joined { through: n2 })");
    assert_eq!(said(bench.input(join(7, &[2, 3]))), [reached(3, "Join(n1@1)"), answered]);
    assert_eq!(said(bench.input(joined(3, true, &[]))), [is_up(3)], "two islands are one");
}

#[test]
fn a_join_during_a_join_is_refused_and_the_first_goes_on() {
    let mut bench = fresh(calm());
    given(&mut bench, [join(7, &[2])]);
    assert_eq!(said(bench.input(join(8, &[3]))), [done(8, "Err(AlreadyJoining)")]);
    let up = [is_up(2), done(7, "Ok(Joined { through: n2 })")];
    assert_eq!(said(bench.input(joined(2, true, &[]))), up);
}

#[test]
fn a_join_that_nobody_answers_fails_once_and_the_node_keeps_trying() {
    let mut bench = fresh(calm());
    let mut lines = bench.input(join(7, &[2]));
    lines.extend(bench.run_to(100_000));
    let failures = lines.iter().filter(|line| **line == done(7, "Err(Unreachable)")).count();
    assert_eq!(failures, 1);
    let tries = lines.iter().filter(|line| **line == reached(2, "Join(n1@1)")).count();
    assert_eq!(tries, 10);
    assert_eq!(said(bench.input(joined(2, true, &[]))), [is_up(2)]);
}

#[test]
fn pauses_between_rounds_over_the_seeds_grow_to_their_bound() {
    let mut bench = fresh(Config { seed_backoff_ms_max: 8_000, ..calm() });
    bench.input(join(7, &[2]));
    let mut tries = vec![];
    for at in 1..100 {
        let said = said(bench.run_to(at * 1_000));
        tries.extend(said.iter().any(|line| line.starts_with("Reach")).then_some(at));
    }
    let pauses: Vec<u64> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(pauses[..6], [2, 2, 3, 4, 6, 10]);
    assert!(pauses[6..].iter().all(|pause| *pause == 10));
}

#[test]
fn an_unreachable_seed_makes_room_for_the_next_within_a_breath() {
    let mut bench = fresh(calm());
    let first = bench.input(join(7, &[2, 3]));
    let (first, second) = if first[0] == reached(2, "Join(n1@1)") { (2, 3) } else { (3, 2) };
    given(&mut bench, [Input::Unreached { peer: node(first) }]);
    assert_eq!(said(bench.run_to(376)), [reached(second, "Join(n1@1)")]);
}

#[test]
fn a_redirected_joiner_asks_those_it_was_told_of() {
    let mut bench = fresh(Config { refill: true, ..calm() });
    given(&mut bench, [join(7, &[2])]);
    assert_eq!(said(bench.input(joined(2, false, &[3, 4]))), [""; 0]);
    let mut lines = said(bench.run_to(0));
    lines.sort();
    assert_eq!(lines, [asked(3, "High"), asked(4, "High")]);
    let up = [is_up(3), done(7, "Ok(Joined { through: n3 })")];
    assert_eq!(said(bench.input(accepted(3))), up);
}

#[test]
fn an_answer_that_nobody_asked_for_leaves_no_one_sided_edge() {
    let mut bench = bench(calm(), 2);
    assert_eq!(said(bench.input(joined(9, true, &[8]))), ["n9 Control: Disconnect(NotNeighbor)"]);
    assert_eq!(said(bench.input(joined(2, true, &[8]))), [""; 0]);
    assert_eq!((active(&bench), passive(&bench)), (vec![2], vec![]));
}

#[test]
fn a_contact_takes_a_joiner_in_and_sends_it_on_walks() {
    let mut bench = bench(calm(), 3);
    let lines = said(bench.input(framed(4, Frame::Join(contact(4)))));
    let walks = [2, 3].map(|to| format!("n{to} Control: ForwardJoin {{ contact: n4@1, ttl: 6 }}"));
    assert_eq!(lines[..2], walks);
    assert_eq!(lines[2], is_up(4));
    assert!(lines[3].starts_with("Reach { contact: n4@1, frame: JoinReply { accepted: true, contacts: [n"));
    assert_eq!(lines.len(), 4);
}

#[test]
fn a_storm_of_joiners_turns_a_full_view_over_no_more_than_its_rate() {
    let mut bench = bench(Config { joins_per_s_max: 3, ..calm() }, 6);
    let joins: Vec<Input> = (10..60).map(|number| framed(number, Frame::Join(contact(number)))).collect();
    given(&mut bench, joins);
    assert_eq!((bench.stats.evictions, bench.stats.joins_redirected), (3, 47));
    assert_eq!(active(&bench).len(), 5);
    assert_eq!(passive(&bench).len(), 30);
}

#[test]
fn a_neighbour_that_joins_again_and_again_starts_no_flood_of_walks() {
    let mut bench = bench(Config { joins_per_s_max: 3, ..calm() }, 3);
    let join = || framed(2, Frame::Join(contact(2)));
    let lines: Vec<String> = (0..50).flat_map(|_| said(bench.input(join()))).collect();
    assert_eq!(lines.iter().filter(|line| line.contains("ForwardJoin")).count(), 3);
    assert_eq!(lines.iter().filter(|line| line.contains("accepted: true")).count(), 50);
}

#[test]
fn a_contact_named_to_a_joiner_is_no_younger_than_it_is() {
    let mut seed = bench(calm(), 2);
    given(&mut seed, [told(2, &[30], 150_000), told(2, &[31], 150_001)]);
    let lines = seed.input(framed(4, Frame::Join(contact(4))));
    let reply = lines.iter().find(|line| line.contains("JoinReply")).expect("an answer");
    assert!(reply.contains("n30@1") && !reply.contains("n31@1"), "{reply}");
    let mut joiner = fresh(calm());
    given(&mut joiner, [join(7, &[2]), joined(2, true, &[30])]);
    assert!(joiner.machine.passive.iter().all(|entry| entry.age_ms(joiner.now.mono) == 150_000));
}

#[test]
fn whoever_speaks_for_another_is_not_heard() {
    let mut bench = bench(calm(), 2);
    assert_eq!(said(bench.input(framed(3, Frame::Join(contact(4))))), [""; 0]);
    let priority = NeighborPriority::High;
    assert_eq!(said(bench.input(framed(3, Frame::Neighbor { contact: contact(4), priority }))), [""; 0]);
    assert_eq!(bench.stats.misplaced, 2);
}

// --- walks

#[test]
fn a_walk_goes_on_past_the_node_and_leaves_the_joiner_in_one_passive_view() {
    let mut bench = bench(calm(), 4);
    let lines = said(bench.input(walk(2, 9, 3)));
    assert!(lines == ["n3 Control: ForwardJoin { contact: n9@1, ttl: 2 }"] || lines[0].starts_with("n4"));
    assert_eq!((lines.len(), passive(&bench)), (1, vec![9]));
    given(&mut bench, [walk(2, 8, 2)]);
    assert_eq!(passive(&bench), [9]);
}

#[test]
fn a_walk_that_ends_asks_the_joiner() {
    let mut bench = bench(Config { refill: true, ..calm() }, 4);
    assert_eq!(said(bench.input(walk(2, 9, 0))), [asked(9, "Low")]);
    assert_eq!(active(&bench), [2, 3, 4]);
    assert_eq!(said(bench.input(accepted(9))), [is_up(9)]);
}

#[test]
fn a_walk_is_never_longer_than_the_own_configuration() {
    let mut bench = bench(calm(), 3);
    assert_eq!(said(bench.input(walk(2, 9, 255))), ["n3 Control: ForwardJoin { contact: n9@1, ttl: 5 }"]);
}

#[test]
fn a_walk_that_ends_asks_no_neighbour_nor_anybody_twice() {
    let mut bench = bench(Config { refill: true, ..calm() }, 3);
    given(&mut bench, [walk(2, 9, 0)]);
    assert_eq!(said(bench.input(walk(2, 9, 0))), [""; 0]);
    assert_eq!(said(bench.input(walk(2, 3, 0))), [""; 0]);
}

#[test]
fn a_walk_ends_at_a_view_of_one() {
    let mut bench = bench(Config { refill: true, ..calm() }, 2);
    assert_eq!(said(bench.input(walk(5, 9, 3))), [asked(9, "Low")]);
}

#[test]
fn a_storm_of_walks_asks_no_more_than_its_bound() {
    let mut bench = bench(Config { refill: true, ..calm() }, 2);
    let walks: Vec<Input> = (10..100).map(|joiner| walk(2, joiner, 0)).collect();
    given(&mut bench, walks);
    assert_eq!(bench.machine.asked.len(), 10);
    assert_eq!(passive(&bench).len(), 30);
}

#[test]
fn a_walk_of_the_node_itself_ends_unheard() {
    let mut bench = bench(calm(), 3);
    assert_eq!(said(bench.input(walk(2, 1, 0))), [""; 0]);
}

// --- edges

#[test]
fn a_request_takes_a_free_slot() {
    let mut bench = bench(calm(), 2);
    let lines = said(bench.input(ask(3, NeighborPriority::Low)));
    assert_eq!(lines, [is_up(3), answered(3, "Accepted")]);
}

#[test]
fn a_repeated_request_is_accepted_again_without_an_event() {
    let mut bench = bench(calm(), 2);
    assert_eq!(said(bench.input(ask(2, NeighborPriority::Low))), [answered(2, "Accepted")]);
}

#[test]
fn a_neighbours_contact_changes_with_its_life_only() {
    let mut bench = bench(calm(), 2);
    let at = |life, port| Contact::new(node(2), Incarnation(life), &[([127, 0, 0, 1], port).into()]);
    for (told, kept) in
        [(at(1, 9), contact(2)), (at(2, 9), at(2, 9)), (at(1, 8), at(2, 9)), (at(2, 8), at(2, 9))]
    {
        let priority = NeighborPriority::High;
        given(&mut bench, [framed(2, Frame::Neighbor { contact: told, priority })]);
        assert_eq!(bench.machine.active[0].contact, kept);
    }
}

#[test]
fn a_full_view_refuses_a_request_of_low_priority() {
    let mut bench = bench(calm(), 6);
    assert_eq!(said(bench.input(ask(7, NeighborPriority::Low))), [answered(7, "Full")]);
    assert_eq!(active(&bench), [2, 3, 4, 5, 6]);
}

#[test]
fn a_full_view_gives_one_up_for_a_request_of_high_priority() {
    let mut bench = bench(calm(), 6);
    let lines = said(bench.input(ask(7, NeighborPriority::High)));
    let gone = (2..=6).find(|number| !active(&bench).contains(number)).expect("somebody went");
    let disconnect = format!("n{gone} Control: Disconnect(Evicted)");
    assert_eq!(lines, [disconnect, is_down(gone, "Replaced"), is_up(7), answered(7, "Accepted")]);
    assert_eq!(passive(&bench), [gone]);
}

#[test]
fn a_view_of_one_is_never_isolated_by_an_exchange() {
    let mut bench = bench(Config { active_size: 1, refill: true, ..calm() }, 2);
    let lines = said(bench.input(ask(3, NeighborPriority::High)));
    let disconnect = String::from("n2 Control: Disconnect(Evicted)");
    assert_eq!(lines, [disconnect, is_down(2, "Replaced"), is_up(3), answered(3, "Accepted")]);
}

#[test]
fn an_acceptance_that_finds_the_slot_taken_is_let_go() {
    let mut bench = bench(Config { refill: true, ..calm() }, 5);
    given(&mut bench, [told(2, &[9], 0)]);
    bench.run_to(1_000);
    assert_eq!(bench.machine.asked.len(), 1);
    given(&mut bench, [ask(6, NeighborPriority::Low)]);
    assert_eq!(said(bench.input(accepted(9))), ["n9 Control: Disconnect(NotNeighbor)"]);
}

#[test]
fn an_acceptance_after_its_time_is_let_go() {
    let mut bench = bench(calm(), 2);
    assert_eq!(said(bench.input(accepted(9))), ["n9 Control: Disconnect(NotNeighbor)"]);
    assert_eq!(said(bench.input(accepted(2))), [""; 0]);
}

#[test]
fn a_neighbour_that_gives_the_node_up_is_remembered_and_left_alone_for_a_while() {
    let mut bench = bench(Config { refill: true, ..calm() }, 3);
    assert_eq!(said(bench.input(evicted(2))), [is_down(2, "Replaced")]);
    assert_eq!(passive(&bench), [2]);
    assert_eq!(said(bench.run_to(999)), [""; 0]);
    assert_eq!(said(bench.run_to(20_000))[0], asked(2, "Low"));
}

#[test]
fn the_end_of_an_edge_that_is_not_there_means_nothing() {
    let mut bench = bench(calm(), 2);
    assert_eq!(said(bench.input(evicted(9))), [""; 0]);
    assert_eq!(passive(&bench), []);
}

#[test]
fn the_last_neighbours_loss_is_told_as_isolation() {
    let mut bench = bench(calm(), 3);
    let lost = |number| Input::LinkDown { peer: node(number) };
    assert_eq!(said(bench.input(lost(2))), [is_down(2, "LinkLost")]);
    assert_eq!(said(bench.input(lost(3))), [is_down(3, "LinkLost"), String::from("Isolated")]);
    assert_eq!(said(bench.input(lost(3))), [""; 0]);
}

// --- leave

#[test]
fn a_leave_is_told_to_every_neighbour_and_answered() {
    let mut bench = bench(Config { refill: true, ..calm() }, 3);
    let lines = bench.input(leave(7));
    let told = [2, 3].map(|number| format!("n{number} Control: Leave(Incarnation(1))"));
    assert_eq!(lines[..2], told);
    let ends = [is_down(2, "WeLeft"), is_down(3, "WeLeft"), String::from("Left"), done(7, "Ok(Ok)")];
    assert_eq!(lines[2..6], ends);
    assert_eq!(lines[6..], ["idle"]);
    assert!(bench.machine.has_left() && !bench.machine.is_joined());
}

#[test]
fn a_leave_during_a_join_answers_both() {
    let mut bench = fresh(calm());
    given(&mut bench, [join(7, &[2])]);
    let ends = [done(7, "Err(Left)"), String::from("Left"), done(8, "Ok(Ok)"), String::from("idle")];
    assert_eq!(bench.input(leave(8)), ends);
    let let_go = "n2 Control: Disconnect(NotNeighbor)";
    assert_eq!(bench.input(joined(2, true, &[3])), [let_go, "idle"]);
}

#[test]
fn a_node_that_left_tells_so_to_whoever_asks() {
    let mut bench = bench(calm(), 2);
    given(&mut bench, [leave(7)]);
    let says = [reached(3, "Leave(Incarnation(1))"), String::from("idle")];
    assert_eq!(bench.input(ask(3, NeighborPriority::High)), says);
    assert_eq!(bench.input(framed(3, Frame::Join(contact(3)))), says);
    assert_eq!(bench.input(walk(3, 4, 0)), ["idle"]);
    assert_eq!(bench.input(told(3, &[4], 0)), ["idle"]);
    assert_eq!((active(&bench), passive(&bench)), (vec![], vec![]));
}

#[test]
fn a_node_that_joins_after_it_left_is_in_a_later_life() {
    let mut bench = bench(calm(), 2);
    given(&mut bench, [leave(7), Input::NewLife { incarnation: Incarnation(2) }]);
    assert_eq!(said(bench.input(join(8, &[3]))), [reached(3, "Join(n1@2)")]);
}

#[test]
fn a_node_that_left_stays_out_whoever_tells_of_it() {
    let mut bench = bench(Config { refill: true, ..calm() }, 3);
    assert_eq!(said(bench.input(left(2))), [is_down(2, "Left")]);
    for input in [told(3, &[2], 0), walk(3, 2, 0), walk(3, 2, 3)] {
        assert_eq!(said(bench.input(input)), [""; 0]);
    }
    assert_eq!((active(&bench), passive(&bench)), (vec![3], vec![]));
    assert_eq!(said(bench.run_to(60_000)), [""; 0]);
}

#[test]
fn a_request_from_before_a_leave_is_refused_and_nobody_else_is_declared_gone() {
    let mut bench = bench(calm(), 2);
    given(&mut bench, [left(9)]);
    assert_eq!(said(bench.input(ask(9, NeighborPriority::High))), [answered(9, "Full")]);
}

#[test]
fn a_node_that_left_is_taken_back_in_a_later_life() {
    let mut bench = bench(Config { refill: true, ..calm() }, 3);
    given(&mut bench, [left(2)]);
    let frame = Frame::ForwardJoin { contact: contact_in(2, 2), ttl: 0 };
    let later = "Reach { contact: n2@2, frame: Neighbor { contact: n1@1, priority: Low } }";
    assert_eq!(said(bench.input(framed(3, frame))), [later]);
    assert_eq!(said(bench.input(accepted(2))), [is_up(2)]);
}

#[test]
fn a_leave_that_the_next_join_has_overtaken_changes_nothing() {
    let mut bench = bench(calm(), 3);
    given(&mut bench, [framed(2, Frame::Join(contact_in(2, 2)))]);
    assert_eq!(said(bench.input(left(2))), [""; 0]);
    assert_eq!(active(&bench), [2, 3]);
}

#[test]
fn departed_nodes_are_remembered_up_to_their_bound() {
    let mut bench = bench(Config { departed_max: 3, ..calm() }, 2);
    given(&mut bench, (10..15).map(left));
    let departed: Vec<u8> = bench.machine.departed.iter().map(|(id, _)| id.0[0]).collect();
    assert_eq!(departed, [12, 13, 14]);
}

// --- free slots

/// Node 1 with the neighbours 2 and 3 and a passive view of 10, 11, … up to `last`, about to fill its slots.
fn filling(config: Config, last: u8) -> Bench<Membership> {
    let mut bench = bench(Config { refill: true, ..config }, 3);
    let known: Vec<u8> = (10..=last).collect();
    given(&mut bench, [told(2, &known, 0), Input::LinkDown { peer: node(3) }]);
    bench
}

fn requests(lines: &[String]) -> usize {
    lines.iter().filter(|line| line.contains("Neighbor {")).count()
}

#[test]
fn a_free_slot_is_filled_at_once() {
    let mut bench = filling(calm(), 30);
    let lines = said(bench.run_to(0));
    assert_eq!((requests(&lines), lines.len()), (4, 4));
}

#[test]
fn a_node_that_others_came_in_through_fills_its_slots_too() {
    let mut bench = bench(Config { refill: true, ..calm() }, 2);
    given(&mut bench, [told(2, &[10, 11, 12, 13, 14], 0)]);
    assert_eq!(requests(&bench.run_to(375)), 4);
}

#[test]
fn a_refused_request_is_followed_by_the_next() {
    let mut bench = filling(calm(), 30);
    let lines = said(bench.run_to(0));
    let number: u8 = lines[0][18..20].parse().expect("a number");
    assert_eq!(requests(&bench.input(full(number))), 1);
    assert!(passive(&bench).contains(&number), "it lives");
}

#[test]
fn a_request_without_answer_is_followed_by_the_next_and_its_contact_is_dropped() {
    let mut bench = filling(calm(), 30);
    bench.run_to(0);
    assert_eq!(passive(&bench).len(), 21);
    assert_eq!(requests(&bench.run_to(2_000)), 4);
    assert_eq!(passive(&bench).len(), 17);
}

#[test]
fn a_node_without_neighbours_gives_nobody_up() {
    let mut bench = filling(calm(), 20);
    given(&mut bench, [Input::LinkDown { peer: node(2) }]);
    let lines = bench.run_to(100_000);
    assert_eq!(passive(&bench).len(), 11);
    assert!((50..=250).contains(&requests(&lines)), "{} requests in 100 s", requests(&lines));
}

#[test]
fn a_node_with_free_slots_never_stops_asking_and_never_spins() {
    let mut bench = filling(calm(), 30);
    let mut total = 0;
    for second in 1..=1_000 {
        total += requests(&bench.run_to(second * 1_000));
        while let Some(asked) = bench.machine.asked.first() {
            let number = asked.contact.id().0[0];
            total += requests(&bench.input(full(number)));
        }
    }
    assert!((500..=4_000).contains(&total), "{total} requests in 1000 s");
}

#[test]
fn paper_mode_fills_slots_in_cycles_only() {
    let mut bench = bench(Config::paper(), 3);
    given(&mut bench, [told(2, &[10, 11, 12, 13, 14, 15, 16], 0), Input::LinkDown { peer: node(3) }]);
    assert_eq!(requests(&bench.run_to(100_000)), 0);
    assert_eq!(requests(&bench.input(Input::Cycle)), 4);
    assert_eq!(requests(&bench.run_to(200_000)), 0);
}

// --- signs of life

fn probing() -> Config {
    Config { probe_after_ms: 1_500, silent_after_ms: 4_000, ..calm() }
}

#[test]
fn a_silent_neighbour_is_probed_once_and_then_given_up() {
    let mut bench = bench(probing(), 2);
    assert_eq!(bench.run_to(1_499), ["due at 1500 ms"]);
    assert_eq!(bench.run_to(1_500), ["n2 Control: Probe { nonce: 1 }", "due at 4000 ms"]);
    assert_eq!(bench.run_to(3_999), ["due at 4000 ms"]);
    let closed = String::from("Close { peer: n2, reason: Silent }");
    let ends = [is_down(2, "Silent"), String::from("Isolated"), closed];
    assert_eq!(said(bench.run_to(4_000)), ends);
}

#[test]
fn an_answer_saves_a_neighbour_and_puts_the_next_probe_off() {
    let mut bench = bench(probing(), 2);
    bench.run_to(1_600);
    bench.call(|membership, cx| assert!(membership.heard(&node(2), cx.now.mono)));
    assert_eq!(bench.run_to(3_099), ["due at 3100 ms"]);
    assert_eq!(bench.run_to(3_100), ["n2 Control: Probe { nonce: 2 }", "due at 5600 ms"]);
}

#[test]
fn a_neighbour_that_talks_is_never_probed() {
    let mut bench = bench(probing(), 2);
    for at in 1..100 {
        assert_eq!(said(bench.run_to(at * 1_000)), [""; 0]);
        bench.call(|membership, cx| membership.heard(&node(2), cx.now.mono));
    }
}

#[test]
fn a_node_that_was_paused_itself_probes_before_it_gives_anybody_up() {
    let mut bench = bench(probing(), 2);
    bench.run_to(1_500);
    bench.set_time(Instant::from_millis(60_000));
    bench.call(Machine::handle_timeout);
    assert_eq!(bench.shown(), ["n2 Control: Probe { nonce: 2 }", "due at 62500 ms"]);
}

#[test]
fn a_probe_is_answered_to_a_neighbour_and_refused_to_others() {
    let mut bench = bench(calm(), 2);
    let probe = |from| framed(from, Frame::Probe { nonce: 7 });
    assert_eq!(said(bench.input(probe(2))), ["n2 Control: ProbeAck { nonce: 7 }"]);
    assert_eq!(said(bench.input(probe(3))), ["n3 Control: Disconnect(NotNeighbor)"]);
}

/// Members run, and ask neighbours themselves.
fn among_members() -> Config {
    Config { members: true, ..probing() }
}

#[test]
fn where_members_run_only_those_are_probed_whom_they_leave_out() {
    let mut bench = bench(among_members(), 2);
    assert_eq!(bench.run_to(7_499), ["due at 7500 ms"]);
    assert_eq!(said(bench.run_to(7_500)), ["n2 Control: Probe { nonce: 1 }"]);
}

#[test]
fn a_neighbour_that_members_have_asked_is_given_up_like_one_that_was_probed() {
    for is_heard in [false, true] {
        let mut bench = bench(among_members(), 2);
        bench.run_to(1_000);
        assert_eq!(
            bench.input(Input::Asked { peer: node(2) }),
            ["due at 3500 ms"],
            "members doubt it themselves"
        );
        bench.input(Input::Asked { peer: node(9) });
        bench.run_to(1_100);
        bench.input(Input::Asked { peer: node(2) }); // its time counts from the first question
        if is_heard {
            bench.call(|membership, cx| assert!(membership.heard(&node(2), cx.now.mono)));
            assert_eq!(bench.run_to(8_599), ["due at 8600 ms"], "somebody is woken by a wait that is over");
        } else {
            assert_eq!(said(bench.run_to(3_500))[0], is_down(2, "Silent"));
        }
    }
}

#[test]
fn a_neighbour_that_is_taken_for_dead_is_given_up_at_once() {
    let mut bench = bench(among_members(), 3);
    bench.run_to(1_699);
    assert_eq!(said(bench.input(Input::Dead { peer: node(2) })), [""; 0], "it was heard after all");
    bench.run_to(1_700);
    let closed = String::from("Close { peer: n2, reason: Silent }");
    assert_eq!(said(bench.input(Input::Dead { peer: node(2) })), [is_down(2, "Silent"), closed]);
    assert_eq!(said(bench.input(Input::Dead { peer: node(9) })), [""; 0]);
}

#[test]
fn who_takes_this_node_for_its_neighbour_hears_that_it_is_none() {
    let mut bench = bench(among_members(), 2);
    let lines = said(bench.input(Input::Strange { peer: node(9) }));
    assert_eq!(lines, ["n9 Control: Disconnect(NotNeighbor)"]);
    bench.input(apart(8));
    assert_eq!(said(bench.input(Input::Strange { peer: node(8) })), [""; 0], "its answer is on the way");
}

#[test]
fn a_join_whose_answer_was_overtaken_is_not_taken_back() {
    let mut bench = fresh(among_members());
    bench.input(join(0, &[8]));
    assert_eq!(said(bench.input(Input::Strange { peer: node(8) })), [""; 0]);
}

#[test]
fn a_full_view_of_corpses_is_probed_before_a_request_is_refused() {
    let mut bench = bench(probing(), 6);
    bench.set_time(Instant::from_millis(1_501));
    let probes =
        [2, 3, 4, 5, 6].map(|number| format!("n{number} Control: Probe {{ nonce: {} }}", number - 1));
    assert_eq!(said(bench.input(ask(7, NeighborPriority::Low))), probes);
    for number in [2, 3, 5, 6] {
        bench.call(|membership, cx| membership.heard(&node(number), cx.now.mono));
    }
    let lines = said(bench.run_to(2_002));
    let closed = String::from("Close { peer: n4, reason: Silent }");
    assert_eq!(lines, [is_down(4, "Silent"), closed, is_up(7), answered(7, "Accepted")]);
}

#[test]
fn a_full_view_of_the_living_refuses_after_the_probe() {
    let mut bench = bench(probing(), 6);
    bench.set_time(Instant::from_millis(1_501));
    given(&mut bench, [ask(7, NeighborPriority::Low)]);
    for number in 2..=6 {
        bench.call(|membership, cx| membership.heard(&node(number), cx.now.mono));
    }
    assert_eq!(said(bench.run_to(2_002)), [answered(7, "Full")]);
}

#[test]
fn requests_beyond_those_that_may_wait_are_refused_at_once() {
    let mut bench = bench(probing(), 6);
    bench.set_time(Instant::from_millis(1_501));
    given(&mut bench, (10..14).map(|number| ask(number, NeighborPriority::Low)));
    assert_eq!(said(bench.input(ask(14, NeighborPriority::Low))), [answered(14, "Full")]);
}

#[test]
fn a_request_of_a_node_that_goes_waits_no_more() {
    for gone in [left(7), Input::LinkDown { peer: node(7) }] {
        let mut bench = bench(probing(), 6);
        bench.set_time(Instant::from_millis(1_501));
        given(&mut bench, [ask(7, NeighborPriority::Low), gone]);
        assert_eq!(said(bench.run_to(3_000)), [""; 0]);
    }
}

// --- reunions

fn losing() -> Config {
    Config { lost_max: 8, refill: true, ..calm() }
}

#[test]
fn a_lost_neighbour_is_asked_again_and_again_however_long_it_takes() {
    let mut bench = bench(losing(), 3);
    given(&mut bench, [Input::LinkDown { peer: node(3) }]);
    let mut tries = 0;
    for hour in 1..=3 {
        tries = requests(&bench.run_to(hour * 3_600_000));
    }
    assert!((80..=130).contains(&tries), "{tries} tries in the third hour");
    bench.run_to(10_900_000);
    given(&mut bench, [ask(3, NeighborPriority::Low)]);
    assert_eq!((active(&bench), bench.machine.lost.len()), (vec![2, 3], 0));
}

#[test]
fn the_first_of_the_lost_that_is_tried_insists_and_the_others_do_not() {
    let mut bench = bench(losing(), 6);
    given(&mut bench, [3, 4, 5].map(|number| Input::LinkDown { peer: node(number) }));
    let lines = bench.run_to(3_001);
    let with = |priority: &str| lines.iter().filter(|line| line.contains(priority)).count();
    assert_eq!((with("High"), with("Low")), (1, 2));
}

#[test]
fn a_failed_reunion_lets_the_next_one_insist() {
    let mut bench = bench(losing(), 3);
    given(&mut bench, [Input::LinkDown { peer: node(3) }]);
    assert_eq!(said(bench.run_to(3_001)), [asked(3, "High")]);
    given(&mut bench, [Input::Unreached { peer: node(3) }]);
    assert_eq!(bench.run_to(12_000)[0], asked(3, "High"));
}

#[test]
fn a_lost_neighbour_that_is_full_is_no_longer_lost() {
    let mut bench = bench(losing(), 3);
    given(&mut bench, [Input::LinkDown { peer: node(3) }]);
    bench.run_to(3_001);
    given(&mut bench, [full(3)]);
    assert_eq!((passive(&bench), bench.machine.lost.len()), (vec![3], 0));
}

#[test]
fn a_neighbour_that_left_is_not_lost() {
    let mut bench = bench(losing(), 3);
    given(&mut bench, [left(3), Input::LinkDown { peer: node(3) }]);
    assert_eq!(said(bench.run_to(600_000)), [""; 0]);
}

#[test]
fn lost_neighbours_are_remembered_up_to_their_bound() {
    let mut bench = bench(Config { lost_max: 2, ..losing() }, 6);
    given(&mut bench, [2, 3, 4].map(|number| Input::LinkDown { peer: node(number) }));
    assert_eq!(bench.machine.lost.len(), 2);
    assert!(!bench.machine.lost.contains(&node(2)));
}

// --- shuffles and the passive view

#[test]
fn entries_beyond_the_greatest_age_are_forgotten() {
    let config = Config { shuffle_interval_ms: 1_000, passive_age_ms_max: 10_000, ..calm() };
    let mut bench = bench(config, 2);
    given(&mut bench, [told(2, &[10], 0), told(2, &[11], 8_000), told(2, &[12], 11_000)]);
    assert_eq!(passive(&bench), [10, 11]);
    bench.run_to(4_000);
    assert_eq!(passive(&bench), [10]);
    bench.run_to(14_000);
    assert_eq!(passive(&bench), []);
}

#[test]
fn an_older_word_of_a_contact_makes_it_no_older_and_a_younger_one_makes_it_younger() {
    let mut bench = bench(calm(), 2);
    given(&mut bench, [told(2, &[10], 5_000), told(2, &[10], 9_000)]);
    let age_ms =
        |bench: &Bench<Membership>| bench.machine.passive.iter().next().map(|it| it.age_ms(bench.now.mono));
    assert_eq!(age_ms(&bench), Some(5_000));
    given(&mut bench, [told(2, &[10], 1_000)]);
    assert_eq!(age_ms(&bench), Some(1_000));
}

#[test]
fn the_passive_view_keeps_its_bound_and_never_holds_a_neighbour_or_the_node_itself() {
    let mut bench = bench(calm(), 4);
    let everybody: Vec<u8> = (1..=100).collect();
    given(&mut bench, everybody.chunks(30).map(|numbers| told(2, numbers, 0)));
    assert_eq!(passive(&bench).len(), 30);
    assert!(passive(&bench).iter().all(|number| *number > 4));
}

#[test]
fn a_shuffle_walks_on_and_is_answered_where_it_ends() {
    let mut bench = bench(calm(), 3);
    given(&mut bench, [told(2, &[20], 3)]);
    let entries = || vec![Aged { contact: contact(10), age_ms: 2 }];
    let shuffle = |ttl| framed(2, Frame::Shuffle { origin: contact(9), ttl, entries: entries() });
    let on = "n3 Control: Shuffle { origin: n9@1, ttl: 1, entries: [Aged { contact: n10@1, age_ms: 2 }] }";
    assert_eq!(said(bench.input(shuffle(2))), [on]);
    let answer = "ShuffleReply { entries: [Aged { contact: n20@1, age_ms: 3 }] }";
    assert_eq!(said(bench.input(shuffle(1))), [reached(9, answer)]);
    assert_eq!(passive(&bench), [10, 20]);
}

#[test]
fn a_shuffle_walks_no_longer_than_the_own_configuration_and_ends_where_nobody_is() {
    let shuffle = |ttl| framed(5, Frame::Shuffle { origin: contact(9), ttl, entries: vec![] });
    let mut many = bench(calm(), 3);
    let on = said(many.input(shuffle(255)));
    assert!(
        on.len() == 1 && on[0].ends_with("Control: Shuffle { origin: n9@1, ttl: 5, entries: [] }"),
        "{on:?}"
    );
    let mut few = bench(calm(), 2);
    assert_eq!(said(few.input(shuffle(6))), [reached(9, "ShuffleReply { entries: [] }")]);
}

#[test]
fn an_answer_to_a_shuffle_is_no_longer_than_the_shuffle() {
    let mut bench = bench(calm(), 2);
    given(&mut bench, [told(2, &[20, 21, 22], 0)]);
    let entries = vec![Aged { contact: contact(10), age_ms: 0 }];
    let lines = said(bench.input(framed(2, Frame::Shuffle { origin: contact(9), ttl: 1, entries })));
    assert_eq!((lines.len(), lines[0].matches("Aged").count()), (1, 1), "{lines:?}");
}

#[test]
fn what_was_told_in_a_shuffle_makes_room_for_the_answer() {
    let config = Config { shuffle_interval_ms: 1_000, passive_size: 8, shuffle_passive: 4, ..calm() };
    let mut bench = bench(config, 2);
    given(&mut bench, [told(2, &[20, 21, 22, 23, 24, 25, 26, 27], 0)]);
    drop(bench.run_to(1_500));
    let sent: Vec<u8> = bench.machine.shuffle.told.iter().map(|id| id.0[0]).collect();
    assert_eq!(sent.len(), 4, "of the passive view: {sent:?}");
    given(&mut bench, [told(2, &[30, 31, 32, 33], 0)]);
    let stays = (20..=27).filter(|number| !sent.contains(number));
    assert_eq!(passive(&bench), stays.chain([30, 31, 32, 33]).collect::<Vec<_>>());
}

/// Seconds at which the node begins a shuffle, of the next `seconds`.
fn shuffles(bench: &mut Bench<Membership>, seconds: u64) -> Vec<u64> {
    let begin = bench.now.mono.0 / 1_000_000_000;
    let is_shuffle = |line: &String| line.contains("Shuffle { origin: n1@1");
    (1..=seconds).filter(|second| bench.run_to((begin + second) * 1_000).iter().any(is_shuffle)).collect()
}

/// Members run, and the passive view has room.
fn shuffling() -> Config {
    Config { shuffle_interval_ms: 5_000, members: true, ..calm() }
}

#[test]
fn shuffles_come_rarely_while_they_bring_nobody_new_and_often_again_when_they_do() {
    let mut bench = bench(shuffling(), 3);
    given(&mut bench, [told(2, &[10], 0)]);
    let calming = shuffles(&mut bench, 60);
    assert!((9..=11).contains(&calming.len()), "{calming:?}");
    for _ in 0..4 {
        given(&mut bench, [told(2, &[10], 0)]); // nobody new
        assert!((2..=4).contains(&shuffles(&mut bench, 180).len()), "five while an entry is remembered");
    }
    given(&mut bench, [told(2, &[11], 0)]);
    assert!(shuffles(&mut bench, 130).len() >= 9, "news waits");
}

#[test]
fn shuffles_of_a_view_that_forgets_nobody_keep_their_pace() {
    let mut bench = bench(Config { passive_age_ms_max: 0, ..shuffling() }, 3);
    assert!((110..=130).contains(&shuffles(&mut bench, 600).len()));
}

#[test]
fn shuffles_keep_their_pace_where_the_cluster_may_be_larger_than_the_passive_view() {
    let full = Config { passive_size: 2, passive_age_ms_max: u32::MAX, ..shuffling() };
    for config in [full, Config { members: false, ..shuffling() }] {
        let mut bench = bench(config, 3);
        given(&mut bench, [told(2, &[10, 11], 0)]);
        assert!((110..=130).contains(&shuffles(&mut bench, 600).len()));
    }
}

#[test]
fn where_shuffles_come_rarely_nobody_is_promoted_for_what_they_do_not_tell() {
    for (members, within) in [(true, None), (false, Some(30..=70))] {
        let Config { promotion_age_ms, promotion_whole_ms, promotion_interval_ms, .. } = promoting();
        let config =
            Config { promotion_age_ms, promotion_whole_ms, promotion_interval_ms, members, ..shuffling() };
        let mut bench = bench(config, 6);
        given(&mut bench, [told(2, &[10], 0)]);
        bench.run_to(20_000);
        given(&mut bench, [told(2, &[10], 0)]);
        let mut seconds = 1..299_u64; // then it is forgotten
        let after = seconds.find(|second| bench.run_to(20_000 + second * 1_000).contains(&asked(10, "High")));
        let is_right =
            within.map_or(after.is_none(), |within| after.is_some_and(|after| within.contains(&after)));
        assert!(is_right, "members {members}: after {after:?} s");
    }
}

fn promoting() -> Config {
    Config { promotion_age_ms: 30_000, promotion_whole_ms: 10_000, promotion_interval_ms: 60_000, ..calm() }
}

#[test]
fn nobody_who_was_heard_of_lately_is_promoted() {
    let mut bench = bench(promoting(), 6);
    given(&mut bench, [told(2, &[10, 11], 4_000)]);
    assert!((0..=25).all(|second| said(bench.run_to(second * 1_000)).is_empty()));
}

#[test]
fn a_promotion_exchanges_one_neighbour_of_a_full_view() {
    let mut bench = bench(promoting(), 6);
    given(&mut bench, [told(2, &[11, 12], 0), told(2, &[10], 31_000), told(2, &[13], 30_000)]);
    let asks = (0..=15).map(|second| said(bench.run_to(second * 1_000))).find(|lines| !lines.is_empty());
    assert_eq!(asks, Some(vec![asked(10, "High")]));
    let lines = said(bench.input(accepted(10)));
    assert_eq!((lines.len(), active(&bench).len()), (3, 5));
    assert!(lines[0].ends_with("Disconnect(Evicted)"));
    assert_eq!(lines[2], is_up(10));
}

fn apart(number: u8) -> Input {
    Input::Apart { contact: contact(number) }
}

#[test]
fn a_node_that_stands_apart_gets_a_place_in_a_full_view_and_the_next_one_waits() {
    let mut bench = bench(calm(), 6);
    assert_eq!(said(bench.input(apart(10))), [asked(10, "High")]);
    assert_eq!(said(bench.input(apart(11))), [""; 0], "the first bridge may bring word of both");
    let lines = said(bench.input(accepted(10)));
    assert!(lines[0].ends_with("Disconnect(Evicted)") && lines[2] == is_up(10), "{lines:?}");
    bench.run_to(3_999);
    assert_eq!(said(bench.input(apart(11))), [""; 0]);
    bench.run_to(4_000);
    assert_eq!(said(bench.input(apart(11))), [asked(11, "High")]);
    assert_eq!(bench.stats.bridges, 2);
}

#[test]
fn bridges_under_way_are_bounded_and_nobody_is_asked_twice() {
    let config = Config { bridge_interval_ms: 1, neighbor_timeout_ms: 60_000, ..calm() };
    let most = bench(config.clone(), 6).machine.asked_max() as u8;
    let mut bench = bench(config, 6);
    for number in 0..most {
        assert_eq!(said(bench.input(apart(10 + number))), [asked(10 + number, "High")]);
        bench.run_to(u64::from(number) + 1);
        assert_eq!(said(bench.input(apart(10 + number))), [""; 0], "it was asked");
    }
    assert_eq!(said(bench.input(apart(10 + most))), [""; 0], "so many are under way");
}

#[test]
fn no_bridge_is_asked_for_where_one_stands_or_none_may() {
    for (config, number) in [(calm(), 2), (calm(), 1), (Config { bridge_interval_ms: 0, ..calm() }, 10)] {
        assert_eq!(said(bench(config, 6).input(apart(number))), [""; 0]);
    }
    let mut gone = bench(calm(), 6);
    given(&mut gone, [left(6)]);
    assert_eq!(said(gone.input(apart(6))), [""; 0], "it has left");
    given(&mut gone, [leave(0)]);
    assert_eq!(said(gone.input(apart(10))), [""; 0], "this node has left");
    assert_eq!(said(fresh(calm()).input(apart(10))), [""; 0], "it has not joined");
}

// --- any sequence

fn arbitrary_frame() -> impl Strategy<Value = Frame> {
    let who = || (1..20_u8, 1..3_u64).prop_map(|(number, life)| contact_in(number, life));
    let aged = || {
        let one = (who(), any::<u32>()).prop_map(|(contact, age_ms)| Aged { contact, age_ms });
        proptest::collection::vec(one, 0..8)
    };
    let priority = prop_oneof![Just(NeighborPriority::Low), Just(NeighborPriority::High)];
    let answer = prop_oneof![Just(NeighborAnswer::Accepted), Just(NeighborAnswer::Full)];
    let contacts = proptest::collection::vec(who(), 0..6);
    prop_oneof![
        1 => who().prop_map(Frame::Join),
        1 => (any::<bool>(), contacts).prop_map(|(accepted, contacts)| Frame::JoinReply { accepted, contacts }),
        1 => (who(), 0..8_u8).prop_map(|(contact, ttl)| Frame::ForwardJoin { contact, ttl }),
        4 => (who(), priority).prop_map(|(contact, priority)| Frame::Neighbor { contact, priority }),
        4 => answer.prop_map(Frame::NeighborReply),
        1 => Just(Frame::Disconnect(DisconnectReason::Evicted)),
        1 => (1..3_u64).prop_map(|life| Frame::Leave(Incarnation(life))),
        1 => (who(), 0..8_u8, aged()).prop_map(|(origin, ttl, entries)| Frame::Shuffle { origin, ttl, entries }),
        1 => aged().prop_map(|entries| Frame::ShuffleReply { entries }),
        1 => Just(Frame::Probe { nonce: 1 }),
        1 => Just(Frame::ProbeAck { nonce: 1 }),
        1 => Just(Frame::Prune),
    ]
}

fn arbitrary_input() -> impl Strategy<Value = Input> {
    let number = || 1..20_u8;
    // Most frames introduce their sender, as honest ones do.
    let honest = (number(), arbitrary_frame()).prop_map(|(from, frame)| match frame {
        Frame::Neighbor { priority, .. } => ask(from, priority),
        Frame::Join(_) => framed(from, Frame::Join(contact(from))),
        frame => framed(from, frame),
    });
    let seeds = proptest::collection::vec(number(), 0..4);
    prop_oneof![
        8 => honest,
        2 => (number(), arbitrary_frame()).prop_map(|(from, frame)| framed(from, frame)),
        2 => number().prop_map(|number| Input::LinkDown { peer: node(number) }),
        2 => number().prop_map(|number| Input::Unreached { peer: node(number) }),
        1 => seeds.prop_map(|seeds| join(0, &seeds)),
        1 => Just(leave(0)),
        1 => Just(Input::Cycle),
        1 => number().prop_map(apart),
        1 => number().prop_map(|number| Input::Asked { peer: node(number) }),
        1 => number().prop_map(|number| Input::Dead { peer: node(number) }),
        1 => number().prop_map(|number| Input::Strange { peer: node(number) }),
    ]
}

fn arbitrary_steps() -> impl Strategy<Value = Vec<(u64, Input)>> {
    let pause_ms = prop_oneof![4 => Just(0), 2 => 0..500_u64, 1 => 0..20_000_u64];
    proptest::collection::vec((pause_ms, arbitrary_input()), 0..150)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_happens_views_and_events_agree_and_every_command_is_answered_once(steps in arbitrary_steps()) {
        let config = Config { active_size: 3, passive_size: 6, lost_max: 2, departed_max: 3, ..Config::default() };
        let mut bench = fresh(config);
        let (mut told, mut open) = (vec![], 0_i64);
        let mut note = |bench: &Bench<Membership>, lines: &[String], asked: i64| {
            open += asked;
            for line in lines {
                open -= i64::from(line.starts_with("Done"));
                if line.starts_with("NeighborUp") {
                    told.push(line["NeighborUp { peer: n".len()..line.len() - 2].parse().unwrap());
                } else if let Some(rest) = line.strip_prefix("NeighborDown { peer: n") {
                    let number: u8 = rest[..rest.find(',').unwrap()].parse().unwrap();
                    assert!(told.contains(&number), "the loss of {number} is told twice");
                    told.retain(|peer| *peer != number);
                }
                assert!(told.len() <= 3, "more neighbours than active_size");
            }
            assert_eq!(told, active(bench), "events and the view disagree");
            open
        };
        for (pause_ms, input) in steps {
            let at = bench.now.mono.plus_millis(pause_ms).0 / 1_000_000;
            let lines = bench.run_to(at); // panics if the machine never comes to rest
            note(&bench, &lines, 0);
            let asked = i64::from(matches!(input, Input::Join { .. } | Input::Leave { .. }));
            let lines = bench.input(input);
            note(&bench, &lines, asked);
        }
        let end = bench.now.mono.plus_millis(60_000).0 / 1_000_000;
        let lines = bench.run_to(end);
        prop_assert_eq!(note(&bench, &lines, 0), 0, "commands without answer, or with two");
    }
}

#[test]
fn who_moves_is_known_by_its_new_address_wherever_it_was_known() {
    let addr = core::net::SocketAddr::from(([10, 0, 0, 9], 7));
    let elsewhere = |number: u8, life: u64| Contact::new(node(number), Incarnation(life), &[addr]);
    let mut bench = bench(calm(), 2);
    bench.input(told(2, &[3], 0));
    bench.input(Input::Move { addrs: vec![addr] });
    assert_eq!(bench.machine.contact(), &elsewhere(1, 1));
    for number in [2, 3] {
        bench.input(Input::Moved { contact: elsewhere(number, 2) });
        assert_eq!(bench.machine.contact_of(&node(number)), Some(contact(number)), "another life's word");
        bench.input(Input::Moved { contact: elsewhere(number, 1) });
        assert_eq!(bench.machine.contact_of(&node(number)), Some(elsewhere(number, 1)));
    }
}
