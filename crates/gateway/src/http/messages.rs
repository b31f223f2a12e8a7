//! `POST /api/v1/messages`: a message to the application, for users without a socket. The same as `message` on the native door.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use towline_protocol::message::StoredAt;
use towline_protocol::{ErrorCode, InboxMessage};

use super::credential::identify;
use super::failure::Failure;
use super::feed::within;
use super::params::Params;
use super::publish::body;
use crate::inbox::{self, Sender};
use crate::shared::Shared;

/// A message that is in its inbox.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
pub struct MessageAnswer {
    /// Where it stands.
    #[serde(flatten)]
    pub stored: StoredAt,
    /// As it was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
}

pub(super) async fn send(State(shared): State<Arc<Shared>>, request: Request) -> Result<Json<MessageAnswer>, Failure> {
    let (parts, content) = request.into_parts();
    let params = Params::of(&parts.uri)?;
    // Who it is comes before the first byte of the body is read.
    let identity = identify(&shared, &parts, params.text("user_id")?).await?;
    shared.limits.message(&identity, shared.clock.uptime()).inspect_err(|_| shared.metrics.limits.refused("user_messages"))?;
    let bytes_max = shared.config.users.message_bytes_max;
    let too_large = |failure: Failure| match failure.error().code {
        ErrorCode::TooLarge => {
            Failure::new(ErrorCode::TooLarge, format!("a message to the application may have at most {bytes_max} bytes"))
        }
        _ => failure,
    };
    let declared = body::declared_bytes(&parts.headers, bytes_max).map_err(too_large)?;
    drop(parts);
    let rest = &shared.config.rest;
    let _place = shared.reserve_publish_bytes(declared)?;
    let text = body::collect(content, declared, rest.body_timeout, rest.request_timeout).await.map_err(too_large)?;
    let text = std::str::from_utf8(&text).map_err(|_| Failure::new(ErrorCode::JsonParse, "the body is not UTF-8"))?;
    let message = InboxMessage::read(text, text.len())?;
    let correlation_id = message.correlation_id.as_deref().map(str::to_owned);
    let prepared = inbox::prepare(&Sender { identity: &identity, door: "rest", connection: None }, &message, &shared.config)?;
    let results = within(&shared, shared.store(prepared, false)).await.map_err(|_| {
        Failure::new(
            ErrorCode::Unavailable,
            "the log did not acknowledge in time; the message may still be stored: send it again with the same id",
        )
    })?;
    let stored = inbox::stored_at(results).map_err(Failure::from)?;
    Ok(Json(MessageAnswer { stored, correlation_id }))
}
