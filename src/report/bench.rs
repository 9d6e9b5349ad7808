//! The page about measurements: a row for each figure, with its aim, its ratio and a bar.
//!
//! `benches/compare` gathers the figures, and `bash/bench.sh` calls it.

use super::page;
use crate::picture::svg::{Escaped, Px};

/// The measurements, with the machine and the method.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// The command that measured.
    pub command: String,
    /// The processor, how many of them, and the system.
    pub machine: String,
    /// The commit that was measured.
    pub commit: String,
    /// When, as people write it.
    pub when: String,
    /// How often every figure was measured.
    pub rounds: u32,
    /// The figures.
    pub rows: Vec<Row>,
}

/// One figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// A short name.
    pub id: String,
    /// What was done.
    pub work: String,
    /// The figure itself, in its unit.
    pub ours: Spread,
    /// The unit: empty for a share.
    pub unit: String,
    /// What it is compared with, if it is.
    pub against: Option<Spread>,
    /// What it is to that, within a round.
    pub ratio: Option<Spread>,
    /// What the ratio should be, or the figure where there is none.
    pub aim: Aim,
}

/// The median of some figures, with the least and the greatest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The least.
    pub least: f64,
    /// The one in the middle.
    pub median: f64,
    /// The greatest.
    pub most: f64,
}

/// An aim.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Aim {
    /// At most this: a time.
    AtMost(f64),
    /// At least this: a rate.
    AtLeast(f64),
    /// Nothing was promised.
    Told,
}

impl Row {
    /// The figure to judge: the ratio, or the plain figure where there is none.
    fn judged(&self) -> Spread {
        self.ratio.unwrap_or(self.ours)
    }

    /// Whether the median is as was aimed; none where nothing was promised.
    pub fn is_met(&self) -> Option<bool> {
        let median = self.judged().median;
        match self.aim {
            Aim::AtMost(aim) => Some(median <= aim),
            Aim::AtLeast(aim) => Some(median >= aim),
            Aim::Told => None,
        }
    }
}

impl Spread {
    /// `0.91 [0.88-0.95]`.
    fn show(self, digits: usize) -> String {
        let Spread { least, median, most } = self;
        format!("{median:.digits$} [{least:.digits$}–{most:.digits$}]")
    }
}

/// The whole page.
pub fn page(measured: &Measured) -> String {
    let Measured { command, machine, commit, when, rounds, rows } = measured;
    let promised = rows.iter().filter_map(Row::is_met).count();
    let met = rows.iter().filter(|row| row.is_met() == Some(true)).count();
    let title = format!("{} figures, {met} of {promised} aims met", rows.len());
    let lead = format!(
        "On {}, every figure measured in {rounds} rounds, one after the other. A ratio is the \
         median of those within a round, with the least and the greatest.",
        Escaped(when)
    );
    let entry = |name: &str, text: &str| format!("<dt>{name}</dt><dd>{}</dd>\n", Escaped(text));
    let how = format!(
        "<section>\n<h2>What was measured</h2>\n<dl>\n<dt>Command</dt><dd><code>{}</code></dd>\n\
         {}{}</dl>\n</section>\n",
        Escaped(command),
        entry("Machine", machine),
        entry("Commit", commit)
    );
    let rows: String = rows.iter().map(cells).collect();
    let table = format!(
        "<section>\n<h2>Figures</h2>\n<div class=\"wide\"><table>\n<thead><tr><th>id</th>\
         <th class=\"work\">work</th><th>ours</th><th>against</th><th>ratio</th><th>aim</th>\
         <th></th><th>reached</th></tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n\
         <p class=\"note\">The bar is the median, the thin line its spread, and the dashed line \
         the aim, or, where nothing was promised, the same as what it is compared with. The \
         longer, the better: the bar of a time is what was aimed at, divided by it. A bar ends \
         at twice its aim.</p>\n</section>\n"
    );
    let made_of = "Made of runs.jsonl beside this page, which has every run.";
    page::around(&title, &lead, &format!("{how}{table}"), made_of)
}

fn cells(row: &Row) -> String {
    let digits = if row.ours.median < 10.0 { 2 } else { 0 };
    let show = |spread: Option<Spread>, digits| spread.map_or(String::new(), |it| it.show(digits));
    let aim = match row.aim {
        Aim::AtMost(aim) => format!("≤ {aim}"),
        Aim::AtLeast(aim) => format!("≥ {aim}"),
        Aim::Told => String::new(),
    };
    let word = match row.is_met() {
        Some(true) => "<b class=\"met\">met</b>",
        Some(false) => "<b class=\"missed\">missed</b>",
        None => "",
    };
    format!(
        "<tr><th>{}</th><td class=\"work\">{}</td><td>{} {}</td><td>{}</td><td>{}</td>\
         <td>{aim}</td><td>{word}</td><td class=\"bar\">{}</td></tr>\n",
        Escaped(&row.id),
        Escaped(&row.work),
        row.ours.show(digits),
        Escaped(&row.unit),
        show(row.against, digits),
        show(row.ratio, 2),
        bar(row).unwrap_or_default()
    )
}

/// How wide and high the picture of a bar is, and where one ends that is exactly what was aimed at.
const WIDTH: f64 = 190.0;
const HEIGHT: f64 = 18.0;
const AIM: f64 = WIDTH / 2.0;

/// How far the aim is reached; none where there is nothing to compare it with.
fn bar(row: &Row) -> Option<String> {
    let is_time = match row.aim {
        Aim::AtMost(_) => true,
        Aim::AtLeast(_) => false,
        Aim::Told => row.unit.ends_with('s') && !row.unit.ends_with("/s"),
    };
    let aim = match row.aim {
        Aim::AtMost(aim) | Aim::AtLeast(aim) => aim,
        Aim::Told => row.ratio.map(|_| 1.0)?,
    };
    let x = |judged: f64| {
        let reached = if is_time { aim / judged } else { judged / aim };
        Px((AIM * reached).clamp(0.0, WIDTH))
    };
    let Spread { least, median, most } = row.judged();
    let class = match row.is_met() {
        Some(true) => "met",
        Some(false) => "missed",
        None => "told",
    };
    let (middle, height, aim) = (Px(HEIGHT / 2.0), Px(HEIGHT), Px(AIM));
    Some(format!(
        "<svg viewBox=\"0 0 {} {height}\" aria-hidden=\"true\"><rect class=\"{class}\" x=\"0\" \
         y=\"4\" width=\"{}\" height=\"10\"/><line class=\"spread\" x1=\"{}\" x2=\"{}\" \
         y1=\"{middle}\" y2=\"{middle}\"/><line class=\"aim\" x1=\"{aim}\" x2=\"{aim}\" y1=\"0\" \
         y2=\"{height}\"/></svg>",
        Px(WIDTH),
        x(median),
        x(least),
        x(most)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(least: f64, median: f64, most: f64) -> Spread {
        Spread { least, median, most }
    }

    fn row(id: &str, unit: &str, ratio: Option<Spread>, aim: Aim) -> Row {
        let (work, ours) = ("a <work>".to_owned(), spread(90.0, 100.0, 110.0));
        let against = ratio.map(|_| spread(80.0, 120.0, 130.0));
        Row { id: id.to_owned(), work, ours, unit: unit.to_owned(), against, ratio, aim }
    }

    fn measured() -> Measured {
        let rows = vec![
            row("L1", "us", Some(spread(1.0, 1.25, 2.5)), Aim::AtMost(1.25)),
            row("T1", "/s", Some(spread(0.25, 0.5, 0.75)), Aim::AtLeast(0.75)),
            row("S1", "/s", None, Aim::AtLeast(100.5)),
            row("L3", "us", Some(spread(0.2, 0.5, 1.0)), Aim::Told),
        ];
        Measured {
            command: "ONLY=<all> bash/bench.sh 5 1".to_owned(),
            machine: "2 processors".to_owned(),
            commit: "abc".to_owned(),
            when: "2026-11-27".to_owned(),
            rounds: 5,
            rows,
        }
    }

    /// The widths of the bars, in their order.
    fn widths(page: &str) -> Vec<(String, f64)> {
        let bars = page.split("<rect class=\"").skip(1);
        let parsed = bars.map(|bar| {
            let (class, rest) = bar.split_once('"').unwrap();
            let width = rest.split("width=\"").nth(1).unwrap().split('"').next().unwrap();
            (class.to_owned(), width.parse().unwrap())
        });
        parsed.collect()
    }

    #[test]
    fn a_figure_has_its_aim_its_ratio_with_the_spread_and_whether_it_is_met() {
        let page = page(&measured());
        for part in [
            "<h1>4 figures, 1 of 3 aims met</h1>",
            "<code>ONLY=&lt;all&gt; bash/bench.sh 5 1</code>",
            "<dd>2 processors</dd>",
            "<dd>abc</dd>",
            "<td class=\"work\">a &lt;work&gt;</td><td>100 [90–110] us</td><td>120 [80–130]</td>\
             <td>1.25 [1.00–2.50]</td><td>≤ 1.25</td><td><b class=\"met\">met</b></td>",
            "<td>0.50 [0.25–0.75]</td><td>≥ 0.75</td><td><b class=\"missed\">missed</b></td>",
            "<td>100 [90–110] /s</td><td></td><td></td><td>≥ 100.5</td>",
        ] {
            assert!(page.contains(part), "{part}\n{page}");
        }
        assert!(!page.contains("<script") && !page.contains("http://") && !page.contains(" src="));
    }

    #[test]
    fn a_bar_ends_at_the_aim_when_that_is_met_to_the_point_and_is_longer_the_better() {
        let found = widths(&page(&measured()));
        let classes: Vec<&str> = found.iter().map(|(class, _)| class.as_str()).collect();
        assert_eq!(classes, ["met", "missed", "missed", "told"]);
        let widths: Vec<f64> = found.iter().map(|(_, width)| *width).collect();
        assert_eq!(widths[0], AIM);
        assert!((widths[1] - AIM * 2.0 / 3.0).abs() < 0.1, "{widths:?}");
        assert!(widths[2] < AIM && widths[2] > AIM * 0.99, "{widths:?}");
        // Half the time of what it is compared with, and no bar is longer than that.
        assert_eq!(widths[3], WIDTH);
    }
}
