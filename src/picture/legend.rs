//! What the symbols of a diagram mean: only those that occur in it.

use std::collections::BTreeSet;

use super::diagram::{pill, square, ticked};
use super::labels::Rect;
use super::scene::{Knows, Scene, State};
use super::svg::{Px, Style, Svg};
use super::words::LABEL;
use crate::protocol::message::{Kind, Message};
use crate::sim::record::Fate;

/// How far apart two lines are.
const LINE: f64 = 22.0;

/// How many ballots are named, at most.
const BALLOTS_MAX: usize = 6;

#[derive(Clone, Copy)]
enum Symbol {
    Arrow(&'static str, &'static str),
    Cross(&'static str),
    DoubleBar,
    Bar,
    Heart,
    Gap,
    Campaign,
    Lead,
    Promise,
    Report,
    Vote,
    Pill,
    Told,
    Ballot(usize),
    Dead,
    Asleep,
    CutOff,
}

/// Draws it at its place, so wide. Returns how high it is.
pub fn draw(svg: &mut Svg, scene: &Scene<'_>, (left, top): (f64, f64), width: f64) -> f64 {
    svg.line("rule", (left, top - 6.0), (left + width, top - 6.0));
    let columns = columns(scene);
    let shares = [0.0, 0.205, 0.415, 0.61, 0.845];
    for (column, share) in columns.iter().zip(shares) {
        for (row, (symbol, text)) in column.iter().enumerate() {
            let (x, y) = (left + width * share, top + 16.0 + LINE * row as f64);
            put(svg, *symbol, (x, y));
            let style = Style::plain(LABEL).class("muted");
            svg.text((x + 43.0, y + 4.0), style, text);
        }
    }
    let rows = columns.iter().map(Vec::len).max().unwrap_or(0);
    LINE * rows as f64 + 22.0
}

fn columns(scene: &Scene<'_>) -> [Vec<(Symbol, String)>; 5] {
    let kinds: BTreeSet<Kind> = scene.fans.iter().map(|fan| fan.message.kind()).collect();
    let copies = || scene.fans.iter().flat_map(|fan| &fan.copies);
    let has = |fate: Fate| copies().any(|copy| copy.fate == fate);
    let sends = |some: &[Kind]| some.iter().any(|kind| kinds.contains(kind));
    let is = |state: fn(State) -> bool| scene.bands.iter().any(|band| state(band.is));
    let knows = |some: fn(Knows) -> bool| scene.chips.iter().any(|chip| some(chip.knows));
    let is_reported = |message: &Message| match message {
        Message::Promise(promise) => !promise.accepted.is_empty(),
        _ => false,
    };
    let reports = scene.fans.iter().any(|fan| is_reported(fan.message));
    let rows = |rows: Vec<(bool, Symbol, &str)>| -> Vec<(Symbol, String)> {
        let occurs = rows.into_iter().filter(|(occurs, _, _)| *occurs);
        occurs.map(|(_, symbol, text)| (symbol, text.to_owned())).collect()
    };
    use Symbol::{Arrow, Cross};
    let catch_up = [Kind::CatchUpRequest, Kind::CatchUpReply, Kind::Nack, Kind::Disown];
    [
        rows(vec![
            (
                sends(&[Kind::Prepare, Kind::Promise]),
                Arrow("s0 dash", "f0"),
                "phase 1: Prepare, Promise",
            ),
            (
                sends(&[Kind::Accept, Kind::Accepted]),
                Arrow("s0", "f0"),
                "phase 2: Accept, Accepted",
            ),
            (sends(&[Kind::Chosen, Kind::Decide]), Arrow("s0 thick", "f0"), "Chosen, Decide"),
            (
                sends(&[Kind::Request, Kind::RequestAck]),
                Arrow("c thin", "cf"),
                "Request, and its answer",
            ),
            (sends(&catch_up), Arrow("c", "cf"), "others, by their names"),
            (
                sends(&[Kind::DecideAck, Kind::Durable, Kind::Heartbeat, Kind::Echo]),
                Arrow("c dot thin", "cf"),
                "what is held; signs of life",
            ),
        ]),
        rows(vec![
            (has(Fate::Lost), Cross("s0"), "lost on the way"),
            (
                has(Fate::Cut) || has(Fate::TooLong) || has(Fate::Filtered),
                Symbol::DoubleBar,
                "cut, too long, or filtered",
            ),
            (
                has(Fate::Dead) || has(Fate::InboxFull),
                Cross("c faint"),
                "to a dead process, or a full inbox",
            ),
            (has(Fate::OfNoUse) || has(Fate::Underway), Symbol::Bar, "arrives, and is of no use"),
            (!scene.beats.is_empty(), Symbol::Heart, "heartbeats, not drawn"),
            (true, Symbol::Gap, "time in which nothing is drawn"),
        ]),
        rows(vec![
            (is(|state| matches!(state, State::Campaigns(_))), Symbol::Campaign, "campaigns"),
            (is(|state| matches!(state, State::Leads(_))), Symbol::Lead, "leads"),
            (
                is(|state| matches!(state, State::Promised(_))),
                Symbol::Promise,
                "has promised this ballot",
            ),
            (reports, Symbol::Report, "reports 7, accepted in that ballot"),
            (is(|state| state == State::Asleep), Symbol::Asleep, "sleeps, or waits for its disk"),
        ]),
        rows(vec![
            (
                knows(|it| matches!(it, Knows::Accepted(_))),
                Symbol::Vote,
                "accepted instance 7, and stored it",
            ),
            (knows(|it| it == Knows::Learned), Symbol::Pill, "learned that 7 is decided"),
            (knows(|it| it == Knows::Told), Symbol::Told, "knows that its value #7 is decided"),
            (is(|state| state == State::Dead), Symbol::Dead, "is dead"),
            (is(|state| state == State::CutOff), Symbol::CutOff, "is cut off from all others"),
        ]),
        scene
            .ballots
            .iter()
            .enumerate()
            .take(BALLOTS_MAX)
            .map(|(place, ballot)| (Symbol::Ballot(place), format!("ballot {ballot}")))
            .collect(),
    ]
}

fn put(svg: &mut Svg, symbol: Symbol, (x, y): (f64, f64)) {
    match symbol {
        Symbol::Arrow(line, head) => {
            svg.line(&format!("a {line}"), (x, y), (x + 26.0, y));
            svg.level_head(head, (x + 34.0, y), true);
        }
        Symbol::Cross(class) => {
            svg.line(&format!("a {class}"), (x, y), (x + 20.0, y));
            svg.cross(&format!("end {class}"), (x + 28.0, y), 3.6);
        }
        Symbol::DoubleBar => {
            svg.line("a s0", (x, y), (x + 20.0, y));
            svg.line("end s0", (x + 25.0, y - 5.0), (x + 25.0, y + 5.0));
            svg.line("end s0", (x + 30.0, y - 5.0), (x + 30.0, y + 5.0));
        }
        Symbol::Bar => {
            svg.line("a c faint", (x, y), (x + 30.0, y));
            svg.line("end c faint", (x + 31.0, y - 5.0), (x + 31.0, y + 5.0));
        }
        Symbol::Heart => {
            svg.heart((x + 10.0, y));
            svg.text((x + 18.0, y + 4.0), Style::plain(10.0).class("muted"), "×n");
        }
        Symbol::Gap => svg.rect("gap", (x, y - 8.0), (34.0, 16.0), 3.0),
        Symbol::Campaign => {
            let [left, top] = [x + 10.0, y - 8.0].map(Px);
            svg.add(format_args!(
                "<rect fill=\"url(#h0)\" x=\"{left}\" y=\"{top}\" width=\"14\" height=\"16\"/>"
            ));
            svg.rect("rim s0", (x + 10.0, y - 8.0), (14.0, 16.0), 0.0);
        }
        Symbol::Lead => svg.rect("f0", (x + 10.0, y - 8.0), (14.0, 16.0), 0.0),
        Symbol::Promise => svg.rect("f0", (x + 14.8, y - 8.0), (4.4, 16.0), 0.0),
        Symbol::Report => {
            svg.line("a s1 dash", (x + 6.0, y), (x + 34.0, y));
            svg.level_head("f1", (x, y), false);
            svg.rect("page", (x + 11.0, y - 8.0), (17.0, 16.0), 0.0);
            square(svg, Rect::around(x + 19.5, y, 13.0, 14.0), "7", 0, 9.5);
        }
        Symbol::Vote => square(svg, Rect::around(x + 17.0, y, 17.0, 16.0), "7", 0, LABEL),
        Symbol::Pill => pill(svg, (x + 17.0, y), 17.0, "7"),
        Symbol::Told => ticked(svg, (x + 17.0, y), 32.0, "7"),
        Symbol::Ballot(place) => {
            let rect = Rect::around(x + 17.0, y, 17.0, 16.0);
            square(svg, rect, "7", place, LABEL);
        }
        Symbol::Dead => svg.cross("x", (x + 17.0, y), 5.0),
        Symbol::Asleep => svg.rect("asleep", (x + 12.0, y - 8.0), (10.0, 16.0), 3.0),
        Symbol::CutOff => svg.rect("cutoff faint", (x + 5.0, y - 8.0), (24.0, 16.0), 0.0),
    }
}
