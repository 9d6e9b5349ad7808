//! A learner's results file: `<instance><TAB><value>` a line.
//!
//! It is created anew when the learner starts, and written in whole lines only: after a kill at
//! any moment at most the last line is torn, and lacks its newline.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::files::{Presence, learner_file, must_be_regular};
use super::output::{Output, write_line};
use crate::protocol::actor::Delivery;
use crate::protocol::assembly::Assembled;
use crate::protocol::types::{Counted, Instance};

/// Lines that gather beyond this many bytes are written at once.
const BATCH_BYTES: usize = 1 << 16;

/// The file of one learner.
#[derive(Debug)]
pub struct ResultsWriter {
    /// Locked: two processes that write one file would overwrite each other's lines.
    file: File,
    path: PathBuf,
    /// Whole lines that are not written yet.
    lines: Vec<u8>,
    /// An error met between two flushes.
    failed: Option<io::Error>,
}

impl ResultsWriter {
    /// Creates the file of learner `id` in `folder`, which is made when it is missing.
    ///
    /// # Errors
    ///
    /// When it cannot be written, or another process writes it: a sentence.
    pub fn create(folder: &Path, id: u32) -> Result<Self, String> {
        let path = folder.join(learner_file(id));
        let failed =
            |error: io::Error| format!("{}: cannot write results: {error}", path.display());
        fs::create_dir_all(folder).map_err(failed)?;
        must_be_regular(&path)?;
        // It is emptied only once it is known to be nobody else's.
        let mut options = File::options();
        let file = options.write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                return Err(format!(
                    "{}: another process writes it as learner {id}; give this learner an id of its \
                     own, or start it in another directory",
                    path.display()
                ));
            }
            // Not every file system has locks.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        file.set_len(0).map_err(failed)?;
        let lines = Vec::with_capacity(BATCH_BYTES * 2);
        Ok(ResultsWriter { file, path, lines, failed: None })
    }

    /// Tells whether the file is still there; none where the system gives no second handle.
    pub fn presence(&self) -> Option<Presence> {
        Some(Presence::new(self.file.try_clone().ok()?, self.path.clone()))
    }

    /// The directory of the file.
    pub fn folder(&self) -> &Path {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        folder.unwrap_or(Path::new("."))
    }

    fn append(&mut self, instance: Instance, value: &[u8]) {
        // Formatting into memory does not fail.
        let _ = write!(self.lines, "{instance}\t");
        self.lines.extend_from_slice(value);
        self.lines.push(b'\n');
        if self.lines.len() >= BATCH_BYTES {
            self.failed = self.failed.take().or(self.write().err());
        }
    }

    /// A long value goes from where it arrived to the file, without a copy in between.
    fn append_long(&mut self, value: &Assembled) {
        let _ = write!(self.lines, "{}\t", value.instance);
        let written = self.write().and_then(|()| write_line(&mut self.file, value));
        self.failed = self.failed.take().or(written.err());
    }

    fn write(&mut self) -> io::Result<()> {
        let written = self.file.write_all(&self.lines);
        self.lines.clear();
        written
    }
}

impl Output for ResultsWriter {
    fn deliver(&mut self, delivery: &Delivery) {
        match delivery {
            Delivery::Decided(page) => {
                let values = page.from.numbering(page.entries.values());
                values.for_each(|(instance, value)| self.append(instance, value));
            }
            Delivery::Delivered(..)
            | Delivery::Passed(_)
            | Delivery::Begins(_)
            | Delivery::Checkpoint(_)
            | Delivery::Readable(_)
            | Delivery::Unreadable(_)
            | Delivery::Restored(_) => {}
            Delivery::Assembled(value) => self.append_long(value),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.failed.take() {
            Some(error) => Err(error),
            None if self.lines.is_empty() => Ok(()),
            None => self.write(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::entries::Entries;
    use crate::protocol::segments::Page;
    use crate::protocol::types::{AssignedBy, LogTime, Number, Origin, Session};

    #[test]
    fn lines_are_written_whole_and_bytes_exactly() {
        let folder = tempfile::tempdir().unwrap();
        let results = folder.path().join("not/there/yet");
        let mut writer = ResultsWriter::create(&results, 3).unwrap();
        for (instance, value) in [(2, &b"b\r"[..]), (1, b""), (9, b"\0\xff\t")] {
            let session = Session { client: 1, boot: 1 };
            let assigned_by = AssignedBy::Client;
            let origin = Origin::new(session, Number(instance), assigned_by);
            let entries = Entries::numbered(origin, [value]);
            let page = Page { from: Instance(instance), entries };
            writer.deliver(&Delivery::Delivered(page.clone(), LogTime::NONE));
            writer.deliver(&Delivery::Decided(page));
        }
        let path = results.join("learner3_decided_value");
        assert_eq!(fs::read(&path).unwrap(), b"");
        writer.flush().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"2\tb\r\n1\t\n9\t\0\xff\t\n");
        // A restart begins a new file, and only once the old process has ended.
        let refused = ResultsWriter::create(&results, 3).unwrap_err();
        assert!(refused.contains("as learner 3; give this learner an id"), "{refused}");
        assert_ne!(fs::read(&path).unwrap(), b"");
        drop(writer);
        ResultsWriter::create(&results, 3).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"");
    }

    #[test]
    fn a_file_that_is_removed_or_replaced_is_missed() {
        let folder = tempfile::tempdir().unwrap();
        let presence = |results: &Path| {
            let writer = ResultsWriter::create(results, 1).unwrap();
            writer.presence().unwrap()
        };
        let results = folder.path().join("results");
        let removed = presence(&results);
        assert!(!removed.is_gone());
        fs::remove_dir_all(&results).unwrap();
        assert!(removed.is_gone());
        let replaced = presence(&results);
        assert!(removed.is_gone() && !replaced.is_gone());
        fs::rename(&results, folder.path().join("moved")).unwrap();
        assert!(replaced.is_gone());
    }

    #[test]
    fn what_is_no_regular_file_is_refused_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("learner1_decided_value")).unwrap();
        let refused = ResultsWriter::create(folder.path(), 1).unwrap_err();
        assert!(refused.contains("must be a regular file"), "{refused}");
    }
}
