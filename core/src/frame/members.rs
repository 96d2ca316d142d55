//! Frames of members: heartbeats, records, and pings on behalf of others.

use super::codec::{Element, Fields, NODE_ID_LEN, contact_len, kinds, list_len, put, varint_len};
use super::{Channel, DecodeError};
use crate::hash::{Fold, Folded};
use crate::id::Contact;
use crate::member::{Life, MemberRecord};
use alloc::sync::Arc;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// Heartbeats in one frame at most.
pub const BEATS_MAX: usize = 256;
/// Records in one frame at most.
pub const ENTRIES_MAX: usize = 128;
/// Lives in one request for records at most.
pub const LIVES_MAX: usize = 256;
/// Rumours in one frame at most.
pub const RUMORS_MAX: usize = 128;

/// One heartbeat, as old as it is when it is sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// Whose.
    pub life: Life,
    /// How often that life has shown itself alive.
    pub counter: u32,
    /// The revision of its record: who has a lower one asks for it.
    pub revision: u32,
    /// Milliseconds since the counter rose, not counting the time on the wire.
    pub age_ms: u32,
}

/// A record with the heartbeat that was heard last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberEntry {
    /// The record, shared by everybody who hands it on.
    #[serde(with = "shared")]
    pub record: Arc<MemberRecord>,
    /// The heartbeat counter.
    pub counter: u32,
    /// Milliseconds since the counter rose, not counting the time on the wire.
    pub age_ms: u32,
}

impl MemberEntry {
    /// Shows the heartbeat alone.
    pub fn beat(&self) -> Beat {
        let Self { ref record, counter, age_ms } = *self;
        Beat { life: record.life(), counter, revision: record.revision, age_ms }
    }
}

/// Which records are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A page of all, from this place of the answerer's table on.
    Page(u32),
    /// Those of some lives.
    Lives(Vec<Life>),
}

/// What records answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answered {
    /// A request for single lives, or nothing at all.
    Lives,
    /// A page; the next one begins at this place.
    Page(u32),
    /// The last page.
    LastPage,
}

/// One piece of news of members that everybody shall hear at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rumor {
    /// A member says something else of itself.
    Record(MemberEntry),
    /// Nobody has reached a member since it showed this counter.
    Suspect {
        /// The member.
        life: Life,
        /// Its counter as far as it is known.
        counter: u32,
    },
    /// A member that was suspected is alive.
    Alive(Beat),
}

/// What members say to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MembersFrame {
    /// Heartbeats that have risen since the last frame.
    Beats {
        /// Whether the receiver shall answer with its own, at once: it is asked for a sign of life as well.
        asks: bool,
        /// How soon the receiver will hear from the sender again, as long as that lives; 0 where nothing is promised.
        again_ms: u32,
        /// The heartbeats.
        beats: Vec<Beat>,
    },
    /// Asks for records.
    Pull(Wanted),
    /// Records.
    Push {
        /// What they answer.
        answered: Answered,
        /// The records.
        entries: Vec<MemberEntry>,
    },
    /// Asks somebody else to ping a member that the sender cannot reach.
    PingRequest {
        /// The sender's number for it.
        nonce: u32,
        /// The member.
        target: Contact,
    },
    /// Asks a member for a sign of life.
    Ping {
        /// The sender's number for it.
        nonce: u32,
    },
    /// The sign of life.
    Pong {
        /// The number that was asked with.
        nonce: u32,
        /// The heartbeat.
        beat: Beat,
    },
    /// What became of a ping on behalf of the receiver.
    PingAnswer {
        /// The number that was asked with.
        nonce: u32,
        /// The heartbeat that came back, if one did.
        beat: Option<Beat>,
    },
    /// News for everybody, on its way from neighbour to neighbour.
    News(Vec<Rumor>),
}

impl Element for Beat {
    const LEN_MIN: usize = 11;
}

impl Element for Life {
    const LEN_MIN: usize = 8;
}

impl Element for MemberEntry {
    const LEN_MIN: usize = NODE_ID_LEN + 11;
}

impl Element for Rumor {
    const LEN_MIN: usize = 10;
}

impl MembersFrame {
    /// Tells the one channel that a frame of this kind travels on.
    pub(super) fn channel(&self) -> Channel {
        match self {
            Self::Beats { .. } => Channel::Lazy,
            Self::Pull(_) | Self::Push { .. } => Channel::Sync,
            Self::PingRequest { .. }
            | Self::Ping { .. }
            | Self::Pong { .. }
            | Self::PingAnswer { .. }
            | Self::News(_) => Channel::Control,
        }
    }

    pub(super) fn kind(&self) -> u16 {
        match self {
            Self::Beats { .. } => kinds::BEATS,
            Self::Pull(Wanted::Page(_)) => kinds::MEMBERS_PULL_PAGE,
            Self::Pull(Wanted::Lives(_)) => kinds::MEMBERS_PULL,
            Self::Push { .. } => kinds::MEMBERS_PUSH,
            Self::PingRequest { .. } => kinds::PING_REQUEST,
            Self::Ping { .. } => kinds::PING,
            Self::Pong { .. } => kinds::PONG,
            Self::PingAnswer { .. } => kinds::PING_ANSWER,
            Self::News(_) => kinds::MEMBERS_NEWS,
        }
    }

    pub(super) fn read(fields: &mut Fields) -> Result<Option<Self>, DecodeError> {
        Ok(Some(match fields.kind() {
            kinds::BEATS => {
                Self::Beats { asks: fields.next()?, again_ms: fields.next()?, beats: fields.list(BEATS_MAX)? }
            }
            kinds::MEMBERS_PULL_PAGE => Self::Pull(Wanted::Page(fields.next()?)),
            kinds::MEMBERS_PULL => Self::Pull(Wanted::Lives(fields.list(LIVES_MAX)?)),
            kinds::MEMBERS_PUSH => {
                Self::Push { answered: fields.next()?, entries: fields.list(ENTRIES_MAX)? }
            }
            kinds::PING_REQUEST => Self::PingRequest { nonce: fields.next()?, target: fields.next()? },
            kinds::PING => Self::Ping { nonce: fields.next()? },
            kinds::PONG => Self::Pong { nonce: fields.next()?, beat: fields.next()? },
            kinds::PING_ANSWER => Self::PingAnswer { nonce: fields.next()?, beat: fields.next()? },
            kinds::MEMBERS_NEWS => Self::News(fields.list(RUMORS_MAX)?),
            _ => return Ok(None),
        }))
    }

    pub(super) fn encode_body(&self, out: &mut Vec<u8>) {
        match self {
            Self::Beats { asks, again_ms, beats } => put(&(asks, again_ms, beats), out),
            Self::Pull(Wanted::Page(from)) => put(from, out),
            Self::Pull(Wanted::Lives(lives)) => put(lives, out),
            Self::Push { answered, entries } => put(&(answered, entries), out),
            Self::PingRequest { nonce, target } => put(&(nonce, target), out),
            Self::Ping { nonce } => put(nonce, out),
            Self::Pong { nonce, beat } => put(&(nonce, beat), out),
            Self::PingAnswer { nonce, beat } => put(&(nonce, beat), out),
            Self::News(rumors) => put(rumors, out),
        }
    }

    pub(super) fn body_len(&self) -> usize {
        match self {
            Self::Beats { asks: _, again_ms, beats } => 1 + varint_len(*again_ms) + list_len(beats, beat_len),
            Self::Pull(Wanted::Page(from)) => varint_len(*from),
            Self::Pull(Wanted::Lives(lives)) => list_len(lives, |_| 8),
            Self::Push { answered, entries } => answered_len(answered) + list_len(entries, entry_len),
            Self::PingRequest { nonce, target } => varint_len(*nonce) + contact_len(target),
            Self::Ping { nonce } => varint_len(*nonce),
            Self::Pong { nonce, beat } => varint_len(*nonce) + beat_len(beat),
            Self::PingAnswer { nonce, beat } => varint_len(*nonce) + 1 + beat.as_ref().map_or(0, beat_len),
            Self::News(rumors) => list_len(rumors, rumor_len),
        }
    }
}

fn beat_len(Beat { life: _, counter, revision, age_ms }: &Beat) -> usize {
    8 + varint_len(*counter) + varint_len(*revision) + varint_len(*age_ms)
}

fn answered_len(answered: &Answered) -> usize {
    match answered {
        Answered::Lives | Answered::LastPage => 1,
        Answered::Page(next) => 1 + varint_len(*next),
    }
}

fn rumor_len(rumor: &Rumor) -> usize {
    1 + match rumor {
        Rumor::Record(entry) => entry_len(entry),
        Rumor::Suspect { life: _, counter } => 8 + varint_len(*counter),
        Rumor::Alive(beat) => beat_len(beat),
    }
}

fn entry_len(MemberEntry { record, counter, age_ms }: &MemberEntry) -> usize {
    let MemberRecord { contact, revision, state: _, weight: _, zone, cluster } = &**record;
    let cluster =
        varint_len(cluster.heartbeat_ms) + varint_len(cluster.ttl_ms) + varint_len(cluster.ring_size);
    let numbers = varint_len(*revision) + varint_len(*zone) + varint_len(*counter) + varint_len(*age_ms);
    contact_len(contact) + 2 + numbers + cluster
}

impl Folded for MembersFrame {
    fn fold(&self, into: &mut Fold) {
        match self {
            Self::Beats { asks, again_ms, beats } => {
                into.word(u64::from(*asks) | u64::from(*again_ms) << 1);
                fold_list(beats, into);
            }
            Self::Pull(Wanted::Page(from)) => into.word(u64::from(*from)),
            Self::Pull(Wanted::Lives(lives)) => fold_list(lives, into),
            Self::Push { answered, entries } => {
                into.word(match answered {
                    Answered::Lives => 0,
                    Answered::Page(next) => 1 | u64::from(*next) << 32,
                    Answered::LastPage => 2,
                });
                fold_list(entries, into);
            }
            Self::PingRequest { nonce, target } => {
                into.word(u64::from(*nonce));
                into.value(target);
            }
            Self::Ping { nonce } => into.word(u64::from(*nonce)),
            Self::Pong { nonce, beat } => {
                into.word(u64::from(*nonce));
                into.value(beat);
            }
            Self::PingAnswer { nonce, beat } => {
                into.word(u64::from(*nonce) | u64::from(beat.is_some()) << 32);
                beat.iter().for_each(|beat| into.value(beat));
            }
            Self::News(rumors) => fold_list(rumors, into),
        }
    }
}

fn fold_list<T: Folded>(list: &[T], into: &mut Fold) {
    into.word(list.len() as u64);
    list.iter().for_each(|element| into.value(element));
}

impl Folded for Life {
    fn fold(&self, into: &mut Fold) {
        into.word(self.0);
    }
}

impl Folded for Beat {
    #[inline]
    fn fold(&self, into: &mut Fold) {
        let Self { life, counter, revision, age_ms } = self;
        into.pair(life.0, u64::from(*counter));
        into.word(u64::from(*revision) | u64::from(*age_ms) << 32);
    }
}

impl Folded for Rumor {
    fn fold(&self, into: &mut Fold) {
        match self {
            Self::Record(entry) => {
                into.word(0);
                into.value(entry);
            }
            Self::Suspect { life, counter } => into.pair(1 | u64::from(*counter) << 32, life.0),
            Self::Alive(beat) => {
                into.word(2);
                into.value(beat);
            }
        }
    }
}

impl Folded for MemberEntry {
    fn fold(&self, into: &mut Fold) {
        let Self { record, counter, age_ms } = self;
        let MemberRecord { contact, revision, state, weight, zone, cluster } = &**record;
        into.value(contact);
        into.word(u64::from(*revision) | (*state as u64) << 32 | u64::from(*weight) << 40);
        into.word(*zone);
        into.word(cluster.heartbeat_ms);
        into.word(cluster.ttl_ms);
        into.word(u64::from(cluster.ring_size));
        into.word(u64::from(*counter) | u64::from(*age_ms) << 32);
    }
}

/// A shared record in the form of the record itself.
mod shared {
    use super::{Arc, MemberRecord};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        record: &Arc<MemberRecord>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        (**record).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Arc<MemberRecord>, D::Error> {
        MemberRecord::deserialize(deserializer).map(Arc::new)
    }
}
