//! Echoes of a proposer's stamps with deliberate bugs; see `protocol::parts`.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use crate::bugs::{self, Bug};
use crate::protocol::types::Time;

/// [`super::Vouches`], but for its mistakes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Vouches(super::Vouches);

impl Deref for Vouches {
    type Target = super::Vouches;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Vouches {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Vouches {
    /// See [`super::Vouches::new`].
    pub fn new(least: Duration) -> Self {
        Vouches(super::Vouches::new(least))
    }

    /// See [`super::Vouches::vouch`].
    pub fn vouch(&mut self, now: Time, acceptor: u32, stamp: Time) {
        let awake_since = self.awake_since;
        if bugs::has(Bug::NeverLearnsSlowEchoes) {
            self.awake_since = Time(u64::MAX);
        }
        self.0.vouch(now, acceptor, stamp);
        self.awake_since = awake_since;
    }

    /// See [`super::Vouches::now`].
    pub fn now(&self, now: Time, slack: Option<Duration>) -> impl Iterator<Item = u32> {
        let is_forever = bugs::has(Bug::VouchesForever);
        let ever = self.last.keys().copied().filter(move |_| is_forever);
        ever.chain(self.0.now(now, slack).filter(move |_| !is_forever))
    }
}
