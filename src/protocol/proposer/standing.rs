//! What does a proposer announce of itself, and when does that change: standby, candidate, leader,
//! or stepping down?
//!
//! `election` has the rules; this file carries them out.

use log::{info, warn};

use super::{Phase, Proposer};
use crate::protocol::actor::Effects;
use crate::protocol::election::{Loss, NextStep};
use crate::protocol::figures::Figures;
use crate::protocol::message::{Announcement, Heartbeat, Message, Offer, Plea, Standing};
use crate::protocol::timer::Timer;
use crate::protocol::types::{Ballot, Role, Sender, Session, Time};
use crate::protocol::versions::Version;

/// In how many consecutive heartbeats clients are told news.
const NEWS_REPEATED: u32 = 5;

/// How many times as long a leader waits for answers while disks are full.
const FULL_PATIENCE: u32 = 16;

/// Of the heartbeats that follow, one in this many goes to clients.
const CLIENTS_EVERY: u32 = 10;

/// How many pleas are answered in a heartbeat's interval, at most.
const PLEADED_MAX: usize = 1024;

/// What a proposer says of itself that others must know at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Said {
    standing: Standing,
    quorate: bool,
    /// Whether it leads and takes no new values.
    full: bool,
    version: Version,
}

impl Proposer {
    /// The version of the wire format in which it sends: while it leads, the one announced in its
    /// last heartbeat; else the leader's.
    pub(super) fn version_now(&self, now: Time) -> Version {
        match self.announced {
            Some(said) if self.is_leading() => said.version,
            Some(_) | None => self.version.version(now, &self.settings),
        }
    }

    /// The version that the next heartbeat announces. It is computed only then, for that costs more
    /// than handling a value.
    fn judge_version(&self, now: Time) -> Version {
        if !self.is_leading() {
            return self.version_now(now);
        }
        let word = self.election.word_lasts(now);
        self.members.version(now, self.election.others_read(), word, &self.settings)
    }

    /// Checks that everything that must be sent is in the network, or will be. For the simulator.
    pub fn check(&self) -> Result<(), String> {
        match &self.phase {
            Phase::Leading(leadership) => leadership.check(),
            Phase::Standby | Phase::Campaign { .. } => Ok(()),
        }
    }

    /// Steps down when acceptors answer, but not to what matters: another proposer may be better
    /// connected. Links that carry small datagrams only behave like that.
    pub(super) fn step_down_stalled(&mut self, now: Time, fx: &mut Effects) {
        warn!("steps down: acceptors are heard, but no quorum of them answers what it asks");
        self.step_down(now, fx);
        self.abstains_until = now + self.settings.progress_timeout * 4;
    }

    /// Steps down when a quorum is heard but has answered nothing for too long, and there is
    /// another proposer to take over. A leader that hears no quorum stays: it blocks nobody.
    pub(super) fn check_progress(&mut self, now: Time, fx: &mut Effects) {
        let since = match &self.phase {
            Phase::Standby => None,
            Phase::Campaign { since, .. } => Some(*since),
            Phase::Leading(leadership) => leadership.stalled_since(),
        };
        let (Some(since), Some(quorate)) = (since, self.election.quorate_since()) else { return };
        // A few tries, each of which may be lost.
        let patience = self.settings.progress_timeout.max(self.settings.retry_max * 8);
        // Slow disks are slow under any leader.
        let patience = patience.max(self.election.word_lasts(now) * 2);
        // Full disks are full under any leader, and each new one would store again what the last
        // left behind.
        let patience = if self.leads_full() { patience * FULL_PATIENCE } else { patience };
        let is_stalled = now.since(since.max(quorate)) >= patience;
        if is_stalled && self.election.has_successor(now) {
            self.step_down_stalled(now, fx);
        }
    }

    /// Steps down if somebody else leads, or if this ballot cannot win any more.
    pub(super) fn check_office(&mut self, now: Time, fx: &mut Effects) {
        let Some(ballot) = self.own_ballot() else { return };
        match self.election.has_lost(now, ballot) {
            Some(Loss::Outbid) => {
                info!("gives up {ballot}: a quorum has promised higher ballots");
                self.step_down(now, fx);
            }
            Some(Loss::Replaced(higher)) => {
                info!("is replaced: {higher} leads, {ballot} is over");
                self.step_down(now, fx);
            }
            None => {}
        }
    }

    /// Campaigns if it is this proposer's turn to lead.
    pub(super) fn check_election(&mut self, now: Time, fx: &mut Effects) {
        self.check_office(now, fx);
        if !matches!(self.phase, Phase::Standby) {
            return;
        }
        match self.election.check(now, now >= self.abstains_until) {
            NextStep::Wait => {}
            NextStep::Ask => self.announce(now, true, fx),
            NextStep::Campaign => self.campaign(now, fx),
            NextStep::TakeOver => {
                info!(
                    "takes over: a process that the leader does not serve asks for it, or a person"
                );
                self.campaign(now, fx);
            }
        }
    }

    /// What it is to the other proposers.
    pub fn standing(&self, now: Time) -> Standing {
        match &self.phase {
            Phase::Leading(_) => Standing::Leads,
            Phase::Campaign { .. } => Standing::Campaigns,
            Phase::Standby if now < self.abstains_until => Standing::Abstains,
            Phase::Standby => Standing::Stands,
        }
    }

    /// The ballot it leads or campaigns with; of a standby, that of the leader which it follows.
    pub fn ballot(&self) -> Ballot {
        self.own_ballot().unwrap_or(self.followed)
    }

    /// Its present figures, for status and metrics.
    pub(super) fn look_at(&self, now: Time) -> Figures {
        let own = self.own_ballot();
        let leader = match &self.phase {
            Phase::Leading(_) => own.filter(|_| self.election.is_quorate()),
            Phase::Standby | Phase::Campaign { .. } => self.election.leader(now),
        };
        let in_flight = match &self.phase {
            Phase::Leading(leadership) => leadership.open() as u64,
            Phase::Standby | Phase::Campaign { .. } => 0,
        };
        Figures {
            leads: self.is_leading(),
            ballot: own,
            leader,
            quorum_heard: self.election.quorum_heard(),
            missing: self.catch_up.lag(&self.log),
            in_flight,
            full: self.leads_full(),
            holders: self.holders(now),
            ..self.log.figures()
        }
    }

    /// Announces its standing: to the acceptors, which repeat it; if it leads or wants to, to the
    /// other proposers as well; and if it leads, to learners and clients.
    pub(super) fn announce(&mut self, now: Time, asks: bool, fx: &mut Effects) {
        let (standing, quorate) = (self.standing(now), self.election.is_quorate());
        let full = self.leads_full();
        let version = self.judge_version(now);
        self.members.on_sent(now, version);
        let said = Some(Said { standing, quorate, full, version });
        let is_news = std::mem::replace(&mut self.announced, said) != said;
        self.said = if is_news { 1 } else { self.said.saturating_add(1) };
        let ballot = self.own_ballot().unwrap_or(Ballot::ZERO);
        let stamp = self.election.next_stamp(now);
        let reads = self.settings.versions;
        let announcement = Announcement { standing, quorate, ballot, stamp, reads };
        let heartbeat = Heartbeat::new(version, announcement, self.log.progress());
        let heartbeat = heartbeat.remembering(self.log.session_count());
        let heartbeat = Message::Heartbeat(Heartbeat { asks, full, ..heartbeat });
        let (to, interval): (&[Role], _) = match standing {
            Standing::Leads if self.tells_clients() => {
                (&[Role::Acceptor, Role::Proposer, Role::Learner, Role::Client], 1)
            }
            Standing::Leads => (&[Role::Acceptor, Role::Proposer, Role::Learner], 1),
            Standing::Campaigns => (&[Role::Acceptor, Role::Proposer], 1),
            // Nobody leads: a second process under the same id should hear of it.
            Standing::Stands | Standing::Abstains if asks => (&[Role::Acceptor, Role::Proposer], 3),
            // The others only need to know that it is there.
            Standing::Stands | Standing::Abstains => (&[Role::Acceptor], 3),
        };
        to.iter().for_each(|role| fx.send(*role, heartbeat.clone()));
        fx.set_timer(Timer::Heartbeat, now + self.settings.heartbeat_interval * interval);
    }

    /// A process is not served by the leader. The leader answers that it is there, and the others
    /// soon answer that they hear the plea.
    pub(super) fn on_plea(&mut self, now: Time, from: Sender, plea: Plea, fx: &mut Effects) {
        self.members.on_plea(now, plea.reads);
        self.election.on_plea(now, from.node, plea);
        if let Phase::Leading(leadership) = &mut self.phase {
            if from.node.role == Role::Client {
                let session = Session { client: from.node.id, boot: from.boot };
                leadership.owe_ack_widely(session);
            }
            return;
        }
        if self.pleaded.len() < PLEADED_MAX {
            self.pleaded.insert(from.node);
        }
        self.check_election(now, fx);
    }

    /// Answers the pleas since the last time, those of a group in one datagram or a few: each
    /// reaches the whole group, so one for each plea would cost the square of their number.
    pub(super) fn send_offers(&mut self, now: Time, fx: &mut Effects) {
        let pleaded = std::mem::take(&mut self.pleaded);
        let most = (self.settings.page_bytes() / Offer::CALLER_BYTES_MAX).max(1);
        for role in [Role::Client, Role::Learner] {
            let callers = pleaded.iter().filter(|node| node.role == role).map(|node| node.id);
            let callers: Vec<u32> = callers.collect();
            for to in callers.chunks(most) {
                let (callers, progress) = (self.election.callers(now), self.log.progress());
                fx.send(role, Message::Offer(Offer { to: to.to_vec(), callers, progress }));
            }
        }
    }

    /// Whether clients hear this heartbeat: a few times when it is news, and then seldom, for there
    /// may be a thousand of them, and each one is woken up.
    fn tells_clients(&self) -> bool {
        self.said <= NEWS_REPEATED || self.said.is_multiple_of(CLIENTS_EVERY)
    }

    /// Announces at once what others must know before the next heartbeat.
    pub(super) fn announce_changes(&mut self, now: Time, fx: &mut Effects) {
        let quorate = self.election.is_quorate();
        let Some(said) = self.announced else { return };
        if quorate
            && !said.quorate
            && let Phase::Leading(leadership) = &mut self.phase
        {
            leadership.on_quorate();
        }
        let (standing, full) = (self.standing(now), self.leads_full());
        if said != (Said { standing, quorate, full, ..said }) {
            self.announce(now, false, fx);
        }
    }
}
