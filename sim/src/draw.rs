//! Addressed randomness: every draw names its decision.
//!
//! A draw is a hash of the seed, its version, a domain, the words that name the subject, and a count of equal
//! subjects. One decision more or fewer elsewhere never moves another.

use rumormill_core::NodeId;
use rumormill_core::hash::{Fold, mix};
use std::fmt;
use std::str::FromStr;

/// The current meaning of seeds. It rises when the same number begins to mean another world.
pub const SEED_VERSION: u32 = 1;

/// The seed of a world, with the version of its meaning: `1:42`; a bare `42` means the current version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seed {
    /// Which meaning of seeds.
    pub version: u32,
    /// The number.
    pub value: u64,
}

impl From<u64> for Seed {
    fn from(value: u64) -> Self {
        Self { version: SEED_VERSION, value }
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.version, self.value)
    }
}

/// Why a text is no seed. Says what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SeedError {
    /// It is not a number, nor two with a colon between them.
    Syntax(String),
    /// Seeds of this version mean nothing to this build.
    Version(u32),
}

impl fmt::Display for SeedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(text) => {
                write!(
                    f,
                    "`{text}` is no seed: a number from 0 to {} is expected, as `42` or `1:42`",
                    u64::MAX
                )
            }
            Self::Version(version) => {
                write!(
                    f,
                    "seeds of version {version} are unknown here: version {SEED_VERSION} is expected, as `{SEED_VERSION}:42`"
                )
            }
        }
    }
}

impl std::error::Error for SeedError {}

impl FromStr for Seed {
    type Err = SeedError;

    fn from_str(text: &str) -> Result<Self, SeedError> {
        let syntax = || SeedError::Syntax(text.to_owned());
        let (version, value) = match text.split_once(':') {
            Some((version, value)) => (version.parse().map_err(|_| syntax())?, value),
            None => (SEED_VERSION, text),
        };
        let value = value.parse().map_err(|_| syntax())?;
        if version == SEED_VERSION { Ok(Self { version, value }) } else { Err(SeedError::Version(version)) }
    }
}

/// What a draw is for: the first part of its address. Append only; the numbers are part of every seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Domain {
    /// A node's id: (number, word).
    NodeId = 0,
    /// The seed of a node's generator: (number, life, word).
    NodeSeed = 1,
    /// The latency of a pair: (smaller number, greater number).
    Latency = 2,
    /// The region of a node: (number).
    Region = 3,
    /// Whether a packet is lost: (frame's address, k, cause, packet and attempt).
    Loss = 4,
    /// Whether a frame comes twice: (frame's address, k, cause).
    Duplicate = 5,
    /// Whether a frame is held back: (frame's address, k, cause).
    Reorder = 6,
    /// For how long a frame is held back: (frame's address, k).
    ReorderDelay = 7,
    /// The phase of an end's keep-alives: (the end's number, the other's).
    KeepAlive = 8,
    /// How much longer than usual a write takes: (number, life, k-th write).
    WriteDelay = 9,
    /// How many of the writes under way survive a crash: (number, life).
    WriteFate = 10,
    /// The seed of the generator of a node's app: (number, life, word).
    AppSeed = 11,
}

/// The draws of one world.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draws(Fold);

impl Draws {
    pub(crate) fn new(seed: Seed) -> Self {
        let mut fold = Fold::starting_at(seed.value);
        fold.word(u64::from(seed.version));
        Self(fold)
    }

    /// Draws 64 bits for the decision that the domain and the words name.
    #[inline]
    pub(crate) fn draw(&self, domain: Domain, subject: &[u64]) -> u64 {
        let mut fold = self.0;
        fold.word(domain as u64);
        subject.iter().for_each(|word| fold.word(*word));
        fold.finish()
    }

    /// Draws a number below `bound`; zero when `bound` is zero.
    #[inline]
    pub(crate) fn below(&self, bound: u64, domain: Domain, subject: &[u64]) -> u64 {
        below(self.draw(domain, subject), bound)
    }

    /// Decides with a chance in a million.
    #[inline]
    pub(crate) fn chance(&self, ppm: u32, domain: Domain, subject: &[u64]) -> bool {
        ppm > 0 && self.below(1_000_000, domain, subject) < u64::from(ppm)
    }

    /// Derives 32 bytes.
    pub(crate) fn bytes(&self, domain: Domain, subject: [u64; 2]) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (word, chunk) in bytes.chunks_exact_mut(8).enumerate() {
            let bits = self.draw(domain, &[subject[0], subject[1], word as u64]);
            chunk.copy_from_slice(&bits.to_le_bytes());
        }
        bytes
    }

    /// Derives the id of a node from the seed and its number, and from nothing else.
    ///
    /// The last eight bytes hide the number behind a hash of the first sixteen, so that [`number_of`] needs no table.
    pub(crate) fn node_id(&self, number: u32) -> NodeId {
        let mut id = NodeId(self.bytes(Domain::NodeId, [u64::from(number), 0]));
        let hidden = mask(&id) ^ u64::from(number);
        id.0[24..].copy_from_slice(&hidden.to_le_bytes());
        id
    }
}

/// Spreads 64 uniform bits over the numbers below `bound`.
#[inline]
pub(crate) fn below(bits: u64, bound: u64) -> u64 {
    ((u128::from(bits) * u128::from(bound)) >> 64) as u64
}

/// Reads the number of a simulated node out of its id. Of a foreign id it reads any number: compare ids afterwards.
#[inline]
pub(crate) fn number_of(id: &NodeId) -> u64 {
    word_at(id, 24) ^ mask(id)
}

#[inline]
fn mask(id: &NodeId) -> u64 {
    mix(word_at(id, 0) ^ word_at(id, 8).rotate_left(32))
}

#[inline]
fn word_at(id: &NodeId, at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&id.0[at..at + 8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_read_with_and_without_its_version() {
        assert_eq!("42".parse(), Ok(Seed::from(42)));
        assert_eq!("1:42".parse(), Ok(Seed::from(42)));
        assert_eq!(Seed::from(42).to_string(), "1:42");
    }

    #[test]
    fn what_is_no_seed_is_told_what_would_be_right() {
        for text in ["", "x", "1:", ":1", "1:2:3", "-1", "1:18446744073709551616"] {
            let error = text.parse::<Seed>().expect_err(text).to_string();
            assert!(error.contains("`42` or `1:42`"), "{error}");
        }
        assert_eq!("9:1".parse::<Seed>(), Err(SeedError::Version(9)));
        assert!(SeedError::Version(9).to_string().contains("1:42"));
    }

    #[test]
    fn a_draw_depends_on_every_part_of_its_address_and_on_nothing_else() {
        let draws = Draws::new(Seed::from(42));
        let one = draws.draw(Domain::Loss, &[1, 2, 3]);
        assert_eq!(one, Draws::new(Seed::from(42)).draw(Domain::Loss, &[1, 2, 3]));
        assert_ne!(one, draws.draw(Domain::Loss, &[1, 2, 4]));
        assert_ne!(one, draws.draw(Domain::Loss, &[2, 1, 3]));
        assert_ne!(one, draws.draw(Domain::Reorder, &[1, 2, 3]));
        assert_ne!(one, Draws::new(Seed::from(43)).draw(Domain::Loss, &[1, 2, 3]));
        assert_ne!(one, Draws::new(Seed { version: 2, value: 42 }).draw(Domain::Loss, &[1, 2, 3]));
    }

    #[test]
    fn a_chance_in_a_million_is_what_it_says() {
        let draws = Draws::new(Seed::from(7));
        let hits = (0..100_000).filter(|i| draws.chance(50_000, Domain::Loss, &[*i])).count();
        assert!((4_800..5_200).contains(&hits), "5 % of 100,000 were {hits}");
        assert!(!(0..1_000).any(|i| draws.chance(0, Domain::Loss, &[i])));
        assert!((0..1_000).all(|i| draws.chance(1_000_000, Domain::Loss, &[i])));
    }

    #[test]
    fn a_number_is_read_back_from_its_id() {
        let draws = Draws::new(Seed::from(42));
        for number in [0, 1, 2, 999, 1_000_000, u32::MAX] {
            assert_eq!(number_of(&draws.node_id(number)), u64::from(number));
        }
        assert_ne!(draws.node_id(1).prefix(), draws.node_id(2).prefix());
        assert_ne!(draws.node_id(1), Draws::new(Seed::from(43)).node_id(1));
    }

    #[test]
    fn what_a_seed_means_never_changes() {
        let draws = Draws::new(Seed::from(42));
        assert_eq!(draws.draw(Domain::Loss, &[1, 2]), GOLDEN, "{:#x}", draws.draw(Domain::Loss, &[1, 2]));
        assert_eq!(draws.node_id(3).to_string(), GOLDEN_ID);
    }

    const GOLDEN: u64 = 0xDFE5_AD69_3315_3654;
    const GOLDEN_ID: &str = "ed096ab5";
}
