//! Which versions of the wire format the members read, and so which one this proposer sends while
//! it leads.
//!
//! Members are the configured acceptors and every proposer that is heard. Every proposer keeps
//! track, so that a new leader goes on where the last one left off.
//!
//! 1. An acceptor counts as reading what it last said it reads; before it has said anything, as
//!    reading the older version alone.
//! 2. Nothing is sent that a member does not read ([`Members::common`]).
//! 3. Datagrams are sent in the newer version only while every acceptor answers
//!    ([`Members::version`]): one that was restarted in the previous release cannot say so, for it
//!    cannot read what would make it answer.
//! 4. Clients and learners are no members, and should read the newer version before the members
//!    do. One that does not, and that therefore hears no leader, pleads; then the older version is
//!    used for a long while, so that it is served after all.

#[cfg(all(test, feature = "bugs"))]
pub mod mistakes;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::protocol::settings::Settings;
use crate::protocol::types::Time;
use crate::protocol::versions::{Version, Versions};

/// How long the older version is used after a plea of a client or learner that knows no other. It
/// costs nothing, and the next try may make that process wait for as long as a plea takes.
const OLD_CALLER: Duration = Duration::from_secs(3600);

/// An acceptor that has not answered for this many leader time-outs may have been replaced by one
/// of the previous release.
const SILENT_TIMEOUTS: u32 = 8;

/// A client or learner that does not hear the newer version has called within this time: it does so
/// within two seconds.
const SETTLED: Duration = Duration::from_secs(5);

/// What acceptors, and processes that plead, have said they read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Members {
    /// Since when this proposer has sent in the newer version alone.
    newer_since: Option<Time>,
    acceptors: BTreeMap<u32, (Versions, Time)>,
    /// When a client or learner that knows the older version alone last pleaded.
    old_caller: Option<Time>,
}

impl Members {
    /// An acceptor says what it reads.
    pub fn on_echo(&mut self, now: Time, acceptor: u32, reads: Versions) {
        self.acceptors.insert(acceptor, (reads, now));
    }

    /// A client or learner that reads these versions pleads.
    pub fn on_plea(&mut self, now: Time, reads: Versions) {
        if reads.newest < Version::NEWEST {
            self.old_caller = Some(now);
        }
    }

    /// This proposer sends in `version` from now on.
    pub fn on_sent(&mut self, now: Time, version: Version) {
        let since = self.newer_since.unwrap_or(now);
        self.newer_since = (version == Version::NEWEST).then_some(since);
    }

    /// Whether anybody who does not read the newer version would have called by now. What is
    /// written into the log reaches learners, which are no members.
    pub fn is_settled(&self, now: Time) -> bool {
        self.newer_since.is_some_and(|since| now.since(since) >= SETTLED)
    }

    /// The newest version that everybody reads, as far as everybody has said so; `proposers` are
    /// the others that are heard. An acceptor that is silent counts as what it said last.
    pub fn common(
        &self,
        now: Time,
        proposers: impl Iterator<Item = Versions>,
        settings: &Settings,
    ) -> Version {
        let acceptors = (1..=settings.acceptor_count)
            .map(|id| self.acceptors.get(&id).map_or(Version::OLDEST, |(reads, _)| reads.newest));
        let is_called = self.old_caller.is_some_and(|when| now.since(when) <= OLD_CALLER);
        let callers = is_called.then_some(Version::OLDEST);
        let newest = proposers.map(|reads| reads.newest).chain(acceptors).chain(callers).min();
        newest.map_or(Version::OLDEST, |newest| newest.min(settings.versions.newest))
    }

    /// The version to send in while leading. An acceptor's answer may take `word` to arrive.
    pub fn version(
        &self,
        now: Time,
        proposers: impl Iterator<Item = Versions>,
        word: Duration,
        settings: &Settings,
    ) -> Version {
        let patience = (settings.leader_timeout * SILENT_TIMEOUTS).max(word * 2);
        let answers =
            |id: u32| self.acceptors.get(&id).is_some_and(|(_, when)| now.since(*when) <= patience);
        if !(1..=settings.acceptor_count).all(answers) {
            return Version::OLDEST;
        }
        self.common(now, proposers, settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORD: Duration = Duration::from_millis(40);

    fn at(ms: u64) -> Time {
        Time(ms * 1000)
    }

    /// Which version a leader sends, and which it may use, when these other proposers are heard.
    fn judge(members: &Members, ms: u64, others: &[Versions]) -> (u8, u8) {
        let (now, settings) = (at(ms), Settings::default());
        let version = members.version(now, others.iter().copied(), WORD, &settings);
        (version.0, members.common(now, others.iter().copied(), &settings).0)
    }

    fn all_at(ms: u64) -> Members {
        let mut members = Members::default();
        (1..=3).for_each(|id| members.on_echo(at(ms), id, Versions::ALL));
        members
    }

    #[test]
    fn it_is_settled_when_nobody_has_called_for_a_while() {
        let at = |ms: u64| Time(ms * 1000);
        let mut members = Members::default();
        assert!(!members.is_settled(at(60_000)));
        members.on_sent(at(1000), Version::NEWEST);
        members.on_sent(at(5000), Version::NEWEST);
        assert_eq!([5999, 6000].map(|ms| members.is_settled(at(ms))), [false, true]);
        members.on_sent(at(6500), Version::OLDEST);
        members.on_sent(at(6600), Version::NEWEST);
        assert_eq!([6700, 11_600].map(|ms| members.is_settled(at(ms))), [false, true]);
    }

    #[test]
    fn the_newer_version_needs_the_word_of_every_acceptor_and_proposer() {
        let mut members = Members::default();
        assert_eq!(judge(&members, 0, &[]), (8, 8), "nobody has said anything");
        members.on_echo(at(1), 1, Versions::ALL);
        members.on_echo(at(1), 3, Versions::ALL);
        assert_eq!(judge(&members, 2, &[]), (8, 8), "one has not");
        members.on_echo(at(3), 2, Versions::BEFORE);
        assert_eq!(judge(&members, 3, &[]), (8, 8), "one knows the older version alone");
        members.on_echo(at(4), 2, Versions::ALL);
        assert_eq!(judge(&members, 4, &[]), (9, 9));
        assert_eq!(judge(&members, 4, &[Versions::ALL]), (9, 9));
        assert_eq!(judge(&members, 4, &[Versions::ALL, Versions::BEFORE]), (8, 8));
        members.on_echo(at(5), 1, Versions::BEFORE);
        assert_eq!(judge(&members, 5, &[]), (8, 8), "one was started again in the last release");
        // A later release than this one.
        let later = Versions { oldest: Version::NEWEST, newest: Version(10) };
        (1..=3).for_each(|id| members.on_echo(at(6), id, later));
        assert_eq!(judge(&members, 6, &[later]), (9, 9));
    }

    #[test]
    fn a_silent_acceptor_is_spoken_to_in_the_older_version_and_counts_as_what_it_was() {
        let mut members = all_at(0);
        assert_eq!(judge(&members, 1200, &[]), (9, 9));
        assert_eq!(judge(&members, 1201, &[]), (8, 9));
        (1..=2).for_each(|id| members.on_echo(at(1300), id, Versions::ALL));
        assert_eq!(judge(&members, 1300, &[]), (8, 9));
        members.on_echo(at(1400), 3, Versions::ALL);
        assert_eq!(judge(&members, 1400, &[]), (9, 9));
        let slow = members.version(
            at(9000),
            std::iter::empty(),
            at(4000).since(at(0)),
            &Settings::default(),
        );
        assert_eq!(slow, Version::NEWEST, "its disk is slow");
    }

    #[test]
    fn whoever_pleads_in_the_older_version_is_served_in_it() {
        let mut members = all_at(10);
        members.on_plea(at(10), Versions::ALL);
        assert_eq!(judge(&members, 10, &[]), (9, 9), "it knows the newer one, and lacks a leader");
        members.on_plea(at(10), Versions::BEFORE);
        assert_eq!(judge(&members, 11, &[]), (8, 8));
        (1..=3).for_each(|id| members.on_echo(at(3_600_020), id, Versions::ALL));
        assert_eq!(judge(&members, 3_600_010, &[]), (8, 8));
        assert_eq!(judge(&members, 3_600_020, &[]), (9, 9));
    }

    #[test]
    fn a_process_that_is_held_at_the_older_version_leads_in_it() {
        let settings = Settings { versions: Versions::BEFORE, ..Settings::default() };
        let version = all_at(0).version(at(1), std::iter::empty(), WORD, &settings);
        assert_eq!(version, Version::OLDEST);
    }
}
