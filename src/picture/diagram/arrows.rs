//! How is a message drawn?
//!
//! As an arrow to each process that read it, as a line that ends early where a copy was lost, and
//! with its words on the line or beside its sender.

use super::{COLOUR_FILL, COLOUR_STROKE, COLOUR_TEXT, Drawing, PITCH};
use crate::picture::labels::{Label, Lies, Rect};
use crate::picture::layout::ROW;
use crate::picture::scene::Fan;
use crate::picture::style::colour;
use crate::picture::words::{self, LABEL};
use crate::protocol::message::{Kind, Message};
use crate::protocol::types::{Role, Time};
use crate::sim::record::{Fate, Passage};

/// A message's colours and its line.
struct Ink {
    stroke: &'static str,
    fill: &'static str,
    text: &'static str,
    line: &'static str,
}

impl Ink {
    fn of(fan: &Fan<'_>) -> Self {
        let (stroke, fill, text) = match fan.ballot.map(colour) {
            Some(place) => (COLOUR_STROKE[place], COLOUR_FILL[place], COLOUR_TEXT[place]),
            None => ("c", "cf", "muted"),
        };
        let line = match fan.message.kind() {
            Kind::Prepare | Kind::Promise => " dash",
            Kind::DecideAck | Kind::Durable | Kind::Heartbeat | Kind::Echo => " dot thin",
            Kind::Chosen | Kind::Decide => " thick",
            Kind::Request | Kind::RequestAck | Kind::Plea | Kind::Offer => " thin",
            _ => "",
        };
        Ink { stroke, fill, text, line }
    }
}

impl Drawing<'_> {
    pub(super) fn arrows(&mut self) {
        let scene = self.scene;
        for (fan, row) in scene.fans.iter().zip(self.layout.rows.clone()) {
            let Some(x) = self.lane(fan.from) else { continue };
            let from = (x, self.layout.y(fan.time) + ROW * row as f64);
            let ink = Ink::of(fan);
            let mut ends = Vec::new();
            for copy in &fan.copies {
                let Some(to) = self.lane(copy.to) else { continue };
                let end = if fan.is_noise {
                    self.noise(fan, copy, to, &ink)
                } else if copy.fate == Fate::Read {
                    self.arrow(fan, copy, from, to, &ink)
                } else {
                    self.broken(fan, copy, from, to, &ink)
                };
                ends.push((copy, to, end));
            }
            if !fan.is_noise {
                self.word(fan, from, &ends, &ink);
            }
        }
    }

    fn start(&self, fan: &Fan<'_>, from: (f64, f64), side: f64) -> f64 {
        from.0 + side * if fan.from.role == Role::Proposer { 8.0 } else { 4.0 }
    }

    /// An arrow to the process that read it. Returns the point at which it is read.
    fn arrow(
        &mut self,
        fan: &Fan<'_>,
        copy: &Passage,
        from: (f64, f64),
        to: f64,
        ink: &Ink,
    ) -> f64 {
        let side = if to > from.0 { 1.0 } else { -1.0 };
        let (start, y) = (self.start(fan, from, side), self.layout.y(copy.time));
        let chip = self.chip_at(copy.time, copy.to);
        let room = match copy.to.role {
            _ if chip > 0.0 && matches!(fan.message.kind(), Kind::Accept | Kind::Decide) => {
                chip + 1.5
            }
            Role::Proposer => 9.0,
            _ => 4.0,
        };
        let tip = (to - side * room, y);
        let angle = (y - from.1).atan2(tip.0 - start);
        let end = (tip.0 - 6.0 * angle.cos(), y - 6.0 * angle.sin());
        self.svg.line(&format!("a {}{}", ink.stroke, ink.line), (start, from.1), end);
        self.svg.head(ink.fill, tip, angle);
        self.ground.taken.push(Rect::around(tip.0 - 5.0 * side, y, 10.0, 12.0));
        y
    }

    /// A line to a process that never read it. Returns the point at which it would have been read.
    fn broken(
        &mut self,
        fan: &Fan<'_>,
        copy: &Passage,
        from: (f64, f64),
        to: f64,
        ink: &Ink,
    ) -> f64 {
        let side = if to > from.0 { 1.0 } else { -1.0 };
        let start = self.start(fan, from, side);
        let line = format!("a {}{}", ink.stroke, ink.line);
        let distance = (to - from.0).abs();
        match copy.fate {
            Fate::Lost | Fate::Cut | Fate::TooLong | Fate::Filtered => {
                let would = from.1
                    + (self.layout.would_be(fan.time, Time(fan.time.0 + 55))
                        - self.layout.y(fan.time))
                    .max(14.0);
                let at = |share: f64| {
                    (from.0 + (to - from.0) * share, from.1 + (would - from.1) * share)
                };
                let shares: &[f64] =
                    if distance < 1.5 * PITCH { &[0.6, 0.5] } else { &[0.45, 0.4, 0.35, 0.55] };
                let is_free = |share: &&f64| {
                    let (x, y) = at(**share);
                    self.ground.allows(&Rect::around(x, y, 12.0, 12.0))
                };
                let (x, y) = at(*shares.iter().find(is_free).unwrap_or(&shares[0]));
                let back = 8.0 / (x - from.0).abs();
                let end = (x - side * 8.0, y - (y - from.1) * back);
                self.svg.line(&line, (start, from.1), end);
                let class = format!("end {}", ink.stroke);
                let word = if copy.fate == Fate::Lost {
                    self.svg.cross(&class, (x, y), 3.6);
                    "lost"
                } else {
                    for x in [x - 2.5, x + 2.5] {
                        self.svg.line(&class, (x, y - 5.0), (x, y + 5.0));
                    }
                    "cut"
                };
                self.ground.taken.push(Rect::around(x, y, 12.0, 12.0));
                self.labels.push(Label {
                    places: vec![(x + side * 8.0, y + 3.6)],
                    lies: if side > 0.0 { Lies::After } else { Lies::Before },
                    text: word.to_owned(),
                    size: 9.5,
                    class: ink.text,
                    reports: Vec::new(),
                    is_optional: true,
                });
                would
            }
            _ => {
                let x = to - side * 13.0;
                let y = if is_written_on_line(fan.message) {
                    self.layout.would_be(fan.time, Time(fan.time.0 + 45)).max(from.1 + 12.0)
                } else {
                    from.1 + 14.0 * distance / PITCH
                };
                self.svg.line(&format!("{line} faint"), (start, from.1), (x, y));
                let class = format!("end {} faint", ink.stroke);
                match copy.fate {
                    Fate::Dead | Fate::InboxFull => {
                        self.svg.cross(&class, (x + side * 4.0, y), 3.6)
                    }
                    _ => self.svg.line(&class, (x, y - 5.0), (x, y + 5.0)),
                }
                y
            }
        }
    }

    /// A datagram from the past comes from nowhere.
    fn noise(&mut self, fan: &Fan<'_>, copy: &Passage, to: f64, ink: &Ink) -> f64 {
        let y = self.layout.y(copy.time);
        self.svg.line(&format!("a {} dot", ink.stroke), (to - 50.0, y), (to - 16.0, y));
        self.svg.level_head(ink.fill, (to - 9.0, y), true);
        let text = format!("again: {}", words::label(fan.message, 90.0));
        self.labels.push(Label {
            places: vec![(to - 52.0, y + 3.6)],
            lies: Lies::Before,
            text: words::cut(&text, 9.5, PITCH - 24.0),
            size: 9.5,
            class: ink.text,
            reports: Vec::new(),
            is_optional: true,
        });
        y
    }

    /// The words of a message.
    fn word(&mut self, fan: &Fan<'_>, from: (f64, f64), ends: &[(&Passage, f64, f64)], ink: &Ink) {
        let Some((copy, to, end)) = ends.first().copied() else { return };
        let mut text = words::cut(&words::label(fan.message, PITCH - 24.0), LABEL, 1.7 * PITCH);
        if let Some((_, count)) = fan.repeated {
            text.push_str(&format!(" ×{count}"));
        }
        let (class, size, is_optional) = (ink.text, LABEL, false);
        if is_written_on_line(fan.message) {
            if matches!(copy.fate, Fate::OfNoUse | Fate::Dead | Fate::Underway) {
                return;
            }
            let cells = (to - from.0).abs() / PITCH;
            let is_short = copy.fate != Fate::Read && cells < 1.5;
            // The first cell is best: there it is plain whose message it is.
            let near: &[f64] =
                if is_short { &[0.36, 0.40] } else { &[0.52, 0.44, 0.60, 0.36, 0.70] };
            let drawn = if copy.fate == Fate::Read { cells - 0.4 } else { cells * 0.4 };
            let far = (0..60).map(|step| 0.75 + 0.1 * f64::from(step));
            let shares = near.iter().copied().chain(far.take_while(|share| *share <= drawn));
            let on_line = shares.map(|share| {
                let along = share / cells;
                (from.0 + (to - from.0) * along, from.1 + (end - from.1) * along + 3.6)
            });
            let on_line: Vec<(f64, f64)> = on_line.collect();
            let beside = |shift: f64| on_line.iter().map(move |(x, y)| (*x, y + shift));
            let places = beside(0.0).chain(beside(-9.0)).chain(beside(9.0));
            let reports = match fan.message {
                Message::Promise(promise) => words::reported(promise),
                _ => Vec::new(),
            };
            let place = |ballot| self.scene.ballots.iter().position(|one| *one == ballot);
            let reports =
                reports.into_iter().filter_map(|(span, ballot)| Some((span, place(ballot)?)));
            let reports = reports.take(3).collect();
            let (places, lies) = (places.collect(), Lies::Around);
            self.labels.push(Label { places, lies, text, size, class, reports, is_optional });
        } else {
            let right = ends.iter().filter(|(_, to, _)| *to > from.0).count();
            let side = if 2 * right >= ends.len() { 1.0 } else { -1.0 };
            let lies = if side > 0.0 { Lies::After } else { Lies::Before };
            let x = from.0 + side * 11.0;
            // Beside its sender, above or below the line; else on the other side, or further on.
            let across = x - side * (words::width(&text, size) + 22.0);
            let heights = [-4.5, 12.5, -9.0];
            let xs = [x, across, x + side * 40.0, x + side * 80.0, x + side * 120.0];
            let places = xs.iter().flat_map(|x| heights.map(|height| (*x, from.1 + height)));
            let (places, reports) = (places.collect(), Vec::new());
            self.labels.push(Label { places, lies, text, size, class, reports, is_optional });
        }
        if let Some((last, _)) = fan.repeated {
            self.labels.push(Label {
                places: vec![(from.0 - 10.0, from.1 + 4.0)],
                lies: Lies::Before,
                text: format!("until {:.0} ms", last.0 as f64 / 1e3),
                size: 9.5,
                class: "muted",
                reports: Vec::new(),
                is_optional: false,
            });
        }
    }
}

/// Where the words of a message stand.
fn is_written_on_line(message: &Message) -> bool {
    matches!(message.kind(), Kind::Promise | Kind::Accepted | Kind::Nack)
}
