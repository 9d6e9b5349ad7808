//! The learner with deliberate bugs; see `protocol::parts`.

use std::ops::{Deref, DerefMut};

use super::Beginning;
use crate::bugs::{self, Bug};
use crate::protocol::actor::{Actor, Delivery, Effects, Input};
use crate::protocol::checkpoint::Checkpoint;
use crate::protocol::message::{Kind, Message, StateKind};
use crate::protocol::parts::passes_on;
use crate::protocol::settings::Settings;
use crate::protocol::transfer::Outcome;
use crate::protocol::types::{LogTime, Sender, Time};

/// [`super::Learner`], but for its mistakes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Learner(super::Learner);

impl Deref for Learner {
    type Target = super::Learner;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Learner {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Learner {
    /// See [`super::Learner::new`].
    pub fn new(id: u32, boot: u64, settings: Settings, now: Time) -> Self {
        Learner(super::Learner::new(id, boot, settings, now))
    }

    /// See [`super::Learner::beginning`].
    #[must_use]
    pub fn beginning(self, beginning: Beginning) -> Self {
        Learner(self.0.beginning(beginning))
    }

    /// See [`super::Learner::with_snapshots`].
    #[must_use]
    pub fn with_snapshots(self, kind: StateKind) -> Self {
        Learner(self.0.with_snapshots(kind))
    }

    /// See [`super::Learner::restored`].
    #[must_use]
    pub fn restored(self, kind: StateKind, checkpoint: Checkpoint) -> Self {
        let mut learner = self.0.restored(kind, checkpoint);
        learner.may_be_foreign &= !bugs::has(Bug::ReadsForeignSnapshot);
        Learner(learner)
    }

    /// Misunderstands a message about a log of another name.
    fn mishear(&self, mut message: Message) -> Message {
        if let Message::Heartbeat(heartbeat) = &mut message
            && heartbeat.progress.name != self.log.progress().name
            && bugs::has(Bug::BelievesForeignSnapshot)
        {
            heartbeat.progress.name = 0;
        }
        message
    }
}

impl Actor for Learner {
    passes_on!(on_start, on_timer, version, interest, input_room, figures);

    fn on_message(&mut self, now: Time, from: Sender, message: Message, fx: &mut Effects) {
        let message = self.mishear(message);
        let is_of_log = message.kind() != Kind::Chunk;
        if bugs::has(Bug::DeliversWhileFetching) && is_of_log && self.fetching.is_some() {
            let fetching = self.0.fetching.take();
            self.0.is_cut_off = false;
            self.0.on_message(now, from, message, fx);
            self.0.fetching = fetching;
            return;
        }
        self.0.on_message(now, from, message, fx);
    }

    fn on_input(&mut self, now: Time, input: Input, fx: &mut Effects) {
        match input {
            Input::Done(Outcome::Fetched { checkpoint, .. })
                if bugs::has(Bug::RestoresOlderSnapshots) =>
            {
                self.0.go_on_from(now, checkpoint, fx);
            }
            input => self.0.on_input(now, input, fx),
        }
    }

    fn on_turn_end(&mut self, now: Time, fx: &mut Effects) {
        if bugs::has(Bug::ServesUndelivered) && !self.is_cut_off && !self.may_be_foreign {
            let (end, settings) = (self.log.end(), self.settings.clone());
            self.reads.on_turn_end(now, end, &settings, fx);
        }
        self.0.on_turn_end(now, fx);
        for delivery in &mut fx.deliver {
            if let Delivery::Delivered(_, before) = delivery
                && bugs::has(Bug::TimesGoBack)
            {
                *before = LogTime::NONE;
            }
        }
    }
}
