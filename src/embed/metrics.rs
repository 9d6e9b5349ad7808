//! What a node serves to operators over HTTP, where `metrics` is set.
//!
//! A library that is built without the feature `metrics` has no server. Each of its nodes says so
//! then: a line in the configuration that does nothing must not pass in silence.

use std::fmt;
#[cfg(not(feature = "metrics"))]
use std::net::SocketAddr;
#[cfg(feature = "metrics")]
use std::sync::Arc;

use super::node::Ready;
use crate::clock::Clock;
use crate::config::{Config, MetricsChoice};
#[cfg(feature = "metrics")]
use crate::runtime::metrics::{Shown, listen, serve};
use crate::runtime::start_error::StartError;

#[cfg(feature = "metrics")]
pub(super) use crate::runtime::metrics::Server;

/// The server of a library without one.
#[cfg(not(feature = "metrics"))]
pub(super) enum Server {}

#[cfg(not(feature = "metrics"))]
impl Server {
    pub fn address(&self) -> SocketAddr {
        match *self {}
    }
}

/// What a program says of the metrics of its nodes.
#[derive(Clone, Default)]
pub(super) struct Metrics {
    /// Where they are served, if not where the configuration says.
    pub choice: Option<MetricsChoice>,
    /// Further figures.
    #[cfg(feature = "metrics")]
    pub more: Option<Arc<dyn Fn() -> String + Send + Sync>>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("choice", &self.choice).finish_non_exhaustive()
    }
}

impl Metrics {
    /// Serves those of `roles`, which run in one node, if they are served.
    ///
    /// # Errors
    ///
    /// When there is no such address or no free port.
    pub fn serve(
        &self,
        config: &Config,
        roles: &mut [Ready],
        clock: Clock,
    ) -> Result<Option<Server>, StartError> {
        let of_config = (config.metrics, Some(config.path()));
        let (choice, place) = self.choice.map_or(of_config, |choice| (choice, None));
        let MetricsChoice::At(first) = choice else { return Ok(None) };
        #[cfg(not(feature = "metrics"))]
        {
            let _ = (roles, clock, place);
            log::warn!(
                "metrics {first} is not served, for this program has the library without its \
                 feature `metrics`; build it with that, or set `metrics off`"
            );
            Ok(None)
        }
        #[cfg(feature = "metrics")]
        {
            let listener = listen(first, place)?;
            let roles = roles.iter_mut().map(|role| role.process.watch()).collect();
            let (cluster, more) = (config.cluster.clone(), self.more.clone());
            serve(listener, Shown { cluster, clock, roles, more }).map(Some)
        }
    }
}
