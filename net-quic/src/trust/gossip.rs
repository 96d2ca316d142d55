//! How statements reach everybody: over a topic of the cluster, by a task that sits between the node and its judge.

use super::admission::Admission;
use super::revocation::Revocation;
use super::rotation::Rotation;
use crate::request::{Hearer, Request};
use bytes::Bytes;
use rumormill_core::{Class, Command, Topic};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Weak};
use tokio::sync::{Notify, mpsc, oneshot};

/// The topic of statements. Whoever writes there convinces nobody without a signature.
pub(crate) const TOPIC: Topic = Topic(2_455_425_781);
/// Errands that wait; what does not fit is told at the next meeting.
pub(crate) const ERRANDS: usize = 64;

/// What everybody should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Statement {
    /// A node's key changed.
    Rotated(Vec<Rotation>),
    /// A key is in two hands.
    Forked(Box<(Rotation, Rotation)>),
    /// A key is revoked.
    Revoked(Revocation),
}

/// What there is to do between the node and its judge.
#[derive(Debug)]
pub(crate) enum Errand {
    /// Tell everybody.
    Tell(Bytes),
    /// Somebody told us.
    Heard(Bytes),
}

/// Where errands are given.
#[derive(Clone)]
pub(crate) struct Gossip {
    errands: mpsc::Sender<Errand>,
    /// Somebody who is connected may not be any more. No errand: a flood of those must not keep it waiting.
    expel: Arc<Notify>,
}

impl Gossip {
    pub(crate) fn new(errands: mpsc::Sender<Errand>) -> Self {
        Self { errands, expel: Arc::default() }
    }

    fn give(&self, errand: Errand) {
        if let Err(error) = self.errands.try_send(errand) {
            tracing::debug!(%error, "an errand of trust did not fit");
        }
    }

    pub(super) fn tell(&self, statement: &Statement) {
        let payload = postcard::to_allocvec(statement).expect("a statement has a form");
        self.give(Errand::Tell(payload.into()));
    }

    pub(super) fn expel(&self) {
        self.expel.notify_one();
    }

    /// Hands on what came over the topic.
    pub(crate) fn heard(&self, payload: Bytes) {
        self.give(Errand::Heard(payload));
    }

    /// What tells that somebody may not stay.
    pub(crate) fn expelling(&self) -> Arc<Notify> {
        self.expel.clone()
    }

    /// Runs errands until the node ends.
    pub(crate) async fn run(
        mut errands: mpsc::Receiver<Errand>,
        expel: Arc<Notify>,
        admission: Weak<Admission>,
        requests: mpsc::WeakSender<Request>,
    ) {
        loop {
            let request = tokio::select! {
                biased;
                () = expel.notified() => Some(Request::Expel),
                errand = errands.recv() => match errand {
                    Some(Errand::Tell(payload)) => Some(publish(payload)),
                    Some(Errand::Heard(payload)) => {
                        let Some(admission) = admission.upgrade() else { return };
                        if let Ok(statement) = postcard::from_bytes(&payload) {
                            admission.hear(statement);
                        }
                        None
                    }
                    None => return,
                },
            };
            let Some(request) = request else { continue };
            let Some(requests) = requests.upgrade() else { return };
            if requests.send(request).await.is_err() {
                return;
            }
        }
    }
}

/// Publishes a statement. Nobody waits for the answer: who is not reached is told at a meeting.
fn publish(payload: Bytes) -> Request {
    let (answer, _) = oneshot::channel();
    let command = Command::Publish { topic: TOPIC, class: Class::Urgent, payload };
    Request::Command { command, hearer: Hearer::Answer(answer) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topic_has_a_name() {
        assert_eq!(TOPIC, Topic::named("rumormill/trust"));
    }
}
