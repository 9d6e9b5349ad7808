//! The questions and answers of the handshake, as bytes.
//!
//! ```text
//!   asked 1 | (role 1, id 4) ... | answered 1 | (role 1, id 4, session 8, sequence 8) ...
//! ```
//!
//! A hello with neither only says that its sender is there.

use crate::protocol::types::{NodeId, Role};

/// The bytes of a question.
const ASK_BYTES: usize = 5;
/// The bytes of an answer.
const ANSWER_BYTES: usize = 21;
/// The bytes of the two counts.
const COUNT_BYTES: usize = 2;

/// The proof for an asker: the numbers of its own question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Answer {
    /// Who asked.
    pub to: NodeId,
    /// The asker's session.
    pub session: u64,
    /// The sequence number of the question.
    pub sequence: u64,
}

/// The body of a datagram of the handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// These nodes are asked to prove themselves.
    pub asks: Vec<NodeId>,
    /// The sender proves itself to these askers.
    pub answers: Vec<Answer>,
}

impl Hello {
    /// How many answers fit into `bytes`, and how many questions fit besides `answers` answers.
    pub fn room(bytes: usize, answers: usize) -> (usize, usize) {
        let bytes = bytes.saturating_sub(COUNT_BYTES);
        let most_answers = (bytes / ANSWER_BYTES).min(255);
        let answers = answers.min(most_answers);
        (most_answers, ((bytes - answers * ANSWER_BYTES) / ASK_BYTES).min(255))
    }

    /// Appends the hello to `buffer`. At most 255 of each.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        assert!(self.asks.len() <= 255 && self.answers.len() <= 255, "they fit a datagram");
        buffer.push(self.asks.len() as u8);
        for node in &self.asks {
            encode_node(*node, buffer);
        }
        buffer.push(self.answers.len() as u8);
        for Answer { to, session, sequence } in &self.answers {
            encode_node(*to, buffer);
            buffer.extend_from_slice(&session.to_le_bytes());
            buffer.extend_from_slice(&sequence.to_le_bytes());
        }
    }

    /// Parses all of `bytes`; none when they are not exactly a hello.
    pub fn decode(mut bytes: &[u8]) -> Option<Hello> {
        let bytes = &mut bytes;
        let asked = number::<1>(bytes)?;
        let asks = (0..asked).map(|_| decode_node(bytes)).collect::<Option<_>>()?;
        let answered = number::<1>(bytes)?;
        let mut answer = |_| {
            let (to, session, sequence) =
                (decode_node(bytes)?, number::<8>(bytes)?, number::<8>(bytes)?);
            Some(Answer { to, session, sequence })
        };
        let answers = (0..answered).map(&mut answer).collect::<Option<_>>()?;
        bytes.is_empty().then_some(Hello { asks, answers })
    }
}

fn encode_node(node: NodeId, buffer: &mut Vec<u8>) {
    buffer.push(node.role as u8);
    buffer.extend_from_slice(&node.id.to_le_bytes());
}

fn decode_node(bytes: &mut &[u8]) -> Option<NodeId> {
    let role = *Role::ALL.get(number::<1>(bytes)? as usize)?;
    let id = number::<4>(bytes)? as u32;
    (id > 0).then_some(NodeId { role, id })
}

/// Takes a number of `BYTES` bytes from the front.
fn number<const BYTES: usize>(bytes: &mut &[u8]) -> Option<u64> {
    let (word, rest) = bytes.split_first_chunk::<BYTES>()?;
    *bytes = rest;
    Some(word.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back_and_nothing_else() {
        let node = |role, id| NodeId { role, id };
        let answer = Answer { to: node(Role::Learner, 3), session: u64::MAX - 1, sequence: 515 };
        let hello = Hello {
            asks: vec![node(Role::Client, 1), node(Role::Acceptor, u32::MAX)],
            answers: vec![answer; 2],
        };
        let mut bytes = Vec::new();
        hello.encode(&mut bytes);
        assert_eq!(bytes.len(), COUNT_BYTES + 2 * ASK_BYTES + 2 * ANSWER_BYTES);
        assert_eq!(Hello::decode(&bytes), Some(hello));
        for length in 0..bytes.len() {
            assert_eq!(Hello::decode(&bytes[..length]), None);
        }
        bytes.push(0);
        assert_eq!(Hello::decode(&bytes), None);
        assert_eq!(Hello::decode(&[0, 0]), Some(Hello::default()));
        assert_eq!(Hello::decode(&[1, 4, 1, 0, 0, 0, 0]), None, "no such role");
        assert_eq!(Hello::decode(&[1, 0, 0, 0, 0, 0, 0]), None, "no such node");
    }

    #[test]
    fn what_fits_fits() {
        for bytes in 0..3000 {
            let (most_answers, _) = Hello::room(bytes, 0);
            for answers in [0, 1, most_answers] {
                let (_, asks) = Hello::room(bytes, answers);
                let taken =
                    COUNT_BYTES + answers.min(most_answers) * ANSWER_BYTES + asks * ASK_BYTES;
                assert!(taken <= bytes.max(COUNT_BYTES), "{bytes} {answers}");
            }
        }
    }
}
