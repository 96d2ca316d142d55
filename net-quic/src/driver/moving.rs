//! The driver's part when the node, or a peer, moves to another address.

use super::Driver;
use crate::builder::reachable_at;
use crate::hello::Purpose;
use crate::request::Hearer;
use quinn::{AsyncUdpSocket, Connection};
use rumormill_core::{Command, Dialer, DownReason, Input, NodeId};
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Peers of a node that is moving.
#[derive(Debug, Default)]
pub(crate) struct Moving {
    /// Those whose connections move along, and how often each had asked whether the node is where it seems to be.
    pub(crate) along: Vec<(NodeId, Connection, u64)>,
    /// Those who had dialled the node: it dials them, and hears whether that came about.
    pub(crate) anew: Vec<(NodeId, oneshot::Receiver<bool>)>,
}

/// How often the other end of a connection has asked whether this one is where its packets come from.
pub(crate) fn challenges(connection: &Connection) -> u64 {
    connection.stats().frame_rx.path_challenge
}

impl Driver {
    /// Goes on with another socket, if one is given, and tells everybody.
    ///
    /// Only connections that this node dialled move along (RFC 9000, section 9); packets on the others come from where
    /// their peers do not look any more. So their peers are dialled, and the core hears of the new connection before it
    /// hears that the old one is gone: nobody loses a neighbour. What was under way on the old one is lost; mail is
    /// numbered and comes again.
    pub(super) fn on_move(
        &mut self,
        socket: Option<Arc<dyn AsyncUdpSocket>>,
        advertise: &[SocketAddr],
    ) -> io::Result<Moving> {
        let has_moved = socket.is_some();
        let ends = self.links.keys().filter(|(_, dialer)| *dialer == Dialer::Remote);
        let inbound: BTreeSet<NodeId> = ends.map(|(peer, _)| *peer).collect();
        let mut moving = Moving::default();
        if let Some(socket) = socket {
            let own = self.links.iter().filter(|((peer, _), _)| !inbound.contains(peer));
            let along = own.map(|((peer, _), (link, _))| {
                (*peer, link.connection().clone(), challenges(link.connection()))
            });
            moving.along = along.collect();
            self.tools.gate.endpoint().rebind_abstract(socket)?;
            self.tools.gate.hub().forget_accepted();
        }
        let towards = self.links.values().next().map(|(link, _)| link.connection().remote_address());
        let (local, _) = self.tools.gate.addrs();
        let token = self.token();
        self.hearers.expect(token, Hearer::Answer(oneshot::channel().0));
        let addrs = reachable_at(advertise, local, towards);
        self.step(Input::Command { token, command: Command::Move { addrs } });
        if has_moved {
            moving.anew = inbound.into_iter().filter_map(|peer| Some((peer, self.redial(peer)?))).collect();
        }
        Ok(moving)
    }

    fn redial(&mut self, peer: NodeId) -> Option<oneshot::Receiver<bool>> {
        let (_, introduced) = self.links.get(&(peer, Dialer::Remote))?;
        let known = self.node.members().and_then(|members| members.contact(&peer));
        let contact = known.unwrap_or(introduced).clone();
        let dial = self.tools.gate.dial(contact, Purpose::Moved);
        self.dials.insert(peer, dial).iter().for_each(tokio::task::AbortHandle::abort);
        let (redialled, hearing) = oneshot::channel();
        self.redials.insert(peer, redialled);
        Some(hearing)
    }

    /// A dial came about: where it stands in for what the peer had dialled, that is over.
    pub(super) fn on_redialled(&mut self, peer: NodeId, purpose: Purpose) {
        if purpose == Purpose::Moved {
            self.give_up(peer, Dialer::Remote);
        }
        let is_linked = self.links.contains_key(&(peer, Dialer::Local));
        self.redials.remove(&peer).map(|redialled| redialled.send(is_linked));
    }

    /// A peer has moved and dialled: what this node had dialled leads where the peer was.
    pub(super) fn on_moved(&mut self, peer: NodeId) {
        if self.links.contains_key(&(peer, Dialer::Remote)) {
            self.give_up(peer, Dialer::Local);
            self.tools.gate.hub().forget_dialled(&peer);
        }
    }

    fn give_up(&mut self, peer: NodeId, dialer: Dialer) {
        if let Some((link, _)) = self.links.remove(&(peer, dialer)) {
            link.abort();
            self.step(Input::LinkDown { peer, dialer, reason: DownReason::Closed });
        }
    }
}
