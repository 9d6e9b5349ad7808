//! How many datagrams did the kernel drop at each socket? Its tables in /proc say.
//!
//! A table has a line for every socket of the host, so it is read once for all sockets of a
//! process: a thousand measuring clients in one process would otherwise each read the lines of all.

use std::collections::BTreeMap;
use std::fs;
use std::sync::LazyLock;
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock;

/// How old an answer may be.
const FRESH: Duration = Duration::from_millis(250);

/// The tables as last read.
static TABLES: LazyLock<Mutex<Option<Tables>>> = LazyLock::new(|| Mutex::new(None));

struct Tables {
    /// When they were read, by the host's clock.
    read: Duration,
    /// How many datagrams were dropped, by the number of the socket.
    drops: BTreeMap<u64, u64>,
}

/// How many datagrams were dropped at the socket with this inode, up to a moment ago.
pub(super) fn of(inode: u64) -> u64 {
    let now = clock::of_host();
    let mut tables = TABLES.lock();
    let is_fresh = |tables: &Tables| now.saturating_sub(tables.read) < FRESH;
    if !tables.as_ref().is_some_and(is_fresh) {
        let drops = ["/proc/net/udp", "/proc/net/udp6"]
            .iter()
            .flat_map(|table| parse(&fs::read_to_string(table).unwrap_or_default()))
            .collect();
        *tables = Some(Tables { read: now, drops });
    }
    tables.as_ref().and_then(|tables| tables.drops.get(&inode).copied()).unwrap_or(0)
}

/// The inode and the drops of each line: the tenth column and the last.
fn parse(table: &str) -> BTreeMap<u64, u64> {
    let line = |line: &str| {
        let mut columns = line.split_ascii_whitespace();
        Some((columns.nth(9)?.parse().ok()?, columns.last()?.parse().ok()?))
    };
    table.lines().skip(1).filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_by_its_columns() {
        let table =
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   \
                     uid  timeout inode ref pointer drops
 1134: 010000EF:1388 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 71 2 \
 ffff 12
 1135: 010000EF:1389 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 72 2 \
 ffff 0
 garbage";
        assert_eq!(parse(table), BTreeMap::from([(71, 12), (72, 0)]));
    }
}
