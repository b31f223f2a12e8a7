//! The audit: what operators did, as events of the topic `audit` of the log itself.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::request::Parts;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use towline_log::{Direction, Start};
use towline_protocol::event::new_event_id;
use towline_protocol::{Dialect, ErrorCode, GapNotice, NewEvent, TopicName, cursor};

use super::{Admin, require_read};
use crate::http::failure::Failure;
use crate::http::feed::{encode, gap, read};
use crate::http::params::Params;
use crate::shared::Shared;

/// What operators did, newest first.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
pub struct AuditPage {
    /// Envelopes of the topic `audit`. Their `data` says who, from where, on what, and how it went.
    #[schemars(with = "Vec<crate::api::Envelope>")]
    pub events: Vec<Box<RawValue>>,
    /// There are older ones.
    pub has_more: bool,
    /// Pass it back as `cursor` to go on with older ones.
    pub cursor: String,
    /// What was asked for and is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap: Option<GapNotice>,
}

pub(super) async fn audit(State(shared): State<Arc<Shared>>, parts: Parts) -> Result<Json<AuditPage>, Failure> {
    require_read(&shared, &parts)?;
    let params = Params::of(&parts.uri)?;
    let limit = params.number("limit", 50, 1..=500)?;
    let start = params.cursor("cursor")?.map_or(Start::Latest, Start::At);
    let topic = topic()?;
    let page = read(&shared, &topic, start, Direction::Backward, limit).await?;
    Ok(Json(AuditPage {
        events: encode(&page, &topic, Dialect::Native)?,
        has_more: !page.complete,
        cursor: cursor::encode(page.to_position()),
        gap: gap(&page),
    }))
}

impl Admin {
    /// Writes down what was done: `action` on `target`, with what came of it. The process's log gets a line too.
    ///
    /// A log that refuses is no reason to undo what was done, nor to keep an operator from draining a server whose disk is full: then the line is
    /// all there is, and `towline_audit_failures_total` counts it.
    pub(crate) async fn record(&self, shared: &Shared, action: &'static str, target: Value, outcome: Result<Value, ErrorCode>) {
        let (outcome, detail) = match outcome {
            Ok(detail) => ("done", detail),
            Err(code) => ("refused", json!({ "code": code.as_str() })),
        };
        let (key, fingerprint) = (&self.key.name, &self.key.fingerprint);
        let address = self.address.map(|address| address.to_string());
        tracing::info!(key, fingerprint, address, action, %target, outcome, "audit");
        let data = json!({
            "key": key, "fingerprint": fingerprint, "address": address,
            "action": action, "target": target, "outcome": outcome, "detail": detail,
        });
        let stored = match topic() {
            Ok(topic) => {
                let (kind, data) = (format!("admin.{action}").into(), data.to_string().into_bytes().into());
                let event = NewEvent { topic, id: new_event_id(), kind, extras: Box::default(), data };
                shared.log.append(vec![event]).await.map_err(|error| error.to_string())
            }
            Err(failure) => Err(failure.error().message.clone()),
        };
        if let Err(error) = stored {
            shared.metrics.audit_failures.inc();
            tracing::error!(%error, %data, "an audit event could not be stored");
        }
    }
}

/// Where audit events go.
fn topic() -> Result<TopicName, Failure> {
    TopicName::new("audit").map_err(|error| Failure::new(ErrorCode::Internal, error.to_string()))
}
