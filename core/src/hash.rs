//! Hashing that never changes: XXH3 for bytes, a little-endian word fold for traces.
//!
//! Nothing here uses `core::hash` (its `derive` hashes `usize` prefixes) or a random state: the same values give
//! the same numbers on every machine, in every process, in every version of the toolchain.

use bytes::Bytes;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// A type whose value can be folded into a [`Fold`], field by field, in an order that we own.
pub trait Folded {
    /// Folds every field of the value that carries meaning.
    fn fold(&self, into: &mut Fold);
}

impl Folded for u64 {
    #[inline]
    fn fold(&self, into: &mut Fold) {
        into.word(*self);
    }
}

impl Folded for Bytes {
    fn fold(&self, into: &mut Fold) {
        into.bytes(self);
    }
}

/// A rolling 64-bit hash over words: the accumulator behind every trace hash and digest.
///
/// The fold is order-sensitive: folding `a` then `b` differs from `b` then `a`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fold(u64);

impl Default for Fold {
    fn default() -> Self {
        Self(0x9E37_79B9_7F4A_7C15)
    }
}

impl Fold {
    /// Starts from a value, for example a seed or an earlier hash.
    pub fn starting_at(value: u64) -> Self {
        let mut fold = Self::default();
        fold.word(value);
        fold
    }

    /// Folds one word.
    #[inline]
    pub fn word(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * 0xE703_7ED1_A0B4_28DB_u128;
        self.0 = (product as u64) ^ ((product >> 64) as u64) ^ word.rotate_left(32);
        self.0 = self.0.wrapping_add(0x2D35_8DCC_AA6C_78A5);
    }

    /// Folds two words with one multiplication, for long fields of uniform words such as ids.
    #[inline]
    pub fn pair(&mut self, a: u64, b: u64) {
        let product = u128::from(self.0 ^ a) * u128::from(b ^ 0xE703_7ED1_A0B4_28DB);
        self.0 = ((product as u64) ^ (product >> 64) as u64).wrapping_add(a ^ b.rotate_left(32));
    }

    /// Folds bytes with their length, so that two neighbouring byte strings never run into one another.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.hashed(bytes.len(), xxh3_64(bytes));
    }

    /// Folds bytes of which length and hash are known.
    #[inline]
    pub(crate) fn hashed(&mut self, len: usize, hash: u64) {
        self.word(len as u64);
        self.word(hash);
    }

    /// Folds a whole value.
    #[inline]
    pub fn value(&mut self, value: &impl Folded) {
        value.fold(self);
    }

    /// Shows the hash of everything folded so far.
    #[inline]
    pub fn finish(self) -> u64 {
        mix(self.0)
    }
}

/// Mixes a word so that every input bit reaches every output bit (the finaliser of SplitMix64).
#[inline]
pub const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Hashes bytes with XXH3-64.
#[inline]
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

/// Hashes bytes with XXH3-64 under a seed, to keep hashes of different purposes apart.
#[inline]
pub fn hash_bytes_seeded(bytes: &[u8], seed: u64) -> u64 {
    xxh3_64_with_seed(bytes, seed)
}

/// A `BuildHasher` for index maps whose keys are already uniform (ids, hashes): fixed on every machine.
///
/// Iteration order of our tables never depends on it (index maps iterate in insertion order); only lookups do.
#[derive(Clone, Copy, Debug, Default)]
pub struct FixedState;

/// The hasher of [`FixedState`].
#[derive(Clone, Copy, Debug, Default)]
pub struct FixedHasher(u64);

impl core::hash::BuildHasher for FixedState {
    type Hasher = FixedHasher;
    fn build_hasher(&self) -> FixedHasher {
        FixedHasher(0)
    }
}

impl core::hash::Hasher for FixedHasher {
    fn finish(&self) -> u64 {
        mix(self.0)
    }
    fn write(&mut self, bytes: &[u8]) {
        self.0 = mix(self.0) ^ xxh3_64(bytes);
    }
    fn write_u64(&mut self, word: u64) {
        self.0 = self.0.rotate_left(23).wrapping_mul(0xE703_7ED1_A0B4_28DB) ^ word;
    }
    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }
    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fold_depends_on_order_and_on_every_word() {
        let fold = |words: &[u64]| {
            let mut fold = Fold::default();
            words.iter().for_each(|word| fold.word(*word));
            fold.finish()
        };
        assert_ne!(fold(&[1, 2]), fold(&[2, 1]));
        assert_ne!(fold(&[1, 2]), fold(&[1, 3]));
        assert_ne!(fold(&[0]), fold(&[0, 0]));
    }

    #[test]
    fn a_fold_is_the_same_on_every_machine() {
        let mut fold = Fold::default();
        fold.word(42);
        fold.bytes(b"rumormill");
        assert_eq!(
            fold.finish(),
            GOLDEN,
            "a changed fold changes every recorded trace hash: {:#x}",
            fold.finish()
        );
    }

    const GOLDEN: u64 = 0xD159_7673_2648_B287;
}
