//! Standard input, output and error as other programs leave them.
//!
//! A terminal's descriptor is shared by every program that has it, and so is its non-blocking mode:
//! ssh, node.js and others set it and leave it set. A read or a write that would have to wait then
//! fails instead. A read or a write through [`Patient`] waits, as on any other descriptor.

use std::io::{self, Read, Stderr, Stdin, Stdout, Write};
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, fstat};

/// After a descriptor that was called ready and was not, so that it does not burn a core.
const PAUSE: Duration = Duration::from_millis(1);

/// A descriptor that is waited for, in either mode.
#[derive(Debug)]
pub struct Patient<F>(F);

/// Standard input.
pub fn stdin() -> Patient<Stdin> {
    Patient(io::stdin())
}

/// Standard output.
pub fn stdout() -> Patient<Stdout> {
    Patient(io::stdout())
}

/// Standard error.
pub fn stderr() -> Patient<Stderr> {
    Patient(io::stderr())
}

/// Whether this is a pipe.
pub fn is_pipe(file: &impl AsFd) -> bool {
    fstat(file).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_fifo())
}

/// Whether a pipe has a reader, and room for 4096 bytes (`PIPE_BUF`).
pub fn has_room(pipe: &impl AsFd) -> bool {
    let mut polled = [PollFd::new(pipe, PollFlags::OUT)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut polled, Some(&at_once)).is_ok() && polled[0].revents() == PollFlags::OUT
}

impl<F: AsFd> Patient<F> {
    /// Waits with `file`.
    pub fn new(file: F) -> Self {
        Patient(file)
    }

    /// Does `step`, and waits for `what` as often as it must.
    fn patiently<T>(
        &mut self,
        what: PollFlags,
        mut step: impl FnMut(&mut F) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut has_waited = false;
        loop {
            match step(&mut self.0) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
            if has_waited {
                thread::sleep(PAUSE);
            }
            match poll(&mut [PollFd::new(&self.0, what)], None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => has_waited = true,
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl<F: AsFd> AsFd for Patient<F> {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl<F: AsFd + Read> Read for Patient<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.patiently(PollFlags::IN, |file| file.read(buffer))
    }
}

impl<F: AsFd + Write> Write for Patient<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.patiently(PollFlags::OUT, |file| file.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.patiently(PollFlags::OUT, F::flush)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    /// A descriptor of either end that does not block.
    fn pair() -> (UnixStream, UnixStream) {
        let (one, other) = UnixStream::pair().unwrap();
        one.set_nonblocking(true).unwrap();
        (one, other)
    }

    #[test]
    fn a_pipe_has_room_until_it_is_full_or_its_reader_is_gone() {
        let (reader, mut writer) = io::pipe().unwrap();
        assert!(is_pipe(&writer) && !is_pipe(&pair().0));
        while has_room(&writer) {
            writer.write_all(&[0; 4096]).unwrap();
        }
        io::Read::read_exact(&mut &reader, &mut [0; 4096]).unwrap();
        assert!(has_room(&writer));
        drop(reader);
        assert!(!has_room(&writer));
    }

    #[test]
    fn a_reader_waits_for_its_writer() {
        let (reader, mut writer) = pair();
        let thread = thread::spawn(move || {
            let mut text = String::new();
            Patient::new(reader).read_to_string(&mut text).unwrap();
            text
        });
        for line in ["first\n", "second\n"] {
            thread::sleep(Duration::from_millis(20));
            writer.write_all(line.as_bytes()).unwrap();
        }
        drop(writer);
        assert_eq!(thread.join().unwrap(), "first\nsecond\n");
    }

    #[test]
    fn a_writer_waits_for_its_reader_and_loses_nothing() {
        let (writer, mut reader) = pair();
        // More than any socket's buffer.
        let bytes: Vec<u8> = (0..4_000_000_u32).map(|number| number as u8).collect();
        let written = bytes.clone();
        let thread = thread::spawn(move || {
            let mut writer = Patient::new(writer);
            writer.write_all(&written).and_then(|()| writer.flush())
        });
        thread::sleep(Duration::from_millis(20));
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        thread.join().unwrap().unwrap();
        assert!(read == bytes);
    }

    #[test]
    fn an_end_that_is_gone_is_no_reason_to_wait() {
        let (mut writer, reader) = pair();
        while writer.write(&[0; 4096]).is_ok() {}
        drop(reader);
        let error = Patient::new(writer).write(b"x").unwrap_err();
        let gone = [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset];
        assert!(gone.contains(&error.kind()), "{error}");
    }
}
