//! The value that users read: which services there are, by name.
//!
//! What an owner registered is its *set*; all of it that the schema takes is *listed* under its names. What is *visible*
//! are the sets of owners whose lease lives in the incarnation that wrote them: leases come and go without a look at what
//! is listed. What is *shown* leaves out what lost a unique name. Sets come and go by `sets`.
//!
//! A name is found by its hash; its services form a chain, and the one that `whereis` prefers is kept beside it. So a
//! point read costs the same with a hundred services and with a hundred thousand, unless the preferred one's owner has
//! just gone, or is suspected: then the others are looked through. Names are ordered apart.

use super::order::Order;
use super::owner::{Owner, Place};
use super::update::Record;
use crate::blocks::Blocks;
use crate::hash::{FixedState, hash_bytes, mix};
use crate::hlc::Stamp;
use crate::id::{Incarnation, MailboxId, NodeId};
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
    /// Beaten by an older one of a unique name.
    Hidden,
    /// Everybody may have it while its owner is visible.
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

/// Tells how much a node prefers an instance: the less the more.
fn preference(salt: u64, record: &Record) -> u64 {
    mix(salt ^ record.instance)
}

/// The listed services whose names have one hash: nearly always those of one name.
#[derive(Clone, Copy, Debug, Default)]
struct Chain {
    head: u32,
    /// The one to tell where the name is, if its owner is visible and above suspicion, unless the chain is contested.
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
    /// By number.
    pub(super) owners: Blocks<Owner, 256>,
    pub(super) free_owners: Vec<u32>,
    /// By the hashes of their ids.
    numbers: Slots<u32>,
    /// By their ids, those whose hash is another one's: somebody has made them up.
    twins: IndexMap<NodeId, u32, FixedState>,
    /// By their names on the relay.
    pub(super) tags: Slots<u32>,
    pub(super) entries: Blocks<Entry, 2048>,
    pub(super) free: Vec<u32>,
    /// What stands where a registration was.
    pub(super) nothing: Arc<Record>,
    chains: Slots<Chain>,
    order: Order,
    /// The sum of what is shown, each with its owner's life.
    pub(super) hash: u64,
    pub(super) shown: u32,
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
            owners: Blocks::default(),
            free_owners: Vec::new(),
            numbers: Slots::default(),
            twins: IndexMap::default(),
            tags: Slots::default(),
            entries: Blocks::default(),
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
        let owner = self.owner_of(chain.best);
        let is_sure = !chain.is_contested && owner.is_visible() && !owner.is_suspected;
        if is_sure && self.record(chain.best).name() == name {
            return Some(self.service(chain.best));
        }
        let shown = self.same_name(name).filter(|slot| self.is_shown(*slot));
        shown.min_by_key(|slot| self.rank(*slot)).map(|slot| self.service(slot))
    }

    /// Lists the distinct names, in their order.
    pub fn names(&self) -> impl Iterator<Item = Bytes> {
        let is_shown = |record: &&Record| self.same_name(record.name()).next().is_some();
        self.order.starting_at(&[]).filter(is_shown).map(Record::name_bytes)
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
        (0..self.entries.len() as u32).filter(|slot| self.is_shown(*slot)).map(|slot| self.service(slot))
    }

    /// Shows the directory in short.
    pub fn status(&self) -> RegistryStatus {
        RegistryStatus { hash: self.hash, count: self.shown }
    }

    fn own_places(&self) -> &[Place] {
        self.owners.get(OWN as usize).map_or(&[], |own| &own.entries)
    }

    pub(super) fn number(&self, id: &NodeId) -> Option<u32> {
        let number = self.numbers.get(hash_bytes(&id.0)).filter(|number| self.owners[*number].id == *id);
        number.or_else(|| self.twins.get(id).copied())
    }

    /// Finds a new owner by its id from now on.
    pub(super) fn note_number(&mut self, number: u32) {
        let Owner { id, id_hash, .. } = self.owners[number];
        match self.numbers.get(id_hash) {
            None => self.numbers.insert(id_hash, number),
            Some(_) => drop(self.twins.insert(id, number)),
        }
    }

    /// Finds an owner no longer.
    pub(super) fn drop_number(&mut self, number: u32) {
        let Owner { id, id_hash, .. } = self.owners[number];
        match self.numbers.get(id_hash) {
            Some(first) if first == number => self.numbers.remove(id_hash),
            Some(_) | None => drop(self.twins.swap_remove(&id)),
        }
    }

    /// Counts the owners that something is known of.
    pub(super) fn count_owners(&self) -> usize {
        self.numbers.len() + self.twins.len()
    }

    /// Lists the owners that something is known of.
    pub(super) fn known(&self) -> impl Iterator<Item = &Owner> {
        self.owners.iter().filter(|owner| !owner.is_free)
    }

    pub(super) fn owner(&self, id: &NodeId) -> Option<&Owner> {
        self.number(id).map(|number| &self.owners[number])
    }

    #[inline]
    pub(super) fn entry(&self, slot: u32) -> &Entry {
        &self.entries[slot]
    }

    fn owner_of(&self, slot: u32) -> &Owner {
        &self.owners[self.entry(slot).owner]
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

    /// Lists what is listed of a name, visible or not.
    fn listed(&self, name: &[u8]) -> impl Iterator<Item = u32> {
        self.walk(self.head_of(hash_bytes(name))).filter(move |slot| self.record(*slot).name() == name)
    }

    /// Lists the visible services of a name, shown or not.
    pub(super) fn same_name(&self, name: &[u8]) -> impl Iterator<Item = u32> {
        self.listed(name).filter(|slot| self.owner_of(*slot).is_visible())
    }

    /// Tells which visible services of a name are to be shown.
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

    pub(super) fn is_shown(&self, slot: u32) -> bool {
        self.entry(slot).role == Role::Shown && self.owner_of(slot).is_visible()
    }

    /// Tells which of a name's services is told first: this node's own, then what is not suspected, then by a hash that
    /// differs from node to node.
    fn rank(&self, slot: u32) -> (bool, bool, u64, NodeId, u64) {
        let (record, owner) = (self.record(slot), self.owner_of(slot));
        let preference = preference(owner.salt, record);
        (owner.id != self.me, owner.is_suspected, preference, owner.id, record.instance)
    }

    /// Packs what of a rank comes first while nobody is suspected: enough to tell nearly all apart.
    fn rank_head(&self, slot: u32) -> u32 {
        let Entry { owner, preference, .. } = *self.entry(slot);
        u32::from(owner != OWN) << 16 | u32::from(preference)
    }

    /// Tells whether a service is told before the best of a chain, if both are visible and above suspicion.
    fn is_better(&self, slot: u32, rank: u32, chain: &Chain) -> bool {
        let full = |slot: u32| {
            let (_, _, preference, id, instance) = self.rank(slot);
            (preference, id, instance)
        };
        rank < chain.rank || rank == chain.rank && full(slot) < full(chain.best)
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
        if !self.link(slot) {
            return self.show(slot); // the usual case does not walk
        }
        self.note_contest(slot);
        let record = self.record(slot).clone();
        self.settle(record.name());
    }

    /// Lists a registration no longer.
    pub(super) fn unlist(&mut self, slot: u32, loss: Option<ServiceLoss>) {
        if self.entry(slot).role == Role::Shown {
            self.hide(slot, loss);
        }
        if self.unlink(slot) {
            let record = self.record(slot).clone();
            self.settle(record.name());
        }
    }

    /// Notes at every owner of a contested chain that its lease decides who has a name.
    fn note_contest(&mut self, slot: u32) {
        let in_chain: Vec<u32> = self.walk(self.head_of(self.entry(slot).name_hash)).collect();
        for slot in in_chain {
            let owner = self.entry(slot).owner;
            self.owners[owner].has_contests = true;
        }
    }

    /// Changes an owner's lease: what it registered becomes visible, or is so no longer.
    pub(super) fn set_lease(&mut self, number: u32, lease: Option<Incarnation>, loss: ServiceLoss) {
        if self.owners[number].is_visible() {
            self.go(number, loss);
        }
        let owner = &mut self.owners[number];
        (owner.lease, owner.is_suspected) = (lease, false);
        let (has_contests, is_visible) = (owner.has_contests, owner.is_visible());
        let contested = if has_contests { self.contested_of(number, is_visible) } else { Vec::new() };
        if is_visible {
            self.come(number);
        }
        for slot in contested {
            let record = self.record(slot).clone();
            self.settle(record.name());
        }
    }

    /// Counts an owner's set in.
    fn come(&mut self, number: u32) {
        let owner = &self.owners[number];
        self.shown += owner.shown;
        self.hash = self.hash.wrapping_add(owner.shown_sum.wrapping_mul(owner.weight()));
        if self.is_watched {
            let services = self.shown_of(number).into_iter().map(|slot| News::Registered(self.service(slot)));
            let services: Vec<News> = services.collect();
            self.news.extend(services);
        }
    }

    /// Counts an owner's set out.
    fn go(&mut self, number: u32, reason: ServiceLoss) {
        let owner = &self.owners[number];
        self.shown -= owner.shown;
        self.hash = self.hash.wrapping_sub(owner.shown_sum.wrapping_mul(owner.weight()));
        if self.is_watched {
            let down = |slot: u32| News::Down { service: self.service(slot), reason };
            let services: Vec<News> = self.shown_of(number).into_iter().map(down).collect();
            self.news.extend(services);
        }
    }

    /// Tells the slots of what an owner shows while it is visible, in the order of their keys.
    pub(super) fn shown_of(&self, number: u32) -> Vec<u32> {
        let slots = self.owners[number].entries.iter().map(|place| place.slot);
        let mut slots: Vec<u32> = slots.filter(|slot| self.entry(*slot).role == Role::Shown).collect();
        slots.sort_unstable_by(|a, b| self.record(*a).key().cmp(&self.record(*b).key()));
        slots
    }

    /// Lists what an owner registered under contested names. If its set is about to be counted in, nothing of that is shown
    /// before the name is settled, and all else is.
    fn contested_of(&mut self, number: u32, is_coming: bool) -> Vec<u32> {
        let mut contested = Vec::new();
        for at in 0..self.owners[number].entries.len() {
            let slot = self.owners[number].entries[at].slot;
            let Entry { role, name_hash, .. } = *self.entry(slot);
            if role == Role::Refused {
                continue;
            }
            let is_contested = self.chains.get(name_hash).is_some_and(|chain| chain.is_contested);
            if is_contested {
                contested.push(slot);
            }
            if is_coming {
                self.set_role(slot, if is_contested { Role::Hidden } else { Role::Shown });
            }
        }
        contested
    }

    /// Shows what is to be shown of a contested name, and nothing else.
    fn settle(&mut self, name: &[u8]) {
        let contest = self.contest(name);
        let slots: Vec<u32> = self.same_name(name).collect();
        for slot in slots.iter().copied() {
            if self.is_shown(slot) && !contest.shows(slot) {
                self.hide(slot, None);
            }
        }
        for slot in slots {
            if !self.is_shown(slot) && contest.shows(slot) {
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
            self.order.insert(&self.entries[slot].record);
            self.chains.insert(hash, Chain { head: slot, best: slot, rank, is_contested, is_mixed: false });
            return is_contested;
        };
        let is_new = |other: u32| self.record(other).name() != self.record(slot).name();
        chain.is_mixed |= is_new(chain.head);
        if chain.is_mixed && self.walk(chain.head).all(is_new) {
            self.order.insert(&self.entries[slot].record);
        }
        if self.is_better(slot, rank, &chain) {
            (chain.best, chain.rank) = (slot, rank);
        }
        self.entries[chain.head].prev = slot;
        self.entries[slot].next = chain.head;
        chain.head = slot;
        chain.is_contested |= is_contested;
        self.chains.insert(hash, chain);
        chain.is_contested
    }

    /// Takes a registration out of its chain, and tells whether that is contested, or was.
    fn unlink(&mut self, slot: u32) -> bool {
        let entry = &mut self.entries[slot];
        let (hash, is_unique) = (entry.name_hash, entry.is_unique);
        let (next, prev) =
            (core::mem::replace(&mut entry.next, NONE), core::mem::replace(&mut entry.prev, NONE));
        let Some(mut chain) = self.chains.get(hash) else { return false };
        match prev {
            NONE => chain.head = next,
            prev => self.entries[prev].next = next,
        }
        if next != NONE {
            self.entries[next].prev = prev;
        }
        let was_contested = chain.is_contested;
        let is_other = |other: u32| self.record(other).name() != self.record(slot).name();
        if chain.head == NONE || chain.is_mixed && self.walk(chain.head).all(is_other) {
            self.order.remove(&self.entries[slot].record);
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

    /// Moves a registration into another role, and what its owner shows with it.
    fn set_role(&mut self, slot: u32, role: Role) {
        let entry = &mut self.entries[slot];
        let (was_shown, is_shown) = (entry.role == Role::Shown, role == Role::Shown);
        entry.role = role;
        let (hash, owner) = (entry.record.hash(), &mut self.owners[entry.owner]);
        owner.shown = owner.shown + u32::from(is_shown) - u32::from(was_shown);
        let by = hash.wrapping_mul(u64::from(is_shown)).wrapping_sub(hash.wrapping_mul(u64::from(was_shown)));
        owner.shown_sum = owner.shown_sum.wrapping_add(by);
    }

    fn show(&mut self, slot: u32) {
        self.set_role(slot, Role::Shown);
        let owner = self.owner_of(slot);
        if !owner.is_visible() {
            return;
        }
        self.hash = self.hash.wrapping_add(self.record(slot).hash().wrapping_mul(owner.weight()));
        self.shown += 1;
        if self.is_watched {
            self.news.push(News::Registered(self.service(slot)));
        }
    }

    fn hide(&mut self, slot: u32, loss: Option<ServiceLoss>) {
        self.set_role(slot, Role::Hidden);
        let owner = self.owner_of(slot);
        if !owner.is_visible() {
            return;
        }
        self.hash = self.hash.wrapping_sub(self.record(slot).hash().wrapping_mul(owner.weight()));
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
        let entry = &mut self.entries[slot];
        let old = core::mem::replace(&mut entry.record, record.clone());
        if entry.role != Role::Shown {
            return;
        }
        let (by, owner) = (record.hash().wrapping_sub(old.hash()), &mut self.owners[entry.owner]);
        owner.shown_sum = owner.shown_sum.wrapping_add(by);
        if owner.is_visible() {
            self.hash = self.hash.wrapping_add(by.wrapping_mul(owner.weight()));
            self.tell_updated(slot);
        }
    }

    pub(super) fn tell_updated(&mut self, slot: u32) {
        if self.is_watched {
            self.news.push(News::Updated(self.service(slot)));
        }
    }

    /// Asserts that the index and what it indexes agree.
    pub(super) fn audit(&self) {
        assert!(
            self.owners.get(OWN as usize).is_none_or(|own| own.id == self.me),
            "this node is not the first owner"
        );
        let (mut listed, mut shown, mut hash) = (0, 0, 0_u64);
        assert_eq!(
            self.known().count(),
            self.count_owners(),
            "an owner is not found, or one that is unknown"
        );
        for owner in self.known() {
            assert_eq!(self.owner(&owner.id).map(|found| found.id), Some(owner.id), "an owner is not found");
            owner.audit(self);
            let is_listed = |place: &&Place| self.entry(place.slot).role != Role::Refused;
            listed += owner.entries.iter().filter(is_listed).count();
            if owner.is_visible() {
                shown += owner.shown;
                hash = hash.wrapping_add(owner.shown_sum.wrapping_mul(owner.weight()));
            }
        }
        assert_eq!((shown, hash), (self.shown, self.hash), "what is shown is not what was counted");
        let is_tagged =
            |owner: &&Owner| self.tags.get(owner.tag).is_some_and(|it| self.owners[it].id == owner.id);
        assert_eq!(
            self.tags.len(),
            self.known().filter(is_tagged).count(),
            "a name on the relay is nobody's"
        );
        let chained: usize = self.chains.values().map(|chain| self.audit_chain(&chain)).sum();
        assert_eq!(chained, listed, "a service is not listed, or a refused one is");
        self.audit_names();
    }

    /// Asserts that a chain is ranked and shown as it should be, and tells how many services it holds.
    fn audit_chain(&self, chain: &Chain) -> usize {
        let slots = || self.walk(chain.head);
        let rank = |slot: u32| {
            (self.rank_head(slot), self.rank(slot).2, self.owner_of(slot).id, self.record(slot).instance)
        };
        let first = slots().map(rank).min(); // of two names of one hash, one owner has the same instance
        assert_eq!(first, Some(rank(chain.best)), "another service should be told first");
        assert_eq!(self.rank_head(chain.best), chain.rank, "the best one's rank has changed");
        let is_contested = slots().any(|slot| self.entry(slot).is_unique);
        assert_eq!(is_contested, chain.is_contested, "a contest is not what was noted");
        for slot in slots() {
            let (owner, role) = (self.owner_of(slot), self.entry(slot).role);
            assert!(role != Role::Refused, "something is listed that was refused");
            assert!(owner.has_contests || !is_contested, "an owner's lease would settle nothing");
            let is_won = !is_contested || self.contest(self.record(slot).name()).shows(slot);
            assert!(
                !owner.is_visible() || is_won == (role == Role::Shown),
                "what is shown is not what is to be shown"
            );
            assert!(owner.has_contests || role == Role::Shown, "a service of an open name is not shown");
        }
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
            assert!(self.listed(name).next().is_some(), "a name stays in order that is not listed");
            (ordered, last) = (ordered + 1, Some(name));
        }
        assert_eq!(ordered, names.len(), "the order lost a name");
    }
}
