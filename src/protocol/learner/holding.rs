//! A learner whose application has a state to begin with: that of a snapshot, or one that it has
//! kept by itself.
//!
//! A snapshot has the name of its log, and counts once a leader has named the same one. Of a state
//! that the application has kept, the learner knows only up to where it reaches. It may be of
//! another log, from before the cluster lost its data, and then all of a new log would be left out
//! up to there. So the learner asks the acceptors, as for a read (`protocol::reads`):
//!
//! 1. What is in the state was decided before the question left.
//! 2. So the answer lies above all of it, and once the learner has handed out everything below the
//!    answer, it has passed the whole state.
//! 3. If it has not passed it by then, the state is of another log.
//!
//! A log that has grown beyond the state by then is not told from the one that it is of.

use super::snapshots::Snapshots;
use super::{Beginning, Learner};
use crate::protocol::actor::{Delivery, Effects, Halt};
use crate::protocol::checkpoint::Checkpoint;
use crate::protocol::message::StateKind;
use crate::protocol::types::Instance;

/// Stands for no read: their numbers begin above it.
const NO_READ: u64 = 0;

impl Learner {
    /// The same for an application that has kept its state by itself: everything below `instance`
    /// is in it. Hands out the rest, which needs no more of the log than a checkpoint at
    /// `instance`, or below.
    #[must_use]
    pub fn holding(self, instance: Instance) -> Self {
        let holds = Some(instance).filter(|instance| *instance > Instance::FIRST);
        Learner { holds, ..self.beginning(Beginning::At(instance)) }
    }

    /// The same, going on from a snapshot: it hands out what lies above.
    #[must_use]
    pub fn restored(mut self, kind: StateKind, checkpoint: Checkpoint) -> Self {
        (self.begins, self.begins_anywhere) = (Some(checkpoint.head.of), false);
        self.snapshots = Some(Snapshots::of(kind, checkpoint.head));
        (self.may_be_foreign, self.holds) = (true, None);
        self.log.restore(checkpoint);
        self.log.take_up();
        self
    }

    /// Asks how far the log may be decided, until it is known that the application's state is no
    /// further.
    pub(super) fn question_holding(&mut self) {
        if self.holds.is_some() {
            self.reads.on_read(NO_READ);
        }
    }

    /// Ends a learner whose application has more than was ever decided.
    pub(super) fn check_holding(&mut self, fx: &mut Effects) {
        let Some(holds) = self.holds else { return };
        if self.log.watermark() >= holds {
            self.holds = None;
            return;
        }
        let is_answer = |delivery: &Delivery| matches!(delivery, Delivery::Readable(_));
        if fx.deliver.iter().any(is_answer) {
            // Nobody may read such a state.
            fx.deliver.retain(|delivery| !is_answer(delivery));
            fx.halt = Some(Halt::Ahead(holds));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::actor::{Actor, Input};
    use crate::protocol::entries::Entries;
    use crate::protocol::message::{Decide, Message, ReadReply};
    use crate::protocol::settings::Settings;
    use crate::protocol::types::{Ballot, NodeId, Role, Sender, Time};

    /// A learner whose application has everything below instance 10. Two acceptors say where their
    /// logs end, and then everything below `decided` is known to be decided.
    fn run(ends: [u64; 2], decided: u64) -> (Learner, Effects) {
        let learner = Learner::new(1, 1, Settings::default(), Time::ZERO);
        let (mut learner, mut fx) = (learner.holding(Instance(10)), Effects::new());
        learner.on_start(Time::ZERO, &mut fx);
        learner.on_turn_end(Time::ZERO, &mut fx);
        let is_question = |message: &Message| matches!(message, Message::ReadRequest(_));
        assert!(fx.send.iter().any(|(_, message)| is_question(message)));
        for (acceptor, end) in (1..).zip(ends) {
            let from = Sender { node: NodeId::new(Role::Acceptor, acceptor), boot: 7 };
            let reply = ReadReply { boot: 1, count: 1, end: Instance(end) };
            learner.on_message(Time::ZERO, from, Message::ReadReply(reply), &mut fx);
        }
        let leader = Sender { node: NodeId::new(Role::Proposer, 1), boot: 1 };
        let entries = Entries::noops(decided as u32 - 1);
        let decide = Decide { ballot: Ballot::ZERO, from: Instance::FIRST, entries };
        learner.on_message(Time::ZERO, leader, Message::Decide(decide), &mut fx);
        learner.on_input(Time::ZERO, Input::Read(1), &mut fx);
        learner.on_turn_end(Time::ZERO, &mut fx);
        (learner, fx)
    }

    fn is_readable(fx: &Effects) -> bool {
        fx.deliver.iter().any(|delivery| matches!(delivery, Delivery::Readable(_)))
    }

    #[test]
    fn a_state_that_nobody_can_have_ends_its_learner() {
        for (ends, decided, halt) in [
            ([6, 5], 7, Some(Halt::Ahead(Instance(10)))),
            ([9, 9], 9, Some(Halt::Ahead(Instance(10)))),
            // Not everything is here that may be decided.
            ([9, 9], 7, None),
            ([12, 3], 7, None),
            // It is.
            ([10, 3], 10, None),
            ([12, 3], 11, None),
        ] {
            let (learner, fx) = run(ends, decided);
            assert_eq!(fx.halt, halt, "{ends:?}, {decided}");
            assert_eq!(learner.holds.is_none(), decided >= 10, "{ends:?}, {decided}");
            assert!(halt.is_none() || !is_readable(&fx), "nobody reads it");
        }
    }
}
