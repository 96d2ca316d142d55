//! Messages that travel as one mail.

use alloc::vec::Vec;
use bytes::{Buf, Bytes};
use core::iter::FusedIterator;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes before each message: its length.
const LEN_LEN: usize = 2;

/// Messages that are sent, delivered, refused and lost as one: at least one, one behind the other, each after its length
/// in two bytes, little-endian.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    bytes: Bytes,
    count: u32,
}

impl Bundle {
    /// Bytes of a message in a bundle at most; a longer one goes alone.
    pub const MESSAGE_LEN_MAX: usize = u16::MAX as usize;
    /// Messages in a bundle at most: whoever reads it makes something of each.
    pub const COUNT_MAX: u32 = 1_024;

    /// Reads a bundle; none where the bytes are none.
    pub fn read(bytes: Bytes) -> Option<Self> {
        let (mut rest, mut count) = (&bytes[..], 0);
        while let Some((len, behind)) = rest.split_first_chunk::<LEN_LEN>() {
            rest = behind.get(u16::from_le_bytes(*len).into()..)?;
            count += 1;
        }
        (count > 0 && count <= Self::COUNT_MAX && rest.is_empty()).then_some(Self { bytes, count })
    }

    /// Tells how many bytes so many messages of one length take together.
    pub fn wire_len(count: u32, message_len: u32) -> usize {
        (message_len as usize).saturating_add(LEN_LEN).saturating_mul(count as usize)
    }

    /// Counts the messages.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Shows the messages as they travel.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Takes the messages out, in their order.
    pub fn into_messages(self) -> impl Iterator<Item = Bytes> {
        Messages(self.bytes)
    }
}

impl Serialize for Bundle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.bytes.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Bundle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::read(Bytes::deserialize(deserializer)?).ok_or_else(|| D::Error::custom("no bundle of messages"))
    }
}

/// What is left of a bundle.
struct Messages(Bytes);

impl Iterator for Messages {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let len = self.0.try_get_u16_le().ok()?;
        Some(self.0.split_to(usize::from(len).min(self.0.len())))
    }
}

impl FusedIterator for Messages {}

/// Puts messages behind one another.
#[derive(Clone, Debug, Default)]
pub struct Bundler {
    bytes: Vec<u8>,
    count: u32,
}

impl Bundler {
    /// Takes a message in, if the whole stays within so many bytes and [`Bundle::COUNT_MAX`]. Tells whether it did.
    pub fn push(&mut self, message: &[u8], max: usize) -> bool {
        let Ok(len) = u16::try_from(message.len()) else { return false };
        if self.count >= Bundle::COUNT_MAX || self.bytes.len() + LEN_LEN + message.len() > max {
            return false;
        }
        self.bytes.extend_from_slice(&len.to_le_bytes());
        self.bytes.extend_from_slice(message);
        self.count += 1;
        true
    }

    /// Hands out what was taken in, if that is anything, and begins anew.
    pub fn take(&mut self) -> Option<Bundle> {
        let Self { bytes, count } = core::mem::take(self);
        (count > 0).then(|| Bundle { bytes: bytes.into(), count })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_bundled_comes_out_in_order_and_within_the_bound(
            messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..40),
            max in 42..200_usize,
        ) {
            let (mut bundler, mut bundles) = (Bundler::default(), Vec::new());
            for message in &messages {
                if !bundler.push(message, max) {
                    bundles.extend(bundler.take());
                    prop_assert!(bundler.push(message, max), "it fits alone");
                }
            }
            bundles.extend(bundler.take());
            prop_assert!(bundler.take().is_none());
            let counted: u32 = bundles.iter().map(Bundle::count).sum();
            prop_assert_eq!(counted as usize, messages.len());
            for bundle in &bundles {
                prop_assert!(bundle.bytes().len() <= max);
                prop_assert_eq!(Bundle::read(bundle.bytes().clone()), Some(bundle.clone()));
            }
            let out: Vec<Bytes> = bundles.into_iter().flat_map(Bundle::into_messages).collect();
            prop_assert_eq!(out, messages);
        }

        #[test]
        fn bytes_are_read_as_a_bundle_only_if_they_are_one(bytes in proptest::collection::vec(0..5_u8, 0..30)) {
            let bytes = Bytes::from(bytes);
            let again = |bundle: &Bundle| {
                let mut bundler = Bundler::default();
                for message in bundle.clone().into_messages() {
                    assert!(bundler.push(&message, usize::MAX));
                }
                bundler.take()
            };
            if let Some(bundle) = Bundle::read(bytes.clone()) {
                let again = again(&bundle).expect("it holds a message");
                prop_assert_eq!(again.bytes(), &bytes, "nothing is left over");
                prop_assert_eq!(again.count(), bundle.count());
            }
        }
    }

    #[test]
    fn a_bundle_holds_no_more_messages_than_are_read() {
        let full = Bytes::from(alloc::vec![0; LEN_LEN * Bundle::COUNT_MAX as usize]);
        assert_eq!(Bundle::read(full.clone()).map(|bundle| bundle.count()), Some(Bundle::COUNT_MAX));
        assert_eq!(Bundle::read([&full[..], &[0; LEN_LEN]].concat().into()), None);
        let mut bundler = Bundler::default();
        assert!((0..Bundle::COUNT_MAX).all(|_| bundler.push(b"", usize::MAX)));
        assert!(!bundler.push(b"", usize::MAX));
    }

    #[test]
    fn nothing_a_length_that_lies_and_a_message_too_long_are_no_bundle() {
        for bytes in [&b""[..], b"\x01", b"\x01\x00", b"\x00\x00\x01", b"\x02\x00a"] {
            assert_eq!(Bundle::read(Bytes::copy_from_slice(bytes)), None, "{bytes:?}");
        }
        let two = Bundle::read(Bytes::from_static(b"\x00\x00\x01\x00a"))
            .expect("an empty message, and a short one");
        assert_eq!(two.count(), 2);
        let mut bundler = Bundler::default();
        assert!(bundler.push(&[0; Bundle::MESSAGE_LEN_MAX], usize::MAX));
        assert!(!bundler.push(&[0; Bundle::MESSAGE_LEN_MAX + 1], usize::MAX));
        assert_eq!(bundler.take().map(|bundle| bundle.count()), Some(1));
    }
}
