//! Whose directory is it? A small text file says so, written once, when everything else is there.
//!
//! ```text
//!   multi-paxos acceptor log 2
//!   cluster team
//!   acceptor 2
//!   acceptor_count 3
//!   incarnation 00c0ffee00c0ffee
//!   token 0123456789abcdef
//!   checksum 89abcdef
//! ```
//!
//! As soon as it exists, everything that the manifest names exists, and the acceptor may have
//! answered. Files found without it are left over from a start that was killed.

use super::disk::Disk;
use super::error::LogError;

/// Its name.
pub const IDENTITY: &str = "identity";

/// Its name until it is complete.
pub const IDENTITY_NEW: &str = "identity.new";

const FORMAT: &str = "multi-paxos acceptor log 2";

/// Whose log it is. A directory belongs to one acceptor of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster's name.
    pub cluster: String,
    /// The acceptor's id.
    pub acceptor: u32,
    /// How many acceptors the cluster has, on which the quorum depends.
    pub acceptor_count: u32,
    /// The acceptor's incarnation: the same for as long as its data survive.
    pub incarnation: u64,
    /// A secret of the directory, which every frame begins with. It is never sent, so nobody can
    /// write a value that looks like a frame.
    pub token: u64,
}

impl Identity {
    /// Writes it, once everything else is stable.
    pub(super) fn create(&self, disk: &mut impl Disk) -> std::io::Result<()> {
        disk.create(IDENTITY_NEW)?;
        disk.write_at(IDENTITY_NEW, 0, self.text().as_bytes())?;
        disk.sync(IDENTITY_NEW)?;
        disk.rename(IDENTITY_NEW, IDENTITY)?;
        disk.sync_names()
    }

    /// Reads it, no matter whose it is.
    pub(super) fn read_any(disk: &mut impl Disk) -> Result<Self, LogError> {
        let path = disk.path_of(IDENTITY);
        let text = read_text(disk, IDENTITY)?;
        let format = text.lines().next().unwrap_or_default();
        let version = format.strip_prefix("multi-paxos acceptor log ");
        if version.is_some_and(|version| version.parse::<u32>().is_ok()) && format != FORMAT {
            return Err(LogError::OtherFormat { path, found: format.to_owned() });
        }
        Identity::parse(&text).ok_or(LogError::Unreadable { path })
    }

    /// Reads it, and demands that it is that of `mine`, apart from the incarnation and the token.
    pub(super) fn read(disk: &mut impl Disk, mine: &Identity) -> Result<Self, LogError> {
        let found = Identity::read_any(disk)?;
        let path = disk.path_of(IDENTITY);
        if found.cluster != mine.cluster || found.acceptor != mine.acceptor {
            let (found, mine) = (Box::new(found), Box::new(mine.clone()));
            return Err(LogError::OtherOwner { path, found, mine });
        }
        if found.acceptor_count != mine.acceptor_count {
            let (found, configured) = (found.acceptor_count, mine.acceptor_count);
            return Err(LogError::OtherCount { path, found, configured });
        }
        Ok(found)
    }

    fn text(&self) -> String {
        let Identity { cluster, acceptor, acceptor_count, incarnation, token } = self;
        with_checksum(format!(
            "{FORMAT}\ncluster {cluster}\nacceptor {acceptor}\nacceptor_count {acceptor_count}\n\
             incarnation {incarnation:016x}\ntoken {token:016x}\n"
        ))
    }

    fn parse(text: &str) -> Option<Self> {
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
        let identity = Identity {
            cluster: value("cluster ")?.to_owned(),
            acceptor: value("acceptor ")?.parse().ok()?,
            acceptor_count: value("acceptor_count ")?.parse().ok()?,
            incarnation: u64::from_str_radix(value("incarnation ")?, 16).ok()?,
            token: u64::from_str_radix(value("token ")?, 16).ok()?,
        };
        // Anything but exactly what was written is damaged.
        (identity.text() == text).then_some(identity)
    }
}

/// A text with a last line that shows whether it is complete.
pub(super) fn with_checksum(text: String) -> String {
    let check = crc32fast::hash(text.as_bytes());
    format!("{text}checksum {check:08x}\n")
}

/// The text of a small file.
pub(super) fn read_text(disk: &mut impl Disk, name: &str) -> Result<String, LogError> {
    let path = disk.path_of(name);
    let read = |disk: &mut dyn Disk| {
        let mut bytes = vec![0; disk.length(name)?.min(TEXT_BYTES_MAX) as usize];
        let length = disk.read_at(name, 0, &mut bytes)?;
        bytes.truncate(length);
        Ok(bytes)
    };
    let bytes = read(disk).map_err(|error| LogError::Read { path, error })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// More than the manifest of a full disk takes.
const TEXT_BYTES_MAX: u64 = 1 << 28;
