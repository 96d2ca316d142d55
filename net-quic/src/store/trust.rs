//! What a node must not forget of others: their names, keys and rotations, frozen names, revoked keys.
//!
//! Everything here is on disk when its call returns.

use super::{Store, StoreError};
use crate::trust::{Revocation, Rotation};
use redb::{Key, ReadableDatabase as _, ReadableTable as _, TableDefinition, Value, WriteTransaction};
use rumormill_core::NodeId;

/// Names, by node.
const PINS: TableDefinition<'_, &[u8; 32], &str> = TableDefinition::new("pins");
/// Rotations, by node.
const ROTATIONS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("rotations");
/// The two rotations that froze a name, by node.
const FROZEN: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("frozen");
/// Signed revocations, by key; empty where only this node's user said so.
const REVOKED: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("revoked");

/// A pin as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) node: NodeId,
    pub(crate) name: String,
    pub(crate) chain: Vec<Rotation>,
    pub(crate) is_frozen: bool,
}

impl Store {
    /// Lists the pins: every node that was ever admitted.
    pub(crate) fn pins(&self) -> Result<Vec<Kept>, StoreError> {
        let names = self.read_all(PINS, |key, name| (NodeId(*key), name.to_string()))?;
        let chains = self.read_all(ROTATIONS, |key, chain| (NodeId(*key), chain.to_vec()))?;
        let frozen = self.read_all(FROZEN, |key, _| NodeId(*key))?;
        let pin = |(node, name): (NodeId, String)| {
            let chain = chains.iter().find(|(of, _)| *of == node);
            let chain = chain.map(|(_, chain)| postcard::from_bytes(chain)).unwrap_or(Ok(Vec::new()));
            let what = |error| format!("the rotations of {name}: {error}");
            let chain =
                chain.map_err(|error| StoreError { path: self.path.to_path_buf(), what: what(error) })?;
            Ok(Kept { node, chain, is_frozen: frozen.contains(&node), name })
        };
        names.into_iter().map(pin).collect()
    }

    /// Writes a pin with its rotations; `None` takes it back, and with it that it was frozen.
    pub(crate) fn pin(&self, node: &NodeId, pin: Option<(&str, &[Rotation])>) -> Result<(), StoreError> {
        self.write_all(|writing| {
            let (mut names, mut chains) = (writing.open_table(PINS)?, writing.open_table(ROTATIONS)?);
            if let Some((name, chain)) = pin {
                names.insert(&node.0, name)?;
                let chain = postcard::to_allocvec(chain).expect("rotations have a form");
                chains.insert(&node.0, chain.as_slice())?;
            } else {
                names.remove(&node.0)?;
                chains.remove(&node.0)?;
                writing.open_table(FROZEN)?.remove(&node.0)?;
            }
            Ok(())
        })
    }

    /// Notes that a name is frozen, and the proof.
    pub(crate) fn freeze(&self, node: &NodeId, evidence: &(Rotation, Rotation)) -> Result<(), StoreError> {
        let evidence = postcard::to_allocvec(evidence).expect("rotations have a form");
        self.write_all(|writing| {
            writing.open_table(FROZEN)?.insert(&node.0, evidence.as_slice())?;
            Ok(())
        })
    }

    /// Notes that keys are revoked, all of them or none.
    pub(crate) fn revoke(&self, words: &[(NodeId, Option<Revocation>)]) -> Result<(), StoreError> {
        self.write_all(|writing| {
            let mut table = writing.open_table(REVOKED)?;
            for (key, word) in words {
                let word = word.as_ref().map(|word| postcard::to_allocvec(word).expect("a form"));
                table.insert(&key.0, word.unwrap_or_default().as_slice())?;
            }
            Ok(())
        })
    }

    /// Lists the revoked keys. One whose word cannot be read stays revoked here.
    pub(crate) fn revoked(&self) -> Result<Vec<(NodeId, Option<Revocation>)>, StoreError> {
        self.read_all(REVOKED, |key, word| (NodeId(*key), postcard::from_bytes(word).ok()))
    }

    fn read_all<K: Key, V: Value, T>(
        &self,
        table: TableDefinition<'_, K, V>,
        read: impl Fn(K::SelfType<'_>, V::SelfType<'_>) -> T,
    ) -> Result<Vec<T>, StoreError> {
        let found = || -> Result<Vec<T>, redb::Error> {
            let reading = self.database.begin_read()?;
            let table = match reading.open_table(table) {
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                table => table?,
            };
            let mut found = Vec::new();
            for entry in table.iter()? {
                let (key, value) = entry?;
                found.push(read(key.value(), value.value()));
            }
            Ok(found)
        };
        found().map_err(|source| self.error(&source))
    }

    fn write_all(
        &self,
        write: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), StoreError> {
        let written = || -> Result<(), redb::Error> {
            let writing = self.database.begin_write()?;
            write(&writing)?;
            writing.commit()?;
            Ok(())
        };
        written().map_err(|source| self.error(&source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Authority, Identity};

    #[test]
    fn what_is_known_of_others_outlives_the_node() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut identity = Identity::from_secret(&[1; 32]);
        let node = identity.node_id();
        identity = identity.rotated(5).expect("entropy");
        let (chain, key) = (identity.chain().to_vec(), NodeId([7; 32]));
        let word = Authority::from_secret(&[9; 32]).revoke("c", key);
        let store = Store::open(folder.path()).expect("opened");
        store.pin(&node, Some(("one", &chain))).expect("pinned");
        store.pin(&key, Some(("seven", &[]))).expect("pinned");
        store.freeze(&node, &(chain[0].clone(), chain[0].clone())).expect("frozen");
        store.revoke(&[(key, Some(word.clone())), (node, None)]).expect("revoked");
        drop(store);
        let store = Store::open(folder.path()).expect("opened again");
        let one = Kept { node, name: "one".into(), chain, is_frozen: true };
        let seven = Kept { node: key, name: "seven".into(), chain: vec![], is_frozen: false };
        let pins = store.pins().expect("pins");
        assert!(pins.len() == 2 && pins.contains(&one) && pins.contains(&seven), "{pins:?}");
        let revoked = store.revoked().expect("revoked");
        assert!(
            revoked.len() == 2 && revoked.contains(&(key, Some(word))) && revoked.contains(&(node, None))
        );
        store.pin(&node, None).expect("removed");
        assert_eq!(store.pins().expect("pins"), [seven]);
        store.pin(&node, Some(("one", &[]))).expect("pinned anew");
        assert!(
            store.pins().expect("pins").iter().all(|pin| !pin.is_frozen),
            "nothing of the earlier pin stays"
        );
    }
}
