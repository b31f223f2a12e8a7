//! The WebSocket doors' handshakes: who is it, may they be here, and then over to the reactor.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{
    CONNECTION, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use towline_protocol::{CloseCode, ErrorCode};
use towline_sockets::websocket::extensions::{self, Deflate};
use towline_sockets::websocket::handshake;
use towline_sockets::{Arrival, prepare_socket};

use super::Doors;
use super::door::{self, Door, FEEDS, HUBS, NATIVES, UNIFIEDS};
use super::entry::{Entry, join_own};
use super::joining::Joining;
use super::ticket::{Admission, Refused, Ticket};
use crate::http::Failure;
use crate::server::{Accepted, Place};
use crate::tls::TlsSocket;

pub(super) async fn native_or_unified(State(doors): State<Arc<Doors>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    if asks_for_native(&parts.headers) {
        let entry = Entry::native(&doors, &parts).await;
        return doors.shake_hands(&NATIVES, parts, entry).await;
    }
    let entry = Entry::unified(&doors, &parts).await;
    doors.shake_hands(&UNIFIEDS, parts, entry).await
}

pub(super) async fn feed(State(doors): State<Arc<Doors>>, Path(user_id): Path<String>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let entry = Entry::feed(&doors, &parts, &user_id).await;
    doors.shake_hands(&FEEDS, parts, entry).await
}

pub(super) async fn hub(State(doors): State<Arc<Doors>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let entry = Entry::hub(&doors, &parts).await;
    doors.shake_hands(&HUBS, parts, entry).await
}

/// Whether a client offers a subprotocol of Towline's own, in whatever version or encoding. Everybody else on this path is a client
/// of the unified socket.
fn asks_for_native(headers: &HeaderMap) -> bool {
    let offers = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    offers.flat_map(|offer| offer.split(',')).any(|name| name.trim().starts_with("towline."))
}

impl Doors {
    async fn shake_hands(
        self: Arc<Self>,
        route: &'static [&'static Door],
        parts: Parts,
        entry: Result<Entry, Failure>,
    ) -> Response {
        let since = parts.extensions.get().map(|accepted: &Accepted| accepted.since);
        let response = Arc::clone(&self).answer(route, parts, entry).await;
        self.handshake_answered(since);
        response
    }

    /// Counts how long a client waited for its handshake's answer.
    pub(super) fn handshake_answered(&self, since: Option<Duration>) {
        if let Some(since) = since {
            let waited = self.shared.clock.uptime().saturating_sub(since);
            self.shared.metrics.handshake_seconds.observe(waited.as_secs_f64());
        }
    }

    /// Answers a handshake on a route. Its doors differ in nothing but what they speak.
    async fn answer(self: Arc<Self>, route: &'static [&'static Door], parts: Parts, entry: Result<Entry, Failure>) -> Response {
        let metrics = &self.shared.metrics;
        let name = route.first().map_or("", |door| door.name);
        let asked = handshake::accept(&parts.method, parts.version, &parts.headers)
            .and_then(|upgrade| Ok((upgrade, extensions::negotiate(&parts.headers)?)));
        let (upgrade, compression) = match asked {
            Ok((upgrade, deflate)) => (upgrade, deflate.filter(|_| self.shared.config.sockets.compression)),
            Err(error) => {
                metrics.handshake(name, "invalid");
                let mut response = Failure::new(ErrorCode::InvalidFormat, error.to_string()).into_response();
                *response.status_mut() = error.status();
                response.headers_mut().extend(error.headers().iter().cloned());
                return response;
            }
        };
        if self.shared.draining() {
            metrics.handshake(name, "draining");
            return Failure::new(ErrorCode::Unavailable, "the server is going away; try again").into_response();
        }
        let Some((door, protocol)) = door::choose(route, &upgrade.protocols) else {
            metrics.handshake(name, "invalid");
            let known: Vec<_> =
                route.iter().filter_map(|door| door.subprotocol.required()).map(|name| format!("`{name}`")).collect();
            return Failure::new(ErrorCode::InvalidFormat, format!("offer the subprotocol {}", known.join(" or ")))
                .into_response();
        };
        let protocol = protocol.map(str::to_owned);
        let accept = handshake::accept_key(upgrade.key);
        let browser = parts.headers.contains_key(ORIGIN);
        let Some(Accepted { place, client, .. }) = parts.extensions.get().cloned() else {
            return Failure::new(ErrorCode::Internal, "this connection cannot be upgraded").into_response();
        };
        let ticket = match entry {
            Ok(entry) => match self.admit((door, compression), entry, client, place).await {
                Ok(ticket) => {
                    metrics.handshake(door.name, "accepted");
                    metrics.ws_connected.inc();
                    ticket
                }
                Err(failure) => return failure.into_response(),
            },
            Err(failure) => {
                let code = failure.error().code;
                metrics.handshake(door.name, if code == ErrorCode::Forbidden { "forbidden" } else { "unauthorized" });
                // A browser cannot see the status of a failed handshake: it is let in just to be told why it may not be here.
                // Without any credential there is nothing to tell.
                match close_for(code) {
                    Some(code) if browser => {
                        Ticket::Refused(Refused { door, code, reason: failure.error().message.clone(), place })
                    }
                    _ => return failure.into_response(),
                }
            }
        };
        // Nobody's bytes are inflated before it is known whose they are.
        let compression = compression.filter(|_| matches!(ticket, Ticket::Admitted(_)));
        let upgrading = hyper::upgrade::on(Request::from_parts(parts, Body::empty()));
        tokio::spawn(async move {
            match upgrading.await {
                Ok(upgraded) => self.hand_over(upgraded, ticket),
                Err(error) => tracing::debug!(%error, "a handshake was not finished"),
            }
        });
        switching_protocols(protocol.as_deref(), compression, &accept)
    }

    async fn admit(
        &self,
        (door, compression): (&'static Door, Option<Deflate>),
        entry: Entry,
        client: IpAddr,
        place: Place,
    ) -> Result<Ticket, Failure> {
        // Joined before the 101: what is published once the client knows that it is connected cannot be missed.
        let mut joining = Joining::new(&self.hub, &self.shared.metrics);
        let joined = join_own(&mut joining, entry.own).await?;
        let asked = match entry.asked {
            Some(asked) => Some(asked.join(&mut joining).await),
            None => None,
        };
        let identity = entry.identity;
        Ok(Ticket::Admitted(Box::new(Admission { door, compression, identity, client, joined, asked, place })))
    }

    fn hand_over(&self, upgraded: Upgraded, ticket: Ticket) {
        let unsent = self.shared.config.sockets.notsent_lowat_bytes;
        let prepared = |stream: TcpStream| stream.into_std().and_then(|stream| prepare_socket(&stream, unsent).map(|()| stream));
        let arrival = match upgraded.downcast::<TokioIo<TcpStream>>() {
            Ok(parts) => {
                let unread = parts.read_buf.to_vec();
                prepared(parts.io.into_inner()).map(|stream| Arrival::WebSocket(stream, unread))
            }
            Err(upgraded) => match upgraded.downcast::<TlsSocket>() {
                Ok(parts) => {
                    let (stream, session, later) = parts.io.into_parts();
                    let unread = [&parts.read_buf[..], &later].concat();
                    prepared(stream).map(|stream| Arrival::Tls(stream, session, unread))
                }
                Err(_) => return tracing::error!("an upgraded connection has an unknown transport"),
            },
        };
        match arrival {
            Ok(arrival) => {
                if self.mailbox().arrive(arrival, ticket).is_err() {
                    self.shared.metrics.accepts_refused.inc();
                }
            }
            Err(error) => tracing::debug!(%error, "a socket was gone before it was upgraded"),
        }
    }
}

fn switching_protocols(protocol: Option<&str>, compression: Option<Deflate>, accept: &str) -> Response {
    let mut headers = HeaderMap::new();
    let mut set = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    set(CONNECTION, "Upgrade");
    set(UPGRADE, "websocket");
    set(SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(protocol) = protocol {
        set(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    if let Some(deflate) = compression {
        headers.insert(SEC_WEBSOCKET_EXTENSIONS, deflate.answer());
    }
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

/// What a close frame says where an answer would say an error.
fn close_for(code: ErrorCode) -> Option<CloseCode> {
    match code {
        ErrorCode::InvalidToken | ErrorCode::TokenExpired => Some(CloseCode::Unauthorized),
        ErrorCode::Forbidden => Some(CloseCode::Forbidden),
        ErrorCode::Unavailable => Some(CloseCode::TryLater),
        _ => None,
    }
}
