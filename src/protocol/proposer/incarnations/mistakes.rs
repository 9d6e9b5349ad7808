//! Which incarnation of each acceptor was heard, with deliberate bugs; see `protocol::parts`.

use std::ops::{Deref, DerefMut};

use crate::bugs::{self, Bug};
use crate::protocol::actor::Effects;
use crate::protocol::message::Echo;
use crate::protocol::types::{Sender, Time, To};

/// [`super::Incarnations`], but for its mistakes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Incarnations(super::Incarnations);

impl Deref for Incarnations {
    type Target = super::Incarnations;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Incarnations {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Incarnations {
    /// See [`super::Incarnations::admit`].
    pub fn admit(&mut self, now: Time, from: Sender, fx: &mut Effects) -> bool {
        let sent = fx.send.len();
        let is_admitted = self.0.admit(now, from, fx);
        for (to, _) in &mut fx.send[sent..] {
            if bugs::has(Bug::NeverAsksTheGroup) {
                *to = To::Node(from.node);
            }
        }
        is_admitted
    }

    /// See [`super::Incarnations::on_echo`].
    pub fn on_echo(&mut self, said: Time, from: Sender, stamp: Option<Time>, echo: &Echo) {
        self.0.on_echo(said, from, stamp, echo);
        if let Some(life) = self.heard.get_mut(&from.node.id) {
            life.is_rolled_back &= !bugs::has(Bug::BelievesRolledBack);
        }
    }
}
