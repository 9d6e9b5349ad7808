//! Standard output of a learner: the values, one a line, in the requested form.
//!
//! Separate threads write, so that a reader that does not read never blocks the role loop. One
//! makes lines of the values. It writes a few itself while the reader keeps up, because another
//! change of threads would delay them, and leaves all others to a second thread, which may be
//! blocked. Lines that wait for that one are in little memory, and beyond it in a file ([`Spool`]).
//! Nothing is dropped, for that would break the order that readers rely on. If the reader goes
//! away, that is logged once; nothing is printed from then on, and the learner goes on learning.
//!
//! A write to a file does not wait for a reader, so there the loop itself writes: waking a thread
//! for every value would cost the cluster more than the write.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::spool::{Spool, WRITE_BYTES};
use crate::protocol::actor::Delivery;
use crate::protocol::assembly::Assembled;
use crate::protocol::checkpoint::Checkpoint;
use crate::protocol::segments::Page;
use crate::protocol::types::Instance;
use crate::results::form::Form;
use crate::results::output::{Output, write_line};

/// The most pages that the thread takes at a time; it holds no lock in between.
const PAGES_AT_A_TIME: usize = 256;
/// What a pipe takes without waiting if it takes anything: `PIPE_BUF` of Linux.
const AT_ONCE_BYTES: usize = 4096;
/// A buffer that grew beyond this is freed after it was written.
const KEPT_BYTES: usize = 1 << 20;

/// Standard output that never waits for a reader: a regular file, or the null device.
#[derive(Debug)]
pub struct FileOutput {
    /// None once a write has failed.
    file: Option<File>,
    form: Form,
    /// The lines of this turn.
    lines: Vec<u8>,
}

impl FileOutput {
    /// `output` as a file, if it is one of these.
    pub fn file_of(output: impl AsFd) -> Option<File> {
        let file = File::from(output.as_fd().try_clone_to_owned().ok()?);
        let metadata = file.metadata().ok()?;
        let is_null = || {
            let null = fs::metadata("/dev/null").ok();
            let is_device = metadata.file_type().is_char_device();
            is_device && null.is_some_and(|null| null.rdev() == metadata.rdev())
        };
        (metadata.is_file() || is_null()).then_some(file)
    }

    /// Such a file, for lines of this form.
    pub fn new(file: File, form: Form) -> Self {
        FileOutput { file: Some(file), form, lines: Vec::new() }
    }
}

impl Output for FileOutput {
    fn deliver(&mut self, delivery: &Delivery) {
        match delivery {
            Delivery::Delivered(page, _) => self.form.page(page, &mut self.lines),
            // For the results file, and for the log.
            Delivery::Decided(_) | Delivery::Begins(_) => {}
            Delivery::Assembled(value) => {
                if self.form.long(value, &mut self.lines) {
                    self.write_lines();
                    self.write(|file| write_line(file, value));
                }
            }
            Delivery::Passed(watermark) => self.form.passed(*watermark, &mut self.lines),
            Delivery::Checkpoint(checkpoint) => self.form.checkpoint(checkpoint),
            Delivery::Readable(_) | Delivery::Unreadable(_) => {}
            Delivery::Restored(checkpoint) => self.form.restore(checkpoint),
        }
    }

    /// Writes the lines of the turn. Never fails: the values are in the results file as well.
    fn flush(&mut self) -> io::Result<()> {
        self.write_lines();
        Ok(())
    }

    fn finish(&mut self) {
        self.form.end(&mut self.lines);
        self.write_lines();
    }
}

impl FileOutput {
    fn write_lines(&mut self) {
        if self.lines.is_empty() {
            return;
        }
        let lines = std::mem::take(&mut self.lines);
        self.write(|file| file.write_all(&lines));
        self.lines = lines;
        self.lines.clear();
    }

    fn write(&mut self, write: impl FnOnce(&mut File) -> io::Result<()>) {
        if let Some(file) = &mut self.file
            && let Err(error) = write(file)
        {
            say_gone(&error);
            self.file = None;
        }
    }
}

fn say_gone(error: &io::Error) {
    log::warn!("standard output is gone ({error}); nothing is printed any more");
}

fn say_unread(error: &io::Error) {
    log::warn!(
        "lines that standard output has not taken cannot be read back ({error}); nothing is \
         printed any more"
    );
}

/// The threads that print.
#[derive(Debug)]
pub struct Printer {
    shared: Arc<Shared>,
}

/// The role loop's end of a printer.
#[derive(Debug)]
pub struct PrinterOutput {
    shared: Arc<Shared>,
    /// What this turn delivered.
    pages: Vec<ToPrint>,
    /// Whether the thread must hear how far delivery is.
    follows_positions: bool,
}

/// What one step of the log puts out.
#[derive(Debug)]
enum ToPrint {
    Values(Page),
    Long(Assembled),
    Passed(Instance),
    Checkpoint(Arc<Checkpoint>),
    Restored(Arc<Checkpoint>),
    End,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// There are lines, or there will be no more.
    to_print: Condvar,
    /// Something was written, or nothing more will be.
    printed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// What waits for the thread.
    backlog: VecDeque<ToPrint>,
    /// Whether the thread ends once the backlog is empty.
    is_closing: bool,
    /// Whether the thread has ended.
    has_ended: bool,
    /// Whether writing failed; the backlog stays empty from then on.
    is_broken: bool,
    /// How many writes there were.
    writes: u64,
}

impl Shared {
    /// There was a write.
    fn note_write(&self) {
        self.state.lock().writes += 1;
        self.printed.notify_all();
    }
}

impl Printer {
    /// Starts to print to `output`, in lines of this form. `has_room` says whether it would take
    /// [`AT_ONCE_BYTES`] without waiting. Output that its reader does not take waits in a file on
    /// the file system of `folder`. The second half is for the role loop.
    ///
    /// # Errors
    ///
    /// When the operating system gives no thread.
    pub fn spawn<O: Write + Send + 'static>(
        output: O,
        has_room: impl Fn(&O) -> bool + Send + 'static,
        form: Form,
        folder: &Path,
    ) -> io::Result<(Printer, PrinterOutput)> {
        let shared = Arc::new(Shared::default());
        let follows_positions = form.follows_positions();
        let outlet = Arc::new(Outlet {
            shared: Arc::clone(&shared),
            spool: Spool::new(folder),
            output: Mutex::new(Some(output)),
            goes_on: follows_positions,
        });
        let (of_writer, of_printer) = (Arc::clone(&outlet), Arc::clone(&outlet));
        let writer = thread::Builder::new().name("stdout".to_owned());
        writer.spawn(move || of_writer.write_all())?;
        let printer = thread::Builder::new().name("printer".to_owned());
        let printing = printer.spawn(move || {
            print_all(form, &of_printer, has_room);
            of_printer.spool.close();
        });
        printing.inspect_err(|_| outlet.spool.close())?;
        let output =
            PrinterOutput { shared: Arc::clone(&shared), pages: Vec::new(), follows_positions };
        Ok((Printer { shared }, output))
    }

    /// Prints what is left, and gives up once nothing could be written for `patience`. Returns
    /// whether everything was printed.
    pub fn finish(self, patience: Duration) -> bool {
        let mut state = self.shared.state.lock();
        state.is_closing = true;
        self.shared.to_print.notify_one();
        while !state.has_ended {
            let before = state.writes;
            let no_progress = |state: &mut State| !state.has_ended && state.writes == before;
            let wait = self.shared.printed.wait_while_for(&mut state, no_progress, patience);
            if wait.timed_out() && no_progress(&mut state) {
                log::warn!(
                    "standard output is blocked; the lines that it did not take are in the results \
                     file"
                );
                return false;
            }
        }
        !state.is_broken
    }
}

impl Output for PrinterOutput {
    fn deliver(&mut self, delivery: &Delivery) {
        match delivery {
            Delivery::Delivered(page, _) => self.pages.push(ToPrint::Values(page.clone())),
            // For the results file.
            Delivery::Decided(_) | Delivery::Begins(_) => {}
            Delivery::Assembled(value) => self.pages.push(ToPrint::Long(value.clone())),
            Delivery::Passed(watermark) if self.follows_positions => {
                self.pages.push(ToPrint::Passed(*watermark));
            }
            Delivery::Checkpoint(checkpoint) if self.follows_positions => {
                self.pages.push(ToPrint::Checkpoint(Arc::clone(checkpoint)));
            }
            Delivery::Restored(checkpoint) => {
                self.pages.push(ToPrint::Restored(Arc::clone(checkpoint)));
            }
            Delivery::Passed(_)
            | Delivery::Checkpoint(_)
            | Delivery::Readable(_)
            | Delivery::Unreadable(_) => {}
        }
    }

    /// Hands what the turn delivered to the thread. Never waits for it, and never fails.
    fn flush(&mut self) -> io::Result<()> {
        if self.pages.is_empty() {
            return Ok(());
        }
        let mut state = self.shared.state.lock();
        if state.is_broken {
            self.pages.clear();
            return Ok(());
        }
        state.backlog.extend(self.pages.drain(..));
        drop(state);
        self.shared.to_print.notify_one();
        Ok(())
    }

    fn finish(&mut self) {
        self.pages.push(ToPrint::End);
        // It never fails.
        let _ = self.flush();
    }
}

/// The thread that makes lines: takes pages out of the backlog, until there will be no more, or
/// nobody takes the lines. It holds those of one write, and one page.
fn print_all<O: Write>(mut form: Form, outlet: &Outlet<O>, has_room: impl Fn(&O) -> bool) {
    let Outlet { shared, .. } = outlet;
    let mut lines = Vec::new();
    let mut pages = Vec::new();
    loop {
        let mut state = shared.state.lock();
        shared
            .to_print
            .wait_while(&mut state, |state| state.backlog.is_empty() && !state.is_closing);
        if state.backlog.is_empty() {
            return;
        }
        let count = state.backlog.len().min(PAGES_AT_A_TIME);
        pages.extend(state.backlog.drain(..count));
        let is_more = !state.backlog.is_empty();
        drop(state);
        for page in pages.drain(..) {
            match page {
                ToPrint::Values(page) => form.page(&page, &mut lines),
                ToPrint::Passed(watermark) => form.passed(watermark, &mut lines),
                ToPrint::Checkpoint(checkpoint) => form.checkpoint(&checkpoint),
                ToPrint::Restored(checkpoint) => form.restore(&checkpoint),
                ToPrint::End => form.end(&mut lines),
                ToPrint::Long(value) => {
                    if !form.long(&value, &mut lines) {
                        continue;
                    }
                    for piece in value.pieces().chain([&b"\n"[..]]) {
                        lines.extend_from_slice(piece);
                        if lines.len() >= WRITE_BYTES && !outlet.leave(&mut lines) {
                            return;
                        }
                    }
                }
            }
            if lines.len() >= WRITE_BYTES && !outlet.leave(&mut lines) {
                return;
            }
        }
        if is_more {
            continue;
        }
        if outlet.writes_at_once(&lines, &has_room) {
            lines.clear();
        } else if !outlet.leave(&mut lines) {
            return;
        }
    }
}

/// Where both threads leave lines.
struct Outlet<O> {
    shared: Arc<Shared>,
    spool: Spool,
    /// None once a digest goes on without its reader, for it may be kept.
    output: Mutex<Option<O>>,
    goes_on: bool,
}

impl<O: Write> Outlet<O> {
    /// Leaves `lines` to the thread that writes, and empties them. Returns whether it takes any.
    fn leave(&self, lines: &mut Vec<u8>) -> bool {
        let are_taken = self.spool.put(lines);
        lines.clear();
        if lines.capacity() > KEPT_BYTES {
            *lines = Vec::new();
        }
        are_taken
    }

    /// Writes `lines` if they are few, none are before them, and the reader keeps up. Returns
    /// whether they are written.
    fn writes_at_once(&self, lines: &[u8], has_room: impl Fn(&O) -> bool) -> bool {
        // The other thread has no work, and will get none: this one alone makes it.
        if lines.is_empty() || lines.len() > AT_ONCE_BYTES || !self.spool.is_done() {
            return false;
        }
        let mut output = self.output.lock();
        let Some(open) = output.as_mut().filter(|open| has_room(open)) else { return false };
        // What fails here fails for the other thread as well, which says so.
        let is_written = open.write_all(lines).and_then(|()| open.flush()).is_ok();
        if is_written {
            self.shared.note_write();
        }
        is_written
    }

    /// The thread that writes, until nothing more comes or can be written.
    fn write_all(&self) {
        if self.write_what_waits().is_err() {
            self.spool.abandon();
            let mut state = self.shared.state.lock();
            state.is_broken = true;
            state.backlog = VecDeque::new();
        }
        self.shared.state.lock().has_ended = true;
        self.shared.printed.notify_all();
    }

    fn write_what_waits(&self) -> io::Result<()> {
        loop {
            match self.write_next() {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(_) if self.goes_on => *self.output.lock() = None,
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes what comes next, if anything does. Logs why not.
    fn write_next(&self) -> io::Result<bool> {
        let taken = self.spool.take().inspect_err(say_unread)?;
        let Some((lines, is_last)) = taken else { return Ok(false) };
        if let Some(open) = &mut *self.output.lock() {
            let written = open.write_all(&lines);
            let written = written.and_then(|()| if is_last { open.flush() } else { Ok(()) });
            written.inspect_err(say_gone)?;
            self.shared.note_write();
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;

    use super::super::spool::tests::spoil;
    use super::*;
    use crate::protocol::entries::Entries;
    use crate::protocol::types::{AssignedBy, Instance, LogTime, Number, Origin, Session};
    use crate::results::form::Printed;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// An output whose every write waits until it is told what to do.
    struct Gate {
        orders: mpsc::Receiver<io::Result<()>>,
        written: mpsc::Sender<Vec<u8>>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.orders.recv().unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))?;
            self.written.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Where what finds no room waits.
    fn somewhere() -> &'static Path {
        Path::new("/tmp")
    }

    fn gate() -> (Gate, mpsc::Sender<io::Result<()>>, mpsc::Receiver<Vec<u8>>) {
        let (order, orders) = mpsc::channel();
        let (written, seen) = mpsc::channel();
        (Gate { orders, written }, order, seen)
    }

    fn deliver(output: &mut impl Output, value: &[u8]) {
        let session = Session { client: 1, boot: 1 };
        let origin = Origin::new(session, Number::FIRST, AssignedBy::Client);
        let page = Page { from: Instance::FIRST, entries: Entries::numbered(origin, [value]) };
        output.deliver(&Delivery::Delivered(page.clone(), LogTime::NONE));
        output.deliver(&Delivery::Decided(page));
        output.flush().unwrap();
    }

    #[test]
    fn only_what_has_no_reader_is_written_by_the_loop_itself() {
        let (_reader, pipe) = io::pipe().unwrap();
        let zero = File::open("/dev/zero").unwrap();
        assert!(FileOutput::file_of(&pipe).is_none());
        assert!(FileOutput::file_of(zero).is_none());
        let null = File::options().write(true).open("/dev/null").unwrap();
        assert!(FileOutput::file_of(&null).is_some());

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("printed");
        let mut output = FileOutput::new(File::create(&path).unwrap(), Form::new(Printed::Values));
        for value in [&b"a"[..], b"\0\r"] {
            deliver(&mut output, value);
        }
        assert_eq!(fs::read(&path).unwrap(), b"a\n\0\r\n");
        // A file that takes nothing more is logged once, and nothing fails.
        let mut output = FileOutput::new(File::open(&path).unwrap(), Form::new(Printed::Values));
        deliver(&mut output, b"b");
        assert!(output.file.is_none() && output.lines.is_empty());
        deliver(&mut output, b"c");
    }

    #[test]
    fn values_come_out_in_order_one_a_line_and_once() {
        let (gate, order, seen) = gate();
        for _ in 0..3 {
            order.send(Ok(())).unwrap();
        }
        let (printer, mut output) =
            Printer::spawn(gate, |_| false, Form::new(Printed::Values), somewhere()).unwrap();
        for value in [&b"a"[..], b"", b"\0\r"] {
            deliver(&mut output, value);
        }
        assert!(printer.finish(PATIENCE));
        assert_eq!(seen.iter().collect::<Vec<_>>().concat(), b"a\n\n\0\r\n");
    }

    /// With a thread and without.
    #[test]
    fn a_digest_is_printed_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("printed");
        let mut file = FileOutput::new(File::create(&path).unwrap(), Form::new(Printed::Digest));
        let (gate, order, seen) = gate();
        order.send(Ok(())).unwrap();
        let (printer, mut output) =
            Printer::spawn(gate, |_| false, Form::new(Printed::Digest), somewhere()).unwrap();
        deliver(&mut file, b"value");
        deliver(&mut output, b"value");
        assert_eq!(fs::read(&path).unwrap(), b"");
        file.finish();
        output.finish();
        assert!(printer.finish(PATIENCE));
        let written = fs::read(&path).unwrap();
        assert!(written.starts_with(b"1 ") && written.len() == 67);
        assert_eq!(seen.iter().collect::<Vec<_>>().concat(), written);
    }

    /// Nobody reads for the time of a thousand turns; then everything arrives.
    #[test]
    fn a_blocked_standard_output_blocks_nobody() {
        let (gate, order, seen) = gate();
        let (printer, mut output) =
            Printer::spawn(gate, |_| false, Form::new(Printed::Values), somewhere()).unwrap();
        for _ in 0..1000 {
            deliver(&mut output, b"value");
        }
        assert!(seen.try_recv().is_err());
        (0..1000).for_each(|_| order.send(Ok(())).unwrap());
        assert!(printer.finish(PATIENCE));
        assert_eq!(seen.iter().collect::<Vec<_>>().concat(), b"value\n".repeat(1000));
    }

    /// Few lines are written at once while the reader keeps up, many never, and each in its place.
    #[test]
    fn whoever_writes_the_order_stays() {
        let keeps_up = Arc::new(AtomicBool::new(true));
        let (now, (gate, order, seen)) = (Arc::clone(&keeps_up), gate());
        let has_room = move |_: &Gate| now.load(Ordering::Relaxed);
        let form = Form::new(Printed::Values);
        let (printer, mut output) = Printer::spawn(gate, has_room, form, somewhere()).unwrap();
        let mut expected = Vec::new();
        for round in 0..200 {
            keeps_up.store(round % 3 != 0, Ordering::Relaxed);
            let value = format!("{round}").repeat(if round % 5 == 0 { 3000 } else { 1 });
            deliver(&mut output, value.as_bytes());
            expected.extend_from_slice(format!("{value}\n").as_bytes());
            // A reader that is now ahead of the printer, now behind.
            if round % 7 != 0 {
                order.send(Ok(())).unwrap();
            }
        }
        (0..200).for_each(|_| order.send(Ok(())).unwrap());
        assert!(printer.finish(PATIENCE));
        assert!(seen.iter().collect::<Vec<_>>().concat() == expected);
    }

    #[test]
    fn the_end_does_not_wait_for_a_blocked_reader() {
        let (gate, order, seen) = gate();
        let (printer, mut output) =
            Printer::spawn(gate, |_| false, Form::new(Printed::Values), somewhere()).unwrap();
        deliver(&mut output, b"value");
        assert!(!printer.finish(Duration::from_millis(20)));
        assert!(seen.try_recv().is_err());
        drop(order);
    }

    #[test]
    fn after_a_broken_pipe_nothing_is_kept() {
        let (gate, order, _seen) = gate();
        let (printer, mut output) =
            Printer::spawn(gate, |_| false, Form::new(Printed::Values), somewhere()).unwrap();
        deliver(&mut output, b"value");
        order.send(Err(io::ErrorKind::BrokenPipe.into())).unwrap();
        let mut state = printer.shared.state.lock();
        let timed_out = printer
            .shared
            .printed
            .wait_while_for(&mut state, |state| !state.has_ended, PATIENCE)
            .timed_out();
        assert!(!timed_out && state.is_broken);
        drop(state);
        deliver(&mut output, b"value");
        assert!(printer.shared.state.lock().backlog.is_empty());
        assert!(!printer.finish(PATIENCE));
    }

    /// What waits in the file is lost, and nothing behind it is printed as if it were not.
    #[test]
    fn after_what_cannot_be_read_back_nothing_is_printed() {
        for printed in [Printed::Values, Printed::Digest] {
            let goes_on = printed == Printed::Digest;
            let folder = tempfile::tempdir().unwrap();
            let (shared, spool) = (Arc::default(), Spool::new(folder.path()));
            let outlet = Outlet { shared, spool, output: Mutex::new(Some(Vec::new())), goes_on };
            let mut in_memory = 0;
            outlet.leave(&mut vec![b'a'; WRITE_BYTES]);
            while !spoil(&outlet.spool) {
                in_memory += WRITE_BYTES;
                outlet.leave(&mut vec![b'a'; WRITE_BYTES]);
            }
            outlet.spool.close();
            outlet.write_all();
            let state = outlet.shared.state.lock();
            assert_eq!((state.is_broken, state.has_ended), (!goes_on, true));
            drop(state);
            let printed = outlet.output.lock().as_ref().map(Vec::len);
            assert_eq!(printed, (!goes_on).then_some(in_memory));
            assert!(!outlet.writes_at_once(b"more", |_| true));
        }
    }
}
