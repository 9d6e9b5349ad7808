//! Charts, as SVG.

use std::path::Path;

use plotters::coord::ranged1d::{Ranged, ValueFormatter};
use plotters::prelude::*;

/// One line of a chart.
pub struct Line {
    /// Its name in the legend.
    pub name: String,
    /// Its points.
    pub points: Vec<(f64, f64)>,
}

/// The content of a chart.
pub struct Chart<'a> {
    /// Above it.
    pub title: &'a str,
    /// Along x and along y.
    pub axes: (&'a str, &'a str),
    /// Whether each axis is logarithmic.
    pub logarithmic: (bool, bool),
}

const COLOURS: [RGBColor; 4] =
    [RGBColor(31, 119, 180), RGBColor(214, 39, 40), RGBColor(44, 160, 44), RGBColor(127, 127, 127)];

impl Chart<'_> {
    /// Draws the lines into a file.
    pub fn draw(&self, path: &Path, lines: &[Line]) -> Result<(), String> {
        let points = || lines.iter().flat_map(|line| &line.points);
        if points().next().is_none() {
            return Ok(()); // Nothing was measured.
        }
        let bounds = |of: fn(&(f64, f64)) -> f64, logarithmic: bool| {
            let least = points().map(of).fold(f64::MAX, f64::min);
            let most = points().map(of).fold(f64::MIN, f64::max);
            if logarithmic { least / 1.5..most * 1.5 } else { 0.0..most * 1.1 }
        };
        let x = bounds(|point| point.0, self.logarithmic.0);
        let y = bounds(|point| point.1, self.logarithmic.1);
        let area = SVGBackend::new(path, (720, 440)).into_drawing_area();
        area.fill(&WHITE).map_err(|error| error.to_string())?;
        let mut builder = ChartBuilder::on(&area);
        builder.caption(self.title, ("sans-serif", 18)).margin(12);
        builder.x_label_area_size(40).y_label_area_size(80);
        match self.logarithmic {
            (true, true) => {
                self.fill(builder.build_cartesian_2d(x.log_scale(), y.log_scale()), lines)
            }
            (true, false) => self.fill(builder.build_cartesian_2d(x.log_scale(), y), lines),
            (false, true) => self.fill(builder.build_cartesian_2d(x, y.log_scale()), lines),
            (false, false) => self.fill(builder.build_cartesian_2d(x, y), lines),
        }?;
        area.present().map_err(|error| error.to_string())
    }

    fn fill<'a, X, Y, E: std::fmt::Display>(
        &self,
        context: Result<ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, Y>>, E>,
        lines: &[Line],
    ) -> Result<(), String>
    where
        X: Ranged<ValueType = f64> + ValueFormatter<f64>,
        Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        let said = |error: &dyn std::fmt::Display| error.to_string();
        let mut context = context.map_err(|error| said(&error))?;
        let label = |number: &f64| {
            // Steps of a tenth add up to 0.6000000000000001.
            let number = (number * 1e6).round() / 1e6;
            if number >= 1e6 {
                format!("{} M", number / 1e6)
            } else if number >= 1e4 {
                format!("{} k", number / 1e3)
            } else {
                format!("{number}")
            }
        };
        let mut mesh = context.configure_mesh();
        mesh.x_desc(self.axes.0).y_desc(self.axes.1);
        mesh.x_label_formatter(&label).y_label_formatter(&label);
        mesh.light_line_style(WHITE).draw().map_err(|error| said(&error))?;
        for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
            let stroke = colour.stroke_width(2);
            context
                .draw_series(LineSeries::new(line.points.iter().copied(), stroke).point_size(3))
                .map_err(|error| said(&error))?
                .label(line.name.clone())
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], stroke));
        }
        let mut legend = context.configure_series_labels();
        // Beside the lines, not on them.
        legend.position(if is_corner_free(lines) {
            SeriesLabelPosition::UpperRight
        } else {
            SeriesLabelPosition::MiddleRight
        });
        legend.background_style(WHITE.mix(0.8)).border_style(BLACK.mix(0.3));
        legend.draw().map_err(|error| said(&error))
    }
}

/// Whether no point lies in the upper right corner.
fn is_corner_free(lines: &[Line]) -> bool {
    let points = || lines.iter().flat_map(|line| line.points.iter());
    let right = points().map(|point| point.0).fold(0.0, f64::max);
    let top = points().map(|point| point.1).fold(0.0, f64::max);
    points().all(|(x, y)| *x < 0.7 * right || *y < 0.8 * top)
}
