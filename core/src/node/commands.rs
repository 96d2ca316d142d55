//! Commands of the user: which machine carries out which, and what they are answered.

use super::{Machines, hand};
use crate::broadcast::Broadcast;
use crate::id::{Contact, Incarnation, Token};
use crate::machine::{CloseReason, Command, CommandError, Cx, Event, Machine, News, Reply, Watch};
use crate::marks::Admission;
use crate::registry::Registrar;
use crate::replica::Replica;
use crate::{links, mailboxes, members, membership, registry};
use alloc::vec::Vec;
use core::net::SocketAddr;

/// Under this number the node asks things of itself: nobody is answered.
pub(super) const OWN_TOKEN: Token = Token(u64::MAX);

impl Machines {
    pub(super) fn on_command(
        &mut self,
        token: Token,
        command: Command,
        cx: &mut Cx<'_>,
        out: &mut Vec<Event>,
    ) {
        let result = match command {
            Command::Join { contacts } => return self.on_join(token, contacts, cx, out),
            Command::Leave => {
                hand(&mut self.members, members::Input::Leave, cx);
                self.settle(cx, out); // the good-bye goes out before links close
                return self.membership.handle(membership::Input::Leave { token }, cx);
            }
            Command::Register { .. } | Command::Unregister { .. } if self.registry.is_none() => {
                Err(CommandError::Disabled)
            }
            Command::Put { .. }
            | Command::Remove { .. }
            | Command::Register { .. }
            | Command::Unregister { .. } => {
                return match self.marks.admit(token, command, cx) {
                    Admission::Now(token, command) => self.write(token, command, cx, out),
                    Admission::Later => {}
                    Admission::Refused(token, error) => out.push(Event::Done { token, result: Err(error) }),
                };
            }
            Command::Move { addrs } => self.on_move(addrs, cx),
            Command::Cycle => {
                self.membership.handle(membership::Input::Cycle, cx);
                Ok(Reply::Ok)
            }
            Command::Subscribe { topic } => {
                self.try_broadcast().and_then(|it| it.subscribe(topic)).map(|()| Reply::Ok)
            }
            Command::Unsubscribe { topic } => {
                self.try_broadcast().and_then(|it| it.unsubscribe(topic)).map(|()| Reply::Ok)
            }
            Command::Publish { topic, .. } if topic.is_reserved() => Err(CommandError::ReservedTopic),
            Command::Publish { topic, class, payload } => {
                let published = self.try_broadcast().and_then(|it| it.publish(topic, class, payload, cx));
                published.map(|id| Reply::Published { id })
            }
            Command::CreateMap { name, schema } => {
                self.try_replica().and_then(|it| it.create_map(&name, schema)).map(|()| Reply::Ok)
            }
            Command::Watch { what } => return self.on_watch(token, what, out),
            Command::Unwatch { watch } => self.on_unwatch(watch),
            Command::OpenMailbox
            | Command::CloseMailbox { .. }
            | Command::Send { .. }
            | Command::SendBundle { .. }
            | Command::Call { .. }
            | Command::Answer { .. }
            | Command::Refuse { .. }
            | Command::Monitor { .. }
            | Command::Demonitor { .. }
            | Command::Link { .. }
            | Command::Unlink { .. } => match &mut self.mailboxes {
                Some(it) => return it.handle(mailboxes::Input::Command { token, command }, cx),
                None => Err(CommandError::Disabled),
            },
        };
        out.push(Event::Done { token, result });
    }

    fn on_join(&mut self, token: Token, contacts: Vec<Contact>, cx: &mut Cx<'_>, out: &mut Vec<Event>) {
        if self.membership.has_left() {
            self.begin_life(self.marks.incarnation(), cx, out);
        }
        let is_first = contacts.iter().all(|contact| contact.id() == self.id);
        for contact in &contacts {
            self.links.handle(links::Input::Forgive { peer: contact.id() }, cx); // its user has just heard of it
        }
        self.membership.handle(membership::Input::Join { token, contacts }, cx);
        let contact = self.membership.contact().clone();
        hand(&mut self.members, members::Input::Join { contact, is_first }, cx);
    }

    /// The node is reached elsewhere: whoever introduces it says so from now on.
    fn on_move(&mut self, addrs: Vec<SocketAddr>, cx: &mut Cx<'_>) -> Result<Reply, CommandError> {
        self.membership.handle(membership::Input::Move { addrs }, cx);
        let contact = self.membership.contact().clone();
        hand(&mut self.members, members::Input::Move { contact }, cx);
        Ok(Reply::Ok)
    }

    /// Others know of a later life of this node: somebody has made it up, or its disk is lost and its clock went back. It leaves,
    /// and comes back in a life after that one.
    pub(super) fn outlive(&mut self, known: Incarnation, cx: &mut Cx<'_>, out: &mut Vec<Event>) {
        let contacts = self.membership.contacts();
        if known < self.marks.incarnation() || self.membership.has_left() || contacts.is_empty() {
            return;
        }
        let token = self.membership.take_join().unwrap_or(OWN_TOKEN); // a join under way goes on
        hand(&mut self.members, members::Input::Leave, cx);
        self.settle(cx, out);
        self.membership.handle(membership::Input::Leave { token: OWN_TOKEN }, cx);
        self.settle(cx, out);
        self.begin_life(known, cx, out);
        self.membership.handle(membership::Input::Join { token, contacts }, cx);
        let contact = self.membership.contact().clone();
        hand(&mut self.members, members::Input::Join { contact, is_first: false }, cx);
    }

    /// The node comes back after it has left: everything that names its life is told of the next one.
    fn begin_life(&mut self, known: Incarnation, cx: &mut Cx<'_>, out: &mut Vec<Event>) {
        // A link that somebody has made meanwhile knows the life that is over.
        self.links.handle(links::Input::CloseAll(CloseReason::Leaving), cx);
        self.settle(cx, out);
        let incarnation = self.marks.begin_life(known);
        self.membership.handle(membership::Input::NewLife { incarnation }, cx);
        hand(&mut self.registry, registry::Input::NewLife { incarnation }, cx);
        hand(&mut self.mailboxes, mailboxes::Input::NewLife { incarnation }, cx);
        out.push(Event::LifeBegun { incarnation });
    }

    fn on_unwatch(&mut self, watch: Token) -> Result<Reply, CommandError> {
        let ended = self.watches.end(watch).map(|()| Reply::Ok);
        self.note_watches();
        ended
    }

    /// Says whether somebody watches services: nobody, and the registry makes no news.
    fn note_watches(&mut self) {
        let is_watched = self.watches.of_services().next().is_some();
        self.registry.iter_mut().for_each(|registry| registry.set_watched(is_watched));
    }

    /// Carries out a write whose stamp may leave.
    pub(super) fn write(&mut self, token: Token, command: Command, cx: &mut Cx<'_>, out: &mut Vec<Event>) {
        let written = |version| Reply::Written { version };
        let result = match command {
            Command::Put { map, key, value, expires } => {
                self.try_replica().and_then(|it| it.put(map, key, value, expires, cx)).map(written)
            }
            Command::Remove { map, key } => {
                self.try_replica().and_then(|it| it.remove(map, key, cx)).map(written)
            }
            Command::Register { name, instance, mailbox, meta, is_unique } => self
                .try_registry()
                .and_then(|it| it.register(&name, instance, mailbox, &meta, is_unique, cx))
                .map(|()| Reply::Ok),
            Command::Unregister { name, instance } => {
                self.try_registry().and_then(|it| it.unregister(&name, instance, cx)).map(|()| Reply::Ok)
            }
            _ => Err(CommandError::Disabled),
        };
        out.push(Event::Done { token, result });
    }

    /// Begins a watch: its answer, then the snapshot.
    fn on_watch(&mut self, token: Token, what: Watch, out: &mut Vec<Event>) {
        let snapshot = self.snapshot(&what).ok_or(CommandError::Disabled);
        let begun = snapshot.and_then(|news| self.watches.begin(token, what).map(|()| news));
        let (result, news) =
            begun.map_or_else(|error| (Err(error), None), |news| (Ok(Reply::Ok), Some(news)));
        self.note_watches();
        out.push(Event::Done { token, result });
        out.extend(news.map(|news| Event::Watched { watch: token, news }));
    }

    /// Shows what a watch begins with; none where its machine is off.
    fn snapshot(&self, what: &Watch) -> Option<News> {
        match what {
            Watch::Members => Some(News::Members(self.members.as_ref()?.iter().collect())),
            Watch::Partitions => Some(News::Owned(self.placement.as_ref()?.owned().collect())),
            Watch::Services { prefix } => {
                let registry = self.registry.as_ref()?.registry();
                Some(News::Services(registry.prefix(prefix).collect()))
            }
        }
    }

    fn try_registry(&mut self) -> Result<&mut Registrar, CommandError> {
        self.registry.as_deref_mut().ok_or(CommandError::Disabled)
    }

    fn try_broadcast(&mut self) -> Result<&mut Broadcast, CommandError> {
        self.broadcast.as_deref_mut().ok_or(CommandError::Disabled)
    }

    fn try_replica(&mut self) -> Result<&mut Replica, CommandError> {
        self.replica.as_deref_mut().ok_or(CommandError::Disabled)
    }
}
