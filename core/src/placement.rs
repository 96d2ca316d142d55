//! Placement: which partitions this node owns, by rendezvous over the members that take part.
//!
//! This is the eventual mode: every node computes the owners of all partitions from the members that it knows, so two
//! nodes agree as soon as they know the same ones. What this node owns itself is told as a difference to what was told
//! before, under a token: `acquired` and `released` alternate for each partition, and a watch begins with what is owned.
//!
//! A token is a stamp of the hybrid logical clock, so later ownerships of a partition have greater tokens, also across
//! lives. It leaves the node, so a mark at or above it must be durable: without one, what is to be acquired waits for
//! the store, and after a store has failed nothing is acquired any more. What is lost is released at once.

use crate::config::{Canary, Config};
use crate::hash::Fold;
use crate::hlc::Stamp;
use crate::id::NodeId;
use crate::machine::{Cx, Machine};
use crate::member::{Member, MemberState};
use crate::ring::Ring;
use crate::time::Instant;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Partitions for each member below which some members are likely to own none.
const PARTITIONS_PER_MEMBER_MIN: usize = 4;

/// What happens to placement.
#[derive(Clone, Debug)]
pub enum Input {
    /// A member came, changed or went.
    Member(Member),
    /// The stamp that was asked for: the token of what is acquired now.
    Stamped(Stamp),
    /// A mark has become durable: a stamp may be had.
    Stampable,
}

/// What placement tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// This node owns a partition from now on.
    Acquired {
        /// The partition.
        partition: u32,
        /// The token of this ownership.
        token: Stamp,
    },
    /// This node owns a partition no longer.
    Released {
        /// The partition.
        partition: u32,
        /// The token of the ownership that ends.
        token: Stamp,
    },
    /// A stamp is needed before anything is acquired.
    NeedsStamp,
    /// There are too few partitions for the members: told once.
    RingSmall {
        /// Members of the ring.
        members: u32,
        /// Its partitions.
        partitions: u32,
    },
}

/// The placement machine of one node.
#[derive(Clone, Debug)]
pub struct Placement {
    config: Arc<Config>,
    me: NodeId,
    ring: Ring,
    /// What this node owns, as it was told.
    owned: BTreeMap<u32, Stamp>,
    /// Whether the ring has changed since what is owned was compared with it.
    is_stale: bool,
    /// Whether a stamp was asked for and has not come.
    is_asking: bool,
    has_warned: bool,
    events: VecDeque<Event>,
}

impl Placement {
    /// Starts with nobody on the ring. A number of partitions out of bounds gives a ring of one.
    pub fn new(config: Arc<Config>, me: NodeId) -> Self {
        let ring = Ring::new(config.ring_size).or_else(|_| Ring::new(1));
        let Ok(ring) = ring else { unreachable!("a ring of one partition is in bounds") };
        Self {
            config,
            me,
            ring,
            owned: BTreeMap::new(),
            is_stale: false,
            is_asking: false,
            has_warned: false,
            events: VecDeque::new(),
        }
    }

    /// Shows the ring of the members that take part.
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Finds the owner of a partition; none when nobody takes part or there is no such partition.
    #[inline]
    pub fn owner_of(&self, partition: u32) -> Option<NodeId> {
        if self.config.is_planted(Canary::TableOrder) {
            return self.ring.nth(partition as usize % self.ring.len().max(1));
        }
        self.ring.owner_of(partition)
    }

    /// Tells whether this node owns a key, and was told so.
    #[inline]
    pub fn is_owner(&self, key: &[u8]) -> bool {
        self.owned.contains_key(&self.ring.partition(key))
    }

    /// Lists the partitions that this node owns, each with its token.
    pub fn owned(&self) -> impl Iterator<Item = (u32, Stamp)> {
        self.owned.iter().map(|(partition, token)| (*partition, *token))
    }

    /// Folds what matters of the state.
    pub fn digest(&self, _now: Instant, into: &mut Fold) {
        into.word(self.ring.len() as u64 | u64::from(self.is_asking) << 32);
        for (partition, token) in &self.owned {
            into.pair(u64::from(*partition), token.0);
        }
    }

    fn on_member(&mut self, member: &Member) {
        let id = member.id();
        if member.state == MemberState::Dead && self.config.is_planted(Canary::DeadKeepOwning) {
            return;
        }
        let has_changed = if member.state == MemberState::Active {
            self.ring.insert(id, member.weight, member.zone).unwrap_or(false) // its record was checked
        } else {
            self.ring.remove(&id)
        };
        self.is_stale |= has_changed;
    }

    /// Releases what is lost, and asks for a stamp when there is something to acquire.
    fn compare(&mut self) {
        self.is_stale = false;
        let lost: Vec<u32> =
            self.owned.keys().copied().filter(|it| self.owner_of(*it) != Some(self.me)).collect();
        for partition in lost {
            if let Some(token) = self.owned.remove(&partition) {
                self.events.push_back(Event::Released { partition, token });
            }
        }
        if !self.is_asking && self.wanted().next().is_some() {
            self.is_asking = true;
            self.events.push_back(Event::NeedsStamp);
        }
        self.warn();
    }

    fn wanted(&self) -> impl Iterator<Item = u32> {
        let again = self.config.is_planted(Canary::DoubleAcquire);
        let is_mine = |partition: &u32| self.owner_of(*partition) == Some(self.me);
        (0..self.ring.partitions()).filter(is_mine).filter(move |it| again || !self.owned.contains_key(it))
    }

    fn on_stamped(&mut self, token: Stamp) {
        self.is_asking = false;
        let wanted: Vec<u32> = self.wanted().collect();
        for partition in wanted {
            self.owned.insert(partition, token);
            self.events.push_back(Event::Acquired { partition, token });
        }
    }

    fn warn(&mut self) {
        let (members, partitions) = (self.ring.len(), self.ring.partitions());
        if !self.has_warned && (partitions as usize) < PARTITIONS_PER_MEMBER_MIN * members {
            self.has_warned = true;
            self.events.push_back(Event::RingSmall { members: members as u32, partitions });
        }
    }
}

impl Machine for Placement {
    type Input = Input;
    type Event = Event;

    fn handle(&mut self, input: Input, _cx: &mut Cx<'_>) {
        match input {
            Input::Member(member) => self.on_member(&member),
            Input::Stamped(token) => self.on_stamped(token),
            Input::Stampable => self.is_stale |= core::mem::take(&mut self.is_asking),
        }
    }

    fn handle_timeout(&mut self, _cx: &mut Cx<'_>) {}

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Compares what is owned with the ring only when all else is quiet, so many changes at once are one comparison.
    fn poll_event(&mut self) -> Option<Event> {
        if self.is_stale && self.events.is_empty() {
            self.compare();
        }
        self.events.pop_front()
    }

    fn check(&self) {
        assert!(self.owned.len() <= self.ring.partitions() as usize, "more is owned than there is");
    }

    fn audit(&self) {
        self.check();
        let is_mine = |partition: &u32| self.owner_of(*partition) == Some(self.me);
        assert!(self.is_stale || self.owned.keys().all(is_mine), "somebody else's partition is owned");
        let is_waiting = self.is_stale || self.is_asking || self.config.is_planted(Canary::DoubleAcquire);
        assert!(is_waiting || self.wanted().next().is_none(), "what is this node's waits for nothing");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{Bench, contact, node};
    use proptest::prelude::*;

    fn member(number: u8, state: MemberState) -> Member {
        Member { contact: contact(number), state, is_suspected: false, weight: 1, zone: 0 }
    }

    fn bench(ring_size: u32) -> Bench<Placement> {
        let config = Config { ring_size, placement: true, ..Config::default() };
        Bench::new(Placement::new(Arc::new(config), node(1)))
    }

    /// Gives an input, and a stamp whenever one is asked for.
    fn give(bench: &mut Bench<Placement>, input: Input, stamp: Option<u64>) -> Vec<Event> {
        bench.call(|machine, cx| machine.handle(input, cx));
        let mut events = Vec::new();
        while let Some(event) = bench.machine.poll_event() {
            match (event, stamp) {
                (Event::NeedsStamp, Some(stamp)) => {
                    bench.call(|machine, cx| machine.handle(Input::Stamped(Stamp(stamp)), cx));
                }
                (event, _) => events.push(event),
            }
        }
        bench.machine.audit();
        events
    }

    #[test]
    fn a_node_that_does_not_take_part_owns_nothing() {
        let mut bench = bench(64);
        for state in [MemberState::Joining, MemberState::Synced] {
            assert_eq!(give(&mut bench, Input::Member(member(1, state)), Some(1)), []);
        }
        let events = give(&mut bench, Input::Member(member(1, MemberState::Active)), Some(1));
        assert_eq!((events.len(), bench.machine.owned().count()), (64, 64));
        let events = give(&mut bench, Input::Member(member(1, MemberState::Leaving)), Some(2));
        assert_eq!((events.len(), bench.machine.owned().count()), (64, 0));
    }

    #[test]
    fn weights_and_zones_of_members_are_those_of_the_ring() {
        let (mut bench, mut ring) = (bench(64), Ring::new(64).expect("a size"));
        for (number, weight, zone) in [(1, 1, 5), (2, 3, 5), (3, 1, 7)] {
            let member = Member { weight, zone, ..member(number, MemberState::Active) };
            give(&mut bench, Input::Member(member), Some(1));
            ring.insert(node(number), weight, zone).expect("room");
        }
        let owners = |ring: &Ring| (0..200_u8).map(|key| ring.owners(&[key], 2)).collect::<Vec<_>>();
        assert_eq!(owners(bench.machine.ring()), owners(&ring));
    }

    #[test]
    fn nothing_is_acquired_before_a_stamp_may_leave_and_what_is_lost_is_released_at_once() {
        let mut bench = bench(64);
        let active = |number| Input::Member(member(number, MemberState::Active));
        assert_eq!(give(&mut bench, active(1), None), [Event::NeedsStamp]);
        assert!(!bench.machine.is_owner(b"key"));
        assert_eq!(give(&mut bench, Input::Stampable, None), [Event::NeedsStamp]);
        let acquired = give(&mut bench, Input::Stampable, Some(7));
        assert!(acquired.contains(&Event::Acquired { partition: 0, token: Stamp(7) }));
        let released = give(&mut bench, active(2), None);
        assert!(!released.is_empty() && released.len() < 64);
        assert!(released.iter().all(|event| matches!(event, Event::Released { token: Stamp(7), .. })));
    }

    #[test]
    fn a_small_ring_is_warned_of_once() {
        let mut bench = bench(8);
        let warned = |events: Vec<Event>| {
            events.into_iter().filter(|event| matches!(event, Event::RingSmall { .. })).collect::<Vec<_>>()
        };
        for number in 1..=2 {
            let events = give(&mut bench, Input::Member(member(number, MemberState::Active)), Some(1));
            assert_eq!(warned(events), []);
        }
        let events = give(&mut bench, Input::Member(member(3, MemberState::Active)), Some(1));
        assert_eq!(warned(events), [Event::RingSmall { members: 3, partitions: 8 }]);
        let events = give(&mut bench, Input::Member(member(4, MemberState::Active)), Some(1));
        assert_eq!(warned(events), []);
    }

    proptest! {
        #[test]
        fn acquired_and_released_alternate_with_rising_tokens_and_add_up(
            changes in proptest::collection::vec((1..9_u8, 0..4_u8, any::<bool>()), 1..40),
        ) {
            let mut bench = bench(32);
            let mut told: BTreeMap<u32, Stamp> = BTreeMap::new();
            let mut last: BTreeMap<u32, Stamp> = BTreeMap::new();
            for (at, (number, state, may_stamp)) in changes.into_iter().enumerate() {
                let state = if state == 0 { MemberState::Dead } else { MemberState::Active };
                if may_stamp {
                    give(&mut bench, Input::Stampable, None);
                }
                let stamp = may_stamp.then_some(at as u64 + 1);
                for event in give(&mut bench, Input::Member(member(number, state)), stamp) {
                    match event {
                        Event::Acquired { partition, token } => {
                            prop_assert_eq!(told.insert(partition, token), None);
                            prop_assert!(last.insert(partition, token).is_none_or(|last| last < token));
                        }
                        Event::Released { partition, token } => {
                            prop_assert_eq!(told.remove(&partition), Some(token));
                        }
                        Event::NeedsStamp | Event::RingSmall { .. } => {}
                    }
                }
                prop_assert!(bench.machine.owned().eq(told.clone()));
            }
        }
    }
}
