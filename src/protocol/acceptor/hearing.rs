//! Which proposers an acceptor hears, so that it can repeat their announcements to all of them.
//!
//! An acceptor that repeats a proposer's stamp proves to it that the path there and back is open,
//! through the same loop and the same disk as votes; and it tells the other proposers what they may
//! not hear themselves. None of this is stored, and none of it affects agreement.

use std::collections::BTreeMap;

use crate::protocol::message::{Announcement, Heard, Heartbeat, Standing};
use crate::protocol::settings::Settings;
use crate::protocol::types::{Ballot, Sender, Time};

/// How many proposers are echoed, at most, so that a forger cannot fill the memory.
const PROPOSERS_MAX: usize = 64;

/// The proposers heard recently, and whether an echo is due.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Hearing {
    heard: BTreeMap<u32, (Heard, Time)>,
    /// When the last echo was sent.
    echoed: Option<Time>,
    /// Whether a heartbeat came since.
    owes: bool,
    /// Whether one of them asked for an echo at once.
    asked: bool,
}

impl Hearing {
    /// A proposer's heartbeat came.
    pub fn hear(&mut self, now: Time, from: Sender, heartbeat: &Heartbeat, settings: &Settings) {
        let (proposer, boot) = (from.node.id, from.boot);
        let announcement = heartbeat.announcement;
        let memory = settings.leader_timeout * 2;
        let is_old = self.heard.get(&proposer).is_some_and(|(known, when)| {
            let is_later = known.announcement.stamp >= announcement.stamp;
            // Unless the known one may be forged, which would silence the true ones for ever.
            known.boot == boot && is_later && now.since(*when) <= memory
        });
        let is_full = self.heard.len() >= PROPOSERS_MAX && !self.heard.contains_key(&proposer);
        if is_old || is_full {
            return; // It was overtaken, or it is one too many.
        }
        self.heard.insert(proposer, (Heard { proposer, boot, announcement }, now));
        self.owes = true;
        self.asked |= heartbeat.asks;
    }

    /// The ballot of the proposer that leads and says that a quorum of the acceptors answers it;
    /// the highest if there are several.
    pub fn leader(&self, now: Time, settings: &Settings) -> Option<Ballot> {
        let memory = settings.leader_timeout * 2;
        let fresh = self.heard.values().filter(|(_, when)| now.since(*when) <= memory);
        let said = fresh.map(|(heard, _)| heard.announcement);
        let leads = |it: &Announcement| it.standing == Standing::Leads && it.quorate;
        said.filter(leads).map(|it| it.ballot).max()
    }

    /// Makes the next echo leave at once, for there is news.
    pub fn hurry(&mut self) {
        (self.owes, self.asked) = (!self.heard.is_empty(), true);
    }

    /// The echo for the end of this turn, if one is due: at most one in three quarters of an
    /// interval, unless a proposer asks.
    pub fn take_echo(&mut self, now: Time, settings: &Settings) -> Option<Vec<Heard>> {
        // Mostly there is nothing to echo.
        if !self.owes {
            return None;
        }
        let pace = settings.heartbeat_interval * 3 / 4;
        let is_due = self.asked || self.echoed.is_none_or(|echoed| now.since(echoed) >= pace);
        if !is_due {
            return None;
        }
        (self.echoed, self.owes, self.asked) = (Some(now), false, false);
        let memory = settings.leader_timeout * 2;
        self.heard.retain(|_, (_, when)| now.since(*when) <= memory);
        Some(self.heard.values().map(|(heard, _)| *heard).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::protocol::message::Progress;
    use crate::protocol::types::{Instance, NodeId, Role};
    use crate::protocol::versions::Version;

    fn say(hearing: &mut Hearing, now: u64, proposer: u32, stamp: u64, asks: bool) {
        let node = NodeId::new(Role::Proposer, proposer);
        let announcement = Announcement::new(Standing::Stands, Ballot::ZERO);
        let announcement = Announcement { stamp: Time(stamp), ..announcement };
        let progress = Progress::until(Instance::FIRST);
        let heartbeat = Heartbeat::new(Version::OLDEST, announcement, progress);
        let heartbeat = Heartbeat { asks, ..heartbeat };
        hearing.hear(Time(now), Sender { node, boot: 1 }, &heartbeat, &Settings::default());
    }

    fn echo(hearing: &mut Hearing, now: u64) -> Option<Vec<(u32, u64)>> {
        let echo = hearing.take_echo(Time(now), &Settings::default())?;
        Some(echo.iter().map(|heard| (heard.proposer, heard.announcement.stamp.0)).collect())
    }

    #[test]
    fn the_newest_word_of_each_proposer_is_echoed_and_paced() {
        let mut hearing = Hearing::default();
        assert_eq!(echo(&mut hearing, 0), None, "there is nothing to echo");
        say(&mut hearing, 0, 2, 7, false);
        say(&mut hearing, 0, 1, 9, false);
        say(&mut hearing, 0, 1, 8, false);
        assert_eq!(echo(&mut hearing, 0), Some(vec![(1, 9), (2, 7)]));
        say(&mut hearing, 10, 1, 10, false);
        assert_eq!(echo(&mut hearing, 14_999), None);
        say(&mut hearing, 10, 2, 11, true);
        assert_eq!(echo(&mut hearing, 11), Some(vec![(1, 10), (2, 11)]), "it was asked");
        say(&mut hearing, 10, 2, 11, true);
        assert_eq!(echo(&mut hearing, 50_000), None, "the same again is no news");
    }

    #[test]
    fn the_silent_are_forgotten_and_the_crowd_is_bounded() {
        let mut hearing = Hearing::default();
        say(&mut hearing, 0, 1, 1, false);
        let memory = Settings::default().leader_timeout * 2 + Duration::from_micros(1);
        let later = (Time::ZERO + memory).0;
        say(&mut hearing, later, 2, 1, false);
        assert_eq!(echo(&mut hearing, later), Some(vec![(2, 1)]));
        (1..1000).for_each(|id| say(&mut hearing, later, id, 2, true));
        assert_eq!(echo(&mut hearing, later).map(|echo| echo.len()), Some(PROPOSERS_MAX));
    }
}
