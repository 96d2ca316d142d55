//! The driver's part when two processes run with the key of one node, and live the same life: one has a copy of the folder of the
//! other, and both came up from the same marks. Nobody could tell them apart, so mail for one would come to the other.

use super::Driver;
use crate::connection::COPIED;
use crate::handshake::Peer;
use quinn::Connection;
use rumormill_core::{Dialer, DownReason, Incarnation, Input, NodeId};
use std::collections::BTreeMap;
use std::num::NonZeroU32;

/// Nodes of which it is remembered that two processes were told. A guess: more than ever stand in one cluster by mistake.
const COPIES_MAX: usize = 64;

/// Which processes of which lives were told of each other.
#[derive(Default)]
pub(super) struct Copies(BTreeMap<NodeId, (Incarnation, [NonZeroU32; 2])>);

impl Copies {
    /// Notes that two processes of a node are told of each other. Tells whether that is new.
    fn note(&mut self, peer: &Peer, mut processes: [NonZeroU32; 2]) -> bool {
        processes.sort_unstable();
        if self.0.len() >= COPIES_MAX && !self.0.contains_key(&peer.id) {
            self.0.clear(); // then some are told once more
        }
        let pair = (peer.incarnation, processes);
        self.0.insert(peer.id, pair) != Some(pair)
    }
}

impl Driver {
    /// Finds another process than the one that has come, connected as the same life of the same node.
    pub(super) fn other_process(&self, peer: &Peer) -> Option<[NonZeroU32; 2]> {
        let process = peer.process?;
        let ends = [Dialer::Local, Dialer::Remote];
        let links = ends.into_iter().filter_map(|dialer| self.links.get(&(peer.id, dialer)));
        let same_life = links.filter(|(_, known)| known.incarnation() == peer.incarnation);
        let other = same_life.filter_map(|(link, _)| link.process()).find(|other| *other != process)?;
        Some([process, other])
    }

    /// Of two such processes the first one stays, and the other is refused. Both are told, the first one once: it loses its
    /// connection over it, and may come back.
    pub(super) fn on_copy(
        &mut self,
        dialer: Dialer,
        connection: &Connection,
        peer: &Peer,
        processes: [NonZeroU32; 2],
    ) {
        connection.close(COPIED, b"");
        let is_new = self.copies.note(peer, processes);
        if dialer == Dialer::Local {
            self.step(Input::LinkDown { peer: peer.id, dialer, reason: DownReason::Refused });
        }
        for dialer in [Dialer::Local, Dialer::Remote].into_iter().filter(|_| is_new) {
            if let Some((link, _)) = self.links.remove(&(peer.id, dialer)) {
                link.tell_copied();
                self.step(Input::LinkDown { peer: peer.id, dialer, reason: DownReason::Closed });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hello::Purpose;

    #[test]
    fn two_processes_are_told_once_and_few_are_remembered() {
        let mut copies = Copies::default();
        let [one, two, three] = [1, 2, 3].map(|number| NonZeroU32::new(number).expect("a number"));
        let peer = |number: u8, life: u64| Peer {
            id: NodeId([number; 32]),
            name: "twin".into(),
            incarnation: Incarnation(life),
            process: Some(one),
            version: 1,
            purpose: Purpose::Link,
            addrs: Vec::new(),
        };
        assert!(copies.note(&peer(0, 5), [one, two]));
        assert!(!copies.note(&peer(0, 5), [two, one]), "whichever came first");
        assert!(copies.note(&peer(0, 5), [one, three]));
        assert!(copies.note(&peer(0, 6), [one, three]), "another life");
        for number in 1..=COPIES_MAX as u8 {
            assert!(copies.note(&peer(number, 5), [one, two]));
            assert!(copies.0.len() <= COPIES_MAX);
        }
    }
}
