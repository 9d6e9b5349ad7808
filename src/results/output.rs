//! Where the values go that a role delivers.

use std::io::{self, IoSlice, Write};

use crate::protocol::actor::Delivery;
use crate::protocol::assembly::Assembled;

/// How many pieces one system call writes, at most: as many as Linux takes.
const PIECES_AT_A_TIME: usize = 1024;

/// Where delivered values go.
pub trait Output: Send {
    /// Takes one delivery. Cheap; what can fail waits for [`Output::flush`].
    fn deliver(&mut self, delivery: &Delivery);

    /// Passes on everything taken since the last flush. Called once a turn that delivered.
    ///
    /// # Errors
    ///
    /// When the values cannot be kept; the process ends then.
    fn flush(&mut self) -> io::Result<()>;

    /// Nothing more will be delivered: the role has ended in order.
    fn finish(&mut self) {}
}

/// Writes the bytes of `value`, from where they lie, and the end of a line.
///
/// # Errors
///
/// As `output` has them.
pub fn write_line(output: &mut impl Write, value: &Assembled) -> io::Result<()> {
    let mut pieces = Vec::with_capacity(PIECES_AT_A_TIME);
    for piece in value.pieces().chain([&b"\n"[..]]) {
        pieces.push(IoSlice::new(piece));
        if pieces.len() == PIECES_AT_A_TIME {
            write_all(output, &mut pieces)?;
        }
    }
    write_all(output, &mut pieces)
}

/// Writes `pieces`, and leaves them empty.
fn write_all(output: &mut impl Write, pieces: &mut Vec<IoSlice<'_>>) -> io::Result<()> {
    let mut rest = pieces.as_mut_slice();
    while !rest.is_empty() {
        match output.write_vectored(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut rest, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    pieces.clear();
    Ok(())
}

/// The output of roles that deliver nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoOutput;

impl Output for NoOutput {
    fn deliver(&mut self, _delivery: &Delivery) {}

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An output, or none.
impl<O: Output> Output for Option<O> {
    fn deliver(&mut self, delivery: &Delivery) {
        if let Some(output) = self {
            output.deliver(delivery);
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.as_mut().map_or(Ok(()), Output::flush)
    }
}

/// Two outputs, each of which gets everything.
impl<A: Output, B: Output> Output for (A, B) {
    fn deliver(&mut self, delivery: &Delivery) {
        self.0.deliver(delivery);
        self.1.deliver(delivery);
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()?;
        self.1.flush()
    }

    fn finish(&mut self) {
        self.0.finish();
        self.1.finish();
    }
}
