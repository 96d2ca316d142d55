//! Inputs of the driver: which machine each of them is for.

use super::{Machines, hand};
use crate::frame::{Channel, Frame};
use crate::id::NodeId;
use crate::machine::{CommandError, Cx, Event, Input, Machine};
use crate::time::Now;
use crate::{broadcast, links, mailboxes, members, membership, placement, registry, replica};
use alloc::vec::Vec;

impl Machines {
    pub(super) fn handle(&mut self, input: Input, cx: &mut Cx<'_>, out: &mut Vec<Event>) {
        match input {
            Input::Command { token, command } => self.on_command(token, command, cx, out),
            Input::Frame { from, channel, frame } => self.on_frame(from, channel, frame, cx),
            Input::LinkUp { peer, incarnation, version, addr: _, dialer } => {
                self.links.handle(links::Input::Up { peer, incarnation, version, dialer }, cx);
            }
            Input::LinkDown { peer, dialer, reason } => {
                self.links.handle(links::Input::Down { peer, dialer, reason }, cx);
            }
            Input::Malformed { from } => self.links.handle(links::Input::Malformed { from }, cx),
            Input::LinkFull { peer, channel } => self.on_pressure(peer, channel, true, cx),
            Input::LinkReady { peer, channel } => self.on_pressure(peer, channel, false, cx),
            Input::Persisted { token } => {
                self.marks.on_persisted(token);
                hand(&mut self.placement, placement::Input::Stampable, cx);
                while let Some((token, command, wall)) = self.marks.pop_ready(cx) {
                    let Cx { now, rng, clock, stats, effects } = cx;
                    let now = Now { wall, ..*now };
                    self.write(token, command, &mut Cx { now, rng, clock, stats, effects }, out);
                }
            }
            Input::PersistFailed { .. } => {
                out.push(Event::StoreFailed);
                let refused = self.marks.on_persist_failed(cx).into_iter();
                out.extend(
                    refused.map(|token| Event::Done { token, result: Err(CommandError::StoreFailed) }),
                );
            }
            Input::Timeout => {} // fire() has done it all
        }
    }

    fn on_frame(&mut self, from: NodeId, channel: Channel, frame: Frame, cx: &mut Cx<'_>) {
        let now = cx.now.mono;
        if !self.membership.touch(|membership| membership.heard(&from, now)) {
            self.links.touch(|links| links.heard(&from, now));
        }
        if frame.channel() != channel || from == self.id {
            cx.stats.misplaced += 1;
            return;
        }
        if let Frame::Members(frame) = frame {
            match &mut self.members {
                Some(members) => members.handle(members::Input::Frame { from, frame }, cx),
                None => cx.stats.misplaced += 1,
            }
            return;
        }
        if let Frame::Mail(mail) = frame {
            match &mut self.mailboxes {
                Some(it) => it.handle(mailboxes::Input::Frame { from, mail }, cx),
                None => cx.stats.misplaced += 1,
            }
            return;
        }
        match (channel, &mut self.broadcast, &mut self.replica) {
            (Channel::Gossip | Channel::Lazy, Some(broadcast), _) => {
                broadcast.handle(broadcast::Input::Frame { from, frame }, cx);
            }
            (Channel::Control, Some(broadcast), _) if matches!(frame, Frame::Graft { .. } | Frame::Prune) => {
                broadcast.handle(broadcast::Input::Frame { from, frame }, cx);
            }
            (Channel::Sync, ..) if is_of_registry(&frame) => {
                super::hand(&mut self.registry, registry::Input::Frame { from, frame }, cx);
            }
            (Channel::Sync, _, Some(replica)) => replica.handle(replica::Input::Frame { from, frame }, cx),
            (Channel::Control, ..) => self.membership.handle(membership::Input::Frame { from, frame }, cx),
            (Channel::Gossip | Channel::Lazy | Channel::Sync | Channel::User | Channel::Datagram, ..) => {
                cx.stats.misplaced += 1;
            }
        }
    }

    fn on_pressure(&mut self, peer: NodeId, channel: Channel, is_full: bool, cx: &mut Cx<'_>) {
        if let (Channel::Gossip | Channel::Lazy, Some(broadcast)) = (channel, &mut self.broadcast) {
            let full = broadcast::Input::LinkFull { peer, channel };
            let ready = broadcast::Input::LinkReady { peer, channel };
            broadcast.handle(if is_full { full } else { ready }, cx);
        }
        if let (Channel::Control | Channel::Lazy | Channel::Sync, Some(members)) =
            (channel, &mut self.members)
        {
            let full = members::Input::LinkFull { peer, channel };
            let ready = members::Input::LinkReady { peer, channel };
            members.handle(if is_full { full } else { ready }, cx);
        }
        if let (Channel::User, Some(mailboxes)) = (channel, &mut self.mailboxes) {
            let (full, ready) = (mailboxes::Input::LinkFull { peer }, mailboxes::Input::LinkReady { peer });
            mailboxes.handle(if is_full { full } else { ready }, cx);
        }
        if let (Channel::Sync, Some(replica)) = (channel, &mut self.replica) {
            let (full, ready) = (replica::Input::LinkFull { peer }, replica::Input::LinkReady { peer });
            replica.handle(if is_full { full } else { ready }, cx);
        }
        if let (Channel::Sync, Some(registry)) = (channel, &mut self.registry) {
            let (full, ready) = (registry::Input::LinkFull { peer }, registry::Input::LinkReady { peer });
            registry.handle(if is_full { full } else { ready }, cx);
        }
    }
}

fn is_of_registry(frame: &Frame) -> bool {
    matches!(
        frame,
        Frame::RegistryHello(_)
            | Frame::RegistryRows(_)
            | Frame::RegistryPull(_)
            | Frame::RegistryUpdates { .. }
            | Frame::RegistryRelay(_)
    )
}
