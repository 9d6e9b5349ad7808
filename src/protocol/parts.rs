//! The parts of the protocol that deliberate bugs can be switched on in. Code that uses one of them
//! takes it from here.
//!
//! The roles are written without any bug: what their files say is the algorithm. The mistakes stand
//! beside them in files named `mistakes.rs`, which only the library's own tests compile, and only
//! with the feature `bugs`. There a type of the same name wraps the correct one and makes the
//! mistake that is switched on, before or after a call of the correct handler: it changes the
//! handler's input, its return value, its effects, or the state that it leaves.
//!
//! A wrapper sees calls from outside, but not the calls that the correct type makes to itself. Code
//! that holds one of these types takes it from here; code that only borrows one may name either,
//! for a wrapper dereferences to the correct type.

#[cfg(not(all(test, feature = "bugs")))]
pub use super::{
    acceptor::Acceptor,
    assembly::Assemblies,
    catch_up::CatchUp,
    client::Client,
    decided_log::DecidedLog,
    election::{Election, vouches::Vouches},
    flow::Flow,
    learner::Learner,
    proposals::Proposals,
    proposer::{
        Proposer, fetchers::Fetchers, incarnations::Incarnations, intake::Queues, keepers::Keepers,
        leadership::Leadership, members::Members, notes::Notes, phase1::Attempt, phase2::Phase2,
        retention::Retention, telling::News,
    },
    quorum::{Quorum, Tally},
    reads::Reads,
    recall::Recalls,
    sessions::Sessions,
    transfer::Fetching,
};

#[cfg(all(test, feature = "bugs"))]
pub use super::{
    acceptor::mistakes::Acceptor,
    assembly::mistakes::Assemblies,
    catch_up::mistakes::CatchUp,
    client::mistakes::Client,
    decided_log::mistakes::DecidedLog,
    election::{mistakes::Election, vouches::mistakes::Vouches},
    flow::mistakes::Flow,
    learner::mistakes::Learner,
    proposals::mistakes::Proposals,
    proposer::{
        fetchers::mistakes::Fetchers, incarnations::mistakes::Incarnations,
        intake::mistakes::Queues, keepers::mistakes::Keepers, leadership::mistakes::Leadership,
        members::mistakes::Members, mistakes::Proposer, notes::mistakes::Notes,
        phase1::mistakes::Attempt, phase2::mistakes::Phase2, retention::mistakes::Retention,
        telling::mistakes::News,
    },
    quorum::mistakes::{Quorum, Tally},
    reads::mistakes::Reads,
    recall::mistakes::Recalls,
    sessions::mistakes::Sessions,
    transfer::mistakes::Fetching,
};

/// The calls that a role's wrapper passes on unchanged.
#[cfg(all(test, feature = "bugs"))]
macro_rules! passes_on {
    ($($call:ident),+) => {
        $(passes_on!(@ $call);)+
    };
    (@ on_start) => {
        passes_on!(@@ on_start, now: types::Time);
    };
    (@ on_timer) => {
        passes_on!(@@ on_timer, now: types::Time, timer: timer::Timer);
    };
    (@ on_input) => {
        passes_on!(@@ on_input, now: types::Time, input: actor::Input);
    };
    (@ on_turn_end) => {
        passes_on!(@@ on_turn_end, now: types::Time);
    };
    (@ on_stop) => {
        passes_on!(@@ on_stop, now: types::Time);
    };
    (@@ $call:ident, $($name:ident: $file:ident::$type:ident),+) => {
        fn $call(
            &mut self,
            $($name: $crate::protocol::$file::$type,)+
            fx: &mut $crate::protocol::actor::Effects,
        ) {
            self.0.$call($($name,)+ fx);
        }
    };
    (@ on_calendar) => {
        fn on_calendar(&mut self, time: $crate::protocol::types::LogTime) {
            self.0.on_calendar(time);
        }
    };
    (@ on_room) => {
        fn on_room(&mut self, room: $crate::protocol::actor::Room) {
            self.0.on_room(room);
        }
    };
    (@ version) => {
        passes_on!(@@@ version, versions::Version);
    };
    (@ interest) => {
        fn interest(&self) -> $crate::protocol::message::Interest {
            self.0.interest()
        }
    };
    (@ input_room) => {
        fn input_room(&self) -> usize {
            self.0.input_room()
        }
    };
    (@ figures) => {
        passes_on!(@@@ figures, figures::Figures);
    };
    (@@@ $call:ident, $file:ident::$type:ident) => {
        fn $call(&self, now: $crate::protocol::types::Time) -> $crate::protocol::$file::$type {
            self.0.$call(now)
        }
    };
    (@ is_finished) => {
        fn is_finished(&self) -> bool {
            self.0.is_finished()
        }
    };
}
#[cfg(all(test, feature = "bugs"))]
pub(crate) use passes_on;
