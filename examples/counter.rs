//! A counter that three replicas keep. Run it: `cargo run --example counter`
//!
//! All three nodes are in this process; usually each id is a host.

use std::error::Error;
use std::time::Duration;

use multi_paxos::{Cluster, Consistency, Node, Place, Replica, Role, StateMachine};

const SOON: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Counter {
    sum: i64,
}

impl StateMachine for Counter {
    type Output = i64;

    fn apply(&mut self, _place: &Place, command: &[u8]) -> i64 {
        // A command that is not a number changes nothing, on every replica alike.
        let by = std::str::from_utf8(command).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
        self.sum = self.sum.wrapping_add(by);
        self.sum
    }

    fn digest(&self) -> Option<u64> {
        Some(self.sum as u64)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let sums = count(&[1, 20, -300])?;
    println!("each replica reads {sums:?}");
    Ok(())
}

/// Lets each replica add a number, and returns what they all read then.
pub fn count(numbers: &[i64; 3]) -> Result<Vec<i64>, Box<dyn Error>> {
    let name = format!("counter-{}", std::process::id());
    let cluster = Cluster::builder(&name).multicast("239.0.0.1".parse()?, 19_200).build()?;
    let start = |id| cluster.node(id, &[Role::Acceptor, Role::Proposer]);
    let nodes = (1..=3).map(start).collect::<Result<Vec<Node>, _>>()?;
    let start = |id| cluster.replica(id, Counter::default());
    let replicas = (1..=3).map(start).collect::<Result<Vec<Replica<Counter>>, _>>()?;
    for (replica, number) in replicas.iter().zip(numbers) {
        let sum = replica.call(number.to_string())?.wait(SOON)?.decided();
        println!("{number:+} makes {}", sum.ok_or("the replica has ended")?);
    }
    let read = |replica: &Replica<Counter>| {
        replica.read(Consistency::Linearizable, SOON, |counter| counter.sum)
    };
    let sums = replicas.iter().map(read).collect::<Result<_, _>>()?;
    nodes.into_iter().try_for_each(|node| node.stop(SOON))?;
    Ok(sums)
}
