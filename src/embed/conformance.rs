//! Does a state machine keep the promises that a [`Replica`](super::Replica) depends on?
//!
//! A replica cannot tell: a machine that breaks one of them makes replicas differ, perhaps days
//! later and on some hosts only. [`check`] tries them with your commands, in your own tests:
//!
//! ```
//! # use multi_paxos::{Frozen, Place, StateMachine};
//! # #[derive(Default)]
//! # struct Counter(u64);
//! # impl StateMachine for Counter {
//! #     type Output = u64;
//! #     fn apply(&mut self, _: &Place, command: &[u8]) -> u64 {
//! #         self.0 += command.len() as u64;
//! #         self.0
//! #     }
//! #     fn digest(&self) -> Option<u64> { Some(self.0) }
//! # }
//! let commands = ["one", "two", "three"].map(|command| command.as_bytes().to_vec());
//! multi_paxos::conformance::check(Counter::default, &commands).expect("it is a state machine");
//! ```

use std::fmt;
use std::io;
use std::time::{Duration, SystemTime};

use super::replica::StateMachine;
use super::subscription::{Place, Position};

/// At how many places the machine is frozen, at most.
const PLACES: usize = 32;

/// The promise that a machine breaks.
#[derive(Debug)]
#[non_exhaustive]
pub enum Fault {
    /// Two machines that have applied the same commands have different digests.
    NotDeterministic(Position),
    /// The machine has no [`digest`](StateMachine::digest), so nothing can be compared.
    NoDigest,
    /// What [`freeze`](StateMachine::freeze) returned writes something else after later commands
    /// were applied than before.
    FreezesLate(Position),
    /// A machine that had another state does not have exactly the state that it restored.
    RestoreMerges(Position),
    /// A new machine that restored the state has a different one.
    RestoresSomethingElse(Position),
    /// After a restore, the commands that follow lead to a different state.
    DiffersAfterRestore(Position),
    /// The state cannot be written, or cannot be restored.
    Fails(Position, io::Error),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::NotDeterministic(at) => write!(
                f,
                "two machines differ after the command at {at}: `apply` uses something else than \
                 the state, the place and the command; look for clocks, random numbers and the \
                 order of hash maps"
            ),
            Fault::NoDigest => f.write_str(
                "the machine has no `digest`: give it one, so that states can be compared",
            ),
            Fault::FreezesLate(at) => write!(
                f,
                "what was frozen at {at} changes with later commands: let `freeze` copy the state, \
                 and not share it"
            ),
            Fault::RestoreMerges(at) => write!(
                f,
                "restored at {at}, something of the state before is left: let `restore` replace it \
                 all"
            ),
            Fault::RestoresSomethingElse(at) => write!(
                f,
                "restored at {at}, the state is another one: something that `digest` sees is not \
                 written, or not read"
            ),
            Fault::DiffersAfterRestore(at) => write!(
                f,
                "restored at {at}, the commands that follow come to something else: something that \
                 `apply` uses, and `digest` does not see, is not in the snapshot"
            ),
            Fault::Fails(at, error) => {
                write!(f, "the state at {at} cannot be written and restored: {error}")
            }
        }
    }
}

impl std::error::Error for Fault {}

/// Applies `commands` to machines that `make` makes, and looks for broken promises: `apply` must be
/// a function, and, if the machine has [`freeze`](StateMachine::freeze), a snapshot must be of its
/// moment, replace the state that was there, and hold everything that later commands need. The
/// check is only as good as the commands: let them reach every part of the state.
///
/// # Errors
///
/// The first promise that is broken.
pub fn check<M: StateMachine>(make: impl Fn() -> M, commands: &[Vec<u8>]) -> Result<(), Fault> {
    let mut machine = make();
    let mut digests = vec![machine.digest().ok_or(Fault::NoDigest)?];
    let mut twin = make();
    for (place, command) in commands.iter().enumerate() {
        let (at, nth) = (position(place), nth(place));
        machine.apply(&nth, command);
        twin.apply(&nth, command);
        let digest = machine.digest().ok_or(Fault::NoDigest)?;
        if twin.digest() != Some(digest) {
            return Err(Fault::NotDeterministic(at));
        }
        digests.push(digest);
    }
    let step = (commands.len() / PLACES).max(1);
    for count in (0..=commands.len()).step_by(step) {
        check_snapshot(&make, commands, count, &digests)?;
    }
    Ok(())
}

fn position(place: usize) -> Position {
    Position(place as u64 + 1)
}

/// Commands come a second after each other, in the year 2026.
fn nth(place: usize) -> Place {
    let time = Duration::from_secs(1_767_225_600 + place as u64);
    Place::new(position(place), Some(SystemTime::UNIX_EPOCH + time))
}

/// Freezes a machine that has applied `count` of the commands.
fn check_snapshot<M: StateMachine>(
    make: &impl Fn() -> M,
    commands: &[Vec<u8>],
    count: usize,
    digests: &[u64],
) -> Result<(), Fault> {
    let at = Position(count as u64);
    let (before, after) = commands.split_at(count);
    let go_on = |machine: &mut M| {
        for (place, command) in (count..).zip(after) {
            machine.apply(&nth(place), command);
        }
    };
    let mut machine = make();
    for (place, command) in before.iter().enumerate() {
        machine.apply(&nth(place), command);
    }
    let (Some(early), Some(late)) = (machine.freeze(), machine.freeze()) else { return Ok(()) };
    let fails = |error| Fault::Fails(at, error);
    let (mut bytes, mut later) = (Vec::new(), Vec::new());
    early(&mut bytes).map_err(fails)?;
    go_on(&mut machine);
    late(&mut later).map_err(fails)?;

    let restored = |machine: &mut M, bytes: &[u8]| {
        machine.restore(&mut &*bytes).map_err(fails)?;
        Ok::<_, Fault>(machine.digest() == digests.get(count).copied())
    };
    let mut fresh = make();
    if !restored(&mut fresh, &bytes)? {
        return Err(Fault::RestoresSomethingElse(at));
    }
    if !restored(&mut make(), &later)? {
        return Err(Fault::FreezesLate(at));
    }
    go_on(&mut fresh);
    if fresh.digest() != digests.last().copied() {
        return Err(Fault::DiffersAfterRestore(at));
    }
    // One that has applied everything, and one that has applied only the commands that follow.
    let mut other = make();
    go_on(&mut other);
    if restored(&mut machine, &bytes)? && restored(&mut other, &bytes)? {
        return Ok(());
    }
    Err(Fault::RestoreMerges(at))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::snapshots::Frozen;

    /// What is wrong with a machine.
    #[derive(Clone, Copy, PartialEq)]
    enum Wrong {
        Nothing,
        AsksAround,
        SharesItsState,
        Merges,
        LosesACount,
        ForgetsAKey,
        CannotRestore,
        HasNoDigest,
    }

    /// How often each word came. Every third word counts twice.
    struct Words {
        wrong: Wrong,
        said: Arc<Mutex<BTreeMap<u8, u64>>>,
        count: u64,
    }

    static ASKED: AtomicU64 = AtomicU64::new(0);

    impl Words {
        fn new(wrong: Wrong) -> Self {
            Words { wrong, said: Arc::default(), count: 0 }
        }
    }

    impl StateMachine for Words {
        type Output = ();

        fn apply(&mut self, _: &Place, command: &[u8]) {
            self.count += 1;
            let mut said = self.said.lock().unwrap();
            let times = said.entry(command[0]).or_default();
            *times += if self.count.is_multiple_of(3) { 2 } else { 1 };
            if self.wrong == Wrong::AsksAround {
                *times += ASKED.fetch_add(1, Ordering::Relaxed) % 2;
            }
        }

        fn digest(&self) -> Option<u64> {
            let said = self.said.lock().unwrap();
            let add = |sum: u64, (word, times): (&u8, &u64)| {
                sum.wrapping_mul(1_000_003) + u64::from(*word) * 1000 + times
            };
            (self.wrong != Wrong::HasNoDigest).then(|| said.iter().fold(7, add))
        }

        fn freeze(&self) -> Option<Frozen> {
            let copy = self.said.lock().unwrap().clone();
            let said = match self.wrong {
                Wrong::SharesItsState => Arc::clone(&self.said),
                _ => Arc::new(Mutex::new(copy)),
            };
            let (count, wrong) = (self.count, self.wrong);
            Some(Box::new(move |out| {
                out.write_all(&[if wrong == Wrong::LosesACount { 0 } else { count as u8 % 3 }])?;
                let said = said.lock().unwrap();
                let skipped = usize::from(wrong == Wrong::ForgetsAKey);
                said.iter()
                    .skip(skipped)
                    .try_for_each(|(word, times)| out.write_all(&[*word, *times as u8]))
            }))
        }

        fn restore(&mut self, snapshot: &mut dyn Read) -> io::Result<()> {
            let mut bytes = Vec::new();
            snapshot.read_to_end(&mut bytes)?;
            let [count, pairs @ ..] = bytes.as_slice() else {
                return Err(io::ErrorKind::Other.into());
            };
            if self.wrong == Wrong::CannotRestore {
                return Err(io::ErrorKind::Unsupported.into());
            }
            let mut said = self.said.lock().unwrap();
            if self.wrong != Wrong::Merges {
                said.clear();
            }
            self.count = (*count).into();
            said.extend(pairs.chunks(2).map(|pair| (pair[0], u64::from(pair[1]))));
            Ok(())
        }
    }

    #[test]
    fn every_promise_that_is_broken_is_found() {
        let commands: Vec<Vec<u8>> = (0..40_u8).map(|number| vec![b'a' + number % 11]).collect();
        let found = |wrong| check(|| Words::new(wrong), &commands);
        found(Wrong::Nothing).unwrap();
        assert!(matches!(found(Wrong::AsksAround), Err(Fault::NotDeterministic(Position(1)))));
        assert!(matches!(found(Wrong::HasNoDigest), Err(Fault::NoDigest)));
        assert!(matches!(found(Wrong::SharesItsState), Err(Fault::FreezesLate(_))));
        assert!(matches!(found(Wrong::Merges), Err(Fault::RestoreMerges(_))));
        assert!(matches!(found(Wrong::ForgetsAKey), Err(Fault::RestoresSomethingElse(_))));
        assert!(matches!(found(Wrong::LosesACount), Err(Fault::DiffersAfterRestore(_))));
        let fails = found(Wrong::CannotRestore).unwrap_err();
        assert!(fails.to_string().contains("cannot be written and restored"), "{fails}");
    }
}
