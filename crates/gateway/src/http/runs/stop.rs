//! Stopping a run or a thread for good.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Request, State};
use towline_protocol::ErrorCode;
use towline_protocol::event::ATTRIBUTE_BYTES_MAX;
use towline_runs::{RunView, Scope};

use super::right::{Asker, named};
use super::{NOTICES_SHOWN_MAX, asked, durable};
use crate::http::failure::Failure;
use crate::runs::Placed;
use crate::shared::Shared;

/// Why something is stopped.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
pub struct StopRequest {
    /// Shown to whoever watches, and to the run's publisher; at most 512 bytes.
    #[serde(default)]
    pub reason: Option<String>,
}

impl StopRequest {
    pub(super) fn reason(&self) -> Result<Option<&str>, Failure> {
        match self.reason.as_deref().filter(|reason| !reason.is_empty()) {
            Some(reason) if reason.len() > ATTRIBUTE_BYTES_MAX => {
                let why = format!("has {} bytes; at most {ATTRIBUTE_BYTES_MAX} are allowed", reason.len());
                Err(Failure::parameter("reason", ErrorCode::InvalidFormat, why))
            }
            reason => Ok(reason),
        }
    }
}

/// The answer to the stop of a run.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
pub struct RunStopAnswer {
    /// The run as it stands now.
    pub run: RunView,
    /// Whether this request stopped it; it may have been stopped or over before.
    pub stopped: bool,
    /// Where the stop stands on each topic: from there on nothing of the run is taken but its acknowledgement and its terminal event.
    pub notices: Vec<Placed>,
}

/// The answer to the stop of a thread.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
pub struct ThreadStopAnswer {
    /// The runs that were stopped by this request.
    pub stopped: Vec<Box<str>>,
    /// Where the stops stand, at most 1,000.
    pub notices: Vec<Placed>,
}

pub(super) async fn run(
    State(shared): State<Arc<Shared>>,
    Path(run_id): Path<String>,
    request: Request,
) -> Result<Json<RunStopAnswer>, Failure> {
    let (identity, _, wanted) = asked::<StopRequest>(&shared, request).await?;
    let asker = Asker::new(&shared, &identity);
    asker.known(&run_id)?;
    let scope = Scope::Run(run_id.as_str().into());
    let stopping = shared.runs.stop(&scope, None, &asker.speaker.actor, wanted.reason()?);
    let done = durable(&shared, stopping).await?;
    let stopped = !done.runs.is_empty();
    shared.metrics.stopped("run", done.runs.len());
    let run = shared.runs.read(|registry, now| registry.view(&run_id, now));
    let run = run.ok_or_else(|| Failure::new(ErrorCode::NotFound, "the run was forgotten just now"))?;
    Ok(Json(RunStopAnswer { run, stopped, notices: done.notices }))
}

pub(super) async fn thread(
    State(shared): State<Arc<Shared>>,
    Path(thread_id): Path<String>,
    request: Request,
) -> Result<Json<ThreadStopAnswer>, Failure> {
    let (identity, _, wanted) = asked::<StopRequest>(&shared, request).await?;
    let asker = Asker::new(&shared, &identity);
    let scope = Scope::Thread(named("thread", &thread_id)?);
    // Whoever has no right to the thread as a whole stops their own runs in it.
    let only_user = if asker.speaker.trusted || asker.granted(&scope) { None } else { asker.user() };
    let stopping = shared.runs.stop(&scope, only_user, &asker.speaker.actor, wanted.reason()?);
    let mut done = durable(&shared, stopping).await?;
    shared.metrics.stopped("thread", done.runs.len());
    done.notices.truncate(NOTICES_SHOWN_MAX);
    Ok(Json(ThreadStopAnswer { stopped: done.runs, notices: done.notices }))
}
