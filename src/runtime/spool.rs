//! What a reader of standard output has not taken yet: a little in memory, the rest in a file.
//!
//! A reader may stand still for hours while the cluster goes on. Output that it has not taken is
//! neither dropped, for the order would break, nor held in memory, which is bounded. So beyond a
//! few MiB it goes to a file that has no name: it vanishes with the process, and takes no room once
//! the reader has caught up.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;

use parking_lot::{Condvar, Mutex, MutexGuard};
use rustix::fs::{FallocateFlags, Mode, OFlags, fallocate, open};

/// The most bytes of one write: small enough to see the progress of a slow reader.
pub const WRITE_BYTES: usize = 64 * 1024;

/// How many bytes wait in memory, at most.
const MEMORY_BYTES: usize = 8 << 20;

/// The part of the file that was read gives its room back in steps of this many bytes.
const FREED_BYTES: u64 = 16 << 20;

/// Bytes on their way from one thread to another that may be blocked.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    most: usize,
    state: Mutex<State>,
    /// Something is there, or nothing more will be.
    arrived: Condvar,
    /// Something was taken, or nothing more will be.
    taken: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The beginning, in pieces of at most [`WRITE_BYTES`].
    pieces: VecDeque<Vec<u8>>,
    /// Their bytes.
    bytes: usize,
    /// What follows.
    file: Option<Spill>,
    /// Whether the other thread works on what it took last.
    is_held: bool,
    /// The file took nothing, which was logged.
    has_failed: bool,
    is_closed: bool,
    /// The other thread takes nothing any more.
    is_abandoned: bool,
}

/// A file of which the part from `read` to `written` waits.
#[derive(Debug)]
struct Spill {
    file: File,
    read: u64,
    written: u64,
    /// What lies below takes no room.
    freed: u64,
}

impl Spill {
    fn waiting(&self) -> u64 {
        self.written - self.read
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.written)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn take(&mut self) -> io::Result<Vec<u8>> {
        let count = usize::try_from(self.waiting()).unwrap_or(WRITE_BYTES).min(WRITE_BYTES);
        let mut bytes = vec![0; count];
        self.file.read_exact_at(&mut bytes, self.read)?;
        self.read += count as u64;
        if self.waiting() == 0 {
            self.file.set_len(0)?;
            (self.read, self.written, self.freed) = (0, 0, 0);
        } else if self.read - self.freed >= FREED_BYTES {
            // Where the file system cannot do that, the room is free once the reader has caught up.
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            let _ = fallocate(&self.file, flags, self.freed, self.read - self.freed);
            self.freed = self.read;
        }
        Ok(bytes)
    }
}

impl State {
    /// Whether bytes wait in the file, so that all that follow must wait there.
    fn is_spilling(&self) -> bool {
        self.file.as_ref().is_some_and(|spill| spill.waiting() > 0)
    }

    /// Whether nothing waits.
    fn is_empty(&self) -> bool {
        self.pieces.is_empty() && !self.is_spilling()
    }

    /// Takes out what comes next.
    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        if let Some(piece) = self.pieces.pop_front() {
            self.bytes -= piece.len();
            return Ok(Some(piece));
        }
        let spill = self.file.as_mut().filter(|spill| spill.waiting() > 0);
        spill.map(Spill::take).transpose()
    }
}

impl Spool {
    /// An empty one. Its file is on the file system of `folder`.
    pub fn new(folder: &Path) -> Self {
        Self::with_memory(folder, MEMORY_BYTES)
    }

    fn with_memory(folder: &Path, most: usize) -> Self {
        let (state, arrived, taken) = (Mutex::default(), Condvar::new(), Condvar::new());
        Spool { folder: folder.to_owned(), most, state, arrived, taken }
    }

    /// Adds `bytes`. Does not wait for the thread that takes them, unless the file takes nothing.
    /// Returns whether they will ever be taken.
    pub fn put(&self, bytes: &[u8]) -> bool {
        let mut state = self.state.lock();
        for piece in bytes.chunks(WRITE_BYTES) {
            while !state.is_abandoned && !self.add(&mut state, piece) {
                // The pieces before may be all that there is to take.
                self.arrived.notify_one();
                self.taken.wait(&mut state);
            }
        }
        self.arrived.notify_one();
        !state.is_abandoned
    }

    /// Adds a piece, if there is room.
    fn add(&self, state: &mut MutexGuard<'_, State>, piece: &[u8]) -> bool {
        if !state.is_spilling() && state.bytes + piece.len() <= self.most {
            state.bytes += piece.len();
            match state.pieces.back_mut() {
                Some(last) if last.len() + piece.len() <= WRITE_BYTES => {
                    last.extend_from_slice(piece);
                }
                Some(_) | None => state.pieces.push_back(piece.to_vec()),
            }
            return true;
        }
        let spilled = match &mut state.file {
            Some(spill) => spill.append(piece),
            None => unnamed(&self.folder).and_then(|file| {
                let spill = Spill { file, read: 0, written: 0, freed: 0 };
                state.file.insert(spill).append(piece)
            }),
        };
        let Err(error) = spilled else { return true };
        if !std::mem::replace(&mut state.has_failed, true) {
            log::warn!(
                "{}: lines that standard output does not take cannot be put there ({error}), and \
                 wait in memory",
                self.folder.display()
            );
        }
        false
    }

    /// Whether everything that was put here has been taken, and is done with.
    pub fn is_done(&self) -> bool {
        let state = self.state.lock();
        state.is_empty() && !state.is_held && !state.is_abandoned
    }

    /// Nothing more will be put here.
    pub fn close(&self) {
        self.state.lock().is_closed = true;
        self.arrived.notify_one();
    }

    /// Nothing more will be taken.
    pub fn abandon(&self) {
        let mut state = self.state.lock();
        *state = State { is_abandoned: true, is_closed: true, ..State::default() };
        self.taken.notify_one();
    }

    /// The next bytes, and whether they are the last for now; those before are done with. Waits for
    /// them; none if nothing more will come.
    ///
    /// # Errors
    ///
    /// When the file cannot be read. The bytes that waited in it are lost, and those that are put
    /// here from then on are not.
    pub fn take(&self) -> io::Result<Option<(Vec<u8>, bool)>> {
        let mut state = self.state.lock();
        state.is_held = false;
        loop {
            let next = state.next();
            if next.is_err() {
                state.file = None;
            }
            if let Some(piece) = next.transpose() {
                // Also of an error: until the next call nobody else knows of it.
                state.is_held = true;
                self.taken.notify_one();
                return piece.map(|piece| Some((piece, state.is_empty())));
            }
            if state.is_closed {
                return Ok(None);
            }
            self.arrived.wait(&mut state);
        }
    }
}

/// A file without a name on the file system of `folder`.
fn unnamed(folder: &Path) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    if let Ok(file) = open(folder, flags, Mode::RUSR | Mode::WUSR) {
        return Ok(file.into());
    }
    // Not every file system has such files.
    let path = folder.join(format!(".unprinted-{}", process::id()));
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::{Arc, mpsc};
    use std::thread;
    use std::time::Duration;

    use super::*;

    fn everything(spool: &Spool) -> Vec<u8> {
        spool.close();
        std::iter::from_fn(|| spool.take().unwrap()).flat_map(|(piece, _)| piece).collect()
    }

    fn numbered(count: u32) -> Vec<Vec<u8>> {
        (0..count).map(|number| format!("{number}\n").repeat(1000).into_bytes()).collect()
    }

    /// Far more than memory may hold arrives in order, and leaves nothing behind.
    #[test]
    fn what_finds_no_room_in_memory_waits_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::with_memory(folder.path(), 100_000);
        let all = numbered(500);
        for (number, bytes) in all.iter().enumerate() {
            assert!(spool.put(bytes));
            if number % 7 == 0 {
                let state = spool.state.lock();
                assert!(state.bytes <= 100_000);
                assert_eq!(state.bytes, state.pieces.iter().map(Vec::len).sum::<usize>());
            }
        }
        assert!(spool.state.lock().file.as_ref().unwrap().waiting() > 1_000_000);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "it has no name");
        assert!(everything(&spool) == all.concat());
        let state = spool.state.lock();
        assert_eq!(state.file.as_ref().unwrap().file.metadata().unwrap().len(), 0);
    }

    /// However fast one thread or the other is.
    #[test]
    fn the_order_stays_while_both_ends_move() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Arc::new(Spool::with_memory(folder.path(), 5000));
        let all = numbered(2000);
        let expected = all.concat();
        let taker = Arc::clone(&spool);
        let taken = thread::spawn(move || {
            let mut bytes = Vec::new();
            while let Some((piece, is_last)) = taker.take().unwrap() {
                bytes.extend_from_slice(&piece);
                if is_last || bytes.len() % 3 == 0 {
                    thread::yield_now();
                }
            }
            bytes
        });
        all.iter().for_each(|bytes| assert!(spool.put(bytes)));
        spool.close();
        assert!(taken.join().unwrap() == expected);
    }

    /// The part of the file that was read takes no room, while the rest waits.
    #[test]
    fn a_reader_that_is_always_late_fills_no_disk() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::with_memory(folder.path(), 0);
        let piece = [7; WRITE_BYTES];
        for _ in 0..3 * FREED_BYTES / WRITE_BYTES as u64 {
            spool.put(&piece);
        }
        let freed = |spool: &Spool| spool.state.lock().file.as_ref().unwrap().freed;
        assert_eq!(freed(&spool), 0);
        for _ in 0..FREED_BYTES / WRITE_BYTES as u64 {
            assert!(spool.take().unwrap().unwrap().0 == piece);
        }
        assert_eq!(freed(&spool), FREED_BYTES);
        assert_eq!(everything(&spool).len() as u64, 2 * FREED_BYTES);
    }

    /// Lets the file of a spool be one that cannot be read. Says whether it has one.
    pub fn spoil(spool: &Spool) -> bool {
        let null = OpenOptions::new().write(true).open("/dev/null").unwrap();
        let mut state = spool.state.lock();
        state.file.as_mut().map(|spill| spill.file = null).is_some()
    }

    #[test]
    fn a_file_that_cannot_be_read_takes_with_it_what_waited_there_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::with_memory(folder.path(), 10);
        [&b"in memory"[..], b"in the file", b"as well"].iter().for_each(|bytes| {
            assert!(spool.put(bytes));
        });
        assert!(spoil(&spool));
        assert_eq!(spool.take().unwrap().unwrap().0, b"in memory");
        assert!(spool.take().is_err());
        assert!(spool.put(b"later") && spool.put(b"much later"));
        assert_eq!(everything(&spool), b"latermuch later");
    }

    #[test]
    fn without_a_file_it_waits_for_room_in_memory() {
        let spool = Arc::new(Spool::with_memory(Path::new("/proc/nowhere"), 10));
        assert!(spool.put(b"0123456"));
        let putter = Arc::clone(&spool);
        let put = thread::spawn(move || putter.put(b"789abc"));
        assert_eq!(spool.take().unwrap().unwrap().0, b"0123456");
        assert!(put.join().unwrap());
        assert_eq!(everything(&spool), b"789abc");
        let putter = Arc::clone(&spool);
        assert!(spool.put(b"0123456"));
        let put = thread::spawn(move || putter.put(b"789abc"));
        spool.abandon();
        assert!(!put.join().unwrap(), "nobody will take it");
        assert!(!spool.put(b"more") && spool.state.lock().bytes == 0);
    }

    /// The thread that takes it hears of its beginning before there is room for its end.
    #[test]
    fn more_than_memory_holds_may_be_put_at_a_time() {
        let spool = Arc::new(Spool::with_memory(Path::new("/proc/nowhere"), WRITE_BYTES));
        let (taker, (report, taken)) = (Arc::clone(&spool), mpsc::channel());
        thread::spawn(move || {
            while let Some((piece, _)) = taker.take().unwrap() {
                report.send(piece.len()).unwrap();
            }
        });
        // By now it waits, or the test shows nothing.
        thread::sleep(Duration::from_millis(20));
        let putter = Arc::clone(&spool);
        thread::spawn(move || putter.put(&[7; 2 * WRITE_BYTES]));
        for _ in 0..2 {
            assert_eq!(taken.recv_timeout(Duration::from_secs(10)), Ok(WRITE_BYTES));
        }
        spool.close();
    }
}
