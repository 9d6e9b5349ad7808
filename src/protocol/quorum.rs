//! Majorities: how many acceptors are enough, and who has voted so far.

#[cfg(all(test, feature = "bugs"))]
pub mod mistakes;

/// What counts as a quorum. Any two quorums share an acceptor, which is all that Paxos needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quorum {
    acceptor_count: u32,
}

impl Quorum {
    /// Majorities of `acceptor_count` acceptors, 1 to 64.
    pub fn majority_of(acceptor_count: u32) -> Self {
        assert!((1..=64).contains(&acceptor_count), "a tally holds 1 to 64 acceptors");
        Quorum { acceptor_count }
    }

    /// How many acceptors are enough.
    pub fn needed(self) -> u32 {
        self.acceptor_count / 2 + 1
    }

    /// The ids of all acceptors.
    pub fn acceptors(self) -> impl Iterator<Item = u32> {
        1..=self.acceptor_count
    }

    /// Whether `id` is an acceptor's.
    pub fn includes(self, id: u32) -> bool {
        (1..=self.acceptor_count).contains(&id)
    }
}

/// Which acceptors have voted. An acceptor counts once, however often its vote arrives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tally {
    voters: u64,
}

impl Tally {
    /// Counts the vote of `acceptor`, 1 to 64.
    pub fn vote(&mut self, acceptor: u32) {
        assert!((1..=64).contains(&acceptor), "the caller checks who may vote");
        self.voters |= 1 << (acceptor - 1);
    }

    /// Whether `acceptor` has voted.
    pub fn includes(self, acceptor: u32) -> bool {
        self.voters & (1 << (acceptor - 1)) != 0
    }

    /// How many different acceptors have voted.
    pub fn count(self) -> u32 {
        self.voters.count_ones()
    }

    /// Whether a quorum has voted.
    pub fn is_won(self, quorum: Quorum) -> bool {
        self.count() >= quorum.needed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "Paxos Made Simple", 2.2: a value is chosen when a majority of the acceptors has accepted
    /// it; one acceptor heard twice is still one acceptor.
    #[test]
    fn a_repeated_vote_counts_once() {
        let quorum = Quorum::majority_of(3);
        let mut tally = Tally::default();
        tally.vote(2);
        tally.vote(2);
        assert!(!tally.is_won(quorum));
        tally.vote(3);
        assert!(tally.is_won(quorum));
    }

    #[test]
    fn two_quorums_always_share_an_acceptor() {
        for count in 1..=64 {
            assert!(2 * Quorum::majority_of(count).needed() > count);
            assert!(2 * (Quorum::majority_of(count).needed() - 1) <= count);
        }
    }
}
