//! What clients are told, with deliberate bugs; see `protocol::parts`.

use std::ops::{Deref, DerefMut};

use crate::bugs::{self, Bug};
use crate::protocol::actor::Effects;
use crate::protocol::decided_log::DecidedLog;
use crate::protocol::message::Message;
use crate::protocol::settings::Settings;
use crate::protocol::types::{Instance, Number, Run, Session, Time, To};

/// [`super::Notes`], but for its mistakes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Notes(super::Notes);

impl Deref for Notes {
    type Target = super::Notes;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Notes {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Notes {
    /// See [`super::Notes::received`].
    pub fn received(&mut self, session: Session, numbers: Run<Number>, asked: Option<Instance>) {
        if bugs::has(Bug::AcksTooEarly) && asked.is_none() {
            return self.0.delivered(session, numbers);
        }
        self.0.received(session, numbers, asked);
    }

    /// See [`super::Notes::lost`].
    pub fn lost(&mut self, session: Session, numbers: Run<Number>) {
        if bugs::has(Bug::TellsLosersTheyWon) {
            return self.0.delivered(session, numbers);
        }
        self.0.lost(session, numbers);
    }

    /// See [`super::Notes::send_final`].
    pub fn send_final(
        &mut self,
        now: Time,
        log: &DecidedLog,
        settings: &Settings,
        fx: &mut Effects,
    ) {
        let sent = fx.send.len();
        self.forget_who_asked_again();
        self.0.send_final(now, log, settings, fx);
        misdirect(&mut fx.send[sent..]);
    }

    /// See [`super::Notes::send_received`].
    pub fn send_received(
        &mut self,
        now: Time,
        log: &DecidedLog,
        settings: &Settings,
        fx: &mut Effects,
    ) {
        let sent = fx.send.len();
        self.forget_who_asked_again();
        self.0.send_received(now, log, settings, fx);
        misdirect(&mut fx.send[sent..]);
    }

    fn forget_who_asked_again(&mut self) {
        if bugs::has(Bug::NeverAsksTheGroup) {
            self.sessions.recent.values_mut().for_each(|note| note.asked_again = 0);
        }
    }
}

/// Sends these acknowledgements elsewhere.
fn misdirect(acks: &mut [(To, Message)]) {
    for (to, _) in acks {
        if let To::Node(client) = to
            && bugs::has(Bug::AnswersTheWrong)
        {
            client.id += 1;
        }
    }
}
