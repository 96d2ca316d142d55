//! The network between simulated nodes, in QUIC's language.
//!
//! A connection is a directed pair (dialer, acceptor): crossing dials make two. Faults act on packets; what comes of
//! them is delay on a stream, loss of a datagram, and in the end an idle timeout.
//!
//! - **Handshake** (profile `quic`): four packets, each lost or cut like any other and sent again after the probe
//!   timeout. The acceptor is up after three one-way latencies, the dialer after four. A dead target is silence.
//! - **Streams**: a frame arrives no earlier than the one before it on its channel, however often its packets were
//!   lost. A frame's fate is settled when it leaves, with the noise of that moment.
//! - **Cuts**: frames sent into a cut wait and leave with the sender's next probe after the heal. An end that hears
//!   nothing closes by the idle timeout, less the phase of the last keep-alive it heard.
//! - **Silence**: keep-alives are sent every quarter of the idle timeout. An end whose other end is gone without a
//!   word hears nothing; once the other process runs and both directions pass, its next packet, a keep-alive at the
//!   latest, is answered by a reset.
//! - **Close**: the peer learns of it after everything that was sent before. The packet is not repeated: behind a cut
//!   the peer is left to its idle timeout or to a reset.
//!
//! Profile `ideal` has no handshake and no background loss; a crash breaks connections one latency later. Cuts and
//! noise act on it in the same way, if a schedule asks for them.

pub(crate) mod connection;
mod fate;
mod latency;
#[cfg(test)]
mod tests;

use crate::agenda::{Agenda, Happening};
use crate::draw::{Domain, Draws, number_of};
use crate::faults::Faults;
use crate::schedule::{NetworkModel, Profile};
use connection::{ACCEPTOR, ConnectionId, Connections, DIALER, Held, Links, NEVER, State, dialer_of};
use fate::{Fate, Fates, Subject};
use rumormill_core::{Channel, Dialer, DownReason, Frame, Input, NodeId};

/// The last packet of a handshake: the dialer is up once it arrives.
const LAST_LEG: u8 = 3;
/// Bytes of a handshake packet, for receipts: QUIC pads them (RFC 9000, section 14.1).
const LEG_LEN: u32 = 1_200;
/// A dial or a close is told apart from all frames by its fingerprint.
const LEG_FINGERPRINT: u64 = 0x1E6;
/// Doublings of the wait for a handshake packet at most.
const ATTEMPT_SHIFT_MAX: u32 = 16;

/// A frame to be carried.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Parcel {
    pub(crate) channel: Channel,
    /// Its length on the wire in bytes.
    pub(crate) len: u32,
    pub(crate) frame: Frame,
}

/// What a node's driver would hand to it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Arrival {
    Up { peer: u32, dialer: Dialer },
    Down { peer: u32, dialer: Dialer, reason: DownReason },
    Frame { from: u32, channel: Channel, frame: Frame },
    Ready { peer: u32, channel: Channel },
}

/// What is known of a frame that arrives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mail {
    pub(crate) connection: ConnectionId,
    pub(crate) sender: u8,
    pub(crate) left_ns: u64,
    pub(crate) channel: Channel,
    pub(crate) len: u32,
}

/// What the network may touch outside itself.
pub(crate) struct Cx<'a> {
    pub(crate) agenda: &'a mut Agenda,
    pub(crate) faults: &'a mut Faults,
    /// Where arrivals at the node in hand go, in order.
    pub(crate) arrivals: &'a mut Vec<Arrival>,
}

/// One node's process as the network sees it.
#[derive(Clone, Debug)]
struct Host {
    id: NodeId,
    is_up: bool,
    /// Whether it neither sends nor acknowledges anything.
    is_paused: bool,
    life: u32,
    uplink_free_ns: u64,
    links: Links,
    /// Connections that its last life has left to their other sides.
    ghosts: Vec<ConnectionId>,
}

/// What the network has carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Carried {
    /// Frames that left without any connection to carry them.
    pub(crate) unroutable: u64,
    /// Frames that found nobody any more when they arrived, or were given up behind a cut.
    pub(crate) dropped: u64,
}

/// The network.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    model: NetworkModel,
    draws: Draws,
    fates: Fates,
    hosts: Vec<Host>,
    connections: Connections,
    /// Dials that are under way.
    opening: u64,
    pub(crate) carried: Carried,
}

impl Network {
    pub(crate) fn new(nodes: u32, model: NetworkModel, draws: Draws) -> Self {
        let host = |number| Host {
            id: draws.node_id(number),
            is_up: false,
            is_paused: false,
            life: 0,
            uplink_free_ns: 0,
            links: Links::default(),
            ghosts: Vec::new(),
        };
        let loss_ppm = if model.profile == Profile::Ideal { 0 } else { model.loss_ppm };
        Self {
            fates: Fates::new(draws, loss_ppm),
            hosts: (0..nodes).map(host).collect(),
            connections: Connections::default(),
            opening: 0,
            carried: Carried::default(),
            model,
            draws,
        }
    }

    /// Finds the number of a node.
    #[inline]
    pub(crate) fn number(&self, id: &NodeId) -> Option<u32> {
        let number = number_of(id);
        let host = self.hosts.get(usize::try_from(number).ok()?)?;
        (host.id == *id).then_some(number as u32)
    }

    pub(crate) fn id(&self, number: u32) -> NodeId {
        self.hosts[number as usize].id
    }

    /// Tells whether no dial is under way.
    pub(crate) fn is_quiet(&self) -> bool {
        self.opening == 0
    }

    /// Counts packets lost and frames doubled.
    pub(crate) fn noise(&self) -> (u64, u64) {
        (self.fates.lost, self.fates.doubled)
    }

    // --- what processes do

    /// A process comes up at a host. Whoever still holds a connection to its last life may now learn of its end.
    pub(crate) fn boot(&mut self, cx: &mut Cx<'_>, node: u32) {
        let host = &mut self.hosts[node as usize];
        (host.is_up, host.life) = (true, host.life + 1);
        for ghost in std::mem::take(&mut host.ghosts) {
            let Some(connection) = self.connections.get(ghost) else { continue };
            let side = usize::from(connection.sides[DIALER].node == node);
            self.listen(cx, ghost.index, side);
        }
    }

    /// The process of a host is gone, in mid-sentence.
    pub(crate) fn crash(&mut self, cx: &mut Cx<'_>, node: u32) {
        self.hosts[node as usize].is_up = false;
        for (index, side) in self.hosts[node as usize].links.all() {
            let now_ns = cx.agenda.now_ns;
            let connection = self.connections.at_mut(index);
            connection.sides[side].crashed_ns = now_ns;
            let (id, at_ns) = (connection.id, now_ns + connection.latency_ns);
            let (_, peer) = connection.path(side);
            if !self.leave(index, side, State::Lost) {
                continue;
            }
            self.hosts[node as usize].ghosts.push(id);
            if self.model.profile == Profile::Ideal {
                let (side, reason) = (1 - side as u8, DownReason::Reset);
                cx.agenda.push(at_ns, peer, node, Happening::Down { connection: id, side, reason });
            } else {
                self.listen(cx, index, 1 - side);
            }
        }
    }

    /// A process stops to do anything, or goes on.
    pub(crate) fn pause(&mut self, cx: &mut Cx<'_>, node: u32, is_paused: bool) {
        self.hosts[node as usize].is_paused = is_paused;
        for (index, side) in self.hosts[node as usize].links.all() {
            self.listen(cx, index, 1 - side);
        }
    }

    /// Looks again at every connection after cuts have come or gone: who is heard, and what may leave at last.
    pub(crate) fn cuts_changed(&mut self, cx: &mut Cx<'_>) {
        for node in 0..self.hosts.len() {
            for (index, side) in self.hosts[node].links.all() {
                self.listen(cx, index, side);
                self.release(cx, index, side);
            }
        }
    }

    /// A node dials another.
    pub(crate) fn dial(&mut self, cx: &mut Cx<'_>, from: u32, peer: NodeId) {
        let overdue_ns = cx.agenda.now_ns + self.model.handshake_timeout_ns;
        let Some(to) = self.number(&peer).filter(|to| *to != from) else {
            let input = Input::LinkDown { peer, dialer: Dialer::Local, reason: DownReason::Unreachable };
            let (life, input) = (self.hosts[from as usize].life, Box::new(input));
            return cx.agenda.push(overdue_ns, from, from, Happening::Input { life, input });
        };
        self.close(cx, from, peer, Some(Dialer::Local)); // an older dial, if the node has forgotten one
        let latency_ns = latency::one_way_ns(&self.model.latency, &self.draws, from, to);
        let id = self.connections.open(from, to, latency_ns);
        self.hosts[from as usize].links.set(to, DIALER, id.index);
        self.opening += 1;
        cx.agenda.push(overdue_ns, from, from, Happening::Overdue { connection: id });
        match self.model.profile {
            Profile::Quic => self.send_leg(cx, id, 0, 0),
            Profile::Ideal => self.connect(cx, id),
        }
    }

    /// Profile `ideal`: the dialer is up at once, the acceptor one latency later, before any frame.
    fn connect(&mut self, cx: &mut Cx<'_>, id: ConnectionId) {
        let now_ns = cx.agenda.now_ns;
        let connection = self.connections.at(id.index);
        let (latency_ns, (from, to)) = (connection.latency_ns, connection.path(DIALER));
        if let Some(fault) = cx.faults.cut(from, to).or_else(|| cx.faults.cut(to, from)) {
            return cx.faults.note(fault, (from, to), u64::from(LEG_LEN), 0);
        }
        if !self.hosts[to as usize].is_up {
            let (side, reason) = (DIALER as u8, DownReason::Refused);
            let refused = Happening::Down { connection: id, side, reason };
            return cx.agenda.push(now_ns + 2 * latency_ns, from, to, refused);
        }
        let latency_ns = latency_ns + cx.faults.delay(from, to, u64::from(LEG_LEN));
        self.connections.at_mut(id.index).sides[DIALER].lane.arrivals_ns =
            [now_ns + latency_ns; Channel::COUNT];
        let up = |side: usize| Happening::Established { connection: id, side: side as u8 };
        cx.agenda.push(now_ns, from, from, up(DIALER));
        cx.agenda.push(now_ns + latency_ns, to, from, up(ACCEPTOR));
    }

    /// A node sends a frame. Tells whether the channel has just become full.
    pub(crate) fn send(&mut self, cx: &mut Cx<'_>, from: u32, to: &NodeId, parcel: Parcel) -> bool {
        let Some((index, side)) = self.route(from, to) else {
            self.carried.unroutable += 1;
            return false;
        };
        let path = self.connections.at(index).path(side);
        let len = u64::from(parcel.len);
        let channel = parcel.channel;
        match cx.faults.cut(path.0, path.1) {
            None => self.transmit(cx, (index, side), cx.agenda.now_ns, parcel),
            Some(fault) if parcel.channel == Channel::Datagram => {
                cx.faults.note(fault, path, len, 0);
                self.carried.dropped += 1;
            }
            Some(fault) => {
                cx.faults.note(fault, path, len, 0);
                let held = Held { since_ns: cx.agenda.now_ns, fault, parcel };
                let lane = &mut self.connections.at_mut(index).sides[side].lane;
                lane.under_way[channel as usize] += len;
                lane.held.push(held);
            }
        }
        let lane = &mut self.connections.at_mut(index).sides[side].lane;
        lane.is_now_full(channel, self.model.high_water_bytes)
    }

    /// A node closes a connection to a peer, or both. A dial that is under way is given up.
    pub(crate) fn close(&mut self, cx: &mut Cx<'_>, from: u32, peer: NodeId, which: Option<Dialer>) {
        let Some(to) = self.number(&peer) else { return };
        let Some(link) = self.hosts[from as usize].links.get(to).copied() else { return };
        for side in [DIALER, ACCEPTOR] {
            if let Some(index) = link.connections[side]
                && which.is_none_or(|dialer| dialer as usize == side)
            {
                self.hang_up(cx, index, side);
            }
        }
    }

    /// Closes one side and tells the other, after everything that was sent before.
    fn hang_up(&mut self, cx: &mut Cx<'_>, index: u32, side: usize) {
        let connection = self.connections.at(index);
        let (id, latency_ns, path) = (connection.id, connection.latency_ns, connection.path(side));
        let flushed_ns = connection.sides[side].lane.arrivals_ns.into_iter().max().unwrap_or(0);
        let cut = cx.faults.cut(path.0, path.1);
        let state = if cut.is_some() { State::Lost } else { State::Closed };
        if !self.leave(index, side, state) {
            return;
        }
        if let Some(fault) = cut {
            cx.faults.touch(fault, path.1);
            return self.listen(cx, index, 1 - side);
        }
        let at_ns = flushed_ns.max(cx.agenda.now_ns + latency_ns + cx.faults.delay(path.0, path.1, 0));
        let (side, reason) = (1 - side as u8, DownReason::Closed);
        cx.agenda.push(at_ns, path.1, path.0, Happening::Down { connection: id, side, reason });
    }

    // --- what packets do

    /// Picks the connection that carries frames: of two, the one that the smaller id dialled.
    #[inline]
    fn route(&self, from: u32, to: &NodeId) -> Option<(u32, usize)> {
        let host = &self.hosts[from as usize];
        let link = host.links.get(self.number(to)?)?;
        let is_up = |index: &u32, side: usize| self.connections.at(*index).sides[side].state == State::Up;
        let on = |side: usize| Some((link.connections[side].filter(|index| is_up(index, side))?, side));
        match link.connections {
            [Some(_), Some(_)] if host.id < *to => on(DIALER).or_else(|| on(ACCEPTOR)),
            [_, Some(_)] => on(ACCEPTOR).or_else(|| on(DIALER)),
            [_, None] => on(DIALER),
        }
    }

    /// Puts a frame on its way at `leave_ns`, and settles when it arrives.
    #[inline]
    fn transmit(&mut self, cx: &mut Cx<'_>, (index, side): (u32, usize), leave_ns: u64, parcel: Parcel) {
        let Parcel { channel, len, frame } = parcel;
        let leave_ns = self.through_uplink(self.connections.at(index).sides[side].node, leave_ns, len);
        let connection = self.connections.at_mut(index);
        let (id, path, latency_ns) = (connection.id, connection.path(side), connection.latency_ns);
        let probe_timeout_ns = connection.probe_timeout_ns();
        let is_datagram = channel == Channel::Datagram;
        let mut fate = Fate::default();
        if self.fates.is_active(cx.faults) {
            let subject =
                Subject { path, fingerprint: frame.fingerprint(), len, is_datagram, probe_timeout_ns };
            fate = self.fates.draw(subject, leave_ns, cx.faults);
        }
        if fate.is_lost {
            self.carried.dropped += 1;
            return;
        }
        let left_ns = leave_ns + fate.resent_ns;
        let under_way_ns = latency_ns + cx.faults.delay(path.0, path.1, u64::from(len)) + fate.held_back_ns;
        let lane = &mut connection.sides[side].lane;
        let mut at_ns = left_ns + under_way_ns;
        if !is_datagram {
            at_ns = at_ns.max(lane.arrivals_ns[channel as usize]);
            lane.arrivals_ns[channel as usize] = at_ns;
        }
        lane.under_way[channel as usize] += u64::from(len);
        let sender = side as u8;
        if is_datagram && fate.is_doubled {
            let copy = Happening::Copy { connection: id, sender, frame: frame.clone() };
            cx.agenda.push(at_ns, path.1, path.0, copy);
        }
        let happening = Happening::Frame { connection: id, sender, channel, len, left_ns, frame };
        cx.agenda.push(at_ns, path.1, path.0, happening);
    }

    /// Queues bytes at a host's uplink and tells when the last of them leaves.
    #[inline]
    fn through_uplink(&mut self, from: u32, at_ns: u64, len: u32) -> u64 {
        if self.model.uplink_bps == 0 {
            return at_ns;
        }
        let host = &mut self.hosts[from as usize];
        let spent_ns = u64::from(len) * 8_000_000_000 / self.model.uplink_bps;
        host.uplink_free_ns = host.uplink_free_ns.max(at_ns) + spent_ns;
        host.uplink_free_ns
    }

    /// Lets go what has waited behind a cut, with the sender's next probe.
    fn release(&mut self, cx: &mut Cx<'_>, index: u32, side: usize) {
        let keep_alive_ns = self.keep_alive_ns();
        let connection = self.connections.at_mut(index);
        let (path, probe_timeout_ns) = (connection.path(side), connection.probe_timeout_ns());
        let held = &mut connection.sides[side].lane.held;
        if held.is_empty() || cx.faults.cut(path.0, path.1).is_some() {
            return;
        }
        let held = std::mem::take(held);
        let now_ns = cx.agenda.now_ns;
        let leave_ns = next_probe_ns(held[0].since_ns, now_ns, probe_timeout_ns).min(now_ns + keep_alive_ns);
        for Held { since_ns, fault, parcel } in held {
            cx.faults.note_late(fault, leave_ns - since_ns);
            let lane = &mut self.connections.at_mut(index).sides[side].lane;
            lane.under_way[parcel.channel as usize] -= u64::from(parcel.len); // it is counted again just below
            self.transmit(cx, (index, side), leave_ns, parcel);
        }
    }

    /// Sends a packet of a handshake. What is lost or cut is sent again.
    fn send_leg(&mut self, cx: &mut Cx<'_>, id: ConnectionId, leg: u8, attempt: u32) {
        let now_ns = cx.agenda.now_ns;
        let connection = self.connections.at(id.index);
        let (path, latency_ns) = (connection.path(usize::from(leg & 1)), connection.latency_ns);
        let retry_ns = now_ns + (connection.probe_timeout_ns() << attempt.min(ATTEMPT_SHIFT_MAX));
        let mut is_lost = false;
        if let Some(fault) = cx.faults.cut(path.0, path.1) {
            cx.faults.note(fault, path, u64::from(LEG_LEN), 0);
            is_lost = true;
        } else if self.fates.is_active(cx.faults) {
            let fingerprint = LEG_FINGERPRINT << 8 | u64::from(leg);
            let subject =
                Subject { path, fingerprint, len: LEG_LEN, is_datagram: true, probe_timeout_ns: latency_ns };
            is_lost = self.fates.draw(subject, now_ns, cx.faults).is_lost;
        }
        if is_lost {
            let resend = Happening::Resend { connection: id, leg, attempt: attempt + 1 };
            return cx.agenda.push(retry_ns, path.0, path.0, resend);
        }
        let at_ns = now_ns + latency_ns + cx.faults.delay(path.0, path.1, u64::from(LEG_LEN));
        cx.agenda.push(at_ns, path.1, path.0, Happening::Leg { connection: id, leg, attempt });
    }

    // --- what happens at hosts

    /// Lets something happen. What it means for the node goes to `cx.arrivals`.
    pub(crate) fn handle(&mut self, cx: &mut Cx<'_>, happening: Happening) {
        match happening {
            Happening::Frame { connection, sender, channel, len, left_ns, frame } => {
                let mail = Mail { connection, sender, left_ns, channel, len };
                if let Some(from) = self.receive(cx, mail) {
                    cx.arrivals.push(Arrival::Frame { from, channel, frame });
                }
            }
            Happening::Copy { connection, sender, frame } => {
                self.on_copy(cx, connection, usize::from(sender), frame);
            }
            Happening::Ready { connection, side, channel } => {
                self.on_ready(cx, connection, usize::from(side), channel);
            }
            Happening::Leg { connection, leg, attempt } => self.on_leg(cx, connection, leg, attempt),
            Happening::Resend { connection, leg, attempt } => self.on_resend(cx, connection, leg, attempt),
            Happening::Established { connection, side } => self.establish(cx, connection, usize::from(side)),
            Happening::Overdue { connection } => self.on_overdue(cx, connection),
            Happening::Down { connection, side, reason } => {
                self.on_down(cx, connection, usize::from(side), reason);
            }
            Happening::Silence { connection, side } => self.on_silence(cx, connection, usize::from(side)),
            Happening::Wake | Happening::Drain | Happening::Written { .. } | Happening::Input { .. } => {}
        }
    }

    /// A frame arrives. Tells from whom, if there is still somebody to take it.
    #[inline]
    pub(crate) fn receive(&mut self, cx: &mut Cx<'_>, mail: Mail) -> Option<u32> {
        let Mail { connection: id, sender, left_ns, channel, len } = mail;
        let side = usize::from(sender);
        let Some(connection) = self.connections.get(id).filter(|it| it.sides[side].crashed_ns >= left_ns)
        else {
            self.carried.dropped += 1;
            return None;
        };
        let (from, to) = connection.path(side);
        let at_ns = cx.agenda.now_ns + connection.latency_ns;
        if connection.sides[side].lane.settle(channel, len, self.model.high_water_bytes) {
            cx.agenda.push(at_ns, from, to, Happening::Ready { connection: id, side: sender, channel });
        }
        match connection.sides[1 - side].state {
            State::Up => return Some(from),
            State::Opening => {
                // Only the dialer can be told anything while it is opening: the acknowledgement comes with it.
                self.establish(cx, id, 1 - side);
                return Some(from);
            }
            State::Closed => {}
            State::Lost if self.hosts[to as usize].is_up => {
                let reset = Happening::Down { connection: id, side: sender, reason: DownReason::Reset };
                cx.agenda.push(at_ns, from, to, reset);
            }
            State::Lost => {}
        }
        self.carried.dropped += 1;
        None
    }

    fn on_copy(&mut self, cx: &mut Cx<'_>, id: ConnectionId, sender: usize, frame: Frame) {
        let Some(connection) = self.connections.get(id) else { return };
        if connection.sides[1 - sender].state == State::Up {
            let (from, _) = connection.path(sender);
            cx.arrivals.push(Arrival::Frame { from, channel: Channel::Datagram, frame });
        }
    }

    fn on_ready(&mut self, cx: &mut Cx<'_>, id: ConnectionId, side: usize, channel: Channel) {
        let Some(connection) = self.connections.get(id) else { return };
        let (_, peer) = connection.path(side);
        let side = &mut connection.sides[side];
        if side.state == State::Up && side.lane.is_ready(channel, self.model.high_water_bytes) {
            cx.arrivals.push(Arrival::Ready { peer, channel });
        }
    }

    fn on_leg(&mut self, cx: &mut Cx<'_>, id: ConnectionId, leg: u8, attempt: u32) {
        let Some(connection) = self.connections.get(id) else { return };
        let receiver = 1 - usize::from(leg & 1);
        let (to, from) = connection.path(receiver);
        let Host { is_up, life, .. } = self.hosts[to as usize];
        if leg == 0 {
            connection.acceptor_life = life;
        }
        if !is_up || (receiver == ACCEPTOR && connection.acceptor_life != life) {
            // Nobody who knows of this handshake is there: silence, until the sender tries again.
            let wait_ns = connection.probe_timeout_ns() << attempt.min(ATTEMPT_SHIFT_MAX);
            let at_ns = cx.agenda.now_ns + wait_ns.saturating_sub(connection.latency_ns);
            let resend = Happening::Resend { connection: id, leg, attempt: attempt + 1 };
            return cx.agenda.push(at_ns, from, from, resend);
        }
        match leg {
            0 | 1 => self.send_leg(cx, id, leg + 1, 0),
            LAST_LEG => self.establish(cx, id, DIALER),
            _ => {
                self.establish(cx, id, ACCEPTOR);
                self.send_leg(cx, id, LAST_LEG, 0);
            }
        }
    }

    fn on_resend(&mut self, cx: &mut Cx<'_>, id: ConnectionId, leg: u8, attempt: u32) {
        let Some(connection) = self.connections.get(id) else { return };
        let sender = usize::from(leg & 1);
        let host = &self.hosts[connection.sides[sender].node as usize];
        let knows = host.is_up && (sender == DIALER || host.life == connection.acceptor_life);
        if knows && connection.sides[DIALER].state == State::Opening {
            self.send_leg(cx, id, leg, attempt);
        }
    }

    /// Brings a side up. At the acceptor it takes the place of an older connection from the same dialer.
    fn establish(&mut self, cx: &mut Cx<'_>, id: ConnectionId, side: usize) {
        let Some(connection) = self.connections.get(id).filter(|it| it.sides[side].state == State::Opening)
        else {
            return;
        };
        let ((me, peer), latency_ns) = (connection.path(side), connection.latency_ns);
        if !self.hosts[me as usize].is_up {
            let (at_ns, reason) = (cx.agenda.now_ns + latency_ns, DownReason::Reset);
            connection.sides[side].state = State::Lost;
            return cx.agenda.push(
                at_ns,
                peer,
                me,
                Happening::Down { connection: id, side: 1 - side as u8, reason },
            );
        }
        connection.sides[side].state = State::Up;
        if side == DIALER {
            self.opening -= 1;
        } else {
            let older = self.hosts[me as usize].links.get(peer).and_then(|link| link.connections[side]);
            if let Some(older) = older {
                self.lose(cx, older, side, DownReason::Reset);
            }
            self.hosts[me as usize].links.set(peer, side, id.index);
        }
        cx.arrivals.push(Arrival::Up { peer, dialer: dialer_of(side) });
        self.listen(cx, id.index, side); // a cut may have come in the meantime
    }

    fn on_overdue(&mut self, cx: &mut Cx<'_>, id: ConnectionId) {
        let Some(connection) = self.connections.get(id) else { return };
        if connection.sides[DIALER].state == State::Opening {
            let (_, peer) = connection.path(DIALER);
            self.hang_up(cx, id.index, DIALER);
            let (dialer, reason) = (Dialer::Local, DownReason::Unreachable);
            cx.arrivals.push(Arrival::Down { peer, dialer, reason });
        }
    }

    fn on_down(&mut self, cx: &mut Cx<'_>, id: ConnectionId, side: usize, reason: DownReason) {
        let Some(connection) = self.connections.get(id).filter(|it| it.exists(side)) else { return };
        let (me, peer) = connection.path(side);
        let is_cut_off = reason == DownReason::Reset && cx.faults.cut(peer, me).is_some();
        if !is_cut_off {
            self.lose(cx, id.index, side, reason);
        }
    }

    fn on_silence(&mut self, cx: &mut Cx<'_>, id: ConnectionId, side: usize) {
        let now_ns = cx.agenda.now_ns;
        let Some(connection) = self.connections.get(id) else { return };
        if connection.exists(side) && connection.sides[side].deaf_until_ns <= now_ns {
            self.lose(cx, id.index, side, DownReason::IdleTimeout);
        }
    }

    /// Ends a side without telling the other, and tells its node.
    fn lose(&mut self, cx: &mut Cx<'_>, index: u32, side: usize, reason: DownReason) {
        let (_, peer) = self.connections.at(index).path(side);
        if self.leave(index, side, State::Lost) {
            self.listen(cx, index, 1 - side);
        }
        cx.arrivals.push(Arrival::Down { peer, dialer: dialer_of(side), reason });
    }

    /// Takes a side away from its node. Forgets the connection unless the other side still exists, and tells whether
    /// it does.
    fn leave(&mut self, index: u32, side: usize, state: State) -> bool {
        let connection = self.connections.at_mut(index);
        let (me, peer) = connection.path(side);
        let was = std::mem::replace(&mut connection.sides[side].state, state);
        let held = std::mem::take(&mut connection.sides[side].lane.held);
        self.carried.dropped += held.len() as u64;
        self.opening -= u64::from(was == State::Opening && side == DIALER);
        self.hosts[me as usize].links.clear(peer, side, index);
        let goes_on = connection.exists(1 - side);
        if !goes_on {
            self.connections.forget(index);
        }
        goes_on
    }

    /// Finds out whether a side still hears the other; if not, sets its idle timeout, and the reset that comes when the
    /// other's process runs but does not know the connection.
    fn listen(&mut self, cx: &mut Cx<'_>, index: u32, side: usize) {
        let (idle_ns, keep_alive_ns) = (self.model.idle_timeout_ns, self.keep_alive_ns());
        let connection = self.connections.at_mut(index);
        if connection.sides[side].state != State::Up {
            return;
        }
        let ((me, peer), id) = (connection.path(side), connection.id);
        let (other, round_trip_ns) = (connection.sides[1 - side].state, 2 * connection.latency_ns);
        let talks = self.hosts[peer as usize].is_up && !self.hosts[peer as usize].is_paused;
        let cut = cx.faults.cut(peer, me);
        cut.into_iter().for_each(|fault| cx.faults.touch(fault, me));
        let me_side = &mut connection.sides[side];
        if other == State::Closed || (other != State::Lost && talks && cut.is_none()) {
            me_side.deaf_until_ns = NEVER;
            return;
        }
        let subject = [u64::from(me), u64::from(peer)];
        let phase_ns = self.draws.below(keep_alive_ns, Domain::KeepAlive, &subject);
        if me_side.deaf_until_ns == NEVER {
            me_side.deaf_until_ns = cx.agenda.now_ns + round_trip_ns / 2 + idle_ns - phase_ns;
            let silence = Happening::Silence { connection: id, side: side as u8 };
            cx.agenda.push(me_side.deaf_until_ns, me, me, silence);
        }
        if other == State::Lost && talks && cut.is_none() && cx.faults.cut(me, peer).is_none() {
            let (at_ns, reason) = (cx.agenda.now_ns + phase_ns + round_trip_ns, DownReason::Reset);
            cx.agenda.push(at_ns, me, peer, Happening::Down { connection: id, side: side as u8, reason });
        }
    }

    /// Keep-alives are sent every quarter of the idle timeout.
    fn keep_alive_ns(&self) -> u64 {
        self.model.idle_timeout_ns / 4
    }
}

/// Tells when a sender whose packets vanish since `since_ns` probes next at or after `now_ns`: at intervals that double.
fn next_probe_ns(since_ns: u64, now_ns: u64, probe_timeout_ns: u64) -> u64 {
    let (mut at_ns, mut wait_ns) = (since_ns, probe_timeout_ns.max(1));
    while at_ns < now_ns {
        at_ns += wait_ns;
        wait_ns *= 2;
    }
    at_ns
}
