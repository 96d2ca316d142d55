//! Who watches what: the bookkeeping of `Watch` and `Unwatch`, for whichever machine has the news.

use crate::hash::Fold;
use crate::id::Token;
use crate::machine::{CommandError, Watch};
use alloc::vec::Vec;
use bytes::Bytes;

/// The watches of one node, in the order in which they began.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watches {
    list: Vec<(Token, Watch)>,
    max: usize,
}

impl Watches {
    /// Starts without watches; at most `max` go on at once.
    pub(crate) fn new(max: usize) -> Self {
        Self { list: Vec::new(), max }
    }

    /// Begins a watch under the token of its command. A token that is in use begins anew: it names one watch.
    ///
    /// # Errors
    /// [`CommandError::Full`] beyond the bound.
    pub(crate) fn begin(&mut self, token: Token, what: Watch) -> Result<(), CommandError> {
        self.list.retain(|(begun, _)| *begun != token);
        if self.list.len() >= self.max {
            return Err(CommandError::Full { max: self.max });
        }
        self.list.push((token, what));
        Ok(())
    }

    /// Ends a watch.
    ///
    /// # Errors
    /// [`CommandError::NoSuchWatch`] when none goes on under this token.
    pub(crate) fn end(&mut self, token: Token) -> Result<(), CommandError> {
        let place = self.list.iter().position(|(begun, _)| *begun == token);
        self.list.remove(place.ok_or(CommandError::NoSuchWatch)?);
        Ok(())
    }

    /// Lists the watches of members.
    pub(crate) fn of_members(&self) -> impl Iterator<Item = Token> {
        self.list.iter().filter(|(_, what)| matches!(what, Watch::Members)).map(|(token, _)| *token)
    }

    /// Lists the watches of services, each with the beginning of the names that it is about.
    pub(crate) fn of_services(&self) -> impl Iterator<Item = (Token, &Bytes)> {
        self.list.iter().filter_map(|(token, what)| match what {
            Watch::Services { prefix } => Some((*token, prefix)),
            Watch::Members | Watch::Partitions => None,
        })
    }

    /// Lists the watches of partitions.
    pub(crate) fn of_partitions(&self) -> impl Iterator<Item = Token> {
        self.list.iter().filter(|(_, what)| matches!(what, Watch::Partitions)).map(|(token, _)| *token)
    }

    /// Folds what matters of the state: nothing while nobody watches.
    pub(crate) fn digest(&self, into: &mut Fold) {
        self.list.iter().for_each(|(token, _)| into.word(token.0));
    }

    pub(crate) fn check(&self) {
        assert!(self.list.len() <= self.max, "more watches than watches_max");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_is_listed_with_its_kind_until_it_ends() {
        let mut watches = Watches::new(3);
        let prefix = Bytes::from_static(b"room/");
        assert_eq!(watches.begin(Token(1), Watch::Members), Ok(()));
        assert_eq!(watches.begin(Token(2), Watch::Services { prefix: prefix.clone() }), Ok(()));
        assert_eq!(watches.begin(Token(3), Watch::Partitions), Ok(()));
        assert!(watches.of_members().eq([Token(1)]));
        assert!(watches.of_services().eq([(Token(2), &prefix)]));
        assert!(watches.of_partitions().eq([Token(3)]));
        assert_eq!(watches.end(Token(1)), Ok(()));
        assert_eq!(watches.end(Token(1)), Err(CommandError::NoSuchWatch));
        assert_eq!(watches.of_members().count(), 0);
    }

    #[test]
    fn watches_are_bounded_and_a_token_names_one() {
        let mut watches = Watches::new(2);
        assert_eq!(watches.begin(Token(1), Watch::Members), Ok(()));
        assert_eq!(watches.begin(Token(2), Watch::Members), Ok(()));
        assert_eq!(watches.begin(Token(3), Watch::Members), Err(CommandError::Full { max: 2 }));
        assert_eq!(watches.begin(Token(2), Watch::Partitions), Ok(()));
        assert!(watches.of_members().eq([Token(1)]));
        watches.check();
    }
}
