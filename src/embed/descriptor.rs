//! A descriptor that says whether something can be read: for programs that wait with `poll` or
//! `epoll`, for this and for sockets of their own at once.
//!
//! There is none until somebody asks for it, and nothing is spent on it until then. Its owner
//! decides under a lock of its own whether something is there, and says so when that changes.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use rustix::event::{EventfdFlags, eventfd};

/// A descriptor that is readable while it is raised. To be used under its owner's lock alone.
#[derive(Default)]
pub(super) struct Descriptor {
    counter: OnceLock<OwnedFd>,
}

impl Descriptor {
    /// The descriptor itself; the first call makes it.
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

    /// Whether somebody has asked for it.
    pub fn exists(&self) -> bool {
        self.counter.get().is_some()
    }

    /// Makes it readable, which it is not.
    pub fn raise(&self) {
        if let Some(counter) = self.counter.get() {
            // It can only fail if the count is full, and then it is readable.
            let _ = rustix::io::write(counter, &1_u64.to_ne_bytes());
        }
    }

    /// Makes it unreadable, which it is not.
    pub fn lower(&self) {
        if let Some(counter) = self.counter.get() {
            // It can only fail if somebody else has read it, and then it is not readable.
            let _ = rustix::io::read(counter, &mut [0; 8]);
        }
    }
}
