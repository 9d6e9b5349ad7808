//! Waiting until the learners' files are complete, with a progress bar on a terminal.
//!
//! Files are read as they grow, each byte once. Completeness is a matter of counting here; whether
//! the values are right is the checker's business.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use log::info;

use super::check::CheckOptions;
use super::files::{Content, Unusable, learner_file, parse_entry, propose_file};
use super::timeline::TimelineWriter;
use crate::clock::Clock;
use crate::protocol::message::Assignment;
use crate::protocol::types::Time;

/// What to wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchOptions {
    /// What must be complete.
    pub check: CheckOptions,
    /// How long to wait; none means for ever.
    pub timeout: Option<Duration>,
    /// Where to write what learners had, and when.
    pub timeline: Option<PathBuf>,
}

/// Between two looks at the files.
const LOOK: Duration = Duration::from_millis(20);

/// Between two lines of progress where there is no terminal.
const REPORT: Duration = Duration::from_secs(2);

/// A learner's file, read as it grows.
struct Growing {
    path: PathBuf,
    /// Whether its learner has made it.
    is_there: bool,
    offset: u64,
    /// The beginning of a line whose end is not there yet.
    torn: Vec<u8>,
    instances: HashSet<u64>,
}

/// Waits. Returns whether everything was complete in time.
pub fn watch(options: &WatchOptions) -> Result<bool, Unusable> {
    let check = &options.check;
    let needed = needed(check)?;
    let mut files: Vec<Growing> =
        (1..=check.learners).map(|id| Growing::at(check.results.join(learner_file(id)))).collect();
    let unwritable = |error: io::Error| {
        let path = options.timeline.as_deref().unwrap_or(Path::new(""));
        Unusable(format!("{}: cannot write it: {error}", path.display()))
    };
    let timeline = options.timeline.as_deref();
    let timeline = timeline.map(|path| TimelineWriter::create(path, needed)).transpose();
    let mut timeline = timeline.map_err(unwritable)?;
    let clock = Clock::start();
    let mut progress = Progress::new(needed, check.learners);
    loop {
        for (index, file) in files.iter_mut().enumerate() {
            file.read_on();
            progress.show(index, file.instances.len() as u64);
        }
        let now = clock.now();
        progress.report(now, needed, &files);
        let counts: Vec<u64> = files.iter().map(|file| file.instances.len() as u64).collect();
        // Where nothing was asked for, the files are all that shows that there are learners.
        let are_there = files.iter().all(|file| file.is_there);
        let is_complete = are_there && counts.iter().all(|count| *count >= needed);
        let is_late = options.timeout.is_some_and(|it| now.since(Time::ZERO) >= it);
        if let Some(timeline) = &mut timeline {
            timeline.note(now, counts, is_complete || is_late).map_err(unwritable)?;
        }
        if is_complete || is_late {
            progress.finish();
            return Ok(is_complete);
        }
        thread::sleep(LOOK);
    }
}

/// How many entries each learner will have: requested instances, and leader-assigned values.
fn needed(check: &CheckOptions) -> Result<u64, Unusable> {
    let mut values = 0;
    let mut runs = Vec::new();
    let read = |id| Content::read(&check.results, &propose_file(id));
    let fed: Vec<Content> = (1..=check.clients.len() as u32).map(read).collect::<Result<_, _>>()?;
    for (assignment, fed) in check.assignments(&fed)?.into_iter().zip(&fed) {
        let lines = fed.all_lines().len() as u64;
        match assignment {
            Assignment::Client { first } => runs.push((first.0, first.0.saturating_add(lines))),
            Assignment::Leader => values += lines,
        }
    }
    runs.sort_unstable();
    let mut counted_until = 0;
    for (from, until) in runs {
        values += until.saturating_sub(from.max(counted_until));
        counted_until = counted_until.max(until);
    }
    Ok(values)
}

impl Growing {
    /// The file that a learner makes there.
    fn at(path: PathBuf) -> Self {
        Growing { path, is_there: false, offset: 0, torn: Vec::new(), instances: HashSet::new() }
    }

    /// Reads what was added. A file that does not exist yet, or was started over, is no error.
    fn read_on(&mut self) {
        let Ok(mut file) = File::open(&self.path) else { return };
        self.is_there = true;
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        if length < self.offset {
            self.offset = 0;
            self.torn.clear();
            self.instances.clear();
        }
        let mut added = Vec::new();
        if file.seek(SeekFrom::Start(self.offset)).is_err()
            || file.take(length - self.offset).read_to_end(&mut added).is_err()
        {
            return;
        }
        self.offset += added.len() as u64;
        self.torn.append(&mut added);
        let whole = self.torn.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let lines = self.torn[..whole].split(|byte| *byte == b'\n');
        self.instances.extend(lines.filter_map(parse_entry).map(|(instance, _)| instance));
        self.torn.drain(..whole);
    }
}

/// Bars on a terminal; a line now and then elsewhere.
struct Progress {
    bars: Vec<ProgressBar>,
    reported: Time,
}

impl Progress {
    fn new(needed: u64, learners: u32) -> Self {
        if !std::io::stderr().is_terminal() {
            return Progress { bars: Vec::new(), reported: Time::ZERO };
        }
        let style =
            ProgressStyle::with_template("{prefix} {bar:40} {pos}/{len} {per_sec}, {eta} left")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
        let screen = MultiProgress::new();
        let bars = (1..=learners)
            .map(|id| {
                let bar = screen.add(ProgressBar::new(needed));
                bar.set_style(style.clone());
                bar.set_prefix(format!("learner {id}"));
                bar
            })
            .collect();
        Progress { bars, reported: Time::ZERO }
    }

    fn show(&self, index: usize, count: u64) {
        if let Some(bar) = self.bars.get(index) {
            bar.set_position(count);
        }
    }

    fn report(&mut self, now: Time, needed: u64, files: &[Growing]) {
        if self.bars.is_empty() && now.since(self.reported) >= REPORT {
            self.reported = now;
            let counts: Vec<String> =
                files.iter().map(|file| file.instances.len().to_string()).collect();
            info!(target: "paxos::report", "learners have {} of {needed}", counts.join(", "));
        }
    }

    fn finish(&self) {
        self.bars.iter().for_each(ProgressBar::abandon);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use super::*;
    use crate::protocol::types::Instance;

    #[test]
    fn what_is_needed_counts_an_instance_once() {
        let folder = tempfile::tempdir().unwrap();
        for (id, fed) in (1..).zip(["a\nb\nc\n", "x\ny", "q\n"]) {
            fs::write(folder.path().join(propose_file(id)), fed).unwrap();
        }
        let from = |first| Assignment::Client { first: Instance(first) };
        let clients = vec![from(1), from(3), Assignment::Leader];
        let results = folder.path().to_owned();
        let (is_by_record, print, json) = (false, false, false);
        let check = CheckOptions { learners: 1, clients, is_by_record, print, json, results };
        assert_eq!(needed(&check).unwrap(), 5);
    }

    #[test]
    fn a_growing_file_is_read_on_and_a_new_one_from_its_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(learner_file(1));
        let mut growing = Growing::at(path.clone());
        let mut count = || {
            growing.read_on();
            growing.instances.len()
        };
        assert_eq!(count(), 0);
        let mut file = File::create(&path).unwrap();
        for (text, expected) in [("1\ta\n2", 1), ("\tb\n", 2), ("", 2), ("3\tc\n4\td\n", 4)] {
            file.write_all(text.as_bytes()).unwrap();
            assert_eq!(count(), expected);
        }
        fs::write(&path, "1\ta\n").unwrap();
        assert_eq!(count(), 1);
    }

    #[test]
    fn it_ends_when_complete_and_gives_up_in_time() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(propose_file(1)), "a\n").unwrap();
        let clients = vec![Assignment::Leader];
        let results = folder.path().to_owned();
        let (is_by_record, print, json) = (false, false, false);
        let check = CheckOptions { learners: 1, clients, is_by_record, print, json, results };
        let options =
            WatchOptions { check, timeout: Some(Duration::from_millis(1)), timeline: None };
        assert_eq!(watch(&options), Ok(false));
        fs::write(folder.path().join(learner_file(1)), "7\ta\n").unwrap();
        assert_eq!(watch(&options), Ok(true));
        // Learners that have not started are waited for even if nothing was asked for.
        fs::write(folder.path().join(propose_file(1)), "").unwrap();
        assert_eq!(watch(&options), Ok(true));
        fs::remove_file(folder.path().join(learner_file(1))).unwrap();
        assert_eq!(watch(&options), Ok(false));
    }
}
