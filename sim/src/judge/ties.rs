//! What is known of ties between mailboxes: which are tied, and which must close because another has gone.

use super::Fault;
use super::troubles::Troubles;
use super::{fault_of, none};
use rumormill_core::{Address, NANOS_PER_MILLI, Token};
use std::collections::{BTreeMap, BTreeSet};

/// One end of a tie.
#[derive(Clone, Copy, Debug)]
struct End {
    since: u64,
    /// Whether the other node asked for it: this one may never have heard of it.
    is_passive: bool,
}

/// A mailbox that must close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    since: u64,
    mailbox: Address,
    node: u32,
    /// Whether a leave of its node ends this: it may never have heard of the tie, which was asked for elsewhere.
    ends_by_leave: bool,
}

/// All ties.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ties {
    asked: BTreeMap<Token, (Address, Address)>,
    /// What each mailbox is tied to.
    ends: BTreeMap<Address, BTreeMap<Address, End>>,
    /// All ties that ever were, in both directions.
    ever: BTreeSet<(Address, Address)>,
    due: BTreeSet<Due>,
    pub(crate) is_tied: bool,
    fault: Option<(u64, u32, String)>,
}

impl Ties {
    pub(super) fn on_asked(&mut self, token: Token, mailbox: Address, with: Address) {
        if mailbox != with {
            self.asked.insert(token, (mailbox, with));
        }
    }

    /// Takes the answer to a command. `is_there` tells whether a mailbox is open.
    pub(super) fn on_done(
        &mut self,
        token: Token,
        at: (u64, u32),
        is_ok: bool,
        is_there: impl Fn(&Address) -> bool,
    ) {
        let Some((mailbox, with)) = self.asked.remove(&token).filter(|_| is_ok) else { return };
        let (since, node) = at;
        self.is_tied = true;
        self.ever.extend([(mailbox, with), (with, mailbox)]);
        self.ends.entry(mailbox).or_default().insert(with, End { since, is_passive: false });
        if is_there(&with) {
            let is_passive = with.node != mailbox.node;
            self.ends.entry(with).or_default().entry(mailbox).or_insert(End { since, is_passive });
        } else {
            self.due.insert(Due { since, mailbox, node, ends_by_leave: false });
        }
    }

    /// A mailbox has closed, or its node has stopped with it. `number` tells a node by a mailbox of it.
    pub(super) fn on_closed(
        &mut self,
        mailbox: Address,
        at: u64,
        heard_ns: Option<u64>,
        number: impl Fn(&Address) -> Option<u32>,
    ) {
        self.due.retain(|due| due.mailbox != mailbox);
        for other in self.ends.remove(&mailbox).unwrap_or_default().into_keys() {
            let end = self.ends.get_mut(&other).and_then(|ends| ends.remove(&mailbox));
            // Who dies right after it has asked for a tie may not have been heard.
            let is_heard = |end: &End| !end.is_passive || heard_ns.is_none_or(|ns| end.since + ns < at);
            if let (Some(end), Some(node)) = (end.filter(is_heard), number(&other)) {
                self.due.insert(Due { since: at, mailbox: other, node, ends_by_leave: end.is_passive });
            }
        }
    }

    /// A mailbox goes on under another address, in another life of its node: ties to others have ended, those within the node
    /// go on.
    pub(super) fn on_renamed(
        &mut self,
        old: Address,
        new: Address,
        at: u64,
        number: impl Fn(&Address) -> Option<u32>,
    ) {
        let named = |of: Address| if of == old { new } else { of };
        self.due = core::mem::take(&mut self.due)
            .into_iter()
            .filter(|due| due.mailbox != old || !due.ends_by_leave)
            .map(|due| Due { mailbox: named(due.mailbox), ..due })
            .collect();
        self.asked.values_mut().for_each(|(ours, with)| (*ours, *with) = (named(*ours), named(*with)));
        for (other, end) in self.ends.remove(&old).unwrap_or_default() {
            let theirs = self.ends.get_mut(&other).and_then(|ends| ends.remove(&old));
            if other.node == new.node {
                self.ever.extend([(new, other), (other, new)]);
                self.ends.entry(new).or_default().insert(other, end);
                self.ends.entry(other).or_default().extend(theirs.map(|end| (new, end)));
            } else if let (Some(_), Some(node)) = (theirs.filter(|end| !end.is_passive), number(&other)) {
                self.due.insert(Due { since: at, mailbox: other, node, ends_by_leave: false });
            }
        }
    }

    /// A mailbox was closed because of another one.
    pub(super) fn on_told(
        &mut self,
        mailbox: Address,
        because_of: Address,
        at: (u64, u32),
        is_true: bool,
        is_open: bool,
    ) {
        let (at_ns, node) = at;
        let is_tied = self.ever.contains(&(mailbox, because_of));
        let asked =
            self.asked.values().any(|tie| [(mailbox, because_of), (because_of, mailbox)].contains(tie));
        let what = if !is_open {
            "was closed a second time"
        } else if !is_tied && !asked {
            "was closed because of one that it was never tied to"
        } else if !is_true {
            "was closed because of one that is open"
        } else {
            return;
        };
        self.fault.get_or_insert((at_ns, node, format!("a mailbox {what}")));
    }

    pub(crate) fn close_both(&self, within: u64, now: u64, troubles: &Troubles) -> Result<(), Fault> {
        fault_of(self.fault.as_ref())?;
        let overdue = self.due.iter().take_while(|due| due.since.saturating_add(within) < now);
        let open = overdue.into_iter().find(|due| !troubles.delay(due.node, (due.since, now)));
        none(open.map(|due| {
            let late_ms = (now - due.since) / NANOS_PER_MILLI;
            (due.node, format!("a mailbox is open {late_ms} ms after one that it is tied to went"))
        }))
    }
}
