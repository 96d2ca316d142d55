//! A cache that is never wrong for long: it keeps answers by the service that gave them, and drops them when it goes.
//!
//! Every fifth node offers the service `source`; all nodes ask for keys and keep what they hear. Lines: `get KEY`, and
//! `renew`, at which a source withdraws its service and offers another one in its place.

use super::parts::join;
use bytes::Bytes;
use rumormill_core::hash::Fold;
use rumormill_core::{
    Address, App, AppCx, Command, Event, MailboxId, News, Question, Reply, Service, Token, Watch,
};
use std::collections::{BTreeMap, BTreeSet};

/// The name of the service.
const SOURCE: &[u8] = b"source";
/// One node in so many is a source.
const SOURCE_EVERY: u32 = 5;
/// How long a source may take, in milliseconds. A guess.
const ANSWER_MS: u64 = 3_000;
/// Entries of one cache at most: more are not kept. A guess.
const ENTRIES_MAX: usize = 10_000;

/// What one could get wrong: to see that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Entries of a service that goes with its node stay.
    IgnoresDown,
    /// Entries of a service that is withdrawn stay.
    IgnoresWithdrawal,
}

/// What the answer to a command is about.
#[derive(Clone, Debug)]
enum Pending {
    Post,
    Offer,
    Get { source: Address, key: String },
}

/// The cache of one node, and its source if it has one.
#[derive(Clone, Debug, Default)]
pub struct Cache {
    is_source: bool,
    /// The mailbox that asks.
    post: Option<MailboxId>,
    /// The mailbox behind this node's service.
    offered: Option<MailboxId>,
    /// Services offered so far: each is an instance of its own.
    instance: u64,
    sources: BTreeSet<Address>,
    entries: BTreeMap<Address, BTreeMap<String, Bytes>>,
    pending: BTreeMap<Token, Pending>,
    hits: u64,
    dropped: u64,
    bug: Option<Bug>,
}

impl Cache {
    /// Makes the cache of a node.
    pub fn new(node: u32, bug: Option<Bug>) -> Self {
        Self { is_source: node.is_multiple_of(SOURCE_EVERY), bug, ..Self::default() }
    }

    /// Lists the services of which entries are kept.
    pub fn kept(&self) -> impl Iterator<Item = Address> {
        self.entries.keys().copied()
    }

    /// Shows the mailbox of the service that this node offers now.
    pub fn offered(&self) -> Option<MailboxId> {
        self.offered
    }

    /// Shows the services that this node has been told of.
    pub fn sources(&self) -> &BTreeSet<Address> {
        &self.sources
    }

    /// Counts the answers that the cache gave, and the entries that were dropped.
    pub fn hits_and_dropped(&self) -> (u64, u64) {
        (self.hits, self.dropped)
    }

    /// Finds the source of a key: the same on every node that knows the same sources.
    fn source_of(&self, key: &str) -> Option<Address> {
        let weight = |source: &&Address| {
            let mut fold = Fold::default();
            fold.bytes(key.as_bytes());
            fold.value(*source);
            fold.finish()
        };
        self.sources.iter().max_by_key(weight).copied()
    }

    fn ask(&mut self, command: Command, pending: Pending, cx: &mut AppCx<'_>) {
        let token = cx.order(command);
        self.pending.insert(token, pending);
    }

    fn get(&mut self, key: &str, cx: &mut AppCx<'_>) {
        let (Some(from), Some(source)) = (self.post, self.source_of(key)) else { return };
        if self.entries.get(&source).is_some_and(|entries| entries.contains_key(key)) {
            self.hits += 1;
            return;
        }
        let payload = Bytes::copy_from_slice(key.as_bytes());
        let command = Command::Call { from, to: source, payload, timeout_ms: ANSWER_MS };
        self.ask(command, Pending::Get { source, key: key.into() }, cx);
    }

    /// Withdraws this node's service, and offers another.
    fn renew(&mut self, cx: &mut AppCx<'_>) {
        let Some(mailbox) = self.offered.take() else { return };
        cx.order(Command::Unregister { name: SOURCE.into(), instance: self.instance });
        cx.order(Command::CloseMailbox { mailbox });
        self.ask(Command::OpenMailbox, Pending::Offer, cx);
    }

    fn on_done(&mut self, pending: Pending, reply: &Reply, cx: &mut AppCx<'_>) {
        match (pending, reply) {
            (Pending::Post, Reply::Opened { address }) => self.post = Some(address.mailbox),
            (Pending::Offer, Reply::Opened { address }) => {
                self.offered = Some(address.mailbox);
                self.instance += 1;
                cx.order(Command::Register {
                    name: SOURCE.into(),
                    instance: self.instance,
                    mailbox: address.mailbox,
                    meta: Bytes::new(),
                    is_unique: false,
                });
            }
            (Pending::Get { source, key }, Reply::Answer { payload }) => {
                // News that the source is gone may have overtaken its answer.
                let count: usize = self.entries.values().map(BTreeMap::len).sum();
                if self.sources.contains(&source) && count < ENTRIES_MAX {
                    self.entries.entry(source).or_default().insert(key, payload.clone());
                }
            }
            _ => {}
        }
    }

    fn on_asked(&mut self, mailbox: MailboxId, question: Question, key: &Bytes, cx: &mut AppCx<'_>) {
        if self.offered == Some(mailbox) {
            let payload = join(&[b"the value of", key]);
            cx.order(Command::Answer { question, payload });
        }
    }

    fn on_news(&mut self, news: &News) {
        match news {
            News::Services(services) => services.iter().for_each(|service| self.on_source(service)),
            News::Registered(service) | News::Updated(service) => self.on_source(service),
            News::Unregistered(service) => self.on_gone(service, self.bug == Some(Bug::IgnoresWithdrawal)),
            News::Down { service, .. } => self.on_gone(service, self.bug == Some(Bug::IgnoresDown)),
            _ => {}
        }
    }

    fn on_source(&mut self, service: &Service) {
        self.sources.extend(service.address());
    }

    fn on_gone(&mut self, service: &Service, keeps_entries: bool) {
        let Some(address) = service.address() else { return };
        self.sources.remove(&address);
        if !keeps_entries {
            self.dropped += self.entries.remove(&address).map_or(0, |entries| entries.len() as u64);
        }
    }
}

impl App for Cache {
    fn on_start(&mut self, cx: &mut AppCx<'_>) {
        self.ask(Command::OpenMailbox, Pending::Post, cx);
        cx.order(Command::Watch { what: Watch::Services { prefix: SOURCE.into() } });
        if self.is_source {
            self.ask(Command::OpenMailbox, Pending::Offer, cx);
        }
    }

    fn on_event(&mut self, event: &Event, cx: &mut AppCx<'_>) {
        match event {
            Event::Done { token, result } => {
                // Without an answer nothing is kept, and the next one who asks tries again.
                if let (Some(pending), Ok(reply)) = (self.pending.remove(token), result) {
                    self.on_done(pending, reply, cx);
                }
            }
            Event::Watched { news, .. } => self.on_news(news),
            Event::Asked { mailbox, question, payload } => self.on_asked(*mailbox, *question, payload, cx),
            _ => {}
        }
    }

    fn on_request(&mut self, line: &str, cx: &mut AppCx<'_>) {
        match line.split_once(' ') {
            Some(("get", key)) => self.get(key, cx),
            _ if line == "renew" => self.renew(cx),
            _ => {}
        }
    }
}
