//! What every door and handler of one server shares.

use std::future::Future;
use std::sync::{Arc, OnceLock};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use towline_auth::{AdminKeys, AuthConfigError, Authenticator, Delegation, Identity, Tickets};
use towline_clock::Clock;
use towline_log::{EventLog, Health};
use towline_protocol::{ErrorCode, PublishResult, TopicName};

use crate::config::{Config, auth_config};
use crate::http::Failure;
use crate::limits::Limits;
use crate::line_rate::LineRate;
use crate::logging::{EventLines, RequestLines};
use crate::metrics::Metrics;
use crate::origins::OriginPolicy;
use crate::peers::TrustedProxies;
use crate::publish::{self, Prepared};
use crate::revocations::Journal;
use crate::runs::{Runs, Speaker};
use crate::webhook;

/// Enough to see who is refused, and no way to fill a disk.
const REFUSAL_LINES_PER_SECOND_MAX: u32 = 1;

/// The parts of a server, made once.
pub struct Shared {
    /// How it is set up.
    pub config: Arc<Config>,
    /// What time it is.
    pub clock: Clock,
    /// Where events are kept.
    pub log: Arc<dyn EventLog>,
    /// Runs and brakes; every event that is published goes through here.
    pub runs: Arc<Runs>,
    /// Who may.
    pub auth: Authenticator,
    /// The application, where it decides who may do what.
    pub delegation: Option<Delegation>,
    /// One-time tickets that are out.
    pub tickets: Tickets,
    /// Writes down which credentials were ended before their time.
    pub(crate) journal: Journal,
    /// Who is an operator.
    pub(crate) admin_keys: AdminKeys,
    /// Whose word about their clients' addresses counts.
    pub proxies: TrustedProxies,
    /// Which web pages may.
    pub origins: OriginPolicy,
    /// How much each user, address and publisher may do.
    pub limits: Limits,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The running webhook, if there is one.
    pub(crate) webhook: OnceLock<webhook::Handle>,
    /// Free KiB of `rest.publish_bytes_max`.
    publish_kib: Arc<Semaphore>,
    /// Lines of published events in the process's log.
    event_lines: Arc<EventLines>,
    /// Lines of answered requests there.
    pub(crate) request_lines: RequestLines,
    /// Lines about refused pages there.
    pub(crate) refusal_lines: LineRate,
    draining: watch::Sender<bool>,
    drain_asked: watch::Sender<bool>,
}

impl Shared {
    /// Puts a server's parts together.
    ///
    /// # Errors
    /// What is wrong with the authentication's settings; a configuration that was loaded has been checked for it.
    pub fn new(config: Config, clock: Clock, log: Arc<dyn EventLog>) -> Result<Arc<Self>, AuthConfigError> {
        let auth = Authenticator::new(auth_config(&config), clock.clone())?;
        let runs = Runs::new(&config.runs, config.log.dedup_window, clock.clone(), Arc::clone(&log));
        let asked = config.authorization.delegation();
        let delegation = asked.map(|asked| Delegation::new(asked, clock.clone())).transpose()?;
        Ok(Arc::new(Self {
            runs,
            publish_kib: Arc::new(Semaphore::new(config.rest.publish_bytes_max >> 10)),
            event_lines: Arc::new(EventLines::new(config.logging.events_per_second_max)),
            request_lines: RequestLines::new(config.logging.requests_per_second_max),
            admin_keys: AdminKeys::new(&config.admin.keys_full, &config.admin.keys_read),
            origins: OriginPolicy::new(config.environment, &config.origins),
            limits: Limits::new(&config),
            proxies: config.proxies.trusted_proxies(),
            delegation,
            tickets: Tickets::new(config.tickets.policy(), clock.clone()),
            journal: Journal::new(),
            config: Arc::new(config),
            clock,
            log,
            auth,
            metrics: Arc::new(Metrics::new()),
            refusal_lines: LineRate::new(REFUSAL_LINES_PER_SECOND_MAX),
            webhook: OnceLock::new(),
            draining: watch::Sender::new(false),
            drain_asked: watch::Sender::new(false),
        }))
    }

    /// Says that the server is leaving: `/readyz` answers 503 from now on.
    pub fn begin_drain(&self) {
        self.draining.send_replace(true);
    }

    /// Asks whoever runs the server to drain it.
    pub(crate) fn ask_to_drain(&self) {
        self.drain_asked.send_replace(true);
    }

    /// Resolves once an operator has asked for a drain: whoever runs the server should begin it.
    pub fn drain_asked(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let mut asked = self.drain_asked.subscribe();
        async move {
            if asked.wait_for(|asked| *asked).await.is_err() {
                // The server is gone: nobody will ask any more.
                std::future::pending().await
            }
        }
    }

    /// Whether the server is leaving.
    #[must_use]
    pub fn draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Resolves once the server is leaving.
    pub(crate) fn drain_begun(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let mut draining = self.draining.subscribe();
        async move {
            // An error says that the server is gone altogether.
            let _ = draining.wait_for(|draining| *draining).await;
        }
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

    /// Whether somebody may watch a topic: what their identity grants, and the control topics of their own runs.
    #[must_use]
    pub fn may_subscribe(&self, identity: &Identity, topic: &TopicName) -> bool {
        identity.may_subscribe(topic)
            || (topic.kind() == "control" && self.runs.may_follow_control(&Speaker::of(identity), topic))
    }

    /// Reserves memory for a request that publishes, until the permit is dropped.
    ///
    /// # Errors
    /// 429 if too many such requests are worked on.
    pub(crate) fn reserve_publish_bytes(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Failure> {
        let kib = u32::try_from((bytes >> 10) + 1).unwrap_or(u32::MAX);
        Arc::clone(&self.publish_kib)
            .try_acquire_many_owned(kib)
            .map_err(|_| Failure::new(ErrorCode::RateLimited, "too many requests that publish are worked on; try again soon"))
    }

    /// [`publish::store`] with its time and results counted.
    pub fn store(&self, prepared: Prepared, atomic: bool) -> impl Future<Output = Vec<PublishResult>> + Send + 'static + use<> {
        let stored = publish::store(&self.runs, prepared, atomic);
        self.timed(stored, |count, results| count(results))
    }

    /// [`publish::store_together`] with its time and results counted.
    pub fn store_together(
        &self,
        requests: Vec<Prepared>,
    ) -> impl Future<Output = Vec<Vec<PublishResult>>> + Send + 'static + use<> {
        let stored = publish::store_together(&self.runs, requests);
        self.timed(stored, |count, requests| requests.iter().for_each(|results| count(results)))
    }

    /// Times an append; `each` hands every request's results to be counted and, within the rate, logged.
    fn timed<T, S, C>(&self, stored: S, each: C) -> impl Future<Output = T> + Send + 'static + use<T, S, C>
    where
        S: Future<Output = T> + Send + 'static,
        T: Send + 'static,
        C: FnOnce(&dyn Fn(&[PublishResult]), &T) + Send + 'static,
    {
        let began = self.clock.uptime();
        let (clock, metrics, lines) = (self.clock.clone(), Arc::clone(&self.metrics), Arc::clone(&self.event_lines));
        async move {
            let results = stored.await;
            metrics.append_seconds.observe(clock.uptime().saturating_sub(began).as_secs_f64());
            let count = |results: &[PublishResult]| {
                metrics.published(results);
                lines.write(&clock, results);
            };
            each(&count, &results);
            results
        }
    }
}
