//! Statements that somebody signs: Ed25519 over a label that tells their kinds apart, then their words.

use crate::identity::is_strong_key;
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use rumormill_core::NodeId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Why a text is no statement.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StatementError {
    /// The file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which one.
        path: std::path::PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It has not the form of one.
    #[error("these are not the hexadecimal digits of a {0}")]
    Malformed(&'static str),
}

/// An Ed25519 signature, in the two halves of RFC 8032.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Signature {
    r: [u8; 32],
    s: [u8; 32],
}

fn message<T: Serialize>(label: &str, words: &T) -> Vec<u8> {
    let mut message = label.as_bytes().to_vec();
    message.push(0); // no label is the beginning of another
    message.extend(postcard::to_allocvec(words).expect("a statement has a form"));
    message
}

impl Signature {
    /// Signs a statement.
    pub(crate) fn of<T: Serialize>(key: &SigningKey, label: &str, words: &T) -> Self {
        let signature = key.sign(&message(label, words));
        Self { r: *signature.r_bytes(), s: *signature.s_bytes() }
    }

    /// Tells whether the owner of a key signed this statement; a weak key has no owner.
    pub(crate) fn is_of<T: Serialize>(&self, key: &NodeId, label: &str, words: &T) -> bool {
        let signature = ed25519_dalek::Signature::from_components(self.r, self.s);
        let key = VerifyingKey::from_bytes(&key.0).ok().filter(|key| is_strong_key(key.as_bytes()));
        key.is_some_and(|key| key.verify_strict(&message(label, words), &signature).is_ok())
    }
}

/// What stands for a cluster in statements: the hash of its name.
pub(crate) fn cluster_hash(cluster: &str) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, cluster.as_bytes());
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// Writes a statement as one line of hexadecimal digits.
pub(crate) fn to_hex<T: Serialize>(statement: &T) -> String {
    let bytes = postcard::to_allocvec(statement).expect("a statement has a form");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads a statement from hexadecimal digits.
pub(crate) fn from_hex<T: DeserializeOwned>(text: &str) -> Option<T> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let pair = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    let bytes = digits.chunks_exact(2).map(pair).collect::<Option<Vec<u8>>>()?;
    let (statement, rest) = postcard::take_from_bytes(&bytes).ok()?;
    rest.is_empty().then_some(statement)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_words_label_and_key_only() {
        let (key, other) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let id = |key: &SigningKey| NodeId(key.verifying_key().to_bytes());
        let signature = Signature::of(&key, "label", &7_u8);
        assert!(signature.is_of(&id(&key), "label", &7_u8));
        assert!(!signature.is_of(&id(&key), "label", &8_u8));
        assert!(!signature.is_of(&id(&key), "labels", &7_u8));
        assert!(!signature.is_of(&id(&other), "label", &7_u8));
    }

    #[test]
    fn nobody_signs_for_a_weak_key() {
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let base: [u8; 32] = std::array::from_fn(|at| if at == 0 { 0x58 } else { 0x66 });
        let signature = Signature { r: base, s: neutral }; // s = 1 and R = B satisfy the equation for any words
        assert!(!signature.is_of(&NodeId(neutral), "label", &7_u8));
    }

    #[test]
    fn hexadecimal_digits_read_back_and_nothing_longer_does() {
        assert_eq!(from_hex::<(u8, u32)>(&to_hex(&(7_u8, 1_000_u32))), Some((7, 1_000)));
        for bad in ["0", "zz", "+1", "0700ff", ""] {
            assert_eq!(from_hex::<(u8, u8)>(bad), None, "{bad}");
        }
    }
}
