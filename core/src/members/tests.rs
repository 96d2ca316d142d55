//! One fact for each test. The bench audits the whole table after every step.

mod guards;

use super::heartbeat::LEAP_MAX;
use super::*;
use crate::bench::{Bench, contact, contact_in, node};
use crate::frame::{Answered, ENTRIES_MAX, Rumor, Wanted};
use crate::machine::Effect;
use alloc::collections::BTreeMap;
use alloc::vec;
use proptest::prelude::*;

/// In this time every neighbour is asked once, among three that there are.
const ROUND_MS: u64 = 3 * 1_400;

fn config() -> Config {
    Config { members: true, ..Config::default() }
}

fn record(number: u8, life: u64, revision: u32, state: MemberState) -> MemberRecord {
    let cluster = ClusterNumbers { heartbeat_ms: 2_000, ttl_ms: 7_000, ring_size: 64 };
    MemberRecord { contact: contact_in(number, life), revision, state, weight: 1, zone: 0, cluster }
}

fn entry_of(record: MemberRecord, counter: u32, age_ms: u32) -> MemberEntry {
    MemberEntry { record: Arc::new(record), counter, age_ms }
}

/// An active member in its first life, just heard.
fn entry(number: u8, counter: u32) -> MemberEntry {
    entry_of(record(number, 1, 1, MemberState::Active), counter, 0)
}

fn life(number: u8) -> Life {
    Life::of(&contact(number))
}

fn beat(number: u8, counter: u32, age_ms: u32) -> Beat {
    Beat { life: life(number), counter, revision: 1, age_ms }
}

fn framed(from: u8, frame: MembersFrame) -> Input {
    Input::Frame { from: node(from), frame }
}

fn push(from: u8, answered: Answered, entries: Vec<MemberEntry>) -> Input {
    framed(from, MembersFrame::Push { answered, entries })
}

fn beats(from: u8, beats: Vec<Beat>) -> Input {
    framed(from, MembersFrame::Beats { asks: false, again_ms: 0, beats })
}

fn news(from: u8, rumor: &Rumor) -> Input {
    framed(from, MembersFrame::News(vec![rumor.clone()]))
}

fn up(peer: u8) -> Input {
    Input::NeighborUp { peer: node(peer) }
}

fn down(peer: u8, loss: NeighborLoss) -> Input {
    Input::NeighborDown { peer: node(peer), loss }
}

/// What came out of a step: frames by receiver, sent or to be reached, news, and changes of members.
#[derive(Debug, Default)]
struct Seen {
    frames: Vec<(u8, MembersFrame)>,
    news: Vec<Rumor>,
    changes: Vec<(u8, Option<MemberState>, MemberState, bool)>,
    losses: Vec<(u8, ServiceLoss)>,
    refused: Vec<&'static str>,
    outlived: Vec<u64>,
    apart: Vec<u8>,
    asked: Vec<u8>,
    dead: Vec<u8>,
    strange: Vec<u8>,
}

impl Seen {
    fn to(&self, number: u8) -> Vec<&MembersFrame> {
        self.frames.iter().filter(|(to, _)| *to == number).map(|(_, frame)| frame).collect()
    }

    fn pings(&self) -> usize {
        self.frames.iter().filter(|(_, frame)| matches!(frame, MembersFrame::Ping { .. })).count()
    }

    fn pulls(&self) -> Vec<(u8, Wanted)> {
        let pull = |(to, frame): &(u8, MembersFrame)| match frame {
            MembersFrame::Pull(wanted) => Some((*to, wanted.clone())),
            _ => None,
        };
        self.frames.iter().filter_map(pull).collect()
    }

    fn told(&self, number: u8) -> Vec<Rumor> {
        let rumors = self.to(number).into_iter().filter_map(|frame| match frame {
            MembersFrame::News(rumors) => Some(rumors.clone()),
            _ => None,
        });
        rumors.flatten().collect()
    }

    fn beats_to(&self, number: u8) -> Vec<Beat> {
        let beats = self.to(number).into_iter().filter_map(|frame| match frame {
            MembersFrame::Beats { beats, .. } => Some(beats.clone()),
            _ => None,
        });
        beats.flatten().collect()
    }
}

fn seen(bench: &mut Bench<Members>) -> Seen {
    let mut seen = Seen::default();
    for effect in bench.effects.drain(..) {
        if let Effect::Send { to, frame: Frame::Members(frame), channel } = effect {
            assert_eq!(Frame::Members(frame.clone()).channel(), channel);
            if let MembersFrame::News(rumors) = &frame {
                let new = rumors.iter().filter(|rumor| !seen.news.contains(rumor)).cloned();
                let new: Vec<Rumor> = new.collect();
                seen.news.extend(new);
            }
            seen.frames.push((to.0[0], frame));
        }
    }
    while let Some(event) = bench.machine.poll_event() {
        match event {
            Event::Changed { member, was, loss } => {
                let number = member.id().0[0];
                seen.changes.push((number, was, member.state, member.is_suspected));
                seen.losses.extend(loss.map(|loss| (number, loss)));
            }
            Event::Refused { key, .. } => seen.refused.push(key),
            Event::Outlived { incarnation } => seen.outlived.push(incarnation.0),
            Event::Apart { contact } => seen.apart.push(contact.id().0[0]),
            Event::Dead { peer } => seen.dead.push(peer.0[0]),
            Event::Asked { peer } => seen.asked.push(peer.0[0]),
            Event::Strange { peer } => seen.strange.push(peer.0[0]),
            Event::Reach { contact, frame } => seen.frames.push((contact.id().0[0], frame)),
        }
    }
    seen
}

fn give(bench: &mut Bench<Members>, input: Input) -> Seen {
    bench.call(|machine, cx| machine.handle(input, cx));
    seen(bench)
}

/// Lets time pass with every deadline on the way; neighbours that are asked for a sign of life give one.
fn pass(bench: &mut Bench<Members>, ms: u64) -> Seen {
    pass_with(bench, ms, |_| true)
}

/// Lets time pass while only some answer.
fn pass_with(bench: &mut Bench<Members>, ms: u64, answers: impl Fn(u8) -> bool) -> Seen {
    let end = bench.now.mono.plus_millis(ms);
    let asked = |effect: &Effect| match effect {
        Effect::Send { to, frame: Frame::Members(MembersFrame::Beats { asks: true, .. }), .. } => {
            Some(to.0[0])
        }
        _ => None,
    };
    while let Some(due) = bench.machine.poll_timeout().filter(|due| *due <= end) {
        let before = bench.effects.len();
        bench.set_time(due.max(bench.now.mono));
        bench.call(|machine, cx| machine.handle_timeout(cx));
        let answering: Vec<u8> = bench.effects[before..].iter().filter_map(asked).collect();
        for from in answering.into_iter().filter(|from| answers(*from)) {
            bench.call(|machine, cx| machine.handle(beats(from, vec![]), cx));
        }
    }
    bench.set_time(end);
    seen(bench)
}

fn fresh(config: Config) -> Bench<Members> {
    let mut bench = Bench::new(Members::new(Arc::new(config), contact(1)));
    bench.set_time(Instant::from_millis(100_000));
    bench
}

fn joined(config: Config, is_first: bool) -> (Bench<Members>, Seen) {
    let mut bench = fresh(config);
    let seen = give(&mut bench, Input::Join { contact: contact(1), is_first });
    (bench, seen)
}

/// Node 1, the first, with active neighbours 2 to `last`, each heard once. Nothing of that is news any more.
fn bench(last: u8) -> Bench<Members> {
    let (mut bench, _) = joined(config(), true);
    pass(&mut bench, 6_000); // its own coming is no news any more
    for number in 2..=last {
        give(&mut bench, push(number, Answered::Lives, vec![entry(number, 1)]));
    }
    for number in 2..=last {
        give(&mut bench, up(number));
    }
    pass(&mut bench, 200);
    assert_eq!(bench.machine.len(), usize::from(last));
    bench
}

fn state(bench: &Bench<Members>, number: u8) -> Option<(MemberState, bool)> {
    bench.machine.get(&node(number)).map(|member| (member.state, member.is_suspected))
}

// --- coming in

#[test]
fn the_first_of_a_cluster_takes_part_at_once_and_tells() {
    let (mut bench, _) = joined(config(), true);
    assert_eq!(bench.machine.state(), MemberState::Active);
    let seen = give(&mut bench, up(2));
    assert!(matches!(&seen.told(2)[..], [Rumor::Record(entry)] if entry.record.state == MemberState::Active));
}

#[test]
fn a_joiner_takes_part_when_it_knows_whom_an_active_neighbour_knows() {
    let (mut bench, seen) = joined(config(), false);
    assert!(seen.news.is_empty());
    assert_eq!(bench.machine.state(), MemberState::Joining);
    assert_eq!(give(&mut bench, up(2)).pulls(), [(2, Wanted::Page(0))]);
    let seen = give(&mut bench, push(2, Answered::Page(7), vec![entry(2, 5), entry(3, 5)]));
    assert_eq!(seen.pulls(), [(2, Wanted::Page(7))]);
    assert_eq!(bench.machine.state(), MemberState::Joining, "it owns nothing before it knows everybody");
    let seen = give(&mut bench, push(2, Answered::LastPage, vec![entry(4, 5)]));
    assert_eq!(bench.machine.state(), MemberState::Active);
    assert_eq!(seen.news.len(), 1);
    assert_eq!(bench.machine.active().count(), 4);
}

#[test]
fn among_the_new_everybody_waits_for_a_lease_and_then_takes_part() {
    let (mut bench, _) = joined(config(), false);
    give(&mut bench, up(2));
    let synced = entry_of(record(2, 1, 1, MemberState::Synced), 1, 0);
    give(&mut bench, push(2, Answered::LastPage, vec![synced]));
    assert_eq!(bench.machine.state(), MemberState::Synced);
    pass(&mut bench, 6_900);
    assert_eq!(bench.machine.state(), MemberState::Synced);
    for _ in 0..4 {
        let synced = entry_of(record(2, 1, 1, MemberState::Synced), 1, 0);
        give(&mut bench, push(2, Answered::LastPage, vec![synced]));
        pass(&mut bench, 2_000);
    }
    assert_eq!(bench.machine.state(), MemberState::Active);
}

#[test]
fn a_peer_that_does_not_answer_is_replaced_by_another() {
    let (mut bench, _) = joined(config(), false);
    give(&mut bench, up(2));
    give(&mut bench, up(3));
    let seen = give(&mut bench, down(2, NeighborLoss::Replaced));
    let later = pass(&mut bench, 10);
    assert_eq!([seen.pulls(), later.pulls()].concat(), [(3, Wanted::Page(0))]);
}

#[test]
fn a_table_is_told_page_by_page() {
    let config = Config { members_max: 1_000, ..config() };
    let (mut bench, _) = joined(config, true);
    give(&mut bench, up(2));
    for number in 2..=200 {
        give(&mut bench, push(2, Answered::Lives, vec![entry(number, 1)]));
    }
    let (mut next, mut told) = (Some(0), 0);
    while let Some(from) = next {
        let seen = give(&mut bench, framed(2, MembersFrame::Pull(Wanted::Page(from))));
        let [MembersFrame::Push { answered, entries }] = seen.to(2)[..] else { panic!("{seen:?}") };
        assert!(entries.len() <= ENTRIES_MAX);
        told += entries.len();
        next = if let Answered::Page(next) = answered { Some(*next) } else { None };
    }
    assert_eq!(told, 200);
}

#[test]
fn who_asks_again_and_again_is_answered_within_its_share() {
    for from in [2, 9] {
        let mut bench = bench(5);
        let ask =
            |bench: &mut Bench<Members>, what: Wanted| give(bench, framed(from, MembersFrame::Pull(what)));
        let mut told = 0;
        for _ in 0..2_000 {
            let seen = ask(&mut bench, Wanted::Page(0));
            let entries = |frame: &&MembersFrame| {
                if let MembersFrame::Push { entries, .. } = frame { entries.len() } else { 0 }
            };
            told += seen.to(from).iter().map(entries).sum::<usize>();
        }
        assert_eq!(
            (told, bench.stats.pulls_refused),
            (1_010, 2_000 - 202),
            "a second's share, and all twice"
        );
        assert!(
            ask(&mut bench, Wanted::Lives(vec![life(99)])).to(from).is_empty(),
            "nothing is an answer too"
        );
        assert!(!give(&mut bench, framed(3, MembersFrame::Pull(Wanted::Page(0)))).to(3).is_empty());
        pass(&mut bench, 10);
        assert!(!ask(&mut bench, Wanted::Page(0)).to(from).is_empty(), "its share does not come back");
    }
}

#[test]
fn who_was_away_is_told_who_has_left() {
    let mut bench = bench(3);
    give(&mut bench, news(2, &Rumor::Record(entry_of(record(3, 1, 2, MemberState::Left), 2, 0))));
    let seen = give(&mut bench, framed(2, MembersFrame::Pull(Wanted::Page(0))));
    let [MembersFrame::Push { answered: Answered::LastPage, entries }] = seen.to(2)[..] else {
        panic!("{seen:?}")
    };
    let left = entries.iter().find(|entry| entry.record.contact == contact(3)).expect("a word of node 3");
    assert_eq!(left.record.state, MemberState::Left);

    let mut away = self::bench(3);
    give(&mut away, push(2, Answered::LastPage, entries.clone()));
    assert_eq!(state(&away, 3), Some((MemberState::Left, false)));
}

// --- heartbeats

#[test]
fn a_rise_is_handed_on_once_to_everybody_but_those_that_have_it() {
    let mut bench = bench(4);
    pass(&mut bench, 1_500);
    give(&mut bench, beats(2, vec![beat(2, 7, 100)]));
    give(&mut bench, beats(3, vec![beat(2, 7, 300)]));
    let seen = pass(&mut bench, ROUND_MS);
    let of_2 = |to| seen.beats_to(to).into_iter().filter(|it| it.life == life(2)).collect::<Vec<_>>();
    assert_eq!((of_2(2).len(), of_2(3).len(), of_2(4).len()), (0, 0, 1));
    assert!(
        of_2(4)[0].counter == 7 && (100..=100 + ROUND_MS as u32).contains(&of_2(4)[0].age_ms),
        "{:?}",
        of_2(4)
    );
    let later = pass(&mut bench, ROUND_MS);
    assert!(later.beats_to(4).iter().all(|it| it.life != life(2)), "it is told twice");
}

#[test]
fn a_new_neighbour_is_shown_who_this_node_is() {
    let mut bench = bench(3);
    let shown = give(&mut bench, up(4)).beats_to(4);
    assert_eq!(shown.iter().map(|beat| beat.life).collect::<Vec<_>>(), [life(1)]);
}

#[test]
fn a_full_link_gets_the_latest_rise_when_it_is_ready() {
    let mut bench = bench(3);
    pass(&mut bench, 1_500);
    give(&mut bench, Input::LinkFull { peer: node(3), channel: Channel::Lazy });
    for counter in 5..9 {
        give(&mut bench, beats(2, vec![beat(2, counter, 0)]));
        assert!(pass(&mut bench, ROUND_MS).beats_to(3).is_empty());
    }
    give(&mut bench, Input::LinkReady { peer: node(3), channel: Channel::Lazy });
    let seen = pass(&mut bench, ROUND_MS);
    let of_2: Vec<u32> =
        seen.beats_to(3).iter().filter(|it| it.life == life(2)).map(|it| it.counter).collect();
    assert_eq!(of_2, [8]);
}

#[test]
fn an_unknown_life_and_a_higher_revision_are_asked_for_once() {
    let mut bench = bench(3);
    let higher = Beat { revision: 2, ..beat(3, 2, 0) };
    let seen = give(&mut bench, beats(2, vec![beat(9, 1, 0), higher]));
    assert_eq!(seen.pulls(), [(2, Wanted::Lives(vec![life(9), life(3)]))]);
    assert!(give(&mut bench, beats(3, vec![beat(9, 1, 0)])).pulls().is_empty());
}

#[test]
fn heartbeats_slow_down_and_leases_grow_with_the_number_of_members() {
    let mut bench = bench(2);
    assert_eq!((bench.machine.heartbeat_ms(), bench.machine.lease_ms()), (2_000, 7_000));
    bench.machine.pace = 1_000;
    assert_eq!((bench.machine.heartbeat_ms(), bench.machine.lease_ms()), (7_812, 27_342));
    pass(&mut bench, 2_300);
    assert!((800..1_000).contains(&bench.machine.pace), "leases shrink before heartbeats have sped up");
}

// --- exchanges

/// Asked by a neighbour for a sign of life, and promised to hear from it again.
fn asking(from: u8, again_ms: u32) -> Input {
    framed(from, MembersFrame::Beats { asks: true, again_ms, beats: vec![] })
}

fn pings_to(seen: &Seen, number: u8) -> usize {
    seen.to(number).iter().filter(|frame| matches!(frame, MembersFrame::Ping { .. })).count()
}

#[test]
fn neighbours_are_asked_in_turn_and_told_when_it_is_theirs_again() {
    let mut bench = bench(4);
    let seen = pass(&mut bench, 3 * ROUND_MS);
    let mut first = seen.asked[..3].to_vec();
    assert_eq!(seen.asked.chunks(3).collect::<Vec<_>>(), [&first[..]; 3]);
    first.sort_unstable();
    assert_eq!(first, [2, 3, 4]);
    assert_eq!(promises(&seen).iter().map(|(_, again_ms)| *again_ms).collect::<Vec<_>>(), [4_200; 9]);
}

/// Who was promised to hear again, and when.
fn promises(seen: &Seen) -> Vec<(u8, u32)> {
    let promise = |(to, frame): &(u8, MembersFrame)| match frame {
        MembersFrame::Beats { again_ms: again_ms @ 1.., .. } => Some((*to, *again_ms)),
        _ => None,
    };
    seen.frames.iter().filter_map(promise).collect()
}

#[test]
fn a_full_link_is_passed_over_and_comes_first_when_it_is_ready() {
    let mut bench = bench(4);
    give(&mut bench, Input::LinkFull { peer: node(3), channel: Channel::Lazy });
    assert!(pass(&mut bench, ROUND_MS).asked.iter().all(|number| *number != 3));
    give(&mut bench, Input::LinkReady { peer: node(3), channel: Channel::Lazy });
    assert_eq!(pass(&mut bench, 1_400).asked, [3]);
}

#[test]
fn who_is_asked_answers_at_once_with_what_is_lacking_there() {
    let mut bench = bench(3);
    pass(&mut bench, ROUND_MS);
    for (counter, told) in [(None, vec![life(1)]), (Some(5), vec![life(3)])] {
        give(&mut bench, beats(3, counter.map(|counter| beat(3, counter, 0)).into_iter().collect()));
        let seen = give(&mut bench, asking(2, 0));
        let [MembersFrame::Beats { asks: false, again_ms: 1.., beats }] = seen.to(2)[..] else {
            panic!("{seen:?}")
        };
        assert_eq!(beats.iter().map(|beat| beat.life).collect::<Vec<_>>(), told);
    }
}

#[test]
fn a_neighbour_that_does_not_answer_is_doubted_when_its_time_is_over() {
    let mut bench = bench(4);
    let mut asked = None;
    for ms in 0..4_000 {
        let seen = pass_with(&mut bench, 1, |_| false);
        asked = asked.or(seen.asked.first().map(|number| (*number, ms)));
        if seen.pings() > 0 {
            let (number, at) = asked.expect("it was asked");
            assert_eq!((pings_to(&seen, number), ms - at), (1, 400));
            return;
        }
    }
    panic!("silence is no reason to doubt");
}

/// Lets time pass until a neighbour is asked, which does not answer.
fn ask(bench: &mut Bench<Members>) -> u8 {
    loop {
        if let [asked] = pass_with(bench, 1, |_| false).asked[..] {
            return asked;
        }
    }
}

#[test]
fn a_question_has_its_time_whatever_else_is_asked_meanwhile() {
    let mut bench = bench(4);
    bench.machine.pace = 1_000; // one more is asked after 350 ms
    let first = ask(&mut bench);
    assert_eq!(pings_to(&pass_with(&mut bench, 399, |_| false), first), 0);
    assert_eq!(pings_to(&pass_with(&mut bench, 1, |_| false), first), 1);
}

#[test]
fn an_answer_is_that_of_who_was_asked() {
    for is_own in [false, true] {
        let mut bench = bench(4);
        let asked = ask(&mut bench);
        let other = [2, 3, 4].into_iter().find(|number| *number != asked).expect("three");
        give(&mut bench, beats(if is_own { asked } else { other }, vec![]));
        assert_eq!(pings_to(&pass(&mut bench, 400), asked), usize::from(!is_own));
    }
}

#[test]
fn who_goes_with_a_question_open_is_not_looked_for() {
    let mut bench = bench(4);
    let asked = ask(&mut bench);
    give(&mut bench, down(asked, NeighborLoss::Replaced));
    assert_eq!(pass(&mut bench, 1_000).pings(), 0);
}

#[test]
fn after_a_pause_an_answer_has_time_to_arrive() {
    let mut bench = bench(4);
    let asked = ask(&mut bench);
    bench.set_time(bench.now.mono.plus_millis(900));
    assert_eq!(pass(&mut bench, 300).pings(), 0, "it may lie in the inbox");
    assert_eq!(pings_to(&pass(&mut bench, 100), asked), 1);
}

#[test]
fn when_members_go_and_turns_come_later_that_is_promised_anew() {
    let mut bench = bench(4);
    bench.machine.pace = 16;
    assert_eq!(bench.machine.exchange_ms(), 933);
    let mut seen = Seen::default();
    while bench.machine.exchange_ms() == 933 {
        seen = pass(&mut bench, 1);
    }
    let mut told = promises(&seen);
    told.dedup();
    told.sort_unstable_by_key(|(_, again_ms)| *again_ms);
    let times: Vec<u32> = told.iter().map(|(_, again_ms)| *again_ms).collect();
    assert_eq!((times, told[2].0), (vec![1_400, 2_800, 4_200], seen.asked[0]));
    assert_eq!(pass(&mut bench, 4_200).asked, [told[0].0, told[1].0, told[2].0]);
}

#[test]
fn a_promise_that_is_kept_raises_no_doubt_and_a_broken_one_does() {
    let mut bench = bench(4);
    for _ in 0..3 {
        give(&mut bench, asking(2, 2_000));
        assert_eq!(pings_to(&pass(&mut bench, 2_000), 2), 0);
    }
    assert_eq!(pings_to(&pass(&mut bench, 399), 2), 0, "its frame may be on the way");
    assert_eq!(pings_to(&pass(&mut bench, 1), 2), 1);
}

#[test]
fn a_promise_of_the_next_moment_raises_no_more_doubts_than_a_later_one() {
    let mut bench = bench(4);
    give(&mut bench, asking(2, 1));
    assert_eq!(pings_to(&pass(&mut bench, 799), 2), 0);
    assert_eq!(pings_to(&pass(&mut bench, 1), 2), 1);
}

#[test]
fn a_new_neighbour_is_promised_to_hear_again() {
    let mut bench = bench(3);
    while pass(&mut bench, 1).asked.is_empty() {}
    pass(&mut bench, 500);
    assert_eq!(promises(&give(&mut bench, up(4))), [(4, 900 + 2 * 1_400)]);
    assert_eq!(pass(&mut bench, 900 + 2 * 1_400).asked.last(), Some(&4), "it is told of another time");
}

#[test]
fn when_a_neighbour_goes_those_behind_it_are_promised_their_turn_sooner() {
    let mut bench = bench(5);
    let turns = pass(&mut bench, 4 * 1_400).asked;
    while pass(&mut bench, 1).asked.is_empty() {}
    pass(&mut bench, 500);
    assert_eq!(promises(&give(&mut bench, down(turns[2], NeighborLoss::Replaced))), {
        let mut sooner = vec![(turns[3], 900 + 1_400), (turns[0], 900 + 2 * 1_400)];
        sooner.sort_unstable();
        sooner
    });
    assert_eq!(pass(&mut bench, 900 + 2 * 1_400).asked, [turns[1], turns[3], turns[0]]);
}

#[test]
fn after_a_pause_what_was_promised_has_time_to_arrive() {
    let mut bench = bench(4);
    give(&mut bench, asking(2, 3_000));
    bench.set_time(bench.now.mono.plus_millis(5_000));
    assert_eq!(pings_to(&pass(&mut bench, 399), 2), 0, "it may lie in the inbox");
    give(&mut bench, asking(2, 3_000));
    assert_eq!(pings_to(&pass(&mut bench, 1_000), 2), 0);
}

#[test]
fn only_a_node_that_is_no_neighbour_is_strange_when_it_asks() {
    let mut bench = bench(3);
    assert_eq!(give(&mut bench, asking(2, 0)).strange, []);
    let seen = give(&mut bench, asking(9, 3_000));
    assert_eq!((&seen.strange[..], seen.to(9)), (&[9][..], vec![]));
    assert_eq!(give(&mut bench, beats(9, vec![])).strange, []);
}

#[test]
fn exchanges_come_closer_while_a_rise_has_further_to_go() {
    let mut bench = bench(2);
    for (members, ms) in [(1, 1_400), (15, 1_400), (16, 933), (128, 466), (1_000, 350), (16_000, 233)] {
        bench.machine.pace = members;
        assert_eq!(bench.machine.exchange_ms(), ms, "{members} members");
    }
    let (mut shortest, _) = joined(Config { ttl_ms: 1, ..config() }, true);
    assert_eq!(shortest.machine.exchange_ms(), 1, "time stands still");
    pass(&mut shortest, 10);
}

#[test]
fn a_counter_rises_with_an_exchange_and_never_late() {
    let mut bench = bench(3);
    let (mut counter, mut risen) = (bench.machine.me().counter, vec![]);
    for ms in 0..60_000_u32 {
        let is_exchange = !pass(&mut bench, 1).asked.is_empty();
        if bench.machine.me().counter > counter {
            assert!(is_exchange, "a wake for a counter alone");
            counter = bench.machine.me().counter;
            risen.push(ms);
        }
    }
    let gaps: Vec<u32> = risen.windows(2).map(|two| two[1] - two[0]).collect();
    assert!((27..=43).contains(&risen.len()) && gaps.iter().all(|gap| *gap <= 2_801), "{gaps:?}");
}

// --- islands

#[test]
fn a_neighbour_that_takes_part_and_was_unheard_of_is_asked_whom_it_knows() {
    let mut bench = bench(3);
    give(&mut bench, up(9));
    let seen = give(&mut bench, push(9, Answered::Lives, vec![entry(9, 1)]));
    assert_eq!(seen.pulls(), [(9, Wanted::Page(0))]);
    let page = give(&mut bench, push(9, Answered::Page(7), vec![entry(8, 1)]));
    assert_eq!(page.pulls(), [(9, Wanted::Page(7))]);
    let last = give(&mut bench, push(9, Answered::LastPage, vec![entry(10, 1)]));
    let later = pass(&mut bench, 200);
    for number in [2, 3] {
        let told = [page.told(number), last.told(number), later.told(number)].concat();
        let records = told.iter().filter(|told| matches!(told, Rumor::Record(_))).count();
        assert_eq!(records, 2, "this island is told whom the other one knows");
    }
    assert_eq!(bench.machine.state(), MemberState::Active);
}

#[test]
fn who_is_no_neighbour_or_does_not_take_part_is_asked_for_no_table() {
    let mut bench = bench(3);
    assert_eq!(give(&mut bench, push(2, Answered::Lives, vec![entry(9, 1)])).pulls(), []);
    give(&mut bench, up(8));
    let joining = entry_of(record(8, 1, 1, MemberState::Joining), 1, 0);
    assert_eq!(give(&mut bench, push(8, Answered::Lives, vec![joining])).pulls(), []);
}

#[test]
fn while_an_island_is_asked_for_its_table_others_are_asked_for_records() {
    let mut bench = bench(3);
    give(&mut bench, up(9));
    give(&mut bench, push(9, Answered::Lives, vec![entry(9, 1)]));
    let seen = give(&mut bench, beats(2, vec![beat(8, 1, 0)]));
    assert_eq!(seen.pulls(), [(2, Wanted::Lives(vec![life(8)]))]);
}

#[test]
fn an_island_that_does_not_answer_is_given_up_for_the_next() {
    let mut bench = bench(3);
    for number in [8, 9] {
        give(&mut bench, up(number));
        let seen = give(&mut bench, push(number, Answered::Lives, vec![entry(number, 1)]));
        assert_eq!(seen.pulls(), [(number, Wanted::Page(0))]);
        pass(&mut bench, 7_000);
    }
}

#[test]
fn a_neighbour_that_is_taken_for_dead_is_told_of() {
    let mut bench = bench(4);
    let seen = give(&mut bench, Input::Quiet { peer: node(2) });
    refuse_help(&mut bench, &seen);
    let is_alive = |number| number != 2;
    assert_eq!(pass_with(&mut bench, 3_400, is_alive).dead, [2]);
}

// --- finding the dead

#[test]
fn a_lost_neighbour_is_pinged_by_others_then_suspected_then_dead() {
    let mut bench = bench(6);
    let seen = give(&mut bench, down(2, NeighborLoss::LinkLost));
    let helpers = seen.frames.iter().filter(|(_, it)| matches!(it, MembersFrame::PingRequest { .. })).count();
    assert_eq!((seen.pings(), helpers), (1, 3));
    assert!(seen.changes.is_empty() && seen.news.is_empty(), "a doubt is told before it is confirmed");
    refuse_help(&mut bench, &seen);
    let seen = pass(&mut bench, 1_260);
    assert_eq!(seen.news, [Rumor::Suspect { life: life(2), counter: 1 }]);
    assert_eq!(seen.changes, [(2, Some(MemberState::Active), MemberState::Active, true)]);
    let seen = pass(&mut bench, 3_100);
    assert_eq!(seen.changes, [(2, Some(MemberState::Active), MemberState::Dead, false)]);
    assert_eq!(seen.losses, [(2, ServiceLoss::Dead)]);
    assert!(pass(&mut bench, 3_000).losses.iter().all(|(number, _)| *number != 2), "it dies twice");
}

/// Everybody who was asked for help says that the target is not reached.
fn refuse_help(bench: &mut Bench<Members>, seen: &Seen) {
    for (from, frame) in &seen.frames {
        if let MembersFrame::PingRequest { nonce, .. } = frame {
            give(bench, framed(*from, MembersFrame::PingAnswer { nonce: *nonce, beat: None }));
        }
    }
}

#[test]
fn a_member_that_anybody_reaches_is_not_suspected() {
    for is_direct in [true, false] {
        let mut bench = bench(6);
        let seen = give(&mut bench, Input::Quiet { peer: node(2) });
        let asked = seen.frames.iter().find_map(|(to, frame)| match frame {
            MembersFrame::PingRequest { nonce, .. } => Some((*to, *nonce)),
            _ => None,
        });
        let (helper, nonce) = asked.expect("somebody is asked");
        let answer = if is_direct {
            framed(2, MembersFrame::Pong { nonce, beat: beat(2, 2, 0) })
        } else {
            framed(helper, MembersFrame::PingAnswer { nonce, beat: Some(beat(2, 2, 0)) })
        };
        give(&mut bench, answer);
        let seen = pass(&mut bench, 4_000);
        assert!(
            seen.news.iter().all(|told| !matches!(told, Rumor::Suspect { life: of, .. } if *of == life(2)))
        );
        assert!(bench.stats.confirmed_alive == 1);
    }
}

#[test]
fn who_hears_nobody_doubts_itself_first() {
    let mut bench = bench(6);
    give(&mut bench, down(2, NeighborLoss::Silent));
    let seen = pass(&mut bench, 890);
    assert!(seen.news.is_empty(), "nobody has answered: it may be this node that is not heard");
    assert!(bench.machine.health.0 > 0);
    let seen = pass(&mut bench, 12_000);
    assert!(seen.news.contains(&Rumor::Suspect { life: life(2), counter: 1 }), "it never makes up its mind");
}

#[test]
fn a_suspicion_that_somebody_else_tells_ends_ones_own_doubt() {
    let mut bench = bench(6);
    let seen = give(&mut bench, down(2, NeighborLoss::Silent));
    refuse_help(&mut bench, &seen);
    let seen = give(&mut bench, news(3, &Rumor::Suspect { life: life(2), counter: 1 }));
    assert_eq!(seen.changes, [(2, Some(MemberState::Active), MemberState::Active, true)]);
    assert!(pass(&mut bench, 2_000).news.is_empty());
}

#[test]
fn only_a_higher_counter_refutes() {
    let mut bench = bench(4);
    give(&mut bench, news(3, &Rumor::Suspect { life: life(2), counter: 1 }));
    give(&mut bench, beats(3, vec![beat(2, 1, 0)]));
    assert_eq!(state(&bench, 2), Some((MemberState::Active, true)));
    let seen = give(&mut bench, news(3, &Rumor::Alive(beat(2, 2, 0))));
    assert_eq!(seen.changes, [(2, Some(MemberState::Active), MemberState::Active, false)]);
    let seen = give(&mut bench, news(4, &Rumor::Suspect { life: life(2), counter: 1 }));
    assert!(seen.changes.is_empty(), "a suspicion that was refuted comes late");
}

#[test]
fn only_a_counter_beyond_the_suspicions_refutes_it() {
    let mut bench = bench(4);
    give(&mut bench, news(3, &Rumor::Suspect { life: life(2), counter: 5 }));
    give(&mut bench, beats(3, vec![beat(2, 5, 0)]));
    assert_eq!(state(&bench, 2), Some((MemberState::Active, true)), "it was suspected with that one");
    give(&mut bench, beats(3, vec![beat(2, 6, 0)]));
    assert_eq!(state(&bench, 2), Some((MemberState::Active, false)));
}

#[test]
fn a_suspicion_that_nobody_could_refute_is_nobodys() {
    let mut bench = bench(4);
    for (counter, is_suspected) in [(u32::MAX, false), (1 << 24, true)] {
        give(&mut bench, news(3, &Rumor::Suspect { life: life(2), counter }));
        assert_eq!(state(&bench, 2), Some((MemberState::Active, is_suspected)));
    }
}

#[test]
fn a_suspicion_with_a_later_counter_takes_a_later_one_to_refute() {
    let mut bench = bench(4);
    for counter in [1, 5] {
        give(&mut bench, news(3, &Rumor::Suspect { life: life(2), counter }));
    }
    give(&mut bench, beats(3, vec![beat(2, 5, 0)]));
    assert_eq!(state(&bench, 2), Some((MemberState::Active, true)));
}

#[test]
fn a_suspected_node_shows_itself_alive_and_suspects_less() {
    let mut bench = bench(3);
    let counter = bench.machine.me().counter;
    let seen = give(&mut bench, news(2, &Rumor::Suspect { life: life(1), counter }));
    let [Rumor::Alive(mine)] = seen.news[..] else { panic!("{seen:?}") };
    assert!(mine.life == life(1) && mine.counter > counter);
    assert_eq!(bench.machine.health, Health(1));
    give(&mut bench, news(3, &Rumor::Suspect { life: life(1), counter }));
    assert_eq!(bench.machine.health, Health(1), "one suspicion from two neighbours counts twice");
    give(&mut bench, news(2, &Rumor::Suspect { life: life(3), counter: 1 }));
    pass(&mut bench, 3_100);
    assert_eq!(state(&bench, 3), Some((MemberState::Active, true)), "its time is twice as long here");
}

#[test]
fn a_nodes_own_refutation_that_comes_round_is_neither_asked_for_nor_told_back() {
    let mut bench = bench(3);
    let counter = bench.machine.me().counter;
    pass(&mut bench, 300);
    give(&mut bench, news(2, &suspicion(3, 1)));
    give(&mut bench, news(2, &Rumor::Suspect { life: life(1), counter })); // waits for its pace
    let mine = Beat { life: life(1), counter: bench.machine.me().counter, revision: 1, age_ms: 0 };
    let seen = give(&mut bench, news(2, &Rumor::Alive(mine)));
    assert!(seen.pulls().is_empty(), "a node asks for its own record");
    let seen = pass(&mut bench, 100);
    assert_eq!((seen.told(2).len(), seen.told(3).len()), (0, 1));
}

#[test]
fn the_dead_come_back_with_a_rise_after_the_verdict_and_not_with_one_before() {
    let mut bench = bench(3);
    give(&mut bench, news(3, &Rumor::Suspect { life: life(2), counter: 1 }));
    pass(&mut bench, 3_100);
    assert_eq!(state(&bench, 2), Some((MemberState::Dead, false)));
    give(&mut bench, beats(3, vec![beat(2, 2, 5_000)]));
    assert_eq!(state(&bench, 2), Some((MemberState::Dead, false)), "an old heartbeat came late");
    let seen = give(&mut bench, beats(3, vec![beat(2, 3, 0)]));
    assert_eq!(seen.changes, [(2, Some(MemberState::Dead), MemberState::Active, false)]);
}

#[test]
fn the_dead_with_a_new_record_come_back_as_what_they_say_they_are() {
    let mut bench = bench(3);
    give(&mut bench, news(3, &Rumor::Suspect { life: life(2), counter: 1 }));
    pass(&mut bench, 3_100);
    let seen = give(&mut bench, beats(3, vec![Beat { revision: 2, ..beat(2, 9, 0) }]));
    assert!(seen.changes.is_empty() && seen.pulls() == [(3, Wanted::Lives(vec![life(2)]))]);
    let joining = entry_of(record(2, 1, 2, MemberState::Joining), 10, 0);
    let seen = give(&mut bench, push(3, Answered::Lives, vec![joining]));
    assert_eq!(seen.changes, [(2, Some(MemberState::Dead), MemberState::Joining, false)]);
}

#[test]
fn the_dead_do_not_come_back_with_a_record_alone_and_no_record_of_them_is_told() {
    let mut bench = bench(4);
    give(&mut bench, news(3, &Rumor::Suspect { life: life(2), counter: 1 }));
    pass(&mut bench, 2_995);
    let joining = entry_of(record(2, 1, 2, MemberState::Joining), 1, 0);
    let other = entry_of(record(4, 1, 2, MemberState::Active), 2, 0);
    give(&mut bench, news(4, &Rumor::Record(other))); // what comes next waits for its pace
    give(&mut bench, news(3, &Rumor::Record(joining)));
    let seen = pass(&mut bench, 300);
    assert_eq!(state(&bench, 2), Some((MemberState::Dead, false)));
    let is_told = |told: &Rumor| matches!(told, Rumor::Record(of) if of.record.life() == life(2));
    assert!(!seen.news.iter().any(is_told), "{:?}", seen.news);
    let active = entry_of(record(2, 1, 3, MemberState::Active), 1, 0);
    assert!(give(&mut bench, push(3, Answered::Lives, vec![active])).changes.is_empty());
}

#[test]
fn who_was_gone_when_this_node_left_is_forgotten_when_it_is_back() {
    let (mut bench, _) = joined(Config { members_max: 3, ..config() }, true);
    give(&mut bench, up(2));
    let left = entry_of(record(3, 1, 2, MemberState::Left), 1, 0);
    give(&mut bench, push(2, Answered::Lives, vec![entry(2, 1), entry(3, 1)]));
    give(&mut bench, push(2, Answered::Lives, vec![left]));
    give(&mut bench, Input::Leave);
    pass(&mut bench, 1_000);
    give(&mut bench, Input::Join { contact: contact_in(1, 2), is_first: true });
    pass(&mut bench, config().gone_retention_ms + 10_000);
    assert_eq!(state(&bench, 3), None);
}

#[test]
fn a_lease_that_runs_out_leads_to_a_doubt_and_never_to_a_verdict() {
    let mut bench = bench(5);
    let mut pings = 0;
    for counter in 2..11 {
        let others = [3, 4, 5].map(|number| beat(number, counter, 0));
        give(&mut bench, beats(3, others.to_vec()));
        let seen = pass(&mut bench, 1_000);
        pings += seen.to(2).iter().filter(|frame| matches!(frame, MembersFrame::Ping { .. })).count();
        assert!(seen.losses.is_empty());
    }
    assert!(pings > 0, "a member that is not heard is not looked after");
}

#[test]
fn a_row_is_one_cache_line() {
    assert_eq!(size_of::<Option<Row>>(), 64, "a heartbeat looks at more memory than it must");
}

#[test]
fn who_answers_after_its_lease_has_run_out_is_told_to_stand_apart() {
    for is_direct in [true, false] {
        let mut bench = bench(5);
        let mut asked = Vec::new();
        for counter in 2..20 {
            let others = [3, 4, 5].map(|number| beat(number, counter, 0));
            give(&mut bench, beats(3, others.to_vec()));
            let seen = pass(&mut bench, 500);
            assert!(seen.apart.is_empty(), "nobody has answered");
            asked.extend(seen.frames.iter().filter_map(|(to, frame)| match frame {
                MembersFrame::Ping { nonce } if is_direct && *to == 2 => Some((*to, *nonce)),
                MembersFrame::PingRequest { nonce, .. } if !is_direct => Some((*to, *nonce)),
                _ => None,
            }));
            if !asked.is_empty() {
                break;
            }
        }
        let (asked, nonce) = asked[0];
        let shown = beat(2, 2, 0);
        let answer = if is_direct {
            MembersFrame::Pong { nonce, beat: shown }
        } else {
            MembersFrame::PingAnswer { nonce, beat: Some(shown) }
        };
        assert_eq!(give(&mut bench, framed(asked, answer.clone())).apart, [2]);
        assert_eq!(give(&mut bench, framed(asked, answer)).apart, [], "once for each doubt");
    }
}

#[test]
fn a_neighbour_that_answers_within_its_lease_does_not_stand_apart() {
    let mut bench = bench(6);
    let seen = give(&mut bench, Input::Quiet { peer: node(2) });
    let asked = seen.to(2).into_iter().find_map(|frame| match frame {
        MembersFrame::Ping { nonce } => Some(*nonce),
        _ => None,
    });
    let nonce = asked.expect("a ping");
    let seen = give(&mut bench, framed(2, MembersFrame::Pong { nonce, beat: beat(2, 2, 0) }));
    assert_eq!((seen.apart, bench.stats.confirmed_alive), (vec![], 1));
}

#[test]
fn wall_clocks_move_nothing() {
    let run = |step_ms: u64| {
        let mut bench = bench(4);
        bench.now.wall.0 = bench.now.wall.0.wrapping_add(step_ms);
        give(&mut bench, beats(3, vec![beat(2, 5, 10), beat(3, 5, 10), beat(4, 5, 10)]));
        (pass(&mut bench, 5_000).changes, bench.machine.status())
    };
    assert_eq!(run(0), run(3_600_000));
    assert_eq!(run(0), run(0_u64.wrapping_sub(3_600_000)));
}

// --- helping others

#[test]
fn a_helper_pings_and_tells_what_became_of_it() {
    let mut bench = bench(4);
    let request = |nonce| MembersFrame::PingRequest { nonce, target: contact(3) };
    let seen = give(&mut bench, framed(2, request(70)));
    let [MembersFrame::Ping { nonce }] = seen.to(3)[..] else { panic!("{seen:?}") };
    let seen = give(&mut bench, framed(3, MembersFrame::Pong { nonce: *nonce, beat: beat(3, 2, 0) }));
    assert_eq!(seen.to(2), [&MembersFrame::PingAnswer { nonce: 70, beat: Some(beat(3, 2, 0)) }]);
    give(&mut bench, framed(2, request(71)));
    let seen = pass(&mut bench, 600);
    assert!(seen.to(2).contains(&&MembersFrame::PingAnswer { nonce: 71, beat: None }));
}

#[test]
fn help_is_bounded() {
    let mut bench = bench(4);
    let target = contact(3);
    for nonce in 0..200 {
        give(&mut bench, framed(2, MembersFrame::PingRequest { nonce, target: target.clone() }));
    }
    assert_eq!(bench.machine.helps.len(), bench.machine.config.confirmations_max);
}

// --- lives

#[test]
fn an_older_life_is_refused_and_answered_by_the_later_one() {
    let mut bench = bench(3);
    let later = entry_of(record(2, 5, 0, MemberState::Active), 1, 0);
    let seen = give(&mut bench, push(3, Answered::Lives, vec![later]));
    assert_eq!(seen.losses, [(2, ServiceLoss::Restarted)]);
    assert_eq!(
        seen.changes,
        [(2, Some(MemberState::Active), MemberState::Dead, false), (2, None, MemberState::Active, false)]
    );
    let seen = give(&mut bench, push(3, Answered::Lives, vec![entry(2, 99)]));
    assert!(seen.changes.is_empty());
    let [Rumor::Record(told)] = &seen.told(3)[..] else { panic!("{seen:?}") };
    assert_eq!(told.record.contact, contact_in(2, 5));
    assert_eq!(bench.machine.contact(&node(2)), Some(&contact_in(2, 5)));
    assert!(bench.stats.entries_refused == 1);
}

#[test]
fn a_record_of_an_earlier_life_of_this_node_is_answered_by_its_own() {
    let (mut bench, _) = joined(config(), true);
    give(&mut bench, up(2));
    let seen =
        give(&mut bench, push(2, Answered::Lives, vec![entry_of(record(1, 0, 9, MemberState::Left), 9, 0)]));
    assert_eq!(bench.machine.state(), MemberState::Active);
    assert_eq!((seen.to(2).len(), bench.stats.entries_refused), (1, 1));
}

#[test]
fn a_later_life_of_this_node_is_outlived_without_a_word_once_for_each_lease() {
    let mut bench = bench(3);
    let told = |life| Rumor::Record(entry_of(record(1, life, 0, MemberState::Active), 1, 0));
    let seen = give(&mut bench, news(2, &told(8)));
    assert_eq!((seen.outlived, seen.frames), (vec![8], vec![]), "two nodes contradict each other for ever");
    give(&mut bench, Input::Leave);
    give(&mut bench, Input::Join { contact: contact_in(1, 9), is_first: false });
    for life in [20, 12] {
        assert!(give(&mut bench, news(2, &told(life))).outlived.is_empty());
    }
    assert!(pass(&mut bench, 6_900).outlived.is_empty(), "it is driven from one life to the next");
    assert_eq!(pass(&mut bench, 200).outlived, [20]);
}

#[test]
fn what_the_registry_tells_of_a_later_life_is_outlived_as_well() {
    let mut bench = bench(3);
    let outlived = |life| Input::Outlived { incarnation: Incarnation(life) };
    let beyond = (bench.now.wall.0 + 86_400_001) << 16;
    assert!(give(&mut bench, outlived(beyond)).outlived.is_empty());
    assert_eq!(give(&mut bench, outlived(8)).outlived, [8]);
}

#[test]
fn who_has_left_one_life_begins_the_next_before_it_is_asked_for_another() {
    for (known, asked) in [(8, vec![]), (20, vec![20])] {
        let mut bench = bench(3);
        give(&mut bench, Input::Leave);
        assert!(give(&mut bench, Input::Outlived { incarnation: Incarnation(known) }).outlived.is_empty());
        assert!(pass(&mut bench, 10_000).outlived.is_empty());
        give(&mut bench, Input::Join { contact: contact_in(1, 9), is_first: false });
        assert_eq!(pass(&mut bench, 7_100).outlived, asked);
    }
}

#[test]
fn a_life_more_than_a_day_ahead_is_nobodys() {
    let mut bench = bench(3);
    let in_a_day = (bench.now.wall.0 + 86_400_000) << 16;
    let told = |number, life| Rumor::Record(entry_of(record(number, life, 0, MemberState::Active), 1, 0));
    for number in [1, 2, 9] {
        let seen = give(&mut bench, news(3, &told(number, in_a_day + (1 << 16))));
        assert!(seen.outlived.is_empty() && seen.changes.is_empty() && seen.news.is_empty());
        let again = give(&mut bench, news(3, &told(number, in_a_day + (1 << 16))));
        let events = if number == 1 { vec![] } else { vec!["members_ahead_ms_max"] };
        assert_eq!([seen.refused, again.refused], [events, vec![]]);
    }
    assert_eq!(give(&mut bench, news(3, &told(1, in_a_day))).outlived, [in_a_day]);
    assert_eq!(give(&mut bench, news(3, &told(2, in_a_day))).changes.len(), 2);
}

#[test]
fn who_tells_of_a_life_that_only_an_epitaph_remembers_hears_that_it_is_over() {
    let mut bench = bench(3);
    bench.machine.bury(node(9), Incarnation(5));
    let told = |life, state| Rumor::Record(entry_of(record(9, life, 3, state), 1, 0));
    let seen = give(&mut bench, news(3, &told(4, MemberState::Active)));
    let [Rumor::Record(over)] = &seen.told(3)[..] else { panic!("told nothing: {seen:?}") };
    assert_eq!((&over.record.contact, over.record.state), (&contact_in(9, 5), MemberState::Left));
    assert_eq!(over.record.revision, 4, "its last word would not be believed");
    assert!(
        give(&mut bench, news(3, &told(4, MemberState::Left))).frames.is_empty(),
        "it knows that already"
    );
    assert_eq!(give(&mut bench, news(3, &told(6, MemberState::Active))).changes.len(), 1);
}

#[test]
fn two_words_of_one_life_with_one_number_leave_the_first() {
    let mut bench = bench(3);
    let other = entry_of(record(2, 1, 1, MemberState::Leaving), 9, 0);
    assert!(give(&mut bench, push(3, Answered::Lives, vec![other])).changes.is_empty());
    assert_eq!((state(&bench, 2), bench.stats.entries_refused), (Some((MemberState::Active, false)), 1));
}

#[test]
fn a_node_that_counts_differently_is_refused_with_one_event() {
    let mut bench = bench(2);
    let cluster = ClusterNumbers { heartbeat_ms: 2_000, ttl_ms: 7_000, ring_size: 128 };
    let other = || entry_of(MemberRecord { cluster, ..record(9, 1, 1, MemberState::Active) }, 1, 0);
    assert_eq!(give(&mut bench, push(2, Answered::Lives, vec![other()])).refused, ["ring_size"]);
    assert!(give(&mut bench, push(2, Answered::Lives, vec![other()])).refused.is_empty());
    assert_eq!((state(&bench, 9), bench.stats.members_mismatched), (None, 2));
    assert!(give(&mut bench, beats(2, vec![beat(9, 1, 0)])).pulls().is_empty(), "it is asked for again");
}

#[test]
fn a_lie_about_this_node_is_outdone() {
    let mut bench = bench(3);
    let (counter, revision) =
        (bench.machine.me().counter + 1_000, bench.machine.me().record.revision + 1_000);
    give(&mut bench, news(2, &Rumor::Suspect { life: life(1), counter }));
    assert!(bench.machine.me().counter > counter, "nobody would believe that it is alive");
    let mine = MemberRecord { revision, weight: 9, ..(*bench.machine.me().record).clone() };
    let seen = give(&mut bench, push(2, Answered::Lives, vec![entry_of(mine, 1, 0)]));
    let [Rumor::Record(told)] = &seen.told(2)[..] else { panic!("{seen:?}") };
    assert_eq!((told.record.revision, told.record.weight), (revision + 1, 1));
}

#[test]
fn lies_that_use_up_the_counter_end_in_another_life_and_not_in_death() {
    let mut bench = bench(3);
    let mut lives = 0;
    for _ in 0..256 {
        let counter = bench.machine.me().counter.saturating_add(LEAP_MAX);
        lives += give(&mut bench, news(2, &Rumor::Suspect { life: life(1), counter })).outlived.len();
    }
    assert!(bench.machine.me().counter < u32::MAX - LEAP_MAX, "no number is left to show that it is alive");
    lives += pass(&mut bench, 100).outlived.len();
    assert_ne!(lives, 0, "others believe that it is dead, and it lives on");
    let counter = bench.machine.me().counter;
    give(&mut bench, news(2, &Rumor::Suspect { life: life(1), counter: u32::MAX }));
    assert!(bench.machine.me().counter <= counter + 1);
}

#[test]
fn whoever_has_missed_a_refutation_is_told_again() {
    let mut bench = bench(3);
    pass(&mut bench, 300);
    let counter = bench.machine.me().counter;
    give(&mut bench, news(2, &Rumor::Suspect { life: life(1), counter }));
    let shown = bench.machine.me().counter;
    assert!(shown > counter);
    pass(&mut bench, 1_000);
    let seen = give(&mut bench, news(2, &Rumor::Suspect { life: life(1), counter }));
    let later = pass(&mut bench, 300);
    assert!(seen.told(2).len() + later.told(2).len() > 0, "it would take this node for dead");
}

#[test]
fn counters_and_revisions_that_leap_are_nobodys() {
    let mut bench = bench(3);
    give(&mut bench, beats(3, vec![beat(2, u32::MAX, 0)]));
    give(
        &mut bench,
        push(3, Answered::Lives, vec![entry_of(record(2, 1, u32::MAX, MemberState::Left), u32::MAX, 0)]),
    );
    give(&mut bench, push(3, Answered::Lives, vec![entry(2, u32::MAX)]));
    give(&mut bench, beats(2, vec![beat(2, 2, 0)]));
    let row = bench.machine.table.row(bench.machine.table.place(&node(2)).expect("a member"));
    assert_eq!((row.counter, row.state), (2, MemberState::Active));
}

// --- news

fn suspicion(number: u8, counter: u32) -> Rumor {
    Rumor::Suspect { life: life(number), counter }
}

#[test]
fn news_goes_on_at_once_to_everybody_but_its_teller_and_only_once() {
    let mut bench = bench(4);
    pass(&mut bench, 300);
    let seen = give(&mut bench, news(3, &suspicion(2, 1)));
    assert_eq!((seen.told(2).len(), seen.told(3).len(), seen.told(4).len()), (1, 0, 1));
    let again = give(&mut bench, news(4, &suspicion(2, 1)));
    assert_eq!([again.news, pass(&mut bench, 300).news], [vec![], vec![]]);
    let seen =
        give(&mut bench, news(4, &Rumor::Record(entry_of(record(3, 1, 2, MemberState::Leaving), 2, 0))));
    assert_eq!((seen.told(2).len(), seen.told(3).len(), seen.told(4).len()), (1, 1, 0));
}

#[test]
fn news_waits_for_its_pace_and_spares_who_tells_it_meanwhile() {
    let mut bench = bench(5);
    pass(&mut bench, 300);
    give(&mut bench, news(3, &suspicion(2, 1)));
    let waiting = give(&mut bench, news(3, &suspicion(4, 1)));
    assert_eq!(waiting.news, []);
    give(&mut bench, news(5, &suspicion(4, 1)));
    let seen = pass(&mut bench, 100);
    let told: Vec<usize> = (2..=5).map(|number| seen.told(number).len()).collect();
    assert_eq!(told, [1, 0, 1, 0], "those who told it are told");
}

#[test]
fn news_of_what_is_over_is_not_handed_on() {
    let mut bench = bench(4);
    give(&mut bench, beats(2, vec![beat(2, 5, 0)]));
    pass(&mut bench, 300);
    assert_eq!(give(&mut bench, news(3, &suspicion(2, 4))).news, [], "it has shown itself alive since");
    give(&mut bench, news(3, &suspicion(4, 1)));
    give(&mut bench, news(3, &suspicion(2, 5)));
    give(&mut bench, beats(2, vec![beat(2, 6, 0)]));
    let Rumor::Alive(told) = pass(&mut bench, 150).told(3)[0] else { panic!("it is not cleared for others") };
    assert_eq!((told.life, told.counter), (life(2), 6));
}

#[test]
fn a_full_link_gets_its_news_when_it_is_ready() {
    let mut bench = bench(3);
    pass(&mut bench, 300);
    give(&mut bench, Input::LinkFull { peer: node(3), channel: Channel::Control });
    let seen = give(&mut bench, news(2, &suspicion(2, 1)));
    assert_eq!(seen.frames, []);
    pass(&mut bench, 150);
    let seen = give(&mut bench, Input::LinkReady { peer: node(3), channel: Channel::Control });
    assert_eq!(seen.told(3), [suspicion(2, 1)]);
}

#[test]
fn news_waits_for_no_neighbour_that_has_gone() {
    let mut bench = bench(3);
    pass(&mut bench, 300);
    give(&mut bench, Input::LinkFull { peer: node(3), channel: Channel::Control });
    give(&mut bench, news(2, &suspicion(2, 1)));
    assert_ne!(bench.machine.news.awaited_by(), 0);
    give(&mut bench, down(3, NeighborLoss::Replaced));
    assert_eq!(bench.machine.news.awaited_by(), 0);
}

#[test]
fn a_new_neighbour_is_told_what_is_recent() {
    let mut bench = bench(3);
    give(&mut bench, push(3, Answered::Lives, vec![entry(4, 1), entry(5, 1)]));
    let gone = |number| entry_of(record(number, 1, 2, MemberState::Left), 2, 0);
    give(&mut bench, news(3, &Rumor::Record(gone(4))));
    pass(&mut bench, 4_000);
    give(&mut bench, news(3, &Rumor::Record(gone(5))));
    pass(&mut bench, 2_000);
    let told = give(&mut bench, up(6)).told(6);
    assert!(matches!(&told[..], [Rumor::Record(entry)] if entry.record == gone(5).record), "{told:?}");
}

#[test]
fn news_that_nobody_takes_is_bounded() {
    let config = Config { members_news_max: 3, members_max: 100, ..config() };
    let (mut bench, _) = joined(config, true);
    give(&mut bench, up(2));
    give(&mut bench, Input::LinkFull { peer: node(2), channel: Channel::Control });
    (3..=20).for_each(|number| drop(give(&mut bench, news(9, &Rumor::Record(entry(number, 1))))));
    let seen = give(&mut bench, Input::LinkReady { peer: node(2), channel: Channel::Control });
    let later = pass(&mut bench, 150);
    assert_eq!(seen.told(2).len() + later.told(2).len(), 3, "the oldest give way");
}

// --- leaving

#[test]
fn leaving_is_told_to_everybody_and_is_no_death() {
    let mut bench = bench(3);
    let seen = give(&mut bench, Input::Leave);
    let said: Vec<MemberState> = seen
        .news
        .iter()
        .filter_map(|told| match told {
            Rumor::Record(entry) => Some(entry.record.state),
            _ => None,
        })
        .collect();
    assert_eq!(said, [MemberState::Leaving, MemberState::Left]);
    assert_eq!((seen.to(2).len(), seen.to(3).len()), (2, 2));
    assert_eq!(seen.losses, [(1, ServiceLoss::Left)]);
    assert_eq!(pass(&mut bench, 60_000).frames, [], "a node that has left is silent");

    let mut bench = self::bench(3);
    let left = || entry_of(record(2, 1, 2, MemberState::Left), 2, 0);
    let seen = give(&mut bench, news(3, &Rumor::Record(left())));
    assert_eq!(seen.losses, [(2, ServiceLoss::Left)]);
    assert_eq!(give(&mut bench, down(2, NeighborLoss::LinkLost)).pings(), 0, "it is looked for");
    give(&mut bench, beats(3, vec![beat(2, 9, 0)]));
    assert_eq!(state(&bench, 2), Some((MemberState::Left, false)), "who left is not taken back");
}

#[test]
fn who_suspects_a_member_that_has_left_is_told_its_own_word() {
    let mut bench = bench(3);
    give(&mut bench, down(2, NeighborLoss::Left));
    let seen = give(&mut bench, news(3, &Rumor::Suspect { life: life(2), counter: 9 }));
    let [Rumor::Record(entry)] = &seen.told(3)[..] else { panic!("told nothing: {seen:?}") };
    assert_eq!((entry.record.state, entry.record.revision), (MemberState::Left, 3));
    assert_eq!((seen.frames.len(), seen.changes.len()), (1, 0));
}

#[test]
fn a_leave_is_news_however_it_was_heard() {
    let mut bench = bench(4);
    let left = |number| entry_of(record(number, 1, 3, MemberState::Left), 2, 0);
    let seen = give(&mut bench, push(3, Answered::Lives, vec![left(2)]));
    assert_eq!((seen.told(4), seen.told(3)), (vec![Rumor::Record(left(2))], vec![]));
    assert_eq!(seen.losses, [(2, ServiceLoss::Left)]);
}

#[test]
fn a_neighbours_good_bye_on_its_link_is_enough() {
    let mut bench = bench(3);
    assert_eq!(give(&mut bench, down(2, NeighborLoss::Left)).losses, [(2, ServiceLoss::Left)]);
}

#[test]
fn who_moves_says_so_in_the_life_that_it_lives() {
    let elsewhere = |number: u8, life: u64| {
        let addr = core::net::SocketAddr::from(([10, 0, 0, number], 7));
        Contact::new(node(number), crate::Incarnation(life), &[addr])
    };
    let mut bench = bench(3);
    let seen = give(&mut bench, Input::Move { contact: elsewhere(1, 1) });
    let told = seen.told(2);
    let [Rumor::Record(told)] = &told[..] else { panic!("{told:?}") };
    assert_eq!((&told.record.contact, told.record.state), (&elsewhere(1, 1), MemberState::Active));
    let again = give(&mut bench, Input::Move { contact: elsewhere(1, 1) });
    assert_eq!(again.told(2), [], "it is there already");
    let moved = MemberRecord { contact: elsewhere(2, 1), ..record(2, 1, 5, MemberState::Active) };
    let seen = give(&mut bench, news(2, &Rumor::Record(entry_of(moved, 2, 0))));
    assert_eq!(seen.changes, [(2, Some(MemberState::Active), MemberState::Active, false)]);
    assert_eq!(bench.machine.contact(&node(2)), Some(&elsewhere(2, 1)));
}

#[test]
fn who_joins_again_begins_another_life() {
    let mut bench = bench(3);
    give(&mut bench, Input::Leave);
    let rejoined = contact_in(1, 2);
    give(&mut bench, Input::Join { contact: rejoined.clone(), is_first: false });
    assert_eq!(bench.machine.state(), MemberState::Joining);
    assert_eq!(bench.machine.contact(&node(1)), Some(&rejoined));
    let seen = pass(&mut bench, 1_000);
    assert!(seen.beats_to(2).iter().any(|beat| beat.life == Life::of(&rejoined)));
}

#[test]
fn the_gone_are_forgotten_after_their_time_and_the_left_stay_over() {
    let config = Config { gone_retention_ms: 10_000, ..config() };
    let (mut bench, _) = joined(config, true);
    give(&mut bench, up(2));
    give(&mut bench, push(2, Answered::Lives, vec![entry(3, 1)]));
    give(&mut bench, news(2, &Rumor::Record(entry_of(record(3, 1, 2, MemberState::Left), 2, 0))));
    pass(&mut bench, 15_000);
    assert_eq!(bench.machine.get(&node(3)), None);
    assert!(give(&mut bench, push(2, Answered::Lives, vec![entry(3, 9)])).changes.is_empty());
    let again = entry_of(record(3, 2, 0, MemberState::Active), 1, 0);
    assert_eq!(give(&mut bench, push(2, Answered::Lives, vec![again])).changes.len(), 1);
}

// --- being paused

#[test]
fn a_node_that_was_paused_waits_for_what_it_has_not_heard() {
    let mut bench = bench(4);
    give(&mut bench, news(3, &Rumor::Suspect { life: life(2), counter: 1 }));
    bench.set_time(bench.now.mono.plus_millis(4_000));
    bench.call(|machine, cx| machine.handle_timeout(cx));
    assert_eq!(state(&bench, 2), Some((MemberState::Active, true)), "the refutation may lie in the inbox");
    give(&mut bench, news(3, &Rumor::Alive(beat(2, 2, 0))));
    assert_eq!(state(&bench, 2), Some((MemberState::Active, false)));
    assert_eq!((bench.machine.state(), bench.stats.late), (MemberState::Active, 1));
}

#[test]
fn a_node_paused_beyond_a_lease_gives_up_its_part_until_it_has_learned_anew() {
    let mut bench = bench(3);
    bench.set_time(bench.now.mono.plus_millis(30_000));
    bench.call(|machine, cx| machine.handle_timeout(cx));
    assert_eq!(bench.machine.state(), MemberState::Joining);
    let seen = seen(&mut bench);
    let [(peer, Wanted::Page(0))] = seen.pulls()[..] else { panic!("{seen:?}") };
    give(&mut bench, push(peer, Answered::LastPage, vec![entry(2, 9), entry(3, 9)]));
    assert_eq!(bench.machine.state(), MemberState::Active);
}

// --- bounds

#[test]
fn the_table_is_bounded_and_the_longest_gone_give_way() {
    let config = Config { members_max: 10, ..config() };
    let (mut bench, _) = joined(config, true);
    give(&mut bench, up(2));
    (2..=30).for_each(|number| drop(give(&mut bench, push(2, Answered::Lives, vec![entry(number, 1)]))));
    assert_eq!(bench.machine.len(), 10);
    for number in [6, 5] {
        let left = entry_of(record(number, 1, 2, MemberState::Left), 2, 0);
        give(&mut bench, news(2, &Rumor::Record(left)));
        pass(&mut bench, 10);
    }
    give(&mut bench, push(2, Answered::Lives, vec![entry(40, 1)]));
    let left = Some((MemberState::Left, false));
    assert_eq!((state(&bench, 6), state(&bench, 5)), (None, left), "another one had gone before");
    assert_eq!(state(&bench, 40), Some((MemberState::Active, false)));
}

fn any_record() -> impl Strategy<Value = MemberEntry> {
    let states = [MemberState::Joining, MemberState::Active, MemberState::Left, MemberState::Dead];
    (1..6_u8, 0..3_u64, 0..3_u32, 0..4_usize, 0..5_u32, 0..9_000_u32).prop_map(
        move |(number, life, revision, state, counter, age_ms)| {
            entry_of(record(number, life, revision, states[state]), counter, age_ms)
        },
    )
}

fn any_beat() -> impl Strategy<Value = Beat> {
    any_record().prop_map(|entry| entry.beat())
}

fn any_input() -> impl Strategy<Value = Input> {
    let peer = || (2..6_u8).prop_map(node);
    let loss =
        prop_oneof![Just(NeighborLoss::LinkLost), Just(NeighborLoss::Left), Just(NeighborLoss::Replaced)];
    let answered =
        prop_oneof![Just(Answered::Lives), (0..9_u32).prop_map(Answered::Page), Just(Answered::LastPage)];
    let frame = prop_oneof![
        4 => (any::<bool>(), any::<u32>(), proptest::collection::vec(any_beat(), 0..4))
            .prop_map(|(asks, again_ms, beats)| MembersFrame::Beats { asks, again_ms, beats }),
        1 => (0..9_u32).prop_map(|from| MembersFrame::Pull(Wanted::Page(from))),
        1 => any_beat().prop_map(|beat| MembersFrame::Pull(Wanted::Lives(vec![beat.life]))),
        4 => (answered, proptest::collection::vec(any_record(), 0..4))
            .prop_map(|(answered, entries)| MembersFrame::Push { answered, entries }),
        1 => (1..6_u8, 0..4_u32)
            .prop_map(|(target, nonce)| MembersFrame::PingRequest { nonce, target: contact(target) }),
        1 => (0..4_u32).prop_map(|nonce| MembersFrame::Ping { nonce }),
        2 => (0..4_u32, any_beat()).prop_map(|(nonce, beat)| MembersFrame::Pong { nonce, beat }),
        2 => (0..4_u32, proptest::option::of(any_beat()))
            .prop_map(|(nonce, beat)| MembersFrame::PingAnswer { nonce, beat }),
    ];
    let told = prop_oneof![
        any_record().prop_map(Rumor::Record),
        any_beat().prop_map(Rumor::Alive),
        any_beat().prop_map(|beat| Rumor::Suspect { life: beat.life, counter: beat.counter }),
    ];
    prop_oneof![
        1 => any::<bool>().prop_map(|is_first| Input::Join { contact: contact_in(1, 2), is_first }),
        1 => Just(Input::Leave),
        3 => peer().prop_map(|peer| Input::NeighborUp { peer }),
        3 => (peer(), loss).prop_map(|(peer, loss)| Input::NeighborDown { peer, loss }),
        1 => peer().prop_map(|peer| Input::Quiet { peer }),
        12 => (peer(), frame).prop_map(|(from, frame)| Input::Frame { from, frame }),
        5 => told.prop_map(|told| news(2, &told)),
        1 => (peer(), any::<bool>()).prop_map(|(peer, is_lazy)| Input::LinkFull {
            peer,
            channel: if is_lazy { Channel::Lazy } else { Channel::Sync },
        }),
    ]
}

proptest! {
    /// The bench audits the table after each step; what users are told adds up to what they may read.
    #[test]
    fn whatever_comes_in_the_changes_add_up_to_the_table(
        steps in proptest::collection::vec((any_input(), 0..4_000_u64), 1..80),
    ) {
        let mut bench = fresh(Config { members_max: 4, ..config() });
        let mut told: BTreeMap<(u8, u64), (MemberState, bool)> = BTreeMap::new();
        told.insert((1, 1), (MemberState::Joining, false));
        for (input, ms) in steps {
            bench.call(|machine, cx| machine.handle(input, cx));
            for is_later in [false, true] {
                if is_later {
                    let end = bench.now.mono.plus_millis(ms);
                    bench.set_time(end);
                    bench.call(|machine, cx| machine.handle_timeout(cx));
                }
                while let Some(event) = bench.machine.poll_event() {
                    let Event::Changed { member, was, .. } = event else { continue };
                    let key = (member.id().0[0], member.contact.incarnation().0);
                    let known = told.get(&key).map(|(state, _)| *state);
                    let is_forgotten = was.is_none() && known.is_some_and(|state| !state.is_present());
                    prop_assert!(known == was || is_forgotten || member.id() == node(1));
                    if member.state.is_present() {
                        told.insert(key, (member.state, member.is_suspected));
                    } else {
                        told.insert(key, (member.state, false));
                    }
                }
            }
            let is_there = |(_, (state, _)): &(&(u8, u64), &(MemberState, bool))| state.is_present();
            let of_others = told.iter().filter(is_there).filter(|((number, _), _)| *number != 1);
            let table = bench.machine.iter().filter(|member| member.id() != node(1));
            let mut table: Vec<_> = table
                .map(|it| ((it.id().0[0], it.contact.incarnation().0), (it.state, it.is_suspected)))
                .collect();
            table.sort_unstable();
            prop_assert_eq!(table, of_others.map(|(key, seen)| (*key, *seen)).collect::<Vec<_>>());
        }
    }
}
