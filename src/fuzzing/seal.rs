//! Sealed datagrams and handshakes, from anywhere.

use crate::auth::door::{Door, Heard};
use crate::auth::hello::Hello;
use crate::auth::key::KeyRing;
use crate::auth::seal::{Opened, SEAL_BYTES, Seal};
use crate::protocol::types::{NodeId, Role, Time};

const SESSION: u64 = 7;

/// No bytes from anywhere are a good seal. A sealed datagram opens to the same bytes, and with any
/// bit changed it does not. Bytes that decode as a hello are encoded as the same bytes, and no
/// hello makes a session known that has not proven to be alive, or a datagram accepted twice.
pub fn open_sealed(bytes: &[u8]) {
    let text = format!("paxos-key-1 {}", "3".repeat(64));
    let Ok(ring) = KeyRing::parse("fuzz", &text) else { unreachable!("the key is well-formed") };
    let seal = Seal::new(&ring, "fuzz", SESSION);
    assert!(seal.open(Role::Learner, bytes).is_err(), "forged");

    let mut sealed = bytes.to_vec();
    let sequence = seal.seal(Role::Learner, &mut sealed);
    assert_eq!(sealed.len(), bytes.len() + SEAL_BYTES);
    let opened = Opened { session: SESSION, sequence, content_bytes: bytes.len() };
    assert_eq!(seal.open(Role::Learner, &sealed), Ok(opened));
    let place = bytes.iter().fold(bytes.len(), |sum, byte| sum * 31 % 65_521 + usize::from(*byte));
    let last = sealed.len() - 1 - place % sealed.len();
    sealed[last] ^= 1 << (place % 8);
    assert!(seal.open(Role::Learner, &sealed).is_err(), "changed");

    say_at_the_door(bytes, opened);
}

/// A door that has asked nobody yet hears it twice.
fn say_at_the_door(bytes: &[u8], opened: Opened) {
    let Some(hello) = Hello::decode(bytes) else { return };
    let mut again = Vec::new();
    hello.encode(&mut again);
    assert_eq!(again, bytes);
    let (me, from) = (NodeId::new(Role::Learner, 1), NodeId::new(Role::Proposer, 1));
    let mut door = Door::new(me, SESSION);
    let answered = |sealed| {
        hello.answers.iter().any(|answer| {
            let is_past = (1..=sealed).contains(&answer.sequence);
            answer.to == me && answer.session == SESSION && is_past
        })
    };
    for sealed in [0, u64::MAX] {
        let heard = door.on_hello(Time::ZERO, from, opened, &hello, sealed);
        assert_eq!(heard == Heard::Taken, answered(sealed), "{hello:?}");
        while let Some((_, hello)) = door.next_hello(Time::ZERO, 200) {
            let mut said = Vec::new();
            hello.encode(&mut said);
            assert!(said.len() <= 200, "{hello:?}");
        }
    }
    let heard = door.on_hello(Time::ZERO, from, opened, &hello, u64::MAX);
    assert_ne!(heard, Heard::Taken, "taken twice");
}
