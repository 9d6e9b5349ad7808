//! The probes that doctors send each other: datagrams of their own kind, which are no messages of
//! the protocol.
//!
//! Roles take them for foreign ones and drop them. A probe is a mark, a version, and JSON, padded
//! with blanks to the length under test. Reading never panics on any bytes, and text from foreign
//! senders is cut and cleaned before it is printed.

use serde::{Deserialize, Serialize};

use crate::wire::PROBE_MAGIC;

/// The first bytes of every probe; those of the protocol's datagrams are others.
const MAGIC: [u8; 4] = PROBE_MAGIC;

/// Raised whenever a probe changes its form.
const VERSION: u8 = 1;

/// The longest name of a host or a cluster that is kept, in letters.
const NAME_MAX: usize = 64;

/// How many doctors one probe can list.
pub const LISTED_MAX: usize = 12;

/// One probe: who sends it, how it is configured, and whom it has heard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// The doctor's number, drawn from the operating system at its start.
    pub doctor: u64,
    /// The name of its host.
    pub host: String,
    /// The release of the program.
    pub release: String,
    /// The version of the protocol's datagrams.
    pub wire_version: u8,
    /// The cluster's name.
    pub cluster: String,
    /// The groups, as text.
    pub groups: String,
    /// How many networks its datagrams may cross.
    pub ttl: u32,
    /// How many acceptors it counts with.
    pub acceptor_count: u32,
    /// Its largest datagram, in bytes.
    pub datagram_bytes: usize,
    /// The fingerprint of its key; none without a key.
    pub key: Option<u64>,
    /// Where answers reach it alone: a UDP port.
    pub answer_port: u16,
    /// Grows by one with every round of probes.
    pub sequence: u64,
    /// Which group it was sent to, by its place; none of an answer to one doctor.
    pub group: Option<u8>,
    /// Whether it was made longer to try a length.
    pub padded: bool,
    /// Doctors that were heard on groups, or some of them.
    pub heard: Vec<Heard>,
}

/// What a doctor has heard of another on the groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// The other's number.
    pub doctor: u64,
    /// A bit for each group on which it was heard.
    pub groups: u8,
    /// Its longest datagram that arrived, in bytes.
    pub longest: usize,
}

/// Why a datagram is no probe that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoProbe {
    /// Something else.
    Other,
    /// A probe of another version of the form.
    OtherVersion(u8),
    /// A probe, but damaged.
    Malformed,
}

impl Probe {
    /// Writes the probe, padded to `bytes` if it is shorter.
    pub fn encode(&self, bytes: usize) -> Vec<u8> {
        let mut datagram = MAGIC.to_vec();
        datagram.push(VERSION);
        // Text and numbers always are JSON.
        datagram.extend(serde_json::to_vec(self).unwrap_or_default());
        datagram.resize(datagram.len().max(bytes), b' ');
        datagram
    }

    /// Reads a datagram.
    pub fn decode(datagram: &[u8]) -> Result<Probe, NoProbe> {
        let rest = datagram.strip_prefix(&MAGIC).ok_or(NoProbe::Other)?;
        let (version, body) = rest.split_first().ok_or(NoProbe::Malformed)?;
        if *version != VERSION {
            return Err(NoProbe::OtherVersion(*version));
        }
        let mut probe: Probe = serde_json::from_slice(body).map_err(|_| NoProbe::Malformed)?;
        for text in [&mut probe.host, &mut probe.release, &mut probe.cluster, &mut probe.groups] {
            *text = printable(text);
        }
        probe.heard.truncate(LISTED_MAX);
        Ok(probe)
    }
}

/// The beginning of a text, with nothing in it that moves a cursor.
pub fn printable(text: &str) -> String {
    let clean = |letter: char| if letter.is_control() { '?' } else { letter };
    text.chars().take(2 * NAME_MAX).map(clean).collect()
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn probe() -> Probe {
        Probe {
            doctor: u64::MAX,
            host: "north".to_owned(),
            release: "0.1.0".to_owned(),
            wire_version: 1,
            cluster: "paxos".to_owned(),
            groups: "239.0.0.1:5000".to_owned(),
            ttl: 1,
            acceptor_count: 3,
            datagram_bytes: 1472,
            key: None,
            answer_port: 40_000,
            sequence: 7,
            group: Some(2),
            padded: false,
            heard: vec![Heard { doctor: 5, groups: 0b1111, longest: 1472 }; 3],
        }
    }

    #[test]
    fn a_probe_survives_the_wire_at_every_length() {
        for bytes in [0, 1472, 65_507] {
            let datagram = probe().encode(bytes);
            assert!(datagram.len() >= bytes && datagram.len() < bytes.max(1024) + 1);
            assert_eq!(Probe::decode(&datagram), Ok(probe()));
        }
    }

    #[test]
    fn a_full_probe_is_short_enough_to_pass_everywhere() {
        let heard = vec![Heard { doctor: u64::MAX, groups: 15, longest: 65_507 }; LISTED_MAX];
        let host = "h".repeat(NAME_MAX);
        assert!(Probe { heard, host, ..probe() }.encode(0).len() <= 1232);
    }

    #[test]
    fn anything_else_is_refused_with_its_reason() {
        let good = probe().encode(0);
        for length in 0..good.len() {
            assert!(Probe::decode(&good[..length]).is_err(), "cut to {length}");
        }
        assert_eq!(Probe::decode(b"mpxs\x01"), Err(NoProbe::Other));
        assert_eq!(Probe::decode(b"mpxd\x09{}"), Err(NoProbe::OtherVersion(9)));
        assert_eq!(Probe::decode(b"mpxd\x01{}"), Err(NoProbe::Malformed));
        assert_eq!(Probe::decode(&[b"mpxd\x01".as_slice(), &[b'['; 65_000]].concat()).err(), {
            Some(NoProbe::Malformed)
        });
    }

    #[test]
    fn what_a_stranger_calls_itself_cannot_move_the_cursor() {
        let host = format!("\u{1b}[2J{}", "x".repeat(1000));
        let read = Probe::decode(&Probe { host, ..probe() }.encode(0)).unwrap();
        assert!(read.host.starts_with("?[2J") && read.host.len() <= 2 * NAME_MAX);
    }
}
