//! The settings that result from a configuration, as text: for scripts, which must not parse the
//! file by themselves.
//!
//! Defaults are those that the shipped file shows; a test holds the two together.

use super::groups::GROUPS;
use super::nearest::unknown;
use super::{Config, ConfigError, KEYS};

/// The file that shows each default.
const SHIPPED: &str = include_str!("../../conf/paxos.conf");

/// Settings whose line in the shipped file is an example, or depends on the host: no default.
const WITHOUT_DEFAULT: [&str; 7] =
    ["data", "disk_bytes", "snapshots", "keepers", "snapshot_copies", "key_file", "datagram_bytes"];

impl Config {
    /// What `key` is set to, or its default, as it would stand in the file; numbers in their plain
    /// form. None: it is not set and has no default that is the same on every host.
    ///
    /// # Errors
    ///
    /// When there is no such key.
    pub fn text_of(&self, key: &str) -> Result<Option<String>, ConfigError> {
        if !names().any(|name| name == key) {
            return Err(ConfigError::UnknownKey(unknown(key)));
        }
        Ok(self.said.get(key).cloned().or_else(|| default_of(key)))
    }

    /// A line for each key that is set or has a default, as in the file.
    pub fn text(&self) -> String {
        let line = |key| Some(format!("{key} {}\n", self.text_of(key).ok()??));
        names().filter_map(line).collect()
    }
}

/// Every key, in the order of the shipped file.
fn names() -> impl Iterator<Item = &'static str> {
    GROUPS.iter().map(|(_, name, _)| *name).chain(KEYS.iter().map(|key| key.name))
}

/// The default of `key`: what the shipped file shows behind a `# `.
fn default_of(key: &str) -> Option<String> {
    if WITHOUT_DEFAULT.contains(&key) {
        return None;
    }
    let shown = |line: &str| {
        let value = line.strip_prefix("# ")?.strip_prefix(key)?.strip_prefix(' ')?;
        (!value.contains(' ')).then(|| value.to_owned())
    };
    SHIPPED.lines().find_map(shown)
}

#[cfg(test)]
mod tests {
    use super::super::{parse, parse_as};
    use super::*;

    const FOUR: &str = "clients 239.0.0.1 5000\nproposers 239.0.0.1 6000\n\
                        acceptors 239.0.0.1 7000\nlearners 239.0.0.1 8000\n";

    fn shown(more: &str, key: &str) -> Option<String> {
        parse("paxos.conf", &format!("{FOUR}{more}")).unwrap().text_of(key).unwrap()
    }

    #[test]
    fn a_setting_is_told_as_it_is_understood() {
        for (more, key, expected) in [
            ("", "acceptor_count", Some("3")),
            ("acceptor_count 08", "acceptor_count", Some("8")),
            ("acceptor_count 010", "acceptor_count", Some("10")),
            ("acceptor_count 5#", "ttl", None),
            ("", "cluster", Some("paxos")),
            ("cluster team#2 # ours", "cluster", Some("team#2")),
            ("", "data", None),
            ("data some/where", "data", Some("some/where")),
            ("", "value_bytes", Some("1048576")),
            ("", "datagram_bytes", None),
            ("", "clients", Some("239.0.0.1 5000")),
        ] {
            if more.ends_with('#') {
                assert!(parse("paxos.conf", &format!("{FOUR}{more}")).is_err(), "{more}");
            } else {
                assert_eq!(shown(more, key).as_deref(), expected, "{more}: {key}");
            }
        }
        let error = parse("c", FOUR).unwrap().text_of("acceptors_count").unwrap_err().to_string();
        assert_eq!(error, "unknown key acceptors_count; did you mean acceptor_count?");
    }

    #[test]
    fn the_whole_text_means_the_same() {
        let text = parse("paxos.conf", FOUR).unwrap().text();
        let again = parse("paxos.conf", &text).unwrap();
        assert_eq!(again.settings(Some(1500)), parse("c", FOUR).unwrap().settings(Some(1500)));
        assert_eq!(again.text(), text);
        // Each setting but those without a default is there.
        assert_eq!(text.lines().count(), 4 + KEYS.len() - WITHOUT_DEFAULT.len(), "{text}");
    }

    #[test]
    fn a_run_names_its_cluster_unless_the_file_does() {
        let named = |more: &str| {
            let text = format!("{FOUR}{more}");
            let config = parse_as("paxos.conf", &text, Some("run-1f")).unwrap();
            (config.cluster.clone(), config.text_of("cluster").unwrap().unwrap())
        };
        assert_eq!(named(""), ("run-1f".to_owned(), "run-1f".to_owned()));
        assert_eq!(named("cluster ours"), ("ours".to_owned(), "ours".to_owned()));
        assert_eq!(named("ttl 1").0, "run-1f");
    }
}
