//! Values that replicas join without asking one another: the trait, counters and registers.
//!
//! A join is commutative, associative and idempotent, so it does not matter in what order, how often and by which
//! way states arrive: replicas that have joined the same states are equal, byte for byte when encoded. Operations
//! return their *delta*, a small value of the same type that carries what the operation added (Almeida, Shoker,
//! Baquero: "Delta State Replicated Data Types", 2018, section 4).

use crate::hash::{Fold, Folded};
use crate::id::{Version, Writer, bounded};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Writers of one value that are accepted from bytes at most (the bound of a map's version vector).
pub const WRITERS_MAX: usize = 1 << 16;

/// A type whose values form a join-semilattice.
pub trait Lattice {
    /// Makes `self` the least value that holds both, and tells whether it has changed.
    ///
    /// Must be commutative, associative and idempotent for all values, also for such as no correct replica makes.
    fn join(&mut self, other: &Self) -> bool;
}

/// A counter that only grows: how much each writer has added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GCounter<A = Writer>(BTreeMap<A, u64>);

impl<A: Ord + Copy> GCounter<A> {
    /// Starts at zero.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Adds `amount` in the name of `actor` and returns the delta. An actor's part ends at `u64::MAX`.
    ///
    /// One actor adds at one replica at a time, which holds everything that it has added before.
    pub fn add(&mut self, actor: A, amount: u64) -> Self {
        let mut delta = Self::new();
        if amount > 0 {
            let part = self.0.entry(actor).or_default();
            *part = part.saturating_add(amount);
            delta.0.insert(actor, *part);
        }
        delta
    }

    /// Tells the sum over all writers.
    pub fn value(&self) -> u128 {
        self.0.values().map(|part| u128::from(*part)).sum()
    }
}

impl<A: Ord + Copy> Default for GCounter<A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<A: Ord + Copy> Lattice for GCounter<A> {
    fn join(&mut self, other: &Self) -> bool {
        let mut changed = false;
        for (actor, theirs) in &other.0 {
            let ours = self.0.entry(*actor).or_default();
            changed |= *ours < *theirs;
            *ours = (*ours).max(*theirs);
        }
        changed
    }
}

impl<A: Folded> Folded for GCounter<A> {
    fn fold(&self, into: &mut Fold) {
        into.word(self.0.len() as u64);
        for (actor, part) in &self.0 {
            into.value(actor);
            into.word(*part);
        }
    }
}

impl<A: Serialize> Serialize for GCounter<A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&self.0)
    }
}

impl<'de, A: Deserialize<'de> + Ord> Deserialize<'de> for GCounter<A> {
    /// Refuses what no counter encodes to: actors out of order, parts of zero, more than [`WRITERS_MAX`] parts.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parts: Vec<(A, u64)> = bounded::<D, _, WRITERS_MAX>(deserializer)?;
        let ascending = parts.windows(2).all(|pair| pair[0].0 < pair[1].0);
        if !ascending || parts.iter().any(|(_, part)| *part == 0) {
            return Err(D::Error::custom("the parts of a counter are not in their one form"));
        }
        Ok(Self(parts.into_iter().collect()))
    }
}

/// A counter that goes up and down: what was added and what was taken away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(serialize = "A: Serialize", deserialize = "A: Deserialize<'de> + Ord"))]
pub struct PnCounter<A = Writer> {
    added: GCounter<A>,
    taken: GCounter<A>,
}

impl<A: Ord + Copy> PnCounter<A> {
    /// Starts at zero.
    pub const fn new() -> Self {
        Self { added: GCounter::new(), taken: GCounter::new() }
    }

    /// Adds `amount`, which may be negative, in the name of `actor` and returns the delta.
    ///
    /// The terms of [`GCounter::add`] hold for either direction.
    pub fn add(&mut self, actor: A, amount: i64) -> Self {
        let mut delta = Self::new();
        if amount > 0 {
            delta.added = self.added.add(actor, amount.unsigned_abs());
        } else {
            delta.taken = self.taken.add(actor, amount.unsigned_abs());
        }
        delta
    }

    /// Tells what was added less what was taken away.
    pub fn value(&self) -> i128 {
        // At most 2^64 writers with 2^64 each would not fit; an address space cannot hold 2^63 of them.
        self.added.value() as i128 - self.taken.value() as i128
    }
}

impl<A: Ord + Copy> Default for PnCounter<A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<A: Ord + Copy> Lattice for PnCounter<A> {
    fn join(&mut self, other: &Self) -> bool {
        self.added.join(&other.added) | self.taken.join(&other.taken)
    }
}

impl<A: Folded> Folded for PnCounter<A> {
    fn fold(&self, into: &mut Fold) {
        into.value(&self.added);
        into.value(&self.taken);
    }
}

/// A register that holds the greatest value it was ever given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaxRegister<T>(T);

impl<T: Ord + Clone> MaxRegister<T> {
    /// Starts with a value.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// Takes a value if it is greater, and tells whether it was.
    pub fn raise(&mut self, value: T) -> bool {
        let greater = value > self.0;
        if greater {
            self.0 = value;
        }
        greater
    }

    /// Shows the value.
    pub const fn value(&self) -> &T {
        &self.0
    }
}

impl<T: Ord + Clone> Lattice for MaxRegister<T> {
    fn join(&mut self, other: &Self) -> bool {
        let greater = other.0 > self.0;
        if greater {
            self.0.clone_from(&other.0);
        }
        greater
    }
}

impl<T: Folded> Folded for MaxRegister<T> {
    fn fold(&self, into: &mut Fold) {
        into.value(&self.0);
    }
}

/// A register that holds the value with the greatest version: the last writer wins.
///
/// Two values of one version come only from a writer that exists twice; the greater value then wins everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LwwRegister<T> {
    version: Version,
    value: T,
}

impl<T: Ord + Clone> LwwRegister<T> {
    /// Starts with a value and its version.
    pub const fn new(value: T, version: Version) -> Self {
        Self { version, value }
    }

    /// Takes a value if its version is greater, and tells whether it was.
    pub fn set(&mut self, value: T, version: Version) -> bool {
        let newer = (version, &value) > (self.version, &self.value);
        if newer {
            *self = Self { version, value };
        }
        newer
    }

    /// Shows the value.
    pub const fn value(&self) -> &T {
        &self.value
    }

    /// Tells the version of the value.
    pub const fn version(&self) -> Version {
        self.version
    }
}

impl<T: Ord + Clone> Lattice for LwwRegister<T> {
    fn join(&mut self, other: &Self) -> bool {
        let newer = (other.version, &other.value) > (self.version, &self.value);
        if newer {
            self.clone_from(other);
        }
        newer
    }
}

impl<T: Folded> Folded for LwwRegister<T> {
    fn fold(&self, into: &mut Fold) {
        into.value(&self.version);
        into.value(&self.value);
    }
}
