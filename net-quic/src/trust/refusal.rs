//! Why somebody is refused: said to the user of this node only.

use super::certificate::Flaw;
use rumormill_core::NodeId;

/// Why a connection was refused. The peer is told none of this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Another node than the one that was dialled answered.
    #[error("{} was dialled and {} answered", short(expected), short(shown))]
    WrongKey {
        /// The node that was dialled.
        expected: NodeId,
        /// The node that answered.
        shown: NodeId,
    },
    /// Its key is a point of small order: anybody can sign for it.
    #[error("its key is weak: anybody can sign for it")]
    WeakKey,
    /// It shows a key of this node.
    #[error(
        "it shows a key of this node: one of the two runs on a copy of the other's folder, or this is the node itself"
    )]
    OwnKey,
    /// TLS did not come about: another cluster, no Ed25519 key, or no proof that the key is its own.
    #[error("TLS: {0}")]
    Tls(String),
    /// One of both checks whom it meets, and the other does not.
    #[error("{}", if *is_on { "it runs with auth on, this node with auth off" } else { "it runs with auth off" })]
    Auth {
        /// Whether the peer checks.
        is_on: bool,
    },
    /// It does not know the secret of the cluster, or relays somebody who does.
    #[error("it does not prove that it knows the cluster's secret")]
    WrongSecret,
    /// Its key does not stand in the list of allowed ones.
    #[error("its key is not in the list of allowed keys")]
    NotAllowed,
    /// The list of allowed keys cannot be read.
    #[error("the list of allowed keys cannot be read: {0}")]
    NoList(String),
    /// It shows no certificate.
    #[error("it shows no certificate")]
    NoCertificate,
    /// Its certificate does not hold.
    #[error("its certificate does not hold: {0}")]
    Certificate(Flaw),
    /// The name belongs to another node.
    #[error("the name {name} belongs to {}", short(owner))]
    NameTaken {
        /// The name.
        name: String,
        /// Whose it is.
        owner: NodeId,
    },
    /// The key is known under another name.
    #[error("its key is known as {known}, it says {said}")]
    Renamed {
        /// The name that is pinned.
        known: String,
        /// The name in its HELLO.
        said: String,
    },
    /// The rotations that it shows do not lead from its first key to the one it holds.
    #[error("it does not show how it came to its key")]
    Rotation,
    /// It shows a key that the node has rotated away from, and the overlap is over.
    #[error("it shows an old key, and the node rotated to another")]
    OldKey,
    /// One of its keys is in two hands: it was rotated to two different keys. Nobody comes in under this name until
    /// its pin is removed.
    #[error("its key was rotated twice, in two ways: somebody else has it, and the name {0} is frozen")]
    Forked(String),
    /// Its key was revoked.
    #[error("its key was revoked")]
    Revoked,
    /// No protocol version is common.
    #[error("it speaks versions {} to {} only", versions.0, versions.1)]
    Version {
        /// The oldest and the newest that it speaks.
        versions: (u16, u16),
    },
    /// What it sent is no HELLO.
    #[error("what it sent is no HELLO")]
    Malformed,
    /// It took too long.
    #[error("no HELLO came in time")]
    TimedOut,
    /// There is no room: handshakes under way, connections of one node, or pins are at their bound.
    #[error("no room for {0}")]
    NoRoom(&'static str),
    /// A peer that was let in sent what is no frame; where the next one begins cannot be known, its connection ends.
    #[error("what it sent is no frame")]
    BadFrame,
    /// A peer that was let in opened a stream that this version knows no use for; the stream is stopped.
    #[error("it opened a stream of an unknown kind")]
    UnknownStream,
    /// It ended its connection with us, as this node has come in there again in a later life, which is not this process.
    #[error("another process runs with this node's key, and began later: end one of them")]
    Outlived,
    /// It ended its connection with us, as another process is connected there that shows the same key and the same life: one of
    /// both runs in a copy of the other's folder.
    #[error(
        "another process runs with this node's key, out of a copy of its folder: end one of them; a node of its own begins in an empty folder"
    )]
    Copied,
    /// It refused us, and does not say why.
    #[error(
        "it refused this node, and tells only its own user why (its log, `rumor status`): often another secret, a name that another key has, or a key that has another name"
    )]
    ByPeer,
    /// The pin cannot be written.
    #[error("the pin cannot be written: {0}")]
    Store(String),
    /// It was let in and its connection goes on, but by what is told of it, by itself or by another member, it is no member to
    /// this node: their configurations differ, or a clock is wrong.
    #[error("{} is no member to this node: {}", short(node), differing(key, *ours, *theirs))]
    NoMember {
        /// The node.
        node: NodeId,
        /// The key of the configuration that differs, or that a clock is beyond.
        key: &'static str,
        /// What this node has; of a clock, the time of day here.
        ours: u64,
        /// What that node has; of a clock, when its life began by it.
        theirs: u64,
    },
}

impl Refusal {
    /// Tells the reason in one word, as refusals are counted.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::WrongKey { .. } => "wrong-key",
            Self::WeakKey => "weak-key",
            Self::OwnKey => "own-key",
            Self::Tls(_) => "tls",
            Self::Auth { .. } => "auth",
            Self::WrongSecret => "wrong-secret",
            Self::NotAllowed => "not-allowed",
            Self::NoList(_) => "no-list",
            Self::NoCertificate => "no-certificate",
            Self::Certificate(_) => "certificate",
            Self::NameTaken { .. } => "name-taken",
            Self::Renamed { .. } => "renamed",
            Self::Rotation => "rotation",
            Self::OldKey => "old-key",
            Self::Forked(_) => "forked",
            Self::Revoked => "revoked",
            Self::Version { .. } => "version",
            Self::Malformed => "malformed",
            Self::TimedOut => "timed-out",
            Self::NoRoom(_) => "no-room",
            Self::BadFrame => "bad-frame",
            Self::UnknownStream => "unknown-stream",
            Self::Outlived => "outlived",
            Self::Copied => "copied",
            Self::ByPeer => "by-peer",
            Self::Store(_) => "store",
            Self::NoMember { .. } => "no-member",
        }
    }
}

/// What differs between two nodes, in the numbers of both.
fn differing(key: &str, ours: u64, theirs: u64) -> String {
    if key == "members_ahead_ms_max" {
        let hours = theirs.saturating_sub(ours) / 3_600_000;
        return format!(
            "its life began {hours} hours from now by this node's clock; one of both clocks is wrong"
        );
    }
    format!("{key} is {theirs} there and {ours} here; it must be the same in the whole cluster")
}

/// The beginning of a key, as logs show it.
fn short(key: &NodeId) -> String {
    key.0[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}
