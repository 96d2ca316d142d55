//! Members, services, mail and placement: bad histories made by hand, each found, and good ones that pass.

use super::*;
use crate::schedule::FaultEffect;
use rumormill_core::{Address, MailLoss, MailboxId, MemberState, News, Question, ServiceLoss, Watch};

fn member(node: u32, state: MemberState) -> Member {
    let contact = Contact::new(id(node), Incarnation(1), &[]);
    Member { contact, state, is_suspected: false, weight: 1, zone: 0 }
}

fn service(node: u32, name: &'static str, meta: &'static str) -> Service {
    Service {
        name: Bytes::from_static(name.as_bytes()),
        owner: id(node),
        incarnation: Incarnation(1),
        instance: 0,
        mailbox: MailboxId(0),
        meta: Bytes::from_static(meta.as_bytes()),
        registered_at: Stamp(1),
        is_unique: false,
        is_suspected: false,
    }
}

impl Case {
    /// Nodes that have all joined.
    fn joined(nodes: u32, property: PropertySpec) -> Self {
        let mut case = Self::new(nodes, property);
        case.judge.on_calm(0);
        (0..nodes).for_each(|node| case.join(node));
        case
    }

    fn join(&mut self, node: u32) {
        let token = self.command(node, &Command::Join { contacts: Vec::new() });
        self.done(node, token, Ok(Reply::Joined { through: id(node) }));
    }

    fn start_again(&mut self, node: u32, incarnation: u64) {
        let contact = Contact::new(id(node), Incarnation(incarnation), &[]);
        self.see(node, Observed::Started { contact: &contact });
        self.nodes.shown[node as usize] = Some(Shown::default());
        self.join(node);
    }

    fn watch(&mut self, node: u32, what: Watch, snapshot: News) -> Token {
        let watch = self.command(node, &Command::Watch { what });
        self.done(node, watch, Ok(Reply::Ok));
        self.news(node, watch, snapshot);
        watch
    }

    fn news(&mut self, node: u32, watch: Token, news: News) {
        self.tell(node, Event::Watched { watch, news });
    }

    /// Lets a node watch members, all of which it takes for active.
    fn watch_members(&mut self, node: u32, all: u32) -> Token {
        let members = (0..all).map(|node| member(node, MemberState::Active)).collect();
        self.watch(node, Watch::Members, News::Members(members))
    }

    fn verdict(&mut self, node: u32, watch: Token, of: u32, state: MemberState) {
        let was = Some(MemberState::Active);
        self.news(node, watch, News::Member { member: member(of, state), was });
    }

    fn suspicion(&mut self, node: u32, watch: Token, of: u32) {
        let member = Member { is_suspected: true, ..member(of, MemberState::Active) };
        self.news(node, watch, News::Member { member, was: Some(MemberState::Active) });
    }

    fn trouble(&mut self, effect: &FaultEffect, from_s: u64, to_s: u64) {
        let mut troubles = Troubles::default();
        troubles.note(effect, (from_s * SECOND, to_s * SECOND));
        self.judge = self.judge.clone().with_troubles(troubles);
    }

    fn cut(&mut self, group: &[u8], from_s: u64, to_s: u64) {
        let (group, blocked) = (group.to_vec(), vec![(0, 1), (1, 0)]);
        self.trouble(&FaultEffect::Cut { group, blocked }, from_s, to_s);
    }

    fn register(&mut self, node: u32, name: &'static str, meta: &'static str) {
        let Service { name, instance, mailbox, meta, is_unique, .. } = service(node, name, meta);
        let token = self.command(node, &Command::Register { name, instance, mailbox, meta, is_unique });
        self.done(node, token, Ok(Reply::Ok));
    }

    fn unregister(&mut self, node: u32, name: &'static str) {
        let name = Bytes::from_static(name.as_bytes());
        let token = self.command(node, &Command::Unregister { name, instance: 0 });
        self.done(node, token, Ok(Reply::Ok));
    }

    fn watch_services(&mut self, node: u32, snapshot: &[Service]) -> Token {
        let what = Watch::Services { prefix: Bytes::new() };
        self.watch(node, what, News::Services(snapshot.to_vec()))
    }

    fn look_up(&mut self, node: u32, name: &'static str, found: Option<&Service>) {
        self.see(node, Observed::Looked { name: &Bytes::from_static(name.as_bytes()), found });
    }

    /// Opens mailbox 1 of a node.
    fn open(&mut self, node: u32, incarnation: u64) -> Address {
        let address =
            Address { node: id(node), incarnation: Incarnation(incarnation), mailbox: MailboxId(1) };
        let token = self.command(node, &Command::OpenMailbox);
        self.done(node, token, Ok(Reply::Opened { address }));
        address
    }

    fn send(&mut self, node: u32, to: Address, text: &'static str) -> Token {
        let (from, payload) = (MailboxId(1), Bytes::from_static(text.as_bytes()));
        let token = self.command(node, &Command::Send { from, to, payload });
        self.done(node, token, Ok(Reply::Ok));
        token
    }

    fn mail(&mut self, node: u32, from: Address, text: &'static str) {
        let payload = Bytes::from_static(text.as_bytes());
        self.tell(node, Event::Mail { mailbox: MailboxId(1), from, payload });
    }

    fn ask(&mut self, node: u32, to: Address, text: &'static str) -> Token {
        let (from, payload) = (MailboxId(1), Bytes::from_static(text.as_bytes()));
        self.command(node, &Command::Call { from, to, payload, timeout_ms: 1_000 })
    }

    fn asked(&mut self, node: u32, from: Address, text: &'static str) {
        let question = Question { from, number: 1 };
        let payload = Bytes::from_static(text.as_bytes());
        self.tell(node, Event::Asked { mailbox: MailboxId(1), question, payload });
    }

    fn monitor(&mut self, node: u32, of: Address) -> Token {
        let token = self.command(node, &Command::Monitor { mailbox: MailboxId(1), of });
        self.done(node, token, Ok(Reply::Ok));
        token
    }

    fn fire(&mut self, node: u32, monitor: Token, address: Address) {
        self.tell(node, Event::MailboxDown { monitor, address, reason: MailLoss::Gone });
    }

    fn tie(&mut self, node: u32, mailbox: Address, with: Address) {
        let token = self.command(node, &Command::Link { mailbox: mailbox.mailbox, with });
        self.done(node, token, Ok(Reply::Ok));
    }

    fn close_with(&mut self, node: u32, mailbox: Address, because_of: Address) {
        let (mailbox, reason) = (mailbox.mailbox, MailLoss::Gone);
        self.tell(node, Event::MailboxClosed { mailbox, because_of, reason });
    }

    /// Leaves, and comes back in another life at once.
    fn leave_and_return(&mut self, node: u32, incarnation: u64) {
        self.command(node, &Command::Leave);
        self.join(node);
        self.tell(node, Event::LifeBegun { incarnation: Incarnation(incarnation) });
    }

    fn watch_partitions(&mut self, node: u32, owned: &[(u32, u64)]) -> Token {
        let owned = owned.iter().map(|(partition, token)| (*partition, Stamp(*token))).collect();
        self.watch(node, Watch::Partitions, News::Owned(owned))
    }

    fn acquire(&mut self, node: u32, watch: Token, partition: u32, token: u64) {
        self.news(node, watch, News::Acquired { partition, token: Stamp(token) });
    }

    fn release(&mut self, node: u32, watch: Token, partition: u32, token: u64) {
        self.news(node, watch, News::Released { partition, token: Stamp(token) });
    }
}

// --- nothing tried

#[test]
fn what_was_never_tried_does_not_hold() {
    let second = SECOND;
    let checks = [
        Check::NoFalseVerdict { pause_ns: second },
        Check::NoFalseSuspicion { pause_ns: second },
        Check::DetectedByAll { within_ns: second },
        Check::DetectedByNeighbors { within_ns: second },
        Check::LeaveSeenAsLeave { within_ns: second },
        Check::DirectorySafe { within_ns: second },
        Check::TopologySafe { pause_ns: second },
        Check::ServiceEventsOnce,
        Check::LookupsTrue { within_ns: second },
        Check::MailAtMostOnce,
        Check::MailInOrder,
        Check::MailToTheLiving,
        Check::CallsAnsweredOnce { slack_ns: second },
        Check::MonitorsFireOnce { within_ns: second },
        Check::TiesCloseBoth { within_ns: second },
        Check::OwnersAlternate,
        Check::BootingOwnsNothing,
        Check::OwnershipStill { max: 0 },
    ];
    for check in checks {
        Case::joined(2, PropertySpec::always(check)).fails(None, "ever ");
    }
    for check in [
        Check::DetectedByAll { within_ns: second },
        Check::DetectedByNeighbors { within_ns: second },
        Check::LeaveSeenAsLeave { within_ns: second },
    ] {
        let mut watched = Case::joined(2, PropertySpec::always(check));
        watched.watch_members(0, 2);
        watched.fails(None, "ever told of a n"); // of members, but of no node or neighbour that went
    }
    for check in [Check::DirectoryExact, Check::MailAccounted { min_ppm: 1 }] {
        Case::joined(2, PropertySpec::eventually(10, check)).fails(None, "ever ");
    }
}

// --- members

#[test]
fn no_false_suspicion_fails_on_a_node_that_others_reach_and_forgives_hardships() {
    let check = Check::NoFalseSuspicion { pause_ns: 2 * SECOND };
    let mut case = Case::joined(3, PropertySpec::always(check));
    let watch = case.watch_members(0, 3);
    let judged = |change: &dyn Fn(&mut Case)| {
        let mut case = case.clone();
        change(&mut case);
        case.at_ms(20_000).suspicion(0, watch, 1);
        case
    };
    judged(&|_| {}).fails(0, "suspects node 1, which lives");
    judged(&|case| case.stop(1)).holds();
    judged(&|case| case.trouble(&FaultEffect::Pause { nodes: vec![1] }, 19, 22)).holds();
    judged(&|case| case.trouble(&FaultEffect::Pause { nodes: vec![1] }, 19, 21)).fails(0, "suspects node 1");
    judged(&|case| case.cut(&[0, 1, 0], 10, 19)).holds();
    judged(&|case| case.cut(&[0, 0, 1], 10, 19)).holds(); // what the third node says of it comes after the cut
    judged(&|case| case.cut(&[0, 0, 1], 1, 3)).fails(0, "suspects node 1");
    judged(&|case| {
        let blocked = vec![(0, 1), (1, 0)]; // the third node reaches both
        case.trouble(&FaultEffect::Cut { group: vec![0, 1, 2], blocked }, 10, 19);
    })
    .fails(0, "suspects node 1");
    let mut case = case.clone();
    case.at_ms(20_000).verdict(0, watch, 1, MemberState::Active);
    case.holds();
}

#[test]
fn no_false_verdict_fails_on_a_node_that_lives_and_forgives_hardships() {
    let check = Check::NoFalseVerdict { pause_ns: 2 * SECOND };
    let mut case = Case::joined(3, PropertySpec::always(check));
    let watch = case.watch_members(0, 3);
    case.holds();
    let judged = |case: &Case, change: &dyn Fn(&mut Case)| {
        let mut case = case.clone();
        change(&mut case);
        case.at_ms(20_000).verdict(0, watch, 1, MemberState::Dead);
        case
    };
    judged(&case, &|_| {}).fails(0, "takes node 1 for dead");
    judged(&case, &|case| case.stop(1)).holds();
    judged(&case, &|case| {
        case.stop(1);
        case.start_again(1, 2);
    })
    .holds();
    judged(&case, &|case| case.cut(&[0, 1, 0], 10, 19)).holds();
    judged(&case, &|case| case.cut(&[0, 1, 0], 1, 2)).fails(0, "takes node 1 for dead");
    judged(&case, &|case| case.cut(&[0, 0, 1], 10, 19)).fails(0, "takes node 1 for dead");
    judged(&case, &|case| case.trouble(&FaultEffect::Pause { nodes: vec![1] }, 12, 17)).holds();
    judged(&case, &|case| case.trouble(&FaultEffect::Pause { nodes: vec![1] }, 12, 14))
        .fails(0, "takes node 1 for dead");
    let ill = FaultEffect::Slow { nodes: vec![0], per_input_ns: 1 };
    judged(&case, &|case| case.trouble(&ill, 12, 17)).holds();
}

#[test]
fn a_bridge_joins_what_a_one_way_cut_parts() {
    let mut troubles = Troubles::default();
    let (group, blocked) = (vec![0, 1, 2], vec![(0, 1), (1, 0)]);
    troubles.note(&FaultEffect::Cut { group, blocked }, (0, 10));
    assert!(!troubles.are_apart(0, 1, (0, 10)));
    let (group, blocked) = (vec![0, 1, 1], vec![(1, 0)]);
    troubles.note(&FaultEffect::Cut { group, blocked }, (20, 30));
    assert!(troubles.are_apart(0, 1, (0, 21)) && !troubles.are_apart(1, 2, (0, 30)));
    let (group, blocked) = (vec![1, 1, 0], vec![(0, 1), (1, 0), (1, 1)]);
    troubles.note(&FaultEffect::Cut { group, blocked }, (40, 50));
    assert!(troubles.are_apart(0, 1, (45, 46)) && !troubles.are_apart(0, 1, (31, 39)));
}

#[test]
fn a_crash_must_be_detected_in_time_by_everybody_who_can() {
    let check = Check::DetectedByAll { within_ns: 10 * SECOND };
    let mut case = Case::joined(3, PropertySpec::always(check));
    let watches = [0, 2].map(|node| case.watch_members(node, 3));
    case.at_ms(1_000).stop(1);
    case.at_ms(5_000).verdict(0, watches[0], 1, MemberState::Dead);
    case.at_ms(11_000).holds();
    case.clone().at_ms(11_001).fails(2, "notice the dead node 1");
    let mut late = case.clone();
    late.at_ms(12_000).verdict(2, watches[1], 1, MemberState::Dead);
    late.fails(2, "took 11000 ms");
    for excuse in [|case: &mut Case| case.stop(2), |case: &mut Case| case.start_again(1, 2)] {
        let mut excused = case.clone();
        excuse(&mut excused);
        excused.at_ms(20_000).holds(); // node 0 has until then to notice node 2
    }
    case.cut(&[0, 0, 1], 2, 40);
    case.at_ms(30_000).holds();
}

#[test]
fn neighbours_must_detect_a_crash_before_others() {
    let check = Check::DetectedByNeighbors { within_ns: 5 * SECOND };
    let mut case = Case::joined(3, PropertySpec::always(check));
    case.edge(0, 1);
    let watches = [0, 2].map(|node| case.watch_members(node, 3));
    case.at_ms(1_000).stop(1);
    let mut slow = case.clone();
    slow.at_ms(6_001).fails(0, "dead neighbour 1");
    case.at_ms(5_000).verdict(0, watches[0], 1, MemberState::Dead);
    case.at_ms(20_000).holds();
}

#[test]
fn a_leave_is_seen_as_one_and_in_time() {
    let check = Check::LeaveSeenAsLeave { within_ns: 10 * SECOND };
    let mut case = Case::joined(2, PropertySpec::always(check));
    let watch = case.watch_members(0, 2);
    case.at_ms(1_000).command(1, &Command::Leave);
    let mut dead = case.clone();
    dead.at_ms(3_000).verdict(0, watch, 1, MemberState::Dead);
    dead.fails(0, "for dead, which has left");
    case.at_ms(11_000).clone().fails(None, "no watch ever told of a node that left");
    case.clone().at_ms(11_001).fails(0, "the departed node 1");
    case.at_ms(2_000).verdict(0, watch, 1, MemberState::Left);
    case.at_ms(30_000).holds();
}

#[test]
fn members_exact_fails_on_anybody_missing_gone_suspected_or_not_active() {
    let mut case = Case::joined(3, PropertySpec::eventually(10, Check::MembersExact));
    case.fails(0, "knows 1 of 3");
    for node in 0..3 {
        case.shown(node).members = (0..3).map(|node| member(node, MemberState::Active)).collect();
    }
    case.holds();
    let changes: [(fn(&mut Member), &str); 4] = [
        (|member| member.state = MemberState::Dead, "knows 2 of 3"),
        (|member| member.state = MemberState::Synced, "which is active"),
        (|member| member.is_suspected = true, "suspects node 1"),
        (|member| member.contact = Contact::new(id(1), Incarnation(0), &[]), "which is none"),
    ];
    for (change, with) in changes {
        let mut broken = case.clone();
        change(&mut broken.shown(2).members[1]);
        broken.fails(2, with);
    }
    case.stop(1);
    case.fails(0, "takes node 1 for a member");
}

// --- services

#[test]
fn directory_exact_compares_every_directory_with_what_owners_offer() {
    let mut case = Case::joined(2, PropertySpec::eventually(10, Check::DirectoryExact));
    case.register(0, "a", "1");
    case.register(1, "b", "1");
    case.register(1, "b", "2");
    let all = [service(0, "a", "1"), service(1, "b", "2")];
    case.shown(0).services = all.to_vec();
    case.fails(1, "does not show service");
    case.shown(1).services = all.to_vec();
    case.holds();
    let mut stale = case.clone();
    stale.shown(1).services[1].meta = Bytes::from_static(b"1");
    stale.fails(1, "shows service b of node 1 as it is not offered");
    let mut twice = case.clone();
    twice.shown(1).services.push(service(0, "a", "1"));
    twice.fails(1, "of node 0 as it is not offered (3 visible, 2 offered)");
    let mut withdrawn = case.clone();
    withdrawn.unregister(1, "b");
    withdrawn.fails(0, "shows service b");
    withdrawn.shown(0).services.pop();
    withdrawn.shown(1).services.pop();
    withdrawn.holds();
    case.stop(1);
    case.fails(0, "shows service b");
    case.start_again(1, 2);
    case.shown(1).services = vec![service(0, "a", "1")];
    case.shown(0).services.pop();
    case.holds();
}

#[test]
fn directory_safe_fails_on_what_was_never_registered_and_on_what_outlives_its_owner() {
    let check = Check::DirectorySafe { within_ns: 10 * SECOND };
    let mut case = Case::joined(2, PropertySpec::always(check));
    case.register(1, "a", "1");
    let watch = case.watch_services(0, &[service(1, "a", "1")]);
    case.holds();
    let mut foreign = case.clone();
    foreign.news(0, watch, News::Updated(service(1, "a", "2")));
    foreign.fails(0, "as nobody ever registered it");
    let mut held = case.clone();
    held.shown(0).services = vec![service(1, "x", "")];
    held.fails(0, "service x of node 1 is visible");
    let mut asleep = case.clone(); // it leaves when it wakes
    asleep.trouble(&FaultEffect::Pause { nodes: vec![1] }, 1, 7);
    asleep.at_ms(2_000).command(1, &Command::Leave);
    asleep.at_ms(17_000).holds();
    asleep.at_ms(17_001).fails(0, "shows services of node 1 10001 ms after");
    case.at_ms(1_000).stop(1);
    case.at_ms(11_000).holds();
    case.clone().at_ms(11_001).fails(0, "shows services of node 1 10001 ms after");
    let mut away = case.clone();
    away.at_ms(8_000).command(0, &Command::Leave);
    away.at_ms(60_000).holds(); // who has left hears of nobody
    let mut back = case.clone();
    let reason = ServiceLoss::Dead;
    case.at_ms(9_000).news(0, watch, News::Down { service: service(1, "a", "1"), reason });
    case.at_ms(60_000).holds();
    back.start_again(1, 2);
    back.register(1, "a", "1");
    let newer = Service { incarnation: Incarnation(2), ..service(1, "a", "1") };
    back.news(0, watch, News::Updated(newer));
    back.at_ms(60_000).holds();
    back.news(0, watch, News::Updated(service(1, "a", "1")));
    back.fails(0, "of an earlier life came back");
}

#[test]
fn topology_safe_fails_when_services_of_the_living_go() {
    let check = Check::TopologySafe { pause_ns: 2 * SECOND };
    let mut case = Case::joined(2, PropertySpec::always(check));
    case.register(1, "a", "1");
    let watch = case.watch_services(0, &[service(1, "a", "1")]);
    let down = || News::Down { service: service(1, "a", "1"), reason: ServiceLoss::Dead };
    let gone = || News::Unregistered(service(1, "a", "1"));
    let mut lost = case.clone();
    lost.at_ms(20_000).news(0, watch, down());
    lost.fails(0, "went down, and its owner lives");
    let mut untrue = case.clone();
    untrue.at_ms(20_000).news(0, watch, gone());
    untrue.fails(0, "told to be withdrawn");
    let mut cut = case.clone();
    cut.cut(&[0, 1], 10, 19);
    cut.at_ms(20_000).news(0, watch, down());
    cut.holds();
    let mut dead = case.clone();
    dead.stop(1);
    dead.news(0, watch, down());
    dead.holds();
    case.unregister(1, "a");
    case.news(0, watch, gone());
    case.holds();
}

#[test]
fn service_events_come_once_and_add_up() {
    let mut case = Case::joined(2, PropertySpec::always(Check::ServiceEventsOnce));
    case.register(1, "a", "1");
    case.register(1, "a", "2");
    case.shown(0).services = vec![service(1, "a", "1")];
    let watch = case.watch_services(0, &[service(1, "a", "1")]);
    case.holds();
    let broken: [(News, &str); 5] = [
        (News::Registered(service(1, "a", "1")), "registered twice"),
        (News::Updated(service(1, "a", "1")), "has not changed"),
        (News::Updated(service(1, "b", "1")), "updated and not visible"),
        (News::Unregistered(service(1, "b", "1")), "went and was not visible"),
        (News::Services(Vec::new()), "second snapshot"),
    ];
    for (news, with) in broken {
        let mut case = case.clone();
        case.news(0, watch, news);
        case.fails(0, with);
    }
    case.shown(0).services = vec![service(1, "a", "2")];
    case.fails(0, "no news told of service a");
    case.news(0, watch, News::Updated(service(1, "a", "2")));
    case.holds();
    case.shown(0).services.clear();
    case.fails(0, "told of 1 services, 0 are visible");
    case.news(0, watch, News::Unregistered(service(1, "a", "2")));
    case.holds();
}

#[test]
fn lookups_find_what_is_offered_and_their_own_first() {
    let check = Check::LookupsTrue { within_ns: 5 * SECOND };
    let mut case = Case::joined(3, PropertySpec::always(check));
    case.at_ms(1_000).register(1, "a", "1");
    case.look_up(0, "a", Some(&service(1, "a", "1")));
    case.at_ms(6_000).look_up(0, "a", None);
    case.holds();
    let mut lost = case.clone();
    lost.at_ms(6_001).look_up(0, "a", None);
    lost.fails(0, "was not found");
    let mut forged = case.clone();
    forged.look_up(0, "a", Some(&service(1, "a", "2")));
    forged.fails(0, "as nobody ever registered it");
    case.register(2, "a", "1");
    case.look_up(0, "a", Some(&service(1, "a", "1")));
    case.holds();
    let mut far = case.clone();
    far.look_up(2, "a", Some(&service(1, "a", "1")));
    far.fails(2, "the node offers one itself");
    case.at_ms(10_000).stop(1);
    let mut away = case.clone();
    away.at_ms(12_000).leave_and_return(0, 2);
    away.at_ms(17_000).look_up(0, "a", Some(&service(1, "a", "1")));
    away.holds();
    away.at_ms(17_001).look_up(0, "a", Some(&service(1, "a", "1")));
    away.fails(0, "its owner is gone");
    case.at_ms(15_000).look_up(0, "a", Some(&service(1, "a", "1")));
    case.holds();
    case.at_ms(15_001).look_up(0, "a", Some(&service(1, "a", "1")));
    case.fails(0, "its owner is gone");
}

// --- mail

#[test]
fn mail_comes_at_most_once_and_only_what_was_sent() {
    let mut case = Case::joined(2, PropertySpec::always(Check::MailAtMostOnce));
    let (from, to) = (case.open(0, 1), case.open(1, 1));
    case.send(0, to, "one");
    case.send(0, to, "two");
    case.mail(1, from, "one");
    case.mail(1, from, "two");
    case.holds();
    let mut twice = case.clone();
    twice.mail(1, from, "one");
    twice.fails(1, "a second time");
    case.ask(0, to, "why");
    case.asked(1, from, "why");
    case.holds();
    let mut again = case.clone();
    again.asked(1, from, "why");
    again.fails(1, "asked a second time");
    let mut refused = case.clone();
    let (mailbox, payload) = (MailboxId(1), Bytes::from_static(b"four"));
    let token = refused.command(0, &Command::Send { from: mailbox, to, payload });
    refused.done(0, token, Err(CommandError::Busy));
    refused.holds();
    refused.mail(1, from, "four");
    refused.fails(1, "was refused and yet delivered");
    case.mail(1, from, "three");
    case.fails(1, "never sent");
}

#[test]
fn mail_of_a_pair_stays_in_order_and_may_have_gaps() {
    let mut case = Case::joined(2, PropertySpec::always(Check::MailInOrder));
    let (from, to) = (case.open(0, 1), case.open(1, 1));
    for text in ["one", "two", "three"] {
        case.send(0, to, text);
    }
    case.mail(1, from, "one");
    case.mail(1, from, "three");
    case.holds();
    case.mail(1, from, "two");
    case.fails(1, "overtaken");
}

#[test]
fn mail_never_comes_to_a_later_life_or_a_closed_mailbox() {
    let mut case = Case::joined(2, PropertySpec::always(Check::MailToTheLiving));
    let (from, to) = (case.open(0, 1), case.open(1, 1));
    case.send(0, to, "one");
    let mut closed = case.clone();
    let token = closed.command(1, &Command::CloseMailbox { mailbox: MailboxId(1) });
    closed.done(1, token, Ok(Reply::Ok));
    closed.mail(1, from, "one");
    closed.fails(1, "that is closed");
    let mut again = case.clone();
    again.stop(1);
    again.start_again(1, 2);
    again.open(1, 2);
    again.mail(1, from, "one");
    again.fails(1, "a later life");
    case.mail(1, from, "one");
    case.holds();
    case.ask(0, to, "why");
    case.stop(1);
    case.start_again(1, 2);
    case.asked(1, from, "why");
    case.fails(1, "another mailbox");
}

#[test]
fn every_question_has_one_answer_in_its_time() {
    let check = Check::CallsAnsweredOnce { slack_ns: SECOND };
    let mut case = Case::joined(2, PropertySpec::always(check));
    let (from, to) = (case.open(0, 1), case.open(1, 1));
    let token = case.ask(0, to, "why");
    case.fails(None, "no question ever came");
    case.asked(1, from, "why");
    case.at_ms(2_000).holds();
    case.clone().at_ms(2_001).fails(0, "has no answer");
    let mut stopped = case.clone();
    stopped.stop(0);
    stopped.at_ms(10_000).holds();
    let mut late = case.clone();
    late.at_ms(2_500).done(0, token, Err(CommandError::Timeout));
    late.fails(0, "1500 ms after its time");
    late.trouble(&FaultEffect::Pause { nodes: vec![0] }, 1, 2);
    case.at_ms(1_000).done(0, token, Ok(Reply::Answer { payload: Bytes::new() }));
    case.at_ms(10_000).holds();
    case.done(0, token, Err(CommandError::Timeout));
    case.fails(0, "a second time");
}

#[test]
fn who_has_just_come_may_be_out_of_reach_and_nobody_else() {
    let check = Check::MonitorsFireOnce { within_ns: 10 * SECOND };
    let mut case = Case::joined(2, PropertySpec::always(check));
    case.open(0, 1);
    let to = case.open(1, 1);
    let monitor = case.monitor(0, to);
    let fire = |case: &mut Case, reason| {
        case.tell(0, Event::MailboxDown { monitor, address: to, reason });
    };
    let mut new = case.clone();
    fire(new.at_ms(4_999), MailLoss::Unreachable);
    new.holds();
    let mut gone = case.clone();
    fire(gone.at_ms(4_999), MailLoss::Gone);
    gone.fails(0, "for a mailbox that is open");
    fire(case.at_ms(5_000), MailLoss::Unreachable);
    case.fails(0, "for a mailbox that is open");
}

#[test]
fn tied_mailboxes_close_together_each_once_and_no_others_do() {
    let check = Check::TiesCloseBoth { within_ns: 10 * SECOND };
    let mut case = Case::joined(2, PropertySpec::always(check));
    let (here, there) = (case.open(0, 1), case.open(1, 1));
    let other = Address { mailbox: MailboxId(2), ..there };
    case.tie(0, here, there);
    case.at_ms(60_000).holds();
    let mut early = case.clone();
    early.close_with(0, here, there);
    early.fails(0, "because of one that is open");
    case.stop(1);
    let mut strange = case.clone();
    strange.close_with(0, here, other);
    strange.fails(0, "never tied to");
    case.at_ms(70_000).holds();
    case.clone().at_ms(70_001).fails(0, "is open 10001 ms after");
    case.close_with(0, here, there);
    case.at_ms(90_000).holds();
    case.close_with(0, here, there);
    case.fails(0, "a second time");
}

#[test]
fn a_tie_that_its_maker_may_not_have_told_of_before_it_died_binds_the_maker_alone() {
    let check = Check::TiesCloseBoth { within_ns: 10 * SECOND };
    let mut case = Case::joined(2, PropertySpec::always(check));
    let (here, there) = (case.open(0, 1), case.open(1, 1));
    case.tie(0, here, there);
    let mut old = case.clone();
    old.at_ms(60_000).stop(0);
    old.at_ms(70_001).fails(1, "is open 10001 ms after");
    case.stop(0);
    case.at_ms(90_000).holds();
}

#[test]
fn a_monitor_fires_once_when_its_mailbox_goes_and_never_before() {
    let check = Check::MonitorsFireOnce { within_ns: 10 * SECOND };
    let mut case = Case::joined(2, PropertySpec::always(check));
    case.open(0, 1);
    let to = case.open(1, 1);
    let monitor = case.monitor(0, to);
    case.at_ms(60_000).holds();
    let mut early = case.clone();
    early.fire(0, monitor, to);
    early.fails(0, "for a mailbox that is open");
    let mut strange = case.clone();
    strange.fire(0, Token(999), to);
    strange.fails(0, "never set");
    case.stop(1);
    case.at_ms(70_000).holds();
    case.clone().at_ms(70_001).fails(0, "has not fired 10001 ms after");
    case.fire(0, monitor, to);
    case.at_ms(90_000).holds();
    let mut twice = case.clone();
    twice.fire(0, monitor, to);
    twice.fails(0, "a second time");
    let dead = case.monitor(0, to);
    case.clone().at_ms(100_001).fails(0, "has not fired");
    case.fire(0, dead, to);
    case.at_ms(100_001).holds();
}

/// Each of these properties, of two nodes with an open mailbox.
fn of_mail(check: Check) -> (Case, Address, Address) {
    let mut case = Case::joined(2, PropertySpec::always(check));
    let (here, there) = (case.open(0, 1), case.open(1, 1));
    (case, here, there)
}

#[test]
fn mailboxes_go_on_under_other_addresses_in_the_life_after_a_leave() {
    let (mut case, here, there) = of_mail(Check::MailToTheLiving);
    let later = Address { incarnation: Incarnation(2), ..there };
    case.send(0, there, "old");
    case.leave_and_return(1, 2);
    let mut dead = case.clone();
    dead.mail(1, here, "old");
    dead.fails(1, "a later life");
    case.send(0, later, "new");
    case.mail(1, here, "new");
    case.holds();
}

#[test]
fn a_leave_ends_monitors_by_others_and_none_of_the_nodes_own() {
    let (mut case, _, there) = of_mail(Check::MonitorsFireOnce { within_ns: 10 * SECOND });
    let later = Address { incarnation: Incarnation(2), ..there };
    let (by_other, own) = (case.monitor(0, there), case.monitor(1, there));
    case.at_ms(60_000).leave_and_return(1, 2);
    let mut silent = case.clone();
    silent.at_ms(70_001).fails(0, "has not fired 10001 ms after");
    case.fire(0, by_other, there);
    case.at_ms(90_000).holds();
    let mut early = case.clone();
    early.fire(1, own, later);
    early.fails(1, "for a mailbox that is open");
    let token = case.command(1, &Command::CloseMailbox { mailbox: MailboxId(1) });
    case.done(1, token, Ok(Reply::Ok));
    case.holds();
}

#[test]
fn who_leaves_may_lose_sight_of_the_mailboxes_of_others_and_nobody_else() {
    let (mut case, _, there) = of_mail(Check::MonitorsFireOnce { within_ns: 10 * SECOND });
    let monitor = case.monitor(0, there);
    case.at_ms(60_000).leave_and_return(0, 2);
    let mut late = case.clone();
    late.at_ms(76_001).fire(0, monitor, there);
    late.fails(0, "for a mailbox that is open");
    case.at_ms(76_000).fire(0, monitor, there);
    case.holds();
}

#[test]
fn a_leave_ends_ties_with_others_and_none_within_the_node() {
    let (mut case, here, there) = of_mail(Check::TiesCloseBoth { within_ns: 10 * SECOND });
    let later = Address { incarnation: Incarnation(2), ..there };
    case.tie(0, here, there);
    let mut silent = case.clone();
    silent.at_ms(60_000).leave_and_return(1, 2);
    silent.at_ms(70_001).fails(0, "is open 10001 ms after");
    case.at_ms(60_000).command(1, &Command::Leave);
    case.close_with(1, there, here);
    case.leave_and_return(1, 2);
    case.close_with(0, here, there);
    case.at_ms(90_000).holds();
    let mut twice = case.clone();
    twice.close_with(1, later, here);
    twice.fails(1, "a second time");
}

#[test]
fn who_was_away_when_it_was_tied_need_not_hear_of_the_end() {
    let (mut case, here, there) = of_mail(Check::TiesCloseBoth { within_ns: 10 * SECOND });
    case.at_ms(60_000).command(1, &Command::Leave);
    case.tie(0, here, there);
    let token = case.command(0, &Command::CloseMailbox { mailbox: here.mailbox });
    case.done(0, token, Ok(Reply::Ok));
    let mut silent = case.clone();
    silent.at_ms(70_001).fails(1, "is open 10001 ms after");
    case.leave_and_return(1, 2);
    case.at_ms(90_000).holds();
}

#[test]
fn accepted_mail_is_delivered_or_told_to_be_lost_while_both_ends_are_there() {
    let check = Check::MailAccounted { min_ppm: 1_000_000 };
    let mut case = Case::joined(2, PropertySpec::eventually(10, check));
    let (from, to) = (case.open(0, 1), case.open(1, 1));
    let one = case.send(0, to, "one");
    case.send(0, to, "two");
    case.mail(1, from, "two");
    case.fails(0, "1 of 2 messages vanished");
    let mut gone = case.clone();
    gone.stop(1);
    gone.holds();
    case.tell(0, Event::MailLost { token: one, to, reason: MailLoss::Unreachable });
    case.holds();
}

// --- placement

#[test]
fn every_partition_has_one_owner_that_is_there() {
    let mut case = Case::joined(3, PropertySpec::eventually(10, Check::OneOwner));
    case.fails(0, "partition 0 belongs to nobody");
    (0..3).for_each(|node| case.shown(node).owners = vec![0, 1, 2, 0]);
    case.fails(0, "owns 0 partitions, and others by its own count");
    case.shown(0).owned = vec![(0, 1), (3, 1)];
    (1..3).for_each(|node| case.shown(node).owned = vec![(node, 1)]);
    case.holds();
    let mut split = case.clone();
    split.shown(2).owners[1] = 2;
    split.shown(2).owned.push((1, 1));
    split.fails(2, "partition 1 has another owner");
    case.stop(1);
    case.fails(0, "node 1, which is gone");
}

#[test]
fn a_dead_owner_is_replaced_in_time() {
    let check = Check::NoDeadOwner { within_ns: 10 * SECOND };
    let mut case = Case::joined(2, PropertySpec::always(check));
    case.shown(0).owners = vec![1, 0, 0, 0];
    case.at_ms(5_000).stop(1);
    case.at_ms(15_000).holds();
    case.clone().at_ms(15_001).fails(0, "dead for 10001 ms");
    let mut away = case.clone();
    away.at_ms(8_000).leave_and_return(0, 2);
    away.at_ms(18_000).holds();
    away.at_ms(18_001).fails(0, "dead for 13001 ms");
    case.shown(0).owners[0] = 0;
    case.at_ms(20_000).holds();
}

#[test]
fn partitions_are_acquired_and_released_in_turn_with_rising_tokens() {
    let mut case = Case::joined(2, PropertySpec::always(Check::OwnersAlternate));
    let watch = case.watch_partitions(0, &[(1, 5)]);
    case.shown(0).owners = vec![1, 0, 1, 0];
    case.shown(0).owned = vec![(1, 5)];
    case.holds(); // the last one is its own too, and waits for its token
    let changes: [(&dyn Fn(&mut Case), &str); 6] = [
        (&|case| case.acquire(0, watch, 1, 6), "acquired twice"),
        (&|case| case.release(0, watch, 2, 5), "released and not owned"),
        (&|case| case.release(0, watch, 1, 4), "another token"),
        (&|case| case.news(0, watch, News::Owned(Vec::new())), "second snapshot"),
        (&|case| case.shown(0).owners[1] = 1, "are not those that it owns"),
        (&|case| case.shown(0).owned.push((3, 5)), "are not those that it owns"),
    ];
    for (change, with) in changes {
        let mut broken = case.clone();
        change(&mut broken);
        broken.fails(0, with);
    }
    case.release(0, watch, 1, 5);
    case.shown(0).owned.clear();
    let mut old = case.clone();
    old.acquire(0, watch, 1, 5);
    old.fails(0, "does not rise");
    case.acquire(0, watch, 1, 6);
    case.shown(0).owned.push((1, 6));
    case.holds();
}

#[test]
fn a_node_owns_nothing_before_it_has_come_in_and_is_active() {
    let mut case = Case::always(2, Check::BootingOwnsNothing);
    let watch = case.watch_partitions(0, &[]);
    let mut early = case.clone();
    early.acquire(0, watch, 0, 1);
    early.fails(0, "while it boots");
    case.join(0);
    case.acquire(0, watch, 0, 1);
    case.holds();
    let members = case.watch_members(0, 2);
    let state = |state| News::Member { member: member(0, state), was: None };
    case.news(0, members, state(MemberState::Active));
    case.acquire(0, watch, 1, 1);
    case.holds();
    case.news(0, members, state(MemberState::Synced));
    case.acquire(0, watch, 2, 1);
    case.fails(0, "while it boots");
}

#[test]
fn ownership_moves_no_more_often_than_it_may() {
    let mut case = Case::joined(2, PropertySpec::always(Check::OwnershipStill { max: 1 }));
    case.judge.on_bootstrapped(SECOND);
    let watches = [0, 1].map(|node| case.watch_partitions(node, &[]));
    case.acquire(0, watches[0], 3, 1); // while the cluster forms
    case.at_ms(2_000).acquire(1, watches[1], 3, 1);
    case.holds();
    case.acquire(0, watches[0], 3, 2);
    case.fails(0, "partition 3 moved 2 times, 1 at most");
}
