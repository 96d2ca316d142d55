//! What must hold, always, eventually or sometimes: plain data, checked elsewhere.

use super::units::{Millis, PPM, Ratio, SECOND, Seconds, Share, Text, nanos, parts, whole, word};
use super::walk::{Fields, Variant, Walk};

/// A property that a run is judged by.
#[derive(Clone, Debug, PartialEq)]
pub struct PropertySpec {
    /// When it must hold.
    pub when: When,
    /// What must hold.
    pub check: Check,
}

/// When a property must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// At every look, from the end of bootstrap to the end of the run. What says nothing about the overlay as a whole
    /// holds from the very first event.
    Always,
    /// From some time on, at the latest so many nanoseconds after the last fault and workload have ended, and then to
    /// the end of the run.
    Eventually {
        /// Nanoseconds after the last fault and workload.
        within_ns: u64,
    },
    /// At one look at least; never a failure, but missed where coverage is asked for.
    Sometimes,
}

/// Which broadcast messages are judged: those published in this time; all when it is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// Published from here on, in nanoseconds after bootstrap.
    pub from_ns: Option<u64>,
    /// Published before, in nanoseconds after bootstrap.
    pub to_ns: Option<u64>,
}

/// What must hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Check {
    /// All living, joined nodes are connected through active views; one look may find it broken, two in a row may not.
    Connected,
    /// Of two living nodes each has the other in its active view or neither has, but for what is under way: an edge may
    /// stand on one side only for a second. A part of all edges is judged as it stands at each look.
    Symmetric {
        /// The least part of all edges that exist on both sides, in parts in a million.
        min_ppm: u32,
    },
    /// No view exceeds its limit, and no node stands in its own view or in both.
    Bounded,
    /// Every living, joined node has a neighbour; one look may find it broken, two in a row may not.
    NobodyAlone,
    /// No active view names a node that died, or left, more than 20 s ago.
    NobodyFromTheDead,
    /// No active view changes for so many shuffle periods.
    Calm {
        /// Shuffle periods without a change.
        periods: u32,
    },
    /// Living nodes deliver each message.
    Reliability {
        /// The least part of living nodes that deliver, as a mean over all messages, in parts in a million.
        min_ppm: u32,
        /// Which messages.
        window: Window,
    },
    /// No node delivers a message twice, or one that nobody published.
    DeliveredOnce,
    /// Relative message redundancy: payloads sent for each delivery, less one; a mean over all messages.
    Rmr {
        /// The greatest value, in millionths.
        max_ppm: u64,
        /// Which messages.
        window: Window,
    },
    /// Hops of a message's last delivery; a mean over all messages.
    Ldh {
        /// The greatest value, in millionths of a hop.
        max_ppm: u64,
        /// Which messages.
        window: Window,
    },
    /// Time from publication to delivery.
    Latency {
        /// The greatest 99th percentile over all deliveries, in nanoseconds.
        p99_ns: u64,
        /// Which messages.
        window: Window,
    },
    /// All living, joined nodes hold the same entries of a map.
    Converged {
        /// The map's name.
        map: String,
    },
    /// Every living node holds, for each key, the write with the greatest version of all that were made.
    Exact {
        /// The map's name.
        map: String,
    },
    /// Every write that was answered as done, and not overwritten, is on every living node.
    NothingLost {
        /// The map's name.
        map: String,
    },
    /// The changes that a node has told of a map add up to what it holds.
    EventsFoldToView {
        /// The map's name.
        map: String,
    },
    /// No node's stamps ever go back, over restarts too while its disk is kept.
    ClocksMonotonic,
    /// No node's stamps are further ahead of true time than its configuration and its own clock's error allow.
    ClocksBounded,
    /// Who watches members never takes a node for dead that runs: unless either stood still for longer than that, was
    /// slow or lost packets that others did not, or the network was cut between them shortly before.
    NoFalseVerdict {
        /// The longest standstill that is no excuse, in nanoseconds.
        pause_ns: u64,
    },
    /// Who watches members never suspects a node that runs, with the excuses of [`Check::NoFalseVerdict`]: whom third nodes
    /// reach is not suspected.
    NoFalseSuspicion {
        /// The longest standstill that is no excuse, in nanoseconds.
        pause_ns: u64,
    },
    /// The neighbours of a node that crashes take it for dead in time, as far as they watch members.
    DetectedByNeighbors {
        /// Nanoseconds after the crash.
        within_ns: u64,
    },
    /// Everybody who watches members takes a node that crashes for dead in time.
    DetectedByAll {
        /// Nanoseconds after the crash.
        within_ns: u64,
    },
    /// Everybody knows the members that there are, each as active, and suspects none.
    MembersExact,
    /// Everybody who watches members is told in time that a node has left, and never that it is dead.
    LeaveSeenAsLeave {
        /// Nanoseconds after the command to leave.
        within_ns: u64,
    },
    /// Every member shows exactly the services that the members offer in their present lives.
    DirectoryExact,
    /// Every member shows one service of each name: whoever else registered it has lost it.
    NamesUnique,
    /// Nothing is visible that its owner never registered in that life, no earlier life comes back, and what is gone is
    /// hidden in time.
    DirectorySafe {
        /// Nanoseconds after an owner has died or left.
        within_ns: u64,
    },
    /// Services of a life that goes on never disappear where the owner can be reached, unless they are withdrawn.
    TopologySafe {
        /// The longest standstill that is no excuse, in nanoseconds.
        pause_ns: u64,
    },
    /// Each change of the directory is told once: what is told of services adds up to what is visible.
    ServiceEventsOnce,
    /// Lookups find what was registered, one's own first, and nothing of owners long gone.
    LookupsTrue {
        /// For how long a lookup may lag behind, in nanoseconds.
        within_ns: u64,
    },
    /// No message or question is delivered twice, or without having been sent.
    MailAtMostOnce,
    /// Messages between a pair of mailboxes never overtake each other.
    MailInOrder,
    /// No message or question comes to a later life of its node, or to a mailbox that is closed.
    MailToTheLiving,
    /// Every question has one answer, in its time.
    CallsAnsweredOnce {
        /// How much later than its time, in nanoseconds.
        slack_ns: u64,
    },
    /// Every monitor of a mailbox that goes fires once, in time; none of a mailbox that stays does.
    MonitorsFireOnce {
        /// Nanoseconds after the mailbox has gone.
        within_ns: u64,
    },
    /// Of two tied mailboxes each closes when the other goes, once and in time; none closes for another that stays.
    TiesCloseBoth {
        /// Nanoseconds after the other one has gone.
        within_ns: u64,
    },
    /// Of the messages that were accepted between mailboxes that are still there, a part is delivered or told to be lost.
    MailAccounted {
        /// The least part, in parts in a million.
        min_ppm: u32,
    },
    /// Every partition has one owner, the same at every member, and it is a member.
    OneOwner,
    /// Nobody takes a node for an owner that has been dead for longer.
    NoDeadOwner {
        /// Nanoseconds after the owner's death.
        within_ns: u64,
    },
    /// Each watch of partitions is told of acquiring and releasing in turn, tokens rise, and it adds up to what is owned.
    OwnersAlternate,
    /// No node owns a partition before it has come in and is active.
    BootingOwnsNothing,
    /// Nodes that count leases or partitions differently are refused with an event, and are no members and own nothing.
    MismatchRefused,
    /// No partition is acquired more often than that after bootstrap, by anybody who watches.
    OwnershipStill {
        /// How often.
        max: u32,
    },
}

/// A standstill that no default forgives: what row 12 of the targets asks for.
const PAUSE_NS: u64 = 2 * SECOND;
/// How long after a crash everybody has noticed it by default: row 12 of the targets.
const DETECTED_NS: u64 = 10 * SECOND;
/// The default slack of what waits for a detection and then for its news.
const HIDDEN_NS: u64 = 15 * SECOND;

impl PropertySpec {
    /// Names the property as scenario files do.
    pub fn word(&self) -> &'static str {
        self.check.key()
    }

    /// Builds a property that must hold at every look.
    pub fn always(check: Check) -> Self {
        Self { when: When::Always, check }
    }

    /// Builds a property that must hold from so many seconds after the last fault and workload on.
    pub fn eventually(within: impl Into<f64>, check: Check) -> Self {
        Self { when: When::Eventually { within_ns: nanos(within.into()) }, check }
    }

    /// Builds a property that should be seen to hold once.
    pub fn sometimes(check: Check) -> Self {
        Self { when: When::Sometimes, check }
    }
}

impl When {
    /// Names it as scenario files do.
    pub fn word(&self) -> &'static str {
        self.key()
    }
}

impl Check {
    /// Every edge exists on both sides.
    pub fn symmetric() -> Self {
        Self::Symmetric { min_ppm: 1_000_000 }
    }

    /// At least a share of the living nodes delivers each message.
    pub fn reliability(min: f64) -> Self {
        Self::Reliability { min_ppm: parts(min), window: Window::default() }
    }

    /// All replicas of a map are equal.
    pub fn converged(map: &str) -> Self {
        Self::Converged { map: map.into() }
    }

    /// The greatest version of each key is everywhere.
    pub fn exact(map: &str) -> Self {
        Self::Exact { map: map.into() }
    }

    /// No acknowledged write is lost.
    pub fn nothing_lost(map: &str) -> Self {
        Self::NothingLost { map: map.into() }
    }

    /// A map's events add up to its entries.
    pub fn events_fold_to_view(map: &str) -> Self {
        Self::EventsFoldToView { map: map.into() }
    }

    /// Names the map that the property is about, if it is about one.
    pub fn map(&self) -> Option<&str> {
        match self {
            Self::Converged { map }
            | Self::Exact { map }
            | Self::NothingLost { map }
            | Self::EventsFoldToView { map } => Some(map),
            _ => None,
        }
    }

    /// Tells whether the property is about broadcast messages.
    pub fn is_about_messages(&self) -> bool {
        matches!(
            self,
            Self::Reliability { .. }
                | Self::DeliveredOnce
                | Self::Rmr { .. }
                | Self::Ldh { .. }
                | Self::Latency { .. }
        )
    }

    /// Lists the words that can ask for it: what needs calm cannot be asked always, what is a law cannot wait.
    pub(super) fn askable(&self) -> &'static [&'static str] {
        match self {
            Self::Connected
            | Self::Symmetric { .. }
            | Self::NobodyAlone
            | Self::NobodyFromTheDead
            | Self::Reliability { .. }
            | Self::Rmr { .. }
            | Self::Ldh { .. }
            | Self::Latency { .. } => &["always", "eventually", "sometimes"],
            Self::Bounded
            | Self::DeliveredOnce
            | Self::EventsFoldToView { .. }
            | Self::ClocksMonotonic
            | Self::ClocksBounded
            | Self::NoFalseVerdict { .. }
            | Self::NoFalseSuspicion { .. }
            | Self::DetectedByNeighbors { .. }
            | Self::DetectedByAll { .. }
            | Self::LeaveSeenAsLeave { .. }
            | Self::DirectorySafe { .. }
            | Self::TopologySafe { .. }
            | Self::ServiceEventsOnce
            | Self::LookupsTrue { .. }
            | Self::MailAtMostOnce
            | Self::MailInOrder
            | Self::MailToTheLiving
            | Self::CallsAnsweredOnce { .. }
            | Self::MonitorsFireOnce { .. }
            | Self::TiesCloseBoth { .. }
            | Self::NoDeadOwner { .. }
            | Self::OwnersAlternate
            | Self::BootingOwnsNothing
            | Self::MismatchRefused
            | Self::OwnershipStill { .. } => &["always"],
            Self::Calm { .. }
            | Self::Converged { .. }
            | Self::Exact { .. }
            | Self::NothingLost { .. }
            | Self::MembersExact
            | Self::DirectoryExact
            | Self::NamesUnique
            | Self::MailAccounted { .. }
            | Self::OneOwner => &["eventually", "sometimes"],
        }
    }

    fn window_mut(&mut self) -> Option<&mut Window> {
        match self {
            Self::Reliability { window, .. }
            | Self::Rmr { window, .. }
            | Self::Ldh { window, .. }
            | Self::Latency { window, .. } => Some(window),
            _ => None,
        }
    }

    /// Shows which messages the property judges, if it judges some.
    pub fn window(&self) -> Option<Window> {
        match self {
            Self::Reliability { window, .. }
            | Self::Rmr { window, .. }
            | Self::Ldh { window, .. }
            | Self::Latency { window, .. } => Some(*window),
            _ => None,
        }
    }
}

impl Walk for PropertySpec {
    fn walk<F: Fields>(&mut self, f: &mut F) {
        f.choose(&mut self.when);
        f.required(self.when.key(), word(), &mut self.check);
        if let When::Eventually { within_ns } = &mut self.when {
            f.required("within_s", Seconds, within_ns);
        }
        match &mut self.check {
            Check::Converged { map }
            | Check::Exact { map }
            | Check::NothingLost { map }
            | Check::EventsFoldToView { map } => f.required("map", Text, map),
            Check::Symmetric { min_ppm } | Check::Reliability { min_ppm, .. } => {
                f.defaulted("min", Share, min_ppm);
            }
            Check::Rmr { max_ppm, .. } => f.required("max", Ratio { what: "a ratio" }, max_ppm),
            Check::Ldh { max_ppm, .. } => f.required("max", Ratio { what: "a number of hops" }, max_ppm),
            Check::Latency { p99_ns, .. } => f.required("p99_ms", Millis, p99_ns),
            Check::Calm { periods } => f.defaulted("periods", whole(1, 1000), periods),
            Check::Connected
            | Check::Bounded
            | Check::NobodyAlone
            | Check::NobodyFromTheDead
            | Check::DeliveredOnce
            | Check::ClocksMonotonic
            | Check::ClocksBounded
            | Check::MembersExact
            | Check::DirectoryExact
            | Check::NamesUnique
            | Check::ServiceEventsOnce
            | Check::MailAtMostOnce
            | Check::MailInOrder
            | Check::MailToTheLiving
            | Check::OneOwner
            | Check::OwnersAlternate
            | Check::BootingOwnsNothing
            | Check::MismatchRefused => {}
            Check::NoFalseVerdict { pause_ns }
            | Check::NoFalseSuspicion { pause_ns }
            | Check::TopologySafe { pause_ns } => {
                f.defaulted("pause_s", Seconds, pause_ns);
            }
            Check::DetectedByNeighbors { within_ns }
            | Check::DetectedByAll { within_ns }
            | Check::LeaveSeenAsLeave { within_ns }
            | Check::DirectorySafe { within_ns }
            | Check::LookupsTrue { within_ns }
            | Check::MonitorsFireOnce { within_ns }
            | Check::TiesCloseBoth { within_ns }
            | Check::NoDeadOwner { within_ns } => f.defaulted("within_s", Seconds, within_ns),
            Check::CallsAnsweredOnce { slack_ns } => f.defaulted("slack_ms", Millis, slack_ns),
            Check::MailAccounted { min_ppm } => f.defaulted("min", Share, min_ppm),
            Check::OwnershipStill { max } => f.defaulted("max", whole(0, i64::from(u32::MAX)), max),
        }
        if let Some(window) = self.check.window_mut() {
            f.optional("from_s", Seconds, &mut window.from_ns);
            f.optional("to_s", Seconds, &mut window.to_ns);
        }
    }
}

impl Variant for When {
    const WHAT: &'static str = "property";

    fn all() -> Vec<(&'static str, Self)> {
        vec![
            ("always", Self::Always),
            ("eventually", Self::Eventually { within_ns: 0 }),
            ("sometimes", Self::Sometimes),
        ]
    }
}

impl Variant for Check {
    const WHAT: &'static str = "property";

    fn all() -> Vec<(&'static str, Self)> {
        let window = Window::default();
        vec![
            ("connected", Self::Connected),
            ("symmetric", Self::symmetric()),
            ("bounded", Self::Bounded),
            ("nobody-alone", Self::NobodyAlone),
            ("nobody-from-the-dead", Self::NobodyFromTheDead),
            ("calm", Self::Calm { periods: 2 }),
            ("reliability", Self::reliability(1.0)),
            ("delivered-once", Self::DeliveredOnce),
            ("rmr", Self::Rmr { max_ppm: 0, window }),
            ("ldh", Self::Ldh { max_ppm: 0, window }),
            ("latency", Self::Latency { p99_ns: 0, window }),
            ("converged", Self::converged("")),
            ("exact", Self::exact("")),
            ("nothing-lost", Self::nothing_lost("")),
            ("events-fold-to-view", Self::events_fold_to_view("")),
            ("clocks-monotonic", Self::ClocksMonotonic),
            ("clocks-bounded", Self::ClocksBounded),
            ("no-false-verdict", Self::NoFalseVerdict { pause_ns: PAUSE_NS }),
            ("no-false-suspicion", Self::NoFalseSuspicion { pause_ns: PAUSE_NS }),
            ("detected-by-neighbours", Self::DetectedByNeighbors { within_ns: DETECTED_NS / 2 }),
            ("detected-by-all", Self::DetectedByAll { within_ns: DETECTED_NS }),
            ("members-exact", Self::MembersExact),
            ("leave-seen-as-leave", Self::LeaveSeenAsLeave { within_ns: DETECTED_NS }),
            ("directory-exact", Self::DirectoryExact),
            ("names-unique", Self::NamesUnique),
            ("directory-safe", Self::DirectorySafe { within_ns: HIDDEN_NS }),
            ("topology-safe", Self::TopologySafe { pause_ns: PAUSE_NS }),
            ("service-events-once", Self::ServiceEventsOnce),
            ("lookups-true", Self::LookupsTrue { within_ns: HIDDEN_NS }),
            ("mail-at-most-once", Self::MailAtMostOnce),
            ("mail-in-order", Self::MailInOrder),
            ("mail-to-the-living", Self::MailToTheLiving),
            ("calls-answered-once", Self::CallsAnsweredOnce { slack_ns: SECOND }),
            ("monitors-fire-once", Self::MonitorsFireOnce { within_ns: HIDDEN_NS }),
            ("ties-close-both", Self::TiesCloseBoth { within_ns: HIDDEN_NS }),
            ("mail-accounted", Self::MailAccounted { min_ppm: PPM }),
            ("one-owner", Self::OneOwner),
            ("no-dead-owner", Self::NoDeadOwner { within_ns: DETECTED_NS }),
            ("owners-alternate", Self::OwnersAlternate),
            ("booting-owns-nothing", Self::BootingOwnsNothing),
            ("mismatch-refused", Self::MismatchRefused),
            ("ownership-still", Self::OwnershipStill { max: 0 }),
        ]
    }
}
