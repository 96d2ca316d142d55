//! The relay among neighbours: nothing reaches anybody but over their links.

use super::*;

/// Nodes with nobody to carry changes but neighbours, at rest.
fn linked(count: u8, links: &[(u8, u8)], config: &Config) -> Net {
    let mut net = Net::with(count, config);
    net.loses_changes = true;
    links.iter().for_each(|(a, b)| net.pair(*a, *b));
    net.run_for(5_000);
    net.frames.clear();
    net
}

fn rows(net: &Net) -> usize {
    let rows = |frame: &Frame| if let Frame::RegistryRelay(it) = frame { it.rows.len() } else { 0 };
    net.frames.iter().map(rows).sum()
}

fn words(net: &Net, word: Word) -> usize {
    let told = net.frames.iter().filter_map(|frame| match frame {
        Frame::RegistryRelay(relayed) => Some(relayed.told.iter().filter(|told| told.word == word).count()),
        _ => None,
    });
    told.sum()
}

const TRIANGLE: [(u8, u8); 3] = [(1, 2), (2, 3), (1, 3)];

#[test]
fn after_a_pause_a_change_goes_all_the_way_at_once() {
    let mut net = linked(4, &[(1, 2), (2, 3), (3, 4)], &Config::default());
    net.register(1, "a", "x").unwrap();
    net.run_for(30);
    assert_eq!((net.names(4), rows(&net)), (vec![String::from("a")], 3));
}

#[test]
fn a_link_that_is_gone_is_in_no_tree_and_lacks_nothing() {
    let mut net = linked(3, &TRIANGLE, &Config::default());
    net.register(1, "a", "x").unwrap();
    net.run_for(3_000);
    let tree = |net: &Net, number: usize| {
        let owners = net.nodes[number - 1].machine.registry.owners.iter();
        owners.map(|owner| owner.lazy | owner.pruned).fold(0, |all, bits| all | bits)
    };
    assert!(tree(&net, 2) != 0 && tree(&net, 3) != 0, "2 and 3 know a shorter way");
    let down = |net: &mut Net, number: u8, other: u8| {
        net.input(number, Input::NeighborDown { peer: node(other) });
        net.nodes[usize::from(number) - 1].machine.audit();
    };
    down(&mut net, 1, 3);
    down(&mut net, 3, 1);
    let now = net.at(2).now.mono;
    net.at(2).machine.relay.set_full(&node(3), true, now);
    net.register(2, "b", "x").unwrap();
    net.run_for(1_000);
    assert!(net.nodes[1].machine.relay.news.iter().any(|news| news.lacking != 0), "3 lacks it");
    down(&mut net, 2, 3);
    down(&mut net, 3, 2);
}

#[test]
fn frames_do_not_grow_in_number_with_changes() {
    let mut net = linked(3, &[(1, 2), (2, 3)], &Config::default());
    for at in 0..100 {
        net.register(1, &format!("{at:03}"), "x").unwrap();
        net.run_for(10);
    }
    net.run_for(1_000);
    assert_eq!(net.names(3).len(), 100);
    let relayed = net.frames.iter().filter(|frame| matches!(frame, Frame::RegistryRelay(_))).count();
    assert!((10..=14).contains(&relayed), "5 a second and link, and one at once: {relayed}");
}

#[test]
fn what_came_twice_comes_once_from_then_on() {
    let mut net = linked(3, &TRIANGLE, &Config::default());
    net.register(1, "a", "x").unwrap();
    net.run_for(3_000);
    assert!(rows(&net) > 2 && words(&net, Word::Prune) > 0, "nobody knew better");
    net.frames.clear();
    net.register(1, "b", "x").unwrap();
    net.run_for(3_000);
    assert_eq!((rows(&net), words(&net, Word::Prune), words(&net, Word::Graft)), (2, 0, 0));
    assert!(words(&net, Word::Have) > 0, "the third link tells that it has it");
    assert_eq!(net.names(2), net.names(3));
}

#[test]
fn a_notice_finds_another_way_when_the_first_is_lost() {
    let mut net = linked(3, &TRIANGLE, &Config { sync_interval_ms: 600_000, ..Config::default() });
    net.register(1, "a", "x").unwrap();
    net.run_for(3_000);
    net.input(1, Input::NeighborDown { peer: node(3) });
    net.input(3, Input::NeighborDown { peer: node(1) });
    net.frames.clear();
    net.register(1, "b", "x").unwrap();
    net.run_for(2_000);
    assert_eq!(net.names(3), ["a", "b"]);
    assert_eq!((words(&net, Word::Have), words(&net, Word::Graft)), (1, 1));
    net.register(1, "c", "x").unwrap();
    net.run_for(30);
    assert_eq!(net.names(3), ["a", "b", "c"], "the link is part of the tree");
}

#[test]
fn what_waits_for_a_full_channel_goes_when_it_has_drained() {
    let mut net = linked(2, &[(1, 2)], &Config { sync_interval_ms: 600_000, ..Config::default() });
    net.input(1, Input::LinkFull { peer: node(2) });
    net.register(1, "a", "x").unwrap();
    net.run_for(10_000);
    assert_eq!(net.names(2), [""; 0]);
    net.input(1, Input::LinkReady { peer: node(2) });
    net.run_for(200);
    assert_eq!(net.names(2), ["a"]);
}

#[test]
fn news_beyond_the_bound_is_left_to_anti_entropy() {
    let config = Config { registry_relay_max: 2, ..Config::default() };
    let mut net = linked(2, &[(1, 2)], &config);
    net.input(1, Input::LinkFull { peer: node(2) });
    for name in ["a", "b", "c", "d"] {
        net.register(1, name, "x").unwrap();
        net.run_for(100);
    }
    assert_eq!(net.nodes[0].machine.relay.news.len(), 2);
    net.input(1, Input::LinkReady { peer: node(2) });
    net.run_for(60_000);
    assert_eq!(net.names(2), ["a", "b", "c", "d"]);
}

#[test]
fn words_of_nobody_and_about_nothing_change_nothing() {
    let mut net = linked(3, &[(1, 2)], &Config::default());
    net.register(1, "a", "x").unwrap();
    net.run_for(1_000);
    net.frames.clear();
    let told = |tag, word| Told { tag, seq: 9, word };
    let words = vec![told(7, Word::Prune), told(7, Word::Graft)];
    for (from, told) in [(2, words), (3, vec![told(8, Word::Have)])] {
        let frame = Frame::RegistryRelay(Box::new(Relayed { told, rows: Vec::new() }));
        net.input(1, Input::Frame { from: node(from), frame });
    }
    net.run_for(1_000);
    assert_eq!(net.frames, [], "no answer");
}

#[test]
fn grafts_are_answered_once_and_never_into_a_full_link() {
    let mut net = linked(2, &[(1, 2)], &Config::default());
    for at in 0..20 {
        net.register(1, &format!("{at:02}-{:100}", ""), "x").unwrap();
    }
    net.run_for(1_000);
    let tag = net.nodes[0].machine.own_owner().tag;
    let ask = |net: &mut Net| {
        net.frames.clear();
        let told = vec![Told { tag, seq: 0, word: Word::Graft }; 500];
        let frame = Frame::RegistryRelay(Box::new(Relayed { told, rows: Vec::new() }));
        net.input(1, Input::Frame { from: node(2), frame });
        net.run_for(10);
        rows(net)
    };
    assert_eq!(ask(&mut net), 1, "the same is sent again and again");
    net.input(1, Input::LinkFull { peer: node(2) });
    assert_eq!(ask(&mut net), 0, "a full link gets more");
}
