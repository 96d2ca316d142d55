//! Facts that no other test would miss: each guards a line that once could be changed unseen.

use super::super::apply::Path;
use super::*;

/// A number at which no set stands: the bound of sets' numbers.
const BEYOND: u64 = 1 << 60;

/// A whole set with one service.
fn whole(owner: u8, to: u64, name: &str, meta: &str) -> Update {
    let body = (Bytes::from([name, meta].concat()), name.len() as u16);
    let mut changes = Vec::new();
    update::encode_put(&Record::new(body, 0, MailboxId(0), Stamp(5), false), 0, &mut changes);
    let batch = Batch::new(node(owner), LIFE, None, to, 1, Bytes::from(changes));
    Update { batch: Arc::new(batch), age_ms: 0 }
}

fn apply(net: &mut Net, at: u8, update: &Update) -> bool {
    let mut bytes = update.to_bytes();
    let update = Update::split(&mut bytes).expect("an update");
    net.at(at).call(|machine, cx| machine.apply(node(9), &update, Path::Sync, cx))
}

fn put_at(net: &mut Net, at: u8, owner: u8, seq: u64) {
    let registry = &mut net.at(at).machine.registry;
    let number = registry.number_or_new(&node(owner));
    let before = registry.owners[number].row_hash();
    registry.set_version(number, LIFE, seq, before);
}

#[test]
fn another_set_of_this_node_under_its_own_number_is_written_over() {
    let mut net = Net::new(2);
    net.register(1, "a", "x").unwrap();
    net.run_for(30);
    let own = net.nodes[0].machine.own_owner();
    let (seq, fingerprint) = (own.seq, own.fingerprint);
    let mut told = |seq, fingerprint| {
        net.at(1).call(|machine, cx| machine.defend(node(2), LIFE, seq, fingerprint, cx));
        net.nodes[0].machine.own_owner().seq
    };
    assert_eq!([told(seq, Some(fingerprint)), told(seq, None)], [seq; 2], "that is this node's own");
    assert_eq!(told(seq, Some(fingerprint ^ 1)), seq + 1);
}

#[test]
fn a_set_of_this_node_that_it_cannot_write_over_is_told_and_left() {
    for (life, ahead, is_written) in
        [(1, 1, true), (1, 1 << 39, true), (1, (1 << 39) + 1, false), (2, 0, false)]
    {
        let mut net = Net::new(2);
        net.register(1, "a", "x").unwrap();
        net.run_for(30);
        net.forget_told();
        let seq = net.nodes[0].machine.own_owner().seq;
        let told = (Incarnation(life), seq + ahead);
        net.at(1).call(|machine, cx| machine.defend(node(2), told.0, told.1, None, cx));
        net.settle();
        let outlived = format!("outlived by {life}");
        assert_eq!(net.told(1).contains(&outlived), !is_written);
        let expected = if is_written { told.1 + 1 } else { seq };
        assert_eq!(net.nodes[0].machine.own_owner().seq, expected);
    }
}

#[test]
fn numbers_beyond_the_bound_are_nobodys() {
    let mut net = Net::new(2);
    net.register(1, "a", "x").unwrap();
    net.run_for(30);
    let seq = net.nodes[0].machine.own_owner().seq;
    net.at(1).call(|machine, cx| machine.defend(node(2), LIFE, BEYOND, None, cx));
    assert_eq!(net.nodes[0].machine.own_owner().seq, seq, "it could not be written over");
    for (to, is_taken) in [(BEYOND - 1, true), (BEYOND, false)] {
        let mut net = Net::new(2);
        put_at(&mut net, 1, 2, BEYOND - 5);
        let row = Row { owner: node(2), incarnation: LIFE, seq: to, fingerprint: 1 };
        assert_eq!(net.at(1).machine.is_wanted(&row), is_taken);
        assert_eq!(apply(&mut net, 1, &whole(2, to, "b", "y")), is_taken);
    }
}

#[test]
fn two_sets_under_one_number_end_alike_in_whatever_order_they_come() {
    let sets = [whole(3, 4, "a", "x"), whole(3, 4, "b", "y")];
    let mut net = Net::new(2);
    for (at, order) in [(1, [0, 1, 0, 1]), (2, [1, 0, 1, 0])] {
        let taken = order.map(|set: usize| apply(&mut net, at, &sets[set]));
        assert!(taken[0] && !taken[2] && !taken[3], "the greater one stands: {taken:?}");
    }
    let diverged: u64 = net.nodes.iter().map(|bench| bench.stats.registry_diverged).sum();
    let row = |at: usize| net.nodes[at].machine.registry.owner(&node(3)).expect("a set").row();
    assert_eq!((row(0), diverged), (row(1), 1));
}

#[test]
fn sets_asked_for_at_once_are_sent_within_the_bound() {
    let config = Config { registry_sync_bytes: 1_000, sync_chunk_bytes: 400, ..Config::default() };
    let mut net = Net::with(12, &config);
    net.loses_changes = false;
    for number in 2..=12 {
        net.register(number, "name", &"x".repeat(200)).unwrap();
    }
    net.run_for(30);
    net.loses_changes = true;
    let held = |owner: u8| Row { owner: node(owner), incarnation: Incarnation(0), seq: 0, fingerprint: 0 };
    net.forget_told();
    let frame = Frame::RegistryPull((2..=12).map(held).collect());
    net.input(1, Input::Frame { from: node(2), frame });
    let len = |frame: &Frame| if let Frame::RegistryUpdates { .. } = frame { frame.wire_len() } else { 0 };
    let sent: usize = net.frames.iter().map(len).sum();
    assert!((1_000..1_400).contains(&sent), "{sent} bytes");
}

#[test]
fn grafts_of_many_sets_are_answered_within_the_bound() {
    let mut net = Net::with(12, &Config { registry_sync_bytes: 1_000, ..Config::default() });
    net.loses_changes = false;
    for number in 2..=12 {
        net.register(number, "name", &"x".repeat(200)).unwrap();
    }
    net.pair(1, 2);
    net.run_for(5_000);
    net.loses_changes = true;
    let tags: Vec<u64> = net.at(1).machine.registry.known().map(|owner| owner.tag).collect();
    assert!(tags.len() >= 11, "it knows {} sets", tags.len());
    net.forget_told();
    let told = tags.into_iter().map(|tag| Told { tag, seq: 0, word: Word::Graft }).collect();
    let frame = Frame::RegistryRelay(Box::new(Relayed { told, rows: Vec::new() }));
    net.input(1, Input::Frame { from: node(2), frame });
    let len = |frame: &Frame| if let Frame::RegistryRelay(_) = frame { frame.wire_len() } else { 0 };
    let sent: usize = net.frames.iter().map(len).sum();
    assert!((1_000..1_400).contains(&sent), "{sent} bytes");
}

#[test]
fn a_set_with_names_or_metadata_beyond_the_bounds_is_refused() {
    let config = Config { registry_name_len_max: 3, registry_meta_len_max: 4, ..Config::default() };
    let mut net = Net::with(2, &config);
    assert!(!apply(&mut net, 1, &whole(2, 1, "name", "meta")));
    assert!(!apply(&mut net, 1, &whole(2, 2, "nam", "metas")));
    assert!(apply(&mut net, 1, &whole(2, 3, "nam", "meta")));
}

#[test]
fn a_set_that_is_back_leaves_no_epitaph() {
    let mut net = Net::new(2);
    net.at(1).machine.epitaphs.insert(node(2), (LIFE, 3));
    assert!(!apply(&mut net, 1, &whole(2, 3, "a", "x")), "it was forgotten as this");
    assert!(apply(&mut net, 1, &whole(2, 4, "a", "x")));
    assert!(net.at(1).machine.epitaphs.is_empty());
}

/// Node 1 and its neighbours 2 and 3, at rest after a change of its own: what it is told from here on waits for its pace.
fn paced() -> Net {
    let mut net = Net::with(3, &Config { registry_relay_ms: 1_000, ..Config::default() });
    net.loses_changes = true;
    net.pair(1, 2);
    net.pair(1, 3);
    net.run_for(5_000);
    net.register(1, "own", "x").unwrap();
    net.run_for(30);
    net.forget_told();
    net
}

/// Node 1 hears a row of a stranger's set from a neighbour, and tells what it sent by then.
fn hear(net: &mut Net, from: u8, seq: u64) {
    let mut bytes = forged(9, 1, seq - 1, seq, &["a"]);
    let rows = vec![Update::split(&mut bytes).expect("an update")];
    let frame = Frame::RegistryRelay(Box::new(Relayed { told: Vec::new(), rows }));
    net.input(1, Input::Frame { from: node(from), frame });
}

/// The words and the owners of rows that went to a neighbour of node 1.
fn sent(net: &mut Net, to: u8, ms: u64) -> (Vec<Word>, Vec<u8>) {
    let (mut words, mut owners) = (Vec::new(), Vec::new());
    let end = net.nodes[0].now.mono.plus_millis(ms);
    net.at(1).set_time(end);
    net.at(1).call(|machine, cx| machine.handle_timeout(cx));
    for effect in core::mem::take(&mut net.at(1).effects) {
        if let Effect::Send { to: peer, frame: Frame::RegistryRelay(relayed), .. } = effect
            && peer == node(to)
        {
            words.extend(relayed.told.iter().map(|told| told.word));
            owners.extend(relayed.rows.iter().map(|row| row.batch.owner.0[0]));
        }
    }
    (words, owners)
}

#[test]
fn who_has_told_a_change_meanwhile_is_not_told_it() {
    let mut net = paced();
    hear(&mut net, 2, 1);
    assert_eq!(sent(&mut net, 3, 2_000).1, [9]);
    let mut net = paced();
    hear(&mut net, 2, 1);
    hear(&mut net, 3, 1);
    assert_eq!(sent(&mut net, 3, 2_000).1, [0_u8; 0]);
}

#[test]
fn a_neighbour_that_was_pruned_and_brings_what_is_new_is_part_of_the_tree_again() {
    let mut net = paced();
    hear(&mut net, 2, 1);
    hear(&mut net, 3, 1);
    assert_eq!(sent(&mut net, 3, 2_000).0, [Word::Prune]);
    hear(&mut net, 3, 2);
    assert_eq!(sent(&mut net, 3, 2_000).0, [Word::Graft]);
}

#[test]
fn a_frame_of_a_session_holds_no_more_updates_than_others_read() {
    let mut net = Net::with(2, &Config { sync_chunk_bytes: 1 << 20, ..Config::default() });
    let owner = |number: usize| {
        let mut id = [9; 32];
        id[1..3].copy_from_slice(&(number as u16).to_be_bytes());
        NodeId(id)
    };
    let owners: Vec<NodeId> = (0..UPDATES_MAX + 5).map(owner).collect();
    for owner in &owners {
        let update =
            Update { batch: Arc::new(Batch::new(*owner, LIFE, None, 1, 0, Bytes::new())), age_ms: 0 };
        net.at(1).call(|machine, cx| assert!(machine.apply(node(9), &update, Path::Sync, cx)));
    }
    let nothing = |owner: &NodeId| Row { owner: *owner, incarnation: LIFE, seq: 0, fingerprint: 0 };
    let frame = Frame::RegistryPull(owners.iter().map(nothing).collect());
    net.at(1).call(|machine, cx| machine.handle(Input::Frame { from: node(2), frame }, cx));
    let frames = net.at(1).effects.iter().filter_map(|effect| match effect {
        Effect::Send { frame: Frame::RegistryUpdates { is_last, updates }, .. } => {
            Some((*is_last, updates.len()))
        }
        _ => None,
    });
    assert_eq!(frames.collect::<Vec<_>>(), [(false, UPDATES_MAX), (true, 5)]);
}

#[test]
fn sessions_that_find_nothing_come_ever_more_rarely_until_one_finds_something() {
    let hellos =
        |net: &Net| net.frames.iter().filter(|frame| matches!(frame, Frame::RegistryHello(_))).count();
    let mut net = Net::new(2);
    net.loses_changes = true;
    net.pair(1, 2);
    net.run_for(600_000);
    let quiet = hellos(&net);
    assert!((18..=34).contains(&quiet), "{quiet}: every 10 s at first, every minute after some three");
    net.run_for(600_000);
    let later = hellos(&net) - quiet;
    assert!((16..=24).contains(&later), "{later}: every minute, from each side");
    net.input(1, Input::NeighborDown { peer: node(2) });
    net.input(2, Input::NeighborDown { peer: node(1) });
    net.register(2, "a", "x").unwrap();
    net.run_for(100);
    net.pair(1, 2);
    net.run_for(10_000);
    assert_eq!(net.names(1), ["a"]);
    net.frames.clear();
    net.run_for(200_000);
    let again = hellos(&net);
    assert!(again >= 8, "{again}: there may be more to find");
}
