//! The letters of a mailbox: what waits in it is bounded by number and by bytes.

use bytes::Bytes;
use rumormill_core::{Address, MailLoss, Question};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::mpsc::{self, error::TrySendError};

/// Letters that wait in a mailbox at most.
pub(crate) const LETTERS_MAX: usize = 4 * crate::builder::ARRIVALS;
/// Bytes that wait in a mailbox before mail is held back. A guess: far more than a reader that keeps up leaves waiting.
pub(crate) const BYTES_HELD: usize = 32 << 20;
/// Letters, or messages of a topic, that must find room once more are held back: everything that has come and is not
/// delivered yet.
pub(crate) const ROOM_LEFT: usize = 2 * crate::builder::ARRIVALS;

/// What comes to a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Letter {
    /// Messages.
    Mail {
        /// Who sent them.
        from: Address,
        /// The messages: at least one.
        payloads: Vec<Bytes>,
    },
    /// A question that waits for an answer.
    Asked {
        /// What to answer it by.
        question: Question,
        /// The question.
        payload: Bytes,
    },
    /// A mailbox that it was linked with is gone, and it with that one: the last letter.
    Closed {
        /// The other one.
        because_of: Address,
        /// Why that one is gone.
        reason: MailLoss,
    },
}

impl Letter {
    /// Bytes that it takes while it waits, but for what its payloads are slices of.
    fn len(&self) -> usize {
        let taken = |payload: &Bytes| size_of::<Bytes>() + payload.len();
        match self {
            Self::Mail { payloads, .. } => payloads.iter().map(taken).sum(),
            Self::Asked { payload, .. } => taken(payload),
            Self::Closed { .. } => 0,
        }
    }
}

/// Makes both ends of a mailbox.
pub(crate) fn letters() -> (Slot, Letters) {
    let (sender, receiver) = mpsc::channel(LETTERS_MAX);
    let waiting = Arc::new(AtomicUsize::new(0));
    (Slot { sender, waiting: waiting.clone() }, Letters { receiver, waiting })
}

/// Where letters are put in.
pub(crate) struct Slot {
    sender: mpsc::Sender<Letter>,
    waiting: Arc<AtomicUsize>,
}

impl Slot {
    /// Puts a letter in, unless the mailbox is full or its owner gone.
    pub(crate) fn put(&self, letter: Letter) -> Result<(), TrySendError<Letter>> {
        let len = letter.len();
        self.waiting.fetch_add(len, Relaxed); // before its reader takes it off again
        self.sender.try_send(letter).inspect_err(|_| {
            self.waiting.fetch_sub(len, Relaxed);
        })
    }

    /// Tells whether mail must wait with its senders until some was read.
    pub(crate) fn is_crowded(&self) -> bool {
        self.sender.capacity() <= ROOM_LEFT || self.waiting.load(Relaxed) >= BYTES_HELD
    }
}

/// Where they are read.
pub(crate) struct Letters {
    receiver: mpsc::Receiver<Letter>,
    waiting: Arc<AtomicUsize>,
}

impl Letters {
    /// Waits for the next one; `None` when the node has ended. Who breaks off this future loses none.
    pub(crate) async fn recv(&mut self) -> Option<Letter> {
        let letter = self.receiver.recv().await?;
        self.waiting.fetch_sub(letter.len(), Relaxed);
        Some(letter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rumormill_core::{Incarnation, MailboxId, NodeId};

    /// A letter of two payloads that takes so much.
    fn mail(taken: usize) -> Letter {
        let from = Address { node: NodeId([1; 32]), incarnation: Incarnation(1), mailbox: MailboxId(1) };
        let payloads = vec![Bytes::from(vec![0; taken - 2 * size_of::<Bytes>()]), Bytes::new()];
        Letter::Mail { from, payloads }
    }

    #[tokio::test]
    async fn long_letters_crowd_a_mailbox_by_their_bytes_until_they_are_read() {
        let (slot, mut letters) = letters();
        for _ in 1..BYTES_HELD >> 20 {
            slot.put(mail(1 << 20)).expect("room");
        }
        slot.put(mail((1 << 20) - 1)).expect("room");
        assert!(!slot.is_crowded(), "one byte is left");
        slot.put(mail(64)).expect("held back is not full");
        assert!(slot.is_crowded());
        letters.recv().await.expect("a letter");
        assert!(!slot.is_crowded(), "some was read");
    }

    #[tokio::test]
    async fn what_finds_no_room_does_not_count_as_waiting() {
        let (slot, mut letters) = letters();
        for _ in 0..LETTERS_MAX - ROOM_LEFT - 1 {
            slot.put(mail(64)).expect("room");
        }
        assert!(!slot.is_crowded());
        slot.put(mail(64)).expect("room");
        assert!(slot.is_crowded(), "by their number");
        for _ in 0..ROOM_LEFT {
            slot.put(mail(64)).expect("room for what was under way");
        }
        assert!(matches!(slot.put(mail(BYTES_HELD)), Err(TrySendError::Full(_))));
        for _ in 0..LETTERS_MAX {
            letters.recv().await.expect("a letter");
        }
        assert!(!slot.is_crowded(), "the refused one does not wait");
        drop(letters);
        assert!(matches!(slot.put(mail(64)), Err(TrySendError::Closed(_))));
    }
}
