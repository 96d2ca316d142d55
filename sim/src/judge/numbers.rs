//! Nodes by name and by number.

use rumormill_core::NodeId;
use std::collections::BTreeMap;

/// The number of every node that was ever started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Numbers(BTreeMap<NodeId, u32>);

impl Numbers {
    pub(crate) fn insert(&mut self, id: NodeId, number: u32) {
        self.0.insert(id, number);
    }

    pub(crate) fn get(&self, id: &NodeId) -> Option<u32> {
        self.0.get(id).copied()
    }
}
