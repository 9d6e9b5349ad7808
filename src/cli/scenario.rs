//! The scenario of `paxos simulate`: what was typed, and what it means.

use std::time::Duration;

use clap::Args;

use super::values::{first_instance, ratio, whole};
use crate::protocol::message::Assignment;
use crate::protocol::types::{NodeId, Role, Time};
use crate::sim::fault::Fault;
use crate::sim::scenario::{Asking, NONE_LONG, Scenario};

/// A scenario of the user's own, as typed.
#[derive(Args, Clone, Debug, Default, PartialEq)]
#[command(next_help_heading = "The scenario")]
pub struct TypedScenario {
    /// How many acceptors [3]
    #[arg(long, value_name = "COUNT", value_parser = whole::<u32>(1..=64))]
    acceptors: Option<u32>,
    /// How many proposers [2]
    #[arg(long, value_name = "COUNT", value_parser = whole::<u32>(1..=64))]
    proposers: Option<u32>,
    /// How many learners [2]
    #[arg(long, value_name = "COUNT", value_parser = whole::<u32>(1..=64))]
    learners: Option<u32>,
    /// How many clients [2]
    #[arg(long, value_name = "COUNT", value_parser = whole::<u32>(0..=64))]
    clients: Option<u32>,
    /// How many values each client is given [500]
    #[arg(long, value_name = "COUNT", value_parser = whole::<u64>(0..=1_000_000))]
    values: Option<u64>,
    /// How many of them a second; 0 gives all at once [100]
    #[arg(long, value_name = "COUNT", value_parser = whole::<u64>(0..=1_000_000))]
    rate: Option<u64>,
    /// The instance that each client's first value asks for, or `auto` [auto]
    #[arg(long, value_name = "N|auto", value_parser = first_instance)]
    first_instance: Option<Assignment>,
    /// Lose each datagram with this probability, for each receiver [0]
    #[arg(long, value_name = "RATIO", value_parser = ratio)]
    loss: Option<f64>,
    /// Deliver each datagram twice with this probability [0]
    #[arg(long, value_name = "RATIO", value_parser = ratio)]
    duplicate: Option<f64>,
    /// The longest delay of a datagram; they overtake each other [60us]
    #[arg(long, value_name = "TIME", value_parser = time)]
    delay: Option<Duration>,
    /// Leaders never send an Accept or a Decide twice
    #[arg(long)]
    no_timeouts: bool,
    /// Leaders run phase 1 for each instance
    #[arg(long)]
    no_preexecution: bool,
    /// Kill the leader at this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    kill_leader: Vec<Duration>,
    /// Pause the leader at this time, for 3 s by default
    #[arg(long, value_name = "TIME[+LENGTH]", value_parser = span)]
    pause_leader: Vec<Span>,
    /// Kill a node, as in A1@2s
    #[arg(long, value_name = "NODE@TIME", value_parser = node_at)]
    kill: Vec<NodeAt>,
    /// Start a node again, or a new one
    #[arg(long, value_name = "NODE@TIME", value_parser = node_at)]
    restart: Vec<NodeAt>,
    /// Cut a node off from all the others
    #[arg(long, value_name = "NODE@TIME", value_parser = node_at)]
    isolate: Vec<NodeAt>,
    /// End all isolations
    #[arg(long, value_name = "TIME", value_parser = time)]
    heal: Vec<Duration>,
}

impl TypedScenario {
    /// The scenario for seed 1, if any of it was asked for.
    ///
    /// # Errors
    ///
    /// A fault of a node that there is not, in one sentence.
    pub fn understood(&self) -> Result<Option<Scenario>, String> {
        if *self == TypedScenario::default() {
            return Ok(None);
        }
        let mut scenario = Scenario::calm(1);
        let plan = &mut scenario.plan;
        set(&mut plan.settings.acceptor_count, self.acceptors);
        set(&mut plan.proposers, self.proposers);
        set(&mut plan.learners, self.learners);
        set(&mut plan.weather.loss, self.loss);
        set(&mut plan.weather.duplication, self.duplicate);
        set(&mut plan.weather.delay_max, self.delay);
        plan.weather.delay_min = plan.weather.delay_min.min(plan.weather.delay_max);
        plan.no_timeouts = self.no_timeouts;
        plan.no_preexecution = self.no_preexecution;
        let pattern = Asking {
            client: 1,
            start: Time::ZERO,
            assignment: self.first_instance.unwrap_or(Assignment::Leader),
            values: self.values.unwrap_or(500),
            long: NONE_LONG,
            pause: Duration::from_micros(
                1_000_000_u64.checked_div(self.rate.unwrap_or(100)).unwrap_or(0),
            ),
        };
        let clients = 1..=self.clients.unwrap_or(2);
        scenario.clients = clients.map(|client| Asking { client, ..pattern.clone() }).collect();
        let everyone = members(&scenario);
        let is_there = |node: &NodeId| {
            everyone.contains(node) || self.restart.iter().any(|started| started.node == *node)
        };
        let faulty = self.kill.iter().chain(&self.isolate).map(|who| who.node);
        if let Some(nobody) = faulty.into_iter().find(|node| !is_there(node)) {
            return Err(format!(
                "there is no {nobody}; the options --acceptors, --proposers, --learners and \
                 --clients say how many there are"
            ));
        }
        let is_added = |node: &NodeId| node.role == Role::Acceptor && !everyone.contains(node);
        if let Some(added) = self.restart.iter().map(|started| started.node).find(is_added) {
            return Err(format!(
                "there is no {added}, and acceptors cannot be added; --acceptors says how many \
                 there are"
            ));
        }
        scenario.faults = self.faults(&scenario);
        Ok(Some(scenario))
    }

    /// What happens when, in order of time.
    fn faults(&self, scenario: &Scenario) -> Vec<(Time, Fault)> {
        let everyone = members(scenario);
        let isolated = |node: NodeId| {
            let others = everyone.iter().filter(|other| **other != node);
            let pairs = others.flat_map(|other| [(node, *other), (*other, node)]).collect();
            Fault::Cut { shape: "isolated", pairs }
        };
        let at = |time: &Duration| Time::ZERO + *time;
        let mut faults: Vec<(Time, Fault)> = Vec::new();
        faults.extend(self.kill_leader.iter().map(|time| (at(time), Fault::KillLeader)));
        let pauses = self.pause_leader.iter();
        faults.extend(pauses.map(|pause| (pause.time, Fault::PauseLeader(pause.length))));
        faults.extend(self.kill.iter().map(|who| (who.time, Fault::Kill(who.node))));
        faults.extend(self.restart.iter().map(|who| (who.time, Fault::Restart(who.node))));
        faults.extend(self.isolate.iter().map(|who| (who.time, isolated(who.node))));
        faults.extend(self.heal.iter().map(|time| (at(time), Fault::Heal)));
        faults.sort_by_key(|(time, _)| *time);
        faults
    }
}

/// Replaces what was asked for.
fn set<T>(place: &mut T, asked: Option<T>) {
    if let Some(asked) = asked {
        *place = asked;
    }
}

/// Every node that a scenario starts with.
fn members(scenario: &Scenario) -> Vec<NodeId> {
    let groups = [
        (Role::Client, scenario.clients.len() as u32),
        (Role::Proposer, scenario.plan.proposers),
        (Role::Acceptor, scenario.plan.settings.acceptor_count),
        (Role::Learner, scenario.plan.learners),
    ];
    let ids = |(role, count): (Role, u32)| (1..=count).map(move |id| NodeId::new(role, id));
    groups.into_iter().flat_map(ids).collect()
}

/// `A1@2s`: whom, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NodeAt {
    node: NodeId,
    time: Time,
}

/// `2s+500ms`: when, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    time: Time,
    length: Duration,
}

/// Understands `2s`, `150ms`, `20us`.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.');
    let (number, unit) = text.split_at(digits.unwrap_or(text.len()));
    let scale = match unit {
        "s" | "" => 1.0,
        "ms" => 1e-3,
        "us" => 1e-6,
        _ => return Err("not a time such as 2s, 150ms or 20us".to_owned()),
    };
    match number.parse::<f64>() {
        Ok(number) if number * scale <= 86400.0 => Ok(Duration::from_secs_f64(number * scale)),
        Ok(_) | Err(_) => Err("not a time such as 2s, 150ms or 20us, up to a day".to_owned()),
    }
}

fn node_at(text: &str) -> Result<NodeAt, String> {
    let (node, text) = text.split_once('@').ok_or("not of the form A1@2s")?;
    Ok(NodeAt { node: node.parse()?, time: Time::ZERO + time(text)? })
}

/// Without a length it is three seconds.
fn span(text: &str) -> Result<Span, String> {
    let (start, length) = text.split_once('+').unwrap_or((text, "3s"));
    Ok(Span { time: Time::ZERO + time(start)?, length: time(length)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_understood_or_refused() {
        assert_eq!(time("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(time("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(time("20us"), Ok(Duration::from_micros(20)));
        for wrong in ["", "s", "2h", "-1s", "1e99s", "2 s", "1.2.3s"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
        assert!(node_at("A1@2s").is_ok_and(|who| who.node.to_string() == "A1"));
        assert!(node_at("A1").is_err() && node_at("X1@1s").is_err());
        let span = span("2s+50ms").unwrap();
        assert_eq!((span.time.0, span.length), (2_000_000, Duration::from_millis(50)));
    }

    #[test]
    fn a_scenario_of_ones_own_is_what_was_asked_for() {
        assert_eq!(TypedScenario::default().understood(), Ok(None));
        let typed = TypedScenario {
            acceptors: Some(5),
            clients: Some(3),
            rate: Some(50),
            loss: Some(0.25),
            kill_leader: vec![Duration::from_secs(2)],
            heal: vec![Duration::from_secs(1)],
            ..TypedScenario::default()
        };
        let scenario = typed.understood().unwrap().unwrap();
        assert_eq!((scenario.plan.settings.acceptor_count, scenario.clients.len()), (5, 3));
        assert_eq!(scenario.clients[2].pause, Duration::from_millis(20));
        assert_eq!(scenario.faults[0], (Time(1_000_000), Fault::Heal));
        assert!(!scenario.heals && scenario.plan.weather.loss == 0.25);
    }
}
