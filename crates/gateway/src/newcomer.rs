//! A connection from accept to its first request and on: TLS if the server speaks it, then HTTP, until it ends or becomes something else.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::CONNECTION;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::metrics::gauge::Gauge;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};
use tokio::time::Sleep;
use tower::ServiceExt;
use towline_auth::Identity;

use crate::http::Failure;
use crate::limits::{AddressLimits, AddressPlace};
use crate::server::{Accepted, Place};
use crate::shared::Shared;
use crate::tls::{AcceptError, Certificates, TlsSocket};

/// A connection that has not said yet what it wants.
pub(crate) struct Pending {
    _permit: OwnedSemaphorePermit,
    _address: Option<AddressPlace>,
    gauge: Gauge,
}

impl Pending {
    pub(crate) fn new(permit: OwnedSemaphorePermit, address: Option<AddressPlace>, gauge: &Gauge) -> Self {
        gauge.inc();
        Self { _permit: permit, _address: address, gauge: gauge.clone() }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

/// A connection that was accepted.
pub(crate) struct Newcomer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) router: Router,
    pub(crate) place: Place,
    pub(crate) peer: SocketAddr,
    /// Uptime.
    pub(crate) accepted_at: Duration,
    pub(crate) pending: Pending,
    pub(crate) one_too_many: bool,
}

impl Newcomer {
    /// Serves it until it ends or becomes something else.
    pub(crate) async fn be_served(
        self,
        stream: TcpStream,
        certificates: Option<Arc<Certificates>>,
        mut left: watch::Receiver<bool>,
    ) {
        let _ = stream.set_nodelay(true);
        // From accept to the whole first request, TLS included: whoever is slower than this is not a client.
        let patience = tokio::time::sleep(self.shared.config.sockets.handshake_timeout);
        tokio::pin!(patience);
        let Some(certificates) = certificates else {
            return self.speak_http(TokioIo::new(stream), None, patience, left).await;
        };
        let accepted = tokio::select! {
            accepted = TlsSocket::accept(stream, certificates.current()) => accepted,
            () = &mut patience => return self.shared.metrics.handshake("tls", "timeout"),
            _ = left.wait_for(|left| *left) => return,
        };
        match accepted {
            Ok(socket) => {
                self.shared.metrics.handshake("tls", "accepted");
                let service = certificates.service(&self.shared.auth, socket.session().client_certificates());
                self.speak_http(socket, service, patience, left).await;
            }
            Err(error) => {
                let outcome = if matches!(error, AcceptError::PlainHttp) { "plain_http" } else { "invalid" };
                self.shared.metrics.handshake("tls", outcome);
                tracing::debug!(%error, "a TLS handshake failed");
            }
        }
    }

    async fn speak_http<I>(
        self,
        io: I,
        service: Option<Arc<Identity>>,
        mut patience: Pin<&mut Sleep>,
        mut left: watch::Receiver<bool>,
    ) where
        I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    {
        let Self { shared, router, place, peer, accepted_at, pending, one_too_many } = self;
        let config = &shared.config;
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(config.rest.keep_alive_timeout)
            .max_headers(config.sockets.headers_max)
            .max_buf_size(config.sockets.header_bytes_max.max(8 * 1024));
        let (asked, mut first_request) = oneshot::channel();
        let pending = parking_lot::Mutex::new(Some((pending, asked)));
        let requests = Arc::clone(&shared);
        let answer = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
            let since = match pending.lock().take() {
                Some((_no_longer_pending, asked)) => {
                    let _ = asked.send(());
                    accepted_at
                }
                None => requests.clock.uptime(),
            };
            let client = requests.proxies.client_address(peer.ip(), request.headers());
            let accepted = Accepted { peer, client, place: place.clone(), since, service: service.clone() };
            request.extensions_mut().insert(accepted);
            let (router, refused) = (router.clone(), one_too_many.then(|| turn_away(&requests)));
            async move {
                match refused {
                    Some(response) => Ok(response),
                    None => router.oneshot(request).await,
                }
            }
        });
        let serving = http.serve_connection(io, answer).with_upgrades();
        let leaving = left.wait_for(|left| *left);
        tokio::pin!(serving, leaving);
        let (mut shaken, mut told) = (false, false);
        let result = loop {
            tokio::select! {
                result = &mut serving => break result,
                _ = &mut first_request, if !shaken => shaken = true,
                () = &mut patience, if !shaken => return shared.metrics.handshake("http", "timeout"),
                // An idle connection ends at once; one with a request ends behind its answer.
                _ = &mut leaving, if !told => {
                    told = true;
                    serving.as_mut().graceful_shutdown();
                }
            }
        };
        if let Err(error) = result {
            tracing::debug!(%error, "an HTTP connection ended early");
        }
    }
}

/// The answer to whatever a connection asks whose address has too many. It is the last one there.
fn turn_away(shared: &Shared) -> Response {
    shared.metrics.limits.refused("address_connections");
    let mut response = Failure::from(AddressLimits::too_many()).into_response();
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
