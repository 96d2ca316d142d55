//! Members of the cluster as users see them.

use crate::id::{Contact, NodeId};
use serde::{Deserialize, Serialize};

/// Where a member stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u8)]
pub enum MemberState {
    /// It is coming in and does not know the others yet.
    Joining = 0,
    /// It knows the others.
    Synced = 1,
    /// It takes part: the ring places keys on it.
    Active = 2,
    /// It is going, and gives up what it owns.
    Leaving = 3,
    /// It has gone.
    Left = 4,
    /// Its lease ended without a word.
    Dead = 5,
}

impl MemberState {
    /// Tells whether the member is there: neither left nor dead.
    pub fn is_present(self) -> bool {
        self < Self::Left
    }
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// How it introduces itself, with its incarnation.
    pub contact: Contact,
    /// Where it stands.
    pub state: MemberState,
    /// Whether somebody could not reach it and it has not answered yet.
    pub is_suspected: bool,
    /// Its share of keys, against that of others.
    pub weight: u8,
    /// The hash of its zone's name; zero for none.
    pub zone: u64,
}

impl Member {
    /// Names the member.
    pub fn id(&self) -> NodeId {
        self.contact.id()
    }
}
