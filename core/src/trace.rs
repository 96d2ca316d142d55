//! What a run was, as one number: the fold of every input, of every effect, and of the state now and then.
//!
//! Words have a fixed width and an order of our own; nothing here looks at the codec's bytes, so a new version of
//! serde or postcard never changes a trace hash. Small fields share a word: kind and tag in bits 0 to 15, a flag or
//! enumeration in bits 16 to 31, a count or number of 32 bits above.

use crate::frame::{
    Aged, Announcement, Frame, Gossip, Mail, MailKind, SyncChunk, SyncEnd, SyncHello, SyncVector,
};
use crate::hash::{Fold, Folded};
use crate::id::Address;
use crate::machine::{Command, Effect, Input, Row, Space, Watch};
use crate::registry;
use crate::time::Now;

/// Goes before a digest of the state, so that it is not taken for an input: no monotonic clock reads this.
const DIGEST: u64 = u64::MAX;

/// The rolling hash of one node's run: equal hashes, equal runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceHash {
    fold: Fold,
    steps: u64,
}

impl TraceHash {
    /// Folds an input and the clocks that it arrived under: one step.
    #[inline]
    pub fn input(&mut self, now: &Now, input: &Input) {
        self.steps += 1;
        self.fold.value(now);
        self.fold.value(input);
    }

    /// Folds the effects of the step, in the order pushed.
    #[inline]
    pub fn effects(&mut self, effects: &[Effect]) {
        self.fold.word(effects.len() as u64);
        effects.iter().for_each(|effect| self.fold.value(effect));
    }

    /// Folds a digest of the node's state: whoever computes it now and then finds hidden divergence early.
    #[inline]
    pub fn digest(&mut self, digest: u64) {
        self.fold.word(DIGEST);
        self.fold.word(digest);
    }

    /// Shows the hash of everything so far.
    pub fn value(&self) -> u64 {
        self.fold.finish()
    }

    /// Counts the inputs so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }
}

impl Frame {
    /// Hashes the frame alone: the subject under which a simulated network decides its fate.
    #[inline]
    pub fn fingerprint(&self) -> u64 {
        let mut fold = Fold::default();
        fold.value(self);
        fold.finish()
    }
}

/// Packs a tag with a small field and a wide one.
#[inline]
fn head(tag: u16, small: u16, wide: u32) -> u64 {
    u64::from(tag) | u64::from(small) << 16 | u64::from(wide) << 32
}

/// Folds an option: whether it is there, then what it is.
#[inline]
fn option<T>(value: Option<&T>, into: &mut Fold, fold: impl FnOnce(&T, &mut Fold)) {
    into.word(u64::from(value.is_some()));
    if let Some(value) = value {
        fold(value, into);
    }
}

impl Folded for Now {
    #[inline]
    fn fold(&self, into: &mut Fold) {
        into.word(self.mono.0);
        into.word(self.wall.0);
    }
}

impl Folded for Frame {
    #[inline]
    fn fold(&self, into: &mut Fold) {
        let kind = self.kind();
        match self {
            Frame::Join(contact) => {
                into.word(head(kind, 0, 0));
                into.value(contact);
            }
            Frame::JoinReply { accepted, contacts } => {
                into.word(head(kind, u16::from(*accepted), contacts.len() as u32));
                contacts.iter().for_each(|contact| into.value(contact));
            }
            Frame::ForwardJoin { contact, ttl } => {
                into.word(head(kind, u16::from(*ttl), 0));
                into.value(contact);
            }
            Frame::Neighbor { contact, priority } => {
                into.word(head(kind, *priority as u16, 0));
                into.value(contact);
            }
            Frame::NeighborReply(answer) => into.word(head(kind, *answer as u16, 0)),
            Frame::Disconnect(reason) => into.word(head(kind, *reason as u16, 0)),
            Frame::Leave(incarnation) => {
                into.word(head(kind, 0, 0));
                into.word(incarnation.0);
            }
            Frame::Shuffle { origin, ttl, entries } => {
                into.word(head(kind, u16::from(*ttl), entries.len() as u32));
                into.value(origin);
                entries.iter().for_each(|entry| into.value(entry));
            }
            Frame::ShuffleReply { entries } => {
                into.word(head(kind, 0, entries.len() as u32));
                entries.iter().for_each(|entry| into.value(entry));
            }
            Frame::Probe { nonce } | Frame::ProbeAck { nonce } => into.word(head(kind, 0, *nonce)),
            Frame::Gossip(gossip) => fold_gossip(kind, gossip, into),
            Frame::IHave(announcements) => {
                into.word(head(kind, 0, announcements.len() as u32));
                announcements.iter().for_each(|announcement| into.value(announcement));
            }
            Frame::Graft { id } => {
                into.word(head(kind, 0, 0));
                option(id.as_ref(), into, Folded::fold);
            }
            Frame::Prune => into.word(head(kind, 0, 0)),
            Frame::SyncHello(hello) => fold_sync_hello(kind, hello, into),
            Frame::SyncVector(vector) => fold_sync_vector(kind, vector, into),
            Frame::SyncChunk(chunk) => fold_sync_chunk(kind, chunk, into),
            Frame::SyncEnd(SyncEnd { map, session, outcome }) => {
                into.word(head(kind, *outcome as u16, *session));
                into.word(map.0);
            }
            Frame::Members(members) => {
                into.word(head(kind, 0, 0));
                into.value(members);
            }
            Frame::RegistryHello(hello) => {
                into.word(head(kind, 0, 0));
                hello.buckets.iter().for_each(|bucket| into.word(*bucket));
            }
            Frame::RegistryRows(it) => {
                let registry::Rows { mask, after, is_last, rows } = &**it;
                into.word(head(kind, u16::from(*is_last), *mask));
                option(after.as_ref(), into, Folded::fold);
                fold_rows(rows, into);
            }
            Frame::RegistryPull(rows) => {
                into.word(head(kind, 0, 0));
                fold_rows(rows, into);
            }
            Frame::RegistryUpdates { is_last, updates } => {
                into.word(head(kind, u16::from(*is_last), 0));
                fold_updates(updates, into);
            }
            Frame::RegistryRelay(relayed) => fold_relayed(kind, relayed, into),
            Frame::Mail(mail) => fold_mail(kind, mail, into),
        }
    }
}

fn fold_relayed(kind: u16, relayed: &registry::Relayed, into: &mut Fold) {
    let registry::Relayed { told, rows } = relayed;
    into.word(head(kind, 0, told.len() as u32));
    for registry::Told { tag, seq, word } in told {
        into.pair(*tag, *seq);
        into.word(*word as u64);
    }
    fold_updates(rows, into);
}

fn fold_updates(updates: &[registry::Update], into: &mut Fold) {
    for registry::Update { batch, age_ms } in updates {
        into.pair(batch.hash(), u64::from(*age_ms));
    }
}

#[inline]
fn fold_gossip(kind: u16, gossip: &Gossip, into: &mut Fold) {
    let Gossip { id, topic, class, shapes_tree, hops, age_ms, payload } = gossip;
    into.word(head(kind, *class as u16, topic.0));
    into.word(head(*hops, u16::from(*shapes_tree), *age_ms));
    into.value(id);
    into.bytes(payload);
}

fn fold_sync_hello(kind: u16, hello: &SyncHello, into: &mut Fold) {
    let SyncHello { map, generation, session, buckets, fingerprint, count } = hello;
    into.word(head(kind, 0, *session));
    into.word(map.0);
    into.word(*generation);
    buckets.iter().for_each(|bucket| into.word(*bucket));
    into.word(*fingerprint);
    into.word(u64::from(*count));
}

fn fold_sync_vector(kind: u16, vector: &SyncVector, into: &mut Fold) {
    let SyncVector { map, generation, session, mask, last, sent, entries } = vector;
    into.word(head(kind, *mask, *session));
    into.word(head(u16::from(*last), 0, entries.len() as u32));
    into.word(u64::from(*sent));
    into.word(map.0);
    into.word(*generation);
    for (writer, stamp) in entries {
        into.value(writer);
        into.word(stamp.0);
    }
}

fn fold_sync_chunk(kind: u16, chunk: &SyncChunk, into: &mut Fold) {
    let SyncChunk { map, generation, session, count, ops } = chunk;
    into.word(head(kind, 0, *session));
    into.word(map.0);
    into.word(*generation);
    into.word(u64::from(*count));
    into.bytes(ops);
}

fn fold_rows(rows: &[registry::Row], into: &mut Fold) {
    into.word(rows.len() as u64);
    for registry::Row { owner, incarnation, seq, fingerprint } in rows {
        into.value(owner);
        into.word(incarnation.0);
        into.pair(*seq, *fingerprint);
    }
}

fn fold_mail(kind: u16, mail: &Mail, into: &mut Fold) {
    let Mail { from, to, session, seq, what, payload } = mail;
    let (tag, words) = match *what {
        MailKind::Send { from, to, token } => (1, [from.0, to.0, token, 0]),
        MailKind::Ask { from, to, number, timeout_ms } => (2, [from.0, to.0, number, timeout_ms]),
        MailKind::Answer { number } => (3, [number, 0, 0, 0]),
        MailKind::Refused { is_question, number, mailbox, why } => {
            (4, [number, mailbox.0, u64::from(is_question), why as u64])
        }
        // Five fields: the kind of order goes into the tag.
        MailKind::Order { number, after, what, ours, theirs } => {
            (5 | (what as u32) << 8, [number, after, ours.0, theirs.0])
        }
        MailKind::Ack { number, verdict } => (6, [number, verdict as u64, 0, 0]),
        MailKind::Resume { session } => (7, [session, 0, 0, 0]),
        MailKind::Heard { session, seq, settled } => {
            (8, [session, u64::from(seq.is_some()), seq.unwrap_or(0), settled])
        }
        MailKind::Bundle { from, to, token } => (9, [from.0, to.0, token, 0]),
    };
    into.word(head(kind, 0, tag));
    into.word(from.0);
    into.word(to.0);
    into.word(*session);
    into.word(*seq);
    words.into_iter().for_each(|word| into.word(word));
    if what.has_payload() {
        into.bytes(payload);
    }
}

impl Folded for Aged {
    fn fold(&self, into: &mut Fold) {
        let Self { contact, age_ms } = self;
        into.value(contact);
        into.word(u64::from(*age_ms));
    }
}

impl Folded for Announcement {
    #[inline]
    fn fold(&self, into: &mut Fold) {
        let Self { id, hops } = self;
        into.value(id);
        into.word(u64::from(*hops));
    }
}

impl Folded for Input {
    #[inline]
    fn fold(&self, into: &mut Fold) {
        match self {
            Input::Command { token, command } => {
                into.word(head(1, 0, 0));
                into.word(token.0);
                into.value(command);
            }
            Input::Frame { from, channel, frame } => {
                into.word(head(2, *channel as u16, 0));
                into.value(from);
                into.value(frame);
            }
            Input::LinkUp { peer, incarnation, version, addr, dialer } => {
                into.word(head(3, *dialer as u16, u32::from(*version)));
                into.value(peer);
                into.word(incarnation.0);
                into.value(addr);
            }
            Input::LinkDown { peer, dialer, reason } => {
                into.word(head(4, *dialer as u16, *reason as u32));
                into.value(peer);
            }
            Input::LinkFull { peer, channel } => {
                into.word(head(5, *channel as u16, 0));
                into.value(peer);
            }
            Input::LinkReady { peer, channel } => {
                into.word(head(6, *channel as u16, 0));
                into.value(peer);
            }
            Input::Persisted { token } => {
                into.word(head(7, 0, 0));
                into.word(token.0);
            }
            Input::PersistFailed { token } => {
                into.word(head(8, 0, 0));
                into.word(token.0);
            }
            Input::Malformed { from } => {
                into.word(head(9, 0, 0));
                into.value(from);
            }
            Input::Timeout => into.word(head(10, 0, 0)),
        }
    }
}

impl Folded for Command {
    fn fold(&self, into: &mut Fold) {
        match self {
            Command::Join { contacts } => {
                into.word(head(1, 0, contacts.len() as u32));
                contacts.iter().for_each(|contact| into.value(contact));
            }
            Command::Leave => into.word(head(2, 0, 0)),
            Command::Subscribe { topic } => into.word(head(3, 0, topic.0)),
            Command::Unsubscribe { topic } => into.word(head(4, 0, topic.0)),
            Command::Publish { topic, class, payload } => {
                into.word(head(5, *class as u16, topic.0));
                into.bytes(payload);
            }
            Command::CreateMap { name, schema } => {
                into.word(head(6, 0, *schema));
                into.bytes(name.as_bytes());
            }
            Command::Put { map, key, value, expires } => {
                into.word(head(7, 0, 0));
                into.word(map.0);
                into.bytes(key);
                into.bytes(value);
                option(expires.as_ref(), into, |stamp, into| into.word(stamp.0));
            }
            Command::Remove { map, key } => {
                into.word(head(8, 0, 0));
                into.word(map.0);
                into.bytes(key);
            }
            Command::Cycle => into.word(head(9, 0, 0)),
            Command::Watch { what } => fold_watch(what, into),
            Command::Unwatch { watch } => {
                into.word(head(11, 0, 0));
                into.word(watch.0);
            }
            Command::Register { name, instance, mailbox, meta, is_unique } => {
                into.word(head(12, u16::from(*is_unique), 0));
                into.bytes(name);
                into.word(*instance);
                into.word(mailbox.0);
                into.bytes(meta);
            }
            Command::Unregister { name, instance } => {
                into.word(head(13, 0, 0));
                into.bytes(name);
                into.word(*instance);
            }
            Command::OpenMailbox => into.word(head(14, 0, 0)),
            Command::CloseMailbox { mailbox } => {
                into.word(head(15, 0, 0));
                into.word(mailbox.0);
            }
            Command::Send { from, to, payload } => {
                into.word(head(16, 0, 0));
                into.word(from.0);
                into.value(to);
                into.bytes(payload);
            }
            Command::Call { from, to, payload, timeout_ms } => {
                into.word(head(17, 0, 0));
                into.word(from.0);
                into.value(to);
                into.bytes(payload);
                into.word(*timeout_ms);
            }
            Command::Answer { question, payload } => {
                into.word(head(18, 0, 0));
                into.value(question);
                into.bytes(payload);
            }
            Command::Monitor { mailbox, of } => fold_tie(19, mailbox.0, of, into),
            Command::Demonitor { monitor } => {
                into.word(head(20, 0, 0));
                into.word(monitor.0);
            }
            Command::Link { mailbox, with } => fold_tie(21, mailbox.0, with, into),
            Command::Unlink { mailbox, with } => fold_tie(22, mailbox.0, with, into),
            Command::Move { addrs } => {
                into.word(head(23, 0, addrs.len() as u32));
                addrs.iter().for_each(|addr| into.value(addr));
            }
            Command::Refuse { question } => {
                into.word(head(24, 0, 0));
                into.value(question);
            }
            Command::SendBundle { from, to, messages } => {
                into.word(head(25, 0, 0));
                into.word(from.0);
                into.value(to);
                into.bytes(messages.bytes());
            }
        }
    }
}

fn fold_watch(what: &Watch, into: &mut Fold) {
    match what {
        Watch::Members => into.word(head(10, 0, 0)),
        Watch::Services { prefix } => {
            into.word(head(10, 1, 0));
            into.bytes(prefix);
        }
        Watch::Partitions => into.word(head(10, 2, 0)),
    }
}

fn fold_tie(tag: u16, mailbox: u64, other: &Address, into: &mut Fold) {
    into.word(head(tag, 0, 0));
    into.word(mailbox);
    into.value(other);
}

impl Folded for Effect {
    #[inline]
    fn fold(&self, into: &mut Fold) {
        match self {
            Effect::Dial { contact } => {
                into.word(head(1, 0, 0));
                into.value(contact);
            }
            Effect::Send { to, channel, frame } => {
                into.word(head(2, *channel as u16, 0));
                into.value(to);
                into.value(frame);
            }
            Effect::Close { peer, dialer, reason } => {
                into.word(head(3, *reason as u16, 0));
                into.value(peer);
                option(dialer.as_ref(), into, |dialer, into| into.word(*dialer as u64));
            }
            Effect::Persist { token, class, rows } => {
                into.word(head(4, *class as u16, rows.len() as u32));
                into.word(token.0);
                rows.iter().for_each(|row| into.value(row));
            }
        }
    }
}

impl Folded for Row {
    fn fold(&self, into: &mut Fold) {
        let Self { space, key, value } = self;
        match space {
            Space::Marks => into.word(head(1, 0, 0)),
            Space::Entries(map) => {
                into.word(head(2, 0, 0));
                into.word(map.0);
            }
        }
        into.bytes(key);
        option(value.as_ref(), into, |value, into| into.bytes(value));
    }
}
