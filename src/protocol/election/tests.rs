//! How proposers come to lead, and are left alone: each rule by itself, and any order of events.

use proptest::prelude::*;

use super::*;
use crate::protocol::message::Heard;
use crate::protocol::types::Role;
use crate::protocol::versions::Versions;

const BOOT: u64 = 7;

fn at(ms: u64) -> Time {
    Time(ms * 1000)
}

fn settings() -> Settings {
    Settings {
        leader_timeout: Duration::from_millis(100),
        heartbeat_interval: Duration::from_millis(10),
        ..Settings::default()
    }
}

fn ballot(round: u64, proposer: u32) -> Ballot {
    Ballot { round, proposer, boot: 1 }
}

fn word(standing: Standing, quorate: bool, ballot: Ballot, stamp: Time) -> Announcement {
    Announcement { standing, quorate, ballot, stamp, reads: Versions::ALL }
}

/// Proposer `me` among three acceptors that repeat everything it says at once, as long as they hear
/// it, and what the others say to them.
struct Stage {
    election: Election,
    me: u32,
    promised: Ballot,
    /// The acceptors that hear, and are heard by, this proposer.
    acceptors: Vec<u32>,
}

impl Stage {
    fn new(me: u32, promised: Ballot) -> Self {
        let election = Election::new(me, BOOT, &settings());
        Stage { election, me, promised, acceptors: vec![1, 2, 3] }
    }

    /// Announces itself, is echoed along with these announcements of others, and returns the
    /// verdict.
    fn turn(&mut self, now: Time, others: &[(u32, Announcement)]) -> NextStep {
        let stamp = self.election.next_stamp(now);
        let own = word(Standing::Stands, false, Ballot::ZERO, stamp);
        let mut heard = vec![Heard { proposer: self.me, boot: BOOT, announcement: own }];
        heard.extend(others.iter().map(|(id, said)| Heard {
            proposer: *id,
            boot: 1,
            announcement: *said,
        }));
        for acceptor in self.acceptors.clone() {
            let (accepted, full, heard) = (0, false, heard.clone());
            let echo =
                Echo { promised: self.promised, accepted, full, reads: Versions::ALL, heard };
            self.election.on_echo(now, acceptor, &echo);
        }
        self.election.check(now, true)
    }

    /// Takes a turn every 10 ms from `from` on, for at most 2 s, and returns when it should lead.
    fn leads_at(
        &mut self,
        from: u64,
        others: impl Fn(Time) -> Vec<(u32, Announcement)>,
    ) -> Option<(u64, NextStep)> {
        (from..from + 2000).step_by(10).find_map(|ms| {
            let verdict = self.turn(at(ms), &others(at(ms)));
            matches!(verdict, NextStep::Campaign | NextStep::TakeOver).then_some((ms, verdict))
        })
    }
}

#[test]
fn where_nobody_has_led_proposer_1_does_so_soon_and_the_others_wait() {
    let leads_at = |me| Stage::new(me, Ballot::ZERO).leads_at(0, |_| vec![]).map(|(ms, _)| ms);
    assert_eq!(leads_at(1), Some(20));
    assert_eq!(leads_at(2), Some(100));
    // Behind one that is present and willing, a time-out later.
    let first = |now| vec![(1, word(Standing::Stands, true, Ballot::ZERO, now))];
    assert_eq!(Stage::new(2, Ballot::ZERO).leads_at(0, first).map(|(ms, _)| ms), Some(200));
}

#[test]
fn who_comes_to_a_cluster_that_was_led_waits_for_a_time_out() {
    let mut stage = Stage::new(1, ballot(3, 2));
    assert_eq!(stage.leads_at(0, |_| vec![]).map(|(ms, _)| ms), Some(110));
}

#[test]
fn a_leader_that_works_is_left_alone_and_a_useless_one_is_not() {
    let leads =
        |quorate| move |now: Time| vec![(2, word(Standing::Leads, quorate, ballot(3, 2), now))];
    assert_eq!(Stage::new(1, ballot(3, 2)).leads_at(0, leads(true)), None);
    let late = Stage::new(1, ballot(3, 2)).leads_at(0, leads(false));
    assert_eq!(late, Some((110, NextStep::Campaign)));
}

/// Acceptors repeat the last announcement of a dead leader for a while.
#[test]
fn the_same_word_again_is_no_sign_of_life() {
    let mut stage = Stage::new(1, ballot(3, 2));
    let leads = |now: Time| vec![(2, word(Standing::Leads, true, ballot(3, 2), now.min(at(500))))];
    let (ms, verdict) = stage.leads_at(0, leads).unwrap();
    assert_eq!(verdict, NextStep::Campaign);
    assert!((600..=630).contains(&ms), "{ms}");
}

#[test]
fn who_has_just_gone_deaf_does_not_campaign() {
    let mut stage = Stage::new(1, ballot(3, 2));
    let leads = |now| vec![(2, word(Standing::Leads, true, ballot(3, 2), now))];
    for ms in (0..500).step_by(10) {
        stage.turn(at(ms), &leads(at(ms)));
    }
    stage.acceptors.truncate(1);
    let mut asked = 0;
    for ms in (500..3000).step_by(10) {
        match stage.turn(at(ms), &[]) {
            NextStep::Ask => asked += 1,
            NextStep::Wait => {}
            verdict => panic!("{verdict:?} after {ms} ms"),
        }
    }
    assert!((20..=26).contains(&asked), "it asks once a time-out: {asked}");
    assert!(!stage.election.is_quorate());
}

#[test]
fn the_smallest_willing_id_goes_first() {
    let third = |second: Standing| {
        let mut stage = Stage::new(3, ballot(3, 1));
        let others = move |now: Time| {
            let leads = word(Standing::Leads, true, ballot(3, 1), now.min(at(500)));
            vec![(1, leads), (2, word(second, true, Ballot::ZERO, now))]
        };
        stage.leads_at(0, others).map(|(ms, _)| ms)
    };
    let alone = third(Standing::Abstains).unwrap();
    assert_eq!(third(Standing::Stands), Some(alone + 100));
}

#[test]
fn a_ballot_is_given_up_when_no_quorum_can_accept_it() {
    let mut stage = Stage::new(1, ballot(3, 1));
    stage.turn(at(0), &[]);
    stage.election.set_office(at(0), true);
    assert_eq!(stage.election.has_lost(at(1), ballot(3, 1)), None);
    stage.election.on_promised(1, ballot(4, 2));
    assert_eq!(stage.election.has_lost(at(1), ballot(3, 1)), None, "two of three are left");
    stage.election.on_promised(2, ballot(4, 2));
    assert_eq!(stage.election.has_lost(at(1), ballot(3, 1)), Some(Loss::Outbid));
    // With one promised to another and one silent, the last one is no quorum.
    let mut stage = Stage::new(1, ballot(3, 1));
    stage.turn(at(0), &[]);
    stage.election.set_office(at(0), true);
    stage.acceptors = vec![1, 2];
    (10..400).step_by(10).for_each(|ms| {
        stage.turn(at(ms), &[]);
    });
    stage.election.on_promised(1, ballot(4, 2));
    assert_eq!(stage.election.has_lost(at(390), ballot(3, 1)), Some(Loss::Outbid));
}

#[test]
fn a_leader_yields_to_a_higher_ballot_that_works() {
    let mut stage = Stage::new(1, ballot(3, 1));
    stage.turn(at(0), &[]);
    stage.election.set_office(at(0), true);
    let says = |stage: &mut Stage, round, quorate, stamp| {
        let said = word(Standing::Leads, quorate, ballot(round, 2), at(stamp));
        stage.election.on_word(at(5), 2, 1, said);
        stage.election.has_lost(at(5), ballot(3, 1))
    };
    assert_eq!(says(&mut stage, 2, true, 1), None);
    assert_eq!(says(&mut stage, 4, false, 2), None);
    assert_eq!(says(&mut stage, 4, true, 3), Some(Loss::Replaced(ballot(4, 2))));
}

/// Pleads every 100 ms with what `offered` says.
fn call(
    stage: &mut Stage,
    from: u64,
    until: u64,
    pleads: &[(u32, &[u32])],
    abstains: bool,
) -> Option<u64> {
    for ms in (from..until).step_by(10) {
        let standing = if abstains { Standing::Abstains } else { Standing::Stands };
        let others = [
            (1, word(Standing::Leads, true, ballot(3, 1), at(ms))),
            (2, word(standing, true, Ballot::ZERO, at(ms))),
        ];
        if ms % 100 == 0 {
            for (client, offered) in pleads {
                let client = NodeId::new(Role::Client, *client);
                let pleaded_us = (ms - from) * 1000;
                stage.election.on_plea(
                    at(ms),
                    client,
                    Plea { pleaded_us, offered: offered.to_vec(), reads: Versions::ALL },
                );
            }
        }
        match stage.turn(at(ms), &others) {
            NextStep::TakeOver => return Some(ms),
            verdict => assert_eq!(verdict, NextStep::Wait),
        }
    }
    None
}

#[test]
fn who_is_proven_to_reach_a_caller_takes_over_in_time() {
    let stage = || Stage::new(3, ballot(3, 1));
    assert_eq!(call(&mut stage(), 0, 2000, &[(1, &[])], false), None, "nothing is proven");
    assert_eq!(call(&mut stage(), 0, 2000, &[(1, &[2])], false), None, "another is reached");
    assert_eq!(call(&mut stage(), 0, 2000, &[(1, &[2, 3])], false), None, "2 goes first");
    assert_eq!(call(&mut stage(), 0, 2000, &[(1, &[2, 3])], true), Some(300), "2 would not");
    assert_eq!(call(&mut stage(), 0, 2000, &[(1, &[3])], false), Some(300));
    // Two callers that share a proposer get that one.
    assert_eq!(call(&mut stage(), 0, 2000, &[(1, &[2, 3]), (2, &[3])], false), Some(300));
    // Pleas from before the leader worked do not count.
    let mut late = stage();
    (0..900).step_by(100).for_each(|ms| {
        let plea = Plea { pleaded_us: ms * 1000, offered: vec![3], reads: Versions::ALL };
        late.election.on_plea(at(ms), NodeId::new(Role::Client, 1), plea);
    });
    assert_eq!(call(&mut late, 900, 3000, &[(1, &[3])], false), Some(1200));
}

/// What `paxos lead` sends: one plea that claims to have pleaded for ever.
#[test]
fn one_plea_hands_leadership_over_and_not_twice() {
    let hand_over = |leads_since: u64, me: u32, pleads_for: u32| {
        let mut stage = Stage::new(me, ballot(3, 1));
        let leader = |ms| vec![(1, word(Standing::Leads, true, ballot(3, 1), at(ms)))];
        for ms in (0..1000).step_by(10) {
            let others = if ms < leads_since { vec![] } else { leader(ms) };
            stage.turn(at(ms), &others);
        }
        let plea = Plea { pleaded_us: u64::MAX, offered: vec![pleads_for], reads: Versions::ALL };
        stage.election.on_plea(at(1000), NodeId::new(Role::Client, u32::MAX), plea.clone());
        let verdict = stage.turn(at(1000), &leader(1000));
        (stage, plea, verdict)
    };
    let (mut stage, plea, verdict) = hand_over(0, 2, 2);
    assert_eq!(verdict, NextStep::TakeOver);
    // The new leader is left alone for a while, even if callers go on asking.
    for ms in (1010..1300).step_by(10) {
        stage.election.on_plea(at(ms), NodeId::new(Role::Client, u32::MAX), plea.clone());
        let others = vec![(3, word(Standing::Leads, true, ballot(4, 3), at(ms)))];
        assert_eq!(stage.turn(at(ms), &others), NextStep::Wait, "{ms}");
    }
    assert_eq!(hand_over(0, 2, 3).2, NextStep::Wait, "another is asked");
    assert_eq!(hand_over(900, 2, 2).2, NextStep::Wait, "the leader has only just been elected");
}

proptest! {
    /// Under any input: no campaign without a majority that answered since the suspicion, none
    /// while a peer works, and none because of stamps that were never sent.
    #[test]
    fn no_campaign_without_a_majority_that_hears(
        events in prop::collection::vec((0..5u8, 1..4u32, 0..60u64, any::<bool>()), 1..120),
    ) {
        let mut election = Election::new(2, BOOT, &settings());
        let mut now = Time::ZERO;
        let mut said = Vec::new();
        // The last stamp of this proposer that each acceptor truly repeated.
        let mut answered: BTreeMap<u32, Time> = BTreeMap::new();
        let mut works_until = Time::ZERO;
        let mut suspects = None;
        for (event, who, number, flag) in events {
            now = now + Duration::from_millis(number);
            match event {
                0 => said.push(election.next_stamp(now)),
                1 | 2 => {
                    // A forged stamp, or one that was sent.
                    let future = now + Duration::from_secs(number + 1);
                    let stamp = if flag { said.last().copied() } else { Some(future) };
                    let Some(stamp) = stamp else { continue };
                    let own = word(Standing::Stands, false, Ballot::ZERO, stamp);
                    let heard = vec![Heard { proposer: 2, boot: BOOT, announcement: own }];
                    let (promised, accepted, full) = (ballot(1, 1), 0, false);
                    let echo = Echo { promised, accepted, full, reads: Versions::ALL, heard };
                    election.on_echo(now, who, &echo);
                    if flag {
                        let last = answered.entry(who).or_insert(Time::ZERO);
                        *last = stamp.max(*last);
                    }
                }
                3 if flag => {
                    let leads = word(Standing::Leads, true, ballot(2, 1), now);
                    election.on_word(now, 1, 1, leads);
                    works_until = now + settings().leader_timeout;
                }
                _ => {}
            }
            let verdict = election.check(now, true);
            if now < works_until {
                suspects = None;
            } else if suspects.is_none() {
                suspects = Some(now);
            }
            if verdict == NextStep::Campaign {
                prop_assert!(now >= works_until);
                let since = suspects.unwrap();
                let count = answered.values().filter(|stamp| **stamp >= since).count();
                prop_assert!(count >= 2, "{count} have answered");
            }
            prop_assert!(verdict != NextStep::TakeOver, "nobody called");
        }
    }
}
