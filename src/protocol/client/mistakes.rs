//! The client, with deliberate bugs; see `protocol::parts`.

use std::ops::{Deref, DerefMut};

use super::UNASKED_MAX;
use crate::bugs::{self, Bug};
use crate::protocol::actor::{Actor, Effects};
use crate::protocol::message::{Assignment, Message, RequestAck};
use crate::protocol::parts::passes_on;
use crate::protocol::settings::Settings;
use crate::protocol::timer::Timer;
use crate::protocol::types::{Instance, Role, Sender, Session, Time};

/// [`super::Client`], but for its mistakes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Client(super::Client);

impl Deref for Client {
    type Target = super::Client;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Client {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Client {
    /// See [`super::Client::new`].
    pub fn new(session: Session, assignment: Assignment, settings: Settings) -> Self {
        Client(super::Client::new(session, assignment, settings))
    }

    /// See [`super::Client::cutting_at`].
    #[must_use]
    pub fn cutting_at(self, part_bytes: usize) -> Self {
        if bugs::has(Bug::CutsAnew) {
            return self;
        }
        Client(self.0.cutting_at(part_bytes))
    }

    /// See [`super::Client::resumable`].
    #[must_use]
    pub fn resumable(self) -> Self {
        Client(self.0.resumable())
    }

    /// See [`super::Client::opened_at`].
    #[must_use]
    pub fn opened_at(self, opened: Instance) -> Self {
        Client(self.0.opened_at(opened))
    }

    fn on_request_ack(&mut self, now: Time, mut ack: RequestAck) {
        if bugs::has(Bug::TakesPleasForRequests) {
            ack.told.iter_mut().for_each(|told| told.requested = true);
        }
        let is_mine = ack.told.iter().any(|told| told.session == self.session);
        self.0.on_request_ack(now, ack);
        let is_asked = now.since(self.asked) <= UNASKED_MAX;
        if is_mine && is_asked && bugs::has(Bug::ZombieServes) {
            self.served = now;
        }
    }
}

impl Actor for Client {
    passes_on!(on_start, on_input, on_stop, version, interest, input_room, is_finished);

    fn on_message(&mut self, now: Time, from: Sender, message: Message, fx: &mut Effects) {
        match message {
            Message::RequestAck(ack) if from.node.role == Role::Proposer => {
                self.on_request_ack(now, ack);
            }
            Message::Heartbeat(mut heartbeat) if bugs::has(Bug::AsksForRemoved) => {
                heartbeat.progress.first = Instance::FIRST;
                self.0.on_message(now, from, Message::Heartbeat(heartbeat), fx);
            }
            _ => self.0.on_message(now, from, message, fx),
        }
    }

    fn on_timer(&mut self, now: Time, timer: Timer, fx: &mut Effects) {
        if bugs::has(Bug::NeverRetriesRequests) {
            self.deadlines.clear();
        }
        self.0.on_timer(now, timer, fx);
    }

    fn on_turn_end(&mut self, now: Time, fx: &mut Effects) {
        let (sent, answered) = (fx.send.len(), self.answered);
        if bugs::has(Bug::HoldsBackMissed) {
            self.answered = self.front;
        }
        self.0.on_turn_end(now, fx);
        self.answered = answered;
        if bugs::has(Bug::TakesRemovedForLost) {
            let removed = std::mem::take(&mut self.tally.trimmed);
            self.tally.lost += removed;
        }
        for (to, message) in &mut fx.send[sent..] {
            if matches!(message, Message::Request(_)) && bugs::has(Bug::NeverAsksTheGroup) {
                *to = self.leader_or_all();
            }
        }
    }
}
