//! Replay over REST: what a topic held after an event, as envelopes.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::request::Parts;
use serde_json::value::RawValue;
use towline_log::{Direction, GapReason, Page, Start};
use towline_protocol::{Dialect, ErrorCode, GapNotice, Position, TopicName, cursor};

use super::credential::{identify, identify_for_user};
use super::failure::Failure;
use super::feed::{encode, gap, read, within};
use super::params::Params;
use crate::shared::Shared;

/// One page of a topic's history, oldest first.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
pub struct ReplayPage {
    /// The events as envelope v1.
    #[schemars(with = "Vec<crate::api::Envelope>")]
    pub events: Vec<Box<RawValue>>,
    /// They follow this position.
    pub from: Position,
    /// The last one's position; `from` if there is none.
    pub to: Position,
    /// The topic's head is reached.
    pub complete: bool,
    /// Pass it back as `after` to go on.
    pub cursor: String,
    /// What was asked for and is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap: Option<GapNotice>,
}

pub(super) async fn replay(State(shared): State<Arc<Shared>>, parts: Parts) -> Result<Json<ReplayPage>, Failure> {
    let params = Params::of(&parts.uri)?;
    let topic = match params.text("topic")? {
        None => identify_for_user(&shared, &parts, &params).await?.1,
        Some(name) => {
            let identity = identify(&shared, &parts, params.text("user_id")?).await?;
            let topic = TopicName::new(name).map_err(|why| Failure::parameter("topic", ErrorCode::InvalidTopic, why))?;
            shared.may_read(&identity, &topic).await?;
            topic
        }
    };
    let limit = params.number("limit", 100, 1..=1000)?;
    let page = match params.text("after")? {
        None => read(&shared, &topic, Start::Earliest, Direction::Forward, limit).await?,
        Some(after) => read_after(&shared, &topic, after, limit).await?,
    };
    Ok(Json(ReplayPage {
        events: encode(&page, &topic, Dialect::Native)?,
        from: page.from_position(),
        to: page.to_position(),
        complete: page.complete,
        cursor: cursor::encode(page.to_position()),
        gap: gap(&page),
    }))
}

/// `after` may be a position, a cursor, or an event's id. Some ids look like positions (`e-1`), so a position of another epoch is
/// first looked for as an id.
async fn read_after(shared: &Shared, topic: &TopicName, after: &str, limit: usize) -> Result<Page, Failure> {
    if after.len() > cursor::CURSOR_BYTES_MAX {
        return Err(Failure::parameter(
            "after",
            ErrorCode::InvalidPosition,
            "is neither a position, nor a cursor, nor an event's id",
        ));
    }
    let position = cursor::decode(after).ok();
    if let Some(position) = position {
        let bounds = within(shared, shared.log.bounds(topic)).await??;
        if bounds.epoch == position.epoch {
            return read(shared, topic, Start::At(position), Direction::Forward, limit).await;
        }
    }
    let page = read(shared, topic, Start::Id(after.into()), Direction::Forward, limit).await?;
    let unknown = page.gap.is_some_and(|gap| gap.reason == GapReason::UnknownId);
    match position {
        Some(position) if unknown => read(shared, topic, Start::At(position), Direction::Forward, limit).await,
        _ => Ok(page),
    }
}
