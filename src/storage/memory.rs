//! The store of an acceptor that is not durable. It keeps nothing.
//!
//! The acceptor's own state is the memory, and it ends with the process. An acceptor that was
//! started again without its records may contradict what it promised before, so a cluster without
//! durable acceptors is safe only while each of them stays dead once it died.

use std::io;

use super::AcceptorStore;
use crate::protocol::actor::Record;

/// Keeps nothing, and never fails. Also for the roles that have nothing to keep.
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
