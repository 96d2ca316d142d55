//! One fact for each test. The bench shows everything that came out, so the tests prove silence too.

mod guards;
mod network;

use super::*;
use crate::bench::{Bench, node};
use crate::id::Question;
use crate::machine::CommandError::{
    Busy, Full, Gone, NoSuchMailbox, NoSuchQuestion, NoSuchWatch, NotUnderstood, Timeout, TooLarge,
    Unreachable,
};
use std::format;
use std::string::String;
use std::vec::Vec;

const LIFE: Incarnation = Incarnation(7);

fn config() -> Config {
    Config { members: true, mailboxes: true, ..Config::default() }
}

/// Node 1 in its life 7, with two mailboxes.
fn bench(config: Config) -> Bench<Mailboxes> {
    let mut bench = Bench::new(Mailboxes::new(Arc::new(config), node(1), LIFE));
    bench.input(command(1, Command::OpenMailbox));
    bench.input(command(2, Command::OpenMailbox));
    bench
}

/// The same with a link to node 2 in its life 5.
fn linked() -> Bench<Mailboxes> {
    let mut bench = bench(config());
    bench.input(up(2, 5));
    bench
}

fn command(token: u64, command: Command) -> Input {
    Input::Command { token: Token(token), command }
}

fn address(number: u8, life: u64, mailbox: u64) -> Address {
    Address { node: node(number), incarnation: Incarnation(life), mailbox: MailboxId(mailbox) }
}

fn send(token: u64, to: Address) -> Input {
    command(token, Command::Send { from: MailboxId(1), to, payload: Bytes::from_static(b"hi") })
}

fn call(token: u64, to: Address, timeout_ms: u64) -> Input {
    let payload = Bytes::from_static(b"why");
    command(token, Command::Call { from: MailboxId(1), to, payload, timeout_ms })
}

fn answer(token: u64, question: Question) -> Input {
    command(token, Command::Answer { question, payload: Bytes::from_static(b"so") })
}

fn refuse(token: u64, question: Question) -> Input {
    command(token, Command::Refuse { question })
}

fn monitor(token: u64, of: Address) -> Input {
    command(token, Command::Monitor { mailbox: MailboxId(1), of })
}

fn link(token: u64, with: Address) -> Input {
    command(token, Command::Link { mailbox: MailboxId(1), with })
}

fn close(token: u64, mailbox: u64) -> Input {
    command(token, Command::CloseMailbox { mailbox: MailboxId(mailbox) })
}

fn up(number: u8, life: u64) -> Input {
    Input::LinkUp { peer: node(number), incarnation: Incarnation(life) }
}

fn down(number: u8, is_lost: bool) -> Input {
    Input::LinkDown { peer: node(number), is_lost }
}

fn mail_in(to: Incarnation, session: u64, seq: u64, what: MailKind) -> Input {
    let payload = if what.has_payload() { Bytes::from(format!("{seq}")) } else { Bytes::new() };
    let mail = Mail { from: Incarnation(5), to, session, seq, what, payload };
    Input::Frame { from: node(2), mail: Box::new(mail) }
}

/// From node 2 in its life 5.
fn mail(session: u64, seq: u64, what: MailKind) -> Input {
    mail_in(LIFE, session, seq, what)
}

fn message(session: u64, seq: u64) -> Input {
    mail(session, seq, MailKind::Send { from: MailboxId(9), to: MailboxId(1), token: 77 })
}

fn question(seq: u64, number: u64) -> Input {
    mail(1, seq, MailKind::Ask { from: MailboxId(9), to: MailboxId(1), number, timeout_ms: 1_000 })
}

fn order(seq: u64, number: u64, after: u64, what: OrderKind) -> Input {
    let (ours, theirs) = (MailboxId(9), MailboxId(1));
    mail(1, seq, MailKind::Order { number, after, what, ours, theirs })
}

fn ack(number: u64, verdict: Verdict) -> Input {
    mail(0, 0, MailKind::Ack { number, verdict })
}

/// What came out, in short: users' events, and the kinds of frames.
fn given(bench: &mut Bench<Mailboxes>, input: Input) -> Vec<String> {
    bench.call(|machine, cx| machine.handle(input, cx));
    shown(bench)
}

fn shown(bench: &mut Bench<Mailboxes>) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some(event) = bench.machine.poll_event() {
        lines.push(show(event));
    }
    bench.clear();
    lines
}

fn run_to(bench: &mut Bench<Mailboxes>, ms: u64) -> Vec<String> {
    let end = Instant::from_millis(ms);
    while let Some(due) = bench.machine.poll_timeout().filter(|due| *due <= end) {
        bench.set_time(due.max(bench.now.mono));
        bench.call(|machine, cx| machine.handle_timeout(cx));
    }
    bench.set_time(end);
    shown(bench)
}

fn name(address: Address) -> String {
    format!("n{}.{}/{}", address.node.0[0], address.incarnation.0, address.mailbox.0)
}

fn show(event: Event) -> String {
    use machine::Event::{Asked, Done, Mail as Came, MailLost, MailboxClosed, MailboxDown};
    match event {
        Event::Reach { node, .. } => format!("reach n{}", node.0[0]),
        Event::Frame { to, frame: Frame::Mail(mail) } => {
            format!("to n{}.{} {}#{} {:?}", to.0[0], mail.to.0, mail.session, mail.seq, mail.what)
        }
        Event::User(Done { token, result: Ok(Reply::Answer { payload }) }) => {
            format!("{} answered {payload:?}", token.0)
        }
        Event::User(Done { token, result }) => format!("{} {result:?}", token.0),
        Event::User(Came { mailbox, from, payload }) => {
            format!("{} has {payload:?} from {}", mailbox.0, name(from))
        }
        Event::User(Asked { mailbox, question, .. }) => {
            format!("{} asked {} by {}", mailbox.0, question.number, name(question.from))
        }
        Event::User(MailLost { token, to, reason }) => format!("{} lost {} {reason:?}", token.0, name(to)),
        Event::User(MailboxDown { monitor, address, reason }) => {
            format!("{} down {} {reason:?}", monitor.0, name(address))
        }
        Event::User(MailboxClosed { mailbox, because_of, reason }) => {
            format!("{} closed by {} {reason:?}", mailbox.0, name(because_of))
        }
        other => format!("{other:?}"),
    }
}

fn err(token: u64, error: CommandError) -> String {
    format!("{token} Err({error:?})")
}

/// What node 2 is sent: session and number, then what.
fn to_2(session: u64, seq: u64, what: &str) -> String {
    format!("to n2.5 {session}#{seq} {what}")
}

// --- mailboxes of one node

#[test]
fn a_mailbox_is_opened_under_a_name_that_is_never_used_again() {
    let mut bench = bench(config());
    assert_eq!(given(&mut bench, close(3, 2)), ["3 Ok(Ok)"]);
    let opened = "4 Ok(Opened { address: Address { node: 01010101, incarnation: Incarnation(7), mailbox: MailboxId(3) } })";
    assert_eq!(given(&mut bench, command(4, Command::OpenMailbox)), [opened]);
    assert_eq!(given(&mut bench, close(5, 2)), [err(5, NoSuchMailbox)]);
}

#[test]
fn mailboxes_are_bounded() {
    let mut bench = bench(Config { mailboxes_max: 2, ..config() });
    assert_eq!(given(&mut bench, command(3, Command::OpenMailbox)), [err(3, Full { max: 2 })]);
}

#[test]
fn a_message_to_ones_own_node_comes_at_once() {
    let mut bench = bench(config());
    let came = "2 has b\"hi\" from n1.7/1";
    assert_eq!(given(&mut bench, send(3, address(1, 7, 2))), [came, "3 Ok(Ok)"]);
    assert_eq!(given(&mut bench, send(4, address(1, 7, 3))), [err(4, Gone)]);
    assert_eq!(given(&mut bench, send(5, address(1, 6, 2))), [err(5, Gone)]);
}

#[test]
fn a_question_to_ones_own_node_is_answered_once() {
    let mut bench = bench(config());
    assert_eq!(given(&mut bench, call(3, address(1, 7, 2), 1_000)), ["2 asked 1 by n1.7/1"]);
    let asked = Question { from: address(1, 7, 1), number: 1 };
    assert_eq!(given(&mut bench, answer(4, asked)), ["3 answered b\"so\"", "4 Ok(Ok)"]);
    assert_eq!(given(&mut bench, answer(5, asked)), [err(5, NoSuchQuestion)]);
    assert_eq!(run_to(&mut bench, 10_000), [""; 0]);
}

#[test]
fn a_question_that_is_not_understood_is_refused_once() {
    let mut own = bench(config());
    given(&mut own, call(3, address(1, 7, 2), 1_000));
    let asked = Question { from: address(1, 7, 1), number: 1 };
    assert_eq!(given(&mut own, refuse(4, asked)), [err(3, NotUnderstood), "4 Ok(Ok)".into()]);
    assert_eq!(given(&mut own, refuse(5, asked)), [err(5, NoSuchQuestion)]);
    assert_eq!(run_to(&mut own, 10_000), [""; 0]);
    let mut asked_by_other = linked();
    given(&mut asked_by_other, question(1, 4));
    let asked = Question { from: address(2, 5, 9), number: 4 };
    let refused = "Refused { is_question: true, number: 4, mailbox: MailboxId(1), why: NotUnderstood }";
    assert_eq!(given(&mut asked_by_other, refuse(3, asked)), [to_2(1, 1, refused), "3 Ok(Ok)".into()]);
    assert_eq!(given(&mut asked_by_other, answer(4, asked)), [err(4, NoSuchQuestion)]);
    assert_eq!(asked_by_other.stats.mail_refused, 1);
}

#[test]
fn a_question_in_a_mailbox_that_closes_is_answered_gone() {
    let mut bench = bench(config());
    given(&mut bench, call(3, address(1, 7, 2), 1_000));
    assert_eq!(given(&mut bench, close(4, 2)), [err(3, Gone), "4 Ok(Ok)".into()]);
}

#[test]
fn a_local_monitor_fires_once() {
    let mut bench = bench(config());
    assert_eq!(given(&mut bench, monitor(3, address(1, 7, 2))), ["3 Ok(Ok)"]);
    assert_eq!(given(&mut bench, close(4, 2)), ["3 down n1.7/2 Gone", "4 Ok(Ok)"]);
    assert_eq!(given(&mut bench, monitor(5, address(1, 7, 2))), ["5 Ok(Ok)", "5 down n1.7/2 Gone"]);
    assert_eq!(
        given(&mut bench, command(6, Command::Demonitor { monitor: Token(3) })),
        [err(6, NoSuchWatch)]
    );
}

#[test]
fn what_binds_mailboxes_of_a_node_to_each_other_goes_on_in_its_next_life() {
    let mut bench = bench(config());
    given(&mut bench, command(3, Command::OpenMailbox));
    given(&mut bench, monitor(4, address(1, 7, 2)));
    given(&mut bench, command(5, Command::Link { mailbox: MailboxId(3), with: address(1, 7, 2) }));
    given(&mut bench, command(7, Command::OpenMailbox));
    given(&mut bench, command(8, Command::Link { mailbox: MailboxId(4), with: address(1, 7, 2) }));
    given(&mut bench, Input::Left);
    assert_eq!(given(&mut bench, Input::NewLife { incarnation: Incarnation(9) }), [""; 0]);
    given(&mut bench, command(9, Command::Unlink { mailbox: MailboxId(4), with: address(1, 9, 2) }));
    let ended = ["4 down n1.9/2 Gone", "3 closed by n1.9/2 Gone", "6 Ok(Ok)"];
    assert_eq!(given(&mut bench, close(6, 2)), ended);
    assert_eq!((bench.machine.ties.len(), bench.machine.monitors.len()), (0, 0));
}

#[test]
fn tied_mailboxes_close_one_after_the_other() {
    let mut bench = bench(config());
    given(&mut bench, command(3, Command::OpenMailbox));
    given(&mut bench, link(4, address(1, 7, 2)));
    let (mailbox, with) = (MailboxId(2), address(1, 7, 3));
    given(&mut bench, command(5, Command::Link { mailbox, with }));
    let expected = ["2 closed by n1.7/1 Gone", "3 closed by n1.7/2 Gone", "6 Ok(Ok)"];
    assert_eq!(given(&mut bench, close(6, 1)), expected);
}

#[test]
fn mailboxes_that_are_untied_stay_open() {
    let mut bench = bench(config());
    given(&mut bench, link(3, address(1, 7, 2)));
    let untie = Command::Unlink { mailbox: MailboxId(1), with: address(1, 7, 2) };
    assert_eq!(given(&mut bench, command(4, untie.clone())), ["4 Ok(Ok)"]);
    assert_eq!(given(&mut bench, command(5, untie)), [err(5, NoSuchWatch)]);
    assert_eq!(given(&mut bench, close(6, 1)), ["6 Ok(Ok)"]);
}

#[test]
fn a_message_that_is_too_long_is_refused() {
    let mut bench = bench(Config { mail_len_max: 1, ..config() });
    assert_eq!(given(&mut bench, send(3, address(1, 7, 2))), [err(3, TooLarge { len: 2, max: 1 })]);
}

// --- bundles

fn bundle(messages: &[&str]) -> Bundle {
    let mut bundler = Bundler::default();
    assert!(messages.iter().all(|message| bundler.push(message.as_bytes(), 100)));
    bundler.take().expect("there are messages")
}

fn send_bundle(token: u64, to: Address) -> Input {
    let messages = bundle(&["m1", "", "m3"]);
    command(token, Command::SendBundle { from: MailboxId(1), to, messages })
}

#[test]
fn messages_that_are_sent_together_come_one_by_one() {
    let mut bench = bench(Config { mail_len_max: 10, ..config() });
    let own =
        ["2 has b\"m1\" from n1.7/1", "2 has b\"\" from n1.7/1", "2 has b\"m3\" from n1.7/1", "3 Ok(Ok)"];
    given(&mut bench, command(2, Command::OpenMailbox));
    assert_eq!(given(&mut bench, send_bundle(3, address(1, 7, 2))), own);
    assert_eq!((bench.stats.mail_sent, bench.stats.mail_delivered), (3, 3));
    given(&mut bench, up(2, 5));
    let what = MailKind::Bundle { from: MailboxId(9), to: MailboxId(1), token: 77 };
    let payload = bundle(&["a", "b"]).bytes().clone();
    let mail = Mail { from: Incarnation(5), to: LIFE, session: 1, seq: 1, what, payload };
    let came = given(&mut bench, Input::Frame { from: node(2), mail: Box::new(mail.clone()) });
    assert_eq!(came, ["1 has b\"a\" from n2.5/9", "1 has b\"b\" from n2.5/9"]);
    let again = given(&mut bench, Input::Frame { from: node(2), mail: Box::new(mail) });
    assert_eq!(again, [""; 0], "at most once");
}

#[test]
fn messages_that_are_sent_together_are_refused_and_lost_together() {
    let mut bench = bench(Config { mail_len_max: 9, ..config() });
    assert_eq!(given(&mut bench, send_bundle(3, address(2, 5, 9))), [err(3, TooLarge { len: 10, max: 9 })]);
    given(&mut bench, close(4, 1));
    assert_eq!(given(&mut bench, send_bundle(3, address(1, 7, 1))), [err(3, NoSuchMailbox)]);
    given(&mut bench, command(5, Command::OpenMailbox));
    let (from, to) = (MailboxId(2), address(1, 7, 1));
    let to_closed = Command::SendBundle { from, to, messages: bundle(&["m"]) };
    assert_eq!(given(&mut bench, command(3, to_closed)), [err(3, Gone)]);
    let mut bench = linked();
    let sent = to_2(1, 1, "Bundle { from: MailboxId(1), to: MailboxId(9), token: 3 }");
    assert_eq!(given(&mut bench, send_bundle(3, address(2, 5, 9))), [sent, "3 Ok(Ok)".into()]);
    let refused =
        MailKind::Refused { is_question: false, number: 3, mailbox: MailboxId(9), why: Verdict::Gone };
    assert_eq!(given(&mut bench, mail(1, 1, refused)), ["3 lost n2.5/9 Gone"]);
    let to_nobody = MailKind::Bundle { from: MailboxId(9), to: MailboxId(8), token: 77 };
    let payload = bundle(&["a", "b"]).bytes().clone();
    let mail = Mail { from: Incarnation(5), to: LIFE, session: 1, seq: 2, what: to_nobody, payload };
    assert_eq!(bench.stats.mail_lost, 3);
    let told = "Refused { is_question: false, number: 77, mailbox: MailboxId(8), why: Gone }";
    assert_eq!(given(&mut bench, Input::Frame { from: node(2), mail: Box::new(mail) }), [to_2(1, 2, told)]);
    given(&mut bench, send_bundle(4, address(2, 5, 9)));
    given(&mut bench, gone(5, MailLoss::Gone));
    assert_eq!(bench.stats.mail_lost, 6, "unheard");
    given(&mut bench, send_bundle(5, address(3, 5, 9)));
    given(&mut bench, Input::Reaching { node: node(3) });
    given(&mut bench, Input::Unreached { node: node(3) });
    assert_eq!(bench.stats.mail_lost, 9, "waiting");
}

// --- sending

const SEND_3: &str = "Send { from: MailboxId(1), to: MailboxId(9), token: 3 }";
const SEND_4: &str = "Send { from: MailboxId(1), to: MailboxId(9), token: 4 }";

#[test]
fn a_message_waits_for_the_link_and_goes_out_once() {
    let mut bench = bench(config());
    assert_eq!(given(&mut bench, send(3, address(2, 5, 9))), ["reach n2"]);
    assert_eq!(given(&mut bench, Input::Reaching { node: node(2) }), ["3 Ok(Ok)"]);
    assert_eq!(given(&mut bench, send(4, address(2, 5, 9))), ["4 Ok(Ok)"]);
    assert_eq!(given(&mut bench, up(2, 5)), [to_2(1, 1, SEND_3), to_2(1, 2, SEND_4)]);
    given(&mut bench, mail(0, 0, MailKind::Heard { session: 1, seq: Some(2), settled: 2 }));
    given(&mut bench, down(2, true));
    assert_eq!(given(&mut bench, up(2, 5)), [""; 0]);
}

#[test]
fn a_message_for_a_node_that_nobody_knows_is_refused_at_the_call() {
    let mut bench = bench(config());
    given(&mut bench, send(3, address(2, 5, 9)));
    assert_eq!(given(&mut bench, Input::Unreached { node: node(2) }), [err(3, Unreachable)]);
}

#[test]
fn a_dial_that_fails_tells_every_message_that_waited() {
    let mut bench = bench(config());
    given(&mut bench, send(3, address(2, 5, 9)));
    given(&mut bench, Input::Reaching { node: node(2) });
    given(&mut bench, send(4, address(2, 5, 9)));
    let lost = ["3 lost n2.5/9 Unreachable", "4 lost n2.5/9 Unreachable"];
    assert_eq!(given(&mut bench, Input::Unreached { node: node(2) }), lost);
    assert_eq!(bench.stats.mail_lost, 2);
}

#[test]
fn a_message_beyond_the_queue_and_one_on_a_full_link_are_refused() {
    let mut bench = bench(Config { link_queue_max: 1, ..config() });
    given(&mut bench, send(3, address(2, 5, 9)));
    assert_eq!(given(&mut bench, send(4, address(2, 5, 9))), [err(4, Busy)]);
    given(&mut bench, up(2, 5));
    given(&mut bench, Input::LinkFull { peer: node(2) });
    assert_eq!(given(&mut bench, send(5, address(2, 5, 9))), [err(5, Busy)]);
    given(&mut bench, Input::LinkReady { peer: node(2) });
    assert_eq!(given(&mut bench, send(4, address(2, 5, 9))), [to_2(1, 2, SEND_4), "4 Ok(Ok)".into()]);
}

#[test]
fn mail_for_an_earlier_life_is_gone_and_for_a_later_one_out_of_reach() {
    let mut bench = linked();
    assert_eq!(given(&mut bench, send(3, address(2, 4, 9))), [err(3, Gone)]);
    assert_eq!(given(&mut bench, send(4, address(2, 6, 9))), [err(4, Unreachable)]);
}

#[test]
fn mail_that_waits_for_an_earlier_life_never_goes_to_a_later_one() {
    let mut bench = bench(config());
    given(&mut bench, send(3, address(2, 5, 9)));
    given(&mut bench, Input::Reaching { node: node(2) });
    given(&mut bench, call(4, address(2, 5, 9), 1_000));
    assert_eq!(given(&mut bench, up(2, 6)), ["3 lost n2.5/9 Gone".into(), err(4, Gone)]);
}

#[test]
fn mail_for_another_life_of_this_node_is_refused_in_its_name() {
    let mut bench = linked();
    let what = MailKind::Send { from: MailboxId(9), to: MailboxId(1), token: 77 };
    let input = mail_in(Incarnation(6), 1, 1, what);
    let refused = "Refused { is_question: false, number: 77, mailbox: MailboxId(1), why: Gone }";
    assert_eq!(given(&mut bench, input), [to_2(0, 0, refused)]);
    assert_eq!(bench.stats.mail_refused, 1);
}

#[test]
fn a_refused_message_is_told() {
    let mut bench = linked();
    given(&mut bench, send(3, address(2, 5, 9)));
    let (mailbox, why) = (MailboxId(9), Verdict::Gone);
    let what = MailKind::Refused { is_question: false, number: 3, mailbox, why };
    assert_eq!(given(&mut bench, mail(1, 1, what)), ["3 lost n2.5/9 Gone"]);
    assert_eq!(given(&mut bench, mail(1, 2, what)), [""; 0]);
    assert_eq!((bench.stats.mail_lost, bench.stats.mail_stale), (1, 1));
    let mut bench = linked();
    given(&mut bench, send(3, address(2, 5, 9)));
    let what = MailKind::Refused { is_question: false, number: 3, mailbox, why: Verdict::NotUnderstood };
    assert_eq!(given(&mut bench, mail(1, 1, what)), ["3 lost n2.5/9 Gone"], "it does not come again");
}

// --- the order of what comes

fn came(seq: u64) -> String {
    format!("1 has b\"{seq}\" from n2.5/9")
}

#[test]
fn mail_that_overtakes_waits_for_what_was_sent_before_it() {
    let mut bench = linked();
    assert_eq!(given(&mut bench, message(3, 2)), [""; 0]);
    assert_eq!(given(&mut bench, message(3, 3)), [""; 0]);
    assert_eq!(given(&mut bench, message(3, 1)), [came(1), came(2), came(3)]);
    assert_eq!(given(&mut bench, message(3, 2)), [""; 0]);
    assert_eq!(bench.stats.mail_stale, 1);
    assert_eq!(run_to(&mut bench, 60_000), [heard_to_2(3, Some(3))]);
}

#[test]
fn what_came_behind_a_gap_is_dropped_in_time_and_taken_when_it_comes_again() {
    let mut bench = linked();
    given(&mut bench, message(3, 2));
    assert_eq!(run_to(&mut bench, 4_999), [""; 0]);
    assert_eq!(run_to(&mut bench, 5_000), [""; 0]);
    assert_eq!(given(&mut bench, message(3, 1)), [came(1)]);
    assert_eq!(given(&mut bench, message(3, 2)), [came(2)]);
    assert_eq!((bench.stats.mail_gaps, bench.stats.mail_stale), (1, 0));
}

#[test]
fn a_later_session_ends_the_earlier_one_and_what_was_early_in_it() {
    let mut bench = linked();
    given(&mut bench, message(3, 2));
    assert_eq!(given(&mut bench, message(4, 1)), [came(1)]);
    assert_eq!(given(&mut bench, message(3, 1)), [""; 0]);
    assert_eq!(bench.stats.mail_stale, 1);
}

#[test]
fn early_mail_is_bounded_and_what_is_beyond_must_come_again() {
    let mut bench = bench(Config { mail_early_max: 2, ..config() });
    given(&mut bench, up(2, 5));
    given(&mut bench, message(3, 3));
    given(&mut bench, message(3, 2));
    assert_eq!(given(&mut bench, message(3, 4)), [""; 0]);
    assert_eq!(bench.stats.mail_gaps, 1);
    assert_eq!(given(&mut bench, message(3, 1)), [came(1), came(2), came(3)]);
    assert_eq!(given(&mut bench, message(3, 4)), [came(4)]);
}

// --- what is heard, and what is not

fn heard(session: u64, seq: Option<u64>) -> Input {
    mail(0, 0, MailKind::Heard { session, seq, settled: seq.unwrap_or(0) })
}

fn resume(session: u64) -> Input {
    mail(0, 0, MailKind::Resume { session })
}

fn heard_to_2(session: u64, seq: Option<u64>) -> String {
    settled_to_2(session, seq, seq.unwrap_or(0))
}

fn settled_to_2(session: u64, seq: Option<u64>, settled: u64) -> String {
    to_2(0, 0, &format!("Heard {{ session: {session}, seq: {seq:?}, settled: {settled} }}"))
}

const RESUME_1: &str = "Resume { session: 1 }";

#[test]
fn what_a_lost_link_swallowed_goes_out_again_once_the_peer_says_how_far_it_heard() {
    let mut bench = linked();
    assert_eq!(given(&mut bench, send(3, address(2, 5, 9)))[0], to_2(1, 1, SEND_3));
    assert_eq!(given(&mut bench, send(4, address(2, 5, 9)))[0], to_2(1, 2, SEND_4));
    assert_eq!(given(&mut bench, down(2, false)), ["reach n2"]);
    assert_eq!(given(&mut bench, up(2, 5)), [to_2(0, 0, RESUME_1)]);
    assert_eq!(given(&mut bench, send(5, address(2, 5, 9))), ["5 Ok(Ok)"]);
    let send_5 = "Send { from: MailboxId(1), to: MailboxId(9), token: 5 }";
    assert_eq!(given(&mut bench, heard(1, Some(1))), [to_2(1, 2, SEND_4), to_2(1, 3, send_5)]);
    assert_eq!(given(&mut bench, heard(1, Some(3))), [""; 0]);
    assert_eq!(run_to(&mut bench, 600_000), [""; 0]);
}

#[test]
fn a_peer_that_does_not_say_what_it_heard_is_asked_ever_more_rarely() {
    let mut bench = linked();
    given(&mut bench, send(3, address(2, 5, 9)));
    assert_eq!(run_to(&mut bench, 1_999), [""; 0]);
    assert_eq!(run_to(&mut bench, 2_000), [to_2(0, 0, RESUME_1)]);
    assert_eq!(run_to(&mut bench, 4_000), [to_2(0, 0, RESUME_1)]);
    assert_eq!(run_to(&mut bench, 7_999), [""; 0]);
    assert_eq!(run_to(&mut bench, 8_000), [to_2(0, 0, RESUME_1)]);
}

#[test]
fn a_peer_that_forgot_what_it_heard_ends_the_session_and_the_loss_is_told() {
    let mut bench = linked();
    given(&mut bench, send(3, address(2, 5, 9)));
    given(&mut bench, call(4, address(2, 5, 9), 60_000));
    let told = [err(4, Unreachable), "3 lost n2.5/9 Unreachable".into()];
    let mut lost = given(&mut bench, heard(1, None));
    lost.sort();
    assert_eq!(lost, [told[1].clone(), told[0].clone()]);
    assert_eq!(given(&mut bench, heard(1, Some(2))), [""; 0]);
    let send_5 = "Send { from: MailboxId(1), to: MailboxId(9), token: 5 }";
    assert_eq!(given(&mut bench, send(5, address(2, 5, 9)))[0], to_2(3, 1, send_5));
    assert_eq!((bench.stats.mail_lost, bench.stats.mail_stale), (1, 1));
}

#[test]
fn a_peer_that_claims_to_have_heard_what_was_never_sent_is_not_believed() {
    let mut bench = linked();
    given(&mut bench, send(3, address(2, 5, 9)));
    for claim in [heard(1, Some(2)), heard(2, Some(1)), heard(0, None)] {
        assert_eq!(given(&mut bench, claim), [""; 0]);
    }
    assert_eq!(bench.stats.mail_stale, 3);
    assert_eq!(given(&mut bench, gone(5, MailLoss::Unreachable)), ["3 lost n2.5/9 Unreachable"]);
}

#[test]
fn what_was_not_heard_is_lost_with_the_life_of_the_node() {
    let mut bench = linked();
    given(&mut bench, send(3, address(2, 5, 9)));
    given(&mut bench, down(2, true));
    assert_eq!(given(&mut bench, up(2, 6)), ["3 lost n2.5/9 Gone"]);
}

#[test]
fn unheard_mail_is_bounded_and_the_one_too_many_refused() {
    let mut bench = bench(Config { mail_unheard_max: 1, ..config() });
    given(&mut bench, up(2, 5));
    given(&mut bench, send(3, address(2, 5, 9)));
    assert_eq!(given(&mut bench, send(4, address(2, 5, 9))), [err(4, Busy)]);
    assert_eq!(given(&mut bench, call(5, address(2, 5, 9), 1_000)), [err(5, Busy)]);
    given(&mut bench, heard(1, Some(1)));
    assert_eq!(given(&mut bench, send(4, address(2, 5, 9))), [to_2(1, 2, SEND_4), "4 Ok(Ok)".into()]);
}

#[test]
fn what_is_heard_is_told_together_and_at_once_when_it_is_much() {
    let mut bench = linked();
    given(&mut bench, message(3, 1));
    given(&mut bench, message(3, 2));
    assert_eq!(run_to(&mut bench, 199), [""; 0]);
    assert_eq!(run_to(&mut bench, 200), [heard_to_2(3, Some(2))]);
    (3..66).for_each(|seq| drop(given(&mut bench, message(3, seq))));
    assert_eq!(given(&mut bench, message(3, 66)), [came(66), heard_to_2(3, Some(66))]);
    assert_eq!(given(&mut bench, resume(3)), [heard_to_2(3, Some(66))]);
    assert_eq!(given(&mut bench, resume(2)), [""; 0]);
    assert_eq!(given(&mut bench, resume(4)), [heard_to_2(4, Some(0))]);
}

#[test]
fn what_was_refused_may_be_forgotten_only_once_the_refusal_is_heard() {
    let mut bench = linked();
    let what = MailKind::Send { from: MailboxId(9), to: MailboxId(8), token: 77 };
    let refused = "Refused { is_question: false, number: 77, mailbox: MailboxId(8), why: Gone }";
    assert_eq!(given(&mut bench, mail(3, 1, what)), [to_2(1, 1, refused)]);
    given(&mut bench, message(3, 2));
    assert_eq!(given(&mut bench, resume(3)), [settled_to_2(3, Some(2), 0)]);
    given(&mut bench, heard(1, Some(1)));
    assert_eq!(run_to(&mut bench, 200), [heard_to_2(3, Some(2))]);
}

#[test]
fn two_who_refuse_each_others_mail_do_not_wait_for_each_other() {
    let mut bench = linked();
    given(&mut bench, send(3, address(2, 5, 9)));
    let what = MailKind::Send { from: MailboxId(9), to: MailboxId(8), token: 77 };
    given(&mut bench, mail(3, 1, what));
    let refused =
        MailKind::Refused { is_question: false, number: 3, mailbox: MailboxId(9), why: Verdict::Gone };
    assert_eq!(given(&mut bench, mail(3, 2, refused)), ["3 lost n2.5/9 Gone"]);
    assert_eq!(run_to(&mut bench, 200), [settled_to_2(3, Some(2), 0)]);
    // The peer has heard the refusal, but holds what it has refused itself.
    let half = MailKind::Heard { session: 1, seq: Some(2), settled: 0 };
    assert_eq!(given(&mut bench, mail(0, 0, half)), [""; 0]);
    assert_eq!(run_to(&mut bench, 400), [heard_to_2(3, Some(2))]);
    given(&mut bench, heard(1, Some(2)));
    assert_eq!(run_to(&mut bench, 600_000), [""; 0]);
}

#[test]
fn who_forgot_a_peer_or_gave_up_telling_it_a_refusal_does_not_say_what_it_heard() {
    let mut bench = linked();
    given(&mut bench, message(3, 1));
    given(&mut bench, gone(5, MailLoss::Unreachable));
    assert_eq!(given(&mut bench, resume(3)), [heard_to_2(3, None)]);
    assert_eq!(given(&mut bench, message(3, 2)), [""; 0]);
    assert_eq!(given(&mut bench, resume(3)), [heard_to_2(3, None)]);
    let what = MailKind::Send { from: MailboxId(9), to: MailboxId(8), token: 77 };
    given(&mut bench, mail(4, 1, what));
    assert_eq!(given(&mut bench, resume(4)), [settled_to_2(4, Some(1), 0)]);
    given(&mut bench, heard(1, None));
    assert_eq!(given(&mut bench, resume(4)), [heard_to_2(4, None)]);
}

// --- calls

const ASK_1: &str = "Ask { from: MailboxId(1), to: MailboxId(9), number: 1, timeout_ms: 1000 }";

#[test]
fn a_call_ends_with_its_answer() {
    let mut bench = linked();
    assert_eq!(given(&mut bench, call(3, address(2, 5, 9), 1_000)), [to_2(2, 1, ASK_1)]);
    given(&mut bench, heard(2, Some(1)));
    assert_eq!(given(&mut bench, mail(1, 1, MailKind::Answer { number: 1 })), ["3 answered b\"1\""]);
    assert_eq!(given(&mut bench, mail(1, 2, MailKind::Answer { number: 1 })), [""; 0]);
    assert_eq!(bench.stats.answers_late, 1);
    assert_eq!(run_to(&mut bench, 60_000), [heard_to_2(1, Some(2))]);
}

#[test]
fn a_call_without_an_answer_ends_in_time_and_the_late_answer_is_dropped() {
    let mut bench = linked();
    given(&mut bench, call(3, address(2, 5, 9), 1_000));
    assert_eq!(run_to(&mut bench, 999), [""; 0]);
    assert_eq!(run_to(&mut bench, 1_000), [err(3, Timeout)]);
    assert_eq!(given(&mut bench, mail(1, 1, MailKind::Answer { number: 1 })), [""; 0]);
    assert_eq!((bench.stats.calls_expired, bench.stats.answers_late), (1, 1));
}

#[test]
fn nobody_but_who_was_asked_answers() {
    let mut bench = linked();
    given(&mut bench, call(3, address(2, 5, 9), 1_000));
    let what = MailKind::Answer { number: 1 };
    let mail = Mail { from: Incarnation(5), to: LIFE, session: 1, seq: 1, what, payload: Bytes::new() };
    let input = Input::Frame { from: node(3), mail: Box::new(mail) };
    assert_eq!(given(&mut bench, input), [""; 0]);
}

#[test]
fn a_call_ends_when_its_mailbox_is_gone_its_peer_busy_or_its_node_out_of_reach() {
    for (input, error) in [
        (mail(0, 0, refused(Verdict::Gone)), Gone),
        (mail(0, 0, refused(Verdict::Full)), Busy),
        (mail(0, 0, refused(Verdict::NotUnderstood)), NotUnderstood),
        (gone(5, MailLoss::Unreachable), Unreachable),
        (gone(5, MailLoss::Gone), Gone),
    ] {
        let mut bench = linked();
        given(&mut bench, call(3, address(2, 5, 9), 1_000));
        given(&mut bench, heard(2, Some(1)));
        assert_eq!(given(&mut bench, input), [err(3, error)]);
        assert_eq!(run_to(&mut bench, 60_000), [""; 0]);
    }
}

fn refused(why: Verdict) -> MailKind {
    MailKind::Refused { is_question: true, number: 1, mailbox: MailboxId(9), why }
}

fn gone(life: u64, reason: MailLoss) -> Input {
    Input::LifeGone { node: node(2), incarnation: Incarnation(life), reason }
}

#[test]
fn a_call_survives_a_link_that_was_closed_and_ends_with_one_that_cannot_be_made_again() {
    let mut bench = linked();
    given(&mut bench, call(3, address(2, 5, 9), 60_000));
    given(&mut bench, heard(2, Some(1)));
    assert_eq!(given(&mut bench, down(2, false)), [""; 0]);
    given(&mut bench, up(2, 5));
    assert_eq!(given(&mut bench, down(2, true)), ["reach n2"]);
    given(&mut bench, Input::Reaching { node: node(2) });
    assert_eq!(given(&mut bench, Input::Unreached { node: node(2) }), [err(3, Unreachable)]);
}

#[test]
fn calls_are_bounded() {
    let mut bench = bench(Config { calls_max: 1, ..config() });
    given(&mut bench, call(3, address(1, 7, 2), 1_000));
    assert_eq!(given(&mut bench, call(4, address(1, 7, 2), 1_000)), [err(4, Full { max: 1 })]);
}

#[test]
fn a_question_is_answered_once_and_forgotten_when_its_asker_waits_no_longer() {
    let mut bench = linked();
    assert_eq!(given(&mut bench, question(1, 4)), ["1 asked 4 by n2.5/9"]);
    let asked = Question { from: address(2, 5, 9), number: 4 };
    let answered = [to_2(1, 1, "Answer { number: 4 }"), "3 Ok(Ok)".into()];
    assert_eq!(given(&mut bench, answer(3, asked)), answered);
    assert_eq!(given(&mut bench, answer(4, asked)), [err(4, NoSuchQuestion)]);
    given(&mut bench, question(2, 5));
    run_to(&mut bench, 1_000);
    let late = Question { from: address(2, 5, 9), number: 5 };
    assert_eq!(given(&mut bench, answer(5, late)), [err(5, NoSuchQuestion)]);
    assert_eq!(bench.stats.questions_expired, 1);
}

#[test]
fn a_question_is_told_once_and_kept_no_longer_than_calls_last() {
    let mut bench = bench(Config { call_ms_max: 2_000, ..config() });
    given(&mut bench, up(2, 5));
    let ask = MailKind::Ask { from: MailboxId(9), to: MailboxId(1), number: 4, timeout_ms: u64::MAX };
    assert_eq!(given(&mut bench, mail(1, 1, ask)).len(), 1);
    assert_eq!(given(&mut bench, mail(1, 2, ask)), [""; 0], "it is known");
    let question = Question { from: address(2, 5, 9), number: 4 };
    run_to(&mut bench, 2_100);
    assert_eq!(given(&mut bench, answer(6, question)), [err(6, NoSuchQuestion)]);
}

#[test]
fn questions_of_one_node_are_bounded_and_the_one_too_many_is_told() {
    let mut bench = bench(Config { questions_peer_max: 1, ..config() });
    given(&mut bench, up(2, 5));
    given(&mut bench, question(1, 4));
    let refused = "Refused { is_question: true, number: 5, mailbox: MailboxId(1), why: Full }";
    assert_eq!(given(&mut bench, question(2, 5)), [to_2(1, 1, refused)]);
}

#[test]
fn a_waiting_question_of_another_node_is_answered_gone_when_the_mailbox_closes() {
    let mut bench = linked();
    given(&mut bench, question(1, 4));
    let refused = "Refused { is_question: true, number: 4, mailbox: MailboxId(1), why: Gone }";
    assert_eq!(given(&mut bench, close(3, 1)), [to_2(1, 1, refused), "3 Ok(Ok)".into()]);
}

// --- monitors and ties of other nodes' mailboxes

fn order_of(number: u64, after: u64, what: &str, ours: u64, theirs: u64) -> String {
    format!(
        "Order {{ number: {number}, after: {after}, what: {what}, ours: MailboxId({ours}), theirs: MailboxId({theirs}) }}"
    )
}

#[test]
fn a_monitor_is_asked_for_until_it_is_acknowledged_and_then_silence() {
    let mut bench = linked();
    let first = given(&mut bench, monitor(3, address(2, 5, 9)));
    assert_eq!(first, [to_2(2, 1, &order_of(1, 0, "Monitor", 0, 9)), "3 Ok(Ok)".into()]);
    given(&mut bench, heard(2, Some(1)));
    assert_eq!(run_to(&mut bench, 2_000), [to_2(2, 2, &order_of(1, 0, "Monitor", 0, 9))]);
    given(&mut bench, heard(2, Some(2)));
    assert_eq!(bench.stats.orders_repeated, 1);
    given(&mut bench, ack(1, Verdict::Done));
    assert_eq!(run_to(&mut bench, 600_000), [""; 0]);
}

#[test]
fn a_monitor_fires_once_when_the_mailbox_closes_or_was_never_there() {
    let mut bench = linked();
    given(&mut bench, monitor(3, address(2, 5, 9)));
    given(&mut bench, monitor(4, address(2, 5, 9)));
    given(&mut bench, ack(1, Verdict::Done));
    let fired = given(&mut bench, order(1, 6, 0, OrderKind::Down));
    let acked = to_2(0, 0, "Ack { number: 6, verdict: Done }");
    assert_eq!(fired, ["3 down n2.5/9 Gone".into(), "4 down n2.5/9 Gone".into(), acked.clone()]);
    assert_eq!(given(&mut bench, order(2, 6, 0, OrderKind::Down)), [acked]);

    given(&mut bench, monitor(5, address(2, 5, 8)));
    assert_eq!(given(&mut bench, ack(3, Verdict::Gone)), ["5 down n2.5/8 Gone"]);
    given(&mut bench, monitor(6, address(2, 5, 7)));
    assert_eq!(given(&mut bench, ack(4, Verdict::Full)), ["6 down n2.5/7 Unreachable"]);
    for why in [Verdict::Full, Verdict::NotUnderstood] {
        let mut bench = linked();
        given(&mut bench, link(3, address(2, 5, 9)));
        let ended = given(&mut bench, ack(1, why));
        assert_eq!(ended.last().map(String::as_str), Some("1 closed by n2.5/9 Unreachable"));
    }
}

#[test]
fn an_idle_link_that_closes_fires_no_monitor_and_a_lost_one_only_if_it_cannot_be_made_again() {
    let mut bench = linked();
    given(&mut bench, monitor(3, address(2, 5, 9)));
    given(&mut bench, heard(2, Some(1)));
    given(&mut bench, ack(1, Verdict::Done));
    assert_eq!(given(&mut bench, down(2, false)), [""; 0]);
    given(&mut bench, up(2, 5));
    assert_eq!(given(&mut bench, down(2, true)), ["reach n2"]);
    given(&mut bench, Input::Reaching { node: node(2) });
    // Found again: the peer is told again what it may have forgotten.
    let again = given(&mut bench, up(2, 5));
    assert_eq!(again.len(), 1, "{again:?}");
    assert!(again[0].contains("what: Monitor"), "{again:?}");
    given(&mut bench, down(2, true));
    assert_eq!(given(&mut bench, Input::Unreached { node: node(2) }), ["3 down n2.5/9 Unreachable"]);
    assert_eq!(given(&mut bench, gone(5, MailLoss::Unreachable)), [""; 0]);
}

#[test]
fn a_monitor_fires_with_the_life_of_the_node() {
    for (input, reason) in [
        (gone(5, MailLoss::Unreachable), "Unreachable"),
        (gone(5, MailLoss::Gone), "Gone"),
        (gone(9, MailLoss::Gone), "Gone"),
        (up(2, 6), "Gone"),
    ] {
        let mut bench = linked();
        given(&mut bench, monitor(3, address(2, 5, 9)));
        given(&mut bench, ack(1, Verdict::Done));
        assert_eq!(given(&mut bench, input), [format!("3 down n2.5/9 {reason}")]);
        assert_eq!(run_to(&mut bench, 60_000), [""; 0]);
    }
    let mut bench = linked();
    given(&mut bench, monitor(3, address(2, 5, 9)));
    assert_eq!(given(&mut bench, gone(4, MailLoss::Gone)), [""; 0], "an earlier life");
}

#[test]
fn a_monitor_that_is_taken_back_never_fires() {
    let mut bench = linked();
    given(&mut bench, monitor(3, address(2, 5, 9)));
    let taken_back = given(&mut bench, command(4, Command::Demonitor { monitor: Token(3) }));
    assert_eq!(taken_back, [to_2(2, 2, &order_of(3, 0, "Demonitor", 0, 9)), "4 Ok(Ok)".into()]);
    given(&mut bench, ack(3, Verdict::Done));
    assert_eq!(given(&mut bench, order(1, 6, 0, OrderKind::Down)).len(), 1);
    assert_eq!(given(&mut bench, gone(5, MailLoss::Gone)), [""; 0]);
}

#[test]
fn who_monitors_from_afar_is_told_when_the_mailbox_closes_and_reached_for_it() {
    let mut bench = linked();
    let acked = to_2(0, 0, "Ack { number: 6, verdict: Done }");
    assert_eq!(given(&mut bench, order(1, 6, 0, OrderKind::Monitor)), [acked]);
    given(&mut bench, down(2, false));
    assert_eq!(given(&mut bench, close(3, 1)), ["reach n2", "3 Ok(Ok)"]);
    given(&mut bench, Input::Reaching { node: node(2) });
    assert_eq!(given(&mut bench, up(2, 5)), [to_2(2, 1, &order_of(1, 0, "Down", 1, 0))]);
    given(&mut bench, heard(2, Some(1)));
    given(&mut bench, ack(1, Verdict::Done));
    assert_eq!(run_to(&mut bench, 600_000), [""; 0]);
}

#[test]
fn a_monitor_of_a_closed_mailbox_is_answered_gone_however_often_it_is_asked() {
    let mut bench = linked();
    given(&mut bench, close(3, 1));
    let gone = to_2(0, 0, "Ack { number: 6, verdict: Gone }");
    assert_eq!(given(&mut bench, order(1, 6, 0, OrderKind::Monitor)), [gone.as_str()]);
    assert_eq!(given(&mut bench, order(2, 6, 0, OrderKind::Monitor)), [gone.as_str()]);
}

#[test]
fn an_order_waits_for_the_one_before_it() {
    let mut bench = linked();
    assert_eq!(given(&mut bench, order(1, 7, 6, OrderKind::Demonitor)), [""; 0]);
    given(&mut bench, order(2, 6, 0, OrderKind::Monitor));
    let acked = to_2(0, 0, "Ack { number: 7, verdict: Done }");
    assert_eq!(given(&mut bench, order(3, 7, 6, OrderKind::Demonitor)), [acked]);
    assert_eq!(given(&mut bench, close(3, 1)), ["3 Ok(Ok)"], "nobody is to be told any more");
}

#[test]
fn what_one_node_watches_is_bounded_and_the_one_too_many_refused() {
    let mut bench = bench(Config { watches_peer_max: 2, ..config() });
    given(&mut bench, up(2, 5));
    for number in 3..10 {
        given(&mut bench, command(number, Command::OpenMailbox));
    }
    let watch = |n: u64| {
        let (what, ours, theirs) = (OrderKind::Monitor, MailboxId(0), MailboxId(n));
        mail(1, n, MailKind::Order { number: n, after: 0, what, ours, theirs })
    };
    let verdicts: Vec<String> = (1..=4).flat_map(|n| given(&mut bench, watch(n))).collect();
    let expected = ["Done", "Done", "Full", "Full"].into_iter().zip(1..);
    let expected: Vec<String> = expected
        .map(|(verdict, n)| to_2(0, 0, &format!("Ack {{ number: {n}, verdict: {verdict} }}")))
        .collect();
    assert_eq!(verdicts, expected);
    assert_eq!(bench.stats.monitors_refused, 2);
    assert_eq!(given(&mut bench, monitor(20, address(2, 5, 9))), [err(20, Full { max: 2 })]);
}

#[test]
fn monitors_are_bounded() {
    let mut bench = bench(Config { monitors_max: 1, ..config() });
    given(&mut bench, monitor(3, address(1, 7, 2)));
    assert_eq!(given(&mut bench, monitor(4, address(1, 7, 2))), [err(4, Full { max: 1 })]);
}

#[test]
fn a_tie_across_nodes_closes_this_end_and_tells_the_other() {
    let mut bench = linked();
    let asked = given(&mut bench, link(3, address(2, 5, 9)));
    assert_eq!(asked, [to_2(2, 1, &order_of(1, 0, "Link", 1, 9)), "3 Ok(Ok)".into()]);
    given(&mut bench, ack(1, Verdict::Done));
    let closed = given(&mut bench, order(1, 6, 0, OrderKind::Down));
    assert_eq!(closed[0], "1 closed by n2.5/9 Gone");
    assert_eq!(closed.len(), 2, "{closed:?}");

    let mut bench = linked();
    given(&mut bench, order(1, 6, 0, OrderKind::Link));
    assert_eq!(
        given(&mut bench, close(3, 1)),
        [to_2(2, 1, &order_of(1, 0, "Down", 1, 0)), "3 Ok(Ok)".into()]
    );
}

#[test]
fn a_tie_to_a_mailbox_that_is_gone_closes_this_end() {
    let mut bench = linked();
    given(&mut bench, link(3, address(2, 5, 9)));
    assert_eq!(given(&mut bench, ack(1, Verdict::Gone)), ["1 closed by n2.5/9 Gone"]);
}

#[test]
fn a_tie_to_a_node_that_is_lost_closes_this_end_and_tells_the_other_if_it_ever_comes_back() {
    let mut bench = linked();
    given(&mut bench, link(3, address(2, 5, 9)));
    given(&mut bench, ack(1, Verdict::Done));
    given(&mut bench, down(2, true));
    assert_eq!(given(&mut bench, Input::Unreached { node: node(2) }), ["1 closed by n2.5/9 Unreachable"]);
    let told = given(&mut bench, up(2, 5));
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("what: Down, ours: MailboxId(1)"), "{told:?}");
}

#[test]
fn a_tie_is_told_again_when_a_lost_link_is_found_again() {
    let mut bench = linked();
    given(&mut bench, link(3, address(2, 5, 9)));
    given(&mut bench, heard(2, Some(1)));
    given(&mut bench, ack(1, Verdict::Done));
    given(&mut bench, down(2, true));
    given(&mut bench, Input::Reaching { node: node(2) });
    let again = given(&mut bench, up(2, 5));
    assert_eq!(again.len(), 1, "{again:?}");
    assert!(again[0].contains("what: Link, ours: MailboxId(1), theirs: MailboxId(9)"), "{again:?}");
}

#[test]
fn orders_to_a_life_that_is_over_end() {
    let mut bench = linked();
    given(&mut bench, order(1, 6, 0, OrderKind::Monitor));
    given(&mut bench, down(2, true));
    given(&mut bench, close(3, 1));
    given(&mut bench, gone(5, MailLoss::Unreachable));
    given(&mut bench, Input::Unreached { node: node(2) });
    assert_eq!(run_to(&mut bench, 600_000), [""; 0]);
    assert_eq!(bench.machine.poll_timeout(), None);
}

#[test]
fn a_node_that_leaves_loses_what_binds_it_to_others_and_keeps_its_own() {
    let mut bench = linked();
    given(&mut bench, monitor(3, address(2, 5, 9)));
    given(&mut bench, call(4, address(2, 5, 9), 1_000));
    given(&mut bench, monitor(5, address(1, 7, 2)));
    assert_eq!(given(&mut bench, Input::Left), [err(4, Unreachable), "3 down n2.5/9 Unreachable".into()]);
    assert_eq!(given(&mut bench, close(6, 2)), ["5 down n1.7/2 Gone", "6 Ok(Ok)"]);
}

#[test]
fn a_peer_with_nothing_open_gives_way_to_another() {
    let mut bench = bench(Config { mail_peers_max: 1, ..config() });
    given(&mut bench, up(2, 5));
    given(&mut bench, send(3, address(2, 5, 9)));
    given(&mut bench, send(4, address(3, 5, 9)));
    assert_eq!(given(&mut bench, send(5, address(4, 5, 9))), [err(5, Full { max: 1 })]);
}

#[test]
fn mail_without_an_order_that_needs_one_is_misplaced() {
    let mut bench = linked();
    assert_eq!(given(&mut bench, message(0, 0)), [""; 0]);
    assert_eq!(given(&mut bench, message(1, 0)), [""; 0]);
    assert_eq!((bench.stats.misplaced, bench.stats.mail_stale), (1, 1));
}

#[test]
fn a_digest_is_relative_to_time_and_follows_the_state() {
    let digest = |at: u64, timeout_ms: u64| {
        let mut bench = bench(config());
        bench.set_time(Instant::from_millis(at));
        given(&mut bench, call(3, address(1, 7, 2), timeout_ms));
        let mut fold = Fold::default();
        bench.machine.digest(bench.now.mono, &mut fold);
        fold.finish()
    };
    assert_eq!(digest(0, 500), digest(70, 500));
    assert_ne!(digest(0, 500), digest(0, 501));
}

#[test]
fn a_foreign_command_is_refused() {
    let mut bench = bench(config());
    assert_eq!(given(&mut bench, command(3, Command::Cycle)), [err(3, CommandError::Disabled)]);
}
