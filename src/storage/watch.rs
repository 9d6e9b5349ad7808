//! Are the files of a directory in use still there?
//!
//! An acceptor whose data was removed goes on working, because its open files still exist, but has
//! lost everything the moment it ends. Nobody would know before the next start.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

/// The files that must be there, and their inodes.
#[derive(Debug)]
pub struct Watched {
    path: PathBuf,
    directory: u64,
    files: BTreeMap<String, u64>,
}

impl Watched {
    /// A directory and its lock, with their inodes.
    pub fn new(path: &Path, directory: u64, lock: (&str, u64)) -> Self {
        let files = BTreeMap::from([(lock.0.to_owned(), lock.1)]);
        Watched { path: path.to_owned(), directory, files }
    }

    /// From now on this file must be there.
    pub fn add(&mut self, name: &str, inode: u64) {
        match self.files.get_mut(name) {
            Some(known) => *known = inode,
            None => drop(self.files.insert(name.to_owned(), inode)),
        }
    }

    /// This file may be missing or replaced from now on.
    pub fn remove(&mut self, name: &str) {
        self.files.remove(name);
    }

    /// A file that is missing, or was replaced.
    fn missed(&self) -> Option<PathBuf> {
        // The directory may be reached by a link, but nothing in it is one.
        if !fs::metadata(&self.path).is_ok_and(|found| found.ino() == self.directory) {
            return Some(self.path.clone());
        }
        let is_there = |path: &Path, inode: u64| {
            fs::symlink_metadata(path).is_ok_and(|found| found.ino() == inode)
        };
        let files = self.files.iter().map(|(name, inode)| (self.path.join(name), *inode));
        files.into_iter().find(|(path, inode)| !is_there(path, *inode)).map(|(path, _)| path)
    }
}

/// Checks the directory on request.
#[derive(Debug)]
pub struct Watch {
    watched: Arc<Mutex<Watched>>,
}

impl Watch {
    /// Checks the files of `watched`.
    pub fn new(watched: Arc<Mutex<Watched>>) -> Self {
        Watch { watched }
    }

    /// Whether everything is still there.
    ///
    /// # Errors
    ///
    /// The first file that is missing. A file that is just being renamed is looked for twice.
    pub fn look(&self) -> Result<(), Vanished> {
        let missed = || self.watched.lock().missed();
        match missed().and_then(|_| missed()) {
            Some(path) => Err(Vanished { path }),
            None => Ok(()),
        }
    }
}

/// A file of a running acceptor was removed or replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vanished {
    /// The file, or the directory.
    pub path: PathBuf,
}

impl fmt::Display for Vanished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} was removed or replaced while this acceptor ran, so it could not be started again: \
             it ends; if the very same files are still there under another name, move them back, \
             otherwise leave this acceptor down",
            self.path.display()
        )
    }
}

impl std::error::Error for Vanished {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::actor::Record;
    use crate::protocol::types::Instance;
    use crate::storage::AcceptorStore;
    use crate::storage::directory::{Directory, LOCK};
    use crate::storage::log::LogOptions;
    use crate::storage::log::tests::{identity, open, open_with, store};

    #[test]
    fn files_that_vanish_are_noticed() {
        type Vanish = fn(&Path);
        let removed: [(&str, Vanish); 8] = [
            ("data/acceptor-2", |path| fs::remove_dir_all(path).unwrap()),
            ("data/acceptor-2", |path| fs::remove_dir_all(path.parent().unwrap()).unwrap()),
            ("data/acceptor-2", |path| fs::rename(path, path.with_extension("away")).unwrap()),
            ("data/acceptor-2", |path| {
                fs::rename(path, path.with_extension("away")).unwrap();
                fs::create_dir(path).unwrap();
                fs::hard_link(path.with_extension("away").join(LOCK), path.join(LOCK)).unwrap();
            }),
            ("log-00000001", |path| fs::remove_file(path.join("log-00000001")).unwrap()),
            ("manifest", |path| fs::remove_file(path.join("manifest")).unwrap()),
            ("lock", |path| fs::remove_file(path.join(LOCK)).unwrap()),
            ("log-00000001", |path| {
                // Another file in its place, with the same content.
                let log = path.join("log-00000001");
                fs::copy(&log, path.join("other")).unwrap();
                fs::rename(path.join("other"), log).unwrap();
            }),
        ];
        for (name, vanish) in removed {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("data/acceptor-2");
            let directory = Directory::open(&path).unwrap();
            let watch = directory.watch();
            let (mut log, ..) = open(directory).unwrap();
            store(&mut log, 1).unwrap();
            assert_eq!(watch.look(), Ok(()));
            vanish(&path);
            let vanished = watch.look().unwrap_err();
            assert!(vanished.path.ends_with(name), "{name}: {vanished}");
            assert!(vanished.to_string().contains("leave this acceptor down"), "{vanished}");
        }
    }

    #[test]
    fn a_directory_behind_a_link_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("elsewhere")).unwrap();
        std::os::unix::fs::symlink(path("elsewhere"), path("acceptor-2")).unwrap();
        let directory = Directory::open(&path("acceptor-2")).unwrap();
        let watch = directory.watch();
        let (mut log, ..) = open(directory).unwrap();
        store(&mut log, 1).unwrap();
        assert_eq!(watch.look(), Ok(()));
        fs::rename(path("elsewhere"), path("away")).unwrap();
        assert_eq!(watch.look().unwrap_err().path, path("acceptor-2"));
    }

    /// Not even while the manifest is replaced, and segments begin and are removed.
    #[test]
    fn what_the_log_does_itself_is_no_loss() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("acceptor-2");
        for life in 0..4 {
            let directory = Directory::open(&path).unwrap();
            let watch = directory.watch();
            let looking = std::thread::spawn(move || {
                (0..).find_map(|look| {
                    watch.look().err().or_else(|| {
                        (Arc::strong_count(&watch.watched) == 1).then(|| {
                            let path = PathBuf::from(format!("{look}"));
                            Vanished { path }
                        })
                    })
                })
            });
            let options = LogOptions { segment_bytes: 1, ..LogOptions::default() };
            let (mut log, found, _) = open_with(directory, &identity(), options).unwrap();
            // The promise and the trim point.
            assert_eq!(found.len() as u64, 2 * life.min(1));
            for flush in 1..=4 {
                store(&mut log, flush).unwrap();
                log.append(&Record::Trimmed(Instance(flush * 10 + 5))).unwrap();
                log.flush().unwrap();
                log.reclaim().unwrap();
            }
            let first = path.join("log-00000001");
            assert!(!first.exists(), "nothing was removed");
            for _ in 0..20 {
                log.close().unwrap();
            }
            drop(log);
            // It looked until the log was closed, and missed nothing but that.
            let looks = looking.join().unwrap().unwrap().path;
            assert!(looks.display().to_string().parse::<u64>().is_ok(), "{looks:?}");
        }
    }
}
