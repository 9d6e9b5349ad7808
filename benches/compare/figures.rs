//! The measurements, round by round, and their statistics: medians, spreads, ratios.

use std::collections::BTreeMap;
use std::fmt::Write;

use multi_paxos::report::bench::{self, Spread};
use serde_json::Value as Json;

pub use multi_paxos::report::bench::Aim;

/// Every figure of every run.
#[derive(Debug, Default)]
pub struct Figures {
    runs: BTreeMap<(String, u32), Json>,
}

/// The suffix of a run's name when another build of `paxos` did it.
pub const OTHER: &str = "~other";

/// A figure of a run: `("t1", "values_per_second")`.
pub type Figure = (&'static str, &'static str);

/// A line of the table.
pub struct Row {
    /// A short name.
    pub id: &'static str,
    /// What was done.
    pub work: &'static str,
    /// What is measured.
    pub ours: Figure,
    /// What it is compared with; several are added up.
    pub against: &'static [Figure],
    /// What the ratio should be.
    pub aim: Aim,
    /// The unit of both. A time is the better the less it is.
    pub unit: &'static str,
}

impl Row {
    fn is_time(&self) -> bool {
        self.unit.ends_with('s') && !self.unit.ends_with("/s")
    }
}

/// The median of some figures, with the least and the greatest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Median {
    /// The figure in the middle.
    pub middle: f64,
    least: f64,
    most: f64,
}

impl Median {
    fn of(mut figures: Vec<f64>) -> Option<Self> {
        figures.sort_by(f64::total_cmp);
        let (least, most) = (*figures.first()?, *figures.last()?);
        let half = figures.len() / 2;
        let middle = if figures.len() % 2 == 1 {
            figures[half]
        } else {
            f64::midpoint(figures[half - 1], figures[half])
        };
        Some(Median { middle, least, most })
    }

    fn spread(self) -> Spread {
        let Median { middle, least, most } = self;
        Spread { least, median: middle, most }
    }

    fn show(&self, digits: usize) -> String {
        let Median { middle, least, most } = self;
        format!("{middle:.digits$} [{least:.digits$}-{most:.digits$}]")
    }
}

impl Figures {
    /// Takes what `run` printed in `round`.
    pub fn add(&mut self, run: &str, round: u32, printed: Json) {
        self.runs.insert((run.to_owned(), round), printed);
    }

    /// Every run as a line of JSON.
    pub fn lines(&self) -> String {
        let line = |((run, round), printed): (&(String, u32), &Json)| {
            format!("{}\n", serde_json::json!({"run": run, "round": round, "printed": printed}))
        };
        self.runs.iter().map(line).collect()
    }

    fn rounds(&self) -> impl Iterator<Item = u32> {
        0..=self.runs.keys().map(|(_, round)| *round).max().unwrap_or(0)
    }

    fn get(&self, (run, key): Figure, round: u32) -> Option<f64> {
        self.runs.get(&(run.to_owned(), round))?.get(key)?.as_f64()
    }

    /// The median of a figure over all rounds.
    pub fn median(&self, run: &str, key: &str) -> Option<Median> {
        let figure = |round| self.runs.get(&(run.to_owned(), round))?.get(key)?.as_f64();
        Median::of(self.rounds().filter_map(figure).collect())
    }

    fn sum(&self, figures: &[Figure], round: u32) -> Option<f64> {
        figures.iter().map(|figure| self.get(*figure, round)).sum()
    }

    /// The median of the ratios within each round.
    fn ratio(&self, row: &Row) -> Option<Median> {
        let ratio = |round| {
            let against = self.sum(row.against, round)?;
            self.get(row.ours, round).map(|ours| ours / against)
        };
        Median::of(self.rounds().filter_map(ratio).collect())
    }

    /// Compares each figure with that of another build, as Markdown. A figure is worse if it is so
    /// by a twentieth in the median, and by a little in every round.
    pub fn versus(&self, rows: &[Row]) -> String {
        let mut table = "| id | work | this | other | this to other | |\n".to_owned();
        table += "|---|---|---|---|---|---|\n";
        let mut seen = Vec::new();
        for row in rows {
            let (run, key) = row.ours;
            let other = format!("{run}{OTHER}");
            let both = (self.median(run, key), self.median(&other, key));
            let (Some(this), Some(that)) = both else { continue };
            if seen.contains(&row.ours) {
                continue; // It was compared with several.
            }
            seen.push(row.ours);
            let at = |run: &str, round| self.runs.get(&(run.to_owned(), round))?.get(key)?.as_f64();
            let ratio = |round| Some(at(run, round)? / at(&other, round)?);
            let ratios: Vec<f64> = self.rounds().filter_map(ratio).collect();
            let Some(ratio) = Median::of(ratios) else { continue };
            let is_worse = if row.is_time() {
                ratio.middle > 1.05 && ratio.least > 1.0
            } else {
                ratio.middle < 0.95 && ratio.most < 1.0
            };
            let digits = if this.middle < 10.0 { 2 } else { 0 };
            let _ = writeln!(
                table,
                "| {} | {} | {} {} | {} | {} | {} |",
                row.id,
                row.work,
                this.show(digits),
                row.unit,
                that.show(digits),
                ratio.show(2),
                if is_worse { "**worse**" } else { "" },
            );
        }
        table
    }

    /// The measurements of each row. Rows that were not measured are left out.
    pub fn measured(&self, rows: &[Row]) -> Vec<bench::Row> {
        let of = |row: &Row| {
            let ours = self.median(row.ours.0, row.ours.1)?;
            let against = self.rounds().filter_map(|round| self.sum(row.against, round));
            let against = Median::of(against.collect()).filter(|_| !row.against.is_empty());
            if against.is_none() && !row.against.is_empty() {
                return None; // An aim for a ratio says nothing of ours alone.
            }
            let ratio = self.ratio(row).filter(|_| against.is_some());
            Some(bench::Row {
                id: row.id.to_owned(),
                work: row.work.to_owned(),
                ours: ours.spread(),
                unit: row.unit.to_owned(),
                against: against.map(Median::spread),
                ratio: ratio.map(Median::spread),
                aim: row.aim,
            })
        };
        rows.iter().filter_map(of).collect()
    }

    /// The table, as Markdown.
    pub fn table(rows: &[bench::Row]) -> String {
        let mut table = "| id | work | ours | against | ratio | aim | |\n".to_owned();
        table += "|---|---|---|---|---|---|---|\n";
        let show = |spread: Option<Spread>, digits: usize| {
            spread.map_or(String::new(), |Spread { least, median, most }| {
                Median { middle: median, least, most }.show(digits)
            })
        };
        for row in rows {
            let aim = match row.aim {
                Aim::AtMost(aim) => format!("<= {aim}"),
                Aim::AtLeast(aim) => format!(">= {aim}"),
                Aim::Told => String::new(),
            };
            let met = row.is_met().map_or("", |met| if met { "met" } else { "**missed**" });
            let digits = if row.ours.median < 10.0 { 2 } else { 0 };
            let _ = writeln!(
                table,
                "| {} | {} | {} {} | {} | {} | {aim} | {met} |",
                row.id,
                row.work,
                show(Some(row.ours), digits),
                row.unit,
                show(row.against, digits),
                show(row.ratio, 2),
            );
        }
        table
    }
}
