//! The raft of TiKV with its log in memory.

use protobuf::Message as _;
use raft::eraftpb::{ConfState, Entry, EntryType, Message};
use raft::storage::MemStorage;
use raft::{Config, RawNode, StateRole};
use slog::{Discard, Logger, o};

use crate::peer::{NODES, Peer, Proposal, number_of};
use crate::wire::MESSAGE_BYTES;

/// How many ticks a follower waits before it wants to lead.
const ELECTION_TICKS: usize = 50;
/// How many ticks lie between two heartbeats.
const HEARTBEAT_TICKS: usize = 5;
/// How many messages a leader sends ahead of their answers: never the limit here.
const IN_FLIGHT: usize = 4096;

/// A node of raft.
pub struct RaftPeer {
    node: RawNode<MemStorage>,
    /// Whether it has tried to lead.
    has_campaigned: bool,
}

impl Peer for RaftPeer {
    type Message = Message;

    fn new(id: u64, _batch: usize) -> Result<Self, String> {
        let voters: Vec<u64> = (1..=NODES).collect();
        let storage = MemStorage::new_with_conf_state(ConfState::from((voters, vec![])));
        let config = Config {
            id,
            election_tick: ELECTION_TICKS,
            heartbeat_tick: HEARTBEAT_TICKS,
            max_size_per_msg: MESSAGE_BYTES as u64,
            max_inflight_msgs: IN_FLIGHT,
            // Otherwise there is a message for each value.
            batch_append: true,
            ..Config::default()
        };
        let logger = Logger::root(Discard, o!());
        let node = RawNode::new(&config, storage, &logger).map_err(|error| error.to_string())?;
        Ok(RaftPeer { node, has_campaigned: false })
    }

    fn tick(&mut self) {
        // The first node leads as soon as it is there. If nobody hears it, time-outs decide.
        if self.node.raft.id == 1 && !self.has_campaigned {
            self.has_campaigned = true;
            let _ = self.node.campaign();
        }
        self.node.tick();
    }

    fn is_leader(&self) -> bool {
        self.node.raft.state == StateRole::Leader && self.node.raft.commit_to_current_term()
    }

    fn decided(&self) -> u64 {
        self.node.raft.raft_log.committed
    }

    fn propose(&mut self, proposal: &Proposal) {
        // If it is dropped, the client sends it again.
        let _ = self.node.propose(Vec::new(), proposal.to_vec());
    }

    fn step(&mut self, message: Message) {
        // It refuses messages of nodes it does not know, and there are none.
        let _ = self.node.step(message);
    }

    fn flush(&mut self, messages: &mut Vec<(u64, Message)>, decided: &mut Vec<u64>) {
        let mut send = |sent: Vec<Message>| {
            messages.extend(sent.into_iter().map(|message| (message.to, message)));
        };
        while self.node.has_ready() {
            let mut ready = self.node.ready();
            send(ready.take_messages());
            report(&ready.take_committed_entries(), decided);
            let storage = self.node.raft.raft_log.store.clone();
            if !ready.entries().is_empty() {
                // Memory takes everything but a hole, which would be a mistake of the library.
                storage.wl().append(ready.entries()).unwrap_or_else(|error| panic!("{error}"));
            }
            if let Some(state) = ready.hs() {
                storage.wl().set_hardstate(state.clone());
            }
            send(ready.take_persisted_messages());
            let mut light = self.node.advance(ready);
            if let Some(commit) = light.commit_index() {
                storage.wl().mut_hard_state().set_commit(commit);
            }
            send(light.take_messages());
            report(&light.take_committed_entries(), decided);
            self.node.advance_apply();
        }
    }

    fn encode(message: &Message, bytes: &mut Vec<u8>) -> Result<(), String> {
        message.write_to_vec(bytes).map_err(|error| error.to_string())
    }

    fn decode(bytes: &[u8]) -> Result<Message, String> {
        Message::parse_from_bytes(bytes).map_err(|error| error.to_string())
    }
}

/// Reports what was proposed; the entry with which a leader begins has no bytes.
fn report(entries: &[Entry], decided: &mut Vec<u64>) {
    let values = entries
        .iter()
        .filter(|entry| entry.get_entry_type() == EntryType::EntryNormal && !entry.data.is_empty());
    decided.extend(values.map(|entry| number_of(&entry.data)));
}
