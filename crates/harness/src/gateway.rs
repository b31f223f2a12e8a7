//! A gateway in this process: the real server on a port of its own, over a log in a directory that goes with it.

use std::ops::Deref;
use std::sync::Arc;

use tempfile::TempDir;
use towline::config::UserSettings;
use towline::{Config, Server};
use towline_auth::Secret;
use towline_auth::testing::TestIssuer;
use towline_clock::Clock;
use towline_log::EventLog;
use towline_log_embedded::{EmbeddedLog, OsFiles};

use crate::authority::Authority;
use crate::endpoint::{Endpoint, JWT_SECRET, PAGE, SERVICE_KEY};
use crate::faulty_log::{Faults, FaultyLog};
use crate::patience::eventually;

/// A running gateway. Dropping it stops it.
pub struct Gateway {
    endpoint: Endpoint,
    server: Option<Server>,
    faults: Faults,
    log: Option<Arc<dyn EventLog>>,
    authority: Option<Authority>,
    _directory: TempDir,
}

type Change = Box<dyn FnOnce(&mut Config) + Send>;

/// A gateway to be started.
pub struct GatewayBuilder {
    changes: Vec<Change>,
    clock: Clock,
    log: Option<Arc<dyn EventLog>>,
    authority: Option<Authority>,
}

impl Gateway {
    /// A gateway to be started: authentication by service key and shared secret, an embedded log, the system's clock.
    #[must_use]
    pub fn builder() -> GatewayBuilder {
        GatewayBuilder { changes: Vec::new(), clock: Clock::system(), log: None, authority: None }
    }

    /// A gateway with nothing special.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// Who signed its certificate.
    ///
    /// # Panics
    /// If it does not speak TLS.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        self.authority.as_ref().expect("a gateway with TLS has an authority")
    }

    /// The faults of its log.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Its log.
    ///
    /// # Panics
    /// After [`Gateway::stop`].
    #[must_use]
    pub fn log(&self) -> &Arc<dyn EventLog> {
        self.log.as_ref().expect("a running gateway has a log")
    }

    /// The server itself.
    ///
    /// # Panics
    /// After [`Gateway::drain`].
    #[must_use]
    pub fn server(&self) -> &Server {
        self.server.as_ref().expect("the gateway was drained")
    }

    /// Waits until no connection of any kind is open and no topic watched: what a server looks like that nobody uses.
    pub async fn expect_idle(&self) {
        let server = self.server();
        eventually("no connection is open and no topic watched", || async {
            server.open_connections() == 0 && server.watched_topics() == 0 && server.shared().metrics.subscriptions.get() == 0
        })
        .await;
        assert_eq!(server.shared().limits.users.connections(), 0, "connections counted for users");
        eventually("no address is counted", || async { server.shared().limits.addresses.addresses() == 0 }).await;
        let clients = &server.shared().metrics.clients;
        assert_eq!((clients.lagging.get(), clients.catching_up.get()), (0, 0), "subscriptions that are behind");
        for door in ["native", "feed", "hub", "unified", "sse"] {
            assert_eq!(server.shared().metrics.connections(door).get(), 0, "connections of door {door}");
        }
    }

    /// Waits until nobody is connected to a door; connections that a proxy keeps for its next request may stay.
    pub async fn expect_idle_sockets(&self) {
        let metrics = &self.server().shared().metrics;
        let idle = || async { ["native", "feed", "sse"].iter().all(|door| metrics.connections(door).get() == 0) };
        eventually("nobody is connected to a door", idle).await;
    }

    /// Leaves in good order, as on SIGTERM.
    pub async fn drain(&mut self) {
        if let Some(server) = self.server.take() {
            server.drain().await;
        }
    }
}

impl Deref for Gateway {
    type Target = Endpoint;

    fn deref(&self) -> &Endpoint {
        &self.endpoint
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let (server, log) = (self.server.take(), self.log.take());
        // A runtime of its own, because this one may be the one that is ending.
        let stopping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            if let (Ok(runtime), Some(server)) = (runtime, server) {
                runtime.block_on(server.stop());
            }
            drop(log);
        });
        // The directory goes next, so the log has to be finished with it.
        let _ = stopping.join();
    }
}

impl GatewayBuilder {
    /// Changes the configuration.
    #[must_use]
    pub fn config(mut self, change: impl FnOnce(&mut Config) + Send + 'static) -> Self {
        self.changes.push(Box::new(change));
        self
    }

    /// Another clock, for example one that the test moves.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// A clock that stands until the test moves it.
    #[must_use]
    pub fn manual_clock(self) -> Self {
        self.clock(Clock::manual(1_800_000_000_000))
    }

    /// Another log than an embedded one. It should have the same clock.
    #[must_use]
    pub fn log(mut self, log: Arc<dyn EventLog>) -> Self {
        self.log = Some(log);
        self
    }

    /// Speaks TLS, with a certificate of an authority of its own.
    #[must_use]
    pub fn tls(mut self) -> Self {
        let authority = Authority::new();
        let (certificate, key) = authority.install(&authority.server().make());
        self.authority = Some(authority);
        self.config(move |config| {
            config.tls.certificate = Some(certificate);
            config.tls.key = Some(key);
        })
    }

    /// Lets clients show certificates of the same authority. After [`GatewayBuilder::tls`].
    ///
    /// # Panics
    /// If it does not speak TLS.
    #[must_use]
    pub fn client_ca(self) -> Self {
        let file = self.authority.as_ref().expect("a gateway with TLS has an authority").file();
        self.config(move |config| config.tls.client_ca = Some(file))
    }

    /// Trusts an issuer beside the shared secret.
    #[must_use]
    pub fn issuer(self, issuer: &TestIssuer) -> Self {
        let trusted = issuer.config();
        self.config(move |config| config.auth.issuers.push(trusted))
    }

    /// Development mode: nobody is asked for a token.
    #[must_use]
    pub fn development(self) -> Self {
        self.config(|config| {
            config.development = true;
            config.auth.jwt_secret = None;
            config.auth.service_keys.clear();
        })
    }

    /// Starts it.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn start(self) -> Gateway {
        let directory = tempfile::tempdir().unwrap_or_else(|error| panic!("a temporary directory: {error}"));
        let mut config = Config { listen: ([127, 0, 0, 1], 0).into(), ..Config::default() };
        config.data_dir = directory.path().to_owned();
        config.auth.jwt_secret = Some(Secret::new(JWT_SECRET));
        config.auth.service_keys = vec![Secret::new(SERVICE_KEY)];
        config.sockets.workers = 2;
        // Tests are one user with many tabs; those about limits say which.
        config.users = UserSettings { connections_max: 10_000, messages_per_minute_max: 60_000, ..UserSettings::default() };
        config.origins.allowed = vec![PAGE.to_owned()];
        for change in self.changes {
            change(&mut config);
        }
        let log = match self.log {
            Some(log) => log,
            None => open(&config, self.clock.clone()).await,
        };
        let (log, faults) = FaultyLog::around(log);
        let server = Server::start(config, self.clock.clone(), log.clone()).await;
        let server = server.unwrap_or_else(|error| panic!("the gateway did not start: {error}"));
        let endpoint =
            Endpoint::over(server.address(), self.clock, self.authority.as_ref().map(|authority| authority.client_config(None)));
        Gateway { endpoint, server: Some(server), faults, log: Some(log), authority: self.authority, _directory: directory }
    }
}

async fn open(config: &Config, clock: Clock) -> Arc<dyn EventLog> {
    let options = config.log_options();
    let files = Arc::new(OsFiles::new(&config.data_dir));
    let opening = tokio::task::spawn_blocking(move || EmbeddedLog::open(options, files, clock)).await;
    match opening.unwrap_or_else(|error| panic!("{error}")) {
        Ok((log, _)) => Arc::new(log),
        Err(error) => panic!("the log did not open: {error}"),
    }
}
