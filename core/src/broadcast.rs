//! Broadcast: Plumtree (Leitão, Pereira, Rodrigues: "Epidemic Broadcast Trees", SRDS 2007), payloads down a tree that
//! is embedded in the overlay, announcements over all other links.
//!
//! One shared tree (section 3.7). Eager links carry payloads, lazy ones IHAVE. A duplicate prunes its link; an
//! announcement whose payload stays away grafts it; links that would save enough hops are exchanged (section 3.8).
//! Departures from the paper, each for a reason:
//! - a missing message is asked for again and again, in turn, of all its announcers (algorithm 2 asks each one once);
//! - announcements are batched for each neighbour, and are left out where the neighbour is known to have the message;
//! - an announcement that comes after the payload may improve the tree too: with batching that is the usual order;
//! - a second copy from the parent itself answers our own repeated GRAFT and prunes nothing;
//! - a PRUNE that is still under way is not repeated for every payload that crosses it;
//! - a new neighbour is told of recent messages, so that a healed overlay repairs what was broadcast meanwhile;
//! - a slow link gets announcements instead of payloads, and a publisher whose links are all slow is refused;
//! - the time that a message rests in caches is summed up on its way and bounded below the memory of the seen-table,
//!   so no old duplicate is ever new again.

mod cache;
mod missing;
mod seen;

use crate::config::{Canary, Config};
use crate::frame::{ANNOUNCEMENTS_MAX, Announcement, Channel, Class, Frame, Gossip};
use crate::hash::Fold;
use crate::id::{MessageId, NodeId, Topic};
use crate::machine::{CommandError, Cx, Machine};
use crate::time::Instant;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use cache::{Cache, Cached};
use missing::{Due, Missing, MissingTable, Noted, Slot, slot_bit};
use seen::{LinkNumber, Seen, SeenTable};

/// Neighbours at most: the slots in a set of announcers. Above any `active_size`.
pub const NEIGHBORS_MAX: usize = 32;

/// Grafts that one neighbour whose gossip channel is full may have waiting. A guess: two megabytes of large messages.
const OWED_MAX: usize = 32;

/// How many waiting announcements are looked through for one that has become needless. A guess: beyond this the batch
/// is large and costs little for each.
const WITHDRAW_SCAN_MAX: usize = 32;

/// The parent of messages that were published here.
const NO_LINK: LinkNumber = 0;

/// What happens to broadcast.
#[derive(Clone, Debug)]
pub enum Input {
    /// A peer came into the active view.
    NeighborUp {
        /// The peer.
        peer: NodeId,
    },
    /// A peer went out of the active view.
    NeighborDown {
        /// The peer.
        peer: NodeId,
    },
    /// A broadcast frame: GOSSIP, IHAVE, GRAFT or PRUNE.
    Frame {
        /// From whom.
        from: NodeId,
        /// The frame.
        frame: Frame,
    },
    /// A channel to a peer holds more than its high-water mark.
    LinkFull {
        /// The peer.
        peer: NodeId,
        /// The channel.
        channel: Channel,
    },
    /// A full channel has drained.
    LinkReady {
        /// The peer.
        peer: NodeId,
        /// The channel.
        channel: Channel,
    },
}

/// What broadcast tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A message was heard for the first time, and its topic is heard here or reserved.
    Delivered {
        /// The topic.
        topic: Topic,
        /// The message's name.
        id: MessageId,
        /// Links it crossed; zero for one's own.
        hops: u16,
        /// The message.
        payload: Bytes,
        /// The neighbour that handed it on; this node itself for one's own.
        from: NodeId,
    },
}

/// Payloads in a row that a link of the tree may bring too late. A guess.
const USELESS_MAX: u8 = 4;

/// One neighbour, and what the tree knows of the link to it.
#[derive(Clone, Debug)]
struct Neighbor {
    peer: NodeId,
    /// Announcements that wait for the next batch.
    announcements: VecDeque<Announcement>,
    /// Grafts to answer when the gossip channel has drained.
    owed: Vec<MessageId>,
    /// When a PRUNE last crossed the link, either way, unless it has become eager since.
    pruned_at: Option<Instant>,
    /// When it became a neighbour.
    came_at: Instant,
    /// Payloads in a row that came over the link too late to be of use.
    useless: u8,
    /// Names this neighbourhood; never used again.
    number: LinkNumber,
    /// Its bit in sets of announcers.
    slot: Slot,
    /// Whether payloads are pushed to it; otherwise they are announced.
    is_eager: bool,
    is_gossip_full: bool,
    is_lazy_full: bool,
}

impl Neighbor {
    fn new(peer: NodeId, number: LinkNumber, slot: Slot, now: Instant) -> Self {
        Self {
            peer,
            announcements: VecDeque::new(),
            owed: Vec::new(),
            pruned_at: None,
            came_at: now,
            useless: 0,
            number,
            slot,
            is_eager: true, // paper, algorithm 3: a new neighbour is a candidate for the tree
            is_gossip_full: false,
            is_lazy_full: false,
        }
    }

    fn make_eager(&mut self) {
        self.is_eager = true;
        self.pruned_at = None;
    }

    /// Judges whether payloads may still cross a PRUNE: the wait for a graft's answer is above one round trip.
    fn is_prune_under_way(&self, now: Instant, config: &Config) -> bool {
        self.pruned_at.is_some_and(|at| now.millis_since(at) < config.graft_retry_ms)
    }

    /// Makes the link eager on both sides, and asks for a message unless only the link is wanted.
    fn graft(&mut self, id: Option<MessageId>, cx: &mut Cx<'_>) {
        self.make_eager();
        cx.stats.grafts += 1;
        cx.send(self.peer, Channel::Control, Frame::Graft { id });
    }

    fn make_lazy(&mut self, now: Instant) {
        self.is_eager = false;
        self.pruned_at = Some(now);
    }

    /// Makes the link lazy on both sides.
    fn prune(&mut self, cx: &mut Cx<'_>) {
        self.make_lazy(cx.now.mono);
        cx.stats.prunes += 1;
        cx.send(self.peer, Channel::Control, Frame::Prune);
    }

    /// Queues an announcement. A full batch goes out; while it cannot, the oldest gives way when too many wait.
    fn announce(&mut self, what: Announcement, config: &Config, cx: &mut Cx<'_>) {
        if self.announcements.len() >= config.announce_queue_max {
            self.announcements.pop_front();
            cx.stats.announcements_dropped += 1;
        }
        self.announcements.push_back(what);
        if self.announcements.len() >= ANNOUNCEMENTS_MAX.min(config.announce_queue_max) {
            self.flush(cx);
        }
    }

    /// Takes an announcement back that still waits, because the neighbour has the message.
    fn withdraw(&mut self, id: &MessageId) {
        let mut recent = self.announcements.iter().rev().take(WITHDRAW_SCAN_MAX);
        if let Some(behind) = recent.position(|waiting| waiting.id == *id) {
            self.announcements.remove(self.announcements.len() - 1 - behind);
        }
    }

    /// Sends what waits, in batches, unless the lazy channel is full.
    fn flush(&mut self, cx: &mut Cx<'_>) {
        while !self.is_lazy_full && !self.announcements.is_empty() {
            let count = self.announcements.len().min(ANNOUNCEMENTS_MAX);
            let batch = self.announcements.drain(..count).collect();
            cx.stats.announced += count as u64;
            cx.stats.announce_batches += 1;
            cx.send(self.peer, Channel::Lazy, Frame::IHave(batch));
        }
    }
}

/// The broadcast machine of one node.
#[derive(Clone, Debug)]
pub struct Broadcast {
    config: Arc<Config>,
    me: NodeId,
    origin: u64,
    /// Messages published in this life.
    published: u64,
    /// Neighbourhoods so far.
    links: LinkNumber,
    neighbors: Vec<Neighbor>,
    topics: Vec<Topic>,
    seen: SeenTable,
    missing: MissingTable,
    cache: Cache,
    /// The lowest publisher heard lately, and when it was heard last.
    shaper: Option<(u64, Instant)>,
    /// When waiting announcements go out.
    announce_at: Option<Instant>,
    /// Since when there is no neighbour; never while there is one.
    alone_since: Instant,
    events: VecDeque<Event>,
}

impl Broadcast {
    /// Starts without neighbours. `origin` names this life of the node: [`MessageId::origin`].
    pub fn new(config: Arc<Config>, me: NodeId, origin: u64) -> Self {
        Self {
            config,
            me,
            origin,
            published: 0,
            links: NO_LINK,
            neighbors: Vec::new(),
            topics: Vec::new(),
            seen: SeenTable::default(),
            missing: MissingTable::default(),
            cache: Cache::default(),
            shaper: None,
            announce_at: None,
            alone_since: Instant::default(),
            events: VecDeque::new(),
        }
    }

    /// Hears messages of a topic from now on. Idempotent.
    ///
    /// # Errors
    /// [`CommandError::ReservedTopic`], and [`CommandError::Full`] beyond `topics_max`.
    pub fn subscribe(&mut self, topic: Topic) -> Result<(), CommandError> {
        if is_reserved(topic) {
            return Err(CommandError::ReservedTopic);
        }
        let Err(place) = self.topics.binary_search(&topic) else { return Ok(()) };
        let max = self.config.topics_max;
        if self.topics.len() >= max {
            return Err(CommandError::Full { max });
        }
        self.topics.insert(place, topic);
        Ok(())
    }

    /// Hears messages of a topic no longer; they are relayed all the same. Idempotent.
    ///
    /// # Errors
    /// [`CommandError::ReservedTopic`].
    pub fn unsubscribe(&mut self, topic: Topic) -> Result<(), CommandError> {
        if is_reserved(topic) {
            return Err(CommandError::ReservedTopic);
        }
        if let Ok(place) = self.topics.binary_search(&topic) {
            self.topics.remove(place);
        }
        Ok(())
    }

    /// Tells whether a topic is subscribed to.
    pub fn is_hearing(&self, topic: Topic) -> bool {
        self.topics.binary_search(&topic).is_ok()
    }

    /// Broadcasts a message, on a reserved topic too: users' commands are checked for that before.
    ///
    /// It is delivered here at once when its topic is subscribed to. Without neighbours it is kept and announced to
    /// the first one.
    ///
    /// # Errors
    /// Nothing is sent: [`CommandError::TooLarge`], and [`CommandError::Busy`] when announcements for a neighbour are
    /// at their bound, when all neighbours take no payloads (normal), or when one does not (bulk).
    pub fn publish(
        &mut self,
        topic: Topic,
        class: Class,
        payload: Bytes,
        cx: &mut Cx<'_>,
    ) -> Result<MessageId, CommandError> {
        let (len, max) = (payload.len(), self.config.message_len_max);
        if len > max {
            return Err(CommandError::TooLarge { len, max });
        }
        if self.is_busy(class) {
            cx.stats.publish_refused += 1;
            return Err(CommandError::Busy);
        }
        self.published += 1;
        cx.stats.published += 1;
        let id = MessageId { origin: self.origin, seq: self.published };
        let shapes_tree = self.may_shape_tree(cx.now.mono);
        let message = Gossip { id, topic, class, shapes_tree, hops: 0, age_ms: 0, payload };
        if self.is_hearing(topic) {
            self.deliver(&message, self.me);
        }
        self.spread(&message, 0, cx);
        self.remember(message, NO_LINK, cx);
        Ok(id)
    }

    /// Lists the neighbours to which payloads are pushed.
    pub fn eager(&self) -> impl Iterator<Item = NodeId> {
        self.neighbors.iter().filter(|neighbor| neighbor.is_eager).map(|neighbor| neighbor.peer)
    }

    /// Lists the neighbours to which messages are announced.
    pub fn lazy(&self) -> impl Iterator<Item = NodeId> {
        self.neighbors.iter().filter(|neighbor| !neighbor.is_eager).map(|neighbor| neighbor.peer)
    }

    /// Folds what matters of the state, with times relative to `now`.
    pub fn digest(&self, now: Instant, into: &mut Fold) {
        for neighbor in &self.neighbors {
            let flags = u64::from(neighbor.is_eager)
                | u64::from(neighbor.is_gossip_full) << 1
                | u64::from(neighbor.is_lazy_full) << 2;
            into.word(neighbor.peer.prefix());
            into.word(
                flags | (neighbor.announcements.len() as u64) << 8 | (neighbor.owed.len() as u64) << 40,
            );
            let pruned_at = neighbor.pruned_at.filter(|_| neighbor.is_prune_under_way(now, &self.config));
            into.word(pruned_at.map_or(0, |at| at.0.wrapping_sub(now.0))); // one that has arrived matters no more
        }
        let (young, old) = self.seen.sizes();
        let (cached, bytes) = self.cache.sizes();
        for count in [self.neighbors.len(), self.topics.len(), young, old, self.missing.len(), cached, bytes]
        {
            into.word(count as u64);
        }
        into.word(self.published);
        into.word(self.poll_timeout().unwrap_or(Instant::NEVER).0.wrapping_sub(now.0));
    }

    // --- neighbours

    fn position(&self, peer: &NodeId) -> Option<usize> {
        self.neighbors.iter().position(|neighbor| neighbor.peer == *peer)
    }

    fn slots(&self) -> u32 {
        self.neighbors.iter().fold(0, |slots, neighbor| slots | slot_bit(neighbor.slot))
    }

    fn on_neighbor_up(&mut self, peer: NodeId, cx: &mut Cx<'_>) {
        if self.position(&peer).is_some() {
            return;
        }
        if self.neighbors.len() >= NEIGHBORS_MAX || peer == self.me {
            cx.stats.misplaced += 1;
            return;
        }
        self.links = self.links.wrapping_add(1).max(NO_LINK + 1);
        let slot = self.slots().trailing_ones() as Slot;
        self.neighbors.push(Neighbor::new(peer, self.links, slot, cx.now.mono));
        self.announce_recent(cx);
        self.alone_since = Instant::NEVER;
    }

    /// Announces to the newest neighbour what was heard lately, or since this node was alone.
    fn announce_recent(&mut self, cx: &mut Cx<'_>) {
        let Self { config, neighbors, cache, alone_since, .. } = self;
        let Some(newest) = neighbors.last_mut().filter(|_| !config.flood) else { return };
        let (now, since) = (cx.now.mono, *alone_since);
        let is_recent = |cached: &&Cached| {
            cached.since >= since || now.min(since).millis_since(cached.since) < config.reannounce_ms
        };
        let count_max = ANNOUNCEMENTS_MAX.min(config.announce_queue_max);
        let count = cache.iter().rev().take_while(is_recent).take(count_max).count();
        let recent = cache.iter().skip(cache.sizes().0 - count);
        for cached in recent.filter(|cached| cached.age_ms(now) <= config.cache_ms) {
            newest.announce(Announcement { id: cached.id, hops: cached.hops }, config, cx);
        }
        self.schedule_announcements(Class::Normal, cx);
    }

    fn on_neighbor_down(&mut self, peer: NodeId, cx: &mut Cx<'_>) {
        let Some(i) = self.position(&peer) else { return };
        let neighbor = self.neighbors.remove(i);
        self.missing.forget(neighbor.slot);
        if self.neighbors.is_empty() {
            self.alone_since = cx.now.mono;
            self.announce_at = None;
        }
    }

    fn on_link_full(&mut self, peer: &NodeId, channel: Channel) {
        let Some(i) = self.position(peer) else { return };
        self.neighbors[i].is_gossip_full |= channel == Channel::Gossip;
        self.neighbors[i].is_lazy_full |= channel == Channel::Lazy;
    }

    fn on_link_ready(&mut self, peer: &NodeId, channel: Channel, cx: &mut Cx<'_>) {
        let Some(i) = self.position(peer) else { return };
        let neighbor = &mut self.neighbors[i];
        if channel == Channel::Gossip {
            neighbor.is_gossip_full = false;
            for id in core::mem::take(&mut neighbor.owed) {
                self.answer(*peer, id, cx);
            }
        } else if channel == Channel::Lazy {
            neighbor.is_lazy_full = false;
            neighbor.flush(cx); // they have waited long enough
        }
    }

    // --- messages on their way

    /// Judges whether a message published now shapes the tree: those of one publisher at a time do, the lowest of
    /// those heard lately. A lone publisher always does; among many, about one message in an interval.
    fn may_shape_tree(&mut self, now: Instant) -> bool {
        self.note_publisher(self.origin, now);
        self.shaper.is_some_and(|(origin, _)| origin == self.origin)
    }

    fn note_publisher(&mut self, heard: u64, now: Instant) {
        let interval_ms = self.config.shape_interval_ms;
        let gives_way = |(lowest, at): (u64, Instant)| heard <= lowest || now.millis_since(at) >= interval_ms;
        if self.shaper.is_none_or(gives_way) {
            self.shaper = Some((heard, now));
        }
    }

    /// Judges whether links take too little for one more message of a class.
    fn is_busy(&self, class: Class) -> bool {
        let is_full = |neighbor: &Neighbor| neighbor.is_gossip_full;
        let max = self.config.announce_queue_max;
        self.neighbors.iter().any(|neighbor| neighbor.announcements.len() >= max)
            || match class {
                Class::Urgent => false,
                Class::Normal => !self.neighbors.is_empty() && self.neighbors.iter().all(is_full),
                Class::Bulk => self.neighbors.iter().any(is_full),
            }
    }

    fn deliver(&mut self, message: &Gossip, from: NodeId) {
        let Gossip { id, topic, hops, ref payload, .. } = *message;
        self.events.push_back(Event::Delivered { topic, id, hops, payload: payload.clone(), from });
    }

    /// Pushes a message to eager neighbours and announces it to the others (algorithm 1, EagerPush and LazyPush), but
    /// not to the slots in `told`, which have it.
    fn spread(&mut self, message: &Gossip, told: u32, cx: &mut Cx<'_>) {
        let Self { config, neighbors, .. } = self;
        let relayed = Gossip { hops: message.hops.saturating_add(1), ..message.clone() };
        for neighbor in neighbors.iter_mut().filter(|neighbor| told & slot_bit(neighbor.slot) == 0) {
            if config.flood || (neighbor.is_eager && !neighbor.is_gossip_full) {
                cx.stats.payloads_sent += 1;
                cx.send(neighbor.peer, Channel::Gossip, Frame::Gossip(relayed.clone()));
            } else {
                neighbor.announce(Announcement { id: message.id, hops: message.hops }, config, cx);
            }
        }
        self.schedule_announcements(message.class, cx);
    }

    /// Sees to it that waiting announcements go out: at once for an urgent message.
    fn schedule_announcements(&mut self, class: Class, cx: &mut Cx<'_>) {
        let can_flush = |neighbor: &Neighbor| !neighbor.is_lazy_full && !neighbor.announcements.is_empty();
        if !self.neighbors.iter().any(can_flush) {
            return;
        }
        if class == Class::Urgent || self.config.announce_delay_ms == 0 {
            self.flush_announcements(cx);
        } else if self.announce_at.is_none() {
            self.announce_at = Some(cx.now.mono.plus_millis(self.config.announce_delay_ms));
        }
    }

    fn flush_announcements(&mut self, cx: &mut Cx<'_>) {
        self.announce_at = None;
        self.neighbors.iter_mut().for_each(|neighbor| neighbor.flush(cx));
    }

    /// Keeps name and payload of a message.
    fn remember(&mut self, message: Gossip, parent: LinkNumber, cx: &mut Cx<'_>) {
        let Gossip { id, topic, class, shapes_tree, hops, age_ms, payload } = message;
        let now = cx.now.mono;
        let cached = Cached { id, payload, since: now, rested_ms: age_ms, topic, hops, class };
        let place = self.cache.insert(cached, now, &self.config);
        if self.config.is_planted(Canary::ForgetfulSeen) {
            return;
        }
        if self.seen.insert(id, Seen { parent, place, hops, shapes_tree }, now, &self.config) {
            cx.stats.seen_overflow += 1;
        }
    }

    /// A payload has come (algorithm 1, Receive GOSSIP).
    fn on_gossip(&mut self, from: NodeId, mut message: Gossip, cx: &mut Cx<'_>) {
        cx.stats.payloads_received += 1;
        if let Some(seen) = self.seen.get(&message.id) {
            let parent = seen.parent;
            return self.on_duplicate(&from, parent, message.shapes_tree, cx);
        }
        if u64::from(message.age_ms) > self.config.cache_ms {
            cx.stats.expired += 1; // its name may have been heard and forgotten
            return;
        }
        cx.stats.delivered += 1;
        self.note_publisher(message.id.origin, cx.now.mono);
        message.hops = message.hops.max(1); // it has crossed this link, whatever it says
        let missing = self.missing.take(&message.id);
        let mut told = missing.map_or(0, |missing| missing.announcers);
        let mut parent = NO_LINK;
        if let Some(i) = self.position(&from) {
            let sender = &mut self.neighbors[i];
            sender.useless = 0;
            sender.make_eager(); // whoever sends first is a good parent
            told |= slot_bit(sender.slot);
            parent = sender.number;
        }
        if is_reserved(message.topic) || self.is_hearing(message.topic) {
            self.deliver(&message, from);
        }
        self.spread(&message, told, cx);
        let Gossip { id, hops, shapes_tree, .. } = message;
        self.remember(message, parent, cx);
        if let Some(Missing { best, best_hops, announcers, .. }) = missing
            && shapes_tree
            && announcers & slot_bit(best) != 0
        {
            self.optimise(best, Announcement { id, hops: best_hops }, (parent, hops), cx);
        }
    }

    /// A payload has come again: the link closes a cycle.
    ///
    /// Departure from the paper, which prunes for every duplicate: the copies of messages from several publishers meet
    /// at different links of one cycle, and pruning all of those cuts the tree in two. Only one message at a time
    /// shapes the tree, so a cycle loses one link; and a link to a new neighbour, or one that has
    /// brought nothing in time for a while, may go for any message, because
    /// it is most likely the one that closed the cycle.
    fn on_duplicate(&mut self, from: &NodeId, parent: LinkNumber, shapes_tree: bool, cx: &mut Cx<'_>) {
        cx.stats.duplicates += 1;
        if self.config.flood || self.config.is_planted(Canary::NoPrune) {
            return;
        }
        // A stranger holds us for a neighbour: membership settles that.
        let Some(i) = self.position(from) else { return };
        let neighbor = &mut self.neighbors[i];
        let is_young = cx.now.mono.millis_since(neighbor.came_at) < self.config.shape_interval_ms;
        let is_parent = neighbor.number == parent;
        neighbor.useless = neighbor.useless.saturating_add(u8::from(!is_parent));
        let may_go = shapes_tree || is_young || neighbor.useless >= USELESS_MAX;
        if may_go && !is_parent && !neighbor.is_prune_under_way(cx.now.mono, &self.config) {
            neighbor.prune(cx);
        }
    }

    /// Exchanges the link to a message's parent for one to an announcer that saves enough hops (section 3.8,
    /// algorithm 4), if the one is in the tree and the other is not.
    fn optimise(&mut self, announcer: Slot, what: Announcement, way: (LinkNumber, u16), cx: &mut Cx<'_>) {
        let (parent, hops) = way;
        if !saves_hops(what.hops, hops, &self.config) {
            return;
        }
        let mut neighbors = self.neighbors.iter();
        let parent = neighbors.position(|neighbor| neighbor.is_eager && neighbor.number == parent);
        let mut neighbors = self.neighbors.iter();
        let shorter = neighbors.position(|neighbor| !neighbor.is_eager && neighbor.slot == announcer);
        let (Some(parent), Some(shorter)) = (parent, shorter) else { return };
        cx.stats.optimised += 1;
        self.neighbors[shorter].graft(None, cx);
        self.neighbors[parent].prune(cx);
        // The announcer takes the parent's place, so that a payload of it that is under way prunes nothing.
        if let Some(remembered) = self.seen.get_mut(&what.id) {
            remembered.parent = self.neighbors[shorter].number;
            remembered.hops = what.hops.saturating_add(1);
        }
    }

    // --- announcements and grafts

    fn on_ihave(&mut self, from: &NodeId, announcements: &[Announcement], cx: &mut Cx<'_>) {
        let Some(i) = self.position(from).filter(|_| !self.config.flood) else {
            cx.stats.misplaced += 1;
            return;
        };
        for what in announcements.iter().take(ANNOUNCEMENTS_MAX) {
            match self.seen.get(&what.id).copied() {
                Some(seen) => self.on_announced_again(i, *what, seen, cx),
                None => self.on_announced(i, *what, cx),
            }
        }
    }

    /// A message was announced that is missing here (algorithm 2, Receive IHAVE).
    fn on_announced(&mut self, i: usize, what: Announcement, cx: &mut Cx<'_>) {
        let neighbor = &mut self.neighbors[i];
        match self.missing.announce(what, neighbor.slot, cx.now.mono, &self.config) {
            Noted::Kept => {}
            Noted::Graft => neighbor.graft(Some(what.id), cx),
            Noted::Refused => cx.stats.missing_overflow += 1,
        }
    }

    /// A message was announced that is here: the announcer needs no announcement, and may be a shorter way.
    fn on_announced_again(&mut self, i: usize, what: Announcement, seen: Seen, cx: &mut Cx<'_>) {
        if !saves_hops(seen.hops, what.hops, &self.config) {
            self.neighbors[i].withdraw(&what.id);
        }
        if seen.shapes_tree {
            self.optimise(self.neighbors[i].slot, what, (seen.parent, seen.hops), cx);
        }
    }

    /// A peer asks for a message, or for the link alone (algorithm 2, Receive GRAFT).
    fn on_graft(&mut self, from: NodeId, id: Option<MessageId>, cx: &mut Cx<'_>) {
        if self.config.flood {
            cx.stats.misplaced += 1;
            return;
        }
        let neighbor = self.position(&from).map(|i| &mut self.neighbors[i]);
        let Some(id) = id else {
            return neighbor.into_iter().for_each(Neighbor::make_eager);
        };
        let Some(neighbor) = neighbor else {
            return self.answer(from, id, cx); // it has announced us away, and still misses the message
        };
        neighbor.make_eager();
        if !neighbor.is_gossip_full {
            self.answer(from, id, cx);
        } else if neighbor.owed.len() >= OWED_MAX {
            cx.stats.grafts_missed += 1;
        } else if !neighbor.owed.contains(&id) {
            neighbor.owed.push(id);
        }
    }

    /// Sends a message out of the cache, or stays silent: the asker goes on to the next announcer.
    fn answer(&mut self, to: NodeId, id: MessageId, cx: &mut Cx<'_>) {
        let cached = self.seen.get(&id).and_then(|seen| self.cache.get(seen.place, &id));
        match cached.and_then(|cached| cached.gossip(cx.now.mono, &self.config)) {
            Some(gossip) => {
                cx.stats.payloads_sent += 1;
                cx.send(to, Channel::Gossip, Frame::Gossip(gossip));
            }
            None => cx.stats.grafts_missed += 1,
        }
    }

    fn on_prune(&mut self, from: &NodeId, cx: &mut Cx<'_>) {
        match self.position(from).filter(|_| !self.config.flood) {
            Some(i) => self.neighbors[i].make_lazy(cx.now.mono),
            None => cx.stats.misplaced += 1,
        }
    }

    /// A graft is due for a missing message (algorithm 2, Timer).
    fn on_missing_due(&mut self, due: Due, cx: &mut Cx<'_>) {
        match due {
            Due::Graft { id, slot } => {
                let announcer = self.neighbors.iter_mut().find(|neighbor| neighbor.slot == slot);
                announcer.into_iter().for_each(|neighbor| neighbor.graft(Some(id), cx));
            }
            Due::Lost => cx.stats.lost += 1,
        }
    }
}

impl Machine for Broadcast {
    type Input = Input;
    type Event = Event;

    fn handle(&mut self, input: Input, cx: &mut Cx<'_>) {
        match input {
            Input::NeighborUp { peer } => self.on_neighbor_up(peer, cx),
            Input::NeighborDown { peer } => self.on_neighbor_down(peer, cx),
            Input::LinkFull { peer, channel } => self.on_link_full(&peer, channel),
            Input::LinkReady { peer, channel } => self.on_link_ready(&peer, channel, cx),
            Input::Frame { from, frame } => match frame {
                Frame::Gossip(message) => self.on_gossip(from, message, cx),
                Frame::IHave(announcements) => self.on_ihave(&from, &announcements, cx),
                Frame::Graft { id } => self.on_graft(from, id, cx),
                Frame::Prune => self.on_prune(&from, cx),
                _ => cx.stats.misplaced += 1, // another machine's frame
            },
        }
    }

    fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now.mono;
        if self.announce_at.is_some_and(|at| at <= now) {
            self.flush_announcements(cx);
        }
        while let Some(due) = self.missing.pop_due(now, &self.config) {
            self.on_missing_due(due, cx);
        }
        if self.cache.next_due(&self.config).is_some_and(|at| at <= now) {
            self.cache.expire(now, &self.config);
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let deadlines = [self.announce_at, self.missing.next_due(), self.cache.next_due(&self.config)];
        deadlines.into_iter().flatten().min()
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn check(&self) {
        let Self { config, neighbors, .. } = self;
        assert!(neighbors.len() <= NEIGHBORS_MAX, "{} neighbours", neighbors.len());
        assert_eq!(self.slots().count_ones() as usize, neighbors.len(), "two neighbours share a slot");
        for (i, neighbor) in neighbors.iter().enumerate() {
            let Neighbor { peer, announcements, owed, .. } = neighbor;
            assert!(*peer != self.me, "its own neighbour");
            assert!(neighbors[..i].iter().all(|other| other.peer != *peer), "{peer} stands twice");
            assert!(announcements.len() <= config.announce_queue_max, "{} wait", announcements.len());
            assert!(owed.len() <= OWED_MAX && (owed.is_empty() || neighbor.is_gossip_full), "owed to {peer}");
            assert!(!neighbor.is_eager || neighbor.pruned_at.is_none(), "{peer} is eager and pruned");
            let waits = !announcements.is_empty() && !neighbor.is_lazy_full;
            assert!(!waits || self.announce_at.is_some(), "announcements for {peer} have no deadline");
            assert!(!config.flood || announcements.is_empty(), "a flood announces nothing");
        }
        assert_eq!(neighbors.is_empty(), self.alone_since != Instant::NEVER, "alone or not");
        assert!(self.topics.len() <= config.topics_max, "{} topics", self.topics.len());
        debug_assert!(self.topics.is_sorted_by(|a, b| a < b));
        self.seen.check(config);
        self.cache.check(config);
        self.missing.check(self.slots(), config);
        debug_assert!(self.missing.ids().all(|id| self.seen.get(id).is_none()), "missing and seen");
    }
}

fn is_reserved(topic: Topic) -> bool {
    topic >= Topic(Topic::RESERVED_MIN)
}

/// Tells whether the way over an announcer saves enough hops to change the tree.
fn saves_hops(at_announcer: u16, here: u16, config: &Config) -> bool {
    let over_announcer = u32::from(at_announcer) + 1;
    config.optimise_hops > 0 && over_announcer + u32::from(config.optimise_hops) <= u32::from(here)
}

#[cfg(test)]
mod tests;
