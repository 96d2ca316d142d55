//! What a node tells its user of trust: whom it refused and why, keys that changed, were stolen or revoked.

use super::refusal::Refusal;
use rumormill_core::NodeId;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

/// Notices that a slow reader may be behind.
const ROOM: usize = 256;
/// Refusals that are remembered. A guess: what somebody reads who asks why a node does not come in.
const LAST: usize = 16;
/// How often one reason is logged as a warning: who is refused must not fill the disk.
const WARN_EVERY: Duration = Duration::from_secs(1);

/// Something about trust that concerns whoever operates the node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// Somebody was refused.
    Refused {
        /// Where it is.
        addr: SocketAddr,
        /// Why.
        reason: Refusal,
    },
    /// A node has a new key; its pin has followed.
    Rotated {
        /// The node.
        node: NodeId,
        /// Its name.
        name: String,
        /// Its new key.
        key: NodeId,
    },
    /// A key is in two hands: it was rotated to two different keys. The name is frozen until its pin is removed.
    Forked {
        /// The node.
        node: NodeId,
        /// Its name.
        name: String,
    },
    /// A key was revoked.
    Revoked {
        /// The key.
        key: NodeId,
    },
}

/// Somebody who was refused, or who refused this node ([`Refusal::ByPeer`]).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refused {
    /// Where it is.
    pub addr: SocketAddr,
    /// Why.
    pub reason: Refusal,
    /// How often, this time included, as long as it is remembered.
    pub times: u64,
    /// How long ago the last time was.
    pub ago: Duration,
}

/// A stream of notices, from when it was asked for. Dropping it ends it.
pub struct Notices {
    receiver: broadcast::Receiver<Notice>,
    missed: u64,
}

impl Notices {
    /// Waits for the next notice; `None` when the node has ended.
    pub async fn recv(&mut self) -> Option<Notice> {
        loop {
            match self.receiver.recv().await {
                Ok(notice) => return Some(notice),
                Err(RecvError::Lagged(count)) => self.missed += count,
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// Tells how many notices were lost since this was asked last, because nobody took the earlier ones.
    pub fn take_missed(&mut self) -> u64 {
        std::mem::take(&mut self.missed)
    }
}

/// Who tells people of a refusal in a line of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// This board.
    Here,
    /// Whoever tried: it says what came of that. A second line would say the same.
    ByCaller,
}

/// Where notices are put up, and refusals counted.
pub(crate) struct Board {
    sender: broadcast::Sender<Notice>,
    refused: Mutex<BTreeMap<&'static str, Count>>,
    last: Mutex<VecDeque<(SocketAddr, Refusal, u64, Instant)>>,
}

#[derive(Default)]
struct Count {
    count: u64,
    warned: Option<Instant>,
}

impl Default for Board {
    fn default() -> Self {
        Self { sender: broadcast::channel(ROOM).0, refused: Mutex::default(), last: Mutex::default() }
    }
}

impl Board {
    /// Tells whoever listens.
    pub(crate) fn tell(&self, notice: Notice) {
        let _ = self.sender.send(notice);
    }

    pub(crate) fn listen(&self) -> Notices {
        Notices { receiver: self.sender.subscribe(), missed: 0 }
    }

    /// Counts, logs and tells a refusal.
    pub(crate) fn refused(&self, addr: SocketAddr, reason: &Refusal, told: Told) {
        let now = Instant::now();
        let is_loud = {
            let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            let count = refused.entry(reason.kind()).or_default();
            count.count += 1;
            let is_due = told == Told::Here && count.warned.is_none_or(|warned| now - warned >= WARN_EVERY);
            count.warned = if is_due { Some(now) } else { count.warned };
            is_due
        };
        if is_loud {
            tracing::warn!(%addr, kind = reason.kind(), %reason, "refused");
        } else {
            tracing::debug!(%addr, kind = reason.kind(), %reason, "refused");
        }
        self.remember(addr, reason, now);
        self.tell(Notice::Refused { addr, reason: reason.clone() });
    }

    fn remember(&self, addr: SocketAddr, reason: &Refusal, now: Instant) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever tries again does so from another port as often as not.
        let is_same =
            |(known, why, ..): &(SocketAddr, Refusal, _, _)| known.ip() == addr.ip() && why == reason;
        let before = last.iter().position(is_same).and_then(|at| last.remove(at));
        let times = before.map_or(0, |(_, _, times, _)| times) + 1;
        if last.len() >= LAST {
            last.pop_front();
        }
        last.push_back((addr, reason.clone(), times, now));
    }

    /// Lists the last refusals, the latest first.
    pub(crate) fn last(&self) -> Vec<Refused> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = |(addr, reason, times, at): &(SocketAddr, Refusal, u64, Instant)| Refused {
            addr: *addr,
            reason: reason.clone(),
            times: *times,
            ago: at.elapsed(),
        };
        last.iter().rev().map(refused).collect()
    }

    /// Counts refusals by reason.
    pub(crate) fn counts(&self) -> BTreeMap<&'static str, u64> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.iter().map(|(kind, count)| (*kind, count.count)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reader_that_sleeps_loses_notices_and_is_told_how_many() {
        let board = Board::default();
        let mut notices = board.listen();
        let addr: SocketAddr = "127.0.0.1:1".parse().expect("an address");
        for _ in 0..ROOM + 3 {
            board.refused(addr, &Refusal::WrongSecret, Told::Here);
        }
        board.refused(addr, &Refusal::WeakKey, Told::Here);
        assert_eq!(board.counts(), BTreeMap::from([("weak-key", 1), ("wrong-secret", ROOM as u64 + 3)]));
        let last = board.last();
        let last: Vec<_> = last.iter().map(|it| (it.addr, it.reason.kind(), it.times)).collect();
        assert_eq!(
            last,
            [(addr, "weak-key", 1), (addr, "wrong-secret", ROOM as u64 + 3)],
            "the latest first"
        );
        for host in 0..2 * LAST as u8 {
            board.refused(
                (std::net::Ipv4Addr::new(10, 0, 0, host), 1).into(),
                &Refusal::WrongSecret,
                Told::Here,
            );
        }
        assert_eq!(board.last().len(), LAST);
        drop(board);
        let mut heard = 0;
        while notices.recv().await.is_some() {
            heard += 1;
        }
        assert_eq!((heard, notices.take_missed(), notices.take_missed()), (ROOM, 4 + 2 * LAST as u64, 0));
    }
}
