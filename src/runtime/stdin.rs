//! Standard input of a client: bytes to values, no faster than the role takes them.
//!
//! A value is one line: any byte string without a newline, exactly as it came, even an empty one;
//! an unterminated last line counts. The thread reads only against credits from the role loop, so
//! an endless input waits in its pipe and not in memory, and acknowledgements find room in the
//! inbox. It never waits for more than one read gives: a complete line goes out at once. So memory
//! never holds more long lines than one that is being read, two that the loop has not taken, and
//! the one that the client requests.

use std::fmt;
use std::io::{self, Read};
use std::sync::{Arc, OnceLock};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::inbox::InboxSender;
use crate::protocol::actor::Input;
use crate::protocol::settings::Settings;
use crate::protocol::types::{AssignedBy, Value};

/// The most bytes one read gives.
const READ_BYTES: usize = 64 * 1024;
/// The most values of one batch.
const BATCH_VALUES: usize = 1024;
/// The most batches that were allowed and have not come yet: while the loop works on one, the
/// thread can read the next.
const CREDITS_MAX: usize = 2;

/// The thread that reads. It is never waited for: it may hang in a read for ever.
#[derive(Debug)]
pub struct Stdin {
    failure: Arc<OnceLock<InputFailure>>,
}

impl Stdin {
    /// Starts to read values of at most as many bytes as `limit` says from `input`, for `inbox`.
    ///
    /// [`Input::End`] comes last in every case, unless the role loop has ended by then.
    ///
    /// # Errors
    ///
    /// When the operating system gives no thread.
    pub fn spawn(
        input: impl Read + Send + 'static,
        limit: LineLimit,
        inbox: InboxSender,
    ) -> io::Result<(Stdin, Credits)> {
        let (sender, credits) = bounded(CREDITS_MAX);
        let failure = Arc::new(OnceLock::new());
        let stdin = Stdin { failure: Arc::clone(&failure) };
        let lines = Lines::new(input, limit);
        thread::Builder::new()
            .name("standard-input".to_owned())
            .spawn(move || read_all(lines, &credits, &inbox, &failure))?;
        Ok((stdin, Credits { sender, outstanding: 0 }))
    }

    /// Why the input ended early, if it did. It is set before the role hears of the end.
    pub fn failure(&self) -> Option<&InputFailure> {
        self.failure.get()
    }
}

/// The role loop's end: how many more batches may come.
#[derive(Debug)]
pub struct Credits {
    sender: Sender<()>,
    outstanding: usize,
}

impl Credits {
    /// Allows as many batches as may be under way at a time.
    pub fn give(&mut self) {
        while self.outstanding < CREDITS_MAX && self.sender.try_send(()).is_ok() {
            self.outstanding += 1;
        }
    }

    /// A batch came.
    pub fn spent(&mut self) {
        debug_assert!(self.outstanding > 0, "input came without a credit");
        self.outstanding = self.outstanding.saturating_sub(1);
    }
}

/// Why the input ended before its end.
#[derive(Debug)]
pub enum InputFailure {
    /// A line is longer than a value can be.
    TooLong {
        /// The line, from 1.
        line: u64,
        /// The most bytes a value can have.
        limit: usize,
        /// How many bytes it can have when the leader gives it its instance, if that is more.
        auto_limit: Option<usize>,
    },
    /// Reading failed.
    Read {
        /// The line that was being read, from 1.
        line: u64,
        /// How.
        error: io::Error,
    },
}

impl fmt::Display for InputFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InputFailure::TooLong { line, limit, auto_limit: None } => write!(
                f,
                "standard input, line {line}: longer than {limit} bytes, the most a value can \
                 have (value_bytes); only the lines before it count"
            ),
            InputFailure::TooLong { line, limit, auto_limit: Some(most) } => write!(
                f,
                "standard input, line {line}: longer than {limit} bytes, the most that fits a \
                 datagram; only the lines before it count; with `auto` as the first instance a \
                 value can have {most} bytes, whatever fits a datagram"
            ),
            InputFailure::Read { line, error } => write!(
                f,
                "standard input, line {line}: cannot be read ({error}); only the lines before it \
                 count"
            ),
        }
    }
}

impl std::error::Error for InputFailure {}

/// The thread: reads a batch for each credit, until either side ends.
fn read_all(
    mut lines: Lines<impl Read>,
    credits: &Receiver<()>,
    inbox: &InboxSender,
    failure: &OnceLock<InputFailure>,
) {
    while credits.recv().is_ok() {
        let mut batch = Vec::new();
        let more = lines.read_batch(&mut batch);
        let is_last = !matches!(more, Ok(true));
        if let Err(reason) = more {
            // This thread alone sets it, once.
            let _ = failure.set(reason);
        }
        if is_last {
            batch.push(Input::End);
        }
        if !inbox.input(batch) || is_last {
            return;
        }
    }
}

/// How long a line can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineLimit {
    /// The most bytes.
    pub bytes: usize,
    /// The most bytes if the leader gave the instances, if that is more.
    pub auto_bytes: Option<usize>,
}

impl LineLimit {
    /// The limit of a client's values by its settings.
    pub fn new(settings: &Settings, assigned_by: AssignedBy) -> Self {
        let [bytes, most] = [assigned_by, AssignedBy::Leader].map(|by| settings.value_bytes(by));
        LineLimit { bytes, auto_bytes: (most > bytes).then_some(most) }
    }
}

/// Cuts bytes into lines. Holds one read and one unfinished line, whatever the input.
pub(crate) struct Lines<R> {
    input: R,
    limit: LineLimit,
    /// What the last read gave.
    buffer: Box<[u8]>,
    /// The part of `buffer` that is not used yet.
    position: usize,
    filled: usize,
    /// The beginning of a line whose end was not read yet; at most as many bytes as a line
    /// can have.
    unfinished: Vec<u8>,
    /// The line being read, from 1.
    line: u64,
}

impl<R: Read> Lines<R> {
    pub(crate) fn new(input: R, limit: LineLimit) -> Self {
        Lines {
            input,
            limit,
            buffer: vec![0; READ_BYTES].into(),
            position: 0,
            filled: 0,
            unfinished: Vec::new(),
            line: 1,
        }
    }

    /// Where the bytes come from.
    pub(crate) fn input(&self) -> &R {
        &self.input
    }

    /// Appends what there is to `batch`, one value at least, and says whether there may be more.
    /// Waits only while no line is complete. The values are good even if it fails.
    pub(crate) fn read_batch(&mut self, batch: &mut Vec<Input>) -> Result<bool, InputFailure> {
        loop {
            self.take_lines(batch)?;
            if !batch.is_empty() {
                return Ok(true);
            }
            match self.input.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(count) => (self.position, self.filled) = (0, count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(InputFailure::Read { line: self.line, error }),
            }
        }
        if !self.unfinished.is_empty() {
            batch.push(Input::Value(Value::new(&self.unfinished)));
        }
        Ok(false)
    }

    /// Takes complete lines out of the buffer, as many as a batch holds, and the beginning of an
    /// unfinished one.
    fn take_lines(&mut self, batch: &mut Vec<Input>) -> Result<(), InputFailure> {
        while self.position < self.filled && batch.len() < BATCH_VALUES {
            let rest = &self.buffer[self.position..self.filled];
            let end = rest.iter().position(|&byte| byte == b'\n');
            let part = &rest[..end.unwrap_or(rest.len())];
            let LineLimit { bytes: limit, auto_bytes: auto_limit } = self.limit;
            if self.unfinished.len() + part.len() > limit {
                return Err(InputFailure::TooLong { line: self.line, limit, auto_limit });
            }
            self.position += part.len();
            if end.is_none() {
                self.unfinished.extend_from_slice(part);
                return Ok(());
            }
            self.position += 1;
            self.line += 1;
            if self.unfinished.is_empty() {
                batch.push(Input::Value(Value::new(part)));
            } else {
                self.unfinished.extend_from_slice(part);
                batch.push(Input::Value(Value::new(&self.unfinished)));
                self.unfinished.clear();
                // A long line is no reason to keep its memory.
                self.unfinished.shrink_to(READ_BYTES);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::time::{Duration, Instant};

    use super::super::inbox::{Event, Inbox, inbox};
    use super::*;

    /// An input that gives one piece per read, then fails or ends.
    struct Pieces(VecDeque<io::Result<Vec<u8>>>);

    impl Pieces {
        fn of(pieces: &[&[u8]]) -> Self {
            Pieces(pieces.iter().map(|piece| Ok(piece.to_vec())).collect())
        }
    }

    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Some(piece) = self.0.pop_front() else { return Ok(0) };
            let mut piece = piece?;
            if piece.len() > buffer.len() {
                self.0.push_front(Ok(piece.split_off(buffer.len())));
            }
            buffer[..piece.len()].copy_from_slice(&piece);
            Ok(piece.len())
        }
    }

    /// Everything an input gives: the batches, and how it ended.
    fn batches(input: Pieces, value_bytes: usize) -> (Vec<Vec<Vec<u8>>>, Option<InputFailure>) {
        let mut lines = Lines::new(input, limit(value_bytes));
        let mut batches = Vec::new();
        loop {
            let mut batch = Vec::new();
            let more = lines.read_batch(&mut batch);
            assert!(lines.unfinished.capacity() <= 2 * value_bytes.max(8));
            let values = batch.into_iter().map(|input| match input {
                Input::Value(value) => value.as_bytes().to_vec(),
                other => panic!("{other:?} is not for it to say"),
            });
            batches.push(values.collect());
            match more {
                Ok(true) => {}
                Ok(false) => return (batches, None),
                Err(failure) => return (batches, Some(failure)),
            }
        }
    }

    fn limit(bytes: usize) -> LineLimit {
        LineLimit { bytes, auto_bytes: None }
    }

    fn values(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let (batches, failure) = batches(Pieces::of(pieces), 16);
        assert!(failure.is_none(), "{failure:?}");
        batches.concat()
    }

    #[test]
    fn a_value_is_any_bytes_but_newline() {
        let none: [&[u8]; 0] = [];
        assert_eq!(values(&[]), none);
        assert_eq!(values(&[b"a\nb\n"]), [b"a", b"b"]);
        assert_eq!(values(&[b"a\r\n\0\n\xff \t\n"]), [&b"a\r"[..], b"\0", b"\xff \t"]);
        assert_eq!(values(&[b"\n\na\n\n"]), [&b""[..], b"", b"a", b""]);
        // An unterminated last line counts; an empty rest after the last newline does not.
        assert_eq!(values(&[b"a\nb"]), [b"a", b"b"]);
        assert_eq!(values(&[b"\n"]), [b""]);
    }

    #[test]
    fn lines_may_be_split_between_reads_anywhere() {
        assert_eq!(values(&[b"ab", b"c", b"\nd", b"\n", b"e"]), [&b"abc"[..], b"d", b"e"]);
        assert_eq!(values(&[b"a\r", b"\n", b"\n"]), [&b"a\r"[..], b""]);
    }

    #[test]
    fn what_is_there_goes_out_at_once_and_in_bounded_batches() {
        let (parts, _) = batches(Pieces::of(&[b"a\nb\nc", b"d\n"]), 16);
        assert_eq!(parts[0], [b"a", b"b"]);
        assert_eq!(parts[1], [b"cd"]);
        let (parts, _) = batches(Pieces::of(&[&[b'\n'; 2500]]), 16);
        assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [1024, 1024, 452, 0]);
    }

    #[test]
    fn the_first_line_over_the_limit_ends_the_input_and_is_named() {
        let (parts, failure) = batches(Pieces::of(&[b"1234\n1234\n12", b"345\nlater\n"]), 4);
        assert_eq!(parts.concat(), [b"1234", b"1234"]);
        let failure = failure.unwrap().to_string();
        assert!(failure.starts_with("standard input, line 3: longer than 4 bytes"), "{failure}");
        // Even if the line never ends: it is not gathered first.
        let (parts, failure) = batches(Pieces::of(&[&vec![b'x'; 1 << 20]]), 1000);
        assert!(parts.concat().is_empty());
        assert!(matches!(failure, Some(InputFailure::TooLong { line: 1, limit: 1000, .. })));
    }

    #[test]
    fn a_client_that_asks_for_instances_hears_how_longer_values_travel() {
        let settings = Settings::default();
        let limit = LineLimit::new(&settings, AssignedBy::Client);
        assert_eq!(LineLimit::new(&settings, AssignedBy::Leader).auto_bytes, None);
        let long = vec![b'x'; limit.bytes + 1];
        let failure = Lines::new(Pieces::of(&[&long]), limit).read_batch(&mut Vec::new());
        let sentence = failure.unwrap_err().to_string();
        let place = "line 1: longer than 1312 bytes, the most that fits a datagram";
        let cure = "with `auto` as the first instance a value can have 1048576 bytes";
        assert!(sentence.contains(place) && sentence.contains(cure), "{sentence}");
    }

    /// A line may come in many reads, and its memory is given back.
    #[test]
    fn long_lines_are_read_whole() {
        let long: Vec<u8> = (0..3_000_000_u32).map(|place| (place % 251) as u8 | 64).collect();
        let text = [&long, &b"\nshort\n"[..]].concat();
        let mut lines = Lines::new(Pieces::of(&[&text]), limit(1 << 26));
        let mut batch = Vec::new();
        assert!(lines.read_batch(&mut batch).unwrap());
        let value = |bytes: &[u8]| Input::Value(Value::new(bytes));
        assert!(batch == [value(&long), value(b"short")]);
        assert!(lines.unfinished.capacity() <= READ_BYTES);
    }

    #[test]
    fn an_interrupted_read_goes_on_and_a_failed_one_ends_the_input() {
        let mut input = Pieces::of(&[b"a\n"]);
        input.0.push_back(Err(io::ErrorKind::Interrupted.into()));
        input.0.push_back(Ok(b"b\nc".to_vec()));
        input.0.push_back(Err(io::Error::other("the disk is gone")));
        let (parts, failure) = batches(input, 4);
        assert_eq!(parts.concat(), [b"a", b"b"]);
        let failure = failure.unwrap().to_string();
        assert!(failure.contains("line 3: cannot be read (the disk is gone)"), "{failure}");
    }

    fn next_input(inbox: &Inbox) -> Option<Vec<Input>> {
        match inbox.wait(Instant::now().checked_add(Duration::from_secs(10)), true)? {
            Event::Input(batch) => Some(batch),
            other => panic!("{other:?}"),
        }
    }

    /// The thread reads nothing before it has a credit, and says why it ended before it says that
    /// it did.
    #[test]
    fn each_batch_costs_a_credit() {
        let (sender, mut inbox) = inbox(8);
        let pieces = Pieces::of(&[b"a\n", b"b\n", b"c\n", b"too long\n"]);
        let (stdin, mut credits) = Stdin::spawn(pieces, limit(4), sender).unwrap();
        assert_eq!(inbox.poll(), None);
        credits.give();
        let value = |bytes: &[u8]| Input::Value(Value::new(bytes));
        assert_eq!(next_input(&inbox), Some(vec![value(b"a")]));
        assert_eq!(next_input(&inbox), Some(vec![value(b"b")]));
        assert_eq!(credits.outstanding, 2);
        credits.spent();
        credits.spent();
        assert!(stdin.failure().is_none());
        credits.give();
        assert_eq!(next_input(&inbox), Some(vec![value(b"c")]));
        assert_eq!(next_input(&inbox), Some(vec![Input::End]));
        assert!(stdin.failure().is_some());
    }
}
