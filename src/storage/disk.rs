//! What a log needs of a folder, so that a simulated disk can stand in for a real one.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;

/// A folder of files that only grow, until they are cut.
///
/// What is appended to may have room behind its end, which reads as zeros after a crash: a sync
/// is cheaper where a file need not grow for it.
pub trait Disk: Send {
    /// The names of the files, sorted.
    fn list(&self) -> io::Result<Vec<String>>;

    /// The whole content of a file, and the room behind it.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;

    /// Creates a file with this content, at once and for good: after a crash it is there whole or
    /// not at all.
    fn create(&mut self, name: &str, content: &[u8]) -> io::Result<()>;

    /// Adds to the end of a file. Nothing is promised before [`Disk::sync`].
    fn append(&mut self, name: &str, content: &[u8]) -> io::Result<()>;

    /// Puts everything that was appended to a file on stable storage.
    fn sync(&mut self, name: &str) -> io::Result<()>;

    /// Cuts a file to `length` bytes, for good. There is no room behind it any more.
    fn cut(&mut self, name: &str, length: u64) -> io::Result<()>;

    /// How messages call a file of the folder.
    fn path_of(&self, name: &str) -> String;
}

/// The folder is in use by another process.
pub const LOCK: &str = "lock";

/// A real folder, locked for this process as long as the value lives.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// The file that is appended to.
    open: Option<Appended>,
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

/// How many zeros are written at once, in bytes.
const ROOM_BYTES: usize = 1 << 18;

impl Appended {
    /// Writes zeros ahead, so that later syncs need not make the file grow. A full disk has no room
    /// for that, and perhaps for what is to be written.
    fn make_room(&mut self) -> io::Result<()> {
        match self.file.write_all_at(&[0; ROOM_BYTES], self.end) {
            Ok(()) => self.room = self.end + ROOM_BYTES as u64,
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                self.file.set_len(self.end)?;
                self.room = self.end;
            }
            Err(error) => return Err(error),
        }
        self.file.sync_all()
    }

    fn append(&mut self, content: &[u8]) -> io::Result<()> {
        let end = self.end + content.len() as u64;
        // What is longer than the room brings its own.
        if end > self.room && content.len() < ROOM_BYTES {
            self.make_room()?;
        }
        self.file.write_all_at(content, self.end)?;
        self.end = end;
        self.room = self.room.max(end);
        Ok(())
    }
}

impl Folder {
    /// Opens a folder, which is made when it is missing, and locks it. Only its owner may read it.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::ResourceBusy`] when another process holds it.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&path)?;
        let lock = private().create(true).truncate(false).open(path.join(LOCK))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::from(io::ErrorKind::ResourceBusy),
            TryLockError::Error(error) => error,
        })?;
        Ok(Folder { path, open: None, _lock: lock })
    }

    /// The file `name`, opened to be appended to at its end.
    fn file(&mut self, name: &str) -> io::Result<&mut Appended> {
        let open = match self.open.take() {
            Some(open) if open.name == name => open,
            _ => {
                let file = private().open(self.path.join(name))?;
                let end = file.metadata()?.len();
                Appended { name: name.to_owned(), file, end, room: end }
            }
        };
        Ok(self.open.insert(open))
    }

    /// Makes the folder's own entries stable.
    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

/// Files that only their owner may read and write.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

impl Disk for Folder {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            names.extend(entry?.file_name().into_string());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.path.join(name))
    }

    fn create(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        let unnamed = self.path.join(format!("{name}.new"));
        let mut file = private().create(true).truncate(true).open(&unnamed)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&unnamed, self.path.join(name))?;
        self.sync_folder()
    }

    fn append(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.file(name)?.append(content)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.file(name)?.file.sync_data()
    }

    fn cut(&mut self, name: &str, length: u64) -> io::Result<()> {
        let open = self.file(name)?;
        open.file.set_len(length)?;
        (open.end, open.room) = (length, length);
        open.file.sync_all()
    }

    fn path_of(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }
}
