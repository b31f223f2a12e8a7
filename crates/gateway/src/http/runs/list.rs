//! Looking at runs, and keeping them alive.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::request::Parts;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use towline_protocol::ErrorCode;
use towline_runs::{Filter, RunState, RunView, Scope};

use super::right::Asker;
use crate::http::credential::identify;
use crate::http::failure::Failure;
use crate::http::params::Params;
use crate::shared::Shared;

/// Some runs, the newest first.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
pub struct RunsPage {
    /// The runs.
    pub runs: Vec<RunView>,
    /// Pass it back as `cursor` to go on; missing at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// The answer to a heartbeat.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
pub struct HeartbeatAnswer {
    /// The run.
    pub run_id: String,
    /// Where it stands. An agent that reads `stopped`, `ended` or `lost` stops its work.
    pub state: RunState,
}

pub(super) async fn list(State(shared): State<Arc<Shared>>, parts: Parts) -> Result<Json<RunsPage>, Failure> {
    let params = Params::of(&parts.uri)?;
    let user_id = params.text("user_id")?;
    let identity = identify(&shared, &parts, user_id).await?;
    let asker = Asker::new(&shared, &identity);
    let user_id = match user_id.or(asker.user().filter(|_| !asker.speaker.trusted)) {
        Some(id) => {
            asker.may_control(&Scope::User(id.into()))?;
            Some(id.to_owned())
        }
        None => None,
    };
    let state = match params.text("state")? {
        None => None,
        Some(text) => Some(RunState::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| {
            let known = RunState::ALL.map(RunState::as_str).join(", ");
            Failure::parameter("state", ErrorCode::InvalidFormat, format!("must be one of {known}"))
        })?),
    };
    let limit = params.number("limit", 50, 1..=200)?;
    let after = match params.text("cursor")? {
        None => None,
        Some(cursor) => Some(read_cursor(cursor).ok_or_else(|| {
            Failure::parameter("cursor", ErrorCode::InvalidPosition, "is not the `cursor` of an earlier answer")
        })?),
    };
    let filter = Filter { user_id, thread_id: params.text("thread_id")?.map(str::to_owned), state, after };
    let (runs, next) = shared.runs.read(|registry, now| registry.list(&filter, limit, now));
    Ok(Json(RunsPage { runs, cursor: next.map(|(at, id)| URL_SAFE_NO_PAD.encode(format!("{at} {id}"))) }))
}

fn read_cursor(cursor: &str) -> Option<(u64, String)> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let (at, id) = text.split_once(' ')?;
    Some((at.parse().ok()?, id.to_owned()))
}

pub(super) async fn one(
    State(shared): State<Arc<Shared>>,
    Path(run_id): Path<String>,
    parts: Parts,
) -> Result<Json<RunView>, Failure> {
    let identity = identify(&shared, &parts, Params::of(&parts.uri)?.text("user_id")?).await?;
    Asker::new(&shared, &identity).known(&run_id)?;
    let view = shared.runs.read(|registry, now| registry.view(&run_id, now));
    view.map(Json).ok_or_else(|| Failure::new(ErrorCode::NotFound, "the run was forgotten just now"))
}

pub(super) async fn heartbeat(
    State(shared): State<Arc<Shared>>,
    Path(run_id): Path<String>,
    parts: Parts,
) -> Result<Json<HeartbeatAnswer>, Failure> {
    let identity = identify(&shared, &parts, Params::of(&parts.uri)?.text("user_id")?).await?;
    Asker::new(&shared, &identity).known(&run_id)?;
    let state = shared.runs.heartbeat(&run_id);
    let state = state.ok_or_else(|| Failure::new(ErrorCode::NotFound, "the run was forgotten just now"))?;
    Ok(Json(HeartbeatAnswer { run_id, state }))
}
