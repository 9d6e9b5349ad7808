//! Catching up with deliberate bugs; see `protocol::parts`.

use std::mem;
use std::ops::{Deref, DerefMut};

use super::Answer;
use crate::bugs::{self, Bug};
use crate::protocol::actor::Effects;
use crate::protocol::decided_log::DecidedLog;
use crate::protocol::message::Message;
use crate::protocol::retry::backoff;
use crate::protocol::settings::Settings;
use crate::protocol::timer::Timer;
use crate::protocol::types::{NodeId, Time, To};

/// [`super::CatchUp`], but for its mistakes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct CatchUp(super::CatchUp);

impl Deref for CatchUp {
    type Target = super::CatchUp;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for CatchUp {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl CatchUp {
    /// See [`super::CatchUp::of_learner`].
    pub fn of_learner(id: u32) -> Self {
        CatchUp(super::CatchUp::of_learner(id))
    }

    /// See [`super::CatchUp::on_turn_end`].
    pub fn on_turn_end(
        &mut self,
        now: Time,
        log: &DecidedLog,
        settings: &Settings,
        fx: &mut Effects,
    ) {
        let mut settings = settings.clone();
        if bugs::has(Bug::WaitsForHeartbeats) {
            settings.retry_least = settings.catch_up_delay;
        }
        self.0.on_turn_end(now, log, &settings, fx);
    }

    /// See [`super::CatchUp::on_timer`].
    pub fn on_timer(
        &mut self,
        now: Time,
        log: &DecidedLog,
        first: Option<NodeId>,
        settings: &Settings,
        fx: &mut Effects,
    ) {
        let before = (fx.send.len(), fx.timers.len());
        if bugs::has(Bug::AsksOnlyFirst) {
            self.proven = first;
            let others = first.is_none().then(|| mem::take(&mut self.sources));
            self.0.on_timer(now, log, first, settings, fx);
            self.sources.extend(others.into_iter().flatten());
        } else {
            self.0.on_timer(now, log, first, settings, fx);
        }
        self.spoil(now, before, settings, fx);
    }

    /// See [`super::CatchUp::on_reply`].
    pub fn on_reply(
        &mut self,
        now: Time,
        log: &DecidedLog,
        from: NodeId,
        answer: Answer,
        settings: &Settings,
        fx: &mut Effects,
    ) {
        let before = (fx.send.len(), fx.timers.len());
        self.0.on_reply(now, log, from, answer, settings, fx);
        self.spoil(now, before, settings, fx);
    }

    /// Spoils requests made since this many messages were sent and this many timers were set.
    fn spoil(
        &self,
        now: Time,
        (sent, timers): (usize, usize),
        settings: &Settings,
        fx: &mut Effects,
    ) {
        if bugs::has(Bug::AsksOnce) && self.asked.is_some() {
            fx.timers.truncate(timers);
        }
        if bugs::has(Bug::AsksRarely) && fx.send.len() > sent {
            let wait = backoff(settings.retry_catch_up, self.tries - 1, settings.retry_max);
            fx.set_timer(Timer::CatchUp, now + wait);
        }
        for (to, message) in &mut fx.send[sent..] {
            if let Message::CatchUpRequest(request) = message
                && bugs::has(Bug::NeverAsksTheGroup)
            {
                request.again = false;
                *to = request.of.map_or(*to, To::Node);
            }
        }
    }
}
