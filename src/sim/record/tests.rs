//! What a record must be for a picture of it to be true.

use super::*;
use crate::protocol::message::Kind;
use crate::protocol::types::Role;
use crate::sim::network::Weather;
use crate::sim::scenario::{Ran, Scenario};
use crate::sim::trace::Trace;

fn recorded(scenario: &Scenario) -> (Ran, Record) {
    let record = Record::shared();
    let ran = scenario.run(Trace::silent().recorded(Rc::clone(&record)));
    (ran, record.take())
}

/// A leader that is killed while one datagram in ten is lost and one in ten comes twice.
fn rough(seed: u64) -> Scenario {
    let mut scenario =
        Scenario { faults: vec![(Time(500_000), Fault::KillLeader)], ..Scenario::calm(seed) };
    scenario.plan.weather = Weather { loss: 0.1, duplication: 0.1, ..Weather::default() };
    scenario
}

#[test]
fn a_run_that_is_recorded_is_the_same_run() {
    for scenario in [rough(7), Scenario::drawn(7), Scenario::drawn(8), Scenario::drawn(9)] {
        assert_eq!(recorded(&scenario).0, scenario.run(Trace::silent()));
    }
}

#[test]
fn every_copy_has_the_fate_that_it_met() {
    let (_, record) = recorded(&rough(7));
    let dead = record.events.iter().find_map(|event| match event.what {
        What::Dies(node) => Some((node, event.time)),
        _ => None,
    });
    let (dead, died) = dead.expect("the leader was killed");
    let (mut fates, mut twice) = (BTreeMap::new(), 0);
    for sent in &record.messages {
        let from = sent.from.expect("a process sent it");
        assert!(sent.copies.iter().all(|copy| copy.to != from), "nobody hears itself");
        for pair in sent.copies.windows(2) {
            twice += u64::from(pair[0].to == pair[1].to);
        }
        for copy in &sent.copies {
            *fates.entry(copy.fate).or_insert(0_u64) += 1;
            assert!(copy.time >= sent.time);
            let is_late = copy.to == dead && copy.time > died;
            assert!(!is_late || copy.fate != Fate::Read, "the dead read nothing");
            assert_eq!(copy.fate == Fate::Dead, copy.fate == Fate::Dead && copy.to == dead);
        }
    }
    let copies: u64 = fates.values().sum();
    let share = |fate| fates[&fate] as f64 / copies as f64;
    assert!((0.08..0.12).contains(&share(Fate::Lost)), "{fates:?}");
    assert!((0.08..0.12).contains(&(twice as f64 / copies as f64)), "{twice} of {copies}");
    assert!(share(Fate::Read) > 0.3 && fates[&Fate::Dead] > 100, "{fates:?}");
    assert!(!fates.contains_key(&Fate::Cut) && !fates.contains_key(&Fate::InboxFull), "{fates:?}");
}

#[test]
fn what_is_chosen_is_what_a_majority_has_said_it_accepted() {
    let (ran, record) = recorded(&rough(8));
    let mut votes: BTreeMap<(Instance, Ballot), Vec<u32>> = BTreeMap::new();
    let accepted = record.messages.iter().filter_map(|sent| match &sent.message {
        Some(Message::Accepted(accepted)) => Some((sent.from?.id, accepted)),
        _ => None,
    });
    for (acceptor, accepted) in accepted {
        for instance in accepted.runs.iter().flat_map(|run| run.iter()) {
            votes.entry((instance, accepted.ballot)).or_default().push(acceptor);
        }
    }
    let mut chosen = 0;
    for event in &record.events {
        let What::Chosen(Chosen { instance, ballot, by, voters }) = &event.what else { continue };
        chosen += 1;
        assert_eq!((by.role, voters.len()), (Role::Acceptor, 2));
        assert!(voters.iter().all(|voter| votes[&(*instance, *ballot)].contains(voter)));
    }
    assert_eq!(chosen, ran.result.expect("it ends well").chosen);
}

#[test]
fn what_is_cut_off_and_what_is_filtered_is_not_called_lost() {
    let [p1, a1] = [Role::Proposer, Role::Acceptor].map(|role| NodeId::new(role, 1));
    let cut = Fault::Cut { shape: "one way", pairs: vec![(p1, a1)] };
    let faults = vec![(Time(100_000), cut), (Time(200_000), Fault::Filter(Kind::DecideAck))];
    let (_, record) = recorded(&Scenario { faults, ..Scenario::calm(7) });
    let mut seen = BTreeMap::new();
    for sent in &record.messages {
        for copy in &sent.copies {
            *seen.entry(copy.fate).or_insert(0) += 1;
            assert!(copy.fate != Fate::Cut || (sent.from, copy.to) == (Some(p1), a1));
        }
    }
    assert!(seen[&Fate::Cut] > 10 && seen[&Fate::Filtered] > 10, "{seen:?}");
    assert!(!seen.contains_key(&Fate::Lost), "{seen:?}");
}
