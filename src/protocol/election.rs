//! Who leads a group: an oracle made of heartbeats and a time-out.
//!
//! Proposers and learners use it alike. It only has to be right in the end: two leaders at once
//! cost time, never agreement. The rule: member 1 first, by convention; when the leader falls
//! silent, the smallest id that is alive and willing, without the one that fell silent until it is
//! heard again. A leader that works is never displaced by a smaller id that returns.

use std::collections::BTreeMap;
use std::time::Duration;

use super::message::Standing;
use super::types::Time;

/// One member's view of its group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Election {
    me: u32,
    timeout: Duration,
    peers: BTreeMap<u32, Peer>,
    /// Who leads, or is expected to.
    leader: Option<u32>,
    /// Whether `leader` was heard to lead, rather than only expected to.
    confirmed: bool,
    /// When `leader` is given up, unless it is heard before.
    deadline: Time,
    /// The last leader that was given up, until it is heard again.
    silent: Option<u32>,
    /// When the deadline was looked at last.
    checked: Time,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Peer {
    heard: Time,
    standing: Standing,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Somebody leads, or is about to.
    Wait,
    /// Lead.
    Campaign,
}

impl Election {
    /// The view of member `me` at its start. `listen` is how long member 1 waits for a leader that
    /// may be at work already.
    pub fn new(me: u32, timeout: Duration, listen: Duration, now: Time) -> Self {
        let (leader, patience) = if me == 1 { (None, listen) } else { (Some(1), timeout) };
        Election {
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

    /// A heartbeat of member `id`.
    pub fn on_heartbeat(&mut self, now: Time, id: u32, standing: Standing) {
        assert_ne!(id, self.me, "the caller drops what is its own");
        self.peers.insert(id, Peer { heard: now, standing });
        if self.silent == Some(id) {
            self.silent = None;
        }
        match standing {
            Standing::Leads => self.on_leader(now, id),
            // A long log takes a while to page through. Who gets nowhere gives way by itself.
            Standing::Campaigns if !self.confirmed => self.expect(now, id, self.timeout),
            Standing::Campaigns | Standing::Stands | Standing::Abstains => {
                if self.leader == Some(id) && self.confirmed {
                    // It led, and does so no more: there is nothing to wait for.
                    self.confirmed = false;
                    self.deadline = now;
                }
            }
        }
    }

    /// A sign that member `id` leads.
    pub fn on_leader(&mut self, now: Time, id: u32) {
        self.leader = Some(id);
        self.confirmed = true;
        self.deadline = now + self.timeout;
    }

    /// Member `id` is expected to lead soon; it is given up after `patience`.
    pub fn expect(&mut self, now: Time, id: u32, patience: Duration) {
        self.leader = Some(id);
        self.confirmed = false;
        self.deadline = now + patience;
    }

    /// This member leads no more; the next leader is looked for at once.
    pub fn give_way(&mut self, now: Time) {
        self.leader = None;
        self.confirmed = false;
        self.deadline = now;
    }

    /// Looks at the deadline. To be called a few times per time-out by a member that does not
    /// lead; `willing` tells whether it would.
    pub fn check(&mut self, now: Time, willing: bool) -> Verdict {
        let paused = now.since(self.checked) > self.timeout / 2;
        self.checked = now;
        if paused {
            // This process slept: the silence was ours. Everybody gets a full time-out again.
            self.deadline = self.deadline.max(now + self.timeout);
            for peer in self.peers.values_mut() {
                peer.heard = now;
            }
        }
        if now < self.deadline {
            return Verdict::Wait;
        }
        if self.leader.is_some() {
            self.silent = self.leader;
        }
        let candidate = self.candidate(now, willing);
        self.expect(now, candidate, self.timeout);
        if candidate == self.me { Verdict::Campaign } else { Verdict::Wait }
    }

    /// Called instead of [`Election::check`] while this member leads.
    pub fn rest(&mut self, now: Time) {
        self.checked = now;
    }

    /// Who leads as far as this member knows.
    pub fn leader(&self) -> Option<u32> {
        self.leader.filter(|_| self.confirmed)
    }

    /// Whether anybody else in the group is alive.
    pub fn has_company(&self, now: Time) -> bool {
        self.alive(now).next().is_some()
    }

    /// The smallest id that is alive and willing; without a willing one, the smallest alive.
    fn candidate(&self, now: Time, willing: bool) -> u32 {
        let others = || self.alive(now).filter(|(id, _)| Some(**id) != self.silent);
        let standing = others()
            .filter(|(_, peer)| peer.standing != Standing::Abstains)
            .map(|(id, _)| *id)
            .chain(willing.then_some(self.me));
        standing.min().unwrap_or_else(|| {
            others().map(|(id, _)| *id).chain([self.me]).min().unwrap_or(self.me)
        })
    }

    fn alive(&self, now: Time) -> impl Iterator<Item = (&u32, &Peer)> {
        self.peers.iter().filter(move |(_, peer)| now.since(peer.heard) < self.timeout)
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

    /// Checks every 10 ms from `from` to `to`, and returns when it said to campaign.
    fn campaign_time(election: &mut Election, from: u64, to: u64) -> Option<u64> {
        (from..to).step_by(10).find(|ms| election.check(at(*ms), true) == Verdict::Campaign)
    }

    #[test]
    fn member_1_leads_first_and_the_others_wait_for_it() {
        let mut first = Election::new(1, TIMEOUT, LISTEN, at(0));
        assert_eq!(campaign_time(&mut first, 0, 200), Some(20));
        let mut second = Election::new(2, TIMEOUT, LISTEN, at(0));
        assert_eq!(campaign_time(&mut second, 0, 200), Some(100));
    }

    #[test]
    fn a_working_leader_is_not_displaced_by_a_smaller_id() {
        let mut first = Election::new(1, TIMEOUT, LISTEN, at(0));
        for ms in (0..1000).step_by(10) {
            first.on_heartbeat(at(ms), 3, Standing::Leads);
            assert_eq!(first.check(at(ms), true), Verdict::Wait);
        }
        assert_eq!(first.leader(), Some(3));
    }

    #[test]
    fn the_smallest_willing_survivor_follows_and_the_silent_one_is_passed_over() {
        let mut third = Election::new(3, TIMEOUT, LISTEN, at(0));
        third.on_heartbeat(at(0), 1, Standing::Leads);
        let mut campaigned = None;
        for ms in (10..400).step_by(10) {
            third.on_heartbeat(at(ms), 2, Standing::Abstains);
            if third.check(at(ms), true) == Verdict::Campaign {
                campaigned = Some(ms);
                break;
            }
        }
        // Member 1 is silent and 2 abstains.
        assert_eq!(campaigned, Some(100));
    }

    #[test]
    fn a_leader_that_gives_way_is_replaced_without_waiting() {
        let mut second = Election::new(2, TIMEOUT, LISTEN, at(0));
        second.on_heartbeat(at(5), 1, Standing::Leads);
        second.on_heartbeat(at(10), 1, Standing::Abstains);
        assert_eq!(second.check(at(10), true), Verdict::Campaign);
    }

    #[test]
    fn a_long_campaign_is_not_cut_short() {
        let mut third = Election::new(3, TIMEOUT, LISTEN, at(0));
        for ms in (0..1000).step_by(10) {
            third.on_heartbeat(at(ms), 2, Standing::Campaigns);
            assert_eq!(third.check(at(ms), true), Verdict::Wait);
        }
    }

    #[test]
    fn a_pause_of_our_own_is_not_taken_for_silence_of_the_leader() {
        let mut second = Election::new(2, TIMEOUT, LISTEN, at(0));
        second.on_heartbeat(at(0), 1, Standing::Leads);
        assert_eq!(second.check(at(5000), true), Verdict::Wait);
        assert_eq!(campaign_time(&mut second, 5010, 6000), Some(5100));
    }
}
