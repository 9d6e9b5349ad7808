//! A small HTTP server: one thread, a few connections, one answer each, and short time-outs.
//!
//! No connection waits for another: all sockets are non-blocking, and one `poll` waits for the
//! first that is ready. A connection that is not done in two seconds is closed, so slow clients
//! delay others by at most that, and only when they take every place. Requests are parsed by
//! `httparse`; bodies are not read, since no request here has one.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use httparse::{EMPTY_HEADER, Request, Status};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::clock::Clock;
use crate::protocol::types::Time;

/// How many connections are open at a time; others wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 16;

/// The longest request, in bytes, and how many headers it has at most.
const REQUEST_BYTES_MAX: usize = 8192;
const HEADERS_MAX: usize = 64;

/// How long a connection lasts.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long one look for events takes, at most.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 250_000_000 };

/// The pause after the system refused a connection, so that the thread does not burn a core.
const PAUSE: Duration = Duration::from_millis(50);

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status, such as 200.
    pub status: u16,
    content_type: &'static str,
    /// What follows the headers.
    pub body: String,
}

impl Answer {
    /// Plain text.
    pub fn text(status: u16, body: String) -> Self {
        Answer { status, content_type: "text/plain; charset=utf-8", body }
    }

    /// The text format of Prometheus.
    pub fn metrics(body: String) -> Self {
        Answer { status: 200, content_type: "text/plain; version=0.0.4; charset=utf-8", body }
    }

    /// A page.
    pub fn html(body: String) -> Self {
        Answer { status: 200, content_type: "text/html; charset=utf-8", body }
    }

    /// A JSON document.
    pub fn json(body: String) -> Self {
        Answer { status: 200, content_type: "application/json", body: body + "\n" }
    }

    fn reason(&self) -> &'static str {
        match self.status {
            200 => "OK",
            400 => "Bad Request",
            404 => "Not Found",
            405 => "Method Not Allowed",
            431 => "Request Header Fields Too Large",
            503 => "Service Unavailable",
            _ => "Error",
        }
    }

    /// Everything to send; for a HEAD request all but the body.
    fn bytes(&self, is_head: bool) -> Vec<u8> {
        let Answer { status, content_type, body } = self;
        let (reason, length) = (self.reason(), body.len());
        let allow = if *status == 405 { "Allow: GET, HEAD\r\n" } else { "" };
        let head = format!(
            "HTTP/1.1 {status} {reason}\r\nContent-Type: {content_type}\r\n\
             Content-Length: {length}\r\n{allow}Cache-Control: no-store\r\n\
             Content-Security-Policy: script-src 'none'; object-src 'none'; base-uri 'none'\r\n\
             X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
        );
        let body = if is_head { "" } else { body };
        [head.as_bytes(), body.as_bytes()].concat()
    }
}

/// Serves until something can be read at `end`, or its other end is closed; `answer` gives the
/// answer for a path.
pub fn serve(
    listener: &TcpListener,
    end: &impl AsFd,
    clock: Clock,
    answer: impl Fn(&str) -> Answer,
) {
    let mut connections: Vec<Connection> = Vec::new();
    // With a blocking listener, a peer that closes at the wrong moment would hold the thread.
    while let Err(error) = listener.set_nonblocking(true) {
        log::debug!("metrics: {error}");
        thread::sleep(PAUSE);
    }
    loop {
        let is_listening = connections.len() < CONNECTIONS_MAX;
        let listening = is_listening.then(|| PollFd::new(listener, PollFlags::IN));
        let waiting = connections.iter().map(|one| PollFd::new(&one.socket, one.awaited()));
        let ending = [PollFd::new(end, PollFlags::IN)];
        let mut all: Vec<PollFd<'_>> = ending.into_iter().chain(listening).chain(waiting).collect();
        // Every socket is tried in any case: none of them blocks.
        if let Err(error) = poll(&mut all, Some(&LOOK))
            && error != rustix::io::Errno::INTR
        {
            thread::sleep(PAUSE);
        }
        if !all[0].revents().is_empty() {
            return;
        }
        let now = clock.now();
        connections.retain_mut(|one| now < one.deadline && one.step(&answer).unwrap_or(false));
        while connections.len() < CONNECTIONS_MAX {
            match accept(listener, now) {
                Ok(connection) => connections.push(connection),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => {
                    log::debug!("metrics: cannot take a connection: {error}");
                    thread::sleep(PAUSE);
                    break;
                }
            }
        }
    }
}

fn accept(listener: &TcpListener, now: Time) -> io::Result<Connection> {
    let (socket, _) = listener.accept()?;
    socket.set_nonblocking(true)?;
    Ok(Connection { socket, deadline: now + PATIENCE, state: State::Reading(Vec::new()) })
}

/// One client.
struct Connection {
    socket: TcpStream,
    deadline: Time,
    state: State,
}

enum State {
    /// The request, as far as it has come.
    Reading(Vec<u8>),
    /// What is left to send.
    Writing(Vec<u8>),
    /// Everything is sent. Further input is thrown away until the client closes: closing first
    /// would reset the connection, and the client might lose the answer.
    Ending,
}

impl Connection {
    /// What it waits for.
    fn awaited(&self) -> PollFlags {
        match self.state {
            State::Reading(_) | State::Ending => PollFlags::IN,
            State::Writing(_) => PollFlags::OUT,
        }
    }

    /// Proceeds as far as it can without waiting. Returns whether there is more to do.
    fn step(&mut self, answer: &impl Fn(&str) -> Answer) -> io::Result<bool> {
        loop {
            match &mut self.state {
                State::Reading(request) => {
                    let mut buffer = [0; 2048];
                    let Some(count) = ready(self.socket.read(&mut buffer))? else {
                        return Ok(true);
                    };
                    if count == 0 {
                        return Ok(false);
                    }
                    request.extend_from_slice(&buffer[..count]);
                    if let Some(bytes) = reply(request, answer) {
                        self.state = State::Writing(bytes);
                    }
                }
                State::Writing(bytes) => {
                    let Some(count) = ready(self.socket.write(bytes))? else { return Ok(true) };
                    bytes.drain(..count);
                    if bytes.is_empty() {
                        self.socket.shutdown(Shutdown::Write)?;
                        self.state = State::Ending;
                    }
                }
                State::Ending => {
                    let mut buffer = [0; 2048];
                    // One buffer at a time: a client that sends without end must not hold the
                    // thread.
                    return Ok(ready(self.socket.read(&mut buffer))? != Some(0));
                }
            }
        }
    }
}

/// How many bytes were moved; none when the socket is not ready.
fn ready(moved: io::Result<usize>) -> io::Result<Option<usize>> {
    match moved {
        Ok(count) => Ok(Some(count)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The reply to these bytes; none while the request is incomplete.
fn reply(request: &[u8], answer: &impl Fn(&str) -> Answer) -> Option<Vec<u8>> {
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = Request::new(&mut headers);
    let too_long = || Answer::text(431, "the request is too long\n".to_owned()).bytes(false);
    match parsed.parse(request) {
        Ok(Status::Complete(_)) => {}
        Ok(Status::Partial) if request.len() < REQUEST_BYTES_MAX => return None,
        Ok(Status::Partial) | Err(httparse::Error::TooManyHeaders) => return Some(too_long()),
        Err(_) => {
            let what = "this is not a request of HTTP/1; ask for http://HOST:PORT/\n";
            return Some(Answer::text(400, what.to_owned()).bytes(false));
        }
    }
    let (method, target) = (parsed.method.unwrap_or(""), parsed.path.unwrap_or(""));
    if !matches!(method, "GET" | "HEAD") {
        return Some(Answer::text(405, "only GET and HEAD\n".to_owned()).bytes(false));
    }
    let path = target.split('?').next().unwrap_or("");
    Some(answer(path).bytes(method == "HEAD"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::time::Instant;

    use super::*;

    /// A server that answers with the path, for ever; where it is.
    fn server() -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let clock = Clock::start();
        let echo = |path: &str| Answer::text(200, format!("at {path}"));
        thread::spawn(move || {
            let (_held, end) = UnixStream::pair().unwrap();
            serve(&listener, &end, clock, echo);
        });
        address
    }

    fn ask(address: std::net::SocketAddr, request: &str) -> String {
        let mut socket = TcpStream::connect(address).unwrap();
        // The server may answer, and close, before all of it is written.
        let _ = socket.write_all(request.as_bytes());
        let mut said = Vec::new();
        let _ = socket.read_to_end(&mut said);
        String::from_utf8(said).unwrap()
    }

    #[test]
    fn requests_are_answered_and_what_is_none_is_refused() {
        let address = server();
        let get = ask(address, "GET /livez?verbose HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(
            get.starts_with("HTTP/1.1 200 OK\r\n") && get.ends_with("\r\n\r\nat /livez"),
            "{get}"
        );
        assert!(get.contains("Content-Length: 9\r\n") && get.contains("Connection: close\r\n"));
        let head = ask(address, "HEAD / HTTP/1.0\r\n\r\n");
        assert!(head.contains("Content-Length: 4\r\n") && head.ends_with("\r\n\r\n"), "{head}");
        for (request, status) in [
            ("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc".to_owned(), "405 Method"),
            ("nonsense\r\n\r\n".to_owned(), "400 Bad"),
            ("\u{16}\u{3}\u{1}tls".to_owned(), "400 Bad"),
            (format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(9000)), "431 "),
            (format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(65)), "431 "),
        ] {
            let said = ask(address, &request);
            assert!(said.starts_with(&format!("HTTP/1.1 {status}")), "{request:.40}: {said}");
            let is_in_our_words = said.ends_with("ask for http://HOST:PORT/\n");
            assert_eq!(is_in_our_words, status == "400 Bad", "{request:.40}: {said}");
        }
    }

    #[test]
    fn a_request_may_come_in_pieces() {
        let mut socket = TcpStream::connect(server()).unwrap();
        for piece in ["GE", "T /pie", "ces HTTP/1.1\r", "\n\r", "\n"] {
            socket.write_all(piece.as_bytes()).unwrap();
            thread::sleep(Duration::from_millis(5));
        }
        let mut said = String::new();
        socket.read_to_string(&mut said).unwrap();
        assert!(said.ends_with("at /pieces"), "{said}");
    }

    #[test]
    fn silent_clients_keep_no_place_and_make_nobody_wait_while_there_is_one() {
        let address = server();
        let silent = |count| -> Vec<TcpStream> {
            (0..count).map(|_| TcpStream::connect(address).unwrap()).collect()
        };
        let few = silent(CONNECTIONS_MAX - 1);
        let start = Instant::now();
        assert!(ask(address, "GET / HTTP/1.1\r\n\r\n").ends_with("at /"));
        assert!(start.elapsed() < PATIENCE / 2, "it waited for {} others", few.len());
        let many = silent(1);
        assert!(ask(address, "GET / HTTP/1.1\r\n\r\n").ends_with("at /"));
        for mut socket in few.into_iter().chain(many) {
            socket.set_read_timeout(Some(PATIENCE * 4)).unwrap();
            assert_eq!(socket.read(&mut [0; 8]).unwrap_or(0), 0, "it is closed");
        }
    }
}
