//! What the store adds to the metrics of its process.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::machine::Shared;
use crate::session::About;

/// Figures that the thread with the connections keeps: copies, so that it waits for nobody.
#[derive(Debug)]
pub struct Figures {
    clients: AtomicU64,
    connections: AtomicU64,
    commands: AtomicU64,
    store: Shared,
}

impl Figures {
    /// None yet, of the process with this store.
    pub fn new(store: &Shared) -> Arc<Figures> {
        let zero = AtomicU64::default;
        let store = Arc::clone(store);
        Arc::new(Figures { clients: zero(), connections: zero(), commands: zero(), store })
    }

    /// Copies them.
    pub fn publish(&self, about: &About) {
        self.clients.store(about.clients as u64, Ordering::Relaxed);
        self.connections.store(about.connections, Ordering::Relaxed);
        self.commands.store(about.commands, Ordering::Relaxed);
    }

    /// In the text format of Prometheus; docs/store.md explains them.
    pub fn text(&self) -> String {
        let (keys, expiring) = {
            let store = self.store.lock();
            (store.len() as u64, store.expiring() as u64)
        };
        let of = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        let mut text = String::new();
        for (name, kind, help, value) in [
            ("clients", "gauge", "Clients that are connected.", of(&self.clients)),
            (
                "connections_total",
                "counter",
                "Connections that clients have opened, those beyond --maxclients among them.",
                of(&self.connections),
            ),
            ("commands_total", "counter", "Commands that were read.", of(&self.commands)),
            ("keys", "gauge", "Keys in the store, as far as this process has applied it.", keys),
            ("expiring_keys", "gauge", "Keys that expire.", expiring),
        ] {
            let name = format!("paxos_kv_{name}");
            // Writing to a string cannot fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        }
        text
    }
}
