//! How far a read must wait, with deliberate bugs; see `protocol::parts`.

use std::ops::{Deref, DerefMut};

use crate::bugs::{self, Bug};
use crate::protocol::actor::Effects;
use crate::protocol::message::ReadReply;
use crate::protocol::settings::Settings;
use crate::protocol::types::{Instance, Sender, Time};

/// [`super::Reads`], but for its mistakes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reads(super::Reads);

impl Deref for Reads {
    type Target = super::Reads;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Reads {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Reads {
    /// See [`super::Reads::new`].
    pub fn new(boot: u64) -> Self {
        Reads(super::Reads::new(boot))
    }

    /// See [`super::Reads::on_read`].
    pub fn on_read(&mut self, last: u64) {
        match &mut self.question {
            Some(question) if bugs::has(Bug::JoinsReadsUnderway) => question.last = last,
            Some(_) | None => self.0.on_read(last),
        }
    }

    /// See [`super::Reads::on_reply`].
    pub fn on_reply(
        &mut self,
        now: Time,
        from: Sender,
        reply: &ReadReply,
        settings: &Settings,
        fx: &mut Effects,
    ) {
        let mut reply = *reply;
        if bugs::has(Bug::CountsStaleReplies) {
            (reply.boot, reply.count) = (self.boot, self.count);
        }
        if bugs::has(Bug::CountsForgetfulReplies) {
            self.lives.remove(&from.node.id);
        }
        self.0.on_reply(now, from, &reply, settings, fx);
    }

    /// See [`super::Reads::on_turn_end`].
    pub fn on_turn_end(
        &mut self,
        now: Time,
        watermark: Instance,
        settings: &Settings,
        fx: &mut Effects,
    ) {
        let mut settings = settings.clone();
        if bugs::has(Bug::ServesBeforeQuorum) {
            settings.acceptor_count = 1;
        }
        self.0.on_turn_end(now, watermark, &settings, fx);
    }
}
