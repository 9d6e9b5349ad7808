//! A leader and its acceptors on virtual links: a rate, a queue that drops what does not fit, a
//! delay, and random loss, for each direction of each process.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::*;
use crate::rng::Rng;

/// Bytes of a datagram with a value of 1 KiB, and of a vote, as links count them.
const ACCEPT: usize = 1176;
const VOTE: usize = 129;
const VALUE: usize = 1024;

const SECOND: u64 = 1_000_000;

/// One direction of a process's link.
#[derive(Clone, Debug)]
struct Link {
    /// Bytes a second.
    rate: f64,
    /// How many bytes may wait.
    queue: f64,
    delay: u64,
    loss: f64,
    /// When it has sent what waits.
    free: f64,
}

impl Link {
    fn pass(&mut self, now: u64, bytes: usize, rng: &mut Rng) -> Option<u64> {
        let waiting = (self.free - now as f64).max(0.0) * self.rate / 1e6;
        if waiting + bytes as f64 > self.queue || rng.chance(self.loss) {
            return None;
        }
        self.free = self.free.max(now as f64) + bytes as f64 * 1e6 / self.rate;
        Some(self.free as u64 + self.delay)
    }

    fn waiting(&self, now: u64) -> f64 {
        (self.free - now as f64).max(0.0)
    }
}

/// What is tried.
#[derive(Clone, Debug)]
struct World {
    mbit: f64,
    queue: f64,
    /// Microseconds there and back, without queues.
    trip: u64,
    loss: f64,
    outstanding: usize,
    seconds: f64,
    acceptors: usize,
    /// How long an acceptor takes to store what has gathered.
    sync: u64,
    /// Other rates of acceptors' links, from the last one on.
    slow: Vec<f64>,
    /// A share of the datagrams that come a millisecond late.
    late: f64,
    /// When something changes: the rate, and the round trip.
    changes: Vec<(f64, f64, u64)>,
    leaders: usize,
    window_bytes: usize,
    /// Nothing passes in this span of time.
    outage: Option<(f64, f64)>,
    /// The second acceptor and those after it sleep: how often a second, how long.
    pauses: Option<(f64, u64)>,
    controlled: bool,
}

impl Default for World {
    fn default() -> Self {
        World {
            mbit: 100.0,
            queue: 312_000.0,
            trip: 200,
            loss: 0.0,
            outstanding: 256,
            seconds: 1.0,
            acceptors: 3,
            sync: 0,
            slow: Vec::new(),
            late: 0.0,
            changes: Vec::new(),
            leaders: 1,
            window_bytes: 1 << 20,
            outage: None,
            pauses: None,
            controlled: true,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Accept { leader: usize, acceptor: usize, value: usize },
    Stored { acceptor: usize },
    Vote { leader: usize, acceptor: usize, batch: usize },
    Due { leader: usize },
    Look,
}

struct Leader {
    flow: Flow<usize>,
    out: Link,
    inwards: Link,
    /// Values to be sent, again and for the first time.
    again: VecDeque<usize>,
    waiting: VecDeque<usize>,
    values: Vec<Value>,
    done: u64,
    resent: u64,
    sent: u64,
    trips: Vec<u64>,
    longest: f64,
    /// When it looks next for what is due.
    armed: u64,
}

struct Value {
    since: u64,
    voters: u64,
    done: bool,
    ticket: Ticket,
    retries: u32,
}

/// What was seen.
#[derive(Debug)]
struct Seen {
    /// Of the line, what arrived as values, for each leader; after the first fifth of the time.
    shares: Vec<f64>,
    share: f64,
    /// Of what was sent.
    resent: f64,
    /// Milliseconds: the longest queue of a leader's link after the first fifth, and the 99th
    /// percentile of the time from a value's coming to its choice.
    queue: f64,
    p99: f64,
    /// Shares of every 50 ms.
    course: Vec<f64>,
    window: usize,
}

fn run(world: &World, seed: u64) -> Seen {
    let settings = Settings { window_bytes: world.window_bytes, ..Settings::default() };
    let mut rng = Rng::new(seed);
    let link = |mbit: f64| Link {
        rate: mbit * 125_000.0,
        queue: world.queue,
        delay: world.trip / 4,
        loss: world.loss,
        free: 0.0,
    };
    let mut agenda: BinaryHeap<Reverse<(u64, u64, What)>> = BinaryHeap::new();
    let mut order = 0;
    let mut plan = |agenda: &mut BinaryHeap<_>, at: u64, what: What| {
        order += 1;
        agenda.push(Reverse((at, order, what)));
    };
    let mut leaders: Vec<Leader> = (0..world.leaders)
        .map(|_| Leader {
            flow: {
                let mut flow = Flow::new(&settings);
                flow.least = if world.controlled { flow.least } else { 1 << 40 };
                flow
            },
            out: link(world.mbit),
            inwards: link(world.mbit),
            again: VecDeque::new(),
            waiting: (0..world.outstanding).collect(),
            values: (0..world.outstanding).map(|_| value(0)).collect(),
            done: 0,
            resent: 0,
            sent: 0,
            trips: Vec::new(),
            longest: 0.0,
            armed: 0,
        })
        .collect();
    let mut inwards: Vec<Link> = (0..world.acceptors).map(|_| link(world.mbit)).collect();
    let mut outwards: Vec<Link> = inwards.clone();
    for (place, mbit) in world.slow.iter().enumerate() {
        let acceptor = world.acceptors - 1 - place;
        inwards[acceptor].rate = mbit * 125_000.0;
        outwards[acceptor].rate = mbit * 125_000.0;
    }
    let mut gathered: Vec<Vec<(usize, usize)>> = vec![Vec::new(); world.acceptors];
    let mut syncing: Vec<Vec<(usize, usize)>> = vec![Vec::new(); world.acceptors];
    let mut votes: Vec<Vec<usize>> = Vec::new();
    let mut asleep = vec![0u64; world.acceptors];
    let end = (world.seconds * SECOND as f64) as u64;
    let steady = end / 5;
    let mut changes = world.changes.clone();
    let mut course = vec![0.0; (end / 50_000) as usize + 1];
    let needed = world.acceptors / 2 + 1;
    for leader in 0..world.leaders {
        // Not at the same time.
        plan(&mut agenda, leader as u64 * 50_000, What::Due { leader });
    }
    plan(&mut agenda, 0, What::Look);
    while let Some(Reverse((now, _, what))) = agenda.pop() {
        if now >= end {
            break;
        }
        if changes.first().is_some_and(|(at, ..)| *at * 1e6 <= now as f64) {
            let (_, mbit, trip) = changes.remove(0);
            for link in leaders
                .iter_mut()
                .flat_map(|leader| [&mut leader.out, &mut leader.inwards])
                .chain(&mut inwards)
                .chain(&mut outwards)
            {
                let waiting = link.waiting(now) * link.rate;
                (link.rate, link.delay) = (mbit * 125_000.0, trip / 4);
                link.free = now as f64 + waiting / link.rate;
            }
        }
        let is_out = world
            .outage
            .is_some_and(|(from, until)| (from * 1e6..until * 1e6).contains(&(now as f64)));
        let at = Time(now);
        let mut turn = None;
        match what {
            What::Accept { leader, acceptor, value } => {
                if asleep[acceptor] > now {
                    plan(&mut agenda, asleep[acceptor], what);
                    continue;
                }
                gathered[acceptor].push((leader, value));
                if syncing[acceptor].is_empty() {
                    syncing[acceptor] = std::mem::take(&mut gathered[acceptor]);
                    plan(&mut agenda, now + world.sync, What::Stored { acceptor });
                }
            }
            What::Stored { acceptor } => {
                let stored = std::mem::take(&mut syncing[acceptor]);
                for leader in 0..world.leaders {
                    let mine = stored.iter().filter(|(of, _)| *of == leader);
                    let mine: Vec<usize> = mine.map(|(_, value)| *value).collect();
                    if mine.is_empty() {
                        continue;
                    }
                    votes.push(mine);
                    let batch = votes.len() - 1;
                    let Some(there) = outwards[acceptor].pass(now, VOTE, &mut rng) else {
                        continue;
                    };
                    // Two leaders share the link of the first.
                    let line = &mut leaders[0].inwards;
                    if let Some(arrives) = line.pass(there, VOTE, &mut rng).filter(|_| !is_out) {
                        plan(&mut agenda, arrives, What::Vote { leader, acceptor, batch });
                    }
                }
                if !gathered[acceptor].is_empty() {
                    syncing[acceptor] = std::mem::take(&mut gathered[acceptor]);
                    plan(&mut agenda, now + world.sync, What::Stored { acceptor });
                }
            }
            What::Vote { leader, acceptor, batch } => {
                let me = &mut leaders[leader];
                for place in votes[batch].drain(..) {
                    let state = &mut me.values[place];
                    state.voters |= 1 << acceptor;
                    if state.done || (state.voters.count_ones() as usize) < needed {
                        continue;
                    }
                    state.done = true;
                    if now >= steady {
                        me.done += 1;
                        me.trips.push(now - state.since);
                    }
                    course[(now / 50_000) as usize] += 1.0;
                    me.flow.answer(at, state.ticket);
                    me.values.push(value(now));
                    me.waiting.push_back(me.values.len() - 1);
                }
                let mut lost = Vec::new();
                me.flow.take_lost(&settings, &mut lost);
                me.again.extend(lost);
                turn = Some(leader);
            }
            What::Due { leader } => {
                let me = &mut leaders[leader];
                let mut lost = Vec::new();
                me.flow.take_due(at, &settings, &mut lost);
                lost.extend(me.flow.take_later(at));
                me.again.extend(lost);
                turn = Some(leader);
            }
            What::Look => {
                if now >= steady {
                    for leader in &mut leaders {
                        leader.longest = leader.longest.max(leader.out.waiting(now));
                    }
                }
                if let Some((often, long)) = world.pauses {
                    for sleeper in &mut asleep[1..] {
                        if rng.chance(often / 1000.0) {
                            *sleeper = now + long;
                        }
                    }
                }
                plan(&mut agenda, now + 1000, What::Look);
            }
        }
        let Some(leader) = turn else { continue };
        loop {
            let me = &mut leaders[leader];
            let values = &me.values;
            while me.again.front().is_some_and(|value| values[*value].done) {
                me.again.pop_front();
            }
            let (next, again) = match me.again.front() {
                Some(next) => (*next, true),
                None => match me.waiting.front() {
                    Some(next) => (*next, false),
                    None => break,
                },
            };
            if !me.flow.has_room(ACCEPT, 0) {
                me.flow.note_full();
                break;
            }
            if again {
                me.again.pop_front();
                me.resent += 1;
            } else {
                me.waiting.pop_front();
            }
            me.sent += 1;
            let state = &mut me.values[next];
            let retries = state.retries;
            state.retries += 1;
            state.ticket = me.flow.send(at, next, ACCEPT, retries);
            if me.sent.is_multiple_of(64) {
                assert_eq!(me.flow.check(), Ok(()));
            }
            let Some(there) = leaders[0].out.pass(now, ACCEPT, &mut rng).filter(|_| !is_out) else {
                continue;
            };
            for (acceptor, line) in inwards.iter_mut().enumerate() {
                if let Some(mut arrives) = line.pass(there, ACCEPT, &mut rng) {
                    if rng.chance(world.late) {
                        arrives += 1000;
                    }
                    plan(&mut agenda, arrives, What::Accept { leader, acceptor, value: next });
                }
            }
        }
        let me = &mut leaders[leader];
        if let Some(due) = me.flow.deadline(&settings).map(|due| due.0.max(now + 1))
            && (me.armed <= now || due < me.armed)
        {
            me.armed = due;
            plan(&mut agenda, due, What::Due { leader });
        }
    }
    let line = world.mbit * 125_000.0 * (end - steady) as f64 / 1e6;
    let shares: Vec<f64> =
        leaders.iter().map(|leader| (leader.done as usize * VALUE) as f64 / line).collect();
    let mut trips: Vec<u64> = leaders.iter().flat_map(|leader| leader.trips.clone()).collect();
    trips.sort_unstable();
    let p99 = trips.get(trips.len() * 99 / 100).copied().unwrap_or(0) as f64 / 1000.0;
    let (sent, resent) = leaders
        .iter()
        .fold((0, 0), |(sent, resent), leader| (sent + leader.sent, resent + leader.resent));
    let slice = world.mbit * 125_000.0 / 20.0;
    Seen {
        share: shares.iter().sum(),
        shares,
        resent: resent as f64 / sent as f64,
        queue: leaders.iter().map(|leader| leader.longest).fold(0.0, f64::max) / 1000.0,
        p99,
        course: course.into_iter().map(|count| count * VALUE as f64 / slice).collect(),
        window: leaders[0].flow.window(),
    }
}

fn value(now: u64) -> Value {
    Value { since: now, voters: 0, done: false, ticket: Ticket(0), retries: 0 }
}

/// Values of 1 KiB in datagrams of their own fill no more of a line than this.
const FULL: f64 = VALUE as f64 / ACCEPT as f64;

#[track_caller]
fn fills(seen: &Seen, share: f64) {
    assert!(seen.share >= share * FULL, "{:.3} of the line: {seen:?}", seen.share);
}

/// However much is asked for, as much is decided, and heartbeats pass.
#[test]
fn more_outstanding_is_never_less() {
    for outstanding in [64, 256, 1024, 4096] {
        let seen = run(&World { outstanding, ..World::default() }, 1);
        fills(&seen, 0.98);
        let little = outstanding as f64 * VALUE as f64 / (seen.share * 12_500.0);
        assert!(seen.p99 <= 1.5 * little, "{seen:?}");
        assert!(seen.queue < 10.0 && seen.resent < 0.001, "{seen:?}");
    }
    let free = run(&World { outstanding: 1024, controlled: false, ..World::default() }, 1);
    assert!(free.resent > 0.2, "or the test shows nothing: {free:?}");
}

#[test]
fn slow_and_fast_links_are_filled() {
    let seen = run(&World { mbit: 10.0, seconds: 2.0, ..World::default() }, 1);
    fills(&seen, 0.95);
    assert!(seen.queue < 30.0, "{seen:?}");
    let world = World { mbit: 1000.0, seconds: 0.4, outstanding: 1024, ..World::default() };
    fills(&run(&world, 1), 0.95);
}

/// A queue that is full before anything waits for long shows itself by losses alone.
#[test]
fn shallow_queues_are_filled_and_not_flooded() {
    let seen = run(&World { queue: 25_000.0, seconds: 2.0, ..World::default() }, 1);
    fills(&seen, 0.92);
    assert!(seen.resent < 0.05, "{seen:?}");
}

/// Losses that do not depend on the window do not shut it.
#[test]
fn random_loss_is_not_taken_for_a_full_queue() {
    for (loss, share) in [(0.005, 0.94), (0.025, 0.90), (0.05, 0.85)] {
        let seen = run(&World { loss, seconds: 2.0, ..World::default() }, 1);
        fills(&seen, share);
        assert!(seen.queue < 25.0, "{seen:?}");
    }
}

#[test]
fn long_paths_are_filled() {
    for loss in [0.0, 0.005] {
        let world = World {
            trip: 200_000,
            outstanding: 8192,
            seconds: 10.0,
            window_bytes: 8 << 20,
            loss,
            ..World::default()
        };
        fills(&run(&world, 1), 0.70);
    }
}

/// A tenth of the rate, and the whole again.
#[test]
fn a_rate_that_changes_is_followed() {
    let changes = vec![(1.0, 10.0, 200), (2.0, 100.0, 200)];
    let seen = run(&World { seconds: 3.0, changes, ..World::default() }, 1);
    let mean = |course: &[f64]| course.iter().sum::<f64>() / course.len() as f64;
    assert!(mean(&seen.course[30..40]) > 0.08 * FULL, "{seen:?}");
    assert!(mean(&seen.course[41..60]) > 0.8 * FULL, "{seen:?}");
}

/// Suddenly the path is 250 times as long, which looks like a queue.
#[test]
fn a_path_that_becomes_longer_is_noticed() {
    let world = World {
        seconds: 4.0,
        outstanding: 1024,
        changes: vec![(1.0, 100.0, 50_000)],
        ..World::default()
    };
    let seen = run(&world, 1);
    assert!(seen.course[60..79].iter().sum::<f64>() / 19.0 > 0.5, "{seen:?}");
}

/// One acceptor of three has a hundredth of the rate, or two sleep now and then.
#[test]
fn a_slow_minority_changes_nothing() {
    fills(&run(&World { slow: vec![1.0], ..World::default() }, 1), 0.95);
    let world = World { pauses: Some((2.0, 50_000)), seconds: 2.0, ..World::default() };
    fills(&run(&world, 1), 0.75);
}

/// Disks store what has gathered: that is no queue.
#[test]
fn a_slow_disk_is_not_taken_for_a_full_queue() {
    let world = World { sync: 10_000, ..World::default() };
    let free = run(&World { controlled: false, ..world.clone() }, 1);
    fills(&run(&world, 1), 0.9 * free.share / FULL);
}

#[test]
fn two_leaders_on_a_link_share_it() {
    let seen = run(&World { leaders: 2, seconds: 6.0, ..World::default() }, 1);
    fills(&seen, 0.95);
    assert!(seen.shares.iter().all(|share| *share > 0.35 * seen.share), "{seen:?}");
}

#[test]
fn what_is_overtaken_is_seldom_taken_for_lost() {
    let seen = run(&World { late: 0.25, seconds: 2.0, ..World::default() }, 1);
    fills(&seen, 0.9);
    assert!(seen.resent < 0.05, "{seen:?}");
}

/// Nothing is heard for a while, and then it is.
#[test]
fn it_goes_on_after_an_outage() {
    let world = World { outage: Some((0.5, 0.8)), seconds: 2.0, ..World::default() };
    let seen = run(&world, 1);
    assert!(seen.course[28..40].iter().sum::<f64>() / 12.0 > 0.95 * FULL, "{seen:?}");
}

/// Its own queue does not become the base in time.
#[test]
fn the_base_does_not_drift() {
    let seen = run(&World { seconds: 25.0, outstanding: 128, ..World::default() }, 1);
    assert!(seen.window < 80_000, "{seen:?}");
    fills(&seen, 0.98);
}
