//! Does a person learn that a proposer waits for acceptors?

use std::collections::BTreeSet;
use std::time::Duration;

use log::{info, warn};

use super::Proposer;
use crate::protocol::settings::Settings;
use crate::protocol::types::{NodeId, Role, Time};
use crate::protocol::warned::Warned;

/// How long a proposer waits for a majority before it says so, if its time-outs are short:
/// processes of one cluster start one after the other, and a short cut heals.
const TELL_FIRST: Duration = Duration::from_secs(2);

/// How often it says so, at most.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// A majority that is missed, or was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Lack {
    since: Option<Time>,
    warned: Warned,
}

impl Proposer {
    /// Logs now and then that no majority of the acceptors answers, and once that one does again.
    pub(super) fn tell_lack(&mut self, now: Time) {
        if self.election.is_quorate() {
            self.lack.since = None;
            if self.lack.warned.is_news() {
                info!(target: "paxos::report", "a majority of the acceptors answers");
            }
            return;
        }
        let since = *self.lack.since.get_or_insert(now);
        let Settings { leader_timeout, heartbeat_interval, .. } = self.settings;
        let patience = TELL_FIRST.max(leader_timeout * 2).max(heartbeat_interval * 6);
        if now.since(since) < patience || !self.lack.warned.is_due(now, TELL_AGAIN) {
            return;
        }
        let answer: BTreeSet<u32> = self.election.vouching_now(now).collect();
        let name = |id| NodeId::new(Role::Acceptor, id).to_string();
        let names = answer.into_iter().map(name).collect::<Vec<_>>().join(", ");
        warn!(
            "too few acceptors answer ({} of {}; needed: {}): this proposer can decide nothing \
             until more do",
            if names.is_empty() { "none" } else { &names },
            self.settings.acceptor_count,
            self.quorum.needed(),
        );
    }
}
