//! Learners that keep snapshots: what a restart, a lost disk and a removed log cost them.

use std::fs::{self, File};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::world::{SOON, World, happens, text};

/// How long some hundred thousand values may take on a busy machine.
const LATER: Duration = Duration::from_secs(60);

/// How many instances are kept at least.
const KEPT: usize = 65_536;

fn world(more: &str) -> World {
    let mut world = World::alone();
    let [data, snapshots] = ["data", "snapshots"].map(|name| world.path(name));
    // So that a learner that gets no processor for a moment is not late by all that is kept.
    world.configure(&format!(
        "data {}\nsnapshots {}\nretain {KEPT}\nsnapshot_instances 10000\nclient_window_values \
         64\n{more}",
        data.display(),
        snapshots.display()
    ));
    world.start_all("acceptor", 3, &[]);
    world
}

/// Starts a learner that prints digests, for the `life`-th time.
fn digests(world: &mut World, id: u32, life: u32) -> String {
    let name = format!("learner{id}");
    let printed = format!("{name}.{life}");
    let out = File::create(world.path(&printed)).unwrap();
    let words = format!("learner {id} --apply digest");
    world.launch(&name, &words, Stdio::null(), out.into());
    printed
}

fn feed(world: &mut World, client: u32, count: usize) {
    let name = format!("client{client}");
    let fed = world.path(&format!("fed{client}"));
    let values: String = (1..=count).map(|line| format!("{client}-{line}\n")).collect();
    fs::write(&fed, values).unwrap();
    let words = format!("client {client} --first-instance auto");
    world.launch(&name, &words, File::open(fed).unwrap().into(), Stdio::null());
    assert!(world.end_of(&name, LATER).success(), "{}", world.complaints(&name));
}

/// The lines that were printed to this file: a position and a digest each.
fn lines(world: &World, printed: &str) -> Vec<(u64, String)> {
    let text = fs::read_to_string(world.path(printed)).unwrap();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let line = |line: &str| {
        let (position, digest) = line.split_once(' ').unwrap();
        (position.parse().unwrap(), digest.to_owned())
    };
    whole.lines().map(line).collect()
}

/// Whether what was printed there reaches this position before long.
fn reaches(world: &World, printed: &str, position: u64) -> bool {
    happens(SOON, || lines(world, printed).last().is_some_and(|(last, _)| *last >= position))
}

/// Demands that all lines agree with those of a learner that was there from an earlier place on.
fn agree(world: &World, printed: &str, with: &str) {
    let lines_here = lines(world, printed);
    let (last, _) = lines_here.last().expect("something was printed");
    // It may be behind.
    assert!(reaches(world, with, *last), "{with} does not come to {last}");
    let all = lines(world, with);
    let differ: Vec<_> = lines_here.iter().filter(|line| !all.contains(line)).collect();
    assert!(differ.is_empty(), "{printed} has what {with} has not: {differ:?}");
}

fn snapshot(words: &[&str]) -> Output {
    let output = Command::new(crate::world::PAXOS).arg("snapshot").args(words).output();
    output.unwrap()
}

fn path(world: &World, name: &str) -> String {
    world.path(name).display().to_string()
}

/// A learner goes on where its snapshot was taken, although the log begins above its beginning. One
/// that lost its snapshots fetches one from another; where there is none it says so, and takes an
/// imported one.
#[test]
fn a_learner_goes_on_from_its_snapshot_and_from_that_of_another_one() {
    let mut world = world("keepers 1 2\n");
    world.start("proposer1", &[]);
    let whole = digests(&mut world, 3, 1);
    digests(&mut world, 1, 1);
    digests(&mut world, 2, 1);
    feed(&mut world, 1, 50_000);
    // It is killed in the middle of the second half.
    world.kill("learner1");
    feed(&mut world, 2, 30_000);
    let first = digests(&mut world, 1, 2);
    feed(&mut world, 3, 120_000);
    for printed in [&first, &"learner2.1".to_owned()] {
        assert!(reaches(&world, printed, 200_000), "{}", world.complaints("learner1"));
        agree(&world, printed, &whole);
    }
    assert!(lines(&world, &first)[0].0 > 9_000, "it has not begun anew");
    assert!(world.complaints("learner1").contains("goes on with instance"));

    // Only now can the log have been removed below what both have. A new one has nothing.
    world.kill("learner2");
    fs::remove_dir_all(world.path("snapshots/learner-2")).unwrap();
    let fetched = digests(&mut world, 2, 2);
    feed(&mut world, 4, 2_000);
    assert!(reaches(&world, &fetched, 202_000), "{}", world.complaints("learner2"));
    agree(&world, &fetched, &whole);
    let said = world.complaints("learner2");
    assert!(said.contains("fetches a snapshot from another learner"), "{said}");
    assert!(lines(&world, &fetched)[0].0 > 9_000, "it has not begun anew");

    // The others are away.
    (1..=3).for_each(|id| world.kill(&format!("learner{id}")));
    fs::remove_dir_all(world.path("snapshots/learner-2")).unwrap();
    digests(&mut world, 2, 3);
    assert_eq!(world.end_of("learner2", LATER).code(), Some(1));
    assert!(world.complaints("learner2").contains("no learner has a snapshot"));

    let (one, two) = (path(&world, "snapshots/learner-1"), path(&world, "snapshots/learner-2"));
    let file = path(&world, "state");
    let exported = snapshot(&["export", &one, &file]);
    assert!(exported.status.success(), "{}", text(&exported.stderr));
    assert!(text(&snapshot(&["verify", &file]).stdout).contains("whole, of a digest of cluster"));
    let imported = snapshot(&["import", &file, &two]);
    assert!(imported.status.success(), "{}", text(&imported.stderr));
    let third = digests(&mut world, 3, 2);
    let second = digests(&mut world, 2, 4);
    feed(&mut world, 5, 3_000);
    assert!(reaches(&world, &second, 205_000), "{}", world.complaints("learner2"));
    assert!(reaches(&world, &third, 205_000), "{}", world.complaints("learner3"));
    let last = |printed: &str| lines(&world, printed).pop();
    assert_eq!(last(&second), last(&third));
}

/// Entries that too few keepers have in a snapshot are not removed.
#[test]
fn keepers_that_are_not_there_hold_the_log_back() {
    let mut world = world("keepers 1 2 3\n");
    world.start("proposer1", &[]);
    digests(&mut world, 1, 1);
    feed(&mut world, 1, 160_000);
    world.start("learner4", &[]);
    world.await_lines(&[4], 160_000, SOON);
    assert!(text(&world.decided(4)).starts_with("1\t1-1\n"), "all of it is there");
    // The second one is enough, and then the first of it goes.
    digests(&mut world, 2, 1);
    let mut client = 1;
    let mut has_gone = |world: &mut World| {
        client += 1;
        feed(world, client, 20_000);
        world.launch("learner5", "learner 5 --from 1", Stdio::null(), Stdio::null());
        let is_refused = happens(Duration::from_secs(1), || {
            world.complaints("learner5").contains("the log begins at instance")
        });
        world.kill("learner5");
        is_refused
    };
    assert!((0..10).any(|_| has_gone(&mut world)), "{}", world.complaints("proposer1"));
}

#[test]
fn what_is_damaged_or_in_the_way_is_named() {
    let mut world = world("");
    world.start("proposer1", &[]);
    let printed = digests(&mut world, 1, 1);
    feed(&mut world, 1, 45_000);
    assert!(reaches(&world, &printed, 45_000), "{}", world.complaints("learner1"));
    let one = path(&world, "snapshots/learner-1");
    let names = || {
        let listed = snapshot(&["list", &one]);
        let text = text(&listed.stdout).to_string();
        text.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(happens(SOON, || names().len() == 2), "{:?}", names());
    let imported = snapshot(&["import", &format!("{one}/{}", names()[0]), &one]);
    assert_eq!(imported.status.code(), Some(2));
    assert!(text(&imported.stderr).contains("is in use by a learner"));
    world.kill("learner1");

    let names = names();
    let newest = world.path(&format!("snapshots/learner-1/{}", names[0]));
    let mut bytes = fs::read(&newest).unwrap();
    let middle = bytes.len() - 40;
    bytes[middle] ^= 1;
    fs::write(&newest, &bytes).unwrap();
    let verified = snapshot(&["verify", &one]);
    assert_eq!(verified.status.code(), Some(1));
    assert!(text(&verified.stdout).contains("the checksum of the frame at byte"));
    let whole = digests(&mut world, 2, 1);
    let again = digests(&mut world, 1, 2);
    feed(&mut world, 2, 15_000);
    assert!(reaches(&world, &again, 60_000) && reaches(&world, &whole, 60_000));
    assert!(world.complaints("learner1").contains("an older snapshot is used"));
    agree(&world, &again, &whole);

    // With no intact snapshot it does not begin as if there had been none.
    world.kill("learner1");
    for name in snapshot_names(&world) {
        fs::write(world.path(&format!("snapshots/learner-1/{name}")), "mpxsnap1").unwrap();
    }
    digests(&mut world, 1, 3);
    assert_eq!(world.end_of("learner1", SOON).code(), Some(2));
    assert!(world.complaints("learner1").contains("no other snapshot there is whole"));
    assert_eq!(snapshot(&["export", &one, &path(&world, "state")]).status.code(), Some(1));
    for words in [["list", "nowhere"], ["verify", "nowhere"], ["export", "nowhere"]] {
        let refused = snapshot(
            &[words[0], &path(&world, words[1]), &path(&world, "x")]
                [..if words[0] == "export" { 3 } else { 2 }],
        );
        assert_eq!(refused.status.code(), Some(2), "{words:?}");
        assert_eq!(text(&refused.stderr).lines().count(), 1, "{words:?}");
    }
}

fn snapshot_names(world: &World) -> Vec<String> {
    let entries = fs::read_dir(world.path("snapshots/learner-1")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("snapshot-")).collect()
}
