//! Phase 1 ("Paxos Made Simple", 2.2): what an acceptor is asked to promise, and what it reports.

use crate::protocol::segments::Page;
use crate::protocol::types::{Ballot, ENTRY_BYTES_MAX, Instance};

/// Phase 1a, leader to acceptors: promise this ballot, and say what you accepted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prepare {
    /// The leader's ballot.
    pub ballot: Ballot,
    /// The first instance asked about.
    pub from: Instance,
    /// The end of what is asked about; none means the entire rest of the log.
    pub until: Option<Instance>,
    /// The one acceptor whose next page is wanted; none means all of them.
    pub acceptor: Option<u32>,
}

/// Phase 1b, acceptor to proposers: promised, and here is a page of what was accepted.
///
/// A promise counts once its last page is there. Pages are requested, and come a few at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Promise {
    /// The promised ballot.
    pub ballot: Ballot,
    /// The first instance of this page, as asked.
    pub from: Instance,
    /// The end of what was asked about, as asked.
    pub until: Option<Instance>,
    /// The acceptor reports nothing that it accepted below it: everything there is decided.
    pub trimmed: Instance,
    /// What was accepted on this page, in instance order.
    pub accepted: Vec<AcceptedPage>,
    /// Where the next page begins; none on the last page.
    pub next: Option<Instance>,
    /// Whether the next page comes without being asked for.
    pub is_followed: bool,
}

/// What one acceptor accepted last in consecutive instances, in one ballot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AcceptedPage {
    /// The ballot it was accepted in.
    pub ballot: Ballot,
    /// The instances, and what was accepted in each.
    pub page: Page,
}

impl AcceptedPage {
    /// The most bytes it takes on the wire besides its entries: a ballot, an instance, a count, and
    /// what writing entries may add.
    pub const BYTES_MAX: usize = (9 + 5 + 9) + 9 + 5 + ENTRY_BYTES_MAX;
}
