//! Measures etcd under the load of `paxos bench`: three members and a client on loopback.
//!
//! The members are processes of the program `etcd` with its own settings. The client puts to the
//! leader over gRPC, each value in flight to a key of its own. README.md says what to keep in mind.

mod report;

use std::fs::{self, File};
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Parser;
use etcd_client::{Client, KvClient};
use tempfile::TempDir;
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::report::{Measured, histogram};

const MEMBERS: usize = 3;
/// How long nothing is measured.
const WARM_UP: Duration = Duration::from_millis(500);
/// How long members may take to agree on a leader.
const ELECTION: Duration = Duration::from_secs(15);
/// How long members may take afterwards until all have applied the same.
const CATCH_UP: Duration = Duration::from_secs(1);
/// Between two questions for their states.
const PROBE_INTERVAL: Duration = Duration::from_millis(50);
/// After how long without an answer the run has failed.
const STUCK: Duration = Duration::from_secs(10);

/// Measures etcd, and prints one JSON object like that of `paxos bench --json`.
#[derive(Clone, Debug, Parser)]
struct Asked {
    /// How many puts are in flight.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    outstanding: u64,
    /// How many bytes a value has.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=32_768))]
    size: u32,
    /// How long it is measured, after a warm-up of 0.5 s.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Over how many connections the puts go.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=256))]
    connections: u64,
    /// Where the members keep their data, in a folder that is removed; /dev/shm spares the disk.
    #[arg(long, default_value = "/var/tmp")]
    data: PathBuf,
}

/// The member processes; they die with this one.
struct Members {
    children: Vec<Child>,
    urls: Vec<String>,
    folder: TempDir,
}

impl Members {
    fn start(data: &Path) -> Result<Self, String> {
        let folder =
            tempfile::Builder::new().prefix("etcd-").tempdir_in(data).map_err(|error| {
                format!("nothing can be kept in {} ({error}); try another --data", data.display())
            })?;
        let ports = free_ports(2 * MEMBERS).map_err(failed("no free port on 127.0.0.1"))?;
        let urls: Vec<String> =
            ports.iter().map(|port| format!("http://127.0.0.1:{port}")).collect();
        let (urls, peer_urls) = urls.split_at(MEMBERS);
        let cluster: Vec<String> =
            (0..MEMBERS).map(|id| format!("m{id}={}", peer_urls[id])).collect();
        let cluster = cluster.join(",");
        let mut members = Members { children: Vec::new(), urls: urls.to_vec(), folder };
        for id in 0..MEMBERS {
            let log =
                File::create(members.log(id)).map_err(failed("a member cannot have a log"))?;
            // The kernel ends the member when this process is killed.
            let child = Command::new("setpriv")
                .args(["--pdeathsig", "KILL", "etcd", "--logger", "zap"])
                .args(["--name", &format!("m{id}"), "--data-dir"])
                .arg(members.folder.path().join(format!("m{id}")))
                .args(["--listen-client-urls", &urls[id], "--advertise-client-urls", &urls[id]])
                .args(["--listen-peer-urls", &peer_urls[id]])
                .args(["--initial-advertise-peer-urls", &peer_urls[id]])
                .args(["--initial-cluster", &cluster, "--initial-cluster-state", "new"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .map_err(failed("etcd does not start; setpriv is in util-linux"))?;
            members.children.push(child);
        }
        Ok(members)
    }

    /// The log of member `id`.
    fn log(&self, id: usize) -> PathBuf {
        self.folder.path().join(format!("m{id}.log"))
    }

    /// Fails when a member has ended.
    fn check(&mut self) -> Result<(), String> {
        for id in 0..self.children.len() {
            if let Ok(Some(status)) = self.children[id].try_wait() {
                let log = fs::read_to_string(self.log(id)).unwrap_or_default();
                let said = log.lines().last().unwrap_or("it said nothing");
                return Err(format!("member {id} of etcd ended with {status}: {said}"));
            }
        }
        Ok(())
    }

    /// A client of each member, and the place of the leader's.
    async fn connect(&mut self) -> Result<(Vec<Client>, usize), String> {
        let give_up = Instant::now() + ELECTION;
        while Instant::now() < give_up {
            self.check()?;
            let mut clients = Vec::new();
            for url in &self.urls {
                clients.extend(Client::connect([url], None).await.ok());
            }
            if clients.len() == MEMBERS {
                for (place, client) in clients.iter_mut().enumerate() {
                    let Ok(status) = client.status().await else { continue };
                    let id = status.header().map_or(0, |header| header.member_id());
                    if status.leader() != 0 && status.leader() == id {
                        return Ok((clients, place));
                    }
                }
            }
            sleep(PROBE_INTERVAL).await;
        }
        Err(format!("the members of etcd have no leader after {} s", ELECTION.as_secs()))
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Makes a sentence of an error.
fn failed(what: &'static str) -> impl Fn(io::Error) -> String {
    move |error| format!("{what}: {error}")
}

/// Ports that nobody has. All are held until the last one is found, so that they differ.
fn free_ports(count: usize) -> io::Result<Vec<u16>> {
    let listeners: io::Result<Vec<_>> =
        (0..count).map(|_| TcpListener::bind(("127.0.0.1", 0))).collect();
    listeners?.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

/// When the measured time begins and ends, and what is measured in it.
struct Load {
    begin: Instant,
    end: Instant,
    value: Vec<u8>,
    measured: Mutex<(Measured, Instant)>,
}

impl Load {
    /// Puts one value after the other until the end.
    async fn put(&self, mut client: KvClient, key: String) -> Result<(), String> {
        loop {
            let submitted = Instant::now();
            if submitted >= self.end {
                return Ok(());
            }
            let put = client.put(key.as_str(), self.value.as_slice(), None);
            let answered = timeout(STUCK, put).await;
            let answered =
                answered.map_err(|_| format!("no answer from etcd for {} s", STUCK.as_secs()))?;
            answered.map_err(|error| format!("etcd does not put: {error}"))?;
            if submitted >= self.begin {
                let now = Instant::now();
                let mut measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
                let micros = (now - submitted).as_micros() as u64;
                measured.0.latency.saturating_record(micros);
                measured.1 = now;
            }
        }
    }
}

/// How many entries the slowest member is behind the fastest, once it had the time to catch up.
async fn behind(clients: &mut [Client]) -> Result<u64, String> {
    let give_up = Instant::now() + CATCH_UP;
    loop {
        let mut applied = Vec::new();
        for client in clients.iter_mut() {
            let status = client.status().await.map_err(|error| error.to_string())?;
            applied.push(status.raft_applied_index());
        }
        let most = applied.iter().max().copied().unwrap_or(0);
        let behind = most - applied.iter().min().copied().unwrap_or(0);
        if behind == 0 || Instant::now() > give_up {
            return Ok(behind);
        }
        sleep(PROBE_INTERVAL).await;
    }
}

async fn measure(asked: &Asked) -> Result<String, String> {
    let mut members = Members::start(&asked.data)?;
    let (mut clients, leader) = members.connect().await?;
    let mut connections = vec![clients[leader].kv_client()];
    while (connections.len() as u64) < asked.connections {
        let more = Client::connect([&members.urls[leader]], None).await;
        connections.push(more.map_err(|error| error.to_string())?.kv_client());
    }
    let begin = Instant::now() + WARM_UP;
    let measured = Measured {
        outstanding: asked.outstanding,
        value_bytes: asked.size as usize,
        seconds: 0.0,
        latency: histogram()?,
    };
    let load = Arc::new(Load {
        begin,
        // More than an hour is nobody's wish.
        end: begin + Duration::from_secs_f64(asked.seconds.clamp(0.01, 3600.0)),
        value: vec![b'v'; asked.size as usize],
        measured: Mutex::new((measured, begin)),
    });
    let mut puts = JoinSet::new();
    for (place, connection) in (0..asked.outstanding).zip(connections.iter().cycle()) {
        let (load, connection) = (Arc::clone(&load), connection.clone());
        puts.spawn(async move { load.put(connection, place.to_string()).await });
    }
    while let Some(put) = puts.join_next().await {
        put.map_err(|error| error.to_string())??;
    }
    members.check()?;
    let more = serde_json::json!({
        "peer": "etcd", "data": asked.data, "connections": asked.connections,
        "values_per_datagram": null, "resent": 0, "behind": behind(&mut clients).await?,
    });
    drop(members);
    let mut measured = load.measured.lock().unwrap_or_else(PoisonError::into_inner);
    measured.0.seconds = (measured.1 - begin).as_secs_f64();
    Ok(measured.0.report(more))
}

fn main() -> ExitCode {
    let asked = Asked::parse();
    let runtime = Builder::new_current_thread().enable_all().build();
    let result = runtime
        .map_err(failed("the client does not start"))
        .and_then(|runtime| runtime.block_on(measure(&asked)));
    match result {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(reason) => {
            eprintln!("etcd: {reason}");
            ExitCode::FAILURE
        }
    }
}
