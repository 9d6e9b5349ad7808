//! How much is kept over restarts, and where calendars are wrong: the log gets shorter however
//! often all proposers restart, and nothing is removed before its time.

use std::time::Duration;

use super::series::DATAGRAM_BYTES;
use super::trimming::acceptor;
use super::{MS, Wrong, proposer};
use crate::protocol::message::Assignment;
use crate::protocol::settings::{Retain, Settings};
use crate::protocol::types::{Instance, Time};
use crate::sim::cluster::{Cluster, Plan, values};
use crate::sim::node::Calendar;

/// How long what is decided is kept, and how many values and bytes of them are typed meanwhile,
/// about.
const KEPT_FOR: Duration = Duration::from_secs(5);
const KEPT: u64 = 250;
const VALUE_BYTES: u64 = 16;
const PAUSE: Duration = Duration::from_millis(20);

/// How many bytes memories hold, which is much less.
const HELD: u64 = 1000;

/// How much of the log is looked at, and when it ended where.
struct Watch {
    retain: Retain,
    past: Vec<(Time, Instance)>,
}

impl Watch {
    /// Runs for `length`, and complains of what is removed before its time.
    fn run(&mut self, cluster: &mut Cluster, length: Duration) -> Wrong {
        let until = cluster.now() + length;
        while cluster.now() < until {
            if let Err(violation) = cluster.run_for(250 * MS) {
                return Some(violation);
            }
            let (now, end) = (cluster.now(), cluster.chosen_end());
            self.past.push((now, end));
            let trimmed = cluster.most_trimmed();
            let is_early = match self.retain {
                Retain::All => trimmed > Instance::FIRST,
                Retain::Entries(count) => end.0 - trimmed.0 < count,
                // An entry takes no less.
                Retain::Bytes(bytes) => (end.0 - trimmed.0) * VALUE_BYTES * 2 < bytes,
                Retain::Age(age) => {
                    let is_kept = |(when, _): &&(Time, Instance)| now.since(*when) < age;
                    self.past.iter().find(is_kept).is_some_and(|(_, end)| trimmed > *end)
                }
            };
            if is_early && trimmed > Instance::FIRST {
                let retain = self.retain;
                return Some(format!("at {now} all below {trimmed} of {end} is gone: {retain:?}"));
            }
        }
        None
    }
}

/// A cluster whose calendars are right, and a client that types for this long.
fn cluster(seed: u64, retain: Retain, lasts: Duration) -> (Cluster, Watch) {
    let settings = Settings {
        datagram_bytes: DATAGRAM_BYTES,
        window_bytes: 8 * DATAGRAM_BYTES,
        client_window: 8,
        retain,
        hold_bytes: Some(HELD),
        ..Settings::default()
    };
    let mut cluster = Cluster::new(Plan { seed, proposers: 3, settings, ..Plan::default() });
    (1..=3).for_each(|id| cluster.set_calendar(id, Duration::ZERO));
    cluster.run_for(1000 * MS).unwrap_or_else(|violation| panic!("{violation}"));
    let count = (lasts.as_millis() / PAUSE.as_millis()) as u64;
    cluster.start_typist(1, Assignment::Leader, values(1, count), PAUSE);
    (cluster, Watch { retain, past: Vec::new() })
}

/// All proposers are new more often than anything that is kept becomes old: the disks are bounded
/// all the same.
pub fn restarts() -> Wrong {
    let bytes = Retain::Bytes(KEPT * VALUE_BYTES);
    [Retain::Age(KEPT_FOR), Retain::Entries(KEPT), bytes].into_iter().find_map(|retain| {
        let wrong = restarts_with(1, retain);
        wrong.map(|wrong| format!("{retain:?}: {wrong}"))
    })
}

fn restarts_with(seed: u64, retain: Retain) -> Wrong {
    let (mut cluster, mut watch) = cluster(seed, retain, KEPT_FOR * 8);
    for _ in 0..40 {
        if let Some(wrong) = watch.run(&mut cluster, KEPT_FOR / 5) {
            return Some(wrong);
        }
        (1..=3).map(proposer).for_each(|id| cluster.kill(id));
        (1..=3).map(proposer).for_each(|id| cluster.start(id));
    }
    let (first, end) = (cluster.most_trimmed(), cluster.chosen_end());
    let kept = end.0 - first.0;
    (kept > 3 * KEPT).then(|| format!("{kept} entries are kept, below {end}"))
}

/// A leader whose calendar is years ahead removes nothing early, and those after it, whose calendar
/// is right, still remove what is old.
pub fn calendars() -> Wrong {
    let retain = Retain::Age(KEPT_FOR);
    let (mut cluster, mut watch) = cluster(1, retain, KEPT_FOR * 7);
    let wrong = watch.run(&mut cluster, KEPT_FOR * 2);
    cluster.set_calendar(2, Duration::from_secs(30 * 365 * 86_400));
    [1, 3].map(proposer).into_iter().for_each(|id| cluster.kill(id));
    let wrong = wrong.or_else(|| watch.run(&mut cluster, KEPT_FOR));
    [1, 3].map(proposer).into_iter().for_each(|id| cluster.start(id));
    let wrong = wrong.or_else(|| watch.run(&mut cluster, KEPT_FOR / 2));
    cluster.kill(proposer(2));
    let wrong = wrong.or_else(|| watch.run(&mut cluster, KEPT_FOR / 2));
    let before = cluster.most_trimmed();
    let wrong = wrong.or_else(|| watch.run(&mut cluster, KEPT_FOR * 5 / 2));
    let after = cluster.most_trimmed();
    wrong.or_else(|| {
        let is_little = after.0 < before.0 + KEPT;
        is_little.then(|| format!("removed below {before}, and later only below {after}"))
    })
}

impl Cluster {
    /// The calendar of a proposer's host is this much ahead of the truth.
    fn set_calendar(&mut self, id: u32, ahead: Duration) {
        self.hosts.entry(proposer(id)).or_default().clock.calendar = Calendar::Ahead(ahead);
    }

    /// Above every instance that is decided.
    fn chosen_end(&self) -> Instance {
        let last = self.checker().chosen().keys().next_back();
        last.map_or(Instance::FIRST, |last| Instance(last.0 + 1))
    }

    /// Below which instance some acceptor has removed its votes.
    fn most_trimmed(&self) -> Instance {
        let acceptors = (1..=3).map(|id| self.trimmed(acceptor(id)));
        acceptors.max().unwrap_or(Instance::FIRST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_over_restarts_and_never_too_little() {
        assert_eq!(restarts(), None);
        assert_eq!(calendars(), None);
    }
}
