//! Pictures of a recorded run: a space-time diagram, an overview of thousands of messages, and a
//! page to step through.
//!
//! They are made from a [`Record`] alone, never from a role, and the same record gives the same
//! bytes: there is no clock here and no map without an order.

mod diagram;
mod labels;
mod layout;
mod legend;
mod overview;
mod page;
mod scene;
mod story;
pub(crate) mod style;
pub(crate) mod svg;
pub(crate) mod words;

use crate::sim::record::Record;
pub(crate) use page::allowed;
pub use page::page;
use scene::Scene;
pub use scene::Wish;
use svg::{Escaped, Px, Style, Svg};

/// More messages than this are drawn as an overview.
pub const DRAWN_MAX: usize = 400;

/// The text around a picture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caption {
    /// Its title.
    pub title: String,
    /// The command that draws it again.
    pub command: String,
    /// How the run ended, in one line.
    pub result: String,
    /// The same as a sentence.
    pub ending: String,
    /// The hash of the run; a transcript has none.
    pub hash: Option<u64>,
}

/// The picture of a run, as SVG.
pub fn picture(record: &Record, caption: &Caption, wish: &Wish) -> String {
    let scene = Scene::new(record, wish, &caption.ending);
    let drawn = scene.fans.len();
    if drawn <= DRAWN_MAX && !wish.overview {
        return diagram::draw(&scene, caption);
    }
    let cut_short = if record.is_cut_short { "The record was cut short. " } else { "" };
    let hint = format!(
        "{cut_short}{} datagrams were sent. This is the overview: up to {DRAWN_MAX} messages are \
         drawn one by one, and there are {drawn} without heartbeats. Part of them: --from 40ms \
         --until 60ms, or --instance 2..5",
        record.messages.len()
    );
    overview::draw(record, &scene, caption, &hint)
}

/// Puts a picture together: title, style, and what was painted.
fn frame(svg: Svg, caption: &Caption, (width, height): (f64, f64), description: &str) -> String {
    let mut head = Svg::default();
    let (left, right) = (22.0, width - 22.0);
    let result = words::cut(&caption.result, 11.0, width * 0.45);
    let room = width - 60.0 - words::width(&result, 11.0);
    head.text((left, 32.0), Style::plain(19.0).bold(), &words::cut(&caption.title, 20.0, room));
    let command = words::cut(&caption.command, 12.4, width - 240.0);
    head.text((left, 52.0), Style::plain(11.0).class("muted mono"), &command);
    head.text((right, 32.0), Style::plain(11.0).class("muted").end(), &result);
    if let Some(hash) = caption.hash {
        let hash = format!("trace hash {hash:016x}");
        head.text((right, 52.0), Style::plain(11.0).class("muted mono").end(), &hash);
    }
    let (sheet, hatchings) = (style::sheet(), style::hatchings());
    let [wide, high] = [width, height].map(Px);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {wide} {high}\" width=\"{wide}\" \
         height=\"{high}\" role=\"img\" aria-labelledby=\"title desc\">\n\
         <title id=\"title\">{}</title>\n<desc id=\"desc\">{}</desc>\n\
         <style>{sheet}</style>\n<defs>{hatchings}</defs>\n\
         <rect class=\"page\" width=\"100%\" height=\"100%\"/>\n{}{}</svg>\n",
        Escaped(&caption.title),
        Escaped(description),
        head.into_parts(),
        svg.into_parts()
    )
}

#[cfg(test)]
mod tests;
