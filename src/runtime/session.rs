//! How a restarted client resumes its session, from a file.
//!
//! A value is named by its session and a number, and the log delivers each number of a session
//! once. So if a client resumes its old session and requests the same values again, from number 1,
//! nothing is decided twice: the leader acknowledges what was delivered, proposes the rest, and
//! learners skip what a dead leader has left in the log a second time. That depends on four
//! conditions, which this file ensures:
//!
//! 1. The session is on stable storage, with the file's name, before anything is requested in it.
//!    Otherwise a killed process would come back with another session, and its values would be new
//!    ones. The same holds for where the log was when it was opened (`protocol::sessions`), which
//!    is known a little later.
//! 2. A number means the same value in each run. The input must be the same, which is up to the
//!    user; and a long value is cut into the same parts, though datagrams may carry more now.
//! 3. No two processes use it at a time: the file is locked.
//! 4. It belongs to this cluster and this client.
//!
//! The log says what is decided, not the file. The file's own record (how many lines are known to
//! be decided, and a digest of them) is written now and then, without a sync, and serves to detect
//! that the input has changed.

use std::collections::VecDeque;
use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use log::{error, info, warn};
use parking_lot::Mutex;

use super::start_error::{StartError, StartErrorKind};
use crate::protocol::types::{Instance, Number, Origin, Value};
use crate::results::digest::Digest;
use crate::results::files::{Presence, must_be_regular};
use crate::text::lines;

/// The first word of a session file, and of one of an earlier version, whose sessions do not say
/// where they were opened.
const MAGIC: &str = "paxos-session-2";
const MAGIC_UNSTAMPED: &str = "paxos-session-1";

/// No session file is longer.
const FILE_BYTES_MAX: u64 = 4096;

/// The suffix of a session file's name before it is finished.
const UNFINISHED: &str = ".new";

/// How often to try to open a file that others create or remove meanwhile.
const TRIES: u32 = 10;

/// The identity of a session, and how its values travel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The cluster's name.
    pub cluster: String,
    /// The client.
    pub client: u32,
    /// The boot number of the session's first run, which all its runs use.
    pub boot: u64,
    /// Longer values travel in parts of this many bytes.
    pub part_bytes: usize,
}

/// How far the input of a session is decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// How many lines.
    lines: u64,
    /// How many numbers of the session they take.
    numbers: u64,
    /// A digest of the lines.
    digest: Digest,
}

/// The file of the session that this process uses.
#[derive(Debug)]
pub struct SessionFile {
    /// Locked.
    file: File,
    path: PathBuf,
    head: Head,
    /// The length of the head in the file: the stamp comes next, if there is one.
    head_bytes: u64,
    /// The length of the stamp.
    stamp_bytes: u64,
    /// Where the session was opened, once it is.
    opened: Mutex<Option<Instance>>,
    /// What an earlier run knew to be decided.
    found: Reached,
    /// What is known now.
    shared: Arc<Shared>,
    noted: Mutex<Noted>,
}

#[derive(Debug, Default)]
struct Shared {
    reached: Mutex<Reached>,
    mismatch: OnceLock<Mismatch>,
}

/// What was written last, and which slot not to write next.
#[derive(Debug)]
struct Noted {
    reached: Reached,
    slot: u64,
    has_failed: bool,
}

/// How the input differs from what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// One of the lines up to this one is not what it was.
    Differs {
        /// The line, from 1.
        line: u64,
        /// How many are known to be decided.
        decided: u64,
    },
    /// It ends after this line.
    Ends {
        /// The line, from 1; 0 if there is none.
        line: u64,
        /// How many are known to be decided.
        decided: u64,
    },
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decided = match self {
            Mismatch::Differs { line, decided } => {
                write!(
                    f,
                    "standard input, line {line}: this line or one before it is not what it was"
                )?;
                decided
            }
            Mismatch::Ends { line, decided } => {
                write!(f, "standard input ends after line {line}")?;
                decided
            }
        };
        write!(
            f,
            "; the session has {decided} lines that are decided: give it the same input again, or \
             start new values with a new session file"
        )
    }
}

impl Head {
    fn text(&self, magic: &str) -> String {
        let Head { cluster, client, boot, part_bytes } = self;
        format!(
            "# The session of a client of paxos. Not to be copied or changed.\n{magic}\n\
             cluster {cluster}\nclient {client}\nsession {boot:016x}\npart_bytes {part_bytes}\n"
        )
    }

    /// Parses the beginning of a session file that begins with this word.
    fn parse(text: &str, magic: &str) -> Option<Head> {
        let mut words = lines(text).map(|(_, words)| words);
        if words.next()? != [magic] {
            return None;
        }
        let mut word = |key: &str| match words.next()?[..] {
            [given, word] if given == key => Some(word.to_owned()),
            _ => None,
        };
        let head = Head {
            cluster: word("cluster")?,
            client: word("client")?.parse().ok()?,
            boot: u64::from_str_radix(&word("session")?, 16).ok()?,
            part_bytes: word("part_bytes")?.parse().ok()?,
        };
        text.starts_with(&head.text(magic)).then_some(head)
    }
}

/// Where a session was opened, as a line of fixed length: instance 0 until it is.
fn stamp_text(opened: Instance) -> String {
    let what = format!("opened {:020}", opened.0);
    format!("{what} {:08x}\n", crc32fast::hash(what.as_bytes()))
}

/// Parses such a line; none if it is damaged.
fn parse_stamp(line: &str) -> Option<Instance> {
    let opened = Instance(line.split(' ').nth(1)?.parse().ok()?);
    (line == stamp_text(opened)).then_some(opened)
}

impl Reached {
    /// A line of fixed length.
    fn text(&self) -> String {
        let Reached { lines, numbers, digest } = self;
        let what = format!("decided {lines:020} {numbers:020} {digest}");
        format!("{what} {:08x}\n", crc32fast::hash(what.as_bytes()))
    }

    /// Parses such a line; none if it is torn.
    fn parse(line: &str) -> Option<Reached> {
        let (what, sum) = line.trim_end().rsplit_once(' ')?;
        let [word, lines, numbers, digest] = what.split(' ').collect::<Vec<_>>()[..] else {
            return None;
        };
        let is_whole = u32::from_str_radix(sum, 16).ok()? == crc32fast::hash(what.as_bytes());
        let digest = Digest::parse(digest)?;
        let reached =
            Reached { lines: lines.parse().ok()?, numbers: numbers.parse().ok()?, digest };
        (word == "decided" && is_whole).then_some(reached)
    }
}

impl SessionFile {
    /// Opens the session in the file at `path`, for the client that `mine` names. If there is no
    /// file, it is created with the session of `mine`, and is on stable storage when this returns.
    ///
    /// # Errors
    ///
    /// When the file is another client's, is in use, is no session, or cannot be written.
    pub fn open(path: &Path, mine: &Head) -> Result<Self, StartError> {
        let name = path.display();
        must_be_regular(path).map_err(unusable)?;
        let failed = |error: io::Error| unusable(format!("{name}: cannot keep a session: {error}"));
        for _ in 0..TRIES {
            match File::options().read(true).write(true).open(path) {
                Ok(file) => {
                    lock(&file, path)?;
                    // It may have been replaced before it was locked.
                    if !Presence::new(file.try_clone().map_err(failed)?, path.into()).is_gone() {
                        return Self::read(file, path, mine);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if let Some(file) = create(path, mine)? {
                        let stamp = Some(Origin::UNSTAMPED);
                        return Ok(Self::new(file, path, mine.clone(), stamp, Reached::default()));
                    }
                }
                Err(error) => return Err(failed(error)),
            }
        }
        Err(unusable(format!("{name}: it is made and removed again and again")))
    }

    /// `stamp` is where the session was opened, if the file says that.
    fn new(file: File, path: &Path, head: Head, stamp: Option<Instance>, found: Reached) -> Self {
        let shared = Arc::new(Shared::default());
        *shared.reached.lock() = found;
        let noted = Mutex::new(Noted { reached: found, slot: 0, has_failed: false });
        let (magic, stamp_bytes) = match stamp {
            Some(stamp) => (MAGIC, stamp_text(stamp).len() as u64),
            None => (MAGIC_UNSTAMPED, 0),
        };
        let head_bytes = head.text(magic).len() as u64;
        // A session of an earlier version has no stamp, as before.
        let opened = match stamp {
            Some(Origin::UNSTAMPED) => None,
            Some(stamp) => Some(stamp),
            None => Some(Origin::UNSTAMPED),
        };
        let (path, opened) = (path.into(), Mutex::new(opened));
        SessionFile { file, path, head, head_bytes, stamp_bytes, opened, found, shared, noted }
    }

    /// Reads what an earlier run has left in `file`.
    fn read(mut file: File, path: &Path, mine: &Head) -> Result<Self, StartError> {
        let name = path.display();
        let mut bytes = Vec::new();
        // The process that made it may have died before the name was stable.
        let read = (&mut file).take(FILE_BYTES_MAX).read_to_end(&mut bytes);
        read.and_then(|_| sync_name(path))
            .map_err(|error| unusable(format!("{name}: cannot read this session: {error}")))?;
        let text = String::from_utf8_lossy(&bytes);
        let of_version = |magic| Some((Head::parse(&text, magic)?, magic));
        let Some((head, magic)) = of_version(MAGIC).or_else(|| of_version(MAGIC_UNSTAMPED)) else {
            return Err(unusable(format!(
                "{name}: this is not a session file; name a new one, and it is created"
            )));
        };
        let Head { cluster, client, part_bytes, .. } = &head;
        if (cluster, client) != (&mine.cluster, &mine.client) {
            return Err(unusable(format!(
                "{name}: this is a session of client {client} of cluster {cluster}, not of client \
                 {} of cluster {}; give each client a session file of its own",
                mine.client, mine.cluster
            )));
        }
        if *part_bytes > mine.part_bytes {
            return Err(unusable(format!(
                "{name}: long values of this session travel in parts of {part_bytes} bytes, and \
                 {} fit a datagram here now; let `datagram_bytes` be what it was",
                mine.part_bytes
            )));
        }
        let mut rest = &text[head.text(magic).len()..];
        let mut stamp = None;
        if magic == MAGIC {
            let (line, behind) = rest.split_at(rest.find('\n').map_or(rest.len(), |end| end + 1));
            rest = behind;
            stamp = parse_stamp(line);
            if stamp.is_none() {
                return Err(unusable(format!(
                    "{name}: the line that says where the session was opened is damaged, so what \
                     was asked for in it must not be asked for again; start new values with a new \
                     session file"
                )));
            }
        }
        let slots: Vec<Option<Reached>> = rest.lines().map(Reached::parse).collect();
        let lines = |slot: &Option<Reached>| slot.map_or(0, |reached| reached.lines);
        let newest = slots.iter().enumerate().max_by_key(|(_, slot)| lines(slot));
        let (place, found) = newest.map_or((0, None), |(place, slot)| (place as u64, *slot));
        let found = found.unwrap_or_default();
        info!(
            target: "paxos::report",
            "resumes its session; {} lines of it are known to be decided", found.lines
        );
        let session = Self::new(file, path, head, stamp, found);
        session.noted.lock().slot = 1 - place.min(1);
        Ok(session)
    }

    /// The session's boot number.
    pub fn boot(&self) -> u64 {
        self.head.boot
    }

    /// Where the session was opened, if it was.
    pub fn opened(&self) -> Option<Instance> {
        *self.opened.lock()
    }

    /// The session is opened at `opened`. Returns whether that is on stable storage: only then may
    /// anything be requested in it.
    #[must_use]
    pub fn open_at(&self, opened: Instance) -> bool {
        let mut known = self.opened.lock();
        if *known == Some(opened) {
            return true;
        }
        assert!(known.is_none(), "a session is opened once");
        let text = stamp_text(opened);
        let written = self.file.write_all_at(text.as_bytes(), self.head_bytes);
        if let Err(error) = written.and_then(|()| self.file.sync_data()) {
            let name = self.path.display();
            error!("{name}: cannot store where the session is opened: {error}");
            return false;
        }
        *known = Some(opened);
        true
    }

    /// The size in bytes of the parts in which the session's long values travel.
    pub fn part_bytes(&self) -> usize {
        self.head.part_bytes
    }

    /// Follows what is requested in this session, from its first line on.
    pub fn track(&self) -> Track {
        Track {
            asked: Reached::default(),
            expected: Some(self.found).filter(|found| found.lines > 0),
            known: self.found.lines,
            open: VecDeque::new(),
            shared: Arc::clone(&self.shared),
        }
    }

    /// How the input differs from what it was, if a difference was found.
    pub fn mismatch(&self) -> Option<Mismatch> {
        self.shared.mismatch.get().copied()
    }

    /// Writes down how far the input is decided, if that is news. If that fails, the only harm is
    /// that a later change of the input may go unnoticed.
    pub fn note(&self) {
        let reached = *self.shared.reached.lock();
        let mut noted = self.noted.lock();
        if reached.lines <= noted.reached.lines || noted.has_failed {
            return;
        }
        let text = reached.text();
        // The two slots take turns, so that one of them is intact whenever this process dies.
        let place = self.head_bytes + self.stamp_bytes + noted.slot * text.len() as u64;
        if let Err(error) = self.file.write_all_at(text.as_bytes(), place) {
            warn!("{}: cannot note what is decided: {error}", self.path.display());
            noted.has_failed = true;
        }
        (noted.reached, noted.slot) = (reached, 1 - noted.slot);
    }
}

/// The error for a session file that cannot be used.
fn unusable(sentence: String) -> StartError {
    StartError::new(StartErrorKind::Data, sentence)
}

/// Creates the file of the session `mine`, locked, and puts it and its name on stable storage. None
/// if there is one by now.
fn create(path: &Path, mine: &Head) -> Result<Option<File>, StartError> {
    let name = path.display();
    let failed =
        |error: io::Error| unusable(format!("{name}: cannot make a session file: {error}"));
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(UNFINISHED);
    let unfinished = PathBuf::from(unfinished);
    must_be_regular(&unfinished).map_err(unusable)?;
    // The process that holds the lock finishes the file; what a dead process has left of it is
    // emptied first.
    let mut options = File::options();
    let options = options.write(true).read(true).create(true).truncate(false).mode(0o600);
    let mut file = options.open(&unfinished).map_err(failed)?;
    lock(&file, path)?;
    // The previous holder of the lock may have finished it: then this is the file itself.
    if fs::symlink_metadata(path).is_ok() {
        return Ok(None);
    }
    file.set_len(0).map_err(failed)?;
    let slots = Reached::default().text().repeat(2);
    let text = [mine.text(MAGIC), stamp_text(Origin::UNSTAMPED), slots].concat();
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    fs::rename(&unfinished, path).map_err(failed)?;
    sync_name(path).map_err(failed)?;
    Ok(Some(file))
}

/// Makes the name of a file stable.
fn sync_name(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Locks a session file for this process.
fn lock(file: &File, path: &Path) -> Result<(), StartError> {
    let name = path.display();
    file.try_lock().map_err(|error| match error {
        // The other process may be ending.
        TryLockError::WouldBlock => StartError::passing(StartErrorKind::Data, format!(
            "{name}: another process uses this session; give each client a session file of its own"
        )),
        TryLockError::Error(error) => unusable(format!(
            "{name}: cannot lock this session file: {error}; keep it on a file system with locks"
        )),
    })
}

/// Follows the input of a session: whether it is the same as in earlier runs, and how much of it is
/// decided.
#[derive(Debug)]
pub struct Track {
    /// All that was requested in this run.
    asked: Reached,
    /// What an earlier run knew to be decided, until the input has come that far.
    expected: Option<Reached>,
    /// How many lines any run knew to be decided.
    known: u64,
    /// For each undecided line, how far the input is decided once that line is.
    open: VecDeque<Reached>,
    shared: Arc<Shared>,
}

impl Track {
    /// Whether every line that was requested is known to be decided, in this run or an earlier one.
    pub fn is_decided(&self) -> bool {
        self.expected.is_none() && self.asked.lines <= self.known
    }

    /// The next line, which takes `parts` numbers, is about to be requested. Returns whether it may
    /// be: not if the input has changed.
    ///
    /// Before the digest is compared, only values that were decided under their numbers are
    /// requested: the lines up to there take the same numbers as before.
    pub fn on_value(&mut self, value: &Value, parts: u64) -> bool {
        let bytes = value.as_bytes();
        self.asked.lines += 1;
        self.asked.numbers += parts;
        self.asked.digest.add(self.asked.lines, bytes.len(), [bytes]);
        self.open.push_back(self.asked);
        let Some(expected) = self.expected else { return true };
        // Each line that is still to come takes a number.
        let missing = expected.lines - self.asked.lines;
        let is_same = match missing {
            0 => self.asked == expected,
            _ => self.asked.numbers + missing <= expected.numbers,
        };
        if missing == 0 {
            self.expected = None;
        }
        if !is_same {
            let (line, decided) = (self.asked.lines, expected.lines);
            // There is one track of a session, and it ends here.
            let _ = self.shared.mismatch.set(Mismatch::Differs { line, decided });
        }
        is_same
    }

    /// There are no more lines. Returns whether the input may end here.
    pub fn on_end(&mut self) -> bool {
        let Some(expected) = self.expected else { return true };
        let (line, decided) = (self.asked.lines, expected.lines);
        let _ = self.shared.mismatch.set(Mismatch::Ends { line, decided });
        false
    }

    /// Every number below `front` is decided.
    pub fn on_decided(&mut self, front: Number) {
        let mut reached = None;
        while let Some(line) = self.open.front().filter(|line| line.numbers < front.0) {
            reached = Some(*line);
            self.open.pop_front();
        }
        if let Some(reached) = reached {
            self.known = self.known.max(reached.lines);
            *self.shared.reached.lock() = reached;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(client: u32, boot: u64) -> Head {
        Head { cluster: "c".to_owned(), client, boot, part_bytes: 1000 }
    }

    fn open(path: &Path, client: u32, boot: u64) -> Result<SessionFile, String> {
        SessionFile::open(path, &head(client, boot)).map_err(|error| error.to_string())
    }

    fn value(text: &str) -> Value {
        Value::new(text.as_bytes())
    }

    /// Requests these lines in a run of the session at `path`, of which `decided` are decided.
    fn live(path: &Path, fed: &[&str], decided: u64) -> Option<Mismatch> {
        let session = open(path, 1, 9).unwrap();
        let mut track = session.track();
        let all = fed.iter().all(|line| track.on_value(&value(line), 1));
        if all && track.on_end() {
            track.on_decided(Number(decided + 1));
        }
        session.note();
        session.mismatch()
    }

    #[test]
    fn a_session_is_found_again_and_nobody_else_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("session");
        let first = open(&path, 1, 7).unwrap();
        assert_eq!((first.boot(), first.part_bytes()), (7, 1000));
        let refused = SessionFile::open(&path, &head(1, 8)).unwrap_err();
        assert!(refused.to_string().contains("another process uses this session"), "{refused}");
        assert!(refused.may_pass());
        drop(first);
        assert_eq!(open(&path, 1, 8).unwrap().boot(), 7);
        let refused = open(&path, 2, 8).unwrap_err();
        assert!(refused.contains("session of client 1 of cluster c, not of client 2"), "{refused}");
        let other = Head { cluster: "d".to_owned(), ..head(1, 8) };
        assert!(SessionFile::open(&path, &other).is_err());
        let names: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(names.len(), 1, "nothing else is left there");
    }

    /// A session has as many numbers as its values have parts.
    #[test]
    fn values_are_cut_as_they_were_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("session");
        drop(open(&path, 1, 7).unwrap());
        let more = Head { part_bytes: 2000, ..head(1, 8) };
        assert_eq!(SessionFile::open(&path, &more).unwrap().part_bytes(), 1000);
        let less = Head { part_bytes: 999, ..head(1, 8) };
        let refused = SessionFile::open(&path, &less).unwrap_err().to_string();
        assert!(refused.contains("parts of 1000 bytes, and 999 fit a datagram"), "{refused}");
    }

    #[test]
    fn what_is_no_session_is_refused_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("session");
        let good = {
            drop(open(&path, 1, 7).unwrap());
            fs::read_to_string(&path).unwrap()
        };
        for bad in ["", "value 1\nvalue 2\n", &good[..60], &good.replacen("client 1", "client", 1)]
        {
            fs::write(&path, bad).unwrap();
            let refused = open(&path, 1, 8).unwrap_err();
            assert!(refused.contains("not a session file"), "{refused}");
            assert_eq!(fs::read_to_string(&path).unwrap(), bad);
        }
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(open(&path, 1, 8).unwrap_err().contains("regular file"));
        let nowhere = folder.path().join("not/there");
        assert!(open(&nowhere, 1, 8).unwrap_err().contains("cannot make a session file"));
    }

    /// Wherever a process dies while it creates a session, the next one creates it anew: nothing
    /// was requested in it.
    #[test]
    fn what_was_not_finished_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("session");
        let unfinished = folder.path().join("session.new");
        for left in ["", "paxos-sess", &head(1, 5).text(MAGIC)] {
            fs::write(&unfinished, left).unwrap();
            assert_eq!(open(&path, 1, 7).unwrap().boot(), 7);
            assert!(!unfinished.exists());
            fs::remove_file(&path).unwrap();
        }
        // Another process is creating it.
        let file = File::create(&unfinished).unwrap();
        file.lock().unwrap();
        assert!(open(&path, 1, 7).unwrap_err().contains("another process"));
    }

    #[test]
    fn the_same_input_may_be_longer_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("session");
        let fed = ["a", "b", "c", "d"];
        assert_eq!(live(&path, &fed, 2), None);
        assert_eq!(live(&path, &fed, 3), None);
        assert_eq!(live(&path, &["a", "b", "c", "x", "y"], 1), None, "none of these was decided");
        let differs = |line| Some(Mismatch::Differs { line, decided: 3 });
        assert_eq!(live(&path, &["a", "x", "c", "d"], 4), differs(3));
        let ends = Mismatch::Ends { line: 2, decided: 3 };
        assert_eq!(live(&path, &["a", "b"], 2), Some(ends));
        assert!(
            ends.to_string().starts_with("standard input ends after line 2; the session has 3")
        );
        assert_eq!(live(&path, &fed, 4), None);
        assert_eq!(live(&path, &fed[..3], 3), Some(Mismatch::Ends { line: 3, decided: 4 }));
    }

    /// All runs of a session know where it was opened, and a session of an earlier version goes on
    /// without that.
    #[test]
    fn a_session_stays_where_it_was_opened() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("session");
        let session = open(&path, 1, 7).unwrap();
        assert_eq!(session.opened(), None);
        assert!(session.open_at(Instance(70)));
        drop(session);
        assert_eq!(live(&path, &["a", "b"], 2), None);
        let session = open(&path, 1, 8).unwrap();
        assert_eq!((session.opened(), session.found.lines), (Some(Instance(70)), 2));
        assert!(session.open_at(Instance(70)));
        drop(session);
        let whole = fs::read_to_string(&path).unwrap();
        fs::write(&path, whole.replace("0070 ", "0071 ")).unwrap();
        assert!(open(&path, 1, 8).unwrap_err().contains("was opened is damaged"));
        let slots = Reached { lines: 3, ..Reached::default() }.text().repeat(2);
        fs::write(&path, [head(1, 7).text(MAGIC_UNSTAMPED), slots].concat()).unwrap();
        let session = open(&path, 1, 8).unwrap();
        assert_eq!((session.opened(), session.found.lines), (Some(Origin::UNSTAMPED), 3));
        drop(session);
        assert_eq!(open(&path, 1, 8).unwrap().found.lines, 3);
    }

    /// A line that takes too many numbers is noticed before it takes those of others.
    #[test]
    fn a_longer_line_takes_no_new_number() {
        let folder = tempfile::tempdir().unwrap();
        let session = open(&folder.path().join("session"), 1, 7).unwrap();
        let mut track = session.track();
        assert!(track.on_value(&value("long"), 3) && track.on_value(&value("short"), 1));
        track.on_decided(Number(4));
        assert_eq!(session.shared.reached.lock().lines, 1);
        track.on_decided(Number(5));
        session.note();
        drop(session);
        let session = open(&folder.path().join("session"), 1, 7).unwrap();
        let mut track = session.track();
        assert!(!track.on_value(&value("longer"), 4));
        assert_eq!(session.mismatch(), Some(Mismatch::Differs { line: 1, decided: 2 }));
    }

    /// If the process died while it wrote one of the two, the other one counts.
    #[test]
    fn a_torn_note_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("session");
        let fed = ["a", "b", "c", "d", "e"];
        let found = |path: &Path| open(path, 1, 7).unwrap().found.lines;
        for decided in 1..=5 {
            assert_eq!(live(&path, &fed, decided), None);
            assert_eq!(found(&path), decided);
            let whole = fs::read(&path).unwrap();
            let slot = Reached::default().text().len();
            for newest in [whole.len() - 2 * slot, whole.len() - slot] {
                let mut torn = whole.clone();
                torn[newest + 20] ^= 1;
                fs::write(&path, torn).unwrap();
                assert!([decided, decided - 1].contains(&found(&path)));
            }
            fs::write(&path, whole).unwrap();
        }
        // The same when one run writes several.
        let session = open(&path, 1, 7).unwrap();
        let (mut track, slot) = (session.track(), Reached::default().text().len());
        (0..9).for_each(|line| assert!(track.on_value(&value(fed.get(line).unwrap_or(&"f")), 1)));
        for decided in 6..=9 {
            track.on_decided(Number(decided + 1));
            session.note();
            let whole = fs::read(&path).unwrap();
            let slots = [whole.len() - 2 * slot, whole.len() - slot];
            let lines = slots.map(|at| {
                let text = String::from_utf8_lossy(&whole[at..at + slot]);
                Reached::parse(&text).map_or(0, |reached| reached.lines)
            });
            assert_eq!(lines.iter().max(), Some(&decided));
            assert_eq!(lines.iter().min(), Some(&(decided - 1)));
        }
    }

    /// The process that was waited for has finished the file: its session is the one.
    #[test]
    fn a_session_that_another_process_has_just_made_is_not_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("session");
        drop(open(&path, 1, 7).unwrap());
        assert!(create(&path, &head(1, 8)).unwrap().is_none());
        assert_eq!(open(&path, 1, 9).unwrap().boot(), 7);
    }
}
