//! For which learners is the log kept while they fetch a snapshot, and for how long?
//!
//! A learner that lacks trimmed entries fetches another's snapshot, and then what follows it in the
//! log (`transfer`). Both take time. If the log were trimmed past that point meanwhile, the learner
//! would start over; and where the log is trimmed faster than a snapshot travels, it would do so
//! for ever. So it says from where on it needs the log, and a leader trims nothing above that:
//!
//! 1. While it goes on saying so ([`Fetch::needing`](crate::protocol::message::Fetch::needing)). It
//!    says so while it looks for a snapshot, while one is on its way, and until it has caught up
//!    with the others.
//! 2. For [`PATIENCE`] from when it first needs something. After that it is not waited for until it
//!    has needed nothing for as long: one that is never done, or begins anew for ever, fills no
//!    disks.
//! 3. For [`FETCHERS_MAX`] learners at a time, whichever say so.
//! 4. Up to [`KEPT`] times what is retained (`retention`), and where acceptors keep the log on
//!    disks, none of which is full: room for what is decided comes first, and what is only in
//!    memory is bounded by that.
//!
//! Nothing rests on it: a learner whose log was trimmed all the same looks for another snapshot.
//! All proposers hear it, so the next leader waits as well.

#[cfg(all(test, feature = "bugs"))]
pub mod mistakes;

use std::collections::BTreeMap;
use std::time::Duration;

use log::warn;

use crate::protocol::message::Needed;
use crate::protocol::settings::Settings;
use crate::protocol::types::{Instance, Sender, Time};

/// How long the log is kept for a learner.
pub const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// How many times the retained amount is kept for learners, at most.
pub const KEPT: u64 = 4;

/// For how many learners it is kept at a time.
const FETCHERS_MAX: usize = 8;

/// How many learners are remembered, at most.
const REMEMBERED_MAX: usize = 64;

// Those for which the log is kept are among those that are remembered.
const _: () = assert!(FETCHERS_MAX <= REMEMBERED_MAX);

/// For how many of the leader's time-outs a learner's word counts; the learner repeats it after
/// one.
const MEMORY: u32 = 8;

/// What learners need.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Fetchers {
    needs: BTreeMap<u32, Need>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Need {
    /// What lies from here on.
    from: Instance,
    /// In the log of this name, or in the present one if it knows none: 0.
    name: u64,
    /// When it said first, and last, that it needs something.
    since: Time,
    heard: Time,
    /// Whether it was logged that nobody waits for it any longer.
    is_told: bool,
}

impl Need {
    /// Whether the learner has said so lately.
    fn is_heard(&self, now: Time, settings: &Settings) -> bool {
        now.since(self.heard) < settings.leader_timeout * MEMORY
    }
}

impl Fetchers {
    /// A learner tells from where on it needs the log of this name.
    pub fn on_need(&mut self, now: Time, from: Sender, needed: Needed, settings: &Settings) {
        let Needed { log: name, from: first } = needed;
        self.needs.retain(|_, need| now.since(need.heard) < PATIENCE);
        // Those that need nothing any more take no place, but are remembered.
        let waited_for = self.needs.values().filter(|need| need.is_heard(now, settings)).count();
        let (has_place, has_room) = (waited_for < FETCHERS_MAX, self.needs.len() < REMEMBERED_MAX);
        match self.needs.get_mut(&from.node.id) {
            Some(need) if has_place || need.is_heard(now, settings) => {
                (need.from, need.name, need.heard) = (first, name, now);
            }
            None if has_place && has_room => {
                let need = Need { from: first, name, since: now, heard: now, is_told: false };
                self.needs.insert(from.node.id, need);
            }
            Some(_) | None => {}
        }
    }

    /// The learners for which the log of this name is kept below `below`.
    pub fn holding(
        &self,
        now: Time,
        name: u64,
        below: Instance,
        settings: &Settings,
    ) -> impl Iterator<Item = u32> {
        let holds = move |need: &Need| {
            let is_of_log = need.name == 0 || need.name == name;
            let is_waited_for = need.is_heard(now, settings) && now.since(need.since) < PATIENCE;
            is_of_log && is_waited_for && need.from < below
        };
        self.needs.iter().filter(move |(_, need)| holds(need)).map(|(id, _)| *id)
    }

    /// Below which instance the log of this name may be removed, as far as these learners are
    /// concerned. For a leader.
    pub fn limit(&mut self, now: Time, name: u64, settings: &Settings) -> Instance {
        let mut limit = Instance(u64::MAX);
        for (id, need) in &mut self.needs {
            let is_of_log = need.name == 0 || need.name == name;
            if !is_of_log || !need.is_heard(now, settings) {
                continue;
            }
            if now.since(need.since) < PATIENCE {
                limit = limit.min(need.from);
            } else if !std::mem::replace(&mut need.is_told, true) {
                warn!(
                    "L{id} has fetched a snapshot, or one after the other, for {} minutes: the log \
                     is not kept for it any longer",
                    PATIENCE.as_secs() / 60
                );
            }
        }
        limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::types::{NodeId, Role};

    const NAME: u64 = 5;
    const NOBODY: Instance = Instance(u64::MAX);

    fn tell(fetchers: &mut Fetchers, now: Time, id: u32, name: u64, needed: u64) {
        let from = Sender { node: NodeId::new(Role::Learner, id), boot: 1 };
        let needed = Needed { log: name, from: Instance(needed) };
        fetchers.on_need(now, from, needed, &Settings::default());
    }

    fn second(second: u64) -> Time {
        Time(second * 1_000_000)
    }

    #[test]
    fn the_log_is_kept_for_whoever_needs_most_while_it_says_so() {
        let (mut fetchers, settings) = (Fetchers::default(), Settings::default());
        let limit = |fetchers: &mut Fetchers, now| fetchers.limit(now, NAME, &settings);
        assert_eq!(limit(&mut fetchers, second(0)), NOBODY);
        tell(&mut fetchers, second(0), 1, NAME, 70);
        tell(&mut fetchers, second(0), 2, 0, 50);
        tell(&mut fetchers, second(0), 3, NAME + 1, 9);
        assert_eq!(limit(&mut fetchers, second(0)), Instance(50));
        tell(&mut fetchers, second(1), 2, NAME, 60);
        tell(&mut fetchers, second(1), 1, NAME, 70);
        assert_eq!(limit(&mut fetchers, second(1)), Instance(60));
        // The second is done, or has died.
        tell(&mut fetchers, second(2), 1, NAME, 70);
        assert_eq!(limit(&mut fetchers, second(3)), Instance(70));
        assert_eq!(limit(&mut fetchers, second(4)), NOBODY);
    }

    #[test]
    fn nobody_is_waited_for_longer_than_this_in_all_and_few_at_a_time() {
        let (mut fetchers, settings) = (Fetchers::default(), Settings::default());
        let patience = PATIENCE.as_secs();
        let mut waited = 0;
        for now in 0..3 * patience {
            // It finishes now and then, and starts over.
            if now % 10 > 0 {
                tell(&mut fetchers, second(now), 1, NAME, 50);
            }
            waited += u64::from(fetchers.limit(second(now), NAME, &settings) < NOBODY);
        }
        assert!((patience / 2..=patience).contains(&waited), "for {waited} s");
        // Long after that it is treated like any other.
        let later = 4 * patience + 9;
        tell(&mut fetchers, second(later), 1, NAME, 80);
        assert_eq!(fetchers.limit(second(later), NAME, &settings), Instance(80));
        for id in 2..=100 {
            tell(&mut fetchers, second(later), id, NAME, 200 - u64::from(id));
        }
        assert_eq!(fetchers.needs.len(), FETCHERS_MAX);
        assert_eq!(fetchers.limit(second(later), NAME, &settings), Instance(80));
        // One that comes back takes a place, and there is none.
        let then = later + 2;
        (9..=16).for_each(|id| tell(&mut fetchers, second(then), id, NAME, 90));
        tell(&mut fetchers, second(then), 1, NAME, 80);
        assert_eq!(fetchers.limit(second(then), NAME, &settings), Instance(90));
    }
}
