//! One fact for each test. The bench shows everything that came out, so the tests prove silence too.

use super::*;
use crate::bench::{Bench, node, origin};
use crate::machine::Effect;
use alloc::string::{String, ToString};
use alloc::vec;
use proptest::prelude::*;
use std::format;

mod network;

const TOPIC: Topic = Topic(7);

/// Nothing is ever forgotten, so that a test sees only the deadlines that it is about.
fn calm() -> Config {
    Config {
        cache_ms: u64::MAX,
        seen_ms: u64::MAX,
        announce_delay_ms: 50,
        graft_delay_ms: 250,
        graft_retry_ms: 250,
        ..Config::default()
    }
}

/// Node 1 with the neighbours 2, 3, … up to `last`; it hears the tests' topic.
fn bench(config: Config, last: u8) -> Bench<Broadcast> {
    let mut broadcast = Broadcast::new(Arc::new(config), node(1), origin(1));
    broadcast.subscribe(TOPIC).expect("a free topic");
    let mut bench = Bench::new(broadcast);
    (2..=last).for_each(|number| drop(bench.input(up(number))));
    bench
}

fn up(number: u8) -> Input {
    Input::NeighborUp { peer: node(number) }
}

fn down(number: u8) -> Input {
    Input::NeighborDown { peer: node(number) }
}

fn id(seq: u64) -> MessageId {
    MessageId { origin: origin(9), seq }
}

fn gossip_of(seq: u64, hops: u16) -> Gossip {
    let payload = Bytes::from(format!("m{seq}"));
    Gossip { id: id(seq), topic: TOPIC, class: Class::Normal, shapes_tree: true, hops, age_ms: 0, payload }
}

fn framed(from: u8, frame: Frame) -> Input {
    Input::Frame { from: node(from), frame }
}

fn gossip(from: u8, seq: u64, hops: u16) -> Input {
    framed(from, Frame::Gossip(gossip_of(seq, hops)))
}

fn ihave(from: u8, seq: u64, hops: u16) -> Input {
    framed(from, Frame::IHave(vec![Announcement { id: id(seq), hops }]))
}

fn graft(from: u8, seq: u64) -> Input {
    framed(from, Frame::Graft { id: Some(id(seq)) })
}

fn prune(from: u8) -> Input {
    framed(from, Frame::Prune)
}

fn full(number: u8, channel: Channel) -> Input {
    Input::LinkFull { peer: node(number), channel }
}

fn ready(number: u8, channel: Channel) -> Input {
    Input::LinkReady { peer: node(number), channel }
}

fn publish(bench: &mut Bench<Broadcast>, class: Class, text: &str) -> Result<MessageId, CommandError> {
    let payload = Bytes::copy_from_slice(text.as_bytes());
    bench.call(|broadcast, cx| broadcast.publish(TOPIC, class, payload, cx))
}

/// Sets a scene: gives inputs whose outcome another test shows.
fn given(bench: &mut Bench<Broadcast>, inputs: impl IntoIterator<Item = Input>) {
    inputs.into_iter().for_each(|input| drop(bench.input(input)));
}

fn delivered(from: u8, seq: u64, hops: u16) -> String {
    format!("Delivered {{ topic: Topic(7), id: 9#{seq}, hops: {hops}, payload: b\"m{seq}\", from: n{from} }}")
}

fn eager(bench: &Bench<Broadcast>) -> Vec<u8> {
    bench.machine.eager().map(|id| id.0[0]).collect()
}

fn lazy(bench: &Bench<Broadcast>) -> Vec<u8> {
    bench.machine.lazy().map(|id| id.0[0]).collect()
}

// --- the tree

#[test]
fn a_new_node_has_nothing_to_do() {
    assert_eq!(bench(Config::default(), 1).shown(), ["idle"]);
}

#[test]
fn a_new_neighbour_is_eager() {
    let bench = bench(calm(), 3);
    assert_eq!((eager(&bench), lazy(&bench)), (vec![2, 3], vec![]));
}

#[test]
fn a_neighbour_that_comes_up_twice_stands_once() {
    let mut bench = bench(calm(), 2);
    given(&mut bench, [prune(2)]);
    assert_eq!(bench.input(up(2)), ["idle"]);
    assert_eq!((eager(&bench), lazy(&bench)), (vec![], vec![2]));
}

#[test]
fn neighbours_beyond_the_bound_are_not_taken() {
    let mut bench = bench(calm(), NEIGHBORS_MAX as u8 + 5);
    assert_eq!(eager(&bench).len(), NEIGHBORS_MAX);
    assert_eq!(bench.stats.misplaced, 4);
    assert_eq!(bench.input(up(1)), ["idle"], "a node is not its own neighbour");
}

#[test]
fn a_published_message_is_pushed_to_every_eager_neighbour_and_heard_here() {
    let mut bench = bench(calm(), 3);
    assert_eq!(publish(&mut bench, Class::Normal, "x"), Ok(MessageId { origin: origin(1), seq: 1 }));
    let lines = [
        "n2 Gossip: GOSSIP 1#1 \"x\" hops 1 age 0",
        "n3 Gossip: GOSSIP 1#1 \"x\" hops 1 age 0",
        "Delivered { topic: Topic(7), id: 1#1, hops: 0, payload: b\"x\", from: n1 }",
    ];
    assert_eq!(bench.shown()[..3], lines);
}

#[test]
fn a_new_message_is_handed_up_and_relayed_to_all_eager_neighbours_but_its_sender() {
    let mut bench = bench(calm(), 4);
    let lines = bench.input(gossip(3, 1, 5));
    let relayed = ["n2 Gossip: GOSSIP 9#1 \"m1\" hops 6 age 0", "n4 Gossip: GOSSIP 9#1 \"m1\" hops 6 age 0"];
    assert_eq!(lines[..2], relayed);
    assert_eq!(lines[2], delivered(3, 1, 5));
    assert_eq!(lines.len(), 4);
}

#[test]
fn a_duplicate_prunes_its_link_and_is_not_handed_up() {
    let mut bench = bench(calm(), 3);
    given(&mut bench, [gossip(2, 1, 1)]);
    assert_eq!(bench.input(gossip(3, 1, 1))[0], "n3 Control: PRUNE");
    assert_eq!((eager(&bench), lazy(&bench)), (vec![2], vec![3]));
    assert_eq!((bench.stats.duplicates, bench.stats.delivered), (1, 1));
}

#[test]
fn only_messages_that_shape_the_tree_prune_links_that_have_proved_themselves() {
    let mut bench = bench(calm(), 3);
    let plain = |from, seq| framed(from, Frame::Gossip(Gossip { shapes_tree: false, ..gossip_of(seq, 1) }));
    bench.run_to(bench_age_ms());
    given(&mut bench, [plain(2, 1)]);
    assert!(bench.input(plain(3, 1)).iter().all(|line| !line.contains("PRUNE")), "an old link was pruned");
    assert_eq!(eager(&bench), vec![2, 3]);
    given(&mut bench, [gossip(2, 2, 1)]);
    assert_eq!(bench.input(gossip(3, 2, 1))[0], "n3 Control: PRUNE");
}

#[test]
fn a_link_to_a_new_neighbour_is_pruned_for_any_message() {
    let mut bench = bench(calm(), 3);
    let plain = |from| framed(from, Frame::Gossip(Gossip { shapes_tree: false, ..gossip_of(1, 1) }));
    given(&mut bench, [plain(2)]);
    assert_eq!(bench.input(plain(3))[0], "n3 Control: PRUNE");
}

/// A time after which no neighbour is new any more.
fn bench_age_ms() -> u64 {
    calm().shape_interval_ms
}

#[test]
fn the_lowest_publisher_heard_lately_shapes_the_tree() {
    let shapes = |bench: &mut Bench<Broadcast>| {
        bench.clear();
        bench.call(|it, cx| {
            it.publish(TOPIC, Class::Normal, Bytes::from_static(b"x"), cx).expect("published")
        });
        let sent = bench.effects.iter().find_map(|effect| match effect {
            Effect::Send { frame: Frame::Gossip(gossip), .. } => Some(gossip.shapes_tree),
            _ => None,
        });
        sent.expect("the message was pushed")
    };
    let heard_from = |bench: &mut Bench<Broadcast>, origin: u64, seq: u64| {
        let message = Gossip { id: MessageId { origin, seq }, ..gossip_of(seq, 1) };
        given(bench, [framed(2, Frame::Gossip(message))]);
    };
    let mut bench = bench(calm(), 2);
    assert!(shapes(&mut bench), "a lone publisher shapes the tree");
    heard_from(&mut bench, u64::MAX, 1);
    assert!(shapes(&mut bench), "a higher publisher changes nothing");
    heard_from(&mut bench, 0, 1);
    assert!(!shapes(&mut bench), "a lower publisher takes over");
    bench.run_to(calm().shape_interval_ms + 1);
    assert!(shapes(&mut bench), "and has the place no longer than it publishes");
}

#[test]
fn one_s_own_message_that_comes_back_prunes_its_link() {
    let mut bench = bench(calm(), 2);
    let id = publish(&mut bench, Class::Normal, "x").expect("room");
    bench.clear();
    let back = Frame::Gossip(Gossip { id, ..gossip_of(1, 3) });
    assert_eq!(bench.input(framed(2, back))[0], "n2 Control: PRUNE");
}

#[test]
fn a_prune_is_not_repeated_while_it_may_be_under_way() {
    let mut bench = bench(calm(), 3);
    given(&mut bench, (1..=3).map(|seq| gossip(2, seq, 1)));
    assert_eq!(bench.input(gossip(3, 1, 1))[0], "n3 Control: PRUNE");
    assert!(!bench.input(gossip(3, 2, 1)).iter().any(|line| line.contains("PRUNE")));
    bench.run_to(bench.machine.config.graft_retry_ms);
    assert_eq!(bench.input(gossip(3, 3, 1))[0], "n3 Control: PRUNE");
}

#[test]
fn a_payload_that_crossed_the_sender_s_own_prune_is_not_answered() {
    let mut bench = bench(calm(), 3);
    given(&mut bench, [gossip(2, 1, 1), prune(3)]);
    assert!(!bench.input(gossip(3, 1, 1)).iter().any(|line| line.contains("PRUNE")));
}

#[test]
fn a_second_copy_from_the_parent_prunes_nothing() {
    let mut bench = bench(calm(), 2);
    given(&mut bench, [gossip(2, 1, 1)]);
    assert_eq!(bench.input(gossip(2, 1, 1)), ["idle"]);
    assert_eq!(eager(&bench), [2]);
}

#[test]
fn a_first_copy_makes_its_link_eager() {
    let mut bench = bench(calm(), 3);
    given(&mut bench, [prune(2), gossip(2, 1, 1)]);
    assert_eq!(eager(&bench), [2, 3]);
}

#[test]
fn hops_never_wrap() {
    let mut bench = bench(calm(), 3);
    assert_eq!(bench.input(gossip(2, 1, u16::MAX))[0], "n3 Gossip: GOSSIP 9#1 \"m1\" hops 65535 age 0");
}

#[test]
fn a_message_that_claims_no_hops_has_crossed_one_link() {
    let mut bench = bench(calm(), 2);
    assert_eq!(bench.input(gossip(2, 1, 0))[0], delivered(2, 1, 1));
}

// --- announcements

#[test]
fn a_lazy_neighbour_gets_announcements_in_batches() {
    let mut bench = bench(calm(), 3);
    given(&mut bench, [prune(3)]);
    assert_eq!(bench.input(gossip(2, 1, 4)), [delivered(2, 1, 4), "due at 50 ms".to_string()]);
    bench.run_to(30);
    assert_eq!(bench.input(gossip(2, 2, 6)), [delivered(2, 2, 6), "due at 50 ms".to_string()]);
    assert_eq!(bench.run_to(49), ["due at 50 ms"]);
    assert_eq!(bench.run_to(50), ["n3 Lazy: IHAVE 9#1/4 9#2/6", "idle"]);
}

#[test]
fn an_urgent_message_takes_all_waiting_announcements_with_it() {
    let mut bench = bench(calm(), 2);
    given(&mut bench, [prune(2)]);
    publish(&mut bench, Class::Normal, "a").expect("room");
    bench.clear();
    publish(&mut bench, Class::Urgent, "b").expect("room");
    assert_eq!(bench.shown()[0], "n2 Lazy: IHAVE 1#1/0 1#2/0");
    assert_eq!(bench.shown(), ["idle"]);
}

#[test]
fn without_a_delay_each_announcement_goes_at_once() {
    let mut bench = bench(Config { announce_delay_ms: 0, ..calm() }, 3);
    given(&mut bench, [prune(3)]);
    assert_eq!(bench.input(gossip(2, 1, 4))[0], "n3 Lazy: IHAVE 9#1/4");
}

#[test]
fn a_full_batch_waits_for_nothing() {
    let mut bench = bench(calm(), 3);
    given(&mut bench, [prune(3)]);
    let count = ANNOUNCEMENTS_MAX as u64;
    given(&mut bench, (1..count).map(|seq| gossip(2, seq, 1)));
    assert_eq!(bench.stats.announce_batches, 0);
    assert!(bench.input(gossip(2, count, 1))[0].starts_with("n3 Lazy: IHAVE 9#1/1 9#2/1"));
    assert_eq!((bench.stats.announce_batches, bench.stats.announced), (1, count));
}

#[test]
fn who_announced_a_message_gets_neither_its_payload_nor_its_announcement() {
    let mut bench = bench(calm(), 5);
    given(&mut bench, [prune(4), ihave(3, 1, 2), ihave(4, 1, 2)]);
    let lines = bench.input(gossip(2, 1, 3));
    assert_eq!(lines[..2], ["n5 Gossip: GOSSIP 9#1 \"m1\" hops 4 age 0".to_string(), delivered(2, 1, 3)]);
    assert_eq!((lines.len(), bench.machine.announce_at), (3, None));
}

#[test]
fn a_waiting_announcement_is_withdrawn_when_the_neighbour_announces_the_message_itself() {
    let mut bench = bench(calm(), 3);
    given(&mut bench, [prune(3), gossip(2, 1, 3), gossip(2, 2, 3), ihave(3, 1, 3)]);
    assert_eq!(bench.run_to(50)[0], "n3 Lazy: IHAVE 9#2/3");
}

#[test]
fn an_announcement_that_would_save_the_neighbour_hops_is_not_withdrawn() {
    let mut bench = bench(calm(), 3);
    given(&mut bench, [prune(3), gossip(2, 1, 3), ihave(3, 1, 11)]);
    assert_eq!(bench.run_to(50)[0], "n3 Lazy: IHAVE 9#1/3");
}

// --- repair

#[test]
fn ihave_grafts_only_if_the_payload_stays_away() {
    let mut bench = bench(Config { announce_delay_ms: 0, ..calm() }, 3);
    given(&mut bench, [prune(2), prune(3)]);
    assert_eq!(bench.input(ihave(3, 1, 2)), ["due at 250 ms"]);
    assert_eq!(bench.input(ihave(3, 2, 2)), ["due at 250 ms"]);
    assert_eq!(bench.input(gossip(2, 1, 2))[0], delivered(2, 1, 2));
    assert_eq!(bench.run_to(249), ["due at 250 ms"]);
    assert_eq!(bench.run_to(250), ["n3 Control: GRAFT 9#2", "due at 500 ms"]);
    assert_eq!(eager(&bench), [2, 3]);
}

#[test]
fn a_payload_that_comes_ends_the_search() {
    let mut bench = bench(Config { cache_ms: 30_000, ..calm() }, 3);
    given(&mut bench, [ihave(3, 1, 2), gossip(2, 1, 3)]);
    assert_eq!(bench.shown(), ["due at 33750 ms"], "the cache's deadline is the only one");
}

#[test]
fn grafts_go_round_all_announcers_beginning_with_the_fewest_hops() {
    let mut bench = bench(calm(), 5);
    given(&mut bench, [ihave(3, 1, 5), ihave(5, 1, 2), ihave(2, 1, 9)]);
    let asked: Vec<String> = (1..=6).map(|k| bench.run_to(250 * k)[0].clone()).collect();
    let expected = [5, 2, 3, 5, 2, 3].map(|number| format!("n{number} Control: GRAFT 9#1"));
    assert_eq!(asked, expected);
}

#[test]
fn grafts_slow_down_and_end_with_the_caches_where_the_message_counts_as_lost() {
    let config = Config { grafts_max: 3, graft_late_ms: 10_000, cache_ms: 30_000, ..calm() };
    let mut bench = bench(config, 2);
    given(&mut bench, [ihave(2, 1, 2)]);
    let graft = "n2 Control: GRAFT 9#1";
    assert_eq!(bench.run_to(999), [graft, graft, graft, "due at 1000 ms"]);
    assert_eq!(bench.run_to(30_999), [graft, graft, graft, "due at 31000 ms"]);
    assert_eq!(bench.input(ihave(2, 1, 2)), ["due at 31000 ms"]);
    assert_eq!(bench.stats.lost, 0);
    assert_eq!(bench.run_to(31_000), ["idle"]);
    assert_eq!((bench.stats.lost, bench.stats.grafts), (1, 6));
}

#[test]
fn an_announcer_that_went_down_is_not_asked() {
    let mut bench = bench(calm(), 4);
    given(&mut bench, [ihave(3, 1, 1), ihave(4, 1, 5), down(3)]);
    assert_eq!(bench.run_to(500)[..2], ["n4 Control: GRAFT 9#1", "n4 Control: GRAFT 9#1"]);
}

#[test]
fn a_newcomer_in_the_slot_of_a_lost_announcer_is_not_asked() {
    let mut bench = bench(Config { cache_ms: 30_000, ..calm() }, 3);
    given(&mut bench, [ihave(3, 1, 1), down(3), up(4)]);
    assert_eq!(bench.run_to(30_249), ["due at 30250 ms"]);
}

#[test]
fn a_new_announcer_is_asked_at_once_when_nobody_was_left() {
    let mut bench = bench(calm(), 4);
    given(&mut bench, [ihave(3, 1, 1), down(3)]);
    bench.run_to(10_000);
    assert_eq!(bench.input(ihave(4, 1, 3)), ["n4 Control: GRAFT 9#1", "due at 10250 ms"]);
}

#[test]
fn a_message_that_nobody_is_left_for_counts_as_lost_in_the_end() {
    let mut bench = bench(Config { cache_ms: 30_000, ..calm() }, 3);
    given(&mut bench, [ihave(3, 1, 1), down(3)]);
    assert_eq!(bench.run_to(30_250), ["idle"]);
    assert_eq!((bench.stats.lost, bench.stats.grafts), (1, 0));
}

#[test]
fn beyond_the_bound_announcements_are_not_followed() {
    let mut bench = bench(Config { missing_max: 2, ..calm() }, 2);
    given(&mut bench, (1..=5).map(|seq| ihave(2, seq, 1)));
    assert_eq!((bench.machine.missing.len(), bench.stats.missing_overflow), (2, 3));
}

#[test]
fn timers_of_messages_that_came_are_bounded() {
    let mut bench = bench(Config { missing_max: 4, ..calm() }, 3);
    given(&mut bench, [ihave(3, 0, 1)]);
    for seq in 1..1_000 {
        given(&mut bench, [ihave(3, seq, 1), gossip(2, seq, 1)]); // the bench checks the bound
    }
    assert_eq!(bench.machine.missing.len(), 1);
}

#[test]
fn a_graft_is_answered_from_the_cache_with_its_age_and_makes_the_link_eager() {
    let mut bench = bench(calm(), 3);
    given(&mut bench, [prune(3), gossip(2, 1, 4)]);
    bench.run_to(700);
    assert_eq!(bench.input(graft(3, 1))[0], "n3 Gossip: GOSSIP 9#1 \"m1\" hops 5 age 700");
    assert_eq!(eager(&bench), [2, 3]);
}

#[test]
fn a_graft_without_a_name_only_makes_the_link_eager() {
    let mut bench = bench(calm(), 2);
    given(&mut bench, [prune(2)]);
    assert_eq!(bench.input(framed(2, Frame::Graft { id: None })), ["idle"]);
    assert_eq!(eager(&bench), [2]);
}

#[test]
fn a_graft_for_what_is_not_cached_is_counted_and_not_answered() {
    let mut bench = bench(Config { cache_ms: 1_000, ..calm() }, 3);
    given(&mut bench, [gossip(2, 1, 4)]);
    bench.run_to(1_001);
    assert_eq!(bench.input(graft(3, 1)), ["due at 1125 ms"]);
    assert_eq!(bench.input(graft(3, 2)), ["due at 1125 ms"]);
    assert_eq!(bench.stats.grafts_missed, 2);
}

#[test]
fn a_message_that_rested_for_too_long_is_refused() {
    let mut bench = bench(Config { cache_ms: 1_000, ..Config::default() }, 3);
    let aged = |age_ms| framed(2, Frame::Gossip(Gossip { age_ms, ..gossip_of(1, 1) }));
    assert_eq!(bench.input(aged(1_001)), ["idle"]);
    assert_eq!(bench.stats.expired, 1);
    assert_eq!(bench.input(aged(1_000))[1], delivered(2, 1, 1));
}

#[test]
fn a_duplicate_is_no_news_for_as_long_as_it_can_be_in_anybody_s_cache() {
    let config = Config { cache_ms: 1_000, seen_ms: 1_000, ..Config::default() };
    let mut bench = bench(config, 3);
    given(&mut bench, [gossip(2, 1, 1)]);
    for ms in (0..=1_000).step_by(50) {
        bench.run_to(ms);
        let late = Gossip { age_ms: ms as u32, ..gossip_of(1, 1) };
        given(&mut bench, [gossip(2, 1_000 + ms, 1), framed(3, Frame::Gossip(late))]);
    }
    assert_eq!(bench.stats.duplicates, 21);
}

#[test]
fn after_its_time_the_cache_is_empty_and_the_machine_at_rest() {
    let mut bench = bench(Config { cache_ms: 1_000, ..Config::default() }, 2);
    given(&mut bench, (1..=50).map(|seq| gossip(2, seq, 1)));
    assert_eq!(bench.run_to(1_124), ["due at 1125 ms"]);
    assert_eq!(bench.run_to(1_125), ["idle"]);
    assert_eq!(bench.machine.cache.sizes(), (0, 0));
}

// --- tree optimisation

#[test]
fn an_announcement_that_saves_enough_hops_takes_the_parent_s_place() {
    let mut bench = bench(Config { optimise_hops: 3, ..calm() }, 3);
    given(&mut bench, [prune(3), gossip(2, 1, 6)]);
    let lines = bench.input(ihave(3, 1, 2));
    assert_eq!(lines[..2], ["n3 Control: GRAFT", "n2 Control: PRUNE"]);
    assert_eq!((eager(&bench), lazy(&bench)), (vec![3], vec![2]));
    assert_eq!(bench.stats.optimised, 1);
}

#[test]
fn an_announcement_that_saves_too_few_hops_changes_nothing() {
    let mut bench = bench(Config { optimise_hops: 3, ..calm() }, 3);
    given(&mut bench, [prune(3), gossip(2, 1, 6), ihave(3, 1, 3)]);
    assert_eq!((eager(&bench), lazy(&bench)), (vec![2], vec![3]));
}

#[test]
fn with_threshold_zero_the_tree_is_never_optimised() {
    let mut bench = bench(Config { optimise_hops: 0, ..calm() }, 3);
    given(&mut bench, [prune(3), gossip(2, 1, 100), ihave(3, 1, 0)]);
    assert_eq!(eager(&bench), [2]);
}

#[test]
fn a_parent_that_is_out_of_the_tree_is_not_replaced() {
    let mut bench = bench(Config { optimise_hops: 3, ..calm() }, 3);
    given(&mut bench, [prune(3), gossip(2, 1, 6), prune(2), ihave(3, 1, 1)]);
    assert_eq!((eager(&bench), bench.stats.grafts), (vec![], 0));
}

#[test]
fn a_parent_s_successor_in_the_same_slot_is_not_pruned() {
    let mut bench = bench(Config { optimise_hops: 3, ..calm() }, 3);
    given(&mut bench, [prune(3), gossip(2, 1, 6), down(2), up(4), ihave(3, 1, 1)]);
    assert_eq!((eager(&bench), lazy(&bench)), (vec![4], vec![3]));
}

#[test]
fn a_payload_over_a_longer_way_than_announced_changes_the_tree_at_once() {
    let mut bench = bench(Config { optimise_hops: 3, ..calm() }, 3);
    given(&mut bench, [prune(3), ihave(3, 1, 2)]);
    let lines = bench.input(gossip(2, 1, 6));
    assert_eq!(lines[..2], ["n3 Control: GRAFT", "n2 Control: PRUNE"]);
    assert_eq!((eager(&bench), lazy(&bench)), (vec![3], vec![2]));
}

#[test]
fn a_payload_of_the_parent_s_successor_that_is_under_way_prunes_nothing() {
    let mut bench = bench(Config { optimise_hops: 3, ..calm() }, 3);
    given(&mut bench, [prune(3), gossip(2, 1, 6), ihave(3, 1, 2), gossip(3, 1, 3)]);
    assert_eq!(eager(&bench), [3]);
}

// --- new neighbours

#[test]
fn a_new_neighbour_is_told_of_recent_messages_only() {
    let mut bench = bench(Config { reannounce_ms: 5_000, ..calm() }, 2);
    given(&mut bench, [gossip(2, 1, 1)]);
    bench.run_to(4_000);
    given(&mut bench, [gossip(2, 2, 1), gossip(2, 3, 2)]);
    bench.run_to(6_000);
    given(&mut bench, [up(3)]);
    assert_eq!(bench.run_to(6_050)[0], "n3 Lazy: IHAVE 9#2/1 9#3/2");
}

#[test]
fn in_paper_mode_a_new_neighbour_is_told_of_nothing() {
    let mut bench = bench(Config { reannounce_ms: 0, ..calm() }, 2);
    given(&mut bench, [gossip(2, 1, 1), up(3)]);
    assert_eq!(bench.machine.announce_at, None);
}

#[test]
fn what_was_published_alone_is_announced_to_the_first_neighbour_only() {
    let mut bench = bench(Config { reannounce_ms: 0, ..calm() }, 1);
    publish(&mut bench, Class::Bulk, "x").expect("nobody is slow");
    bench.clear();
    bench.run_to(20_000);
    given(&mut bench, [up(2), up(3)]);
    let lines = bench.run_to(20_050);
    assert_eq!((lines[0].as_str(), lines.len()), ("n2 Lazy: IHAVE 1#1/0", 2));
}

#[test]
fn what_is_too_old_to_be_handed_on_is_not_announced_to_a_new_neighbour() {
    let mut bench = bench(Config { cache_ms: 30_000, ..Config::default() }, 2);
    given(&mut bench, [framed(2, Frame::Gossip(Gossip { age_ms: 29_999, ..gossip_of(1, 1) }))]);
    bench.run_to(1_000);
    given(&mut bench, [up(3)]);
    assert_eq!(bench.machine.announce_at, None);
}

// --- slow links

#[test]
fn a_full_link_gets_announcements_instead_of_payloads() {
    let mut bench = bench(calm(), 3);
    given(&mut bench, [full(3, Channel::Gossip)]);
    assert_eq!(bench.input(gossip(2, 1, 4)), [delivered(2, 1, 4), "due at 50 ms".to_string()]);
    assert_eq!(bench.run_to(50)[0], "n3 Lazy: IHAVE 9#1/4");
    given(&mut bench, [ready(3, Channel::Gossip)]);
    assert_eq!(bench.input(gossip(2, 2, 4))[0], "n3 Gossip: GOSSIP 9#2 \"m2\" hops 5 age 0");
}

#[test]
fn a_graft_over_a_full_link_is_answered_when_it_has_drained() {
    let mut bench = bench(calm(), 3);
    given(&mut bench, [gossip(2, 1, 4), full(3, Channel::Gossip), graft(3, 1)]);
    assert_eq!(bench.stats.payloads_sent, 1, "only what was relayed before");
    given(&mut bench, [graft(3, 1)]);
    let lines = bench.input(ready(3, Channel::Gossip));
    assert_eq!((lines[0].as_str(), lines.len()), ("n3 Gossip: GOSSIP 9#1 \"m1\" hops 5 age 0", 2));
}

#[test]
fn grafts_that_wait_for_a_full_link_are_bounded() {
    let mut bench = bench(calm(), 3);
    let count = OWED_MAX as u64 + 3;
    given(&mut bench, (0..count).map(|seq| gossip(2, seq, 4)));
    given(&mut bench, [full(3, Channel::Gossip)]);
    given(&mut bench, (0..count).map(|seq| graft(3, seq)));
    assert_eq!(bench.stats.grafts_missed, 3);
    assert_eq!(bench.input(ready(3, Channel::Gossip)).len(), OWED_MAX + 1);
}

#[test]
fn announcements_wait_while_the_lazy_channel_is_full() {
    let mut bench = bench(calm(), 3);
    given(&mut bench, [prune(3), full(3, Channel::Lazy), gossip(2, 1, 4)]);
    assert_eq!((bench.run_to(1_000).len(), bench.machine.announce_at), (1, None));
    assert_eq!(bench.input(ready(3, Channel::Lazy))[0], "n3 Lazy: IHAVE 9#1/4");
}

#[test]
fn other_full_channels_do_not_matter_here() {
    let mut bench = bench(calm(), 2);
    given(&mut bench, [Channel::Control, Channel::Sync, Channel::User].map(|channel| full(2, channel)));
    assert!(bench.machine.neighbors.iter().all(|n| !n.is_gossip_full && !n.is_lazy_full));
}

#[test]
fn a_bulk_message_is_refused_when_one_link_is_full() {
    let mut bench = bench(calm(), 3);
    given(&mut bench, [full(3, Channel::Gossip)]);
    assert_eq!(publish(&mut bench, Class::Bulk, "x"), Err(CommandError::Busy));
    assert_eq!(bench.shown(), ["idle"]);
    assert_eq!((bench.stats.publish_refused, bench.stats.published), (1, 0));
    assert!(publish(&mut bench, Class::Normal, "x").is_ok());
}

#[test]
fn a_normal_message_is_refused_when_all_links_are_full_and_an_urgent_one_is_not() {
    let mut bench = bench(calm(), 3);
    given(&mut bench, [full(2, Channel::Gossip), full(3, Channel::Gossip)]);
    assert_eq!(publish(&mut bench, Class::Normal, "x"), Err(CommandError::Busy));
    assert!(publish(&mut bench, Class::Urgent, "x").is_ok());
    assert_eq!(bench.shown()[..2], ["n2 Lazy: IHAVE 1#1/0", "n3 Lazy: IHAVE 1#1/0"]);
}

#[test]
fn at_the_bound_of_announcements_every_publication_is_refused() {
    let mut bench = bench(Config { announce_queue_max: 2, ..calm() }, 3);
    given(&mut bench, [prune(3), full(3, Channel::Lazy), gossip(2, 1, 1), gossip(2, 2, 1)]);
    for class in [Class::Urgent, Class::Normal, Class::Bulk] {
        assert_eq!(publish(&mut bench, class, "x"), Err(CommandError::Busy));
    }
    given(&mut bench, [ready(3, Channel::Lazy)]);
    assert!(publish(&mut bench, Class::Normal, "x").is_ok());
}

#[test]
fn at_the_bound_a_relayed_message_displaces_the_oldest_announcement() {
    let mut bench = bench(Config { announce_queue_max: 2, ..calm() }, 3);
    given(&mut bench, [prune(3), full(3, Channel::Lazy)]);
    given(&mut bench, (1..=4).map(|seq| gossip(2, seq, 1)));
    assert_eq!(bench.stats.announcements_dropped, 2);
    assert_eq!(bench.input(ready(3, Channel::Lazy))[0], "n3 Lazy: IHAVE 9#3/1 9#4/1");
}

#[test]
fn a_message_above_the_limit_is_refused() {
    let mut bench = bench(Config { message_len_max: 3, ..calm() }, 2);
    assert_eq!(publish(&mut bench, Class::Normal, "1234"), Err(CommandError::TooLarge { len: 4, max: 3 }));
    assert_eq!(bench.shown(), ["idle"]);
    assert!(publish(&mut bench, Class::Normal, "123").is_ok());
}

// --- topics

#[test]
fn a_message_of_another_topic_is_relayed_and_not_handed_up() {
    let mut bench = bench(calm(), 3);
    let other = Frame::Gossip(Gossip { topic: Topic(8), ..gossip_of(1, 1) });
    let lines = bench.input(framed(2, other));
    assert_eq!((lines[0].as_str(), lines.len()), ("n3 Gossip: GOSSIP 9#1 \"m1\" hops 2 age 0", 2));
}

#[test]
fn a_reserved_topic_is_always_handed_up_but_not_to_its_publisher() {
    let mut bench = bench(calm(), 2);
    let payload = Bytes::from_static(b"op");
    let id = bench.call(|broadcast, cx| broadcast.publish(Topic::REPLICA, Class::Normal, payload, cx));
    let lines = bench.shown();
    assert_eq!(
        (id.is_ok(), lines[0].as_str(), lines.len()),
        (true, "n2 Gossip: GOSSIP 1#1 \"op\" hops 1 age 0", 2)
    );
    let theirs = Frame::Gossip(Gossip { topic: Topic::REPLICA, ..gossip_of(1, 1) });
    assert!(bench.input(framed(2, theirs))[0].starts_with("Delivered { topic: Topic(4294967040)"));
}

#[test]
fn an_unsubscribed_topic_is_heard_no_longer() {
    let mut bench = bench(calm(), 2);
    assert!(bench.machine.is_hearing(TOPIC));
    assert_eq!(bench.machine.unsubscribe(TOPIC), Ok(()));
    assert_eq!(bench.machine.unsubscribe(TOPIC), Ok(()));
    assert!(!bench.machine.is_hearing(TOPIC));
    assert_eq!(bench.input(gossip(2, 1, 1)).len(), 1);
}

#[test]
fn topics_are_bounded_and_reserved_ones_refused() {
    let mut broadcast = bench(Config { topics_max: 2, ..calm() }, 1).machine;
    assert_eq!(broadcast.subscribe(Topic(3)), Ok(()));
    assert_eq!(broadcast.subscribe(Topic(3)), Ok(()), "idempotent");
    assert_eq!(broadcast.subscribe(Topic(4)), Err(CommandError::Full { max: 2 }));
    assert_eq!(broadcast.subscribe(Topic::REPLICA), Err(CommandError::ReservedTopic));
    assert_eq!(broadcast.unsubscribe(Topic::REPLICA), Err(CommandError::ReservedTopic));
}

// --- strangers and floods

#[test]
fn a_stranger_s_payload_is_news_and_changes_no_tree() {
    let mut bench = bench(calm(), 2);
    let lines = bench.input(gossip(8, 1, 1));
    assert_eq!(lines[..2], ["n2 Gossip: GOSSIP 9#1 \"m1\" hops 2 age 0".to_string(), delivered(8, 1, 1)]);
    assert_eq!(bench.input(gossip(8, 1, 1)).len(), 1, "nor is its duplicate answered");
    assert_eq!((eager(&bench), lazy(&bench)), (vec![2], vec![]));
}

#[test]
fn a_stranger_s_graft_is_answered() {
    let mut bench = bench(calm(), 2);
    given(&mut bench, [gossip(2, 1, 1)]);
    assert_eq!(bench.input(graft(8, 1))[0], "n8 Gossip: GOSSIP 9#1 \"m1\" hops 2 age 0");
}

#[test]
fn a_stranger_s_announcements_and_prunes_mean_nothing() {
    let mut bench = bench(calm(), 2);
    assert_eq!(bench.input(ihave(8, 1, 1)), ["idle"]);
    assert_eq!(bench.input(prune(8)), ["idle"]);
    assert_eq!(bench.input(framed(2, Frame::Probe { nonce: 1 })), ["idle"], "nor do other machines' frames");
    assert_eq!(bench.input(down(8)), ["idle"]);
    assert_eq!(bench.input(ready(8, Channel::Gossip)), ["idle"]);
    assert_eq!(bench.stats.misplaced, 3);
}

#[test]
fn a_flood_pushes_to_everybody_and_says_nothing_else() {
    let mut bench = bench(Config { flood: true, ..calm() }, 4);
    let lines = bench.input(gossip(2, 1, 1));
    assert_eq!(lines[..2], [3, 4].map(|n| format!("n{n} Gossip: GOSSIP 9#1 \"m1\" hops 2 age 0")));
    let quiet = bench.shown();
    for input in [gossip(3, 1, 1), prune(3), ihave(3, 2, 1), graft(3, 1), up(5)] {
        assert_eq!(bench.input(input), quiet);
    }
    assert_eq!(eager(&bench), [2, 3, 4, 5]);
}

// --- the whole

#[test]
fn equal_states_at_different_times_have_equal_digests() {
    let digest_at = |begin_ms: u64, seq: u64| {
        let mut bench = bench(Config::default(), 1);
        bench.run_to(begin_ms);
        given(&mut bench, [up(2), up(3), gossip(2, 1, 1), gossip(3, 1, 1), ihave(3, seq, 1)]);
        let mut fold = Fold::default();
        bench.machine.digest(bench.now.mono, &mut fold);
        fold.finish()
    };
    assert_eq!(digest_at(0, 2), digest_at(12_345, 2));
    assert_ne!(digest_at(0, 2), digest_at(0, 1), "one message more is missing");
}

#[test]
fn an_idle_machine_is_small() {
    let neighbors = 5 * (size_of::<Neighbor>() + 4 * size_of::<Announcement>());
    assert!(size_of::<Broadcast>() + neighbors < 2_048, "{}", size_of::<Broadcast>() + neighbors);
}

#[cfg(not(rumormill_canary))]
#[test]
fn canaries_sleep_in_a_normal_build() {
    let mut bench = bench(Config { canary: Some(Canary::NoPrune), ..calm() }, 3);
    given(&mut bench, [gossip(2, 1, 1)]);
    assert_eq!(bench.input(gossip(3, 1, 1))[0], "n3 Control: PRUNE");
}

#[cfg(rumormill_canary)]
mod canaries {
    use super::*;

    fn planted(canary: Canary) -> Bench<Broadcast> {
        bench(Config { canary: Some(canary), ..calm() }, 3)
    }

    #[test]
    fn no_prune_lets_duplicates_be() {
        let mut bench = planted(Canary::NoPrune);
        given(&mut bench, [gossip(2, 1, 1)]);
        assert_eq!(bench.input(gossip(3, 1, 1)).len(), 1);
        assert_eq!(eager(&bench), [2, 3]);
    }

    #[test]
    fn graft_once_asks_once() {
        let mut bench = planted(Canary::GraftOnce);
        given(&mut bench, [ihave(2, 1, 1), ihave(3, 1, 1)]);
        assert_eq!(bench.run_to(10_000).len(), 2);
        assert_eq!(bench.stats.grafts, 1);
    }

    #[test]
    fn a_forgetful_seen_table_hands_a_duplicate_up() {
        let mut bench = planted(Canary::ForgetfulSeen);
        given(&mut bench, [gossip(2, 1, 1)]);
        assert!(bench.input(gossip(3, 1, 1)).contains(&delivered(3, 1, 1)));
    }
}

/// One step of an arbitrary life.
#[derive(Clone, Debug)]
enum Step {
    Input(Input),
    Publish(Class, usize),
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let peer = 2..9_u8; // some neighbours, some strangers
    let seq = 0..24_u64;
    let channel = prop::sample::select(vec![Channel::Gossip, Channel::Lazy]);
    let class = prop::sample::select(vec![Class::Urgent, Class::Normal, Class::Bulk]);
    let message = (peer.clone(), seq.clone(), any::<u16>(), 0..2_000_u32, class.clone());
    let gossip = message.prop_map(|(from, seq, hops, age_ms, class)| {
        framed(from, Frame::Gossip(Gossip { age_ms, class, ..gossip_of(seq, hops % 32) }))
    });
    let announcements = prop::collection::vec((seq.clone(), 0..32_u16), 0..8);
    let ihave = (peer.clone(), announcements).prop_map(|(from, all)| {
        framed(
            from,
            Frame::IHave(all.into_iter().map(|(seq, hops)| Announcement { id: id(seq), hops }).collect()),
        )
    });
    let input = prop_oneof![
        2 => peer.clone().prop_map(up),
        1 => peer.clone().prop_map(down),
        6 => gossip,
        4 => ihave,
        2 => (peer.clone(), prop::option::of(seq)).prop_map(|(from, seq)| framed(from, Frame::Graft { id: seq.map(id) })),
        1 => peer.clone().prop_map(prune),
        1 => (peer.clone(), channel.clone()).prop_map(|(number, channel)| full(number, channel)),
        1 => (peer, channel).prop_map(|(number, channel)| ready(number, channel)),
    ];
    let step = prop_oneof![
        8 => input.prop_map(Step::Input),
        1 => (class, 0..200_usize).prop_map(|(class, len)| Step::Publish(class, len)),
        2 => (0..900_u64).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 0..200)
}

fn live(bench: &mut Bench<Broadcast>, step: Step) -> Vec<String> {
    match step {
        Step::Input(input) => bench.input(input),
        Step::Publish(class, len) => {
            let _ = publish(bench, class, &"x".repeat(len));
            bench.shown()
        }
        Step::Pass(ms) => bench.run_to(bench.now.mono.millis_since(Instant::default()) + ms),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// The bench checks every invariant and every bound after each step.
    #[test]
    fn no_life_breaks_an_invariant(steps in steps(), flood in any::<bool>(), delay in 0..2_u64) {
        let config = Config {
            flood,
            announce_delay_ms: delay * 50,
            announce_queue_max: 3,
            optimise_hops: 3,
            missing_max: 4,
            seen_max: 8,
            seen_ms: 1_500,
            cache_ms: 1_000,
            cache_bytes_max: 600,
            grafts_max: 3,
            ..Config::default()
        };
        let mut bench = bench(config, 3);
        for step in steps {
            live(&mut bench, step);
            let due = bench.machine.poll_timeout();
            prop_assert!(due.is_none_or(|due| due >= bench.now.mono), "nothing is overdue after a step");
        }
        let end_ms = bench.now.mono.millis_since(Instant::default()) + 60_000;
        prop_assert_eq!(bench.run_to(end_ms).pop(), Some("idle".to_string()), "in the end it comes to rest");
        prop_assert_eq!(bench.machine.missing.len(), 0);
    }

    #[test]
    fn no_message_is_handed_up_twice(steps in steps()) {
        let mut bench = bench(Config { cache_ms: 2_000_000, seen_ms: 2_000_000, ..Config::default() }, 3);
        let mut heard: Vec<String> = Vec::new();
        for step in steps {
            for line in live(&mut bench, step).into_iter().filter(|line| line.starts_with("Delivered")) {
                let id = line.split(", ").nth(1).map(String::from);
                heard.extend(id);
            }
        }
        let count = heard.len();
        heard.sort_unstable();
        heard.dedup();
        prop_assert_eq!(heard.len(), count);
    }
}
