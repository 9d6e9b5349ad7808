//! Keys: how they are made, refused, shared and replaced.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::world::{PAXOS, SOON, World, happens, text, values};

/// A world whose processes have the key `paxos.key`.
fn locked() -> World {
    let world = World::new();
    let path = world.path("paxos.key");
    if !path.exists() {
        world.make_key("paxos.key");
    }
    world.configure(&format!("key_file {}", path.display()));
    world
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn keygen_makes_a_key_for_its_owner_alone_and_never_overwrites() {
    let world = World::new();
    let keygen = |name: &str| {
        let output = Command::new(PAXOS).arg("keygen").arg(world.path(name)).output().unwrap();
        assert!(output.stdout.is_empty());
        (output.status.code(), text(&output.stderr))
    };
    assert_eq!(keygen("one.key"), (Some(0), String::new()));
    assert_eq!(keygen("two.key"), (Some(0), String::new()));
    let read = |name: &str| fs::read_to_string(world.path(name)).unwrap();
    assert_ne!(read("one.key"), read("two.key"));
    assert_eq!(fs::metadata(world.path("one.key")).unwrap().mode() & 0o7777, 0o600);
    let before = read("one.key");
    let (status, said) = keygen("one.key");
    assert_eq!((status, said.lines().count()), (Some(2), 1), "{said}");
    assert!(said.contains("is not overwritten"), "{said}");
    assert_eq!(read("one.key"), before);
    assert_eq!(keygen("nowhere/one.key").0, Some(2));
}

/// One line, status 2, and never a word of the key.
#[test]
fn a_key_that_cannot_be_used_stops_every_role() {
    let world = locked();
    let path = world.path("paxos.key");
    let secret = fs::read_to_string(&path).unwrap();
    let digits = secret.split_whitespace().last().unwrap().to_owned();
    let refused = |expected: &str| {
        for role in ["client", "proposer", "acceptor", "learner"] {
            let output = world.command(&format!("{role}.sh")).arg("1").arg(world.conf()).output();
            let output = output.unwrap();
            let said = text(&output.stderr);
            assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{said}");
            assert!(said.contains(expected) && !said.contains(&digits[..16]), "{said}");
        }
    };
    set_mode(&path, 0o640);
    refused("its mode is 0640; chmod 600");
    set_mode(&path, 0o600);
    fs::write(&path, format!("paxos-key-1 {digits}0\n")).unwrap();
    refused("paxos.key:1: not a line");
    fs::remove_file(&path).unwrap();
    refused("paxos keygen");
}

/// Processes without the key, or with another one, decide nothing; both sides log what is wrong,
/// without a flood.
#[test]
fn without_the_key_nothing_is_decided_and_both_sides_say_why() {
    let mut world = locked();
    world.make_key("other.key");
    let shared = fs::read_to_string(world.conf()).unwrap();
    let open: Vec<&str> = shared.lines().filter(|line| !line.starts_with("key_file")).collect();
    fs::write(world.path("paxos-client1.conf"), open.join("\n")).unwrap();
    let other = shared.replace("paxos.key", "other.key");
    fs::write(world.path("paxos-client2.conf"), other).unwrap();
    world.start_cluster(2, "0");
    for id in 1..=2 {
        world.feed(id, values("v", 10).as_bytes(), &["0", "3", "auto"]);
    }
    for client in ["client1", "client2"] {
        assert_eq!(world.end_of(client, SOON).code(), Some(1));
    }
    let of_client = world.said("client1");
    assert!(of_client.contains("sealed with a key, and there is none here"), "{of_client}");
    assert!(world.said("client2").contains("another key"), "{}", world.said("client2"));
    let of_proposer = world.said("proposer1");
    assert!(of_proposer.contains("not sealed with a key"), "{of_proposer}");
    assert!(of_proposer.contains("sealed with another key"), "{of_proposer}");
    assert!(of_proposer.lines().count() <= 20, "once a second: {of_proposer}");
    assert_eq!((world.lines(1), world.lines(2)), (0, 0));
}

/// The steps of docs/security.md, one process at a time, while values are decided.
#[test]
fn a_key_is_replaced_while_values_are_decided() {
    let mut world = World::new();
    for name in ["old.key", "new.key"] {
        world.make_key(name);
    }
    let path = world.path("both.key");
    let [old, new] = ["old.key", "new.key"].map(|name| {
        let text = fs::read_to_string(world.path(name)).unwrap();
        text.lines().last().unwrap().to_owned()
    });
    let write = |keys: &[&str]| {
        fs::write(&path, keys.join("\n")).unwrap();
        set_mode(&path, 0o600);
    };
    write(&[&old]);
    let data = world.path("data");
    world.configure(&format!("key_file {}\ndata {}", path.display(), data.display()));
    world.start_cluster(2, "0");
    let mut decided = 0;
    let steps: [&[&str]; 4] = [&[&old], &[&old, &new], &[&new, &old], &[&new]];
    for (step, keys) in steps.iter().enumerate() {
        write(keys);
        for name in ["acceptor1", "acceptor2", "acceptor3", "proposer1", "proposer2", "learner1"] {
            world.kill(name);
            world.start(name, &[]);
            // Something is decided while this one is of another step than the next.
            let client = 1 + step as u32;
            world.feed(client, format!("{step} {name}\n").as_bytes(), &["0", "20", "auto"]);
            assert_eq!(world.end_of(&format!("client{client}"), SOON).code(), Some(0), "{name}");
            decided += 1;
        }
        world.kill("learner2");
        world.start("learner2", &[]);
        world.await_lines(&[1, 2], decided, SOON);
    }
    assert!(happens(Duration::from_secs(2), || world.printed("learner1").ends_with(b"learner1\n")));
    assert_eq!(world.printed("learner1"), world.printed("learner2"));
}
