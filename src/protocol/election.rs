//! Who leads the proposers? An oracle made of announcements, echoes and time-outs.
//!
//! It only has to be right eventually: two leaders at once cost time, never agreement, for all that
//! is decided here is *which proposer sends a Prepare, and when*. The aim is that one leads
//! whenever some proposer and a majority of the acceptors hear each other, even if all other links
//! are cut, in either direction, for ever; and that a leader in that position is left alone.
//!
//! Every proposer announces itself to the acceptors, with a stamp. Acceptors repeat to all
//! proposers which of them they heard ([`Echo`]), so the acceptors are the detour around every link
//! that is cut between two proposers. The rules:
//!
//!  1. A proposer is *quorate* while it finds its own stamps in the echoes of a majority, as often
//!     as these come (`vouches`). A heartbeat that arrives proves one direction; only a stamp that
//!     comes back proves both. (OmniPaxos, EuroSys 2023, asks for the same, of servers.)
//!  2. A peer *works* while it leads or campaigns, says that it is quorate, and keeps saying so. A
//!     leader that has lost its quorum stays in office, but blocks nobody.
//!  3. A proposer campaigns only if no peer works, if it has been quorate without a gap for longer
//!     than its own announcements last (one that has just started, for a time-out), and if a
//!     majority has answered an announcement that it made *after* it began to suspect. So one that
//!     has just gone deaf raises no ballot ("pre-vote": Ongaro, thesis, 9.6).
//!  4. Of several that may campaign, the smallest id goes first; the others wait a time-out each.
//!  5. A proposer that leads or campaigns steps down when so few acceptors are left for its ballot
//!     that it cannot win, or when a peer works with a higher ballot. One refusal is not enough.
//!  6. A quorum is not enough for a leader: clients and learners that no leader serves say so, and
//!     a proposer that is proven to reach one of them takes over (`callers`).

mod callers;
#[cfg(all(test, feature = "bugs"))]
pub mod mistakes;
pub(super) mod vouches;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use self::callers::Callers;
use super::message::{Announcement, Echo, Plea, Standing};
use super::parts::{Quorum, Vouches};
use super::settings::Settings;
use super::types::{Ballot, NodeId, Time};
use super::versions::Versions;

/// How many incarnations of proposers are remembered, at most, so that a forger cannot fill the
/// memory.
const PEERS_MAX: usize = 128;

/// How long changes of leader are remembered, and how many.
const CHANGES_MEMORY: Duration = Duration::from_secs(60);
const CHANGES_MAX: usize = 8;

/// One proposer's view of who leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Election {
    me: u32,
    boot: u64,
    quorum: Quorum,
    pace: Pace,
    /// The stamp of its last announcement.
    stamp: Time,
    /// Which acceptors repeat its stamps.
    vouches: Vouches,
    /// The highest ballot that each acceptor is known to have promised.
    promised: BTreeMap<u32, Ballot>,
    /// The other proposers by id and boot number, and the last announcement of each.
    peers: BTreeMap<(u32, u64), Peer>,
    /// Since when a majority vouches, without a gap.
    quorate_since: Option<Time>,
    /// Whether there was a gap before that.
    has_lost_quorum: bool,
    /// Since when no peer works, and when the others were last asked about it.
    suspicion: Option<Suspicion>,
    /// The ballot that works, or the last one that did.
    works: Option<Works>,
    callers: Callers,
    /// When the leader changed within the last minute.
    changes: VecDeque<Time>,
    is_in_office: bool,
}

/// The settings that matter here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Pace {
    interval: Duration,
    timeout: Duration,
    offer_memory: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Peer {
    announcement: Announcement,
    /// When it last said something new.
    advanced: Time,
    /// When it was first heard.
    first: Time,
    /// Whether it knew of more decisions than this proposer when its heartbeat last came.
    is_ahead: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Works {
    ballot: Ballot,
    /// Since when it works, apart from gaps that are shorter than announcements last.
    since: Time,
    /// When it was last seen to work, and whether it does now.
    last: Time,
    is_on: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Suspicion {
    since: Time,
    asked: Time,
    /// Since when only smaller ids stand between this proposer and a campaign.
    ready: Option<Time>,
}

/// What a proposer that stands by should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// Stand by: another proposer leads, or will.
    Wait,
    /// Announce yourself, and ask for an echo at once: no proposer seems to lead.
    Ask,
    /// Campaign: no other proposer leads.
    Campaign,
    /// Campaign: the leader does not reach a process that you reach.
    TakeOver,
}

/// Why a proposer that leads or campaigns must step down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Too many acceptors promised a higher ballot.
    Outbid,
    /// This ballot, a higher one, leads and works.
    Replaced(Ballot),
}

impl Election {
    /// The view of proposer `me` with boot number `boot`, at its start.
    pub fn new(me: u32, boot: u64, settings: &Settings) -> Self {
        Election {
            me,
            boot,
            quorum: Quorum::majority_of(settings.acceptor_count),
            pace: Pace {
                interval: settings.heartbeat_interval,
                timeout: settings.leader_timeout,
                offer_memory: settings.offer_memory(),
            },
            stamp: Time::ZERO,
            vouches: Vouches::new(settings.leader_timeout * 2),
            promised: BTreeMap::new(),
            peers: BTreeMap::new(),
            quorate_since: None,
            has_lost_quorum: false,
            suspicion: None,
            works: None,
            callers: Callers::default(),
            changes: VecDeque::new(),
            is_in_office: false,
        }
    }

    /// The stamp of the next announcement: above all earlier ones, or acceptors would take it for
    /// old.
    pub fn next_stamp(&mut self, now: Time) -> Time {
        self.stamp = now.max(self.stamp + Duration::from_micros(1));
        self.stamp
    }

    /// The stamp of the last announcement.
    pub fn last_stamp(&self) -> Time {
        self.stamp
    }

    /// It campaigns or leads from now on, or has stopped.
    pub fn set_office(&mut self, now: Time, is_in_office: bool) {
        self.is_in_office = is_in_office;
        self.suspicion = None;
        self.look(now);
    }

    /// An acceptor repeats which proposers it heard. Returns whether another process runs under
    /// this id.
    pub fn on_echo(&mut self, now: Time, acceptor: u32, echo: &Echo) -> bool {
        // Before the echo counts, or a gap that it ends would go unnoticed.
        self.look(now);
        self.on_promised(acceptor, echo.promised);
        let mut is_doubled = false;
        for heard in &echo.heard {
            let stamp = heard.announcement.stamp;
            if (heard.proposer, heard.boot) == (self.me, self.boot) {
                // Only a forger repeats a stamp that was never sent.
                if stamp <= self.stamp {
                    self.vouches.vouch(now, acceptor, stamp);
                }
                continue;
            }
            self.on_word(now, heard.proposer, heard.boot, heard.announcement);
            if heard.proposer == self.me {
                // An earlier incarnation of this process is silent, but is echoed for a while.
                let memory = self.pace.timeout * 3;
                let is_alive = |peer: &Peer| peer.advanced == now && now.since(peer.first) > memory;
                is_doubled |= self.peers.get(&(heard.proposer, heard.boot)).is_some_and(is_alive);
            }
        }
        self.look(now);
        is_doubled
    }

    /// An acceptor has promised this ballot.
    pub fn on_promised(&mut self, acceptor: u32, ballot: Ballot) {
        let promised = self.promised.entry(acceptor).or_insert(ballot);
        *promised = ballot.max(*promised);
    }

    /// Another proposer announces this, heard from it or from an acceptor.
    pub fn on_word(&mut self, now: Time, id: u32, boot: u64, announcement: Announcement) {
        let known = self.peers.get(&(id, boot));
        let is_ahead = known.is_some_and(|known| known.is_ahead);
        let first = match known {
            // A repetition is no sign of life, or acceptors would keep dead proposers alive.
            Some(known) if announcement.stamp <= known.announcement.stamp => return,
            Some(known) => known.first,
            None => now,
        };
        if known.is_none() && self.peers.len() >= PEERS_MAX {
            let silent = self.peers.iter().min_by_key(|(_, peer)| peer.advanced);
            let silent = silent.map(|(key, _)| *key);
            silent.map(|key| self.peers.remove(&key));
        }
        self.peers.insert((id, boot), Peer { announcement, advanced: now, first, is_ahead });
    }

    /// A heartbeat of another proposer says whether it knows of more decisions than this one.
    pub fn on_progress(&mut self, id: u32, boot: u64, is_ahead: bool) {
        if let Some(peer) = self.peers.get_mut(&(id, boot)) {
            peer.is_ahead = is_ahead;
        }
    }

    /// The versions read by the other proposers that are heard, or were a moment ago.
    pub fn others_read(&self) -> impl Iterator<Item = Versions> {
        self.peers.values().map(|peer| peer.announcement.reads)
    }

    /// A process says that no leader serves it, and which proposers answer it.
    pub fn on_plea(&mut self, now: Time, from: NodeId, plea: Plea) {
        self.callers.on_plea(now, from, plea);
    }

    /// The acceptors that repeat its announcements at present.
    pub fn vouching_now(&self, now: Time) -> impl Iterator<Item = u32> {
        self.vouching(now)
    }

    /// How many processes say that no leader serves them.
    pub fn callers(&self, now: Time) -> u32 {
        self.callers.count(now, self.pace.offer_memory)
    }

    /// Whether a majority of the acceptors repeats this proposer's announcements.
    pub fn is_quorate(&self) -> bool {
        self.quorate_since.is_some()
    }

    /// Since when that is so, without a gap.
    pub fn quorate_since(&self) -> Option<Time> {
        self.quorate_since
    }

    /// The latest of its announcements that a majority has repeated, by its stamp.
    pub fn quorum_heard(&self) -> Option<Time> {
        self.vouches.heard_by(self.needed())
    }

    /// The ballot of the other proposer that leads and works, the highest if there are several.
    pub fn leader(&self, now: Time) -> Option<Ballot> {
        let leads = |peer: &&Peer| peer.announcement.standing == Standing::Leads;
        let working = self.peers.values().filter(|peer| self.does_work(now, peer)).filter(leads);
        working.map(|peer| peer.announcement.ballot).max()
    }

    /// Whether another proposer could lead in its place.
    pub fn has_successor(&self, now: Time) -> bool {
        self.willing_peers(now).next().is_some()
    }

    /// Whether any other proposer is alive.
    pub fn has_company(&self, now: Time) -> bool {
        let memory = self.pace.timeout * 2;
        self.peers.iter().any(|((id, _), peer)| *id != self.me && now.since(peer.advanced) < memory)
    }

    /// The highest ballot that another proposer leads or campaigns with.
    pub fn highest_ballot(&self) -> Ballot {
        let said = self.peers.values().map(|peer| peer.announcement.ballot);
        said.chain(self.promised.values().copied()).max().unwrap_or(Ballot::ZERO)
    }

    /// What to do while standing by; `willing` says whether it would lead. The caller asks after
    /// every echo and heartbeat, and a few times per time-out.
    pub fn check(&mut self, now: Time, willing: bool) -> NextStep {
        self.look(now);
        if self.peers.values().any(|peer| self.does_work(now, peer)) {
            self.suspicion = None;
            let is_called = self.is_steady(now) && self.is_called(now, willing);
            return if is_called { NextStep::TakeOver } else { NextStep::Wait };
        }
        let Some(Suspicion { since, asked, .. }) = self.suspicion else {
            self.suspicion = Some(Suspicion { since: now, asked: now, ready: None });
            return NextStep::Ask;
        };
        let answered = self.vouches.answered(since);
        let is_answered = answered >= self.needed();
        let has_better = !willing && self.has_successor(now);
        // If an announcement of the leader was lost, others follow soon.
        let is_over = self.is_fresh(now) || now.since(since) >= self.pace.interval * 2;
        let is_ready = self.is_steady(now) && is_answered && is_over && !has_better;
        let rank = self.willing_peers(now).filter(|id| *id < self.me).count() as u32;
        let Some(suspicion) = &mut self.suspicion else { unreachable!("it was looked at above") };
        suspicion.ready = if is_ready { suspicion.ready.or(Some(now)) } else { None };
        if suspicion.ready.is_some_and(|ready| now.since(ready) >= self.pace.timeout * rank) {
            return NextStep::Campaign;
        }
        if now.since(asked) >= self.pace.timeout {
            suspicion.asked = now;
            return NextStep::Ask;
        }
        NextStep::Wait
    }

    /// Whether a proposer that leads or campaigns with `ballot` must step down.
    pub fn has_lost(&mut self, now: Time, ballot: Ballot) -> Option<Loss> {
        self.look(now);
        if let Some(works) = self.works
            && works.is_on
            && works.ballot > ballot
        {
            return Some(Loss::Replaced(works.ballot));
        }
        let is_above = |acceptor: &u32| self.promised.get(acceptor).is_some_and(|it| *it > ballot);
        let above = self.quorum.acceptors().filter(is_above).count();
        let all = self.quorum.acceptors().count();
        let usable = self.vouching(now).filter(|acceptor| !is_above(acceptor)).count();
        let is_outbid =
            all - above < self.needed() || (self.is_quorate() && usable < self.needed());
        is_outbid.then_some(Loss::Outbid)
    }

    /// Updates everything that depends on the time.
    fn look(&mut self, now: Time) {
        self.vouches.look(now);
        let is_quorate = self.vouching(now).count() >= self.needed();
        self.has_lost_quorum |= self.quorate_since.is_some() && !is_quorate;
        self.quorate_since = self.quorate_since.or(Some(now)).filter(|_| is_quorate);
        let ballot = self.leader(now);
        // After this long a silence acceptors stop echoing a peer, and its last announcement would
        // look new.
        let memory = self.pace.timeout * 4;
        self.peers.retain(|_, peer| now.since(peer.advanced) <= memory);
        let gap = self.word_lasts(now);
        self.works = match (self.works.filter(|works| now.since(works.last) <= gap), ballot) {
            (Some(works), Some(ballot)) if works.ballot == ballot => {
                Some(Works { last: now, is_on: true, ..works })
            }
            (known, Some(ballot)) => {
                // A successor of a leader that had gone makes nobody wait.
                if known.is_some_and(|works| works.is_on) {
                    self.changes.truncate(CHANGES_MAX - 1);
                    self.changes.push_front(now);
                }
                Some(Works { ballot, since: now, last: now, is_on: true })
            }
            (known, None) => known.map(|works| Works { is_on: false, ..works }),
        };
    }

    /// The acceptors that repeated one of its stamps recently.
    fn vouching(&self, now: Time) -> impl Iterator<Item = u32> {
        self.vouches.now(now, self.is_in_office.then_some(self.pace.interval * 4))
    }

    /// How long the echoes of a majority count.
    pub fn word_lasts(&self, now: Time) -> Duration {
        self.vouches.longest_of(now, self.needed())
    }

    /// Whether this proposer has been quorate for longer than any of its announcements lasts. When
    /// disks become slow nobody is, so nobody replaces a leader that waits for the same disks.
    fn is_steady(&self, now: Time) -> bool {
        let Pace { interval, timeout, .. } = self.pace;
        let long = if !self.is_fresh(now) {
            // A process that has just started has not gone deaf: once a majority echoes it, it has
            // heard from them of every leader that works. But one that knows more goes first.
            let hurries = !self.has_lost_quorum && !self.is_behind(now);
            let least = if hurries { timeout } else { timeout * 2 };
            self.vouches.settled_after(now, self.needed(), least) + interval
        } else if self.me == 1 {
            // Proposer 1 leads first, by convention.
            interval * 2
        } else {
            timeout
        };
        self.quorate_since.is_some_and(|since| now.since(since) >= long)
    }

    /// Whether no proposer has ever led: a majority has promised nothing.
    fn is_fresh(&self, now: Time) -> bool {
        let has_promised = |acceptor: &u32| {
            self.promised.get(acceptor).is_none_or(|promised| *promised > Ballot::ZERO)
        };
        self.vouching(now).filter(|acceptor| !has_promised(acceptor)).count() >= self.needed()
    }

    fn is_called(&self, now: Time, willing: bool) -> bool {
        let Some(Works { ballot, since, .. }) = self.works else { return false };
        let campaigns_above = self.peers.values().any(|peer| {
            self.does_work(now, peer)
                && peer.announcement.standing == Standing::Campaigns
                && peer.announcement.ballot > ballot
        });
        if campaigns_above {
            return false;
        }
        // A caller that no leader can serve calls for the next one at once: the present one gets
        // time.
        let mut able: Vec<u32> =
            self.willing_peers(now).chain(willing.then_some(self.me)).collect();
        let quorate = self.quorate_peers(now).map(|(id, _)| id).chain([self.me]);
        let unwilling: Vec<u32> = quorate.filter(|id| !able.contains(id)).collect();
        able.retain(|id| *id != ballot.proposer);
        // Callers that no leader serves for long must not make leaders rotate for ever.
        let late = self.changes.iter().filter(|when| now.since(**when) <= CHANGES_MEMORY).count();
        let span = self.pace.timeout * 3 * (1 << late.saturating_sub(2));
        self.callers.call(now, self.me, since, span, self.pace.offer_memory, (&able, &unwilling))
    }

    fn does_work(&self, now: Time, peer: &Peer) -> bool {
        let Announcement { standing, quorate, .. } = peer.announcement;
        matches!(standing, Standing::Leads | Standing::Campaigns)
            && quorate
            && now.since(peer.advanced) < self.pace.timeout
    }

    /// The other proposers that are heard, by id.
    fn live_peers(&self, now: Time) -> impl Iterator<Item = (u32, &Peer)> {
        // A standby announces itself every third interval.
        let memory = self.pace.timeout.max(self.pace.interval * 7);
        let others = self.peers.iter().filter(|((id, _), _)| *id != self.me);
        let live = others.filter(move |(_, peer)| now.since(peer.advanced) < memory);
        live.map(|((id, _), peer)| (*id, peer))
    }

    /// Whether another proposer knows of more decisions than this one.
    fn is_behind(&self, now: Time) -> bool {
        self.live_peers(now).any(|(_, peer)| peer.is_ahead)
    }

    fn quorate_peers(&self, now: Time) -> impl Iterator<Item = (u32, Standing)> {
        let quorate = self.live_peers(now).filter(|(_, peer)| peer.announcement.quorate);
        quorate.map(|(id, peer)| (id, peer.announcement.standing))
    }

    fn willing_peers(&self, now: Time) -> impl Iterator<Item = u32> {
        let willing = |(_, standing): &(u32, Standing)| *standing != Standing::Abstains;
        self.quorate_peers(now).filter(willing).map(|(id, _)| id)
    }

    fn needed(&self) -> usize {
        self.quorum.needed() as usize
    }
}

#[cfg(test)]
mod tests;
