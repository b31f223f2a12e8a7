//! The operators' interface, `/api/v1/admin/…`: its own keys, which open nothing else, and which nothing else replaces.
//!
//! Without a key configured it is not there (404). A handler begins with [`require_read`] or [`require_full`]; whatever changes something ends with [`Admin::record`].

mod audit;
mod authorise;
mod publish;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

pub use audit::AuditPage;
pub(crate) use authorise::{Admin, require_full, require_read};

use crate::shared::Shared;

/// The routes that need no more than the shared parts.
pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/api/v1/admin/audit", get(audit::audit)).route("/api/v1/admin/events", post(publish::publish))
}
