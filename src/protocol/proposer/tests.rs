//! The rules of the proposer, one a test, named by it. "Paxos Made Simple" (PMS) has most of them.
//!
//! The parts have tests of their own; these show the whole role, by what it sends. The proposer is
//! P1, and there are three acceptors.

use super::*;
use crate::protocol::entries::Entries;
use crate::protocol::message::{Accept, AcceptedPage, Decide, Nack, Prepare, Promise};
use crate::protocol::types::{AssignedBy, Entry, Number, Origin, To, Value};

const START: Time = Time::ZERO;

fn proposer_with(id: u32, boot: u64) -> Proposer {
    let options = ProposerOptions { id, boot, no_timeouts: false, no_preexecution: false };
    Proposer::new(options, Settings::default())
}

fn proposer() -> Proposer {
    proposer_with(1, 1)
}

fn process(role: Role, id: u32) -> Sender {
    Sender { node: NodeId::new(role, id), boot: 1 }
}

fn ballot(round: u64, proposer: u32) -> Ballot {
    Ballot { round, proposer, boot: 1 }
}

fn value(number: u64) -> Entry {
    let origin = Origin {
        session: Session { client: 1, boot: 1 },
        number: Number(number),
        assigned_by: AssignedBy::Leader,
        opened: if number == 1 { Instance::FIRST } else { Origin::UNSTAMPED },
        time: LogTime::NONE,
    };
    Entry::Value { origin, value: Value::new(b"x") }
}

/// What the proposer sends in one turn, in which it receives `message`.
fn hears(proposer: &mut Proposer, from: Sender, message: Message) -> Vec<Message> {
    let mut fx = Effects::new();
    proposer.on_message(START, from, message, &mut fx);
    proposer.on_turn_end(START, &mut fx);
    fx.send.into_iter().map(|(_, message)| message).collect()
}

/// Campaigns, and returns the ballot.
fn campaign(proposer: &mut Proposer) -> Ballot {
    let mut fx = Effects::new();
    proposer.take_over(START, &mut fx);
    let sent = fx.send.iter().find_map(|(to, message)| match message {
        Message::Prepare(Prepare { ballot, .. }) if *to == To::Group(Role::Acceptor) => {
            Some(*ballot)
        }
        _ => None,
    });
    sent.expect("a campaign begins with a Prepare to all acceptors")
}

/// What acceptor `id` promises, when it has accepted one entry in each of these ballots, from
/// instance 1 on.
fn promise(id: u32, ballot: Ballot, accepted: &[(Ballot, Entry)]) -> (Sender, Message) {
    let page = |(from, (ballot, entry)): (u64, &(Ballot, Entry))| AcceptedPage {
        ballot: *ballot,
        page: Page { from: Instance(from), entries: vec![entry.clone()].into() },
    };
    let promise = Promise {
        ballot,
        from: Instance::FIRST,
        until: None,
        trimmed: Instance::FIRST,
        accepted: (1..).zip(accepted).map(page).collect(),
        next: None,
        is_followed: false,
    };
    (process(Role::Acceptor, id), Message::Promise(promise))
}

/// A proposer that leads, and its ballot; nothing was accepted before.
fn leader() -> (Proposer, Ballot) {
    let mut proposer = proposer();
    let ballot = campaign(&mut proposer);
    for id in 1..=2 {
        let (from, message) = promise(id, ballot, &[]);
        hears(&mut proposer, from, message);
    }
    assert!(proposer.is_leading());
    (proposer, ballot)
}

fn request(number: u64) -> Message {
    let (from, opened) = (Number(number), Instance::FIRST);
    let entries = vec![value(number)].into();
    let assignment = Assignment::Leader;
    Message::Request(Request { assignment, from, front: from, opened, entries })
}

fn accepted(ballot: Ballot, instance: u64) -> Message {
    let run = Run::new(Instance(instance), Instance(instance + 1));
    Message::Accepted(Accepted { ballot, runs: [run].into() })
}

fn nack(rejected: Ballot, promised: Ballot) -> Message {
    Message::Nack(Nack { rejected, promised })
}

/// The numbers of the values in these entries.
fn numbers(entries: &Entries) -> Vec<u64> {
    entries.iter().filter_map(|entry| Some(entry.origin()?.number.0)).collect()
}

/// The values that these messages propose: in which ballot, from which instance on, and which.
fn proposed(sent: &[Message]) -> Vec<(Ballot, Instance, Vec<u64>)> {
    let accepts = sent.iter().filter_map(|message| match message {
        Message::Accept(Accept { ballot, from, entries, .. }) => {
            Some((*ballot, *from, numbers(entries)))
        }
        _ => None,
    });
    accepts.collect()
}

/// PMS 2.4: a standby leaves proposing to the leader.
#[test]
fn a_standby_proposes_nothing() {
    let mut proposer = proposer();
    assert!(proposed(&hears(&mut proposer, process(Role::Client, 1), request(1))).is_empty());
}

/// PMS 2.2: phase 1 needs a number greater than any that was used.
#[test]
fn a_campaign_takes_a_ballot_above_every_one_heard_of() {
    let mut proposer = proposer();
    let announcement = Announcement::new(Standing::Leads, ballot(7, 2));
    let progress = proposer.log().progress();
    let heartbeat = Heartbeat::new(Version::OLDEST, announcement, progress);
    hears(&mut proposer, process(Role::Proposer, 2), Message::Heartbeat(heartbeat));
    assert_eq!(campaign(&mut proposer), ballot(8, 1));
    assert_eq!(campaign(&mut proposer), ballot(9, 1));
}

/// PMS 2.5: different proposers choose their numbers from disjoint sets, and one that has forgotten
/// its last number never issues it again.
#[test]
fn no_two_campaigns_share_a_ballot() {
    let processes = [(1, 1), (2, 1), (1, 2)];
    let ballots = processes.map(|(id, boot)| campaign(&mut proposer_with(id, boot)));
    assert_eq!(BTreeSet::from(ballots).len(), 3);
}

/// PMS 2.2, phase 1 (a): it asks again, with the same number.
#[test]
fn an_unanswered_prepare_is_sent_again_in_the_same_ballot() {
    let mut proposer = proposer();
    let (ballot, mut fx) = (campaign(&mut proposer), Effects::new());
    proposer.on_timer(START, Timer::RetryPrepare, &mut fx);
    let is_repeated = |(_, sent): &(To, Message)| match sent {
        Message::Prepare(prepare) => prepare.ballot == ballot,
        _ => false,
    };
    assert!(fx.send.iter().any(is_repeated) && fx.sent_again == 1);
}

/// PMS 2.2, phase 2 (a): only after a majority has answered.
#[test]
fn nothing_is_proposed_before_a_majority_has_promised() {
    let mut proposer = proposer();
    let ballot = campaign(&mut proposer);
    for _ in 0..2 {
        let (from, message) = promise(1, ballot, &[(Ballot { round: 0, ..ballot }, value(1))]);
        assert!(proposed(&hears(&mut proposer, from, message)).is_empty());
        assert!(!proposer.is_leading(), "one acceptor counts once");
    }
    let (from, message) = promise(2, Ballot { round: ballot.round + 1, ..ballot }, &[]);
    assert!(proposed(&hears(&mut proposer, from, message)).is_empty());
    assert!(!proposer.is_leading(), "that is no promise to this ballot");
}

/// PMS 2.2, P2c: the value of the highest-numbered proposal that any of the majority reports.
#[test]
fn a_new_leader_proposes_what_was_accepted_in_the_highest_ballot() {
    // Whether it is reported first or last.
    for [first, last] in [[3, 2], [2, 3]] {
        let mut proposer = proposer();
        let announcement = Announcement::new(Standing::Leads, ballot(3, 3));
        let progress = proposer.log().progress();
        let heartbeat = Heartbeat::new(Version::OLDEST, announcement, progress);
        hears(&mut proposer, process(Role::Proposer, 3), Message::Heartbeat(heartbeat));
        let own = campaign(&mut proposer);
        let accepted = |number: u64| (ballot(number, number as u32), value(number));
        let (from, message) = promise(1, own, &[accepted(first)]);
        hears(&mut proposer, from, message);
        let (from, message) = promise(2, own, &[accepted(last)]);
        let sent = hears(&mut proposer, from, message);
        assert_eq!(proposed(&sent), [(own, Instance(1), vec![3])]);
    }
}

/// PMS 2.1: chosen is what a majority has accepted. Phase 1 may find that out.
#[test]
fn what_a_majority_reports_in_one_ballot_is_told_and_not_proposed() {
    let mut proposer = proposer();
    let own = campaign(&mut proposer);
    let mut sent = Vec::new();
    for id in 1..=2 {
        let (from, message) = promise(id, own, &[(Ballot { round: 0, ..own }, value(1))]);
        sent = hears(&mut proposer, from, message);
    }
    assert!(proposed(&sent).is_empty(), "{sent:?}");
    let tells = |message: &Message| match message {
        Message::Decide(Decide { entries, .. }) => numbers(entries) == [1],
        _ => false,
    };
    assert!(sent.iter().any(tells), "{sent:?}");
    assert_eq!(proposer.log().watermark(), Instance(2));
}

/// PMS 3: a leader proposes a value once, in the next instance.
#[test]
fn values_get_consecutive_instances_in_the_order_of_their_session() {
    let (mut proposer, ballot) = leader();
    for number in 1..=3 {
        let sent = hears(&mut proposer, process(Role::Client, 1), request(number));
        assert_eq!(proposed(&sent), [(ballot, Instance(number), vec![number])]);
    }
    let sent = hears(&mut proposer, process(Role::Client, 1), request(2));
    assert!(proposed(&sent).is_empty(), "it is in flight");
}

/// PMS 2.1: any two majorities share an acceptor, so acceptors count, and not messages.
#[test]
fn a_value_is_decided_when_a_majority_of_different_acceptors_has_accepted() {
    let (mut proposer, own) = leader();
    hears(&mut proposer, process(Role::Client, 1), request(1));
    for _ in 0..2 {
        hears(&mut proposer, process(Role::Acceptor, 1), accepted(own, 1));
        assert_eq!(proposer.log().watermark(), Instance::FIRST);
    }
    let other = Ballot { round: own.round + 1, ..own };
    hears(&mut proposer, process(Role::Acceptor, 2), accepted(other, 1));
    assert_eq!(proposer.log().watermark(), Instance::FIRST, "a vote for another ballot");
    hears(&mut proposer, process(Role::Acceptor, 3), accepted(own, 1));
    assert_eq!(proposer.log().watermark(), Instance(2));
}

/// PMS 2.2: a proposal may be abandoned at any time; it must be when no majority is left for it.
#[test]
fn a_leader_goes_on_after_one_refusal_and_steps_down_at_a_majority() {
    let (mut proposer, own) = leader();
    let higher = ballot(own.round + 1, 2);
    hears(&mut proposer, process(Role::Acceptor, 1), nack(own, higher));
    assert!(proposer.is_leading(), "two others may accept");
    hears(&mut proposer, process(Role::Acceptor, 1), nack(own, higher));
    assert!(proposer.is_leading(), "the same acceptor");
    hears(&mut proposer, process(Role::Acceptor, 2), nack(own, higher));
    assert!(!proposer.is_leading());
    assert!(proposed(&hears(&mut proposer, process(Role::Client, 1), request(1))).is_empty());
    assert_eq!(campaign(&mut proposer).round, higher.round + 1, "it has learned from refusals");
}

#[test]
fn a_refusal_of_an_earlier_ballot_changes_nothing() {
    let (mut proposer, own) = leader();
    let earlier = Ballot { round: own.round - 1, ..own };
    for promised in [own, ballot(own.round + 1, 2)] {
        for id in 1..=3 {
            hears(&mut proposer, process(Role::Acceptor, id), nack(earlier, promised));
        }
        assert!(proposer.is_leading());
    }
}

/// Rounds are numbers of one kind: a proposer that believed this one would leave none for others.
#[test]
fn a_refusal_with_an_absurd_ballot_is_not_believed() {
    let (mut proposer, own) = leader();
    for id in 1..=3 {
        hears(&mut proposer, process(Role::Acceptor, id), nack(own, ballot(u64::MAX, 2)));
    }
    assert!(proposer.is_leading());
    assert_eq!(campaign(&mut proposer).round, own.round + 1);
}

/// A leader that is told to end says so, and the next one need not wait for a time-out.
#[test]
fn a_leader_that_ends_announces_that_it_leads_no_more() {
    let (mut proposer, _) = leader();
    let mut fx = Effects::new();
    proposer.on_stop(START, &mut fx);
    let says = |(_, message): &(To, Message)| match message {
        Message::Heartbeat(heartbeat) => heartbeat.announcement.standing == Standing::Abstains,
        _ => false,
    };
    assert!(!proposer.is_leading() && fx.send.iter().any(says), "{:?}", fx.send);
}
