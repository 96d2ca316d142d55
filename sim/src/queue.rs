//! What will happen, in the one total order of the world.
//!
//! Events are ordered by (time, destination, source, the source's own sequence), never by the accident of insertion:
//! any correct queue pops the same events in the same order, and a test swaps in a sorted list to prove it.
//!
//! The calendar is a ring of buckets of fixed width, each an intrusive list in a slab with a free list, so that a
//! steady state allocates nothing. Only the bucket that is being emptied is sorted. What is further away than the
//! ring reaches waits in a heap ordered by the same key.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// The place of an event in the total order. Unique: no source gives two events one sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// When, in virtual nanoseconds.
    pub(crate) at_ns: u64,
    /// The node where it happens.
    pub(crate) destination: u32,
    /// The node that caused it.
    pub(crate) source: u32,
    /// The count of events that the source had caused before.
    pub(crate) sequence: u64,
}

impl Key {
    /// Packs the first three parts, so that one comparison decides between almost all events.
    #[inline]
    fn place(&self) -> u128 {
        u128::from(self.at_ns) << 64 | u128::from(u64::from(self.destination) << 32 | u64::from(self.source))
    }
}

impl Ord for Key {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        self.place().cmp(&other.place()).then(self.sequence.cmp(&other.sequence))
    }
}

impl PartialOrd for Key {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Buckets are 2^15 ns (33 µs) wide: a busy world of 1,000 nodes keeps one or two events in each.
const WIDTH_BITS: u32 = 15;
/// Buckets in the ring; it reaches 1.07 s ahead, beyond all latencies but not all timers. A power of two and a multiple of 64.
const BUCKETS: u64 = 32_768;
/// The end of a list of slots.
const NONE: u32 = u32::MAX;

#[derive(Clone, Debug)]
struct Slot<T> {
    key: Key,
    next: u32,
    value: Option<T>,
}

/// A calendar queue.
#[derive(Clone, Debug)]
pub(crate) struct Calendar<T> {
    slots: Vec<Slot<T>>,
    free: u32,
    /// The first slot of each bucket of the ring; bucket `b` stands at `b % BUCKETS`.
    heads: Vec<u32>,
    /// One bit for each bucket of the ring that is not empty.
    occupied: Vec<u64>,
    /// The bucket that is being emptied.
    bucket: u64,
    /// Everything in `bucket` or before, latest first.
    current: Vec<(Key, u32)>,
    /// Everything that was out of the ring's reach when it came.
    far: BinaryHeap<Reverse<(Key, u32)>>,
}

impl<T> Default for Calendar<T> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: NONE,
            heads: vec![NONE; BUCKETS as usize],
            occupied: vec![0; BUCKETS as usize / 64],
            bucket: 0,
            current: Vec::new(),
            far: BinaryHeap::new(),
        }
    }
}

impl<T> Calendar<T> {
    /// Adds an event. It may lie before everything that is still waiting.
    #[inline]
    pub(crate) fn push(&mut self, key: Key, value: T) {
        let slot = self.take_slot(key, value);
        let bucket = key.at_ns >> WIDTH_BITS;
        if bucket <= self.bucket {
            let at = self.current.partition_point(|(other, _)| *other > key);
            self.current.insert(at, (key, slot));
        } else if bucket < self.bucket + BUCKETS {
            let place = (bucket % BUCKETS) as usize;
            self.slots[slot as usize].next = self.heads[place];
            self.heads[place] = slot;
            self.occupied[place / 64] |= 1 << (place % 64);
        } else {
            self.far.push(Reverse((key, slot)));
        }
    }

    /// Shows the key of the next event.
    pub(crate) fn peek(&mut self) -> Option<Key> {
        if self.current.is_empty() {
            self.advance();
        }
        self.current.last().map(|(key, _)| *key)
    }

    /// Removes the next event.
    pub(crate) fn pop(&mut self) -> Option<(Key, T)> {
        self.peek()?;
        let (key, index) = self.current.pop()?;
        let slot = &mut self.slots[index as usize];
        slot.next = self.free;
        self.free = index;
        slot.value.take().map(|value| (key, value))
    }

    #[inline]
    fn take_slot(&mut self, key: Key, value: T) -> u32 {
        if self.free == NONE {
            self.slots.push(Slot { key, next: NONE, value: Some(value) });
            return self.slots.len() as u32 - 1;
        }
        let index = self.free;
        let slot = &mut self.slots[index as usize];
        self.free = slot.next;
        (slot.key, slot.next, slot.value) = (key, NONE, Some(value));
        index
    }

    /// Turns to the next bucket that holds anything, and sorts it.
    fn advance(&mut self) {
        let far = self.far.peek().map(|Reverse((key, _))| key.at_ns >> WIDTH_BITS);
        let Some(bucket) = self.next_in_ring().into_iter().chain(far).min() else { return };
        self.bucket = bucket;
        let place = (bucket % BUCKETS) as usize;
        let mut index = std::mem::replace(&mut self.heads[place], NONE);
        self.occupied[place / 64] &= !(1 << (place % 64));
        while index != NONE {
            let slot = &self.slots[index as usize];
            self.current.push((slot.key, index));
            index = slot.next;
        }
        while let Some(Reverse((key, index))) = self.far.peek()
            && key.at_ns >> WIDTH_BITS == bucket
        {
            self.current.push((*key, *index));
            self.far.pop();
        }
        if self.current.len() < 2 {
            return;
        }
        self.current.sort_unstable_by(|(a, _), (b, _)| b.cmp(a));
    }

    /// Finds the next bucket of the ring that is not empty, a word of the bit map at a time.
    fn next_in_ring(&self) -> Option<u64> {
        let mut bucket = self.bucket + 1;
        while bucket <= self.bucket + BUCKETS {
            let place = bucket % BUCKETS;
            let word = self.occupied[(place / 64) as usize] >> (place % 64);
            if word != 0 {
                return Some(bucket + u64::from(word.trailing_zeros()));
            }
            bucket += 64 - place % 64;
        }
        None
    }
}

/// The plainest queue that is right: a sorted list. Tests compare the calendar with it.
#[cfg(test)]
#[derive(Clone, Debug)]
pub(crate) struct Sorted<T>(Vec<(Key, T)>);

#[cfg(test)]
impl<T> Sorted<T> {
    fn push(&mut self, key: Key, value: T) {
        let at = self.0.partition_point(|(other, _)| *other > key);
        self.0.insert(at, (key, value));
    }
}

/// The queue of a world: the calendar, or in tests the sorted list.
#[derive(Clone, Debug)]
pub(crate) enum Queue<T> {
    Calendar(Calendar<T>),
    #[cfg(test)]
    Sorted(Sorted<T>),
}

impl<T> Queue<T> {
    pub(crate) fn calendar() -> Self {
        Self::Calendar(Calendar::default())
    }

    #[cfg(test)]
    pub(crate) fn sorted() -> Self {
        Self::Sorted(Sorted(Vec::new()))
    }

    #[inline]
    pub(crate) fn push(&mut self, key: Key, value: T) {
        match self {
            Self::Calendar(calendar) => calendar.push(key, value),
            #[cfg(test)]
            Self::Sorted(list) => list.push(key, value),
        }
    }

    #[inline]
    pub(crate) fn peek(&mut self) -> Option<Key> {
        match self {
            Self::Calendar(calendar) => calendar.peek(),
            #[cfg(test)]
            Self::Sorted(list) => list.0.last().map(|(key, _)| *key),
        }
    }

    #[inline]
    pub(crate) fn pop(&mut self) -> Option<(Key, T)> {
        match self {
            Self::Calendar(calendar) => calendar.pop(),
            #[cfg(test)]
            Self::Sorted(list) => list.0.pop(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A push at a time after the last event popped, or a pop.
    #[derive(Clone, Debug)]
    enum Move {
        Push { after_ns: u64, destination: u32, source: u32 },
        Peek,
        Pop,
    }

    fn any_move() -> impl Strategy<Value = Move> {
        let after_ns = prop_oneof![
            3 => Just(0),
            4 => 0..1_000_u64,
            4 => 0..60_000_000_u64,
            2 => 0..5_000_000_000_u64,
            1 => 4_000_000_000..400_000_000_000_u64,
        ];
        prop_oneof![
            6 => (after_ns, 0..4_u32, 0..4_u32)
                .prop_map(|(after_ns, destination, source)| Move::Push { after_ns, destination, source }),
            1 => Just(Move::Peek),
            5 => Just(Move::Pop),
        ]
    }

    proptest! {
        #[test]
        fn the_calendar_pops_what_a_sorted_list_pops(moves in prop::collection::vec(any_move(), 0..400)) {
            let (mut calendar, mut list) = (Queue::calendar(), Queue::sorted());
            let (mut now_ns, mut sequence) = (0, 0);
            for step in moves {
                match step {
                    Move::Push { after_ns, destination, source } => {
                        sequence += 1;
                        let key = Key { at_ns: now_ns + after_ns, destination, source, sequence };
                        calendar.push(key, sequence);
                        list.push(key, sequence);
                    }
                    Move::Peek => prop_assert_eq!(calendar.peek(), list.peek()),
                    Move::Pop => {
                        let (popped, expected) = (calendar.pop(), list.pop());
                        prop_assert_eq!(popped, expected);
                        now_ns = expected.map_or(now_ns, |(key, _)| key.at_ns);
                    }
                }
            }
            while let Some(expected) = list.pop() {
                prop_assert_eq!(calendar.pop(), Some(expected));
            }
            prop_assert_eq!(calendar.pop(), None);
        }
    }

    #[test]
    fn a_steady_state_takes_no_new_slot() {
        let mut calendar = Calendar::default();
        let key = |at_ns, sequence| Key { at_ns, destination: 0, source: 0, sequence };
        (0..100).for_each(|i| calendar.push(key(i * 1_000_000, i), i));
        for i in 100..100_000 {
            let (popped, _) = calendar.pop().expect("there are always a hundred");
            calendar.push(key(popped.at_ns + 50_000_000, i), i);
        }
        assert_eq!(calendar.slots.len(), 100, "the slab has grown, or a slot was lost");
    }
}
