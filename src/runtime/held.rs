//! A directory that one process holds: an acceptor's data, or a learner's snapshots.

use std::io;
use std::path::Path;

use super::start_error::{StartError, StartErrorKind};
use crate::protocol::types::NodeId;
use crate::storage::directory::Directory;

/// Opens the directory of `node` at `path`, in which it keeps its `content`. No other process can
/// use it meanwhile.
///
/// # Errors
///
/// When another process holds it, which may be ending, or when it cannot be used.
pub(super) fn open(path: &Path, node: NodeId, content: &str) -> Result<Directory, StartError> {
    Directory::open(path).map_err(|error| {
        let (path, NodeId { role, id }) = (path.display(), node);
        if error.kind() == io::ErrorKind::ResourceBusy {
            let what = format!("{path} is in use: another process runs as {role} {id}");
            StartError::passing(StartErrorKind::Data, what)
        } else {
            let what = format!("{path}: cannot keep {content} there: {error}");
            StartError::new(StartErrorKind::Data, what)
        }
    })
}
