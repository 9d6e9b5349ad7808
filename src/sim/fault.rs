//! What can go wrong in a simulated world, one thing at a time.

use std::fmt;
use std::time::Duration;

use super::habits::Habit;
use crate::protocol::message::Kind;
use crate::protocol::types::NodeId;

/// One fault, or the end of some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A process dies. Unsynced data may be partly gone or torn.
    Kill(NodeId),
    /// It dies in the middle of its next turn that stores or sends something.
    KillAt(NodeId, Boundary),
    /// It dies, if it is running, and starts: an acceptor with its stored data, the others afresh.
    Restart(NodeId),
    /// It sleeps, and everything that arrives waits.
    Pause(NodeId, Duration),
    /// The proposer that leads dies.
    KillLeader,
    /// The proposer that leads sleeps.
    PauseLeader(Duration),
    /// Nothing gets from the first to the second any more, of each pair.
    Cut {
        /// The name of its shape.
        shape: &'static str,
        /// From whom to whom.
        pairs: Vec<(NodeId, NodeId)>,
    },
    /// From the first to the second no longer datagram than this gets through any more.
    Narrow {
        /// How many bytes a datagram may have.
        bytes: usize,
        /// From whom to whom.
        pairs: Vec<(NodeId, NodeId)>,
    },
    /// An acceptor's disk takes this long for each sync, or a learner's for each errand.
    SlowDisk(NodeId, Duration),
    /// Messages of this kind do not get through.
    Filter(Kind),
    /// The first of each pair has a wrong address of the second: its direct messages are lost.
    Misplace(Vec<(NodeId, NodeId)>),
    /// A process forgets all addresses: it sends to groups alone.
    Forget(NodeId),
    /// Cuts and filters end, and addresses are right.
    Heal,
    /// Only this many more bytes fit on an acceptor's disk.
    FillDisk(NodeId, usize),
    /// An acceptor's disk does not sync any more.
    BreakDisk(NodeId),
    /// An operator ends an acceptor, does something to its directory, and starts it again.
    Operate(NodeId, Habit),
    /// A node's clock runs at this many thousandths of its true speed.
    ClockRate(NodeId, u64),
    /// A node's clock jumps ahead.
    ClockJump(NodeId, Duration),
    /// This many old datagrams arrive again, at all their addressees.
    Replay(u32),
    /// A datagram that is not of this cluster, or damaged, arrives at a node.
    Garbage(NodeId),
}

/// Where in the effects of a turn a process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Boundary {
    /// Nothing is stored yet.
    BeforeStore,
    /// Written, and not synced.
    BeforeSync,
    /// After some steps on the disk, wherever that is.
    MidStore,
    /// Stored, and nothing sent.
    BeforeSend,
    /// Half of it is sent.
    MidSend,
}

impl Boundary {
    /// Every boundary.
    pub const ALL: [Boundary; 5] = [
        Boundary::BeforeStore,
        Boundary::BeforeSync,
        Boundary::MidStore,
        Boundary::BeforeSend,
        Boundary::MidSend,
    ];
}

/// The process that every one of these pairs has, if there are several, in both directions.
fn cut_off(pairs: &[(NodeId, NodeId)]) -> Option<NodeId> {
    let has = |node: NodeId, (from, to): &(NodeId, NodeId)| *from == node || *to == node;
    let of_all = |node: &NodeId| pairs.iter().all(|pair| has(*node, pair));
    let is_mutual = pairs.iter().all(|(from, to)| pairs.contains(&(*to, *from)));
    let mut senders = pairs.iter().map(|(from, _)| *from);
    senders.find(of_all).filter(|_| is_mutual && pairs.len() > 2)
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Kill(node) => write!(f, "{node} is killed"),
            Fault::KillAt(node, Boundary::BeforeStore) => {
                write!(f, "{node} will die before it stores")
            }
            Fault::KillAt(node, Boundary::BeforeSync) => {
                write!(f, "{node} will die before what it stored is synced")
            }
            Fault::KillAt(node, Boundary::MidStore) => write!(f, "{node} will die while it stores"),
            Fault::KillAt(node, Boundary::BeforeSend) => {
                write!(f, "{node} will die before it sends")
            }
            Fault::KillAt(node, Boundary::MidSend) => write!(f, "{node} will die while it sends"),
            Fault::Restart(node) => write!(f, "{node} is started again"),
            Fault::Pause(node, length) => write!(f, "{node} sleeps for {length:?}"),
            Fault::KillLeader => write!(f, "the leader is killed"),
            Fault::PauseLeader(length) => write!(f, "the leader sleeps for {length:?}"),
            Fault::Cut { shape, pairs } => {
                write!(f, "{shape}:")?;
                if let Some(node) = cut_off(pairs) {
                    return write!(f, " {node} neither hears nor is heard");
                }
                pairs.iter().try_for_each(|(from, to)| write!(f, " {from}-/->{to}"))
            }
            Fault::Narrow { bytes, pairs } => {
                write!(f, "no more than {bytes} bytes:")?;
                pairs.iter().try_for_each(|(from, to)| write!(f, " {from}-->{to}"))
            }
            Fault::SlowDisk(node, length) => write!(f, "{node}'s disk takes {length:?} a sync"),
            Fault::Filter(kind) => write!(f, "every {kind:?} is lost"),
            Fault::Misplace(pairs) => {
                write!(f, "wrong addresses:")?;
                pairs.iter().try_for_each(|(from, to)| write!(f, " {from}->{to}"))
            }
            Fault::Forget(node) => write!(f, "{node} knows no addresses"),
            Fault::Heal => write!(f, "the network is whole again"),
            Fault::FillDisk(node, bytes) => write!(f, "{bytes} bytes are left on {node}'s disk"),
            Fault::BreakDisk(node) => write!(f, "{node}'s disk does not sync any more"),
            Fault::Operate(node, habit) => write!(f, "the directory of {node} {habit}"),
            Fault::ClockRate(node, rate) => {
                write!(f, "{node}'s clock runs {}.{:03} times as fast", rate / 1000, rate % 1000)
            }
            Fault::ClockJump(node, length) => write!(f, "{node}'s clock jumps by {length:?}"),
            Fault::Replay(count) => write!(f, "{count} datagrams of the past arrive again"),
            Fault::Garbage(node) => write!(f, "{node} receives garbage"),
        }
    }
}
