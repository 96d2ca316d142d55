//! Who may come in: a secret that the cluster shares, pins of those who were here before, or a list of keys.
//!
//! Names and keys are one to one. Everything is judged after TLS has proven the key and HELLO the secret, and a pin is
//! on disk before a peer is told that it is in. A peer learns that it was refused and never why: reasons go to the log,
//! the counters and the events of the node that refuses.

use crate::hello::Hello;
use crate::store::{Store, StoreError};
use rumormill_core::NodeId;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// Whom a node lets in.
#[derive(Clone, Debug, Default)]
pub enum Trust {
    /// Whoever knows the cluster's secret; at the first meeting its key and name are pinned to each other.
    #[default]
    OnFirstUse,
    /// Whoever knows the secret and whose key stands in a file: one key a line, 64 hexadecimal digits, `#` begins a
    /// comment. The file is read again when it changes.
    Strict {
        /// The file.
        allowed: PathBuf,
    },
}

/// Why a connection was refused. The peer is told none of this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Another node than the one that was dialled answered.
    #[error("{} was dialled and {} answered", short(expected), short(shown))]
    WrongKey {
        /// The node that was dialled.
        expected: NodeId,
        /// The key that answered.
        shown: NodeId,
    },
    /// It does not know the secret of the cluster, or relays somebody who does.
    #[error("it does not prove that it knows the cluster's secret")]
    WrongSecret,
    /// Its key does not stand in the list of allowed ones.
    #[error("its key is not in the list of allowed keys")]
    NotAllowed,
    /// The list of allowed keys cannot be read.
    #[error("the list of allowed keys cannot be read: {0}")]
    NoList(String),
    /// The name belongs to another key.
    #[error("the name {name} belongs to {}", short(owner))]
    NameTaken {
        /// The name.
        name: String,
        /// Whose it is.
        owner: NodeId,
    },
    /// The key is known under another name.
    #[error("its key is known as {known}, it says {said}")]
    Renamed {
        /// The name that is pinned.
        known: String,
        /// The name in its HELLO.
        said: String,
    },
    /// Its key was revoked.
    #[error("its key was revoked")]
    Revoked,
    /// No protocol version is common.
    #[error("it speaks versions {} to {} only", versions.0, versions.1)]
    Version {
        /// The oldest and the newest that it speaks.
        versions: (u16, u16),
    },
    /// What it sent is no HELLO.
    #[error("what it sent is no HELLO")]
    Malformed,
    /// It took too long.
    #[error("no HELLO came in time")]
    TimedOut,
    /// It refused us, and does not say why.
    #[error("it refused this node: its own log has the reason")]
    ByPeer,
    /// The pin cannot be written.
    #[error("the pin cannot be written: {0}")]
    Store(String),
}

/// The beginning of a key, as logs show it.
fn short(key: &NodeId) -> String {
    key.0[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A key that was seen and believed, with the name that it came under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The key.
    pub key: NodeId,
    /// Its name.
    pub name: String,
}

/// The judge of everybody who wants to come in.
pub(crate) struct Admission {
    trust: Trust,
    store: Store,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    names: BTreeMap<NodeId, String>,
    keys: BTreeMap<String, NodeId>,
    allowed: BTreeSet<NodeId>,
    /// When the list of allowed keys was written that `allowed` holds.
    allowed_of: Option<SystemTime>,
}

impl Admission {
    /// Begins with the pins of earlier lives, and the node's own.
    pub(crate) fn new(trust: Trust, store: Store, own: NodeId, name: &str) -> Result<Self, StoreError> {
        let mut state = State::default();
        for (key, name) in store.pins()? {
            state.insert(key, name);
        }
        state.insert(own, name.to_string());
        Ok(Self { trust, store, state: Mutex::new(state) })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Judges a peer whose key and secret are proven.
    ///
    /// # Errors
    /// The [`Refusal`]. Nothing has changed.
    pub(crate) fn judge(&self, key: &NodeId, hello: &Hello) -> Result<(), Refusal> {
        let mut state = self.state();
        if let Trust::Strict { allowed } = &self.trust {
            state.reload(allowed)?;
            if !state.allowed.contains(key) {
                return Err(Refusal::NotAllowed);
            }
        }
        state.judge_name(key, &hello.name)
    }

    /// Writes down who was let in. Durable when this returns.
    ///
    /// # Errors
    /// The [`Refusal`], also when somebody took the name meanwhile.
    pub(crate) fn admit(&self, key: &NodeId, hello: &Hello) -> Result<(), Refusal> {
        let mut state = self.state();
        state.judge_name(key, &hello.name)?;
        if state.names.contains_key(key) {
            return Ok(());
        }
        self.store.pin(key, Some(&hello.name)).map_err(|error| Refusal::Store(error.to_string()))?;
        state.insert(*key, hello.name.clone());
        Ok(())
    }

    /// Lists the pins, by key.
    pub(crate) fn pins(&self) -> Vec<Pin> {
        let state = self.state();
        state.names.iter().map(|(key, name)| Pin { key: *key, name: name.clone() }).collect()
    }

    /// Pins a key to a name before it is ever seen.
    pub(crate) fn add(&self, pin: Pin) -> Result<(), Refusal> {
        let mut state = self.state();
        state.judge_name(&pin.key, &pin.name)?;
        self.store.pin(&pin.key, Some(&pin.name)).map_err(|error| Refusal::Store(error.to_string()))?;
        state.insert(pin.key, pin.name);
        Ok(())
    }

    /// Forgets a pin; tells whether there was one.
    pub(crate) fn remove(&self, key: &NodeId) -> Result<bool, StoreError> {
        let mut state = self.state();
        self.store.pin(key, None)?;
        let name = state.names.remove(key);
        name.as_ref().map(|name| state.keys.remove(name));
        Ok(name.is_some())
    }

    /// Finds the name of a node, and the node of a name.
    pub(crate) fn name_of(&self, key: &NodeId) -> Option<String> {
        self.state().names.get(key).cloned()
    }

    /// Finds the node that has a name.
    pub(crate) fn key_of(&self, name: &str) -> Option<NodeId> {
        self.state().keys.get(name).copied()
    }
}

impl State {
    fn insert(&mut self, key: NodeId, name: String) {
        self.keys.insert(name.clone(), key);
        self.names.insert(key, name);
    }

    fn judge_name(&self, key: &NodeId, said: &str) -> Result<(), Refusal> {
        if let Some(known) = self.names.get(key).filter(|known| *known != said) {
            return Err(Refusal::Renamed { known: known.clone(), said: said.into() });
        }
        match self.keys.get(said) {
            Some(owner) if owner != key => Err(Refusal::NameTaken { name: said.into(), owner: *owner }),
            _ => Ok(()),
        }
    }

    /// Reads the list of allowed keys unless it is the one that is known.
    fn reload(&mut self, path: &Path) -> Result<(), Refusal> {
        let no_list = |what: String| Refusal::NoList(format!("{}: {what}", path.display()));
        let written = fs::metadata(path).and_then(|metadata| metadata.modified());
        let written = written.map_err(|error| no_list(error.to_string()))?;
        if self.allowed_of == Some(written) {
            return Ok(());
        }
        let text = fs::read_to_string(path).map_err(|error| no_list(error.to_string()))?;
        self.allowed = parse_keys(&text).map_err(no_list)?;
        self.allowed_of = Some(written);
        Ok(())
    }
}

/// Reads a list of keys: one a line.
fn parse_keys(text: &str) -> Result<BTreeSet<NodeId>, String> {
    let lines =
        text.lines().enumerate().map(|(at, line)| (at + 1, line.split('#').next().unwrap_or("").trim()));
    let keys = lines.filter(|(_, line)| !line.is_empty());
    keys.map(|(at, line)| parse_key(line).ok_or_else(|| format!("line {at}: a key is 64 hexadecimal digits")))
        .collect()
}

/// Reads a key as it is shown: 64 hexadecimal digits.
pub(crate) fn parse_key(text: &str) -> Option<NodeId> {
    let digits = text.as_bytes();
    if digits.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut key = [0; 32];
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(NodeId(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hello::Purpose;

    fn hello(name: &str) -> Hello {
        let (name, addrs) = (name.to_string(), Vec::new());
        Hello {
            versions: (1, 1),
            purpose: Purpose::Link,
            name,
            incarnation: 1,
            addrs,
            features: 0,
            tag: [0; 32],
        }
    }

    fn admission(trust: Trust) -> Admission {
        Admission::new(trust, Store::in_memory().expect("a store"), NodeId([1; 32]), "me")
            .expect("no pins yet")
    }

    #[test]
    fn names_and_keys_are_one_to_one() {
        let (judge, a, b) = (admission(Trust::OnFirstUse), NodeId([2; 32]), NodeId([3; 32]));
        judge.admit(&a, &hello("a")).expect("first use");
        judge.admit(&a, &hello("a")).expect("again");
        assert_eq!(judge.judge(&b, &hello("a")), Err(Refusal::NameTaken { name: "a".into(), owner: a }));
        let renamed = Refusal::Renamed { known: "a".into(), said: "b".into() };
        assert_eq!(judge.judge(&a, &hello("b")), Err(renamed));
        assert!(judge.judge(&b, &hello("me")).is_err(), "nobody takes our own name");
        assert!(judge.remove(&a).expect("removed") && !judge.remove(&a).expect("not there"));
        judge.judge(&b, &hello("a")).expect("the name is free again");
    }

    #[test]
    fn pins_outlive_the_node() {
        let store = Store::in_memory().expect("a store");
        let judge =
            Admission::new(Trust::OnFirstUse, store.clone(), NodeId([1; 32]), "me").expect("no pins yet");
        judge.admit(&NodeId([2; 32]), &hello("a")).expect("first use");
        let judge = Admission::new(Trust::OnFirstUse, store, NodeId([1; 32]), "me").expect("one pin");
        assert!(judge.judge(&NodeId([3; 32]), &hello("a")).is_err());
        assert_eq!(judge.key_of("a"), Some(NodeId([2; 32])));
    }

    #[test]
    fn a_list_is_followed_when_it_changes() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("allowed");
        let judge = admission(Trust::Strict { allowed: path.clone() });
        let (a, b) = (NodeId([0xa2; 32]), NodeId([0xb3; 32]));
        assert!(matches!(judge.judge(&a, &hello("a")), Err(Refusal::NoList(_))), "no file lets nobody in");
        fs::write(&path, format!("# friends\n{} # a\n", "a2".repeat(32))).expect("written");
        judge.judge(&a, &hello("a")).expect("listed");
        assert_eq!(judge.judge(&b, &hello("b")), Err(Refusal::NotAllowed));
        fs::write(&path, format!("{}\n", "B3".repeat(32))).expect("written");
        let later = SystemTime::now() + std::time::Duration::from_secs(5);
        fs::File::options()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_modified(later))
            .expect("touched");
        judge.judge(&b, &hello("b")).expect("listed now");
        assert_eq!(judge.judge(&a, &hello("a")), Err(Refusal::NotAllowed));
    }

    #[test]
    fn a_bad_list_says_where() {
        assert_eq!(parse_keys("\n#\nxyz\n"), Err("line 3: a key is 64 hexadecimal digits".into()));
        assert!(parse_keys(&format!("+{}", "a".repeat(63))).is_err());
    }
}
