//! For which role a thread works, where a process has several.

use std::cell::Cell;

use crate::protocol::types::NodeId;

thread_local! {
    static SPEAKER: Cell<Option<NodeId>> = const { Cell::new(None) };
}

/// From now on, what this thread logs is said by `node`.
pub fn speak_as(node: NodeId) {
    SPEAKER.set(Some(node));
}

/// The node for which this thread logs.
pub(super) fn speaker() -> Option<NodeId> {
    SPEAKER.get()
}
