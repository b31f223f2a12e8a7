//! Control events by long poll, for agents that hold no socket.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::request::Parts;
use serde_json::value::RawValue;
use towline_log::{Direction, Start};
use towline_protocol::{Dialect, ErrorCode, GapNotice, TopicName, cursor};
use towline_runs::RunState;

use super::right::Asker;
use crate::http::credential::identify;
use crate::http::failure::Failure;
use crate::http::feed::{encode, gap, read};
use crate::http::params::Params;
use crate::shared::Shared;

/// The longest wait for an event: proxies give up idle requests after a minute.
const WAIT_MAX_S: usize = 55;

/// What a run was told.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
pub struct ControlPage {
    /// Where the run stands.
    pub state: RunState,
    /// Its control events as envelope v1, oldest first: `run.stopped`, `run.resumed`, `run.lost`.
    #[schemars(with = "Vec<crate::api::Envelope>")]
    pub events: Vec<Box<RawValue>>,
    /// Pass it back as `after` to go on.
    pub cursor: String,
    /// What was asked for and is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap: Option<GapNotice>,
}

/// Answers with what is there after `after`, at once; if there is nothing, waits for it.
pub(super) async fn wait(
    State(shared): State<Arc<Shared>>,
    Path(run_id): Path<String>,
    parts: Parts,
) -> Result<Json<ControlPage>, Failure> {
    let params = Params::of(&parts.uri)?;
    let identity = identify(&shared, &parts, params.text("user_id")?).await?;
    Asker::new(&shared, &identity).known(&run_id)?;
    let start = params.cursor("after")?.map_or(Start::Earliest, Start::At);
    let wait = Duration::from_secs(params.number("wait_s", 30, 0..=WAIT_MAX_S)? as u64);
    let limit = params.number("limit", 100, 1..=1_000)?;
    let topic = TopicName::new(&format!("control:{run_id}"))
        .map_err(|why| Failure::parameter("run_id", ErrorCode::InvalidFormat, why))?;
    let Ok(_place) = shared.runs.waiters().try_acquire_owned() else {
        return Err(Failure::new(ErrorCode::RateLimited, "too many requests wait for control events; try again soon"));
    };
    let mut told = shared.runs.told();
    let late = tokio::time::sleep(wait);
    let leaving = shared.drain_begun();
    tokio::pin!(late, leaving);
    let mut over = wait.is_zero();
    loop {
        // What is appended from now on is heard of, so that nothing falls between this read and the wait.
        told.mark_unchanged();
        let page = read(&shared, &topic, start.clone(), Direction::Forward, limit).await?;
        if over || !page.records.is_empty() || page.gap.is_some() {
            let state = shared.runs.read(|registry, now| registry.view(&run_id, now).map(|run| run.state));
            return Ok(Json(ControlPage {
                state: state.unwrap_or(RunState::Ended),
                events: encode(&page, &topic, Dialect::Native)?,
                cursor: cursor::encode(page.to_position()),
                gap: gap(&page),
            }));
        }
        tokio::select! {
            changed = told.changed() => over = changed.is_err(),
            () = &mut late => over = true,
            () = &mut leaving => over = true,
        }
    }
}
