//! Where a moment is: time flows down, in its order but not to scale.
//!
//! A distance is a hint, labels have room, and what is long and empty is a band that says how long
//! it is. The page's script has the same rules; a test holds them together.

use std::collections::{BTreeMap, BTreeSet};

use super::scene::{Fan, Scene};
use crate::protocol::types::{NodeId, Time};
use crate::sim::record::Fate;

/// Nothing happens for longer than this, in microseconds: a band.
pub const GAP: u64 = 1000;
/// How far apart two labels of one lane are, at least.
pub const ROW: f64 = 15.0;
/// How high a band is.
pub const BAND: f64 = 30.0;
/// Where the lanes begin.
pub const TOP: f64 = 132.0;

/// A while in which nothing is drawn.
#[derive(Clone, Debug)]
pub struct Gap {
    /// From when.
    pub from: Time,
    /// Until when.
    pub until: Time,
    /// Where its upper edge is.
    pub top: f64,
    /// How many heartbeats each process sent in it.
    pub beats: BTreeMap<NodeId, usize>,
}

/// Where everything is, from the top down.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Moments at which something is drawn.
    pub ticks: BTreeMap<Time, f64>,
    /// For each message the row in which it leaves: several leave one process at one moment.
    pub rows: Vec<usize>,
    /// The bands.
    pub gaps: Vec<Gap>,
    /// Below everything.
    pub bottom: f64,
}

impl Layout {
    /// Where everything of `scene` is.
    pub fn new(scene: &Scene<'_>) -> Self {
        let (rows, widest) = rows(&scene.fans);
        let mut layout =
            Layout { ticks: BTreeMap::new(), rows, gaps: Vec::new(), bottom: TOP + 66.0 };
        let mut previous: Option<(Time, f64)> = None;
        for time in moments(scene) {
            let extra = |time| (widest.get(&time).copied().unwrap_or(1) - 1) as f64 * ROW;
            let y = match previous {
                None => TOP + 26.0,
                Some((before, y)) if time.0 - before.0 > GAP => {
                    let top = y + extra(before) + 26.0;
                    let beats = beats(scene, before, time);
                    layout.gaps.push(Gap { from: before, until: time, top, beats });
                    top + BAND + 24.0
                }
                Some((before, y)) => y + step(time.0 - before.0) + extra(before),
            };
            layout.ticks.insert(time, y);
            layout.bottom = y + extra(time) + 40.0;
            previous = Some((time, y));
        }
        layout
    }

    /// Where a moment is; between two that are drawn it is where the earlier one is.
    pub fn y(&self, time: Time) -> f64 {
        let before = self.ticks.range(..=time).next_back().map(|(_, y)| *y);
        before.unwrap_or(TOP - 14.0)
    }

    /// Where a datagram that left at `sent` would have arrived at `time`, had it arrived.
    pub fn would_be(&self, sent: Time, time: Time) -> f64 {
        let (mut before, mut y) = (sent, self.y(sent));
        for (tick, at) in self.ticks.range(Time(sent.0 + 1)..) {
            if tick.0 - before.0 > GAP {
                break;
            }
            if *tick >= time {
                let share = (time.0 - before.0) as f64 / (tick.0 - before.0) as f64;
                return y + (at - y) * share;
            }
            (before, y) = (*tick, *at);
        }
        y.max(self.y(sent) + 26.0)
    }
}

/// How far apart two moments are drawn between which `length` microseconds pass.
fn step(length: u64) -> f64 {
    (13.0 + 6.0 * (1.0 + length as f64 / 12.0).log2()).min(34.0)
}

/// The row of each message, and how many rows a moment needs.
fn rows(fans: &[Fan<'_>]) -> (Vec<usize>, BTreeMap<Time, usize>) {
    let mut taken: BTreeMap<(Time, NodeId), usize> = BTreeMap::new();
    let mut widest: BTreeMap<Time, usize> = BTreeMap::new();
    let mut rows = Vec::new();
    for fan in fans {
        let row = taken.entry((fan.time, fan.from)).or_insert(0);
        rows.push(*row);
        *row += 1;
        let most = widest.entry(fan.time).or_insert(1);
        *most = (*most).max(*row);
    }
    (rows, widest)
}

/// Every moment at which something is drawn.
fn moments(scene: &Scene<'_>) -> BTreeSet<Time> {
    let sent = scene.fans.iter().map(|fan| fan.time);
    let copies = scene.fans.iter().flat_map(|fan| &fan.copies);
    let read = copies.filter(|copy| copy.fate == Fate::Read).map(|copy| copy.time);
    let known = scene.chips.iter().map(|chip| chip.time);
    let told = scene.story.iter().map(|sentence| sentence.time);
    sent.chain(read).chain(known).chain(told).collect()
}

/// Heartbeats between two moments; those that one of the two brought about do not count.
fn beats(scene: &Scene<'_>, from: Time, until: Time) -> BTreeMap<NodeId, usize> {
    let mut count = BTreeMap::new();
    for (time, node) in &scene.beats {
        if from.0 + 100 < time.0 && *time < until {
            *count.entry(*node).or_insert(0) += 1;
        }
    }
    count
}
