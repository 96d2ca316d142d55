//! News of members that everybody shall hear at once, as broadcasts.

use super::{Event, ME, Members};
use crate::frame::{Beat, MemberEntry, put};
use crate::id::NodeId;
use crate::machine::Cx;
use crate::member::Life;
use alloc::vec::Vec;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// News in one broadcast at most.
const NEWS_MAX: usize = 16;

/// One piece of news.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Told {
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

impl Members {
    pub(super) fn publish_me(&mut self, cx: &Cx<'_>) {
        self.publish(&Told::Record(self.entry(ME, cx)));
    }

    pub(super) fn publish_entry(&mut self, entry: &MemberEntry) {
        self.publish(&Told::Record(entry.clone()));
    }

    pub(super) fn publish_alive(&mut self, cx: &Cx<'_>) {
        self.publish(&Told::Alive(self.beat(ME, cx)));
    }

    pub(super) fn publish_suspicion(&mut self, life: Life, counter: u32) {
        self.publish(&Told::Suspect { life, counter });
    }

    fn publish(&mut self, told: &Told) {
        let mut bytes = Vec::new();
        put(told, &mut bytes);
        self.events.push_back(Event::Publish { payload: Bytes::from(bytes) });
    }

    pub(super) fn on_news(&mut self, from: NodeId, payload: &[u8], cx: &mut Cx<'_>) {
        if !self.is_running {
            return;
        }
        let Some(news) = decode(payload) else {
            cx.stats.malformed += 1;
            return self.events.push_back(Event::Malformed { from });
        };
        for told in news {
            match told {
                Told::Record(entry) => self.on_entry(from, &entry, 0, cx),
                Told::Suspect { life, counter } => self.on_suspected(from, life, counter, cx),
                Told::Alive(beat) => {
                    self.on_beat(&beat, 0, cx);
                }
            }
        }
    }
}

/// Reads one piece of news after another, to the last byte.
fn decode(mut payload: &[u8]) -> Option<Vec<Told>> {
    let mut news = Vec::new();
    while !payload.is_empty() {
        if news.len() == NEWS_MAX {
            return None;
        }
        let (told, rest) = postcard::take_from_bytes(payload).ok()?;
        news.push(told);
        payload = rest;
    }
    Some(news)
}
