//! A test bench for any machine: it shows everything that came out of a step, so that tests prove silence too.
//!
//! A step answers with one line for each effect and event in the order in which they came, and with the machine's
//! deadline as the last line. Nodes are `n1`, `n2` …, messages `9#1` for the first one of [`origin`]`(9)`.

use crate::frame::{Announcement, Frame, Gossip};
use crate::hlc::{Hlc, Stamp};
use crate::id::{Contact, Incarnation, MessageId, NodeId};
use crate::machine::{Cx, Effect, Machine};
use crate::rng::Rng;
use crate::stats::Stats;
use crate::time::{Instant, NANOS_PER_MILLI, Now, Wall};
use core::fmt::Debug;
use core::net::{Ipv4Addr, SocketAddr};
use std::format;
use std::string::String;
use std::vec::Vec;

/// The wall clock at the bench's origin, in Unix milliseconds.
const WALL_ORIGIN_MS: u64 = 1_700_000_000_000;

/// How far ahead a stamp may be on the bench.
const DRIFT_MS_MAX: u64 = 1_000;

/// One machine with all that it may use.
pub(crate) struct Bench<M: Machine> {
    pub(crate) machine: M,
    pub(crate) now: Now,
    pub(crate) rng: Rng,
    pub(crate) clock: Hlc,
    pub(crate) stats: Stats,
    pub(crate) effects: Vec<Effect>,
}

impl<M: Machine<Event: Debug>> Bench<M> {
    /// Puts a machine on the bench, at 0 ms.
    pub(crate) fn new(machine: M) -> Self {
        let clock = Hlc::new(Stamp::ZERO, DRIFT_MS_MAX);
        let now = Now { mono: Instant::default(), wall: Wall(WALL_ORIGIN_MS) };
        Self { machine, now, rng: Rng::new([1; 32]), clock, stats: Stats::default(), effects: Vec::new() }
    }

    /// Calls a method of the machine and hands back what it returned.
    pub(crate) fn call<R>(&mut self, call: impl FnOnce(&mut M, &mut Cx<'_>) -> R) -> R {
        let Self { machine, now, rng, clock, stats, effects } = self;
        let returned = call(machine, &mut Cx { now: *now, rng, clock, stats, effects });
        self.machine.audit();
        returned
    }

    /// Gives the machine an input and shows what came of it.
    pub(crate) fn input(&mut self, input: M::Input) -> Vec<String> {
        self.call(|machine, cx| machine.handle(input, cx));
        self.shown()
    }

    /// Lets time pass up to a point, with every deadline on the way, and shows what came of it.
    pub(crate) fn run_to(&mut self, ms: u64) -> Vec<String> {
        let end = Instant::from_millis(ms);
        assert!(end >= self.now.mono, "time does not go back");
        for _ in 0..100_000 {
            let due = self.machine.poll_timeout().filter(|due| *due <= end);
            let Some(due) = due else {
                self.set_time(end);
                return self.shown();
            };
            self.set_time(due.max(self.now.mono));
            self.call(|machine, cx| machine.handle_timeout(cx));
        }
        panic!("the machine never comes to rest");
    }

    /// Shows what came out since it was last shown.
    pub(crate) fn shown(&mut self) -> Vec<String> {
        let mut lines: Vec<String> = self.effects.drain(..).map(|effect| show_effect(&effect)).collect();
        while let Some(event) = self.machine.poll_event() {
            lines.push(show_ids(&format!("{event:?}")));
        }
        lines.push(match self.machine.poll_timeout() {
            Some(due) if due.0 % NANOS_PER_MILLI == 0 => format!("due at {} ms", due.0 / NANOS_PER_MILLI),
            Some(due) => format!("due at {} ns", due.0),
            None => String::from("idle"),
        });
        lines
    }

    /// Lets what came out pass unseen, where a test sets its scene.
    pub(crate) fn clear(&mut self) {
        self.shown();
    }

    /// Moves the clocks without firing a deadline.
    pub(crate) fn set_time(&mut self, at: Instant) {
        self.now = Now { mono: at, wall: Wall(WALL_ORIGIN_MS + at.0 / NANOS_PER_MILLI) };
    }
}

/// Names a node of the bench.
pub(crate) fn node(number: u8) -> NodeId {
    NodeId([number; 32])
}

/// Names the life of a publisher of the bench.
pub(crate) fn origin(number: u8) -> u64 {
    u64::from(number) << 32 // what a debug print of a message's name shows
}

/// Builds the contact of a node of the bench, in its first life.
pub(crate) fn contact(number: u8) -> Contact {
    contact_in(number, 1)
}

/// Builds the contact of a node of the bench in one of its lives.
pub(crate) fn contact_in(number: u8, life: u64) -> Contact {
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 1_000 + u16::from(number)));
    Contact::new(node(number), Incarnation(life), &[addr])
}

fn show_effect(effect: &Effect) -> String {
    match effect {
        Effect::Send { to, channel, frame } => format!("n{} {channel:?}: {}", to.0[0], show_frame(frame)),
        Effect::Dial { .. } | Effect::Close { .. } | Effect::Persist { .. } => {
            show_ids(&format!("{effect:?}"))
        }
    }
}

fn show_frame(frame: &Frame) -> String {
    match frame {
        Frame::Gossip(Gossip { id, hops, age_ms, payload, .. }) => {
            let payload = String::from_utf8_lossy(payload);
            format!("GOSSIP {} {payload:?} hops {hops} age {age_ms}", show_id(id))
        }
        Frame::IHave(announcements) => {
            let one = |what: &Announcement| format!(" {}/{}", show_id(&what.id), what.hops);
            format!("IHAVE{}", announcements.iter().map(one).collect::<String>())
        }
        Frame::Graft { id: Some(id) } => format!("GRAFT {}", show_id(id)),
        Frame::Graft { id: None } => String::from("GRAFT"),
        Frame::Prune => String::from("PRUNE"),
        other => show_ids(&format!("{other:?}")),
    }
}

fn show_id(id: &MessageId) -> String {
    show_ids(&format!("{id:?}"))
}

/// Shortens the ids of the bench's nodes and messages in a debug print.
fn show_ids(text: &str) -> String {
    (0..=u8::MAX).fold(String::from(text), |text, number| {
        let text = text.replace(&format!("{number:08x}#"), &format!("{number}#"));
        text.replace(&format!("{number:02x}").repeat(4), &format!("n{number}"))
    })
}
