//! The wiring of what stands on the overlay: members, placement, registry and mailboxes.

use super::{Machines, hand};
use crate::frame::{Channel, Frame};
use crate::id::{Incarnation, NodeId};
use crate::machine::{Cx, Event, Machine, MailLoss, News, ServiceLoss};
use crate::member::MemberState;
use crate::{links, mailboxes, members, membership, placement, registry};
use alloc::vec::Vec;

/// What members tell goes to whoever depends on who is there.
impl Machines {
    pub(super) fn on_members(&mut self, event: members::Event, cx: &mut Cx<'_>, up: &mut Vec<Event>) {
        use members::Event::{Apart, Asked, Changed, Dead, Outlived, Reach, Refused, Strange};
        match event {
            Changed { member, was, loss } => {
                if was.is_some() && member.state.is_present() {
                    self.membership.handle(membership::Input::Moved { contact: member.contact.clone() }, cx);
                }
                hand(&mut self.placement, placement::Input::Member(member.clone()), cx);
                let (node, incarnation) = (member.id(), member.contact.incarnation());
                let is_suspected = member.is_suspected;
                hand(
                    &mut self.registry,
                    match loss {
                        Some(reason) => registry::Input::LifeGone { node, incarnation, reason },
                        None if was.is_some_and(MemberState::is_present) => {
                            registry::Input::LifeSuspected { node, is_suspected }
                        }
                        None => registry::Input::LifeVisible { node, incarnation },
                    },
                    cx,
                );
                if let Some(loss) = loss {
                    let is_dead = loss == ServiceLoss::Dead;
                    let reason = if is_dead { MailLoss::Unreachable } else { MailLoss::Gone };
                    hand(&mut self.mailboxes, mailboxes::Input::LifeGone { node, incarnation, reason }, cx);
                }
                let news = News::Member { member, was };
                up.extend(
                    self.watches.of_members().map(|watch| Event::Watched { watch, news: news.clone() }),
                );
            }
            Refused { peer, key, ours, theirs } => up.push(Event::MemberRefused { peer, key, ours, theirs }),
            Outlived { incarnation } => self.outlive(incarnation, cx, up),
            Asked { peer } => self.membership.handle(membership::Input::Asked { peer }, cx),
            Dead { peer } => self.membership.handle(membership::Input::Dead { peer }, cx),
            Strange { peer } => self.membership.handle(membership::Input::Strange { peer }, cx),
            Apart { contact } => self.membership.handle(membership::Input::Apart { contact }, cx),
            Reach { contact, frame } => {
                let frame = Frame::Members(frame);
                let channel = frame.channel();
                self.links.handle(links::Input::Reach { contact, channel, frame }, cx);
            }
        }
    }
}

/// The wiring of mailboxes: to links, to whoever knows where a node is, and to the user.
impl Machines {
    pub(super) fn on_mailboxes(&mut self, event: mailboxes::Event, cx: &mut Cx<'_>, up: &mut Vec<Event>) {
        use mailboxes::Event::{Frame, Reach, User};
        let channel = Channel::User;
        match event {
            User(event) => up.push(event),
            Frame { to: peer, frame } => {
                self.links.handle(links::Input::Send { peer, channel, frame }, cx);
            }
            Reach { node, incarnation } => {
                let is_over = self.is_over(&node, incarnation);
                let known = self.members.as_ref().and_then(|members| members.contact(&node)).cloned();
                let contact = known.or_else(|| self.membership.contact_of(&node));
                let contact = contact.filter(|_| !self.membership.has_left());
                // Whoever was found dead is dialled all the same, as it may live in the other half of a cut; but nobody
                // waits until that fails.
                let is_reaching = contact.is_some_and(|contact| self.links.connect(&contact, cx)) && !is_over;
                let reaching = mailboxes::Input::Reaching { node };
                let unreached = mailboxes::Input::Unreached { node };
                hand(&mut self.mailboxes, if is_reaching { reaching } else { unreached }, cx);
            }
        }
    }
}

/// What members know, for mailboxes.
impl Machines {
    /// Tells whether a life of a node is over as far as members know, or earlier than one that is.
    fn is_over(&self, node: &NodeId, incarnation: Incarnation) -> bool {
        let member = self.members.as_ref().and_then(|members| members.get(node));
        member.is_some_and(|it| !it.state.is_present() && incarnation <= it.contact.incarnation())
    }
}

/// The registry's wiring.
impl Machines {
    pub(super) fn on_registry(&mut self, event: registry::Event, cx: &mut Cx<'_>, up: &mut Vec<Event>) {
        use registry::Event::{Malformed, NameLost, News, Outlived, Refused};
        match event {
            News(news) => up.extend(self.watches.of_services().filter_map(|(watch, prefix)| {
                let is_meant = news.service().is_some_and(|service| service.name.starts_with(prefix));
                is_meant.then(|| Event::Watched { watch, news: news.clone() })
            })),
            Refused { from, owner } => up.push(Event::EntriesRefused { from, owner }),
            NameLost { name, instance, to } => up.push(Event::NameLost { name, instance, to }),
            Outlived { incarnation } => hand(&mut self.members, members::Input::Outlived { incarnation }, cx),
            Malformed { from } => self.links.handle(links::Input::Malformed { from }, cx),
        }
    }
}

/// What placement tells goes to who watches partitions.
impl Machines {
    pub(super) fn on_placement(&mut self, event: placement::Event, cx: &mut Cx<'_>, up: &mut Vec<Event>) {
        use placement::Event::{Acquired, NeedsStamp, Released, RingSmall};
        let news = match event {
            Acquired { partition, token } => News::Acquired { partition, token },
            Released { partition, token } => News::Released { partition, token },
            RingSmall { members, partitions } => return up.push(Event::RingSmall { members, partitions }),
            NeedsStamp => {
                let stamp = self.marks.try_stamp(cx);
                return stamp.into_iter().for_each(|stamp| {
                    hand(&mut self.placement, placement::Input::Stamped(stamp), cx);
                });
            }
        };
        up.extend(self.watches.of_partitions().map(|watch| Event::Watched { watch, news: news.clone() }));
    }
}
