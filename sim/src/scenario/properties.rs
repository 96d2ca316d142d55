//! What must hold, always, eventually or sometimes: plain data, checked elsewhere.

use super::units::{Millis, Ratio, Seconds, Share, Text, nanos, parts, whole, word};
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
}

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
        match self {
            Self::Reliability { .. }
            | Self::DeliveredOnce
            | Self::Rmr { .. }
            | Self::Ldh { .. }
            | Self::Latency { .. } => true,
            Self::Connected
            | Self::Symmetric { .. }
            | Self::Bounded
            | Self::NobodyAlone
            | Self::NobodyFromTheDead
            | Self::Calm { .. }
            | Self::Converged { .. }
            | Self::Exact { .. }
            | Self::NothingLost { .. }
            | Self::EventsFoldToView { .. }
            | Self::ClocksMonotonic
            | Self::ClocksBounded => false,
        }
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
            | Self::ClocksBounded => &["always"],
            Self::Calm { .. } | Self::Converged { .. } | Self::Exact { .. } | Self::NothingLost { .. } => {
                &["eventually", "sometimes"]
            }
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
            | Check::ClocksBounded => {}
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
        ]
    }
}
