//! The limit of this machine: the processes and datagrams of a decision, and no protocol at all.
//!
//! A client sends a request to the leader, the leader sends it on to the acceptors, they answer,
//! and when a majority has answered, the leader tells the client and a learner. Each is a process
//! of its own with the sockets, buffers and waits of `paxos`; nothing is decoded, kept or repeated.
//! The time that `paxos` needs beyond this is the price of the protocol.
//!
//! `cargo bench --bench limit -- --outstanding 64` prints one JSON object like that of
//! `paxos bench --json`. Options: `--size 64`, `--outstanding 1`, `--values-per-datagram 0`,
//! `--busy-poll-us 50`, `--seconds 2`. As in `paxos`, the loop polls the socket for that long
//! before it blocks; with 0, a thread that blocks feeds it through a channel. `--acceptors 3` says
//! how many there are, at most 64; `--unicast 1` sends to each of them instead of to a group.
//!
//! With `--keep 1` every process keeps the values it receives, as one with a log does. With
//! `--disk FOLDER` nothing is sent: three processes sync small writes to files there at once,
//! which is what three durable acceptors of one host must wait for.

use std::collections::VecDeque;
use std::env;
use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};
use hdrhistogram::Histogram;
use multi_paxos::net::interface::Interface;
use multi_paxos::net::multicast::{MulticastReceiver, MulticastSender, Options};
use multi_paxos::net::{DatagramReceiver, DatagramSender, Group, Groups};
use multi_paxos::protocol::types::Role;

/// The bytes of a real header, and what a real request and a real vote have beside values.
const HEADER_BYTES: usize = 40;
/// What a value costs on the wire besides its bytes.
const VALUE_OVERHEAD_BYTES: usize = 3;
/// The longest datagram.
const DATAGRAM_BYTES: usize = 65_507;
/// How many datagrams are taken in one go, as in `paxos`.
const BATCH: usize = 256;
/// Nothing that is left out takes this long; a datagram was lost.
const STUCK: Duration = Duration::from_secs(2);

/// The options.
#[derive(Clone, Debug)]
struct Asked {
    role: String,
    size: usize,
    outstanding: u64,
    values_per_datagram: u64,
    busy_poll: Duration,
    seconds: f64,
    keep: bool,
    disk: Option<PathBuf>,
    port: u16,
    id: u64,
    acceptors: u64,
    unicast: bool,
}

impl Asked {
    fn parse() -> Self {
        let mut asked = Asked {
            role: "all".to_owned(),
            size: 64,
            outstanding: 1,
            values_per_datagram: 0,
            busy_poll: Duration::from_micros(50),
            seconds: 2.0,
            keep: false,
            disk: None,
            port: 0,
            id: 0,
            acceptors: 3,
            unicast: false,
        };
        let mut words = env::args().skip(1).filter(|word| word != "--bench");
        while let Some(word) = words.next() {
            let value = words.next().unwrap_or_else(|| panic!("{word} needs a value"));
            let number = || value.parse().unwrap_or_else(|_| panic!("{word} is a number"));
            match word.as_str() {
                "--role" => asked.role = value,
                "--keep" => asked.keep = value == "1",
                "--disk" => asked.disk = Some(value.into()),
                "--size" => asked.size = number() as usize,
                "--outstanding" => asked.outstanding = number(),
                "--values-per-datagram" => asked.values_per_datagram = number(),
                "--busy-poll-us" => asked.busy_poll = Duration::from_micros(number()),
                "--port" => asked.port = number() as u16,
                "--id" => asked.id = number(),
                "--acceptors" => asked.acceptors = number().clamp(1, 64),
                "--unicast" => asked.unicast = number() != 0,
                "--seconds" => {
                    asked.seconds = value.parse().unwrap_or_else(|_| panic!("{word} is a number"));
                }
                _ => panic!("{word} is unknown; see the head of benches/limit.rs"),
            }
        }
        let fitting = (DATAGRAM_BYTES - HEADER_BYTES) / (asked.size + VALUE_OVERHEAD_BYTES);
        let most = asked.values_per_datagram;
        let fitting = fitting as u64;
        asked.values_per_datagram = if most == 0 { fitting } else { most.min(fitting) };
        asked
    }
}

/// The datagrams that have arrived, in batches.
enum Source {
    Thread(Receiver<Vec<u8>>),
    Polled(Box<MulticastReceiver>, Vec<u8>, Duration),
}

impl Source {
    fn open(asked: &Asked, group: Role) -> Self {
        let listen = groups(asked).of(group).member(asked.id.max(1) as u32).expect("a member");
        let mut receiver =
            MulticastReceiver::join(listen, options()).unwrap_or_else(|error| panic!("{error}"));
        let mut buffer = vec![0; 1 << 16];
        if !asked.busy_poll.is_zero() {
            return Source::Polled(Box::new(receiver), buffer, asked.busy_poll);
        }
        let (sender, channel) = bounded(16_384);
        thread::spawn(move || {
            while let Ok(received) = receiver.receive(&mut buffer) {
                if let Some(length) = received
                    && sender.send(buffer[..length].to_vec()).is_err()
                {
                    return;
                }
            }
        });
        Source::Thread(channel)
    }

    /// Waits for one datagram, and takes those that have gathered behind it. Empty after 100 ms.
    fn batch(&mut self, batch: &mut Vec<Vec<u8>>) {
        batch.clear();
        match self {
            Source::Polled(receiver, buffer, busy_poll) => {
                let give_up = Instant::now() + *busy_poll;
                while batch.len() < BATCH {
                    match receiver.try_receive(buffer) {
                        Ok(Some(length)) => batch.push(buffer[..length].to_vec()),
                        _ if !batch.is_empty() => return,
                        _ if Instant::now() < give_up => thread::yield_now(),
                        _ => break,
                    }
                }
                if batch.is_empty()
                    && let Ok(Some(length)) = receiver.receive(buffer)
                {
                    batch.push(buffer[..length].to_vec());
                }
            }
            Source::Thread(channel) => {
                batch.extend(channel.recv_timeout(Duration::from_millis(100)));
                batch.extend(channel.try_iter().take(BATCH - 1));
            }
        }
    }
}

fn options() -> Options {
    Options { interface: Interface::LOOPBACK, ttl: 0, buffer_bytes: 4 << 20 }
}

fn groups(asked: &Asked) -> Groups {
    let group = |offset, count: u64| {
        let port = asked.port + offset;
        if asked.unicast {
            let member = |id| SocketAddr::new([127, 0, 0, id as u8].into(), port);
            Group::Unicast((1..=count).map(member).collect())
        } else {
            Group::Multicast(SocketAddr::new([239, 255, 78, 1].into(), port))
        }
    };
    Groups {
        clients: group(0, 1),
        proposers: group(1, 1),
        acceptors: group(2, asked.acceptors),
        learners: group(3, 1),
    }
}

/// A datagram: who (0 for the client), the numbers it is about, and as many bytes as it would have.
fn datagram(id: u64, from: u64, until: u64, value_bytes: usize, buffer: &mut Vec<u8>) {
    buffer.clear();
    for number in [id, from, until] {
        buffer.extend_from_slice(&number.to_le_bytes());
    }
    let values = (until - from) as usize * value_bytes;
    buffer.resize(HEADER_BYTES + values, 0);
}

fn read(datagram: &[u8]) -> (u64, u64, u64) {
    let number = |place: usize| {
        let bytes = datagram[place * 8..place * 8 + 8].try_into().expect("eight bytes");
        u64::from_le_bytes(bytes)
    };
    (number(0), number(1), number(2))
}

/// Sends the numbers to a group, in as many datagrams as they need.
fn send_values(network: &MulticastSender, group: Role, asked: &Asked, from: u64, until: u64) {
    let mut buffer = Vec::new();
    let value_bytes = asked.size + VALUE_OVERHEAD_BYTES;
    let most = ((DATAGRAM_BYTES - HEADER_BYTES) / value_bytes) as u64;
    let mut next = from;
    while next < until {
        let end = until.min(next + most);
        datagram(0, next, end, value_bytes, &mut buffer);
        network.send(group, (&buffer).into()).expect("loopback sends");
        next = end;
    }
}

/// What a process does not let go of.
struct Kept(Option<Vec<Vec<u8>>>);

impl Kept {
    fn new(asked: &Asked) -> Self {
        Kept(asked.keep.then(Vec::new))
    }

    /// Takes what carries values.
    fn keep(&mut self, batch: &mut Vec<Vec<u8>>) {
        if let Kept(Some(kept)) = self {
            kept.extend(batch.drain(..).filter(|datagram| datagram.len() > HEADER_BYTES));
        }
    }
}

fn lead(asked: &Asked, network: &MulticastSender, mut source: Source) {
    let (mut batch, mut buffer, mut kept) = (Vec::new(), Vec::new(), Kept::new(asked));
    let mut accepted = vec![0_u64; asked.acceptors as usize];
    let (mut proposed, mut decided) = (1, 1);
    loop {
        source.batch(&mut batch);
        let mut asked_until = proposed;
        for (id, _, until) in batch.iter().map(|datagram| read(datagram)) {
            match id {
                0 => asked_until = asked_until.max(until),
                id => accepted[id as usize - 1] = accepted[id as usize - 1].max(until),
            }
        }
        kept.keep(&mut batch);
        send_values(network, Role::Acceptor, asked, proposed, asked_until);
        proposed = asked_until;
        let mut sorted = accepted.clone();
        sorted.sort_unstable();
        // The second of three, the third of five: a quorum is there.
        let chosen = sorted[(sorted.len() - 1) / 2];
        if chosen > decided {
            datagram(1, decided, chosen, 0, &mut buffer);
            network.send(Role::Client, (&buffer).into()).expect("loopback sends");
            send_values(network, Role::Learner, asked, decided, chosen);
            decided = chosen;
        }
    }
}

fn accept(asked: &Asked, network: &MulticastSender, mut source: Source) {
    let (mut batch, mut buffer, mut kept) = (Vec::new(), Vec::new(), Kept::new(asked));
    loop {
        source.batch(&mut batch);
        let until = batch.iter().map(|datagram| read(datagram).2).max();
        if let Some(until) = until {
            datagram(asked.id, until, until, 0, &mut buffer);
            network.send(Role::Proposer, (&buffer).into()).expect("loopback sends");
        }
        kept.keep(&mut batch);
    }
}

fn learn(asked: &Asked, mut source: Source) {
    let (mut batch, mut kept) = (Vec::new(), Kept::new(asked));
    loop {
        source.batch(&mut batch);
        kept.keep(&mut batch);
    }
}

/// Appends small records to a file and syncs each, and prints the median in microseconds.
fn sync(asked: &Asked, folder: &Path) {
    let mut file = tempfile::tempfile_in(folder).expect("a file");
    let end = Instant::now() + Duration::from_secs_f64(asked.seconds);
    let mut micros = Vec::new();
    while Instant::now() < end {
        let start = Instant::now();
        file.write_all(&vec![7; asked.size + HEADER_BYTES]).expect("room");
        file.sync_data().expect("a disk");
        micros.push(start.elapsed().as_micros() as u64);
    }
    micros.sort_unstable();
    println!("{}", micros[micros.len() / 2]);
}

/// Three processes that sync at once: the median of their medians.
fn sync_three(asked: &Asked, folder: &Path) {
    let start = |_| {
        Command::new(env::current_exe().expect("this program"))
            .args(["--role", "disk", "--size", &asked.size.to_string()])
            .args(["--seconds", &asked.seconds.to_string(), "--disk"])
            .arg(folder)
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts again")
    };
    let running = [0; 3].map(start);
    let mut medians = running.map(|child| {
        let output = child.wait_with_output().expect("it ends");
        let printed = String::from_utf8_lossy(&output.stdout);
        printed.trim().parse::<u64>().unwrap_or_else(|_| panic!("a median, not {printed:?}"))
    });
    medians.sort_unstable();
    println!("{}", serde_json::json!({ "p50_us": medians[medians.len() / 2] }));
}

/// Keeps values in flight, and prints its measurements.
fn ask(asked: &Asked, network: &MulticastSender, mut source: Source) {
    let mut latency = Histogram::<u64>::new_with_max(60_000_000, 3).expect("a histogram");
    let (mut batch, mut buffer) = (Vec::new(), Vec::new());
    let mut in_flight: VecDeque<Instant> = VecDeque::new();
    let (mut next, mut known) = (1_u64, 1_u64);
    let begin = Instant::now() + Duration::from_millis(300);
    let end = begin + Duration::from_secs_f64(asked.seconds);
    let (mut heard, mut last) = (Instant::now(), begin);
    loop {
        let now = Instant::now();
        if now < end {
            let until = known + asked.outstanding;
            while next < until {
                let most = until.min(next + asked.values_per_datagram);
                datagram(0, next, most, asked.size + VALUE_OVERHEAD_BYTES, &mut buffer);
                network.send(Role::Proposer, (&buffer).into()).expect("loopback sends");
                in_flight.extend((next..most).map(|_| now));
                next = most;
            }
        } else if in_flight.is_empty() {
            break;
        }
        source.batch(&mut batch);
        let now = Instant::now();
        for (_, _, until) in batch.iter().map(|datagram| read(datagram)) {
            heard = now;
            for _ in known..until.max(known) {
                let Some(submitted) = in_flight.pop_front() else { break };
                if submitted >= begin && submitted < end {
                    latency.saturating_record((now - submitted).as_micros() as u64);
                    last = now;
                }
            }
            known = known.max(until);
        }
        assert!(heard.elapsed() < STUCK, "a datagram is lost, and nobody repeats it here");
    }
    let seconds = (last - begin).as_secs_f64();
    let [p50, p90, p99, p999] =
        [0.5, 0.9, 0.99, 0.999].map(|share| latency.value_at_quantile(share));
    let object = serde_json::json!({
        "clients": 1, "acceptors": asked.acceptors, "unicast": asked.unicast,
        "outstanding": asked.outstanding, "value_bytes": asked.size,
        "values_per_datagram": asked.values_per_datagram, "seconds": seconds,
        "values": latency.len(), "values_per_second": latency.len() as f64 / seconds,
        "p50_us": p50, "p90_us": p90, "p99_us": p99, "p999_us": p999, "max_us": latency.max(),
    });
    println!("{object}");
}

/// The other processes; they die with this one.
struct Others(Vec<Child>);

impl Drop for Others {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn main() {
    // `cargo test` and a plain `cargo bench` start it without a word; there is nothing to do then.
    if env::args().skip(1).all(|word| word == "--bench" || word == "--test") {
        println!("limit: see the head of benches/limit.rs for what it can be asked");
        return;
    }
    let mut asked = Asked::parse();
    if asked.role != "all" {
        let network = MulticastSender::open(&groups(&asked), options())
            .unwrap_or_else(|error| panic!("{error}"));
        return match asked.role.as_str() {
            "leader" => lead(&asked, &network, Source::open(&asked, Role::Proposer)),
            "acceptor" => accept(&asked, &network, Source::open(&asked, Role::Acceptor)),
            "disk" => sync(&asked, asked.disk.as_deref().expect("--disk")),
            _ => learn(&asked, Source::open(&asked, Role::Learner)),
        };
    }
    if let Some(folder) = &asked.disk {
        return sync_three(&asked, folder);
    }
    // Four ports in a row below the range from which sockets without a port get theirs.
    let seed = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    asked.port = 20_000 + seed.expect("a port").port() % 3000 * 4;
    let network =
        MulticastSender::open(&groups(&asked), options()).unwrap_or_else(|error| panic!("{error}"));
    let acceptors = (1..=asked.acceptors).map(|id| ("acceptor", id));
    let roles = [("leader", 1), ("learner", 1)].into_iter().chain(acceptors);
    let this = env::current_exe().expect("this program");
    let start = |(role, id): (&str, u64)| {
        Command::new(&this)
            .args(["--role", role, "--id", &id.to_string(), "--port", &asked.port.to_string()])
            .args(["--size", &asked.size.to_string(), "--keep", if asked.keep { "1" } else { "0" }])
            .args(["--acceptors", &asked.acceptors.to_string()])
            .args(["--unicast", if asked.unicast { "1" } else { "0" }])
            .args(["--busy-poll-us", &asked.busy_poll.as_micros().to_string()])
            .spawn()
            .expect("this program starts again")
    };
    let others = Others(roles.map(start).collect());
    thread::sleep(Duration::from_millis(200));
    ask(&asked, &network, Source::open(&asked, Role::Client));
    drop(others);
}
