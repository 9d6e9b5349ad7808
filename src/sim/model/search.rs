//! How the states of a scope are visited: all of them, or some at random.

use stateright::{Checker, HasDiscoveries, Model};

use super::{BEGINS_ABOVE, Paxos, Scope, Step};
use crate::rng::Rng;

/// What a check found.
#[derive(Debug)]
pub struct Checked {
    /// How many different states there are.
    pub states: usize,
    /// What is wrong, with the steps that lead there.
    pub wrong: Option<String>,
    /// Whether some leader had begun above what acceptors hold in memory.
    pub begins_above: bool,
}

/// Visits every state of a scope, or stops at the first thing that is wrong.
pub fn check(scope: Scope) -> Checked {
    let checker = Paxos::new(scope)
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .threads(2)
        .spawn_bfs()
        .join();
    let wrong = checker.discovery("nothing is wrong").map(|path| {
        let what = path.last_state().wrong.unwrap_or_default();
        tell(what, &path.into_actions())
    });
    let begins_above = checker.discovery(BEGINS_ABOVE).is_some();
    Checked { states: checker.unique_state_count(), wrong, begins_above }
}

/// Takes random walks through a scope that is too large to visit completely, over `states` states.
/// A walk ends where nothing can happen any more, or after 200 steps.
pub fn wander(scope: Scope, states: usize) -> Checked {
    let paxos = Paxos::new(scope);
    let mut rng = Rng::new(1);
    let (mut visited, mut begins_above) = (0, false);
    while visited < states {
        let mut world = paxos.init_states().remove(0);
        let mut path = Vec::new();
        while path.len() < 200 {
            let mut steps = Vec::new();
            paxos.actions(&world, &mut steps);
            let next = loop {
                if steps.is_empty() {
                    break None;
                }
                let step = steps.swap_remove(rng.below(steps.len() as u64) as usize);
                if let Some(next) = paxos.next_state(&world, step.clone()) {
                    path.push(step);
                    break Some(next);
                }
            };
            let Some(next) = next else { break };
            world = next;
            visited += 1;
            begins_above = begins_above || world.has_leader_that_begins_above();
            if let Some(what) = world.wrong {
                let wrong = Some(tell(what, &path));
                return Checked { states: visited, wrong, begins_above };
            }
        }
    }
    Checked { states: visited, wrong: None, begins_above }
}

/// What is wrong, and how to get there.
fn tell(what: &str, path: &[Step]) -> String {
    let steps: Vec<String> = path.iter().map(|step| format!("{step:?}")).collect();
    format!("{what}, after {} steps:\n{}", steps.len(), steps.join("\n"))
}
