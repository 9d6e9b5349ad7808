//! An acceptor's directory, read only: a [`Disk`] that reads what is there, and writes nothing.
//!
//! Writes are forgotten, except for the names: a created file reads as an empty one. So `recovery`
//! does everything it does at a start, and not a byte of the directory changes.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::directory::{mark_of, nanoseconds, read_fully};
use super::disk::{Disk, Files, Mark};

/// A directory that is only read.
#[derive(Debug)]
pub struct Archive {
    path: PathBuf,
    /// The file that was read last.
    open: Option<(String, File)>,
    /// Files that were created here alone.
    made: BTreeSet<String>,
}

impl Archive {
    /// An archive over this directory.
    pub fn new(path: &Path) -> Self {
        Archive { path: path.to_owned(), open: None, made: BTreeSet::new() }
    }

    fn file(&mut self, name: &str) -> io::Result<&File> {
        let open = match self.open.take() {
            Some(open) if open.0 == name => open,
            _ => (name.to_owned(), open_regular(&self.path.join(name))?),
        };
        Ok(&self.open.insert(open).1)
    }
}

/// Opens a file to read it. An acceptor follows no link, and opening a pipe could wait for ever.
fn open_regular(path: &Path) -> io::Result<File> {
    if fs::symlink_metadata(path)?.is_file() {
        return File::open(path);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"))
}

impl Files for Archive {
    fn length(&mut self, name: &str) -> io::Result<u64> {
        if self.made.contains(name) {
            return Ok(0);
        }
        Ok(self.file(name)?.metadata()?.len())
    }

    fn read_at(&mut self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if self.made.contains(name) {
            return Ok(0);
        }
        read_fully(self.file(name)?, offset, buffer)
    }
}

impl Disk for Archive {
    fn files(&self) -> io::Result<Box<dyn Files>> {
        Ok(Box::new(Archive::new(&self.path)))
    }

    fn list(&mut self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            names.extend(entry?.file_name().to_str().map(str::to_owned));
        }
        names.sort_unstable();
        Ok(names)
    }

    fn mark(&mut self, name: &str) -> io::Result<Mark> {
        if self.made.contains(name) {
            return Ok(Mark { inode: 0, birth: 0 });
        }
        Ok(mark_of(&self.file(name)?.metadata()?))
    }

    fn modified(&mut self, name: &str) -> io::Result<u64> {
        if self.made.contains(name) {
            return Ok(0);
        }
        Ok(nanoseconds(self.file(name)?.metadata()?.modified()))
    }

    fn own_mark(&mut self) -> io::Result<Mark> {
        Ok(mark_of(&fs::metadata(&self.path)?))
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        self.made.insert(name.to_owned());
        Ok(())
    }

    fn append(&mut self, _name: &str, _content: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn write_at(&mut self, _name: &str, _offset: u64, _content: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn sync(&mut self, _name: &str) -> io::Result<()> {
        Ok(())
    }

    fn cut(&mut self, _name: &str, _length: u64) -> io::Result<()> {
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        if self.made.remove(from) {
            self.made.insert(to.to_owned());
        }
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.made.remove(name);
        Ok(())
    }

    fn sync_names(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn path_of(&self, name: &str) -> String {
        if name.is_empty() {
            return self.path.display().to_string();
        }
        self.path.join(name).display().to_string()
    }
}
