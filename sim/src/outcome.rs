//! What came of one run: raw samples, answers to properties, receipts.

use crate::faults::Receipt;
use crate::judge::{Machines, OverlayFigures, PropertyOutcome, PropertyStatus, Series};
use crate::{Counters, PURPOSES, Seed, Sent};
use rumormill_core::Stats;

/// What came of one run. A pure function of scenario and seed.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The scenario's name.
    pub scenario: String,
    /// The seed.
    pub seed: Seed,
    /// How many nodes there were.
    pub nodes: u32,
    /// The hash of everything that all nodes have seen and done.
    pub hash: u64,
    /// World time at the end, in nanoseconds.
    pub virtual_ns: u64,
    /// World time at the end of bootstrap, in nanoseconds: where scenarios count from.
    pub bootstrap_end_ns: u64,
    /// What the engine counted.
    pub counters: Counters,
    /// The answers to the scenario's properties, in its order.
    pub properties: Vec<PropertyOutcome>,
    /// The receipts of the scenario's faults, in its order.
    pub faults: Vec<FaultOutcome>,
    /// What became of broadcasts; none when nothing was published.
    pub broadcast: Option<BroadcastOutcome>,
    /// The overlay at the end.
    pub overlay: OverlayFigures,
    /// What became of replicated maps; none when there are none.
    pub state: Option<StateOutcome>,
    /// How members, services, mail and placement fared.
    pub machines: Machines,
    /// What was sent since the end of bootstrap, by purpose as in [`PURPOSES`](crate::PURPOSES).
    pub sent: [Sent; PURPOSES.len()],
    /// Bytes that each node sent.
    pub node_bytes: Vec<u64>,
    /// Samples at each look.
    pub series: Vec<Series>,
    /// When the first sample was taken, in nanoseconds of world time.
    pub series_start_ns: u64,
    /// The core's counters, summed over all nodes and their lives.
    pub stats: Stats,
}

/// What one fault did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultOutcome {
    /// Its kind, in the scenario's word.
    pub kind: &'static str,
    /// When it began, in nanoseconds after bootstrap.
    pub at_ns: u64,
    /// How long it lasted, in nanoseconds; none for one that happens at once.
    pub for_ns: Option<u64>,
    /// What it touched.
    pub receipt: Receipt,
}

/// What became of broadcasts.
#[derive(Clone, Debug, Default)]
pub struct BroadcastOutcome {
    /// Messages published.
    pub sent: u64,
    /// Publications that were refused.
    pub refused: u64,
    /// Deliveries that had to be made: one for each node that ran and heard the topic, and did not stop since.
    pub expected: u64,
    /// Those of them that were made.
    pub delivered: u64,
    /// Relative message redundancy, in millionths.
    pub rmr_ppm: u64,
    /// Hops of the last delivery of each message.
    pub last_hops: Vec<u16>,
    /// Nanoseconds from publication to the last delivery of each message.
    pub last_ns: Vec<u64>,
    /// Nanoseconds from publication to each delivery.
    pub latencies_ns: Vec<u64>,
}

/// What became of replicated maps.
#[derive(Clone, Debug, Default)]
pub struct StateOutcome {
    /// Whether all replicas were equal at the end.
    pub converged: bool,
    /// Nanoseconds from calm until each map was equal everywhere.
    pub converged_ns: Vec<u64>,
    /// Writes acknowledged.
    pub acknowledged: u64,
    /// Writes refused.
    pub refused: u64,
    /// Keys written.
    pub keys: u64,
    /// Bytes of anti-entropy.
    pub sync_bytes: u64,
    /// Bytes of payloads that were broadcast.
    pub gossip_bytes: u64,
}

/// What a run comes to, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Every property held, and every fault touched something.
    Pass,
    /// A fault touched nothing, so whatever held was not tested.
    Vacuous,
    /// A property failed.
    Fail,
}

impl Outcome {
    /// Judges the run as a whole.
    pub fn verdict(&self) -> Verdict {
        if self.properties.iter().any(|property| property.status == PropertyStatus::Failed) {
            Verdict::Fail
        } else if self.faults.iter().any(|fault| fault.receipt.is_empty()) {
            Verdict::Vacuous
        } else {
            Verdict::Pass
        }
    }

    /// Lists the properties that failed.
    pub fn failures(&self) -> impl Iterator<Item = &PropertyOutcome> {
        self.properties.iter().filter(|property| property.status == PropertyStatus::Failed)
    }
}
