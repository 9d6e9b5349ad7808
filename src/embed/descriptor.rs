//! A descriptor that says whether something can be read: for programs that wait with `poll` or
//! `epoll` for this and for sockets of their own at once.
//!
//! It is created when it is first requested, and costs nothing before that. Its owner decides under
//! a lock of its own whether something is there, and says so when that changes.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use rustix::event::{EventfdFlags, eventfd};

/// A descriptor that is readable while it is raised. Use it only under its owner's lock.
#[derive(Default)]
pub(super) struct Descriptor {
    counter: OnceLock<OwnedFd>,
}

impl Descriptor {
    /// The descriptor itself; the first call creates it.
    ///
    /// # Errors
    ///
    /// When the process, or the host, has no descriptor left.
    pub fn get(&self) -> io::Result<BorrowedFd<'_>> {
        if let Some(counter) = self.counter.get() {
            return Ok(counter.as_fd());
        }
        let new = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(self.counter.get_or_init(|| new).as_fd())
    }

    /// Whether it was requested.
    pub fn exists(&self) -> bool {
        self.counter.get().is_some()
    }

    /// Makes it readable; it must not be.
    pub fn raise(&self) {
        if let Some(counter) = self.counter.get() {
            // It can fail only if the count is full, and then the descriptor is readable.
            let _ = rustix::io::write(counter, &1_u64.to_ne_bytes());
        }
    }

    /// Makes it unreadable; it must be readable.
    pub fn lower(&self) {
        if let Some(counter) = self.counter.get() {
            // It can fail only if another program has read it, and then it is not readable.
            let _ = rustix::io::read(counter, &mut [0; 8]);
        }
    }
}
