//! OmniPaxos with its log in memory.

use std::fmt;
use std::sync::Arc;

use bincode::config::{Configuration, standard};
use omnipaxos::messages::Message;
use omnipaxos::storage::{Entry, NoSnapshot};
use omnipaxos::util::LogEntry;
use omnipaxos::{ClusterConfig, OmniPaxos, OmniPaxosConfig, ServerConfig};
use omnipaxos_storage::memory_storage::MemoryStorage;
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::peer::{NODES, Peer, Proposal, number_of};

/// Integers of variable length, as in `paxos`.
const CODING: Configuration = standard();
/// How many ticks a round of heartbeats takes.
const ELECTION_TICKS: u64 = 20;

/// An entry of the log, encoded as a piece: serde would take it byte by byte.
#[derive(Clone, Debug)]
pub struct LogValue(Proposal);

impl Entry for LogValue {
    type Snapshot = NoSnapshot;
}

impl Serialize for LogValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for LogValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = LogValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<LogValue, E> {
                Ok(LogValue(Arc::from(bytes)))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

/// A server of OmniPaxos.
pub struct OmniPaxosPeer {
    server: OmniPaxos<LogValue, MemoryStorage<LogValue>>,
    outgoing: Vec<Message<LogValue>>,
    reported: usize,
}

impl Peer for OmniPaxosPeer {
    type Message = Message<LogValue>;

    fn new(id: u64, batch: usize) -> Result<Self, String> {
        let cluster_config = ClusterConfig {
            configuration_id: 1,
            nodes: (1..=NODES).collect(),
            flexible_quorum: None,
        };
        let server_config = ServerConfig {
            pid: id,
            election_tick_timeout: ELECTION_TICKS,
            resend_message_tick_timeout: ELECTION_TICKS,
            batch_size: batch,
            // The first node leads as soon as it is heard.
            leader_priority: u32::from(id == 1),
            ..ServerConfig::default()
        };
        let config = OmniPaxosConfig { cluster_config, server_config };
        let server = config.build(MemoryStorage::default()).map_err(|error| error.to_string())?;
        Ok(OmniPaxosPeer { server, outgoing: Vec::new(), reported: 0 })
    }

    fn tick(&mut self) {
        self.server.tick();
    }

    fn is_leader(&self) -> bool {
        self.server.get_current_leader() == Some((self.server.get_pid(), true))
    }

    fn decided(&self) -> u64 {
        self.server.get_decided_idx() as u64
    }

    fn propose(&mut self, proposal: &Proposal) {
        // It refuses during a reconfiguration only, and there is none.
        let _ = self.server.append(LogValue(Arc::clone(proposal)));
    }

    fn step(&mut self, message: Self::Message) {
        self.server.handle_incoming(message);
    }

    fn flush(&mut self, messages: &mut Vec<(u64, Self::Message)>, decided: &mut Vec<u64>) {
        self.server.take_outgoing_messages(&mut self.outgoing);
        messages.extend(self.outgoing.drain(..).map(|message| (message.get_receiver(), message)));
        let reported = std::mem::replace(&mut self.reported, self.server.get_decided_idx());
        // A follower reports to nobody.
        if self.reported == reported || !self.is_leader() {
            return;
        }
        for entry in self.server.read_decided_suffix(reported).into_iter().flatten() {
            if let LogEntry::Decided(LogValue(proposal)) = entry {
                decided.push(number_of(&proposal));
            }
        }
    }

    fn encode(message: &Self::Message, bytes: &mut Vec<u8>) -> Result<(), String> {
        bincode::serde::encode_into_std_write(message, bytes, CODING)
            .map(|_| ())
            .map_err(|error| error.to_string())
    }

    fn decode(bytes: &[u8]) -> Result<Self::Message, String> {
        bincode::serde::borrow_decode_from_slice(bytes, CODING)
            .map(|(message, _)| message)
            .map_err(|error| error.to_string())
    }
}
