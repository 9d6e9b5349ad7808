//! The state of a connection: its client, the version of the protocol it speaks, the keys it
//! watches, and the transaction it is in. It turns requests into steps, and answers to steps into
//! bytes.

mod own;

use std::net::SocketAddr;
use std::time::Instant;

use crate::command::{self, Act, Command, Session as Own};
use crate::entry::{Commands, Steps};
use crate::machine::Shared;
use crate::reply::{Protocol, Reply};
use crate::request::Request;
use crate::store::Fault;

/// What sessions know of their server.
#[derive(Debug)]
pub struct About {
    /// The id of this process.
    pub id: u32,
    /// The name of the cluster.
    pub cluster: String,
    /// Where it listens.
    pub listen: SocketAddr,
    /// How many connections there may be.
    pub clients_max: usize,
    /// How many there are.
    pub clients: usize,
    /// How many there have been.
    pub connections: u64,
    /// How many commands were read.
    pub commands: u64,
    /// The password, if there is one.
    pub password: Option<Vec<u8>>,
    /// How many bytes the steps of one command can have.
    pub longest: usize,
    /// A flight takes no further command once its steps have this many bytes.
    pub flight_bytes: usize,
    /// Whether reads are answered by this replica alone.
    pub reads_locally: bool,
    /// Whether the cluster takes no writes, because the disks of too many acceptors are full.
    pub disks_are_full: bool,
    /// When it began.
    pub started: Instant,
    /// The store.
    pub store: Shared,
}

/// What a write is answered while disks are full: the error with which Redis refuses writes that
/// it cannot put on its own disk. (`OOM` is about memory, and lets through what frees some; here
/// even a DEL takes room.)
pub const DISKS_FULL: &str = "MISCONF The disks of too many acceptors are full: nothing was \
                              written, and reads go on; make room for their data, or raise \
                              disk_bytes";

/// A connection, as far as it is no socket.
#[derive(Debug)]
pub struct Session {
    id: u64,
    address: SocketAddr,
    since: Instant,
    name: Vec<u8>,
    library: [Vec<u8>; 2],
    protocol: Protocol,
    is_authenticated: bool,
    reads_locally: bool,
    watched: Vec<(Vec<u8>, u64)>,
    transaction: Option<Transaction>,
    last: &'static str,
}

/// What is collected between MULTI and EXEC.
#[derive(Clone, Debug, Default)]
struct Transaction {
    items: Vec<Item>,
    commands: Commands,
    is_write: bool,
    tells_time: bool,
    /// A command of it was refused.
    is_broken: bool,
}

/// A command of a transaction.
#[derive(Clone, Debug)]
enum Item {
    /// It is in the steps.
    Step,
    /// It concerns the connection alone.
    Own(Own, Request),
}

/// What is under way for a connection: its requests that came together, answered in order.
#[derive(Debug, Default)]
pub struct Flight {
    slots: Vec<Slot>,
    /// The steps for the store.
    pub steps: Steps,
    /// Whether any of it changes the state.
    pub is_write: bool,
    /// Whether any of its answers says how much time is left.
    pub tells_time: bool,
    /// How many bytes the answers have that are there already.
    told_bytes: usize,
    reads: usize,
}

/// How many reads may be in one flight with a write, and so in the log, where their answers wait
/// together.
const READS_BESIDE_WRITES: usize = 256;

/// The answer to a request.
#[derive(Debug)]
enum Slot {
    /// It is there, and written.
    Told(Vec<u8>),
    /// It is that of the next step.
    Step(Protocol),
    /// The same, with what concerns the connection alone in between.
    Transaction(Protocol, Vec<Item>),
    /// The next step has the versions of these keys.
    Watched(Protocol, Vec<Vec<u8>>),
}

/// What a connection does after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It reads the next one.
    Request,
    /// It waits for the answers first.
    Wait,
    /// It closes, once everything is answered.
    Close,
}

impl Session {
    /// The session of a connection that begins.
    pub fn new(id: u64, address: SocketAddr, about: &About) -> Session {
        Session {
            id,
            address,
            since: Instant::now(),
            name: Vec::new(),
            library: [Vec::new(), Vec::new()],
            protocol: Protocol::default(),
            is_authenticated: about.password.is_none(),
            reads_locally: about.reads_locally,
            watched: Vec::new(),
            transaction: None,
            last: "NULL",
        }
    }

    /// Which one it is.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Whether it may do more than authenticate itself.
    pub fn is_authenticated(&self) -> bool {
        self.is_authenticated
    }

    /// Whether its reads are answered by this replica alone.
    pub fn reads_locally(&self) -> bool {
        self.reads_locally
    }

    /// Takes a request in. Its answer gets its place in `flight`.
    pub fn take(&mut self, request: Request, about: &mut About, flight: &mut Flight) -> Next {
        if request.is_empty() {
            return Next::Request;
        }
        about.commands += 1;
        let words: Vec<&[u8]> = request.iter().map(Vec::as_slice).collect();
        let bytes: usize = words.iter().map(|word| word.len() + 10).sum();
        let command = command::find(&words).and_then(|command| match command.act {
            Act::Session(Own::Auth | Own::Hello | Own::Quit | Own::Reset) => Ok(command),
            _ if !self.is_authenticated => Err(Fault("NOAUTH Authentication required.".to_owned())),
            Act::Write(_) if about.disks_are_full => Err(Fault(DISKS_FULL.to_owned())),
            _ if bytes > about.longest => Err(too_long(bytes, about.longest)),
            _ => Ok(command),
        });
        let command = match command {
            Ok(command) => command,
            Err(fault) => {
                let told = self.reject(fault, words[0]);
                flight.tell(self.protocol, &told);
                return Next::Request;
            }
        };
        self.last = command.name;
        match command.act {
            Act::Session(Own::Exec) => return self.exec(about.disks_are_full, flight),
            Act::Session(Own::Discard) => {
                let told = self.discard();
                flight.tell(self.protocol, &told);
            }
            Act::Session(Own::Multi) => {
                let told = if self.transaction.is_some() {
                    Reply::error("MULTI calls can not be nested")
                } else {
                    self.transaction = Some(Transaction::default());
                    Reply::OK
                };
                flight.tell(self.protocol, &told);
            }
            Act::Session(Own::Watch) => return self.watch(&words, flight),
            Act::Session(Own::Quit) => {
                flight.tell(self.protocol, &Reply::OK);
                return Next::Close;
            }
            Act::Session(Own::Reset) => {
                *self = Session { since: self.since, ..Session::new(self.id, self.address, about) };
                flight.tell(self.protocol, &Reply::Simple("RESET"));
            }
            _ if self.transaction.is_some() => {
                let told = self.queue(command, &request, about.longest);
                flight.tell(self.protocol, &told);
            }
            Act::Session(own) => {
                let told = self.own(own, &words, about);
                flight.tell(self.protocol, &told);
            }
            Act::Read(_) | Act::Write(_) => {
                flight.slots.push(Slot::Step(self.protocol));
                flight.steps.command(&words);
                flight.is_write |= command.is_write();
                flight.reads += usize::from(!command.is_write());
                flight.tells_time |= command.tells_time();
            }
        }
        Next::Request
    }

    /// Notes that a command was refused. A transaction has no second part then.
    fn reject(&mut self, fault: Fault, name: &[u8]) -> Reply {
        if let Some(transaction) = &mut self.transaction {
            transaction.is_broken = true;
        }
        match fault.0.strip_prefix("ERR ") {
            Some(why) if name.eq_ignore_ascii_case(b"exec") => {
                self.transaction = None;
                self.watched.clear();
                Reply::Error(format!("EXECABORT Transaction discarded because of: {why}"))
            }
            _ => Reply::Error(fault.0),
        }
    }

    fn queue(&mut self, command: &Command, request: &Request, longest: usize) -> Reply {
        let Some(transaction) = &mut self.transaction else { return Reply::OK };
        match command.act {
            Act::Session(own) => transaction.items.push(Item::Own(own, request.clone())),
            Act::Read(_) | Act::Write(_) => {
                transaction.items.push(Item::Step);
                transaction.commands.push(request);
                transaction.is_write |= command.is_write();
                transaction.tells_time |= command.tells_time();
            }
        }
        let bytes = transaction.commands.bytes() + 10 * transaction.items.len();
        if bytes > longest {
            transaction.is_broken = true;
            (transaction.items, transaction.commands) = Default::default();
            return Reply::Error(too_long(bytes, longest).0);
        }
        Reply::Simple("QUEUED")
    }

    fn exec(&mut self, disks_are_full: bool, flight: &mut Flight) -> Next {
        let Some(transaction) = self.transaction.take() else {
            flight.tell(self.protocol, &Reply::error("EXEC without MULTI"));
            return Next::Request;
        };
        let watched = std::mem::take(&mut self.watched);
        if transaction.is_broken {
            let sentence = "EXECABORT Transaction discarded because of previous errors.";
            flight.tell(self.protocol, &Reply::Error(sentence.to_owned()));
            return Next::Request;
        }
        if transaction.is_write && disks_are_full {
            let sentence = format!("EXECABORT Transaction discarded because of: {DISKS_FULL}");
            flight.tell(self.protocol, &Reply::Error(sentence));
            return Next::Request;
        }
        // What concerns the connection is done when it is known whether all of it is.
        let has_own = transaction.items.iter().any(|item| matches!(item, Item::Own(..)));
        flight.slots.push(Slot::Transaction(self.protocol, transaction.items));
        flight.steps.transaction(&watched, &transaction.commands);
        flight.is_write |= transaction.is_write;
        flight.tells_time |= transaction.tells_time;
        if has_own { Next::Wait } else { Next::Request }
    }

    fn discard(&mut self) -> Reply {
        if self.transaction.take().is_none() {
            return Reply::error("DISCARD without MULTI");
        }
        self.watched.clear();
        Reply::OK
    }

    /// The versions that a transaction in the same flight would need are known once it has landed.
    fn watch(&mut self, words: &[&[u8]], flight: &mut Flight) -> Next {
        if self.transaction.is_some() {
            flight.tell(self.protocol, &Reply::error("WATCH inside MULTI is not allowed"));
            return Next::Request;
        }
        let keys = words[1..].iter().map(|key| key.to_vec()).collect();
        flight.slots.push(Slot::Watched(self.protocol, keys));
        flight.steps.command(words);
        Next::Wait
    }

    /// Writes the answers of a flight, given those to its steps. Returns whether the connection may
    /// go on.
    pub fn land(
        &mut self,
        flight: Flight,
        replies: impl IntoIterator<Item = Reply>,
        about: &mut About,
        out: &mut Vec<u8>,
    ) -> bool {
        let mut replies = replies.into_iter();
        let missing =
            || Reply::error("the answer is lost; this is a bug in paxos; please report it");
        for slot in flight.slots {
            let mut next = || replies.next().unwrap_or_else(missing);
            match slot {
                Slot::Told(bytes) => out.extend_from_slice(&bytes),
                Slot::Step(protocol) => match next() {
                    Reply::TooMuch => return false,
                    reply => reply.write(protocol, out),
                },
                Slot::Transaction(protocol, items) => {
                    let reply = match next() {
                        Reply::Array(told) => self.interleave(items, told, about),
                        Reply::TooMuch => return false,
                        other => other,
                    };
                    reply.write(protocol, out);
                }
                Slot::Watched(protocol, keys) => {
                    let versions = match next() {
                        Reply::Array(versions) => versions,
                        Reply::TooMuch => return false,
                        reply => {
                            reply.write(protocol, out);
                            continue;
                        }
                    };
                    for (key, version) in keys.into_iter().zip(versions) {
                        let Reply::Integer(version) = version else { continue };
                        // The first version counts, for it may have changed since.
                        if self.watched.iter().all(|(watched, _)| *watched != key) {
                            self.watched.push((key, version as u64));
                        }
                    }
                    Reply::OK.write(protocol, out);
                }
            }
        }
        true
    }

    fn interleave(&mut self, items: Vec<Item>, told: Vec<Reply>, about: &mut About) -> Reply {
        let mut told = told.into_iter();
        let reply = |item| match item {
            Item::Step => told.next().unwrap_or(Reply::Null),
            Item::Own(own, request) => {
                let words: Vec<&[u8]> = request.iter().map(Vec::as_slice).collect();
                self.own(own, &words, about)
            }
        };
        Reply::Array(items.into_iter().map(reply).collect())
    }
}

fn too_long(bytes: usize, longest: usize) -> Fault {
    Fault(format!(
        "ERR the command has about {bytes} bytes and the log takes {longest}: cut it, or raise \
         value_bytes in every configuration"
    ))
}

impl Flight {
    /// Whether nobody is asked, so that it can land at once.
    pub fn is_told(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Adds an answer that is there already.
    pub fn tell(&mut self, protocol: Protocol, reply: &Reply) {
        if !matches!(self.slots.last(), Some(Slot::Told(_))) {
            self.slots.push(Slot::Told(Vec::new()));
        }
        if let Some(Slot::Told(bytes)) = self.slots.last_mut() {
            let before = bytes.len();
            reply.write(protocol, bytes);
            self.told_bytes += bytes.len() - before;
        }
    }

    /// Whether it takes no further request, so that its answers cannot have any number of bytes.
    pub fn is_complete(&self, flight_bytes: usize, output_bytes: usize) -> bool {
        self.steps.as_bytes().len() >= flight_bytes
            || self.told_bytes >= output_bytes
            || self.is_write && self.reads >= READS_BESIDE_WRITES
    }
}

#[cfg(test)]
mod tests;
