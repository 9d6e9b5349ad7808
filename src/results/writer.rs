//! A learner's results file: `<instance><TAB><value>` a line.
//!
//! It is created anew when the learner starts, and written in whole lines only: after a kill at
//! any moment at most the last line is torn, and lacks its newline.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::output::Output;
use crate::protocol::actor::Delivery;
use crate::protocol::types::{Counted, Instance};

/// Lines that gather beyond this many bytes are written at once.
const BATCH_BYTES: usize = 1 << 16;

/// The file of one learner.
#[derive(Debug)]
pub struct ResultsWriter {
    file: File,
    /// Whole lines that are not written yet.
    lines: Vec<u8>,
    /// An error met between two flushes.
    failed: Option<io::Error>,
}

impl ResultsWriter {
    /// Creates the file of learner `id` in `folder`, which is made when it is missing.
    pub fn create(folder: &Path, id: u32) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let file = File::create(folder.join(super::files::learner_file(id)))?;
        Ok(ResultsWriter { file, lines: Vec::with_capacity(BATCH_BYTES * 2), failed: None })
    }

    fn append(&mut self, instance: Instance, value: &[u8]) {
        // Formatting into memory does not fail.
        let _ = write!(self.lines, "{instance}\t");
        self.lines.extend_from_slice(value);
        self.lines.push(b'\n');
        if self.lines.len() >= BATCH_BYTES {
            self.failed = self.write().err().or(self.failed.take());
        }
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
            Delivery::Delivered(_) => {}
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
    use crate::protocol::types::{AssignedBy, Number, Origin, Session};

    #[test]
    fn lines_are_written_whole_and_bytes_exactly() {
        let folder = tempfile::tempdir().unwrap();
        let results = folder.path().join("not/there/yet");
        let mut writer = ResultsWriter::create(&results, 3).unwrap();
        for (instance, value) in [(2, &b"b\r"[..]), (1, b""), (9, b"\0\xff\t")] {
            let session = Session { client: 1, boot: 1 };
            let assigned_by = AssignedBy::Client;
            let origin = Origin { session, number: Number(instance), assigned_by };
            let entries = Entries::numbered(origin, [value]);
            let page = Page { from: Instance(instance), entries };
            writer.deliver(&Delivery::Delivered(page.clone()));
            writer.deliver(&Delivery::Decided(page));
        }
        let path = results.join("learner3_decided_value");
        assert_eq!(fs::read(&path).unwrap(), b"");
        writer.flush().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"2\tb\r\n1\t\n9\t\0\xff\t\n");
        // A new life starts a new file.
        ResultsWriter::create(&results, 3).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"");
    }
}
