//! The charts of the documentation, from the measurements.

use std::path::Path;

use crate::charts::{Chart, Line};
use crate::cluster::FOLDER;
use crate::figures::Figures;
use crate::measuring::{LOSSES, SWEEP};
use crate::rows::RATE;
use crate::works::GROWTH;

/// Draws the charts for which there are figures, into the directory of the results.
pub fn draw(figures: &Figures) -> Result<(), String> {
    let folder = Path::new(FOLDER);
    latency(figures).draw(folder, "latency.svg")?;
    loss(figures).draw(folder, "loss.svg")?;
    growth(figures).draw(folder, "growth.svg")
}

/// A chart and what it shows.
struct Drawing {
    chart: Chart<'static>,
    lines: Vec<Line>,
}

impl Drawing {
    fn draw(&self, folder: &Path, name: &str) -> Result<(), String> {
        self.chart.draw(&folder.join(name), &self.lines)
    }
}

/// The median of a figure.
fn at(figures: &Figures, run: &str, key: &str) -> Option<f64> {
    figures.median(run, key).map(|median| median.middle)
}

fn latency(figures: &Figures) -> Drawing {
    let sweep = |prefix: &str| {
        let point = |outstanding: &&str| {
            let run = format!("{prefix}{outstanding}");
            Some((at(figures, &run, RATE)?, at(figures, &run, "p50_us")?))
        };
        SWEEP.iter().filter_map(point).collect()
    };
    let lines = vec![
        Line { name: "paxos".to_owned(), points: sweep("sweep_") },
        Line { name: "limit of the machine".to_owned(), points: sweep("sweep_limit_") },
    ];
    let axes = ("values a second", "microseconds, median");
    let title = "Latency against throughput, 1 to 4096 values outstanding";
    Drawing { chart: Chart { title, axes, logarithmic: (true, true) }, lines }
}

fn loss(figures: &Figures) -> Drawing {
    let point = |(run, percent, _): &(&str, f64, &str)| Some((*percent, at(figures, run, RATE)?));
    let points = LOSSES.iter().filter_map(point).collect();
    let lines = vec![Line { name: "64 outstanding".to_owned(), points }];
    let axes = ("percent of datagrams lost at every process", "values a second");
    let title = "Throughput against loss";
    Drawing { chart: Chart { title, axes, logarithmic: (false, false) }, lines }
}

fn growth(figures: &Figures) -> Drawing {
    let point = |(length, key): &(u64, &str)| Some((*length as f64, at(figures, "g1", key)?));
    let points = GROWTH.iter().filter_map(point).collect();
    let lines = vec![Line { name: "five processes together".to_owned(), points }];
    let axes = ("instances in the log", "microseconds of processor a value");
    let title = "Cost of a value against the length of the log";
    Drawing { chart: Chart { title, axes, logarithmic: (true, false) }, lines }
}
