//! How many sessions does the log remember, and which of them want nothing more? (`sessions`)
//!
//! A leader writes a limit when there are a quarter more sessions than its setting allows. Clients
//! that are done say so once, and nobody answers: if that is lost, or the leader dies with it, the
//! session is one of those that are forgotten by age alone. So a leader may gather a few of them
//! before it writes an entry. Limits, which bound the table, never wait for that.

use std::collections::BTreeMap;

use log::debug;

use super::{Phase, Proposer};
use crate::protocol::checkpoint::{Finished, Limit};
use crate::protocol::decided_log::DecidedLog;
use crate::protocol::settings::Settings;
use crate::protocol::types::{Number, Session, Time};
use crate::protocol::versions::Version;

/// The sessions whose clients have told this leader that they are done, and of which the log does
/// not say so yet; each with the number above its last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Finishing(BTreeMap<Session, Number>);

impl Finishing {
    /// An entry has at most this many, so that a leader that dies takes few with it.
    const GATHERED_MAX: usize = 32;

    /// The client of `session` requests nothing from `next` on. That counts if everything below
    /// was delivered here.
    pub fn note(&mut self, session: Session, next: Number, log: &DecidedLog, settings: &Settings) {
        let is_next = next > Number::FIRST && log.next_number(session) == next;
        if is_next && !log.has_ended(session) && self.0.len() < settings.sessions {
            self.0.insert(session, next);
        }
    }

    /// Whether there are enough for an entry.
    fn is_due(&self, settings: &Settings) -> bool {
        let share = settings.sessions / (4 * Self::GATHERED_MAX);
        self.0.len() >= share.clamp(1, Self::GATHERED_MAX)
    }

    /// Drops what the log says already, or has contradicted since.
    fn drop_known(&mut self, log: &DecidedLog) {
        let is_news = |session: &Session, next: &mut Number| {
            log.next_number(*session) == *next && !log.has_ended(*session)
        };
        self.0.retain(is_news);
    }

    /// Takes out what one entry of at most `bytes` says, if there is anything.
    fn take(&mut self, bytes: usize) -> Option<Finished> {
        let room = bytes.saturating_sub(Finished::HEAD_BYTES_MAX) / Finished::SESSION_BYTES_MAX;
        let count = room.clamp(1, Self::GATHERED_MAX);
        let sessions: Vec<_> = std::iter::from_fn(|| self.0.pop_first()).take(count).collect();
        (!sessions.is_empty()).then_some(Finished { sessions })
    }
}

impl Proposer {
    /// Writes which sessions have finished, and a limit of how many are remembered, if it leads and
    /// they are due.
    pub(super) fn write_remembered(&mut self, now: Time) {
        if !self.election.is_quorate() {
            return;
        }
        let (count, most) = (self.log.session_count(), self.settings.sessions);
        if count > most + most / 4 {
            self.limit(now, most);
        } else {
            self.write_finished(now);
        }
    }

    /// Writes a limit now that has this many sessions remembered, if it leads, may write one, and
    /// there are more. For the model checker as well.
    pub fn limit(&mut self, now: Time, most: usize) {
        let Phase::Leading(leadership) = &self.phase else { return };
        let count = self.log.session_count();
        if count <= most || !leadership.may_write(&self.log) {
            return;
        }
        let is_sparing = self.may_spare(now);
        let Phase::Leading(leadership) = &mut self.phase else { return };
        debug!("has {most} of {count} sessions remembered");
        leadership.finishing.drop_known(&self.log);
        let finished = is_sparing.then(|| leadership.finishing.take(self.settings.part_bytes()));
        let limit = Limit { sessions: most as u64, is_sparing };
        leadership.write_remembered(finished.flatten(), Some(limit));
    }

    fn write_finished(&mut self, now: Time) {
        let Phase::Leading(leadership) = &mut self.phase else { return };
        // Mostly there are none, and the rest costs more than handling a value.
        if !leadership.finishing.is_due(&self.settings) || !leadership.may_write(&self.log) {
            return;
        }
        leadership.finishing.drop_known(&self.log);
        if leadership.keeps_open(&self.log)
            || !leadership.finishing.is_due(&self.settings)
            || !self.may_spare(now)
        {
            return;
        }
        let Phase::Leading(leadership) = &mut self.phase else { return };
        let finished = leadership.finishing.take(self.settings.part_bytes());
        leadership.write_remembered(finished, None);
    }

    /// Whether everybody knows entries that distinguish sessions which have finished.
    pub(super) fn may_spare(&self, now: Time) -> bool {
        let common = self.members.common(now, self.election.others_read(), &self.settings);
        common >= Version::KNOWS_FINISHED && self.members.is_settled(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::segments::Page;
    use crate::protocol::types::{AssignedBy, Entry, Origin, Value};

    fn session(client: u32) -> Session {
        Session { client, boot: 9 }
    }

    /// A log in which each of these clients has two values.
    fn log(clients: u32) -> DecidedLog {
        let value = |client, number| {
            let origin = Origin::new(session(client), Number(number), AssignedBy::Leader);
            Entry::Value { origin, value: Value::new(b"v") }
        };
        let entries = (1..=clients).flat_map(|client| [value(client, 1), value(client, 2)]);
        let mut log = DecidedLog::new();
        let page = Page { from: log.end(), entries: entries.collect::<Vec<_>>().into() };
        log.decide(page, |_| {}).expect("it is new");
        log.deliver(|_, _| {});
        log
    }

    #[test]
    fn a_session_that_has_come_elsewhere_has_not_finished() {
        let (log, settings) = (log(2), Settings::default());
        let mut finishing = Finishing::default();
        for (client, next) in [(1, 2), (1, 4), (3, 3), (4, 1), (2, 3), (2, 3)] {
            finishing.note(session(client), Number(next), &log, &settings);
        }
        let said = finishing.take(1000).map(|finished| finished.sessions);
        assert_eq!(said, Some(vec![(session(2), Number(3))]));
        assert_eq!(finishing.take(1000), None);
        // What has been contradicted since, or is forgotten, says nothing.
        finishing.note(session(2), Number(3), &log, &settings);
        finishing.drop_known(&log);
        assert_eq!(finishing.0.len(), 1);
        finishing.drop_known(&DecidedLog::new());
        assert_eq!(finishing.0.len(), 0);
    }

    /// With few sessions each counts, and with many an entry is worth more than a few bytes.
    #[test]
    fn they_are_gathered_and_bounded() {
        for (sessions, due) in [(16, 1), (1000, 7), (4096, 32), (1 << 20, 32)] {
            let settings = Settings { sessions, ..Settings::default() };
            let (log, mut finishing) = (log(40), Finishing::default());
            let first = (1..=40).find(|client| {
                finishing.note(session(*client), Number(3), &log, &settings);
                finishing.is_due(&settings)
            });
            assert_eq!(first, Some(due), "of {sessions}");
        }
        let settings = Settings { sessions: 16, ..Settings::default() };
        let (log, mut finishing) = (log(40), Finishing::default());
        (1..=40).for_each(|one| finishing.note(session(one), Number(3), &log, &settings));
        assert_eq!(finishing.0.len(), 16);
        let room = Finished::HEAD_BYTES_MAX + 5 * Finished::SESSION_BYTES_MAX;
        let mut count = |bytes| finishing.take(bytes).map(|finished| finished.sessions.len());
        assert_eq!(count(room + 1), Some(5));
        assert_eq!(count(1), Some(1), "it goes on in the smallest datagram");
    }
}
