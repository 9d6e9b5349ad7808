//! Values into the log, and entries out of it, for programs that keep their state elsewhere. Run
//! it: `cargo run --example log`

use std::error::Error;
use std::time::Duration;

use multi_paxos::{Cluster, Node, Refused, Role};

const SOON: Duration = Duration::from_secs(20);

fn main() -> Result<(), Box<dyn Error>> {
    for line in follow(5)? {
        println!("{line}");
    }
    Ok(())
}

/// Proposes `count` values, and returns a line for each entry of a subscription.
pub fn follow(count: usize) -> Result<Vec<String>, Box<dyn Error>> {
    let name = format!("log-{}", std::process::id());
    let cluster = Cluster::builder(&name).multicast("239.0.0.1".parse()?, 19_300).build()?;
    let start = |id| cluster.node(id, &[Role::Acceptor, Role::Proposer]);
    let nodes = (1..=3).map(start).collect::<Result<Vec<Node>, _>>()?;
    let mut subscription = cluster.subscribe(1)?;

    let client = cluster.client(1)?;
    let mut tickets = Vec::new();
    for line in 1..=count {
        // `propose` would wait instead.
        match client.try_propose(format!("value {line}")) {
            Ok(ticket) => tickets.push(ticket),
            Err(Refused::Full(_)) => return Err("the cluster does not keep up".into()),
            Err(refused) => return Err(refused.into()),
        }
    }
    for ticket in tickets {
        ticket.wait(SOON)?.decided().ok_or("the client has ended")?;
    }

    let mut lines = Vec::new();
    while lines.len() < count {
        let entry = subscription.next_timeout(SOON)?;
        let value = String::from_utf8_lossy(&entry.value).into_owned();
        lines.push(format!("{}: {value}", entry.position));
    }
    client.stop(SOON)?;
    subscription.stop(SOON)?;
    nodes.into_iter().try_for_each(|node| node.stop(SOON))?;
    Ok(lines)
}
