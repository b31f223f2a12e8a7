//! `POST /api/v1/events`: one event, a JSON array, or NDJSON, for services and users with a publish grant.
//!
//! What is stored and why something is not is decided in `crate::publish`; here are only bodies and answers.

pub(super) mod body;
pub(super) mod items;
mod lines;
mod ndjson;

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use towline_auth::Identity;
use towline_protocol::{ErrorBody, ErrorCode, PublishResult};

use super::credential::identify;
use super::failure::{Failure, retry_after};
use super::feed::within;
use super::params::Params;
use crate::publish::{Tally, prepare};
use crate::shared::Shared;

/// What became of the events of one request.
#[derive(Debug, Default, serde::Serialize, schemars::JsonSchema)]
pub struct PublishAnswer {
    /// One per event, in the order given.
    pub results: Vec<PublishResult>,
    /// Events stored.
    pub stored: u64,
    /// Events whose id was known; nothing was stored again.
    pub duplicates: u64,
    /// Events not stored.
    pub refused: u64,
    /// `results` has only the first ones of a long NDJSON body; ask with `Accept: application/x-ndjson` for all.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub results_truncated: bool,
    /// The first refusal, if nothing was accepted or the body broke off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorBody>,
}

pub(super) async fn publish(State(shared): State<Arc<Shared>>, request: Request) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    let params = Params::of(&parts.uri)?;
    let atomic = params.flag("atomic")?;
    // Who it is comes before the first byte of the body is read.
    let identity = identify(&shared, &parts, params.text("user_id")?).await?;
    shared.limits.message(&identity, shared.clock.uptime()).inspect_err(|_| shared.metrics.limits.refused("user_messages"))?;
    if is_ndjson(&parts.headers, &CONTENT_TYPE) {
        if atomic {
            return Err(Failure::parameter(
                "atomic",
                ErrorCode::InvalidFormat,
                "is for a JSON array; NDJSON is stored as it arrives",
            ));
        }
        return ndjson::publish(shared, identity, body, is_ndjson(&parts.headers, &ACCEPT)).await;
    }
    let bytes_max = body::declared_bytes(&parts.headers, shared.config.rest.body_bytes_max)?;
    // The head and the body share the connection's read buffer, which is used again once nobody holds a piece of it.
    drop(parts);
    json(&shared, &identity, body, bytes_max, atomic).await
}

async fn json(shared: &Shared, identity: &Identity, body: Body, bytes_max: usize, atomic: bool) -> Result<Response, Failure> {
    let rest = &shared.config.rest;
    let _place = shared.reserve_publish_bytes(bytes_max)?;
    let text = body::collect(body, bytes_max, rest.body_timeout, rest.request_timeout).await?;
    let events = &shared.config.events;
    let items = items::of(&text, events.batch_events_max)?;
    shared
        .limits
        .publish(identity, items.len(), shared.clock.uptime())
        .inspect_err(|_| shared.metrics.limits.refused("publish_rate"))?;
    let mut prepared = prepare(shared.publisher(identity), items.into_iter(), &events.limits());
    drop(text);
    shared.settle(identity, &mut prepared).await;
    let results = within(shared, shared.store(prepared, atomic)).await.map_err(|_| {
        Failure::new(
            ErrorCode::Unavailable,
            "the log did not acknowledge in time; the events may still be stored: publish again with the same ids",
        )
    })?;
    let mut answer = PublishAnswer::default();
    answer.add(results, usize::MAX);
    Ok(answer.into_response())
}

/// Whether a header names newline-delimited JSON, by any of its usual names.
fn is_ndjson(headers: &HeaderMap, name: &HeaderName) -> bool {
    let names = ["application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"];
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let mut kinds = values.flat_map(|value| value.split(',')).map(|kind| kind.split(';').next().unwrap_or_default().trim());
    kinds.any(|kind| names.iter().any(|name| kind.eq_ignore_ascii_case(name)))
}

impl PublishAnswer {
    /// Adds results, keeping at most `results_max` of them.
    pub(super) fn add(&mut self, mut results: Vec<PublishResult>, results_max: usize) {
        let mut tally = Tally { stored: self.stored, duplicates: self.duplicates, refused: self.refused };
        tally.add(&results);
        (self.stored, self.duplicates, self.refused) = (tally.stored, tally.duplicates, tally.refused);
        let room = results_max.saturating_sub(self.results.len());
        self.results_truncated |= results.len() > room;
        results.truncate(room);
        self.results.append(&mut results);
    }
}

impl IntoResponse for PublishAnswer {
    /// 200 if any event was accepted (or known already), else the first refusal's status.
    fn into_response(mut self) -> Response {
        if self.stored + self.duplicates == 0 && self.error.is_none() {
            self.error = self.results.iter().find_map(|result| match result {
                PublishResult::Refused { error, .. } if error.code != ErrorCode::NotAttempted => Some(error.clone()),
                _ => None,
            });
        }
        let status = match &self.error {
            Some(error) if self.stored + self.duplicates == 0 => {
                StatusCode::from_u16(error.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }
            _ => StatusCode::OK,
        };
        let wait = if status == StatusCode::OK { None } else { self.error.as_ref().and_then(retry_after) };
        let mut response = (status, Json(self)).into_response();
        if let Some(wait) = wait {
            response.headers_mut().insert(RETRY_AFTER, wait);
        }
        response
    }
}
