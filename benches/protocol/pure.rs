//! One leader and three acceptors in one thread, without sockets or encoding.
//!
//! For benches/protocol.rs and for benches/peers, which compares it with others.

use multi_paxos::protocol::acceptor::Acceptor;
use multi_paxos::protocol::actor::{Actor, Effects};
use multi_paxos::protocol::entries::Entries;
use multi_paxos::protocol::message::{Assignment, Message, Request};
use multi_paxos::protocol::proposer::{Proposer, ProposerOptions};
use multi_paxos::protocol::settings::Settings;
use multi_paxos::protocol::timer::Timer;
use multi_paxos::protocol::types::{
    AssignedBy, NodeId, Number, Origin, Role, Sender, Session, Time, Value,
};

/// How many values each measurement decides.
pub const VALUES: u64 = 4096;

/// A leader and its acceptors.
#[derive(Clone)]
pub struct Core {
    leader: Proposer,
    acceptors: Vec<Acceptor>,
    now: Time,
    /// The effects of the leader and an acceptor: reused over turns, as a driver does.
    fx: Effects,
    votes: Effects,
    accepts: Vec<Message>,
}

fn sender(role: Role, id: u32) -> Sender {
    Sender { node: NodeId::new(role, id), boot: 1 }
}

impl Core {
    /// A core whose leader has its promises.
    pub fn new() -> Self {
        let settings = Settings { datagram_bytes: 65507, ..Settings::default() };
        let (no_timeouts, no_preexecution) = (false, false);
        let options = ProposerOptions { id: 1, boot: 1, no_timeouts, no_preexecution };
        let leader = Proposer::new(options, settings.clone());
        let acceptors = (1..=3).map(|id| Acceptor::new(id, 1, settings.clone())).collect();
        let (fx, votes, accepts) = (Effects::new(), Effects::new(), Vec::new());
        let mut core = Core { leader, acceptors, now: Time::ZERO, fx, votes, accepts };
        for _ in 0..10 {
            core.now = core.now + settings.heartbeat_interval;
            core.leader.on_timer(core.now, Timer::Election, &mut core.fx);
            core.settle();
        }
        assert!(core.leader.is_leading());
        core
    }

    /// Ends the leader's turn and delivers messages both ways until there are no more.
    fn settle(&mut self) {
        let Core { leader, acceptors, now, fx, votes, accepts } = self;
        let now = *now;
        loop {
            leader.on_turn_end(now, fx);
            let sent = fx.send.drain(..).filter(|(to, _)| to.group() == Role::Acceptor);
            accepts.extend(sent.map(|(_, message)| message));
            fx.clear();
            if accepts.is_empty() {
                return;
            }
            for (id, acceptor) in (1..).zip(&mut *acceptors) {
                for message in &*accepts {
                    acceptor.on_message(now, sender(Role::Proposer, 1), message.clone(), votes);
                }
                acceptor.on_turn_end(now, votes);
                for (_, message) in votes.send.drain(..) {
                    leader.on_message(now, sender(Role::Acceptor, id), message, fx);
                }
                votes.clear();
            }
            accepts.clear();
        }
    }

    /// Decides the [`VALUES`] values of these requests, which come one after the other.
    pub fn decide(&mut self, requests: Vec<Message>) {
        for request in requests {
            self.leader.on_message(self.now, sender(Role::Client, 1), request, &mut self.fx);
            self.settle();
        }
        assert_eq!(self.leader.log().progress().decided, VALUES);
    }
}

/// What a client asks for: [`VALUES`] values, in requests of `batch`, a divisor of it.
pub fn requests(batch: u64, value: &Value) -> Vec<Message> {
    let session = Session { client: 1, boot: 1 };
    let request = |from| {
        let (assignment, from) = (Assignment::Leader, Number(from));
        let origin = Origin::new(session, from, AssignedBy::Leader);
        let entries = Entries::numbered(origin, (0..batch).map(|_| value.as_bytes()));
        let (front, opened) = (Number(1), Origin::UNSTAMPED);
        Message::Request(Request { assignment, from, front, opened, entries })
    };
    (1..=VALUES).step_by(batch as usize).map(request).collect()
}
