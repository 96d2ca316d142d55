//! What may be looked at in a node: its status, its digest, its invariants.

use super::{Machines, Node};
use crate::app::Reads;
use crate::broadcast::Broadcast;
use crate::hash::Fold;
use crate::id::{MapId, NodeId};
use crate::machine::Machine;
use crate::member::Member;
use crate::observation::Status;
use crate::replica::Replica;
use crate::service::Service;
use crate::time::Instant;
use alloc::vec::Vec;
use bytes::Bytes;

impl Node {
    /// Shows everything that properties may ask about.
    pub fn status(&self) -> Status<'_> {
        let Machines { membership, broadcast, replica, .. } = &self.machines;
        Status {
            id: self.machines.id,
            incarnation: self.incarnation(),
            clock: self.clock.last(),
            active: membership.active().collect(),
            passive: membership.passive().collect(),
            eager: broadcast.iter().flat_map(Broadcast::eager).collect(),
            lazy: broadcast.iter().flat_map(Broadcast::lazy).collect(),
            joined: membership.is_joined(),
            left: membership.has_left(),
            maps: replica.iter().flat_map(Replica::status).collect(),
            stats: &self.stats,
        }
    }

    /// Hashes the state, with all times relative to `now`: equal states at different times hash alike.
    pub fn digest(&self, now: Instant) -> u64 {
        let mut fold = Fold::default();
        let Machines { marks, links, membership, broadcast, replica, .. } = &self.machines;
        marks.digest(&mut fold);
        links.digest(now, &mut fold);
        membership.digest(now, &mut fold);
        broadcast.iter().for_each(|broadcast| broadcast.digest(now, &mut fold));
        replica.iter().for_each(|replica| replica.digest(now, &mut fold));
        fold.word(self.rng.drawn());
        fold.word(self.clock.last().0);
        fold.finish()
    }

    /// Asserts the invariants of every machine, and those between them, that cost no more than a view to check.
    pub fn check(&self) {
        self.machines.check();
    }

    /// Asserts every invariant of every machine, also those over whole tables.
    pub fn audit(&self) {
        let Machines { links, membership, broadcast, replica, .. } = &self.machines;
        self.check();
        links.audit();
        membership.audit();
        broadcast.iter().for_each(Machine::audit);
        replica.iter().for_each(Machine::audit);
    }
}

/// What applications and lookups read. Machines that are off know nothing.
impl Reads for Node {
    fn services(&self, _name: &[u8]) -> Vec<Service> {
        Vec::new()
    }

    fn whereis(&self, _name: &[u8]) -> Option<Service> {
        None
    }

    fn members(&self) -> Vec<Member> {
        Vec::new()
    }

    fn owners(&self, _key: &[u8], _count: usize) -> Vec<NodeId> {
        Vec::new()
    }

    fn get(&self, map: MapId, key: &[u8]) -> Option<Bytes> {
        self.map(map)?.get(key)
    }
}

impl Machines {
    fn check(&self) {
        let Self { marks, links, membership, broadcast, replica, .. } = self;
        marks.check();
        links.check();
        membership.check();
        broadcast.iter().for_each(Machine::check);
        replica.iter().for_each(Machine::check);
        if let Some(broadcast) = broadcast {
            let neighbors = broadcast.eager().chain(broadcast.lazy());
            assert_eq!(neighbors.count(), membership.active().count(), "broadcast knows other neighbours");
        }
    }
}
