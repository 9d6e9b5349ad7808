//! What acceptors keep: their data is lost, mixed up, damaged or torn, or the disk fails.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::faults::{COUNT, strike};
use crate::world::{SOON, World, happens, skip, succeeds, values};

/// A durable cluster that runs.
fn cluster() -> World {
    let mut world = World::durable();
    world.start_cluster(4, "0");
    world
}

/// A durable cluster that has decided 1000 values of each client, one client after the other, and
/// whose acceptors were killed.
fn killed_cluster() -> World {
    let mut world = cluster();
    for id in 1..=2 {
        world.feed(id, values(&format!("v{id}"), 1000).as_bytes(), &["0", "0", "auto"]);
        world.await_lines(&[1, 2], 1000 * id as usize, SOON);
    }
    // One acceptor of the three may still be writing what the others have decided, and a record
    // that is torn here would be one too many.
    let logs = |world: &World| [1, 2, 3].map(|id| fs::read(log(world, id)).unwrap());
    let mut before = Vec::new();
    while before != logs(&world) {
        before = logs(&world).to_vec();
        thread::sleep(Duration::from_millis(100));
    }
    for id in 1..=3 {
        world.kill(&format!("acceptor{id}"));
    }
    world
}

/// Where an acceptor keeps its data.
fn data(world: &World, id: u32) -> PathBuf {
    world.path(&format!("data/acceptor-{id}"))
}

/// The first segment of an acceptor's log.
fn log(world: &World, id: u32) -> PathBuf {
    data(world, id).join("log-00000001")
}

fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Demands that a node ends with `status`, and that the last line it says contains all of `words`.
fn expect_end(world: &mut World, name: &str, status: i32, words: &[&str]) {
    assert_eq!(world.end_of(name, SOON).code(), Some(status), "{}", world.said(name));
    let said = world.said(name);
    let line = said.lines().last().unwrap_or_default();
    for word in words {
        assert!(line.contains(word), "{name} does not say `{word}`: {said}");
    }
}

#[test]
fn an_acceptor_without_its_data_is_disowned_and_with_it_welcome() {
    let world = strike(cluster(), |world| {
        world.kill("acceptor2");
        let (own, elsewhere) = (data(world, 2), world.path("elsewhere"));
        fs::rename(&own, &elsewhere).unwrap();
        world.start("acceptor2", &[]);
        let cure = ["without what it had promised", "must not vote", "give it its data back"];
        expect_end(world, "acceptor2", 1, &cure);
        // The cure.
        fs::remove_dir_all(&own).unwrap();
        fs::rename(&elsewhere, &own).unwrap();
        world.start("acceptor2", &[]);
        // It counts: with another away, nothing is decided without it.
        world.kill("acceptor3");
    });
    world.await_lines(&[1, 2], 2 * COUNT, SOON);
    world.expect_all_delivered();
}

#[test]
fn data_of_another_acceptor_or_cluster_is_refused() {
    let mut world = killed_cluster();
    let (first, second) = (data(&world, 1), data(&world, 2));
    fs::remove_dir_all(&second).unwrap();
    copy_files(&first, &second);
    world.start("acceptor2", &[]);
    let cure = "give each acceptor its own directory";
    let identity = second.join("identity").display().to_string();
    let what = [&*identity, "the data of acceptor 1 of cluster", "not of acceptor 2", cure];
    expect_end(&mut world, "acceptor2", 2, &what);

    world.configure(&format!("cluster other\ndata {}", world.path("data").display()));
    world.start("acceptor1", &[]);
    expect_end(&mut world, "acceptor1", 2, &["not of acceptor 1 of cluster other", cure]);
}

#[test]
fn a_second_process_with_the_same_data_is_refused() {
    let world = strike(cluster(), |world| {
        let other = fs::read(data(world, 2).join("identity")).unwrap();
        let mut twin = world.neighbour();
        fs::copy(world.conf(), twin.conf()).unwrap();
        twin.start("acceptor2", &[]);
        let path = data(world, 2).display().to_string();
        let what = [&*path, "is in use: another process runs as acceptor 2"];
        expect_end(&mut twin, "acceptor2", 2, &what);
        assert_eq!(fs::read(data(world, 2).join("identity")).unwrap(), other);
        // The first one is none the worse.
        world.kill("acceptor3");
    });
    world.await_lines(&[1, 2], 2 * COUNT, SOON);
    world.expect_all_delivered();
}

/// How long the frames of a log are together. Behind them is room, in zeros.
fn stored(log: &[u8]) -> usize {
    let mut end = 0;
    while log[end..].starts_with(b"mpxf") {
        let length = u32::from_le_bytes(log[end + 4..end + 8].try_into().unwrap());
        end += 20 + length as usize;
    }
    assert!(end > 0 && log[end..].iter().all(|byte| *byte == 0));
    end
}

#[test]
fn a_damaged_log_stops_the_start() {
    let mut world = killed_cluster();
    let path = log(&world, 2);
    let mut bytes = fs::read(&path).unwrap();
    // In what was stored for the first client. A last frame that is broken looks torn.
    let middle = stored(&bytes) / 4;
    bytes[middle] ^= 1;
    fs::write(&path, &bytes).unwrap();
    world.start("acceptor2", &[]);
    let file = path.display().to_string();
    let cure = "restore the file, or retire this acceptor";
    expect_end(&mut world, "acceptor2", 2, &[&*file, "the record at byte ", "is damaged", cure]);
    // The offset is that of the frame around the byte.
    let said = world.said("acceptor2");
    let offset = said.split("at byte ").nth(1).unwrap().split(' ').next().unwrap();
    let offset: usize = offset.parse().unwrap();
    assert!(offset <= middle && bytes[offset..].starts_with(b"mpxf"), "{said}");
    // Nothing was touched.
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn a_torn_tail_is_cut() {
    let mut world = killed_cluster();
    // What was written and not answered: the beginning of one more frame.
    let mut whole = fs::read(log(&world, 1)).unwrap();
    whole.truncate(stored(&whole));
    fs::write(log(&world, 1), [&whole[..], b"mpxf\xff\x00\x00\x00torn"].concat()).unwrap();
    for id in 1..=2 {
        world.start(&format!("acceptor{id}"), &[]);
    }
    // Two of three are there, so both count.
    let mut fed = values("v1", 1000);
    fed.push_str(&values("w1", 500));
    world.note_fed(1, &fed);
    let mut stdin = world.feed_slowly(1, &["0", "0", "auto"]);
    stdin.write_all(values("w1", 500).as_bytes()).unwrap();
    drop(stdin);
    world.await_lines(&[1, 2], 2500, SOON);
    world.expect_all_delivered();
    assert!(world.said("acceptor1").contains("cut 12 bytes of a torn record"));
    // What it stored since stands where the torn bytes were.
    let now = fs::read(log(&world, 1)).unwrap();
    assert!(now.len() > whole.len() && now.starts_with(&whole));
    assert!(now[whole.len()..].starts_with(b"mpxf"));
    assert!(!now.windows(4).any(|word| word == b"torn"));
    assert_eq!(world.complaints("acceptor2"), "");
}

/// Its folder is on a file system of 24 KiB, which is less than what it is to store, in a mount
/// namespace that nobody else sees.
#[test]
fn a_full_disk_ends_the_acceptor_and_the_others_go_on() {
    let root = ["unshare", "--mount"];
    let user = ["unshare", "--mount", "--map-root-user"];
    let mount = "mount -t tmpfs -o size=24k paxos-test \"$0\" && exec \"$@\"";
    let can = |unshare: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().display().to_string();
        succeeds(&[unshare, &["sh", "-c", mount, &folder, "true"]].concat())
    };
    let Some(unshare) = [&root[..], &user[..]].into_iter().find(|unshare| can(unshare)) else {
        return skip("a full disk", "no mount namespace is allowed here");
    };
    let mut world = World::durable();
    let folder = data(&world, 2);
    fs::create_dir_all(&folder).unwrap();
    let folder = folder.display().to_string();
    world.through("acceptor2", &[unshare, &["sh", "-c", mount, &folder]].concat());
    for name in
        ["acceptor2", "acceptor1", "acceptor3", "learner1", "learner2", "proposer1", "proposer2"]
    {
        world.start(name, &[]);
    }
    let world = strike(world, |world| {
        let cure = ["No space left on device", "make room for the data directory"];
        expect_end(world, "acceptor2", 1, &cure);
    });
    world.await_lines(&[1, 2], 2 * COUNT, SOON);
    world.expect_all_delivered();
}

/// What a failed fdatasync left on the disk is unknown, and trying again may succeed without having
/// written anything. So it is never tried again, and nothing is answered.
#[test]
fn a_failed_sync_ends_the_acceptor_without_a_word() {
    let strace = ["strace", "-D", "-f", "-qq", "-o"];
    if !succeeds(&[&strace[..], &["/dev/null", "true"]].concat()) {
        return skip("a failed sync", "there is no strace, or it is not allowed");
    }
    let mut world = World::durable();
    let trace = world.path("trace");
    let inject = [
        &trace.display().to_string(),
        "-e",
        "trace=fdatasync,fsync,sendto,sendmsg,sendmmsg",
        "-e",
        "inject=fdatasync:error=EIO:when=5",
    ];
    world.through("acceptor2", &[&strace[..], &inject[..]].concat());
    for name in
        ["acceptor2", "acceptor1", "acceptor3", "learner1", "learner2", "proposer1", "proposer2"]
    {
        world.start(name, &[]);
    }
    let world = strike(world, |world| {
        let what = ["Input/output error", "must not answer what it might forget"];
        expect_end(world, "acceptor2", 1, &what);
        let traced = || fs::read_to_string(&trace).unwrap();
        assert!(happens(SOON, || traced().contains("(INJECTED)")));
        let traced = traced();
        let (before, after) = traced.split_once("(INJECTED)").unwrap();
        assert!(before.contains("send"), "it answers before: {before}");
        assert!(!after.contains("sync(") && !after.contains("send"), "it ends at once: {after}");
        // Once the disk is well, it comes back with what it has, and counts.
        world.through("acceptor2", &[]);
        world.start("acceptor2", &[]);
        world.kill("acceptor3");
    });
    world.await_lines(&[1, 2], 2 * COUNT, SOON);
    world.expect_all_delivered();
    assert_eq!(world.complaints("acceptor2"), "");
}
