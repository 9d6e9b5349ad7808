//! What a log needs of a folder, so that a simulated disk can stand in for a real one.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// A folder of files that only grow, until they are cut.
pub trait Disk: Send {
    /// The names of the files, sorted.
    fn list(&self) -> io::Result<Vec<String>>;

    /// The whole content of a file.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;

    /// Creates a file with this content, at once and for good: after a crash it is there whole or
    /// not at all.
    fn create(&mut self, name: &str, content: &[u8]) -> io::Result<()>;

    /// Adds to the end of a file. Nothing is promised before [`Disk::sync`].
    fn append(&mut self, name: &str, content: &[u8]) -> io::Result<()>;

    /// Puts everything that was appended to a file on stable storage.
    fn sync(&mut self, name: &str) -> io::Result<()>;

    /// Cuts a file to `length` bytes, for good.
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
    /// The file that is appended to, kept open.
    open: Option<(String, File)>,
    _lock: File,
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

    /// The file `name`, opened to be appended to.
    fn file(&mut self, name: &str) -> io::Result<&mut File> {
        if self.open.as_ref().is_none_or(|(open, _)| open != name) {
            let file = private().append(true).open(self.path.join(name))?;
            self.open = Some((name.to_owned(), file));
        }
        match &mut self.open {
            Some((_, file)) => Ok(file),
            None => unreachable!("it was opened above"),
        }
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
        self.file(name)?.write_all(content)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.file(name)?.sync_data()
    }

    fn cut(&mut self, name: &str, length: u64) -> io::Result<()> {
        let file = self.file(name)?;
        file.set_len(length)?;
        file.sync_all()
    }

    fn path_of(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }
}
