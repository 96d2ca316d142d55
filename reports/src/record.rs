//! The record of one run: plain data, one schema for every driver.
//!
//! In JSON, what does not apply is left out and never null; lists are always there, if only empty. Everything
//! outside [`Cost`] is a pure function of commit, scenario and seed.

use crate::{Finite, Quantiles, Rates, Spread};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// What one run tells.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The scenario's name, as `rumormill run` takes it.
    pub scenario: String,
    /// The seed in full, version first: "1:42". A string, because JSON readers round large numbers.
    pub seed: String,
    /// How many nodes there were, running or not.
    pub nodes: u32,
    /// What came out.
    pub verdict: Verdict,
    /// The rolling hash over everything that happened.
    pub trace_hash: TraceHash,
    /// Events handled by all nodes.
    pub events: u64,
    /// Virtual time that passed from the start to the end, in seconds.
    pub virtual_s: Finite,
    /// When bootstrap ended, in seconds from the start: the zero from which all times of the record count.
    #[serde(default)]
    pub bootstrap_s: Finite,
    /// What the run cost this machine: the only part that differs from run to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
    /// What was asked of the run, and the answers.
    #[serde(default)]
    pub properties: Vec<Property>,
    /// The faults, each with its receipts.
    #[serde(default)]
    pub faults: Vec<Fault>,
    /// Comparisons with published or measured figures.
    #[serde(default)]
    pub measures: Vec<Measure>,
    /// How broadcasts fared; none if nothing was published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broadcast: Option<Broadcast>,
    /// The overlay's shape at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlay: Option<Overlay>,
    /// How replicated state fared; none if there was no map.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// How crashes were noticed; none where no node keeps members.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub members: Option<Members>,
    /// How services fared; none where there is no registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry: Option<Registry>,
    /// How mail fared; none where there are no mailboxes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mail: Option<Mail>,
    /// How partitions moved; none where none are placed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
    /// What went over the wire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic: Option<Traffic>,
    /// What each node sends after bootstrap, by purpose; nothing where only broadcasts and maps run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sent_for: Vec<SentFor>,
    /// Figures sampled at fixed intervals.
    #[serde(default)]
    pub series: Vec<Series>,
    /// The core's counters by name, summed over all nodes.
    #[serde(default)]
    pub counters: BTreeMap<String, u64>,
    /// Remarks for the reader: how something was measured, what was left out.
    #[serde(default)]
    pub notes: Vec<String>,
    /// The one command that repeats this run.
    pub reproduce: String,
}

/// What came out of a run, from best to worst; the worst of several is their maximum.
///
/// The default is [`Verdict::Vacuous`]: a run of which nothing is known proves nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Every property held, and every fault touched something.
    Pass,
    /// A fault touched nothing: whatever held was not tested.
    #[default]
    Vacuous,
    /// A property failed, or a measure missed its gate.
    Fail,
    /// The same seed did two different things.
    Nondeterministic,
}

/// A rolling 64-bit hash, in JSON a string of 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TraceHash(pub u64);

/// What a run cost the machine that it ran on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Time on the wall, in seconds.
    pub wall_s: Finite,
    /// Processor time of all threads, in seconds.
    pub cpu_s: Finite,
    /// Events handled in a second of processor time.
    pub events_per_cpu_s: Finite,
    /// The most memory held at a time, in bytes; none where the system does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_rss_bytes: Option<u64>,
}

/// A property and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Property {
    /// Its name.
    pub name: String,
    /// What it asks.
    pub kind: Kind,
    /// The answer.
    pub status: Status,
    /// When it was decided, in seconds from the end of bootstrap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_s: Option<Finite>,
    /// The node that decided it, by number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<u32>,
    /// What was seen, in one sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What a property asks of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It holds at every moment.
    Always,
    /// It holds at last, once faults have ended.
    Eventually,
    /// It is reached at least once: shows that a run went where it was meant to go.
    Sometimes,
}

/// The answer to a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It held.
    Held,
    /// It was violated, or did not come true in time.
    Failed,
    /// A `sometimes` that this run never reached; no failure.
    Unreached,
}

/// A fault that was injected, and what it did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What it is, in the scenario's word.
    pub kind: String,
    /// When it began, in seconds from the end of bootstrap.
    pub at_s: Finite,
    /// How long it lasted, in seconds; none for one that happens at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub for_s: Option<Finite>,
    /// What it touched: messages, bytes, nodes and the like, by name. The unit is the name's end (`_ns`, `bytes`).
    #[serde(default)]
    pub receipts: BTreeMap<String, u64>,
}

/// A figure beside the one it is compared with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measure {
    /// What is measured.
    pub name: String,
    /// The published or measured figure, as its source words it.
    pub reference: String,
    /// Ours.
    pub ours: Finite,
    /// What ours must be: "≤ 10.5".
    pub gate: String,
    /// What ours would be if it beat the reference; none where nothing more is to be had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beat: Option<String>,
    /// Whether the gate held.
    pub held: bool,
}

/// How broadcasts fared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broadcast {
    /// Messages published.
    pub sent: u64,
    /// Share of live nodes that a message reached, mean over messages, from 0 to 1.
    pub reliability: Finite,
    /// Relative message redundancy: payloads per node beyond the one it needs; 0 is a perfect tree.
    pub rmr: Finite,
    /// Hops of the last delivery, worst message; the first transmission is hop 1.
    pub ldh_max: u32,
    /// Hops of the last delivery, mean over messages.
    pub ldh_mean: Finite,
    /// Time from publishing to each delivery, in virtual milliseconds; none if nothing was delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<Quantiles>,
}

/// The overlay's shape over the live nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlay {
    /// Whether every live node reaches every other.
    pub connected: bool,
    /// How many parts it falls into; 1 when connected.
    pub components: u32,
    /// Share of edges that both ends know, in percent.
    pub symmetric_pct: Finite,
    /// Sizes of active views.
    pub active: Spread,
    /// How many active views a node is in.
    pub in_degree: Spread,
    /// Mean clustering coefficient, from 0 to 1.
    pub clustering: Finite,
    /// Mean of the shortest paths between nodes that reach each other, in hops; none if no two do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_length_mean: Option<Finite>,
}

/// How replicated state fared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Whether all replicas were equal at the end.
    pub converged: bool,
    /// Time from a write to its arrival on the last live replica, in virtual milliseconds; none if no write got there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub converge_ms: Option<Quantiles>,
    /// Bytes of anti-entropy.
    pub sync_bytes: u64,
    /// Bytes of deltas that were broadcast.
    pub delta_bytes: u64,
    /// Keys in all maps at the end, deleted ones not counted.
    pub keys: u64,
}

/// How members were watched over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Members {
    /// Time until a neighbour noticed a crash, in virtual milliseconds; none if none did, or nobody told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noticed_by_neighbors_ms: Option<Quantiles>,
    /// Time until a node noticed a crash, in virtual milliseconds; none if none did, or nobody told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noticed_by_all_ms: Option<Quantiles>,
    /// Members that nodes took for dead, each node's verdict by itself.
    pub verdicts: u64,
    /// Of those that were told, verdicts on nodes that lived, with no hardship to excuse them.
    pub false_verdicts: u64,
    /// Members that a node told everybody to suspect.
    pub suspicions: u64,
    /// Suspicions that were answered by who was suspected.
    pub refutations: u64,
}

/// How services fared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registry {
    /// The most services that a node showed at the end.
    pub services: u32,
    /// Changes that owners told.
    pub updates: u64,
    /// Changes of others' that nodes took in.
    pub applied: u64,
    /// Changes that had to be asked for.
    pub pulls: u64,
    /// Changes that broke the rules and were refused.
    pub refused: u64,
}

/// How mail fared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mail {
    /// Messages and questions sent.
    pub sent: u64,
    /// Messages and questions that came.
    pub delivered: u64,
    /// Messages whose sender was told that they are lost.
    pub lost: u64,
    /// Messages and questions that were refused where they came.
    pub refused: u64,
    /// Questions that ran out of time.
    pub expired: u64,
    /// Time from a question to its answer, in virtual milliseconds; none if none was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer_ms: Option<Quantiles>,
}

/// How partitions moved after bootstrap, as far as nodes watch theirs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Partitions acquired.
    pub acquired: u64,
    /// Partitions released.
    pub released: u64,
}

/// What a node sends for one purpose in a second of virtual time, after bootstrap: the mean over all nodes, running or
/// not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentFor {
    /// The purpose.
    pub purpose: String,
    /// Frames.
    pub frames_per_s: Finite,
    /// Bytes.
    pub bytes_per_s: Finite,
}

/// What went over the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Frames sent.
    pub messages: u64,
    /// Bytes sent, framing included.
    pub bytes: u64,
    /// Bytes that a node sends in a second of virtual time.
    pub per_node_bytes_per_s: Rates,
}

/// One figure over time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Series {
    /// What it is.
    pub name: String,
    /// Its unit; "%" is drawn on a scale up to 100, any other up to the greatest point.
    pub unit: String,
    /// When the first point was taken, in seconds from the end of bootstrap.
    pub start_s: Finite,
    /// Virtual time between two points, in seconds.
    pub step_s: Finite,
    /// The points.
    pub points: Vec<Finite>,
}

impl Record {
    /// Writes the record as one JSON object, indented, with a line break at its end.
    pub fn to_json(&self) -> String {
        let mut json = serde_json::to_string_pretty(self).expect("a record is plain data with text keys");
        json.push('\n');
        json
    }

    /// Reads a record from JSON; keys of a newer version are passed over.
    ///
    /// # Errors
    /// The text is not JSON, or not a record; the error names line and column.
    pub fn from_json(json: &str) -> Result<Record, serde_json::Error> {
        serde_json::from_str(json)
    }

    /// The record without what the run cost: a pure function of commit, scenario and seed.
    #[must_use]
    pub fn without_cost(mut self) -> Record {
        self.cost = None;
        self
    }
}

impl Verdict {
    /// Judges a run that did the same thing twice, or was not asked to.
    ///
    /// Only failures of properties and measures fail it; an unreached `sometimes` does not. It is vacuous if any
    /// fault touched nothing.
    pub fn of(properties: &[Property], faults: &[Fault], measures: &[Measure]) -> Verdict {
        let failed = properties.iter().any(|property| property.status == Status::Failed);
        if failed || measures.iter().any(|measure| !measure.held) {
            Verdict::Fail
        } else if faults.iter().any(Fault::touched_nothing) {
            Verdict::Vacuous
        } else {
            Verdict::Pass
        }
    }

    /// The status that the process exits with: 0 pass, 1 fail, 3 nondeterministic, 4 vacuous.
    pub fn exit_code(self) -> u8 {
        match self {
            Verdict::Pass => 0,
            Verdict::Fail => 1,
            Verdict::Nondeterministic => 3,
            Verdict::Vacuous => 4,
        }
    }

    /// The verdict in a word, as in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Vacuous => "vacuous",
            Verdict::Fail => "fail",
            Verdict::Nondeterministic => "nondeterministic",
        }
    }
}

impl Kind {
    /// The kind in a word, as in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Always => "always",
            Kind::Eventually => "eventually",
            Kind::Sometimes => "sometimes",
        }
    }
}

impl Fault {
    /// Whether no receipt shows that the fault did anything.
    pub fn touched_nothing(&self) -> bool {
        self.receipts.values().all(|&amount| amount == 0)
    }
}

impl Cost {
    /// Puts together what a run cost; the rate is zero if no processor time was measured.
    pub fn new(wall_s: Finite, cpu_s: Finite, events: u64, peak_rss_bytes: Option<u64>) -> Cost {
        let events_per_cpu_s = Finite::new(events as f64 / cpu_s.value()).unwrap_or_default();
        Cost { wall_s, cpu_s, events_per_cpu_s, peak_rss_bytes }
    }
}

impl fmt::Display for TraceHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl From<TraceHash> for String {
    fn from(hash: TraceHash) -> String {
        hash.to_string()
    }
}

impl TryFrom<String> for TraceHash {
    type Error = String;

    fn try_from(text: String) -> Result<TraceHash, String> {
        let digits = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let hash = digits.then(|| u64::from_str_radix(&text, 16).ok()).flatten();
        hash.map(TraceHash)
            .ok_or_else(|| format!("trace hash {text:?}: expected 16 hexadecimal digits in lower case"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn property(status: Status) -> Property {
        let name = "converged".to_string();
        Property { name, kind: Kind::Eventually, status, at_s: None, node: None, detail: None }
    }

    fn fault(amount: u64) -> Fault {
        Fault { receipts: [("messages".to_string(), amount)].into(), ..Fault::default() }
    }

    #[test]
    fn verdicts_are_ordered_from_best_to_worst() {
        use Verdict::{Fail, Nondeterministic, Pass, Vacuous};
        assert!(Pass < Vacuous && Vacuous < Fail && Fail < Nondeterministic);
        assert_eq!([Pass, Fail, Nondeterministic, Vacuous].map(Verdict::exit_code), [0, 1, 3, 4]);
    }

    #[test]
    fn a_failure_outweighs_a_fault_that_touched_nothing() {
        assert_eq!(Verdict::of(&[property(Status::Failed)], &[fault(0)], &[]), Verdict::Fail);
        assert_eq!(Verdict::of(&[property(Status::Held)], &[fault(0), fault(1)], &[]), Verdict::Vacuous);
        assert_eq!(Verdict::of(&[property(Status::Held)], &[fault(1)], &[]), Verdict::Pass);
    }

    #[test]
    fn a_missed_gate_fails_and_an_unreached_sometimes_does_not() {
        assert_eq!(Verdict::of(&[], &[], &[Measure::default()]), Verdict::Fail);
        assert_eq!(Verdict::of(&[property(Status::Unreached)], &[], &[]), Verdict::Pass);
    }

    #[test]
    fn a_fault_without_receipts_touched_nothing() {
        assert!(Fault::default().touched_nothing());
        assert!(fault(0).touched_nothing());
        assert!(!fault(1).touched_nothing());
    }

    #[test]
    fn a_trace_hash_is_sixteen_digits_and_nothing_else() {
        assert_eq!(TraceHash(0xab).to_string(), "00000000000000ab");
        assert_eq!(TraceHash::try_from("00000000000000ab".to_string()), Ok(TraceHash(0xab)));
        for wrong in ["", "ab", "+0000000000000ab", "00000000000000AB", "000000000000000ab"] {
            assert!(TraceHash::try_from(wrong.to_string()).is_err(), "{wrong} was taken");
        }
    }

    #[test]
    fn a_cost_without_processor_time_has_no_rate() {
        assert_eq!(Cost::new(Finite::ZERO, Finite::ZERO, 7, None).events_per_cpu_s, Finite::ZERO);
        assert_eq!(Cost::new(Finite::ZERO, Finite::from(2), 7, None).events_per_cpu_s.value(), 3.5);
    }
}
