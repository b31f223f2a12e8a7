//! The REST interface: publishing, reading back, health, metrics, documents and the page. Doors with sockets are merged in by
//! `router_with`, so that logging, metrics and headers are the same for all.
//!
//! It keeps nothing: every answer comes from the log and the configuration.

pub(crate) mod admin;
pub mod credential;
mod cross_origin;
mod discovery;
mod failure;
mod feed;
mod health;
mod identity_headers;
mod messages;
pub mod observe;
mod page;
pub(crate) mod params;
mod publish;
mod replay;
mod runs;
mod tickets;
mod webhook;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::routing::{get, post};

pub use admin::{
    AuditPage, ClosedPage, ConnectionDetail, ConnectionsPage, DisconnectRequest, Disconnected, Draining, SlowestPage,
    TopicDetail, TopicView, TopicsPage,
};
pub use admin::{RevocationEntry, RevocationList, RevocationRequest};
pub use discovery::Discovery;
pub use failure::{ErrorAnswer, Failure};
pub use feed::{ActivityPage, EventsPage};
pub use health::Health;
pub use identity_headers::HeaderStyle;
pub use messages::MessageAnswer;
pub use publish::PublishAnswer;
pub use replay::ReplayPage;
pub use runs::{BrakeAnswer, ControlPage, HeartbeatAnswer, RunRequest, RunStopAnswer, RunsPage, StopRequest, ThreadStopAnswer};
pub use tickets::{TicketAnswer, TicketRequest};
pub use webhook::{DeadLetterView, DeadLettersPage, RedriveRequest, Resumed};

use crate::shared::Shared;

/// REST alone.
pub fn router(shared: Arc<Shared>) -> Router {
    router_with(shared, Router::new())
}

/// REST and the routes of `doors`, all logged, counted and with the same headers.
pub fn router_with(shared: Arc<Shared>, doors: Router<Arc<Shared>>) -> Router {
    Router::new()
        .route("/api/v1/events", post(publish::publish))
        .route("/api/v1/tickets", post(tickets::issue))
        .route("/api/v1/messages", post(messages::send))
        .route("/ws/config", get(discovery::config))
        .route("/api/v1/agents/events", get(feed::events))
        .route("/api/v1/agents/activity", get(feed::activity))
        .route("/api/ws/replay", get(replay::replay))
        .route("/api/v1/webhook/dead-letters", get(webhook::dead_letters))
        .route("/api/v1/webhook/redrive", post(webhook::redrive))
        .route("/api/v1/webhook/resume", post(webhook::resume))
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .route("/openapi.json", get(page::openapi))
        .route("/asyncapi.json", get(page::asyncapi))
        .route("/", get(page::index))
        .route("/assets/{name}", get(page::asset))
        .merge(runs::routes())
        .merge(admin::routes())
        .merge(doors)
        .fallback(failure::no_route)
        .method_not_allowed_fallback(failure::no_such_method)
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), cross_origin::guard))
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), observe::observe))
        .with_state(shared)
}
