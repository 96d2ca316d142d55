//! Nodes of ours, on loopback, that all know each other.

use crate::swarm::{Listener, Publisher};
use bytes::Bytes;
use rumormill_net_quic::core::{CommandError, MemberState, News};
use rumormill_net_quic::{Builder, Cluster, Error, Feed, Message};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::time::sleep;

/// How soon a node that takes no more is asked again.
const BUSY: Duration = Duration::from_millis(1);

/// Describes a node as everybody would.
pub(crate) fn builder(name: &str) -> Builder {
    Cluster::builder("bench")
        .secret("words")
        .name(name)
        .listen(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0))
}

/// Starts nodes that come in through the first, and waits until each knows all.
pub(crate) async fn start(count: usize, turn: impl Fn(Builder) -> Builder) -> Vec<Cluster> {
    let mut nodes: Vec<Cluster> = Vec::new();
    for number in 0..count {
        let seeds: Vec<SocketAddr> = nodes.first().map(Cluster::local_addr).into_iter().collect();
        let builder = turn(builder(&format!("node-{number}"))).seeds(seeds);
        nodes.push(builder.start().await.expect("started"));
    }
    for node in &nodes {
        until_active(node, count).await;
    }
    nodes
}

/// Waits until a node knows so many active members.
pub(crate) async fn until_active(node: &Cluster, count: usize) {
    let mut watch = node.watch_members().await.expect("watching");
    let mut active = BTreeSet::new();
    while active.len() < count {
        let members = match watch.recv().await.expect("running") {
            News::Members(members) => members,
            News::Member { member, .. } => vec![member],
            _ => continue,
        };
        for member in members {
            let is_active = member.state == MemberState::Active;
            if is_active {
                active.insert(member.id())
            } else {
                active.remove(&member.id())
            };
        }
    }
}

/// Starts nodes that all hear one topic.
pub(crate) async fn swarm(count: usize) -> Vec<(Cluster, Feed<Message>)> {
    let mut swarm = Vec::new();
    for node in start(count, |builder| builder).await {
        let feed = node.subscribe("bench").await.expect("subscribed");
        swarm.push((node, feed));
    }
    swarm
}

impl Publisher for Cluster {
    async fn publish(&mut self, payload: Bytes) {
        while let Err(error) = Cluster::publish(self, "bench", payload.clone()).await {
            assert_eq!(error, Error::Refused(CommandError::Busy));
            sleep(BUSY).await;
        }
    }
}

impl Listener for Feed<Message> {
    async fn next(&mut self) -> Option<Bytes> {
        self.recv().await.map(|message| message.payload)
    }
}
