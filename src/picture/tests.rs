//! Pictures of a run that is made by hand, byte for byte, and of drawn ones, by what must hold.

use std::rc::Rc;

use super::layout::Layout;
use super::scene::{Fan, Knows, State};
use super::*;
use crate::protocol::entries::Entries;
use crate::protocol::message::Kind;
use crate::protocol::message::{
    Accept, Accepted, AcceptedPage, Assignment, Decide, Message, Prepare, Promise, Request,
};
use crate::protocol::segments::Page;
use crate::protocol::types::{
    AssignedBy, Ballot, Instance, NodeId, Number, Origin, Run, Session, Time, Value,
};
use crate::sim::fault::Fault;
use crate::sim::network::Weather;
use crate::sim::record::{Belief, Chosen, Fate, Passage, Sent, What};
use crate::sim::scenario::{Ran, Scenario};
use crate::sim::trace::Trace;

fn node(name: &str) -> NodeId {
    name.parse().unwrap()
}

/// A record that is written line by line.
#[derive(Default)]
struct Pen {
    record: Record,
}

impl Pen {
    fn event(&mut self, time: u64, what: What) -> &mut Self {
        self.record.happened(Time(time), what);
        self
    }

    /// `copies` are receivers with their fates, and when a copy was read.
    fn send(
        &mut self,
        time: u64,
        from: &str,
        message: Message,
        copies: &[(&str, Fate, u64)],
    ) -> &mut Self {
        let (time, from, message) = (Time(time), Some(node(from)), Some(message));
        let (to, none) = (None, Vec::new());
        self.record.sent(Sent {
            time,
            from,
            to,
            message,
            bytes: 64,
            is_noise: false,
            copies: none,
        });
        for (to, fate, read) in copies {
            self.record.copied(Passage { to: node(to), fate: *fate, time: Time(*read) });
        }
        self
    }
}

/// One value is requested, accepted by two of three while the third hears nothing, and its leader
/// dies; the next one finds what was accepted.
fn made(value: &[u8]) -> Record {
    let session = Session { client: 1, boot: 1 };
    let origin = Origin::new(session, Number(1), AssignedBy::Leader);
    let entries = || Entries::numbered(origin, [value]);
    let ballot = |round, proposer| Ballot { round, proposer, boot: 9 };
    let [old, new] = [ballot(1, 1), ballot(2, 2)];
    let request = Message::Request(Request {
        assignment: Assignment::Leader,
        from: Number(1),
        front: Number(1),
        opened: Origin::UNSTAMPED,
        entries: entries(),
    });
    let accepted = |ballot| {
        let runs = [Run::new(Instance(1), Instance(2))].into();
        Message::Accepted(Accepted { ballot, runs })
    };
    let promised = |ballot| Belief::Acceptor { promised: ballot };
    let chosen = |ballot, by: &str, voters: &[u32]| {
        let (instance, voters) = (Instance(1), voters.to_vec());
        What::Chosen(Chosen { instance, ballot, by: node(by), voters })
    };
    let entry = crate::protocol::types::Entry::Value { origin, value: Value::new(value) };
    let page = Page { from: Instance(1), entries: vec![entry].into() };
    let report = AcceptedPage { ballot: old, page };
    let promise = |accepted: Vec<AcceptedPage>| {
        let (ballot, from, until, next, is_followed) = (new, Instance(1), None, None, false);
        let trimmed = from;
        Message::Promise(Promise { ballot, from, until, trimmed, accepted, next, is_followed })
    };
    use Fate::{Dead, Lost, Read};
    let mut pen = Pen::default();
    for name in ["A1", "A2", "A3", "C1", "L1", "P1", "P2"] {
        pen.event(0, What::Starts(node(name)));
    }
    let (watermark, from) = (Instance(1), Instance(1));
    pen.event(5, What::Leads(node("P1"), old))
        .event(5, What::Believes(node("P1"), office(old, true)))
        .send(10, "C1", request, &[("P1", Read, 50), ("P2", Fate::OfNoUse, 52)])
        .send(
            50,
            "P1",
            Message::Accept(Accept {
                ballot: old,
                watermark,
                chosen: Vec::new().into(),
                full: false,
                from,
                entries: entries(),
            }),
            &[("A1", Read, 90), ("A2", Read, 99), ("A3", Lost, 50)],
        )
        .event(90, What::Believes(node("A1"), promised(old)))
        .send(90, "A1", accepted(old), &[("P1", Lost, 90), ("P2", Fate::OfNoUse, 130)])
        .event(99, What::Believes(node("A2"), promised(old)))
        .event(99, chosen(old, "A2", &[1, 2]))
        .send(99, "A2", accepted(old), &[("P1", Dead, 140), ("P2", Fate::OfNoUse, 150)])
        .event(120, What::Dies(node("P1")))
        .event(150_000, What::Believes(node("P2"), office(new, false)))
        .send(
            150_000,
            "P2",
            Message::Prepare(Prepare { ballot: new, from, until: None, acceptor: None }),
            &[("A1", Read, 150_040), ("A2", Read, 150_050), ("A3", Fate::Cut, 150_000)],
        )
        .event(150_040, What::Believes(node("A1"), promised(new)))
        .send(150_040, "A1", promise(vec![report.clone()]), &[("P2", Read, 150_090)])
        .event(150_050, What::Believes(node("A2"), promised(new)))
        .send(150_050, "A2", promise(vec![report]), &[("P2", Read, 150_090)])
        .event(150_090, What::Leads(node("P2"), new))
        .event(150_090, What::Believes(node("P2"), office(new, true)))
        .send(
            150_090,
            "P2",
            Message::Decide(Decide { ballot: new, from, entries: entries() }),
            &[("L1", Read, 150_140)],
        )
        .event(150_140, What::Learns(node("L1"), Run::new(Instance(1), Instance(2))));
    pen.record
}

fn office(ballot: Ballot, leads: bool) -> Belief {
    use crate::protocol::message::{Progress, Standing};
    let standing = if leads { Standing::Leads } else { Standing::Campaigns };
    let progress = Progress {
        trimmed: Instance(1),
        first: Instance(1),
        watermark: Instance(1),
        decided: 0,
        end: Instance(1),
        name: 0,
    };
    Belief::Proposer { standing, ballot, progress }
}

fn caption() -> Caption {
    Caption {
        title: "A leader dies".to_owned(),
        command: "paxos simulate --seed 1".to_owned(),
        result: "1 instance decided by 150.140ms".to_owned(),
        ending: "Every learner has everything.".to_owned(),
        hash: Some(7),
    }
}

fn recorded(scenario: &Scenario) -> Record {
    let record = Record::shared();
    let Ran { .. } = scenario.run(Trace::silent().recorded(Rc::clone(&record)));
    record.take()
}

/// A few values while one datagram in ten is lost and the leader dies.
fn rough(seed: u64, values: u64) -> Scenario {
    let faults = vec![(Time(92_000), Fault::KillLeader)];
    let mut scenario = Scenario { faults, ..Scenario::calm(seed) };
    scenario.clients.truncate(1);
    scenario.clients[0].values = values;
    scenario.plan.weather = Weather { loss: 0.1, ..Weather::default() };
    scenario
}

/// The picture that is checked in is the one that is drawn now. `REWRITE=1` writes it.
#[test]
fn a_small_diagram_is_the_same_byte_for_byte() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/picture/testdata/leader_dies.svg");
    let drawn = picture(&made(b"a<b>&\"c\""), &caption(), &Wish::default());
    if std::env::var_os("REWRITE").is_some() {
        std::fs::write(path, &drawn).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap();
    assert!(kept == drawn, "{path} is not what is drawn now; REWRITE=1 writes it, then look at it");
    assert!(drawn.len() <= 25 << 10, "{} bytes", drawn.len());
    is_well_formed(&drawn);
}

#[test]
fn the_story_says_what_the_record_says() {
    let record = made(b"x");
    let scene = Scene::new(&record, &Wish::default(), "The end.");
    let told: Vec<&str> = scene.story.iter().map(|sentence| sentence.text.as_str()).collect();
    assert_eq!(
        told,
        [
            "P1 leads with ballot 1.P1.",
            "1 is chosen: A1 and A2 have accepted. Nobody knows it yet.",
            "P1 is dead. Nobody is told.",
            "P2 campaigns with ballot 2.P2: it has heard no leader so far.",
            "P2 leads: A1 and A2 have promised, a majority. They report 1 accepted in 1.P1: P2 \
             must keep it, and tells it again.",
            "The end.",
        ]
    );
    assert!(scene.bands.iter().any(|band| band.is == State::Leads(1) && band.node == node("P2")));
}

/// Copies of a multicast for processes that cannot use them are left out; messages that nobody read
/// are drawn.
#[test]
fn only_copies_that_matter_are_drawn() {
    let record = made(b"x");
    let scene = Scene::new(&record, &Wish::default(), "");
    let to = |fan: &Fan| fan.copies.iter().map(|copy| copy.to.to_string()).collect::<Vec<_>>();
    let all: Vec<_> = scene.fans.iter().map(to).collect();
    let expected: [&[&str]; 8] = [
        &["P1"],
        &["A1", "A2", "A3"],
        &["P1"],
        &["P1"],
        &["A1", "A2", "A3"],
        &["P2"],
        &["P2"],
        &["L1"],
    ];
    assert_eq!(all, expected);
    let wish = Wish { until: Some(Time(1000)), hidden: vec![Kind::Accepted], ..Wish::default() };
    assert_eq!(Scene::new(&record, &wish, "").fans.len(), 2);
}

/// A value is data wherever it appears: it ends no element and begins none.
#[test]
fn values_are_text_and_pages_ask_for_nothing() {
    let hostile = b"</script><script>alert(1)</script><!--'\"&\xff\xe2\x80\xa8";
    let record = made(hostile);
    let mut caption = caption();
    caption.title = String::from_utf8_lossy(hostile).into_owned();
    let svg = picture(&record, &caption, &Wish::default());
    is_well_formed(&svg);
    assert!(!svg.contains("<script") && !svg.contains("<!--"));
    let page = page(&record, &caption);
    assert_eq!((page.matches("<script").count(), page.matches("</script>").count()), (2, 2));
    assert!(!page.contains("<!--") && !page.contains('\u{2028}'));
    for text in [
        svg.replacen("http://www.w3.org/2000/svg", "", 1),
        page.replace("\"http://www.w3.org/2000/svg\"", ""),
    ] {
        for word in ["http:", "https:", "@import", "src=", "link rel", "fetch(", "XMLHttp"] {
            assert!(!text.contains(word), "{word}");
        }
        assert_eq!(text.matches("url(").count(), text.matches("url(#h").count());
    }
}

#[test]
fn drawn_runs_keep_the_rules_of_the_layout() {
    let (mut labels, mut clashes) = (0, 0);
    let drawn = (1..=4).map(Scenario::drawn).chain((1..=8).map(|seed| rough(seed, 12)));
    for scenario in drawn {
        let record = recorded(&scenario);
        let scene = Scene::new(&record, &Wish::default(), "The end.");
        let layout = Layout::new(&scene);
        let heights: Vec<f64> = layout.ticks.values().copied().collect();
        assert!(heights.windows(2).all(|pair| pair[0] + 12.9 <= pair[1]), "time goes down");
        let votes = scene.chips.iter().filter(|chip| matches!(chip.knows, Knows::Accepted(_)));
        let said = record
            .messages
            .iter()
            .filter(|sent| !sent.is_noise && matches!(sent.message, Some(Message::Accepted(_))));
        assert!(votes.count() <= said.count());
        if scene.fans.len() > DRAWN_MAX {
            continue;
        }
        let one = picture(&record, &caption(), &Wish::default());
        assert_eq!(one, picture(&recorded(&scenario), &caption(), &Wish::default()));
        is_well_formed(&one);
        let (put, clashed) = diagram::labels(&scene);
        (labels, clashes) = (labels + put, clashes + clashed);
    }
    assert!(labels > 300 && clashes * 50 <= labels, "{clashes} of {labels} labels hit something");
}

#[test]
fn sizes_stay_within_their_bounds() {
    let record = recorded(&rough(3, 4));
    let svg = picture(&record, &caption(), &Wish::default());
    assert!(svg.len() <= 60 << 10, "{} bytes", svg.len());
    let mut scenario = Scenario::calm(7);
    scenario.plan.weather.loss = 0.3;
    let record = recorded(&scenario);
    let page = page(&record, &caption());
    let for_ten_thousand = page.len() * 10_000 / record.messages.len();
    assert!(for_ten_thousand <= 1_500_000, "{for_ten_thousand} bytes");
    let overview = picture(&record, &caption(), &Wish::default());
    assert!(overview.contains("This is the overview") && overview.len() <= 200 << 10);
    is_well_formed(&overview);
}

/// Tags are closed in the order in which they were opened, and attributes are quoted.
fn is_well_formed(text: &str) {
    let mut open: Vec<&str> = Vec::new();
    for piece in text.split('<').skip(1) {
        let (tag, after) = piece.split_once('>').expect("a tag ends");
        assert!(!after.contains('>') || open.last() == Some(&"style"), "{after}");
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/') {
            open.push(tag.split(' ').next().unwrap_or_default());
        }
    }
    assert!(open.is_empty(), "{open:?}");
}
