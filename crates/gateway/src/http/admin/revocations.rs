//! `/api/v1/admin/revocations`: tokens and users that are to be let in no more, whatever their credentials say.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use serde_json::{Value, json};
use towline_auth::{Revocation, Revoked, SUBJECT_BYTES_MAX};
use towline_log::AppendError;
use towline_protocol::{ErrorCode, timestamp};

use super::{require_full, require_read};
use crate::http::failure::Failure;
use crate::http::params::Params;
use crate::http::publish::body;
use crate::shared::Shared;

const BODY_BYTES_MAX: usize = 8 << 10;
const REASON_BYTES_MAX: usize = 500;

/// What to revoke: one of the two, by name.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RevocationRequest {
    /// The `jti` of one token.
    #[serde(default)]
    pub token_id: Option<String>,
    /// A user: all credentials issued before `before`.
    #[serde(default)]
    pub user_id: Option<String>,
    /// With `user_id`: ISO 8601 or Unix seconds, not in the future; now if left out.
    #[serde(default)]
    pub before: Option<Value>,
    /// For the operators' eyes.
    #[serde(default)]
    pub reason: Option<String>,
}

/// A revocation.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
pub struct RevocationEntry {
    /// The token's `jti`…
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_id: Option<String>,
    /// …or the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// Credentials of the user issued before this are refused, Unix seconds.
    pub before: f64,
    /// When it was made, Unix seconds.
    pub at: f64,
    /// When it is forgotten, Unix seconds. Missing: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<f64>,
    /// What was noted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Revocations in force, newest first.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
pub struct RevocationList {
    /// One page of them.
    pub revocations: Vec<RevocationEntry>,
    /// How many there are.
    pub total: usize,
    /// There are older ones.
    pub has_more: bool,
}

pub(super) async fn revoke(State(shared): State<Arc<Shared>>, request: Request) -> Result<Json<RevocationEntry>, Failure> {
    let (parts, body) = request.into_parts();
    let admin = require_full(&shared, &parts)?;
    let rest = &shared.config.rest;
    let bytes_max = body::declared_bytes(&parts.headers, BODY_BYTES_MAX)?;
    let text = body::collect(body, bytes_max, rest.body_timeout, rest.request_timeout).await?;
    let wanted = serde_json::from_slice(&text)
        .map_err(|error| Failure::new(ErrorCode::InvalidFormat, format!("the body is no revocation: {error}")))?;
    let now_ms = shared.clock.unix_ms();
    let revocation = revocation_of(wanted, now_ms)?;
    let target = target_of(&revocation.of);
    let table = shared.auth.revocations();
    let entry = entry_of(&shared, &revocation);
    let result = match table.room_for(&revocation.of, now_ms) {
        Ok(()) => shared.journal.add(&*shared.log, table, revocation, now_ms).await.map_err(not_kept),
        Err(full) => {
            let what = "withdraw some, set auth.token_lifetime_max, or raise auth.revocations_max";
            Err(Failure::new(ErrorCode::Unavailable, format!("{full}: {what}")))
        }
    };
    shared.metrics.access.revocations(table.len());
    let outcome = result.as_ref().map(|()| json!({ "before": entry.before, "reason": entry.reason }));
    admin.record(&shared, "revocation.make", target, outcome.map_err(|failure| failure.error().code)).await;
    result.map(|()| Json(entry))
}

pub(super) async fn list(State(shared): State<Arc<Shared>>, parts: Parts) -> Result<Json<RevocationList>, Failure> {
    require_read(&shared, &parts)?;
    let params = Params::of(&parts.uri)?;
    let limit = params.number("limit", 100, 1..=1_000)?;
    let offset = params.number("offset", 0, 0..=usize::MAX)?;
    let wanted = subject(params.text("token_id")?, params.text("user_id")?);
    let mut all = shared.auth.revocations().list(shared.clock.unix_ms());
    if let Some(wanted) = wanted {
        all.retain(|revocation| revocation.of == wanted);
    }
    let page = all.iter().rev().skip(offset).take(limit);
    Ok(Json(RevocationList {
        revocations: page.map(|revocation| entry_of(&shared, revocation)).collect(),
        total: all.len(),
        has_more: all.len().saturating_sub(offset) > limit,
    }))
}

pub(super) async fn withdraw(State(shared): State<Arc<Shared>>, parts: Parts) -> Result<Json<Value>, Failure> {
    let admin = require_full(&shared, &parts)?;
    let params = Params::of(&parts.uri)?;
    let Some(of) = subject(params.text("token_id")?, params.text("user_id")?) else {
        return Err(Failure::new(ErrorCode::InvalidFormat, "name `token_id` or `user_id`, one of the two"));
    };
    let table = shared.auth.revocations();
    let result = match shared.journal.withdraw(&*shared.log, table, &of, shared.clock.unix_ms()).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::new(ErrorCode::NotFound, "there is no such revocation")),
        Err(error) => Err(not_kept(error)),
    };
    shared.metrics.access.revocations(table.len());
    let outcome = result.as_ref().map(|()| json!({})).map_err(|failure| failure.error().code);
    admin.record(&shared, "revocation.withdraw", target_of(&of), outcome).await;
    result.map(|()| Json(json!({ "withdrawn": true })))
}

fn revocation_of(wanted: RevocationRequest, now_ms: u64) -> Result<Revocation, Failure> {
    let RevocationRequest { token_id, user_id, before, reason } = wanted;
    let Some(of) = subject(token_id.as_deref(), user_id.as_deref()) else {
        let message = format!("name `token_id` or `user_id`, one of the two, in 1 to {SUBJECT_BYTES_MAX} bytes");
        return Err(Failure::new(ErrorCode::InvalidFormat, message));
    };
    if reason.as_ref().is_some_and(|reason| reason.len() > REASON_BYTES_MAX) {
        return Err(Failure::parameter("reason", ErrorCode::InvalidFormat, format!("has at most {REASON_BYTES_MAX} bytes")));
    }
    let before_ms = match before {
        None | Some(Value::Null) => now_ms,
        Some(_) if matches!(of, Revoked::Token(_)) => {
            return Err(Failure::parameter(
                "before",
                ErrorCode::InvalidFormat,
                "is for `user_id`; a token is revoked altogether",
            ));
        }
        Some(Value::String(text)) => moment(&text)?,
        Some(other) => moment(&other.to_string())?,
    };
    if before_ms > now_ms {
        return Err(Failure::parameter("before", ErrorCode::InvalidFormat, "lies in the future"));
    }
    Ok(Revocation { of, before_ms, at_ms: now_ms, reason: reason.filter(|reason| !reason.is_empty()).map(Into::into) })
}

fn moment(text: &str) -> Result<u64, Failure> {
    timestamp::parse_ms(text).map_err(|why| Failure::parameter("before", ErrorCode::InvalidFormat, why))
}

/// One of the two, and not both.
fn subject(token_id: Option<&str>, user_id: Option<&str>) -> Option<Revoked> {
    let of = match (token_id, user_id) {
        (Some(id), None) => Revoked::Token(id.into()),
        (None, Some(user)) => Revoked::User(user.into()),
        _ => return None,
    };
    let (Revoked::Token(name) | Revoked::User(name)) = &of;
    (1..=SUBJECT_BYTES_MAX).contains(&name.len()).then_some(of)
}

fn target_of(of: &Revoked) -> Value {
    match of {
        Revoked::Token(id) => json!({ "token_id": id }),
        Revoked::User(user) => json!({ "user_id": user }),
    }
}

fn entry_of(shared: &Shared, revocation: &Revocation) -> RevocationEntry {
    let seconds = |ms: u64| ms as f64 / 1000.0;
    let (token_id, user_id) = match &revocation.of {
        Revoked::Token(id) => (Some(id.to_string()), None),
        Revoked::User(user) => (None, Some(user.to_string())),
    };
    RevocationEntry {
        token_id,
        user_id,
        before: seconds(revocation.before_ms),
        at: seconds(revocation.at_ms),
        ends_at: shared.auth.revocations().ends_at_ms(revocation).map(seconds),
        reason: revocation.reason.as_deref().map(str::to_owned),
    }
}

fn not_kept(error: AppendError) -> Failure {
    tracing::error!(%error, "a revocation could not be stored");
    Failure::new(ErrorCode::StorageFailed, "the log did not take it, so it is not in force; try again")
}
