//! Where the values go that a role delivers.

use std::io;

use crate::protocol::actor::Delivery;

/// Where delivered values go.
pub trait Output: Send {
    /// Takes one delivery. Cheap; what can fail waits for [`Output::flush`].
    fn deliver(&mut self, delivery: &Delivery);

    /// Hands on what was taken since the last flush. Called once a turn that delivered.
    ///
    /// # Errors
    ///
    /// When the values cannot be kept; the process ends then.
    fn flush(&mut self) -> io::Result<()>;
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

/// Two outputs, each told everything.
impl<A: Output, B: Output> Output for (A, B) {
    fn deliver(&mut self, delivery: &Delivery) {
        self.0.deliver(delivery);
        self.1.deliver(delivery);
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()?;
        self.1.flush()
    }
}
