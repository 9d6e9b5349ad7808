//! Which sequence numbers of a session were taken? Bounded: a number too far back counts as taken.

/// How far back a number may arrive, in numbers. A power of two and a multiple of 64. Datagrams of
/// one sender overtake each other by a handful; numbers that one receiver never sees, because those
/// datagrams went to other groups or were lost, cost nothing.
pub const WINDOW: u64 = 4096;

const WORDS: usize = (WINDOW / 64) as usize;

/// The numbers that one session has used. Memory is fixed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The highest number that was taken.
    highest: u64,
    /// One bit for each of the last `WINDOW` numbers up to `highest`: number n has bit n mod
    /// `WINDOW`, which is set if it was taken.
    taken: Box<[u64; WORDS]>,
}

impl Window {
    /// A window in which every number up to and including `floor` counts as taken.
    pub fn above(floor: u64) -> Self {
        Window { highest: floor, taken: Box::new([u64::MAX; WORDS]) }
    }

    /// Takes `number`, unless it was taken or lies too far back. Returns whether it did.
    #[must_use]
    pub fn take(&mut self, number: u64) -> bool {
        if number > self.highest {
            self.advance(number);
        } else if self.highest - number >= WINDOW || self.has(number) {
            return false;
        }
        let (word, bit) = place(number);
        self.taken[word] |= bit;
        debug_assert!(self.has(number) && number <= self.highest);
        true
    }

    /// Moves the window up to `highest`; the numbers that come in were not taken. Bounded work.
    fn advance(&mut self, highest: u64) {
        if highest - self.highest >= WINDOW {
            self.taken.fill(0);
        } else {
            for number in self.highest + 1..=highest {
                let (word, bit) = place(number);
                self.taken[word] &= !bit;
            }
        }
        self.highest = highest;
    }

    fn has(&self, number: u64) -> bool {
        let (word, bit) = place(number);
        self.taken[word] & bit != 0
    }
}

fn place(number: u64) -> (usize, u64) {
    let bit = number % WINDOW;
    ((bit / 64) as usize, 1 << (bit % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn its_edges() {
        let mut window = Window::above(10);
        assert!(!window.take(10) && !window.take(0), "what was before the floor is gone");
        assert!(window.take(11) && !window.take(11));
        assert!(window.take(10 + WINDOW));
        assert!(window.take(12) && !window.take(11) && !window.take(10), "as far back as it goes");
        assert!(window.take(11 + WINDOW));
        assert!(window.take(13), "the oldest number of the window");
        assert!(!window.take(11), "one before it");
        assert!(window.take(u64::MAX) && !window.take(u64::MAX) && window.take(u64::MAX - 1));
        assert!(!window.take(11 + WINDOW));
    }

    proptest! {
        /// Takes nothing twice, nothing from before the floor, and everything else that is near
        /// enough.
        #[test]
        fn every_number_once_in_any_order(
            floor in 0..u64::MAX / 2,
            steps in prop::collection::vec((any::<bool>(), 0..3 * WINDOW), 1..200),
        ) {
            let (mut window, mut highest) = (Window::above(floor), floor);
            let mut model = BTreeSet::new();
            for (is_ahead, distance) in steps {
                let number =
                    if is_ahead { highest + distance } else { highest.saturating_sub(distance) };
                let is_near = number > highest || highest - number < WINDOW;
                let expected = number > floor && is_near && !model.contains(&number);
                prop_assert_eq!(window.take(number), expected);
                if expected {
                    model.insert(number);
                    highest = highest.max(number);
                }
            }
        }
    }
}
