//! What the members read, with deliberate bugs; see `protocol::parts`.

use std::time::Duration;

use crate::bugs::{self, Bug};
use crate::protocol::settings::Settings;
use crate::protocol::types::Time;
use crate::protocol::versions::{Version, Versions};

/// [`super::Members`], but for its mistakes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Members(super::Members);

impl Members {
    /// See [`super::Members::on_echo`].
    pub fn on_echo(&mut self, now: Time, acceptor: u32, mut reads: Versions) {
        if bugs::has(Bug::SpeaksAboveMembers) {
            reads = Versions::ALL;
        }
        self.0.on_echo(now, acceptor, reads);
    }

    /// See [`super::Members::on_plea`].
    pub fn on_plea(&mut self, now: Time, reads: Versions) {
        if !bugs::has(Bug::IgnoresOldCallers) {
            self.0.on_plea(now, reads);
        }
    }

    /// See [`super::Members::on_sent`].
    pub fn on_sent(&mut self, now: Time, version: Version) {
        self.0.on_sent(now, version);
    }

    /// See [`super::Members::is_settled`].
    pub fn is_settled(&self, now: Time) -> bool {
        self.0.is_settled(now) || bugs::has(Bug::WritesUnknownKinds)
    }

    /// See [`super::Members::common`].
    pub fn common(
        &self,
        now: Time,
        proposers: impl Iterator<Item = Versions>,
        settings: &Settings,
    ) -> Version {
        if bugs::has(Bug::WritesUnknownKinds) {
            return Version::NEWEST;
        }
        self.0.common(now, proposers, settings)
    }

    /// See [`super::Members::version`].
    pub fn version(
        &self,
        now: Time,
        proposers: impl Iterator<Item = Versions>,
        word: Duration,
        settings: &Settings,
    ) -> Version {
        if bugs::has(Bug::SpeaksAboveSilent) {
            return self.0.common(now, proposers, settings);
        }
        self.0.version(now, proposers, word, settings)
    }
}
