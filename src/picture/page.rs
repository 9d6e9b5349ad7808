//! One page to step through a run: a file that needs no network, and runs no script but its own.
//!
//! What happened is in the page as JSON that no text in it can end; the policy in its head allows
//! one script and one style sheet, by their hashes, and nothing else.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Caption;
use super::layout::Layout;
use super::scene::{Knows, Scene, State, Wish};
use super::svg::Escaped;
use super::words;
use crate::protocol::message::{Kind, Standing};
use crate::protocol::types::{Ballot, NodeId, Role};
use crate::sim::record::{Belief, Fate, Record, Sent, What};

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// How long the full text of a message is, at most.
const TEXT_LETTERS: usize = 120;

/// How many moments the script's self-test compares, about.
const CHECKED: usize = 300;

/// The page of a run.
pub fn page(record: &Record, caption: &Caption) -> String {
    let scene = Scene::new(record, &Wish::default(), &caption.ending);
    let data = Data::new(record, &scene).json(record);
    let policy =
        format!("default-src 'none'; script-src {}; style-src {}", allowed(SCRIPT), allowed(STYLE));
    let story: Vec<String> =
        scene.story.iter().map(|it| format!("<p>{}</p>", Escaped(&it.text))).collect();
    let hash = caption.hash.map(|hash| format!("; trace hash {hash:016x}")).unwrap_or_default();
    let parts = [
        ("POLICY", policy),
        ("TITLE", Escaped(&caption.title).to_string()),
        ("STYLE", STYLE.to_owned()),
        ("RESULT", Escaped(&format!("{}{hash}", caption.result)).to_string()),
        ("COMMAND", Escaped(&caption.command).to_string()),
        ("STORY", story.concat()),
        // Last, so that no text of a run is taken for a place of the page.
        ("DATA", data),
        ("SCRIPT", SCRIPT.to_owned()),
    ];
    filled(PAGE, &parts)
}

/// A page with its parts in their places; the content of a part is not searched for further places.
fn filled(page: &str, parts: &[(&str, String)]) -> String {
    let mut pieces = page.split('@');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        match parts.iter().find(|(name, _)| *name == piece) {
            Some((_, part)) => text.push_str(part),
            None => text.push_str(piece),
        }
    }
    text
}

/// Everything the script gets, with numbers for names.
struct Data<'a> {
    scene: &'a Scene<'a>,
    nodes: Vec<NodeId>,
    words: Vec<String>,
    places: BTreeMap<String, usize>,
}

impl<'a> Data<'a> {
    fn new(record: &Record, scene: &'a Scene<'a>) -> Self {
        Data { scene, nodes: record.nodes(), words: Vec::new(), places: BTreeMap::new() }
    }

    fn node(&self, node: NodeId) -> Value {
        self.nodes.binary_search(&node).map_or(json!(-1), |place| json!(place))
    }

    fn ballot(&self, ballot: Ballot) -> Value {
        let place = self.scene.ballots.iter().position(|one| *one == ballot);
        place.map_or(json!(-1), |place| json!(place))
    }

    fn word(&mut self, text: String) -> usize {
        let next = self.words.len();
        let place = *self.places.entry(text.clone()).or_insert(next);
        if place == next {
            self.words.push(text);
        }
        place
    }

    fn json(mut self, record: &Record) -> String {
        let mut sent: Vec<&Sent> = record.messages.iter().collect();
        sent.sort_by_key(|sent| sent.time);
        let messages: Vec<Value> = sent.iter().filter_map(|sent| self.message(sent)).collect();
        let kinds: Vec<String> = Kind::ALL.iter().map(|kind| format!("{kind:?}")).collect();
        let names: Vec<String> = self.nodes.iter().map(NodeId::to_string).collect();
        let roles: Vec<&str> = self.nodes.iter().map(|node| node.role.name()).collect();
        let ballots: Vec<String> = self.scene.ballots.iter().map(Ballot::to_string).collect();
        let data = json!({
            "nodes": names,
            "roles": roles,
            "ballots": ballots,
            "kinds": kinds,
            "fates": FATES.map(|fate| fate.to_string()),
            "m": messages,
            "words": self.words,
            "chips": self.chips(),
            "bands": self.bands(),
            "story": self.story(),
            "beliefs": self.beliefs(record),
            "chosen": self.chosen(record),
            "end": record.end.0,
            "cut": record.is_cut_short,
            "check": self.check(),
            "offset": super::layout::TOP - 26.0,
        });
        // Nothing in it can end the element it stands in, or begin a comment.
        data.to_string()
            .replace('<', "\\u003c")
            .replace('\u{2028}', "\\u2028")
            .replace('\u{2029}', "\\u2029")
    }

    /// `[time, from, kind, ballot, label, text, bytes, asker, noise, spans, reports, copies ...]`,
    /// where each copy is a receiver, a fate, and microseconds.
    fn message(&mut self, sent: &Sent) -> Option<Value> {
        let (message, from) = (sent.message.as_ref()?, sent.from?);
        let label = self.word(words::label(message, 400.0));
        let mut text: String = message.to_string().chars().take(TEXT_LETTERS).collect();
        if text.len() < message.to_string().len() {
            text.push('…');
        }
        let text = self.word(text);
        let kind = Kind::ALL.iter().position(|kind| *kind == message.kind())?;
        // Of several sessions, or as what: an answer has the ballot of the leader.
        let ballot = words::ballot(message).or_else(|| self.office(sent, from));
        let asker = words::asker(message).map(|id| self.node(NodeId::new(Role::Proposer, id)));
        let spans = words::instances(message);
        let spans = if spans.is_empty() { json!(0) } else { json!(spans) };
        let reports = match message {
            crate::protocol::message::Message::Promise(promise) => words::reported(promise),
            _ => Vec::new(),
        };
        let reports: Vec<Value> = reports
            .into_iter()
            .map(|(span, old)| json!([span.0, span.1, self.ballot(old)]))
            .collect();
        let reports = if reports.is_empty() { json!(0) } else { json!(reports) };
        let mut row = vec![
            json!(sent.time.0),
            self.node(from),
            json!(kind),
            ballot.map_or(json!(-1), |ballot| self.ballot(ballot)),
            json!(label),
            json!(text),
            json!(sent.bytes),
            asker.unwrap_or(json!(-1)),
            json!(u8::from(sent.is_noise)),
            spans,
            reports,
        ];
        for copy in &sent.copies {
            let fate = FATES.iter().position(|fate| *fate == copy.fate).unwrap_or(0);
            row.extend([
                self.node(copy.to),
                json!(fate),
                json!(copy.time.0.saturating_sub(sent.time.0)),
            ]);
        }
        Some(Value::Array(row))
    }

    /// The ballot with which a proposer leads when it sends.
    fn office(&self, sent: &Sent, from: NodeId) -> Option<Ballot> {
        let leads = self.scene.bands.iter().rev().find(|band| {
            let is_then =
                band.from <= sent.time && band.until.is_none_or(|until| sent.time <= until);
            band.node == from && is_then && matches!(band.is, State::Leads(_))
        })?;
        let State::Leads(place) = leads.is else { return None };
        self.scene.ballots.get(place).copied()
    }

    fn chips(&self) -> Vec<Value> {
        let chip = |chip: &super::scene::Chip| {
            let (what, ballot) = match chip.knows {
                Knows::Accepted(ballot) => (0, ballot.map_or(-1, |place| place as i64)),
                Knows::Learned => (1, -1),
                Knows::Told => (2, -1),
            };
            json!([chip.time.0, self.node(chip.node), what, ballot, chip.spans])
        };
        self.scene.chips.iter().map(chip).collect()
    }

    fn bands(&self) -> Vec<Value> {
        let band = |band: &super::scene::Band| {
            let (what, ballot) = match band.is {
                State::Campaigns(place) => (0, place as i64),
                State::Leads(place) => (1, place as i64),
                State::Promised(place) => (2, place as i64),
                State::Dead => (3, -1),
                State::Asleep => (4, -1),
                State::CutOff => (5, -1),
            };
            let until = band.until.map_or(-1, |until| until.0 as i64);
            json!([self.node(band.node), band.from.0, until, what, ballot])
        };
        self.scene.bands.iter().map(band).collect()
    }

    fn story(&self) -> Vec<Value> {
        let told = self.scene.story.iter();
        told.map(|it| {
            let node = it.node.map_or(json!(-1), |node| self.node(node));
            json!([it.time.0, node, it.text, it.topic as u8])
        })
        .collect()
    }

    fn beliefs(&self, record: &Record) -> Vec<Value> {
        let believed = record.events.iter().filter_map(|event| match &event.what {
            What::Believes(node, belief) => Some((event.time, *node, belief)),
            _ => None,
        });
        believed
            .map(|(time, node, belief)| {
                let what = match belief {
                    Belief::Proposer { standing, ballot, progress } => {
                        let office = match standing {
                            Standing::Leads => 0,
                            Standing::Campaigns => 1,
                            Standing::Stands => 2,
                            Standing::Abstains => 3,
                        };
                        json!([
                            office,
                            self.ballot(*ballot),
                            progress.watermark.0,
                            progress.decided
                        ])
                    }
                    Belief::Acceptor { promised } => json!([self.ballot(*promised)]),
                    Belief::Learner { leads, progress } => {
                        json!([u8::from(*leads), progress.watermark.0, progress.decided])
                    }
                    Belief::Client { leader, tally } => {
                        json!([self.ballot(*leader), tally.asked, tally.delivered, tally.lost])
                    }
                };
                json!([time.0, self.node(node), what])
            })
            .collect()
    }

    /// `[time, first, last, ballot, voters]`: neighbours that one vote chose are one row.
    fn chosen(&self, record: &Record) -> Vec<Value> {
        let mut rows: Vec<(u64, u64, u64, Ballot, String)> = Vec::new();
        for event in &record.events {
            let What::Chosen(chosen) = &event.what else { continue };
            let voters: Vec<String> = chosen.voters.iter().map(|id| format!("A{id}")).collect();
            let (time, instance, voters) = (event.time.0, chosen.instance.0, voters.join(" "));
            match rows.last_mut() {
                Some(row)
                    if (row.0, row.2 + 1, row.3, &row.4)
                        == (time, instance, chosen.ballot, &voters) =>
                {
                    row.2 = instance;
                }
                _ => rows.push((time, instance, instance, chosen.ballot, voters)),
            }
        }
        let row = |(time, first, last, ballot, voters)| {
            json!([time, first, last, self.ballot(ballot), voters])
        };
        rows.into_iter().map(row).collect()
    }

    /// Where this program would draw some moments, and how many there are: the script's self-test
    /// compares.
    fn check(&self) -> Vec<Value> {
        let layout = Layout::new(self.scene);
        let every = layout.ticks.len().div_ceil(CHECKED).max(1);
        let some = layout.ticks.iter().step_by(every);
        let some = some.map(|(time, y)| json!([time.0, (y * 10.0).round() as i64]));
        some.chain([json!([layout.ticks.len()])]).collect()
    }
}

/// The fates in the order of the script's numbers.
const FATES: [Fate; 9] = [
    Fate::Underway,
    Fate::Read,
    Fate::Lost,
    Fate::Cut,
    Fate::TooLong,
    Fate::Filtered,
    Fate::OfNoUse,
    Fate::InboxFull,
    Fate::Dead,
];

/// What a page's policy calls this one script or style sheet.
pub fn allowed(text: &str) -> String {
    format!("'sha256-{}'", base64(&Sha256::digest(text)))
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let all = three.iter().fold(0_u32, |all, byte| all << 8 | u32::from(*byte))
            << (8 * (3 - three.len()));
        for place in 0..4 {
            let letter = LETTERS[(all >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= three.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        let coded = ["", "f", "fo", "foo", "foob"].map(|text| base64(text.as_bytes()));
        assert_eq!(coded, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]);
    }

    #[test]
    fn parts_are_put_in_once() {
        let parts = [("A", "@B@".to_owned()), ("B", "x".to_owned())];
        assert_eq!(filled("<@A@|@B@>", &parts), "<@B@|x>");
    }
}
