//! The value that users read: which services there are, by name.
//!
//! What an owner registered is its *set*; what is *listed* here are the sets of owners whose lease lives in the
//! incarnation that wrote them; what is *shown* leaves out those that lost a unique name. Sets come and go by `sets`.
//!
//! A name is found by its hash; its services form a chain, and the one that `whereis` tells is kept beside it. So a
//! point read costs the same with a hundred services and with a hundred thousand. Names are ordered apart, by slot.

use super::order::Order;
use super::owner::Owner;
use super::update::Record;
use crate::hash::{FixedState, Fold, hash_bytes, mix};
use crate::hlc::Stamp;
use crate::id::{MailboxId, NodeId};
use crate::machine::{News, ServiceLoss};
use crate::observation::RegistryStatus;
use crate::service::Service;
use crate::slots::Slots;
use alloc::vec::Vec;
use bytes::Bytes;
use indexmap::IndexMap;

/// No slot.
pub(super) const NONE: u32 = u32::MAX;

/// What a registration is in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The schema refused it: kept and handed on, never listed.
    Refused,
    /// Not the one that stands for its name.
    Usual,
    /// The one that stands for its name in the order of names.
    First,
}

/// One registration: its record flat, so that it takes 72 bytes, and its place.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) body: Bytes,
    pub(super) instance: u64,
    pub(super) mailbox: MailboxId,
    pub(super) registered_at: Stamp,
    pub(super) owner: u32,
    next: u32,
    prev: u32,
    pub(super) name_len: u16,
    pub(super) is_unique: bool,
    pub(super) role: Role,
}

impl Entry {
    pub(super) fn new(record: Record, owner: u32, role: Role) -> Self {
        let Record { body, name_len, instance, mailbox, registered_at, is_unique } = record;
        let (next, prev) = (NONE, NONE);
        Self { body, instance, mailbox, registered_at, owner, next, prev, name_len, is_unique, role }
    }

    pub(super) fn name(&self) -> &[u8] {
        &self.body[..usize::from(self.name_len)]
    }

    pub(super) fn key(&self) -> (&[u8], u64) {
        (self.name(), self.instance)
    }

    pub(super) fn record(&self) -> Record {
        let Self { body, name_len, instance, mailbox, registered_at, is_unique, .. } = self;
        let (name_len, instance, mailbox) = (*name_len, *instance, *mailbox);
        let (registered_at, is_unique) = (*registered_at, *is_unique);
        Record { body: body.clone(), name_len, instance, mailbox, registered_at, is_unique }
    }

    /// Hashes what the owner wrote.
    pub(super) fn hash(&self) -> u64 {
        let mut fold = Fold::starting_at(hash_bytes(&self.body));
        fold.pair(self.instance, self.mailbox.0);
        fold.pair(self.registered_at.0, u64::from(self.name_len) << 1 | u64::from(self.is_unique));
        fold.finish()
    }
}

/// The listed services whose names have one hash: nearly always those of one name.
#[derive(Clone, Copy, Debug, Default)]
struct Chain {
    head: u32,
    /// The one to tell where the name is, unless the chain is contested.
    best: u32,
    /// Whether some name in it is unique: then every answer is looked up by walking.
    is_contested: bool,
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
        let contest = self.contest(name);
        self.same_name(name).filter(move |slot| contest.shows(*slot)).map(|slot| self.service(slot))
    }

    /// Lists this node's own services of a name, by instance.
    pub fn lookup_local(&self, name: &[u8]) -> impl Iterator<Item = Service> {
        let own = self.own_slots();
        let first = own.partition_point(|slot| self.entry(*slot).name() < name);
        let named = own[first..].iter().take_while(move |slot| self.entry(**slot).name() == name);
        named.filter(|slot| self.is_shown(**slot)).map(|slot| self.service(*slot))
    }

    /// Tells where a name is: this node's own service first, else the same one of the others for as long as the
    /// candidates stay, and none that is suspected while another is not. Different nodes choose differently.
    pub fn whereis(&self, name: &[u8]) -> Option<Service> {
        let chain = self.chains.get(hash_bytes(name))?;
        if !chain.is_contested && self.entry(chain.best).name() == name {
            return Some(self.service(chain.best));
        }
        let contest = self.contest(name);
        let shown = self.same_name(name).filter(|slot| contest.shows(*slot));
        shown.min_by_key(|slot| self.rank(*slot)).map(|slot| self.service(slot))
    }

    /// Lists the distinct names, in their order.
    pub fn names(&self) -> impl Iterator<Item = Bytes> {
        self.order.starting_at(&[], |slot| self.entry(slot).name()).map(|slot| self.name(slot))
    }

    /// Lists the services whose names begin so, in the order of names.
    pub fn prefix<'a>(&'a self, prefix: &'a [u8]) -> impl Iterator<Item = Service> {
        let from = self.order.starting_at(prefix, |slot| self.entry(slot).name());
        let named = from.map(|slot| self.entry(slot).name()).take_while(move |name| name.starts_with(prefix));
        named.flat_map(|name| self.lookup(name))
    }

    /// Lists this node's own services, by name and instance.
    pub fn local(&self) -> impl Iterator<Item = Service> {
        self.own_slots().iter().filter(|slot| self.is_shown(**slot)).map(|slot| self.service(*slot))
    }

    /// Shows the directory in short.
    pub fn status(&self) -> RegistryStatus {
        RegistryStatus { hash: self.hash, count: self.shown }
    }

    fn own_slots(&self) -> &[u32] {
        self.number(&self.me).map_or(&[], |number| &self.owners[number as usize].entries)
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

    fn name(&self, slot: u32) -> Bytes {
        let entry = self.entry(slot);
        entry.body.slice(..usize::from(entry.name_len))
    }

    pub(super) fn service(&self, slot: u32) -> Service {
        let (entry, owner) = (self.entry(slot), self.owner_of(slot));
        Service {
            name: self.name(slot),
            owner: owner.id,
            incarnation: owner.incarnation,
            instance: entry.instance,
            mailbox: entry.mailbox,
            meta: entry.body.slice(usize::from(entry.name_len)..),
            registered_at: entry.registered_at,
            is_unique: entry.is_unique,
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

    /// Lists the listed services of a name, shown or not.
    pub(super) fn same_name(&self, name: &[u8]) -> impl Iterator<Item = u32> {
        let head = self.chains.get(hash_bytes(name)).map_or(NONE, |chain| chain.head);
        self.walk(head).filter(move |slot| self.entry(*slot).name() == name)
    }

    fn contest(&self, name: &[u8]) -> Contest {
        let chain = self.chains.get(hash_bytes(name)).filter(|chain| chain.is_contested);
        if chain.is_none() || !self.same_name(name).any(|slot| self.entry(slot).is_unique) {
            return Contest::Open;
        }
        let age = |slot: &u32| {
            (self.entry(*slot).registered_at, self.owner_of(*slot).id, self.entry(*slot).instance)
        };
        self.same_name(name).min_by_key(age).map_or(Contest::Open, Contest::Won)
    }

    fn is_listed(&self, slot: u32) -> bool {
        self.entry(slot).role != Role::Refused && self.owner_of(slot).is_visible()
    }

    pub(super) fn is_shown(&self, slot: u32) -> bool {
        self.is_listed(slot) && self.contest(self.entry(slot).name()).shows(slot)
    }

    /// Tells which of a name's services is told first: this node's own, then what is not suspected, then by a hash that
    /// differs from node to node.
    fn rank(&self, slot: u32) -> (bool, bool, u64, NodeId, u64) {
        let (entry, owner) = (self.entry(slot), self.owner_of(slot));
        let preference = mix(owner.salt ^ entry.instance);
        (owner.id != self.me, owner.is_suspected, preference, owner.id, entry.instance)
    }

    /// Lists a registration that was not listed.
    pub(super) fn list(&mut self, slot: u32) {
        let name = self.name(slot);
        let before = self.contest(&name);
        self.link(slot, &name);
        self.diff(&name, before, Some(slot));
    }

    /// Lists a registration no longer.
    pub(super) fn unlist(&mut self, slot: u32, loss: Option<ServiceLoss>) {
        let name = self.name(slot);
        let before = self.contest(&name);
        if before.shows(slot) {
            self.hide(slot, loss);
        }
        self.unlink(slot, &name);
        self.diff(&name, before, None);
    }

    /// Tells what listing or unlisting one service has changed in what is shown of its name.
    fn diff(&mut self, name: &Bytes, before: Contest, new: Option<u32>) {
        let after = self.contest(name);
        if before == Contest::Open && after == Contest::Open {
            return new.into_iter().for_each(|slot| self.show(slot)); // the usual case does not walk
        }
        let slots: Vec<u32> = self.same_name(name).collect();
        let was_shown = |slot: u32| Some(slot) != new && before.shows(slot);
        for slot in slots.iter().copied().filter(|slot| was_shown(*slot) && !after.shows(*slot)) {
            self.hide(slot, None);
        }
        for slot in slots {
            if !was_shown(slot) && after.shows(slot) {
                self.show(slot);
            }
            self.note_loss(slot, after);
        }
    }

    /// Notes that one of this node's own registrations has lost its name.
    fn note_loss(&mut self, slot: u32, contest: Contest) {
        if let Contest::Won(winner) = contest
            && winner != slot
            && self.owner_of(slot).id == self.me
        {
            let (name, instance) = (self.name(slot), self.entry(slot).instance);
            self.lost.push(Lost { name, instance, to: self.owner_of(winner).id });
        }
    }

    fn link(&mut self, slot: u32, name: &Bytes) {
        let hash = hash_bytes(name);
        let is_unique = self.entry(slot).is_unique;
        let Some(chain) = self.chains.get(hash) else {
            self.chains.insert(hash, Chain { head: slot, best: slot, is_contested: is_unique });
            return self.stand_first(slot, name);
        };
        if !self.walk(chain.head).any(|other| self.entry(other).name() == &name[..]) {
            self.stand_first(slot, name);
        }
        self.entries[chain.head as usize].prev = slot;
        self.entries[slot as usize].next = chain.head;
        let best = if self.rank(slot) < self.rank(chain.best) { slot } else { chain.best };
        let is_contested = chain.is_contested || is_unique;
        self.chains.insert(hash, Chain { head: slot, best, is_contested });
    }

    fn stand_first(&mut self, slot: u32, name: &[u8]) {
        let entries = &self.entries;
        self.order.insert(slot, name, |other| entries[other as usize].name());
        self.entries[slot as usize].role = Role::First;
    }

    fn unlink(&mut self, slot: u32, name: &Bytes) {
        let hash = hash_bytes(name);
        let Entry { next, prev, role, is_unique, .. } = *self.entry(slot);
        let Some(mut chain) = self.chains.get(hash) else { return };
        match prev {
            NONE => chain.head = next,
            prev => self.entries[prev as usize].next = next,
        }
        if next != NONE {
            self.entries[next as usize].prev = prev;
        }
        if role == Role::First {
            let heir = self.walk(chain.head).find(|other| self.entry(*other).name() == &name[..]);
            let entries = &self.entries;
            self.order.replace(name, heir, |other| entries[other as usize].name());
            heir.into_iter().for_each(|heir| self.entries[heir as usize].role = Role::First);
        }
        let entry = &mut self.entries[slot as usize];
        (entry.next, entry.prev, entry.role) = (NONE, NONE, Role::Usual);
        if chain.head == NONE {
            self.chains.remove(hash);
            return;
        }
        if chain.best == slot {
            chain.best = self.walk(chain.head).min_by_key(|other| self.rank(*other)).unwrap_or(chain.head);
        }
        chain.is_contested &= !is_unique || self.walk(chain.head).any(|other| self.entry(other).is_unique);
        self.chains.insert(hash, chain);
    }

    fn shown_hash(&self, slot: u32) -> u64 {
        let owner = self.owner_of(slot);
        mix(self.entry(slot).hash() ^ owner.id_hash ^ mix(owner.incarnation.0))
    }

    fn show(&mut self, slot: u32) {
        self.hash = self.hash.wrapping_add(self.shown_hash(slot));
        self.shown += 1;
        if self.is_watched {
            self.news.push(News::Registered(self.service(slot)));
        }
    }

    fn hide(&mut self, slot: u32, loss: Option<ServiceLoss>) {
        self.hash = self.hash.wrapping_sub(self.shown_hash(slot));
        self.shown -= 1;
        if self.is_watched {
            let service = self.service(slot);
            self.news.push(match loss {
                Some(reason) => News::Down { service, reason },
                None => News::Unregistered(service),
            });
        }
    }

    /// Gives a listed registration new contents under its old key, age and uniqueness.
    pub(super) fn rewrite(&mut self, slot: u32, record: Record) {
        let is_shown = self.is_shown(slot);
        let before = self.shown_hash(slot);
        let entry = &mut self.entries[slot as usize];
        (entry.body, entry.mailbox) = (record.body, record.mailbox);
        if is_shown {
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
        let hash = hash_bytes(self.entry(slot).name());
        let Some(mut chain) = self.chains.get(hash) else { return };
        if chain.best == slot {
            chain.best = self.walk(chain.head).min_by_key(|other| self.rank(*other)).unwrap_or(chain.head);
        } else if self.rank(slot) < self.rank(chain.best) {
            chain.best = slot;
        }
        self.chains.insert(hash, chain);
    }

    /// Asserts that the index and what it indexes agree.
    pub(super) fn audit(&self) {
        let (mut listed, mut shown, mut hash) = (0, 0, 0_u64);
        for number in self.numbers.values() {
            let owner = &self.owners[*number as usize];
            owner.audit(self);
            for slot in owner.entries.iter().filter(|slot| self.is_listed(**slot)) {
                listed += 1;
                let is_found = self.same_name(self.entry(*slot).name()).any(|found| found == *slot);
                assert!(is_found, "a visible service is not listed");
                if self.is_shown(*slot) {
                    shown += 1;
                    hash = hash.wrapping_add(self.shown_hash(*slot));
                }
            }
        }
        assert_eq!((shown, hash), (self.shown, self.hash), "what is shown is not what was counted");
        let chained: usize = self.chains.values().map(|chain| self.walk(chain.head).count()).sum();
        assert_eq!(chained, listed, "something is listed that is not visible");
        self.audit_names();
    }

    fn audit_names(&self) {
        let names: Vec<Bytes> = self.names().collect();
        assert!(names.is_sorted_by(|a, b| a < b), "names are out of order");
        assert_eq!(names.len(), self.order.len(), "the order lost a name");
        for chain in self.chains.values() {
            let best = self.walk(chain.head).min_by_key(|slot| self.rank(*slot));
            assert_eq!(best, Some(chain.best), "another service should be told first");
            let is_contested = self.walk(chain.head).any(|slot| self.entry(slot).is_unique);
            assert_eq!(is_contested, chain.is_contested, "a contest is not what was noted");
        }
        let firsts = |slot: &u32| self.entry(*slot).role == Role::First;
        let firsts = self.chains.values().flat_map(|chain| self.walk(chain.head)).filter(firsts).count();
        assert_eq!(firsts, names.len(), "not one service stands for each name");
    }
}
