//! The command line.

use std::fmt::Display;
use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// How reads are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Reads {
    /// By everything that was acknowledged before, by any process.
    Linearizable,
    /// By what this process has applied, which may be behind.
    Local,
}

/// Where metrics are served: at the first free port from this one on, or nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metrics(pub Option<SocketAddr>);

/// A replicated key-value store that speaks the Redis protocol.
#[derive(Clone, Debug, Parser)]
#[command(name = "paxos-kv", version, max_term_width = 100)]
pub struct Options {
    /// The configuration of the cluster, the same for all processes; see docs/configuration.md
    #[arg(long, value_name = "PATH")]
    pub conf: PathBuf,
    /// The id of this process, from 1. Those up to `acceptor_count` have an acceptor
    #[arg(long, value_parser = whole(1..=u32::MAX), allow_negative_numbers = true)]
    pub id: u32,
    /// Where clients connect. An address that other hosts reach needs a password
    #[arg(long, value_name = "ADDR:PORT", value_parser = address)]
    pub listen: SocketAddr,
    /// Where the acceptor keeps what it must not forget, instead of `data` of the configuration
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Where to serve metrics, or the first free port behind it, or `off`; instead of `metrics` of
    /// the configuration
    #[arg(long, value_name = "ADDR:PORT", value_parser = metrics)]
    pub metrics: Option<Metrics>,
    /// How reads are answered, unless a connection says READONLY
    #[arg(long, value_enum, default_value = "linearizable")]
    pub reads: Reads,
    /// A file with the password that clients must say: its first line
    #[arg(long, value_name = "FILE")]
    pub requirepass_file: Option<PathBuf>,
    /// How many clients may be connected
    #[arg(long, value_name = "N", default_value_t = 10_000,
        value_parser = whole(0..=usize::MAX), allow_negative_numbers = true)]
    pub maxclients: usize,
    /// Closes connections that were silent for this many seconds; 0 never does
    #[arg(long, value_name = "SECONDS", default_value_t = 0,
        value_parser = whole(0..=u64::MAX), allow_negative_numbers = true)]
    pub timeout: u64,
}

/// The options of a server besides its cluster.
#[derive(Clone, Debug)]
pub struct Serving {
    /// The id of this process.
    pub id: u32,
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Whether reads are answered by this replica alone.
    pub reads_locally: bool,
    /// The password that clients must give.
    pub password: Option<Vec<u8>>,
    /// How many clients may be connected.
    pub clients_max: usize,
    /// How long a connection may be silent.
    pub idle: Option<Duration>,
    /// A number that no other process, and no other run of this one, has.
    pub origin: u64,
}

/// A usage error in one line, with what is missing, which stands below its first.
pub fn sentence(error: &clap::Error) -> String {
    if error.kind() == clap::error::ErrorKind::InvalidUtf8 {
        return "an argument is not UTF-8 text; write it in UTF-8".to_owned();
    }
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let lines = text.lines().take_while(|line| !line.trim().is_empty()).map(str::trim);
    lines.collect::<Vec<_>>().join(" ")
}

/// More of a password's file is not read: whatever has no end there is no password.
const PASSWORD_BYTES_MAX: usize = 4096;

/// A whole number within bounds, which a refusal names.
fn whole<T>(
    bounds: RangeInclusive<T>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: FromStr + PartialOrd + Display + Clone + Send + Sync + 'static,
{
    move |text| {
        let (least, most) = (bounds.start(), bounds.end());
        let number = text.parse().ok().filter(|number| bounds.contains(number));
        number.ok_or_else(|| format!("it is not a whole number from {least} to {most}"))
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    // A port alone is one of this host alone.
    if let Ok(port) = text.parse::<u16>() {
        return Ok(SocketAddr::from(([127, 0, 0, 1], port)));
    }
    text.parse().map_err(|_| "it is not ADDR:PORT, such as 127.0.0.1:7001".to_owned())
}

fn metrics(text: &str) -> Result<Metrics, String> {
    if text == "off" {
        return Ok(Metrics(None));
    }
    let place = address(text).ok().filter(|place| !place.ip().is_multicast());
    let refused = || "it is neither ADDR:PORT of this host, such as 127.0.0.1:9187, nor off";
    place.map(|place| Metrics(Some(place))).ok_or_else(|| refused().to_owned())
}

impl Options {
    /// What the server is told.
    ///
    /// # Errors
    ///
    /// One sentence, when the password cannot be had, or is missing.
    pub fn serving(&self, origin: u64) -> Result<Serving, String> {
        let password = self.password()?;
        if !self.listen.ip().is_loopback() && password.is_none() {
            return Err(format!(
                "--listen {} can be reached from other hosts, and there is no password: add \
                 --requirepass-file FILE, or listen at 127.0.0.1",
                self.listen
            ));
        }
        Ok(Serving {
            id: self.id,
            listen: self.listen,
            reads_locally: self.reads == Reads::Local,
            password,
            clients_max: self.maxclients,
            idle: Some(Duration::from_secs(self.timeout)).filter(|idle| !idle.is_zero()),
            origin,
        })
    }

    fn password(&self) -> Result<Option<Vec<u8>>, String> {
        let Some(path) = &self.requirepass_file else { return Ok(None) };
        let shown = path.display();
        let mut text = Vec::new();
        File::open(path)
            .and_then(|file| file.take(PASSWORD_BYTES_MAX as u64 + 1).read_to_end(&mut text))
            .map_err(|error| {
                format!("cannot read the password in {shown}: {error}; see its path")
            })?;
        let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
        if line.len() > PASSWORD_BYTES_MAX {
            return Err(format!(
                "{shown}: its first line is longer than {PASSWORD_BYTES_MAX} bytes; put the \
                 password there, and nothing else"
            ));
        }
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return Err(format!("{shown}: its first line is empty; put the password there"));
        }
        Ok(Some(line.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;

    use super::*;

    #[test]
    fn what_is_wrong_is_said_in_our_own_words() {
        for (name, words, expected) in [
            ("--id", &["0", "x", "", "-1", "4294967296"][..], "from 1 to 4294967295"),
            ("--listen", &["x", "", "70000", "host:1"], "it is not ADDR:PORT, such as 127.0.0.1"),
            ("--metrics", &["on", "", "70000", "239.0.0.1:1"], "it is neither ADDR:PORT of this"),
            ("--maxclients", &["x", "", "-1"], "from 0 to 18446744073709551615"),
            ("--timeout", &["x", "", "-1", "1.5"], "it is not a whole number from 0 to"),
        ] {
            for word in words {
                let mut line = vec!["paxos-kv".to_owned(), format!("{name}={word}")];
                let others = [("--conf", "c"), ("--id", "1"), ("--listen", "7001")];
                let others = others.iter().filter(|(other, _)| *other != name);
                line.extend(others.map(|(other, word)| format!("{other}={word}")));
                let said = Options::try_parse_from(&line).unwrap_err().to_string();
                assert!(said.contains(expected), "{name} {word}: {said}");
            }
        }
    }

    #[test]
    fn a_password_without_end_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("password");
        let password = |path: &Path| {
            let line = ["paxos-kv", "--conf=c", "--id=1", "--listen=7001"];
            let options = Options::try_parse_from(line).unwrap();
            Options { requirepass_file: Some(path.to_owned()), ..options }.password()
        };
        std::fs::write(&file, "secret\r\nand more\n").unwrap();
        assert_eq!(password(&file), Ok(Some(b"secret".to_vec())));
        std::fs::write(&file, "\n").unwrap();
        assert!(password(&file).unwrap_err().contains("its first line is empty"));
        let endless = password(Path::new("/dev/zero")).unwrap_err();
        assert!(endless.contains("longer than 4096 bytes"), "{endless}");
    }

    #[test]
    fn a_usage_error_is_one_line() {
        let said = |words: &[&OsStr]| sentence(&Options::try_parse_from(words).unwrap_err());
        let missing = said(&["paxos-kv".as_ref(), "--id=1".as_ref()]);
        assert!(missing.contains("--listen <ADDR:PORT>") && !missing.contains('\n'), "{missing}");
        let bytes = OsStr::from_bytes(b"--listen=\xff");
        let said = said(&["paxos-kv".as_ref(), "--conf=c".as_ref(), "--id=1".as_ref(), bytes]);
        assert_eq!(said, "an argument is not UTF-8 text; write it in UTF-8");
    }
}
