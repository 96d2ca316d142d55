//! What the handle of a node promises beside the network: names for nodes, reads that wait for nobody, drops that are
//! heard at once, applications on a real node.

use rumormill_net_quic::core::{App, AppCx, Command, Event, Reply, Token};
use rumormill_net_quic::testing::TestCluster;
use rumormill_net_quic::{
    Address, Builder, Cluster, CommandError, Error, Found, Incoming, MailLoss, MemberState, News, Offer,
    SentSome, Use, schema_of,
};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::mpsc;
use std::task::{Context, Waker};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{sleep, timeout};

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_node_is_named_by_id_or_by_name_wherever_it_is() {
    let cluster = TestCluster::start(4).await.expect("settled");
    let (here, there) = (cluster.node(0), cluster.node(3));
    let mut acceptor = there.accept_streams("hello").expect("nobody takes it yet");
    for round in 0..2 {
        let mut stream = match round {
            0 => here.open_stream("node-3", "hello").await.expect("opened by name"),
            _ => here.open_stream(there.id(), "hello").await.expect("opened by id"),
        };
        stream.write_all(b"hi").await.expect("sent");
        stream.shutdown().await.expect("ended");
        let mut taken = timeout(SOON, acceptor.accept()).await.expect("soon").expect("running");
        let mut text = String::new();
        taken.read_to_string(&mut text).await.expect("received");
        assert_eq!((taken.peer(), text.as_str()), (here.id(), "hi"));
    }
    let member = here.member("node-3").await.expect("looked").expect("a member");
    assert_eq!(member.id(), there.id());
    assert_eq!(here.contact(&member).await.expect("looked").map(|it| it.id()), Some(there.id()));
    assert_eq!(here.node_id("node-9").await, Err(Error::NoSuchNode("node-9".into())));
}

async fn all_know_each_other(nodes: &[Cluster]) {
    for node in nodes {
        let mut watching = node.watch_members().await.expect("watching");
        while node.members().await.expect("running").len() < nodes.len() {
            timeout(SOON, watching.recv()).await.expect("soon").expect("running");
        }
    }
}

#[tokio::test]
async fn a_member_that_was_never_met_is_found_by_its_name() {
    let soon = |_, builder: Builder| builder.handshake_timeout(Duration::from_secs(2)); // for a seed that is cut off
    let mut cluster = TestCluster::start_with(3, soon).await.expect("settled");
    // Who starts again without a folder has met nobody, and these two cannot meet: the third tells them of each other.
    cluster.end(2).await;
    cluster.cut(1, 2);
    cluster.add(2).await.expect("started again");
    cluster.settled().await.expect("known");
    let (here, there) = (cluster.node(2), cluster.node(1).id());
    assert_eq!(here.name_of(&there), None, "they have not met");
    cluster.heal();
    assert_eq!(here.node_id("node-1").await, Ok(there));
    assert_eq!(here.name_of(&there).as_deref(), Some("node-1"), "it is remembered");
}

/// Views so small fall into islands now and then: leases tell, and bridges are asked for.
#[tokio::test]
async fn nodes_with_small_views_all_know_each_other_by_name() {
    let listen = (Ipv4Addr::LOCALHOST, 0).into();
    let mut nodes: Vec<Cluster> = Vec::new();
    for number in 0..9 {
        let builder = Cluster::builder("test").secret("words").name(format!("n{number}")).listen(listen);
        let builder = builder.configure(|config| (config.active_size, config.passive_size) = (3, 3));
        nodes.push(builder.seeds(nodes.first().map(Cluster::local_addr)).start().await.expect("started"));
        all_know_each_other(&nodes).await;
    }
    for (here, there) in nodes.iter().flat_map(|here| nodes.iter().map(move |there| (here, there))) {
        assert_eq!(here.node_id(there.name()).await, Ok(there.id()), "{} of {}", there.name(), here.name());
        assert_eq!(here.name_of(&there.id()).as_deref(), Some(there.name()), "it is remembered");
    }
}

#[tokio::test]
async fn who_has_put_a_key_reads_it_at_once_and_so_does_whoever_hears_of_it() {
    let host = |_, builder: Builder| builder.map("numbers");
    let cluster = TestCluster::start_with(2, host).await.expect("settled");
    let here = cluster.node(0).map::<String, u32>("numbers").await.expect("hosted");
    let there = cluster.node(1).map::<String, u32>("numbers").await.expect("hosted");
    let (_, mut changes) = there.watch().await.expect("watching");
    let long = "a key that has no place in the room that short ones have ".repeat(4);
    for number in 0..200 {
        let key =
            if number % 2 == 0 { format!("key {}", number % 10) } else { format!("{long}{}", number % 10) };
        here.put(&key, &number).await.expect("put");
        assert_eq!(here.get(&key), Ok(Some(number)));
        let change = timeout(SOON, changes.recv()).await.expect("soon").expect("running").expect("typed");
        assert_eq!((&change.key, change.new), (&key, Some(number)));
        assert_eq!(there.get(&key), Ok(Some(number)), "who hears of a change reads it");
    }
    assert_eq!((here.len(), there.len()), (10, 10));
    let mut expected: Vec<(String, u32)> = (190..200)
        .map(|number| match number % 2 {
            0 => (format!("key {}", number % 10), number),
            _ => (format!("{long}{}", number % 10), number),
        })
        .collect();
    expected.sort_by_key(|(key, _)| (key.len(), key.clone())); // as the bytes of texts begin with their length
    assert_eq!((here.entries(), there.entries()), (Ok(expected.clone()), Ok(expected)));
    assert_eq!(there.keys().expect("typed").len(), 10);
    for key in there.keys().expect("typed") {
        here.remove(&key).await.expect("removed");
        assert_eq!(here.get(&key), Ok(None));
    }
    assert!(here.is_empty());
}

#[tokio::test]
async fn a_value_of_another_type_is_refused_by_the_schema_to_its_last_byte() {
    let host = |_, builder: Builder| builder.map_with("flags", schema_of::<bool>(7));
    let cluster = TestCluster::start_with(1, host).await.expect("settled");
    let careless = cluster.node(0).map_with::<String, (bool, bool)>("flags", 7).await.expect("hosted");
    let refused = careless.put(&"dark".into(), &(true, true)).await;
    assert_eq!(refused, Err(Error::Refused(CommandError::Invalid)), "one byte too many");
    let flags = cluster.node(0).map_with::<String, bool>("flags", 7).await.expect("hosted");
    assert_eq!((flags.get(&"dark".into()), flags.len()), (Ok(None), 0));
    flags.put(&"dark".into(), &true).await.expect("put");
    assert_eq!(flags.get(&"dark".into()), Ok(Some(true)));
}

#[tokio::test]
async fn services_are_read_as_the_node_knows_them() {
    let mut cluster = TestCluster::start(3).await.expect("settled");
    let here = cluster.node(0).clone();
    let mut watching = here.watch_services("worker").await.expect("watching");
    assert_eq!(timeout(SOON, watching.recv()).await.expect("soon"), Some(News::Services(vec![])));
    assert_eq!(here.whereis("worker"), Ok(Found::NotFound));
    for (node, instance) in [(1, 0), (1, 1), (2, 0)] {
        let offer = Offer::new().instance(instance).meta(&node).expect("metadata");
        cluster.node(node).register("worker", offer).await.expect("registered");
        let news = timeout(SOON, watching.recv()).await.expect("soon").expect("running");
        assert!(matches!(news, News::Registered(_)), "{news:?}");
    }
    assert_eq!(here.lookup("worker").expect("looked").len(), 3, "whoever hears of a service finds it");
    let local = |node: usize| cluster.node(node).lookup_local("worker").expect("looked");
    let instances = |node| local(node).iter().map(|it| it.instance).collect::<Vec<_>>();
    assert_eq!([instances(0), instances(1), instances(2)], [vec![], vec![0, 1], vec![0]]);
    assert!(matches!(cluster.node(2).whereis("worker"), Ok(Found::Local(it)) if it.instance == 0));
    cluster.node(1).unregister("worker", 0).await.expect("withdrawn");
    timeout(SOON, watching.recv()).await.expect("soon").expect("running");
    cluster.end(2).await;
    loop {
        let news = timeout(SOON, watching.recv()).await.expect("soon").expect("running");
        if let News::Down { .. } = news {
            break;
        }
    }
    let left = here.lookup("worker").expect("looked");
    assert_eq!(
        left.iter().map(|it| (it.owner, it.instance)).collect::<Vec<_>>(),
        [(cluster.node(1).id(), 1)]
    );
    assert!(matches!(here.whereis("worker"), Ok(Found::Remote(node, _)) if node == cluster.node(1).id()));
}

#[tokio::test]
async fn all_nodes_place_a_key_alike() {
    let cluster = TestCluster::start(3).await.expect("settled");
    let place = |number: usize, key: u32| cluster.node(number).place(&key).expect("a key").expect("somebody");
    for key in 0..50_u32 {
        let owner = place(0, key);
        assert_eq!((place(1, key), place(2, key)), (owner, owner));
        assert_eq!(cluster.node(1).owners(&key, 3).expect("a key")[0], owner);
        let partition = cluster.node(2).partition(&key).expect("a key").expect("a ring");
        assert_eq!(cluster.node(0).owner_of(partition), Some(owner));
    }
    assert_eq!(cluster.node(0).ring_size(), cluster.node(1).ring_size());
}

/// Answers lines with what it has heard, and holds still while somebody looks.
#[derive(Clone, Default)]
struct Echo {
    lines: Vec<String>,
    mailbox: Option<Token>,
    address: Option<rumormill_net_quic::core::Address>,
    mail: u32,
}

impl App for Echo {
    fn on_start(&mut self, cx: &mut AppCx<'_>) {
        self.mailbox = Some(cx.order(Command::OpenMailbox));
    }

    fn on_event(&mut self, event: &Event, _cx: &mut AppCx<'_>) {
        match event {
            Event::Done { token, result: Ok(Reply::Opened { address }) } if self.mailbox == Some(*token) => {
                self.address = Some(*address);
            }
            Event::Mail { .. } | Event::Asked { .. } => self.mail += 1,
            _ => {}
        }
    }

    fn on_request(&mut self, line: &str, _cx: &mut AppCx<'_>) {
        self.lines.push(line.into());
    }
}

#[tokio::test]
async fn an_application_of_the_simulator_runs_on_a_real_node() {
    let cluster = TestCluster::start(1).await.expect("settled");
    let node = cluster.node(0);
    let mut echo = node.host(Echo::default()).await.expect("hosted");
    assert_eq!(node.host(Echo::default()).await.err(), Some(Error::Refused(CommandError::Full { max: 1 })));
    echo.say("hello").await.expect("said");
    while !echo.with(|echo| echo.address.is_some() && echo.lines == ["hello"]) {
        timeout(SOON, echo.moved()).await.expect("soon").expect("running");
    }
    let mut ours = node.mailbox::<u32>().await.expect("a mailbox");
    ours.send(ours.address(), &1).await.expect("sent");
    timeout(SOON, ours.recv()).await.expect("soon").expect("running");
    assert_eq!(echo.with(|echo| echo.mail), 0, "the mail of handles is not the application's");
    let theirs = Address::<u32>::new(echo.with(|echo| echo.address).expect("it is open"));
    ours.send_all(theirs, &[1, 2, 3]).await.expect("sent");
    while echo.with(|echo| echo.mail) < 3 {
        timeout(SOON, echo.moved()).await.expect("each of what was sent as one").expect("running");
    }
}

#[tokio::test]
async fn a_flood_to_ones_own_node_is_cut_short_and_what_was_taken_is_there() {
    let cluster = TestCluster::start(1).await.expect("settled");
    let mut ours = cluster.node(0).mailbox::<(u32, Vec<u8>)>().await.expect("a mailbox");
    let messages: Vec<_> = (0..6_000).map(|number| (number, vec![0; 20_000])).collect();
    let flood = ours.send_all(ours.address(), &messages).await;
    let Err(SentSome { sent, error: Error::Refused(CommandError::Busy) }) = flood else {
        panic!("all of it was taken, and nobody reads: {flood:?}")
    };
    let bytes = sent * 20_000;
    assert!((30 << 20..48 << 20).contains(&bytes), "{bytes} bytes were taken: a mailbox has room for 32 MiB");
    for expected in 0..sent as u32 {
        match timeout(SOON, ours.recv()).await.expect("soon").expect("running") {
            Incoming::Message { message: (number, _), .. } => assert_eq!(number, expected),
            _ => panic!("not a message"),
        }
    }
}

#[tokio::test]
async fn a_service_is_at_a_mailbox_of_its_own_node_and_takes_only_its_own_type() {
    let cluster = TestCluster::start(2).await.expect("settled");
    let (here, there) = (cluster.node(0), cluster.node(1));
    let mut ours = here.mailbox::<u64>().await.expect("a mailbox");
    let elsewhere = there.register("wrong", Offer::new().at(ours.address().raw())).await;
    assert_eq!(elsewhere, Err(Error::Refused(CommandError::NoSuchMailbox)));
    here.register("right", Offer::new().at(ours.address().raw())).await.expect("registered");
    let longer = Address::<(u64, u64)>::new(ours.address().raw());
    ours.send(longer, &(3, 4)).await.expect("sent");
    let came = timeout(SOON, ours.recv()).await.expect("soon").expect("running");
    assert!(matches!(came, Incoming::Unreadable { .. }), "a part of it is a number, the whole is none");
}

/// What a drop says must not wait for room among the requests of others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_mailbox_is_closed_though_requests_pile_up() {
    /// More than have room, and than the node may take before it comes to stand still.
    const PILE: usize = 2_000;
    let cluster = TestCluster::start(1).await.expect("settled");
    let node = cluster.node(0).clone();
    let dropped = node.mailbox::<()>().await.expect("a mailbox");
    let ours = node.mailbox::<()>().await.expect("a mailbox");
    let mut monitor = ours.monitor(dropped.address()).await.expect("monitoring");
    let echo = node.host(Echo::default()).await.expect("hosted");
    let (piled, is_piled) = mpsc::channel();
    let (held, is_held) = mpsc::channel();
    let looking = std::thread::spawn(move || {
        // Whoever looks holds the node: the next line waits, and so does everything behind it.
        echo.with(|_| {
            held.send(()).expect("it waits");
            is_piled.recv_timeout(SOON).expect("piled up");
        });
        echo
    });
    is_held.recv_timeout(SOON).expect("held");
    let mut waiting = Vec::new();
    while waiting.len() < PILE {
        let mut asking = Box::pin(node.members());
        if asking.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            waiting.push(asking); // the first may be answered before the node comes to stand still
        }
        tokio::task::yield_now().await; // or tokio takes this task for one that never lets others run
    }
    drop(dropped);
    piled.send(()).expect("it waits");
    let reason = timeout(SOON, monitor.down()).await.expect("soon").expect("running");
    assert_eq!(reason, MailLoss::Gone);
    for asking in waiting {
        asking.await.expect("answered");
    }
    drop(looking.join().expect("no panic"));
}

#[tokio::test]
async fn what_is_read_at_once_is_what_the_node_knows_however_it_came_to_know() {
    let listen = (Ipv4Addr::LOCALHOST, 0).into();
    let mut nodes: Vec<Cluster> = Vec::new();
    for number in 0..5 {
        let builder = Cluster::builder("test").secret("words").name(format!("n{number}")).listen(listen);
        let node = builder.seeds(nodes.first().map(Cluster::local_addr)).start().await.expect("started");
        node.register("who", Offer::new().meta(&number).expect("metadata")).await.expect("registered");
        nodes.push(node);
    }
    for node in &nodes {
        let mut watching = node.watch_services("who").await.expect("watching");
        while node.list("who").expect("looked").len() < nodes.len() {
            timeout(SOON, watching.recv()).await.expect("soon").expect("running");
        }
        let mut owners: Vec<_> = node.lookup("who").expect("looked").iter().map(|it| it.owner).collect();
        let mut listed: Vec<_> = node.list("who").expect("looked").iter().map(|it| it.owner).collect();
        owners.sort();
        listed.sort();
        assert_eq!(owners, listed, "on {}", node.name());
    }
}

#[tokio::test]
async fn paths_tell_how_connections_do() {
    const SENT: usize = 1_000_000;
    let cluster = TestCluster::start(2).await.expect("settled");
    let (here, there) = (cluster.node(0), cluster.node(1));
    let paths = here.paths().await.expect("running");
    assert!(paths.iter().all(|it| (it.peer, it.carries) == (there.id(), Use::Frames)), "{paths:?}");
    assert!(paths.iter().any(|it| !it.is_dialled_here), "the other one came in through this one: {paths:?}");
    let mut acceptor = there.accept_streams("s").expect("nobody takes it yet");
    let mut stream = here.open_stream("node-1", "s").await.expect("opened");
    let reading = tokio::spawn(async move {
        let mut taken = acceptor.accept().await.expect("running");
        tokio::io::copy(&mut taken, &mut tokio::io::sink()).await.expect("whole");
        taken
    });
    stream.write_all(&vec![7; SENT]).await.expect("sent");
    stream.shutdown().await.expect("ended");
    let _taken = timeout(SOON, reading).await.expect("soon").expect("no panic");
    for (node, is_sender) in [(here, true), (there, false)] {
        let paths = node.paths().await.expect("running");
        let path = paths.iter().find(|path| path.carries == Use::Streams).expect("a connection");
        let bytes = if is_sender { path.bytes_sent } else { path.bytes_received };
        assert_eq!(path.is_dialled_here, is_sender);
        assert!(bytes > SENT as u64 && bytes < 2 * SENT as u64, "{path:?}");
        assert!(path.rtt > Duration::ZERO && path.rtt < SOON && path.packets_sent > 0, "{path:?}");
        assert!(path.congestion_window > 0 && path.mtu >= 1_200, "{path:?}");
        assert_eq!(path.addr, if is_sender { there.local_addr() } else { here.local_addr() });
    }
}

#[tokio::test]
async fn what_a_node_owns_is_read_as_it_was_told() {
    let cluster = TestCluster::start(2).await.expect("settled");
    let (here, there) = (cluster.node(0), cluster.node(1));
    let partitions = here.ring_size().expect("placement is on") as usize;
    let mut at_here = here.watch_partitions().await.expect("watching");
    let mut at_there = there.watch_partitions().await.expect("watching");
    let mut told = [BTreeMap::new(), BTreeMap::new()];
    let reads =
        |node: &Cluster, told: &BTreeMap<_, _>| node.owned().into_iter().collect::<BTreeMap<_, _>>() == *told;
    while !reads(here, &told[0]) || !reads(there, &told[1]) || told[0].len() + told[1].len() != partitions {
        let (told, news) = tokio::select! {
            biased;
            news = at_here.recv() => (&mut told[0], news),
            news = at_there.recv() => (&mut told[1], news),
            () = sleep(SOON) => panic!("{} and {} of {partitions} are told", told[0].len(), told[1].len()),
        };
        match news.expect("running") {
            News::Owned(owned) => *told = owned.into_iter().collect(),
            News::Acquired { partition, token } => drop(told.insert(partition, token)),
            News::Released { partition, .. } => drop(told.remove(&partition)),
            other => panic!("{other:?}"),
        }
    }
    assert!(!here.owned().is_empty() && !there.owned().is_empty());
    for key in 0..200 {
        let owner = here.place(&key).expect("placed");
        let owns = |node: &Cluster| (node.is_owner(&key), Ok(owner == Some(node.id())));
        for (read, expected) in [owns(here), owns(there)] {
            assert_eq!(read, expected, "key {key}");
        }
    }
}

#[tokio::test]
async fn a_question_of_another_type_is_refused_at_once_and_so_is_one_that_its_receiver_refuses() {
    let cluster = TestCluster::start(2).await.expect("settled");
    for host in 0..2 {
        let mut texts = cluster.node(host).mailbox::<String>().await.expect("a mailbox");
        let address = texts.address().raw();
        let serving = tokio::spawn(async move {
            let first = texts.recv().await;
            assert!(matches!(first, Some(Incoming::Unreadable { .. })), "of another type");
            let Some(Incoming::Question { asked, .. }) = texts.recv().await else { panic!("a question") };
            asked.refuse();
            texts
        });
        let ours = cluster.node(0).mailbox::<()>().await.expect("a mailbox");
        let not_understood = Err(Error::Refused(CommandError::NotUnderstood));
        let hour = Duration::from_secs(3_600);
        let asked = ours.call::<u64, String>(Address::new(address), &300, hour);
        assert_eq!(timeout(SOON, asked).await.expect("soon"), not_understood, "of another type");
        let no = String::from("no");
        let asked = ours.call::<String, String>(Address::new(address), &no, hour);
        assert_eq!(timeout(SOON, asked).await.expect("soon"), not_understood, "as its receiver says");
        serving.await.expect("both came");
    }
}

#[tokio::test]
async fn a_node_that_lost_everybody_says_so_until_somebody_comes_back() {
    let cluster = TestCluster::start(2).await.expect("settled");
    let (left, dead) = (cluster.node(0), cluster.node(1));
    assert_eq!(left.why_outside(), None);
    let mut members = left.watch_members().await.expect("watching");
    dead.clone().shutdown().await;
    let mut until = async |state: MemberState| {
        let waiting = async {
            while !matches!(members.recv().await, Some(News::Member { member, .. }) if member.state == state && member.id() != left.id())
            {
            }
        };
        timeout(SOON, waiting).await.expect("soon");
    };
    until(MemberState::Dead).await;
    let why = left.why_outside();
    assert!(matches!(why, Some(Error::LostEverybody { .. })), "{why:?}");
    let next = Cluster::builder("test").secret("test").listen((std::net::Ipv4Addr::LOCALHOST, 0).into());
    let next = next.start().await.expect("started");
    next.join(&[left.local_addr()]).await.expect("let in");
    until(MemberState::Active).await;
    assert_eq!(left.why_outside(), None, "it has company");
    next.leave().await.expect("left");
    until(MemberState::Left).await;
    assert_eq!(left.why_outside(), None, "whoever has left is not lost");
}
