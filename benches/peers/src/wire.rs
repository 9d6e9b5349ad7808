//! The content of datagrams: between a client and a node, and around the messages of a library.
//!
//! Everything comes from processes of this run; what cannot be read is an error all the same.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

/// How long a datagram may get.
pub const DATAGRAM_BYTES: usize = 60_000;
/// How many bytes of values a message of a library should carry at most.
pub const MESSAGE_BYTES: usize = 48_000;
/// The first bytes of a request: its kind, a number, and the size of its values.
const REQUEST_BYTES: usize = 13;

const REQUEST: u8 = 1;
const PROBE: u8 = 2;
const STATE: u8 = 3;
const DECIDED: u8 = 4;
const MESSAGES: u8 = 5;
const PIECE: u8 = 6;

/// A datagram that has arrived.
#[derive(Debug, PartialEq, Eq)]
pub enum Datagram<'a> {
    /// A client's values, numbered from `from`.
    Request { from: u64, value_bytes: usize, values: &'a [u8] },
    /// A client asks a node for its state.
    Probe,
    /// A node says whether it leads, and how many entries it knows to be decided.
    State { is_leader: bool, decided: u64 },
    /// Runs of numbers that are decided, the second of a pair being beyond it.
    Decided(Vec<(u64, u64)>),
    /// Messages of a library.
    Messages(Vec<&'a [u8]>),
    /// A piece of a message that is longer than a datagram.
    Piece { message: u64, place: u32, is_last: bool, bytes: &'a [u8] },
}

/// How many values of this size fit into a request.
pub fn values_that_fit(value_bytes: usize) -> u64 {
    ((MESSAGE_BYTES - REQUEST_BYTES) / value_bytes.max(1)).max(1) as u64
}

fn number(bytes: &[u8], place: usize) -> Option<u64> {
    bytes.get(place..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

fn length(bytes: &[u8], place: usize) -> Option<usize> {
    bytes.get(place..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes) as usize)
}

/// Reads a datagram.
pub fn read(bytes: &[u8]) -> Option<Datagram<'_>> {
    match *bytes.first()? {
        REQUEST => Some(Datagram::Request {
            from: number(bytes, 1)?,
            value_bytes: length(bytes, 9)?,
            values: bytes.get(REQUEST_BYTES..)?,
        }),
        PROBE => Some(Datagram::Probe),
        STATE => {
            Some(Datagram::State { is_leader: *bytes.get(1)? == 1, decided: number(bytes, 2)? })
        }
        DECIDED => {
            let runs = (1..bytes.len()).step_by(16);
            let runs = runs.map(|place| Some((number(bytes, place)?, number(bytes, place + 8)?)));
            runs.collect::<Option<_>>().map(Datagram::Decided)
        }
        MESSAGES => {
            let (mut messages, mut rest) = (Vec::new(), &bytes[1..]);
            while !rest.is_empty() {
                let (message, more) = rest.get(4..)?.split_at_checked(length(rest, 0)?)?;
                messages.push(message);
                rest = more;
            }
            Some(Datagram::Messages(messages))
        }
        PIECE => Some(Datagram::Piece {
            message: number(bytes, 1)?,
            place: length(bytes, 9)? as u32,
            is_last: *bytes.get(13)? == 1,
            bytes: bytes.get(14..)?,
        }),
        _ => None,
    }
}

/// A request of `values` values of these bytes.
pub fn request(from: u64, values: u64, value: &[u8], buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.push(REQUEST);
    buffer.extend_from_slice(&from.to_le_bytes());
    buffer.extend_from_slice(&(value.len() as u32).to_le_bytes());
    (0..values).for_each(|_| buffer.extend_from_slice(value));
}

/// A client's question for a node's state.
pub const fn probe() -> [u8; 1] {
    [PROBE]
}

/// The answer to it.
pub fn state(is_leader: bool, decided: u64) -> Vec<u8> {
    let mut answer = vec![STATE, u8::from(is_leader)];
    answer.extend_from_slice(&decided.to_le_bytes());
    answer
}

/// What is decided, as runs; `numbers` are mostly in order.
pub fn decided(numbers: &[u64], buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.push(DECIDED);
    for run in numbers.chunk_by(|one, next| one + 1 == *next) {
        buffer.extend_from_slice(&run[0].to_le_bytes());
        buffer.extend_from_slice(&(run[0] + run.len() as u64).to_le_bytes());
    }
}

/// Gathers the messages of a turn, so that a receiver gets few datagrams.
#[derive(Default)]
pub struct Outbox {
    datagrams: BTreeMap<u64, Vec<u8>>,
    /// How many messages were cut up.
    cut: u64,
}

impl Outbox {
    /// Adds a message that `encode` writes, after sending the datagram if it does not fit any more.
    ///
    /// A message is longer than a datagram only when a library brings a node up to date that has
    /// lost something: neither library has a limit then.
    pub fn add(
        &mut self,
        receiver: u64,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), String>,
        mut send: impl FnMut(u64, &[u8]),
    ) -> Result<(), String> {
        let datagram = self.datagrams.entry(receiver).or_default();
        if datagram.is_empty() {
            datagram.push(MESSAGES);
        }
        let start = datagram.len();
        datagram.extend_from_slice(&[0; 4]);
        encode(datagram)?;
        let length = datagram.len() - start - 4;
        datagram[start..start + 4].copy_from_slice(&(length as u32).to_le_bytes());
        if datagram.len() > DATAGRAM_BYTES && start > 1 {
            send(receiver, &datagram[..start]);
            datagram.drain(1..start);
        }
        if datagram.len() > DATAGRAM_BYTES {
            self.cut += 1;
            let pieces = (0_u32..).zip(datagram[5..].chunks(DATAGRAM_BYTES - 14));
            for (place, bytes) in pieces {
                let is_last = (place as usize + 1) * (DATAGRAM_BYTES - 14) >= length;
                let mut piece = vec![PIECE];
                piece.extend_from_slice(&self.cut.to_le_bytes());
                piece.extend_from_slice(&place.to_le_bytes());
                piece.push(u8::from(is_last));
                piece.extend_from_slice(bytes);
                send(receiver, &piece);
            }
            datagram.clear();
        }
        Ok(())
    }

    /// Sends the rest.
    pub fn flush(&mut self, mut send: impl FnMut(u64, &[u8])) {
        for (receiver, datagram) in &mut self.datagrams {
            if !datagram.is_empty() {
                send(*receiver, datagram);
                datagram.clear();
            }
        }
    }
}

/// Puts pieces together; a message that lacks one is lost.
#[derive(Default)]
pub struct Pieces {
    /// For each sender: which message, how many pieces of it are there, and its bytes.
    partial: HashMap<SocketAddr, (u64, u32, Vec<u8>)>,
}

impl Pieces {
    /// Takes a piece, and gives the message that it completes.
    pub fn add(
        &mut self,
        sender: SocketAddr,
        (message, place, is_last): (u64, u32, bool),
        bytes: &[u8],
    ) -> Option<Vec<u8>> {
        let partial = self.partial.entry(sender).or_default();
        if place == 0 {
            *partial = (message, 0, Vec::new());
        }
        if (partial.0, partial.1) != (message, place) {
            return None;
        }
        partial.1 += 1;
        partial.2.extend_from_slice(bytes);
        is_last.then(|| self.partial.remove(&sender).map(|(.., bytes)| bytes)).flatten()
    }
}

#[cfg(test)]
// A test that cannot set itself up has failed.
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let mut buffer = Vec::new();
        request(7, 3, b"ab", &mut buffer);
        let values: &[u8] = b"ababab";
        assert_eq!(read(&buffer), Some(Datagram::Request { from: 7, value_bytes: 2, values }));
        decided(&[3, 4, 5, 9], &mut buffer);
        assert_eq!(read(&buffer), Some(Datagram::Decided(vec![(3, 6), (9, 10)])));
        assert_eq!(read(&probe()), Some(Datagram::Probe));
        let state = state(true, 7);
        assert_eq!(read(&state), Some(Datagram::State { is_leader: true, decided: 7 }));
        assert_eq!(read(&[MESSAGES, 9, 0, 0, 0]), None);
        assert_eq!(read(&[]), None);
    }

    #[test]
    fn messages_of_a_turn_share_datagrams_up_to_their_limit() {
        let (mut outbox, mut sent) = (Outbox::default(), Vec::new());
        for bytes in [1, 2, DATAGRAM_BYTES - 10, 3] {
            let encode = |buffer: &mut Vec<u8>| {
                buffer.resize(buffer.len() + bytes, 8);
                Ok(())
            };
            outbox.add(2, encode, |_, datagram| sent.push(datagram.to_vec())).unwrap();
        }
        outbox.flush(|_, datagram| sent.push(datagram.to_vec()));
        let lengths: Vec<Vec<usize>> = sent
            .iter()
            .map(|datagram| match read(datagram) {
                Some(Datagram::Messages(messages)) => messages.iter().map(|m| m.len()).collect(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(lengths, [vec![1, 2], vec![DATAGRAM_BYTES - 10], vec![3]]);
    }

    #[test]
    fn a_message_longer_than_a_datagram_is_cut_up_and_put_together() {
        for length in [DATAGRAM_BYTES, 2 * (DATAGRAM_BYTES - 14), 200_000] {
            let long: Vec<u8> = (0..length).map(|place| place as u8).collect();
            let (mut outbox, mut sent) = (Outbox::default(), Vec::new());
            for message in [&long[..3], &long, &long[..5]] {
                let encode = |buffer: &mut Vec<u8>| {
                    buffer.extend_from_slice(message);
                    Ok(())
                };
                outbox.add(2, encode, |_, datagram| sent.push(datagram.to_vec())).unwrap();
            }
            outbox.flush(|_, datagram| sent.push(datagram.to_vec()));
            assert!(sent.iter().all(|datagram| datagram.len() <= DATAGRAM_BYTES));
            let (mut pieces, mut messages) = (Pieces::default(), Vec::new());
            for datagram in &sent {
                match read(datagram) {
                    Some(Datagram::Messages(more)) => {
                        messages.extend(more.into_iter().map(<[u8]>::to_vec));
                    }
                    Some(Datagram::Piece { message, place, is_last, bytes }) => {
                        let sender = ([127, 0, 0, 1], 1).into();
                        messages.extend(pieces.add(sender, (message, place, is_last), bytes));
                    }
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(messages, [&long[..3], &long, &long[..5]]);
            // Without its second piece there is no message.
            let mut pieces = Pieces::default();
            let lost = sent.iter().enumerate().filter(|(place, _)| *place != 2).find_map(
                |(_, datagram)| match read(datagram) {
                    Some(Datagram::Piece { message, place, is_last, bytes }) => {
                        let sender = ([127, 0, 0, 1], 1).into();
                        pieces.add(sender, (message, place, is_last), bytes)
                    }
                    _ => None,
                },
            );
            assert_eq!(lost, None);
        }
    }
}
