//! What a node keeps on disk: the core's rows, the pins of its peers, and the keys by which a restarted node is known.
//!
//! One redb file. Writes that somebody waits for are on disk before they are answered; they are made by a thread of
//! their own, because a flush takes milliseconds. Without a folder everything is kept in memory, by the same engine.

mod trust;

pub(crate) use trust::Kept;

use crate::identity::{create_private_file, create_private_folder};
use redb::backends::InMemoryBackend;
use redb::{
    Database, DatabaseError, Durability as Flush, ReadableDatabase as _, ReadableTable as _, StorageError,
    TableDefinition,
};
use rumormill_core::{Durability, NodeId, Row, Space, Token};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");
/// Names by which nodes know themselves: a folder has one, unless its key was changed.
const NAMES: TableDefinition<'_, &[u8; 32], &str> = TableDefinition::new("names");
const KEYS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("keys");

/// The name of the file in a node's folder.
const FILE: &str = "node.redb";

/// Why a store cannot be opened, read or written.
#[derive(Debug, thiserror::Error)]
#[error("the store {}: {what}", path.display())]
pub struct StoreError {
    /// Its file.
    pub path: PathBuf,
    /// What the engine says.
    pub what: String,
}

/// A node's store. Its clones are the same store.
#[derive(Clone)]
pub(crate) struct Store {
    database: Arc<Database>,
    path: Arc<Path>,
    /// Whether a write may take long.
    is_on_disk: bool,
}

impl Store {
    /// Opens the store in a folder of the node's own; makes both where they are missing.
    pub(crate) fn open(folder: &Path) -> Result<Self, StoreError> {
        let path: Arc<Path> = folder.join(FILE).into();
        let error = |what: String| StoreError { path: path.to_path_buf(), what };
        create_private_folder(folder).map_err(|source| error(source.to_string()))?;
        create_private_file(&path).map_err(|source| error(source.to_string()))?;
        let database = Database::create(&path).map_err(|source| {
            error(match source {
                DatabaseError::DatabaseAlreadyOpen => {
                    "another node has it open; each needs a folder of its own".into()
                }
                DatabaseError::Storage(StorageError::Io(source))
                    if source.kind() == ErrorKind::InvalidData =>
                {
                    format!(
                        "{source}; restore a backup of the folder, or start in an empty one as a new node"
                    )
                }
                source => source.to_string(),
            })
        })?;
        Ok(Self { database: Arc::new(database), path, is_on_disk: true })
    }

    /// Tells whether a folder has no store, or one in which nothing was ever written.
    pub(crate) fn is_missing(folder: &Path) -> bool {
        std::fs::metadata(folder.join(FILE)).map_or(true, |file| file.len() == 0)
    }

    /// Opens a store that ends with the node.
    pub(crate) fn in_memory() -> Result<Self, StoreError> {
        let path: Arc<Path> = Path::new("in memory").into();
        let database = Database::builder().create_with_backend(InMemoryBackend::new());
        let database =
            database.map_err(|source| StoreError { path: path.to_path_buf(), what: source.to_string() })?;
        Ok(Self { database: Arc::new(database), path, is_on_disk: false })
    }

    /// Tells whether a write may take long, and so needs a thread of its own.
    pub(crate) fn is_on_disk(&self) -> bool {
        self.is_on_disk
    }

    fn error(&self, source: &redb::Error) -> StoreError {
        StoreError { path: self.path.to_path_buf(), what: source.to_string() }
    }

    /// Reads every row that the core has written.
    pub(crate) fn rows(&self) -> Result<Vec<Row>, StoreError> {
        self.read_rows().map_err(|source| self.error(&source))
    }

    fn read_rows(&self) -> Result<Vec<Row>, redb::Error> {
        let reading = self.database.begin_read()?;
        let table = match reading.open_table(ROWS) {
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            table => table?,
        };
        let mut rows = Vec::new();
        for entry in table.iter()? {
            let (key, value) = entry?;
            if let Ok((space, key)) = postcard::from_bytes::<(Space, Vec<u8>)>(key.value()) {
                rows.push(Row { space, key: key.into(), value: Some(value.value().to_vec().into()) });
            }
        }
        Ok(rows)
    }

    /// Writes rows of the core, all of them or none.
    pub(crate) fn write(&self, class: Durability, rows: &[Row]) -> Result<(), StoreError> {
        self.write_rows(class, rows).map_err(|source| self.error(&source))
    }

    fn write_rows(&self, class: Durability, rows: &[Row]) -> Result<(), redb::Error> {
        let mut writing = self.database.begin_write()?;
        writing.set_durability(match class {
            Durability::Sync => Flush::Immediate,
            Durability::Async => Flush::None,
        })?;
        {
            let mut table = writing.open_table(ROWS)?;
            for Row { space, key, value } in rows {
                let key = postcard::to_allocvec(&(space, &key[..])).expect("a name of a row has a form");
                match value {
                    Some(value) => table.insert(key.as_slice(), &value[..])?,
                    None => table.remove(key.as_slice())?,
                };
            }
        }
        writing.commit()?;
        Ok(())
    }

    /// Finds the name that a node of this store was started under first; keeps the one given where there is none.
    pub(crate) fn first_name(&self, node: &NodeId, name: &str) -> Result<String, StoreError> {
        self.read_or_write_name(node, name).map_err(|source| self.error(&source))
    }

    fn read_or_write_name(&self, node: &NodeId, name: &str) -> Result<String, redb::Error> {
        let writing = self.database.begin_write()?;
        let first = {
            let mut table = writing.open_table(NAMES)?;
            let known = table.get(&node.0)?.map(|known| known.value().to_string());
            if known.is_none() {
                table.insert(&node.0, name)?;
            }
            known
        };
        match &first {
            Some(_) => writing.abort()?,
            None => writing.commit()?,
        }
        Ok(first.unwrap_or_else(|| name.to_string()))
    }

    /// Finds a key of the node's own by name; asks for 32 random bytes and keeps them where there is none.
    pub(crate) fn key(&self, name: &str, fresh: [u8; 32]) -> Result<[u8; 32], StoreError> {
        self.read_or_write_key(name, fresh).map_err(|source| self.error(&source))
    }

    fn read_or_write_key(&self, name: &str, fresh: [u8; 32]) -> Result<[u8; 32], redb::Error> {
        let writing = self.database.begin_write()?;
        let key = {
            let mut table = writing.open_table(KEYS)?;
            let known: Option<[u8; 32]> = table.get(name)?.and_then(|key| key.value().try_into().ok());
            if known.is_none() {
                table.insert(name, &fresh[..])?;
            }
            known.unwrap_or(fresh)
        };
        writing.commit()?;
        Ok(key)
    }
}

/// A write for the thread that makes them.
pub(crate) struct Write {
    pub(crate) token: Token,
    pub(crate) class: Durability,
    pub(crate) rows: Vec<Row>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: &'static [u8], value: Option<&'static [u8]>) -> Row {
        Row { space: Space::Marks, key: key.into(), value: value.map(Into::into) }
    }

    #[test]
    fn what_was_written_is_found_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().join("node");
        assert!(Store::is_missing(&folder));
        let store = Store::open(&folder).expect("opened");
        assert!(!Store::is_missing(&folder));
        store.write(Durability::Sync, &[row(b"a", Some(b"1")), row(b"b", Some(b"2"))]).expect("written");
        store.write(Durability::Sync, &[row(b"a", None)]).expect("removed");
        let key = store.key("reset", [5; 32]).expect("kept");
        drop(store);
        let store = Store::open(&folder).expect("opened again");
        assert_eq!(store.rows().expect("rows"), [row(b"b", Some(b"2"))]);
        assert_eq!(store.key("reset", [6; 32]).expect("the same"), key, "a key is made once");
        let first = |number, name| store.first_name(&NodeId([number; 32]), name).expect("kept");
        assert_eq!([first(1, "ann"), first(1, "bob"), first(2, "bob")], ["ann", "ann", "bob"]);
    }

    #[test]
    fn two_nodes_do_not_share_a_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let _first = Store::open(folder.path()).expect("opened");
        let error = Store::open(folder.path()).err().expect("taken").to_string();
        assert!(error.contains(FILE), "{error}");
    }
}
