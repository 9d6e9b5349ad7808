//! A deterministic world for the roles that run in production.

pub mod chaos;
pub mod checker;
pub mod cluster;
pub mod disk;
pub mod network;
pub mod script;

#[cfg(test)]
mod tests;
