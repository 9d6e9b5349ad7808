//! Every connection is an open file, and the system limits their number.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many files are open beside connections, at most.
const OTHERS: u64 = 128;

/// Raises the limit of open files for this many connections, as far as the system allows. Returns
/// how many there is room for.
pub fn room_for(connections: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let wanted = connections as u64 + OTHERS;
    let most = limit.maximum.unwrap_or(u64::MAX);
    let raised = Rlimit { current: Some(wanted.min(most)), maximum: limit.maximum };
    let mut allowed = limit.current.unwrap_or(u64::MAX);
    if allowed < wanted && setrlimit(Resource::Nofile, raised).is_ok() {
        allowed = wanted.min(most);
    }
    if allowed >= wanted {
        return connections;
    }
    let room = allowed.saturating_sub(OTHERS).max(1);
    log::warn!(
        "there is room for {room} clients and not for {connections}, because {allowed} files may \
         be open: raise that with `ulimit -Hn`, or lower --maxclients"
    );
    usize::try_from(room).unwrap_or(connections)
}
