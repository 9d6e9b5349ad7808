//! Processes that claim decisions which no campaign brought up: they remember the cluster from
//! before its acceptors lost their data or were given new data.
//!
//! A leader that is quorate knows of every decision: each was made by a quorum, which told its
//! campaign, or by a later leader, of which a quorum tells it soon. So a process that goes on
//! claiming more is wrong, and is logged once.

use std::collections::BTreeMap;
use std::time::Duration;

use log::warn;

use super::Proposer;
use crate::protocol::actor::{Effects, Ignored};
use crate::protocol::types::{Sender, Time};

/// How many processes are remembered, at most.
const CLAIMANTS_MAX: usize = 256;

/// Who has claimed too much.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Claims {
    /// When each first did, and whether that was logged.
    claimed: BTreeMap<Sender, (Time, bool)>,
}

impl Claims {
    /// `from` claims that more is decided than a leader which is quorate knows of. It is wrong if
    /// that lasts for longer than `patience`.
    pub fn note(&mut self, now: Time, from: Sender, patience: Duration) {
        if self.claimed.len() >= CLAIMANTS_MAX && !self.claimed.contains_key(&from) {
            return;
        }
        let (first, is_told) = self.claimed.entry(from).or_insert((now, false));
        if now.since(*first) >= patience && !std::mem::replace(is_told, true) {
            let node = from.node;
            warn!(
                "{node} is of an earlier life of the cluster: it holds decisions that no acceptor \
                 knows of; end it, and start it again"
            );
        }
    }
}

impl Proposer {
    pub(super) fn note_claim(&mut self, now: Time, from: Sender) {
        if self.election.is_quorate() {
            self.claims.note(now, from, self.settings.leader_timeout * 2);
        }
    }

    pub(super) fn note_double(&self, fx: &mut Effects) {
        warn!("another process runs as P{}: give each its own id", self.options.id);
        fx.ignore(Ignored::SameId);
    }
}
