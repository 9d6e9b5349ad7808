//! A real directory, held by this process alone, as a [`Disk`].
//!
//! Everything goes through the descriptor of the directory, so a directory that is moved while in
//! use is still the one written to, and one that took its place is left alone. Links are not
//! followed.

use std::fs::{self, File, Metadata, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use rustix::fs::{AtFlags, Dir, Mode, OFlags};

use super::disk::{Disk, Files, Mark, Space, is_full, of_sync};
use super::identity::IDENTITY;
use super::watch::{Watch, Watched};

/// The file whose lock says that a process uses the directory.
pub const LOCK: &str = "lock";

/// Files that only their owner may read and write.
const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);

/// How many zeros are written at once, in bytes.
const ROOM_BYTES: usize = 1 << 18;

/// A directory, locked for this process as long as the value lives.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    handle: File,
    /// The file that is appended to.
    appended: Option<Appended>,
    /// The file that was read or overwritten last.
    other: Option<(String, File)>,
    /// The files that must not vanish while the process runs.
    watched: Arc<Mutex<Watched>>,
    _lock: File,
}

/// A file that is kept open, and where it ends.
#[derive(Debug)]
struct Appended {
    name: String,
    file: File,
    end: u64,
    /// The end of the zeros behind the end.
    room: u64,
}

impl Appended {
    /// Writes zeros ahead, so that later syncs need not make the file grow. On a full disk this
    /// fails, and so may the write itself.
    fn make_room(&mut self) -> io::Result<()> {
        match self.file.write_all_at(&[0; ROOM_BYTES], self.end) {
            Ok(()) => self.room = self.end + ROOM_BYTES as u64,
            Err(error) if is_full(&error) => {
                self.file.set_len(self.end)?;
                self.room = self.end;
            }
            Err(error) => return Err(error),
        }
        of_sync(self.file.sync_all())
    }

    fn append(&mut self, content: &[u8]) -> io::Result<()> {
        let end = self.end + content.len() as u64;
        // A larger write extends the file by itself.
        if end > self.room && content.len() < ROOM_BYTES {
            self.make_room()?;
        }
        self.file.write_all_at(content, self.end)?;
        self.end = end;
        self.room = self.room.max(end);
        Ok(())
    }
}

impl Directory {
    /// Opens a directory, creates it if it is missing, and locks it. Only its owner may read it.
    /// The names that lead to it are stable when this returns.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::ResourceBusy`] when another process holds it.
    pub fn open(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        let handle = File::open(path)?;
        if !path.join(IDENTITY).exists() {
            // Otherwise an earlier start has done so, and syncing directories that others write to
            // is slow.
            sync_way_to(path)?;
        }
        let flags = OFlags::WRONLY | OFlags::CREATE;
        let lock = open_at(&handle, LOCK, flags)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::from(io::ErrorKind::ResourceBusy),
            TryLockError::Error(error) => error,
        })?;
        let watched = Watched::new(path, handle.metadata()?.ino(), (LOCK, lock.metadata()?.ino()));
        Ok(Directory {
            path: path.to_owned(),
            handle,
            appended: None,
            other: None,
            watched: Arc::new(Mutex::new(watched)),
            _lock: lock,
        })
    }

    /// A handle by which another thread checks whether the files are still there.
    pub fn watch(&self) -> Watch {
        Watch::new(Arc::clone(&self.watched))
    }

    /// The file `name`, opened for appending at its end.
    fn appended(&mut self, name: &str) -> io::Result<&mut Appended> {
        let appended = match self.appended.take() {
            Some(appended) if appended.name == name => appended,
            _ => {
                let file = open_at(&self.handle, name, OFlags::WRONLY)?;
                let end = file.metadata()?.len();
                Appended { name: name.to_owned(), file, end, room: end }
            }
        };
        Ok(self.appended.insert(appended))
    }

    /// The file `name`, opened for reading and overwriting.
    fn other(&mut self, name: &str) -> io::Result<&File> {
        let other = match self.other.take() {
            Some(other) if other.0 == name => other,
            _ => {
                let file = open_at(&self.handle, name, OFlags::RDWR)?;
                self.watched.lock().add(name, file.metadata()?.ino());
                (name.to_owned(), file)
            }
        };
        Ok(&self.other.insert(other).1)
    }

    /// Closes a file kept open under a name that is about to mean another one.
    fn close(&mut self, name: &str) {
        self.appended.take_if(|appended| appended.name == name);
        self.other.take_if(|other| other.0 == name);
        self.watched.lock().remove(name);
    }
}

fn open_at(directory: &File, name: &str, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::openat(directory, name, flags, PRIVATE)?))
}

/// Makes the names that lead to `path` stable. They may have been created just now, or by a process
/// that was killed before it could do this.
fn sync_way_to(path: &Path) -> io::Result<()> {
    let path = fs::canonicalize(path)?;
    for (place, directory) in path.ancestors().skip(1).enumerate() {
        let synced = File::open(directory).and_then(|directory| directory.sync_all());
        // Directories farther up may belong to another user, and then they were there before.
        if place == 0 {
            synced?;
        }
    }
    Ok(())
}

pub(super) fn mark_of(metadata: &Metadata) -> Mark {
    Mark { inode: metadata.ino(), birth: nanoseconds(metadata.created()) }
}

/// A time kept by the file system; zero if it keeps none.
pub(super) fn nanoseconds(time: io::Result<SystemTime>) -> u64 {
    let since = time.ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.and_then(|since| u64::try_from(since.as_nanos()).ok()).unwrap_or(0)
}

impl Files for Directory {
    fn length(&mut self, name: &str) -> io::Result<u64> {
        Ok(self.other(name)?.metadata()?.len())
    }

    fn read_at(&mut self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        read_fully(self.other(name)?, offset, buffer)
    }
}

/// The files of a directory, read beside the process that writes them.
#[derive(Debug)]
struct Beside {
    handle: File,
    /// The file that was read last.
    open: Option<(String, File)>,
}

impl Beside {
    fn file(&mut self, name: &str) -> io::Result<&File> {
        let open = match self.open.take() {
            Some(open) if open.0 == name => open,
            _ => (name.to_owned(), open_at(&self.handle, name, OFlags::RDONLY)?),
        };
        Ok(&self.open.insert(open).1)
    }
}

impl Files for Beside {
    fn length(&mut self, name: &str) -> io::Result<u64> {
        Ok(self.file(name)?.metadata()?.len())
    }

    fn read_at(&mut self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        read_fully(self.file(name)?, offset, buffer)
    }
}

impl Disk for Directory {
    fn files(&self) -> io::Result<Box<dyn Files>> {
        Ok(Box::new(Beside { handle: self.handle.try_clone()?, open: None }))
    }

    fn list(&mut self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.handle)? {
            let name = entry?;
            names.extend(name.file_name().to_str().map(str::to_owned));
        }
        names.sort_unstable();
        Ok(names)
    }

    fn mark(&mut self, name: &str) -> io::Result<Mark> {
        Ok(mark_of(&self.other(name)?.metadata()?))
    }

    fn modified(&mut self, name: &str) -> io::Result<u64> {
        Ok(nanoseconds(self.other(name)?.metadata()?.modified()))
    }

    fn own_mark(&mut self) -> io::Result<Mark> {
        Ok(mark_of(&self.handle.metadata()?))
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        self.close(name);
        let file = open_at(&self.handle, name, OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC)?;
        self.watched.lock().add(name, file.metadata()?.ino());
        Ok(())
    }

    fn append(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.appended(name)?.append(content)
    }

    fn write_at(&mut self, name: &str, offset: u64, content: &[u8]) -> io::Result<()> {
        self.other(name)?.write_all_at(content, offset)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        match &self.appended {
            Some(appended) if appended.name == name => appended.file.sync_data(),
            _ => self.other(name)?.sync_all(),
        }
    }

    fn cut(&mut self, name: &str, length: u64) -> io::Result<()> {
        let appended = self.appended(name)?;
        appended.file.set_len(length)?;
        (appended.end, appended.room) = (length, length);
        appended.file.sync_all()
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        // Both at once for the watching thread, which must not miss the old name in between.
        let inode = self.other(from)?.metadata()?.ino();
        self.close(from);
        self.close(to);
        rustix::fs::renameat(&self.handle, from, &self.handle, to)?;
        self.watched.lock().add(to, inode);
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.close(name);
        Ok(rustix::fs::unlinkat(&self.handle, name, AtFlags::empty())?)
    }

    fn sync_names(&mut self) -> io::Result<()> {
        self.handle.sync_all()
    }

    fn space(&mut self) -> io::Result<Option<Space>> {
        let found = rustix::fs::fstatvfs(&self.handle)?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        // Some of the free blocks are reserved for the superuser.
        Ok(Some(Space { whole: bytes(found.f_blocks), free: bytes(found.f_bavail) }))
    }

    fn path_of(&self, name: &str) -> String {
        if name.is_empty() {
            return self.path.display().to_string();
        }
        self.path.join(name).display().to_string()
    }
}

/// Fills `buffer` from `offset`, as far as the file goes; returns how many bytes that is.
pub(super) fn read_fully(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match file.read_at(&mut buffer[read..], offset + read as u64) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}
