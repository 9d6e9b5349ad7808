//! A writer of SVG: escaped text, numbers with one decimal, and shapes that are needed more than
//! once. Nothing here knows what is drawn.

use std::f64::consts::PI;
use std::fmt::{self, Write};

/// The parts of a picture, in the order in which they are painted.
#[derive(Debug, Default)]
pub struct Svg {
    parts: String,
}

/// How a text is set.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Font size in pixels.
    pub size: f64,
    /// Its classes.
    pub class: &'static str,
    /// Where its place is: `start`, `middle` or `end`.
    pub anchor: Anchor,
    /// Whether it is bold.
    pub bold: bool,
}

/// Which point of a text is at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// Its left end.
    Start,
    /// Its middle.
    Middle,
    /// Its right end.
    End,
}

impl Style {
    /// Plain text of a size.
    pub const fn plain(size: f64) -> Self {
        Style { size, class: "", anchor: Anchor::Start, bold: false }
    }

    /// The same with a class.
    pub const fn class(self, class: &'static str) -> Self {
        Style { class, ..self }
    }

    /// The same around its place.
    pub const fn middle(self) -> Self {
        Style { anchor: Anchor::Middle, ..self }
    }

    /// The same up to its place.
    pub const fn end(self) -> Self {
        Style { anchor: Anchor::End, ..self }
    }

    /// The same in bold.
    pub const fn bold(self) -> Self {
        Style { bold: true, ..self }
    }
}

impl Svg {
    /// Adds a part as it is.
    pub fn add(&mut self, part: fmt::Arguments<'_>) {
        let _ = self.parts.write_fmt(part);
        self.parts.push('\n');
    }

    /// A rectangle.
    pub fn rect(&mut self, class: &str, at: (f64, f64), size: (f64, f64), round: f64) {
        let ([x, y], [width, height]) = ([at.0, at.1].map(Px), [size.0, size.1].map(Px));
        let round = if round > 0.0 { format!(" rx=\"{}\"", Px(round)) } else { String::new() };
        self.add(format_args!(
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"\
             {round}/>"
        ));
    }

    /// A path.
    pub fn path(&mut self, class: &str, data: fmt::Arguments<'_>) {
        self.add(format_args!("<path class=\"{class}\" d=\"{data}\"/>"));
    }

    /// A straight line.
    pub fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let [x, y, a, b] = [from.0, from.1, to.0, to.1].map(Px);
        self.path(class, format_args!("M{x} {y}L{a} {b}"));
    }

    /// A line of text.
    pub fn text(&mut self, at: (f64, f64), style: Style, text: &str) {
        let Style { size, class, anchor, bold } = style;
        let [x, y] = [at.0, at.1].map(Px);
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let weight = if bold { " font-weight=\"600\"" } else { "" };
        let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
        let (size, text) = (Px(size), Escaped(text));
        self.add(format_args!(
            "<text x=\"{x}\" y=\"{y}\" font-size=\"{size}\"{anchor}{weight}{class}>{text}</text>"
        ));
    }

    /// The head of an arrow whose tip is there.
    pub fn head(&mut self, class: &str, tip: (f64, f64), angle: f64) {
        const LENGTH: f64 = 8.0;
        const HALF: f64 = 0.4;
        let corner = |turn: f64| {
            (tip.0 - LENGTH * (angle + turn).cos(), tip.1 - LENGTH * (angle + turn).sin())
        };
        let [one, other] = [corner(-HALF), corner(HALF)];
        let [x, y, a, b, c, d] = [tip.0, tip.1, one.0, one.1, other.0, other.1].map(Px);
        self.path(class, format_args!("M{x} {y}L{a} {b}L{c} {d}z"));
    }

    /// The head of a level arrow, to the right or to the left.
    pub fn level_head(&mut self, class: &str, tip: (f64, f64), is_right: bool) {
        self.head(class, tip, if is_right { 0.0 } else { PI });
    }

    /// A cross.
    pub fn cross(&mut self, class: &str, at: (f64, f64), reach: f64) {
        let [x, top, bottom] = [at.0 - reach, at.1 - reach, at.1 + reach].map(Px);
        let width = Px(2.0 * reach);
        self.path(class, format_args!("M{x} {top}l{width} {width}M{x} {bottom}l{width} -{width}"));
    }

    /// A small heart.
    pub fn heart(&mut self, at: (f64, f64)) {
        let [x, y] = [at.0, at.1 + 3.6].map(Px);
        let data = "c-5.2 -3.6 -4.6 -7.2 -2.2 -7.2c1.2 0 1.9 .8 2.2 1.6c.3 -.8 1 -1.6 2.2 -1.6\
                    c2.4 0 3 3.6 -2.2 7.2z";
        self.path("cf", format_args!("M{x} {y}{data}"));
    }

    /// Everything so far.
    pub fn into_parts(self) -> String {
        self.parts
    }
}

/// A length in pixels, with at most one decimal.
#[derive(Clone, Copy, Debug)]
pub struct Px(pub f64);

impl fmt::Display for Px {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = (self.0 * 10.0).round() as i64;
        let sign = if tenths < 0 { "-" } else { "" };
        let (whole, rest) = (tenths.unsigned_abs() / 10, tenths.unsigned_abs() % 10);
        if rest == 0 { write!(f, "{sign}{whole}") } else { write!(f, "{sign}{whole}.{rest}") }
    }
}

/// Text between tags or in an attribute. What XML cannot carry at all is replaced.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '\u{fffe}' | '\u{ffff}' | '\u{2028}' | '\u{2029}' => f.write_char('\u{fffd}')?,
                letter if letter.is_control() => f.write_char('\u{fffd}')?,
                letter => f.write_char(letter)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_text_stays_text() {
        let hostile = "</text><script>\"'&\0\u{1b}\u{ffff}é";
        let escaped = Escaped(hostile).to_string();
        let marks = "&quot;&#39;&amp;\u{fffd}\u{fffd}\u{fffd}é";
        assert_eq!(escaped, format!("&lt;/text&gt;&lt;script&gt;{marks}"));
    }

    #[test]
    fn lengths_have_one_decimal_at_most() {
        let shown = [1.0, 1.25, -0.04, -1.26, 1e6].map(|length| Px(length).to_string());
        assert_eq!(shown, ["1", "1.3", "0", "-1.3", "1000000"]);
    }
}
