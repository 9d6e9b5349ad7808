//! What is there to draw? A record, without what a picture hides, in the terms of a picture.
//!
//! The rules for hiding stand here: heartbeats and echoes are counted, copies of a multicast for
//! processes that cannot use them are left out, and what one turn sends to two groups is one
//! message.

use std::collections::{BTreeMap, BTreeSet};

use super::story::{self, Sentence};
use super::words::{self, Span};
use crate::protocol::message::{Kind, Message, Standing};
use crate::protocol::types::{Ballot, NodeId, Role, Time};
use crate::sim::fault::Fault;
use crate::sim::record::{Belief, Fate, Passage, Record, Sent, What};

/// The options of a picture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Kinds that are not drawn. Heartbeats and echoes are only drawn when `all` says so.
    pub hidden: Vec<Kind>,
    /// Only messages of these instances.
    pub instances: Option<Span>,
    /// From when.
    pub from: Option<Time>,
    /// Until when.
    pub until: Option<Time>,
    /// Heartbeats, echoes, and every copy that was of no use.
    pub all: bool,
    /// The overview, however few messages there are.
    pub overview: bool,
}

impl Wish {
    /// Whether a moment belongs to the picture.
    pub fn covers(&self, time: Time) -> bool {
        self.from.is_none_or(|from| from <= time) && self.until.is_none_or(|until| time <= until)
    }

    fn shows(&self, kind: Kind) -> bool {
        let is_background = matches!(kind, Kind::Heartbeat | Kind::Echo);
        (self.all || !is_background) && !self.hidden.contains(&kind)
    }

    fn wants(&self, spans: &[Span]) -> bool {
        let Some((first, last)) = self.instances else { return true };
        spans.iter().any(|span| span.0 <= last && first <= span.1)
    }
}

/// Everything that a picture shows.
#[derive(Debug)]
pub struct Scene<'a> {
    /// The processes that send or read something that is drawn, or that something happens to.
    pub nodes: Vec<NodeId>,
    /// The ballots, in the order in which they appear.
    pub ballots: Vec<Ballot>,
    /// The messages, in order of time.
    pub fans: Vec<Fan<'a>>,
    /// What processes know from some moment on.
    pub chips: Vec<Chip>,
    /// What processes are for a while.
    pub bands: Vec<Band>,
    /// The run in sentences.
    pub story: Vec<Sentence>,
    /// The heartbeats of each process.
    pub beats: BTreeSet<(Time, NodeId)>,
}

/// One message to one or more groups.
#[derive(Debug)]
pub struct Fan<'a> {
    /// When it was sent first.
    pub time: Time,
    /// By whom.
    pub from: NodeId,
    /// What it says.
    pub message: &'a Message,
    /// Its ballot, as its place among the scene's.
    pub ballot: Option<usize>,
    /// Copies that are drawn.
    pub copies: Vec<Passage>,
    /// When the same was said last, and how often, where nobody read it.
    pub repeated: Option<(Time, usize)>,
    /// Whether no process sent it at that time.
    pub is_noise: bool,
}

/// A process knows something from a moment on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chip {
    /// When.
    pub time: Time,
    /// Who.
    pub node: NodeId,
    /// What.
    pub knows: Knows,
    /// Which instances, or for a client which of its numbers.
    pub spans: Vec<Span>,
}

/// What a chip says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knows {
    /// Accepted, in the ballot of this place.
    Accepted(Option<usize>),
    /// Learned to be decided.
    Learned,
    /// A client's numbers that are decided.
    Told,
}

/// A process is something for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Band {
    /// Who.
    pub node: NodeId,
    /// From when.
    pub from: Time,
    /// Until when; none is the end of the run.
    pub until: Option<Time>,
    /// What.
    pub is: State,
}

/// The state of a process for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It campaigns with a ballot.
    Campaigns(usize),
    /// It leads with a ballot.
    Leads(usize),
    /// It has promised a ballot.
    Promised(usize),
    /// It is dead, or has not started.
    Dead,
    /// It sleeps, or waits for its disk.
    Asleep,
    /// Nothing gets to it or from it.
    CutOff,
}

impl<'a> Scene<'a> {
    /// What `wish` wants of `record`; `ending` is the last sentence.
    pub fn new(record: &'a Record, wish: &Wish, ending: &str) -> Self {
        let mut sent: Vec<&Sent> = record.messages.iter().collect();
        sent.sort_by_key(|sent| sent.time);
        let ballots = ballots(record, &sent);
        let place = |ballot: Ballot| ballots.iter().position(|one| *one == ballot);
        let bands = bands(record, &place);
        let fans = fans(&sent, wish, &bands, &place);
        let mut chips = chips(record, &sent, &place);
        chips.retain(|chip| {
            wish.covers(chip.time) && (chip.knows == Knows::Told || wish.wants(&chip.spans))
        });
        let mut story = story::told(record, &sent, ending);
        story.retain(|sentence| wish.covers(sentence.time));
        let heart =
            |sent: &&&Sent| matches!(sent.message, Some(Message::Heartbeat(_))) && !sent.is_noise;
        let beats = sent.iter().filter(heart).filter_map(|sent| Some((sent.time, sent.from?)));
        let beats = beats.filter(|(time, _)| wish.covers(*time)).collect();
        let mut scene = Scene { nodes: record.nodes(), ballots, fans, chips, bands, story, beats };
        let is_seen = |node: &NodeId| {
            let draws = |fan: &Fan| fan.from == *node || fan.copies.iter().any(|it| it.to == *node);
            scene.fans.iter().any(draws)
                || scene.chips.iter().any(|chip| chip.node == *node)
                || scene.story.iter().any(|sentence| sentence.node == Some(*node))
        };
        scene.nodes = scene.nodes.iter().copied().filter(is_seen).collect();
        scene
    }

    /// The state of a proposer's office at a moment: the ballot it leads with.
    pub fn ballot_name(&self, place: usize) -> String {
        self.ballots.get(place).map_or_else(String::new, Ballot::to_string)
    }
}

/// Every ballot that was used, in the order of first use.
fn ballots(record: &Record, sent: &[&Sent]) -> Vec<Ballot> {
    let mut first: BTreeMap<Ballot, Time> = BTreeMap::new();
    let said =
        sent.iter().filter_map(|sent| Some((words::ballot(sent.message.as_ref()?)?, sent.time)));
    let believed = record.events.iter().filter_map(|event| match &event.what {
        What::Leads(_, ballot) => Some((*ballot, event.time)),
        What::Believes(_, Belief::Acceptor { promised }) => Some((*promised, event.time)),
        _ => None,
    });
    for (ballot, time) in said.chain(believed).filter(|(ballot, _)| *ballot != Ballot::ZERO) {
        let known = first.entry(ballot).or_insert(time);
        *known = time.min(*known);
    }
    let mut ballots: Vec<(Time, Ballot)> = first.into_iter().map(|(b, time)| (time, b)).collect();
    ballots.sort_unstable();
    ballots.into_iter().map(|(_, ballot)| ballot).collect()
}

fn bands(record: &Record, place: &impl Fn(Ballot) -> Option<usize>) -> Vec<Band> {
    let mut bands: Vec<Band> = Vec::new();
    // The band of each process that is open: of its office or promise, of its life, of its links.
    let mut open: BTreeMap<(NodeId, u8), usize> = BTreeMap::new();
    let (office, life, links) = (0, 1, 2);
    let mut set =
        |bands: &mut Vec<Band>, node: NodeId, which: u8, time: Time, is: Option<State>| {
            if let Some(band) = open.get(&(node, which)).and_then(|at| bands.get_mut(*at)) {
                if Some(band.is) == is && band.until.is_none() {
                    return;
                }
                band.until = Some(band.until.unwrap_or(time));
            }
            open.remove(&(node, which));
            if let Some(is) = is {
                open.insert((node, which), bands.len());
                bands.push(Band { node, from: time, until: None, is });
            }
        };
    for event in &record.events {
        let time = event.time;
        match &event.what {
            What::Starts(node) => {
                if time > Time::ZERO && !bands.iter().any(|band| band.node == *node) {
                    set(&mut bands, *node, life, Time::ZERO, Some(State::Dead));
                }
                set(&mut bands, *node, life, time, None);
            }
            What::Dies(node) => {
                set(&mut bands, *node, office, time, None);
                set(&mut bands, *node, life, time, Some(State::Dead));
            }
            What::Sleeps(node, until) => {
                bands.push(Band { node: *node, from: time, until: Some(*until), is: State::Asleep })
            }
            What::Fault(Fault::Cut { pairs, .. }) => {
                if let Some(node) = cut_off(pairs) {
                    set(&mut bands, node, links, time, Some(State::CutOff));
                }
            }
            What::Fault(Fault::Heal) | What::Heals => {
                for node in record.nodes() {
                    set(&mut bands, node, links, time, None);
                }
            }
            What::Believes(node, Belief::Proposer { standing, ballot, .. }) => {
                let state = match standing {
                    Standing::Leads => place(*ballot).map(State::Leads),
                    Standing::Campaigns => place(*ballot).map(State::Campaigns),
                    Standing::Stands | Standing::Abstains => None,
                };
                set(&mut bands, *node, office, time, state);
            }
            What::Believes(node, Belief::Acceptor { promised }) => {
                set(&mut bands, *node, office, time, place(*promised).map(State::Promised));
            }
            _ => {}
        }
    }
    bands
}

/// The process that is on every link of these, if there is one and it has lost both directions.
pub fn cut_off(pairs: &[(NodeId, NodeId)]) -> Option<NodeId> {
    let (first, second) = *pairs.first()?;
    let is_in_all = |node: &NodeId| pairs.iter().all(|(from, to)| from == node || to == node);
    let both = |node: &NodeId| {
        pairs.iter().any(|it| it.0 == *node) && pairs.iter().any(|it| it.1 == *node)
    };
    let found = [first, second].into_iter().find(|node| is_in_all(node) && both(node));
    found.filter(|_| pairs.len() > 2)
}

fn fans<'a>(
    sent: &[&'a Sent],
    wish: &Wish,
    bands: &[Band],
    place: &impl Fn(Ballot) -> Option<usize>,
) -> Vec<Fan<'a>> {
    let mut fans: Vec<Fan<'a>> = Vec::new();
    for sent in sent {
        let (Some(message), Some(from)) = (&sent.message, sent.from) else { continue };
        let is_wanted = wish.shows(message.kind()) && wish.covers(sent.time);
        if !is_wanted || !wish.wants(&words::instances(message)) && wish.instances.is_some() {
            continue;
        }
        let copies = drawn(sent, message, wish);
        if copies.is_empty() {
            continue;
        }
        let same = |fan: &&mut Fan| (fan.from, fan.message) == (from, message);
        if let Some(fan) = fans.iter_mut().rev().take_while(|fan| fan.time == sent.time).find(same)
            && !sent.is_noise
        {
            fan.copies.extend(copies);
            if !is_unread(&fan.copies) && !wish.all && words::asker(message).is_none() {
                fan.copies.retain(|copy| !is_silent(copy.fate));
            }
            continue;
        }
        // An acknowledgement belongs to the role of its sender.
        let own = || {
            bands.iter().rev().find(|band| {
                let is_then =
                    band.from <= sent.time && band.until.is_none_or(|until| sent.time <= until);
                band.node == from && is_then && matches!(band.is, State::Leads(_))
            })
        };
        let ballot = words::ballot(message).and_then(place).or_else(|| match own()?.is {
            State::Leads(place) if from.role == Role::Proposer => Some(place),
            _ => None,
        });
        if let Some(fan) = fans.last_mut()
            && fan.from == from
            && fan.message == message
            && !fan.is_noise
            && is_unread(&fan.copies)
            && is_unread(&copies)
            && fates(&fan.copies) == fates(&copies)
        {
            let count = fan.repeated.map_or(1, |(_, count)| count);
            fan.repeated = Some((sent.time, count + 1));
            continue;
        }
        let (time, is_noise) = (sent.time, sent.is_noise);
        fans.push(Fan { time, from, message, ballot, copies, repeated: None, is_noise });
    }
    fans
}

fn is_unread(copies: &[Passage]) -> bool {
    copies.iter().all(|copy| copy.fate != Fate::Read)
}

/// Whether a copy that ends so is no loss.
fn is_silent(fate: Fate) -> bool {
    matches!(fate, Fate::Underway | Fate::OfNoUse | Fate::Dead)
}

fn fates(copies: &[Passage]) -> Vec<(NodeId, Fate)> {
    copies.iter().map(|copy| (copy.to, copy.fate)).collect()
}

/// The copies that are drawn: those that are of use, or are lost, to their addressees; the others
/// only when nobody read any of them.
fn drawn(sent: &Sent, message: &Message, wish: &Wish) -> Vec<Passage> {
    let asker = words::asker(message).map(|id| NodeId::new(Role::Proposer, id));
    let is_heard = !is_unread(&sent.copies);
    let is_drawn = |copy: &&Passage| match copy.fate {
        _ if wish.all => true,
        Fate::Read => true,
        silent if is_silent(silent) => asker.map_or(!is_heard, |asker| asker == copy.to),
        _ => asker.is_none_or(|asker| asker == copy.to),
    };
    let is_drawn = |copy: &&Passage| is_drawn(copy) && (!sent.is_noise || copy.fate == Fate::Read);
    sent.copies.iter().filter(is_drawn).copied().collect()
}

fn chips(record: &Record, sent: &[&Sent], place: &impl Fn(Ballot) -> Option<usize>) -> Vec<Chip> {
    let mut found: BTreeMap<(Time, NodeId, u8), (Knows, Vec<Span>)> = BTreeMap::new();
    let mut add = |time: Time, node: NodeId, knows: Knows, spans: Vec<Span>| {
        let order = match knows {
            Knows::Accepted(place) => 2 + place.unwrap_or(0).min(200) as u8,
            Knows::Learned => 0,
            Knows::Told => 1,
        };
        found.entry((time, node, order)).or_insert((knows, Vec::new())).1.extend(spans);
    };
    for event in &record.events {
        if let What::Learns(node, run) = &event.what {
            add(event.time, *node, Knows::Learned, words::joined([*run]));
        }
    }
    // What each client had been told before.
    let mut told: BTreeMap<(NodeId, u64), BTreeSet<u64>> = BTreeMap::new();
    let reads = sent.iter().flat_map(|sent| sent.copies.iter().map(move |copy| (sent, copy)));
    let mut reads: Vec<_> = reads.filter(|(_, copy)| copy.fate == Fate::Read).collect();
    reads.sort_by_key(|(_, copy)| copy.time);
    for (sent, copy) in reads {
        match &sent.message {
            Some(Message::Decide(_)) if copy.to.role == Role::Proposer => {
                let spans = sent.message.as_ref().map(words::instances).unwrap_or_default();
                add(copy.time, copy.to, Knows::Learned, spans);
            }
            Some(Message::RequestAck(ack)) => {
                let mine = ack.told.iter().filter(|told| told.session.client == copy.to.id);
                for one in mine {
                    let known = told.entry((copy.to, one.session.boot)).or_default();
                    let runs = one.delivered.iter().flat_map(|run| run.iter());
                    let news: Vec<Span> =
                        runs.filter(|it| known.insert(it.0)).map(|it| (it.0, it.0)).collect();
                    if !news.is_empty() {
                        add(copy.time, copy.to, Knows::Told, news);
                    }
                }
            }
            _ => {}
        }
    }
    for sent in sent.iter().filter(|sent| !sent.is_noise) {
        if let (Some(message @ Message::Accepted(accepted)), Some(from)) =
            (&sent.message, sent.from)
        {
            let knows = Knows::Accepted(place(accepted.ballot));
            add(sent.time, from, knows, words::instances(message));
        }
    }
    let chip = |((time, node, _), (knows, spans)): ((Time, NodeId, u8), (Knows, Vec<Span>))| Chip {
        time,
        node,
        knows,
        spans: merged(spans),
    };
    found.into_iter().map(chip).collect()
}

/// Spans in order, without overlaps.
fn merged(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_unstable();
    let mut merged: Vec<Span> = Vec::new();
    for (first, last) in spans {
        match merged.last_mut() {
            Some(end) if first <= end.1.saturating_add(1) => end.1 = end.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    merged
}
