//! The mailboxes that the schedule has a node open: their addresses, known only as the run goes.

use crate::schedule::{MailOrder, Recipient};
use bytes::Bytes;
use rumormill_core::{Address, Bundle, Bundler, Command, Event, MailboxId, Reply, Token};

/// The mailboxes of one node by place, and the address that each had before.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mailboxes {
    /// Commands to open one whose answer is still out, each with the place.
    opening: Vec<(Token, u32)>,
    places: Vec<Place>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    number: u32,
    /// What others know of it, also when it is closed or its node is down.
    address: Address,
    before: Option<Address>,
    is_open: bool,
}

impl Mailboxes {
    /// Notes that a command asked to open the mailbox of a place.
    pub(crate) fn on_order(&mut self, token: Token, order: &MailOrder) {
        match order {
            MailOrder::Open { place } => self.opening.push((token, *place)),
            MailOrder::Close { place } => {
                self.places.iter_mut().filter(|it| it.number == *place).for_each(|it| it.is_open = false);
            }
            MailOrder::Send { .. }
            | MailOrder::Call { .. }
            | MailOrder::Monitor { .. }
            | MailOrder::Tie { .. } => {}
        }
    }

    /// Takes the answer to a command.
    fn on_done(&mut self, token: Token, opened: Option<Address>) {
        let Some(index) = self.opening.iter().position(|(asked, _)| *asked == token) else { return };
        let (_, number) = self.opening.swap_remove(index);
        let Some(address) = opened else { return };
        match self.places.iter_mut().find(|place| place.number == number) {
            Some(place) => {
                *place = Place { number, address, before: Some(place.address), is_open: true };
            }
            None => self.places.push(Place { number, address, before: None, is_open: true }),
        }
    }

    /// Takes an event of the node in. Tells the answer to a question, if it is one for a mailbox of the schedule that
    /// wants one.
    #[inline]
    pub(crate) fn on_event(&mut self, event: &Event) -> Option<Command> {
        match event {
            Event::Done { token, result } if !self.opening.is_empty() => {
                let opened = match result {
                    Ok(Reply::Opened { address }) => Some(*address),
                    Ok(_) | Err(_) => None,
                };
                self.on_done(*token, opened);
                None
            }
            Event::MailboxClosed { mailbox, .. } => {
                let is_it = |place: &&mut Place| place.address.mailbox == *mailbox;
                self.places.iter_mut().filter(is_it).for_each(|place| place.is_open = false);
                None
            }
            Event::Asked { mailbox, question, payload } => {
                let is_ours = |place: &Place| place.is_open && place.address.mailbox == *mailbox;
                let is_wanted = payload.first() != Some(&0) && self.places.iter().any(is_ours);
                is_wanted.then(|| Command::Answer { question: *question, payload: payload.clone() })
            }
            Event::LifeBegun { incarnation } => {
                for place in self.places.iter_mut().filter(|place| place.is_open) {
                    place.before = Some(place.address);
                    place.address.incarnation = *incarnation;
                }
                None
            }
            _ => None,
        }
    }

    /// Forgets what ends with the node's life; the addresses stay known to others.
    pub(crate) fn end_life(&mut self) {
        self.opening.clear();
        self.places.iter_mut().for_each(|place| place.is_open = false);
    }

    /// Tells the mailbox of a place, if it is open.
    pub(crate) fn own(&self, number: u32) -> Option<MailboxId> {
        let place = self.places.iter().find(|place| place.number == number && place.is_open)?;
        Some(place.address.mailbox)
    }

    /// Tells the address by which others reach a place.
    pub(crate) fn address(&self, of: Recipient) -> Option<Address> {
        let place = self.places.iter().find(|place| place.number == of.place)?;
        Some(place.before.filter(|_| of.is_stale).unwrap_or(place.address))
    }
}

/// Makes the core's command of an order, once the addresses in it are known.
pub(crate) fn resolve(
    order: &MailOrder,
    own: &Mailboxes,
    address: impl Fn(Recipient) -> Option<Address>,
) -> Option<Command> {
    Some(match order {
        MailOrder::Open { .. } => Command::OpenMailbox,
        MailOrder::Close { place } => Command::CloseMailbox { mailbox: own.own(*place)? },
        MailOrder::Send { from, to, messages } => {
            let (from, to) = (own.own(*from)?, address(*to)?);
            match &messages[..] {
                [payload] => Command::Send { from, to, payload: payload.clone() },
                messages => Command::SendBundle { from, to, messages: bundle(messages)? },
            }
        }
        MailOrder::Call { from, to, payload: question, timeout_ms } => {
            let (from, to) = (own.own(*from)?, address(*to)?);
            Command::Call { from, to, payload: question.clone(), timeout_ms: *timeout_ms }
        }
        MailOrder::Monitor { place, of } => Command::Monitor { mailbox: own.own(*place)?, of: address(*of)? },
        MailOrder::Tie { place, with } => Command::Link { mailbox: own.own(*place)?, with: address(*with)? },
    })
}

/// Puts messages into one mail; none where there are too many for one.
fn bundle(messages: &[Bytes]) -> Option<Bundle> {
    let mut bundler = Bundler::default();
    messages.iter().all(|message| bundler.push(message, usize::MAX)).then(|| bundler.take())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use rumormill_core::{Incarnation, NodeId, Question};

    fn address(incarnation: u64, mailbox: u64) -> Address {
        let (node, mailbox) = (NodeId([7; 32]), MailboxId(mailbox));
        Address { node, incarnation: Incarnation(incarnation), mailbox }
    }

    fn open(mailboxes: &mut Mailboxes, token: u64, place: u32, address: Address) {
        mailboxes.on_order(Token(token), &MailOrder::Open { place });
        let result = Ok(Reply::Opened { address });
        assert_eq!(mailboxes.on_event(&Event::Done { token: Token(token), result }), None);
    }

    fn recipient(is_stale: bool) -> Recipient {
        Recipient { node: 0, place: 3, is_stale }
    }

    #[test]
    fn an_address_stays_known_over_a_crash_and_is_stale_once_another_is_open() {
        let mut mailboxes = Mailboxes::default();
        assert_eq!((mailboxes.own(3), mailboxes.address(recipient(true))), (None, None));
        open(&mut mailboxes, 1, 3, address(1, 5));
        assert_eq!(mailboxes.own(3), Some(MailboxId(5)));
        assert_eq!(mailboxes.address(recipient(true)), Some(address(1, 5)));
        mailboxes.end_life();
        assert_eq!(mailboxes.own(3), None);
        assert_eq!(mailboxes.address(recipient(false)), Some(address(1, 5)));
        open(&mut mailboxes, 2, 3, address(2, 1));
        assert_eq!(mailboxes.address(recipient(true)), Some(address(1, 5)));
        assert_eq!(mailboxes.address(recipient(false)), Some(address(2, 1)));
    }

    #[test]
    fn a_question_is_answered_by_itself_unless_it_is_silent_or_not_for_the_schedule() {
        let mut mailboxes = Mailboxes::default();
        open(&mut mailboxes, 1, 3, address(1, 5));
        let question = Question { from: address(1, 9), number: 4 };
        let mut ask = |mailbox: u64, first: u8| {
            let payload = Bytes::from(vec![first, 2, 3]);
            mailboxes.on_event(&Event::Asked { mailbox: MailboxId(mailbox), question, payload })
        };
        let payload = Bytes::from_static(&[1, 2, 3]);
        assert_eq!(ask(5, 1), Some(Command::Answer { question, payload }));
        assert_eq!((ask(5, 0), ask(6, 1)), (None, None));
    }

    #[test]
    fn a_mailbox_that_closes_with_another_has_no_place_until_it_is_opened_anew() {
        let mut mailboxes = Mailboxes::default();
        open(&mut mailboxes, 1, 3, address(1, 5));
        let (because_of, reason) = (address(1, 9), rumormill_core::MailLoss::Gone);
        mailboxes.on_event(&Event::MailboxClosed { mailbox: MailboxId(5), because_of, reason });
        assert_eq!((mailboxes.own(3), mailboxes.address(recipient(false))), (None, Some(address(1, 5))));
    }

    #[test]
    fn an_order_is_carried_out_once_both_ends_are_known() {
        let mut mailboxes = Mailboxes::default();
        let payload = Bytes::from_static(b"hi");
        let send = MailOrder::Send { from: 3, to: recipient(false), messages: vec![payload.clone()] };
        assert_eq!(resolve(&send, &mailboxes, |_| Some(address(1, 9))), None);
        open(&mut mailboxes, 1, 3, address(1, 5));
        assert_eq!(resolve(&send, &mailboxes, |_| None), None);
        let command = Command::Send { from: MailboxId(5), to: address(1, 9), payload };
        assert_eq!(resolve(&send, &mailboxes, |_| Some(address(1, 9))), Some(command));
        mailboxes.on_order(Token(2), &MailOrder::Close { place: 3 });
        assert_eq!(resolve(&send, &mailboxes, |_| Some(address(1, 9))), None);
    }
}
