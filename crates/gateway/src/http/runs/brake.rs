//! The emergency brake of a user or an organisation.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use towline_auth::{AuthMode, Identity};
use towline_protocol::ErrorCode;
use towline_runs::{BrakeView, Scope};

use super::right::{Asker, named};
use super::stop::StopRequest;
use super::{NOTICES_SHOWN_MAX, asked, durable};
use crate::http::credential::identify;
use crate::http::failure::Failure;
use crate::http::params::Params;
use crate::runs::Placed;
use crate::shared::Shared;

/// A brake as it stands now, and where this request was told.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
pub struct BrakeAnswer {
    /// The brake.
    #[serde(flatten)]
    pub brake: BrakeView,
    /// Where the notices of this request stand, at most 1,000; empty if it changed nothing.
    pub notices: Vec<Placed>,
}

type Answer = Result<Json<BrakeAnswer>, Failure>;
type Status = Result<Json<BrakeView>, Failure>;

pub(super) async fn own_brake(State(shared): State<Arc<Shared>>, request: Request) -> Answer {
    let (identity, parts, wanted) = asked(&shared, request).await?;
    let scope = own(&shared, &identity, &parts)?;
    brake(&shared, &identity, &scope, &wanted).await
}

pub(super) async fn own_resume(State(shared): State<Arc<Shared>>, request: Request) -> Answer {
    let (identity, parts, _) = asked::<StopRequest>(&shared, request).await?;
    let scope = own(&shared, &identity, &parts)?;
    resume(&shared, &identity, &scope).await
}

pub(super) async fn own_status(State(shared): State<Arc<Shared>>, parts: Parts) -> Status {
    let identity = identify(&shared, &parts, Params::of(&parts.uri)?.text("user_id")?).await?;
    let scope = own(&shared, &identity, &parts)?;
    status(&shared, &identity, &scope)
}

pub(super) async fn user_brake(State(shared): State<Arc<Shared>>, Path(id): Path<String>, request: Request) -> Answer {
    let (identity, _, wanted) = asked(&shared, request).await?;
    brake(&shared, &identity, &Scope::User(named("user", &id)?), &wanted).await
}

pub(super) async fn user_resume(State(shared): State<Arc<Shared>>, Path(id): Path<String>, request: Request) -> Answer {
    let (identity, _, _) = asked::<StopRequest>(&shared, request).await?;
    resume(&shared, &identity, &Scope::User(named("user", &id)?)).await
}

pub(super) async fn user_status(State(shared): State<Arc<Shared>>, Path(id): Path<String>, parts: Parts) -> Status {
    let identity = identify(&shared, &parts, Params::of(&parts.uri)?.text("user_id")?).await?;
    status(&shared, &identity, &Scope::User(named("user", &id)?))
}

pub(super) async fn org_brake(State(shared): State<Arc<Shared>>, Path(id): Path<String>, request: Request) -> Answer {
    let (identity, _, wanted) = asked(&shared, request).await?;
    brake(&shared, &identity, &Scope::Org(named("org", &id)?), &wanted).await
}

pub(super) async fn org_resume(State(shared): State<Arc<Shared>>, Path(id): Path<String>, request: Request) -> Answer {
    let (identity, _, _) = asked::<StopRequest>(&shared, request).await?;
    resume(&shared, &identity, &Scope::Org(named("org", &id)?)).await
}

pub(super) async fn org_status(State(shared): State<Arc<Shared>>, Path(id): Path<String>, parts: Parts) -> Status {
    let identity = identify(&shared, &parts, Params::of(&parts.uri)?.text("user_id")?).await?;
    status(&shared, &identity, &Scope::Org(named("org", &id)?))
}

/// The user that somebody means who names none in the path: themself, or `user_id` of the query.
fn own(shared: &Shared, identity: &Identity, parts: &Parts) -> Result<Scope, Failure> {
    let params = Params::of(&parts.uri)?;
    let named_user = params.text("user_id")?.map(|id| named("user", id)).transpose()?;
    let own = Asker::new(shared, identity).user().map(Box::from).filter(|_| shared.auth.mode() == AuthMode::Enforced);
    named_user.or(own).map(Scope::User).ok_or_else(|| {
        Failure::parameter(
            "user_id",
            ErrorCode::InvalidFormat,
            "say which user is meant: a service key and development mode have no user of their own",
        )
    })
}

async fn brake(shared: &Shared, identity: &Identity, scope: &Scope, wanted: &StopRequest) -> Answer {
    let asker = Asker::new(shared, identity);
    asker.may_control(scope)?;
    let braking = shared.runs.brake(scope, &asker.speaker.actor, wanted.reason()?)?;
    let notices = durable(shared, braking).await?;
    let stopped = notices.iter().filter(|notice| notice.kind == "run.stopped" && notice.topic == "control:*").count();
    shared.metrics.stopped(scope.kind(), stopped);
    Ok(answer(shared, scope, notices))
}

async fn resume(shared: &Shared, identity: &Identity, scope: &Scope) -> Answer {
    let asker = Asker::new(shared, identity);
    asker.may_control(scope)?;
    let resuming = shared.runs.resume(scope, &asker.speaker.actor);
    let notices = super::within(shared, resuming).await?.map_err(|error| {
        tracing::warn!(%error, "a brake could not be released");
        Failure::new(ErrorCode::StorageFailed, "the log took nothing, so the brake is still engaged; try again")
    })?;
    Ok(answer(shared, scope, notices))
}

fn status(shared: &Shared, identity: &Identity, scope: &Scope) -> Status {
    Asker::new(shared, identity).may_control(scope)?;
    Ok(Json(shared.runs.read(|registry, _| registry.brake_view(scope))))
}

fn answer(shared: &Shared, scope: &Scope, mut notices: Vec<Placed>) -> Json<BrakeAnswer> {
    notices.truncate(NOTICES_SHOWN_MAX);
    Json(BrakeAnswer { brake: shared.runs.read(|registry, _| registry.brake_view(scope)), notices })
}
