//! The files around a run: what learners write, and how a run is judged by it.
//!
//! The checker shares no code with the roles: it would share their mistakes.

pub mod check;
pub mod files;
pub mod generate;
pub mod mode;
pub mod output;
pub mod watch;
pub mod writer;
