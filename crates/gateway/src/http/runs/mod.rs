//! Runs and brakes over REST: begin, list, inspect, keep alive, stop; brake, resume, status; control events by long poll.
//!
//! What a run may still do is decided in `crate::runs`; here are only who may ask, bodies and answers.

mod begin;
mod brake;
mod control;
mod list;
mod right;
mod stop;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::routing::{get, post};
use serde::de::DeserializeOwned;
use towline_auth::Identity;
use towline_log::AppendError;
use towline_protocol::ErrorCode;

use super::credential::identify;
use super::failure::Failure;
use super::feed::within;
use super::params::Params;
use super::publish::body;
use crate::shared::Shared;

pub use begin::RunRequest;
pub use brake::BrakeAnswer;
pub use control::ControlPage;
pub use list::{HeartbeatAnswer, RunsPage};
pub use stop::{RunStopAnswer, StopRequest, ThreadStopAnswer};

/// These bodies hold a few names and a reason.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// Positions that one answer lists; the notices are on the topics anyway.
const NOTICES_SHOWN_MAX: usize = 1_000;

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/api/v1/runs", post(begin::begin).get(list::list))
        .route("/api/v1/runs/{run_id}", get(list::one))
        .route("/api/v1/runs/{run_id}/heartbeat", post(list::heartbeat))
        .route("/api/v1/runs/{run_id}/stop", post(stop::run))
        .route("/api/v1/runs/{run_id}/control", get(control::wait))
        .route("/api/v1/threads/{thread_id}/stop", post(stop::thread))
        .route("/api/v1/agents/brake", post(brake::own_brake))
        .route("/api/v1/agents/resume", post(brake::own_resume))
        .route("/api/v1/agents/brake/status", get(brake::own_status))
        .route("/api/v1/users/{id}/brake", post(brake::user_brake))
        .route("/api/v1/users/{id}/resume", post(brake::user_resume))
        .route("/api/v1/users/{id}/brake/status", get(brake::user_status))
        .route("/api/v1/organizations/{id}/brake", post(brake::org_brake))
        .route("/api/v1/organizations/{id}/resume", post(brake::org_resume))
        .route("/api/v1/organizations/{id}/brake/status", get(brake::org_status))
}

/// Who asks, and the body they sent: an empty one is as good as `{}`.
async fn asked<T: DeserializeOwned>(shared: &Shared, request: Request) -> Result<(Arc<Identity>, Parts, T), Failure> {
    let (parts, body) = request.into_parts();
    // Who it is comes before the first byte of the body is read.
    let params = Params::of(&parts.uri)?;
    let identity = identify(shared, &parts, params.text("user_id")?).await?;
    let body = read_body(shared, &parts, body).await?;
    Ok((identity, parts, body))
}

async fn read_body<T: DeserializeOwned>(shared: &Shared, parts: &Parts, body: Body) -> Result<T, Failure> {
    let rest = &shared.config.rest;
    let bytes_max = body::declared_bytes(&parts.headers, BODY_BYTES_MAX)?;
    let text = body::collect(body, bytes_max, rest.body_timeout, rest.request_timeout).await?;
    let text = if text.trim_ascii().is_empty() { b"{}" } else { &text[..] };
    serde_json::from_slice(text).map_err(|error| {
        let code = if error.is_data() { ErrorCode::InvalidFormat } else { ErrorCode::JsonParse };
        Failure::new(code, format!("the body: {error}"))
    })
}

/// Waits until what was ordered is durable. It is in force already.
async fn durable<T>(shared: &Shared, done: impl Future<Output = Result<T, AppendError>>) -> Result<T, Failure> {
    let late = "it is in force, but the log did not say in time that it is durable";
    let done = within(shared, done).await.map_err(|_| Failure::new(ErrorCode::Unavailable, late))?;
    done.map_err(|error| match error {
        AppendError::Full => {
            Failure::new(ErrorCode::StorageFull, "it is in force, but not durable: the server's disk is full; it is tried again")
        }
        AppendError::Busy | AppendError::Closed => Failure::new(
            ErrorCode::Unavailable,
            "it is in force, but not durable yet: the log takes nothing now; it is tried again",
        ),
        AppendError::Invalid(_) | AppendError::Failed(_) => {
            tracing::error!(%error, "what happened to a run could not be written");
            Failure::new(ErrorCode::StorageFailed, "it is in force, but not durable: the server's storage failed")
        }
    })
}
