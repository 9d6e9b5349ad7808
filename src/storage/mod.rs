//! How an acceptor's promises and votes are kept.
//!
//! A store keeps records in order and knows nothing of messages. The role loop appends the records
//! of a turn, flushes once, and only then sends the turn's messages.

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
use crate::protocol::figures::DiskUse;

/// Keeps the records of one acceptor.
pub trait AcceptorStore: Send {
    /// Takes one record. It is safe only after the next [`AcceptorStore::flush`].
    ///
    /// # Errors
    ///
    /// When the record cannot be kept. The acceptor must not answer anything from then on.
    fn append(&mut self, record: &Record) -> io::Result<()>;

    /// Returns once everything appended will survive the failures that the store promises to
    /// survive.
    ///
    /// # Errors
    ///
    /// An error for which [`disk::is_full`] holds means lack of room: nothing that was appended is
    /// stable, and nothing that depends on it may be answered. The records are kept, and the next
    /// flush tries again. Any other error is as for [`AcceptorStore::append`]: what is on disk is
    /// unknown, so the flush must not be repeated.
    fn flush(&mut self) -> io::Result<()>;

    /// Frees space that nobody needs any more, a bounded piece of it. Call it after a flush, when
    /// everything that waited for the flush was sent.
    ///
    /// # Errors
    ///
    /// As [`AcceptorStore::append`].
    fn reclaim(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// How much room there is for more. It is called in every turn, and checks the disk now and
    /// then.
    fn room(&mut self) -> Room {
        Room::Ample
    }

    /// How the records fill the disk, as of the last look at it; none where nothing is kept.
    fn disk_use(&self) -> Option<DiskUse> {
        None
    }

    /// A reader of the stored votes, for use beside the role that stores more; none where nothing
    /// is kept.
    ///
    /// # Errors
    ///
    /// When the files cannot be shared.
    fn vote_reader(&self) -> io::Result<Option<VoteReader>> {
        Ok(None)
    }

    /// Notes that the process ends in good order, with everything flushed.
    ///
    /// # Errors
    ///
    /// When that cannot be noted, which does no harm.
    fn close(&mut self) -> io::Result<()> {
        Ok(())
    }
}
