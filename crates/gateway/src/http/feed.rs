//! The activity feed over REST: what was missed (oldest first) and what happened lately (newest first), in the feed's own dialect.
//!
//! Paging goes by position and never by time: events with equal times are neither lost nor repeated between two pages.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::request::Parts;
use serde_json::value::RawValue;
use towline_log::{Direction, Page, Read, Start};
use towline_protocol::timestamp::parse_ms;
use towline_protocol::{Dialect, ErrorCode, GapNotice, Position, TopicName, cursor};

use super::credential::identify_for_user;
use super::failure::Failure;
use super::params::Params;
use crate::shared::Shared;

/// Bytes of event bodies in one answer. Fewer events than asked for come then, and `has_more` says so.
pub(super) const PAGE_BYTES_MAX: usize = 4 << 20;

/// The deepest `offset` that is walked: an offset has to be counted through, a cursor does not.
const OFFSET_MAX: usize = 10_000;

/// What was missed, oldest first.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
pub struct EventsPage {
    /// The events, in the same shape as on the feed's socket.
    #[schemars(with = "Vec<crate::api::FeedEvent>")]
    pub events: Vec<Box<RawValue>>,
    /// How many they are.
    pub count: usize,
    /// Pass it back as `cursor` to go on after the last event, now or later.
    pub cursor: String,
    /// More can be had right now.
    pub has_more: bool,
    /// What was asked for and is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap: Option<GapNotice>,
}

/// What happened lately, newest first.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
pub struct ActivityPage {
    /// The events, in the same shape as on the feed's socket.
    #[schemars(with = "Vec<crate::api::FeedEvent>")]
    pub activities: Vec<Box<RawValue>>,
    /// How many are retained.
    pub total: u64,
    /// There are older ones.
    pub has_more: bool,
    /// Pass it back as `cursor` to go on with older ones.
    pub cursor: String,
    /// What was asked for and is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap: Option<GapNotice>,
}

pub(super) async fn events(State(shared): State<Arc<Shared>>, parts: Parts) -> Result<Json<EventsPage>, Failure> {
    let params = Params::of(&parts.uri)?;
    let (_, topic) = identify_for_user(&shared, &parts, &params).await?;
    let limit = params.number("limit", 50, 1..=200)?;
    let since = match params.text("since")? {
        Some(text) => Some(parse_ms(text).map_err(|why| Failure::parameter("since", ErrorCode::InvalidPosition, why))?),
        None => None,
    };
    let start = match (params.cursor("cursor")?, since) {
        (Some(position), _) => Start::At(position),
        (None, Some(ms)) => Start::Time(ms),
        (None, None) => Start::Earliest,
    };
    let page = read(&shared, &topic, start, Direction::Forward, limit).await?;
    let events = encode(&page, &topic, Dialect::Feed)?;
    Ok(Json(EventsPage {
        count: events.len(),
        events,
        cursor: cursor::encode(page.to_position()),
        has_more: !page.complete,
        gap: gap(&page),
    }))
}

pub(super) async fn activity(State(shared): State<Arc<Shared>>, parts: Parts) -> Result<Json<ActivityPage>, Failure> {
    let params = Params::of(&parts.uri)?;
    let (_, topic) = identify_for_user(&shared, &parts, &params).await?;
    let limit = params.number("limit", 20, 1..=100)?;
    let offset = params.number("offset", 0, 0..=OFFSET_MAX)?;
    let position = params.cursor("cursor")?;
    if position.is_some() && offset > 0 {
        return Err(Failure::parameter("offset", ErrorCode::InvalidFormat, "give either `cursor` or `offset`"));
    }
    let start = match position {
        Some(position) => Start::At(position),
        None => skip(&shared, &topic, offset).await?,
    };
    let page = read(&shared, &topic, start, Direction::Backward, limit).await?;
    let bounds = within(&shared, shared.log.bounds(&topic)).await??;
    Ok(Json(ActivityPage {
        activities: encode(&page, &topic, Dialect::Feed)?,
        total: bounds.events,
        has_more: !page.complete,
        cursor: cursor::encode(page.to_position()),
        gap: gap(&page),
    }))
}

/// Where to go on after the `count` newest events.
async fn skip(shared: &Shared, topic: &TopicName, count: usize) -> Result<Start, Failure> {
    let mut start = Start::Latest;
    let mut left = count;
    while left > 0 {
        let page = read(shared, topic, start, Direction::Backward, left).await?;
        left -= page.records.len().min(left);
        let done = page.complete || page.records.is_empty();
        start = Start::At(page.to_position());
        if done {
            break;
        }
    }
    Ok(start)
}

pub(super) async fn read(
    shared: &Shared,
    topic: &TopicName,
    start: Start,
    direction: Direction,
    events_max: usize,
) -> Result<Page, Failure> {
    let read = Read { topic: topic.clone(), start, direction, events_max, bytes_max: PAGE_BYTES_MAX };
    Ok(within(shared, shared.log.read(read)).await??)
}

/// Waits for the log as long as a request may take.
pub(super) async fn within<T>(shared: &Shared, work: impl Future<Output = T>) -> Result<T, Failure> {
    let late = |_| Failure::new(ErrorCode::Unavailable, "the log did not answer in time; try again later");
    tokio::time::timeout(shared.config.rest.request_timeout, work).await.map_err(late)
}

/// The page's events as JSON.
pub(super) fn encode(page: &Page, topic: &TopicName, dialect: Dialect) -> Result<Vec<Box<RawValue>>, Failure> {
    let one = |record: &towline_log::Record| {
        let mut out = Vec::new();
        dialect.encode_event(&record.view(topic, page.epoch), &mut out);
        String::from_utf8(out).ok().and_then(|text| RawValue::from_string(text).ok())
    };
    page.records
        .iter()
        .map(|record| {
            one(record).ok_or_else(|| {
                tracing::error!(offset = record.offset(), "a stored event is not JSON");
                Failure::new(
                    ErrorCode::StorageFailed,
                    "a stored event is damaged; the server's operator finds it in the server's log",
                )
            })
        })
        .collect()
}

/// The page's gap in the shape of the wire.
pub(super) fn gap(page: &Page) -> Option<GapNotice> {
    use towline_log::GapReason;
    use towline_protocol::GapCause;
    page.gap.map(|gap| GapNotice {
        reason: match gap.reason {
            GapReason::Trimmed => GapCause::Trimmed,
            GapReason::EpochChanged => GapCause::EpochChanged,
            GapReason::UnknownId => GapCause::UnknownId,
            GapReason::Damaged => GapCause::Damaged,
        },
        requested: gap.requested,
        resume_after: Position { epoch: gap.resume_after.epoch, offset: gap.resume_after.offset },
    })
}
