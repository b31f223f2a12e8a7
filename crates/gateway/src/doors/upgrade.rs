//! The WebSocket doors' handshakes: who is it, may they be here, and then over to the reactor.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{CONNECTION, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use towline_auth::Identity;
use towline_protocol::{CloseCode, ErrorCode, StartRequest, TopicName};
use towline_sockets::websocket::handshake;
use towline_sockets::{Arrival, prepare_socket};

use super::Doors;
use super::door::{self, Door, FEEDS, NATIVES};
use super::ticket::{Admission, Refused, Ticket};
use crate::http::Failure;
use crate::http::credential::identify;
use crate::http::params::Params;
use crate::server::{Accepted, Place};

pub(super) async fn native(State(doors): State<Arc<Doors>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let admitted = match Params::of(&parts.uri).and_then(|params| Ok(params.text("user_id")?.map(str::to_owned))) {
        Ok(user_id) => identify(&doors.shared, &parts, user_id.as_deref()).await.map(|identity| (identity, None)),
        Err(failure) => Err(failure),
    };
    doors.shake_hands(&NATIVES, parts, admitted).await
}

pub(super) async fn feed(State(doors): State<Arc<Doors>>, Path(user_id): Path<String>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let admitted = identify(&doors.shared, &parts, Some(&user_id)).await.and_then(|identity| {
        // The stream belongs to the person in the address: nobody else's token opens it.
        if *identity.subject != *user_id {
            return Err(Failure::new(ErrorCode::Forbidden, "this feed belongs to another user"));
        }
        let topic = TopicName::of_user(&user_id).map_err(|error| Failure::new(ErrorCode::InvalidTopic, error.to_string()))?;
        let start = super::start::of_query(&Params::of(&parts.uri)?)?;
        Ok((identity, Some((topic, start.unwrap_or_default()))))
    });
    doors.shake_hands(&FEEDS, parts, admitted).await
}

type Admitted = Result<(Arc<Identity>, Option<(TopicName, StartRequest)>), Failure>;

impl Doors {
    async fn shake_hands(self: Arc<Self>, route: &'static [&'static Door], parts: Parts, admitted: Admitted) -> Response {
        let since = parts.extensions.get().map(|accepted: &Accepted| accepted.since);
        let response = Arc::clone(&self).answer(route, parts, admitted).await;
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
    async fn answer(self: Arc<Self>, route: &'static [&'static Door], parts: Parts, admitted: Admitted) -> Response {
        let metrics = &self.shared.metrics;
        let name = route.first().map_or("", |door| door.name);
        let upgrade = match handshake::accept(&parts.method, parts.version, &parts.headers) {
            Ok(upgrade) => upgrade,
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
        let Some(door) = door::choose(route, &upgrade.protocols) else {
            metrics.handshake(name, "invalid");
            let known: Vec<_> = route.iter().filter_map(|door| door.subprotocol).map(|name| format!("`{name}`")).collect();
            return Failure::new(ErrorCode::InvalidFormat, format!("offer the subprotocol {}", known.join(" or ")))
                .into_response();
        };
        let accept = handshake::accept_key(upgrade.key);
        let browser = parts.headers.contains_key(ORIGIN);
        let Some(Accepted { place, client, .. }) = parts.extensions.get().cloned() else {
            return Failure::new(ErrorCode::Internal, "this connection cannot be upgraded").into_response();
        };
        let ticket = match admitted {
            Ok((identity, topic)) => match self.admit(door, identity, topic, client, place).await {
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
        let upgrading = hyper::upgrade::on(Request::from_parts(parts, Body::empty()));
        tokio::spawn(async move {
            match upgrading.await {
                Ok(upgraded) => self.hand_over(upgraded, ticket),
                Err(error) => tracing::debug!(%error, "a handshake was not finished"),
            }
        });
        switching_protocols(door, &accept)
    }

    async fn admit(
        &self,
        door: &'static Door,
        identity: Arc<Identity>,
        topic: Option<(TopicName, StartRequest)>,
        client: IpAddr,
        place: Place,
    ) -> Result<Ticket, Failure> {
        let mut joined = Vec::new();
        // Joined before the 101: what is published once the client knows that it is connected cannot be missed.
        if let Some((name, start)) = topic {
            let cursor = self.hub.join(&name, &start).await.map_err(|error| Failure::from(super::gate::read_failed(&error)))?;
            joined.push(cursor);
        }
        Ok(Ticket::Admitted(Box::new(Admission { door, identity, client, joined, place })))
    }

    fn hand_over(&self, upgraded: Upgraded, ticket: Ticket) {
        let parts = match upgraded.downcast::<TokioIo<TcpStream>>() {
            Ok(parts) => parts,
            Err(_) => return tracing::error!("an upgraded connection has an unknown transport"),
        };
        let unsent = self.shared.config.sockets.notsent_lowat_bytes;
        let stream = parts.io.into_inner().into_std().and_then(|stream| prepare_socket(&stream, unsent).map(|()| stream));
        match stream {
            Ok(stream) => {
                if self.mailbox().arrive(Arrival::WebSocket(stream, parts.read_buf.to_vec()), ticket).is_err() {
                    self.shared.metrics.accepts_refused.inc();
                }
            }
            Err(error) => tracing::debug!(%error, "a socket was gone before it was upgraded"),
        }
    }
}

fn switching_protocols(door: &Door, accept: &str) -> Response {
    let mut headers = HeaderMap::new();
    let mut set = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    set(CONNECTION, "Upgrade");
    set(UPGRADE, "websocket");
    set(SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(protocol) = door.subprotocol {
        set(SEC_WEBSOCKET_PROTOCOL, protocol);
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
