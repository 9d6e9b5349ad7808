//! The disks of a stage: what acceptors read back from theirs, and learners that keep snapshots.
//!
//! A disk does at once what it is asked for, and always succeeds.

use std::fmt::Write as _;
use std::sync::Arc;

use super::super::disk::SimDisk;
use super::super::keeping::{newest, shop};
use super::{Player, Stage};
use crate::protocol::actor::{Effects, Input, Record as Stored};
use crate::protocol::checkpoint::{Checkpoint, Head};
use crate::protocol::learner::Beginning;
use crate::protocol::parts::Learner;
use crate::protocol::recall::{self, Found, Reading};
use crate::protocol::segments::{Page, Segments};
use crate::protocol::transfer::{Errand, Outcome};
use crate::protocol::types::{Ballot, Instance, NodeId, Run};

/// How long the application's part of a snapshot is: a few chunks, and not more than one can read.
const CONTENT: [u8; 900] = [b's'; 900];

/// The last votes in the run of `reading` among what an acceptor has stored.
fn found(disk: &[Stored], reading: &Reading) -> Found {
    let run = reading.run;
    let mut votes: Segments<Ballot> = Segments::new();
    for record in disk {
        let Stored::Accepted { ballot, from, entries } = record else { continue };
        let page = Page { from: *from, entries: entries.clone() };
        let within = Run::new((*from).max(run.from), page.run().until.min(run.until));
        // Later votes are of higher ballots.
        if within.from < within.until {
            votes.insert(page.part(within), *ballot);
        }
    }
    Found { run, votes }
}

/// A learner as it starts, with what an earlier life has kept on this disk; or with nothing.
pub(super) fn keeper(learner: Learner, disk: &SimDisk) -> Learner {
    let kind = shop(disk.clone()).kind;
    let learner = learner.beginning(Beginning::At(Instance::FIRST));
    match newest(disk.clone()) {
        Some(checkpoint) => learner.restored(kind, checkpoint),
        None => learner.with_snapshots(kind),
    }
}

impl Stage {
    /// An acceptor reads what its turn wants read, and answers with it.
    pub(super) fn read_back(&mut self, id: NodeId, readings: Vec<Reading>) {
        let Some(Player { sender, disk, .. }) = self.nodes.get(&id) else { return };
        let (sender, mut fx) = (*sender, Effects::new());
        for reading in readings {
            let what = if reading.has_entries { "votes with their values" } else { "votes" };
            let _ = writeln!(self.output, "  {id} reads {what} for {} from its disk", reading.run);
            recall::answer(&reading, &found(disk, &reading), &self.settings, &mut fx);
        }
        fx.send.into_iter().for_each(|(to, message)| self.post(sender, to, message));
    }

    /// A learner has the files of snapshots seen to. What comes of it is its next input.
    pub(super) fn run_errands(&mut self, id: NodeId, errands: Vec<Errand>) -> Result<(), String> {
        for errand in errands {
            if let Errand::Put { snapshot, offset, bytes } = &errand {
                let (of, end) = (snapshot.of, offset + bytes.len() as u64);
                let _ =
                    writeln!(self.output, "  {id} stores the snapshot of {of} up to byte {end}");
            }
            let node = self.nodes.get_mut(&id).ok_or_else(|| format!("{id} is not there"))?;
            let disk = node.snapshots.clone().ok_or_else(|| format!("{id} has no snapshots"))?;
            let outcome = shop(disk).run(errand, &self.settings).map_err(|e| e.to_string())?;
            if let Some(Outcome::Spoiled(snapshot)) = &outcome {
                let _ = writeln!(self.output, "  {id} cannot use the snapshot of {}", snapshot.of);
            }
            if let Some(outcome) = outcome {
                let done = Input::Done(outcome);
                self.turn(id, |role, now, fx| role.actor().on_input(now, done, fx))?;
            }
        }
        Ok(())
    }

    /// A learner that keeps snapshots takes one here, which is stable at once.
    pub(super) fn keep(&mut self, id: NodeId, checkpoint: &Arc<Checkpoint>) -> Result<(), String> {
        let node = self.nodes.get(&id).ok_or_else(|| format!("{id} is not there"))?;
        let Some(disk) = node.snapshots.clone() else { return Ok(()) };
        let Head { of, .. } = checkpoint.head;
        let put = shop(disk).put(checkpoint, |out| out.write_all(&CONTENT));
        put.map_err(|error| format!("{id} cannot keep a snapshot: {error}"))?;
        let _ = writeln!(self.output, "  {id} keeps a snapshot of {of}");
        let kept = Input::Kept(checkpoint.head);
        self.turn(id, |role, now, fx| role.actor().on_input(now, kept, fx))
    }
}
