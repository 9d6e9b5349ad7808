//! How much may happen in a world, and the scopes that tests look into.

/// How much happens.
#[derive(Clone, Copy, Debug)]
pub struct Scope {
    /// How many instances two clients ask for, both of them for the same ones.
    pub instances: u64,
    /// How often each proposer campaigns.
    pub campaigns: [u8; 2],
    /// How many crashes with a restart there are.
    pub crashes: u8,
    /// Leaders run phase 1 for each instance.
    pub no_preexecution: bool,
    /// A learner and standby proposers follow.
    pub follows: bool,
    /// How often leaders trim the log, which has a checkpoint from the start; 0 if there is none.
    pub trims: u8,
    /// How often leaders have all sessions forgotten but one.
    pub limits: u8,
    /// Acceptors keep the log on disks, and hold only its newest part in memory.
    pub holds: bool,
}

/// A scope without crashes.
const fn scope(instances: u64, campaigns: [u8; 2]) -> Scope {
    let (crashes, trims, limits) = (0, 0, 0);
    let (no_preexecution, follows, holds) = (false, false, false);
    Scope { instances, campaigns, crashes, no_preexecution, follows, trims, limits, holds }
}

/// The same with a learner and standby proposers.
const fn followed(scope: Scope) -> Scope {
    Scope { follows: true, ..scope }
}

/// The same with a log that is trimmed this often.
const fn trimmed(scope: Scope, trims: u8) -> Scope {
    Scope { trims, ..scope }
}

/// The same where memories hold only the newest part.
const fn held(scope: Scope) -> Scope {
    Scope { holds: true, ..scope }
}

/// The scopes of every test run, visited completely.
pub const SMALL: [Scope; 3] =
    [followed(scope(1, [1, 1])), Scope { crashes: 1, ..scope(1, [1, 1]) }, scope(2, [1, 1])];

/// The scopes that take minutes and gigabytes.
pub const LARGE: [Scope; 2] = [scope(1, [2, 1]), Scope { crashes: 1, ..scope(2, [1, 1]) }];

/// A log that is trimmed.
pub const TRIMMED: Scope = trimmed(Scope { crashes: 1, ..scope(3, [2, 2]) }, 2);

/// The same with two sessions, of which one is forgotten.
pub const FORGETFUL: Scope = Scope { crashes: 0, limits: 1, ..TRIMMED };

/// A new leader is elected while its predecessor writes a checkpoint, behind which stands at which
/// earlier one it may begin.
pub const SHORT: Scope = held(trimmed(scope(2, [1, 1]), 1));

/// The same with more of everything.
pub const HELD: Scope = held(TRIMMED);

/// The scopes of random walks.
pub const WIDE: [Scope; 9] = [
    Scope { crashes: 2, ..scope(2, [2, 2]) },
    scope(1, [3, 3]),
    Scope { crashes: 1, no_preexecution: true, ..scope(2, [2, 2]) },
    followed(Scope { crashes: 1, ..scope(2, [2, 2]) }),
    followed(scope(1, [2, 2])),
    TRIMMED,
    FORGETFUL,
    SHORT,
    HELD,
];
