//! Where labels go: each has a few places, and takes the first that hits nothing, or else the one
//! that hides the least.

use super::svg::{Style, Svg};
use super::words::{self, Span};

/// A rectangle on the page.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rect {
    /// Its left edge.
    pub x: f64,
    /// Its upper edge.
    pub y: f64,
    /// Its width.
    pub width: f64,
    /// Its height.
    pub height: f64,
}

impl Rect {
    /// One around a point.
    pub fn around(x: f64, y: f64, width: f64, height: f64) -> Self {
        Rect { x: x - width / 2.0, y: y - height / 2.0, width, height }
    }

    fn meets(&self, other: &Rect) -> bool {
        self.x < other.x + other.width
            && other.x < self.x + self.width
            && self.y < other.y + other.height
            && other.y < self.y + self.height
    }

    /// The area that both have.
    fn shared(&self, other: &Rect) -> f64 {
        let along = |from: f64, length: f64, other: f64, other_length: f64| {
            (from + length).min(other + other_length) - from.max(other)
        };
        let width = along(self.x, self.width, other.x, other.width);
        let height = along(self.y, self.height, other.y, other.height);
        width.max(0.0) * height.max(0.0)
    }
}

/// How a label lies to its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lies {
    /// To the right of it.
    After,
    /// Around it.
    Around,
    /// To the left of it.
    Before,
}

/// Some words that want to be somewhere.
#[derive(Clone, Debug)]
pub struct Label {
    /// Where it may be, best first: the place of its base line.
    pub places: Vec<(f64, f64)>,
    /// How it lies there.
    pub lies: Lies,
    /// Its words.
    pub text: String,
    /// Their size.
    pub size: f64,
    /// Their class.
    pub class: &'static str,
    /// What a promise reports: instances, and the place of the ballot.
    pub reports: Vec<(Span, usize)>,
    /// Whether it is left out where nothing is free.
    pub is_optional: bool,
}

/// What is taken already.
#[derive(Clone, Debug, Default)]
pub struct Ground {
    /// Other labels, heads of arrows, chips, crosses.
    pub taken: Vec<Rect>,
    /// Lanes, which only optional labels avoid.
    pub lanes: Vec<Rect>,
    /// How many labels had to be put where something was.
    pub clashes: usize,
}

/// The width of a chip with these words.
pub fn chip_width(text: &str) -> f64 {
    (words::width(text, 10.5) + 9.0).max(17.0)
}

impl Ground {
    /// Whether something small may stand there, on a lane or not.
    pub fn allows(&self, place: &Rect) -> bool {
        self.is_free(place, false)
    }

    fn is_free(&self, place: &Rect, is_optional: bool) -> bool {
        let is_on_lane = is_optional && self.lanes.iter().any(|lane| lane.meets(place));
        !is_on_lane && !self.taken.iter().any(|taken| taken.meets(place))
    }

    /// Puts a label somewhere. `chip` draws what it reports.
    pub fn put(
        &mut self,
        svg: &mut Svg,
        label: &Label,
        chip: impl Fn(&mut Svg, Rect, &str, usize),
    ) {
        let size = label.size;
        let reports: Vec<(String, usize)> =
            label.reports.iter().map(|(span, ballot)| (words::spans(&[*span]), *ballot)).collect();
        let chips = reports.iter().map(|(text, _)| words::width(text, 9.5) + 12.0);
        let width = words::width(&label.text, size) + chips.sum::<f64>();
        let spot = |(x, y): (f64, f64)| {
            let left = match label.lies {
                Lies::After => x,
                Lies::Around => x - width / 2.0,
                Lies::Before => x - width,
            };
            Rect { x: left - 2.0, y: y - size + 0.5, width: width + 4.0, height: size + 3.0 }
        };
        let free = label.places.iter().find(|at| self.is_free(&spot(**at), label.is_optional));
        let least_hidden = || {
            let hidden = |at: &(f64, f64)| -> f64 {
                self.taken.iter().map(|taken| taken.shared(&spot(*at))).sum()
            };
            label.places.iter().min_by(|one, other| hidden(one).total_cmp(&hidden(other)))
        };
        let Some(at) = free.or_else(least_hidden) else { return };
        if free.is_none() {
            if label.is_optional {
                return;
            }
            self.clashes += 1;
        }
        let place = spot(*at);
        self.taken.push(place);
        svg.rect("bg", (place.x, place.y), (place.width, place.height), 2.0);
        let mut left = place.x + 2.0;
        svg.text((left, at.1), Style::plain(size).class(label.class), &label.text);
        left += words::width(&label.text, size);
        for (text, ballot) in reports {
            let width = words::width(&text, 9.5) + 8.0;
            chip(svg, Rect { x: left + 4.0, y: at.1 - 9.6, width, height: 12.0 }, &text, ballot);
            left += width + 4.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(places: &[(f64, f64)]) -> (Ground, Rect) {
        let mut ground = Ground {
            taken: vec![
                Rect { x: 0.0, y: 0.0, width: 200.0, height: 20.0 },
                Rect { x: 0.0, y: 33.0, width: 100.0, height: 20.0 },
            ],
            ..Ground::default()
        };
        let label = Label {
            places: places.to_vec(),
            lies: Lies::After,
            text: "Accepted 1".into(),
            size: 10.0,
            class: "muted",
            reports: Vec::new(),
            is_optional: false,
        };
        ground.put(&mut Svg::default(), &label, |_, _, _, _| {});
        let place = *ground.taken.last().unwrap();
        (ground, place)
    }

    #[test]
    fn a_label_goes_where_nothing_is_or_hides_the_least() {
        let (ground, place) = put(&[(10.0, 12.0), (10.0, 80.0)]);
        assert_eq!((ground.clashes, place.y > 60.0), (0, true));
        // The first is all on one of them; the others on a part of one each.
        let (ground, place) = put(&[(10.0, 12.0), (10.0, 36.0), (10.0, 25.0), (10.0, 45.0)]);
        assert_eq!((ground.clashes, place.y), (1, 25.0 - 10.0 + 0.5));
    }
}
