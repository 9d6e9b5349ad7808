//! What makes a role a process: threads, a queue, timers, standard input and output.
//!
//! ```text
//!   socket --- receiver --.                       .--> store     persist, one flush
//!   socket --- receiver --+-> inbox -> role loop -+--> network   send
//!   stdin  --- stdin -----'      ^         |      `--> output    deliver -> printer -> stdout
//!              ^  credits        |         |
//!              `-----------------+---------'
//! ```
//!
//! Each thread blocks in one place. Receive threads and standard input block on what they read and
//! feed one bounded inbox; the role loop alone touches the role, and sleeps until the inbox or the
//! timer wheel has something. No async, no `select!`: one queue and one deadline need neither.
//! While the loop polls, before it sleeps, it reads the socket itself, and the receive thread
//! pauses.
//!
//! A process may run several roles (`paxos node`): each has threads of its own, or its loop shares
//! one with the others (`shared_thread`). Messages between them go from loop to inbox
//! (`neighbours`).
//!
//! Nothing in here knows what a message means. Time is read once a turn; randomness comes from
//! `entropy`, once per start and once for each question that must not be guessed. `process` is a
//! role with its sockets and threads, `node` everything that runs in one process.

pub mod addresses;
pub mod bell;
pub mod busy_poll;
pub mod doing;
#[cfg(feature = "cli")]
mod ending;
pub mod entropy;
pub mod gate;
pub mod gauges;
#[cfg(feature = "cli")]
pub mod handover;
mod held;
pub mod inbox;
mod inheritance;
#[cfg(feature = "cli")]
pub mod laps;
#[cfg(feature = "cli")]
pub mod load;
#[cfg(feature = "cli")]
pub mod measure;
#[cfg(feature = "metrics")]
pub mod metrics;
pub mod neighbours;
#[cfg(feature = "cli")]
pub mod node;
pub(crate) mod opening;
#[cfg(feature = "cli")]
pub mod parent;
pub mod post;
#[cfg(feature = "cli")]
pub mod printer;
pub(crate) mod process;
#[cfg(feature = "cli")]
pub mod progress;
pub mod readings;
pub mod receiver;
pub mod role_loop;
#[cfg(feature = "cli")]
pub mod session;
pub mod shared_thread;
pub(crate) mod snapshots;
#[cfg(feature = "cli")]
pub mod spool;
pub mod start_error;
pub mod stats;
pub mod stdin;
pub mod timer_wheel;
