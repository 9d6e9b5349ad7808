//! The answers to `/status.json` and `/`: the same facts, for programs and for people.
//!
//! The page needs no script and no other file: it is reloaded every two seconds.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::{Shown, Watched, health, named};
use crate::clock::Moment;
use crate::protocol::client::ClientTally;
use crate::protocol::figures::{DiskUse, Holder};
use crate::protocol::types::{Ballot, Role};
use crate::wire;

/// The style sheet of the page.
const STYLE: &str = "body{font:14px/1.5 system-ui,sans-serif;margin:2em;color:#222}\
                     table{border-collapse:collapse;margin:1em 0}\
                     th,td{padding:.3em .9em;text-align:right;border-bottom:1px solid #ccc}\
                     th{font-weight:600}th:first-child,td:first-child{text-align:left}\
                     .bad{color:#a40000}";

/// All figures, as one object.
pub fn json(shown: &Shown) -> Value {
    let (not_alive, not_ready) = (health::not_alive(shown), health::not_ready(shown));
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "wire": wire::VERSION,
        "cluster": shown.cluster,
        "uptime_seconds": shown.clock.now().0 as f64 / 1e6,
        "alive": not_alive.is_empty(),
        "ready": not_ready.is_empty(),
        "reasons": not_ready,
        "roles": shown.roles.iter().map(|role| role_json(shown, role)).collect::<Vec<_>>(),
    })
}

fn role_json(shown: &Shown, role: &Watched) -> Value {
    let (figures, stats) = (role.gauges.figures(), &role.stats);
    let ballot = |ballot: Option<Ballot>| ballot.map(|ballot| ballot.to_string());
    let progress = figures.progress;
    let quorum_heard = figures.quorum_heard.map(|when| shown.clock.now().since(when));
    let positions = role.positions();
    let position = |kind| positions.iter().find(|(of, _)| *of == kind).map(|(_, place)| *place);
    json!({
        "node": role.node.to_string(),
        "role": role.node.role.to_string(),
        "id": role.node.id,
        "leads": figures.leads,
        "ballot": ballot(figures.ballot),
        "leader": ballot(figures.leader),
        "leader_changes": role.gauges.leader_changes.count(),
        "quorum_heard_seconds": quorum_heard.map(|ago| ago.as_secs_f64()),
        "decided_up_to": position("decided"),
        "highest_decided": position("highest"),
        "applied_up_to": position("applied"),
        "durable_up_to": position("durable"),
        "trimmed_up_to": position("trimmed"),
        "trim_held_by": figures.holders.iter().map(holder_json).collect::<Vec<_>>(),
        "decided": progress.map(|progress| progress.decided),
        "missing": progress.map(|_| figures.missing),
        "in_flight": figures.in_flight,
        "accepted": figures.accepted,
        "full": figures.full,
        "disk": figures.disk.map(disk_json),
        "snapshots": role.snapshots().map(|facts| json!({
            "bytes": facts.newest.map(|newest| newest.bytes),
            "written": facts.newest.map(|newest| Moment { millis: newest.written_ms }.to_string()),
            "write_seconds": facts.took.map(|took| took.as_secs_f64()),
            "failures": facts.failures,
        })),
        "sessions": figures.sessions,
        "wire": figures.version.map(|version| version.0),
        "values": figures.tally.map(|tally| {
            let ClientTally { asked, delivered, lost, trimmed } = tally;
            json!({ "asked": asked, "decided": delivered, "lost": lost, "trimmed": trimmed })
        }),
        "datagrams": {
            "in": stats.received.count(),
            "out": stats.sent.count(),
            "inside": stats.neighbours.count(),
        },
        "resent": stats.sent_again.count(),
        "dropped": role.dropped(),
        "idle_seconds": role.gauges.idle().as_secs_f64(),
    })
}

fn holder_json(holder: &Holder) -> Value {
    json!({ "learner": format!("L{}", holder.learner), "reason": named("", &holder.reason) })
}

fn disk_json(disk: DiskUse) -> Value {
    json!({
        "log_bytes": disk.log_bytes,
        "free_bytes": disk.left.map(|left| left.bytes),
        "reserve_bytes": disk.left.map(|left| left.reserve),
        "oldest": disk.since_ms.map(|millis| Moment { millis }.to_string()),
    })
}

/// The same as a page.
pub fn html(shown: &Shown) -> String {
    let reasons = health::not_ready(shown);
    let state = if reasons.is_empty() { "ready" } else { "not ready" };
    let reasons: String =
        reasons.iter().map(|reason| format!("<li class=bad>{}</li>\n", escaped(reason))).collect();
    let rows: String = shown.roles.iter().map(row).collect();
    let cluster = escaped(&shown.cluster);
    let names: Vec<String> = shown.roles.iter().map(|role| role.node.to_string()).collect();
    let names = names.join(", ");
    let (version, seconds) = (env!("CARGO_PKG_VERSION"), shown.clock.now().0 / 1_000_000);
    format!(
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>\n\
         <meta http-equiv=refresh content=2>\n<title>{names} {state}</title>\n\
         <style>{STYLE}</style></head><body>\n\
         <h1>{names} of cluster {cluster}: {state}</h1>\n<ul>\n{reasons}</ul>\n<table>\n\
         <tr><th>role<th>leads<th>ballot<th>leader<th>decided up to<th>missing<th>in flight\
         <th>accepted<th>sessions<th>wire<th>datagrams in<th>out<th>lost here</tr>\n{rows}\
         </table>\n\
         <p>paxos {version}, for {seconds} s. See also <a href=/metrics>/metrics</a>, \
         <a href=/status.json>/status.json</a>, <a href=/livez>/livez</a>, \
         <a href=/readyz>/readyz</a>.</p>\n</body></html>\n"
    )
}

fn row(role: &Watched) -> String {
    let (figures, stats) = (role.gauges.figures(), &role.stats);
    let number = |number: Option<u64>| number.map_or_else(String::new, |it| it.to_string());
    let ballot = |ballot: Option<Ballot>| ballot.map_or_else(String::new, |it| it.to_string());
    let progress = figures.progress;
    let has_open = matches!(role.node.role, Role::Proposer | Role::Client);
    // Datagrams that this process lost itself: it did not need the others.
    let lost = stats.inbox_full.count()
        + stats.kernel_dropped.count()
        + stats.loss.load(Ordering::Relaxed);
    let cells = [
        role.node.to_string(),
        if figures.leads { "leads".to_owned() } else { String::new() },
        ballot(figures.ballot),
        ballot(figures.leader),
        number(progress.map(|progress| progress.watermark.0.saturating_sub(1))),
        number(progress.map(|_| figures.missing)),
        number(has_open.then_some(figures.in_flight)),
        number(figures.accepted),
        number(figures.sessions),
        number(figures.version.map(|version| version.0.into())),
        stats.received.count().to_string(),
        stats.sent.count().to_string(),
        lost.to_string(),
    ];
    let cells: String = cells.iter().map(|cell| format!("<td>{}", escaped(cell))).collect();
    format!("<tr>{cells}</tr>\n")
}

/// Text as it stands in a page.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
