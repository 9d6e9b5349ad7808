//! Reading back what only disks hold, with deliberate bugs; see `protocol::parts`.

use std::ops::{Deref, DerefMut};

use crate::bugs::{self, Bug};
use crate::protocol::actor::Effects;
use crate::protocol::message::{Message, Recalled};
use crate::protocol::segments::Page;
use crate::protocol::settings::Settings;
use crate::protocol::types::{Instance, NodeId, Run};

/// [`super::Recalls`], but for its mistakes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Recalls(super::Recalls);

impl Deref for Recalls {
    type Target = super::Recalls;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Recalls {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Recalls {
    /// See [`super::Recalls::ask`].
    pub fn ask(
        &mut self,
        me: NodeId,
        tries: u32,
        run: Run<Instance>,
        settings: &Settings,
        fx: &mut Effects,
    ) {
        let sent = fx.send.len();
        self.0.ask(me, tries, run, settings, fx);
        for (_, message) in &mut fx.send[sent..] {
            if let Message::Recall(recall) = message {
                recall.again &= !bugs::has(Bug::NeverAsksTheGroup);
            }
        }
    }

    /// See [`super::Recalls::on_recalled`].
    pub fn on_recalled(
        &mut self,
        acceptor: u32,
        mut recalled: Recalled,
        settings: &Settings,
    ) -> (Vec<Page>, bool) {
        let mut settings = settings.clone();
        let known = self.known.max(recalled.known);
        if bugs::has(Bug::CountsOldAnswers) {
            recalled.known = recalled.run.until;
        }
        if bugs::has(Bug::RecallsAnyVote) && recalled.entries.is_empty() {
            recalled.votes.clear();
        }
        if bugs::has(Bug::RecallsFromOne) {
            settings.acceptor_count = 1;
        }
        let outcome = self.0.on_recalled(acceptor, recalled, &settings);
        self.known = known;
        outcome
    }
}
