//! What a sender has in the network, with deliberate bugs; see `protocol::parts`.

use std::ops::{Deref, DerefMut};

use super::Ticket;
use crate::bugs::{self, Bug};
use crate::protocol::settings::Settings;
use crate::protocol::types::Time;

/// [`super::Flow`], but for its mistakes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Flow<T>(super::Flow<T>);

impl<T> Deref for Flow<T> {
    type Target = super::Flow<T>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<T> DerefMut for Flow<T> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl<T: Copy> Flow<T> {
    /// See [`super::Flow::new`].
    pub fn new(settings: &Settings) -> Self {
        Flow(super::Flow::new(settings))
    }

    /// See [`super::Flow::unbounded`].
    pub fn unbounded(settings: &Settings) -> Self {
        Flow(super::Flow::unbounded(settings))
    }

    /// See [`super::Flow::answer`].
    pub fn answer(&mut self, now: Time, ticket: Ticket) {
        let before = self.in_network;
        self.0.answer(now, ticket);
        if bugs::has(Bug::CountsAnswersTwice) {
            let answered = before - self.in_network;
            self.in_network = self.in_network.saturating_sub(answered);
        }
    }

    /// See [`super::Flow::take_lost`].
    pub fn take_lost(&mut self, settings: &Settings, lost: &mut Vec<T>) {
        let before = self.in_network;
        self.0.take_lost(settings, lost);
        self.keep_counting(before);
    }

    /// See [`super::Flow::take_due`].
    pub fn take_due(&mut self, now: Time, settings: &Settings, lost: &mut Vec<T>) {
        let before = self.in_network;
        self.0.take_due(now, settings, lost);
        self.keep_counting(before);
    }

    /// So much was in the network before something was found to be lost.
    fn keep_counting(&mut self, before: usize) {
        if bugs::has(Bug::NeverReopensWindow) {
            self.in_network = before;
        }
    }
}
