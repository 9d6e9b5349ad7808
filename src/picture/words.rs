//! Messages in few words, and how wide words are.

use crate::protocol::entries::Entries;
use crate::protocol::message::{
    AcceptedPage, Assignment, Message, Promise, Request, Standing, Told,
};
use crate::protocol::types::{Ballot, Counted, Entry, Instance, Number, Run};

/// A value is shown up to this many characters.
const VALUE_LETTERS: usize = 32;

/// Consecutive instances, both ends included.
pub type Span = (u64, u64);

/// `1, 4–5`.
pub fn spans(spans: &[Span]) -> String {
    let word = |(first, last): &Span| match first == last {
        true => first.to_string(),
        false => format!("{first}–{last}"),
    };
    spans.iter().map(word).collect::<Vec<_>>().join(", ")
}

/// Runs as spans; neighbours are joined.
pub fn joined<T: Counted>(runs: impl IntoIterator<Item = Run<T>>) -> Vec<Span> {
    let mut runs: Vec<Run<T>> = runs.into_iter().filter(|run| !run.is_empty()).collect();
    runs.sort_unstable_by_key(|run| (run.from, run.until));
    let mut spans: Vec<Span> = Vec::new();
    for run in runs {
        let (first, last) = (run.from.get(), run.until.get() - 1);
        match spans.last_mut() {
            Some(end) if first <= end.1.saturating_add(1) => end.1 = end.1.max(last),
            _ => spans.push((first, last)),
        }
    }
    spans
}

fn entries_span(from: Instance, entries: &Entries) -> Vec<Span> {
    let last = from.0.saturating_add((entries.len() as u64).saturating_sub(1));
    if entries.is_empty() { Vec::new() } else { vec![(from.0, last)] }
}

/// The instances that a message speaks of.
pub fn instances(message: &Message) -> Vec<Span> {
    match message {
        Message::Accept(accept) => entries_span(accept.from, &accept.entries),
        Message::Decide(decide) => entries_span(decide.from, &decide.entries),
        Message::CatchUpReply(reply) => entries_span(reply.from, &reply.entries),
        Message::Accepted(accepted) => joined(accepted.runs.iter().copied()),
        Message::Chosen(chosen) => joined(chosen.runs.iter().copied()),
        Message::CatchUpRequest(request) => joined(request.missing.iter().copied()),
        Message::Promise(promise) => reported(promise).into_iter().map(|(span, _)| span).collect(),
        Message::Request(Request {
            assignment: Assignment::Client { first },
            from,
            entries,
            ..
        }) => entries_span(first.plus(from.0.saturating_sub(1)), entries),
        _ => Vec::new(),
    }
}

/// What a promise says was accepted before, and in which ballot.
pub fn reported(promise: &Promise) -> Vec<(Span, Ballot)> {
    let mut reported: Vec<(Span, Ballot)> = Vec::new();
    for AcceptedPage { ballot: accepted, page } in &promise.accepted {
        let run = page.run();
        let (from, last) = (run.from.0, run.until.0 - 1);
        match reported.last_mut() {
            Some(((_, end), ballot)) if *end + 1 == from && ballot == accepted => *end = last,
            _ => reported.push(((from, last), *accepted)),
        }
    }
    reported
}

/// The ballot that a message belongs to.
pub fn ballot(message: &Message) -> Option<Ballot> {
    let ballot = match message {
        Message::Prepare(prepare) => prepare.ballot,
        Message::Promise(promise) => promise.ballot,
        Message::Accept(accept) => accept.ballot,
        Message::Accepted(accepted) => accepted.ballot,
        Message::Nack(nack) => nack.promised,
        Message::Decide(decide) => decide.ballot,
        Message::Chosen(chosen) => chosen.ballot,
        Message::Heartbeat(heartbeat) => heartbeat.announcement.ballot,
        _ => Ballot::ZERO,
    };
    (ballot != Ballot::ZERO).then_some(ballot)
}

/// The proposer that asked for an answer, where the message is one.
pub fn asker(message: &Message) -> Option<u32> {
    match message {
        Message::Promise(promise) => Some(promise.ballot.proposer),
        Message::Accepted(accepted) => Some(accepted.ballot.proposer),
        Message::Nack(nack) => Some(nack.rejected.proposer),
        _ => None,
    }
}

/// A value as text: bytes that are no text, and text that does not fit, are marked.
fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut letters = text.chars();
    let visible = |letter: char| if letter.is_control() { '·' } else { letter };
    let mut shown: String = letters.by_ref().take(VALUE_LETTERS).map(visible).collect();
    if letters.next().is_some() {
        shown.push('…');
    }
    shown
}

fn value(entry: &Entry) -> String {
    match entry {
        Entry::Noop => "no-op".to_owned(),
        Entry::Checkpoint { piece, .. } => piece.to_string(),
        Entry::Value { value: bytes, .. } | Entry::Part { bytes, .. } => shown(bytes.as_bytes()),
    }
}

/// `c1-1`, `c1-1, c1-2`, `c1-1 … c1-9`.
fn values(entries: &Entries) -> String {
    let at = |place: usize| entries.get(place).map_or_else(String::new, |it| value(&it.to_entry()));
    match entries.len() {
        0 => "nothing".to_owned(),
        1 => at(0),
        2 => format!("{}, {}", at(0), at(1)),
        count => format!("{} … {}", at(0), at(count - 1)),
    }
}

/// `2 = c1-2`, or the instances alone where that would be wider than `most` pixels.
fn numbered(what: &str, from: Instance, entries: &Entries, most: f64) -> String {
    let instances = spans(&entries_span(from, entries));
    let long = format!("{what} {instances} = {}", values(entries));
    if width(&long, LABEL) <= most { long } else { format!("{what} {instances}") }
}

fn numbers(told: &[Told], which: impl Fn(&Told) -> &[Run<Number>]) -> String {
    let word = |told: &Told| (told.session, spans(&joined(which(told).iter().copied())));
    let mut words: Vec<_> = told.iter().map(word).filter(|(_, it)| !it.is_empty()).collect();
    match words.len() {
        0 => String::new(),
        1 => format!("#{}", words.remove(0).1),
        _ => {
            let words = words.into_iter().map(|(session, numbers)| format!("{session}#{numbers}"));
            words.collect::<Vec<_>>().join(" ")
        }
    }
}

/// The size of labels.
pub const LABEL: f64 = 10.5;

/// A message on its arrow, at most about `most` pixels wide.
pub fn label(message: &Message, most: f64) -> String {
    match message {
        Message::Request(request) => format!("Request {}", values(&request.entries)),
        Message::RequestAck(ack) => {
            let delivered = numbers(&ack.told, |told| &told.delivered);
            let lost = numbers(&ack.told, |told| &told.lost);
            let received = numbers(&ack.told, |told| &told.received);
            match (delivered.is_empty(), lost.is_empty()) {
                (false, true) => format!("RequestAck {delivered}"),
                (true, false) => format!("RequestAck: lost {lost}"),
                (false, false) => format!("RequestAck {delivered}, lost {lost}"),
                (true, true) if received.is_empty() => "RequestAck".to_owned(),
                (true, true) => format!("RequestAck: got {received}"),
            }
        }
        Message::Prepare(prepare) => format!("Prepare {} from {}", prepare.ballot, prepare.from),
        Message::Promise(promise) if promise.accepted.is_empty() => "Promise: nothing".to_owned(),
        Message::Promise(_) => "Promise".to_owned(),
        Message::Accept(accept) => numbered("Accept", accept.from, &accept.entries, most),
        Message::Accepted(_) => format!("Accepted {}", spans(&instances(message))),
        Message::Nack(nack) => format!("Nack: {} promised", nack.promised),
        Message::Decide(decide) => {
            format!("Decide {}", spans(&entries_span(decide.from, &decide.entries)))
        }
        Message::Chosen(chosen) if chosen.runs.is_empty() => {
            format!("Chosen: below {}", chosen.until)
        }
        Message::Chosen(_) => format!("Chosen {}", spans(&instances(message))),
        Message::DecideAck(ack) => format!("DecideAck: below {}", ack.progress.watermark),
        Message::Durable(durable) => format!("Durable: below {}", durable.below),
        Message::Heartbeat(heartbeat) => match heartbeat.announcement.standing {
            Standing::Leads => "Heartbeat: leads",
            Standing::Campaigns => "Heartbeat: campaigns",
            Standing::Stands => "Heartbeat",
            Standing::Abstains => "Heartbeat: abstains",
        }
        .to_owned(),
        Message::CatchUpRequest(_) => format!("CatchUpRequest {}", spans(&instances(message))),
        Message::CatchUpReply(_) => format!("CatchUpReply {}", spans(&instances(message))),
        Message::Disown(disown) => format!("Disown A{}", disown.acceptor),
        Message::Echo(_) => "Echo".to_owned(),
        Message::Plea(_) => "Plea".to_owned(),
        Message::Offer(_) => "Offer".to_owned(),
        #[allow(unreachable_patterns)] // The kinds that are to come have a name at least.
        other => format!("{:?}", other.kind()),
    }
}

/// Cuts a text to this many pixels.
pub fn cut(text: &str, size: f64, most: f64) -> String {
    if width(text, size) <= most {
        return text.to_owned();
    }
    let mut kept = String::new();
    for letter in text.chars() {
        kept.push(letter);
        if width(&kept, size) + size > most {
            break;
        }
    }
    kept.push('…');
    kept
}

/// Breaks a text into lines of at most this many pixels.
pub fn wrapped(text: &str, size: f64, most: f64) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let Some(line) = lines.last_mut() else { break };
        if line.is_empty() {
            *line = cut(word, size, most);
        } else if width(line, size) + width(" ", size) + width(word, size) <= most {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(cut(word, size, most));
        }
    }
    lines
}

/// How wide a text is in DejaVu Sans, the widest of the usual fonts: so no renderer decides about
/// the layout.
pub fn width(text: &str, size: f64) -> f64 {
    let advance = |letter: char| {
        let place = (letter as usize).wrapping_sub(32);
        ADVANCES.get(place).map_or(700.0, |advance| f64::from(*advance))
    };
    text.chars().map(advance).sum::<f64>() * size / 1000.0
}

/// The advances of the characters from blank to tilde, in thousandths of the font's size.
const ADVANCES: [u16; 95] = [
    318, 401, 460, 838, 636, 950, 780, 275, 390, 390, 500, 838, 318, 361, 318, 337, 636, 636, 636,
    636, 636, 636, 636, 636, 636, 636, 337, 337, 838, 838, 838, 531, 1000, 684, 686, 698, 770, 632,
    575, 775, 752, 295, 295, 656, 557, 863, 748, 787, 603, 787, 695, 635, 611, 732, 684, 989, 685,
    611, 685, 390, 337, 390, 838, 500, 500, 613, 635, 550, 635, 615, 352, 635, 634, 278, 278, 579,
    278, 974, 634, 612, 635, 635, 411, 521, 392, 634, 592, 818, 592, 592, 525, 636, 337, 636, 838,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_told_with_both_ends() {
        let run = |from, until| Run::new(Instance(from), Instance(until));
        assert_eq!(spans(&joined([run(4, 6), run(1, 2), run(6, 8), run(9, 9)])), "1, 4–7");
    }

    #[test]
    fn lines_are_no_wider_than_they_may_be() {
        let lines = wrapped("a leader dies; its successor finds what was accepted", 11.5, 120.0);
        assert!(
            lines.len() > 2 && lines.iter().all(|line| width(line, 11.5) <= 120.0),
            "{lines:?}"
        );
        assert!(width(&cut(&"w".repeat(99), 10.5, 60.0), 10.5) <= 71.0);
    }
}
