//! The election with deliberate bugs; see `protocol::parts`.

use std::ops::{Deref, DerefMut};

use super::{Loss, NextStep};
use crate::bugs::{self, Bug};
use crate::protocol::message::{Announcement, Echo, Plea, Standing};
use crate::protocol::settings::Settings;
use crate::protocol::types::{Ballot, NodeId, Time};

/// [`super::Election`], but for its mistakes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Election(super::Election);

impl Deref for Election {
    type Target = super::Election;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Election {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Election {
    /// See [`super::Election::new`].
    pub fn new(me: u32, boot: u64, settings: &Settings) -> Self {
        Election(super::Election::new(me, boot, settings))
    }

    /// See [`super::Election::on_echo`].
    pub fn on_echo(&mut self, now: Time, acceptor: u32, echo: &Echo) -> bool {
        let mut echo = echo.clone();
        for heard in &mut echo.heard {
            heard.announcement = self.mishear(heard.announcement);
        }
        let is_doubled = self.0.on_echo(now, acceptor, &echo);
        if bugs::has(Bug::CountsAnyEcho) {
            self.vouches.vouch(now, acceptor, now);
            self.look(now);
        }
        is_doubled
    }

    /// See [`super::Election::on_promised`].
    pub fn on_promised(&mut self, acceptor: u32, ballot: Ballot) {
        self.0.on_promised(acceptor, ballot);
        if bugs::has(Bug::YieldsToAnyNack) {
            let quorum = self.quorum;
            quorum.acceptors().for_each(|acceptor| self.0.on_promised(acceptor, ballot));
        }
    }

    /// See [`super::Election::on_word`].
    pub fn on_word(&mut self, now: Time, id: u32, boot: u64, announcement: Announcement) {
        let announcement = self.mishear(announcement);
        self.0.on_word(now, id, boot, announcement);
    }

    /// Misunderstands a proposer's announcement.
    fn mishear(&mut self, mut announcement: Announcement) -> Announcement {
        if bugs::has(Bug::FollowsUselessLeader) {
            let is_in_office =
                matches!(announcement.standing, Standing::Leads | Standing::Campaigns);
            announcement.quorate |= is_in_office;
        }
        if bugs::has(Bug::RepeatsTheDead) {
            self.peers.values_mut().for_each(|peer| peer.announcement.stamp = Time::ZERO);
        }
        announcement
    }

    /// See [`super::Election::on_plea`].
    pub fn on_plea(&mut self, now: Time, from: NodeId, mut plea: Plea) {
        if bugs::has(Bug::TakesUnprovenPleas) {
            plea.offered = vec![self.me];
        }
        self.0.on_plea(now, from, plea);
    }

    /// See [`super::Election::check`].
    pub fn check(&mut self, now: Time, willing: bool) -> NextStep {
        self.look(now);
        let quorate_since = self.quorate_since;
        if bugs::has(Bug::SlowDisksDepose) {
            self.quorate_since = quorate_since.map(|_| Time::ZERO);
        }
        let shortest = self.pace.interval * 2;
        if let Some(suspicion) = &mut self.suspicion
            && now.since(suspicion.since) >= shortest
            && bugs::has(Bug::CampaignsUnheard)
        {
            suspicion.since = Time::ZERO;
        }
        if let Some(works) = &mut self.works
            && bugs::has(Bug::CallsEarly)
        {
            works.since = Time::ZERO;
        }
        let verdict = self.0.check(now, willing);
        self.quorate_since = quorate_since;
        let is_ready = self.suspicion.is_some_and(|suspicion| suspicion.ready.is_some());
        match verdict {
            NextStep::TakeOver if bugs::has(Bug::IgnoresPleas) => NextStep::Wait,
            _ if is_ready && bugs::has(Bug::SameRankForAll) => NextStep::Campaign,
            _ => verdict,
        }
    }

    /// See [`super::Election::has_successor`].
    pub fn has_successor(&self, now: Time) -> bool {
        self.0.has_successor(now) && !bugs::has(Bug::LeadsWithoutProgress)
    }

    /// See [`super::Election::has_lost`].
    pub fn has_lost(&mut self, now: Time, ballot: Ballot) -> Option<Loss> {
        let loss = self.0.has_lost(now, ballot);
        loss.filter(|loss| *loss != Loss::Outbid || !bugs::has(Bug::HoldsOnOutbid))
    }
}
