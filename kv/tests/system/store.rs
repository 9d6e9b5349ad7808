//! The store as its users see it: real processes, `kill -9`, and a client that people use.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use redis::{Connection, Value, cmd};

use crate::world::{PAXOS_KV, SOON, World, free_ports, happens, skip};

fn ask<T: redis::FromRedisValue>(connection: &mut Connection, line: &str) -> T {
    let (name, words) = line.split_once(' ').unwrap_or((line, ""));
    let words: Vec<&str> = words.split_terminator(' ').collect();
    cmd(name).arg(&words).query(connection).unwrap_or_else(|error| panic!("{line}: {error}"))
}

/// A client without a library.
struct Plain(TcpStream);

impl Plain {
    fn new(world: &World, id: u16) -> Plain {
        let stream = TcpStream::connect(("127.0.0.1", world.port(id))).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        Plain(stream)
    }

    fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).unwrap();
    }

    /// As many bytes as are expected, and what they are.
    fn expect(&mut self, told: &str) {
        let mut read = vec![0; told.len()];
        self.0.read_exact(&mut read).unwrap();
        assert_eq!(String::from_utf8_lossy(&read), told);
    }

    fn is_closed(&mut self) -> bool {
        matches!(self.0.read(&mut [0; 64]), Ok(0) | Err(_))
    }
}

#[test]
fn what_one_process_acknowledges_every_other_reads_and_no_kill_takes_it() {
    let mut world = World::new(&[]);
    let mut first = world.connect(1);
    let mut second = world.connect(2);
    for count in 1..=20 {
        assert_eq!(ask::<i64>(&mut first, "INCR count"), count);
        assert_eq!(ask::<i64>(&mut second, "GET count"), count, "reads are linearizable");
    }
    ask::<()>(&mut first, "SET k v1");
    // The first one leads. The others go on without it.
    world.kill(1);
    ask::<()>(&mut second, "SET k v2");
    assert_eq!(ask::<i64>(&mut second, "INCR count"), 21);
    world.start(1);
    let mut first = world.connect(1);
    assert_eq!(ask::<String>(&mut first, "GET k"), "v2");
    // All at once, and the log is applied again from its beginning.
    (1..=3).for_each(|id| world.kill(id));
    world.start_all();
    for id in 1..=3 {
        let mut connection = world.connect(id);
        assert_eq!(ask::<String>(&mut connection, "GET k"), "v2");
        assert_eq!(ask::<i64>(&mut connection, "GET count"), 21, "each once");
    }
    world.signal(2, "-TERM");
    assert_eq!(world.wait(2), Some(0));
}

/// How many MiB the files below a directory have.
fn mib(path: &Path) -> u64 {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
    let bytes = |entry: fs::DirEntry| match entry.metadata().unwrap() {
        metadata if metadata.is_dir() => mib(&entry.path()) << 20,
        metadata => metadata.len(),
    };
    entries.map(bytes).sum::<u64>() >> 20
}

/// Far more is written than the log keeps. The use of disks stays bounded, and everything comes
/// back: after `kill -9` of all, and for a process that lost what it had applied.
#[test]
fn a_log_of_which_little_is_kept_loses_nothing() {
    const KEYS: usize = 1_000;
    let lines = "retain 16MiB\nsnapshots snapshots\nkeepers 1 2 3\nsnapshot_instances 256\n";
    let mut world = World::configured(lines, &[]);
    let mut first = world.connect(1);
    let value = |round: usize, key: usize| format!("{round}-{key}-{}", "x".repeat(8_000));
    for round in 1..=12 {
        for keys in (0..KEYS).collect::<Vec<_>>().chunks(100) {
            let mut pipe = redis::pipe();
            for key in keys {
                pipe.set(format!("k{key}"), value(round, *key)).ignore();
            }
            if let Err(error) = pipe.query::<()>(&mut first) {
                // Stopping this process for a moment ends a wait, and the connection with it.
                assert!(error.is_io_error(), "{error}");
                first = world.connect(1);
                pipe.query::<()>(&mut first).unwrap();
            }
        }
        ask::<()>(&mut first, "INCR rounds");
    }
    let check = |world: &World, id: u16| {
        let mut connection = world.connect(id);
        assert_eq!(ask::<usize>(&mut connection, "GET rounds"), 12);
        assert_eq!(ask::<usize>(&mut connection, "DBSIZE"), KEYS + 1);
        for key in (0..KEYS).step_by(97) {
            assert_eq!(ask::<String>(&mut connection, &format!("GET k{key}")), value(12, key));
        }
    };
    for id in 1..=3 {
        // 96 MiB went through. Segments have 64 MiB, and two may be there.
        let log = mib(&world.path().join(format!("data/acceptor-{id}")));
        assert!(log < 150, "{log} MiB of log");
    }
    (1..=3).for_each(|id| world.kill(id));
    world.start_all();
    (1..=3).for_each(|id| check(&world, id));

    world.kill(3);
    fs::remove_dir_all(world.path().join("snapshots/learner-3")).unwrap();
    // It fetches one of another process.
    world.start(3);
    check(&world, 3);
    assert!(world.log(3).contains("goes on with instance"), "{}", world.log(3));
}

#[test]
fn pipelined_requests_are_answered_in_order_whatever_they_are() {
    let world = World::new(&[]);
    let mut plain = Plain::new(&world, 3);
    plain.send(
        "SET a 1\r\nGET a\r\nPING\r\nINCR a\r\nWATCH a\r\nMULTI\r\nGET a\r\nEXEC\r\nGET a\r\n",
    );
    plain.expect(
        "+OK\r\n$1\r\n1\r\n+PONG\r\n:2\r\n+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n$1\r\n2\r\n$1\r\n2\r\n",
    );
    // Many, in two pieces, and a long one.
    let many = "INCR n\r\n".repeat(5000);
    let (head, tail) = many.split_at(20_003);
    plain.send(head);
    plain.send(tail);
    plain.expect(&(1..=5000).map(|count| format!(":{count}\r\n")).collect::<String>());
    let long = "x".repeat(900_000);
    plain.send(&format!("*3\r\n$3\r\nSET\r\n$1\r\nl\r\n$900000\r\n{long}\r\nGET l\r\n"));
    plain.expect(&format!("+OK\r\n$900000\r\n{long}\r\n"));
    // Only values that the log cannot take are refused.
    plain.send(&format!("*3\r\n$3\r\nSET\r\n$1\r\nl\r\n$1100000\r\n{}\r\n", "y".repeat(1_100_000)));
    plain.expect("-ERR the command has about");
    let mut plain = Plain::new(&world, 3);
    // Small ones and a long one together are more than the log takes at once.
    let long = "x".repeat(980_000);
    let small = "SET s 1\r\n".repeat(7000);
    plain.send(&format!("{small}*3\r\n$3\r\nSET\r\n$1\r\nl\r\n$980000\r\n{long}\r\n"));
    plain.expect(&"+OK\r\n".repeat(7001));
    // A slow reader is answered in the end: each WATCH ends a flight.
    plain.send(&"MGET l l l l\r\nWATCH l\r\n".repeat(4));
    std::thread::sleep(Duration::from_millis(300));
    let one = format!("$980000\r\n{long}\r\n").repeat(4);
    for _ in 0..4 {
        plain.expect(&format!("*4\r\n{one}+OK\r\n"));
    }
    // A request that has no end is answered, and closed.
    let mut plain = Plain::new(&world, 3);
    plain.send("GET a\r\n*1\r\n:1\r\n");
    plain.expect("$1\r\n2\r\n-ERR Protocol error: expected '$', got ':'\r\n");
    assert!(plain.is_closed());
    let mut plain = Plain::new(&world, 3);
    plain.send("GET a\r\nQUIT\r\nGET a\r\n");
    plain.expect("$1\r\n2\r\n+OK\r\n");
    assert!(plain.is_closed());
}

#[test]
fn without_a_majority_every_answer_comes_in_time_and_says_what_it_means() {
    let mut world = World::new(&[]);
    let mut plain = Plain::new(&world, 3);
    plain.send("SET k v\r\n");
    plain.expect("+OK\r\n");
    (1..=2).for_each(|id| world.kill(id));
    let began = Instant::now();
    let mut reader = Plain::new(&world, 3);
    reader.send("GET k\r\n");
    plain.send("SET k w\r\nPING\r\n");
    plain.expect("-CLUSTERDOWN No majority");
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    reader.expect("-CLUSTERDOWN No majority");
    // From then on nothing is begun that cannot be done, and what needs nobody else is done.
    let began = Instant::now();
    let mut other = Plain::new(&world, 3);
    other.send("SET k x\r\n");
    other.expect("-TRYAGAIN Nothing was done");
    let mut local = Plain::new(&world, 3);
    local.send("READONLY\r\nGET k\r\n");
    local.expect("+OK\r\n$1\r\nv\r\n");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    // The write that was under way is carried out; the one that was refused never is.
    (1..=2).for_each(|id| world.start(id));
    let mut connection = world.connect(1);
    let is_there = happens(SOON, || ask::<String>(&mut connection, "GET k") == "w");
    assert!(is_there, "what was under way has been lost");
    let mut back = world.connect(3);
    let set = || cmd("SET").arg("k").arg("y").query::<()>(&mut back).is_ok();
    assert!(happens(SOON, set));
}

#[test]
fn local_reads_need_nobody() {
    let mut world = World::new(&["--reads", "local"]);
    let mut plain = Plain::new(&world, 3);
    plain.send("SET k v\r\nGET k\r\n");
    plain.expect("+OK\r\n$1\r\nv\r\n");
    (1..=2).for_each(|id| world.kill(id));
    plain.send("GET k\r\nREADWRITE\r\nGET k\r\n");
    plain.expect("$1\r\nv\r\n+OK\r\n$1\r\nv\r\n");
}

#[test]
fn keys_expire_on_every_process_by_one_clock() {
    let world = World::new(&[]);
    let [mut first, mut second] = [1, 2].map(|id| world.connect(id));
    ask::<()>(&mut first, "SET k v PX 700");
    let left = ask::<i64>(&mut second, "PTTL k");
    assert!((1..=700).contains(&left), "{left}");
    // Nobody writes any more. The time passes even so, ...
    std::thread::sleep(Duration::from_millis(100));
    let later = ask::<i64>(&mut first, "PTTL k");
    assert!(later <= left - 90, "{left} were left, and then {later}");
    // ... and it expires.
    let is_gone = happens(SOON, || ask::<Option<String>>(&mut second, "GET k").is_none());
    assert!(is_gone);
    assert_eq!(ask::<i64>(&mut first, "PTTL k"), -2);
    // And where nobody reads either.
    ask::<()>(&mut first, "SET k v PX 100");
    let mut plain = Plain::new(&world, 3);
    let is_there = |plain: &mut Plain| {
        plain.send("READONLY\r\nEXISTS k\r\n");
        plain.expect("+OK\r\n:");
        let mut rest = [0; 3];
        plain.0.read_exact(&mut rest).unwrap();
        rest[0] == b'1'
    };
    assert!(happens(SOON, || !is_there(&mut plain)), "{}", world.log(3));
}

#[test]
fn limits_hold() {
    let world = World::new(&["--maxclients", "2", "--timeout", "1"]);
    let mut first = Plain::new(&world, 1);
    first.send("PING\r\n");
    first.expect("+PONG\r\n");
    let _second = Plain::new(&world, 1);
    let mut third = Plain::new(&world, 1);
    third.expect("-ERR max number of clients reached\r\n");
    assert!(third.is_closed());
    assert!(first.is_closed(), "it was silent for a second");
}

/// Answers wait for a client that does not read, up to a limit. Then it is closed, and nobody else
/// notices.
#[test]
fn a_client_that_does_not_read_is_closed_at_its_limit() {
    const LIMIT: usize = 256 << 20;
    const EACH: usize = 900 << 10;
    let world = World::new(&[]);
    let mut other = world.connect(1);
    cmd("SET").arg("k").arg("v".repeat(EACH)).exec(&mut other).unwrap();
    let connected = |other: &mut Connection, count: usize| {
        let told: String = ask(other, "INFO clients");
        told.contains(&format!("connected_clients:{count}\r\n"))
    };
    let read_all = |mut plain: Plain| {
        let (mut bytes, mut piece) = (0, vec![0; 1 << 20]);
        while let Ok(count @ 1..) = plain.0.read(&mut piece) {
            bytes += count;
        }
        bytes
    };
    let mut patient = Plain::new(&world, 1);
    let few = LIMIT / EACH / 2;
    patient.send(&format!("{}QUIT\r\n", "GET k\r\n".repeat(few)));
    let mut silent = Plain::new(&world, 1);
    assert!(happens(SOON, || connected(&mut other, 3)));
    let many = LIMIT / EACH * 5 / 4;
    silent.send(&"GET k\r\n".repeat(many));
    assert!(happens(SOON, || connected(&mut other, 2)));
    assert!(read_all(silent) < LIMIT / 4, "nothing but what was on its way");
    assert!(read_all(patient) > few * EACH, "that one was below its limit");
    assert_eq!(ask::<usize>(&mut other, "STRLEN k"), EACH);
}

/// All that a process had is gone. Its acceptor must not forget, so it does not start again under
/// its id; as a process without an acceptor it serves everything.
#[test]
fn a_process_that_lost_its_disk_goes_on_under_another_id() {
    let mut world = World::new(&[]);
    let mut first = world.connect(1);
    ask::<()>(&mut first, "SET k v1");
    world.kill(3);
    fs::remove_dir_all(world.path().join("data/acceptor-3")).unwrap();
    fs::remove_dir_all(world.path().join("data/snapshots/learner-3")).unwrap();
    let start = |id: u16| {
        Command::new(PAXOS_KV)
            .args(["--conf", "paxos.conf", "--id", &id.to_string()])
            .args(["--listen", &world.port(3).to_string()])
            .current_dir(world.path())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(world.path().join(format!("{id}.log"))).unwrap())
            .spawn()
            .unwrap()
    };
    let mut forgetful = start(3);
    assert!(happens(SOON, || forgetful.try_wait().unwrap().is_some()));
    assert_eq!(forgetful.wait().unwrap().code(), Some(1));
    let told = world.log(3);
    assert!(told.contains("this acceptor came back without what it had promised"), "{told}");

    let mut fourth = start(4);
    let mut ready = String::new();
    BufReader::new(fourth.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    assert!(ready.starts_with("ready "), "{ready:?}: {}", world.log(4));
    let mut connection = world.connect(3);
    assert_eq!(ask::<String>(&mut connection, "GET k"), "v1");
    ask::<()>(&mut connection, "SET k v2");
    assert_eq!(ask::<String>(&mut first, "GET k"), "v2");
    fourth.kill().unwrap();
    fourth.wait().unwrap();
}

#[test]
fn hundreds_of_clients_are_served_at_once() {
    let world = World::new(&[]);
    let mut clients: Vec<Plain> = (0..900).map(|_| Plain::new(&world, 2)).collect();
    for _ in 0..3 {
        clients.iter_mut().for_each(|client| client.send("INCR n\r\n"));
        for client in &mut clients {
            client.expect(":");
            let mut rest = [0; 1];
            while rest != *b"\n" {
                client.0.read_exact(&mut rest).unwrap();
            }
        }
    }
    drop(clients);
    let mut connection = world.connect(1);
    assert_eq!(ask::<i64>(&mut connection, "GET n"), 2700);
}

#[test]
fn a_password_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    fs::write(&file, "secret\n").unwrap();
    let world = World::new(&["--requirepass-file", file.to_str().unwrap()]);
    let mut plain = Plain::new(&world, 1);
    plain.send("GET k\r\n");
    plain.expect("-NOAUTH Authentication required.\r\n");
    let client = redis::Client::open(format!("redis://:secret@127.0.0.1:{}/", world.port(1)));
    let mut connection = client.unwrap().get_connection().unwrap();
    assert_eq!(ask::<Value>(&mut connection, "GET k"), Value::Nil);
}

/// A copy of the project, as far as kv/run.sh needs it.
fn project() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let copied = Command::new("cp")
        .args(["-a", "--parents", "bash/lib.sh", "kv/run.sh"])
        .arg(folder.path())
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .status();
    assert!(copied.unwrap().success());
    folder
}

/// What kv/run.sh says, and the process that says it.
fn run_script(project: &Path, base: u16) -> (Child, String) {
    let mut child = Command::new(project.join("kv/run.sh"))
        .arg(base.to_string())
        .env("PAXOS_KV_BIN", PAXOS_KV)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    (child, line)
}

#[test]
fn the_script_starts_three_and_ends_them_and_serves_what_was_there() {
    let (folder, base) = (project(), free_ports());
    let connect = |id| redis::Client::open(format!("redis://127.0.0.1:{}/", base + id));
    for signal in ["-TERM", "-KILL"] {
        let (mut child, line) = run_script(folder.path(), base);
        let [two, three] = [base + 1, base + 2];
        let expected = format!("ready 127.0.0.1:{base} 127.0.0.1:{two} 127.0.0.1:{three}\n");
        assert_eq!(line, expected);
        let mut connection = connect(0).unwrap().get_connection().unwrap();
        let count: i64 = ask(&mut connection, "INCR lives");
        assert_eq!(count, if signal == "-TERM" { 1 } else { 2 });
        let killed = Command::new("kill").args([signal, &child.id().to_string()]).status();
        assert!(killed.unwrap().success());
        child.wait().unwrap();
        let is_ended = |id: u16| TcpStream::connect(("127.0.0.1", base + id)).is_err();
        assert!(happens(SOON, || (0..3).all(is_ended)), "{signal}");
    }
}

#[test]
fn the_script_names_metrics_and_who_ended_and_keeps_what_was_logged() {
    let (folder, base) = (project(), free_ports());
    let place = folder.path().join(format!("kv/run/{base}"));
    for lives in 1..=2 {
        let mut child = Command::new(folder.path().join("kv/run.sh"))
            .arg(base.to_string())
            .envs([("PAXOS_KV_BIN", PAXOS_KV), ("METRICS", "1")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        for id in 1..=3 {
            let line = said.next().unwrap();
            let address = line.strip_prefix(&format!("metrics of process {id} are at http://"));
            let (address, _) = address.unwrap_or_else(|| panic!("{line}")).split_once('/').unwrap();
            assert!(TcpStream::connect(address).is_ok(), "{line}");
        }
        assert!(said.next().unwrap().starts_with("end it with ctrl-C"));
        let client = redis::Client::open(format!("redis://127.0.0.1:{base}/")).unwrap();
        let mut connection = client.get_connection().unwrap();
        let info: String = ask(&mut connection, "INFO server");
        let first = info.lines().find_map(|line| line.strip_prefix("process_id:")).unwrap();
        assert!(Command::new("kill").args(["-KILL", first]).status().unwrap().success());
        let line = said.next().unwrap();
        assert!(line.starts_with("process 1 has ended with status 137; "), "{line}");
        let number = child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &number]).status().unwrap().success());
        child.wait().unwrap();
        assert_eq!(said.collect::<Vec<_>>(), [""; 0]);
        let logged = fs::read_to_string(place.join("1.log")).unwrap();
        assert_eq!(logged.matches("metrics are at").count(), lives, "{logged}");
        // When, and for whom, as in the logs of `paxos`.
        let line = logged.lines().find(|line| line.contains("metrics are at")).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        assert!(words[0].ends_with('Z') && words[0].len() == 24, "{line}");
        assert_eq!(words[1..3], ["N1", "INFO"], "{line}");
    }
}

/// The README's commands as they stand there, but for the ports.
#[test]
fn the_readme_is_right_about_the_store() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let readme = fs::read_to_string(home.join("README.md")).unwrap();
    let blocks = readme.split("```").skip(1).step_by(2);
    let block = blocks.filter_map(|block| block.strip_prefix("sh excerpt\n"));
    let block = block.into_iter().find(|block| block.contains("kv/run.sh")).unwrap();
    if Command::new("redis-cli").arg("--version").output().is_err() {
        return skip("the_readme_is_right_about_the_store", "there is no redis-cli");
    }
    let (folder, base) = (project(), free_ports());
    let mut lines = block.lines();
    let first = lines.next().unwrap();
    assert!(first.starts_with("kv/run.sh &"), "{first}");
    // A person waits for the line `ready`, and looks at what is printed.
    let mut typed =
        format!("kv/run.sh {base} >ready &\nuntil grep -q ready ready; do sleep 0.1; done\n");
    for (place, line) in lines.enumerate() {
        let line = line.replace("7001", &base.to_string());
        typed += &format!("{}\n", line.replace("7002", &(base + 1).to_string()));
        assert!(place < 3, "there are more than three commands behind it: {line}");
    }
    let output = Command::new("bash")
        .args(["-e", "-c", &format!("{typed}kill $!; wait")])
        .env("PAXOS_KV_BIN", PAXOS_KV)
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(told, "OK\nhello\n", "{}", String::from_utf8_lossy(&output.stderr));
    assert!(block.contains("# \"hello\""), "{block}");
}

#[test]
fn what_cannot_start_says_why_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |words: &[&str]| {
        let output =
            Command::new(PAXOS_KV).args(words).current_dir(folder.path()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{said}");
        said
    };
    let missing = refused(&["--id", "1"]);
    assert!(missing.contains("--conf") && missing.contains("--listen"), "{missing}");
    let common = ["--conf", "none.conf", "--id", "1", "--listen"];
    let with = |more: &[&str]| refused(&[&common[..], more].concat());
    assert!(with(&["127.0.0.1:7001"]).contains("none.conf"));
    assert!(with(&["nowhere"]).contains("it is not ADDR:PORT"));
    assert!(with(&["0.0.0.0:7001"]).contains("there is no password: add --requirepass-file"));
    let no_file = ["7001", "--requirepass-file", "none"];
    assert!(with(&no_file).contains("cannot read the password in none"));
    let groups = "clients 239.0.0.1 5000\nproposers 239.0.0.1 6000\nacceptors 239.0.0.1 7000\n\
                  learners 239.0.0.1 8000\n";
    fs::write(folder.path().join("lost.conf"), groups).unwrap();
    let said = refused(&["--conf", "lost.conf", "--id", "1", "--listen", "7001"]);
    assert!(said.contains("set `data`, or --data"), "{said}");
    assert!(refused(&["--id", "0"]).contains("--id"));
}
