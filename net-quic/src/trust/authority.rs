//! The authority of a cluster: a key that signs certificates and revocations, kept away from every node.

use super::certificate::{Certificate, Words};
use super::revocation::Revocation;
use super::signed::cluster_hash;
use crate::identity::{Identity, IdentityError};
use rumormill_core::NodeId;
use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

/// The public key of an authority: all that nodes need to know of it. As text, 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AuthorityKey(pub [u8; 32]);

impl fmt::Display for AuthorityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for AuthorityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuthorityKey({self})")
    }
}

impl FromStr for AuthorityKey {
    type Err = super::StatementError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let key = super::allowed::parse_key(text.trim());
        key.map(|key| Self(key.0)).ok_or(super::StatementError::Malformed("key"))
    }
}

/// The authority of a cluster, with its secret key. Keep the file where no node runs.
///
/// ```
/// # use rumormill_net_quic::{Authority, Identity};
/// # use std::time::{Duration, SystemTime};
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("authority.key");
/// let authority = Authority::load_or_create(&path).unwrap();
/// let node = Identity::generate().unwrap();
/// let year = Duration::from_secs(365 * 86_400);
/// let certificate = authority.issue("shop", node.node_id(), "till-1", SystemTime::now()..SystemTime::now() + year);
/// assert_eq!(certificate.name(), "till-1");
/// ```
#[derive(Clone, Debug)]
pub struct Authority {
    identity: Identity,
}

impl Authority {
    /// Makes a new one.
    ///
    /// # Errors
    /// [`IdentityError::Entropy`].
    pub fn generate() -> Result<Self, IdentityError> {
        Identity::generate().map(|identity| Self { identity })
    }

    /// Derives one from a secret of 32 bytes.
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        Self { identity: Identity::from_secret(secret) }
    }

    /// Reads it from a file; makes one, and the file, where there is none. The file is closed to others, as a node's is.
    ///
    /// # Errors
    /// [`IdentityError`] says which file, and what to do about it.
    pub fn load_or_create(path: &Path) -> Result<Self, IdentityError> {
        Identity::load_or_create(path).map(|identity| Self { identity })
    }

    /// Tells the public key, which every node is given.
    pub fn key(&self) -> AuthorityKey {
        AuthorityKey(self.identity.public_key().0)
    }

    /// Issues a certificate: in this cluster, this node has this name, for this time (to the millisecond).
    pub fn issue(&self, cluster: &str, node: NodeId, name: &str, holds: Range<SystemTime>) -> Certificate {
        let holds = (unix_ms(holds.start), unix_ms(holds.end));
        let words = Words { cluster: cluster_hash(cluster), node, name: name.into(), holds };
        Certificate::new(self.identity.signing_key(), words)
    }

    /// Revokes a key in a cluster, for ever. Give the revocation to any node: see
    /// [`Cluster::revoke`](crate::Cluster::revoke).
    pub fn revoke(&self, cluster: &str, key: NodeId) -> Revocation {
        Revocation::by_authority(self.identity.signing_key(), cluster_hash(cluster), key)
    }
}

fn unix_ms(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
