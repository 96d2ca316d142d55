//! What is read without asking the node: tables that the driver writes and every handle shares.
//!
//! A read takes no lock and waits for nobody. The core's own tables are trees that only their owner may touch, and a copy
//! of a whole one for each write would cost a millisecond; so each change is told to a second table, which concurrent
//! readers share. Keys and values are shared, not copied. Beside it stands an ordered one, for those who list: each sees it as
//! it was between two steps of the node, however long it looks.
//!
//! Everything of one input is written before its answer is told: who has put a key reads it.

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use papaya::HashMap;
use rpds::RedBlackTreeMapSync;
use rumormill_core::{Event, MapId, Member, MemberState, News, Node, NodeId, Ring, Service, Stamp, Token};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

/// Keys in the order of their bytes. A clone shares what has not changed since: who reads keeps a whole one for nothing.
pub(crate) type Ordered<V> = RedBlackTreeMapSync<Bytes, V>;

/// The visible entries of one map.
#[derive(Default)]
pub(crate) struct Copy {
    /// For who looks for one key.
    pub(crate) keys: HashMap<Bytes, Bytes>,
    /// For who lists them.
    ordered: ArcSwap<Ordered<Bytes>>,
}

impl Copy {
    /// Shows every entry in the order of keys, as they are between two steps of the node.
    pub(crate) fn snapshot(&self) -> Arc<Ordered<Bytes>> {
        self.ordered.load_full()
    }
}

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
    /// The same in the order of names.
    listed: ArcSwap<Ordered<Arc<Named>>>,
    ring: ArcSwapOption<Ring>,
    owned: ArcSwap<BTreeMap<u32, Stamp>>,
    /// Whether somebody has died since the node was last joined by anybody.
    has_seen_death: AtomicBool,
    /// Whether the node is a member with nobody else, and not because all others have left.
    has_lost_everybody: AtomicBool,
}

/// The watches that a driver begins for what it publishes.
#[derive(Clone, Copy, Default)]
pub(crate) struct Watches {
    pub(crate) services: Option<Token>,
    pub(crate) partitions: Option<Token>,
    pub(crate) members: Option<Token>,
}

impl Watches {
    /// Tells whether a watch is one of these: its news are for nobody else.
    pub(crate) fn holds(&self, watch: Token) -> bool {
        [self.services, self.partitions, self.members].contains(&Some(watch))
    }
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

    /// Lists the services whose names begin so, in the order of names.
    pub(crate) fn list(&self, prefix: &[u8]) -> Vec<Service> {
        let listed = self.listed.load_full();
        let from = listed.range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded));
        let meant = from.take_while(|(name, _)| name.starts_with(prefix));
        meant.flat_map(|(_, named)| named.all.iter().cloned()).collect()
    }

    /// Shows what the node owns, and was told so.
    pub(crate) fn owned(&self) -> Arc<BTreeMap<u32, Stamp>> {
        self.owned.load_full()
    }

    /// Tells where a name is.
    pub(crate) fn whereis(&self, name: &[u8]) -> Option<Service> {
        self.services.pin().get(name)?.first.clone()
    }

    /// Tells whether no other member is left, of whom not all have left by themselves.
    pub(crate) fn has_lost_everybody(&self) -> bool {
        self.has_lost_everybody.load(Relaxed)
    }

    /// Looks at the ring, where there is one.
    pub(crate) fn ring<T>(&self, look: impl FnOnce(&Ring) -> T) -> Option<T> {
        self.ring.load().as_deref().map(look)
    }
}

/// Writing: for the driver alone.
impl Published {
    /// Writes down what the events of one step change; `watches` are those that the driver began.
    pub(crate) fn note(&self, events: &[Event], node: &Node, watches: Watches) {
        let mut listed: Option<(MapId, Arc<Copy>, Ordered<Bytes>)> = None;
        for event in events {
            match event {
                Event::MapChanged { map, key, new, .. } => {
                    if listed.as_ref().is_none_or(|(of, ..)| of != map) {
                        listed.take().into_iter().for_each(store);
                        let copy = self.map(*map);
                        listed = Some((*map, copy.clone(), (*copy.snapshot()).clone()));
                    }
                    let Some((_, copy, ordered)) = &mut listed else { continue };
                    match new {
                        Some(value) => {
                            copy.keys.pin().insert(key.clone(), value.clone());
                            ordered.insert_mut(key.clone(), value.clone());
                        }
                        None => {
                            copy.keys.pin().remove(key);
                            ordered.remove_mut(key);
                        }
                    }
                }
                Event::Watched { watch, news } if Some(*watch) == watches.services => {
                    self.note_services(news, node);
                }
                Event::Watched { watch, news: News::Member { member, was } }
                    if Some(*watch) == watches.members =>
                {
                    self.note_member(member, *was, node);
                }
                _ => {}
            }
        }
        listed.into_iter().for_each(store);
        let is_of_partitions = |event: &Event| matches!(event, Event::Watched { watch, .. } if Some(*watch) == watches.partitions);
        if events.iter().any(is_of_partitions) {
            self.owned.store(Arc::new(node.owned().collect()));
        }
    }

    /// Looks whether anybody else is left, where somebody has come or gone.
    fn note_member(&self, member: &Member, was: Option<MemberState>, node: &Node) {
        let Some(members) = node.members().filter(|_| was != Some(member.state)) else { return };
        let own = node.contact().id();
        let has_company = members.iter().any(|it| it.id() != own);
        let is_member = members.get(&own).is_some_and(|me| me.state.is_present());
        let comes = member.state.is_present() && !was.is_some_and(MemberState::is_present);
        let has_seen_death = member.state == MemberState::Dead || !comes && self.has_seen_death.load(Relaxed);
        self.has_seen_death.store(has_seen_death, Relaxed);
        self.has_lost_everybody.store(is_member && !has_company && has_seen_death, Relaxed);
    }

    /// News only tell which names have changed: what they are now is the directory's to say.
    fn note_services(&self, news: &News, node: &Node) {
        let Some(registry) = node.registry() else { return };
        let told = if let News::Services(all) = news { &all[..] } else { &[] };
        let changed = told.iter().chain(news.service()).map(|service| &service.name);
        let mut listed = (*self.listed.load_full()).clone();
        for name in changed.collect::<BTreeSet<_>>() {
            let all: Vec<Service> = registry.lookup(name).collect();
            if all.is_empty() {
                self.services.pin().remove(name);
                listed.remove_mut(name);
            } else {
                let named = Arc::new(Named { all, first: registry.whereis(name) });
                self.services.pin().insert(name.clone(), named.clone());
                listed.insert_mut(name.clone(), named);
            }
        }
        self.listed.store(Arc::new(listed));
    }

    /// Writes down the ring, where it has changed.
    pub(crate) fn note_ring(&self, node: &Node) {
        let Some(ring) = node.placement().map(|placement| placement.ring()) else { return };
        if self.ring.load().as_ref().is_none_or(|known| known.revision() != ring.revision()) {
            self.ring.store(Some(Arc::new(ring.clone())));
        }
    }
}

/// Shows a map to those who list it.
fn store((_, copy, ordered): (MapId, Arc<Copy>, Ordered<Bytes>)) {
    copy.ordered.store(Arc::new(ordered));
}
