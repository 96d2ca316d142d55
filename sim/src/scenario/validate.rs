//! Rules that no single value can break: times against the end, faults against each other, names against names.

use super::error::{Place, ScenarioError, nearest};
use super::faults::{Fault, FaultKind, Nodes, Shape};
use super::properties::{Check, PropertySpec, When, Window};
use super::units::{SECOND, TIME_MAX_S};
use super::workloads::{MailLoad, Phase, Watched, Workload, WorkloadKind};
use super::{ConfigOf, Scenario};
use crate::judge::LOOK_EVERY_NS;
use crate::schedule::{LatencyModel, Profile};
use rumormill_core::Bundle;
use std::collections::BTreeSet;
use std::mem::discriminant;

/// Steps of one workload, fault or list of phases at most: numbers that make more are a slip of the pen.
const OPERATIONS_MAX: u64 = 10_000_000;
/// Bytes that one workload writes or broadcasts at most.
const BYTES_MAX: u128 = 4 << 30;
/// Ids of mail workloads: a mailbox's place names both the workload and its number there.
const PLACES_MAX: u32 = 1 << 16;
/// Cuts of one flapping partition at most.
const FLAPS_MAX: u64 = 10_000;
/// The longest bootstrap, or phase of spaced messages.
const SPAN_NS_MAX: u64 = TIME_MAX_S * SECOND;

type Rule = Result<(), ScenarioError>;

/// Fails with a message unless something holds.
fn ensure(holds: bool, path: impl Into<String>, what: impl FnOnce() -> String) -> Rule {
    if holds { Ok(()) } else { Err(ScenarioError::new(Place::Nowhere, &path.into(), what())) }
}

/// Shows nanoseconds as seconds.
pub(super) fn seconds(ns: u64) -> String {
    format!("{} s", ns as f64 / SECOND as f64)
}

impl Scenario {
    /// Checks the rules; errors carry a path, and no place yet.
    pub(super) fn check_rules(&self) -> Rule {
        self.check_world()?;
        self.check_form()?;
        let mut ids = BTreeSet::new();
        for (i, workload) in self.workloads.iter().enumerate() {
            self.check_workload(i, workload)?;
            let word = workload.kind.word();
            check_id(&format!("workload[{i}]"), ids.insert((word, workload.id)), word)?;
        }
        let mut exclusive = Vec::new();
        for (i, fault) in self.faults.iter().enumerate() {
            self.check_fault(i, fault)?;
            let word = fault.kind.word();
            check_id(&format!("fault[{i}]"), ids.insert((word, fault.id)), word)?;
            if matches!(fault.kind, FaultKind::Partition { .. } | FaultKind::Clock { .. }) {
                self.check_against_earlier((i, fault), &exclusive)?;
                exclusive.push((i, fault));
            }
        }
        for (i, property) in self.properties.iter().enumerate() {
            self.check_property(i, property)?;
        }
        Ok(())
    }

    /// Refuses a scenario whose nodes want an application where there is none to give.
    pub(crate) fn check_bare(&self) -> Rule {
        ensure(self.app.is_none(), "app", || {
            format!(
                "{:?} is not known here; run it with Run::with_app",
                self.app.as_deref().unwrap_or_default()
            )
        })
        .map_err(|error| error.located(&format!("scenario {:?}", self.name), "", &[]))
    }

    fn check_world(&self) -> Rule {
        let contacts = self.bootstrap.contacts;
        ensure(contacts <= self.nodes, "bootstrap.contacts", || {
            format!("{contacts} contacts among {} nodes; at most as many as nodes", self.nodes)
        })?;
        ensure(self.network.profile != Profile::Ideal || self.network.loss_ppm == 0, "network.loss", || {
            "profile \"ideal\" loses nothing; write profile = \"quic\" or loss = 0".into()
        })?;
        let is_rising = |latency: &LatencyModel| match latency {
            LatencyModel::LongTail(median, p99) => median <= p99,
            _ => true,
        };
        ensure(is_rising(&self.network.latency), "network.latency.long_tail_ms.p99", || {
            "less than the median; half of all latencies are above the median".into()
        })?;
        let joins_ns = u64::from(self.nodes).saturating_mul(self.bootstrap.join_every_ns);
        ensure(joins_ns <= SPAN_NS_MAX, "bootstrap.join_every_ms", || {
            format!("all joins take {}; at most {}", seconds(joins_ns), seconds(SPAN_NS_MAX))
        })?;
        self.config
            .validate()
            .or_else(|error| ensure(false, format!("config.{}", error.key), || error.what.into()))?;
        for (i, differing) in self.config_of.iter().enumerate() {
            let path = format!("config_of[{i}]");
            self.check_nodes(&format!("{path}.nodes"), &differing.nodes)?;
            ensure(!differing.is_empty(), format!("{path}.config"), || {
                "changes no key; write config = { ring_size = 32 }, or drop it".into()
            })?;
            let mut config = self.config.clone();
            differing.apply(&mut config);
            let named = |key| format!("{path}.config.{key}");
            config.validate().or_else(|error| ensure(false, named(error.key), || error.what.into()))?;
        }
        Ok(())
    }

    /// A scenario is timed or phased.
    fn check_form(&self) -> Rule {
        let Some(first) = self.phases.first() else { return Ok(()) };
        let timed = if self.faults.is_empty() { "workload" } else { "fault" };
        ensure(self.workloads.is_empty() && self.faults.is_empty(), format!("{timed}[0]"), || {
            format!("a scenario has phases or times, not both; drop every [[phase]] or this [[{timed}]]")
        })?;
        ensure(matches!(first, Phase::Join(_)), "phase[0]", || {
            "nobody has joined yet; the first phase is join = \"one-by-one\" or join = \"at-once\"".into()
        })?;
        for (i, phase) in self.phases.iter().enumerate().skip(1) {
            ensure(!matches!(phase, Phase::Join(_)), format!("phase[{i}].join"), || {
                "all nodes have joined already; keep only the first join".into()
            })?;
        }
        let mut steps = 0;
        for (i, phase) in self.phases.iter().enumerate() {
            steps += self.check_phase(&format!("phase[{i}]"), phase)?;
            ensure(steps <= OPERATIONS_MAX, format!("phase[{i}]"), || {
                format!("all phases make {steps} operations; at most {OPERATIONS_MAX}")
            })?;
        }
        Ok(())
    }

    /// Checks a phase and tells how many steps it makes.
    fn check_phase(&self, path: &str, phase: &Phase) -> Result<u64, ScenarioError> {
        let nodes = u64::from(self.nodes);
        match phase {
            Phase::Join(_) => Ok(nodes),
            Phase::Cycles(count) => Ok(nodes * u64::from(*count)),
            Phase::Kill(dead) => self.check_nodes(&format!("{path}.kill"), dead).map(|()| nodes),
            Phase::Messages { count, size, every_ns, .. } => {
                let span_ns = u64::from(*count).saturating_mul(every_ns.unwrap_or(0));
                ensure(span_ns <= SPAN_NS_MAX, format!("{path}.messages.every_s"), || {
                    format!("all messages take {}; at most {}", seconds(span_ns), seconds(SPAN_NS_MAX))
                })?;
                self.check_message(&format!("{path}.messages.size"), *size, u64::from(*count))?;
                Ok(u64::from(*count))
            }
            Phase::Quiesce { .. } => Ok(1),
        }
    }

    fn check_message(&self, path: &str, size: u32, count: u64) -> Rule {
        self.check_len(path, size, "message_len_max", self.config.message_len_max)?;
        check_bytes(path, size, count)
    }

    fn check_len(&self, path: &str, size: u32, key: &str, max: usize) -> Rule {
        ensure(size as usize <= max, path, || format!("{size} bytes; at most config.{key} = {max}"))
    }

    fn check_workload(&self, i: usize, workload: &Workload) -> Rule {
        let path = format!("workload[{i}]");
        let (from, to) = (workload.from_ns, workload.to_ns);
        ensure(from < to || workload.is_standing(), format!("{path}.to_s"), || {
            format!("ends at {}, not after its start at {}", seconds(to), seconds(from))
        })?;
        self.check_in_time(&format!("{path}.to_s"), to.saturating_add(workload.tail_ns()), "ends")?;
        match &workload.kind {
            WorkloadKind::Broadcast { rate_ppm, size, .. } => {
                ensure(self.config.broadcast, format!("{path}.broadcast"), || {
                    "config.broadcast is off".into()
                })?;
                let count = check_rate(&format!("{path}.broadcast.per_s"), *rate_ppm, to - from)?;
                self.check_message(&format!("{path}.broadcast.size"), *size, count)
            }
            WorkloadKind::MapPut { rate_ppm, size, .. } => {
                ensure(self.config.replica, format!("{path}.map_put"), || "config.replica is off".into())?;
                let (max, path) = (self.config.value_len_max, format!("{path}.map_put"));
                ensure(*size as usize <= max, format!("{path}.size"), || {
                    format!("{size} bytes; at most config.value_len_max = {max}")
                })?;
                let count = check_rate(&format!("{path}.per_s"), *rate_ppm, to - from)?;
                check_bytes(&format!("{path}.size"), *size, count)
            }
            WorkloadKind::Request { rate_ppm, nodes, .. } => {
                let path = format!("{path}.request");
                ensure(self.app.is_some(), path.as_str(), || {
                    "requests are for an application; name one: app = \"rooms\"".into()
                })?;
                self.check_nodes(&format!("{path}.nodes"), nodes)?;
                check_rate(&format!("{path}.per_s"), *rate_ppm, to - from).map(|_| ())
            }
            WorkloadKind::Leave { nodes, .. } => self.check_nodes(&format!("{path}.leave.nodes"), nodes),
            WorkloadKind::Register { .. }
            | WorkloadKind::Update { .. }
            | WorkloadKind::Unregister { .. }
            | WorkloadKind::Lookup { .. }
            | WorkloadKind::Watch { .. }
            | WorkloadKind::Mail(_) => {
                self.check_users(&format!("{path}.{}", workload.kind.word()), workload)
            }
        }
    }

    /// Checks a workload of services, mailboxes or watches.
    fn check_users(&self, path: &str, workload: &Workload) -> Rule {
        let span_ns = workload.to_ns.saturating_sub(workload.from_ns);
        let config = &self.config;
        let (word, key) = match &workload.kind {
            WorkloadKind::Watch { what: Watched::Members, .. } => ("members", config.members),
            WorkloadKind::Watch { what: Watched::Partitions, .. } => ("placement", config.placement),
            WorkloadKind::Mail(_) => ("mailboxes", config.mailboxes),
            _ => ("registry", config.registry),
        };
        ensure(key, path, || format!("config.{word} is off; write {word} = true under [config]"))?;
        match &workload.kind {
            WorkloadKind::Register { per_node, meta_bytes, nodes, .. } => {
                self.check_nodes(&format!("{path}.nodes"), nodes)?;
                let count = u64::from(*per_node) * u64::from(nodes.count(self.nodes));
                ensure(count <= OPERATIONS_MAX, format!("{path}.per_node"), || {
                    format!("makes {count} services; at most {OPERATIONS_MAX}")
                })?;
                check_bytes(&format!("{path}.meta_bytes"), *meta_bytes, count)
            }
            WorkloadKind::Update { of, rate_ppm, meta_bytes } => {
                self.check_registered(path, *of)?;
                let count = check_rate(&format!("{path}.per_s"), *rate_ppm, span_ns)?;
                check_bytes(&format!("{path}.meta_bytes"), *meta_bytes, count)
            }
            WorkloadKind::Unregister { of, rate_ppm } | WorkloadKind::Lookup { of, rate_ppm } => {
                self.check_registered(path, *of)?;
                check_rate(&format!("{path}.per_s"), *rate_ppm, span_ns).map(|_| ())
            }
            WorkloadKind::Watch { what, prefix, nodes } => {
                ensure(prefix.is_none() || *what == Watched::Services, format!("{path}.prefix"), || {
                    "only services have names; write what = \"services\", or drop prefix".into()
                })?;
                self.check_nodes(&format!("{path}.nodes"), nodes)
            }
            WorkloadKind::Mail(mail) => self.check_mail(path, workload, mail, span_ns),
            _ => Ok(()),
        }
    }

    fn check_registered(&self, path: &str, of: u32) -> Rule {
        let is_meant =
            |workload: &Workload| workload.id == of && matches!(workload.kind, WorkloadKind::Register { .. });
        ensure(self.workloads.iter().any(is_meant), format!("{path}.of"), || {
            format!("there is no register workload with id {of}; add one, or name another's id")
        })
    }

    fn check_mail(&self, path: &str, workload: &Workload, mail: &MailLoad, span_ns: u64) -> Rule {
        ensure(workload.id < PLACES_MAX, path, || {
            format!("the ids of mail workloads end at {}; drop id", PLACES_MAX - 1)
        })?;
        ensure(mail.send_ppm > 0 || mail.call_ppm > 0, format!("{path}.send_per_s"), || {
            "nothing is sent and nothing asked; write send_per_s or call_per_s".into()
        })?;
        let mailboxes = u64::from(self.nodes) * u64::from(mail.per_node);
        let monitors = mailboxes * u64::from(mail.monitors);
        ensure(mailboxes + monitors <= OPERATIONS_MAX, format!("{path}.mailboxes_per_node"), || {
            format!("makes {mailboxes} mailboxes and {monitors} monitors; at most {OPERATIONS_MAX}")
        })?;
        let rates =
            [("send", mail.send_ppm, mail.bundle), ("call", mail.call_ppm, 1), ("close", mail.close_ppm, 1)];
        for (key, rate_ppm, bundle) in rates {
            if rate_ppm > 0 {
                let count = check_rate(&format!("{path}.{key}_per_s"), rate_ppm, span_ns)?;
                let path = format!("{path}.size");
                self.check_len(&path, mail.size, "mail_len_max", self.config.mail_len_max)?;
                let messages = count.saturating_mul(u64::from(bundle));
                ensure(messages <= OPERATIONS_MAX, path.replace(".size", ".bundle"), || {
                    format!("makes {messages} messages; at most {OPERATIONS_MAX}")
                })?;
                check_bytes(&path, mail.size, messages)?;
            }
        }
        let (len, max) = (Bundle::wire_len(mail.bundle, mail.size), self.config.mail_len_max);
        ensure(mail.bundle == 1 || len <= max, format!("{path}.bundle"), || {
            format!("makes mails of {len} bytes; at most config.mail_len_max = {max}")
        })?;
        let longest = Bundle::MESSAGE_LEN_MAX;
        ensure(mail.bundle == 1 || mail.size as usize <= longest, format!("{path}.size"), || {
            format!("{} bytes; at most {longest} each in a bundle", mail.size)
        })?;
        Ok(())
    }

    fn check_fault(&self, i: usize, fault: &Fault) -> Rule {
        let path = format!("fault[{i}]");
        let word = fault.kind.word();
        if fault.kind.lasts() {
            ensure(fault.for_ns.is_some_and(|ns| ns > 0), format!("{path}.for_s"), || {
                format!("{word} lasts for a time; write for_s = 10, above 0")
            })?;
        } else {
            ensure(fault.for_ns.is_none(), format!("{path}.for_s"), || {
                format!("{word} has no for_s: it happens in an instant or has times of its own; drop for_s")
            })?;
        }
        self.check_in_time(&format!("{path}.at_s"), fault.at_ns, "begins")?;
        self.check_in_time(&format!("{path}.at_s"), self.fault_end_ns(fault), "ends")?;
        if let Some(nodes) = fault.kind.nodes() {
            let part = match &fault.kind {
                FaultKind::Partition { shape: Shape::Isolate(_), .. } => "isolate",
                FaultKind::Partition { .. } => "one_way",
                _ => "nodes",
            };
            self.check_nodes(&format!("{path}.{word}.{part}"), nodes)?;
        }
        self.check_kind(&format!("{path}.{word}"), fault)
    }

    fn check_kind(&self, path: &str, fault: &Fault) -> Rule {
        match &fault.kind {
            FaultKind::Partition { shape, flapping } => {
                if let Some(flapping) = flapping {
                    let is_flapping = 0 < flapping.down_ns && flapping.down_ns < flapping.every_ns;
                    ensure(is_flapping, format!("{path}.down_s"), || {
                        "a flapping partition needs down_s above 0 and every_s above down_s".into()
                    })?;
                    let cuts = fault.for_ns.unwrap_or(0) / flapping.every_ns;
                    ensure(cuts <= FLAPS_MAX, format!("{path}.every_s"), || {
                        format!("makes {cuts} cuts; at most {FLAPS_MAX}")
                    })?;
                }
                self.check_shape(path, shape)
            }
            FaultKind::Loss { rate_ppm, .. }
            | FaultKind::Duplicate { rate_ppm, .. }
            | FaultKind::Reorder { rate_ppm, .. } => ensure(*rate_ppm > 0, format!("{path}.rate"), || {
                "0 touches nothing; write more, or drop the fault".into()
            })
            .and_then(|()| self.check_packets(path)),
            FaultKind::Latency { extra_ns, .. } => ensure(*extra_ns > 0, format!("{path}.extra_ms"), || {
                "0 touches nothing; write more, or drop the fault".into()
            }),
            FaultKind::Churn { nodes, session_ns, down_ns, .. } => {
                ensure(*session_ns >= SECOND / 10 && *down_ns > 0, format!("{path}.session_s"), || {
                    "a mean session is at least 0.1 s, and down_s above 0".into()
                })?;
                let rounds = fault.for_ns.unwrap_or(0) / session_ns * u64::from(nodes.count(self.nodes));
                ensure(rounds <= OPERATIONS_MAX, format!("{path}.session_s"), || {
                    format!("makes about {rounds} crashes; at most {OPERATIONS_MAX}")
                })
            }
            FaultKind::MassFailure { nodes } | FaultKind::Crash { nodes, restart_after_ns: None, .. } => {
                ensure(nodes.count(self.nodes) < self.nodes, format!("{path}.nodes"), || {
                    "kills every node for good; leave at least one".into()
                })
            }
            FaultKind::JoinStorm { nodes } => {
                let free = self.nodes.saturating_sub(self.bootstrap.contacts);
                ensure(nodes.count(self.nodes) <= free, format!("{path}.nodes"), || {
                    let (all, contacts) = (self.nodes, self.bootstrap.contacts);
                    format!(
                        "too many where nodes = {all} and bootstrap.contacts = {contacts}: the contacts are there \
                         from the start, so at most {free} can join late"
                    )
                })?;
                let first = self.bootstrap.contacts;
                let contact = |numbers: &[u32]| numbers.iter().any(|number| *number < first);
                ensure(
                    !matches!(nodes, Nodes::These(numbers) if contact(numbers)),
                    format!("{path}.nodes"),
                    || format!("the contacts are there from the start: name nodes from {first} up"),
                )
            }
            FaultKind::Clock { offset_ms, step_ms, drift_ppm, freeze, .. } => {
                let is_something = *offset_ms > 0 || *step_ms != 0 || *drift_ppm > 0 || *freeze;
                ensure(is_something, path, || {
                    "touches nothing; write offset_ms, step_ms, drift_ppm or freeze".into()
                })
            }
            FaultKind::RollingRestart { .. }
            | FaultKind::Crash { .. }
            | FaultKind::Pause { .. }
            | FaultKind::Slow { .. } => Ok(()),
        }
    }

    fn check_packets(&self, path: &str) -> Rule {
        ensure(self.network.profile == Profile::Quic, path, || {
            "profile \"ideal\" has no packets to lose, double or reorder; write profile = \"quic\"".into()
        })
    }

    fn check_shape(&self, path: &str, shape: &Shape) -> Rule {
        let nodes = self.nodes;
        match shape {
            Shape::Split(shares) => {
                ensure(shares.len() as u64 <= u64::from(nodes), format!("{path}.split"), || {
                    format!("{} groups of {nodes} nodes; at most as many groups as nodes", shares.len())
                })
            }
            Shape::Isolate(_) => Ok(()),
            Shape::OneWay(from) => ensure(from.count(nodes) < nodes, format!("{path}.one_way"), || {
                "these are all nodes; leave some who do not hear them".into()
            }),
            Shape::Bridge(bridge) => {
                ensure(bridge.saturating_add(2) <= nodes, format!("{path}.bridge"), || {
                    format!("{bridge} of {nodes} nodes; leave at least one for each half")
                })
            }
        }
    }

    /// Two partitions, or two faults of the same nodes' clocks, cannot last at once: each would blur what the other did.
    fn check_against_earlier(&self, (i, fault): (usize, &Fault), earlier: &[(usize, &Fault)]) -> Rule {
        let (at, end, kind) = (fault.at_ns, self.fault_end_ns(fault), discriminant(&fault.kind));
        let contradicts = |(_, other): &&(usize, &Fault)| {
            discriminant(&other.kind) == kind && self.fault_end_ns(other) > at && end > other.at_ns
        };
        let Some((j, other)) = earlier.iter().find(contradicts) else { return Ok(()) };
        ensure(false, format!("fault[{i}].at_s"), || {
            let (word, from, to) =
                (fault.kind.word(), seconds(other.at_ns), seconds(self.fault_end_ns(other)));
            format!(
                "contradicts fault[{j}], a {word} from {from} to {to}; let one end before the other begins"
            )
        })
    }

    fn check_property(&self, i: usize, property: &PropertySpec) -> Rule {
        let path = format!("property[{i}]");
        let (word, when) = (property.word(), property.when.word());
        let askable = property.check.askable();
        ensure(askable.contains(&when), format!("{path}.{when}"), || {
            format!("{word} cannot be asked {when}; write {} = \"{word}\"", askable[0])
        })?;
        if let When::Eventually { within_ns } = property.when {
            ensure(within_ns >= LOOK_EVERY_NS, format!("{path}.within_s"), || {
                let (within, looks) = (seconds(within_ns), seconds(LOOK_EVERY_NS));
                format!("{within} may pass between two looks, which are {looks} apart; write at least that")
            })?;
            let (calm, end) = (self.calm_ns(), self.end_or_default_ns());
            ensure(calm.saturating_add(within_ns) <= end, format!("{path}.within_s"), || {
                format!(
                    "{} after the last fault and workload ({}) is after the end at {}; write less, or a later end_s",
                    seconds(within_ns),
                    seconds(calm),
                    seconds(end)
                )
            })?;
        }
        if let Some(map) = property.check.map() {
            ensure(self.hosts(map), format!("{path}.map"), || match self.maps().as_slice() {
                [] => format!("no map {map:?}: there is none; add a map_put workload or config.maps"),
                maps => format!("no map {map:?}; {}", nearest(map, maps)),
            })?;
        }
        self.check_needs(&format!("{path}.{when}"), property)?;
        self.check_window(&path, property.check.window().unwrap_or_default())?;
        ensure(!property.check.is_about_messages() || self.broadcasts(), format!("{path}.{when}"), || {
            format!(
                "{word} is about broadcasts, and there is none; add a broadcast workload or a messages phase"
            )
        })
    }

    /// A window that nothing can be published in would be judged by nothing.
    fn check_window(&self, path: &str, window: Window) -> Rule {
        let (from, end) = (window.from_ns.unwrap_or(0), self.end_or_default_ns());
        ensure(window.to_ns.is_none_or(|to| from < to), format!("{path}.to_s"), || {
            "not after from_s".into()
        })?;
        ensure(window.from_ns.is_none() || from < end, format!("{path}.from_s"), || {
            let (from, end) = (seconds(from), seconds(end));
            format!("begins at {from}, not before the end of the run at {end}; move it, or end_s")
        })
    }

    /// A property is judged by what is watched, looked up or sent, or by a machine's tables: without it nothing is judged.
    fn check_needs(&self, path: &str, property: &PropertySpec) -> Rule {
        let config = &self.config;
        let has = |is_meant: fn(&WorkloadKind) -> bool| self.workloads.iter().any(|it| is_meant(&it.kind));
        let watches = |what: Watched| {
            let is_meant =
                |it: &Workload| matches!(it.kind, WorkloadKind::Watch { what: of, .. } if of == what);
            self.workloads.iter().any(is_meant)
        };
        let (is_there, what) = match property.check {
            Check::NoFalseVerdict { .. }
            | Check::NoFalseSuspicion { .. }
            | Check::DetectedByNeighbors { .. }
            | Check::DetectedByAll { .. }
            | Check::LeaveSeenAsLeave { .. } => {
                (watches(Watched::Members), "news of members; add a workload with watch = \"members\"")
            }
            Check::DirectorySafe { .. } | Check::TopologySafe { .. } | Check::ServiceEventsOnce => {
                (watches(Watched::Services), "news of services; add a workload with watch = \"services\"")
            }
            Check::OwnersAlternate | Check::BootingOwnsNothing | Check::OwnershipStill { .. } => (
                watches(Watched::Partitions),
                "news of partitions; add a workload with watch = \"partitions\"",
            ),
            Check::LookupsTrue { .. } => {
                (has(|it| matches!(it, WorkloadKind::Lookup { .. })), "lookups; add a lookup workload")
            }
            Check::MailAtMostOnce
            | Check::MailInOrder
            | Check::MailToTheLiving
            | Check::CallsAnsweredOnce { .. }
            | Check::MonitorsFireOnce { .. }
            | Check::TiesCloseBoth { .. }
            | Check::MailAccounted { .. } => {
                (has(|it| matches!(it, WorkloadKind::Mail(_))), "mail; add a mail workload")
            }
            Check::MembersExact => (config.members, "members; write members = true under [config]"),
            Check::DirectoryExact | Check::NamesUnique => {
                (config.registry, "services; write registry = true under [config]")
            }
            Check::MismatchRefused => (
                config.members && self.config_of.iter().any(ConfigOf::is_mismatch),
                "nodes that differ; write members = true under [config], and a [[config_of]] with another ring_size, \
                 heartbeat_ms or ttl_ms",
            ),
            Check::OneOwner | Check::NoDeadOwner { .. } => {
                (config.placement, "placement; write placement = true under [config]")
            }
            _ => (true, ""),
        };
        let word = property.word();
        ensure(is_there, path, || format!("{word} is about {what}"))
    }

    /// Tells whether anything is broadcast on a topic of users.
    pub(super) fn broadcasts(&self) -> bool {
        self.workloads.iter().any(|workload| matches!(workload.kind, WorkloadKind::Broadcast { .. }))
            || self.phases.iter().any(|phase| matches!(phase, Phase::Messages { .. }))
    }

    fn check_in_time(&self, path: &str, at_ns: u64, verb: &str) -> Rule {
        let Some(end) = self.end_ns else { return Ok(()) }; // the run ends after everything
        ensure(at_ns <= end, path, || {
            format!(
                "{verb} at {}, after the end of the run at {}; move it, or end_s",
                seconds(at_ns),
                seconds(end)
            )
        })
    }

    fn check_nodes(&self, path: &str, nodes: &Nodes) -> Rule {
        let all = self.nodes;
        match nodes {
            Nodes::Count(count) => {
                ensure(*count <= all, path, || format!("{count} nodes of {all}; write at most {all}"))
            }
            Nodes::These(numbers) => {
                let last = numbers.last().copied().unwrap_or(0);
                ensure(last < all, path, || {
                    format!("there is no node {last}: they are numbered from 0 to {}", all - 1)
                })
            }
            Nodes::All | Nodes::Share(_) => Ok(()),
        }
    }
}

fn check_id(path: &str, is_free: bool, word: &str) -> Rule {
    ensure(is_free, format!("{path}.id"), || format!("another {word} has the same id; drop this one's"))
}

/// Tells how many operations a rate makes in a time: not none, and not too many.
fn check_rate(path: &str, rate_ppm: u64, span_ns: u64) -> Result<u64, ScenarioError> {
    let count = u128::from(rate_ppm) * u128::from(span_ns) / 1_000_000_000_000_000;
    ensure(count > 0, path, || "makes no operation in its time; write more, or drop the workload".into())?;
    ensure(count <= u128::from(OPERATIONS_MAX), path, || {
        format!("makes {count} operations; at most {OPERATIONS_MAX}")
    })?;
    Ok(count as u64)
}

fn check_bytes(path: &str, size: u32, count: u64) -> Rule {
    let bytes = u128::from(size) * u128::from(count);
    ensure(bytes <= BYTES_MAX, path, || format!("makes {bytes} bytes in all; at most {BYTES_MAX}"))
}
