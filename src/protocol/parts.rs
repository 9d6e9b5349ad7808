//! The parts of the protocol that deliberate bugs can be switched on in. Code that uses one of them
//! takes it from here.
//!
//! The roles are written without any bug: what their files say is the algorithm. The mistakes in
//! them stand in files beside them, `mistakes.rs`, which the library's own tests compile, and only
//! with the feature `bugs`. There a type of the same name wraps the right one, behaves like it, and
//! makes the mistake that is switched on before or after a call of the right handler.

#[cfg(not(all(test, feature = "bugs")))]
pub use super::{
    acceptor::Acceptor,
    election::{Election, vouches::Vouches},
    proposals::Proposals,
    proposer::{phase1::Attempt, phase2::Phase2},
    quorum::{Quorum, Tally},
};

#[cfg(all(test, feature = "bugs"))]
pub use super::{
    acceptor::mistakes::Acceptor,
    election::{mistakes::Election, vouches::mistakes::Vouches},
    proposals::mistakes::Proposals,
    proposer::{phase1::mistakes::Attempt, phase2::mistakes::Phase2},
    quorum::mistakes::{Quorum, Tally},
};
