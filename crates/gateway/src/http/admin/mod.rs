//! The operators' interface, `/api/v1/admin/…`: its own keys, which open nothing else, and which nothing else replaces.
//!
//! Without a key configured it is not there (404). A handler begins with [`require_read`] or [`require_full`]; whatever changes something ends with [`Admin::record`].

mod audit;
mod authorise;
mod connections;
mod disconnect;
mod publish;
mod revocations;
mod tail;
mod topics;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

pub use audit::AuditPage;
pub(crate) use authorise::{Admin, require_full, require_read, shows_key};
pub use connections::{ClosedPage, ConnectionDetail, ConnectionsPage, SlowestPage};
pub use disconnect::{DisconnectRequest, Disconnected, Draining};
pub use revocations::{RevocationEntry, RevocationList, RevocationRequest};
pub use topics::{TopicDetail, TopicView, TopicsPage};

use crate::doors::Doors;
use crate::shared::Shared;

/// The routes that need no more than the shared parts.
pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/api/v1/admin/audit", get(audit::audit))
        .route("/api/v1/admin/events", post(publish::publish))
        .route("/api/v1/admin/revocations", get(revocations::list).post(revocations::revoke).delete(revocations::withdraw))
}

/// The routes that look at open connections, or end them.
pub(crate) fn routes_with_doors() -> Router<Arc<Doors>> {
    Router::new()
        .route("/api/v1/admin/connections", get(connections::list))
        .route("/api/v1/admin/connections/slowest", get(connections::slowest))
        .route("/api/v1/admin/connections/closed", get(connections::closed))
        .route("/api/v1/admin/connections/{id}", get(connections::one))
        .route("/api/v1/admin/connections/{id}/disconnect", post(disconnect::connection))
        .route("/api/v1/admin/users/{id}/disconnect", post(disconnect::user))
        .route("/api/v1/admin/topics", get(topics::list))
        .route("/api/v1/admin/topics/{topic}", get(topics::one))
        .route("/api/v1/admin/tail", get(tail::tail))
        .route("/api/v1/admin/drain", post(disconnect::drain))
}
