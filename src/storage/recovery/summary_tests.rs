//! Summaries of segments: a start that uses them recovers the same state as one that reads
//! everything.

use super::tests::expect_refusal;
use super::*;
use crate::protocol::acceptor::Acceptor;
use crate::protocol::recall::Reading;
use crate::protocol::settings::Settings;
use crate::protocol::types::{Ballot, Entry, NodeId, Role};
use crate::rng::Rng;
use crate::sim::disk::SimDisk;
use crate::storage::AcceptorStore;
use crate::storage::log::tests::{identity, open_with};
use crate::storage::summary::summary_name;

/// A segment takes a frame or two.
const TINY: LogOptions = LogOptions { segment_bytes: 120, ..LogOptions::DEFAULT };
const ALL: LogOptions = LogOptions { reads_all: true, ..TINY };

/// How many turns a run has.
const TURNS: u64 = 24;

fn ballot(round: u64) -> Ballot {
    Ballot { round, proposer: 1, boot: 1 }
}

/// What a turn stores: votes, and now and then that those of some turns before may be forgotten.
/// The third promises a ballot that no vote repeats; later votes are in it.
fn turn(turn: u64) -> Record {
    match turn {
        3 => Record::Promised(ballot(100)),
        16 => Record::Trimmed(Instance(30)),
        _ if turn.is_multiple_of(5) => Record::Forgotten(Instance(turn * 10 - 30)),
        _ => {
            let entries = vec![Entry::Noop; 15].into();
            let round = if turn < 3 { 1 } else { 100 };
            Record::Accepted { ballot: ballot(round), from: Instance(turn * 10), entries }
        }
    }
}

/// The acceptor that results from these records.
fn acceptor(records: impl IntoIterator<Item = Record>) -> Acceptor {
    let mut acceptor = Acceptor::new(2, 77, Settings::default());
    records.into_iter().for_each(|record| acceptor.restore(record));
    acceptor
}

fn open(disk: &SimDisk, options: LogOptions) -> (Log<SimDisk>, Acceptor, Recovered) {
    let opened = open_with(disk.clone(), &identity(), options);
    let (log, found, recovered) = opened.unwrap_or_else(|error| panic!("{error}"));
    (log, acceptor(found), recovered)
}

/// One run of an acceptor, from turn `first` on. Returns how many turns it could answer.
fn live(disk: &SimDisk, first: u64) -> u64 {
    let Ok((mut log, ..)) = open_with(disk.clone(), &identity(), TINY) else { return first - 1 };
    for number in first..=TURNS {
        let stored = log.append(&turn(number)).and_then(|()| log.flush());
        if stored.is_err() {
            return number - 1;
        }
        if log.reclaim().is_err() {
            return number;
        }
    }
    TURNS
}

/// A disk after a whole run.
fn lived() -> SimDisk {
    let disk = SimDisk::new();
    assert_eq!(live(&disk, 1), TURNS);
    disk
}

/// Checks that the acceptor comes back which answered this many turns, with and without summaries.
fn expect_all(disk: &SimDisk, answered: u64, when: &str) {
    let (_, found, _) = open(disk, TINY);
    let is_after = |turns| found.remembers_as(&acceptor((1..=turns).map(turn)));
    assert!(is_after(answered) || is_after(answered + 1), "{when}, {answered}: {found:?}");
    assert!(found.remembers_as(&open(disk, ALL).1), "{when}");
}

/// What is read back of every instance.
fn read_back(disk: &SimDisk) -> Vec<Option<Vec<(u64, Ballot)>>> {
    let (log, ..) = open(disk, TINY);
    let mut reader = log.vote_reader().unwrap().unwrap();
    let mut read = |instance: u64| {
        let (asker, again) = (NodeId::new(Role::Learner, 1), false);
        let run = Run::new(Instance(instance), Instance(instance + 1));
        let (known, trimmed, has_entries) = (run.until, Instance::FIRST, true);
        let found = reader.read(&Reading { asker, again, run, known, trimmed, has_entries }, 1000);
        let votes = |found: &crate::protocol::recall::Found| {
            found.votes.iter().map(|(instance, _, ballot)| (instance.0, *ballot)).collect()
        };
        found.ok().as_ref().map(votes)
    };
    (1..TURNS * 10 + 20).map(&mut read).collect()
}

/// The numbers of the segments of which there is a summary.
fn summarised(disk: &SimDisk) -> Vec<u64> {
    disk.names().iter().filter_map(|name| summary_number(name)).collect()
}

#[test]
fn a_start_reads_what_is_not_past_and_knows_where_the_rest_is() {
    let disk = lived();
    let (_, of_all, everything) = open(&disk, ALL);
    let all = read_back(&disk);
    let (_, found, recovered) = open(&disk, TINY);
    assert!(found.remembers_as(&of_all) && found.promised() == ballot(100));
    assert!(recovered.summarised >= 5, "{recovered:?}");
    assert!(recovered.records < everything.records / 2, "{recovered:?} of {everything:?}");
    // A directory of an earlier version has no summaries. After it was read once, it has them.
    let segments = summarised(&disk);
    segments.iter().for_each(|number| disk.take_away(&summary_name(*number)));
    assert_eq!(open(&disk, TINY).2.summarised, 0);
    assert_eq!(summarised(&disk), segments);
    assert_eq!(open(&disk, TINY).2, recovered);
    assert_eq!(read_back(&disk), all);
    assert!(
        all.iter().filter(|votes| votes.as_ref().is_some_and(|votes| votes.len() == 1)).count()
            > 150
    );
}

#[test]
fn summaries_go_with_their_segments() {
    let disk = lived();
    let (mut log, ..) = open(&disk, TINY);
    log.append(&Record::Trimmed(Instance(200))).unwrap();
    log.flush().unwrap();
    (0..TURNS).for_each(|_| log.reclaim().unwrap());
    drop(log);
    let mut names = disk.clone();
    let segments: Vec<u64> =
        names.list().unwrap().iter().filter_map(|name| segment_number(name)).collect();
    assert!(segments[0] > 5 && summarised(&disk).iter().all(|number| *number >= segments[0]));
    // One left behind by a process that was killed.
    disk.plant(&summary_name(2), b"of a segment that is gone");
    open(&disk, TINY);
    assert!(!summarised(&disk).contains(&2));
}

#[test]
fn killed_at_any_step_it_starts_again_with_all_it_needs() {
    let whole = lived();
    for step in 0..=whole.steps() {
        // Only the process is killed; or the machine with it, which may lose unsynced data.
        for seed in 0..=6 {
            let disk = SimDisk::new();
            disk.kill_after(Some(step));
            let answered = live(&disk, 1);
            disk.kill_after(None);
            if seed > 0 {
                disk.crash(&mut Rng::new(seed));
            }
            expect_all(&disk, answered, &format!("step {step}, seed {seed}"));
        }
    }
}

/// Some flipped bits of every summary, and summaries in each other's places: one that is not
/// exactly what was written is not used, and the segment is read.
#[test]
fn a_summary_that_is_not_what_was_written_changes_nothing() {
    let disk = lived();
    let (expected, all) = (open(&disk, ALL).1, read_back(&disk));
    for number in summarised(&disk) {
        let name = summary_name(number);
        let whole = disk.content(&name);
        let expect = |what: &str, content: Vec<u8>| {
            disk.tamper(&name, |held| *held = content);
            assert!(open(&disk, TINY).1.remembers_as(&expected), "{name}, {what}");
            assert_eq!(disk.content(&name), whole, "{name}, {what}: it is written anew");
            assert_eq!(read_back(&disk), all, "{name}, {what}");
        };
        for bit in (0..whole.len() * 8).step_by(13) {
            let mut content = whole.clone();
            content[bit / 8] ^= 1 << (bit % 8);
            expect(&format!("bit {bit}"), content);
        }
        for length in (0..whole.len()).step_by(9) {
            expect(&format!("cut at {length}"), whole[..length].to_vec());
        }
        expect("with more behind it", [&whole[..], &[0; 8]].concat());
        expect("of another segment", disk.content(&summary_name(number % 3 + 1)));
    }
}

/// Old segments are not checked unless everything is read; the needed ones are.
#[test]
fn damage_in_what_is_past_is_found_when_it_is_read() {
    let disk = lived();
    let (expected, before) = (open(&disk, ALL).1, read_back(&disk));
    let flip = |segment: u64| disk.tamper(&segment_name(segment), |content| content[40] ^= 1);
    flip(1);
    assert!(open(&disk, TINY).1.remembers_as(&expected));
    let after = read_back(&disk);
    assert!(before.iter().zip(&after).all(|(before, after)| after.is_none() || before == after));
    assert!(after.iter().any(Option::is_none), "no vote is taken for none");
    let whole = open_with(disk.clone(), &identity(), ALL).map(|_| ());
    assert!(matches!(whole, Err(LogError::Damaged { .. })), "{whole:?}");
    // Somebody who vouches for a copy vouches for all of it.
    let adopting = LogOptions { adopt_copy: true, ..TINY };
    let adopted = open_with(disk.copy(), &identity(), adopting).map(|_| ());
    assert!(matches!(adopted, Err(LogError::Damaged { .. })), "{adopted:?}");
    flip(1);
    // A segment that was cut is noticed without reading it.
    let cut = lived();
    cut.tamper(&segment_name(1), |content| content.truncate(40));
    expect_refusal(&cut, "the first segment is cut");
    let last = summarised(&disk).last().copied().unwrap_or(0);
    flip(last);
    expect_refusal(&disk, &segment_name(last));
}
