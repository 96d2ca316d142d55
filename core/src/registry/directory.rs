//! The value that users read: which services there are, by name.
//!
//! What an owner registered is its *set*; what is *listed* here are the sets of owners whose lease lives in the
//! incarnation that wrote them; what is *shown* leaves out those that lost a unique name. Sets come and go by `sets`.
//!
//! A name is found by its hash; its services form a chain, and the one that `whereis` tells is kept beside it. So a
//! point read costs the same with a hundred services and with a hundred thousand. Names are ordered apart, by slot.

use super::order::Order;
use super::owner::{Owner, Place};
use super::update::Record;
use crate::hash::{FixedState, hash_bytes, mix};
use crate::hlc::Stamp;
use crate::id::{MailboxId, NodeId};
use crate::machine::{News, ServiceLoss};
use crate::observation::RegistryStatus;
use crate::service::Service;
use crate::slots::Slots;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use indexmap::IndexMap;

/// No slot.
pub(super) const NONE: u32 = u32::MAX;

/// The number of this node among the owners.
pub(super) const OWN: u32 = 0;

/// What becomes of a registration in the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The schema refused it: kept and handed on, never listed.
    Refused,
    /// Not visible just now, or beaten by an older one of a unique name.
    Hidden,
    /// Everybody may have it.
    Shown,
}

/// One registration and its place. What its owner wrote is shared, and far away: what lists it is here, in 32 bytes.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) record: Arc<Record>,
    name_hash: u64,
    pub(super) owner: u32,
    next: u32,
    prev: u32,
    /// What makes nodes prefer different instances, in short.
    preference: u16,
    is_unique: bool,
    pub(super) role: Role,
}

impl Entry {
    pub(super) fn new(record: Arc<Record>, owner: u32, salt: u64, role: Role) -> Self {
        let (name_hash, is_unique) = (record.name_hash(), record.is_unique);
        let preference = (preference(salt, &record) >> 48) as u16;
        Self { record, name_hash, owner, next: NONE, prev: NONE, preference, is_unique, role }
    }
}

impl Entry {
    /// Tells in which chain it is, and between which others.
    pub(super) fn links(&self) -> (u64, [u32; 2]) {
        (self.name_hash, [self.next, self.prev])
    }
}

/// Tells how much a node prefers an instance: the less the more.
fn preference(salt: u64, record: &Record) -> u64 {
    mix(salt ^ record.instance)
}

/// The listed services whose names have one hash: nearly always those of one name.
#[derive(Clone, Copy, Debug, Default)]
struct Chain {
    head: u32,
    /// The one to tell where the name is, unless the chain is contested.
    best: u32,
    /// What of the best one's rank comes first.
    rank: u32,
    /// Whether some name in it is unique: then every answer is looked up by walking.
    is_contested: bool,
    /// Whether there were several names in it.
    is_mixed: bool,
}

/// Which services of a name are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Contest {
    /// All: none of them is unique.
    Open,
    /// The oldest.
    Won(u32),
}

impl Contest {
    fn shows(self, slot: u32) -> bool {
        self == Contest::Open || self == Contest::Won(slot)
    }
}

/// An own registration that another node's older one of the same name has beaten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) name: Bytes,
    pub(super) instance: u64,
    pub(super) to: NodeId,
}

/// The services of a cluster as one node sees them.
#[derive(Clone, Debug)]
pub struct Registry {
    pub(super) me: NodeId,
    /// By number; a free place has no number in `numbers`.
    pub(super) owners: Vec<Owner>,
    pub(super) free_owners: Vec<u32>,
    pub(super) numbers: IndexMap<NodeId, u32, FixedState>,
    /// By their names on the relay.
    pub(super) tags: Slots<u32>,
    pub(super) entries: Vec<Entry>,
    pub(super) free: Vec<u32>,
    /// What stands where a registration was.
    pub(super) nothing: Arc<Record>,
    chains: Slots<Chain>,
    order: Order,
    /// The sum of what is shown, each with its owner's life.
    hash: u64,
    shown: u32,
    /// Whether somebody wants news.
    pub(super) is_watched: bool,
    pub(super) news: Vec<News>,
    pub(super) lost: Vec<Lost>,
    pub(super) buckets: [u64; super::BUCKETS],
}

/// Reading.
impl Registry {
    pub(super) fn new(me: NodeId) -> Self {
        Self {
            me,
            owners: Vec::new(),
            free_owners: Vec::new(),
            numbers: IndexMap::default(),
            tags: Slots::default(),
            entries: Vec::new(),
            free: Vec::new(),
            nothing: Arc::new(Record::new((Bytes::new(), 0), 0, MailboxId(0), Stamp::ZERO, false)),
            chains: Slots::default(),
            order: Order::default(),
            hash: 0,
            shown: 0,
            is_watched: false,
            news: Vec::new(),
            lost: Vec::new(),
            buckets: [0; super::BUCKETS],
        }
    }

    /// Counts the services.
    pub fn len(&self) -> usize {
        self.shown as usize
    }

    /// Tells whether there is no service.
    pub fn is_empty(&self) -> bool {
        self.shown == 0
    }

    /// Lists the services of a name, in no particular order; of a unique name only the winner.
    pub fn lookup(&self, name: &[u8]) -> impl Iterator<Item = Service> {
        self.same_name(name).filter(|slot| self.is_shown(*slot)).map(|slot| self.service(slot))
    }

    /// Lists this node's own services of a name, by instance.
    pub fn lookup_local(&self, name: &[u8]) -> impl Iterator<Item = Service> {
        let (own, hash) = (self.own_places(), Place::hash(hash_bytes(name)));
        let first = own.partition_point(|place| place.hash < hash);
        let near = own[first..].iter().take_while(move |place| place.hash == hash).map(|place| place.slot);
        let named = near.filter(move |slot| self.record(*slot).name() == name);
        named.filter(|slot| self.is_shown(*slot)).map(|slot| self.service(slot))
    }

    /// Tells where a name is: this node's own service first, else the same one of the others for as long as the
    /// candidates stay, and none that is suspected while another is not. Different nodes choose differently.
    pub fn whereis(&self, name: &[u8]) -> Option<Service> {
        let chain = self.chains.get(hash_bytes(name))?;
        if !chain.is_contested && self.record(chain.best).name() == name {
            return Some(self.service(chain.best));
        }
        let shown = self.same_name(name).filter(|slot| self.is_shown(*slot));
        shown.min_by_key(|slot| self.rank(*slot)).map(|slot| self.service(slot))
    }

    /// Lists the distinct names, in their order.
    pub fn names(&self) -> impl Iterator<Item = Bytes> {
        self.order.starting_at(&[]).map(Record::name_bytes)
    }

    /// Lists the services whose names begin so, in the order of names.
    pub fn prefix<'a>(&'a self, prefix: &'a [u8]) -> impl Iterator<Item = Service> {
        let from = self.order.starting_at(prefix).map(Record::name);
        from.take_while(move |name| name.starts_with(prefix)).flat_map(|name| self.lookup(name))
    }

    /// Lists this node's own services, by name and instance.
    pub fn local(&self) -> impl Iterator<Item = Service> {
        let slots = self.own_places().iter().map(|place| place.slot);
        let mut shown: Vec<u32> = slots.filter(|slot| self.is_shown(*slot)).collect();
        shown.sort_unstable_by(|a, b| self.record(*a).key().cmp(&self.record(*b).key()));
        shown.into_iter().map(|slot| self.service(slot))
    }

    /// Lists all services, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = Service> {
        let slots = (0..).zip(&self.entries).filter(|(_, entry)| entry.role == Role::Shown);
        slots.map(|(slot, _)| self.service(slot))
    }

    /// Shows the directory in short.
    pub fn status(&self) -> RegistryStatus {
        RegistryStatus { hash: self.hash, count: self.shown }
    }

    fn own_places(&self) -> &[Place] {
        self.owners.get(OWN as usize).map_or(&[], |own| &own.entries)
    }

    pub(super) fn number(&self, id: &NodeId) -> Option<u32> {
        self.numbers.get(id).copied()
    }

    pub(super) fn owner(&self, id: &NodeId) -> Option<&Owner> {
        self.number(id).map(|number| &self.owners[number as usize])
    }

    #[inline]
    pub(super) fn entry(&self, slot: u32) -> &Entry {
        &self.entries[slot as usize]
    }

    fn owner_of(&self, slot: u32) -> &Owner {
        &self.owners[self.entry(slot).owner as usize]
    }

    #[inline]
    pub(super) fn record(&self, slot: u32) -> &Arc<Record> {
        &self.entry(slot).record
    }

    pub(super) fn service(&self, slot: u32) -> Service {
        let (record, owner) = (self.record(slot), self.owner_of(slot));
        Service {
            name: record.name_bytes(),
            owner: owner.id,
            incarnation: owner.incarnation,
            instance: record.instance,
            mailbox: record.mailbox,
            meta: record.meta_bytes(),
            registered_at: record.registered_at,
            is_unique: record.is_unique,
            is_suspected: owner.is_suspected,
        }
    }
}

/// Names: what is listed under each, and what of it is shown.
impl Registry {
    fn walk(&self, head: u32) -> impl Iterator<Item = u32> {
        core::iter::successors(Some(head).filter(|slot| *slot != NONE), |slot| {
            Some(self.entry(*slot).next).filter(|slot| *slot != NONE)
        })
    }

    /// Tells the first service in the chain of a name's hash.
    pub(super) fn head_of(&self, name_hash: u64) -> u32 {
        self.chains.get(name_hash).map_or(NONE, |chain| chain.head)
    }

    /// Lists the listed services of a name, shown or not.
    pub(super) fn same_name(&self, name: &[u8]) -> impl Iterator<Item = u32> {
        self.walk(self.head_of(hash_bytes(name))).filter(move |slot| self.record(*slot).name() == name)
    }

    /// Tells which services of a name are to be shown.
    fn contest(&self, name: &[u8]) -> Contest {
        if !self.same_name(name).any(|slot| self.entry(slot).is_unique) {
            return Contest::Open;
        }
        let age = |slot: &u32| {
            let record = self.record(*slot);
            (record.registered_at, self.owner_of(*slot).id, record.instance)
        };
        self.same_name(name).min_by_key(age).map_or(Contest::Open, Contest::Won)
    }

    fn is_listed(&self, slot: u32) -> bool {
        self.entry(slot).role != Role::Refused && self.owner_of(slot).is_visible()
    }

    pub(super) fn is_shown(&self, slot: u32) -> bool {
        self.entry(slot).role == Role::Shown
    }

    /// Tells which of a name's services is told first: this node's own, then what is not suspected, then by a hash that
    /// differs from node to node.
    fn rank(&self, slot: u32) -> (bool, bool, u64, NodeId, u64) {
        let (record, owner) = (self.record(slot), self.owner_of(slot));
        let preference = preference(owner.salt, record);
        (owner.id != self.me, owner.is_suspected, preference, owner.id, record.instance)
    }

    /// Packs what of a rank comes first: enough to tell nearly all apart.
    fn rank_head(&self, slot: u32) -> u32 {
        let Entry { owner, preference, .. } = *self.entry(slot);
        let is_suspected = self.owners[owner as usize].is_suspected;
        u32::from(owner != OWN) << 17 | u32::from(is_suspected) << 16 | u32::from(preference)
    }

    /// Tells whether a service is told before the best of a chain.
    fn is_better(&self, slot: u32, rank: u32, chain: &Chain) -> bool {
        rank < chain.rank || rank == chain.rank && self.rank(slot) < self.rank(chain.best)
    }

    /// Looks for the service of a chain that is told first.
    fn rank_chain(&self, chain: &mut Chain) {
        (chain.best, chain.rank) = (chain.head, self.rank_head(chain.head));
        for slot in self.walk(chain.head).skip(1) {
            let rank = self.rank_head(slot);
            if self.is_better(slot, rank, chain) {
                (chain.best, chain.rank) = (slot, rank);
            }
        }
    }

    /// Lists a registration that was not listed.
    pub(super) fn list(&mut self, slot: u32) {
        if self.link_and_show(slot) {
            self.hash = self.hash.wrapping_add(self.shown_hash(slot));
        }
    }

    /// Lists a registration, and tells whether it is shown and the hash lacks it.
    fn link_and_show(&mut self, slot: u32) -> bool {
        if self.link(slot) {
            let record = self.record(slot).clone();
            self.settle(record.name());
            return false;
        }
        self.show(slot); // the usual case does not walk
        true
    }

    /// Lists a registration no longer.
    pub(super) fn unlist(&mut self, slot: u32, loss: Option<ServiceLoss>) {
        if self.is_shown(slot) {
            self.hash = self.hash.wrapping_sub(self.shown_hash(slot));
        }
        self.hide_and_unlink(slot, loss);
    }

    fn hide_and_unlink(&mut self, slot: u32, loss: Option<ServiceLoss>) {
        if self.is_shown(slot) {
            self.hide(slot, loss);
        }
        if self.unlink(slot) {
            let record = self.record(slot).clone();
            self.settle(record.name());
        }
    }

    /// Lists an owner's registrations. The sum of their hashes is known, so that few have to be looked at.
    pub(super) fn list_all(&mut self, number: u32) {
        let owner = &self.owners[number as usize];
        let (weight, mut sum) = (owner.weight(), owner.fingerprint);
        for slot in self.slots_of(number) {
            if self.entry(slot).role == Role::Refused || !self.link_and_show(slot) {
                sum = sum.wrapping_sub(self.record(slot).hash());
            }
        }
        self.hash = self.hash.wrapping_add(sum.wrapping_mul(weight));
    }

    /// Lists an owner's registrations no longer.
    pub(super) fn unlist_all(&mut self, number: u32, loss: Option<ServiceLoss>) {
        let owner = &self.owners[number as usize];
        let (weight, mut sum) = (owner.weight(), owner.fingerprint);
        for slot in self.slots_of(number) {
            let role = self.entry(slot).role;
            if role != Role::Shown {
                sum = sum.wrapping_sub(self.record(slot).hash());
            }
            if role != Role::Refused {
                self.hide_and_unlink(slot, loss);
            }
        }
        self.hash = self.hash.wrapping_sub(sum.wrapping_mul(weight));
    }

    /// Tells an owner's slots: in the order of their keys where what becomes of them is told.
    pub(super) fn slots_of(&self, number: u32) -> Vec<u32> {
        let mut slots: Vec<u32> =
            self.owners[number as usize].entries.iter().map(|place| place.slot).collect();
        if self.is_watched {
            slots.sort_unstable_by(|a, b| self.record(*a).key().cmp(&self.record(*b).key()));
        }
        self.warm_slots(&slots);
        slots
    }

    /// Shows what is to be shown of a contested name, and nothing else.
    fn settle(&mut self, name: &[u8]) {
        let contest = self.contest(name);
        let slots: Vec<u32> = self.same_name(name).collect();
        for slot in slots.iter().copied() {
            if self.is_shown(slot) && !contest.shows(slot) {
                self.hash = self.hash.wrapping_sub(self.shown_hash(slot));
                self.hide(slot, None);
            }
        }
        for slot in slots {
            if !self.is_shown(slot) && contest.shows(slot) {
                self.hash = self.hash.wrapping_add(self.shown_hash(slot));
                self.show(slot);
            }
            self.note_loss(slot, contest);
        }
    }

    /// Notes that one of this node's own registrations has lost its name.
    fn note_loss(&mut self, slot: u32, contest: Contest) {
        if let Contest::Won(winner) = contest
            && winner != slot
            && self.owner_of(slot).id == self.me
        {
            let (name, instance) = (self.record(slot).name_bytes(), self.record(slot).instance);
            self.lost.push(Lost { name, instance, to: self.owner_of(winner).id });
        }
    }

    /// Puts a registration first in its chain, and tells whether that is contested.
    fn link(&mut self, slot: u32) -> bool {
        let (hash, is_contested) = (self.entry(slot).name_hash, self.entry(slot).is_unique);
        let rank = self.rank_head(slot);
        let Some(mut chain) = self.chains.get(hash) else {
            self.order.insert(&self.entries[slot as usize].record);
            self.chains.insert(hash, Chain { head: slot, best: slot, rank, is_contested, is_mixed: false });
            return is_contested;
        };
        let is_new = |other: u32| self.record(other).name() != self.record(slot).name();
        chain.is_mixed |= is_new(chain.head);
        if chain.is_mixed && self.walk(chain.head).all(is_new) {
            self.order.insert(&self.entries[slot as usize].record);
        }
        if self.is_better(slot, rank, &chain) {
            (chain.best, chain.rank) = (slot, rank);
        }
        self.entries[chain.head as usize].prev = slot;
        self.entries[slot as usize].next = chain.head;
        chain.head = slot;
        chain.is_contested |= is_contested;
        self.chains.insert(hash, chain);
        chain.is_contested
    }

    /// Takes a registration out of its chain, and tells whether that is contested, or was.
    fn unlink(&mut self, slot: u32) -> bool {
        let entry = &mut self.entries[slot as usize];
        let (hash, is_unique) = (entry.name_hash, entry.is_unique);
        let (next, prev) =
            (core::mem::replace(&mut entry.next, NONE), core::mem::replace(&mut entry.prev, NONE));
        let Some(mut chain) = self.chains.get(hash) else { return false };
        match prev {
            NONE => chain.head = next,
            prev => self.entries[prev as usize].next = next,
        }
        if next != NONE {
            self.entries[next as usize].prev = prev;
        }
        let was_contested = chain.is_contested;
        let is_other = |other: u32| self.record(other).name() != self.record(slot).name();
        if chain.head == NONE || chain.is_mixed && self.walk(chain.head).all(is_other) {
            self.order.remove(&self.entries[slot as usize].record);
        }
        if chain.head == NONE {
            self.chains.remove(hash);
            return was_contested;
        }
        if chain.best == slot {
            self.rank_chain(&mut chain);
        }
        chain.is_contested &= !is_unique || self.walk(chain.head).any(|other| self.entry(other).is_unique);
        self.chains.insert(hash, chain);
        was_contested
    }

    fn shown_hash(&self, slot: u32) -> u64 {
        self.record(slot).hash().wrapping_mul(self.owner_of(slot).weight())
    }

    fn show(&mut self, slot: u32) {
        self.entries[slot as usize].role = Role::Shown;
        self.shown += 1;
        if self.is_watched {
            self.news.push(News::Registered(self.service(slot)));
        }
    }

    fn hide(&mut self, slot: u32, loss: Option<ServiceLoss>) {
        self.entries[slot as usize].role = Role::Hidden;
        self.shown -= 1;
        if self.is_watched {
            let service = self.service(slot);
            self.news.push(match loss {
                Some(reason) => News::Down { service, reason },
                None => News::Unregistered(service),
            });
        }
    }

    /// Gives a registration new contents under its old key, age and uniqueness.
    pub(super) fn rewrite(&mut self, slot: u32, record: &Arc<Record>) {
        let before = self.shown_hash(slot);
        self.entries[slot as usize].record = record.clone();
        if self.is_shown(slot) {
            self.hash = self.hash.wrapping_sub(before).wrapping_add(self.shown_hash(slot));
            self.tell_updated(slot);
        }
    }

    pub(super) fn tell_updated(&mut self, slot: u32) {
        if self.is_watched {
            self.news.push(News::Updated(self.service(slot)));
        }
    }

    /// Looks again which service of a name is told first, after one's rank has changed.
    pub(super) fn rank_again(&mut self, slot: u32) {
        let (hash, rank) = (self.entry(slot).name_hash, self.rank_head(slot));
        let Some(mut chain) = self.chains.get(hash) else { return };
        if chain.best == slot {
            self.rank_chain(&mut chain);
        } else if self.is_better(slot, rank, &chain) {
            (chain.best, chain.rank) = (slot, rank);
        } else {
            return;
        }
        self.chains.insert(hash, chain);
    }

    /// Asserts that the index and what it indexes agree.
    pub(super) fn audit(&self) {
        assert!(
            self.owners.get(OWN as usize).is_none_or(|own| own.id == self.me),
            "this node is not the first owner"
        );
        let (mut listed, mut shown, mut hash) = (0, 0, 0_u64);
        for number in self.numbers.values() {
            let owner = &self.owners[*number as usize];
            owner.audit(self);
            for slot in owner.entries.iter().map(|place| place.slot) {
                listed += usize::from(self.is_listed(slot));
                assert!(
                    self.is_listed(slot) || !self.is_shown(slot),
                    "something is shown that is not visible"
                );
                if self.is_shown(slot) {
                    shown += 1;
                    hash = hash.wrapping_add(self.shown_hash(slot));
                }
            }
        }
        assert_eq!((shown, hash), (self.shown, self.hash), "what is shown is not what was counted");
        let chained: usize = self.chains.values().map(|chain| self.audit_chain(&chain)).sum();
        assert_eq!(chained, listed, "a visible service is not listed, or one that is not");
        self.audit_names();
    }

    /// Asserts that a chain holds what is listed, as it is ranked and shown, and tells how many that are.
    fn audit_chain(&self, chain: &Chain) -> usize {
        let slots = || self.walk(chain.head);
        assert!(slots().all(|slot| self.is_listed(slot)), "something is listed that is not visible");
        let best = slots().min_by_key(|slot| self.rank(*slot));
        assert_eq!(best, Some(chain.best), "another service should be told first");
        assert_eq!(self.rank_head(chain.best), chain.rank, "the best one's rank has changed");
        let is_contested = slots().any(|slot| self.entry(slot).is_unique);
        assert_eq!(is_contested, chain.is_contested, "a contest is not what was noted");
        let is_shown = |slot: u32| {
            !is_contested || self.contest(self.record(slot).name()).shows(slot) == self.is_shown(slot)
        };
        assert!(slots().all(is_shown), "what is shown is not what is to be shown");
        assert!(
            is_contested || slots().all(|slot| self.is_shown(slot)),
            "a service of an open name is not shown"
        );
        slots().count()
    }

    fn audit_names(&self) {
        let mut names: Vec<&[u8]> = Vec::new();
        for chain in self.chains.values() {
            let first = names.len();
            for slot in self.walk(chain.head) {
                let name = self.record(slot).name();
                if !names[first..].contains(&name) {
                    names.push(name);
                }
            }
            assert!(chain.is_mixed || names.len() == first + 1, "a chain has several names");
        }
        let (mut ordered, mut last) = (0, None);
        for name in self.order.starting_at(&[]).map(Record::name) {
            assert!(last < Some(name), "names are out of order");
            assert!(self.same_name(name).next().is_some(), "a name stays in order that is not listed");
            (ordered, last) = (ordered + 1, Some(name));
        }
        assert_eq!(ordered, names.len(), "the order lost a name");
    }
}
