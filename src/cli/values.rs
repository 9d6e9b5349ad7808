//! Single values of the command line: from text, or with a sentence why not.

use std::ops::RangeInclusive;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::protocol::message::Assignment;
use crate::protocol::types::{Instance, Role};

/// A whole number within bounds, which a refusal names.
pub fn whole<T>(
    bounds: RangeInclusive<T>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: Copy + Into<u64> + TryFrom<u64> + Send + Sync + 'static,
{
    let (least, most): (u64, u64) = ((*bounds.start()).into(), (*bounds.end()).into());
    move |text| {
        let number = text.parse().ok().filter(|number| (least..=most).contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| format!("not a whole number from {least} to {most}"))
    }
}

/// Seconds, at most a hundred years of them.
pub fn seconds(text: &str) -> Result<Duration, String> {
    const LONGEST: f64 = 100.0 * 365.0 * 86400.0;
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=LONGEST).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        Ok(_) | Err(_) => Err(format!("not a number of seconds from 0 to {LONGEST}")),
    }
}

/// Seconds that suffice to hear others, and do not last for ever.
pub fn survey_seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (1.5..=86_400.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        Ok(_) | Err(_) => Err("not a number of seconds from 1.5 to 86400".to_owned()),
    }
}

/// Seconds that suffice to be answered, and do not last for ever.
pub fn look_seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.2..=3600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        Ok(_) | Err(_) => Err("not a number of seconds from 0.2 to 3600".to_owned()),
    }
}

/// A probability that is not certainty.
pub fn ratio(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(ratio) if (0.0..1.0).contains(&ratio) => Ok(ratio),
        Ok(_) | Err(_) => Err("not a ratio from 0 up to, but not including, 1".to_owned()),
    }
}

/// Where a client's values go.
pub fn first_instance(text: &str) -> Result<Assignment, String> {
    if text == "auto" {
        return Ok(Assignment::Leader);
    }
    match text.parse::<u64>() {
        Ok(first) if first >= 1 => Ok(Assignment::Client { first: Instance(first) }),
        Ok(_) | Err(_) => Err("neither an instance, 1 or more, nor `auto`".to_owned()),
    }
}

/// A role that a node can have.
pub fn role_of_node(text: &str) -> Result<Role, String> {
    match text {
        "proposer" => Ok(Role::Proposer),
        "acceptor" => Ok(Role::Acceptor),
        "learner" => Ok(Role::Learner),
        "client" => Err("a client reads standard input, and so it is started alone".to_owned()),
        _ => Err("not one of proposer, acceptor, learner".to_owned()),
    }
}

/// The words of scripts for yes and no.
pub fn yes_or_no(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" => Ok(true),
        "false" | "0" | "no" => Ok(false),
        _ => Err("neither true nor false".to_owned()),
    }
}

/// `0` or `1`.
pub fn flag() -> impl TypedValueParser<Value = bool> {
    PossibleValuesParser::new(["0", "1"]).map(|text| text == "1")
}
