//! Revocation: a key is refused from now on and for ever.
//!
//! Two may revoke a key for the whole cluster: the authority, where nodes trust one, and whoever holds the key itself
//! (its thief could do worse). A node's user may bar any key on that node alone.

use super::authority::AuthorityKey;
use super::signed::{Signature, StatementError, from_hex, to_hex};
use ed25519_dalek::SigningKey;
use rumormill_core::NodeId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

const LABEL: &str = "rumormill revocation 1";

/// Revocations by the authority that a node keeps. A guess: they take half a megabyte.
const BY_AUTHORITY_MAX: usize = 4096;
/// Revocations by the keys themselves that a node keeps: anybody can make up keys, and revoke them. A guess.
const BY_ITSELF_MAX: usize = 1024;
/// Bytes of all revocations that one node tells another.
pub(crate) const SHEET_LEN_MAX: usize = 1 << 20;

/// All signed revocations that a node keeps, as it tells them to another.
pub(crate) type Sheet = Vec<Revocation>;

/// A word, signed by one who may say it, that a key is revoked in a cluster: for ever. From
/// [`Authority::revoke`](crate::Authority::revoke) or [`Identity::revoke`](crate::Identity::revoke).
///
/// As text it is one line of hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    words: Words,
    signature: Signature,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Words {
    cluster: [u8; 32],
    key: NodeId,
    by: By,
}

/// Who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum By {
    Authority,
    Itself,
}

impl Revocation {
    pub(super) fn by_authority(authority: &SigningKey, cluster: [u8; 32], key: NodeId) -> Self {
        Self::new(authority, Words { cluster, key, by: By::Authority })
    }

    pub(crate) fn by_itself(key: &SigningKey, cluster: [u8; 32]) -> Self {
        let id = NodeId(key.verifying_key().to_bytes());
        Self::new(key, Words { cluster, key: id, by: By::Itself })
    }

    fn new(key: &SigningKey, words: Words) -> Self {
        let signature = Signature::of(key, LABEL, &words);
        Self { words, signature }
    }

    /// Tells which key is revoked.
    pub fn key(&self) -> NodeId {
        self.words.key
    }

    pub(crate) fn by(&self) -> By {
        self.words.by
    }

    /// Tells whether one who may say so did, in this cluster.
    pub(crate) fn holds(&self, cluster: &[u8; 32], authority: Option<&AuthorityKey>) -> bool {
        let signer = match self.words.by {
            By::Itself => Some(self.words.key),
            By::Authority => authority.map(|key| NodeId(key.0)),
        };
        let is_signed = |signer| self.signature.is_of(&signer, LABEL, &self.words);
        self.words.cluster == *cluster && signer.is_some_and(is_signed)
    }
}

impl fmt::Display for Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(self))
    }
}

impl FromStr for Revocation {
    type Err = StatementError;

    fn from_str(text: &str) -> Result<Self, StatementError> {
        from_hex(text.trim()).ok_or(StatementError::Malformed("revocation"))
    }
}

/// Every key that is revoked. Nothing is ever taken out.
#[derive(Default)]
pub(super) struct Revoked {
    /// By whom; none when only this node's user says so.
    keys: BTreeMap<NodeId, Option<Revocation>>,
}

impl Revoked {
    pub(super) fn holds(&self, key: &NodeId) -> bool {
        self.keys.contains_key(key)
    }

    /// Tells whether a revocation says something new.
    pub(super) fn is_news(&self, revocation: &Revocation) -> bool {
        !matches!(self.keys.get(&revocation.key()), Some(Some(_)))
    }

    /// Tells whether there is room for one more of its kind.
    pub(super) fn has_room(&self, by: By) -> bool {
        let max = if by == By::Authority { BY_AUTHORITY_MAX } else { BY_ITSELF_MAX };
        self.keys.values().flatten().filter(|it| it.by() == by).count() < max
    }

    pub(super) fn insert(&mut self, key: NodeId, word: Option<Revocation>) {
        let known = self.keys.entry(key).or_default();
        *known = known.take().or(word);
    }

    /// Lists what others must be told.
    pub(super) fn sheet(&self) -> Sheet {
        self.keys.values().flatten().cloned().collect()
    }

    /// The same for those who know the same keys as revoked.
    pub(super) fn digest(&self) -> [u8; 8] {
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        self.keys.iter().filter(|(_, word)| word.is_some()).for_each(|(key, _)| context.update(&key.0));
        *context.finish().as_ref().first_chunk().expect("SHA-256 has more than 8 bytes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Authority, Identity};

    #[test]
    fn only_the_authority_and_the_key_itself_revoke() {
        let (authority, other) = (Authority::from_secret(&[9; 32]), Authority::from_secret(&[8; 32]));
        let victim = Identity::from_secret(&[1; 32]);
        let (here, elsewhere) = (super::super::cluster_hash("c"), super::super::cluster_hash("d"));
        let word = authority.revoke("c", victim.node_id());
        assert!(word.holds(&here, Some(&authority.key())));
        assert!(!word.holds(&here, Some(&other.key())), "another authority");
        assert!(!word.holds(&here, None), "no authority is trusted");
        assert!(!word.holds(&elsewhere, Some(&authority.key())), "another cluster");
        let own = victim.revoke("c");
        assert!(own.holds(&here, None));
        let mut forged = own.clone();
        forged.words.key = Identity::from_secret(&[2; 32]).node_id();
        assert!(!forged.holds(&here, None), "somebody else's key");
        assert_eq!(own.to_string().parse::<Revocation>().expect("read"), own);
    }

    #[test]
    fn made_up_keys_leave_room_for_the_authority() {
        let (mut revoked, authority) = (Revoked::default(), Authority::from_secret(&[9; 32]));
        let word = Identity::from_secret(&[1; 32]).revoke("c");
        for number in 0..BY_ITSELF_MAX {
            assert!(revoked.has_room(By::Itself));
            let mut key = NodeId([7; 32]);
            key.0[..8].copy_from_slice(&(number as u64).to_le_bytes());
            revoked.insert(key, Some(word.clone()));
        }
        assert!(!revoked.has_room(By::Itself) && revoked.has_room(By::Authority));
        let (before, key) = (revoked.digest(), NodeId([8; 32]));
        revoked.insert(key, None);
        assert_eq!(revoked.digest(), before, "what only this node's user says is not told on");
        revoked.insert(key, Some(authority.revoke("c", key)));
        assert!(revoked.digest() != before && revoked.sheet().len() == BY_ITSELF_MAX + 1);
        let bytes = postcard::to_allocvec(&revoked.sheet()).expect("a form").len();
        let most = bytes / (BY_ITSELF_MAX + 1) * (BY_ITSELF_MAX + BY_AUTHORITY_MAX + 1);
        assert!(most < SHEET_LEN_MAX, "{most} bytes at most are told");
    }
}
