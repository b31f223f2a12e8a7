//! `POST /api/v1/admin/events`: a test event, to see whether it arrives.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use towline_protocol::PublishResult;

use super::require_full;
use crate::authorization::Publisher;
use crate::http::failure::Failure;
use crate::http::feed::within;
use crate::http::publish::{PublishAnswer, body, items};
use crate::publish::prepare;
use crate::shared::Shared;

pub(super) async fn publish(State(shared): State<Arc<Shared>>, request: Request) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    let admin = require_full(&shared, &parts)?;
    let rest = &shared.config.rest;
    let bytes_max = body::declared_bytes(&parts.headers, rest.body_bytes_max)?;
    let _reserved = shared.reserve_publish_bytes(bytes_max)?;
    let body = body::collect(body, bytes_max, rest.body_timeout, rest.request_timeout).await?;
    let identity = admin.key.identity();
    let prepared = prepare(Publisher::undelegated(&identity), items::of(&body, 1)?.into_iter(), &shared.config.events.limits());
    let results = within(&shared, shared.store(prepared, false)).await?;
    let outcome = match results.first() {
        Some(PublishResult::Stored(at) | PublishResult::Duplicate(at)) => {
            (json!({ "topic": at.topic }), Ok(json!({ "id": at.id, "epoch": at.epoch, "offset": at.offset })))
        }
        Some(PublishResult::Refused { error, .. }) => (json!({}), Err(error.code)),
        None => (json!({}), Ok(json!({}))),
    };
    admin.record(&shared, "event.publish", outcome.0, outcome.1).await;
    let mut answer = PublishAnswer::default();
    answer.add(results, 1);
    Ok(answer.into_response())
}
