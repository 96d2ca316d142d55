//! The place of one node in a world: its process and app, its clocks and disk, and what waits for it.

use super::disk::Disk;
use super::mailboxes::Mailboxes;
use super::process::Process;
use crate::agenda::Happening;
use crate::clock::Clock;
use crate::network::connection::NEVER;
use crate::schedule::ClockChange;
use rumormill_core::hash::Fold;
use rumormill_core::{Contact, Incarnation, Instant, NodeId, Rng, Token};
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The port of every simulated node.
const PORT: u16 = 7400;

/// Wake-ups of one node at one instant at most.
const WAKES_MAX: u32 = 10_000;

/// Derives the address of a node from its number.
pub(crate) fn addr_of(number: u32) -> SocketAddr {
    let [high, middle, low] = [number >> 16, number >> 8, number].map(|word| word as u8);
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, high, middle, low)), PORT)
}

/// Something that a node had no time for when it came.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    pub(crate) since_ns: u64,
    /// The fault that keeps the node from it.
    pub(crate) fault: Option<u32>,
    pub(crate) happening: Happening,
}

/// What a node has sent and handled, over all its lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Inputs handled.
    pub events: u64,
    /// Frames sent.
    pub messages: u64,
    /// Bytes of those frames.
    pub bytes: u64,
}

/// The place of one node.
#[derive(Clone, Debug)]
pub(crate) struct Slot<A, P> {
    pub(crate) id: NodeId,
    /// How others are told of it by number.
    pub(crate) contact: Contact,
    /// The process, while it runs.
    pub(crate) process: Option<P>,
    /// How many lives have begun.
    pub(crate) life: u32,
    pub(crate) incarnation: Incarnation,
    pub(crate) app: A,
    pub(crate) app_rng: Rng,
    pub(crate) clock: Clock,
    /// What the clocks do when no fault bends them.
    pub(crate) clock_initial: ClockChange,
    /// The fault that bends the clocks.
    pub(crate) skewed_by: Option<u32>,
    pub(crate) disk: Disk,
    /// When the one outstanding wake-up comes.
    pub(crate) wake_at_ns: u64,
    /// The deadline that it is for.
    wake_for: Instant,
    /// When the node was woken last, and how often at that instant.
    woken: (u64, u32),
    pub(crate) inbox: VecDeque<Waiting>,
    /// When the one outstanding look into the inbox comes.
    pub(crate) drain_at_ns: u64,
    pub(crate) busy_until_ns: u64,
    pub(crate) paused_by: Option<u32>,
    /// The fault that slows the node, and the time that each input takes.
    pub(crate) slowed_by: Option<(u32, u64)>,
    pub(crate) load: Load,
    /// The mailboxes that the schedule has it open.
    pub(crate) mailboxes: Mailboxes,
    /// The trace hashes of earlier lives.
    past: Fold,
    commands: u64,
}

impl<A, P: Process> Slot<A, P> {
    pub(crate) fn new(number: u32, id: NodeId, app: A, clock_initial: ClockChange) -> Self {
        Self {
            id,
            contact: Contact::new(id, Incarnation(0), &[addr_of(number)]),
            process: None,
            life: 0,
            incarnation: Incarnation(0),
            app,
            app_rng: Rng::new([0; 32]),
            clock: Clock::new(clock_initial),
            clock_initial,
            skewed_by: None,
            disk: Disk::default(),
            wake_at_ns: NEVER,
            wake_for: Instant::NEVER,
            woken: (NEVER, 0),
            inbox: VecDeque::new(),
            drain_at_ns: NEVER,
            busy_until_ns: 0,
            paused_by: None,
            slowed_by: None,
            load: Load::default(),
            mailboxes: Mailboxes::default(),
            past: Fold::default(),
            commands: 0,
        }
    }

    /// Tells whether what comes now must wait.
    #[inline]
    pub(crate) fn must_wait(&self, now_ns: u64) -> bool {
        self.paused_by.is_some() || now_ns < self.busy_until_ns || !self.inbox.is_empty()
    }

    /// Tells whether the first of what waits can be done now.
    pub(crate) fn can_go_on(&self, now_ns: u64) -> bool {
        self.paused_by.is_none() && now_ns >= self.busy_until_ns && !self.inbox.is_empty()
    }

    /// Tells when the node must be woken, if the outstanding wake-up comes too late for `deadline`.
    #[inline]
    pub(crate) fn earlier_wake(&mut self, deadline: Option<Instant>, now_ns: u64) -> Option<u64> {
        let deadline = deadline.filter(|deadline| *deadline != Instant::NEVER)?;
        if self.wake_at_ns != NEVER && self.wake_for <= deadline {
            return None;
        }
        self.wake_for = deadline;
        self.wake_at_ns = self.clock.virtual_at(deadline).max(now_ns);
        Some(self.wake_at_ns)
    }

    /// Counts a wake-up. A node that asks for one at the same instant without end would stop the world in silence.
    pub(crate) fn count_wake(&mut self, now_ns: u64) {
        let (last_ns, count) = self.woken;
        self.woken = if last_ns == now_ns { (now_ns, count + 1) } else { (now_ns, 1) };
        assert!(count < WAKES_MAX, "{} is due again and again at {now_ns} ns", self.id);
    }

    /// Ends the life of the process; hands it back.
    pub(crate) fn end_life(&mut self) -> Option<P> {
        let process = self.process.take()?;
        self.past.word(process.trace_hash());
        self.inbox.clear();
        self.mailboxes.end_life();
        (self.wake_at_ns, self.drain_at_ns, self.busy_until_ns) = (NEVER, NEVER, 0);
        Some(process)
    }

    /// Tells how the next command will be named.
    pub(crate) fn upcoming_token(&self, number: u32) -> Token {
        Token(u64::from(number) << 32 | (self.commands + 1))
    }

    /// Names the next command. Names are unique in the world, and depend on no other node's commands.
    pub(crate) fn next_token(&mut self, number: u32) -> Token {
        let token = self.upcoming_token(number);
        self.commands += 1;
        token
    }

    pub(crate) fn fold(&self, into: &mut Fold) {
        into.word(self.past.finish());
        into.word(self.process.as_ref().map_or(0, Process::trace_hash));
    }
}
