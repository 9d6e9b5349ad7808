//! Proposing values.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::desk::{Closed, Desk, Patience, Refused};
use super::node::{Node, NodeError};
use super::ticket::{Ticket, ticket_at};
use crate::protocol::types::{Number, Session};

/// One session with a cluster: its values are decided exactly once, and in its order.
///
/// It finds the leader by itself, follows changes of leader, and asks again for as long as it
/// takes. Clones share the session; the last of them that is dropped ends it.
#[derive(Clone)]
pub struct Client {
    desk: Arc<Desk<Infallible>>,
    node: Arc<Node>,
}

impl Client {
    pub(super) fn new(desk: Arc<Desk<Infallible>>, node: Node) -> Self {
        Client { desk, node: Arc::new(node) }
    }

    /// Proposes a value, and waits while too many others wait for the cluster: about four thousand,
    /// or four megabytes. The ticket yields the value's number in this session, not its position in
    /// the log, which the leader does not tell clients: an [`Entry`](super::Entry) has both.
    ///
    /// # Errors
    ///
    /// When the value is too long, while the acceptors' disks are full, and when the client has
    /// ended.
    pub fn propose(&self, value: impl AsRef<[u8]>) -> Result<Ticket<Number>, Refused> {
        self.put(value.as_ref(), Patience::Waits)
    }

    /// The same, without waiting.
    ///
    /// # Errors
    ///
    /// As above, and with [`Refused::Full`], which returns the value, where
    /// [`propose`](Client::propose) would wait.
    pub fn try_propose(&self, value: impl AsRef<[u8]>) -> Result<Ticket<Number>, Refused> {
        self.put(value.as_ref(), Patience::Tries)
    }

    /// Whether a value would be refused with [`Refused::DisksFull`] now.
    pub fn disks_are_full(&self) -> bool {
        self.desk.is_full()
    }

    // In its caller, so that a ticket is made where it is kept: moving one costs as much as a lock.
    #[inline]
    fn put(&self, value: &[u8], patience: Patience) -> Result<Ticket<Number>, Refused> {
        let number = self.desk.put(value, patience, None);
        let number = number.inspect_err(|refused| self.desk.count(refused))?;
        Ok(ticket_at(Arc::clone(self.desk.front()), number))
    }

    /// Its session, as entries of a [`Subscription`](super::Subscription) name it: session and
    /// number are the value's name in the log.
    pub fn session(&self) -> Session {
        self.desk.session()
    }

    /// The node that runs it.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Ends the session for all clones, and waits for at most `within`. Values that are not known
    /// to be decided by then are [`Fate::Unknown`](super::Fate::Unknown).
    ///
    /// # Errors
    ///
    /// Those of [`Node::stop`]. If there are other clones, the node goes down all the same, but
    /// only they can learn how it ended.
    pub fn stop(self, within: Duration) -> Result<(), NodeError> {
        let Client { desk, node } = self;
        desk.close(Number(0), Closed::Stopped);
        node.ask_to_end();
        match Arc::try_unwrap(node) {
            Ok(node) => node.stop(within),
            Err(node) if node.wait(within) => Ok(()),
            Err(_) => Err(NodeError::Late),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("session", &self.session()).finish_non_exhaustive()
    }
}
