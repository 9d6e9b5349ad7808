//! What a process takes over from an earlier one: an acceptor its log, other roles nothing.

use log::{info, warn};

use super::entropy;
use super::held;
use super::opening::RoleOptions;
use super::start_error::{StartError, StartErrorKind};
use crate::config::Config;
use crate::protocol::acceptor::Acceptor;
use crate::protocol::settings::Settings;
use crate::storage::AcceptorStore;
use crate::storage::identity::Identity;
use crate::storage::log::{Log, Recovered};
use crate::storage::memory::MemoryStore;
use crate::storage::watch::Watch;

/// What a process takes over from an earlier one.
pub(super) struct Inheritance {
    /// Its boot number. An acceptor with data keeps its incarnation instead.
    pub boot: u64,
    /// An acceptor with its stored data.
    pub acceptor: Option<Acceptor>,
    pub store: Box<dyn AcceptorStore>,
    /// Watches whether the stored data is still there.
    pub watch: Option<Watch>,
}

impl Inheritance {
    /// Nothing.
    pub fn none(boot: u64) -> Self {
        Inheritance { boot, acceptor: None, store: Box::new(MemoryStore), watch: None }
    }

    /// Opens what the acceptor has stored, if the configuration says where.
    pub fn open(
        config: &Config,
        settings: &Settings,
        options: RoleOptions,
        fresh: u64,
    ) -> Result<Self, StartError> {
        let id = options.node.id;
        let Some(data) = &config.data else {
            if options.adopt_copy {
                let conf = config.path();
                let what = format!("{conf} has no `data`, so there is no copy to adopt");
                return Err(StartError::new(StartErrorKind::Configuration, what));
            }
            return Ok(Inheritance::none(fresh));
        };
        let path = data.join(format!("acceptor-{id}"));
        let directory = held::open(&path, options.node, "data")?;
        let watch = directory.watch();
        let identity = Identity {
            cluster: config.cluster.clone(),
            acceptor: id,
            acceptor_count: config.acceptor_count(),
            incarnation: fresh,
            token: entropy::random_u64()?,
        };
        let opening = Log::open(directory, &identity, config.log_options(options.adopt_copy))?;
        let boot = opening.incarnation();
        let mut acceptor = Acceptor::new(id, boot, settings.clone());
        let (log, recovered) = opening.recover(|record| acceptor.restore(record))?;
        let Recovered { records, summarised, cut_bytes, is_adopted } = recovered;
        let past = match summarised {
            0 => String::new(),
            count => format!("; {count} segments are past, and were not read"),
        };
        info!("{records} records are in {}{past}", path.display());
        if is_adopted {
            let path = path.display();
            warn!("adopted the copy {path}; no other copy of it may ever be started");
        }
        if cut_bytes > 0 {
            warn!("cut {cut_bytes} bytes of a torn record, which was never answered");
        }
        let (acceptor, watch) = (Some(acceptor), Some(watch));
        Ok(Inheritance { boot, acceptor, store: Box::new(log), watch })
    }
}
