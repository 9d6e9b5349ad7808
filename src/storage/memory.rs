//! The store of an acceptor that is not durable. It keeps nothing.
//!
//! The acceptor's state is in memory alone, and ends with the process. An acceptor that is
//! restarted without its records may contradict its earlier promises, so a cluster without durable
//! acceptors is safe only while each of them stays dead once it has died.

use std::io;

use super::AcceptorStore;
use crate::protocol::actor::Record;

/// Keeps nothing, and never fails. Also used by the roles that store nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryStore;

impl AcceptorStore for MemoryStore {
    fn append(&mut self, _record: &Record) -> io::Result<()> {
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
