//! Facts that no other test would miss: each guards a line that once could be changed unseen.

use super::*;

#[test]
fn mail_of_an_earlier_session_comes_too_late() {
    let mut bench = linked();
    assert_eq!(given(&mut bench, message(2, 1)).len(), 1);
    assert_eq!(given(&mut bench, message(1, 2)), [""; 0], "a run of mail that was given up");
    assert_eq!(bench.stats.mail_stale, 1);
    assert_eq!(given(&mut bench, message(2, 2)).len(), 1, "it has ended the later run");
}

#[test]
fn who_does_not_hear_its_refusals_is_refused_no_more_than_the_bound() {
    let mut bench = bench(Config { mail_unheard_max: 2, ..config() });
    given(&mut bench, up(2, 5));
    let to_nobody = |seq| mail(1, seq, MailKind::Send { from: MailboxId(9), to: MailboxId(99), token: seq });
    for seq in 1..=4 {
        assert_eq!(given(&mut bench, to_nobody(seq)).len(), 1, "mail {seq}");
    }
    assert_eq!(given(&mut bench, to_nobody(5)), [""; 0]);
    assert_eq!((bench.stats.mail_refused, bench.stats.mail_gaps), (4, 1));
}

#[test]
fn a_node_that_has_left_takes_nothing_and_is_bound_to_nobody_when_it_comes_back() {
    let mut bench = linked();
    given(&mut bench, Input::Left);
    given(&mut bench, up(2, 5)); // somebody dials it all the same
    assert_eq!(given(&mut bench, message(1, 1)).len(), 1);
    let refused = given(&mut bench, order(2, 1, 0, OrderKind::Monitor));
    assert_eq!(refused, [to_2(0, 0, "Ack { number: 1, verdict: Gone }")]);
    let asked = given(&mut bench, mail(0, 0, MailKind::Resume { session: 1 }));
    assert!(asked.len() == 1 && asked[0].contains("why: Gone"), "it holds back its mail for ever: {asked:?}");
    assert_eq!(given(&mut bench, monitor(3, address(2, 5, 9))), ["3 Ok(Ok)", "3 down n2.5/9 Unreachable"]);
    assert_eq!(given(&mut bench, send(4, address(2, 5, 9))), [err(4, Unreachable)]);
    assert_eq!(given(&mut bench, Input::NewLife { incarnation: Incarnation(8) }), [""; 0]);
    let first =
        mail_in(Incarnation(8), 2, 1, MailKind::Send { from: MailboxId(9), to: MailboxId(1), token: 1 });
    assert_eq!(given(&mut bench, first).len(), 1);
    assert_eq!(bench.stats.mail_delivered, 1);
}

#[test]
fn a_node_asks_itself_no_more_than_it_may_have_to_answer() {
    let mut bench = bench(Config { questions_max: 1, questions_peer_max: 1, ..config() });
    assert_eq!(given(&mut bench, call(3, address(1, 7, 2), 1_000)).len(), 1);
    assert_eq!(given(&mut bench, call(4, address(1, 7, 2), 1_000)), [err(4, Full { max: 1 })]);
}

#[test]
fn whoever_was_silent_longest_is_forgotten_for_somebody_new() {
    let mut bench = bench(Config { mail_peers_max: 2, ..config() });
    for (i, number) in [3, 2, 4].into_iter().enumerate() {
        run_to(&mut bench, 1_000 * i as u64);
        given(&mut bench, up(number, 5));
        let Input::Frame { mail, .. } = message(1, 1) else { panic!("a frame") };
        given(&mut bench, Input::Frame { from: node(number), mail });
    }
    assert_eq!(bench.stats.mail_delivered, 3);
    let mut known: Vec<_> = bench.machine.peers.keys().map(|peer| peer.0[0]).collect();
    known.sort_unstable();
    assert_eq!(known, [2, 4]);
}
