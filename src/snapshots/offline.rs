//! `paxos snapshot`: snapshots as files, for operators. Which are there, are they intact, and how
//! does one get from one learner to another?
//!
//! Listing and verifying take no lock, so they work while a learner runs: a snapshot never changes
//! under its name.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::file::Reader;
use super::shelf::{Found, Shelf, name_of, of_name};
use crate::storage::archive::Archive;
use crate::storage::directory::Directory;
use crate::storage::disk::{Disk, Files};
use crate::storage::offline::OfflineError;

/// How much is copied at once.
const COPIED_BYTES: usize = 1 << 18;

/// What to do with snapshots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotCommand {
    /// List a learner's snapshots.
    List {
        /// The learner's directory.
        path: PathBuf,
    },
    /// Verify all of a learner's snapshots, or one file.
    Verify {
        /// The learner's directory, or a file.
        path: PathBuf,
    },
    /// Copy the newest intact one to a file.
    Export {
        /// The learner's directory.
        path: PathBuf,
        /// The file, which must not exist.
        file: PathBuf,
    },
    /// Add a file to a learner's snapshots.
    Import {
        /// The file.
        file: PathBuf,
        /// The learner's directory.
        path: PathBuf,
    },
}

/// Runs the command. Its output goes to `out`, a line for each snapshot.
///
/// # Errors
///
/// [`OfflineError::Broken`] when a snapshot is damaged, [`OfflineError::Unusable`] when there is
/// none, or when something is in the way.
pub fn run(command: &SnapshotCommand, out: &mut impl Write) -> Result<(), OfflineError> {
    match command {
        SnapshotCommand::List { path } => list(path, out),
        SnapshotCommand::Verify { path } if path.is_file() => verify_file(path, out),
        SnapshotCommand::Verify { path } => verify(path, out),
        SnapshotCommand::Export { path, file } => export(path, file, out),
        SnapshotCommand::Import { file, path } => import(file, path, out),
    }
}

fn list(path: &Path, out: &mut impl Write) -> Result<(), OfflineError> {
    let mut archive = Archive::new(path);
    for name in names(path)? {
        let line = match Reader::begin(&mut archive, &name) {
            Ok(reader) => {
                let label = reader.label();
                let position = label.of().0.saturating_sub(1);
                format!("{position}\t{}\t{}", label.kind, label.cluster)
            }
            Err(error) => format!("-\t-\t{error}"),
        };
        let bytes = archive.length(&name).unwrap_or(0);
        writeln!(out, "{name}\t{bytes}\t{line}").map_err(OfflineError::Output)?;
    }
    Ok(())
}

/// The snapshots of a learner's directory, the newest first; at least one.
fn names(path: &Path) -> Result<Vec<String>, OfflineError> {
    let shown = path.display();
    let unreadable = |error| OfflineError::Unusable(format!("{shown}: cannot read it: {error}"));
    let all = Archive::new(path).list().map_err(unreadable)?;
    let mut learners = all.iter().filter(|name| name.starts_with("learner-"));
    if let Some(first) = learners.next() {
        return Err(OfflineError::Unusable(format!(
            "{shown} holds the directories of learners; name one of them, as {}",
            path.join(first).display()
        )));
    }
    let mut names: Vec<String> = all.into_iter().filter(|name| of_name(name).is_some()).collect();
    names.reverse();
    if names.is_empty() {
        return Err(OfflineError::Unusable(format!("{shown}: there are no snapshots")));
    }
    Ok(names)
}

fn verify(path: &Path, out: &mut impl Write) -> Result<(), OfflineError> {
    let mut shelf = Shelf::new(Archive::new(path));
    let mut broken = None;
    for name in names(path)? {
        match shelf.verify(&name) {
            Ok(found) => say_whole(&shelf.path_of(&name), &found, out)?,
            Err(error) => {
                let what = format!("{}: {error}", shelf.path_of(&name));
                writeln!(out, "{what}").map_err(OfflineError::Output)?;
                broken = broken.or(Some(what));
            }
        }
    }
    broken.map_or(Ok(()), |what| Err(OfflineError::Broken(what)))
}

fn verify_file(file: &Path, out: &mut impl Write) -> Result<(), OfflineError> {
    let found = look(file)?;
    say_whole(&file.display().to_string(), &found, out)
}

fn say_whole(path: &str, found: &Found, out: &mut impl Write) -> Result<(), OfflineError> {
    let Found { label, bytes, hash, .. } = found;
    let position = label.of().0.saturating_sub(1);
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    writeln!(
        out,
        "{path}: whole, of a {} of cluster {}, up to position {position}: {bytes} bytes, SHA-256 \
         {hash}",
        label.kind, label.cluster
    )
    .map_err(OfflineError::Output)
}

/// Verifies a file that stands alone, under any name.
fn look(file: &Path) -> Result<Found, OfflineError> {
    let (folder, name) = split(file)?;
    Shelf::new(Archive::new(&folder)).verify(&name).map_err(|error| {
        let what = format!("{}: {error}", file.display());
        if error.kind() == io::ErrorKind::InvalidData {
            OfflineError::Broken(what)
        } else {
            OfflineError::Unusable(what)
        }
    })
}

/// The directory in which a file stands, and its name there.
fn split(file: &Path) -> Result<(PathBuf, String), OfflineError> {
    let name = file.file_name().and_then(|name| name.to_str());
    let Some(name) = name else {
        return Err(OfflineError::Unusable(format!("{}: it is no file's name", file.display())));
    };
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    Ok((folder.unwrap_or(Path::new(".")).to_owned(), name.to_owned()))
}

fn export(path: &Path, file: &Path, out: &mut impl Write) -> Result<(), OfflineError> {
    let shown = file.display();
    let in_the_way = |error| OfflineError::Unusable(format!("{shown}: cannot write it: {error}"));
    if fs::symlink_metadata(file).is_ok() {
        let what = format!("{shown} is there already; name another file");
        return Err(OfflineError::Unusable(what));
    }
    let mut shelf = Shelf::new(Archive::new(path));
    let mut damage = None;
    for name in names(path)? {
        match shelf.verify(&name) {
            Ok(found) => {
                let part = PathBuf::from(format!("{shown}.part"));
                let (folder, _) = split(file)?;
                // As private as the snapshot, and never through another user's link.
                let mut options = fs::OpenOptions::new();
                options.write(true).create_new(true).mode(0o600);
                let mut aside = options.open(&part).map_err(in_the_way)?;
                let mut archive = Archive::new(path);
                let copied = copy(&mut archive, &name, &mut |bytes| aside.write_all(bytes));
                let copied = copied.and_then(|()| aside.sync_all());
                if copied.is_err() {
                    // The first error is the one that matters.
                    let _ = fs::remove_file(&part);
                }
                copied
                    .and_then(|()| fs::rename(&part, file))
                    .and_then(|()| fs::File::open(&folder)?.sync_all())
                    .map_err(in_the_way)?;
                look(file)?;
                return say_whole(&shown.to_string(), &found, out);
            }
            Err(error) => {
                damage = damage.or(Some(format!("{}: {error}", shelf.path_of(&name))));
            }
        }
    }
    Err(OfflineError::Broken(damage.unwrap_or_default()))
}

fn import(file: &Path, path: &Path, out: &mut impl Write) -> Result<(), OfflineError> {
    let found = look(file)?;
    let shown = path.display();
    let refuse = |what: String| Err(OfflineError::Unusable(what));
    let is_learners = path
        .file_name()
        .is_some_and(|name| name.to_str().is_some_and(|name| name.starts_with("learner-")));
    if !is_learners {
        let one = path.join("learner-1");
        return refuse(format!(
            "{shown} is no directory of a learner; name it as learners do, as {}",
            one.display()
        ));
    }
    let mut shelf = match Directory::open(path) {
        Ok(directory) => Shelf::new(directory),
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
            return refuse(format!("{shown} is in use by a learner; end it first"));
        }
        Err(error) => return refuse(format!("{shown}: cannot write there: {error}")),
    };
    if let Err(what) = expect_older(path, &found) {
        return refuse(what);
    }
    let (folder, source) = split(file)?;
    let of = found.label.of();
    let put = shelf.put_copy(of, |take| copy(&mut Archive::new(&folder), &source, take));
    if let Err(error) = put {
        return refuse(format!("{shown}: cannot write there: {error}"));
    }
    say_whole(&shelf.path_of(&name_of(of)), &found, out)
}

/// Refuses a snapshot that would set the learner of this directory back, or is of another cluster
/// or application.
fn expect_older(path: &Path, found: &Found) -> Result<(), String> {
    let shown = path.display();
    let mut shelf = Shelf::new(Archive::new(path));
    for name in shelf.names().unwrap_or_default() {
        // A damaged one is no obstacle.
        let Ok(there) = shelf.verify(&name) else { continue };
        let (one, other) = (&there.label, &found.label);
        if (&one.cluster, one.kind) != (&other.cluster, other.kind) {
            return Err(format!(
                "{shown} has snapshots of a {} of cluster {}, and this is of a {} of cluster {}; \
                 name the directory of such a learner",
                one.kind, one.cluster, other.kind, other.cluster
            ));
        }
        if one.of() >= other.of() {
            return Err(format!(
                "{shown} has {name}, which is as new and whole; an older one would put the learner \
                 back: move the directory away if that is wanted"
            ));
        }
    }
    Ok(())
}

/// Calls `take` with all bytes of a file, in pieces.
fn copy(
    from: &mut impl Disk,
    name: &str,
    take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = vec![0; COPIED_BYTES];
    let mut offset = 0;
    loop {
        let count = from.read_at(name, offset, &mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        take(&buffer[..count])?;
        offset += count as u64;
    }
}
