//! Which losses come from too much in the network, and which would happen anyway?

use std::time::Duration;

use crate::protocol::types::Time;

/// Shares are counted in 1/1024.
pub const UNIT: u64 = 1024;

/// How many datagrams a share of losses needs to mean something.
const SAMPLE: u64 = 32;

/// For how long a share of losses that was seen counts as usual, at least.
const USUAL_MEMORY: Duration = Duration::from_secs(2);

/// How much is lost, and how much is usual. Shares are in [`UNIT`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Losses {
    /// How many were answered since the last judgement.
    pub answered: u64,
    /// How many were lost.
    pub lost: u64,
    /// The least share of the present span, and of the one before.
    usual: [Option<u64>; 2],
    turned: Time,
    /// Consecutive samples with more than that; consecutive rounds without.
    excess: u32,
    pub good_rounds: u32,
    /// Consecutive ceilings, and the share at the first.
    cuts: u32,
    first: u64,
}

/// What losses say.
pub enum LossKind {
    /// Too little was sent.
    Unknown,
    /// No more is lost than with less in the network.
    Usual,
    /// More is lost, and only this share gets through.
    Excess {
        /// The share.
        passed: u64,
    },
    /// It does not depend on the window.
    Unrelated,
}

impl Losses {
    /// Counts anew.
    pub fn begin(&mut self) {
        (self.answered, self.lost) = (0, 0);
    }

    /// What the losses since the last judgement say.
    pub fn judge(&mut self, now: Time) -> LossKind {
        let sent = self.answered + self.lost;
        if sent < SAMPLE {
            return LossKind::Unknown;
        }
        let share = self.lost * UNIT / sent;
        self.begin();
        let usual = self.usual(now, share);
        let chance = 2 * (usual * (UNIT - usual) / sent).isqrt();
        if share <= usual + UNIT / 50 + chance {
            self.good_rounds = self.good_rounds.saturating_add(1);
            self.excess = 0;
            if self.good_rounds >= 2 {
                self.cuts = 0;
            }
            return LossKind::Usual;
        }
        self.good_rounds = 0;
        self.excess += 1;
        if self.excess < 2 {
            return LossKind::Unknown;
        }
        self.excess = 0;
        self.cuts += 1;
        if self.cuts == 1 {
            self.first = share;
        }
        if self.cuts > 3 && share > self.first * 3 / 4 {
            self.cuts = 0;
            self.usual = [Some(share), None];
            self.turned = now;
            return LossKind::Unrelated;
        }
        LossKind::Excess { passed: UNIT - (share - usual) }
    }

    /// The usual share; `share` is the latest one. Until shown otherwise, no loss is usual.
    fn usual(&mut self, now: Time, share: u64) -> u64 {
        if self.turned == Time::ZERO {
            (self.turned, self.usual) = (now, [None, Some(0)]);
        }
        if now.since(self.turned) > USUAL_MEMORY {
            self.turned = now;
            self.usual = [None, self.usual[0]];
        }
        self.usual[0] = Some(self.usual[0].map_or(share, |least| least.min(share)));
        self.usual.iter().flatten().min().copied().unwrap_or(0)
    }
}
