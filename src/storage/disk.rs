//! What a log needs from a directory, so that a simulated disk can replace a real one.
//!
//! Each operation is one step, as coarse as the system calls are, and a crash may follow it: a test
//! can end the process, or the power, between any two of them.

use std::fmt;
use std::io;

use crate::bugs::{self, Bug};

/// Files that can be read.
pub trait Files: Send {
    /// How long a file is, including preallocated space behind its end.
    fn length(&mut self, name: &str) -> io::Result<u64>;

    /// Reads from `offset`, up to the length of `buffer`, and returns how many bytes that is: fewer
    /// only at the end of the file.
    fn read_at(&mut self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
}

impl Files for Box<dyn Files> {
    fn length(&mut self, name: &str) -> io::Result<u64> {
        (**self).length(name)
    }

    fn read_at(&mut self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        (**self).read_at(name, offset, buffer)
    }
}

/// A directory of files that mostly grow.
///
/// A file that is appended to may have preallocated space behind its end, which reads as zeros
/// after a crash: a sync is cheaper where a file need not grow for it.
pub trait Disk: Files {
    /// The same files, for another thread that reads them while they are written here.
    fn files(&self) -> io::Result<Box<dyn Files>>;

    /// The names of the files, sorted.
    fn list(&mut self) -> io::Result<Vec<String>>;

    /// What distinguishes a file from every other one, including its copies.
    fn mark(&mut self, name: &str) -> io::Result<Mark>;

    /// When a file was last written, in nanoseconds since 1970; zero where that is not known.
    fn modified(&mut self, name: &str) -> io::Result<u64>;

    /// What distinguishes the directory itself from its copies.
    fn own_mark(&mut self) -> io::Result<Mark>;

    /// Creates an empty file, or empties it. Its name is stable only after [`Disk::sync_names`].
    fn create(&mut self, name: &str) -> io::Result<()>;

    /// Adds to the end of a file. Nothing is promised before [`Disk::sync`]. If it fails because
    /// the disk is full, a part may have been written, which [`Disk::cut`] removes.
    fn append(&mut self, name: &str, content: &[u8]) -> io::Result<()>;

    /// Overwrites a part of a file that nothing is appended to. Nothing is promised.
    fn write_at(&mut self, name: &str, offset: u64, content: &[u8]) -> io::Result<()>;

    /// Puts everything that was written to a file on stable storage.
    fn sync(&mut self, name: &str) -> io::Result<()>;

    /// Cuts a file to `length` bytes, for good. It has no preallocated space any more.
    fn cut(&mut self, name: &str, length: u64) -> io::Result<()>;

    /// Renames a file, replacing one that has the new name. See [`Disk::create`].
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&mut self, name: &str) -> io::Result<()>;

    /// Makes the names stable: files created, renamed and removed.
    fn sync_names(&mut self) -> io::Result<()>;

    /// How much space the file system has, and has left for this process; none where that is not
    /// known.
    fn space(&mut self) -> io::Result<Option<Space>> {
        Ok(None)
    }

    /// The path that messages show for a file of the directory; the directory itself for an empty
    /// name.
    fn path_of(&self, name: &str) -> String;
}

/// Whether a write failed only because there was no room: then nothing else has changed, and it may
/// be tried again once there is room.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The result of a sync. A failed one is never taken for a mere lack of room, whatever its error:
/// the system may have dropped what it could not write, and report success at the next sync.
pub fn of_sync(synced: io::Result<()>) -> io::Result<()> {
    if bugs::has(Bug::TrustsFailedSyncs) {
        return synced;
    }
    synced.map_err(io::Error::other)
}

/// How many bytes a file system has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// All of them.
    pub whole: u64,
    /// Those that are left.
    pub free: u64,
}

/// What a file does not share with its copies. Renaming keeps it, and so does moving within a file
/// system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The number of the inode.
    pub inode: u64,
    /// When the inode was created, in nanoseconds since 1970; zero where that is not known.
    pub birth: u64,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.inode, self.birth)
    }
}
