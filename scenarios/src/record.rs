//! The only mapping from what a run came to, on whatever driver, to the record that reports render.

use crate::cost::Cost;
use rumormill_reports as reports;
use rumormill_reports::{Finite, Histogram};
use rumormill_sim::judge::{LOOK_EVERY_NS, Moved, PropertyOutcome, PropertyStatus, Series};
use rumormill_sim::{BroadcastOutcome, FaultOutcome, Outcome, PURPOSES, Receipt, Sent, StateOutcome};
use std::collections::BTreeMap;

/// Writes the record of a run.
pub(crate) fn of(outcome: &Outcome, cost: Cost, reproduce: String) -> reports::Record {
    let properties: Vec<_> =
        outcome.properties.iter().map(|it| property(it, outcome.bootstrap_end_ns)).collect();
    let faults: Vec<_> = outcome.faults.iter().map(fault).collect();
    reports::Record {
        scenario: outcome.scenario.clone(),
        seed: outcome.seed.to_string(),
        nodes: outcome.nodes,
        verdict: reports::Verdict::of(&properties, &faults, &[]),
        trace_hash: reports::TraceHash(outcome.hash),
        events: outcome.counters.events,
        virtual_s: Finite::seconds(outcome.virtual_ns),
        bootstrap_s: Finite::seconds(outcome.bootstrap_end_ns),
        cost: Some(cost_of(cost, outcome.counters.events)),
        properties,
        faults,
        measures: Vec::new(),
        broadcast: outcome.broadcast.as_ref().map(broadcast),
        overlay: Some(overlay(outcome)),
        state: outcome.state.as_ref().map(state),
        members: members(outcome),
        registry: registry(outcome),
        mail: mail(outcome),
        placement: placement(outcome),
        traffic: Some(traffic(outcome)),
        sent_for: sent_for(outcome),
        series: outcome
            .series
            .iter()
            .filter(|it| !it.points_milli.is_empty())
            .map(|it| series(it, outcome))
            .collect(),
        counters: counters(outcome),
        notes: Vec::new(),
        reproduce,
    }
}

fn cost_of(cost: Cost, events: u64) -> reports::Cost {
    let seconds = |duration: std::time::Duration| Finite::seconds(duration.as_nanos() as u64);
    let rss = (cost.peak_rss_bytes > 0).then_some(cost.peak_rss_bytes);
    reports::Cost::new(seconds(cost.wall), seconds(cost.cpu), events, rss)
}

/// Seconds from the end of bootstrap; what came before it counts as zero.
fn since_bootstrap(at_ns: u64, bootstrap_end_ns: u64) -> Finite {
    Finite::seconds(at_ns.saturating_sub(bootstrap_end_ns))
}

fn property(property: &PropertyOutcome, bootstrap_end_ns: u64) -> reports::Property {
    reports::Property {
        name: property.name.to_owned(),
        kind: match property.when {
            "eventually" => reports::Kind::Eventually,
            "sometimes" => reports::Kind::Sometimes,
            _ => reports::Kind::Always,
        },
        status: match property.status {
            PropertyStatus::Held => reports::Status::Held,
            PropertyStatus::Failed => reports::Status::Failed,
            PropertyStatus::Unreached => reports::Status::Unreached,
        },
        at_s: property.at_ns.map(|at_ns| since_bootstrap(at_ns, bootstrap_end_ns)),
        node: property.node,
        detail: property.detail.clone(),
    }
}

fn fault(fault: &FaultOutcome) -> reports::Fault {
    let Receipt { messages, bytes, nodes, nanoseconds } = fault.receipt;
    let receipts = [("messages", messages), ("bytes", bytes), ("nodes", nodes), ("delay_ns", nanoseconds)];
    reports::Fault {
        kind: fault.kind.to_owned(),
        at_s: Finite::seconds(fault.at_ns),
        for_s: fault.for_ns.map(Finite::seconds),
        receipts: receipts.into_iter().map(|(name, amount)| (name.to_owned(), amount)).collect(),
    }
}

/// Puts samples into a histogram that merges with others.
fn histogram(samples: impl IntoIterator<Item = u64>) -> Histogram {
    let mut histogram = Histogram::new();
    samples.into_iter().for_each(|sample| histogram.record(sample));
    histogram
}

fn broadcast(broadcast: &BroadcastOutcome) -> reports::Broadcast {
    let hops: u64 = broadcast.last_hops.iter().map(|hops| u64::from(*hops)).sum();
    let micros = histogram(broadcast.latencies_ns.iter().map(|ns| ns / 1_000));
    reports::Broadcast {
        sent: broadcast.sent,
        reliability: Finite::ratio(broadcast.delivered, broadcast.expected).unwrap_or_default(),
        rmr: Finite::ratio(broadcast.rmr_ppm, 1_000_000).unwrap_or_default(),
        ldh_max: broadcast.last_hops.iter().max().copied().unwrap_or(0).into(),
        ldh_mean: Finite::ratio(hops, broadcast.last_hops.len() as u64).unwrap_or_default(),
        latency_ms: micros.quantiles(1_000),
    }
}

fn overlay(outcome: &Outcome) -> reports::Overlay {
    let figures = &outcome.overlay;
    let spread =
        |counts: &[u32]| histogram(counts.iter().map(|it| u64::from(*it))).spread().unwrap_or_default();
    reports::Overlay {
        connected: figures.components <= 1,
        components: figures.components,
        symmetric_pct: Finite::percent(figures.symmetric_ppm.into(), 1_000_000).unwrap_or_default(),
        active: spread(&figures.active),
        in_degree: spread(&figures.in_degree),
        clustering: Finite::ratio(figures.clustering_ppm.into(), 1_000_000).unwrap_or_default(),
        path_length_mean: Finite::ratio(figures.path_length_milli.into(), 1_000),
    }
}

fn state(state: &StateOutcome) -> reports::State {
    reports::State {
        converged: state.converged,
        converge_ms: histogram(state.converged_ns.iter().map(|ns| ns / 1_000)).quantiles(1_000),
        sync_bytes: state.sync_bytes,
        delta_bytes: state.gossip_bytes,
        keys: state.keys,
    }
}

/// Microseconds in a histogram, told in milliseconds.
fn millis(samples_ns: &[u64]) -> Option<reports::Quantiles> {
    histogram(samples_ns.iter().map(|ns| ns / 1_000)).quantiles(1_000)
}

fn members(outcome: &Outcome) -> Option<reports::Members> {
    let (noticed, stats) = (outcome.machines.members.as_ref()?, &outcome.stats);
    Some(reports::Members {
        noticed_by_neighbors_ms: millis(&noticed.by_neighbors_ns),
        noticed_by_all_ms: millis(&noticed.by_all_ns),
        verdicts: stats.verdicts,
        false_verdicts: noticed.false_verdicts,
        suspicions: stats.suspicions,
        refutations: stats.refutations,
    })
}

fn registry(outcome: &Outcome) -> Option<reports::Registry> {
    let (services, stats) = (outcome.machines.services?, &outcome.stats);
    Some(reports::Registry {
        services,
        updates: stats.registry_updates,
        applied: stats.registry_applied,
        pulls: stats.registry_pulls,
        refused: stats.registry_refused,
    })
}

fn mail(outcome: &Outcome) -> Option<reports::Mail> {
    let (answers_ns, stats) = (outcome.machines.answers_ns.as_ref()?, &outcome.stats);
    Some(reports::Mail {
        sent: stats.mail_sent,
        delivered: stats.mail_delivered,
        lost: stats.mail_lost,
        refused: stats.mail_refused,
        expired: stats.calls_expired,
        answer_ms: millis(answers_ns),
    })
}

fn placement(outcome: &Outcome) -> Option<reports::Placement> {
    let Moved { acquired, released } = outcome.machines.placement?;
    Some(reports::Placement { acquired, released })
}

/// What a node sends in a second, where more runs than broadcasts and maps.
fn sent_for(outcome: &Outcome) -> Vec<reports::SentFor> {
    let span_ms = outcome.virtual_ns.saturating_sub(outcome.bootstrap_end_ns) / 1_000_000;
    let node_ms = u64::from(outcome.nodes) * span_ms;
    let per_s = |amount: u64| Finite::ratio(amount * 1_000, node_ms).unwrap_or_default();
    let row = |(purpose, sent): (&&str, &Sent)| reports::SentFor {
        purpose: (*purpose).to_owned(),
        frames_per_s: per_s(sent.frames),
        bytes_per_s: per_s(sent.bytes),
    };
    let is_on = outcome.machines.members.is_some();
    let sent = PURPOSES.iter().zip(&outcome.sent).filter(|(_, sent)| is_on && sent.frames > 0);
    sent.map(row).collect()
}

fn traffic(outcome: &Outcome) -> reports::Traffic {
    let virtual_ms = (outcome.virtual_ns / 1_000_000).max(1);
    let rates = histogram(outcome.node_bytes.iter().map(|bytes| bytes * 1_000 / virtual_ms));
    reports::Traffic {
        messages: outcome.counters.messages,
        bytes: outcome.counters.bytes,
        per_node_bytes_per_s: rates.rates(1).unwrap_or_default(),
    }
}

/// Samples from the end of bootstrap on: before it there is no cluster to speak of.
fn series(series: &Series, outcome: &Outcome) -> reports::Series {
    let skip = outcome.bootstrap_end_ns.saturating_sub(outcome.series_start_ns).div_ceil(LOOK_EVERY_NS);
    let start_ns = outcome.series_start_ns + skip * LOOK_EVERY_NS;
    let points = series.points_milli.iter().skip(skip as usize);
    reports::Series {
        name: series.name.to_owned(),
        unit: series.unit.to_owned(),
        start_s: since_bootstrap(start_ns, outcome.bootstrap_end_ns),
        step_s: Finite::seconds(LOOK_EVERY_NS),
        points: points.map(|milli| Finite::ratio(*milli, 1_000).unwrap_or_default()).collect(),
    }
}

fn counters(outcome: &Outcome) -> BTreeMap<String, u64> {
    let mut counters = BTreeMap::new();
    outcome.stats.each(|name, count| {
        counters.insert(name.to_owned(), count);
    });
    counters
}
