//! What is read without asking the node: tables that the driver writes and every handle shares.
//!
//! A read takes no lock and waits for nobody. The core's own tables are trees that only their owner may touch, and a copy
//! of a whole one for each write would cost a millisecond; so each change is told to a second table, which concurrent
//! readers share. Keys and values are shared, not copied.
//!
//! Everything of one input is written before its answer is told: who has put a key reads it.

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use papaya::HashMap;
use rumormill_core::{Event, MapId, News, Node, NodeId, Ring, Service, Token};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

/// The visible entries of one map.
pub(crate) type Copy = HashMap<Bytes, Bytes>;

/// The services of one name.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    /// All of them.
    all: Vec<Service>,
    /// The one to tell where the name is.
    first: Option<Service>,
}

/// Everything that is read so. Of a node that has ended it tells what was last known.
#[derive(Default)]
pub(crate) struct Published {
    /// The lock is for those who begin with a map; a handle keeps its own.
    maps: Mutex<BTreeMap<MapId, Arc<Copy>>>,
    services: HashMap<Bytes, Arc<Named>>,
    ring: ArcSwapOption<Ring>,
}

/// Reading.
impl Published {
    /// Shows the copy of a map.
    pub(crate) fn map(&self, map: MapId) -> Arc<Copy> {
        let mut maps = self.maps.lock().unwrap_or_else(PoisonError::into_inner);
        maps.entry(map).or_default().clone()
    }

    /// Lists the services of a name.
    pub(crate) fn lookup(&self, name: &[u8]) -> Vec<Service> {
        self.services.pin().get(name).map_or_else(Vec::new, |named| named.all.clone())
    }

    /// Lists a node's own services of a name, by instance.
    pub(crate) fn lookup_of(&self, name: &[u8], owner: &NodeId) -> Vec<Service> {
        let of = |named: &Arc<Named>| named.all.iter().filter(|it| it.owner == *owner).cloned().collect();
        let mut own: Vec<Service> = self.services.pin().get(name).map_or_else(Vec::new, of);
        own.sort_by_key(|service| service.instance);
        own
    }

    /// Tells where a name is.
    pub(crate) fn whereis(&self, name: &[u8]) -> Option<Service> {
        self.services.pin().get(name)?.first.clone()
    }

    /// Looks at the ring, where there is one.
    pub(crate) fn ring<T>(&self, look: impl FnOnce(&Ring) -> T) -> Option<T> {
        self.ring.load().as_deref().map(look)
    }
}

/// Writing: for the driver alone.
impl Published {
    /// Writes down what an event changes; `services` is the watch that the driver began.
    pub(crate) fn note(&self, event: &Event, node: &Node, services: Option<Token>) {
        match event {
            Event::MapChanged { map, key, new, .. } => {
                let copy = self.map(*map);
                match new {
                    Some(value) => drop(copy.pin().insert(key.clone(), value.clone())),
                    None => drop(copy.pin().remove(key)),
                }
            }
            Event::Watched { watch, news } if Some(*watch) == services => self.note_services(news, node),
            _ => {}
        }
    }

    /// News only tell which names have changed: what they are now is the directory's to say.
    fn note_services(&self, news: &News, node: &Node) {
        let Some(registry) = node.registry() else { return };
        let listed = if let News::Services(all) = news { &all[..] } else { &[] };
        let changed = listed.iter().chain(news.service()).map(|service| &service.name);
        for name in changed.collect::<BTreeSet<_>>() {
            let all: Vec<Service> = registry.lookup(name).collect();
            if all.is_empty() {
                self.services.pin().remove(name);
            } else {
                let first = registry.whereis(name);
                self.services.pin().insert(name.clone(), Arc::new(Named { all, first }));
            }
        }
    }

    /// Writes down the ring, where it has changed.
    pub(crate) fn note_ring(&self, node: &Node) {
        let Some(ring) = node.placement().map(|placement| placement.ring()) else { return };
        if self.ring.load().as_ref().is_none_or(|known| known.revision() != ring.revision()) {
            self.ring.store(Some(Arc::new(ring.clone())));
        }
    }
}
