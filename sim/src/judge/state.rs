//! What is known of replicated maps, folded from writes and change events.

use bytes::Bytes;
use rumormill_core::{
    Command, Event, MapId, NodeId, Observation, Observed, Reply, Stamp, Token, Version, hash,
};
use std::collections::BTreeMap;

/// One acknowledged write.
#[derive(Clone, Debug)]
struct Write {
    version: Version,
    value: Option<Bytes>,
    /// Who wrote it, by number.
    by: u32,
    at: u64,
    /// A node other than the writer that has shown it.
    seen_by: Option<u32>,
}

/// What one node shows of one key, as its change events tell it, in hashes: thousands of nodes show thousands of keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Shown {
    /// The version's stamp, then the first bytes of its writer: ordered as versions are. Zero: never changed.
    version: (u64, u64),
    /// The hash of the value; zero when there is none.
    value: u64,
}

fn ordered(version: Version) -> (u64, u64) {
    let mut writer = [0; 8];
    writer.copy_from_slice(&version.writer.node.0[..8]);
    (version.stamp.0, u64::from_be_bytes(writer))
}

fn value_hash(value: Option<&Bytes>) -> u64 {
    value.map_or(0, |value| hash::hash_bytes(value) | 1)
}

/// All maps of all nodes.
#[derive(Clone, Debug, Default)]
pub struct State {
    asked: BTreeMap<Token, (u64, MapId, Bytes, Option<Bytes>)>,
    /// The acknowledged writes of each key that may still be the latest.
    writes: Vec<Vec<Write>>,
    /// The number of each key.
    keys: BTreeMap<(MapId, Bytes), u32>,
    /// What each node shows of each key.
    views: Vec<Vec<Shown>>,
    stopped_at: Vec<Option<u64>>,
    /// Acknowledged writes.
    pub acknowledged: u64,
    /// Refused writes.
    pub refused: u64,
    /// Stamps refused for being too far ahead.
    pub clock_refusals: u64,
    /// The last stamp that each node acknowledged, over all its lives.
    last_stamp: BTreeMap<NodeId, Stamp>,
    event_fault: Option<(u64, u32, String)>,
    clock_fault: Option<(u64, u32, String)>,
}

/// How the replicas stand at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exactness {
    /// Keys of the map written.
    pub keys: u64,
    /// The first key on which a node shows something else than the latest write, in words.
    pub fault: Option<(u32, String)>,
}

impl State {
    /// Starts for a number of nodes.
    pub fn new(nodes: u32) -> Self {
        let nodes = nodes as usize;
        Self { views: vec![Vec::new(); nodes], stopped_at: vec![None; nodes], ..Self::default() }
    }

    /// Tells the first change event that contradicts those before it.
    pub fn event_fault(&self) -> Option<&(u64, u32, String)> {
        self.event_fault.as_ref()
    }

    /// Tells the first stamp that did not rise.
    pub fn clock_fault(&self) -> Option<&(u64, u32, String)> {
        self.clock_fault.as_ref()
    }

    /// Counts the distinct keys written so far.
    pub fn keys(&self) -> u64 {
        self.keys.len() as u64
    }

    /// Tells whether anything was ever written to a map.
    pub(super) fn is_written(&self, map: MapId) -> bool {
        self.keys_of(map).next().is_some()
    }

    fn key_number(&mut self, map: MapId, key: &Bytes) -> usize {
        let next = self.keys.len() as u32;
        let number = *self.keys.entry((map, key.clone())).or_insert(next) as usize;
        if number == self.writes.len() {
            self.writes.push(Vec::new());
        }
        number
    }

    /// Takes one observation in.
    pub fn observe(&mut self, seen: &Observation<'_>) {
        match seen.what {
            Observed::Started { .. } => self.views[seen.node as usize].clear(),
            Observed::Stopped => self.stopped_at[seen.node as usize] = Some(seen.at_ns),
            Observed::Command { token, command: Command::Put { map, key, value, .. } } => {
                self.asked.insert(token, (seen.at_ns, *map, key.clone(), Some(value.clone())));
            }
            Observed::Command { token, command: Command::Remove { map, key } } => {
                self.asked.insert(token, (seen.at_ns, *map, key.clone(), None));
            }
            Observed::Event(Event::Done { token, result }) => {
                let Some((_, map, key, value)) = self.asked.remove(token) else { return };
                match result {
                    Ok(Reply::Written { version }) => self.on_written(seen, map, key, value, *version),
                    Ok(_) | Err(_) => self.refused += 1,
                }
            }
            Observed::Event(Event::MapChanged { map, key, old, new, version, .. }) => {
                self.on_changed(seen, *map, key, old.as_ref(), new.as_ref(), *version);
            }
            Observed::Event(Event::ClockRefused { .. }) => self.clock_refusals += 1,
            Observed::Command { .. } | Observed::Event(_) | Observed::Looked { .. } => {}
        }
    }

    fn on_written(
        &mut self,
        seen: &Observation<'_>,
        map: MapId,
        key: Bytes,
        value: Option<Bytes>,
        version: Version,
    ) {
        self.acknowledged += 1;
        let last = self.last_stamp.entry(version.writer.node).or_default();
        if version.stamp <= *last {
            let what = format!("stamp {:?} came after {last:?}", version.stamp);
            self.clock_fault.get_or_insert((seen.at_ns, seen.node, what));
        }
        *last = version.stamp.max(*last);
        let write = Write { version, value, by: seen.node, at: seen.at_ns, seen_by: None };
        let number = self.key_number(map, &key);
        let writes = &mut self.writes[number];
        // A write that others have seen ends the candidacy of every older one.
        let settled = writes.iter().filter(|w| w.seen_by.is_some()).map(|w| w.version).max();
        writes.retain(|w| settled.is_none_or(|settled| w.version >= settled));
        writes.push(write);
    }

    fn on_changed(
        &mut self,
        seen: &Observation<'_>,
        map: MapId,
        key: &Bytes,
        old: Option<&Bytes>,
        new: Option<&Bytes>,
        version: Version,
    ) {
        let number = self.key_number(map, key);
        let view = &mut self.views[seen.node as usize];
        if view.len() <= number {
            view.resize(number + 1, Shown::default());
        }
        let now = Shown { version: ordered(version), value: value_hash(new) };
        let before = core::mem::replace(&mut view[number], now);
        let mut fault = None;
        if before.value != value_hash(old) {
            fault = Some("a change event tells another old value than the event before it left");
        } else if now.version <= before.version {
            fault = Some("a change event goes back to an older version");
        } else if before.value == 0 && now.value == 0 {
            fault = Some("a change event tells of no change");
        }
        if let Some(fault) = fault {
            let what = format!("{fault} (key {})", key.escape_ascii());
            self.event_fault.get_or_insert((seen.at_ns, seen.node, what));
        }
        let is_other = |write: &&mut Write| write.version == version && write.by != seen.node;
        if let Some(write) = self.writes[number].iter_mut().find(is_other) {
            write.seen_by.get_or_insert(seen.node);
        }
    }

    fn shown(&self, node: u32, key: u32) -> Shown {
        self.views[node as usize].get(key as usize).copied().unwrap_or_default()
    }

    /// Lists the keys of one map with their numbers, in their order.
    fn keys_of(&self, map: MapId) -> impl Iterator<Item = (&Bytes, u32)> {
        let keys = self.keys.range((map, Bytes::new())..);
        keys.take_while(move |((of, _), _)| *of == map).map(|((_, key), number)| (key, *number))
    }

    /// Compares every member's view of a map with the latest write of each key that cannot have died with its only
    /// holder.
    ///
    /// A write survives when another node has shown it or its writer has not stopped since. A later write that died
    /// with its writer may be shown or not.
    pub fn exactness(&self, map: MapId, members: &[u32]) -> Exactness {
        let fault = self.keys_of(map).find_map(|(key, number)| {
            let (node, what) = self.inexact(number, members)?;
            Some((node, format!("key {}: {what}", key.escape_ascii())))
        });
        Exactness { keys: self.keys_of(map).count() as u64, fault }
    }

    fn inexact(&self, key: u32, members: &[u32]) -> Option<(u32, String)> {
        let writes = &self.writes[key as usize];
        let latest = self.latest(key)?;
        let is_exact = |shown: Shown| {
            if shown.value == 0 && latest.value.is_none() {
                return true; // removing what is not there changes nothing, so no event tells of it
            }
            let is_later =
                |write: &&Write| write.version >= latest.version && ordered(write.version) == shown.version;
            writes.iter().find(is_later).is_some_and(|write| value_hash(write.value.as_ref()) == shown.value)
        };
        members.iter().find(|node| !is_exact(self.shown(**node, key))).map(|&node| {
            let shown = Stamp(self.shown(node, key).version.0);
            (node, format!("shows the write of {shown:?}, the latest is of {:?}", latest.version.stamp))
        })
    }

    /// The latest write of a key that cannot have died with its only holder.
    fn latest(&self, key: u32) -> Option<&Write> {
        let survives = |write: &&Write| {
            write.seen_by.is_some() || self.stopped_at[write.by as usize].is_none_or(|at| at < write.at)
        };
        self.writes[key as usize].iter().filter(survives).max_by_key(|write| write.version)
    }

    /// Finds an acknowledged write to a map that a member does not show, nor a later one, although its writer never
    /// stopped.
    pub fn lost(&self, map: MapId, members: &[u32]) -> Option<(u32, String)> {
        self.keys_of(map).find_map(|(key, number)| {
            let latest = self.latest(number)?;
            latest.value.as_ref()?;
            let is_missing = |node: &&u32| self.shown(**node, number).version < ordered(latest.version);
            let node = members.iter().find(is_missing)?;
            Some((*node, format!("key {}: the acknowledged write is not there", key.escape_ascii())))
        })
    }

    /// Compares the fold of a node's change events with what the node really holds of a map.
    pub fn unfolded<'a>(
        &self,
        node: u32,
        map: MapId,
        held: impl Iterator<Item = (&'a Bytes, &'a Bytes)>,
    ) -> Option<String> {
        let mut count = 0;
        for (key, value) in held {
            count += 1;
            let number = self.keys.get(&(map, key.clone()));
            let shown = number.map_or(Shown::default(), |number| self.shown(node, *number));
            if shown.value != value_hash(Some(value)) {
                return Some(format!(
                    "key {}: no event told of the value that the node holds",
                    key.escape_ascii()
                ));
            }
        }
        let told = self.keys_of(map).filter(|(_, number)| self.shown(node, *number).value != 0).count();
        (told != count).then(|| format!("events told of {told} live keys, the node holds {count}"))
    }
}
