//! The files around a run: what learners write, and how a run is judged by it.
//!
//! The checker shares no code with the roles: it would share their mistakes.

#[cfg(feature = "cli")]
pub mod check;
pub mod digest;
pub mod files;
pub mod form;
#[cfg(feature = "cli")]
pub mod generate;
#[cfg(feature = "cli")]
pub mod mode;
pub mod output;
#[cfg(feature = "cli")]
pub mod taken;
#[cfg(feature = "cli")]
pub mod timeline;
#[cfg(feature = "cli")]
pub mod watch;
pub mod writer;
