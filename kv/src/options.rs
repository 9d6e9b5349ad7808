//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// How reads are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Reads {
    /// By everything that was acknowledged before, by any process.
    Linearizable,
    /// By what this process has applied, which may be behind.
    Local,
}

/// A replicated key-value store that speaks the Redis protocol.
#[derive(Clone, Debug, Parser)]
#[command(name = "paxos-kv", version, max_term_width = 100)]
pub struct Options {
    /// The configuration of the cluster, the same for all processes; see docs/configuration.md
    #[arg(long, value_name = "PATH")]
    pub conf: PathBuf,
    /// The id of this process, from 1. Those up to `acceptor_count` have an acceptor
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub id: u32,
    /// Where clients connect. An address that other hosts reach needs a password
    #[arg(long, value_name = "ADDR:PORT", value_parser = address)]
    pub listen: SocketAddr,
    /// Where the acceptor keeps what it must not forget, instead of `data` of the configuration
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// How reads are answered, unless a connection says READONLY
    #[arg(long, value_enum, default_value = "linearizable")]
    pub reads: Reads,
    /// A file with the password that clients must say: its first line
    #[arg(long, value_name = "FILE")]
    pub requirepass_file: Option<PathBuf>,
    /// How many clients may be connected
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub maxclients: usize,
    /// Closes connections that were silent for so many seconds; 0 never does
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub timeout: u64,
}

/// The options of a server besides its cluster.
#[derive(Clone, Debug)]
pub struct Serving {
    /// The id of this process.
    pub id: u32,
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Whether reads are answered by this replica alone.
    pub reads_locally: bool,
    /// The password that clients must give.
    pub password: Option<Vec<u8>>,
    /// How many clients may be connected.
    pub clients_max: usize,
    /// How long a connection may be silent.
    pub idle: Option<Duration>,
    /// A number that no other process, and no other run of this one, has.
    pub origin: u64,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    // A port alone is one of this host alone.
    if let Ok(port) = text.parse::<u16>() {
        return Ok(SocketAddr::from(([127, 0, 0, 1], port)));
    }
    text.parse().map_err(|_| "it is not ADDR:PORT, such as 127.0.0.1:7001".to_owned())
}

impl Options {
    /// What the server is told.
    ///
    /// # Errors
    ///
    /// One sentence, when the password cannot be had, or is missing.
    pub fn serving(&self, origin: u64) -> Result<Serving, String> {
        let password = self.password()?;
        if !self.listen.ip().is_loopback() && password.is_none() {
            return Err(format!(
                "--listen {} can be reached from other hosts, and there is no password: add \
                 --requirepass-file FILE, or listen at 127.0.0.1",
                self.listen
            ));
        }
        Ok(Serving {
            id: self.id,
            listen: self.listen,
            reads_locally: self.reads == Reads::Local,
            password,
            clients_max: self.maxclients,
            idle: Some(Duration::from_secs(self.timeout)).filter(|idle| !idle.is_zero()),
            origin,
        })
    }

    fn password(&self) -> Result<Option<Vec<u8>>, String> {
        let Some(path) = &self.requirepass_file else { return Ok(None) };
        let shown = path.display();
        let text = std::fs::read(path).map_err(|error| {
            format!("cannot read the password in {shown}: {error}; see its path")
        })?;
        let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return Err(format!("{shown}: its first line is empty; put the password there"));
        }
        Ok(Some(line.to_vec()))
    }
}
