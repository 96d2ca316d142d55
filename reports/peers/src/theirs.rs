//! iroh-gossip's nodes: on loopback, without relays and without looking anybody up, and otherwise as they come.

use crate::swarm::{Listener, Publisher};
use bytes::Bytes;
use iroh::address_lookup::memory::MemoryLookup;
use iroh::endpoint::presets::Minimal;
use iroh::protocol::Router;
use iroh::{Endpoint, EndpointAddr, RelayMode};
use iroh_gossip::api::{Event, GossipReceiver, GossipSender};
use iroh_gossip::{ALPN, Gossip, TopicId};

/// Where a node publishes; it keeps the node alive.
pub(crate) struct Sender {
    sender: GossipSender,
    _router: Router,
}

/// Starts nodes that all hear one topic; each comes in through the first.
pub(crate) async fn swarm(count: usize) -> Vec<(Sender, GossipReceiver)> {
    let (lookup, topic) = (MemoryLookup::new(), TopicId::from_bytes([7; 32]));
    let (mut swarm, mut first) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let builder =
            Endpoint::builder(Minimal).relay_mode(RelayMode::Disabled).address_lookup(lookup.clone());
        let endpoint =
            builder.clear_ip_transports().bind_addr("127.0.0.1:0").expect("an address").bind().await;
        let endpoint = endpoint.expect("a socket");
        let addr = endpoint
            .bound_sockets()
            .into_iter()
            .fold(EndpointAddr::new(endpoint.id()), EndpointAddr::with_ip_addr);
        lookup.add_endpoint_info(addr);
        let gossip = Gossip::builder().spawn(endpoint.clone());
        let router = Router::builder(endpoint.clone()).accept(ALPN, gossip.clone()).spawn();
        let topic = if first.is_empty() {
            gossip.subscribe(topic, Vec::new()).await.expect("subscribed")
        } else {
            gossip.subscribe_and_join(topic, first.clone()).await.expect("joined")
        };
        if first.is_empty() {
            first.push(endpoint.id());
        }
        let (sender, receiver) = topic.split();
        swarm.push((Sender { sender, _router: router }, receiver));
    }
    swarm
}

impl Publisher for Sender {
    async fn publish(&mut self, payload: Bytes) {
        self.sender.broadcast(payload).await.expect("the node runs");
    }
}

impl Listener for GossipReceiver {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Event::Received(message) = n0_future::StreamExt::next(self).await?.ok()? {
                return Some(message.content);
            }
        }
    }
}
