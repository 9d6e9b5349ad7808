//! How much of the log is kept, and how much memory and disk it may take: amounts with a unit.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::{Config, ConfigError};
use crate::protocol::settings::Retain;
use crate::storage::log::LogOptions;
use crate::storage::room::Quota;

/// The bounds of what may be retained: at least several times what is in flight, or learners that
/// are a moment late would be cut off.
const ENTRIES: RangeInclusive<u64> = 65_536..=1 << 60;
const BYTES: RangeInclusive<u64> = 16 << 20..=1 << 60;
const SECONDS: RangeInclusive<u64> = 10..=100 * 365 * 24 * 3600;

/// The bounds of `memory_bytes`.
const MEMORY: RangeInclusive<u64> = 64 << 20..=1 << 60;

/// How many of the longest values must fit there: they are held whole while they travel, and again
/// as entries of the log.
const MEMORY_VALUES: u64 = 4;

/// The bounds of `disk_bytes`: at least a few segments, and several times what is under way.
const DISK: RangeInclusive<u64> = 64 << 20..=1 << 60;

/// `disk_bytes` has this many segments, unless they would be longer than they ever are, ...
const DISK_SEGMENTS: u64 = 16;

/// ... this many windows of a leader, ...
const DISK_WINDOWS: u64 = 16;

/// ... and this many times the retained amount: half as much again is kept, records are longer than
/// their values, and a quarter is a reserve.
const DISK_RETAINED: u64 = 3;

/// How many windows are kept in reserve on a large disk, at least.
const RESERVE_WINDOWS: u64 = 4;

/// How many learners can be named as keepers.
const KEEPERS_MAX: usize = 64;

const BYTE_UNITS: [(&str, u64); 3] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
const TIME_UNITS: [(&str, u64); 4] = [("s", 1), ("m", 60), ("h", 3600), ("d", 24 * 3600)];

/// Parses the value of `retain`.
pub(super) fn parse_retain(word: &str) -> Result<Retain, String> {
    if word == "all" {
        return Ok(Retain::All);
    }
    let wrong = || {
        format!(
            "retain {word} is none of `all`, a number of entries as 1000000, of bytes as 10GiB, or \
             a time as 7d"
        )
    };
    let within = |amount: Option<u64>, range: RangeInclusive<u64>, least: &str, most: &str| {
        if amount.is_some_and(|amount| amount < *range.start()) {
            return Err(format!(
                "retain {word} is too little; keep {least} or more, so that a learner that is late \
                 for a moment misses nothing"
            ));
        }
        let amount = amount.filter(|amount| range.contains(amount));
        amount.ok_or_else(|| {
            format!("retain {word} is too much; keep {most} or less, or `all` for everything")
        })
    };
    if let Some(bytes) = with_unit(word, &BYTE_UNITS) {
        within(bytes, BYTES, "16MiB", "1073741824GiB").map(Retain::Bytes)
    } else if let Some(seconds) = with_unit(word, &TIME_UNITS) {
        let seconds = within(seconds, SECONDS, "10s", "36500d")?;
        Ok(Retain::Age(Duration::from_secs(seconds)))
    } else if let Some(entries) = with_unit(word, &[("", 1)]) {
        within(entries, ENTRIES, "65536 entries", "1152921504606846976 entries")
            .map(Retain::Entries)
    } else {
        Err(wrong())
    }
}

/// Parses the value of `memory_bytes`.
pub(super) fn parse_memory(word: &str) -> Result<u64, String> {
    parse_bytes("memory_bytes", word, MEMORY)
}

/// Parses the value of `disk_bytes`.
pub(super) fn parse_disk(config: &mut Config, word: &str) -> Result<(), String> {
    config.disk_bytes = Some(parse_bytes("disk_bytes", word, DISK)?);
    Ok(())
}

/// A number of bytes, with or without a unit. The bound that is violated is named.
fn parse_bytes(key: &str, word: &str, range: RangeInclusive<u64>) -> Result<u64, String> {
    let bytes = with_unit(word, &BYTE_UNITS).or_else(|| with_unit(word, &[("", 1)]));
    match bytes {
        Some(Some(bytes)) if range.contains(&bytes) => Ok(bytes),
        Some(Some(bytes)) if bytes < *range.start() => {
            let least = range.start() >> 20;
            Err(format!("{key} {word} is too little; {least}MiB is the least"))
        }
        Some(_) => {
            let most = range.end() >> 30;
            Err(format!("{key} {word} is too much; {most}GiB is the most"))
        }
        None => Err(format!(
            "{key} {word} is not a number of bytes, such as 1073741824, 512MiB or 10GiB"
        )),
    }
}

impl Config {
    /// Which limit cannot be beside the others, with the key of the line that is wrong.
    pub(super) fn wrong_limit(&self) -> Option<(&'static str, String)> {
        self.misplaced_copies()
            .or_else(|| self.too_little_disk())
            .or_else(|| self.too_little_memory())
    }

    /// The error in the choice of keepers, if any, and the key of the line at fault.
    fn misplaced_copies(&self) -> Option<(&'static str, String)> {
        let (keepers, copies) = (self.settings.keepers.len(), self.settings.snapshot_copies);
        if keepers > 0 && self.snapshots.is_none() {
            let what = "keepers keep snapshots, and there is no place for them; add a line \
                        `snapshots DIR`";
            return Some(("keepers", what.to_owned()));
        }
        let copies = copies.filter(|copies| *copies > keepers)?;
        let what = format!(
            "snapshot_copies {copies} is more than there are keepers, and nothing would ever be \
             removed; name as many in a line `keepers ID...`"
        );
        Some(("snapshot_copies", what))
    }

    /// Why `disk_bytes` cannot be, with the key of the line that is wrong.
    fn too_little_disk(&self) -> Option<(&'static str, String)> {
        let disk = self.disk_bytes?;
        let window = self.settings.window_bytes as u64;
        if disk < window.saturating_mul(DISK_WINDOWS) {
            let what = format!(
                "disk_bytes {disk} is less than {DISK_WINDOWS} times window_bytes, {window}: what \
                 is under way must fit the reserve; raise the one or lower the other"
            );
            return Some(("disk_bytes", what));
        }
        match self.settings.retain {
            Retain::Bytes(bytes) if disk < bytes.saturating_mul(DISK_RETAINED) => {
                let what = format!(
                    "disk_bytes {disk} is less than {DISK_RETAINED} times what `retain` keeps, \
                     {bytes} bytes, and disks would often be full; raise the one or lower the other"
                );
                Some(("disk_bytes", what))
            }
            Retain::All | Retain::Entries(_) | Retain::Bytes(_) | Retain::Age(_) => None,
        }
    }

    /// Why `memory_bytes` cannot be, with the key of the line that is wrong.
    fn too_little_memory(&self) -> Option<(&'static str, String)> {
        let (memory, value) = (self.memory_bytes, self.settings.value_bytes as u64);
        if memory >= value.saturating_mul(MEMORY_VALUES) {
            return None;
        }
        let what = format!(
            "memory_bytes {memory} is less than {MEMORY_VALUES} times value_bytes, {value}, and \
             values of that length would take more; raise the one or lower the other"
        );
        Some(("memory_bytes", what))
    }

    /// Whether everything stands there that an acceptor's disk is described with.
    ///
    /// # Errors
    ///
    /// When a limit of the disk is given, and no disk.
    pub fn check_disk(&self) -> Result<(), ConfigError> {
        if self.disk_bytes.is_none() || self.data.is_some() {
            return Ok(());
        }
        let what = "disk_bytes limits what acceptors store, and without `data` they store nothing; \
                    add a line `data DIR`, or leave this one out";
        Err(self.wrong("disk_bytes", what))
    }

    /// How an acceptor's log is opened.
    pub fn log_options(&self, adopt_copy: bool) -> LogOptions {
        let window = self.settings.window_bytes as u64;
        let reserve = Quota::NONE.reserve.max(window.saturating_mul(RESERVE_WINDOWS));
        let longest = LogOptions::DEFAULT.segment_bytes;
        let of_limit = self.disk_bytes.map(|limit| limit / DISK_SEGMENTS);
        let segment_bytes = of_limit.map_or(longest, |bytes| bytes.min(longest));
        let quota = Quota { limit: self.disk_bytes, reserve };
        LogOptions { adopt_copy, segment_bytes, quota, reads_all: false }
    }
}

/// Parses the value of `keepers`.
pub(super) fn parse_keepers(words: &[&str]) -> Result<Vec<u32>, String> {
    if words.is_empty() || words.len() > KEEPERS_MAX {
        return Err(format!(
            "keepers takes the ids of learners, one to {KEEPERS_MAX}, and {} are given",
            words.len()
        ));
    }
    let mut keepers = Vec::new();
    for word in words {
        let is_plain = word.bytes().all(|byte| byte.is_ascii_digit());
        let id = word.parse::<u32>().ok().filter(|id| is_plain && *id > 0);
        let id = id
            .ok_or_else(|| format!("keeper {word} is not the id of a learner; ids count from 1"))?;
        if keepers.contains(&id) {
            return Err(format!("keeper {id} is named twice; its snapshot is one copy"));
        }
        keepers.push(id);
    }
    Ok(keepers)
}

/// The amount in `word`, if it is digits and one of the units; nothing in it if that is too much.
fn with_unit(word: &str, units: &[(&str, u64)]) -> Option<Option<u64>> {
    units.iter().find_map(|(unit, size)| {
        let digits = word.strip_suffix(unit)?;
        let is_plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_plain.then(|| digits.parse::<u64>().ok()?.checked_mul(*size))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_units() {
        let days = |days: u64| Retain::Age(Duration::from_secs(days * 86_400));
        for (word, expected) in [
            ("all", Retain::All),
            ("1000000", Retain::Entries(1_000_000)),
            ("10GiB", Retain::Bytes(10 << 30)),
            ("16384KiB", Retain::Bytes(16 << 20)),
            ("7d", days(7)),
            ("48h", days(2)),
            ("2880m", days(2)),
            ("90s", Retain::Age(Duration::from_secs(90))),
        ] {
            assert_eq!(parse_retain(word), Ok(expected), "{word}");
        }
        for most in ["36500d", "1073741824GiB", "1152921504606846976"] {
            assert!(parse_retain(most).is_ok(), "{most}");
        }
        for (word, part) in [
            ("everything", "none of `all`"),
            ("", "none of"),
            ("-1d", "none of"),
            ("1.5GiB", "none of"),
            ("10GB", "none of"),
            ("GiB", "none of"),
            ("0", "keep 65536 entries"),
            ("1MiB", "keep 16MiB"),
            ("9s", "keep 10s"),
            ("36501d", "keep 36500d or less"),
            ("99999999999999999999d", "keep 36500d or less"),
            ("1073741825GiB", "keep 1073741824GiB or less"),
            ("18446744073709551615GiB", "keep 1073741824GiB or less"),
            ("1152921504606846977", "keep 1152921504606846976 entries or less"),
        ] {
            let refused = parse_retain(word).unwrap_err();
            assert!(refused.contains(part), "{word}: {refused}");
        }
    }

    const GROUPS: &str = "clients 239.0.0.1 5000\nproposers 239.0.0.1 6000\n\
                          acceptors 239.0.0.1 7000\nlearners 239.0.0.1 8000\n";

    #[test]
    fn a_disk_has_room_for_segments_for_what_is_under_way_and_for_what_is_kept() {
        let parsed = |more: &str| super::super::parse("paxos.conf", &format!("{GROUPS}{more}"));
        let options = parsed("data d\ndisk_bytes 64MiB").unwrap().log_options(false);
        assert_eq!((options.segment_bytes, options.quota.limit), (4 << 20, Some(64 << 20)));
        let options = parsed("data d\ndisk_bytes 1000GiB").unwrap().log_options(true);
        assert_eq!((options.segment_bytes, options.adopt_copy), (64 << 20, true));
        let options = parsed("data d\nwindow_bytes 1073741824").unwrap().log_options(false);
        assert_eq!(options.quota, Quota { limit: None, reserve: 4 << 30 });
        for (more, part) in [
            ("data d\ndisk_bytes 63MiB", "paxos.conf:6: disk_bytes 63MiB is too little; 64MiB"),
            ("data d\ndisk_bytes 1073741825GiB", "is too much; 1073741824GiB is the most"),
            ("data d\ndisk_bytes much", "not a number of bytes"),
            ("data d\nwindow_bytes 8388608\ndisk_bytes 64MiB", "paxos.conf:7: disk_bytes 67108864"),
            ("data d\nretain 30MiB\ndisk_bytes 64MiB", "less than 3 times what `retain` keeps"),
        ] {
            let refused = parsed(more).unwrap_err().to_string();
            assert!(refused.contains(part), "{more}: {refused}");
        }
        let refused = parsed("disk_bytes 64MiB").unwrap().check_disk().unwrap_err().to_string();
        assert!(refused.starts_with("paxos.conf:5: disk_bytes limits"), "{refused}");
        assert!(parsed("").unwrap().check_disk().is_ok());
    }

    #[test]
    fn keepers_are_ids_each_once() {
        assert_eq!(parse_keepers(&["1", "3", "2"]), Ok(vec![1, 3, 2]));
        for words in [&[][..], &["0"], &["+1"], &["one"], &["1", "2", "1"], &["99999999999"]] {
            assert!(parse_keepers(words).is_err(), "{words:?}");
        }
    }

    #[test]
    fn memory_holds_four_of_the_longest_values() {
        let with = |lines: &str| super::super::parse("paxos.conf", &format!("{GROUPS}{lines}"));
        assert!(with("value_bytes 67108864").is_ok(), "the default of one, the most of the other");
        assert!(with("memory_bytes 64MiB\nvalue_bytes 16777216").is_ok());
        let refused = with("memory_bytes 64MiB\nvalue_bytes 16777217").unwrap_err().to_string();
        let part = "paxos.conf:5: memory_bytes 67108864 is less than 4 times value_bytes, 16777217";
        assert!(refused.contains(part), "{refused}");
    }

    #[test]
    fn memory_is_in_bytes() {
        assert_eq!(parse_memory("256MiB"), parse_memory("268435456"));
        assert_eq!(parse_memory("1073741824GiB"), Ok(1 << 60));
        for (word, part) in [
            ("63MiB", "memory_bytes 63MiB is too little; 64MiB is the least"),
            ("0", "too little; 64MiB is the least"),
            ("1073741825GiB", "too much; 1073741824GiB is the most"),
            ("99999999999999999999", "too much; 1073741824GiB is the most"),
            ("all", "not a number of bytes, such as"),
            ("1d", "not a number of bytes, such as"),
        ] {
            let refused = parse_memory(word).unwrap_err();
            assert!(refused.contains(part), "{word}: {refused}");
        }
    }
}
