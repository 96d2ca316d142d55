//! The applications of `scenarios/apps`: each holds on a few seeds, and each mistake that one could make is found by the
//! question that is there for it.

use rumormill_core::{
    Address, App, AppCx, Command, Event, Incarnation, MailboxId, NodeId, Now, Question, Reply, Rng, Token,
};
use rumormill_scenarios::apps::cache::Cache;
use rumormill_scenarios::apps::rooms::{self, Heard, RoomError, Rooms};
use rumormill_scenarios::apps::worker_pool::WorkerPool;
use rumormill_scenarios::apps::{self, Hosted, cache, worker_pool};
use rumormill_sim::{Scenario, Trial};

/// Reads a scenario of the theme.
fn scenario(name: &str) -> Scenario {
    let path = format!("{}/apps/{name}.toml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect("the scenario is there");
    Scenario::from_toml(&text, &path).expect("it reads")
}

/// Tries an application in the place of the scenario's own, and tells which property fails first within 20 seeds.
fn found(name: &str, app: fn(u32) -> Hosted) -> &'static str {
    let scenario = scenario(name);
    let questions = (apps::find(Some(name)).expect("it is there").questions)();
    let failure = Trial::new(&scenario).app(app).asking(questions).seeds(1..=20).find_failure();
    failure.expect("20 seeds find the mistake").property.name
}

#[test]
fn every_application_holds_under_three_seeds() {
    for app in apps::ALL {
        let scenario = scenario(app.name);
        Trial::new(&scenario).app(app.make).asking((app.questions)()).seeds(1..=3).assert_holds();
    }
}

#[test]
fn rooms_that_keep_the_dead_are_found() {
    let app = |_| Hosted::Rooms(Box::new(Rooms::with(rooms::Bug::KeepsTheDead)));
    assert_eq!(found("rooms", app), "no-dead-members");
}

#[test]
fn members_that_never_make_sure_are_found() {
    let app = |_| Hosted::Rooms(Box::new(Rooms::with(rooms::Bug::NeverAssures)));
    assert_eq!(found("rooms", app), "members-agree");
}

#[test]
fn rooms_of_the_dead_on_the_list_are_found() {
    let app = |_| Hosted::Rooms(Box::new(Rooms::with(rooms::Bug::ListsTheDead)));
    assert_eq!(found("rooms", app), "rooms-exact");
}

#[test]
fn a_cache_that_ignores_death_is_found() {
    let app = |node| Hosted::Cache(Box::new(Cache::new(node, Some(cache::Bug::IgnoresDown))));
    assert_eq!(found("cache", app), "no-dead-entries");
}

#[test]
fn a_cache_that_ignores_withdrawal_is_found() {
    let app = |node| Hosted::Cache(Box::new(Cache::new(node, Some(cache::Bug::IgnoresWithdrawal))));
    assert_eq!(found("cache", app), "no-dead-entries");
}

fn pool(node: u32, bug: worker_pool::Bug) -> Hosted {
    Hosted::WorkerPool(Box::new(WorkerPool::new(node, Some(bug))))
}

#[test]
fn loads_that_are_told_once_are_found() {
    assert_eq!(found("worker-pool", |node| pool(node, worker_pool::Bug::LoadsAreOld)), "load-spread");
}

#[test]
fn callers_that_take_the_first_worker_are_found() {
    assert_eq!(found("worker-pool", |node| pool(node, worker_pool::Bug::TakesTheFirst)), "load-spread");
}

#[test]
fn workers_that_forget_jobs_are_found() {
    assert_eq!(found("worker-pool", |node| pool(node, worker_pool::Bug::ForgetsJobs)), "jobs-done");
}

#[test]
fn an_application_that_is_not_there_is_answered_with_the_nearest() {
    let message = |name| apps::find(Some(name)).map(|app| app.name).expect_err("no such application");
    assert_eq!(
        message("worker-pol"),
        "no application \"worker-pol\"; did you mean `worker-pool`? (one of: cache, rooms, worker-pool)"
    );
    assert_eq!(message("xyzzyxyzzy"), "no application \"xyzzyxyzzy\" (one of: cache, rooms, worker-pool)");
    assert_eq!(apps::find(None).map(|app| app.name), Ok(""));
}

// --- rooms on their own

const ME: NodeId = NodeId([1; 32]);

fn address(node: u8, mailbox: u64) -> Address {
    Address { node: NodeId([node; 32]), incarnation: Incarnation(1), mailbox: MailboxId(mailbox) }
}

/// A node that hosts rooms, without a node: it shows the commands that came out.
struct Bench {
    rooms: Rooms,
    rng: Rng,
    tokens: u64,
}

impl Bench {
    fn new() -> Self {
        let mut bench = Self { rooms: Rooms::default(), rng: Rng::new([0; 32]), tokens: 0 };
        bench.drive(|rooms, cx| rooms.on_start(cx));
        bench.done(1, Reply::Opened { address: address(1, 1) });
        bench
    }

    fn drive(&mut self, act: impl FnOnce(&mut Rooms, &mut AppCx<'_>)) -> Vec<Command> {
        let (mut commands, first_token) = (Vec::new(), Token(self.tokens + 1));
        let rng = &mut self.rng;
        let mut cx =
            AppCx { now: Now::default(), id: ME, node: &(), rng, commands: &mut commands, first_token };
        act(&mut self.rooms, &mut cx);
        self.tokens += commands.len() as u64;
        commands
    }

    fn event(&mut self, event: &Event) -> Vec<Command> {
        self.drive(|rooms, cx| rooms.on_event(event, cx))
    }

    fn done(&mut self, token: u64, reply: Reply) -> Vec<Command> {
        self.event(&Event::Done { token: Token(token), result: Ok(reply) })
    }

    fn line(&mut self, line: &str) -> Vec<Command> {
        self.drive(|rooms, cx| rooms.on_request(line, cx))
    }

    /// Makes a room in mailbox 2.
    fn with_room() -> Self {
        let mut bench = Self::new();
        assert_eq!(bench.line("create general"), [Command::OpenMailbox]);
        let registered = bench.done(3, Reply::Opened { address: address(1, 2) });
        assert!(matches!(
            &registered[..],
            [Command::Register { is_unique: true, mailbox: MailboxId(2), .. }]
        ));
        assert_eq!(bench.done(4, Reply::Ok), []);
        bench
    }

    /// A member asks the room something; tells the last command, which is the answer, and how many came before it.
    fn ask(&mut self, word: &[u8], number: u64) -> (usize, Vec<u8>) {
        let question = Question { from: address(9, 1), number };
        let payload = [&[0, word.len() as u8], word].concat().into();
        let mut commands = self.event(&Event::Asked { mailbox: MailboxId(2), question, payload });
        match commands.pop() {
            Some(Command::Answer { payload, .. }) => (commands.len(), payload.to_vec()),
            other => panic!("no answer but {other:?}"),
        }
    }
}

#[test]
fn a_member_joins_once_and_may_leave_twice() {
    let mut bench = Bench::with_room();
    assert_eq!(bench.ask(b"join", 1), (1, b"done".to_vec())); // it is monitored
    assert_eq!(bench.ask(b"join", 2), (0, b"already joined".to_vec()));
    assert_eq!(bench.ask(b"leave", 3), (1, b"done".to_vec())); // and no longer
    assert_eq!(bench.ask(b"leave", 4), (0, b"done".to_vec()));
    assert_eq!(bench.ask(b"dance", 5), (0, Vec::new()));
}

#[test]
fn what_cannot_be_done_is_told_in_a_line() {
    let mut bench = Bench::new();
    for line in ["join attic", "send attic hello", "stop attic", "leave attic", "rooms", "dance"] {
        assert_eq!(bench.line(line), []);
    }
    let lines: Vec<String> = bench.rooms.take_heard().map(|heard| heard.to_string()).collect();
    let expected = [
        "attic: there is no such room",
        "attic: there is no such room",
        "attic: there is no such room",
        "leave attic: done",
        "no rooms",
        "\"dance\" is not understood; try create, stop, join, leave, send or rooms",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn people_read_lines() {
    let (room, node) = ("general".to_owned(), NodeId([0xab; 32]));
    let said = Heard::Said { room: room.clone(), from: node, text: "good day".into() };
    assert_eq!(said.to_string(), "[general] <abababab> good day");
    let available = Heard::Available { room: room.clone(), node };
    assert_eq!(available.to_string(), "*** Room general available on abababab");
    assert_eq!(Heard::Left { room: room.clone(), node }.to_string(), "*** Room general left abababab");
    let because = RoomError::AlreadyJoined;
    assert_eq!(Heard::Refused { room, because }.to_string(), "general: you are a member already");
}
