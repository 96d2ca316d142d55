//! Who waits for whose end: monitors of this node's mailboxes, and ties between two mailboxes.

use crate::id::{Address, Incarnation, MailboxId, NodeId, Token};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::ops::RangeInclusive;

/// All addresses of a node, or those of one mailbox, as a range.
fn of_node(node: NodeId) -> (Address, Address) {
    let address = |word| Address { node, incarnation: Incarnation(word), mailbox: MailboxId(word) };
    (address(0), address(u64::MAX))
}

/// One monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Monitor {
    pub(super) token: Token,
    pub(super) watcher: MailboxId,
    pub(super) of: Address,
}

/// The monitors that this node's mailboxes have begun.
#[derive(Clone, Debug, Default)]
pub(super) struct Monitors {
    by_address: BTreeSet<(Address, Token, MailboxId)>,
    by_token: BTreeSet<(Token, Address, MailboxId)>,
    by_watcher: BTreeSet<(MailboxId, Address, Token)>,
}

impl Monitors {
    pub(super) fn len(&self) -> usize {
        self.by_address.len()
    }

    pub(super) fn insert(&mut self, Monitor { token, watcher, of }: Monitor) {
        self.by_address.insert((of, token, watcher));
        self.by_token.insert((token, of, watcher));
        self.by_watcher.insert((watcher, of, token));
    }

    pub(super) fn remove(&mut self, Monitor { token, watcher, of }: Monitor) {
        self.by_address.remove(&(of, token, watcher));
        self.by_token.remove(&(token, of, watcher));
        self.by_watcher.remove(&(watcher, of, token));
    }

    /// Tells whether anybody here monitors a mailbox.
    pub(super) fn has(&self, of: Address) -> bool {
        self.by_address.range(Self::between(of, of)).next().is_some()
    }

    /// Tells whether anybody here monitors a mailbox of a node.
    pub(super) fn has_node(&self, node: NodeId) -> bool {
        let (first, last) = of_node(node);
        self.by_address.range(Self::between(first, last)).next().is_some()
    }

    pub(super) fn with_token(&self, token: Token) -> Vec<Monitor> {
        let (first, last) = (of_node(NodeId([0; 32])).0, of_node(NodeId([0xff; 32])).1);
        let range = (token, first, MailboxId(0))..=(token, last, MailboxId(u64::MAX));
        self.by_token.range(range).map(|&(token, of, watcher)| Monitor { token, watcher, of }).collect()
    }

    pub(super) fn of_mailbox(&self, of: Address) -> Vec<Monitor> {
        self.within(of, of)
    }

    pub(super) fn of_node(&self, node: NodeId) -> Vec<Monitor> {
        let (first, last) = of_node(node);
        self.within(first, last)
    }

    pub(super) fn by(&self, watcher: MailboxId) -> Vec<Monitor> {
        let (first, last) = (of_node(NodeId([0; 32])).0, of_node(NodeId([0xff; 32])).1);
        let range = (watcher, first, Token(0))..=(watcher, last, Token(u64::MAX));
        self.by_watcher.range(range).map(|&(watcher, of, token)| Monitor { token, watcher, of }).collect()
    }

    fn within(&self, first: Address, last: Address) -> Vec<Monitor> {
        let range = self.by_address.range(Self::between(first, last));
        range.map(|&(of, token, watcher)| Monitor { token, watcher, of }).collect()
    }

    fn between(first: Address, last: Address) -> RangeInclusive<(Address, Token, MailboxId)> {
        (first, Token(0), MailboxId(0))..=(last, Token(u64::MAX), MailboxId(u64::MAX))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Monitor> {
        self.by_address.iter().map(|&(of, token, watcher)| Monitor { token, watcher, of })
    }

    pub(super) fn audit(&self) {
        assert_eq!(self.by_address.len(), self.by_token.len(), "a monitor has no token");
        assert_eq!(self.by_address.len(), self.by_watcher.len(), "a monitor has no watcher");
    }
}

/// The ties of this node's mailboxes. One between two of them stands for each of the two.
#[derive(Clone, Debug, Default)]
pub(super) struct Ties {
    ours: BTreeSet<(MailboxId, Address)>,
    theirs: BTreeSet<(Address, MailboxId)>,
}

impl Ties {
    pub(super) fn len(&self) -> usize {
        self.ours.len()
    }

    /// Tells whether it was new.
    pub(super) fn insert(&mut self, mailbox: MailboxId, with: Address) -> bool {
        self.theirs.insert((with, mailbox));
        self.ours.insert((mailbox, with))
    }

    /// Tells whether it was there.
    pub(super) fn remove(&mut self, mailbox: MailboxId, with: Address) -> bool {
        self.theirs.remove(&(with, mailbox));
        self.ours.remove(&(mailbox, with))
    }

    pub(super) fn contains(&self, mailbox: MailboxId, with: Address) -> bool {
        self.ours.contains(&(mailbox, with))
    }

    /// Lists what a mailbox is tied to.
    pub(super) fn of(&self, mailbox: MailboxId) -> Vec<Address> {
        let (first, last) = (of_node(NodeId([0; 32])).0, of_node(NodeId([0xff; 32])).1);
        self.ours.range((mailbox, first)..=(mailbox, last)).map(|(_, with)| *with).collect()
    }

    /// Lists what is tied to a mailbox elsewhere.
    pub(super) fn with(&self, with: Address) -> Vec<(Address, MailboxId)> {
        self.theirs.range((with, MailboxId(0))..=(with, MailboxId(u64::MAX))).copied().collect()
    }

    pub(super) fn with_node(&self, node: NodeId) -> impl Iterator<Item = (Address, MailboxId)> {
        let (first, last) = of_node(node);
        self.theirs.range((first, MailboxId(0))..=(last, MailboxId(u64::MAX))).copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (MailboxId, Address)> {
        self.ours.iter().copied()
    }

    pub(super) fn audit(&self) {
        assert_eq!(self.ours.len(), self.theirs.len(), "a tie has one end");
    }
}
