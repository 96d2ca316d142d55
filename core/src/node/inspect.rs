//! What may be looked at in a node: its status, its digest, its invariants.

use super::{Machines, Node};
use crate::app::Reads;
use crate::broadcast::Broadcast;
use crate::hash::Fold;
use crate::id::{MapId, NodeId};
use crate::machine::Machine;
use crate::member::Member;
use crate::members::Members;
use crate::observation::Status;
use crate::placement::Placement;
use crate::replica::Replica;
use crate::service::Service;
use crate::time::Instant;
use alloc::vec::Vec;
use bytes::Bytes;

impl Node {
    /// Shows everything that properties may ask about.
    pub fn status(&self) -> Status<'_> {
        let Machines { membership, broadcast, replica, members, placement, registry, .. } = &self.machines;
        Status {
            id: self.machines.id,
            incarnation: self.incarnation(),
            clock: self.clock.last(),
            active: membership.active().collect(),
            passive: membership.passive().collect(),
            eager: broadcast.as_deref().into_iter().flat_map(Broadcast::eager).collect(),
            lazy: broadcast.as_deref().into_iter().flat_map(Broadcast::lazy).collect(),
            joined: membership.is_joined(),
            left: membership.has_left(),
            maps: replica.as_deref().into_iter().flat_map(Replica::status).collect(),
            members: members.as_deref().map(Members::status),
            owned: placement.as_deref().into_iter().flat_map(Placement::owned).collect(),
            registry: registry.as_ref().map(|it| it.registry().status()),
            stats: &self.stats,
        }
    }

    /// Hashes the state, with all times relative to `now`: equal states at different times hash alike.
    pub fn digest(&self, now: Instant) -> u64 {
        let mut fold = Fold::default();
        let it = &self.machines;
        it.marks.digest(&mut fold);
        it.links.digest(now, &mut fold);
        it.membership.digest(now, &mut fold);
        it.broadcast.iter().for_each(|broadcast| broadcast.digest(now, &mut fold));
        it.replica.iter().for_each(|replica| replica.digest(now, &mut fold));
        it.members.iter().for_each(|members| members.digest(now, &mut fold));
        it.placement.iter().for_each(|placement| placement.digest(now, &mut fold));
        it.registry.iter().for_each(|registry| registry.digest(now, &mut fold));
        it.watches.digest(&mut fold);
        it.mailboxes.iter().for_each(|mailboxes| mailboxes.digest(now, &mut fold));
        fold.word(self.rng.drawn());
        fold.word(self.clock.last().0);
        fold.finish()
    }

    /// Asserts those invariants of the machines that the last input reached, and between them, that cost no more than a
    /// view to check.
    pub fn check(&self) {
        self.machines.check();
    }

    /// Asserts every invariant of every machine, also those over whole tables.
    pub fn audit(&self) {
        self.check();
        let it = &self.machines;
        it.links.audit();
        it.membership.audit();
        it.broadcast.iter().for_each(Machine::audit);
        it.broadcast.iter().for_each(|broadcast| it.check_neighbors(broadcast));
        it.replica.iter().for_each(Machine::audit);
        it.members.iter().for_each(Machine::audit);
        it.placement.iter().for_each(Machine::audit);
        it.registry.iter().for_each(Machine::audit);
        it.mailboxes.iter().for_each(Machine::audit);
        if it.marks.is_started() {
            assert_eq!(it.poll_timeout(), it.earliest(), "a machine would not be woken in time");
        }
    }
}

/// What applications and lookups read. Machines that are off know nothing.
impl Reads for Node {
    fn services(&self, name: &[u8]) -> Vec<Service> {
        self.registry().map_or(Vec::new(), |registry| registry.lookup(name).collect())
    }

    fn whereis(&self, name: &[u8]) -> Option<Service> {
        self.registry()?.whereis(name)
    }

    fn members(&self) -> Vec<Member> {
        Node::members(self).map_or(Vec::new(), |members| members.iter().collect())
    }

    fn owners(&self, key: &[u8], count: usize) -> Vec<NodeId> {
        Node::owners(self, key, count)
    }

    fn get(&self, map: MapId, key: &[u8]) -> Option<Bytes> {
        self.map(map)?.get(key)
    }
}

impl Machines {
    fn check(&self) {
        self.marks.check();
        self.links.check();
        self.membership.check();
        self.broadcast.iter().for_each(Machine::check);
        self.replica.iter().for_each(Machine::check);
        self.members.iter().for_each(Machine::check);
        self.placement.iter().for_each(Machine::check);
        self.registry.iter().for_each(Machine::check);
        self.watches.check();
        self.mailboxes.iter().for_each(Machine::check);
        self.broadcast
            .iter()
            .filter(|broadcast| broadcast.is_awake())
            .for_each(|it| self.check_neighbors(it));
    }

    fn earliest(&self) -> Option<Instant> {
        let lower = [self.links.poll_timeout(), self.membership.poll_timeout()];
        let broadcast = self.broadcast.as_ref().and_then(Machine::poll_timeout);
        let replica = self.replica.as_ref().and_then(Machine::poll_timeout);
        let members = self.members.as_ref().and_then(Machine::poll_timeout);
        let registry = self.registry.as_ref().and_then(Machine::poll_timeout);
        let mailboxes = self.mailboxes.as_ref().and_then(Machine::poll_timeout);
        lower.into_iter().chain([broadcast, replica, members, registry, mailboxes]).flatten().min()
    }

    fn check_neighbors(&self, broadcast: &Broadcast) {
        let neighbors = broadcast.eager().chain(broadcast.lazy());
        assert_eq!(neighbors.count(), self.membership.active().count(), "broadcast knows other neighbours");
    }
}
