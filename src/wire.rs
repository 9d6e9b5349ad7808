//! The wire format: messages to datagrams and back. The only user of bincode, in `body`.
//!
//! A datagram is a header of fixed size and a body. The body is a head (a bincode structure, with
//! the number of items that follow) and the items, each on its own. Items are decoded one by one
//! from what is really there, so no datagram can take more memory than a small multiple of its
//! length. Decoding never panics on any bytes, and every refusal has a reason.
//!
//! bincode 2.0.1 is the last release that works and is no longer maintained, which is why nothing
//! outside this module knows of it: the structures it encodes are private mirrors of the messages.
//! Entries, most of what travels, have a form of their own in `protocol::entries`.

mod body;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::bugs::{self, Bug};
use crate::protocol::actor::Record;
use crate::protocol::message::{Kind, Message};
use crate::protocol::types::{NodeId, Role, Sender};
use crate::protocol::versions::{Version, Versions};

/// The first bytes of every datagram.
const MAGIC: [u8; 4] = *b"mpxs";

/// The first bytes of the doctors' probes (`doctor::probe`), which are no messages.
pub(crate) const PROBE_MAGIC: [u8; 4] = *b"mpxd";

/// This release's version, which rises whenever a message changes its form. This release reads the
/// one before as well, and sends in that until everybody reads this one (`protocol::versions`):
///
/// * 8: the first that a later release still reads.
/// * 9: processes say which versions they read, and how many sessions they remember
///   (`body::announcing`).
pub const VERSION: u8 = Version::NEWEST.0;

/// Set in the version of datagrams that are sealed (see `auth`), and in no other.
const SEALED: u8 = 0x80;

/// The kind of a datagram that carries no message but a handshake (`auth`).
const HELLO: u8 = 0xff;

/// The kind of another datagram without a message: it asks whether an address reaches a process, or
/// answers that it does (`runtime::addresses`).
const KNOCK: u8 = 0xfe;

/// magic 4, version 1, kind 1, role 1, id 4, boot 8, cluster 8, acceptor_count 1.
pub(crate) const HEADER_BYTES: usize = 28;

/// Encodes and decodes the datagrams of one process.
#[derive(Clone, Debug)]
pub struct Codec {
    cluster: u64,
    /// All members must agree on it, or two quorums might not share an acceptor.
    acceptor_count: u8,
    sender: Sender,
    /// The other roles of this process.
    beside: Vec<Sender>,
    datagram_bytes: usize,
    /// Which versions it reads.
    reads: Versions,
    /// The version in which this process sends at present; clones share it.
    sends: Arc<AtomicU8>,
    /// Set where datagrams are sealed, and no others are accepted.
    sealed: u8,
}

/// What a datagram says about itself, before its body is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Who sent it.
    pub sender: Sender,
    /// What it carries.
    pub kind: Kind,
    /// In which version.
    pub version: Version,
}

/// What a datagram is, sealed or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Envelope {
    /// A message of this kind.
    Message(Header),
    /// A handshake of this process.
    Hello(Sender),
    /// A question of this process whether an address is ours, or its answer that one is its own.
    Knock(Sender),
}

/// A message does not fit a datagram: a bug of the sender, never the network's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// How many bytes it takes.
    pub bytes: usize,
    /// How many there may be.
    pub limit: usize,
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a message takes {} bytes and a datagram {}", self.bytes, self.limit)
    }
}

/// Why a datagram was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// Shorter than a header.
    TooShort,
    /// A probe of a doctor.
    Probe,
    /// Not one of ours: the magic differs.
    Foreign,
    /// Of another version of the format.
    OtherVersion,
    /// Of another cluster on the same group and port.
    OtherCluster,
    /// Of this cluster, from a process that counts its acceptors differently.
    OtherAcceptorCount {
        /// How many the sender counts.
        theirs: u8,
        /// How many are counted here.
        ours: u8,
    },
    /// Of a kind that does not exist.
    UnknownKind,
    /// From a role that does not exist, or from id 0.
    UnknownSender,
    /// Of a kind that the sender's role never sends.
    WrongRole,
    /// The body is not of its kind's form.
    BadBody,
    /// The body is followed by something else.
    TrailingBytes,
    /// The body's numbers are impossible: instance 0, an inverted run, an overflow.
    Impossible,
    /// Not sealed, and this process has a key.
    Unsealed,
    /// Sealed, and this process has no key.
    Sealed,
    /// Sealed with a key that this process does not have.
    OtherKey,
    /// Its tag is wrong: not sealed by a holder of the key, or changed since.
    Forged,
    /// Taken before, or too old to tell.
    Replayed,
    /// From a session that has not proven to be alive: it is new, or a recording.
    Unproven,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::OtherAcceptorCount { theirs, ours } => {
                return write!(
                    f,
                    "from a process with acceptor_count {theirs}, and here it is {ours}"
                );
            }
            Refusal::TooShort => "too short",
            Refusal::Probe => "of a doctor",
            Refusal::Foreign => "not of this program",
            Refusal::OtherVersion => "of another version",
            Refusal::OtherCluster => "of another cluster",
            Refusal::UnknownKind => "of an unknown kind",
            Refusal::UnknownSender => "from an unknown sender",
            Refusal::WrongRole => "from a role that does not send this",
            Refusal::BadBody => "with a malformed body",
            Refusal::TrailingBytes => "with trailing bytes",
            Refusal::Impossible => "with impossible numbers",
            Refusal::Unsealed => "not sealed with a key",
            Refusal::Sealed => "sealed with a key, and there is none here",
            Refusal::OtherKey => "sealed with another key",
            Refusal::Forged => "forged",
            Refusal::Replayed => "replayed",
            Refusal::Unproven => "of a process that has not proven to be alive",
        })
    }
}

impl Codec {
    /// The codec of `sender` in the cluster of this name with this many acceptors (1 to 64).
    /// Datagrams are at most `datagram_bytes`.
    pub fn new(cluster: &str, acceptor_count: u32, sender: Sender, datagram_bytes: usize) -> Self {
        let cluster = fnv1a(cluster.as_bytes());
        let acceptor_count = u8::try_from(acceptor_count).unwrap_or(u8::MAX);
        let beside = Vec::new();
        let (reads, sealed) = (Versions::ALL, 0);
        let sends = Arc::new(AtomicU8::new(Version::OLDEST.0));
        Codec { cluster, acceptor_count, sender, beside, datagram_bytes, reads, sends, sealed }
    }

    /// The same, but it reads these versions alone.
    pub fn reading(self, reads: Versions) -> Self {
        Codec { reads, ..self }
    }

    /// From now on this process sends in `version`. Before the first call it is the oldest.
    pub fn speak(&self, version: Version) {
        // A moment's delay is harmless: everybody who hears this process reads both.
        self.sends.store(version.0, Ordering::Relaxed);
    }

    /// The same for datagrams that are sealed once they are encoded, and opened before they are
    /// decoded. `datagram_bytes` leave the seal out.
    pub fn sealed(self) -> Self {
        Codec { sealed: SEALED, ..self }
    }

    /// The version in which this process sends.
    pub fn version(&self) -> Version {
        Version(self.sends.load(Ordering::Relaxed))
    }

    /// Whether its datagrams are sealed.
    pub fn is_sealed(&self) -> bool {
        self.sealed == SEALED
    }

    /// Who this codec belongs to.
    pub fn sender(&self) -> Sender {
        self.sender
    }

    /// These roles are in the same process, and are heard without the network.
    pub fn share_process(&mut self, others: impl IntoIterator<Item = Sender>) {
        self.beside = others.into_iter().collect();
    }

    /// Whether `sender` is in this process, and is heard here without the network.
    pub fn is_own(&self, sender: Sender) -> bool {
        sender == self.sender || self.beside.contains(&sender)
    }

    /// How many bytes a datagram may have.
    pub fn datagram_bytes(&self) -> usize {
        self.datagram_bytes
    }

    /// Writes `message` as a datagram into `buffer`, whose content is lost and whose memory is
    /// reused.
    pub fn encode(&self, message: &Message, buffer: &mut Vec<u8>) -> Result<(), TooLong> {
        let version = if let Message::Heartbeat(heartbeat) = message {
            // It is sent in the version it announces, even if that has changed since it was
            // created.
            heartbeat.version
        } else {
            self.version()
        };
        self.begin(message.kind() as u8, version, buffer);
        body::encode(message, version, buffer);
        if buffer.len() > self.datagram_bytes {
            return Err(TooLong { bytes: buffer.len(), limit: self.datagram_bytes });
        }
        Ok(())
    }

    /// Writes the header of a hello into `buffer`, whose content is lost. Hellos and knocks go to
    /// unknown processes, so they are always of the oldest version.
    pub fn begin_hello(&self, buffer: &mut Vec<u8>) {
        self.begin(HELLO, Version::OLDEST, buffer);
    }

    /// Writes the header of a knock into `buffer`, whose content is lost.
    pub fn begin_knock(&self, buffer: &mut Vec<u8>) {
        self.begin(KNOCK, Version::OLDEST, buffer);
    }

    /// The body of a datagram that is no message; empty when it is shorter than a header.
    pub fn bare_body(datagram: &[u8]) -> &[u8] {
        datagram.get(HEADER_BYTES..).unwrap_or_default()
    }

    fn begin(&self, kind: u8, version: Version, buffer: &mut Vec<u8>) {
        buffer.clear();
        buffer.extend_from_slice(&MAGIC);
        buffer.push(version.0 | self.sealed);
        buffer.push(kind);
        buffer.push(self.sender.node.role as u8);
        buffer.extend_from_slice(&self.sender.node.id.to_le_bytes());
        buffer.extend_from_slice(&self.sender.boot.to_le_bytes());
        buffer.extend_from_slice(&self.cluster.to_le_bytes());
        buffer.push(self.acceptor_count);
    }

    /// Reads the header of a message.
    pub fn header(&self, datagram: &[u8]) -> Result<Header, Refusal> {
        match self.envelope(datagram)? {
            Envelope::Message(header) => Ok(header),
            Envelope::Hello(_) | Envelope::Knock(_) => Err(Refusal::UnknownKind),
        }
    }

    /// Reads the header alone.
    pub fn envelope(&self, datagram: &[u8]) -> Result<Envelope, Refusal> {
        let header: &[u8; HEADER_BYTES] = datagram.first_chunk().ok_or(Refusal::TooShort)?;
        let [m0, m1, m2, m3, version, kind, role, rest @ ..] = header;
        match [*m0, *m1, *m2, *m3] {
            MAGIC => {}
            PROBE_MAGIC => return Err(Refusal::Probe),
            _ => return Err(Refusal::Foreign),
        }
        let (sealed, version) = (*version & SEALED, Version(*version & !SEALED));
        // Datagrams that are no messages have the same form in every version.
        let is_bare = *kind == KNOCK || *kind == HELLO;
        if !is_bare && !self.reads.includes(version) {
            return Err(Refusal::OtherVersion);
        }
        if sealed != self.sealed {
            return Err(if sealed == SEALED { Refusal::Sealed } else { Refusal::Unsealed });
        }
        let [i0, i1, i2, i3, b0, b1, b2, b3, b4, b5, b6, b7, rest @ ..] = *rest;
        let [cluster @ .., theirs] = rest;
        if u64::from_le_bytes(cluster) != self.cluster && !bugs::has(Bug::HearsOtherClusters) {
            return Err(Refusal::OtherCluster);
        }
        let ours = self.acceptor_count;
        if theirs != ours && !bugs::has(Bug::MixesQuorums) {
            return Err(Refusal::OtherAcceptorCount { theirs, ours });
        }
        let id = u32::from_le_bytes([i0, i1, i2, i3]);
        let boot = u64::from_le_bytes([b0, b1, b2, b3, b4, b5, b6, b7]);
        let is_knock = *kind == KNOCK;
        let is_hello = *kind == HELLO && self.sealed == SEALED;
        let kind = Kind::ALL.get(usize::from(*kind));
        if kind.is_none() && !is_hello && !is_knock {
            return Err(Refusal::UnknownKind);
        }
        let role = *Role::ALL.get(usize::from(*role)).ok_or(Refusal::UnknownSender)?;
        if id == 0 {
            return Err(Refusal::UnknownSender);
        }
        let sender = Sender { node: NodeId { role, id }, boot };
        let Some(&kind) = kind else {
            return Ok(if is_knock { Envelope::Knock(sender) } else { Envelope::Hello(sender) });
        };
        if !kind.is_sent_by(role) {
            return Err(Refusal::WrongRole);
        }
        Ok(Envelope::Message(Header { sender, kind, version }))
    }

    /// Reads a whole datagram.
    pub fn decode(&self, datagram: &[u8]) -> Result<(Sender, Message), Refusal> {
        let header = self.header(datagram)?;
        let body = datagram.get(HEADER_BYTES..).ok_or(Refusal::TooShort)?;
        let message = body::decode(header.sender, header.kind, header.version, body)?;
        Ok((header.sender, message))
    }
}

/// Appends a record of an acceptor's log, in the same form as on the wire.
pub fn encode_record(record: &Record, buffer: &mut Vec<u8>) {
    body::encode_record(record, buffer);
}

/// Reads a record of an acceptor's log.
pub fn decode_record(bytes: &[u8]) -> Result<Record, Refusal> {
    body::decode_record(bytes)
}

/// The 64-bit FNV-1a hash: short names to well-spread numbers. No secret depends on it.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
