//! What a proposer has passed, and where it may trim, with deliberate bugs; see `protocol::parts`.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use crate::bugs::{self, Bug};
use crate::protocol::checkpoint::History;
use crate::protocol::decided_log::{DecidedLog, LetsGo, Occurrence};
use crate::protocol::proposer::room::Fullness;
use crate::protocol::segments::Page;
use crate::protocol::settings::{Retain, Settings};
use crate::protocol::types::{LogTime, Time};

/// [`super::Retention`], but for its mistakes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Retention(super::Retention);

impl Deref for Retention {
    type Target = super::Retention;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Retention {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Retention {
    /// See [`super::Retention::on_passed`].
    pub fn on_passed(
        &mut self,
        now: Time,
        page: &Page,
        occurrence: &Occurrence,
        settings: &Settings,
    ) {
        let before = self.passed;
        match occurrence {
            Occurrence::History(history) if bugs::has(Bug::CountsAgeAnew) => {
                let mut history = history.clone();
                history.points.iter_mut().for_each(|point| point.back.age_ms = 0);
                self.0.on_passed(now, page, &Occurrence::History(history), settings);
            }
            _ => self.0.on_passed(now, page, occurrence, settings),
        }
        if bugs::has(Bug::JumpsAge) {
            self.passed = before;
            let ever = Retain::Age(Duration::from_secs(1 << 40));
            let are_pieces = page.entries.has_checkpoints() && page.entries.len() == 1;
            self.passed.pass(&page.entries, are_pieces, ever);
            if let Occurrence::History(history) = occurrence {
                self.passed.move_on(history.written, ever);
            }
        }
    }

    /// See [`super::Retention::history`].
    pub fn history(
        &self,
        now: Time,
        time: LogTime,
        log: &DecidedLog,
        settings: &Settings,
    ) -> History {
        let mut history = self.0.history(now, time, log, settings);
        if bugs::has(Bug::CheckpointLacksHistory) {
            history.points.clear();
        }
        history
    }

    /// See [`super::Retention::due`].
    pub fn due(
        &mut self,
        now: Time,
        log: &DecidedLog,
        settings: &Settings,
        fullness: Fullness,
    ) -> Option<LetsGo> {
        if bugs::has(Bug::WaitsForMoreOnFullDisks) && !self.is_due(now, log, settings) {
            return None;
        }
        self.0.due(now, log, settings, fullness)
    }
}
