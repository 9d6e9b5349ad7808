//! What is said of a command line that cannot be followed, in one line and in our own words where
//! those of the parser say nothing to a person.

use std::ffi::OsString;

use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::{Typed, Usage};

/// One line of what is wrong, or the help that was asked for.
pub(super) fn explain(error: &clap::Error, arguments: &[OsString]) -> Usage {
    let text = error.render().to_string();
    if let ErrorKind::DisplayHelp | ErrorKind::DisplayVersion = error.kind() {
        return Usage::Help(text);
    }
    // Of the command that was typed, if one was, and not of all of them.
    let mut commands = &Typed::command();
    let mut help = String::new();
    for word in arguments.iter().skip(1).filter_map(|argument| argument.to_str()) {
        if let Some(command) = commands.find_subcommand(word) {
            help += &format!("{} ", command.get_name());
            commands = command;
        }
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Usage::Wrong(format!("paxos: missing command; `paxos {help}--help` lists them"));
    }
    let line = not_text(error, arguments)
        .or_else(|| negative(error, arguments))
        .unwrap_or_else(|| first_paragraph(&text));
    Usage::Wrong(format!("paxos: {line}; see `paxos {help}--help`"))
}

/// It says what is wrong; the others repeat the usage.
fn first_paragraph(text: &str) -> String {
    let first = text.split("\n\n").next().unwrap_or_default();
    let line = first.split_whitespace().collect::<Vec<_>>().join(" ");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}

/// Of an argument that is not UTF-8, the parser does not say which it is.
fn not_text(error: &clap::Error, arguments: &[OsString]) -> Option<String> {
    if error.kind() != ErrorKind::InvalidUtf8 {
        return None;
    }
    let is_text = |argument: &&OsString| argument.to_str().is_some();
    let argument = arguments.iter().find(|argument| !is_text(argument))?;
    Some(format!("the argument {argument:?} is not UTF-8 text; write it in UTF-8"))
}

/// A negative number is taken for an option that there is not, and for its first letter alone.
fn negative(error: &clap::Error, arguments: &[OsString]) -> Option<String> {
    let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let is_number = error.kind() == ErrorKind::UnknownArgument
        && option.strip_prefix('-').is_some_and(|rest| rest.starts_with(|c: char| c.is_numeric()));
    let mut words = arguments.iter().filter_map(|argument| argument.to_str());
    let word = words.find(|word| is_number && word.starts_with(option.as_str()))?;
    Some(format!("{word} is below zero, and no argument here may be; give 0 or more"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use clap::builder::Resettable;
    use clap::{Arg, Command};

    use super::*;

    /// What the standard library and clap say of words that they cannot read.
    const FOREIGN: [&str; 9] = [
        "invalid digit",
        "empty string",
        "too large to fit",
        "too small to fit",
        "invalid float",
        "nvalid utf-8",
        "invalid UTF-8",
        "invalid socket",
        "..=",
    ];

    /// What is said of `word` where `arg` stands, if it is refused.
    fn said_of(arg: &Arg, word: &[u8]) -> Option<String> {
        let alone = arg.clone().required(false).global(false);
        let alone = alone.conflicts_with(Resettable::Reset).requires(Resettable::Reset);
        let named = arg.get_long().map(|name| OsString::from(format!("--{name}=")));
        let is_positional = named.is_none();
        let alone = if is_positional { alone.index(1) } else { alone };
        let mut typed = named.unwrap_or_default();
        typed.push(std::ffi::OsStr::from_bytes(word));
        let line: Vec<OsString> = match is_positional {
            true => vec!["paxos".into(), "--".into(), typed],
            false => vec!["paxos".into(), typed],
        };
        let parsed = Command::new("paxos").arg(alone).try_get_matches_from(&line);
        match explain(&parsed.err()?, &line) {
            Usage::Wrong(line) => Some(line),
            Usage::Help(text) => panic!("{arg}: {text}"),
        }
    }

    /// Every argument of the command and of those below it that takes a value.
    fn taking_values(command: &Command) -> Vec<Arg> {
        let own = command.get_arguments().filter(|arg| arg.get_action().takes_values()).cloned();
        own.chain(command.get_subcommands().flat_map(taking_values)).collect()
    }

    #[test]
    fn no_argument_is_refused_in_the_words_of_a_library() {
        let (mut refused, mut arguments) = (0, 0);
        let mut typed = Typed::command();
        typed.build();
        for arg in taking_values(&typed) {
            arguments += 1;
            for word in
                [&b"x"[..], b"", b"-1", b"1.2.3", b"99999999999999999999999", b"1e999", b"\xff"]
            {
                let Some(line) = said_of(&arg, word) else { continue };
                let foreign = FOREIGN.iter().find(|foreign| line.contains(**foreign));
                assert_eq!(foreign, None, "{arg} {word:?}: {line}");
                assert!(line.starts_with("paxos: ") && !line.contains('\n'), "{arg}: {line}");
                refused += 1;
            }
        }
        assert!(arguments > 60 && refused > 200, "{arguments} arguments, {refused} refusals");
    }

    #[test]
    fn bounds_are_named_whichever_is_violated() {
        let said = |words: &str| {
            let line = ["paxos"].into_iter().chain(words.split_whitespace()).map(OsString::from);
            match super::super::parse(line) {
                Err(Usage::Wrong(line)) => line,
                other => panic!("{words}: {other:?}"),
            }
        };
        for (words, expected) in [
            ("--conf c acceptor x", "invalid value 'x' for '<ID>': not a whole number from 1 to"),
            ("--conf c acceptor 4294967296", "not a whole number from 1 to 4294967295; see `paxos"),
            ("--conf c acceptor 1 --seed x", "from 0 to 18446744073709551615"),
            ("check 10001 1", "not a whole number from 1 to 10000; see `paxos check --help`"),
            ("simulate --seeds 0", "not a whole number from 1 to"),
            ("--conf c acceptor 1 --lifetime 1e300", "seconds from 0 to 3153600000"),
            ("generate -1", "-1 is below zero, and no argument here may be; give 0 or more; see"),
            ("--conf c acceptor 1 --loss -0.1", "paxos: -0.1 is below zero"),
        ] {
            let line = said(words);
            assert!(line.contains(expected), "{words}: {line}");
        }
    }

    #[test]
    fn an_argument_that_is_not_text_is_shown() {
        let bytes = std::ffi::OsStr::from_bytes(b"4\xff");
        let words = [OsString::from("paxos"), OsString::from("generate"), bytes.to_owned()];
        let line = super::super::parse(words);
        let Err(Usage::Wrong(line)) = line else { panic!("{line:?}") };
        assert!(line.contains(r#"the argument "4\xFF" is not UTF-8 text"#), "{line}");
    }
}
