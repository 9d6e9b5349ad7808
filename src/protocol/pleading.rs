//! How a process says that no leader serves it, and learns which proposers hear it.
//!
//! A client or a learner may be cut off from a leader that has its quorum. It says so to all
//! proposers; those that do not lead answer, and the next plea names them. So each of them knows
//! that the two hear each other, and one of them may take over (`election`).

use std::collections::BTreeMap;
use std::time::Duration;

use super::actor::Effects;
use super::message::{Message, Plea};
use super::settings::Settings;
use super::timer::Timer;
use super::types::{Role, Time};

/// After this many consecutive pleas they become rare.
const OFTEN: u32 = 24;

/// The pause per pleading process, so that all of them together do not plead more often than this.
/// But an offer must not be forgotten before it is named.
const CROWDED: Duration = Duration::from_millis(10);
const CALLERS_MAX: u32 = 10_000;

/// How many proposers are named, at most.
pub const OFFERS_MAX: usize = 64;

/// One process's pleas.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Pleading {
    /// Since when no leader has served this process.
    in_need: Option<Time>,
    /// Pleas in a row, and when the first was.
    pleas: u32,
    first: Option<Time>,
    is_armed: bool,
    /// How many processes plead, this one among them.
    callers: u32,
    /// When each proposer answered last.
    offers: BTreeMap<u32, Time>,
}

impl Pleading {
    /// Call it once a turn with the time since when no leader has served this process, if so. It
    /// pleads once that has lasted for longer than a change of leader takes.
    pub fn on_turn_end(
        &mut self,
        now: Time,
        need: Option<Time>,
        settings: &Settings,
        fx: &mut Effects,
    ) {
        self.in_need = need;
        match need {
            Some(since) if !self.is_armed => {
                self.is_armed = true;
                fx.set_timer(Timer::Plea, now.max(since + patience(settings)));
            }
            Some(_) | None => {}
        }
    }

    /// The timer is due.
    pub fn on_timer(&mut self, now: Time, settings: &Settings, fx: &mut Effects) {
        self.is_armed = false;
        let Some(since) = self.in_need else {
            (self.pleas, self.offers) = (0, BTreeMap::new());
            return;
        };
        if now.since(since) < patience(settings) {
            self.pleas = 0;
            return; // It was served in the meantime; the end of this turn sets the timer again.
        }
        self.offers.retain(|_, when| now.since(*when) <= settings.offer_memory());
        let offered = self.offers.keys().copied().collect();
        if self.pleas == 0 {
            self.first = Some(now);
        }
        let pleaded = now.since(self.first.unwrap_or(now));
        let pleaded_us = u64::try_from(pleaded.as_micros()).unwrap_or(u64::MAX);
        let reads = settings.versions;
        fx.send(Role::Proposer, Message::Plea(Plea { pleaded_us, offered, reads }));
        self.pleas = self.pleas.saturating_add(1);
        // Even where datagrams are lost, one of this many answers arrives from a leader that is
        // there.
        let often = settings.leader_timeout / 4;
        let usual = if self.pleas < OFTEN { often } else { often.max(settings.retry_max) };
        let crowded = CROWDED * self.callers.min(CALLERS_MAX);
        let wait = usual.max(crowded.min(settings.offer_memory() * 2 / 3));
        self.is_armed = true;
        fx.set_timer(Timer::Plea, now + wait);
    }

    /// A proposer heard this plea and those of others; this many processes plead.
    pub fn on_offer(&mut self, now: Time, proposer: u32, callers: u32) {
        self.callers = callers;
        if self.offers.len() < OFFERS_MAX || self.offers.contains_key(&proposer) {
            self.offers.insert(proposer, now);
        }
    }
}

/// How long to wait before pleading: a change of leader, or a few lost datagrams, are no reason.
fn patience(settings: &Settings) -> Duration {
    settings.progress_timeout.max(settings.retry_max * 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::versions::Versions;

    fn due(fx: &mut Effects) -> Option<Time> {
        std::mem::take(&mut fx.timers).pop().and_then(|(_, deadline)| deadline)
    }

    fn pleas(fx: &mut Effects) -> Vec<Message> {
        std::mem::take(&mut fx.send).into_iter().map(|(_, message)| message).collect()
    }

    #[test]
    fn who_is_served_in_time_does_not_plead() {
        let (settings, mut fx) = (Settings::default(), Effects::new());
        let mut pleading = Pleading::default();
        pleading.on_turn_end(Time(5), Some(Time(5)), &settings, &mut fx);
        let first = due(&mut fx).unwrap();
        assert_eq!(first, Time(5) + settings.progress_timeout);
        pleading.on_turn_end(Time(9), Some(Time(9)), &settings, &mut fx);
        assert_eq!(due(&mut fx), None, "the timer is set");
        pleading.on_timer(first, &settings, &mut fx);
        pleading.on_turn_end(first, Some(Time(9)), &settings, &mut fx);
        assert_eq!(
            (pleas(&mut fx), due(&mut fx)),
            (vec![], Some(first + Duration::from_micros(4)))
        );
    }

    #[test]
    fn who_is_in_need_names_those_that_answered_of_late_and_grows_quiet() {
        let (settings, mut fx) = (Settings::default(), Effects::new());
        let mut pleading = Pleading::default();
        pleading.on_turn_end(Time::ZERO, Some(Time::ZERO), &settings, &mut fx);
        let mut now = due(&mut fx).unwrap();
        let mut waits = Vec::new();
        for round in 0..28 {
            pleading.on_timer(now, &settings, &mut fx);
            let offered = if (1..25).contains(&round) { vec![2] } else { vec![] };
            let plea = Plea {
                pleaded_us: now.0 - settings.progress_timeout.as_micros() as u64,
                offered,
                reads: Versions::ALL,
            };
            assert_eq!(pleas(&mut fx), [Message::Plea(plea)], "round {round}");
            if round < 6 {
                pleading.on_offer(now, 2, 1);
            }
            let next = due(&mut fx).unwrap();
            waits.push(next.since(now));
            now = next;
        }
        assert_eq!(waits[0], settings.leader_timeout / 4);
        assert_eq!(waits[27], settings.retry_max);
    }

    #[test]
    fn one_of_many_pleads_less_often() {
        let (settings, mut fx) = (Settings::default(), Effects::new());
        let waits = [1, 20, 200].map(|callers| {
            let mut pleading = Pleading::default();
            pleading.on_turn_end(Time::ZERO, Some(Time::ZERO), &settings, &mut fx);
            let now = due(&mut fx).unwrap();
            pleading.on_offer(now, 2, callers);
            pleading.on_timer(now, &settings, &mut fx);
            due(&mut fx).unwrap().since(now)
        });
        assert_eq!(waits, [37_500, 200_000, 1_000_000].map(Duration::from_micros));
    }
}
