//! What a client logs about what it waits for.

use std::time::Duration;

use log::{info, warn};

use super::Client;
use crate::protocol::message::Assignment;
use crate::protocol::settings::Settings;
use crate::protocol::types::{Counted, Instance, Time};

/// How often a client logs that it waits for room on the acceptors' disks.
const TELL_FULL: Duration = Duration::from_secs(60);

/// How often a client logs that it waits for others before the leader accepts the instance it asks
/// for.
const TELL_FAR: Duration = Duration::from_secs(10);

/// How long a client waits for a leader before it logs that, if its time-outs are short, and how
/// often it then does at most.
const TELL_UNSERVED: Duration = Duration::from_secs(2);
const TELL_UNSERVED_AGAIN: Duration = Duration::from_secs(60);

impl Client {
    /// Logs now and then that no leader answers, while something is to be answered, and once one
    /// does again.
    pub(super) fn tell_unserved(&mut self, now: Time) {
        let Settings { leader_timeout, retry_max, .. } = self.settings;
        let patience = TELL_UNSERVED.max(leader_timeout * 2).max(retry_max * 2);
        let is_served = self.unserved_since().is_none_or(|since| now.since(since) < patience);
        if is_served {
            if self.warned_unserved.is_news() {
                info!(target: "paxos::report", "a leader answers");
            }
        } else if self.warned_unserved.is_due(now, TELL_UNSERVED_AGAIN) {
            warn!(
                "no leader with a majority of the acceptors has answered for {} s: values wait \
                 until one does (`paxos status` shows which processes run)",
                now.since(self.served).as_secs()
            );
        }
    }

    /// Logs now and then what the client waits for, while it asks for an instance that the leader
    /// does not take requests for yet.
    pub(super) fn tell_far(&mut self, now: Time, watermark: Instance) {
        let Assignment::Client { first } = self.assignment else { return };
        let instance = first.plus(self.front.0 - 1);
        let ahead = self.settings.instances_ahead;
        if self.window.is_empty() || instance < watermark.plus(ahead) {
            self.told_far = None;
            return;
        }
        if self.told_far.is_none_or(|told| now.since(told) >= TELL_FAR) {
            self.told_far = Some(now);
            warn!(
                "instance {instance} is too far ahead: instance {watermark} is not decided, and no \
                 leader takes requests for {ahead} instances above that or more \
                 (instances_ahead); waiting until those below are decided"
            );
        }
    }

    /// Logs now and then that the client waits for room on the acceptors' disks, while it does.
    pub(super) fn tell_full(&mut self, now: Time) {
        if !self.is_full {
            self.told_full = None;
        } else if !self.window.is_empty()
            && self.told_full.is_none_or(|told| now.since(told) >= TELL_FULL)
        {
            self.told_full = Some(now);
            warn!(
                "the disks of too many acceptors are full, and the leader takes no new values; \
                 waiting until there is room"
            );
        }
    }
}
