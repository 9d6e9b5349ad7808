//! How a client opens its session: it learns where the log is before it requests anything
//! (`sessions`).
//!
//! It asks when it starts, so the answer is usually here when the first value comes. Until the
//! first request the session may still be opened at any place, so a client that was idle for long
//! asks again before its first value: the horizon may have passed an old stamp.

use std::time::Duration;

use super::Client;
use crate::protocol::actor::Effects;
use crate::protocol::entries::Entries;
use crate::protocol::message::{Message, Request};
use crate::protocol::retry::stretch;
use crate::protocol::types::{Instance, Origin, Role, Time, To};

/// Where a session is opened, or how far the client has come with finding that out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Opening {
    /// Set once, before the first value is requested.
    opened: Option<Instance>,
    /// The last answer: below which instance everything was decided, and when it was heard.
    heard: Option<(Instance, Time)>,
    /// When it last asked, and how often without an answer.
    asked: Option<Time>,
    tries: u32,
}

impl Opening {
    /// A session that was opened.
    pub fn at(opened: Instance) -> Self {
        Opening { opened: Some(opened), ..Self::default() }
    }

    /// Where the session was opened, if it was.
    pub fn opened(&self) -> Option<Instance> {
        self.opened
    }

    /// A leader with a quorum says that everything below `instance` is decided.
    pub fn hear(&mut self, now: Time, instance: Instance) {
        let known = self.heard.map_or(instance, |(known, _)| known.max(instance));
        self.heard = Some((known, now));
        (self.asked, self.tries) = (None, 0);
    }

    /// A value is about to be requested: opens the session, unless the last answer is older than
    /// `fresh`.
    pub fn open(&mut self, now: Time, fresh: Duration) -> Option<Instance> {
        let heard = self.heard.filter(|(_, when)| now.since(*when) <= fresh);
        self.opened = self.opened.or(heard.map(|(instance, _)| instance));
        self.opened
    }

    /// Whether to ask now, when an answer takes `timeout`.
    pub fn is_due(&self, now: Time, timeout: Duration, retry_max: Duration) -> bool {
        self.deadline(timeout, retry_max).is_none_or(|deadline| deadline <= now)
    }

    /// The client has asked now.
    pub fn ask(&mut self, now: Time) {
        self.tries = self.tries.saturating_add(u32::from(self.asked.is_some()));
        self.asked = Some(now);
    }

    /// Whether the client has asked more than once.
    pub fn is_asked_again(&self) -> bool {
        self.tries > 0
    }

    /// When to ask again, if the client has asked.
    pub fn deadline(&self, timeout: Duration, retry_max: Duration) -> Option<Time> {
        self.asked.map(|asked| asked + stretch(timeout, self.tries, retry_max))
    }
}

impl Client {
    /// Asks where the log is, unless it asked a moment ago.
    pub(super) fn ask_to_open(&mut self, now: Time, fx: &mut Effects) {
        if self.opening.is_due(now, self.timeout(), self.settings.retry_max) {
            self.opening.ask(now);
            let is_again = self.opening.is_asked_again();
            let to = if is_again { To::Group(Role::Proposer) } else { self.leader_or_all() };
            let (assignment, opened) = (self.assignment, Origin::UNSTAMPED);
            let (from, front, entries) = (self.front, self.front, Entries::noops(0));
            let request = Request { assignment, from, front, opened, entries };
            fx.sent_again += u64::from(is_again);
            fx.send(to, Message::Request(request));
        }
    }
}
