//! The steps of users of services and mailboxes: registrations, lookups, watches, mail.

use super::Nodes;
use super::expand::Expansion;
use super::workloads::{MailLoad, Watched, Workload, WorkloadKind};
use crate::schedule::{Action, MailOrder, Order, Recipient};
use bytes::Bytes;
use rumormill_core::{Command, MailboxId, Watch};
use std::sync::Arc;

/// One service of a register workload.
struct Offer {
    node: u32,
    name: Bytes,
    instance: u64,
    is_unique: bool,
}

impl Offer {
    fn registration(&self, meta: Bytes) -> Command {
        let (name, instance, is_unique) = (self.name.clone(), self.instance, self.is_unique);
        Command::Register { name, instance, mailbox: MailboxId(0), meta, is_unique }
    }
}

/// Names the place of a workload's mailbox among those of its node.
fn place(workload: &Workload, number: u64) -> u32 {
    workload.id << 16 | number as u32
}

impl Expansion<'_> {
    /// Watches what is to be watched at a node that has just booted.
    pub(super) fn watch(&mut self, at_ns: u64, node: u32) {
        for workload in &self.scenario.workloads {
            let WorkloadKind::Watch { what, prefix, nodes } = &workload.kind else { continue };
            let chosen = self.choices.nodes(nodes, self.scenario.nodes, "watch", workload.id);
            if chosen.binary_search(&node).is_ok() {
                let what = match what {
                    Watched::Members => Watch::Members,
                    Watched::Services => {
                        Watch::Services { prefix: prefix.clone().unwrap_or_default().into() }
                    }
                    Watched::Partitions => Watch::Partitions,
                };
                self.command(at_ns, node, Command::Watch { what });
            }
        }
    }

    /// Gives a node that has come back the services and mailboxes that begin with it.
    pub(super) fn begin_again(&mut self, at_ns: u64, node: u32) {
        for workload in &self.scenario.workloads {
            if at_ns < self.start_ns + workload.from_ns {
                continue; // its time is still to come
            }
            match &workload.kind {
                WorkloadKind::Register { again: true, .. } => {
                    for (number, offer) in self.offers(workload, Some(node)).into_iter().enumerate() {
                        let meta = self.meta(workload, &offer, number as u64);
                        self.command(at_ns, node, offer.registration(meta));
                    }
                }
                WorkloadKind::Mail(mail) => self.open_all(workload, mail, at_ns, node),
                _ => {}
            }
        }
    }

    /// Lists the services of a register workload: all, or those of one node.
    fn offers(&self, workload: &Workload, only: Option<u32>) -> Vec<Offer> {
        let WorkloadKind::Register { per_node, names, nodes, unique, binary, .. } = &workload.kind else {
            return Vec::new();
        };
        let id = u64::from(workload.id);
        let mut chosen = self.choices.nodes(nodes, self.scenario.nodes, "register", workload.id);
        chosen.retain(|node| only.is_none_or(|only| only == *node));
        let offer = |(node, k): (u32, u64)| {
            let name = self.choices.below(u64::from(*names), "register.name", &[id, u64::from(node), k]);
            let name = match binary {
                true => Bytes::from([&[0xff, 0, 0xfe], &name.to_le_bytes()[..]].concat()),
                false => Bytes::from(format!("service-{name}")),
            };
            Offer { node, name, instance: id << 32 | k, is_unique: *unique }
        };
        let services = chosen.into_iter().flat_map(|node| (0..u64::from(*per_node)).map(move |k| (node, k)));
        services.map(offer).collect()
    }

    /// Lists the services of the register workload with an id.
    fn offers_of(&self, of: u32) -> Vec<Offer> {
        let is_meant = |workload: &&Workload| {
            workload.id == of && matches!(workload.kind, WorkloadKind::Register { .. })
        };
        let workload = self.scenario.workloads.iter().find(is_meant);
        workload.map_or(Vec::new(), |workload| self.offers(workload, None))
    }

    /// Makes what a service says of itself first.
    fn meta(&self, workload: &Workload, offer: &Offer, number: u64) -> Bytes {
        let WorkloadKind::Register { meta_bytes, .. } = workload.kind else { return Bytes::new() };
        let subject = [u64::from(workload.id), u64::from(offer.node), number];
        self.choices.bytes(meta_bytes, "register.meta", &subject).into()
    }

    pub(super) fn register(&mut self, workload: &Workload) {
        let WorkloadKind::Register { per_node, together, .. } = workload.kind else { return };
        for (number, offer) in self.offers(workload, None).into_iter().enumerate() {
            let number = number as u64 % u64::from(per_node);
            let first = if together { 0 } else { number };
            let subject = [u64::from(workload.id), u64::from(offer.node), first];
            let after = self.choices.below(workload.to_ns - workload.from_ns, "register.time", &subject);
            let meta = self.meta(workload, &offer, number);
            let at_ns = self.start_ns + workload.from_ns + after;
            self.command(at_ns, offer.node, offer.registration(meta));
        }
    }

    pub(super) fn update(&mut self, workload: &Workload, of: u32, rate_ppm: u64, meta_bytes: u32) {
        let offers = self.offers_of(of);
        for (k, at_ns) in self.times(workload, rate_ppm, "update.time") {
            let subject = [u64::from(workload.id), k];
            let index = self.choices.below(offers.len() as u64, "update.service", &subject);
            let Some(offer) = offers.get(index as usize) else { continue };
            let meta = self.choices.bytes(meta_bytes, "update.meta", &subject).into();
            self.command(at_ns, offer.node, offer.registration(meta));
        }
    }

    pub(super) fn unregister(&mut self, workload: &Workload, of: u32, rate_ppm: u64) {
        let offers = self.offers_of(of);
        for (k, at_ns) in self.times(workload, rate_ppm, "unregister.time") {
            let subject = [u64::from(workload.id), k];
            let index = self.choices.below(offers.len() as u64, "unregister.service", &subject);
            let Some(offer) = offers.get(index as usize) else { continue };
            let (name, instance) = (offer.name.clone(), offer.instance);
            self.command(at_ns, offer.node, Command::Unregister { name, instance });
        }
    }

    pub(super) fn look_up(&mut self, workload: &Workload, of: u32, rate_ppm: u64) {
        let offers = self.offers_of(of);
        let nodes = u64::from(self.scenario.nodes);
        for (k, at_ns) in self.times(workload, rate_ppm, "lookup.time") {
            let subject = [u64::from(workload.id), k];
            let node = self.choices.below(nodes, "lookup.node", &subject) as u32;
            let index = self.choices.below(offers.len() as u64, "lookup.service", &subject);
            let Some(offer) = offers.get(index as usize) else { continue };
            let command = Order::Lookup { name: offer.name.clone() };
            self.push(at_ns, Action::Command { node, command });
        }
    }

    /// Asks the applications of nodes what users would.
    pub(super) fn request(&mut self, workload: &Workload, lines: &[String], rate_ppm: u64, nodes: &Nodes) {
        let chosen = self.choices.nodes(nodes, self.scenario.nodes, "request", workload.id);
        let lines: Vec<Arc<str>> = lines.iter().map(|line| line.as_str().into()).collect();
        for (k, at_ns) in self.times(workload, rate_ppm, "request.time") {
            let subject = [u64::from(workload.id), k];
            let node = self.choices.below(chosen.len() as u64, "request.node", &subject);
            let line = self.choices.below(lines.len() as u64, "request.line", &subject);
            if let (Some(node), Some(line)) = (chosen.get(node as usize), lines.get(line as usize)) {
                let command = Order::Request { line: line.clone() };
                self.push(at_ns, Action::Command { node: *node, command });
            }
        }
    }

    // --- mail

    fn mail_order(&mut self, at_ns: u64, node: u32, order: MailOrder) {
        self.push(at_ns, Action::Command { node, command: Order::Mail(order) });
    }

    fn open_all(&mut self, workload: &Workload, mail: &MailLoad, at_ns: u64, node: u32) {
        for number in 0..u64::from(mail.per_node) {
            self.mail_order(at_ns, node, MailOrder::Open { place: place(workload, number) });
        }
    }

    pub(super) fn mail(&mut self, workload: &Workload, mail: &MailLoad) {
        let from_ns = self.start_ns + workload.from_ns;
        for node in 0..self.scenario.nodes {
            self.open_all(workload, mail, from_ns, node);
        }
        self.monitor(workload, mail);
        self.tie(workload, mail);
        for (k, at_ns) in self.times(workload, mail.send_ppm, "mail.send.time") {
            let (node, from) = self.mailbox(workload, mail, "mail.send.from", k);
            let to = self.recipient(workload, mail, "mail.send.to", k);
            let number = |i: u32| k * u64::from(mail.bundle) + u64::from(i);
            let payload = |i| self.payload(workload, mail.size, "mail.send.payload", number(i), 1);
            let messages = (0..mail.bundle).map(payload).collect();
            self.mail_order(at_ns, node, MailOrder::Send { from, to, messages });
        }
        for (k, at_ns) in self.times(workload, mail.call_ppm, "mail.call.time") {
            let (node, from) = self.mailbox(workload, mail, "mail.call.from", k);
            let to = self.recipient(workload, mail, "mail.call.to", k);
            let is_silent = self.is_drawn(workload, mail.silent_ppm, "mail.call.silent", k);
            let payload = self.payload(workload, mail.size, "mail.call.payload", k, u8::from(!is_silent));
            let timeout_ms = mail.timeout_ms;
            self.mail_order(at_ns, node, MailOrder::Call { from, to, payload, timeout_ms });
        }
        for (k, at_ns) in self.times(workload, mail.close_ppm, "mail.close.time") {
            let (node, place) = self.mailbox(workload, mail, "mail.close", k);
            self.mail_order(at_ns, node, MailOrder::Close { place });
            self.mail_order(at_ns, node, MailOrder::Open { place });
        }
    }

    /// Lets each mailbox monitor others, each from a time of its own on.
    fn monitor(&mut self, workload: &Workload, mail: &MailLoad) {
        let (per_node, monitors) = (u64::from(mail.per_node), u64::from(mail.monitors));
        for k in 0..u64::from(self.scenario.nodes) * per_node * monitors {
            let mailbox = k / monitors.max(1);
            let (node, number) = ((mailbox / per_node) as u32, mailbox % per_node);
            let span_ns = workload.to_ns - workload.from_ns;
            let after = self.choices.below(span_ns, "mail.monitor.time", &[u64::from(workload.id), k]);
            let of = self.recipient(workload, mail, "mail.monitor.of", k);
            let at_ns = self.start_ns + workload.from_ns + after;
            self.mail_order(at_ns, node, MailOrder::Monitor { place: place(workload, number), of });
        }
    }

    /// Ties a part of the mailboxes to another one, each from a time of its own on.
    fn tie(&mut self, workload: &Workload, mail: &MailLoad) {
        let per_node = u64::from(mail.per_node);
        for k in 0..u64::from(self.scenario.nodes) * per_node {
            if !self.is_drawn(workload, mail.ties_ppm, "mail.tie", k) {
                continue;
            }
            let span_ns = workload.to_ns - workload.from_ns;
            let after = self.choices.below(span_ns, "mail.tie.time", &[u64::from(workload.id), k]);
            let with = self.recipient(workload, mail, "mail.tie.with", k);
            let (node, place) = ((k / per_node) as u32, place(workload, k % per_node));
            let at_ns = self.start_ns + workload.from_ns + after;
            self.mail_order(at_ns, node, MailOrder::Tie { place, with });
        }
    }

    /// Draws a mailbox: its node and its place there.
    fn mailbox(&self, workload: &Workload, mail: &MailLoad, what: &str, k: u64) -> (u32, u32) {
        let id = u64::from(workload.id);
        let node = self.choices.below(u64::from(self.scenario.nodes), what, &[id, k, 0]) as u32;
        let number = self.choices.below(u64::from(mail.per_node), what, &[id, k, 1]);
        (node, place(workload, number))
    }

    fn recipient(&self, workload: &Workload, mail: &MailLoad, what: &str, k: u64) -> Recipient {
        let (node, place) = self.mailbox(workload, mail, what, k);
        Recipient { node, place, is_stale: self.is_drawn(workload, mail.stale_ppm, what, k) }
    }

    fn is_drawn(&self, workload: &Workload, chance_ppm: u32, what: &str, k: u64) -> bool {
        let drawn = self.choices.below(1_000_000, what, &[u64::from(workload.id), k, 2]);
        drawn < u64::from(chance_ppm)
    }

    /// Makes a message that no other equals; its first byte is given.
    fn payload(&self, workload: &Workload, size: u32, what: &str, k: u64, first: u8) -> Bytes {
        let mut payload = self.choices.bytes(size, what, &[u64::from(workload.id), k]);
        payload.first_mut().into_iter().for_each(|byte| *byte = first);
        payload.into()
    }
}
