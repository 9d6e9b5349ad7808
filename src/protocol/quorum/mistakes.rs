//! Majorities with deliberate bugs; see `protocol::parts`.

use std::ops::Deref;

use crate::bugs::{self, Bug};

/// [`super::Quorum`], but for its mistakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quorum(super::Quorum);

impl Deref for Quorum {
    type Target = super::Quorum;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Quorum {
    /// See [`super::Quorum::majority_of`].
    pub fn majority_of(acceptor_count: u32) -> Self {
        Quorum(super::Quorum::majority_of(acceptor_count))
    }

    /// See [`super::Quorum::needed`].
    pub fn needed(self) -> u32 {
        if bugs::has(Bug::HalfIsEnough) {
            return self.acceptor_count.div_ceil(2);
        }
        self.0.needed()
    }
}

/// [`super::Tally`], but for its mistakes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tally(super::Tally);

impl Deref for Tally {
    type Target = super::Tally;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Tally {
    /// See [`super::Tally::vote`].
    pub fn vote(&mut self, acceptor: u32) {
        let next = (self.count() + 1).min(64);
        self.0.vote(if bugs::has(Bug::CountsMessages) { next } else { acceptor });
    }

    /// See [`super::Tally::is_won`].
    pub fn is_won(self, quorum: Quorum) -> bool {
        self.count() >= quorum.needed()
    }
}
