//! A deterministic world for the roles that run in production.

pub mod agenda;
pub mod checker;
pub mod cluster;
pub mod disk;
pub mod fault;
pub mod habits;
mod keeping;
pub mod lasting;
pub mod links;
pub mod network;
pub mod node;
mod noise;
pub mod record;
pub mod scenario;
pub mod script;
mod series;
pub mod trace;

#[cfg(test)]
mod cost_tests;
#[cfg(test)]
mod drills;
#[cfg(all(test, feature = "bugs"))]
mod hunt;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
