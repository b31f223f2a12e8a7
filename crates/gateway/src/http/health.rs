//! For orchestrators and operators: alive, ready, metrics. Open to all who reach the port, and tells nothing about users.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use towline_auth::Delegation;

use crate::shared::Shared;

/// The answer of `/livez` and `/readyz`.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
pub struct Health {
    /// `ok`, or `unavailable`.
    pub status: &'static str,
    /// Why it is not ready, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Always yes: who can answer at all is alive. A log that refuses appends is no reason to be killed, since a restart frees no disk.
pub(super) async fn livez() -> Json<Health> {
    Json(Health { status: "ok", reason: None })
}

pub(super) async fn readyz(State(shared): State<Arc<Shared>>) -> (StatusCode, Json<Health>) {
    match shared.not_ready() {
        None => (StatusCode::OK, Json(Health { status: "ok", reason: None })),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, Json(Health { status: "unavailable", reason: Some(reason) })),
    }
}

pub(super) async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let ready = matches!(shared.log.health(), towline_log::Health::Ready);
    shared.metrics.log_ready.set(i64::from(ready));
    shared.metrics.set_runs(&shared.runs.counts());
    let asked = shared.delegation.as_ref().map(Delegation::stats).unwrap_or_default();
    let text = shared.metrics.scrape(&shared.log.stats(), &shared.auth.key_stats(), &asked);
    ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response()
}
