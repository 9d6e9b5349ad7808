//! Which acceptors repeat a proposer's announcements, and how long does each echo count?
//!
//! An acceptor whose disk is slow echoes late, for an echo leaves after the turn's sync, and it
//! says nothing in between. So an echo counts for twice as long as the acceptor's slowest recent
//! one took: a proposer that waits for such disks is quorate without a gap, and can be
//! distinguished from one that is cut off.

#[cfg(all(test, feature = "bugs"))]
pub mod mistakes;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::protocol::types::Time;

/// How long the slowest echo is remembered: at least this long, and at most twice as long.
const MEMORY: Duration = Duration::from_secs(30);

/// No echo takes longer: it waits for two syncs at most.
const SLOWEST_MAX: Duration = Duration::from_secs(60);

/// The acceptors that repeat this proposer's stamps.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Vouches {
    /// How long an echo counts at least.
    least: Duration,
    last: BTreeMap<u32, Vouch>,
    /// When `look` was last called, and since when it was called without a long pause.
    looked: Time,
    awake_since: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Vouch {
    /// The stamp that came back.
    stamp: Time,
    arrived: Time,
    /// How long that took.
    took: Duration,
    /// The slowest echo since then, and in the span before.
    since: Time,
    slowest: Duration,
    slowest_before: Duration,
}

impl Vouches {
    /// Nobody vouches yet. An echo counts for `least` if echoes are fast.
    pub fn new(least: Duration) -> Self {
        Vouches { least, last: BTreeMap::new(), looked: Time::ZERO, awake_since: Time::ZERO }
    }

    /// Call it often with the time. After a pause nothing can be learned from stamps from before
    /// it.
    pub fn look(&mut self, now: Time) {
        if now.since(self.looked) > self.least {
            self.awake_since = now;
        }
        self.looked = now;
    }

    /// A stamp of this proposer came back.
    pub fn vouch(&mut self, now: Time, acceptor: u32, stamp: Time) {
        let known = self.last.get(&acceptor);
        if known.is_some_and(|known| stamp <= known.stamp) {
            return;
        }
        let took = if stamp >= self.awake_since {
            now.since(stamp).min(SLOWEST_MAX)
        } else {
            Duration::ZERO
        };
        let vouch = match known {
            Some(known) if now.since(known.since) <= MEMORY => {
                Vouch { stamp, arrived: now, took, slowest: known.slowest.max(took), ..*known }
            }
            _ => {
                let slowest_before = known.map_or(Duration::ZERO, |known| known.slowest);
                Vouch { stamp, arrived: now, took, since: now, slowest: took, slowest_before }
            }
        };
        self.last.insert(acceptor, vouch);
    }

    /// The acceptors that vouch now. In office echoes count for longer, by `slack` and a quarter,
    /// so that a leader does not notice a gap before its would-be successors do.
    pub fn now(&self, now: Time, slack: Option<Duration>) -> impl Iterator<Item = u32> {
        let lasts = move |vouch: &Vouch| {
            let usual = self.lasts(vouch);
            usual + slack.map_or(Duration::ZERO, |slack| slack.max(usual / 4))
        };
        let is_valid = move |vouch: &Vouch| now.since(vouch.arrived) <= lasts(vouch);
        let vouches = self.last.iter().filter(move |(_, vouch)| is_valid(vouch));
        vouches.map(|(acceptor, _)| *acceptor)
    }

    /// How many acceptors repeated a stamp of `since` or later.
    pub fn answered(&self, since: Time) -> usize {
        self.last.values().filter(|vouch| vouch.stamp >= since).count()
    }

    /// The latest stamp for which `needed` acceptors have repeated it or a later one.
    pub fn heard_by(&self, needed: usize) -> Option<Time> {
        let mut stamps: Vec<Time> = self.last.values().map(|vouch| vouch.stamp).collect();
        stamps.sort_unstable_by(|one, other| other.cmp(one));
        stamps.get(needed.saturating_sub(1)).copied()
    }

    /// How long the echoes of `needed` acceptors count, of those that vouch now.
    pub fn longest_of(&self, now: Time, needed: usize) -> Duration {
        self.of_majority(now, needed, |vouch| self.lasts(vouch))
    }

    /// After how long, and at least `least`, such acceptors are known to echo well. Only their last
    /// echoes count, so that an acceptor which was late once, or replayed, makes nobody wait.
    pub fn settled_after(&self, now: Time, needed: usize, least: Duration) -> Duration {
        self.of_majority(now, needed, |vouch| least.max(vouch.took * 2))
    }

    fn of_majority(&self, now: Time, needed: usize, of: impl Fn(&Vouch) -> Duration) -> Duration {
        let vouching = self.now(now, None);
        let mut all: Vec<_> = vouching.filter_map(|id| self.last.get(&id).map(&of)).collect();
        all.sort_unstable();
        all.get(needed.saturating_sub(1)).copied().unwrap_or(self.least)
    }

    fn lasts(&self, vouch: &Vouch) -> Duration {
        self.least.max(vouch.slowest.max(vouch.slowest_before) * 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(ms: u64) -> Time {
        Time(ms * 1000)
    }

    /// Calls `look` every 20 ms until `until`.
    fn wait(vouches: &mut Vouches, from: u64, until: u64) {
        (from..=until).step_by(20).for_each(|ms| vouches.look(at(ms)));
    }

    #[test]
    fn a_slow_acceptors_word_lasts_longer_and_a_fast_ones_does_not() {
        let mut vouches = Vouches::new(300 * MS);
        wait(&mut vouches, 0, 2000);
        vouches.vouch(at(2000), 1, at(1990));
        vouches.vouch(at(2000), 2, at(800));
        vouches.vouch(at(2000), 3, at(1000));
        assert_eq!(vouches.now(at(2300), None).count(), 3);
        assert_eq!(vouches.now(at(2301), None).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(vouches.now(at(4001), None).collect::<Vec<_>>(), [2]);
        assert_eq!(vouches.now(at(4500), Some(80 * MS)).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(vouches.longest_of(at(2000), 1), 300 * MS);
        assert_eq!(vouches.longest_of(at(2000), 2), 2000 * MS);
    }

    #[test]
    fn a_quorum_has_heard_what_the_slowest_of_it_repeats() {
        let mut vouches = Vouches::new(300 * MS);
        assert_eq!(vouches.heard_by(1), None);
        for (acceptor, stamp) in [(1, 30), (2, 10), (3, 20)] {
            vouches.vouch(at(40), acceptor, at(stamp));
        }
        assert_eq!(
            [1, 2, 3].map(|needed| vouches.heard_by(needed)),
            [30, 20, 10].map(|ms| Some(at(ms)))
        );
        assert_eq!(vouches.heard_by(4), None);
    }

    #[test]
    fn what_was_slow_once_is_forgotten() {
        let mut vouches = Vouches::new(300 * MS);
        wait(&mut vouches, 0, 1200);
        vouches.vouch(at(1200), 1, at(0));
        let longest = |vouches: &Vouches, ms| vouches.longest_of(at(ms), 1);
        for ms in (1300..31_000).step_by(100) {
            vouches.vouch(at(ms), 1, at(ms - 10));
            assert_eq!(longest(&vouches, ms), 2400 * MS);
        }
        for ms in (31_300..61_000).step_by(100) {
            vouches.vouch(at(ms), 1, at(ms - 10));
        }
        assert_eq!(longest(&vouches, 60_900), 2400 * MS);
        vouches.vouch(at(61_400), 1, at(61_390));
        assert_eq!(longest(&vouches, 61_400), 300 * MS);
    }

    #[test]
    fn nothing_is_learned_from_a_pause() {
        let mut vouches = Vouches::new(300 * MS);
        wait(&mut vouches, 0, 1000);
        vouches.look(at(61_000));
        vouches.vouch(at(61_000), 1, at(1000));
        assert_eq!(vouches.longest_of(at(61_000), 1), 300 * MS);
    }
}
