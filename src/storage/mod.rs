//! What an acceptor must not forget, and where it is kept.
//!
//! A store keeps records in order and knows nothing of messages. The role loop appends the records
//! of a turn, flushes once, and only then sends what the turn wants sent.

#[cfg(feature = "cli")]
pub mod archive;
mod contents;
pub mod directory;
pub mod disk;
pub mod error;
pub(crate) mod frame;
pub mod identity;
pub mod index;
pub mod log;
mod manifest;
pub mod memory;
#[cfg(feature = "cli")]
pub mod offline;
mod recovery;
pub mod room;
mod summary;
pub mod watch;

use std::io;

use self::index::VoteReader;
use crate::protocol::actor::{Record, Room};

/// Keeps the records of one acceptor.
pub trait AcceptorStore: Send {
    /// Takes one record. It is safe only after the next [`AcceptorStore::flush`].
    ///
    /// # Errors
    ///
    /// When the record cannot be kept. The acceptor must not answer anything from then on.
    fn append(&mut self, record: &Record) -> io::Result<()>;

    /// Returns once everything appended will survive whatever the store promises to survive.
    ///
    /// # Errors
    ///
    /// With an error of which [`disk::is_full`] holds there was no room: nothing of what was
    /// appended is stable, and nothing that rests on it may be answered. It is kept, and the next
    /// flush tries again. After any other error, as [`AcceptorStore::append`]: what is on disk is
    /// unknown, so it must not be repeated.
    fn flush(&mut self) -> io::Result<()>;

    /// Gives back room that nobody needs any more, a bounded piece of it. The time for it is after
    /// a flush, when everything that waited for the flush is sent.
    ///
    /// # Errors
    ///
    /// As [`AcceptorStore::append`].
    fn reclaim(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// How much room there is for more. It is asked in every turn, and looks at the disk now and
    /// then.
    fn room(&mut self) -> Room {
        Room::Ample
    }

    /// What reads the votes back that were stored, beside the role that stores more; none where
    /// nothing is kept.
    ///
    /// # Errors
    ///
    /// When the files cannot be shared.
    fn vote_reader(&self) -> io::Result<Option<VoteReader>> {
        Ok(None)
    }

    /// Notes that the process ends in order, with everything flushed.
    ///
    /// # Errors
    ///
    /// When that cannot be noted. Nothing is lost by it.
    fn close(&mut self) -> io::Result<()> {
        Ok(())
    }
}
