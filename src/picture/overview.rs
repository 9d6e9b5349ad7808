//! A run of thousands of messages on one page: who led and when, what was decided, how long that
//! took, and what was lost. Here time runs to the right, and to scale.

use std::collections::BTreeMap;

use super::Caption;
use super::scene::{Scene, State};
use super::story::Topic;
use super::style::{colour, is_solid};
use super::svg::{Px, Style, Svg};
use super::words;
use crate::protocol::message::Message;
use crate::protocol::types::{NodeId, Role, Time};
use crate::sim::record::{Fate, Record, What};

const WIDTH: f64 = 1210.0;
const LEFT: f64 = 118.0;
const RIGHT: f64 = 1090.0;
const TOP: f64 = 100.0;

/// How many columns count datagrams.
const COLUMNS: u64 = 160;
/// How many values have a dot, and how many points a line, at most.
const POINTS_MAX: usize = 2000;

/// Draws it.
pub fn draw(record: &Record, scene: &Scene<'_>, caption: &Caption, hint: &str) -> String {
    let end = record.end.0.max(1);
    let mut overview = Overview { record, scene, svg: Svg::default(), end, y: TOP };
    overview.offices();
    overview.decided();
    overview.latency();
    overview.datagrams();
    overview.moments();
    overview.axis();
    let style = Style::plain(10.5).class("muted");
    overview.svg.text((22.0, overview.y + 22.0), style, hint);
    let height = overview.y + 40.0;
    let sentences = scene.story.iter().filter(|sentence| sentence.topic != Topic::Chosen);
    let sentences = sentences.map(|it| format!("At {}: {}", super::diagram::at(it.time), it.text));
    let description = sentences.take(40).collect::<Vec<_>>().join(" ");
    super::frame(overview.svg, caption, (WIDTH, height), &description)
}

struct Overview<'a> {
    record: &'a Record,
    scene: &'a Scene<'a>,
    svg: Svg,
    /// When the run ended, in microseconds; not zero.
    end: u64,
    /// Where the next panel begins.
    y: f64,
}

/// A panel's scale: where a value is.
struct Panel {
    top: f64,
    height: f64,
    least: f64,
    most: f64,
    is_log: bool,
}

impl Panel {
    fn y(&self, value: f64) -> f64 {
        let value = value.clamp(self.least, self.most);
        let share = if self.is_log {
            (value / self.least).log10() / (self.most / self.least).log10()
        } else {
            (value - self.least) / (self.most - self.least)
        };
        self.top + self.height * (1.0 - share)
    }
}

impl Overview<'_> {
    fn x(&self, time: Time) -> f64 {
        LEFT + (RIGHT - LEFT) * time.0.min(self.end) as f64 / self.end as f64
    }

    /// Who led, and what acceptors promised.
    fn offices(&mut self) {
        let nodes = self.record.nodes();
        let is_shown = |node: &&NodeId| matches!(node.role, Role::Proposer | Role::Acceptor);
        for node in nodes.iter().filter(is_shown) {
            let is_proposer = node.role == Role::Proposer;
            let style = Style::plain(11.5).end();
            let style = if is_proposer { style.bold() } else { style };
            self.svg.text((LEFT - 12.0, self.y + 11.0), style, &node.to_string());
            self.svg.line("life", (LEFT, self.y + 7.5), (RIGHT, self.y + 7.5));
            for band in self.scene.bands.iter().filter(|band| band.node == *node) {
                let from = self.x(band.from);
                let until = self.x(band.until.unwrap_or(Time(self.end)));
                self.office((from, until), band.is);
            }
            self.y += if is_proposer { 21.0 } else { 17.0 };
        }
    }

    fn office(&mut self, (from, until): (f64, f64), state: State) {
        let (y, width) = (self.y, (until - from).max(1.0));
        match state {
            State::Leads(ballot) => {
                self.svg.rect(&format!("f{}", colour(ballot)), (from, y), (width, 15.0), 2.0);
                let text = format!("leads {}", self.scene.ballot_name(ballot));
                if words::width(&text, 10.0) + 14.0 < width {
                    let style = Style::plain(10.0).class("chipt").bold();
                    self.svg.text((from + 7.0, y + 11.2), style, &text);
                }
            }
            State::Campaigns(ballot) => {
                let [x, y, width] = [from, y, width.max(2.0)].map(Px);
                self.svg.add(format_args!(
                    "<rect fill=\"url(#h{})\" x=\"{x}\" y=\"{y}\" width=\"{width}\" \
                     height=\"15\"/>",
                    colour(ballot)
                ));
            }
            State::Promised(ballot) if is_solid(ballot) => {
                let class = format!("f{}", colour(ballot));
                self.svg.rect(&class, (from, y + 5.0), (width, 5.0), 0.0);
            }
            State::Promised(ballot) => {
                self.svg.rect("page", (from, y + 4.0), (width, 7.0), 0.0);
                let class = format!("rail s{}", colour(ballot));
                self.svg.line(&class, (from, y + 5.2), (until, y + 5.2));
                self.svg.line(&class, (from, y + 9.8), (until, y + 9.8));
            }
            State::Dead => {
                self.svg.line("off", (from, y + 7.5), (until, y + 7.5));
                self.svg.line("gone", (from, y + 7.5), (until, y + 7.5));
                if from > LEFT {
                    self.svg.cross("x", (from, y + 7.5), 4.5);
                }
            }
            State::Asleep if width > 2.0 => {
                self.svg.rect("asleep", (from, y + 2.5), (width, 10.0), 3.0);
            }
            State::CutOff => self.svg.rect("cutoff faint", (from, y), (width, 15.0), 0.0),
            State::Asleep => {}
        }
    }

    fn panel(
        &mut self,
        (name, note): (&str, &str),
        height: f64,
        scale: Panel,
        ticks: &[(f64, String)],
    ) -> Panel {
        let panel = Panel { top: self.y + 26.0, height, ..scale };
        self.svg.text((LEFT - 12.0, panel.top + 9.0), Style::plain(11.5).end().bold(), name);
        let style = Style::plain(10.0).class("muted").end();
        self.svg.text((LEFT - 12.0, panel.top + 23.0), style, note);
        for (value, text) in ticks {
            let y = panel.y(*value);
            self.svg.line("rule", (LEFT, y), (RIGHT, y));
            let style = Style::plain(10.0).class("muted");
            self.svg.text((RIGHT + 7.0, y + 3.5), style, text);
        }
        self.y = panel.top + height;
        panel
    }

    /// What each learner knew to be decided.
    fn decided(&mut self) {
        let mut learned: BTreeMap<NodeId, Vec<(Time, u64)>> = BTreeMap::new();
        for event in &self.record.events {
            match event.what {
                What::Learns(node, run) => {
                    let line = learned.entry(node).or_default();
                    let before = line.last().map_or(0, |(_, count)| *count);
                    line.push((event.time, before + run.len()));
                }
                What::Starts(node) if node.role == Role::Learner => {
                    learned.entry(node).or_default().push((event.time, 0));
                }
                _ => {}
            }
        }
        let all = learned.values().flatten().map(|(_, count)| *count).max().unwrap_or(0).max(1);
        let ticks: Vec<(f64, String)> =
            [0, all / 2, all].iter().map(|it| (*it as f64, it.to_string())).collect();
        let scale = Panel { top: 0.0, height: 0.0, least: 0.0, most: all as f64, is_log: false };
        let panel = self.panel(("decided", "instances"), 110.0, scale, &ticks);
        for (place, (node, line)) in learned.iter().enumerate() {
            let class = if place == 0 { "plot" } else { "plot dash" };
            let x = LEFT + 6.0 + 62.0 * place as f64;
            self.svg.line(class, (x, panel.top + 10.5), (x + 15.0, panel.top + 10.5));
            let at = (x + 20.0, panel.top + 14.0);
            self.svg.text(at, Style::plain(10.0).bold(), &node.to_string());
            let mut data = String::new();
            let mut last = None;
            for (time, count) in thinned(line) {
                let [x, y] = [self.x(*time), panel.y(*count as f64)].map(Px);
                let step = if last.is_none() { format!("M{x} {y}") } else { format!("H{x}V{y}") };
                data.push_str(&step);
                last = Some(*count);
            }
            data.push_str(&format!("H{}", Px(RIGHT)));
            self.svg.path(class, format_args!("{data}"));
        }
    }

    /// From the first request of a value until its client knows that it is decided.
    fn latency(&mut self) {
        let mut latencies = latencies(self.record);
        if latencies.is_empty() {
            return;
        }
        let mut sorted: Vec<u64> = latencies.iter().map(|(_, length)| *length).collect();
        sorted.sort_unstable();
        let share = |permille: usize| sorted[((sorted.len() - 1) * permille).div_ceil(1000)];
        let most = 10_f64.powf((sorted[sorted.len() - 1].max(1001) as f64).log10().ceil());
        let mut ticks = Vec::new();
        let mut tick = 100.0;
        while tick <= most {
            ticks.push((tick, length(tick as u64)));
            tick *= 10.0;
        }
        let scale = Panel { top: 0.0, height: 0.0, least: 100.0, most, is_log: true };
        let panel = self.panel(("latency", "of a value"), 120.0, scale, &ticks);
        latencies.sort_unstable();
        for (time, length) in thinned(&latencies) {
            let [x, y] = [self.x(*time), panel.y(*length as f64)].map(Px);
            self.svg
                .add(format_args!("<circle class=\"f0 dots\" cx=\"{x}\" cy=\"{y}\" r=\"1.7\"/>"));
        }
        // At opposite ends, or they would meet when nearly all values take the same time.
        for (permille, name, is_left) in [(500, "p50", false), (990, "p99", true)] {
            let value = share(permille);
            let y = panel.y(value as f64);
            self.svg.line("level", (LEFT, y), (RIGHT, y));
            let text = format!("{name}  {}", length(value));
            let width = words::width(&text, 10.0) + 6.0;
            let x = if is_left { LEFT + 5.0 } else { RIGHT - width };
            self.svg.rect("bg", (x - 2.0, y - 13.0), (width, 12.0), 2.0);
            self.svg.text((x, y - 3.5), Style::plain(10.0).bold(), &text);
        }
    }

    /// Copies that were read or dropped by their receiver, and copies that were lost.
    fn datagrams(&mut self) {
        let bucket = (self.end / COLUMNS).max(1);
        let mut count: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        for sent in &self.record.messages {
            let all = count.entry(sent.time.0 / bucket).or_default();
            for copy in &sent.copies {
                all.0 += 1;
                all.1 += u64::from(matches!(
                    copy.fate,
                    Fate::Lost | Fate::Cut | Fate::TooLong | Fate::Filtered | Fate::InboxFull
                ));
            }
        }
        let most = count.values().map(|(all, _)| *all).max().unwrap_or(1).max(1);
        let ticks = [(0.0, "0".to_owned()), (most as f64, most.to_string())];
        let scale = Panel { top: 0.0, height: 0.0, least: 0.0, most: most as f64, is_log: false };
        let note = format!("per {}", length(bucket));
        let panel = self.panel(("datagrams", &note), 64.0, scale, &ticks);
        let width = (RIGHT - LEFT) * bucket as f64 / self.end as f64;
        let base = panel.y(0.0);
        for (column, (all, lost)) in count {
            let x = self.x(Time(column * bucket));
            let width = (width - 0.8).max(0.6).min(RIGHT - x);
            for (class, value) in [("bar", all), ("f1", lost)] {
                let y = panel.y(value as f64);
                if value > 0 && width > 0.0 {
                    self.svg.rect(class, (x, y), (width, base - y), 0.0);
                }
            }
        }
        let x = RIGHT + 7.0;
        self.svg.text((x, base - 26.0), Style::plain(10.0).class("muted"), "arrived");
        self.svg.text((x, base - 12.0), Style::plain(10.0).class("t1").bold(), "lost");
    }

    /// Faults and changes of leader, through all panels.
    fn moments(&mut self) {
        // The right end of what is written in each of two rows.
        let mut rows = [LEFT - 40.0; 2];
        let moments = self.record.events.iter().filter_map(|event| match &event.what {
            What::Leads(node, _) => Some((event.time, format!("{node} leads"))),
            What::Dies(node) => Some((event.time, format!("{node} is dead"))),
            What::Fault(crate::sim::fault::Fault::Heal) => {
                Some((event.time, "whole again".to_owned()))
            }
            What::Fault(crate::sim::fault::Fault::Cut { shape, .. }) => {
                Some((event.time, format!("cut: {shape}")))
            }
            What::Heals => Some((event.time, "all faults end".to_owned())),
            What::Violation(_) => Some((event.time, "UNSAFE".to_owned())),
            _ => None,
        });
        for (time, text) in moments.collect::<Vec<_>>() {
            let x = self.x(time);
            self.svg.line("mark", (x, TOP - 6.0), (x, self.y));
            let width = words::width(&text, 10.5) + 10.0;
            let left = if x + width > RIGHT + 60.0 { x - width } else { x + 4.0 };
            let free = rows.iter().position(|row| *row < left);
            if let Some(row) = free {
                rows[row] = left + width;
                let y = TOP - 10.0 - 13.0 * row as f64;
                self.svg.text((left, y), Style::plain(10.5).bold(), &text);
            }
        }
    }

    fn axis(&mut self) {
        let steps = [1, 2, 5].map(|digit| (0..9).map(move |power| digit * 10_u64.pow(power)));
        let mut steps: Vec<u64> = steps.into_iter().flatten().collect();
        steps.sort_unstable();
        let step = steps.into_iter().find(|step| self.end / step <= 10).unwrap_or(1_000_000_000);
        self.y += 6.0;
        for time in (0..=self.end / step).map(|count| count * step) {
            let x = self.x(Time(time));
            self.svg.line("rule", (x, self.y - 4.0), (x, self.y + 2.0));
            let style = Style::plain(10.5).class("muted").middle();
            self.svg.text((x, self.y + 15.0), style, &length(time));
        }
        self.y += 15.0;
    }
}

/// At most [`POINTS_MAX`] of them, evenly, with the last.
fn thinned<T>(all: &[T]) -> impl Iterator<Item = &T> {
    let step = all.len().div_ceil(POINTS_MAX).max(1);
    let last = all.len().saturating_sub(1);
    all.iter()
        .enumerate()
        .filter(move |(place, _)| place % step == 0 || *place == last)
        .map(|(_, it)| it)
}

/// When each value was requested first, and how many microseconds later its client knew.
fn latencies(record: &Record) -> Vec<(Time, u64)> {
    let mut asked: BTreeMap<(NodeId, u64), Time> = BTreeMap::new();
    let mut reads = Vec::new();
    for sent in &record.messages {
        match (&sent.message, sent.from) {
            (Some(Message::Request(request)), Some(from)) => {
                for offset in 0..request.entries.len() as u64 {
                    asked.entry((from, request.from.0 + offset)).or_insert(sent.time);
                }
            }
            (Some(Message::RequestAck(ack)), _) => {
                let read = sent.copies.iter().filter(|copy| copy.fate == Fate::Read);
                reads.extend(read.map(|copy| (copy.time, copy.to, ack)));
            }
            _ => {}
        }
    }
    reads.sort_by_key(|(time, to, _)| (*time, *to));
    let mut latencies = Vec::new();
    for (time, to, ack) in reads {
        let mine = ack.told.iter().filter(|told| told.session.client == to.id);
        for number in mine.flat_map(|told| &told.delivered).flat_map(|run| run.iter()) {
            if let Some(first) = asked.remove(&(to, number.0)) {
                latencies.push((first, time.0.saturating_sub(first.0)));
            }
        }
    }
    latencies
}

/// `250 µs`, `35 ms`, `2.5 s`.
fn length(micros: u64) -> String {
    let short = |value: f64| {
        let text = if value < 100.0 { format!("{value:.1}") } else { format!("{value:.0}") };
        text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
    };
    match micros {
        0 => "0".to_owned(),
        1..1000 => format!("{micros} µs"),
        1000..1_000_000 => format!("{} ms", short(micros as f64 / 1e3)),
        _ => format!("{} s", short(micros as f64 / 1e6)),
    }
}
