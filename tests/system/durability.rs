//! The data of acceptors: lost, mixed up, damaged or torn, or on a disk that fails.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::faults::{COUNT, strike};
use crate::world::{Network, PAXOS, SOON, World, happens, skip, succeeds, text, values};

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

/// The cure when something that an acceptor stored is missing.
const CURE: &str = "byte for byte the last state of this acceptor";

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
        // It may be one that is ending, so a supervisor tries again.
        expect_end(&mut twin, "acceptor2", 75, &what);
        assert_eq!(fs::read(data(world, 2).join("identity")).unwrap(), other);
        // The first one is none the worse.
        world.kill("acceptor3");
    });
    world.await_lines(&[1, 2], 2 * COUNT, SOON);
    world.expect_all_delivered();
}

/// How long a frame's header is.
const HEADER_BYTES: usize = 24;

/// The beginning of every frame of an acceptor's log: the secret of its directory.
fn token(world: &World, id: u32) -> [u8; 8] {
    let identity = fs::read_to_string(data(world, id).join("identity")).unwrap();
    let token = identity.lines().find_map(|line| line.strip_prefix("token ")).unwrap();
    u64::from_str_radix(token, 16).unwrap().to_le_bytes()
}

/// The total length of the frames of a log. Preallocated zeros follow them.
fn stored(log: &[u8], token: [u8; 8]) -> usize {
    let mut end = 0;
    while log[end..].starts_with(&token) {
        let length = u32::from_le_bytes(log[end + 8..end + 12].try_into().unwrap());
        end += HEADER_BYTES + length as usize;
    }
    assert!(end > 0 && log[end..].iter().all(|byte| *byte == 0));
    end
}

#[test]
fn a_damaged_log_stops_the_start() {
    let mut world = killed_cluster();
    let path = log(&world, 2);
    let mut bytes = fs::read(&path).unwrap();
    // In what was stored for the first client.
    let token = token(&world, 2);
    let middle = stored(&bytes, token) / 4;
    bytes[middle] ^= 1;
    fs::write(&path, &bytes).unwrap();
    world.start("acceptor2", &[]);
    let file = path.display().to_string();
    expect_end(&mut world, "acceptor2", 2, &[&*file, "the record at byte ", "is damaged", CURE]);
    // The offset is that of the frame around the byte.
    let said = world.said("acceptor2");
    let offset = said.split("at byte ").nth(1).unwrap().split(' ').next().unwrap();
    let offset: usize = offset.parse().unwrap();
    assert!(offset <= middle && bytes[offset..].starts_with(&token), "{said}");
    // Nothing was touched.
    assert_eq!(fs::read(&path).unwrap(), bytes);
    // The last record, which was stored just as well: the process was killed, and not the machine.
    bytes[middle] ^= 1;
    let last = stored(&bytes, token) - 1;
    bytes[last] ^= 1;
    fs::write(&path, &bytes).unwrap();
    world.start("acceptor2", &[]);
    expect_end(&mut world, "acceptor2", 2, &[&*file, "the record at byte ", "is damaged", CURE]);
}

#[test]
fn a_torn_tail_is_cut() {
    let mut world = killed_cluster();
    // Written but not answered: the beginning of one more frame.
    let mut whole = fs::read(log(&world, 1)).unwrap();
    let token = token(&world, 1);
    whole.truncate(stored(&whole, token));
    fs::write(log(&world, 1), [&whole[..], &token, b"\xff\x00\x00\x00torn"].concat()).unwrap();
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
    assert!(world.said("acceptor1").contains("cut 16 bytes of a torn record"));
    // Later records stand where the torn bytes were.
    let now = fs::read(log(&world, 1)).unwrap();
    assert!(now.len() > whole.len() && now.starts_with(&whole));
    assert!(now[whole.len()..].starts_with(&token));
    assert!(!now.windows(4).any(|word| word == b"torn"));
    assert_eq!(world.complaints("acceptor2"), "");
}

/// A durable world whose acceptor 2 has its folder on a file system of 8 MiB, in a mount namespace
/// that nobody else sees, and how that folder's path begins for others. `used` MiB are taken. None,
/// said aloud, where there can be none.
fn small_disk(test: &str, used: u32) -> Option<(World, String)> {
    let root = ["unshare", "--mount"];
    let user = ["unshare", "--mount", "--map-root-user"];
    let mount = format!(
        "mount -t tmpfs -o size=8m paxos-test \"$0\" && \
         dd if=/dev/zero of=\"$0/other\" bs=1M count={used} 2>/dev/null && exec \"$@\""
    );
    let mount = mount.as_str();
    let can = |unshare: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().display().to_string();
        succeeds(&[unshare, &["sh", "-c", mount, &folder, "true"]].concat())
    };
    let Some(unshare) = [&root[..], &user[..]].into_iter().find(|unshare| can(unshare)) else {
        skip(test, "no mount namespace is allowed here");
        return None;
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
    let inside = format!("/proc/{}/root{folder}", world.pid("acceptor2"));
    Some((world, inside))
}

/// Other files fill its disk; once they are gone it votes again.
#[test]
fn a_full_disk_ends_no_acceptor_and_the_others_go_on() {
    let Some((world, inside)) = small_disk("a full disk", 7) else { return };
    let says = |world: &World, what| happens(SOON, || world.said("acceptor2").contains(what));
    let mut world = strike(world, |world| {
        assert!(says(world, "the disk is full: this acceptor"), "{}", world.said("acceptor2"));
    });
    world.await_lines(&[1, 2], 2 * COUNT, SOON);
    world.expect_all_delivered();
    // Doctors do not try lists of members.
    if Network::asked() != Network::Unicast {
        let doctor = world.paxos("doctor --seconds 2").output().unwrap();
        let (said, status) = (text(&doctor.stdout), doctor.status.code());
        assert!(said.contains("degraded: full disks: A2; the others go on"), "{said}");
        assert!(said.ends_with("\ndegraded\n") && status == Some(1), "{said}");
    }
    fs::remove_file(format!("{inside}/other")).unwrap();
    assert!(says(&world, "the disk has room again"), "{}", world.said("acceptor2"));
    world.signal("acceptor2", "-TERM");
    assert!(world.end_of("acceptor2", SOON).success(), "{}", world.said("acceptor2"));
}

/// Other files fill its disk between two looks: it has voted, and cannot store it. It says nothing
/// until it can, and has lost nothing by it.
#[test]
fn a_write_that_finds_no_room_ends_no_acceptor() {
    let Some((mut world, inside)) = small_disk("a write without room", 1) else { return };
    let value = |line: u32| format!("{line:04} {}\n", "x".repeat(20_000));
    let mut stdin = world.feed_slowly(1, &["0", "0", "auto"]);
    stdin.write_all(value(0).as_bytes()).unwrap();
    world.await_lines(&[1, 2], 1, SOON);
    world.signal("acceptor2", "-STOP");
    let filled = fs::write(format!("{inside}/more"), vec![1; 8 << 20]);
    assert_eq!(filled.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    (1..100).for_each(|line| stdin.write_all(value(line).as_bytes()).unwrap());
    world.await_lines(&[1, 2], 100, SOON);
    world.signal("acceptor2", "-CONT");
    let says = |world: &World, what| happens(SOON, || world.said("acceptor2").contains(what));
    assert!(
        says(&world, "has no room for what this acceptor votes"),
        "{}",
        world.said("acceptor2")
    );
    (100..200).for_each(|line| stdin.write_all(value(line).as_bytes()).unwrap());
    world.await_lines(&[1, 2], 200, SOON);
    fs::remove_file(format!("{inside}/more")).unwrap();
    assert!(says(&world, "the disk has room again"), "{}", world.said("acceptor2"));
    // Without it there is no majority any more.
    world.kill("acceptor1");
    (200..230).for_each(|line| stdin.write_all(value(line).as_bytes()).unwrap());
    world.await_lines(&[1, 2], 230, SOON);
    drop(stdin);
    let decided = text(&world.decided(1));
    let values = decided.lines().map(|line| line.split_once('\t').unwrap().1);
    let expected: String = (0..230).map(value).collect();
    assert!(values.eq(expected.lines()), "not the values that were asked for, in their order");
    world.signal("acceptor2", "-TERM");
    assert!(world.end_of("acceptor2", SOON).success(), "{}", world.said("acceptor2"));
}

/// It is unknown what a failed fdatasync left on the disk, and a second one may succeed without
/// having written anything. So it is never tried again, and nothing is answered.
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
    // Under strace it starts slowly, and what is decided before costs it no sync.
    let has_answered = || fs::read_to_string(&trace).is_ok_and(|calls| calls.contains("send"));
    assert!(happens(SOON, has_answered));
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

/// A clean-up that takes logs away.
#[test]
fn an_acceptor_that_lost_its_log_is_refused_and_the_others_go_on() {
    let world = strike(cluster(), |world| {
        world.kill("acceptor2");
        fs::remove_file(log(world, 2)).unwrap();
        world.start("acceptor2", &[]);
        let file = log(world, 2).display().to_string();
        expect_end(world, "acceptor2", 2, &[&*file, "is missing", CURE, "or leave it down"]);
        // It stays so, and nothing was made in its place.
        world.start("acceptor2", &[]);
        expect_end(world, "acceptor2", 2, &["is missing"]);
        assert!(!log(world, 2).exists());
    });
    world.await_lines(&[1, 2], 2 * COUNT, SOON);
    world.expect_all_delivered();
}

/// Last night's backup, put back in the place of what the acceptor had, would make it contradict
/// what it answered since. A copy of the last state may be adopted, by saying so, once.
#[test]
fn a_restored_backup_is_refused_and_the_last_state_may_be_adopted() {
    let mut backup = PathBuf::new();
    let mut world = strike(cluster(), |world| {
        backup = world.path("backup");
        copy_files(&data(world, 2), &backup);
    });
    world.await_lines(&[1, 2], 2 * COUNT, SOON);
    let (own, last) = (data(&world, 2), world.path("last"));
    world.signal("acceptor2", "-TERM");
    assert_eq!(world.end_of("acceptor2", SOON).code(), Some(0));
    copy_files(&own, &last);
    let manifest = text(&fs::read(own.join("manifest")).unwrap());
    assert!(manifest.contains("\nended yes\n"), "{manifest}");
    // By way of another directory, and file by file over what was there, in place.
    for is_new in [true, false] {
        if is_new {
            fs::rename(&own, world.path("kept")).unwrap();
        }
        copy_files(&backup, &own);
        world.start("acceptor2", &[]);
        expect_end(&mut world, "acceptor2", 2, &["is a copy", "--adopt-copy", "leave it down"]);
        if is_new {
            fs::remove_dir_all(&own).unwrap();
            fs::rename(world.path("kept"), &own).unwrap();
        }
    }
    fs::remove_dir_all(&own).unwrap();
    copy_files(&last, &own);
    world.start("acceptor2", &[]);
    expect_end(&mut world, "acceptor2", 2, &["is a copy"]);
    let adopt = |world: &World| adopt(world, 2);
    let output = adopt(&world);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("adopted the copy"), "{}", text(&output.stderr));
    // Once: in a unit file, the option would take every later copy as well.
    let output = adopt(&world);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("start it without --adopt-copy"));
    // It counts again: with another away, nothing is decided without it.
    world.start("acceptor2", &[]);
    world.kill("acceptor3");
    world.note_fed(1, &[&*values("c1", COUNT), &*values("w1", 50)].concat());
    let fed = fs::read_to_string(world.path("results/propose1.txt")).unwrap();
    let mut stdin = world.feed_slowly(1, &["0", "0", "auto"]);
    stdin.write_all(values("w1", 50).as_bytes()).unwrap();
    drop(stdin);
    world.await_lines(&[1, 2], 2 * COUNT + 50, SOON);
    assert!(fed.ends_with("w1-50\n"));
}

/// Starts an acceptor for a moment, to adopt the copy that its directory is.
fn adopt(world: &World, id: u32) -> std::process::Output {
    let mut command = std::process::Command::new(PAXOS);
    command.arg("--conf").arg(world.conf()).args(["acceptor", &id.to_string()]);
    command.args(["--adopt-copy", "--lifetime", "0.3"]).current_dir(world.path(""));
    command.output().unwrap()
}

/// The size of a majority must not change once acceptors have voted.
#[test]
fn another_number_of_acceptors_is_refused_with_both() {
    if Network::asked() == Network::Unicast {
        return skip("another acceptor_count", "a list says how many acceptors there are");
    }
    let mut world = killed_cluster();
    for count in [1, 5] {
        let data = world.path("data");
        let cluster = fs::read_to_string(world.conf()).unwrap();
        let cluster = cluster.lines().find(|line| line.starts_with("cluster ")).unwrap();
        let more = format!("{cluster}\nacceptor_count {count}\ndata {}", data.display());
        world.configure(&more);
        world.start("acceptor1", &[]);
        let configured = format!("acceptor_count is {count}");
        expect_end(&mut world, "acceptor1", 2, &["is one of 3", &configured]);
    }
}

/// An operator who removes the data of a running acceptor hears of it while there is still
/// something to do.
#[test]
fn an_acceptor_whose_data_is_removed_ends_and_says_so() {
    let world = strike(cluster(), |world| {
        let own = data(world, 2);
        fs::rename(&own, world.path("elsewhere")).unwrap();
        let path = own.display().to_string();
        let what =
            [&*path, "was removed or replaced", "move them back", "leave this acceptor down"];
        expect_end(world, "acceptor2", 2, &what);
        assert!(!own.exists(), "nothing is made in its place");
        // The cure.
        fs::rename(world.path("elsewhere"), &own).unwrap();
        world.start("acceptor2", &[]);
        world.kill("acceptor3");
    });
    world.await_lines(&[1, 2], 2 * COUNT, SOON);
    world.expect_all_delivered();
    assert_eq!(world.complaints("acceptor2"), "");
}

/// A directory whose name is not stable is gone after a power failure, with all that is in it.
#[test]
fn a_new_directory_and_all_that_lead_to_it_are_synced_before_the_first_answer() {
    let strace = ["strace", "-D", "-f", "-y", "-qq", "-o"];
    if !succeeds(&[&strace[..], &["/dev/null", "true"]].concat()) {
        return skip("syncs of directories", "there is no strace, or it is not allowed");
    }
    let mut world = World::new();
    let deep = world.path("some/where/data");
    world.configure(&format!("data {}", deep.display()));
    let trace = world.path("trace").display().to_string();
    let calls = [&*trace, "-e", "trace=mkdir,fsync,fdatasync,renameat,sendto,sendmsg,sendmmsg"];
    world.through("acceptor2", &[&strace[..], &calls[..]].concat());
    world.start("acceptor2", &[]);
    assert!(happens(SOON, || deep.join("acceptor-2/identity").exists()));
    for name in ["acceptor1", "learner1", "learner2", "proposer1"] {
        world.start(name, &[]);
    }
    world.feed(1, values("v", 10).as_bytes(), &["0", "0", "auto"]);
    world.await_lines(&[1, 2], 10, SOON);
    let traced = || fs::read_to_string(&trace).unwrap();
    // What the network is asked for its interfaces goes to no port.
    assert!(happens(SOON, || traced().contains("_port=")));
    let traced = traced();
    let (before, _) = traced.split_once("_port=").unwrap();
    let mut made = deep.join("acceptor-2");
    for _ in 0..4 {
        // Its name is in the directory above it, which is synced after it was made.
        let path = made.display().to_string();
        let (_, since) = before.rsplit_once(&format!("mkdir(\"{path}\"")).unwrap();
        let above = made.parent().unwrap().canonicalize().unwrap();
        let synced = format!("<{}>)", above.display());
        let is_synced = |line: &str| line.contains("sync(") && line.contains(&synced);
        assert!(since.lines().any(is_synced), "{path}: {before}");
        made.pop();
    }
    // Likewise the names in it, after the last of them was given.
    let (_, since) = before.rsplit_once("renameat(").unwrap();
    let own = deep.join("acceptor-2").canonicalize().unwrap().display().to_string();
    let is_synced = |line: &str| line.contains("sync(") && line.contains(&format!("<{own}>)"));
    assert!(since.lines().any(is_synced), "{before}");
}
