//! Who leads the learners: an oracle made of heartbeats and a time-out.
//!
//! It only saves traffic: one learner acknowledges for all, and if two do, that costs a few
//! datagrams. So it is much simpler than the election of proposers. The rule: learner 1 first, by
//! convention; when the leader falls silent, the smallest live id, except the one that fell silent
//! until it is heard again. A working leader is never displaced by a smaller id that returns.

use std::collections::BTreeMap;
use std::time::Duration;

use super::message::Standing;
use super::types::Time;

/// How many learners are remembered, at most.
const PEERS_MAX: usize = 256;

/// One learner's view of who leads the learners.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LeadingLearner {
    me: u32,
    timeout: Duration,
    /// When each of the others was heard last.
    peers: BTreeMap<u32, Time>,
    /// Who leads, or is expected to.
    leader: Option<u32>,
    /// Whether `leader` was heard to lead, rather than only expected to.
    confirmed: bool,
    /// When `leader` is given up, unless it is heard before.
    deadline: Time,
    /// The last leader that was given up, until it is heard again.
    silent: Option<u32>,
    /// When the deadline was last checked.
    checked: Time,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// Somebody leads, or is about to.
    Wait,
    /// Lead.
    Lead,
}

impl LeadingLearner {
    /// The view of learner `me` at its start. `listen` is how long learner 1 waits for a leader
    /// that may be at work already.
    pub fn new(me: u32, timeout: Duration, listen: Duration, now: Time) -> Self {
        let (leader, patience) = if me == 1 { (None, listen) } else { (Some(1), timeout) };
        LeadingLearner {
            me,
            timeout,
            peers: BTreeMap::new(),
            leader,
            confirmed: false,
            deadline: now + patience,
            silent: None,
            checked: now,
        }
    }

    /// A heartbeat of learner `id`.
    pub fn on_heartbeat(&mut self, now: Time, id: u32, standing: Standing) {
        assert_ne!(id, self.me, "the caller drops what is its own");
        if self.peers.len() < PEERS_MAX || self.peers.contains_key(&id) {
            self.peers.insert(id, now);
        }
        if self.silent == Some(id) {
            self.silent = None;
        }
        if standing == Standing::Leads {
            self.leader = Some(id);
            self.confirmed = true;
            self.deadline = now + self.timeout;
        } else if self.leader == Some(id) && self.confirmed {
            // It has stopped leading: there is nothing to wait for.
            self.confirmed = false;
            self.deadline = now;
        }
    }

    /// Checks the deadline. A learner that does not lead calls it a few times per time-out.
    pub fn check(&mut self, now: Time) -> NextStep {
        let paused = now.since(self.checked) > self.timeout / 2;
        self.checked = now;
        if paused {
            // This process slept: the silence was ours. Everybody gets a full time-out again.
            self.deadline = self.deadline.max(now + self.timeout);
            self.peers.values_mut().for_each(|heard| *heard = now);
        }
        if now < self.deadline {
            return NextStep::Wait;
        }
        if self.leader.is_some() {
            self.silent = self.leader;
        }
        let alive = self.peers.iter().filter(|(_, heard)| now.since(**heard) < self.timeout);
        let others = alive.map(|(id, _)| *id).filter(|id| Some(*id) != self.silent);
        let candidate = others.chain([self.me]).min().unwrap_or(self.me);
        self.leader = Some(candidate);
        self.confirmed = false;
        self.deadline = now + self.timeout;
        if candidate == self.me { NextStep::Lead } else { NextStep::Wait }
    }

    /// Called instead of [`LeadingLearner::check`] while this learner leads.
    pub fn rest(&mut self, now: Time) {
        self.checked = now;
    }

    /// Who leads, as far as this learner knows.
    pub fn leader(&self) -> Option<u32> {
        self.leader.filter(|_| self.confirmed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(100);
    const LISTEN: Duration = Duration::from_millis(20);

    fn at(ms: u64) -> Time {
        Time(ms * 1000)
    }

    /// Checks every 10 ms from `from` to `to`, and returns when it said to lead.
    fn lead_time(learner: &mut LeadingLearner, from: u64, to: u64) -> Option<u64> {
        (from..to).step_by(10).find(|ms| learner.check(at(*ms)) == NextStep::Lead)
    }

    #[test]
    fn learner_1_leads_first_and_the_others_wait_for_it() {
        let mut first = LeadingLearner::new(1, TIMEOUT, LISTEN, at(0));
        assert_eq!(lead_time(&mut first, 0, 200), Some(20));
        let mut second = LeadingLearner::new(2, TIMEOUT, LISTEN, at(0));
        assert_eq!(lead_time(&mut second, 0, 200), Some(100));
    }

    #[test]
    fn a_working_leader_is_not_displaced_by_a_smaller_id() {
        let mut first = LeadingLearner::new(1, TIMEOUT, LISTEN, at(0));
        for ms in (0..1000).step_by(10) {
            first.on_heartbeat(at(ms), 3, Standing::Leads);
            assert_eq!(first.check(at(ms)), NextStep::Wait);
        }
        assert_eq!(first.leader(), Some(3));
    }

    #[test]
    fn the_smallest_survivor_follows_and_the_silent_one_is_passed_over() {
        let mut third = LeadingLearner::new(3, TIMEOUT, LISTEN, at(0));
        third.on_heartbeat(at(0), 1, Standing::Leads);
        let led = (10..400).step_by(10).find(|ms| third.check(at(*ms)) == NextStep::Lead);
        assert_eq!(led, Some(100));
        let mut second = LeadingLearner::new(2, TIMEOUT, LISTEN, at(0));
        second.on_heartbeat(at(5), 1, Standing::Leads);
        second.on_heartbeat(at(10), 1, Standing::Stands);
        assert_eq!(second.check(at(10)), NextStep::Lead, "it leads no more, and says so");
    }

    #[test]
    fn a_pause_of_our_own_is_not_taken_for_silence_of_the_leader() {
        let mut second = LeadingLearner::new(2, TIMEOUT, LISTEN, at(0));
        second.on_heartbeat(at(0), 1, Standing::Leads);
        assert_eq!(second.check(at(5000)), NextStep::Wait);
        assert_eq!(lead_time(&mut second, 5010, 6000), Some(5100));
    }
}
