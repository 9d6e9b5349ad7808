//! Authentication: a process may take part if it has the key. This module knows datagrams as bytes,
//! not as messages; it opens no socket and reads no clock.
//!
//! A sealed datagram is the plain one and a trailer:
//!
//! ```text
//!   header 27 | body | key id 4 | session 8 | sequence 8 | tag 16
//! ```
//!
//! The tag is HMAC-SHA256, cut to 16 bytes, over everything before it and over the addressee, a
//! group or one process. Its key is derived from the file's key and the cluster's name. The header
//! names the sender. The *session* is a number that the operating system draws at every start of a
//! process; the *sequence* counts what a session has sealed, over all groups, from 1. The key id is
//! public: it distinguishes the wrong key from a forgery, and says which of two keys to try.
//!
//! A tag proves that a holder of the key sent the datagram, but not when. So a receiver believes a
//! session only after it has proven to be alive (`door`):
//!
//! 1. Receiver R hears a good tag from a session of S that it does not know. It drops the datagram,
//!    and asks node S to prove itself. The question is a sealed datagram, so R's session and the
//!    question's sequence are in it: a number that was never used before, because the operating
//!    system drew the session after R started.
//! 2. S answers with these two numbers. Only S can seal that, and only now: the answer was made
//!    after R started, whatever was recorded before.
//! 3. R admits the session from the answer's sequence on. Datagrams that S sealed earlier are
//!    refused; later ones are taken once each, in any order within a window (`window`).
//!
//! It follows that *nothing recorded before R started is ever taken by R*, and nothing twice. That
//! holds whatever the acceptors' data are: even if they were wiped, if the receiver was restarted
//! and has forgotten its peers, or if several runs of S were recorded. A run id stored with the
//! acceptors' data would refuse less, since it does not change when one process restarts. So there
//! is none.
//!
//! A session that R had to forget, because it knows at most [`door::SESSIONS_MAX`] of them, must
//! prove itself anew by an answer to a question that was asked after it was forgotten.
//!
//! A holder of the key can speak for any member: the key distinguishes members from outsiders, not
//! members from each other. Nothing is encrypted: anybody on the network can read the values.

pub mod door;
pub mod hello;
pub mod key;
pub mod seal;
pub mod window;
