//! Bodies of the fuzz targets: what must hold for any bytes at all.
//!
//! Each function here takes bytes from anywhere and panics when something does not hold. The
//! targets in `fuzz/` call them with what libFuzzer makes up; `tests/corpora.rs` calls them with
//! every file of the corpora, on stable, as a part of `cargo test`. Nothing of the program itself
//! calls them, so the linker leaves them out of it.

mod bytes;
mod config;
mod input;
mod judge;
mod log;
mod messages;
mod roles;
mod seal;
mod wire;

pub use config::config_parse;
pub use input::input_lines;
pub use log::log_recovery;
pub use roles::role_events;
pub use seal::open_sealed;
pub use wire::{CLUSTER, wire_decode};

/// The body of a target.
pub type Target = fn(&[u8]);

/// Every target with its name, which is also that of its corpus.
pub const TARGETS: [(&str, Target); 6] = [
    ("wire_decode", wire_decode),
    ("log_recovery", log_recovery),
    ("config_parse", config_parse),
    ("input_lines", input_lines),
    ("role_events", role_events),
    ("open_sealed", open_sealed),
];
