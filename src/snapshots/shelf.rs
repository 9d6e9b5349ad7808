//! The directory of one learner's snapshots.
//!
//! A snapshot is written as `NAME.part`, synced, read back and checked, and then renamed; so a name
//! without `.part` is that of a snapshot that was whole once. The two newest are kept.

use std::fmt;
use std::io::{self, Read, Write};

use log::warn;

use super::file::{Kind, Label, Reader, Writer};
use crate::bugs::{self, Bug};
use crate::protocol::types::Instance;
use crate::storage::disk::Disk;

/// How many snapshots are kept.
const KEPT: usize = 2;

const PREFIX: &str = "snapshot-";
const PART: &str = ".part";

/// Snapshots in a directory.
#[derive(Debug)]
pub struct Shelf<D> {
    disk: D,
}

/// Why there is no snapshot to go on from although there are files.
#[derive(Debug)]
#[non_exhaustive]
pub enum ShelfError {
    /// The directory cannot be used.
    Disk(String, io::Error),
    /// No snapshot is whole.
    Damaged(String),
    /// They are of something else.
    Foreign(String),
}

impl fmt::Display for ShelfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ShelfError::Disk(path, error) => {
                write!(f, "{path}: snapshots cannot be kept there: {error}")
            }
            ShelfError::Damaged(what) | ShelfError::Foreign(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for ShelfError {}

/// What is known of a snapshot that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The name of its file.
    pub name: String,
    /// What it says of itself.
    pub label: Label,
    /// How many bytes the application's part has.
    pub bytes: u64,
    /// Their SHA-256.
    pub hash: [u8; 32],
}

/// The name of the snapshot of `of`.
pub fn name_of(of: Instance) -> String {
    format!("{PREFIX}{:020}", of.0)
}

/// Of what the file `name` is the snapshot, if it looks like one.
pub fn of_name(name: &str) -> Option<Instance> {
    let digits = name.strip_prefix(PREFIX)?;
    let is_plain = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_plain).map(Instance)
}

impl<D: Disk> Shelf<D> {
    /// The snapshots in this directory.
    pub fn new(disk: D) -> Self {
        Shelf { disk }
    }

    /// How messages call a file of it; the directory itself for no name.
    pub fn path_of(&self, name: &str) -> String {
        self.disk.path_of(name)
    }

    /// The names of the snapshots, the newest first.
    ///
    /// # Errors
    ///
    /// As the disk has them.
    pub fn names(&mut self) -> io::Result<Vec<String>> {
        let mut names = self.disk.list()?;
        names.retain(|name| of_name(name).is_some());
        names.reverse();
        Ok(names)
    }

    /// Reads all of a snapshot, and says what it is.
    ///
    /// # Errors
    ///
    /// When it is not whole: what is wrong.
    pub fn verify(&mut self, name: &str) -> io::Result<Found> {
        let reader = Reader::begin(&mut self.disk, name)?;
        let label = reader.label().clone();
        let (bytes, hash) = reader.finish()?;
        if of_name(name).is_some_and(|of| of != label.of()) {
            let what = format!("it is the snapshot of another place: {}", name_of(label.of()));
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(Found { name: name.to_owned(), label, bytes, hash })
    }

    /// Its application's bytes, to be read.
    ///
    /// # Errors
    ///
    /// When its head is damaged.
    pub fn read(&mut self, name: &str) -> io::Result<impl Read + '_> {
        Reader::begin(&mut self.disk, name)
    }

    /// The newest snapshot that is whole, if there are any snapshots.
    ///
    /// # Errors
    ///
    /// When none is whole, and when it is of another cluster or another program: then nothing must
    /// begin as if there were none.
    pub fn newest(&mut self, cluster: &str, kind: Kind) -> Result<Option<Found>, ShelfError> {
        let names = self.names().map_err(|error| self.trouble(error))?;
        let mut damage = None;
        for name in names {
            match self.verify(&name) {
                Ok(found) => {
                    self.expect_own(&found, cluster, kind)?;
                    if let Some((path, error)) = damage {
                        warn!("{path}: {error}; an older snapshot is used");
                    }
                    return Ok(Some(found));
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    damage = damage.or(Some((self.path_of(&name), error)));
                }
                Err(error) => return Err(self.trouble(error)),
            }
        }
        match damage {
            None => Ok(None),
            Some((path, error)) => Err(ShelfError::Damaged(format!(
                "{path}: {error}, and no other snapshot there is whole; import one from another \
                 replica, or move the directory away to begin with what the log still has"
            ))),
        }
    }

    fn expect_own(&self, found: &Found, cluster: &str, kind: Kind) -> Result<(), ShelfError> {
        let path = self.path_of(&found.name);
        let label = &found.label;
        if label.cluster != cluster {
            return Err(ShelfError::Foreign(format!(
                "{path}: it is a snapshot of cluster {}, and this is {cluster}; give each cluster \
                 a directory of its own",
                label.cluster
            )));
        }
        if label.kind != kind {
            return Err(ShelfError::Foreign(format!(
                "{path}: it is the snapshot of a {}, and this is a {kind}; give each an id of its \
                 own",
                label.kind
            )));
        }
        Ok(())
    }

    fn trouble(&self, error: io::Error) -> ShelfError {
        ShelfError::Disk(self.path_of(""), error)
    }

    /// Puts a snapshot there, whose application's part `write` writes. It is stable, and was read
    /// back, when this returns.
    ///
    /// # Errors
    ///
    /// When it cannot be written, or what is read back is not what was written. What was there
    /// before is still there.
    pub fn put(
        &mut self,
        label: &Label,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let name = name_of(label.of());
        let part = format!("{name}{PART}");
        // What was left half way takes room that may be wanted.
        self.remove_parts()?;
        let written = self.write_aside(&part, label, write);
        if let Err(error) = written {
            // It takes room that may be wanted. The error is what matters.
            let _ = self.disk.remove(&part);
            return Err(error);
        }
        self.disk.rename(&part, &name)?;
        self.disk.sync_names()?;
        self.tidy(&name)
    }

    fn write_aside(
        &mut self,
        part: &str,
        label: &Label,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        self.disk.create(part)?;
        let mut writer = Writer::begin(&mut self.disk, part, label)?;
        write(&mut writer)?;
        let length = writer.end()?;
        if !bugs::has(Bug::RenamesBeforeSync) {
            self.disk.cut(part, length)?;
            self.disk.sync(part)?;
        }
        Reader::begin(&mut self.disk, part)?.finish().map(drop)
    }

    /// Removes what is older than the snapshots that are kept.
    fn tidy(&mut self, newest: &str) -> io::Result<()> {
        let names = self.names()?;
        let above = names.iter().take_while(|name| name.as_str() != newest).count();
        for name in &names[(above + KEPT).min(names.len())..] {
            self.disk.remove(name)?;
        }
        Ok(())
    }

    fn remove_parts(&mut self) -> io::Result<()> {
        for name in self.disk.list()? {
            if name.strip_suffix(PART).and_then(of_name).is_some() {
                self.disk.remove(&name)?;
            }
        }
        Ok(())
    }
}
