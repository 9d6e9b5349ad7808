//! The report as a page: the task, the verdict, the picture, each process, and the log lines.

use super::chart::{self, grouped, length};
use super::facts::{Client, Counts, Facts, Line, Process};
use crate::clock::Moment;
use crate::picture::svg::Escaped;
use crate::picture::{allowed, style};
use crate::protocol::message::Assignment;

const STYLE: &str = include_str!("report.css");

/// How many lines of logs are shown, at most.
const LINES_MAX: usize = 200;

/// The whole page.
pub fn page(facts: &Facts) -> String {
    let (title, summary) = (title(facts), summary(facts));
    let (asked, verdict) = (asked(facts), verdict(facts));
    let picture = chart::draw(facts).map_or_else(String::new, |svg| {
        format!("<section>\n<h2>Over time</h2>\n<figure>{svg}</figure>\n</section>\n")
    });
    let (latency, processes, said) = (latency(facts), processes(facts), said(facts));
    let body = format!("{verdict}{asked}{picture}{latency}{processes}{said}");
    let made_of = "Made of the files beside this page; <code>paxos report --help</code> tells how.";
    around(&title, &summary, &body, made_of)
}

/// A page without scripts, and without anything from elsewhere. Everything is HTML already.
pub fn around(title: &str, lead: &str, body: &str, footer: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let style = format!("{STYLE}{}", style::sheet());
    let policy = format!("default-src 'none'; style-src {}", allowed(&style));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>{style}</style>\n</head>\n<body>\n<main>\n\
         <h1>{title}</h1>\n<p class=\"lead\">{lead}</p>\n{body}\
         <footer>paxos {version}. {footer}</footer>\n</main>\n</body>\n</html>\n"
    )
}

fn title(facts: &Facts) -> String {
    let values: usize = facts.clients.iter().map(|client| client.values).sum();
    format!("A run of {} values", grouped(values as u64))
}

/// How long it took, and who led, in the beginning of a sentence.
pub fn in_short(facts: &Facts) -> String {
    let took = match &facts.timeline {
        None => "nobody watched this run".to_owned(),
        Some(timeline) => match timeline.complete_after() {
            Some(millis) => format!(
                "every learner had all {} entries after {}, {} a second",
                grouped(timeline.needed),
                length(millis),
                per_second(timeline.needed, millis)
            ),
            None => format!(
                "not every learner came to have all {} entries in {}",
                grouped(timeline.needed),
                length(timeline.end())
            ),
        },
    };
    let mut terms: Vec<(Moment, &str)> = Vec::new();
    for process in &facts.processes {
        terms.extend(process.terms().iter().map(|term| (term.from, process.name.as_str())));
    }
    terms.sort_unstable();
    let mut leaders: Vec<&str> = terms.into_iter().map(|(_, name)| name).collect();
    leaders.dedup();
    match leaders.as_slice() {
        [] => format!("{took}; nobody is known to have led"),
        leaders => format!("{took}; {} led", leaders.join(", then ")),
    }
}

fn per_second(count: u64, millis: u64) -> String {
    grouped(count.saturating_mul(1000) / millis.max(1))
}

/// When it was, and how long it took, in a sentence.
fn summary(facts: &Facts) -> String {
    let Some(timeline) = &facts.timeline else {
        return "Nobody watched this run, so how long it took is not known.".to_owned();
    };
    let start = timeline.start;
    match timeline.complete_after() {
        Some(millis) => format!(
            "On {start}, every learner had all {} entries after {}: {} a second.",
            grouped(timeline.needed),
            length(millis),
            per_second(timeline.needed, millis)
        ),
        None => format!(
            "On {start}, the run was watched for {}, and not every learner came to have all {} \
             entries.",
            length(timeline.end()),
            grouped(timeline.needed)
        ),
    }
}

fn asked(facts: &Facts) -> String {
    let client = |(id, client): (u32, &Client)| {
        let values = grouped(client.values as u64);
        let how = match client.assignment {
            Assignment::Leader => "the leader assigns their instances".to_owned(),
            Assignment::Client { first } => format!("for the instances from {first} on"),
        };
        format!("<dt>Client {id}</dt><dd>{values} values, {how}</dd>\n")
    };
    let clients: String = (1..).zip(&facts.clients).map(client).collect();
    let command = facts.command.as_deref().map_or_else(String::new, |command| {
        format!("<dt>Command</dt><dd><code>{}</code></dd>\n", Escaped(command))
    });
    format!("<section>\n<h2>What was asked</h2>\n<dl>\n{command}{clients}</dl>\n</section>\n")
}

/// The three promises, each with what breaks it.
fn verdict(facts: &Facts) -> String {
    let card = |name: &str, holds: bool, word: &str, text: &str| {
        let class = if holds { "good" } else { "bad" };
        format!(
            "<div class=\"card {class}\"><h3>{name}</h3><p class=\"word\">{word}</p>\
             <p>{}</p></div>\n",
            Escaped(text)
        )
    };
    let cards = match &facts.verdict {
        Err(what) => card("Verdict", false, "none", &what.0),
        Ok(verdict) => {
            let word = |holds: bool| if holds { "True" } else { "False" };
            let [integrity, agreement] = [
                (&verdict.integrity, "Integrity", "Every decided value was asked for."),
                (&verdict.agreement, "Agreement", "No two learners differ."),
            ]
            .map(|(offence, name, good)| {
                let text = offence.as_ref().map_or(good, |offence| &offence.what);
                card(name, offence.is_none(), word(offence.is_none()), text)
            });
            let percent = verdict.percent();
            let text = format!(
                "Every learner has {} of {} requested entries.",
                grouped(verdict.complete),
                grouped(verdict.requested)
            );
            let all = percent == 100;
            let termination = format!("{} ({percent}%)", word(all));
            integrity + &agreement + &card("Termination", all, &termination, &text)
        }
    };
    format!("<section class=\"cards\">\n{cards}</section>\n")
}

/// How long values took: a row for each client.
fn latency(facts: &Facts) -> String {
    let told: Vec<_> =
        facts.processes.iter().filter_map(|one| Some((&one.name, one.took()?))).collect();
    let Some((_, first)) = told.first() else { return String::new() };
    let names: String =
        first.iter().map(|(name, _)| format!("<th>{}</th>", Escaped(name))).collect();
    let row = |(name, took): &(&String, Vec<(&str, &str)>)| {
        let cells: String =
            took.iter().map(|(_, took)| format!("<td>{}</td>", Escaped(took))).collect();
        format!("<tr><th>{}</th>{cells}</tr>\n", Escaped(name))
    };
    let rows: String = told.iter().map(row).collect();
    format!(
        "<section>\n<h2>How long values took</h2>\n<div class=\"wide\"><table>\n\
         <thead><tr><th>client</th>{names}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n\
         <p class=\"note\">From when a client read a value until it knew what became of it. A \
         client that was killed has not told.</p>\n</section>\n"
    )
}

/// A row for each process.
fn processes(facts: &Facts) -> String {
    if facts.processes.is_empty() {
        return String::new();
    }
    // A node speaks as such until its roles do, which count for themselves.
    let counting = facts.processes.iter().filter(|process| !process.name.starts_with('N'));
    let rows: String = counting.map(|process| row(facts, process)).collect();
    format!(
        "<section>\n<h2>Processes</h2>\n<div class=\"wide\"><table>\n<thead><tr><th>process</th>\
         <th>led</th><th>received</th><th>sent</th><th>sent again</th><th>dropped on purpose</th>\
         <th>lost here</th><th>refused</th><th>warnings</th></tr></thead>\n<tbody>\n{rows}\
         </tbody>\n</table></div>\n\
         <p class=\"note\">Datagrams. Sent again are those that asked once more because no answer \
         had come: requests, Prepares, Accepts, and questions about what was missed. Dropped on \
         purpose is the loss that the run asked for; lost here, because a queue of this host was \
         full; refused, because it was not understood or not authenticated. A process that was \
         killed has not told its counts, and when its leadership ended is not known.</p>\n\
         </section>\n"
    )
}

fn row(facts: &Facts, process: &Process) -> String {
    let terms = facts.terms(process);
    let led: u64 =
        terms.iter().map(|term| term.until.millis.saturating_sub(term.from.millis)).sum();
    let led = match terms.last() {
        None => String::new(),
        Some(last) if last.is_ended => length(led.max(1)),
        Some(_) => format!("up to {}", length(led.max(1))),
    };
    let warnings = process.lines.iter().filter(|line| is_alarm(line)).count() as u64;
    let counts = process.counts();
    let count = |of: fn(&Counts) -> u64| {
        let cell = |number: u64| if number == 0 { "0".to_owned() } else { grouped(number) };
        counts.as_ref().map_or_else(|| "–".to_owned(), |counts| cell(of(counts)))
    };
    let cells = [
        led,
        count(|it| it.received),
        count(|it| it.sent),
        count(|it| it.again),
        count(|it| it.on_purpose),
        count(|it| it.overflowed),
        count(|it| it.refused),
        grouped(warnings),
    ];
    let cells: String = cells.iter().map(|cell| format!("<td>{cell}</td>")).collect();
    format!("<tr><th>{}</th>{cells}</tr>\n", Escaped(&process.name))
}

/// The log lines of the processes, in order of time.
fn said(facts: &Facts) -> String {
    let Some((start, _)) = facts.span() else { return String::new() };
    let mut lines: Vec<(&Process, &Line)> = Vec::new();
    for process in &facts.processes {
        // The counts and lengths are in tables, and every process says that there is no key.
        let left_out = ["received ", "values took: ", "the group is open: "];
        let is_told = |line: &&Line| !left_out.iter().any(|start| line.text.starts_with(start));
        let told = process.lines.iter().filter(is_told);
        lines.extend(told.map(|line| (process, line)));
    }
    lines.sort_by_key(|(_, line)| line.moment);
    let more = lines.len().saturating_sub(LINES_MAX);
    let row = |(process, line): &(&Process, &Line)| {
        let class = if is_alarm(line) { " class=\"alarm\"" } else { "" };
        format!(
            "<tr{class}><td>{}</td><th>{}</th><td>{}</td></tr>\n",
            since(start, line.moment),
            Escaped(&process.name),
            Escaped(&line.text)
        )
    };
    let rows: String = lines.iter().take(LINES_MAX).map(row).collect();
    let rest = match more {
        0 => String::new(),
        more => format!("<p class=\"note\">{more} more lines are in the logs.</p>\n"),
    };
    format!(
        "<section>\n<h2>What was said</h2>\n<div class=\"wide\"><table class=\"said\">\n\
         <tbody>\n{rows}</tbody>\n</table></div>\n{rest}</section>\n"
    )
}

fn since(start: Moment, moment: Moment) -> String {
    let millis = moment.millis - start.millis;
    format!("{}.{:03} s", millis / 1000, millis % 1000)
}

fn is_alarm(line: &Line) -> bool {
    matches!(line.level.as_str(), "WARN" | "ERROR")
}
