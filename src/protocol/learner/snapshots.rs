//! When can a snapshot of a learner's state be taken, and who hears that one is stored?
//!
//! A snapshot is of one place in the log: the application's state after all values below it, and
//! the state of delivery there ([`Checkpoint`](crate::protocol::checkpoint::Checkpoint)). The
//! learner says where one could be taken. The application takes it there or not, and reports when
//! it is on stable storage. Then the learner tells the proposers, repeatedly, for they trim the log
//! only below what enough learners keep (`proposer/keepers.rs`).

use crate::protocol::actor::Effects;
use crate::protocol::checkpoint::Head;
use crate::protocol::message::{Durable, Fetch, Message, StateKind};
use crate::protocol::parts::DecidedLog;
use crate::protocol::settings::{Retain, Settings};
use crate::protocol::types::{Instance, LogTime, Role, Time};

/// Where snapshots can be taken, and which one is stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Snapshots {
    /// Which application's state they hold.
    pub kind: StateKind,
    /// The last place where one could be taken.
    last: Place,
    /// How many bytes of entries were passed since.
    bytes: u64,
    /// With what is stored here, entries below it are not needed any more.
    durable: Instance,
    /// What the proposers were told last, and when.
    told: Option<Said>,
    /// When it was told last from where on the log is needed; nothing if it is not.
    needed: Option<Said>,
}

/// A place in the log, and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Place {
    watermark: Instance,
    time: LogTime,
}

/// What was told, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Said {
    when: Time,
    what: Instance,
}

impl Said {
    /// Whether it must be told again.
    fn is_old(self, now: Time, settings: &Settings) -> bool {
        now.since(self.when) >= settings.leader_timeout
    }
}

impl Snapshots {
    /// For a learner that has no snapshot yet.
    pub fn new(kind: StateKind) -> Self {
        let first = Instance::FIRST;
        let last = Place { watermark: first, time: LogTime::NONE };
        Snapshots { kind, last, bytes: 0, durable: first, told: None, needed: None }
    }

    /// For a learner that has gone on from one.
    pub fn of(kind: StateKind, head: Head) -> Self {
        let last = Place { watermark: head.of, time: head.time };
        Snapshots { last, durable: head.keep, ..Self::new(kind) }
    }

    /// Whether one can be taken where `log` stands, now that this many bytes of entries were
    /// passed, and a checkpoint, or the history behind it, that was written at this time: there,
    /// for that is how often something can be removed, and in any case after a number of instances.
    /// None can be taken in the middle of a checkpoint: a learner that goes on from there would
    /// lack the first half of it.
    pub fn are_due(
        &mut self,
        log: &DecidedLog,
        bytes: usize,
        checkpoint: Option<LogTime>,
        settings: &Settings,
    ) -> bool {
        self.bytes += bytes as u64;
        if log.is_within_checkpoint() {
            return false;
        }
        let here = Place { watermark: log.watermark(), time: log.time() };
        let passed = here.watermark.0.saturating_sub(self.last.watermark.0);
        let is_far = |written: LogTime| {
            // No value comes while disks are full, but time passes.
            let here = Place { time: here.time.max(written), ..here };
            self.has_passed_much(here, settings)
        };
        let are_due =
            passed >= settings.snapshot_instances || passed > 0 && checkpoint.is_some_and(is_far);
        if are_due {
            let time = here.time.max(checkpoint.unwrap_or(LogTime::NONE));
            (self.last, self.bytes) = (Place { time, ..here }, 0);
        }
        are_due
    }

    /// Whether enough was passed since the last one for something to be removed. Checkpoints that
    /// let a new leader read less (`Settings::take_up_bytes`) lie much nearer to each other.
    fn has_passed_much(&self, here: Place, settings: &Settings) -> bool {
        let Some(hold) = settings.hold_bytes else { return true };
        let is_part = |passed: u64, of: u64| passed.saturating_mul(16) >= of.saturating_mul(3);
        let is_much = match settings.retain {
            Retain::All => false,
            Retain::Entries(count) => is_part(here.watermark.0 - self.last.watermark.0, count),
            Retain::Bytes(bytes) => is_part(self.bytes, bytes),
            Retain::Age(age) => {
                is_part(here.time.0.saturating_sub(self.last.time.0), age.as_millis() as u64)
            }
        };
        is_much || is_part(self.bytes, hold)
    }

    /// A snapshot is on stable storage.
    pub fn on_kept(&mut self, head: Head) {
        // The parts of values that were open then are needed as well.
        self.durable = self.durable.max(head.keep);
    }

    /// Entries below it are not needed any more, thanks to what is stored here.
    pub fn durable(&self) -> Instance {
        self.durable
    }

    /// Tells the proposers what is kept of the log of this name, and what of it is needed: at once
    /// when it is news, and now and then. That nothing is needed any more they know once they have
    /// heard nothing for a while.
    pub fn report(
        &mut self,
        now: Time,
        name: u64,
        needs: Option<Instance>,
        settings: &Settings,
        fx: &mut Effects,
    ) {
        let is_new = |said: Said, includes: bool| !includes || said.is_old(now, settings);
        let below = self.durable;
        // That nothing is stored is sent as well: an earlier process may have had more.
        if self.told.is_none_or(|said| is_new(said, said.what == below)) {
            self.told = Some(Said { when: now, what: below });
            fx.send(Role::Proposer, Message::Durable(Durable { below, name }));
        }
        let Some(from) = needs else {
            self.needed = None;
            return;
        };
        // What is needed becomes less from turn to turn.
        if self.needed.is_none_or(|said| is_new(said, said.what <= from)) {
            self.needed = Some(Said { when: now, what: from });
            fx.send(Role::Proposer, Message::Fetch(Fetch::needing(self.kind, name, from)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::protocol::segments::Page;
    use crate::protocol::types::{AssignedBy, Counted, Entry, Number, Origin, Session, Value};

    /// How many snapshots are due of 80 values of 100 bytes, each a second after the one before,
    /// where there is a checkpoint behind each.
    fn due(retain: Retain, hold_bytes: Option<u64>) -> usize {
        let settings = Settings { retain, hold_bytes, ..Settings::default() };
        let kind = StateKind::Digest;
        let (mut log, mut snapshots) = (DecidedLog::new(), Snapshots::new(kind));
        let session = Session { client: 1, boot: 1 };
        let is_due = |number: &u64| {
            let origin = Origin::new(session, Number(*number), AssignedBy::Leader);
            let origin = origin.timed(LogTime(number * 1000));
            let entry = Entry::Value { origin, value: Value::new(&[b'v'; 100]) };
            let page = Page { from: Instance::FIRST.plus(number - 1), entries: vec![entry].into() };
            log.decide(page, |_| {}).expect("nothing else was decided there");
            log.deliver(|_, _| {});
            snapshots.are_due(&log, 100, Some(LogTime::NONE), &settings)
        };
        (1..=80).filter(is_due).count()
    }

    #[test]
    fn they_are_as_frequent_as_entries_can_be_removed_however_near_checkpoints_lie() {
        assert_eq!(due(Retain::All, None), 80);
        let hold = Some(16_000);
        assert_eq!(due(Retain::All, hold), 2);
        assert_eq!(due(Retain::Entries(80), hold), 5);
        assert_eq!(due(Retain::Bytes(3200), hold), 13);
        assert_eq!(due(Retain::Age(Duration::from_secs(80)), hold), 5);
        assert_eq!(due(Retain::Age(Duration::from_secs(800)), hold), 2);
    }
}
