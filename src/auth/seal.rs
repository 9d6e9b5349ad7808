//! Tags on datagrams: how they are added, and verified in constant time.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::key::KeyRing;
use crate::protocol::types::To;

/// How many bytes a seal adds to a datagram.
pub const SEAL_BYTES: usize = KEY_ID_BYTES + SESSION_BYTES + SEQUENCE_BYTES + TAG_BYTES;

const KEY_ID_BYTES: usize = 4;
const SESSION_BYTES: usize = 8;
const SEQUENCE_BYTES: usize = 8;
const TAG_BYTES: usize = 16;

/// Marks datagrams to one process, so that one to its group cannot be replayed to it alone, nor one
/// to it to another process.
const ONE: u8 = 0x80;

/// The purpose that keys are derived for, so that no other use of a key gives the same bytes.
const PURPOSE: &[u8] = b"multi-paxos datagrams 1 ";

/// Seals and opens the datagrams of one process. Shared by its threads.
pub struct Seal {
    /// The first seals.
    keys: Vec<DerivedKey>,
    session: u64,
    /// The sequence number of the last datagram that was sealed.
    last: AtomicU64,
}

struct DerivedKey {
    id: [u8; KEY_ID_BYTES],
    /// The key, ready for use.
    mac: Hmac<Sha256>,
}

impl DerivedKey {
    fn new(secret: &[u8], cluster: &str) -> Self {
        let derived = keyed(secret).chain_update(PURPOSE).chain_update(cluster).finalize();
        let mac = keyed(&derived.into_bytes());
        let mut id = [0; KEY_ID_BYTES];
        id.copy_from_slice(&mac.clone().chain_update("id").finalize().into_bytes()[..KEY_ID_BYTES]);
        DerivedKey { id, mac }
    }

    /// The MAC over everything but the tag, and over the addressee. No datagram begins as the id's
    /// input does, and the last byte distinguishes a group from a process.
    fn over(&self, to: To, bytes: &[u8]) -> Hmac<Sha256> {
        let mac = self.mac.clone().chain_update(bytes);
        match to {
            To::Group(group) => mac.chain_update([group as u8]),
            To::Node(node) => {
                mac.chain_update(node.id.to_le_bytes()).chain_update([node.role as u8 | ONE])
            }
        }
    }
}

/// What a good seal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The session of the sender that sealed it.
    pub session: u64,
    /// The number of the datagram in that session, from 1.
    pub sequence: u64,
    /// How many bytes come before the seal.
    pub content_bytes: usize,
}

/// Why a seal was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// There is not even room for a seal.
    TooShort,
    /// It was made with a key that this process does not have.
    OtherKey,
    /// It was not made by a holder of the key, or is for another addressee, or something was
    /// changed.
    Forged,
}

impl Seal {
    /// The seal of a process: `session` is a number from the operating system that no other
    /// process and no other run of this one has.
    pub fn new(ring: &KeyRing, cluster: &str, session: u64) -> Self {
        let keys = ring.secrets().map(|secret| DerivedKey::new(secret, cluster)).collect();
        Seal { keys, session, last: AtomicU64::new(0) }
    }

    /// The session of this process.
    pub fn session(&self) -> u64 {
        self.session
    }

    /// The sequence number of the last datagram that was sealed; 0 before the first.
    pub fn last_sequence(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }

    /// Adds a seal to a datagram for `to`: [`SEAL_BYTES`] more. Returns its sequence number.
    pub fn seal(&self, to: impl Into<To>, datagram: &mut Vec<u8>) -> u64 {
        let sequence = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let key = &self.keys[0];
        datagram.extend_from_slice(&key.id);
        datagram.extend_from_slice(&self.session.to_le_bytes());
        datagram.extend_from_slice(&sequence.to_le_bytes());
        let tag = key.over(to.into(), datagram).finalize().into_bytes();
        datagram.extend_from_slice(&tag[..TAG_BYTES]);
        sequence
    }

    /// Verifies the seal of a datagram that arrived where datagrams to `to` arrive.
    ///
    /// # Errors
    ///
    /// When the seal is not good; then nothing of the datagram may be believed.
    pub fn open(&self, to: impl Into<To>, datagram: &[u8]) -> Result<Opened, Broken> {
        let to = to.into();
        let (sealed, tag) = datagram.split_last_chunk::<TAG_BYTES>().ok_or(Broken::TooShort)?;
        let (rest, sequence) = sealed.split_last_chunk().ok_or(Broken::TooShort)?;
        let (rest, session) = rest.split_last_chunk().ok_or(Broken::TooShort)?;
        let (content, id) = rest.split_last_chunk::<KEY_ID_BYTES>().ok_or(Broken::TooShort)?;
        let mut broken = Broken::OtherKey;
        // There are at most two keys, and hardly ever with the same id.
        for key in self.keys.iter().filter(|key| key.id == *id) {
            if key.over(to, sealed).verify_truncated_left(tag).is_ok() {
                return Ok(Opened {
                    session: u64::from_le_bytes(*session),
                    sequence: u64::from_le_bytes(*sequence),
                    content_bytes: content.len(),
                });
            }
            broken = Broken::Forged;
        }
        Err(broken)
    }
}

/// Shows nothing of the key.
impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal").field("session", &self.session).finish_non_exhaustive()
    }
}

/// Identifies a ring without revealing its keys: the public ids of its first key and of its second,
/// if there is one.
pub fn fingerprint(ring: &KeyRing, cluster: &str) -> u64 {
    let id = |secret| u32::from_le_bytes(DerivedKey::new(secret, cluster).id);
    let ids = ring.secrets().map(id).enumerate();
    ids.fold(0, |ids, (place, id)| ids | u64::from(id) << (32 * place))
}

/// Whether processes with these fingerprints, `None` without a key, understand each other: each can
/// open what the other seals.
pub fn understand(one: Option<u64>, other: Option<u64>) -> bool {
    let (Some(one), Some(other)) = (one, other) else { return one == other };
    let opens = |ring: u64, first: u32| ring as u32 == first || (ring >> 32) as u32 == first;
    opens(one, other as u32) && opens(other, one as u32)
}

fn keyed(secret: &[u8]) -> Hmac<Sha256> {
    match Hmac::new_from_slice(secret) {
        Ok(mac) => mac,
        Err(_) => unreachable!("HMAC takes keys of any length"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::types::{NodeId, Role};

    const ONE: &str =
        "paxos-key-1 1111111111111111111111111111111111111111111111111111111111111111";
    const TWO: &str =
        "paxos-key-1 2222222222222222222222222222222222222222222222222222222222222222";

    fn seal(keys: &[&str], cluster: &str, session: u64) -> Seal {
        Seal::new(&KeyRing::parse("key", &keys.join("\n")).unwrap(), cluster, session)
    }

    fn sealed(seal: &Seal, content: &[u8]) -> Vec<u8> {
        let mut datagram = content.to_vec();
        seal.seal(Role::Acceptor, &mut datagram);
        datagram
    }

    #[test]
    fn it_carries_session_and_sequence_and_they_count_over_all_groups() {
        let (mine, theirs) = (seal(&[ONE], "c", 7), seal(&[ONE], "c", 8));
        for (sequence, group) in (1..).zip(Role::ALL) {
            let mut datagram = b"content".to_vec();
            assert_eq!(mine.seal(group, &mut datagram), sequence);
            assert_eq!(datagram.len(), 7 + SEAL_BYTES);
            let opened = Opened { session: 7, sequence, content_bytes: 7 };
            assert_eq!(theirs.open(group, &datagram), Ok(opened));
        }
        assert_eq!((mine.last_sequence(), theirs.last_sequence()), (4, 0));
    }

    /// RFC 2104 and RFC 6234 define the tag; this is its first value. If it changes, running
    /// clusters do not understand each other.
    #[test]
    fn the_format_stays() {
        let datagram = sealed(&seal(&[ONE], "paxos", 0x0807_0605_0403_0201), b"content");
        let hex: String = datagram.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "636f6e74656e7473\
                 5a29610102030405060708010000000000000012495165a59030e187b346e31285dd24"
        );
    }

    #[test]
    fn each_key_has_its_cluster_and_its_group() {
        let datagram = sealed(&seal(&[ONE], "c", 7), b"content");
        let open = |seal: Seal, group| seal.open(group, &datagram);
        assert!(open(seal(&[ONE], "c", 8), Role::Acceptor).is_ok());
        assert_eq!(open(seal(&[ONE], "d", 8), Role::Acceptor), Err(Broken::OtherKey));
        assert_eq!(open(seal(&[TWO], "c", 8), Role::Acceptor), Err(Broken::OtherKey));
        assert_eq!(open(seal(&[ONE], "c", 8), Role::Learner), Err(Broken::Forged));
    }

    /// A datagram to a group cannot be replayed to a member's own socket, and one to a member to no
    /// other member and no group.
    #[test]
    fn what_goes_to_one_process_is_for_no_other() {
        let (mine, theirs) = (seal(&[ONE], "c", 7), seal(&[ONE], "c", 8));
        let nodes = Role::ALL.into_iter().flat_map(|role| (1..3).map(move |id| (role, id)));
        let nodes = nodes.map(|(role, id)| To::Node(NodeId::new(role, id)));
        let all: Vec<To> = Role::ALL.into_iter().map(To::Group).chain(nodes).collect();
        for to in &all {
            let mut datagram = b"content".to_vec();
            mine.seal(*to, &mut datagram);
            for at in &all {
                assert_eq!(theirs.open(*at, &datagram).is_ok(), at == to, "{to} at {at}");
            }
        }
    }

    /// One process after the other is restarted: with the new key as second, then as first, then
    /// alone. At each step all processes understand each other.
    #[test]
    fn a_key_is_replaced_while_the_cluster_runs() {
        let steps: [&[&str]; 4] = [&[ONE], &[ONE, TWO], &[TWO, ONE], &[TWO]];
        for pair in steps.windows(2) {
            let [before, after] = [0, 1].map(|place| seal(pair[place], "c", 1));
            assert!(after.open(Role::Acceptor, &sealed(&before, b"old")).is_ok());
            assert!(before.open(Role::Acceptor, &sealed(&after, b"new")).is_ok());
        }
        let (first, last) = (seal(&[ONE], "c", 1), seal(&[TWO], "c", 1));
        assert_eq!(last.open(Role::Acceptor, &sealed(&first, b"x")), Err(Broken::OtherKey));
    }

    #[test]
    fn fingerprints_tell_who_understands_whom() {
        let print = |keys: &[&str]| {
            Some(fingerprint(&KeyRing::parse("key", &keys.join("\n")).unwrap(), "c"))
        };
        let steps: [&[&str]; 4] = [&[ONE], &[ONE, TWO], &[TWO, ONE], &[TWO]];
        for (place, one) in steps.iter().enumerate() {
            for (other_place, other) in steps.iter().enumerate() {
                let is_near = place.abs_diff(other_place) <= 1;
                assert_eq!(understand(print(one), print(other)), is_near, "{one:?} {other:?}");
            }
            assert!(!understand(print(one), None) && !understand(None, print(one)));
        }
        assert!(understand(None, None));
    }

    #[test]
    fn nothing_of_the_key_is_printed() {
        let printed = format!("{:?}", seal(&[ONE], "c", 7));
        assert!(printed.contains("session: 7") && !printed.contains("11"), "{printed}");
    }

    proptest! {
        /// Any bit, any cut, anything appended: refused.
        #[test]
        fn nothing_can_be_changed(
            content in prop::collection::vec(any::<u8>(), 0..200),
            place in any::<prop::sample::Index>(),
            bit in 0..8_u32,
            more in prop::collection::vec(any::<u8>(), 1..40),
        ) {
            let seal = seal(&[ONE, TWO], "c", 7);
            let datagram = sealed(&seal, &content);
            prop_assert!(seal.open(Role::Acceptor, &datagram).is_ok());
            let place = place.index(datagram.len());
            let mut flipped = datagram.clone();
            flipped[place] ^= 1_u8 << bit;
            prop_assert!(seal.open(Role::Acceptor, &flipped).is_err());
            prop_assert!(seal.open(Role::Acceptor, &datagram[..place]).is_err());
            prop_assert!(seal.open(Role::Acceptor, &datagram[place + 1..]).is_err());
            prop_assert!(seal.open(Role::Acceptor, &[&datagram[..], &more].concat()).is_err());
        }

        #[test]
        fn bytes_from_anywhere_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(seal(&[ONE], "c", 7).open(Role::Acceptor, &bytes).is_err());
        }
    }
}
