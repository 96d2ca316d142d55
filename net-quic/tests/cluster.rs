//! Real nodes on loopback: they meet, find each other's services, talk, share maps.

use rumormill_net_quic::core::log::{LogHeader, Reader};
use rumormill_net_quic::core::{Boot, CommandError, MailLoss, MemberState, News, Node, Output};
use rumormill_net_quic::testing::{TestCluster, Weather};
use rumormill_net_quic::{
    Builder, Cluster, Error, Found, Identity, Incoming, Mailbox, Offer, SentSome, ServiceExt as _, Use,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// Starts `count` nodes that come in through the first.
async fn start(count: usize) -> Vec<Cluster> {
    let mut nodes: Vec<Cluster> = Vec::new();
    for number in 0..count {
        let builder = Cluster::builder("test").secret("words").name(format!("n{number}")).listen(loopback());
        let seeds = nodes.first().map(Cluster::local_addr);
        nodes.push(builder.map("flags").seeds(seeds).start().await.expect("started"));
    }
    for node in &nodes {
        until_active(node, count).await;
    }
    nodes
}

/// Waits until a node knows so many active members.
async fn until_active(node: &Cluster, count: usize) {
    let mut watch = node.watch_members().await.expect("watching");
    let mut active = std::collections::BTreeSet::new();
    let wait = async {
        while active.len() < count {
            let members = match watch.recv().await.expect("running") {
                News::Members(members) => members,
                News::Member { member, .. } => vec![member],
                _ => continue,
            };
            for member in members {
                if member.state == MemberState::Active {
                    active.insert(member.id());
                } else {
                    active.remove(&member.id());
                }
            }
        }
    };
    let waited = timeout(SOON, wait).await;
    waited.unwrap_or_else(|_| panic!("{} knows {} active members of {count}", node.name(), active.len()));
}

#[derive(Serialize, Deserialize)]
enum Ask {
    Add(u32, u32),
}

#[tokio::test]
async fn five_nodes_find_a_worker_and_call_it() {
    let nodes = start(5).await;
    let mut worker = nodes[4].mailbox::<Ask>().await.expect("a mailbox");
    let offer = Offer::new().at(worker.address().raw()).meta(&7_u8).expect("metadata");
    nodes[4].register(&("worker", 1), offer).await.expect("registered");
    let serving = tokio::spawn(async move {
        while let Some(Incoming::Question { message: Ask::Add(a, b), asked }) = worker.recv().await {
            asked.answer(&(a + b)).await.expect("answered");
        }
    });
    let caller = nodes[1].mailbox::<()>().await.expect("a mailbox");
    let found = nodes[1].whereis_within(&("worker", 1), SOON).await.expect("looked");
    let Found::Remote(node, service) = &found else { panic!("found {found:?}") };
    assert_eq!((*node, service.meta_as::<u8>()), (nodes[4].id(), Ok(7)));
    let to = rumormill_net_quic::Address::<Ask>::new(found.address().expect("it has a mailbox"));
    assert_eq!(caller.call::<_, u32>(to, &Ask::Add(2, 3), SOON).await, Ok(5));
    serving.abort();
    let _ = serving.await; // its mailbox closes with it
    let gone = caller.call::<_, u32>(to, &Ask::Add(2, 3), SOON).await;
    assert_eq!(gone, Err(Error::Refused(CommandError::Gone)));
}

#[tokio::test]
async fn a_map_is_shared_and_watched() {
    let nodes = start(3).await;
    let here = nodes[0].map::<String, bool>("flags").await.expect("hosted");
    let there = nodes[2].map::<String, bool>("flags").await.expect("hosted");
    let (entries, mut changes) = there.watch().await.expect("watching");
    assert_eq!(entries, []);
    here.put(&"dark".into(), &true).await.expect("put");
    let change = timeout(SOON, changes.recv()).await.expect("soon").expect("running").expect("typed");
    assert_eq!((change.key.as_str(), change.old, change.new), ("dark", None, Some(true)));
    assert_eq!(there.get(&"dark".into()), Ok(Some(true)));
    here.remove(&"dark".into()).await.expect("removed");
    let change = timeout(SOON, changes.recv()).await.expect("soon").expect("running").expect("typed");
    assert_eq!((change.old, change.new), (Some(true), None));
    assert_eq!(there.entries(), Ok(vec![]));
}

/// Reads so many numbered messages, each once and in their order.
async fn assert_reads<M: DeserializeOwned>(mailbox: &mut Mailbox<M>, count: u32, number: impl Fn(M) -> u32) {
    for expected in 0..count {
        match timeout(SOON, mailbox.recv()).await.expect("soon").expect("running") {
            Incoming::Message { message, .. } => assert_eq!(number(message), expected),
            _ => panic!("not a message"),
        }
    }
}

#[tokio::test]
async fn a_mailbox_that_nobody_reads_makes_its_senders_wait_and_loses_nothing() {
    const FLOOD: u32 = 60_000;
    /// Refusals in a row that mean that it stays so: each is a round through the node.
    const PATIENCE: u32 = 20_000;
    let nodes = start(2).await;
    let mut theirs = nodes[1].mailbox::<u32>().await.expect("a mailbox");
    let ours = nodes[0].mailbox::<()>().await.expect("a mailbox");
    let (mut sent, mut refused) = (0, 0);
    while sent < FLOOD && refused < PATIENCE {
        match ours.send(theirs.address(), &sent).await {
            Ok(()) => (sent, refused) = (sent + 1, 0),
            Err(Error::Refused(CommandError::Busy | CommandError::Full { .. })) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(refused, PATIENCE, "nobody reads, and {sent} letters were taken");
    assert!(
        sent >= 2_048,
        "only {sent} letters were taken: half of a mailbox's room is for what is under way"
    );
    assert_reads(&mut theirs, sent, |number| number).await;
    ours.send(theirs.address(), &sent).await.expect("there is room again");
}

#[tokio::test]
async fn long_messages_that_nobody_reads_wait_with_their_senders_before_they_fill_the_memory() {
    const LEN: usize = 60_000;
    const PATIENCE: u32 = 5_000;
    let nodes = start(2).await;
    let mut theirs = nodes[1].mailbox::<(u32, Vec<u8>)>().await.expect("a mailbox");
    let ours = nodes[0].mailbox::<()>().await.expect("a mailbox");
    let (mut sent, mut refused) = (0, 0);
    while refused < PATIENCE {
        match ours.send(theirs.address(), &(sent, vec![0; LEN])).await {
            Ok(()) => (sent, refused) = (sent + 1, 0),
            Err(Error::Refused(CommandError::Busy | CommandError::Full { .. })) => refused += 1,
            Err(error) => panic!("{error}"),
        }
        assert!(sent < 2_000, "nobody reads, and 120 MB were taken");
    }
    let bytes = sent as usize * LEN;
    assert!(bytes >= 32 << 20, "only {bytes} bytes were taken");
    assert_reads(&mut theirs, sent, |(number, _)| number).await;
    ours.send(theirs.address(), &(sent, vec![])).await.expect("there is room again");
}

#[tokio::test]
async fn messages_that_are_sent_as_one_wait_as_one_and_none_is_lost() {
    const PATIENCE: u32 = 5_000;
    let nodes = start(2).await;
    let mut theirs = nodes[1].mailbox::<(u32, Vec<u8>)>().await.expect("a mailbox");
    let ours = nodes[0].mailbox::<()>().await.expect("a mailbox");
    let (mut sent, mut refused) = (0, 0);
    while refused < PATIENCE {
        let messages: Vec<_> = (sent..sent + 20).map(|number| (number, vec![0; 1_000])).collect();
        let taken = match ours.send_all(theirs.address(), &messages).await {
            Ok(()) => 20,
            Err(SentSome { sent, error: Error::Refused(CommandError::Busy | CommandError::Full { .. }) }) => {
                sent
            }
            Err(error) => panic!("{error}"),
        };
        assert!([0, 16, 20].contains(&taken), "{taken} of two bundles");
        sent += taken as u32;
        refused = if taken == 0 { refused + 1 } else { 0 };
        assert!(sent < 200_000, "nobody reads, and all was taken");
    }
    assert!(sent >= 10 * 2_048, "{sent} messages were taken: two bundles, of 16 and of 4, are two letters");
    assert_reads(&mut theirs, sent, |(number, _)| number).await;
    let again = ours.send_all(theirs.address(), &[(sent, Vec::new())]).await;
    assert_eq!(again, Ok(()), "there is room again");
}

#[tokio::test]
async fn a_monitor_hears_of_the_end_of_a_node() {
    let nodes = start(2).await;
    let theirs = nodes[1].mailbox::<()>().await.expect("a mailbox");
    let ours = nodes[0].mailbox::<()>().await.expect("a mailbox");
    let mut monitor = ours.monitor(theirs.address()).await.expect("monitoring");
    nodes[1].shutdown().await;
    let reason = timeout(SOON, monitor.down()).await.expect("soon").expect("running");
    assert!(matches!(reason, MailLoss::Gone | MailLoss::Unreachable), "{reason:?}");
}

#[tokio::test]
async fn nobody_waits_for_the_dead_and_the_next_word_finds_who_lives_after_all() {
    let cluster = TestCluster::start(3).await.expect("settled");
    let mut theirs = cluster.node(2).mailbox::<u32>().await.expect("a mailbox");
    let to = theirs.address();
    let ours = cluster.node(0).mailbox::<()>().await.expect("a mailbox");
    let dead = cluster.node(2).id();
    let mut members = cluster.node(0).watch_members().await.expect("watching");
    cluster.isolate(2);
    let verdict = async {
        loop {
            if let Some(News::Member { member, .. }) = members.recv().await
                && member.id() == dead
                && member.state == MemberState::Dead
            {
                return;
            }
        }
    };
    timeout(SOON, verdict).await.expect("found dead");
    // Much less than a dial takes to fail.
    let brief = Duration::from_secs(1);
    for _ in 0..2 {
        let called = ours.call::<_, u32>(to, &1, brief).await;
        assert_eq!(called, Err(Error::Refused(CommandError::Unreachable)));
    }
    cluster.heal();
    let answering = async {
        while let Some(Incoming::Question { asked, .. }) = theirs.recv().await {
            let _ = asked.answer(&7_u32).await; // it may have gone on without one
        }
    };
    let calling = async {
        loop {
            match ours.call::<_, u32>(to, &1, brief).await {
                Ok(answer) => return answer,
                Err(Error::Refused(CommandError::Unreachable | CommandError::Timeout)) => {
                    tokio::task::yield_now().await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    };
    let answer = timeout(SOON, async {
        tokio::select! { biased; answer = calling => answer, () = answering => 0 }
    });
    assert_eq!(answer.await.expect("found again"), 7);
}

#[tokio::test]
async fn topics_reach_everybody() {
    let nodes = start(4).await;
    let mut feeds = Vec::new();
    for node in &nodes {
        feeds.push(node.subscribe("news").await.expect("subscribed"));
    }
    nodes[3].publish("news", "hello").await.expect("published");
    for feed in &mut feeds {
        let message = timeout(SOON, feed.recv()).await.expect("soon").expect("running");
        assert_eq!(&message.payload[..], b"hello");
    }
}

#[tokio::test]
async fn streams_that_are_opened_at_once_share_a_connection() {
    let nodes = start(2).await;
    let _acceptor = nodes[1].accept_streams("dump").expect("nobody takes it yet");
    let mut opening = tokio::task::JoinSet::new();
    for _ in 0..20 {
        // More than a node takes connections from one peer.
        let (here, there) = (nodes[0].clone(), nodes[1].id());
        opening.spawn(async move { here.open_stream(there, "dump").await });
    }
    let streams = opening.join_all().await;
    let _streams: Vec<_> = streams.into_iter().map(|opened| opened.expect("opened")).collect();
    let paths = nodes[0].paths().await.expect("running");
    assert_eq!(paths.iter().filter(|path| path.carries == Use::Streams).count(), 1, "{paths:?}");
}

#[tokio::test]
async fn a_stream_carries_bytes_both_ways_and_a_drop_is_no_end() {
    let nodes = start(2).await;
    let mut acceptor = nodes[1].accept_streams("dump").expect("nobody takes it yet");
    assert_eq!(nodes[1].accept_streams("dump").err(), Some(Error::TagTaken));
    let mut ours = nodes[0].open_stream(nodes[1].id(), "dump").await.expect("opened");
    let blob: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    let sent = blob.clone();
    let sending = tokio::spawn(async move {
        ours.write_all(&sent).await.expect("sent");
        ours.shutdown().await.expect("ended");
        let mut answer = String::new();
        ours.read_to_string(&mut answer).await.expect("answered");
        answer
    });
    let mut theirs = timeout(SOON, acceptor.accept()).await.expect("soon").expect("running");
    assert_eq!((theirs.peer(), theirs.tag()), (nodes[0].id(), &b"dump"[..]));
    let mut received = Vec::new();
    theirs.read_to_end(&mut received).await.expect("received");
    assert!(received == blob, "{} of {} bytes", received.len(), blob.len());
    theirs.write_all(b"thanks").await.expect("answered");
    theirs.shutdown().await.expect("ended");
    assert_eq!(sending.await.expect("no panic"), "thanks");
    let mut dropped = nodes[0].open_stream(nodes[1].id(), "dump").await.expect("opened");
    dropped.write_all(b"half").await.expect("sent");
    let mut theirs = timeout(SOON, acceptor.accept()).await.expect("soon").expect("running");
    drop(dropped);
    theirs.read_to_end(&mut Vec::new()).await.expect_err("an unfinished stream has no end");
    let mut unknown = nodes[0].open_stream(nodes[1].id(), "nobody's").await.expect("opened");
    unknown.read_to_end(&mut Vec::new()).await.expect_err("nobody takes it");
}

#[tokio::test]
async fn a_cut_heals_without_seeds() {
    let mut cluster = TestCluster::start(4).await.expect("settled");
    let mut watching = cluster.node(0).watch_members().await.expect("watching");
    cluster.isolate(3);
    let lost = cluster.node(3).id();
    let noticed = async {
        loop {
            match watching.recv().await.expect("running") {
                News::Member { member, .. } if member.id() == lost && member.state == MemberState::Dead => {
                    return;
                }
                _ => {}
            }
        }
    };
    timeout(SOON, noticed).await.expect("a node that is cut off is found dead");
    cluster.heal();
    cluster.settled().await.expect("whole again");
    cluster.end(1).await;
    cluster.settled().await.expect("three are left");
    cluster.add(1).await.expect("started again");
    cluster.settled().await.expect("four again");
}

#[tokio::test]
async fn a_recorded_run_replays_to_its_hash() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("inputs");
    let record = path.clone();
    let recorded = move |number, builder: Builder| {
        if number == 1 { builder.map("flags").record(&record) } else { builder.map("flags") }
    };
    let mut cluster = TestCluster::start_with(3, recorded).await.expect("settled");
    let flags = cluster.node(1).map::<String, u32>("flags").await.expect("hosted");
    for number in 0..50 {
        flags.put(&format!("key {number}"), &number).await.expect("put");
    }
    drop(flags);
    cluster.end(1).await;
    let log = Reader::new(std::fs::read(&path).expect("recorded").into()).expect("a log");
    let LogHeader { now, id, addrs, config, seed, recovered } = log.header().clone();
    let mut node = Node::new(Boot { id, addrs, config, seed, recovered }, now);
    let (mut out, mut inputs) = (Output::default(), 0);
    for record in log {
        let (now, input) = record.expect("whole");
        node.handle(now, input, &mut out);
        inputs += 1;
    }
    let expected = std::fs::read_to_string(path.with_added_extension("hash")).expect("the hash");
    assert_eq!(format!("{:016x}\n", node.trace_hash()), expected, "after {inputs} inputs");
    assert!(inputs > 50, "only {inputs} inputs: each put is one");
}

#[tokio::test]
async fn strangers_stay_outside() {
    let node = start(1).await.remove(0);
    let stranger =
        Cluster::builder("test").secret("other words").listen(loopback()).start().await.expect("started");
    let error = stranger.join(&[node.local_addr()]).await.expect_err("refused");
    assert!(matches!(&error, Error::NobodyAnswered { reasons } if reasons.len() == 1), "{error}");
    let thief = Cluster::builder("test")
        .secret("words")
        .name("n0")
        .listen(loopback())
        .start()
        .await
        .expect("started");
    let error = thief.join(&[node.local_addr()]).await.expect_err("the name is taken");
    assert!(matches!(error, Error::NobodyAnswered { .. }), "{error}");
    let foreigner =
        Cluster::builder("tset").secret("words").listen(loopback()).start().await.expect("started");
    let error = foreigner.join(&[node.local_addr()]).await.expect_err("another cluster");
    assert!(matches!(error, Error::NobodyAnswered { .. }), "{error}");
    let reasons: Vec<_> = node.refusals().into_iter().collect();
    assert_eq!(
        reasons,
        [("name-taken", 1), ("tls", 1), ("wrong-secret", 1)],
        "each with its reason, here only"
    );
    assert_eq!((node.refused(), stranger.refused()), (3, 0), "nobody else refused anybody");
    assert_eq!(node.pins().len(), 1, "nobody was pinned");
}

#[tokio::test]
async fn a_node_comes_back_as_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let nodes = start(2).await;
    let builder = || {
        let builder = Cluster::builder("test").secret("words").name("back").listen(loopback());
        builder.folder(folder.path().join("node")).map("flags").seeds([nodes[0].local_addr()])
    };
    let first = builder().start().await.expect("started");
    let id = first.id();
    until_active(&first, 3).await;
    first.shutdown().await;
    drop(first);
    let again = builder().start().await.expect("started again");
    assert_eq!(again.id(), id);
    until_active(&again, 3).await;
    until_active(&nodes[1], 3).await;
    let _ = Identity::load(&folder.path().join("node/node.key")).expect("the key is there");
}

#[tokio::test]
async fn a_cluster_lives_with_packets_that_come_late_out_of_order_or_never() {
    let weather =
        Weather { delay: Duration::from_millis(80), jitter: Duration::from_millis(40), lost_per_mille: 20 };
    let mut cluster = TestCluster::start_in(weather, 4, |_, builder| builder).await.expect("it forms");
    let (here, there) = (cluster.node(0), cluster.node(3));
    let mut worker = there.mailbox::<Ask>().await.expect("a mailbox");
    there.register("worker", Offer::new().at(worker.address().raw())).await.expect("registered");
    let serving = tokio::spawn(async move {
        while let Some(Incoming::Question { message: Ask::Add(a, b), asked }) = worker.recv().await {
            asked.answer(&(a + b)).await.expect("answered");
        }
    });
    let found = here.whereis_within("worker", SOON).await.expect("looked");
    let to = rumormill_net_quic::Address::<Ask>::new(found.address().expect("it has a mailbox"));
    let caller = here.mailbox::<()>().await.expect("a mailbox");
    let begin = tokio::time::Instant::now();
    for number in 0..20 {
        assert_eq!(caller.call::<_, u32>(to, &Ask::Add(number, 1), SOON).await, Ok(number + 1));
    }
    let least = 20 * 2 * (weather.delay - weather.jitter);
    assert!(begin.elapsed() >= least, "20 round trips took {:?}", begin.elapsed());
    let paths = here.paths().await.expect("running");
    assert!(paths.iter().all(|it| it.rtt >= 2 * (weather.delay - weather.jitter)), "{paths:?}");
    assert!(paths.iter().any(|it| it.packets_lost > 0), "{paths:?}");
    assert_eq!(here.members().await.expect("running").len(), 4);
    serving.abort();
    cluster.set_weather(Weather::default());
    cluster.settled().await.expect("and in the sun");
}
