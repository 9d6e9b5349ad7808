//! A page made from handwritten files, and what it must and must not show.

use std::path::Path;

use super::facts::Counts;
use super::*;
use crate::protocol::message::Assignment;

/// A run of two values, with a change of leader and a hostile line.
fn run(folder: &Path) -> ReportOptions {
    let files = [
        ("propose1.txt", "a\nb\n"),
        ("learner1_decided_value", "1\ta\n2\tb\n"),
        ("learner2_decided_value", "1\ta\n2\tb\n"),
        ("timeline.txt", "# x\nstart 2026-11-26T12:00:00.000Z\nneeded 2\n0 0 0\n40 1 0\n90 2 2\n"),
        (
            "proposer1.log",
            "2026-11-26T12:00:00.010Z P1 INFO  leads with 1.P1; takes over 0 undecided instances \
             below 1\n2026-11-26T12:00:00.030Z P1 INFO  is replaced: 2.P2 leads, 1.P1 is over\n",
        ),
        (
            "proposer2.log",
            "2026-11-26T12:00:00.030Z P2 INFO  leads with 2.P2; takes over 0 undecided instances \
             below 1\n2026-11-26T12:00:00.050Z P2 WARN  <script>alert(1)</script>\nno line\n\
             2026-11-26T12:00:00.100Z P2 INFO  received 1234, sent 5, 8 sent again, 7 lost on \
             purpose, 2 dropped by the kernel, 3 dropped at a full inbox, 4 refused (of another \
             version), 9 refused (sealed, not for here), 6 ignored (StaleBallot)\n",
        ),
        ("node1.log", "2026-11-26T12:00:00.010Z N1 INFO  0 records are in data/acceptor-1\n"),
        (
            "client1.log",
            "2026-11-26T12:00:00.090Z C1 INFO  values took: p50 1.200 ms, p99.9 5.000 ms, longest \
             6.001 ms\n",
        ),
        ("client1.out", "2026-11-26T12:00:00.010Z C1 INFO  no log\n"),
    ];
    for (name, text) in files {
        fs::write(folder.join(name), text).unwrap();
    }
    let check = CheckOptions {
        learners: 2,
        clients: vec![Assignment::Leader],
        is_by_record: false,
        print: false,
        json: false,
        results: folder.to_owned(),
    };
    ReportOptions { check, command: Some("bash/run.sh . 2 <30>".to_owned()) }
}

fn page_of(options: &ReportOptions) -> String {
    fs::read_to_string(report(options).unwrap().0).unwrap()
}

#[test]
fn the_page_tells_what_the_files_tell() {
    let folder = tempfile::tempdir().unwrap();
    let page = page_of(&run(folder.path()));
    for part in [
        "<h1>A run of 2 values</h1>",
        "On 2026-11-26T12:00:00.000Z, every learner had all 2 entries after 90 ms: 22 a second.",
        "<code>bash/run.sh . 2 &lt;30&gt;</code>",
        "Every learner has 2 of 2 requested entries.",
        "True (100%)",
        "leads 1.P1",
        "<tr><th>P1</th><td>20 ms</td><td>–</td>",
        "f0\" x=",
        "<tr><th>P2</th><td>70 ms</td><td>1,234</td><td>5</td><td>8</td><td>7</td><td>5</td>\
         <td>13</td><td>1</td></tr>",
        "<tr><th>client</th><th>p50</th><th>p99.9</th><th>longest</th></tr>",
        "<tr><th>C1</th><td>1.200 ms</td><td>5.000 ms</td><td>6.001 ms</td></tr>",
        "&lt;script&gt;alert(1)",
    ] {
        assert!(page.contains(part), "{part}\n{page}");
    }
    let (path, line) = report(&run(folder.path())).unwrap();
    let expected = format!(
        "every learner had all 2 entries after 90 ms, 22 a second; P1, then P2 led; {} shows more",
        path.display()
    );
    assert_eq!(line, expected);
    assert!(page.contains("<th>N1</th><td>0 records") && !page.contains("<tr><th>N1</th>"));
    for part in ["<script", "http-equiv=\"refresh", "src=", "href=", "no log", "False"] {
        assert!(!page.contains(part), "{part}");
    }
    // Everything that is opened is closed, in order.
    let mut open = Vec::new();
    for tag in page.split('<').skip(1).map(|tag| tag.split('>').next().unwrap()) {
        let name = tag.split([' ', '\n']).next().unwrap();
        if let Some(name) = name.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/') && !["!doctype", "meta"].contains(&name) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn a_broken_promise_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let options = run(folder.path());
    fs::write(folder.path().join("learner2_decided_value"), "1\tb\n").unwrap();
    let page = page_of(&options);
    assert!(page.contains("<h3>Agreement</h3><p class=\"word\">False</p>"));
}

#[test]
fn what_is_missing_is_missing_in_the_page_alone() {
    let folder = tempfile::tempdir().unwrap();
    let options = run(folder.path());
    for name in ["timeline.txt", "proposer1.log", "proposer2.log", "propose1.txt"] {
        fs::remove_file(folder.path().join(name)).unwrap();
    }
    let page = page_of(&options);
    assert!(page.contains("propose1.txt: cannot read it") && page.contains("Nobody watched"));
    fs::remove_dir_all(folder.path()).unwrap();
    assert!(report(&options).unwrap_err().0.contains("report.html: cannot write it"));
}

#[test]
fn any_bytes_make_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let options = run(folder.path());
    let (random, names) =
        (&mut crate::rng::Rng::new(7), ["proposer1.log", "client1.log", "timeline.txt"]);
    for _ in 0..500 {
        for name in names {
            let path = folder.path().join(name);
            let mut bytes = fs::read(&path).unwrap();
            let place = random.below(bytes.len() as u64) as usize;
            bytes[place] = random.next_u64() as u8;
            fs::write(&path, bytes).unwrap();
        }
        assert!(page_of(&options).ends_with("</html>\n"));
    }
}

#[test]
fn what_was_not_counted_is_zero() {
    let folder = tempfile::tempdir().unwrap();
    let options = run(folder.path());
    fs::write(
        folder.path().join("acceptor1.log"),
        "2026-11-26T12:00:00.000Z A1 INFO  received 1, sent 2\n",
    )
    .unwrap();
    let facts = Facts::gather(&options);
    let names: Vec<&str> = facts.processes.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["P1", "P2", "A1", "C1", "N1"]);
    let counts = Counts { received: 1, sent: 2, ..Counts::default() };
    assert_eq!(facts.processes[2].counts(), Some(counts));
}

#[test]
fn a_leader_that_was_killed_led_until_another_did_at_most() {
    let folder = tempfile::tempdir().unwrap();
    let options = run(folder.path());
    let leads = |moment: &str, name: &str| {
        let text =
            format!("2026-11-26T12:00:00.{moment}Z {name} INFO  leads with 1.{name}; takes\n");
        fs::write(folder.path().join(format!("{name}.log")), text).unwrap();
    };
    fs::remove_file(folder.path().join("proposer1.log")).unwrap();
    fs::remove_file(folder.path().join("proposer2.log")).unwrap();
    leads("010", "P1");
    leads("060", "P2");
    let page = page_of(&options);
    for part in ["<th>P1</th><td>up to 50 ms</td>", "<th>P2</th><td>up to 30 ms</td>", "f0 faint"] {
        assert!(page.contains(part), "{part}");
    }
}
