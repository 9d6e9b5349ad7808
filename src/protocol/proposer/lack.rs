//! Does a person learn that a proposer waits for acceptors?

use std::collections::BTreeSet;
use std::time::Duration;

use log::{info, warn};

use super::Proposer;
use crate::protocol::settings::Settings;
use crate::protocol::types::{NodeId, Role, Time};

/// How long a proposer waits for a majority before it says so, if its time-outs are short:
/// processes of one cluster start one after the other, and a short cut heals.
const TELL_FIRST: Duration = Duration::from_secs(2);

/// How often it says so, at most.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// A majority that is missed, or was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Lack {
    since: Option<Time>,
    /// When that was last logged, and whether since then a majority has answered.
    told: Option<Time>,
    is_over: bool,
}

impl Proposer {
    /// Logs now and then that no majority of the acceptors answers, and once that one does again.
    pub(super) fn tell_lack(&mut self, now: Time) {
        if self.election.is_quorate() {
            self.lack.since = None;
            if self.lack.told.is_some() && !std::mem::replace(&mut self.lack.is_over, true) {
                info!(target: "paxos::report", "a majority of the acceptors answers");
            }
            return;
        }
        let since = *self.lack.since.get_or_insert(now);
        let Settings { leader_timeout, heartbeat_interval, .. } = self.settings;
        let patience = TELL_FIRST.max(leader_timeout * 2).max(heartbeat_interval * 6);
        let is_due = self.lack.told.is_none_or(|told| now.since(told) >= TELL_AGAIN);
        if now.since(since) < patience || !is_due {
            return;
        }
        (self.lack.told, self.lack.is_over) = (Some(now), false);
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
