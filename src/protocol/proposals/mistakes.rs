//! Entries proposed but not decided, with deliberate bugs; see `protocol::parts`.

use std::iter;
use std::ops::{Deref, DerefMut};

use crate::bugs::{self, Bug};
use crate::protocol::decided_log::DecidedLog;
use crate::protocol::message::Chosen;
use crate::protocol::segments::Page;
use crate::protocol::types::{Ballot, Instance, Run};

/// [`super::Proposals`], but for its mistakes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Proposals(super::Proposals);

impl Deref for Proposals {
    type Target = super::Proposals;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Proposals {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Proposals {
    /// See [`super::Proposals::choose`].
    pub fn choose(&mut self, chosen: Chosen, log: &DecidedLog) -> Vec<Page> {
        let ballot = chosen.ballot;
        let is_taken = |proposed: Ballot| {
            let is_of_owner =
                (ballot.round, ballot.proposer) == (proposed.round, proposed.proposer);
            bugs::has(Bug::NamesAnyBallot) || is_of_owner && bugs::has(Bug::NamesAnyLife)
        };
        let below = Run::new(log.watermark(), chosen.until);
        let named: Vec<Run<Instance>> =
            iter::once(below).chain(chosen.runs.iter().copied()).collect();
        for run in named {
            let taken = self.held.spans(run).filter(|(_, proposed)| is_taken(**proposed));
            let taken: Vec<Run<Instance>> = taken.map(|(span, _)| span).collect();
            taken.into_iter().for_each(|span| {
                self.held.change(span, |_, _, proposed| *proposed = ballot);
            });
        }
        self.0.choose(chosen, log)
    }
}
