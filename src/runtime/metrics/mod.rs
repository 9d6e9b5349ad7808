//! What a process tells its operator over HTTP, if `metrics` is configured: of the program, or of
//! another one that runs roles by the library.
//!
//! ```text
//!   role loop --- figures, counts (never waits) ---> Gauges, Stats
//!   thread `metrics` --- reads them at each request ---> text, health, page ---> http
//! ```
//!
//! One thread serves all roles that run together. It reads what the loops publish, and nothing else
//! unless a program adds figures of its own, so no request can reach a role. `text`, `health` and
//! `page` turn numbers into answers; `http` alone has sockets.

mod health;
mod http;
mod page;
mod text;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};

use log::info;

use self::http::Answer;
use super::gauges::Gauges;
use super::start_error::{StartError, StartErrorKind, no_thread};
use super::stats::Stats;
use crate::clock::Clock;
use crate::protocol::types::{Instance, NodeId};
use crate::snapshots::tally::Facts;

/// How many ports are tried, from the given one on.
const PORTS: u16 = 256;

/// A role that publishes its figures.
#[derive(Clone, Debug)]
pub struct Watched {
    /// The role.
    pub node: NodeId,
    /// Its counters.
    pub stats: Arc<Stats>,
    /// Its other figures.
    pub gauges: Arc<Gauges>,
}

/// What is shown: roles of this process.
#[derive(Clone)]
pub struct Shown {
    /// The cluster's name.
    pub cluster: String,
    /// The time since the process started.
    pub clock: Clock,
    /// At least one role.
    pub roles: Vec<Watched>,
    /// What follows in the answer to `/metrics`, in the same format.
    pub more: Option<Arc<dyn Fn() -> String + Send + Sync>>,
}

/// A server. It ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    /// Closing it ends the thread.
    end: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

/// Takes the first free port from that of `first` on; `place` is where `first` was read, if it was
/// read anywhere, for the error message.
///
/// # Errors
///
/// When this host does not have the address, or when no port is free.
pub fn listen(first: SocketAddr, place: Option<&str>) -> Result<TcpListener, StartError> {
    let place = place.map_or_else(String::new, |place| format!("{place}: "));
    // Port 0 is any free port, so there is nothing to try after it.
    let last = if first.port() == 0 { 0 } else { first.port().saturating_add(PORTS - 1) };
    let network = StartErrorKind::Network;
    let mut address = first;
    loop {
        let error = match TcpListener::bind(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => error,
        };
        if error.kind() == ErrorKind::AddrInUse && address.port() < last {
            address.set_port(address.port() + 1);
            continue;
        }
        return Err(match error.kind() {
            ErrorKind::AddrInUse => StartError::passing(
                network,
                format!(
                    "{place}metrics {first}: the ports up to {last} are in use; name another one"
                ),
            ),
            ErrorKind::AddrNotAvailable => StartError::passing(
                network,
                format!(
                    "{place}metrics {first} is at no address of this host; name one that it has"
                ),
            ),
            _ => StartError::new(
                network,
                format!("{place}cannot listen at metrics {first} ({error}); name another port"),
            ),
        });
    }
}

/// Serves `shown` from now on.
///
/// # Errors
///
/// When the system gives no thread, or no descriptor.
pub fn serve(listener: TcpListener, shown: Shown) -> Result<Server, StartError> {
    let unknown = |error| StartError::new(StartErrorKind::Network, error);
    let address = listener.local_addr().map_err(unknown)?;
    let (end, of_thread) = UnixStream::pair().map_err(unknown)?;
    let serve =
        move || http::serve(&listener, &of_thread, shown.clock, |path| answer(&shown, path));
    let thread = thread::Builder::new().name("metrics".to_owned()).spawn(serve);
    let thread = thread.map_err(no_thread)?;
    info!(target: "paxos::report", "metrics are at http://{address}/metrics");
    Ok(Server { address, end: Some(end), thread: Some(thread) })
}

impl Server {
    /// Where it serves.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            log::error!(
                "the thread that serves metrics failed; this is a bug in paxos; please report it"
            );
        }
    }
}

/// The answer to a GET of this path.
fn answer(shown: &Shown, path: &str) -> Answer {
    match path {
        "/" => Answer::html(page::html(shown)),
        "/metrics" => Answer::metrics(metrics(shown)),
        "/status.json" => Answer::json(page::json(shown).to_string()),
        "/livez" => verdict("alive", &health::not_alive(shown)),
        "/readyz" => verdict("ready", &health::not_ready(shown)),
        _ => Answer::text(
            404,
            "there are /, /metrics, /livez, /readyz and /status.json\n".to_owned(),
        ),
    }
}

/// The figures of the roles, and those that the program adds.
fn metrics(shown: &Shown) -> String {
    let more = shown.more.as_ref().map(|more| more());
    text::render(shown) + &more.unwrap_or_default()
}

/// `well`, or the reasons why not, one a line.
fn verdict(well: &str, reasons: &[String]) -> Answer {
    if reasons.is_empty() {
        return Answer::text(200, format!("{well}\n"));
    }
    Answer::text(503, reasons.iter().map(|reason| format!("{reason}\n")).collect())
}

impl Watched {
    /// How far it has come in the log, by kind.
    fn positions(&self) -> Vec<(&'static str, u64)> {
        let figures = self.gauges.figures();
        let below = |instance: Instance| instance.0.saturating_sub(1);
        let progress = figures.progress;
        let applied = self.stats.applied.get().map(|applied| applied.load(Ordering::Relaxed));
        let trimmed = progress.map(|progress| progress.trimmed).or(figures.trimmed);
        let all = [
            ("decided", progress.map(|progress| below(progress.watermark))),
            ("highest", progress.map(|progress| below(progress.end))),
            ("applied", applied),
            ("durable", figures.durable.map(below)),
            ("trimmed", trimmed.map(below)),
        ];
        all.into_iter().filter_map(|(kind, position)| Some((kind, position?))).collect()
    }

    /// What is known of its snapshots, if it keeps any.
    fn snapshots(&self) -> Option<Facts> {
        self.stats.snapshots.get().map(|tally| tally.facts())
    }

    /// How many datagrams and messages were dropped, by reason. Common reasons are present from the
    /// start.
    fn dropped(&self) -> BTreeMap<String, u64> {
        let stats = &self.stats;
        let always = [
            ("own", stats.own.count()),
            ("of_no_interest", stats.uninteresting.count()),
            ("inbox_full", stats.inbox_full.count()),
            ("kernel", stats.kernel_dropped.count()),
            ("loss", stats.loss.load(Ordering::Relaxed)),
        ];
        let always = always.map(|(reason, count)| (reason.to_owned(), count));
        let refused = stats.refused.counts();
        let refused = refused.iter().map(|(reason, count)| (named("refused", reason), *count));
        let ignored = stats.ignored.counts();
        let ignored = ignored.iter().map(|(reason, count)| (named("ignored", reason), *count));
        let mut all = BTreeMap::new();
        // Reasons that differ only in details share a name.
        for (reason, count) in always.into_iter().chain(refused).chain(ignored) {
            *all.entry(reason).or_insert(0) += count;
        }
        all
    }
}

/// The name of a reason, as `ignored_stale_ballot`, without its details.
fn named(prefix: &str, reason: &impl Debug) -> String {
    let variant = format!("{reason:?}");
    let mut name = prefix.to_owned();
    for letter in variant.chars().take_while(char::is_ascii_alphanumeric) {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

#[cfg(test)]
mod tests;
