//! A hashed timing wheel: setting, moving and cancelling a timer cost the same however many there
//! are (Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", 1987, scheme 6).
//!
//! The wheel turns one slot a tick of 1.024 ms, about once a second. A slot lists the timers whose
//! deadline falls into its tick, of this turn or a later one. Deadlines keep their microseconds: a
//! timer never fires early, and fires in the order of its deadline, not of its slot. Timers with
//! one deadline fire in the order of their keys' indices.
//!
//! A bitmap says which slots hold anything, so a pause of hours costs one look at each such slot,
//! not a step for every missed tick. The wheel reads no clock and has no callbacks.

use crate::protocol::timer::Timer;
use crate::protocol::types::Time;

/// Microseconds of a tick, as a power of two.
const TICK_BITS: u32 = 10;
/// Slots of the wheel, a power of two.
const SLOTS: usize = 1024;
/// Bits of a word of the bitmap.
const WORD_BITS: usize = u64::BITS as usize;
/// Ends a list.
const NONE: u32 = u32::MAX;

/// The name of a timer in a wheel.
pub trait TimerKey: Copy {
    /// A small unique number below 2^32 - 1. The wheel's memory grows with the largest.
    fn index(self) -> usize;
}

impl TimerKey for Timer {
    fn index(self) -> usize {
        self as usize
    }
}

/// The timers that are set, each with its deadline.
#[derive(Debug)]
pub struct TimerWheel<K> {
    /// By the index of the key.
    nodes: Vec<Option<Node<K>>>,
    slots: Box<[Slot]>,
    /// One bit a slot: whether it lists anything.
    occupied: [u64; SLOTS / WORD_BITS],
    /// Where the wheel stands: every timer of an earlier tick was handed out.
    tick: u64,
    /// How many timers are set.
    set: usize,
    /// The timers that fall due; the memory is reused from call to call.
    due: Vec<(Time, u32)>,
}

/// A timer that was set at least once.
#[derive(Clone, Copy, Debug)]
struct Node<K> {
    key: K,
    deadline: Time,
    /// The slot that lists it, or [`NONE`].
    slot: u32,
    previous: u32,
    next: u32,
}

/// The timers of one tick of every turn.
#[derive(Clone, Copy, Debug)]
struct Slot {
    first: u32,
    /// No timer of the slot has an earlier deadline. It is exact after each visit; in between a
    /// cancelled timer may leave it too early, which costs one wake-up.
    earliest: Time,
}

impl<K: TimerKey> TimerWheel<K> {
    /// A wheel without timers, at `now`.
    pub fn new(now: Time) -> Self {
        TimerWheel {
            nodes: Vec::new(),
            slots: vec![Slot { first: NONE, earliest: Time(u64::MAX) }; SLOTS].into(),
            occupied: [0; SLOTS / WORD_BITS],
            tick: tick_of(now),
            set: 0,
            due: Vec::new(),
        }
    }

    /// Whether no timer is set.
    pub fn is_empty(&self) -> bool {
        self.set == 0
    }

    /// Sets a timer, or moves it when it is set. A deadline that has passed is due at once.
    pub fn schedule(&mut self, key: K, deadline: Time) {
        self.cancel(key);
        let index = key.index();
        assert!(index < NONE as usize, "a timer's index must be small");
        if index >= self.nodes.len() {
            self.nodes.resize(index + 1, None);
        }
        // An overdue timer goes where the wheel stands, or it would wait for a whole turn.
        let slot_index = slot_of(tick_of(deadline).max(self.tick));
        let slot = &mut self.slots[slot_index];
        let next = slot.first;
        slot.first = index as u32;
        slot.earliest = slot.earliest.min(deadline);
        let slot_number = slot_index as u32;
        self.nodes[index] = Some(Node { key, deadline, slot: slot_number, previous: NONE, next });
        if let Some(next) = self.node(next) {
            next.previous = index as u32;
        }
        self.occupied[slot_index / WORD_BITS] |= 1 << (slot_index % WORD_BITS);
        self.set += 1;
    }

    /// Cancels a timer; nothing happens when it is not set.
    pub fn cancel(&mut self, key: K) {
        let Some(node) = self.node(u32::try_from(key.index()).unwrap_or(NONE)) else { return };
        let Node { slot, previous, next, .. } = *node;
        if slot == NONE {
            return;
        }
        node.slot = NONE;
        self.set -= 1;
        if let Some(next) = self.node(next) {
            next.previous = previous;
        }
        if let Some(previous) = self.node(previous) {
            previous.next = next;
            return;
        }
        let slot_index = slot as usize;
        self.slots[slot_index].first = next;
        if next == NONE {
            self.slots[slot_index].earliest = Time(u64::MAX);
            self.occupied[slot_index / WORD_BITS] &= !(1 << (slot_index % WORD_BITS));
        }
    }

    /// When to look again: never later than the first deadline, at times earlier. None when no
    /// timer is set. After a call of `expire` at that moment the answer is a later one, so waiting
    /// for it never turns into spinning.
    pub fn next_expiry(&self) -> Option<Time> {
        let tick = self.next_occupied(self.tick)?;
        let earliest = self.slots[slot_of(tick)].earliest;
        // All of the slot may belong to later turns. The slots that follow begin where it ends.
        Some(earliest.min(end_of(tick)))
    }

    /// Takes the timers whose deadline is not after `now`, at most `limit` of them, in the order
    /// of their deadlines; the others come with the next call. They are no longer set.
    ///
    /// Bounded work: visits each slot at most once, and stops soon after `limit` timers unless the
    /// wheel fell behind by more than a turn.
    pub fn expire(&mut self, now: Time, limit: usize) -> impl Iterator<Item = K> + use<'_, K> {
        assert!(limit > 0, "a limit of zero would never make progress");
        let now_tick = tick_of(now).max(self.tick);
        let behind = now_tick - self.tick;
        // Within one turn the slots follow each other as their deadlines do.
        let in_order = behind < SLOTS as u64;
        let last = if in_order { now_tick } else { self.tick + (SLOTS as u64 - 1) };
        self.due.clear();
        let mut from = self.tick;
        while let Some(tick) = self.next_occupied(from).filter(|&tick| tick <= last) {
            self.look(slot_of(tick), now);
            let Some(next) = tick.checked_add(1) else { break };
            from = next;
            if in_order && self.due.len() > limit {
                break;
            }
        }
        self.due.sort_unstable();
        if self.due.len() <= limit {
            self.tick = now_tick;
        }
        for (deadline, index) in self.due.drain(limit.min(self.due.len())..) {
            // Left over: its slot must be visited again.
            let Some(Some(node)) = self.nodes.get(index as usize) else { continue };
            let slot = &mut self.slots[node.slot as usize];
            slot.earliest = slot.earliest.min(deadline);
        }
        for position in 0..self.due.len() {
            let (_, index) = self.due[position];
            if let Some(Node { key, .. }) = self.nodes[index as usize] {
                self.cancel(key);
            }
        }
        let nodes = &self.nodes;
        self.due.iter().filter_map(|&(_, index)| nodes[index as usize].map(|node| node.key))
    }

    /// Gathers the due timers of a slot, and finds the earliest of the others.
    fn look(&mut self, slot_index: usize, now: Time) {
        let slot = &mut self.slots[slot_index];
        if slot.earliest > now {
            return;
        }
        slot.earliest = Time(u64::MAX);
        let mut index = slot.first;
        while let Some(Some(node)) = self.nodes.get(index as usize) {
            if node.deadline <= now {
                self.due.push((node.deadline, index));
            } else {
                slot.earliest = slot.earliest.min(node.deadline);
            }
            index = node.next;
        }
    }

    /// The first tick from `tick` on, within one turn, whose slot lists anything.
    fn next_occupied(&self, tick: u64) -> Option<u64> {
        let start = slot_of(tick);
        let (start_word, start_bit) = (start / WORD_BITS, start % WORD_BITS);
        let words = self.occupied.len();
        // The first word is examined twice: from its bit on, and at the end for the bits below.
        for step in 0..=words {
            let word_index = (start_word + step) % words;
            let mut word = self.occupied[word_index];
            if step == 0 {
                word &= u64::MAX << start_bit;
            }
            if word != 0 {
                let slot = word_index * WORD_BITS + word.trailing_zeros() as usize;
                let ahead = (slot + SLOTS - start) % SLOTS;
                return Some(tick.saturating_add(ahead as u64));
            }
        }
        None
    }

    /// The node of this number, unless it is [`NONE`] or was never set.
    fn node(&mut self, index: u32) -> Option<&mut Node<K>> {
        self.nodes.get_mut(index as usize)?.as_mut()
    }
}

/// The tick a moment belongs to.
fn tick_of(time: Time) -> u64 {
    time.0 >> TICK_BITS
}

/// The slot of a tick.
fn slot_of(tick: u64) -> usize {
    (tick % SLOTS as u64) as usize
}

/// The first moment after a tick.
fn end_of(tick: u64) -> Time {
    Time(tick.saturating_add(1).saturating_mul(1 << TICK_BITS))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;

    /// A key that can have thousands of values.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    struct Key(u16);

    impl TimerKey for Key {
        fn index(self) -> usize {
            usize::from(self.0)
        }
    }

    const HOUR: u64 = 3_600_000_000;

    fn expired(wheel: &mut TimerWheel<Key>, now: u64, limit: usize) -> Vec<u16> {
        wheel.expire(Time(now), limit).map(|key| key.0).collect()
    }

    #[test]
    fn timers_fire_in_the_order_of_their_microseconds_and_never_early() {
        let mut wheel = TimerWheel::new(Time(5_000));
        wheel.schedule(Key(0), Time(6_003));
        wheel.schedule(Key(1), Time(6_001));
        wheel.schedule(Key(2), Time(6_001));
        assert_eq!(wheel.next_expiry(), Some(Time(6_001)));
        assert_eq!(expired(&mut wheel, 6_000, 9), [] as [u16; 0]);
        assert_eq!(expired(&mut wheel, 6_002, 9), [1, 2]);
        assert_eq!(wheel.next_expiry(), Some(Time(6_003)));
        assert_eq!(expired(&mut wheel, 6_003, 9), [0]);
        assert!(wheel.is_empty());
        assert_eq!(wheel.next_expiry(), None);
    }

    #[test]
    fn a_limit_leaves_the_later_ones_for_the_next_call() {
        let mut wheel = TimerWheel::new(Time::ZERO);
        for key in 0..10 {
            wheel.schedule(Key(key), Time(100_000 - u64::from(key) * 5_000));
        }
        assert_eq!(expired(&mut wheel, 100_000, 4), [9, 8, 7, 6]);
        assert!(wheel.next_expiry().is_some_and(|next| next <= Time(80_000)));
        // Set in the past, in between: it is the earliest now.
        wheel.schedule(Key(9), Time(1));
        assert_eq!(expired(&mut wheel, 100_000, 4), [9, 5, 4, 3]);
        assert_eq!(expired(&mut wheel, 100_000, 4), [2, 1, 0]);
    }

    /// A process that was stopped for an hour, with thousands of timers set.
    #[test]
    fn a_pause_of_hours_hands_everything_out_in_order() {
        let mut wheel = TimerWheel::new(Time::ZERO);
        for key in 0..5_000 {
            wheel.schedule(Key(key), Time(u64::from(key * 7 % 5_000) * 10_007));
        }
        wheel.schedule(Key(5_000), Time(2 * HOUR));
        let order = expired(&mut wheel, HOUR, usize::MAX);
        assert_eq!(order.len(), 5_000);
        assert!(order.is_sorted_by_key(|key| key * 7 % 5_000));
        assert_eq!(expired(&mut wheel, 2 * HOUR - 1, 9), [] as [u16; 0]);
        assert_eq!(expired(&mut wheel, 2 * HOUR, 9), [5_000]);
    }

    /// Waiting for a far deadline wakes up about once a turn, not once a tick, and never spins.
    #[test]
    fn waiting_for_a_far_deadline_takes_few_wake_ups() {
        let mut wheel = TimerWheel::new(Time::ZERO);
        wheel.schedule(Key(0), Time(60_000_000));
        let mut now = Time::ZERO;
        let mut wake_ups = 0;
        while !wheel.is_empty() {
            now = wheel.next_expiry().unwrap();
            wheel.expire(now, 1).for_each(drop);
            wake_ups += 1;
        }
        assert_eq!(now, Time(60_000_000));
        assert!(wake_ups <= 60, "{wake_ups} wake-ups");
    }

    #[test]
    fn the_end_of_time_can_be_set_and_reached() {
        let mut wheel = TimerWheel::new(Time::ZERO);
        wheel.schedule(Key(0), Time(u64::MAX));
        assert_eq!(expired(&mut wheel, u64::MAX - 1, 1), [] as [u16; 0]);
        assert_eq!(wheel.next_expiry(), Some(Time(u64::MAX)));
        assert_eq!(expired(&mut wheel, u64::MAX, 1), [0]);
        wheel.schedule(Key(1), Time(3));
        assert_eq!(expired(&mut wheel, u64::MAX, 1), [1]);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Schedule(u16, u64),
        Cancel(u16),
        Expire { later: u64, limit: usize },
    }

    /// Lengths of time from none to far beyond a turn of the wheel.
    fn span() -> impl Strategy<Value = u64> {
        prop_oneof![0..3u64, 0..3_000u64, 0..3_000_000u64, 0..HOUR, Just(u64::MAX)]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..24u16, span()).prop_map(|(key, after)| Step::Schedule(key, after)),
            1 => (0..24u16).prop_map(Step::Cancel),
            3 => (span(), 1..6usize).prop_map(|(later, limit)| Step::Expire { later, limit }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 1000,
            failure_persistence: None,
            rng_seed: RngSeed::Fixed(1),
            ..ProptestConfig::default()
        })]

        /// The wheel behaves like a sorted list, and `next_expiry` is never too late.
        #[test]
        fn it_agrees_with_a_sorted_list(
            start in span(),
            past in 0..2_000u64,
            steps in prop::collection::vec(step(), 0..80),
        ) {
            let mut now = start.min(u64::MAX - HOUR);
            let mut wheel = TimerWheel::new(Time(now));
            let mut model: BTreeMap<u16, u64> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Schedule(key, after) => {
                        let deadline = now.saturating_sub(past).saturating_add(after);
                        wheel.schedule(Key(key), Time(deadline));
                        model.insert(key, deadline);
                    }
                    Step::Cancel(key) => {
                        wheel.cancel(Key(key));
                        model.remove(&key);
                    }
                    Step::Expire { later, limit } => {
                        now = now.saturating_add(if later == u64::MAX { 1 } else { later });
                        let mut due: Vec<(u64, u16)> =
                            model.iter().map(|(&key, &deadline)| (deadline, key)).collect();
                        due.retain(|&(deadline, _)| deadline <= now);
                        due.sort_unstable();
                        due.truncate(limit);
                        let due: Vec<u16> = due.into_iter().map(|(_, key)| key).collect();
                        for key in &due {
                            model.remove(key);
                        }
                        prop_assert_eq!(expired(&mut wheel, now, limit), due);
                        // Asked right after `expire`, only what is due is in the past.
                        if model.values().all(|&deadline| deadline > now) {
                            prop_assert!(wheel.next_expiry().is_none_or(|next| next.0 > now));
                        }
                    }
                }
                prop_assert_eq!(wheel.is_empty(), model.is_empty());
                let first = model.values().min().copied();
                prop_assert_eq!(wheel.next_expiry().is_some(), first.is_some());
                if let (Some(next), Some(first)) = (wheel.next_expiry(), first) {
                    prop_assert!(next.0 <= first, "told to look at {next}, first is {first}");
                }
            }
        }
    }
}
