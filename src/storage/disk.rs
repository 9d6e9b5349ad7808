//! What a log needs of a directory, so that a simulated disk can stand in for a real one.
//!
//! Each operation is one step that a crash may come after, as coarse as the system calls are: a
//! test can end the process, or the power, between any two of them.

use std::fmt;
use std::io;

use crate::bugs::{self, Bug};

/// Files that can be read.
pub trait Files: Send {
    /// How long a file is, with the room behind its end.
    fn length(&mut self, name: &str) -> io::Result<u64>;

    /// Reads what stands at `offset`, up to the length of `buffer`, and returns how much that is:
    /// less only at the end of the file.
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
/// A file that is appended to may have room behind its end, which reads as zeros after a crash: a
/// sync is cheaper where a file need not grow for it.
pub trait Disk: Files {
    /// The same files, to be read by another thread while they are written here.
    fn files(&self) -> io::Result<Box<dyn Files>>;

    /// The names of the files, sorted.
    fn list(&mut self) -> io::Result<Vec<String>>;

    /// What tells a file from every other one, its copies among them.
    fn mark(&mut self, name: &str) -> io::Result<Mark>;

    /// When a file was written last, in nanoseconds since 1970; zero where nobody tells.
    fn modified(&mut self, name: &str) -> io::Result<u64>;

    /// What tells the directory itself from its copies.
    fn own_mark(&mut self) -> io::Result<Mark>;

    /// Creates an empty file, or empties it. Its name is stable after [`Disk::sync_names`] alone.
    fn create(&mut self, name: &str) -> io::Result<()>;

    /// Adds to the end of a file. Nothing is promised before [`Disk::sync`]. If it fails because
    /// the disk is full, a part may stand there, which [`Disk::cut`] takes away.
    fn append(&mut self, name: &str, content: &[u8]) -> io::Result<()>;

    /// Overwrites a part of a file that nothing is appended to. Nothing is promised.
    fn write_at(&mut self, name: &str, offset: u64, content: &[u8]) -> io::Result<()>;

    /// Puts everything that was written to a file on stable storage.
    fn sync(&mut self, name: &str) -> io::Result<()>;

    /// Cuts a file to `length` bytes, for good. There is no room behind it any more.
    fn cut(&mut self, name: &str, length: u64) -> io::Result<()>;

    /// Gives a file another name, in the place of a file that has it. See [`Disk::create`].
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&mut self, name: &str) -> io::Result<()>;

    /// Makes the names stable: what was created, renamed and removed.
    fn sync_names(&mut self) -> io::Result<()>;

    /// How much the file system has, and has left for this process; none where nobody tells.
    fn space(&mut self) -> io::Result<Option<Space>> {
        Ok(None)
    }

    /// How messages call a file of the directory; the directory itself for no name.
    fn path_of(&self, name: &str) -> String;
}

/// Whether a write failed only because there is no room for it: then nothing else is different, and
/// it may be tried again once there is.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// What a sync says. One that failed is never taken for a mere lack of room, whatever it says: the
/// system may have dropped what it could not write, and say at the next sync that all is well.
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

/// What a copy of a file does not have in common with it. Renaming keeps it, and so does moving
/// within a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The number of the inode.
    pub inode: u64,
    /// When the inode was made, in nanoseconds since 1970; zero where nobody tells.
    pub birth: u64,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.inode, self.birth)
    }
}
