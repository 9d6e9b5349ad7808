//! Handshakes between two processes, with recordings of everything in between.

use super::*;

const A: NodeId = NodeId { role: Role::Acceptor, id: 1 };
const P: NodeId = NodeId { role: Role::Proposer, id: 1 };
const BYTES: usize = 1000;
const NOW: Time = Time(1_000_000);

/// A process: its door, and the last sequence number it used.
struct Process {
    door: Door,
    node: NodeId,
    session: u64,
    sealed: u64,
}

/// A sealed datagram, which may be replayed any number of times.
#[derive(Clone, Debug)]
struct Recorded {
    from: NodeId,
    opened: Opened,
    hello: Option<Hello>,
}

impl Process {
    fn new(node: NodeId, session: u64) -> Self {
        Process { door: Door::new(node, session), node, session, sealed: 0 }
    }

    fn seal(&mut self, hello: Option<Hello>) -> Recorded {
        self.sealed += 1;
        let opened = Opened { session: self.session, sequence: self.sealed, content_bytes: 0 };
        Recorded { from: self.node, opened, hello }
    }

    fn message(&mut self) -> Recorded {
        self.seal(None)
    }

    fn hears(&mut self, now: Time, heard: &Recorded) -> Heard {
        let Recorded { from, opened, hello } = heard;
        match hello {
            None => self.door.on_message(now, *from, *opened),
            Some(hello) => self.door.on_hello(now, *from, *opened, hello, self.sealed),
        }
    }

    /// Every hello it has to send now.
    fn says(&mut self, now: Time) -> Vec<Recorded> {
        let mut said = Vec::new();
        while let Some((_, hello)) = self.door.next_hello(now, BYTES) {
            said.push(self.seal(Some(hello)));
        }
        said
    }
}

/// Lets two processes exchange hellos until neither has any left. Returns what was sent.
fn talk(now: Time, one: &mut Process, other: &mut Process) -> Vec<Recorded> {
    let mut all = Vec::new();
    loop {
        let (of_one, of_other) = (one.says(now), other.says(now));
        if of_one.is_empty() && of_other.is_empty() {
            return all;
        }
        of_one.iter().for_each(|said| _ = other.hears(now, said));
        of_other.iter().for_each(|said| _ = one.hears(now, said));
        all.extend(of_one.into_iter().chain(of_other));
    }
}

/// An acceptor and a proposer that know each other, and the datagrams of their handshake.
fn acquainted() -> (Process, Process, Vec<Recorded>) {
    let (mut a, mut p) = (Process::new(A, 11), Process::new(P, 21));
    let first = p.message();
    assert_eq!(a.hears(NOW, &first), Heard::Unproven);
    let mut said = talk(NOW, &mut a, &mut p);
    said.insert(0, first);
    (a, p, said)
}

#[test]
fn who_proves_to_be_alive_is_heard_and_each_thing_once() {
    let (mut a, mut p, said) = acquainted();
    assert_eq!(said.len(), 4, "a message, a question, an answer that asks as well, an answer");
    let (one, two) = (p.message(), p.message());
    assert_eq!(a.hears(NOW, &two), Heard::Taken, "in any order");
    assert_eq!(a.hears(NOW, &one), Heard::Taken);
    for recorded in said.iter().filter(|said| said.from == P).chain([&one, &two]) {
        assert_eq!(a.hears(NOW, recorded), Heard::Replayed, "{recorded:?}");
    }
    let vote = a.message();
    assert_eq!(p.hears(NOW, &vote), Heard::Taken, "both have proven it");
    assert!(!a.door.has_to_say() && !p.door.has_to_say());
}

/// Nothing recorded from an earlier run of any process is accepted in a later one.
#[test]
fn an_earlier_run_recorded_is_refused_in_a_later_one() {
    let (mut a, mut p, mut said) = acquainted();
    said.extend([p.message(), a.message(), p.message()]);
    // Everything is restarted; the recording is played to them first, and in between.
    let (mut a, mut p) = (Process::new(A, 12), Process::new(P, 22));
    for round in 0..3 {
        for recorded in &said {
            let hearer = if recorded.from == P { &mut a } else { &mut p };
            assert_ne!(hearer.hears(NOW, recorded), Heard::Taken, "round {round} {recorded:?}");
        }
        talk(NOW + Duration::from_secs(round), &mut a, &mut p);
    }
    let alive = p.message();
    assert_eq!(a.hears(NOW, &alive), Heard::Taken, "recordings did not keep them apart");
    assert!(a.door.known() == 1 && p.door.known() == 1, "only the living are known");
}

/// A restarted receiver has forgotten what it took. The sender is alive, and would prove it; what
/// was recorded of it before stays refused.
#[test]
fn a_receiver_that_restarts_does_not_take_again_what_it_took() {
    let (mut a, mut p, mut said) = acquainted();
    let taken = p.message();
    assert_eq!(a.hears(NOW, &taken), Heard::Taken);
    said.push(taken);
    let mut a = Process::new(A, 13);
    for recorded in said.iter().filter(|said| said.from == P) {
        assert_eq!(a.hears(NOW, recorded), Heard::Unproven);
    }
    talk(NOW, &mut a, &mut p);
    for recorded in said.iter().filter(|said| said.from == P) {
        assert_eq!(a.hears(NOW, recorded), Heard::Replayed);
    }
    assert_eq!(a.hears(NOW, &p.message()), Heard::Taken);
}

#[test]
fn a_sender_that_restarts_is_asked_again_and_its_past_stays_refused() {
    let (mut a, mut p, _) = acquainted();
    let late = p.message();
    assert_eq!(a.hears(NOW, &late), Heard::Taken);
    let mut p = Process::new(P, 22);
    assert_eq!(a.hears(NOW, &p.message()), Heard::Unproven);
    talk(NOW, &mut a, &mut p);
    assert_eq!(a.hears(NOW, &p.message()), Heard::Taken);
    assert_eq!(a.hears(NOW, &late), Heard::Replayed);
}

/// An answer is for one question of one run of one asker.
#[test]
fn an_answer_to_somebody_else_proves_nothing() {
    let (mut a, mut p) = (Process::new(A, 11), Process::new(P, 21));
    a.sealed = 5;
    let good = Answer { to: A, session: 11, sequence: 5 };
    let answers = [
        Answer { to: NodeId { id: 2, ..A }, ..good },
        Answer { to: P, ..good },
        Answer { session: 12, ..good },
        Answer { sequence: 6, ..good },
        Answer { sequence: 0, ..good },
    ];
    for answer in answers {
        let hello = p.seal(Some(Hello { asks: vec![], answers: vec![answer] }));
        assert_eq!(a.hears(NOW, &hello), Heard::Unproven, "{answer:?}");
    }
    let hello = p.seal(Some(Hello { asks: vec![], answers: vec![good] }));
    assert_eq!(a.hears(NOW, &hello), Heard::Taken);
}

/// A peer that is forgotten for lack of room must answer a new question, and what was taken from it
/// before stays refused.
#[test]
fn who_is_forgotten_must_prove_it_anew() {
    let (mut a, mut p, said) = acquainted();
    let taken = p.message();
    assert_eq!(a.hears(NOW, &taken), Heard::Taken);
    for id in 1..=SESSIONS_MAX as u32 {
        let mut client = Process::new(NodeId { role: Role::Client, id }, 7);
        a.sealed += 1;
        let answer = Answer { to: A, session: 11, sequence: a.sealed };
        let hello = client.seal(Some(Hello { asks: vec![], answers: vec![answer] }));
        assert_eq!(a.hears(NOW, &hello), Heard::Taken);
        assert!(a.door.known() <= SESSIONS_MAX);
    }
    for recorded in said.iter().filter(|said| said.from == P).chain([&taken]) {
        assert_eq!(a.hears(NOW, recorded), Heard::Unproven, "{recorded:?}");
    }
    talk(NOW + Duration::from_secs(1), &mut a, &mut p);
    assert_eq!(a.hears(NOW, &taken), Heard::Replayed);
    assert_eq!(a.hears(NOW, &p.message()), Heard::Taken);
}

/// Recordings of any number of runs and nodes: little is sent, little is kept, and a live peer gets
/// through among them.
#[test]
fn a_flood_of_recordings_is_neither_kept_nor_answered_without_bound() {
    let (mut a, mut p) = (Process::new(A, 11), Process::new(P, 21));
    let (mut said, mut alive_after) = (0, None);
    for millis in 0..2000_u64 {
        let now = NOW + Duration::from_millis(millis);
        for session in 0..20 {
            let id = 1 + (millis * 20 + session) as u32 % 5000;
            let node = NodeId { role: Role::ALL[session as usize % 4], id };
            let mut dead = Process::new(node, 100 + session);
            let asks = vec![A];
            let hello = dead.seal(Some(Hello { asks, answers: vec![] }));
            assert_eq!(a.hears(now, &dead.message()), Heard::Unproven);
            assert_eq!(a.hears(now, &hello), Heard::Unproven);
        }
        if millis >= 1000 && alive_after.is_none() {
            a.hears(now, &p.message());
            talk_once(now, &mut a, &mut p, &mut said);
            let heard = a.hears(now, &p.message());
            alive_after = (heard == Heard::Taken).then_some(millis - 1000);
        }
        said += a.says(now).len();
        let Door { known, asked, asks, answers, .. } = &a.door;
        assert!(known.len() <= 1 && asked.len() <= ASKED_MAX && asks.len() <= ASKED_MAX);
        assert!(answers.len() <= ANSWERS_MAX);
    }
    assert!(said <= 4 * (2000 / 5 + HELLO_BURST as usize), "{said} in two seconds");
    assert!(alive_after.is_some_and(|millis| millis < 100), "{alive_after:?}");
}

/// One exchange, so that a flood can go on in between.
fn talk_once(now: Time, one: &mut Process, other: &mut Process, said: &mut usize) {
    for hello in one.says(now) {
        *said += 1;
        other.hears(now, &hello);
    }
    other.says(now).iter().for_each(|hello| _ = one.hears(now, hello));
}

#[test]
fn only_roles_that_talk_ask_each_other() {
    for one in Role::ALL {
        for other in Role::ALL {
            assert_eq!(talks(one, other), talks(other, one));
            let mut hearer = Process::new(NodeId { role: one, id: 1 }, 1);
            let mut new = Process::new(NodeId { role: other, id: 2 }, 2);
            hearer.hears(NOW, &new.seal(Some(Hello::default())));
            assert_eq!(hearer.says(NOW).len(), usize::from(talks(one, other)), "{one} {other}");
        }
    }
}

/// Recordings of many askers do not drive out the question of one that is known to be alive.
#[test]
fn the_questions_of_the_living_come_first() {
    let (mut a, mut p, _) = acquainted();
    let question =
        |process: &mut Process| process.seal(Some(Hello { asks: vec![A], answers: vec![] }));
    let of_the_living = question(&mut p);
    assert_eq!(a.hears(NOW, &of_the_living), Heard::Taken);
    for id in 0..2 * ANSWERS_MAX as u32 {
        let role = if id % 2 == 0 { Role::Learner } else { Role::Client };
        let mut dead = Process::new(NodeId { role, id: id + 1 }, 7);
        assert_eq!(a.hears(NOW, &question(&mut dead)), Heard::Unproven);
    }
    assert!(a.door.answers.contains_key(&(P, 21)));
    // And one that comes when there is no room finds a place.
    a.door.answers.remove(&(P, 21));
    let mut dead = Process::new(NodeId { role: Role::Learner, id: 9999 }, 7);
    assert_eq!(a.hears(NOW, &question(&mut dead)), Heard::Unproven);
    assert_eq!(a.door.answers.len(), ANSWERS_MAX);
    assert_eq!(a.hears(NOW, &question(&mut p)), Heard::Taken);
    assert!(a.door.answers.contains_key(&(P, 21)));
    assert_eq!(a.door.answers.len(), ANSWERS_MAX);
}
