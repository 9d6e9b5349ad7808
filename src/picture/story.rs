//! A run in sentences. They are the same in every picture, and say only what is in the record.

use std::collections::BTreeMap;
use std::time::Duration;

use super::scene::cut_off;
use super::words::{self, Span};
use crate::protocol::message::{Message, Standing};
use crate::protocol::types::{Ballot, NodeId, Role, Time};
use crate::sim::fault::Fault;
use crate::sim::record::{Belief, Chosen, Fate, Record, Sent, What};

/// One thing that is worth a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentence {
    /// When it happened.
    pub time: Time,
    /// To whom, if to one process.
    pub node: Option<NodeId>,
    /// The sentence.
    pub text: String,
    /// What it is about.
    pub topic: Topic,
}

/// What a sentence is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// Which process leads, campaigns, or is running.
    Office,
    /// Faults, and their end.
    Fault,
    /// Something is chosen.
    Chosen,
    /// How it ended.
    End,
}

/// `A1`, `A1 and A2`, `A1, A2 and A3`.
fn listed(names: &[String]) -> String {
    match names {
        [] => "nobody".to_owned(),
        [one] => one.clone(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}

/// The story of a run, in order of time.
pub fn told(record: &Record, sent: &[&Sent], ending: &str) -> Vec<Sentence> {
    let mut story: Vec<Sentence> = Vec::new();
    let mut standing: BTreeMap<NodeId, (Standing, Ballot)> = BTreeMap::new();
    let mut news: Vec<(Time, &Chosen)> = Vec::new();
    for event in &record.events {
        let time = event.time;
        let mut say = |node, topic, text: String| story.push(Sentence { time, node, text, topic });
        match &event.what {
            What::Believes(node, Belief::Proposer { standing: is, ballot, .. }) => {
                let known = standing.insert(*node, (*is, *ballot));
                if *is == Standing::Campaigns && known != Some((*is, *ballot)) {
                    say(Some(*node), Topic::Office, campaigns(*node, *ballot, time, sent));
                }
            }
            What::Leads(node, ballot) => {
                say(Some(*node), Topic::Office, leads(*node, *ballot, time, sent));
            }
            What::Yields(node) => {
                let follows = standing.get(node).map(|(_, ballot)| ballot.proposer);
                let text = match follows.filter(|follows| *follows != node.id && *follows != 0) {
                    Some(other) => format!("{node} leads no more: it follows P{other}."),
                    None => format!("{node} leads no more."),
                };
                say(Some(*node), Topic::Office, text);
            }
            What::Dies(node) => {
                say(Some(*node), Topic::Fault, format!("{node} is dead. Nobody is told."));
            }
            What::Starts(node) if time > Time::ZERO && node.role != Role::Client => {
                say(Some(*node), Topic::Fault, format!("{node} starts."));
            }
            What::Sleeps(node, until) if until.since(time).as_millis() >= 1 => {
                let text = format!("{node} does nothing for {:?}.", until.since(time));
                say(Some(*node), Topic::Fault, text);
            }
            // These name the processes concerned.
            What::Fault(
                Fault::Kill(_) | Fault::KillLeader | Fault::Pause(..) | Fault::PauseLeader(_),
            ) => {}
            What::Fault(fault) => say(struck(fault), Topic::Fault, fault_text(fault)),
            What::Heals => say(None, Topic::Fault, "All faults end.".to_owned()),
            What::Chosen(chosen) => news.push((time, chosen)),
            What::Violation(what) => say(None, Topic::End, format!("UNSAFE: {what}.")),
            _ => {}
        }
    }
    story.extend(chosen(&news));
    story.sort_by_key(|sentence| sentence.time);
    let text = ending.to_owned();
    story.push(Sentence { time: record.end, node: None, text, topic: Topic::End });
    story
}

/// A leader that was heard this long ago is no reason to campaign.
const AT_WORK: Duration = Duration::from_millis(100);

/// Why a proposer campaigns, as far as its ears can tell.
fn campaigns(node: NodeId, ballot: Ballot, time: Time, sent: &[&Sent]) -> String {
    let earlier = || sent.iter().filter(|sent| sent.time <= time);
    // When this proposer has read it.
    let read = |sent: &Sent| {
        let is_read = |copy: &&crate::sim::record::Passage| {
            copy.to == node && copy.fate == Fate::Read && copy.time <= time
        };
        Some(sent.copies.iter().find(is_read)?.time)
    };
    let heard = earlier().filter_map(|sent| {
        let Some(Message::Heartbeat(heartbeat)) = &sent.message else { return None };
        let leads = heartbeat.announcement.standing == Standing::Leads;
        (leads && sent.from?.role == Role::Proposer).then_some((read(sent)?, sent.from?))
    });
    let called = earlier().filter_map(|sent| match &sent.message {
        Some(Message::Plea(_)) => Some((read(sent)?, sent.from?)),
        _ => None,
    });
    let why = match (heard.max(), called.max()) {
        (None, _) => "it has heard no leader so far".to_owned(),
        (Some((last, leader)), Some((when, caller)))
            if time.since(last) < AT_WORK && time.since(when) < AT_WORK =>
        {
            format!("it hears {leader} lead, and {caller} calls for another")
        }
        (Some((last, leader)), _) => {
            let silence = time.since(last).as_secs_f64() * 1e3;
            format!("it heard {leader} lead {silence:.0} ms ago, and nothing since")
        }
    };
    format!("{node} campaigns with ballot {ballot}: {why}.")
}

fn leads(node: NodeId, ballot: Ballot, time: Time, sent: &[&Sent]) -> String {
    let mut promised: Vec<String> = Vec::new();
    let mut reported: BTreeMap<Span, Ballot> = BTreeMap::new();
    for sent in sent {
        let Some(Message::Promise(promise)) = &sent.message else { continue };
        let is_in_time = sent
            .copies
            .iter()
            .any(|copy| copy.to == node && copy.fate == Fate::Read && copy.time <= time);
        if promise.ballot != ballot || !is_in_time {
            continue;
        }
        let name = sent.from.map_or_else(String::new, |from| from.to_string());
        if !promised.contains(&name) && promise.next.is_none() {
            promised.push(name);
        }
        for (span, old) in words::reported(promise) {
            let kept = reported.entry(span).or_insert(old);
            *kept = old.max(*kept);
        }
    }
    if promised.is_empty() {
        return format!("{node} leads with ballot {ballot}.");
    }
    promised.sort();
    let mut text = format!("{node} leads: {} have promised, a majority.", listed(&promised));
    let reports: Vec<String> = reported
        .iter()
        .take(4)
        .map(|(span, old)| format!("{} accepted in {old}", words::spans(&[*span])))
        .collect();
    if !reports.is_empty() {
        let reports = listed(&reports);
        text.push_str(&format!(" They report {reports}: {node} must keep it, and tells it again."));
    }
    text
}

/// What one vote chose is one sentence.
fn chosen(news: &[(Time, &Chosen)]) -> Vec<Sentence> {
    let mut sentences = Vec::new();
    for together in news.chunk_by(|one, other| {
        (one.0, one.1.by, &one.1.voters) == (other.0, other.1.by, &other.1.voters)
    }) {
        let Some((time, first)) = together.first() else { continue };
        let runs = together.iter().map(|(_, chosen)| {
            let instance = chosen.instance;
            crate::protocol::types::Run {
                from: instance,
                until: crate::protocol::types::Instance(instance.0 + 1),
            }
        });
        let spans = words::joined(runs);
        let are = if together.len() == 1 { "is" } else { "are" };
        let voters: Vec<String> = first.voters.iter().map(|id| format!("A{id}")).collect();
        let text = format!(
            "{} {are} chosen: {} have accepted. Nobody knows it yet.",
            words::spans(&spans),
            listed(&voters)
        );
        sentences.push(Sentence { time: *time, node: Some(first.by), text, topic: Topic::Chosen });
    }
    sentences
}

fn struck(fault: &Fault) -> Option<NodeId> {
    match fault {
        Fault::Cut { pairs, .. } => cut_off(pairs),
        Fault::KillAt(node, _)
        | Fault::SlowDisk(node, _)
        | Fault::FillDisk(node, _)
        | Fault::BreakDisk(node)
        | Fault::Operate(node, _)
        | Fault::ClockRate(node, _)
        | Fault::ClockJump(node, _)
        | Fault::Garbage(node) => Some(*node),
        _ => None,
    }
}

fn fault_text(fault: &Fault) -> String {
    if let Fault::Cut { pairs, shape } = fault {
        if let Some(node) = cut_off(pairs) {
            return format!(
                "{node} is cut off: nothing gets to it, and nothing from it to anybody."
            );
        }
        let shown: Vec<String> =
            pairs.iter().take(4).map(|(from, to)| format!("{from} to {to}")).collect();
        let rest = pairs.len() - shown.len();
        let rest = if rest > 0 { format!(", and on {rest} other links") } else { String::new() };
        return format!("Nothing gets through from {}{rest} ({shape}).", listed(&shown));
    }
    let text = fault.to_string();
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}
