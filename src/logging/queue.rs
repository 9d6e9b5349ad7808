//! The lines that wait for standard error: a bounded queue, and a thread that writes.
//!
//! Standard error may be a pipe that nobody reads, or a terminal that was stopped. Logging must not
//! wait for it: the role loop would stand still in the middle of a line, and SIGTERM would not end
//! it. So a line that finds no room is dropped and counted, and the count is logged where the lines
//! are missing.

use std::io::{self, Write};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// How many bytes wait at most.
const QUEUE_BYTES: usize = 256 * 1024;

/// One end of the queue; copies are the same queue.
#[derive(Clone, Debug)]
pub struct LogQueue {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// There is something to write.
    to_write: Condvar,
    /// Something was written, or nothing more will be.
    written: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Whole lines that wait.
    lines: Vec<u8>,
    /// Lines that found no room since the thread last looked.
    dropped: u64,
    /// The thread has lines that it has not written yet.
    is_writing: bool,
    /// Writing has failed; nothing is kept from then on.
    is_broken: bool,
    /// How many writes there were.
    writes: u64,
}

impl LogQueue {
    /// Starts the thread that writes to `output`.
    ///
    /// # Errors
    ///
    /// When the operating system gives no thread.
    pub fn start(output: impl Write + Send + 'static) -> io::Result<LogQueue> {
        let shared = Arc::new(Shared::default());
        let for_thread = Arc::clone(&shared);
        thread::Builder::new().name("log".to_owned()).spawn(move || {
            // There is nowhere to say that it failed.
            let _ = write_all(&for_thread, output);
            let mut state = for_thread.state.lock();
            (state.is_broken, state.is_writing, state.lines) = (true, false, Vec::new());
            for_thread.written.notify_all();
        })?;
        Ok(LogQueue { shared })
    }

    /// Waits until everything is written, and gives up once nothing was for `patience`. Says
    /// whether everything was.
    pub fn finish(&self, patience: Duration) -> bool {
        let mut state = self.shared.state.lock();
        let is_done = |state: &State| !state.is_writing && state.lines.is_empty();
        while !state.is_broken && !is_done(&state) {
            let before = state.writes;
            let is_stuck =
                |state: &mut State| !is_done(state) && !state.is_broken && state.writes == before;
            let waited = self.shared.written.wait_while_for(&mut state, is_stuck, patience);
            if waited.timed_out() && is_stuck(&mut state) {
                return false;
            }
        }
        !state.is_broken
    }
}

impl Write for LogQueue {
    /// Takes `bytes`, whole lines, or drops them. Never waits, and never fails.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.shared.state.lock();
        if !state.is_broken {
            if state.lines.len() + bytes.len() <= QUEUE_BYTES {
                state.lines.extend_from_slice(bytes);
            } else {
                state.dropped += 1;
            }
            drop(state);
            self.shared.to_write.notify_one();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The thread: writes until writing fails.
fn write_all(shared: &Shared, mut output: impl Write) -> io::Result<()> {
    let mut lines = Vec::new();
    loop {
        lines.clear();
        let mut state = shared.state.lock();
        state.is_writing = false;
        shared.written.notify_all();
        shared.to_write.wait_while(&mut state, |state| state.lines.is_empty());
        std::mem::swap(&mut lines, &mut state.lines);
        let dropped = std::mem::take(&mut state.dropped);
        state.is_writing = true;
        drop(state);
        if dropped > 0 {
            let what = "lines are missing here: nobody read standard error in time";
            // Writing to memory does not fail.
            let _ = writeln!(lines, "{dropped} {what}");
        }
        output.write_all(&lines)?;
        output.flush()?;
        shared.state.lock().writes += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::time::Instant;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[test]
    fn lines_come_out_whole_and_in_order() {
        let (reader, writer) = io::pipe().unwrap();
        let mut queue = LogQueue::start(writer).unwrap();
        for line in 0..1000 {
            writeln!(queue, "line {line}").unwrap();
        }
        let lines = BufReader::new(reader).lines().take(1000).map(Result::unwrap);
        assert!(lines.enumerate().all(|(number, line)| line == format!("line {number}")));
        assert!(queue.finish(PATIENCE));
    }

    /// The pipe takes 64 KiB, the queue four times as much, and the rest is counted.
    #[test]
    fn nobody_who_logs_waits_for_a_reader() {
        let (reader, writer) = io::pipe().unwrap();
        let mut queue = LogQueue::start(writer).unwrap();
        let line = format!("{}\n", "x".repeat(999));
        let start = Instant::now();
        (0..2000).for_each(|_| queue.write_all(line.as_bytes()).unwrap());
        assert!(!queue.finish(Duration::from_millis(20)), "nobody reads");
        assert!(start.elapsed() < PATIENCE);
        let (mut whole, mut missing) = (0, 0);
        let mut lines = BufReader::new(reader).lines().map(Result::unwrap);
        while whole + missing < 2000 {
            match lines.next().unwrap().split_once(" lines are missing here") {
                Some((count, _)) => missing += count.parse::<usize>().unwrap(),
                None => whole += 1,
            }
        }
        assert!(missing > 1000 && whole > 256, "{whole} {missing}");
        assert!(queue.finish(PATIENCE));
    }

    #[test]
    fn a_reader_that_went_away_is_no_reason_to_wait() {
        let (reader, writer) = io::pipe().unwrap();
        let mut queue = LogQueue::start(writer).unwrap();
        drop(reader);
        queue.write_all(b"line\n").unwrap();
        assert!(!queue.finish(PATIENCE));
        queue.write_all(b"line\n").unwrap();
        assert!(queue.shared.state.lock().lines.is_empty());
    }
}
