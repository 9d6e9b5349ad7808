//! Colours and classes. A ballot is a colour, alternately solid and hollow, so that neighbours
//! differ even in print without colours; a kind of message is a style of line and a word.

use std::fmt::Write;

/// How many colours there are for ballots; then they start again.
pub const COLOURS: usize = 5;

const LIGHT: [&str; COLOURS] = ["#0060A8", "#C24E00", "#00805A", "#A2468C", "#2B3440"];
const DARK: [&str; COLOURS] = ["#58A6FF", "#FF9A5C", "#35C795", "#F2B5E6", "#E8ECF1"];

const BASE: &str = include_str!("diagram.css");

const DARK_BASE: &str = include_str!("diagram_dark.css");

fn ballots(colours: &[&str]) -> String {
    let mut text = String::new();
    for (place, colour) in colours.iter().enumerate() {
        let _ = write!(text, ".s{place}{{stroke:{colour}}}.f{place},.t{place}{{fill:{colour}}}");
    }
    text
}

/// The style of every picture. On a dark screen it is dark; renderers that know no media queries,
/// and printers, get the light one.
pub fn sheet() -> String {
    let (light, dark) = (ballots(&LIGHT), ballots(&DARK));
    let dark_base = DARK_BASE.trim_end();
    format!("{BASE}{light}\n@media screen and (prefers-color-scheme:dark){{{dark_base}{dark}}}\n")
}

/// The hatchings, one for each colour and one for what is cut off.
pub fn hatchings() -> String {
    let mut text = String::new();
    let all = (0..COLOURS).map(|place| (place.to_string(), format!("f{place}")));
    for (name, class) in all.chain([("c".to_owned(), "cf".to_owned())]) {
        let _ = write!(
            text,
            "<pattern id=\"h{name}\" width=\"5\" height=\"5\" patternUnits=\"userSpaceOnUse\" \
             patternTransform=\"rotate(45)\"><rect class=\"{class}\" width=\"2.2\" height=\"5\"/>\
             </pattern>"
        );
    }
    text
}

/// Which colour the ballot of this place has.
pub fn colour(place: usize) -> usize {
    place % COLOURS
}

/// Whether the ballot of this place is drawn solid.
pub fn is_solid(place: usize) -> bool {
    place.is_multiple_of(2)
}
