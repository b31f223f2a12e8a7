//! What every door and handler of one server shares.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Semaphore;
use towline_auth::{AuthConfigError, Authenticator};
use towline_clock::Clock;
use towline_log::{EventLog, Health};
use towline_protocol::PublishResult;

use crate::config::{Config, auth_config};
use crate::metrics::Metrics;
use crate::publish::{self, Prepared};

/// The parts of a server, made once.
pub struct Shared {
    /// How it is set up.
    pub config: Arc<Config>,
    /// What time it is.
    pub clock: Clock,
    /// Where events are kept.
    pub log: Arc<dyn EventLog>,
    /// Who may.
    pub auth: Authenticator,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Places for publish requests: `rest.publishes_max`.
    pub(crate) publishes: Arc<Semaphore>,
    draining: AtomicBool,
}

impl Shared {
    /// Puts a server's parts together.
    ///
    /// # Errors
    /// What is wrong with the authentication's settings; a configuration that was loaded has been checked for it.
    pub fn new(config: Config, clock: Clock, log: Arc<dyn EventLog>) -> Result<Arc<Self>, AuthConfigError> {
        let auth = Authenticator::new(auth_config(&config), clock.clone())?;
        Ok(Arc::new(Self {
            publishes: Arc::new(Semaphore::new(config.rest.publishes_max)),
            config: Arc::new(config),
            clock,
            log,
            auth,
            metrics: Arc::new(Metrics::new()),
            draining: AtomicBool::new(false),
        }))
    }

    /// Says that the server is leaving: `/readyz` answers 503 from now on.
    pub fn begin_drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// Whether the server is leaving.
    #[must_use]
    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Why the server should get no new traffic, if so.
    #[must_use]
    pub fn not_ready(&self) -> Option<String> {
        if self.draining() {
            return Some("the server is draining".to_owned());
        }
        match self.log.health() {
            Health::Ready => None,
            Health::Refusing(why) => Some(format!("the log refuses appends: {why}")),
        }
    }

    /// [`publish::store`] with its time and results counted.
    pub fn store(&self, prepared: Prepared, atomic: bool) -> impl Future<Output = Vec<PublishResult>> + Send + 'static + use<> {
        let began = self.clock.uptime();
        let stored = publish::store(&*self.log, prepared, atomic);
        let (clock, metrics) = (self.clock.clone(), Arc::clone(&self.metrics));
        async move {
            let results = stored.await;
            metrics.append_seconds.observe(clock.uptime().saturating_sub(began).as_secs_f64());
            metrics.published(&results);
            results
        }
    }
}
