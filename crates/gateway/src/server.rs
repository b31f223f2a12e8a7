//! The server: its own accept loop, because limits and deadlines begin at accept, and the order in which it leaves.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use towline_auth::{AuthConfigError, Identity};
use towline_clock::Clock;
use towline_log::{EventLog, ReadError};
use towline_sockets::give_up_after;

use crate::config::Config;
use crate::doors::{Doors, DoorsReactor};
use crate::http;
use crate::limits::AddressPlace;
use crate::newcomer::{Newcomer, Pending};
use crate::revocations;
use crate::shared::Shared;
use crate::tls::{Certificates, TlsProblem};
use crate::webhook::Webhook;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The authentication's settings contradict each other.
    #[error(transparent)]
    Auth(#[from] AuthConfigError),
    /// The address is taken, or not this machine's.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The log cannot be read, so nobody knows which credentials were revoked.
    #[error("cannot read which credentials were revoked: {0}")]
    Revocations(#[from] ReadError),
    /// The files that TLS is made of are not good.
    #[error(transparent)]
    Tls(#[from] TlsProblem),
    /// It cannot be read which runs were stopped.
    #[error("the log cannot be read, and it holds which runs were stopped: {0}")]
    Runs(towline_log::ReadError),
    /// The system gives no threads or readiness queues.
    #[error("cannot start the socket workers: {0}")]
    Workers(std::io::Error),
    /// The webhook's settings cannot be used.
    #[error("{0}: {1}")]
    Webhook(&'static str, String),
}

/// A running gateway.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    doors: Arc<Doors>,
    reactor: DoorsReactor,
    accepting: JoinHandle<()>,
    certificates: Option<Arc<Certificates>>,
    watching: Option<JoinHandle<()>>,
    /// Looks after runs.
    upkeep: JoinHandle<()>,
    leaving: watch::Sender<bool>,
    connections: Place,
    webhook: Option<Webhook>,
}

/// Counts a connection as long as it lives, and is handed from the HTTP connection to what it becomes.
#[derive(Debug)]
pub struct Place {
    all: Arc<AtomicUsize>,
    /// Counts it for its address, if that has limits.
    address: Option<Arc<AddressPlace>>,
}

impl Place {
    fn others(&self) -> usize {
        self.all.load(Ordering::SeqCst) - 1
    }

    /// Counts the connection for the address of its client too.
    pub(crate) fn of_client(mut self, address: AddressPlace) -> Self {
        self.address = Some(Arc::new(address));
        self
    }
}

/// What a request knows of its connection; in its extensions.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// Who connected.
    pub peer: SocketAddr,
    /// Counts the connection.
    pub place: Place,
    /// Where the request comes from: the peer, or the client that a trusted proxy names.
    pub client: IpAddr,
    /// Since when (uptime) its client waits: since accept for a connection's first request, since its head was read for a later one.
    pub since: Duration,
    /// The service that the connection's client certificate names.
    pub service: Option<Arc<Identity>>,
}

impl Default for Place {
    fn default() -> Self {
        Self { all: Arc::new(AtomicUsize::new(1)), address: None }
    }
}

impl Clone for Place {
    fn clone(&self) -> Self {
        self.all.fetch_add(1, Ordering::SeqCst);
        Self { all: Arc::clone(&self.all), address: self.address.clone() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.all.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Server {
    /// Listens and serves until [`Server::drain`] or [`Server::stop`].
    ///
    /// # Errors
    /// [`StartError`] says what to change.
    pub async fn start(config: Config, clock: Clock, log: Arc<dyn EventLog>) -> Result<Self, StartError> {
        let wanted = config.listen;
        let shared = Shared::new(config, clock, log)?;
        let certificates = Certificates::load(&shared.config.tls, &shared.clock, &shared.metrics)?;
        let revocations = shared.auth.revocations();
        revocations::load(&*shared.log, revocations, shared.clock.unix_ms()).await?;
        shared.metrics.access.revocations(revocations.len());
        // Nobody is served before it is known what was stopped.
        shared.runs.load().await.map_err(StartError::Runs)?;
        let listener = TcpListener::bind(wanted).await.map_err(|source| StartError::Listen { address: wanted, source })?;
        let address = listener.local_addr().map_err(|source| StartError::Listen { address: wanted, source })?;
        let (doors, reactor) = Doors::start(&shared).map_err(StartError::Workers)?;
        let webhook = Webhook::start(&shared, doors.hub()).map_err(|(key, why)| StartError::Webhook(key, why))?;
        let router = http::router_with(Arc::clone(&shared), doors.routes());
        let (leaving, left) = watch::channel(false);
        let connections = Place::default();
        let accept = Accept {
            pending: Arc::new(Semaphore::new(shared.config.sockets.handshakes_pending_max)),
            shared: Arc::clone(&shared),
            router,
            certificates: certificates.clone(),
            connections: connections.clone(),
            left,
        };
        let accepting = tokio::spawn(accept.run(listener));
        let upkeep = tokio::spawn(Arc::clone(&shared.runs).keep_up());
        let watching = certificates.clone().map(|certificates| tokio::spawn(certificates.watch()));
        Ok(Self { address, shared, doors, reactor, accepting, upkeep, certificates, watching, leaving, connections, webhook })
    }

    /// Where it listens: the real port, if port 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The certificates in use, if it speaks TLS.
    #[must_use]
    pub fn certificates(&self) -> Option<&Arc<Certificates>> {
        self.certificates.as_ref()
    }

    /// What its parts share.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// How many topics somebody watches.
    #[must_use]
    pub fn watched_topics(&self) -> usize {
        self.doors.watched_topics()
    }

    /// Connections of all kinds that are open now.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        // One is this server's own, one the accept loop's while it runs.
        self.connections.others().saturating_sub(usize::from(!self.accepting.is_finished()))
    }

    /// Leaves in good order: stops accepting, sends every client away over the drain window, finishes the appends, closes the log.
    /// Takes at most `drain.timeout` and what the log needs.
    pub async fn drain(mut self) {
        self.shared.begin_drain();
        self.accepting.abort();
        let _ = self.leaving.send(true);
        self.doors.drain();
        let webhook = self.webhook.take();
        let everybody_left = async {
            while self.open_connections() > 0 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let gone = async {
            if tokio::time::timeout(self.shared.config.drain.timeout, everybody_left).await.is_err() {
                let open = self.open_connections();
                tracing::warn!(open, "connections were still open when the drain time-out ended");
            }
        };
        let delivered = async {
            if let Some(webhook) = webhook {
                webhook.drained().await;
            }
        };
        tokio::join!(gone, delivered);
        self.shared.log.close().await;
        self.stop().await;
    }

    /// Drops everything at once; the log stays open and keeps what it acknowledged.
    pub async fn stop(self) {
        self.accepting.abort();
        if let Some(watching) = &self.watching {
            watching.abort();
        }
        self.upkeep.abort();
        let _ = self.leaving.send(true);
        drop(self.webhook);
        let reactor = self.reactor;
        if tokio::task::spawn_blocking(move || reactor.stop()).await.is_err() {
            tracing::error!("the socket workers could not be stopped");
        }
    }
}

struct Accept {
    shared: Arc<Shared>,
    router: Router,
    /// Connections that have not said yet what they want.
    pending: Arc<Semaphore>,
    certificates: Option<Arc<Certificates>>,
    connections: Place,
    left: watch::Receiver<bool>,
}

impl Accept {
    async fn run(self, listener: TcpListener) {
        loop {
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, most likely: pause, so that those who leave can make room.
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let metrics = &self.shared.metrics;
            let full = self.connections.others() > self.shared.config.sockets.connections_max;
            match Arc::clone(&self.pending).try_acquire_owned() {
                Ok(permit) if !full => {
                    let Some(arrived) = self.shared.limits.addresses.arrive(peer.ip()) else {
                        metrics.limits.refused("address_pending");
                        metrics.accepts_refused.inc();
                        continue;
                    };
                    let pending = Pending::new(permit, arrived.pending, &metrics.handshakes_pending);
                    let mut place = self.connections.clone();
                    if let Some(address) = arrived.place {
                        place = place.of_client(address);
                    }
                    tokio::spawn(self.connection(stream, peer, pending, place, arrived.one_too_many));
                }
                _ => {
                    metrics.accepts_refused.inc();
                }
            }
        }
    }

    /// One connection, until it ends or becomes something else; `one_too_many` is told so and ends.
    fn connection(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        pending: Pending,
        place: Place,
        one_too_many: bool,
    ) -> impl Future<Output = ()> + Send + 'static {
        // Later than the doors' own farewell to a socket that stalls, which tells the client why.
        give_up_after(&stream, self.shared.config.sockets.stall_timeout * 2);
        let newcomer = Newcomer {
            shared: Arc::clone(&self.shared),
            router: self.router.clone(),
            place,
            peer,
            accepted_at: self.shared.clock.uptime(),
            pending,
            one_too_many,
        };
        newcomer.be_served(stream, self.certificates.clone(), self.left.clone())
    }
}
