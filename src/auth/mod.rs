//! The lock on the door: who may take part, told by a key. It knows datagrams as bytes, and no
//! message; it opens no socket and reads no clock.
//!
//! A sealed datagram is the plain one and a trailer:
//!
//! ```text
//!   header 27 | body | key id 4 | session 8 | sequence 8 | tag 16
//! ```
//!
//! The tag is HMAC-SHA256 over everything before it and over whom it is sent to, a group or one
//! process, under a key
//! that is derived from the file's and from the cluster's name, cut to 16 bytes. The header names
//! the sender. The *session* is a number that the operating system draws at every start of a
//! process; the *sequence* counts what a session has sealed, over all groups, from 1. The key id
//! is public: it tells the wrong key from a forgery, and which of two keys to try.
//!
//! A tag proves that somebody with the key said it, and not when. So a receiver believes a session
//! only after it has proven to be alive (`door`):
//!
//! 1. Receiver R hears a good tag from a session of S that it does not know. It drops the datagram,
//!    and asks node S to prove itself. The question is a sealed datagram, so R's session and the
//!    question's sequence are in it: a number that was never used before, because the operating
//!    system drew the session after R started.
//! 2. S answers with these two numbers. Only S can seal that, and only now: the answer was made
//!    after R started, whatever was recorded before.
//! 3. R admits the session from the answer's sequence on. What S sealed earlier is refused; what
//!    it seals later is taken once each, in any order within a window (`window`).
//!
//! It follows that *nothing recorded before R started is ever taken by R*, and nothing twice. That
//! holds whatever the acceptors' data are: also when they were wiped, also when the receiver was
//! restarted and has forgotten whom it knew, also when several lives of S were recorded. A run id
//! that the acceptors' data fix would refuse less: it does not change when one process restarts.
//! So there is none.
//!
//! What R had to forget, because it knows at most [`door::SESSIONS_MAX`] sessions, must be proven
//! anew by an answer to a question that was asked after it was forgotten.
//!
//! Whoever holds the key can speak for anybody: the key tells members from strangers, not members
//! from each other. Nothing here is secret on the wire: values can be read by who hears them.

pub mod door;
pub mod hello;
pub mod key;
pub mod seal;
pub mod window;
