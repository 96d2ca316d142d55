//! A scenario in plain language: who, where, when what happens, and what must hold.

use super::file::changed_config;
use super::units::{MILLI, PPM};
use super::validate::seconds;
use super::{
    Check, Clocks, Distribution, Fault, FaultKind, Joining, MailLoad, Nodes, Phase, PropertySpec, Scenario,
    Senders, Shape, Watched, When, Workload, WorkloadKind,
};
use crate::schedule::{DiskFate, LatencyModel, NetworkModel, Profile};

/// Columns of a line at most; longer ones are broken at words.
const WIDTH: usize = 100;

impl Scenario {
    /// Tells in plain language what the scenario does and asks for: a page for a terminal.
    pub fn explain(&self) -> String {
        let mut page = format!("{}\n", self.name);
        if !self.about.is_empty() {
            page.push_str(&wrapped(&self.about, "  "));
        }
        page.push('\n');
        page.push_str(&wrapped(&self.explain_start(), ""));
        page.push_str(&wrapped(&explain_network(&self.network), ""));
        page.push_str(&wrapped(&explain_clocks(self.clocks), ""));
        let changed = changed_config(&self.config);
        if !changed.is_empty() {
            page.push_str(&wrapped(&format!("Configuration: {}.", changed.join(", ")), ""));
        }
        for differing in &self.config_of {
            let keys = differing.lines().join(", ");
            page.push_str(&wrapped(&format!("Otherwise on {}: {keys}.", some(&differing.nodes)), ""));
        }
        if let Some(app) = &self.app {
            page.push_str(&wrapped(&format!("Every node hosts the application {app:?}."), ""));
        }
        page.push_str(&if self.phases.is_empty() { self.explain_times() } else { self.explain_phases() });
        page.push_str(&self.explain_properties());
        page
    }

    fn explain_start(&self) -> String {
        let nodes = number(u64::from(self.nodes));
        if !self.phases.is_empty() {
            let contacts = counted(u64::from(self.bootstrap.contacts), "contact");
            return format!("{nodes} nodes, {contacts}, in phases (paper mode).");
        }
        let bootstrap = &self.bootstrap;
        format!(
            "{nodes} nodes come together through {}, one each {}, and settle for {}.",
            counted(u64::from(bootstrap.contacts), "contact"),
            time(bootstrap.join_every_ns),
            time(bootstrap.settle_ns)
        )
    }

    fn explain_times(&self) -> String {
        let mut lines: Vec<(u64, String, String)> = Vec::new();
        for workload in &self.workloads {
            let when = match workload.is_standing() {
                true => "throughout".into(),
                false => format!("{} – {}", seconds(workload.from_ns), seconds(workload.to_ns)),
            };
            lines.push((workload.from_ns, when, explain_workload(workload)));
        }
        for fault in &self.faults {
            let end_ns = self.fault_end_ns(fault);
            let when = match end_ns == fault.at_ns {
                true => seconds(fault.at_ns),
                false => format!("{} – {}", seconds(fault.at_ns), seconds(end_ns)),
            };
            lines.push((fault.at_ns, when, format!("fault: {}", explain_fault(fault))));
        }
        lines.sort_by_key(|(at_ns, ..)| *at_ns);
        let end_ns = self.end_or_default_ns();
        lines.push((end_ns, seconds(end_ns), "the end".into()));
        let width = lines.iter().map(|(_, when, _)| when.chars().count()).max().unwrap_or(0);
        let mut text = "\nAfter bootstrap\n".to_string();
        for (_, when, what) in lines {
            text.push_str(&entry(&when, width, &what));
        }
        text
    }

    fn explain_phases(&self) -> String {
        let mut text = "\nPhases, each when the network is quiet after the one before\n".to_string();
        for (index, phase) in self.phases.iter().enumerate() {
            text.push_str(&entry(&format!("{}.", index + 1), 3, &explain_phase(phase)));
        }
        text
    }

    fn explain_properties(&self) -> String {
        if self.properties.is_empty() {
            return "\nNothing is asked for, so nothing is judged.\n".into();
        }
        let mut text = "\nWhat must hold\n".to_string();
        for property in &self.properties {
            let when = match property.when {
                When::Sometimes => "sometimes",
                When::Always => "always",
                When::Eventually { .. } => "eventually",
            };
            text.push_str(&entry(when, "eventually".len(), &self.explain_property(property)));
        }
        text
    }

    fn explain_property(&self, property: &PropertySpec) -> String {
        let mut text = format!("{}: {}", property.word(), explain_check(&property.check));
        if let When::Eventually { within_ns } = property.when {
            let by = seconds(self.calm_ns().saturating_add(within_ns));
            let after = if self.phases.is_empty() { "the last fault and workload" } else { "the last phase" };
            text.push_str(&format!("; within {} of {after}, so by {by}", time(within_ns)));
        }
        if let Some(window) = property.check.window() {
            match (window.from_ns, window.to_ns) {
                (None, None) => {}
                (Some(from), None) => text.push_str(&format!("; messages from {} on", seconds(from))),
                (None, Some(to)) => text.push_str(&format!("; messages before {}", seconds(to))),
                (Some(from), Some(to)) => {
                    text.push_str(&format!("; messages from {} to {}", seconds(from), seconds(to)));
                }
            }
        }
        text
    }
}

fn explain_network(network: &NetworkModel) -> String {
    let latency = match network.latency {
        LatencyModel::Constant(ns) => format!("{} one way", time(ns)),
        LatencyModel::Uniform(low, high) => format!("{} to {} one way", time(low), time(high)),
        LatencyModel::LongTail(median, p99) => {
            format!("{} one way, {} for one pair in a hundred", time(median), time(p99))
        }
        LatencyModel::FiveRegions => "five regions of the earth".into(),
    };
    let profile = match network.profile {
        Profile::Quic => "QUIC",
        Profile::Ideal => "ideal (no handshakes, no loss)",
    };
    let mut text = format!("Network: {profile}, {latency}");
    if network.loss_ppm > 0 {
        text.push_str(&format!(", {} of packets lost", percent(network.loss_ppm)));
    }
    if network.uplink_bps > 0 {
        text.push_str(&format!(", {} Mbit/s up", network.uplink_bps as f64 / 1e6));
    }
    text.push('.');
    text
}

fn explain_clocks(clocks: Clocks) -> String {
    match clocks {
        Clocks { offset_ms: 0, drift_ppm: 0 } => "Clocks: right.".into(),
        Clocks { offset_ms, drift_ppm: 0 } => format!("Clocks: off by up to {offset_ms} ms."),
        Clocks { offset_ms, drift_ppm } => {
            format!("Clocks: off by up to {offset_ms} ms, drifting by up to {drift_ppm} ppm.")
        }
    }
}

fn explain_workload(workload: &Workload) -> String {
    match &workload.kind {
        WorkloadKind::Broadcast { topic, rate_ppm, size, senders, .. } => {
            format!("{} messages a second of {size} B on {topic:?}, from {}", rate(*rate_ppm), from(*senders))
        }
        WorkloadKind::MapPut { map, keys, rate_ppm, size, removes_ppm } => {
            let keys = number(u64::from(*keys));
            let removes = match removes_ppm {
                0 => String::new(),
                removes => format!(", {} of them removals", percent(*removes)),
            };
            format!(
                "{} writes a second to {keys} keys of map {map:?}, {size} B each{removes}",
                rate(*rate_ppm)
            )
        }
        WorkloadKind::Register { per_node, names, meta_bytes, nodes, unique, binary, again, together } => {
            let (each, names) =
                (counted(u64::from(*per_node), "service"), counted(u64::from(*names), "name"));
            let mut text = format!("{} register {each}, each under one of {names}", some(nodes));
            if *binary {
                text.push_str(" that are no text");
            }
            if *unique {
                text.push_str(", unique in the cluster");
            }
            text.push_str(&format!(", {meta_bytes} B about each"));
            text.push_str(if *together { ", all of a node at once" } else { "" });
            text.push_str(if *again { ", and again after each restart" } else { "" });
            text
        }
        WorkloadKind::Update { rate_ppm, meta_bytes, .. } => {
            format!("{} services a second say something else of themselves, {meta_bytes} B", rate(*rate_ppm))
        }
        WorkloadKind::Unregister { rate_ppm, .. } => {
            format!("{} services a second are withdrawn", rate(*rate_ppm))
        }
        WorkloadKind::Lookup { rate_ppm, .. } => {
            format!("{} times a second a random node is asked where a service is", rate(*rate_ppm))
        }
        WorkloadKind::Watch { what, prefix, nodes } => {
            let what = match (what, prefix) {
                (Watched::Members, _) => "the members".into(),
                (Watched::Services, None) => "all services".into(),
                (Watched::Services, Some(prefix)) => format!("services that begin with {prefix:?}"),
                (Watched::Partitions, _) => "the partitions that they own".into(),
            };
            format!("{} watch {what}", some(nodes))
        }
        WorkloadKind::Mail(mail) => explain_mail(mail),
        WorkloadKind::Request { lines, rate_ppm, nodes } => {
            let lines: Vec<_> = lines.iter().map(|line| format!("{line:?}")).collect();
            let (rate, among) = (rate(*rate_ppm), some(nodes));
            format!("{rate} requests a second to applications, among {among}: {}", lines.join(", "))
        }
        WorkloadKind::Leave { nodes, back_after_ns: None } => format!("{} leave for good", some(nodes)),
        WorkloadKind::Leave { nodes, back_after_ns: Some(back) } => {
            format!("{} leave, each back after {}", some(nodes), time(*back))
        }
    }
}

fn explain_mail(mail: &MailLoad) -> String {
    let mut text = format!(
        "{} on each node, {} {} and {} questions a second of {} B, answered within {}",
        counted(u64::from(mail.per_node), "mailbox").replace("mailboxs", "mailboxes"),
        rate(mail.send_ppm),
        if mail.bundle > 1 { format!("bundles of {} messages", mail.bundle) } else { "messages".into() },
        rate(mail.call_ppm),
        mail.size,
        time(mail.timeout_ms * MILLI)
    );
    if mail.monitors > 0 {
        text.push_str(&format!(", each with {}", counted(u64::from(mail.monitors), "monitor")));
    }
    if mail.ties_ppm > 0 {
        text.push_str(&format!(", {} tied to another", percent(mail.ties_ppm)));
    }
    if mail.close_ppm > 0 {
        text.push_str(&format!(", {} closed and opened anew a second", rate(mail.close_ppm)));
    }
    if mail.stale_ppm > 0 {
        text.push_str(&format!(", {} to addresses of before", percent(mail.stale_ppm)));
    }
    if mail.silent_ppm > 0 {
        text.push_str(&format!(", {} of the questions never answered", percent(mail.silent_ppm)));
    }
    text
}

fn explain_fault(fault: &Fault) -> String {
    match &fault.kind {
        FaultKind::Partition { shape, flapping } => {
            let flapping = flapping.map(|flapping| {
                format!(", for {} every {}", time(flapping.down_ns), time(flapping.every_ns))
            });
            format!("{}{}", explain_shape(shape), flapping.unwrap_or_default())
        }
        FaultKind::Loss { rate_ppm, nodes, egress: false } => {
            format!("{} of packets lost{}", percent(*rate_ppm), of(nodes))
        }
        FaultKind::Loss { rate_ppm, nodes, egress: true } => {
            format!("{} of packets lost that {} send", percent(*rate_ppm), some(nodes))
        }
        FaultKind::Duplicate { rate_ppm, nodes } => {
            format!("{} of packets doubled{}", percent(*rate_ppm), of(nodes))
        }
        FaultKind::Reorder { rate_ppm, nodes } => {
            format!("{} of packets overtaken{}", percent(*rate_ppm), of(nodes))
        }
        FaultKind::Latency { extra_ns, nodes } => format!("{} more latency{}", time(*extra_ns), of(nodes)),
        FaultKind::Crash { nodes, disk, restart_after_ns } => {
            let back = match restart_after_ns {
                Some(after) => format!("back after {}", time(*after)),
                None => "for good".into(),
            };
            format!("{} crash, {back}{}", some(nodes), lost(*disk))
        }
        FaultKind::RollingRestart { nodes, disk, every_ns, down_ns } => {
            let (every, down) = (time(*every_ns), time(*down_ns));
            format!(
                "{} restart one after another, one each {every}, down for {down}{}",
                some(nodes),
                lost(*disk)
            )
        }
        FaultKind::MassFailure { nodes } => format!("{} die at once, for good", some(nodes)),
        FaultKind::Pause { nodes } => format!("{} stand still", some(nodes)),
        FaultKind::Slow { nodes, per_input_ns } => {
            format!("{} take {} over each input", some(nodes), time(*per_input_ns))
        }
        FaultKind::Churn { nodes, session_ns, down_ns, distribution, disk } => {
            let kind = match distribution {
                Distribution::Exponential => "exponential",
                Distribution::Pareto => "heavy-tailed",
            };
            let (up, down) = (time(*session_ns), time(*down_ns));
            format!("{} come and go, about {up} up and {down} down ({kind}){}", some(nodes), lost(*disk))
        }
        FaultKind::JoinStorm { nodes } => format!("{} join in one instant", some(nodes)),
        FaultKind::Clock { nodes, offset_ms, step_ms, drift_ppm, freeze } => {
            let mut parts = Vec::new();
            parts.extend((*offset_ms > 0).then(|| format!("off by up to {offset_ms} ms")));
            parts.extend((*step_ms != 0).then(|| format!("jump by {step_ms} ms")));
            parts.extend((*drift_ppm > 0).then(|| format!("drift by up to {drift_ppm} ppm")));
            parts.extend(freeze.then(|| "stand still".to_string()));
            format!("clocks of {}: {}", some(nodes), parts.join(", "))
        }
    }
}

fn explain_shape(shape: &Shape) -> String {
    match shape {
        Shape::Split(shares) => {
            let shares: Vec<_> = shares.iter().map(|share| percent(*share)).collect();
            format!("partition into {}", shares.join(" | "))
        }
        Shape::Isolate(nodes) => format!("{} cut off from everybody", some(nodes)),
        Shape::OneWay(nodes) => format!("what {} send does not reach the others", some(nodes)),
        Shape::Bridge(nodes) => {
            format!("two halves that only {} can both reach", counted(u64::from(*nodes), "node"))
        }
    }
}

fn explain_phase(phase: &Phase) -> String {
    match phase {
        Phase::Join(Joining::OneByOne) => "all join, one after another".into(),
        Phase::Join(Joining::AtOnce) => "all join at once".into(),
        Phase::Cycles(count) => counted(u64::from(*count), "membership cycle"),
        Phase::Kill(nodes) => format!("{} die at once", some(nodes)),
        Phase::Messages { count, size, senders, every_ns } => {
            let spacing = match every_ns {
                Some(every_ns) => format!("one each {}", time(*every_ns)),
                None => "one after another".into(),
            };
            format!(
                "{} of {size} B from {}, {spacing}",
                counted(u64::from(*count), "message"),
                from(*senders)
            )
        }
        Phase::Quiesce { max_ns } => format!("wait until all is quiet, at most {}", time(*max_ns)),
    }
}

fn explain_check(check: &Check) -> String {
    match check {
        Check::Connected => "all living nodes are connected".into(),
        Check::Symmetric { min_ppm: PPM } => "every edge exists on both sides".into(),
        Check::Symmetric { min_ppm } => {
            format!("at least {} of edges exist on both sides", percent(*min_ppm))
        }
        Check::Bounded => "no view exceeds its limit".into(),
        Check::NobodyAlone => "every living node has a neighbour".into(),
        Check::NobodyFromTheDead => "no view names a node that died or left".into(),
        Check::Calm { periods } => {
            format!("no view changes for {}", counted(u64::from(*periods), "shuffle period"))
        }
        Check::Reliability { min_ppm, .. } => {
            format!("living nodes deliver at least {} of messages", percent(*min_ppm))
        }
        Check::DeliveredOnce => "no message is delivered twice, or without having been published".into(),
        Check::Rmr { max_ppm, .. } => {
            format!("at most {} redundant payloads for each delivery", ratio(*max_ppm))
        }
        Check::Ldh { max_ppm, .. } => {
            format!("the last delivery takes at most {} hops on average", ratio(*max_ppm))
        }
        Check::Latency { p99_ns, .. } => format!("99 of 100 deliveries take at most {}", time(*p99_ns)),
        Check::Converged { map } => format!("all replicas of {map:?} are equal"),
        Check::Exact { map } => format!("every key of {map:?} holds its latest write everywhere"),
        Check::NothingLost { map } => format!("no acknowledged write to {map:?} is lost"),
        Check::EventsFoldToView { map } => format!("the changes told of {map:?} add up to what it holds"),
        Check::ClocksMonotonic => "no node's stamps go back".into(),
        Check::ClocksBounded => "no node's stamps run further ahead than allowed".into(),
        Check::NoFalseVerdict { pause_ns } => {
            format!("nobody takes a node for dead that lives, standstills of {} included", time(*pause_ns))
        }
        Check::NoFalseSuspicion { pause_ns } => {
            format!("nobody suspects a node that lives, standstills of {} included", time(*pause_ns))
        }
        Check::DetectedByNeighbors { within_ns } => {
            format!("neighbours notice a crash within {}", time(*within_ns))
        }
        Check::DetectedByAll { within_ns } => {
            format!("everybody notices a crash within {}", time(*within_ns))
        }
        Check::MembersExact => "everybody knows the members that there are, and suspects none".into(),
        Check::LeaveSeenAsLeave { within_ns } => {
            format!(
                "who leaves has left for everybody within {}, and is never taken for dead",
                time(*within_ns)
            )
        }
        Check::NamesUnique => "every directory shows each name once".into(),
        Check::DirectoryExact => "every directory shows exactly what living owners offer".into(),
        Check::DirectorySafe { within_ns } => {
            format!("no directory shows what was never registered, or what is gone for {}", time(*within_ns))
        }
        Check::TopologySafe { pause_ns } => format!(
            "services of the living stay visible where they can be reached, standstills of {} included",
            time(*pause_ns)
        ),
        Check::ServiceEventsOnce => {
            "each change of a service is told once, and all add up to what is visible".into()
        }
        Check::LookupsTrue { within_ns } => {
            format!("lookups find what is offered, and lag behind for {} at most", time(*within_ns))
        }
        Check::MailAtMostOnce => "no message is delivered twice, or without having been sent".into(),
        Check::MailInOrder => "no message overtakes another of the same pair of mailboxes".into(),
        Check::MailToTheLiving => "no message comes to a later life than it was sent to".into(),
        Check::CallsAnsweredOnce { slack_ns } => {
            format!("every question has one answer, at most {} after its time", time(*slack_ns))
        }
        Check::MonitorsFireOnce { within_ns } => {
            format!("monitors of mailboxes that go fire once, within {}, and no others do", time(*within_ns))
        }
        Check::TiesCloseBoth { within_ns } => {
            format!("tied mailboxes close together, within {}, each once, and no others do", time(*within_ns))
        }
        Check::MailAccounted { min_ppm } => {
            format!("at least {} of accepted messages are delivered or told to be lost", percent(*min_ppm))
        }
        Check::OneOwner => "every partition has one owner, the same everywhere".into(),
        Check::NoDeadOwner { within_ns } => {
            format!("nobody takes a node for an owner that has been dead for {}", time(*within_ns))
        }
        Check::OwnersAlternate => "partitions are acquired and released in turn, with rising tokens".into(),
        Check::BootingOwnsNothing => "no node owns a partition before it is active".into(),
        Check::MismatchRefused => {
            "nodes that count leases or partitions differently are refused with an event, and own nothing"
                .into()
        }
        Check::OwnershipStill { max: 0 } => "no partition moves".into(),
        Check::OwnershipStill { max } => {
            format!("no partition moves more than {}", counted(u64::from(*max), "time"))
        }
    }
}

fn some(nodes: &Nodes) -> String {
    match nodes {
        Nodes::All => "all nodes".into(),
        Nodes::Share(share) => format!("{} of nodes", percent(*share)),
        Nodes::Count(count) => counted(u64::from(*count), "node"),
        Nodes::These(numbers) => {
            let numbers: Vec<_> = numbers.iter().map(u32::to_string).collect();
            format!("node{} {}", if numbers.len() == 1 { "" } else { "s" }, numbers.join(", "))
        }
    }
}

fn of(nodes: &Nodes) -> String {
    if *nodes == Nodes::All { String::new() } else { format!(", to and from {}", some(nodes)) }
}

fn from(senders: Senders) -> String {
    match senders {
        Senders::Random => "random nodes".into(),
        Senders::Few(count) => counted(u64::from(count), "node"),
    }
}

fn lost(disk: DiskFate) -> &'static str {
    match disk {
        DiskFate::Kept => "",
        DiskFate::Lost => ", disks lost",
    }
}

fn time(ns: u64) -> String {
    if ns > 0 && ns < 1000 * MILLI { format!("{} ms", ns as f64 / MILLI as f64) } else { seconds(ns) }
}

fn percent(ppm: u32) -> String {
    format!("{} %", f64::from(ppm) / 1e4)
}

fn ratio(ppm: u64) -> String {
    format!("{}", ppm as f64 / 1e6)
}

fn rate(ppm: u64) -> String {
    if ppm.is_multiple_of(u64::from(PPM)) { number(ppm / u64::from(PPM)) } else { ratio(ppm) }
}

fn counted(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", number(count), if count == 1 { "" } else { "s" })
}

/// Writes a number with commas between thousands.
fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Writes a line of a two-column list, its second column broken at words.
fn entry(first: &str, width: usize, second: &str) -> String {
    let indent = " ".repeat(width + 5);
    let gap = " ".repeat(width.saturating_sub(first.chars().count()) + 3);
    format!("  {first}{gap}{}", wrapped(second, &indent).trim_start())
}

/// Breaks a line at words, each part behind an indent.
fn wrapped(text: &str, indent: &str) -> String {
    let mut lines = String::from(indent);
    let mut column = indent.chars().count();
    for (index, word) in text.split(' ').enumerate() {
        let len = word.chars().count();
        if index > 0 && column + 1 + len > WIDTH {
            lines.push('\n');
            lines.push_str(indent);
            column = indent.chars().count();
        } else if index > 0 {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(word);
        column += len;
    }
    lines.push('\n');
    lines
}
