//! Names and contents of the result files.

use std::fmt;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The file that learner `id` writes.
pub fn learner_file(id: u32) -> String {
    format!("learner{id}_decided_value")
}

/// The file that holds what client `id` was fed.
pub fn propose_file(id: u32) -> String {
    format!("propose{id}.txt")
}

/// A file that cannot be used, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable(pub String);

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A file's bytes, with its path for messages.
pub struct Content {
    /// The path.
    pub path: PathBuf,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Content {
    /// Reads `folder/name`.
    pub fn read(folder: &Path, name: &str) -> Result<Self, Unusable> {
        let path = folder.join(name);
        must_be_regular(&path).map_err(Unusable)?;
        match fs::read(&path) {
            Ok(bytes) => Ok(Content { path, bytes }),
            Err(error) => Err(Unusable(format!("{}: cannot read it: {error}", path.display()))),
        }
    }

    /// Its lines, where an unterminated last line counts.
    pub fn all_lines(&self) -> Vec<&[u8]> {
        let mut lines: Vec<&[u8]> = self.bytes.split(|byte| *byte == b'\n').collect();
        // What follows the last newline is a line only if there is something.
        if lines.last().is_some_and(|last| last.is_empty()) {
            lines.pop();
        }
        lines
    }

    /// The entries of a learner's file. An unterminated last line is torn, and ignored.
    pub fn entries<'a>(&'a self) -> Result<Vec<(u64, &'a [u8])>, Unusable> {
        let mut lines: Vec<&'a [u8]> = self.bytes.split(|byte| *byte == b'\n').collect();
        lines.pop();
        let parse = |(index, line): (usize, &&'a [u8])| {
            parse_entry(line).ok_or_else(|| {
                Unusable(format!(
                    "{}:{}: this is not an instance, a tab and a value: \"{}\"",
                    self.path.display(),
                    index + 1,
                    line[..line.len().min(40)].escape_ascii()
                ))
            })
        };
        lines.iter().enumerate().map(parse).collect()
    }
}

/// Refuses anything but a regular file: opening a pipe or a device could wait for ever. A missing
/// file is reported when it is opened.
pub fn must_be_regular(path: &Path) -> Result<(), String> {
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => {
            Err(format!("{}: it must be a regular file", path.display()))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// An open file, and where it should be.
#[derive(Debug)]
pub struct Presence {
    file: File,
    path: PathBuf,
}

impl Presence {
    /// `file`, which was opened at `path`.
    pub fn new(file: File, path: PathBuf) -> Self {
        Presence { file, path }
    }

    /// Whether the file is no longer found at the path: it was removed or replaced, or the
    /// directory was.
    pub fn is_gone(&self) -> bool {
        let Ok(own) = self.file.metadata() else { return false };
        fs::metadata(&self.path)
            .map_or(true, |there| (there.dev(), there.ino()) != (own.dev(), own.ino()))
    }
}

impl fmt::Display for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

/// `<instance><TAB><value>`.
pub fn parse_entry(line: &[u8]) -> Option<(u64, &[u8])> {
    let tab = line.iter().position(|byte| *byte == b'\t')?;
    let digits = &line[..tab];
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let instance = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (instance > 0).then_some((instance, &line[tab + 1..]))
}
