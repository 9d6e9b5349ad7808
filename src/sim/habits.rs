//! What operators do to an acceptor's directory: clean up, back up, restore, move.
//!
//! None of this may make an acceptor contradict its answers. If something was removed, the next
//! start must be refused; the judge checks that an acceptor that starts has everything. When all
//! faults end, the last state is put back, as a copy that the operator vouches for, and it must be
//! accepted.
//!
//! An operator finds the directory of a process that has ended, in good order or not. After a power
//! failure nobody can tell whether whole records at the end of a log were cut by hand, so that is
//! not tried: see `storage::recovery`.

use std::fmt;

use super::cluster::Cluster;
use super::disk::SimDisk;
use super::trace::Detail;
use crate::protocol::types::NodeId;
use crate::storage::AcceptorStore;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// Copies the directory of an acceptor that runs, for later.
    BacksUp,
    /// Removes a segment of the log, which looks like something to clean up.
    RemovesLog,
    /// Cuts the log.
    CutsLog,
    /// Replaces the directory by a backup.
    PutsBack,
    /// Copies the logs of a backup, or all of its files, over those that are there.
    CopiesBack {
        /// Whether only the logs are copied.
        are_logs: bool,
    },
    /// Changes a byte of a record that was stored.
    Damages,
}

impl Habit {
    /// Every habit.
    pub const ALL: [Habit; 7] = [
        Habit::BacksUp,
        Habit::RemovesLog,
        Habit::CutsLog,
        Habit::PutsBack,
        Habit::CopiesBack { are_logs: true },
        Habit::CopiesBack { are_logs: false },
        Habit::Damages,
    ];
}

impl fmt::Display for Habit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Habit::BacksUp => "is copied, for later",
            Habit::RemovesLog => "loses a segment of its log",
            Habit::CutsLog => "loses the end of its log",
            Habit::PutsBack => "is replaced by a backup",
            Habit::CopiesBack { are_logs: true } => "gets its logs from a backup",
            Habit::CopiesBack { are_logs: false } => "gets all its files from a backup",
            Habit::Damages => "has a byte changed",
        })
    }
}

/// What operators have done to a host.
#[derive(Clone, Debug, Default)]
pub struct Operated {
    /// A copy of some earlier state.
    backup: Option<SimDisk>,
    /// A copy of the last state, since something was taken away.
    last: Option<SimDisk>,
    /// The power failed since the process started.
    pub lost_power: bool,
    /// The disk is a copy that the operator vouches for.
    pub adopts_copy: bool,
}

impl Operated {
    /// Something was taken away, so a refusal to start is right.
    pub fn is_tampered(&self) -> bool {
        self.last.is_some()
    }

    /// The process has started, so it has everything.
    pub fn started(&mut self) {
        (self.last, self.lost_power, self.adopts_copy) = (None, false, false);
    }
}

impl Cluster {
    /// An operator ends an acceptor, unless it is dead, does something to its directory, and starts
    /// it again.
    pub(super) fn operate(&mut self, id: NodeId, habit: Habit) {
        let Some(host) = self.hosts.get_mut(&id) else { return };
        if habit == Habit::BacksUp {
            host.operated.backup = Some(host.disk.copy());
            return;
        }
        self.end(id);
        let Some(host) = self.hosts.get_mut(&id) else { return };
        let (disk, operated) = (&mut host.disk, &mut host.operated);
        if operated.lost_power || operated.is_tampered() {
            return self.start(id);
        }
        let last = disk.copy();
        let logs = |disk: &SimDisk| -> Vec<String> {
            disk.names().into_iter().filter(|name| name.starts_with("log-")).collect()
        };
        let segments = logs(disk);
        let Some(newest) = segments.last().cloned() else { return };
        let length = disk.content(&newest).len();
        match habit {
            Habit::BacksUp => {}
            Habit::RemovesLog => {
                let place = self.rng.below(segments.len() as u64) as usize;
                disk.take_away(&segments[place]);
            }
            Habit::CutsLog | Habit::Damages if length == 0 => return self.start(id),
            Habit::CutsLog => {
                let kept = self.rng.below(length as u64) as usize;
                disk.tamper(&newest, |content| content.truncate(kept));
            }
            Habit::Damages => {
                let place = self.rng.below(length as u64) as usize;
                disk.tamper(&newest, |content| content[place] ^= 0x55);
            }
            Habit::PutsBack | Habit::CopiesBack { .. } => {
                let Some(backup) = operated.backup.as_ref() else { return self.start(id) };
                match habit {
                    Habit::CopiesBack { are_logs } => {
                        disk.put_back(backup, |name| !are_logs || name.starts_with("log-"));
                    }
                    _ => *disk = backup.copy(),
                }
            }
        }
        operated.last = Some(last);
        self.start(id);
    }

    /// Ends a process without a crash of its host: in good order, or by a kill.
    fn end(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id).filter(|node| node.is_up) else { return };
        node.is_up = false;
        self.has_moved = true;
        if let Some(log) = node.log.as_mut().filter(|_| self.rng.chance(0.5)) {
            // It ends even if that cannot be noted.
            let _ = log.close();
        }
        self.trace.tell(Detail::Story, self.now, format_args!("{id} ends"));
    }

    /// Every operator repairs the damage: the last state is put back.
    pub(super) fn put_back_last_states(&mut self) {
        for host in self.hosts.values_mut() {
            if let Some(last) = host.operated.last.take() {
                host.disk = last;
                host.operated.adopts_copy = true;
            }
        }
    }
}
