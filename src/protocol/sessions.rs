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
//!    of the last number that was delivered, `last`. A [`Limit`], which a
//!    leader writes into the log when there are a quarter more sessions than its setting allows,
//!    says how many stay. Every process that passes it keeps those with the highest `last`; no two
//!    have the same. But those that have ended are forgotten before others, unless they are among
//!    the newest of all, half as many as stay: a client that is done says so, and a leader writes
//!    it into the log ([`Finished`](super::checkpoint::Finished)). So a client that requests
//!    something once a day outlasts any number of others that come, finish and go. Processes with
//!    different settings still agree.
//! 3. When a session is forgotten, the `horizon` rises above its stamp. A session begins, at number
//!    1, if it is not known and its stamp is at the horizon or above. So a forgotten session never
//!    begins again, and a session that begins was never forgotten.
//! 4. A session that was opened and has not begun when the horizon passes its stamp never begins
//!    either. That takes a client that sends nothing while half as many others as the limit allows
//!    request something: so many are never forgotten by it, those with the highest `last`, and the
//!    horizon is at most one above a `last` of the others.
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

use super::checkpoint::Limit;
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

    /// Forgets as many sessions as `limit` says. Returns them.
    pub fn forget(&mut self, limit: Limit) -> Vec<Session> {
        let count = usize::try_from(limit.sessions).unwrap_or(usize::MAX);
        let Some(surplus) = self.positions.len().checked_sub(count).filter(|more| *more > 0) else {
            return Vec::new();
        };
        let mut forgotten = self.by_age();
        if limit.is_sparing {
            let (older, _) = forgotten.split_at_mut(self.positions.len() - count / 2);
            older.sort_by_key(|session| !self.positions[session].has_ended);
        }
        forgotten.truncate(surplus);
        for session in &forgotten {
            if let Some(position) = self.positions.remove(session) {
                self.horizon = self.horizon.max(Instance(position.opened.0.saturating_add(1)));
            }
        }
        forgotten
    }

    /// All sessions; first the one that had nothing delivered for longest.
    fn by_age(&self) -> Vec<Session> {
        let age = |(session, position): (&Session, &Position)| (position.last, *session);
        let mut by_age: Vec<(Instance, Session)> = self.positions.iter().map(age).collect();
        by_age.sort_unstable();
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
    use crate::protocol::checkpoint::Finished;
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
                Occurrence::Finished(_) => "f",
                Occurrence::Ended => "e",
                other => panic!("{other:?}"),
            };
            fates += &letter.repeat(page.entries.len());
        });
        fates
    }

    fn limit(sessions: u64) -> Entry {
        Limit { sessions, is_sparing: false }.entry()
    }

    fn sparing(sessions: u64) -> Entry {
        Limit { sessions, is_sparing: true }.entry()
    }

    /// These clients have finished, each with the number above its last.
    fn finished(clients: &[(u32, u64)]) -> Entry {
        let said = |(client, next): &(u32, u64)| (session(*client), Number(*next));
        Finished { sessions: clients.iter().map(said).collect() }.entry()
    }

    /// A log of these entries of client 1, behind which a value in parts of it is open.
    fn with_open(mut entries: Vec<Entry>) -> DecidedLog {
        let number = Number::FIRST.plus(entries.len() as u64);
        let origin = Origin::new(session(1), number, AssignedBy::Leader).stamped(Instance(1));
        let (part, bytes) = (Part::First { value_bytes: 100 }, Value::new(&[b'p'; 50]));
        entries.push(Entry::Part { origin, part, bytes });
        let mut log = DecidedLog::new();
        let page = Page { from: log.end(), entries: entries.into() };
        log.decide(page, |_| {}).expect("it is new");
        log.deliver(|_, _| {});
        log
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

    /// Client 1 was there first, and has said nothing since; six others came after it.
    fn crowd() -> DecidedLog {
        let mut log = DecidedLog::new();
        let entries = (1..=7).map(|client| value(client, 1, client.into())).collect();
        assert_eq!(fates(&mut log, entries), "ddddddd");
        log
    }

    #[test]
    fn sessions_that_have_finished_are_forgotten_before_others() {
        let mut log = crowd();
        let entries = vec![finished(&[(2, 2), (3, 2)]), sparing(5)];
        assert_eq!(fates(&mut log, entries), "fl");
        assert!(log.has_forgotten(session(2), Instance(2)));
        assert!(log.has_forgotten(session(3), Instance(3)));
        // The idle one goes on, and a forgotten one never begins again.
        assert_eq!(fates(&mut log, vec![value(1, 2, 0), value(2, 1, 2)]), "ds");

        // For a limit of version 8, age alone counts.
        let mut log = crowd();
        assert_eq!(fates(&mut log, vec![finished(&[(2, 2), (3, 2)]), limit(5)]), "fl");
        assert!(log.has_forgotten(session(1), Instance(1)));
        assert!(!log.has_forgotten(session(3), Instance(3)));
    }

    /// However many there are by the time a limit is written, the one that is idle stays.
    #[test]
    fn a_late_limit_spares_as_well() {
        let mut log = DecidedLog::new();
        let entries = (1..=40).map(|client| value(client, 1, client.into())).collect();
        fates(&mut log, entries);
        let all: Vec<(u32, u64)> = (2..=40).map(|client| (client, 2)).collect();
        assert_eq!(fates(&mut log, vec![finished(&all), sparing(8)]), "fl");
        assert_eq!((log.session_count(), log.has_forgotten(session(1), Instance(1))), (8, false));
    }

    /// A client that has opened its session and requests its first value now must not be refused
    /// because another one has come and gone meanwhile.
    #[test]
    fn of_those_that_were_active_last_nobody_goes_first() {
        let mut log = crowd();
        let entries = vec![finished(&[(6, 2), (7, 2)]), sparing(5)];
        assert_eq!(fates(&mut log, entries), "fl");
        assert!(log.has_forgotten(session(1), Instance(1)));
        assert!(log.has_forgotten(session(2), Instance(2)));
        assert_eq!(fates(&mut log, vec![value(8, 1, 4), value(9, 1, 2)]), "ds");
        assert_eq!(fates(&mut log, vec![sparing(1)]), "l");
        assert_eq!((log.session_count(), log.has_forgotten(session(8), Instance(4))), (1, false));
    }

    /// Two processes that hold the same log know the same, so what a leader wrote that knew less
    /// than the log must not end a session.
    #[test]
    fn a_session_that_has_come_elsewhere_does_not_finish() {
        let mut log = crowd();
        let said = finished(&[(1, 1), (2, 3), (9, 2), (3, 2), (3, 2)]);
        let entries = vec![said, value(1, 2, 0), value(2, 2, 0), value(3, 2, 0), value(9, 1, 8)];
        assert_eq!(fates(&mut log, entries), "fdded");
        assert!(log.has_ended(session(3)) && !log.has_ended(session(1)));
        assert_eq!(log.next_number(session(3)), Number(2));
        // What was delivered before is not delivered again.
        assert_eq!(fates(&mut log, vec![value(3, 1, 3)]), "s");
    }

    /// A client that says it has finished within a value leaves nothing open.
    #[test]
    fn a_session_that_finishes_within_a_value_ends_before_it() {
        let mut log = with_open(vec![value(1, 1, 1)]);
        assert_eq!(log.assemblies().held(), (1, 100));
        assert_eq!(fates(&mut log, vec![finished(&[(1, 3)])]), "f");
        assert_eq!(log.assemblies().held(), (0, 0));
        assert_eq!((log.has_ended(session(1)), log.next_number(session(1))), (true, Number(2)));
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
        let mut log = with_open(Vec::new());
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
