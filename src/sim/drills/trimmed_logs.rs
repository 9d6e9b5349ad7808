//! Logs that are trimmed, on disks whose process or machine dies anywhere, that others fill, and
//! that break.

use super::Wrong;
use crate::protocol::actor::Record;
use crate::protocol::parts::Acceptor;
use crate::protocol::settings::Settings;
use crate::protocol::types::{Ballot, Counted, Entry};
use crate::rng::Rng;
use crate::sim::disk::SimDisk;
use crate::storage::AcceptorStore;
use crate::storage::disk::is_full;
use crate::storage::error::LogError;
use crate::storage::identity::Identity;
use crate::storage::log::{Log, LogOptions};

/// How many disks there are, how often the process of each starts, and after how many flushes each
/// life ends, if nothing ends it before.
const SEEDS: u64 = 150;
const LIVES: u64 = 6;
const FLUSHES: u64 = 20;

/// After every death an acceptor has the same promise and trim point, and the same votes from there
/// on. Entries that nobody needs are gone.
pub(super) fn logs() -> Wrong {
    let removed = (1..=SEEDS).try_fold(0, |removed, seed| match lives(seed) {
        Ok(more) => Ok(removed + more),
        Err(wrong) => Err(format!("seed {seed}: {wrong}")),
    });
    match removed {
        Ok(removed) if removed < 10 * SEEDS => Some(format!("only {removed} segments are removed")),
        Ok(_) => None,
        Err(wrong) => Some(wrong),
    }
}

/// An acceptor's log, and the acceptor that its records make.
type Opened = (Log<SimDisk>, Acceptor);

fn open(disk: &SimDisk, segment_bytes: u64) -> Result<Opened, LogError> {
    let cluster = "drill".to_owned();
    let (incarnation, token) = (7, 0x7172_6973_746f_7265);
    let mine = Identity { cluster, acceptor: 1, acceptor_count: 3, incarnation, token };
    let mut acceptor = Acceptor::new(1, incarnation, Settings::default());
    let options = LogOptions { segment_bytes, ..LogOptions::DEFAULT };
    let opening = Log::open(disk.clone(), &mine, options)?;
    let (log, _) = opening.recover(|record| acceptor.restore(record))?;
    Ok((log, acceptor))
}

/// The lives of one acceptor. Returns how many segments were removed.
fn lives(seed: u64) -> Result<u64, String> {
    let (disk, mut rng) = (SimDisk::new(), Rng::new(seed));
    let segment_bytes = 1 << (5 + rng.below(5));
    let mut stored = Acceptor::new(1, 7, Settings::default());
    // With the frame that was written last, though it may not have been stable.
    let mut tried = stored.clone();
    for life in 1..=LIVES {
        disk.kill_after(Some(rng.below(80)));
        // It may die while it starts; then it starts once more.
        let opened = open(&disk, segment_bytes).or_else(|_| {
            dies(&disk, &mut rng);
            open(&disk, segment_bytes)
        });
        let (mut log, found) = opened.map_err(|error| format!("life {life}: {error}"))?;
        if !found.remembers_as(&stored) && !found.remembers_as(&tried) {
            return Err(format!("life {life} begins with {found:?}, not with {stored:?}"));
        }
        (stored, tried) = (found.clone(), found);
        let mut lacks_room = false;
        for _ in 0..FLUSHES {
            let records = draw(&tried, &mut rng);
            records.iter().for_each(|record| tried.restore(record.clone()));
            disturb(&disk, &mut rng);
            // A sync that is not tried does not fail.
            let is_broken = !lacks_room && rng.chance(0.01);
            if is_broken {
                disk.limit(None);
                disk.set_broken(true);
            }
            let appended = records.iter().try_for_each(|record| log.append(record));
            match appended.and_then(|()| log.flush()) {
                Ok(()) => (stored, lacks_room) = (tried.clone(), false),
                Err(error) if is_full(&error) && is_broken => {
                    return Err(format!("life {life}: a sync has failed, and it goes on"));
                }
                // Nothing is answered, and it goes on with what is there.
                Err(error) if is_full(&error) => lacks_room = true,
                Err(_) => break,
            }
            if log.reclaim().is_err() {
                break;
            }
        }
        if rng.chance(0.3) {
            // Even if that fails.
            let _ = log.close();
        }
        dies(&disk, &mut rng);
    }
    expect_little(&disk, segment_bytes, &stored)
}

/// Others fill the disk, but for a little, or make room on it.
fn disturb(disk: &SimDisk, rng: &mut Rng) {
    if rng.chance(0.2) {
        let left = rng.below(300) as usize;
        disk.limit(Some(disk.used() + left));
    } else if rng.chance(0.4) {
        disk.limit(None);
    }
}

/// The process dies, and perhaps the machine with it. A summary rots, as any file may; only its own
/// checksum can show that.
fn dies(disk: &SimDisk, rng: &mut Rng) {
    disk.kill_after(None);
    disk.limit(None);
    disk.set_broken(false);
    if rng.chance(0.5) {
        disk.crash(rng);
    }
    let mut names = disk.names();
    names.retain(|name| name.starts_with("index-") && !disk.content(name).is_empty());
    if let Some(name) = names.get(rng.below(1 + names.len() as u64) as usize) {
        let bit = rng.below(8 * disk.content(name).len() as u64) as usize;
        disk.tamper(name, |content| content[bit / 8] ^= 1 << (bit % 8));
    }
}

/// The records of one turn of an acceptor.
fn draw(acceptor: &Acceptor, rng: &mut Rng) -> Vec<Record> {
    let (mut promised, mut trimmed) = (acceptor.promised(), acceptor.trimmed());
    let mut forgotten = acceptor.forgotten();
    let mut records = Vec::new();
    for _ in 0..=rng.below(3) {
        if rng.chance(0.2) {
            promised = Ballot { round: promised.round + 1 + rng.below(3), proposer: 1, boot: 1 };
            records.push(Record::Promised(promised));
        }
        if rng.chance(0.3) {
            let from = forgotten.plus(rng.below(12));
            let entries = vec![Entry::Noop; 1 + rng.below(4) as usize].into();
            records.push(Record::Accepted { ballot: promised, from, entries });
        }
        if records.is_empty() || rng.chance(0.4) {
            trimmed = trimmed.plus(1 + rng.below(6));
            forgotten = forgotten.max(trimmed);
            records.push(Record::Trimmed(trimmed));
        }
        if rng.chance(0.3) {
            forgotten = forgotten.plus(1 + rng.below(12));
            records.push(Record::Forgotten(forgotten));
        }
    }
    records
}

/// Once everything is trimmed, nothing but the last segment is left, and a name of no other file.
fn expect_little(disk: &SimDisk, segment_bytes: u64, stored: &Acceptor) -> Result<u64, String> {
    let fails = |error: std::io::Error| error.to_string();
    let (mut log, _) = open(disk, segment_bytes).map_err(|error| error.to_string())?;
    let all = stored.trimmed().plus(1000);
    // The first frame may make a segment full; the second is in a new one.
    for below in [all, all.next()] {
        log.append(&Record::Trimmed(below)).map_err(fails)?;
        log.flush().map_err(fails)?;
    }
    for _ in 0..disk.names().len() {
        log.reclaim().map_err(fails)?;
    }
    let names = disk.names();
    let segments: Vec<_> = names.iter().filter_map(|name| name.strip_prefix("log-")).collect();
    match segments[..] {
        [last] if names.len() == 3 => Ok(last.parse::<u64>().unwrap_or(0) - 1),
        _ => Err(format!("{names:?} are left")),
    }
}
