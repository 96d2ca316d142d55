//! Certificates: an authority's word that a key belongs to a name in a cluster, for a time.

use super::authority::AuthorityKey;
use super::signed::{Signature, StatementError, from_hex, to_hex};
use crate::identity::create_private;
use ed25519_dalek::SigningKey;
use rumormill_core::NodeId;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::{fs, io};

const LABEL: &str = "rumormill certificate 1";

/// An authority's word that a key belongs to a name in a cluster, for a time. From [`Authority::issue`].
///
/// It is no secret: whoever has it still has to prove the key. As text it is one line of hexadecimal digits.
///
/// [`Authority::issue`]: crate::Authority::issue
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    words: Words,
    signature: Signature,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Words {
    pub(super) cluster: [u8; 32],
    pub(super) node: NodeId,
    pub(super) name: String,
    /// Since when it holds, and from when on it does not: milliseconds since the Unix epoch.
    pub(super) holds: (u64, u64),
}

/// Why a certificate does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// The authority did not sign it.
    #[error("the authority did not sign it")]
    Signature,
    /// It is for another cluster.
    #[error("it is for another cluster")]
    Cluster,
    /// It is for another key.
    #[error("it is for another key")]
    Key,
    /// It is for another name.
    #[error("it is for another name")]
    Name,
    /// Its time has not come.
    #[error("its time has not come")]
    Early,
    /// Its time is over.
    #[error("its time is over")]
    Expired,
}

/// What a certificate must be for.
pub(crate) struct Bearer<'a> {
    pub(crate) cluster: &'a [u8; 32],
    /// The node's first key, and the one that it shows.
    pub(crate) keys: [&'a NodeId; 2],
    pub(crate) name: &'a str,
    pub(crate) now_ms: u64,
}

impl Certificate {
    pub(super) fn new(key: &SigningKey, words: Words) -> Self {
        let signature = Signature::of(key, LABEL, &words);
        Self { words, signature }
    }

    /// Tells whose it is.
    pub fn node(&self) -> NodeId {
        self.words.node
    }

    /// Tells the name that it is for.
    pub fn name(&self) -> &str {
        &self.words.name
    }

    /// Tells since when it holds, and from when on it does not: milliseconds since the Unix epoch.
    pub fn holds_ms(&self) -> (u64, u64) {
        self.words.holds
    }

    /// Finds what is wrong with it, for this bearer and now.
    pub(crate) fn check(&self, authority: &AuthorityKey, bearer: &Bearer<'_>) -> Result<(), Flaw> {
        let Words { cluster, node, name, holds: (from, until) } = &self.words;
        match () {
            () if !self.signature.is_of(&NodeId(authority.0), LABEL, &self.words) => Err(Flaw::Signature),
            () if cluster != bearer.cluster => Err(Flaw::Cluster),
            () if !bearer.keys.contains(&node) => Err(Flaw::Key),
            () if name != bearer.name => Err(Flaw::Name),
            () if bearer.now_ms < *from => Err(Flaw::Early),
            () if bearer.now_ms >= *until => Err(Flaw::Expired),
            () => Ok(()),
        }
    }

    /// Writes it to a file that does not exist yet.
    ///
    /// # Errors
    /// [`StatementError::File`].
    pub fn save(&self, path: &Path) -> Result<(), StatementError> {
        let written = create_private(path, format!("{self}\n").as_bytes());
        written.map_err(|source| StatementError::File { path: path.into(), source })
    }

    /// Reads one from a file.
    ///
    /// # Errors
    /// [`StatementError`].
    pub fn load(path: &Path) -> Result<Self, StatementError> {
        let of_file = |source| StatementError::File { path: path.into(), source };
        let text = fs::read_to_string(path).map_err(of_file)?;
        text.parse().map_err(|error: StatementError| of_file(io::Error::other(error)))
    }
}

impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(self))
    }
}

impl FromStr for Certificate {
    type Err = StatementError;

    fn from_str(text: &str) -> Result<Self, StatementError> {
        from_hex(text.trim()).ok_or(StatementError::Malformed("certificate"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Authority, Identity};
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn a_certificate_holds_for_its_bearer_and_time_only() {
        let authority = Authority::from_secret(&[9; 32]);
        let (key, other) =
            (Identity::from_secret(&[1; 32]).node_id(), Identity::from_secret(&[2; 32]).node_id());
        let at = |s| UNIX_EPOCH + Duration::from_secs(s);
        let certificate = authority.issue("c", key, "a", at(10)..at(20));
        let cluster = super::super::cluster_hash("c");
        let elsewhere = super::super::cluster_hash("d");
        let good = || Bearer { cluster: &cluster, keys: [&key, &key], name: "a", now_ms: 10_000 };
        let check = |bearer: &Bearer<'_>| certificate.check(&authority.key(), bearer);
        assert_eq!(check(&good()), Ok(()));
        assert_eq!(check(&Bearer { keys: [&key, &other], ..good() }), Ok(()), "rotated since");
        assert_eq!(check(&Bearer { now_ms: 19_999, ..good() }), Ok(()));
        assert_eq!(check(&Bearer { now_ms: 20_000, ..good() }), Err(Flaw::Expired));
        assert_eq!(check(&Bearer { now_ms: 9_999, ..good() }), Err(Flaw::Early));
        assert_eq!(check(&Bearer { name: "b", ..good() }), Err(Flaw::Name));
        assert_eq!(check(&Bearer { keys: [&other, &other], ..good() }), Err(Flaw::Key));
        assert_eq!(check(&Bearer { cluster: &elsewhere, ..good() }), Err(Flaw::Cluster));
        let forger = Authority::from_secret(&[8; 32]);
        assert_eq!(certificate.check(&forger.key(), &good()), Err(Flaw::Signature));
        let mut altered = certificate.clone();
        altered.words.holds.1 += 1;
        assert_eq!(altered.check(&authority.key(), &good()), Err(Flaw::Signature));
    }

    #[test]
    fn a_certificate_reads_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("node.certificate");
        let key = Identity::from_secret(&[1; 32]).node_id();
        let made = Authority::from_secret(&[9; 32]).issue("c", key, "a", UNIX_EPOCH..UNIX_EPOCH);
        made.save(&path).expect("written");
        assert_eq!(Certificate::load(&path).expect("read"), made);
        assert!(made.to_string()[2..].parse::<Certificate>().is_err());
    }
}
