//! The space-time diagram: a line a process, time flows down, messages are arrows.

mod arrows;

use std::collections::BTreeMap;

use super::Caption;
use super::labels::{Ground, Label, Lies, Rect, chip_width};
use super::layout::{BAND, Layout, TOP};
use super::legend;
use super::scene::{Band, Chip, Knows, Scene, State};
use super::style::{self, colour, is_solid};
use super::svg::{Escaped, Px, Style, Svg};
use super::words::{self, LABEL};
use crate::protocol::types::{NodeId, Time};

/// How far apart two lanes are.
pub const PITCH: f64 = 134.0;
/// Where the first lane's half begins; times stand to the left of it.
const LEFT: f64 = 104.0;
/// How wide the column of the story is.
const STORY: f64 = 286.0;
/// The margin at the sides.
const MARGIN: f64 = 22.0;
/// Names of lanes are repeated where a diagram is higher than this.
const TALL: f64 = 1200.0;

const COLOUR_STROKE: [&str; style::COLOURS] = ["s0", "s1", "s2", "s3", "s4"];
const COLOUR_FILL: [&str; style::COLOURS] = ["f0", "f1", "f2", "f3", "f4"];
const COLOUR_TEXT: [&str; style::COLOURS] = ["t0", "t1", "t2", "t3", "t4"];

/// Draws a scene.
pub fn draw(scene: &Scene<'_>, caption: &Caption) -> String {
    Drawing::new(scene).whole(caption)
}

/// How many labels a drawing has, and how many of them had to be put where something was.
#[cfg(test)]
pub fn labels(scene: &Scene<'_>) -> (usize, usize) {
    let mut drawing = Drawing::new(scene);
    drawing.place_story();
    drawing.reserve();
    drawing.arrows();
    drawing.promises();
    let count = drawing.labels.len();
    drawing.write_labels();
    (count, drawing.ground.clashes)
}

struct Drawing<'a> {
    scene: &'a Scene<'a>,
    layout: Layout,
    svg: Svg,
    lanes: BTreeMap<NodeId, f64>,
    /// Right of the last lane.
    right: f64,
    /// Where the lanes end.
    bottom: f64,
    ground: Ground,
    labels: Vec<Label>,
}

impl<'a> Drawing<'a> {
    fn new(scene: &'a Scene<'a>) -> Self {
        let layout = Layout::new(scene);
        let lane = |(place, node): (usize, &NodeId)| (*node, LEFT + PITCH * (place as f64 + 0.5));
        let lanes: BTreeMap<NodeId, f64> = scene.nodes.iter().enumerate().map(lane).collect();
        let right = LEFT + PITCH * (lanes.len().max(2)) as f64;
        let (svg, ground, bottom) = (Svg::default(), Ground::default(), layout.bottom);
        Drawing { scene, layout, svg, lanes, right, bottom, ground, labels: Vec::new() }
    }

    fn whole(mut self, caption: &Caption) -> String {
        let told = self.place_story();
        self.reserve();
        self.lifelines();
        self.gaps();
        self.bands();
        self.breaks();
        self.arrows();
        self.promises();
        self.write_labels();
        self.offices();
        self.chips();
        self.deaths();
        self.times();
        self.tell(&told);
        self.heads();
        let width = self.right + STORY + MARGIN;
        let legend_top = self.bottom + 34.0;
        let legend_height =
            legend::draw(&mut self.svg, self.scene, (MARGIN, legend_top), width - 2.0 * MARGIN);
        let height = legend_top + legend_height;
        let description = self.description();
        super::frame(self.svg, caption, (width, height), &description)
    }

    fn description(&self) -> String {
        let sentence = |(number, sentence): (usize, &super::story::Sentence)| {
            format!("{}. At {}: {}", number + 1, at(sentence.time), sentence.text)
        };
        let all: Vec<String> = self.scene.story.iter().enumerate().map(sentence).collect();
        all.join(" ")
    }

    /// The sentences of the story, each with its lines and its place: pushed down where they touch.
    fn place_story(&mut self) -> Vec<(f64, Vec<String>)> {
        let mut floor = TOP - 4.0;
        let mut placed = Vec::new();
        for sentence in &self.scene.story {
            let lines = words::wrapped(&sentence.text, 11.5, STORY - 44.0);
            let y = self.layout.y(sentence.time).max(floor + 12.0);
            floor = y + 15.0 * (lines.len() as f64 - 1.0) + 10.0;
            placed.push((y, lines));
        }
        self.bottom = self.bottom.max(floor + 20.0);
        placed
    }

    fn lane(&self, node: NodeId) -> Option<f64> {
        self.lanes.get(&node).copied()
    }

    fn lifelines(&mut self) {
        for x in self.lanes.values() {
            self.svg.line("life", (*x, TOP - 14.0), (*x, self.bottom));
        }
        for band in self.scene.bands.iter().filter(|band| band.is == State::Dead) {
            let Some((x, top, end)) = self.span(band) else { continue };
            self.svg.line("off", (x, top), (x, end));
            self.svg.line("gone", (x, top), (x, end));
        }
    }

    fn gaps(&mut self) {
        for gap in &self.layout.gaps {
            let size = (self.right - LEFT + 84.0, BAND);
            self.svg.rect("gap", (LEFT - 84.0, gap.top), size, 3.0);
        }
    }

    /// The lane of a band, and where it begins and ends, if it is in the picture.
    fn span(&self, band: &Band) -> Option<(f64, f64, f64)> {
        let x = self.lane(band.node)?;
        let top = if band.from == Time::ZERO { TOP - 14.0 } else { self.layout.y(band.from) };
        let end = band.until.map_or(self.bottom, |until| self.layout.y(until));
        (end > top).then_some((x, top, end))
    }

    fn bands(&mut self) {
        for band in &self.scene.bands {
            let Some((x, top, end)) = self.span(band) else { continue };
            let height = end - top;
            match band.is {
                State::Leads(ballot) => {
                    let class = COLOUR_FILL[colour(ballot)];
                    self.svg.rect(class, (x - 7.0, top), (14.0, height), 0.0);
                }
                State::Campaigns(ballot) => {
                    let place = colour(ballot);
                    self.svg.rect("page", (x - 7.0, top), (14.0, height), 0.0);
                    let [left, y, high] = [x - 7.0, top, height].map(Px);
                    self.svg.add(format_args!(
                        "<rect fill=\"url(#h{place})\" x=\"{left}\" y=\"{y}\" width=\"14\" \
                         height=\"{high}\"/>"
                    ));
                    let class = format!("rim s{place}");
                    self.svg.rect(&class, (x - 6.4, top), (12.8, height), 0.0);
                }
                State::Promised(ballot) if is_solid(ballot) => {
                    let class = COLOUR_FILL[colour(ballot)];
                    self.svg.rect(class, (x - 2.4, top), (4.8, height), 0.0);
                }
                State::Promised(ballot) => {
                    self.svg.rect("page", (x - 3.0, top), (6.0, height), 0.0);
                    let class = format!("rail s{}", colour(ballot));
                    let [left, right, y, end] = [x - 2.4, x + 2.4, top, end].map(Px);
                    self.svg.path(&class, format_args!("M{left} {y}V{end}M{right} {y}V{end}"));
                }
                State::Asleep => self.svg.rect("asleep", (x - 5.0, top), (10.0, height), 3.0),
                State::CutOff => {
                    self.svg.rect("cutoff faint", (x - 12.0, top), (24.0, height), 0.0)
                }
                State::Dead => {}
            }
        }
    }

    /// Each lane is broken in a gap, beside the number of heartbeats of its process.
    fn breaks(&mut self) {
        let gaps = self.layout.gaps.clone();
        for gap in &gaps {
            let middle = gap.top + BAND / 2.0;
            for x in self.lanes.values() {
                let [left, y] = [x - 9.0, middle + 2.5].map(Px);
                self.svg.path("break", format_args!("M{left} {y}l18 -5"));
                let [left, y] = [x - 12.0, middle + 5.5].map(Px);
                self.svg.path("breakgap", format_args!("M{left} {y}l24 -6.5v-4l-24 6.5z"));
            }
            let length = gap.until.since(gap.from).as_secs_f64() * 1e3;
            let digits = usize::from(length < 10.0);
            let style = Style::plain(11.5).class("muted").end().bold();
            self.svg.text((LEFT - 14.0, middle + 4.0), style, &format!("{length:.digits$} ms"));
            for (node, count) in &gap.beats {
                let Some(x) = self.lane(*node) else { continue };
                self.svg.heart((x + 20.0, middle));
                let style = Style::plain(10.0).class("muted");
                self.svg.text((x + 28.0, middle + 4.0), style, &format!("×{count}"));
            }
        }
        if self.bottom < TALL {
            return;
        }
        let mut last = TOP;
        for gap in gaps {
            if gap.top - last < TALL / 2.0 {
                continue;
            }
            last = gap.top;
            for (node, x) in &self.lanes {
                let style = Style::plain(10.0).class("muted").end();
                self.svg.text((x - 16.0, gap.top + 19.0), style, &node.to_string());
            }
        }
    }

    /// Half the width of the chip that a process gets at a moment; zero without one.
    fn chip_at(&self, time: Time, node: NodeId) -> f64 {
        let here = self.scene.chips.iter().filter(|chip| (chip.time, chip.node) == (time, node));
        let width = |chip: &Chip| match chip.knows {
            Knows::Told => 0.0,
            _ => chip_width(&words::spans(&chip.spans)) / 2.0,
        };
        here.map(width).fold(0.0, f64::max)
    }

    /// The ballot that an acceptor promises, where it does.
    fn promises(&mut self) {
        for band in &self.scene.bands {
            let (State::Promised(ballot), Some(x)) = (band.is, self.lane(band.node)) else {
                continue;
            };
            if !self.layout.ticks.contains_key(&band.from) {
                continue;
            }
            self.labels.push(Label {
                places: vec![(x + 11.0, self.layout.y(band.from) + 16.0)],
                lies: Lies::After,
                text: self.scene.ballot_name(ballot),
                size: 9.5,
                class: COLOUR_TEXT[colour(ballot)],
                reports: Vec::new(),
                is_optional: true,
            });
        }
    }

    /// Lanes, chips and badges have their places before anything else.
    fn reserve(&mut self) {
        for x in self.lanes.values() {
            let lane = Rect { x: x - 7.0, y: TOP, width: 14.0, height: self.bottom - TOP };
            self.ground.lanes.push(lane);
        }
        for chip in &self.scene.chips {
            let Some(x) = self.lane(chip.node) else { continue };
            let width = chip_width(&words::spans(&chip.spans)) + 4.0;
            self.ground.taken.push(Rect::around(x, self.layout.y(chip.time), width, 18.0));
        }
        for sentence in &self.scene.story {
            let Some(x) = sentence.node.and_then(|node| self.lane(node)) else { continue };
            let (beside, word) = self.beside(sentence);
            let (y, width) = (self.layout.y(sentence.time) - 8.0, 16.0 + word);
            self.ground.taken.push(Rect { x: x + beside - 8.0, y, width, height: 16.0 });
        }
    }

    /// How far from its lane a badge stands, and how wide the word beside it is.
    fn beside(&self, sentence: &super::story::Sentence) -> (f64, f64) {
        use super::story::Topic;
        let Some(node) = sentence.node else { return (0.0, 0.0) };
        let chip = self.chip_at(sentence.time, node);
        match sentence.topic {
            Topic::Office => (0.0, 0.0),
            Topic::Chosen => (chip + 10.0, 44.0),
            Topic::Fault | Topic::End => (chip.max(10.0) + 10.0, 0.0),
        }
    }

    fn write_labels(&mut self) {
        let mut labels = std::mem::take(&mut self.labels);
        labels.sort_by_key(|label| label.is_optional);
        for label in &labels {
            self.ground.put(&mut self.svg, label, |svg, place, text, ballot| {
                square(svg, place, text, ballot, 9.5);
            });
        }
    }

    /// What the band of a leader says, along it.
    fn offices(&mut self) {
        for band in &self.scene.bands {
            let State::Leads(ballot) = band.is else { continue };
            let Some((x, top, end)) = self.span(band) else { continue };
            let text = format!("leads {}", self.scene.ballot_name(ballot));
            let length = words::width(&text, 9.5) + 8.0;
            let mut y = top + 20.0;
            while y + length < end {
                let hit = self
                    .layout
                    .gaps
                    .iter()
                    .find(|gap| y - 4.0 < gap.top + BAND && gap.top < y + length);
                if let Some(gap) = hit {
                    y = gap.top + BAND + 12.0;
                    continue;
                }
                let [left, top] = [x - 3.4, y].map(Px);
                self.svg.add(format_args!(
                    "<text transform=\"translate({left} {top}) rotate(90)\" font-size=\"9.5\" \
                     font-weight=\"600\" class=\"chipt\">{text}</text>"
                ));
                y += 230.0;
            }
        }
    }

    fn chips(&mut self) {
        for chip in &self.scene.chips {
            let Some(x) = self.lane(chip.node) else { continue };
            let text = words::cut(&words::spans(&chip.spans), LABEL, PITCH - 30.0);
            let (y, width) = (self.layout.y(chip.time), chip_width(&text));
            match chip.knows {
                Knows::Accepted(ballot) => {
                    square(
                        &mut self.svg,
                        Rect::around(x, y, width, 16.0),
                        &text,
                        ballot.unwrap_or(0),
                        LABEL,
                    );
                }
                Knows::Learned => pill(&mut self.svg, (x, y), width, &text),
                Knows::Told => ticked(&mut self.svg, (x, y), width + 15.0, &text),
            }
        }
    }

    fn deaths(&mut self) {
        for band in self.scene.bands.iter().filter(|band| band.is == State::Dead) {
            let Some((x, y, _)) = self.span(band).filter(|_| band.from > Time::ZERO) else {
                continue;
            };
            self.svg.add(format_args!(
                "<circle class=\"page\" cx=\"{}\" cy=\"{}\" r=\"9.5\"/>",
                Px(x),
                Px(y)
            ));
            self.svg.cross("x", (x, y), 6.0);
        }
    }

    /// The axis: the first moment of a burst in full, the others as distances from it.
    fn times(&mut self) {
        let (mut burst, mut previous, mut written) = (Time::ZERO, None::<Time>, 0.0);
        for (time, y) in &self.layout.ticks {
            if previous.is_none_or(|previous| time.0 - previous.0 > super::layout::GAP) {
                (burst, written) = (*time, *y);
                let style = Style::plain(11.5).class("mono").end().bold();
                self.svg.text((LEFT - 14.0, y + 4.0), style, &at(*time));
            } else if y - written >= 13.0 {
                written = *y;
                let style = Style::plain(9.5).class("muted mono").end();
                let text = format!("+{} µs", time.0 - burst.0);
                self.svg.text((LEFT - 14.0, y + 3.6), style, &text);
            }
            self.svg.line("rule", (LEFT - 9.0, *y), (LEFT - 3.0, *y));
            previous = Some(*time);
        }
    }

    /// The story, and its numbers where it happens.
    fn tell(&mut self, told: &[(f64, Vec<String>)]) {
        let x = self.right + 22.0;
        for (number, (sentence, (y, lines))) in (1..).zip(self.scene.story.iter().zip(told)) {
            if let Some(lane) = sentence.node.and_then(|node| self.lane(node)) {
                self.badge_on_lane(number, sentence, lane);
            }
            badge(&mut self.svg, (x, *y), number);
            for (line, text) in (0..).zip(lines) {
                let y = y + 4.0 + 15.0 * f64::from(line);
                self.svg.text((x + 16.0, y), Style::plain(11.5), text);
            }
        }
    }

    fn badge_on_lane(&mut self, number: usize, sentence: &super::story::Sentence, lane: f64) {
        let y = self.layout.y(sentence.time);
        let (beside, _) = self.beside(sentence);
        let is_chosen = sentence.topic == super::story::Topic::Chosen;
        badge(&mut self.svg, (lane + beside, y), number);
        if is_chosen {
            self.svg.rect("bg", (lane + beside + 9.5, y - 6.5), (42.0, 13.0), 2.0);
            self.svg.text((lane + beside + 11.0, y + 3.6), Style::plain(LABEL).bold(), "chosen");
        }
    }

    /// The names of the processes, above and below.
    fn heads(&mut self) {
        for (node, x) in &self.lanes {
            for (top, height) in [(TOP - 46.0, 32.0), (self.bottom + 2.0, 20.0)] {
                self.svg.rect("box", (x - 29.0, top), (58.0, height), 4.0);
                let style = Style::plain(13.0).middle().bold();
                self.svg.text((*x, top + 15.0), style, &node.to_string());
            }
            let style = Style::plain(9.0).class("muted").middle();
            self.svg.text((*x, TOP - 19.0), style, node.role.name());
        }
    }
}

/// A moment of the axis.
pub fn at(time: Time) -> String {
    match time {
        Time::ZERO => "0".to_owned(),
        Time(micros) => format!("{}.{:03} ms", micros / 1000, micros % 1000),
    }
}

/// A vote: filled or hollow by turns of ballots.
pub fn square(svg: &mut Svg, place: Rect, text: &str, ballot: usize, size: f64) {
    let Rect { x, y, width, height } = place;
    let middle = (x + width / 2.0, y + height / 2.0 + size * 0.36);
    let style = Style::plain(size).middle().bold();
    if is_solid(ballot) {
        svg.rect(COLOUR_FILL[colour(ballot)], (x, y), (width, height), 2.5);
        svg.text(middle, style.class("chipt"), text);
    } else {
        let class = format!("hollow s{}", colour(ballot));
        svg.rect(&class, (x + 0.9, y + 0.9), (width - 1.8, height - 1.8), 2.5);
        svg.text(middle, style.class(COLOUR_TEXT[colour(ballot)]), text);
    }
}

/// What was learned.
pub fn pill(svg: &mut Svg, (x, y): (f64, f64), width: f64, text: &str) {
    svg.rect("chip", (x - width / 2.0, y - 8.0), (width, 16.0), 8.0);
    svg.text((x, y + 3.8), Style::plain(LABEL).class("chipt").middle().bold(), text);
}

/// What a client knows.
pub fn ticked(svg: &mut Svg, (x, y): (f64, f64), width: f64, text: &str) {
    svg.rect("know", (x - width / 2.0, y - 8.0), (width, 16.0), 8.0);
    let [left, top] = [x - width / 2.0 + 6.0, y + 0.4].map(Px);
    svg.path("tick", format_args!("M{left} {top}l2.6 3l5 -6.4"));
    svg.text((x + 7.0, y + 3.8), Style::plain(LABEL).middle().bold(), text);
}

fn badge(svg: &mut Svg, (x, y): (f64, f64), number: usize) {
    svg.add(format_args!("<circle class=\"badge\" cx=\"{}\" cy=\"{}\" r=\"7.6\"/>", Px(x), Px(y)));
    let size = if number < 100 { 9.5 } else { 8.0 };
    let text = number.to_string();
    svg.text((x, y + 3.5), Style::plain(size).middle().bold(), &Escaped(&text).to_string());
}
