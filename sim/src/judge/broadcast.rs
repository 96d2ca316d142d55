//! What is known of broadcasts, folded from publications and deliveries.

use rumormill_core::{Command, Event, MessageId, Observation, Observed, Reply, Token, Topic};
use std::collections::BTreeMap;

/// One published message.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its topic.
    pub topic: Topic,
    /// Who published it, by number.
    pub by: u32,
    /// When, in nanoseconds.
    pub at: u64,
    /// The nodes that had to deliver it: those that ran and heard the topic when it was published.
    expected: Vec<u64>,
    delivered: Vec<u64>,
    /// Hops of the last delivery.
    pub hops_max: u16,
    /// Nanoseconds from publication to the last delivery.
    pub last_ns: u64,
}

/// Deliveries of all messages.
#[derive(Clone, Debug, Default)]
pub struct Broadcasts {
    nodes: Vec<Hearing>,
    /// Publications whose answer is still out.
    asked: BTreeMap<Token, (u64, Topic)>,
    messages: BTreeMap<MessageId, Message>,
    /// Nanoseconds from publication to each remote delivery.
    pub latencies_ns: Vec<u64>,
    /// Hops summed over all deliveries.
    pub hops_sum: u64,
    /// Publications that were refused.
    pub refused: u64,
    /// Whether anybody ever delivered a message.
    pub(super) is_heard: bool,
    /// The first delivery that should not have been.
    undue: Option<(u64, u32, String)>,
}

#[derive(Clone, Debug, Default)]
struct Hearing {
    is_alive: bool,
    stopped_at: Option<u64>,
    topics: Vec<Topic>,
}

impl Broadcasts {
    /// Starts for a number of nodes.
    pub fn new(nodes: u32) -> Self {
        Self { nodes: vec![Hearing::default(); nodes as usize], ..Self::default() }
    }

    /// Tells the first delivery that should not have been: of a message that the node had delivered in the same life,
    /// or of one that nobody published.
    pub fn undue(&self) -> Option<&(u64, u32, String)> {
        self.undue.as_ref()
    }

    /// Lists all messages.
    pub fn messages(&self) -> impl Iterator<Item = &Message> {
        self.messages.values()
    }

    /// Takes one observation in.
    pub fn observe(&mut self, seen: &Observation<'_>) {
        let node = &mut self.nodes[seen.node as usize];
        match seen.what {
            Observed::Started { .. } => {
                (node.is_alive, node.topics) = (true, Vec::new());
            }
            Observed::Stopped => (node.is_alive, node.stopped_at) = (false, Some(seen.at_ns)),
            Observed::Command { command: Command::Subscribe { topic }, .. } => node.topics.push(*topic),
            Observed::Command { command: Command::Unsubscribe { topic }, .. } => {
                node.topics.retain(|heard| heard != topic);
            }
            Observed::Command { token, command: Command::Publish { topic, .. } } => {
                self.asked.insert(token, (seen.at_ns, *topic));
            }
            Observed::Event(Event::Done { token, result }) => {
                let Some((at, topic)) = self.asked.remove(token) else { return };
                match result {
                    Ok(Reply::Published { id }) => self.on_published(*id, seen.node, at, topic),
                    Ok(_) | Err(_) => self.refused += 1,
                }
            }
            Observed::Event(Event::Message { id, hops, .. }) => self.on_delivered(*id, *hops, seen),
            Observed::Command { .. } | Observed::Event(_) | Observed::Looked { .. } => {}
        }
    }

    fn on_published(&mut self, id: MessageId, by: u32, at: u64, topic: Topic) {
        let mut expected = vec![0; self.nodes.len().div_ceil(64)];
        for (number, node) in self.nodes.iter().enumerate() {
            if node.is_alive && node.topics.contains(&topic) {
                expected[number / 64] |= 1u64 << (number % 64);
            }
        }
        let delivered = vec![0; expected.len()];
        self.messages.insert(id, Message { topic, by, at, expected, delivered, hops_max: 0, last_ns: 0 });
    }

    fn on_delivered(&mut self, id: MessageId, hops: u16, seen: &Observation<'_>) {
        self.is_heard = true;
        let Some(message) = self.messages.get_mut(&id) else {
            // A publisher hears its own message before it is told the message's name.
            if hops > 0 {
                let what = format!("message {id:?} was delivered and never published");
                self.undue.get_or_insert((seen.at_ns, seen.node, what));
            }
            return;
        };
        let (word, bit) = (seen.node as usize / 64, 1u64 << (seen.node % 64));
        if message.delivered[word] & bit != 0 {
            if self.nodes[seen.node as usize].stopped_at.is_some_and(|at| at >= message.at) {
                return; // a later life of the node knows nothing of what the earlier one heard
            }
            let what = format!("message {id:?} was delivered a second time");
            self.undue.get_or_insert((seen.at_ns, seen.node, what));
            return;
        }
        message.delivered[word] |= bit;
        if seen.node == message.by {
            return;
        }
        let latency = seen.at_ns.saturating_sub(message.at);
        (message.hops_max, message.last_ns) = (message.hops_max.max(hops), message.last_ns.max(latency));
        self.hops_sum += u64::from(hops);
        self.latencies_ns.push(latency);
    }

    /// Counts a message's deliveries among those that had to deliver it and have not stopped since: (had to, did).
    pub fn reach(&self, message: &Message) -> (u64, u64) {
        let (mut expected, mut delivered) = (0, 0);
        for (number, node) in self.nodes.iter().enumerate() {
            let (word, bit) = (number / 64, 1u64 << (number % 64));
            let has_stopped = node.stopped_at.is_some_and(|at| at >= message.at);
            if message.expected[word] & bit != 0 && !has_stopped {
                expected += 1;
                delivered += u64::from(message.delivered[word] & bit != 0);
            }
        }
        (expected, delivered)
    }

    /// Sums [`Broadcasts::reach`] over all messages published at or after `since` and at or before `until`.
    pub fn total_reach(&self, since: u64, until: u64) -> (u64, u64) {
        let within = self.messages.values().filter(|message| (since..=until).contains(&message.at));
        within.map(|message| self.reach(message)).fold((0, 0), |(a, b), (c, d)| (a + c, b + d))
    }
}
