//! Users' types in the core: plain functions over bytes, registered by id.

use bytes::Bytes;

/// How a user's value type behaves, as plain `fn` pointers: data, not closures, so that a node stays plain data.
///
/// Registered in [`Config::schemas`](crate::Config) and named by the maps that use it.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// The schema's number, not zero.
    pub id: u32,
    /// Its version: two nodes with the same id and version judge alike.
    pub version: u32,
    /// Joins two values of one key, commutative, associative and idempotent; `None` for last writer wins.
    pub join: Option<fn(&[u8], &[u8]) -> Bytes>,
    /// Tells whether a value may be written under a key; applied to local writes and to arriving ones.
    pub validate: Option<fn(&[u8], &[u8]) -> bool>,
    /// Tells whether a value carries a valid statement of its author (key, value).
    pub verify: Option<fn(&[u8], &[u8]) -> bool>,
}

impl PartialEq for Schema {
    /// Schemas are equal when id and version are: functions have no useful equality.
    fn eq(&self, other: &Self) -> bool {
        (self.id, self.version) == (other.id, other.version)
    }
}

impl Eq for Schema {}
