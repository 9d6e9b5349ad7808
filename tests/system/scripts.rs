//! What do bash/run.sh and the other scripts do to foreign files, groups and processes? Nothing.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::world::{Network, PAXOS, SOON, World, happens, text};

const TRUE: &str = "Integrity: True\nAgreement: True\nTermination: True (100%)\n";

/// A copy of the project as far as scripts need it, with a configuration of its own.
pub struct Project {
    folder: TempDir,
    /// Its ports, and its turn on the machine.
    world: World,
}

impl Project {
    /// With a durable cluster without a name.
    pub fn new() -> Self {
        Self::on(World::new())
    }

    fn on(world: World) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let project = Project { folder, world };
        for name in ["bash", "conf", "Cargo.toml", ".gitignore"] {
            project.copy(name);
        }
        project.configure("data data\n");
        project
    }

    /// Copies a file or directory of this project, with the directories above it.
    pub fn copy(&self, name: &str) {
        let mut copy = Command::new("cp");
        copy.args(["-a", "--parents", name]).arg(self.folder.path());
        assert!(copy.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap().success());
    }

    /// The configuration of a cluster of the same ports without multicast.
    pub fn lists(&self) -> String {
        self.world.list_lines(|_, id| format!("127.0.0.{id}"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the configuration: the groups and `more`.
    fn configure(&self, more: &str) {
        let groups = self.world.group_lines();
        fs::write(self.path("conf/paxos.conf"), format!("{groups}{more}")).unwrap();
    }

    pub fn write(&self, name: &str, content: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// A script of the project, called from its directory.
    fn script(&self, name: &str, arguments: &[&str]) -> Command {
        // A shell cannot trap a signal that it was started to ignore, as under nohup or in the
        // background.
        let mut command = Command::new("env");
        command.arg("--default-signal=HUP,INT,TERM").arg(self.path("bash").join(name));
        command.args(arguments).current_dir(self.folder.path());
        command.env("PAXOS_BIN", PAXOS).env("TMPDIR", self.folder.path());
        for name in ["RUST_LOG", "PAXOS_CONF", "FIRST_INSTANCE"] {
            command.env_remove(name);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.script("run.sh", &[&["."], arguments].concat()).output().unwrap()
    }

    fn expect_good_run(&self) {
        let output = self.run(&["100", "30"]);
        assert_eq!(text(&output.stdout), TRUE, "{}", text(&output.stderr));
        assert_eq!(output.status.code(), Some(0));
        let report = fs::read_to_string(self.path("results/report.html")).unwrap();
        for part in ["A run of 200 values", "run.sh . 100 30<", "True (100%)", "leads with "] {
            assert!(report.contains(part), "{part}: {report}");
        }
    }

    /// Demands a refusal in one line with these words, and that every file is as it was.
    fn expect_refusal(&self, words: &[&str]) {
        let before = self.listing();
        let output = self.run(&["10", "5"]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{words:?}: {said}");
        assert!(words.iter().all(|word| said.contains(word)), "{words:?}: {said}");
        assert_eq!(self.listing(), before, "{words:?}");
    }

    /// Every file of the project, where links go, and how long a file is that no process writes to.
    fn listing(&self) -> String {
        let find = Command::new("find")
            .args([".", "-type", "d", "-printf", "%p\n", "-o", "-printf", "%p %s %l\n"])
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        let listed = text(&find.stdout);
        let mut lines: Vec<&str> = listed
            .lines()
            // Nothing is in it; it comes and goes.
            .filter(|line| *line != "./results")
            .map(|line| {
                let is_written =
                    ["/log-", ".log ", "_decided_value "].iter().any(|part| line.contains(part));
                if is_written { line.split(' ').next().unwrap_or(line) } else { line }
            })
            .collect();
        lines.sort_unstable();
        lines.join("\n")
    }

    /// A run that decides nothing, and does not end by itself.
    fn endless(&self) -> Child {
        let run = self.script("run.sh", &[".", "100", "0", "0.99"]).spawn().unwrap();
        // Each has its files and says that it is up.
        let is_up = |name: &str| {
            let log = self.path(&format!("results/{name}.log"));
            fs::read_to_string(log).is_ok_and(|said| said.contains("the group is open"))
        };
        let counts = [("acceptor", 3), ("learner", 2), ("proposer", 4), ("client", 2)];
        let names: Vec<String> = counts
            .into_iter()
            .flat_map(|(role, count)| (1..=count).map(move |id| format!("{role}{id}")))
            .collect();
        assert!(happens(SOON, || names.iter().all(|name| is_up(name))), "{:?}", self.processes());
        run
    }

    /// The processes that mention this directory: numbers and command lines.
    fn processes(&self) -> Vec<(u32, String)> {
        let here = self.folder.path().to_str().unwrap();
        let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        numbers
            .filter_map(|number: u32| {
                let words = fs::read(format!("/proc/{number}/cmdline")).ok()?;
                let words = text(&words).replace('\0', " ");
                words.contains(here).then_some((number, words))
            })
            .collect()
    }

    fn expect_no_processes(&self, after: &str) {
        let is_empty = || self.processes().is_empty();
        assert!(happens(Duration::from_secs(5), is_empty), "{after}: {:?}", self.processes());
    }
}

fn signal(pid: u32, signal: &str) {
    let pid = pid.to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
}

/// Starts a role by hand in the project's directory, and waits until it is up.
fn by_hand(project: &Project, script: &str) -> Child {
    let conf = project.path("conf/paxos.conf");
    let said = project.world.path("by-hand.err");
    let child = project
        .script(script, &["1", conf.to_str().unwrap(), "0", "60"])
        .env("RUST_LOG", "info")
        .stdout(Stdio::null())
        .stderr(File::create(&said).unwrap())
        .spawn()
        .unwrap();
    // Its files are there, and it says so.
    let is_up = || fs::read_to_string(&said).unwrap().contains("the group is open");
    assert!(happens(SOON, is_up), "{script} does not start");
    child
}

fn end(mut child: Child) {
    // It may have ended already.
    let _ = child.kill();
    child.wait().unwrap();
}

#[test]
fn a_run_and_a_cluster_by_hand_on_the_same_groups_do_not_meet() {
    let mut project = Project::new();
    // Neither has a name of its own.
    let conf = fs::read_to_string(project.path("conf/paxos.conf")).unwrap();
    fs::write(project.world.conf(), conf).unwrap();
    project.world.start_cluster(2, "0");
    project.world.feed(1, b"one\ntwo\n", &["0", "0", "auto"]);
    project.world.await_lines(&[1, 2], 2, SOON);
    if project.world.network == Network::Unicast {
        // The addresses are taken, and that is said at once.
        let output = project.run(&["100"]);
        assert_eq!(output.status.code(), Some(75), "{}", text(&output.stderr));
    } else {
        let output = project.run(&["500", "30"]);
        let said = text(&output.stderr);
        assert_eq!(text(&output.stdout), TRUE, "{said}");
        assert!(said.contains("another cluster uses the group"), "{said}");
    }
    project.world.feed(2, b"three\n", &["0", "0", "auto"]);
    project.world.await_lines(&[1, 2], 3, SOON);
    assert_eq!(text(&project.world.printed("learner1")), "one\ntwo\nthree\n");
}

#[test]
fn two_runs_at_once_in_two_directories_do_not_meet() {
    let world = World::new();
    if world.network == Network::Unicast {
        return;
    }
    let other = world.neighbour();
    let projects = [Project::on(world), Project::on(other)];
    let runs = projects.each_ref().map(|project| {
        project.script("run.sh", &[".", "20000", "60"]).env("FIRST_INSTANCE", "auto").spawn()
    });
    for run in runs {
        let output = run.unwrap().wait_with_output().unwrap();
        assert_eq!(text(&output.stdout), TRUE, "{}", text(&output.stderr));
    }
}

#[test]
fn a_directory_in_use_is_refused_before_anything_is_emptied() {
    let project = Project::new();
    project.write("results/propose7.txt", "mine\n");
    let acceptor = by_hand(&project, "acceptor.sh");
    project.expect_refusal(&["data/acceptor-1/lock is in use"]);
    end(acceptor);
    fs::remove_dir_all(project.path("data")).unwrap();
    let learner = by_hand(&project, "learner.sh");
    project.expect_refusal(&["results/learner1_decided_value is in use"]);
    end(learner);

    // A run that is not over, in the same directory and with the same data from another one.
    let mut run = project.endless();
    project.expect_refusal(&["results is in use by another run"]);
    let data = project.path("data");
    let other = Project::on(project.world.neighbour());
    other.configure(&format!("data {}\n", data.display()));
    other.expect_refusal(&[data.to_str().unwrap(), "in use by another run"]);
    assert!(run.try_wait().unwrap().is_none(), "it goes on");
    signal(run.id(), "-TERM");
    run.wait().unwrap();
    project.expect_good_run();
}

#[test]
fn a_run_removes_only_what_an_earlier_run_left() {
    let project = Project::new();
    let photos = tempfile::tempdir().unwrap();
    fs::write(photos.path().join("holiday.jpg"), "precious").unwrap();
    let run = "paxos-log-1\ncluster run-0123456789abcdef\nacceptor 1\nincarnation 5\n";
    let link = |name: &str| symlink(photos.path(), project.path(name)).unwrap();
    let clear = || {
        for name in ["data", "results"] {
            let path = project.path(name);
            if path.is_dir() && !path.is_symlink() {
                fs::remove_dir_all(path).unwrap();
            } else if path.exists() {
                fs::remove_file(path).unwrap();
            }
        }
    };
    let ours = run.replace("run-0123456789abcdef", "ours");
    let near = run.replace("run-0123456789abcdef", "run-team");
    type Case<'a> = (&'a str, &'a dyn Fn(), &'a [&'a str]);
    let cases: [Case<'_>; 14] = [
        ("data is a link", &|| link("data"), &["/data is a link"]),
        ("data is a file", &|| project.write("data", "x"), &["/data is not a directory"]),
        ("a file in data", &|| project.write("data/thesis", "x"), &["/data/thesis is nothing"]),
        (
            "a link in data",
            &|| {
                project.write("data/acceptor-2/identity", run);
                link("data/acceptor-1");
            },
            &["/data/acceptor-1 is a link"],
        ),
        (
            "their cluster",
            &|| project.write("data/acceptor-1/identity", &ours),
            &["/data/acceptor-1 belongs to ours"],
        ),
        (
            "their cluster with a like name",
            &|| {
                project.write("data/acceptor-1/identity", &near);
            },
            &["/data/acceptor-1 belongs to run-team"],
        ),
        (
            "votes of nobody",
            &|| project.write("data/acceptor-1/log-00000001", "votes"),
            &["/data/acceptor-1 belongs to nobody knows"],
        ),
        (
            "a directory in an acceptor's",
            &|| {
                project.write("data/acceptor-1/identity", run);
                project.write("data/acceptor-1/backup/identity", &ours);
            },
            &["/data/acceptor-1 holds more than"],
        ),
        (
            "a link in an acceptor's",
            &|| {
                project.write("data/acceptor-1/identity", run);
                link("data/acceptor-1/photos");
            },
            &["/data/acceptor-1 holds more than"],
        ),
        (
            "theirs behind a run's",
            &|| {
                project.write("data/acceptor-1/identity", run);
                project.write("data/acceptor-3/identity", &ours);
            },
            &["/data/acceptor-3 belongs to ours"],
        ),
        (
            "a file in results",
            &|| project.write("results/notes.txt", "x"),
            &["/results/notes.txt is nothing that a run leaves"],
        ),
        (
            "a link in results",
            &|| {
                project.write("results/propose1.txt", "x");
                symlink(photos.path().join("holiday.jpg"), project.path("results/propose2.txt"))
                    .unwrap();
            },
            &["/results/propose2.txt is a link"],
        ),
        (
            "a directory in results",
            &|| project.write("results/run.txt/x", "x"),
            &["/results/run.txt is not a file"],
        ),
        ("results is a link", &|| link("results"), &["/results is a link"]),
    ];
    for (name, make, words) in cases {
        clear();
        make();
        eprintln!("{name}");
        project.expect_refusal(words);
        let photo = fs::read_to_string(photos.path().join("holiday.jpg")).unwrap();
        assert_eq!(photo, "precious", "{name}");
    }

    // What a run that was killed has left goes, and everything that is hidden or the bench's stays.
    clear();
    project.write("data/acceptor-1/identity", run);
    project.write("data/acceptor-1/log-00000001", "votes");
    // Killed at its first start, before it had an identity.
    project.write("data/acceptor-2/lock", "");
    project.write("data/acceptor-2/log-00000001", "");
    project.write("data/acceptor-2/manifest", "of nobody");
    project.write("data/acceptor-2/identity.new", "of nob");
    project.write("results/propose9.txt", "old\n");
    project.write("results/learner3_decided_value", "1\told\n");
    project.write("results/.hidden", "x");
    project.write("results/bench/table.md", "x");
    project.expect_good_run();
    for (name, is_there) in [
        ("results/propose9.txt", false),
        ("results/learner3_decided_value", false),
        ("results/.hidden", true),
        ("results/bench/table.md", true),
        // Nor is anything left for a cluster by hand, which would begin with old values.
        ("data", false),
    ] {
        assert_eq!(project.path(name).exists(), is_there, "{name}");
    }

    // The directory that the configuration names is the one that counts.
    let elsewhere = photos.path().join("deep/data");
    project.configure(&format!("data {}\n", elsewhere.display()));
    project.expect_good_run();
    project.write("data/mine", "x");
    project.expect_good_run();
    assert!(project.path("data/mine").exists() && !elsewhere.exists());
    project.configure("cluster named\ndata data/deeper\n");
    project.expect_good_run();
    project.expect_good_run();
    assert!(project.path("data/mine").exists());
}

#[test]
fn however_a_run_ends_nothing_of_it_goes_on() {
    for (name, number) in [("-TERM", 15), ("-INT", 2), ("-HUP", 1), ("-KILL", 9)] {
        let project = Project::new();
        let mut run = project.endless();
        // One that sleeps takes no signal but this.
        let processes = project.processes();
        let (sleeper, _) =
            processes.iter().find(|(_, words)| words.contains("acceptor 2")).unwrap();
        signal(*sleeper, "-STOP");
        signal(run.id(), name);
        assert_eq!(run.wait().unwrap().signal(), Some(number), "{name}");
        project.expect_no_processes(name);
        if number != 9 {
            assert!(!project.path("data").exists(), "{name}");
        }
        project.expect_good_run();
    }
    // The scenarios and the soak.
    for (script, arguments) in [("test_runs/leader_paused.sh", &[][..]), ("soak.sh", &["60", "5"])]
    {
        for (name, number) in [("-TERM", 15), ("-KILL", 9)] {
            let project = Project::new();
            let mut run = project
                .script(script, arguments)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let is_up = || project.processes().iter().any(|(_, words)| words.contains(" client "));
            assert!(happens(SOON, is_up), "{script} does not start");
            signal(run.id(), name);
            assert_eq!(run.wait().unwrap().signal(), Some(number), "{script}");
            project.expect_no_processes(script);
        }
    }
}

#[test]
fn a_process_that_cannot_start_ends_the_run_with_its_sentence() {
    let project = Project::new();
    let conf = |more: &str| {
        let lists = project.world.list_lines(|_, id| format!("127.0.0.{id}"));
        let lists: String = lists
            .lines()
            .filter(|line| !line.starts_with("learners"))
            .map(|l| format!("{l}\n"))
            .collect();
        project.write("conf/paxos.conf", &format!("{lists}{more}\n"));
    };
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for (more, words) in [
        // The second learner has no place; the first one has one that is in use.
        ("learners unicast 127.0.0.1:1234", "there is no learner 2"),
        (&format!("learners unicast 127.0.0.1:{port} 127.0.0.2:{port}"), &port.to_string()),
    ] {
        conf(more);
        // Without a lifetime.
        let output = project.run(&["100"]);
        let said = text(&output.stderr);
        assert!(said.lines().count() == 1 && said.contains(words), "{more}: {said}");
        assert!(matches!(output.status.code(), Some(2 | 75)), "{more}: {:?}", output.status);
        assert!(output.stdout.is_empty(), "{more}");
        project.expect_no_processes(more);
    }
    // An unusable configuration is refused before anything is emptied.
    project.write("results/propose7.txt", "mine\n");
    conf("learners unicast 127.0.0.1:1234\nacceptor_count 99");
    project.expect_refusal(&["acceptor_count 99"]);
}

#[test]
fn a_learner_that_is_gone_ends_a_run_without_a_lifetime() {
    let project = Project::new();
    let run = project.endless();
    let processes = project.processes();
    let (learner, _) = processes.iter().find(|(_, words)| words.contains("learner 2")).unwrap();
    signal(*learner, "-KILL");
    let output = run.wait_with_output().unwrap();
    let said = text(&output.stderr);
    assert!(said.contains("learner2 has ended with status 137"), "{said}");
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(text(&output.stdout).contains("Termination: False"), "{said}");
}

#[test]
fn numbers_are_read_as_the_binary_reads_them() {
    let project = Project::new();
    if project.world.network == Network::Unicast {
        return;
    }
    for (written, count) in [("05", 5), ("1", 1)] {
        project.configure(&format!("acceptor_count {written} # of them\r\n"));
        project.expect_good_run();
        let log = |id: usize| project.path(&format!("results/acceptor{id}.log")).exists();
        assert!(log(count) && !log(count + 1), "{written}");
    }
}

#[test]
fn the_key_of_the_documentation_is_not_published() {
    let home = env!("CARGO_MANIFEST_DIR");
    for name in ["paxos.key", "new.key", "old.key", "locked.conf", "data/acceptor-1/identity"] {
        let ignored = Command::new("git").args(["-C", home, "check-ignore", "-q", name]).status();
        // A copy without git publishes nothing.
        if let Ok(status) = ignored
            && Path::new(home).join(".git").exists()
        {
            assert!(status.success(), "{name} is not ignored");
        }
    }
}
