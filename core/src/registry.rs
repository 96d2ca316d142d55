//! The registry: which services there are in the cluster, equal on every node and shown as long as their owners live.
//!
//! Only an owner writes what it registers, so what is replicated is simple: for each owner the greatest set by
//! (incarnation, sequence). There are no tombstones and nothing to collect: a set without a registration says that it is
//! gone. An owner's changes are gathered for a moment as one [update](self) and go from neighbour to neighbour (`relay`),
//! in batches whose number does not grow with the changes; whoever lacks the update before one pulls from the neighbour
//! that handed it on. Anti-entropy (`session`) hands on every owner's sets, so a newcomer learns the whole directory from
//! any one peer.
//!
//! What is seen is a view, not a merge: a set is visible while its owner's lease lives in the life that wrote it. The
//! sets of the dead are kept for a while, so that a partition that heals moves nothing, and then forgotten but for an
//! epitaph, which refuses what is not newer. Neighbours come and go without a trace in the directory.
//!
//! Whose word an update is cannot be proven, so a forged update may be believed for a moment; an owner that hears
//! of a set of its own that it did not write writes a newer one, whole.

mod apply;
mod directory;
mod order;
mod owner;
mod relay;
mod session;
mod sets;
#[cfg(test)]
mod tests;
mod update;
mod warm;

use crate::config::{Canary, Config};
use crate::frame::Frame;
use crate::hash::{Fold, hash_bytes};
use crate::hlc::Stamp;
use crate::id::{Incarnation, MailboxId, NodeId};
use crate::machine::{CommandError, Cx, Machine, News, ServiceLoss};
use crate::schema::Schema;
use crate::time::Instant;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use indexmap::IndexMap;
use relay::Relay;
use session::Sync;
use update::{Change, Numbered, Record};

pub use directory::Registry;
pub use owner::Row;
pub use relay::{RELAYED_MAX, Relayed, TOLD_MAX, Told, Word};
pub use session::{Hello, ROWS_MAX, Rows, UPDATES_MAX};
pub use update::{Batch, CHANGES_MAX, Update};
pub(crate) use update::{CHANGE_HEADER_LEN_MAX, UPDATE_HEADER_LEN_MAX};

/// Buckets of owners whose hashes a hello compares (facts, section 1.2).
pub const BUCKETS: usize = 32;

/// Changes in one of this node's own updates at most.
const OWN_CHANGES_MAX: usize = 64;
/// Bytes of one of this node's own updates at which it goes out.
const OWN_BYTES_MAX: usize = 12 << 10;

/// What happens to the registry.
#[derive(Clone, Debug)]
pub enum Input {
    /// This node comes back after it has left: its services are of another life from now on.
    NewLife {
        /// The life that begins.
        incarnation: Incarnation,
    },
    /// A node is a member in this life of it.
    LifeVisible {
        /// The node.
        node: NodeId,
        /// Its life.
        incarnation: Incarnation,
    },
    /// Somebody cannot reach a member, or it has answered.
    LifeSuspected {
        /// The node.
        node: NodeId,
        /// Whether it is suspected now.
        is_suspected: bool,
    },
    /// A member's life is over.
    LifeGone {
        /// The node.
        node: NodeId,
        /// Its life.
        incarnation: Incarnation,
        /// Why.
        reason: ServiceLoss,
    },
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
    /// A frame of the sync channel arrived.
    Frame {
        /// From whom.
        from: NodeId,
        /// The frame.
        frame: Frame,
    },
    /// The sync channel of a link is above its high-water mark.
    LinkFull {
        /// The peer.
        peer: NodeId,
    },
    /// The sync channel of a link has drained.
    LinkReady {
        /// The peer.
        peer: NodeId,
    },
}

/// What the registry tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The visible directory has changed; told while somebody watches.
    News(News),
    /// A peer handed on what breaks the rules; it was not taken, or not shown.
    Refused {
        /// Who handed it on.
        from: NodeId,
        /// Whose set it was about.
        owner: NodeId,
    },
    /// Another node's older registration of a unique name has won.
    NameLost {
        /// The name.
        name: Bytes,
        /// Which instance of this node.
        instance: u64,
        /// Who has it.
        to: NodeId,
    },
    /// Others hold a set of this node that this life of it cannot write over.
    Outlived {
        /// The life that they know.
        incarnation: Incarnation,
    },
    /// A peer sent bytes that are no update.
    Malformed {
        /// The peer.
        from: NodeId,
    },
}

/// The registry machine of one node.
#[derive(Clone, Debug)]
pub struct Registrar {
    config: Arc<Config>,
    me: NodeId,
    incarnation: Incarnation,
    schema: Option<Schema>,
    registry: Registry,
    /// This node's own changes since the last update, each key once.
    pending: Vec<Numbered>,
    pending_bytes: usize,
    /// The sequence number up to which updates were made.
    announced: u64,
    flush_at: Option<Instant>,
    /// Sets that cannot be seen, by when they are forgotten.
    purges: BTreeSet<(Instant, u32)>,
    /// Forgotten sets: what is not newer is refused. The oldest goes first when there are too many.
    epitaphs: IndexMap<NodeId, (Incarnation, u64), crate::hash::FixedState>,
    relay: Relay,
    sync: Sync,
    events: VecDeque<Event>,
}

/// Commands.
impl Registrar {
    /// Starts without services, in this life of the node.
    pub fn new(config: Arc<Config>, me: NodeId, incarnation: Incarnation) -> Self {
        let schema = config.schemas.iter().find(|it| it.id == config.registry_schema).copied();
        let mut registry = Registry::new(me);
        let number = registry.number_or_new(&me);
        registry.set_version(number, incarnation, 0, 0);
        registry.begin_life(number, incarnation);
        Self {
            schema,
            config,
            me,
            incarnation,
            registry,
            pending: Vec::new(),
            pending_bytes: 0,
            announced: 0,
            flush_at: None,
            purges: BTreeSet::new(),
            epitaphs: IndexMap::default(),
            relay: Relay::default(),
            sync: Sync::default(),
            events: VecDeque::new(),
        }
    }

    /// Shows the directory.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Says whether somebody watches services: while nobody does, no news is made.
    pub fn set_watched(&mut self, is_watched: bool) {
        self.registry.is_watched = is_watched;
    }

    /// Offers a service, or changes what it says of itself. The clock's mark must be durable beyond the next stamp.
    ///
    /// # Errors
    /// Nothing has changed: [`CommandError::TooLarge`], [`CommandError::Invalid`] when the schema refuses it,
    /// [`CommandError::Full`] and [`CommandError::NameTaken`].
    pub fn register(
        &mut self,
        name: &Bytes,
        instance: u64,
        mailbox: MailboxId,
        meta: &Bytes,
        is_unique: bool,
        cx: &mut Cx<'_>,
    ) -> Result<(), CommandError> {
        let own = self.own();
        let slot = self.registry.find_slot(own, hash_bytes(name), (name, instance));
        self.judge_own(name, meta, slot)?;
        self.judge_name(name, instance, is_unique)?;
        if slot.is_some() && self.config.is_planted(Canary::FrozenMeta) {
            return Ok(());
        }
        let registered_at = match slot {
            Some(slot) => self.registry.record(slot).registered_at,
            None => cx.clock.now(cx.now.wall),
        };
        let mut body = Vec::with_capacity(name.len() + meta.len());
        body.extend_from_slice(name);
        body.extend_from_slice(meta);
        let body = (Bytes::from(body), name.len() as u16); // at most name_len_max, which fits
        let record = Record::new(body, instance, mailbox, registered_at, is_unique);
        if slot.is_none_or(|slot| **self.registry.record(slot) != record) {
            self.write(Change::Put(Arc::new(record)), cx);
        }
        Ok(())
    }

    /// Offers a service no longer.
    ///
    /// # Errors
    /// [`CommandError::NoSuchService`] when this node does not offer it.
    pub fn unregister(&mut self, name: &Bytes, instance: u64, cx: &mut Cx<'_>) -> Result<(), CommandError> {
        let own = self.own();
        let slot = self.registry.find_slot(own, hash_bytes(name), (name, instance));
        slot.ok_or(CommandError::NoSuchService)?;
        self.write(Change::Remove { name: name.clone(), instance }, cx);
        Ok(())
    }

    fn own(&self) -> u32 {
        directory::OWN // from the start, and never forgotten
    }

    fn own_owner(&self) -> &owner::Owner {
        &self.registry.owners[self.own()]
    }

    /// Judges the size and contents of an own registration.
    fn judge_own(&self, name: &Bytes, meta: &Bytes, slot: Option<u32>) -> Result<(), CommandError> {
        let Config { registry_name_len_max, registry_meta_len_max, .. } = *self.config;
        for (len, max) in [(name.len(), registry_name_len_max), (meta.len(), registry_meta_len_max)] {
            if len > max {
                return Err(CommandError::TooLarge { len, max });
            }
        }
        if !self.is_valid(name, meta) {
            return Err(CommandError::Invalid);
        }
        let (own, max) = (self.own_owner(), self.config.registrations_max);
        if slot.is_none() && own.entries.len() >= max {
            return Err(CommandError::Full { max });
        }
        let old = slot.map_or(0, |slot| self.registry.record(slot).len());
        let (bytes, max) = (own.bytes - old + name.len() + meta.len(), self.config.registry_owner_bytes_max);
        if bytes > max {
            return Err(CommandError::Full { max });
        }
        Ok(())
    }

    /// Judges whether a name is free: a unique one for everybody, any other for those who want it unique.
    fn judge_name(&self, name: &[u8], instance: u64, is_unique: bool) -> Result<(), CommandError> {
        for slot in self.registry.same_name(name) {
            let entry = self.registry.entry(slot);
            let by = self.registry.owners[entry.owner].id;
            let is_self = by == self.me && entry.record.instance == instance;
            if !is_self && (is_unique || entry.record.is_unique) {
                return Err(CommandError::NameTaken { by });
            }
            if !is_unique && !entry.record.is_unique {
                return Ok(()); // names are unique for all or for none, but for a moment
            }
        }
        Ok(())
    }

    fn is_valid(&self, name: &[u8], meta: &[u8]) -> bool {
        let Some(schema) = self.schema else { return true };
        [schema.validate, schema.verify].into_iter().flatten().all(|judge| judge(name, meta))
    }

    /// Changes this node's own set and lets the change wait for others to go out with.
    fn write(&mut self, change: Change, cx: &mut Cx<'_>) {
        let own = self.own();
        let before = self.own_owner().row_hash();
        let seq = self.own_owner().seq + 1;
        match &change {
            Change::Put(record) => self.registry.put(own, record, false),
            Change::Remove { .. } => self.registry.remove(own, change.name_hash(), change.key()),
        }
        self.registry.set_version(own, self.incarnation, seq, before);
        self.registry.owners[own].changed_at = cx.now.mono;
        self.pending.retain(|waiting| waiting.change.key() != change.key());
        self.pending_bytes += change.len_max();
        self.pending.push(Numbered { seq, change });
        if self.flush_at.is_none() {
            self.flush_at = Some(cx.now.mono.plus_millis(self.config.registry_delay_ms));
        }
        if self.pending.len() >= OWN_CHANGES_MAX || self.pending_bytes >= OWN_BYTES_MAX {
            self.flush(cx);
        }
        self.tell(cx);
    }

    /// Makes an update of what waits, and hands it on.
    fn flush(&mut self, cx: &mut Cx<'_>) {
        self.flush_at = None;
        if self.pending.is_empty() {
            return;
        }
        let mut pending = core::mem::take(&mut self.pending);
        self.pending_bytes = 0;
        pending.sort_unstable_by(|a, b| a.change.key().cmp(&b.change.key()));
        let (from, to) = (self.announced, self.own_owner().seq);
        let batch = Arc::new(Batch::of((self.me, self.incarnation), Some(from), to, pending));
        self.announced = to;
        let own = self.own();
        self.registry.owners[own].log.push(batch.clone(), &self.config);
        self.announce(Some(batch), cx);
    }

    fn announce(&mut self, batch: Option<Arc<Batch>>, cx: &mut Cx<'_>) {
        cx.stats.registry_updates += 1;
        self.hand_on(self.own(), batch, 0, cx);
    }

    /// Withdraws what has lost its name, and hands up what the directory has to tell.
    fn tell(&mut self, cx: &mut Cx<'_>) {
        self.registry.lost.sort_unstable_by(|a, b| (&a.name, a.instance).cmp(&(&b.name, b.instance)));
        while let Some(lost) = self.registry.lost.pop() {
            let directory::Lost { name, instance, to } = lost;
            if self.unregister(&name, instance, cx).is_ok() {
                self.events.push_back(Event::NameLost { name, instance, to });
            }
        }
        for news in core::mem::take(&mut self.registry.news) {
            if let News::Registered(service) = &news
                && service.owner == self.me
                && self.config.is_planted(Canary::TwiceRegistered)
            {
                self.events.push_back(Event::News(news.clone()));
            }
            self.events.push_back(Event::News(news));
        }
    }
}

/// Lives, and what is forgotten.
impl Registrar {
    /// What this node offers goes on in its next life. Nobody hears it now: new neighbours find it by anti-entropy.
    fn on_new_life(&mut self, incarnation: Incarnation, cx: &Cx<'_>) {
        let (own, before) = (self.own(), self.own_owner().row_hash());
        let seq = self.own_owner().seq;
        self.incarnation = incarnation;
        self.registry.set_version(own, incarnation, seq, before);
        let owner = &mut self.registry.owners[own];
        owner.log.clear();
        owner.changed_at = cx.now.mono;
        self.pending.clear();
        (self.pending_bytes, self.flush_at, self.announced) = (0, None, seq);
    }

    fn on_life_visible(&mut self, node: NodeId, incarnation: Incarnation, cx: &mut Cx<'_>) {
        let is_known = self.registry.number(&node).is_some();
        if !is_known && self.registry.count_owners() >= self.config.registry_owners_max {
            cx.stats.registry_refused += 1;
            return;
        }
        if self.epitaphs.get(&node).is_some_and(|(buried, _)| *buried == incarnation) {
            self.epitaphs.shift_remove(&node); // that life goes on after all: its set is to be had from others
            self.spread(cx);
        }
        let number = self.registry.number_or_new(&node);
        self.registry.begin_life(number, incarnation);
        self.tell(cx);
        self.watch_over(number, cx);
    }

    fn on_life_gone(&mut self, node: NodeId, incarnation: Incarnation, reason: ServiceLoss, cx: &mut Cx<'_>) {
        let Some(number) = self.registry.number(&node) else { return };
        self.registry.end_life(number, incarnation, reason);
        if self.config.is_planted(Canary::SilentDeath) {
            self.registry.news.clear();
        }
        self.tell(cx);
        self.watch_over(number, cx);
    }

    fn on_life_suspected(&mut self, node: NodeId, is_suspected: bool, cx: &mut Cx<'_>) {
        if let Some(number) = self.registry.number(&node) {
            self.registry.suspect(number, is_suspected);
            self.tell(cx);
        }
    }

    /// Sees to it that a set that cannot be seen is forgotten in time, and no other.
    fn watch_over(&mut self, number: u32, cx: &mut Cx<'_>) {
        let owner = &mut self.registry.owners[number];
        let must_go = owner.seq > 0 && !owner.is_visible() && owner.id != self.me;
        if must_go && owner.purge_at.is_none() {
            let at = cx.now.mono.plus_millis(self.config.registry_retention_ms);
            owner.purge_at = Some(at);
            self.purges.insert((at, number));
        } else if !must_go && let Some(at) = owner.purge_at.take() {
            self.purges.remove(&(at, number));
        }
        if owner.seq == 0 && owner.lease.is_none() && owner.id != self.me {
            self.registry.forget(number);
        }
    }

    fn on_purges_due(&mut self, cx: &mut Cx<'_>) {
        while let Some((at, number)) = self.purges.first().copied().filter(|(at, _)| *at <= cx.now.mono) {
            self.purges.remove(&(at, number));
            self.bury(number);
        }
    }

    /// Forgets a set, but for what it takes to refuse it when it comes again.
    fn bury(&mut self, number: u32) {
        let owner = &mut self.registry.owners[number];
        let (id, version) = (owner.id, (owner.incarnation, owner.seq));
        owner.purge_at = None;
        self.epitaphs.shift_remove(&id);
        self.epitaphs.insert(id, version);
        if self.epitaphs.len() > self.config.epitaphs_max && !self.config.is_planted(Canary::TombstoneHoard) {
            self.epitaphs.shift_remove_index(0);
        }
        if self.registry.owners[number].lease.is_some() {
            self.registry.drop_set(number, None);
        } else {
            self.registry.forget(number);
        }
    }
}

impl Registrar {
    /// Folds what matters of the state, with times relative to `now`. Contents count by their hashes.
    pub fn digest(&self, now: Instant, into: &mut Fold) {
        let span = |at: Instant| (at - now).0;
        let crate::observation::RegistryStatus { hash, count } = self.registry.status();
        into.pair(hash, u64::from(count));
        into.pair(self.announced, self.pending.len() as u64);
        self.registry.buckets.iter().for_each(|bucket| into.word(*bucket));
        into.word(self.flush_at.map_or(0, span));
        into.word(self.purges.len() as u64 | (self.epitaphs.len() as u64) << 32);
        into.word(self.purges.first().map_or(0, |(at, _)| span(*at)));
        self.relay.digest(span, into);
        self.sync.digest(span, into);
    }

    /// Follows a stamp from elsewhere as far as the clock allows: it orders what is registered here after it.
    fn follow(stamp: Stamp, cx: &mut Cx<'_>) {
        let _ = cx.clock.receive(stamp, cx.now.wall);
    }
}

impl Machine for Registrar {
    type Input = Input;
    type Event = Event;

    fn handle(&mut self, input: Input, cx: &mut Cx<'_>) {
        match input {
            Input::NewLife { incarnation } => self.on_new_life(incarnation, cx),
            Input::LifeVisible { node, incarnation } => self.on_life_visible(node, incarnation, cx),
            Input::LifeSuspected { node, is_suspected } => self.on_life_suspected(node, is_suspected, cx),
            Input::LifeGone { node, incarnation, reason } => {
                self.on_life_gone(node, incarnation, reason, cx);
            }
            Input::NeighborUp { peer } => self.on_neighbor_up(peer, cx),
            Input::NeighborDown { peer } => self.on_neighbor_down(peer, cx),
            Input::Frame { from, frame } => self.on_frame(from, frame, cx),
            Input::LinkFull { peer } => {
                self.relay.set_full(&peer, true, cx.now.mono);
                self.sync.on_link_full(peer);
            }
            Input::LinkReady { peer } => {
                self.relay.set_full(&peer, false, cx.now.mono);
                self.sync.on_link_ready(peer);
            }
        }
        self.on_relay_due(cx);
    }

    fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        if self.flush_at.is_some_and(|at| at <= cx.now.mono) {
            self.flush(cx);
        }
        self.on_purges_due(cx);
        self.on_sync_due(cx);
        self.on_relay_due(cx);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let purge = self.purges.first().map(|(at, _)| *at);
        [self.flush_at, purge, self.sync.due(), self.relay.due()].into_iter().flatten().min()
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn check(&self) {
        assert!(self.epitaphs.len() <= self.config.epitaphs_max, "more epitaphs than epitaphs_max");
        assert!(self.pending.len() < OWN_CHANGES_MAX, "own changes wait for nothing");
        assert_eq!(self.pending.is_empty(), self.flush_at.is_none(), "own changes would never go out");
        assert!(self.registry.lost.is_empty() && self.registry.news.is_empty(), "news was left behind");
        self.relay.check(&self.config);
        self.sync.check(&self.config);
    }

    fn audit(&self) {
        self.check();
        self.registry.audit();
        let buckets = self.registry.known().fold([0_u64; BUCKETS], |mut buckets, owner| {
            buckets[owner.bucket()] = buckets[owner.bucket()].wrapping_add(owner.row_hash());
            buckets
        });
        assert_eq!(buckets, self.registry.buckets, "a bucket's hash is not its rows'");
        let waiting = self.registry.owners.iter().filter(|owner| owner.purge_at.is_some()).count();
        assert_eq!(waiting, self.purges.len(), "a set to be forgotten is not on the list");
        let links = self.relay.everybody();
        let of_tree = |owner: &owner::Owner| owner.lazy | owner.pruned | owner.parent;
        let is_whole = self.registry.owners.iter().all(|owner| of_tree(owner) & !links == 0);
        assert!(is_whole, "a tree has a link to nobody");
    }
}
