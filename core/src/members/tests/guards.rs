//! Facts that no other test would miss: each guards a line that once could be changed unseen.

use super::*;
use crate::frame::BEATS_MAX;

// --- coming in

#[test]
fn who_knows_an_active_member_waits_to_learn_from_one() {
    let (mut bench, _) = joined(config(), false);
    give(&mut bench, up(2));
    for counter in 1..9 {
        let synced = entry_of(record(2, 1, 1, MemberState::Synced), counter, 0);
        give(&mut bench, push(2, Answered::LastPage, vec![synced, entry(3, counter)]));
        pass(&mut bench, 2_000);
        assert_eq!(bench.machine.state(), MemberState::Synced, "the cluster has not restarted");
    }
}

#[test]
fn a_page_that_does_not_lead_on_is_the_last_one_asked_for() {
    for next in [7, 3, 0] {
        let (mut bench, _) = joined(config(), false);
        give(&mut bench, up(2));
        let seen = give(&mut bench, push(2, Answered::Page(7), vec![entry(2, 5)]));
        assert_eq!(seen.pulls(), [(2, Wanted::Page(7))]);
        assert_eq!(
            give(&mut bench, push(2, Answered::Page(next), vec![])).pulls(),
            [],
            "it goes round and round"
        );
    }
}

#[test]
fn who_is_back_and_has_learned_misses_the_dead_before_another_lease_is_over() {
    for has_learned in [true, false] {
        let mut bench = bench(4);
        give(&mut bench, Input::Leave);
        (2..=4).for_each(|number| drop(give(&mut bench, down(number, NeighborLoss::WeLeft))));
        pass(&mut bench, 5_000); // node 4 dies meanwhile, and everybody has buried it
        give(&mut bench, Input::Join { contact: contact_in(1, 2), is_first: false });
        give(&mut bench, up(2));
        let answered = if has_learned { Answered::LastPage } else { Answered::Page(0) };
        give(&mut bench, push(2, answered, vec![entry(2, 9), entry(3, 9)]));
        let seen = pass(&mut bench, 3_500);
        let pings = seen.to(4).into_iter().filter(|frame| matches!(frame, MembersFrame::Ping { .. })).count();
        assert_eq!(pings > 0, has_learned);
    }
}

// --- being late

#[test]
fn after_a_pause_no_lease_is_judged_before_others_had_time_to_be_heard() {
    let mut bench = bench(5);
    bench.set_time(bench.now.mono.plus_millis(5_500));
    let seen = pass(&mut bench, 1_900); // everybody's lease has run out by now
    assert_eq!((seen.pings(), bench.stats.late), (0, 1), "their heartbeats may lie in the inbox");
    assert!(pass(&mut bench, 3_000).pings() > 0, "nobody is looked after any more");
}

#[test]
fn after_a_pause_a_doubt_waits_for_its_answers_again() {
    let mut bench = bench(6);
    let doubted = give(&mut bench, down(2, NeighborLoss::LinkLost));
    refuse_help(&mut bench, &doubted);
    let nonce = doubted.to(2).into_iter().find_map(|frame| match frame {
        MembersFrame::Ping { nonce } => Some(*nonce),
        _ => None,
    });
    bench.set_time(bench.now.mono.plus_millis(3_000));
    bench.call(|machine, cx| machine.handle_timeout(cx));
    let woken = seen(&mut bench);
    assert!(!woken.news.contains(&suspicion(2, 1)), "the answer may lie in the inbox");
    let nonce = nonce.expect("it is pinged");
    give(&mut bench, framed(2, MembersFrame::Pong { nonce, beat: beat(2, 2, 0) }));
    assert_eq!(bench.stats.confirmed_alive, 1);
}

// --- helping others

#[test]
fn a_rise_from_before_the_doubt_does_not_end_it() {
    for (age_ms, is_proof) in [(300, false), (0, true)] {
        let mut bench = bench(6);
        let doubted = give(&mut bench, down(2, NeighborLoss::LinkLost));
        refuse_help(&mut bench, &doubted);
        pass(&mut bench, 200);
        give(&mut bench, beats(3, vec![beat(2, 7, age_ms)]));
        let told = pass(&mut bench, 1_260).news;
        assert_eq!(told.contains(&suspicion(2, 7)), !is_proof, "it came {age_ms} ms late");
    }
}

#[test]
fn a_member_is_doubted_once_and_helps_nobody_against_itself() {
    let mut bench = bench(3);
    let seen = give(&mut bench, Input::Quiet { peer: node(2) });
    let asked = |(_, frame): &&(u8, MembersFrame)| matches!(frame, MembersFrame::PingRequest { .. });
    let helpers: Vec<u8> = seen.frames.iter().filter(asked).map(|(to, _)| *to).collect();
    assert_eq!((seen.pings(), helpers), (1, vec![3]));
    let again = give(&mut bench, down(2, NeighborLoss::LinkLost));
    assert_eq!((again.pings(), bench.stats.confirmations), (0, 1));
}

#[test]
fn who_is_suspected_helps_nobody() {
    let mut bench = bench(4);
    give(&mut bench, news(4, &Rumor::Suspect { life: life(3), counter: 1 }));
    let seen = give(&mut bench, Input::Quiet { peer: node(2) });
    let asked = |(_, frame): &&(u8, MembersFrame)| matches!(frame, MembersFrame::PingRequest { .. });
    assert_eq!(seen.frames.iter().filter(asked).map(|(to, _)| *to).collect::<Vec<_>>(), [4]);
}

#[test]
fn only_the_target_itself_answers_a_helpers_ping() {
    let mut bench = bench(4);
    let request = MembersFrame::PingRequest { nonce: 70, target: contact(3) };
    let seen = give(&mut bench, framed(2, request));
    let [MembersFrame::Ping { nonce }] = seen.to(3)[..] else { panic!("{seen:?}") };
    let (nonce, answers) = (*nonce, |seen: &Seen| {
        seen.to(2).iter().filter(|frame| matches!(frame, MembersFrame::PingAnswer { .. })).count()
    });
    let other = give(&mut bench, framed(4, MembersFrame::Pong { nonce, beat: beat(4, 2, 0) }));
    assert_eq!(answers(&other), 0);
    let own = give(&mut bench, framed(3, MembersFrame::Pong { nonce, beat: beat(3, 2, 0) }));
    assert_eq!(answers(&own), 1);
}

// --- news

#[test]
fn later_news_of_the_same_is_told_to_who_had_told_the_earlier() {
    let mut bench = bench(5);
    give(&mut bench, beats(2, vec![beat(2, 3, 0)]));
    pass(&mut bench, 300);
    give(&mut bench, news(3, &suspicion(5, 1))); // goes out at once: what follows waits
    give(&mut bench, news(3, &suspicion(2, 3)));
    give(&mut bench, news(4, &suspicion(2, 8)));
    let seen = pass(&mut bench, 100);
    assert_eq!((seen.told(3), seen.told(4)), (vec![suspicion(2, 8)], vec![]));
}

#[test]
fn each_heartbeat_is_a_greater_counter() {
    let mut bench = bench(2);
    let mut told = vec![bench.machine.me().counter];
    for _ in 0..3 {
        let seen = pass(&mut bench, 3_000);
        told.extend(seen.beats_to(2).iter().filter(|beat| beat.life == life(1)).map(|beat| beat.counter));
    }
    assert!(told.len() > 3 && told.is_sorted_by(|a, b| a < b), "{told:?}");
}

#[test]
fn a_word_that_a_member_lives_clears_it_here_and_goes_on() {
    let mut bench = bench(4);
    pass(&mut bench, 300);
    give(&mut bench, news(3, &suspicion(2, 1)));
    pass(&mut bench, 300);
    let seen = give(&mut bench, news(3, &Rumor::Alive(beat(2, 2, 0))));
    assert_eq!(seen.changes, [(2, Some(MemberState::Active), MemberState::Active, false)]);
    assert_eq!((seen.told(2).len(), seen.told(3).len(), seen.told(4).len()), (1, 0, 1));
    assert!(pass(&mut bench, 4_000).losses.is_empty(), "it dies of what was refuted");
}

#[test]
fn a_word_that_a_member_lives_goes_on_where_nobody_suspected_it() {
    let mut bench = bench(4);
    pass(&mut bench, 300);
    let seen = give(&mut bench, news(3, &Rumor::Alive(beat(2, 2, 0))));
    assert_eq!((seen.told(3).len(), seen.told(4).len()), (0, 1));
}

#[test]
fn a_word_of_life_with_a_later_record_asks_for_that() {
    let mut bench = bench(4);
    let later = Beat { revision: 2, ..beat(2, 2, 0) };
    let seen = give(&mut bench, news(3, &Rumor::Alive(later)));
    assert_eq!(seen.pulls(), [(3, Wanted::Lives(vec![life(2)]))]);
}

#[test]
fn between_two_batches_of_news_to_one_neighbour_lies_its_pace() {
    let mut bench = bench(3);
    pass(&mut bench, 300);
    let mut batches = 0;
    for counter in 2..102 {
        let given = give(&mut bench, news(2, &Rumor::Alive(beat(2, counter, 0))));
        let later = pass(&mut bench, 10);
        let frames = [given.to(3), later.to(3)].concat();
        batches += frames.iter().filter(|frame| matches!(frame, MembersFrame::News(_))).count();
    }
    assert!((10..=11).contains(&batches), "{batches} in a second");
}

// --- lives

#[test]
fn a_member_that_is_back_leaves_no_epitaph() {
    let mut bench = bench(2);
    bench.machine.bury(node(9), Incarnation(5));
    let back = entry_of(record(9, 6, 1, MemberState::Active), 1, 0);
    give(&mut bench, push(2, Answered::Lives, vec![back]));
    assert_eq!((bench.machine.epitaphs.len(), state(&bench, 9)), (0, Some((MemberState::Active, false))));
}

#[test]
fn a_rise_older_than_a_lease_is_believed_and_not_handed_on() {
    for (age_ms, told) in [(7_100, 0), (6_900, 1)] {
        let mut bench = bench(4);
        pass(&mut bench, 1_000);
        give(&mut bench, beats(3, vec![beat(2, 7, age_ms)]));
        let handed = pass(&mut bench, ROUND_MS).beats_to(4);
        assert_eq!(handed.iter().filter(|it| it.life == life(2)).count(), told, "{age_ms} ms");
        let row = bench.machine.table.row(bench.machine.table.place(&node(2)).expect("a member"));
        assert_eq!(row.counter, 7);
    }
}

#[test]
fn rises_beyond_what_a_frame_holds_go_out_in_several() {
    const MANY: usize = 2 * BEATS_MAX + 9;
    let mut bench = bench(3);
    let other = |number: usize| {
        let mut id = [9; 32];
        id[1..3].copy_from_slice(&(number as u16).to_be_bytes());
        let contact = Contact::new(NodeId(id), Incarnation(1), &[]);
        MemberRecord { contact, ..record(9, 1, 1, MemberState::Active) }
    };
    let records: Vec<MemberRecord> = (0..MANY).map(other).collect();
    for part in records.chunks(ENTRIES_MAX) {
        let entries = part.iter().map(|record| entry_of(record.clone(), 1, 0)).collect();
        give(&mut bench, push(2, Answered::LastPage, entries));
    }
    pass(&mut bench, 10_000);
    for part in records.chunks(BEATS_MAX) {
        let beat = |record: &MemberRecord| Beat { life: record.life(), counter: 7, revision: 1, age_ms: 0 };
        give(&mut bench, beats(2, part.iter().map(beat).collect()));
    }
    let seen = pass(&mut bench, 3_000);
    let lens = |to: u8| {
        let lens = seen.to(to).into_iter().filter_map(|frame| match frame {
            MembersFrame::Beats { beats, .. } => Some(beats.iter().filter(|beat| beat.counter == 7).count()),
            _ => None,
        });
        lens.filter(|len| *len > 0).collect::<Vec<_>>()
    };
    assert_eq!((lens(2), lens(3).iter().sum()), (vec![], MANY));
    assert!(lens(3).iter().all(|len| *len <= BEATS_MAX), "{:?}", lens(3));
}

#[test]
fn the_more_leases_run_out_at_once_the_sooner_each_is_asked_about() {
    let mut bench = bench(40);
    let present = u64::from(bench.machine.table.present());
    for number in 2..=40 {
        let place = bench.machine.table.place(&node(number)).expect("a member");
        bench.call(|machine, cx| {
            machine.on_lease_out(place, cx);
            machine.due = machine.next_deadline();
        });
    }
    let waits = bench.machine.confirmations.iter().map(|it| it.at.0 - it.since.0);
    let most = (1..).map(|earlier| confirm::SPREAD_MS * present * 1_000_000 / earlier);
    let late = waits.zip(most).filter(|(wait, most)| wait > most).count();
    assert_eq!((bench.machine.confirmations.len(), late), (39, 0));
}
