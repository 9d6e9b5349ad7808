//! Processes that are killed, and go on where they were: a learner by the position that it printed
//! last, and a client by the file of its session.

use std::fs::{self, File};
use std::io::Read;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use multi_paxos::rng::Rng;

use crate::world::{SOON, World, happens, text, values};

/// Waits for a time that `rng` draws, up to `longest`, or until `event` has happened.
fn any_moment(rng: &mut Rng, longest: Duration, event: impl FnMut() -> bool) -> bool {
    happens(Duration::from_micros(rng.below(longest.as_micros() as u64)), event)
}

/// How long a process may live before its next kill, at most: a moment at first, so that it is not
/// done before, and longer with each, or a busy machine would never let it come far.
fn patience(kills: u64) -> Duration {
    Duration::from_millis(if kills < 6 { 40 } else { 150 + 5 * kills })
}

/// Values of many lengths, some of which travel in parts.
fn mixed(count: usize) -> String {
    let long =
        |line: usize| if line.is_multiple_of(50) { "x".repeat(line * 10) } else { String::new() };
    (1..=count).map(|line| format!("v-{line} {}\n", long(line))).collect()
}

/// The whole lines at the beginning of what was printed.
fn whole(printed: &[u8]) -> &[u8] {
    let end = printed.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    &printed[..end]
}

/// The instance in the last of these lines.
fn last_instance(lines: &[u8]) -> Option<u64> {
    let last = lines.strip_suffix(b"\n")?.rsplit(|byte| *byte == b'\n').next()?;
    text(last).split('\t').next()?.parse().ok()
}

/// However it is killed, and wherever its standard output goes, the runs of a learner together
/// print the whole log, each instance once.
#[test]
fn a_learner_goes_on_after_the_last_line_that_it_printed() {
    const COUNT: usize = 3000;
    let mut world = World::new();
    world.configure("client_window_values 30\ndatagram_bytes 1472");
    world.start_all("acceptor", 3, &[]);
    world.start("learner2", &[]);
    world.start("proposer1", &[]);
    world.feed(1, mixed(COUNT).as_bytes(), &["0", "0", "auto"]);
    let (mut rng, mut printed, mut lives) = (Rng::new(7), Vec::new(), 0);
    let count = |lines: &[u8]| lines.iter().filter(|byte| **byte == b'\n').count();
    while count(&printed) < COUNT {
        lives += 1;
        assert!(lives < 300, "{} lines of {COUNT} in 300 lives", count(&printed));
        let from = last_instance(&printed).map_or(1, |last| last + 1);
        let words = format!("learner 1 --positions --from {from}");
        let path = world.path("learner1.out");
        let longest = patience(lives);
        let more = if lives % 2 == 0 {
            let out = File::create(&path).unwrap();
            world.launch("learner1", &words, Stdio::null(), out.into());
            any_moment(&mut rng, longest, || false);
            world.kill("learner1");
            fs::read(&path).unwrap()
        } else {
            let (mut reader, out) = std::io::pipe().unwrap();
            world.launch("learner1", &words, Stdio::null(), out.into());
            let read = thread::spawn(move || {
                let mut bytes = Vec::new();
                reader.read_to_end(&mut bytes).unwrap();
                bytes
            });
            any_moment(&mut rng, longest, || false);
            world.kill("learner1");
            read.join().unwrap()
        };
        printed.extend_from_slice(whole(&more));
    }
    assert!(lives >= 3, "it was not killed");
    assert!(happens(SOON, || count(&world.decided(2)) == COUNT));
    assert!(printed == world.decided(2), "the lives together print what learner 2 has written");
    // The file begins there as well.
    let lines: Vec<&[u8]> = printed.split_inclusive(|byte| *byte == b'\n').collect();
    let rest = lines[COUNT - 6..].concat();
    let from = last_instance(lines[COUNT - 6]).unwrap();
    let words = format!("learner 1 --from {from}");
    world.launch("learner1", &words, Stdio::null(), Stdio::null());
    assert!(happens(SOON, || world.decided(1) == rest), "{}", text(&world.decided(1)));
}

/// The same where the output is appended to a file that also says where to begin: one command, run
/// again and again.
#[test]
fn a_learner_goes_on_behind_what_its_output_says() {
    const COUNT: usize = 2000;
    let mut world = World::new();
    world.configure("client_window_values 30\ndatagram_bytes 1472");
    world.start_all("acceptor", 3, &[]);
    world.start("learner2", &[]);
    world.start("proposer1", &[]);
    world.feed(1, mixed(COUNT).as_bytes(), &["0", "0", "auto"]);
    let (path, mut rng, mut lives) = (world.path("taken"), Rng::new(9), 0);
    let words = format!("learner 1 --positions --resume {}", path.display());
    let printed = || fs::read(&path).unwrap_or_default();
    let count = |lines: &[u8]| lines.iter().filter(|byte| **byte == b'\n').count();
    while count(&printed()) < COUNT {
        lives += 1;
        assert!(lives < 300, "{} lines of {COUNT} in 300 lives", count(&printed()));
        let out = File::options().append(true).create(true).open(&path).unwrap();
        world.launch("learner1", &words, Stdio::null(), out.into());
        any_moment(&mut rng, patience(lives), || false);
        world.kill("learner1");
        let is_cut = whole(&printed()).len() < printed().len();
        if is_cut {
            world.launch("learner1", &words, Stdio::null(), Stdio::null());
            assert_eq!(world.end_of("learner1", SOON).code(), Some(2));
            let said = world.complaints("learner1");
            let cure = said.split('`').nth(1).unwrap_or_else(|| panic!("{said}"));
            let cured = std::process::Command::new("sh").args(["-c", cure]).status();
            assert!(cured.unwrap().success(), "{cure}");
        }
    }
    assert!(lives >= 3, "it was not killed");
    assert!(happens(SOON, || count(&world.decided(2)) == COUNT));
    assert!(printed() == world.decided(2), "the lives together print what learner 2 has written");
}

#[test]
fn a_learner_that_begins_now_prints_what_comes() {
    let mut world = World::new();
    world.start_cluster(1, "0");
    world.feed(1, values("old", 500).as_bytes(), &["0", "0", "auto"]);
    assert!(world.end_of("client1", SOON).success());
    world.await_lines(&[1, 2], 500, SOON);
    let out = File::create(world.path("learner3.out")).unwrap();
    world.launch("learner3", "learner 3 --from now", Stdio::null(), out.into());
    assert!(happens(SOON, || world.said("learner3").contains("begins with instance")));
    world.feed(2, values("new", 500).as_bytes(), &["0", "0", "auto"]);
    assert!(world.end_of("client2", SOON).success());
    assert!(happens(SOON, || world.printed("learner3") == values("new", 500).as_bytes()));
    let written = text(&world.decided(3));
    assert_eq!((written.lines().count(), written.contains("old")), (500, false));
}

/// One writes to a file and one to a pipe, one was there from the start and one comes late.
#[test]
fn learners_print_the_same_digests() {
    let mut world = World::new();
    world.configure("datagram_bytes 1472");
    world.start_all("acceptor", 3, &[]);
    let words = |id: u32| format!("learner {id} --apply digest");
    let out = File::create(world.path("learner1.out")).unwrap();
    world.launch("learner1", &words(1), Stdio::null(), out.into());
    world.start("proposer1", &[]);
    let fed = mixed(2500);
    world.feed(1, fed.as_bytes(), &["0", "0", "auto"]);
    assert!(world.end_of("client1", SOON).success());
    let (mut reader, out) = std::io::pipe().unwrap();
    world.launch("learner2", &words(2), Stdio::null(), out.into());
    let count = |id| world.decided(id).iter().filter(|byte| **byte == b'\n').count();
    assert!(happens(SOON, || count(1) == 2500 && count(2) == 2500));
    // The parts of long values are instances without a value of their own.
    let last = last_instance(&world.decided(1)).unwrap();
    world.signal("learner1", "-TERM");
    world.signal("learner2", "-TERM");
    for learner in ["learner1", "learner2"] {
        assert!(world.end_of(learner, SOON).success());
    }
    let mut printed = Vec::new();
    reader.read_to_end(&mut printed).unwrap();
    assert_eq!(text(&world.printed("learner1")), text(&printed));
    let positions: Vec<u64> = text(&printed)
        .lines()
        .map(|line| line.split(' ').next().unwrap().parse().unwrap())
        .collect();
    let end = *positions.last().unwrap();
    let marks = (1..=end / 1000).map(|mark| mark * 1000);
    assert_eq!(positions, marks.filter(|mark| *mark < end).chain([end]).collect::<Vec<_>>());
    assert!(end >= last && end > 2500, "{end}");
}

/// The words that start client 1 with a session.
const SESSION: &str = "client 1 --first-instance auto --session session --loss 0.02";

/// Killed at any moment and started again with the same input, until it has ended well.
#[test]
fn a_client_that_is_killed_again_and_again_has_nothing_decided_twice() {
    const COUNT: usize = 2000;
    let mut world = World::new();
    world.configure("client_window_values 30\ndatagram_bytes 1472");
    world.start_cluster(2, "0.02");
    let fed = mixed(COUNT);
    world.note_fed(1, &fed);
    let (mut rng, mut kills) = (Rng::new(3), 0);
    loop {
        let stdin = File::open(world.path("results/propose1.txt")).unwrap();
        world.launch("client1", SESSION, stdin.into(), Stdio::null());
        let said = world.path("client1.err");
        let ended = || {
            fs::read_to_string(&said).unwrap().contains(&format!("of {COUNT} values are decided"))
        };
        if any_moment(&mut rng, patience(kills), ended) {
            assert!(world.end_of("client1", SOON).success(), "{}", world.said("client1"));
            break;
        }
        world.kill("client1");
        kills += 1;
        assert!(kills < 500, "{} values are delivered after {kills} kills", world.lines(1));
    }
    assert!(kills >= 5, "it was killed {kills} times only");
    world.await_lines(&[1, 2], COUNT, SOON);
    for learner in ["learner1", "learner2"] {
        assert!(world.printed(learner) == fed.as_bytes(), "{learner} after {kills} kills");
    }
    world.expect_verdict(&["2", "1", "false", "auto"]);
}

/// Runs client 1 in its session to the end, with this input; returns its status and its standard
/// error.
fn live(world: &mut World, words: &str, fed: &str) -> (Option<i32>, String) {
    world.note_fed(1, fed);
    let stdin = File::open(world.path("results/propose1.txt")).unwrap();
    world.launch("client1", words, stdin.into(), Stdio::null());
    (world.end_of("client1", SOON).code(), world.said("client1"))
}

#[test]
fn a_session_goes_on_with_the_same_input_and_with_more() {
    let mut world = World::new();
    world.start_cluster(1, "0");
    let fed = values("v", 100);
    assert_eq!(live(&mut world, SESSION, &fed).0, Some(0));
    assert_eq!(live(&mut world, SESSION, &fed).0, Some(0));
    let (status, said) = live(&mut world, SESSION, &values("v", 150));
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("100 lines of it are known") && said.contains("150 of 150"), "{said}");
    let (status, said) = live(&mut world, SESSION, &fed);
    assert!(
        status == Some(2) && said.contains("ends after line 100; the session has 150"),
        "{said}"
    );
    let other = values("v", 160).replacen("v-70\n", "w-70\n", 1);
    let (status, said) = live(&mut world, SESSION, &other);
    assert!(status == Some(2) && said.contains("line 150: this line or one before"), "{said}");
    // Without its file it is another session, and its values are new ones.
    fs::remove_file(world.path("session")).unwrap();
    assert_eq!(live(&mut world, SESSION, &fed).0, Some(0));
    world.await_lines(&[1, 2], 250, SOON);
    assert_eq!(world.printed("learner1"), [values("v", 150), fed].concat().as_bytes());
}

#[test]
fn a_session_is_refused_to_whom_it_does_not_belong() {
    let mut world = World::new();
    let input = Stdio::piped;
    world.launch("client1", SESSION, input(), Stdio::null());
    assert!(happens(SOON, || world.path("session").exists()));
    let refused = |world: &World, words: &str, status: i32| {
        let output = world.paxos(words).stdin(Stdio::null()).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{words}: {said}");
        assert_eq!(said.lines().count(), 1, "{words}: {said}");
        said
    };
    assert!(refused(&world, SESSION, 75).contains("another process uses this session"));
    world.kill("client1");
    let other = SESSION.replace("client 1", "client 2");
    assert!(refused(&world, &other, 2).contains("a session of client 1 of"));
    let said = refused(&world, "client 1 --first-instance 1 --session session", 2);
    assert!(said.contains("needs --first-instance auto"), "{said}");
    fs::write(world.path("notes"), "a line of mine\n").unwrap();
    let words = SESSION.replace("session session", "session notes");
    assert!(refused(&world, &words, 2).contains("this is not a session file"));
    assert_eq!(fs::read_to_string(world.path("notes")).unwrap(), "a line of mine\n");
}
