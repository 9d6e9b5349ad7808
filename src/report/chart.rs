//! The picture of a run by its files: who led when, and what learners had decided.

use super::facts::{Facts, Term};
use crate::picture::style::COLOURS;
use crate::picture::svg::{Px, Style, Svg};
use crate::picture::words;

const WIDTH: f64 = 1000.0;
const LEFT: f64 = 92.0;
const RIGHT: f64 = 920.0;

/// How high the panel of what was decided is.
const HEIGHT: f64 = 170.0;

/// How many points a line has, at most.
const POINTS_MAX: usize = 800;

/// The picture; nothing if no moment is known.
pub fn draw(facts: &Facts) -> Option<String> {
    let (start, end) = facts.span()?;
    let length = (end.millis - start.millis).max(1);
    let mut chart = Chart { svg: Svg::default(), start: start.millis, length, y: 14.0 };
    chart.terms(facts);
    chart.decided(facts);
    chart.axis();
    let height = Px(chart.y + 8.0);
    let width = Px(WIDTH);
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
         aria-label=\"who led, and what learners had decided, over time\">\n{}</svg>\n",
        chart.svg.into_parts()
    ))
}

struct Chart {
    svg: Svg,
    /// When the picture begins, and how long it lasts, in milliseconds.
    start: u64,
    length: u64,
    y: f64,
}

impl Chart {
    fn x(&self, millis: u64) -> f64 {
        let passed = millis.saturating_sub(self.start).min(self.length);
        LEFT + (RIGHT - LEFT) * passed as f64 / self.length as f64
    }

    /// A row for each proposer, with the times in which it led: faint, where it was killed and
    /// said no end.
    fn terms(&mut self, facts: &Facts) {
        let mut place = 0;
        for process in facts.processes.iter().filter(|process| process.name.starts_with('P')) {
            let y = self.y;
            let name = Style::plain(12.0).end().bold();
            self.svg.text((LEFT - 12.0, y + 11.5), name, &process.name);
            self.svg.line("life", (LEFT, y + 7.5), (RIGHT, y + 7.5));
            for Term { from, until, ballot, is_ended } in facts.terms(process) {
                let (from, until) = (self.x(from.millis), self.x(until.millis));
                let (width, colour) = ((until - from).max(2.0), place % COLOURS);
                let faint = if is_ended { "" } else { " faint" };
                self.svg.rect(&format!("f{colour}{faint}"), (from, y), (width, 15.0), 2.0);
                let text = format!("leads {ballot}");
                if words::width(&text, 10.0) + 14.0 < width {
                    let style = Style::plain(10.0).class("chipt").bold();
                    self.svg.text((from + 7.0, y + 11.2), style, &text);
                }
                place += 1;
            }
            self.y += 21.0;
        }
    }

    /// A line for each learner.
    fn decided(&mut self, facts: &Facts) {
        let Some(timeline) = &facts.timeline else { return };
        let learners = timeline.samples.iter().map(|(_, counts)| counts.len()).max().unwrap_or(0);
        let counts = timeline.samples.iter().flat_map(|(_, counts)| counts);
        let most = counts.copied().max().unwrap_or(0).max(timeline.needed).max(1);
        let top = self.y + 14.0;
        let y = |count: u64| top + HEIGHT * (1.0 - count as f64 / most as f64);
        self.svg.text((LEFT - 12.0, top + 9.0), Style::plain(12.0).end().bold(), "decided");
        let note = Style::plain(10.0).class("muted");
        self.svg.text((LEFT - 12.0, top + 23.0), note.end(), "entries");
        for count in [0, most / 2, most] {
            self.svg.line("rule", (LEFT, y(count)), (RIGHT, y(count)));
            self.svg.text((RIGHT + 7.0, y(count) + 3.5), note, &grouped(count));
        }
        let step = timeline.samples.len().div_ceil(POINTS_MAX).max(1);
        let last = timeline.samples.len().saturating_sub(1);
        for learner in 0..learners {
            let class = if learner == 0 { "plot" } else { "plot dash" };
            let x = LEFT + 8.0 + 62.0 * learner as f64;
            self.svg.line(class, (x, top + 10.5), (x + 15.0, top + 10.5));
            let name = format!("L{}", learner + 1);
            self.svg.text((x + 20.0, top + 14.0), Style::plain(10.0).bold(), &name);
            let from = self.x(timeline.start.millis);
            let mut data = format!("M{} {}", Px(from), Px(y(0)));
            for (place, (millis, counts)) in timeline.samples.iter().enumerate() {
                if place % step == 0 || place == last {
                    let x = self.x(timeline.start.millis.saturating_add(*millis));
                    let count = counts.get(learner).copied().unwrap_or(0);
                    data.push_str(&format!("H{}V{}", Px(x), Px(y(count))));
                }
            }
            self.svg.path(class, format_args!("{data}"));
        }
        self.y = top + HEIGHT;
    }

    fn axis(&mut self) {
        let steps = (0..9).flat_map(|power| [1, 2, 5].map(|digit| digit * 10_u64.pow(power)));
        let step = steps.into_iter().find(|step| self.length / step <= 10);
        let step = step.unwrap_or(self.length);
        self.y += 6.0;
        for millis in (0..=self.length / step).map(|count| count * step) {
            let x = self.x(self.start + millis);
            self.svg.line("rule", (x, self.y - 4.0), (x, self.y + 2.0));
            let style = Style::plain(10.5).class("muted").middle();
            self.svg.text((x, self.y + 15.0), style, &length(millis));
        }
        self.y += 18.0;
    }
}

/// A time for people.
pub fn length(millis: u64) -> String {
    match millis {
        0 => "0".to_owned(),
        1..1000 => format!("{millis} ms"),
        _ => {
            let text = format!("{}.{:03}", millis / 1000, millis % 1000);
            format!("{} s", text.trim_end_matches('0').trim_end_matches('.'))
        }
    }
}

/// A number with its thousands apart.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
