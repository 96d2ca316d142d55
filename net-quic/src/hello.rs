//! HELLO: what two nodes say to each other first on a connection, before anything else is read.
//!
//! The dialler sends its HELLO, the accepting node answers with its own; each judges the other's, writes down what it
//! must not forget, and acknowledges. Ends that know different revocations tell each other before they go on. A tag, keyed
//! by the cluster's secret, binds each HELLO to this very TLS session, to its sender's role and to both keys: it cannot be
//! replayed, reflected or relayed.

use crate::trust::{Certificate, Rotation};
use ring::hmac;
use rumormill_core::{ADDRS_MAX, Incarnation, NodeId};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::num::NonZeroU32;

/// Bytes of a HELLO at most.
pub(crate) const LEN_MAX: usize = 4 << 10;
/// Bytes of a node's name at most: that of a DNS label.
pub const NAME_LEN_MAX: usize = 63;
/// Bytes that TLS gives us to bind to.
pub(crate) const EXPORTED_LEN: usize = 32;
/// The label under which TLS exports them.
pub(crate) const EXPORT_LABEL: &[u8] = b"EXPORTER-rumormill-hello-1";

/// Where the number of the process begins in the features of a HELLO.
const PROCESS_SHIFT: u32 = 32;

/// Makes the features of a HELLO that a process sends.
pub(crate) fn features(process: NonZeroU32) -> u64 {
    u64::from(process.get()) << PROCESS_SHIFT
}

/// Who sends a HELLO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Role {
    Dialler = 0,
    Acceptor = 1,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Purpose {
    /// To carry frames between two nodes that know each other.
    Link,
    /// To learn who listens at an address.
    Identify,
    /// To carry streams of users.
    Streams,
    /// To carry frames in place of every connection between the two: who dials has moved, and those that the other end
    /// dialled lead where it was.
    Moved,
}

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// The oldest and the newest protocol version that it speaks.
    pub(crate) versions: (u16, u16),
    /// Whether it checks whom it meets.
    pub(crate) is_auth_on: bool,
    pub(crate) purpose: Purpose,
    pub(crate) name: String,
    pub(crate) incarnation: u64,
    pub(crate) addrs: Vec<SocketAddr>,
    /// How it came to its key from its first.
    pub(crate) chain: Vec<Rotation>,
    /// The authority's word for its name.
    pub(crate) certificate: Option<Certificate>,
    /// The digest of the revocations that it knows: ends that know different ones tell each other.
    pub(crate) revoked: [u8; 8],
    /// Below, bits for what a later version may offer; unknown ones are ignored. Above, from [`PROCESS_SHIFT`] on, the number
    /// of the process that speaks, or zero.
    pub(crate) features: u64,
    pub(crate) tag: [u8; 32],
}

impl Hello {
    /// Says no more than a name, to be filled in.
    #[cfg(test)]
    pub(crate) fn blank(name: &str) -> Self {
        Self {
            versions: (1, 1),
            is_auth_on: true,
            purpose: Purpose::Link,
            name: name.into(),
            incarnation: 1,
            addrs: Vec::new(),
            chain: Vec::new(),
            certificate: None,
            revoked: [0; 8],
            features: 0,
            tag: [0; 32],
        }
    }

    /// Tells which life of the node speaks.
    pub(crate) fn incarnation(&self) -> Incarnation {
        Incarnation(self.incarnation)
    }

    /// Tells which process speaks, if it says so: two that live the same life have copies of one folder.
    pub(crate) fn process(&self) -> Option<NonZeroU32> {
        NonZeroU32::new((self.features >> PROCESS_SHIFT) as u32)
    }

    /// Tells whether its lists and texts keep their bounds.
    pub(crate) fn is_well_formed(&self) -> bool {
        is_name(&self.name) && self.addrs.len() <= ADDRS_MAX && self.versions.0 <= self.versions.1
    }

    /// Chooses the newest version that both ends speak.
    pub(crate) fn common_version(&self, ours: (u16, u16)) -> Option<u16> {
        let (oldest, newest) = (self.versions.0.max(ours.0), self.versions.1.min(ours.1));
        (oldest <= newest).then_some(newest)
    }
}

/// Tells whether a node may have this name: 1 to 63 letters, digits, `-`, `_`, `.` or `@`.
pub(crate) fn is_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
    (1..=NAME_LEN_MAX).contains(&name.len()) && name.bytes().all(is_allowed)
}

/// What a tag is bound to.
#[derive(Clone, Copy)]
pub(crate) struct Session<'a> {
    pub(crate) exported: &'a [u8; EXPORTED_LEN],
    /// The sender of the tag.
    pub(crate) sender: &'a NodeId,
    /// The node that it is for.
    pub(crate) receiver: &'a NodeId,
    pub(crate) role: Role,
}

/// What makes and checks tags: the cluster's secret and its name.
pub(crate) struct Cookie {
    key: hmac::Key,
    cluster: String,
}

impl Cookie {
    pub(crate) fn new(secret: &[u8], cluster: &str) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, secret), cluster: cluster.into() }
    }

    fn message(&self, session: Session<'_>, hello: &Hello) -> Vec<u8> {
        let Session { exported, sender, receiver, role } = session;
        let mut message = b"rumormill hello 1".to_vec();
        message.push(role as u8);
        message.extend_from_slice(exported);
        message.extend_from_slice(&sender.0);
        message.extend_from_slice(&receiver.0);
        message.extend_from_slice(&(self.cluster.len() as u64).to_le_bytes());
        message.extend_from_slice(self.cluster.as_bytes());
        let untagged = Hello { tag: [0; 32], ..hello.clone() };
        message.extend(postcard::to_allocvec(&untagged).expect("a HELLO has a form"));
        message
    }

    /// Writes the tag into a HELLO of this node.
    pub(crate) fn seal(&self, session: Session<'_>, hello: &mut Hello) {
        let tag = hmac::sign(&self.key, &self.message(session, hello));
        hello.tag.copy_from_slice(tag.as_ref());
    }

    /// Tells, in constant time, whether the sender of a HELLO knows the secret.
    pub(crate) fn is_sealed(&self, session: Session<'_>, hello: &Hello) -> bool {
        hmac::verify(&self.key, &self.message(session, hello), &hello.tag).is_ok()
    }
}

/// The name of the protocol as TLS negotiates it: the major version and the cluster, so that strangers fail early.
pub(crate) fn protocol(cluster: &str) -> Vec<u8> {
    let digest = ring::digest::digest(&ring::digest::SHA256, cluster.as_bytes());
    let hash: String = digest.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("rumor/1/{hash}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Hello {
        let addrs = vec!["127.0.0.1:9100".parse().expect("an address")];
        Hello { versions: (1, 3), incarnation: 7, addrs, ..Hello::blank("a") }
    }

    #[test]
    fn a_tag_holds_for_one_session_role_and_pair_only() {
        let (cookie, a, b, exported) =
            (Cookie::new(b"secret", "c"), NodeId([1; 32]), NodeId([2; 32]), [3; 32]);
        let session = Session { exported: &exported, sender: &a, receiver: &b, role: Role::Dialler };
        let mut hello = hello();
        cookie.seal(session, &mut hello);
        assert!(cookie.is_sealed(session, &hello));
        let other = [4; 32];
        assert!(!cookie.is_sealed(Session { exported: &other, ..session }, &hello), "replayed");
        assert!(!cookie.is_sealed(Session { role: Role::Acceptor, ..session }, &hello), "reflected");
        assert!(!cookie.is_sealed(Session { sender: &b, receiver: &a, ..session }, &hello), "turned round");
        assert!(!cookie.is_sealed(Session { receiver: &NodeId([5; 32]), ..session }, &hello), "relayed");
        assert!(!Cookie::new(b"Secret", "c").is_sealed(session, &hello), "another secret");
        assert!(!Cookie::new(b"secret", "d").is_sealed(session, &hello), "another cluster");
        let renamed = Hello { name: "b".into(), ..hello };
        assert!(!cookie.is_sealed(session, &renamed), "altered");
    }

    #[test]
    fn a_hello_tells_which_process_speaks() {
        let process = NonZeroU32::new(0xdead_beef).expect("a number");
        assert_eq!(Hello { features: features(process), ..hello() }.process(), Some(process));
        assert_eq!(Hello { features: u64::from(u32::MAX), ..hello() }.process(), None, "an older version");
    }

    #[test]
    fn versions_meet_at_the_newest_common_one() {
        let hello = hello();
        assert_eq!(hello.common_version((2, 9)), Some(3));
        assert_eq!(hello.common_version((1, 1)), Some(1));
        assert_eq!(hello.common_version((4, 9)), None);
    }

    #[test]
    fn names_are_labels() {
        for good in ["a", "node-1@host.example", &"x".repeat(63)] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "a b", "ü", &"x".repeat(64), "a\n"] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
