//! Versions of the wire format: which ones a process reads, and in which one it sends.
//!
//! A release reads two: its own and the one before. It sends in its own only where nobody would be
//! left out. The leader judges that, by what the members say they read (`proposer::members`), and
//! the version of its heartbeat tells the others ([`Followed`]). A process that hears no leader
//! sends in the older version, which everybody reads. Agreement does not depend on a version.
//!
//! `wire` has the forms, and what each version adds. `docs/upgrades.md` has the steps for
//! operators.

use std::fmt;
use std::time::Duration;

use super::message::{Heartbeat, Standing};
use super::settings::Settings;
use super::types::{Ballot, Time};

/// A version of the wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u8);

impl Version {
    /// The previous release's: sent while any process may know no later one.
    pub const OLDEST: Version = Version(8);
    /// This release's.
    pub const NEWEST: Version = Version(9);
    /// The first whose readers know which sessions have finished (`checkpoint::Finished`).
    pub const KNOWS_FINISHED: Version = Version(9);
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The versions that a process reads: these two, and those between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Versions {
    /// The oldest.
    pub oldest: Version,
    /// The newest.
    pub newest: Version,
}

impl Versions {
    /// What this release reads.
    pub const ALL: Versions = Versions { oldest: Version::OLDEST, newest: Version::NEWEST };
    /// What the previous release reads, whose messages do not say it.
    pub const BEFORE: Versions = Versions { oldest: Version::OLDEST, newest: Version::OLDEST };

    /// Whether it reads `version`.
    pub fn includes(self, version: Version) -> bool {
        (self.oldest..=self.newest).contains(&version)
    }
}

impl Default for Versions {
    fn default() -> Self {
        Versions::ALL
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Versions { oldest, newest } = self;
        if oldest == newest { newest.fmt(f) } else { write!(f, "{oldest} to {newest}") }
    }
}

/// The version that the leader sends in, as far as it is heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Followed(Option<(Ballot, Version, Time)>);

impl Followed {
    /// A proposer's heartbeat came.
    pub fn hear(&mut self, now: Time, heartbeat: &Heartbeat, settings: &Settings) {
        let said = heartbeat.announcement;
        if said.standing != Standing::Leads {
            return;
        }
        let is_replaced = self.0.is_some_and(|(ballot, _, when)| {
            said.ballot < ballot && now.since(when) <= memory(settings)
        });
        if !is_replaced {
            self.0 = Some((said.ballot, heartbeat.version, now));
        }
    }

    /// The version to send in.
    pub fn version(&self, now: Time, settings: &Settings) -> Version {
        let fresh = self.0.filter(|(.., when)| now.since(*when) <= memory(settings));
        let told = fresh.map_or(Version::OLDEST, |(_, version, _)| version);
        told.min(settings.versions.newest)
    }
}

/// How long the word of a leader lasts: clients hear one heartbeat of ten.
fn memory(settings: &Settings) -> Duration {
    (settings.leader_timeout * 2).max(settings.heartbeat_interval * 32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::message::{Announcement, Progress};
    use crate::protocol::types::Instance;

    fn heartbeat(standing: Standing, round: u64, version: Version) -> Heartbeat {
        let ballot = Ballot { round, proposer: 1, boot: 1 };
        let announcement = Announcement::new(standing, ballot);
        let announcement = Announcement { quorate: true, ..announcement };
        Heartbeat::new(version, announcement, Progress::until(Instance::FIRST))
    }

    #[test]
    fn the_version_is_that_of_the_last_leader_and_the_older_one_without_any() {
        let settings = Settings::default();
        let at = |ms: u64| Time(ms * 1000);
        let mut followed = Followed::default();
        assert_eq!(followed.version(at(0), &settings), Version::OLDEST);
        followed.hear(at(1), &heartbeat(Standing::Campaigns, 9, Version::NEWEST), &settings);
        assert_eq!(followed.version(at(1), &settings), Version::OLDEST, "it does not lead");
        followed.hear(at(1), &heartbeat(Standing::Leads, 2, Version::NEWEST), &settings);
        assert_eq!(followed.version(at(1), &settings), Version::NEWEST);
        followed.hear(at(2), &heartbeat(Standing::Leads, 1, Version::OLDEST), &settings);
        assert_eq!(followed.version(at(2), &settings), Version::NEWEST, "it was replaced");
        followed.hear(at(3), &heartbeat(Standing::Leads, 2, Version::OLDEST), &settings);
        assert_eq!(followed.version(at(3), &settings), Version::OLDEST);
        followed.hear(at(4), &heartbeat(Standing::Leads, 3, Version::NEWEST), &settings);
        let old = Settings { versions: Versions::BEFORE, ..settings.clone() };
        assert_eq!(followed.version(at(4), &old), Version::OLDEST, "it knows no other");
        let last = Time::ZERO + memory(&settings) + Duration::from_millis(4);
        assert_eq!(followed.version(last, &settings), Version::NEWEST);
        let late = last + Duration::from_millis(1);
        assert_eq!(followed.version(late, &settings), Version::OLDEST, "nobody leads");
        followed.hear(late, &heartbeat(Standing::Leads, 1, Version::NEWEST), &settings);
        assert_eq!(followed.version(late, &settings), Version::NEWEST, "nobody else does");
    }
}
