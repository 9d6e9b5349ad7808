//! The pictures of `paxos simulate`: what was typed, and what it means.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::scenario::time;
use crate::picture::Wish;
use crate::protocol::message::Kind;
use crate::protocol::types::Time;
use crate::simulate::Pictures;

/// The pictures that are wanted, as typed.
#[derive(Args, Clone, Debug, Default, PartialEq)]
#[command(next_help_heading = "Pictures")]
pub struct TypedPictures {
    /// Draw the run to this file: every message, or an overview where they are more than 400
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Write a page to step through the run; it needs no network
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// The title of the pictures
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    /// Draw only these kinds of message, as in Accept,Accepted
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = kind)]
    only: Vec<Kind>,
    /// Do not draw these kinds of message
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = kind)]
    hide: Vec<Kind>,
    /// Draw only what belongs to these instances, as in 7 or 2..5
    #[arg(long, value_name = "N[..M]", value_parser = instances)]
    instance: Option<(u64, u64)>,
    /// Draw only what happens from then on
    #[arg(long, value_name = "TIME", value_parser = moment)]
    from: Option<Time>,
    /// Draw only what happens until then
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Time>,
    /// Draw heartbeats, and copies that were of no use to their receivers
    #[arg(long)]
    all: bool,
    /// Draw the overview, however few messages there are
    #[arg(long)]
    overview: bool,
}

impl TypedPictures {
    /// What is wanted.
    ///
    /// # Errors
    ///
    /// An option of a picture without the picture, in one sentence.
    pub fn understood(self, command: String) -> Result<Pictures, String> {
        let Self { svg, html, title, only, hide, instance, from, until, all, overview } = self;
        if let (Some(from), Some(until)) = (from, until)
            && from >= until
        {
            let [from, until] = [from, until].map(|time| time.since(Time::ZERO));
            return Err(format!(
                "--from {from:?} is not before --until {until:?}, and nothing lies between them; \
                 give --from a time before --until"
            ));
        }
        let is_left_out = |kind: &Kind| !only.is_empty() && !only.contains(kind);
        let mut hidden: Vec<Kind> = Kind::ALL.into_iter().filter(is_left_out).collect();
        hidden.extend(hide);
        // A kind that is requested by name is drawn, even a heartbeat.
        let all = all || only.iter().any(|kind| matches!(kind, Kind::Heartbeat | Kind::Echo));
        let wish = Wish { hidden, instances: instance, from, until, all, overview };
        if svg.is_none() && wish != Wish::default() {
            return Err("--only, --hide, --instance, --from, --until, --all and --overview say \
                        what --svg draws: add --svg FILE"
                .to_owned());
        }
        if svg.is_none() && html.is_none() && title.is_some() {
            return Err("--title is for a picture: add --svg FILE or --html FILE".to_owned());
        }
        Ok(Pictures { svg, html, title, wish, command })
    }
}

/// The command as shown in a picture: the same no matter where the picture is written.
pub fn command_line(arguments: &[OsString]) -> String {
    let mut words = vec!["paxos".to_owned()];
    let mut arguments = arguments.iter().skip(1).map(|argument| argument.to_string_lossy());
    while let Some(argument) = arguments.next() {
        if argument == "--svg" || argument == "--html" {
            arguments.next();
        } else if !argument.starts_with("--svg=") && !argument.starts_with("--html=") {
            words.push(quoted(&argument));
        }
    }
    words.join(" ")
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || "-_./@=,+:".contains(letter);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

fn kind(name: &str) -> Result<Kind, String> {
    let named = |kind: &Kind| format!("{kind:?}").eq_ignore_ascii_case(name);
    Kind::ALL.into_iter().find(named).ok_or_else(|| {
        let names: Vec<String> = Kind::ALL.iter().map(|kind| format!("{kind:?}")).collect();
        format!("no kind of message; there are {}", names.join(", "))
    })
}

pub fn instances(text: &str) -> Result<(u64, u64), String> {
    let (first, last) = text.split_once("..").unwrap_or((text, text));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if 1 <= first && first <= last => Ok((first, last)),
        _ => Err("not of the form 7 or 2..5".to_owned()),
    }
}

fn moment(text: &str) -> Result<Time, String> {
    time(text).map(|length| Time::ZERO + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_instances_are_understood_or_refused() {
        assert_eq!(kind("accepted"), Ok(Kind::Accepted));
        assert!(kind("Vote").is_err_and(|what| what.contains("Accepted, Nack")));
        assert_eq!((instances("7"), instances("2..5")), (Ok((7, 7)), Ok((2, 5))));
        assert!(["", "0", "5..2", "1..", "a"].iter().all(|text| instances(text).is_err()));
    }

    #[test]
    fn what_a_picture_shows_needs_a_picture() {
        let html = TypedPictures { html: Some("x".into()), overview: true, ..Default::default() };
        assert!(html.understood(String::new()).is_err());
        let only =
            TypedPictures { svg: Some("x".into()), only: vec![Kind::Accept], ..Default::default() };
        let wish = only.understood(String::new()).unwrap().wish;
        assert!(!wish.hidden.contains(&Kind::Accept) && wish.hidden.contains(&Kind::Decide));
    }

    #[test]
    fn a_window_has_a_beginning_before_its_end() {
        let wish = |from, until| {
            let svg = Some("x".into());
            TypedPictures { svg, from, until, ..Default::default() }.understood(String::new())
        };
        let at = |millis: u64| Some(Time(millis * 1000));
        assert!(
            wish(at(1), at(2)).is_ok() && wish(at(2), None).is_ok() && wish(None, at(0)).is_ok()
        );
        for until in [2000, 1999, 0] {
            let said = wish(at(2000), at(until)).unwrap_err();
            assert!(said.starts_with("--from 2s is not before --until "), "{said}");
        }
    }

    #[test]
    fn the_command_is_the_same_wherever_the_picture_goes() {
        let words = [
            "/bin/paxos",
            "simulate",
            "--svg",
            "a b",
            "--title",
            "it's",
            "--html=x",
            "--seed",
            "7",
        ];
        let told = command_line(&words.map(OsString::from));
        assert_eq!(told, "paxos simulate --title 'it'\\''s' --seed 7");
    }
}
