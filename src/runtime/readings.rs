//! How an acceptor's old votes are read from its disk, in a thread beside the role loop.
//!
//! The loop hands over which votes it wants and goes on; this thread reads them, and sends the
//! answers. So no vote waits for a reading, however slow the disk is. A reading that fails is not
//! answered: the learner asks again, and asks other acceptors as well.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::neighbours::{Neighbours, Reach};
use super::stats::Stats;
use crate::clock::{Clock, Pace};
use crate::logging;
use crate::net::DatagramSender;
use crate::protocol::actor::Effects;
use crate::protocol::message::Message;
use crate::protocol::recall::{self, Reading};
use crate::protocol::settings::Settings;
use crate::protocol::types::To;
use crate::storage::index::VoteReader;
use crate::wire::Codec;

/// How many readings wait, at most. Learners ask again.
const WAITING_MAX: usize = 8;

/// The role loop's handle of the thread.
#[derive(Clone, Debug)]
pub struct Readings {
    sender: Sender<Reading>,
}

impl Readings {
    /// Queues `reading` to be done and answered, unless too many others wait.
    pub fn begin(&self, reading: Reading) {
        if self.sender.try_send(reading).is_err() {
            log::debug!("drops what {} asks for: too much is being read", reading.asker);
        }
    }
}

/// Everything the thread works with.
pub struct Desk {
    /// The files.
    pub reader: VoteReader,
    /// How much is read and sent at once.
    pub settings: Settings,
    /// The other roles of this process.
    pub neighbours: Neighbours,
    /// Messages to datagrams.
    pub codec: Arc<Codec>,
    /// Where datagrams go.
    pub network: Box<dyn DatagramSender>,
    /// Counts.
    pub stats: Arc<Stats>,
    /// The time.
    pub clock: Clock,
}

/// Starts the thread. It ends when the last [`Readings`] is gone.
pub fn spawn(desk: Desk) -> io::Result<(Readings, JoinHandle<()>)> {
    let (sender, waiting) = bounded(WAITING_MAX);
    let node = desk.codec.sender().node;
    let run = move || {
        logging::speak_as(node);
        desk.run(&waiting);
    };
    let thread = thread::Builder::new().name("readings".to_owned()).spawn(run)?;
    Ok((Readings { sender }, thread))
}

impl Desk {
    fn run(mut self, waiting: &Receiver<Reading>) {
        let (mut fx, mut datagram, mut pace) = (Effects::new(), Vec::new(), Pace::default());
        while let Ok(reading) = waiting.recv() {
            match self.reader.read(&reading, recall::bytes_read(&self.settings)) {
                Ok(found) => recall::answer(&reading, &found, &self.settings, &mut fx),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    log::debug!("{} is not read back: {error}", reading.run);
                }
                Err(error) => {
                    if let Some(more) = pace.allows(self.clock.now()) {
                        let asker = reading.asker;
                        log::warn!(
                            "cannot read votes back for {asker} ({error}); other acceptors answer, \
                             while a majority can; {more} more before"
                        );
                    }
                }
            }
            for (to, message) in fx.send.drain(..) {
                self.send(to, &message, &mut datagram);
            }
        }
    }

    /// A datagram that cannot be sent is lost, as any may be.
    fn send(&self, to: To, message: &Message, datagram: &mut Vec<u8>) {
        log::trace!("to {to}: {message}");
        if self.codec.encode(message, datagram).is_err() {
            self.stats.too_long.increment();
            return;
        }
        if self.neighbours.tell(to, message.kind(), datagram) == Reach::All {
            return;
        }
        match self.network.send_either(to, (&*datagram).into()) {
            Ok(()) => self.stats.sent.increment(),
            Err(_) => self.stats.send_errors.increment(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::net::datagrams::Datagrams;
    use crate::protocol::actor::Record;
    use crate::protocol::types::{Ballot, Entry, Instance, NodeId, Role, Run, Sender as Process};
    use crate::storage::AcceptorStore;
    use crate::storage::directory::Directory;
    use crate::storage::identity::Identity;
    use crate::storage::log::{Log, LogOptions};

    /// Passes on what is sent.
    struct Wire(mpsc::Sender<(Option<NodeId>, Vec<u8>)>);

    impl DatagramSender for Wire {
        fn send(&self, _role: Role, datagrams: Datagrams<'_>) -> io::Result<()> {
            self.0.send((None, datagrams.bytes().to_vec())).map_err(io::Error::other)
        }

        fn send_to(&self, node: NodeId, datagrams: Datagrams<'_>) -> io::Result<()> {
            self.0.send((Some(node), datagrams.bytes().to_vec())).map_err(io::Error::other)
        }
    }

    /// The thread reads and sends votes that were stored in a real directory, including those
    /// stored after it began; and it ends with the loop.
    #[test]
    fn what_is_stored_is_read_back_and_sent() {
        let folder = tempfile::tempdir().unwrap();
        let cluster = "test".to_owned();
        let mine = Identity {
            cluster,
            acceptor: 1,
            acceptor_count: 3,
            incarnation: 7,
            token: 0x7172_6973,
        };
        let directory = Directory::open(folder.path()).unwrap();
        let opening = Log::open(directory, &mine, LogOptions::default()).unwrap();
        let (mut log, _) = opening.recover(|_| {}).unwrap();
        let me = Process { node: NodeId::new(Role::Acceptor, 1), boot: 7 };
        let codec = Arc::new(Codec::new("test", 3, me, 1472));
        let (sent, wire) = mpsc::channel();
        let desk = Desk {
            reader: log.vote_reader().unwrap().unwrap(),
            settings: Settings::default(),
            neighbours: Neighbours::default(),
            codec: Arc::clone(&codec),
            network: Box::new(Wire(sent)),
            stats: Arc::default(),
            clock: Clock::start(),
        };
        let (readings, thread) = spawn(desk).unwrap();
        let ballot = Ballot { round: 1, proposer: 1, boot: 1 };
        for from in [1, 3] {
            let (from, entries) = (Instance(from), vec![Entry::Noop; 2].into());
            log.append(&Record::Accepted { ballot, from, entries }).unwrap();
            log.flush().unwrap();
        }
        let asker = NodeId::new(Role::Learner, 2);
        let (run, known) = (Run::new(Instance(2), Instance(9)), Instance(9));
        let trimmed = Instance::FIRST;
        let reading = Reading { asker, again: false, run, known, trimmed, has_entries: true };
        readings.begin(reading);
        let (to, datagram) = wire.recv_timeout(Duration::from_secs(10)).unwrap();
        assert_eq!(to, Some(asker));
        let Ok((from, Message::Recalled(recalled))) = codec.decode(&datagram) else {
            panic!("no answer")
        };
        assert_eq!((from, recalled.run, recalled.last), (me, run, true));
        assert_eq!((recalled.from, recalled.entries.len()), (Instance(2), 3));
        drop(readings);
        assert!(thread.join().is_ok());
    }
}
