//! What does the log say about the sessions that are remembered (`sessions`)?

use super::{FINISHED, LIMIT, MARK, SPARING_LIMIT, alone, read_session, single, take};
use crate::protocol::entries::{EntryRef, put_number};
use crate::protocol::types::{Entry, Number, Session};

/// How many sessions are remembered from here on; a leader writes it when there are more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limit {
    /// How many.
    pub sessions: u64,
    /// Whether those that have ended are forgotten before others. Version 8 has no such limit.
    pub is_sparing: bool,
}

impl Limit {
    /// The limit as an entry.
    pub fn entry(self) -> Entry {
        let kind = if self.is_sparing { SPARING_LIMIT } else { LIMIT };
        let mut bytes = Vec::new();
        [MARK, kind, self.sessions].into_iter().for_each(|number| put_number(number, &mut bytes));
        single(&bytes)
    }

    /// The limit that `entry` is, if it is one.
    pub fn of(entry: EntryRef<'_>) -> Option<Limit> {
        let sparing = alone(entry, SPARING_LIMIT);
        let is_sparing = sparing.is_some();
        let mut bytes = sparing.or_else(|| alone(entry, LIMIT))?;
        let sessions = take(&mut bytes)?;
        bytes.is_empty().then_some(Limit { sessions, is_sparing })
    }
}

/// Sessions whose clients have said that they request nothing more. Version 8 has no such entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Finished {
    /// The sessions, in the order in which they are ended, each with the number above its last.
    pub sessions: Vec<(Session, Number)>,
}

impl Finished {
    /// How many bytes one session takes in an entry, at most.
    pub const SESSION_BYTES_MAX: usize = 5 + 9 + 9;
    /// How many bytes an entry takes besides its sessions, at most.
    pub const HEAD_BYTES_MAX: usize = 2 + 9;

    /// They as an entry.
    pub fn entry(&self) -> Entry {
        let mut bytes = Vec::new();
        let mut put = |number| put_number(number, &mut bytes);
        [MARK, FINISHED, self.sessions.len() as u64].into_iter().for_each(&mut put);
        for (session, next) in &self.sessions {
            [session.client.into(), session.boot, next.0].into_iter().for_each(&mut put);
        }
        single(&bytes)
    }

    /// The sessions that `entry` says have finished, if it says that.
    pub fn read(entry: EntryRef<'_>) -> Option<Finished> {
        let mut bytes = alone(entry, FINISHED)?;
        let bytes = &mut bytes;
        let sessions =
            (0..take(bytes)?).map(|_| Some((read_session(bytes)?, Number(take(bytes)?))));
        let sessions = sessions.collect::<Option<_>>()?;
        bytes.is_empty().then_some(Finished { sessions })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::types::Value;

    fn session(client: u32) -> Session {
        Session { client, boot: u64::MAX - u64::from(client) }
    }

    #[test]
    fn they_read_back_and_are_not_taken_for_each_other() {
        let sessions = vec![(session(1), Number(1)), (session(u32::MAX), Number(u64::MAX))];
        let finished = Finished { sessions };
        for is_sparing in [true, false] {
            let limit = Limit { sessions: 300, is_sparing };
            assert_eq!(Limit::of(limit.entry().borrowed()), Some(limit));
            assert_eq!(Finished::read(limit.entry().borrowed()), None);
        }
        assert_eq!(Finished::read(finished.entry().borrowed()), Some(finished.clone()));
        assert_eq!(Limit::of(finished.entry().borrowed()), None);
    }

    #[test]
    fn no_session_takes_more_room_than_is_counted() {
        let sessions = vec![(session(u32::MAX), Number(u64::MAX)); 50];
        let Entry::Checkpoint { bytes, .. } = Finished { sessions }.entry() else {
            panic!("it is a control entry")
        };
        let most = Finished::HEAD_BYTES_MAX + 50 * Finished::SESSION_BYTES_MAX;
        assert!(bytes.as_bytes().len() <= most);
    }

    /// As everywhere: bytes that do not mean exactly this mean nothing, and an absurd count takes
    /// no memory.
    #[test]
    fn what_is_cut_off_or_too_long_is_nothing() {
        let whole = Finished { sessions: vec![(session(1), Number(7)), (session(2), Number(300))] };
        let Entry::Checkpoint { bytes, .. } = whole.entry() else { panic!("a control entry") };
        let bytes = bytes.as_bytes();
        for until in 0..bytes.len() {
            assert_eq!(Finished::read(single(&bytes[..until]).borrowed()), None, "{until} bytes");
        }
        assert_eq!(Finished::read(single(&[bytes, &[0]].concat()).borrowed()), None);
        let mut absurd = Vec::new();
        [MARK, FINISHED, u64::MAX].into_iter().for_each(|number| put_number(number, &mut absurd));
        assert_eq!(Finished::read(single(&absurd).borrowed()), None);
        let Entry::Checkpoint { piece, .. } = whole.entry() else { panic!("a control entry") };
        let other = Entry::Checkpoint { piece, bytes: Value::new(&bytes[..bytes.len() - 1]) };
        assert_eq!(Finished::read(other.borrowed()), None, "its hash is another's");
    }
}
