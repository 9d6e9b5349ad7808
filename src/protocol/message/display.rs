//! How messages appear in traces and logs: one line each.

use std::fmt;
use std::time::Duration;

use super::*;

/// `1..4, 7..8`, or `-` for none.
fn list<T: fmt::Display>(items: &[T]) -> String {
    if items.is_empty() {
        return "-".to_owned();
    }
    items.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

/// `..3, 5..6`: what is decided, by instance.
fn names(until: Instance, runs: &[Run<Instance>]) -> String {
    let prefix = (until > Instance::FIRST).then(|| format!("..{until}"));
    list(&prefix.into_iter().chain(runs.iter().map(Run::to_string)).collect::<Vec<_>>())
}

/// `4 no-op, 5 C1#2 "b"`: entries with their instances.
fn numbered(from: Instance, entries: &Entries) -> String {
    let numbered = from.numbering(entries);
    list(&numbered.map(|(instance, entry)| format!("{instance} {entry}")).collect::<Vec<_>>())
}

/// The word for full disks.
fn fullness(full: bool) -> &'static str {
    if full { ", full" } else { "" }
}

/// One line, for traces and logs.
impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Message::Request(request) if request.is_last() => {
                write!(f, "Request nothing from {} on", request.from)
            }
            Message::Request(Request { assignment, from, entries, front: _, opened: _ }) => {
                if entries.is_empty() {
                    return f.write_str("Request to open a session");
                }
                write!(f, "Request {from}")?;
                if let Assignment::Client { first } = assignment {
                    write!(f, " for {}", first.plus(from.0.saturating_sub(1)))?;
                }
                let values: Vec<Value> = entries.values().map(Value::new).collect();
                write!(f, ": {}", list(&values))
            }
            // The grant follows from measurements, and says nothing about the request.
            Message::RequestAck(RequestAck { quorate, told, full, grant: _, decided_below: _ }) => {
                let told = told.iter().map(Told::to_string).collect::<Vec<_>>().join("; ");
                let quorate = if *quorate { "" } else { ", without a quorum" };
                write!(f, "RequestAck {told}{quorate}{}", fullness(*full))
            }
            Message::Prepare(Prepare { ballot, from, until, acceptor }) => {
                write!(f, "Prepare {ballot} from {from}")?;
                until.map_or(Ok(()), |until| write!(f, " until {until}"))?;
                acceptor.map_or(Ok(()), |acceptor| write!(f, ", page of A{acceptor}"))
            }
            Message::Promise(Promise { ballot, from, trimmed, accepted, next, .. }) => {
                write!(f, "Promise {ballot} from {from}: {}", list(accepted))?;
                if *trimmed > Instance::FIRST {
                    write!(f, ", trimmed below {trimmed}")?;
                }
                next.map_or(Ok(()), |next| write!(f, ", more from {next}"))
            }
            Message::Accept(Accept { ballot, watermark, chosen, full, from, entries }) => {
                let entries = numbered(*from, entries);
                write!(f, "Accept {ballot}: {entries}{}", fullness(*full))?;
                match names(*watermark, chosen).as_str() {
                    "-" => Ok(()),
                    names => write!(f, "; chosen {names}"),
                }
            }
            Message::Accepted(Accepted { ballot, runs }) => {
                write!(f, "Accepted {ballot}: {}", list(runs))
            }
            Message::Nack(Nack { rejected, promised }) => {
                write!(f, "Nack {rejected}: promised {promised}")
            }
            Message::Decide(Decide { ballot, from, entries }) => {
                write!(f, "Decide {ballot}: {}", numbered(*from, entries))
            }
            Message::DecideAck(DecideAck { progress }) => write!(f, "DecideAck {progress}"),
            Message::Durable(Durable { below, .. }) => write!(f, "Durable below {below}"),
            Message::Heartbeat(Heartbeat { announcement, asks, full, progress, .. }) => {
                let asks = if *asks { ", asks" } else { "" };
                write!(f, "Heartbeat {announcement} {progress}{asks}{}", fullness(*full))
            }
            Message::CatchUpRequest(CatchUpRequest { of, again, missing }) => {
                let again = if *again { "again " } else { "" };
                write!(f, "CatchUpRequest {again}{}", list(missing))?;
                of.map_or(Ok(()), |of| write!(f, " of {of}"))
            }
            Message::CatchUpReply(CatchUpReply { from, entries, last }) => {
                let end = if *last { ", the last" } else { "" };
                write!(f, "CatchUpReply {}{end}", numbered(*from, entries))
            }
            Message::Disown(Disown { acceptor, .. }) => write!(f, "Disown A{acceptor}"),
            Message::Echo(Echo { promised, accepted, full, heard, .. }) => {
                write!(f, "Echo {}; promised {promised}, accepted {accepted}", list(heard))?;
                f.write_str(fullness(*full))
            }
            Message::Plea(Plea { pleaded_us, offered, .. }) => {
                let pleaded = Duration::from_micros(*pleaded_us);
                write!(f, "Plea for {pleaded:?}, offered by {}", list(offered))
            }
            Message::Offer(Offer { to, callers, progress }) => {
                write!(f, "Offer to {} of {callers}: {progress}", list(to))
            }
            Message::Chosen(Chosen { ballot, until, runs }) => {
                write!(f, "Chosen {ballot}: {}", names(*until, runs))
            }
            Message::Recall(Recall { of, again, known, run }) => {
                let again = if *again { "again " } else { "" };
                write!(f, "Recall {again}{run} of A{of}, known below {known}")
            }
            Message::Recalled(Recalled { known, run, votes, from, entries, last, .. }) => {
                let end = if *last { ", the last" } else { "" };
                write!(f, "Recalled {run}, known below {known}: {}", list(votes))?;
                if !entries.is_empty() {
                    write!(f, ": {}", numbered(*from, entries))?;
                }
                f.write_str(end)
            }
            Message::ReadRequest(ReadRequest { count, again }) => {
                write!(f, "ReadRequest {count}{}", if *again { " again" } else { "" })
            }
            Message::ReadReply(ReadReply { count, end, .. }) => {
                write!(f, "ReadReply {count}: below {end}")
            }
            Message::Fetch(fetch @ Fetch { of, snapshot, first, wanted, .. }) => {
                if let Some(Needed { from: needed, .. }) = fetch.needs() {
                    return write!(f, "Fetch: needs the log from {needed} on");
                }
                let whom = of.map_or_else(|| "anybody".to_owned(), |of| format!("L{of}"));
                match snapshot {
                    None => write!(f, "Fetch the newest snapshot of {whom}"),
                    Some(SnapshotName { of, .. }) => {
                        let count = wanted.count_ones();
                        let chunks = if count == 1 { "chunk" } else { "chunks" };
                        write!(f, "Fetch {count} {chunks} of snapshot {of} from {first} of {whom}")
                    }
                }
            }
            Message::Chunk(Chunk { snapshot, offset, bytes }) => {
                let (of, length) = (snapshot.of, bytes.as_bytes().len());
                write!(f, "Chunk of snapshot {of}: {length} bytes at {offset}")
            }
        }
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Told { session, requested, is_forgotten, received, delivered, lost } = self;
        if *is_forgotten {
            return write!(f, "{session} is forgotten");
        }
        let (received, delivered, lost) = (list(received), list(delivered), list(lost));
        write!(f, "{session} received {received} delivered {delivered} lost {lost}")?;
        if *requested { Ok(()) } else { write!(f, ", heard") }
    }
}

impl fmt::Display for Announcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Announcement { standing, quorate, ballot, reads, .. } = self;
        write!(f, "{standing:?}")?;
        if *ballot != Ballot::ZERO {
            write!(f, " with {ballot}")?;
        }
        if *quorate {
            write!(f, ", quorate")?;
        }
        if *reads == Versions::ALL { Ok(()) } else { write!(f, ", reads {reads}") }
    }
}

impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "P{} {}", self.proposer, self.announcement)
    }
}

impl fmt::Display for Voted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.run, self.ballot)
    }
}

impl fmt::Display for AcceptedPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", numbered(self.page.from, &self.page.entries), self.ballot)
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "watermark {} decided {}", self.watermark, self.decided)
    }
}
