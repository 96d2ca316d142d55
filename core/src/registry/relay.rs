//! The relay: how changes of sets reach everybody, from neighbour to neighbour and in batches.
//!
//! Whatever is new at a node goes on to every neighbour but the one that it came from: as *rows*, the owner's changes out
//! of its log. A row that came twice is answered with a *prune*: from then on that neighbour passes this owner's changes
//! on to us as mere *notices*, some time later and only where nothing else has told us. So each owner's changes flow down
//! a tree of their own, over the links that were first to carry them. Who lacks what a notice tells of *grafts*: it gets
//! the rows, and the link is part of the tree again (Plumtree, for each owner by itself).
//!
//! A neighbour gets one frame for each `registry_relay_ms` at most, whatever there is to tell, besides answers to its
//! own grafts: with n neighbours, n * 1000 / `registry_relay_ms` frames a second. The first change after a
//! pause goes out at once. Rows beyond `sync_chunk_bytes` wait for the next frame, and for a full channel they stay where
//! they are. Nothing here has to arrive: gaps are pulled, and anti-entropy repairs the rest.

use super::Registrar;
use super::apply::Path;
use super::update::{Batch, Update};
use crate::config::Canary;
use crate::frame::{Channel, Frame};
use crate::hash::{FixedState, Fold};
use crate::id::NodeId;
use crate::machine::Cx;
use crate::time::Instant;
use alloc::boxed::Box;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// Rows in one frame at most.
pub const RELAYED_MAX: usize = 1_024;
/// Words in one frame at most.
pub const TOLD_MAX: usize = 1_024;

/// What is said of an owner's set without its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum Word {
    /// It is held here, up to this number.
    Have = 0,
    /// It came from elsewhere before: notices are enough.
    Prune = 1,
    /// It is held here only up to this number: the rows after it, please, and from now on.
    Graft = 2,
}

/// One word about one owner's set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The owner in one life of it, by the hash of both.
    pub tag: u64,
    /// A sequence number of its set.
    pub seq: u64,
    /// What is said.
    pub word: Word,
}

/// What one node hands on to a neighbour at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relayed {
    /// Words.
    pub told: Vec<Told>,
    /// Changes.
    pub rows: Vec<Update>,
}

/// One neighbour.
#[derive(Clone, Debug)]
struct Link {
    peer: NodeId,
    /// Its bit in every set of neighbours.
    bit: u32,
    is_full: bool,
    /// What goes out with the next frame.
    told: Vec<Told>,
    rows: Vec<Update>,
    bytes: usize,
}

/// A change that some neighbours may lack.
#[derive(Clone, Debug)]
pub(super) struct News {
    /// What leads to the number; none where the whole set does.
    batch: Option<Arc<Batch>>,
    owner: u32,
    tag: u64,
    seq: u64,
    at: Instant,
    /// The neighbours that were neither told nor have told it.
    pub(super) lacking: u32,
}

/// What is to be handed on, and to whom.
#[derive(Clone, Debug, Default)]
pub(super) struct Relay {
    links: Vec<Link>,
    /// In the order in which it came; the first one's number is `first`.
    pub(super) news: VecDeque<News>,
    first: u64,
    /// News before this one went out to all who take rows and are not full.
    fresh: u64,
    flush_at: Option<Instant>,
    /// No flush is earlier.
    paced_from: Instant,
    /// When notices are due.
    notice_at: Option<Instant>,
    /// Sets that were asked for lately.
    asked: IndexMap<u64, Instant, FixedState>,
}

impl Relay {
    pub(super) fn due(&self) -> Option<Instant> {
        self.flush_at.into_iter().chain(self.notice_at).min()
    }

    /// Tells a neighbour's bit; none for anybody else.
    pub(super) fn bit(&self, peer: &NodeId) -> u32 {
        self.links.iter().find(|link| link.peer == *peer).map_or(0, |link| link.bit)
    }

    pub(super) fn everybody(&self) -> u32 {
        self.links.iter().fold(0, |all, link| all | link.bit)
    }

    fn link_of(&mut self, bit: u32) -> Option<&mut Link> {
        self.links.iter_mut().find(|link| link.bit == bit)
    }

    fn news_of(&mut self, number: u64) -> Option<&mut News> {
        self.news.get_mut(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// Asks for a flush at a time, or as soon after it as the pace allows.
    fn flush_by(&mut self, at: Instant) {
        let at = at.max(self.paced_from);
        self.flush_at = Some(self.flush_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Drops from the front what nobody lacks.
    fn trim(&mut self, most: usize) {
        while self.news.front().is_some_and(|news| news.lacking == 0) || self.news.len() > most {
            self.news.pop_front();
            self.first += 1;
        }
        self.fresh = self.fresh.max(self.first);
        if self.news.is_empty() {
            self.notice_at = None;
        }
    }

    /// A neighbour's channel takes no more, or does again: then it gets what has been waiting.
    pub(super) fn set_full(&mut self, peer: &NodeId, is_full: bool, now: Instant) {
        let Some(link) = self.links.iter_mut().find(|link| link.peer == *peer) else { return };
        link.is_full = is_full;
        if !is_full {
            self.fresh = self.first;
            self.flush_by(now);
        }
    }

    pub(super) fn digest(&self, span: impl Fn(Instant) -> u64, into: &mut Fold) {
        for link in &self.links {
            into.pair(link.peer.prefix(), u64::from(link.bit) | u64::from(link.is_full) << 32);
            into.word(link.told.len() as u64);
        }
        for news in &self.news {
            into.pair(news.tag ^ news.seq, u64::from(news.lacking));
        }
        into.pair(self.first, self.fresh);
        into.pair(self.flush_at.map_or(0, &span), self.notice_at.map_or(0, &span));
        into.word(self.asked.len() as u64);
    }

    pub(super) fn check(&self, config: &crate::config::Config) {
        assert!(self.news.len() <= config.registry_relay_max, "more news than registry_relay_max");
        assert!(self.asked.len() <= config.registry_relay_max, "more is asked for than registry_relay_max");
        assert!(self.links.iter().all(|link| link.rows.is_empty()), "rows were not sent");
        let links = self.everybody();
        assert!(self.news.iter().all(|news| news.lacking & !links == 0), "news for nobody");
        let told_max = config.registry_relay_max;
        assert!(self.links.iter().all(|link| link.told.len() <= told_max), "words pile up");
    }
}

/// Neighbours, and what is new.
impl Registrar {
    pub(super) fn begin_relay(&mut self, peer: NodeId) {
        let taken = self.relay.everybody();
        if taken == u32::MAX || self.relay.bit(&peer) != 0 {
            return; // views are smaller
        }
        let bit = 1 << taken.trailing_ones();
        let (told, rows) = (Vec::new(), Vec::new());
        for owner in self.registry.owners.iter_mut().filter(|owner| owner.parent != 0) {
            owner.lazy |= bit; // there is a tree already: whoever has lost it grafts
        }
        self.relay.links.push(Link { peer, bit, is_full: false, told, rows, bytes: 0 });
    }

    pub(super) fn end_relay(&mut self, peer: &NodeId) {
        let bit = self.relay.bit(peer);
        self.relay.links.retain(|link| link.peer != *peer);
        self.relay.news.iter_mut().for_each(|news| news.lacking &= !bit);
        for owner in self.registry.owners.iter_mut() {
            owner.lazy &= !bit;
            owner.pruned &= !bit;
            owner.parent &= !bit;
        }
        self.relay.trim(self.config.registry_relay_max);
    }

    /// Notes that an owner's set has changed, for all neighbours but the one that told it.
    pub(super) fn hand_on(&mut self, number: u32, batch: Option<Arc<Batch>>, from: u32, cx: &mut Cx<'_>) {
        let owner = &mut self.registry.owners[number];
        owner.news = self.relay.first + self.relay.news.len() as u64;
        let lacking = self.relay.everybody() & !from;
        let is_hidden = owner.entries.is_empty() && self.config.is_planted(Canary::LostLastRemoval);
        if lacking == 0 || is_hidden {
            return;
        }
        let (tag, seq, at) = (owner.tag, owner.seq, cx.now.mono);
        self.relay.news.push_back(News { batch, owner: number, tag, seq, at, lacking });
        self.relay.trim(self.config.registry_relay_max);
        self.relay.flush_by(at);
    }

    /// Lets a word go out with the next frame to a neighbour.
    fn say(&mut self, to: u32, told: Told, at: Instant) {
        let most = self.config.registry_relay_max;
        if let Some(link) = self.relay.link_of(to).filter(|link| link.told.len() < most) {
            link.told.push(told);
            self.relay.flush_by(at);
        }
    }
}

/// Sending.
impl Registrar {
    pub(super) fn on_relay_due(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now.mono;
        if self.relay.notice_at.is_some_and(|at| at <= now) {
            self.notice(now);
        }
        if self.relay.flush_at.take_if(|at| *at <= now).is_none() {
            return;
        }
        self.relay.paced_from = now.plus_millis(self.config.registry_relay_ms);
        self.gather(now);
        let mut relay = core::mem::take(&mut self.relay);
        for link in &mut relay.links {
            let told = link.told.drain(..link.told.len().min(TOLD_MAX)).collect();
            let rows = core::mem::take(&mut link.rows);
            send(link.peer, Relayed { told, rows }, cx);
            link.bytes = 0;
        }
        self.relay = relay;
        let has_more = self.relay.links.iter().any(|link| !link.told.is_empty() && !link.is_full);
        if has_more || self.relay.fresh < self.relay.first + self.relay.news.len() as u64 {
            self.relay.flush_by(now);
        }
        self.relay.trim(self.config.registry_relay_max);
        if let Some(first) = self.relay.news.front() {
            let at = first.at.plus_millis(self.config.registry_notice_ms);
            self.relay.notice_at.get_or_insert(at.max(self.relay.paced_from));
        }
    }

    /// Puts fresh news as rows to whoever takes rows of its owner.
    fn gather(&mut self, now: Instant) {
        let Self { relay, registry, config, .. } = self;
        let skipped = (relay.fresh - relay.first) as usize;
        registry.warm_owners(relay.news.iter().skip(skipped).map(|news| news.owner));
        let mut fresh = None;
        for (at, news) in relay.news.iter_mut().enumerate().skip(skipped) {
            let owner = &registry.owners[news.owner];
            if owner.tag != news.tag {
                news.lacking = 0; // another life goes its own way
            }
            let eager = news.lacking & !owner.lazy;
            if eager == 0 {
                continue;
            }
            let mut row: Option<Update> = None;
            for link in relay.links.iter_mut().filter(|link| link.bit & eager != 0 && !link.is_full) {
                if link.bytes >= config.sync_chunk_bytes || link.rows.len() >= RELAYED_MAX {
                    fresh.get_or_insert(at);
                    continue;
                }
                news.lacking &= !link.bit;
                if row.is_none() {
                    let batch = news.batch.as_ref().map(|batch| owner.again(batch, now));
                    row = batch.or_else(|| registry.whole_at(news.owner, news.seq, now));
                }
                let Some(row) = &row else { continue };
                link.bytes += row.wire_len();
                link.rows.push(row.clone());
            }
        }
        relay.fresh = relay.first + fresh.unwrap_or(relay.news.len()) as u64;
    }

    /// Tells those who get an owner's rows elsewhere what there is, unless they have told of it themselves.
    fn notice(&mut self, now: Instant) {
        let Self { relay, registry, config, .. } = self;
        let (wait_ms, most) = (config.registry_notice_ms, config.registry_relay_max);
        let Relay { links, news, first, .. } = relay;
        let mut next = None;
        let is_due = |news: &&News| now.millis_since(news.at) >= wait_ms / 2;
        registry.warm_owners(news.iter().take_while(is_due).map(|news| news.owner));
        for (number, news) in (*first..).zip(news.iter_mut()) {
            if now.millis_since(news.at) < wait_ms / 2 {
                next = Some(news.at.plus_millis(wait_ms));
                break; // may still be told from elsewhere
            }
            let owner = &registry.owners[news.owner];
            if owner.news != number || owner.tag != news.tag {
                news.lacking = 0; // there is later news
                continue;
            }
            let lazy = news.lacking & owner.lazy;
            let told = Told { tag: news.tag, seq: news.seq, word: Word::Have };
            let room = |link: &&mut Link| link.bit & lazy != 0 && !link.is_full && link.told.len() < most;
            for link in links.iter_mut().filter(room) {
                link.told.push(told);
                news.lacking &= !link.bit;
            }
        }
        relay.notice_at = next;
        relay.flush_by(now);
    }
}

/// Receiving.
impl Registrar {
    pub(super) fn on_relayed(&mut self, from: NodeId, relayed: Relayed, cx: &mut Cx<'_>) {
        let bit = self.relay.bit(&from);
        self.registry.warm_rows(&relayed.rows);
        for row in relayed.rows {
            let (owner, tag, seq) = (row.batch.owner, row.batch.tag, row.batch.to);
            let number = self.registry.number_of(&row.batch);
            let is_new = self.apply_to(number, from, &row, Path::Relay, cx);
            let number = number.or_else(|| self.registry.number(&owner));
            if let Some(number) = number.filter(|_| bit != 0) {
                self.on_heard(bit, number, tag, seq, is_new, cx);
            }
        }
        self.registry.warm_told(&relayed.told);
        let mut answer = Relayed::default();
        let (mut bytes, mut sent, most) = (0, 0, self.config.registry_sync_bytes);
        let mut grafted = BTreeSet::new();
        let is_full = self.relay.link_of(bit).is_some_and(|link| link.is_full);
        for told in relayed.told.into_iter().filter(|_| bit != 0) {
            let number = self.registry.tags.get(told.tag);
            match (told.word, number) {
                (Word::Have, _) => self.on_have(bit, told, number, cx),
                (Word::Prune, Some(number)) => {
                    self.registry.owners[number].lazy |= bit;
                    self.on_has(bit, number, told.seq);
                }
                (Word::Graft, Some(number)) => {
                    let owner = &mut self.registry.owners[number];
                    owner.lazy &= !bit;
                    // What does not go out now is noticed again.
                    if told.seq >= owner.seq || is_full || sent >= most || !grafted.insert(number) {
                        continue;
                    }
                    for row in self.registry.rows_after(number, told.seq, cx.now.mono) {
                        bytes += row.wire_len();
                        sent += row.wire_len();
                        answer.rows.push(row);
                        if bytes >= self.config.sync_chunk_bytes || answer.rows.len() >= RELAYED_MAX {
                            send(from, core::mem::take(&mut answer), cx);
                            bytes = 0;
                        }
                    }
                    self.on_has(bit, number, u64::MAX);
                }
                (Word::Prune | Word::Graft, None) => {}
            }
        }
        send(from, answer, cx);
    }

    /// A neighbour has sent a row: it has it, and it may be one that nobody needs from there.
    fn on_heard(&mut self, bit: u32, number: u32, tag: u64, seq: u64, is_new: bool, cx: &Cx<'_>) {
        let owner = &mut self.registry.owners[number];
        if owner.tag != tag || owner.seq < seq {
            return;
        }
        let later = cx.now.mono.plus_millis(self.config.registry_relay_ms);
        let (is_own, held) = (owner.id == self.me, owner.seq);
        if is_new || owner.parent == 0 && !is_own {
            owner.parent = bit;
            if owner.pruned & bit != 0 {
                owner.pruned &= !bit;
                self.say(bit, Told { tag, seq: held, word: Word::Graft }, later);
            }
        } else if owner.parent != bit && owner.pruned & bit == 0 {
            owner.pruned |= bit;
            self.say(bit, Told { tag, seq: held, word: Word::Prune }, later);
        }
        if !is_new {
            self.on_has(bit, number, seq);
        }
    }

    /// A neighbour has an owner's set up to a number.
    fn on_has(&mut self, bit: u32, number: u32, seq: u64) {
        let owner = &self.registry.owners[number];
        let (tag, news, held) = (owner.tag, owner.news, owner.seq);
        if seq >= held
            && let Some(news) = self.relay.news_of(news).filter(|news| news.tag == tag)
        {
            news.lacking &= !bit;
        }
    }

    /// A neighbour tells of what it has: if it is missing here, the neighbour shall send it.
    fn on_have(&mut self, bit: u32, told: Told, number: Option<u32>, cx: &Cx<'_>) {
        let Told { tag, seq, .. } = told;
        let held = number.map_or(0, |number| self.registry.owners[number].seq);
        if let Some(number) = number.filter(|_| held >= seq) {
            return self.on_has(bit, number, seq);
        }
        let owner = number.map(|number| &self.registry.owners[number]);
        let is_own = owner.is_some_and(|owner| owner.id == self.me);
        let is_refused = owner.is_some_and(|owner| (owner.incarnation, seq) <= owner.refused);
        let (now, again_ms) = (cx.now.mono, self.config.sync_gap_ms);
        let is_asked = |at: &Instant| now.millis_since(*at) < again_ms;
        let asked = &mut self.relay.asked;
        if is_own || is_refused || asked.get(&tag).is_some_and(is_asked) {
            return;
        }
        if asked.len() >= self.config.registry_relay_max {
            asked.retain(|_, at| is_asked(at));
        }
        if asked.len() < self.config.registry_relay_max {
            asked.insert(tag, now);
            if let Some(number) = number {
                self.registry.owners[number].pruned &= !bit;
            }
            self.say(bit, Told { tag, seq: held, word: Word::Graft }, now);
        }
    }
}

fn send(to: NodeId, relayed: Relayed, cx: &mut Cx<'_>) {
    if relayed.rows.is_empty() && relayed.told.is_empty() {
        return;
    }
    cx.stats.registry_relayed += relayed.rows.len() as u64;
    cx.stats.registry_told += relayed.told.len() as u64;
    cx.send(to, Channel::Sync, Frame::RegistryRelay(Box::new(relayed)));
}
