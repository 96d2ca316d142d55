//! Commands of the user: which machine carries out which, and what they are answered.

use super::Machines;
use crate::broadcast::Broadcast;
use crate::id::Token;
use crate::machine::{Command, CommandError, Cx, Event, Machine, Reply};
use crate::mailboxes;
use crate::marks::Admission;
use crate::membership;
use crate::replica::Replica;
use alloc::vec::Vec;

impl Machines {
    pub(super) fn on_command(
        &mut self,
        token: Token,
        command: Command,
        cx: &mut Cx<'_>,
        out: &mut Vec<Event>,
    ) {
        let result = match command {
            Command::Join { contacts } => {
                return self.membership.handle(membership::Input::Join { token, contacts }, cx);
            }
            Command::Leave => return self.membership.handle(membership::Input::Leave { token }, cx),
            Command::Put { .. } | Command::Remove { .. } => {
                return match self.marks.admit(token, command, cx) {
                    Admission::Now(token, command) => self.write(token, command, cx, out),
                    Admission::Later => {}
                    Admission::Refused(token, error) => out.push(Event::Done { token, result: Err(error) }),
                };
            }
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
            Command::Watch { .. } | Command::Unwatch { .. } => Err(CommandError::Disabled),
            Command::Register { .. } | Command::Unregister { .. } => Err(CommandError::Disabled),
            Command::OpenMailbox
            | Command::CloseMailbox { .. }
            | Command::Send { .. }
            | Command::Call { .. }
            | Command::Answer { .. }
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

    /// Carries out a write whose stamp may leave.
    pub(super) fn write(&mut self, token: Token, command: Command, cx: &mut Cx<'_>, out: &mut Vec<Event>) {
        let written = self.try_replica().and_then(|replica| match command {
            Command::Put { map, key, value, expires } => replica.put(map, key, value, expires, cx),
            Command::Remove { map, key } => replica.remove(map, key, cx),
            _ => Err(CommandError::Disabled),
        });
        out.push(Event::Done { token, result: written.map(|version| Reply::Written { version }) });
    }

    fn try_broadcast(&mut self) -> Result<&mut Broadcast, CommandError> {
        self.broadcast.as_mut().ok_or(CommandError::Disabled)
    }

    fn try_replica(&mut self) -> Result<&mut Replica, CommandError> {
        self.replica.as_mut().ok_or(CommandError::Disabled)
    }
}
