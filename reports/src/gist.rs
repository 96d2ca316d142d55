//! What both the terminal and the page say, in words and figures, before either decides how it looks.

use crate::line::Role;
use crate::units::{bytes, count, millis, number, percent, prefixed, receipt, seconds};
use crate::{
    Broadcast, Fault, Finite, Mail, Members, Overlay, Placement, Property, Quantiles, Record, Registry,
    SentFor, Series, Spread, State, Status, Traffic, Verdict,
};

/// A group of facts under one title.
pub(crate) struct Section {
    pub(crate) title: &'static str,
    pub(crate) facts: Vec<Fact>,
}

/// One fact: what it is, how much, and whether that is well.
pub(crate) struct Fact {
    pub(crate) label: &'static str,
    pub(crate) value: String,
    pub(crate) role: Role,
}

/// A row of the table of distributions, one cell for each of [`SPREAD_COLUMNS`].
pub(crate) struct SpreadRow {
    pub(crate) label: &'static str,
    pub(crate) cells: [String; 5],
}

/// The columns of the table of distributions.
pub(crate) const SPREAD_COLUMNS: [&str; 5] = ["min", "p50", "p90", "p99", "max"];

/// Receipts that are named first, in this order; the others follow by name.
const RECEIPTS_FIRST: [&str; 3] = ["messages", "bytes", "nodes"];

/// The sign and the role of a verdict.
pub(crate) fn verdict_mark(verdict: Verdict) -> (&'static str, Role) {
    match verdict {
        Verdict::Pass => ("✓", Role::Good),
        Verdict::Vacuous => ("○", Role::Warn),
        Verdict::Fail => ("✗", Role::Bad),
        Verdict::Nondeterministic => ("≠", Role::Bad),
    }
}

/// The sign and the role of a property's answer.
pub(crate) fn status_mark(status: Status) -> (&'static str, Role) {
    match status {
        Status::Held => ("✓", Role::Good),
        Status::Failed => ("✗", Role::Bad),
        Status::Unreached => ("–", Role::Dim),
    }
}

/// The sign and the role of a fault: whether it did anything.
pub(crate) fn fault_mark(fault: &Fault) -> (&'static str, Role) {
    if fault.touched_nothing() { ("○", Role::Warn) } else { ("●", Role::Plain) }
}

/// The sign and the role of a measure.
pub(crate) fn measure_mark(held: bool) -> (&'static str, Role) {
    if held { ("✓", Role::Good) } else { ("✗", Role::Bad) }
}

/// What the run was: seed, size, time.
pub(crate) fn identity(record: &Record) -> [String; 3] {
    let time = format!("{} virtual", seconds(record.virtual_s));
    let time = match &record.cost {
        Some(cost) => format!("{time} in {} s", number(cost.wall_s)),
        None => time,
    };
    [format!("seed {}", record.seed), plural(u64::from(record.nodes), "node"), time]
}

/// How fast it went and how much memory it took, as far as that was measured.
pub(crate) fn effort(record: &Record) -> Vec<String> {
    let Some(cost) = &record.cost else { return vec![] };
    let rate = format!("{} events/CPU-s", prefixed(cost.events_per_cpu_s));
    let peak = cost.peak_rss_bytes.map(|peak| bytes(peak as f64));
    std::iter::once(rate).chain(peak).collect()
}

/// The run's fingerprint: its hash, and how many events went into it.
pub(crate) fn trace(record: &Record) -> [String; 2] {
    [record.trace_hash.to_string(), plural(record.events, "event")]
}

/// From where the times of the record count.
pub(crate) fn zero(record: &Record) -> String {
    if record.bootstrap_s == Finite::ZERO {
        return "count from the start".into(); // phases: nobody had joined before
    }
    format!("count from the end of bootstrap, {} after the start", seconds(record.bootstrap_s))
}

/// The verdict's reason in one sentence.
pub(crate) fn reason(record: &Record) -> String {
    match record.verdict {
        Verdict::Pass => reason_to_pass(record),
        Verdict::Vacuous => reason_to_doubt(record),
        Verdict::Fail => reason_to_fail(record),
        Verdict::Nondeterministic => {
            "The same seed did two different things: no result can be trusted.".into()
        }
    }
}

fn reason_to_pass(record: &Record) -> String {
    if record.properties.is_empty() {
        return "Nothing was asked of this run, so nothing was judged.".into();
    }
    let held = record.properties.iter().filter(|property| property.status == Status::Held).count();
    let properties = match held {
        0 => "No property was decided".into(),
        1 if record.properties.len() == 1 => "The one property held".into(),
        1 => "One property held".into(),
        _ => format!("{} held", plural(held as u64, "property")),
    };
    let faults = match record.faults.len() {
        0 => ", without faults".into(),
        faults => format!(" under {}", plural(faults as u64, "fault")),
    };
    let unreached = record.properties.iter().filter(|property| property.status == Status::Unreached);
    let unreached: Vec<&str> = unreached.map(|property| property.name.as_str()).collect();
    match unreached.as_slice() {
        [] => format!("{properties}{faults}."),
        names => format!(
            "{properties}{faults}; asked sometimes and not reached: {} (fails no single run, only `sweep --require-all`).",
            names.join(", ")
        ),
    }
}

fn reason_to_doubt(record: &Record) -> String {
    let idle: Vec<&Fault> = record.faults.iter().filter(|fault| fault.touched_nothing()).collect();
    match idle.as_slice() {
        [] => "Nothing shows that the run tested anything.".into(),
        [fault] => format!("The fault \"{}\" touched nothing: whatever held was not tested.", fault.kind),
        _ => format!("{} touched nothing: whatever held was not tested.", plural(idle.len() as u64, "fault")),
    }
}

fn reason_to_fail(record: &Record) -> String {
    let failed = record.properties.iter().filter(|property| property.status == Status::Failed);
    let failed = failed.map(|property| property.name.as_str());
    let missed = record.measures.iter().filter(|measure| !measure.held).map(|measure| measure.name.as_str());
    let names: Vec<&str> = failed.chain(missed).collect();
    if names.is_empty() { "The run failed.".into() } else { format!("Failed: {}.", names.join(", ")) }
}

/// Properties in the order of interest: failed, held, not reached.
pub(crate) fn ranked(properties: &[Property]) -> Vec<&Property> {
    let mut ranked: Vec<&Property> = properties.iter().collect();
    ranked.sort_by_key(|property| match property.status {
        Status::Failed => 0,
        Status::Held => 1,
        Status::Unreached => 2,
    });
    ranked
}

/// When a fault was there: "30 s → 60 s", or "at 30 s".
pub(crate) fn period(fault: &Fault) -> String {
    let begin = seconds(fault.at_s);
    match fault.for_s.and_then(|length| Finite::new(fault.at_s.value() + length.value())) {
        Some(end) => format!("{begin} → {}", seconds(end)),
        None => begin,
    }
}

/// What a fault did, without the receipts that are zero; empty if it touched nothing.
pub(crate) fn receipts(fault: &Fault) -> Vec<String> {
    let rank =
        |name: &str| RECEIPTS_FIRST.iter().position(|first| *first == name).unwrap_or(RECEIPTS_FIRST.len());
    let mut touched: Vec<(&String, u64)> =
        fault.receipts.iter().map(|(name, amount)| (name, *amount)).collect();
    touched.retain(|(_, amount)| *amount > 0);
    touched.sort_by_key(|(name, _)| rank(name));
    touched.into_iter().map(|(name, amount)| receipt(name, amount)).collect()
}

/// The sections that apply to a run.
pub(crate) fn sections(record: &Record) -> Vec<Section> {
    let sections = [
        record.broadcast.as_ref().map(broadcast),
        record.overlay.as_ref().map(overlay),
        record.state.as_ref().map(state),
        record.members.as_ref().map(members),
        record.registry.as_ref().map(registry),
        record.mail.as_ref().map(mail),
        record.placement.as_ref().map(placement),
        record.traffic.as_ref().map(traffic),
        (!record.sent_for.is_empty()).then(|| sent_for(&record.sent_for)),
    ];
    sections.into_iter().flatten().collect()
}

/// The table of distributions, as far as a run has any.
pub(crate) fn spreads(record: &Record) -> Vec<SpreadRow> {
    let latency = record.broadcast.and_then(|broadcast| broadcast.latency_ms);
    let converge = record.state.and_then(|state| state.converge_ms);
    let members = record.members.unwrap_or_default();
    let answers = record.mail.and_then(|mail| mail.answer_ms);
    let rates = record.traffic.map(|traffic| traffic.per_node_bytes_per_s);
    let rows = [
        latency.map(|quantiles| of_quantiles("delivery latency", quantiles)),
        converge.map(|quantiles| of_quantiles("convergence", quantiles)),
        members.noticed_by_neighbors_ms.map(|quantiles| of_quantiles("neighbours notice", quantiles)),
        members.noticed_by_all_ms.map(|quantiles| of_quantiles("all notice", quantiles)),
        answers.map(|quantiles| of_quantiles("answers", quantiles)),
        record.overlay.map(|overlay| of_spread("active view", overlay.active)),
        record.overlay.map(|overlay| of_spread("in-degree", overlay.in_degree)),
        rates.map(|rates| {
            let [p50, p99, max] =
                [rates.p50, rates.p99, rates.max].map(|rate| format!("{}/s", bytes(rate.value())));
            SpreadRow { label: "sent per node", cells: [String::new(), p50, String::new(), p99, max] }
        }),
    ];
    rows.into_iter().flatten().collect()
}

/// A series' last point with its unit, and between what it moved: "100 %", "(38–100)".
pub(crate) fn range(series: &Series) -> [String; 2] {
    let points = &series.points;
    let (Some(last), Some(low), Some(high)) = (points.last(), points.iter().min(), points.iter().max())
    else {
        return ["no points".into(), String::new()];
    };
    let last = format!("{} {}", number(*last), series.unit);
    [last.trim_end().to_string(), format!("({}–{})", number(*low), number(*high))]
}

fn broadcast(broadcast: &Broadcast) -> Section {
    let share = Finite::new(broadcast.reliability.value() * 100.0).unwrap_or_default();
    let hops = format!("{} (max {})", number(broadcast.ldh_mean), broadcast.ldh_max);
    let reached_all = broadcast.reliability >= Finite::from(1);
    let facts = vec![
        fact("sent", count(broadcast.sent)),
        Fact { label: "reliability", value: percent(share), role: good_or(Role::Warn, reached_all) },
        fact("RMR", number(broadcast.rmr)),
        fact("LDH", hops),
    ];
    Section { title: "broadcast", facts }
}

fn overlay(overlay: &Overlay) -> Section {
    let value = if overlay.connected {
        "connected".into()
    } else {
        plural(u64::from(overlay.components), "component")
    };
    let mut facts = vec![
        Fact { label: "", value, role: good_or(Role::Bad, overlay.connected) },
        fact("symmetric", percent(overlay.symmetric_pct)),
        fact("clustering", number(overlay.clustering)),
    ];
    let path = overlay.path_length_mean.map(|mean| fact("path", format!("{} hops", number(mean))));
    facts.extend(path);
    Section { title: "overlay", facts }
}

fn state(state: &State) -> Section {
    let value = if state.converged { "converged" } else { "not converged" }.to_string();
    let facts = vec![
        Fact { label: "", value, role: good_or(Role::Bad, state.converged) },
        fact("keys", count(state.keys)),
        fact("deltas", bytes(state.delta_bytes as f64)),
        fact("sync", bytes(state.sync_bytes as f64)),
    ];
    Section { title: "state", facts }
}

fn traffic(traffic: &Traffic) -> Section {
    let facts = vec![fact("messages", count(traffic.messages)), fact("bytes", bytes(traffic.bytes as f64))];
    Section { title: "traffic", facts }
}

fn members(members: &Members) -> Section {
    let is_well = members.false_verdicts == 0;
    let facts = vec![
        fact("verdicts", count(members.verdicts)),
        Fact { label: "false", value: count(members.false_verdicts), role: good_or(Role::Bad, is_well) },
        fact("suspicions", count(members.suspicions)),
        fact("refuted", count(members.refutations)),
    ];
    Section { title: "members", facts }
}

fn registry(registry: &Registry) -> Section {
    let facts = vec![
        fact("", plural(u64::from(registry.services), "service")),
        fact("updates", count(registry.updates)),
        fact("applied", count(registry.applied)),
        fact("pulled", count(registry.pulls)),
        fact("refused", count(registry.refused)),
    ];
    Section { title: "registry", facts }
}

fn mail(mail: &Mail) -> Section {
    let facts = vec![
        fact("sent", count(mail.sent)),
        fact("delivered", count(mail.delivered)),
        fact("told lost", count(mail.lost)),
        fact("refused", count(mail.refused)),
        fact("out of time", count(mail.expired)),
    ];
    Section { title: "mail", facts }
}

fn placement(placement: &Placement) -> Section {
    let facts =
        vec![fact("acquired", count(placement.acquired)), fact("released", count(placement.released))];
    Section { title: "placement", facts }
}

/// What a node sends in a second, for each purpose that anything was sent for.
fn sent_for(all: &[SentFor]) -> Section {
    let value = |it: &SentFor| {
        let (frames, bytes) = (number(it.frames_per_s), bytes(it.bytes_per_s.value()));
        format!("{} {frames}/s, {bytes}/s", it.purpose)
    };
    Section { title: "each node", facts: all.iter().map(|it| fact("", value(it))).collect() }
}

fn of_quantiles(label: &'static str, quantiles: Quantiles) -> SpreadRow {
    let Quantiles { p50, p90, p99, max } = quantiles;
    let [p50, p90, p99, max] = [p50, p90, p99, max].map(|duration| millis(duration.value()));
    SpreadRow { label, cells: [String::new(), p50, p90, p99, max] }
}

fn of_spread(label: &'static str, spread: Spread) -> SpreadRow {
    let [min, p50, max] = [spread.min, spread.p50, spread.max].map(count);
    SpreadRow { label, cells: [min, p50, String::new(), String::new(), max] }
}

fn fact(label: &'static str, value: String) -> Fact {
    Fact { label, value, role: Role::Plain }
}

fn good_or(otherwise: Role, good: bool) -> Role {
    if good { Role::Good } else { otherwise }
}

fn plural(amount: u64, noun: &str) -> String {
    match (amount, noun.strip_suffix('y')) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) => format!("{} {stem}ies", count(amount)),
        (_, None) => format!("{} {noun}s", count(amount)),
    }
}
