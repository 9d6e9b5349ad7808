//! How much room does a log have on its disk?
//!
//! Two things bound it: the limit that an operator has set, and the free space of the file system.
//! The last quarter of each is a reserve, but no more than [`Quota::reserve`]:
//!
//! ```text
//!   0                                     whole - reserve        whole - reserve/4       whole
//!   |------------ Ample ------------------|------- Short --------|------- Scarce -------|
//! ```
//!
//! [`Room`] says what each is for. `Exhausted` stands at the end of a file system, not of a limit:
//! nothing is written there any more, since a write may fail. A limit may be passed by entries that
//! make room again.
//!
//! The file system is asked now and then, not for each record: once enough was written to matter,
//! once many turns have passed, since other programs write as well, and in every turn while there
//! is little room.

use log::warn;

use super::disk::{Disk, Space};
use crate::protocol::actor::Room;
use crate::protocol::figures::Left;

/// How much a log may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// How many bytes its segments may have together; none means no limit.
    pub limit: Option<u64>,
    /// How many bytes are kept in reserve, at most: several times as many as can be under way.
    pub reserve: u64,
}

impl Quota {
    /// No limit but the size of the file system.
    pub const NONE: Quota = Quota { limit: None, reserve: 256 << 20 };
}

/// The file system is asked after this many bytes, and after this many turns.
const ASKED_BYTES: u64 = 4 << 20;
const ASKED_TURNS: u32 = 64;

/// The last quarter of the reserve is for entries that make room, ...
const CONTROL: u64 = 4;

/// ... and a small part of that stays free, for the manifest and the file system's own needs.
const FREE: u64 = 64;

/// What a log knows of its room.
#[derive(Debug)]
pub struct Budget {
    quota: Quota,
    room: Room,
    /// The file system's last answer, if it gives one, ...
    space: Option<Space>,
    /// ... how much the log took then, and how many turns ago that was.
    asked: Option<(u64, u32)>,
    /// Whether it was logged that it gives none.
    has_warned: bool,
}

impl Budget {
    /// Nothing is known yet.
    pub fn new(quota: Quota) -> Self {
        Budget { quota, room: Room::Ample, space: None, asked: None, has_warned: false }
    }

    /// Forgets the last answer: the next look asks.
    pub fn forget(&mut self) {
        self.asked = None;
    }

    /// How much room there is, now that the log takes `taken` bytes.
    pub fn look(&mut self, disk: &mut impl Disk, taken: u64) -> Room {
        let is_asked = self.room == Room::Ample
            && self.asked.is_some_and(|(then, turns)| {
                taken.abs_diff(then) < ASKED_BYTES && turns < ASKED_TURNS
            });
        if is_asked {
            self.asked = self.asked.map(|(then, turns)| (then, turns + 1));
        } else {
            self.space = disk.space().unwrap_or_else(|error| {
                if !std::mem::replace(&mut self.has_warned, true) {
                    warn!("cannot ask how full the disk is ({error}); it is taken to have room");
                }
                None
            });
            self.asked = Some((taken, 0));
        }
        let of_limit = self.quota.limit.map(|limit| {
            let room = self.of(limit.saturating_sub(taken), limit);
            room.min(Room::Scarce)
        });
        let of_space = self.space_now(taken).map(|Space { whole, free }| {
            if free < self.reserve_of(whole) / FREE {
                Room::Exhausted
            } else {
                self.of(free, whole)
            }
        });
        self.room = of_limit.into_iter().chain(of_space).max().unwrap_or(Room::Ample);
        self.room
    }

    /// How much room `left` bytes of `whole` are. Once short, it stays short until there is a
    /// little more than the threshold, or it would alternate.
    fn of(&self, left: u64, whole: u64) -> Room {
        let reserve = self.reserve_of(whole);
        let more = if self.room == Room::Ample { 0 } else { reserve / CONTROL };
        if left < reserve / CONTROL {
            Room::Scarce
        } else if left < reserve + more {
            Room::Short
        } else {
            Room::Ample
        }
    }

    /// What is left of that end, of the two, which is reached first.
    pub fn left(&self, taken: u64) -> Option<Left> {
        let of_limit = self.quota.limit.map(|limit| (limit.saturating_sub(taken), limit));
        let of_space = self.space_now(taken).map(|Space { whole, free }| (free, whole));
        let left = |(bytes, whole)| Left { bytes, reserve: self.reserve_of(whole) };
        let ends = of_limit.into_iter().chain(of_space).map(left);
        ends.min_by_key(|left| (left.bytes.saturating_sub(left.reserve), left.bytes))
    }

    /// The file system's last answer, less what was written since.
    fn space_now(&self, taken: u64) -> Option<Space> {
        let written = self.asked.map_or(0, |(then, _)| taken.saturating_sub(then));
        self.space.map(|space| Space { free: space.free.saturating_sub(written), ..space })
    }

    fn reserve_of(&self, whole: u64) -> u64 {
        self.quota.reserve.min(whole / 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::disk::SimDisk;

    const QUOTA: Quota = Quota { limit: Some(1600), reserve: 400 };

    fn looks(budget: &mut Budget, disk: &mut SimDisk, taken: u64) -> Room {
        budget.look(disk, taken)
    }

    #[test]
    fn a_limit_has_a_reserve_and_is_short_until_more_than_that_is_left() {
        let (mut budget, mut disk) = (Budget::new(QUOTA), SimDisk::new());
        for (taken, room) in [
            (0, Room::Ample),
            (1200, Room::Ample),
            (1201, Room::Short),
            (1101, Room::Short),
            (1100, Room::Ample),
            (1500, Room::Short),
            (1501, Room::Scarce),
            // Entries that make room may pass it.
            (1700, Room::Scarce),
            (1500, Room::Short),
            (0, Room::Ample),
        ] {
            assert_eq!(looks(&mut budget, &mut disk, taken), room, "{taken}");
        }
    }

    #[test]
    fn a_file_system_has_the_same_and_an_end() {
        let mut disk = SimDisk::new();
        let mut budget = Budget::new(Quota { limit: None, reserve: 1 << 30 });
        assert_eq!(looks(&mut budget, &mut disk, 5000), Room::Ample, "nobody tells");
        let mut budget = Budget::new(Quota { limit: None, reserve: 1 << 30 });
        disk.limit(Some(8000));
        disk.plant("log", &[1; 6000]);
        assert_eq!(looks(&mut budget, &mut disk, 6000), Room::Ample);
        // It is not asked again after so little.
        assert_eq!(looks(&mut budget, &mut disk, 6001), Room::Short);
        disk.plant("log", &[1; 7600]);
        assert_eq!(looks(&mut budget, &mut disk, 6001), Room::Scarce);
        // Another program takes the rest.
        disk.plant("other", &[1; 390]);
        assert_eq!(looks(&mut budget, &mut disk, 6001), Room::Exhausted);
        disk.limit(None);
        assert_eq!(looks(&mut budget, &mut disk, 6001), Room::Ample);
    }

    #[test]
    fn what_is_left_is_counted_to_the_nearer_end() {
        let left = |budget: &Budget, taken| budget.left(taken).map(|it| (it.bytes, it.reserve));
        let mut disk = SimDisk::new();
        let mut budget = Budget::new(Quota { limit: Some(10_000), reserve: 400 });
        assert_eq!(left(&budget, 9000), Some((1000, 400)), "nothing else is known");
        assert_eq!(left(&budget, 11_000), Some((0, 400)));
        disk.limit(Some(8000));
        disk.plant("log", &[1; 6000]);
        looks(&mut budget, &mut disk, 6000);
        assert_eq!(left(&budget, 6000), Some((2000, 400)));
        assert_eq!(left(&budget, 6500), Some((1500, 400)), "as much was written since");
        // Others remove something.
        disk.limit(Some(80_000));
        let found = (0..=ASKED_TURNS).map(|_| looks(&mut budget, &mut disk, 6500)).last();
        assert_eq!((found, left(&budget, 6500)), (Some(Room::Ample), Some((3500, 400))));
        assert_eq!(left(&Budget::new(Quota::NONE), 6500), None);
    }

    /// Other programs fill a disk while nothing is stored here.
    #[test]
    fn a_disk_is_asked_now_and_then_whatever_is_written() {
        let mut disk = SimDisk::new();
        disk.limit(Some(8000));
        let mut budget = Budget::new(Quota::NONE);
        assert_eq!(looks(&mut budget, &mut disk, 1), Room::Ample);
        disk.plant("other", &[1; 7000]);
        let asked = (1..).find(|_| looks(&mut budget, &mut disk, 1) != Room::Ample);
        assert_eq!(asked, Some(ASKED_TURNS + 1));
    }
}
