//! Which sessions delivery remembers, and how they are forgotten for good.
//!
//! Number n of a session is delivered right after n - 1, so a process must know how far each
//! session has come. In the long run there are many: each start of a client is one. Only a limited
//! number are remembered, and a forgotten one must never begin again, or its values would be
//! delivered a second time: a request may be late by hours, and an entry may be decided again by a
//! later leader.
//!
//! 1. A session is opened before its first value is requested: a client asks where the log is, and
//!    a leader says up to where everything is decided. That is the session's stamp, `opened`. It
//!    stands in the entry of its number 1, and in each of the client's requests. Values that the
//!    client requests later can only be decided at `opened` or above.
//! 2. Which sessions are forgotten is a function of the log. Each position remembers the instance
//!    of the last number that was delivered, `last`. A [`Limit`](super::checkpoint::Limit), which a
//!    leader writes into the log when there are a quarter more sessions than its setting allows,
//!    says how many stay. Every process that passes it keeps those with the highest `last`; no two
//!    have the same. So processes with different settings still agree.
//! 3. When a session is forgotten, the `horizon` rises above its stamp. A session begins, at number
//!    1, if it is not known and its stamp is at the horizon or above. So a forgotten session never
//!    begins again, and a session that begins was never forgotten.
//! 4. A session that was opened and has not begun when the horizon passes its stamp never begins
//!    either. That takes a client that sends nothing while as many others as the limit allows
//!    request something: the horizon is at most one above the lowest `last` that is remembered.
//! 5. Nobody can tell how far a forgotten session had come, so its client is told that nothing
//!    more is known, rather than that anything was lost. That answer is final: an unknown session
//!    with a stamp below the horizon stays unknown (3), for every process that has passed the
//!    limit.
//! 6. The table and the horizon are part of every checkpoint, so a process that takes up the log
//!    there forgets and refuses the same sessions as all others.
//!
//! Entries of earlier versions have no stamp, which is below every stamp: such sessions begin as
//! long as nothing was forgotten.

#[cfg(all(test, feature = "bugs"))]
pub mod mistakes;

use std::collections::{BTreeMap, btree_map::Entry};

use super::types::{Instance, Number, Origin, Session};

/// Where delivery is in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The number to deliver next. When the session has ended: the first that is never delivered.
    pub next: Number,
    /// Whether nothing more of it is delivered.
    pub has_ended: bool,
    /// The instance of the last number that was delivered.
    pub last: Instance,
    /// Where the log was when the session was opened.
    pub opened: Instance,
}

/// Every session that is remembered, and the horizon below which others never begin.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sessions {
    positions: BTreeMap<Session, Position>,
    /// A session that is not known and was opened below it never begins.
    horizon: Instance,
}

impl Sessions {
    /// No session yet, and none forgotten.
    pub fn new() -> Self {
        Sessions { positions: BTreeMap::new(), horizon: Origin::UNSTAMPED }
    }

    /// The sessions that a checkpoint says are remembered.
    pub fn restored(positions: Vec<(Session, Position)>, horizon: Instance) -> Self {
        Sessions { positions: positions.into_iter().collect(), horizon }
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.positions.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// Each of them, in order.
    pub fn positions(&self) -> impl Iterator<Item = (Session, Position)> {
        self.positions.iter().map(|(session, position)| (*session, *position))
    }

    /// A session that is not known and was opened below it never begins.
    pub fn horizon(&self) -> Instance {
        self.horizon
    }

    /// Where `session` stands, if it is known.
    pub fn get(&self, session: Session) -> Option<&Position> {
        self.positions.get(&session)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, session: Session) -> Option<&mut Position> {
        self.positions.get_mut(&session)
    }

    /// Whether nothing is known of `session`, opened at `opened`, and nothing will be.
    pub fn has_forgotten(&self, session: Session, opened: Instance) -> bool {
        opened < self.horizon && !self.positions.contains_key(&session)
    }

    /// The position of the session of a value of this origin at `instance`. Begins the session if
    /// this is its first value and the session may begin.
    pub fn begin(&mut self, instance: Instance, origin: Origin) -> Option<&mut Position> {
        let Origin { session, number, opened, .. } = origin;
        match self.positions.entry(session) {
            Entry::Occupied(known) => Some(known.into_mut()),
            Entry::Vacant(place) => {
                if number != Number::FIRST || opened < self.horizon {
                    return None;
                }
                // A stamp ahead of the session's values is forged. It must not raise the horizon
                // above the stamps of all others.
                let opened = opened.min(instance);
                let next = Number::FIRST;
                Some(place.insert(Position { next, has_ended: false, last: instance, opened }))
            }
        }
    }

    /// Forgets all sessions but the `count` that had something delivered last. Returns the
    /// forgotten ones.
    pub fn forget_all_but(&mut self, count: usize) -> Vec<Session> {
        let Some(surplus) = self.positions.len().checked_sub(count).filter(|more| *more > 0) else {
            return Vec::new();
        };
        let age = |(session, position): (&Session, &Position)| (position.last, *session);
        let mut by_age: Vec<(Instance, Session)> = self.positions.iter().map(age).collect();
        by_age.sort_unstable();
        by_age.truncate(surplus);
        for (_, session) in &by_age {
            if let Some(position) = self.positions.remove(session) {
                self.horizon = self.horizon.max(Instance(position.opened.0.saturating_add(1)));
            }
        }
        by_age.into_iter().map(|(_, session)| session).collect()
    }
}

impl Default for Sessions {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::checkpoint::Limit;
    use crate::protocol::decided_log::{DecidedLog, LetsGo, Occurrence};
    use crate::protocol::segments::Page;
    use crate::protocol::types::{AssignedBy, Counted, Entry, Part, Run, Value};

    fn session(client: u32) -> Session {
        Session { client, boot: 7 }
    }

    fn value(client: u32, number: u64, opened: u64) -> Entry {
        let origin = Origin::new(session(client), Number(number), AssignedBy::Leader);
        let origin = origin.stamped(Instance(opened));
        Entry::Value { origin, value: Value::new(b"v") }
    }

    /// What becomes of these entries: `d` delivered, `s` skipped, `l` a limit.
    fn fates(log: &mut DecidedLog, entries: Vec<Entry>) -> String {
        let page = Page { from: log.end(), entries: entries.into() };
        log.decide(page, |_| {}).expect("it is new");
        let mut fates = String::new();
        log.deliver(|page, what| {
            let letter = match what {
                Occurrence::Delivered => "d",
                Occurrence::Skipped => "s",
                Occurrence::Limit(_) => "l",
                other => panic!("{other:?}"),
            };
            fates += &letter.repeat(page.entries.len());
        });
        fates
    }

    fn limit(sessions: u64) -> Entry {
        Limit { sessions }.entry()
    }

    /// Four sessions, the second of which was active last; two are kept.
    fn limited() -> DecidedLog {
        let mut log = DecidedLog::new();
        let entries = vec![
            value(1, 1, 1),
            value(2, 1, 1),
            value(3, 1, 2),
            value(4, 1, 3),
            value(2, 2, 0),
            limit(2),
        ];
        assert_eq!(fates(&mut log, entries), "dddddl");
        log
    }

    #[test]
    fn those_that_were_active_last_stay() {
        let mut log = limited();
        assert_eq!(log.session_count(), 2);
        // More values of the sessions that stay, and of those that do not.
        let entries = vec![value(2, 3, 0), value(4, 2, 0), value(1, 2, 0), value(3, 2, 0)];
        assert_eq!(fates(&mut log, entries), "ddss");
    }

    /// Sessions that were opened before a forgotten one are not begun, whether they were known or
    /// not; those that were opened later are.
    #[test]
    fn a_forgotten_session_is_never_begun_again() {
        let mut log = limited();
        assert!(log.has_forgotten(session(1), Instance(1)));
        assert!(!log.has_forgotten(session(2), Instance(1)), "it is known");
        let entries = vec![value(1, 1, 1), value(3, 1, 2), value(5, 1, 2), value(6, 1, 3)];
        assert_eq!(fates(&mut log, entries), "sssd");
        // Without a stamp, as in logs of earlier versions.
        assert_eq!(fates(&mut log, vec![value(7, 1, 0)]), "s");
        assert_eq!(fates(&mut DecidedLog::new(), vec![value(7, 1, 0), value(7, 2, 0)]), "dd");
    }

    /// A session that was opened early and used for long is forgotten late.
    #[test]
    fn the_horizon_never_falls() {
        let mut log = DecidedLog::new();
        let entries = vec![
            value(1, 1, 1),
            value(2, 1, 2),
            value(1, 2, 0),
            limit(1), // Client 2, opened at 2.
            value(3, 1, 4),
            limit(1), // Client 1, opened at 1.
            value(4, 1, 2),
            value(5, 1, 3),
        ];
        assert_eq!(fates(&mut log, entries), "dddldlsd");
    }

    /// The open value of a forgotten session takes no room from others.
    #[test]
    fn a_forgotten_session_leaves_nothing_open() {
        let mut log = DecidedLog::new();
        let origin = Origin::new(session(1), Number(1), AssignedBy::Leader).stamped(Instance(1));
        let (part, bytes) = (Part::First { value_bytes: 100 }, Value::new(&[b'p'; 50]));
        let page =
            Page { from: log.end(), entries: vec![Entry::Part { origin, part, bytes }].into() };
        log.decide(page, |_| {}).expect("it is new");
        log.deliver(|_, _| {});
        assert_eq!(log.assemblies().held(), (1, 100));
        assert_eq!(fates(&mut log, vec![value(2, 1, 1), limit(1)]), "dl");
        assert_eq!(log.assemblies().held(), (0, 0));
    }

    /// A stamp that lies ahead of its entry takes no other session with it when it is forgotten.
    #[test]
    fn a_forged_stamp_does_not_raise_the_horizon_above_the_log() {
        let mut log = DecidedLog::new();
        let entries = vec![value(1, 1, u64::MAX), value(2, 1, 1), limit(1), value(3, 1, 2)];
        assert_eq!(fates(&mut log, entries), "ddld");
    }

    /// A process that takes the log up at a checkpoint remembers the same.
    #[test]
    fn a_checkpoint_has_the_horizon() {
        let mut log = limited();
        let checkpoint = log.checkpoint(LetsGo::NONE);
        let from = log.end();
        let page = Page { from, entries: checkpoint.pieces(1000).into() };
        log.decide(page, |_| {}).expect("it is new");
        log.deliver(|_, _| {});
        let mut late = DecidedLog::new();
        late.note_first(checkpoint.head.keep);
        let pages: Vec<Page> = log.pages(Run::new(from, log.end())).collect();
        for page in pages {
            late.decide(page, |_| {}).expect("it is new");
        }
        assert_eq!(late.take_up(), Some(from));
        late.deliver(|_, _| {});
        for log in [&mut log, &mut late] {
            let entries = vec![value(1, 1, 1), value(2, 3, 0), value(5, 1, from.next().0)];
            assert_eq!(fates(log, entries), "sdd");
        }
    }

    /// However many come, few stay, and the work depends only on those that go.
    #[test]
    fn the_table_stays_small() {
        let mut log = DecidedLog::new();
        for client in 1..=10_000 {
            let at = log.end().0;
            assert_eq!(fates(&mut log, vec![value(client, 1, at)]), "d");
            if log.session_count() > 125 {
                assert_eq!(fates(&mut log, vec![limit(100)]), "l");
            }
            assert!(log.session_count() <= 125);
        }
    }
}
