//! Who may come in: a secret that the cluster shares, pins of those who were here before, a list of keys, an authority.
//!
//! Names and keys are one to one. Everything is judged after TLS has proven the key and HELLO the secret, and a pin is
//! on disk before a peer is told that it is in. A peer learns that it was refused and never why: reasons go to the log,
//! the counters and the notices of the node that refuses.
//!
//! What a node must know of others to judge them travels as signed statements: rotations of keys, revocations, and the
//! two rotations that prove a key stolen. A statement that is new goes to everybody over a topic, and those who were not
//! there are told when they next meet somebody, before the meeting ends.

mod admission;
mod allowed;
mod authority;
mod certificate;
mod gossip;
mod notices;
mod pins;
mod refusal;
mod revocation;
mod rotation;
mod signed;
#[cfg(test)]
mod tests;

pub use authority::{Authority, AuthorityKey};
pub use certificate::{Certificate, Flaw};
pub use notices::{Notice, Notices, Refused};
pub use pins::Pin;
pub use refusal::Refusal;
pub use revocation::Revocation;
pub use rotation::ROTATIONS_MAX;
pub use signed::StatementError;

pub(crate) use admission::{Admission, Own, Proven};
pub(crate) use gossip::{ERRANDS, Gossip, TOPIC};
pub(crate) use notices::Told;
pub(crate) use revocation::{SHEET_LEN_MAX, Sheet};
pub(crate) use rotation::{Rotation, first_key};
pub(crate) use signed::{cluster_hash, from_hex, to_hex};

use std::path::PathBuf;

/// Whom a node lets in.
#[derive(Clone, Debug, Default)]
pub enum Trust {
    /// Whoever knows the cluster's secret; at the first meeting its key and name are pinned to each other.
    #[default]
    OnFirstUse,
    /// Whoever knows the secret and whose key stands in a file: one key a line, 64 hexadecimal digits, `#` begins a
    /// comment. The file is read again when it changes. The first key of a node stands for those that it rotates to.
    Strict {
        /// The file.
        allowed: PathBuf,
    },
    /// Whoever knows the secret and shows a certificate of this authority for its key and name. The node needs one of
    /// its own: see [`Builder::certificate`](crate::Builder::certificate).
    Authority {
        /// Its public key.
        key: AuthorityKey,
    },
    /// Whoever asks, with no secret and no pin: for development, on a network that nobody else is on. Such a node does
    /// not meet one of another kind.
    Off,
}

impl Trust {
    /// Tells whether anybody is checked.
    pub fn is_on(&self) -> bool {
        !matches!(self, Self::Off)
    }

    /// Reads a list of allowed keys that is there, so that a mistake in it is told at the start and not at a door.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        let Self::Strict { allowed: path } = self else { return Ok(()) };
        if path.exists() { allowed::Allowed::default().reload(path) } else { Ok(()) }
    }
}
