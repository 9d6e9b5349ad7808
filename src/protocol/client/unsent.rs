//! A client's request on its way out.

use crate::protocol::actor::Effects;
use crate::protocol::entries::EntriesBuilder;
use crate::protocol::message::{Assignment, Message, Request};
use crate::protocol::parts::Flow;
use crate::protocol::types::{Instance, Number, Role, Time, To};

/// A request that is being put together.
pub struct Unsent {
    now: Time,
    to: To,
    assignment: Assignment,
    opened: Instance,
    front: Number,
    pub from: Option<Number>,
    pub retries: u32,
    pub entries: EntriesBuilder,
    /// About how many bytes it takes in the network.
    pub bytes: usize,
    /// Whether it leaves even when there is no room for it.
    pub is_missed: bool,
}

impl Unsent {
    /// An empty request of a client with this assignment, whose session was opened at this
    /// instance.
    pub fn new(
        now: Time,
        to: To,
        (assignment, opened): (Assignment, Instance),
        front: Number,
    ) -> Self {
        let (from, retries, entries, bytes) = (None, 0, EntriesBuilder::new(), 0);
        let is_missed = false;
        Unsent { now, to, assignment, opened, front, from, retries, entries, bytes, is_missed }
    }

    /// Sends it, unless it is empty. Repeated requests go to everybody, for the process asked first
    /// may have stopped leading, or may have another address.
    pub fn send(&mut self, flow: &mut Flow<()>, fx: &mut Effects) {
        if let Some(from) = self.from.take() {
            let entries = self.entries.finish();
            let retries = std::mem::take(&mut self.retries);
            if std::mem::take(&mut self.is_missed) {
                flow.send_anyway(self.now, (), self.bytes, retries);
            } else {
                flow.send(self.now, (), self.bytes, retries);
            }
            let is_again = retries > 0;
            let to = if is_again { To::Group(Role::Proposer) } else { self.to };
            let (assignment, opened, front) = (self.assignment, self.opened, self.front);
            let request = Request { assignment, from, front, opened, entries };
            fx.sent_again += u64::from(is_again);
            fx.send(to, Message::Request(request));
        }
    }
}
