//! A second judge of registers, which knows no order and believes no log: it searches for one, by
//! the algorithm of Wing, Gong and Lowe, in somebody else's code.

use std::collections::BTreeMap;
use std::time::Duration;

use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action, History as Actions};
use todc_utils::specifications::Specification;

use crate::judge::{Act, History};

/// What was done to one register. Values have numbers, and 0 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Set(usize),
    Get(usize),
    Swap(usize, usize),
}

/// A register, as one process alone would have it.
struct Register;

impl Specification for Register {
    type State = usize;
    type Operation = Step;

    fn init() -> usize {
        0
    }

    fn apply(step: &Step, state: &usize) -> (bool, usize) {
        match *step {
            Step::Set(value) => (true, value),
            Step::Get(value) => (value == *state, *state),
            Step::Swap(before, after) => (before == *state, after),
        }
    }
}

/// Whether there is an order for each register that explains everything. Returns how many
/// operations that are.
pub fn search(history: &History) -> Result<usize, String> {
    let mut registers: BTreeMap<&str, Vec<(Duration, Duration, Step)>> = BTreeMap::new();
    let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
    // When a client first saw a value: it was written before that.
    let mut seen: BTreeMap<&str, Duration> = BTreeMap::new();
    for operation in history {
        let Some(ended) = operation.ended else { continue };
        let value = match &operation.act {
            Act::Get(_, Some(value)) | Act::Swap { before: Some(value), is_done: true, .. } => {
                value
            }
            _ => continue,
        };
        let first = seen.entry(value).or_insert(ended);
        *first = ended.min(*first);
    }
    for operation in history {
        let mut number = |value: Option<&'_ String>| {
            let next = numbers.len() + 1;
            value.map_or(0, |value| *numbers.entry(value.clone()).or_insert(next))
        };
        let (key, written, step) = match &operation.act {
            Act::Set(key, value) => (key, Some(value), Step::Set(number(Some(value)))),
            Act::Get(key, value) => (key, None, Step::Get(number(value.as_ref()))),
            Act::Swap { key, before, after, is_done: true } => {
                let step = Step::Swap(number(before.as_ref()), number(Some(after)));
                (key, Some(after), step)
            }
            _ => continue,
        };
        // A write that may not have happened, and that nobody has seen, explains nothing.
        let told = written.and_then(|value| seen.get(value.as_str()).copied());
        let Some(ended) = operation.ended.or(told) else { continue };
        registers.entry(key).or_default().push((operation.began, ended, step));
    }
    let mut count = 0;
    for (key, steps) in registers {
        count += steps.len();
        if !is_explained(&steps) {
            return Err(format!("no order explains the {} operations on {key}", steps.len()));
        }
    }
    Ok(count)
}

fn is_explained(steps: &[(Duration, Duration, Step)]) -> bool {
    let mut actions: Vec<(Duration, bool, usize)> = Vec::new();
    for (place, (began, ended, _)) in steps.iter().enumerate() {
        actions.push((*began, false, place));
        actions.push((*ended.max(began), true, place));
    }
    actions.sort_unstable();
    let action = |(_, is_end, place): (Duration, bool, usize)| {
        let step = steps[place].2;
        (place, if is_end { Action::Response(step) } else { Action::Call(step) })
    };
    WGLChecker::<Register>::is_linearizable(Actions::from_actions(
        actions.into_iter().map(action).collect(),
    ))
}

#[test]
fn both_judges_see_a_read_of_the_past_and_neither_sees_what_is_not_there() {
    use crate::judge::{Operation, judge};
    let at = Duration::from_millis;
    let operation = |act, began, ended| Operation { act, began: at(began), ended };
    let set = |value: &str, began, ended| {
        operation(Act::Set("r".to_owned(), value.to_owned()), began, ended)
    };
    let get = |value: &str, began, ended| {
        operation(Act::Get("r".to_owned(), Some(value.to_owned())), began, Some(at(ended)))
    };
    let order = BTreeMap::from([("r".to_owned(), vec!["a".to_owned(), "b".to_owned()])]);
    let verdicts = |history: History| {
        let judged = judge(&history, &order, &BTreeMap::new()).is_ok();
        (judged, search(&history).is_ok())
    };
    let (a, b) = (set("a", 0, Some(at(1))), set("b", 2, None));
    assert_eq!(verdicts(vec![a.clone(), b.clone(), get("a", 3, 4), get("b", 5, 6)]), (true, true));
    assert_eq!(
        verdicts(vec![a.clone(), b.clone(), get("b", 3, 4), get("a", 5, 6)]),
        (false, false)
    );
    assert_eq!(verdicts(vec![a, b]), (true, true));
}
