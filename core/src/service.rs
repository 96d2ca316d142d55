//! Services as users see them.

use crate::hlc::Stamp;
use crate::id::{Address, Incarnation, MailboxId, NodeId};
use bytes::Bytes;

/// One registered service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: Bytes,
    /// The node that offers it: only that node changes it.
    pub owner: NodeId,
    /// The life of that node.
    pub incarnation: Incarnation,
    /// Which instance on that node.
    pub instance: u64,
    /// Where it is reached; zero when it has no mailbox.
    pub mailbox: MailboxId,
    /// What it says of itself.
    pub meta: Bytes,
    /// When it was registered first: the oldest registration of a unique name wins.
    pub registered_at: Stamp,
    /// Whether its name shall be unique.
    pub is_unique: bool,
    /// Whether its owner is suspected to be dead: callers prefer others.
    pub is_suspected: bool,
}

impl Service {
    /// Tells where the service is reached, if it has a mailbox.
    pub fn address(&self) -> Option<Address> {
        let Self { owner: node, incarnation, mailbox, .. } = *self;
        (mailbox.0 != 0).then_some(Address { node, incarnation, mailbox })
    }
}
